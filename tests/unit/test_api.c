/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of http/api: the base contract, request by request, on a fake
 * engine; and of http/cgi, which carries a request there and back.
 */
#include "http/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <json-c/json.h>

#include <cmocka.h>

#include "http/api_problem.h"
#include "http/cgi.h"
#include "lib/fake_engine.h"
#include "lib/tmpdir.h"

#define MAX_VALUE 1000u

struct fixture {
	struct engine *engine;
	struct api *api;
	struct request request;
	struct response response;
	bool accepted; /* the last request got past its head */
};

static const char *const origins[] = { "https://app.example", NULL };

static int
setup(void **state)
{
	struct api_options options = { .max_value_bytes = MAX_VALUE,
		                       .origins = origins };
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->engine = fake_engine_new();
	assert_int_equal(api_new(&f->api, f->engine, &options, NULL), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	request_release(&f->request);
	response_release(&f->response);
	api_free(f->api);
	engine_close(f->engine, NULL);
	free(f);
	return 0;
}

/* Sends a request made of CGI variables and a body; NULL ends them. */
static struct response *
ask(struct fixture *f, char *const *env, const void *body, size_t len)
{
	request_read_env(&f->request, env);
	f->accepted = api_accepts(f->api, &f->request, &f->response);
	if (f->accepted) {
		assert_int_equal(f->request.length, len);
		buf_set(&f->request.body, slice_make(body, len), NULL);
		api_answer(f->api, &f->request, &f->response);
	}
	return &f->response;
}

/* The same for a method, a path with a query, and a body or NULL. */
static struct response *
ask_for(struct fixture *f, const char *method, const char *target,
        const char *body)
{
	static char m[64], path[256], query[8192], length[64];
	const char *mark = strchr(target, '?');
	int path_len = mark ? (int)(mark - target) : (int)strlen(target);

	snprintf(m, sizeof(m), "REQUEST_METHOD=%s", method);
	snprintf(path, sizeof(path), "SCRIPT_NAME=%.*s", path_len, target);
	assert_true(strlen(target) < sizeof(query) - 20);
	snprintf(query, sizeof(query), "QUERY_STRING=%s", mark ? mark + 1 : "");
	if (body)
		snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu",
		         strlen(body));
	return ask(f,
	           (char *[]){ m, path, query,
	                       (char *)"HTTP_HOST=localhost:8081",
	                       body ? length : NULL, NULL },
	           body, body ? strlen(body) : 0);
}

static struct response *
get(struct fixture *f, const char *query)
{
	char target[8192];

	snprintf(target, sizeof(target), "/get?%s", query);
	return ask_for(f, "GET", target, NULL);
}

static struct response *
set(struct fixture *f, const char *body)
{
	return ask_for(f, "POST", "/set", body);
}

static struct response *
del(struct fixture *f, const char *query)
{
	char target[8192];

	snprintf(target, sizeof(target), "/del?%s", query);
	return ask_for(f, "DELETE", target, NULL);
}

static void
assert_body(const struct response *res, const char *text)
{
	assert_int_equal(res->body.len, strlen(text));
	if (res->body.len)
		assert_memory_equal(res->body.data, text, res->body.len);
}

/* A 200 with this body, type and version. */
static void
assert_value(const struct response *res, const char *text, const char *type,
             uint64_t version)
{
	assert_int_equal(res->status, 200);
	assert_body(res, text);
	assert_string_equal(res->content_type, type);
	assert_int_equal(res->version, version);
}

/* A problem body that says what its status and code say. */
static void
assert_problem(const struct response *res, enum api_problem problem)
{
	struct json_object *o = NULL, *member = NULL;
	char text[2048];
	int status = api_problem_status(problem);

	assert_true(res->body.len < sizeof(text));
	memcpy(text, res->body.data, res->body.len);
	text[res->body.len] = '\0';
	o = json_tokener_parse(text);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "code", &member));
	assert_string_equal(json_object_get_string(member),
	                    api_problem_word(problem));
	assert_true(json_object_object_get_ex(o, "status", &member));
	assert_int_equal(json_object_get_int(member), status);
	assert_true(json_object_object_get_ex(o, "title", &member));
	assert_string_equal(json_object_get_string(member),
	                    response_reason(status));
	assert_true(json_object_object_get_ex(o, "type", &member));
	assert_string_equal(json_object_get_string(member), "about:blank");
	assert_true(json_object_object_get_ex(o, "detail", &member));
	assert_true(json_object_get_string_len(member) > 10);
	assert_int_equal(json_object_object_length(o), 5);
	json_object_put(o);
	assert_int_equal(res->status, status);
	assert_string_equal(res->content_type, "application/problem+json");
	assert_int_equal(res->version, 0);
}

