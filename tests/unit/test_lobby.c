/* SPDX-License-Identifier: ISC */
/* Unit tests of http/lobby: whom it hangs up on. */
#include "http/lobby.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <poll.h>
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
	struct connection *c = calloc(1, sizeof(*c));
	int ends[2];

	assert_non_null(c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	c->fd = ends[0];
	c->spool = (struct spool)SPOOL_INIT;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
