/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of http/fcgi and http/listen: the responder on a unix socket,
 * against a FastCGI client that is written here byte by byte, so that it can
 * do everything wrong that a peer can do.
 */
#include "http/fcgi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/processors.h"
#include "http/listen.h"
#include "lib/fake_engine.h"
#include "lib/fastcgi.h"
#include "lib/tmpdir.h"

#define MAX_VALUE (4u << 20)
#define THREADS 2u
#define TIMEOUT_MS 400u
#define NEVER_MS 600000u
#define PIECE 60000u      /* bytes of a record */
#define PATIENCE_MS 10000 /* for an answer that must come */

struct fixture {
	char *dir;
	char path[108]; /* of the socket */
	int listen_fd;
	struct engine *engine;
	struct api *api;
	struct fcgi *fcgi;
};

static int
start(void **state, unsigned threads, unsigned timeout_ms)
{
	struct api_options api_options = { .max_value_bytes = MAX_VALUE };
	struct fcgi_options options = { .threads = threads,
		                        .timeout_ms = timeout_ms };
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->dir = tmpdir_new();
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	assert_int_equal(listen_open(f->path, &f->listen_fd, NULL), 0);
	options.listen_fd = f->listen_fd;
	f->engine = fake_engine_new();
	assert_int_equal(api_new(&f->api, f->engine, &api_options, NULL), 0);
	assert_int_equal(fcgi_start(&f->fcgi, f->api, &options, NULL), 0);
	*state = f;
	return 0;
}

static int
setup(void **state)
{
	return start(state, THREADS, TIMEOUT_MS);
}

/* A responder that waits for its peers as good as forever. */
static int
setup_patient(void **state)
{
	return start(state, 3, NEVER_MS);
}

/* With one worker, so that what comes in while it waits is served in turn. */
static int
setup_single(void **state)
{
	return start(state, 1, NEVER_MS);
}

/* With two, so that one serves while the other one writes. */
static int
setup_pair(void **state)
{
	return start(state, 2, NEVER_MS);
}

/* As many workers as may be awake at the same time (lobby.c). */
static unsigned
seats(void)
{
	unsigned n = processors_allowed();

	return n < 2 ? 2 : n;
}

/* With a worker more than that. */
static int
setup_crowded(void **state)
{
	return start(state, seats() + 1, NEVER_MS);
}

static int
setup_hasty(void **state)
{
	return start(state, seats() + 1, 50);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fcgi_stop(f->fcgi);
	listen_close(f->path, f->listen_fd);
	api_free(f->api);
	engine_close(f->engine, NULL);
	tmpdir_free(f->dir);
	free(f);
	return 0;
}

/* ---- the client ---- */

static void
put(struct buf *b, const void *data, size_t len)
{
	assert_int_equal(buf_append(b, data, len, NULL), 0);
}

/* The stream of the request's variables, with its end. */
static void
put_params(struct buf *b, const char *method, const char *path,
           const char *query, const char *length)
{
	struct buf params = BUF_INIT;

	fastcgi_param(&params, slice_str("SERVER_SOFTWARE"), slice_str("test"));
	fastcgi_param(&params, slice_str("REQUEST_METHOD"), slice_str(method));
	fastcgi_param(&params, slice_str("SCRIPT_NAME"), slice_str(path));
	fastcgi_param(&params, slice_str("QUERY_STRING"), slice_str(query));
	fastcgi_param(&params, slice_str("HTTP_HOST"),
	              slice_str("localhost:8081"));
	fastcgi_param(&params, slice_str("CONTENT_LENGTH"), slice_str(length));
	fastcgi_stream(b, FASTCGI_PARAMS, buf_slice(&params), PIECE);
	buf_release(&params);
}

/* A whole request. */
static void
put_request(struct buf *b, bool keep, const char *method, const char *path,
            const char *query, const char *body)
{
	char length[32] = "";

	if (body)
		snprintf(length, sizeof(length), "%zu", strlen(body));
	fastcgi_begin(b, keep, 1);
	put_params(b, method, path, query, length);
	fastcgi_stream(b, FASTCGI_BODY, slice_str(body ? body : ""), PIECE);
}

static int
client_connect(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, f->path, sizeof(f->path));
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends what it can; a peer that has closed is the caller's to notice. */
static void
client_send(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

/* Reads exactly len bytes; false at the end of the stream. */
static bool
client_read(int fd, void *to, size_t len)
{
	char *p = to;

	while (len) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, PATIENCE_MS) != 1)
			fail_msg("no answer came");
		n = read(fd, p, len);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads one answer into out (head and body, with a NUL behind); or false. */
static bool
client_answer(int fd, struct buf *out)
{
	unsigned char head[8], *data;
	bool ended = false;

	buf_clear(out);
	while (!ended && client_read(fd, head, sizeof(head))) {
		size_t len = (size_t)head[4] << 8 | head[5];
		size_t all = len + head[6];

		assert_int_equal(head[0], 1);
		assert_int_equal(head[3], 1);
		data = malloc(all + 1);
		assert_non_null(data);
		if (!client_read(fd, data, all))
			all = 0;
		else if (head[1] == FASTCGI_ANSWER)
			put(out, data, len);
		else
			assert_int_equal(head[1], FASTCGI_END);
		ended = head[1] == FASTCGI_END;
		free(data);
	}
	put(out, "", 1);
	out->len--;
	return ended;
}

/* Is the connection closed by the responder, without a byte more? */
static bool
client_is_closed(int fd)
{
	char byte;

	return !client_read(fd, &byte, 1);
}

static int
status_of(const struct buf *answer)
{
	int status = 0;

	assert_int_equal(
		sscanf((const char *)answer->data, "Status: %d ", &status), 1);
	return status;
}

