/* SPDX-License-Identifier: ISC */
/* Bytes packed and unpacked; what no writer wrote is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/codec.h"
#include "store/sst_pack.h"

#define MOST 2000u

/* Unpacks all of packed; what comes out is in `to`. */
static bool
unpack(const struct buf *packed, unsigned char *to, size_t *count)
{
	struct sst_packed p;

	size_t taken = sst_packed_open(&p, buf_slice(packed), MOST);

	if (!taken || taken != packed->len)
		return false;
	*count = p.count;
	return sst_unpack(&p, to);
}

static size_t
check(const unsigned char *bytes, size_t len)
{
	unsigned char back[MOST + SST_PACK_SLACK];
	struct buf packed = BUF_INIT;
	size_t count = 0, packed_len;

	assert_int_equal(sst_pack(slice_make(bytes, len), &packed, NULL), 0);
	assert_int_equal(buf_reserve(&packed, SST_PACK_SLACK, NULL), 0);
	assert_true(unpack(&packed, back, &count));
	assert_int_equal(count, len);
	assert_memory_equal(back, bytes, len);
	packed_len = packed.len;
	buf_release(&packed);
	return packed_len;
}

/* Alphabets of every size, in one run and with gaps, at every length. */
static void
test_round_trip(void **state)
{
	unsigned char bytes[MOST];

	(void)state;
	for (unsigned symbols = 1; symbols <= 256; symbols++)
		for (unsigned step = 1; step <= 5; step += 2)
			for (size_t len = 1; len <= MOST; len += 1 + len / 2) {
				for (size_t i = 0; i < len; i++)
					bytes[i] =
						(unsigned char)((size_t)rand() %
					                        symbols * step);
				check(bytes, len);
			}
}

/* Four bits a digit, none where all are the same. */
static void
test_size(void **state)
{
	unsigned char bytes[100];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)"0123456789abcdef"[i % 16];
	assert_int_equal(check(bytes, sizeof(bytes)), 1 + 4 + 1 + 50);
	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(check(bytes, sizeof(bytes)), 1 + 2 + 1);
}

static bool
accepts(const char *bytes, size_t len)
{
	unsigned char to[MOST + SST_PACK_SLACK];
	struct buf packed = BUF_INIT;
	size_t count;
	bool fine;

	assert_int_equal(buf_reserve(&packed, len + SST_PACK_SLACK, NULL), 0);
	assert_int_equal(buf_append(&packed, bytes, len, NULL), 0);
	fine = unpack(&packed, to, &count);
	buf_release(&packed);
	return fine;
}

#define ACCEPTS(bytes) accepts(bytes, sizeof(bytes) - 1)

/* Alphabets that are empty or out of order, counts that cannot be, places
   outside of the alphabet, bytes that are missing or too many. */
static void
test_damage(void **state)
{
	(void)state;
	assert_true(ACCEPTS("\1ac\4\x24"));
	assert_false(ACCEPTS("\0\4\x24"));       /* no alphabet */
	assert_false(ACCEPTS("\1ca\4\x24"));     /* ends before it begins */
	assert_false(ACCEPTS("\2abcd\4\x24"));   /* two runs that are one */
	assert_false(ACCEPTS("\2ccaa\4\x24"));   /* out of order */
	assert_false(ACCEPTS("\1ac\0"));         /* no bytes */
	assert_false(ACCEPTS("\1aa\xff\x7f"));   /* more than allowed */
	assert_false(ACCEPTS("\1ac\4\x2c"));     /* the fourth of three */
	assert_false(ACCEPTS("\1ac\4"));         /* no bits */
	assert_false(ACCEPTS("\1ac\4\x24\x24")); /* more than it says */
	assert_false(ACCEPTS("\1ac"));
	assert_false(ACCEPTS("\1a"));
	assert_false(accepts("", 0));
	/* One run of all bytes, and one of none behind the last of them. */
	assert_true(ACCEPTS("\1\x00\xff\2\x00\xff"));
	assert_false(ACCEPTS("\2\x00\xff\x01\x02\1\x00"));
	/* A count past 32 bits, past 64, and one of which the bits are too
	   many for any buffer. */
	assert_false(ACCEPTS("\1aa\x80\x80\x80\x80\x10"));
	assert_false(ACCEPTS("\1aa\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	assert_false(ACCEPTS("\1aa\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
}

/* As many runs as there can be, and more: the alphabet stays in its bounds. */
static void
test_runs(void **state)
{
	char bytes[1 + 2 * 255 + 2] = { 0 };

	(void)state;
	for (unsigned runs = 127; runs <= 255; runs++) {
		char *to = bytes;

		*to++ = (char)runs;
		for (unsigned i = 0; i < runs; i++) {
			*to++ = (char)(2 * i);
			*to++ = (char)(2 * i);
		}
		*to++ = 1; /* byte */
		*to++ = 0; /* the first */
		assert_int_equal(accepts(bytes, (size_t)(to - bytes)),
		                 runs <= 128);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
