/* SPDX-License-Identifier: ISC */
/*
 * Deflating a small text in parts: matches, which code, bits. See the header.
 */
#include "base/deflate_parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/deflate_code.h"
#include "base/planted.h"

#define HASH_BITS 12u
#define HASH_SIZE (1u << HASH_BITS)
#define MATCH_MIN 4u /* of deflate's 3: one of 3 saves hardly a bit */
/* From the first part, which must be inflated for it in any case. */
#define MATCH_MIN_FIRST 8u
#define MATCH_GOOD 32u  /* long enough to look no further */
#define CHAIN_DENSE 16u /* candidates looked at */
#define CHAIN_FAST 2u

#define CODE_BITS 10u           /* of deflate's 15 */
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
	/* Of the stream; the last byte may be begun only. */
	unsigned char head[DEFLATE_HEAD_MAX];
	uint32_t head_bits;
};

/* What has been seen of texts. */
struct statistics {
	uint32_t litlen[DEFLATE_LITLENS]; /* how often */
	uint32_t offset[DEFLATE_OFFSETS]; /* the same */
	uint32_t bytes;                   /* of text */
};

struct deflate_parts {
	bool dense;
	struct block_code own;    /* of the text under way; its frequencies are
				     counted here, whatever code is used */
	struct block_code common; /* head_bits 0: there is none yet */
	struct statistics seen;   /* since common was made or last fitted */
	unsigned refused;         /* texts in a row that common did not fit */
	/* What was seen last, by its hash: a sighting (below); 0: nothing. */
	uint32_t head[HASH_SIZE], first[HASH_SIZE]; /* the latter of the first
						       part alone */
	uint16_t before[DEFLATE_PARTS_TEXT]; /* of a place: the one before it
						with its hash, plus 1 */
	struct token tokens[DEFLATE_PARTS_TEXT];
	uint8_t length_symbol[DEFLATE_MATCH_MAX + 1];
};

