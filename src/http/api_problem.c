/* SPDX-License-Identifier: ISC */
/* Problem bodies; see api_problem.h. */
#include <assert.h>
#include <json-c/json.h>

#include "http/api_problem.h"
#include "http/text.h"

static const struct {
	int status;
	unsigned retry_after_s; /* 0: none */
	const char *word;
	const char *detail;
} problems[PROBLEM_COUNT] = {
#define X(name, status, retry, word, detail)                                   \
	[PROBLEM_##name] = { status, retry, word, detail },
	API_PROBLEMS(X)
#undef X
};

const char *
api_problem_word(enum api_problem problem)
{
	assert(problem > PROBLEM_NONE && problem < PROBLEM_COUNT);
	return problems[problem].word;
}

int
api_problem_status(enum api_problem problem)
{
	assert(problem > PROBLEM_NONE && problem < PROBLEM_COUNT);
	return problems[problem].status;
}

enum api_problem
api_problem_of(int code)
{
	/* No default: a new code is to fail to compile here. */
	switch ((enum lsmkv_code)code) {
	case LSMKV_NOTFOUND:
		return PROBLEM_NOT_FOUND;
	case LSMKV_CONFLICT:
		return PROBLEM_CONFLICT;
	case LSMKV_EIO:
		return PROBLEM_IO;
	case LSMKV_ENOMEM:
		return PROBLEM_NO_MEMORY;
	case LSMKV_ENOSPC:
		return PROBLEM_DISK_FULL;
	case LSMKV_EROFS:
		return PROBLEM_READ_ONLY;
	case LSMKV_ECORRUPT:
	case LSMKV_EVERSION:
		return PROBLEM_CORRUPT;
	case LSMKV_ETOOBIG:
		return PROBLEM_VALUE_TOO_BIG;
	case LSMKV_ELOCKED:
		return PROBLEM_LOCKED;
	case LSMKV_ESTALLED:
		return PROBLEM_STALLED;
	case LSMKV_EFAILED:
		return PROBLEM_FAILED;
	case LSMKV_EUNKNOWN:
		return PROBLEM_OUTCOME_UNKNOWN;
	case LSMKV_ESHUTDOWN:
		return PROBLEM_SHUTTING_DOWN;
	case LSMKV_OK:
	case LSMKV_END:
	case LSMKV_EINVAL:
	case LSMKV_ECHILD:
		break;
	}
	return PROBLEM_INTERNAL;
}

/* Adds a member and consumes value, also when there is no memory. */
static bool
add(struct json_object *object, const char *name, struct json_object *value)
{
	if (value && !json_object_object_add(object, name, value))
		return true;
	json_object_put(value);
	return false;
}

void
api_problem_set(struct response *r, enum api_problem problem,
                const char *detail)
{
	struct json_object *object = NULL;
	const char *text = NULL;
	size_t len = 0;
	int status = api_problem_status(problem);

	if (!detail)
		detail = problems[problem].detail;
	assert(text_utf8_error(slice_str(detail)) == strlen(detail));

	response_reset(r);
	r->status = status;
	r->retry_after_s = problems[problem].retry_after_s;
	r->content_type = "application/problem+json";

	object = json_object_new_object();
	if (object &&
	    add(object, "type", json_object_new_string("about:blank")) &&
	    add(object, "title",
	        json_object_new_string(response_reason(status))) &&
	    add(object, "status", json_object_new_int(status)) &&
	    add(object, "code",
	        json_object_new_string(problems[problem].word)) &&
	    add(object, "detail", json_object_new_string(detail)))
		text = json_object_to_json_string_length(
			object,
			JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
			&len);
	if (text && !buf_set(&r->memory, slice_make(text, len), NULL))
		r->body = buf_slice(&r->memory);
	else
		r->content_type = NULL; /* the status alone must do */
	json_object_put(object);
}
