/* SPDX-License-Identifier: ISC */
/* The fault and trace layer of the tests itself. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fsio.h"
#include "lib/fault.h"
#include "lib/tmpdir.h"

struct fixture {
	char *path;
	struct fs_dir *dir;
	struct fs_file file; /* "f", empty, open */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->path = tmpdir_new();
	fault_reset();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	assert_int_equal(fs_create(f->dir, "f", &f->file, NULL), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_reset();
	fs_close(&f->file);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	free(f);
	return 0;
}

/* Calls are counted by kind, and not while a thread is exempt. */
static void
counts_by_kind(void **state)
{
	struct fixture *f = *state;

	fault_reset();
	assert_int_equal(fs_write(&f->file, "ab", 2, 0, NULL, NULL), 0);
	assert_int_equal(fs_datasync(&f->file, NULL), 0);
	assert_int_equal(fs_sync(&f->file, NULL), 0);
	assert_int_equal(fs_dir_sync(f->dir, NULL), 0);
	assert_int_equal(fs_dir_sync(f->dir, NULL), 0);
	fault_exempt_begin();
	assert_int_equal(fs_dir_sync(f->dir, NULL), 0);
	fault_exempt_end();
	assert_int_equal(fault_count(FAULT_WRITE), 1);
	assert_int_equal(fault_count(FAULT_DATASYNC), 1);
	assert_int_equal(fault_count(FAULT_SYNC), 1);
	assert_int_equal(fault_count(FAULT_DIR_SYNC), 2);
	assert_int_equal(fault_count(FAULT_ALL_FILES), 5);
}

/* The nth call fails once; with for_good all that follow fail, too. */
static void
nth_call_fails(void **state)
{
	struct fixture *f = *state;
	struct fault_plan plan = { .kinds = FAULT_SYNC,
		                   .nth = 2,
		                   .error = EIO };

	fault_set(&plan);
	assert_int_equal(fs_sync(&f->file, NULL), 0);
	assert_int_equal(fs_sync(&f->file, NULL), LSMKV_EIO);
	assert_int_equal(fs_sync(&f->file, NULL), 0);
	assert_int_equal(fault_fired(), 1);
	assert_string_equal(fault_last(), "fsync");
	plan.for_good = true;
	plan.error = ENOSPC;
	fault_set(&plan);
	assert_int_equal(fs_sync(&f->file, NULL), 0);
	assert_int_equal(fs_sync(&f->file, NULL), LSMKV_ENOSPC);
	assert_int_equal(fs_sync(&f->file, NULL), LSMKV_ENOSPC);
	fault_clear();
	assert_int_equal(fs_sync(&f->file, NULL), 0);
}

/* EINTR and short writes are gone on from; half a write may be all there is. */
static void
short_writes(void **state)
{
	struct fixture *f = *state;
	struct fault_plan plan = { .kinds = FAULT_WRITE,
		                   .nth = 1,
		                   .error = EINTR };
	unsigned char *bytes;
	size_t len, written;

	fault_set(&plan);
	assert_int_equal(fs_write(&f->file, "abcdef", 6, 0, NULL, NULL), 0);
	plan.how = FAULT_SHORT;
	fault_set(&plan);
	assert_int_equal(fs_write(&f->file, "ABCDEF", 6, 0, NULL, NULL), 0);
	assert_int_equal(fault_fired(), 1);
	plan.how = FAULT_SHORT_FAILS;
	plan.error = ENOSPC;
	fault_set(&plan);
	assert_int_equal(fs_write(&f->file, "uvwxyz", 6, 0, &written, NULL),
	                 LSMKV_ENOSPC);
	assert_int_equal(written, 3);
	assert_int_equal(fault_fired(), 2);
	bytes = tmpdir_read(f->path, "f", &len);
	assert_int_equal(len, 6);
	assert_memory_equal(bytes, "uvwDEF", 6);
	free(bytes);
}

