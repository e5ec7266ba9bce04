/* SPDX-License-Identifier: ISC */
/* Unit tests of base/codec: fixed widths, varints, bounded reading, CRC-32. */
#include "base/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <zlib.h>

#include <cmocka.h>

/* Edges of every varint length, and some between. */
static const uint64_t numbers[] = {
	0,
	1,
	127,
	128,
	129,
	16383,
	16384,
	(1u << 21) - 1,
	1u << 21,
	(1u << 28) - 1,
	1u << 28,
	UINT32_MAX,
	(uint64_t)1 << 35,
	(uint64_t)1 << 42,
	(uint64_t)1 << 49,
	(uint64_t)1 << 56,
	((uint64_t)1 << 63) - 1,
	(uint64_t)1 << 63,
	UINT64_MAX,
};

#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

/* Fixed widths are little-endian, byte for byte. */
static void
test_fixed_layout(void **state)
{
	struct buf b = BUF_INIT;
	struct reader r;

	(void)state;
	assert_int_equal(buf_put_u8(&b, 0xa1, NULL), 0);
	assert_int_equal(buf_put_u32(&b, 0x04030201, NULL), 0);
	assert_int_equal(buf_put_u64(&b, 0x8877665544332211, NULL), 0);
	assert_int_equal(b.len, 13);
	assert_memory_equal(
		b.data, "\xa1\x01\x02\x03\x04\x11\x22\x33\x44\x55\x66\x77\x88",
		13);
	r = reader_make(buf_slice(&b));
	assert_int_equal(reader_u8(&r), 0xa1);
	assert_int_equal(reader_u32(&r), 0x04030201);
	assert_true(reader_u64(&r) == 0x8877665544332211);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	buf_release(&b);
}

/* A varint is read back as it was written, in varint_size bytes. */
static void
test_varint_round_trip(void **state)
{
	struct buf b = BUF_INIT;
	struct reader r;
	size_t i;

	(void)state;
	for (i = 0; i < NUMBERS; i++) {
		size_t before = b.len;

		assert_int_equal(buf_put_varint(&b, numbers[i], NULL), 0);
		assert_int_equal(b.len - before, varint_size(numbers[i]));
	}
	assert_int_equal(varint_size(UINT64_MAX), VARINT_MAX);
	r = reader_make(buf_slice(&b));
	for (i = 0; i < NUMBERS; i++)
		assert_true(reader_varint(&r) == numbers[i]);
	assert_false(r.failed);
	assert_int_equal(reader_left(&r), 0);
	buf_release(&b);
}

