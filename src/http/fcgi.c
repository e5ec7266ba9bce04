/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder; see fcgi.h.
 *
 * What is done around libfcgi 2.4.2, and why:
 *
 * accept    Ours: its own sets neither CLOEXEC nor a read timeout, waits two
 *           seconds for a silent peer, and gives up on EMFILE.
 * read      Its own, but only once all of the request is there: it would wait
 *           for the rest, and so would a worker for every slow client that a
 *           web server lets through. What comes in pieces is gathered in a
 *           spool first, and then read from there. It takes variables that
 *           were cut short for complete: its stream's error is asked for.
 * write     Its own; a large answer goes into a spool, and from there to the
 *           peer as fast as that reads.
 * close     Ours: its own waits up to two seconds for the peer to close
 *           first. `detached` makes even its own error paths close at once.
 * shutdown  An eventfd in the epoll set wakes every worker. The listening
 *           socket is left as it is: systemd goes on using it.
 *
 * The epoll set has three kinds of members: the listening socket (one shot:
 * armed again by the worker that has accepted, so that a connection wakes
 * one worker), waiting connections (one shot: armed while nobody serves
 * them), and the eventfd (level: once written, it wakes everyone for good).
 */
#include <assert.h>
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/fcgi.h"
#include "http/record.h"
#include "http/spool.h"

#define ROLE_RESPONDER 1
#define NS_PER_MS 1000000ull
#define MOMENT_MS 2       /* what comes or goes so soon is waited for */
#define SWEEP_MS 250      /* between looks for silent peers */
#define STOP_GRACE_MS 500 /* for answers that are under way */
#define DISCARD_MS 2000   /* for a body that nobody wants */
#define PAUSE_US 20000    /* when there are no descriptors */
#define PAUSE_LOG_NS (10000 * NS_PER_MS)
#define MEMORY_KEPT_MAX (256u << 10) /* of a buffer, between requests */
#define SLICE_MAX (1u << 20)         /* bytes of one call into libfcgi */
#define PIECE_MAX (16u << 10)        /* bytes of one look at a request */
#define LARGE_ANSWER (64u << 10)     /* less fits into the socket's buffer */
#define HEAD_ROOM (1u << 20)         /* for variables and record heads */
#define SPOOLS_MAX (512u << 20)      /* bytes of slow peers' in memory */

/* What a connection that nobody serves waits for. */
enum waiting_for {
	WAITS_FOR_REQUEST, /* the next one; the spool is closed */
	WAITS_FOR_REST,    /* of the request; what has come is in the spool */
	WAITS_FOR_ROOM,    /* for the rest of the answer, in the spool */
};

/* A connection to the web server. */
struct connection {
	int fd;              /* -1 once libfcgi has closed it */
	bool in_epoll;       /* is it in the set, armed or not? */
	bool keep;           /* open, behind this answer */
	bool head_looked_at; /* of what is in the spool */
	enum waiting_for waits_for;
	struct spool spool;
	struct record_scan scan;           /* of what is in the spool */
	uint64_t moved_ns;                 /* when the last byte of it came or
	                                      went */
	LIST_ENTRY(connection) in_waiting; /* of fcgi.waiting */
};

struct worker {
	struct fcgi *fcgi;
	pthread_t thread;
	struct request request;   /* its memory is used again and again */
	struct response response; /* the same */
	struct buf head;          /* of the response; the same */
	pthread_mutex_t lock;     /* of the two below; the only one held */
	int busy_fd;              /* under way; -1 when waiting */
	bool reading;             /* busy_fd's request is not all here yet */
	unsigned char piece[PIECE_MAX]; /* of a request */
};

