/* SPDX-License-Identifier: ISC */
/*
 * The compactor's thread: start, watch, verify, install, or clean up.
 *
 * A job passes these steps; doc/format.md, "Crash table", tells what a crash
 * behind each of them leaves:
 *
 *     1. plan, and numbers for the outputs     nothing on disk yet
 *     2. the helper writes NNN.sst.tmp         start removes them
 *     3. it syncs and renames them, answers    start removes what nobody names
 *     4. they are verified here                the same
 *     5. install: MANIFEST by rename           either tree, both whole
 *     6. inputs are unlinked by their last     start removes what nobody names
 *        reader
 *
 * One thread, one job at a time: no two jobs ever share an input. The tree is
 * taken before the snapshots, so that no version in it is newer than the last
 * one of those, and a snapshot opened later finds all it needs.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/compactor_job.h"

#define NICE 10             /* as the flush: below readers and writers */
#define TICK_MS 1000u       /* at rest, the tree is looked at this often */
#define DELAY_MAX_MS 60000u /* between a failed job and the next try */
#define NS_PER_MS UINT64_C(1000000)
#define ALL_BYTES_MAX                                                          \
	(2ull << 30) /* one job of a compaction of everything:
				      level 0 waits for it */

/* ---- state that others look at ---- */

static int
stopping(struct err *err)
{
	return err_set(err, LSMKV_ESHUTDOWN, "the store is closing");
}

static void
set_running(struct compactor *c, const struct plan *plan)
{
	pthread_mutex_lock(&c->mutex);
	c->stat.running = plan != NULL;
	c->stat.from_level = plan ? plan->from_level : 0;
	c->stat.to_level = plan ? plan->output_level : 0;
	c->stat.job_bytes = plan ? plan->bytes : 0;
	c->stat.job_done = 0;
	pthread_mutex_unlock(&c->mutex);
}

/* Waits until woken or for ms; of what wakes, only the end cuts a delay. */
static void
rest(struct compactor *c, unsigned ms, bool only_stop)
{
	uint64_t end = clock_mono_ns() + ms * NS_PER_MS;
	struct timespec until = { (time_t)(end / 1000000000),
		                  (long)(end % 1000000000) };
	int rc = 0;

	pthread_mutex_lock(&c->mutex);
	while (!rc && !compactor_is_stopping(c) && (only_stop || !c->woken))
		rc = pthread_cond_timedwait(&c->wake, &c->mutex, &until);
	if (!only_stop)
		c->woken = false;
	pthread_mutex_unlock(&c->mutex);
}

/* ---- choosing ---- */

/* Half of the free space, at most: a job needs room for its outputs. */
static uint64_t
all_bytes_max(struct compactor *c)
{
	uint64_t bytes = 0;

	if (fs_dir_free_bytes(c->host.dir, &bytes, NULL))
		return 0;
	return bytes / 2 < ALL_BYTES_MAX ? bytes / 2 : ALL_BYTES_MAX;
}

/* What a job's outputs find: not all that is free, since others write, too. */
static uint64_t
room_bytes(struct compactor *c)
{
	uint64_t bytes;

	if (fs_dir_free_bytes(c->host.dir, &bytes, NULL))
		return UINT64_MAX; /* then the job will tell */
	return bytes - bytes / 8;
}

/* Does what asks for as much as the job that found no room wait? */
static bool
is_full(const struct compactor *c, uint64_t room)
{
	const struct full *f = &c->full;
	uint64_t now = clock_mono_ns();

	return f->job_bytes && !c->sweep_ticket && now < f->until_ns &&
	       (now < f->look_ns || room - room / 8 <= f->room_bytes);
}

/* How a plan was carried out, with so much room when it began. */
static void
note_room(struct compactor *c, int rc, const struct plan *plan, uint64_t room)
{
	struct full *f = &c->full;

	f->last = rc == LSMKV_ENOSPC && plan->kind == PLAN_MERGE;
	if (f->last) {
		f->less = plan->bytes < f->job_bytes;
		f->job_bytes = plan->bytes;
		f->room_bytes = room;
	} else if (!rc && compactor_ends_wait(c, plan)) {
		*f = (struct full){ 0 };
	}
}

static int
choose(struct compactor *c, const struct levels *levels, uint64_t oldest,
       uint64_t room, struct plan *plan, struct err *err)
{
	struct plan_input in = {
		.levels = levels,
		.room_bytes = room,
		.level1_bytes = c->options.level1_bytes,
		.file_bytes = c->options.file_bytes,
		.level0_files = c->options.level0_files,
		.reclaim_ms = c->options.reclaim_ms,
		.now_ms = clock_wall_ms(),
		.oldest_snapshot = oldest,
		.resting = clock_mono_ns() < c->rest_until_ns,
		.retained = c->retained,
		.retained_count = c->retained_count,
	};

	/* Even a sweep gives way to a level 0 that is about to stop writers. */
	if (c->sweep_ticket && plan_score(&in, 0) < 2)
		return plan_pick_all(plan, &in, all_bytes_max(c), &c->sweep,
		                     err);
	return plan_pick(plan, &in, err);
}

