/* SPDX-License-Identifier: ISC */
/*
 * Inflating as little as will do.
 *
 * The bits of the stream stand in a word, the next one lowest. A word is
 * filled to at least 56 bits: enough for five literals out of a table, or for a
 * match, whose length and offset take 20 and 28 at most. It holds all 64 that
 * the stream has, whatever of them counts as filled: what follows five literals
 * is looked up in the last 14. Behind the end of the stream come zeros; they
 * are counted, and in the end must not have been used.
 */
#include "base/inflate_prefix.h"

#include <endian.h>

#define CODE_BITS_MAX 15u
#define LENGTH_SYMBOLS 19u /* of the code of code lengths */
#define LITLEN_SYMBOLS 288u
#define OFFSET_SYMBOLS 32u
#define REPEAT_MAX 6u /* symbols of one length, in one word of the stream */
#define LITERALS 5u   /* of the table, from one filled word */

/*
 * What a codeword stands for: its bits (0 in a table: it is longer than that),
 * what it is, the extra bits behind it, and a base in the upper half. The bits
 * stand where a shift by the whole entry takes them from.
 */
#define ENTRY_BITS 0x3fu
#define ENTRY_LITERAL 0x40u
#define ENTRY_END 0x80u
#define ENTRY_INVALID 0x100u
#define ENTRY_EXTRA_SHIFT 12u
#define ENTRY_EXTRA 0x0fu
#define ENTRY_BASE_SHIFT 16u

#define ENTRY(base, extra)                                                     \
	((uint32_t)(base) << ENTRY_BASE_SHIFT | (extra) << ENTRY_EXTRA_SHIFT)

/* A symbol that has a codeword. A code of 288 usually has a hundred of them:
   the others are passed over once, where the lengths are read. */
struct symbol {
	uint16_t number;
	uint16_t bits; /* of its codeword; 1 to 15 */
};

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
	/* A table may be asked behind the bits that count, as above. */
	if (b->count < 64 && b->at < b->end)
		b->hold |= (uint64_t)*b->at << b->count;
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

/* Notes the next symbol of a code as used[n], if it has a codeword. Returns
   how many are used then. */
static inline unsigned
use(struct inflate_code *c, struct symbol *used, unsigned n, unsigned number,
    unsigned bits)
{
	used[n].number = (uint16_t)number;
	used[n].bits = (uint16_t)bits;
	c->count[bits]++;
	return n + (bits > 0);
}

/* Makes the code of the n symbols that are used. */
static inline bool
make_code(struct inflate_code *c, const struct symbol *used, unsigned n,
          uint32_t (*entry_of)(unsigned))
{
	unsigned place[CODE_BITS_MAX + 2], word = 0, longest = 0;
	const uint16_t *symbol = c->sorted;
	int left = 1; /* codewords of this length that none begins yet */

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
		c->sorted[place[used[i].bits]++] = used[i].number;

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
	       take(b, e >> ENTRY_EXTRA_SHIFT & ENTRY_EXTRA);
}

/* ---- blocks ---- */

static bool
fixed_codes(struct inflate_prefix *p)
{
	struct symbol used[LITLEN_SYMBOLS + 1];

	for (unsigned i = 0; i < LITLEN_SYMBOLS; i++)
		use(&p->litlen, used, i, i,
		    i < 144 || i >= 280 ? 8
		    : i < 256           ? 9
		                        : 7);
	make_code(&p->litlen, used, LITLEN_SYMBOLS, litlen_entry);
	for (unsigned i = 0; i < OFFSET_SYMBOLS; i++)
		use(&p->offset, used, i, i, 5);
	return make_code(&p->offset, used, OFFSET_SYMBOLS, offset_entry);
}

/* Reads the code of the lengths that follow. */
static bool
lengths_code(struct inflate_prefix *p, struct bits *b, unsigned lengths)
{
	static const uint8_t order[LENGTH_SYMBOLS] = { 16, 17, 18, 0,  8, 7,  9,
		                                       6,  10, 5,  11, 4, 12, 3,
		                                       13, 2,  14, 1,  15 };
	struct symbol used[LENGTH_SYMBOLS + 1];
	uint8_t bits[LENGTH_SYMBOLS] = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < lengths; i++) {
		if (b->count < 3)
			refill(b);
		bits[order[i]] = (uint8_t)take(b, 3);
	}
	for (unsigned i = 0; i < LENGTH_SYMBOLS; i++)
		n = use(&p->lengths, used, n, i, bits[i]);
	return make_code(&p->lengths, used, n, length_entry);
}

/* Reads the codes that a block begins with: the lengths of their codewords,
   one row of numbers for both. */
static bool
dynamic_codes(struct inflate_prefix *p, struct bits *bits)
{
	struct symbol used[LITLEN_SYMBOLS + OFFSET_SYMBOLS + REPEAT_MAX];
	struct bits b = *bits; /* in registers */
	unsigned litlens = 257 + take(&b, 5), offsets = 1 + take(&b, 5);
	unsigned last = 0, n = 0, i = 0, of_litlen = 0;
	uint64_t mask;

	if (!lengths_code(p, &b, 4 + take(&b, 4)))
		return false;
	mask = ((uint64_t)1 << p->lengths.bits) - 1;
	while (i < litlens + offsets) {
		unsigned symbol, times = 1;
		uint32_t e;

		if (b.count < CODE_BITS_MAX)
			refill(&b);
		e = p->lengths_table[b.hold & mask];
		if (!(e & ENTRY_BITS))
			return false; /* none is longer than the table's */
		take(&b, e & ENTRY_BITS);
		symbol = e >> ENTRY_BASE_SHIFT;
		if (symbol > 16) {
			i += symbol == 17 ? 3 + take(&b, 3) : 11 + take(&b, 7);
			last = 0;
			continue;
		}
		if (symbol < 16)
			last = symbol;
		else if (i)
			times = 3 + take(&b, 2);
		else
			return false;
		for (; times; times--, i++) {
			if (i < litlens)
				n = of_litlen =
					use(&p->litlen, used, n, i, last);
			else
				n = use(&p->offset, used, n, i - litlens, last);
		}
	}
	*bits = b;
	return i == litlens + offsets &&
	       make_code(&p->litlen, used, of_litlen, litlen_entry) &&
	       make_code(&p->offset, used + of_litlen, n - of_litlen,
	                 offset_entry);
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
		memset(p->lengths.count, 0, sizeof(p->lengths.count));
		memset(p->litlen.count, 0, sizeof(p->litlen.count));
		memset(p->offset.count, 0, sizeof(p->offset.count));
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
