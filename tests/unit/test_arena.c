/* SPDX-License-Identifier: ISC */
/* Unit tests of base/arena: pieces that stay where they are until the end. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/huge.h"

#define PIECES 2000u
#define BIG (3u << 20) /* bytes; more than any chunk */

static unsigned char *
take(struct arena *a, size_t bytes)
{
	unsigned char *p;

	assert_true(arena_reserve(a, bytes));
	p = arena_take(a, bytes);
	memset(p, (int)(bytes % 251), bytes);
	return p;
}

static void
assert_intact(const unsigned char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(p[i], bytes % 251);
}

/* Pieces of all sizes do not touch each other. */
static void
pieces_are_apart(void **state)
{
	static unsigned char *piece[PIECES];
	struct arena a = { 0 };

	(void)state;
	for (unsigned i = 0; i < PIECES; i++)
		piece[i] = take(&a, 1 + i * 37 % 5000);
	for (unsigned i = 0; i < PIECES; i++)
		assert_intact(piece[i], 1 + i * 37 % 5000);
	arena_release(&a);
}

/* Pieces of whole lines begin on one. */
static void
lines_are_aligned(void **state)
{
	struct arena a = { 0 };

	(void)state;
	for (unsigned i = 1; i < 500; i++)
		assert_int_equal(
			(uintptr_t)take(&a, i * ARENA_ALIGN) % ARENA_ALIGN, 0);
	arena_release(&a);
}

/* Behind a big piece, the next small one stands beside those before it. */
static void
big_ones_waste_nothing(void **state)
{
	struct arena a = { 0 };
	unsigned char *before = take(&a, 64), *big = take(&a, BIG),
		      *behind = take(&a, 64);

	(void)state;
	assert_ptr_equal(behind, before + 64);
	assert_intact(before, 64);
	assert_intact(big, BIG);
	arena_release(&a);
}

/* Room that is reserved and not taken is there for the next reservation. */
static void
room_is_not_lost(void **state)
{
	struct arena a = { 0 };
	unsigned char *first = take(&a, 64);

	(void)state;
	assert_true(arena_reserve(&a, 128));
	assert_ptr_equal(take(&a, 64), first + 64);
	arena_release(&a);
}

/* What no machine has is refused, and the arena is as good as before. */
static void
too_much_is_refused(void **state)
{
	struct arena a = { 0 };
	unsigned char *first = take(&a, 64);

	(void)state;
	assert_false(arena_reserve(&a, SIZE_MAX));
	assert_false(arena_reserve(&a, SIZE_MAX / 2 - 4096));
	assert_ptr_equal(take(&a, 64), first + 64);
	arena_release(&a);
}

/* Of small pieces their bytes count, of large ones the huge pages they begin. */
static void
touched_is_counted(void **state)
{
	const size_t large = HUGE_BYTES / 2, run = 8 * HUGE_BYTES;
	const size_t own = run / 2 + 64;
	struct arena a = { 0 };

	(void)state;
	take(&a, 64);
	assert_int_equal(arena_touched(&a, 64), 64);
	take(&a, large);
	assert_int_equal(arena_touched(&a, large), HUGE_BYTES);
	/* A small one between two large ones changes nothing for them. */
	take(&a, 100);
	assert_int_equal(arena_touched(&a, 100), 100);
	/* Behind a head, the second one ends in the next huge page. */
	take(&a, large);
	assert_int_equal(arena_touched(&a, large), HUGE_BYTES);
	take(&a, large);
	assert_int_equal(arena_touched(&a, large), 0);
	take(&a, 2 * HUGE_BYTES);
	assert_int_equal(arena_touched(&a, 2 * HUGE_BYTES), 2 * HUGE_BYTES);
	/* The rest of a run, then another run. */
	take(&a, run / 2);
	assert_int_equal(arena_touched(&a, run / 2), run / 2);
	take(&a, run / 2);
	assert_int_equal(arena_touched(&a, run / 2), run / 2 + HUGE_BYTES);
	/* A mapping of its own, no longer than it must be. */
	take(&a, own);
	assert_in_range(arena_touched(&a, own), own, own + 4096);
	arena_release(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_apart),
		cmocka_unit_test(lines_are_aligned),
		cmocka_unit_test(big_ones_waste_nothing),
		cmocka_unit_test(room_is_not_lost),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(touched_is_counted),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
