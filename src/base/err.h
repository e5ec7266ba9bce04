/* SPDX-License-Identifier: ISC */
/*
 * Outcomes and error messages.
 *
 * Every function that can fail returns an int: 0 is success, a positive code
 * an ordinary outcome (nothing wrong, but not the plain case either), a
 * negative code an error. The deepest function that knows what went wrong
 * writes the message into the caller's struct err; callers on the way up only
 * prepend context, so that the text reads from the outside in. A message is
 * logged once, at the top.
 */
#ifndef LSMKV_BASE_ERR_H
#define LSMKV_BASE_ERR_H

#include <stdarg.h>

/* code, value, stable word, meaning */
/* clang-format off */
#define LSMKV_CODES(X)                                                       \
	X(LSMKV_OK, 0, "ok", "success")                                      \
	X(LSMKV_NOTFOUND, 1, "not_found", "there is no such key")            \
	X(LSMKV_END, 2, "end", "there is nothing more to read")              \
	X(LSMKV_CONFLICT, 3, "conflict", "a condition of the write did "     \
					 "not hold; nothing was written")    \
	X(LSMKV_EIO, -1, "io", "a system call failed")                       \
	X(LSMKV_ENOMEM, -2, "no_memory", "out of memory")                    \
	X(LSMKV_ENOSPC, -3, "disk_full", "the disk is full")                 \
	X(LSMKV_EROFS, -4, "read_only", "the file system is read-only")      \
	X(LSMKV_ECORRUPT, -5, "corrupt", "a stored file is damaged")         \
	X(LSMKV_EVERSION, -6, "format_version", "a file of a format that "   \
						"this version cannot read")  \
	X(LSMKV_EINVAL, -7, "invalid", "the caller's argument is not "       \
				       "allowed")                            \
	X(LSMKV_ETOOBIG, -8, "too_big", "key, value or batch over its "      \
					"limit")                             \
	X(LSMKV_ELOCKED, -9, "locked", "another process owns the store")     \
	X(LSMKV_ESTALLED, -10, "stalled", "writes wait for flush or "        \
					  "compaction; try again")           \
	X(LSMKV_EFAILED, -11, "failed", "an earlier write failed for good: " \
					"no writes until a restart")         \
	X(LSMKV_EUNKNOWN, -12, "outcome_unknown", "the disk failed while "   \
						  "this write was under way") \
	X(LSMKV_ESHUTDOWN, -13, "shutting_down", "the store is closing")     \
	X(LSMKV_ECHILD, -14, "helper", "the compaction helper failed")
/* clang-format on */

enum lsmkv_code {
#define X(code, value, word, text) code = value,
	LSMKV_CODES(X)
#undef X
};

#define ERR_MESSAGE_MAX 512

struct err {
	int code;                      /* the code of the last err_set */
	char message[ERR_MESSAGE_MAX]; /* NUL-terminated, for people */
};

#define ERR_INIT                                                               \
	{                                                                      \
		0, ""                                                          \
	}

/* The stable word ("disk_full") and the meaning of a code. */
const char *err_word(int code);
const char *err_text(int code);

/*
 * Sets code and message and returns code, so that a failure is one
 * `return err_set(err, ...)`. err may be NULL where nobody reads it.
 */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The same for a failed system call: maps errno_value to LSMKV_ENOSPC (also
 * EDQUOT), LSMKV_EROFS, LSMKV_ENOMEM or else LSMKV_EIO, and appends
 * ": " and its text.
 */
int err_set_errno(struct err *err, int errno_value, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts context and ": " before the message; the code stays. */
void err_prepend(struct err *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* LSMKV_ENOMEM with a message that says how much was wanted. */
int err_nomem(struct err *err, unsigned long bytes);

#endif
