/* SPDX-License-Identifier: ISC */
/* The endpoints; see api.h, and doc/api.md for the contract. */
#include <assert.h>
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
	/* True if call->op is to be written, false if it has answered. */
	bool (*begin)(struct api *a, struct api_call *call);
};

static bool begin_get(struct api *a, struct api_call *call);
static bool begin_set(struct api *a, struct api_call *call);
static bool begin_del(struct api *a, struct api_call *call);

static const struct endpoint endpoints[] = {
	{ "/get", METHOD_GET | METHOD_HEAD, "GET, HEAD", false, begin_get },
	{ "/set", METHOD_POST, "POST", true, begin_set },
	{ "/del", METHOD_DELETE, "DELETE", false, begin_del },
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
	struct err err = ERR_INIT;
	char shown[64], detail[DETAIL_MAX];
	bool found = false;
	int rc;

	for (;; found = true) {
		/* Only the first one gets past what follows. */
		rc = query_next(&query, &r->body, key, &err);
		if (rc)
			break;
		if (!slice_equal(buf_slice(&r->body), slice_str("key"))) {
			snprintf(detail, sizeof(detail),
			         "the parameter \"%s\" is not known; the only "
			         "one is \"key\"",
			         slice_printable(buf_slice(&r->body), shown,
			                         sizeof(shown)));
			api_problem_set(res, PROBLEM_PARAMETER_UNKNOWN, detail);
			return false;
		}
		if (found) {
			api_problem_set(res, PROBLEM_KEY_TWICE,
			                "the query string has two keys");
			return false;
		}
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
		return check_key(buf_slice(key), res);
	}
	return false;
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

/* The value of the query's key, in the response's memory; or false: answered. */
static bool
look_up(struct api *a, struct api_call *call, struct entry_info *info)
{
	struct response *res = call->response;
	int rc;

	if (!read_query_key(call->request, &call->key, res))
		return false;
	rc = engine_get(a->engine, buf_slice(&call->key), 0, &res->memory, info,
	                &call->err);
	if (rc)
		engine_problem(a, call->request, res, rc, &call->err);
	return !rc;
}

static bool
begin_get(struct api *a, struct api_call *call)
{
	struct entry_info info = { 0 };

	if (look_up(a, call, &info))
		answer_value(call->response, &info);
	return false;
}

static bool
begin_set(struct api *a, struct api_call *call)
{
	struct response *res = call->response;
	struct api_json json;
	struct api_pair pair;

	if (!api_json_begin(&json, &call->request->body) ||
	    !api_json_pair(&json, &pair) || !api_json_end(&json)) {
		api_problem_set(res, json.problem, json.detail);
		return false;
	}
	if (!check_key(pair.key, res))
		return false;
	if (pair.value.len > a->max_value_bytes) {
		char detail[DETAIL_MAX];

		snprintf(detail, sizeof(detail),
		         "the value has %zu bytes; --max-value allows %" PRIu64,
		         pair.value.len, a->max_value_bytes);
		api_problem_set(res, PROBLEM_VALUE_TOO_BIG, detail);
		return false;
	}
	call->op = (struct op){
		.key = pair.key,
		.value = pair.value,
		.kind = pair.is_text ? ENTRY_TEXT : ENTRY_JSON,
		.condition = OP_ALWAYS,
	};
	return true;
}

static bool
begin_del(struct api *a, struct api_call *call)
{
	struct response *res = call->response;
	struct entry_info info = { 0 };

	/*
	 * What is not there needs no write; and what is need not be read again
	 * by the engine, and tells the transport how much memory the answer
	 * will take.
	 */
	if (!look_up(a, call, &info))
		return false;
	call->op = (struct op){
		.key = buf_slice(&call->key),
		.kind = ENTRY_TOMBSTONE,
		.condition = OP_IF_PRESENT,
		.want_old = true,
		.known_at = info.moment,
		.old_found = true,
		.old = res->memory,
		.old_info = info,
	};
	res->memory = (struct buf)BUF_INIT;
	return true;
}

/* Must call not be written together with one of those earlier ones? */
static bool
meets(const struct api_call *call, struct api_call *const *earlier,
      size_t count)
{
	/*
	 * Conditions of a batch speak of the state before it: one that depends
	 * on what another writes must come later. Sets never ask.
	 */
	if (call->op.condition == OP_ALWAYS)
		return false;
	for (size_t i = 0; i < count; i++)
		if (slice_equal(call->op.key, earlier[i]->op.key))
			return true;
	return false;
}

/* Is it the outcome of every write at that moment, whatever it writes? */
static bool
is_for_all(int rc)
{
	return rc == LSMKV_ESTALLED || rc == LSMKV_EFAILED ||
	       rc == LSMKV_EUNKNOWN || rc == LSMKV_ESHUTDOWN;
}

/* Those of calls, at most *count, whose key is not there need no write. */
static void
drop_absent(struct api *a, struct api_call **calls, size_t *count)
{
	struct buf value = BUF_INIT;
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		struct entry_info info;

		if (calls[i]->op.condition == OP_IF_PRESENT &&
		    engine_get(a->engine, calls[i]->op.key, 0, &value, &info,
		               NULL) == LSMKV_NOTFOUND)
			calls[i]->rc = LSMKV_CONFLICT;
		else
			calls[kept++] = calls[i];
	}
	*count = kept;
	buf_release(&value);
}

