/* SPDX-License-Identifier: ISC */
/*
 * A blocked bloom filter: all probes of a key fall into one 64-byte line, so
 * that a look-up costs one cache miss (Putze, Sanders, Singler: Cache-, Hash-
 * and Space-Efficient Bloom Filters, 2007). Its bytes are part of the SST
 * format (doc/format.md, "Filter").
 */
#ifndef LSMKV_STORE_BLOOM_H
#define LSMKV_STORE_BLOOM_H

#include <stdint.h>

#include "base/bytes.h"

#define BLOOM_LINE 64u /* bytes */

/*
 * Appends a filter over n key hashes to out. No key may be missing from it
 * afterwards: a false "no" would be a lost key.
 */
int bloom_build(const uint64_t *hashes, size_t n, unsigned bits_per_key,
                struct buf *out, struct err *err);
/* Is it of a shape that bloom_build writes? For filters from the disk. */
bool bloom_valid(struct slice filter);
/*
 * False only when the key is certainly not there. filter is empty (true for
 * every key) or valid.
 */
bool bloom_may_contain(struct slice filter, uint64_t hash);

#endif
