/* SPDX-License-Identifier: ISC */
/*
 * The API: endpoints between a plain request and the storage engine.
 *
 *     transport -> api_accepts -> (transport reads the body) -> api_answer
 *
 * What can be refused is refused from the head of the request alone, before
 * a byte of its body is read. An answer always comes out: every failure is a
 * problem body. Server errors are logged here, and only here, and at most
 * once in ten seconds of a kind. Any number of threads may use one api, each
 * with a request and a response of its own.
 */
#ifndef LSMKV_HTTP_API_H
#define LSMKV_HTTP_API_H

#include "engine.h"
#include "http/message.h"

/* JSON around a value, and a key of nothing but \u escapes. */
#define API_BODY_ROOM (16u << 10)

struct api_options {
	uint64_t max_value_bytes;
	const char *const *hosts;   /* --host, NULL-terminated; may be NULL */
	const char *const *origins; /* --allow-origin; the same */
};

struct api;

/* options and the strings in it are borrowed: they outlive the api. */
int api_new(struct api **out, struct engine *engine,
            const struct api_options *options, struct err *err);
void api_free(struct api *a); /* NULL allowed; the engine stays open */

/*
 * False: r is refused from its head, and res is the answer; its body need
 * not be read. True: read exactly r->length bytes of body, then api_answer.
 */
bool api_accepts(const struct api *a, const struct request *r,
                 struct response *res);
/*
 * A request on its way through the engine. A transport that has several of
 * them at once may let them write together, which costs hardly more than one
 * of them alone. Starts zeroed, and may be used again and again.
 */
struct api_call {
	struct request *request;
	struct response *response;
	struct buf key; /* owned; from a query string */
	struct op op;   /* what it writes */
	struct err err; /* what came of it */
	int rc;         /* the same */
};

#define API_CALLS_MAX 64 /* that may write together */

/*
 * Answers; r->body is the whole body and may be changed. res borrows from
 * itself and r: it is good until either is used again. False: that was all.
 * True: call is a write, to be passed to api_write before any of the three is
 * used again; what r borrows from the environment is not needed any more.
 */
bool api_begin(struct api *a, struct request *r, struct response *res,
               struct api_call *call);
/*
 * Writes and answers calls, at most API_CALLS_MAX, in as few steps as can be:
 * each has the outcome that it would have had alone, at some moment in here,
 * those of one key in their order.
 */
void api_write(struct api *a, struct api_call *const *calls, size_t count);
void api_call_release(struct api_call *call);

/* Both at once, for a transport that has one request. */
void api_answer(struct api *a, struct request *r, struct response *res);

/*
 * The answer for a failure that the transport met: the store cannot be
 * opened, there is no memory, the body is cut short. Logged as the rest.
 */
void api_fail(struct api *a, const struct request *r, struct response *res,
              const struct err *err);
void api_refuse_body(const struct request *r, struct response *res);

/* Bytes of a body that can hold a value of the largest size. */
uint64_t api_body_max(const struct api *a);

#endif
