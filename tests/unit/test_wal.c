/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/tmpdir.h"
#include "store/names.h"
#include "store/wal.h"

struct log {
	char *path;
	struct fs_dir *dir;
};

static int
setup(void **state)
{
	struct log *l = calloc(1, sizeof(*l));

	l->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&l->dir, l->path, false, NULL), 0);
	*state = l;
	return 0;
}

static int
teardown(void **state)
{
	struct log *l = *state;

	fs_dir_close(l->dir);
	tmpdir_free(l->path);
	free(l);
	return 0;
}

static struct wal *
create(struct log *l, uint64_t number, uint64_t prev, uint64_t prev_end,
       uint64_t first, bool relaxed)
{
	struct wal_header h = { .segment = number,
		                .prev_segment = prev,
		                .prev_end = prev_end,
		                .first_version = first,
		                .relaxed = relaxed };
	struct wal *w;

	assert_int_equal(wal_create(&w, l->dir, &h, NULL), 0);
	return w;
}

/* One record of `count` entries; their values tell their versions. */
static void
append(struct wal *w, uint64_t first, unsigned count, size_t value_len)
{
	unsigned char *value = malloc(value_len);
	bool partial;

	assert_int_equal(wal_begin(w, first, NULL), 0);
	for (unsigned i = 0; i < count; i++) {
		struct entry e = { .version = first + i, .kind = ENTRY_BYTES };
		char key[32];

		snprintf(key, sizeof(key), "k%llu",
		         (unsigned long long)(first + i));
		memset(value, (int)(first + i), value_len);
		e.key = slice_str(key);
		e.value = slice_make(value, value_len);
		assert_int_equal(wal_add(w, &e, NULL), 0);
	}
	assert_int_equal(wal_append(w, &partial, NULL), 0);
	free(value);
}

static void
append_synced(struct wal *w, uint64_t first, unsigned count, size_t value_len)
{
	append(w, first, count, value_len);
	assert_int_equal(wal_sync(w, NULL), 0);
}

/* Counts entries and checks that each is what append wrote. */
static int
check(void *arg, const struct wal_record *r, struct err *err)
{
	uint64_t *next = arg;
	struct reader reader = wal_record_reader(r);
	struct entry e;

	(void)err;
	while (reader_left(&reader)) {
		char key[32];

		assert_true(entry_decode(&reader, r->first_version, &e));
		assert_int_equal(e.version, *next);
		snprintf(key, sizeof(key), "k%llu",
		         (unsigned long long)e.version);
		assert_true(slice_equal(e.key, slice_str(key)));
		for (size_t i = 0; i < e.value.len; i++)
			assert_int_equal(e.value.data[i], e.version & 0xff);
		++*next;
	}
	return 0;
}

static int
replay(struct log *l, uint64_t oldest, uint64_t *next,
       struct wal_replay_result *result, struct err *err)
{
	*next = 1;
	return wal_replay(l->dir, oldest, check, next, result, err);
}

static void
zero(struct log *l, const char *name, uint64_t offset, size_t len)
{
	void *zeros = calloc(1, len);

	tmpdir_overwrite(l->path, name, offset, zeros, len);
	free(zeros);
}

/* What was appended comes back, across segments, sizes of all kinds. */
static void
round_trip(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next, end;

	append_synced(w, 1, 1, 10);
	append_synced(w, 2, 100, 1);
	append_synced(w, 102, 1, 3u << 20); /* larger than what it reads at
					       once, and than is allocated */
	append_synced(w, 103, 7, 100);
	end = wal_end(w);
	wal_close(w);
	w = create(l, 5, 1, end, 110, false);
	append_synced(w, 110, 3, 50);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 113);
	assert_int_equal(r.last_version, 112);
	assert_int_equal(r.records, 5);
	assert_int_equal(r.segments, 2);
	assert_int_equal(r.last_segment, 5);
	assert_int_equal(r.dropped_segment, 0);
}

/* A last record that is torn, at any byte, is dropped as a whole. */
static void
torn_tail(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next, keep, end;

	append_synced(w, 1, 2, 20);
	keep = wal_end(w);
	append(w, 3, 2, 20);
	end = wal_end(w);
	wal_close(w);
	for (uint64_t at = end; at-- > keep;) {
		zero(l, "000001.wal", at, 1);
		assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
		/* A zero may have been there before: padding, high bytes. */
		assert_true(next == 3 || next == 5);
		if (next == 3 && at > keep + 7) {
			assert_int_equal(r.dropped_segment, 1);
			assert_int_equal(r.dropped_offset, keep);
		}
	}
	assert_int_equal(next, 3);
	/* and cut off */
	for (uint64_t size = end; size-- > keep;) {
		tmpdir_truncate(l->path, "000001.wal", size);
		assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
		assert_int_equal(next, 3);
	}
}

