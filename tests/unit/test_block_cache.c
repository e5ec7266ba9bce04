/* SPDX-License-Identifier: ISC */
/*
 * The block cache: its bound, its pins, its choice, its threads. Blocks of
 * 3000 bytes are in its log, and big ones and those that are kept long on the
 * heap; a cache of 4 MiB has a log of 64 chunks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>

#include "base/huge.h"
#include "store/block_cache.h"
#include "store/grace.h"

#define MB ((size_t)1 << 20)
#define CAPACITY (4 * MB)
#define SMALL 3000u             /* bytes of a block that is in the log */
#define BIG (40u << 10)         /* of one that is too big for it */
#define CHUNK (64u << 10)       /* of the log of such a cache */
#define FITS (CAPACITY / SMALL) /* and so many of them would fit, at most */

struct thing {
	struct cache_block head;
	uint64_t mark;        /* of file and offset */
	unsigned char fill[]; /* its lowest byte, up to the end */
};

static uint64_t
mark_of(uint64_t file, uint64_t offset)
{
	return file * 1000003 + offset + 1;
}

static struct cache_block *
thing(uint64_t file, uint64_t offset, size_t size, uint8_t keep)
{
	struct cache_block *b = cache_block_new(file, offset, size, keep);
	struct thing *t = (struct thing *)(void *)b;

	t->mark = mark_of(file, offset);
	memset(t->fill, (unsigned char)t->mark, size - sizeof(*t));
	return b;
}

/* Is b whole, and what it should be? */
static bool
right(const struct cache_block *b, uint64_t file, uint64_t offset)
{
	const struct thing *t = (const struct thing *)(const void *)b;
	size_t last = b->size - sizeof(*t) - 1;
	unsigned char fill = (unsigned char)mark_of(file, offset);

	return b->file == file && b->offset == offset &&
	       t->mark == mark_of(file, offset) && t->fill[0] == fill &&
	       t->fill[last] == fill && t->fill[last / 2] == fill;
}

static void
put(struct block_cache *c, uint64_t file, uint64_t offset, size_t size,
    uint8_t keep)
{
	cache_block_unpin(block_cache_put(c, thing(file, offset, size, keep)));
}

/* Is it there? */
static bool
has(struct block_cache *c, uint64_t file, uint64_t offset)
{
	struct cache_block *b;
	enum cache_wish wish;

	grace_enter();
	b = block_cache_ask(c, file, offset, SMALL, &wish);
	if (b)
		assert_true(right(b, file, offset));
	grace_leave();
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
	struct block_cache *c = block_cache_new(CAPACITY);
	struct block_cache_stat s;

	(void)state;
	put(c, 1, 4096, SMALL, 1);
	put(c, 2, 4096, BIG, 1);
	put(c, 2, 8192, 100, 3);
	assert_true(has(c, 1, 4096));
	assert_true(has(c, 2, 4096));
	assert_true(has(c, 2, 8192));
	assert_false(has(c, 1, 4097));
	assert_false(has(c, 3, 4096));
	s = stat_of(c);
	assert_int_equal(s.hits, 3);
	assert_int_equal(s.misses, 2);
	assert_int_equal(s.evictions, 0);
	assert_in_range(s.used, SMALL + BIG + 100, BIG + 3 * CHUNK);
	assert_int_equal(s.capacity, CAPACITY);
	block_cache_free(c);
}

static enum cache_wish
wish(struct block_cache *c, uint64_t offset)
{
	enum cache_wish wish;

	grace_enter();
	assert_null(block_cache_ask(c, 1, offset, SMALL, &wish));
	grace_leave();
	return wish;
}

/* Puts blocks for as long as there is room; how many. */
static uint64_t
fill(struct block_cache *c)
{
	uint64_t n = 0;

	while (wish(c, n) == CACHE_ROOM) {
		put(c, 1, n++, SMALL, 1);
		assert_true(n <= FITS);
	}
	return n;
}

/*
 * While there is room everything is wanted; then only what is asked for again,
 * once each time, and not what was asked for too long ago.
 */
