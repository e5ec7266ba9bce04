/* SPDX-License-Identifier: ISC */
/*
 * The block cache: its hash table, its blocks on the heap, and its bound. The
 * log of data blocks is in cache_log.c, and the locks are in its header.
 *
 * The table has as many buckets as it will ever need, since it is known how
 * much may be in it; so a chain only changes where a block comes or goes, and
 * a reader follows it while it does. All that makes a block known or unknown
 * is sequentially consistent, which is what grace.h asks for; to readers it
 * costs nothing on x86.
 *
 * `used` is the sum of what regions and blocks on the heap take until they are
 * freed, so it passes the capacity only by what is pinned, and, for a moment,
 * by what those who are inside may still look at (`leaving`).
 */
#include "store/block_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/huge.h"
#include "base/planted.h"
#include "store/cache_log.h"

#define SHARD_SHIFT 58     /* the top 6 bits of a hash choose the shard */
#define DROP_STEP 32u      /* buckets looked at under a lock to drop a file's */
#define BUCKET_BYTES 2048u /* of the capacity to a bucket */
#define BUCKETS_LEAST_BITS 11u /* DROP_STEP of each shard */
#define BUCKETS_MOST_BITS 28u
#define MISSED_BYTES 12288u /* of the capacity to a slot of `missed`, or less */
#define PREFETCH_LINES 4u
#define MAPPED ((size_t)256 << 10) /* from here on, memory of its own */
#define MALLOC_HEAD 16u            /* bytes of malloc around a block */
#define PAGE 4096u
#define LINE 64u

uint64_t
cache_hash(uint64_t file, uint64_t offset)
{
	uint64_t key[2] = { file, offset };

	return XXH3_64bits(key, sizeof(key));
}

struct cache_shard *
cache_shard_of(struct block_cache *c, uint64_t hash)
{
	return &c->shard[hash >> SHARD_SHIFT];
}

/* ---- chains ---- */

static _Atomic(struct cache_block *) *
bucket_of(struct block_cache *c, uint64_t hash)
{
	return &c->bucket[hash >> c->bucket_shift];
}

struct cache_block *
cache_find_linked(struct block_cache *c, uint64_t hash, uint64_t file,
                  uint64_t offset)
{
	struct cache_block *b = atomic_load(bucket_of(c, hash));

	while (b && (b->offset != offset || b->file != file))
		b = atomic_load(&b->next);
	return b;
}

void
cache_link(struct block_cache *c, uint64_t hash, struct cache_block *b)
{
	_Atomic(struct cache_block *) *to = bucket_of(c, hash);

	atomic_store(&b->next, atomic_load(to));
	b->linked = true;
	atomic_store(to, b);
}

void
cache_unlink(struct block_cache *c, uint64_t hash, struct cache_block *b,
             struct cache_block *n)
{
	_Atomic(struct cache_block *) *from = bucket_of(c, hash);
	struct cache_block *at;

	while ((at = atomic_load(from)) != b)
		from = &at->next;
	b->linked = false;
	/* b still leads on: somebody may be looking at it. */
	if (n) {
		atomic_store(&n->next, atomic_load(&b->next));
		n->linked = true;
		atomic_store(from, n);
	} else {
		atomic_store(from, atomic_load(&b->next));
	}
}

/* ---- blocks on the heap ---- */

static_assert(sizeof(struct cache_heap) % LINE == 0,
              "a block on a cache line follows one");

static struct cache_heap *
heap_of(struct cache_block *b)
{
	return (struct cache_heap *)(void *)((unsigned char *)b -
	                                     offsetof(struct cache_heap,
	                                              block));
}

