/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of base/fsio. The linker puts __wrap_pread and the like between
 * fsio and libc (--wrap), so that interrupted, short and failing calls come
 * when a test wants them.
 */
#include "base/fsio.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/waits.h"
#include "lib/tmpdir.h"

/* ---- faults ---- */

static struct {
	int interrupts;  /* that many calls fail with EINTR first */
	size_t chunk;    /* at most that many bytes a call; 0: all */
	int write_errno; /* a pwrite that has used its budget fails with it */
	size_t budget;   /* bytes that pwrite takes before that */
	int sync_errno;  /* fsync and fdatasync fail with it */
	int syncs;       /* how often they were called */
	bool no_fallocate;
	bool not_cached; /* preadv2 says so of everything, */
	off_t cached;    /* or of what is behind it; 0: never */
	int sleeps;      /* how often fsio slept */
	int kill_at;     /* the sleep at which `victim` is killed; 0: none */
	pid_t victim;
} fault;

ssize_t __real_pread(int fd, void *to, size_t len, off_t offset);
ssize_t __real_preadv2(int fd, const struct iovec *to, int count, off_t offset,
                       int flags);
ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t offset);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_fallocate(int fd, int mode, off_t offset, off_t len);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t offset);
ssize_t __wrap_preadv2(int fd, const struct iovec *to, int count, off_t offset,
                       int flags);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
void __real_clock_sleep_us(uint64_t us);
void __wrap_clock_sleep_us(uint64_t us);

/* True if the call is to fail with EINTR; else cuts its length. */
static bool
interrupt_or_cut(size_t *len)
{
	if (fault.interrupts) {
		fault.interrupts--;
		errno = EINTR;
		return true;
	}
	if (fault.chunk && *len > fault.chunk)
		*len = fault.chunk;
	return false;
}

ssize_t
__wrap_pread(int fd, void *to, size_t len, off_t offset)
{
	if (interrupt_or_cut(&len))
		return -1;
	return __real_pread(fd, to, len, offset);
}

/* For one piece of memory, and what need not be waited for. */
ssize_t
__wrap_preadv2(int fd, const struct iovec *to, int count, off_t offset,
               int flags)
{
	struct iovec part = *to;

	assert_int_equal(count, 1);
	assert_int_equal(flags, RWF_NOWAIT);
	if (fault.not_cached || (fault.cached && offset >= fault.cached)) {
		errno = EAGAIN;
		return -1;
	}
	if (fault.cached && (off_t)part.iov_len > fault.cached - offset)
		part.iov_len = (size_t)(fault.cached - offset);
	/* Whatever this file system makes of RWF_NOWAIT. */
	return __real_preadv2(fd, &part, 1, offset, fault.cached ? 0 : flags);
}

ssize_t
__wrap_pwrite(int fd, const void *from, size_t len, off_t offset)
{
	if (interrupt_or_cut(&len))
		return -1;
	if (fault.write_errno) {
		if (!fault.budget) {
			errno = fault.write_errno;
			return -1;
		}
		if (len > fault.budget)
			len = fault.budget;
		fault.budget -= len;
	}
	return __real_pwrite(fd, from, len, offset);
}

int
__wrap_fsync(int fd)
{
	fault.syncs++;
	if (fault.sync_errno) {
		errno = fault.sync_errno;
		return -1;
	}
	return __real_fsync(fd);
}

int
__wrap_fdatasync(int fd)
{
	fault.syncs++;
	if (fault.sync_errno) {
		errno = fault.sync_errno;
		return -1;
	}
	return __real_fdatasync(fd);
}

int
__wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (fault.no_fallocate) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_fallocate(fd, mode, offset, len);
}

void
__wrap_clock_sleep_us(uint64_t us)
{
	assert_true(us > 0);
	fault.sleeps++;
	if (fault.kill_at && fault.sleeps == fault.kill_at)
		kill(fault.victim, SIGKILL);
	/* Long enough for the kernel to end a process, if we come again. */
	__real_clock_sleep_us(1000);
}

/* ---- fixture ---- */

