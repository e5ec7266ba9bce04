/* SPDX-License-Identifier: ISC */
/*
 * The memtable: the newest entries, sorted, in memory.
 *
 * A linked list in an arena, with a B+-tree over it that says where in the
 * list to begin. One thread adds at a time (the leader of the commit); any
 * number read meanwhile without a lock: a node is linked with a release store
 * once it is whole, and nothing is ever unlinked. The tree's pages hold the
 * first eight bytes of each key as a number, so that most comparisons on the
 * way down touch nothing else.
 */
#ifndef LSMKV_STORE_MEMTABLE_H
#define LSMKV_STORE_MEMTABLE_H

#include "store/iter.h"

struct memtable;

/*
 * segment is the WAL segment that holds the same entries. One reference.
 * NULL when out of memory.
 */
struct memtable *memtable_new(uint64_t segment);
struct memtable *memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL allowed */

/*
 * Makes sure that entries of `bytes` in all (memtable_entry_bytes) can be
 * added without failing: the one place that reports LSMKV_ENOMEM, before a
 * group is logged.
 */
int memtable_reserve(struct memtable *m, size_t bytes, struct err *err);
size_t memtable_entry_bytes(const struct entry *e);
/* Copies e in, out of what was reserved. (key, version) is new. */
void memtable_add(struct memtable *m, const struct entry *e);

/*
 * The newest version of key that is <= version: 0 and *e, which is good as
 * long as a reference is held; or LSMKV_NOTFOUND.
 */
int memtable_get(struct memtable *m, struct slice key, uint64_t version,
                 struct entry *e);
/* Sees entries added later, too, unless the caller bounds their version. */
int memtable_iter_new(struct iter **out, struct memtable *m, struct err *err);

uint64_t memtable_segment(const struct memtable *m);
/* Of memory in use; of large entries, all of the huge pages they began. */
size_t memtable_bytes(const struct memtable *m);
uint64_t memtable_entries(const struct memtable *m);
uint64_t memtable_tombstones(const struct memtable *m);
uint64_t memtable_max_version(const struct memtable *m); /* 0: empty */

#endif
