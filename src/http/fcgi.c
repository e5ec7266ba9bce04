/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder; see fcgi.h.
 *
 * What is done around libfcgi 2.4.2, and why:
 *
 * accept    Ours, in the lobby.
 * read      Its own, but only once all of the request is there: it would wait
 *           for the rest, and so would a worker for every slow client that a
 *           web server lets through. What comes in pieces is gathered in a
 *           spool first, and then read from there. It takes variables that
 *           were cut short for complete: its stream's error is asked for.
 * write     Its own; a large answer goes into a spool, and from there to the
 *           peer as fast as that reads.
 * close     Ours: its own waits up to two seconds for the peer to close
 *           first. `detached` makes even its own error paths close at once.
 *
 * A write is put aside as a job, and another job serves the next request. When
 * there are no more requests, one worker writes all that was put aside, and
 * answers it (writes.h).
 */
#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/waits.h"
#include "http/fcgi.h"
#include "http/lobby.h"
#include "http/writes.h"

#define ROLE_RESPONDER 1
#define NS_PER_MS 1000000ull
#define MOMENT_MS 2       /* what comes or goes so soon is waited for */
#define STOP_GRACE_MS 500 /* for answers that are under way */
#define MEMORY_KEPT_MAX (256u << 10) /* of a buffer, between requests, */
#define MEMORY_SPARE_MAX (4u << 10)  /* where there are many of them */
#define SPARE_MAX 256u               /* jobs kept for later */
#define LATE_MAX 8u              /* answers that may take long, of a worker */
#define SLICE_MAX (1u << 20)     /* bytes of one call into libfcgi */
#define PIECE_MAX (16u << 10)    /* bytes of one look at a request */
#define LARGE_ANSWER (64u << 10) /* less fits into the socket's buffer */
#define HEAD_ROOM (1u << 20)     /* for variables and record heads */

/*
 * A request and its answer. A worker has one for the request under way, which
 * it gives away when that is a write; those nobody has are spare.
 */
struct job {
	struct connection *connection;
	FCGX_Request q;
	struct request request;   /* its memory is used again and again */
	struct response response; /* the same */
	struct held_write write;  /* the same */
	bool only_head;           /* there was no more of it than that */
	STAILQ_ENTRY(job) in_late;
	SLIST_ENTRY(job) in_spare;
};

struct worker {
	struct fcgi *fcgi;
	pthread_t thread;
	struct job *job; /* for the request under way */
	STAILQ_HEAD(, job)
	late;                 /* written; to be answered when nothing
	                                 else waits for this worker */
	unsigned late_count;  /* of late */
	unsigned outside;     /* of the lobby: so many times left */
	struct buf head;      /* of a response; used again and again */
	pthread_mutex_t lock; /* of the two below; the only one held */
	int busy_fd;          /* under way; -1 when waiting */
	bool reading;         /* busy_fd's request is not all here yet */
	unsigned char piece[PIECE_MAX]; /* of a request */
};

struct fcgi {
	struct api *api; /* borrowed */
	struct fcgi_options options;
	struct lobby *lobby;
	struct writes writes;
	pthread_mutex_t lock;    /* of the two below; the only one held */
	SLIST_HEAD(, job) spare; /* used last comes first */
	unsigned spare_count;    /* of spare */
	atomic_bool stopping;
	atomic_bool cut;          /* nobody waits for peers any more */
	_Atomic unsigned running; /* workers that have not ended */
	unsigned count;           /* of workers that were started */
	struct worker *workers;   /* options.threads of them */
};

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

/* Lets another worker in while w waits; these calls may be nested. */
static void
step_out(void *worker)
{
	struct worker *w = worker;

	if (!w->outside++)
		lobby_leave(w->fcgi->lobby);
}

static void
step_in(void *worker)
{
	struct worker *w = worker;

	if (!--w->outside)
		lobby_enter(w->fcgi->lobby);
}

/*
 * Says what this worker is doing with which descriptor, for fcgi_stop.
 * False if it should not begin, because the responder stops.
 */
static bool
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

/*
 * Is fd ready for events (of poll), or will it be in timeout_ms? A moment is
 * not waited as long as there is something to write.
 */
static bool
is_ready(struct worker *w, int fd, short events, int timeout_ms)
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
	step_out(w);
	n = poll(&p, 1, timeout_ms);
	step_in(w);
	return n > 0;
}

enum body_state {
	BODY_WHOLE,
	BODY_WRONG,   /* shorter or longer than it says; all of it is read */
	BODY_BROKEN,  /* the peer is gone, or does not keep to the protocol */
	BODY_NO_ROOM, /* no memory */
};

