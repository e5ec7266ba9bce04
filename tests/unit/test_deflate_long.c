/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of base/deflate_long: zlib, on the other side, gets every text
 * back; what does not get smaller is said to be so.
 */
#include "base/deflate_long.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include <cmocka.h>

#define MOST (1u << 20)

/* Kinds of text. */
enum kind {
	ZEROS,
	NOISE,
	PRINTABLE,
	HALF_AGAIN,
	WORDS,
	FOUR,
	NOISE_INSIDE, /* blocks that are stored, behind others */
	RARE,         /* literals whose codewords are as long as they may be */
	KINDS
};

static uint32_t
random_of(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void
fill(unsigned char *text, size_t len, enum kind kind, uint32_t seed)
{
	static const char *const words[] = { "key ", "value ", "block, ",
		                             "of " };
	uint32_t x = seed * 2654435761u + 1;
	const char *word = "";

	for (size_t i = 0; i < len; i++)
		switch (kind) {
		case ZEROS:
			text[i] = 0;
			break;
		case NOISE:
			text[i] = (unsigned char)(random_of(&x) >> 9);
			break;
		case PRINTABLE:
			text[i] = (unsigned char)(' ' + random_of(&x) % 95);
			break;
		case HALF_AGAIN:
			text[i] = i < len / 2
			                  ? (unsigned char)(random_of(&x) >> 9)
			                  : text[i - len / 2];
			break;
		case WORDS:
			if (!*word)
				word = words[random_of(&x) >> 7 & 3];
			text[i] = (unsigned char)*word++;
			break;
		case NOISE_INSIDE:
			text[i] = i / 3 < len / 9 || i / 3 > len / 4
			                  ? (unsigned char)(i % 7)
			                  : (unsigned char)(random_of(&x) >> 9);
			break;
		case RARE:
			text[i] = (unsigned char)(random_of(&x) >> 9);
			if (i % 65535 > 600)
				text[i] &= 1;
			break;
		case FOUR:
		default:
			text[i] = (unsigned char)"acgt"[random_of(&x) >> 9 & 3];
			break;
		}
}

static void
check(struct deflate_long *d, const unsigned char *text, size_t len,
      struct buf *out, unsigned char *back)
{
	size_t before = out->len;
	uLongf got = (uLongf)len;
	int code = deflate_long_run(d, slice_make(text, len), out, NULL);

	if (code) {
		assert_int_equal(code, LSMKV_END);
		assert_int_equal(out->len, before);
		return;
	}
	assert_true(out->len - before < len);
	assert_int_equal(uncompress(back, &got, out->data + before,
	                            (uLong)(out->len - before)),
	                 Z_OK);
	assert_int_equal(got, len);
	assert_memory_equal(back, text, len);
}

/* All kinds and lengths, around those of blocks, too, one after the other. */
static void
zlib_reads_them(void **state)
{
	static const size_t lens[] = { 0,     1,      2,      3,      7,
		                       8,     9,      63,     300,    1000,
		                       10000, 32768,  65534,  65535,  65536,
		                       65537, 131070, 131071, 200000, MOST };
	struct deflate_long *d = deflate_long_new();
	unsigned char *text = malloc(MOST), *back = malloc(MOST);
	struct buf out = BUF_INIT;

	(void)state;
	assert_non_null(d);
	assert_non_null(text);
	assert_non_null(back);
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
			fill(text, lens[i], (enum kind)kind, (uint32_t)i);
			check(d, text, lens[i], &out, back);
			if (out.len > MOST)
				buf_clear(&out);
		}
	buf_release(&out);
	free(back);
	free(text);
	deflate_long_free(d);
}

static size_t
packed(enum kind kind, size_t len)
{
	struct deflate_long *d = deflate_long_new();
	unsigned char *text = malloc(len);
	struct buf out = BUF_INIT;
	size_t bytes;

	assert_non_null(d);
	assert_non_null(text);
	fill(text, len, kind, 1);
	bytes = deflate_long_run(d, slice_make(text, len), &out, NULL)
	                ? len
	                : out.len;
	buf_release(&out);
	free(text);
	deflate_long_free(d);
	return bytes;
}

/* It finds what there is: bytes that are few, and matches behind long steps. */
static void
it_packs(void **state)
{
	(void)state;
	assert_true(packed(ZEROS, MOST) < MOST / 200);
	assert_int_equal(packed(NOISE, MOST), MOST);
	assert_true(packed(PRINTABLE, MOST) < MOST / 100 * 84);
	assert_true(packed(HALF_AGAIN, 20000) < 11000);
	assert_true(packed(FOUR, MOST) < MOST / 100 * 30);
	assert_true(packed(WORDS, MOST) < MOST / 5);
}

/* Of the last text alone. */
static void
matches_are_counted(void **state)
{
	struct deflate_long *d = deflate_long_new();
	unsigned char *text = malloc(MOST);
	struct buf out = BUF_INIT;

	(void)state;
	assert_non_null(d);
	assert_non_null(text);
	for (unsigned times = 0; times < 2; times++) {
		fill(text, MOST, NOISE, 1);
		assert_int_equal(
			deflate_long_run(d, slice_make(text, MOST), &out, NULL),
			LSMKV_END);
		assert_true(deflate_long_matches(d) < 100);
		fill(text, MOST, WORDS, 1);
		buf_clear(&out);
		assert_int_equal(
			deflate_long_run(d, slice_make(text, MOST), &out, NULL),
			0);
		assert_in_range(deflate_long_matches(d), MOST / 100, MOST / 4);
		/* Also of one that is too short for any. */
		assert_int_equal(
			deflate_long_run(d, slice_make(text, 1), &out, NULL),
			LSMKV_END);
		assert_int_equal(deflate_long_matches(d), 0);
		buf_clear(&out);
	}
	buf_release(&out);
	free(text);
	deflate_long_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zlib_reads_them),
		cmocka_unit_test(it_packs),
		cmocka_unit_test(matches_are_counted),
	};

	return cmocka_run_group_tests_name("deflate_long", tests, NULL, NULL);
}
