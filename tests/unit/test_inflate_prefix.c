/* SPDX-License-Identifier: ISC */
/*
 * The beginning of streams, against what was deflated; and what is no stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/deflate.h"
#include "base/inflate_prefix.h"

#define MOST 70000u

static struct inflate_codes tables;
static uint64_t seed = 7;

static uint32_t
dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

/* Text of some alphabet with copies of what stands before, near and far. */
static void
make_text(unsigned char *to, size_t len, unsigned symbols, unsigned copies)
{
	for (size_t i = 0; i < len;) {
		size_t n = 1 + dice(300), from;

		if (n > len - i)
			n = len - i;
		if (i && dice(100) < copies) {
			from = i - 1 -
			       dice((uint32_t)(dice(2) && i > 40 ? 40 : i));
			for (; n; n--)
				to[i++] = to[from++];
		} else {
			for (n = n / 8 + 1; n && i < len; n--)
				to[i++] = (unsigned char)dice(symbols);
		}
	}
}

/* With zlib: every strategy, codes and blocks of every type. */
static size_t
deflate_with(int level, int strategy, const unsigned char *from, size_t len,
             unsigned char *to, size_t room)
{
	z_stream z = { .next_in = (z_const Bytef *)from,
		       .avail_in = (uInt)len,
		       .next_out = to,
		       .avail_out = (uInt)room };

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15, 8, strategy),
	                 Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

/* Each prefix of some is what the stream was made of, and nothing is written
   behind the slack, nor read behind the stream. */
static void
check(const unsigned char *stream, size_t stream_len, const unsigned char *text,
      size_t len)
{
	unsigned char *exact = malloc(stream_len);

	assert_non_null(exact);
	memcpy(exact, stream, stream_len);
	for (unsigned i = 0; i < 12; i++) {
		size_t wanted = i == 0   ? 0
		                : i == 1 ? len
		                : i == 2 ? len - len / 50
		                         : dice((uint32_t)len + 1);
		unsigned char *out = malloc(wanted + INFLATE_PREFIX_SLACK);

		assert_non_null(out);
		assert_true(inflate_prefix(
			&tables, slice_make(exact, stream_len), out, wanted));
		assert_memory_equal(out, text, wanted);
		free(out);
	}
	free(exact);
}

static void
test_prefixes(void **state)
{
	static const int strategies[] = { Z_DEFAULT_STRATEGY, Z_FILTERED,
		                          Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED };
	unsigned char *text = malloc(MOST), *stream = malloc(2 * MOST);

	(void)state;
	assert_non_null(text);
	assert_non_null(stream);
	for (unsigned round = 0; round < 400; round++) {
		size_t len = 1 + dice(round % 10 ? 4000 : MOST - 1), n;

		make_text(text, len, 1 + dice(256), dice(101));
		n = deflate_with((int)dice(10), strategies[round % 5], text,
		                 len, stream, 2 * MOST);
		check(stream, n, text, len);
	}
	free(text);
	free(stream);
}

/* What the store's own deflater makes, at every length of its blocks. */
static void
test_own_streams(void **state)
{
	unsigned char text[6000];
	struct buf stream = BUF_INIT;

	(void)state;
	for (int level = 1; level <= 9; level++) {
		struct deflater *d = deflater_new(level);

		assert_non_null(d);
		for (size_t len = 40; len < sizeof(text); len += 1 + len / 7) {
			make_text(text, len, 1 + dice(100), 60);
			buf_clear(&stream);
			if (!deflater_run(d, slice_make(text, len), &stream,
			                  NULL))
				check(stream.data, stream.len, text, len);
		}
		deflater_free(d);
	}
	buf_release(&stream);
}

/*
 * Codewords of 15 bits, the longest, in both codes: symbols as frequent as
 * Fibonacci's numbers.
 */