struct fixture {
	char *path;         /* of the directory */
	struct fs_dir *dir; /* that directory, open */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(&fault, 0, sizeof(fault));
	f->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	memset(&fault, 0, sizeof(fault));
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	free(f);
	return 0;
}

static struct fs_file
create(struct fixture *f, const char *name)
{
	struct err err = ERR_INIT;
	struct fs_file file;

	if (fs_create(f->dir, name, &file, &err))
		fail_msg("%s", err.message);
	return file;
}

/* ---- directories ---- */

/* A directory is made when asked for, its parent synced, mode 0750 at most. */
static void
test_dir_create(void **state)
{
	struct fixture *f = *state;
	struct fs_dir *dir = NULL;
	struct err err = ERR_INIT;
	struct stat st;
	char path[512];

	snprintf(path, sizeof(path), "%s/new", f->path);
	assert_int_equal(fs_dir_open(&dir, path, false, &err), LSMKV_EIO);
	assert_null(dir);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(fault.syncs, 0);
	assert_int_equal(fs_dir_open(&dir, path, true, NULL), 0);
	assert_int_equal(fault.syncs, 1);
	assert_string_equal(dir->path, path);
	assert_int_equal(fstat(dir->fd, &st), 0);
	assert_int_equal(st.st_mode & 07027, 0);
	fs_dir_close(dir);
	assert_int_equal(fs_dir_open(&dir, path, true, NULL), 0);
	fs_dir_close(dir);
}

/* A new directory whose parent cannot be synced is not reported as there. */
static void
test_dir_create_unsynced(void **state)
{
	struct fixture *f = *state;
	struct fs_dir *dir = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s/new", f->path);
	fault.sync_errno = EIO;
	assert_int_equal(fs_dir_open(&dir, path, true, NULL), LSMKV_EIO);
	assert_null(dir);
}

/* A file in place of the directory is an error, not a crash. */
static void
test_dir_is_a_file(void **state)
{
	struct fixture *f = *state;
	struct fs_dir *dir = NULL;
	char path[512];

	tmpdir_write(f->path, "file", "x", 1);
	snprintf(path, sizeof(path), "%s/file", f->path);
	assert_int_equal(fs_dir_open(&dir, path, true, NULL), LSMKV_EIO);
	fs_dir_close(NULL);
}

struct names {
	unsigned seen; /* bit n: the file called 'a' + n came */
	unsigned count;
	int stop; /* returned for each name */
};

static int
note_name(void *arg, const char *name)
{
	struct names *names = arg;

	assert_int_equal(strlen(name), 1);
	names->seen |= 1u << (name[0] - 'a');
	names->count++;
	return names->stop;
}

/* Every name comes once, . and .. never, and again in a second listing. */
static void
test_dir_list(void **state)
{
	struct fixture *f = *state;
	struct names names = { 0, 0, 0 };
	int again;

	tmpdir_write(f->path, "a", "", 0);
	tmpdir_write(f->path, "b", "", 0);
	tmpdir_write(f->path, "c", "", 0);
	for (again = 0; again < 2; again++) {
		memset(&names, 0, sizeof(names));
		assert_int_equal(fs_dir_list(f->dir, note_name, &names, NULL),
		                 0);
		assert_int_equal(names.seen, 7);
		assert_int_equal(names.count, 3);
	}
	names.stop = LSMKV_ECORRUPT;
	names.count = 0;
	assert_int_equal(fs_dir_list(f->dir, note_name, &names, NULL),
	                 LSMKV_ECORRUPT);
	assert_int_equal(names.count, 1);
}

/* Free space is a number of bytes, not of blocks. */
static void
test_dir_free_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = 0;

	assert_int_equal(fs_dir_free_bytes(f->dir, &bytes, NULL), 0);
	assert_true(bytes >= 1 << 20);
}

/* Files belong to the directory that was opened, wherever it is moved. */
static void
test_dir_is_held_by_descriptor(void **state)
{
	struct fixture *f = *state;
	struct fs_dir *dir = NULL;
	struct fs_file file;
	char before[512], after[512];

	snprintf(before, sizeof(before), "%s/before", f->path);
	snprintf(after, sizeof(after), "%s/after", f->path);
	assert_int_equal(fs_dir_open(&dir, before, true, NULL), 0);
	assert_int_equal(rename(before, after), 0);
	assert_int_equal(fs_create(dir, "x", &file, NULL), 0);
	fs_close(&file);
	assert_true(tmpdir_has(after, "x"));
	fs_dir_close(dir);
}