#define TEXT_TYPE "text/plain; charset=utf-8"
#define JSON_TYPE "application/json"

/* What was set is got, and del gives it back once. */
static void
test_set_get_del(void **state)
{
	struct fixture *f = *state;
	struct response *res;

	res = set(f, "{\"key\":\"greeting\",\"value\":\"hello\"}");
	assert_int_equal(res->status, 200);
	assert_body(res, "");
	assert_null(res->content_type);
	assert_int_equal(res->version, 1);
	assert_value(get(f, "key=greeting"), "hello", TEXT_TYPE, 1);
	assert_value(get(f, "key=greeting"), "hello", TEXT_TYPE, 1);
	/* Of /del it is the version of what was deleted. */
	assert_value(del(f, "key=greeting"), "hello", TEXT_TYPE, 1);
	assert_problem(get(f, "key=greeting"), PROBLEM_NOT_FOUND);
	assert_problem(del(f, "key=greeting"), PROBLEM_NOT_FOUND);
	assert_int_equal(fake_engine_count(f->engine), 0);
}

/* set replaces, and the version grows. */
static void
test_replace(void **state)
{
	struct fixture *f = *state;

	set(f, "{\"key\":\"k\",\"value\":\"a\"}");
	assert_int_equal(set(f, "{\"key\":\"k\",\"value\":[1, 2]}")->version,
	                 2);
	assert_value(get(f, "key=k"), "[1, 2]", JSON_TYPE, 2);
	set(f, "{\"key\":\"k\",\"value\":\"\"}");
	assert_value(get(f, "key=k"), "", TEXT_TYPE, 3);
	assert_value(del(f, "key=k"), "", TEXT_TYPE, 3);
}

/* The type says what was stored: text, JSON or bytes. */
static void
test_content_types(void **state)
{
	struct fixture *f = *state;

	set(f, "{\"key\":\"t\",\"value\":\"1\"}");
	set(f, "{\"key\":\"j\",\"value\":1e400}");
	fake_engine_put(f->engine, "b", "\xff\xfe", ENTRY_BYTES);
	assert_value(get(f, "key=t"), "1", TEXT_TYPE, 1);
	assert_value(get(f, "key=j"), "1e400", JSON_TYPE, 2);
	assert_value(get(f, "key=b"), "\xff\xfe", "application/octet-stream",
	             3);
}

/* HEAD answers as GET does, and sends no body. */
static void
test_head(void **state)
{
	struct fixture *f = *state;
	struct response *res;

	set(f, "{\"key\":\"k\",\"value\":\"abc\"}");
	res = ask_for(f, "HEAD", "/get?key=k", NULL);
	assert_value(res, "abc", TEXT_TYPE, 1);
	assert_int_equal(response_payload(res).len, 0);
	assert_int_equal(response_payload(get(f, "key=k")).len, 3);
	res = ask_for(f, "HEAD", "/get?key=none", NULL);
	assert_problem(res, PROBLEM_NOT_FOUND);
	assert_int_equal(response_payload(res).len, 0);
	res = ask_for(f, "HEAD", "/nothing", NULL);
	assert_problem(res, PROBLEM_NO_ENDPOINT);
	assert_int_equal(response_payload(res).len, 0);
}

/* Both spellings of one text, in a URL and in JSON, are one key. */
static void
test_spellings_of_a_key(void **state)
{
	struct fixture *f = *state;

	set(f, "{\"key\":\"caf\\u00e9 \\ud83d\\ude00+%\",\"value\":\"x\"}");
	assert_value(get(f, "key=caf%C3%A9+%F0%9F%98%80%2b%25"), "x", TEXT_TYPE,
	             1);
	assert_value(get(f, "key=caf\xc3\xa9%20\xf0\x9f\x98\x80%2B%25"), "x",
	             TEXT_TYPE, 1);
	/* No normalization: another text is another key. */
	assert_problem(get(f, "key=cafe%CC%81+%F0%9F%98%80%2b%25"),
	               PROBLEM_NOT_FOUND);
}

