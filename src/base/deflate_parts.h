/* SPDX-License-Identifier: ISC */
/*
 * A zlib stream (RFC 1950, 1951) of a small text in parts, each of which can
 * be inflated without the ones before it (inflate_parts.h).
 *
 * To any inflater it is a stream like all others. What is special: it is one
 * block, so that one pair of Huffman codes holds for all of it; a match copies
 * from its own part, or else from the first one, which is everybody's
 * dictionary; and it is told how many bits each part takes, so that one can
 * begin at any of them. What that costs is what parts have in common with
 * each other and not with the first.
 *
 * Texts that follow one another are mostly alike: once some have been seen, a
 * common code is made of them, and used for every later text that it fits. Its
 * stream begins with the same bytes then (it is a stream like all others), and
 * who inflates many of them need not read the code again each time.
 *
 * It is also faster than the libraries for small texts, whose tables are made
 * for long ones: libdeflate clears some 200 KB before it begins.
 *
 * Matches are found by hash chains (as in zlib; Gailly, Adler), with one step
 * of lazy evaluation where it may take its time. Codes are minimum-redundancy
 * codes in place (Moffat, Katajainen 1995), limited in length so that an
 * inflater finds all of them in one small table.
 */
#ifndef LSMKV_BASE_DEFLATE_PARTS_H
#define LSMKV_BASE_DEFLATE_PARTS_H

#include <stdint.h>

#include "base/bytes.h"

#define DEFLATE_PARTS_MAX 128u         /* parts of a text */
#define DEFLATE_PARTS_TEXT (32u << 10) /* bytes of a text */

/* One part of a text. */
struct deflate_part {
	uint32_t len;  /* bytes of it; at least 1. The caller's */
	uint32_t bits; /* of the stream that it takes */
	bool refers;   /* some match of it copies from the first part */
};

/* How a stream begins. */
struct deflate_head {
	uint32_t bits; /* before the first part */
	bool common;   /* others begin with the same */
};

/* Working memory, for one thread at a time, and the common code. */
struct deflate_parts;

/* dense: smaller, and slower. NULL when out of memory. */
struct deflate_parts *deflate_parts_new(bool dense);
void deflate_parts_free(struct deflate_parts *d); /* NULL allowed */

/*
 * Appends the stream of text, which the count parts make up, to out, and says
 * how it begins, and of each part what it takes. LSMKV_END, and out unchanged,
 * where it would not be smaller than the text; LSMKV_ENOMEM. Each text that is
 * given counts for the common code, also when nothing comes of it.
 */
int deflate_parts_run(struct deflate_parts *d, struct slice text,
                      struct deflate_part *parts, size_t count,
                      struct deflate_head *head, struct buf *out,
                      struct err *err);

#endif