/* ---- files ---- */

/* A number is never used twice: creating over a file is an error. */
static void
test_create_is_exclusive(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x"), second;
	struct err err = ERR_INIT;

	assert_int_equal(fs_create(f->dir, "x", &second, &err), LSMKV_EIO);
	assert_non_null(strstr(err.message, "/x: cannot create: File exists"));
	assert_int_equal(second.fd, -1);
	fs_close(&second);
	fs_close(&file);
	fs_close(&file);
	assert_int_equal(file.fd, -1);
}

/* A missing file is an outcome, anything else that fails is an error. */
static void
test_open_missing(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct fs_file file;

	assert_int_equal(fs_open(f->dir, "x", &file, &err), LSMKV_NOTFOUND);
	assert_string_equal(err.message, "");
	tmpdir_write(f->path, "x", "", 0);
	assert_int_equal(fs_open(f->dir, "x/y", &file, &err), LSMKV_EIO);
	assert_int_equal(fs_open(f->dir,
	                         "a-name-that-is-longer-than-any-of-ours",
	                         &file, &err),
	                 LSMKV_EINVAL);
	assert_int_equal(file.fd, -1);
}

/* A FIFO in place of a file hangs nobody. */
static void
test_open_fifo(void **state)
{
	struct fixture *f = *state;
	struct fs_file file;
	char path[512], byte;

	snprintf(path, sizeof(path), "%s/fifo", f->path);
	assert_int_equal(mkfifo(path, 0600), 0);
	if (!fs_open(f->dir, "fifo", &file, NULL))
		assert_true(fs_read(&file, &byte, 1, 0, NULL) < 0);
	fs_close(&file);
}

/* No descriptor reaches a child by itself. */
static void
test_close_on_exec(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x"), again, lock;

	assert_int_equal(fs_open(f->dir, "x", &again, NULL), 0);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, NULL), 0);
	assert_true(fcntl(f->dir->fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(again.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(lock.fd, F_GETFD) & FD_CLOEXEC);
	fs_close(&file);
	fs_close(&again);
	fs_close(&lock);
}

/* What is written at an offset is read there; the file grows as it must. */
static void
test_write_and_read(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	uint64_t size;
	size_t written;
	char back[16];

	assert_int_equal(fs_write(&file, "world", 5, 6, &written, NULL), 0);
	assert_int_equal(written, 5);
	assert_int_equal(fs_write(&file, "hello ", 6, 0, NULL, NULL), 0);
	assert_int_equal(fs_size(&file, &size, NULL), 0);
	assert_int_equal(size, 11);
	assert_int_equal(fs_read(&file, back, 11, 0, NULL), 0);
	assert_memory_equal(back, "hello world", 11);
	assert_int_equal(fs_read(&file, back, 3, 8, NULL), 0);
	assert_memory_equal(back, "rld", 3);
	assert_int_equal(fs_read(&file, back, 0, 11, NULL), 0);
	fs_close(&file);
}

/* Interrupted and short calls are gone on with until all is done. */
static void
test_short_and_interrupted(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	unsigned char data[5000], back[5000];
	size_t i, got;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	fault.chunk = 3;
	fault.interrupts = 5;
	assert_int_equal(fs_write(&file, data, sizeof(data), 10, NULL, NULL),
	                 0);
	fault.interrupts = 5;
	assert_int_equal(fs_read(&file, back, sizeof(back), 10, NULL), 0);
	assert_memory_equal(data, back, sizeof(data));
	memset(back, 0, sizeof(back));
	fault.interrupts = 5;
	assert_int_equal(
		fs_read_some(&file, back, sizeof(back), 10, &got, NULL), 0);
	assert_int_equal(got, sizeof(back));
	assert_memory_equal(data, back, sizeof(data));
	fs_close(&file);
}

/* The end of a file is damage to fs_read, and a fact to fs_read_some. */
static void
test_read_past_the_end(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	struct err err = ERR_INIT;
	char back[16];
	size_t got;

	assert_int_equal(fs_write(&file, "hello", 5, 0, NULL, NULL), 0);
	assert_int_equal(fs_read(&file, back, 6, 0, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "/x: the file ends at offset 5"));
	assert_int_equal(fs_read(&file, back, 1, 5, NULL), LSMKV_ECORRUPT);
	assert_int_equal(fs_read(&file, back, 1, 1 << 20, NULL),
	                 LSMKV_ECORRUPT);
	assert_int_equal(fs_read_some(&file, back, 16, 2, &got, NULL), 0);
	assert_int_equal(got, 3);
	assert_memory_equal(back, "llo", 3);
	assert_int_equal(fs_read_some(&file, back, 16, 5, &got, NULL), 0);
	assert_int_equal(got, 0);
	fs_close(&file);
}

/* A read error is never the end of the file. */
static void
test_read_error(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	struct err err = ERR_INIT;
	char back[4];
	size_t got = 99;
	int fd = file.fd;

	file.fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fs_read_some(&file, back, 4, 0, &got, &err),
	                 LSMKV_EIO);
	assert_int_equal(got, 0);
	assert_non_null(
		strstr(err.message,
	               "/x: cannot read 4 bytes at offset 0: Is a directory"));
	assert_int_equal(fs_read(&file, back, 4, 0, NULL), LSMKV_EIO);
	fs_close(&file);
	close(fd);
}

