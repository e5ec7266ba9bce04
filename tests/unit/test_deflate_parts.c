/* SPDX-License-Identifier: ISC */
/*
 * Streams in parts: what was deflated comes back, as a whole from every
 * inflater and part by part from ours; and what is no such stream does no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/deflate.h"
#include "base/deflate_parts.h"
#include "base/huffman.h"
#include "base/inflate_parts.h"

#define CANARY 0xa5u
#define MARGIN 64u /* bytes of canaries around a text */

static uint64_t seed = 11;

static uint32_t
dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

/* ---- codes ---- */

/* A complete code within its limit: no word is left over, none begins with
   another, and what is more frequent has no longer word. */
static void
check_code(const struct huffman *c, unsigned symbols, unsigned most)
{
	uint32_t room = 0;
	unsigned n = 0;

	for (unsigned s = 0; s < symbols; s++) {
		assert_int_equal(c->bits[s] > 0, c->freq[s] > 0);
		assert_true(c->bits[s] <= most);
		if (!c->bits[s])
			continue;
		n++;
		room += UINT32_C(1) << (most - c->bits[s]);
		assert_true(c->word[s] < 1u << c->bits[s]);
		for (unsigned o = 0; o < symbols; o++) {
			unsigned bits = c->bits[o];

			if (o == s || !bits || bits > c->bits[s])
				continue;
			assert_true((c->word[s] & ((1u << bits) - 1)) !=
			            c->word[o]);
			assert_true(bits == c->bits[s] ||
			            c->freq[o] >= c->freq[s]);
		}
	}
	if (n > 1)
		assert_int_equal(room, UINT32_C(1) << most);
	else
		assert_int_equal(room, n ? UINT32_C(1) << (most - 1) : 0);
}

static struct huffman *
code_of(unsigned symbols, unsigned most)
{
	static struct huffman c;

	huffman_make(&c, symbols, most);
	check_code(&c, symbols, most);
	return &c;
}

/* Whatever the frequencies, a code is complete and keeps its limit. */
static void
test_codes(void **state)
{
	static const struct {
		unsigned symbols, most;
	} kinds[] = { { 286, 15 }, { 286, 10 }, { 286, 9 },
		      { 30, 10 },  { 30, 5 },   { 19, 7 } };

	(void)state;
	for (unsigned round = 0; round < 1500; round++) {
		unsigned symbols = kinds[round % 6].symbols;
		unsigned used = dice(symbols + 1), range = dice(23);
		struct huffman *c = code_of(0, 1);

		memset(c->freq, 0, sizeof(c->freq));
		while (used--)
			c->freq[dice(symbols)] =
				1 + dice(1u << dice(range + 1));
		code_of(symbols, kinds[round % 6].most);
	}
}

/* Frequencies like Fibonacci's numbers, each codeword of which wants one bit
   more than the one before, are cut where the limit is. */
static void
test_deep_codes(void **state)
{
	(void)state;
	for (unsigned n = 2; n <= 30; n++)
		for (unsigned most = 5; most <= 15; most++) {
			struct huffman *c = code_of(0, 1);
			uint32_t a = 1, b = 1;

			memset(c->freq, 0, sizeof(c->freq));
			for (unsigned s = 0; s < n; s++) {
				c->freq[s * 7 % 30] = a < 8000000 ? a : 8000000;
				b += a;
				a = b - a;
			}
			code_of(30, most);
		}
}

/* Of one symbol the codeword has one bit, of two each has; of as many as there
   are words, all are as long as they may be. */
static void
test_small_codes(void **state)
{
	struct huffman *c = code_of(0, 1);

	(void)state;
	memset(c->freq, 0, sizeof(c->freq));
	code_of(286, 10);
	assert_int_equal(huffman_used(c, 286, 0), 0);
	assert_int_equal(huffman_used(c, 286, 257), 257);
	c->freq[42] = 8000000;
	code_of(286, 10);
	assert_int_equal(c->bits[42], 1);
	assert_int_equal(huffman_used(c, 286, 1), 43);
	c->freq[285] = 1;
	code_of(286, 10);
	assert_int_equal(c->bits[42], 1);
	assert_int_equal(c->bits[285], 1);
	assert_int_equal(huffman_used(c, 286, 257), 286);
	memset(c->freq, 0, sizeof(c->freq));
	for (unsigned s = 0; s < 256; s++)
		c->freq[s] = 1 + (s == 9) * 100000;
	code_of(286, 8);
	for (unsigned s = 0; s < 256; s++)
		assert_int_equal(c->bits[s], 8);
}

