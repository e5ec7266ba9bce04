/* SPDX-License-Identifier: ISC */
/* Unit tests of store/manifest: what is saved is loaded, or nothing is. */
#include "store/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/fake_sst.h"
#include "lib/tmpdir.h"

struct fixture {
	char *path;
	struct fs_dir *dir;
	struct levels *levels;
};

static void
add(struct levels **l, unsigned level, struct sst *t)
{
	struct levels_added added = { level, t };
	struct levels_edit edit = { &added, 1, NULL, 0 };
	struct levels *next = NULL;

	assert_int_equal(levels_apply(*l, &edit, &next, NULL), 0);
	sst_unref(t);
	levels_unref(*l);
	*l = next;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	f->levels = levels_new();
	add(&f->levels, 0, fake_sst_new(12, "a", "zz", 50, 60));
	add(&f->levels, 0, fake_sst_new(11, "b", "y", 40, 49));
	add(&f->levels, 1, fake_sst_new(7, "a", "g", 1, 39));
	add(&f->levels, 1, fake_sst_new(8, "h", "z", 2, 30));
	add(&f->levels, 6, fake_sst_new(2, "a\x01", "\xff\xfe", 1, 1));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	levels_unref(f->levels);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	free(f);
	return 0;
}

static const struct manifest head = {
	.generation = 9, .next_file = 13, .last_version = 60, .wal_oldest = 10
};

static void
save(struct fixture *f, const struct manifest *numbers)
{
	bool renamed = false;

	assert_int_equal(
		manifest_save(f->dir, numbers, f->levels, &renamed, NULL), 0);
	assert_true(renamed);
}

/* Every number and every file comes back, level by level in order. */
static void
test_round_trip(void **state)
{
	static const uint64_t numbers[] = { 12, 11, 7, 8, 2 };
	static const unsigned levels[] = { 0, 0, 1, 1, 6 };
	struct fixture *f = *state;
	struct manifest m;

	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_NOTFOUND);
	save(f, &head);
	assert_false(tmpdir_has(f->path, "MANIFEST.tmp"));
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.generation == 9);
	assert_true(m.next_file == 13);
	assert_true(m.last_version == 60);
	assert_true(m.wal_oldest == 10);
	assert_int_equal(m.file_count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(m.files[i].level, levels[i]);
		assert_true(m.files[i].info.number == numbers[i]);
	}
	assert_true(m.files[4].info.min_version == 1);
	assert_true(slice_equal(buf_slice(&m.files[4].info.largest),
	                        slice_str("\xff\xfe")));
	assert_true(m.files[4].info.size == 1000);
	manifest_release(&m);
}

/* A store without files has a MANIFEST, too. */
static void
test_empty(void **state)
{
	struct fixture *f = *state;
	struct manifest m;

	levels_unref(f->levels);
	f->levels = levels_new();
	save(f, &head);
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_int_equal(m.file_count, 0);
	assert_true(m.next_file == 13);
	manifest_release(&m);
}

/* Each flipped bit of each byte is found, and file and offset are named. */
static void
test_flips(void **state)
{
	struct fixture *f = *state;
	uint64_t size;

	save(f, &head);
	size = tmpdir_size(f->path, "MANIFEST");
	for (uint64_t i = 0; i < size; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct err err = ERR_INIT;
			struct manifest m;

			tmpdir_flip(f->path, "MANIFEST", i,
			            (unsigned char)(1u << bit));
			assert_int_equal(manifest_load(f->dir, &m, &err),
			                 LSMKV_ECORRUPT);
			assert_non_null(strstr(err.message, "MANIFEST"));
			assert_non_null(strstr(err.message, "offset"));
			assert_null(m.files);
			tmpdir_flip(f->path, "MANIFEST", i,
			            (unsigned char)(1u << bit));
		}
}

/* Cut at any place, or longer by any zeros, it is refused. */
static void
test_truncations(void **state)
{
	struct fixture *f = *state;
	unsigned char *all;
	struct manifest m;
	size_t len;

	save(f, &head);
	all = tmpdir_read(f->path, "MANIFEST", &len);
	for (size_t i = len; i-- > 0;) {
		struct err err = ERR_INIT;

		tmpdir_truncate(f->path, "MANIFEST", i);
		assert_int_equal(manifest_load(f->dir, &m, &err),
		                 LSMKV_ECORRUPT);
		assert_non_null(strstr(err.message, "offset"));
	}
	for (size_t more = 1; more < 9; more++) {
		tmpdir_write(f->path, "MANIFEST", all, len);
		tmpdir_grow(f->path, "MANIFEST", more);
		assert_int_equal(manifest_load(f->dir, &m, NULL),
		                 LSMKV_ECORRUPT);
	}
	free(all);
}

