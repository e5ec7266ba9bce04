/* SPDX-License-Identifier: ISC */
/*
 * The owning half of byte strings: growth, copies, and bytes as text.
 *
 * Growth is the only thing here that fails, and it fails before anything has
 * changed: a buf that could not grow holds what it held.
 */
#include "base/bytes.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_BYTES 64u /* of a buf that grows for the first time */

int
buf_reserve(struct buf *b, size_t more, struct err *err)
{
	size_t need, cap;
	unsigned char *data;

	if (more <= b->cap - b->len)
		return 0;
	/* So that doubling stays below PTRDIFF_MAX, the most that malloc has. */
	if (b->len > PTRDIFF_MAX / 2 || more > PTRDIFF_MAX / 2 - b->len)
		return err_nomem(err, more);
	need = b->len + more;
	cap = b->cap ? b->cap : BUF_FIRST_BYTES;
	while (cap < need)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data)
		return err_nomem(err, cap);
	b->data = data;
	b->cap = cap;
	return 0;
}

int
buf_append(struct buf *b, const void *data, size_t len, struct err *err)
{
	int rc = buf_reserve(b, len, err);

	if (rc)
		return rc;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int
buf_append_slice(struct buf *b, struct slice s, struct err *err)
{
	return buf_append(b, s.data, s.len, err);
}

int
buf_set(struct buf *b, struct slice s, struct err *err)
{
	if (s.len > b->cap) {
		int rc = buf_reserve(b, s.len - b->len, err);

		if (rc)
			return rc;
	}
	if (s.len)
		memcpy(b->data, s.data, s.len);
	b->len = s.len;
	return 0;
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
}

void
buf_release(struct buf *b)
{
	struct buf empty = BUF_INIT;

	free(b->data);
	*b = empty;
}

char *
slice_printable(struct slice s, char *out, size_t out_size)
{
	size_t at = 0, cut = 0, i; /* cut: the last place where "..." fits */

	if (!out_size)
		return out;
	for (i = 0; i < s.len; i++) {
		unsigned char c = s.data[i];
		size_t n = c >= 0x20 && c < 0x7f ? 1 : 4;

		if (at + n >= out_size) {
			snprintf(out + cut, out_size - cut, "...");
			return out;
		}
		if (n == 1)
			out[at] = (char)c;
		else
			snprintf(out + at, out_size - at, "\\x%02x", c);
		at += n;
		if (at + 3 < out_size)
			cut = at;
	}
	out[at] = '\0';
	return out;
}
