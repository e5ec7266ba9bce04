/* SPDX-License-Identifier: ISC */
/*
 * The block cache. Its capacity is one figure for all shards, so that a big
 * index fits wherever its hash sends it: room is reserved in `used` before a
 * block is linked, by evicting from one shard after the other.
 *
 * Invariants: a block is linked in exactly one shard or in none; while linked
 * it holds one reference of the cache. `used` is the sum of the charges of
 * all blocks that were put and are not freed yet, so it passes the capacity
 * only by what is pinned. A pinned block is never chosen for eviction: that
 * would give no memory back. At most one shard is locked at a time, and no
 * block is freed under a lock.
 */
#include "store/block_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SHARDS 64u
#define SHARD_SHIFT 58 /* the top 6 bits of a hash choose the shard */
#define DROP_STEP 32u  /* blocks looked at under a lock to drop a file's */
#define BUCKETS_MIN 16u
#define MISSED_SHARE 16u /* buckets to a slot of `missed` */
#define PREFETCH_LINES 4u
#define KEEP_MAX 3u /* the clock spares a block for at most as many turns */

struct shard {
	pthread_mutex_t lock;        /* guards everything here */
	struct cache_block **bucket; /* hash chains */
	size_t buckets;              /* a power of two */
	uint32_t *missed; /* tags of blocks that were asked for in vain, each in
			     the slot of its hash; 0: none. An eighth to a
			     quarter of the blocks linked. 2Q's A1out has half;
			     here to let in a block that is not asked for again
			     costs more than one more miss of one that is */
	struct cache_block *hand; /* clock: looked at next; NULL when empty */
	atomic_size_t count;      /* blocks linked; written under the lock */
	uint64_t hits, misses;
	uint64_t evictions;
} __attribute__((aligned(64)));

struct block_cache {
	struct shard shard[SHARDS];
	atomic_size_t capacity;  /* bytes */
	atomic_size_t used;      /* bytes charged */
	atomic_size_t held;      /* of these, by block_cache_hold */
	atomic_uint next_victim; /* shard whose clock turns next */
};

static uint64_t
hash_of(uint64_t file, uint64_t offset)
{
	uint64_t key[2] = { file, offset };

	return XXH3_64bits(key, sizeof(key));
}

static struct shard *
shard_of(struct block_cache *c, uint64_t hash)
{
	return &c->shard[hash >> SHARD_SHIFT];
}

static struct cache_block **
bucket_of(struct shard *s, uint64_t hash)
{
	return &s->bucket[hash & (s->buckets - 1)];
}

static struct cache_block *
find(struct shard *s, uint64_t hash, uint64_t file, uint64_t offset)
{
	struct cache_block *b = *bucket_of(s, hash);

	/* A hit goes on to what stands behind the head: have it fetched. */
	for (unsigned line = 1; b && line <= PREFETCH_LINES; line++)
		__builtin_prefetch((const char *)b + line * (size_t)64);
	while (b && (b->offset != offset || b->file != file))
		b = b->next;
	return b;
}

/* Longer chains are slower, not wrong: without memory it stays as it is. */
static void
grow(struct shard *s)
{
	size_t old_buckets = s->buckets;
	struct cache_block **old = s->bucket;
	struct cache_block **bigger =
		(struct cache_block **)calloc(old_buckets * 2, sizeof(*old));
	uint32_t *missed = (uint32_t *)calloc(old_buckets * 2 / MISSED_SHARE,
	                                      sizeof(*missed));

	if (!bigger || !missed) {
		free(bigger);
		free(missed);
		return;
	}
	free(s->missed);
	s->missed = missed;
	s->bucket = bigger;
	s->buckets = old_buckets * 2;
	for (size_t i = 0; i < old_buckets; i++) {
		struct cache_block *next;

		for (struct cache_block *b = old[i]; b; b = next) {
			struct cache_block **to =
				bucket_of(s, hash_of(b->file, b->offset));

			next = b->next;
			b->next = *to;
			*to = b;
		}
	}
	free(old);
}

/* Just behind the hand: what is new is looked at last. */
static void
link_block(struct shard *s, uint64_t hash, struct cache_block *b)
{
	size_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
	struct cache_block **to;

	/* Half empty: each block passed on the way is a cache miss. */
	if (count * 2 >= s->buckets)
		grow(s);
	to = bucket_of(s, hash);
	b->next = *to;
	*to = b;
	if (s->hand) {
		b->ring_next = s->hand;
		b->ring_prev = s->hand->ring_prev;
		b->ring_prev->ring_next = b;
		b->ring_next->ring_prev = b;
	} else {
		b->ring_next = b->ring_prev = b;
		s->hand = b;
	}
	atomic_store_explicit(&s->count, count + 1, memory_order_relaxed);
}

