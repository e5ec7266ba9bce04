/* SPDX-License-Identifier: ISC */
/* Unit tests of base/clock: what may be relied on, no durations. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

/* The monotonic clock never goes back, and a sleep is not shorter than told. */
static void
test_mono(void **state)
{
	uint64_t before = clock_mono_ns(), after;
	int i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		after = clock_mono_ns();
		assert_true(after >= before);
		before = after;
	}
	clock_sleep_us(2000);
	assert_true(clock_mono_ns() - before >= 2000000);
}

/* The clock of ticks is behind the other, and never goes back either. */
static void
test_mono_tick(void **state)
{
	uint64_t before = clock_mono_tick_ns(), after;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		after = clock_mono_tick_ns();
		assert_true(after >= before);
		assert_true(after <= clock_mono_ns());
		before = after;
	}
}

/* Both wall clocks tell the time that libc tells. */
static void
test_wall(void **state)
{
	uint64_t before = (uint64_t)time(NULL);
	uint64_t s = clock_wall_s(), ms = clock_wall_ms();
	uint64_t after = (uint64_t)time(NULL) + 1;

	(void)state;
	/* time(2) may lag behind by a tick of the kernel. */
	assert_in_range(s, before, after);
	assert_in_range(ms / 1000, before, after);
	assert_true(ms / 1000 >= s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mono),
		cmocka_unit_test(test_mono_tick),
		cmocka_unit_test(test_wall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
