/* SPDX-License-Identifier: ISC */
/*
 * Bytes between libfcgi, which only knows how to wait for a peer, and a peer
 * that takes its time: a request on its way in, or an answer on its way out,
 * in anonymous memory that has a descriptor.
 */
#ifndef LSMKV_HTTP_SPOOL_H
#define LSMKV_HTTP_SPOOL_H

#include <stdint.h>

#include "base/bytes.h"

struct spool {
	int fd;        /* read and written at its own position; -1: none */
	uint64_t len;  /* bytes written */
	uint64_t sent; /* by spool_send */
};

#define SPOOL_INIT                                                             \
	{                                                                      \
		.fd = -1                                                       \
	}

/* False if there is no descriptor or memory for it. */
bool spool_open(struct spool *s);
bool spool_write(struct spool *s, struct slice bytes);
/* The next read begins at the first byte, */
void spool_rewind(struct spool *s);
/* or the next write at the end. */
void spool_to_end(struct spool *s);
void spool_close(struct spool *s); /* a closed one is fine */

enum spool_state {
	SPOOL_DONE,  /* all is sent */
	SPOOL_WAITS, /* the socket takes no more now */
	SPOOL_GONE,  /* the peer is gone */
};

/* Sends what is left to the socket fd, without waiting. */
enum spool_state spool_send(struct spool *s, int fd);

#endif