/* A query string that does not name one key is refused, for each reason. */
static void
test_query_rules(void **state)
{
	static const struct {
		const char *query;
		enum api_problem want;
	} table[] = {
		{ "", PROBLEM_KEY_MISSING },
		{ "&", PROBLEM_KEY_MISSING },
		{ "key", PROBLEM_KEY_INVALID },
		{ "key=", PROBLEM_KEY_INVALID },
		{ "key=a&key=b", PROBLEM_KEY_TWICE },
		{ "key=a&key=a", PROBLEM_KEY_TWICE },
		{ "key=&key=", PROBLEM_KEY_TWICE },
		{ "key=a&%6bey=a", PROBLEM_KEY_TWICE },
		{ "Key=a", PROBLEM_PARAMETER_UNKNOWN },
		{ "key=a&x=1", PROBLEM_PARAMETER_UNKNOWN },
		{ "=a", PROBLEM_PARAMETER_UNKNOWN },
		{ "%ff%00=a", PROBLEM_PARAMETER_UNKNOWN },
		{ "key=%", PROBLEM_QUERY_INVALID },
		{ "key=%zz", PROBLEM_QUERY_INVALID },
		{ "key=%e9", PROBLEM_KEY_INVALID },
		{ "key=\xe9", PROBLEM_KEY_INVALID },
		{ "key=%ed%a0%80", PROBLEM_KEY_INVALID },
		{ "key=%c0%80", PROBLEM_KEY_INVALID },
		{ "key=%00", PROBLEM_KEY_INVALID },
		{ "key=a%0a", PROBLEM_KEY_INVALID },
		{ "key=%7f", PROBLEM_KEY_INVALID },
		{ "key=%c2%85", PROBLEM_KEY_INVALID },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_problem(get(f, table[i].query), table[i].want);
		assert_problem(del(f, table[i].query), table[i].want);
	}
	/* None of them came near the store. */
	assert_int_equal(fake_engine_calls(f->engine), 0);
}

/* Keys in bodies obey the same rules as keys in URLs. */
static void
test_body_key_rules(void **state)
{
	struct fixture *f = *state;

	assert_problem(set(f, "{\"key\":\"\",\"value\":1}"),
	               PROBLEM_KEY_INVALID);
	assert_problem(set(f, "{\"key\":\"a\\u0000\",\"value\":1}"),
	               PROBLEM_KEY_INVALID);
	assert_problem(set(f, "{\"key\":\"a\\n\",\"value\":1}"),
	               PROBLEM_KEY_INVALID);
	assert_problem(set(f, "{\"key\":\"\\u007f\",\"value\":1}"),
	               PROBLEM_KEY_INVALID);
	assert_problem(set(f, "{\"key\":\"\\u0085\",\"value\":1}"),
	               PROBLEM_KEY_INVALID);
	assert_problem(set(f, "{\"key\":5,\"value\":1}"), PROBLEM_KEY_INVALID);
	assert_int_equal(fake_engine_calls(f->engine), 0);
}

/* A key of 1024 bytes is fine, one of 1025 is too big, however spelled. */
static void
test_key_size(void **state)
{
	struct fixture *f = *state;
	char text[4096] = "key=", body[8192];

	for (int i = 0; i < 512; i++)
		strcat(text, "%C3%A9");
	assert_problem(get(f, text), PROBLEM_NOT_FOUND);
	strcat(text, "a");
	assert_problem(get(f, text), PROBLEM_KEY_TOO_BIG);

	strcpy(body, "{\"value\":\"v\",\"key\":\"");
	for (int i = 0; i < 1024; i++)
		strcat(body, "\\u0061");
	strcat(body, "\"}");
	assert_int_equal(set(f, body)->status, 200);
	memset(text + 4, 'a', 1024);
	text[4 + 1024] = '\0';
	assert_value(get(f, text), "v", TEXT_TYPE, 1);
	strcpy(body + strlen(body) - 2, "a\"}");
	assert_problem(set(f, body), PROBLEM_KEY_TOO_BIG);
}

/* A value of --max-value is fine, one byte more is not: after decoding. */
static void
test_value_size(void **state)
{
	struct fixture *f = *state;
	char body[8 * MAX_VALUE] = "{\"key\":\"k\",\"value\":\"";

	for (unsigned i = 0; i < MAX_VALUE; i++)
		strcat(body, "\\u0061");
	strcat(body, "\"}");
	assert_int_equal(set(f, body)->status, 200);
	assert_int_equal(get(f, "key=k")->body.len, MAX_VALUE);
	strcpy(body + strlen(body) - 2, "a\"}");
	assert_problem(set(f, body), PROBLEM_VALUE_TOO_BIG);
	assert_int_equal(get(f, "key=k")->body.len, MAX_VALUE);
}

