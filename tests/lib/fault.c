/* SPDX-License-Identifier: ISC */
/*
 * Faults and traces; see fault.h. The linker sends a call of pread to
 * __wrap_pread here, and __real_pread is the one of libc.
 *
 * Two mutexes: one over the plan, held for a moment, and one over the trace,
 * held over the whole of a call that changes something, so that the order of
 * the trace is the order on the disk. Files are told apart by inode: names
 * and descriptors change hands.
 */
#include "lib/fault.h"

#include <assert.h>
#include <bsd/libutil.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fsmap.h"

#define WRAPPED(type, name, ...)                                               \
	type __real_##name(__VA_ARGS__);                                       \
	type __wrap_##name(__VA_ARGS__)

WRAPPED(int, open, const char *, int, ...);
WRAPPED(int, openat, int, const char *, int, ...);
WRAPPED(int, flopenat, int, const char *, int, ...);
WRAPPED(int, accept4, int, struct sockaddr *, socklen_t *, int);
WRAPPED(int, memfd_create, const char *, unsigned);
WRAPPED(ssize_t, read, int, void *, size_t);
WRAPPED(ssize_t, pread, int, void *, size_t, off_t);
WRAPPED(ssize_t, preadv2, int, const struct iovec *, int, off_t, int);
WRAPPED(ssize_t, write, int, const void *, size_t);
WRAPPED(ssize_t, pwrite, int, const void *, size_t, off_t);
WRAPPED(bool, fs_map_write, const struct fs_map *, const void *, size_t,
        uint64_t);
WRAPPED(void *, mmap, void *, size_t, int, int, int, off_t);
WRAPPED(int, fallocate, int, int, off_t, off_t);
WRAPPED(int, ftruncate, int, off_t);
WRAPPED(int, fsync, int);
WRAPPED(int, fdatasync, int);
WRAPPED(int, renameat, int, const char *, int, const char *);
WRAPPED(int, unlinkat, int, const char *, int);
WRAPPED(int, mkdir, const char *, mode_t);
WRAPPED(DIR *, fdopendir, int);
WRAPPED(struct dirent *, readdir, DIR *);
WRAPPED(int, fstat, int, struct stat *);
WRAPPED(int, fstatvfs, int, struct statvfs *);
WRAPPED(int, posix_fadvise, int, off_t, off_t, int);
WRAPPED(int, sync_file_range, int, off64_t, off64_t, unsigned);
WRAPPED(int, close, int);
WRAPPED(void *, malloc, size_t);
WRAPPED(void *, calloc, size_t, size_t);
WRAPPED(void *, realloc, void *, size_t);
WRAPPED(void *, reallocarray, void *, size_t, size_t);
WRAPPED(void *, aligned_alloc, size_t, size_t);
WRAPPED(char *, strdup, const char *);
WRAPPED(int, asprintf, char **, const char *, ...);
WRAPPED(int, __asprintf_chk, char **, int, const char *, ...);
WRAPPED(int, pthread_create, pthread_t *, const pthread_attr_t *,
        void *(*)(void *), void *);
WRAPPED(int, posix_spawn, pid_t *, const char *,
        const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
        char *const *, char *const *);
WRAPPED(int, pipe2, int *, int);
WRAPPED(int, pidfd_open, pid_t, unsigned);
#ifdef HAVE_LIBDEFLATE
struct libdeflate_compressor;
struct libdeflate_decompressor;
WRAPPED(struct libdeflate_compressor *, libdeflate_alloc_compressor, int);
WRAPPED(struct libdeflate_decompressor *, libdeflate_alloc_decompressor, void);
#endif

/* ---- the plan ---- */

static struct {
	pthread_mutex_t mutex;
	_Atomic unsigned kinds; /* of the plan; 0: no plan */
	struct fault_plan plan; /* mutex */
	uint64_t seen;          /* calls that match, since fault_set */
	int short_fd;           /* FAULT_SHORT_FAILS: the next call on
	                                  it fails; -1: none */
	_Atomic uint64_t fired;
	_Atomic(const char *) last; /* name of the call that fired last */
	_Atomic uint64_t counts[FAULT_KINDS];
} faults = { .mutex = PTHREAD_MUTEX_INITIALIZER, .short_fd = -1 };

static _Thread_local unsigned exempt;

enum verdict { PASSES, FAILS, IS_SHORT };

