/* SPDX-License-Identifier: ISC */
/* Reading the codes of deflate, and making tables of them; see the header. */
#include "base/inflate_code.h"

#define CODE_BITS_MAX 15u
#define LENGTH_SYMBOLS 19u /* of the code of code lengths */
#define LITLEN_SYMBOLS 288u
#define OFFSET_SYMBOLS 32u
#define REPEAT_MAX 6u /* symbols of one length, in one word of the stream */

#define ENTRY(base, extra)                                                     \
	((uint32_t)(base) << INFLATE_ENTRY_BASE_SHIFT |                        \
	 (extra) << INFLATE_ENTRY_EXTRA_SHIFT)

/* A symbol that has a codeword. A code of 288 usually has a hundred of them:
   the others are passed over once, where the lengths are read. */
struct symbol {
	uint16_t number;
	uint16_t bits; /* of its codeword; 1 to 15 */
};

static uint32_t
length_entry(unsigned symbol)
{
	return ENTRY(symbol, 0);
}

static uint32_t
litlen_entry(unsigned symbol)
{
	static const uint32_t length[LITLEN_SYMBOLS - 257] = {
		ENTRY(3, 0),           ENTRY(4, 0),   ENTRY(5, 0),
		ENTRY(6, 0),           ENTRY(7, 0),   ENTRY(8, 0),
		ENTRY(9, 0),           ENTRY(10, 0),  ENTRY(11, 1),
		ENTRY(13, 1),          ENTRY(15, 1),  ENTRY(17, 1),
		ENTRY(19, 2),          ENTRY(23, 2),  ENTRY(27, 2),
		ENTRY(31, 2),          ENTRY(35, 3),  ENTRY(43, 3),
		ENTRY(51, 3),          ENTRY(59, 3),  ENTRY(67, 4),
		ENTRY(83, 4),          ENTRY(99, 4),  ENTRY(115, 4),
		ENTRY(131, 5),         ENTRY(163, 5), ENTRY(195, 5),
		ENTRY(227, 5),         ENTRY(258, 0), INFLATE_ENTRY_INVALID,
		INFLATE_ENTRY_INVALID,
	};

	if (symbol < 256)
		return ENTRY(symbol, 0) | INFLATE_ENTRY_LITERAL;
	return symbol > 256 ? length[symbol - 257] : INFLATE_ENTRY_END;
}

static uint32_t
offset_entry(unsigned symbol)
{
	static const uint32_t offset[OFFSET_SYMBOLS] = {
		ENTRY(1, 0),           ENTRY(2, 0),           ENTRY(3, 0),
		ENTRY(4, 0),           ENTRY(5, 1),           ENTRY(7, 1),
		ENTRY(9, 2),           ENTRY(13, 2),          ENTRY(17, 3),
		ENTRY(25, 3),          ENTRY(33, 4),          ENTRY(49, 4),
		ENTRY(65, 5),          ENTRY(97, 5),          ENTRY(129, 6),
		ENTRY(193, 6),         ENTRY(257, 7),         ENTRY(385, 7),
		ENTRY(513, 8),         ENTRY(769, 8),         ENTRY(1025, 9),
		ENTRY(1537, 9),        ENTRY(2049, 10),       ENTRY(3073, 10),
		ENTRY(4097, 11),       ENTRY(6145, 11),       ENTRY(8193, 12),
		ENTRY(12289, 12),      ENTRY(16385, 13),      ENTRY(24577, 13),
		INFLATE_ENTRY_INVALID, INFLATE_ENTRY_INVALID,
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

static uint32_t
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
	return INFLATE_ENTRY_INVALID;
}

uint32_t
inflate_long_litlen(const struct inflate_codes *p, uint64_t hold)
{
	return long_entry(&p->litlen, hold, litlen_entry);
}

uint32_t
inflate_long_offset(const struct inflate_codes *p, uint64_t hold)
{
	return long_entry(&p->offset, hold, offset_entry);
}

static void
clear(struct inflate_codes *p)
{
	p->lengths.table = p->lengths_table;
	p->lengths.bits_max = 7;
	p->litlen.table = p->litlen_table;
	p->litlen.bits_max = 10;
	p->offset.table = p->offset_table;
	p->offset.bits_max = 8;
	memset(p->lengths.count, 0, sizeof(p->lengths.count));
	memset(p->litlen.count, 0, sizeof(p->litlen.count));
	memset(p->offset.count, 0, sizeof(p->offset.count));
}

bool
inflate_codes_fixed(struct inflate_codes *p)
{
	struct symbol used[LITLEN_SYMBOLS + 1];

	clear(p);
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
lengths_code(struct inflate_codes *p, struct inflate_bits *b, unsigned lengths)
{
	static const uint8_t order[LENGTH_SYMBOLS] = { 16, 17, 18, 0,  8, 7,  9,
		                                       6,  10, 5,  11, 4, 12, 3,
		                                       13, 2,  14, 1,  15 };
	struct symbol used[LENGTH_SYMBOLS + 1];
	uint8_t bits[LENGTH_SYMBOLS] = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < lengths; i++) {
		if (b->count < 3)
			inflate_refill(b);
		bits[order[i]] = (uint8_t)inflate_take(b, 3);
	}
	for (unsigned i = 0; i < LENGTH_SYMBOLS; i++)
		n = use(&p->lengths, used, n, i, bits[i]);
	return make_code(&p->lengths, used, n, length_entry);
}

/* The lengths of their codewords are one row of numbers for both. */
bool
inflate_codes_read(struct inflate_codes *p, struct inflate_bits *bits)
{
	struct symbol used[LITLEN_SYMBOLS + OFFSET_SYMBOLS + REPEAT_MAX];
	struct inflate_bits b = *bits; /* in registers */
	unsigned litlens = 257 + inflate_take(&b, 5),
		 offsets = 1 + inflate_take(&b, 5);
	unsigned last = 0, n = 0, i = 0, of_litlen = 0;
	uint64_t mask;

	clear(p);
	if (!lengths_code(p, &b, 4 + inflate_take(&b, 4)))
		return false;
	mask = ((uint64_t)1 << p->lengths.bits) - 1;
	while (i < litlens + offsets) {
		unsigned symbol, times = 1;
		uint32_t e;

		if (b.count < CODE_BITS_MAX)
			inflate_refill(&b);
		e = p->lengths_table[b.hold & mask];
		if (!(e & INFLATE_ENTRY_BITS))
			return false; /* none is longer than the table's */
		inflate_take(&b, e & INFLATE_ENTRY_BITS);
		symbol = e >> INFLATE_ENTRY_BASE_SHIFT;
		if (symbol > 16) {
			i += symbol == 17 ? 3 + inflate_take(&b, 3)
			                  : 11 + inflate_take(&b, 7);
			last = 0;
			continue;
		}
		if (symbol < 16)
			last = symbol;
		else if (i)
			times = 3 + inflate_take(&b, 2);
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
