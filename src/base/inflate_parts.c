/* SPDX-License-Identifier: ISC */
/*
 * Inflating parts; see the header.
 *
 * A part under way is a lane. Lanes take turns, of a few literals or a match
 * each; nothing in one depends on another, so that what the processor does of
 * them overlaps. Nobody writes outside of his part: the next one may be there
 * already.
 */
#include "base/inflate_parts.h"

#include "base/planted.h"

#define LANES 4u
#define MATCHES_SHARE 3u /* bytes of text to one of the stream */

enum lane_state { LANE_GOES_ON, LANE_ENDED, LANE_DAMAGED };

struct lane {
	struct inflate_bits bits;
	unsigned char *begin, *to, *stop; /* of the text */
	const unsigned char *first_end;   /* of the first part, as far as it may
	                                     be copied from */
	uint64_t end_bit;                 /* where it has to end; 0: anywhere */
};

/* The place in the stream, in bits, that is read next. */
static uint64_t
place_of(const struct inflate_bits *b, struct slice stream)
{
	return 8 * ((uint64_t)(b->at - stream.data) + b->past) - b->count;
}

/* From a bit of the stream on; false if that is behind its end. */
static bool
go_to(struct inflate_bits *b, struct slice stream, uint64_t bit)
{
	if (bit / 8 >= stream.len)
		return false;
	*b = (struct inflate_bits){ stream.data + bit / 8,
		                    stream.data + stream.len, 0, 0, 0 };
	inflate_refill(b);
	inflate_take(b, (unsigned)(bit % 8));
	return true;
}

bool
inflate_parts_begin(struct inflate_parts *x, struct inflate_codes *codes,
                    struct slice stream)
{
	struct inflate_bits b;

	/* zlib's two bytes, then one block, with codes of its own. */
	if (stream.len < 3 || (stream.data[0] & 0x0f) != 8 ||
	    (stream.data[1] & 0x20) || !go_to(&b, stream, 16) ||
	    inflate_take(&b, 3) != 5 || !inflate_codes_read(codes, &b))
		return false;
	x->codes = codes;
	x->stream = stream;
	x->first_bit = place_of(&b, stream);
	return true;
}

void
inflate_parts_begin_with(struct inflate_parts *x,
                         const struct inflate_codes *codes, struct slice stream,
                         uint32_t head_bits)
{
	x->codes = codes;
	x->stream = stream;
	x->first_bit = head_bits;
}

/* Copies len bytes from offset before `to`; what is behind them, up to stop,
   may be written, too. */
static inline void
copy(unsigned char *to, size_t offset, size_t len, const unsigned char *stop)
{
	const unsigned char *from = to - offset;
	unsigned char *end = to + len;

	if (offset >= 8 && stop - end >= 8) {
		do {
			memcpy(to, from, 8);
			to += 8;
			from += 8;
		} while (to < end);
		return;
	}
	if (offset >= 8 && len >= 8) {
		for (; end - to >= 8; to += 8, from += 8)
			memcpy(to, from, 8);
		/* What this one reads ends before what it writes. */
		memcpy(end - 8, end - 8 - offset, 8);
		return;
	}
	while (to < end)
		*to++ = *from++;
}