/* Damage of what a later record proves to be on disk is an error. */
static void
damage_before_a_synced_record(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, second, third, end;

	append_synced(w, 1, 2, 20);
	second = wal_end(w);
	append_synced(w, 3, 2, 20);
	third = wal_end(w);
	append_synced(w, 5, 2, 20);
	end = wal_end(w);
	wal_close(w);
	for (uint64_t at = WAL_HEADER_BYTES; at < third; at++) {
		char name[64];

		tmpdir_flip(l->path, "000001.wal", at, 0x10);
		err = (struct err)ERR_INIT;
		if (replay(l, 1, &next, &r, &err)) {
			assert_int_equal(err.code, LSMKV_ECORRUPT);
			snprintf(name, sizeof(name),
			         "000001.wal: damaged at "
			         "%d",
			         at < second ? (int)WAL_HEADER_BYTES
			                     : (int)second);
			assert_non_null(strstr(err.message, name));
		} else {
			assert_int_equal(next, 7); /* it was padding */
		}
		tmpdir_flip(l->path, "000001.wal", at, 0x10);
	}
	/* a lost sector looks like the end of the log, but is not */
	zero(l, "000001.wal", second, (size_t)(third - second));
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	zero(l, "000001.wal", third, (size_t)(end - third));
	assert_int_equal(replay(l, 1, &next, &r, &err), 0);
	assert_int_equal(next, 3);
}

/* Records of all lengths, written through a map of the file or not. */
static void
relaxed_log_is_whole(void **state)
{
	static const size_t lengths[] = { 100, 800, 3000, 20, 100000, 1 };
	struct log *l = *state;
	struct wal_replay_result r;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	uint64_t next, first = 1;

	for (unsigned i = 0; i < 60; i++, first += 2)
		append(w, first, 2, lengths[i % 6]);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, first);
	assert_int_equal(r.dropped_offset, 0);
}

/* The map loses its file, and SIGBUS comes: write(2) does it then. */
static void
map_that_fails_is_replaced(void **state)
{
	struct log *l = *state;
	struct wal_replay_result r;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	uint64_t next, first = 1;

	for (unsigned i = 0; i < 100; i++, first += 2) {
		append(w, first, 2, 100);
		if (i == 20)
			tmpdir_truncate(l->path, "000001.wal", 8192);
	}
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, first);
	assert_int_equal(r.dropped_offset, 0);
}

/* In relaxed modes, what no later record proves to be synced is dropped. */
static void
relaxed_log_drops_unsynced(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, second;

	append(w, 1, 2, 20);
	assert_int_equal(wal_sync(w, NULL), 0);
	second = wal_end(w);
	append(w, 3, 2, 20);
	append(w, 5, 2, 20);
	wal_close(w);
	tmpdir_flip(l->path, "000001.wal", second + 20, 1);
	assert_int_equal(replay(l, 1, &next, &r, &err), 0);
	assert_int_equal(next, 3);
	assert_int_equal(r.dropped_offset, second);
	assert_true(r.relaxed);
	tmpdir_flip(l->path, "000001.wal", second + 20, 1);
	/* the first record was on disk when the second was written */
	tmpdir_flip(l->path, "000001.wal", WAL_HEADER_BYTES + 20, 1);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
}

/* In a relaxed log, later segments go with the torn end of an earlier one. */
static void
relaxed_log_drops_later_segments(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true), *w2;
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next;

	append(w, 1, 2, 20);
	w2 = create(l, 2, 1, wal_end(w), 3, true);
	append(w2, 3, 2, 20);
	tmpdir_flip(l->path, "000001.wal", WAL_HEADER_BYTES + 20, 1);
	assert_int_equal(replay(l, 1, &next, &r, &err), 0);
	assert_int_equal(next, 1);
	assert_int_equal(r.dropped_segment, 1);
	/* once segment 1 was synced before a record of 2, it is damage */
	wal_set_prior_synced(w2);
	append(w2, 5, 1, 20);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	wal_close(w);
	wal_close(w2);
}

