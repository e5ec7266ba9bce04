/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/results.h"

static struct row **rows;
static unsigned row_count;
static struct series series[ENGINES_MOST];

void
results_add(unsigned engine, const char *name, double value)
{
	struct row *r = (struct row *)(uintptr_t)results_find(name);

	if (!r) {
		rows = realloc(rows, (row_count + 1) * sizeof(*rows));
		r = calloc(1, sizeof(*r));
		if (!rows || !r)
			bench_die("bench", name, "out of memory");
		snprintf(r->name, sizeof(r->name), "%s", name);
		rows[row_count++] = r;
	}
	if (r->count[engine] == TURNS_MOST)
		bench_die("bench", name, "told more than once in a turn");
	r->value[engine][r->count[engine]++] = value;
}

void
results_add_point(unsigned engine, unsigned turn, const double *point)
{
	struct series *s = &series[engine];

	if (turn)
		return;
	s->point = realloc(s->point, (s->count + 1) * sizeof(*s->point));
	if (!s->point)
		bench_die("bench", "series", "out of memory");
	memcpy(s->point[s->count++], point, sizeof(*s->point));
}

unsigned
results_rows(void)
{
	return row_count;
}

const struct row *
results_row(unsigned i)
{
	return rows[i];
}

const struct row *
results_find(const char *name)
{
	for (unsigned i = 0; i < row_count; i++)
		if (!strcmp(rows[i]->name, name))
			return rows[i];
	return NULL;
}

const struct series *
results_series(unsigned engine)
{
	return &series[engine];
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
row_median(const struct row *r, unsigned engine)
{
	double sorted[TURNS_MOST];
	unsigned n = r ? r->count[engine] : 0;

	if (!n)
		return -1;
	memcpy(sorted, r->value[engine], n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

bool
row_higher_is_better(const struct row *r)
{
	size_t len = strlen(r->name);

	return len > 4 && !strcmp(r->name + len - 4, " k/s");
}

double
row_best(const struct row *r, const char *against)
{
	double best = -1;

	for (unsigned e = 1; e < bench_engine_count; e++) {
		double m = row_median(r, e);

		if (m < 0 || !listed(against, bench_engines[e]->name))
			continue;
		if (best < 0 || (row_higher_is_better(r) ? m > best : m < best))
			best = m;
	}
	return best;
}

bool
listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	if (!list)
		return true;
	for (const char *at = list; (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ',') &&
		    (!at[len] || at[len] == ','))
			return true;
	return false;
}
