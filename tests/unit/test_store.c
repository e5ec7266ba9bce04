/* SPDX-License-Identifier: ISC */
/*
 * The store as its callers see it. Merges run in the store's own thread here;
 * the helper process has its tests in test_compactor.c and tests/e2e.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/store_fixture.h"

static void
reopen(struct fixture *f)
{
	assert_int_equal(store_close(f->store, NULL), 0);
	open_store(f);
}

static int
setup(void **state)
{
	struct fixture *f = fixture_new();

	log_set_level(LOG_LEVEL_ERROR);
	f->options.memory_bytes = 8u << 20;
	f->options.memtable_bytes = 64u << 10;
	f->options.compactor.file_bytes = 32u << 10;
	f->options.compactor.level1_bytes = 64u << 10;
	open_store(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

static struct op
op_set(const char *key, const char *value)
{
	struct op op = { .key = slice_str(key),
		         .value = slice_str(value),
		         .kind = ENTRY_TEXT };
	return op;
}

static struct op
op_del(const char *key)
{
	struct op op = { .key = slice_str(key), .kind = ENTRY_TOMBSTONE };

	return op;
}

static int
write_one(struct fixture *f, struct op *op)
{
	struct err err = ERR_INIT;
	int rc;

	do {
		rc = store_write(f->store, op, 1, NULL, &err);
	} while (rc == LSMKV_ESTALLED);
	return rc;
}

static uint64_t
set(struct fixture *f, const char *key, const char *value)
{
	struct op op = op_set(key, value);

	assert_int_equal(write_one(f, &op), 0);
	assert_true(op.version > 0);
	return op.version;
}

/* Set, get, replace, delete; versions grow. */
static void
basics(void **state)
{
	struct fixture *f = *state;
	struct op del = op_del("a");
	uint64_t v1 = set(f, "a", "1"), v2;

	expect(f, "a", "1");
	v2 = set(f, "a", "2");
	assert_true(v2 > v1);
	expect(f, "a", "2");
	assert_int_equal(write_one(f, &del), 0);
	assert_true(del.version > v2);
	expect(f, "a", NULL);
	expect(f, "b", NULL);
}