static void
test_long_codewords(void **state)
{
	unsigned char *text = malloc(MOST), *stream = malloc(2 * MOST);
	size_t len = 0, n;

	(void)state;
	assert_non_null(text);
	assert_non_null(stream);
	for (unsigned symbol = 0, a = 1, b = 1, c; symbol < 21; symbol++) {
		for (unsigned i = 0; i < a && len < MOST; i++)
			text[len++] = (unsigned char)(symbol * 11);
		c = a + b;
		a = b;
		b = c;
	}
	for (size_t i = len - 1; i; i--) {
		size_t other = dice((uint32_t)i);
		unsigned char t = text[i];

		text[i] = text[other];
		text[other] = t;
	}
	n = deflate_with(9, Z_HUFFMAN_ONLY, text, len, stream, 2 * MOST);
	check(stream, n, text, len);
	free(text);
	free(stream);
}

/* ---- a stream made bit by bit ---- */

struct bit_writer {
	unsigned char bytes[512];
	size_t bits;
};

static void
put_bits(struct bit_writer *w, unsigned value, unsigned n)
{
	for (unsigned i = 0; i < n; i++, w->bits++) {
		assert_true(w->bits / 8 < sizeof(w->bytes));
		w->bytes[w->bits / 8] |=
			(unsigned char)((value >> i & 1) << w->bits % 8);
	}
}

/* Codewords have their first bit first. */
static void
put_codeword(struct bit_writer *w, unsigned word, unsigned n)
{
	while (n--)
		put_bits(w, word >> n & 1, 1);
}

/*
 * Literals 0 to 4 have as many bits and one, the end of the block 6; literals 8
 * to 15 and lengths 3 to 10 have 10, as many as are looked up at once.
 */
static unsigned
length_of(unsigned symbol)
{
	return symbol < 5                      ? symbol + 1
	       : symbol == 256                 ? 6
	       : symbol >= 8 && symbol < 16    ? 10
	       : symbol >= 257 && symbol < 265 ? 10
	                                       : 0;
}

static void
put_symbol(struct bit_writer *w, unsigned symbol)
{
	unsigned n = length_of(symbol), word = (1u << n) - 2;

	if (n == 10)
		word = 1008 + (symbol < 16 ? symbol - 8 : 8 + symbol - 257);
	put_codeword(w, word, n);
}

/*
 * Five literals of ten bits, then a match, wherever the end of the stream may
 * be then: to look its length up takes more than the 56 bits that are filled
 * at least.
 */
static void
test_long_literals_near_the_end(void **state)
{
	static const unsigned last[] = { 8, 9, 10, 11, 12, 258 };
	unsigned char text[256];

	(void)state;
	for (unsigned before = 0; before < 80; before++) {
		struct bit_writer w = { { 0 }, 0 };
		size_t n, len;
		uLong sum;

		put_bits(&w, 0x9c78, 16);
		put_bits(&w, 1, 1); /* the last block */
		put_bits(&w, 2, 2);
		put_bits(&w, 265 - 257, 5);
		put_bits(&w, 1 - 1, 5);
		put_bits(&w, 19 - 4, 4);
		/* Lengths 0 to 15 are numbers of 4 bits, 16 to 18 unused. */
		for (unsigned i = 0; i < 19; i++)
			put_bits(&w, i < 3 ? 0 : 4, 3);
		for (unsigned i = 0; i < 265; i++)
			put_codeword(&w, length_of(i), 4);
		put_codeword(&w, 1, 4); /* of offset 1 */
		for (unsigned i = 0; i < before; i++)
			put_symbol(&w, 0);
		for (unsigned i = 0; i < 6; i++)
			put_symbol(&w, last[i]);
		put_bits(&w, 0, 1); /* offset 1 */
		for (unsigned i = 0; i < 3; i++)
			put_symbol(&w, i);
		put_symbol(&w, 256);
		n = (w.bits + 7) / 8;

		/* The text, written out; zlib says that it is. */
		memset(text, 0, before);
		len = before;
		for (unsigned i = 0; i < 5; i++)
			text[len++] = (unsigned char)last[i];
		for (unsigned i = 0; i < 4; i++)
			text[len++] = 12;
		for (unsigned i = 0; i < 3; i++)
			text[len++] = (unsigned char)i;
		sum = adler32(1, text, (uInt)len);
		for (unsigned i = 0; i < 4; i++)
			w.bytes[n++] = (unsigned char)(sum >> (24 - 8 * i));
		{
			unsigned char again[256];
			uLongf all = sizeof(again);

			assert_int_equal(
				uncompress(again, &all, w.bytes, (uLong)n),
				Z_OK);
			assert_int_equal(all, len);
			assert_memory_equal(again, text, len);
		}
		check(w.bytes, n, text, len);
	}
}

