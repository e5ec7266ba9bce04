/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of base/deflate: exact streams only, and zlib's format whichever
 * library made them. zlib stands on the other side of every exchange here.
 */
#include "base/deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <zlib.h>

#include <cmocka.h>

#define RAW_BYTES 9000u

/* Text that shrinks to about a third. */
static void
fill(unsigned char *raw, size_t len)
{
	uint32_t x = 12345;
	size_t i;

	for (i = 0; i < len; i++) {
		x = x * 1103515245 + 12345;
		raw[i] = (unsigned char)("abcdefgh"[x >> 16 & 7]);
	}
}

/* raw, compressed by zlib itself; owned by the caller. */
static unsigned char *
pack_by_zlib(const unsigned char *raw, size_t len, int level, size_t *packed)
{
	uLongf size = compressBound((uLong)len);
	unsigned char *out = malloc(size);

	assert_non_null(out);
	assert_int_equal(compress2(out, &size, raw, (uLong)len, level), Z_OK);
	*packed = size;
	return out;
}

/* What a deflater makes, an inflater gives back, at every level. */
static void
test_round_trip(void **state)
{
	unsigned char raw[RAW_BYTES], back[RAW_BYTES];
	struct inflater *i = inflater_new();
	int level;

	(void)state;
	fill(raw, sizeof(raw));
	for (level = 1; level <= 9; level++) {
		struct deflater *d = deflater_new(level);
		struct buf out = BUF_INIT;

		assert_int_equal(deflater_run(d, slice_make(raw, sizeof(raw)),
		                              &out, NULL),
		                 0);
		assert_true(out.len < sizeof(raw) / 2);
		memset(back, 0, sizeof(back));
		assert_int_equal(inflater_run(i, buf_slice(&out), back,
		                              sizeof(back), NULL),
		                 0);
		assert_memory_equal(raw, back, sizeof(raw));
		buf_release(&out);
		deflater_free(d);
	}
	inflater_free(i);
}

/* A deflater and an inflater work block after block, and out is appended to. */
static void
test_reuse_and_append(void **state)
{
	struct deflater *d = deflater_new(DEFLATE_FAST);
	struct inflater *i = inflater_new();
	unsigned char raw[RAW_BYTES], back[RAW_BYTES];
	struct buf out = BUF_INIT;
	size_t n;

	(void)state;
	fill(raw, sizeof(raw));
	assert_int_equal(buf_append(&out, "head", 4, NULL), 0);
	for (n = 1000; n <= sizeof(raw); n += 1000) {
		size_t before = out.len;

		assert_int_equal(
			deflater_run(d, slice_make(raw, n), &out, NULL), 0);
		assert_int_equal(inflater_run(i,
		                              slice_make(out.data + before,
		                                         out.len - before),
		                              back, n, NULL),
		                 0);
		assert_memory_equal(raw, back, n);
	}
	assert_memory_equal(out.data, "head", 4);
	buf_release(&out);
	inflater_free(i);
	deflater_free(d);
}

/* What would not shrink is told so, and out is what it was. */
static void
test_incompressible(void **state)
{
	struct deflater *d = deflater_new(DEFLATE_DENSE);
	unsigned char raw[512];
	struct buf out = BUF_INIT;
	uint32_t x = 99;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(raw); n++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		raw[n] = (unsigned char)x;
	}
	assert_int_equal(buf_append(&out, "head", 4, NULL), 0);
	for (n = 0; n <= sizeof(raw); n += n < 16 ? 1 : 62) {
		assert_int_equal(
			deflater_run(d, slice_make(raw, n), &out, NULL),
			LSMKV_END);
		assert_int_equal(out.len, 4);
		assert_memory_equal(out.data, "head", 4);
	}
	buf_release(&out);
	deflater_free(d);
}

/* zlib reads what we write. */
static void
test_zlib_reads_ours(void **state)
{
	struct deflater *d = deflater_new(DEFLATE_DENSE);
	unsigned char raw[RAW_BYTES], back[RAW_BYTES];
	struct buf out = BUF_INIT;
	uLongf size = sizeof(back);

	(void)state;
	fill(raw, sizeof(raw));
	assert_int_equal(
		deflater_run(d, slice_make(raw, sizeof(raw)), &out, NULL), 0);
	assert_int_equal(uncompress(back, &size, out.data, (uLong)out.len),
	                 Z_OK);
	assert_int_equal(size, sizeof(raw));
	assert_memory_equal(raw, back, sizeof(raw));
	buf_release(&out);
	deflater_free(d);
}

/* We read what zlib writes, stored blocks (level 0) and empty text included. */
static void
test_we_read_zlibs(void **state)
{
	struct inflater *i = inflater_new();
	unsigned char raw[RAW_BYTES], back[RAW_BYTES];
	static const size_t sizes[] = { 0, 1, 2, 100, RAW_BYTES };
	size_t n;
	int level;

	(void)state;
	fill(raw, sizeof(raw));
	for (level = 0; level <= 9; level += 3) {
		for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
			size_t packed;
			unsigned char *by_zlib =
				pack_by_zlib(raw, sizes[n], level, &packed);

			memset(back, 0, sizeof(back));
			assert_int_equal(
				inflater_run(i, slice_make(by_zlib, packed),
			                     back, sizes[n], NULL),
				0);
			assert_memory_equal(raw, back, sizes[n]);
			free(by_zlib);
		}
	}
	inflater_free(i);
}

