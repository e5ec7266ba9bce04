/* SPDX-License-Identifier: ISC */
/*
 * What goes to a peer, up to its next request; see fcgi_impl.h.
 *
 * An answer goes to the socket, where one that is not large finds room, or
 * else into a spool, from where it goes on whenever there is room. Only
 * without one has a worker to wait for its peer.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "http/fcgi_impl.h"

#define LARGE_ANSWER (64u << 10) /* less fits into the socket's buffer */

/*
 * Writes to the peer, waiting for room where there is none, or to a spool.
 * False: the peer is gone, or has not read for too long.
 */
static bool
write_parts(struct worker *w, int fd, bool is_peer, struct iovec *part,
            int count)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	int timeout_ms = (int)w->fcgi->options.timeout_ms;

	while (count) {
		struct msghdr message = {
			.msg_iov = part,
			.msg_iovlen = (size_t)count,
		};
		ssize_t n = is_peer ? sendmsg(fd, &message, MSG_DONTWAIT)
		                    : writev(fd, part, count);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && is_peer) {
			bool ready;

			worker_step_out(w);
			ready = poll(&room, 1, timeout_ms) > 0;
			worker_step_in(w);
			if (ready)
				continue;
		}
		if (n <= 0)
			return false;
		for (; count && (size_t)n >= part->iov_len; part++, count--)
			n -= (ssize_t)part->iov_len;
		if (count) {
			part->iov_base = (char *)part->iov_base + n;
			part->iov_len -= (size_t)n;
		}
	}
	return true;
}

/* Writes the answer to j's request, in records, to its peer or to a spool. */
static bool
write_answer(struct worker *w, const struct job *j, const struct spool *spool,
             struct slice head, struct slice payload)
{
	bool is_peer = spool->fd < 0;
	int fd = is_peer ? j->connection->fd : spool->fd;
	unsigned char record[RECORD_HEAD], tail[RECORD_HEAD + RECORD_END];
	unsigned char *end = tail + RECORD_HEAD;

	memset(tail, 0, RECORD_HEAD);
	record_answer_end(end, j->id);
	for (;;) {
		size_t room = RECORD_CONTENT_MAX - head.len;
		bool last = payload.len <= room;
		size_t n = last ? payload.len : room;
		unsigned padding = record_answer(record, j->id, head.len + n);
		struct iovec parts[] = {
			{ record, sizeof(record) },
			{ (void *)(uintptr_t)head.data, head.len },
			{ (void *)(uintptr_t)payload.data, n },
			{ end - padding, padding + (last ? RECORD_END : 0) },
		};
		if (!write_parts(w, fd, is_peer, parts, 4))
			return false;
		if (last)
			return true;
		head.len = 0;
		payload = slice_make(payload.data + n, payload.len - n);
	}
}

void
fcgi_finish(struct worker *w, struct connection *c)
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

void
fcgi_send_rest(struct worker *w, struct connection *c)
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
		if (worker_is_ready(w, c->fd, POLLOUT, MOMENT_MS))
			continue;
		/* When we stop, fcgi_stop goes on from there. */
		worker_set(w, -1, false);
		c->unread = false;
		lobby_return(f->lobby, c);
		return;
	}
	c->keep = c->keep && state == SPOOL_DONE;
	fcgi_finish(w, c);
}

void
fcgi_skip_rest(struct worker *w, struct connection *c)
{
	struct fcgi *f = w->fcgi;

	c->unread = true; /* what follows the request stays where it is */
	for (;;) {
		size_t want = record_rest(&c->scan);
		ssize_t n;

		/* Told of the end, its peer may drop the rest. */
		if (!c->scan.head_len) {
			n = recv(c->fd, w->piece, want,
			         MSG_DONTWAIT | MSG_PEEK);
			if (n >= 2 && record_begins(w->piece)) {
				fcgi_finish(w, c);
				return;
			}
		}
		want = want < PIECE_MAX ? want : PIECE_MAX;
		n = recv(c->fd, w->piece, want, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			if (worker_is_ready(w, c->fd, POLLIN, MOMENT_MS))
				continue;
			c->unread = false;
			lobby_return(f->lobby, c);
			return;
		}
		if (n <= 0) {
			lobby_dismiss(f->lobby, c);
			return;
		}
		c->moved_ns = clock_mono_ns();
		if (record_scan(&c->scan, slice_make(w->piece, (size_t)n))) {
			fcgi_finish(w, c);
			return;
		}
	}
}

bool
fcgi_respond(struct worker *w, struct job *j, bool patient)
{
	struct fcgi *f = w->fcgi;
	struct connection *c = j->connection;
	struct slice payload = response_payload(&j->response);
	struct spool out = SPOOL_INIT;
	bool waits, written;

	/* The request has been read: what follows is for its peer. */
	lobby_unspool(f->lobby, c);
	worker_set(w, c->fd, false);
	waits = payload.len > LARGE_ANSWER &&
	        !(lobby_has_room(f->lobby) && spool_open(&out));
	if (waits && !patient)
		return false;
	if (response_head(&j->response, &w->head, NULL)) {
		spool_close(&out);
		fcgi_finish(w, c);
		return true;
	}
	c->keep = j->keep;
	if (waits)
		worker_step_out(w);
	written = write_answer(w, j, &out, buf_slice(&w->head), payload);
	if (waits)
		worker_step_in(w);
	if (!written) {
		spool_close(&out);
		c->keep = false;
		fcgi_finish(w, c);
	} else if (out.fd >= 0) {
		out.len = payload.len;
		spool_rewind(&out);
		c->spool = out;
		c->waits_for = WAITS_FOR_ROOM;
		lobby_spooled(f->lobby, c, c->spool.len);
		fcgi_send_rest(w, c);
	} else if (j->only_head) {
		if (!c->keep)
			shutdown(c->fd, SHUT_WR);
		worker_set(w, -1, false);
		c->waits_for = WAITS_FOR_END;
		c->moved_ns = clock_mono_ns();
		fcgi_skip_rest(w, c);
	} else {
		fcgi_finish(w, c);
	}
	return true;
}
