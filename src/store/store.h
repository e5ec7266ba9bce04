/* SPDX-License-Identifier: ISC */
/*
 * The store: the front door of the LSM engine.
 *
 * One process owns a directory. Any number of threads may call anything but
 * store_close at the same time. Operations are linearizable: each takes
 * effect at one moment between its call and its return, and once a write has
 * returned, every later read sees it, across restarts too.
 */
#ifndef LSMKV_STORE_STORE_H
#define LSMKV_STORE_STORE_H

#include "store/block_cache.h"
#include "store/compactor.h"
#include "store/readahead.h"
#include "store/scan.h"
#include "store/scrub.h"

enum sync_mode {
	SYNC_ALWAYS,   /* a write returns once it is on disk */
	SYNC_INTERVAL, /* on disk at most interval_ms later */
	SYNC_NONE,     /* when the kernel or a flush gets round to it */
};

struct store_options {
	uint64_t memory_bytes;   /* memtables, blocks, indexes, filters */
	uint64_t memtable_bytes; /* a memtable is sealed at this size; 0: an
				       eighth of memory, at most 64 MiB */
	uint64_t cache_bytes;    /* of memory that blocks, indexes and filters
				       may take; 0: all that memtables
				       leave */
	enum sync_mode sync;
	unsigned interval_ms;    /* for SYNC_INTERVAL */
	unsigned idle_flush_ms;  /* a memtable that holds tombstones and
				       rests this long is flushed, so that
				       space comes back without more writes */
	unsigned level0_slow;    /* files in level 0 that begin to slow
				       writers, */
	unsigned level0_stop;    /* and that stop them (LSMKV_ESTALLED);
				       above compactor.level0_files */
	int flush_deflate_level; /* of level 0 SSTs */
	uint64_t scrub_s;        /* seconds in which all SSTs are read and
				       checked once; 0: never */
	struct readahead_options readahead; /* of long scans */
	struct compactor_options compactor;
};

/* Defaults for everything; every option can then be changed. */
void store_options_init(struct store_options *options);

struct store;

/*
 * Opens or creates the store in path: takes the lock, loads the MANIFEST,
 * replays the WAL, flushes what it held, removes files that nobody names.
 * LSMKV_ELOCKED, LSMKV_ECORRUPT, LSMKV_EVERSION, LSMKV_EINVAL (an option
 * makes no sense) and all system errors; nothing is destroyed on an error.
 */
int store_open(struct store **out, const char *path,
               const struct store_options *options, struct err *err);
/*
 * Stops the background threads; the memtable stays in the WAL. No other call
 * may be under way, no scan or snapshot open. Returns the outcome of the last
 * sync. NULL allowed.
 */
int store_close(struct store *s, struct err *err);

/* What is told of an entry beside its value. */
struct entry_info {
	uint64_t version;
	uint64_t expires;
	enum entry_kind kind;
	uint64_t moment; /* of the read, for an op's known_at; 0: none */
};

/*
 * The value of key as of now, or as of snapshot when that is not 0: 0 and a
 * copy in value (replacing its content), or LSMKV_NOTFOUND. Never waits for
 * writers, fsync, flush or compaction.
 */
int store_get(struct store *s, struct slice key, uint64_t snapshot,
              struct buf *value, struct entry_info *info, struct err *err);

enum op_condition {
	OP_ALWAYS,     /* no condition */
	OP_IF_VERSION, /* only if the key's version is if_version; 0: only if
			  the key is not there */
	OP_IF_PRESENT, /* only if the key is there */
};

/* One operation of a batch. The caller owns all it points to. */
struct op {
	struct slice key;
	struct slice value;   /* empty for ENTRY_TOMBSTONE */
	uint64_t expires;     /* 0: never */
	enum entry_kind kind; /* ENTRY_TOMBSTONE deletes */
	enum op_condition condition;
	uint64_t if_version; /* for OP_IF_VERSION */
	bool want_old;       /* fill old and old_info */
	/*
	 * Not 0: old_found, old and old_info are what a store_get of the key
	 * found, at this moment of its; so the key is not read again, unless
	 * it has been written since. 0: they are nothing yet.
	 */
	uint64_t known_at;
	/* Outcome. */
	uint64_t version; /* given to it; for LSMKV_CONFLICT the
				      key's current one, 0 if not there */
	bool old_found;   /* was there an entry (want_old)? */
	struct buf old;   /* its value; the caller releases it */
	struct entry_info old_info;
};

/*
 * Writes a batch: all or nothing, in one step. Conditions and old values
 * speak of the state before the batch. On 0 the writes are as durable as the
 * sync mode says and visible to everyone. LSMKV_CONFLICT: *failed (may be
 * NULL) is the index of the first op whose condition did not hold; nothing
 * was written. LSMKV_ENOSPC, LSMKV_ESTALLED, LSMKV_EFAILED, LSMKV_ESHUTDOWN,
 * LSMKV_ETOOBIG, LSMKV_ENOMEM: nothing was written either. LSMKV_EUNKNOWN:
 * the disk failed under way; after a restart the batch is there as a whole or
 * not at all.
 */
int store_write(struct store *s, struct op *ops, size_t count, size_t *failed,
                struct err *err);

/*
 * Pins the state as of now; pass the result to store_get and store_scan.
 * While it is open, compaction keeps what it sees.
 */
int store_snapshot_open(struct store *s, uint64_t *snapshot, struct err *err);
void store_snapshot_close(struct store *s, uint64_t snapshot);

/* A scan as of now, or as of snapshot when that is not 0. */
int store_scan(struct store *s, const struct scan_range *range,
               uint64_t snapshot, struct scan **out, struct err *err);

/*
 * Seals and flushes the memtable; returns when its SST is live. An error is
 * that of the attempt: the memtable waits, and is tried again by itself.
 */
int store_flush(struct store *s, struct err *err);
/* The same, then compacts everything into one sorted run. */
int store_compact(struct store *s, struct err *err);

struct store_stat {
	uint64_t version;        /* newest published */
	uint64_t memtable_bytes; /* the active one */
	uint64_t memtable_entries;
	unsigned sealed;    /* memtables that wait for their flush */
	uint64_t wal_bytes; /* appended since open */
	uint64_t wal_syncs, wal_records;
	uint64_t gets, gets_found, writes, deletes, conflicts, scans;
	uint64_t flushes, flush_failures, flush_bytes;
	uint64_t stalls, stall_us; /* writes slowed, and for how long in all */
	uint64_t refused;          /* LSMKV_ESTALLED answers */
	bool disk_full;            /* sets are refused until there is room */
	uint64_t disk_full_times;
	bool failed;       /* writes are off until a restart */
	char failure[256]; /* why, "" when not failed */
	struct {
		uint64_t files, bytes, entries, tombstones, raw_bytes;
	} level[LEVELS_MAX];
	struct block_cache_stat cache;
	struct readahead_stat readahead;
	struct compactor_stat compactor;
	struct scrub_stat scrub;
};

void store_get_stat(struct store *s, struct store_stat *stat);

#endif
