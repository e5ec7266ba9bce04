/* SPDX-License-Identifier: ISC */
/* The block cache: its bound, its pins, its choice, its threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>
#include <cmocka.h>

#include "store/block_cache.h"

static atomic_size_t alive; /* blocks allocated and not freed */

struct thing {
	struct cache_block head;
	uint64_t mark; /* file * 1000003 + offset, until it is freed */
};

static uint64_t
mark_of(uint64_t file, uint64_t offset)
{
	return file * 1000003 + offset;
}

static void
free_thing(struct cache_block *b)
{
	((struct thing *)(void *)b)->mark = 0;
	atomic_fetch_sub(&alive, 1);
	free(b);
}

static struct cache_block *
thing(uint64_t file, uint64_t offset, size_t charge, uint8_t keep)
{
	struct thing *t = (struct thing *)calloc(1, sizeof(*t));

	t->head.file = file;
	t->head.offset = offset;
	t->head.charge = charge;
	t->head.keep = keep;
	t->head.free = free_thing;
	t->mark = mark_of(file, offset);
	atomic_fetch_add(&alive, 1);
	return &t->head;
}

static void
put(struct block_cache *c, uint64_t file, uint64_t offset, size_t charge,
    uint8_t keep)
{
	cache_block_unpin(
		block_cache_put(c, thing(file, offset, charge, keep)));
}

/* Is it there? Pins nothing. */
static bool
has(struct block_cache *c, uint64_t file, uint64_t offset)
{
	struct cache_block *b = block_cache_get(c, file, offset);

	if (b)
		assert_true(((struct thing *)(void *)b)->mark ==
		            mark_of(file, offset));
	cache_block_unpin(b);
	return b != NULL;
}

static struct block_cache_stat
stat_of(struct block_cache *c)
{
	struct block_cache_stat s;

	block_cache_get_stat(c, &s);
	return s;
}