static void
asks(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	unsigned forgotten = 0;
	uint64_t n = fill(c);

	(void)state;
	assert_in_range(n, FITS * 8 / 10, FITS);
	/* At most what is always kept free for those who come next. */
	assert_true(stat_of(c).evictions < n / 10);
	/* The one that found no room was asked for once. */
	for (uint64_t i = n + 1; i < n + 20; i++) {
		assert_int_equal(wish(c, i), CACHE_FULL);
		assert_int_equal(wish(c, i), CACHE_TIGHT);
		assert_int_equal(wish(c, i), CACHE_FULL);
	}
	for (uint64_t i = 20000; i < 40000; i++)
		assert_int_equal(wish(c, i), CACHE_FULL);
	for (uint64_t i = n + 1; i < n + 20; i++)
		forgotten += wish(c, i) == CACHE_FULL;
	assert_true(forgotten > 15);
	assert_true(has(c, 1, n - 1));
	block_cache_set_capacity(c, 2 * CAPACITY);
	assert_int_equal(wish(c, 5000000), CACHE_ROOM);
	block_cache_free(c);
}

/* A capacity beyond what the cache was made for harms nobody. */
static void
asks_beyond_most(void **state)
{
	struct block_cache *c = block_cache_new(20000);

	(void)state;
	block_cache_set_capacity(c, 64 * CAPACITY);
	for (uint64_t i = 0; i < 20000; i++)
		put(c, 1, i, SMALL, 1);
	block_cache_set_capacity(c, CAPACITY);
	for (uint64_t i = 20000; i < 40000; i++)
		(void)wish(c, i);
	assert_true(stat_of(c).used <= CAPACITY);
	block_cache_free(c);
}

/*
 * What is removed is found no more; to remove it again, when it is gone or
 * something else is in its place, does nothing.
 */
static void
removes(void **state)
{
	static const size_t sizes[] = { SMALL, BIG };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct block_cache *c = block_cache_new(CAPACITY);
		enum cache_wish wish;
		struct cache_block *b;

		put(c, 1, 1, sizes[i], 1);
		put(c, 1, 2, sizes[i], 1);
		grace_enter();
		b = block_cache_ask(c, 1, 1, SMALL, &wish);
		assert_non_null(b);
		block_cache_remove(c, b);
		assert_false(has(c, 1, 1));
		assert_true(right(b, 1, 1));
		block_cache_remove(c, b);
		put(c, 1, 1, sizes[i], 1);
		block_cache_remove(c, b);
		assert_true(right(b, 1, 1));
		grace_leave();
		assert_true(has(c, 1, 1));
		assert_true(has(c, 1, 2));
		block_cache_free(c);
	}
}

/* Once a file is dropped there is room again. */
static void
room_of_the_dropped(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	uint64_t n = fill(c), evictions = stat_of(c).evictions;

	(void)state;
	block_cache_drop_file(c, 1);
	for (uint64_t i = 0; i < n; i++)
		assert_false(has(c, 1, i));
	assert_in_range(fill(c), n * 9 / 10, FITS);
	assert_true(stat_of(c).evictions - evictions < n / 10);
	block_cache_free(c);
}

/* Also where each chunk has blocks that live and others that do not: those
   that live are not evicted for it. */
static void
the_dead_go_first(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	uint64_t n = FITS * 7 / 10, live = 0;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		put(c, i % 2, i, SMALL, 1);
	block_cache_drop_file(c, 0);
	/* More than there is without what the dropped ones left. */
	for (uint64_t i = 0; i < FITS * 4 / 10; i++)
		put(c, 3, i, SMALL, 1);
	for (uint64_t i = 0; i < FITS * 4 / 10; i++)
		live += has(c, 3, i);
	for (uint64_t i = 1; i < n; i += 2)
		live += has(c, 1, i);
	assert_in_range(live, FITS * 7 / 10, FITS);
	block_cache_free(c);
}

/* More blocks than it has buckets stay findable. */
static void
long_chains(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);

	(void)state;
	for (uint64_t i = 0; i < 20000; i++)
		put(c, i % 7, i, 100, 1);
	for (uint64_t i = 0; i < 20000; i++)
		assert_true(has(c, i % 7, i));
	block_cache_free(c);
}