/* A whole file replaces what a buf held; over the limit it is damage. */
static void
test_read_all(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT;
	struct fs_file file;

	tmpdir_write(f->path, "x", "hello", 5);
	assert_int_equal(buf_append(&out, "old content", 11, NULL), 0);
	assert_int_equal(fs_open(f->dir, "x", &file, NULL), 0);
	assert_int_equal(fs_read_all(&file, 5, &out, NULL), 0);
	assert_true(slice_equal(buf_slice(&out), slice_str("hello")));
	assert_int_equal(fs_read_all(&file, 4, &out, NULL), LSMKV_ECORRUPT);
	fs_close(&file);
	tmpdir_write(f->path, "empty", "", 0);
	assert_int_equal(fs_open(f->dir, "empty", &file, NULL), 0);
	assert_int_equal(fs_read_all(&file, 5, &out, NULL), 0);
	assert_int_equal(out.len, 0);
	fs_close(&file);
	buf_release(&out);
}

/* A full disk is told as such, with how much of the data it took. */
static void
test_write_disk_full(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	struct err err = ERR_INIT;
	size_t written = 0;

	fault.write_errno = ENOSPC;
	fault.budget = 3;
	assert_int_equal(fs_write(&file, "hello", 5, 100, &written, &err),
	                 LSMKV_ENOSPC);
	assert_int_equal(written, 3);
	assert_non_null(strstr(err.message,
	                       "/x: cannot write 2 bytes at offset 103: No "
	                       "space left on device"));
	fault.write_errno = EROFS;
	fault.budget = 0;
	assert_int_equal(fs_write(&file, "hello", 5, 0, &written, &err),
	                 LSMKV_EROFS);
	assert_int_equal(written, 0);
	fault.write_errno = EIO;
	assert_int_equal(fs_write(&file, "hello", 5, 0, NULL, NULL), LSMKV_EIO);
	fs_close(&file);
}

/* A sync that failed is reported, and was not tried a second time. */
static void
test_sync_is_never_retried(void **state)
{
	static const int reasons[] = { EIO, ENOSPC, EINTR };
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		fault.sync_errno = reasons[i];
		fault.syncs = 0;
		assert_true(fs_datasync(&file, NULL) < 0);
		assert_true(fs_sync(&file, NULL) < 0);
		assert_true(fs_dir_sync(f->dir, NULL) < 0);
		assert_int_equal(fault.syncs, 3);
	}
	fault.sync_errno = 0;
	assert_int_equal(fs_datasync(&file, NULL), 0);
	assert_int_equal(fs_sync(&file, NULL), 0);
	assert_int_equal(fs_dir_sync(f->dir, NULL), 0);
	fs_close(&file);
}

