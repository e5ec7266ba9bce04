/* SPDX-License-Identifier: ISC */
/* What all that writes deflate's blocks has in common; see the header. */
#include "base/deflate_code.h"

#define LENGTHS 19u          /* of the code of code lengths */
#define LENGTHS_CODE_BITS 7u /* what deflate has */

const uint16_t deflate_length_base[DEFLATE_LENGTHS] = {
	3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23,  27,
	31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
};
const uint8_t deflate_length_extra[DEFLATE_LENGTHS] = {
	0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
	2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
};
const uint16_t deflate_offset_base[DEFLATE_OFFSETS] = {
	1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
	33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
	1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
};

void
deflate_length_symbols(uint8_t symbol[DEFLATE_MATCH_MAX + 1])
{
	memset(symbol, 0, DEFLATE_MATCH_MAX + 1);
	for (unsigned s = 0; s + 1 < DEFLATE_LENGTHS; s++)
		for (unsigned len = deflate_length_base[s];
		     len < deflate_length_base[s + 1] &&
		     len < DEFLATE_MATCH_MAX;
		     len++)
			symbol[len] = (uint8_t)s;
	symbol[DEFLATE_MATCH_MAX] = DEFLATE_LENGTHS - 1;
}

/* Lengths of codewords as they are written: a symbol, and what follows it. */
struct run {
	uint8_t symbol; /* 16: the one before, 17 and 18: 0 */
	uint8_t times;  /* less the least that the symbol stands for */
};

static const uint8_t run_extra[LENGTHS] = { [16] = 2, [17] = 3, [18] = 7 };

static struct run *
put_run(struct huffman *c, struct run *r, unsigned symbol, unsigned times)
{
	c->freq[symbol]++;
	r->symbol = (uint8_t)symbol;
	r->times = (uint8_t)times;
	return r + 1;
}

/* n equal lengths. */
static struct run *
put_runs(struct huffman *c, struct run *r, unsigned length, unsigned n)
{
	while (!length && n >= 11) {
		unsigned times = n < 138 ? n : 138;

		r = put_run(c, r, 18, times - 11);
		n -= times;
	}
	if (!length && n >= 3) {
		r = put_run(c, r, 17, n - 3);
		n = 0;
	}
	if (n) {
		r = put_run(c, r, length, 0);
		n--;
	}
	while (length && n >= 3) {
		unsigned times = n < 6 ? n : 6;

		r = put_run(c, r, 16, times - 3);
		n -= times;
	}
	while (n--)
		r = put_run(c, r, length, 0);
	return r;
}

void
deflate_put_codes(struct deflate_bits *b, const struct huffman *litlen,
                  const struct huffman *offset, bool last)
{
	static const uint8_t order[LENGTHS] = { 16, 17, 18, 0,  8, 7,  9,
		                                6,  10, 5,  11, 4, 12, 3,
		                                13, 2,  14, 1,  15 };
	unsigned litlens =
		huffman_used(litlen, DEFLATE_LITLENS, DEFLATE_FIRST_LENGTH);
	unsigned offsets = huffman_used(offset, DEFLATE_OFFSETS, 1);
	unsigned n = litlens + offsets, sent = LENGTHS;
	uint8_t length[DEFLATE_LITLENS + DEFLATE_OFFSETS];
	struct run runs[DEFLATE_LITLENS + DEFLATE_OFFSETS], *end = runs;
	struct huffman lengths;

	memcpy(length, litlen->bits, litlens);
	memcpy(length + litlens, offset->bits, offsets);
	memset(lengths.freq, 0, LENGTHS * sizeof(*lengths.freq));
	for (unsigned i = 0, same; i < n; i += same) {
		for (same = 1; i + same < n && length[i + same] == length[i];)
			same++;
		end = put_runs(&lengths, end, length[i], same);
	}
	huffman_make(&lengths, LENGTHS, LENGTHS_CODE_BITS);
	while (sent > 4 && !lengths.bits[order[sent - 1]])
		sent--;

	deflate_put(b, last, 1);
	deflate_put(b, 2, 2); /* with codes of its own */
	deflate_put(b, litlens - 257, 5);
	deflate_put(b, offsets - 1, 5);
	deflate_put(b, sent - 4, 4);
	deflate_flush(b);
	for (unsigned i = 0; i < sent; i++) {
		deflate_put(b, lengths.bits[order[i]], 3);
		deflate_flush(b);
	}
	for (const struct run *r = runs; r < end; r++) {
		deflate_put(b, lengths.word[r->symbol],
		            lengths.bits[r->symbol]);
		deflate_put(b, r->times, run_extra[r->symbol]);
		deflate_flush(b);
	}
}
