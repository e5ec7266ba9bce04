/* SPDX-License-Identifier: ISC */
/*
 * The bytes of an SST as writer and reader agree on them; private to the
 * sst_*.c files. doc/format.md, "SST", describes the same in words.
 *
 *     header | data block ... | filter | index | properties | footer
 *
 * No byte of the file stands outside of these, in this order, without gaps;
 * every one is covered by a checksum or compared with what it must be.
 */
#ifndef LSMKV_STORE_SST_FORMAT_H
#define LSMKV_STORE_SST_FORMAT_H

#include "base/deflate.h"
#include "store/sst.h"

#define SST_MAGIC "LSMKVSST" /* first and last 8 bytes of the file */
#define SST_MAGIC_BYTES 8u
#define SST_HEADER_BYTES 16u
#define SST_TRAILER_BYTES 9u /* of every block */
#define SST_FOOTER_BYTES 72u

#define SST_BLOCK_BYTES_MAX (16u << 20) /* sst_options.block_bytes */
#define SST_BITS_MAX 64u                /* sst_options.bits_per_key */

/* An entry around its key and value, and what a data block starts with. */
#define SST_ENTRY_OVERHEAD (1u + 4u * VARINT_MAX)
#define SST_BLOCK_HEAD_MAX (2u * VARINT_MAX)

/* No deflate stream inflates to more than this many times its size. */
#define SST_INFLATE_MAX 1032u

/*
 * The type byte of a block. Rows are entries one after the other; a data
 * block of several entries is written as columns (sst_columns.h) since format
 * version 2, and packed, where that is smaller, since version 3, and then
 * deflated in parts (sst_parts.h), where that is not much larger, since
 * version 4.
 */
enum sst_block_type {
	SST_RAW = 0,
	SST_DEFLATED = 1,
	SST_COLUMNS = 2,
	SST_COLUMNS_DEFLATED = 3,
	SST_PACKED = 4,
	SST_PACKED_DEFLATED = 5,
	SST_PACKED_PARTS = 6,
};

struct sst_footer {
	uint32_t version;       /* of the format */
	uint64_t number;        /* of the file when it was written */
	uint64_t filter_offset; /* also the end of the data blocks */
	uint64_t index_offset;
	uint64_t props_offset;
	uint32_t filter_bytes; /* stored, trailer included; 0: no filter */
	uint32_t index_bytes;  /* stored, trailer included */
	uint32_t props_bytes;  /* stored, trailer included */
	uint32_t props_crc;    /* CRC-32 of the stored properties block */
	uint64_t entries;
};

struct sst_props {
	struct sst_info info; /* without number, size and crc; owned */
	uint64_t blocks;      /* data blocks */
	uint64_t keys;        /* different ones; the filter holds as many */
	uint64_t block_bytes; /* the options it was written with */
	uint64_t bits_per_key;
	uint64_t deflate_level;
};

#define SST_PROPS_INIT                                                         \
	{                                                                      \
		0                                                              \
	}

/* Encodings of the fixed parts (sst_info.c). */
void sst_header_encode(unsigned char *to);
void sst_footer_encode(const struct sst_footer *f, unsigned char *to);
int sst_props_encode(const struct sst_props *p, struct buf *out,
                     struct err *err);

/*
 * Checks header and footer, which say how the file begins and ends, against
 * each other and the file's size. name is the file's, for messages.
 * LSMKV_ECORRUPT, or LSMKV_EVERSION where both name the same other version.
 */
int sst_footer_decode(const unsigned char *header, const unsigned char *footer,
                      uint64_t file_size, const char *name,
                      struct sst_footer *f, struct err *err);
/* p is released by the caller when this returns 0, empty otherwise. */
int sst_props_decode(struct slice payload, const struct sst_footer *f,
                     const char *name, struct sst_props *p, struct err *err);

/*
 * A checksum as the file holds it: the CRC-32 of data, scrambled. A CRC over
 * bytes that end with their own plain CRC does not depend on those bytes any
 * more, so that the sum of the whole file would say nothing.
 */
uint32_t sst_crc(const void *data, size_t len);
/*
 * The same for a block: over file number and offset, so that a whole block in
 * the wrong place is not taken for the right one, and over its stored bytes up
 * to the checksum itself.
 */
uint32_t sst_block_crc(uint64_t number, uint64_t offset, const void *stored,
                       size_t len);

#endif
