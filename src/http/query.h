/* SPDX-License-Identifier: ISC */
/*
 * The query string: name=value pairs between ampersands, percent-encoded, a
 * plus sign for a space as in forms. Decoded once and strictly: a percent
 * sign without two hex digits is an error, never passed on. What comes out
 * is bytes: whether they are UTF-8 or fit for a key is the API's question.
 */
#ifndef LSMKV_HTTP_QUERY_H
#define LSMKV_HTTP_QUERY_H

#include "base/bytes.h"

struct query {
	const char *rest; /* what query_next has not read; borrowed */
};

static inline struct query
query_make(const char *text)
{
	struct query q = { text };
	return q;
}

/*
 * Reads the next pair into name and value (replacing their content); a pair
 * without an equals sign has an empty value. 0; LSMKV_END; LSMKV_EINVAL with
 * a message that quotes the bad escape; LSMKV_ENOMEM.
 */
int query_next(struct query *q, struct buf *name, struct buf *value,
               struct err *err);

#endif
