/* SPDX-License-Identifier: ISC */
/*
 * Every file system call of lsmkv, and nothing above it.
 *
 * errno dies here: it becomes a code and a message that names directory, file
 * and offset. Reads, writes and opens start again after EINTR; a sync never
 * does, because what the kernel knew of a failed write-back is told once and
 * then forgotten (doc/format.md, "Failed syncs").
 */
#include "base/fsio.h"

#include <bsd/libutil.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/planted.h"
#include "base/waits.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define DIR_MODE 0750
#define FILE_MODE 0640

/* How long a lock may outlive its owner, and how often that is looked at. */
#define LEFT_LOCK_MS 5000
#define OWN_LOCK_MS 500
#define LOCK_LOOK_MS 20

#define ZEROS_BYTES 65536u /* written at once where fallocate is missing */

/* ---- directories ---- */

/* Syncs the directory that dir stands in: its own name is there. */
static int
sync_parent(struct fs_dir *dir, bool made, struct err *err)
{
	int fd = openat(dir->fd, "..", DIR_FLAGS);
	int rc = 0;

	if (fd < 0) {
		/* One that was there already may stand where we cannot look. */
		if (!made && errno == EACCES)
			return 0;
		return err_set_errno(err, errno,
		                     "%s: cannot open the directory above",
		                     dir->path);
	}
	if (fsync(fd) && made)
		rc = err_set_errno(err, errno,
		                   "%s: cannot sync the directory above",
		                   dir->path);
	close(fd);
	return rc;
}

int
fs_dir_open(struct fs_dir **dir, const char *path, bool create, struct err *err)
{
	struct fs_dir *d = NULL;
	bool made = false;
	int rc = 0;

	*dir = NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_nomem(err, sizeof(*d));
	d->fd = -1;
	d->path = strdup(path);
	if (!d->path) {
		rc = err_nomem(err, strlen(path) + 1);
		goto done;
	}
	if (create) {
		made = !mkdir(path, DIR_MODE);
		if (!made && errno != EEXIST) {
			rc = err_set_errno(err, errno,
			                   "%s: cannot make the directory",
			                   path);
			goto done;
		}
	}
	d->fd = open(path, DIR_FLAGS);
	if (d->fd < 0) {
		rc = err_set_errno(err, errno, "%s: cannot open the directory",
		                   path);
		goto done;
	}
	if (create)
		rc = sync_parent(d, made, err);
done:
	if (rc) {
		fs_dir_close(d);
		return rc;
	}
	*dir = d;
	return 0;
}

void
fs_dir_close(struct fs_dir *dir)
{
	if (!dir)
		return;
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir->path);
	free(dir);
}

int
fs_dir_sync(struct fs_dir *dir, struct err *err)
{
	if (fsync(dir->fd))
		return err_set_errno(
			err, errno, "%s: cannot sync the directory", dir->path);
	return 0;
}