/* A job that failed for want of room, and is none any more, wants no room. */
static void
note_nothing_to_do(struct compactor *c)
{
	c->full = (struct full){ 0 };
	pthread_mutex_lock(&c->mutex);
	c->stat.last_code = 0;
	pthread_mutex_unlock(&c->mutex);
}

/* One look, and one job if there is one; *busy says so. */
static int
step(struct compactor *c, bool *busy, struct err *err)
{
	struct levels *levels = NULL;
	struct plan plan = PLAN_INIT;
	uint64_t *snapshots = NULL;
	size_t count = 0;
	uint64_t room = room_bytes(c), most = room;
	bool full = is_full(c, room);
	int rc;

	*busy = false;
	c->full.last = false;
	if (full && most >= c->full.job_bytes)
		most = c->full.job_bytes - 1;
	levels = c->host.levels(c->host.arg);
	if (!levels) {
		rc = err_nomem(err, sizeof(*levels));
		goto out;
	}
	rc = c->host.snapshots(c->host.arg, &snapshots, &count, err);
	if (!rc)
		rc = choose(c, levels, count ? snapshots[0] : VERSION_MAX, most,
		            &plan, err);
	if (!rc && plan.kind == PLAN_NONE)
		note_nothing_to_do(c);
	if (rc || plan.kind == PLAN_NONE ||
	    (full && plan.kind == PLAN_MERGE &&
	     plan.bytes >= c->full.job_bytes))
		goto out;
	*busy = true;
	set_running(c, &plan);
	rc = plan.kind == PLAN_MOVE
	             ? compactor_move(c, &plan, err)
	             : compactor_merge(c, &plan, levels, snapshots, count, err);
	set_running(c, NULL);
	note_room(c, rc, &plan, room);
	if (rc)
		err_prepend(err, "compaction of level %u to %u",
		            plan.from_level, plan.output_level);
out:
	plan_release(&plan);
	free(snapshots);
	levels_unref(levels);
	return rc;
}

/* ---- the thread ---- */

static void
begin_sweep(struct compactor *c)
{
	pthread_mutex_lock(&c->mutex);
	if (!c->sweep_ticket && c->all_done < c->all_wanted) {
		c->sweep_ticket = c->all_wanted;
		plan_sweep_release(&c->sweep);
		c->sweep = (struct plan_sweep)PLAN_SWEEP_INIT;
	}
	pthread_mutex_unlock(&c->mutex);
}

static void
end_sweep(struct compactor *c, const struct err *err)
{
	if (!c->sweep_ticket)
		return;
	pthread_mutex_lock(&c->mutex);
	c->all_done = c->sweep_ticket;
	c->all_err = *err;
	c->sweep_ticket = 0;
	pthread_cond_broadcast(&c->done);
	pthread_mutex_unlock(&c->mutex);
}

static void
note_failure(struct compactor *c, const struct err *err)
{
	if (!c->delay_ms)
		c->delay_ms = c->options.retry_ms;
	else if (c->full.last && c->full.less)
		; /* it is not the same job once more */
	else if (c->delay_ms < DELAY_MAX_MS / 2)
		c->delay_ms *= 2;
	else
		c->delay_ms = DELAY_MAX_MS;
	pthread_mutex_lock(&c->mutex);
	c->stat.failures++;
	c->stat.last_code = err->code;
	(void)strlcpy(c->stat.last_error, err->message,
	              sizeof(c->stat.last_error));
	pthread_mutex_unlock(&c->mutex);
	if (err->code == LSMKV_EFAILED)
		log_warn("%s; no more compactions until a restart",
		         err->message);
	else
		log_warn("%s; tried again in %u s", err->message,
		         c->delay_ms / 1000);
}

/* Nothing is left to do but to answer, until the end. */
static void
give_up(struct compactor *c, const struct err *err)
{
	while (!compactor_is_stopping(c)) {
		begin_sweep(c);
		end_sweep(c, err);
		rest(c, TICK_MS, false);
	}
}

static unsigned
tick_ms(const struct compactor *c)
{
	unsigned ms = c->options.reclaim_ms / 4;

	if (ms < 10)
		ms = 10;
	return ms < TICK_MS ? ms : TICK_MS;
}

