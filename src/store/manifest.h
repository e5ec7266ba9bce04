/* SPDX-License-Identifier: ISC */
/*
 * MANIFEST: the one truth about which files live (doc/format.md, "MANIFEST").
 *
 * Small, rewritten whole: MANIFEST.tmp, fsync, rename, fsync of the
 * directory. Before the rename the old one is the truth, after the directory's
 * fsync the new one; in between either may come back, and both are whole.
 */
#ifndef LSMKV_STORE_MANIFEST_H
#define LSMKV_STORE_MANIFEST_H

#include "base/fsio.h"
#include "store/levels.h"

#define MANIFEST_FORMAT_VERSION 1u

struct manifest_file {
	unsigned level;
	struct sst_info info; /* owned */
};

struct manifest {
	uint64_t generation;   /* 1 for the first, +1 with every rewrite */
	uint64_t next_file;    /* no file number at or above it was ever used */
	uint64_t last_version; /* of everything in the SSTs */
	uint64_t wal_oldest;   /* segments below it are not needed any more */
	struct manifest_file *files; /* owned */
	size_t file_count;
};

#define MANIFEST_INIT                                                          \
	{                                                                      \
		0                                                              \
	}

void manifest_release(struct manifest *m);

/*
 * LSMKV_NOTFOUND (no message) if there is none; LSMKV_ECORRUPT with file and
 * offset; LSMKV_EVERSION.
 */
int manifest_load(struct fs_dir *dir, struct manifest *m, struct err *err);

/*
 * Makes head's numbers and the files of levels the new truth; durable on
 * return of 0. head->files is not read. After an error the outcome on disk is
 * either one, except when *renamed is false: then the old one is untouched.
 */
int manifest_save(struct fs_dir *dir, const struct manifest *head,
                  const struct levels *levels, bool *renamed, struct err *err);

#endif
