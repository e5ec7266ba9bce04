/* SPDX-License-Identifier: ISC */
/*
 * The Huffman codes of deflate (RFC 1951), and the bits they are read from:
 * what inflate_prefix.c and inflate_parts.c share, and nobody else includes.
 *
 * The bits of the stream stand in a word, the next one lowest. A word is
 * filled to at least 56 bits: enough for five literals out of a table, or for a
 * match, whose length and offset take 20 and 28 at most. It holds all 64 that
 * the stream has, whatever of them counts as filled: what follows five literals
 * is looked up in the last 14. Behind the end of the stream come zeros; they
 * are counted, and in the end must not have been used.
 *
 * Codes are decoded through tables of the shorter codewords, filled by
 * doubling, as in libdeflate (Eric Biggers); longer ones, which are rare, bit
 * by bit, as in zlib's puff (Mark Adler). Codes that leave words unused are
 * taken, and so are codewords of symbols that deflate does not have, where the
 * text does not use them.
 */
#ifndef LSMKV_BASE_INFLATE_CODE_H
#define LSMKV_BASE_INFLATE_CODE_H

#include <endian.h>
#include <stdint.h>

#include "base/bytes.h"

#define INFLATE_LITERALS 5u /* of the table, from one filled word */

/*
 * What a codeword stands for: its bits (0 in a table: it is longer than that),
 * what it is, the extra bits behind it, and a base in the upper half. The bits
 * stand where a shift by the whole entry takes them from.
 */
#define INFLATE_ENTRY_BITS 0x3fu
#define INFLATE_ENTRY_LITERAL 0x40u
#define INFLATE_ENTRY_END 0x80u
#define INFLATE_ENTRY_INVALID 0x100u
#define INFLATE_ENTRY_EXTRA_SHIFT 12u
#define INFLATE_ENTRY_EXTRA 0x0fu
#define INFLATE_ENTRY_BASE_SHIFT 16u

/* The bits of a stream from some place on. */
struct inflate_bits {
	const unsigned char *at, *end;
	uint64_t hold;  /* the next ones */
	unsigned count; /* of them */
	size_t past;    /* bytes of zeros behind the end */
};

static inline void
inflate_refill(struct inflate_bits *b)
{
	if (b->end - b->at >= 8) {
		uint64_t v;

		memcpy(&v, b->at, sizeof(v));
		b->hold |= le64toh(v) << b->count;
		b->at += (63 - b->count) / 8;
		b->count |= 56;
		return;
	}
	while (b->count <= 56) {
		if (b->at < b->end)
			b->hold |= (uint64_t)*b->at++ << b->count;
		else
			b->past++;
		b->count += 8;
	}
	/* A table may be asked behind the bits that count, as above. */
	if (b->count < 64 && b->at < b->end)
		b->hold |= (uint64_t)*b->at << b->count;
}

/* The next n bits, of which there are as many. */
static inline unsigned
inflate_take(struct inflate_bits *b, unsigned n)
{
	unsigned v = (unsigned)(b->hold & (((uint64_t)1 << n) - 1));

	b->hold >>= n;
	b->count -= n;
	return v;
}

/* The base of e, whose bits are taken, with the extra bits behind it. */
static inline unsigned
inflate_with_extra(struct inflate_bits *b, uint32_t e)
{
	return (e >> INFLATE_ENTRY_BASE_SHIFT) +
	       inflate_take(b, e >> INFLATE_ENTRY_EXTRA_SHIFT &
	                               INFLATE_ENTRY_EXTRA);
}

/* ---- codes ---- */

#define INFLATE_CODES_MAX 288u /* symbols of the largest code */

/* A Huffman code. */
struct inflate_code {
	uint32_t *table;    /* by the next bits of the stream */
	unsigned bits;      /* as many: as its longest has, but bits_max */
	unsigned bits_max;  /* the table has room for */
	uint16_t count[16]; /* symbols, by length of their codewords */
	uint16_t sorted[INFLATE_CODES_MAX]; /* by length, then by themselves */
};

/* The codes of a block, and the memory that they need, used again and again by
   one thread at a time. */
struct inflate_codes {
	uint32_t lengths_table[1u << 7], litlen_table[1u << 10];
	uint32_t offset_table[1u << 8];
	struct inflate_code lengths, litlen, offset;
};

/* Those that a block of type 2 begins with; false if they cannot be. */
bool inflate_codes_read(struct inflate_codes *p, struct inflate_bits *b);
/* Those of a block of type 1. */
bool inflate_codes_fixed(struct inflate_codes *p);
/*
 * The entry of a codeword that is longer than the table, whose bits come first
 * in hold; INFLATE_ENTRY_INVALID where there is no such.
 */
uint32_t inflate_long_litlen(const struct inflate_codes *p, uint64_t hold);
uint32_t inflate_long_offset(const struct inflate_codes *p, uint64_t hold);

#endif
