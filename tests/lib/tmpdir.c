/* SPDX-License-Identifier: ISC */
/*
 * A temporary directory for a test, and ways to damage what is in it.
 */
#include "lib/tmpdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void
die(const char *what, const char *path)
{
	fprintf(stderr, "tmpdir: cannot %s %s: %s\n", what, path,
	        strerror(errno));
	abort();
}

/* "dir/name", owned by the caller. */
static char *
join(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		die("allocate", name);
	return path;
}

static int
open_in(const char *dir, const char *name, int flags)
{
	char *path = join(dir, name);
	int fd = open(path, flags | O_CLOEXEC, 0640);

	if (fd < 0)
		die("open", path);
	free(path);
	return fd;
}

char *
tmpdir_new(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = join(base && *base ? base : "/tmp", "lsmkv-test-XXXXXX");

	if (!mkdtemp(dir))
		die("make", dir);
	return dir;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path))
		die("remove", path);
	return 0;
}

void
tmpdir_free(char *dir)
{
	if (!dir)
		return;
	if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		die("remove", dir);
	free(dir);
}

static void
copy_into(const char *from, const char *to)
{
	DIR *list = opendir(from);
	struct dirent *entry;

	if (!list)
		die("list", from);
	while ((entry = readdir(list))) {
		char *source, *target;
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		source = join(from, entry->d_name);
		target = join(to, entry->d_name);
		if (lstat(source, &st))
			die("look at", source);
		if (S_ISDIR(st.st_mode)) {
			if (mkdir(target, 0750))
				die("make", target);
			copy_into(source, target);
		} else if (S_ISREG(st.st_mode)) {
			size_t len;
			unsigned char *data =
				tmpdir_read(from, entry->d_name, &len);

			tmpdir_write(to, entry->d_name, data, len);
			free(data);
		}
		free(source);
		free(target);
	}
	closedir(list);
}

char *
tmpdir_copy(const char *dir)
{
	char *copy = tmpdir_new();

	copy_into(dir, copy);
	return copy;
}

bool
tmpdir_has(const char *dir, const char *name)
{
	char *path = join(dir, name);
	struct stat st;
	bool has = !lstat(path, &st);

	if (!has && errno != ENOENT)
		die("look at", path);
	free(path);
	return has;
}

size_t
tmpdir_count(const char *dir)
{
	DIR *list = opendir(dir);
	size_t n = 0;

	if (!list)
		die("list", dir);
	while (readdir(list))
		n++;
	closedir(list);
	return n - 2;
}

uint64_t
tmpdir_size(const char *dir, const char *name)
{
	char *path = join(dir, name);
	struct stat st;

	if (lstat(path, &st))
		die("look at", path);
	free(path);
	return (uint64_t)st.st_size;
}

unsigned char *
tmpdir_read(const char *dir, const char *name, size_t *len)
{
	size_t size = (size_t)tmpdir_size(dir, name), done = 0;
	int fd = open_in(dir, name, O_RDONLY);
	unsigned char *data = malloc(size + 1);

	if (!data)
		die("allocate for", name);
	while (done < size) {
		ssize_t n = read(fd, data + done, size - done);

		if (n <= 0)
			die("read", name);
		done += (size_t)n;
	}
	close(fd);
	data[size] = '\0';
	*len = size;
	return data;
}

static void
write_at(int fd, const char *name, uint64_t offset, const void *data,
         size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = pwrite(fd, at, len, (off_t)offset);

		if (n <= 0)
			die("write", name);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
}

void
tmpdir_write(const char *dir, const char *name, const void *data, size_t len)
{
	int fd = open_in(dir, name, O_WRONLY | O_CREAT | O_TRUNC);

	write_at(fd, name, 0, data, len);
	close(fd);
}

void
tmpdir_overwrite(const char *dir, const char *name, uint64_t offset,
                 const void *data, size_t len)
{
	int fd = open_in(dir, name, O_WRONLY);

	write_at(fd, name, offset, data, len);
	close(fd);
}

void
tmpdir_flip(const char *dir, const char *name, uint64_t offset,
            unsigned char mask)
{
	int fd = open_in(dir, name, O_RDWR);
	unsigned char byte;

	if (pread(fd, &byte, 1, (off_t)offset) != 1)
		die("read", name);
	byte = (unsigned char)(byte ^ mask);
	write_at(fd, name, offset, &byte, 1);
	close(fd);
}

void
tmpdir_truncate(const char *dir, const char *name, uint64_t size)
{
	int fd = open_in(dir, name, O_WRONLY);

	if (ftruncate(fd, (off_t)size))
		die("truncate", name);
	close(fd);
}

void
tmpdir_grow(const char *dir, const char *name, uint64_t more)
{
	tmpdir_truncate(dir, name, tmpdir_size(dir, name) + more);
}

void
tmpdir_remove(const char *dir, const char *name)
{
	char *path = join(dir, name);

	if (remove(path))
		die("remove", path);
	free(path);
}
