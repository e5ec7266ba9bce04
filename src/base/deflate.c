/* SPDX-License-Identifier: ISC */
/*
 * Compression of one block at a time in zlib's format, by libdeflate or zlib.
 *
 * Each library has its own half of this file; the exported functions at the
 * end of a half mean the same in both. What an inflater accepts is exact: one
 * stream, nothing behind it, the promised number of bytes, a right Adler-32.
 */
#include "base/deflate.h"

#include <stdlib.h>

static int
damaged(struct slice packed, size_t raw_len, struct err *err)
{
	return err_set(err, LSMKV_ECORRUPT,
	               "%zu compressed bytes are not a whole zlib stream of "
	               "%zu bytes",
	               packed.len, raw_len);
}

#ifdef HAVE_LIBDEFLATE

#include <libdeflate.h>

struct deflater {
	struct libdeflate_compressor *library; /* owned */
};

struct inflater {
	struct libdeflate_decompressor *library; /* owned */
};

struct deflater *
deflater_new(int level)
{
	struct deflater *d = calloc(1, sizeof(*d));

	if (d)
		d->library = libdeflate_alloc_compressor(level);
	if (d && !d->library) {
		free(d);
		d = NULL;
	}
	return d;
}

void
deflater_free(struct deflater *d)
{
	if (d)
		libdeflate_free_compressor(d->library);
	free(d);
}

int
deflater_run(struct deflater *d, struct slice raw, struct buf *out,
             struct err *err)
{
	size_t room, packed;
	int rc;

	if (raw.len < 2)
		return LSMKV_END;
	room = raw.len - 1;
	rc = buf_reserve(out, room, err);
	if (rc)
		return rc;
	packed = libdeflate_zlib_compress(d->library, raw.data, raw.len,
	                                  out->data + out->len, room);
	if (!packed)
		return LSMKV_END;
	out->len += packed;
	return 0;
}

struct inflater *
inflater_new(void)
{
	struct inflater *i = calloc(1, sizeof(*i));

	if (i)
		i->library = libdeflate_alloc_decompressor();
	if (i && !i->library) {
		free(i);
		i = NULL;
	}
	return i;
}

void
inflater_free(struct inflater *i)
{
	if (i)
		libdeflate_free_decompressor(i->library);
	free(i);
}

int
inflater_run(struct inflater *i, struct slice packed, unsigned char *out,
             size_t raw_len, struct err *err)
{
	size_t used = 0;

	/* Without a place for the length made, less than raw_len fails. */
	if (libdeflate_zlib_decompress_ex(i->library, packed.data, packed.len,
	                                  out, raw_len, &used,
	                                  NULL) != LIBDEFLATE_SUCCESS ||
	    used != packed.len)
		return damaged(packed, raw_len, err);
	return 0;
}

#else

#include <limits.h>
#include <zlib.h>

struct deflater {
	z_stream stream; /* between blocks: reset, ready */
};

struct inflater {
	z_stream stream; /* between blocks: reset, ready */
};

struct deflater *
deflater_new(int level)
{
	struct deflater *d = calloc(1, sizeof(*d));

	if (d && deflateInit(&d->stream, level) != Z_OK) {
		free(d);
		d = NULL;
	}
	return d;
}

void
deflater_free(struct deflater *d)
{
	if (d)
		deflateEnd(&d->stream);
	free(d);
}

int
deflater_run(struct deflater *d, struct slice raw, struct buf *out,
             struct err *err)
{
	z_stream *z = &d->stream;
	size_t room;
	int rc;

	if (raw.len < 2 || raw.len > UINT_MAX)
		return LSMKV_END;
	room = raw.len - 1;
	rc = buf_reserve(out, room, err);
	if (rc)
		return rc;
	deflateReset(z);
	z->next_in = (z_const Bytef *)raw.data;
	z->avail_in = (uInt)raw.len;
	z->next_out = out->data + out->len;
	z->avail_out = (uInt)room;
	if (deflate(z, Z_FINISH) != Z_STREAM_END)
		return LSMKV_END;
	out->len += room - z->avail_out;
	return 0;
}

struct inflater *
inflater_new(void)
{
	struct inflater *i = calloc(1, sizeof(*i));

	if (i && inflateInit(&i->stream) != Z_OK) {
		free(i);
		i = NULL;
	}
	return i;
}

void
inflater_free(struct inflater *i)
{
	if (i)
		inflateEnd(&i->stream);
	free(i);
}

int
inflater_run(struct inflater *i, struct slice packed, unsigned char *out,
             size_t raw_len, struct err *err)
{
	z_stream *z = &i->stream;
	unsigned char nothing; /* zlib refuses NULL, even for no bytes */

	if (packed.len > UINT_MAX || raw_len > UINT_MAX)
		return damaged(packed, raw_len, err);
	inflateReset(z);
	z->next_in = (z_const Bytef *)packed.data;
	z->avail_in = (uInt)packed.len;
	z->next_out = raw_len ? out : &nothing;
	z->avail_out = (uInt)raw_len;
	if (inflate(z, Z_FINISH) != Z_STREAM_END || z->avail_in || z->avail_out)
		return damaged(packed, raw_len, err);
	return 0;
}

#endif
