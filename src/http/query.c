/* SPDX-License-Identifier: ISC */
/* Query strings; see query.h. */
#include "http/query.h"
#include "http/text.h"

static int
decode(const char *text, size_t len, struct buf *out, struct err *err)
{
	unsigned char *to;
	int rc;

	buf_clear(out);
	rc = buf_reserve(out, len, err);
	if (rc)
		return rc;
	to = out->data;
	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (text[i] == '+') {
			*to++ = ' ';
			continue;
		}
		if (text[i] != '%') {
			*to++ = (unsigned char)text[i];
			continue;
		}
		high = i + 1 < len ? text_hex((unsigned char)text[i + 1]) : -1;
		low = i + 2 < len ? text_hex((unsigned char)text[i + 2]) : -1;
		if (high < 0 || low < 0) {
			char shown[16];
			size_t n = len - i < 3 ? len - i : 3;

			slice_printable(slice_make(text + i, n), shown,
			                sizeof(shown));
			return err_set(err, LSMKV_EINVAL,
			               "\"%s\" is not a percent-encoded byte; "
			               "write a percent sign as %%25",
			               shown);
		}
		*to++ = (unsigned char)(high << 4 | low);
		i += 2;
	}
	if (to)
		out->len = (size_t)(to - out->data);
	return 0;
}

int
query_next(struct query *q, struct buf *name, struct buf *value,
           struct err *err)
{
	const char *start, *equals;
	size_t len, name_len;
	int rc;

	/* Empty pairs, as in "a=1&&b=2&", mean nothing to anyone. */
	start = q->rest + strspn(q->rest, "&");
	len = strcspn(start, "&");
	q->rest = start + len;
	if (!len)
		return LSMKV_END;

	equals = memchr(start, '=', len);
	name_len = equals ? (size_t)(equals - start) : len;
	rc = decode(start, name_len, name, err);
	if (rc)
		return rc;
	if (!equals) {
		buf_clear(value);
		return 0;
	}
	return decode(equals + 1, len - name_len - 1, value, err);
}
