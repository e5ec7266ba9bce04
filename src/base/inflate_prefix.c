/* SPDX-License-Identifier: ISC */
/*
 * Inflating as little as will do.
 *
 * The bits of the stream stand in a word, the next one lowest. A word is
 * filled to at least 56 bits: enough for four literals out of a table, or for a
 * match, whose length and offset take 20 and 28 at most. Behind the end of the stream come
 * zeros; they are counted, and in the end must not have been used.
 */
#include "base/inflate_prefix.h"

#include <endian.h>

#define CODE_BITS_MAX 15u
#define LENGTH_SYMBOLS 19u /* of the code of code lengths */
#define LITLEN_SYMBOLS 288u
#define OFFSET_SYMBOLS 32u
#define REPEAT_MAX 138u
#define LITERALS 4u /* of the table, from one filled word */

/*
 * What a codeword stands for: its bits (0 in a table: it is longer than that),
 * the extra bits behind it, and what it is, with a base in the upper half.
 */
#define ENTRY_BITS 0x0fu
#define ENTRY_EXTRA_SHIFT 4u
#define ENTRY_LITERAL 0x100u
#define ENTRY_END 0x200u
#define ENTRY_INVALID 0x400u
#define ENTRY_BASE_SHIFT 16u

#define ENTRY(base, extra)                                                     \
	((uint32_t)(base) << ENTRY_BASE_SHIFT | (extra) << ENTRY_EXTRA_SHIFT)

struct bits {
	const unsigned char *at, *end;
	uint64_t hold;  /* the next ones */
	unsigned count; /* of them */
	size_t past;    /* bytes of zeros behind the end */
};

static inline void
refill(struct bits *b)
{
	if (b->end - b->at >= 8) {
		uint64_t v;

		memcpy(&v, b->at, sizeof(v));
		b->hold |= le64toh(v) << b->count;
		b->at += (63 - b->count) / 8;
		b->count |= 56;
		return;
	}
	while (b->count <= 56) {
		if (b->at < b->end)
			b->hold |= (uint64_t)*b->at++ << b->count;
		else
			b->past++;
		b->count += 8;
	}
}

/* The next n bits, of which there are as many. */
static inline unsigned
take(struct bits *b, unsigned n)
{
	unsigned v = (unsigned)(b->hold & (((uint64_t)1 << n) - 1));

	b->hold >>= n;
	b->count -= n;
	return v;
}

/* ---- codes ---- */

static uint32_t
length_entry(unsigned symbol)
{
	return ENTRY(symbol, 0);
}

static uint32_t
litlen_entry(unsigned symbol)
{
	static const uint32_t length[LITLEN_SYMBOLS - 257] = {
		ENTRY(3, 0),   ENTRY(4, 0),   ENTRY(5, 0),   ENTRY(6, 0),
		ENTRY(7, 0),   ENTRY(8, 0),   ENTRY(9, 0),   ENTRY(10, 0),
		ENTRY(11, 1),  ENTRY(13, 1),  ENTRY(15, 1),  ENTRY(17, 1),
		ENTRY(19, 2),  ENTRY(23, 2),  ENTRY(27, 2),  ENTRY(31, 2),
		ENTRY(35, 3),  ENTRY(43, 3),  ENTRY(51, 3),  ENTRY(59, 3),
		ENTRY(67, 4),  ENTRY(83, 4),  ENTRY(99, 4),  ENTRY(115, 4),
		ENTRY(131, 5), ENTRY(163, 5), ENTRY(195, 5), ENTRY(227, 5),
		ENTRY(258, 0), ENTRY_INVALID, ENTRY_INVALID,
	};

	if (symbol < 256)
		return ENTRY(symbol, 0) | ENTRY_LITERAL;
	return symbol > 256 ? length[symbol - 257] : ENTRY_END;
}

static uint32_t
offset_entry(unsigned symbol)
{
	static const uint32_t offset[OFFSET_SYMBOLS] = {
		ENTRY(1, 0),      ENTRY(2, 0),      ENTRY(3, 0),
		ENTRY(4, 0),      ENTRY(5, 1),      ENTRY(7, 1),
		ENTRY(9, 2),      ENTRY(13, 2),     ENTRY(17, 3),
		ENTRY(25, 3),     ENTRY(33, 4),     ENTRY(49, 4),
		ENTRY(65, 5),     ENTRY(97, 5),     ENTRY(129, 6),
		ENTRY(193, 6),    ENTRY(257, 7),    ENTRY(385, 7),
		ENTRY(513, 8),    ENTRY(769, 8),    ENTRY(1025, 9),
		ENTRY(1537, 9),   ENTRY(2049, 10),  ENTRY(3073, 10),
		ENTRY(4097, 11),  ENTRY(6145, 11),  ENTRY(8193, 12),
		ENTRY(12289, 12), ENTRY(16385, 13), ENTRY(24577, 13),
		ENTRY_INVALID,    ENTRY_INVALID,
	};

	return offset[symbol];
}

/*
 * The codeword behind `word` of a canonical code, where both are written with
 * their first bit lowest, as the stream has them, and size - 1 is all ones.
 */
