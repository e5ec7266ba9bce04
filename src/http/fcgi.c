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
 * A write waits for the disk. A worker that has one to do looks first whether
 * there are more requests, and goes on until there are none or it holds enough
 * of them; then all are written at once, and answered. So a worker falls
 * asleep once for many writes, and the fewer the processors, the more they are.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/waits.h"
#include "http/fcgi.h"
#include "http/lobby.h"

#define ROLE_RESPONDER 1
#define NS_PER_MS 1000000ull
#define MOMENT_MS 2       /* what comes or goes so soon is waited for */
#define STOP_GRACE_MS 500 /* for answers that are under way */
#define MEMORY_KEPT_MAX (256u << 10) /* of a buffer, between requests, */
#define MEMORY_HELD_MAX (4u << 10)   /* where there are many of them */
#define HELD_BYTES_MAX (256u << 10)  /* of what waits to be written */
#define HELD_TURNS_MAX 128           /* in which others are served meanwhile */
#define SLICE_MAX (1u << 20)         /* bytes of one call into libfcgi */
#define PIECE_MAX (16u << 10)        /* bytes of one look at a request */
#define LARGE_ANSWER (64u << 10)     /* less fits into the socket's buffer */
#define HEAD_ROOM (1u << 20)         /* for variables and record heads */

/* A request that a worker has. */
struct job {
	struct connection *connection;
	FCGX_Request q;
	struct request request;   /* its memory is used again and again */
	struct response response; /* the same */
	struct api_call call;     /* the same */
	bool only_head;           /* there was no more of it than that */
};

struct worker {
	struct fcgi *fcgi;
	pthread_t thread;
	struct job jobs[API_CALLS_MAX]; /* first those that wait to be
					   written, then the one under way */
	unsigned held;                  /* of the former */
	uint64_t held_bytes;            /* of their bodies and answers */
	unsigned turns;                 /* since the first of them came */
	uint64_t held_ns;               /* when that was */
	unsigned outside;               /* of the lobby: so many times left */
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
	atomic_bool stopping;
	atomic_bool cut;          /* nobody waits for peers any more */
	_Atomic unsigned running; /* workers that have not ended */
	unsigned count;           /* of workers that were started */
	struct worker *workers;   /* options.threads of them */
};

static void write_held(struct worker *w);

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
 * Is fd ready for events (of poll), or will it be in timeout_ms? That is not
 * waited for as long as writes are held, if it may also be told of later.
 */
static bool
is_ready(struct worker *w, int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, 0), busy_fd = w->busy_fd;
	bool reading = w->reading;

	if (n || (w->held && timeout_ms <= MOMENT_MS &&
	          !atomic_load(&w->fcgi->stopping)))
		return n > 0;
	write_held(w); /* busy with others meanwhile */
	if (busy_fd >= 0 && !worker_set(w, busy_fd, reading))
		return false;
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
	struct job *j = &w->jobs[w->held];
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
			if (api_begin(f->api, r, res, &j->call))
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
		/* There is nobody to go on later when we stop. */
		if (is_ready(w, c->fd, POLLOUT, MOMENT_MS) ||
		    (atomic_load(&f->stopping) && !atomic_load(&f->cut)))
			continue;
		if (atomic_load(&f->cut))
			break;
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

