/* SPDX-License-Identifier: ISC */
/*
 * Byte strings: a slice borrows, a buf owns.
 *
 * A slice never owns what it points at; whoever hands one out says how long
 * it is valid. A buf owns heap memory, grows by doubling, and is empty when
 * all its members are zero (BUF_INIT), so that releasing it is always legal.
 */
#ifndef LSMKV_BASE_BYTES_H
#define LSMKV_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

struct slice {
	const unsigned char *data; /* borrowed; may be NULL when len is 0 */
	size_t len;                /* bytes */
};

struct buf {
	unsigned char *data; /* owned; NULL when cap is 0 */
	size_t len;          /* bytes in use */
	size_t cap;          /* bytes allocated */
};

#define BUF_INIT                                                               \
	{                                                                      \
		NULL, 0, 0                                                     \
	}

static inline struct slice
slice_make(const void *data, size_t len)
{
	struct slice s = { (const unsigned char *)data, len };
	return s;
}

static inline struct slice
slice_str(const char *text)
{
	return slice_make(text, strlen(text));
}

static inline struct slice
buf_slice(const struct buf *b)
{
	return slice_make(b->data, b->len);
}

/* Byte order: negative, 0 or positive as a sorts before, with or after b. */
static inline int
slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	if (c)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static inline bool
slice_has_prefix(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len &&
	       (!prefix.len || !memcmp(s.data, prefix.data, prefix.len));
}

/*
 * Makes room for `more` bytes behind len. LSMKV_ENOMEM leaves b unchanged.
 * Pointers into b are invalid afterwards.
 */
int buf_reserve(struct buf *b, size_t more, struct err *err);
int buf_append(struct buf *b, const void *data, size_t len, struct err *err);
int buf_append_slice(struct buf *b, struct slice s, struct err *err);
/* Replaces the content by a copy of s. */
int buf_set(struct buf *b, struct slice s, struct err *err);
/* Keeps the memory, forgets the content. */
void buf_clear(struct buf *b);
/* Frees the memory; b is BUF_INIT again. */
void buf_release(struct buf *b);

/*
 * Writes s as text into out (NUL-terminated, cut with "..." if it does not
 * fit): printable ASCII as it is, all else as \xHH. For logs, errors, dumps.
 * Returns out.
 */
char *slice_printable(struct slice s, char *out, size_t out_size);

#endif