/* Writes calls as one batch, as far as that can be; each gets its rc. */
static void
write_together(struct api *a, struct api_call **calls, size_t count)
{
	struct op ops[API_CALLS_MAX];
	struct err err = ERR_INIT;
	size_t failed = 0;
	int rc;

	while (count) {
		for (size_t i = 0; i < count; i++)
			ops[i] = calls[i]->op;
		rc = engine_write(a->engine, ops, count, &failed, &err);
		for (size_t i = 0; i < count; i++)
			calls[i]->op = ops[i];
		if (rc == LSMKV_CONFLICT) {
			/*
			 * Nothing was written: the others try without it, in
			 * the order they came in. A del looks behind none of
			 * them, and must not come to stand behind a set.
			 */
			calls[failed]->rc = rc;
			count--;
			memmove(&calls[failed], &calls[failed + 1],
			        (count - failed) * sizeof(*calls));
			drop_absent(a, calls, &count);
			continue;
		}
		if (rc && count > 1 && !is_for_all(rc)) {
			/* It may be the fault of one of them. */
			for (size_t i = 0; i < count; i++)
				write_together(a, &calls[i], 1);
			return;
		}
		for (size_t i = 0; i < count; i++) {
			calls[i]->rc = rc;
			if (rc)
				calls[i]->err = err;
		}
		return;
	}
}

/* The answer to a write that is over. */
static void
end_call(struct api *a, struct api_call *call)
{
	struct request *r = call->request;
	struct response *res = call->response;
	const char *allowed = res->allow_origin;

	if (call->op.want_old) {
		res->memory = call->op.old;
		call->op.old = (struct buf)BUF_INIT;
	}
	if (call->rc == LSMKV_CONFLICT) {
		api_problem_set(res, PROBLEM_NOT_FOUND, NULL);
	} else if (call->rc) {
		engine_problem(a, r, res, call->rc, &call->err);
	} else if (call->op.want_old) {
		answer_value(res, &call->op.old_info);
	} else {
		res->version = call->op.version;
	}
	res->allow_origin = allowed;
}

void
api_write(struct api *a, struct api_call *const *calls, size_t count)
{
	struct api_call *left[API_CALLS_MAX];
	size_t n;

	assert(count <= API_CALLS_MAX);
	for (; count; calls += n, count -= n) {
		for (n = 1; n < count && !meets(calls[n], calls, n); n++)
			;
		memcpy(left, calls, n * sizeof(*calls));
		write_together(a, left, n);
		for (size_t i = 0; i < n; i++)
			end_call(a, calls[i]);
	}
}

void
api_call_release(struct api_call *call)
{
	buf_release(&call->key);
	buf_release(&call->op.old);
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

bool
api_begin(struct api *a, struct request *r, struct response *res,
          struct api_call *call)
{
	const char *allowed = res->allow_origin;
	bool writes;

	call->request = r;
	call->response = res;
	writes = find_endpoint(r)->begin(a, call);
	res->head_only = r->method == METHOD_HEAD;
	res->allow_origin = allowed;
	return writes;
}

void
api_answer(struct api *a, struct request *r, struct response *res)
{
	struct api_call call = { .rc = 0 }, *calls[] = { &call };

	if (api_begin(a, r, res, &call))
		api_write(a, calls, 1);
	api_call_release(&call);
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
