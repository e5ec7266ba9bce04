/* SPDX-License-Identifier: ISC */
/*
 * The compactor: one thread of the responder that keeps the tree in shape.
 *
 * It asks plan what is worth doing, moves files that need no rewriting, and
 * for everything else starts lsmkv-compact, hands it a job, watches its
 * progress, verifies what it made (every rule of sst_check, and the sum:
 * entries in = out + shadowed + expired + tombstones), and installs it. A
 * failure of any kind removes the outputs, is logged and counted, and the job
 * is tried again after a delay that doubles from retry_ms to 60 s. On a full
 * disk jobs that ask for less go on meanwhile, and more room ends the delay.
 * Nothing of what happens here can lose data: inputs stay until the new
 * MANIFEST is durable.
 */
#ifndef LSMKV_STORE_COMPACTOR_H
#define LSMKV_STORE_COMPACTOR_H

#include "store/levels.h"

struct compactor_options {
	const char *helper;     /* absolute path of lsmkv-compact; NULL: do
				    the merge in this thread (tests, bench) */
	uint64_t level1_bytes;  /* target size of level 1; x10 per level */
	uint64_t file_bytes;    /* target size of an output SST */
	unsigned level0_files;  /* this many in level 0 are worth a job */
	unsigned silence_ms;    /* helper is killed after this much silence */
	unsigned retry_ms;      /* a job that failed rests so long at first */
	unsigned reclaim_ms;    /* how long tombstones and expired entries
				    may rest before they get a job of their
				    own */
	struct sst_options sst; /* how outputs are written */
};

/* What the store does for its compactor. All thread-safe. */
struct compactor_host {
	void *arg;
	struct fs_dir *dir;
	int lock_fd; /* handed down to the helper; -1: none */
	struct block_cache *cache;
	/* The tree as it is, with a reference. */
	struct levels *(*levels)(void *arg);
	/* Reserves count consecutive file numbers; returns the first. */
	uint64_t (*numbers)(void *arg, unsigned count);
	/*
	 * The versions that open snapshots see, ascending, and then the newest
	 * published one, as an array for the caller to free.
	 */
	int (*snapshots)(void *arg, uint64_t **versions, size_t *count,
	                 struct err *err);
	/*
	 * Makes the edit the truth: durable in MANIFEST, visible to readers,
	 * SSTs that are removed and not added marked obsolete. On an error
	 * nothing has changed, or the outcome of the MANIFEST's renaming is
	 * unknown: then added files stay on disk, for start to decide.
	 */
	int (*install)(void *arg, const struct levels_edit *edit,
	               struct err *err);
};

struct compactor_stat {
	uint64_t jobs, moves, failures; /* done, trivial moves, failed */
	uint64_t bytes_read, bytes_written;
	uint64_t dropped_shadowed, dropped_expired, dropped_tombstones;
	bool running;                  /* a job is under way */
	unsigned from_level, to_level; /* of that job */
	uint64_t job_bytes, job_done;  /* its input bytes, and how many are
					   through */
	pid_t helper;                  /* 0 when none */
	int last_code;                 /* of the last job: 0, or why it failed
					  while there is still one to do */
	char last_error[256];          /* "" when the last job was fine */
};

struct compactor;

/* Starts the thread. options and host are copied. */
int compactor_start(struct compactor **out,
                    const struct compactor_options *options,
                    const struct compactor_host *host, struct err *err);
/* Something changed: look again. Never blocks. */
void compactor_wake(struct compactor *c);
/*
 * Compacts everything into one sorted run, and returns when it is done or
 * failed. (`lsmkv compact`, benchmarks.)
 */
int compactor_compact_all(struct compactor *c, struct err *err);
void compactor_get_stat(struct compactor *c, struct compactor_stat *s);
/* Kills a running helper, removes its outputs, ends the thread. NULL allowed. */
void compactor_stop(struct compactor *c);

#endif
