/* SPDX-License-Identifier: ISC */
/*
 * A helper process that we talk to: its only fork, exec, wait and kill.
 *
 * The child is exec'd, never merely forked, so that nothing of a threaded
 * parent lives on in it. What it inherits is this list and nothing else:
 *
 *     fd 0   a pipe: what the parent sends
 *     fd 1   a pipe: what the child answers
 *     fd 2   the parent's stderr
 *     fd 3   `keep`, when given (the directory lock: a new owner cannot start
 *            while an old helper still writes)
 *     environment: LANG, PATH, TZ only; working directory: /
 *
 * It runs at nice 10, as a batch and at idle I/O priority where the kernel
 * allows, is first in line for the OOM killer (oom_score_adj 1000 at most), and dies when its
 * pipe to the parent breaks.
 */
#ifndef LSMKV_BASE_CHILD_H
#define LSMKV_BASE_CHILD_H

#include <sys/types.h>

#include "base/bytes.h"

#define CHILD_KEEP_FD 3

struct child {
	pid_t pid; /* 0 when there is none */
	int pidfd; /* readable when the child has ended; -1 if unsupported */
	int to;    /* write end of its stdin; -1 once closed */
	int from;  /* read end of its stdout */
};

#define CHILD_INIT                                                             \
	{                                                                      \
		0, -1, -1, -1                                                  \
	}

/*
 * Starts argv[0] (an absolute path) with argv. keep is a descriptor to hand
 * down as fd 3, or -1. LSMKV_ECHILD if it cannot be forked or exec'd (exec
 * failures are reported by the call, not by a dead child).
 */
int child_start(struct child *c, char *const argv[], int keep, struct err *err);
/* Sends all of data, waiting at most timeout_ms; closes `to` when close is. */
int child_send(struct child *c, struct slice data, bool close, int timeout_ms,
               struct err *err);
/*
 * Waits at most timeout_ms for bytes from the child and appends what is there
 * to out. 0 when some came, LSMKV_END at end of file, LSMKV_NOTFOUND when the
 * time passed in silence.
 */
int child_receive(struct child *c, struct buf *out, int timeout_ms,
                  struct err *err);
/*
 * Waits at most timeout_ms for it to end, then kills it (SIGKILL) and waits
 * for good. Closes every descriptor. 0 if it exited with status 0; else
 * LSMKV_ECHILD and how it ended.
 */
int child_finish(struct child *c, int timeout_ms, struct err *err);

#endif