/* Damage at the end of a segment that has a successor is never a torn tail. */
static void
damage_in_sealed_segment(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, second, end;

	append_synced(w, 1, 2, 20);
	second = wal_end(w);
	append_synced(w, 3, 2, 20);
	end = wal_end(w);
	wal_close(w);
	wal_close(create(l, 2, 1, end, 5, false));
	zero(l, "000001.wal", second, (size_t)(end - second));
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "000001.wal"));
}

/* A segment of the middle that is gone is told by name. */
static void
missing_segments(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, end;

	append_synced(w, 1, 1, 20);
	end = wal_end(w);
	wal_close(w);
	w = create(l, 2, 1, end, 2, false);
	append_synced(w, 2, 1, 20);
	end = wal_end(w);
	wal_close(w);
	wal_close(create(l, 3, 2, end, 3, false));
	assert_int_equal(replay(l, 1, &next, &r, &err), 0);
	assert_int_equal(next, 3);
	tmpdir_remove(l->path, "000002.wal");
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "000002.wal"));
	tmpdir_remove(l->path, "000001.wal");
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "000001.wal"));
}

/* What a failed append left behind a segment's end is not part of the log. */
static void
leftovers_of_failed_append(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next, end;

	append_synced(w, 1, 2, 20);
	end = wal_end(w);
	append(w, 3, 2, 30); /* whole, but nobody was told so */
	wal_close(w);
	w = create(l, 2, 1, end, 3, false);
	append_synced(w, 3, 1, 20);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 4);
	assert_int_equal(r.dropped_segment, 0);
}

/* Segments of recoveries that did not end are passed over. */
static void
unfinished_recoveries(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next;

	append_synced(w, 1, 2, 20);
	append(w, 3, 2, 20);
	tmpdir_truncate(l->path, "000001.wal", wal_end(w) - 20);
	wal_close(w);
	wal_close(create(l, 4, 0, 0, 3, false));
	wal_close(create(l, 7, 0, 0, 3, false));
	tmpdir_truncate(l->path, "000007.wal", 17);
	assert_int_equal(replay(l, 1, &next, &r, &err), 0);
	assert_int_equal(next, 3);
	/* but one with records would be data that nobody named */
	w = create(l, 9, 0, 0, 3, false);
	append_synced(w, 3, 1, 20);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "000009.wal"));
}

/*
 * A segment that was made but never written to does not end the log: the one
 * before it may have been written on, and another one may follow that.
 */
static void
unused_segments(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false), *unused;
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, first, second;

	append_synced(w, 1, 2, 20);
	first = wal_end(w);
	unused = create(l, 2, 1, first, 3, false);
	append_synced(w, 3, 2, 20);
	second = wal_end(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 5);
	/* it proves what was on disk when it was made, and no more */
	tmpdir_flip(l->path, "000001.wal", second - 1 - 8, 1);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 3);
	assert_int_equal(r.dropped_offset, first);
	tmpdir_flip(l->path, "000001.wal", second - 1 - 8, 1);
	tmpdir_flip(l->path, "000001.wal", first - 1 - 8, 1);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	tmpdir_flip(l->path, "000001.wal", first - 1 - 8, 1);

	wal_close(w);
	w = create(l, 3, 1, second, 5, false);
	append_synced(w, 5, 1, 20);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 6);
	assert_int_equal(r.dropped_segment, 0);
	/* two logs out of one cannot be */
	append_synced(unused, 3, 1, 20);
	wal_close(unused);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
}

/* A damaged header is an error; one of a later format says so. */
static void
bad_headers(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next;

	append_synced(w, 1, 2, 20);
	wal_close(w);
	for (uint64_t at = 0; at < WAL_HEADER_BYTES; at++) {
		struct err err = ERR_INIT;

		tmpdir_flip(l->path, "000001.wal", at, 4);
		assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
		assert_non_null(strstr(err.message, "000001.wal"));
		tmpdir_flip(l->path, "000001.wal", at, 4);
	}
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
}

/*
 * A new segment whose first sector never came to the disk is passed over,
 * whatever stands there; with a record behind it, it is damage.
 */
