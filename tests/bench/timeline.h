/* SPDX-License-Identifier: ISC */
/*
 * Latencies by half seconds, for what changes over time. One thread writes.
 */
#ifndef LSMKV_BENCH_TIMELINE_H
#define LSMKV_BENCH_TIMELINE_H

#include "bench/histogram.h"

#define TIMELINE_STEP_NS 500000000u
#define TIMELINE_STEPS 8192u /* over an hour; the last takes the rest */

struct timeline {
	uint64_t start;                         /* now_ns of step 0 */
	struct histogram *step[TIMELINE_STEPS]; /* NULL: nothing happened */
};

struct timeline *timeline_new(uint64_t start);
void timeline_free(struct timeline *t);
/* Something ended at `now` that took `ns`. */
void timeline_add(struct timeline *t, uint64_t now, uint64_t ns);

#endif
