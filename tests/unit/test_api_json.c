/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of http/api_json: RFC 8259 to the letter, in the spirit of the
 * public JSONTestSuite (what must be taken, what must be refused), and
 * values stored exactly as they were sent. json-c gives a second opinion.
 */
#include "http/api_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include <cmocka.h>

#include "http/text.h"

/* A text that may hold NULs. */
#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

struct text {
	const char *data;
	size_t len;
};

/* What became of a body. */
struct outcome {
	enum api_problem problem; /* PROBLEM_NONE: the rest is there */
	struct api_pair pair;     /* borrows from body */
	struct buf body;          /* owned */
	char detail[256];
};

static struct outcome
read_body(const char *data, size_t len)
{
	struct outcome o = { 0 };
	struct api_json j;

	/* Its exact size on the heap, so that ASan sees a step too far. */
	o.body.data = malloc(len + 1);
	assert_non_null(o.body.data);
	o.body.cap = len + 1;
	o.body.len = len;
	memcpy(o.body.data, data, len);
	if (!api_json_begin(&j, &o.body) || !api_json_pair(&j, &o.pair) ||
	    !api_json_end(&j)) {
		o.problem = j.problem;
		assert_int_not_equal(o.problem, PROBLEM_NONE);
		memcpy(o.detail, j.detail, sizeof(o.detail));
		assert_true(strlen(o.detail) > 0);
		/* A message goes into a body of its own: it must be UTF-8. */
		assert_int_equal(text_utf8_error(slice_str(o.detail)),
		                 strlen(o.detail));
	}
	return o;
}

static struct outcome
read_text(const char *text)
{
	return read_body(text, strlen(text));
}

/* The same for {"key":"k","value":VALUE}. */
static struct outcome
read_value(struct text value)
{
	static const char before[] = "{\"key\":\"k\",\"value\":", after[] = "}";
	struct buf b = BUF_INIT;
	struct outcome o;

	assert_int_equal(buf_append_slice(&b, slice_str(before), NULL), 0);
	assert_int_equal(buf_append(&b, value.data, value.len, NULL), 0);
	assert_int_equal(buf_append_slice(&b, slice_str(after), NULL), 0);
	o = read_body((const char *)b.data, b.len);
	buf_release(&b);
	return o;
}

static void
assert_slice(struct slice s, const char *data, size_t len)
{
	assert_int_equal(s.len, len);
	if (len)
		assert_memory_equal(s.data, data, len);
}

static void
assert_problem(const char *text, enum api_problem want)
{
	struct outcome o = read_text(text);

	if (o.problem != want)
		fail_msg("%s: %s (%s), not %s", text,
		         o.problem ? api_problem_word(o.problem) : "taken",
		         o.detail, api_problem_word(want));
	buf_release(&o.body);
}