struct deflate_parts *
deflate_parts_new(bool dense)
{
	struct deflate_parts *d = (struct deflate_parts *)malloc(sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->dense = dense;
	deflate_length_symbols(d->length_symbol);
	return d;
}

void
deflate_parts_free(struct deflate_parts *d)
{
	free(d);
}

/* ---- matches ---- */

/*
 * Four bytes are looked up by the upper bits of their hash. A sighting is its
 * place, plus 1, below 16 of the lower bits: that what stands there is
 * something else, as it mostly is, is seen at once, and a processor guesses it
 * right.
 */
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
	uint32_t begins = deflate_load_u32(text + at);

	for (unsigned n = p->chain; candidate > from && n; n--) {
		unsigned place = candidate - 1, most = left, len;

		if (to - place < most)
			most = to - place;
		if (most > DEFLATE_MATCH_MAX)
			most = DEFLATE_MATCH_MAX;
		if (most <= best->len || most < least)
			goto next;
		if (deflate_load_u32(text + place) == begins &&
		    text[place + best->len] == text[at + best->len]) {
			len = deflate_alike(text + place, text + at, most);
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
	uint32_t hash = deflate_hash(deflate_load_u32(p->text + at));
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
	uint32_t hash = deflate_hash(deflate_load_u32(p->text + at));
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
	d->own.litlen.freq[DEFLATE_FIRST_LENGTH + d->length_symbol[m.len]]++;
	d->own.offset.freq[deflate_offset_symbol(m.offset)]++;
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

/* ---- the head of the block ---- */

/* Makes codes of the frequencies, and the head that tells them. */
static void
make_block_code(struct block_code *c)
{
	struct deflate_bits b = { .at = c->head,
		                  .end = c->head + sizeof(c->head) };

	huffman_make(&c->litlen, DEFLATE_LITLENS, CODE_BITS);
	huffman_make(&c->offset, DEFLATE_OFFSETS, CODE_BITS);
	/* Of no code at all some inflaters think that it is damaged. */
	if (!huffman_used(&c->offset, DEFLATE_OFFSETS, 0))
		c->offset.bits[0] = 1;
	deflate_put(&b, DEFLATE_ZLIB_HEAD, 16);
	deflate_put_codes(&b, &c->litlen, &c->offset, true);
	c->head_bits = (uint32_t)deflate_bits_so_far(&b, c->head);
	deflate_put(&b, 0, 7);
	deflate_flush(&b);
}

/* ---- the common code ---- */

/* log2 of v, times 256, about. */
static inline uint32_t
log2_times_256(uint32_t v)
{
	unsigned log = deflate_log2(v);
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
	       compare(&d->own.litlen, &d->common.litlen, DEFLATE_LITLENS,
	               &entropy, &bits) &&
	       compare(&d->own.offset, &d->common.offset, DEFLATE_OFFSETS,
	               &entropy, &bits) &&
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

	add_to(seen->litlen, d->own.litlen.freq, DEFLATE_LITLENS);
	add_to(seen->offset, d->own.offset.freq, DEFLATE_OFFSETS);
	seen->bytes += (uint32_t)text_len;
	if (seen->bytes < LEARN_BYTES ||
	    (c->head_bits && d->refused < REFUSED_MAX))
		return;
	memcpy(c->litlen.freq, seen->litlen, sizeof(seen->litlen));
	/* Any offset may come up one day. */
	for (unsigned s = 0; s < DEFLATE_OFFSETS; s++)
		c->offset.freq[s] = 16 * seen->offset[s] + 1;
	make_block_code(c);
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
	make_block_code(&d->own);
	return &d->own;
}

/* ---- the text ---- */

static inline void
put_token(const struct deflate_parts *d, const struct block_code *c,
          struct deflate_bits *b, const struct token *t)
{
	unsigned s, o;

	if (!t->len) {
		deflate_put(b, c->litlen.word[t->offset],
		            c->litlen.bits[t->offset]);
		return;
	}
	s = d->length_symbol[t->len];
	deflate_put(b, c->litlen.word[DEFLATE_FIRST_LENGTH + s],
	            c->litlen.bits[DEFLATE_FIRST_LENGTH + s]);
	deflate_put(b, t->len - deflate_length_base[s],
	            deflate_length_extra[s]);
	o = deflate_offset_symbol(t->offset);
	deflate_put(b, c->offset.word[o], c->offset.bits[o]);
	deflate_put(b, t->offset - deflate_offset_base[o],
	            deflate_offset_extra(o));
}

static void
put_tokens(const struct deflate_parts *d, const struct block_code *c,
           struct deflate_bits *b, const struct token *t,
           const struct token *end)
{
	while (t < end) {
		/* A token takes 10 + 5 + 10 + 13 bits at most, a literal 10,
		   and 7 are left over. */
		for (unsigned n = 0; n < 5 && t < end; n++) {
			bool match = t->len > 0;

			if (match)
				deflate_flush(b);
			put_token(d, c, b, t++);
			if (match)
				break;
		}
		deflate_flush(b);
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
	struct deflate_bits b = { .full = false };
	uint16_t last[DEFLATE_PARTS_MAX]; /* token of each part */

	assert(count && count <= DEFLATE_PARTS_MAX &&
	       text.len <= DEFLATE_PARTS_TEXT);
	if (buf_reserve(out, text.len + DEFLATE_HEAD_MAX, err))
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
	d->own.litlen.freq[DEFLATE_END_OF_BLOCK] = 1;
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
		uint64_t before = deflate_bits_so_far(&b, start);

		put_tokens(d, c, &b, end, next);
		parts[i].bits =
			(uint32_t)(deflate_bits_so_far(&b, start) - before);
		end = next;
	}
	deflate_put(&b, c->litlen.word[DEFLATE_END_OF_BLOCK],
	            c->litlen.bits[DEFLATE_END_OF_BLOCK]);
	deflate_put(&b, 0, 7); /* up to a whole byte */
	b.count = b.count / 8 * 8;
	deflate_flush(&b);
	deflate_put(&b, __builtin_bswap32(adler32_of(text)),
	            32); /* big-endian */
	deflate_flush(&b);
	if (b.full)
		return LSMKV_END;
	out->len += (size_t)(b.at - start);
	return 0;
}