/* A turn of a lane; or, to its end, all that are left. */
static inline __attribute__((always_inline)) enum lane_state
turn(const struct inflate_codes *codes, struct lane *l,
     const unsigned char *text, bool to_end)
{
	const uint32_t *litlens = codes->litlen_table;
	const uint64_t litlen_mask = ((uint64_t)1 << codes->litlen.bits) - 1;
	const uint64_t offset_mask = ((uint64_t)1 << codes->offset.bits) - 1;
	struct inflate_bits b = l->bits; /* in registers */
	unsigned char *to = l->to, *stop = l->stop;

	do {
		size_t left = (size_t)(stop - to), len, offset;
		unsigned n = left < INFLATE_LITERALS ? (unsigned)left
		                                     : INFLATE_LITERALS;
		uint32_t e;

		inflate_refill(&b);
		for (;; n--) {
			e = litlens[b.hold & litlen_mask];
			if (!n || !(e & INFLATE_ENTRY_LITERAL))
				break;
			inflate_take(&b, e & INFLATE_ENTRY_BITS);
			*to++ = (unsigned char)(e >> INFLATE_ENTRY_BASE_SHIFT);
		}
		if (!n)
			continue;
		inflate_refill(&b);
		if (!(e & INFLATE_ENTRY_BITS))
			e = inflate_long_litlen(codes, b.hold);
		if (e & (INFLATE_ENTRY_INVALID | INFLATE_ENTRY_END))
			return LANE_DAMAGED;
		inflate_take(&b, e & INFLATE_ENTRY_BITS);
		if (e & INFLATE_ENTRY_LITERAL) {
			*to++ = (unsigned char)(e >> INFLATE_ENTRY_BASE_SHIFT);
			continue;
		}
		len = inflate_with_extra(&b, e);
		e = codes->offset_table[b.hold & offset_mask];
		if (!(e & INFLATE_ENTRY_BITS))
			e = inflate_long_offset(codes, b.hold);
		if (e & INFLATE_ENTRY_INVALID)
			return LANE_DAMAGED;
		inflate_take(&b, e & INFLATE_ENTRY_BITS);
		offset = inflate_with_extra(&b, e);
		/* From its own part, or all of it from the first. */
		if (offset > (size_t)(to - l->begin) &&
		    !(PLANTED("inflate_parts.copies_from_others") &&
		      offset <= (size_t)(to - text)) &&
		    (offset > (size_t)(to - text) ||
		     len > (size_t)(l->first_end - text) ||
		     to - offset > l->first_end - len))
			return LANE_DAMAGED;
		if (len > (size_t)(stop - to)) {
			/* Only of a beginning it does not matter. */
			if (l->end_bit)
				return LANE_DAMAGED;
			len = (size_t)(stop - to);
		}
		copy(to, offset, len, stop);
		to += len;
	} while (to_end && to < stop);
	l->bits = b;
	l->to = to;
	return to == stop ? LANE_ENDED : LANE_GOES_ON;
}

/*
 * Literals of n lanes in step, as long as all have some: the loads of one are
 * under way while those of the others are. n is a constant to the compiler.
 */
static inline __attribute__((always_inline)) void
literals(const struct inflate_codes *codes, struct lane *lanes, unsigned n)
{
	const uint32_t *table = codes->litlen_table;
	const uint64_t mask = ((uint64_t)1 << codes->litlen.bits) - 1;
	struct inflate_bits b[LANES]; /* in registers, as far as there are */
	unsigned char *to[LANES];
	uint32_t e[LANES], all = INFLATE_ENTRY_LITERAL;
	size_t left = SIZE_MAX;

#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++) {
		size_t mine = (size_t)(lanes[i].stop - lanes[i].to);

		left = mine < left ? mine : left;
		b[i] = lanes[i].bits;
		to[i] = lanes[i].to;
	}
	for (; all && left >= INFLATE_LITERALS; left -= INFLATE_LITERALS) {
#pragma GCC unroll 4
		for (unsigned i = 0; i < n; i++)
			inflate_refill(&b[i]);
#pragma GCC unroll 5
		for (unsigned k = 0; k < INFLATE_LITERALS; k++) {
#pragma GCC unroll 4
			for (unsigned i = 0; i < n; i++) {
				e[i] = table[b[i].hold & mask];
				all &= e[i];
			}
			if (!all)
				break;
#pragma GCC unroll 4
			for (unsigned i = 0; i < n; i++) {
				inflate_take(&b[i], e[i] & INFLATE_ENTRY_BITS);
				*to[i]++ =
					(unsigned char)(e[i] >>
				                        INFLATE_ENTRY_BASE_SHIFT);
			}
		}
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i++) {
		lanes[i].bits = b[i];
		lanes[i].to = to[i];
	}
}

