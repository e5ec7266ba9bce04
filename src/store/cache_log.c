/* SPDX-License-Identifier: ISC */
/*
 * The log of the block cache (cache_log.h).
 *
 * A block in a chunk is written by two threads at most: first who adds it,
 * inside, so that the chunk is not given to anybody else before it has left;
 * then who evicts. The head is written, with the key and the size, under the
 * lock, so that who evicts finds his way through the chunk whether the block
 * is there yet or not. Who adds links it under its shard's lock, unless the
 * chunk is `gone` by then; who evicts sets `gone` and then takes the lock of
 * each block's shard: so he sees it linked, or it never will be.
 */
#include "store/cache_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/huge.h"
#include "base/planted.h"

#define CHUNK_LEAST (16u << 10)
#define CHUNK_MOST (128u << 10)
#define CHUNKS 64u       /* at least as many, unless they would be too small */
#define CHUNKS_LEAST 16u /* below that there is no log */
#define HUGE_FROM ((size_t)32 << 20) /* bytes of a cache with huge pages */
#define LARGEST (16u << 10)          /* bytes of a block in the log */
#define LARGEST_SHARE 4u             /* and of a chunk, one part at most */

#define AHEAD 4u   /* chunks that are free, or will be soon */
#define RESERVE 1u /* of these, for blocks that are copied on */

#define LOOK_FOR_DEAD 64u /* chunks, from the oldest on */
#define DEAD_SHARE 4u     /* a chunk goes before its turn if as much is dead */
#define ALL_DEAD_SHARE 8u /* there is room if as much of everything is dead */

#define TURN_SHARE 8u /* of the other clock's turn, when there is no chunk */

#define LINE 64u

static size_t
rounded(size_t size)
{
	return (size + LINE - 1) / LINE * LINE;
}

static struct cache_chunk *
chunk_of(struct block_cache *c, struct cache_block *b)
{
	unsigned char *at = (unsigned char *)b;

	return (struct cache_chunk *)(void *)(at - ((uintptr_t)at &
	                                            (c->log.chunk_bytes - 1)));
}