/* Everything is still there after a close, a flush, a compaction. */
static void
survives_reopening(void **state)
{
	struct fixture *f = *state;
	struct op del = op_del("gone");
	uint64_t v;

	set(f, "a", "1");
	set(f, "gone", "x");
	v = set(f, "b", "");
	reopen(f);
	expect(f, "a", "1");
	expect(f, "b", "");
	assert_true(set(f, "c", "3") > v);
	assert_int_equal(write_one(f, &del), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	expect(f, "a", "1");
	expect(f, "gone", NULL);
	reopen(f);
	expect(f, "c", "3");
	expect(f, "gone", NULL);
	assert_int_equal(store_compact(f->store, NULL), 0);
	expect(f, "a", "1");
	expect(f, "b", "");
	expect(f, "gone", NULL);
	reopen(f);
	expect(f, "c", "3");
	expect(f, "gone", NULL);
}

/* Versions grow across restarts, also when the store was deleted empty. */
static void
versions_grow_across_restarts(void **state)
{
	struct fixture *f = *state;
	uint64_t v = set(f, "a", "1");
	struct op del = op_del("a");

	assert_int_equal(write_one(f, &del), 0);
	assert_true(del.version > v);
	v = del.version;
	assert_int_equal(store_compact(f->store, NULL), 0);
	for (int i = 0; i < 3; i++) {
		uint64_t now;

		reopen(f);
		now = set(f, "a", "2");
		assert_true(now > v);
		v = now;
	}
}

/* A deletion may ask for what it deletes, and for its being there. */
static void
delete_returns_old_value(void **state)
{
	struct fixture *f = *state;
	struct op op = op_del("k");
	uint64_t v;

	op.condition = OP_IF_PRESENT;
	op.want_old = true;
	assert_int_equal(write_one(f, &op), LSMKV_CONFLICT);
	assert_int_equal(op.version, 0);
	assert_false(op.old_found);
	v = set(f, "k", "old value");
	assert_int_equal(write_one(f, &op), 0);
	assert_true(op.old_found);
	assert_int_equal(op.old_info.version, v);
	assert_int_equal(op.old.len, 9);
	assert_memory_equal(op.old.data, "old value", 9);
	expect(f, "k", NULL);
	assert_int_equal(write_one(f, &op), LSMKV_CONFLICT);
	assert_false(op.old_found);
	buf_release(&op.old);
}

/* A deletion of k that knows what a get of k finds now. */
static struct op
op_del_known(struct fixture *f)
{
	struct op op = op_del("k");
	int rc = store_get(f->store, op.key, 0, &op.old, &op.old_info, NULL);

	assert_true(!rc || rc == LSMKV_NOTFOUND);
	op.condition = OP_IF_PRESENT;
	op.want_old = true;
	op.old_found = !rc;
	op.known_at = op.old_info.moment;
	return op;
}

static void
expect_old(struct op *op, const char *value)
{
	assert_true(op->old_found);
	assert_int_equal(op->old.len, strlen(value));
	assert_memory_equal(op->old.data, value, strlen(value));
	buf_release(&op->old);
}

/* What a get has found is not read again, */
static void
known_values(void **state)
{
	struct fixture *f = *state;
	uint64_t snapshot;
	struct op op;

	for (int flush = 0; flush < 2; flush++) {
		set(f, "k", "1");
		if (flush)
			assert_int_equal(store_flush(f->store, NULL), 0);
		op = op_del_known(f);
		assert_true(op.known_at != 0);
		assert_int_equal(buf_set(&op.old, slice_str("as read"), NULL),
		                 0);
		set(f, "other", "1");
		assert_int_equal(write_one(f, &op), 0);
		expect_old(&op, "as read");
		expect(f, "k", NULL);
	}
	/* and what a snapshot has found says nothing of now. */
	set(f, "k", "1");
	assert_int_equal(store_snapshot_open(f->store, &snapshot, NULL), 0);
	op = op_del("k");
	assert_int_equal(store_get(f->store, op.key, snapshot, &op.old,
	                           &op.old_info, NULL),
	                 0);
	assert_int_equal(op.old_info.moment, 0);
	store_snapshot_close(f->store, snapshot);
	buf_release(&op.old);
}

/* ... unless it has been written since, wherever that stands by now. */
static void
known_values_that_changed(void **state)
{
	struct fixture *f = *state;

	for (int before = 0; before < 2; before++) {
		for (int after = 0; after < 4; after++) {
			struct op op, gone;

			set(f, "k", "1");
			if (before)
				assert_int_equal(store_flush(f->store, NULL),
				                 0);
			op = op_del_known(f);
			gone = op_del_known(f);
			set(f, "k", "2");
			if (after & 1)
				assert_int_equal(store_flush(f->store, NULL),
				                 0);
			if (after & 2)
				assert_int_equal(store_compact(f->store, NULL),
				                 0);
			assert_int_equal(write_one(f, &op), 0);
			expect_old(&op, "2");
			if (after & 1)
				assert_int_equal(store_flush(f->store, NULL),
				                 0);
			if (after & 2)
				assert_int_equal(store_compact(f->store, NULL),
				                 0);
			assert_int_equal(write_one(f, &gone), LSMKV_CONFLICT);
			assert_false(gone.old_found);
			buf_release(&gone.old);
			expect(f, "k", NULL);
		}
	}
}

/* Compare-and-set: the condition is the version, 0 for "not there". */
static void
compare_and_set(void **state)
{
	struct fixture *f = *state;
	struct op op = op_set("k", "1");
	uint64_t v;

	op.condition = OP_IF_VERSION;
	op.if_version = 0;
	assert_int_equal(write_one(f, &op), 0);
	v = op.version;
	assert_int_equal(write_one(f, &op), LSMKV_CONFLICT);
	assert_int_equal(op.version, v);
	op.if_version = v;
	op.value = slice_str("2");
	assert_int_equal(write_one(f, &op), 0);
	expect(f, "k", "2");
	op.value = slice_str("3");
	assert_int_equal(write_one(f, &op), LSMKV_CONFLICT);
	expect(f, "k", "2");
	/* the same where the key is in an SST */
	v = op.version;
	assert_int_equal(store_flush(f->store, NULL), 0);
	op.if_version = v;
	assert_int_equal(write_one(f, &op), 0);
	expect(f, "k", "3");
}

/* A batch is written whole or not at all, in its order. */
static void
batches(void **state)
{
	struct fixture *f = *state;
	struct op ops[4];
	struct err err = ERR_INIT;
	size_t failed = 99;

	ops[0] = op_set("a", "1");
	ops[1] = op_set("b", "1");
	ops[2] = op_set("a", "2");
	ops[3] = op_del("b");
	assert_int_equal(store_write(f->store, ops, 4, NULL, &err), 0);
	for (int i = 1; i < 4; i++)
		assert_int_equal(ops[i].version, ops[0].version + (size_t)i);
	expect(f, "a", "2");
	expect(f, "b", NULL);

	ops[0] = op_set("a", "3");
	ops[1] = op_set("c", "3");
	ops[2] = op_set("d", "3");
	ops[2].condition = OP_IF_VERSION;
	ops[2].if_version = 12345;
	assert_int_equal(store_write(f->store, ops, 3, &failed, &err),
	                 LSMKV_CONFLICT);
	assert_int_equal(failed, 2);
	expect(f, "a", "2");
	expect(f, "c", NULL);

	/* conditions speak of the state before the batch */
	ops[0] = op_set("x", "1");
	ops[1] = op_set("x", "2");
	ops[0].condition = ops[1].condition = OP_IF_VERSION;
	assert_int_equal(store_write(f->store, ops, 2, NULL, &err), 0);
	expect(f, "x", "2");
}

/* What a caller must not ask for is refused, and nothing is written. */
static void
refusals(void **state)
{
	struct fixture *f = *state;
	static char big[ENTRY_KEY_MAX + 2];
	struct op ops[2];
	struct err err = ERR_INIT;

	memset(big, 'k', sizeof(big) - 1);
	ops[0] = op_set("fine", "1");
	ops[1] = op_set("", "1");
	assert_int_equal(store_write(f->store, ops, 2, NULL, &err),
	                 LSMKV_EINVAL);
	ops[1] = op_set(big, "1");
	assert_int_equal(store_write(f->store, ops, 2, NULL, &err),
	                 LSMKV_ETOOBIG);
	ops[1] = op_del("x");
	ops[1].value = slice_str("a deletion with a value");
	assert_int_equal(store_write(f->store, ops, 2, NULL, &err),
	                 LSMKV_EINVAL);
	expect(f, "fine", NULL);
}

/* Entries are gone at their second, in memory and on disk. */
static void
expiry(void **state)
{
	struct fixture *f = *state;
	uint64_t now = clock_wall_s();
	struct op op = op_set("past", "x");

	op.expires = now - 1;
	assert_int_equal(write_one(f, &op), 0);
	expect(f, "past", NULL);
	op = op_set("future", "x");
	op.expires = now + 1000;
	assert_int_equal(write_one(f, &op), 0);
	expect(f, "future", "x");
	/* an expired entry hides the older one below it */
	set(f, "hidden", "old");
	assert_int_equal(store_compact(f->store, NULL), 0);
	op = op_set("hidden", "new");
	op.expires = now - 1;
	assert_int_equal(write_one(f, &op), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	expect(f, "hidden", NULL);
	/* expired is absent to conditions */
	op = op_set("past", "again");
	op.condition = OP_IF_VERSION;
	op.if_version = 0;
	assert_int_equal(write_one(f, &op), 0);
	expect(f, "past", "again");
	assert_int_equal(store_compact(f->store, NULL), 0);
	expect(f, "hidden", NULL);
	expect(f, "past", "again");
	expect(f, "future", "x");
}

/* A snapshot sees what was there when it was opened, whatever comes after. */
static void
snapshots(void **state)
{
	struct fixture *f = *state;
	struct op del = op_del("b");
	uint64_t s1, s2;

	set(f, "a", "1");
	set(f, "b", "1");
	assert_int_equal(store_snapshot_open(f->store, &s1, NULL), 0);
	set(f, "a", "2");
	assert_int_equal(write_one(f, &del), 0);
	assert_int_equal(store_snapshot_open(f->store, &s2, NULL), 0);
	set(f, "a", "3");
	assert_int_equal(store_compact(f->store, NULL), 0);
	expect_at(f, "a", s1, "1");
	expect_at(f, "b", s1, "1");
	expect_at(f, "a", s2, "2");
	expect_at(f, "b", s2, NULL);
	expect(f, "a", "3");
	store_snapshot_close(f->store, s1);
	store_snapshot_close(f->store, s2);
}

static void
expect_scan(struct fixture *f, const char *start, const char *end, bool reverse,
            const char *keys)
{
	struct scan_range range = { slice_str(start), slice_str(end), reverse };
	struct scan *scan;
	struct entry e;
	char got[256] = "";
	int rc;

	assert_int_equal(store_scan(f->store, &range, 0, &scan, NULL), 0);
	while (!(rc = scan_next(scan, &e, NULL)))
		strncat(got, (const char *)e.key.data, e.key.len);
	assert_int_equal(rc, LSMKV_END);
	scan_close(scan);
	assert_string_equal(got, keys);
}

/* Scans go over memtable, level 0 and below as one, both ways. */
static void
scans(void **state)
{
	struct fixture *f = *state;
	struct op del = op_del("c");

	set(f, "a", "1");
	set(f, "c", "1");
	set(f, "e", "1");
	assert_int_equal(store_compact(f->store, NULL), 0);
	set(f, "b", "1");
	assert_int_equal(write_one(f, &del), 0);
	assert_int_equal(store_flush(f->store, NULL), 0);
	set(f, "d", "1");
	expect_scan(f, "", "", false, "abde");
	expect_scan(f, "", "", true, "edba");
	expect_scan(f, "b", "e", false, "bd");
	expect_scan(f, "b", "e", true, "db");
	expect_scan(f, "c", "d", false, "");
	expect_scan(f, "f", "", false, "");
}

/* A scan keeps seeing what it saw at its start, while files come and go. */
static void
scan_beside_writes(void **state)
{
	struct fixture *f = *state;
	struct scan_range all = { { NULL, 0 }, { NULL, 0 }, false };
	struct scan *scan;
	struct entry e;
	char key[16];
	unsigned n = 0;

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "key%05d", i);
		set(f, key, "before");
	}
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(store_scan(f->store, &all, 0, &scan, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		struct op del;

		snprintf(key, sizeof(key), "key%05d", i);
		del = op_del(key);
		assert_int_equal(write_one(f, &del), 0);
		snprintf(key, sizeof(key), "new%05d", i);
		set(f, key, "after");
	}
	assert_int_equal(store_compact(f->store, NULL), 0);
	while (!scan_next(scan, &e, NULL)) {
		snprintf(key, sizeof(key), "key%05u", n++);
		assert_true(slice_equal(e.key, slice_str(key)));
		assert_true(slice_equal(e.value, slice_str("before")));
	}
	assert_int_equal(n, 2000);
	scan_close(scan);
}

static unsigned
store_files(struct fixture *f)
{
	struct store_stat stat;
	unsigned n = 0;

	store_get_stat(f->store, &stat);
	for (unsigned l = 0; l < LEVELS_MAX; l++)
		n += (unsigned)stat.level[l].files;
	return n;
}

/* A snapshot of an empty store sees nothing of what is written later. */
static void
snapshot_of_nothing(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		uint64_t snapshot;
		struct op del = op_del("a");

		assert_int_equal(store_snapshot_open(f->store, &snapshot, NULL),
		                 0);
		set(f, "a", "1");
		expect_at(f, "a", snapshot, NULL);
		store_snapshot_close(f->store, snapshot);
		assert_int_equal(write_one(f, &del), 0);
		reopen(f);
	}
}