/* What was put is found under its file and offset, and nothing else is. */
static void
finds(void **state)
{
	struct block_cache *c = block_cache_new(1 << 20);
	struct block_cache_stat s;

	(void)state;
	put(c, 1, 4096, 100, 1);
	put(c, 2, 4096, 50, 1);
	assert_true(has(c, 1, 4096));
	assert_true(has(c, 2, 4096));
	assert_false(has(c, 1, 4097));
	assert_false(has(c, 3, 4096));
	s = stat_of(c);
	assert_int_equal(s.hits, 2);
	assert_int_equal(s.misses, 2);
	assert_int_equal(s.evictions, 0);
	assert_int_equal(s.used, 150);
	assert_int_equal(s.capacity, 1 << 20);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

static bool
wanted(struct block_cache *c, uint64_t offset)
{
	bool wanted = false;

	assert_null(block_cache_ask(c, 1, offset, 100, &wanted));
	return wanted;
}

/*
 * While there is room everything is wanted; then only what is asked for again,
 * once each time, and not what was asked for too long ago.
 */
static void
asks(void **state)
{
	struct block_cache *c = block_cache_new(100000);
	struct cache_block *b;
	bool again = true;
	unsigned forgotten = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(wanted(c, i));
		put(c, 1, i, 100, 1);
	}
	for (uint64_t i = 1000; i < 1020; i++) {
		assert_false(wanted(c, i));
		assert_true(wanted(c, i));
		assert_false(wanted(c, i));
	}
	for (uint64_t i = 2000; i < 12000; i++)
		assert_false(wanted(c, i));
	for (uint64_t i = 1000; i < 1020; i++)
		forgotten += !wanted(c, i);
	assert_true(forgotten > 15);
	b = block_cache_ask(c, 1, 999, 100, &again);
	assert_non_null(b);
	cache_block_unpin(b);
	block_cache_set_capacity(c, 200000);
	assert_true(wanted(c, 5000000));
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* Thousands of blocks stay findable while its tables grow. */
static void
grows(void **state)
{
	struct block_cache *c = block_cache_new(1 << 20);

	(void)state;
	for (uint64_t i = 0; i < 20000; i++)
		put(c, i % 7, i, 10, 1);
	for (uint64_t i = 0; i < 20000; i++)
		assert_true(has(c, i % 7, i));
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* With nothing pinned it never holds more than its capacity. */
static void
bounded(void **state)
{
	struct block_cache *c = block_cache_new(10000);

	(void)state;
	for (uint64_t i = 0; i < 5000; i++) {
		put(c, 1, i, 1 + i * 37 % 900, i % 3 ? 1 : 3);
		assert_true(stat_of(c).used <= 10000);
	}
	assert_true(stat_of(c).used > 8000);
	assert_true(stat_of(c).evictions > 4000);

	block_cache_set_capacity(c, 3000);
	assert_true(stat_of(c).used <= 3000);
	block_cache_set_capacity(c, 0);
	assert_int_equal(stat_of(c).used, 0);
	assert_int_equal(alive, 0);
	put(c, 1, 1, 10, 3);
	assert_false(has(c, 1, 1));
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* A block may be as big as the whole capacity, whichever shard is its own. */
static void
one_big(void **state)
{
	struct block_cache *c = block_cache_new(64000);

	(void)state;
	for (uint64_t i = 0; i < 64; i++)
		put(c, 1, i, 1000, 1);
	put(c, 2, 0, 64000, 3);
	assert_true(has(c, 2, 0));
	assert_int_equal(stat_of(c).used, 64000);
	/* One byte more does not fit, and costs the others nothing. */
	put(c, 3, 0, 64001, 3);
	assert_false(has(c, 3, 0));
	assert_true(has(c, 2, 0));
	assert_int_equal(stat_of(c).used, 64000);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* What is pinned survives all pressure, is charged, and can be read. */
static void
pinned(void **state)
{
	struct block_cache *c = block_cache_new(1000);
	struct cache_block *pin[4];

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		pin[i] = block_cache_put(c, thing(1, i, 400, 1));
	/* The last two did not fit, and are charged all the same. */
	assert_int_equal(stat_of(c).used, 1600);
	assert_true(has(c, 1, 0));
	assert_true(has(c, 1, 1));
	assert_false(has(c, 1, 2));
	assert_false(has(c, 1, 3));
	for (uint64_t i = 10; i < 200; i++)
		put(c, 2, i, 300, 1);
	for (uint64_t i = 0; i < 4; i++)
		assert_true(((struct thing *)(void *)pin[i])->mark ==
		            mark_of(1, i));
	assert_true(has(c, 1, 0));
	for (uint64_t i = 0; i < 4; i++)
		cache_block_unpin(pin[i]);
	assert_true(stat_of(c).used <= 1000);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* Who comes second with the same block gets the first one's. */
static void
second_put(void **state)
{
	struct block_cache *c = block_cache_new(1000);
	struct cache_block *a = block_cache_put(c, thing(1, 1, 10, 1));
	struct cache_block *b = block_cache_put(c, thing(1, 1, 10, 1));

	(void)state;
	assert_ptr_equal(a, b);
	assert_int_equal(alive, 1);
	assert_int_equal(stat_of(c).used, 10);
	cache_block_unpin(a);
	cache_block_unpin(b);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* A block asked for again outlives a scan of blocks asked for once. */
static void
scan_resistant(void **state)
{
	struct block_cache *c = block_cache_new(100000);
	unsigned kept = 0, index = 0;

	(void)state;
	for (uint64_t i = 0; i < 200; i++)
		put(c, 1, i, 100, 1);
	for (uint64_t i = 0; i < 50; i++)
		put(c, 2, i, 100, 3);
	for (uint64_t i = 0; i < 3000; i++) {
		put(c, 3, i, 100, 1);
		if (i % 100 == 0)
			for (uint64_t hot = 0; hot < 200; hot++)
				(void)has(c, 1, hot);
	}
	for (uint64_t i = 0; i < 200; i++)
		kept += has(c, 1, i);
	for (uint64_t i = 0; i < 50; i++)
		index += has(c, 2, i);
	assert_in_range(kept, 190, 200);
	/* Indexes were not asked for, but count for more to begin with. */
	assert_in_range(index, 1, 50);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* Dropping a file forgets its blocks at once, pinned ones with their pin. */
static void
drop(void **state)
{
	struct block_cache *c = block_cache_new(1 << 20);
	struct cache_block *pin;

	(void)state;
	for (uint64_t i = 0; i < 500; i++) {
		put(c, 1, i, 10, 1);
		put(c, 2, i, 10, 3);
	}
	pin = block_cache_get(c, 1, 7);
	block_cache_drop_file(c, 1);
	for (uint64_t i = 0; i < 500; i++) {
		assert_false(has(c, 1, i));
		assert_true(has(c, 2, i));
	}
	assert_true(((struct thing *)(void *)pin)->mark == mark_of(1, 7));
	assert_int_equal(alive, 501);
	assert_int_equal(stat_of(c).used, 5010);
	cache_block_unpin(pin);
	assert_int_equal(alive, 500);
	assert_int_equal(stat_of(c).used, 5000);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* What is held stays, is charged, and is half of the capacity at most. */
static void
held(void **state)
{
	struct block_cache *c = block_cache_new(1000);
	struct cache_block *a = block_cache_put(c, thing(1, 1, 300, 3));
	struct cache_block *b = block_cache_put(c, thing(1, 2, 201, 3));

	(void)state;
	assert_true(block_cache_hold(c, a));
	assert_false(block_cache_hold(c, b));
	cache_block_unpin(a);
	cache_block_unpin(b);
	for (uint64_t i = 0; i < 100; i++)
		put(c, 2, i, 400, 1);
	assert_true(has(c, 1, 1));
	assert_false(has(c, 1, 2));
	assert_true(stat_of(c).used <= 1000);
	block_cache_drop_file(c, 1);
	assert_false(has(c, 1, 1));
	assert_true(((struct thing *)(void *)a)->mark == mark_of(1, 1));
	block_cache_unhold(c, a);
	b = block_cache_put(c, thing(1, 3, 500, 3));
	assert_true(block_cache_hold(c, b));
	block_cache_unhold(c, b);
	cache_block_unpin(b);
	block_cache_free(c);
	assert_int_equal(alive, 0);
}

/* A private block lives exactly as long as its pin. */
static void
private_block(void **state)
{
	struct cache_block *b = thing(1, 1, 10, 1);

	(void)state;
	cache_block_init_private(b);
	assert_int_equal(alive, 1);
	cache_block_unpin(b);
	assert_int_equal(alive, 0);
	cache_block_unpin(NULL);
}

#define THREADS 4

static struct block_cache *shared;

static void *
hammer(void *arg)
{
	unsigned short seed[3] = { 1, 2, (unsigned short)(uintptr_t)arg };
	struct cache_block *held[8] = { NULL };
	uintptr_t wrong = 0;

	for (unsigned n = 0; n < 30000; n++) {
		uint64_t file = (uint64_t)nrand48(seed) % 4;
		uint64_t offset = (uint64_t)nrand48(seed) % 300;
		struct cache_block *b = block_cache_get(shared, file, offset);

		if (!b)
			b = block_cache_put(shared, thing(file, offset, 100,
			                                  offset % 10 ? 1 : 3));
		wrong += ((struct thing *)(void *)b)->mark !=
		         mark_of(file, offset);
		cache_block_unpin(held[n % 8]);
		held[n % 8] = b;
		if (n % 1000 == 0)
			block_cache_drop_file(shared, file);
		if (n % 3000 == 0)
			block_cache_set_capacity(shared, 20000 + n % 7 * 5000);
	}
	for (unsigned i = 0; i < 8; i++)
		cache_block_unpin(held[i]);
	return (void *)wrong;
}

/* Threads that get, put, drop and resize never see a block that is not. */
static void
threads(void **state)
{
	pthread_t id[THREADS];
	struct block_cache_stat s;

	(void)state;
	shared = block_cache_new(30000);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&id[i], NULL, hammer, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(id[i], &wrong);
		assert_null(wrong);
	}
	s = stat_of(shared);
	assert_int_equal(s.hits + s.misses, THREADS * 30000);
	assert_true(s.hits > 0 && s.misses > 0 && s.evictions > 0);
	assert_true(s.used <= 50000);
	assert_int_equal(s.used, alive * 100);
	block_cache_free(shared);
	assert_int_equal(alive, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(asks),
		cmocka_unit_test(grows),
		cmocka_unit_test(bounded),
		cmocka_unit_test(one_big),
		cmocka_unit_test(pinned),
		cmocka_unit_test(second_put),
		cmocka_unit_test(scan_resistant),
		cmocka_unit_test(drop),
		cmocka_unit_test(held),
		cmocka_unit_test(private_block),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
