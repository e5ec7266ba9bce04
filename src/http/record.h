/* SPDX-License-Identifier: ISC */
/*
 * Where a request ends in a stream of FastCGI records.
 *
 * libfcgi reads a request from a descriptor and waits, for as long as it
 * takes, for what is not there yet. So before it begins, the record heads of
 * what has come are followed to see whether all of the request is there: its
 * last record is the empty one that ends its body. Nothing else of the
 * protocol is looked at; that is libfcgi's.
 */
#ifndef LSMKV_HTTP_RECORD_H
#define LSMKV_HTTP_RECORD_H

#include <stdint.h>

#include "base/bytes.h"

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

/* Does a record head, of which two bytes are enough, begin a request? */
static inline bool
record_begins(const unsigned char *head)
{
	return head[1] == 1;
}

#endif
