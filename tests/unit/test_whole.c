/* SPDX-License-Identifier: ISC */
/* Unit tests of http/whole: requests that are read from where they came in. */
#include "http/whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fastcgi.h"

#define BODY "{\"key\":\"a\",\"value\":1}"
#define ROLE_RESPONDER 1
#define ROLE_FILTER 3

static void
put_param(struct buf *b, const char *name, const char *value)
{
	fastcgi_param(b, slice_str(name), slice_str(value));
}

/* What a web server says of a POST; lengths of one byte and of four. */
static void
put_variables(struct buf *b)
{
	char agent[300];

	memset(agent, 'x', sizeof(agent) - 1);
	agent[sizeof(agent) - 1] = '\0';
	put_param(b, "QUERY_STRING", "key=a%20b");
	put_param(b, "REQUEST_METHOD", "GET");
	put_param(b, "HTTP_USER_AGENT", agent);
	put_param(b, "HTTP_ORIGIN", "");
	put_param(b, "CONTENT_LENGTH", "21");
	put_param(b, "SCRIPT_NAME", "/s");
	put_param(b, "PATH_INFO", "et");
	put_param(b, "REQUEST_METHOD", "POST"); /* the last one counts */
	put_param(b, "HTTP_HOST", "localhost:8081");
}

static void
put_request(struct buf *b, size_t params_piece, const char *body,
            size_t body_piece)
{
	struct buf params = BUF_INIT;

	put_variables(&params);
	fastcgi_begin(b, true, ROLE_RESPONDER);
	fastcgi_stream(b, FASTCGI_PARAMS, buf_slice(&params), params_piece);
	fastcgi_stream(b, FASTCGI_BODY, slice_str(body), body_piece);
	buf_release(&params);
}

static bool
find(const struct buf *b)
{
	struct whole w;

	return whole_find(buf_slice(b), &w);
}

static void
test_variables_and_body(void **state)
{
	struct buf b = BUF_INIT;
	struct request r = { .method = METHOD_OTHER };
	struct whole w;
	size_t len;

	(void)state;
	put_request(&b, 65535, BODY, 65535);
	len = b.len;
	/* The next one is not this one's. */
	fastcgi_begin(&b, false, ROLE_RESPONDER);
	assert_true(whole_find(buf_slice(&b), &w));
	assert_int_equal(w.len, len);
	assert_int_equal(w.id, 1);
	assert_true(w.keep);
	assert_int_equal(w.body_len, strlen(BODY));
	assert_memory_equal(b.data + w.body, BODY, w.body_len);

	assert_true(whole_read(b.data, &w, &r));
	assert_int_equal(r.method, METHOD_POST);
	assert_string_equal(r.path, "/set");
	assert_string_equal(r.query, "key=a%20b");
	assert_string_equal(r.host, "localhost:8081");
	assert_string_equal(r.origin, "");
	assert_null(r.fetch_site);
	assert_int_equal(r.length_state, LENGTH_GIVEN);
	assert_int_equal(r.length, 21);
	assert_memory_equal(b.data + w.body, BODY, w.body_len);
	request_release(&r);
	buf_release(&b);
}

/* Without variables and without a body it is one all the same. */
static void
test_empty(void **state)
{
	struct buf b = BUF_INIT;
	struct request r = { .method = METHOD_GET };
	struct whole w;

	(void)state;
	fastcgi_begin(&b, false, ROLE_RESPONDER);
	fastcgi_stream(&b, FASTCGI_PARAMS, slice_make(NULL, 0), 1);
	fastcgi_stream(&b, FASTCGI_BODY, slice_make(NULL, 0), 1);
	assert_true(whole_find(buf_slice(&b), &w));
	assert_int_equal(w.len, b.len);
	assert_false(w.keep);
	assert_int_equal(w.variables_len + w.body_len, 0);
	assert_true(whole_read(b.data, &w, &r));
	assert_int_equal(r.method, METHOD_OTHER);
	assert_string_equal(r.path, "");
	assert_int_equal(r.length_state, LENGTH_ABSENT);
	request_release(&r);
	buf_release(&b);
}

/* As long as a byte is missing it is none. */
static void
test_every_cut(void **state)
{
	struct buf b = BUF_INIT;
	struct whole w;

	(void)state;
	put_request(&b, 65535, BODY, 65535);
	for (size_t len = 0; len < b.len; len++) {
		/* On the heap, so that a byte too far is seen. */
		unsigned char *cut = malloc(len + !len);

		assert_non_null(cut);
		memcpy(cut, b.data, len);
		assert_false(whole_find(slice_make(cut, len), &w));
		free(cut);
	}
	assert_true(find(&b));
	buf_release(&b);
}

/* What is not of the usual form is for libfcgi. */
static void
test_unusual(void **state)
{
	struct buf b = BUF_INIT, params = BUF_INIT;
	static const struct {
		size_t at; /* a byte of the request */
		unsigned char byte;
	} wrong[] = {
		{ 0, 2 },  /* version */
		{ 1, 4 },  /* not a begin */
		{ 3, 0 },  /* about us, not a request */
		{ 3, 2 },  /* what follows is another one's */
		{ 5, 16 }, /* a longer begin */
		{ 8, 1 },  /* role, its first byte */
		{ 9, ROLE_FILTER },
		{ 17, 5 }, /* the body before the variables */
	};

	(void)state;
	put_request(&b, 100, BODY, 65535);
	assert_false(find(&b));
	buf_clear(&b);
	put_request(&b, 65535, BODY, 5);
	assert_false(find(&b));
	buf_clear(&b);
	put_request(&b, 65535, BODY, 65535);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		unsigned char kept = b.data[wrong[i].at];

		b.data[wrong[i].at] = wrong[i].byte;
		assert_false(find(&b));
		b.data[wrong[i].at] = kept;
	}
	assert_true(find(&b));
	/* An abort in place of the body. */
	buf_clear(&b);
	put_variables(&params);
	fastcgi_begin(&b, true, ROLE_RESPONDER);
	fastcgi_stream(&b, FASTCGI_PARAMS, buf_slice(&params), 65535);
	fastcgi_record(&b, FASTCGI_ABORT, slice_make(NULL, 0), 0);
	assert_false(find(&b));
	buf_release(&params);
	buf_release(&b);
}

/* Variables that do not add up are refused, wherever they are cut. */
static void
test_variables_cut(void **state)
{
	struct buf params = BUF_INIT;
	struct request r = { .method = METHOD_OTHER };
	size_t whole = 0, ends = 0;

	(void)state;
	put_param(&params, "A", "");
	ends++;
	put_param(&params, "QUERY_STRING", "key=a");
	ends++;
	put_variables(&params);
	ends += 9;
	for (size_t len = 0; len <= params.len; len++) {
		struct buf b = BUF_INIT;
		struct whole w;

		fastcgi_begin(&b, true, ROLE_RESPONDER);
		fastcgi_stream(&b, FASTCGI_PARAMS, slice_make(params.data, len),
		               65535);
		fastcgi_stream(&b, FASTCGI_BODY, slice_make(NULL, 0), 1);
		assert_true(whole_find(buf_slice(&b), &w));
		whole += whole_read(b.data, &w, &r);
		buf_release(&b);
	}
	assert_int_equal(whole, ends + 1); /* and where there are none */
	request_release(&r);
	buf_release(&params);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_variables_and_body),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_unusual),
		cmocka_unit_test(test_variables_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
