/* SPDX-License-Identifier: ISC */
/*
 * The beginning of a zlib stream (RFC 1950, 1951), inflated up to where it is
 * wanted and no further.
 *
 * The libraries cannot be asked for that: what libdeflate leaves in a buffer
 * that is too small is not documented, and zlib's inflate() costs more than
 * libdeflate takes for the whole. An Adler-32 is of the whole stream and is
 * not looked at, so this is for streams that another checksum has confirmed;
 * deflate.h is for all others. What is not a stream does no harm all the same,
 * though not all of it is refused that zlib refuses: codes that leave words
 * unused are taken, and so are codewords of symbols that deflate does not have,
 * where the text does not use them.
 *
 * Huffman codes are decoded through tables of the shorter ones, filled by
 * doubling, as in libdeflate (Eric Biggers); longer ones, which are rare, bit
 * by bit, as in zlib's puff (Mark Adler).
 */
#ifndef LSMKV_BASE_INFLATE_PREFIX_H
#define LSMKV_BASE_INFLATE_PREFIX_H

#include <stdint.h>

#include "base/bytes.h"

/* Bytes behind the wanted ones that may be written: a match of 258 bytes that
   began before their end, eight bytes at a time. */
#define INFLATE_PREFIX_SLACK 272u

#define INFLATE_CODES_MAX 288u /* symbols of the largest code */

/* A Huffman code. */
struct inflate_code {
	uint32_t *table;    /* by the next bits of the stream */
	unsigned bits;      /* as many: as its longest has, but bits_max */
	unsigned bits_max;  /* the table has room for */
	uint16_t count[16]; /* symbols, by length of their codewords */
	uint16_t sorted[INFLATE_CODES_MAX]; /* by length, then by themselves */
};

/* Working memory, reused from stream to stream by one thread at a time. */
struct inflate_prefix {
	uint32_t lengths_table[1u << 7], litlen_table[1u << 10];
	uint32_t offset_table[1u << 8];
	struct inflate_code lengths, litlen, offset;
};

/*
 * Inflates the first `wanted` bytes of the stream into out, which has room for
 * INFLATE_PREFIX_SLACK more. False if they are not to be had from it; what is
 * in out then means nothing.
 */
bool inflate_prefix(struct inflate_prefix *p, struct slice stream,
                    unsigned char *out, size_t wanted);

#endif