/* With nothing pinned it never holds more than its capacity, in regions that
   are huge pages or not, and most of that. */
static void
bounded_by(size_t capacity, uint64_t blocks)
{
	struct block_cache *c = block_cache_new(capacity);

	for (uint64_t i = 0; i < blocks; i++) {
		put(c, 1, i, 100 + i * 3700 % 9000, i % 30 ? 1 : 3);
		assert_true(stat_of(c).used <= capacity);
	}
	assert_true(stat_of(c).used > capacity * 9 / 10);
	assert_true(stat_of(c).evictions > blocks / 3);

	block_cache_set_capacity(c, capacity / 3);
	assert_true(stat_of(c).used <= capacity / 3);
	block_cache_set_capacity(c, 0);
	assert_int_equal(stat_of(c).used, 0);
	put(c, 1, 1, 500, 3);
	put(c, 1, 2, 500, 1);
	assert_false(has(c, 1, 1));
	assert_false(has(c, 1, 2));
	block_cache_free(c);
}

static void
bounded(void **state)
{
	(void)state;
	bounded_by(100000, 5000);
	bounded_by(CAPACITY, 5000);
	bounded_by(33 * MB, 20000);
}

/* A smaller capacity keeps what is used, and a bigger one is used. */
static void
resized(void **state)
{
	struct block_cache *c = block_cache_new_between(32 * MB, 128 * MB);
	uint64_t n = 128 * MB / SMALL, kept = 0, found = 0;

	(void)state;
	block_cache_set_capacity(c, 128 * MB);
	for (uint64_t i = 0; i < n; i++)
		put(c, 1, i, SMALL, 1);
	assert_true(stat_of(c).used > 123 * MB);
	block_cache_set_capacity(c, 100 * MB);
	assert_true(stat_of(c).used <= 100 * MB);
	assert_true(stat_of(c).used > 97 * MB);
	for (uint64_t i = 0; i < n; i++)
		if (i % 10 == 0)
			kept += has(c, 1, i);
	block_cache_set_capacity(c, 50 * MB);
	assert_true(stat_of(c).used <= 50 * MB);
	assert_true(stat_of(c).used > 47 * MB);
	for (uint64_t i = 0; i < n; i++)
		if (i % 10 == 0)
			found += has(c, 1, i);
	assert_true(kept > n * 6 / 100);
	assert_true(found >= kept * 9 / 10);
	block_cache_set_capacity(c, 0);
	assert_int_equal(stat_of(c).used, 0);
	block_cache_free(c);
}

/* A block may be as big as the whole capacity. */
static void
one_big(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	size_t room = CAPACITY - 4096;

	(void)state;
	fill(c);
	put(c, 2, 0, room, 3);
	assert_true(has(c, 2, 0));
	assert_in_range(stat_of(c).used, room, CAPACITY);
	/* What does not fit costs the others nothing. */
	put(c, 3, 0, CAPACITY + 1, 3);
	assert_false(has(c, 3, 0));
	assert_true(has(c, 2, 0));
	assert_in_range(stat_of(c).used, room, CAPACITY);
	block_cache_free(c);
}

/* Data blocks get their room back from big ones that nobody asks for. */
static void
log_comes_back(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	unsigned found = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		put(c, 1, i, BIG, 1);
	for (uint64_t i = 0; i < 3 * FITS; i++)
		put(c, 2, i, SMALL, 1);
	for (uint64_t i = 0; i < 3 * FITS; i++)
		found += has(c, 2, i);
	assert_in_range(found, FITS / 2, FITS);
	for (uint64_t i = 0; i < 1000; i++)
		put(c, 3, i, BIG, 1);
	found = 0;
	for (uint64_t i = 0; i < 1000; i++)
		found += has(c, 3, i);
	assert_in_range(found, CAPACITY / BIG / 2, CAPACITY / BIG);
	block_cache_free(c);
}