/* What can be told from the head is told before a body is read. */
static void
test_refused_from_the_head(void **state)
{
	struct fixture *f = *state;
	char length[64];
	struct {
		const char *method, *path, *length;
		enum api_problem want;
	} table[] = {
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set", length,
		  PROBLEM_BODY_TOO_BIG },
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set",
		  "CONTENT_LENGTH=99999999999999999999", PROBLEM_BODY_TOO_BIG },
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set",
		  "CONTENT_LENGTH=", PROBLEM_LENGTH_REQUIRED },
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set",
		  "X=", PROBLEM_LENGTH_REQUIRED },
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set", "CONTENT_LENGTH=x",
		  PROBLEM_LENGTH_INVALID },
		{ "REQUEST_METHOD=GET", "SCRIPT_NAME=/get", "CONTENT_LENGTH=1",
		  PROBLEM_BODY_UNEXPECTED },
		{ "REQUEST_METHOD=DELETE", "SCRIPT_NAME=/del",
		  "CONTENT_LENGTH=1", PROBLEM_BODY_UNEXPECTED },
		{ "REQUEST_METHOD=PUT", "SCRIPT_NAME=/set", "CONTENT_LENGTH=1",
		  PROBLEM_METHOD_NOT_ALLOWED },
		{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/nothing",
		  "CONTENT_LENGTH=1", PROBLEM_NO_ENDPOINT },
	};

	snprintf(length, sizeof(length), "CONTENT_LENGTH=%llu",
	         (unsigned long long)api_body_max(f->api) + 1);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_problem(ask(f,
		                   (char *[]){ (char *)table[i].method,
		                               (char *)table[i].path,
		                               (char *)table[i].length, NULL },
		                   NULL, 0),
		               table[i].want);
		assert_false(f->accepted);
	}
	/* The largest body that is read holds the largest value. */
	assert_true(api_body_max(f->api) >= 6 * MAX_VALUE + 6 * 1024 + 100);
	/* "0" and "" are no body. */
	assert_problem(ask(f,
	                   (char *[]){ (char *)"REQUEST_METHOD=GET",
	                               (char *)"SCRIPT_NAME=/get",
	                               (char *)"QUERY_STRING=key=a",
	                               (char *)"CONTENT_LENGTH=0", NULL },
	                   NULL, 0),
	               PROBLEM_NOT_FOUND);
}

/* Each endpoint takes its methods only, and Allow names them. */
static void
test_methods(void **state)
{
	static const char *const methods[] = { "GET",      "HEAD",  "POST",
		                               "DELETE",   "PUT",   "OPTIONS",
		                               "PATCH",    "TRACE", "get",
		                               "PROPFIND", "" };
	static const struct {
		const char *path, *allow;
	} endpoints[] = { { "/get", "GET, HEAD" },
		          { "/set", "POST" },
		          { "/del", "DELETE" } };
	struct fixture *f = *state;

	for (size_t e = 0; e < 3; e++) {
		for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]);
		     m++) {
			struct response *res =
				ask_for(f, methods[m], endpoints[e].path, NULL);
			bool allowed = *methods[m] &&
			               strstr(endpoints[e].allow, methods[m]);

			if (allowed) {
				assert_int_not_equal(res->status, 405);
				assert_null(res->allow);
				continue;
			}
			assert_problem(res, PROBLEM_METHOD_NOT_ALLOWED);
			assert_string_equal(res->allow, endpoints[e].allow);
		}
	}
}

/* Other paths are 404, and the detail lists the endpoints. */
static void
test_paths(void **state)
{
	static const char *const paths[] = {
		"/",     "",    "/Get",     "/get/",        "//get",   "/get/x",
		"/gets", "get", "/set/key", "/favicon.ico", "/get%00", "/x/get",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct response *res = ask_for(f, "GET", paths[i], NULL);

		assert_problem(res, PROBLEM_NO_ENDPOINT);
		assert_non_null(memmem(res->body.data, res->body.len,
		                       "GET /get?key=", 13));
		assert_non_null(
			memmem(res->body.data, res->body.len, "POST /set", 9));
		assert_non_null(memmem(res->body.data, res->body.len,
		                       "DELETE /del?key=", 16));
	}
}

/* A CGI program answers wherever it is mounted. */
static void
test_mounted_paths(void **state)
{
	struct fixture *f = *state;

	assert_problem(ask(f,
	                   (char *[]){ (char *)"REQUEST_METHOD=GET",
	                               (char *)"SCRIPT_NAME=/cgi-bin/kv",
	                               (char *)"PATH_INFO=/get",
	                               (char *)"QUERY_STRING=key=a", NULL },
	                   NULL, 0),
	               PROBLEM_NOT_FOUND);
	/* But an endpoint is no mount point. */
	assert_problem(ask(f,
	                   (char *[]){ (char *)"REQUEST_METHOD=GET",
	                               (char *)"SCRIPT_NAME=/set",
	                               (char *)"PATH_INFO=/get",
	                               (char *)"QUERY_STRING=key=a", NULL },
	                   NULL, 0),
	               PROBLEM_NO_ENDPOINT);
}

