/* SPDX-License-Identifier: ISC */
/*
 * A segment of the write-ahead log, place by place: its header, and the record
 * that stands at an offset. For wal_scan.c, which reads it in order, and
 * wal_search.c, which looks behind its end; to everybody else wal.h shows what
 * there is to know. Writes nothing.
 */
#ifndef LSMKV_STORE_WAL_READ_H
#define LSMKV_STORE_WAL_READ_H

#include "store/wal.h"

/* ---- a file seen through a window that moves ---- */

struct wal_window {
	struct fs_file file;
	uint64_t size;    /* of the file */
	struct buf bytes; /* what is in memory */
	uint64_t at;      /* where that stands in the file */
};

/* LSMKV_ECORRUPT if the segment is missing. To be closed in any case. */
int wal_window_open(struct wal_window *w, struct fs_dir *dir, uint64_t segment,
                    struct err *err);
void wal_window_close(struct wal_window *w);
/* len bytes at offset, valid until the next call; they are in the file. */
int wal_window_get(struct wal_window *w, uint64_t offset, size_t len,
                   const unsigned char **bytes, struct err *err);
/* Are all bytes from there to the end of the file zeros? */
int wal_window_blank(struct wal_window *w, uint64_t from, bool *blank,
                     struct err *err);

/* How many bytes from offset on are in memory. */
static inline size_t
wal_window_held(const struct wal_window *w, uint64_t offset)
{
	return (size_t)(w->at + w->bytes.len - offset);
}

/* ---- the header of a segment ---- */

/* As it was found. */
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

/* LSMKV_EVERSION for one of a later format. */
int wal_read_header(struct wal_window *w, uint64_t segment,
                    struct segment_header *h, struct err *err);

/* ---- records ---- */

/* What a record says before its payload (doc/format.md, "WAL"). */
struct wal_head {
	uint32_t crc;
	unsigned disk;    /* enum wal_disk */
	uint64_t missing; /* bytes before the record that were not on disk */
	uint64_t length;  /* of the payload */
	size_t bytes;     /* of the head */
};

/*
 * The head of a record of format version 2 in the n bytes at b, which may be
 * fewer than one has; `left` is what the file has from there on. False, and
 * *reason, if none is there.
 */
bool wal_decode_head(const unsigned char *b, size_t n, uint64_t left,
                     uint64_t salt, struct wal_head *head, const char **reason);

/* What stands at a place of a segment. */
struct wal_found {
	/* From format version 2 on without versions and count. */
	struct wal_record record;
	const char *reason; /* why it is none; "": zeros, or the end of file */
	uint32_t crc_off;   /* if its CRC alone is wrong: the bits of it */
};

/*
 * Reads the record at offset, as one that was written `moved` bytes further on
 * (0: where it stands). LSMKV_END if none is there.
 */
int wal_read_record(struct wal_window *w, const struct segment_header *h,
                    uint64_t offset, int64_t moved, struct wal_found *f,
                    struct err *err);

#endif
