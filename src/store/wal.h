/* SPDX-License-Identifier: ISC */
/*
 * The write-ahead log (doc/format.md, "WAL").
 *
 * One segment per memtable. A segment is a header and records; a record is
 * one commit group: one or more whole batches, under one CRC. Whoever commits
 * appends one record and syncs before the next one is written, so that in
 * SYNC_ALWAYS at most the last record can be torn by a crash. Each record
 * says how much of the log was known to be on disk when it was written
 * (`synced`), and that is what tells a torn tail from damage:
 *
 *     Bytes that are not a valid record are the torn tail of the log, and
 *     everything from there on is dropped, unless a valid record behind them
 *     was written when they were already on disk: then they are damaged, and
 *     the store refuses to open.
 *
 * A segment is never appended to after a restart, never truncated and never
 * renamed; it is unlinked whole once the MANIFEST does not need it.
 */
#ifndef LSMKV_STORE_WAL_H
#define LSMKV_STORE_WAL_H

#include "base/fsio.h"
#include "store/entry.h"

#define WAL_FORMAT_VERSION 2u /* that is written; 1 is read, too */
#define WAL_HEADER_BYTES 512u /* the first record follows */

/* ---- writing (wal.c); one thread at a time: the leader of the commit ---- */

struct wal;

/* What stands at the head of a segment. */
struct wal_header {
	uint64_t segment;       /* its own file number */
	uint64_t prev_segment;  /* the one before it; 0: it begins a log */
	uint64_t prev_end;      /* where that one ends: later bytes of it are
				   leftovers of a failed append */
	uint64_t first_version; /* of its first record; each one goes on with
				   the version that follows the last */
	bool relaxed;           /* written with less than SYNC_ALWAYS */
};

/*
 * Creates the segment, writes its header, fsyncs file and directory. On an
 * error nothing stays behind. LSMKV_EFAILED: an fsync failed, and what the
 * next one says of this directory cannot be believed.
 */
int wal_create(struct wal **out, struct fs_dir *dir,
               const struct wal_header *header, struct err *err);
/*
 * The same in two steps, so that the one that takes long can be taken ahead of
 * time, by any thread: wal_prepare makes a segment that holds zeros and no
 * header, and fsyncs file and directory; to replay it is one that was being
 * created, and as good as none. wal_start writes the header, whose segment is
 * wal_segment(w), and fdatasyncs the file. On an error of wal_start, w is still
 * the caller's, to be closed and removed.
 */
int wal_prepare(struct wal **out, struct fs_dir *dir, uint64_t segment,
                struct err *err);
int wal_start(struct wal *w, const struct wal_header *header, struct err *err);
/* Closes the file (the segment stays). NULL allowed. */
void wal_close(struct wal *w);

/*
 * Begins a record whose first entry has first_version: the one that follows
 * what was appended last, or the header's.
 */
int wal_begin(struct wal *w, uint64_t first_version, struct err *err);
/* Adds an entry to it; e->version is first_version + entries so far. */
int wal_add(struct wal *w, const struct entry *e, struct err *err);
/*
 * Appends the record, with one write(2) or, where syncs are few and it is
 * short, with a store to a map of the file; into space allocated before it. On
 * LSMKV_ENOSPC or any other error nothing counts as appended, and the same
 * record may be tried again; but if *partial is then set, bytes of it may be
 * in the file and this segment must not be appended to any more.
 */
int wal_append(struct wal *w, bool *partial, struct err *err);
/*
 * fdatasync: everything appended is on disk. Any thread, also while another
 * appends; covers what was appended before the call. Fails for good.
 */
int wal_sync(struct wal *w, struct err *err);
/*
 * All earlier segments are on disk by now. Known from the start in
 * SYNC_ALWAYS; otherwise whoever synced them says so.
 */
void wal_set_prior_synced(struct wal *w);

uint64_t wal_segment(const struct wal *w);
uint64_t wal_end(const struct wal *w);       /* behind the last record */
uint64_t wal_allocated(const struct wal *w); /* bytes of disk space */

/* ---- reading (wal_scan.c: a segment; wal_replay.c: the log) ---- */

struct wal_record {
	uint64_t segment;
	uint64_t offset; /* of its first byte in the segment */
	uint64_t end;    /* behind its last one */
	uint64_t first_version;
	uint64_t version_base; /* of the entries' encoding */
	uint64_t synced;       /* up to here this segment, and everything
				   before it, was on disk; 0: nothing is known */
	uint32_t count;        /* entries */
	struct slice payload;  /* the entries; valid during the call */
};

/* Reads the entries of a record one after the other; see entry_decode. */
static inline struct reader
wal_record_reader(const struct wal_record *r)
{
	return reader_make(r->payload);
}

static inline bool
wal_record_entry(const struct wal_record *r, struct reader *reader,
                 struct entry *e)
{
	return entry_decode(reader, r->version_base, e);
}

enum wal_tail {
	WAL_TAIL_CLEAN,   /* zeros, or the end of the file, behind the last */
	WAL_TAIL_INVALID, /* bytes that are no valid record */
};

struct wal_scan {
	struct wal_header header;
	bool header_valid;
	uint32_t format;    /* version of it, of a valid header */
	uint64_t end;       /* behind the last valid record */
	enum wal_tail tail; /* what stands at `end` */
	char reason[96];    /* why that is no valid record */
	uint64_t size;      /* of the file */
	uint64_t records, entries;
	uint64_t last_version;  /* of the last record; 0 if there is none */
	bool later_synced;      /* a valid record behind `end` proves that `end`
				  was on disk: damage */
	uint64_t later_offset;  /* that record */
	uint64_t later_written; /* and where it was written: the same, unless
				   bytes before it were lost or put in */
	bool prior_synced;      /* some record proves that all earlier segments
				  were on disk */
};

#define WAL_PROOF_MAX 80
/* "the record at N" that is later_offset; if it was moved, from where, too. */
const char *wal_scan_proof(const struct wal_scan *scan,
                           char text[WAL_PROOF_MAX]);

/*
 * Reads one segment: each(arg, record) for its valid records in order, up to
 * the first invalid byte; then looks behind it. A non-zero answer of each
 * stops and is returned. Damage is not an error here: *scan tells it.
 */
int wal_scan_segment(struct fs_dir *dir, uint64_t segment,
                     int (*each)(void *arg, const struct wal_record *r,
                                 struct err *err),
                     void *arg, struct wal_scan *scan, struct err *err);

struct wal_replay_result {
	uint64_t segments, records, entries;
	uint64_t last_version; /* 0 if there was no record */
	uint64_t last_segment; /* highest number there; 0 if none */
	bool relaxed;          /* some segment was not SYNC_ALWAYS */
	uint64_t dropped_segment, dropped_offset; /* the torn tail; 0: none */
	char dropped_reason[96];
};

/*
 * Reads the log from segment `oldest` on and calls each for every record in
 * order of versions. LSMKV_ECORRUPT, with file and offset, where records that
 * were on disk are damaged or missing: see the rule at the head of this file.
 * The segment `oldest` must be there. Writes nothing.
 */
int wal_replay(struct fs_dir *dir, uint64_t oldest,
               int (*each)(void *arg, const struct wal_record *r,
                           struct err *err),
               void *arg, struct wal_replay_result *result, struct err *err);

#endif
