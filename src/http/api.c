/* SPDX-License-Identifier: ISC */
/* The endpoints; see api.h, and doc/api.md for the contract. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/api.h"
#include "http/api_json.h"
#include "http/guard.h"
#include "http/query.h"
#include "http/text.h"

#define DETAIL_MAX 320
#define LOG_PAUSE_NS (10ull * 1000 * 1000 * 1000)

struct api {
	struct engine *engine; /* borrowed; NULL if it cannot be opened */
	uint64_t max_value_bytes;
	struct guard guard;
	/* For each problem, the monotonic time before which the next one of
	   its kind is counted instead of logged, */
	_Atomic uint64_t quiet_until_ns[PROBLEM_COUNT];
	_Atomic uint64_t unlogged[PROBLEM_COUNT]; /* and that count */
};

struct endpoint {
	const char *path;
	unsigned methods;  /* enum request_method, or'ed */
	const char *allow; /* the same as text */
	bool takes_body;
	void (*answer)(struct api *a, struct request *r, struct response *res);
};

static void answer_get(struct api *a, struct request *r, struct response *res);
static void answer_set(struct api *a, struct request *r, struct response *res);
static void answer_del(struct api *a, struct request *r, struct response *res);

static const struct endpoint endpoints[] = {
	{ "/get", METHOD_GET | METHOD_HEAD, "GET, HEAD", false, answer_get },
	{ "/set", METHOD_POST, "POST", true, answer_set },
	{ "/del", METHOD_DELETE, "DELETE", false, answer_del },
};

static const struct endpoint *
find_path(const char *path)
{
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
		if (!strcmp(path, endpoints[i].path))
			return &endpoints[i];
	return NULL;
}

static const struct endpoint *
find_endpoint(const struct request *r)
{
	const struct endpoint *e = find_path(r->path);

	/* A CGI program may be mounted anywhere: /cgi-bin/lsmkv.fcgi/get. */
	if (!e && !find_path(r->script_name))
		e = find_path(r->path_info);
	return e;
}

/* Answers with what went wrong in the engine, and tells the log if it must. */
static void
engine_problem(struct api *a, const struct request *r, struct response *res,
               int code, const struct err *err)
{
	enum api_problem problem = api_problem_of(code);
	uint64_t now, until;

	api_problem_set(res, problem, NULL);
	if (api_problem_status(problem) < 500)
		return;
	now = clock_mono_ns();
	until = atomic_load(&a->quiet_until_ns[problem]);
	if (now >= until &&
	    atomic_compare_exchange_strong(&a->quiet_until_ns[problem], &until,
	                                   now + LOG_PAUSE_NS)) {
		uint64_t more = atomic_exchange(&a->unlogged[problem], 0);

		log_error("%s: %d %s: %s", r->path, res->status,
		          api_problem_word(problem), err->message);
		if (more)
			log_error("%s: %" PRIu64 " more since the last line",
			          api_problem_word(problem), more);
	} else {
		atomic_fetch_add(&a->unlogged[problem], 1);
	}
}

/* Is key one? If not, res says why. */
static bool
check_key(struct slice key, struct response *res)
{
	if (key.len > TEXT_KEY_MAX) {
		char detail[DETAIL_MAX];

		snprintf(detail, sizeof(detail),
		         "a key is at most %u bytes; this one has %zu",
		         TEXT_KEY_MAX, key.len);
		api_problem_set(res, PROBLEM_KEY_TOO_BIG, detail);
		return false;
	}
	if (!key.len)
		api_problem_set(res, PROBLEM_KEY_INVALID,
		                "the key is empty; a key is 1 to 1024 bytes");
	else if (text_utf8_error(key) < key.len)
		api_problem_set(res, PROBLEM_KEY_INVALID,
		                "the key is not UTF-8");
	else if (text_has_control(key))
		api_problem_set(res, PROBLEM_KEY_INVALID,
		                "the key has a control character");
	else
		return true;
	return false;
}

/*
 * Reads the query string, which is to hold one key and nothing else, into
 * key. False: res says why not. Uses the body's memory for names.
 */
