/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder: its workers; see fcgi.h.
 *
 * A write is put aside as a job, and another job serves the next request. When
 * there are no more requests, one worker writes all that was put aside, and
 * answers it (writes.h).
 */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/waits.h"
#include "http/fcgi_impl.h"

#define ROLE_RESPONDER 1
#define STOP_GRACE_MS 500            /* for answers that are under way */
#define MEMORY_KEPT_MAX (256u << 10) /* of a buffer, between requests, */
#define MEMORY_SPARE_MAX (4u << 10)  /* where there are many of them */
#define SPARE_MAX 256u               /* jobs kept for later */
#define LATE_MAX 8u /* answers that may take long, of a worker */

static void write_all(struct worker *w);

/* ---- jobs ---- */

/* Gives back what a large request took. */
static void
job_trim(struct job *j, size_t max)
{
	if (j->request.body.cap > max)
		buf_release(&j->request.body);
	if (j->response.memory.cap > max)
		buf_release(&j->response.memory);
	if (j->write.call.key.cap > max)
		buf_release(&j->write.call.key);
}

static void
job_free(struct job *j)
{
	if (!j)
		return;
	request_release(&j->request);
	response_release(&j->response);
	api_call_release(&j->write.call);
	free(j);
}

/* NULL: no memory. */
static struct job *
job_get(struct fcgi *f)
{
	struct job *j;

	pthread_mutex_lock(&f->lock);
	j = SLIST_FIRST(&f->spare);
	if (j) {
		SLIST_REMOVE_HEAD(&f->spare, in_spare);
		f->spare_count--;
	}
	pthread_mutex_unlock(&f->lock);
	return j ? j : calloc(1, sizeof(*j));
}

static void
job_put(struct fcgi *f, struct job *j)
{
	bool kept;

	job_trim(j, MEMORY_SPARE_MAX);
	pthread_mutex_lock(&f->lock);
	kept = f->spare_count < SPARE_MAX;
	if (kept) {
		SLIST_INSERT_HEAD(&f->spare, j, in_spare);
		f->spare_count++;
	}
	pthread_mutex_unlock(&f->lock);
	if (!kept)
		job_free(j);
}

static struct job *
job_of(struct api_call *call)
{
	return (struct job *)((char *)call - offsetof(struct job, write.call));
}

/* ---- waiting ---- */

void
worker_step_out(void *worker)
{
	struct worker *w = worker;

	if (w->outside++)
		return;
	/* In the middle of a read, say: others need not wait for that. */
	if (writes_wait(&w->fcgi->writes))
		lobby_call(w->fcgi->lobby);
	lobby_leave(w->fcgi->lobby);
}

void
worker_step_in(void *worker)
{
	struct worker *w = worker;

	if (!--w->outside)
		lobby_enter(w->fcgi->lobby);
}

bool
worker_set(struct worker *w, int fd, bool reading)
{
	bool stopping;

	pthread_mutex_lock(&w->lock);
	stopping = atomic_load(&w->fcgi->stopping);
	w->busy_fd = reading && stopping ? -1 : fd;
	w->reading = reading;
	pthread_mutex_unlock(&w->lock);
	return !(reading && stopping);
}

bool
worker_is_ready(struct worker *w, int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, 0), busy_fd = w->busy_fd;
	bool reading = w->reading;

	if (n)
		return n > 0;
	if (writes_wait(&w->fcgi->writes) || !STAILQ_EMPTY(&w->late)) {
		if (timeout_ms <= MOMENT_MS)
			return false;
		write_all(w); /* busy with others meanwhile */
		if (busy_fd >= 0 && !worker_set(w, busy_fd, reading))
			return false;
	}
	worker_step_out(w);
	n = poll(&p, 1, timeout_ms);
	worker_step_in(w);
	return n > 0;
}

/* ---- writes ---- */

/*
 * Writes a batch of what is held and answers it, unless it is somebody else's
 * turn. An answer that may take long is left for later. False: nothing to do.
 */
