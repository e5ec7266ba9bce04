/* SPDX-License-Identifier: ISC */
/*
 * One budget: how much of the memory is set aside for memtables, and how much
 * the block cache may have of the rest.
 *
 * Three memtables are what there may be at most, but mostly there is one, and
 * it is not full. So what they are likely to need before anybody looks again is
 * set aside, in steps: each is taken long before the one before it is used up,
 * so that the flush thread has time to evict, and no writer has to. It is given
 * back to the cache only once it has not been needed for a while.
 *
 * The leader of the commit asks, the flush thread grants.
 */
#ifndef LSMKV_STORE_BUDGET_H
#define LSMKV_STORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/block_cache.h"

struct budget {
	size_t memory;   /* bytes, for both */
	size_t memtable; /* bytes of a full one */
	size_t sealed;   /* most of them that are not the active one */
	size_t cache;    /* the cache has never more; 0: no such limit */
	_Atomic size_t reserved; /* is set aside for memtables */
	_Atomic size_t asked;    /* should be */
	uint64_t raised_ns;      /* when more than now was last needed */
};

/* Everything is set aside that may be needed. */
void budget_init(struct budget *b, size_t memory, size_t memtable,
                 size_t sealed, size_t cache);
/* What the cache may have, at the least and at the most. */
size_t budget_cache_least(const struct budget *b);
size_t budget_cache_most(const struct budget *b);
/* What is to be set aside: with so many bytes in the active memtable, and so
   many sealed ones. */
size_t budget_need(const struct budget *b, size_t active, size_t sealed);
size_t budget_most(const struct budget *b); /* of that */
/* The leader's: true if the flush thread is to be woken for it. */
bool budget_ask(struct budget *b, size_t need);
/* The flush thread's: sets it aside, and evicts for it. */
void budget_settle(struct budget *b, struct block_cache *c, size_t need,
                   uint64_t now_ns);

#endif
