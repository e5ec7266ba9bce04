/* SPDX-License-Identifier: ISC */
/*
 * Deflating a small text in parts: matches, which code, bits. See the header.
 */
#include "base/deflate_parts.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/huffman.h"
#include "base/planted.h"

#define HASH_BITS 12u
#define HASH_SIZE (1u << HASH_BITS)
#define MATCH_MIN 4u /* of deflate's 3: one of 3 saves hardly a bit */
#define MATCH_MIN_FIRST                                                        \
	8u /* from the first part, which must be inflated for
			      it in any case */
#define MATCH_MAX 258u
#define MATCH_GOOD 32u  /* long enough to look no further */
#define CHAIN_DENSE 16u /* candidates looked at */
#define CHAIN_FAST 2u

#define LITLENS 286u
#define OFFSETS 30u
#define LENGTHS 19u /* of the code of code lengths */
#define END_OF_BLOCK 256u
#define FIRST_LENGTH 257u
#define CODE_BITS 10u        /* of deflate's 15 */
#define LENGTHS_CODE_BITS 7u /* what deflate has */
#define HEAD_MAX                                                               \
	360u                    /* bytes: 316 lengths of at most 7 + 1 bits, and
				room to write eight at a time */
#define LEARN_BYTES (32u << 10) /* of text, for a common code */
#define REFUSED_MAX 16u         /* texts; then the common code is made anew */
/* The common code may take so much more than the entropy of a text; one of its
   own takes half a percent more, and its head. */
#define FITS_SHARE 32u

/* A literal, or a match. */
struct token {
	uint16_t len;    /* of a match; 0: a literal */
	uint16_t offset; /* of a match; or the literal */
};

/* The codes of a block, and how it begins because of them. */
struct block_code {
	struct huffman litlen, offset;
	unsigned char head[HEAD_MAX]; /* of the stream; the last byte may be
					 begun only */
	uint32_t head_bits;
};

/* What has been seen of texts. */
struct statistics {
	uint32_t litlen[LITLENS], offset[OFFSETS]; /* how often */
	uint32_t bytes;                            /* of text */
};

struct deflate_parts {
	bool dense;
	struct block_code own;    /* of the text under way; its frequencies are
				     counted here, whatever code is used */
	struct block_code common; /* head_bits 0: there is none yet */
	struct statistics seen;   /* since common was made or last fitted */
	unsigned refused;         /* texts in a row that common did not fit */
	struct huffman lengths;
	/* What was seen last, by its hash: a sighting (below); 0: nothing. */
	uint32_t head[HASH_SIZE], first[HASH_SIZE]; /* the latter of the first
						       part alone */
	uint16_t before[DEFLATE_PARTS_TEXT]; /* of a place: the one before it
						with its hash, plus 1 */
	struct token tokens[DEFLATE_PARTS_TEXT];
	uint8_t length_symbol[MATCH_MAX + 1];
};

/* Where the code of each length and offset begins (RFC 1951, 3.2.5). */
static const uint16_t length_base[LITLENS - FIRST_LENGTH] = {
	3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23,  27,
	31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
};
static const uint8_t length_extra[LITLENS - FIRST_LENGTH] = {
	0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
	2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
};
static const uint16_t offset_base[OFFSETS] = {
	1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
	33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
	1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
};