int
fs_dir_list(struct fs_dir *dir, int (*each)(void *arg, const char *name),
            void *arg, struct err *err)
{
	struct dirent *entry;
	DIR *list = NULL;
	int rc = 0, fd;

	/* A descriptor of its own, since the position belongs to it. */
	fd = openat(dir->fd, ".", DIR_FLAGS);
	if (fd >= 0)
		list = fdopendir(fd);
	if (!list) {
		rc = err_set_errno(err, errno, "%s: cannot list the directory",
		                   dir->path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc) {
		errno = 0;
		entry = readdir(list);
		if (!entry) {
			if (errno)
				rc = err_set_errno(
					err, errno,
					"%s: cannot list the directory",
					dir->path);
			break;
		}
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = each(arg, entry->d_name);
	}
	closedir(list);
	return rc;
}

int
fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes, struct err *err)
{
	struct statvfs st;

	*bytes = 0;
	if (fstatvfs(dir->fd, &st))
		return err_set_errno(err, errno,
		                     "%s: cannot tell the free space",
		                     dir->path);
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

/* ---- opening ---- */

/*
 * Makes file stand for name in dir, not yet open. Longer names than it can
 * hold are not ours.
 */
static int
name_file(struct fs_dir *dir, const char *name, struct fs_file *file,
          struct err *err)
{
	struct fs_file closed = FS_FILE_INIT;

	*file = closed;
	if (strlen(name) >= sizeof(file->name))
		return err_set(err, LSMKV_EINVAL,
		               "%s/%s: no file of a store is called this",
		               dir->path, name);
	memcpy(file->name, name, strlen(name) + 1);
	file->dir = dir;
	return 0;
}

/* Sets err for a failed call on file; `what` reads like "cannot sync". */
static int
file_error(const struct fs_file *file, const char *what, struct err *err)
{
	return err_set_errno(err, errno, "%s/%s: %s", file->dir->path,
	                     file->name, what);
}

/* The same, with the range that the call was about. */
static int
range_error(const struct fs_file *file, const char *what, uint64_t len,
            uint64_t offset, struct err *err)
{
	return err_set_errno(err, errno,
	                     "%s/%s: %s %" PRIu64 " bytes at offset %" PRIu64,
	                     file->dir->path, file->name, what, len, offset);
}

static int
open_retry(const struct fs_dir *dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir->fd, name, flags | O_CLOEXEC, FILE_MODE);
	while (fd < 0 && errno == EINTR);
	return fd;
}

int
fs_create(struct fs_dir *dir, const char *name, struct fs_file *file,
          struct err *err)
{
	int rc = name_file(dir, name, file, err);

	if (rc)
		return rc;
	file->fd = open_retry(dir, name, O_RDWR | O_CREAT | O_EXCL);
	if (file->fd < 0)
		return file_error(file, "cannot create", err);
	return 0;
}

int
fs_open(struct fs_dir *dir, const char *name, struct fs_file *file,
        struct err *err)
{
	int rc = name_file(dir, name, file, err);

	if (rc)
		return rc;
	/* O_NONBLOCK: a FIFO in place of a file must not hang us. */
	file->fd = open_retry(dir, name, O_RDONLY | O_NONBLOCK);
	if (file->fd < 0 && errno == ENOENT)
		return LSMKV_NOTFOUND;
	if (file->fd < 0)
		return file_error(file, "cannot open", err);
	return 0;
}