/* The caller gives up the cache's reference once the lock is released. */
static void
unlink_block(struct block_cache *c, struct shard *s, struct cache_block *b)
{
	struct cache_block **from = bucket_of(s, hash_of(b->file, b->offset));

	while (*from != b)
		from = &(*from)->next;
	*from = b->next;
	if (b->ring_next == b) {
		s->hand = NULL;
	} else {
		b->ring_prev->ring_next = b->ring_next;
		b->ring_next->ring_prev = b->ring_prev;
		if (s->hand == b)
			s->hand = b->ring_next;
	}
	b->owner = c;
	atomic_fetch_sub_explicit(&s->count, 1, memory_order_relaxed);
}

static bool
pinned(struct cache_block *b)
{
	return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}

/* Turns one shard's clock until a block falls out, or NULL. */
static struct cache_block *
turn_clock(struct block_cache *c, struct shard *s)
{
	struct cache_block *victim = NULL;
	size_t steps;

	pthread_mutex_lock(&s->lock);
	steps = atomic_load_explicit(&s->count, memory_order_relaxed) *
	        (KEEP_MAX + 1);
	for (; steps && !victim; steps--) {
		struct cache_block *b = s->hand;
		uint8_t use =
			atomic_load_explicit(&b->use, memory_order_relaxed);

		s->hand = b->ring_next;
		if (pinned(b))
			continue;
		if (use)
			atomic_store_explicit(&b->use, (uint8_t)(use - 1),
			                      memory_order_relaxed);
		else
			victim = b;
	}
	if (victim) {
		unlink_block(c, s, victim);
		s->evictions++;
	}
	pthread_mutex_unlock(&s->lock);
	return victim;
}

/* False when nothing is left that nobody has pinned. */
static bool
evict_one(struct block_cache *c)
{
	unsigned from = atomic_fetch_add_explicit(&c->next_victim, 1,
	                                          memory_order_relaxed);

	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[(from + i) % SHARDS];
		struct cache_block *victim;

		if (!atomic_load_explicit(&s->count, memory_order_relaxed))
			continue;
		victim = turn_clock(c, s);
		if (victim) {
			cache_block_unpin(victim);
			return true;
		}
	}
	return false;
}

/*
 * Adds charge to `used`, evicting first so that it stays within the capacity.
 * False if that is impossible: it is added all the same.
 */
static bool
reserve(struct block_cache *c, size_t charge)
{
	size_t used = atomic_load(&c->used);

	for (;;) {
		size_t capacity = atomic_load(&c->capacity);

		if (charge <= capacity && used <= capacity - charge) {
			if (atomic_compare_exchange_weak(&c->used, &used,
			                                 used + charge))
				return true;
		} else if (charge > capacity || !evict_one(c)) {
			atomic_fetch_add(&c->used, charge);
			return false;
		} else {
			used = atomic_load(&c->used);
		}
	}
}

struct block_cache *
block_cache_new(size_t capacity)
{
	struct block_cache *c = (struct block_cache *)aligned_alloc(
		64, (sizeof(*c) + 63) / 64 * 64);

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	atomic_store(&c->capacity, capacity);
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];

		pthread_mutex_init(&s->lock, NULL);
		s->buckets = BUCKETS_MIN;
		s->bucket = (struct cache_block **)calloc(s->buckets,
		                                          sizeof(*s->bucket));
		s->missed = (uint32_t *)calloc(s->buckets / MISSED_SHARE,
		                               sizeof(*s->missed));
		if (!s->bucket || !s->missed) {
			block_cache_free(c);
			return NULL;
		}
	}
	return c;
}

void
block_cache_free(struct block_cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];

		while (s->hand) {
			struct cache_block *b = s->hand;

			assert(!pinned(b));
			unlink_block(c, s, b);
			cache_block_unpin(b);
		}
		free(s->bucket);
		free(s->missed);
		if (s->buckets)
			pthread_mutex_destroy(&s->lock);
	}
	free(c);
}

/* Was it asked for in vain, lately? Next time it was, unless others of its
   slot come between. */
static bool
missed_before(struct shard *s, uint64_t hash)
{
	uint32_t *slot = &s->missed[hash & (s->buckets / MISSED_SHARE - 1)];
	uint32_t tag = (uint32_t)(hash >> 24) | 1;
	bool before = *slot == tag;

	*slot = before ? 0 : tag;
	return before;
}

/* If it is not there and ask is not NULL, *ask becomes missed_before. */
static struct cache_block *
get(struct block_cache *c, uint64_t file, uint64_t offset, bool *ask)
{
	uint64_t hash = hash_of(file, offset);
	struct shard *s = shard_of(c, hash);
	struct cache_block *b;

	pthread_mutex_lock(&s->lock);
	b = find(s, hash, file, offset);
	if (b) {
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
		/* A hot block's line is not written when nothing changes. */
		if (atomic_load_explicit(&b->use, memory_order_relaxed) !=
		    b->keep)
			atomic_store_explicit(&b->use, b->keep,
			                      memory_order_relaxed);
		s->hits++;
	} else {
		s->misses++;
		if (ask)
			*ask = missed_before(s, hash);
	}
	pthread_mutex_unlock(&s->lock);
	return b;
}