static void
torn_header(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	unsigned char first[512];
	unsigned char *stale;
	uint64_t next, end;
	size_t len;

	append_synced(w, 1, 2, 20);
	end = wal_end(w);
	wal_close(w);
	wal_close(create(l, 2, 1, end, 3, false));

	memset(first, 0xa5, sizeof(first));
	tmpdir_overwrite(l->path, "000002.wal", 0, first, sizeof(first));
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(r.last_version, 2);

	/* header and records of the segment before, on reused disk space */
	stale = tmpdir_read(l->path, "000001.wal", &len);
	tmpdir_overwrite(l->path, "000002.wal", 0, stale, sizeof(first));
	free(stale);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(r.last_version, 2);

	/* a second sector is not written before the first is on the disk */
	tmpdir_overwrite(l->path, "000002.wal", 512, "x", 1);
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
	tmpdir_remove(l->path, "000002.wal");

	w = create(l, 2, 1, end, 3, false);
	append_synced(w, 3, 1, 20);
	wal_close(w);
	tmpdir_overwrite(l->path, "000002.wal", 0, first, WAL_HEADER_BYTES);
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
}

/*
 * A segment made ahead is none until it is started: the log goes on in the one
 * before it. Then it is one like all others.
 */
static void
prepared_segment(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false), *next_one = NULL;
	struct wal_header h = { .segment = 3, .prev_segment = 1 };
	struct wal_replay_result r;
	uint64_t next;

	append_synced(w, 1, 2, 20);
	assert_int_equal(wal_prepare(&next_one, l->dir, 3, NULL), 0);
	assert_int_equal(wal_segment(next_one), 3);
	append_synced(w, 3, 1, 20);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(r.last_version, 3);
	assert_int_equal(r.dropped_segment, 0);

	h.prev_end = wal_end(w);
	h.first_version = 4;
	assert_int_equal(wal_start(next_one, &h, NULL), 0);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(r.last_version, 3);
	append_synced(next_one, 4, 3, 3000);
	wal_close(next_one);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 7);
	assert_int_equal(r.last_version, 6);
	assert_int_equal(r.dropped_segment, 0);
	/* its number is taken */
	assert_true(wal_prepare(&next_one, l->dir, 3, NULL) < 0);
	assert_null(next_one);
	assert_true(tmpdir_has(l->path, "000003.wal"));
}

/*
 * A sound record of an older log, on disk space that was used again, right
 * where the next one would stand, is not one of this log.
 */
static void
stale_record(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next, end;
	unsigned char *old;
	size_t len;

	append_synced(w, 1, 1, 20);
	append_synced(w, 2, 1, 20);
	end = wal_end(w);
	append_synced(w, 3, 1, 20);
	wal_close(w);
	old = tmpdir_read(l->path, "000001.wal", &len);
	tmpdir_remove(l->path, "000001.wal");

	w = create(l, 2, 0, 0, 1, false);
	append_synced(w, 1, 1, 20);
	append_synced(w, 2, 1, 20);
	assert_int_equal(wal_end(w), end);
	wal_close(w);
	tmpdir_overwrite(l->path, "000002.wal", end, old + end, 512);
	free(old);
	assert_int_equal(replay(l, 2, &next, &r, NULL), 0);
	assert_int_equal(r.last_version, 2);
	assert_int_equal(r.dropped_offset, end);
}

/* A value that looks like a record of another log proves nothing. */
static void
forged_record(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next, end;
	unsigned char *image;
	size_t len;
	struct entry e = { .version = 3, .kind = ENTRY_BYTES };
	bool partial;

	append_synced(w, 1, 1, 20);
	append_synced(w, 2, 1, 20);
	end = wal_end(w);
	image = tmpdir_read(l->path, "000001.wal", &len);
	wal_close(w);

	/* the image of that log, as a value in the torn record of another */
	w = create(l, 2, 1, end, 3, false);
	wal_begin(w, 3, NULL);
	e.key = slice_str("k");
	e.value = slice_make(image, len);
	wal_add(w, &e, NULL);
	assert_int_equal(wal_append(w, &partial, NULL), 0);
	wal_close(w);
	tmpdir_flip(l->path, "000002.wal", WAL_HEADER_BYTES + 30, 1);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 3);
	assert_int_equal(r.dropped_segment, 2);
	free(image);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(torn_tail),
		TEST(damage_before_a_synced_record),
		TEST(relaxed_log_is_whole),
		TEST(map_that_fails_is_replaced),
		TEST(relaxed_log_drops_unsynced),
		TEST(relaxed_log_drops_later_segments),
		TEST(damage_in_sealed_segment),
		TEST(missing_segments),
		TEST(leftovers_of_failed_append),
		TEST(unfinished_recoveries),
		TEST(unused_segments),
		TEST(bad_headers),
		TEST(torn_header),
		TEST(prepared_segment),
		TEST(stale_record),
		TEST(forged_record),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