void
fault_reset(void)
{
	fault_clear();
	for (unsigned i = 0; i < FAULT_KINDS; i++)
		atomic_store(&faults.counts[i], 0);
	atomic_store(&faults.fired, 0);
	atomic_store(&faults.last, NULL);
}

void
fault_set(const struct fault_plan *plan)
{
	pthread_mutex_lock(&faults.mutex);
	faults.plan = *plan;
	faults.seen = 0;
	faults.short_fd = -1;
	atomic_store(&faults.fired, 0);
	atomic_store(&faults.kinds, plan->kinds);
	pthread_mutex_unlock(&faults.mutex);
}

void
fault_clear(void)
{
	pthread_mutex_lock(&faults.mutex);
	atomic_store(&faults.kinds, 0);
	pthread_mutex_unlock(&faults.mutex);
}

uint64_t
fault_count(unsigned kinds)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < FAULT_KINDS; i++)
		if (kinds >> i & 1)
			sum += atomic_load(&faults.counts[i]);
	return sum;
}

uint64_t
fault_fired(void)
{
	return atomic_load(&faults.fired);
}

const char *
fault_last(void)
{
	const char *last = atomic_load(&faults.last);

	return last ? last : "";
}

void
fault_exempt_begin(void)
{
	exempt++;
}

void
fault_exempt_end(void)
{
	exempt--;
}

/* Is fd, or else path, the file that the plan is about? */
static bool
is_named(int fd, const char *path)
{
	char link[48], target[512];
	const char *base;
	ssize_t n;

	if (!path) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			return false;
		target[n] = '\0';
		path = target;
	}
	base = strrchr(path, '/');
	return !strcmp(base ? base + 1 : path, faults.plan.name);
}

/* Under the mutex: what becomes of a call that the plan is about? */
static enum verdict
judge_counted(enum fault_kind kind, int fd)
{
	const struct fault_plan *p = &faults.plan;
	bool may_be_short = kind == FAULT_READ || kind == FAULT_WRITE;

	faults.seen++;
	if (faults.short_fd >= 0 && faults.short_fd == fd) {
		if (!p->for_good)
			faults.short_fd = -1;
		return FAILS;
	}
	if (faults.seen != p->nth && !(p->for_good && faults.seen > p->nth))
		return PASSES;
	if (p->how == FAULT_FAILS || !may_be_short)
		return FAILS;
	if (p->how == FAULT_SHORT_FAILS)
		faults.short_fd = fd;
	return IS_SHORT;
}

/* Counts a call, and says what becomes of it; sets errno where it fails. */
static enum verdict
judge(enum fault_kind kind, const char *call, int fd, const char *path)
{
	enum verdict v = PASSES;
	int error = 0;

	if (exempt)
		return PASSES;
	atomic_fetch_add_explicit(&faults.counts[__builtin_ctz(kind)], 1,
	                          memory_order_relaxed);
	if (!(atomic_load_explicit(&faults.kinds, memory_order_acquire) & kind))
		return PASSES;
	pthread_mutex_lock(&faults.mutex);
	if (atomic_load(&faults.kinds) & kind &&
	    (!faults.plan.name || is_named(fd, path)))
		v = judge_counted(kind, fd);
	error = faults.plan.error;
	if (v != PASSES) {
		atomic_fetch_add(&faults.fired, 1);
		atomic_store(&faults.last, call);
	}
	pthread_mutex_unlock(&faults.mutex);
	if (v == FAILS)
		errno = kind == FAULT_MALLOC ? ENOMEM : error;
	return v;
}

static bool
fails(enum fault_kind kind, const char *call, int fd, const char *path)
{
	return judge(kind, call, fd, path) == FAILS;
}

static size_t
shorter(size_t len)
{
	return len > 1 ? len / 2 : len;
}

/* ---- the trace ---- */

struct known_file {
	dev_t dev;
	ino_t ino;
	uint64_t file; /* number in the trace */
};

static struct {
	pthread_mutex_t mutex;
	_Atomic bool on;
	dev_t dev; /* of the directory */
	ino_t ino;
	struct known_file *known; /* ascending by number: newest last */
	size_t known_count, known_cap;
	struct fault_trace trace;
} tracing = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void
no_memory(void)
{
	fputs("fault.c: out of memory\n", stderr);
	abort();
}

