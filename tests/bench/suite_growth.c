/* SPDX-License-Identifier: ISC */
/*
 * What an operation costs as the store grows: a cliff would show here. The
 * cache holds a quarter of every size, or what --cache says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/workload.h"

#define SCANNED 5000000u /* entries at most, each way */

/* False: it takes longer than --growth-seconds. */
static bool
fill(struct session *s, const char *name)
{
	struct load *l = calloc(1, sizeof(*l));
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
	snprintf(row, sizeof(row), "%s: read", name);
	workload_read(&s, row, READ, 1);
	snprintf(row, sizeof(row), "%s: read zipf", name);
	workload_read(&s, row, READ_ZIPF, 1);
	snprintf(row, sizeof(row), "%s: read missing", name);
	workload_read(&s, row, READ_MISSING, 1);
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
