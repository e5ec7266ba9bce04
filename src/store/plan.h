/* SPDX-License-Identifier: ISC */
/*
 * What is worth compacting. Pure: looks at a tree and the time, does nothing.
 *
 * In this order:
 *
 *   size     a level is over its target: level 0 has too many files, or a
 *            deeper level too many bytes. Files go one level down; those
 *            that nothing lies below go first, as they are.
 *   reclaim  nothing is over its target, and a file holds tombstones, expired
 *            entries or entries kept for snapshots that are closed now: it is
 *            merged with what it hides, or rewritten where it hides nothing.
 *   settle   the same calm, and upper levels are large against the deepest,
 *            so that they may shadow much of it: they are pushed down, after
 *            a rest that grows with what there is to write.
 *
 * Where the outputs of that may find no room on the disk, something that asks
 * for less goes first: fewer files, one level down only. The targets of upper
 * levels bound how much that is, so that a full disk can be compacted in steps.
 *
 * A file that could move as it is, but is small beside file_bytes, takes in
 * small neighbours instead: else every restart would leave one more of them.
 *
 * Every reclaim job makes the tree lose garbage or puts it deeper, and every
 * settle job puts data deeper, so that a tree nobody writes to comes to rest.
 * Files that an open snapshot may still need are left alone by reclaim: as
 * long as it is open, nothing in them could go.
 */
#ifndef LSMKV_STORE_PLAN_H
#define LSMKV_STORE_PLAN_H

#include "store/levels.h"

/* An output may overlap this many times file_bytes of the level below it. */
#define PLAN_GRANDPARENTS 10u

/* Entries of a file that only snapshots open at its making could see. */
struct plan_retained {
	uint64_t number;  /* of the file */
	uint64_t entries; /* at least 1 */
};

struct plan_input {
	const struct levels *levels; /* borrowed */
	uint64_t level1_bytes;       /* target size of level 1 */
	uint64_t file_bytes;         /* target size of an SST */
	unsigned level0_files;       /* this many make a job */
	unsigned reclaim_ms;         /* how long garbage may rest */
	uint64_t now_ms;             /* wall clock, since 1970 */
	uint64_t oldest_snapshot;    /* oldest version that an open snapshot
					sees; the newest published when none
					is open */
	bool resting;                /* only garbage in plenty is worth a
					reclaim job now, and no settling */
	uint64_t room_bytes;         /* what outputs find on the disk */
	const struct plan_retained *retained; /* borrowed */
	size_t retained_count;
};

enum plan_kind {
	PLAN_NONE,  /* nothing is worth doing */
	PLAN_MOVE,  /* the one input goes to output_level as it is */
	PLAN_MERGE, /* the inputs are merged into output_level */
};

enum plan_why { PLAN_SIZE, PLAN_RECLAIM, PLAN_SETTLE, PLAN_ALL };

struct plan_file {
	unsigned level;
	struct sst *file; /* a reference */
};

struct plan {
	enum plan_kind kind;
	enum plan_why why;
	bool dense;               /* a reclaim job sure to bring much */
	double score;             /* PLAN_SIZE: 1 and up; how far over target.
				    PLAN_RECLAIM: known garbage by entries */
	unsigned from_level;      /* topmost of the inputs */
	unsigned output_level;    /* 1 and up */
	struct plan_file *inputs; /* by level; level 0 newest first, others
				     by key */
	size_t input_count;
	uint64_t bytes;        /* of the inputs' files */
	uint64_t raw_bytes;    /* of their keys and values */
	uint64_t entries;      /* in them */
	struct slice smallest; /* key range of the inputs, borrowed from */
	struct slice largest;  /* them */
};

#define PLAN_INIT                                                              \
	{                                                                      \
		0                                                              \
	}

/* How far level n is over its target: a job from 1 on. */
double plan_score(const struct plan_input *in, unsigned n);

/* Chooses. *out is PLAN_INIT before; plan_release it, whatever it is. */
int plan_pick(struct plan *out, const struct plan_input *in, struct err *err);

/* How far a compaction of everything has come. */
struct plan_sweep {
	unsigned level; /* whose files go down next */
	bool started;   /* `key` is meant */
	bool done;      /* nothing is left to do */
	struct buf key; /* files of `level` up to here are through */
};

#define PLAN_SWEEP_INIT                                                        \
	{                                                                      \
		0                                                              \
	}

/*
 * The next job of the way to one sorted run without garbage: all in one when
 * that is at most bytes_max, otherwise level by level, piece by piece. What
 * is written meanwhile is left out, so that it ends; PLAN_NONE then.
 */
int plan_pick_all(struct plan *out, const struct plan_input *in,
                  uint64_t bytes_max, struct plan_sweep *sweep,
                  struct err *err);

void plan_release(struct plan *p);
void plan_sweep_release(struct plan_sweep *sweep);

/* "size", "reclaim", "settle", "all". */
const char *plan_why_word(enum plan_why why);

#endif
