/* SPDX-License-Identifier: ISC */
/*
 * What every sorted source of entries (memtable, SST, merge, scan) offers.
 *
 * An iterator stands on one entry or is not valid. Moves return 0 and set
 * `valid`; running off either end is not an error. After an error (negative)
 * the iterator is not valid and stays so until the next seek or first/last.
 * entry borrows from the iterator: it is good until its next move or close.
 * One thread at a time.
 */
#ifndef LSMKV_STORE_ITER_H
#define LSMKV_STORE_ITER_H

#include "store/entry.h"

struct iter;

struct iter_ops {
	/* To the first entry at or behind (key, version) in store order. */
	int (*seek)(struct iter *it, struct slice key, uint64_t version,
	            struct err *err);
	/* To the last entry before (key, version) in store order. */
	int (*seek_before)(struct iter *it, struct slice key, uint64_t version,
	                   struct err *err);
	int (*first)(struct iter *it, struct err *err);
	int (*last)(struct iter *it, struct err *err);
	/* Only on a valid iterator. */
	int (*next)(struct iter *it, struct err *err);
	int (*prev)(struct iter *it, struct err *err);
	void (*close)(struct iter *it);
};

struct iter {
	const struct iter_ops *ops;
	bool valid;         /* does it stand on an entry? */
	struct entry entry; /* that entry, borrowed */
};

static inline int
iter_seek(struct iter *it, struct slice key, uint64_t version, struct err *err)
{
	return it->ops->seek(it, key, version, err);
}

static inline int
iter_seek_before(struct iter *it, struct slice key, uint64_t version,
                 struct err *err)
{
	return it->ops->seek_before(it, key, version, err);
}

static inline int
iter_first(struct iter *it, struct err *err)
{
	return it->ops->first(it, err);
}

static inline int
iter_last(struct iter *it, struct err *err)
{
	return it->ops->last(it, err);
}

static inline int
iter_next(struct iter *it, struct err *err)
{
	return it->ops->next(it, err);
}

static inline int
iter_prev(struct iter *it, struct err *err)
{
	return it->ops->prev(it, err);
}

static inline void
iter_close(struct iter *it)
{
	if (it)
		it->ops->close(it);
}

#endif
