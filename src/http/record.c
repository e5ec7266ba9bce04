/* SPDX-License-Identifier: ISC */
/* Where a request ends; see record.h, and section 3.3 of the FastCGI spec. */
#include "http/record.h"

enum {
	RECORD_VERSION = 1,
	RECORD_ABORT = 2,
	RECORD_PARAMS = 4,
	RECORD_STDIN = 5
};

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
