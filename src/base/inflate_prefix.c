/* SPDX-License-Identifier: ISC */
/* Inflating as little as will do; see the header, and inflate_code.h. */
#include "base/inflate_prefix.h"

/* ---- blocks ---- */

/* Each of these goes on at `to`, and returns where it ended: at stop or
   behind it, or at the end of its block; NULL if the stream is damaged. */

static unsigned char *
stored_block(struct inflate_bits *b, unsigned char *to,
             const unsigned char *stop)
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
coded_block(const struct inflate_codes *p, struct inflate_bits *bits,
            const unsigned char *out, unsigned char *to,
            const unsigned char *stop)
{
	/* In registers, whatever is written to `to`. */
	const uint32_t *litlens = p->litlen_table, *offsets = p->offset_table;
	const uint64_t litlen_mask = ((uint64_t)1 << p->litlen.bits) - 1;
	const uint64_t offset_mask = ((uint64_t)1 << p->offset.bits) - 1;
	struct inflate_bits b = *bits;

	while (to < stop) {
		size_t len, offset;
		uint32_t e;

		inflate_refill(&b);
		e = litlens[b.hold & litlen_mask];
		for (unsigned n = 0;
		     e & INFLATE_ENTRY_LITERAL && n < INFLATE_LITERALS; n++) {
			inflate_take(&b, e & INFLATE_ENTRY_BITS);
			*to++ = (unsigned char)(e >> INFLATE_ENTRY_BASE_SHIFT);
			e = litlens[b.hold & litlen_mask];
		}
		if (e & INFLATE_ENTRY_LITERAL)
			continue;
		inflate_refill(&b);
		if (!(e & INFLATE_ENTRY_BITS))
			e = inflate_long_litlen(p, b.hold);
		if (e & INFLATE_ENTRY_INVALID)
			return NULL;
		inflate_take(&b, e & INFLATE_ENTRY_BITS);
		if (e & INFLATE_ENTRY_LITERAL) {
			*to++ = (unsigned char)(e >> INFLATE_ENTRY_BASE_SHIFT);
			continue;
		}
		if (e & INFLATE_ENTRY_END)
			break;
		len = inflate_with_extra(&b, e);
		e = offsets[b.hold & offset_mask];
		if (!(e & INFLATE_ENTRY_BITS))
			e = inflate_long_offset(p, b.hold);
		if (e & INFLATE_ENTRY_INVALID)
			return NULL;
		inflate_take(&b, e & INFLATE_ENTRY_BITS);
		offset = inflate_with_extra(&b, e);
		if (offset > (size_t)(to - out))
			return NULL;
		to = copy_match(to, offset, len);
	}
	*bits = b;
	return to;
}

bool
inflate_prefix(struct inflate_codes *p, struct slice stream, unsigned char *out,
               size_t wanted)
{
	struct inflate_bits b = { stream.data, stream.data + stream.len, 0, 0,
		                  0 };
	const unsigned char *stop = out + wanted;
	unsigned char *to = out;
	bool last = false;

	/* zlib's two bytes: deflate, no dictionary. */
	if (stream.len < 2 || (b.at[0] & 0x0f) != 8 || (b.at[1] & 0x20))
		return false;
	b.at += 2;
	while (to < stop) {
		unsigned type;

		if (last)
			return false;
		inflate_refill(&b);
		last = inflate_take(&b, 1);
		type = inflate_take(&b, 2);
		if (type == 3 || (type == 2 && !inflate_codes_read(p, &b)) ||
		    (type == 1 && !inflate_codes_fixed(p)))
			return false;
		to = type ? coded_block(p, &b, out, to, stop)
		          : stored_block(&b, to, stop);
		if (!to)
			return false;
	}
	/* Bits that were never there have not been used. */
	return b.past * 8 <= b.count;
}