struct cache_block *
cache_block_new(uint64_t file, uint64_t offset, size_t size, uint8_t keep)
{
	size_t bytes = sizeof(struct cache_heap) + size;
	struct cache_heap *h;
	struct cache_block *b;
	bool mapped = bytes >= MAPPED;

	assert(size >= sizeof(*b) && keep <= CACHE_KEEP_LONG);
	if (mapped) {
		bytes = (bytes + PAGE - 1) / PAGE * PAGE;
		h = (struct cache_heap *)huge_map(bytes, LINE);
	} else if (keep > CACHE_KEEP_DATA) {
		bytes = (bytes + LINE - 1) / LINE * LINE;
		h = (struct cache_heap *)aligned_alloc(LINE, bytes);
		bytes += LINE;
	} else {
		/* These come and go, and malloc does not keep aligned ones at
		   hand. */
		h = (struct cache_heap *)malloc(bytes);
		bytes += MALLOC_HEAD;
	}
	if (!h)
		return NULL;
	h->owner = NULL;
	h->charge = bytes;
	h->mapped = mapped;
	b = h->block;
	b->file = file;
	b->offset = offset;
	b->size = size;
	atomic_init(&b->next, NULL);
	atomic_init(&b->refs, 1);
	atomic_init(&b->use, 0);
	b->keep = keep;
	b->in_log = false;
	b->linked = false;
	return b;
}

