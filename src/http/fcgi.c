/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder; see fcgi.h.
 *
 * What is done around libfcgi 2.4.2, and why:
 *
 * accept    Ours: its own sets neither CLOEXEC nor a read timeout, waits two
 *           seconds for a silent peer, and gives up on EMFILE.
 * read      Its own, from a descriptor that we put into the FCGX_Request. It
 *           takes parameters that were cut short for complete: its stream's
 *           error is asked for each time.
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

#define ROLE_RESPONDER 1
#define NS_PER_MS 1000000ull
#define FIRST_BYTE_MS 2   /* a web server sends at once, or parks */
#define STOP_GRACE_MS 500 /* for answers that are under way */
#define DISCARD_MS 2000   /* for a body that nobody wants */
#define PAUSE_US 20000    /* when there are no descriptors */
#define PAUSE_LOG_NS (10000 * NS_PER_MS)
#define MEMORY_KEPT_MAX (256u << 10) /* of a buffer, between requests */
#define SLICE_MAX (1u << 20)         /* bytes of one call into libfcgi */

/* A connection to the web server. */
struct connection {
	int fd;                            /* -1 once libfcgi has closed it */
	bool in_epoll;                     /* is it in the set, armed or not? */
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
	unsigned count;                  /* of workers that were started */
	struct worker *workers;          /* options.threads of them */
};

static void
connection_close(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

/* Leaves c in the epoll set until its peer has something to say. */
static void
connection_park(struct fcgi *f, struct connection *c)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
		.data.ptr = c,
	};
	int op = c->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	bool failed;

	/* Whoever is woken for it waits for the lock: it is not ours then. */
	pthread_mutex_lock(&f->lock);
	c->in_epoll = true;
	LIST_INSERT_HEAD(&f->waiting, c, in_waiting);
	failed = epoll_ctl(f->epoll_fd, op, c->fd, &event) != 0;
	if (failed)
		LIST_REMOVE(c, in_waiting);
	pthread_mutex_unlock(&f->lock);
	if (failed)
		connection_close(c);
}

/* Makes c, which epoll has told of, this worker's. */
static void
connection_take(struct fcgi *f, struct connection *c)
{
	pthread_mutex_lock(&f->lock);
	LIST_REMOVE(c, in_waiting);
	pthread_mutex_unlock(&f->lock);
}

static bool
is_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

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
	       is_readable(fd, (int)((end - now) / NS_PER_MS) + 1))
		if (recv(fd, trash, sizeof(trash), MSG_DONTWAIT) <= 0)
			return;
}

/* Answers the request that q holds; false if its connection is of no use. */
static bool
answer(struct worker *w, FCGX_Request *q, bool *discarding)
{
	struct request *r = &w->request;
	struct response *res = &w->response;
	struct err err = ERR_INIT;

	request_read_env(r, q->envp);
	if (!api_accepts(w->fcgi->api, r, res)) {
		/* Without a body the stream still has an end to read. */
		*discarding = r->length > 0;
		if (!*discarding && read_body(q->in, r) == BODY_BROKEN)
			return false;
	} else {
		switch (read_body(q->in, r)) {
		case BODY_WHOLE:
			worker_set(w, q->ipcFd, false);
			api_answer(w->fcgi->api, r, res);
			break;
		case BODY_WRONG:
			api_refuse_body(r, res);
			break;
		case BODY_BROKEN:
			return false;
		case BODY_NO_ROOM:
			err_nomem(&err, (unsigned long)r->length);
			api_fail(w->fcgi->api, r, res, &err);
			*discarding = true;
			break;
		}
	}
	worker_set(w, q->ipcFd, false);
	if (response_head(res, &w->head, &err))
		return false;
	write_slice(q->out, buf_slice(&w->head));
	write_slice(q->out, response_payload(res));
	return true;
}

/* Serves the request that c's peer has begun to send; c is gone after it. */
static void
serve(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;
	FCGX_Request q;
	bool keep = false, discarding = false;

	if (!worker_set(w, c->fd, true)) {
		connection_close(c);
		return;
	}
	FCGX_InitRequest(&q, -1, 0); /* -1: it must not accept by itself */
	q.ipcFd = c->fd;
	q.detached = 1;       /* libfcgi closes without waiting, if ever */
	q.keepConnection = 1; /* the descriptor is not one to finish with */
	if (FCGX_Accept_r(&q)) {
		c->fd = -1; /* closed by it */
	} else if (FCGX_GetError(q.in) || q.role != ROLE_RESPONDER ||
	           !answer(w, &q, &discarding)) {
		FCGX_Free(&q, 1);
		c->fd = -1;
	} else {
		keep = q.keepConnection && !discarding;
		q.keepConnection = 1; /* closing is ours */
		FCGX_Finish_r(&q);
		if (q.ipcFd < 0)
			c->fd = -1; /* the peer went away, and it closed */
	}
	if (c->fd >= 0 && discarding) {
		worker_set(w, c->fd, true);
		discard(c->fd);
	}
	worker_set(w, -1, false);
	if (c->fd >= 0 && keep && !atomic_load(&f->stopping))
		connection_park(f, c);
	else
		connection_close(c);
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
		struct epoll_event event;
		struct connection *c;

		if (epoll_wait(f->epoll_fd, &event, 1, -1) != 1 ||
		    event.data.ptr == NULL)
			continue;
		c = event.data.ptr;
		if (event.data.ptr == f) {
			c = accept_connection(f);
			if (!c)
				continue;
			if (!is_readable(c->fd, FIRST_BYTE_MS)) {
				connection_park(f, c);
				continue;
			}
		} else {
			connection_take(f, c);
		}
		serve(w, c);
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
	while (atomic_load(&f->running) && clock_mono_ns() < end)
		clock_sleep_us(2000);
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
		connection_close(c);
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
