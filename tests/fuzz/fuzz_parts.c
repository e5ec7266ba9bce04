/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a text that is deflated in parts, or as such a stream.
 *
 *     byte 0:    bit 0: they are the stream; otherwise the text
 *                bit 1: of a stream that was made, some bits are changed
 *                bit 2: dense
 *                bits 4 to 7: how often the text came before
 *     byte 1:    parts
 *     for each:  its length; of a stream that is given, also its bits (two
 *                bytes), doubled, plus 1 if it refers to the first
 *     bit 1:     number of changes, then two bytes for each: which bit
 *     then:      the bytes
 *
 * A stream that was made is right: its text comes back from zlib, from all
 * parts at once and from each alone. Of others, what all parts at once give,
 * each alone gives, too, and zlib, if it accepts it.
 */
#include "base/deflate_parts.h"
#include "base/inflate_parts.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

const char fuzz_name[] = "parts";

struct input {
	const uint8_t *at, *end;
	struct deflate_part parts[DEFLATE_PARTS_MAX];
	struct inflate_part places[DEFLATE_PARTS_MAX + 1];
	size_t count, len; /* of parts, of the text */
};

static struct inflate_codes codes;

static unsigned
next(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* ---- what must be true ---- */

/* Each part alone gives what all of them gave, and touches nothing else. */
static void
check_alone(const struct input *in, const struct inflate_parts *x,
            const unsigned char *text)
{
	size_t first_len = in->places[0].end;
	unsigned char *own = (unsigned char *)malloc(in->len);

	REQUIRE(own);
	for (size_t i = 0; i < in->count; i++) {
		struct inflate_part part = in->places[i];

		memset(own, 0xa5, in->len);
		if (i && part.refers)
			memcpy(own, text, first_len);
		REQUIRE(inflate_part_take(x, &part, first_len, own));
		REQUIRE(!memcmp(own + part.begin, text + part.begin,
		                part.end - part.begin));
		for (size_t n = part.end; n < in->len; n++)
			REQUIRE(own[n] == 0xa5 ||
			        (i && part.refers && n < first_len));
		/* Its first half, over what is there. */
		part.end -= (part.end - part.begin) / 2;
		REQUIRE(inflate_part_take(x, &part, first_len, own));
		REQUIRE(!memcmp(own + part.begin, text + part.begin,
		                part.end - part.begin));
	}
	free(own);
}

/* All parts of the stream into text, if it is one. Neither more than the stream
   is read, nor more written than the text. */
static bool
inflates(const struct input *in, const unsigned char *stream, size_t n,
         unsigned char *text)
{
	unsigned char *bytes = (unsigned char *)malloc(n + 1);
	struct inflate_parts x;
	bool ok;

	REQUIRE(bytes);
	memcpy(bytes + 1, stream, n); /* the end is the allocation's */
	ok = inflate_parts_begin(&x, &codes, slice_make(bytes + 1, n)) &&
	     inflate_parts_all(&x, in->places, in->count, text);
	if (ok)
		check_alone(in, &x, text);
	free(bytes);
	return ok;
}

/* What zlib makes of it; false if it is none to it. */
static bool
zlib_inflates(const unsigned char *stream, size_t n, unsigned char *text,
              size_t *len)
{
	z_stream s = { .next_in = (z_const Bytef *)stream,
		       .avail_in = (uInt)n,
		       .next_out = text,
		       .avail_out = (uInt)*len };
	int rc;

	REQUIRE(inflateInit(&s) == Z_OK);
	rc = inflate(&s, Z_FINISH);
	*len -= s.avail_out;
	inflateEnd(&s);
	return rc == Z_STREAM_END;
}

static void
check_given(const struct input *in, const unsigned char *stream, size_t n)
{
	unsigned char *text = (unsigned char *)malloc(in->len);
	unsigned char *other = (unsigned char *)malloc(in->len);
	size_t got = in->len;

	REQUIRE(text && other);
	if (inflates(in, stream, n, text) &&
	    zlib_inflates(stream, n, other, &got))
		REQUIRE(got == in->len && !memcmp(text, other, got));
	free(text);
	free(other);
}

static void
check_made(const struct input *in, struct slice text, const struct buf *stream)
{
	unsigned char *own = (unsigned char *)malloc(in->len);
	size_t got = in->len;

	REQUIRE(own && stream->len < text.len);
	REQUIRE(zlib_inflates(stream->data, stream->len, own, &got));
	REQUIRE(got == text.len && !memcmp(own, text.data, got));
	memset(own, 0, got);
	REQUIRE(inflates(in, stream->data, stream->len, own));
	REQUIRE(!memcmp(own, text.data, got));
	free(own);
}

/* ---- where parts are ---- */

static void
place(struct input *in)
{
	struct inflate_part at = { 0, 0, 0, false };

	for (size_t i = 0; i < in->count; i++) {
		at.end = at.begin + in->parts[i].len;
		at.refers = in->parts[i].refers;
		in->places[i] = at;
		at.begin = at.end;
		at.bit += in->parts[i].bits;
	}
	in->places[in->count] = at;
}

static void
use_stream(struct input *in)
{
	for (size_t i = 0; i < in->count; i++) {
		unsigned bits;

		in->parts[i].len = 1 + next(in);
		in->len += in->parts[i].len;
		bits = next(in) << 8;
		bits |= next(in);
		in->parts[i].bits = bits / 2;
		in->parts[i].refers = bits & 1;
	}
	place(in);
	check_given(in, in->at, (size_t)(in->end - in->at));
}

/* Lengths of parts, of which the text is there; the last one has the rest. */
static struct slice
cut(struct input *in, const uint8_t *lens)
{
	struct slice text = slice_make(in->at, (size_t)(in->end - in->at));
	size_t left = text.len, n = 0;

	for (; n + 1 < in->count && left > 1; n++) {
		uint32_t len = 1u + 4 * lens[n];

		if (len > left - 1)
			len = (uint32_t)left - 1;
		in->parts[n].len = len;
		left -= len;
	}
	in->parts[n++].len = (uint32_t)left;
	in->count = n;
	in->len = text.len;
	return text;
}

static void
use_text(struct input *in, unsigned how)
{
	uint8_t lens[DEFLATE_PARTS_MAX];
	struct deflate_parts *d = deflate_parts_new(how & 4);
	struct buf stream = BUF_INIT;
	struct deflate_head head;
	const uint8_t *changes;
	struct slice text;
	size_t changed;
	int code = 0;

	REQUIRE(d);
	for (size_t i = 0; i + 1 < in->count; i++)
		lens[i] = (uint8_t)next(in);
	changed = how & 2 ? next(in) % 8 : 0;
	if (2 * changed > (size_t)(in->end - in->at))
		changed = 0;
	changes = in->at;
	in->at += 2 * changed;
	text = cut(in, lens);
	if (!text.len || text.len > DEFLATE_PARTS_TEXT)
		goto done;
	for (unsigned times = 1 + (how >> 4); times; times--) {
		buf_clear(&stream);
		code = deflate_parts_run(d, text, in->parts, in->count, &head,
		                         &stream, NULL);
		REQUIRE(!code || (code == LSMKV_END && !stream.len));
	}
	if (code)
		goto done;
	place(in);
	check_made(in, text, &stream);
	for (; changed; changed--, changes += 2) {
		size_t bit = ((size_t)changes[0] << 8 | changes[1]) %
		             (8 * stream.len);

		stream.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
		check_given(in, stream.data, stream.len);
	}
done:
	buf_release(&stream);
	deflate_parts_free(d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .at = data, .end = data + size };
	unsigned how = next(&in);

	in.count = 1 + next(&in) % DEFLATE_PARTS_MAX;
	if (how & 1)
		use_stream(&in);
	else
		use_text(&in, how);
	return 0;
}