static const char *
body_of(const struct buf *answer)
{
	const char *end = strstr((const char *)answer->data, "\r\n\r\n");

	assert_non_null(end);
	return end + 4;
}

/* Sends a request on fd and checks its answer. */
static void
exchange(int fd, bool keep, const char *method, const char *path,
         const char *query, const char *body, int status, const char *want)
{
	struct buf b = BUF_INIT, answer = BUF_INIT;

	put_request(&b, keep, method, path, query, body);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	assert_int_equal(status_of(&answer), status);
	if (want)
		assert_string_equal(body_of(&answer), want);
	buf_release(&answer);
	buf_release(&b);
}

#define PAIR "{\"key\":\"k\",\"value\":\"v\"}"

/* A responder that still answers, at once, on a new connection. */
static void
assert_serves(struct fixture *f)
{
	int fd = client_connect(f);

	exchange(fd, false, "GET", "/get", "key=none", NULL, 404, NULL);
	assert_true(client_is_closed(fd));
	close(fd);
}

/* ---- tests ---- */

/* Text of len bytes and every line of it different. */
static char *
long_text(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + (i * 7 + i / 251) % 26);
	text[len] = '\0';
	return text;
}

/* One request a connection: answered, and closed by the responder. */
static void
test_closed_connections(void **state)
{
	static const struct {
		const char *method, *path, *query, *body, *want;
		int status;
	} table[] = {
		{ "POST", "/set", "", PAIR, "", 200 },
		{ "GET", "/get", "key=k", NULL, "v", 200 },
		{ "HEAD", "/get", "key=k", NULL, "", 200 },
		{ "DELETE", "/del", "key=k", NULL, "v", 200 },
		{ "GET", "/get", "key=k", NULL, NULL, 404 },
		{ "POST", "/set", "", "{", NULL, 400 },
		{ "PUT", "/set", "", "{", NULL, 405 },
		{ "GET", "/get", "key=k", "x", NULL, 400 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int fd = client_connect(f);

		exchange(fd, false, table[i].method, table[i].path,
		         table[i].query, table[i].body, table[i].status,
		         table[i].want);
		assert_true(client_is_closed(fd));
		close(fd);
	}
}

/* A kept connection takes request after request, failed ones too. */
static void
test_kept_connection(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(f);

	for (int i = 0; i < 20; i++) {
		exchange(fd, true, "POST", "/set", "", PAIR, 200, "");
		exchange(fd, true, "GET", "/get", "key=k", NULL, 200, "v");
		exchange(fd, true, "POST", "/set", "", "[1,", 400, NULL);
		exchange(fd, true, "GET", "/none", "", NULL, 404, NULL);
		exchange(fd, true, "DELETE", "/del", "key=k", NULL, 200, "v");
	}
	exchange(fd, false, "GET", "/get", "key=k", NULL, 404, NULL);
	assert_true(client_is_closed(fd));
	close(fd);
}

/* Kept connections may be many times more than workers. */
static void
test_many_kept_connections(void **state)
{
	struct fixture *f = *state;
	int fds[20 * THREADS];
	size_t count = sizeof(fds) / sizeof(fds[0]);

	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		exchange(fds[i], true, "POST", "/set", "", PAIR, 200, "");
	}
	for (int round = 0; round < 5; round++) {
		for (size_t i = count; i-- > 0;)
			exchange(fds[i], true, "GET", "/get", "key=k", NULL,
			         200, "v");
		assert_serves(f);
	}
	/* Half of them go; the others do not notice. */
	for (size_t i = 0; i < count; i += 2)
		close(fds[i]);
	for (size_t i = 1; i < count; i += 2) {
		exchange(fds[i], true, "GET", "/get", "key=k", NULL, 200, "v");
		close(fds[i]);
	}
	assert_serves(f);
}

/* Peers that connect and say nothing hold no worker. */
static void
test_silent_peers(void **state)
{
	struct fixture *f = *state;
	int fds[20 * THREADS];
	size_t count = sizeof(fds) / sizeof(fds[0]);

	for (size_t i = 0; i < count; i++)
		fds[i] = client_connect(f);
	for (int i = 0; i < 5; i++)
		assert_serves(f);
	/* Nor are they forgotten. */
	for (size_t i = 0; i < count; i++)
		exchange(fds[i], false, "GET", "/get", "key=k", NULL, 404,
		         NULL);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* Peers that fall silent inside a request are cut off after a while. */
static void
test_half_sent(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	int fds[3 * THREADS];
	size_t count = sizeof(fds) / sizeof(fds[0]);

	put_request(&b, true, "POST", "/set", "", PAIR);
	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		client_send(fds[i], b.data, b.len * (i + 1) / (count + 1));
	}
	/* All workers wait for them now; they come back. */
	assert_serves(f);
	for (size_t i = 0; i < count; i++) {
		assert_true(client_is_closed(fds[i]));
		close(fds[i]);
	}
	assert_int_equal(fake_engine_count(f->engine), 0);
	buf_release(&b);
}

/*
 * Requests that come in pieces, however small and however many at once, hold
 * no worker and are answered when they are whole.
 */
static void
test_slow_senders(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	char *value = long_text(100000), *body = NULL;
	int fds[40];
	size_t count = sizeof(fds) / sizeof(fds[0]), sent = 0;

	assert_true(asprintf(&body, "{\"key\":\"k\",\"value\":\"%s\"}", value) >
	            0);
	put_request(&b, true, "POST", "/set", "", body);
	for (size_t i = 0; i < count; i++)
		fds[i] = client_connect(f);
	/* Cut inside a record's head, variables, body, and everywhere. */
	for (size_t step = 1; sent < b.len; step = step * 3 + 1) {
		size_t n = step < b.len - sent ? step : b.len - sent;

		for (size_t i = 0; i < count; i++)
			client_send(fds[i], b.data + sent, n);
		sent += n;
		assert_serves(f);
	}
	for (size_t i = 0; i < count; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_int_equal(status_of(&answer), 200);
		exchange(fds[i], true, "GET", "/get", "key=k", NULL, 200,
		         value);
		close(fds[i]);
	}
	buf_release(&answer);
	buf_release(&b);
	free(body);
	free(value);
}

