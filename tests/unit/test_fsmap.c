/* SPDX-License-Identifier: ISC */
#include "base/fsmap.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/tmpdir.h"

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

struct fixture {
	char *path;
	struct fs_dir *dir;
	struct fs_file file; /* of four pages */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	assert_int_equal(fs_create(f->dir, "000001.wal", &f->file, NULL), 0);
	assert_int_equal(fs_allocate(&f->file, 0, 4 * PAGE, NULL), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fs_close(&f->file);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	free(f);
	return 0;
}

static void
assert_file_has(struct fixture *f, const char *text, uint64_t offset)
{
	char got[64];

	assert_int_equal(fs_read(&f->file, got, strlen(text), offset, NULL), 0);
	assert_memory_equal(got, text, strlen(text));
}

/* What is stored in the map is read from the file, and nothing else changes. */
static void
test_stores_reach_the_file(void **state)
{
	struct fixture *f = *state;
	struct fs_map map;

	assert_true(fs_map(&map, &f->file, PAGE, 2 * PAGE));
	assert_true(fs_map_write(&map, "one", 3, PAGE));
	assert_true(fs_map_write(&map, "two", 3, 2 * PAGE - 1));
	assert_true(fs_map_write(&map, "end", 3, 3 * PAGE - 3));
	assert_int_equal(fs_write(&f->file, "four", 4, PAGE + 3, NULL, NULL),
	                 0);
	fs_unmap(&map);
	fs_unmap(&map);
	assert_file_has(f, "onefour", PAGE);
	assert_file_has(f, "two", 2 * PAGE - 1);
	assert_file_has(f, "end", 3 * PAGE - 3);
	assert_int_equal(tmpdir_size(f->path, "000001.wal"), 4 * PAGE);
}

static void
test_holds(void **state)
{
	struct fixture *f = *state;
	struct fs_map map = FS_MAP_INIT;

	assert_false(fs_map_holds(&map, 0, 0));
	assert_true(fs_map(&map, &f->file, PAGE, 2 * PAGE));
	assert_true(fs_map_holds(&map, PAGE, 2 * PAGE));
	assert_true(fs_map_holds(&map, 3 * PAGE - 1, 1));
	assert_false(fs_map_holds(&map, PAGE - 1, 1));
	assert_false(fs_map_holds(&map, PAGE, 2 * PAGE + 1));
	assert_false(fs_map_holds(&map, 3 * PAGE - 1, 2));
	assert_false(fs_map_holds(&map, 4 * PAGE, 1));
	assert_false(fs_map_holds(&map, PAGE, SIZE_MAX));
	fs_unmap(&map);
	assert_false(fs_map_holds(&map, PAGE, 1));
}

/* A process that is killed leaves all that it has stored. */
static void
test_stores_outlive_the_process(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct fs_map map;

		if (fs_map(&map, &f->file, 0, 4 * PAGE) &&
		    fs_map_write(&map, "the last words", 14, PAGE - 4))
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_file_has(f, "the last words", PAGE - 4);
}

/* A store that the file has no place for is told of, and harms nobody. */
static void
test_sigbus_is_an_answer(void **state)
{
	struct fixture *f = *state;
	struct fs_map map;

	for (unsigned round = 0; round < 2; round++) {
		assert_true(fs_map(&map, &f->file, 0, 4 * PAGE));
		assert_true(fs_map_write(&map, "good", 4, 0));
		tmpdir_truncate(f->path, "000001.wal", 2 * PAGE);
		assert_true(fs_map_write(&map, "good", 4, PAGE));
		assert_false(fs_map_write(&map, "lost", 4, 2 * PAGE - 2));
		fs_unmap(&map);
		assert_file_has(f, "good", 0);
		assert_file_has(f, "good", PAGE);
		assert_int_equal(tmpdir_size(f->path, "000001.wal"), 2 * PAGE);
		tmpdir_grow(f->path, "000001.wal", 2 * PAGE);
	}
}

/* What a child dies of after it has used a map and then done this; 0: not. */
static int
signal_of(struct fixture *f, void (*then)(struct fixture *f))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct rlimit none = { 0, 0 };
		struct fs_map map;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGBUS, SIG_DFL);
		if (fs_map(&map, &f->file, 0, 4 * PAGE) &&
		    fs_map_write(&map, "good", 4, 0))
			then(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
store_past_the_file(struct fixture *f)
{
	volatile char *at = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE,
	                         MAP_SHARED, f->file.fd, 0);

	at[7 * PAGE] = 1;
}

static void
send_sigbus(struct fixture *f)
{
	(void)f;
	raise(SIGBUS);
}

/* Another SIGBUS ends the process, as if there were no maps. */
static void
test_other_sigbus_is_fatal(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(signal_of(f, store_past_the_file), SIGBUS);
	assert_int_equal(signal_of(f, send_sigbus), SIGBUS);
}

/* What cannot be mapped is no map. */
static void
test_unmappable(void **state)
{
	struct fixture *f = *state;
	struct fs_file closed = FS_FILE_INIT;
	struct fs_map map;

	assert_false(fs_map(&map, &closed, 0, PAGE));
	assert_null(map.start);
	assert_false(fs_map(&map, &f->file, 1, PAGE));
	assert_null(map.start);
	fs_unmap(&map);
}

#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stores_reach_the_file),
		TEST(test_holds),
		TEST(test_stores_outlive_the_process),
		TEST(test_sigbus_is_an_answer),
		TEST(test_other_sigbus_is_fatal),
		TEST(test_unmappable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
