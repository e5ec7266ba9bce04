/* SPDX-License-Identifier: ISC */
/*
 * What a compaction has made, looked at by the one who is to live with it.
 */
#ifndef LSMKV_STORE_OUTPUTS_H
#define LSMKV_STORE_OUTPUTS_H

#include "base/fsio.h"
#include "store/job.h"

struct block_cache;

/*
 * Does the result fit the job? Numbers, order, key ranges, versions, and the
 * sum: entries in = out + shadowed + expired + tombstones. LSMKV_ECHILD.
 */
int outputs_verify(const struct job *job, const struct job_result *result,
                   struct err *err);
/*
 * Opens every file of the result, as it will be used, into files (room for
 * output_count, all NULL; the caller unrefs what is there, on an error, too),
 * reads and checks all of it (sst_check), and makes the names durable. stop
 * is asked now and then: LSMKV_ESHUTDOWN.
 */
int outputs_open(struct fs_dir *dir, const struct job_result *result,
                 struct block_cache *cache, bool (*stop)(void *arg), void *arg,
                 struct sst **files, struct err *err);
/*
 * Could a MANIFEST on disk name an output? For an install whose outcome is
 * not known. True where that cannot be told.
 */
bool outputs_may_be_named(struct fs_dir *dir, const struct job *job);
/*
 * Removes whatever stands under the numbers that the job reserved, whole or
 * half. Only when no helper works on it any more and no MANIFEST names them.
 */
int outputs_remove(struct fs_dir *dir, const struct job *job, struct err *err);

#endif
