/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a zlib stream, of which the beginning is wanted.
 *
 *     byte 0:    bit 0: they are the stream itself; otherwise they choose codes
 *                and symbols, of which the stream is made
 *     byte 1, 2: how much of the text is wanted
 *     then:      the bytes
 *
 * A stream that is made is right: its text is known, zlib says the same, and
 * so does each beginning of it. Of others, what is accepted is what zlib has,
 * and what zlib accepts whole is accepted.
 */
#include "base/inflate_prefix.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

#define TEXT_MAX 6000u
#define LEAVES_MAX 200u
#define LITLENS 286u
#define OFFSETS 30u
#define END 256u

const char fuzz_name[] = "inflate";

static struct inflate_codes prefix;

/* ---- what is chosen from ---- */

struct choices {
	const uint8_t *at, *end;
};

static unsigned
next(struct choices *c)
{
	return c->at < c->end ? *c->at++ : 0;
}

struct bit_writer {
	unsigned char bytes[2 * TEXT_MAX + 1024];
	size_t bits;
};

static void
put_bits(struct bit_writer *w, unsigned value, unsigned n)
{
	REQUIRE(w->bits + n <= 8 * sizeof(w->bytes));
	for (unsigned i = 0; i < n; i++, w->bits++)
		w->bytes[w->bits / 8] |=
			(unsigned char)((value >> i & 1) << w->bits % 8);
}

/* Codewords have their first bit first. */
static void
put_codeword(struct bit_writer *w, unsigned word, unsigned n)
{
	while (n--)
		put_bits(w, word >> n & 1, 1);
}

/* ---- codes ---- */

struct code {
	unsigned symbols; /* that it could have */
	unsigned count;   /* that it has: */
	unsigned symbol[LEAVES_MAX];
	uint8_t bits[LITLENS]; /* by symbol; 0: none */
	uint16_t word[LITLENS];
};

/* A code with no word unused: leaves are split until there are enough. */
static void
choose_code(struct code *code, unsigned symbols, struct choices *c)
{
	uint8_t depth[LEAVES_MAX] = { 1, 1 };
	unsigned wanted = 2 + next(c) % (LEAVES_MAX - 2), word = 0;

	memset(code, 0, sizeof(*code));
	code->symbols = symbols;
	if (wanted > symbols)
		wanted = symbols;
	for (code->count = 2; code->count < wanted; code->count++) {
		unsigned i = next(c) % code->count;

		while (depth[i] == 15)
			i = (i + 1) % code->count;
		depth[code->count] = ++depth[i];
	}
	for (unsigned i = 0; i < code->count; i++) {
		unsigned s = i ? (next(c) + (next(c) & 1) * 256) % symbols
		               : END % symbols;

		while (code->bits[s])
			s = (s + 1) % symbols;
		code->symbol[i] = s;
		code->bits[s] = depth[i];
	}
	for (unsigned bits = 1; bits <= 15; bits++, word <<= 1)
		for (unsigned s = 0; s < symbols; s++)
			if (code->bits[s] == bits)
				code->word[s] = (uint16_t)word++;
}

static void
put_symbol(struct bit_writer *w, const struct code *code, unsigned s)
{
	put_codeword(w, code->word[s], code->bits[s]);
}

/* RFC 1951, 3.2.5: what a symbol stands for, and the extra bits behind it. */
static unsigned
length_base(unsigned s, unsigned *extra)
{
	unsigned k = s - 257;

	*extra = k < 8 || k == 28 ? 0 : k / 4 - 1;
	return k == 28 ? 258 : k < 8 ? k + 3 : ((4 + k % 4) << *extra) + 3;
}

static unsigned
offset_base(unsigned s, unsigned *extra)
{
	*extra = s < 4 ? 0 : s / 2 - 1;
	return s < 4 ? s + 1 : ((2 + s % 2) << *extra) + 1;
}

/* ---- streams that are made ---- */

/* Puts a match, if the text is long enough for it. */
static size_t
put_match(struct bit_writer *w, const struct code *litlens, unsigned s,
          const struct code *offsets, struct choices *c, unsigned char *text,
          size_t len)
{
	unsigned length_extra, offset_extra, by;
	unsigned d = offsets->symbol[next(c) % offsets->count];
	unsigned length = length_base(s, &length_extra);
	unsigned offset = offset_base(d, &offset_extra);

	by = (next(c) << 8 | next(c)) & ((1u << offset_extra) - 1);
	if (offset + by > len)
		return len;
	put_symbol(w, litlens, s);
	offset += by;
	by = next(c) & ((1u << length_extra) - 1);
	put_bits(w, by, length_extra);
	put_symbol(w, offsets, d);
	put_bits(w, offset - offset_base(d, &offset_extra), offset_extra);
	for (length += by; length; length--, len++)
		text[len] = text[len - offset];
	return len;
}

