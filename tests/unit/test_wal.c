/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fault.h"
#include "lib/tmpdir.h"
#include "lib/wal_v1.h"
#include "store/names.h"
#include "store/wal_format.h"
#include "store/wal_read.h"

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

		assert_true(wal_record_entry(r, &reader, &e));
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
		/* A zero may have been there before. */
		assert_true(next == 3 || next == 5);
		if (next == 3 && at > keep + 4) {
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
		assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
		snprintf(name, sizeof(name), "000001.wal: damaged at %d",
		         at < second ? (int)WAL_HEADER_BYTES : (int)second);
		assert_non_null(strstr(err.message, name));
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

/* ---- every byte ---- */

/*
 * Flips each bit of the bytes from `from` to `to`. With `last` 0 they were on
 * disk for sure, and their damage is told; else they are of a record that may
 * never have been written, which is dropped, with all behind version `last`.
 * Nothing is ever read wrong (check sees to that).
 */
static void
flip_each_bit(struct log *l, uint64_t from, uint64_t to, uint64_t last)
{
	struct wal_replay_result r;
	uint64_t next;

	for (uint64_t i = from * 8; i < to * 8; i++) {
		unsigned char mask = (unsigned char)(1u << i % 8);
		struct err err = ERR_INIT;
		int rc;

		tmpdir_flip(l->path, "000001.wal", i / 8, mask);
		rc = replay(l, 1, &next, &r, &err);
		if (last) {
			assert_int_equal(rc, 0);
			assert_int_equal(next, last + 1);
			assert_int_equal(r.dropped_segment, 1);
			assert_int_equal(r.dropped_offset, from);
		} else {
			assert_int_equal(rc, LSMKV_ECORRUPT);
			assert_non_null(strstr(err.message, "000001.wal"));
		}
		tmpdir_flip(l->path, "000001.wal", i / 8, mask);
	}
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(r.dropped_segment, 0);
}

/* Heads of all lengths, of one entry and of many; the last one may be torn. */
static void
every_flip_is_found(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	uint64_t last;

	append_synced(w, 1, 1, 0);
	append_synced(w, 2, 1, 100);
	append_synced(w, 3, 70, 1); /* versions on both sides of a base */
	append_synced(w, 73, 1, 0);
	last = wal_end(w);
	append_synced(w, 74, 2, 20);
	flip_each_bit(l, 0, last, 0);
	flip_each_bit(l, last, wal_end(w), 73);
	wal_close(w);
}

/* Of a log that was synced once, what was on disk then is told. */
static void
every_flip_is_found_relaxed(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	struct wal_replay_result r;
	uint64_t next, at[6];

	append(w, 1, 1, 5);
	append(w, 2, 1, 5);
	assert_int_equal(wal_sync(w, NULL), 0);
	for (uint64_t i = 3; i < 6; i++) {
		at[i] = wal_end(w);
		append(w, i, 1, 20);
	}
	flip_each_bit(l, 0, at[3], 0);
	flip_each_bit(l, at[3], at[4], 2);
	flip_each_bit(l, at[4], at[5], 3);
	flip_each_bit(l, at[5], wal_end(w), 4);
	/* each of the three behind it proves it alone */
	zero(l, "000001.wal", WAL_HEADER_BYTES, 9);
	zero(l, "000001.wal", at[3], (size_t)(at[5] - at[3]));
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
	zero(l, "000001.wal", at[5], 9);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 1);
	wal_close(w);
}

/* A log of format version 1: what was found in it is found still. */
static void
version_1_is_read(void **state)
{
	struct log *l = *state;
	struct wal_header h = { .segment = 1, .first_version = 1 };
	struct wal_v1 *v = malloc(sizeof(*v));
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, ends[8];
	struct entry e[2] = { { .kind = ENTRY_BYTES }, { .kind = ENTRY_TEXT } };

	wal_v1_begin(v, &h);
	for (unsigned i = 0; i < 5; i++) {
		char key[2][8];

		for (unsigned n = 0; n < 2; n++) {
			e[n].version = 2 * i + n + 1;
			snprintf(key[n], sizeof(key[n]), "k%u", 2 * i + n + 1);
			e[n].key = slice_str(key[n]);
		}
		ends[i] = v->end;
		wal_v1_add(v, e, 2, v->end);
	}
	ends[5] = v->end;
	tmpdir_write(l->path, "000001.wal", v->bytes, sizeof(v->bytes));
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 11);
	assert_int_equal(r.records, 5);
	assert_int_equal(r.dropped_segment, 0);

	/* each flip is found, told or dropped, or was in the padding */
	for (uint64_t at = 0; at < ends[5]; at++) {
		int rc;

		tmpdir_flip(l->path, "000001.wal", at, 0x10);
		rc = replay(l, 1, &next, &r, &err);
		if (rc)
			assert_int_equal(rc, LSMKV_ECORRUPT);
		else if (next != 11)
			assert_true(at >= ends[4] && next == 9 &&
			            r.dropped_offset == ends[4]);
		else
			assert_true(at >= V1_HEADER && !v->bytes[at]);
		tmpdir_flip(l->path, "000001.wal", at, 0x10);
	}
	/* torn and cut tails */
	zero(l, "000001.wal", ends[4] + 44, (size_t)(ends[5] - ends[4]) - 44);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 9);
	tmpdir_truncate(l->path, "000001.wal", ends[4] + 20);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 9);
	/* a header that is gone, with a record in its sector behind it */
	memset(v->bytes + ends[1], 0, sizeof(v->bytes) - ends[1]);
	memset(v->bytes, 0xa5, V1_HEADER);
	tmpdir_write(l->path, "000001.wal", v->bytes, sizeof(v->bytes));
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
	free(v);
}