/* Allocated space is there, reads as zeros, and keeps what was written. */
static void
check_allocate(struct fixture *f, const char *name)
{
	struct fs_file file = create(f, name);
	unsigned char *back;
	struct stat st;
	size_t len, i;

	assert_int_equal(fs_write(&file, "hello", 5, 0, NULL, NULL), 0);
	assert_int_equal(fs_allocate(&file, 0, 300000, NULL), 0);
	assert_int_equal(fs_allocate(&file, 1000, 10, NULL), 0);
	assert_int_equal(fs_allocate(&file, 0, 0, NULL), 0);
	assert_int_equal(fstat(file.fd, &st), 0);
	assert_int_equal(st.st_size, 300000);
	assert_true(st.st_blocks * 512 >= 300000);
	back = tmpdir_read(f->path, name, &len);
	assert_memory_equal(back, "hello", 5);
	for (i = 5; i < len; i++)
		assert_int_equal(back[i], 0);
	free(back);
	fs_close(&file);
}

/* Allocation, by fallocate(2) and where there is none. */
static void
test_allocate(void **state)
{
	struct fixture *f = *state;

	check_allocate(f, "by-call");
	fault.no_fallocate = true;
	check_allocate(f, "by-writing");
}

/* Where zeros have to be written, a full disk shows then and there. */
static void
test_allocate_disk_full(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x");

	fault.no_fallocate = true;
	fault.write_errno = ENOSPC;
	fault.budget = 100000;
	assert_int_equal(fs_allocate(&file, 0, 300000, NULL), LSMKV_ENOSPC);
	fs_close(&file);
}

/* A rename replaces; a removed or missing file may be removed again. */
static void
test_rename_and_unlink(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	size_t len;
	unsigned char *data;

	tmpdir_write(f->path, "new", "new", 3);
	tmpdir_write(f->path, "old", "old", 3);
	assert_int_equal(fs_rename(f->dir, "new", "old", NULL), 0);
	assert_false(tmpdir_has(f->path, "new"));
	data = tmpdir_read(f->path, "old", &len);
	assert_memory_equal(data, "new", 3);
	free(data);
	assert_int_equal(fs_rename(f->dir, "new", "old", &err), LSMKV_EIO);
	assert_int_equal(fs_unlink(f->dir, "old", NULL), 0);
	assert_false(tmpdir_has(f->path, "old"));
	assert_int_equal(fs_unlink(f->dir, "old", NULL), 0);
	assert_int_equal(fs_unlink(f->dir, ".", &err), LSMKV_EIO);
}

/* Hints do no harm, whatever they are given. */
static void
test_hints(void **state)
{
	struct fixture *f = *state;
	struct fs_file file = create(f, "x"), closed = FS_FILE_INIT;

	assert_int_equal(fs_write(&file, "hello", 5, 0, NULL, NULL), 0);
	fs_advise_random(&file);
	fs_advise_sequential(&file);
	fs_start_writeback(&file, 0, 1 << 20);
	fs_start_writeback(&closed, 0, 0);
	assert_int_equal(tmpdir_size(f->path, "x"), 5);
	fs_close(&file);
}

/* A setting is written into what is there; nothing is made. */
static void
test_write_setting(void **state)
{
	struct fixture *f = *state;
	char path[512];
	unsigned char *data;
	size_t len;

	snprintf(path, sizeof(path), "%s/setting", f->path);
	assert_int_equal(fs_write_setting(path, "1000", NULL), LSMKV_EIO);
	assert_false(tmpdir_has(f->path, "setting"));
	tmpdir_write(f->path, "setting", "0", 1);
	assert_int_equal(fs_write_setting(path, "1000", NULL), 0);
	data = tmpdir_read(f->path, "setting", &len);
	assert_string_equal((char *)data, "1000");
	free(data);
}

/* ---- the lock ---- */

/*
 * A process that takes the lock, tells, and waits to be killed. With
 * `leave_behind`, it ends at once and a child of its own keeps the lock.
 */
