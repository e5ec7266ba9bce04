/* SPDX-License-Identifier: ISC */
/* Requests and responses; see message.h. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/message.h"

static enum request_method
parse_method(const char *word)
{
	static const struct {
		const char *word;
		enum request_method method;
	} methods[] = {
		{ "GET", METHOD_GET },
		{ "POST", METHOD_POST },
		{ "DELETE", METHOD_DELETE },
		{ "HEAD", METHOD_HEAD },
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(word, methods[i].word))
			return methods[i].method;
	return METHOD_OTHER;
}

static enum request_length
parse_length(const char *text, uint64_t *length)
{
	*length = 0;
	if (!*text)
		return LENGTH_ABSENT;
	/* strtoull would take a sign and white space. */
	if (text[strspn(text, "0123456789")])
		return LENGTH_BAD;
	errno = 0;
	*length = strtoull(text, NULL, 10);
	if (errno) /* out of range is over every limit: let that be told */
		*length = UINT64_MAX;
	return LENGTH_GIVEN;
}

static void
join_path(struct request *r)
{
	size_t script = strlen(r->script_name), info = strlen(r->path_info);

	r->path[0] = '\0';
	if (script > REQUEST_PATH_MAX || info > REQUEST_PATH_MAX - script)
		return;
	memcpy(r->path, r->script_name, script);
	memcpy(r->path + script, r->path_info, info + 1);
}

void
request_read_begin(struct request *r)
{
	r->method = METHOD_OTHER;
	r->script_name = r->path_info = r->query = "";
	r->host = r->origin = r->fetch_site = NULL;
	r->length_state = LENGTH_ABSENT;
	r->length = 0;
	buf_clear(&r->body);
}

void
request_read_variable(struct request *r, struct slice name, const char *value)
{
	enum { METHOD, LENGTH }; /* are parsed; the others are taken as such */
	static const struct {
		const char *name;
		size_t len;
		size_t at; /* in struct request */
	} wanted[] = {
#define WANTED(name, member)                                                   \
	{ name, sizeof(name) - 1, offsetof(struct request, member) }
		[METHOD] = WANTED("REQUEST_METHOD", method),
		[LENGTH] = WANTED("CONTENT_LENGTH", length),
		WANTED("SCRIPT_NAME", script_name),
		WANTED("PATH_INFO", path_info),
		WANTED("QUERY_STRING", query),
		WANTED("HTTP_HOST", host),
		WANTED("HTTP_ORIGIN", origin),
		WANTED("HTTP_SEC_FETCH_SITE", fetch_site),
#undef WANTED
	};
	size_t i, count = sizeof(wanted) / sizeof(wanted[0]);

	/* Servers send some thirty variables: most are told by their length. */
	for (i = 0; i < count; i++)
		if (name.len == wanted[i].len &&
		    !memcmp(name.data, wanted[i].name, name.len))
			break;
	if (i == METHOD)
		r->method = parse_method(value);
	else if (i == LENGTH)
		r->length_state = parse_length(value, &r->length);
	else if (i < count)
		memcpy((char *)r + wanted[i].at, &value, sizeof(value));
}

void
request_read_end(struct request *r)
{
	join_path(r);
}

void
request_read_env(struct request *r, char *const *env)
{
	request_read_begin(r);
	for (; *env; env++) {
		size_t len = strcspn(*env, "=");

		if ((*env)[len])
			request_read_variable(r, slice_make(*env, len),
			                      *env + len + 1);
	}
	request_read_end(r);
}

void
request_release(struct request *r)
{
	buf_release(&r->body);
}

void
response_reset(struct response *r)
{
	struct buf memory = r->memory;

	buf_clear(&memory);
	*r = (struct response){ .status = 200, .memory = memory };
}

void
response_release(struct response *r)
{
	buf_release(&r->memory);
}

const char *
response_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 411:
		return "Length Required";
	case 412:
		return "Precondition Failed";
	case 413:
		return "Content Too Large";
	case 421:
		return "Misdirected Request";
	case 500:
		return "Internal Server Error";
	case 503:
		return "Service Unavailable";
	case 507:
		return "Insufficient Storage";
	default:
		return "Unknown";
	}
}

int
response_head(const struct response *r, struct buf *out, struct err *err)
{
	char text[512 + 1];
	size_t len;
	int n, rc;

	/*
	 * Nothing that is stored is ever to run in a browser: no sniffing, no
	 * scripts, and no copy left behind in a cache.
	 */
	n = snprintf(text, sizeof(text),
	             "Status: %d %s\r\n"
	             "Content-Length: %zu\r\n"
	             "X-Content-Type-Options: nosniff\r\n"
	             "Content-Security-Policy: default-src 'none'; sandbox\r\n"
	             "Cache-Control: no-store\r\n",
	             r->status, response_reason(r->status), r->body.len);
	len = (size_t)n;
	if (r->content_type)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		                        "Content-Type: %s\r\n",
		                        r->content_type);
	if (r->version)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		                        "ETag: \"%" PRIu64 "\"\r\n",
		                        r->version);
	if (r->allow)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		                        "Allow: %s\r\n", r->allow);
	if (r->retry_after_s)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		                        "Retry-After: %u\r\n",
		                        r->retry_after_s);
	rc = buf_set(out, slice_make(text, len), err);
	if (!rc && r->allow_origin) {
		rc = buf_append_slice(
			out,
			slice_str("Vary: Origin\r\n"
		                  "Access-Control-Expose-Headers: ETag\r\n"
		                  "Access-Control-Allow-Origin: "),
			err);
		if (!rc)
			rc = buf_append_slice(out, slice_str(r->allow_origin),
			                      err);
		if (!rc)
			rc = buf_append(out, "\r\n", 2, err);
	}
	if (!rc)
		rc = buf_append(out, "\r\n", 2, err);
	return rc;
}

struct slice
response_payload(const struct response *r)
{
	return r->head_only ? slice_make(NULL, 0) : r->body;
}
