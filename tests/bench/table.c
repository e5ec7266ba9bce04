/* SPDX-License-Identifier: ISC */
/*
 * The table on stdout: medians of each engine, and lsmkv's ratio to each of
 * the others and to the best of them; then latencies.
 */
#include <string.h>

#include "bench/results.h"

static const char *const quantiles[] = { "p50", "p99", "p99.9", "max" };

/* "X, p50 us" is the first of four rows of latencies: X goes to name. */
static bool
begins_latencies(const struct row *r, char *name, size_t len)
{
	const char *at = strstr(r->name, ", p50 us");

	if (!at || at[8])
		return false;
	snprintf(name, len, "%.*s", (int)(at - r->name), r->name);
	return true;
}

static bool
is_latency(const struct row *r)
{
	size_t len = strlen(r->name);

	for (unsigned q = 0; q < 4; q++) {
		char end[16];
		size_t end_len = (size_t)snprintf(end, sizeof(end), ", %s us",
		                                  quantiles[q]);

		if (len > end_len && !strcmp(r->name + len - end_len, end))
			return true;
	}
	return false;
}

/* Three or four digits that count. */
static const char *
figure(double value, char *out, size_t len)
{
	if (value < 0)
		snprintf(out, len, "-");
	else
		snprintf(out, len, "%.*f",
		         value < 10    ? 2
		         : value < 100 ? 1
		                       : 0,
		         value);
	return out;
}

/* Nothing is divided by a figure that is 0 as it is printed. */
static double
ratio(double own, double other)
{
	return own >= 0 && other >= 0.005 ? own / other : -1;
}

static void
print_figures(void)
{
	char text[32];

	printf("\n%-38s", "");
	for (unsigned e = 0; e < bench_engine_count; e++)
		printf(" %8s", bench_engines[e]->name);
	printf("   lsmkv");
	for (unsigned e = 1; e < bench_engine_count; e++)
		printf(" /%-7s", bench_engines[e]->name);
	printf(" /best\n");
	for (unsigned i = 0; i < results_rows(); i++) {
		const struct row *r = results_row(i);
		double own = row_median(r, 0), best = row_best(r, NULL);

		if (is_latency(r))
			continue;
		printf("%-38s", r->name);
		for (unsigned e = 0; e < bench_engine_count; e++)
			printf(" %8s",
			       figure(row_median(r, e), text, sizeof(text)));
		printf("        ");
		for (unsigned e = 1; e < bench_engine_count; e++) {
			printf(" %8s", figure(ratio(own, row_median(r, e)),
			                      text, sizeof(text)));
		}
		printf(" %6s\n", figure(ratio(own, best), text, sizeof(text)));
	}
}

static void
print_latencies(void)
{
	char name[96], cell[64], text[32];

	printf("\n%-30s", "us: p50 / p99 / p99.9 / max");
	for (unsigned e = 0; e < bench_engine_count; e++)
		printf(" %27s", bench_engines[e]->name);
	printf("\n");
	for (unsigned i = 0; i < results_rows(); i++) {
		if (!begins_latencies(results_row(i), name, sizeof(name)))
			continue;
		printf("%-30s", name);
		for (unsigned e = 0; e < bench_engine_count; e++) {
			size_t at = 0;

			for (unsigned q = 0; q < 4; q++) {
				char row[128];

				snprintf(row, sizeof(row), "%s, %s us", name,
				         quantiles[q]);
				figure(row_median(results_find(row), e), text,
				       sizeof(text));
				at += (size_t)snprintf(
					cell + at, sizeof(cell) - at, "%s%s",
					q ? " / " : "", text);
			}
			printf(" %27s", cell);
		}
		printf("\n");
	}
}

void
table_print(void)
{
	print_figures();
	print_latencies();
}