static bool
write_batch(struct worker *w)
{
	struct fcgi *f = w->fcgi;
	struct api_call *calls[API_CALLS_MAX];
	unsigned count = writes_begin(&f->writes, calls);

	if (!count)
		return false;
	worker_step_out(w);
	api_write(f->api, calls, count);
	worker_step_in(w);
	/* Now: who has nothing else to do may write while this one answers. */
	writes_end(&f->writes);
	for (unsigned i = 0; i < count; i++) {
		struct job *j = job_of(calls[i]);

		if (fcgi_respond(w, j, false)) {
			job_put(f, j);
		} else {
			STAILQ_INSERT_TAIL(&w->late, j, in_late);
			w->late_count++;
		}
	}
	return true;
}

/*
 * Before this worker waits for a peer: all that others wait for is written
 * and answered, as far as that is nobody else's, what may take long at last.
 */
static void
write_all(struct worker *w)
{
	struct job *j;

	for (;;) {
		while (w->late_count < LATE_MAX && write_batch(w))
			;
		j = STAILQ_FIRST(&w->late);
		if (!j)
			return;
		STAILQ_REMOVE_HEAD(&w->late, in_late);
		w->late_count--;
		fcgi_respond(w, j, true);
		job_put(w->fcgi, j);
	}
}

/* Keeps the job under way, to be written with others. */
static void
hold(struct worker *w)
{
	struct fcgi *f = w->fcgi;
	struct job *j = w->job, *next = job_get(f);
	struct api_call *call = &j->write.call;

	if (!next) {
		worker_step_out(w);
		api_write(f->api, &call, 1);
		worker_step_in(w);
		if (!fcgi_respond(w, j, false))
			fcgi_respond(w, j, true);
		return;
	}
	w->job = next;
	worker_set(w, -1, false);
	j->write.bytes = j->request.length + call->op.old.len;
	if (writes_hold(&f->writes, &j->write))
		write_batch(w);
}

/* ---- requests ---- */

enum answered {
	ANSWERED,
	ANSWER_HELD, /* once the job's call is written */
	ANSWER_NONE, /* the request is none */
};

/* The body of j's request is here, or what is wrong with it. */
static enum answered
begin(struct worker *w, struct job *j, enum body_state state)
{
	struct api *api = w->fcgi->api;
	struct request *r = &j->request;
	struct response *res = &j->response;
	struct err err;

	switch (state) {
	case BODY_WHOLE:
		if (api_begin(api, r, res, &j->write.call))
			return ANSWER_HELD;
		break;
	case BODY_WRONG:
		api_refuse_body(r, res);
		break;
	case BODY_NO_ROOM:
		err_nomem(&err, (unsigned long)r->length);
		api_fail(api, r, res, &err);
		break;
	case BODY_BROKEN:
		return ANSWER_NONE;
	}
	return ANSWERED;
}

/*
 * Reads the request of j by libfcgi, or only its head if there is no more of
 * it than that, and makes the answer.
 */
static enum answered
answer(struct worker *w, struct job *j)
{
	struct request *r = &j->request;
	int fd = j->connection->fd;
	enum body_state state;

	request_read_env(r, w->q.envp);
	if (!api_accepts(w->fcgi->api, r, &j->response)) {
		if (!j->only_head) {
			fcgi_read_to_end(w->q.in);
			if (FCGX_GetError(w->q.in))
				return ANSWER_NONE;
		}
		worker_set(w, fd, false);
		return ANSWERED;
	}
	state = fcgi_read_body(w->q.in, r);
	worker_set(w, fd, false);
	return begin(w, j, state);
}

/* The same with w->whole. */
static enum answered
answer_whole(struct worker *w, struct job *j)
{
	struct request *r = &j->request;
	struct slice body =
		slice_make(w->piece + w->whole.body, w->whole.body_len);
	enum body_state state = BODY_WHOLE;

	worker_set(w, j->connection->fd, false);
	if (!whole_read(w->piece, &w->whole, r))
		return ANSWER_NONE;
	if (!api_accepts(w->fcgi->api, r, &j->response))
		return ANSWERED;
	if (body.len != r->length)
		state = BODY_WRONG;
	else if (buf_set(&r->body, body, NULL))
		state = BODY_NO_ROOM;
	return begin(w, j, state);
}

