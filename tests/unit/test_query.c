/* SPDX-License-Identifier: ISC */
/* Unit tests of http/query: pairs, percent-decoding, and what is refused. */
#include "http/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct expectation {
	const char *text;
	const char *pairs; /* name=value; names and values as decoded, a NUL
	                      shown as \0; or "!" for a refusal */
};

/* The pairs of text in one line, to be compared at a glance. */
static void
show(const char *text, char *out, size_t out_size)
{
	struct query q = query_make(text);
	struct buf name = BUF_INIT, value = BUF_INIT;
	struct err err = ERR_INIT;
	char n[64], v[64];
	size_t used = 0;
	int rc;

	out[0] = '\0';
	while ((rc = query_next(&q, &name, &value, &err)) == 0) {
		slice_printable(buf_slice(&name), n, sizeof(n));
		slice_printable(buf_slice(&value), v, sizeof(v));
		used += (size_t)snprintf(out + used, out_size - used,
		                         "[%s]=[%s]", n, v);
		assert_true(used < out_size);
	}
	if (rc != LSMKV_END) {
		assert_int_equal(rc, LSMKV_EINVAL);
		assert_int_not_equal(err.message[0], '\0');
		snprintf(out, out_size, "!");
	}
	buf_release(&name);
	buf_release(&value);
}

static void
check(const struct expectation *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char out[512];

		show(table[i].text, out, sizeof(out));
		if (strcmp(out, table[i].pairs))
			fail_msg("\"%s\": %s, not %s", table[i].text, out,
			         table[i].pairs);
	}
}

/* Ampersands part pairs, the first equals sign parts name and value. */
static void
test_pairs(void **state)
{
	static const struct expectation table[] = {
		{ "", "" },
		{ "key=a", "[key]=[a]" },
		{ "key=a&key=b", "[key]=[a][key]=[b]" },
		{ "a=1&b=2&c=3", "[a]=[1][b]=[2][c]=[3]" },
		{ "key=a=b==", "[key]=[a=b==]" },
		{ "key", "[key]=[]" },
		{ "key=", "[key]=[]" },
		{ "=a", "[]=[a]" },
		{ "=", "[]=[]" },
		{ "&&a=1&&&b=2&", "[a]=[1][b]=[2]" },
		{ "&", "" },
		{ "a=1;b=2", "[a]=[1;b=2]" },
	};

	(void)state;
	check(table, sizeof(table) / sizeof(table[0]));
}

/* Every byte can be percent-encoded, in names too, and is decoded once. */
static void
test_decoding(void **state)
{
	static const struct expectation table[] = {
		{ "key=%41%2e%7E", "[key]=[A.~]" },
		{ "%6bey=a", "[key]=[a]" },
		{ "key=a+b%20c%2B", "[key]=[a b c+]" },
		{ "key=%25zz%2541", "[key]=[%zz%41]" },
		{ "key=%26%3D%23", "[key]=[&=#]" },
		{ "key=%c3%A9", "[key]=[\\xc3\\xa9]" },
		{ "key=\xc3\xa9", "[key]=[\\xc3\\xa9]" },
		{ "key=%00x", "[key]=[\\x00x]" },
		{ "key=%ff%FE", "[key]=[\\xff\\xfe]" },
		{ "key=/a?b:c@d", "[key]=[/a?b:c@d]" },
	};

	(void)state;
	check(table, sizeof(table) / sizeof(table[0]));
}

/* A percent sign without two hex digits behind it is refused, not passed. */
static void
test_bad_escapes(void **state)
{
	static const struct expectation table[] = {
		{ "key=%", "!" },      { "key=%4", "!" },
		{ "key=%zz", "!" },    { "key=%4g", "!" },
		{ "key=%g4", "!" },    { "key=a%", "!" },
		{ "key=%%41", "!" },   { "%=a", "!" },
		{ "k%zy=a", "!" },     { "key=%4&1=2", "!" },
		{ "key=%+1", "!" },    { "key=% 1", "!" },
		{ "key=%-1", "!" },    { "key=%u0041", "!" },
		{ "ok=1&key=%", "!" },
	};

	(void)state;
	check(table, sizeof(table) / sizeof(table[0]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_decoding),
		cmocka_unit_test(test_bad_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
