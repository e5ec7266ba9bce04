/* SPDX-License-Identifier: ISC */
/*
 * --memory is a cap: whatever a store does, and however much it holds, the
 * process has no more than that resident, besides what its code and its
 * threads need. Compaction is in the helper, which is a process of its own.
 */
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/store_fixture.h"

#define MB (1u << 20)
#define CAP (16u * MB)
#define MEMTABLE (CAP / 8) /* bytes, when nothing else is said */
/*
 * Beside the cap and what was resident before the store was opened: threads
 * and what each of them keeps (an inflater, the block that it reads), index
 * and blocks of the file that is written, what malloc has not given back.
 */
#define BESIDE (6u * MB)

#define KEYS 110000u
#define VALUE 600u /* bytes: all together four times the cap */
/* Large ones, through a store of LARGE_CAP. */
#define LARGE_CAP (32u * MB)
#define LARGE_KEYS 200u
#define LARGE_VALUE 1000000u
/* Beside what small ones need: a value each in what is logged, and in the
   block that is written and that is read, as it is and deflated. */
#define LARGE_BESIDE (6u * LARGE_VALUE)

#define READERS 4u
#define READS 20000u

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Bytes that were resident at most. */
static uint64_t
peak(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kb = 0;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %llu kB", &kb) == 1)
			break;
	fclose(f);
	assert_true(kb > 0);
	return kb * 1024;
}

static uint64_t
scatter(uint64_t i)
{
	return (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct slice
make_key(uint64_t i, char *to, size_t len)
{
	snprintf(to, len, "%016llx", (unsigned long long)scatter(i));
	return slice_make(to, 16);
}

/* Half of it does not compress. */
static void
fill_value(uint64_t x, unsigned char *to, size_t len)
{
	for (size_t at = 0; at < len; at++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		to[at] = at % 2 ? (unsigned char)(x >> 56) : 'x';
	}
}

static void
make_value(uint64_t i, unsigned round, unsigned char *to)
{
	fill_value(scatter(i) ^ round, to, VALUE);
}

static void
write_all(struct fixture *f, unsigned round)
{
	unsigned char value[VALUE];
	char key[32];

	for (uint64_t i = 0; i < KEYS; i++) {
		struct op op = { .kind = ENTRY_BYTES };
		struct err err = ERR_INIT;
		int rc;

		make_value(i, round, value);
		op.key = make_key(i, key, sizeof(key));
		op.value = slice_make(value, VALUE);
		while ((rc = store_write(f->store, &op, 1, NULL, &err)) ==
		       LSMKV_ESTALLED)
			clock_sleep_us(1000);
		if (rc)
			fail_msg("%s", err.message);
	}
}

struct read_load {
	pthread_t thread;
	struct store *store;
	uint64_t seed;
	unsigned wrong;
};

static void *
read_main(void *arg)
{
	struct read_load *r = arg;
	unsigned char value[VALUE];
	struct buf got = BUF_INIT;
	struct entry_info info;
	char key[32];

	for (unsigned n = 0; n < READS; n++) {
		uint64_t i;

		r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
		i = (r->seed >> 33) % KEYS;
		make_value(i, 1, value);
		if (store_get(r->store, make_key(i, key, sizeof(key)), 0, &got,
		              &info, NULL) ||
		    got.len != VALUE || memcmp(got.data, value, VALUE))
			r->wrong++;
	}
	buf_release(&got);
	return NULL;
}

static void
read_some(struct fixture *f)
{
	struct read_load readers[READERS];

	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct read_load){ .store = f->store, .seed = i };
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
		                                read_main, &readers[i]),
		                 0);
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].wrong, 0);
	}
}

static void
scan_all(struct fixture *f, bool backward)
{
	struct scan_range range = { .reverse = backward };
	struct scan *scan = NULL;
	struct err err = ERR_INIT;
	uint64_t count = 0;
	struct entry e;
	int rc = store_scan(f->store, &range, 0, &scan, &err);

	while (!rc && !(rc = scan_next(scan, &e, &err)))
		count++;
	if (rc != LSMKV_END)
		fail_msg("%s", err.message);
	scan_close(scan);
	assert_int_equal(count, KEYS);
}

/*
 * While nobody writes, the cache has what memtables would need else: reads fill
 * all of it but for half a memtable, tables and some slack.
 */
static void
fill_cache(struct fixture *f)
{
	uint64_t start = clock_mono_ns();
	struct store_stat stat;

	do {
		read_some(f);
		store_get_stat(f->store, &stat);
		if (clock_mono_ns() - start > UINT64_C(60000000000))
			break;
	} while (stat.cache.used < CAP - MEMTABLE / 2 - 2 * MB);
	print_message("cache: %.1f MB of %.1f MB\n",
	              (double)stat.cache.used / MB,
	              (double)stat.cache.capacity / MB);
	assert_true(stat.cache.used >= CAP - MEMTABLE / 2 - 2 * MB);
}

