/* SPDX-License-Identifier: ISC */
/*
 * What comes from a peer, up to a whole request; see fcgi_impl.h.
 *
 *     fcgi_gather -> (serve, in fcgi.c) -> fcgi_read_body
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/fcgi_impl.h"

#define HEAD_ROOM (1u << 20) /* for variables and record heads */

bool
fcgi_read_to_end(FCGX_Stream *in)
{
	char trash[8192];
	bool more = false;

	while (FCGX_GetStr(trash, sizeof(trash), in) > 0)
		more = true;
	return more;
}

enum body_state
fcgi_read_body(FCGX_Stream *in, struct request *r)
{
	enum body_state state = BODY_WHOLE;

	if (buf_reserve(&r->body, (size_t)r->length + 1, NULL)) {
		fcgi_read_to_end(in);
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
	if (fcgi_read_to_end(in))
		state = BODY_WRONG;
	return FCGX_GetError(in) ? BODY_BROKEN : state;
}

void
fcgi_begin_request(FCGX_Request *q, int fd)
{
	FCGX_InitRequest(q, -1, 0); /* -1: it must not accept by itself */
	q->ipcFd = fd;
	q->detached = 1;       /* it closes without waiting, if ever */
	q->keepConnection = 1; /* fd is not one to finish with */
}

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
	fcgi_begin_request(&q, c->spool.fd);
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

/*
 * Puts bytes of c's request, that were read, into its spool. GATHERED_SOME: it
 * goes on.
 */
static enum gathered
set_aside(struct worker *w, struct connection *c, struct slice bytes)
{
	struct fcgi *f = w->fcgi;
	uint64_t max = api_body_max(f->api) * 9 / 8 + HEAD_ROOM;

	if (c->spool.len > max || !spool_write(&c->spool, bytes))
		return GATHERED_NONE;
	lobby_spooled(f->lobby, c, bytes.len);
	if (record_scan(&c->scan, bytes))
		return GATHERED_ALL;
	if (c->scan.head_whole && !c->head_looked_at) {
		c->head_looked_at = true;
		if (is_refused(w, c))
			return GATHERED_ALL;
		if (c->spool.fd < 0)
			return GATHERED_NONE;
	}
	return GATHERED_SOME;
}

/* Moves what comes of c's request into its spool. */
static enum gathered
gather_rest(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;
	enum gathered state;

	if (!worker_set(w, c->fd, true))
		return GATHERED_NONE;
	for (;;) {
		ssize_t n = recv(c->fd, w->piece, PIECE_MAX, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			bool park = lobby_has_room(f->lobby);
			unsigned ms = park ? MOMENT_MS : f->options.timeout_ms;

			if (worker_is_ready(w, c->fd, POLLIN, (int)ms))
				continue;
			return park ? GATHERED_SOME : GATHERED_NONE;
		}
		if (n <= 0)
			return GATHERED_NONE;
		state = set_aside(w, c, slice_make(w->piece, (size_t)n));
		if (state != GATHERED_SOME)
			return state;
	}
}

/* Reads what was seen of c's request, and nothing behind it. */
static enum gathered
take_whole(struct worker *w, struct connection *c)
{
	ssize_t n = recv(c->fd, w->piece, w->whole.len, MSG_DONTWAIT);

	/* The same bytes once more: nobody else reads them. */
	return n == (ssize_t)w->whole.len ? GATHERED_WHOLE : GATHERED_NONE;
}

/* The first bytes of c's request, of which w->piece has so many. */
static enum gathered
gather_first(struct worker *w, struct connection *c, size_t have)
{
	enum gathered state = GATHERED_SOME;

	if (!spool_open(&c->spool)) {
		c->spool = w->reserve;
		w->reserve = (struct spool)SPOOL_INIT;
		if (c->spool.fd < 0)
			return GATHERED_NOWHERE;
	}
	c->scan = (struct record_scan)RECORD_SCAN_INIT;
	c->head_looked_at = false;
	c->moved_ns = clock_mono_ns();
	c->waits_for = WAITS_FOR_REST;
	if (have)
		state = set_aside(w, c, slice_make(w->piece, have));
	return state == GATHERED_SOME ? gather_rest(w, c) : state;
}

enum gathered
fcgi_gather(struct worker *w, struct connection *c)
{
	/* What is read here and is not to be served from here goes into a
	   spool: without one nothing is taken. */
	bool only_look = w->reserve.fd < 0;
	size_t have = 0;

	if (c->waits_for == WAITS_FOR_REST)
		return gather_rest(w, c);
	for (int look = 0; look < 2 && have < PIECE_MAX; look++) {
		ssize_t n = recv(c->fd, w->piece + have, PIECE_MAX - have,
		                 MSG_DONTWAIT | (only_look ? MSG_PEEK : 0));

		if (n < 0 && errno == EAGAIN) {
			if (!look)
				return GATHERED_SOME;
			break;
		}
		if (n <= 0)
			return GATHERED_NONE;
		have += (size_t)n;
		if (whole_find(slice_make(w->piece, have), &w->whole)) {
			c->unread = only_look || have == PIECE_MAX;
			if (only_look)
				return take_whole(w, c);
			/* Who does not wait for the answer is not answered
			   twice: libfcgi, too, would have read beyond. */
			if (have > w->whole.len)
				w->whole.keep = false;
			return GATHERED_WHOLE;
		}
		if (only_look)
			have = 0;
		/* Its peer may be about to write the rest. */
		sched_yield();
	}
	return gather_first(w, c, have);
}