struct deflate_parts *
deflate_parts_new(bool dense)
{
	struct deflate_parts *d = (struct deflate_parts *)malloc(sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->dense = dense;
	for (unsigned s = 0; s + 1 < LITLENS - FIRST_LENGTH; s++)
		for (unsigned len = length_base[s];
		     len < length_base[s + 1] && len < MATCH_MAX; len++)
			d->length_symbol[len] = (uint8_t)s;
	d->length_symbol[MATCH_MAX] = LITLENS - FIRST_LENGTH - 1;
	return d;
}

void
deflate_parts_free(struct deflate_parts *d)
{
	free(d);
}

/* ---- symbols ---- */

static inline unsigned
log2_of(unsigned v)
{
	return 31 - (unsigned)__builtin_clz(v);
}

/* Two codes share each power of two from 4 on: their second bit differs. */
static inline unsigned
offset_symbol(unsigned offset)
{
	unsigned v = offset - 1, log;

	if (v < 4)
		return v;
	log = log2_of(v);
	return 2 * log + (v >> (log - 1) & 1);
}

static inline unsigned
offset_extra(unsigned symbol)
{
	return symbol < 4 ? 0 : symbol / 2 - 1;
}

/* ---- matches ---- */

static inline uint32_t
load_u32(const unsigned char *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline uint64_t
load_u64(const unsigned char *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

/*
 * Four bytes are looked up by the upper bits of their hash. A sighting is its
 * place, plus 1, below 16 of the lower bits: that what stands there is
 * something else, as it mostly is, is seen at once, and a processor guesses it
 * right.
 */
static inline uint32_t
hash_of(uint32_t four_bytes)
{
	return four_bytes * 0x9e3779b1u;
}

static inline uint32_t
sighting(uint32_t hash, unsigned place)
{
	return hash << 16 | (place + 1);
}

/* The place, plus 1, of a sighting of the same hash; 0: it is another's. */
static inline unsigned
seen_at(uint32_t seen, uint32_t hash)
{
	return (seen ^ hash << 16) >> 16 ? 0 : seen & 0xffff;
}

/* How far a and b are alike, at most `most`. */
static inline unsigned
alike(const unsigned char *a, const unsigned char *b, unsigned most)
{
	unsigned n = 0;

	for (; n + 8 <= most; n += 8) {
		uint64_t differ = load_u64(a + n) ^ load_u64(b + n);

		if (differ)
			return n + (unsigned)__builtin_ctzll(differ) / 8;
	}
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

/* A part under way. */
struct parser {
	struct deflate_parts *d;
	const unsigned char *text;
	unsigned begin, end; /* of the part, in the text */
	unsigned first_end;  /* of the first part; 0: this is it */
	unsigned chain;      /* candidates looked at */
};

struct match {
	unsigned len; /* 0: none */
	unsigned offset;
};

/* Looks for a match longer than best along a chain whose places are in
   [from, to). */
static inline void
follow(const struct parser *p, unsigned at, unsigned candidate, unsigned from,
       unsigned to, unsigned least, struct match *best)
{
	const unsigned char *text = p->text;
	unsigned left = p->end - at;
	uint32_t begins = load_u32(text + at);

	for (unsigned n = p->chain; candidate > from && n; n--) {
		unsigned place = candidate - 1, most = left, len;

		if (to - place < most)
			most = to - place;
		if (most > MATCH_MAX)
			most = MATCH_MAX;
		if (most <= best->len || most < least)
			goto next;
		if (load_u32(text + place) == begins &&
		    text[place + best->len] == text[at + best->len]) {
			len = alike(text + place, text + at, most);
			if (len > best->len && len >= least) {
				best->len = len;
				best->offset = at - place;
				if (len >= MATCH_GOOD)
					return;
			}
		}
	next:
		candidate = p->d->before[place];
	}
}

/* The best match at a place with four bytes before the end of its part; notes
   the place. */
static inline struct match
find(const struct parser *p, unsigned at)
{
	struct deflate_parts *d = p->d;
	uint32_t hash = hash_of(load_u32(p->text + at));
	unsigned h = hash >> (32 - HASH_BITS);
	unsigned last = seen_at(d->head[h], hash);
	unsigned first = seen_at(d->first[h], hash);
	struct match best = { 0, 0 };

	d->before[at] = (uint16_t)d->head[h];
	d->head[h] = sighting(hash, at);
	/* A match may copy what it makes: it need not end before it begins. */
	if (last)
		follow(p, at, last, p->begin, p->end, MATCH_MIN, &best);
	if (first && best.len < MATCH_GOOD)
		follow(p, at, first, 0, p->first_end, MATCH_MIN_FIRST, &best);
	return best;
}

static inline void
note(const struct parser *p, unsigned at)
{
	struct deflate_parts *d = p->d;
	uint32_t hash = hash_of(load_u32(p->text + at));
	unsigned h = hash >> (32 - HASH_BITS);

	d->before[at] = (uint16_t)d->head[h];
	d->head[h] = sighting(hash, at);
}

static inline struct token *
put_literal(struct deflate_parts *d, struct token *t, unsigned char c)
{
	d->own.litlen.freq[c]++;
	t->len = 0;
	t->offset = c;
	return t + 1;
}

static inline struct token *
put_match(struct deflate_parts *d, struct token *t, struct match m)
{
	d->own.litlen.freq[FIRST_LENGTH + d->length_symbol[m.len]]++;
	d->own.offset.freq[offset_symbol(m.offset)]++;
	t->len = (uint16_t)m.len;
	t->offset = (uint16_t)m.offset;
	return t + 1;
}

/* The tokens of a part, from t on; returns their end. */
static struct token *
parse(const struct parser *p, struct token *t, bool *refers)
{
	struct deflate_parts *d = p->d;
	unsigned at = p->begin;
	/* No match begins so close to the end. */
	unsigned stop = p->end > MATCH_MIN - 1 ? p->end - (MATCH_MIN - 1) : 0;

	while (at < stop) {
		struct match m = find(p, at);
		unsigned noted = 1;

		if (!m.len) {
			t = put_literal(d, t, p->text[at++]);
			continue;
		}
		/* Is there a longer one behind one literal? */
		while (d->dense && m.len < MATCH_GOOD && at + 1 < stop) {
			struct match next = find(p, at + 1);

			if (next.len <= m.len) {
				noted = 2;
				break;
			}
			t = put_literal(d, t, p->text[at++]);
			m = next;
		}
		if (!PLANTED("deflate_parts.hides_reference"))
			*refers |= m.offset > at - p->begin;
		t = put_match(d, t, m);
		for (unsigned i = noted; i < m.len && at + i < stop; i++)
			note(p, at + i);
		at += m.len;
	}
	for (; at < p->end; at++)
		t = put_literal(d, t, p->text[at]);
	return t;
}

/* ---- bits ---- */

struct bits {
	unsigned char *at, *end; /* of the room */
	uint64_t hold;           /* not written yet, the first lowest */
	unsigned count;          /* of hold */
	bool full;               /* the room was not enough */
};

static inline void
put(struct bits *b, uint64_t v, unsigned n)
{
	b->hold |= v << b->count;
	b->count += n;
}

/* Leaves at most seven bits in hold. */
static inline void
flush(struct bits *b)
{
	uint64_t v = htole64(b->hold);
	unsigned bytes = b->count / 8;

	if ((size_t)(b->end - b->at) < sizeof(v)) {
		if (bytes > (size_t)(b->end - b->at)) {
			b->full = true;
			bytes = 0;
			b->count = 0;
			b->hold = 0;
		}
		memcpy(b->at, &v, bytes);
	} else {
		memcpy(b->at, &v, sizeof(v));
	}
	b->at += bytes;
	b->hold = bytes < 8 ? b->hold >> 8 * bytes : 0;
	b->count -= 8 * bytes;
}

static uint64_t
bits_so_far(const struct bits *b, const unsigned char *start)
{
	return 8 * (uint64_t)(b->at - start) + b->count;
}

/* ---- the head of the block ---- */

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

static void
put_lengths(struct deflate_parts *d, const struct block_code *c, struct bits *b)
{
	static const uint8_t order[LENGTHS] = { 16, 17, 18, 0,  8, 7,  9,
		                                6,  10, 5,  11, 4, 12, 3,
		                                13, 2,  14, 1,  15 };
	unsigned litlens = huffman_used(&c->litlen, LITLENS, FIRST_LENGTH);
	unsigned offsets = huffman_used(&c->offset, OFFSETS, 1), sent = LENGTHS;
	uint8_t length[LITLENS + OFFSETS];
	struct run runs[LITLENS + OFFSETS], *end = runs;
	unsigned n = litlens + offsets;

	memcpy(length, c->litlen.bits, litlens);
	memcpy(length + litlens, c->offset.bits, offsets);
	memset(d->lengths.freq, 0, sizeof(d->lengths.freq));
	for (unsigned i = 0, same; i < n; i += same) {
		for (same = 1; i + same < n && length[i + same] == length[i];)
			same++;
		end = put_runs(&d->lengths, end, length[i], same);
	}
	huffman_make(&d->lengths, LENGTHS, LENGTHS_CODE_BITS);
	while (sent > 4 && !d->lengths.bits[order[sent - 1]])
		sent--;

	put(b, 1, 1); /* the last block */
	put(b, 2, 2); /* with codes of its own */
	put(b, litlens - 257, 5);
	put(b, offsets - 1, 5);
	put(b, sent - 4, 4);
	flush(b);
	for (unsigned i = 0; i < sent; i++) {
		put(b, d->lengths.bits[order[i]], 3);
		flush(b);
	}
	for (const struct run *r = runs; r < end; r++) {
		put(b, d->lengths.word[r->symbol], d->lengths.bits[r->symbol]);
		put(b, r->times, run_extra[r->symbol]);
		flush(b);
	}
}

/* Makes codes of the frequencies, and the head that tells them. */
static void
make_block_code(struct deflate_parts *d, struct block_code *c)
{
	struct bits b = { .at = c->head, .end = c->head + sizeof(c->head) };

	huffman_make(&c->litlen, LITLENS, CODE_BITS);
	huffman_make(&c->offset, OFFSETS, CODE_BITS);
	/* Of no code at all some inflaters think that it is damaged. */
	if (!huffman_used(&c->offset, OFFSETS, 0))
		c->offset.bits[0] = 1;
	put(&b, 0x78, 8); /* deflate, a window of 32 KiB */
	put(&b, 0x9c, 8); /* 0x789c is a multiple of 31 */
	put_lengths(d, c, &b);
	c->head_bits = (uint32_t)bits_so_far(&b, c->head);
	put(&b, 0, 7);
	flush(&b);
}

/* ---- the common code ---- */

/* log2 of v, times 256, about. */
static inline uint32_t
log2_times_256(uint32_t v)
{
	unsigned log = log2_of(v);
	uint32_t x = (uint32_t)((uint64_t)v << 8 >> log) - 256; /* 0 to 255 */

	/* log2(1 + x) is x and a hump, of 22 where it is highest. */
	return (log << 8) + x + (x * (256 - x) * 88 >> 16);
}

/*
 * What the symbols of a text would take with a code of their own, by their
 * entropy, and with another one, in bits times 256. False: that one lacks a
 * symbol.
 */
static bool
compare(const struct huffman *own, const struct huffman *other,
        unsigned symbols, uint64_t *entropy, uint64_t *bits)
{
	uint32_t total = 0, log;

	for (unsigned s = 0; s < symbols; s++)
		total += own->freq[s];
	if (!total)
		return true;
	log = log2_times_256(total);
	for (unsigned s = 0; s < symbols; s++) {
		uint32_t f = own->freq[s];

		if (!f)
			continue;
		if (!other->bits[s])
			return false;
		*entropy += (uint64_t)f * (log - log2_times_256(f));
		*bits += (uint64_t)f * other->bits[s] << 8;
	}
	return true;
}

/* Is the common code about as good for the text as one of its own? */
static bool
common_fits(const struct deflate_parts *d)
{
	uint64_t entropy = 0, bits = 0;

	return d->common.head_bits &&
	       compare(&d->own.litlen, &d->common.litlen, LITLENS, &entropy,
	               &bits) &&
	       compare(&d->own.offset, &d->common.offset, OFFSETS, &entropy,
	               &bits) &&
	       bits <= entropy + entropy / FITS_SHARE;
}

static void
add_to(uint32_t *seen, const uint32_t *freq, unsigned symbols)
{
	for (unsigned s = 0; s < symbols; s++)
		seen[s] += freq[s];
}

static void
learn_from(struct deflate_parts *d, size_t text_len)
{
	struct statistics *seen = &d->seen;
	struct block_code *c = &d->common;

	add_to(seen->litlen, d->own.litlen.freq, LITLENS);
	add_to(seen->offset, d->own.offset.freq, OFFSETS);
	seen->bytes += (uint32_t)text_len;
	if (seen->bytes < LEARN_BYTES ||
	    (c->head_bits && d->refused < REFUSED_MAX))
		return;
	memcpy(c->litlen.freq, seen->litlen, sizeof(seen->litlen));
	/* Any offset may come up one day. */
	for (unsigned s = 0; s < OFFSETS; s++)
		c->offset.freq[s] = 16 * seen->offset[s] + 1;
	make_block_code(d, c);
	d->refused = 0;
	/* The next one is for what comes later. */
	memset(seen, 0, sizeof(*seen));
}

/* The code for the text under way. */
static const struct block_code *
choose_code(struct deflate_parts *d, size_t text_len, bool *common)
{
	learn_from(d, text_len);
	*common = common_fits(d);
	if (*common) {
		d->refused = 0;
		/* The next one is for what this one does not fit. */
		memset(&d->seen, 0, sizeof(d->seen));
		return &d->common;
	}
	d->refused++;
	make_block_code(d, &d->own);
	return &d->own;
}

/* ---- the text ---- */

static inline void
put_token(const struct deflate_parts *d, const struct block_code *c,
          struct bits *b, const struct token *t)
{
	unsigned s, o;

	if (!t->len) {
		put(b, c->litlen.word[t->offset], c->litlen.bits[t->offset]);
		return;
	}
	s = d->length_symbol[t->len];
	put(b, c->litlen.word[FIRST_LENGTH + s],
	    c->litlen.bits[FIRST_LENGTH + s]);
	put(b, t->len - length_base[s], length_extra[s]);
	o = offset_symbol(t->offset);
	put(b, c->offset.word[o], c->offset.bits[o]);
	put(b, t->offset - offset_base[o], offset_extra(o));
}

static void
put_tokens(const struct deflate_parts *d, const struct block_code *c,
           struct bits *b, const struct token *t, const struct token *end)
{
	while (t < end) {
		/* A token takes 10 + 5 + 10 + 13 bits at most, a literal 10,
		   and 7 are left over. */
		for (unsigned n = 0; n < 5 && t < end; n++) {
			bool match = t->len > 0;

			if (match)
				flush(b);
			put_token(d, c, b, t++);
			if (match)
				break;
		}
		flush(b);
	}
}

int
deflate_parts_run(struct deflate_parts *d, struct slice text,
                  struct deflate_part *parts, size_t count,
                  struct deflate_head *head, struct buf *out, struct err *err)
{
	struct parser p = { .d = d, .text = text.data };
	struct token *end = d->tokens;
	const struct block_code *c;
	unsigned char *start;
	struct bits b = { .full = false };
	uint16_t last[DEFLATE_PARTS_MAX]; /* token of each part */

	assert(count && count <= DEFLATE_PARTS_MAX &&
	       text.len <= DEFLATE_PARTS_TEXT);
	if (buf_reserve(out, text.len + HEAD_MAX, err))
		return LSMKV_ENOMEM;
	memset(d->own.litlen.freq, 0, sizeof(d->own.litlen.freq));
	memset(d->own.offset.freq, 0, sizeof(d->own.offset.freq));
	memset(d->head, 0, sizeof(d->head));
	memset(d->first, 0, sizeof(d->first));
	p.chain = d->dense ? CHAIN_DENSE : CHAIN_FAST;
	for (size_t i = 0; i < count; i++) {
		p.begin = p.end;
		p.end += parts[i].len;
		parts[i].refers = false;
		end = parse(&p, end, &parts[i].refers);
		last[i] = (uint16_t)(end - d->tokens - 1);
		if (!i && count > 1) {
			p.first_end = p.end;
			memcpy(d->first, d->head, sizeof(d->first));
		}
	}
	assert(p.end == text.len);
	d->own.litlen.freq[END_OF_BLOCK] = 1;
	c = choose_code(d, text.len, &head->common);
	head->bits = c->head_bits;

	start = out->data + out->len;
	memcpy(start, c->head, (c->head_bits + 7) / 8);
	b.at = start + c->head_bits / 8;
	b.count = c->head_bits % 8;
	b.hold = b.count ? *b.at & ((1u << b.count) - 1) : 0;
	/* As soon as it is not smaller it has not been worth it. */
	b.end = start + (text.len ? text.len - 1 : 0);
	if (b.at > b.end)
		return LSMKV_END;
	end = d->tokens;
	for (size_t i = 0; i < count; i++) {
		struct token *next = d->tokens + last[i] + 1;
		uint64_t before = bits_so_far(&b, start);

		put_tokens(d, c, &b, end, next);
		parts[i].bits = (uint32_t)(bits_so_far(&b, start) - before);
		end = next;
	}
	put(&b, c->litlen.word[END_OF_BLOCK], c->litlen.bits[END_OF_BLOCK]);
	put(&b, 0, 7); /* up to a whole byte */
	b.count = b.count / 8 * 8;
	flush(&b);
	put(&b, __builtin_bswap32(adler32_of(text)), 32); /* big-endian */
	flush(&b);
	if (b.full)
		return LSMKV_END;
	out->len += (size_t)(b.at - start);
	return 0;
}
