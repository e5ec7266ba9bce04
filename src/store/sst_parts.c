/* SPDX-License-Identifier: ISC */
/* The values of a packed block in parts; see the header. */
#include "store/sst_parts.h"

#include "base/planted.h"

/* A look-up inflates half of it on average, and the code takes a byte or so. */
#define PART_BYTES 400u /* a multiple of the unit */
#define PART_UNIT 16u
#define HEAD_BITS_MAX 4096u

size_t
sst_parts_cut(const struct entry *entries, size_t count,
              struct deflate_part *parts)
{
	size_t n = 0, text = 0, len = 0;

	for (size_t i = 0; i < count; i++) {
		len += entries[i].value.len;
		text += entries[i].value.len;
		if (text > DEFLATE_PARTS_TEXT)
			return 0;
		if (len < PART_BYTES && (i + 1 < count || !len))
			continue;
		if (n == SST_PARTS_MAX)
			return 0;
		parts[n++].len = (uint32_t)len;
		len = 0;
	}
	return n;
}

int
sst_parts_put(const struct deflate_head *head, const struct deflate_part *parts,
              size_t count, struct buf *out, struct err *err)
{
	uint64_t numbers[SST_PARTS_MAX];
	size_t before = out->len;
	int code;

	for (size_t i = 0; i < count; i++)
		numbers[i] = 2 * (uint64_t)parts[i].bits + parts[i].refers;
	code = buf_put_u8(out, PART_BYTES / PART_UNIT, err);
	if (!code)
		code = buf_put_u8(out, (uint8_t)count, err);
	if (!code)
		code = buf_put_varint(out, 2 * head->bits + head->common, err);
	if (!code)
		code = sst_column_put(numbers, count, out, err);
	if (code)
		out->len = before;
	return code;
}

size_t
sst_parts_open(struct sst_parts *p, struct slice from)
{
	struct reader r = reader_make(from);
	uint64_t head;

	p->bytes = PART_UNIT * (uint64_t)reader_u8(&r);
	p->count = reader_u8(&r);
	head = reader_varint(&r);
	if (r.failed || !p->bytes || !p->count || p->count > SST_PARTS_MAX ||
	    head / 2 > HEAD_BITS_MAX)
		return 0;
	p->head_bits = (uint32_t)(head / 2);
	p->common = head & 1;
	sst_column_take(&p->column, &r, p->count);
	return r.failed ? 0 : (size_t)(r.at - from.data);
}

static uint64_t
bits_of(const struct sst_parts *p, uint32_t i)
{
	return sst_column_number(&p->column, i) / 2;
}

static bool
refers(const struct sst_parts *p, uint32_t i)
{
	return sst_column_number(&p->column, i) & 1;
}

/* ---- codes ---- */

enum { CODE_NOTHING, CODE_BEING_MADE, CODE_READY };

/* Does the stream begin as c says? */
static bool
begins(const struct sst_code *c, struct slice stream, uint32_t head_bits)
{
	size_t whole = head_bits / 8;
	unsigned rest = head_bits % 8;

	return c->head_bits == head_bits &&
	       !memcmp(c->head, stream.data, whole) &&
	       (!rest ||
	        c->head[whole] == (stream.data[whole] & ((1u << rest) - 1)));
}

/* Reads the codes of the stream for all who come later. */
static bool
make(struct sst_code *c, struct inflate_parts *x, struct slice stream,
     uint32_t head_bits)
{
	size_t bytes = (head_bits + 7) / 8;

	if (!inflate_parts_begin(x, &c->codes, stream) ||
	    x->first_bit != head_bits)
		return false;
	memcpy(c->head, stream.data, bytes);
	if (head_bits % 8)
		c->head[bytes - 1] &=
			(unsigned char)((1u << head_bits % 8) - 1);
	c->head_bits = head_bits;
	return true;
}

/* Reads the head of the stream, unless that has been done. */
static bool
begin_stream(const struct sst_parts *p, const struct sst_inflate *tools,
             struct slice stream, struct inflate_parts *x)
{
	uint32_t bits = p->head_bits;
	bool common = p->common && bits / 8 < SST_CODES_HEAD_MAX &&
	              bits / 8 < stream.len;

	for (unsigned i = 0; common && i < SST_CODES_MAX; i++) {
		struct sst_code *c = &tools->common->code[i];
		unsigned state =
			atomic_load_explicit(&c->state, memory_order_acquire);

		if (state == CODE_READY) {
			if (!begins(c, stream, bits) &&
			    !PLANTED("sst_parts.any_code"))
				continue;
			inflate_parts_begin_with(x, &c->codes, stream, bits);
			return true;
		}
		/* What another thread is making may be this one: a second
		   place is for another one. */
		if (state != CODE_NOTHING ||
		    !atomic_compare_exchange_strong(&c->state, &state,
		                                    CODE_BEING_MADE))
			break;
		state = make(c, x, stream, bits) ? CODE_READY : CODE_NOTHING;
		atomic_store_explicit(&c->state, state, memory_order_release);
		return state == CODE_READY;
	}
	return inflate_parts_begin(x, tools->scratch, stream) &&
	       x->first_bit == bits;
}

/* ---- texts ---- */

bool
sst_parts_inflate(const struct sst_parts *p, const struct sst_columns *c,
                  const struct sst_inflate *tools, struct slice stream,
                  unsigned char *text, size_t text_len)
{
	struct inflate_part parts[SST_PARTS_MAX + 1];
	struct inflate_parts x;
	size_t at = 0, begin = 0;
	uint32_t n = 0;
	uint64_t bit = 0;

	for (uint32_t i = 0; i < c->count; i++) {
		uint64_t len = sst_column_number(&c->val_len, i);

		if (len > text_len - at)
			return false;
		at += (size_t)len;
		if (at - begin < p->bytes && (i + 1 < c->count || at == begin))
			continue;
		if (n == p->count)
			return false;
		parts[n] =
			(struct inflate_part){ begin, at, bit, refers(p, n) };
		bit += bits_of(p, n++);
		begin = at;
	}
	if (n != p->count || at != text_len || !n)
		return false;
	parts[n].bit = bit;
	return begin_stream(p, tools, stream, &x) &&
	       inflate_parts_all(&x, parts, n, text);
}

bool
sst_parts_inflate_one(const struct sst_parts *p, const struct sst_part_walk *w,
                      const struct sst_inflate *tools, struct slice stream,
                      unsigned char *text, size_t end)
{
	struct inflate_part first = { 0, w->first, 0, false };
	struct inflate_part part = { w->begin, end, 0, false };
	struct inflate_parts x;

	if (w->i >= p->count || !begin_stream(p, tools, stream, &x))
		return false;
	for (uint32_t i = PLANTED("sst_parts.part_before"); i < w->i; i++)
		part.bit += bits_of(p, i);
	part.refers = refers(p, w->i);
	if (part.refers && (!w->i || !inflate_part_take(&x, &first, 0, text)))
		return false;
	return inflate_part_take(&x, &part, w->first, text);
}