/* There is one spelling of a number: all others are refused. */
static void
test_varint_is_canonical(void **state)
{
	static const struct slice bad[] = {
		/* needless zeros */
		{ (const unsigned char *)"\x80\x00", 2 },
		{ (const unsigned char *)"\x81\x00", 2 },
		{ (const unsigned char *)"\xff\x80\x00", 3 },
		/* more than 64 bits */
		{ (const unsigned char
		           *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
		  10 },
		{ (const unsigned char
		           *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f",
		  10 },
		/* more than ten bytes */
		{ (const unsigned char
		           *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
		  11 },
		{ (const unsigned char
		           *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01",
		  11 },
		/* no end */
		{ (const unsigned char *)"\x80", 1 },
		{ (const unsigned char *)"\xff\xff", 2 },
		{ NULL, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct reader r = reader_make(bad[i]);

		assert_true(reader_varint(&r) == 0);
		assert_true(r.failed);
		assert_int_equal(reader_left(&r), 0);
	}
}

/* No prefix of an encoding is read past its end: each copy is exact heap. */
static void
test_reader_stays_in_bounds(void **state)
{
	struct buf b = BUF_INIT;
	size_t cut;

	(void)state;
	assert_int_equal(buf_put_u8(&b, 7, NULL), 0);
	assert_int_equal(buf_put_varint(&b, UINT64_MAX, NULL), 0);
	assert_int_equal(buf_put_bytes(&b, slice_str("hello"), NULL), 0);
	assert_int_equal(buf_put_u64(&b, 1, NULL), 0);
	assert_int_equal(buf_put_u32(&b, 2, NULL), 0);
	for (cut = 0; cut <= b.len; cut++) {
		unsigned char *copy = malloc(cut ? cut : 1);
		struct reader r;

		assert_non_null(copy);
		memcpy(copy, b.data, cut);
		r = reader_make(slice_make(copy, cut));
		reader_u8(&r);
		reader_varint(&r);
		reader_bytes(&r);
		reader_u64(&r);
		reader_u32(&r);
		assert_int_equal(r.failed, cut < b.len);
		free(copy);
	}
	buf_release(&b);
}

/* Once it has failed, a reader gives nothing but zeros. */
static void
test_reader_stays_failed(void **state)
{
	struct reader r = reader_make(slice_str("\x05"
	                                        "abcdefghijklmnop"));
	struct slice s;

	(void)state;
	assert_int_equal(reader_left(&r), 17);
	s = reader_take(&r, 18);
	assert_true(r.failed);
	assert_int_equal(s.len, 0);
	assert_int_equal(reader_u8(&r), 0);
	assert_int_equal(reader_u32(&r), 0);
	assert_true(reader_u64(&r) == 0);
	assert_true(reader_varint(&r) == 0);
	assert_int_equal(reader_bytes(&r).len, 0);
	assert_int_equal(reader_take(&r, 0).len, 0);
	assert_int_equal(reader_left(&r), 0);
}

/* A length of nearly 2^64 does not wrap round into the buffer. */
static void
test_huge_length(void **state)
{
	struct buf b = BUF_INIT;
	struct reader r;

	(void)state;
	assert_int_equal(buf_put_varint(&b, UINT64_MAX, NULL), 0);
	assert_int_equal(buf_append(&b, "xyz", 3, NULL), 0);
	r = reader_make(buf_slice(&b));
	assert_int_equal(reader_bytes(&r).len, 0);
	assert_true(r.failed);
	buf_release(&b);
}

/* Bytes with their length come back borrowed, empty ones too. */
static void
test_bytes_round_trip(void **state)
{
	struct buf b = BUF_INIT;
	struct reader r;
	struct slice s;

	(void)state;
	assert_int_equal(buf_put_bytes(&b, slice_make(NULL, 0), NULL), 0);
	assert_int_equal(buf_put_bytes(&b, slice_make("a\0b", 3), NULL), 0);
	r = reader_make(buf_slice(&b));
	assert_int_equal(reader_bytes(&r).len, 0);
	s = reader_bytes(&r);
	assert_true(slice_equal(s, slice_make("a\0b", 3)));
	assert_ptr_equal(s.data, b.data + 2);
	assert_false(r.failed);
	buf_release(&b);
}

/* The sum is the one of the standard: its check value, and zlib's answers. */
static void
test_crc_is_crc32(void **state)
{
	unsigned char data[1000];
	size_t i;

	(void)state;
	assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926);
	for (i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 131 + i / 7);
	for (i = 0; i < sizeof(data); i += 13)
		assert_int_equal(crc32_add(0, data, i),
		                 crc32(0, data, (uInt)i));
}

/* In pieces or at once, the sum is the same; nothing adds nothing. */
static void
test_crc_continues(void **state)
{
	static const char text[] = "the quick brown fox jumps over it";
	uint32_t whole = crc32_add(0, text, sizeof(text));
	size_t cut;

	(void)state;
	for (cut = 0; cut <= sizeof(text); cut++) {
		uint32_t crc = crc32_add(0, text, cut);

		crc = crc32_add(crc, NULL, 0);
		crc = crc32_add(crc, text + cut, sizeof(text) - cut);
		assert_int_equal(crc, whole);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed_layout),
		cmocka_unit_test(test_varint_round_trip),
		cmocka_unit_test(test_varint_is_canonical),
		cmocka_unit_test(test_reader_stays_in_bounds),
		cmocka_unit_test(test_reader_stays_failed),
		cmocka_unit_test(test_huge_length),
		cmocka_unit_test(test_bytes_round_trip),
		cmocka_unit_test(test_crc_is_crc32),
		cmocka_unit_test(test_crc_continues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
