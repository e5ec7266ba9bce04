/* SPDX-License-Identifier: ISC */
/* The bloom filter: never a false "no", few false "maybe", fixed bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/codec.h"
#include "store/bloom.h"
#include "store/sst.h"

static uint64_t
hash_of(const char *kind, size_t i)
{
	char key[32];

	snprintf(key, sizeof(key), "%s%zu", kind, i);
	return sst_key_hash(slice_str(key));
}

/* Builds a filter over keys in0..in(n-1); returns false "maybe" per 100000. */
static size_t
false_maybes(size_t n, unsigned bits)
{
	uint64_t *hashes = (uint64_t *)calloc(n + 1, sizeof(*hashes));
	struct buf out = BUF_INIT;
	size_t wrong = 0;

	for (size_t i = 0; i < n; i++)
		hashes[i] = hash_of("in", i);
	assert_int_equal(bloom_build(hashes, n, bits, &out, NULL), 0);
	assert_true(bloom_valid(buf_slice(&out)));
	assert_true(out.len <= n * bits / 8 + BLOOM_LINE + 1);
	for (size_t i = 0; i < n; i++)
		assert_true(bloom_may_contain(buf_slice(&out), hashes[i]));
	for (size_t i = 0; i < 100000; i++)
		wrong += bloom_may_contain(buf_slice(&out), hash_of("out", i));
	buf_release(&out);
	free(hashes);
	return wrong;
}

/* No key that went in is ever denied, whatever the size and density. */
static void
no_false_no(void **state)
{
	const size_t counts[] = { 1, 2, 51, 52, 1000, 33333 };
	const unsigned bits[] = { 1, 4, 10, 20, 64 };

	(void)state;
	for (size_t i = 0; i < 6; i++)
		for (size_t b = 0; b < 5; b++)
			(void)false_maybes(counts[i], bits[b]);
}

/* Ten bits a key leave under 2 % false "maybe"; more bits leave fewer. */
static void
few_false_maybes(void **state)
{
	size_t at10 = false_maybes(100000, 10);
	size_t at16 = false_maybes(100000, 16);

	(void)state;
	assert_in_range(at10, 1, 1999);
	assert_in_range(at16, 0, at10 / 4);
}

/* A filter over nothing denies everything; no filter denies nothing. */
static void
empty(void **state)
{
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(bloom_build(NULL, 0, 10, &out, NULL), 0);
	assert_false(bloom_may_contain(buf_slice(&out), hash_of("in", 0)));
	buf_release(&out);
	assert_true(bloom_may_contain(slice_make(NULL, 0), 1));
}

/* It goes behind what the buffer holds already. */
static void
appends(void **state)
{
	uint64_t hash = hash_of("in", 0);
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(buf_append(&out, "abc", 3, NULL), 0);
	assert_int_equal(bloom_build(&hash, 1, 10, &out, NULL), 0);
	assert_memory_equal(out.data, "abc", 3);
	assert_true(
		bloom_may_contain(slice_make(out.data + 3, out.len - 3), hash));
	buf_release(&out);
}

/* Its bytes are part of the format: these must never change. */
static void
golden(void **state)
{
	uint64_t hashes[1000];
	struct buf out = BUF_INIT;

	(void)state;
	assert_true(sst_key_hash(slice_str("greeting")) ==
	            UINT64_C(0x1fc809e0902f8741));
	for (size_t i = 0; i < 1000; i++)
		hashes[i] = hash_of("in", i);
	assert_int_equal(bloom_build(hashes, 1000, 10, &out, NULL), 0);
	assert_int_equal(out.len, 20 * 64 + 1);
	assert_int_equal(out.data[out.len - 1], 6);
	assert_int_equal(crc32_add(0, out.data, out.len), 0x4d8e4cec);
	buf_release(&out);
}

/* Bytes of another shape are not a filter. */
static void
shape(void **state)
{
	unsigned char bytes[130] = { 0 };

	(void)state;
	bytes[128] = 6;
	assert_true(bloom_valid(slice_make(bytes, 129)));
	assert_false(bloom_valid(slice_make(bytes, 130)));
	assert_false(bloom_valid(slice_make(bytes, 128)));
	assert_false(bloom_valid(slice_make(bytes + 128, 1)));
	assert_false(bloom_valid(slice_make(bytes, 0)));
	bytes[128] = 0;
	assert_false(bloom_valid(slice_make(bytes, 129)));
	bytes[128] = 31;
	assert_false(bloom_valid(slice_make(bytes, 129)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_false_no),
		cmocka_unit_test(few_false_maybes),
		cmocka_unit_test(empty),
		cmocka_unit_test(appends),
		cmocka_unit_test(golden),
		cmocka_unit_test(shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