/* Requests that the guard refuses change nothing, and tell nothing. */
static void
test_guarded(void **state)
{
	static const struct {
		const char *host, *origin;
		enum api_problem want;
	} table[] = {
		{ "HTTP_HOST=evil.example", "X=", PROBLEM_HOST_UNKNOWN },
		{ "HTTP_HOST=localhost:8081",
		  "HTTP_ORIGIN=https://evil.example", PROBLEM_CROSS_SITE },
		{ "HTTP_HOST=localhost:8081", "HTTP_SEC_FETCH_SITE=cross-site",
		  PROBLEM_CROSS_SITE },
	};
	struct fixture *f = *state;

	fake_engine_put(f->engine, "k", "v", ENTRY_TEXT);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		static const struct {
			const char *method, *path, *length;
		} requests[] = {
			{ "REQUEST_METHOD=GET", "SCRIPT_NAME=/get", "X=" },
			{ "REQUEST_METHOD=DELETE", "SCRIPT_NAME=/del", "X=" },
			{ "REQUEST_METHOD=POST", "SCRIPT_NAME=/set",
			  "CONTENT_LENGTH=23" },
			{ "REQUEST_METHOD=GET", "SCRIPT_NAME=/none", "X=" },
		};

		for (size_t j = 0; j < 4; j++) {
			struct response *res =
				ask(f,
			            (char *[]){ (char *)requests[j].method,
			                        (char *)requests[j].path,
			                        (char *)requests[j].length,
			                        (char *)table[i].host,
			                        (char *)table[i].origin,
			                        (char *)"QUERY_STRING=key=k",
			                        NULL },
			            NULL, 0);

			assert_problem(res, table[i].want);
			assert_false(f->accepted);
			assert_null(res->allow_origin);
		}
	}
	assert_int_equal(fake_engine_calls(f->engine), 0);
}

/* An allowed origin may read answers and problems alike. */
static void
test_allowed_origin(void **state)
{
	struct fixture *f = *state;
	struct response *res;

	fake_engine_put(f->engine, "k", "v", ENTRY_TEXT);
	for (int i = 0; i < 3; i++) {
		static const char *const queries[] = { "QUERY_STRING=key=k",
			                               "QUERY_STRING=key=x",
			                               "QUERY_STRING=" };

		res = ask(f,
		          (char *[]){ (char *)"REQUEST_METHOD=GET",
		                      (char *)"SCRIPT_NAME=/get",
		                      (char *)"HTTP_HOST=localhost",
		                      (char *)"HTTP_ORIGIN=https://app.example",
		                      (char *)queries[i], NULL },
		          NULL, 0);
		assert_int_equal(res->status, i == 0   ? 200
		                              : i == 1 ? 404
		                                       : 400);
		assert_string_equal(res->allow_origin, "https://app.example");
	}
	res = get(f, "key=k");
	assert_null(res->allow_origin);
}

/* Each failure of the engine is the answer that its table says. */
static void
test_engine_failures(void **state)
{
	static const struct {
		int code, status;
		const char *word;
		unsigned retry_after_s;
	} table[] = {
		{ LSMKV_ECORRUPT, 500, "corrupt", 0 },
		{ LSMKV_EUNKNOWN, 500, "outcome_unknown", 0 },
		{ LSMKV_EIO, 500, "io", 0 },
		{ LSMKV_ENOSPC, 507, "disk_full", 0 },
		{ LSMKV_EROFS, 503, "read_only", 60 },
		{ LSMKV_ESTALLED, 503, "stalled", 1 },
		{ LSMKV_EFAILED, 503, "failed", 60 },
		{ LSMKV_ESHUTDOWN, 503, "shutting_down", 1 },
		{ LSMKV_ENOMEM, 503, "no_memory", 1 },
		{ LSMKV_EINVAL, 500, "internal", 0 },
	};
	struct fixture *f = *state;

	fake_engine_put(f->engine, "k", "v", ENTRY_TEXT);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum api_problem problem = api_problem_of(table[i].code);

		assert_string_equal(api_problem_word(problem), table[i].word);
		assert_int_equal(api_problem_status(problem), table[i].status);
		fake_engine_fail_reads(f->engine, table[i].code);
		assert_problem(get(f, "key=k"), problem);
		fake_engine_fail_reads(f->engine, 0);
		fake_engine_fail_writes(f->engine, table[i].code);
		assert_problem(set(f, "{\"key\":\"k\",\"value\":1}"), problem);
		assert_int_equal(f->response.retry_after_s,
		                 table[i].retry_after_s);
		assert_problem(del(f, "key=k"), problem);
		/* Reads go on. */
		assert_value(get(f, "key=k"), "v", TEXT_TYPE, 1);
		fake_engine_fail_writes(f->engine, 0);
	}
	assert_int_equal(fake_engine_count(f->engine), 1);
}

/* ---- several writes in one step ---- */

struct several {
	struct fixture *fixture;
	struct request request[16];
	struct response response[16];
	struct api_call call[16], *calls[16];
	size_t count;
};

