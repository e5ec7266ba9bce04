/* SPDX-License-Identifier: ISC */
/*
 * The lobby; see lobby.h.
 *
 * Accepting is done here and not by libfcgi, whose accept sets neither
 * CLOEXEC nor timeouts, waits two seconds for a silent peer, and gives up on
 * EMFILE. The listening socket is never shut down: systemd goes on using it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/processors.h"
#include "http/lobby.h"

#define NS_PER_MS 1000000ull
#define PAUSE_US 20000 /* when there are no descriptors */
#define PAUSE_LOG_NS (10000 * NS_PER_MS)
#define SWEEP_MS 250            /* between looks for silent peers */
#define SPOOLS_MAX (512u << 20) /* bytes of slow peers' in memory */
#define EVENTS_MAX 8            /* that one look at the set brings along */

/* A worker that stands by. */
struct stander {
	pthread_cond_t call; /* it is called, or stopping */
	bool called;         /* it has got a seat, and is in no list */
	SLIST_ENTRY(stander) in_standing;
};

struct lobby {
	int listen_fd;       /* borrowed */
	unsigned timeout_ms; /* of a silent peer */
	bool is_tcp;         /* listen_fd is */
	int epoll_fd;
	int stop_fd; /* eventfd, readable once stopping */
	int call_fd; /* eventfd; each write to it wakes one who watches */
	_Atomic uint64_t quiet_until_ns; /* next "no descriptors" line */
	unsigned seats;                  /* workers that may be awake */
	pthread_mutex_t lock;            /* of all down to waiting;
	                                    connections change hands under it */
	unsigned awake;                  /* have entered, and do not stand by */
	unsigned watching;               /* of them: look at the set */
	unsigned sweeping;               /* of them: and for silent peers */
	SLIST_HEAD(, stander)
	standing; /* wait for a seat; the last to come
	                                    is the first: its stack and what
	                                    malloc keeps for it are warm */
	bool stopping;
	LIST_HEAD(, connection) waiting;
	STAILQ_HEAD(, connection) ready; /* have been told of */
	SLIST_HEAD(, connection) spare;
	_Atomic unsigned unfinished;    /* of waiting: those that wait for a
	                                    rest, or for room */
	_Atomic uint64_t spooled_bytes; /* in all spools */
	_Atomic uint64_t sweep_ns;      /* when to look for silent peers */
};

void
lobby_unspool(struct lobby *l, struct connection *c)
{
	/* Every request comes through here twice, and few have one. */
	if (c->spool.fd < 0 && !c->spool.len)
		return;
	atomic_fetch_sub(&l->spooled_bytes, c->spool.len);
	spool_close(&c->spool);
}

struct connection *
lobby_adopt(struct lobby *l, int fd)
{
	struct connection *c;

	pthread_mutex_lock(&l->lock);
	c = SLIST_FIRST(&l->spare);
	if (c)
		SLIST_REMOVE_HEAD(&l->spare, in_spare);
	pthread_mutex_unlock(&l->lock);
	if (!c)
		c = malloc(sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct connection){
		.fd = fd,
		.spool = SPOOL_INIT,
		.state = CONNECTION_OWNED,
	};
	return c;
}

