/* SPDX-License-Identifier: ISC */
/*
 * The listening socket: one that we open (--socket), or one that whoever
 * started us left on a descriptor. FastCGI peers are trusted, so it is a
 * boundary: a unix socket is 0660, TCP is for this machine only.
 */
#ifndef LSMKV_HTTP_LISTEN_H
#define LSMKV_HTTP_LISTEN_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Listens on where: a path, or ":PORT" for 127.0.0.1. A socket that lies at
 * the path is removed first, so own the data directory before you call: a
 * second process would take the first one's socket away. LSMKV_EINVAL if
 * where is neither, LSMKV_EIO.
 */
int listen_open(const char *where, int *fd, struct err *err);
/* Closes fd, and removes the path if where is one. */
void listen_close(const char *where, int fd);

/* Is fd a socket that listens? */
bool listen_is_socket(int fd);

#endif