/* ---- texts ---- */

enum text_kind {
	RANDOM, /* bytes */
	HALVES, /* 95 letters, half of it repeated */
	LINES,  /* of JSON */
	RUNS,   /* of one byte each */
	ALL,    /* 256 bytes, again and again */
	ONE,    /* byte */
	NEAR,   /* matches from less than 8 bytes before */
	DIGITS,
	KINDS,
};

static void
make_text(unsigned char *to, size_t len, enum text_kind kind)
{
	size_t period = 1 + dice(9);

	for (size_t i = 0; i < len;) {
		size_t n = 1 + dice(kind == RUNS ? 600 : 60), from;
		char line[128];

		n = n < len - i ? n : len - i;
		switch (kind) {
		case RANDOM:
			to[i++] = (unsigned char)dice(256);
			break;
		case HALVES:
			from = i ? dice((uint32_t)i) : 0;
			if (i && dice(2))
				for (; n; n--)
					to[i++] = to[from++];
			else
				for (; n; n--)
					to[i++] =
						(unsigned char)(' ' + dice(95));
			break;
		case LINES:
			snprintf(line, sizeof(line),
			         "{\"id\":%u,\"name\":\"user%u\",\"ok\":%s,"
			         "\"tags\":[\"a\",\"%c\"]}\n",
			         dice(100000), dice(500),
			         dice(2) ? "true" : "false", 'a' + dice(26));
			for (n = 0; line[n] && i < len;)
				to[i++] = (unsigned char)line[n++];
			break;
		case RUNS:
			memset(to + i, (int)dice(256), n);
			i += n;
			break;
		case ALL:
			to[i] = (unsigned char)(i * 7);
			i++;
			break;
		case ONE:
			to[i++] = 'x';
			break;
		case NEAR:
			to[i] = i < period || dice(20) == 0
			                ? (unsigned char)dice(256)
			                : to[i - period];
			i++;
			break;
		default:
			to[i++] = (unsigned char)('0' + dice(10));
			break;
		}
	}
}

/* ---- a text, its parts, and its stream ---- */

struct work {
	struct deflate_parts *d;
	unsigned char text[DEFLATE_PARTS_TEXT];
	size_t len;
	struct deflate_part parts[DEFLATE_PARTS_MAX];
	struct inflate_part places[DEFLATE_PARTS_MAX + 1];
	size_t count;
	struct deflate_head head;
	struct buf stream;
	struct inflate_codes codes;
};

static struct work *
work_new(bool dense)
{
	struct work *w = (struct work *)calloc(1, sizeof(*w));

	assert_non_null(w);
	w->d = deflate_parts_new(dense);
	assert_non_null(w->d);
	return w;
}

static void
work_free(struct work *w)
{
	deflate_parts_free(w->d);
	buf_release(&w->stream);
	free(w);
}

/* Cuts the text into count parts, of any lengths. */
static void
cut(struct work *w, size_t count)
{
	size_t left = w->len;

	w->count = count < w->len ? count : w->len;
	for (size_t i = 0; i < w->count; i++) {
		size_t behind = w->count - 1 - i, len = left - behind;

		if (behind)
			len = 1 + dice((uint32_t)(2 * len / (behind + 1)) + 1);
		if (len > left - behind)
			len = left - behind;
		w->parts[i].len = (uint32_t)len;
		left -= len;
	}
}

/* 0, or LSMKV_END where it would not be smaller. */
static int
run(struct work *w)
{
	const size_t before = 3;
	size_t begin = 0;
	uint64_t bit = 0;
	int code;

	/* What stands before it stays. */
	buf_clear(&w->stream);
	assert_int_equal(buf_append(&w->stream, "abc", 3, NULL), 0);
	code = deflate_parts_run(w->d, slice_make(w->text, w->len), w->parts,
	                         w->count, &w->head, &w->stream, NULL);
	assert_memory_equal(w->stream.data, "abc", 3);
	if (code) {
		assert_int_equal(code, LSMKV_END);
		assert_int_equal(w->stream.len, before);
		return code;
	}
	w->stream.len -= before;
	memmove(w->stream.data, w->stream.data + before, w->stream.len);
	assert_true(w->stream.len < w->len);
	for (size_t i = 0; i < w->count; i++) {
		w->places[i] =
			(struct inflate_part){ begin, begin + w->parts[i].len,
			                       bit, w->parts[i].refers };
		begin += w->parts[i].len;
		bit += w->parts[i].bits;
	}
	w->places[w->count] = (struct inflate_part){ 0, 0, bit, false };
	assert_int_equal(begin, w->len);
	assert_false(w->parts[0].refers);
	return 0;
}

