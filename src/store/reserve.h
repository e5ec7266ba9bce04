/* SPDX-License-Identifier: ISC */
/*
 * The reserve: disk space kept back for getting out of a full disk.
 *
 * A full disk must still take deletions, and compaction needs room to turn
 * them into space. So the store holds a file of allocated blocks, RESERVE. On
 * the first sign of a full disk it is given up: sets are refused from then on
 * (LSMKV_ENOSPC, "disk full"), deletions and background work live on the
 * space that it held; deletions only while enough is left to flush them and
 * to compact. Once it can be held again, with room to spare, sets are
 * accepted again. Nobody needs to restart or to tell the store.
 *
 *     held --(ENOSPC, or too small)--> given up: low --(room again)--> held
 *
 * Its size follows that of the tree, since what a compaction needs at once
 * grows with it, and that of the memtables, which want to be flushed. An
 * empty store reserves next to nothing. And as long as the disk has room in
 * plenty, many times what would be held and a gigabyte more, so that nobody
 * fills it from one look to the next, all of them hold but a megabyte: who
 * has a large disk need not pay for a full one.
 */
#ifndef LSMKV_STORE_RESERVE_H
#define LSMKV_STORE_RESERVE_H

#include <pthread.h>

#include "base/fsio.h"

struct reserve {
	struct fs_dir *dir;        /* borrowed */
	pthread_mutex_t mutex;     /* over what follows */
	uint64_t held;             /* bytes of the file; 0: there is none */
	_Atomic bool low;          /* given up: sets are refused */
	_Atomic uint64_t given_up; /* how often */
};

/* Takes over what an earlier owner of the directory left. */
void reserve_init(struct reserve *r, struct fs_dir *dir);
void reserve_release(struct reserve *r); /* the file stays */

/* The size that a tree and memtables of so many bytes ask for. */
uint64_t reserve_target(uint64_t tree_bytes, uint64_t memtable_bytes);
/*
 * Brings the file to about `target` bytes, or to a megabyte of them where
 * there is room in plenty; where there is no room for that, the disk is as
 * good as full, and it is given up. When low: only if there is
 * room for that and more, and then the store is not low any more.
 */
void reserve_hold(struct reserve *r, uint64_t target);
/*
 * The disk is full: gives the space back to the file system. True if there
 * was any, so that what failed is worth another try.
 */
bool reserve_give_up(struct reserve *r);
/*
 * When low: may a deletion go on living on the reserve, with a tree and
 * memtables of so many bytes?
 */
bool reserve_has_room(struct reserve *r, uint64_t tree_bytes,
                      uint64_t memtable_bytes);

#endif
