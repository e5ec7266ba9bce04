/* SPDX-License-Identifier: ISC */
/* Unit tests of http/lobby: whom it hangs up on, and that no event is lost. */
#include "http/lobby.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/listen.h"
#include "lib/tmpdir.h"

#define TIMEOUT_MS 20000u
#define NS_PER_MS 1000000ull

/* A connection that waits since moved_ns; its peer's end is *peer. */
static void
park(struct lobby *l, enum waiting_for waits_for, uint64_t moved_ns, int *peer)
{
	struct connection *c;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	c = lobby_adopt(l, ends[0]);
	assert_non_null(c);
	c->waits_for = waits_for;
	c->moved_ns = moved_ns;
	lobby_return(l, c);
	*peer = ends[1];
}

static bool
is_hung_up(int peer)
{
	struct pollfd p = { .fd = peer, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/*
 * A worker parks a connection while another one, which has just looked at the
 * clock, looks for the silent ones: it must not take what is new for what is
 * older than time.
 */
static void
test_silent_peers(void **state)
{
	uint64_t now = clock_mono_ns();
	struct connection *c;
	struct lobby *l;
	char path[108], *dir = tmpdir_new();
	int listen_fd, silent, kept, moving, ahead;

	(void)state;
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(listen_open(path, &listen_fd, NULL), 0);
	assert_int_equal(lobby_open(&l, listen_fd, TIMEOUT_MS, NULL), 0);
	lobby_enter(l);
	park(l, WAITS_FOR_REST, 0, &silent);
	park(l, WAITS_FOR_REQUEST, 0, &kept);
	park(l, WAITS_FOR_REST, now, &moving);
	park(l, WAITS_FOR_END, now + 60000 * NS_PER_MS, &ahead);

	/* The first look finds the silent one, which the second one gets. */
	assert_null(lobby_next(l, true));
	assert_true(is_hung_up(silent));
	assert_false(is_hung_up(kept));
	assert_false(is_hung_up(moving));
	assert_false(is_hung_up(ahead));
	c = lobby_next(l, true);
	assert_non_null(c);
	assert_int_equal(c->waits_for, WAITS_FOR_REST);
	lobby_dismiss(l, c);

	lobby_leave(l);
	lobby_close(l);
	close(silent);
	close(kept);
	close(moving);
	close(ahead);
	close(listen_fd);
	tmpdir_free(dir);
}

static struct lobby *
lobby_new(char **dir, int *listen_fd)
{
	struct lobby *l;
	char path[108];

	*dir = tmpdir_new();
	snprintf(path, sizeof(path), "%s/socket", *dir);
	assert_int_equal(listen_open(path, listen_fd, NULL), 0);
	assert_int_equal(lobby_open(&l, *listen_fd, TIMEOUT_MS, NULL), 0);
	lobby_enter(l);
	return l;
}

/* A byte of it: all that there is, or one of two. */
static void
take_byte(const struct connection *c)
{
	char byte;

	assert_int_equal(recv(c->fd, &byte, 1, MSG_DONTWAIT), 1);
}

/*
 * What comes while a worker has a connection, and what it has left unread, is
 * found when it is brought back: epoll does not tell of it again.
 */
static void
test_told_meanwhile(void **state)
{
	struct connection *c;
	char *dir;
	int listen_fd, peer;
	struct lobby *l = lobby_new(&dir, &listen_fd);

	(void)state;
	park(l, WAITS_FOR_REQUEST, 0, &peer);
	assert_null(lobby_next(l, false));
	assert_int_equal(write(peer, "a", 1), 1);
	c = lobby_next(l, false);
	assert_non_null(c);
	take_byte(c);
	/* The event is taken while c has an owner. */
	assert_int_equal(write(peer, "b", 1), 1);
	assert_null(lobby_next(l, false));
	lobby_return(l, c);
	assert_ptr_equal(lobby_next(l, false), c);
	take_byte(c);
	lobby_return(l, c);
	assert_null(lobby_next(l, false));
	/* It is not taken before c is back. */
	assert_int_equal(write(peer, "cd", 2), 2);
	assert_ptr_equal(lobby_next(l, false), c);
	take_byte(c);
	c->unread = true;
	lobby_return(l, c);
	assert_ptr_equal(lobby_next(l, false), c);
	take_byte(c);
	lobby_return(l, c);
	assert_null(lobby_next(l, false));
	/* Waiting for room and back: epoll looks again at both. */
	assert_int_equal(write(peer, "e", 1), 1);
	assert_ptr_equal(lobby_next(l, false), c);
	c->waits_for = WAITS_FOR_ROOM;
	lobby_return(l, c);
	assert_ptr_equal(lobby_next(l, false), c);
	c->waits_for = WAITS_FOR_REQUEST;
	lobby_return(l, c);
	assert_ptr_equal(lobby_next(l, false), c);
	take_byte(c);
	/* The end is told of, too. */
	lobby_return(l, c);
	close(peer);
	assert_ptr_equal(lobby_next(l, false), c);
	lobby_dismiss(l, c);
	lobby_leave(l);
	lobby_close(l);
	close(listen_fd);
	tmpdir_free(dir);
}

#define CROWD 40u

/* One look brings several along: each is given to one worker, once. */
static void
test_several_at_once(void **state)
{
	struct connection *c;
	int peers[CROWD], listen_fd;
	char *dir;
	struct lobby *l = lobby_new(&dir, &listen_fd);

	(void)state;
	for (unsigned i = 0; i < CROWD; i++) {
		park(l, WAITS_FOR_REQUEST, 0, &peers[i]);
		assert_int_equal(write(peers[i], "a", 1), 1);
	}
	for (unsigned i = 0; i < CROWD; i++) {
		c = lobby_next(l, i % 2);
		assert_non_null(c);
		take_byte(c); /* or else it was given out before */
		lobby_return(l, c);
	}
	assert_null(lobby_next(l, false));
	lobby_leave(l);
	lobby_close(l); /* and what waits is closed */
	for (unsigned i = 0; i < CROWD; i++) {
		assert_true(is_hung_up(peers[i]));
		close(peers[i]);
	}
	close(listen_fd);
	tmpdir_free(dir);
}

struct watcher {
	struct lobby *lobby;
	struct connection *got;
};

static void *
watch(void *arg)
{
	struct watcher *w = arg;

	lobby_enter(w->lobby);
	while (!(w->got = lobby_next(w->lobby, true)))
		;
	lobby_leave(w->lobby);
	return NULL;
}

/*
 * Whoever steps out leaves what it has brought along to the others, also when
 * they are waiting for the kernel to tell them something.
 */
static void
test_left_to_others(void **state)
{
	struct watcher w = { .got = NULL };
	struct connection *c;
	int peers[2], listen_fd;
	pthread_t thread;
	char *dir;

	(void)state;
	w.lobby = lobby_new(&dir, &listen_fd);
	for (int i = 0; i < 2; i++) {
		park(w.lobby, WAITS_FOR_REQUEST, 0, &peers[i]);
		assert_int_equal(write(peers[i], "a", 1), 1);
	}
	c = lobby_next(w.lobby, false); /* the other one has come along */
	assert_non_null(c);
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	lobby_leave(w.lobby);
	pthread_join(thread, NULL);
	assert_non_null(w.got);
	assert_ptr_not_equal(w.got, c);
	take_byte(w.got);
	lobby_enter(w.lobby);

	/* The same with one that waits already. */
	take_byte(c);
	lobby_return(w.lobby, c);
	w.got->waits_for = WAITS_FOR_REQUEST;
	lobby_return(w.lobby, w.got);
	assert_null(lobby_next(w.lobby, false));
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	clock_sleep_us(50000); /* it waits; or comes too late, which is well */
	for (int i = 0; i < 2; i++)
		assert_int_equal(write(peers[i], "a", 1), 1);
	pthread_join(thread, NULL);
	take_byte(w.got);
	c = lobby_next(w.lobby, false);
	assert_non_null(c);
	take_byte(c);
	lobby_dismiss(w.lobby, c);
	lobby_dismiss(w.lobby, w.got);
	lobby_leave(w.lobby);
	lobby_close(w.lobby);
	close(peers[0]);
	close(peers[1]);
	close(listen_fd);
	tmpdir_free(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_peers),
		cmocka_unit_test(test_told_meanwhile),
		cmocka_unit_test(test_several_at_once),
		cmocka_unit_test(test_left_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
