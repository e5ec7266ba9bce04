/* SPDX-License-Identifier: ISC */
/*
 * Inside the compactor: what its thread (compactor.c) and the carrying out of
 * one job (compactor_job.c) share.
 */
#ifndef LSMKV_STORE_COMPACTOR_JOB_H
#define LSMKV_STORE_COMPACTOR_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/compactor.h"
#include "store/plan.h"

/*
 * A job found no room for its outputs. What asks for less goes on; the rest
 * waits for more room or for the end of a delay.
 */
struct full {
	uint64_t job_bytes;  /* of its inputs; 0: there is none */
	uint64_t room_bytes; /* was not enough */
	uint64_t look_ns;    /* before that, more room changes nothing */
	uint64_t until_ns;
	bool last; /* it was the last job that there was */
	bool less; /* and there had been one that asked for more */
};

struct compactor {
	struct compactor_options options;
	struct compactor_host host;
	char *helper;   /* owned; NULL: merge in this thread */
	char *dir_path; /* owned, absolute */
	pthread_t thread;
	atomic_bool stop;      /* end soon, kill the helper */
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t wake;   /* for the thread; monotonic clock */
	pthread_cond_t done;   /* for callers of compact_all */
	bool woken;            /* look again */
	uint64_t all_wanted;   /* calls of compact_all so far */
	uint64_t all_done;     /* calls that are answered */
	struct err all_err;    /* how the last one went */
	unsigned waiting;      /* callers inside compact_all */
	struct compactor_stat stat;
	/* The thread's own. */
	struct plan_sweep sweep; /* of a compact_all under way */
	uint64_t sweep_ticket;   /* calls it answers; 0: none under way */
	unsigned delay_ms;       /* of the last failure; 0: none */
	uint64_t rest_until_ns;  /* sparse garbage waits until then */
	struct full full;
	struct plan_retained *retained; /* owned */
	size_t retained_count;
};

static inline bool
compactor_is_stopping(const struct compactor *c)
{
	return atomic_load_explicit(&c->stop, memory_order_relaxed);
}

/* Nothing waits for room once this plan is carried out. */
static inline bool
compactor_ends_wait(const struct compactor *c, const struct plan *plan)
{
	return !c->full.job_bytes ||
	       (plan->kind == PLAN_MERGE && plan->bytes >= c->full.job_bytes);
}

/*
 * Carries out a plan of PLAN_MERGE for a tree, keeping what the snapshots see
 * (ascending): numbers, helper, verification, installation, and the clearing
 * away of what failed. Statistics and the log tell of a success; the error is
 * the caller's to tell.
 */
int compactor_merge(struct compactor *c, const struct plan *plan,
                    const struct levels *levels, const uint64_t *snapshots,
                    size_t snapshot_count, struct err *err);
/* The same for PLAN_MOVE, which is one edit of the tree. */
int compactor_move(struct compactor *c, const struct plan *plan,
                   struct err *err);

#endif
