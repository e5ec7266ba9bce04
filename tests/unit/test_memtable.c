/* SPDX-License-Identifier: ISC */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/memtable.h"

static struct entry
make(const char *key, uint64_t version, const char *value)
{
	struct entry e = { .key = slice_str(key),
		           .value = slice_str(value),
		           .version = version,
		           .kind = ENTRY_TEXT };
	return e;
}

static void
add(struct memtable *m, const struct entry *e)
{
	assert_int_equal(memtable_reserve(m, memtable_entry_bytes(e), NULL), 0);
	memtable_add(m, e);
}

/* A look-up answers the newest version that it may see. */
static void
get_by_version(void **state)
{
	struct memtable *m = memtable_new(1);
	struct entry e;

	(void)state;
	for (uint64_t v = 10; v <= 30; v += 10) {
		char text[8];

		snprintf(text, sizeof(text), "v%d", (int)v);
		e = make("k", v, text);
		add(m, &e);
	}
	assert_int_equal(memtable_get(m, slice_str("k"), 9, &e),
	                 LSMKV_NOTFOUND);
	assert_int_equal(memtable_get(m, slice_str("k"), 10, &e), 0);
	assert_int_equal(e.version, 10);
	assert_int_equal(memtable_get(m, slice_str("k"), 29, &e), 0);
	assert_int_equal(e.version, 20);
	assert_true(slice_equal(e.value, slice_str("v20")));
	assert_int_equal(memtable_get(m, slice_str("k"), VERSION_MAX, &e), 0);
	assert_int_equal(e.version, 30);
	assert_int_equal(memtable_get(m, slice_str("j"), VERSION_MAX, &e),
	                 LSMKV_NOTFOUND);
	assert_int_equal(memtable_get(m, slice_str("l"), VERSION_MAX, &e),
	                 LSMKV_NOTFOUND);
	memtable_unref(m);
}

/* Keys that share their first bytes, or end in zeros, keep byte order. */
static void
order_of_close_keys(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} keys[] = {
		{ "\0", 1 },
		{ "\0\0", 2 },
		{ "a", 1 },
		{ "a\0", 2 },
		{ "a\0\0\0\0\0\0\0", 8 },
		{ "a\0\0\0\0\0\0\0\0", 9 },
		{ "abcdefgh", 8 },
		{ "abcdefgh\0", 9 },
		{ "abcdefgha", 9 },
		{ "abcdefghb", 9 },
		{ "abcdefgi", 8 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff", 8 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\x01", 9 },
	};
	const size_t n = sizeof(keys) / sizeof(*keys);
	struct memtable *m = memtable_new(1);
	struct iter *it;
	size_t i;

	(void)state;
	for (i = 0; i < n; i++) {
		/* added out of order */
		size_t k = (i * 5 + 3) % n;
		struct entry e = { .key = slice_make(keys[k].bytes,
			                             keys[k].len),
			           .version = k + 1 };
		add(m, &e);
	}
	assert_int_equal(memtable_iter_new(&it, m, NULL), 0);
	iter_first(it, NULL);
	for (i = 0; i < n; i++, iter_next(it, NULL)) {
		assert_true(it->valid);
		assert_int_equal(it->entry.version, i + 1);
	}
	assert_false(it->valid);
	iter_last(it, NULL);
	for (i = n; i-- > 0; iter_prev(it, NULL)) {
		assert_true(it->valid);
		assert_int_equal(it->entry.version, i + 1);
	}
	assert_false(it->valid);
	iter_close(it);
	for (i = 0; i < n; i++) {
		struct entry e;

		assert_int_equal(
			memtable_get(m, slice_make(keys[i].bytes, keys[i].len),
		                     VERSION_MAX, &e),
			0);
		assert_int_equal(e.version, i + 1);
	}
	memtable_unref(m);
}

/* seek and seek_before split the order at one point. */
static void
seeks(void **state)
{
	struct memtable *m = memtable_new(1);
	struct entry e;
	struct iter *it;

	(void)state;
	e = make("b", 5, "");
	add(m, &e);
	e = make("b", 7, "");
	add(m, &e);
	e = make("d", 6, "");
	add(m, &e);
	assert_int_equal(memtable_iter_new(&it, m, NULL), 0);
	iter_seek(it, slice_str("b"), VERSION_MAX, NULL);
	assert_int_equal(it->entry.version, 7);
	iter_seek(it, slice_str("b"), 6, NULL);
	assert_int_equal(it->entry.version, 5);
	iter_seek(it, slice_str("c"), VERSION_MAX, NULL);
	assert_int_equal(it->entry.version, 6);
	iter_seek(it, slice_str("e"), VERSION_MAX, NULL);
	assert_false(it->valid);
	iter_seek_before(it, slice_str("c"), VERSION_MAX, NULL);
	assert_int_equal(it->entry.version, 5);
	iter_seek_before(it, slice_str("b"), 5, NULL);
	assert_int_equal(it->entry.version, 7);
	iter_seek_before(it, slice_str("b"), VERSION_MAX, NULL);
	assert_false(it->valid);
	iter_close(it);
	memtable_unref(m);
}

/*
 * Values of all sizes, between them reservations that nothing came of, as
 * when the disk is full: everything keeps its place and its bytes.
 */