/* Begins a set of key, or a del if value is NULL. */
static void
begin(struct several *s, const char *key, const char *value)
{
	struct request *r = &s->request[s->count];
	struct response *res = &s->response[s->count];
	struct api_call *call = &s->call[s->count];
	char query[64], body[128], length[64];
	char *const env[] = {
		value ? (char *)"REQUEST_METHOD=POST"
		      : (char *)"REQUEST_METHOD=DELETE",
		value ? (char *)"SCRIPT_NAME=/set" : (char *)"SCRIPT_NAME=/del",
		(char *)"HTTP_HOST=localhost",
		value ? length : query,
		NULL,
	};

	snprintf(query, sizeof(query), "QUERY_STRING=key=%s", key);
	snprintf(body, sizeof(body), "{\"key\":\"%s\",\"value\":\"%s\"}", key,
	         value ? value : "");
	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", strlen(body));
	request_read_env(r, env);
	assert_true(api_accepts(s->fixture->api, r, res));
	if (value)
		buf_set(&r->body, slice_str(body), NULL);
	assert_true(api_begin(s->fixture->api, r, res, call));
	s->calls[s->count++] = call;
}

/* Writes them, and tells how often the engine was asked. */
static unsigned
write_several(struct several *s)
{
	unsigned before = fake_engine_calls(s->fixture->engine);

	api_write(s->fixture->api, s->calls, s->count);
	return fake_engine_calls(s->fixture->engine) - before;
}

static void
release_several(struct several *s)
{
	for (size_t i = 0; i < s->count; i++) {
		request_release(&s->request[i]);
		response_release(&s->response[i]);
		api_call_release(&s->call[i]);
	}
}

/* Requests that write together share one write, and are answered alone. */
static void
test_several_writes(void **state)
{
	struct fixture *f = *state;
	struct several s = { .fixture = f };

	fake_engine_put(f->engine, "old", "1", ENTRY_JSON);
	begin(&s, "a", "x");
	begin(&s, "old", NULL);
	begin(&s, "a", "y");
	assert_int_equal(write_several(&s), 1);
	assert_int_equal(s.response[0].status, 200);
	assert_int_equal(s.response[0].version, 2);
	assert_int_equal(s.response[0].body.len, 0);
	assert_value(&s.response[1], "1", JSON_TYPE, 1);
	assert_int_equal(s.response[2].version, 4);
	assert_value(get(f, "key=a"), "y", TEXT_TYPE, 4);
	assert_problem(get(f, "key=old"), PROBLEM_NOT_FOUND);
	release_several(&s);
}

/* A del of what is not there asks the engine to write nothing. */
static void
test_del_of_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned before = fake_engine_calls(f->engine);

	assert_problem(del(f, "key=absent"), PROBLEM_NOT_FOUND);
	assert_int_equal(fake_engine_calls(f->engine), before + 1);
	fake_engine_fail_writes(f->engine, LSMKV_EFAILED);
	assert_problem(del(f, "key=absent"), PROBLEM_NOT_FOUND);
	fake_engine_fail_writes(f->engine, 0);
}

/* A del of what is gone by then is a 404 for itself and nothing to others. */
static void
test_several_with_absent_keys(void **state)
{
	struct fixture *f = *state;
	struct several s = { .fixture = f };

	fake_engine_put(f->engine, "there", "1", ENTRY_TEXT);
	fake_engine_put(f->engine, "absent", "1", ENTRY_TEXT);
	fake_engine_put(f->engine, "gone", "1", ENTRY_TEXT);
	begin(&s, "absent", NULL);
	begin(&s, "a", "x");
	begin(&s, "there", NULL);
	begin(&s, "gone", NULL);
	begin(&s, "b", "y");
	/* Others were faster. */
	del(f, "key=absent");
	del(f, "key=gone");
	write_several(&s);
	assert_problem(&s.response[0], PROBLEM_NOT_FOUND);
	assert_int_equal(s.response[1].status, 200);
	assert_value(&s.response[2], "1", TEXT_TYPE, 1);
	assert_problem(&s.response[3], PROBLEM_NOT_FOUND);
	assert_int_equal(s.response[4].status, 200);
	assert_int_equal(fake_engine_count(f->engine), 2);
	release_several(&s);
}

/* A set that came behind a del stays behind it, whatever falls out. */
static void
test_several_keep_their_order(void **state)
{
	struct fixture *f = *state;
	struct several s = { .fixture = f };

	fake_engine_put(f->engine, "k", "1", ENTRY_TEXT);
	fake_engine_put(f->engine, "absent", "1", ENTRY_TEXT);
	begin(&s, "absent", NULL);
	begin(&s, "k", NULL);
	begin(&s, "k", "2");
	del(f, "key=absent");
	write_several(&s);
	assert_problem(&s.response[0], PROBLEM_NOT_FOUND);
	assert_value(&s.response[1], "1", TEXT_TYPE, 1);
	assert_int_equal(s.response[2].status, 200);
	assert_value(get(f, "key=k"), "2", TEXT_TYPE, s.response[2].version);
	release_several(&s);
}