/* The job that found no room is not tried again before then. */
static void
wait_for_room(struct compactor *c)
{
	uint64_t now = clock_mono_ns();

	c->full.look_ns = now + tick_ms(c) * NS_PER_MS;
	c->full.until_ns = now + c->delay_ms * NS_PER_MS;
}

static void *
compactor_main(void *arg)
{
	const struct sched_param batch = { .sched_priority = 0 };
	struct compactor *c = arg;
	struct err err;
	bool busy;
	int rc;

	/* Linux: the nice value is the thread's. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	/* Whoever waits for an answer is never pushed aside by this thread. */
	(void)sched_setscheduler(0, SCHED_BATCH, &batch);
	while (!compactor_is_stopping(c)) {
		err = (struct err)ERR_INIT;
		begin_sweep(c);
		rc = step(c, &busy, &err);
		if (compactor_is_stopping(c))
			break;
		if (rc) {
			note_failure(c, &err);
			end_sweep(c, &err);
			/* The store takes no changes until it is restarted. */
			if (rc == LSMKV_EFAILED)
				give_up(c, &err);
			if (c->full.last)
				wait_for_room(c);
			else
				rest(c, c->delay_ms, true);
			continue;
		}
		c->delay_ms = busy && !c->full.job_bytes ? 0 : c->delay_ms;
		if (c->sweep_ticket && c->sweep.done)
			end_sweep(c, &err);
		else if (!busy && !c->sweep_ticket)
			rest(c, tick_ms(c), false);
	}
	(void)stopping(&err);
	begin_sweep(c);
	end_sweep(c, &err);
	return NULL;
}

/* ---- from outside ---- */

static void
compactor_free(struct compactor *c)
{
	plan_sweep_release(&c->sweep);
	free(c->retained);
	free(c->helper);
	free(c->dir_path);
	free(c);
}

static int
start_thread(struct compactor *c, struct err *err)
{
	pthread_condattr_t attr;
	sigset_t all, before;
	int e;

	pthread_mutex_init(&c->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&c->done, NULL);
	/* Signals are for the threads that expect them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	e = pthread_create(&c->thread, NULL, compactor_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!e)
		return 0;
	pthread_cond_destroy(&c->done);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->mutex);
	return err_set_errno(err, e, "starting the compactor's thread");
}

int
compactor_start(struct compactor **out, const struct compactor_options *options,
                const struct compactor_host *host, struct err *err)
{
	struct compactor *c = NULL;
	int rc;

	*out = NULL;
	if (!options->file_bytes || !options->level1_bytes ||
	    !options->level0_files || !options->sst.block_bytes)
		return err_set(err, LSMKV_EINVAL,
		               "sizes of levels, files and blocks must be "
		               "above 0");
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_nomem(err, sizeof(*c));
	c->options = *options;
	c->options.helper = NULL;
	c->host = *host;
	c->dir_path = realpath(host->dir->path, NULL);
	if (!c->dir_path) {
		rc = err_set_errno(err, errno, "%s", host->dir->path);
		goto fail;
	}
	if (options->helper) {
		c->helper = strdup(options->helper);
		if (!c->helper) {
			rc = err_nomem(err, PATH_MAX);
			goto fail;
		}
	}
	rc = start_thread(c, err);
	if (rc)
		goto fail;
	*out = c;
	return 0;
fail:
	compactor_free(c);
	return rc;
}

void
compactor_wake(struct compactor *c)
{
	pthread_mutex_lock(&c->mutex);
	c->woken = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->mutex);
}

int
compactor_compact_all(struct compactor *c, struct err *err)
{
	uint64_t ticket;
	int rc;

	pthread_mutex_lock(&c->mutex);
	ticket = ++c->all_wanted;
	c->waiting++;
	c->woken = true;
	pthread_cond_signal(&c->wake);
	while (c->all_done < ticket && !compactor_is_stopping(c))
		pthread_cond_wait(&c->done, &c->mutex);
	if (c->all_done < ticket)
		rc = stopping(err);
	else
		rc = c->all_err.code ? err_set(err, c->all_err.code, "%s",
		                               c->all_err.message)
		                     : 0;
	c->waiting--;
	pthread_cond_broadcast(&c->done);
	pthread_mutex_unlock(&c->mutex);
	return rc;
}

void
compactor_get_stat(struct compactor *c, struct compactor_stat *s)
{
	pthread_mutex_lock(&c->mutex);
	*s = c->stat;
	pthread_mutex_unlock(&c->mutex);
}

void
compactor_stop(struct compactor *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->mutex);
	atomic_store(&c->stop, true);
	pthread_cond_broadcast(&c->wake);
	pthread_cond_broadcast(&c->done);
	while (c->waiting)
		pthread_cond_wait(&c->done, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->done);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->mutex);
	compactor_free(c);
}
