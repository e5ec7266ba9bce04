/* SPDX-License-Identifier: ISC */
/*
 * A store on a file system that gets full: a small tmpfs in a mount namespace
 * of this process, which needs root; skipped otherwise.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/tmpdir.h"
#include "store/store.h"

#define KEYS 20000u
#define VALUE 2000u

static char *path;
static struct store *store;
static struct store_options options;

static bool
mount_small(void)
{
	path = tmpdir_new();
	return !unshare(CLONE_NEWNS) &&
	       !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tmpfs", path, "tmpfs", 0, "size=12m");
}

static void
open_store(void)
{
	struct err err = ERR_INIT;

	if (store_open(&store, path, &options, &err))
		fail_msg("%s", err.message);
}

/* Little memory, and garbage that does not wait. */
static void
open_small(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	store_options_init(&options);
	options.memory_bytes = 4u << 20;
	options.memtable_bytes = 256u << 10;
	options.idle_flush_ms = 100;
	options.compactor.reclaim_ms = 100;
	open_store();
}

static void
close_small(void)
{
	assert_int_equal(store_close(store, NULL), 0);
	umount(path);
	rmdir(path);
	free(path);
}

static void
fill_value(unsigned i, unsigned round, unsigned char *value)
{
	uint64_t x = i * 1000003u + round;

	for (unsigned at = 0; at < VALUE; at++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		value[at] = (unsigned char)(x >> 56);
	}
}

static int
put(unsigned i, unsigned round)
{
	unsigned char value[VALUE];
	struct err err = ERR_INIT;
	struct op op = { .kind = ENTRY_BYTES };
	char key[16];
	int rc;

	fill_value(i, round, value);
	snprintf(key, sizeof(key), "key%06u", i);
	op.key = slice_str(key);
	op.value = slice_make(value, VALUE);
	while ((rc = store_write(store, &op, 1, NULL, &err)) == LSMKV_ESTALLED)
		clock_sleep_us(1000);
	return rc;
}

static void
expect(unsigned i, unsigned round)
{
	unsigned char value[VALUE];
	struct buf got = BUF_INIT;
	struct entry_info info;
	char key[16];

	fill_value(i, round, value);
	snprintf(key, sizeof(key), "key%06u", i);
	assert_int_equal(store_get(store, slice_str(key), 0, &got, &info, NULL),
	                 0);
	assert_int_equal(got.len, VALUE);
	assert_memory_equal(got.data, value, VALUE);
	buf_release(&got);
}

static int delete (unsigned i)
{
	struct err err = ERR_INIT;
	struct op op = { .kind = ENTRY_TOMBSTONE };
	char key[16];
	int rc = LSMKV_ENOSPC;

	snprintf(key, sizeof(key), "key%06u", i);
	op.key = slice_str(key);
	/* Compaction makes room for more deletions. */
	for (unsigned tries = 0; tries < 3000; tries++) {
		rc = store_write(store, &op, 1, NULL, &err);
		if (rc != LSMKV_ESTALLED && rc != LSMKV_ENOSPC)
			break;
		clock_sleep_us(10000);
	}
	return rc;
}

/*
 * Sets until the disk is full answer "disk full"; everything before is there,
 * deletions are taken, and when they have made room sets work again, without
 * a reopening. Three times over.
 */
static void
full_and_room_again(void **state)
{
	(void)state;
	if (!mount_small()) {
		printf("skipped: a mount of its own needs root\n");
		skip();
	}
	open_small();
	for (unsigned round = 0; round < 3; round++) {
		uint64_t until = clock_mono_ns() + UINT64_C(60000000000);
		unsigned n = 0;
		int rc = 0;

		/* 12 MB hold 3000 at least, once the last round's are gone. */
		while (n < KEYS) {
			rc = put(n, round);
			if (!rc)
				n++;
			else if (rc != LSMKV_ENOSPC || n >= 3000 ||
			         clock_mono_ns() > until)
				break;
			else
				clock_sleep_us(20000);
		}
		assert_int_equal(rc, LSMKV_ENOSPC);
		assert_true(n >= 3000);
		for (unsigned i = 0; i < n; i++)
			expect(i, round);
		if (round == 1) { /* it can be opened when full, too */
			assert_int_equal(store_close(store, NULL), 0);
			open_store();
			for (unsigned i = 0; i < n; i++)
				expect(i, round);
		}
		for (unsigned i = 0; i < n; i++)
			if (delete (i))
				fail_msg("round %u: deletion %u of %u", round,
				         i, n);
		until = clock_mono_ns() + UINT64_C(60000000000);
		while ((rc = put(KEYS, round)) == LSMKV_ENOSPC &&
		       clock_mono_ns() < until)
			clock_sleep_us(20000);
		assert_int_equal(rc, 0);
		expect(KEYS, round);
	}
	close_small();
}

static unsigned
any(unsigned below)
{
	static uint64_t x = 1;

	x = x * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(x >> 33) % below;
}

/*
 * The same with keys in no order, so that every file spans all of them and
 * what goes down meets all that lies there; and only one of eight is deleted
 * each time. Compaction has to get along with the little room that is left:
 * where it asks for more, sets are refused for good.
 */
static void
room_for_random_keys(void **state)
{
	static unsigned char has[KEYS]; /* round + 1 of the value; 0: none */

	(void)state;
	if (!mount_small()) {
		printf("skipped: a mount of its own needs root\n");
		skip();
	}
	open_small();
	for (unsigned round = 0; round < 8; round++) {
		uint64_t until = clock_mono_ns() + UINT64_C(60000000000);
		unsigned set = 0, i = any(KEYS);
		int rc;

		while (!(rc = put(i, round)) ||
		       (rc == LSMKV_ENOSPC && set < 100 &&
		        clock_mono_ns() < until)) {
			if (rc) {
				clock_sleep_us(20000);
				continue;
			}
			has[i] = (unsigned char)(round + 1);
			set++;
			i = any(KEYS);
		}
		assert_int_equal(rc, LSMKV_ENOSPC);
		if (set < 100)
			fail_msg("round %u: no room after %u sets", round, set);
		for (i = 0; i < KEYS; i++)
			if (has[i])
				expect(i, has[i] - 1u);
		for (i = 0; i < KEYS; i++) {
			if (!has[i] || any(8))
				continue;
			if (delete (i))
				fail_msg("round %u: deletion of %u", round, i);
			has[i] = 0;
		}
	}
	close_small();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_and_room_again),
		cmocka_unit_test(room_for_random_keys),
	};

	return cmocka_run_group_tests_name("full disk", tests, NULL, NULL);
}
