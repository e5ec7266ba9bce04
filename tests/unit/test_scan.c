/* SPDX-License-Identifier: ISC */
/* Unit tests of store/scan: what one snapshot sees, forward and backward. */
#include "store/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/array_iter.h"

#define ENTRIES 120u
#define KEYS 12u
#define NOW 1000u

static uint64_t seed = 4711;

static unsigned
any(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

static void
make(struct array_entry *e, size_t count, unsigned keys)
{
	memset(e, 0, count * sizeof(*e));
	for (size_t i = 0; i < count; i++) {
		snprintf(e[i].key, sizeof(e[i].key), "key%02u", any(keys));
		snprintf(e[i].value, sizeof(e[i].value), "value%zu", i);
		e[i].version = i + 1;
		if (!any(5))
			e[i].kind = ENTRY_TOMBSTONE;
		else if (!any(5))
			e[i].expires = NOW + any(2);
	}
	qsort(e, count, sizeof(*e), array_entry_order);
}

/* The entries that a scan must show, in order of keys; returns how many. */
static size_t
model(const struct array_entry *e, size_t count, const struct scan_range *range,
      uint64_t snapshot, const struct array_entry **out)
{
	const char *last = NULL;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct slice key = slice_str(e[i].key);

		if (e[i].version > snapshot ||
		    (last && !strcmp(last, e[i].key)))
			continue;
		last = e[i].key;
		if (e[i].kind == ENTRY_TOMBSTONE ||
		    (e[i].expires && e[i].expires <= NOW))
			continue;
		if (slice_cmp(key, range->start) < 0 ||
		    (range->end.len && slice_cmp(key, range->end) >= 0))
			continue;
		out[n++] = &e[i];
	}
	return n;
}

static void
compare(const struct array_entry *e, size_t count,
        const struct scan_range *range, uint64_t snapshot)
{
	const struct array_entry *expected[ENTRIES];
	size_t n = model(e, count, range, snapshot, expected);
	struct scan *s = NULL;
	struct entry got;

	assert_int_equal(scan_new(&s, array_iter_new(e, count), range, snapshot,
	                          NOW, NULL, NULL, NULL),
	                 0);
	for (size_t i = 0; i < n; i++) {
		const struct array_entry *want =
			expected[range->reverse ? n - 1 - i : i];

		assert_int_equal(scan_next(s, &got, NULL), 0);
		assert_true(slice_equal(got.key, slice_str(want->key)));
		assert_true(slice_equal(got.value, slice_str(want->value)));
		assert_true(got.version == want->version);
		assert_true(got.expires == want->expires);
		assert_int_equal(got.kind, want->kind);
	}
	assert_int_equal(scan_next(s, &got, NULL), LSMKV_END);
	assert_int_equal(scan_next(s, &got, NULL), LSMKV_END);
	scan_close(s);
}

/* Any range of any entries, seen by any snapshot, is what the model says. */
static void
test_model(void **state)
{
	struct array_entry e[ENTRIES];

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		size_t count = any(ENTRIES + 1);
		char start[8], end[8];
		struct scan_range range = { { 0 }, { 0 }, any(2) };

		make(e, count, 1 + any(KEYS));
		snprintf(start, sizeof(start), "key%02u", any(KEYS));
		snprintf(end, sizeof(end), "key%02u", any(KEYS));
		if (any(2))
			range.start = slice_str(start);
		if (any(2))
			range.end = slice_str(end);
		compare(e, count, &range,
		        any(3) ? any(ENTRIES + 2) : VERSION_MAX);
	}
}

/* Hundreds of versions of one key cost seeks, and change nothing. */
static void
test_many_versions(void **state)
{
	struct array_entry e[ENTRIES];

	(void)state;
	for (uint64_t snapshot = 0; snapshot <= ENTRIES; snapshot++)
		for (unsigned reverse = 0; reverse < 2; reverse++) {
			struct scan_range range = { { 0 }, { 0 }, reverse };

			make(e, ENTRIES, 2);
			compare(e, ENTRIES, &range, snapshot);
		}
}

static void
note(void *arg)
{
	++*(int *)arg;
}

/* An error of the source ends the scan for good; release is called once. */
static void
test_error(void **state)
{
	struct array_entry e[ENTRIES];
	unsigned failures = 0;

	(void)state;
	make(e, ENTRIES, KEYS);
	for (int after = 0; after < 60; after++)
		for (unsigned reverse = 0; reverse < 2; reverse++) {
			struct scan_range range = { { 0 }, { 0 }, reverse };
			struct iter *source = array_iter_new(e, ENTRIES);
			struct scan *s = NULL;
			struct entry got;
			int released = 0, closed = 0, rc;

			((struct array_iter *)source)->fail_after = after;
			((struct array_iter *)source)->closed = &closed;
			assert_int_equal(scan_new(&s, source, &range,
			                          VERSION_MAX, NOW, note,
			                          &released, NULL),
			                 0);
			while (!(rc = scan_next(s, &got, NULL)))
				;
			if (rc < 0) {
				failures++;
				assert_int_equal(rc, LSMKV_EIO);
				assert_int_equal(scan_next(s, &got, NULL),
				                 LSMKV_EIO);
			}
			assert_int_equal(released, 0);
			scan_close(s);
			assert_int_equal(released, 1);
			assert_int_equal(closed, 1);
		}
	assert_true(failures > 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_many_versions),
		cmocka_unit_test(test_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