/*
 * Reads in to its end, which stands before the connection's next request.
 * True if there was anything before it.
 */
static bool
read_to_end(FCGX_Stream *in)
{
	char trash[8192];
	bool more = false;

	while (FCGX_GetStr(trash, sizeof(trash), in) > 0)
		more = true;
	return more;
}

/* Reads the body of r, and the end of the stream behind it. */
static enum body_state
read_body(FCGX_Stream *in, struct request *r)
{
	enum body_state state = BODY_WHOLE;

	if (buf_reserve(&r->body, (size_t)r->length + 1, NULL)) {
		read_to_end(in);
		return FCGX_GetError(in) ? BODY_BROKEN : BODY_NO_ROOM;
	}
	while (r->body.len < r->length) {
		uint64_t rest = r->length - r->body.len;
		int want = rest < SLICE_MAX ? (int)rest : (int)SLICE_MAX, n;

		n = FCGX_GetStr((char *)r->body.data + r->body.len, want, in);
		r->body.len += (size_t)n;
		if (n < want) {
			state = BODY_WRONG;
			break;
		}
	}
	if (read_to_end(in))
		state = BODY_WRONG;
	return FCGX_GetError(in) ? BODY_BROKEN : state;
}

static void
write_slice(FCGX_Stream *out, struct slice s)
{
	while (s.len) {
		int n = s.len < SLICE_MAX ? (int)s.len : (int)SLICE_MAX;

		/* A failure is remembered by the stream: see FCGX_Finish_r. */
		if (FCGX_PutStr((const char *)s.data, n, out) < 0)
			return;
		s = slice_make(s.data + n, s.len - (size_t)n);
	}
}

/* Prepares q to read a request from fd, which libfcgi must leave open. */
static void
begin_request(FCGX_Request *q, int fd)
{
	FCGX_InitRequest(q, -1, 0); /* -1: it must not accept by itself */
	q->ipcFd = fd;
	q->detached = 1;       /* it closes without waiting, if ever */
	q->keepConnection = 1; /* fd is not one to finish with */
}

enum gathered {
	GATHERED_ALL,     /* what is there can be served without waiting */
	GATHERED_SOME,    /* more is to come */
	GATHERED_NOWHERE, /* the same, but only libfcgi can wait for it */
	GATHERED_NONE,    /* nothing useful ever will */
};

/*
 * Looks at the head of the request in c's spool, whose body is not all here.
 * True if the body is not wanted anyway.
 */
static bool
is_refused(struct worker *w, struct connection *c)
{
	struct job *j = w->job;
	FCGX_Request q;
	bool refused;

	spool_rewind(&c->spool);
	begin_request(&q, c->spool.fd);
	if (FCGX_Accept_r(&q)) {
		c->spool.fd = -1; /* closed by it */
		return false;
	}
	request_read_env(&j->request, q.envp);
	refused = !api_accepts(w->fcgi->api, &j->request, &j->response) &&
	          j->request.length > 0;
	FCGX_Free(&q, 0);
	spool_to_end(&c->spool);
	return refused;
}

/* Moves what has come of c's request into its spool. */
static enum gathered
gather_rest(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;

	uint64_t max = api_body_max(f->api) * 9 / 8 + HEAD_ROOM;

	if (!worker_set(w, c->fd, true))
		return GATHERED_NONE;
	for (;;) {
		ssize_t n = recv(c->fd, w->piece, PIECE_MAX, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			bool park = lobby_has_room(f->lobby);
			unsigned ms = park ? MOMENT_MS : f->options.timeout_ms;

			if (is_ready(w, c->fd, POLLIN, (int)ms))
				continue;
			return park ? GATHERED_SOME : GATHERED_NONE;
		}
		if (n <= 0 || c->spool.len > max ||
		    !spool_write(&c->spool, slice_make(w->piece, (size_t)n)))
			return GATHERED_NONE;
		lobby_spooled(f->lobby, c, (uint64_t)n);
		if (record_scan(&c->scan, slice_make(w->piece, (size_t)n)))
			return GATHERED_ALL;
		if (c->scan.head_whole && !c->head_looked_at) {
			c->head_looked_at = true;
			if (is_refused(w, c))
				return GATHERED_ALL;
			if (c->spool.fd < 0)
				return GATHERED_NONE;
		}
	}
}

/*
 * Sees to it that c's request is all here, in the socket, where it mostly
 * is, or else in the spool.
 */
