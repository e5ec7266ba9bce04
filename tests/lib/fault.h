/* SPDX-License-Identifier: ISC */
/*
 * Faults in, and a trace of, the calls under the code in test: file calls,
 * memory, threads, child processes.
 *
 * A test program that is linked with $(fault_ldflags) (Makefile.am) has every
 * such call of our objects go through here; tests/lint/faults proves that
 * none goes past. Without a plan or a trace a call is counted and passed on.
 * Everything is thread-safe. Included as "lib/fault.h".
 *
 *     struct fault_plan plan = { FAULT_ALL_FILES, .nth = 7, .error = EIO };
 *     fault_reset();
 *     fault_set(&plan);
 *     rc = store_open(...);
 *     fault_reset();
 */
#ifndef LSMKV_TESTS_LIB_FAULT_H
#define LSMKV_TESTS_LIB_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- faults ---- */

/* Which calls; bits, so that a plan can be about several. */
enum fault_kind {
	FAULT_OPEN = 1 << 0, /* open, openat, flopenat, accept4, memfd_create */
	FAULT_READ = 1 << 1, /* read, pread, preadv2 */
	FAULT_WRITE = 1 << 2,    /* write, pwrite, fs_map_write */
	FAULT_ALLOCATE = 1 << 3, /* fallocate */
	FAULT_TRUNCATE = 1 << 4, /* ftruncate */
	FAULT_SYNC = 1 << 5,     /* fsync of a file */
	FAULT_DIR_SYNC = 1 << 6, /* fsync of a directory */
	FAULT_DATASYNC = 1 << 7, /* fdatasync */
	FAULT_RENAME = 1 << 8,   /* renameat */
	FAULT_UNLINK = 1 << 9,   /* unlinkat */
	FAULT_MKDIR = 1 << 10,   /* mkdir */
	FAULT_LIST = 1 << 11,    /* fdopendir, readdir */
	FAULT_STAT = 1 << 12,    /* fstat, fstatvfs */
	FAULT_HINT = 1 << 13,    /* posix_fadvise, sync_file_range */
	FAULT_CLOSE = 1 << 14,   /* close: reports the error, and has closed */
	FAULT_MALLOC = 1 << 15,  /* malloc, calloc, realloc, ..., strdup */
	FAULT_THREAD = 1 << 16,  /* pthread_create */
	FAULT_SPAWN = 1 << 17,   /* posix_spawn, pipe2, pidfd_open */
	FAULT_MAP = 1 << 18,     /* mmap */
};
#define FAULT_KINDS 19u
#define FAULT_ALL_FILES 0x47fffu
#define FAULT_ALL 0x7ffffu

enum fault_how {
	FAULT_FAILS, /* nothing is done; the call answers `error` */
	/* Reads and writes only: half of the bytes (at least one) are moved. */
	FAULT_SHORT,       /* and that is the answer */
	FAULT_SHORT_FAILS, /* and whatever comes next on that descriptor that
			      matches the plan answers `error` */
};

struct fault_plan {
	unsigned kinds; /* bits: which calls are counted and may fail */
	uint64_t nth;   /* the nth of them since fault_set, from 1 */
	bool for_good;  /* and all of them after it */
	int error;      /* errno; FAULT_MALLOC always answers ENOMEM */
	enum fault_how how;
	/* Only calls on the file of this name (not a path); NULL: any. Calls
	   that know only a descriptor look its name up. */
	const char *name;
};

/* Forgets plan and counts. A trace goes on. */
void fault_reset(void);
/* From now on; replaces the plan before it. Copied, but for name. */
void fault_set(const struct fault_plan *plan);
/* No more faults; the counts stay. */
void fault_clear(void);
/* Calls of these kinds since fault_reset. */
uint64_t fault_count(unsigned kinds);
/* Calls that the plan has failed or cut short since fault_set. */
uint64_t fault_fired(void);
/* "pwrite", ...: the last call that was failed or cut short; "" for none. */
const char *fault_last(void);
/*
 * Calls of this thread are neither counted nor failed between these two: for
 * what the test itself allocates, reads and writes. They nest.
 */
void fault_exempt_begin(void);
void fault_exempt_end(void);

/* ---- trace ---- */

enum fault_event_kind {
	EVENT_EXISTS,   /* file was there as `name` when the trace began */
	EVENT_CREATE,   /* a new, empty file called name */
	EVENT_WRITE,    /* data of len bytes at offset */
	EVENT_ALLOCATE, /* file reaches to offset + len at least */
	EVENT_TRUNCATE, /* file has len bytes */
	EVENT_SYNC,     /* fsync or fdatasync of a file */
	EVENT_DIR_SYNC, /* fsync of the directory */
	EVENT_RENAME,   /* name became `to` */
	EVENT_UNLINK,   /* name went */
	EVENT_MARK,     /* the test's own: see fault_trace_mark */
};

struct fault_event {
	enum fault_event_kind kind;
	bool failed;   /* EVENT_SYNC, EVENT_DIR_SYNC: the call failed,
				and nothing is known of what it did */
	uint64_t file; /* its number in this trace, never used twice; 0
				where there is none. A file keeps it under
				whatever name. */
	uint64_t offset, len;
	unsigned char *data; /* of EVENT_WRITE; owned by the trace */
	char name[48], to[48];
	uint64_t mark[2]; /* of EVENT_MARK */
};

struct fault_trace {
	struct fault_event *events;
	size_t count, cap;
};

/*
 * Begins a trace of all that changes the directory dir (not those below) and
 * its files. One at a time. Calls that change something happen one after the
 * other while it lasts, in the order of the trace; those that fail and change
 * nothing are not in it.
 */
void fault_trace_start(const char *dir);
/* Ends it; *trace belongs to the caller. */
void fault_trace_stop(struct fault_trace *trace);
/* Puts an event of the test into the trace; nothing without one. */
void fault_trace_mark(uint64_t a, uint64_t b);
/* Its place, from 0, or SIZE_MAX without a trace. */
size_t fault_trace_position(void);
void fault_trace_release(struct fault_trace *trace);

#endif
