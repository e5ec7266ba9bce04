/* SPDX-License-Identifier: ISC */
/*
 * What an operation costs as the store grows: a cliff would show here. The
 * cache holds a quarter of every size, or what --cache says.
 *
 * "read, cold" begins with an empty cache, right after what the fill has left
 * behind was compacted; what follows is read with the cache filled. Where the
 * page cache does not hold the files any more, since they are larger or since
 * the kernel reclaims what was not touched lately, "from disk MB" tells it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/workload.h"

#define SCANNED 5000000u /* entries at most, each way */
#define WARM_UP_S 30     /* at most: for one that the disk slows down */

/* False: it takes longer than --growth-seconds. */
static bool
fill(struct session *s, const char *name)
{
	struct load *l = load_new(1);
	uint64_t start = now_ns(), done;

	*l = (struct load){ .session = s,
		            .kind = FILL,
		            .count = s->data.entries };
	l->until = start + (uint64_t)(settings.growth_seconds * 1e9);
	load_start(l);
	load_join(l);
	done = l->done;
	if (done == s->data.entries) {
		measure_tell((double)done * 1e6 / (double)(now_ns() - start),
		             "%s: fill k/s", name);
		workload_tell_latency(name, &l->latency);
	} else {
		fprintf(stderr, " %s: gave up after %.1f M entries;", name,
		        (double)done / 1e6);
	}
	free(l);
	return done == s->data.entries;
}

/* A row of reads, and how much of the disk they needed. */
static void
read_row(struct session *s, const char *size, const char *what,
         enum load_kind kind)
{
	uint64_t before = footprint_read();
	char row[80];

	snprintf(row, sizeof(row), "%s: %s", size, what);
	workload_read(s, row, kind, 1);
	measure_tell((double)(footprint_read() - before) / 1e6,
	             "%s, from disk MB", row);
}

static void
grow(const struct bench_engine *e, const char *dir, double millions)
{
	const struct data data = { .entries = (uint64_t)(millions * 1e6),
		                   .value_len = settings.value_len };
	double raw = (double)data_bytes(&data);
	uint64_t written = footprint_written(), start;
	struct session s;
	char name[64], row[80];

	snprintf(name, sizeof(name), "%g M", millions);
	session_init(&s, e, dir, &data, CACHE_AS_SET, false);
	session_open(&s);
	measure_tell((double)s.config.memory_bytes / MB, "%s: memory given MB",
	             name);
	if (!fill(&s, name)) {
		session_close(&s);
		return;
	}
	start = now_ns();
	session_settle();
	measure_tell((double)(now_ns() - start) / 1e9, "%s: settles in s",
	             name);
	measure_tell((double)(footprint_written() - written) / raw,
	             "%s: write amplification", name);
	read_row(&s, name, "read, cold", READ);
	workload_warm_up(&s, WARM_UP_S);
	read_row(&s, name, "read", READ);
	read_row(&s, name, "read zipf", READ_ZIPF);
	read_row(&s, name, "read missing", READ_MISSING);
	snprintf(row, sizeof(row), "%s: scan forward", name);
	workload_scan(&s, row, false, SCANNED);
	snprintf(row, sizeof(row), "%s: scan backward", name);
	workload_scan(&s, row, true, SCANNED);
	measure_tell(footprint_memory_mb(), "%s: memory MB", name);
	session_close(&s);
	measure_tell((double)footprint_dir_bytes(dir) / 1e6, "%s: on disk MB",
	             name);
}

void
suite_growth(const struct bench_engine *e, const char *dir)
{
	const char *at = settings.growth;

	for (unsigned i = 0; *at; i++) {
		char *end, sub[4096];
		double millions = strtod(at, &end);

		if (end == at || millions <= 0)
			bench_die("bench", "--growth", at);
		snprintf(sub, sizeof(sub), "%s/%u", dir, i);
		mkdir(sub, 0755);
		grow(e, sub, millions);
		at = *end == ',' ? end + 1 : end;
	}
}
