/* SPDX-License-Identifier: ISC */
/*
 * The block cache: blocks in memory, ready to be searched, by file and offset.
 *
 * Holds what costs a read and an inflate to make: data blocks, and each SST's
 * index and filter. Bounded by capacity (bytes charged); what is pinned stays
 * whatever the capacity says, and is charged all the same. Sharded by hash,
 * one short mutex a shard, CLOCK eviction (a hit sets a bit and moves
 * nothing). A full cache remembers what it was asked for in vain, as 2Q's A1out
 * does (Johnson, Shasha 1994), so that the second time lets a block in.
 * Thread-safe. Never does I/O.
 */
#ifndef LSMKV_STORE_BLOCK_CACHE_H
#define LSMKV_STORE_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_cache;

/* The head of every cached object; its owner embeds it first. */
struct cache_block {
	uint64_t file;                       /* key: file number */
	uint64_t offset;                     /* key: offset in the file */
	size_t charge;                       /* bytes that it stands for */
	void (*free)(struct cache_block *b); /* called when nobody holds it */
	/* The rest is the cache's. */
	union {
		struct cache_block *next;  /* linked: in its hash chain */
		struct block_cache *owner; /* unlinked: charges it until it is
					      freed; NULL: nobody does */
	};
	struct cache_block *ring_next, *ring_prev; /* in its shard's clock */
	_Atomic uint32_t refs; /* pins, and one of the cache while linked */
	_Atomic uint8_t use;   /* clock: spared while not 0 */
	uint8_t keep;          /* what a hit sets `use` to: 1 for a data
				      block, 3 for an index or a filter */
};

struct block_cache_stat {
	size_t capacity, used; /* bytes */
	uint64_t hits, misses, evictions;
};

/* NULL when out of memory. */
struct block_cache *block_cache_new(size_t capacity);
/* Nothing may be pinned any more. NULL allowed. */
void block_cache_free(struct block_cache *c);

/* Pins and returns the block, or NULL. */
struct cache_block *block_cache_get(struct block_cache *c, uint64_t file,
                                    uint64_t offset);
/*
 * The same for who needs only a little of the block, and gets that cheaper
 * than by making it. Where it is not cached, *wanted says whether to make and
 * put it all the same: there is room for charge bytes, or else it was asked
 * for before, lately. So what is read once pushes nothing out.
 */
struct cache_block *block_cache_ask(struct block_cache *c, uint64_t file,
                                    uint64_t offset, size_t charge,
                                    bool *wanted);
/*
 * Hands b (heap memory, refs untouched) to the cache and returns it pinned;
 * where another thread was faster, b is freed and the other's is returned.
 * Never fails: what does not fit is unlinked again at once and lives as long
 * as its pin. Evicts what it must.
 */
struct cache_block *block_cache_put(struct block_cache *c,
                                    struct cache_block *b);
/* Gives a block that is never to be cached its one pin. */
void cache_block_init_private(struct cache_block *b);
/*
 * Counts a private block as used, until it is freed; evicts what it must for
 * that. Nobody finds it in the cache.
 */
void block_cache_charge(struct block_cache *c, struct cache_block *b);
void cache_block_pin(struct cache_block *b);   /* once more; it is pinned */
void cache_block_unpin(struct cache_block *b); /* NULL allowed */

/*
 * Pins b, which the caller has pinned, for long: for as long as the SST that
 * it belongs to is open, so that every read finds it without asking the cache.
 * Half of the capacity may be held; beyond that, false, and nothing is done.
 */
bool block_cache_hold(struct block_cache *c, struct cache_block *b);
void block_cache_unhold(struct block_cache *c, struct cache_block *b);

/* Forgets a file's blocks; those pinned go with their last pin. */
void block_cache_drop_file(struct block_cache *c, uint64_t file);
void block_cache_set_capacity(struct block_cache *c, size_t capacity);
void block_cache_get_stat(struct block_cache *c, struct block_cache_stat *s);

#endif