/* A scan that there is no memory for lets go of what it held, once. */
static void
scan_without_memory(void **state)
{
	struct fixture *f = *state;
	struct scan_range range = { .reverse = false };
	struct scan *scan;

	set(f, "a", "1");
	/* more than there can be: nobody gets as far as to copy it */
	range.start = slice_make((const unsigned char *)"a", SIZE_MAX / 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(store_scan(f->store, &range, 0, &scan, NULL),
		                 LSMKV_ENOMEM);
	expect(f, "a", "1");
	assert_int_equal(store_flush(f->store, NULL), 0);
	expect(f, "a", "1");
}

/*
 * Deleting everything gives the space back by itself: no SST is left, and the
 * directory holds little more than an empty WAL segment.
 */
static void
space_comes_back(void **state)
{
	struct fixture *f = *state;
	char key[16], value[1000];
	uint64_t until;

	f->options.idle_flush_ms = 50;
	f->options.compactor.reclaim_ms = 0;
	reopen(f);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "key%05d", i);
		set(f, key, value);
	}
	assert_true(store_files(f) > 0);
	for (int i = 0; i < 1000; i++) {
		struct op del;

		snprintf(key, sizeof(key), "key%05d", i);
		del = op_del(key);
		assert_int_equal(write_one(f, &del), 0);
	}
	until = clock_mono_ns() + UINT64_C(60000000000);
	/* what is left: LOCK, RESERVE, MANIFEST, one segment */
	while ((store_files(f) || tmpdir_count(f->path) > 4) &&
	       clock_mono_ns() < until)
		clock_sleep_us(10000);
	assert_int_equal(store_files(f), 0);
	assert_int_equal(tmpdir_count(f->path), 4);
}

