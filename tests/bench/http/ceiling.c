/* SPDX-License-Identifier: ISC */
/*
 * The ceiling of lsmkv over HTTP: a responder that reads a request to its end
 * and answers 200, with an answer of the size that lsmkv's would have.
 *
 * Two of them:
 *
 * - libfcgi and an epoll set where kept connections wait, and nothing else, with
 *   a worker for each processor (as many as of lsmkv.fcgi's are awake; with
 *   more, a request costs more). For well-behaved web servers only: one that
 *   stops in mid-request would hold a worker.
 * - with LSMKV_CEILING=transport, the transport of lsmkv.fcgi (src/http/fcgi.c)
 *   and its 32 workers, with the functions of api.h as they are below: what
 *   lsmkv.fcgi needs beyond it is the API's and the engine's.
 *
 * The listening socket is on fd 0. SIGTERM stops it.
 */
#include <fcgiapp.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/processors.h"
#include "http/fcgi.h"

#define BODY_MAX (1u << 20)
#define VALUE                                                                  \
	"0123456789012345678901234567890123456789012345678901234567890123456"  \
	"789012345678901234567890123456789"
#define TIMEOUT_MS 30000
#define TRANSPORT_THREADS 32 /* as of lsmkv.fcgi */

/* ---- the API, as far as a transport needs one ---- */

struct api {
	char nothing;
};

bool
api_accepts(const struct api *a, const struct request *r, struct response *res)
{
	(void)a;
	response_reset(res);
	if (r->length <= BODY_MAX)
		return true;
	res->status = 413;
	return false;
}

bool
api_begin(struct api *a, struct request *r, struct response *res,
          struct api_call *call)
{
	(void)a, (void)call;
	res->version = 1234567;
	if (r->method == METHOD_POST)
		return false;
	res->content_type = "text/plain; charset=utf-8";
	res->body = slice_str(VALUE);
	return false;
}

void
api_write(struct api *a, struct api_call *const *calls, size_t count)
{
	(void)a, (void)calls, (void)count;
}

void
api_call_release(struct api_call *call)
{
	(void)call;
}

void
api_fail(struct api *a, const struct request *r, struct response *res,
         const struct err *err)
{
	(void)a, (void)r, (void)err;
	res->status = 500;
}

void
api_refuse_body(const struct request *r, struct response *res)
{
	(void)r;
	res->status = 400;
}

uint64_t
api_body_max(const struct api *a)
{
	(void)a;
	return BODY_MAX;
}

/* ---- libfcgi alone ---- */

/* What lsmkv says around a value, and around none. */
#define FIELDS                                                                 \
	"X-Content-Type-Options: nosniff\r\n"                                  \
	"Content-Security-Policy: default-src 'none'; sandbox\r\n"             \
	"Cache-Control: no-store\r\n"
static const char answer_get[] =
	"Status: 200 OK\r\nContent-Length: 100\r\n" FIELDS
	"Content-Type: text/plain; charset=utf-8\r\n"
	"ETag: \"1234567\"\r\n\r\n" VALUE;
static const char answer_post[] =
	"Status: 200 OK\r\nContent-Length: 0\r\n" FIELDS
	"ETag: \"1234567\"\r\n\r\n";

/* Takes what is ready, one request of it, and waits for the next. */
static void *
alone_run(void *arg)
{
	int set = *(int *)arg;

	for (;;) {
		struct epoll_event event = { .events = 0 };
		FCGX_Request q;
		char trash[8192];
		const char *method;
		int keep, fd, op = EPOLL_CTL_MOD;

		if (epoll_wait(set, &event, 1, -1) != 1)
			continue;
		fd = event.data.fd;
		if (fd == STDIN_FILENO) {
			fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
			if (fd < 0)
				continue;
			op = EPOLL_CTL_ADD;
		} else if (event.events == EPOLLHUP) {
			close(fd);
			continue;
		} else {
			FCGX_InitRequest(&q, -1, 0);
			q.ipcFd = fd;
			q.detached = 1;
			q.keepConnection = 1;
			if (FCGX_Accept_r(&q))
				continue; /* closed by it */
			while (FCGX_GetStr(trash, sizeof(trash), q.in) > 0)
				;
			method = FCGX_GetParam("REQUEST_METHOD", q.envp);
			if (method && !strcmp(method, "POST"))
				FCGX_PutStr(answer_post,
				            sizeof(answer_post) - 1, q.out);
			else
				FCGX_PutStr(answer_get, sizeof(answer_get) - 1,
				            q.out);
			keep = q.keepConnection;
			q.keepConnection = 1;
			FCGX_Finish_r(&q);
			if (q.ipcFd < 0)
				continue;
			if (!keep) {
				close(fd);
				continue;
			}
		}
		event.events = EPOLLIN | EPOLLONESHOT;
		event.data.fd = fd;
		epoll_ctl(set, op, fd, &event);
	}
	return NULL;
}

static int
alone_start(struct err *err)
{
	unsigned threads = processors_allowed();
	static int set;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLEXCLUSIVE,
		.data.fd = STDIN_FILENO,
	};
	pthread_t thread;

	FCGX_Init();
	signal(SIGPIPE, SIG_IGN);
	set = epoll_create1(EPOLL_CLOEXEC);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, STDIN_FILENO, &event))
		return err_set(err, LSMKV_EIO, "epoll");
	while (threads--)
		if (pthread_create(&thread, NULL, alone_run, &set))
			return err_set(err, LSMKV_EIO, "a worker thread");
	return 0;
}

int
main(void)
{
	struct fcgi_options options = {
		.listen_fd = STDIN_FILENO,
		.threads = TRANSPORT_THREADS,
		.timeout_ms = TIMEOUT_MS,
	};
	const char *kind = getenv("LSMKV_CEILING");
	bool transport = kind && !strcmp(kind, "transport");
	struct api api = { 0 };
	struct fcgi *fcgi = NULL;
	struct err err = ERR_INIT;
	sigset_t signals;
	int told, rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	rc = transport ? fcgi_start(&fcgi, &api, &options, &err)
	               : alone_start(&err);
	if (rc) {
		fprintf(stderr, "ceiling: %s\n", err.message);
		return 1;
	}
	sigwait(&signals, &told);
	fcgi_stop(fcgi);
	return 0;
}
