/* SPDX-License-Identifier: ISC */
/*
 * The bytes of a WAL segment, shared by those who write and read them.
 * Described in doc/format.md, "WAL".
 */
#ifndef LSMKV_STORE_WAL_FORMAT_H
#define LSMKV_STORE_WAL_FORMAT_H

#include "store/wal.h"

#define WAL_MAGIC "LSMKVWAL"
#define WAL_FLAG_RELAXED 1u
#define WAL_SECTOR 512u /* disks write so much at least */
/* Bytes of a record's entries; on 32 bits, too, the record can be addressed. */
#define WAL_PAYLOAD_MAX (UINT32_MAX - 4096u)

/* Offsets in the header of a segment; zeros fill its sector. */
#define WAL_H_MAGIC 0
#define WAL_H_VERSION 8
#define WAL_H_FLAGS 12
#define WAL_H_SEGMENT 16
#define WAL_H_SALT 24
#define WAL_H_PREV_SEGMENT 32
#define WAL_H_PREV_END 40
#define WAL_H_FIRST_VERSION 48
#define WAL_H_RESERVED 56 /* 4 bytes, zero */
#define WAL_H_CRC 60      /* of all before it */
#define WAL_H_END 64

/*
 * The head of a record: these two, then varints: length of the payload and
 * how much was on disk, and for WAL_DISK_SOME how much was not.
 */
#define WAL_R_CRC 0 /* of salt, offset, and all behind it */
#define WAL_R_TAG 4 /* the first two bytes of the salt */
#define WAL_R_LENGTH 6
#define WAL_HEAD_MAX (WAL_R_LENGTH + 5 + VARINT_MAX)
#define WAL_TAG_BYTES 2u

/* How much of the log was on disk: the lowest two bits of the length. */
#define WAL_DISK_BITS 2
enum wal_disk {
	WAL_DISK_UNKNOWN = 0, /* nothing is known */
	WAL_DISK_PRIOR = 1,   /* all segments before, and this one's header */
	WAL_DISK_SOME = 2,    /* and this one, but for its last bytes */
	WAL_DISK_ALL = 3,     /* everything before this record */
};

/*
 * The base of the versions in a record: one byte tells where the first one is
 * above it, and with that whether it is the one that should follow.
 */
static inline uint64_t
wal_version_base(uint64_t first_version)
{
	return first_version & ~(uint64_t)63;
}

/* What the CRC of a record goes on from: the sum of its segment and place. */
static inline uint32_t
wal_crc_begin(uint32_t salt_crc, uint64_t offset)
{
	unsigned char b[8];

	put_u64(b, offset);
	return crc32_add(salt_crc, b, sizeof(b));
}

static inline uint32_t
wal_salt_crc(uint64_t salt)
{
	unsigned char b[8];

	put_u64(b, salt);
	return crc32_add(0, b, sizeof(b));
}

/* Offsets in the head of a record of format version 1. */
#define WAL_V1_HEADER_BYTES 64u
#define WAL_V1_RECORD_BYTES 40u
#define WAL_V1_ALIGN 8u
#define WAL_V1_CRC 0    /* of all behind it, payload included */
#define WAL_V1_LENGTH 4 /* of the payload; at least 1 */
#define WAL_V1_SALT 8   /* the segment's */
#define WAL_V1_FIRST_VERSION 16
#define WAL_V1_SYNCED 24
#define WAL_V1_COUNT 32    /* entries; at least 1 */
#define WAL_V1_RESERVED 36 /* zero */

static inline uint64_t
wal_v1_align(uint64_t offset)
{
	return (offset + WAL_V1_ALIGN - 1) / WAL_V1_ALIGN * WAL_V1_ALIGN;
}

#endif