/* A log may go on from a segment of one format version to one of the next. */
static void
version_1_is_followed(void **state)
{
	struct log *l = *state;
	struct wal_header h = { .segment = 1, .first_version = 1 };
	struct wal_v1 *v = malloc(sizeof(*v));
	struct entry e = { .kind = ENTRY_BYTES,
		           .key = slice_str("k1"),
		           .version = 1 };
	struct wal_replay_result r;
	uint64_t next;
	struct wal *w;

	wal_v1_begin(v, &h);
	wal_v1_add(v, &e, 1, v->end);
	tmpdir_write(l->path, "000001.wal", v->bytes, sizeof(v->bytes));
	w = create(l, 2, 1, v->end, 2, false);
	append_synced(w, 2, 2, 20);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 4);
	tmpdir_flip(l->path, "000001.wal", v->end - 8, 1);
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
	free(v);
}

/* The segment of doc/format.md, byte for byte. */
static void
documented_bytes(void **state)
{
	static const unsigned char bytes[] = {
		0x4c, 0x53, 0x4d, 0x4b, 0x56, 0x57, 0x41, 0x4c, 0x02, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x88, 0x72, 0x2a, 0x28, 0x80, 0x5f,
		0x5d, 0xa9, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x78, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x64, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0xe1, 0xd1, 0x85, 0xce, 0x5a, 0x31, 0x03, 0x46, 0x88, 0x72,
		0x5f, 0x00, 0x24, 0x08, 0x05, 0x67, 0x72, 0x65, 0x65, 0x74,
		0x69, 0x6e, 0x67, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x03, 0x25,
		0x03, 0x6f, 0x6c, 0x64, 0x9f, 0x76, 0x7b, 0x9d, 0x88, 0x72,
		0x1f, 0x01, 0x26, 0x01, 0x02, 0x6e, 0x34, 0x32,
	};
	struct log *l = *state;
	struct wal_scan scan;
	unsigned char *sector = calloc(1, WAL_HEADER_BYTES + sizeof(bytes));

	memcpy(sector, bytes, 64);
	memcpy(sector + WAL_HEADER_BYTES, bytes + 64, sizeof(bytes) - 64);
	tmpdir_write(l->path, "000012.wal", sector,
	             WAL_HEADER_BYTES + sizeof(bytes) - 64);
	free(sector);
	assert_int_equal(wal_scan_segment(l->dir, 12, NULL, NULL, &scan, NULL),
	                 0);
	assert_true(scan.header_valid);
	assert_int_equal(scan.format, 2);
	assert_int_equal(scan.header.prev_segment, 9);
	assert_int_equal(scan.header.prev_end, 0x278);
	assert_int_equal(scan.header.first_version, 100);
	assert_int_equal(scan.records, 2);
	assert_int_equal(scan.entries, 3);
	assert_int_equal(scan.last_version, 102);
	assert_int_equal(scan.end, WAL_HEADER_BYTES + sizeof(bytes) - 64);
	assert_int_equal(scan.tail, WAL_TAIL_CLEAN);
}

/*
 * A record that stands where another one belongs, of the same length and of
 * this very segment (a sector that came twice, or to the wrong place), is none.
 */
static void
moved_record(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	struct wal_replay_result r;
	uint64_t next, first, second, third, end;
	unsigned char *image;
	size_t len;

	append(w, 1, 1, 20);
	first = WAL_HEADER_BYTES;
	second = wal_end(w);
	append(w, 2, 1, 20);
	third = wal_end(w);
	append(w, 3, 1, 20);
	end = wal_end(w);
	wal_close(w);
	assert_int_equal(end - third, third - second);
	assert_int_equal(third - second, second - first);
	image = tmpdir_read(l->path, "000001.wal", &len);
	tmpdir_overwrite(l->path, "000001.wal", third, image + second,
	                 (size_t)(end - third));
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 3);
	assert_int_equal(r.dropped_offset, third);
	tmpdir_overwrite(l->path, "000001.wal", second, image + third,
	                 (size_t)(end - third));
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 2);
	assert_int_equal(r.dropped_offset, second);
	free(image);
}