/* A text's worth of canaries, with a margin on both sides. */
static unsigned char *
canaries(size_t len)
{
	unsigned char *all = (unsigned char *)malloc(len + 2 * MARGIN);

	assert_non_null(all);
	memset(all, CANARY, len + 2 * MARGIN);
	return all + MARGIN;
}

/* [begin, end) of text is as in want, and everything else was left alone. */
static void
assert_only(const unsigned char *text, size_t len, const unsigned char *want,
            size_t begin, size_t end)
{
	const unsigned char *all = text - MARGIN;

	assert_memory_equal(text + begin, want + begin, end - begin);
	for (size_t i = 0; i < len + 2 * MARGIN; i++)
		if (i < begin + MARGIN || i >= end + MARGIN)
			assert_int_equal(all[i], CANARY);
}

/* The other inflaters know nothing of parts. */
static void
check_whole(struct work *w)
{
	struct inflater *inflater = inflater_new();
	unsigned char *text = canaries(w->len);
	uLongf got = (uLongf)w->len;

	assert_non_null(inflater);
	assert_int_equal(
		uncompress(text, &got, w->stream.data, (uLong)w->stream.len),
		Z_OK);
	assert_int_equal(got, w->len);
	assert_only(text, w->len, w->text, 0, w->len);
	memset(text, CANARY, w->len);
	assert_int_equal(inflater_run(inflater, buf_slice(&w->stream), text,
	                              w->len, NULL),
	                 0);
	assert_only(text, w->len, w->text, 0, w->len);
	inflater_free(inflater);
	free(text - MARGIN);
}

/* Each part alone, beside canaries, and some beginnings of it. */
static void
check_parts(struct work *w, const struct inflate_parts *x)
{
	size_t first_len = w->places[0].end;
	unsigned char *text = canaries(w->len);

	for (size_t i = 0; i < w->count; i++) {
		struct inflate_part part = w->places[i];
		size_t begin = part.begin, end = part.end;

		for (unsigned k = 0; k < 4; k++) {
			part.end = k ? begin + 1 + dice((uint32_t)(end - begin))
			             : end;
			memset(text, CANARY, w->len);
			if (part.refers)
				memcpy(text, w->text, first_len);
			assert_true(
				inflate_part_take(x, &part, first_len, text));
			if (part.refers) {
				assert_memory_equal(text, w->text, first_len);
				memset(text, CANARY, first_len);
			}
			assert_only(text, w->len, w->text, begin, part.end);
		}
	}
	free(text - MARGIN);
}

static void
check_stream(struct work *w)
{
	unsigned char *text = canaries(w->len), *exact;
	struct inflate_parts x, with;
	struct slice stream;

	check_whole(w);
	/* The end is the allocation's. */
	exact = (unsigned char *)malloc(w->stream.len);
	assert_non_null(exact);
	memcpy(exact, w->stream.data, w->stream.len);
	stream = slice_make(exact, w->stream.len);
	assert_true(inflate_parts_begin(&x, &w->codes, stream));
	assert_int_equal(x.first_bit, w->head.bits);
	assert_true(inflate_parts_all(&x, w->places, w->count, text));
	assert_only(text, w->len, w->text, 0, w->len);
	check_parts(w, &x);

	/* And with codes that are there already. */
	inflate_parts_begin_with(&with, &w->codes, stream, w->head.bits);
	memset(text, CANARY, w->len);
	assert_true(inflate_parts_all(&with, w->places, w->count, text));
	assert_only(text, w->len, w->text, 0, w->len);

	/* No part ends elsewhere than it does. */
	for (size_t i = 0; i < w->count && i < 3; i++) {
		size_t n = 1 + dice((uint32_t)w->count);

		w->places[n].bit++;
		assert_false(inflate_parts_all(&x, w->places, w->count, text));
		w->places[n].bit--;
	}
	free(exact);
	free(text - MARGIN);
}

/* ---- tests of streams ---- */

/*
 * Texts of every kind, in any number of parts, come back: from zlib and
 * libdeflate, all at once, and each part and each beginning of it alone.
 */
