/* SPDX-License-Identifier: ISC */
/* Records; see record.h, and sections 3.3, 5.3, 5.5 of the FastCGI spec. */
#include <assert.h>

#include "http/record.h"

/* What the head of a record says of the rest of it. */
static void
read_head(struct record_scan *s)
{
	unsigned content = (unsigned)s->head[4] << 8 | s->head[5];

	if (s->head[0] != RECORD_VERSION) {
		s->last = true;
		return;
	}
	s->rest = content + s->head[6];
	s->ends_head = s->head[1] == RECORD_PARAMS && !content;
	s->last = s->head[1] == RECORD_ABORT ||
	          (s->head[1] == RECORD_STDIN && !content);
}

bool
record_scan(struct record_scan *s, struct slice bytes)
{
	size_t n;

	while (!s->whole && bytes.len) {
		if (s->head_len < sizeof(s->head)) {
			n = sizeof(s->head) - s->head_len;
			n = n < bytes.len ? n : bytes.len;
			memcpy(s->head + s->head_len, bytes.data, n);
			s->head_len += (unsigned)n;
			if (s->head_len == sizeof(s->head))
				read_head(s);
		} else {
			n = s->rest < bytes.len ? s->rest : bytes.len;
			s->rest -= (uint32_t)n;
		}
		bytes = slice_make(bytes.data + n, bytes.len - n);
		if (s->head_len == sizeof(s->head) && !s->rest) {
			s->head_whole = s->head_whole || s->ends_head;
			s->whole = s->last;
			s->head_len = 0;
		}
	}
	return s->whole;
}

static void
put_head(unsigned char head[RECORD_HEAD], unsigned type, unsigned id,
         size_t len, unsigned padding)
{
	head[0] = RECORD_VERSION;
	head[1] = (unsigned char)type;
	head[2] = (unsigned char)(id >> 8);
	head[3] = (unsigned char)id;
	head[4] = (unsigned char)(len >> 8);
	head[5] = (unsigned char)len;
	head[6] = (unsigned char)padding;
	head[7] = 0;
}

unsigned
record_answer(unsigned char head[RECORD_HEAD], unsigned id, size_t len)
{
	unsigned padding = (unsigned)-len % 8;

	assert(len && len <= RECORD_CONTENT_MAX);
	put_head(head, RECORD_STDOUT, id, len, padding);
	return padding;
}

void
record_answer_end(unsigned char end[RECORD_END], unsigned id)
{
	/* The end of the stream, and of the request: complete, status 0. */
	memset(end, 0, RECORD_END);
	put_head(end, RECORD_STDOUT, id, 0, 0);
	put_head(end + RECORD_HEAD, RECORD_END_REQUEST, id, RECORD_HEAD, 0);
}
