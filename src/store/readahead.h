/* SPDX-License-Identifier: ISC */
/*
 * Reading ahead: while a long scan merges one block, another thread reads,
 * checks and inflates the blocks that come next in its direction.
 *
 * Blocks are claimed in runs, long enough that claiming and waking cost little
 * beside inflating. Both sides claim: the helper takes the next run that
 * nobody has, and so does the scan, when it comes to a run that nobody has, or
 * that the helper has not finished. So a scan whose helper never gets a
 * processor is a scan without a helper, and one that merges faster than it
 * inflates has both threads inflating.
 *
 * Helpers are for processors that no scan has: where as many threads scan as
 * there are processors, each does best on its own.
 *
 * How far ahead depends on what it is good for, as in the Linux page cache:
 * the window doubles with every run that had to be read, up to READAHEAD_RUNS
 * runs, and shuts after one whose blocks all were in the cache. A run is at
 * most an eighth of what was read before it: a scan that ends early has had
 * no more than three eighths of its blocks made in vain.
 *
 * What was made ahead is only ever a block that is right. Where one could not
 * be made, for whatever reason, the helper stops short, and the scan makes it
 * itself when it gets there: so errors come from the same code, at the same
 * entry, as without a helper, and an error ahead of where a scan ends is
 * nobody's.
 *
 * Memory: what stands ready is charged to the block cache, at most
 * READAHEAD_BYTES and a block a scan's iterator, and a pool lends helpers to
 * so many iterators only. Big blocks are left to the scan.
 *
 * Threads start when the first scan wants one, and stay. They hold no lock
 * while they read. Lock order: the pool's mutex is taken last.
 */
#ifndef LSMKV_STORE_READAHEAD_H
#define LSMKV_STORE_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define READAHEAD_RUNS 4u            /* at a time, the scan's own included */
#define READAHEAD_BYTES (256u << 10) /* inflated, in all of them */
#define READAHEAD_THREADS_MAX 4u

struct readahead_options {
	unsigned after;      /* blocks that an iterator reads in a row before it
			     is helped; at least 1 */
	unsigned threads;    /* at most; 0: nobody is helped */
	unsigned processors; /* that scans and their helpers share */
};

/* The defaults: of the processors of this process; a thread for each but one,
   at most READAHEAD_THREADS_MAX. */
void readahead_options_init(struct readahead_options *options);

struct sst;
struct sst_block;
struct sst_index;

/* The helpers of a store. Thread-safe. */
struct readahead_pool;

/*
 * memory_bytes: about what all iterators together may hold ready, though it
 * is always enough for one.
 */
int readahead_pool_new(struct readahead_pool **out,
                       const struct readahead_options *options,
                       uint64_t memory_bytes, struct err *err);
/*
 * Ends the threads; returns once they have made the block that they are at.
 * Nothing may be started or read any more. NULL allowed.
 */
void readahead_pool_free(struct readahead_pool *p);

/* ---- an iterator's; one thread at a time ---- */

struct readahead;

/* The blocks to read in a row before it is worth it; 0: it never is. */
unsigned readahead_after(const struct readahead_pool *p); /* NULL allowed */
/*
 * The iterator will want `block` next, and then the one behind it (or before
 * it, if backward), and so on. Holds a reference to the SST, and pins the
 * index. NULL where there is no help to be had, now.
 */
struct readahead *readahead_start(struct readahead_pool *p, struct sst *t,
                                  struct sst_index *x, uint32_t block,
                                  bool backward);
/*
 * The block that comes next, pinned. Not to be called behind the last one.
 * After an error, the same block comes next.
 */
int readahead_next(struct readahead *r, struct sst_block **out,
                   struct err *err);
/*
 * The iterator goes elsewhere, or closes. Never waits: a helper that is at it
 * lets go of the SST when it has made the block that it is at. NULL allowed.
 */
void readahead_stop(struct readahead *r);

struct readahead_stat {
	unsigned threads; /* that have started */
	uint64_t helped;  /* blocks that a helper made */
	uint64_t own;     /* blocks that scans with a helper made */
};

void readahead_get_stat(struct readahead_pool *p, struct readahead_stat *stat);

#endif
