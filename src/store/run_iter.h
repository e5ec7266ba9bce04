/* SPDX-License-Identifier: ISC */
/*
 * An iterator over a sorted run: SSTs that stand by key and do not overlap,
 * read one after the other, with one open at a time. A level below 0 is such
 * a run, and so are the inputs of a compaction that come from one.
 */
#ifndef LSMKV_STORE_RUN_ITER_H
#define LSMKV_STORE_RUN_ITER_H

#include "store/sst.h"

/* Holds a reference to each file. fill_cache: see sst_iter_new. */
int run_iter_new(struct iter **out, struct sst *const *files, size_t count,
                 bool fill_cache, struct err *err);
/* See sst_iter_read_ahead. */
void run_iter_read_ahead(struct iter *it, struct readahead_pool *p);

#endif
