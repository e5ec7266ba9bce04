/* SPDX-License-Identifier: ISC */
/*
 * What all that writes deflate's blocks has in common (RFC 1951): symbols of
 * lengths and offsets, bits, and how a block with codes of its own begins.
 * Reading it is inflate_code.h; codes themselves are huffman.h.
 */
#ifndef LSMKV_BASE_DEFLATE_CODE_H
#define LSMKV_BASE_DEFLATE_CODE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/huffman.h"

#define DEFLATE_LITLENS 286u
#define DEFLATE_OFFSETS 30u
#define DEFLATE_END_OF_BLOCK 256u
#define DEFLATE_FIRST_LENGTH 257u
#define DEFLATE_LENGTHS (DEFLATE_LITLENS - DEFLATE_FIRST_LENGTH)
#define DEFLATE_MATCH_MAX 258u
/* Bytes: 316 lengths of at most 7 + 1 bits, and room to write eight at a
   time. */
#define DEFLATE_HEAD_MAX 360u
/* The first two bytes of zlib's format: deflate, a window of 32 KiB. */
#define DEFLATE_ZLIB_HEAD 0x9c78u

/* Where the code of each length and offset begins (RFC 1951, 3.2.5). */
extern const uint16_t deflate_length_base[DEFLATE_LENGTHS];
extern const uint8_t deflate_length_extra[DEFLATE_LENGTHS];
extern const uint16_t deflate_offset_base[DEFLATE_OFFSETS];

/* The symbols of lengths from 3 on, less DEFLATE_FIRST_LENGTH. */
void deflate_length_symbols(uint8_t symbol[DEFLATE_MATCH_MAX + 1]);

static inline unsigned
deflate_log2(unsigned v)
{
	return 31 - (unsigned)__builtin_clz(v);
}

/* Two codes share each power of two from 4 on: their second bit differs. */
static inline unsigned
deflate_offset_symbol(unsigned offset)
{
	unsigned v = offset - 1, log;

	if (v < 4)
		return v;
	log = deflate_log2(v);
	return 2 * log + (v >> (log - 1) & 1);
}

static inline unsigned
deflate_offset_extra(unsigned symbol)
{
	return symbol < 4 ? 0 : symbol / 2 - 1;
}

/* ---- texts ---- */

static inline uint32_t
deflate_load_u32(const unsigned char *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline uint64_t
deflate_load_u64(const unsigned char *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

/* Of four bytes, loaded; the upper bits are the better ones. */
static inline uint32_t
deflate_hash(uint32_t four_bytes)
{
	return four_bytes * 0x9e3779b1u;
}

/* How far a and b are alike, at most `most`. */
static inline unsigned
deflate_alike(const unsigned char *a, const unsigned char *b, unsigned most)
{
	unsigned n = 0;

	for (; n + 8 <= most; n += 8) {
		uint64_t differ =
			deflate_load_u64(a + n) ^ deflate_load_u64(b + n);

		if (differ)
			return n + (unsigned)__builtin_ctzll(differ) / 8;
	}
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

/* ---- bits ---- */

struct deflate_bits {
	unsigned char *at, *end; /* of the room */
	uint64_t hold;           /* not written yet, the first lowest */
	unsigned count;          /* of hold */
	bool full;               /* the room was not enough */
};

static inline void
deflate_put(struct deflate_bits *b, uint64_t v, unsigned n)
{
	b->hold |= v << b->count;
	b->count += n;
}

/* Leaves at most seven bits in hold. */
static inline void
deflate_flush(struct deflate_bits *b)
{
	uint64_t v = htole64(b->hold);
	unsigned bytes = b->count / 8;

	if ((size_t)(b->end - b->at) < sizeof(v)) {
		if (bytes > (size_t)(b->end - b->at)) {
			b->full = true;
			bytes = 0;
			b->count = 0;
			b->hold = 0;
		}
		memcpy(b->at, &v, bytes);
	} else {
		memcpy(b->at, &v, sizeof(v));
	}
	b->at += bytes;
	b->hold = bytes < 8 ? b->hold >> 8 * bytes : 0;
	b->count -= 8 * bytes;
}

static inline uint64_t
deflate_bits_so_far(const struct deflate_bits *b, const unsigned char *start)
{
	return 8 * (uint64_t)(b->at - start) + b->count;
}

/*
 * The beginning of a block with these two codes, each of which has a codeword
 * at least: at most DEFLATE_HEAD_MAX bytes.
 */
void deflate_put_codes(struct deflate_bits *b, const struct huffman *litlen,
                       const struct huffman *offset, bool last);

#endif
