/* SPDX-License-Identifier: ISC */
/*
 * The driver: in each of --turns rounds every engine does every suite once,
 * and the order of engines rotates. What is printed is the median over the
 * rounds, lsmkv's ratio to each of the others, and whether the goals are met.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/machine.h"
#include "bench/measure.h"
#include "bench/memory_group.h"
#include "bench/results.h"
#include "bench/session.h"
#include "bench/suites.h"

const struct bench_engine *const bench_engines[] = {
	&bench_lsmkv,
#ifdef HAVE_LEVELDB
	&bench_leveldb,
#endif
#ifdef HAVE_ROCKSDB
	&bench_rocksdb,
#endif
#ifdef HAVE_LMDB
	&bench_lmdb,
#endif
};
const unsigned bench_engine_count =
	sizeof(bench_engines) / sizeof(*bench_engines);

const struct suite suites[] = {
	{ "main", "fills, reads, scans; cache: a quarter of the data", true,
	  false, suite_main },
	{ "cached", "the same reads with everything cached", true, false,
	  suite_cached },
	{ "sync", "durable fills by 1, 16 and 64 threads", true, false,
	  suite_sync },
	{ "mixed", "a reader beside a writer", true, true, suite_mixed },
	{ "values", "values of 1 KB, 10 KB, 1 MB", true, true, suite_values },
	{ "long", "a long fill, over time", true, true, suite_long },
	{ "open", "opening after kill -9", true, true, suite_open },
	{ "growth", "1 M, 10 M, 50 M entries; takes an hour or more", false,
	  true, suite_growth },
};
const unsigned suite_count = sizeof(suites) / sizeof(*suites);

struct settings settings = {
	.entries = 2000000,
	.value_len = 100,
	.seconds = 1,
	.sync_writes = 40000,
	.memtable_bytes = 64u << 20,
	.long_entries = 5000000,
	.long_seconds = 60,
	.open_gb = 1,
	.lengths = "1000,10000,1000000",
	.growth = "1,10,50",
	.growth_seconds = 1200,
	.turns = 3,
	.dir = "bench.dir",
};

uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
bench_die(const char *engine, const char *what, const char *message)
{
	fprintf(stderr, "\nbench: %s: %s: %s\n", engine, what, message);
	exit(1);
}

static void
print_help(void)
{
	printf("usage: bench [OPTION]...\n"
	       "  --suites LIST       of those below\n"
	       "  --engines LIST      lsmkv,leveldb,rocksdb,lmdb\n"
	       "  --turns N           medians over so many; default 3\n"
	       "  --entries N         default 2000000\n"
	       "  --value BYTES       default 100\n"
	       "  --seconds S         of each read workload; default 1\n"
	       "  --sync-writes N     of each durable fill; default 40000\n"
	       "  --memtable MB       one of three write buffers; default 64\n"
	       "  --cache MB          default: a quarter of the data\n"
	       "  --within MB         a memory cgroup for every engine, page\n"
	       "                      cache included; default: LMDB alone\n"
	       "  --long-entries N    of the long fill; default 5000000,\n"
	       "  --long-seconds S    which ends then at the latest; 60\n"
	       "  --open-gb N         in the store that is killed; default 1\n"
	       "  --lengths LIST      of values; default 1000,10000,1000000\n"
	       "  --growth LIST       millions of entries; default 1,10,50\n"
	       "  --growth-seconds S  a fill that takes longer is given up\n"
	       "  --dir DIR           for the stores; default bench.dir\n"
	       "  --json FILE         every single figure\n"
	       "  --picture FILE      the long fill over time, as SVG\n"
	       "suites:\n");
	for (unsigned i = 0; i < suite_count; i++)
		printf("  %-8s %s%s\n", suites[i].name, suites[i].about,
		       suites[i].by_default ? "" : " (only if named)");
}

static double
number(const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || value < least || value > most)
		bench_die("bench", text, "is not a number that makes sense");
	return value;
}

static void
parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "suites", required_argument, NULL, 's' },
		{ "engines", required_argument, NULL, 'e' },
		{ "turns", required_argument, NULL, 't' },
		{ "entries", required_argument, NULL, 'n' },
		{ "value", required_argument, NULL, 'v' },
		{ "seconds", required_argument, NULL, 'r' },
		{ "sync-writes", required_argument, NULL, 'w' },
		{ "memtable", required_argument, NULL, 'm' },
		{ "cache", required_argument, NULL, 'c' },
		{ "within", required_argument, NULL, 'W' },
		{ "long-entries", required_argument, NULL, 'l' },
		{ "long-seconds", required_argument, NULL, 'L' },
		{ "open-gb", required_argument, NULL, 'o' },
		{ "lengths", required_argument, NULL, 'V' },
		{ "growth", required_argument, NULL, 'g' },
		{ "growth-seconds", required_argument, NULL, 'G' },
		{ "dir", required_argument, NULL, 'd' },
		{ "json", required_argument, NULL, 'j' },
		{ "picture", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const double most = 1e12;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			settings.suites = optarg;
			break;
		case 'e':
			settings.engines = optarg;
			break;
		case 't':
			settings.turns =
				(unsigned)number(optarg, 1, TURNS_MOST);
			break;
		case 'n':
			settings.entries = (uint64_t)number(optarg, 1000, most);
			break;
		case 'v':
			settings.value_len = (uint64_t)number(optarg, 2, 1e6);
			break;
		case 'r':
			settings.seconds = number(optarg, 0.01, 3600);
			break;
		case 'w':
			settings.sync_writes =
				(uint64_t)number(optarg, 1000, most);
			break;
		case 'm':
			settings.memtable_bytes =
				(uint64_t)number(optarg, 1, 65536) << 20;
			break;
		case 'c':
			settings.cache_bytes =
				(uint64_t)number(optarg, 1, 1 << 20) << 20;
			break;
		case 'W':
			settings.within_bytes =
				(uint64_t)number(optarg, 16, 1 << 20) << 20;
			break;
		case 'l':
			settings.long_entries =
				(uint64_t)number(optarg, 10000, most);
			break;
		case 'L':
			settings.long_seconds = number(optarg, 1, 3600);
			break;
		case 'o':
			settings.open_gb = number(optarg, 0.01, 10000);
			break;
		case 'V':
			settings.lengths = optarg;
			break;
		case 'g':
			settings.growth = optarg;
			break;
		case 'G':
			settings.growth_seconds = number(optarg, 1, 1e6);
			break;
		case 'd':
			settings.dir = optarg;
			break;
		case 'j':
			settings.json = optarg;
			break;
		case 'p':
			settings.picture = optarg;
			break;
		case 'h':
			print_help();
			exit(0);
		default:
			fprintf(stderr, "bench: see --help\n");
			exit(2);
		}
	}
}

/* Who takes part, and with what. */
static void
print_engines(void)
{
	const struct data data = { .entries = settings.entries,
		                   .value_len = settings.value_len };
	struct bench_config config;
	char why[256];

	session_config(&config, "", &data, CACHE_AS_SET, false);
	printf("%" PRIu64 " entries of 16 + %" PRIu64
	       " bytes; medians of %u turns; each is given %.0f MB:\n",
	       settings.entries, settings.value_len, settings.turns,
	       (double)config.memory_bytes / MB);
	if (!settings.cache_bytes)
		printf("  (where a store has another size, as in growth, open, "
		       "long and values,\n   the cache is a quarter of that)\n");
	for (unsigned e = 0; e < bench_engine_count; e++) {
		char version[64], given[256];

		bench_engines[e]->version(version, sizeof(version));
		bench_engines[e]->describe(&config, given, sizeof(given));
		printf("  %-8s %-7s %-7s %s\n", bench_engines[e]->name, version,
		       bench_engines[e]->compression, given);
	}
#ifndef HAVE_LEVELDB
	printf("  leveldb  is left out: apt-get install libleveldb-dev\n");
#endif
#ifndef HAVE_ROCKSDB
	printf("  rocksdb  is left out: apt-get install librocksdb-dev\n");
#endif
#ifndef HAVE_LMDB
	printf("  lmdb     is left out: apt-get install liblmdb-dev\n");
#endif
	if (!memory_group_available(why, sizeof(why)))
		printf("  %s\n", why);
	else if (settings.within_bytes)
		printf("  all of them inside a memory cgroup of %.0f MB\n",
		       (double)settings.within_bytes / MB);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	unsigned failed = 0;

	parse(argc, argv);
	print_engines();
	mkdir(settings.dir, 0755);
	machine_measure(settings.dir);
	machine_print();
	for (unsigned t = 0; t < settings.turns; t++)
		for (unsigned s = 0; s < suite_count; s++)
			for (unsigned i = 0; i < bench_engine_count; i++) {
				unsigned e = (i + t) % bench_engine_count;

				if (!listed(settings.engines,
				            bench_engines[e]->name) ||
				    (settings.suites ? !listed(settings.suites,
				                               suites[s].name)
				                     : !suites[s].by_default) ||
				    (suites[s].once && t))
					continue;
				if (!measure(e, &suites[s], t))
					failed++;
			}
	memory_group_remove();
	table_print();
	goals_print();
	if (settings.picture)
		picture_write(settings.picture);
	rmdir(settings.dir);
	if (failed)
		fprintf(stderr, "bench: %u measurement%s failed\n", failed,
		        failed == 1 ? "" : "s");
	return failed ? 1 : 0;
}