/* A stream that ends early gives what it has, or says no; never more. */
static void
test_cut(void **state)
{
	unsigned char text[1000], stream[2000],
		out[1000 + INFLATE_PREFIX_SLACK];
	size_t n;

	(void)state;
	make_text(text, sizeof(text), 60, 40);
	n = deflate_with(6, Z_DEFAULT_STRATEGY, text, sizeof(text), stream,
	                 sizeof(stream));
	assert_true(inflate_prefix(&tables, slice_make(stream, n), out, 1000));
	assert_false(inflate_prefix(&tables, slice_make(stream, n), out, 1001));
	for (size_t cut = 0; cut < n - 5; cut++) {
		assert_false(inflate_prefix(&tables, slice_make(stream, cut),
		                            out, 1000));
		if (inflate_prefix(&tables, slice_make(stream, cut), out, 500))
			assert_memory_equal(out, text, 500);
	}
}

static bool
accepts(const char *bytes, size_t len)
{
	unsigned char out[64 + INFLATE_PREFIX_SLACK];

	return inflate_prefix(&tables, slice_make(bytes, len), out, 1);
}

#define ACCEPTS(bytes) accepts(bytes, sizeof(bytes) - 1)

static void
test_no_streams(void **state)
{
	(void)state;
	assert_true(ACCEPTS("\x78\x9c\x01\x01\x00\xfe\xff\x61"));
	assert_false(ACCEPTS(""));
	assert_false(ACCEPTS("\x78"));
	assert_false(ACCEPTS("\x78\x9c"));
	assert_false(ACCEPTS("\x77\x9c\x01\x01\x00\xfe\xff\x61")); /* method */
	assert_false(
		ACCEPTS("\x78\xbc\x01\x01\x00\xfe\xff\x61")); /* dictionary */
	assert_false(ACCEPTS("\x78\x9c\x01\x01\x00\xff\xff\x61")); /* lengths */
	assert_false(
		ACCEPTS("\x78\x9c\x01\x02\x00\xfd\xff\x61"));  /* too short */
	assert_false(ACCEPTS("\x78\x9c\x01\x00\x00\xff\xff")); /* empty */
	assert_false(ACCEPTS("\x78\x9c\x07\x00"));             /* type 3 */
	assert_false(
		ACCEPTS("\x78\x9c\x03\x02\x00\x00")); /* match of nothing */
}

/* Changed bytes give anything or nothing, within the bounds. */
static void
test_damage(void **state)
{
	unsigned char text[1500], stream[3000];
	unsigned char *exact, *out = malloc(1500 + INFLATE_PREFIX_SLACK);

	(void)state;
	assert_non_null(out);
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = 1 + dice(sizeof(text) - 1), n;

		if (round % 100 == 0)
			make_text(text, sizeof(text), 1 + dice(256), dice(101));
		n = deflate_with(round % 3 ? 6 : 1,
		                 round % 7 ? Z_DEFAULT_STRATEGY : Z_FIXED, text,
		                 len, stream, sizeof(stream));
		for (unsigned i = dice(4) + 1; i; i--)
			stream[2 +
			       dice((uint32_t)(dice(2) && n > 60 ? 60
			                                         : n - 2))] ^=
				(unsigned char)(1u << dice(8));
		exact = malloc(n);
		assert_non_null(exact);
		memcpy(exact, stream, n);
		(void)inflate_prefix(&tables, slice_make(exact, n), out,
		                     dice((uint32_t)len + 1));
		free(exact);
	}
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_own_streams),
		cmocka_unit_test(test_long_codewords),
		cmocka_unit_test(test_long_literals_near_the_end),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_no_streams),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
