/* SPDX-License-Identifier: ISC */
/*
 * One compaction from its plan to the tree: the steps that compactor.c lists,
 * from 2 on.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/deflate.h"
#include "base/log.h"
#include "store/compact.h"
#include "store/compactor_job.h"
#include "store/helper.h"
#include "store/outputs.h"

#define REST_MAX_MS 60000u /* after a job that brought little */

/* A job on its way. */
struct work {
	struct compactor *c;
	const struct plan *plan;
	struct job job;
	struct job_result result;
	struct sst **outputs; /* the result's files, opened; owned */
	uint64_t started_ns;
};

/* ---- while it runs ---- */

static bool
wants_stop(void *arg)
{
	return compactor_is_stopping(arg);
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

/* Without a helper: the same from compact_run. */
static int
merge_progress(void *arg, uint64_t done)
{
	set_progress(arg, done);
	return compactor_is_stopping(arg);
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

/* With the mutex: what failed before is done, unless that waits. */
static void
forget_failure(struct compactor *c, const struct plan *plan)
{
	if (!compactor_ends_wait(c, plan))
		return;
	c->stat.last_code = 0;
	c->stat.last_error[0] = '\0';
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
	forget_failure(c, w->plan);
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

int
compactor_merge(struct compactor *c, const struct plan *plan,
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

int
compactor_move(struct compactor *c, const struct plan *plan, struct err *err)
{
	struct sst *file = plan->inputs[0].file;
	int rc = install_plan(c, plan, &file, 1, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&c->mutex);
	c->stat.moves++;
	forget_failure(c, plan);
	pthread_mutex_unlock(&c->mutex);
	log_info("compaction: sst %" PRIu64 " moved from level %u to %u, "
	         "%.1f MB",
	         sst_info_of(file)->number, plan->from_level,
	         plan->output_level, (double)plan->bytes / 1e6);
	return 0;
}