/* Sends the answer of j, whose connection is gone after it. */
static void
respond(struct worker *w, struct job *j)
{
	struct fcgi *f = w->fcgi;
	struct connection *c = j->connection;
	struct slice payload = response_payload(&j->response);
	struct spool out = SPOOL_INIT;
	bool waits;

	/* The request has been read: what follows is for its peer. */
	lobby_unspool(f->lobby, c);
	waits = payload.len > LARGE_ANSWER &&
	        !(lobby_has_room(f->lobby) && spool_open(&out));
	if (waits) {
		write_held(w); /* not after what may take long */
		worker_set(w, c->fd, false);
	}
	/* Only now: those that were held have heads, too. */
	if (response_head(&j->response, &w->head, NULL)) {
		spool_close(&out);
		FCGX_Free(&j->q, 0);
		finish(w, c);
		return;
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
}

/* Gives back what a large request took. */
static void
job_trim(struct worker *w, struct job *j)
{
	size_t max = j == w->jobs ? MEMORY_KEPT_MAX : MEMORY_HELD_MAX;

	if (j->request.body.cap > max)
		buf_release(&j->request.body);
	if (j->response.memory.cap > max)
		buf_release(&j->response.memory);
	if (j->call.key.cap > max)
		buf_release(&j->call.key);
}

/* Writes and answers all that is held. */
static void
write_held(struct worker *w)
{
	struct api_call *calls[API_CALLS_MAX];
	unsigned count = w->held;

	if (!count)
		return;
	for (unsigned i = 0; i < count; i++)
		calls[i] = &w->jobs[i].call;
	/* What follows finds nothing held, whatever it waits for. */
	w->held = 0;
	w->held_bytes = 0;
	step_out(w);
	api_write(w->fcgi->api, calls, count);
	step_in(w);
	for (unsigned i = 0; i < count; i++) {
		worker_set(w, w->jobs[i].connection->fd, false);
		respond(w, &w->jobs[i]);
		job_trim(w, &w->jobs[i]);
	}
}

static void
write_one(struct worker *w, struct job *j)
{
	struct api_call *call = &j->call;

	step_out(w);
	api_write(w->fcgi->api, &call, 1);
	step_in(w);
	respond(w, j);
	job_trim(w, j);
}

/* Keeps j, the job under way, to be written with others. */
static void
hold(struct worker *w, struct job *j)
{
	bool meets = false;

	for (unsigned i = 0; i < w->held; i++)
		meets |= api_calls_meet(&j->call, &w->jobs[i].call);
	if (meets) {
		write_held(w);
		write_one(w, j);
		return;
	}
	worker_set(w, -1, false);
	if (!w->held++) {
		w->turns = 0;
		w->held_ns = clock_mono_ns();
	}
	w->held_bytes += j->request.length + j->call.op.old.len;
	if (w->held == API_CALLS_MAX || w->held_bytes > HELD_BYTES_MAX)
		write_held(w);
}

/* Serves the request that c's peer has sent; c is gone after it. */
static void
serve(struct worker *w, struct connection *c)
{
	struct job *j = &w->jobs[w->held];

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
		respond(w, j);
		break;
	case ANSWER_HELD:
		hold(w, j);
		return;
	case ANSWER_NONE:
		FCGX_Free(&j->q, 0);
		finish(w, c);
		break;
	}
	job_trim(w, j);
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
		write_held(w);
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

/* Those that are served meanwhile may have to wait for the disk. */
static bool
held_long(const struct worker *w)
{
	return w->held && clock_mono_ns() - w->held_ns > MOMENT_MS * NS_PER_MS;
}

static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	struct fcgi *f = w->fcgi;

	waits_watch(step_out, step_in, w);
	lobby_enter(f->lobby);
	while (!atomic_load(&f->stopping)) {
		struct connection *c = lobby_next(f->lobby, !w->held);

		if (c)
			attend(w, c);
		if (!c || ++w->turns >= HELD_TURNS_MAX || held_long(w))
			write_held(w);
	}
	write_held(w);
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
		bool left = f->lobby && lobby_send(f->lobby);

		if ((!atomic_load(&f->running) && !left) ||
		    clock_mono_ns() >= end)
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
		for (unsigned k = 0; k < API_CALLS_MAX; k++) {
			request_release(&w->jobs[k].request);
			response_release(&w->jobs[k].response);
			api_call_release(&w->jobs[k].call);
		}
		buf_release(&w->head);
	}
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
	f->workers = calloc(options->threads, sizeof(*f->workers));
	rc = f->workers
	             ? lobby_open(&f->lobby, options->listen_fd,
	                          options->timeout_ms, err)
	             : err_nomem(err, options->threads * sizeof(*f->workers));
	while (!rc && f->count < options->threads) {
		struct worker *w = &f->workers[f->count];

		w->fcgi = f;
		w->busy_fd = -1;
		pthread_mutex_init(&w->lock, NULL);
		atomic_fetch_add(&f->running, 1);
		error = pthread_create(&w->thread, NULL, worker_run, w);
		if (error) {
			atomic_fetch_sub(&f->running, 1);
			pthread_mutex_destroy(&w->lock);
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
