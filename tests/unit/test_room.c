/* SPDX-License-Identifier: ISC */
/*
 * Back pressure, on a clock of the test's own: what is slept, and for how
 * many bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/store_impl.h"

#define MB (UINT64_C(1) << 20)
#define MS UINT64_C(1000000) /* in ns */
#define GROUP 150u           /* bytes of one */

static uint64_t now_ns = 1, sleeps, slept_ns, longest_ns;
static uint64_t wakes_every_ns; /* the clock's tick; 0: exact */

uint64_t __wrap_clock_mono_ns(void);
void __wrap_clock_sleep_us(uint64_t us);

uint64_t
__wrap_clock_mono_ns(void)
{
	return now_ns;
}

void
__wrap_clock_sleep_us(uint64_t us)
{
	uint64_t until = now_ns + us * 1000;

	if (wakes_every_ns)
		until += wakes_every_ns - until % wakes_every_ns;
	if (us * 1000 > longest_ns)
		longest_ns = us * 1000;
	slept_ns += until - now_ns;
	now_ns = until;
	sleeps++;
}

static int
setup(void **state)
{
	static struct store s;

	s = (struct store){ 0 };
	store_options_init(&s.options);
	s.options.memtable_bytes = 64 * MB;
	sleeps = slept_ns = longest_ns = wakes_every_ns = 0;
	*state = &s;
	return 0;
}

/* So many groups, one every microsecond; returns what they slept. */
static uint64_t
write_groups(struct store *s, const struct load *load, unsigned groups)
{
	uint64_t before = slept_ns;

	s->commit.owed_ns = 0;
	for (unsigned i = 0; i < groups; i++) {
		now_ns += 1000;
		room_slow_down(s, load, GROUP);
	}
	return slept_ns - before;
}

/* Half of the memory and few files in level 0: nobody waits. */
static void
test_no_pressure(void **state)
{
	struct store *s = *state;
	struct load load = { .held = 3 * 64 * MB / 2,
		             .level0 = s->options.level0_slow };

	write_groups(s, &load, 100000);
	assert_int_equal(sleeps, 0);
	assert_int_equal(s->stalls, 0);
}

/* The fuller, the slower, down to a byte a microsecond: 1 MB/s. */
static void
test_slower_and_slower(void **state)
{
	struct store *s = *state;
	const unsigned slow = s->options.level0_slow;
	uint64_t ns, last = 0;

	for (uint64_t held = 100; held <= 190; held += 10) {
		struct load load = { .held = held * MB };

		ns = write_groups(s, &load, 100000);
		assert_true(ns > last);
		last = ns;
	}
	for (unsigned files = slow + 1; files <= 2 * slow; files++) {
		struct load load = { .level0 = files };

		ns = write_groups(s, &load, 100000);
		assert_true(files == slow + 1 || ns > last);
		last = ns;
	}
	assert_in_range(last, 14999 * MS, 15000 * MS);
}

/* Of two reasons to slow down, the greater one counts. */
static void
test_two_reasons(void **state)
{
	struct store *s = *state;
	struct load memory = { .held = 150 * MB };
	struct load both = { .held = 150 * MB,
		             .level0 = s->options.level0_slow + 1 };
	uint64_t ns = write_groups(s, &memory, 100000);

	assert_int_equal(write_groups(s, &both, 100000), ns);
	both.held = 100 * MB;
	assert_true(write_groups(s, &both, 100000) < ns);
}

/* Short sleeps, and the counters tell of them. */
static void
test_short_sleeps(void **state)
{
	struct store *s = *state;
	struct load load = { .held = 120 * MB };

	write_groups(s, &load, 100000);
	assert_true(sleeps > 100);
	assert_true(longest_ns <= MS);
	assert_int_equal(s->stalls, sleeps);
	assert_in_range(s->stall_us, slept_ns / 1000 - sleeps, slept_ns / 1000);
	/* A large group owes much, and does not wait for all of it at once. */
	load.held = 192 * MB;
	room_slow_down(s, &load, 16 * MB);
	assert_int_equal(longest_ns, 20 * MS);
}

/* Where sleeps last too long, there are fewer of them: the pace is the same. */
static void
test_long_ticks(void **state)
{
	struct store *s = *state;
	struct load load = { .held = 120 * MB };
	uint64_t exact = write_groups(s, &load, 1000000), many = sleeps, coarse;

	wakes_every_ns = 4 * MS;
	coarse = write_groups(s, &load, 1000000);
	assert_true(sleeps - many < many / 4);
	assert_in_range(coarse, exact - 10 * MS, exact + 10 * MS);
	assert_in_range(s->stall_us, slept_ns / 1000 - sleeps, slept_ns / 1000);
	/* One that lasts for ever is no licence to go on without any. */
	wakes_every_ns = 1000000 * MS;
	for (many = sleeps; sleeps == many;)
		room_slow_down(s, &load, GROUP);
	wakes_every_ns = 0;
	coarse = slept_ns;
	for (unsigned i = 0; i < 1000000; i++)
		room_slow_down(s, &load, GROUP);
	assert_in_range(slept_ns - coarse, exact - 30 * MS, exact - 10 * MS);
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_pressure), TEST(test_slower_and_slower),
		TEST(test_two_reasons), TEST(test_short_sleeps),
		TEST(test_long_ticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
