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
#include <inttypes.h>
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
#include "base/deflate.h"
#include "base/log.h"
#include "store/compact.h"
#include "store/compactor.h"
#include "store/helper.h"
#include "store/outputs.h"
#include "store/plan.h"

#define NICE 10            /* as the flush: below readers and writers */
#define TICK_MS 1000u      /* at rest, the tree is looked at this often */
#define DELAY_MIN_MS 1000u /* after a failure, then doubled */
#define DELAY_MAX_MS 60000u
#define REST_MAX_MS 60000u /* after a job that brought little */
#define ALL_BYTES_MAX                                                          \
	(2ull << 30) /* one job of a compaction of everything:
				      level 0 waits for it */

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
	struct plan_retained *retained; /* owned */
	size_t retained_count;
};

/* A job on its way. */
struct work {
	struct compactor *c;
	const struct plan *plan;
	struct job job;
	struct job_result result;
	struct sst **outputs; /* the result's files, opened; owned */
	uint64_t started_ns;
};

/* ---- state that others look at ---- */

static bool
is_stopping(const struct compactor *c)
{
	return atomic_load_explicit(&c->stop, memory_order_relaxed);
}

static int
stopping(struct err *err)
{
	return err_set(err, LSMKV_ESHUTDOWN, "the store is closing");
}

static bool
wants_stop(void *arg)
{
	return is_stopping(arg);
}

static void
set_progress(void *arg, uint64_t done)
{
	struct compactor *c = arg;

	pthread_mutex_lock(&c->mutex);
	c->stat.job_done = done;
	pthread_mutex_unlock(&c->mutex);
}

static void
set_helper(void *arg, pid_t pid)
{
	struct compactor *c = arg;

	pthread_mutex_lock(&c->mutex);
	c->stat.helper = pid;
	pthread_mutex_unlock(&c->mutex);
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
	uint64_t end = clock_mono_ns() + (uint64_t)ms * 1000000;
	struct timespec until = { (time_t)(end / 1000000000),
		                  (long)(end % 1000000000) };
	int rc = 0;

	pthread_mutex_lock(&c->mutex);
	while (!rc && !is_stopping(c) && (only_stop || !c->woken))
		rc = pthread_cond_timedwait(&c->wake, &c->mutex, &until);
	if (!only_stop)
		c->woken = false;
	pthread_mutex_unlock(&c->mutex);
}

/* Without a helper: the same from compact_run. */
static int
merge_progress(void *arg, uint64_t done)
{
	set_progress(arg, done);
	return is_stopping(arg);
}

/* ---- installing ---- */

/* Hands the host an edit that is proven to fit the tree as it is now. */
static int
install(struct compactor *c, const struct levels_edit *edit, struct err *err)
{
	struct levels *now = c->host.levels(c->host.arg), *then = NULL;
	int rc;

	if (!now)
		return err_nomem(err, sizeof(*now));
	rc = levels_apply(now, edit, &then, err);
	levels_unref(then);
	levels_unref(now);
	return rc ? rc : c->host.install(c->host.arg, edit, err);
}

static int
install_plan(struct compactor *c, const struct plan *plan,
             struct sst *const *outputs, size_t output_count, struct err *err)
{
	struct levels_edit edit = { NULL, output_count, NULL,
		                    plan->input_count };
	int rc;

	edit.added = calloc(output_count + 1, sizeof(*edit.added));
	edit.removed = calloc(plan->input_count, sizeof(*edit.removed));
	if (!edit.added || !edit.removed) {
		rc = err_nomem(err, output_count * sizeof(*edit.added));
		goto out;
	}
	for (size_t i = 0; i < output_count; i++) {
		edit.added[i].level = plan->output_level;
		edit.added[i].file = outputs[i];
	}
	for (size_t i = 0; i < plan->input_count; i++) {
		edit.removed[i].level = plan->inputs[i].level;
		edit.removed[i].number =
			sst_info_of(plan->inputs[i].file)->number;
	}
	rc = install(c, &edit, err);
out:
	free(edit.added);
	free(edit.removed);
	return rc;
}

/* ---- one job ---- */

