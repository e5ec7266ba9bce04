/* SPDX-License-Identifier: ISC */
/*
 * The lobby: where connections wait that nobody serves.
 *
 * One epoll set holds the listening socket (one shot: armed again by the
 * worker that has accepted, so that a connection wakes one worker), every
 * connection (edge-triggered: it stays armed, since to arm it again for each
 * request is a system call more), and an eventfd that wakes everyone for good
 * when we stop. A worker takes a connection that is ready, does with it what
 * can be done without waiting, and brings it back or closes it; a connection
 * has one owner at a time. What is told of one that has an owner is kept for
 * when it comes back.
 *
 * Who looks at the set, and is the only one to look, brings along several that
 * are ready; the others find them here without a system call.
 *
 * There are many more workers than processors, because some of them wait for
 * the disk; but no more than there are processors are awake. A worker that is
 * about to wait steps out, and another one may then come in; without that, the
 * kernel would wake another worker for every request, only for it to find that
 * a busy one has taken it already.
 */
#ifndef LSMKV_HTTP_LOBBY_H
#define LSMKV_HTTP_LOBBY_H

#include <sys/queue.h>

#include "http/record.h"
#include "http/spool.h"

/* What a connection that nobody serves waits for. */
enum waiting_for {
	WAITS_FOR_REQUEST, /* the next one; the spool is closed */
	WAITS_FOR_REST,    /* of the request; what has come is in the spool */
	WAITS_FOR_ROOM,    /* for the rest of the answer, in the spool */
	WAITS_FOR_END,     /* of a request that was answered from its head */
};

/* Where a connection is; the lobby's. */
enum connection_state {
	CONNECTION_SPARE, /* to be used again: memory is not given back, since
	                     an event may still point there */
	CONNECTION_OWNED, /* by a worker */
	CONNECTION_WAITING,
	CONNECTION_READY,
};

/* A connection to the web server. */
struct connection {
	int fd;              /* -1 once it is closed */
	bool unread;         /* there may be bytes that no event will tell of;
	                        for lobby_return */
	bool keep;           /* open, behind this answer */
	bool head_looked_at; /* of what is in the spool */
	enum waiting_for waits_for;
	struct spool spool;
	struct record_scan scan; /* of the request that comes in pieces */
	uint64_t moved_ns;       /* when the last byte of it came or went */
	/* The lobby's: */
	enum connection_state state;
	bool told;      /* of something while it had an owner */
	uint32_t armed; /* events that it is in the set for; 0: it is not */
	LIST_ENTRY(connection) in_waiting;
	STAILQ_ENTRY(connection) in_ready;
	SLIST_ENTRY(connection) in_spare;
};

struct lobby;

/*
 * listen_fd listens and stays the caller's. A peer that is silent for
 * timeout_ms in the middle of a request or an answer is hung up on.
 */
int lobby_open(struct lobby **out, int listen_fd, unsigned timeout_ms,
               struct err *err);
/* Closes all that still wait. No thread may be in here. NULL allowed. */
void lobby_close(struct lobby *l);

/*
 * What a worker says when it begins, before it waits for anything but the
 * next connection, and when it has done so. It may wait without, but then
 * keeps others from working.
 */
void lobby_enter(struct lobby *l);
void lobby_leave(struct lobby *l);
/* A connection, open at fd, that is the caller's; NULL without memory. */
struct connection *lobby_adopt(struct lobby *l, int fd);
/*
 * A connection that has what it waits for, or that is new, for the caller,
 * which has entered. NULL if there is none: with wait, for no reason that is
 * the caller's, and at once from lobby_stop on.
 */
struct connection *lobby_next(struct lobby *l, bool wait);
/*
 * Makes one of those that wait in lobby_next, or the next one that would, come
 * back from it with nothing: there is something else to do.
 */
void lobby_call(struct lobby *l);
/*
 * Takes c back, to wait for what c->waits_for says: c has read, or written, all
 * that there was (EAGAIN, or fewer bytes than there was room for), or says that
 * there may be more (c->unread).
 */
void lobby_return(struct lobby *l, struct connection *c);
/* Closes c for good. */
void lobby_dismiss(struct lobby *l, struct connection *c);
void lobby_stop(struct lobby *l);

/* c's spool has grown by so many bytes. */
void lobby_spooled(struct lobby *l, struct connection *c, uint64_t bytes);
/* Closes c's spool. */
void lobby_unspool(struct lobby *l, struct connection *c);
/* May more peers be waited for in spools, instead of by workers? */
bool lobby_has_room(struct lobby *l);
/* Goes on with answers that wait here; true if any is left. */
bool lobby_send(struct lobby *l);

#endif
