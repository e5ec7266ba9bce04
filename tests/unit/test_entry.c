/* SPDX-License-Identifier: ISC */
/* The order of entries and their one encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/entry.h"

static struct slice
bytes(const char *text)
{
	return slice_make(text, strlen(text));
}

static void
assert_same(const struct entry *a, const struct entry *b)
{
	assert_true(slice_equal(a->key, b->key));
	assert_true(slice_equal(a->value, b->value));
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->expires, b->expires);
	assert_int_equal(a->kind, b->kind);
}

static void
assert_round_trip(const struct entry *e, uint64_t base)
{
	size_t size = entry_encoded_size(e, base);
	unsigned char *out = (unsigned char *)malloc(size);
	struct reader r;
	struct entry back;

	assert_non_null(out);
	assert_ptr_equal(entry_encode(e, base, out), out + size);
	r = reader_make(slice_make(out, size));
	assert_true(entry_decode(&r, base, &back));
	assert_false(r.failed);
	assert_ptr_equal(r.at, out + size);
	assert_same(&back, e);

	/* Cut anywhere, it is not an entry; memory behind it is not read. */
	for (size_t cut = 0; cut < size; cut += 1 + cut / 50) {
		unsigned char *part = (unsigned char *)malloc(cut + !cut);

		memcpy(part, out, cut);
		r = reader_make(slice_make(part, cut));
		assert_false(entry_decode(&r, base, &back));
		assert_true(r.failed);
		free(part);
	}
	free(out);
}

/* Keys sort as bytes, a prefix first; of one key the newest comes first. */
static void
order(void **state)
{
	(void)state;
	assert_true(entry_order(bytes("a"), 1, bytes("b"), 1) < 0);
	assert_true(entry_order(bytes("a"), 1, bytes("aa"), 9) < 0);
	assert_true(entry_order(bytes("\xff"), 1, bytes("a"), 1) > 0);
	assert_true(entry_order(bytes("a"), 9, bytes("a"), 1) < 0);
	assert_true(entry_order(bytes("a"), 1, bytes("a"), 9) > 0);
	assert_int_equal(entry_order(bytes("a"), 5, bytes("a"), 5), 0);
	assert_true(entry_order(bytes("a"), VERSION_MAX, bytes("a"), 0) < 0);
}

/* An entry is gone from its very second on; 0 is never. */
static void
expiry(void **state)
{
	struct entry e = { .expires = 100 };

	(void)state;
	assert_false(entry_expired(&e, 99));
	assert_true(entry_expired(&e, 100));
	assert_true(entry_expired(&e, 101));
	assert_false(entry_expired(&e, 0));
	e.expires = 0;
	assert_false(entry_expired(&e, UINT64_MAX));
}

/* What is encoded is decoded again, at every limit. */
static void
round_trip(void **state)
{
	static unsigned char zeros[70000];
	const uint64_t versions[] = { 1, 127, 128, 1u << 20, UINT64_MAX };
	const size_t keys[] = { 1, 127, 128, 1024, ENTRY_KEY_MAX };
	const size_t values[] = { 0, 1, 127, 128, 20000, 70000 };

	(void)state;
	for (size_t v = 0; v < 5; v++)
		for (size_t k = 0; k < 5; k++)
			for (size_t n = 0; n < 6; n++)
				for (unsigned kind = 0; kind < 8; kind++) {
					struct entry e = {
						slice_make(zeros, keys[k]),
						slice_make(zeros, values[n]),
						versions[v],
						kind & 4 ? 1700000000u : 0,
						(enum entry_kind)(kind & 3)
					};
					if (e.kind == ENTRY_TOMBSTONE)
						e.value.len = 0;
					assert_round_trip(&e, 0);
					assert_round_trip(&e, versions[v]);
				}
}

/* The bytes are those of doc/format.md, and stay so. */
static void
golden(void **state)
{
	static const unsigned char plain[] = {
		0x01, 5, 1, 3, 'k', 'x', 'y', 'z'
	};
	static const unsigned char gone[] = { 0x07, 0x80, 1, 2, 60, 'k', 'k' };
	struct entry e = { bytes("k"), bytes("xyz"), 105, 0, ENTRY_JSON };
	struct entry t = { bytes("kk"), { NULL, 0 }, 228, 60, ENTRY_TOMBSTONE };
	unsigned char out[64];

	(void)state;
	assert_ptr_equal(entry_encode(&e, 100, out), out + sizeof(plain));
	assert_memory_equal(out, plain, sizeof(plain));
	assert_ptr_equal(entry_encode(&t, 100, out), out + sizeof(gone));
	assert_memory_equal(out, gone, sizeof(gone));
}

/* Nothing that entry_encode cannot write is accepted. */
static void
nonsense(void **state)
{
	static const struct {
		const char *why;
		unsigned char bytes[16];
		size_t len;
		uint64_t base;
	} cases[] = {
		{ "unknown tag bit", { 0x08, 1, 1, 0, 'k' }, 5, 0 },
		{ "highest tag bit", { 0x80, 1, 1, 0, 'k' }, 5, 0 },
		{ "version 0", { 0, 0, 1, 0, 'k' }, 5, 0 },
		{ "version past 64 bits", { 0, 2, 1, 0, 'k' }, 5, UINT64_MAX },
		{ "empty key", { 0, 1, 0, 0, 'k' }, 5, 0 },
		{ "key over 65535", { 0, 1, 0x80, 0x80, 4, 0 }, 6, 0 },
		{ "value over 1 GiB",
		  { 0, 1, 1, 0x81, 0x80, 0x80, 0x80, 4, 'k' },
		  9,
		  0 },
		{ "needless varint zeros", { 0, 0x81, 0, 1, 0, 'k' }, 6, 0 },
		{ "expiry flag without expiry", { 4, 1, 1, 0, 0, 'k' }, 6, 0 },
		{ "value longer than what is left",
		  { 0, 1, 1, 2, 'k', 'v' },
		  6,
		  0 },
		{ "lengths that overflow",
		  { 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		    0xff, 1, 'k' },
		  14,
		  0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reader r =
			reader_make(slice_make(cases[i].bytes, cases[i].len));
		struct entry e;

		if (entry_decode(&r, cases[i].base, &e) || !r.failed)
			fail_msg("accepted: %s", cases[i].why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),      cmocka_unit_test(expiry),
		cmocka_unit_test(round_trip), cmocka_unit_test(golden),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
