/* SPDX-License-Identifier: ISC */
/*
 * The inside of the block cache: what block_cache.c and cache_log.c share, and
 * nobody else includes.
 *
 * The log is a queue of chunks. Blocks are copied into the open one, the
 * newest; then it is sealed. Some chunks are always free, so that who puts a
 * block finds one: the oldest sealed chunk is evicted ahead of need. Its blocks
 * that were used since they came there are copied on to the open chunk, the
 * others unlinked; after a grace period it is free again.
 *
 *     free -> open -> sealed -> evicted (unlinked, then a grace period) -> free
 *
 * A chunk most of whose blocks are gone, since their file is, goes before its
 * turn, and all that is left of it is copied on.
 *
 * Chunks are pieces of regions, which are what is taken from the system, and
 * given back: huge pages, but in small caches. `used` counts whole regions.
 *
 * Locks, in the order in which they are taken; all short but the first, which
 * nobody who puts or looks up a block waits for:
 *
 *     turn    evicting; the clock of blocks on the heap
 *     shard   its stripe of the hash table: every change of a chain, `linked`
 *     lock    lists of chunks, regions, the ring of blocks on the heap
 */
#ifndef LSMKV_STORE_CACHE_LOG_H
#define LSMKV_STORE_CACHE_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "store/block_cache.h"
#include "store/grace.h"

#define CACHE_SHARDS 64u

/* Memory for several chunks. */
struct cache_region {
	TAILQ_ENTRY(cache_region) in_regions;
	unsigned char *memory; /* owned */
	unsigned busy;         /* chunks that are not free */
	bool leaving;          /* goes back to the system once none is busy */
};

enum cache_chunk_state {
	CHUNK_FREE,
	CHUNK_OPEN,
	CHUNK_SEALED,
	CHUNK_EVICTED, /* is being emptied, or waits for its grace period */
};

/* A chunk begins with this; its address is a multiple of its size. */
struct cache_chunk {
	TAILQ_ENTRY(cache_chunk) in_list; /* free, sealed, or waiting */
	struct cache_region *region;
	union {
		uint64_t number; /* open or sealed: as they were opened */
		uint64_t stamp;  /* evicted: nobody has found it since */
	};
	uint32_t filled;       /* bytes, this head included */
	_Atomic uint32_t dead; /* of these, of blocks that nobody can find */
	enum cache_chunk_state state;
	_Atomic bool gone; /* evicted: nothing is linked in it any more */
} __attribute__((aligned(64)));

TAILQ_HEAD(cache_chunks, cache_chunk);

struct cache_log {
	size_t chunk_bytes;  /* a power of two; 0: there is no log */
	size_t region_bytes; /* a multiple of it */
	size_t largest;      /* a block has at most so many bytes */
	/* Under the cache's lock: */
	struct cache_chunk *open;                  /* NULL: none */
	struct cache_chunks free, sealed, waiting; /* oldest first */
	unsigned sealed_count;
	uint64_t opened; /* chunks so far */
	TAILQ_HEAD(, cache_region) regions;
	/* Written under it: */
	_Atomic unsigned region_count;  /* leaving ones not included */
	_Atomic unsigned free_count;    /* free chunks */
	_Atomic unsigned waiting_count; /* evicted ones */
	_Atomic size_t dead; /* bytes, of all chunks but evicted ones */
};

/* What stands before a block on the heap. */
struct cache_heap {
	TAILQ_ENTRY(cache_heap) in_ring; /* linked: of the clock */
	struct cache_heap
		*waiting_next;     /* unlinked, the next one to be freed */
	struct block_cache *owner; /* charges it until it is freed; NULL:
				      nobody does */
	uint64_t stamp;            /* unlinked: nobody has found it since */
	size_t charge;             /* bytes of memory */
	bool mapped;               /* by huge_map */
	unsigned char unused[15];  /* to a cache line */
	struct cache_block block[];
};

TAILQ_HEAD(cache_ring, cache_heap);

struct cache_shard {
	pthread_mutex_t lock;
} __attribute__((aligned(64)));

/* Of the thread that has the slot (grace.h). */
struct cache_counts {
	_Atomic uint64_t hits, misses;
} __attribute__((aligned(128)));

struct block_cache {
	/* These do not change. */
	_Atomic(struct cache_block *) *bucket; /* hash chains */
	unsigned bucket_shift; /* a hash's bits above it are its bucket */
	size_t bucket_bytes;
	size_t hold_most;
	_Atomic uint32_t *missed; /* tags of blocks that were asked for in
				     vain, each in the slot of its hash; 0:
				     none. An eighth to a quarter of the blocks
				     that fit. 2Q's A1out has half; here to let
				     in a block that is not asked for again
				     costs more than one more miss of one that
				     is */
	size_t missed_slots;      /* of it */
	/* These do seldom. */
	_Atomic size_t capacity;    /* bytes */
	_Atomic size_t missed_mask; /* slots in use, less one */

	_Atomic size_t used __attribute__((aligned(64))); /* bytes charged */
	_Atomic size_t leaving; /* of these, bytes that wait to be freed */
	_Atomic size_t held;    /* of these, by block_cache_hold */
	_Atomic uint64_t evictions;

	pthread_mutex_t turn;
	uint64_t steps; /* that the clock's hand has yet to take, times 65536 */

	pthread_mutex_t lock;
	struct cache_log log;
	struct cache_ring ring;  /* blocks on the heap, linked */
	struct cache_heap *hand; /* of the clock; NULL: at the first */
	_Atomic size_t ring_count;
	struct cache_heap *waiting; /* unlinked ones, oldest first */
	struct cache_heap **waiting_end;
	_Atomic unsigned waiting_count;

	struct cache_shard shard[CACHE_SHARDS];
	struct cache_counts counts[GRACE_SLOTS];
};

/* ---- block_cache.c ---- */

uint64_t cache_hash(uint64_t file, uint64_t offset);
struct cache_shard *cache_shard_of(struct block_cache *c, uint64_t hash);
/* Under the shard's lock, or, to look only, inside: */
struct cache_block *cache_find_linked(struct block_cache *c, uint64_t hash,
                                      uint64_t file, uint64_t offset);
/* Under the shard's lock: */
void cache_link(struct block_cache *c, uint64_t hash, struct cache_block *b);
/* b's place in its chain is n's, or nobody's if that is NULL. */
void cache_unlink(struct block_cache *c, uint64_t hash, struct cache_block *b,
                  struct cache_block *n);
/* With the turn: moves the hand of the heap's clock. False: nothing fell out. */
bool cache_turn_clock(struct block_cache *c, size_t steps);
/* Frees what was evicted and is out of sight. Any thread, no lock held. */
void cache_reap(struct block_cache *c);

/* ---- cache_log.c ---- */

void cache_log_init(struct block_cache *c, size_t least);
void cache_log_release(struct block_cache *c);
/* Is there room for more without evicting what somebody can find? */
bool cache_log_has_room(struct block_cache *c);
/* Copies b into the log and links the copy, if that can be done. */
void cache_log_add(struct block_cache *c, const struct cache_block *b);
/* b was unlinked (cache_unlink), and its chunk was not evicted. */
void cache_log_bury(struct block_cache *c, struct cache_block *b);
/* Evicts those chunks in which nothing is left. */
void cache_log_sweep(struct block_cache *c);
/* With the turn: gives up regions of so many bytes; false if there is none. */
bool cache_log_shrink(struct block_cache *c, size_t bytes);
/* With the lock: chunks whose grace period is over are free again. */
void cache_log_reap(struct block_cache *c);

#endif