/* What only one of them meets is told to nobody else. */
static void
test_several_with_one_bad(void **state)
{
	struct fixture *f = *state;
	struct several s = { .fixture = f };

	fake_engine_put(f->engine, "bad", "1", ENTRY_TEXT);
	fake_engine_put(f->engine, "good", "2", ENTRY_TEXT);
	fake_engine_fail_key(f->engine, "bad", LSMKV_ECORRUPT);
	begin(&s, "a", "x");
	begin(&s, "bad", NULL);
	begin(&s, "good", NULL);
	write_several(&s);
	assert_int_equal(s.response[0].status, 200);
	assert_problem(&s.response[1], PROBLEM_CORRUPT);
	assert_value(&s.response[2], "2", TEXT_TYPE, 2);
	assert_value(get(f, "key=a"), "x", TEXT_TYPE, s.response[0].version);
	release_several(&s);
}

/* What all of them meet is told to all, and not tried again. */
static void
test_several_that_fail(void **state)
{
	static const int codes[] = { LSMKV_ESTALLED, LSMKV_EFAILED,
		                     LSMKV_EUNKNOWN, LSMKV_ESHUTDOWN };
	struct fixture *f = *state;

	fake_engine_put(f->engine, "b", "1", ENTRY_TEXT);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct several s = { .fixture = f };

		fake_engine_fail_writes(f->engine, codes[i]);
		begin(&s, "a", "x");
		begin(&s, "b", NULL);
		assert_int_equal(write_several(&s), 1);
		for (size_t k = 0; k < s.count; k++)
			assert_problem(&s.response[k],
			               api_problem_of(codes[i]));
		release_several(&s);
	}
}

/* Those of one key have their outcomes in the order in which they came. */
static void
test_several_that_meet(void **state)
{
	struct fixture *f = *state;
	struct several s = { .fixture = f };

	fake_engine_put(f->engine, "a", "1", ENTRY_TEXT);
	fake_engine_put(f->engine, "b", "2", ENTRY_TEXT);
	begin(&s, "a", "x");
	begin(&s, "a", NULL); /* begins a batch: it sees the one before */
	begin(&s, "b", NULL);
	begin(&s, "a", "y");
	begin(&s, "b", "z");
	begin(&s, "b", NULL); /* the same */
	begin(&s, "a", NULL);
	begin(&s, "a", NULL); /* the same, and finds nothing */
	begin(&s, "b", "last");
	assert_true(write_several(&s) >= 4);
	assert_int_equal(s.response[0].status, 200);
	assert_body(&s.response[1], "x");
	assert_body(&s.response[2], "2");
	assert_int_equal(s.response[3].status, 200);
	assert_int_equal(s.response[4].status, 200);
	assert_body(&s.response[5], "z");
	assert_body(&s.response[6], "y");
	assert_problem(&s.response[7], PROBLEM_NOT_FOUND);
	assert_int_equal(s.response[8].status, 200);
	assert_int_equal(fake_engine_count(f->engine), 1);
	release_several(&s);
}

/* Every problem has a word of its own, a 4xx or 5xx, and a usual detail. */
static void
test_problem_table(void **state)
{
	struct response res = { 0 };

	(void)state;
	for (int p = PROBLEM_NONE + 1; p < PROBLEM_COUNT; p++) {
		int status = api_problem_status((enum api_problem)p);

		assert_in_range(status, 400, 599);
		assert_string_not_equal(response_reason(status), "Unknown");
		api_problem_set(&res, (enum api_problem)p, NULL);
		assert_problem(&res, (enum api_problem)p);
		assert_int_equal(res.retry_after_s != 0, status == 503);
		for (int q = PROBLEM_NONE + 1; q < p; q++)
			assert_string_not_equal(
				api_problem_word((enum api_problem)p),
				api_problem_word((enum api_problem)q));
	}
	response_release(&res);
}

/* doc/api.md has a row for every problem, with its status. */
static void
test_problems_are_documented(void **state)
{
	const char *top = getenv("LSMKV_SRCDIR");
	char *dir = NULL, *text, row[64];
	size_t len = 0;

	(void)state;
	assert_true(asprintf(&dir, "%s/doc", top ? top : ".") > 0);
	text = (char *)tmpdir_read(dir, "api.md", &len);
	for (int p = PROBLEM_NONE + 1; p < PROBLEM_COUNT; p++) {
		snprintf(row, sizeof(row), "\n| %d | `%s` | ",
		         api_problem_status((enum api_problem)p),
		         api_problem_word((enum api_problem)p));
		if (!strstr(text, row))
			fail_msg("not in doc/api.md: %s", row + 1);
	}
	free(text);
	free(dir);
}

