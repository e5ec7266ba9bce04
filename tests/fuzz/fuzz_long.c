/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a few texts, which one encoder of long texts deflates
 * one after the other.
 *
 * A text is put together by steps, so that few bytes make one of many blocks.
 * Each begins with a byte: what to do, in its lower two bits, and 1 to 64 times
 * of it in the upper six.
 *
 *     0    so many of the bytes that follow
 *     1    noise, 1 KiB each time, of as many different bytes as the next one
 *          says; it is the same in each text
 *     2    what stood so far back as the next two bytes say, 16 bytes each time
 *     3    the next byte, 256 of it each time; or, 64 times, the text ends here
 *
 * The stream gives the text back, with zlib, with the library that deflate.h
 * stands on, and, each beginning of it, with inflate_prefix. It is smaller than
 * the text; a text of few different bytes always gets smaller; and where there
 * is none, nothing was appended.
 */
#include "base/deflate.h"
#include "base/deflate_long.h"
#include "base/inflate_prefix.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

#define TEXT_MAX (300u << 10) /* some five blocks */
#define TEXTS_MAX 4u
/* So long, and of so few different bytes: each takes five bits at most. */
#define FEW_BYTES 4096u
#define FEW 16u

const char fuzz_name[] = "long";

struct input {
	const uint8_t *at, *end;
	uint32_t random;
};

static unsigned char text[TEXT_MAX];
static struct inflate_codes codes;

static unsigned
next(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* ---- texts ---- */

static size_t
put_noise(struct input *in, unsigned different, size_t len, size_t n)
{
	for (; n && len < TEXT_MAX; n--) {
		in->random = in->random * 1664525 + 1013904223;
		text[len++] = (unsigned char)((in->random >> 16) % different);
	}
	return len;
}

static size_t
put_again(size_t back, size_t len, size_t n)
{
	for (; n && len < TEXT_MAX && back <= len; n--, len++)
		text[len] = text[len - back];
	return len;
}

static size_t
put_run(unsigned c, size_t len, size_t n)
{
	if (n > TEXT_MAX - len)
		n = TEXT_MAX - len;
	memset(text + len, (int)c, n);
	return len + n;
}

/* The next text; its length. */
static size_t
make_text(struct input *in)
{
	size_t len = 0, back;

	in->random = 1; /* so that texts can be like each other */
	while (in->at < in->end) {
		unsigned step = next(in), times = 1 + step / 4;

		switch (step % 4) {
		case 0:
			for (; times && in->at < in->end && len < TEXT_MAX;
			     times--)
				text[len++] = (unsigned char)next(in);
			break;
		case 1:
			len = put_noise(in, 1 + next(in), len, times << 10);
			break;
		case 2:
			back = next(in) << 8;
			back |= next(in);
			len = put_again(back + 1, len, times * 16);
			break;
		default:
			if (times == 64)
				return len;
			len = put_run(next(in), len, times << 8);
			break;
		}
	}
	return len;
}

static unsigned
different(size_t len)
{
	bool occurs[256] = { false };
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		occurs[text[i]] = true;
	for (unsigned c = 0; c < 256; c++)
		n += occurs[c];
	return n;
}

/* ---- what must be true ---- */

static void
check_stream(struct inflater *library, struct slice stream, size_t len,
             size_t wanted)
{
	/* The ends are the allocations'. */
	unsigned char *in = (unsigned char *)malloc(stream.len);
	unsigned char *out = (unsigned char *)malloc(len);
	unsigned char *slack =
		(unsigned char *)malloc(wanted + INFLATE_PREFIX_SLACK);
	uLongf got = (uLongf)len;

	REQUIRE(in && out && slack);
	memcpy(in, stream.data, stream.len);
	stream.data = in;
	REQUIRE(uncompress(out, &got, in, (uLong)stream.len) == Z_OK);
	REQUIRE(got == len && !memcmp(out, text, len));
	memset(out, 0x5a, len);
	REQUIRE(!inflater_run(library, stream, out, len, NULL));
	REQUIRE(!memcmp(out, text, len));
	REQUIRE(inflate_prefix(&codes, stream, slack, wanted));
	REQUIRE(!memcmp(slack, text, wanted));
	free(in);
	free(out);
	free(slack);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .at = data, .end = data + size };
	struct deflate_long *d = deflate_long_new();
	struct inflater *library = inflater_new();
	struct buf out = BUF_INIT, before = BUF_INIT;

	REQUIRE(d && library);
	for (unsigned i = 0; i < TEXTS_MAX && in.at < in.end; i++) {
		size_t len = make_text(&in);
		int code;

		REQUIRE(!buf_set(&before, buf_slice(&out), NULL));
		code = deflate_long_run(d, slice_make(text, len), &out, NULL);
		REQUIRE(!code || code == LSMKV_END);
		REQUIRE(out.len >= before.len &&
		        slice_equal(slice_make(out.data, before.len),
		                    buf_slice(&before)));
		REQUIRE(deflate_long_matches(d) <= len / 4);
		if (code) {
			REQUIRE(out.len == before.len);
			REQUIRE(len < FEW_BYTES || different(len) > FEW);
			continue;
		}
		REQUIRE(out.len - before.len < len);
		check_stream(
			library,
			slice_make(out.data + before.len, out.len - before.len),
			len, len);
		check_stream(
			library,
			slice_make(out.data + before.len, out.len - before.len),
			len, in.random % (len + 1));
	}
	buf_release(&before);
	buf_release(&out);
	inflater_free(library);
	deflate_long_free(d);
	return 0;
}