/* A second owner is refused, and told who holds the store. */
static void
one_owner(void **state)
{
	struct fixture *f = *state;
	struct store *second;
	struct err err = ERR_INIT;
	char pid[32];

	assert_int_equal(store_open(&second, f->path, &f->options, &err),
	                 LSMKV_ELOCKED);
	assert_null(second);
	/* The code is the same where nobody reads the message. */
	assert_int_equal(store_open(&second, f->path, &f->options, NULL),
	                 LSMKV_ELOCKED);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_non_null(strstr(err.message, pid));
	set(f, "still", "here");
	expect(f, "still", "here");
}

/* Data files without a MANIFEST are not taken for a new store. */
static void
missing_manifest(void **state)
{
	struct fixture *f = *state;
	struct store *s;
	struct err err = ERR_INIT;
	size_t files;

	set(f, "a", "1");
	assert_int_equal(store_close(f->store, NULL), 0);
	f->store = NULL;
	tmpdir_remove(f->path, "MANIFEST");
	files = tmpdir_count(f->path);
	assert_int_equal(store_open(&s, f->path, &f->options, &err),
	                 LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "MANIFEST"));
	assert_int_equal(tmpdir_count(f->path), files);
}

/* Options that make no sense are refused with the reason. */
static void
bad_options(void **state)
{
	struct fixture *f = *state;
	struct store_options o = f->options;
	struct store *s;
	struct err err = ERR_INIT;

	o.memory_bytes = 1000;
	assert_int_equal(store_open(&s, f->path, &o, &err), LSMKV_EINVAL);
	assert_non_null(strstr(err.message, "memory"));
	o = f->options;
	o.memtable_bytes = o.memory_bytes;
	assert_int_equal(store_open(&s, f->path, &o, &err), LSMKV_EINVAL);
	assert_non_null(strstr(err.message, "memtable"));
	o.memtable_bytes = UINT64_MAX / 3 + 1; /* three of them are 2 bytes */
	assert_int_equal(store_open(&s, f->path, &o, &err), LSMKV_EINVAL);
	/* writers would be stopped before anything makes level 0 smaller */
	o = f->options;
	o.compactor.level0_files = o.level0_stop;
	assert_int_equal(store_open(&s, f->path, &o, &err), LSMKV_EINVAL);
	assert_non_null(strstr(err.message, "level 0"));
}

