/* SPDX-License-Identifier: ISC */
/*
 * Deflating a long text fast: matches, codes, bits. See the header.
 *
 * A block is read twice: once for its matches, which are noted together with
 * how many literals stand before each, while symbols are counted; and once to
 * write it. How many bits that will take is known before, so that nothing is
 * checked on the way.
 */
#include "base/deflate_long.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/deflate_code.h"
#include "base/planted.h"

#define BLOCK_TEXT 65535u /* what a stored block has at most */
#define WINDOW (32u << 10)
#define HASH_BITS 13u
#define WAYS 2u        /* places that are kept of a hash */
#define MATCH_LEAST 4u /* as many as are looked up */
#define MATCH_GOOD 32u /* so long, and the other place is not looked at */
#define NOTED_MOST 16u /* places of a match that later ones may find */
#define SKIP_SHIFT 6u  /* after 64 places in vain steps are one longer, */
#define SKIP_MOST 32u  /* and so long at most */
#define SAMPLE 4096u   /* bytes that tell how many different ones there are */
#define CODE_BITS 11u  /* of deflate's 15: what inflaters look up at once */
#define LITERALS 5u    /* that 64 bits hold beside 7 */
#define TABLES 4u      /* bytes are counted in so many */
#define STORED_HEAD 5u /* bytes before a stored block, at most */
#define TAIL 4u        /* Adler-32 */
#define WRITE_UNIT 8u  /* bytes that are written at once */

/* A match and the literals before it. */
struct step {
	uint16_t literals;
	uint16_t len; /* 0: the block ends behind the literals */
	uint16_t offset;
};

struct deflate_long {
	/* Where four bytes with a hash stood, latest first: as if all texts
	   followed one another. */
	uint32_t seen[1u << HASH_BITS][WAYS];
	uint32_t base;   /* the text's beginning in that count */
	unsigned misses; /* places since the last match */
	size_t matches;  /* of the text under way */
	struct step steps[BLOCK_TEXT / MATCH_LEAST + 1];
	uint32_t bytes[TABLES][256]; /* literals */
	struct huffman litlen, offset;
	uint32_t extra_bits; /* of all matches */
	/* Codewords as they are written, in the upper bits, above how many
	   bits they take; of lengths, with what follows the codeword. */
	uint32_t literal_word[256], length_word[DEFLATE_MATCH_MAX + 1];
	uint8_t length_symbol[DEFLATE_MATCH_MAX + 1];
};

#define WORD_SHIFT 5u /* bits of the number of bits */

/* A part of the text that becomes a block. */
struct block {
	const unsigned char *text; /* all of it: offsets reach back */
	uint32_t begin, end;
	unsigned least; /* length of a match */
	bool last;
};