/* They get it back as they fill. */
static void
check_cache_gave_way(struct fixture *f)
{
	struct store_stat stat;

	store_get_stat(f->store, &stat);
	print_message("cache: %.1f MB of %.1f MB\n",
	              (double)stat.cache.used / MB,
	              (double)stat.cache.capacity / MB);
	assert_true(stat.cache.used <= CAP - MEMTABLE);
}

static void *
write_main(void *arg)
{
	write_all(arg, 1);
	return NULL;
}

/* Overwrites everything with the same, while others read it. */
static void
read_and_write(struct fixture *f)
{
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, write_main, f), 0);
	read_some(f);
	read_some(f);
	pthread_join(writer, NULL);
}

static void
check_cap(const char *what, uint64_t before, unsigned cap)
{
	uint64_t now = peak();

	print_message("%s: %.1f MB at most\n", what, (double)now / MB);
	if (now > before + cap + BESIDE)
		fail_msg("%s: %.1f MB, over %.1f + %u + %u", what,
		         (double)now / MB, (double)before / MB, cap / MB,
		         BESIDE / MB);
}

static void
check(const char *what, uint64_t before)
{
	check_cap(what, before, CAP);
}

static struct fixture *
make_fixture(uint64_t cap)
{
	struct fixture *f;

	if (SANITIZED) {
		print_message("skipped: a sanitizer has memory of its own\n");
		skip();
	}
	if (!getenv("LSMKV_HELPER")) {
		print_message("skipped: LSMKV_HELPER does not say where "
		              "lsmkv-compact is\n");
		skip();
	}
	log_set_level(LOG_LEVEL_ERROR);
	mallopt(M_ARENA_MAX, 1); /* as lsmkv.fcgi does */
	f = fixture_new();
	f->options.memory_bytes = cap;
	f->options.sync = SYNC_NONE;
	f->options.compactor.helper = getenv("LSMKV_HELPER");
	return f;
}

/* Filled, overwritten, read and scanned with four times as much as the cap. */
static void
memory_is_a_cap(void **state)
{
	struct fixture *f = make_fixture(CAP);
	uint64_t before = peak();

	(void)state;
	open_store(f);
	write_all(f, 0);
	check("filled", before);
	write_all(f, 1);
	check("overwritten", before);
	read_some(f);
	check("read", before);
	scan_all(f, false);
	scan_all(f, true);
	check("scanned", before);
	assert_int_equal(store_compact(f->store, NULL), 0);
	read_some(f);
	check("compacted and read", before);
	fill_cache(f);
	check("read until the cache was full", before);
	read_and_write(f);
	check_cache_gave_way(f);
	check("read and overwritten", before);
	fixture_free(f);
}

/* The same with values that stand in blocks of their own, and in huge pages
   while they are in memtables. */
static void
large_values(void **state)
{
	struct fixture *f = make_fixture(LARGE_CAP);
	uint64_t before = peak();
	unsigned char *value = malloc(LARGE_VALUE);
	struct buf got = BUF_INIT;
	struct entry_info info;
	struct err err = ERR_INIT;
	char key[32];

	(void)state;
	assert_non_null(value);
	open_store(f);
	for (uint64_t i = 0; i < LARGE_KEYS; i++) {
		struct op op = { .kind = ENTRY_BYTES };
		int rc;

		fill_value(scatter(i), value, LARGE_VALUE);
		op.key = make_key(i, key, sizeof(key));
		op.value = slice_make(value, LARGE_VALUE);
		while ((rc = store_write(f->store, &op, 1, NULL, &err)) ==
		       LSMKV_ESTALLED)
			clock_sleep_us(1000);
		if (rc)
			fail_msg("%s", err.message);
	}
	check_cap("filled with large values", before + LARGE_BESIDE, LARGE_CAP);
	for (uint64_t i = 0; i < LARGE_KEYS; i++) {
		fill_value(scatter(i), value, LARGE_VALUE);
		assert_int_equal(store_get(f->store,
		                           make_key(i, key, sizeof(key)), 0,
		                           &got, &info, &err),
		                 0);
		assert_int_equal(got.len, LARGE_VALUE);
		assert_memory_equal(got.data, value, LARGE_VALUE);
	}
	check_cap("large values read", before + LARGE_BESIDE, LARGE_CAP);
	buf_release(&got);
	free(value);
	fixture_free(f);
}

/* Each in a process of its own: what malloc keeps of the first, and what was
   resident for it, would be counted to the second. */
int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_a_cap),
	};
	const struct CMUnitTest large[] = {
		cmocka_unit_test(large_values),
	};
	int failed;

	if (argc > 1)
		return cmocka_run_group_tests_name("memory: large values",
		                                   large, NULL, NULL);
	failed = cmocka_run_group_tests_name("memory", tests, NULL, NULL);
	if (failed)
		return failed;
	execl("/proc/self/exe", argv[0], "large", (char *)NULL);
	perror("/proc/self/exe");
	return 1;
}