static struct fault_event *
add_event(enum fault_event_kind kind, uint64_t file, const char *name)
{
	struct fault_trace *t = &tracing.trace;
	struct fault_event *e;

	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 256;
		t->events = __real_reallocarray(t->events, t->cap,
		                                sizeof(*t->events));
		if (!t->events)
			no_memory();
	}
	e = &t->events[t->count++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->file = file;
	if (name)
		snprintf(e->name, sizeof(e->name), "%s", name);
	return e;
}

static uint64_t
know(const struct stat *st)
{
	if (tracing.known_count == tracing.known_cap) {
		tracing.known_cap =
			tracing.known_cap ? tracing.known_cap * 2 : 64;
		tracing.known =
			__real_reallocarray(tracing.known, tracing.known_cap,
		                            sizeof(*tracing.known));
		if (!tracing.known)
			no_memory();
	}
	tracing.known[tracing.known_count] =
		(struct known_file){ st->st_dev, st->st_ino,
		                     tracing.known_count + 1 };
	return ++tracing.known_count;
}

/* The newest file with that inode: numbers of removed ones come again. */
static uint64_t
number_of(const struct stat *st)
{
	for (size_t i = tracing.known_count; i--;)
		if (tracing.known[i].dev == st->st_dev &&
		    tracing.known[i].ino == st->st_ino)
			return tracing.known[i].file;
	return 0;
}

static uint64_t
number_of_fd(int fd)
{
	struct stat st;

	return __real_fstat(fd, &st) ? 0 : number_of(&st);
}

static uint64_t
number_of_name(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) ? 0
	                                                       : number_of(&st);
}

static bool
is_traced_dir(int fd)
{
	struct stat st;

	return !__real_fstat(fd, &st) && st.st_dev == tracing.dev &&
	       st.st_ino == tracing.ino;
}

/* Begins a call that may change something; true while there is a trace. */
static bool
trace_begin(void)
{
	if (!atomic_load_explicit(&tracing.on, memory_order_acquire))
		return false;
	pthread_mutex_lock(&tracing.mutex);
	if (atomic_load(&tracing.on))
		return true;
	pthread_mutex_unlock(&tracing.mutex);
	return false;
}

/* Ends it; errno stays what the call made it. */
static void
trace_end(bool traced)
{
	if (traced)
		pthread_mutex_unlock(&tracing.mutex);
}

void
fault_trace_start(const char *dir)
{
	struct stat st;
	struct dirent *entry;
	DIR *list = opendir(dir);

	if (!list || __real_fstat(dirfd(list), &st)) {
		perror(dir);
		abort();
	}
	pthread_mutex_lock(&tracing.mutex);
	tracing.dev = st.st_dev;
	tracing.ino = st.st_ino;
	tracing.known_count = 0;
	tracing.trace = (struct fault_trace){ NULL, 0, 0 };
	while ((entry = __real_readdir(list)))
		if (!fstatat(dirfd(list), entry->d_name, &st,
		             AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			add_event(EVENT_EXISTS, know(&st), entry->d_name);
	atomic_store(&tracing.on, true);
	pthread_mutex_unlock(&tracing.mutex);
	closedir(list);
}

void
fault_trace_stop(struct fault_trace *trace)
{
	pthread_mutex_lock(&tracing.mutex);
	atomic_store(&tracing.on, false);
	*trace = tracing.trace;
	tracing.trace = (struct fault_trace){ NULL, 0, 0 };
	pthread_mutex_unlock(&tracing.mutex);
}

void
fault_trace_mark(uint64_t a, uint64_t b)
{
	struct fault_event *e;
	bool traced = trace_begin();

	if (!traced)
		return;
	e = add_event(EVENT_MARK, 0, NULL);
	e->mark[0] = a;
	e->mark[1] = b;
	trace_end(traced);
}

size_t
fault_trace_position(void)
{
	size_t at = SIZE_MAX;
	bool traced = trace_begin();

	if (traced)
		at = tracing.trace.count;
	trace_end(traced);
	return at;
}

void
fault_trace_release(struct fault_trace *trace)
{
	for (size_t i = 0; i < trace->count; i++)
		free(trace->events[i].data);
	free(trace->events);
	*trace = (struct fault_trace){ NULL, 0, 0 };
}

/* ---- opening ---- */

/* With a trace: notes what an opening has created. */
static void
note_opened(int fd, int dir_fd, const char *name, bool was_there)
{
	struct stat st;

	if (fd < 0 || was_there || strchr(name, '/') ||
	    !is_traced_dir(dir_fd) || __real_fstat(fd, &st))
		return;
	add_event(EVENT_CREATE, know(&st), name);
}

#define TAKE_MODE(flags, mode)                                                 \
	do {                                                                   \
		va_list ap_;                                                   \
		va_start(ap_, flags);                                          \
		if ((flags)&O_CREAT)                                           \
			mode = va_arg(ap_, mode_t);                            \
		va_end(ap_);                                                   \
	} while (0)

int
__wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(flags, mode);
	if (fails(FAULT_OPEN, "open", -1, path))
		return -1;
	return __real_open(path, flags, mode);
}

int
__wrap_openat(int dir_fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	bool traced, was_there = true;
	int fd;

	TAKE_MODE(flags, mode);
	if (fails(FAULT_OPEN, "openat", -1, name))
		return -1;
	traced = flags & O_CREAT && trace_begin();
	if (traced)
		was_there = !faccessat(dir_fd, name, F_OK, 0);
	fd = __real_openat(dir_fd, name, flags, mode);
	if (traced)
		note_opened(fd, dir_fd, name, was_there);
	trace_end(traced);
	return fd;
}

int
__wrap_flopenat(int dir_fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	bool traced, was_there = true;
	int fd;

	TAKE_MODE(flags, mode);
	if (fails(FAULT_OPEN, "flopenat", -1, name))
		return -1;
	traced = flags & O_CREAT && trace_begin();
	if (traced)
		was_there = !faccessat(dir_fd, name, F_OK, 0);
	fd = __real_flopenat(dir_fd, name, flags, mode);
	if (traced)
		note_opened(fd, dir_fd, name, was_there);
	trace_end(traced);
	return fd;
}

int
__wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	if (fails(FAULT_OPEN, "accept4", fd, NULL))
		return -1;
	return __real_accept4(fd, address, len, flags);
}

