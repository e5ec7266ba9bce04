/* SPDX-License-Identifier: ISC */
/*
 * A zlib stream (RFC 1950, 1951) of a long text, made fast.
 *
 * For values that fill a block alone, where the libraries at their fastest
 * level are what a flush waits for: they look for a match at every place, and
 * in a text without any, such as most that is large and packed already, they
 * do so in vain. Here the search takes longer and longer steps as long as it
 * finds nothing (as in Snappy and LZ4), so that such a text costs little more
 * than counting its bytes for a code and writing them in it.
 *
 * Texts are cut into blocks with codes of their own; a block that would not
 * get smaller is stored. It is a stream like all others to any inflater.
 */
#ifndef LSMKV_BASE_DEFLATE_LONG_H
#define LSMKV_BASE_DEFLATE_LONG_H

#include "base/bytes.h"

/* Working memory, some 200 KB, for one thread at a time. */
struct deflate_long;

struct deflate_long *deflate_long_new(void);    /* NULL when out of memory */
void deflate_long_free(struct deflate_long *d); /* NULL allowed */

/*
 * Compresses text and appends the result to out. Returns 0, or LSMKV_END with
 * out unchanged where the result would not be smaller than text, or
 * LSMKV_ENOMEM.
 */
int deflate_long_run(struct deflate_long *d, struct slice text, struct buf *out,
                     struct err *err);

/*
 * How many matches the last text had. Where they are many, this is no faster
 * than a library, and leaves a few hundredths more.
 */
size_t deflate_long_matches(const struct deflate_long *d);

#endif