static inline unsigned
next_codeword(unsigned word, unsigned size)
{
	unsigned zeros = word ^ (size - 1);
	unsigned highest;

	if (!zeros)
		return 0; /* it was the last one */
	highest = 1u << (31 - __builtin_clz(zeros));
	return (word & (highest - 1)) | highest;
}

/* Makes the code in which symbol i < n has length[i] bits, 0: none. */
static inline bool
make_code(struct inflate_code *c, const uint8_t *length, unsigned n,
          uint32_t (*entry_of)(unsigned))
{
	unsigned place[CODE_BITS_MAX + 2], word = 0, longest = 0;
	const uint16_t *symbol = c->sorted;
	int left = 1; /* codewords of this length that none begins yet */

	memset(c->count, 0, sizeof(c->count));
	for (unsigned i = 0; i < n; i++)
		c->count[length[i]]++;
	c->count[0] = 0;
	place[1] = 0;
	for (unsigned bits = 1; bits <= CODE_BITS_MAX; bits++) {
		left = 2 * left - c->count[bits];
		if (left < 0)
			return false;
		if (c->count[bits])
			longest = bits;
		place[bits + 1] = place[bits] + c->count[bits];
	}
	for (unsigned i = 0; i < n; i++)
		if (length[i])
			c->sorted[place[length[i]]++] = (uint16_t)i;

	/*
	 * With one more bit the table is its own copy, twice; what no codeword
	 * has taken is 0 in both. Codes that leave words unused are as good.
	 */
	c->bits = longest < c->bits_max ? longest : c->bits_max;
	c->table[0] = c->table[1] = 0;
	for (unsigned bits = 1; bits <= c->bits; bits++) {
		unsigned size = 1u << bits;

		if (bits > 1)
			memcpy(c->table + size / 2, c->table,
			       size / 2 * sizeof(*c->table));
		for (unsigned i = c->count[bits]; i; i--) {
			c->table[word] = entry_of(*symbol++) | bits;
			word = next_codeword(word, size);
		}
	}
	return true;
}

/* The entry of a codeword that is longer than the table, or that is none. */
static __attribute__((noinline)) uint32_t
long_entry(const struct inflate_code *c, uint64_t hold,
           uint32_t (*entry_of)(unsigned))
{
	unsigned word = 0, first = 0, place = 0;

	for (unsigned bits = 1; bits <= CODE_BITS_MAX; bits++) {
		word |= (unsigned)(hold & 1);
		hold >>= 1;
		if (word - first < c->count[bits])
			return entry_of(c->sorted[place + word - first]) | bits;
		place += c->count[bits];
		first = (first + c->count[bits]) << 1;
		word <<= 1;
	}
	return ENTRY_INVALID;
}

/* The base of e, whose bits are taken, with the extra bits behind it. */
static inline unsigned
with_extra(struct bits *b, uint32_t e)
{
	return (e >> ENTRY_BASE_SHIFT) +
	       take(b, e >> ENTRY_EXTRA_SHIFT & ENTRY_BITS);
}

/* ---- blocks ---- */

static bool
fixed_codes(struct inflate_prefix *p)
{
	uint8_t length[LITLEN_SYMBOLS];

	memset(length, 8, 144);
	memset(length + 144, 9, 112);
	memset(length + 256, 7, 24);
	memset(length + 280, 8, 8);
	make_code(&p->litlen, length, LITLEN_SYMBOLS, litlen_entry);
	memset(length, 5, OFFSET_SYMBOLS);
	return make_code(&p->offset, length, OFFSET_SYMBOLS, offset_entry);
}

/* Reads the codes that a block begins with. */
static bool
dynamic_codes(struct inflate_prefix *p, struct bits *b)
{
	static const uint8_t order[LENGTH_SYMBOLS] = { 16, 17, 18, 0,  8, 7,  9,
		                                       6,  10, 5,  11, 4, 12, 3,
		                                       13, 2,  14, 1,  15 };
	uint8_t length[LITLEN_SYMBOLS + OFFSET_SYMBOLS + REPEAT_MAX];
	unsigned litlens = 257 + take(b, 5), offsets = 1 + take(b, 5);
	unsigned lengths = 4 + take(b, 4), n = 0;
	uint64_t mask;

	memset(length, 0, LENGTH_SYMBOLS);
	for (unsigned i = 0; i < lengths; i++) {
		if (b->count < 3)
			refill(b);
		length[order[i]] = (uint8_t)take(b, 3);
	}
	if (!make_code(&p->lengths, length, LENGTH_SYMBOLS, length_entry))
		return false;
	mask = ((uint64_t)1 << p->lengths.bits) - 1;
	while (n < litlens + offsets) {
		unsigned symbol, times;
		uint32_t e;

		if (b->count < CODE_BITS_MAX)
			refill(b);
		e = p->lengths_table[b->hold & mask];
		if (!(e & ENTRY_BITS))
			return false; /* none is longer than the table's */
		take(b, e & ENTRY_BITS);
		symbol = e >> ENTRY_BASE_SHIFT;
		if (symbol < 16) {
			length[n++] = (uint8_t)symbol;
			continue;
		}
		if (symbol == 16 && !n)
			return false;
		times = symbol == 16   ? 3 + take(b, 2)
		        : symbol == 17 ? 3 + take(b, 3)
		                       : 11 + take(b, 7);
		memset(length + n, symbol == 16 ? length[n - 1] : 0, times);
		n += times;
	}
	return n == litlens + offsets &&
	       make_code(&p->litlen, length, litlens, litlen_entry) &&
	       make_code(&p->offset, length + litlens, offsets, offset_entry);
}