static enum gathered
gather(struct worker *w, struct connection *c)
{
	if (c->waits_for == WAITS_FOR_REST)
		return gather_rest(w, c);
	for (int look = 0; look < 2; look++) {
		struct record_scan scan = RECORD_SCAN_INIT;
		ssize_t n = recv(c->fd, w->piece, PIECE_MAX,
		                 MSG_DONTWAIT | MSG_PEEK);

		if (n < 0 && errno == EAGAIN) {
			if (!is_ready(w, c->fd, POLLIN, MOMENT_MS))
				return GATHERED_SOME;
			continue;
		}
		if (n <= 0)
			return GATHERED_NONE;
		if (record_scan(&scan, slice_make(w->piece, (size_t)n)))
			return GATHERED_ALL;
		/* Its peer may be about to write the rest. */
		sched_yield();
	}
	if (!spool_open(&c->spool))
		return GATHERED_NOWHERE;
	c->scan = (struct record_scan)RECORD_SCAN_INIT;
	c->head_looked_at = false;
	c->moved_ns = clock_mono_ns();
	c->waits_for = WAITS_FOR_REST;
	return gather_rest(w, c);
}

enum answered {
	ANSWERED,
	ANSWER_HELD, /* once the job's call is written */
	ANSWER_NONE, /* the request is none */
};

/*
 * Reads the request of j, or only its head if there is no more of it than
 * that, and makes the answer.
 */
static enum answered
answer(struct worker *w, struct job *j)
{
	struct fcgi *f = w->fcgi;
	struct request *r = &j->request;
	struct response *res = &j->response;
	int fd = j->connection->fd;
	struct err err;

	request_read_env(r, j->q.envp);
	if (!api_accepts(f->api, r, res)) {
		if (!j->only_head) {
			read_to_end(j->q.in);
			if (FCGX_GetError(j->q.in))
				return ANSWER_NONE;
		}
		worker_set(w, fd, false);
	} else {
		enum body_state state = read_body(j->q.in, r);

		worker_set(w, fd, false);
		switch (state) {
		case BODY_WHOLE:
			if (api_begin(f->api, r, res, &j->write.call))
				return ANSWER_HELD;
			break;
		case BODY_WRONG:
			api_refuse_body(r, res);
			break;
		case BODY_NO_ROOM:
			err_nomem(&err, (unsigned long)r->length);
			api_fail(f->api, r, res, &err);
			break;
		case BODY_BROKEN:
			return ANSWER_NONE;
		}
	}
	return ANSWERED;
}

/* The request has been answered: c's next, or its end. */
static void
finish(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;

	lobby_unspool(f->lobby, c);
	c->waits_for = WAITS_FOR_REQUEST;
	worker_set(w, -1, false);
	if (c->fd >= 0 && c->keep && !atomic_load(&f->stopping))
		lobby_return(f->lobby, c);
	else
		lobby_dismiss(f->lobby, c);
}

/* Sends what is left of an answer. */
static void
send_rest(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;
	enum spool_state state;

	worker_set(w, c->fd, false);
	for (;;) {
		uint64_t sent = c->spool.sent;

		state = spool_send(&c->spool, c->fd);
		if (state != SPOOL_WAITS)
			break;
		if (c->spool.sent != sent)
			c->moved_ns = clock_mono_ns();
		if (atomic_load(&f->cut))
			break;
		if (is_ready(w, c->fd, POLLOUT, MOMENT_MS))
			continue;
		/* When we stop, fcgi_stop goes on from there. */
		worker_set(w, -1, false);
		lobby_return(f->lobby, c);
		return;
	}
	c->keep = c->keep && state == SPOOL_DONE;
	finish(w, c);
}

/*
 * Reads and forgets what still comes of a request that has been answered, so
 * that its peer gets to read the answer, and the next request is found.
 */
static void
skip_rest(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;

	for (;;) {
		size_t want = record_rest(&c->scan);
		ssize_t n;

		/* Told of the end, its peer may drop the rest. */
		if (!c->scan.head_len) {
			n = recv(c->fd, w->piece, want,
			         MSG_DONTWAIT | MSG_PEEK);
			if (n >= 2 && record_begins(w->piece)) {
				finish(w, c);
				return;
			}
		}
		want = want < PIECE_MAX ? want : PIECE_MAX;
		n = recv(c->fd, w->piece, want, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			if (is_ready(w, c->fd, POLLIN, MOMENT_MS))
				continue;
			lobby_return(f->lobby, c);
			return;
		}
		if (n <= 0) {
			lobby_dismiss(f->lobby, c);
			return;
		}
		c->moved_ns = clock_mono_ns();
		if (record_scan(&c->scan, slice_make(w->piece, (size_t)n))) {
			finish(w, c);
			return;
		}
	}
}

/*
 * Sends the answer of j, whose connection is gone after it. False: nothing was
 * sent, because that may take long, and the caller is not patient.
 */