int
__wrap_memfd_create(const char *name, unsigned flags)
{
	if (fails(FAULT_OPEN, "memfd_create", -1, name))
		return -1;
	return __real_memfd_create(name, flags);
}

int
__wrap_close(int fd)
{
	bool failed = fails(FAULT_CLOSE, "close", fd, NULL);
	int error = errno, rc = __real_close(fd);

	if (!failed)
		return rc;
	errno = error;
	return -1;
}

/* ---- reading ---- */

ssize_t
__wrap_read(int fd, void *to, size_t len)
{
	enum verdict v = judge(FAULT_READ, "read", fd, NULL);

	if (v == FAILS)
		return -1;
	return __real_read(fd, to, v == IS_SHORT ? shorter(len) : len);
}

ssize_t
__wrap_pread(int fd, void *to, size_t len, off_t offset)
{
	enum verdict v = judge(FAULT_READ, "pread", fd, NULL);

	if (v == FAILS)
		return -1;
	return __real_pread(fd, to, v == IS_SHORT ? shorter(len) : len, offset);
}

/* For one piece of memory. */
ssize_t
__wrap_preadv2(int fd, const struct iovec *to, int count, off_t offset,
               int flags)
{
	enum verdict v = judge(FAULT_READ, "preadv2", fd, NULL);
	struct iovec part = *to;

	assert(count == 1);
	if (v == FAILS)
		return -1;
	if (v == IS_SHORT)
		part.iov_len = shorter(part.iov_len);
	return __real_preadv2(fd, &part, 1, offset, flags);
}

DIR *
__wrap_fdopendir(int fd)
{
	return fails(FAULT_LIST, "fdopendir", fd, NULL) ? NULL
	                                                : __real_fdopendir(fd);
}

struct dirent *
__wrap_readdir(DIR *list)
{
	return fails(FAULT_LIST, "readdir", dirfd(list), NULL)
	               ? NULL
	               : __real_readdir(list);
}

int
__wrap_fstat(int fd, struct stat *st)
{
	return fails(FAULT_STAT, "fstat", fd, NULL) ? -1 : __real_fstat(fd, st);
}

int
__wrap_fstatvfs(int fd, struct statvfs *st)
{
	return fails(FAULT_STAT, "fstatvfs", fd, NULL)
	               ? -1
	               : __real_fstatvfs(fd, st);
}

/* ---- changing a file ---- */