/* Each of these goes on at `to`, and returns where it ended: at stop or
   behind it, or at the end of its block; NULL if the stream is damaged. */

static unsigned char *
stored_block(struct bits *b, unsigned char *to, const unsigned char *stop)
{
	size_t whole = b->count / 8, len;

	/* What was filled in ahead goes back. */
	if (b->past > whole)
		return NULL;
	b->at -= whole - b->past;
	b->hold = 0;
	b->count = 0;
	b->past = 0;
	if (b->end - b->at < 4)
		return NULL;
	len = b->at[0] | (size_t)b->at[1] << 8;
	if ((len ^ (b->at[2] | (size_t)b->at[3] << 8)) != 0xffff)
		return NULL;
	b->at += 4;
	if (len > (size_t)(b->end - b->at))
		return NULL;
	if (len > (size_t)(stop - to)) {
		memcpy(to, b->at, (size_t)(stop - to));
		return to + (stop - to);
	}
	memcpy(to, b->at, len);
	b->at += len;
	return to + len;
}

static inline unsigned char *
copy_match(unsigned char *to, size_t offset, size_t len)
{
	const unsigned char *from = to - offset;
	unsigned char *end = to + len;

	if (offset < 8) {
		while (to < end)
			*to++ = *from++;
		return end;
	}
	for (; to < end; to += 8, from += 8)
		memcpy(to, from, 8);
	return end;
}

static unsigned char *
coded_block(const struct inflate_prefix *p, struct bits *bits,
            const unsigned char *out, unsigned char *to,
            const unsigned char *stop)
{
	/* In registers, whatever is written to `to`. */
	const uint32_t *litlens = p->litlen_table, *offsets = p->offset_table;
	const uint64_t litlen_mask = ((uint64_t)1 << p->litlen.bits) - 1;
	const uint64_t offset_mask = ((uint64_t)1 << p->offset.bits) - 1;
	struct bits b = *bits;

	while (to < stop) {
		size_t len, offset;
		uint32_t e;

		refill(&b);
		e = litlens[b.hold & litlen_mask];
		for (unsigned n = 0; e & ENTRY_LITERAL && n < LITERALS; n++) {
			take(&b, e & ENTRY_BITS);
			*to++ = (unsigned char)(e >> ENTRY_BASE_SHIFT);
			e = litlens[b.hold & litlen_mask];
		}
		if (e & ENTRY_LITERAL)
			continue;
		refill(&b);
		if (!(e & ENTRY_BITS))
			e = long_entry(&p->litlen, b.hold, litlen_entry);
		if (e & ENTRY_INVALID)
			return NULL;
		take(&b, e & ENTRY_BITS);
		if (e & ENTRY_LITERAL) {
			*to++ = (unsigned char)(e >> ENTRY_BASE_SHIFT);
			continue;
		}
		if (e & ENTRY_END)
			break;
		len = with_extra(&b, e);
		e = offsets[b.hold & offset_mask];
		if (!(e & ENTRY_BITS))
			e = long_entry(&p->offset, b.hold, offset_entry);
		if (e & ENTRY_INVALID)
			return NULL;
		take(&b, e & ENTRY_BITS);
		offset = with_extra(&b, e);
		if (offset > (size_t)(to - out))
			return NULL;
		to = copy_match(to, offset, len);
	}
	*bits = b;
	return to;
}

bool
inflate_prefix(struct inflate_prefix *p, struct slice stream,
               unsigned char *out, size_t wanted)
{
	struct bits b = { stream.data, stream.data + stream.len, 0, 0, 0 };
	const unsigned char *stop = out + wanted;
	unsigned char *to = out;
	bool last = false;

	p->lengths.table = p->lengths_table;
	p->lengths.bits_max = 7;
	p->litlen.table = p->litlen_table;
	p->litlen.bits_max = 10;
	p->offset.table = p->offset_table;
	p->offset.bits_max = 8;
	/* zlib's two bytes: deflate, no dictionary. */
	if (stream.len < 2 || (b.at[0] & 0x0f) != 8 || (b.at[1] & 0x20))
		return false;
	b.at += 2;
	while (to < stop) {
		unsigned type;

		if (last)
			return false;
		refill(&b);
		last = take(&b, 1);
		type = take(&b, 2);
		if (type == 3 || (type == 2 && !dynamic_codes(p, &b)) ||
		    (type == 1 && !fixed_codes(p)))
			return false;
		to = type ? coded_block(p, &b, out, to, stop)
		          : stored_block(&b, to, stop);
		if (!to)
			return false;
	}
	/* Bits that were never there have not been used. */
	return b.past * 8 <= b.count;
}
