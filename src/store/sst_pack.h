/* SPDX-License-Identifier: ISC */
/*
 * Bytes of few kinds, packed: each as its place in the alphabet of all that
 * occur, in as many bits as that needs.
 *
 * Helps keys whose unshared parts have few distinct bytes in no order:
 * decimal numbers, hexadecimal hashes, UUIDs. Deflate finds no matches there,
 * its codes of whole bits come to the same size as packing does at best, in a
 * table that then fits neither the keys nor the values, and are much slower to
 * decode. Other keys, words and paths and arbitrary bytes, stay in the deflated
 * stream: the writer tries both on every 64th block (sst_write.c).
 * doc/format.md, "Packed columns", describes the bytes. Pure data: no I/O;
 * nothing is trusted.
 */
#ifndef LSMKV_STORE_SST_PACK_H
#define LSMKV_STORE_SST_PACK_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

/* Bytes behind the packed ones that must be readable, and behind the unpacked
   ones that must be writable: both are handled eight at a time. */
#define SST_PACK_SLACK 8u

/* Appends bytes (at least one) to out, packed. LSMKV_ENOMEM leaves it alone. */
int sst_pack(struct slice bytes, struct buf *out, struct err *err);

struct sst_packed {
	const unsigned char *bits; /* borrowed */
	size_t count;              /* bytes once unpacked; at least 1 */
	unsigned width;            /* bits of each: 0 to 8 */
	unsigned symbols;          /* in the alphabet: 1 to 256 */
	unsigned char symbol[256]; /* ascending; zeros behind them */
};

/*
 * Looks at what sst_pack wrote at the start of from. Returns the bytes that it
 * takes; 0 if it cannot be, or would unpack to more than count_max.
 */
size_t sst_packed_open(struct sst_packed *p, struct slice from,
                       size_t count_max);
/* Byte i < p->count; SST_PACK_OUTSIDE: a place outside of the alphabet. */
#define SST_PACK_OUTSIDE 256u
static inline unsigned
sst_packed_byte(const struct sst_packed *p, size_t i)
{
	size_t bit = i * p->width;
	unsigned place;
	uint16_t v;

	memcpy(&v, p->bits + bit / 8, sizeof(v));
	place = (unsigned)le16toh(v) >> bit % 8 & ((1u << p->width) - 1);
	return place < p->symbols ? p->symbol[place] : SST_PACK_OUTSIDE;
}

/* Writes p->count bytes to `to`. False: a place outside of the alphabet. */
bool sst_unpack(const struct sst_packed *p, unsigned char *to);

#endif
