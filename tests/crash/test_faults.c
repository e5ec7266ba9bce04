/* SPDX-License-Identifier: ISC */
/*
 * What the store does when a call fails: rules about single, chosen faults.
 * Give a test's name as the argument to run it alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/fault.h"
#include "lib/store_fixture.h"

#define BIG (900u << 10) /* bytes; the log is read in pieces of 1 MiB */

static int
setup(void **state)
{
	struct fixture *f = fixture_new();

	fault_reset();
	f->options.memory_bytes = 64 << 20;
	f->options.scrub_s = 0;
	open_store(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fault_reset();
	fixture_free(*state);
	return 0;
}

static void
reopen(struct fixture *f)
{
	store_close(f->store, NULL);
	f->store = NULL;
	open_store(f);
}

static int
set(struct fixture *f, const char *key, const char *value)
{
	struct op op = { .key = slice_str(key),
		         .value = slice_str(value),
		         .kind = ENTRY_TEXT };

	return store_write(f->store, &op, 1, NULL, NULL);
}

/* The store may want a moment to see that there is room again. */
static void
set_with_room(struct fixture *f, const char *key, const char *value)
{
	int rc;

	for (unsigned i = 0; i < 1000; i++) {
		rc = set(f, key, value);
		if (rc != LSMKV_ENOSPC)
			break;
		clock_sleep_us(10000);
	}
	assert_int_equal(rc, 0);
}

/* ---- writing ---- */

/* A failed sync is final: no retry, no write after it, reads go on. */
static void
failed_sync_is_final(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_DATASYNC,
		                   .nth = 1,
		                   .error = EIO };
	struct fixture *f = *state;

	assert_int_equal(set(f, "a", "1"), 0);
	fault_set(&plan);
	assert_int_equal(set(f, "b", "2"), LSMKV_EUNKNOWN);
	assert_int_equal(fault_fired(), 1);
	assert_int_equal(set(f, "c", "3"), LSMKV_EFAILED);
	expect(f, "a", "1");
	fault_reset();
	assert_int_equal(set(f, "c", "3"), LSMKV_EFAILED);
	assert_int_equal(fault_count(FAULT_DATASYNC), 0);
	reopen(f);
	expect(f, "a", "1");
	expect(f, "c", NULL);
	assert_int_equal(set(f, "c", "4"), 0);
}

/* Nobody reads a write whose sync has failed: a crash could take it back. */
static void
unsynced_is_unseen(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_DATASYNC,
		                   .nth = 1,
		                   .error = EIO };
	struct fixture *f = *state;

	assert_int_equal(set(f, "a", "1"), 0);
	fault_set(&plan);
	assert_int_equal(set(f, "a", "2"), LSMKV_EUNKNOWN);
	expect(f, "a", "1");
}

/*
 * A full disk may leave half a record: what is acknowledged after that, with
 * room again, is there after a restart.
 */
static void
half_a_record(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_WRITE,
		                   .nth = 1,
		                   .error = ENOSPC,
		                   .how = FAULT_SHORT_FAILS };
	struct fixture *f = *state;

	assert_int_equal(set(f, "a", "1"), 0);
	fault_set(&plan);
	assert_int_equal(set(f, "b", "2"), LSMKV_ENOSPC);
	assert_int_equal(fault_fired(), 2);
	expect(f, "b", NULL);
	set_with_room(f, "c", "3");
	reopen(f);
	expect(f, "a", "1");
	expect(f, "b", NULL);
	expect(f, "c", "3");
}

/* An error that is no full disk ends writing, also after half a record. */
static void
half_a_record_of_a_broken_disk(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_WRITE,
		                   .nth = 1,
		                   .error = EIO,
		                   .how = FAULT_SHORT_FAILS };
	struct fixture *f = *state;

	assert_int_equal(set(f, "a", "1"), 0);
	fault_set(&plan);
	assert_int_equal(set(f, "b", "2"), LSMKV_EUNKNOWN);
	assert_int_equal(set(f, "c", "3"), LSMKV_EFAILED);
	reopen(f);
	expect(f, "a", "1");
	expect(f, "b", NULL);
	assert_int_equal(set(f, "c", "3"), 0);
}

/* The highest number of a segment, and how many there are. */
static unsigned
newest_segment(struct fixture *f, unsigned *count)
{
	unsigned newest = 0;
	char name[32];

	*count = 0;
	for (unsigned number = 1; number < 100; number++) {
		snprintf(name, sizeof(name), "%06u.wal", number);
		if (tmpdir_has(f->path, name)) {
			newest = number;
			++*count;
		}
	}
	return newest;
}