/* A value that is no string is kept byte for byte, whatever it is. */
static void
test_other_values_are_kept(void **state)
{
	static const struct text values[] = {
		TEXT("0"),
		TEXT("-0"),
		TEXT("-0.0e-0"),
		TEXT("123"),
		TEXT("-123.456"),
		TEXT("1E22"),
		TEXT("1e+2"),
		TEXT("1e-2"),
		TEXT("1.0"),
		TEXT("1e400"),
		TEXT("123456789012345678901234567890"),
		TEXT("-9223372036854775809"),
		TEXT("18446744073709551616"),
		TEXT("0.1000000000000000055511151231257827"),
		TEXT("true"),
		TEXT("false"),
		TEXT("null"),
		TEXT("[]"),
		TEXT("{}"),
		TEXT("[ ]"),
		TEXT("{ \n }"),
		TEXT("[1, 2 ,3]"),
		TEXT("[[],{},[{}]]"),
		TEXT("[null,true,false,0,\"\"]"),
		TEXT("{\"a\":1,\"a\":2}"),
		TEXT("{\"\":0}"),
		TEXT("{\"a\" : { \"b\":[ 1 , {\"c\":null} ] } }"),
		TEXT("[\"\\u0041\\n\\\"\\\\\\/\\b\\f\\r\\t\"]"),
		TEXT("[\"\\u0000\"]"),
		TEXT("{\"a\\u0000b\":1}"),
		TEXT("[\"\\ud835\\udc00\\uD83D\\uDE00\"]"),
		TEXT("[\"\xc3\xa9\xf0\x9f\x98\x80\"]"),
		TEXT("[\"]\",\"}\",\"{[,:\"]"),
		TEXT("[\"\\\\\"]"),
		TEXT("[\"\x7f\"]"),
		TEXT("[\"\xef\xbf\xbf\xe2\x80\xa8\"]"),
		TEXT("-1"),
		TEXT("42"),
		TEXT("20e1"),
		TEXT("0e1"),
		TEXT("0e+1"),
		TEXT("0E-0"),
		TEXT("1E-2"),
		TEXT("123e65"),
		TEXT("123.456e78"),
		TEXT("-0.000000000000000000000000000000000000000000000000000001"),
		TEXT("0.4e006699999999999999999999999999999999999999999999999999"),
		TEXT("-1e+9999"),
		TEXT("123e-10000000"),
		TEXT("[\n1\n,\t2\r]"),
		TEXT("[[[[[[[[[[]]]]]]]]]]"),
		TEXT("{\"a\":[],\"b\":{\"\":{}}}"),
		TEXT("{\"min\":-1.0e+28,\"max\":1.0e+28}"),
		TEXT("{\n\"a\": \"b\"\n}"),
		TEXT("{\"a\":\"b\",\"a\":\"b\"}"),
		TEXT("[\"a/*b*/c/*d//e\"]"),
		TEXT("[\"\\\\u0000\",\"\\\\a\",\"\\\\n\"]"),
		TEXT("[\"\\u0012\\u000A\\u00A0\\u2028\\uFFFE\\uFDD0\"]"),
		TEXT("[\"\\uD801\\udc37\\uDBFF\\uDFFE\\ud83d\\ude39\\ud83d\\udc8d\"]"),
		TEXT("[\"\xf4\x8f\xbf\xbf\xf0\x9b\xbf\xbf\xe2\x80\xa9\"]"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct outcome o = read_value(values[i]);

		if (o.problem)
			fail_msg("%s: %s", values[i].data, o.detail);
		assert_false(o.pair.is_text);
		assert_slice(o.pair.value, values[i].data, values[i].len);
		assert_slice(o.pair.key, "k", 1);
		buf_release(&o.body);
	}
}

/* A string is stored as the text it means. */
static void
test_strings_are_decoded(void **state)
{
	static const struct {
		struct text sent, means;
	} values[] = {
		{ TEXT("\"\""), TEXT("") },
		{ TEXT("\"a\""), TEXT("a") },
		{ TEXT("\"a\\n\""), TEXT("a\n") },
		{ TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
		  TEXT("\"\\/\b\f\n\r\t") },
		{ TEXT("\"\\u0041\\u00e9\\u20AC\""),
		  TEXT("A\xc3\xa9\xe2\x82\xac") },
		{ TEXT("\"a\\u0000b\""), TEXT("a\0b") },
		{ TEXT("\"\\ud834\\udd1e\""), TEXT("\xf0\x9d\x84\x9e") },
		{ TEXT("\"\\ud836\\udc00\""), TEXT("\xf0\x9d\xa0\x80") },
		{ TEXT("\"\\uDBFF\\uDFFF\""), TEXT("\xf4\x8f\xbf\xbf") },
		{ TEXT("\"\\uFFFF\\uFDD0\""),
		  TEXT("\xef\xbf\xbf\xef\xb7\x90") },
		{ TEXT("\"\\uD7FF\\uE000\""),
		  TEXT("\xed\x9f\xbf\xee\x80\x80") },
		{ TEXT("\"\\u005C\\u0022n\""), TEXT("\\\"n") },
		{ TEXT("\"\\\\u0041\""), TEXT("\\u0041") },
		{ TEXT("\"x\\u00e9y\\n\\n z\""), TEXT("x\xc3\xa9y\n\n z") },
		{ TEXT("\"\xc3\xa9\xf0\x9f\x98\x80\""),
		  TEXT("\xc3\xa9\xf0\x9f\x98\x80") },
		{ TEXT("\"\x7f\""), TEXT("\x7f") },
		{ TEXT("\"{\\\"key\\\":1}\""), TEXT("{\"key\":1}") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct outcome o = read_value(values[i].sent);

		if (o.problem)
			fail_msg("%s: %s", values[i].sent.data, o.detail);
		assert_true(o.pair.is_text);
		assert_slice(o.pair.value, values[i].means.data,
		             values[i].means.len);
		buf_release(&o.body);
	}
}

/* What is no JSON is refused wherever it stands. */
static void
test_refused_values(void **state)
{
	static const struct text values[] = {
		/* numbers */
		TEXT("01"),
		TEXT("-01"),
		TEXT("-"),
		TEXT("+1"),
		TEXT("++1"),
		TEXT("--1"),
		TEXT("1."),
		TEXT(".5"),
		TEXT("-.5"),
		TEXT("1.e1"),
		TEXT("1e"),
		TEXT("1e+"),
		TEXT("1eE2"),
		TEXT("1.2.3"),
		TEXT("0x1"),
		TEXT("1_000"),
		TEXT("1 000"),
		TEXT("- 1"),
		TEXT("0e"),
		TEXT("0.1.2"),
		TEXT("00"),
		TEXT("1e1.5"),
		TEXT("2.e+3"),
		TEXT("-2."),
		TEXT("0b1"),
		TEXT("\xef\xbc\x91"),
		TEXT("1a"),
		TEXT("1/2"),
		TEXT("1+2"),
		TEXT("NaN"),
		TEXT("nan"),
		TEXT("-NaN"),
		TEXT("Infinity"),
		TEXT("-Infinity"),
		TEXT("inf"),
		TEXT(".-1"),
		TEXT(".2e-3"),
		TEXT("0.3e"),
		TEXT("0.3e+"),
		TEXT("0.e1"),
		TEXT("0E"),
		TEXT("0E+"),
		TEXT("1.0e"),
		TEXT("1.0e-"),
		TEXT("1.0e+"),
		TEXT("2.e3"),
		TEXT("9.e+"),
		TEXT("0e+-1"),
		TEXT("1ea"),
		TEXT("1e1a"),
		TEXT("-012"),
		TEXT("-1x"),
		TEXT("-foo"),
		TEXT("-1.0."),
		TEXT("-123.123foo"),
		TEXT("1.2a-3"),
		TEXT("1.8H-3"),
		TEXT("1 000.0"),
		TEXT("+Inf"),
		TEXT("2@"),
		TEXT("1-1"),
		/* words */
		TEXT("True"),
		TEXT("FALSE"),
		TEXT("nul"),
		TEXT("nulll"),
		TEXT("truefalse"),
		TEXT("true false"),
		TEXT("undefined"),
		TEXT("abc"),
		TEXT("*"),
		TEXT("$"),
		TEXT("fals"),
		TEXT("tru"),
		TEXT("truth"),
		TEXT("[ false, nul"),
		TEXT("[true,fals"),
		TEXT("a\xc3\xa5"),
		TEXT("\xc3\xa9"),
		TEXT("[\xc3\xa9]"),
		TEXT("\\u0020\"a\""),
		TEXT("[\\n]"),
		TEXT("[\\u000A\"\"]"),
		/* strings */
		TEXT("\""),
		TEXT("\"a"),
		TEXT("'a'"),
		TEXT("\"a\"b"),
		TEXT("\"\\\""),
		TEXT("\"\\x41\""),
		TEXT("\"\\a\""),
		TEXT("\"\\'\""),
		TEXT("\"\\0\""),
		TEXT("\"\\u\""),
		TEXT("\"\\u1\""),
		TEXT("\"\\u12\""),
		TEXT("\"\\u123\""),
		TEXT("\"\\u123g\""),
		TEXT("\"\\U0041\""),
		TEXT("\"\\u 041\""),
		TEXT("\"\\u+041\""),
		TEXT("\"\\u-041\""),
		TEXT("\"\\\n\""),
		TEXT("\"\n\""),
		TEXT("\"\t\""),
		TEXT("\"\x1f\""),
		TEXT("\"\x01\""),
		TEXT("\"a\0b\""),
		TEXT("\"\\\0\""),
		TEXT("\"\\u004\0\""),
		TEXT("\xe2\x80\x9c"
		     "a\xe2\x80\x9d"),
		TEXT("\"\"x"),
		TEXT("\"\\\xf0\x9f\x8c\x80\""),
		TEXT("\"\\uqqqq\""),
		TEXT("\"\\u00A\""),
		TEXT("\"\\UA66D\""),
		TEXT("\"\\\\\\\""),
		TEXT("\"\\\t\""),
		TEXT("[\"\\"),
		TEXT("[\"new\nline\"]"),
		TEXT("[\"asd]"),
		/* lone surrogates */
		TEXT("\"\\ud800\""),
		TEXT("\"\\uDBFF\""),
		TEXT("\"\\udc00\""),
		TEXT("\"\\uDFFF\""),
		TEXT("\"\\ud800a\""),
		TEXT("\"\\ud800\\n\""),
		TEXT("\"\\ud800\\ud800\""),
		TEXT("\"\\ud800\\u0041\""),
		TEXT("\"\\udc00\\ud800\""),
		TEXT("\"\\ud800\\udc0\""),
		TEXT("\"\\ud800\\u\""),
		TEXT("\"\\ud800\\\""),
		TEXT("\"\\ud834\\udd\""),
		TEXT("\"\\uD800\\u1\""),
		TEXT("\"\\uD800\\u1x\""),
		TEXT("\"\\uD800\\uD800\\x\""),
		TEXT("\"\\uD888\\u1234\""),
		TEXT("\"\\uD800\\uD800\\n\""),
		TEXT("\"\\uDd1e\\uD834\""),
		TEXT("\"\\uDd1ea\""),
		TEXT("{\"\\uDFAA\":0}"),
		/* arrays */
		TEXT("["),
		TEXT("]"),
		TEXT("[1"),
		TEXT("[1,"),
		TEXT("[1,]"),
		TEXT("[,1]"),
		TEXT("[,]"),
		TEXT("[1,,2]"),
		TEXT("[1 2]"),
		TEXT("[1}"),
		TEXT("[1]]"),
		TEXT("[1:2]"),
		TEXT("[\"a\":1]"),
		TEXT("[*]"),
		TEXT("[\"a\" \"b\"]"),
		TEXT("[[]"),
		TEXT("[1;2]"),
		TEXT("(1)"),
		TEXT("<1>"),
		TEXT("[1 true]"),
		TEXT("[3[4]]"),
		TEXT("[   , \"\"]"),
		TEXT("[\"x\",,]"),
		TEXT("[\"\",]"),
		TEXT("[\"\"],"),
		TEXT("[\"x\""),
		TEXT("[x"),
		TEXT("[{}"),
		TEXT("[["),
		TEXT("[,"),
		TEXT("[{"),
		TEXT("['"),
		TEXT("[][]"),
		TEXT("[1]x"),
		TEXT("1]"),
		TEXT("[\"a\",\n4\n,1,"),
		TEXT("[\"\va\"\\f]"),
		TEXT("[<null>]"),
		TEXT("<.>"),
		TEXT("[{\"\":[{\"\":[{\"\":"),
		TEXT("[\"\\{[\"\\{[\"\\{"),
		/* objects */
		TEXT("{"),
		TEXT("}"),
		TEXT("{\"a\"}"),
		TEXT("{\"a\":}"),
		TEXT("{\"a\":1,}"),
		TEXT("{,\"a\":1}"),
		TEXT("{\"a\" 1}"),
		TEXT("{\"a\":1 \"b\":2}"),
		TEXT("{\"a\":1,,\"b\":2}"),
		TEXT("{a:1}"),
		TEXT("{'a':1}"),
		TEXT("{1:1}"),
		TEXT("{null:1}"),
		TEXT("{\"a\"::1}"),
		TEXT("{\"a\":1:2}"),
		TEXT("{\"a\":1]"),
		TEXT("{[]:1}"),
		TEXT("{\"a\",1}"),
		TEXT("{\"a\":1"),
		TEXT("{:1}"),
		TEXT("{\"a\\"),
		TEXT("{\"a"),
		TEXT("{\"x\", null}"),
		TEXT("{[: \"x\"}"),
		TEXT("{9999E9999:1}"),
		TEXT("{null:null,null:null}"),
		TEXT("{\"a\" b}"),
		TEXT("{\"a\" \"b\"}"),
		TEXT("{\"a\""),
		TEXT("{\"a\":"),
		TEXT("{\"a\":\"a"),
		TEXT("{\"a\":\"a\" 123}"),
		TEXT("{\"id\":0,,,,,}"),
		TEXT("{\"x\":true,"),
		TEXT("{ \"foo\":\"bar\",\"a\" }"),
		TEXT("{key: 1}"),
		TEXT("{'a'"),
		TEXT("{\xf0\x9f\x87\xa8\xf0\x9f\x87\xad}"),
		TEXT("{]"),
		TEXT("{,"),
		TEXT("{["),
		TEXT("{}}"),
		TEXT("{\"a\":true} \"x\""),
		TEXT("{\"a\":\"b\"}/**/"),
		TEXT("{\"a\":\"b\"}/**//"),
		TEXT("{\"a\":\"b\"}//"),
		TEXT("{\"a\":\"b\"}/"),
		TEXT("{\"a\":\"b\"}#{}"),
		TEXT("{\"a\":/*c*/\"b\"}"),
		/* around values */
		TEXT(""),
		TEXT(","),
		TEXT("1,"),
		TEXT("1 1"),
		TEXT("/**/1"),
		TEXT("1/**/"),
		TEXT("//\n1"),
		TEXT("1#"),
		TEXT("\0"),
		TEXT("1\0"),
		TEXT("\f1"),
		TEXT("\v1"),
		TEXT("\xc2\xa0"
		     "1"),
		TEXT("\xe2\x81\xa0"
		     "1"),
		TEXT("\xef\xbb\xbf"
		     "1"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct outcome o = read_value(values[i]);

		if (o.problem != PROBLEM_JSON_INVALID)
			fail_msg("%zu, %s: %s (%s)", i, values[i].data,
			         o.problem ? api_problem_word(o.problem)
			                   : "taken",
			         o.detail);
		buf_release(&o.body);
	}
}

/* Bytes that are no UTF-8 are refused, inside strings and out. */
static void
test_refused_bytes(void **state)
{
	static const struct text values[] = {
		TEXT("\"\xe9\""),
		TEXT("\"\xc0\xaf\""),
		TEXT("\"\xed\xa0\x80\""),
		TEXT("\"\xf4\xbf\xbf\xbf\""),
		TEXT("\"\xff\""),
		TEXT("\"\x81\""),
		TEXT("\"\xe0\xff\""),
		TEXT("\"\xfc\x80\x80\x80\x80\x80\""),
		TEXT("\"\xe4\xb8\""),
		TEXT("[\xff]"),
		TEXT("\xff\xfe"),
		TEXT("{\"\xb9\":1}"),
		TEXT("\"\\u\xc0\""),
		TEXT("[a\xe5]"),
		TEXT("123\xe5"),
		TEXT("1e1\xe5"),
		TEXT("1e\xe5"),
		TEXT("\"\\\xe5\""),
		TEXT("\xef\xbb{}"),
		TEXT("\"\xe6\x97\xa5\xd1\x88\xfa\""),
		TEXT("\"\xfc\x83\xbf\xbf\xbf\xbf\""),
		TEXT("\xff\xfe[\0\"\0\xe9\0\"\0]\0"),
		TEXT("[\0\"\0\xe9\0\"\0]\0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct outcome o = read_value(values[i]);

		assert_int_equal(o.problem, PROBLEM_UTF8_INVALID);
		buf_release(&o.body);
	}
}

/* White space may stand between any two tokens and is not stored. */
static void
test_white_space(void **state)
{
	struct outcome o = read_text(" \t\r\n{ \"key\"\t:\n\"k\" ,\r\n"
	                             "\"value\" : [1, 2]\t }\r\n ");

	(void)state;
	assert_int_equal(o.problem, PROBLEM_NONE);
	assert_slice(o.pair.key, "k", 1);
	assert_slice(o.pair.value, "[1, 2]", 6);
	buf_release(&o.body);
}

/* Members may come in any order, and their names with any escapes. */
static void
test_members(void **state)
{
	struct outcome o = read_text(
		"{\"\\u0076alue\":\"\\u0076\",\"k\\u0065y\":\"\\u006b\"}");

	(void)state;
	assert_int_equal(o.problem, PROBLEM_NONE);
	assert_slice(o.pair.key, "k", 1);
	assert_slice(o.pair.value, "v", 1);
	assert_true(o.pair.is_text);
	buf_release(&o.body);
}

/* A member that is missing, there twice, or unknown is told as such. */
static void
test_wrong_members(void **state)
{
	static const struct {
		const char *text;
		enum api_problem want;
	} table[] = {
		{ "{}", PROBLEM_KEY_MISSING },
		{ "{\"value\":1}", PROBLEM_KEY_MISSING },
		{ "{\"key\":\"k\"}", PROBLEM_VALUE_MISSING },
		{ "{\"key\":\"a\",\"key\":\"b\",\"value\":1}",
		  PROBLEM_KEY_TWICE },
		{ "{\"key\":\"a\",\"k\\u0065y\":\"a\",\"value\":1}",
		  PROBLEM_KEY_TWICE },
		{ "{\"key\":\"\",\"key\":\"\",\"value\":1}",
		  PROBLEM_KEY_TWICE },
		{ "{\"value\":1,\"key\":\"a\",\"value\":2}",
		  PROBLEM_VALUE_TWICE },
		{ "{\"value\":\"\",\"value\":\"\",\"key\":\"a\"}",
		  PROBLEM_VALUE_TWICE },
		{ "{\"key\":1,\"value\":1}", PROBLEM_KEY_INVALID },
		{ "{\"key\":null,\"value\":1}", PROBLEM_KEY_INVALID },
		{ "{\"key\":[\"a\"],\"value\":1}", PROBLEM_KEY_INVALID },
		{ "{\"key\":tru,\"value\":1}", PROBLEM_JSON_INVALID },
		{ "{\"key\":\"k\",\"value\":1,\"x\":1}",
		  PROBLEM_MEMBER_UNKNOWN },
		{ "{\"Key\":\"k\",\"value\":1}", PROBLEM_MEMBER_UNKNOWN },
		{ "{\"key\\u0000\":\"k\",\"value\":1}",
		  PROBLEM_MEMBER_UNKNOWN },
		{ "{\"key \":\"k\",\"value\":1}", PROBLEM_MEMBER_UNKNOWN },
		{ "{\"\":\"k\",\"value\":1}", PROBLEM_MEMBER_UNKNOWN },
	};
	struct outcome o;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_problem(table[i].text, table[i].want);
	o = read_text("{\"key\":\"k\",\"valeu\":1}");
	assert_non_null(strstr(o.detail, "\"valeu\""));
	buf_release(&o.body);
}

/* A long unknown name is cut between two characters. */
static void
test_long_member_name(void **state)
{
	struct outcome o;
	char text[512] = "{\"";

	(void)state;
	/* Characters of three bytes: 64 is inside one. */
	for (int i = 0; i < 60; i++)
		strcat(text, "\xe2\x82\xac");
	strcat(text, "\":1}");
	o = read_text(text); /* checks that the message is UTF-8 */
	assert_int_equal(o.problem, PROBLEM_MEMBER_UNKNOWN);
	assert_non_null(strstr(o.detail, "..."));
	buf_release(&o.body);
}

/* The body is one object with nothing behind it. */
static void
test_not_one_object(void **state)
{
	static const char *const bodies[] = {
		"",
		" ",
		"1",
		"\"a\"",
		"null",
		"[]",
		"[{\"key\":\"a\"}]",
		"x",
		"{\"key\":\"a\",\"value\":1}x",
		"{\"key\":\"a\",\"value\":1}{}",
		"{\"key\":\"a\",\"value\":1},",
		"{\"key\":\"a\",\"value\":1}}",
		"{\"key\":\"a\",\"value\":1",
		"{\"key\":\"a\",\"value\":1,",
		"{\"key\":\"a\",\"value\":1,}",
		"{\"key\"",
		"{\"key\":",
		"{\"key\":\"a\"",
		"{\"key\":\"a\",",
		"{",
		"{,}",
		"{\"key\"}",
		"\xef\xbb\xbf{\"key\":\"a\",\"value\":1}",
		"key=a&value=b",
		"{key:\"a\",value:1}",
		"{]",
	};
	struct outcome o;

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_problem(bodies[i], PROBLEM_JSON_INVALID);
	o = read_body("{\"key\":\"a\",\"value\":1}\0", 23);
	assert_int_equal(o.problem, PROBLEM_JSON_INVALID);
	buf_release(&o.body);
}

/* The message says at which byte it went wrong. */
static void
test_position(void **state)
{
	static const struct {
		const char *text, *position;
	} table[] = {
		{ "{\"key\":\"a\",\"value\":x}", "offset 19" },
		{ "{\"key\":\"\\u0041\\q\"}", "offset 14" },
		{ "{\"key\":\"a\"", "offset 10, where it ends" },
		{ "{\"key\":\"a\",\"value\":[1,2 3]}", "offset 24" },
		{ "[]", "offset 0" },
		{ "  17", "offset 2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct outcome o = read_text(table[i].text);

		if (!strstr(o.detail, table[i].position))
			fail_msg("%s: %s", table[i].text, o.detail);
		buf_release(&o.body);
	}
}

/* 64 open arrays and objects are fine, 65 are not, the pair's own counts. */
static void
test_depth(void **state)
{
	(void)state;
	for (unsigned depth = 62; depth <= 66; depth++) {
		for (int kind = 0; kind < 3; kind++) {
			struct buf b = BUF_INIT;
			struct outcome o;

			for (unsigned i = 0; i < depth; i++) {
				bool object = kind == 1 || (kind == 2 && i % 2);

				buf_append_slice(
					&b, slice_str(object ? "{\"\":" : "["),
					NULL);
			}
			buf_append(&b, "0", 1, NULL);
			for (unsigned i = depth; i-- > 0;) {
				bool object = kind == 1 || (kind == 2 && i % 2);

				buf_append(&b, object ? "}" : "]", 1, NULL);
			}
			o = read_value((struct text){ (char *)b.data, b.len });
			assert_int_equal(o.problem,
			                 depth + 1 <= API_JSON_DEPTH_MAX
			                         ? PROBLEM_NONE
			                         : PROBLEM_JSON_DEPTH);
			if (!o.problem)
				assert_slice(o.pair.value, (char *)b.data,
				             b.len);
			buf_release(&o.body);
			buf_release(&b);
		}
	}
	/* A hundred thousand brackets are refused, not a stack's end. */
	char *deep = malloc(100001);

	assert_non_null(deep);
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	assert_problem(deep, PROBLEM_JSON_DEPTH);
	free(deep);
}

/* json-c reads text too: false if it does not take it. */
static bool
second_opinion(const char *data, size_t len, struct json_object **object)
{
	struct json_tokener *t = json_tokener_new_ex(100);
	bool ok;

	assert_non_null(t);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT |
	                                  JSON_TOKENER_VALIDATE_UTF8);
	*object = json_tokener_parse_ex(t, data, (int)len);
	if (json_tokener_get_error(t) == json_tokener_continue)
		*object = json_tokener_parse_ex(t, "", -1);
	ok = json_tokener_get_error(t) == json_tokener_success;
	json_tokener_free(t);
	return ok;
}

/*
 * Whatever damage a body takes, what is still taken is JSON to json-c as
 * well, with the same key; and nothing reads or writes out of bounds.
 */
static void
test_damaged_bodies(void **state)
{
	static const char *const seeds[] = {
		"{\"key\":\"caf\xc3\xa9 \\u00e9\",\"value\":\"a\\nb\\ud83d"
		"\\ude00c\"}",
		"{\"value\":{\"a\":[1,-2.5e+3,true,null,{}],\"b\":\"x\"},"
		"\"key\":\"k\"}",
		"{\"key\":\"\\\\\\\"\",\"value\":[[\"\",\"\\u0041\"],[],0.1]}",
	};
	static const char alphabet[] = "{}[]\",:\\u0123dDefE+-. \ntrnlas\x80"
				       "\xc3\xff";
	unsigned long seed = 20260131, taken = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const char *from = seeds[round % 3];
		size_t len = strlen(from);
		struct json_object *object = NULL, *key = NULL;
		struct outcome o;
		char text[128];

		memcpy(text, from, len);
		for (int change = 0; change <= round % 2; change++) {
			seed = seed * 6364136223846793005ul +
			       1442695040888963407ul;
			size_t at = (seed >> 33) % len;
			char c =
				alphabet[(seed >> 20) % (sizeof(alphabet) - 1)];

			if (seed >> 60 < 8) {
				text[at] = c;
			} else {
				memmove(text + at, text + at + 1, len - at - 1);
				len--;
			}
		}
		o = read_body(text, len);
		if (!o.problem) {
			taken++;
			if (!second_opinion(text, len, &object) ||
			    !json_object_object_get_ex(object, "key", &key))
				fail_msg("taken: %.*s", (int)len, text);
			assert_slice(o.pair.key, json_object_get_string(key),
			             (size_t)json_object_get_string_len(key));
			json_object_put(object);
		}
		buf_release(&o.body);
	}
	/* Some damage is harmless (a letter of a string), most is not. */
	assert_in_range(taken, 500, 19000);
}

/* A body of 300,000 containers is read as any other. */
static void
test_large_body(void **state)
{
	size_t count = 300000;
	struct buf b = BUF_INIT;
	struct outcome o;

	(void)state;
	buf_append(&b, "[", 1, NULL);
	for (size_t i = 0; i < count; i++)
		buf_append(&b, "{},", 3, NULL);
	buf_append(&b, "{}]", 3, NULL);
	o = read_value((struct text){ (char *)b.data, b.len });
	assert_int_equal(o.problem, PROBLEM_NONE);
	assert_slice(o.pair.value, (char *)b.data, b.len);
	buf_release(&o.body);
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_values_are_kept),
		cmocka_unit_test(test_strings_are_decoded),
		cmocka_unit_test(test_refused_values),
		cmocka_unit_test(test_refused_bytes),
		cmocka_unit_test(test_white_space),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_wrong_members),
		cmocka_unit_test(test_long_member_name),
		cmocka_unit_test(test_not_one_object),
		cmocka_unit_test(test_position),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_damaged_bodies),
		cmocka_unit_test(test_large_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