void
lobby_dismiss(struct lobby *l, struct connection *c)
{
	lobby_unspool(l, c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	pthread_mutex_lock(&l->lock);
	c->state = CONNECTION_SPARE;
	SLIST_INSERT_HEAD(&l->spare, c, in_spare);
	pthread_mutex_unlock(&l->lock);
}

/* Has epoll tell of what c waits for. Also of what is there already. */
static bool
arm(struct lobby *l, struct connection *c)
{
	uint32_t wanted = c->waits_for == WAITS_FOR_ROOM ? EPOLLOUT
	                                                 : EPOLLIN | EPOLLRDHUP;
	struct epoll_event event = {
		.events = wanted | EPOLLET,
		.data.ptr = c,
	};
	int op = c->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (c->armed == wanted)
		return true;
	c->armed = wanted;
	return !epoll_ctl(l->epoll_fd, op, c->fd, &event);
}

void
lobby_return(struct lobby *l, struct connection *c)
{
	bool armed;

	/* Whoever is told of it waits for the lock: it is not ours then. */
	pthread_mutex_lock(&l->lock);
	armed = arm(l, c);
	if (armed && (c->told || c->unread)) {
		c->state = CONNECTION_READY;
		STAILQ_INSERT_TAIL(&l->ready, c, in_ready);
	} else if (armed) {
		c->state = CONNECTION_WAITING;
		LIST_INSERT_HEAD(&l->waiting, c, in_waiting);
		l->unfinished += c->waits_for != WAITS_FOR_REQUEST;
	}
	pthread_mutex_unlock(&l->lock);
	if (!armed)
		lobby_dismiss(l, c);
}

/* The event is c's: it is ready, or will be when it comes back. */
static void
tell(struct lobby *l, struct connection *c)
{
	c->told = true;
	if (c->state != CONNECTION_WAITING)
		return;
	LIST_REMOVE(c, in_waiting);
	l->unfinished -= c->waits_for != WAITS_FOR_REQUEST;
	c->state = CONNECTION_READY;
	STAILQ_INSERT_TAIL(&l->ready, c, in_ready);
}

/* The first of those that are ready, for the caller; NULL: there are none. */
static struct connection *
take_ready(struct lobby *l)
{
	struct connection *c = STAILQ_FIRST(&l->ready);

	if (!c)
		return NULL;
	STAILQ_REMOVE_HEAD(&l->ready, in_ready);
	c->state = CONNECTION_OWNED;
	c->told = c->unread = false;
	return c;
}

void
lobby_call(struct lobby *l)
{
	eventfd_write(l->call_fd, 1);
}

/* Gives one of those that stand by a seat, if there are both. */
static void
call_one(struct lobby *l)
{
	struct stander *s = SLIST_FIRST(&l->standing);

	if (l->awake >= l->seats || !s)
		return;
	l->awake++;
	SLIST_REMOVE_HEAD(&l->standing, in_standing);
	s->called = true;
	pthread_cond_signal(&s->call);
}

/*
 * With the lock held, which it gives back: if there is something left to do,
 * and nobody who is awake is certain to come and see, somebody is woken.
 */
static void
share(struct lobby *l)
{
	bool ready = !STAILQ_EMPTY(&l->ready), call = ready && l->watching;

	if (!l->watching)
		call_one(l);
	pthread_mutex_unlock(&l->lock);
	if (call)
		lobby_call(l);
}

void
lobby_enter(struct lobby *l)
{
	pthread_mutex_lock(&l->lock);
	l->awake++; /* one too many is seen in lobby_next */
	pthread_mutex_unlock(&l->lock);
}

void
lobby_leave(struct lobby *l)
{
	pthread_mutex_lock(&l->lock);
	l->awake--;
	/* Somebody who watches calls another one when there is work. */
	share(l);
}

/* Waits for a seat, with the lock held. */
static void
stand_by(struct lobby *l)
{
	struct stander s = { .called = false };

	if (l->awake <= l->seats || (l->unfinished && !l->sweeping))
		return;
	/* Those who are awake may not know. */
	if (!STAILQ_EMPTY(&l->ready) && l->watching)
		lobby_call(l);
	pthread_cond_init(&s.call, NULL);
	l->awake--;
	SLIST_INSERT_HEAD(&l->standing, &s, in_standing);
	while (!s.called && !l->stopping)
		pthread_cond_wait(&s.call, &l->lock);
	if (!s.called) {
		SLIST_REMOVE(&l->standing, &s, stander, in_standing);
		l->awake++;
	}
	pthread_cond_destroy(&s.call);
}

bool
lobby_has_room(struct lobby *l)
{
	return atomic_load(&l->spooled_bytes) < SPOOLS_MAX;
}

void
lobby_spooled(struct lobby *l, struct connection *c, uint64_t bytes)
{
	atomic_fetch_add(&l->spooled_bytes, bytes);
	c->moved_ns = clock_mono_ns();
}

/* Arms the listening socket for the next worker. */
static void
listen_again(struct lobby *l)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = l,
	};
	int rc = epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->listen_fd, &event);

	assert(!rc); /* it is in the set, and MOD allocates nothing */
}

/* Takes a new connection; NULL if there is none after all. */
static struct connection *
accept_connection(struct lobby *l)
{
	struct connection *c;
	int fd, on = 1;

	fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		uint64_t now = clock_mono_ns();
		int error = errno;

		if (error == EMFILE || error == ENFILE || error == ENOMEM ||
		    error == ENOBUFS) {
			/* Those that are busy now will give theirs back. */
			if (now >= atomic_load(&l->quiet_until_ns)) {
				atomic_store(&l->quiet_until_ns,
				             now + PAUSE_LOG_NS);
				log_warn("accept: %s; new connections wait",
				         strerror(error));
			}
			lobby_leave(l);
			clock_sleep_us(PAUSE_US);
			lobby_enter(l);
		}
		listen_again(l);
		return NULL;
	}
	listen_again(l);
	if (l->is_tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = lobby_adopt(l, fd);
	if (!c)
		close(fd);
	return c;
}

/* Hangs up on peers that have been silent in mid-request for too long. */
static void
sweep(struct lobby *l)
{
	uint64_t now = clock_mono_ns(), due = atomic_load(&l->sweep_ns);
	struct connection *c;

	if (now < due ||
	    !atomic_compare_exchange_strong(&l->sweep_ns, &due,
	                                    now + SWEEP_MS * NS_PER_MS))
		return;
	pthread_mutex_lock(&l->lock);
	LIST_FOREACH(c, &l->waiting, in_waiting)
	/* What has moved since we looked at the clock is ahead of now. */
	if (c->waits_for != WAITS_FOR_REQUEST &&
	    now > c->moved_ns + l->timeout_ms * NS_PER_MS)
		shutdown(c->fd, SHUT_RDWR); /* epoll tells of it */
	pthread_mutex_unlock(&l->lock);
}