/* Remembers which files hold what only old snapshots see. */
static void
remember_retained(struct work *w)
{
	struct compactor *c = w->c;
	const struct job_result *r = &w->result;
	struct plan_retained *list;
	size_t kept = 0;

	for (size_t i = 0; i < c->retained_count; i++) {
		bool gone = false;

		for (size_t j = 0; j < w->plan->input_count && !gone; j++)
			gone = sst_info_of(w->plan->inputs[j].file)->number ==
			       c->retained[i].number;
		if (!gone)
			c->retained[kept++] = c->retained[i];
	}
	c->retained_count = kept;
	list = reallocarray(c->retained, kept + r->output_count + 1,
	                    sizeof(*list));
	if (!list)
		return; /* forgotten: it stays until the next merge there */
	c->retained = list;
	for (size_t i = 0; i < r->output_count; i++) {
		if (!r->outputs[i].retained)
			continue;
		list[c->retained_count].number = r->outputs[i].info.number;
		list[c->retained_count].entries = r->outputs[i].retained;
		c->retained_count++;
	}
}

/*
 * Jobs that were worth little are paid for by a rest, in proportion: what
 * looks for garbage on suspicion never takes more than its share.
 */
static void
earn_rest(struct work *w, uint64_t took_ms)
{
	const struct job_result *r = &w->result;
	uint64_t dropped = r->shadowed + r->expired + r->tombstones, ms;

	if (w->plan->dense ||
	    (w->plan->why != PLAN_RECLAIM && w->plan->why != PLAN_SETTLE))
		return;
	ms = dropped ? took_ms * (r->entries_in / dropped) : REST_MAX_MS;
	if (ms > REST_MAX_MS)
		ms = REST_MAX_MS;
	w->c->rest_until_ns = clock_mono_ns() + ms * 1000000;
}

static uint64_t
output_bytes(const struct job_result *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->output_count; i++)
		sum += r->outputs[i].info.size;
	return sum;
}

static void
note_success(struct work *w)
{
	struct compactor *c = w->c;
	const struct job_result *r = &w->result;
	uint64_t took_ms = (clock_mono_ns() - w->started_ns) / 1000000;
	uint64_t written = output_bytes(r);

	pthread_mutex_lock(&c->mutex);
	c->stat.jobs++;
	c->stat.bytes_read += w->plan->bytes;
	c->stat.bytes_written += written;
	c->stat.dropped_shadowed += r->shadowed;
	c->stat.dropped_expired += r->expired;
	c->stat.dropped_tombstones += r->tombstones;
	c->stat.last_code = 0;
	c->stat.last_error[0] = '\0';
	pthread_mutex_unlock(&c->mutex);
	remember_retained(w);
	earn_rest(w, took_ms);
	log_info("compaction: level %u -> %u (%s), %zu files, %.1f MB -> "
	         "%zu files, %.1f MB, %" PRIu64 " ms, %" PRIu64 " of %" PRIu64
	         " entries dropped: %" PRIu64 " shadowed, %" PRIu64
	         " expired, %" PRIu64 " tombstones",
	         w->plan->from_level, w->plan->output_level,
	         plan_why_word(w->plan->why), w->plan->input_count,
	         (double)w->plan->bytes / 1e6, r->output_count,
	         (double)written / 1e6, took_ms, r->entries_in - r->entries_out,
	         r->entries_in, r->shadowed, r->expired, r->tombstones);
}

static int
prepare(struct work *w, const struct levels *levels, const uint64_t *snapshots,
        size_t snapshot_count, struct err *err)
{
	struct compactor *c = w->c;
	struct job *job = &w->job;
	int rc;

	job->file_bytes = c->options.file_bytes;
	job->sst = c->options.sst;
	job->now = clock_wall_s();
	rc = buf_set(&job->dir, slice_str(c->dir_path), err);
	if (!rc)
		rc = job_from_plan(job, w->plan, levels, err);
	if (rc)
		return rc;
	/* What is on its way down is soon written again: quickly, then. */
	if (job->deeper_count && job->sst.deflate_level > DEFLATE_FAST)
		job->sst.deflate_level = DEFLATE_FAST;
	if (snapshot_count) {
		job->snapshots = calloc(snapshot_count, sizeof(*snapshots));
		if (!job->snapshots)
			return err_nomem(err,
			                 snapshot_count * sizeof(*snapshots));
		memcpy(job->snapshots, snapshots,
		       snapshot_count * sizeof(*snapshots));
		job->snapshot_count = snapshot_count;
	}
	job->first_output = c->host.numbers(c->host.arg, job->output_count);
	return 0;
}

