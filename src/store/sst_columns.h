/* SPDX-License-Identifier: ISC */
/*
 * Several entries as one data block holds them on the disk: by column.
 *
 * What is alike stands together, because that deflates best: all kinds, all
 * lengths, then what each key does not share with the one before, then all
 * values. Versions look random beside their neighbours: they would only widen
 * the Huffman code of everything else, so they stand outside of what is
 * deflated, packed to as many bits as the block needs. doc/format.md,
 * "Columns", describes the bytes.
 *
 * In memory a block is rows again (entry_encode), which are searched without
 * looking at anything else. Pure data: no I/O; nothing is trusted.
 */
#ifndef LSMKV_STORE_SST_COLUMNS_H
#define LSMKV_STORE_SST_COLUMNS_H

#include "store/entry.h"

/* Bytes that must be readable behind what sst_columns_open is given: numbers
   are loaded eight bytes at a time. Their content does not matter. */
#define SST_COLUMNS_SLACK 8u

/* Before the columns, at most: two varints and four widths. */
#define SST_COLUMNS_HEAD_MAX (2u * VARINT_MAX + 4u)

/* The numbers of one entry take at most this many bytes. */
#define SST_COLUMNS_NUMBERS_MAX (1u + 3u * 4u + 8u)

/*
 * Appends the columns of count >= 1 entries, in store order, to columns, and
 * their packed versions with the width byte behind them to versions.
 * LSMKV_ENOMEM leaves both as they were.
 */
int sst_columns_encode(const struct entry *entries, size_t count,
                       struct buf *columns, struct buf *versions,
                       struct err *err);

/* Columns on their way to rows. Everything is borrowed. */
struct sst_columns {
	const unsigned char *kind;     /* a byte an entry */
	const unsigned char *shared;   /* bytes shared with the key before */
	const unsigned char *key_len;  /* of the whole key */
	const unsigned char *val_len;  /* of the value */
	const unsigned char *expires;  /* epoch second; 0: never */
	const unsigned char *keys;     /* what is not shared */
	const unsigned char *values;   /* one after the other */
	const unsigned char *versions; /* less base, packed */
	uint64_t base;                 /* smallest version */
	size_t rows;                   /* bytes of all rows */
	uint32_t count;                /* entries */
	uint8_t shared_width, key_width, val_width, expires_width; /* bytes */
	uint8_t version_width;                                     /* bits */
};

/*
 * Bytes that the versions of count entries take at the end of tail, their
 * width byte included; 0 if it cannot be.
 */
size_t sst_columns_versions_bytes(struct slice tail, uint64_t count);

/*
 * Lays c over columns and versions (width byte included) and checks that
 * they are what an encoder writes for count entries of at most rows_max bytes
 * as rows, up to the order of keys. NULL, or what is wrong.
 */
const char *sst_columns_open(struct sst_columns *c, struct slice columns,
                             struct slice versions, uint32_t count,
                             size_t rows_max);
/*
 * Writes c->rows bytes to `to`, where each row begins in them to at[], and a
 * byte of each key's hash (sst_key_hash) to tags[], unless that is NULL.
 * Checks store order. NULL, or what is wrong.
 */
const char *sst_columns_to_rows(const struct sst_columns *c, unsigned char *to,
                                uint32_t *at, unsigned char *tags);

#endif