static size_t
put_block(struct bit_writer *w, bool last, struct choices *c,
          unsigned char *text, size_t len)
{
	struct code litlens, offsets;

	put_bits(w, last, 1);
	put_bits(w, 2, 2);
	choose_code(&litlens, LITLENS, c);
	choose_code(&offsets, OFFSETS, c);
	put_bits(w, LITLENS - 257, 5);
	put_bits(w, OFFSETS - 1, 5);
	put_bits(w, 19 - 4, 4);
	/* Lengths 0 to 15 are numbers of 4 bits; 16 to 18 are not used. */
	for (unsigned i = 0; i < 19; i++)
		put_bits(w, i < 3 ? 0 : 4, 3);
	for (unsigned s = 0; s < LITLENS; s++)
		put_codeword(w, litlens.bits[s], 4);
	for (unsigned s = 0; s < OFFSETS; s++)
		put_codeword(w, offsets.bits[s], 4);
	while (c->at < c->end && len + 258 <= TEXT_MAX &&
	       w->bits / 8 < 2 * TEXT_MAX) {
		unsigned s = litlens.symbol[next(c) % litlens.count];

		if (s == END)
			break;
		if (s > END) {
			len = put_match(w, &litlens, s, &offsets, c, text, len);
			continue;
		}
		put_symbol(w, &litlens, s);
		text[len++] = (unsigned char)s;
	}
	put_symbol(w, &litlens, END);
	return len;
}

/* ---- what must be true ---- */

/* The first `wanted` bytes are text's; false: they are refused. Neither more
   than the stream is read, nor more written than is said. */
static bool
gives(const unsigned char *stream, size_t n, const unsigned char *text,
      size_t wanted)
{
	unsigned char *in = (unsigned char *)malloc(n + 1);
	unsigned char *out =
		(unsigned char *)malloc(wanted + INFLATE_PREFIX_SLACK);
	bool ok;

	REQUIRE(in && out);
	memcpy(in + 1, stream, n); /* the end is the allocation's */
	ok = inflate_prefix(&prefix, slice_make(in + 1, n), out, wanted);
	if (ok)
		REQUIRE(!memcmp(out, text, wanted));
	free(in);
	free(out);
	return ok;
}

static void
check_made(struct choices *c, size_t wanted)
{
	static struct bit_writer w;
	static unsigned char text[TEXT_MAX + 258], again[TEXT_MAX + 258];
	uLongf got = sizeof(again);
	size_t len = 0, n;
	uLong sum;

	memset(&w, 0, sizeof(w));
	put_bits(&w, 0x9c78, 16);
	len = put_block(&w, false, c, text, len);
	len = put_block(&w, true, c, text, len);
	sum = adler32(1, text, (uInt)len);
	n = (w.bits + 7) / 8;
	for (unsigned i = 0; i < 4; i++)
		w.bytes[n++] = (unsigned char)(sum >> (24 - 8 * i));
	REQUIRE(uncompress(again, &got, w.bytes, (uLong)n) == Z_OK);
	REQUIRE(got == len && !memcmp(again, text, len));

	REQUIRE(gives(w.bytes, n, text, len));
	REQUIRE(gives(w.bytes, n, text, wanted % (len + 1)));
}

static void
check_given(const struct choices *c, size_t wanted)
{
	static unsigned char text[TEXT_MAX];
	size_t n = (size_t)(c->end - c->at);
	z_stream s = { 0 };
	size_t got;
	int rc;

	wanted %= TEXT_MAX + 1;
	REQUIRE(inflateInit(&s) == Z_OK);
	s.next_in = (unsigned char *)(uintptr_t)c->at;
	s.avail_in = (uInt)n;
	s.next_out = text;
	s.avail_out = sizeof(text);
	rc = inflate(&s, Z_SYNC_FLUSH);
	got = sizeof(text) - s.avail_out;
	inflateEnd(&s);
	if (rc == Z_STREAM_END && wanted > got)
		REQUIRE(!gives(c->at, n, text, wanted));
	else if (rc == Z_STREAM_END)
		REQUIRE(gives(c->at, n, text, wanted));
	else if (wanted <= got)
		(void)gives(c->at, n, text, wanted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = { data, data + size };
	unsigned how = next(&c);
	size_t wanted = next(&c) << 8;

	wanted |= next(&c);
	if (how & 1)
		check_given(&c, wanted);
	else
		check_made(&c, wanted);
	return 0;
}
