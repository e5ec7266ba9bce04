/* SPDX-License-Identifier: ISC */
/*
 * One HTTP request and its response, as plain data.
 *
 * The transport (fcgi.c, cgi.c) fills a request from the CGI variables, the
 * API answers it, and the transport writes the response. Neither struct knows
 * how its bytes travel, so the API is tested without a web server. Both are
 * kept by their worker and used again for the next request.
 */
#ifndef LSMKV_HTTP_MESSAGE_H
#define LSMKV_HTTP_MESSAGE_H

#include <stdint.h>

#include "base/bytes.h"

enum request_method {
	METHOD_GET = 1 << 0,
	METHOD_HEAD = 1 << 1,
	METHOD_POST = 1 << 2,
	METHOD_DELETE = 1 << 3,
	METHOD_OTHER = 1 << 4, /* anything that no endpoint takes */
};

/* What CONTENT_LENGTH said. */
enum request_length {
	LENGTH_ABSENT, /* not there, or empty */
	LENGTH_GIVEN,
	LENGTH_BAD, /* not a number */
};

#define REQUEST_PATH_MAX 255u

struct request {
	enum request_method method;
	/* SCRIPT_NAME followed by PATH_INFO (web servers cut the path between
	   them in different places); "" if it is too long for any endpoint */
	char path[REQUEST_PATH_MAX + 1];
	const char *script_name; /* borrowed from the environment, */
	const char *path_info;   /* never NULL */
	const char *query;       /* raw; never NULL */
	const char *host;        /* Host; NULL if there is none */
	const char *origin;      /* Origin; NULL if there is none */
	const char *fetch_site;  /* Sec-Fetch-Site; NULL if there is none */
	enum request_length length_state;
	uint64_t length; /* for LENGTH_GIVEN, else 0 */
	struct buf body; /* owned; JSON strings are decoded in place */
};

/*
 * Forgets the last request, keeping the body's memory. The CGI variables
 * follow, one by one, then the end. Values are borrowed: they outlive the
 * request. Of a name that comes twice the last one counts.
 */
void request_read_begin(struct request *r);
void request_read_variable(struct request *r, struct slice name,
                           const char *value);
void request_read_end(struct request *r);
/* All of that with the "NAME=value" texts of env, up to its NULL. */
void request_read_env(struct request *r, char *const *env);
/* Frees what r owns; a zeroed request is fine. */
void request_release(struct request *r);

struct response {
	int status;
	const char *content_type; /* static; NULL: no body */
	uint64_t version;         /* for ETag; 0: none */
	const char *allow;        /* Allow; static; NULL: none */
	const char *allow_origin; /* an --allow-origin; NULL: none */
	unsigned retry_after_s;   /* 0: none */
	bool head_only;           /* HEAD: body counts, but is not sent */
	struct slice body;        /* borrowed: from memory, or static */
	struct buf memory;        /* owned; where most bodies live */
};

/* An empty 200, keeping the memory. */
void response_reset(struct response *r);
/* Frees what r owns; a zeroed response is fine. */
void response_release(struct response *r);

/* "Not Found" for 404. */
const char *response_reason(int status);

/* The CGI response head, from "Status:" to the empty line, replaces out. */
int response_head(const struct response *r, struct buf *out, struct err *err);
/* What follows the head: body, or nothing for HEAD. */
struct slice response_payload(const struct response *r);

#endif