static bool
read_query_key(struct request *r, struct buf *key, struct response *res)
{
	struct query query = query_make(r->query);
	struct buf value = BUF_INIT;
	struct err err = ERR_INIT;
	char shown[64], detail[DETAIL_MAX];
	bool found = false, ok = false;
	int rc;

	for (;;) {
		rc = query_next(&query, &r->body, &value, &err);
		if (rc)
			break;
		if (!slice_equal(buf_slice(&r->body), slice_str("key"))) {
			snprintf(detail, sizeof(detail),
			         "the parameter \"%s\" is not known; the only "
			         "one is \"key\"",
			         slice_printable(buf_slice(&r->body), shown,
			                         sizeof(shown)));
			api_problem_set(res, PROBLEM_PARAMETER_UNKNOWN, detail);
			goto out;
		}
		if (found) {
			api_problem_set(res, PROBLEM_KEY_TWICE,
			                "the query string has two keys");
			goto out;
		}
		found = true;
		rc = buf_set(key, buf_slice(&value), &err);
		if (rc)
			break;
	}
	if (rc == LSMKV_EINVAL) {
		api_problem_set(res, PROBLEM_QUERY_INVALID, err.message);
	} else if (rc != LSMKV_END) {
		api_problem_set(res, PROBLEM_NO_MEMORY, NULL);
	} else if (!found) {
		snprintf(detail, sizeof(detail),
		         "the query string names no key; write %s?key=KEY",
		         find_endpoint(r)->path);
		api_problem_set(res, PROBLEM_KEY_MISSING, detail);
	} else {
		ok = check_key(buf_slice(key), res);
	}
out:
	buf_release(&value);
	return ok;
}

/* Makes res, whose memory holds a value, the answer that carries it. */
static void
answer_value(struct response *res, const struct entry_info *info)
{
	switch (info->kind) {
	case ENTRY_TEXT:
		res->content_type = "text/plain; charset=utf-8";
		break;
	case ENTRY_JSON:
		res->content_type = "application/json";
		break;
	case ENTRY_BYTES:
	case ENTRY_TOMBSTONE:
		res->content_type = "application/octet-stream";
		break;
	}
	res->version = info->version;
	res->body = buf_slice(&res->memory);
}

static void
answer_get(struct api *a, struct request *r, struct response *res)
{
	struct buf key = BUF_INIT;
	struct entry_info info = { 0 };
	struct err err = ERR_INIT;
	int rc;

	if (read_query_key(r, &key, res)) {
		rc = engine_get(a->engine, buf_slice(&key), 0, &res->memory,
		                &info, &err);
		if (rc)
			engine_problem(a, r, res, rc, &err);
		else
			answer_value(res, &info);
	}
	buf_release(&key);
}

static void
answer_set(struct api *a, struct request *r, struct response *res)
{
	struct api_json json;
	struct api_pair pair;
	struct op op = { .condition = OP_ALWAYS };
	struct err err = ERR_INIT;
	int rc;

	if (!api_json_begin(&json, &r->body) || !api_json_pair(&json, &pair) ||
	    !api_json_end(&json)) {
		api_problem_set(res, json.problem, json.detail);
		return;
	}
	if (!check_key(pair.key, res))
		return;
	if (pair.value.len > a->max_value_bytes) {
		char detail[DETAIL_MAX];

		snprintf(detail, sizeof(detail),
		         "the value has %zu bytes; --max-value allows %" PRIu64,
		         pair.value.len, a->max_value_bytes);
		api_problem_set(res, PROBLEM_VALUE_TOO_BIG, detail);
		return;
	}
	op.key = pair.key;
	op.value = pair.value;
	op.kind = pair.is_text ? ENTRY_TEXT : ENTRY_JSON;
	rc = engine_write(a->engine, &op, 1, NULL, &err);
	if (rc)
		engine_problem(a, r, res, rc, &err);
	else
		res->version = op.version;
}

static void
answer_del(struct api *a, struct request *r, struct response *res)
{
	struct buf key = BUF_INIT;
	struct op op = {
		.kind = ENTRY_TOMBSTONE,
		.condition = OP_IF_PRESENT,
		.want_old = true,
	};
	struct err err = ERR_INIT;
	int rc;

	if (read_query_key(r, &key, res)) {
		op.key = buf_slice(&key);
		rc = engine_write(a->engine, &op, 1, NULL, &err);
		if (rc == LSMKV_CONFLICT) {
			api_problem_set(res, PROBLEM_NOT_FOUND, NULL);
		} else if (rc) {
			engine_problem(a, r, res, rc, &err);
		} else {
			struct buf spare = res->memory;

			res->memory = op.old;
			op.old = spare;
			answer_value(res, &op.old_info);
		}
	}
	buf_release(&op.old);
	buf_release(&key);
}