static bool
respond(struct worker *w, struct job *j, bool patient)
{
	struct fcgi *f = w->fcgi;
	struct connection *c = j->connection;
	struct slice payload = response_payload(&j->response);
	struct spool out = SPOOL_INIT;
	bool waits;

	/* The request has been read: what follows is for its peer. */
	lobby_unspool(f->lobby, c);
	worker_set(w, c->fd, false);
	waits = payload.len > LARGE_ANSWER &&
	        !(lobby_has_room(f->lobby) && spool_open(&out));
	if (waits && !patient)
		return false;
	if (response_head(&j->response, &w->head, NULL)) {
		spool_close(&out);
		FCGX_Free(&j->q, 0);
		finish(w, c);
		return true;
	}
	j->q.ipcFd = out.fd < 0 ? c->fd : out.fd;
	c->keep = j->q.keepConnection;
	j->q.keepConnection = 1; /* closing is ours */
	if (waits)
		step_out(w);
	write_slice(j->q.out, buf_slice(&w->head));
	write_slice(j->q.out, payload);
	FCGX_Finish_r(&j->q);
	if (waits)
		step_in(w);
	if (j->q.ipcFd < 0) {
		/* It could not write, and has closed what it wrote to. */
		if (out.fd < 0)
			c->fd = -1;
		c->keep = false;
		finish(w, c);
	} else if (out.fd >= 0) {
		out.len = payload.len;
		spool_rewind(&out);
		c->spool = out;
		c->waits_for = WAITS_FOR_ROOM;
		lobby_spooled(f->lobby, c, c->spool.len);
		send_rest(w, c);
	} else if (j->only_head) {
		if (!c->keep)
			shutdown(c->fd, SHUT_WR);
		worker_set(w, -1, false);
		c->waits_for = WAITS_FOR_END;
		c->moved_ns = clock_mono_ns();
		skip_rest(w, c);
	} else {
		finish(w, c);
	}
	return true;
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
	step_out(w);
	api_write(f->api, calls, count);
	step_in(w);
	/* Now: who has nothing else to do may write while this one answers. */
	writes_end(&f->writes);
	for (unsigned i = 0; i < count; i++) {
		struct job *j = job_of(calls[i]);

		if (respond(w, j, false)) {
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
		respond(w, j, true);
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
		step_out(w);
		api_write(f->api, &call, 1);
		step_in(w);
		if (!respond(w, j, false))
			respond(w, j, true);
		return;
	}
	w->job = next;
	worker_set(w, -1, false);
	j->write.bytes = j->request.length + call->op.old.len;
	if (writes_hold(&f->writes, &j->write))
		write_batch(w);
}

/* Serves the request that c's peer has sent; c is gone after it. */
static void
serve(struct worker *w, struct connection *c)
{
	struct job *j = w->job;

	j->connection = c;
	j->only_head = c->spool.fd >= 0 && !c->scan.whole;
	c->keep = false;
	if (!worker_set(w, c->fd, true)) {
		finish(w, c);
		return;
	}
	if (c->spool.fd >= 0)
		spool_rewind(&c->spool);
	begin_request(&j->q, c->spool.fd >= 0 ? c->spool.fd : c->fd);
	if (FCGX_Accept_r(&j->q)) {
		/* Closed by it. */
		if (c->spool.fd >= 0)
			c->spool.fd = -1;
		else
			c->fd = -1;
		finish(w, c);
		return;
	}
	if (FCGX_GetError(j->q.in) || j->q.role != ROLE_RESPONDER) {
		FCGX_Free(&j->q, 0);
		finish(w, c);
		return;
	}
	switch (answer(w, j)) {
	case ANSWERED:
		if (!respond(w, j, false)) {
			write_all(w);
			respond(w, j, true);
		}
		break;
	case ANSWER_HELD:
		hold(w);
		break;
	case ANSWER_NONE:
		FCGX_Free(&j->q, 0);
		finish(w, c);
		break;
	}
	job_trim(w->job, MEMORY_KEPT_MAX);
}

/* Does what can be done for c, which this worker has. */
static void
attend(struct worker *w, struct connection *c)
{
	if (c->waits_for == WAITS_FOR_ROOM) {
		send_rest(w, c);
		return;
	}
	if (c->waits_for == WAITS_FOR_END) {
		skip_rest(w, c);
		return;
	}
	switch (gather(w, c)) {
	case GATHERED_ALL:
		serve(w, c);
		break;
	case GATHERED_NOWHERE:
		write_all(w);
		step_out(w);
		serve(w, c);
		step_in(w);
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

static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	struct fcgi *f = w->fcgi;

	waits_watch(step_out, step_in, w);
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
		buf_release(&w->head);
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
		w->job = job_get(f);
		if (!w->job) {
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