/* Puts the right checksum under a MANIFEST that was changed. */
static void
reseal(struct fixture *f)
{
	size_t len;
	unsigned char *all = tmpdir_read(f->path, "MANIFEST", &len);

	put_u32(all + len - 4, crc32_add(0, all, len - 4));
	tmpdir_write(f->path, "MANIFEST", all, len);
	free(all);
}

/* A newer format is told from damage, as long as its checksum is right. */
static void
test_version(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct manifest m;

	save(f, &head);
	tmpdir_overwrite(f->path, "MANIFEST", 8, "\x02", 1);
	reseal(f);
	assert_int_equal(manifest_load(f->dir, &m, &err), LSMKV_EVERSION);
	assert_non_null(strstr(err.message, "version 2"));
}

/*
 * Bytes with a right checksum are still not believed: no level 7, no number
 * or version that was never given out, no count that is not true. Whatever
 * byte is changed, nothing is read out of bounds.
 */
static void
test_nonsense(void **state)
{
	struct fixture *f = *state;
	struct manifest m, low = head;
	unsigned char *all;
	size_t len;

	low.next_file = 12;
	save(f, &low);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	low = head;
	low.last_version = 59;
	save(f, &low);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	save(f, &head);
	tmpdir_overwrite(f->path, "MANIFEST", 12, "\x06", 1);
	reseal(f);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	tmpdir_overwrite(f->path, "MANIFEST", 12, "\xff\xff\xff\xff", 4);
	reseal(f);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	tmpdir_overwrite(f->path, "MANIFEST", 12, "\x04\0\0\0", 4);
	reseal(f);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	save(f, &head);
	tmpdir_overwrite(f->path, "MANIFEST", 48, "\x07", 1);
	reseal(f);
	assert_int_equal(manifest_load(f->dir, &m, NULL), LSMKV_ECORRUPT);
	save(f, &head);
	all = tmpdir_read(f->path, "MANIFEST", &len);
	for (size_t i = 8; i + 4 < len; i++)
		for (unsigned v = 0; v < 256; v += 15) {
			unsigned char byte = (unsigned char)v;

			tmpdir_write(f->path, "MANIFEST", all, len);
			tmpdir_overwrite(f->path, "MANIFEST", i, &byte, 1);
			reseal(f);
			if (!manifest_load(f->dir, &m, NULL))
				manifest_release(&m);
		}
	free(all);
}

/* What a crash left as MANIFEST.tmp is in nobody's way and never read. */
static void
test_leftover(void **state)
{
	struct fixture *f = *state;
	struct manifest m, next = head;

	save(f, &head);
	tmpdir_write(f->path, "MANIFEST.tmp", "half", 4);
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.generation == 9);
	manifest_release(&m);
	next.generation = 10;
	save(f, &next);
	assert_false(tmpdir_has(f->path, "MANIFEST.tmp"));
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.generation == 10);
	manifest_release(&m);
}

/* A save that fails before the rename says so, and the old one stands. */
static void
test_failed_save(void **state)
{
	struct fixture *f = *state;
	struct manifest m, next = head;
	struct err err = ERR_INIT;
	char blocker[512];
	bool renamed = true;

	save(f, &head);
	/* a directory in the temporary file's place cannot be unlinked */
	snprintf(blocker, sizeof(blocker), "%s/MANIFEST.tmp/x", f->path);
	{
		struct fs_dir *d = NULL;

		blocker[strlen(blocker) - 2] = '\0';
		assert_int_equal(fs_dir_open(&d, blocker, true, NULL), 0);
		fs_dir_close(d);
	}
	next.generation = 10;
	assert_true(manifest_save(f->dir, &next, f->levels, &renamed, &err) <
	            0);
	assert_false(renamed);
	assert_non_null(strstr(err.message, "MANIFEST"));
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.generation == 9);
	manifest_release(&m);
}

static bool rename_lies; /* it is done, and reported to have failed */

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);

int
__wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int rc = __real_renameat(from_dir, from, to_dir, to);

	if (rc || !rename_lies)
		return rc;
	errno = EIO;
	return -1;
}

/* A rename that happened counts as one, whatever it reported. */
static void
test_rename_of_unknown_outcome(void **state)
{
	struct fixture *f = *state;
	struct manifest m, next = head;
	struct err err = ERR_INIT;
	bool renamed = false;

	save(f, &head);
	next.generation = 10;
	rename_lies = true;
	assert_int_equal(
		manifest_save(f->dir, &next, f->levels, &renamed, &err),
		LSMKV_EIO);
	rename_lies = false;
	assert_true(renamed);
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.generation == 10);
	manifest_release(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_empty),
		TEST(test_flips),
		TEST(test_truncations),
		TEST(test_version),
		TEST(test_nonsense),
		TEST(test_leftover),
		TEST(test_failed_save),
		TEST(test_rename_of_unknown_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
