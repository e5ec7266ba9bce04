/* SPDX-License-Identifier: ISC */
/*
 * The store from inside: what store.c, recover.c, commit.c and flush.c share,
 * and nobody else includes.
 *
 *     store.c    open, close, get, scan, snapshots, figures
 *     recover.c  from the files of a directory to a store that can serve
 *     commit.c   the write path: what the leader of a group does
 *     batch.h    what is in a batch, and whether its conditions hold
 *     room.c     back pressure, sealing
 *     sync.c     syncing at intervals
 *     flush.c    sealed memtables to level 0; installing changes of the tree
 *
 * Lock order (a thread holds only locks above the one that it takes):
 *
 *     leadership of the commit   one writer at a time; not a mutex
 *     commit.spare_mutex         over the making of a WAL segment
 *     manifest_mutex             over every rewrite of the MANIFEST
 *     view_mutex                 over every replacement of the view
 *     inside (grace.h)           store_get, the leader's look-ups; no lock
 *     commit.queue.mutex, flush.mutex, snapshot_mutex, failure_mutex,
 *     wal_mutex                  short, nothing is taken inside
 *
 * view_box_reclaim waits for those inside: never call it inside.
 */
#ifndef LSMKV_STORE_STORE_IMPL_H
#define LSMKV_STORE_STORE_IMPL_H

#include <pthread.h>

#include "store/budget.h"
#include "store/commit_queue.h"
#include "store/manifest.h"
#include "store/reserve.h"
#include "store/store.h"
#include "store/view.h"
#include "store/wal.h"

#define STORE_SEALED_MAX 2u /* memtables that may wait for their flush */

/* A segment that is not written any more, and not synced yet. */
struct sealed_wal {
	struct wal *wal; /* owned */
	struct sealed_wal *next;
};

struct commit {
	struct commit_queue queue;
	/* The leader's: */
	uint64_t last_sync_ns; /* what the last sync took */
	struct wal *wal;       /* the segment of the active memtable */
	bool wal_broken;       /* an append failed half-way: rotate first */
	/*
	 * Held while a segment is made, ahead of time or not, so that numbers
	 * grow along the log; and over:
	 */
	pthread_mutex_t spare_mutex;
	struct wal *spare; /* the next segment, prepared by the flush thread;
			      NULL: none */
	struct memtable *active; /* the view holds the reference */
	int64_t owed_ns; /* delay that writers still owe; below 0: slept more
			    than they owed */
	_Atomic uint64_t active_since_ns; /* when it became active */
	_Atomic uint64_t last_write_ns;   /* when it was added to last */
	/* SYNC_INTERVAL: */
	pthread_mutex_t wal_mutex;
	pthread_cond_t sync_wake;
	struct sealed_wal *sealed_wals; /* wait for their sync, oldest first */
	struct sealed_wal **sealed_wals_end; /* where the next one goes */
	pthread_t sync_thread;
	bool sync_running;
	bool sync_stop;
};

struct flush {
	pthread_mutex_t mutex;
	pthread_cond_t wake; /* for the thread: work, or stop */
	pthread_cond_t done; /* for waiters: a flush or an install ended */
	pthread_t thread;
	bool running;
	bool woken; /* `wake` was signalled since it last slept */
	bool stop;
	_Atomic bool stopping;  /* the same, read without the mutex */
	_Atomic int last_error; /* outcome of the last attempt */
	struct err failure;     /* of the last one that failed; mutex */
};

struct store {
	struct fs_dir *dir;
	struct fs_file lock; /* holds the directory's flock */
	struct store_options options;
	struct block_cache *cache;
	struct budget budget;           /* of memtables and cache */
	struct readahead_pool *helpers; /* of long scans */
	struct compactor *compactor;
	struct scrub *scrub; /* NULL when it is off */
	struct reserve reserve;
	struct view_box views;
	pthread_mutex_t view_mutex;
	pthread_mutex_t manifest_mutex;
	struct manifest head;       /* numbers of the MANIFEST as it stands */
	_Atomic uint64_t next_file; /* next number to give away */
	_Atomic uint64_t published; /* newest version that readers see */
	_Atomic bool closing;
	struct commit commit;
	struct flush flush;

