/* SPDX-License-Identifier: ISC */
/* Unit tests of http/writes: what a batch is, and whose turn it is. */
#include "http/writes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

#define COUNT (API_CALLS_MAX * 2 + 10)

static struct held_write writes[COUNT];

static int
setup(void **state)
{
	static struct writes ws;

	memset(writes, 0, sizeof(writes));
	writes_init(&ws);
	*state = &ws;
	return 0;
}

static int
teardown(void **state)
{
	writes_release(*state);
	return 0;
}

/* Takes the turn, for the writes from `first` on, `count` of them. */
static void
assert_batch(struct writes *ws, unsigned first, unsigned count)
{
	struct api_call *calls[API_CALLS_MAX];

	assert_int_equal(writes_begin(ws, calls), count);
	for (unsigned i = 0; i < count; i++)
		assert_ptr_equal(calls[i], &writes[first + i].call);
}

/* All that has come is written together, in its order. */
static void
test_together(void **state)
{
	struct writes *ws = *state;

	assert_false(writes_wait(ws));
	assert_batch(ws, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_false(writes_hold(ws, &writes[i]));
	assert_true(writes_wait(ws));
	assert_batch(ws, 0, 3);
	assert_false(writes_wait(ws));
	writes_end(ws);
	assert_false(writes_wait(ws));
}

/* What comes while somebody writes is that one's to see to, afterwards. */
static void
test_turns(void **state)
{
	struct writes *ws = *state;

	writes_hold(ws, &writes[0]);
	assert_batch(ws, 0, 1);
	writes_hold(ws, &writes[1]);
	assert_false(writes_wait(ws));
	assert_batch(ws, 1, 0);
	writes_end(ws);
	assert_true(writes_wait(ws));
	assert_batch(ws, 1, 1);
	writes_end(ws);
}

/* A full batch does not wait for its turn; what is left belongs to all. */
static void
test_full_by_count(void **state)
{
	struct writes *ws = *state;

	writes_hold(ws, &writes[0]);
	assert_batch(ws, 0, 1);
	for (unsigned i = 1; i < API_CALLS_MAX; i++)
		assert_false(writes_hold(ws, &writes[i]));
	for (unsigned i = API_CALLS_MAX; i < COUNT; i++)
		assert_true(writes_hold(ws, &writes[i]));
	assert_batch(ws, 1, API_CALLS_MAX);
	assert_batch(ws, 1 + API_CALLS_MAX, API_CALLS_MAX);
	assert_batch(ws, 0, 0);
	/* Two of three have ended. */
	writes_end(ws);
	writes_end(ws);
	assert_false(writes_wait(ws));
	writes_end(ws);
	assert_true(writes_wait(ws));
	assert_batch(ws, 1 + 2 * API_CALLS_MAX, COUNT - 1 - 2 * API_CALLS_MAX);
	writes_end(ws);
}

/* Nor does one that holds much memory; its last one may be of any size. */
static void
test_full_by_bytes(void **state)
{
	struct writes *ws = *state;

	writes[1].bytes = WRITES_BYTES_MAX / 2;
	writes[2].bytes = WRITES_BYTES_MAX * 10;
	writes[3].bytes = WRITES_BYTES_MAX / 2;
	writes_hold(ws, &writes[0]);
	assert_batch(ws, 0, 1);
	assert_false(writes_hold(ws, &writes[1]));
	assert_true(writes_hold(ws, &writes[2]));
	assert_true(writes_hold(ws, &writes[3]));
	assert_batch(ws, 1, 2);
	assert_batch(ws, 3, 0);
	writes_end(ws);
	writes_end(ws);
	assert_batch(ws, 3, 1);
	writes_end(ws);
}

/* What has been here for long is told, but not while somebody writes. */
static void
test_overdue(void **state)
{
	struct writes *ws = *state;

	assert_false(writes_overdue(ws, 1));
	writes_hold(ws, &writes[0]);
	assert_false(writes_overdue(ws, UINT64_MAX));
	clock_sleep_us(2000);
	assert_true(writes_overdue(ws, 1000000));
	assert_batch(ws, 0, 1);
	writes_hold(ws, &writes[1]);
	clock_sleep_us(2000);
	assert_false(writes_overdue(ws, 1000000));
	writes_end(ws);
	assert_true(writes_overdue(ws, 1000000));
	assert_batch(ws, 1, 1);
	writes_end(ws);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_together),      TEST(test_turns),
		TEST(test_full_by_count), TEST(test_full_by_bytes),
		TEST(test_overdue),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