/* Every sync mode keeps everything across a close. */
static void
sync_modes(void **state)
{
	struct fixture *f = *state;
	static const enum sync_mode modes[] = { SYNC_INTERVAL, SYNC_NONE,
		                                SYNC_ALWAYS };
	char key[32], value[96];
	uint64_t last = 0;

	f->options.interval_ms = 1;
	for (int m = 0; m < 3; m++) {
		f->options.sync = modes[m];
		reopen(f);
		for (int i = 0; i < 3000; i++) {
			uint64_t v;

			snprintf(key, sizeof(key), "m%d-%d", m, i);
			snprintf(value, sizeof(value), "value %d %050d", i, m);
			v = set(f, key, value);
			assert_true(v > last);
			last = v;
		}
	}
	reopen(f);
	for (int m = 0; m < 3; m++)
		for (int i = 0; i < 3000; i++) {
			snprintf(key, sizeof(key), "m%d-%d", m, i);
			snprintf(value, sizeof(value), "value %d %050d", i, m);
			expect(f, key, value);
		}
}

/* The scrub finds a flipped byte by itself, and tells it once. */
static void
scrub_finds_rot(void **state)
{
	struct fixture *f = *state;
	struct store_stat stat;
	uint64_t until = clock_mono_ns() + UINT64_C(60000000000);
	char name[32];

	set(f, "a", "1");
	set(f, "b", "2");
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(store_close(f->store, NULL), 0);
	for (int n = 1;; n++) {
		snprintf(name, sizeof(name), "%06d.sst", n);
		if (tmpdir_has(f->path, name))
			break;
	}
	f->options.scrub_s = 1;
	open_store(f);
	do {
		clock_sleep_us(10000);
		store_get_stat(f->store, &stat);
	} while (!stat.scrub.rounds && clock_mono_ns() < until);
	assert_true(stat.scrub.rounds > 0);
	assert_true(stat.scrub.bytes > 0);
	assert_int_equal(stat.scrub.damaged, 0);
	tmpdir_flip(f->path, name, 20, 1); /* in its first data block */
	do {
		clock_sleep_us(10000);
		store_get_stat(f->store, &stat);
	} while (!stat.scrub.damaged && clock_mono_ns() < until);
	assert_int_equal(stat.scrub.damaged, 1);
	clock_sleep_us(2500000);
	store_get_stat(f->store, &stat);
	assert_int_equal(stat.scrub.damaged, 1);
	tmpdir_flip(f->path, name, 20, 1);
}