/*
 * A full disk that writes nothing in place (btrfs) has no room for the header
 * of the segment that was made ahead of time: then one is made as if there
 * were none, and a deletion that needs it is not refused.
 */
static void
no_room_in_the_spare_segment(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_WRITE,
		                   .nth = 1,
		                   .for_good = true,
		                   .error = ENOSPC };
	struct op del = { .key = slice_str("big"), .kind = ENTRY_TOMBSTONE };
	uint64_t until = clock_mono_ns() + UINT64_C(60000000000);
	struct fixture *f = *state;
	char *big = calloc(1, BIG), spare[32];
	struct store_stat stat;
	unsigned count;

	memset(big, 'x', BIG - 1);
	f->options.memtable_bytes = BIG / 2;
	reopen(f);
	assert_int_equal(set(f, "big", big), 0);
	assert_int_equal(set(f, "bigger", big), 0);
	/* The first one is flushed; the second one is full, too. */
	do {
		clock_sleep_us(1000);
		store_get_stat(f->store, &stat);
		newest_segment(f, &count);
	} while ((!stat.flushes || count != 2) && clock_mono_ns() < until);
	snprintf(spare, sizeof(spare), "%06u.wal", newest_segment(f, &count));
	assert_int_equal(count, 2);
	plan.name = spare;
	fault_set(&plan);
	assert_int_equal(store_write(f->store, &del, 1, NULL, NULL), 0);
	assert_int_equal(fault_fired(), 1);
	fault_reset();
	assert_false(tmpdir_has(f->path, spare));
	reopen(f);
	expect(f, "big", NULL);
	assert_int_equal(set(f, "big", "2"), 0);
	free(big);
}

/* ---- opening ---- */

/*
 * Every read that fails while the store opens keeps it from opening, and
 * nothing is lost: it opens with all it had once the disk reads again.
 */
static void
read_errors_on_opening(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_READ, .error = EIO };
	struct fixture *f = *state;
	char *big = malloc(BIG + 1), *original = f->path;
	unsigned refused = 0;
	bool fired = true;

	memset(big, 'x', BIG);
	big[BIG] = '\0';
	assert_int_equal(set(f, "a", "1"), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(set(f, "big", big), 0);
	assert_int_equal(set(f, "bigger", big), 0);
	assert_int_equal(set(f, "b", "2"), 0);
	store_close(f->store, NULL);
	for (plan.nth = 1; fired; plan.nth++) {
		struct err err = ERR_INIT;
		int rc;

		f->path = tmpdir_copy(original);
		fault_set(&plan);
		rc = store_open(&f->store, f->path, &f->options, &err);
		fired = fault_fired() > 0;
		fault_reset();
		if (rc) {
			assert_int_equal(rc, LSMKV_EIO);
			refused++;
			open_store(f);
		}
		expect(f, "a", "1");
		expect(f, "big", big);
		expect(f, "bigger", big);
		expect(f, "b", "2");
		store_close(f->store, NULL);
		f->store = NULL;
		tmpdir_free(f->path);
	}
	f->path = original;
	free(big);
	assert_true(refused > 3);
}

/* ---- reading ---- */

/* Damage in the newest table of a key is an error, not its older value. */
static void
damage_hides_nothing(void **state)
{
	struct fixture *f = *state;
	struct buf got = BUF_INIT;
	struct entry_info info;
	char name[32];
	unsigned number, newest = 0;

	assert_int_equal(set(f, "a", "1"), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(set(f, "a", "2"), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	reopen(f);
	for (number = 1; number < 100; number++) {
		snprintf(name, sizeof(name), "%06u.sst", number);
		if (tmpdir_has(f->path, name))
			newest = number;
	}
	snprintf(name, sizeof(name), "%06u.sst", newest);
	/* In the first block: the header of a file has 16 bytes. */
	tmpdir_flip(f->path, name, 18, 0x10);
	assert_int_equal(
		store_get(f->store, slice_str("a"), 0, &got, &info, NULL),
		LSMKV_ECORRUPT);
	buf_release(&got);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(failed_sync_is_final),
		TEST(unsynced_is_unseen),
		TEST(half_a_record),
		TEST(half_a_record_of_a_broken_disk),
		TEST(no_room_in_the_spare_segment),
		TEST(read_errors_on_opening),
		TEST(damage_hides_nothing),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
