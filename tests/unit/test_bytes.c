/* SPDX-License-Identifier: ISC */
/* Unit tests of base/bytes: slices compared, bufs grown, bytes as text. */
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Byte order is unsigned, and a prefix sorts before what it begins. */
static void
test_slice_order(void **state)
{
	/* ascending */
	static const struct slice order[] = {
		{ NULL, 0 },
		{ (const unsigned char *)"\0", 1 },
		{ (const unsigned char *)"a", 1 },
		{ (const unsigned char *)"a\0", 2 },
		{ (const unsigned char *)"ab", 2 },
		{ (const unsigned char *)"b", 1 },
		{ (const unsigned char *)"\x7f", 1 },
		{ (const unsigned char *)"\x80", 1 },
		{ (const unsigned char *)"\xff", 1 },
	};
	size_t n = sizeof(order) / sizeof(order[0]), i, j;

	(void)state;
	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++) {
			int c = slice_cmp(order[i], order[j]);

			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
			assert_int_equal(slice_equal(order[i], order[j]),
			                 i == j);
		}
	}
}

/* Everything begins with nothing and with itself, and not with more. */
static void
test_slice_prefix(void **state)
{
	struct slice abc = slice_str("abc");

	(void)state;
	assert_true(slice_has_prefix(abc, slice_make(NULL, 0)));
	assert_true(slice_has_prefix(abc, slice_str("ab")));
	assert_true(slice_has_prefix(abc, abc));
	assert_false(slice_has_prefix(abc, slice_str("abcd")));
	assert_false(slice_has_prefix(abc, slice_str("b")));
	assert_false(slice_has_prefix(slice_make(NULL, 0), abc));
}

/* What is appended piece by piece is there as a whole, through every growth. */
static void
test_append_grows(void **state)
{
	struct buf b = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		unsigned char piece[3] = { (unsigned char)i,
			                   (unsigned char)(i >> 8),
			                   (unsigned char)(i >> 16) };

		assert_int_equal(buf_append(&b, piece, 3, NULL), 0);
	}
	assert_int_equal(b.len, 300000);
	for (i = 0; i < 100000; i++) {
		assert_int_equal(b.data[3 * i], (unsigned char)i);
		assert_int_equal(b.data[3 * i + 2], (unsigned char)(i >> 16));
	}
	buf_release(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
}

/* Room that is reserved stays: appending into it moves nothing. */
static void
test_reserve_is_kept(void **state)
{
	struct buf b = BUF_INIT;
	unsigned char *before;

	(void)state;
	assert_int_equal(buf_reserve(&b, 1000, NULL), 0);
	assert_true(b.cap >= 1000);
	assert_int_equal(b.len, 0);
	before = b.data;
	while (b.len < 1000)
		assert_int_equal(buf_append(&b, "x", 1, NULL), 0);
	assert_ptr_equal(b.data, before);
	buf_release(&b);
}

/* More than the address space is out of memory, and b is what it was. */
static void
test_reserve_refuses_the_impossible(void **state)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 2, SIZE_MAX / 2,
		                        (size_t)PTRDIFF_MAX - 3 };
	struct buf b = BUF_INIT;
	struct err err;
	size_t i;

	(void)state;
	assert_int_equal(buf_append(&b, "abc", 3, NULL), 0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct err empty = ERR_INIT;

		err = empty;
		assert_int_equal(buf_reserve(&b, sizes[i], &err), LSMKV_ENOMEM);
		assert_int_equal(err.code, LSMKV_ENOMEM);
		assert_int_equal(b.len, 3);
		assert_memory_equal(b.data, "abc", 3);
	}
	buf_release(&b);
}

/* buf_set replaces, shorter or longer; buf_clear keeps the memory. */
static void
test_set_and_clear(void **state)
{
	struct buf b = BUF_INIT;
	size_t cap;

	(void)state;
	assert_int_equal(buf_set(&b, slice_str("first, and long"), NULL), 0);
	assert_int_equal(buf_set(&b, slice_str("2nd"), NULL), 0);
	assert_true(slice_equal(buf_slice(&b), slice_str("2nd")));
	cap = b.cap;
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.cap, cap);
	assert_int_equal(buf_set(&b, slice_make(NULL, 0), NULL), 0);
	assert_int_equal(b.len, 0);
	buf_release(&b);
}

/* Nothing, appended to nothing, is nothing, and allocates nothing. */
static void
test_empty(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(buf_append(&b, NULL, 0, NULL), 0);
	assert_int_equal(buf_append_slice(&b, buf_slice(&b), NULL), 0);
	assert_null(b.data);
	buf_release(&b);
	buf_release(&b);
}

/* Printable ASCII stays, all else is \xHH. */
static void
test_printable(void **state)
{
	char out[64];

	(void)state;
	assert_ptr_equal(slice_printable(slice_str("plain ~"), out, 64), out);
	assert_string_equal(out, "plain ~");
	slice_printable(slice_make("a\0\n\x7f\xff", 5), out, sizeof(out));
	assert_string_equal(out, "a\\x00\\x0a\\x7f\\xff");
	slice_printable(slice_make(NULL, 0), out, sizeof(out));
	assert_string_equal(out, "");
}

/* A text that does not fit ends in "...", and never in half a \xHH. */
static void
test_printable_is_cut(void **state)
{
	char out[16];
	size_t size;

	(void)state;
	slice_printable(slice_str("abcdefgh"), out, 9);
	assert_string_equal(out, "abcdefgh");
	slice_printable(slice_str("abcdefgh"), out, 8);
	assert_string_equal(out, "abcd...");
	slice_printable(slice_make("a\n\n\n", 4), out, 10);
	assert_string_equal(out, "a\\x0a...");
	slice_printable(slice_make("a\n\n\n", 4), out, 8);
	assert_string_equal(out, "a...");
	for (size = 0; size < sizeof(out); size++) {
		memset(out, 'G', sizeof(out));
		slice_printable(slice_str("\x01\x02\x03\x04\x05\x06"), out,
		                size);
		if (size)
			assert_true(strlen(out) < size);
		assert_int_equal(out[size], 'G');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slice_order),
		cmocka_unit_test(test_slice_prefix),
		cmocka_unit_test(test_append_grows),
		cmocka_unit_test(test_reserve_is_kept),
		cmocka_unit_test(test_reserve_refuses_the_impossible),
		cmocka_unit_test(test_set_and_clear),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_printable_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
