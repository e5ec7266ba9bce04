/* SPDX-License-Identifier: ISC */
/*
 * The files of a store's directory as they were at one moment, sorted by kind
 * and number. Under a running store some of them are gone a moment later.
 */
#ifndef LSMKV_CLI_FILES_H
#define LSMKV_CLI_FILES_H

#include <stddef.h>

#include "base/fsio.h"
#include "store/names.h"

struct file {
	char *name; /* owned */
	enum name_kind kind;
	uint64_t number; /* 0 where the kind has none */
};

struct file_list {
	struct file *files; /* owned */
	size_t count;
	size_t cap; /* allocated */
};

#define FILE_LIST_INIT                                                         \
	{                                                                      \
		NULL, 0, 0                                                     \
	}

/* Lists dir into an empty list. */
int file_list_read(struct fs_dir *dir, struct file_list *list, struct err *err);
void file_list_release(struct file_list *list);

/* Size of a file: 0, LSMKV_NOTFOUND if it is gone, or an error. */
int file_size(struct fs_dir *dir, const char *name, uint64_t *size,
              struct err *err);

#endif
