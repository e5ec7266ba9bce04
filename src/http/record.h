/* SPDX-License-Identifier: ISC */
/*
 * FastCGI records: where a request ends, and how an answer is told.
 *
 * libfcgi reads a request from a descriptor and waits, for as long as it
 * takes, for what is not there yet. So before it begins, the record heads of
 * what has come are followed to see whether all of the request is there: its
 * last record is the empty one that ends its body. A request that has the usual
 * form is then read from what is there (whole.h), any other one by libfcgi.
 *
 * An answer is made here, because libfcgi's streams for it belong to the
 * request that it has read, with all the memory of that: a write is answered
 * by another thread than the one that has read it, much later.
 */
#ifndef LSMKV_HTTP_RECORD_H
#define LSMKV_HTTP_RECORD_H

#include <stdint.h>

#include "base/bytes.h"

enum record {
	RECORD_VERSION = 1, /* the first byte of each; then one of these: */
	RECORD_BEGIN = 1,
	RECORD_ABORT = 2,
	RECORD_END_REQUEST = 3,
	RECORD_PARAMS = 4,
	RECORD_STDIN = 5,
	RECORD_STDOUT = 6
};

struct record_scan {
	unsigned char head[8]; /* of the current record, as far as it is here */
	unsigned head_len;     /* bytes of it */
	uint32_t rest;         /* bytes of content and padding to come */
	bool ends_head;        /* the current record is the variables' last */
	bool last;             /* the current record is the request's last */
	bool head_whole;       /* the variables are here */
	bool whole;            /* the last record is here */
};

#define RECORD_SCAN_INIT                                                       \
	{                                                                      \
		.head_len = 0                                                  \
	}

/*
 * Follows the next bytes of the stream. True once the request is whole, or
 * is none (what is no FastCGI is whole: libfcgi is to look at it).
 */
bool record_scan(struct record_scan *s, struct slice bytes);

/*
 * Bytes up to the end of the current record, or of its head if that is not
 * all here: so many belong to this request and to no other.
 */
static inline size_t
record_rest(const struct record_scan *s)
{
	return s->rest ? s->rest : sizeof(s->head) - s->head_len;
}

#define RECORD_HEAD 8u           /* bytes of the head of a record */
#define RECORD_CONTENT_MAX 65528 /* of a record; a multiple of eight */
#define RECORD_END 24u           /* bytes of the records behind an answer */

/*
 * The head of a record of the answer to request id: `len` bytes of content,
 * at most RECORD_CONTENT_MAX, follow, then so many of padding as it returns.
 */
unsigned record_answer(unsigned char head[RECORD_HEAD], unsigned id,
                       size_t len);
/* What tells that the answer to request id is whole. */
void record_answer_end(unsigned char end[RECORD_END], unsigned id);

/* Does a record head, of which two bytes are enough, begin a request? */
static inline bool
record_begins(const unsigned char *head)
{
	return head[1] == RECORD_BEGIN;
}

#endif