/* Records tell no version, but one that does not follow is still damage. */
static void
versions_follow(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	struct err err = ERR_INIT;
	uint64_t next, end;

	append_synced(w, 1, 2, 20);
	end = wal_end(w);
	wal_close(w);
	w = create(l, 2, 1, end, 4, false);
	append_synced(w, 4, 1, 20);
	wal_close(w);
	assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "but 3 should follow"));
}

/*
 * A torn record of random bytes, longer than what is read at once: its tag
 * stands in it many times, and proves nothing. A sound record behind it does.
 */
static void
search_through_noise(void **state)
{
	const size_t len = 6u << 20;
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	unsigned char *noise = malloc(len), *image;
	uint64_t next, torn, end;
	size_t size;

	append_synced(w, 1, 1, 20);
	torn = wal_end(w);
	append(w, 2, 1, len - 1000);
	image = tmpdir_read(l->path, "000001.wal", &size);
	arc4random_buf(noise, len - 1000);
	for (size_t at = 0; at < len - 2000; at += 1 + at % 5000)
		memcpy(noise + at, image + WAL_HEADER_BYTES + 4, 2);
	tmpdir_overwrite(l->path, "000001.wal", torn + 100, noise, len - 1000);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 2);
	assert_int_equal(r.dropped_offset, torn);
	tmpdir_overwrite(l->path, "000001.wal", torn, image + torn,
	                 size - (size_t)torn);
	assert_int_equal(wal_sync(w, NULL), 0);
	end = wal_end(w);
	append(w, 3, 1, 0);
	/* and none of the record but the noise */
	tmpdir_overwrite(l->path, "000001.wal", torn + 100, noise, 1000);
	tmpdir_overwrite(l->path, "000001.wal", torn, noise,
	                 (size_t)(end - torn));
	assert_int_equal(replay(l, 1, &next, &r, NULL), LSMKV_ECORRUPT);
	wal_close(w);
	free(noise);
	free(image);
}

/*
 * Replays the log as a copy has it that passed over bad sectors: without the
 * bytes between `from` and `to`, so that what follows stands elsewhere. If to
 * is the lower one, the bytes between come twice.
 */
static int
replay_moved(struct log *l, uint64_t from, uint64_t to, uint64_t *next,
             struct err *err)
{
	struct wal_replay_result r;
	size_t len;
	unsigned char *whole = tmpdir_read(l->path, "000001.wal", &len);
	size_t rest = len - (size_t)to;
	unsigned char *copy = malloc((size_t)from + rest);
	int rc;

	memcpy(copy, whole, (size_t)from);
	memcpy(copy + from, whole + to, rest);
	tmpdir_write(l->path, "000001.wal", copy, (size_t)from + rest);
	*err = (struct err)ERR_INIT;
	rc = replay(l, 1, next, &r, err);
	tmpdir_write(l->path, "000001.wal", whole, len);
	free(whole);
	free(copy);
	return rc;
}

/* Sectors that went missing from the middle, or came twice, are damage. */
static void
moved_rest(void **state)
{
	static const int lost[] = { 512, 4096, 65536, -512, -8192 };
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	uint64_t next, version = 1, at, last;
	struct wal_replay_result r;
	struct err err;

	while (wal_end(w) < 150000) {
		unsigned count = 1 + (unsigned)(version % 5);

		append_synced(w, version, count, (size_t)(7 * version % 300));
		version += count;
	}
	for (unsigned i = 0; i < sizeof(lost) / sizeof(*lost); i++)
		for (at = 10240; at < 80000; at += 512 * 13) {
			assert_int_equal(
				replay_moved(l, at,
			                     (uint64_t)((int64_t)at + lost[i]),
			                     &next, &err),
				LSMKV_ECORRUPT);
			assert_non_null(strstr(err.message, "damaged at"));
			assert_non_null(strstr(err.message, "(once at "));
		}
	/* One record behind it is proof enough. */
	at = (wal_end(w) + 511) / 512 * 512;
	append_synced(w, version++, 1, 2000);
	last = wal_end(w);
	append_synced(w, version++, 1, 5);
	assert_true(last > at + 512);
	assert_int_equal(replay_moved(l, at, at + 512, &next, &err),
	                 LSMKV_ECORRUPT);
	/* Not if more than zeros follows it: that may be a client's. */
	tmpdir_overwrite(l->path, "000001.wal", wal_end(w) + 1000, "x", 1);
	assert_int_equal(replay_moved(l, at, at + 512, &next, &err), 0);
	assert_int_equal(next, version - 2);
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, version);
	wal_close(w);
}

