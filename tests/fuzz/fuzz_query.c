/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a query string, up to the first NUL.
 *
 * Decoded as the plainest reading of the rules says (below, written for
 * clarity and not for speed), an error exactly where that finds a bad escape;
 * and what was decoded, encoded again, decodes to the same.
 */
#include "fuzz/fuzz.h"
#include "http/query.h"

#include <ctype.h>

#define INPUT_MAX (16u << 10)

const char fuzz_name[] = "query";

/* Decodes as the rules say; false where an escape is bad. */
static bool
decode(const char *text, size_t len, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < len; i++) {
		unsigned value = (unsigned char)text[i];
		unsigned char byte;

		if (value == '+')
			value = ' ';
		if (value == '%') {
			if (i + 2 >= len ||
			    !isxdigit((unsigned char)text[i + 1]) ||
			    !isxdigit((unsigned char)text[i + 2]))
				return false;
			sscanf(text + i + 1, "%2x", &value);
			i += 2;
		}
		byte = (unsigned char)value;
		REQUIRE(!buf_append(out, &byte, 1, NULL));
	}
	return true;
}

static void
encode(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		char byte[4];

		snprintf(byte, sizeof(byte), i % 2 ? "%%%02x" : "%%%02X",
		         s.data[i]);
		REQUIRE(!buf_append(out, byte, 3, NULL));
	}
}

/* name=value comes back from its encoding. */
static void
check_again(struct slice name, struct slice value)
{
	struct buf text = BUF_INIT, n = BUF_INIT, v = BUF_INIT;
	struct query q;

	encode(name, &text);
	REQUIRE(!buf_append(&text, "=", 1, NULL));
	encode(value, &text);
	REQUIRE(!buf_append(&text, "", 1, NULL));
	q = query_make((const char *)text.data);
	REQUIRE(!query_next(&q, &n, &v, NULL));
	REQUIRE(slice_equal(buf_slice(&n), name));
	REQUIRE(slice_equal(buf_slice(&v), value));
	REQUIRE(query_next(&q, &n, &v, NULL) == LSMKV_END);
	buf_release(&text);
	buf_release(&n);
	buf_release(&v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf name = BUF_INIT, value = BUF_INIT;
	struct buf want_name = BUF_INIT, want_value = BUF_INIT;
	char *text, *rest, *pair;
	struct query q;
	bool good = true;

	if (size > INPUT_MAX)
		return 0;
	text = malloc(size + 1);
	rest = malloc(size + 1);
	REQUIRE(text && rest);
	memcpy(text, data, size);
	text[size] = '\0';
	memcpy(rest, text, size + 1);
	q = query_make(text);
	for (char *at = rest; good && (pair = strsep(&at, "&"));) {
		struct err err = ERR_INIT;
		char *equals = strchr(pair, '=');
		size_t len = strlen(pair);
		int rc;

		if (!len)
			continue;
		good = decode(pair, equals ? (size_t)(equals - pair) : len,
		              &want_name);
		if (good && equals)
			good = decode(equals + 1, strlen(equals + 1),
			              &want_value);
		else
			buf_clear(&want_value);
		rc = query_next(&q, &name, &value, &err);
		REQUIRE(rc == (good ? 0 : LSMKV_EINVAL));
		if (!good) {
			REQUIRE(err.message[0] == '"');
			break;
		}
		REQUIRE(slice_equal(buf_slice(&name), buf_slice(&want_name)));
		REQUIRE(slice_equal(buf_slice(&value), buf_slice(&want_value)));
		check_again(buf_slice(&name), buf_slice(&value));
	}
	if (good)
		REQUIRE(query_next(&q, &name, &value, NULL) == LSMKV_END);
	buf_release(&name);
	buf_release(&value);
	buf_release(&want_name);
	buf_release(&want_value);
	free(text);
	free(rest);
	return 0;
}