static pid_t
lock_elsewhere(struct fixture *f, bool leave_behind, pid_t *keeper)
{
	struct fs_file lock;
	int ends[2];
	pid_t pid, told = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (fs_lock(f->dir, "LOCK", &lock, NULL))
			_exit(1);
		told = leave_behind ? fork() : getpid();
		if (!told) {
			for (;;)
				pause();
		}
		if (write(ends[1], &told, sizeof(told)) != sizeof(told))
			_exit(1);
		if (leave_behind)
			_exit(0);
		for (;;)
			pause();
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &told, sizeof(told)), sizeof(told));
	close(ends[0]);
	*keeper = told;
	return pid;
}

/* The second to come is told who is there, by number and name, and how on. */
static void
test_lock_names_the_holder(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct fs_file lock;
	char holder[64];
	pid_t pid, keeper;

	pid = lock_elsewhere(f, false, &keeper);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, &err), LSMKV_ELOCKED);
	assert_int_equal(lock.fd, -1);
	assert_int_equal(fault.sleeps, 0);
	/* comm is the first 15 bytes of the program's name. */
	snprintf(holder, sizeof(holder), "is in use by process %d (", (int)pid);
	assert_non_null(strstr(err.message, holder));
	assert_non_null(strstr(err.message, f->path));
	assert_non_null(strstr(err.message, "--data-dir"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, &err), 0);
	fs_close(&lock);
}

/* A helper that outlives its parent still keeps the store from a new owner. */
static void
test_lock_left_behind(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct fs_file lock;
	char holder[64];
	pid_t pid, keeper;

	pid = lock_elsewhere(f, true, &keeper);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, &err), LSMKV_ELOCKED);
	snprintf(holder, sizeof(holder), "a helper that process %d left behind",
	         (int)pid);
	assert_non_null(strstr(err.message, holder));
	assert_int_equal(kill(keeper, SIGKILL), 0);
}

/* One who comes after a crash waits for that helper to end, and then owns. */
static void
test_lock_waits_for_a_helper(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct fs_file lock;
	pid_t pid;

	pid = lock_elsewhere(f, true, &fault.victim);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fault.kill_at = 3;
	if (fs_lock(f->dir, "LOCK", &lock, &err))
		fail_msg("%s", err.message);
	assert_true(fault.sleeps >= 3);
	fs_close(&lock);
}

/* The lock is not the process's but the descriptor's: one store each. */
static void
test_lock_twice_in_one_process(void **state)
{
	struct fixture *f = *state;
	struct fs_file first, second;

	assert_int_equal(fs_lock(f->dir, "LOCK", &first, NULL), 0);
	assert_int_equal(fs_lock(f->dir, "LOCK", &second, NULL), LSMKV_ELOCKED);
	/* Closing another descriptor of the file does not lose it. */
	fs_close(&second);
	assert_int_equal(fs_open(f->dir, "LOCK", &second, NULL), 0);
	fs_close(&second);
	assert_int_equal(fs_lock(f->dir, "LOCK", &second, NULL), LSMKV_ELOCKED);
	fs_close(&first);
	assert_int_equal(fs_lock(f->dir, "LOCK", &second, NULL), 0);
	fs_close(&second);
}

/* A number of another length in the file leaves nothing of itself. */
static void
test_lock_file_holds_the_pid(void **state)
{
	struct fixture *f = *state;
	struct fs_file lock;
	unsigned char *data;
	char expected[32];
	size_t len;

	tmpdir_write(f->path, "LOCK", "999999999999\n", 13);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, NULL), 0);
	data = tmpdir_read(f->path, "LOCK", &len);
	snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
	assert_string_equal((char *)data, expected);
	free(data);
	fs_close(&lock);
}

/* A full disk keeps nobody from opening a store; nonsense is no number. */
static void
test_lock_on_a_full_disk(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct fs_file lock, second;

	fault.write_errno = ENOSPC;
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, NULL), 0);
	assert_int_equal(tmpdir_size(f->path, "LOCK"), 0);
	assert_int_equal(fs_lock(f->dir, "LOCK", &second, &err), LSMKV_ELOCKED);
	assert_non_null(strstr(err.message, "in use by another process"));
	fault.write_errno = 0;
	tmpdir_write(f->path, "LOCK", "-x\n\n", 4);
	assert_int_equal(fs_lock(f->dir, "LOCK", &second, &err), LSMKV_ELOCKED);
	assert_non_null(strstr(err.message, "in use by another process"));
	fs_close(&lock);
}