static void
test_round_trips(void **state)
{
	static const size_t lens[] = {
		1,   2,   3,   4,    5,    31,   257,
		258, 259, 300, 2000, 4096, 9000, DEFLATE_PARTS_TEXT
	};
	const unsigned kinds = sizeof(lens) / sizeof(lens[0]);
	unsigned made = 0, referring = 0, parts = 0;

	(void)state;
	for (unsigned dense = 0; dense < 2; dense++) {
		struct work *w = work_new(dense);

		for (unsigned round = 0; round < 500; round++) {
			enum text_kind kind = (enum text_kind)(round % KINDS);
			unsigned most = round / KINDS % 4;

			w->len = lens[round / 4 % kinds];
			if (dice(2))
				w->len = 1 + dice((uint32_t)w->len);
			make_text(w->text, w->len, kind);
			cut(w, most == 0   ? 1
			       : most == 1 ? 2 + dice(3)
			       : most == 2 ? 1 + dice(DEFLATE_PARTS_MAX)
			                   : DEFLATE_PARTS_MAX);
			if (run(w))
				continue;
			check_stream(w);
			made++;
			parts += w->count > 1;
			for (size_t i = 0; i < w->count; i++)
				referring += w->parts[i].refers;
		}
		work_free(w);
	}
	assert_true(made > 400);
	assert_true(parts > 200);
	assert_true(referring > 500);
}

/* Parts of one byte each, and one that is all of the text but one. */
static void
test_smallest_parts(void **state)
{
	struct work *w = work_new(true);

	(void)state;
	w->len = DEFLATE_PARTS_MAX;
	make_text(w->text, w->len, ONE);
	w->count = DEFLATE_PARTS_MAX;
	for (size_t i = 0; i < w->count; i++)
		w->parts[i].len = 1;
	assert_int_equal(run(w), 0);
	check_stream(w);

	w->len = DEFLATE_PARTS_TEXT;
	make_text(w->text, w->len, HALVES);
	w->count = 2;
	for (unsigned last = 0; last < 2; last++) {
		w->parts[last].len = 1;
		w->parts[!last].len = DEFLATE_PARTS_TEXT - 1;
		assert_int_equal(run(w), 0);
		check_stream(w);
	}
	work_free(w);
}

/* A match is at most 258 long, at least from one byte before, and from the
   first part at most as far as that reaches. */
static void
test_longest_matches(void **state)
{
	struct work *w = work_new(true);

	(void)state;
	for (unsigned len = 250; len < 270; len++) {
		/* A part, then the same again: from the first, or its own. */
		for (unsigned times = 2; times < 5; times++) {
			w->len = (size_t)len * times;
			make_text(w->text, len, RANDOM);
			for (unsigned i = 1; i < times; i++)
				memcpy(w->text + (size_t)len * i, w->text, len);
			for (w->count = 1; w->count <= times; w->count++) {
				for (size_t i = 0; i < w->count; i++)
					w->parts[i].len = len;
				w->parts[w->count - 1].len +=
					(uint32_t)(len * (times - w->count));
				if (run(w))
					continue;
				check_stream(w);
				for (size_t i = 1; i < w->count; i++)
					assert_true(w->parts[i].refers);
			}
		}
		/* And one byte, to and fro over the longest. */
		w->len = 2000 + len;
		memset(w->text, 'o', w->len);
		w->count = 2;
		w->parts[0].len = len;
		w->parts[1].len = 2000;
		assert_int_equal(run(w), 0);
		check_stream(w);
	}
	work_free(w);
}

/* What cannot become smaller is told, and nothing is written. */
static void
test_incompressible(void **state)
{
	struct work *w = work_new(true);

	(void)state;
	for (w->len = 1; w->len <= DEFLATE_PARTS_TEXT;
	     w->len += w->len / 5 + 1) {
		make_text(w->text, w->len, RANDOM);
		cut(w, 1 + dice(20));
		assert_int_equal(run(w), LSMKV_END);
	}
	work_free(w);
}

/* ---- the common code ---- */

static void
next_text(struct work *w, enum text_kind kind)
{
	w->len = 2500 + dice(300);
	make_text(w->text, w->len, kind);
	cut(w, 7);
	assert_int_equal(run(w), 0);
	check_stream(w);
}

/* Does w's stream begin as the one that is kept in `head`? */
static bool
begins_alike(const struct work *w, const struct buf *head)
{
	return w->head.bits / 8 <= head->len &&
	       w->head.bits / 8 <= w->stream.len &&
	       !memcmp(head->data, w->stream.data, w->head.bits / 8);
}

/*
 * Texts that follow one another get one code, with which their streams begin;
 * those of another kind have their own until there are enough of them for one
 * that is common again.
 */