/* What is pinned survives all pressure, is charged, and can be read. */
static void
pinned(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	struct cache_block *pin[4], *copy;

	(void)state;
	put(c, 3, 7, SMALL, 1);
	copy = block_cache_get(c, 3, 7);
	for (uint64_t i = 0; i < 4; i++)
		pin[i] = block_cache_put(c, thing(1, i, 3 * MB / 2, 1));
	/* The last two did not fit, and are charged all the same. */
	assert_in_range(stat_of(c).used, 6 * MB, 7 * MB);
	assert_true(has(c, 1, 0));
	assert_true(has(c, 1, 1));
	assert_false(has(c, 1, 2));
	assert_false(has(c, 1, 3));
	for (uint64_t i = 10; i < 200; i++)
		put(c, 2, i, i % 2 ? SMALL : BIG, 1);
	for (uint64_t i = 0; i < 4; i++)
		assert_true(right(pin[i], 1, i));
	assert_true(right(copy, 3, 7));
	cache_block_unpin(copy);
	assert_true(has(c, 1, 0));
	for (uint64_t i = 0; i < 4; i++)
		cache_block_unpin(pin[i]);
	assert_true(stat_of(c).used <= CAPACITY);
	block_cache_free(c);
}

/* Who is inside may look at what was evicted meanwhile, and then it goes. */
static void
seen_until_left(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	struct cache_block *log, *heap;
	bool found, log_right, heap_right;
	enum cache_wish unused;
	size_t used;

	(void)state;
	put(c, 1, 1, SMALL, 1);
	put(c, 1, 2, BIG, 3);
	grace_enter();
	log = block_cache_ask(c, 1, 1, SMALL, &unused);
	heap = block_cache_ask(c, 1, 2, BIG, &unused);
	assert_non_null(log);
	assert_non_null(heap);
	block_cache_drop_file(c, 1);
	for (uint64_t i = 0; i < 3 * FITS; i++)
		put(c, 2, i, SMALL, 1);
	/* These would have its memory, if it were free. */
	for (uint64_t i = 0; i < 20; i++)
		put(c, 3, i, BIG, 3);
	found = has(c, 1, 1) || has(c, 1, 2);
	log_right = right(log, 1, 1);
	heap_right = right(heap, 1, 2);
	/* Not even this waits for the one who is inside. */
	block_cache_set_capacity(c, 0);
	log_right = log_right && right(log, 1, 1);
	used = stat_of(c).used;
	/* Before anything fails: others want to free something, too. */
	grace_leave();
	assert_false(found);
	assert_true(log_right);
	assert_true(heap_right);
	assert_true(used > BIG + SMALL);
	block_cache_set_capacity(c, 0);
	assert_int_equal(stat_of(c).used, 0);
	block_cache_free(c);
}

/* Who comes second with the same block gets the first one's. */
static void
second_put(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	struct cache_block *a = block_cache_put(c, thing(1, 1, BIG, 3));
	size_t used = stat_of(c).used;
	struct cache_block *b = block_cache_put(c, thing(1, 1, BIG, 3));

	(void)state;
	assert_ptr_equal(a, b);
	assert_int_equal(stat_of(c).used, used);
	cache_block_unpin(a);
	cache_block_unpin(b);
	for (unsigned i = 0; i < 3 * FITS; i++)
		put(c, 1, 2, SMALL, 1);
	assert_true(has(c, 1, 2));
	assert_true(stat_of(c).used < CAPACITY / 4);
	block_cache_free(c);
}

/* A block asked for again outlives a scan of blocks asked for once. */
static void
scan_resistant_with(size_t size, uint64_t hot, uint64_t scanned)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	unsigned kept = 0, index = 0;

	for (uint64_t i = 0; i < hot; i++)
		put(c, 1, i, size, 1);
	for (uint64_t i = 0; i < 50; i++)
		put(c, 2, i, 1000, 3);
	for (uint64_t i = 0; i < scanned; i++) {
		put(c, 3, i, size, 1);
		if (i % (hot / 2) == 0)
			for (uint64_t n = 0; n < hot; n++)
				(void)has(c, 1, n);
	}
	for (uint64_t i = 0; i < hot; i++)
		kept += has(c, 1, i);
	for (uint64_t i = 0; i < 50; i++)
		index += has(c, 2, i);
	assert_in_range(kept, hot * 9 / 10, hot);
	/* Indexes were not asked for, but count for more to begin with. */
	assert_in_range(index, 1, 50);
	assert_true(stat_of(c).evictions > scanned / 2);
	block_cache_free(c);
}

