/* SPDX-License-Identifier: ISC */
/*
 * One segment of the write-ahead log, as wal_replay.c puts them together. To
 * everybody else wal.h shows what there is to know.
 */
#ifndef LSMKV_STORE_WAL_SCAN_H
#define LSMKV_STORE_WAL_SCAN_H

#include "store/wal_read.h"

int wal_scan_header(struct fs_dir *dir, uint64_t segment,
                    struct segment_header *h, struct err *err);

/* As wal_scan_segment, but nothing at or behind `limit` counts. */
int wal_scan_upto(struct fs_dir *dir, uint64_t segment, uint64_t limit,
                  int (*each)(void *arg, const struct wal_record *r,
                              struct err *err),
                  void *arg, struct wal_scan *scan, struct err *err);

#endif
