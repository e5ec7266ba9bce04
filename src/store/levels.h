/* SPDX-License-Identifier: ISC */
/*
 * The tree: which SSTs live in which level. Immutable and shared; a change
 * makes a new one that shares the SSTs. Pure: no I/O, no locks.
 *
 * Level 0 holds flushed memtables: they overlap and stand newest first (by
 * max_version). In every deeper level files stand by key and do not overlap:
 * one sorted run. A key's versions get older from level to level; all of one
 * key in a deeper level stand in one file.
 */
#ifndef LSMKV_STORE_LEVELS_H
#define LSMKV_STORE_LEVELS_H

#include "store/sst.h"

#define LEVELS_MAX 7u

struct level {
	struct sst **files; /* each holds a reference */
	size_t count;
	uint64_t bytes; /* sum of their sizes */
};

struct levels {
	_Atomic unsigned refs;
	struct level level[LEVELS_MAX];
};

struct levels_added {
	unsigned level;
	struct sst *file;
};

struct levels_removed {
	unsigned level;
	uint64_t number; /* of the file */
};

/* A change of the tree. Arrays are the caller's; nothing is owned. */
struct levels_edit {
	struct levels_added *added;
	size_t added_count;
	struct levels_removed *removed;
	size_t removed_count;
};

/* An empty tree with one reference; NULL when out of memory. */
struct levels *levels_new(void);
struct levels *levels_ref(struct levels *l);
void levels_unref(struct levels *l); /* NULL allowed */

/*
 * base with the edit applied: *out has one reference, base is unchanged.
 * LSMKV_ECORRUPT if the result breaks an invariant above, or if something to
 * be removed is not there: then the edit must not be installed.
 */
int levels_apply(const struct levels *base, const struct levels_edit *edit,
                 struct levels **out, struct err *err);

/* The file of level n >= 1 whose key range holds key, or NULL. */
struct sst *levels_find(const struct levels *l, unsigned n, struct slice key);
/* Files [*first, *first + *count) of level n >= 1 overlap [smallest, largest]. */
void levels_overlap(const struct levels *l, unsigned n, struct slice smallest,
                    struct slice largest, size_t *first, size_t *count);
/* Sums over all levels. */
uint64_t levels_bytes(const struct levels *l);
uint64_t levels_entries(const struct levels *l);

#endif