/* Peers that read large answers slowly hold no worker, and get them whole. */
static void
test_slow_readers(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	char *value = long_text(2u << 20), *body = NULL;
	int fds[20], fd = client_connect(f);
	size_t count = sizeof(fds) / sizeof(fds[0]);

	assert_true(asprintf(&body, "{\"key\":\"k\",\"value\":\"%s\"}", value) >
	            0);
	exchange(fd, false, "POST", "/set", "", body, 200, "");
	close(fd);
	put_request(&b, true, "GET", "/get", "key=k", NULL);
	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		client_send(fds[i], b.data, b.len);
	}
	for (int i = 0; i < 5; i++)
		assert_serves(f);
	for (size_t i = 0; i < count; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_string_equal(body_of(&answer), value);
		exchange(fds[i], true, "GET", "/get", "key=none", NULL, 404,
		         NULL);
		close(fds[i]);
	}
	buf_release(&answer);
	buf_release(&b);
	free(body);
	free(value);
}

/* A request that is cut short, at whatever byte, does nothing. */
static void
test_every_truncation(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	int fd;

	put_request(&b, false, "POST", "/set", "", PAIR);
	for (size_t len = 0; len < b.len; len++) {
		fd = client_connect(f);
		client_send(fd, b.data, len);
		shutdown(fd, SHUT_WR);
		assert_false(client_answer(fd, &answer));
		close(fd);
	}
	assert_int_equal(fake_engine_calls(f->engine), 0);
	fd = client_connect(f);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	assert_int_equal(status_of(&answer), 200);
	assert_int_equal(fake_engine_calls(f->engine), 1);
	close(fd);
	buf_release(&answer);
	buf_release(&b);
}

/* A body that is not as long as CONTENT_LENGTH says does nothing. */
static void
test_wrong_length(void **state)
{
	static const char *const lengths[] = { "0", "1", "22", "24", "1000" };
	struct fixture *f = *state;
	struct buf answer = BUF_INIT;
	int fd = client_connect(f);

	assert_int_equal(strlen(PAIR), 23);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct buf b = BUF_INIT;

		fastcgi_begin(&b, true, 1);
		put_params(&b, "POST", "/set", "", lengths[i]);
		fastcgi_stream(&b, FASTCGI_BODY, slice_str(PAIR), PIECE);
		client_send(fd, b.data, b.len);
		assert_true(client_answer(fd, &answer));
		assert_int_equal(status_of(&answer), 400);
		assert_non_null(strstr(body_of(&answer), "body_incomplete"));
		buf_release(&b);
	}
	assert_int_equal(fake_engine_calls(f->engine), 0);
	/* The connection is still in step. */
	exchange(fd, true, "POST", "/set", "", PAIR, 200, "");
	close(fd);
	buf_release(&answer);
}

/* Without a length there is no body: what comes all the same is refused. */
static void
test_no_length(void **state)
{
	static const struct {
		const char *method, *path, *word;
	} table[] = { { "POST", "/set", "length_required" },
		      { "GET", "/get", "body_unexpected" } };
	struct fixture *f = *state;
	struct buf answer = BUF_INIT;
	int fd = client_connect(f);

	for (size_t i = 0; i < 2; i++) {
		struct buf b = BUF_INIT;

		fastcgi_begin(&b, true, 1);
		put_params(&b, table[i].method, table[i].path, "key=k", "");
		fastcgi_stream(&b, FASTCGI_BODY, slice_str(PAIR), PIECE);
		client_send(fd, b.data, b.len);
		assert_true(client_answer(fd, &answer));
		assert_non_null(strstr(body_of(&answer), table[i].word));
		buf_release(&b);
	}
	assert_int_equal(fake_engine_calls(f->engine), 0);
	close(fd);
	buf_release(&answer);
}

/* A request that its peer aborts in mid-body does nothing. */
static void
test_abort(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	int fd = client_connect(f);

	fastcgi_begin(&b, true, 1);
	put_params(&b, "POST", "/set", "", "23");
	fastcgi_record(&b, FASTCGI_BODY, slice_make(PAIR, 10), 0);
	fastcgi_record(&b, FASTCGI_ABORT, slice_str(""), 0);
	client_send(fd, b.data, b.len);
	assert_true(client_is_closed(fd));
	assert_int_equal(fake_engine_calls(f->engine), 0);
	close(fd);
	buf_release(&b);
	assert_serves(f);
}

/* Only responders are served: an authorizer would let everyone in. */
static void
test_other_roles(void **state)
{
	struct fixture *f = *state;

	for (unsigned char role = 2; role <= 4; role++) {
		struct buf b = BUF_INIT;
		int fd = client_connect(f);

		fastcgi_begin(&b, true, role);
		put_params(&b, "GET", "/get", "key=k", "");
		fastcgi_stream(&b, FASTCGI_BODY, slice_str(""), PIECE);
		client_send(fd, b.data, b.len);
		assert_true(client_is_closed(fd));
		close(fd);
		buf_release(&b);
	}
	assert_int_equal(fake_engine_calls(f->engine), 0);
}