/* A detail with anything in it is still JSON. */
static void
test_problem_detail(void **state)
{
	struct response res = { 0 };
	struct json_object *o = NULL, *member = NULL;
	const char *detail = "a \"quoted\" \\ \x01\n \xc3\xa9 </script>";

	(void)state;
	api_problem_set(&res, PROBLEM_INTERNAL, detail);
	buf_append(&res.memory, "", 1, NULL);
	o = json_tokener_parse((const char *)res.memory.data);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "detail", &member));
	assert_string_equal(json_object_get_string(member), detail);
	json_object_put(o);
	response_release(&res);
}

/* Runs a CGI request with input on stdin; the answer is in out. */
static void
run_cgi(struct fixture *f, char *const *env, const char *input,
        const struct err *failure, char *out, size_t out_size)
{
	int in[2], answer[2];
	ssize_t n;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(answer), 0);
	assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
	close(in[1]);
	assert_int_equal(
		cgi_answer(f->api, env, in[0], answer[1], failure, NULL), 0);
	close(answer[1]);
	n = read(answer[0], out, out_size - 1);
	assert_true(n > 0);
	out[n] = '\0';
	close(in[0]);
	close(answer[0]);
}

#define CGI_SET                                                                \
	(char *)"REQUEST_METHOD=POST", (char *)"SCRIPT_NAME=/set",             \
		(char *)"CONTENT_LENGTH=23"

/* A CGI request takes its body from stdin and answers on stdout. */
static void
test_cgi(void **state)
{
	struct fixture *f = *state;
	char out[2048];

	run_cgi(f, (char *[]){ CGI_SET, NULL },
	        "{\"key\":\"k\",\"value\":\"v\"}", NULL, out, sizeof(out));
	assert_true(!strncmp(out, "Status: 200 OK\r\n", 16));
	assert_non_null(strstr(out, "\r\nETag: \"1\"\r\n"));
	run_cgi(f,
	        (char *[]){ (char *)"REQUEST_METHOD=GET",
	                    (char *)"SCRIPT_NAME=/get",
	                    (char *)"QUERY_STRING=key=k", NULL },
	        "", NULL, out, sizeof(out));
	assert_non_null(strstr(out, "\r\n\r\nv"));
}

/* A body shorter than its length does nothing. */
static void
test_cgi_short_body(void **state)
{
	struct fixture *f = *state;
	char out[2048];

	run_cgi(f, (char *[]){ CGI_SET, NULL }, "{\"key\":\"k\",\"value\":1}",
	        NULL, out, sizeof(out));
	assert_non_null(strstr(out, "\"body_incomplete\""));
	assert_int_equal(fake_engine_calls(f->engine), 0);
}

/* A store that cannot be opened is told, but a bad request first. */
static void
test_cgi_without_store(void **state)
{
	struct fixture *f = *state;
	struct err locked = { LSMKV_ELOCKED, "process 7 has it" };
	char out[2048];

	run_cgi(f, (char *[]){ CGI_SET, NULL },
	        "{\"key\":\"k\",\"value\":\"v\"}", &locked, out, sizeof(out));
	assert_true(!strncmp(out, "Status: 503 ", 12));
	assert_non_null(strstr(out, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(out, "\"locked\""));
	assert_int_equal(fake_engine_calls(f->engine), 0);
	run_cgi(f, (char *[]){ (char *)"SCRIPT_NAME=/nothing", NULL }, "",
	        &locked, out, sizeof(out));
	assert_true(!strncmp(out, "Status: 404 ", 12));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_set_get_del),
		TEST(test_del_of_nothing),
		TEST(test_replace),
		TEST(test_content_types),
		TEST(test_head),
		TEST(test_spellings_of_a_key),
		TEST(test_query_rules),
		TEST(test_body_key_rules),
		TEST(test_key_size),
		TEST(test_value_size),
		TEST(test_refused_from_the_head),
		TEST(test_methods),
		TEST(test_paths),
		TEST(test_mounted_paths),
		TEST(test_guarded),
		TEST(test_allowed_origin),
		TEST(test_engine_failures),
		TEST(test_several_writes),
		TEST(test_several_with_absent_keys),
		TEST(test_several_keep_their_order),
		TEST(test_several_with_one_bad),
		TEST(test_several_that_fail),
		TEST(test_several_that_meet),
		TEST(test_problem_table),
		TEST(test_problems_are_documented),
		TEST(test_problem_detail),
		TEST(test_cgi),
		TEST(test_cgi_short_body),
		TEST(test_cgi_without_store),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
