/* SPDX-License-Identifier: ISC */
/*
 * The one invariant of the tree that no file shows by itself: from level to
 * level, and in level 0 from newer to older files, the versions of a key get
 * older. Where that does not hold, a read finds an old value first.
 */
#ifndef LSMKV_CLI_ORDER_H
#define LSMKV_CLI_ORDER_H

#include "cli/progress.h"
#include "store/block_cache.h"
#include "store/manifest.h"

/*
 * Merges all files that m names, which must be sound, and calls damaged(arg,
 * message) for each key that breaks the rule, up to a limit. LSMKV_NOTFOUND if
 * a file is not there any more. All files are open at once: what a running
 * store removes meanwhile keeps its disk space until the end. It adds the raw
 * bytes of all files to the progress, which expects them already.
 */
int order_check(struct fs_dir *dir, const struct manifest *m,
                struct block_cache *cache, struct progress *progress,
                void (*damaged)(void *arg, const char *message), void *arg,
                struct err *err);

#endif