static void
test_common_code(void **state)
{
	static const enum text_kind kinds[] = { LINES, HALVES, LINES };
	struct work *w = work_new(true);
	struct buf heads[3] = { BUF_INIT, BUF_INIT, BUF_INIT };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		unsigned common = 0;

		for (unsigned i = 0; i < 200; i++) {
			next_text(w, kinds[k]);
			if (!w->head.common)
				continue;
			/* The first of a kind may still be the old one's. */
			if (i > 100) {
				common++;
				if (!heads[k].len)
					assert_int_equal(
						buf_append(&heads[k],
					                   w->stream.data,
					                   w->head.bits / 8,
					                   NULL),
						0);
				assert_true(begins_alike(w, &heads[k]));
			}
		}
		assert_true(common > 40);
	}
	assert_false(slice_equal(buf_slice(&heads[0]), buf_slice(&heads[1])));
	for (unsigned k = 0; k < 3; k++)
		buf_release(&heads[k]);
	work_free(w);
}

/*
 * A change of kind is noticed after any amount of texts that the common code
 * was good for, and it is of the new kind that the next one is made.
 */
static void
test_change_after_much(void **state)
{
	struct work *w = work_new(false);
	unsigned common = 0;

	(void)state;
	w->len = DEFLATE_PARTS_TEXT;
	cut(w, 60);
	/* So many matches from one byte before, that 16 times as many are more
	   than a code can be made of. */
	for (unsigned i = 0; i < 1200; i++) {
		if (i % 400 == 0)
			for (size_t n = 0; n < w->len; n++)
				w->text[n] =
					(unsigned char)(n % 40 < 34
				                                ? 'a' + n / 40 % 16
				                                : 'a' + dice(16));
		assert_int_equal(run(w), 0);
	}
	assert_true(w->head.common);
	check_stream(w);
	for (unsigned i = 0; i < 32; i++) {
		next_text(w, HALVES);
		if (i >= 20)
			common += w->head.common;
	}
	assert_true(common > 8);
	work_free(w);
}

/* ---- damage ---- */

/* What is asked for is given or refused, and nothing else is touched. */
static void
read_damaged(struct work *w, struct slice stream)
{
	static struct inflate_codes codes;
	unsigned char *text = canaries(w->len);
	size_t first_len = w->places[0].end;
	struct inflate_parts x;

	if (inflate_parts_begin(&x, &codes, stream))
		(void)inflate_parts_all(&x, w->places, w->count, text);
	else
		inflate_parts_begin_with(&x, &w->codes, stream, w->head.bits);
	for (size_t i = 0; i < MARGIN; i++) {
		assert_int_equal(text[w->len + i], CANARY);
		assert_int_equal((text - MARGIN)[i], CANARY);
	}
	for (size_t i = 0; i < w->count; i++) {
		struct inflate_part *part = &w->places[i];

		memset(text, CANARY, w->len);
		memcpy(text, w->text, first_len);
		(void)inflate_part_take(&x, part, first_len, text);
		for (size_t n = 0; n < w->len; n++)
			if (n < part->begin || n >= part->end)
				assert_int_equal(text[n], n < first_len
				                                  ? w->text[n]
				                                  : CANARY);
	}
	free(text - MARGIN);
}

/* Every bit of a stream may be another, and it may end anywhere. */
static void
test_flipped_bits(void **state)
{
	static const enum text_kind kinds[] = { LINES, RUNS, HALVES };
	struct work *w = work_new(true);
	unsigned char *exact;

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		w->len = 700;
		make_text(w->text, w->len, kinds[k]);
		cut(w, 4);
		assert_int_equal(run(w), 0);
		check_stream(w);
		exact = (unsigned char *)malloc(w->stream.len);
		assert_non_null(exact);
		memcpy(exact, w->stream.data, w->stream.len);
		for (size_t bit = 0; bit < 8 * w->stream.len; bit++) {
			exact[bit / 8] ^= (unsigned char)(1u << bit % 8);
			read_damaged(w, slice_make(exact, w->stream.len));
			exact[bit / 8] ^= (unsigned char)(1u << bit % 8);
		}
		for (size_t len = 0; len < w->stream.len; len++) {
			unsigned char *shorter =
				(unsigned char *)malloc(len + !len);

			assert_non_null(shorter);
			memcpy(shorter, exact, len);
			read_damaged(w, slice_make(shorter, len));
			free(shorter);
		}
		free(exact);
	}
	work_free(w);
}