struct connection *
lobby_next(struct lobby *l, bool wait)
{
	struct epoll_event events[EVENTS_MAX];
	struct connection *c;
	bool unfinished = false, accepts = false;
	int timeout = 0, room, n;

	pthread_mutex_lock(&l->lock);
	if (wait)
		stand_by(l);
	c = take_ready(l);
	if (c) {
		if (!STAILQ_EMPTY(&l->ready) && !l->watching)
			call_one(l);
		pthread_mutex_unlock(&l->lock);
		return c;
	}
	if (wait) {
		unfinished = l->unfinished > 0;
		timeout = unfinished ? SWEEP_MS : -1;
	}
	/* The kernel shares out what is ready among those who wait there. */
	room = l->watching ? 1 : EVENTS_MAX;
	l->watching += wait;
	l->sweeping += unfinished;
	pthread_mutex_unlock(&l->lock);

	n = epoll_wait(l->epoll_fd, events, room, timeout);

	pthread_mutex_lock(&l->lock);
	l->watching -= wait;
	l->sweeping -= unfinished;
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr == l)
			accepts = true;
		else if (events[i].data.ptr)
			tell(l, events[i].data.ptr);
	/* A new connection first: nobody else is told of that. */
	c = accepts ? NULL : take_ready(l);
	if (accepts || c)
		share(l);
	else
		pthread_mutex_unlock(&l->lock);
	if (unfinished || (!wait && atomic_load(&l->unfinished)))
		sweep(l);
	return accepts ? accept_connection(l) : c;
}

bool
lobby_send(struct lobby *l)
{
	struct connection *c;
	bool left = false;

	pthread_mutex_lock(&l->lock);
	LIST_FOREACH(c, &l->waiting, in_waiting)
	if (c->waits_for == WAITS_FOR_ROOM &&
	    spool_send(&c->spool, c->fd) == SPOOL_WAITS)
		left = true;
	STAILQ_FOREACH(c, &l->ready, in_ready)
	if (c->waits_for == WAITS_FOR_ROOM &&
	    spool_send(&c->spool, c->fd) == SPOOL_WAITS)
		left = true;
	pthread_mutex_unlock(&l->lock);
	return left;
}

void
lobby_stop(struct lobby *l)
{
	struct stander *s;

	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	SLIST_FOREACH(s, &l->standing, in_standing)
	pthread_cond_signal(&s->call);
	pthread_mutex_unlock(&l->lock);
	eventfd_write(l->stop_fd, 1);
}

/* Makes the epoll set with the listening socket and the eventfd in it. */
static int
open_epoll(struct lobby *l, struct err *err)
{
	struct epoll_event listening = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = l,
	};
	struct epoll_event stop = { .events = EPOLLIN, .data.ptr = NULL };
	struct epoll_event call = {
		.events = EPOLLIN | EPOLLET,
		.data.ptr = NULL,
	};
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(address);
	int flags;

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/*
	 * Between "readable" and accept another process that has the socket
	 * may take the connection: no worker must hang there.
	 */
	flags = fcntl(l->listen_fd, F_GETFL);
	if (l->epoll_fd < 0 || l->stop_fd < 0 || l->call_fd < 0 || flags < 0 ||
	    fcntl(l->listen_fd, F_SETFL, flags | O_NONBLOCK) ||
	    getsockname(l->listen_fd, (struct sockaddr *)&address, &len) ||
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->stop_fd, &stop) ||
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->call_fd, &call) ||
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->listen_fd, &listening))
		return err_set_errno(err, errno, "listening socket");
	l->is_tcp = address.ss_family != AF_UNIX;
	return 0;
}

int
lobby_open(struct lobby **out, int listen_fd, unsigned timeout_ms,
           struct err *err)
{
	struct lobby *l = calloc(1, sizeof(*l));
	pthread_mutexattr_t spins;
	int rc;

	*out = NULL;
	if (!l)
		return err_nomem(err, sizeof(*l));
	l->listen_fd = listen_fd;
	l->timeout_ms = timeout_ms;
	l->epoll_fd = l->stop_fd = l->call_fd = -1;
	l->seats = processors_allowed();
	if (l->seats < 2) /* one may be slow */
		l->seats = 2;
	LIST_INIT(&l->waiting);
	STAILQ_INIT(&l->ready);
	SLIST_INIT(&l->spare);
	SLIST_INIT(&l->standing);
	/* It is held for a moment, and to sleep and to be woken is longer. */
	pthread_mutexattr_init(&spins);
	pthread_mutexattr_settype(&spins, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&l->lock, &spins);
	pthread_mutexattr_destroy(&spins);
	rc = open_epoll(l, err);
	if (rc)
		lobby_close(l);
	else
		*out = l;
	return rc;
}

void
lobby_close(struct lobby *l)
{
	struct connection *c;

	if (!l)
		return;
	while ((c = LIST_FIRST(&l->waiting)) != NULL) {
		LIST_REMOVE(c, in_waiting);
		lobby_dismiss(l, c);
	}
	while ((c = take_ready(l)) != NULL)
		lobby_dismiss(l, c);
	while ((c = SLIST_FIRST(&l->spare)) != NULL) {
		SLIST_REMOVE_HEAD(&l->spare, in_spare);
		free(c);
	}
	if (l->call_fd >= 0)
		close(l->call_fd);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