struct fcgi {
	struct api *api; /* borrowed */
	struct fcgi_options options;
	bool is_tcp; /* the listening socket is one */
	int epoll_fd;
	int stop_fd; /* eventfd, readable once stopping */
	atomic_bool stopping;
	_Atomic unsigned running;        /* workers that have not ended */
	_Atomic uint64_t quiet_until_ns; /* next "no descriptors" line */
	pthread_mutex_t lock;            /* of waiting; workers hand
	                                    connections over under it */
	LIST_HEAD(, connection) waiting; /* those that nobody serves */
	_Atomic unsigned unfinished;     /* of waiting: those that wait for a
	                                    rest, or for room */
	_Atomic uint64_t spooled_bytes;  /* in all their spools */
	_Atomic uint64_t sweep_ns;       /* when to look for silent peers */
	unsigned count;                  /* of workers that were started */
	struct worker *workers;          /* options.threads of them */
};

/* Forgets what is in c's spool. */
static void
connection_unspool(struct fcgi *f, struct connection *c)
{
	atomic_fetch_sub(&f->spooled_bytes, c->spool.len);
	spool_close(&c->spool);
}

static void
connection_close(struct fcgi *f, struct connection *c)
{
	connection_unspool(f, c);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

/* Leaves c in the epoll set until what it waits for is there. */
static void
connection_park(struct fcgi *f, struct connection *c)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
		.data.ptr = c,
	};
	int op = c->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	bool failed, unfinished = c->waits_for != WAITS_FOR_REQUEST;

	if (c->waits_for == WAITS_FOR_ROOM)
		event.events = EPOLLOUT | EPOLLONESHOT;
	/* Whoever is woken for it waits for the lock: it is not ours then. */
	pthread_mutex_lock(&f->lock);
	c->in_epoll = true;
	LIST_INSERT_HEAD(&f->waiting, c, in_waiting);
	f->unfinished += unfinished;
	failed = epoll_ctl(f->epoll_fd, op, c->fd, &event) != 0;
	if (failed) {
		LIST_REMOVE(c, in_waiting);
		f->unfinished -= unfinished;
	}
	pthread_mutex_unlock(&f->lock);
	if (failed)
		connection_close(f, c);
}

/* Makes c, which epoll has told of, this worker's. */
static void
connection_take(struct fcgi *f, struct connection *c)
{
	pthread_mutex_lock(&f->lock);
	LIST_REMOVE(c, in_waiting);
	f->unfinished -= c->waits_for != WAITS_FOR_REQUEST;
	pthread_mutex_unlock(&f->lock);
}

/* May more peers be waited for in spools, instead of by workers? */
static bool
spools_have_room(struct fcgi *f)
{
	return atomic_load(&f->spooled_bytes) < SPOOLS_MAX;
}

/* Is fd ready for events (of poll), or will it be in timeout_ms? */
static bool
is_ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout_ms) > 0;
}

/* Arms the listening socket for the next worker. */
static void
listen_again(struct fcgi *f)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = f,
	};
	int rc = epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, f->options.listen_fd,
	                   &event);

	assert(!rc); /* it is in the set, and MOD allocates nothing */
}

