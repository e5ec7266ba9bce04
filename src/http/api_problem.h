/* SPDX-License-Identifier: ISC */
/*
 * Every error that lsmkv answers: the one table of problem codes, which
 * doc/api.md explains, and their bodies (RFC 9457, application/problem+json).
 * The word is for programs and never changes; the detail is for people.
 */
#ifndef LSMKV_HTTP_API_PROBLEM_H
#define LSMKV_HTTP_API_PROBLEM_H

#include "http/message.h"

/* code, status, seconds for Retry-After (0: none), word, usual detail */
#define API_PROBLEMS(X)                                                        \
	X(KEY_MISSING, 400, 0, "key_missing", "the request names no key")      \
	X(KEY_TWICE, 400, 0, "key_twice", "the key is given twice")            \
	X(KEY_INVALID, 400, 0, "key_invalid",                                  \
	  "a key is 1 to 1024 bytes of UTF-8 without control characters")      \
	X(VALUE_MISSING, 400, 0, "value_missing",                              \
	  "the body has no member \"value\"; to remove a key use DELETE "      \
	  "/del?key=KEY")                                                      \
	X(VALUE_TWICE, 400, 0, "value_twice",                                  \
	  "the body has two members \"value\"")                                \
	X(MEMBER_UNKNOWN, 400, 0, "member_unknown",                            \
	  "the body has a member that is not known")                           \
	X(PARAMETER_UNKNOWN, 400, 0, "parameter_unknown",                      \
	  "the query string has a parameter that is not known")                \
	X(QUERY_INVALID, 400, 0, "query_invalid",                              \
	  "the query string is not well percent-encoded")                      \
	X(JSON_INVALID, 400, 0, "json_invalid", "the body is not JSON")        \
	X(JSON_DEPTH, 400, 0, "json_depth",                                    \
	  "the body is nested deeper than 64 levels")                          \
	X(UTF8_INVALID, 400, 0, "utf8_invalid", "the body is not UTF-8")       \
	X(BODY_INCOMPLETE, 400, 0, "body_incomplete",                          \
	  "the body is not as long as its Content-Length says; nothing was "   \
	  "done")                                                              \
	X(BODY_UNEXPECTED, 400, 0, "body_unexpected",                          \
	  "this request takes its key from the query string; send no body")    \
	X(LENGTH_INVALID, 400, 0, "length_invalid",                            \
	  "Content-Length is not a number")                                    \
	X(CROSS_SITE, 403, 0, "cross_site",                                    \
	  "a page of another site sent this request; start lsmkv.fcgi with "   \
	  "--allow-origin to let that site in")                                \
	X(NOT_FOUND, 404, 0, "not_found", "there is no such key")              \
	X(NO_ENDPOINT, 404, 0, "no_endpoint",                                  \
	  "there is nothing here; the endpoints are GET /get?key=KEY, POST "   \
	  "/set with a body {\"key\":KEY,\"value\":VALUE}, and DELETE "        \
	  "/del?key=KEY")                                                      \
	X(METHOD_NOT_ALLOWED, 405, 0, "method_not_allowed",                    \
	  "this endpoint does not take that method")                           \
	X(LENGTH_REQUIRED, 411, 0, "length_required",                          \
	  "send the body with a Content-Length")                               \
	X(CONFLICT, 412, 0, "conflict",                                        \
	  "a condition of the write does not hold; nothing was written")       \
	X(BODY_TOO_BIG, 413, 0, "body_too_big", "the body is over its limit")  \
	X(KEY_TOO_BIG, 413, 0, "key_too_big", "a key is at most 1024 bytes")   \
	X(VALUE_TOO_BIG, 413, 0, "value_too_big",                              \
	  "the value is over its limit (--max-value)")                         \
	X(HOST_UNKNOWN, 421, 0, "host_unknown",                                \
	  "Host is not a name of this store; use an IP address, localhost "    \
	  "or the machine's name, or start lsmkv.fcgi with --host NAME")       \
	X(CORRUPT, 500, 0, "corrupt",                                          \
	  "a stored file that this key leads to is damaged; the log says "     \
	  "which, and `lsmkv verify` checks them all")                         \
	X(OUTCOME_UNKNOWN, 500, 0, "outcome_unknown",                          \
	  "the disk failed while this write was under way; after a restart "   \
	  "it is there as a whole or not at all")                              \
	X(IO, 500, 0, "io", "a system call failed; the log says which")        \
	X(INTERNAL, 500, 0, "internal",                                        \
	  "lsmkv made a mistake; the log says more")                           \
	X(STALLED, 503, 1, "stalled",                                          \
	  "writes wait for the disk to catch up; try again")                   \
	X(FAILED, 503, 60, "failed",                                           \
	  "an earlier write failed for good: reads go on, writes need a "      \
	  "restart; the log says why")                                         \
	X(READ_ONLY, 503, 60, "read_only",                                     \
	  "the file system is read-only: reads go on, writes do not")          \
	X(NO_MEMORY, 503, 1, "no_memory",                                      \
	  "there was no memory for this request; try again")                   \
	X(SHUTTING_DOWN, 503, 1, "shutting_down",                              \
	  "the store is shutting down; try again")                             \
	X(LOCKED, 503, 1, "locked",                                            \
	  "another process has the store open; a store that is used by more "  \
	  "than one request at a time needs FastCGI instead of CGI")           \
	X(DISK_FULL, 507, 0, "disk_full",                                      \
	  "the disk is full: reads go on, and writes work again once there "   \
	  "is room")

enum api_problem {
	PROBLEM_NONE,
#define X(name, status, retry, word, detail) PROBLEM_##name,
	API_PROBLEMS(X)
#undef X
		PROBLEM_COUNT,
};

/* The stable word and the HTTP status of a problem but PROBLEM_NONE. */
const char *api_problem_word(enum api_problem problem);
int api_problem_status(enum api_problem problem);
/* What an outcome of the engine is over HTTP; code is not LSMKV_OK. */
enum api_problem api_problem_of(int code);

/*
 * Makes r the answer that tells of problem; detail replaces the usual one
 * unless it is NULL.
 */
void api_problem_set(struct response *r, enum api_problem problem,
                     const char *detail);

#endif
