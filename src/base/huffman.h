/* SPDX-License-Identifier: ISC */
/*
 * Canonical Huffman codes as deflate has them (RFC 1951, 3.2.2): for a writer,
 * out of the frequencies of symbols. Reading them is inflate_code.h.
 *
 * Lengths are those of a minimum-redundancy code, found in place (Moffat,
 * Katajainen 1995); where they pass the limit they are cut, and the rarest of
 * the shorter ones lengthened instead. So a code is complete, unless it is of
 * one symbol.
 */
#ifndef LSMKV_BASE_HUFFMAN_H
#define LSMKV_BASE_HUFFMAN_H

#include <stdint.h>

#define HUFFMAN_SYMBOLS 288u /* at most */

struct huffman {
	uint32_t freq[HUFFMAN_SYMBOLS]; /* less than 2^23 */
	uint16_t word[HUFFMAN_SYMBOLS]; /* first bit lowest, as it is written */
	uint8_t bits[HUFFMAN_SYMBOLS];  /* of it; 0: no codeword */
};

/*
 * A code for those of the first `symbols` whose frequency is not 0, of at most
 * `most` bits each, which are enough for so many.
 */
void huffman_make(struct huffman *c, unsigned symbols, unsigned most);
/* How many symbols, at most `most`, end with one that has a codeword; at
   least `least`. */
unsigned huffman_used(const struct huffman *c, unsigned most, unsigned least);

#endif
