/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "lib/tmpdir.h"
#include "store/names.h"
#include "store/reserve.h"

#define MB UINT64_C(1048576)

/* What the disk is said to have free, plus what is held; 0: what it has. */
static uint64_t disk_bytes;
static uint64_t held_bytes;

int __real_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes,
                             struct err *err);
int __wrap_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes,
                             struct err *err);

int
__wrap_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes, struct err *err)
{
	if (!disk_bytes)
		return __real_fs_dir_free_bytes(dir, bytes, err);
	*bytes = disk_bytes - held_bytes;
	return 0;
}

/* The reserve grows with the tree, between its bounds. */
static void
targets(void **state)
{
	(void)state;
	assert_true(reserve_target(0, 0) < MB);
	assert_true(reserve_target(0, 0) > 0);
	assert_int_equal(reserve_target(80 * MB, 0), 20 * MB);
	assert_int_equal(reserve_target(80 * MB, 3 * MB), 23 * MB);
	assert_int_equal(reserve_target(UINT64_C(1) << 50, 0), 256 * MB);
}

/* Held, given up, held again: the file, the state and the answers. */
static void
life(void **state)
{
	char *path = tmpdir_new();
	struct fs_dir *dir;
	struct reserve r = { 0 };

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	disk_bytes = 100 * MB;
	assert_int_equal(fs_dir_open(&dir, path, false, NULL), 0);
	reserve_init(&r, dir);
	assert_false(tmpdir_has(path, NAME_RESERVE));
	reserve_hold(&r, MB);
	assert_int_equal(tmpdir_size(path, NAME_RESERVE), MB);
	assert_false(atomic_load(&r.low));
	/* near enough stays, far off is made anew */
	reserve_hold(&r, MB + 1);
	assert_int_equal(tmpdir_size(path, NAME_RESERVE), MB);
	reserve_hold(&r, 4 * MB);
	assert_int_equal(tmpdir_size(path, NAME_RESERVE), 4 * MB);
	reserve_hold(&r, MB);
	assert_int_equal(tmpdir_size(path, NAME_RESERVE), MB);

	assert_true(reserve_give_up(&r));
	assert_false(tmpdir_has(path, NAME_RESERVE));
	assert_true(atomic_load(&r.low));
	assert_true(reserve_has_room(&r, MB, MB));
	assert_false(reserve_has_room(&r, MB, UINT64_C(1) << 60));
	assert_false(reserve_give_up(&r)); /* there was nothing left */
	assert_int_equal(atomic_load(&r.given_up), 1);

	reserve_hold(&r, MB);
	assert_int_equal(tmpdir_size(path, NAME_RESERVE), MB);
	assert_false(atomic_load(&r.low));
	reserve_release(&r);

	/* the next owner finds it */
	reserve_init(&r, dir);
	assert_int_equal(r.held, MB);
	assert_true(reserve_give_up(&r));
	reserve_release(&r);
	disk_bytes = 0;
	fs_dir_close(dir);
	tmpdir_free(path);
}

static void
hold(struct reserve *r, uint64_t target, uint64_t bytes)
{
	held_bytes = r->held;
	reserve_hold(r, target);
	assert_int_equal(r->held, bytes);
	assert_false(atomic_load(&r->low));
}

/* A disk with room in plenty has little taken from it, a fuller one all. */
static void
plenty(void **state)
{
	const uint64_t enough = 1024 * MB + 16 * 8 * MB;
	char *path = tmpdir_new();
	struct fs_dir *dir;
	struct reserve r = { 0 };

	(void)state;
	assert_int_equal(fs_dir_open(&dir, path, false, NULL), 0);
	reserve_init(&r, dir);
	disk_bytes = enough + MB;
	hold(&r, 8 * MB, MB);
	hold(&r, MB / 2, MB); /* near enough */
	hold(&r, MB / 4, MB / 4);
	disk_bytes = enough - MB;
	hold(&r, 8 * MB, 8 * MB);
	/* it does not go to and fro */
	disk_bytes = enough + MB;
	hold(&r, 8 * MB, 8 * MB);
	disk_bytes = 2 * enough - MB;
	hold(&r, 8 * MB, 8 * MB);
	disk_bytes = 2 * enough + MB;
	hold(&r, 8 * MB, MB);
	/* more to hold is more to have */
	hold(&r, 200 * MB, 200 * MB);
	disk_bytes = held_bytes = 0;
	reserve_release(&r);
	fs_dir_close(dir);
	tmpdir_free(path);
}

/* Where there is no room for it, nothing is held: the disk is full. */
static void
no_room(void **state)
{
	char *path = tmpdir_new();
	struct fs_dir *dir;
	struct reserve r = { 0 };

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(fs_dir_open(&dir, path, false, NULL), 0);
	reserve_init(&r, dir);
	reserve_hold(&r, UINT64_C(1) << 60);
	assert_false(tmpdir_has(path, NAME_RESERVE));
	assert_true(atomic_load(&r.low));
	reserve_hold(&r, UINT64_C(1) << 60);
	assert_true(atomic_load(&r.low));
	reserve_release(&r);
	fs_dir_close(dir);
	tmpdir_free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets),
		cmocka_unit_test(life),
		cmocka_unit_test(no_room),
		cmocka_unit_test(plenty),
	};

	return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
