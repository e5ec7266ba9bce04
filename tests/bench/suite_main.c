/* SPDX-License-Identifier: ISC */
/*
 * The suites that every engine does in seconds: fills, reads and scans, with
 * a cache of a quarter of the data and with one that holds all of it; durable
 * fills; a reader beside a writer; longer values.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/workload.h"

#define OVERWRITE_S 10 /* an engine that is slow at it has shown it by then */

/* As --entries and --value say. */
static struct data
data_as_set(void)
{
	return (struct data){ .entries = settings.entries,
		              .value_len = settings.value_len };
}

static double
since_s(uint64_t start)
{
	return (double)(now_ns() - start) / 1e9;
}

/* By the same count for each; then by the engine's own, which is a check. */
static void
tell_write_amplification(const struct session *s, const char *when)
{
	double raw = (double)data_bytes(&s->data);
	uint64_t own = s->engine->written(s->db);

	measure_tell((double)footprint_written() / raw,
	             "write amplification, %s", when);
	if (own)
		measure_tell((double)own / raw, "its own count of it, %s",
		             when);
}

static void
tell_disk(const struct session *s)
{
	double raw = (double)data_bytes(&s->data);
	double all = (double)footprint_dir_bytes(s->config.dir);

	measure_tell(all / 1e6, "on disk MB");
	if (s->engine->set_aside)
		measure_tell((double)footprint_file_bytes(
				     s->config.dir, s->engine->set_aside) /
		                     1e6,
		             "of it set aside MB");
	measure_tell(all / raw, "space amplification");
}

/* The rows of both suites that read; `how` goes before their names. */
static void
read_and_scan(struct session *s, const char *how)
{
	static const struct {
		const char *name;
		enum load_kind kind;
		unsigned threads;
	} reads[] = {
		{ "read", READ, 1 },
		{ "read, 2 threads", READ, 2 },
		{ "read, 4 threads", READ, 4 },
		{ "read zipf", READ_ZIPF, 1 },
		{ "read missing", READ_MISSING, 1 },
	};
	char name[64];

	for (size_t i = 0; i < sizeof(reads) / sizeof(*reads); i++) {
		snprintf(name, sizeof(name), "%s%s", how, reads[i].name);
		workload_read(s, name, reads[i].kind, reads[i].threads);
	}
	for (int backward = 0; backward < 2; backward++) {
		snprintf(name, sizeof(name), "%sscan %s", how,
		         backward ? "backward" : "forward");
		workload_scan(s, name, backward, UINT64_MAX);
	}
}

/* Everything with a cache of a quarter of the data, or as --cache says. */
void
suite_main(const struct bench_engine *e, const char *dir)
{
	const struct data data = data_as_set();
	struct session s;
	double compact_s;

	session_init(&s, e, dir, &data, CACHE_AS_SET, false);
	session_open(&s);
	measure_tell((double)s.config.memory_bytes / MB, "memory given MB");
	measure_tell(footprint_memory_mb(), "memory before the load MB");
	workload_fill(&s, "fill", 1, 0, data.entries, 0);
	workload_read(&s, "read after fill", READ, 1);
	session_settle();
	tell_write_amplification(&s, "settled");
	compact_s = session_compact(&s);
	if (compact_s >= 0)
		measure_tell(compact_s, "compact s");
	tell_write_amplification(&s, "compacted");
	workload_warm_up(&s, 0);
	read_and_scan(&s, "");
	workload_fill(&s, "overwrite", 1, 0, data.entries, OVERWRITE_S);
	session_settle();
	measure_tell(footprint_memory_mb(), "memory at rest MB");
	measure_tell(footprint_peak_mb(), "peak memory MB");
	measure_tell(footprint_children_peak_mb(), "peak memory, helper MB");
	session_compact(&s);
	session_close(&s);
	tell_disk(&s);
}

/* Reads where nothing has to be read from disk or inflated. */
void
suite_cached(const struct bench_engine *e, const char *dir)
{
	const struct data data = data_as_set();
	struct session s;

	session_init(&s, e, dir, &data, CACHE_ALL, false);
	session_open(&s);
	workload_fill(&s, "fill, cached", 1, 0, data.entries, 0);
	session_compact(&s);
	workload_warm_up(&s, 0);
	read_and_scan(&s, "cached ");
	session_close(&s);
}

/* Every write is on disk when it returns. */
void
suite_sync(const struct bench_engine *e, const char *dir)
{
	static const unsigned threads[] = { 1, 16, 64 };
	const struct data data = data_as_set();
	struct session s;
	uint64_t from = 0;

	session_init(&s, e, dir, &data, CACHE_AS_SET, true);
	session_open(&s);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t count =
			settings.sync_writes / (threads[i] > 1 ? 1 : 8);
		char name[64];

		/* One that syncs for each write alone shows its rate soon. */
		if (e->page_cache)
			count /= 8;
		snprintf(name, sizeof(name), "synced fill, %u thread%s",
		         threads[i], threads[i] == 1 ? "" : "s");
		workload_fill(&s, name, threads[i], from, count, 0);
		from += count;
	}
	session_close(&s);
}

/* A reader beside a writer that writes as fast as it can. */
void
suite_mixed(const struct bench_engine *e, const char *dir)
{
	const struct data data = data_as_set();
	static _Atomic int stop;
	struct session s;
	struct load *writer = load_new(1);
	uint64_t start;

	session_init(&s, e, dir, &data, CACHE_AS_SET, false);
	session_open(&s);
	workload_fill(&s, "mixed: fill", 1, 0, data.entries, 0);
	session_compact(&s);
	workload_warm_up(&s, 0);
	workload_read(&s, "mixed: read alone", READ, 1);
	*writer = (struct load){ .session = &s,
		                 .kind = FILL,
		                 .from = data.entries,
		                 .count = UINT64_MAX,
		                 .stop = &stop };
	start = now_ns();
	load_start(writer);
	workload_read(&s, "mixed: read beside a fill", READ, 1);
	atomic_store(&stop, 1);
	load_join(writer);
	measure_tell((double)writer->done / 1e3 / since_s(start),
	             "mixed: fill beside reads k/s");
	workload_tell_latency("mixed: fill beside reads", &writer->latency);
	free(writer);
	session_close(&s);
}

/* Half a gigabyte for each length of values. */
void
suite_values(const struct bench_engine *e, const char *dir)
{
	const char *at = settings.lengths;

	while (*at) {
		char *end;
		uint64_t len = strtoull(at, &end, 10);
		const struct data data = { .entries = (512u << 20) /
			                              (len ? len : 1),
			                   .value_len = len };
		char sub[4096], name[64];
		struct session s;

		if (end == at || (*end && *end != ',') || len < 2 ||
		    len > 64u << 20)
			bench_die("bench", "--lengths", at);
		at = *end ? end + 1 : end;
		snprintf(sub, sizeof(sub), "%s/%u", dir, (unsigned)len);
		mkdir(sub, 0755);
		session_init(&s, e, sub, &data, CACHE_AS_SET, false);
		session_open(&s);
		snprintf(name, sizeof(name), "fill, %u B values",
		         (unsigned)len);
		workload_fill(&s, name, 1, 0, data.entries, 0);
		snprintf(name, sizeof(name), "read, %u B values",
		         (unsigned)len);
		workload_read(&s, name, READ, 1);
		session_close(&s);
	}
}