struct deflate_long *
deflate_long_new(void)
{
	struct deflate_long *d = (struct deflate_long *)malloc(sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->base = 1; /* what was never seen is before it */
	deflate_length_symbols(d->length_symbol);
	return d;
}

void
deflate_long_free(struct deflate_long *d)
{
	free(d);
}

/* ---- matches ---- */

static inline void
count_literals(struct deflate_long *d, const unsigned char *at, size_t n)
{
	/* The same byte twice would wait for the first to be counted. */
	for (; n >= TABLES; n -= TABLES, at += TABLES)
		for (unsigned i = 0; i < TABLES; i++)
			d->bytes[i][at[i]]++;
	for (; n; n--)
		d->bytes[0][*at++]++;
}

static inline void
count_match(struct deflate_long *d, unsigned len, unsigned offset)
{
	unsigned l = d->length_symbol[len], o = deflate_offset_symbol(offset);

	d->litlen.freq[DEFLATE_FIRST_LENGTH + l]++;
	d->offset.freq[o]++;
	d->extra_bits += deflate_length_extra[l] + deflate_offset_extra(o);
}

static inline void
note(struct deflate_long *d, uint32_t *seen, uint32_t at)
{
	seen[1] = seen[0];
	seen[0] = d->base + at;
}

static inline uint32_t *
seen_like(struct deflate_long *d, uint32_t four_bytes)
{
	return d->seen[deflate_hash(four_bytes) >> (32 - HASH_BITS)];
}

/* The longest match of a place with WRITE_UNIT bytes before the end. */
static inline unsigned
find(const struct deflate_long *d, const struct block *b, const uint32_t *seen,
     uint32_t four_bytes, uint32_t at, uint32_t *offset)
{
	const unsigned char *here = b->text + at;
	uint32_t farthest = at < WINDOW ? at : WINDOW;
	unsigned best = 0;

	for (unsigned i = 0; i < WAYS && best < MATCH_GOOD; i++) {
		uint32_t back = d->base + at - seen[i];
		unsigned most = b->end - at, len;

		/* Of another text, or too far back. */
		if (back > farthest ||
		    deflate_load_u32(here - back) != four_bytes)
			continue;
		if (most > DEFLATE_MATCH_MAX)
			most = DEFLATE_MATCH_MAX;
		len = deflate_alike(here - back, here, most);
		if (len > best && len >= b->least) {
			best = len;
			*offset = back;
		}
	}
	return best;
}

/*
 * The steps of a block; symbols are counted. Returns the end of them.
 */
static struct step *
parse(struct deflate_long *d, const struct block *b)
{
	const unsigned char *text = b->text;
	uint32_t at = b->begin, from = at; /* literals since */
	struct step *s = d->steps;

	while (at + WRITE_UNIT <= b->end) {
		uint32_t four_bytes = deflate_load_u32(text + at), offset = 0;
		uint32_t *seen = seen_like(d, four_bytes);
		unsigned len = find(d, b, seen, four_bytes, at, &offset), noted;

		note(d, seen, at);
		if (!len) {
			unsigned skip = d->misses++ >> SKIP_SHIFT;

			at += 1 + (skip < SKIP_MOST ? skip : SKIP_MOST);
			continue;
		}
		d->misses = 0;
		/* Long steps may have missed its beginning. */
		while (at > from && at > offset && len < DEFLATE_MATCH_MAX &&
		       text[at - 1] == text[at - 1 - offset]) {
			at--;
			len++;
		}
		count_literals(d, text + from, at - from);
		count_match(d, len, offset);
		*s++ = (struct step){ .literals = (uint16_t)(at - from),
			              .len = (uint16_t)len,
			              .offset = (uint16_t)offset };
		noted = len < NOTED_MOST ? len : NOTED_MOST;
		for (unsigned i = 1; i < noted && at + i + WRITE_UNIT <= b->end;
		     i++)
			note(d, seen_like(d, deflate_load_u32(text + at + i)),
			     at + i);
		at += len;
		from = at;
	}
	count_literals(d, text + from, b->end - from);
	*s++ = (struct step){ .literals = (uint16_t)(b->end - from) };
	return s;
}

/*
 * Where few different bytes occur, each is written in few bits, and a match
 * has to be longer to be worth its own.
 */
static unsigned
least_match(const unsigned char *text, size_t len)
{
	bool occurs[256] = { false };
	unsigned different = 0;

	for (size_t i = 0; i < len && i < SAMPLE; i++)
		occurs[text[i]] = true;
	for (unsigned c = 0; c < 256; c++)
		different += occurs[c];
	if (different <= 4)
		return 9;
	if (different <= 16)
		return 7;
	return different <= 48 ? 5 : MATCH_LEAST;
}

/* ---- codes ---- */

/* Makes the codes of what was counted; how many bits the symbols take. */
static uint64_t
make_codes(struct deflate_long *d)
{
	uint64_t bits = d->extra_bits;

	for (unsigned c = 0; c < 256; c++)
		d->litlen.freq[c] = d->bytes[0][c] + d->bytes[1][c] +
		                    d->bytes[2][c] + d->bytes[3][c];
	d->litlen.freq[DEFLATE_END_OF_BLOCK] = 1;
	huffman_make(&d->litlen, DEFLATE_LITLENS, CODE_BITS);
	huffman_make(&d->offset, DEFLATE_OFFSETS, CODE_BITS);
	for (unsigned s = 0; s < DEFLATE_LITLENS; s++)
		bits += (uint64_t)d->litlen.freq[s] * d->litlen.bits[s];
	for (unsigned s = 0; s < DEFLATE_OFFSETS; s++)
		bits += (uint64_t)d->offset.freq[s] * d->offset.bits[s];
	/* Of no code at all some inflaters think that it is damaged. */
	if (!huffman_used(&d->offset, DEFLATE_OFFSETS, 0))
		d->offset.bits[0] = 1;
	return bits;
}

static void
make_words(struct deflate_long *d)
{
	const struct huffman *c = &d->litlen;

	for (unsigned s = 0; s < 256; s++)
		d->literal_word[s] =
			(uint32_t)c->word[s] << WORD_SHIFT | c->bits[s];
	for (unsigned len = MATCH_LEAST; len <= DEFLATE_MATCH_MAX; len++) {
		unsigned l = d->length_symbol[len];
		unsigned s = DEFLATE_FIRST_LENGTH + l, bits = c->bits[s];
		uint32_t v =
			(len - deflate_length_base[l]) << bits | c->word[s];

		d->length_word[len] =
			v << WORD_SHIFT | (bits + deflate_length_extra[l]);
	}
}

/* ---- bits ---- */

/* There is room: how much is written is known. */
static inline void
drain(struct deflate_bits *b)
{
	uint64_t v = htole64(b->hold);

	memcpy(b->at, &v, sizeof(v));
	b->at += b->count / 8;
	b->hold >>= b->count / 8 * 8; /* of at most 63 */
	b->count %= 8;
}

static inline void
put_word(struct deflate_bits *b, uint32_t word)
{
	deflate_put(b, word >> WORD_SHIFT, word & ((1u << WORD_SHIFT) - 1));
}

static inline void
put_literals(const struct deflate_long *d, struct deflate_bits *b,
             const unsigned char *at, size_t n)
{
	const unsigned once = LITERALS + PLANTED("deflate_long.drains_late");

	for (; n >= once; n -= once, at += once) {
		for (unsigned i = 0; i < once; i++)
			put_word(b, d->literal_word[at[i]]);
		drain(b);
	}
	for (; n; n--)
		put_word(b, d->literal_word[*at++]);
	drain(b);
}

static void
put_steps(struct deflate_long *d, const struct block *block,
          const struct step *s, const struct step *end,
          struct deflate_bits *out)
{
	const unsigned char *at = block->text + block->begin;
	struct deflate_bits b = *out;

	for (; s < end; s++) {
		unsigned o;

		put_literals(d, &b, at, s->literals);
		at += s->literals;
		if (!s->len)
			continue;
		o = deflate_offset_symbol(s->offset);
		/* 11 + 5 + 11 + 13 bits at most. */
		put_word(&b, d->length_word[s->len]);
		deflate_put(&b, d->offset.word[o], d->offset.bits[o]);
		deflate_put(&b, s->offset - deflate_offset_base[o],
		            deflate_offset_extra(o));
		drain(&b);
		at += s->len;
	}
	deflate_put(&b, d->litlen.word[DEFLATE_END_OF_BLOCK],
	            d->litlen.bits[DEFLATE_END_OF_BLOCK]);
	drain(&b);
	*out = b;
}

static void
put_stored(const struct block *block, struct deflate_bits *b)
{
	uint32_t len = block->end - block->begin;

	deflate_put(b, block->last, 3); /* of type 0 */
	if (!PLANTED("deflate_long.stores_unaligned"))
		b->count = (b->count + 7) / 8 * 8;
	drain(b);
	deflate_put(b, len | (uint64_t)(len ^ 0xffff) << 16, 32);
	drain(b);
	memcpy(b->at, block->text + block->begin, len);
	b->at += len;
}

static void
put_block(struct deflate_long *d, const struct block *block,
          struct deflate_bits *out)
{
	unsigned char head[DEFLATE_HEAD_MAX];
	struct deflate_bits h = { .at = head, .end = head + sizeof(head) };
	uint32_t len = block->end - block->begin;
	struct step *end;
	uint64_t bits, head_bits;

	memset(d->bytes, 0, sizeof(d->bytes));
	memset(d->litlen.freq, 0, sizeof(d->litlen.freq));
	memset(d->offset.freq, 0, sizeof(d->offset.freq));
	d->extra_bits = 0;
	end = parse(d, block);
	d->matches += (size_t)(end - d->steps) - 1;
	bits = make_codes(d);
	deflate_put_codes(&h, &d->litlen, &d->offset, block->last);
	head_bits = deflate_bits_so_far(&h, head);
	if ((bits + head_bits + 7) / 8 >= len) {
		put_stored(block, out);
		return;
	}
	make_words(d);
	for (const unsigned char *at = head; at < h.at; at++) {
		deflate_put(out, *at, 8);
		drain(out);
	}
	deflate_put(out, h.hold, h.count);
	drain(out);
	put_steps(d, block, d->steps, end, out);
}

/* ---- the text ---- */

/* A new text: nothing that was seen of others is seen in it. */
static void
begin_text(struct deflate_long *d)
{
	if (d->base > UINT32_MAX / 2) {
		memset(d->seen, 0, sizeof(d->seen));
		d->base = 1;
	}
	d->misses = 0;
	if (!PLANTED("deflate_long.sums_matches"))
		d->matches = 0;
}

int
deflate_long_run(struct deflate_long *d, struct slice text, struct buf *out,
                 struct err *err)
{
	size_t blocks = text.len / BLOCK_TEXT + 1, worst;
	struct block block = { .text = text.data };
	struct deflate_bits b = { .full = false };
	unsigned char *start;
	uint32_t adler;
	size_t packed;

	begin_text(d);
	/* Places are counted in 32 bits. */
	if (text.len < 2 || text.len > UINT32_MAX / 4)
		return LSMKV_END;
	worst = text.len + blocks * STORED_HEAD + 2 + TAIL + 2 * WRITE_UNIT;
	if (buf_reserve(out, worst, err))
		return LSMKV_ENOMEM;
	start = b.at = out->data + out->len;
	b.end = start + worst;
	block.least = least_match(text.data, text.len);
	deflate_put(&b, DEFLATE_ZLIB_HEAD, 16);
	drain(&b);
	do {
		block.begin = block.end;
		block.last = text.len - block.begin <= BLOCK_TEXT;
		block.end = block.last ? (uint32_t)text.len
		                       : block.begin + BLOCK_TEXT;
		put_block(d, &block, &b);
	} while (!block.last);
	d->base += (uint32_t)text.len;
	b.count = (b.count + 7) / 8 * 8;
	drain(&b);
	adler = adler32_of(text);
	deflate_put(&b, __builtin_bswap32(adler), 32); /* big-endian */
	drain(&b);
	packed = (size_t)(b.at - start);
	if (packed >= text.len)
		return LSMKV_END;
	out->len += packed;
	return 0;
}

size_t
deflate_long_matches(const struct deflate_long *d)
{
	return d->matches;
}
