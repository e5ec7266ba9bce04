/* SPDX-License-Identifier: ISC */
/*
 * lsmkv-compact as the compactor sees it: one conversation about one job.
 */
#ifndef LSMKV_STORE_HELPER_H
#define LSMKV_STORE_HELPER_H

#include <sys/types.h>

#include "store/job.h"

/* Who wants to know how it goes. */
struct helper_watch {
	void *arg;
	void (*started)(void *arg, pid_t pid); /* 0: it is gone again */
	/* Input bytes that are through. */
	void (*progress)(void *arg, uint64_t done);
	bool (*stop)(void *arg); /* asked often: end it at once? */
};

/*
 * Starts the program at path (absolute), hands it lock_fd (-1: none) and the
 * job, and returns when it has ended: 0 and *result (released by the caller),
 * as it claims it, or an error. It is killed after silence_ms without
 * progress, on an answer that makes no sense, and within a moment after
 * watch->stop says so (LSMKV_ESHUTDOWN). On return no process is left.
 */
int helper_run(const char *path, int lock_fd, const struct job *job,
               unsigned silence_ms, const struct helper_watch *watch,
               struct job_result *result, struct err *err);

#endif
