/* SPDX-License-Identifier: ISC */
/*
 * Integers as bytes: appending, bounded reading, and the checksum.
 *
 * Here stands the rule that bytes from outside are never trusted: a reader
 * that has failed once gives zeros for ever, so that a decoder may run to its
 * end and look at `failed` once.
 */
#include "base/codec.h"

#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#else
#include <zlib.h>
#endif

int
buf_put_u8(struct buf *b, uint8_t v, struct err *err)
{
	return buf_append(b, &v, 1, err);
}

int
buf_put_u32(struct buf *b, uint32_t v, struct err *err)
{
	unsigned char bytes[4];

	put_u32(bytes, v);
	return buf_append(b, bytes, sizeof(bytes), err);
}

int
buf_put_u64(struct buf *b, uint64_t v, struct err *err)
{
	unsigned char bytes[8];

	put_u64(bytes, v);
	return buf_append(b, bytes, sizeof(bytes), err);
}

int
buf_put_varint(struct buf *b, uint64_t v, struct err *err)
{
	unsigned char bytes[VARINT_MAX];
	unsigned char *end = put_varint(bytes, v);

	return buf_append(b, bytes, (size_t)(end - bytes), err);
}

int
buf_put_bytes(struct buf *b, struct slice s, struct err *err)
{
	/* Both or nothing: the length alone must not stay behind. */
	int rc = s.len > SIZE_MAX - VARINT_MAX
	                 ? err_nomem(err, s.len)
	                 : buf_reserve(b, VARINT_MAX + s.len, err);

	if (rc)
		return rc;
	rc = buf_put_varint(b, s.len, err);
	if (!rc)
		rc = buf_append_slice(b, s, err);
	return rc;
}

/* len bytes to decode, or NULL with the reader failed. */
static const unsigned char *
take(struct reader *r, uint64_t len)
{
	const unsigned char *at = r->at;

	if (r->failed || len > (uint64_t)(r->end - r->at)) {
		r->failed = true;
		return NULL;
	}
	r->at += len;
	return at;
}

uint8_t
reader_u8(struct reader *r)
{
	const unsigned char *at = take(r, 1);

	return at ? *at : 0;
}

uint32_t
reader_u32(struct reader *r)
{
	const unsigned char *at = take(r, 4);

	return at ? get_u32(at) : 0;
}

uint64_t
reader_u64(struct reader *r)
{
	const unsigned char *at = take(r, 8);

	return at ? get_u64(at) : 0;
}

uint64_t
reader_long_varint(struct reader *r)
{
	const unsigned char *at = r->at;
	uint64_t v = 0;
	unsigned shift = 0;

	if (r->failed)
		return 0;
	while (at < r->end && shift < 7 * VARINT_MAX) {
		unsigned char c = *at++;

		/* Of the tenth byte, only the lowest bit fits 64 bits. */
		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			/* A last byte of zero adds nothing: not canonical. */
			if (!c && shift)
				break;
			r->at = at;
			return v;
		}
		shift += 7;
	}
	r->failed = true;
	return 0;
}

struct slice
reader_take(struct reader *r, uint64_t len)
{
	const unsigned char *at = take(r, len);

	return slice_make(at, at ? (size_t)len : 0);
}

struct slice
reader_bytes(struct reader *r)
{
	return reader_take(r, reader_varint(r));
}

uint32_t
crc32_add(uint32_t crc, const void *data, size_t len)
{
	/* Both libraries take NULL for "start a new sum". */
	if (!len)
		return crc;
#ifdef HAVE_LIBDEFLATE
	return libdeflate_crc32(crc, data, len);
#else
	return (uint32_t)crc32_z(crc, data, len);
#endif
}

uint32_t
adler32_of(struct slice s)
{
#ifdef HAVE_LIBDEFLATE
	return libdeflate_adler32(1, s.data, s.len);
#else
	return (uint32_t)adler32_z(1, s.data, s.len);
#endif
}
