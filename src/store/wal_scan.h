/* SPDX-License-Identifier: ISC */
/*
 * One segment of the write-ahead log, as wal_replay.c puts them together. To
 * everybody else wal.h shows what there is to know.
 */
#ifndef LSMKV_STORE_WAL_SCAN_H
#define LSMKV_STORE_WAL_SCAN_H

#include "store/wal.h"

/* The header of a segment as it was found. */
struct segment_header {
	struct wal_header public;
	uint64_t salt;
	uint32_t salt_crc; /* the CRC of the salt */
	uint32_t format;   /* version of it */
	bool valid;
	bool blank;  /* not valid, and nothing was ever written behind it: the
			machine stopped while it was being created */
	bool unused; /* valid, but the log did not go on there */
};

int wal_read_header(struct fs_dir *dir, uint64_t segment,
                    struct segment_header *h, struct err *err);

/* As wal_scan_segment, but nothing at or behind `limit` counts. */
int wal_scan_upto(struct fs_dir *dir, uint64_t segment, uint64_t limit,
                  int (*each)(void *arg, const struct wal_record *r,
                              struct err *err),
                  void *arg, struct wal_scan *scan, struct err *err);

#endif