void
fs_close(struct fs_file *file)
{
	/*
	 * What had to be on disk was synced before; Linux closes the
	 * descriptor whatever close(2) says, EINTR included.
	 */
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/* ---- the lock ---- */

/* Reads a short text file whole, as a string without its last newline. */
static bool
read_text(int dir_fd, const char *path, char *out, size_t size)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return false;
	do
		n = read(fd, out, size - 1);
	while (n < 0 && errno == EINTR);
	close(fd);
	if (n < 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

/*
 * Who took the lock, as its file says: a process number, or 0 if it says
 * nothing. command becomes that process's name, empty if it has ended.
 */
static uintmax_t
read_owner(struct fs_dir *dir, const char *name, char *command, size_t size)
{
	char text[32], path[64];
	uintmax_t pid = 0;

	command[0] = '\0';
	if (!read_text(dir->fd, name, text, sizeof(text)) ||
	    sscanf(text, "%ju", &pid) != 1)
		return 0;
	snprintf(path, sizeof(path), "/proc/%ju/comm", pid);
	if (!read_text(AT_FDCWD, path, command, size))
		command[0] = '\0';
	return pid;
}

/*
 * How long it is worth to wait for the lock: a helper whose parent has ended
 * has yet to notice; one that we killed ourselves may be not quite gone.
 */
static unsigned
lock_patience_ms(struct fs_dir *dir, const char *name)
{
	char command[64];
	uintmax_t pid = read_owner(dir, name, command, sizeof(command));

	if (pid == (uintmax_t)getpid())
		return OWN_LOCK_MS;
	return pid && !command[0] ? LEFT_LOCK_MS : 0;
}

static int
locked_error(struct fs_dir *dir, const char *name, struct err *err)
{
	char command[64], shown[256];
	uintmax_t pid = read_owner(dir, name, command, sizeof(command));

	if (pid && !command[0])
		return err_set(err, LSMKV_ELOCKED,
		               "store %s is in use by a helper that process "
		               "%ju left behind, which ends by itself; try "
		               "again in a moment",
		               dir->path, pid);
	if (!pid)
		return err_set(err, LSMKV_ELOCKED,
		               "store %s is in use by another process; stop "
		               "that one first, or give this one another "
		               "--data-dir",
		               dir->path);
	return err_set(
		err, LSMKV_ELOCKED,
		"store %s is in use by process %ju (%s); stop that one first, "
		"or give this one another --data-dir",
		dir->path, pid,
		slice_printable(slice_str(command), shown, sizeof(shown)));
}

/*
 * Leaves our process number in the lock's file. For messages only: the disk
 * may be full, and that must not keep a store from opening. An empty file
 * says less than a wrong number.
 */
static void
leave_pid(int fd)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%jd\n", (intmax_t)getpid());

	if (pwrite(fd, text, (size_t)len, 0) == len && !ftruncate(fd, len))
		return;
	if (ftruncate(fd, 0))
		return;
}

int
fs_lock(struct fs_dir *dir, const char *name, struct fs_file *file,
        struct err *err)
{
	unsigned waited_ms = 0;
	int rc = name_file(dir, name, file, err);

	if (rc)
		return rc;
	for (;;) {
		file->fd = flopenat(dir->fd, name,
		                    O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW |
		                            O_CLOEXEC,
		                    FILE_MODE);
		if (file->fd >= 0 || (errno != EINTR && errno != EWOULDBLOCK))
			break;
		if (errno == EINTR)
			continue;
		if (waited_ms >= lock_patience_ms(dir, name))
			return locked_error(dir, name, err);
		clock_sleep_us(LOCK_LOOK_MS * 1000);
		waited_ms += LOCK_LOOK_MS;
	}
	if (file->fd < 0)
		return file_error(file, "cannot lock", err);
	leave_pid(file->fd);
	return 0;
}

/* ---- reading ---- */

/*
 * Like pread, but whoever wants to know of waiting is told of it, and only of
 * that: what the page cache has is read first, if it has any.
 */
static ssize_t
read_at(int fd, void *to, size_t len, off_t offset)
{
	struct iovec part = { .iov_base = to, .iov_len = len };
	ssize_t n;

	if (waits_watched()) {
		n = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
		if (n > 0)
			return n;
	}
	waits_begin();
	n = pread(fd, to, len, offset);
	waits_end();
	return n;
}

int
fs_read_some(const struct fs_file *file, void *to, size_t len, uint64_t offset,
             size_t *got, struct err *err)
{
	unsigned char *at = to;
	size_t done = 0;

	*got = 0;
	while (done < len) {
		ssize_t n = read_at(file->fd, at + done, len - done,
		                    (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !PLANTED("fsio.read_error_is_end"))
			return range_error(file, "cannot read", len - done,
			                   offset + done, err);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	*got = done;
	return 0;
}

int
fs_read(const struct fs_file *file, void *to, size_t len, uint64_t offset,
        struct err *err)
{
	size_t got;
	int rc = fs_read_some(file, to, len, offset, &got, err);

	if (!rc && got < len)
		rc = err_set(err, LSMKV_ECORRUPT,
		             "%s/%s: the file ends at offset %" PRIu64
		             ", in %zu bytes that begin at offset %" PRIu64,
		             file->dir->path, file->name, offset + got, len,
		             offset);
	return rc;
}

int
fs_read_all(const struct fs_file *file, uint64_t limit, struct buf *out,
            struct err *err)
{
	uint64_t size;
	int rc;

	buf_clear(out);
	rc = fs_size(file, &size, err);
	if (rc)
		return rc;
	if (size > limit)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s/%s: the file has %" PRIu64 " bytes; %" PRIu64
		               " are the most it may have",
		               file->dir->path, file->name, size, limit);
	rc = buf_reserve(out, (size_t)size, err);
	if (!rc)
		rc = fs_read(file, out->data, (size_t)size, 0, err);
	if (!rc)
		out->len = (size_t)size;
	return rc;
}

/* ---- writing ---- */

int
fs_write(const struct fs_file *file, const void *data, size_t len,
         uint64_t offset, size_t *written, struct err *err)
{
	const unsigned char *at = data;
	size_t done = 0;
	int rc = 0;

	while (!rc && done < len) {
		ssize_t n = pwrite(file->fd, at + done, len - done,
		                   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			/* No progress and no reason: never seen; no loop. */
			if (!n)
				errno = EIO;
			rc = range_error(file, "cannot write", len - done,
			                 offset + done, err);
		} else {
			done += (size_t)n;
		}
	}
	if (written)
		*written = done;
	return rc;
}

/*
 * For file systems without fallocate(2): zeros behind the end of the file,
 * which take their space at once. Holes before it stay as they are.
 */
static int
allocate_by_writing(const struct fs_file *file, uint64_t offset, uint64_t len,
                    struct err *err)
{
	static const unsigned char zeros[ZEROS_BYTES];
	uint64_t at, end = offset + len;
	int rc = fs_size(file, &at, err);

	while (!rc && at < end) {
		size_t n = end - at < ZEROS_BYTES ? (size_t)(end - at)
		                                  : ZEROS_BYTES;

		rc = fs_write(file, zeros, n, at, NULL, err);
		at += n;
	}
	return rc;
}

int
fs_allocate(const struct fs_file *file, uint64_t offset, uint64_t len,
            struct err *err)
{
	int rc;

	if (!len)
		return 0;
	do
		rc = fallocate(file->fd, 0, (off_t)offset, (off_t)len);
	while (rc && errno == EINTR);
	if (!rc)
		return 0;
	if (errno == EOPNOTSUPP || errno == ENOSYS)
		return allocate_by_writing(file, offset, len, err);
	return range_error(file, "cannot allocate", len, offset, err);
}

int
fs_size(const struct fs_file *file, uint64_t *size, struct err *err)
{
	struct stat st;

	*size = 0;
	if (fstat(file->fd, &st))
		return file_error(file, "cannot tell the size", err);
	*size = (uint64_t)st.st_size;
	return 0;
}

/* ---- making durable ---- */

int
fs_datasync(const struct fs_file *file, struct err *err)
{
	if (fdatasync(file->fd))
		return file_error(file, "cannot sync", err);
	return 0;
}

int
fs_sync(const struct fs_file *file, struct err *err)
{
	if (fsync(file->fd))
		return file_error(file, "cannot sync", err);
	return 0;
}

int
fs_rename(struct fs_dir *dir, const char *from, const char *to, struct err *err)
{
	if (renameat(dir->fd, from, dir->fd, to))
		return err_set_errno(err, errno, "%s/%s: cannot rename to %s",
		                     dir->path, from, to);
	return 0;
}

int
fs_unlink(struct fs_dir *dir, const char *name, struct err *err)
{
	if (unlinkat(dir->fd, name, 0) && errno != ENOENT)
		return err_set_errno(err, errno, "%s/%s: cannot remove",
		                     dir->path, name);
	return 0;
}

/* ---- beside the store ---- */

int
fs_write_setting(const char *path, const char *text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	int rc = 0;

	if (fd < 0)
		return err_set_errno(err, errno, "%s: cannot open", path);
	/* The kernel takes a setting whole or not at all. */
	if (write(fd, text, len) != (ssize_t)len)
		rc = err_set_errno(err, errno, "%s: cannot set to %s", path,
		                   text);
	close(fd);
	return rc;
}

/* ---- hints ---- */

void
fs_advise_sequential(const struct fs_file *file)
{
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

void
fs_advise_random(const struct fs_file *file)
{
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
}

void
fs_start_writeback(const struct fs_file *file, uint64_t offset, uint64_t len)
{
	/* Only the start is asked for: a failure shows at the next sync. */
	sync_file_range(file->fd, (off_t)offset, (off_t)len,
	                SYNC_FILE_RANGE_WRITE);
}
