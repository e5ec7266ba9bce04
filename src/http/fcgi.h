/* SPDX-License-Identifier: ISC */
/*
 * The FastCGI responder: worker threads between the web server and the API.
 *
 * No worker is ever tied to a connection that has nothing to say. One epoll
 * set holds the listening socket and every connection that waits for its
 * next request; each worker takes whatever is ready, and one request at a
 * time. A connection that the web server wants kept goes back into the set
 * after its request, so that hundreds of them need no more workers than
 * there are requests under way. A write is put aside until no more requests
 * are ready, and then written together with all others (writes.h); reads go
 * on beside that. libfcgi reads and writes the protocol, and only here;
 * accepting, waiting and closing are done around it, because its own ways
 * block (see fcgi_impl.h).
 */
#ifndef LSMKV_HTTP_FCGI_H
#define LSMKV_HTTP_FCGI_H

#include "http/api.h"

struct fcgi_options {
	int listen_fd;       /* listens; stays the caller's */
	unsigned threads;    /* requests that are served at the same time */
	unsigned timeout_ms; /* a peer silent for so long inside a request,
				or not reading its answer, is cut off */
};

struct fcgi;

/*
 * Starts the workers. Signals should be blocked in the calling thread, as
 * the workers inherit that; SIGPIPE is ignored from here on.
 */
int fcgi_start(struct fcgi **out, struct api *api,
               const struct fcgi_options *options, struct err *err);
/*
 * Takes no new requests, lets the running ones finish (a peer that does not
 * read its answer is cut off after half a second), closes everything but
 * the listening socket, and ends the workers. NULL allowed.
 */
void fcgi_stop(struct fcgi *f);

#endif
