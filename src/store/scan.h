/* SPDX-License-Identifier: ISC */
/*
 * A scan: the live entries of a key range as one snapshot sees them, in byte
 * order of their keys, forward or backward.
 */
#ifndef LSMKV_STORE_SCAN_H
#define LSMKV_STORE_SCAN_H

#include "store/iter.h"

struct scan_range {
	struct slice start; /* inclusive; empty: from the first key */
	struct slice end;   /* exclusive; empty: to the last key */
	bool reverse;       /* from end to start */
};

struct scan; /* one thread at a time */

/*
 * source gives all entries in store order and is taken over. snapshot is the
 * newest version to be seen, now the epoch second for expiry. range is
 * copied. `release(arg)` is called when the scan closes (NULL allowed): what
 * keeps the source's memory alive goes there. On an error both are done with
 * at once.
 */
int scan_new(struct scan **out, struct iter *source,
             const struct scan_range *range, uint64_t snapshot, uint64_t now,
             void (*release)(void *arg), void *arg, struct err *err);
/* 0 and *e (good until the next call), LSMKV_END, or an error. */
int scan_next(struct scan *s, struct entry *e, struct err *err);
void scan_close(struct scan *s); /* NULL allowed */

#endif