/*
 * A part ends between two symbols: of a match that goes on behind the end of a
 * part, the stream makes another text than its parts would.
 */
static void
test_match_over_an_end(void **state)
{
	struct work *w = work_new(true);
	unsigned char text[400];
	struct inflate_parts x;
	uint64_t all;

	(void)state;
	w->len = 400;
	memset(w->text, 'o', 300);
	for (size_t i = 300; i < w->len; i++)
		w->text[i] = (unsigned char)(i * 89);
	cut(w, 1);
	assert_int_equal(run(w), 0);
	check_stream(w);
	all = w->places[1].bit;
	assert_true(inflate_parts_begin(&x, &w->codes, buf_slice(&w->stream)));
	for (uint64_t bit = 1; bit < all; bit++) {
		const struct inflate_part wrong[] = { { 0, 298, 0, false },
			                              { 298, 398, bit, false },
			                              { 0, 0, all, false } };
		const struct inflate_part fine[] = { { 0, 300, 0, false },
			                             { 300, 400, bit, false },
			                             { 0, 0, all, false } };

		assert_false(inflate_parts_all(&x, wrong, 2, text));
		if (inflate_parts_all(&x, fine, 2, text))
			w->count++;
	}
	/* There is one end where they could have been cut. */
	assert_int_equal(w->count, 2);
	work_free(w);
}

/* A part that copies from the first one without saying so is damaged: its text
   is not taken from where nobody has put it. */
static void
test_hidden_references(void **state)
{
	struct work *w = work_new(true);
	unsigned hidden = 0;

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		unsigned char *text = canaries(DEFLATE_PARTS_TEXT);
		struct inflate_parts x;

		w->len = 2000 + dice(2000);
		make_text(w->text, w->len, LINES);
		cut(w, 8);
		assert_int_equal(run(w), 0);
		memcpy(text, w->text, w->len);
		assert_true(inflate_parts_begin(&x, &w->codes,
		                                buf_slice(&w->stream)));
		for (size_t i = 1; i < w->count; i++) {
			struct inflate_part *p = &w->places[i];

			if (!p->refers)
				continue;
			hidden++;
			p->refers = false;
			assert_false(inflate_part_take(&x, p, w->places[0].end,
			                               text));
			assert_false(inflate_parts_all(&x, w->places, w->count,
			                               text));
			p->refers = true;
		}
		free(text - MARGIN);
	}
	assert_true(hidden > 100);
	work_free(w);
}

/* A part may be said to be where it is not. */
static void
test_changed_places(void **state)
{
	struct work *w = work_new(true);
	struct inflate_part right[DEFLATE_PARTS_MAX + 1];

	(void)state;
	for (unsigned round = 0; round < 6000; round++) {
		struct inflate_part *p;
		uint64_t far = UINT64_MAX >> dice(64);
		unsigned shift = dice(12);

		if (round % 200 == 0) {
			do {
				w->len = 1 + dice(3000);
				make_text(w->text, w->len,
				          (enum text_kind)dice(KINDS));
				cut(w, 1 + dice(20));
			} while (run(w));
			check_stream(w);
			memcpy(right, w->places, sizeof(right));
		}
		for (unsigned changes = 1 + dice(3); changes; changes--) {
			p = &w->places[dice((uint32_t)w->count + 1)];
			switch (dice(3)) {
			case 0:
				p->bit = dice(2) ? far
				                 : p->bit + dice(1u << shift) -
				                           (dice(1u << shift));
				break;
			case 1:
				p->refers = !p->refers;
				break;
			default:
				/* Ends move; parts still fill the text. */
				p = &w->places[dice((uint32_t)w->count)];
				p->end =
					p->begin +
					dice((uint32_t)(w->len + 1 - p->begin));
				if (p - w->places + 1 < (ptrdiff_t)w->count)
					p[1].begin = p->end;
				break;
			}
		}
		p = &w->places[w->count - 1];
		p->end = w->len;
		read_damaged(w, buf_slice(&w->stream));
		memcpy(w->places, right, sizeof(right));
	}
	work_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_deep_codes),
		cmocka_unit_test(test_small_codes),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_smallest_parts),
		cmocka_unit_test(test_longest_matches),
		cmocka_unit_test(test_incompressible),
		cmocka_unit_test(test_common_code),
		cmocka_unit_test(test_change_after_much),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_match_over_an_end),
		cmocka_unit_test(test_hidden_references),
		cmocka_unit_test(test_changed_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
