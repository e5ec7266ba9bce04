/* SPDX-License-Identifier: ISC */
/* The listening socket; see listen.h. */
#include <arpa/inet.h>
#include <bsd/stdlib.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fsio.h"
#include "http/listen.h"

#define BACKLOG 1024
#define SOCKET_MODE 0660

/* Removes the socket at path, if one is there; leaves anything else alone. */
static int
remove_socket(const char *path, struct err *err)
{
	struct fs_dir *dir = NULL;
	struct stat st;
	const char *slash = strrchr(path, '/');
	char *parent = NULL;
	int rc;

	if (lstat(path, &st)) {
		if (errno == ENOENT)
			return 0;
		return err_set_errno(err, errno, "socket %s", path);
	}
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, LSMKV_EINVAL,
		               "socket %s: there is something that is no "
		               "socket; remove it or name another path",
		               path);
	parent =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!parent)
		return err_nomem(err, strlen(path));
	rc = fs_dir_open(&dir, parent, false, err);
	if (!rc)
		rc = fs_unlink(dir, slash ? slash + 1 : path, err);
	fs_dir_close(dir);
	free(parent);
	return rc;
}

static int
open_unix(const char *path, int *out, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, LSMKV_EINVAL,
		               "socket %s: the path is longer than %zu bytes",
		               path, sizeof(address.sun_path) - 1);
	rc = remove_socket(path, err);
	if (rc)
		return rc;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Nobody can connect before listen, so the mode comes in time. */
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    chmod(path, SOCKET_MODE) || listen(fd, BACKLOG)) {
		rc = err_set_errno(err, errno, "socket %s", path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

static int
open_tcp(const char *where, int *out, struct err *err)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	const char *bad = NULL;
	int fd, rc, on = 1;

	address.sin_port = htons((uint16_t)strtonum(where + 1, 1, 65535, &bad));
	if (bad)
		return err_set(err, LSMKV_EINVAL,
		               "socket %s: the port is %s; it is a number "
		               "from 1 to 65535",
		               where, bad);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, BACKLOG)) {
		rc = err_set_errno(err, errno, "socket 127.0.0.1%s", where);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int
listen_open(const char *where, int *fd, struct err *err)
{
	*fd = -1;
	if (!*where)
		return err_set(err, LSMKV_EINVAL, "the socket has no name");
	return *where == ':' ? open_tcp(where, fd, err)
	                     : open_unix(where, fd, err);
}

void
listen_close(const char *where, int fd)
{
	close(fd);
	if (*where != ':')
		remove_socket(where, NULL);
}

bool
listen_is_socket(int fd)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) &&
	       listens;
}