/* Takes a new connection; NULL if there is none after all. */
static struct connection *
accept_connection(struct fcgi *f)
{
	struct timeval timeout = {
		.tv_sec = f->options.timeout_ms / 1000,
		.tv_usec = (suseconds_t)(f->options.timeout_ms % 1000) * 1000,
	};
	struct connection *c = NULL;
	int fd, on = 1;

	fd = accept4(f->options.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		uint64_t now = clock_mono_ns();
		int error = errno;

		if (error == EMFILE || error == ENFILE || error == ENOMEM ||
		    error == ENOBUFS) {
			/* Those that are busy now will give theirs back. */
			if (now >= atomic_load(&f->quiet_until_ns)) {
				atomic_store(&f->quiet_until_ns,
				             now + PAUSE_LOG_NS);
				log_warn("accept: %s; new connections wait",
				         strerror(error));
			}
			clock_sleep_us(PAUSE_US);
		}
		listen_again(f);
		return NULL;
	}
	listen_again(f);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (f->is_tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->spool = (struct spool)SPOOL_INIT;
	return c;
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

enum body_state {
	BODY_WHOLE,
	BODY_WRONG,   /* shorter or longer than it says; all of it is read */
	BODY_BROKEN,  /* the peer is gone, or does not keep to the protocol */
	BODY_NO_ROOM, /* no memory */
};

/* Reads the body of r, and the end of the stream behind it. */
static enum body_state
read_body(FCGX_Stream *in, struct request *r)
{
	enum body_state state = BODY_WHOLE;

	if (buf_reserve(&r->body, (size_t)r->length + 1, NULL))
		return BODY_NO_ROOM;
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
	/* The end must be read too: it stands before the next request. */
	while (FCGX_GetChar(in) != EOF)
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

/*
 * Reads and forgets what the peer still sends, so that it gets to read its
 * answer instead of an error.
 */
static void
discard(int fd)
{
	uint64_t end = clock_mono_ns() + DISCARD_MS * NS_PER_MS, now;
	char trash[16384];

	shutdown(fd, SHUT_WR);
	while ((now = clock_mono_ns()) < end &&
	       is_ready(fd, POLLIN, (int)((end - now) / NS_PER_MS) + 1))
		if (recv(fd, trash, sizeof(trash), MSG_DONTWAIT) <= 0)
			return;
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
	GATHERED_ALL,  /* what is there can be served without waiting */
	GATHERED_SOME, /* more is to come */
	GATHERED_NONE, /* nothing useful ever will */
};

/*
 * Looks at the head of the request in c's spool, whose body is not all here.
 * True if the body is not wanted anyway.
 */
static bool
is_refused(struct worker *w, struct connection *c)
{
	FCGX_Request q;
	bool refused;

	spool_rewind(&c->spool);
	begin_request(&q, c->spool.fd);
	if (FCGX_Accept_r(&q)) {
		c->spool.fd = -1; /* closed by it */
		return false;
	}
	request_read_env(&w->request, q.envp);
	refused = !api_accepts(w->fcgi->api, &w->request, &w->response) &&
	          w->request.length > 0;
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
			bool park = spools_have_room(f);
			unsigned ms = park ? MOMENT_MS : f->options.timeout_ms;

			if (is_ready(c->fd, POLLIN, (int)ms))
				continue;
			return park ? GATHERED_SOME : GATHERED_NONE;
		}
		if (n <= 0 || c->spool.len > max ||
		    !spool_write(&c->spool, slice_make(w->piece, (size_t)n)))
			return GATHERED_NONE;
		atomic_fetch_add(&f->spooled_bytes, (uint64_t)n);
		c->moved_ns = clock_mono_ns();
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
			if (!is_ready(c->fd, POLLIN, MOMENT_MS))
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
		return GATHERED_ALL; /* then libfcgi must wait for it */
	c->scan = (struct record_scan)RECORD_SCAN_INIT;
	c->head_looked_at = false;
	c->moved_ns = clock_mono_ns();
	c->waits_for = WAITS_FOR_REST;
	return gather_rest(w, c);
}

/* Reads the request that q holds and makes the answer; false if it is none. */
static bool
answer(struct worker *w, FCGX_Request *q, int fd, bool *discarding)
{
	struct request *r = &w->request;
	struct response *res = &w->response;
	struct err err = ERR_INIT;
	bool accepted;

	request_read_env(r, q->envp);
	accepted = api_accepts(w->fcgi->api, r, res);
	/* Without a body the stream still has an end to read. */
	*discarding = !accepted && r->length > 0;
	if (!*discarding) {
		enum body_state state = read_body(q->in, r);

		if (state == BODY_BROKEN)
			return false;
		worker_set(w, fd, false);
		if (!accepted) {
			/* res is the answer. */
		} else if (state == BODY_WHOLE) {
			api_answer(w->fcgi->api, r, res);
		} else if (state == BODY_WRONG) {
			api_refuse_body(r, res);
		} else {
			err_nomem(&err, (unsigned long)r->length);
			api_fail(w->fcgi->api, r, res, &err);
			*discarding = true;
		}
	}
	worker_set(w, fd, false);
	return !response_head(res, &w->head, &err);
}

/* The request has been answered: c's next, or its end. */
static void
finish(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;

	connection_unspool(f, c);
	c->waits_for = WAITS_FOR_REQUEST;
	worker_set(w, -1, false);
	if (c->fd >= 0 && c->keep && !atomic_load(&f->stopping))
		connection_park(f, c);
	else
		connection_close(f, c);
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
		if (is_ready(c->fd, POLLOUT, MOMENT_MS) ||
		    atomic_load(&f->stopping))
			continue;
		worker_set(w, -1, false);
		connection_park(f, c);
		return;
	}
	c->keep = c->keep && state == SPOOL_DONE;
	finish(w, c);
}

/* Serves the request that c's peer has sent; c is gone after it. */
static void
serve(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;
	struct spool out = SPOOL_INIT;
	FCGX_Request q;
	bool discarding = false;

	c->keep = false;
	if (!worker_set(w, c->fd, true)) {
		finish(w, c);
		return;
	}
	if (c->spool.fd >= 0)
		spool_rewind(&c->spool);
	begin_request(&q, c->spool.fd >= 0 ? c->spool.fd : c->fd);
	if (FCGX_Accept_r(&q)) {
		/* Closed by it. */
		if (c->spool.fd >= 0)
			c->spool.fd = -1;
		else
			c->fd = -1;
		finish(w, c);
		return;
	}
	if (FCGX_GetError(q.in) || q.role != ROLE_RESPONDER ||
	    !answer(w, &q, c->fd, &discarding)) {
		FCGX_Free(&q, 0);
		finish(w, c);
		return;
	}
	/* The request has been read: what follows is for its peer. */
	connection_unspool(f, c);
	q.ipcFd = c->fd;
	if (response_payload(&w->response).len > LARGE_ANSWER &&
	    spools_have_room(f) && spool_open(&out))
		q.ipcFd = out.fd;
	c->keep = q.keepConnection && !discarding;
	q.keepConnection = 1; /* closing is ours */
	write_slice(q.out, buf_slice(&w->head));
	write_slice(q.out, response_payload(&w->response));
	FCGX_Finish_r(&q);
	if (q.ipcFd < 0) {
		/* It could not write, and has closed what it wrote to. */
		if (out.fd < 0)
			c->fd = -1;
		c->keep = false;
		finish(w, c);
	} else if (out.fd >= 0) {
		out.len = response_payload(&w->response).len;
		atomic_fetch_add(&f->spooled_bytes, out.len);
		spool_rewind(&out);
		c->spool = out;
		c->waits_for = WAITS_FOR_ROOM;
		c->moved_ns = clock_mono_ns();
		send_rest(w, c);
	} else {
		if (discarding) {
			worker_set(w, c->fd, true);
			discard(c->fd);
		}
		finish(w, c);
	}
}

/* Does what can be done for c, which this worker has. */
static void
attend(struct worker *w, struct connection *c)
{
	if (c->waits_for == WAITS_FOR_ROOM) {
		send_rest(w, c);
		return;
	}
	switch (gather(w, c)) {
	case GATHERED_ALL:
		serve(w, c);
		break;
	case GATHERED_SOME:
		worker_set(w, -1, false);
		connection_park(w->fcgi, c);
		break;
	case GATHERED_NONE:
		worker_set(w, -1, false);
		connection_close(w->fcgi, c);
		break;
	}
}

/* Hangs up on peers that have been silent in mid-request for too long. */
static void
sweep(struct fcgi *f)
{
	uint64_t now = clock_mono_ns(), due = atomic_load(&f->sweep_ns);
	struct connection *c;

	if (now < due ||
	    !atomic_compare_exchange_strong(&f->sweep_ns, &due,
	                                    now + SWEEP_MS * NS_PER_MS))
		return;
	pthread_mutex_lock(&f->lock);
	LIST_FOREACH(c, &f->waiting, in_waiting)
	if (c->waits_for != WAITS_FOR_REQUEST &&
	    now - c->moved_ns > f->options.timeout_ms * NS_PER_MS)
		shutdown(c->fd, SHUT_RDWR); /* epoll tells of it */
	pthread_mutex_unlock(&f->lock);
}

/* Gives back what a large request took. */
static void
worker_trim(struct worker *w)
{
	if (w->request.body.cap > MEMORY_KEPT_MAX)
		buf_release(&w->request.body);
	if (w->response.memory.cap > MEMORY_KEPT_MAX)
		buf_release(&w->response.memory);
}

static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	struct fcgi *f = w->fcgi;

	while (!atomic_load(&f->stopping)) {
		bool unfinished = atomic_load(&f->unfinished) > 0;
		struct epoll_event event;
		struct connection *c;
		int n;

		n = epoll_wait(f->epoll_fd, &event, 1,
		               unfinished ? SWEEP_MS : -1);
		if (unfinished)
			sweep(f);
		if (n != 1 || event.data.ptr == NULL)
			continue;
		if (event.data.ptr == f) {
			c = accept_connection(f);
			if (!c)
				continue;
		} else {
			c = event.data.ptr;
			connection_take(f, c);
		}
		attend(w, c);
		worker_trim(w);
	}
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

/* Goes on with answers that no worker sends now; true if any is left. */
static bool
send_all(struct fcgi *f)
{
	struct connection *c;
	bool left = false;

	pthread_mutex_lock(&f->lock);
	LIST_FOREACH(c, &f->waiting, in_waiting)
	if (c->waits_for == WAITS_FOR_ROOM &&
	    spool_send(&c->spool, c->fd) == SPOOL_WAITS)
		left = true;
	pthread_mutex_unlock(&f->lock);
	return left;
}

void
fcgi_stop(struct fcgi *f)
{
	struct connection *c;
	uint64_t end = clock_mono_ns() + STOP_GRACE_MS * NS_PER_MS;

	if (!f)
		return;
	/*
	 * In this order: whoever begins to read after the flag is up sees it
	 * (worker_set), whoever began before is found by cut_off.
	 */
	atomic_store(&f->stopping, true);
	if (f->stop_fd >= 0)
		eventfd_write(f->stop_fd, 1);
	cut_off(f, false);
	for (;;) {
		bool left = send_all(f);

		if ((!atomic_load(&f->running) && !left) ||
		    clock_mono_ns() >= end)
			break;
		clock_sleep_us(2000);
	}
	cut_off(f, true);
	for (unsigned i = 0; i < f->count; i++) {
		struct worker *w = &f->workers[i];

		pthread_join(w->thread, NULL);
		pthread_mutex_destroy(&w->lock);
		request_release(&w->request);
		response_release(&w->response);
		buf_release(&w->head);
	}
	while ((c = LIST_FIRST(&f->waiting)) != NULL) {
		LIST_REMOVE(c, in_waiting);
		connection_close(f, c);
	}
	if (f->stop_fd >= 0)
		close(f->stop_fd);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	pthread_mutex_destroy(&f->lock);
	free(f->workers);
	free(f);
}

/* Makes the epoll set with the listening socket and the eventfd in it. */
static int
open_epoll(struct fcgi *f, struct err *err)
{
	struct epoll_event listening = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = f,
	};
	struct epoll_event stop = { .events = EPOLLIN, .data.ptr = NULL };
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(address);
	int flags;

	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/*
	 * Between "readable" and accept another process that has the socket
	 * may take the connection: no worker must hang there.
	 */
	flags = fcntl(f->options.listen_fd, F_GETFL);
	if (f->epoll_fd < 0 || f->stop_fd < 0 || flags < 0 ||
	    fcntl(f->options.listen_fd, F_SETFL, flags | O_NONBLOCK) ||
	    getsockname(f->options.listen_fd, (struct sockaddr *)&address,
	                &len) ||
	    epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->stop_fd, &stop) ||
	    epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->options.listen_fd,
	              &listening))
		return err_set_errno(err, errno, "listening socket");
	f->is_tcp = address.ss_family != AF_UNIX;
	return 0;
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
	f->epoll_fd = f->stop_fd = -1;
	LIST_INIT(&f->waiting);
	pthread_mutex_init(&f->lock, NULL);
	f->workers = calloc(options->threads, sizeof(*f->workers));
	rc = f->workers
	             ? open_epoll(f, err)
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