/* A scrub that takes a week holds no file that has left the tree. */
static void
scrub_lets_go(void **state)
{
	struct fixture *f = *state;
	struct store_stat stat;
	uint64_t until = clock_mono_ns() + UINT64_C(60000000000);
	size_t size;
	char name[32];

	set(f, "a", "1");
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(store_close(f->store, NULL), 0);
	for (int n = 1;; n++) {
		snprintf(name, sizeof(name), "%06d.sst", n);
		if (tmpdir_has(f->path, name))
			break;
	}
	free(tmpdir_read(f->path, name, &size));
	f->options.scrub_s = 7 * 24 * 3600;
	open_store(f);
	do {
		clock_sleep_us(10000);
		store_get_stat(f->store, &stat);
	} while (!stat.scrub.bytes && clock_mono_ns() < until);
	/* It is at work on it, and counts no byte twice. */
	assert_true(stat.scrub.bytes > 0 && stat.scrub.bytes <= size);
	assert_int_equal(stat.scrub.files, 0);
	set(f, "a", "2");
	assert_int_equal(store_flush(f->store, NULL), 0);
	assert_int_equal(store_compact(f->store, NULL), 0);
	while (tmpdir_has(f->path, name) && clock_mono_ns() < until)
		clock_sleep_us(10000);
	assert_false(tmpdir_has(f->path, name));
}

/*
 * A compaction that cannot be done (here: there is no helper) does not stop
 * the writers, however long it lasts; they are slowed.
 */
static void
failing_compaction_stops_nobody(void **state)
{
	struct fixture *f = *state;
	struct store_stat stat;
	char key[16], value[1000];

	assert_int_equal(store_close(f->store, NULL), 0);
	f->options.memtable_bytes = 8u << 10;
	f->options.compactor.level0_files = 3;
	f->options.level0_slow = 4;
	f->options.level0_stop = 8;
	f->options.compactor.helper = "/nonexistent/lsmkv-compact";
	log_set_level(LOG_LEVEL_ERROR);
	open_store(f);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	/* out of order: files that overlap cannot just be moved */
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key%05d", i * 37 % 200);
		set(f, key, value);
	}
	store_get_stat(f->store, &stat);
	assert_true(stat.level[0].files > f->options.level0_stop);
	assert_true(stat.compactor.failures > 0);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key%05d", i);
		expect(f, key, value);
	}
}

