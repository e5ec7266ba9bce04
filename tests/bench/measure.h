/* SPDX-License-Identifier: ISC */
/*
 * One measurement: a suite with an engine, in a process of its own, so that
 * memory is told apart and nothing is left over from the one before. What it
 * tells goes through a pipe to the results of the parent.
 */
#ifndef LSMKV_BENCH_MEASURE_H
#define LSMKV_BENCH_MEASURE_H

#include <stdbool.h>

#include "bench/results.h"
#include "bench/suites.h"

/*
 * In the parent: engine e does the suite, in an empty directory. The figures
 * of a suite that takes long are said on stderr and written to --json as they
 * come. False: it failed; what it told before counts.
 */
bool measure(unsigned engine, const struct suite *suite, unsigned turn);

/* In the measurement: a figure of the row whose name is formatted. */
void measure_tell(double value, const char *name, ...)
	__attribute__((format(printf, 2, 3)));
void measure_tell_point(const double point[POINT_FIELDS]);

#endif
