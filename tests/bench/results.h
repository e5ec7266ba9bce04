/* SPDX-License-Identifier: ISC */
/*
 * What was measured: rows of figures by engine and turn, and series over time.
 *
 * A row's name ends in its unit. "k/s" is better when higher, all others when
 * lower. The rows "X, p50 us", "X, p99 us", "X, p99.9 us" and "X, max us" are
 * the latencies of X.
 */
#ifndef LSMKV_BENCH_RESULTS_H
#define LSMKV_BENCH_RESULTS_H

#include <stdbool.h>
#include <stdio.h>

#include "bench/engine_table.h"

#define TURNS_MOST 32u

struct row {
	char name[96];
	double value[ENGINES_MOST][TURNS_MOST];
	unsigned count[ENGINES_MOST]; /* values so far; 0: not measured */
};

/* What happened in half a second of the long fill. */
enum point_field {
	POINT_AT_S, /* its end */
	POINT_WRITE_K,
	POINT_WRITE_P99_US,
	POINT_WRITE_P999_US,
	POINT_WRITE_MAX_US,
	POINT_READ_K,
	POINT_READ_P50_US,
	POINT_READ_P99_US,
	POINT_READ_P999_US,
	POINT_READ_MAX_US,
	POINT_FIELDS
};

struct series {
	double (*point)[POINT_FIELDS];
	unsigned count;
};

/* Adds what one measurement tells; series of later turns are passed over. */
void results_add(unsigned engine, const char *name, double value);
void results_add_point(unsigned engine, unsigned turn, const double *point);

unsigned results_rows(void);
const struct row *results_row(unsigned i); /* in the order of their coming */
const struct row *results_find(const char *name); /* NULL: not measured */
const struct series *results_series(unsigned engine);

/* Over the turns; negative: not measured. NULL allowed as row. */
double row_median(const struct row *r, unsigned engine);
bool row_higher_is_better(const struct row *r);
/*
 * The median of the best of the engines in `against` (comma-separated; NULL:
 * all but lsmkv); negative: none was measured.
 */
double row_best(const struct row *r, const char *against);

/* Is name in a comma-separated list? NULL has every name. */
bool listed(const char *list, const char *name);

/* Output: on stdout, and as files. */
void table_print(void);
void goals_print(void);
/* The goals as JSON objects. */
void goals_write_json(FILE *f);
void json_write(const char *path);
/* The long fill over time, as SVG. */
void picture_write(const char *path);

#endif