ssize_t
__wrap_write(int fd, const void *data, size_t len)
{
	enum verdict v = judge(FAULT_WRITE, "write", fd, NULL);

	if (v == FAILS)
		return -1;
	return __real_write(fd, data, v == IS_SHORT ? shorter(len) : len);
}

static void
note_write(int fd, const void *data, size_t len, uint64_t offset)
{
	uint64_t file = number_of_fd(fd);
	struct fault_event *e;

	if (!file)
		return;
	e = add_event(EVENT_WRITE, file, NULL);
	e->offset = offset;
	e->len = len;
	e->data = __real_malloc(len);
	if (!e->data)
		no_memory();
	memcpy(e->data, data, len);
}

ssize_t
__wrap_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	enum verdict v = judge(FAULT_WRITE, "pwrite", fd, NULL);
	bool traced;
	ssize_t n;

	if (v == FAILS)
		return -1;
	traced = trace_begin();
	n = __real_pwrite(fd, data, v == IS_SHORT ? shorter(len) : len, offset);
	if (traced && n > 0)
		note_write(fd, data, (size_t)n, (uint64_t)offset);
	trace_end(traced);
	return n;
}

/* Fails as a store does that ends in SIGBUS: nothing tells why. */
bool
__wrap_fs_map_write(const struct fs_map *map, const void *data, size_t len,
                    uint64_t offset)
{
	enum verdict v = judge(FAULT_WRITE, "fs_map_write", map->fd, NULL);
	bool traced, stored;

	if (v == FAILS)
		return false;
	if (v == IS_SHORT)
		len = shorter(len);
	traced = trace_begin();
	stored = __real_fs_map_write(map, data, len, offset);
	if (traced && stored)
		note_write(map->fd, data, len, offset);
	trace_end(traced);
	return stored && v == PASSES;
}

void *
__wrap_mmap(void *at, size_t len, int access, int flags, int fd, off_t offset)
{
	return fails(FAULT_MAP, "mmap", fd, NULL)
	               ? MAP_FAILED
	               : __real_mmap(at, len, access, flags, fd, offset);
}

int
__wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	struct fault_event *e;
	bool traced;
	int rc;

	if (fails(FAULT_ALLOCATE, "fallocate", fd, NULL))
		return -1;
	traced = trace_begin();
	rc = __real_fallocate(fd, mode, offset, len);
	if (traced && !rc && !mode && number_of_fd(fd)) {
		e = add_event(EVENT_ALLOCATE, number_of_fd(fd), NULL);
		e->offset = (uint64_t)offset;
		e->len = (uint64_t)len;
	}
	trace_end(traced);
	return rc;
}

int
__wrap_ftruncate(int fd, off_t len)
{
	bool traced;
	int rc;

	if (fails(FAULT_TRUNCATE, "ftruncate", fd, NULL))
		return -1;
	traced = trace_begin();
	rc = __real_ftruncate(fd, len);
	if (traced && !rc && number_of_fd(fd))
		add_event(EVENT_TRUNCATE, number_of_fd(fd), NULL)->len =
			(uint64_t)len;
	trace_end(traced);
	return rc;
}

/* ---- making durable ---- */

static void
note_sync(int fd, bool failed)
{
	if (is_traced_dir(fd))
		add_event(EVENT_DIR_SYNC, 0, NULL)->failed = failed;
	else if (number_of_fd(fd))
		add_event(EVENT_SYNC, number_of_fd(fd), NULL)->failed = failed;
}

static int
sync_call(enum fault_kind kind, const char *call, int (*real)(int), int fd)
{
	bool traced, failed = fails(kind, call, fd, NULL);
	int rc, error = errno;

	traced = trace_begin();
	rc = failed ? -1 : real(fd);
	if (!failed)
		error = errno;
	if (traced)
		note_sync(fd, rc != 0);
	trace_end(traced);
	errno = error;
	return rc;
}

int
__wrap_fsync(int fd)
{
	struct stat st;
	bool dir = !__real_fstat(fd, &st) && S_ISDIR(st.st_mode);

	return sync_call(dir ? FAULT_DIR_SYNC : FAULT_SYNC, "fsync",
	                 __real_fsync, fd);
}

int
__wrap_fdatasync(int fd)
{
	return sync_call(FAULT_DATASYNC, "fdatasync", __real_fdatasync, fd);
}

/* ---- changing the directory ---- */

