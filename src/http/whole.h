/* SPDX-License-Identifier: ISC */
/*
 * A request that is whole in memory, as web servers mostly send one:
 *
 *     begin; all variables in one record; their end; the body in one record,
 *     or none; its end
 *
 * It is read here, in place: libfcgi takes thirty pieces of memory for each
 * request, copies every byte of it twice, and looks at all of them one by one.
 * What comes in any other way - more records, another role, other ids, an
 * abort, a question about us - is libfcgi's as before. See sections 3 to 5 of
 * the FastCGI specification.
 */
#ifndef LSMKV_HTTP_WHOLE_H
#define LSMKV_HTTP_WHOLE_H

#include "http/message.h"

struct whole {
	unsigned id;      /* of the request */
	bool keep;        /* the connection, behind the answer */
	size_t len;       /* bytes that are this request's */
	size_t variables; /* where they begin, */
	size_t variables_len;
	size_t body; /* and the body */
	size_t body_len;
};

/* Does such a request begin with the first byte? If so, w tells its parts. */
bool whole_find(struct slice bytes, struct whole *w);
/*
 * Reads the variables of the request that begins at bytes and that w tells of;
 * r borrows them, and bytes are changed for it. False: they do not add up.
 */
bool whole_read(unsigned char *bytes, const struct whole *w, struct request *r);

#endif
