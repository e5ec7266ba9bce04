/* SPDX-License-Identifier: ISC */
/* Text rules; see text.h. UTF-8 itself is libunistring's business. */
#include <assert.h>
#include <unistr.h>

#include "http/text.h"

int
text_hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t
text_utf8_error(struct slice s)
{
	const uint8_t *bad = u8_check(s.data, s.len);

	return bad ? (size_t)(bad - s.data) : s.len;
}

bool
text_has_control(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.data[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		/* C1 is c2 80 to c2 9f; c2 always has a byte behind it. */
		if (c == 0xc2 && i + 1 < s.len && s.data[i + 1] < 0xa0)
			return true;
	}
	return false;
}

unsigned char *
text_put_utf8(unsigned char *to, uint32_t point)
{
	int n = u8_uctomb(to, (ucs4_t)point, 4);

	assert(n > 0);
	return to + n;
}