static unsigned
get(_Atomic unsigned *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

/* Of counters that are written under a lock. */
static void
add(_Atomic unsigned *n, unsigned more)
{
	atomic_store_explicit(n, get(n) + more, memory_order_relaxed);
}

/* ---- regions ---- */

/* The largest one that is not above n, within these. */
static size_t
power_of_two(size_t n, size_t least, size_t most)
{
	size_t p = least;

	while (p < most && p * 2 <= n)
		p *= 2;
	return p;
}

void
cache_log_init(struct block_cache *c, size_t least)
{
	struct cache_log *log = &c->log;

	TAILQ_INIT(&log->free);
	TAILQ_INIT(&log->sealed);
	TAILQ_INIT(&log->waiting);
	TAILQ_INIT(&log->regions);
	if (least / CHUNK_LEAST < CHUNKS_LEAST)
		return;
	log->chunk_bytes =
		power_of_two(least / CHUNKS, CHUNK_LEAST, CHUNK_MOST);
	log->region_bytes = least >= HUGE_FROM ? HUGE_BYTES : log->chunk_bytes;
	log->largest = log->chunk_bytes / LARGEST_SHARE;
	if (log->largest > LARGEST)
		log->largest = LARGEST;
}

static void
free_memory(struct cache_log *log, struct cache_region *r)
{
	if (log->region_bytes == HUGE_BYTES)
		huge_free(r->memory);
	else
		huge_unmap(r->memory, log->region_bytes);
	free(r);
}

void
cache_log_release(struct block_cache *c)
{
	struct cache_region *r;

	while ((r = TAILQ_FIRST(&c->log.regions))) {
		TAILQ_REMOVE(&c->log.regions, r, in_regions);
		free_memory(&c->log, r);
	}
}

/* Chunk i of a region. */
static struct cache_chunk *
chunk_at(struct cache_log *log, struct cache_region *r, size_t i)
{
	return (struct cache_chunk *)(void *)(r->memory + i * log->chunk_bytes);
}

static void
set_free(struct cache_log *log, struct cache_chunk *k)
{
	k->state = CHUNK_FREE;
	TAILQ_INSERT_TAIL(&log->free, k, in_list);
	add(&log->free_count, 1);
}

/* With the lock: a region more, if the capacity lets it. */
static bool
grow(struct block_cache *c)
{
	struct cache_log *log = &c->log;
	size_t used = atomic_load(&c->used), bytes = log->region_bytes;
	struct cache_region *r;

	do {
		size_t capacity = atomic_load(&c->capacity);

		if (bytes > capacity || used > capacity - bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&c->used, &used, used + bytes));
	r = (struct cache_region *)calloc(1, sizeof(*r));
	if (r)
		r->memory = (unsigned char *)(bytes == HUGE_BYTES
		                                      ? huge_new()
		                                      : huge_map(bytes, bytes));
	if (!r || !r->memory) {
		free(r);
		atomic_fetch_sub(&c->used, bytes);
		return false;
	}
	TAILQ_INSERT_TAIL(&log->regions, r, in_regions);
	add(&log->region_count, 1);
	for (size_t i = 0; i < bytes / log->chunk_bytes; i++) {
		struct cache_chunk *k = chunk_at(log, r, i);

		k->region = r;
		set_free(log, k);
	}
	return true;
}

static void
give_back(struct block_cache *c, struct cache_region *r)
{
	size_t bytes = c->log.region_bytes;

	TAILQ_REMOVE(&c->log.regions, r, in_regions);
	free_memory(&c->log, r);
	atomic_fetch_sub(&c->leaving, bytes);
	atomic_fetch_sub(&c->used, bytes);
}

void
cache_log_reap(struct block_cache *c)
{
	struct cache_log *log = &c->log;
	struct cache_chunk *k;

	while ((k = TAILQ_FIRST(&log->waiting)) &&
	       (grace_over(k->stamp) || PLANTED("cache_log.no_grace"))) {
		struct cache_region *r = k->region;

		TAILQ_REMOVE(&log->waiting, k, in_list);
		add(&log->waiting_count, -1u);
		r->busy--;
		if (!r->leaving)
			set_free(log, k);
		else if (!r->busy)
			give_back(c, r);
	}
}

/* ---- adding ---- */

/* With the lock: a chunk to write to, while more than `reserve` are free. */
static struct cache_chunk *
next_chunk(struct block_cache *c, unsigned reserve)
{
	struct cache_log *log = &c->log;
	struct cache_chunk *k;

	if (get(&log->free_count) <= reserve)
		cache_log_reap(c);
	if (get(&log->free_count) <= reserve && !grow(c))
		return NULL;
	k = TAILQ_FIRST(&log->free);
	if (!k)
		return NULL;
	TAILQ_REMOVE(&log->free, k, in_list);
	add(&log->free_count, -1u);
	k->region->busy++;
	k->state = CHUNK_OPEN;
	k->number = ++log->opened;
	k->filled = sizeof(*k);
	atomic_store_explicit(&k->dead, 0, memory_order_relaxed);
	atomic_store_explicit(&k->gone, false, memory_order_relaxed);
	return k;
}

/* With the lock. */
static void
seal(struct cache_log *log)
{
	if (!log->open)
		return;
	log->open->state = CHUNK_SEALED;
	TAILQ_INSERT_TAIL(&log->sealed, log->open, in_list);
	log->sealed_count++;
	log->open = NULL;
}

/* Room for a copy of b, with its head, not linked; NULL: there is none. */
static struct cache_block *
take(struct block_cache *c, const struct cache_block *b, unsigned reserve)
{
	struct cache_log *log = &c->log;
	size_t bytes = rounded(b->size);
	struct cache_block *n = NULL;
	struct cache_chunk *k;

	pthread_mutex_lock(&c->lock);
	k = log->open;
	if (!k || log->chunk_bytes - k->filled < bytes) {
		k = next_chunk(c, reserve);
		if (!k)
			goto done;
		seal(log);
		log->open = k;
	}
	n = (struct cache_block *)(void *)((unsigned char *)k + k->filled);
	k->filled += (uint32_t)bytes;
	n->file = b->file;
	n->offset = b->offset;
	n->size = b->size;
	atomic_init(&n->next, NULL);
	atomic_init(&n->refs, 0);
	atomic_init(&n->use, 0);
	n->keep = b->keep;
	n->in_log = true;
	n->linked = false;
done:
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void
copy(struct cache_block *to, const struct cache_block *from)
{
	memcpy(to + 1, from + 1, from->size - sizeof(*from));
}

void
cache_log_bury(struct block_cache *c, struct cache_block *b)
{
	size_t bytes = rounded(b->size);

	atomic_fetch_add(&chunk_of(c, b)->dead, (uint32_t)bytes);
	atomic_fetch_add(&c->log.dead, bytes);
}

bool
cache_log_has_room(struct block_cache *c)
{
	struct cache_log *log = &c->log;
	size_t capacity =
		atomic_load_explicit(&c->capacity, memory_order_relaxed);
	size_t used = atomic_load_explicit(&c->used, memory_order_relaxed) -
	              atomic_load_explicit(&c->leaving, memory_order_relaxed);

	return used + log->region_bytes <= capacity ||
	       get(&log->free_count) + get(&log->waiting_count) > AHEAD ||
	       atomic_load_explicit(&log->dead, memory_order_relaxed) >
	               get(&log->region_count) * log->region_bytes /
	                       ALL_DEAD_SHARE;
}

/* ---- evicting ---- */

/*
 * With the lock: the chunk that is to go, out of its list; NULL: there is
 * none. *live: all that is left of it is to be copied.
 */
static struct cache_chunk *
choose(struct block_cache *c, bool *live)
{
	struct cache_log *log = &c->log;
	struct cache_chunk *k, *oldest = NULL, *deadest = NULL;
	uint32_t most = 0;
	unsigned left = LOOK_FOR_DEAD;

	*live = false;
	TAILQ_FOREACH(k, &log->sealed, in_list)
	{
		uint32_t dead;

		if (k->region->leaving)
			continue;
		if (!oldest)
			oldest = k;
		if (!left-- ||
		    atomic_load_explicit(&log->dead, memory_order_relaxed) <
		            log->chunk_bytes)
			break;
		dead = atomic_load_explicit(&k->dead, memory_order_relaxed);
		if (dead > most) {
			most = dead;
			deadest = k;
		}
	}
	if (deadest && most >= log->chunk_bytes / DEAD_SHARE) {
		*live = true;
		return deadest;
	}
	return oldest;
}

/* With the lock. */
static void
begin_evict(struct cache_log *log, struct cache_chunk *k)
{
	TAILQ_REMOVE(&log->sealed, k, in_list);
	log->sealed_count--;
	k->state = CHUNK_EVICTED;
	atomic_store(&k->gone, true);
}

static void
evict_block(struct block_cache *c, struct cache_block *b, bool live)
{
	uint64_t hash = cache_hash(b->file, b->offset);
	struct cache_shard *s = cache_shard_of(c, hash);
	struct cache_block *n = NULL;

	pthread_mutex_lock(&s->lock);
	if (b->linked) {
		uint8_t use =
			atomic_load_explicit(&b->use, memory_order_relaxed);

		if ((live || use) && !PLANTED("cache_log.drops_used"))
			n = take(c, b, 0);
		if (n) {
			copy(n, b);
			atomic_store_explicit(&n->use, live ? use : 0,
			                      memory_order_relaxed);
		} else {
			atomic_fetch_add_explicit(&c->evictions, 1,
			                          memory_order_relaxed);
		}
		cache_unlink(c, hash, b, n);
	}
	pthread_mutex_unlock(&s->lock);
}

/* With the turn: begin_evict was called. */
static void
evict_chunk(struct block_cache *c, struct cache_chunk *k, bool live)
{
	struct cache_log *log = &c->log;
	unsigned char *at = (unsigned char *)(k + 1);
	unsigned char *end = (unsigned char *)k + k->filled;
	size_t chunks;

	while (at < end) {
		struct cache_block *b = (struct cache_block *)(void *)at;

		at += rounded(b->size);
		evict_block(c, b, live);
	}
	atomic_fetch_sub(&log->dead, atomic_exchange(&k->dead, 0));
	pthread_mutex_lock(&c->lock);
	k->stamp = grace_stamp();
	TAILQ_INSERT_TAIL(&log->waiting, k, in_list);
	add(&log->waiting_count, 1);
	cache_log_reap(c);
	chunks = log->sealed_count + 1;
	pthread_mutex_unlock(&c->lock);
	if (live)
		return;
	/* The hand of the other clock goes as far as this one did. */
	c->steps += (atomic_load(&c->ring_count) << 16) / chunks;
	cache_turn_clock(c, c->steps >> 16);
	c->steps &= 0xffff;
}

/* With the turn: evicts one chunk; false if there is none. */
static bool
evict_one(struct block_cache *c)
{
	struct cache_chunk *k;
	bool live;

	pthread_mutex_lock(&c->lock);
	k = choose(c, &live);
	if (k)
		begin_evict(&c->log, k);
	pthread_mutex_unlock(&c->lock);
	if (k)
		evict_chunk(c, k, live);
	return k != NULL;
}

/* Is a chunk to be evicted ahead of need? */
static bool
is_short(struct block_cache *c)
{
	struct cache_log *log = &c->log;

	return get(&log->free_count) + get(&log->waiting_count) < AHEAD &&
	       atomic_load(&c->used) + log->region_bytes >
	               atomic_load(&c->capacity);
}

void
cache_log_add(struct block_cache *c, const struct cache_block *b)
{
	uint64_t hash = cache_hash(b->file, b->offset);
	struct cache_shard *s = cache_shard_of(c, hash);
	struct cache_block *n = NULL;

	grace_enter();
	if (!cache_find_linked(c, hash, b->file, b->offset))
		n = take(c, b, RESERVE);
	if (n) {
		copy(n, b);
		pthread_mutex_lock(&s->lock);
		if (!atomic_load(&chunk_of(c, n)->gone)) {
			if (cache_find_linked(c, hash, b->file, b->offset))
				cache_log_bury(c, n);
			else
				cache_link(c, hash, n);
		}
		pthread_mutex_unlock(&s->lock);
	}
	grace_leave();
	/* Who evicts already will see to it. */
	if (is_short(c) && !pthread_mutex_trylock(&c->turn)) {
		/* Blocks on the heap may have all there is. */
		if (!evict_one(c))
			cache_turn_clock(c, 1 + atomic_load(&c->ring_count) /
			                                    TURN_SHARE);
		pthread_mutex_unlock(&c->turn);
	}
}

void
cache_log_sweep(struct block_cache *c)
{
	struct cache_log *log = &c->log;
	struct cache_chunk *k, *next;

	if (pthread_mutex_trylock(&c->turn))
		return;
	pthread_mutex_lock(&c->lock);
	for (k = TAILQ_FIRST(&log->sealed); k; k = next) {
		uint32_t dead = atomic_load(&k->dead);

		next = TAILQ_NEXT(k, in_list);
		if (dead + sizeof(*k) < k->filled || k->region->leaving)
			continue;
		begin_evict(log, k);
		atomic_fetch_sub(&log->dead, atomic_exchange(&k->dead, 0));
		k->stamp = grace_stamp();
		TAILQ_INSERT_TAIL(&log->waiting, k, in_list);
		add(&log->waiting_count, 1);
	}
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_unlock(&c->turn);
}

/* With the lock: the region of what is oldest, or NULL. */
static struct cache_region *
oldest_region(struct cache_log *log)
{
	struct cache_region *r;
	struct cache_chunk *k;

	TAILQ_FOREACH(k, &log->sealed, in_list)
	if (!k->region->leaving)
		return k->region;
	TAILQ_FOREACH(r, &log->regions, in_regions)
	if (!r->leaving)
		return r;
	return NULL;
}

/* With the lock: nobody opens a chunk of r any more. */
static void
close_region(struct block_cache *c, struct cache_region *r)
{
	struct cache_log *log = &c->log;

	r->leaving = true;
	add(&log->region_count, -1u);
	atomic_fetch_add(&c->leaving, log->region_bytes);
	if (log->open && log->open->region == r)
		seal(log);
	for (size_t i = 0; i < log->region_bytes / log->chunk_bytes; i++) {
		struct cache_chunk *k = chunk_at(log, r, i);

		if (k->state != CHUNK_FREE)
			continue;
		TAILQ_REMOVE(&log->free, k, in_list);
		add(&log->free_count, -1u);
	}
	if (!r->busy || PLANTED("cache_log.gives_back_early"))
		give_back(c, r);
}

/* With the lock: a chunk that has to go with its region, or NULL. What came to
   it lately, from chunks that went before, is not at its turn: *live. */
static struct cache_chunk *
next_leaving(struct cache_log *log, bool *live)
{
	struct cache_chunk *k;

	TAILQ_FOREACH(k, &log->sealed, in_list)
	if (k->region->leaving)
		break;
	*live = k && log->opened - k->number < log->sealed_count / 2;
	return k;
}

bool
cache_log_shrink(struct block_cache *c, size_t bytes)
{
	struct cache_log *log = &c->log;
	struct cache_region *r;
	bool any = false;

	/* All at once, so that nothing is copied on to what goes next. */
	pthread_mutex_lock(&c->lock);
	while ((!any || bytes) && (r = oldest_region(log))) {
		close_region(c, r);
		bytes -= bytes < log->region_bytes ? bytes : log->region_bytes;
		any = true;
	}
	pthread_mutex_unlock(&c->lock);
	while (any) {
		struct cache_chunk *k;
		bool live;

		/* What is copied on needs a place. */
		if (get(&log->free_count) <= RESERVE)
			evict_one(c);
		pthread_mutex_lock(&c->lock);
		k = next_leaving(log, &live);
		if (k)
			begin_evict(log, k);
		pthread_mutex_unlock(&c->lock);
		if (!k)
			break;
		evict_chunk(c, k, live);
	}
	return any;
}