/* What is no FastCGI is hung up on. */
static void
test_garbage(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"\x01\x01\x00\x01\xff\xff\x00\x00",
		"\x02\x01\x00\x01\x00\x08\x00\x00\x00\x01",
	};
	static const size_t lengths[] = { 36, 8, 10 };
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		int fd = client_connect(f);

		client_send(fd, garbage[i], lengths[i]);
		shutdown(fd, SHUT_WR);
		assert_true(client_is_closed(fd));
		close(fd);
	}
	assert_serves(f);
}

/* A value of many slices comes back byte for byte. */
static void
test_large_value(void **state)
{
	struct fixture *f = *state;
	char *value = long_text(3u << 20), *body = NULL;
	int fd = client_connect(f);

	assert_true(asprintf(&body, "{\"key\":\"k\",\"value\":\"%s\"}", value) >
	            0);
	exchange(fd, true, "POST", "/set", "", body, 200, "");
	exchange(fd, true, "GET", "/get", "key=k", NULL, 200, value);
	exchange(fd, true, "DELETE", "/del", "key=k", NULL, 200, value);
	exchange(fd, true, "GET", "/get", "key=k", NULL, 404, NULL);
	close(fd);
	free(body);
	free(value);
}

/* A body over its limit is refused before it is read, and its peer hears. */
static void
test_too_large_body(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	char *body = long_text(7 * MAX_VALUE);
	int fd = client_connect(f);
	char length[32];

	/* The answer comes although not a byte of the body was sent... */
	snprintf(length, sizeof(length), "%zu", strlen(body));
	fastcgi_begin(&b, true, 1);
	put_params(&b, "POST", "/set", "", length);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	assert_int_equal(status_of(&answer), 413);
	assert_non_null(strstr(body_of(&answer), "body_too_big"));
	close(fd);
	/* ... and is still there when all of it was; so is the connection. */
	fastcgi_stream(&b, FASTCGI_BODY, slice_str(body), PIECE);
	fd = client_connect(f);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	assert_int_equal(status_of(&answer), 413);
	exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
	/* A peer that has been answered may drop the rest of its request. */
	buf_clear(&b);
	fastcgi_begin(&b, true, 1);
	put_params(&b, "POST", "/set", "", length);
	fastcgi_record(&b, FASTCGI_BODY, slice_make(body, 1000), 0);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
	close(fd);
	assert_int_equal(fake_engine_count(f->engine), 0);
	free(body);
	buf_release(&answer);
	buf_release(&b);
	assert_serves(f);
}

/* Peers that go away without reading their answer hurt nobody. */
static void
test_gone_before_the_answer(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	char *value = long_text(1u << 20), *body = NULL;

	assert_true(asprintf(&body, "{\"key\":\"k\",\"value\":\"%s\"}", value) >
	            0);
	int fd = client_connect(f);
	exchange(fd, false, "POST", "/set", "", body, 200, "");
	close(fd);
	put_request(&b, true, "GET", "/get", "key=k", NULL);
	for (unsigned i = 0; i < 5 * THREADS; i++) {
		fd = client_connect(f);
		client_send(fd, b.data, b.len);
		close(fd);
	}
	assert_serves(f);
	buf_release(&b);
	free(body);
	free(value);
}

/* Peers that do not read a large answer are cut off after a while. */
static void
test_answer_not_read(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	char *value = long_text(3u << 20), *body = NULL;
	int fds[2 * THREADS], fd = client_connect(f);
	size_t count = sizeof(fds) / sizeof(fds[0]);

	assert_true(asprintf(&body, "{\"key\":\"k\",\"value\":\"%s\"}", value) >
	            0);
	exchange(fd, false, "POST", "/set", "", body, 200, "");
	close(fd);
	put_request(&b, true, "GET", "/get", "key=k", NULL);
	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		client_send(fds[i], b.data, b.len);
	}
	assert_serves(f);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	buf_release(&b);
	free(body);
	free(value);
}

/* When descriptors run out connections wait, and none is lost. */
static void
test_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct rlimit before, low;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	int fds[16], highest = 0;
	size_t count = sizeof(fds) / sizeof(fds[0]);

	memcpy(address.sun_path, f->path, sizeof(f->path));
	put_request(&b, false, "GET", "/get", "key=k", NULL);
	for (size_t i = 0; i < count; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_true(fds[i] >= 0);
		highest = fds[i];
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)highest + 2; /* room for a single one */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(connect(fds[i], (struct sockaddr *)&address,
		                         sizeof(address)),
		                 0);
	/* The one that was accepted says nothing yet; the others speak. */
	for (size_t i = 1; i < count; i++)
		client_send(fds[i], b.data, b.len);
	clock_sleep_us(50000);
	client_send(fds[0], b.data, b.len);
	for (size_t i = 0; i < count; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_int_equal(status_of(&answer), 404);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	buf_release(&answer);
	buf_release(&b);
}

struct storm {
	struct fixture *fixture;
	unsigned seed;
};

static void *
storm_run(void *arg)
{
	struct storm *s = arg;
	char key[32], body[64];

	for (int i = 0; i < 30; i++) {
		bool keep = (s->seed + (unsigned)i) % 3;
		int fd = client_connect(s->fixture);

		snprintf(key, sizeof(key), "key=%u-%d", s->seed, i);
		snprintf(body, sizeof(body), "{\"key\":\"%u-%d\",\"value\":%d}",
		         s->seed, i, i);
		exchange(fd, true, "POST", "/set", "", body, 200, "");
		exchange(fd, keep, "GET", "/get", key, NULL, 200, NULL);
		if (keep)
			exchange(fd, false, "DELETE", "/del", key, NULL, 200,
			         NULL);
		close(fd);
	}
	return NULL;
}