static void
scan_resistant(void **state)
{
	(void)state;
	scan_resistant_with(SMALL, FITS / 5, 3 * FITS);
	scan_resistant_with(BIG, 20, 250);
}

static uint64_t
next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

/*
 * Of reads that are spread evenly over four times what fits, as many are hits
 * as there are blocks in it; of skewed ones many more.
 */
static void
hit_rate(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	uint64_t x = 1, blocks = 4 * FITS, hits = 0, reads = 40 * blocks;

	(void)state;
	for (unsigned skewed = 0; skewed < 2; skewed++) {
		for (uint64_t n = 0; n < reads; n++) {
			uint64_t i = next_random(&x) % blocks;
			struct cache_block *b;
			enum cache_wish wish;

			/* Half of the reads go to an eighth, and so on. */
			for (uint64_t of = blocks / 8;
			     skewed && of > 8 && next_random(&x) % 2; of /= 8)
				i %= of;
			if (n == reads / 2)
				hits = stat_of(c).hits;
			grace_enter();
			b = block_cache_ask(c, 1, i, SMALL, &wish);
			grace_leave();
			if (!b && wish != CACHE_FULL)
				put(c, 1, i, SMALL, 1);
		}
		hits = (stat_of(c).hits - hits) * 1000 / (reads / 2);
		print_message("%s: %.1f %% hits\n", skewed ? "skewed" : "even",
		              (double)hits / 10);
		assert_in_range(hits, skewed ? 560 : 210, 1000);
	}
	block_cache_free(c);
}

/* Dropping a file forgets its blocks at once, pinned ones with their pin. */
static void
drop(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	struct cache_block *pin, *copy;
	size_t used;

	(void)state;
	for (uint64_t i = 0; i < 500; i++) {
		put(c, 1, i, 2000, 1);
		put(c, 2, i, 2000, i % 2 ? 1 : 3);
	}
	put(c, 1, 1000, BIG, 3);
	pin = block_cache_get(c, 1, 1000);
	copy = block_cache_get(c, 1, 7);
	used = stat_of(c).used;
	block_cache_drop_file(c, 1);
	for (uint64_t i = 0; i < 500; i++) {
		assert_false(has(c, 1, i));
		assert_true(has(c, 2, i));
	}
	assert_false(has(c, 1, 1000));
	assert_true(right(pin, 1, 1000));
	assert_true(right(copy, 1, 7));
	assert_int_equal(stat_of(c).used, used);
	cache_block_unpin(pin);
	cache_block_unpin(copy);
	assert_true(stat_of(c).used + BIG <= used);
	block_cache_free(c);
}

/* What is held stays, is charged, and is half of the capacity at most, of the
   least it may have. */
static void
held(void **state)
{
	struct block_cache *c = block_cache_new_between(CAPACITY, 2 * CAPACITY);
	struct cache_block *a, *b;

	(void)state;
	block_cache_set_capacity(c, 2 * CAPACITY);
	a = block_cache_put(c, thing(1, 1, CAPACITY / 4, 3));
	b = block_cache_put(c, thing(1, 2, CAPACITY / 4 + 1, 3));
	assert_true(block_cache_hold(c, a));
	assert_false(block_cache_hold(c, b));
	cache_block_unpin(a);
	cache_block_unpin(b);
	block_cache_set_capacity(c, CAPACITY);
	for (uint64_t i = 0; i < 1000; i++)
		put(c, 2, i, BIG, 1);
	assert_true(has(c, 1, 1));
	assert_false(has(c, 1, 2));
	assert_true(stat_of(c).used <= CAPACITY);
	block_cache_drop_file(c, 1);
	assert_false(has(c, 1, 1));
	assert_true(right(a, 1, 1));
	block_cache_unhold(c, a);
	b = block_cache_put(c, thing(1, 3, CAPACITY / 2 - 4096, 3));
	assert_true(block_cache_hold(c, b));
	block_cache_unhold(c, b);
	cache_block_unpin(b);
	block_cache_free(c);
}

