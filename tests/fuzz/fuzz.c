/* SPDX-License-Identifier: ISC */
/* What the fuzz targets share; see fuzz.h. */
#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64]; /* "" until it is made */
static struct fs_dir *dir;

void
fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
	abort();
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(name);
	return 0;
}

static void
remove_all(void)
{
	fs_dir_close(dir);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
fuzz_path(void)
{
	if (*path)
		return path;
	snprintf(path, sizeof(path), "%s/lsmkv-fuzz-XXXXXX",
	         access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(path)) {
		perror(path);
		abort();
	}
	return path;
}

struct fs_dir *
fuzz_dir(void)
{
	struct err err = ERR_INIT;

	if (dir)
		return dir;
	if (fs_dir_open(&dir, fuzz_path(), false, &err)) {
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
	atexit(remove_all);
	return dir;
}

void
fuzz_write(const char *name, struct slice content)
{
	int fd = openat(fuzz_dir()->fd, name,
	                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	REQUIRE(fd >= 0);
	while (content.len) {
		ssize_t n = write(fd, content.data, content.len);

		REQUIRE(n > 0);
		content = slice_make(content.data + n, content.len - (size_t)n);
	}
	close(fd);
}

void
fuzz_remove(const char *name)
{
	unlinkat(fuzz_dir()->fd, name, 0);
}

void
fuzz_keep(struct buf *list, const struct entry *e)
{
	size_t size = entry_encoded_size(e, 0);

	REQUIRE(!buf_reserve(list, size, NULL));
	REQUIRE(entry_encode(e, 0, list->data + list->len) ==
	        list->data + list->len + size);
	list->len += size;
}

bool
fuzz_next(struct reader *list, struct entry *e)
{
	if (!reader_left(list))
		return false;
	REQUIRE(entry_decode(list, 0, e));
	return true;
}

bool
fuzz_entry_equal(const struct entry *a, const struct entry *b)
{
	return slice_equal(a->key, b->key) && slice_equal(a->value, b->value) &&
	       a->version == b->version && a->expires == b->expires &&
	       a->kind == b->kind;
}
