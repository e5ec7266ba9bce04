/* SPDX-License-Identifier: ISC */
/*
 * Every file system call of lsmkv, and nothing above it.
 *
 * One directory holds a store; all calls name files relative to it, through
 * its descriptor, so that moving or covering the path later changes nothing.
 * Calls restart after EINTR and go on after short reads and writes. Messages
 * name the file and the offset. All descriptors are close-on-exec.
 *
 * No other file of the project opens, syncs, renames or unlinks.
 */
#ifndef LSMKV_BASE_FSIO_H
#define LSMKV_BASE_FSIO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"

struct fs_dir {
	int fd;     /* O_DIRECTORY */
	char *path; /* owned, as the user gave it; for messages */
};

struct fs_file {
	int fd;             /* -1 when not open */
	char name[32];      /* in its directory; for messages */
	struct fs_dir *dir; /* borrowed: outlives the file */
};

#define FS_FILE_INIT                                                           \
	{                                                                      \
		-1, "", NULL                                                   \
	}

/*
 * Opens a directory. With create, makes it first (mode 0750) if it is
 * missing, and fsyncs its parent. dir is heap memory, freed by fs_dir_close.
 */
int fs_dir_open(struct fs_dir **dir, const char *path, bool create,
                struct err *err);
void fs_dir_close(struct fs_dir *dir); /* NULL allowed */
/* Makes creations, renames and unlinks in the directory durable. */
int fs_dir_sync(struct fs_dir *dir, struct err *err);
/*
 * Calls each(arg, name) for every entry but . and ..; stops when it != 0, and
 * returns that.
 */
int fs_dir_list(struct fs_dir *dir, int (*each)(void *arg, const char *name),
                void *arg, struct err *err);
/* Free bytes that this user may still write there. */
int fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes, struct err *err);

/*
 * The lock file that makes one process the owner: flock through flopen(3).
 * LSMKV_ELOCKED with a message that names the process that holds it; at once
 * if that one lives, after some seconds if it has ended and its helper has
 * not, so that a restart after a crash succeeds. The descriptor is what holds
 * the lock: it stays open as long as the store, and the helper inherits it.
 */
int fs_lock(struct fs_dir *dir, const char *name, struct fs_file *file,
            struct err *err);

/* Creates a file for writing and reading; it must not exist (O_EXCL). */
int fs_create(struct fs_dir *dir, const char *name, struct fs_file *file,
              struct err *err);
/* Opens for reading; LSMKV_NOTFOUND (no message) if there is none. */
int fs_open(struct fs_dir *dir, const char *name, struct fs_file *file,
            struct err *err);
void fs_close(struct fs_file *file); /* a closed one is fine */

/* Reads exactly len bytes at offset; LSMKV_ECORRUPT if the file ends first. */
int fs_read(const struct fs_file *file, void *to, size_t len, uint64_t offset,
            struct err *err);
/* Reads up to len bytes; *got is less only at the end of the file. */
int fs_read_some(const struct fs_file *file, void *to, size_t len,
                 uint64_t offset, size_t *got, struct err *err);
/*
 * Reads a whole file into out (replacing its content). LSMKV_ECORRUPT if it
 * has more than limit bytes.
 */
int fs_read_all(const struct fs_file *file, uint64_t limit, struct buf *out,
                struct err *err);
/*
 * Writes all len bytes at offset. On an error *written (may be NULL) says how
 * many bytes are certain to have been handed to the kernel.
 */
int fs_write(const struct fs_file *file, const void *data, size_t len,
             uint64_t offset, size_t *written, struct err *err);
/* Allocates disk space for [offset, offset + len), growing the file. */
int fs_allocate(const struct fs_file *file, uint64_t offset, uint64_t len,
                struct err *err);
int fs_size(const struct fs_file *file, uint64_t *size, struct err *err);

/* Data, and the metadata that is needed to read it back, to the disk. */
int fs_datasync(const struct fs_file *file, struct err *err);
/* Data and all metadata to the disk. Never retried: see doc/format.md. */
int fs_sync(const struct fs_file *file, struct err *err);

/* Durable only after fs_dir_sync. */
int fs_rename(struct fs_dir *dir, const char *from, const char *to,
              struct err *err);
/* A missing file is fine. Durable only after fs_dir_sync. */
int fs_unlink(struct fs_dir *dir, const char *name, struct err *err);

/* Writes text into an existing file outside of any store (/proc, /sys). */
int fs_write_setting(const char *path, const char *text, struct err *err);

/* Hints to the page cache; never fail. */
void fs_advise_sequential(const struct fs_file *file);
void fs_advise_random(const struct fs_file *file);
/* Asks for write-back of [offset, offset+len) to begin now, not to wait. */
void fs_start_writeback(const struct fs_file *file, uint64_t offset,
                        uint64_t len);

#endif
