/* SPDX-License-Identifier: ISC */
/*
 * One compaction: the merge itself. Run by lsmkv-compact, and in-process by
 * tests and by a compactor without a helper.
 */
#ifndef LSMKV_STORE_COMPACT_H
#define LSMKV_STORE_COMPACT_H

#include "store/job.h"

/*
 * Merges the job's inputs into new SSTs in dir, which are durable on return
 * of 0, and fills result (released by the caller). progress(arg, done) is
 * called about every 100 ms with the input bytes that are through (NULL
 * allowed); a non-zero answer stops with LSMKV_ESHUTDOWN. On an error every
 * output is removed. Inputs are only read.
 */
int compact_run(struct fs_dir *dir, const struct job *job,
                int (*progress)(void *arg, uint64_t done), void *arg,
                struct job_result *result, struct err *err);

#endif
