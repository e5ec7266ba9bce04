/* SPDX-License-Identifier: ISC */
/*
 * Integers as bytes: little-endian fixed widths, LEB128 varints, and CRC-32.
 *
 * Whatever comes from disk, pipe or network is decoded with a struct reader,
 * which never reads past its end: a read that does not fit sets `failed`,
 * yields zero, and so does every later one. Check `failed` once at the end of
 * a structure, before trusting any part of it.
 */
#ifndef LSMKV_BASE_CODEC_H
#define LSMKV_BASE_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define VARINT_MAX 10 /* bytes of the longest varint */

static inline void
put_u32(unsigned char *to, uint32_t v)
{
	to[0] = (unsigned char)v;
	to[1] = (unsigned char)(v >> 8);
	to[2] = (unsigned char)(v >> 16);
	to[3] = (unsigned char)(v >> 24);
}

static inline void
put_u64(unsigned char *to, uint64_t v)
{
	put_u32(to, (uint32_t)v);
	put_u32(to + 4, (uint32_t)(v >> 32));
}

static inline uint32_t
get_u32(const unsigned char *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 |
	       (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static inline uint64_t
get_u64(const unsigned char *from)
{
	return get_u32(from) | (uint64_t)get_u32(from + 4) << 32;
}

/* Writes v (at most VARINT_MAX bytes); returns the byte behind it. */
static inline unsigned char *
put_varint(unsigned char *to, uint64_t v)
{
	while (v >= 0x80) {
		*to++ = (unsigned char)(v | 0x80);
		v >>= 7;
	}
	*to++ = (unsigned char)v;
	return to;
}

static inline size_t
varint_size(uint64_t v)
{
	size_t n = 1;

	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

/* Appending to a buf; LSMKV_ENOMEM leaves it unchanged. */
int buf_put_u8(struct buf *b, uint8_t v, struct err *err);
int buf_put_u32(struct buf *b, uint32_t v, struct err *err);
int buf_put_u64(struct buf *b, uint64_t v, struct err *err);
int buf_put_varint(struct buf *b, uint64_t v, struct err *err);
/* A varint of the length, then the bytes. */
int buf_put_bytes(struct buf *b, struct slice s, struct err *err);

struct reader {
	const unsigned char *at;  /* the next byte */
	const unsigned char *end; /* behind the last byte */
	bool failed;              /* something did not fit or was not valid */
};

static inline struct reader
reader_make(struct slice s)
{
	struct reader r = { s.data, s.len ? s.data + s.len : s.data, false };
	return r;
}

static inline size_t
reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

uint8_t reader_u8(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* Fails on more than VARINT_MAX bytes, on overflow, on needless zeros. */
uint64_t reader_long_varint(struct reader *r);
static inline uint64_t
reader_varint(struct reader *r)
{
	/* Most have one byte. */
	if (r->at < r->end && *r->at < 0x80 && !r->failed)
		return *r->at++;
	return reader_long_varint(r);
}

/* len bytes, borrowed from what the reader reads. */
struct slice reader_take(struct reader *r, uint64_t len);
/* A varint of the length, then as many bytes, borrowed. */
struct slice reader_bytes(struct reader *r);

/*
 * CRC-32 (IEEE 802.3, as zlib computes it) of data, going on from `crc`,
 * which is 0 for a new sum.
 */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);
/* The Adler-32 of s (RFC 1950); s is not empty. */
uint32_t adler32_of(struct slice s);

#endif