	pthread_mutex_t snapshot_mutex;
	uint64_t *snapshots; /* versions, ascending, with repeats */
	size_t snapshot_count, snapshot_cap;

	pthread_mutex_t failure_mutex;
	_Atomic bool failed; /* writes are off for good */
	char failure[256];   /* why */

	/* Figures for store_get_stat. */
	_Atomic uint64_t writes, deletes, conflicts, scans;
	_Atomic uint64_t flushes, flush_failures, flush_bytes;
	_Atomic uint64_t stalls, stall_us, refused;
	_Atomic uint64_t wal_bytes, wal_syncs, wal_records;
};

/* Number of a new file; never given twice. */
uint64_t store_next_file(struct store *s);
/* Writes are off from now on; the first reason counts, and is logged. */
void store_fail(struct store *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int store_failed(struct store *s, struct err *err); /* 0 or LSMKV_EFAILED */
/* Versions that open snapshots see, ascending, then the published one. */
int store_snapshot_list(struct store *s, uint64_t **versions, size_t *count,
                        struct err *err);

/* ---- recover.c ---- */

/*
 * With the directory open and locked: loads the MANIFEST, replays the WAL
 * into level 0, makes a new WAL segment and a MANIFEST that names all of it,
 * then removes what is not named. Fills head, next_file, published, commit's
 * wal and active, and the view.
 */
int store_recover(struct store *s, struct err *err);

/* ---- commit.c ---- */

int commit_init(struct store *s, struct err *err); /* after store_recover */
/* Seals the active memtable, in turn with the writers; 0 if it is empty. */
int commit_seal(struct store *s, struct err *err);
/* Ends the sync thread, closes the WAL; its last sync in relaxed modes. */
int commit_stop(struct store *s, struct err *err);

/* ---- room.c: the leader's ---- */

/* How full the store is. */
struct load {
	size_t active; /* bytes of the active memtable */
	size_t held;   /* bytes of all memtables */
	size_t sealed; /* memtables that wait for their flush */
	size_t level0; /* files in level 0 */
};

/*
 * Makes sure that the active memtable and its segment can take a group, or
 * with want_seal, that the memtable is sealed; *load is how full the store is
 * then. LSMKV_ESTALLED and LSMKV_ENOSPC after a short wait.
 */
int room_make(struct store *s, bool want_seal, struct load *load,
              struct err *err);
/* Slows a group of `bytes` down, the more the closer the limits are. */
void room_slow_down(struct store *s, const struct load *load, size_t bytes);
/*
 * Not the leader's, but the flush thread's: makes the next segment ahead of
 * time, if there is none, so that the leader need not wait for the disk.
 */
void room_prepare(struct store *s);
void room_discard_spare(struct store *s); /* when nobody writes any more */

/* ---- flush.c ---- */

int flush_start(struct store *s, struct err *err);
void flush_stop(struct store *s);
/* There is something sealed; never blocks. */
void flush_wake(struct store *s);
/*
 * Waits at most timeout_ms for the next flush or install to end; returns at
 * once where none is to be expected.
 */
void flush_wait(struct store *s, unsigned timeout_ms);
/* Why the last flush that failed did so; returns its code. */
int flush_failure(struct store *s, struct err *err);
/*
 * Writes the entries of m into a new SST that no MANIFEST names yet: durable
 * on return, *out has one reference. *out stays NULL where m is empty.
 */
int flush_write_sst(struct store *s, struct memtable *m, struct sst **out,
                    struct err *err);
/*
 * Makes the edit the truth: MANIFEST, then view. flushed is the oldest sealed
 * memtable when the edit holds its SST, else NULL. On an error nothing has
 * changed, except that a MANIFEST of unknown outcome turns writes off.
 */
int flush_install(struct store *s, const struct levels_edit *edit,
                  struct memtable *flushed, struct err *err);

#endif
