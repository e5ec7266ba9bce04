/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/timeline.h"

struct timeline *
timeline_new(uint64_t start)
{
	struct timeline *t = calloc(1, sizeof(*t));

	if (!t)
		bench_die("bench", "timeline", "out of memory");
	t->start = start;
	return t;
}

void
timeline_free(struct timeline *t)
{
	for (unsigned i = 0; i < TIMELINE_STEPS; i++)
		free(t->step[i]);
	free(t);
}

void
timeline_add(struct timeline *t, uint64_t now, uint64_t ns)
{
	uint64_t i = (now - t->start) / TIMELINE_STEP_NS;

	if (i >= TIMELINE_STEPS)
		i = TIMELINE_STEPS - 1;
	if (!t->step[i]) {
		t->step[i] = calloc(1, sizeof(*t->step[i]));
		if (!t->step[i])
			bench_die("bench", "timeline", "out of memory");
	}
	histogram_add(t->step[i], ns);
}