/* Many clients at once, kept and not, each get their own answers. */
static void
test_storm(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[8];
	struct storm storms[8];

	for (unsigned i = 0; i < 8; i++) {
		storms[i] = (struct storm){ f, i };
		assert_int_equal(pthread_create(&threads[i], NULL, storm_run,
		                                &storms[i]),
		                 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	/* One third of the keys was not deleted again. */
	assert_int_equal(fake_engine_count(f->engine), 8 * 30 / 3);
}

/* Writes that come while others wait for the disk are written together. */
static void
test_writes_together(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	int fds[20];

	for (int i = 0; i < 20; i++)
		fds[i] = client_connect(f);
	fake_engine_slow_writes(f->engine, 200);
	for (int i = 0; i < 20; i++) {
		char body[64];

		buf_clear(&b);
		snprintf(body, sizeof(body), "{\"key\":\"%d\",\"value\":1}", i);
		put_request(&b, i % 2, "POST", "/set", "", body);
		client_send(fds[i], b.data, b.len);
	}
	for (int i = 0; i < 20; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_int_equal(status_of(&answer), 200);
		close(fds[i]);
	}
	assert_int_equal(fake_engine_count(f->engine), 20);
	assert_true(fake_engine_calls(f->engine) < 20);
	buf_release(&answer);
	buf_release(&b);
}

static void *
stop_run(void *arg)
{
	fcgi_stop(arg);
	return NULL;
}

/* Writes that are under way, each on a connection of its own. */
struct sets {
	int fds[150];
	unsigned count;
};

/* Sends count sets of different keys; the first sticks in the engine. */
static void
send_stuck_sets(struct fixture *f, struct sets *s, unsigned count)
{
	struct buf b = BUF_INIT;

	fake_engine_stick_writes(f->engine, true);
	for (s->count = 0; s->count < count; s->count++) {
		int fd = client_connect(f);
		char body[64];

		/* Accepted before what follows matters. */
		exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
		buf_clear(&b);
		snprintf(body, sizeof(body), "{\"key\":\"%u\",\"value\":1}",
		         s->count);
		put_request(&b, true, "POST", "/set", "", body);
		client_send(fd, b.data, b.len);
		s->fds[s->count] = fd;
		if (!s->count)
			fake_engine_await_stuck(f->engine, 1);
	}
	buf_release(&b);
}

/*
 * All that was sent has been taken by the one worker that is free: it has
 * armed every connection when it answers the first of these reads, and served
 * them when it answers the second, which stands behind them.
 */
static void
await_taken(int fd)
{
	for (int i = 0; i < 2; i++)
		exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
}

/* They are answered, all with 200 but the one numbered `bad`. */
static void
assert_sets_answered(const struct sets *s, unsigned bad, int status)
{
	struct buf answer = BUF_INIT;

	for (unsigned i = 0; i < s->count; i++) {
		assert_true(client_answer(s->fds[i], &answer));
		assert_int_equal(status_of(&answer), i == bad ? status : 200);
		close(s->fds[i]);
	}
	buf_release(&answer);
}

/* While a write does not end, reads go on, and more writes are taken. */
static void
test_reads_beside_a_stuck_write(void **state)
{
	struct fixture *f = *state;
	struct sets s;
	int fd = client_connect(f);

	send_stuck_sets(f, &s, API_CALLS_MAX);
	exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, UINT_MAX, 0);
	assert_int_equal(fake_engine_count(f->engine), s.count);
	close(fd);
}

/* What came while one write did not end is the next one, as a whole. */
static void
test_one_batch_behind_a_stuck_write(void **state)
{
	struct fixture *f = *state;
	struct sets s;
	int fd = client_connect(f);
	unsigned before;

	send_stuck_sets(f, &s, 20);
	await_taken(fd);
	before = fake_engine_calls(f->engine);
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, UINT_MAX, 0);
	assert_int_equal(fake_engine_calls(f->engine), before + 2);
	close(fd);
}

/* More writes than all batches hold are held up, and none is lost. */
static void
test_more_writes_than_batches(void **state)
{
	struct fixture *f = *state;
	struct sets s;

	for (int i = 0; i < 3; i++) {
		/* Two workers: the second one has a batch, and the rest. */
		send_stuck_sets(f, &s, API_CALLS_MAX + 1);
		for (unsigned more = 0; more < 20; more++) {
			struct buf b = BUF_INIT;

			put_request(&b, true, "POST", "/set", "", PAIR);
			s.fds[s.count] = client_connect(f);
			client_send(s.fds[s.count++], b.data, b.len);
			buf_release(&b);
		}
		fake_engine_await_stuck(f->engine, 2);
		fake_engine_stick_writes(f->engine, false);
		assert_sets_answered(&s, UINT_MAX, 0);
	}
	assert_int_equal(fake_engine_count(f->engine), API_CALLS_MAX + 2);
}

/* A write that fails fails alone. */
static void
test_bad_write_among_others(void **state)
{
	struct fixture *f = *state;
	struct sets s;

	fake_engine_fail_key(f->engine, "7", LSMKV_ETOOBIG);
	send_stuck_sets(f, &s, 20);
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, 7, 413);
	assert_int_equal(fake_engine_count(f->engine), s.count - 1);
	/* All fail when the disk does, and their peers are told. */
	fake_engine_fail_writes(f->engine, LSMKV_EFAILED);
	send_stuck_sets(f, &s, 1);
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, 0, 503);
}

/* Stopping waits for all writes that were taken. */
static void
test_stop_with_held_writes(void **state)
{
	struct fixture *f = *state;
	struct sets s;
	pthread_t thread;
	int fd = client_connect(f);

	send_stuck_sets(f, &s, 20);
	await_taken(fd);
	assert_int_equal(pthread_create(&thread, NULL, stop_run, f->fcgi), 0);
	f->fcgi = NULL;        /* the thread's */
	clock_sleep_us(20000); /* or not yet: both must do */
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, UINT_MAX, 0);
	pthread_join(thread, NULL);
	assert_int_equal(fake_engine_count(f->engine), s.count);
	close(fd);
}