int
api_new(struct api **out, struct engine *engine,
        const struct api_options *options, struct err *err)
{
	struct api *a = calloc(1, sizeof(*a));

	*out = a;
	if (!a)
		return err_nomem(err, sizeof(*a));
	a->engine = engine;
	a->max_value_bytes = options->max_value_bytes;
	guard_init(&a->guard, options->hosts, options->origins);
	return 0;
}

void
api_free(struct api *a)
{
	free(a);
}

uint64_t
api_body_max(const struct api *a)
{
	/*
	 * At worst JSON spells every byte of a value as \u00XX, and some write
	 * everything that is not ASCII so.
	 */
	return 6 * a->max_value_bytes + API_BODY_ROOM;
}

/* Refuses a body from its length; false if there is nothing to refuse. */
static bool
refuse_length(const struct api *a, const struct request *r,
              const struct endpoint *e, struct response *res)
{
	char detail[DETAIL_MAX];

	if (r->length_state == LENGTH_BAD) {
		api_problem_set(res, PROBLEM_LENGTH_INVALID, NULL);
		return true;
	}
	if (!e->takes_body) {
		if (r->length)
			api_problem_set(res, PROBLEM_BODY_UNEXPECTED, NULL);
		return r->length != 0;
	}
	if (r->length_state == LENGTH_ABSENT) {
		api_problem_set(res, PROBLEM_LENGTH_REQUIRED, NULL);
		return true;
	}
	if (r->length > api_body_max(a)) {
		snprintf(detail, sizeof(detail),
		         "the body has %" PRIu64 " bytes; with --max-value "
		         "%" PRIu64 " a body has at most %" PRIu64,
		         r->length, a->max_value_bytes, api_body_max(a));
		api_problem_set(res, PROBLEM_BODY_TOO_BIG, detail);
		return true;
	}
	return false;
}

bool
api_accepts(const struct api *a, const struct request *r, struct response *res)
{
	const struct endpoint *e;
	const char *allowed = NULL;
	enum api_problem problem = guard_check(&a->guard, r, &allowed);
	bool accepted = false;

	response_reset(res);
	e = find_endpoint(r);
	if (problem) {
		api_problem_set(res, problem, NULL);
	} else if (!e) {
		api_problem_set(res, PROBLEM_NO_ENDPOINT, NULL);
	} else if (!(r->method & e->methods)) {
		char detail[DETAIL_MAX];

		snprintf(detail, sizeof(detail), "%s takes %s only", e->path,
		         e->allow);
		api_problem_set(res, PROBLEM_METHOD_NOT_ALLOWED, detail);
		res->allow = e->allow;
	} else {
		accepted = !refuse_length(a, r, e, res);
	}
	res->head_only = r->method == METHOD_HEAD;
	res->allow_origin = allowed;
	return accepted;
}

void
api_answer(struct api *a, struct request *r, struct response *res)
{
	const char *allowed = res->allow_origin;

	find_endpoint(r)->answer(a, r, res);
	res->head_only = r->method == METHOD_HEAD;
	res->allow_origin = allowed;
}

void
api_fail(struct api *a, const struct request *r, struct response *res,
         const struct err *err)
{
	const char *allowed = res->allow_origin;

	engine_problem(a, r, res, err->code, err);
	res->head_only = r->method == METHOD_HEAD;
	res->allow_origin = allowed;
}

void
api_refuse_body(const struct request *r, struct response *res)
{
	const struct endpoint *e = find_endpoint(r);
	const char *allowed = res->allow_origin;

	api_problem_set(res,
	                e->takes_body ? PROBLEM_BODY_INCOMPLETE
	                              : PROBLEM_BODY_UNEXPECTED,
	                NULL);
	res->head_only = r->method == METHOD_HEAD;
	res->allow_origin = allowed;
}
