/* SPDX-License-Identifier: ISC */
/*
 * lsmkv's engine beside LevelDB, RocksDB and LMDB: the same work, the same
 * memory, in one run, in turn.
 *
 * Each measurement is a process of its own, so that memory is told apart and
 * nothing is left over from the one before. In each of --turns rounds every
 * engine does every suite once, and the order of engines rotates. What is
 * printed is the median over the rounds, lsmkv's ratio to each of the others,
 * and whether the goal is met; with --json, every single figure, too.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/engine_table.h"
#include "bench/histogram.h"

#define THREADS_MOST 64
#define ROWS_MOST 256

static const struct bench_engine *const engines[] = {
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

#define ENGINES (sizeof(engines) / sizeof(*engines))

struct settings {
	uint64_t entries;
	uint64_t reads;       /* of each read workload */
	uint64_t sync_writes; /* of each synced fill */
	size_t value_len;
	size_t memtable_bytes, cache_bytes;
	unsigned turns;
	const char *dir;
	const char *json;
	const char *suites; /* comma-separated; NULL: all */
	const char *only;   /* engines, comma-separated; NULL: all */
};

static struct settings set = {
	.entries = 2000000,
	.reads = 1000000,
	.sync_writes = 40000,
	.value_len = 100,
	.memtable_bytes = 64u << 20,
	.cache_bytes = 64u << 20,
	.turns = 3,
	.dir = "bench.dir",
};

void
bench_die(const char *engine, const char *what, const char *message)
{
	fprintf(stderr, "bench: %s: %s: %s\n", engine, what, message);
	exit(1);
}

/* ---- time, keys, values ---- */

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A bijection of 64-bit numbers that looks random (splitmix64's finish). */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

#define KEY_LEN 16u

/* The key of entry i: 16 hexadecimal digits, in random order. */
static void
make_key(uint64_t i, char *key)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t x = mix(i);

	for (unsigned d = 0; d < KEY_LEN; d++, x >>= 4)
		key[d] = digits[x & 15];
}

/* Half of a value is random text, the other half repeats it. */
static void
make_value(uint64_t i, char *value, size_t len)
{
	size_t half = len / 2;
	uint64_t state = mix(~i), x = 0;

	for (size_t at = 0; at < half; at++) {
		if (at % 8 == 0)
			x = state = mix(state);
		value[at] = (char)(' ' + (x & 0xff) % 95);
		x >>= 8;
	}
	for (size_t at = half; at < len; at++)
		value[at] = value[at - half];
}

/* ---- workloads: what threads do ---- */

enum kind { FILL, READ, READ_ZIPF, READ_MISSING };

struct work {
	const struct bench_engine *engine;
	void *db;
	enum kind kind;
	uint64_t from, count; /* entries of this thread */
	uint64_t seed;
	const _Atomic int *stop; /* ends when it is set, too; may be NULL */
	struct histogram latency;
	uint64_t done, found;
};

/*
 * Zipf-like choice with exponent 0.99 by the method of Gray and others
 * (Quickly Generating Billion-Record Synthetic Databases, 1994).
 */
static double zeta_n;

static void
zipf_prepare(uint64_t n)
{
	double sum = 0;

	for (uint64_t i = 1; i <= n; i++)
		sum += 1 / __builtin_pow((double)i, 0.99);
	zeta_n = sum;
}

static uint64_t
zipf(uint64_t n, double u)
{
	const double theta = 0.99, alpha = 1 / (1 - theta);
	double uz = u * zeta_n;
	double eta = (1 - __builtin_pow(2.0 / (double)n, 1 - theta)) /
	             (1 - (1 + __builtin_pow(0.5, theta)) / zeta_n);
	uint64_t i;

	if (uz < 1)
		return 0;
	if (uz < 1 + __builtin_pow(0.5, theta))
		return 1;
	i = (uint64_t)((double)n * __builtin_pow(eta * u - eta + 1, alpha));
	return i < n ? i : n - 1;
}

static uint64_t
pick(const struct work *w, uint64_t i)
{
	uint64_t r = mix(w->seed + i);

	switch (w->kind) {
	case FILL:
		return w->from + i;
	case READ:
		return r % set.entries;
	case READ_ZIPF:
		return mix(zipf(set.entries,
		                (double)(r >> 11) / 9007199254740992.0)) %
		       set.entries;
	case READ_MISSING:
		return set.entries * 4 + r % set.entries;
	}
	return 0;
}