/* Did it end where it should, within the stream? */
static bool
ends_well(const struct inflate_parts *x, const struct lane *l)
{
	return l->bits.past * 8 <= l->bits.count &&
	       (!l->end_bit || place_of(&l->bits, x->stream) == l->end_bit ||
	        PLANTED("inflate_parts.ends_anywhere"));
}

static bool
enter(const struct inflate_parts *x, const struct inflate_part *part,
      size_t first_len, unsigned char *text, struct lane *l)
{
	l->begin = l->to = text + part->begin;
	l->stop = text + part->end;
	l->first_end = text + (part->refers ? first_len : 0);
	l->end_bit = 0;
	return go_to(&l->bits, x->stream, x->first_bit + part->bit);
}

/* One part alone. */
static bool
take(const struct inflate_parts *x, const struct inflate_part *part,
     size_t first_len, uint64_t end_bit, unsigned char *text)
{
	struct lane l;

	if (part->begin >= part->end || !enter(x, part, first_len, text, &l))
		return false;
	l.end_bit = end_bit;
	return turn(x->codes, &l, text, true) == LANE_ENDED && ends_well(x, &l);
}

bool
inflate_part_take(const struct inflate_parts *x,
                  const struct inflate_part *part, size_t first_len,
                  unsigned char *text)
{
	return take(x, part, first_len, 0, text);
}

/* Where the part behind p begins; parts[count] says so of the last one. */
static uint64_t
next_bit(const struct inflate_parts *x, const struct inflate_part *p)
{
	return x->first_bit + p[1].bit;
}

/* Parts that do not depend on each other, side by side. */
static bool
take_together(const struct inflate_parts *x, const struct inflate_part *parts,
              size_t count, size_t first_len, unsigned char *text)
{
	struct lane lanes[LANES];
	unsigned n = 0;

	for (size_t next = 0; n || next < count;) {
		if (n < LANES && next < count) {
			const struct inflate_part *p = &parts[next++];

			if (p->begin >= p->end ||
			    !enter(x, p, first_len, text, &lanes[n]))
				return false;
			lanes[n++].end_bit = next_bit(x, p);
			continue;
		}
		if (n == 4)
			literals(x->codes, lanes, 4);
		else if (n == 3)
			literals(x->codes, lanes, 3);
		else if (n == 2)
			literals(x->codes, lanes, 2);
		for (unsigned i = 0; i < n; i++) {
			enum lane_state state;

			state = turn(x->codes, &lanes[i], text, false);
			if (state == LANE_GOES_ON)
				continue;
			if (state == LANE_DAMAGED || !ends_well(x, &lanes[i]))
				return false;
			lanes[i--] = lanes[--n];
		}
	}
	return true;
}

bool
inflate_parts_all(const struct inflate_parts *x,
                  const struct inflate_part *parts, size_t count,
                  unsigned char *text)
{
	size_t text_len = parts[count - 1].end, first_len = parts[0].end;
	bool refers = false, matches;
	struct inflate_bits b;
	uint32_t e;

	for (size_t i = 0; i < count; i++)
		refers |= parts[i].refers;
	/* Turns are long where literals are many, and not worth it else. */
	matches = text_len / x->stream.len >= MATCHES_SHARE;
	if (refers || matches) {
		if (!take(x, parts, 0, next_bit(x, parts), text))
			return false;
		parts++;
		count--;
	}
	if (!matches && !take_together(x, parts, count, first_len, text))
		return false;
	for (; matches && count; parts++, count--)
		if (!take(x, parts, first_len, next_bit(x, parts), text))
			return false;
	if (!matches)
		parts += count;
	/* The block ends there. */
	if (!go_to(&b, x->stream, x->first_bit + parts->bit))
		return false;
	e = x->codes->litlen_table[b.hold &
	                           (((uint64_t)1 << x->codes->litlen.bits) -
	                            1)];
	if (!(e & INFLATE_ENTRY_BITS))
		e = inflate_long_litlen(x->codes, b.hold);
	return e & INFLATE_ENTRY_END;
}