/* Of many that delete one key at once, one gets its value. */
static void
test_deletes_of_one_key(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	int fds[20], found = 0;

	fake_engine_put(f->engine, "k", "v", ENTRY_TEXT);
	fake_engine_slow_writes(f->engine, 20);
	put_request(&b, true, "DELETE", "/del", "key=k", NULL);
	for (int i = 0; i < 20; i++)
		fds[i] = client_connect(f);
	for (int i = 0; i < 20; i++)
		client_send(fds[i], b.data, b.len);
	for (int i = 0; i < 20; i++) {
		assert_true(client_answer(fds[i], &answer));
		if (status_of(&answer) == 200) {
			assert_string_equal(body_of(&answer), "v");
			found++;
		} else {
			assert_int_equal(status_of(&answer), 404);
		}
		close(fds[i]);
	}
	assert_int_equal(found, 1);
	buf_release(&answer);
	buf_release(&b);
}

/*
 * A peer that sends its next request before it has the answer gets that one
 * answer, and no connection that is out of step.
 */
static void
test_request_too_soon(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	int fd = client_connect(f);
	char byte;

	put_request(&b, true, "POST", "/set", "", PAIR);
	put_request(&b, true, "GET", "/get", "key=none", NULL);
	client_send(fd, b.data, b.len);
	assert_true(client_answer(fd, &answer));
	assert_int_equal(status_of(&answer), 200);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	buf_release(&answer);
	buf_release(&b);
}

/* Takes all descriptors that are left away, until it is undone. */
static void
no_more_descriptors(struct rlimit *before)
{
	struct rlimit low;
	int lowest = dup(STDIN_FILENO);

	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
	low = *before;
	low.rlim_cur = (rlim_t)lowest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
}

/* A large answer that cannot be set aside has its own head, too. */
static void
test_head_of_large_answer(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	char *value = long_text(100000);
	int fds[3];

	fake_engine_put(f->engine, "l", value, ENTRY_TEXT);
	for (int i = 0; i < 3; i++) {
		fds[i] = client_connect(f);
		exchange(fds[i], true, "GET", "/get", "key=none", NULL, 404,
		         NULL);
	}
	no_more_descriptors(&before);
	fake_engine_slow_writes(f->engine, 200);
	put_request(&b, true, "POST", "/set", "", PAIR);
	client_send(fds[0], b.data, b.len);
	clock_sleep_us(50000);
	/* The first of these waits to be written when the other is served. */
	client_send(fds[1], b.data, b.len);
	buf_clear(&b);
	put_request(&b, true, "GET", "/get", "key=l", NULL);
	client_send(fds[2], b.data, b.len);
	for (int i = 0; i < 3; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_int_equal(status_of(&answer), 200);
		if (i < 2)
			continue;
		assert_non_null(strstr((char *)answer.data, "text/plain"));
		assert_string_equal(body_of(&answer), value);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	buf_release(&answer);
	buf_release(&b);
	free(value);
}

/*
 * Peers that a worker has to wait for itself, because there are no descriptors
 * to set their requests and answers aside, keep no other worker from serving.
 */
static void
test_slow_peers_without_descriptors(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;
	struct buf get = BUF_INIT, set = BUF_INIT;
	char *value = long_text(3u << 20);
	size_t count = seats();
	int *fds = calloc(count, sizeof(*fds)), fd = client_connect(f);

	assert_non_null(fds);
	fake_engine_put(f->engine, "l", value, ENTRY_TEXT);
	exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		exchange(fds[i], true, "GET", "/get", "key=none", NULL, 404,
		         NULL);
	}
	no_more_descriptors(&before);
	put_request(&get, true, "GET", "/get", "key=l", NULL);
	put_request(&set, true, "POST", "/set", "", PAIR);
	for (size_t i = 0; i < count; i++)
		if (i % 2)
			client_send(fds[i], get.data, get.len);
		else
			client_send(fds[i], set.data, set.len / 2);
	clock_sleep_us(100000); /* until they are all waited for */
	exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	close(fd);
	buf_release(&get);
	buf_release(&set);
	free(value);
	free(fds);
}

/*
 * An answer that a worker has to wait for, because there is no descriptor to
 * set it aside, comes after those that were written with it, and that nobody
 * reads it keeps no write waiting.
 */
static void
test_unread_answer_among_writes(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;
	struct buf b = BUF_INIT, answer = BUF_INIT;
	char *value = long_text(3u << 20);
	struct sets s;
	int del = client_connect(f), set = client_connect(f);

	fake_engine_put(f->engine, "l", value, ENTRY_TEXT);
	exchange(del, true, "GET", "/get", "key=none", NULL, 404, NULL);
	exchange(set, true, "GET", "/get", "key=none", NULL, 404, NULL);
	send_stuck_sets(f, &s, 1);
	no_more_descriptors(&before);
	put_request(&b, true, "DELETE", "/del", "key=l", NULL);
	client_send(del, b.data, b.len);
	clock_sleep_us(50000); /* the del is held before the set, or not */
	buf_clear(&b);
	put_request(&b, true, "POST", "/set", "", PAIR);
	client_send(set, b.data, b.len);
	clock_sleep_us(50000);
	fake_engine_stick_writes(f->engine, false);
	assert_sets_answered(&s, UINT_MAX, 0);
	assert_true(client_answer(set, &answer));
	assert_int_equal(status_of(&answer), 200);
	exchange(set, true, "POST", "/set", "", PAIR, 200, NULL);
	assert_true(client_answer(del, &answer));
	assert_string_equal(body_of(&answer), value);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	close(set);
	close(del);
	buf_release(&answer);
	buf_release(&b);
	free(value);
}