/* A link in place of the lock does not lead us to another file. */
static void
test_lock_follows_no_link(void **state)
{
	struct fixture *f = *state;
	struct fs_file lock;
	char path[512];

	tmpdir_write(f->path, "precious", "data", 4);
	snprintf(path, sizeof(path), "%s/LOCK", f->path);
	assert_int_equal(symlink("precious", path), 0);
	assert_int_equal(fs_lock(f->dir, "LOCK", &lock, NULL), LSMKV_EIO);
	assert_int_equal(tmpdir_size(f->path, "precious"), 4);
}

static void
count_up(void *arg)
{
	++*(unsigned *)arg;
}

/* A thread that wants to know of its waiting is told of reads that may wait. */
static void
test_reads_are_told(void **state)
{
	struct fixture *f = *state;
	struct fs_file file;
	unsigned told = 0;
	char byte;

	tmpdir_write(f->path, "file", "data", 4);
	assert_int_equal(fs_open(f->dir, "file", &file, NULL), 0);
	waits_watch(count_up, count_up, &told);
	fault.not_cached = true;
	assert_int_equal(fs_read(&file, &byte, 1, 0, NULL), 0);
	assert_int_equal(byte, 'd');
	assert_int_equal(told, 2);
	waits_watch(NULL, NULL, NULL);
	assert_int_equal(fs_read(&file, &byte, 1, 0, NULL), 0);
	assert_int_equal(told, 2);
	fs_close(&file);
}

/*
 * What the page cache has is not waited for. Where it has the first bytes
 * only, the rest may be, and is read all the same.
 */
static void
test_cached_reads_are_not_told(void **state)
{
	struct fixture *f = *state;
	struct fs_file file;
	unsigned told = 0;
	char bytes[4];

	tmpdir_write(f->path, "file", "data", 4);
	assert_int_equal(fs_open(f->dir, "file", &file, NULL), 0);
	waits_watch(count_up, count_up, &told);
	fault.cached = 4;
	assert_int_equal(fs_read(&file, bytes, 4, 0, NULL), 0);
	assert_memory_equal(bytes, "data", 4);
	assert_int_equal(told, 0);
	fault.cached = 3;
	assert_int_equal(fs_read(&file, bytes, 4, 0, NULL), 0);
	assert_memory_equal(bytes, "data", 4);
	assert_int_equal(told, 2);
	/* An end is an end, and is told of by the read that may wait. */
	assert_int_equal(fs_read(&file, bytes, 4, 2, NULL), LSMKV_ECORRUPT);
	waits_watch(NULL, NULL, NULL);
	fs_close(&file);
}

#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dir_create),
		TEST(test_dir_create_unsynced),
		TEST(test_dir_is_a_file),
		TEST(test_dir_list),
		TEST(test_dir_free_bytes),
		TEST(test_dir_is_held_by_descriptor),
		TEST(test_create_is_exclusive),
		TEST(test_open_missing),
		TEST(test_open_fifo),
		TEST(test_close_on_exec),
		TEST(test_write_and_read),
		TEST(test_short_and_interrupted),
		TEST(test_read_past_the_end),
		TEST(test_read_error),
		TEST(test_read_all),
		TEST(test_reads_are_told),
		TEST(test_cached_reads_are_not_told),
		TEST(test_write_disk_full),
		TEST(test_sync_is_never_retried),
		TEST(test_allocate),
		TEST(test_allocate_disk_full),
		TEST(test_rename_and_unlink),
		TEST(test_hints),
		TEST(test_write_setting),
		TEST(test_lock_names_the_holder),
		TEST(test_lock_left_behind),
		TEST(test_lock_waits_for_a_helper),
		TEST(test_lock_twice_in_one_process),
		TEST(test_lock_file_holds_the_pid),
		TEST(test_lock_on_a_full_disk),
		TEST(test_lock_follows_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
