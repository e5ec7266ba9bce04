/* SPDX-License-Identifier: ISC */
/*
 * The sweep, over HTTP: a responder on a real store is asked for a set, gets
 * and a deletion, and every call that it makes for them fails, once or from
 * then on. While it does, each request is answered with what is true, or with
 * an error of 5xx, or its connection is closed; it may have to wait. Then, as
 * the fault is gone, all workers serve again, and nothing that was
 * acknowledged is lost or made up, now and after a restart.
 *
 *     --case K:N:G   one case, as a failure is printed
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine.h"
#include "http/fcgi.h"
#include "http/listen.h"
#include "lib/fastcgi.h"
#include "lib/fault.h"
#include "lib/tmpdir.h"

#define THREADS 2u
#define LARGE 300000u /* bytes of a value that waits in a spool */
#define CASE_S 60u
#define FAULTY_MS 150     /* what is not answered by then waits for the end */
#define PATIENCE_MS 10000 /* for an answer that must come */
#define SETTLE_US 3000
#define PIECE 60000u /* bytes of a record */

static const struct {
	const char *name;
	enum fault_kind kind;
	int error;
} kinds[] = {
	{ "open", FAULT_OPEN, EMFILE },   { "read", FAULT_READ, EIO },
	{ "write", FAULT_WRITE, ENOSPC }, { "fdatasync", FAULT_DATASYNC, EIO },
	{ "close", FAULT_CLOSE, EIO },    { "memory", FAULT_MALLOC, ENOMEM },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* What is known of a key: the value's bytes are all the same letter. */
struct known {
	char letter;     /* 0: it is not there */
	char others[8];  /* what it may be instead: outcomes never told */
	unsigned unsure; /* how many of those */
	size_t len;
};

static struct {
	char *dir, path[108]; /* of the socket */
	int listen_fd;
	struct engine *engine;
	struct api *api;
	struct fcgi *fcgi;
	struct known small, large;
	char what[128];
	bool faulty;
	bool asked_faulty;    /* when the request began */
	enum fault_kind kind; /* of the fault */
	size_t threads;       /* of the process, before it */
	unsigned failures;
	unsigned long long cases, missed, hung_up, refused, answered;
} now;

static void __attribute__((format(printf, 1, 2))) bad(const char *format, ...)
{
	va_list ap;

	printf("FAILED: %s\n    ", now.what);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	now.failures++;
}

static void
on_signal(int signal_number)
{
	dprintf(1, "FAILED: %s\n    %s\n", now.what,
	        signal_number == SIGALRM ? "it hangs" : "it crashed");
	_exit(1);
}

/* ---- the client ---- */

static void
put(struct buf *b, const void *data, size_t len)
{
	if (buf_append(b, data, len, NULL))
		abort();
}

/* Who has waited enough waits for the end of the fault. */
static bool
wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	if (now.faulty && poll(&pfd, 1, FAULTY_MS) != 1) {
		fault_clear();
		now.faulty = false;
	}
	if (poll(&pfd, 1, PATIENCE_MS) == 1)
		return true;
	bad("it does not go on");
	return false;
}

/* What cannot be sent is for request_end to notice. */
static void
send_whole(int fd, const unsigned char *p, size_t len)
{
	while (len && wait_for(fd, POLLOUT)) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

static int
request_begin(const char *method, const char *path, const char *query,
              struct slice body)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct buf b = BUF_INIT, params = BUF_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char length[32];
	size_t half;

	now.asked_faulty = now.faulty;
	memcpy(address.sun_path, now.path, sizeof(now.path));
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		perror("connect");
		exit(1);
	}
	snprintf(length, sizeof(length), "%zu", body.len);
	fastcgi_begin(&b, false, 1);
	fastcgi_param(&params, slice_str("REQUEST_METHOD"), slice_str(method));
	fastcgi_param(&params, slice_str("SCRIPT_NAME"), slice_str(path));
	fastcgi_param(&params, slice_str("QUERY_STRING"), slice_str(query));
	fastcgi_param(&params, slice_str("HTTP_HOST"),
	              slice_str("localhost:8081"));
	fastcgi_param(&params, slice_str("CONTENT_LENGTH"), slice_str(length));
	fastcgi_stream(&b, FASTCGI_PARAMS, buf_slice(&params), PIECE);
	fastcgi_stream(&b, FASTCGI_BODY, body, PIECE);
	/* A large one comes in two pieces, so that it is spooled. */
	half = body.len < LARGE ? b.len : b.len / 2;
	send_whole(fd, b.data, half);
	if (half < b.len) {
		clock_sleep_us(20000);
		send_whole(fd, b.data + half, b.len - half);
	}
	buf_release(&params);
	buf_release(&b);
	return fd;
}

