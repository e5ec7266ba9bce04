/* SPDX-License-Identifier: ISC */
/*
 * A temporary directory for a test, and ways to damage what is in it.
 *
 * Plain libc, so that nothing under test takes part. What cannot be done is
 * told on stderr and aborts: a test without its fixture proves nothing.
 * Included as "lib/tmpdir.h".
 */
#ifndef LSMKV_TESTS_LIB_TMPDIR_H
#define LSMKV_TESTS_LIB_TMPDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes an empty directory below $TMPDIR or /tmp; returns its path, owned. */
char *tmpdir_new(void);
/* Removes it with all that it holds, and frees the path. NULL allowed. */
void tmpdir_free(char *dir);
/* Copies a directory's files (and theirs below) into a new one; its path. */
char *tmpdir_copy(const char *dir);

bool tmpdir_has(const char *dir, const char *name);
/* How many names it holds, . and .. aside. */
size_t tmpdir_count(const char *dir);
uint64_t tmpdir_size(const char *dir, const char *name);
/* A file's bytes, owned by the caller, with a NUL behind them. */
unsigned char *tmpdir_read(const char *dir, const char *name, size_t *len);

/* Makes or replaces a file. */
void tmpdir_write(const char *dir, const char *name, const void *data,
                  size_t len);
/* Overwrites bytes of a file that is there. */
void tmpdir_overwrite(const char *dir, const char *name, uint64_t offset,
                      const void *data, size_t len);
/* Flips the bits of mask in one byte. */
void tmpdir_flip(const char *dir, const char *name, uint64_t offset,
                 unsigned char mask);
void tmpdir_truncate(const char *dir, const char *name, uint64_t size);
/* Adds zeros at the end. */
void tmpdir_grow(const char *dir, const char *name, uint64_t more);
void tmpdir_remove(const char *dir, const char *name);

#endif