/* In a log that was not synced they prove as little as in their places. */
static void
moved_rest_unsynced(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	uint64_t next, version = 1;
	struct err err;

	for (; wal_end(w) < 20000; version++)
		append(w, version, 1, 40);
	assert_int_equal(replay_moved(l, 5120, 6144, &next, &err), 0);
	assert_true(next > 1 && next < version);
	assert_int_equal(wal_sync(w, NULL), 0);
	for (; wal_end(w) < 40000; version++)
		append(w, version, 1, 40);
	assert_int_equal(replay_moved(l, 5120, 6144, &next, &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(replay_moved(l, 25600, 26624, &next, &err), 0);
	assert_true(next > 1 && next < version);
	wal_close(w);
}

/*
 * Many records that prove nothing behind the end of a log: they are looked at,
 * but the file is not read again for each of them.
 */
static void
search_reads_little(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, true);
	struct wal_replay_result r;
	uint64_t next, version = 1;
	size_t size;

	for (; wal_end(w) < 5u << 20; version++)
		append(w, version, 1, (size_t)(version % 100 ? 10 : 70000));
	wal_close(w);
	free(tmpdir_read(l->path, "000001.wal", &size));
	tmpdir_flip(l->path, "000001.wal", WAL_HEADER_BYTES + 10, 1);
	fault_reset();
	assert_int_equal(replay(l, 1, &next, &r, NULL), 0);
	assert_int_equal(next, 1);
	assert_int_equal(r.dropped_offset, WAL_HEADER_BYTES);
	/* A window of it at a time, which is 1 MiB. */
	assert_in_range(fault_count(FAULT_READ), 1, 20 + 2 * (size >> 20));
}

/*
 * A salt that begins with zeros would make a mark of them: nothing writes one,
 * and a header that has it is none.
 */
static void
salt_of_zeros(void **state)
{
	struct log *l = *state;
	struct wal *w = create(l, 1, 0, 0, 1, false);
	struct wal_replay_result r;
	uint64_t next;

	append_synced(w, 1, 1, 20);
	wal_close(w);
	for (unsigned i = 0; i < 2; i++) {
		struct err err = ERR_INIT;
		size_t len;
		unsigned char *b = tmpdir_read(l->path, "000001.wal", &len);

		b[WAL_H_SALT + i] = 0;
		put_u32(b + WAL_H_CRC, crc32_add(0, b, WAL_H_CRC));
		tmpdir_overwrite(l->path, "000001.wal", 0, b, WAL_H_END);
		/* It is the header that is told, not what is behind it. */
		assert_int_equal(replay(l, 1, &next, &r, &err), LSMKV_ECORRUPT);
		assert_non_null(strstr(err.message, "header is not valid"));
		free(b);
	}
}

/*
 * No length leads further than a record that was ever written, however large
 * the file is and however few bits a size_t has.
 */
static void
lengths_are_bounded(void **state)
{
	static const struct {
		uint64_t length;
		bool valid;
	} cases[] = { { 0, false },
		      { 1, true },
		      { WAL_PAYLOAD_MAX, true },
		      { (uint64_t)WAL_PAYLOAD_MAX + 1, false },
		      { UINT64_C(1) << 32, false },
		      { (UINT64_C(1) << 32) + 10, false },
		      { (UINT64_C(1) << 61) + 10, false } };
	const uint64_t salt = 0x1122334455667788;
	struct wal_head head;
	const char *reason;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned char b[40] = { 1, 2, 3, 4, 0x88, 0x77 };

		put_varint(b + 6, cases[i].length << 2 | 3);
		assert_int_equal(wal_decode_head(b, sizeof(b), UINT64_MAX, salt,
		                                 &head, &reason),
		                 cases[i].valid);
		if (cases[i].valid)
			assert_true(head.length == cases[i].length);
		else
			assert_string_equal(reason, "length out of bounds");
	}
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
		TEST(every_flip_is_found),
		TEST(every_flip_is_found_relaxed),
		TEST(version_1_is_read),
		TEST(version_1_is_followed),
		TEST(documented_bytes),
		TEST(moved_record),
		TEST(versions_follow),
		TEST(search_through_noise),
		TEST(search_reads_little),
		TEST(moved_rest),
		TEST(moved_rest_unsynced),
		TEST(salt_of_zeros),
		TEST(lengths_are_bounded),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