static void *
work_main(void *arg)
{
	struct work *w = arg;
	char key[KEY_LEN], *value = malloc(set.value_len);
	uint64_t then = now_ns(), now;
	size_t len;

	for (uint64_t i = 0; i < w->count; i++) {
		uint64_t entry = pick(w, i);

		if (w->stop &&
		    atomic_load_explicit(w->stop, memory_order_relaxed))
			break;
		make_key(entry, key);
		if (w->kind == FILL) {
			make_value(entry, value, set.value_len);
			w->engine->put(w->db, key, KEY_LEN, value,
			               set.value_len);
		} else if (w->engine->get(w->db, key, KEY_LEN, &len)) {
			w->found++;
			if (len != set.value_len)
				bench_die(w->engine->name, "get",
				          "a value of the wrong length");
		}
		now = now_ns();
		histogram_add(&w->latency, now - then);
		then = now;
		w->done++;
	}
	free(value);
	return NULL;
}

/* ---- reporting to the parent ---- */

static FILE *report; /* lines "name<TAB>value" */

static void
tell(const char *name, double value)
{
	fprintf(report, "%s\t%.9g\n", name, value);
	fflush(report);
}

static void
tell_latency(const char *name, const struct histogram *h)
{
	char row[96];

	snprintf(row, sizeof(row), "%s p50 us", name);
	tell(row, (double)histogram_quantile(h, 0.5) / 1e3);
	snprintf(row, sizeof(row), "%s p99 us", name);
	tell(row, (double)histogram_quantile(h, 0.99) / 1e3);
	snprintf(row, sizeof(row), "%s p99.9 us", name);
	tell(row, (double)histogram_quantile(h, 0.999) / 1e3);
	snprintf(row, sizeof(row), "%s max us", name);
	tell(row, (double)h->max / 1e3);
}

/* Runs `threads` of a kind over `count` operations and tells the rate. */
static void
run(const struct bench_engine *e, void *db, const char *name, enum kind kind,
    unsigned threads, uint64_t count)
{
	struct work *work = calloc(threads, sizeof(*work));
	pthread_t ids[THREADS_MOST];
	struct histogram all = { .total = 0 };
	uint64_t start = now_ns(), found = 0, done = 0, ns;
	char row[64];

	for (unsigned t = 0; t < threads; t++) {
		work[t].engine = e;
		work[t].db = db;
		work[t].kind = kind;
		work[t].from = count / threads * t;
		work[t].count = count / threads;
		work[t].seed = mix(t + 1) ^ (uint64_t)kind;
		pthread_create(&ids[t], NULL, work_main, &work[t]);
	}
	for (unsigned t = 0; t < threads; t++) {
		pthread_join(ids[t], NULL);
		histogram_merge(&all, &work[t].latency);
		found += work[t].found;
		done += work[t].done;
	}
	ns = now_ns() - start;
	free(work);
	if ((kind == READ || kind == READ_ZIPF) && found != done)
		bench_die(e->name, name, "an entry is missing");
	if (kind == READ_MISSING && found)
		bench_die(e->name, name, "an entry that was never written");
	snprintf(row, sizeof(row), "%s k/s", name);
	tell(row, (double)done * 1e6 / (double)ns);
	tell_latency(name, &all);
}

