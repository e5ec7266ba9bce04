/* SPDX-License-Identifier: ISC */
/*
 * Eight symbols of w bits fill w bytes: unpacking goes by groups of eight,
 * each one load and no shift over the edge of a byte.
 */
#include "store/sst_pack.h"

#include <endian.h>

#include "base/codec.h"

#define GROUP 8u
#define RUNS_MAX 128u /* with a gap between any two */

static unsigned
width_of(unsigned symbols)
{
	return symbols < 2 ? 0 : 32u - (unsigned)__builtin_clz(symbols - 1);
}

static size_t
packed_bytes(size_t count, unsigned width)
{
	return count / GROUP * width + (count % GROUP * width + 7) / 8;
}

/* ---- packing ---- */

/* Writes the runs of bytes in the alphabet; returns what is behind them. */
static unsigned char *
put_alphabet(unsigned char *to, const bool *occurs, unsigned char *place,
             unsigned *symbols)
{
	unsigned char *runs = to++;

	*runs = 0;
	*symbols = 0;
	for (unsigned b = 0; b < 256; b++) {
		if (!occurs[b])
			continue;
		if (!b || !occurs[b - 1]) {
			++*runs;
			*to++ = (unsigned char)b;
		}
		if (b == 255 || !occurs[b + 1])
			*to++ = (unsigned char)b;
		place[b] = (unsigned char)(*symbols)++;
	}
	return to;
}

int
sst_pack(struct slice bytes, struct buf *out, struct err *err)
{
	bool occurs[256] = { false };
	unsigned char place[256];
	unsigned symbols, width;
	unsigned char *to;

	if (buf_reserve(out, 1 + 2 * RUNS_MAX + VARINT_MAX + bytes.len + GROUP,
	                err))
		return LSMKV_ENOMEM;
	for (size_t i = 0; i < bytes.len; i++)
		occurs[bytes.data[i]] = true;
	to = put_alphabet(out->data + out->len, occurs, place, &symbols);
	to = put_varint(to, bytes.len);
	width = width_of(symbols);
	for (size_t i = 0; i < bytes.len; i += GROUP) {
		uint64_t group = 0;

		for (unsigned n = 0; n < GROUP && i + n < bytes.len; n++)
			group |= (uint64_t)place[bytes.data[i + n]]
			         << n * width;
		put_u64(to + i / GROUP * width, group);
	}
	to += packed_bytes(bytes.len, width);
	out->len = (size_t)(to - out->data);
	return 0;
}

/* ---- unpacking ---- */

/* Reads the runs of the alphabet; false if they are no writer's. */
static bool
take_alphabet(struct reader *r, struct sst_packed *p)
{
	unsigned runs = reader_u8(r), behind = 0; /* the last run and a gap */

	p->symbols = 0;
	memset(p->symbol, 0, sizeof(p->symbol));
	for (unsigned i = 0; i < runs; i++) {
		unsigned b = reader_u8(r), last = reader_u8(r);

		if (r->failed || b < behind || last < b)
			return false;
		behind = last + 2;
		while (b <= last)
			p->symbol[p->symbols++] = (unsigned char)b++;
	}
	return p->symbols > 0;
}

size_t
sst_packed_open(struct sst_packed *p, struct slice from, size_t count_max)
{
	struct reader r = reader_make(from);
	uint64_t count;
	size_t bytes;

	if (!take_alphabet(&r, p))
		return 0;
	count = reader_varint(&r);
	if (r.failed || !count || count > count_max)
		return 0;
	p->count = (size_t)count;
	p->width = width_of(p->symbols);
	p->bits = r.at;
	bytes = packed_bytes(p->count, p->width);
	if (bytes > reader_left(&r))
		return 0;
	return (size_t)(r.at - from.data) + bytes;
}

bool
sst_unpack(const struct sst_packed *p, unsigned char *to)
{
	const unsigned width = p->width, mask = (1u << width) - 1;
	unsigned char most = 0;

	for (size_t i = 0; i < p->count; i += GROUP) {
		uint64_t group;

		memcpy(&group, p->bits + i / GROUP * width, sizeof(group));
		group = le64toh(group);
		for (unsigned n = 0; n < GROUP; n++, group >>= width) {
			unsigned char place = (unsigned char)(group & mask);

			to[i + n] = p->symbol[place];
			if (i + n < p->count && place > most)
				most = place;
		}
	}
	return most < p->symbols;
}
