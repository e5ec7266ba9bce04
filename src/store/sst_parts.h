/* SPDX-License-Identifier: ISC */
/*
 * How the values of a packed block are divided into parts, each of which can
 * be inflated by itself (base/deflate_parts.h).
 *
 * A part ends with the value with which it has a certain number of bytes. So
 * the lengths of the values say where parts are in the text, and only how many
 * bits each takes has to be told. doc/format.md, "Parts", describes the bytes.
 * Pure data: no I/O; nothing is trusted.
 */
#ifndef LSMKV_STORE_SST_PARTS_H
#define LSMKV_STORE_SST_PARTS_H

#include <stdatomic.h>

#include "base/deflate_parts.h"
#include "base/inflate_parts.h"
#include "store/sst_columns.h"

#define SST_PARTS_MAX DEFLATE_PARTS_MAX

/* ---- writing ---- */

/*
 * Fills in the lengths of the parts of the values of count entries. Returns
 * how many there are; 0 where they are too many, or the values too long.
 */
size_t sst_parts_cut(const struct entry *entries, size_t count,
                     struct deflate_part *parts);
/* Appends what a reader has to know of them to out. */
int sst_parts_put(const struct deflate_head *head,
                  const struct deflate_part *parts, size_t count,
                  struct buf *out, struct err *err);

/* ---- reading ---- */

struct sst_parts {
	uint64_t bytes;           /* that a part has at least, but the last */
	uint32_t count;           /* 1 to SST_PARTS_MAX */
	uint32_t head_bits;       /* of the stream, before the first part */
	bool common;              /* other streams of the file begin so, too */
	struct sst_column column; /* of each: its bits, doubled, plus 1 if it
				     refers to the first one */
};

/* Returns the bytes that it takes of the start of from; 0 if it cannot be. */
size_t sst_parts_open(struct sst_parts *p, struct slice from);

/*
 * The codes that many streams of a file begin with, once they have been read.
 * Zeroed, it is empty. Any thread.
 */
#define SST_CODES_MAX 2u        /* a file rarely has more than one */
#define SST_CODES_HEAD_MAX 128u /* bytes of a stream */

struct sst_codes {
	struct sst_code {
		_Atomic unsigned state; /* nothing, being made, ready */
		uint32_t head_bits; /* that streams begin with, which are: */
		unsigned char head[SST_CODES_HEAD_MAX]; /* rest of the last
							   byte 0 */
		struct inflate_codes codes;
	} code[SST_CODES_MAX];
};

/* What it takes to inflate. */
struct sst_inflate {
	struct inflate_codes *scratch; /* this thread's */
	struct sst_codes *common;      /* of the file */
};

/*
 * Inflates all of stream, the values of c, into text_len bytes at text. False
 * if not everything is as a writer makes it.
 */
bool sst_parts_inflate(const struct sst_parts *p, const struct sst_columns *c,
                       const struct sst_inflate *tools, struct slice stream,
                       unsigned char *text, size_t text_len);

/* Which part a value is in, on a walk along the values. */
struct sst_part_walk {
	uint32_t i;   /* of the part */
	size_t begin; /* of the part, in the text */
	size_t first; /* bytes of the first part, once it is behind */
};

/* To the value that begins at `at`. */
static inline void
sst_part_walk(const struct sst_parts *p, struct sst_part_walk *w, size_t at)
{
	if (at - w->begin < p->bytes)
		return;
	if (!w->i++)
		w->first = at;
	w->begin = at;
}

/*
 * Inflates the text from the beginning of the part that w is in up to end,
 * which is in it, to where it belongs in text. False: no writer's.
 */
bool sst_parts_inflate_one(const struct sst_parts *p,
                           const struct sst_part_walk *w,
                           const struct sst_inflate *tools, struct slice stream,
                           unsigned char *text, size_t end);

#endif
