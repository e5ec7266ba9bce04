/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a JSON body.
 *
 * What is accepted, json-c accepts, too (it lets more through, never less); a
 * value that is no string is a piece of the body as it was sent; a string and
 * the key are UTF-8, and written as JSON again they are read as the same.
 * What is refused says why, in text that fits into an answer.
 */
#include <json.h>

#include "fuzz/fuzz.h"
#include "http/api_json.h"
#include "http/text.h"

#define INPUT_MAX (16u << 10)

const char fuzz_name[] = "json";

static bool
read_pair(struct api_json *j, struct buf *body, struct api_pair *pair)
{
	return api_json_begin(j, body) && api_json_pair(j, pair) &&
	       api_json_end(j);
}

static bool
json_c_accepts(struct slice text)
{
	struct json_tokener *t = json_tokener_new_ex(100);
	struct json_object *object;
	bool ok;

	REQUIRE(t);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT |
	                                  JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(t, (const char *)text.data,
	                               (int)text.len);
	if (json_tokener_get_error(t) == json_tokener_continue)
		object = json_tokener_parse_ex(t, "", -1);
	ok = json_tokener_get_error(t) == json_tokener_success;
	json_object_put(object);
	json_tokener_free(t);
	return ok;
}

static void
put_unit(uint32_t unit, bool upper, struct buf *out)
{
	char text[8];

	snprintf(text, sizeof(text), upper ? "\\u%04X" : "\\u%04x", unit);
	REQUIRE(!buf_append(out, text, 6, NULL));
}

/* The code point at s.data[*i], which is UTF-8; *i is behind it then. */
static uint32_t
take_point(struct slice s, size_t *i)
{
	uint32_t c = s.data[(*i)++];
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more)
		c &= 0x3fu >> more;
	while (more--)
		c = c << 6 | (s.data[(*i)++] & 0x3f);
	return c;
}

/* As \u escapes, plain, or both in turn: one text has many spellings. */
static void
put_string(struct slice s, unsigned spelling, struct buf *out)
{
	REQUIRE(!buf_append(out, "\"", 1, NULL));
	for (size_t i = 0; i < s.len;) {
		size_t from = i;
		uint32_t point = take_point(s, &i);
		bool upper = i % 2;

		if (point >= 0x20 && point != '"' && point != '\\' &&
		    (spelling + from) % 3) {
			REQUIRE(!buf_append(out, s.data + from, i - from,
			                    NULL));
		} else if (point < 0x10000) {
			put_unit(point, upper, out);
		} else {
			point -= 0x10000;
			put_unit(0xd800 | point >> 10, upper, out);
			put_unit(0xdc00 | (point & 0x3ff), !upper, out);
		}
	}
	REQUIRE(!buf_append(out, "\"", 1, NULL));
}

static void
check_again(const struct api_pair *pair, unsigned spelling)
{
	struct buf body = BUF_INIT;
	struct api_pair again;
	struct api_json j;

	REQUIRE(!buf_append_slice(&body, slice_str("{ \"value\" :\t"), NULL));
	if (pair->is_text)
		put_string(pair->value, spelling, &body);
	else
		REQUIRE(!buf_append_slice(&body, pair->value, NULL));
	REQUIRE(!buf_append_slice(&body, slice_str("\r\n, \"\\u006bey\":"),
	                          NULL));
	put_string(pair->key, spelling + 1, &body);
	REQUIRE(!buf_append_slice(&body, slice_str(" }"), NULL));
	REQUIRE(read_pair(&j, &body, &again));
	REQUIRE(slice_equal(again.key, pair->key));
	REQUIRE(slice_equal(again.value, pair->value));
	REQUIRE(again.is_text == pair->is_text);
	buf_release(&body);
}

static void
check_accepted(struct slice sent, const struct api_pair *pair)
{
	REQUIRE(json_c_accepts(sent));
	REQUIRE(text_utf8_error(pair->key) == pair->key.len);
	REQUIRE(text_utf8_error(pair->value) == pair->value.len);
	REQUIRE(pair->key.len + pair->value.len <= sent.len);
	if (!pair->is_text) {
		REQUIRE(pair->value.len);
		REQUIRE(memmem(sent.data, sent.len, pair->value.data,
		               pair->value.len));
		REQUIRE(json_c_accepts(pair->value));
	}
	check_again(pair, 0);
	check_again(pair, 1);
	check_again(pair, 2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice sent = slice_make(data, size);
	struct buf body = BUF_INIT;
	struct api_pair pair;
	struct api_json j;

	if (size > INPUT_MAX)
		return 0;
	REQUIRE(!buf_append_slice(&body, sent, NULL));
	if (read_pair(&j, &body, &pair)) {
		check_accepted(sent, &pair);
	} else {
		struct slice detail = slice_str(j.detail);

		REQUIRE(j.problem != PROBLEM_NONE && detail.len);
		REQUIRE(text_utf8_error(detail) == detail.len);
		REQUIRE(!text_has_control(detail));
	}
	buf_release(&body);
	return 0;
}