void
cache_block_pin(struct cache_block *b)
{
	assert(!b->in_log);
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void
cache_block_unpin(struct cache_block *b)
{
	struct block_cache *owner;
	struct cache_heap *h;
	size_t charge;

	/* The last one leaves alone: nobody can find the block any more. */
	if (!b ||
	    atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
		return;
	h = heap_of(b);
	owner = h->owner;
	charge = h->charge;
	if (h->mapped)
		huge_unmap(h, charge);
	else
		free(h);
	if (owner)
		atomic_fetch_sub(&owner->used, charge);
}

/* ---- their clock ---- */

/* Under its shard's lock: b, linked, goes once nobody can look at it. */
static void
retire(struct block_cache *c, uint64_t hash, struct cache_block *b)
{
	struct cache_heap *h = heap_of(b);

	cache_unlink(c, hash, b, NULL);
	pthread_mutex_lock(&c->lock);
	if (c->hand == h)
		c->hand = TAILQ_NEXT(h, in_ring);
	TAILQ_REMOVE(&c->ring, h, in_ring);
	atomic_fetch_sub(&c->ring_count, 1);
	atomic_fetch_add(&c->leaving, h->charge);
	h->stamp = grace_stamp();
	h->waiting_next = NULL;
	*c->waiting_end = h;
	c->waiting_end = &h->waiting_next;
	atomic_fetch_add(&c->waiting_count, 1);
	pthread_mutex_unlock(&c->lock);
}

static bool
pinned(struct cache_block *b)
{
	return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}

/* One step; true and what is to go, if something is. A pinned block is not:
   that would give no memory back. */
static bool
step(struct block_cache *c, uint64_t *file, uint64_t *offset)
{
	struct cache_heap *h;
	bool out = false;

	pthread_mutex_lock(&c->lock);
	h = c->hand ? c->hand : TAILQ_FIRST(&c->ring);
	if (h) {
		struct cache_block *b = h->block;
		uint8_t use =
			atomic_load_explicit(&b->use, memory_order_relaxed);

		c->hand = TAILQ_NEXT(h, in_ring);
		if (!pinned(b)) {
			out = !use;
			*file = b->file;
			*offset = b->offset;
			if (use)
				atomic_store_explicit(&b->use,
				                      (uint8_t)(use - 1),
				                      memory_order_relaxed);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return out;
}

bool
cache_turn_clock(struct block_cache *c, size_t steps)
{
	uint64_t file, offset;
	bool any = false;

	for (; steps; steps--) {
		struct cache_shard *s;
		struct cache_block *b;
		uint64_t hash;

		if (!step(c, &file, &offset))
			continue;
		hash = cache_hash(file, offset);
		s = cache_shard_of(c, hash);
		pthread_mutex_lock(&s->lock);
		b = cache_find_linked(c, hash, file, offset);
		if (b && !b->in_log) {
			retire(c, hash, b);
			atomic_fetch_add_explicit(&c->evictions, 1,
			                          memory_order_relaxed);
			any = true;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return any;
}

void
cache_reap(struct block_cache *c)
{
	struct cache_heap *h, *gone = NULL, **end = &gone;

	if (!atomic_load_explicit(&c->waiting_count, memory_order_relaxed) &&
	    !atomic_load_explicit(&c->log.waiting_count, memory_order_relaxed))
		return;
	pthread_mutex_lock(&c->lock);
	cache_log_reap(c);
	while ((h = c->waiting) &&
	       (grace_over(h->stamp) || PLANTED("block_cache.no_grace"))) {
		c->waiting = h->waiting_next;
		atomic_fetch_sub(&c->waiting_count, 1);
		atomic_fetch_sub(&c->leaving, h->charge);
		*end = h;
		end = &h->waiting_next;
	}
	if (!c->waiting)
		c->waiting_end = &c->waiting;
	*end = NULL;
	pthread_mutex_unlock(&c->lock);
	while ((h = gone)) {
		gone = h->waiting_next;
		cache_block_unpin(h->block);
	}
}

/* ---- the bound ---- */

/* Bytes above the capacity, but for those that will be freed anyway. */
static size_t
excess(struct block_cache *c)
{
	size_t used = atomic_load(&c->used);
	size_t allowed = atomic_load(&c->capacity) + atomic_load(&c->leaving);

	return used > allowed ? used - allowed : 0;
}

/* With the turn: gives something up; false if there is nothing left. */
static bool
make_room(struct block_cache *c)
{
	size_t steps;

	if (cache_log_shrink(c, excess(c)))
		return true;
	steps = atomic_load(&c->ring_count) * (CACHE_KEEP_LONG + 1);
	while (steps--)
		if (cache_turn_clock(c, 1))
			return true;
	return false;
}

/*
 * Adds charge to `used`, evicting so that it stays within the capacity. False
 * if that is impossible, or if somebody else is at it and has a long way to
 * go: it is added all the same.
 */
static bool
reserve(struct block_cache *c, size_t charge)
{
	bool fits = true;

	cache_reap(c);
	atomic_fetch_add(&c->used, charge);
	if (!excess(c))
		return true;
	if (charge > atomic_load(&c->capacity) ||
	    pthread_mutex_trylock(&c->turn))
		return false;
	while (fits && excess(c))
		fits = make_room(c);
	pthread_mutex_unlock(&c->turn);
	cache_reap(c);
	return fits;
}

void
block_cache_set_capacity(struct block_cache *c, size_t capacity)
{
	size_t slots = 1;
	bool more = true;

	while (slots < c->missed_slots && slots * 2 * MISSED_BYTES <= capacity)
		slots *= 2;
	atomic_store(&c->missed_mask, slots - 1);
	atomic_store(&c->capacity, capacity);
	while (more && excess(c)) {
		/* So that others come in between. */
		pthread_mutex_lock(&c->turn);
		more = !excess(c) || make_room(c);
		pthread_mutex_unlock(&c->turn);
		cache_reap(c);
	}
	cache_reap(c);
}

/* ---- making and freeing one ---- */

static bool
make_tables(struct block_cache *c, size_t most)
{
	unsigned bits = BUCKETS_LEAST_BITS;
	size_t slots = 1;

	while (bits < BUCKETS_MOST_BITS &&
	       ((size_t)BUCKET_BYTES << bits) < most)
		bits++;
	c->bucket_shift = 64 - bits;
	c->bucket_bytes = sizeof(*c->bucket) << bits;
	c->bucket = (_Atomic(struct cache_block *) *)huge_map(
		c->bucket_bytes,
		c->bucket_bytes >= HUGE_BYTES ? HUGE_BYTES : LINE);
	while (slots * 2 * MISSED_BYTES <= most)
		slots *= 2;
	c->missed_slots = slots;
	c->missed = (_Atomic uint32_t *)calloc(slots, sizeof(*c->missed));
	return c->bucket && c->missed;
}

struct block_cache *
block_cache_new_between(size_t least, size_t most)
{
	struct block_cache *c = (struct block_cache *)aligned_alloc(
		_Alignof(struct block_cache), sizeof(*c));

	assert(least <= most);
	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->turn, NULL);
	pthread_mutex_init(&c->lock, NULL);
	for (unsigned i = 0; i < CACHE_SHARDS; i++)
		pthread_mutex_init(&c->shard[i].lock, NULL);
	TAILQ_INIT(&c->ring);
	c->waiting_end = &c->waiting;
	c->hold_most = least / 2;
	cache_log_init(c, least);
	if (!make_tables(c, most)) {
		block_cache_free(c);
		return NULL;
	}
	block_cache_set_capacity(c, least);
	return c;
}

struct block_cache *
block_cache_new(size_t capacity)
{
	return block_cache_new_between(capacity, capacity);
}

void
block_cache_free(struct block_cache *c)
{
	struct cache_heap *h;

	if (!c)
		return;
	while ((h = TAILQ_FIRST(&c->ring))) {
		assert(!pinned(h->block));
		TAILQ_REMOVE(&c->ring, h, in_ring);
		cache_block_unpin(h->block);
	}
	while ((h = c->waiting)) {
		c->waiting = h->waiting_next;
		assert(!pinned(h->block));
		cache_block_unpin(h->block);
	}
	cache_log_release(c);
	huge_unmap((void *)c->bucket, c->bucket_bytes);
	free((void *)c->missed);
	for (unsigned i = 0; i < CACHE_SHARDS; i++)
		pthread_mutex_destroy(&c->shard[i].lock);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->turn);
	free(c);
}

/* ---- looking up ---- */

/* Was it asked for in vain, lately? Next time it was, unless others of its
   slot come between. */
static bool
missed_before(struct block_cache *c, uint64_t hash)
{
	_Atomic uint32_t *slot =
		&c->missed[(hash >> 8) &
	                   atomic_load_explicit(&c->missed_mask,
	                                        memory_order_relaxed)];
	uint32_t tag = (uint32_t)(hash >> 32) | 1;
	bool before = atomic_load_explicit(slot, memory_order_relaxed) == tag;

	atomic_store_explicit(slot, before ? 0 : tag, memory_order_relaxed);
	return before;
}

static struct cache_block *
find(struct block_cache *c, uint64_t hash, uint64_t file, uint64_t offset)
{
	struct cache_counts *counts = &c->counts[grace_slot()];
	struct cache_block *b = atomic_load(bucket_of(c, hash));

	/* A hit goes on to what stands behind the head: have it fetched. */
	for (unsigned line = 1; b && line <= PREFETCH_LINES; line++)
		__builtin_prefetch((const char *)b + line * (size_t)LINE);
	while (b && (b->offset != offset || b->file != file))
		b = atomic_load(&b->next);
	if (!b) {
		grace_count(&counts->misses);
		return NULL;
	}
	grace_count(&counts->hits);
	/* A block in use is not written to. */
	if (atomic_load_explicit(&b->use, memory_order_relaxed) != b->keep)
		atomic_store_explicit(&b->use, b->keep, memory_order_relaxed);
	return b;
}

bool
block_cache_has_room(struct block_cache *c, size_t size)
{
	if (size <= c->log.largest)
		return cache_log_has_room(c);
	return atomic_load(&c->used) + size <= atomic_load(&c->capacity);
}

struct cache_block *
block_cache_ask(struct block_cache *c, uint64_t file, uint64_t offset,
                size_t size, enum cache_wish *wish)
{
	uint64_t hash = cache_hash(file, offset);
	struct cache_block *b = find(c, hash, file, offset);

	if (!b)
		*wish = block_cache_has_room(c, size) ? CACHE_ROOM
		        : missed_before(c, hash)      ? CACHE_TIGHT
		                                      : CACHE_FULL;
	return b;
}

struct cache_block *
block_cache_get(struct block_cache *c, uint64_t file, uint64_t offset)
{
	struct cache_block *b, *copy;

	grace_enter();
	b = find(c, cache_hash(file, offset), file, offset);
	if (b && b->in_log) {
		copy = cache_block_new(file, offset, b->size, b->keep);
		if (copy)
			memcpy(copy + 1, b + 1, b->size - sizeof(*b));
		b = copy;
	} else if (b) {
		/* The cache's own pin is given up after a grace period only. */
		cache_block_pin(b);
	}
	grace_leave();
	return b;
}

/* ---- filling ---- */

static struct cache_block *
put_on_heap(struct block_cache *c, struct cache_block *b)
{
	uint64_t hash = cache_hash(b->file, b->offset);
	struct cache_shard *s = cache_shard_of(c, hash);
	struct cache_heap *h = heap_of(b);
	struct cache_block *other;

	h->owner = c;
	if (!reserve(c, h->charge))
		return b;
	/* A data block has to be asked for twice to outlive a turn. */
	if (b->keep > CACHE_KEEP_DATA)
		atomic_store_explicit(&b->use, b->keep, memory_order_relaxed);
	pthread_mutex_lock(&s->lock);
	other = cache_find_linked(c, hash, b->file, b->offset);
	if (!other) {
		cache_block_pin(b);
		pthread_mutex_lock(&c->lock);
		/* Behind the hand: what is new is looked at last. */
		if (c->hand)
			TAILQ_INSERT_BEFORE(c->hand, h, in_ring);
		else
			TAILQ_INSERT_TAIL(&c->ring, h, in_ring);
		atomic_fetch_add(&c->ring_count, 1);
		pthread_mutex_unlock(&c->lock);
		cache_link(c, hash, b);
	} else if (!other->in_log) {
		cache_block_pin(other);
	}
	pthread_mutex_unlock(&s->lock);
	if (!other || other->in_log)
		return b;
	cache_block_unpin(b);
	return other;
}

struct cache_block *
block_cache_put(struct block_cache *c, struct cache_block *b)
{
	assert(!b->in_log && !b->linked);
	if (b->keep > CACHE_KEEP_DATA || b->size > c->log.largest)
		return put_on_heap(c, b);
	cache_reap(c);
	cache_log_add(c, b);
	return b;
}

void
block_cache_remove(struct block_cache *c, struct cache_block *b)
{
	uint64_t hash = cache_hash(b->file, b->offset);
	struct cache_shard *s = cache_shard_of(c, hash);

	pthread_mutex_lock(&s->lock);
	if (b->linked && b->in_log) {
		cache_unlink(c, hash, b, NULL);
		cache_log_bury(c, b);
	} else if (b->linked) {
		retire(c, hash, b);
	}
	pthread_mutex_unlock(&s->lock);
}

void
block_cache_charge(struct block_cache *c, struct cache_block *b)
{
	struct cache_heap *h = heap_of(b);

	if (h->owner)
		return;
	h->owner = c;
	(void)reserve(c, h->charge);
}

bool
block_cache_hold(struct block_cache *c, struct cache_block *b)
{
	size_t charge = heap_of(b)->charge;
	size_t held = atomic_load_explicit(&c->held, memory_order_relaxed);

	do {
		if (held + charge > c->hold_most)
			return false;
	} while (!atomic_compare_exchange_weak(&c->held, &held, held + charge));
	cache_block_pin(b);
	return true;
}

void
block_cache_unhold(struct block_cache *c, struct cache_block *b)
{
	atomic_fetch_sub(&c->held, heap_of(b)->charge);
	cache_block_unpin(b);
}

/* ---- forgetting ---- */

/* Some buckets at a time, so that who misses never waits for all of them. */
static void
drop_some(struct block_cache *c, struct cache_shard *s, size_t from,
          uint64_t file)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = from; i < from + DROP_STEP; i++) {
		struct cache_block *b = atomic_load(&c->bucket[i]), *next;

		for (; b; b = next) {
			next = atomic_load(&b->next);
			if (b->file != file)
				continue;
			if (b->in_log) {
				cache_unlink(c, cache_hash(file, b->offset), b,
				             NULL);
				cache_log_bury(c, b);
			} else {
				retire(c, cache_hash(file, b->offset), b);
			}
		}
	}
	pthread_mutex_unlock(&s->lock);
}

void
block_cache_drop_file(struct block_cache *c, uint64_t file)
{
	size_t buckets = c->bucket_bytes / sizeof(*c->bucket);
	size_t each = buckets / CACHE_SHARDS;

	for (size_t i = 0; i < buckets; i += DROP_STEP)
		drop_some(c, &c->shard[i / each], i, file);
	cache_log_sweep(c);
	cache_reap(c);
}

void
block_cache_get_stat(struct block_cache *c, struct block_cache_stat *stat)
{
	memset(stat, 0, sizeof(*stat));
	stat->capacity = atomic_load(&c->capacity);
	stat->used = atomic_load(&c->used);
	stat->evictions = atomic_load(&c->evictions);
	for (unsigned i = 0; i < GRACE_SLOTS; i++) {
		stat->hits += atomic_load(&c->counts[i].hits);
		stat->misses += atomic_load(&c->counts[i].misses);
	}
}
