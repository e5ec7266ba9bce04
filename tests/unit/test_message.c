/* SPDX-License-Identifier: ISC */
/* Unit tests of http/message and http/text: CGI variables in, a head out. */
#include "http/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/text.h"

#define ENV(...) ((char *[]){ __VA_ARGS__, NULL })

/* Everything that is wanted is found, wherever it stands in the list. */
static void
test_environment(void **state)
{
	struct request r = { 0 };

	(void)state;
	request_read_env(&r, ENV("FCGI_ROLE=RESPONDER", "HTTP_HOST=h:1",
	                         "REQUEST_METHODS=x", "QUERY_STRING=key=a",
	                         "REQUEST_METHOD=POST", "SCRIPT_NAME=/set",
	                         "CONTENT_LENGTH=12", "HTTP_ORIGIN=http://o",
	                         "HTTP_SEC_FETCH_SITE=none", "PATH=/bin"));
	assert_int_equal(r.method, METHOD_POST);
	assert_string_equal(r.path, "/set");
	assert_string_equal(r.query, "key=a");
	assert_string_equal(r.host, "h:1");
	assert_string_equal(r.origin, "http://o");
	assert_string_equal(r.fetch_site, "none");
	assert_int_equal(r.length_state, LENGTH_GIVEN);
	assert_int_equal(r.length, 12);
	request_release(&r);
}

/* Nothing of a request is seen by the next one in the same struct. */
static void
test_reading_again(void **state)
{
	struct request r = { 0 };

	(void)state;
	request_read_env(&r, ENV("REQUEST_METHOD=GET", "SCRIPT_NAME=/get",
	                         "QUERY_STRING=key=a", "HTTP_HOST=h",
	                         "CONTENT_LENGTH=3", "HTTP_ORIGIN=o"));
	assert_int_equal(buf_set(&r.body, slice_str("abc"), NULL), 0);
	request_read_env(&r, ENV("X=y"));
	assert_int_equal(r.method, METHOD_OTHER);
	assert_string_equal(r.path, "");
	assert_string_equal(r.query, "");
	assert_null(r.host);
	assert_null(r.origin);
	assert_int_equal(r.length_state, LENGTH_ABSENT);
	assert_int_equal(r.length, 0);
	assert_int_equal(r.body.len, 0);
	request_release(&r);
}

/* The path is SCRIPT_NAME and PATH_INFO, however a server cuts it. */
static void
test_path(void **state)
{
	struct request r = { 0 };
	char script[400] = "SCRIPT_NAME=/";

	(void)state;
	request_read_env(&r, ENV("SCRIPT_NAME=", "PATH_INFO=/get"));
	assert_string_equal(r.path, "/get");
	request_read_env(&r, ENV("SCRIPT_NAME=/get"));
	assert_string_equal(r.path, "/get");
	request_read_env(&r, ENV("PATH_INFO=/x", "SCRIPT_NAME=/get"));
	assert_string_equal(r.path, "/get/x");
	memset(script + strlen(script), 'x', 300);
	request_read_env(&r, ENV(script, "PATH_INFO=/get"));
	assert_string_equal(r.path, "");
	request_release(&r);
}

/* A length is digits; "" is none; what no number holds is over any limit. */
static void
test_length(void **state)
{
	static const struct {
		const char *env;
		enum request_length want;
		uint64_t length;
	} table[] = {
		{ "X=", LENGTH_ABSENT, 0 },
		{ "CONTENT_LENGTH=", LENGTH_ABSENT, 0 },
		{ "CONTENT_LENGTH=0", LENGTH_GIVEN, 0 },
		{ "CONTENT_LENGTH=007", LENGTH_GIVEN, 7 },
		{ "CONTENT_LENGTH=18446744073709551615", LENGTH_GIVEN,
		  UINT64_MAX },
		{ "CONTENT_LENGTH=99999999999999999999", LENGTH_GIVEN,
		  UINT64_MAX },
		{ "CONTENT_LENGTH=-1", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH=+1", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH= 1", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH=1 ", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH=0x1", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH=1e3", LENGTH_BAD, 0 },
		{ "CONTENT_LENGTH=1,1", LENGTH_BAD, 0 },
	};
	struct request r = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		request_read_env(&r, ENV((char *)table[i].env));
		assert_int_equal(r.length_state, table[i].want);
		assert_true(r.length == table[i].length);
	}
	request_release(&r);
}

/* The text of res's head. */
static char *
head_of(const struct response *res, struct buf *out)
{
	assert_int_equal(response_head(res, out, NULL), 0);
	assert_int_equal(buf_append(out, "", 1, NULL), 0);
	return (char *)out->data;
}

/* Every head has its length and the four fields that keep values inert. */
static void
test_head(void **state)
{
	struct response res = { 0 };
	struct buf out = BUF_INIT;

	(void)state;
	response_reset(&res);
	assert_string_equal(
		head_of(&res, &out),
		"Status: 200 OK\r\n"
		"Content-Length: 0\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"Content-Security-Policy: default-src 'none'; sandbox\r\n"
		"Cache-Control: no-store\r\n"
		"\r\n");
	res.status = 405;
	res.content_type = "text/x";
	res.version = UINT64_MAX;
	res.allow = "GET, HEAD";
	res.retry_after_s = 60;
	res.allow_origin = "https://o";
	res.body = slice_str("12345");
	assert_string_equal(
		head_of(&res, &out),
		"Status: 405 Method Not Allowed\r\n"
		"Content-Length: 5\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"Content-Security-Policy: default-src 'none'; sandbox\r\n"
		"Cache-Control: no-store\r\n"
		"Content-Type: text/x\r\n"
		"ETag: \"18446744073709551615\"\r\n"
		"Allow: GET, HEAD\r\n"
		"Retry-After: 60\r\n"
		"Vary: Origin\r\n"
		"Access-Control-Expose-Headers: ETag\r\n"
		"Access-Control-Allow-Origin: https://o\r\n"
		"\r\n");
	buf_release(&out);
	response_release(&res);
}

/* HEAD tells of the body and does not send it. */
static void
test_head_only(void **state)
{
	struct response res = { .status = 200, .body = slice_str("abc") };
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(response_payload(&res).len, 3);
	res.head_only = true;
	assert_int_equal(response_payload(&res).len, 0);
	assert_non_null(strstr(head_of(&res, &out), "Content-Length: 3\r\n"));
	buf_release(&out);
}

/* C0, DEL and C1 are control characters; nothing else is. */
static void
test_control_characters(void **state)
{
	(void)state;
	assert_false(text_has_control(slice_str(" ~\xc2\xa0\xc3\x80\xc3\x9f"
	                                        "\xf0\x9d\x91\xb8")));
	assert_true(text_has_control(slice_make("a\0b", 3)));
	assert_true(text_has_control(slice_str("\x1f")));
	assert_true(text_has_control(slice_str("a\x7f")));
	assert_true(text_has_control(slice_str("\xc2\x80")));
	assert_true(text_has_control(slice_str("a\xc2\x9f")));
}

/* Overlong forms, surrogates, and what is above U+10FFFF are no UTF-8. */
static void
test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t bad; /* offset of the first bad byte */
	} table[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9 },
		{ "a\xe9", 1 },
		{ "ab\xc0\x80", 2 },
		{ "\xed\xa0\x80", 0 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xef\xbf\xbf", 3 },
		{ "a\xf0\x9f\x98", 1 },
		{ "\xff", 0 },
		{ "\xe0\x80\x80", 0 },
		{ "\x80", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(text_utf8_error(slice_str(table[i].text)),
		                 table[i].bad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_reading_again),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_head_only),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