static bool
read_whole(int fd, void *to, size_t len)
{
	char *p = to;

	while (len) {
		ssize_t n;

		if (!wait_for(fd, POLLIN))
			return false;
		n = read(fd, p, len);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* The status, or 0 if the peer hung up; the answer's body in out. */
static int
request_end(int fd, struct buf *out)
{
	static unsigned char data[65536 + 256];
	struct buf all = BUF_INIT;
	unsigned char head[8];
	bool ended = false;
	const char *body;
	int status = 0;

	buf_clear(out);
	while (!ended && read_whole(fd, head, sizeof(head))) {
		size_t len = (size_t)head[4] << 8 | head[5];

		if (!read_whole(fd, data, len + head[6]))
			break;
		if (head[1] == FASTCGI_ANSWER)
			put(&all, data, len);
		ended = head[1] == FASTCGI_END;
	}
	close(fd);
	put(&all, "", 1);
	body = strstr((const char *)all.data, "\r\n\r\n");
	if (!ended) {
		now.hung_up++;
		if (!now.asked_faulty)
			bad("hung up on without a fault");
	} else if (sscanf((const char *)all.data, "Status: %d ", &status) !=
	                   1 ||
	           !body) {
		bad("an answer that is none");
		status = 0;
	} else {
		body += 4;
		put(out, body,
		    all.len - 1 - (size_t)(body - (const char *)all.data));
		now.answered++;
		now.refused += status >= 500;
		if (status != 200 && status != 404 && status < 500)
			bad("status %d", status);
		/* Without memory the status alone must do. */
		if (status >= 500 && !out->len &&
		    !(now.asked_faulty && now.kind == FAULT_MALLOC))
			bad("status %d without a reason", status);
	}
	buf_release(&all);
	return status;
}

/* ---- requests, each held against what is known ---- */

static const char *
query_of(const struct known *k)
{
	return k == &now.small ? "key=small" : "key=large";
}

static bool
is_value(const struct buf *b, char letter, size_t len)
{
	if (b->len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (b->data[i] != (unsigned char)letter)
			return false;
	return true;
}

static void
may_be(struct known *k, char letter)
{
	if (k->unsure == sizeof(k->others))
		abort();
	k->others[k->unsure++] = letter;
}

static void
must_be(struct known *k, char letter)
{
	k->letter = letter;
	k->unsure = 0;
}

static bool
is(const struct known *k, char letter, const struct buf *out)
{
	return out ? letter && is_value(out, letter, k->len) : !letter;
}

/* It was seen, or (out NULL) it is not there: is that what it may be? */
static void
learn(struct known *k, const struct buf *out, const char *call)
{
	if (is(k, k->letter, out))
		return; /* the others may come with a restart */
	for (unsigned i = 0; i < k->unsure; i++)
		if (is(k, k->others[i], out)) {
			must_be(k, k->others[i]);
			return;
		}
	bad("%s: %s is %s", call, query_of(k), out ? "a wrong value" : "gone");
}

static int
get(struct known *k)
{
	struct buf out = BUF_INIT;
	int status = request_end(
		request_begin("GET", "/get", query_of(k), slice_make(NULL, 0)),
		&out);

	if (status == 200 || status == 404)
		learn(k, status == 200 ? &out : NULL, "get");
	buf_release(&out);
	return status;
}

static int
set(struct known *k, char letter)
{
	struct buf body = BUF_INIT, out = BUF_INIT;
	char text[64], *value = malloc(k->len);
	int status;

	if (!value)
		abort();
	memset(value, letter, k->len);
	snprintf(text, sizeof(text), "{\"%s\",\"value\":\"",
	         k == &now.small ? "key\":\"small" : "key\":\"large");
	put(&body, text, strlen(text));
	put(&body, value, k->len);
	put(&body, "\"}", 2);
	status = request_end(
		request_begin("POST", "/set", "", buf_slice(&body)), &out);
	if (status == 200)
		must_be(k, letter);
	else if (status == 0 || status == 500)
		may_be(k, letter);
	else if (status == 404)
		bad("set: 404");
	free(value);
	buf_release(&body);
	buf_release(&out);
	return status;
}

static void
del(struct known *k)
{
	struct buf out = BUF_INIT;
	int status = request_end(request_begin("DELETE", "/del", query_of(k),
	                                       slice_make(NULL, 0)),
	                         &out);

	if (status == 200 || status == 404) {
		learn(k, status == 200 ? &out : NULL, "del");
		must_be(k, 0);
	} else if (status == 0 || status == 500) {
		may_be(k, 0);
	}
	buf_release(&out);
}

static void
work(void)
{
	set(&now.small, 'b');
	get(&now.small);
	set(&now.large, 'c');
	get(&now.large);
	del(&now.small);
	get(&now.small);
}

/* ---- a case ---- */

static void
start(void)
{
	struct api_options api_options = { .max_value_bytes = 1u << 20 };
	struct fcgi_options options = { .threads = THREADS,
		                        .timeout_ms = PATIENCE_MS };
	struct store_options store;
	struct err err = ERR_INIT;

	store_options_init(&store);
	store.memory_bytes = 8u << 20;
	store.idle_flush_ms = 3600000;
	store.scrub_s = 0;
	if (engine_open_lsm(&now.engine, now.dir, &store, &err) ||
	    listen_open(now.path, &now.listen_fd, &err) ||
	    api_new(&now.api, now.engine, &api_options, &err)) {
		printf("FAILED: %s\n    start: %s\n", now.what, err.message);
		exit(1);
	}
	options.listen_fd = now.listen_fd;
	if (fcgi_start(&now.fcgi, now.api, &options, &err)) {
		printf("FAILED: %s\n    start: %s\n", now.what, err.message);
		exit(1);
	}
}

static void
stop(void)
{
	fcgi_stop(now.fcgi);
	listen_close(now.path, now.listen_fd);
	api_free(now.api);
	engine_close(now.engine, NULL);
}

/* More requests at once than there are workers; then a set. */
static void
check_serves(void)
{
	struct buf out = BUF_INIT;
	struct store_stat stat;
	int fds[THREADS + 1], status;

	for (unsigned i = 0; i <= THREADS; i++)
		fds[i] = request_begin("GET", "/get", "key=none",
		                       slice_make(NULL, 0));
	for (unsigned i = 0; i <= THREADS; i++) {
		status = request_end(fds[i], &out);
		if (status != 404)
			bad("a get of nothing: %d", status);
	}
	buf_release(&out);
	get(&now.small);
	get(&now.large);
	now.engine->ops->stat(now.engine, &stat);
	status = set(&now.small, 'z');
	if (status != 200 && !(status == 503 && stat.failed) &&
	    !(status == 507 && stat.disk_full))
		bad("a set when the fault is gone: %d", status);
}

static void
begin_case(void)
{
	now.dir = tmpdir_new();
	snprintf(now.path, sizeof(now.path), "%s.socket", now.dir);
	now.faulty = false;
	now.small = (struct known){ .len = 100 };
	now.large = (struct known){ .len = LARGE };
	start();
	set(&now.small, 'a');
	clock_sleep_us(SETTLE_US);
	now.threads = tmpdir_count("/proc/self/task");
	fault_reset();
}

static void
end_case(void)
{
	fault_clear();
	now.faulty = false;
	check_serves();
	if (tmpdir_count("/proc/self/task") != now.threads)
		bad("%zu threads, %zu before: a worker is lost",
		    tmpdir_count("/proc/self/task"), now.threads);
	stop();
	start();
	get(&now.small);
	get(&now.large);
	stop();
	tmpdir_free(now.dir);
}

static void
run_case(unsigned kind, uint64_t nth, bool for_good)
{
	struct fault_plan plan = { kinds[kind].kind,  nth,         for_good,
		                   kinds[kind].error, FAULT_FAILS, NULL };
	size_t descriptors = tmpdir_count("/proc/self/fd");

	snprintf(now.what, sizeof(now.what),
	         "%s %llu %s: %s (--case %u:%llu:%d)", kinds[kind].name,
	         (unsigned long long)nth,
	         for_good ? "and all after it" : "once",
	         strerror(kinds[kind].error), kind, (unsigned long long)nth,
	         for_good);
	alarm(CASE_S);
	begin_case();
	now.faulty = true;
	now.kind = kinds[kind].kind;
	fault_set(&plan);
	work();
	now.cases++;
	now.missed += !fault_fired();
	end_case();
	if (tmpdir_count("/proc/self/fd") != descriptors)
		bad("%zu descriptors, %zu before",
		    tmpdir_count("/proc/self/fd"), descriptors);
	alarm(0);
}

int
main(int argc, char **argv)
{
	uint64_t sites[KINDS], all = 0;
	unsigned kind = KINDS;
	unsigned long long nth = 0;
	int good = 0;

	if (argc == 3 && !strcmp(argv[1], "--case") &&
	    sscanf(argv[2], "%u:%llu:%d", &kind, &nth, &good) != 3)
		return 2;
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	signal(SIGABRT, on_signal);
	signal(SIGALRM, on_signal);
	/* Errors are asked for by the hundred. */
	log_set_level(LOG_LEVEL_ERROR);
	fault_exempt_begin();

	snprintf(now.what, sizeof(now.what), "without a fault");
	begin_case();
	work();
	clock_sleep_us(SETTLE_US);
	for (unsigned k = 0; k < KINDS; k++)
		all += sites[k] = fault_count(kinds[k].kind);
	end_case();
	if (now.failures)
		return 1;
	if (kind < KINDS) {
		run_case(kind, nth, good);
		return now.failures > 0;
	}
	for (unsigned k = 0; k < KINDS; k++) {
		for (uint64_t n = 1; n <= sites[k]; n++) {
			run_case(k, n, false);
			run_case(k, n, true);
		}
		printf("%-10s %4llu sites\n", kinds[k].name,
		       (unsigned long long)sites[k]);
	}
	printf("%llu sites, %llu cases (%llu not reached), %llu answers, "
	       "%llu of them 5xx, %llu hung up: %u failures\n",
	       (unsigned long long)all, now.cases, now.missed, now.answered,
	       now.refused, now.hung_up, now.failures);
	return now.failures || now.missed * 2 > now.cases;
}