static void
values_of_all_sizes(void **state)
{
	static const size_t lens[] = { 10, 700000, 100, 3000000, 40, 520000,
		                       0,  90000,  1,   2097152, 60 };
	const unsigned count = 66;
	struct memtable *m = memtable_new(1);
	unsigned char *value = malloc(3000000);
	struct entry e;
	char key[16];

	(void)state;
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key-%u", i * 37 % count);
		e = make(key, i + 1, "");
		e.value = slice_make(value, lens[i % 11]);
		memset(value, (int)i, e.value.len);
		if (i % 3 == 0)
			assert_int_equal(
				memtable_reserve(m, lens[i % 7] + i, NULL), 0);
		add(m, &e);
	}
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key-%u", i * 37 % count);
		assert_int_equal(
			memtable_get(m, slice_str(key), VERSION_MAX, &e), 0);
		assert_int_equal(e.value.len, lens[i % 11]);
		memset(value, (int)i, e.value.len);
		assert_true(
			slice_equal(e.value, slice_make(value, e.value.len)));
	}
	assert_int_equal(memtable_reserve(m, SIZE_MAX, NULL), LSMKV_ENOMEM);
	free(value);
	memtable_unref(m);
}

/* An entry comes back with all that it was given, and figures add up. */
static void
keeps_everything(void **state)
{
	struct memtable *m = memtable_new(77);
	struct entry in = make("key", 3, "value"), out;

	(void)state;
	in.kind = ENTRY_BYTES;
	in.expires = 12345;
	add(m, &in);
	assert_int_equal(memtable_get(m, in.key, 3, &out), 0);
	assert_int_equal(out.kind, ENTRY_BYTES);
	assert_int_equal(out.expires, 12345);
	assert_true(slice_equal(out.value, in.value));
	in = make("key", 4, "");
	in.kind = ENTRY_TOMBSTONE;
	add(m, &in);
	assert_int_equal(memtable_entries(m), 2);
	assert_int_equal(memtable_tombstones(m), 1);
	assert_int_equal(memtable_max_version(m), 4);
	assert_int_equal(memtable_segment(m), 77);
	assert_true(memtable_bytes(m) >= 2 * 3 + 5);
	memtable_unref(m);
}

/*
 * In whatever order keys come, each is found again, and both walks see them
 * in order. (Were the tree misled by an order, this would never end.)
 */
static void
orders_of_adding(void **state)
{
	enum { N = 200000 };

	(void)state;
	for (int order = 0; order < 4; order++) {
		struct memtable *m = memtable_new(1);
		struct entry e = { .kind = ENTRY_TEXT };
		struct iter *it;
		char key[16], want[16];
		int i;

		for (i = 0; i < N; i++) {
			uint64_t k = (uint64_t)i;

			if (order == 1)
				k = (uint64_t)(N - 1 - i);
			else if (order == 2) /* from both ends inwards */
				k = (uint64_t)(i % 2 ? N - 1 - i / 2 : i / 2);
			else if (order == 3) /* 7919 and N have no divisor */
				k = (uint64_t)i * 7919 % N;
			snprintf(key, sizeof(key), "k%08u", (unsigned)k);
			e.key = slice_str(key);
			e.version = (uint64_t)i + 1;
			add(m, &e);
		}
		assert_int_equal(memtable_iter_new(&it, m, NULL), 0);
		iter_first(it, NULL);
		for (i = 0; i < N; i++, iter_next(it, NULL)) {
			snprintf(want, sizeof(want), "k%08u", (unsigned)i);
			assert_true(it->valid && slice_equal(it->entry.key,
			                                     slice_str(want)));
			assert_int_equal(memtable_get(m, slice_str(want),
			                              VERSION_MAX, &e),
			                 0);
		}
		assert_false(it->valid);
		iter_last(it, NULL);
		for (i = N; i-- > 0; iter_prev(it, NULL)) {
			snprintf(want, sizeof(want), "k%08u", (unsigned)i);
			assert_true(it->valid && slice_equal(it->entry.key,
			                                     slice_str(want)));
		}
		assert_false(it->valid);
		iter_close(it);
		memtable_unref(m);
	}
}

#define ADDED 20000u

struct shared {
	struct memtable *m;
	_Atomic uint64_t published; /* all versions up to it are there */
};

static void
key_of(uint64_t i, char *key)
{
	/* neighbours in time are far apart in order, prefixes are shared */
	snprintf(key, 32, "key-%08x", (unsigned)(i * 2654435761u));
}

static void *
reader(void *arg)
{
	struct shared *s = arg;
	uint64_t seed = (uintptr_t)&seed, published;
	char key[32];

	do {
		struct entry e;
		uint64_t i;

		published = atomic_load(&s->published);
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		i = published ? 1 + (seed >> 33) % published : 0;
		if (!i)
			continue;
		key_of(i, key);
		if (memtable_get(s->m, slice_str(key), published, &e) ||
		    e.version != i || e.value.len != 8 ||
		    memcmp(e.value.data, &i, 8))
			return (void *)1;
	} while (published < ADDED);
	return NULL;
}

/* Readers find all that is published, while entries are added. */
static void
readers_beside_the_adder(void **state)
{
	struct shared s = { memtable_new(1), 0 };
	pthread_t threads[3];
	char key[32];
	void *bad;

	(void)state;
	for (int t = 0; t < 3; t++)
		pthread_create(&threads[t], NULL, reader, &s);
	for (uint64_t i = 1; i <= ADDED; i++) {
		struct entry e = { .version = i, .kind = ENTRY_BYTES };

		key_of(i, key);
		e.key = slice_str(key);
		e.value = slice_make(&i, 8);
		add(s.m, &e);
		atomic_store(&s.published, i);
	}
	for (int t = 0; t < 3; t++) {
		pthread_join(threads[t], &bad);
		assert_null(bad);
	}
	memtable_unref(s.m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_by_version),
		cmocka_unit_test(order_of_close_keys),
		cmocka_unit_test(seeks),
		cmocka_unit_test(keeps_everything),
		cmocka_unit_test(values_of_all_sizes),
		cmocka_unit_test(orders_of_adding),
		cmocka_unit_test(readers_beside_the_adder),
	};

	return cmocka_run_group_tests_name("memtable", tests, NULL, NULL);
}