static int
make_outputs(struct work *w, struct err *err)
{
	struct compactor *c = w->c;
	struct helper_watch watch = { c, set_helper, set_progress, wants_stop };
	int rc;

	rc = c->helper ? helper_run(c->helper, c->host.lock_fd, &w->job,
	                            c->options.silence_ms, &watch, &w->result,
	                            err)
	               : compact_run(c->host.dir, &w->job, merge_progress, c,
	                             &w->result, err);
	if (!rc)
		rc = outputs_verify(&w->job, &w->result, err);
	if (rc)
		return rc;
	w->outputs = calloc(w->result.output_count + 1, sizeof(*w->outputs));
	if (!w->outputs)
		return err_nomem(err, w->result.output_count);
	return outputs_open(c->host.dir, &w->result, c->host.cache, wants_stop,
	                    c, w->outputs, err);
}

static int
run_merge(struct compactor *c, const struct plan *plan,
          const struct levels *levels, const uint64_t *snapshots,
          size_t snapshot_count, struct err *err)
{
	struct work w = { .c = c, .plan = plan };
	bool remove = false;
	int rc;

	w.started_ns = clock_mono_ns();
	rc = prepare(&w, levels, snapshots, snapshot_count, err);
	if (rc)
		goto out;
	rc = make_outputs(&w, err);
	remove = rc != 0;
	if (rc)
		goto out;
	rc = install_plan(c, plan, w.outputs, w.result.output_count, err);
	remove = rc && !outputs_may_be_named(c->host.dir, &w.job);
	if (!rc)
		note_success(&w);
out:
	for (size_t i = 0; w.outputs && i < w.result.output_count; i++)
		if (w.outputs[i])
			sst_unref(w.outputs[i]);
	free(w.outputs);
	if (remove && outputs_remove(c->host.dir, &w.job, NULL))
		log_warn("compaction: outputs of a failed job could not be "
		         "removed; the next start does that");
	job_result_release(&w.result);
	job_release(&w.job);
	return rc;
}

static int
run_move(struct compactor *c, const struct plan *plan, struct err *err)
{
	struct sst *file = plan->inputs[0].file;
	int rc = install_plan(c, plan, &file, 1, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&c->mutex);
	c->stat.moves++;
	c->stat.last_code = 0;
	c->stat.last_error[0] = '\0';
	pthread_mutex_unlock(&c->mutex);
	log_info("compaction: sst %" PRIu64 " moved from level %u to %u, "
	         "%.1f MB",
	         sst_info_of(file)->number, plan->from_level,
	         plan->output_level, (double)plan->bytes / 1e6);
	return 0;
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

static int
choose(struct compactor *c, const struct levels *levels, uint64_t oldest,
       struct plan *plan, struct err *err)
{
	struct plan_input in = {
		.levels = levels,
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
	int rc;

	*busy = false;
	levels = c->host.levels(c->host.arg);
	if (!levels) {
		rc = err_nomem(err, sizeof(*levels));
		goto out;
	}
	rc = c->host.snapshots(c->host.arg, &snapshots, &count, err);
	if (!rc)
		rc = choose(c, levels, count ? snapshots[0] : VERSION_MAX,
		            &plan, err);
	if (!rc && plan.kind == PLAN_NONE)
		note_nothing_to_do(c);
	if (rc || plan.kind == PLAN_NONE)
		goto out;
	*busy = true;
	set_running(c, &plan);
	rc = plan.kind == PLAN_MOVE
	             ? run_move(c, &plan, err)
	             : run_merge(c, &plan, levels, snapshots, count, err);
	set_running(c, NULL);
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
	c->delay_ms = c->delay_ms ? c->delay_ms * 2 : DELAY_MIN_MS;
	if (c->delay_ms > DELAY_MAX_MS)
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
	while (!is_stopping(c)) {
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
	while (!is_stopping(c)) {
		err = (struct err)ERR_INIT;
		begin_sweep(c);
		rc = step(c, &busy, &err);
		if (is_stopping(c))
			break;
		if (rc) {
			note_failure(c, &err);
			end_sweep(c, &err);
			/* The store takes no changes until it is restarted. */
			if (rc == LSMKV_EFAILED)
				give_up(c, &err);
			rest(c, c->delay_ms, true);
			continue;
		}
		c->delay_ms = busy ? 0 : c->delay_ms;
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
	while (c->all_done < ticket && !is_stopping(c))
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