int
__wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	struct fault_event *e;
	uint64_t file = 0;
	bool traced;
	int rc;

	if (fails(FAULT_RENAME, "renameat", -1, to))
		return -1;
	traced = trace_begin();
	if (traced && is_traced_dir(from_fd) && is_traced_dir(to_fd))
		file = number_of_name(from_fd, from);
	rc = __real_renameat(from_fd, from, to_fd, to);
	if (file && !rc) {
		e = add_event(EVENT_RENAME, file, from);
		snprintf(e->to, sizeof(e->to), "%s", to);
	}
	trace_end(traced);
	return rc;
}

int
__wrap_unlinkat(int dir_fd, const char *name, int flags)
{
	uint64_t file = 0;
	bool traced;
	int rc;

	if (fails(FAULT_UNLINK, "unlinkat", -1, name))
		return -1;
	traced = trace_begin();
	if (traced && is_traced_dir(dir_fd))
		file = number_of_name(dir_fd, name);
	rc = __real_unlinkat(dir_fd, name, flags);
	if (file && !rc)
		add_event(EVENT_UNLINK, file, name);
	trace_end(traced);
	return rc;
}

int
__wrap_mkdir(const char *path, mode_t mode)
{
	return fails(FAULT_MKDIR, "mkdir", -1, path) ? -1
	                                             : __real_mkdir(path, mode);
}

/* ---- hints ---- */

int
__wrap_posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
	return fails(FAULT_HINT, "posix_fadvise", fd, NULL)
	               ? errno
	               : __real_posix_fadvise(fd, offset, len, advice);
}

int
__wrap_sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags)
{
	return fails(FAULT_HINT, "sync_file_range", fd, NULL)
	               ? -1
	               : __real_sync_file_range(fd, offset, len, flags);
}

/* ---- memory ---- */

static bool
no_room(const char *call)
{
	return fails(FAULT_MALLOC, call, -1, "");
}

void *
__wrap_malloc(size_t size)
{
	return no_room("malloc") ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return no_room("calloc") ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return no_room("realloc") ? NULL : __real_realloc(p, size);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return no_room("reallocarray") ? NULL : __real_reallocarray(p, n, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return no_room("aligned_alloc") ? NULL
	                                : __real_aligned_alloc(align, size);
}

char *
__wrap_strdup(const char *text)
{
	return no_room("strdup") ? NULL : __real_strdup(text);
}

int
__wrap_asprintf(char **out, const char *format, ...)
{
	va_list ap;
	int n;

	if (no_room("asprintf"))
		return -1;
	va_start(ap, format);
	n = vasprintf(out, format, ap);
	va_end(ap);
	return n;
}

int
__wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
	va_list ap;
	int n;

	(void)flag;
	if (no_room("asprintf"))
		return -1;
	va_start(ap, format);
	n = vasprintf(out, format, ap);
	va_end(ap);
	return n;
}

#ifdef HAVE_LIBDEFLATE
struct libdeflate_compressor *
__wrap_libdeflate_alloc_compressor(int level)
{
	return no_room("libdeflate_alloc_compressor")
	               ? NULL
	               : __real_libdeflate_alloc_compressor(level);
}

struct libdeflate_decompressor *
__wrap_libdeflate_alloc_decompressor(void)
{
	return no_room("libdeflate_alloc_decompressor")
	               ? NULL
	               : __real_libdeflate_alloc_decompressor();
}
#endif

/* ---- threads and processes ---- */

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                      void *(*run)(void *), void *arg)
{
	return fails(FAULT_THREAD, "pthread_create", -1, "")
	               ? errno
	               : __real_pthread_create(thread, attributes, run, arg);
}

int
__wrap_posix_spawn(pid_t *pid, const char *path,
                   const posix_spawn_file_actions_t *actions,
                   const posix_spawnattr_t *attributes, char *const *argv,
                   char *const *env)
{
	return fails(FAULT_SPAWN, "posix_spawn", -1, path)
	               ? errno
	               : __real_posix_spawn(pid, path, actions, attributes,
	                                    argv, env);
}

int
__wrap_pipe2(int *fds, int flags)
{
	return fails(FAULT_SPAWN, "pipe2", -1, "") ? -1
	                                           : __real_pipe2(fds, flags);
}

int
__wrap_pidfd_open(pid_t pid, unsigned flags)
{
	return fails(FAULT_SPAWN, "pidfd_open", -1, "")
	               ? -1
	               : __real_pidfd_open(pid, flags);
}