static uint64_t
dir_bytes(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t sum = 0;

	while (dir && (entry = readdir(dir))) {
		char file[4096];
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (!stat(file, &st))
			sum += (uint64_t)st.st_blocks * 512;
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* ---- suites ---- */

static void *
open_engine(const struct bench_engine *e, const char *dir, bool sync)
{
	struct bench_config config = {
		.dir = dir,
		.memtable_bytes = set.memtable_bytes,
		.cache_bytes = set.cache_bytes,
		.data_bytes = set.entries * (set.value_len + KEY_LEN),
		.sync = sync,
	};

	return e->open(&config);
}

static void
scan(const struct bench_engine *e, void *db, const char *name, bool backward)
{
	struct bench_scan sum = { 0, 0 };
	uint64_t start = now_ns();

	e->scan(db, backward, UINT64_MAX, &sum);
	if (sum.entries != set.entries)
		bench_die(e->name, name, "wrong count of entries");
	tell(name, (double)sum.entries * 1e6 / (double)(now_ns() - start));
}

static void
suite_main(const struct bench_engine *e, const char *dir)
{
	void *db = open_engine(e, dir, false);
	double raw = (double)(set.entries * (set.value_len + KEY_LEN));
	struct rusage usage;
	uint64_t start, written;

	run(e, db, "fill", FILL, 1, set.entries);
	run(e, db, "read after fill", READ, 1, set.reads);
	start = now_ns();
	e->compact(db);
	tell("compact s", (double)(now_ns() - start) / 1e9);
	written = e->written(db);
	if (written)
		tell("write amplification", (double)written / raw);
	run(e, db, "warm up", READ, 2, set.reads);
	run(e, db, "read", READ, 1, set.reads);
	run(e, db, "read, 2 threads", READ, 2, 2 * set.reads);
	run(e, db, "read, 4 threads", READ, 4, 2 * set.reads);
	run(e, db, "read zipf", READ_ZIPF, 1, set.reads);
	run(e, db, "read missing", READ_MISSING, 1, set.reads);
	scan(e, db, "scan forward k/s", false);
	scan(e, db, "scan backward k/s", true);
	run(e, db, "overwrite", FILL, 1, set.entries);
	e->compact(db);
	getrusage(RUSAGE_SELF, &usage);
	tell("peak memory MB", (double)usage.ru_maxrss / 1024);
	e->close(db);
	tell("on disk MB", (double)dir_bytes(dir) / 1e6);
	tell("space amplification", (double)dir_bytes(dir) / raw);
}

static void
suite_sync(const struct bench_engine *e, const char *dir)
{
	static const unsigned threads[] = { 1, 16, 64 };
	void *db = open_engine(e, dir, true);

	for (unsigned i = 0; i < 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "synced fill, %u thread%s",
		         threads[i], threads[i] == 1 ? "" : "s");
		run(e, db, name, FILL, threads[i],
		    threads[i] == 1 ? set.sync_writes / 8 : set.sync_writes);
	}
	e->close(db);
}

/* A reader beside a writer that writes as fast as it can. */
static void
suite_mixed(const struct bench_engine *e, const char *dir)
{
	void *db = open_engine(e, dir, false);
	static _Atomic int stop;
	struct work *w = calloc(2, sizeof(*w));
	pthread_t writer;
	uint64_t start, ns;

	run(e, db, "mixed: fill", FILL, 1, set.entries);
	e->compact(db);
	run(e, db, "mixed: warm up", READ, 1, set.reads);
	run(e, db, "mixed: read alone", READ, 1, set.reads);
	atomic_store(&stop, 0);
	w[0] = (struct work){ .engine = e,
		              .db = db,
		              .kind = FILL,
		              .from = set.entries,
		              .count = UINT64_MAX,
		              .stop = &stop };
	start = now_ns();
	pthread_create(&writer, NULL, work_main, &w[0]);
	run(e, db, "mixed: read beside a fill", READ, 1, set.reads / 2);
	atomic_store(&stop, 1);
	pthread_join(writer, NULL);
	ns = now_ns() - start;
	tell("mixed: fill beside reads k/s",
	     (double)w[0].done * 1e6 / (double)ns);
	tell_latency("mixed: fill beside reads", &w[0].latency);
	free(w);
	e->close(db);
}

static void
suite_values(const struct bench_engine *e, const char *dir)
{
	static const size_t lens[] = { 1000, 10000, 1000000 };
	uint64_t total = 512u << 20;

	for (unsigned i = 0; i < 3; i++) {
		char sub[4096], name[64];
		uint64_t count = total / lens[i];
		void *db;

		set.value_len = lens[i];
		set.entries = count;
		snprintf(sub, sizeof(sub), "%s/%zu", dir, lens[i]);
		mkdir(sub, 0755);
		db = open_engine(e, sub, false);
		snprintf(name, sizeof(name), "fill, %zu B values", lens[i]);
		run(e, db, name, FILL, 1, count);
		snprintf(name, sizeof(name), "read, %zu B values", lens[i]);
		run(e, db, name, READ, 1, count < 20000 ? count : 20000);
		e->close(db);
	}
}

static const struct suite {
	const char *name;
	void (*run)(const struct bench_engine *e, const char *dir);
} suites[] = {
	{ "main", suite_main },
	{ "sync", suite_sync },
	{ "mixed", suite_mixed },
	{ "values", suite_values },
};

#define SUITES (sizeof(suites) / sizeof(*suites))

/* ---- the parent: turns, medians, the table ---- */

struct row {
	char name[64];
	double *value[ENGINES]; /* by turn */
	unsigned count[ENGINES];
};

static struct row rows[ROWS_MOST];
static unsigned row_count;

static struct row *
row_of(const char *name)
{
	for (unsigned i = 0; i < row_count; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	if (row_count == ROWS_MOST)
		bench_die("bench", name, "too many rows");
	snprintf(rows[row_count].name, sizeof(rows[0].name), "%.63s", name);
	for (unsigned e = 0; e < ENGINES; e++)
		rows[row_count].value[e] = calloc(set.turns, sizeof(double));
	return &rows[row_count++];
}

static bool
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

static void
remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char file[4096];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (unlink(file))
			remove_tree(file);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void
measure(unsigned engine, const struct suite *suite)
{
	char dir[4096], line[256];
	int pipes[2], status;
	pid_t pid;
	FILE *in;

	snprintf(dir, sizeof(dir), "%s/%s", set.dir, engines[engine]->name);
	remove_tree(dir);
	if ((mkdir(set.dir, 0755) && errno != EEXIST) || mkdir(dir, 0755))
		bench_die("bench", dir, strerror(errno));
	sync(); /* what others wrote is not this one's to write back */
	fprintf(stderr, "bench: %s: %s\n", suite->name, engines[engine]->name);
	if (pipe(pipes))
		bench_die("bench", "pipe", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(pipes[0]);
		report = fdopen(pipes[1], "w");
		suite->run(engines[engine], dir);
		fclose(report);
		_exit(0);
	}
	close(pipes[1]);
	in = fdopen(pipes[0], "r");
	while (fgets(line, sizeof(line), in)) {
		char *tab = strchr(line, '\t');
		struct row *r;

		if (!tab)
			continue;
		*tab = '\0';
		r = row_of(line);
		r->value[engine][r->count[engine]++] = strtod(tab + 1, NULL);
	}
	fclose(in);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_die(engines[engine]->name, suite->name, "it failed");
	remove_tree(dir);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(const struct row *r, unsigned e)
{
	double sorted[64];
	unsigned n = r->count[e] < 64 ? r->count[e] : 64;

	if (!n)
		return -1;
	memcpy(sorted, r->value[e], n * sizeof(double));
	qsort(sorted, n, sizeof(double), by_value);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* What is asked for: lsmkv's ratio to the best of the engines named. */
static const struct goal {
	const char *row;
	double ratio; /* lsmkv / other; at least, or at most if `less` */
	bool less;
	const char *against; /* comma-separated; the best of them counts */
} goals[] = {
	{ "fill k/s", 2.0, false, "leveldb,rocksdb,lmdb" },
	{ "synced fill, 16 threads k/s", 1.5, false, "leveldb,rocksdb,lmdb" },
	{ "read k/s", 1.5, false, "leveldb" },
	{ "read missing k/s", 1.0, false, "lmdb" },
	{ "scan forward k/s", 1.0, false, "leveldb,rocksdb" },
	{ "scan backward k/s", 1.0, false, "leveldb,rocksdb" },
	{ "on disk MB", 1.0, true, "leveldb,rocksdb" },
	{ "write amplification", 1.0, true, "rocksdb" },
};

static void
print_goal(const struct row *r)
{
	for (size_t g = 0; g < sizeof(goals) / sizeof(*goals); g++) {
		double best = -1, own = median(r, 0);

		if (strcmp(goals[g].row, r->name))
			continue;
		for (unsigned e = 1; e < ENGINES; e++) {
			double m = median(r, e);

			if (m < 0 ||
			    !listed(goals[g].against, engines[e]->name))
				continue;
			if (best < 0 || (goals[g].less ? m < best : m > best))
				best = m;
		}
		if (best <= 0 || own < 0)
			continue;
		printf("  goal %s %.2f x %s: %.2f, %s",
		       goals[g].less ? "<=" : ">=", goals[g].ratio,
		       goals[g].against, own / best,
		       (goals[g].less ? own / best <= goals[g].ratio
		                      : own / best >= goals[g].ratio)
		               ? "met"
		               : "NOT met");
	}
}

static void
print_table(void)
{
	printf("%-36s", "");
	for (unsigned e = 0; e < ENGINES; e++)
		printf(" %10s", engines[e]->name);
	for (unsigned e = 1; e < ENGINES; e++)
		printf("  /%-7s", engines[e]->name);
	printf("\n");
	for (unsigned i = 0; i < row_count; i++) {
		const struct row *r = &rows[i];
		double own = median(r, 0);

		printf("%-36s", r->name);
		for (unsigned e = 0; e < ENGINES; e++) {
			double m = median(r, e);

			if (m < 0)
				printf(" %10s", "-");
			else
				printf(m < 100 ? " %10.2f" : " %10.0f", m);
		}
		for (unsigned e = 1; e < ENGINES; e++) {
			double m = median(r, e);

			if (m <= 0 || own < 0)
				printf("  %8s", "-");
			else
				printf("  %8.2f", own / m);
		}
		print_goal(r);
		printf("\n");
	}
}

static void
write_json(void)
{
	FILE *f = fopen(set.json, "w");

	if (!f)
		bench_die("bench", set.json, strerror(errno));
	fprintf(f, "{\"entries\":%" PRIu64 ",\"value_bytes\":%zu,\"rows\":{",
	        set.entries, set.value_len);
	for (unsigned i = 0; i < row_count; i++) {
		fprintf(f, "%s\n\"%s\":{", i ? "," : "", rows[i].name);
		for (unsigned e = 0, first = 1; e < ENGINES; e++) {
			if (!rows[i].count[e])
				continue;
			fprintf(f, "%s\"%s\":[", first ? "" : ",",
			        engines[e]->name);
			for (unsigned t = 0; t < rows[i].count[e]; t++)
				fprintf(f, "%s%.6g", t ? "," : "",
				        rows[i].value[e][t]);
			fprintf(f, "]");
			first = 0;
		}
		fprintf(f, "}");
	}
	fprintf(f, "\n}}\n");
	fclose(f);
}

static void
usage(void)
{
	printf("usage: bench [--entries N] [--reads N] [--sync-writes N]\n"
	       "             [--value BYTES] [--memtable MB] [--cache MB]\n"
	       "             [--turns N] [--suites main,sync,mixed,values]\n"
	       "             [--engines lsmkv,leveldb,...] [--dir DIR]\n"
	       "             [--json FILE]\n");
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "entries", required_argument, NULL, 'n' },
		{ "reads", required_argument, NULL, 'r' },
		{ "sync-writes", required_argument, NULL, 'w' },
		{ "value", required_argument, NULL, 'v' },
		{ "memtable", required_argument, NULL, 'm' },
		{ "cache", required_argument, NULL, 'c' },
		{ "turns", required_argument, NULL, 't' },
		{ "suites", required_argument, NULL, 's' },
		{ "engines", required_argument, NULL, 'e' },
		{ "dir", required_argument, NULL, 'd' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			set.entries = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			set.reads = strtoull(optarg, NULL, 10);
			break;
		case 'w':
			set.sync_writes = strtoull(optarg, NULL, 10);
			break;
		case 'v':
			set.value_len = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			set.memtable_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'c':
			set.cache_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 't':
			set.turns = (unsigned)strtoull(optarg, NULL, 10);
			break;
		case 's':
			set.suites = optarg;
			break;
		case 'e':
			set.only = optarg;
			break;
		case 'd':
			set.dir = optarg;
			break;
		case 'j':
			set.json = optarg;
			break;
		case 'h':
			usage();
			return 0;
		default:
			usage();
			return 2;
		}
	}
	if (!set.turns || set.turns > 64 || !set.entries || !set.value_len) {
		usage();
		return 2;
	}
#ifndef HAVE_LEVELDB
	printf("LevelDB is left out: apt-get install libleveldb-dev\n");
#endif
#ifndef HAVE_ROCKSDB
	printf("RocksDB is left out: apt-get install librocksdb-dev\n");
#endif
#ifndef HAVE_LMDB
	printf("LMDB is left out: apt-get install liblmdb-dev\n");
#endif
	zipf_prepare(set.entries);
	for (unsigned t = 0; t < set.turns; t++)
		for (unsigned s = 0; s < SUITES; s++)
			for (unsigned i = 0; i < ENGINES; i++) {
				unsigned e = (i + t) % ENGINES;

				if (listed(set.suites, suites[s].name) &&
				    listed(set.only, engines[e]->name))
					measure(e, &suites[s]);
			}
	printf("%" PRIu64 " entries of %u + %zu bytes; write buffer %zu MB, "
	       "block cache %zu MB; medians of %u turns\n",
	       set.entries, KEY_LEN, set.value_len, set.memtable_bytes >> 20,
	       set.cache_bytes >> 20, set.turns);
	print_table();
	if (set.json)
		write_json();
	rmdir(set.dir);
	return 0;
}
