/* SPDX-License-Identifier: ISC */
/*
 * The conversation with lsmkv-compact, from its start to its end.
 *
 * The job goes in, and the pipe stays open, so that its end tells the helper
 * that we are gone. Progress comes back, then one result or failure, then the
 * end of its output, then it exits with 0. All else is a failure, and kills
 * it. Only progress that grows counts as a sign of life. The compactor's
 * thread runs this; it never waits longer than LOOK_MS without looking whether
 * it is to stop.
 */
#include <limits.h>

#include "base/child.h"
#include "base/clock.h"
#include "store/helper.h"

#define LOOK_MS 50   /* how long a wait may be */
#define EXIT_MS 5000 /* a helper that has closed its output ends by then */

struct conversation {
	struct child child;
	const struct helper_watch *watch;
	struct job_result *result; /* the caller's */
	struct buf in;             /* answers, not yet taken */
	unsigned silence_ms;       /* the limit */
	uint64_t heard_ns;         /* last sign of life */
	uint64_t done;             /* progress told so far */
	bool answered;             /* the result is there */
};

static int
stopped(struct err *err)
{
	return err_set(err, LSMKV_ESHUTDOWN, "compaction was told to stop");
}

/* No more patience? */
static int
check_silence(const struct conversation *v, struct err *err)
{
	uint64_t silent_ms = (clock_mono_ns() - v->heard_ns) / 1000000;

	if (silent_ms <= v->silence_ms)
		return 0;
	return err_set(err, LSMKV_ECHILD,
	               "no progress for %u ms, it was killed", v->silence_ms);
}

/*
 * Sends the job in pieces of PIPE_BUF: a pipe takes one whole or not at all,
 * so that one it has not taken can be sent again, and every wait is short. A
 * helper that hangs up early may say why: then the rest is listening.
 */
static int
send_job(struct conversation *v, struct slice frame, struct err *err)
{
	while (frame.len) {
		size_t n = frame.len < PIPE_BUF ? frame.len : PIPE_BUF;
		int rc;

		if (v->watch->stop(v->watch->arg))
			return stopped(err);
		if (!child_send(&v->child, slice_make(frame.data, n), false,
		                LOOK_MS, err)) {
			frame.data += n;
			frame.len -= n;
			continue;
		}
		rc = child_receive(&v->child, &v->in, LOOK_MS, err);
		if (rc != LSMKV_NOTFOUND)
			return rc < 0 ? rc : 0;
		rc = check_silence(v, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int
take_answer(struct conversation *v, enum job_kind kind, struct slice payload,
            struct err *err)
{
	uint64_t done = 0;
	int rc;

	if (v->answered)
		return err_set(err, LSMKV_ECORRUPT,
		               "something came behind the result");
	switch (kind) {
	case JOB_PROGRESS:
		rc = job_progress_decode(payload, &done, err);
		if (rc || done <= v->done)
			return rc;
		v->done = done;
		v->watch->progress(v->watch->arg, done);
		break;
	case JOB_RESULT:
		rc = job_result_decode(payload, v->result, err);
		if (rc)
			return rc;
		v->answered = true;
		break;
	case JOB_FAILURE:
		return job_failure_decode(payload, err);
	case JOB_START:
	default:
		return err_set(err, LSMKV_ECORRUPT,
		               "an answer of unknown kind %d", (int)kind);
	}
	v->heard_ns = clock_mono_ns();
	return 0;
}

/* Takes the whole frames that are there. */
static int
take_answers(struct conversation *v, struct err *err)
{
	enum job_kind kind = JOB_START;
	struct slice payload;
	size_t at = 0;
	int rc = 0;

	while (!rc) {
		rc = job_frame(buf_slice(&v->in), &at, &kind, &payload, err);
		if (!rc)
			rc = take_answer(v, kind, payload, err);
	}
	if (rc != LSMKV_END)
		return rc;
	memmove(v->in.data, v->in.data + at, v->in.len - at);
	v->in.len -= at;
	return 0;
}

static int
listen_to_end(struct conversation *v, struct err *err)
{
	int rc;

	for (;;) {
		if (v->watch->stop(v->watch->arg))
			return stopped(err);
		rc = child_receive(&v->child, &v->in, LOOK_MS, err);
		if (rc < 0)
			return rc;
		if (rc == LSMKV_END)
			break;
		rc = v->in.len ? take_answers(v, err) : 0;
		if (!rc)
			rc = check_silence(v, err);
		if (rc)
			return rc;
	}
	if (!v->answered || v->in.len)
		return err_set(err, LSMKV_ECHILD, "it ended without a result");
	return 0;
}

int
helper_run(const char *path, int lock_fd, const struct job *job,
           unsigned silence_ms, const struct helper_watch *watch,
           struct job_result *result, struct err *err)
{
	struct conversation v = { .child = CHILD_INIT, .watch = watch };
	struct err ending = ERR_INIT;
	struct buf frame = BUF_INIT;
	char *argv[] = { (char *)(uintptr_t)path, NULL };
	int rc, end;

	*result = (struct job_result)JOB_RESULT_INIT;
	v.result = result;
	v.silence_ms = silence_ms;
	rc = job_encode(job, &frame, err);
	if (!rc)
		rc = child_start(&v.child, argv, lock_fd, err);
	if (rc)
		goto out;
	watch->started(watch->arg, v.child.pid);
	v.heard_ns = clock_mono_ns();
	rc = send_job(&v, buf_slice(&frame), err);
	if (!rc)
		rc = listen_to_end(&v, err);
	end = child_finish(&v.child, rc ? 0 : EXIT_MS, &ending);
	watch->started(watch->arg, 0);
	if (!rc && end)
		rc = err_set(err, end, "%s", ending.message);
	else if (rc == LSMKV_ECHILD && end)
		err_prepend(err, "%s", ending.message);
out:
	if (rc)
		job_result_release(result);
	buf_release(&v.in);
	buf_release(&frame);
	return rc;
}
