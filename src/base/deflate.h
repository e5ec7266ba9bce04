/* SPDX-License-Identifier: ISC */
/*
 * Compression of one block at a time in zlib's format (RFC 1950).
 *
 * Built on libdeflate where configure found it, on zlib otherwise; both write
 * and read the same format, so a store moves freely between the two builds.
 * A deflater or inflater is a working memory that is reused from block to
 * block; it belongs to one thread at a time.
 */
#ifndef LSMKV_BASE_DEFLATE_H
#define LSMKV_BASE_DEFLATE_H

#include "base/bytes.h"

#define DEFLATE_FAST 1  /* level 0 SSTs */
#define DEFLATE_DENSE 6 /* everything below */

struct deflater;
struct inflater;

/* level: 1 (fast) to 9 (dense). NULL when out of memory. */
struct deflater *deflater_new(int level);
void deflater_free(struct deflater *d); /* NULL allowed */

/*
 * Compresses raw and appends the result to out, whose memory is reused.
 * Returns 0, or LSMKV_END with out unchanged where the result would not be
 * smaller than raw, or LSMKV_ENOMEM.
 */
int deflater_run(struct deflater *d, struct slice raw, struct buf *out,
                 struct err *err);

struct inflater *inflater_new(void);
void inflater_free(struct inflater *i); /* NULL allowed */

/*
 * Inflates packed into out, which has room for exactly raw_len bytes.
 * LSMKV_ECORRUPT if packed is not one whole stream of exactly that length;
 * nothing past out + raw_len is ever written.
 */
int inflater_run(struct inflater *i, struct slice packed, unsigned char *out,
                 size_t raw_len, struct err *err);

#endif