/* A private block lives exactly as long as its pin, and is charged if that is
   wanted. */
static void
private_block(void **state)
{
	struct block_cache *c = block_cache_new(CAPACITY);
	struct cache_block *b = thing(1, 1, BIG, 1);

	(void)state;
	cache_block_unpin(b);
	cache_block_unpin(NULL);
	fill(c);
	b = thing(1, 1, BIG, 1);
	block_cache_charge(c, b);
	assert_in_range(stat_of(c).used, BIG, CAPACITY);
	block_cache_set_capacity(c, 0);
	assert_in_range(stat_of(c).used, BIG, BIG + 200);
	cache_block_unpin(b);
	assert_int_equal(stat_of(c).used, 0);
	block_cache_free(c);
}

#define THREADS 4
#define ROUNDS 30000u
#define SHARED (MB / 2)

static struct block_cache *shared;

static size_t
size_at(uint64_t offset)
{
	return offset % 37 ? 400 + offset % 7 * 500 : BIG;
}

/* One in 30 is kept on the heap, and half of the others asked for inside. */
static void *
hammer(void *arg)
{
	unsigned short seed[3] = { 1, 2, (unsigned short)(uintptr_t)arg };
	struct cache_block *held[8] = { NULL };
	uintptr_t wrong = 0;

	for (unsigned n = 0; n < ROUNDS; n++) {
		uint64_t file = (uint64_t)nrand48(seed) % 4;
		uint64_t offset = (uint64_t)nrand48(seed) % 300;
		struct cache_block *b;
		enum cache_wish wish;

		if (n % 2) {
			b = block_cache_get(shared, file, offset);
		} else {
			grace_enter();
			b = block_cache_ask(shared, file, offset, SMALL, &wish);
			for (unsigned look = 0; b && look < 3; look++)
				wrong += !right(b, file, offset);
			grace_leave();
			if (b)
				continue;
		}
		if (!b)
			b = block_cache_put(shared,
			                    thing(file, offset, size_at(offset),
			                          offset % 30 ? 1 : 3));
		wrong += !right(b, file, offset);
		cache_block_unpin(held[n % 8]);
		held[n % 8] = b;
		if (n % 1000 == 1)
			block_cache_drop_file(shared, file);
		if (n % 3000 == 1)
			block_cache_set_capacity(shared,
			                         SHARED / 2 + n % 7 * 50000);
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
	shared = block_cache_new(SHARED);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&id[i], NULL, hammer, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(id[i], &wrong);
		assert_null(wrong);
	}
	s = stat_of(shared);
	assert_int_equal(s.hits + s.misses, THREADS * ROUNDS);
	assert_true(s.hits > 0 && s.misses > 0 && s.evictions > 0);
	block_cache_set_capacity(shared, SHARED / 2);
	assert_true(stat_of(shared).used <= SHARED / 2);
	block_cache_set_capacity(shared, 0);
	assert_int_equal(stat_of(shared).used, 0);
	block_cache_free(shared);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(asks),
		cmocka_unit_test(asks_beyond_most),
		cmocka_unit_test(removes),
		cmocka_unit_test(room_of_the_dropped),
		cmocka_unit_test(the_dead_go_first),
		cmocka_unit_test(long_chains),
		cmocka_unit_test(bounded),
		cmocka_unit_test(resized),
		cmocka_unit_test(one_big),
		cmocka_unit_test(log_comes_back),
		cmocka_unit_test(pinned),
		cmocka_unit_test(seen_until_left),
		cmocka_unit_test(second_put),
		cmocka_unit_test(scan_resistant),
		cmocka_unit_test(hit_rate),
		cmocka_unit_test(drop),
		cmocka_unit_test(held),
		cmocka_unit_test(private_block),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