/* A plan with a name leaves other files alone. */
static void
only_the_named_file(void **state)
{
	struct fixture *f = *state;
	struct fault_plan plan = { .kinds = FAULT_SYNC | FAULT_OPEN,
		                   .nth = 1,
		                   .for_good = true,
		                   .error = EIO,
		                   .name = "g" };
	struct fs_file g;

	assert_int_equal(fs_create(f->dir, "g", &g, NULL), 0);
	fault_set(&plan);
	assert_int_equal(fs_sync(&f->file, NULL), 0);
	assert_int_equal(fs_sync(&g, NULL), LSMKV_EIO);
	fs_close(&g);
	assert_int_equal(fs_open(f->dir, "g", &g, NULL), LSMKV_EIO);
	fs_close(&g);
}

/* Memory that is refused is an error of the call that wanted it. */
static void
no_memory(void **state)
{
	struct fault_plan plan = { .kinds = FAULT_MALLOC, .nth = 1 };
	struct buf b = BUF_INIT;

	(void)state;
	fault_set(&plan);
	assert_int_equal(buf_append(&b, "x", 1, NULL), LSMKV_ENOMEM);
	assert_int_equal(buf_append(&b, "x", 1, NULL), 0);
	buf_release(&b);
}

/* The trace has every change in its order, files by number, marks between. */
static void
trace_tells_all(void **state)
{
	static const enum fault_event_kind kinds[] = {
		EVENT_EXISTS, EVENT_WRITE,  EVENT_CREATE, EVENT_ALLOCATE,
		EVENT_WRITE,  EVENT_SYNC,   EVENT_RENAME, EVENT_SYNC,
		EVENT_MARK,   EVENT_UNLINK, EVENT_CREATE, EVENT_DIR_SYNC,
	};
	struct fault_plan plan = { .kinds = FAULT_SYNC,
		                   .nth = 1,
		                   .error = EIO };
	struct fixture *f = *state;
	struct fault_trace t;
	struct fs_file g;

	fault_trace_start(f->path);
	assert_int_equal(fs_write(&f->file, "abc", 3, 0, NULL, NULL), 0);
	assert_int_equal(fs_create(f->dir, "g", &g, NULL), 0);
	assert_int_equal(fs_allocate(&g, 0, 4096, NULL), 0);
	assert_int_equal(fs_write(&g, "xy", 2, 100, NULL, NULL), 0);
	assert_int_equal(fs_sync(&g, NULL), 0);
	assert_int_equal(fs_rename(f->dir, "g", "h", NULL), 0);
	fault_set(&plan);
	assert_int_equal(fs_sync(&g, NULL), LSMKV_EIO);
	fault_trace_mark(7, 8);
	assert_int_equal(fs_unlink(f->dir, "h", NULL), 0);
	assert_int_equal(fs_unlink(f->dir, "h", NULL), 0);
	fs_close(&g);
	assert_int_equal(fs_create(f->dir, "g", &g, NULL), 0);
	assert_int_equal(fs_create(f->dir, "g", &g, NULL), LSMKV_EIO);
	assert_int_equal(fs_dir_sync(f->dir, NULL), 0);
	fs_close(&g);
	fault_trace_stop(&t);
	assert_int_equal(t.count, sizeof(kinds) / sizeof(kinds[0]));
	for (size_t i = 0; i < t.count; i++)
		assert_int_equal(t.events[i].kind, kinds[i]);
	assert_int_equal(t.events[1].file, t.events[0].file);
	assert_memory_equal(t.events[1].data, "abc", 3);
	assert_int_equal(t.events[3].len, 4096);
	assert_int_equal(t.events[4].file, t.events[2].file);
	assert_int_equal(t.events[4].offset, 100);
	assert_false(t.events[5].failed);
	assert_string_equal(t.events[6].name, "g");
	assert_string_equal(t.events[6].to, "h");
	assert_true(t.events[7].failed);
	assert_int_equal(t.events[8].mark[1], 8);
	assert_int_equal(t.events[9].file, t.events[2].file);
	assert_int_not_equal(t.events[10].file, t.events[2].file);
	fault_trace_release(&t);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(counts_by_kind), TEST(nth_call_fails),
		TEST(short_writes),   TEST(only_the_named_file),
		TEST(no_memory),      TEST(trace_tells_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
