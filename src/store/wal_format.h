/* SPDX-License-Identifier: ISC */
/*
 * The bytes of a WAL segment, shared by wal.c and wal_replay.c and nobody
 * else. Described in doc/format.md, "WAL".
 */
#ifndef LSMKV_STORE_WAL_FORMAT_H
#define LSMKV_STORE_WAL_FORMAT_H

#include "store/wal.h"

#define WAL_MAGIC "LSMKVWAL"
#define WAL_FLAG_RELAXED 1u
#define WAL_SECTOR 512u /* disks write so much at least */

/* Offsets in the header of a segment. */
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

/* Offsets in the header of a record. */
#define WAL_R_CRC 0    /* of all behind it, payload included */
#define WAL_R_LENGTH 4 /* of the payload; at least 1 */
#define WAL_R_SALT 8   /* the segment's */
#define WAL_R_FIRST_VERSION 16
#define WAL_R_SYNCED 24
#define WAL_R_COUNT 32    /* entries; at least 1 */
#define WAL_R_RESERVED 36 /* zero */

static inline uint64_t
wal_align(uint64_t offset)
{
	return (offset + WAL_ALIGN - 1) & ~(uint64_t)(WAL_ALIGN - 1);
}

#endif