/* Answers the request of w's job as far as it is, or sees to it later. */
static void
conclude(struct worker *w, struct connection *c, enum answered answered)
{
	struct job *j = w->job;

	switch (answered) {
	case ANSWERED:
		if (!fcgi_respond(w, j, false)) {
			write_all(w);
			fcgi_respond(w, j, true);
		}
		break;
	case ANSWER_HELD:
		hold(w);
		break;
	case ANSWER_NONE:
		fcgi_finish(w, c);
		break;
	}
}

/* Serves w->whole, which c's peer has sent; c is gone after it. */
static void
serve_whole(struct worker *w, struct connection *c)
{
	struct job *j = w->job;

	j->connection = c;
	j->only_head = false;
	j->id = w->whole.id;
	j->keep = w->whole.keep;
	c->keep = false;
	conclude(w, c, answer_whole(w, j));
	job_trim(w->job, MEMORY_KEPT_MAX);
}

/* libfcgi waits for as long as it takes. */
static void
limit_waiting(const struct worker *w, int fd)
{
	unsigned ms = w->fcgi->options.timeout_ms;
	struct timeval timeout = {
		.tv_sec = ms / 1000,
		.tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

/* Serves the request that c's peer has sent, by libfcgi; c is gone after it. */
static void
serve(struct worker *w, struct connection *c)
{
	struct job *j = w->job;
	bool spooled = c->spool.fd >= 0;

	j->connection = c;
	FCGX_Free(&w->q, 0); /* what the last one has left */
	j->only_head = spooled && !c->scan.whole;
	c->keep = false;
	c->unread = true; /* it does not read to where nothing is left */
	if (!worker_set(w, c->fd, true)) {
		fcgi_finish(w, c);
		return;
	}
	if (spooled)
		spool_rewind(&c->spool);
	else
		limit_waiting(w, c->fd);
	fcgi_begin_request(&w->q, spooled ? c->spool.fd : c->fd);
	if (FCGX_Accept_r(&w->q)) {
		/* Closed by it. */
		if (spooled)
			c->spool.fd = -1;
		else
			c->fd = -1;
		fcgi_finish(w, c);
		return;
	}
	if (FCGX_GetError(w->q.in) || w->q.role != ROLE_RESPONDER) {
		fcgi_finish(w, c);
		return;
	}
	j->id = (unsigned)w->q.requestId;
	j->keep = w->q.keepConnection;
	conclude(w, c, answer(w, j));
	if (spooled) /* it may be large */
		FCGX_Free(&w->q, 0);
	if (w->reserve.fd < 0)
		spool_open(&w->reserve);
	job_trim(w->job, MEMORY_KEPT_MAX);
}

/* Does what can be done for c, which this worker has. */
static void
attend(struct worker *w, struct connection *c)
{
	if (c->waits_for == WAITS_FOR_ROOM) {
		fcgi_send_rest(w, c);
		return;
	}
	if (c->waits_for == WAITS_FOR_END) {
		fcgi_skip_rest(w, c);
		return;
	}
	switch (fcgi_gather(w, c)) {
	case GATHERED_WHOLE:
		serve_whole(w, c);
		break;
	case GATHERED_ALL:
		serve(w, c);
		break;
	case GATHERED_NOWHERE:
		write_all(w);
		worker_step_out(w);
		serve(w, c);
		worker_step_in(w);
		break;
	case GATHERED_SOME:
		worker_set(w, -1, false);
		lobby_return(w->fcgi->lobby, c);
		break;
	case GATHERED_NONE:
		worker_set(w, -1, false);
		lobby_dismiss(w->fcgi->lobby, c);
		break;
	}
}

/* ---- workers ---- */

static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	struct fcgi *f = w->fcgi;

	waits_watch(worker_step_out, worker_step_in, w);
	lobby_enter(f->lobby);
	while (!atomic_load(&f->stopping)) {
		bool wait = !writes_wait(&f->writes) && !w->late_count;
		struct connection *c = lobby_next(f->lobby, wait);

		if (c)
			attend(w, c);
		/* Reads, too, may take long when they need the disk. */
		if (!c || writes_overdue(&f->writes, MOMENT_MS * NS_PER_MS))
			write_batch(w);
		if (w->late_count)
			write_all(w);
	}
	write_all(w);
	lobby_leave(f->lobby);
	atomic_fetch_sub(&f->running, 1);
	return NULL;
}

/* Shuts down what workers are busy with; readers only, or everyone. */
static void
cut_off(struct fcgi *f, bool everyone)
{
	for (unsigned i = 0; i < f->count; i++) {
		struct worker *w = &f->workers[i];

		pthread_mutex_lock(&w->lock);
		if (w->busy_fd >= 0 && (everyone || w->reading))
			shutdown(w->busy_fd, everyone ? SHUT_RDWR : SHUT_RD);
		pthread_mutex_unlock(&w->lock);
	}
}

void
fcgi_stop(struct fcgi *f)
{
	uint64_t end = clock_mono_ns() + STOP_GRACE_MS * NS_PER_MS;
	struct job *j;

	if (!f)
		return;
	/*
	 * In this order: whoever begins to read after the flag is up sees it
	 * (worker_set), whoever began before is found by cut_off.
	 */
	atomic_store(&f->stopping, true);
	if (f->lobby)
		lobby_stop(f->lobby);
	cut_off(f, false);
	for (;;) {
		/* In this order: workers leave there what they do not send. */
		bool running = atomic_load(&f->running);
		bool left = f->lobby && lobby_send(f->lobby);

		if ((!running && !left) || clock_mono_ns() >= end)
			break;
		clock_sleep_us(2000);
	}
	/* Whoever begins to send from now on gives up by itself. */
	atomic_store(&f->cut, true);
	cut_off(f, true);
	for (unsigned i = 0; i < f->count; i++) {
		struct worker *w = &f->workers[i];

		pthread_join(w->thread, NULL);
		pthread_mutex_destroy(&w->lock);
		job_free(w->job);
		FCGX_Free(&w->q, 0);
		buf_release(&w->head);
		spool_close(&w->reserve);
	}
	while ((j = SLIST_FIRST(&f->spare)) != NULL) {
		SLIST_REMOVE_HEAD(&f->spare, in_spare);
		job_free(j);
	}
	writes_release(&f->writes);
	pthread_mutex_destroy(&f->lock);
	lobby_close(f->lobby);
	free(f->workers);
	free(f);
}

int
fcgi_start(struct fcgi **out, struct api *api,
           const struct fcgi_options *options, struct err *err)
{
	struct fcgi *f = NULL;
	int rc, error;

	*out = NULL;
	error = FCGX_Init();
	if (error)
		return err_set(err, LSMKV_EIO, "libfcgi: error %d", error);
	signal(SIGPIPE, SIG_IGN); /* after FCGX_Init, which catches it */
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(err, sizeof(*f));
	f->api = api;
	f->options = *options;
	writes_init(&f->writes);
	pthread_mutex_init(&f->lock, NULL);
	SLIST_INIT(&f->spare);
	f->workers = calloc(options->threads, sizeof(*f->workers));
	rc = f->workers
	             ? lobby_open(&f->lobby, options->listen_fd,
	                          options->timeout_ms, err)
	             : err_nomem(err, options->threads * sizeof(*f->workers));
	while (!rc && f->count < options->threads) {
		struct worker *w = &f->workers[f->count];

		w->fcgi = f;
		w->busy_fd = -1;
		STAILQ_INIT(&w->late);
		spool_open(&w->reserve); /* or else it goes without */
		w->job = job_get(f);
		if (!w->job) {
			spool_close(&w->reserve);
			rc = err_nomem(err, sizeof(*w->job));
			break;
		}
		pthread_mutex_init(&w->lock, NULL);
		atomic_fetch_add(&f->running, 1);
		error = pthread_create(&w->thread, NULL, worker_run, w);
		if (error) {
			atomic_fetch_sub(&f->running, 1);
			pthread_mutex_destroy(&w->lock);
			job_free(w->job);
			spool_close(&w->reserve);
			rc = err_set_errno(err, error, "worker thread %u",
			                   f->count + 1);
		} else {
			f->count++;
		}
	}
	if (rc) {
		fcgi_stop(f);
		return rc;
	}
	*out = f;
	return 0;
}