/* A write does not wait for all the slow reads that came with it. */
static void
test_write_among_slow_reads(void **state)
{
	struct fixture *f = *state;
	struct buf set = BUF_INIT, get = BUF_INIT, answer = BUF_INIT;
	int fds[60];
	size_t count = sizeof(fds) / sizeof(fds[0]);

	for (size_t i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		exchange(fds[i], true, "GET", "/get", "key=none", NULL, 404,
		         NULL);
	}
	put_request(&set, true, "POST", "/set", "", PAIR);
	put_request(&get, true, "GET", "/get", "key=none", NULL);
	fake_engine_slow_writes(f->engine, 200);
	client_send(fds[0], set.data, set.len);
	clock_sleep_us(50000);
	fake_engine_slow_reads(f->engine, 10);
	for (size_t i = 1; i < count; i++)
		if (i == 1)
			client_send(fds[i], set.data, set.len);
		else
			client_send(fds[i], get.data, get.len);
	for (size_t i = 0; i < count; i++) {
		assert_true(client_answer(fds[i], &answer));
		close(fds[i]);
	}
	assert_true(fake_engine_last_write(f->engine) + 10 <
	            fake_engine_calls(f->engine));
	buf_release(&answer);
	buf_release(&get);
	buf_release(&set);
}

/*
 * A worker that has taken a write, and then a read that waits for the disk,
 * leaves the write to one that has nothing to do.
 */
static void
test_write_before_a_stuck_read(void **state)
{
	struct fixture *f = *state;
	struct buf set = BUF_INIT, get = BUF_INIT, answer = BUF_INIT;
	struct pollfd p = { .events = POLLIN };
	unsigned busy = seats() - 1, count = busy + 3;
	int *fds = calloc(count, sizeof(*fds));

	assert_non_null(fds);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = client_connect(f);
		exchange(fds[i], true, "GET", "/get", "key=none", NULL, 404,
		         NULL);
	}
	put_request(&set, true, "POST", "/set", "", PAIR);
	put_request(&get, true, "GET", "/get", "key=none", NULL);
	/* All but one of those that may be awake are busy for long, */
	fake_engine_slow_reads(f->engine, 1500);
	for (unsigned i = 0; i < busy; i++)
		client_send(fds[i], get.data, get.len);
	clock_sleep_us(50000);
	/* and that one until the others have come, which are its own then. */
	fake_engine_slow_reads(f->engine, 150);
	client_send(fds[busy], get.data, get.len);
	clock_sleep_us(50000);
	fake_engine_slow_reads(f->engine, 0);
	fake_engine_stick_reads(f->engine, true);
	client_send(fds[busy + 1], set.data, set.len);
	client_send(fds[busy + 2], get.data, get.len);
	fake_engine_await_stuck(f->engine, 1);
	p.fd = fds[busy + 1];
	assert_int_equal(poll(&p, 1, 1000), 1);
	fake_engine_stick_reads(f->engine, false);
	for (unsigned i = 0; i < count; i++) {
		assert_true(client_answer(fds[i], &answer));
		assert_int_equal(status_of(&answer), i == busy + 1 ? 200 : 404);
		close(fds[i]);
	}
	free(fds);
	buf_release(&answer);
	buf_release(&get);
	buf_release(&set);
}

/*
 * A peer that falls silent inside a request is cut off, whatever comes in
 * beside it, and though nothing comes after it.
 */
static void
test_half_sent_among_others(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	int fd = client_connect(f);

	put_request(&b, true, "POST", "/set", "", PAIR);
	for (int i = 0; i < 4; i++) {
		int half = client_connect(f);

		exchange(fd, true, "GET", "/get", "key=none", NULL, 404, NULL);
		client_send(half, b.data, b.len / 2);
		for (int k = 0; k < 8; k++)
			exchange(fd, true, "GET", "/get", "key=none", NULL, 404,
			         NULL);
		assert_true(client_is_closed(half));
		close(half);
	}
	close(fd);
	buf_release(&b);
}

/*
 * Stopping waits for the request under way and for nothing else: not for
 * kept connections, silent peers, half-sent requests or unread answers,
 * though the responder would wait for them for minutes.
 */
static void
test_stop(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT, large = BUF_INIT, answer = BUF_INIT;
	char *value = long_text(3u << 20), *body = NULL;
	int kept = client_connect(f), silent = client_connect(f);
	int sending = client_connect(f), waiting = client_connect(f);
	int reading = client_connect(f);
	pthread_t thread;

	assert_true(asprintf(&body, "{\"key\":\"l\",\"value\":\"%s\"}", value) >
	            0);
	exchange(kept, true, "POST", "/set", "", body, 200, "");
	fake_engine_slow_writes(f->engine, 300);
	put_request(&b, true, "POST", "/set", "", PAIR);
	put_request(&large, true, "GET", "/get", "key=l", NULL);
	client_send(reading, large.data, large.len);
	client_send(sending, b.data, b.len / 2);
	client_send(waiting, b.data, b.len);
	clock_sleep_us(100000); /* all three workers are busy now */

	assert_int_equal(pthread_create(&thread, NULL, stop_run, f->fcgi), 0);
	assert_true(client_answer(waiting, &answer));
	assert_int_equal(status_of(&answer), 200);
	pthread_join(thread, NULL);
	f->fcgi = NULL;
	assert_int_equal(fake_engine_count(f->engine), 2);
	assert_true(client_is_closed(kept));
	assert_true(client_is_closed(silent));
	assert_true(client_is_closed(sending));
	assert_true(client_is_closed(waiting));
	assert_false(client_answer(reading, &answer));
	close(kept);
	close(silent);
	close(sending);
	close(waiting);
	close(reading);
	buf_release(&answer);
	buf_release(&large);
	buf_release(&b);
	free(body);
	free(value);
}

