/* SPDX-License-Identifier: ISC */
/*
 * Inflating one part, or all parts at once, of a stream of deflate_parts.h.
 *
 * One part costs the reading of the codes and no more than its own text. All
 * of them are inflated side by side, a few at a time: each symbol has to wait
 * for the one before it in its part, and a processor has others to do
 * meanwhile (as zstd's four streams of literals; Collet).
 *
 * This is for streams that a checksum has confirmed, as inflate_prefix.h is:
 * the Adler-32 is not looked at. What is no such stream does no harm all the
 * same.
 */
#ifndef LSMKV_BASE_INFLATE_PARTS_H
#define LSMKV_BASE_INFLATE_PARTS_H

#include "base/inflate_code.h"

/* A stream whose codes are read. */
struct inflate_parts {
	const struct inflate_codes *codes; /* borrowed */
	struct slice stream;               /* borrowed */
	uint64_t first_bit;                /* where the first part begins */
};

/* Where a part is. */
struct inflate_part {
	size_t begin, end; /* in the text */
	uint64_t bit;      /* in the stream, from the first part's on */
	bool refers;       /* it copies from the first part, too */
};

/*
 * Reads the head of stream into codes, which x then borrows like stream. False
 * if it is not one in parts.
 */
bool inflate_parts_begin(struct inflate_parts *x, struct inflate_codes *codes,
                         struct slice stream);
/* The same with codes that were read of a stream which begins with the same
   head_bits. */
void inflate_parts_begin_with(struct inflate_parts *x,
                              const struct inflate_codes *codes,
                              struct slice stream, uint32_t head_bits);
/*
 * Inflates part, or as much of its beginning as `end` says, to where it belongs
 * in text, and touches nothing else of it. If it refers to the first part, that
 * has to be there, with first_len bytes. False if it is damaged; what is there
 * then means nothing.
 */
bool inflate_part_take(const struct inflate_parts *x,
                       const struct inflate_part *part, size_t first_len,
                       unsigned char *text);
/*
 * Inflates all of them. parts[count].bit says where the last one ends. False if
 * one is damaged, or does not end where the next one begins.
 */
bool inflate_parts_all(const struct inflate_parts *x,
                       const struct inflate_part *parts, size_t count,
                       unsigned char *text);

#endif
