/* SPDX-License-Identifier: ISC */
#include "store/budget.h"

#include <stdatomic.h>

#include "base/huge.h"

#define FIRST_STEP                                                             \
	8u             /* this share of a memtable is full: all of it is set
			  aside; */
#define SECOND_STEP 2u /* this share: the next one, too */
#define IDLE_SHARE 2u  /* before that, this share of one */
#define CALM_NS UINT64_C(2000000000)
#define SLACK_SHARE 16u   /* of the memory: not used while the cache grows */
#define TABLES_SHARE 128u /* of the memory: the cache's own tables */

size_t
budget_most(const struct budget *b)
{
	return (b->sealed + 1) * b->memtable;
}

static size_t
less(size_t from, size_t what)
{
	return from > what ? from - what : 0;
}

static size_t
cache_of(const struct budget *b, size_t reserved)
{
	size_t rest = less(b->memory, b->memory / TABLES_SHARE);
	size_t least = less(rest, budget_most(b));
	/* What malloc holds grew while there was less to share. */
	size_t left = less(rest, reserved + b->memory / SLACK_SHARE);

	if (left < least)
		left = least;
	return b->cache && b->cache < left ? b->cache : left;
}

void
budget_init(struct budget *b, size_t memory, size_t memtable, size_t sealed,
            size_t cache)
{
	b->memory = memory;
	b->memtable = memtable;
	b->sealed = sealed;
	b->cache = cache;
	b->raised_ns = 0;
	atomic_init(&b->reserved, budget_most(b));
	atomic_init(&b->asked, budget_most(b));
}

size_t
budget_cache_least(const struct budget *b)
{
	return cache_of(b, budget_most(b));
}

size_t
budget_cache_most(const struct budget *b)
{
	return cache_of(b, budget_need(b, 0, 0));
}

size_t
budget_need(const struct budget *b, size_t active, size_t sealed)
{
	/* A large value fills it at once, or more than that. */
	if (sealed || active >= b->memtable)
		return budget_most(b);
	if (active >= b->memtable / SECOND_STEP)
		return 2 * b->memtable;
	if (active >= b->memtable / FIRST_STEP)
		return b->memtable;
	return b->memtable / IDLE_SHARE;
}

bool
budget_ask(struct budget *b, size_t need)
{
	size_t asked = atomic_load_explicit(&b->asked, memory_order_relaxed);

	return need > asked &&
	       atomic_compare_exchange_strong(&b->asked, &asked, need);
}

void
budget_settle(struct budget *b, struct block_cache *c, size_t need,
              uint64_t now_ns)
{
	size_t reserved = atomic_load(&b->reserved);

	if (need >= reserved)
		b->raised_ns = now_ns;
	else if (now_ns - b->raised_ns < CALM_NS)
		need = reserved;
	/* Who asks for more from here on is heard. */
	atomic_store(&b->asked, need);
	if (need < reserved) {
		atomic_store(&b->reserved, need);
		/* What memtables had is not resident any more. */
		huge_trim();
	}
	/* Also when nothing changes: what was evicted may be freed by now. */
	block_cache_set_capacity(c, cache_of(b, need));
	atomic_store(&b->reserved, need);
}