struct cache_block *
block_cache_get(struct block_cache *c, uint64_t file, uint64_t offset)
{
	return get(c, file, offset, NULL);
}

struct cache_block *
block_cache_ask(struct block_cache *c, uint64_t file, uint64_t offset,
                size_t charge, bool *wanted)
{
	*wanted = atomic_load(&c->used) + charge <= atomic_load(&c->capacity);
	return get(c, file, offset, *wanted ? NULL : wanted);
}

struct cache_block *
block_cache_put(struct block_cache *c, struct cache_block *b)
{
	uint64_t hash = hash_of(b->file, b->offset);
	struct shard *s = shard_of(c, hash);
	struct cache_block *other;

	assert(b->keep <= KEEP_MAX);
	/* A data block has to be asked for twice to outlive a turn. */
	atomic_init(&b->use, b->keep > 1 ? b->keep : (uint8_t)0);
	if (!reserve(c, b->charge)) {
		b->owner = c;
		atomic_init(&b->refs, 1);
		return b;
	}
	atomic_init(&b->refs, 2);

	pthread_mutex_lock(&s->lock);
	other = find(s, hash, b->file, b->offset);
	if (other)
		atomic_fetch_add_explicit(&other->refs, 1,
		                          memory_order_relaxed);
	else
		link_block(s, hash, b);
	pthread_mutex_unlock(&s->lock);
	if (!other)
		return b;

	atomic_fetch_sub(&c->used, b->charge);
	b->free(b);
	return other;
}

void
cache_block_init_private(struct cache_block *b)
{
	b->owner = NULL;
	atomic_init(&b->use, 0);
	atomic_init(&b->refs, 1);
}

void
block_cache_charge(struct block_cache *c, struct cache_block *b)
{
	(void)reserve(c, b->charge);
	b->owner = c;
}

void
cache_block_pin(struct cache_block *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void
cache_block_unpin(struct cache_block *b)
{
	struct block_cache *owner;
	size_t charge;

	/* The last one leaves alone: nobody can find the block any more. */
	if (!b ||
	    atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
		return;
	owner = b->owner;
	charge = b->charge;
	b->free(b);
	if (owner)
		atomic_fetch_sub(&owner->used, charge);
}

bool
block_cache_hold(struct block_cache *c, struct cache_block *b)
{
	size_t held = atomic_load_explicit(&c->held, memory_order_relaxed);

	do {
		if (held + b->charge > atomic_load(&c->capacity) / 2)
			return false;
	} while (!atomic_compare_exchange_weak(&c->held, &held,
	                                       held + b->charge));
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return true;
}

void
block_cache_unhold(struct block_cache *c, struct cache_block *b)
{
	atomic_fetch_sub(&c->held, b->charge);
	cache_block_unpin(b);
}

/*
 * A step at a time, so that readers never wait for a whole turn of the clock.
 * What others turn it past meanwhile is missed, and falls out later.
 */
static size_t
drop_some(struct block_cache *c, struct shard *s, uint64_t file, size_t left)
{
	struct cache_block *dropped = NULL;

	pthread_mutex_lock(&s->lock);
	for (size_t n = DROP_STEP; n && left && s->hand; n--, left--) {
		struct cache_block *b = s->hand;

		s->hand = b->ring_next;
		if (b->file != file)
			continue;
		unlink_block(c, s, b);
		b->ring_next = dropped;
		dropped = b;
	}
	if (!s->hand)
		left = 0;
	pthread_mutex_unlock(&s->lock);
	while (dropped) {
		struct cache_block *next = dropped->ring_next;

		cache_block_unpin(dropped);
		dropped = next;
	}
	return left;
}

void
block_cache_drop_file(struct block_cache *c, uint64_t file)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];
		size_t left =
			atomic_load_explicit(&s->count, memory_order_relaxed);

		while (left)
			left = drop_some(c, s, file, left);
	}
}

void
block_cache_set_capacity(struct block_cache *c, size_t capacity)
{
	atomic_store(&c->capacity, capacity);
	while (atomic_load(&c->used) > capacity && evict_one(c))
		;
}

void
block_cache_get_stat(struct block_cache *c, struct block_cache_stat *stat)
{
	memset(stat, 0, sizeof(*stat));
	stat->capacity = atomic_load(&c->capacity);
	stat->used = atomic_load(&c->used);
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];

		pthread_mutex_lock(&s->lock);
		stat->hits += s->hits;
		stat->misses += s->misses;
		stat->evictions += s->evictions;
		pthread_mutex_unlock(&s->lock);
	}
}