/* Nor does it wait for peers whose writes end when all others are gone. */
static void
test_stop_after_slow_delete(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	char *value = long_text(3u << 20);
	int fd = client_connect(f);

	fake_engine_put(f->engine, "l", value, ENTRY_TEXT);
	fake_engine_slow_writes(f->engine, 1500);
	put_request(&b, true, "DELETE", "/del", "key=l", NULL);
	client_send(fd, b.data, b.len);
	clock_sleep_us(100000);
	fcgi_stop(f->fcgi);
	f->fcgi = NULL;
	assert_int_equal(fake_engine_count(f->engine), 0);
	close(fd);
	buf_release(&b);
	free(value);
}

/* Descriptors are all given back: by answers, failures, and the stop. */
static void
test_no_descriptor_leaks(void **state)
{
	struct fixture *f = *state;
	size_t before = tmpdir_count("/proc/self/fd");
	int fds[8];

	for (int i = 0; i < 8; i++) {
		fds[i] = client_connect(f);
		if (i % 2)
			exchange(fds[i], true, "GET", "/get", "key=k", NULL,
			         404, NULL);
	}
	fcgi_stop(f->fcgi);
	f->fcgi = NULL;
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	/* The responder's own three, and each worker's, are gone as well. */
	assert_int_equal(tmpdir_count("/proc/self/fd"), before - 3 - THREADS);
}

/* The socket is for its group, and others cannot take its place by mistake. */
static void
test_listen(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct stat st;
	char path[200];
	int fd = -1, other = -1;

	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_true(listen_is_socket(f->listen_fd));
	fd = client_connect(f);
	assert_false(listen_is_socket(fd));
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	assert_false(listen_is_socket(fd));
	close(fd);

	/* A socket that a crash has left is replaced. */
	snprintf(path, sizeof(path), "%s/second", f->dir);
	assert_int_equal(listen_open(path, &fd, &err), 0);
	close(fd);
	assert_int_equal(listen_open(path, &fd, &err), 0);
	listen_close(path, fd);
	assert_false(tmpdir_has(f->dir, "second"));

	/* A file is not. */
	tmpdir_write(f->dir, "file", "x", 1);
	snprintf(path, sizeof(path), "%s/file", f->dir);
	assert_int_equal(listen_open(path, &fd, &err), LSMKV_EINVAL);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(tmpdir_size(f->dir, "file"), 1);

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(listen_open(path, &fd, &err), LSMKV_EINVAL);
	assert_int_equal(listen_open("", &fd, &err), LSMKV_EINVAL);
	assert_int_equal(listen_open("/no/such/directory/s", &fd, &err),
	                 LSMKV_EIO);
	assert_int_equal(listen_open(":0", &fd, &err), LSMKV_EINVAL);
	assert_int_equal(listen_open(":65536", &fd, &err), LSMKV_EINVAL);
	assert_int_equal(listen_open(":80x", &fd, &err), LSMKV_EINVAL);
	assert_int_equal(fd, -1);
	assert_int_equal(other, -1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_closed_connections),
		TEST(test_kept_connection),
		TEST(test_many_kept_connections),
		TEST(test_silent_peers),
		TEST(test_half_sent),
		cmocka_unit_test_setup_teardown(test_slow_senders,
		                                setup_patient, teardown),
		cmocka_unit_test_setup_teardown(test_slow_readers,
		                                setup_patient, teardown),
		TEST(test_every_truncation),
		TEST(test_wrong_length),
		TEST(test_no_length),
		TEST(test_abort),
		TEST(test_other_roles),
		TEST(test_garbage),
		TEST(test_large_value),
		TEST(test_too_large_body),
		TEST(test_gone_before_the_answer),
		TEST(test_answer_not_read),
		TEST(test_no_descriptors),
		TEST(test_storm),
		TEST(test_writes_together),
		TEST(test_deletes_of_one_key),
		cmocka_unit_test_setup_teardown(test_reads_beside_a_stuck_write,
		                                setup_pair, teardown),
		cmocka_unit_test_setup_teardown(
			test_one_batch_behind_a_stuck_write, setup_pair,
			teardown),
		cmocka_unit_test_setup_teardown(test_more_writes_than_batches,
		                                setup_pair, teardown),
		cmocka_unit_test_setup_teardown(test_bad_write_among_others,
		                                setup_pair, teardown),
		cmocka_unit_test_setup_teardown(test_stop_with_held_writes,
		                                setup_pair, teardown),
		cmocka_unit_test_setup_teardown(test_unread_answer_among_writes,
		                                setup_pair, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup_patient,
		                                teardown),
		cmocka_unit_test_setup_teardown(test_head_of_large_answer,
		                                setup_single, teardown),
		cmocka_unit_test_setup_teardown(
			test_slow_peers_without_descriptors, setup_crowded,
			teardown),
		cmocka_unit_test_setup_teardown(test_write_before_a_stuck_read,
		                                setup_crowded, teardown),
		cmocka_unit_test_setup_teardown(test_write_among_slow_reads,
		                                setup_single, teardown),
		cmocka_unit_test_setup_teardown(test_half_sent_among_others,
		                                setup_hasty, teardown),
		cmocka_unit_test_setup_teardown(test_stop_after_slow_delete,
		                                setup_single, teardown),
		TEST(test_request_too_soon),
		TEST(test_no_descriptor_leaks),
		TEST(test_listen),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
