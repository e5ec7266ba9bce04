/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder from inside: what these files share, and nobody else
 * includes.
 *
 *     fcgi.c         workers, and how they stop; one request; writes
 *     fcgi_read.c    what comes from a peer, up to a whole request
 *     fcgi_answer.c  what goes to it, up to its next request
 *
 * What is done around libfcgi 2.4.2, and why:
 *
 * accept    Ours, in the lobby.
 * read      Ours, where a request is whole and of the usual form (whole.h).
 *           Its own for all others, but only once all of the request is
 *           there: it would wait for the rest, and so would a worker for every
 *           slow client that a web server lets through. What comes in pieces
 *           is gathered in a spool first, and then read from there. It takes
 *           variables that were cut short for complete: its stream's error is
 *           asked for.
 * write     Ours (record.h): its streams belong to the request that it has
 *           read. A large answer goes into a spool, and from there to the
 *           peer as fast as that reads.
 * free      Its own, but not before the worker's next request: it takes thirty
 *           pieces of memory for each, which are to be given back in the
 *           thread that takes the same ones next, not by whoever writes what
 *           the others have read.
 * close     Ours: its own waits up to two seconds for the peer to close
 *           first. `detached` makes even its own error paths close at once.
 */
#ifndef LSMKV_HTTP_FCGI_IMPL_H
#define LSMKV_HTTP_FCGI_IMPL_H

#include <fcgiapp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/fcgi.h"
#include "http/lobby.h"
#include "http/whole.h"
#include "http/writes.h"

#define NS_PER_MS 1000000ull
#define MOMENT_MS 2           /* what comes or goes so soon is waited for */
#define SLICE_MAX (1u << 20)  /* bytes of one call into libfcgi */
#define PIECE_MAX (16u << 10) /* bytes of one look at a request */

/*
 * A request and its answer. A worker has one for the request under way, which
 * it gives away when that is a write; those nobody has are spare.
 */
struct job {
	struct connection *connection;
	unsigned id;              /* of the request, on its connection */
	bool keep;                /* the connection, behind the answer */
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
	struct job *job;    /* for the request under way */
	FCGX_Request q;     /* the last one that libfcgi read, until the next of
	                    them begins */
	struct whole whole; /* the last one that it did not, in piece. Of either
	                       a request borrows its variables until it is held */
	STAILQ_HEAD(, job) late; /* written; answered when nothing else waits */
	unsigned late_count;     /* of late */
	unsigned outside;        /* of the lobby: so many times left */
	struct buf head;         /* of a response; used again and again */
	pthread_mutex_t lock;    /* of the two below; the only one held */
	int busy_fd;             /* under way; -1 when waiting */
	bool reading;            /* busy_fd's request is not all here yet */
	struct spool reserve; /* for a request that comes in pieces when there
	                            are no descriptors; closed: in use */
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

/* ---- fcgi.c ---- */

/*
 * Lets another worker in while this one waits, until worker_step_in; these
 * calls may be nested. Both take a struct worker.
 */
void worker_step_out(void *worker);
void worker_step_in(void *worker);
/*
 * Says what this worker is doing with which descriptor, for fcgi_stop.
 * False if it should not begin, because the responder stops.
 */
bool worker_set(struct worker *w, int fd, bool reading);
/*
 * Is fd ready for events (of poll), or will it be in timeout_ms? A moment is
 * not waited as long as there is something to write.
 */
bool worker_is_ready(struct worker *w, int fd, short events, int timeout_ms);

/* ---- fcgi_read.c ---- */

enum gathered {
	GATHERED_WHOLE,   /* w->whole, and nothing is left of it to read */
	GATHERED_ALL,     /* what is there can be served without waiting */
	GATHERED_SOME,    /* more is to come */
	GATHERED_NOWHERE, /* the same, but only libfcgi can wait for it, in the
	                     socket */
	GATHERED_NONE,    /* nothing useful ever will */
};

/*
 * Sees to it that c's request is all here, in the socket, where it mostly
 * is, or else in the spool, or in w->piece.
 */
enum gathered fcgi_gather(struct worker *w, struct connection *c);

/* Prepares q to read a request from fd, which libfcgi must leave open. */
void fcgi_begin_request(FCGX_Request *q, int fd);
/*
 * Reads in to its end, which stands before the connection's next request.
 * True if there was anything before it.
 */
bool fcgi_read_to_end(FCGX_Stream *in);

enum body_state {
	BODY_WHOLE,
	BODY_WRONG,   /* shorter or longer than it says; all of it is read */
	BODY_BROKEN,  /* the peer is gone, or does not keep to the protocol */
	BODY_NO_ROOM, /* no memory */
};

/* Reads the body of r, and the end of the stream behind it. */
enum body_state fcgi_read_body(FCGX_Stream *in, struct request *r);

/* ---- fcgi_answer.c ---- */

/*
 * Sends the answer of j, whose connection is gone after it. False: nothing was
 * sent, because that may take long, and the caller is not patient.
 */
bool fcgi_respond(struct worker *w, struct job *j, bool patient);
/* The request has been answered: c's next, or its end. */
void fcgi_finish(struct worker *w, struct connection *c);
/* Sends what is left of an answer. */
void fcgi_send_rest(struct worker *w, struct connection *c);
/*
 * Reads and forgets what still comes of a request that has been answered, so
 * that its peer gets to read the answer, and the next request is found.
 */
void fcgi_skip_rest(struct worker *w, struct connection *c);

#endif
