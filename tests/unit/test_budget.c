/* SPDX-License-Identifier: ISC */
/* The budget: memtables and cache never have more than the memory together. */
#include "store/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MB ((size_t)1 << 20)
#define MEMORY (256 * MB)
#define MEMTABLE (64 * MB)
#define SECOND UINT64_C(1000000000)

/* More is set aside than there is, and a step is taken while an eighth of a
   memtable is still left of the one before. */
static void
steps_in_time(void **state)
{
	struct budget b;
	size_t last = 0;

	(void)state;
	budget_init(&b, MEMORY, MEMTABLE, 2, 0);
	for (size_t active = 0; active <= MEMTABLE; active += MB) {
		size_t need = budget_need(&b, active, 0);

		assert_true(need >= last);
		assert_true(need >= active + MEMTABLE / 4);
		assert_true(!active || last >= active + MEMTABLE / 8);
		last = need;
	}
	/* The next one fits, too, and by then everything is set aside. */
	assert_true(last >= 2 * MEMTABLE);
	assert_int_equal(budget_need(&b, 5 * MEMTABLE, 0), budget_most(&b));
	assert_int_equal(budget_need(&b, 0, 1), 3 * MEMTABLE);
	assert_int_equal(budget_need(&b, 0, 1), budget_most(&b));
	assert_int_equal(budget_need(&b, 0, 2), budget_most(&b));
}

/* What is between least and most leaves what is set aside. */
static void
cache_has_the_rest(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b, MEMORY, MEMTABLE, 2, 0);
	assert_in_range(budget_cache_least(&b), 62 * MB, 64 * MB);
	assert_in_range(budget_cache_most(&b), 200 * MB, 224 * MB);
	/* Unless there is a limit to it. */
	budget_init(&b, MEMORY, MEMTABLE, 2, 10 * MB);
	assert_int_equal(budget_cache_least(&b), 10 * MB);
	assert_int_equal(budget_cache_most(&b), 10 * MB);
	/* With small memtables there is hardly anything to be shared. */
	for (size_t small = 4096; small < MEMORY / 3; small *= 2) {
		budget_init(&b, MEMORY, small, 2, 0);
		assert_true(budget_cache_least(&b) <= budget_cache_most(&b));
		assert_true(budget_cache_least(&b) >= 60 * MB);
	}
	/* Memtables may have all there is. */
	budget_init(&b, 3 * MEMTABLE, MEMTABLE, 2, 0);
	assert_in_range(budget_cache_least(&b), 0, MB);
}

/* The cache shrinks at once and grows when it has been calm for a while. */
static void
grants(void **state)
{
	struct budget b;
	struct block_cache *c;
	struct block_cache_stat s;
	size_t idle;

	(void)state;
	budget_init(&b, MEMORY, MEMTABLE, 2, 0);
	c = block_cache_new_between(budget_cache_least(&b),
	                            budget_cache_most(&b));
	idle = budget_need(&b, 0, 0);
	budget_settle(&b, c, budget_most(&b), SECOND);
	budget_settle(&b, c, idle, SECOND * 2);
	block_cache_get_stat(c, &s);
	assert_int_equal(s.capacity, budget_cache_least(&b));
	assert_false(budget_ask(&b, budget_most(&b)));
	budget_settle(&b, c, idle, SECOND * 4);
	block_cache_get_stat(c, &s);
	assert_int_equal(s.capacity, budget_cache_most(&b));
	assert_int_equal(atomic_load(&b.reserved), idle);

	/* Who asks for more is heard once. */
	assert_false(budget_ask(&b, idle));
	assert_true(budget_ask(&b, MEMTABLE));
	assert_false(budget_ask(&b, MEMTABLE));
	assert_true(budget_ask(&b, 2 * MEMTABLE));
	budget_settle(&b, c, 2 * MEMTABLE, SECOND * 5);
	block_cache_get_stat(c, &s);
	assert_in_range(s.capacity, MEMORY - 2 * MEMTABLE - 20 * MB,
	                MEMORY - 2 * MEMTABLE);
	assert_int_equal(atomic_load(&b.reserved), 2 * MEMTABLE);
	assert_true(budget_ask(&b, 3 * MEMTABLE));
	block_cache_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_in_time),
		cmocka_unit_test(cache_has_the_rest),
		cmocka_unit_test(grants),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
