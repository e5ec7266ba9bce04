/* SPDX-License-Identifier: ISC */
/*
 * The block cache: blocks in memory, ready to be searched, by file and offset.
 *
 * Holds what costs a read and an inflate to make: data blocks, and each SST's
 * index and filter. Bounded by capacity (bytes charged); what is pinned stays
 * whatever the capacity says, and is charged all the same. Thread-safe. Never
 * does I/O.
 *
 * Who looks a block up takes no lock and writes to nothing that threads share,
 * but for the mark of a block that was not in use lately. It is inside
 * (grace.h) as long as it looks at the block, and copies what it wants to keep.
 *
 * Data blocks live in a log, which is a queue of chunks (cache_log.h): each is
 * copied to its end, and room is made at its beginning, where blocks that were
 * used are copied on. This is the CLOCK, with a hand that moves the blocks: so
 * nothing is ever left between them, and what is freed is a chunk, not a block.
 * What is too big for that, indexes and filters are on the heap, have
 * references, and a CLOCK of their own, whose hand keeps step with the log.
 *
 * A full cache remembers what it was asked for in vain, as 2Q's A1out does
 * (Johnson, Shasha 1994), so that the second time lets a block in.
 */
#ifndef LSMKV_STORE_BLOCK_CACHE_H
#define LSMKV_STORE_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_cache;

/*
 * The head of every block; its owner embeds it first. What follows it in a data
 * block points nowhere into the block, since the cache copies that.
 */
struct cache_block {
	uint64_t file;   /* key: file number */
	uint64_t offset; /* key: offset in the file */
	size_t size;     /* bytes, this head included */
	/* The rest is the cache's. */
	_Atomic(struct cache_block *) next; /* in its hash chain */
	_Atomic uint32_t refs; /* on the heap: pins, and one of the cache
				  while linked */
	_Atomic uint8_t use;   /* clock: spared while not 0 */
	uint8_t keep;          /* what a hit sets `use` to: 1 for a data block,
				  3 for an index or a filter */
	bool in_log;           /* else on the heap */
	bool linked;           /* in its chain; under its shard's lock */
};

#define CACHE_KEEP_DATA 1u
#define CACHE_KEEP_LONG 3u

struct block_cache_stat {
	size_t capacity, used; /* bytes */
	uint64_t hits, misses, evictions;
};

/* NULL when out of memory. */
struct block_cache *block_cache_new(size_t capacity);
/*
 * The same for one whose capacity will change, from `least`, which it has at
 * first, up to `most`: what goes by the capacity (how much may be held, how
 * many buckets there are) is made for these. More than `most` is slower, and
 * not wrong.
 */
struct block_cache *block_cache_new_between(size_t least, size_t most);
/* Nothing may be pinned any more, and nobody inside may look at it. NULL
   allowed. */
void block_cache_free(struct block_cache *c);

/* ---- blocks on the heap ---- */

/*
 * `size` bytes, the head filled in, with one private pin; NULL when out of
 * memory. What is kept long begins on a cache line.
 */
struct cache_block *cache_block_new(uint64_t file, uint64_t offset, size_t size,
                                    uint8_t keep);
void cache_block_pin(struct cache_block *b);   /* once more; it is pinned */
void cache_block_unpin(struct cache_block *b); /* NULL allowed */

/* ---- looking up ---- */

/*
 * The block, or NULL. The caller is inside; good until it leaves. For who needs
 * only a little of it, and gets that cheaper than by making it: where it is not
 * cached, *wish says whether to put it all the same, so that what is read once
 * pushes nothing out.
 */
enum cache_wish {
	CACHE_ROOM,  /* there is room for `size` bytes */
	CACHE_TIGHT, /* there is none, but it was asked for before, lately */
	CACHE_FULL,  /* neither */
};
struct cache_block *block_cache_ask(struct block_cache *c, uint64_t file,
                                    uint64_t offset, size_t size,
                                    enum cache_wish *wish);
/* Is there room for `size` bytes? */
bool block_cache_has_room(struct block_cache *c, size_t size);
/*
 * For who stays longer: the block, pinned, or a private copy of it. NULL if it
 * is not there, or if there is no memory for the copy.
 */
struct cache_block *block_cache_get(struct block_cache *c, uint64_t file,
                                    uint64_t offset);

/* ---- filling ---- */

/*
 * Hands b (of cache_block_new, one private pin) to the cache. Returns what the
 * caller has a pin of from now on: b, or where another thread was faster with
 * an index or the like, the other's. Never fails: what does not fit lives as
 * long as its pin. Evicts what it must, and waits for nobody.
 */
struct cache_block *block_cache_put(struct block_cache *c,
                                    struct cache_block *b);
/* Has b, which is pinned or looked at from inside, found no more, unless that
   is so already. */
void block_cache_remove(struct block_cache *c, struct cache_block *b);
/*
 * Counts a private block as used, until it is freed; evicts what it must for
 * that. Nobody finds it in the cache. What was found there already is charged.
 */
void block_cache_charge(struct block_cache *c, struct cache_block *b);

/*
 * Pins b, which the caller has pinned, for long: for as long as the SST that
 * it belongs to is open, so that every read finds it without asking the cache.
 * Half of the (least) capacity may be held; beyond that, false, and nothing is
 * done.
 */
bool block_cache_hold(struct block_cache *c, struct cache_block *b);
void block_cache_unhold(struct block_cache *c, struct cache_block *b);

/* Forgets a file's blocks; those pinned go with their last pin. */
void block_cache_drop_file(struct block_cache *c, uint64_t file);
/*
 * Evicts down to it, a step at a time. What those who are inside may still
 * look at goes a little later, with the next call for this cache.
 */
void block_cache_set_capacity(struct block_cache *c, size_t capacity);
void block_cache_get_stat(struct block_cache *c, struct block_cache_stat *s);

#endif
