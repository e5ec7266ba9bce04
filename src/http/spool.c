/* SPDX-License-Identifier: ISC */
/* Bytes that wait in memory; see spool.h. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/spool.h"

bool
spool_open(struct spool *s)
{
	s->len = s->sent = 0;
	s->fd = memfd_create("lsmkv spool", MFD_CLOEXEC);
	return s->fd >= 0;
}

bool
spool_write(struct spool *s, struct slice bytes)
{
	while (bytes.len) {
		ssize_t n = write(s->fd, bytes.data, bytes.len);

		if (n <= 0)
			return false;
		s->len += (uint64_t)n;
		bytes = slice_make(bytes.data + n, bytes.len - (size_t)n);
	}
	return true;
}

void
spool_rewind(struct spool *s)
{
	lseek(s->fd, 0, SEEK_SET);
}

void
spool_to_end(struct spool *s)
{
	lseek(s->fd, 0, SEEK_END);
}

void
spool_close(struct spool *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->len = s->sent = 0;
}

enum spool_state
spool_send(struct spool *s, int fd)
{
	unsigned char bytes[65536];
	ssize_t got, sent;

	while ((got = read(s->fd, bytes, sizeof(bytes))) > 0) {
		sent = send(fd, bytes, (size_t)got,
		            MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN)
			return SPOOL_GONE;
		if (sent > 0)
			s->sent += (uint64_t)sent;
		if (sent < got) {
			lseek(s->fd, (sent < 0 ? 0 : sent) - got, SEEK_CUR);
			if (sent < 0)
				return SPOOL_WAITS;
		}
	}
	return got ? SPOOL_GONE : SPOOL_DONE;
}