/* ---- threads ---- */

#define THREADS 8
#define COUNTS 200

struct counter {
	struct fixture *f;
	unsigned seed;
};

/* Adds one to a shared counter by compare-and-set, COUNTS times. */
static void *
count_up(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < COUNTS;) {
		struct buf value = BUF_INIT;
		struct entry_info info = { 0 };
		struct err err = ERR_INIT;
		struct op op;
		char text[32];
		int rc = store_get(c->f->store, slice_str("counter"), 0, &value,
		                   &info, &err);
		long n = 0;

		if (!rc && !buf_append(&value, "", 1, NULL))
			n = strtol((char *)value.data, NULL, 10);
		snprintf(text, sizeof(text), "%ld", n + 1);
		op = op_set("counter", text);
		op.condition = OP_IF_VERSION;
		op.if_version = info.version;
		rc = store_write(c->f->store, &op, 1, NULL, &err);
		buf_release(&value);
		if (!rc)
			i++;
		else if (rc != LSMKV_CONFLICT && rc != LSMKV_ESTALLED)
			return (void *)1;
	}
	return NULL;
}

/* No increment is lost, whoever writes together. */
static void
counter_of_many(void **state)
{
	struct fixture *f = *state;
	struct counter c = { f, 0 };
	pthread_t threads[THREADS];
	char text[32];
	void *bad;

	for (int t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, count_up, &c);
	for (int t = 0; t < THREADS; t++) {
		pthread_join(threads[t], &bad);
		assert_null(bad);
	}
	snprintf(text, sizeof(text), "%d", THREADS * COUNTS);
	expect(f, "counter", text);
	reopen(f);
	expect(f, "counter", text);
}

static _Atomic unsigned taken[COUNTS];
static _Atomic bool all_put;

/* Deletes the token if there is one, and notes which one it was. */
static bool
take_token(struct fixture *f, bool known)
{
	struct op op = op_del("token");
	unsigned n;
	bool got;

	op.condition = OP_IF_PRESENT;
	op.want_old = true;
	/* It may know of one already, which may be gone by then. */
	if (known) {
		op.old_found = !store_get(f->store, op.key, 0, &op.old,
		                          &op.old_info, NULL);
		op.known_at = op.old_info.moment;
	}
	got = !write_one(f, &op);
	if (got) {
		memcpy(&n, op.old.data, sizeof(n));
		atomic_fetch_add(&taken[n], 1);
	}
	buf_release(&op.old);
	return got;
}

static void *
take_tokens(void *arg)
{
	bool known = false;

	while (!atomic_load(&all_put))
		take_token(arg, (known = !known));
	return NULL;
}

/* What a delete answers is what it deleted, and nobody else's. */
static void
each_value_deleted_once(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];

	memset(taken, 0, sizeof(taken));
	atomic_store(&all_put, false);
	for (int t = 0; t < 4; t++)
		pthread_create(&threads[t], NULL, take_tokens, f);
	for (unsigned n = 0; n < COUNTS; n++) {
		struct op op = op_set("token", "");
		int rc;

		op.value = slice_make(&n, sizeof(n));
		op.condition = OP_IF_VERSION; /* only where none is */
		while ((rc = write_one(f, &op)) == LSMKV_CONFLICT)
			;
		assert_int_equal(rc, 0);
	}
	atomic_store(&all_put, true);
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	take_token(f,
	           false); /* the last one, where nobody was in time for it */
	for (unsigned n = 0; n < COUNTS; n++)
		assert_int_equal(taken[n], 1);
}

/* Writes pairs of keys that must always be seen equal, in batches. */
static void *
write_pairs(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 400; i++) {
		char value[600];
		struct op ops[2];
		struct err err = ERR_INIT;

		snprintf(value, sizeof(value), "%0500d", i);
		ops[0] = op_set("pair-a", value);
		ops[1] = op_set("pair-z", value);
		if (store_write(c->f->store, ops, 2, NULL, &err) < 0)
			i--;
	}
	return NULL;
}

