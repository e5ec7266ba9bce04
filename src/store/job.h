/* SPDX-License-Identifier: ISC */
/*
 * The messages between the compactor and lsmkv-compact (doc/format.md, "Job").
 *
 * The parent sends one job; the helper answers progress any number of times
 * and then one result or one failure, and exits. A message is a frame:
 *
 *     magic "LKVJ" | version | kind | length | payload | CRC-32 of all before
 *
 * Both sides decode as if the other were broken: everything is bounded and
 * checked before it is used.
 */
#ifndef LSMKV_STORE_JOB_H
#define LSMKV_STORE_JOB_H

#include "store/levels.h"
#include "store/merge.h"

#define JOB_FORMAT_VERSION 1u
#define JOB_FRAME_HEAD 16u           /* bytes before the payload */
#define JOB_PAYLOAD_MAX (256u << 20) /* bytes */
#define JOB_OUTPUTS_MAX (1u << 20)   /* files of one job */

enum job_kind {
	JOB_START = 1,    /* parent to helper: struct job */
	JOB_PROGRESS = 2, /* helper to parent: input bytes that are through */
	JOB_RESULT = 3,   /* helper to parent: struct job_result */
	JOB_FAILURE = 4,  /* helper to parent: a code and a message */
};

struct job_input {
	unsigned level;
	struct sst_info info; /* owned */
};

/* A file of the level below the outputs. */
struct job_grandparent {
	struct buf largest; /* its last key; owned */
	uint64_t bytes;     /* its size */
};

struct job {
	struct buf dir;           /* absolute path of the store's directory */
	struct job_input *inputs; /* by level; level 0 newest first, others by
				     key; owned */
	size_t input_count;       /* at least 1 */
	unsigned output_level;    /* 1 and up, no input is deeper */
	uint64_t first_output;    /* outputs are numbered from here */
	unsigned output_count;    /* and are at most this many */
	uint64_t file_bytes;      /* an output is closed at this size */
	struct sst_options sst;   /* how they are written */
	uint64_t *snapshots;      /* versions to be kept, ascending; owned */
	size_t snapshot_count;
	uint64_t now;             /* epoch second for expiry */
	struct key_range *deeper; /* what may hide older entries; by key,
				     without overlap; owned */
	size_t deeper_count;
	uint64_t grandparent_limit; /* an output overlaps about this many of
				       their bytes at most */
	struct job_grandparent *grandparents; /* by key; owned */
	size_t grandparent_count;
};

#define JOB_INIT                                                               \
	{                                                                      \
		0                                                              \
	}

struct job_output {
	struct sst_info info; /* owned */
	uint64_t retained;    /* entries kept only for a snapshot that is not
				 the newest */
};

struct job_result {
	uint64_t entries_in; /* = out + shadowed + expired + tombstones */
	uint64_t entries_out;
	uint64_t shadowed, expired, tombstones; /* dropped */
	struct job_output *outputs;             /* by key; owned */
	size_t output_count;
};

#define JOB_RESULT_INIT                                                        \
	{                                                                      \
		0                                                              \
	}

struct plan;

/*
 * Fills what follows from a plan for a tree: inputs, output level, how many
 * numbers the outputs may need (output_count), deeper ranges, grandparents
 * (job_plan.c). file_bytes is set before. On an error the caller releases job,
 * too.
 */
int job_from_plan(struct job *job, const struct plan *plan,
                  const struct levels *levels, struct err *err);
void job_release(struct job *job);
void job_result_release(struct job_result *r);

/* Each appends one whole frame to out. */
int job_encode(const struct job *job, struct buf *out, struct err *err);
int job_progress_encode(uint64_t done, struct buf *out, struct err *err);
int job_result_encode(const struct job_result *r, struct buf *out,
                      struct err *err);
int job_failure_encode(const struct err *failure, struct buf *out,
                       struct err *err);

/*
 * The next frame in `in` from *at on: 0, its kind, and its payload, borrowed
 * from in, with *at behind it. LSMKV_END while it is not all there;
 * LSMKV_ECORRUPT, LSMKV_EVERSION if it never will be.
 */
int job_frame(struct slice in, size_t *at, enum job_kind *kind,
              struct slice *payload, struct err *err);

/* LSMKV_ECORRUPT on anything that makes no sense; nothing to release then. */
int job_decode(struct slice payload, struct job *job, struct err *err);
int job_progress_decode(struct slice payload, uint64_t *done, struct err *err);
int job_result_decode(struct slice payload, struct job_result *r,
                      struct err *err);
/* Always an error: the helper's own, or LSMKV_ECORRUPT. */
int job_failure_decode(struct slice payload, struct err *err);

#endif
