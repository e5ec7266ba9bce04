/* SPDX-License-Identifier: ISC */
/*
 * What is asked of lsmkv: rows of the table, each with a bound for a ratio of
 * medians of the same run.
 */
#include "bench/results.h"

static const struct goal {
	const char *row;
	double bound; /* at least; at most where less is better */
	/* lsmkv's figure is divided by: the best of these engines */
	const char *against;
	/* or lsmkv's own figure in this row; both NULL: by nothing. */
	const char *over;
} goals[] = {
	{ "fill k/s", 2, "leveldb,rocksdb,lmdb", NULL },
	{ "synced fill, 16 threads k/s", 1.5, "leveldb,rocksdb,lmdb", NULL },
	{ "cached read k/s", 1, "lmdb", NULL },
	{ "cached read, 2 threads k/s", 1, "lmdb", NULL },
	{ "cached read, 4 threads k/s", 1, "lmdb", NULL },
	{ "cached read, 2 threads k/s", 2, NULL, "cached read k/s" },
	{ "read k/s", 1.5, "leveldb", NULL },
	{ "read, 2 threads k/s", 1.5, "leveldb", NULL },
	{ "read, 2 threads k/s", 2, NULL, "read k/s" },
	{ "cached read missing k/s", 1, "lmdb", NULL },
	{ "read missing k/s", 1, "lmdb", NULL },
	{ "scan forward k/s", 1, "leveldb,rocksdb", NULL },
	{ "scan backward k/s", 1, "leveldb,rocksdb", NULL },
	{ "cached scan forward k/s", 1, "leveldb,rocksdb", NULL },
	{ "cached scan backward k/s", 1, "leveldb,rocksdb", NULL },
	{ "on disk MB", 1, "leveldb,rocksdb", NULL },
	{ "peak memory MB", 1, NULL, "memory given MB" },
	{ "write amplification, settled", 1, "rocksdb", NULL },
	{ "write amplification, compacted", 1, "rocksdb", NULL },
	{ "long: write amplification", 1, "rocksdb", NULL },
	{ "long: longest write ms", 50, NULL, NULL },
	{ "long: p99.9 of reads, beside / after", 3, NULL, NULL },
	{ "open: beyond one memtable s", 1, NULL, NULL },
};

#define GOALS (sizeof(goals) / sizeof(*goals))

/* The ratio; negative: it was not measured. */
static double
reached(const struct goal *g)
{
	const struct row *r = results_find(g->row);
	double own = row_median(r, 0), by = 1;

	if (own < 0)
		return -1;
	if (g->against)
		by = row_best(r, g->against);
	if (g->over)
		by = row_median(results_find(g->over), 0);
	return by > 0 ? own / by : -1;
}

static bool
met(const struct goal *g, double ratio)
{
	/* As it is printed: to two digits. */
	double cents = (double)(long)(ratio * 100 + 0.5);

	return row_higher_is_better(results_find(g->row))
	               ? cents >= g->bound * 100
	               : cents <= g->bound * 100;
}

void
goals_print(void)
{
	unsigned measured = 0, reached_them = 0;

	printf("\ngoals\n");
	for (unsigned i = 0; i < GOALS; i++) {
		const struct goal *g = &goals[i];
		double ratio = reached(g);
		char asked[160];

		if (ratio < 0)
			continue;
		snprintf(asked, sizeof(asked), "%s %g%s%s",
		         row_higher_is_better(results_find(g->row)) ? ">="
		                                                    : "<=",
		         g->bound, g->against || g->over ? " x " : "",
		         g->against ? g->against
		         : g->over  ? g->over
		                    : "");
		printf("  %-38s %-34s %8.2f  %s\n", g->row, asked, ratio,
		       met(g, ratio) ? "met" : "NOT met");
		measured++;
		reached_them += met(g, ratio);
	}
	printf("  %u of %u met\n", reached_them, measured);
}

void
goals_write_json(FILE *f)
{
	bool first = true;

	for (unsigned i = 0; i < GOALS; i++) {
		const struct goal *g = &goals[i];
		double ratio = reached(g);

		if (ratio < 0)
			continue;
		fprintf(f, "%s\n{\"row\":\"%s\",\"bound\":%g,\"less\":%s",
		        first ? "" : ",", g->row, g->bound,
		        row_higher_is_better(results_find(g->row)) ? "false"
		                                                   : "true");
		if (g->against || g->over)
			fprintf(f, ",\"against\":\"%s\"",
			        g->against ? g->against : g->over);
		fprintf(f, ",\"ratio\":%.6g,\"met\":%s}", ratio,
		        met(g, ratio) ? "true" : "false");
		first = false;
	}
}
