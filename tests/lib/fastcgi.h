/* SPDX-License-Identifier: ISC */
/*
 * A web server's side of FastCGI, for tests: the bytes of a request, one
 * record after the other. Included as "lib/fastcgi.h".
 */
#ifndef LSMKV_TESTS_LIB_FASTCGI_H
#define LSMKV_TESTS_LIB_FASTCGI_H

#include "base/bytes.h"

enum fastcgi_type {
	FASTCGI_BEGIN = 1,
	FASTCGI_ABORT = 2,
	FASTCGI_END = 3,
	FASTCGI_PARAMS = 4,
	FASTCGI_BODY = 5,
	FASTCGI_ANSWER = 6,
};

/* Each adds to b, and aborts without memory. */

/* One record of request 1: at most 65535 bytes, then padding. */
void fastcgi_record(struct buf *b, unsigned char type, struct slice content,
                    unsigned char padding);
/* Content as records of at most `piece` bytes, and the empty one. */
void fastcgi_stream(struct buf *b, unsigned char type, struct slice content,
                    size_t piece);
void fastcgi_begin(struct buf *b, bool keep, unsigned char role);
/* A name and its value, for the content of FASTCGI_PARAMS. */
void fastcgi_param(struct buf *b, struct slice name, struct slice value);

#endif
