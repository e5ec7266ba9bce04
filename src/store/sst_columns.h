/* SPDX-License-Identifier: ISC */
/*
 * Several entries as one data block holds them on the disk: by column.
 *
 * What is alike stands together: all kinds, all lengths, then what each key
 * does not share with the one before, then all values. There are two ways.
 *
 * Columns: everything is deflated, but for the versions. They look random
 * beside their neighbours and would only widen the Huffman code of everything
 * else, so they stand behind it, packed to as many bits as the block needs.
 *
 * Packed: only the values are deflated. Before them stands the front, which is
 * read as it is: the numbers, each as its distance from the least of its
 * column (frame of reference; Goldstein, Ramakrishnan, Shaft 1998), and the
 * keys (sst_pack.h). So a look-up knows whether a key is there, and where its
 * value will be, before anything is inflated (sst_peek.c).
 * Behind the front may stand how the values are divided into parts, each of
 * which can be inflated by itself (sst_parts.h).
 *
 * The writer takes what is smaller. doc/format.md, "Columns" and "Packed
 * columns", describes the bytes. In memory a block is rows again
 * (entry_encode), which are searched without looking at anything else. Pure
 * data: no I/O; nothing is trusted.
 */
#ifndef LSMKV_STORE_SST_COLUMNS_H
#define LSMKV_STORE_SST_COLUMNS_H

#include <endian.h>
#include <string.h>

#include "store/entry.h"
#include "store/sst_pack.h"

/* Bytes that must be readable behind all that is read here: numbers are
   loaded eight bytes at a time. Their content does not matter. */
#define SST_COLUMNS_SLACK 8u

/* Before the columns, at most: two varints and four widths. */
#define SST_COLUMNS_HEAD_MAX (2u * VARINT_MAX + 4u)

/* The numbers of one entry take at most this many bytes. */
#define SST_COLUMNS_NUMBERS_MAX (1u + 3u * 4u + 8u)

/*
 * Appends count >= 1 entries, in store order: packed, with their front to
 * front and the values to columns; or, if front is NULL, as columns, with the
 * versions and their width byte to versions. LSMKV_ENOMEM leaves all as they
 * were.
 */
int sst_columns_encode(const struct entry *entries, size_t count,
                       struct buf *columns, struct buf *front,
                       struct buf *versions, struct err *err);

/* A number of each entry. */
struct sst_column {
	const unsigned char *bits; /* what it has above least, packed */
	uint64_t least;
	unsigned width; /* bits of each: 0 to 56, or 64 */
};

/* Columns on their way to rows. Everything is borrowed. */
struct sst_columns {
	struct sst_column kind;
	struct sst_column shared;  /* bytes shared with the key before */
	struct sst_column key_len; /* of the whole key */
	struct sst_column val_len; /* of the value */
	struct sst_column expires; /* epoch second; 0: never */
	struct sst_column version;
	const unsigned char *keys;   /* what is not shared */
	const unsigned char *values; /* one after the other */
	size_t rows;                 /* bytes of all rows */
	uint32_t count;              /* entries */
};

/* How far number i is above the least of its column. */
static inline uint64_t
sst_column_above(const struct sst_column *c, uint32_t i)
{
	size_t bit = (size_t)i * c->width;
	uint64_t v;

	if (!c->width)
		return 0;
	memcpy(&v, c->bits + bit / 8, sizeof(v));
	return le64toh(v) >> bit % 8 & UINT64_MAX >> (64 - c->width);
}

static inline uint64_t
sst_column_number(const struct sst_column *c, uint32_t i)
{
	return c->least + sst_column_above(c, i);
}

/* Appends count numbers to out; LSMKV_ENOMEM leaves it alone. */
int sst_column_put(const uint64_t *numbers, size_t count, struct buf *out,
                   struct err *err);
/* Lays c over the count numbers at r. */
void sst_column_take(struct sst_column *c, struct reader *r, uint64_t count);

/*
 * Bytes that the versions of count entries take at the end of tail, their
 * width byte included; 0 if it cannot be.
 */
size_t sst_columns_versions_bytes(struct slice tail, uint64_t count);

/*
 * Lays c over columns and versions (width byte included) and checks that they
 * are what an encoder writes for count entries of at most rows_max bytes as
 * rows, up to the order of keys. NULL, or what is wrong.
 */
const char *sst_columns_open(struct sst_columns *c, struct slice columns,
                             struct slice versions, uint32_t count,
                             size_t rows_max);

/*
 * Lays c over the front that block begins with, and keys over its keys, where
 * rows take at most rows_max bytes. count: entries that it should have; 0: as
 * many as it says. Returns the bytes of the front; 0 if it
 * cannot be. Of the numbers nothing is known yet, but that they can be read.
 */
size_t sst_front_open(struct sst_columns *c, struct sst_packed *keys,
                      struct slice block, uint64_t count, size_t rows_max);
/*
 * Checks them, as sst_columns_open does, and gives c its keys (unpacked) and
 * values. NULL, or what is wrong.
 */
const char *sst_front_check(struct sst_columns *c, struct slice keys,
                            struct slice values, size_t rows_max);
/*
 * Writes c->rows bytes to `to`, where each row begins in them to at[], and a
 * byte of each key's hash (sst_key_hash) to tags[], unless that is NULL.
 * Checks store order. NULL, or what is wrong.
 */
const char *sst_columns_to_rows(const struct sst_columns *c, unsigned char *to,
                                uint32_t *at, unsigned char *tags);

#endif