/* The format is fixed: a stream written down long ago still inflates. */
static void
test_fixed_stream(void **state)
{
	/* Python: zlib.compress(b"lsmkv lsmkv lsmkv lsmkv", 9) */
	static const unsigned char stream[] = {
		0x78, 0xda, 0xcb, 0x29, 0xce, 0xcd, 0x2e, 0x53,
		0xc8, 0x41, 0x27, 0x01, 0x6c, 0xd7, 0x09, 0x15,
	};
	static const char text[] = "lsmkv lsmkv lsmkv lsmkv";
	struct inflater *i = inflater_new();
	unsigned char back[sizeof(text) - 1];

	(void)state;
	assert_int_equal(inflater_run(i, slice_make(stream, sizeof(stream)),
	                              back, sizeof(back), NULL),
	                 0);
	assert_memory_equal(back, text, sizeof(back));
	inflater_free(i);
}

/* A stream cut anywhere is damaged, and nothing past the end is written. */
static void
test_truncated(void **state)
{
	struct inflater *i = inflater_new();
	unsigned char raw[600];
	unsigned char *packed, *back = malloc(sizeof(raw));
	struct err err = ERR_INIT;
	size_t len, cut;

	(void)state;
	assert_non_null(back);
	fill(raw, sizeof(raw));
	packed = pack_by_zlib(raw, sizeof(raw), 6, &len);
	for (cut = 0; cut < len; cut++) {
		/* An exact copy, so that sanitizers see a read past its end. */
		unsigned char *copy = malloc(cut ? cut : 1);

		assert_non_null(copy);
		memcpy(copy, packed, cut);
		assert_int_equal(inflater_run(i, slice_make(copy, cut), back,
		                              sizeof(raw), &err),
		                 LSMKV_ECORRUPT);
		free(copy);
	}
	assert_int_equal(err.code, LSMKV_ECORRUPT);
	free(packed);
	free(back);
	inflater_free(i);
}

/* Bytes behind the stream are damage, not slack. */
static void
test_trailing_bytes(void **state)
{
	struct inflater *i = inflater_new();
	unsigned char raw[600], back[600], *packed, *longer;
	size_t len;

	(void)state;
	fill(raw, sizeof(raw));
	packed = pack_by_zlib(raw, sizeof(raw), 6, &len);
	longer = calloc(1, len + 1);
	assert_non_null(longer);
	memcpy(longer, packed, len);
	assert_int_equal(inflater_run(i, slice_make(longer, len), back,
	                              sizeof(back), NULL),
	                 0);
	assert_int_equal(inflater_run(i, slice_make(longer, len + 1), back,
	                              sizeof(back), NULL),
	                 LSMKV_ECORRUPT);
	free(longer);
	free(packed);
	inflater_free(i);
}

/* A wrong promise of the length is damage, and never an overrun. */
static void
test_wrong_length(void **state)
{
	struct inflater *i = inflater_new();
	unsigned char raw[600], *packed;
	static const size_t promised[] = { 0, 1, 599, 601, 5000 };
	size_t len, n;

	(void)state;
	fill(raw, sizeof(raw));
	packed = pack_by_zlib(raw, sizeof(raw), 6, &len);
	for (n = 0; n < sizeof(promised) / sizeof(promised[0]); n++) {
		unsigned char *back = malloc(promised[n] + 1);

		assert_non_null(back);
		back[promised[n]] = 'G';
		assert_int_equal(inflater_run(i, slice_make(packed, len), back,
		                              promised[n], NULL),
		                 LSMKV_ECORRUPT);
		assert_int_equal(back[promised[n]], 'G');
		free(back);
	}
	free(packed);
	inflater_free(i);
}

/* A flipped bit never gives other bytes: it is damage, or (rarely) harmless. */
static void
test_flipped_bits(void **state)
{
	struct inflater *i = inflater_new();
	unsigned char raw[300], back[300], *packed;
	size_t len, bit, refused = 0;

	(void)state;
	fill(raw, sizeof(raw));
	packed = pack_by_zlib(raw, sizeof(raw), 6, &len);
	for (bit = 0; bit < 8 * len; bit++) {
		int rc;

		packed[bit / 8] ^= (unsigned char)(1u << bit % 8);
		rc = inflater_run(i, slice_make(packed, len), back,
		                  sizeof(back), NULL);
		if (rc == LSMKV_ECORRUPT)
			refused++;
		else
			assert_memory_equal(raw, back, sizeof(raw));
		packed[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	assert_true(refused > 8 * len * 9 / 10);
	/* And after all that, the same inflater still works. */
	assert_int_equal(inflater_run(i, slice_make(packed, len), back,
	                              sizeof(back), NULL),
	                 0);
	free(packed);
	inflater_free(i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_reuse_and_append),
		cmocka_unit_test(test_incompressible),
		cmocka_unit_test(test_zlib_reads_ours),
		cmocka_unit_test(test_we_read_zlibs),
		cmocka_unit_test(test_fixed_stream),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_trailing_bytes),
		cmocka_unit_test(test_wrong_length),
		cmocka_unit_test(test_flipped_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
