/* SPDX-License-Identifier: ISC */
/*
 * A long fill: one thread writes at full speed, many times as much as fits
 * into the memory given, while another one reads. Told for every half second,
 * and as a whole: does a write ever wait, and do reads stay what they are?
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/workload.h"

/* A fifth as much is there before, for the reader. */
#define BEFORE 5

static double
quantile_us(const struct histogram *h, double share)
{
	return h ? (double)histogram_quantile(h, share) / 1e3 : 0;
}

static void
tell_points(const struct timeline *writes, const struct timeline *reads,
            uint64_t end)
{
	const double step_s = TIMELINE_STEP_NS / 1e9;
	uint64_t steps = (end - writes->start) / TIMELINE_STEP_NS;

	for (uint64_t i = 0; i < steps && i < TIMELINE_STEPS; i++) {
		const struct histogram *w = writes->step[i];
		const struct histogram *r = reads->step[i];
		double p[POINT_FIELDS] = { 0 };

		p[POINT_AT_S] = (double)(i + 1) * step_s;
		p[POINT_WRITE_K] = w ? (double)w->total / step_s / 1e3 : 0;
		p[POINT_WRITE_P99_US] = quantile_us(w, 0.99);
		p[POINT_WRITE_P999_US] = quantile_us(w, 0.999);
		p[POINT_WRITE_MAX_US] = w ? (double)w->max / 1e3 : 0;
		p[POINT_READ_K] = r ? (double)r->total / step_s / 1e3 : 0;
		p[POINT_READ_P50_US] = quantile_us(r, 0.5);
		p[POINT_READ_P99_US] = quantile_us(r, 0.99);
		p[POINT_READ_P999_US] = quantile_us(r, 0.999);
		p[POINT_READ_MAX_US] = r ? (double)r->max / 1e3 : 0;
		measure_tell_point(p);
	}
}

/* Reads of what was there before, for a while; tells and returns p99.9. */
static double
read_idle(struct session *s, const char *name)
{
	struct load *l = load_new(1);
	double p999;

	*l = (struct load){ .session = s, .kind = READ, .count = UINT64_MAX };
	l->until = now_ns() + (uint64_t)(settings.seconds * 1e9);
	load_start(l);
	load_join(l);
	workload_tell_latency(name, &l->latency);
	p999 = (double)histogram_quantile(&l->latency, 0.999) / 1e3;
	free(l);
	return p999;
}

void
suite_long(const struct bench_engine *e, const char *dir)
{
	uint64_t count = settings.long_entries, before = count / BEFORE;
	struct data data = { .entries = before + count,
		             .value_len = settings.value_len };
	static _Atomic int stop;
	struct load *w = load_new(1), *r = load_new(1);
	struct session s;
	uint64_t start, end, written;
	double idle, beside, raw;

	/* The cache is a quarter of the reader's data, not of all. */
	data.entries = before;
	session_init(&s, e, dir, &data, CACHE_AS_SET, false);
	s.config.data_bytes *= BEFORE + 1;
	session_open(&s);
	workload_fill(&s, "long: fill before", 1, 0, before, 0);
	session_compact(&s);
	workload_warm_up(&s, 0);
	read_idle(&s, "long: read before");

	written = footprint_written();
	start = now_ns();
	*w = (struct load){
		.session = &s,
		.kind = FILL,
		.from = before,
		.count = count,
		.until = start + (uint64_t)(settings.long_seconds * 1e9),
		.timeline = timeline_new(start),
	};
	*r = (struct load){
		.session = &s,
		.kind = READ,
		.count = UINT64_MAX,
		.stop = &stop,
		.timeline = timeline_new(start),
	};
	load_start(w);
	load_start(r);
	load_join(w);
	end = now_ns();
	atomic_store(&stop, 1);
	load_join(r);
	tell_points(w->timeline, r->timeline, end);
	measure_tell((double)w->done * 1e6 / (double)(end - start),
	             "long: fill k/s");
	workload_tell_latency("long: fill", &w->latency);
	measure_tell((double)w->latency.max / 1e6, "long: longest write ms");
	measure_tell((double)r->done * 1e6 / (double)(end - start),
	             "long: read beside it k/s");
	workload_tell_latency("long: read beside it", &r->latency);
	beside = (double)histogram_quantile(&r->latency, 0.999) / 1e3;

	start = now_ns();
	session_settle();
	measure_tell((double)(now_ns() - start) / 1e9, "long: settles in s");
	raw = (double)(w->done * (data.value_len + KEY_LEN));
	if (raw > 0)
		measure_tell((double)(footprint_written() - written) / raw,
		             "long: write amplification");
	workload_warm_up(&s, 0);
	idle = read_idle(&s, "long: read after it");
	measure_tell(beside / idle, "long: p99.9 of reads, beside / after");
	measure_tell(footprint_peak_mb(), "long: peak memory MB");
	measure_tell((double)footprint_dir_bytes(dir) / 1e6,
	             "long: on disk MB");
	session_close(&s);
	timeline_free(w->timeline);
	timeline_free(r->timeline);
	free(w);
	free(r);
}
