/* SPDX-License-Identifier: ISC */
/*
 * What is measured, cut into suites: each begins with an empty directory.
 */
#ifndef LSMKV_BENCH_SUITES_H
#define LSMKV_BENCH_SUITES_H

#include <stdbool.h>

#include "bench/engine_table.h"

struct suite {
	const char *name;
	const char *about; /* for the help */
	bool by_default;   /* in a run without --suites */
	bool once;         /* in the first turn alone: it takes long */
	void (*run)(const struct bench_engine *e, const char *dir);
};

extern const struct suite suites[];
extern const unsigned suite_count;

/* Their functions; see suite_*.c. */
void suite_main(const struct bench_engine *e, const char *dir);
void suite_cached(const struct bench_engine *e, const char *dir);
void suite_sync(const struct bench_engine *e, const char *dir);
void suite_mixed(const struct bench_engine *e, const char *dir);
void suite_values(const struct bench_engine *e, const char *dir);
void suite_long(const struct bench_engine *e, const char *dir);
void suite_open(const struct bench_engine *e, const char *dir);
void suite_growth(const struct bench_engine *e, const char *dir);

#endif
