/* SPDX-License-Identifier: ISC */
#include "lib/fastcgi.h"

#include <assert.h>
#include <stdlib.h>

static void
put(struct buf *b, const void *data, size_t len)
{
	if (buf_append(b, data, len, NULL))
		abort();
}

void
fastcgi_record(struct buf *b, unsigned char type, struct slice content,
               unsigned char padding)
{
	unsigned char head[8] = { 1, type, 0, 1 };
	static const unsigned char pad[255];

	assert(content.len <= 65535);
	head[4] = (unsigned char)(content.len >> 8);
	head[5] = (unsigned char)content.len;
	head[6] = padding;
	put(b, head, sizeof(head));
	put(b, content.data, content.len);
	put(b, pad, padding);
}

void
fastcgi_stream(struct buf *b, unsigned char type, struct slice content,
               size_t piece)
{
	while (content.len) {
		size_t n = content.len < piece ? content.len : piece;

		fastcgi_record(b, type, slice_make(content.data, n),
		               (unsigned char)(n % 8));
		content = slice_make(content.data + n, content.len - n);
	}
	fastcgi_record(b, type, content, 0);
}

void
fastcgi_begin(struct buf *b, bool keep, unsigned char role)
{
	unsigned char begin[8] = { 0, role, keep };

	fastcgi_record(b, FASTCGI_BEGIN, slice_make(begin, sizeof(begin)), 0);
}

static void
put_length(struct buf *b, size_t len)
{
	unsigned char four[4] = { (unsigned char)(len >> 24 | 0x80),
		                  (unsigned char)(len >> 16),
		                  (unsigned char)(len >> 8),
		                  (unsigned char)len };

	if (len < 128)
		put(b, four + 3, 1);
	else
		put(b, four, 4);
}

void
fastcgi_param(struct buf *b, struct slice name, struct slice value)
{
	put_length(b, name.len);
	put_length(b, value.len);
	put(b, name.data, name.len);
	put(b, value.data, value.len);
}