/* A snapshot and a scan see each batch whole, while memtables turn over. */
static void
batches_are_seen_whole(void **state)
{
	struct fixture *f = *state;
	struct counter c = { f, 0 };
	struct scan_range all = { { NULL, 0 }, { NULL, 0 }, false };
	pthread_t writer;

	set(f, "pair-a", "");
	set(f, "pair-z", "");
	pthread_create(&writer, NULL, write_pairs, &c);
	for (int i = 0; i < 300; i++) {
		struct buf a = BUF_INIT, z = BUF_INIT;
		struct entry_info info;
		uint64_t snapshot;
		struct scan *scan;
		struct entry e;
		struct buf first = BUF_INIT;
		unsigned n = 0;

		assert_int_equal(store_snapshot_open(f->store, &snapshot, NULL),
		                 0);
		store_get(f->store, slice_str("pair-a"), snapshot, &a, &info,
		          NULL);
		store_get(f->store, slice_str("pair-z"), snapshot, &z, &info,
		          NULL);
		store_snapshot_close(f->store, snapshot);
		if (!slice_equal(buf_slice(&a), buf_slice(&z)))
			n = 99;
		buf_release(&a);
		buf_release(&z);
		assert_int_equal(store_scan(f->store, &all, 0, &scan, NULL), 0);
		while (!scan_next(scan, &e, NULL)) {
			if (!n++)
				buf_set(&first, e.value, NULL);
			else if (!slice_equal(buf_slice(&first), e.value))
				n = 99;
		}
		scan_close(scan);
		buf_release(&first);
		assert_int_equal(n, 2);
	}
	pthread_join(writer, NULL);
}

#define COMERS 24

struct comer {
	struct fixture *f;
	unsigned number;
	pthread_t thread;
};

static void
comer_key(char *key, size_t size, unsigned number, unsigned i)
{
	snprintf(key, size, "comer-%u-%u", number, i);
}

/* Some write a few times, some often; some do other things in between. */
static void *
write_and_go(void *arg)
{
	struct comer *c = arg;
	uint64_t last = 0;

	for (unsigned i = 0; i < 10 * (c->number + 1); i++) {
		char key[32];
		struct op op;

		comer_key(key, sizeof(key), c->number, i);
		op = op_set(key, key);
		if (write_one(c->f, &op) || op.version <= last)
			return (void *)1;
		last = op.version;
		if (c->number % 4 == 1 && i % 16 == 0)
			clock_sleep_us(200 * c->number);
		if (c->number % 8 == 3 && i % 32 == 0 &&
		    store_flush(c->f->store, NULL))
			return (void *)1;
	}
	return NULL;
}

/* Whoever is waited for may never come; nobody waits for ever. */
static void
writers_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct comer comers[COMERS];
	char key[32];

	for (unsigned n = 0; n < COMERS; n++) {
		comers[n] = (struct comer){ .f = f, .number = n };
		pthread_create(&comers[n].thread, NULL, write_and_go,
		               &comers[n]);
	}
	for (unsigned n = 0; n < COMERS; n++) {
		void *bad;

		pthread_join(comers[n].thread, &bad);
		assert_null(bad);
	}
	reopen(f);
	for (unsigned n = 0; n < COMERS; n++) {
		for (unsigned i = 0; i < 10 * (n + 1); i++) {
			comer_key(key, sizeof(key), n, i);
			expect(f, key, key);
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(basics),
		TEST(survives_reopening),
		TEST(versions_grow_across_restarts),
		TEST(delete_returns_old_value),
		TEST(known_values),
		TEST(known_values_that_changed),
		TEST(compare_and_set),
		TEST(batches),
		TEST(refusals),
		TEST(expiry),
		TEST(snapshots),
		TEST(scans),
		TEST(scan_beside_writes),
		TEST(scan_without_memory),
		TEST(snapshot_of_nothing),
		TEST(space_comes_back),
		TEST(one_owner),
		TEST(missing_manifest),
		TEST(bad_options),
		TEST(sync_modes),
		TEST(scrub_finds_rot),
		TEST(scrub_lets_go),
		TEST(failing_compaction_stops_nobody),
		TEST(counter_of_many),
		TEST(each_value_deleted_once),
		TEST(batches_are_seen_whole),
		TEST(writers_come_and_go),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
