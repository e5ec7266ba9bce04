/* SPDX-License-Identifier: ISC */
/* Unit tests of store/merge: the k-way merge, and the rule that drops. */
#include "store/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/array_iter.h"

#define ENTRIES 300u
#define CHILDREN 9u

static uint64_t seed = 20260131;

static unsigned
any(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

/* What all children hold together, and what each of them holds. */
struct fixture {
	struct array_entry all[ENTRIES];
	struct array_entry part[CHILDREN][ENTRIES];
	size_t count[CHILDREN];
	struct iter *merge;
};

static void
fixture_make(struct fixture *f, unsigned children)
{
	struct iter *its[CHILDREN];

	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < ENTRIES; i++) {
		struct array_entry *e = &f->all[i];

		/* Keys that are equal, prefixes, and equal in 8 bytes. */
		switch (any(3)) {
		case 0:
			snprintf(e->key, sizeof(e->key), "k%u", any(40));
			break;
		case 1:
			snprintf(e->key, sizeof(e->key), "longprefix%u",
			         any(40));
			break;
		default:
			snprintf(e->key, sizeof(e->key), "%.*s",
			         (int)any(6) + 1, "aaaaaaaaaaaa");
		}
		e->version = i + 1;
		snprintf(e->value, sizeof(e->value), "v%zu", i);
	}
	qsort(f->all, ENTRIES, sizeof(f->all[0]), array_entry_order);
	for (size_t i = 0; i < ENTRIES; i++) {
		unsigned c = any(children);

		f->part[c][f->count[c]++] = f->all[i];
	}
	for (unsigned c = 0; c < children; c++)
		its[c] = array_iter_new(f->part[c], f->count[c]);
	assert_int_equal(merge_new(&f->merge, its, children, NULL), 0);
}

static void
assert_at(const struct fixture *f, size_t at)
{
	const struct iter *m = f->merge;

	if (at >= ENTRIES) {
		assert_false(m->valid);
		return;
	}
	assert_true(m->valid);
	assert_true(m->entry.version == f->all[at].version);
	assert_true(slice_equal(m->entry.key, slice_str(f->all[at].key)));
	assert_true(slice_equal(m->entry.value, slice_str(f->all[at].value)));
}

/* Forward and backward, a merge gives every entry once and in store order. */
static void
test_whole(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	(void)state;
	assert_non_null(f);
	for (unsigned children = 1; children <= CHILDREN; children++) {
		fixture_make(f, children);
		assert_int_equal(iter_first(f->merge, NULL), 0);
		for (size_t i = 0; i <= ENTRIES; i++) {
			assert_at(f, i);
			if (i < ENTRIES)
				assert_int_equal(iter_next(f->merge, NULL), 0);
		}
		assert_int_equal(iter_last(f->merge, NULL), 0);
		for (size_t i = ENTRIES; i-- > 0;) {
			assert_at(f, i);
			assert_int_equal(iter_prev(f->merge, NULL), 0);
		}
		assert_false(f->merge->valid);
		iter_close(f->merge);
	}
	free(f);
}

/*
 * Any mix of seeks, moves and turns stands where the sorted array says, also
 * when the key sought is the merge's own entry's.
 */
static void
test_random_walk(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	(void)state;
	assert_non_null(f);
	for (unsigned round = 0; round < 20; round++) {
		size_t at = ENTRIES;

		fixture_make(f, 2 + any(CHILDREN - 1));
		for (unsigned step = 0; step < 2000; step++) {
			struct array_iter model = { .entries = f->all,
				                    .count = ENTRIES };
			const struct array_entry *e = &f->all[any(ENTRIES)];
			struct slice key = slice_str(e->key);
			uint64_t version = any(2) ? e->version : any(ENTRIES);
			unsigned what = any(10);
			int rc = 0;

			if (at < ENTRIES && any(2)) {
				key = f->merge->entry.key;
				version = f->merge->entry.version;
			}
			if (what == 0) {
				at = array_iter_rank(&model, key, version);
				rc = iter_seek(f->merge, key, version, NULL);
			} else if (what == 1) {
				at = array_iter_rank(&model, key, version);
				at = at ? at - 1 : ENTRIES;
				rc = iter_seek_before(f->merge, key, version,
				                      NULL);
			} else if (at < ENTRIES && what < 6) {
				at++;
				rc = iter_next(f->merge, NULL);
			} else if (at < ENTRIES) {
				at = at ? at - 1 : ENTRIES;
				rc = iter_prev(f->merge, NULL);
			}
			assert_int_equal(rc, 0);
			assert_at(f, at);
		}
		iter_close(f->merge);
	}
	free(f);
}

/* The same (key, version) in two children is corruption, wherever it stands. */
static void
test_duplicate(void **state)
{
	struct array_entry part[4][8];

	(void)state;
	for (unsigned where = 0; where < 8; where++)
		for (unsigned backward = 0; backward < 2; backward++) {
			struct err err = ERR_INIT;
			struct iter *its[4], *m = NULL;
			int rc;

			memset(part, 0, sizeof(part));
			for (unsigned c = 0; c < 4; c++)
				for (unsigned i = 0; i < 8; i++) {
					snprintf(part[c][i].key,
					         sizeof(part[c][i].key),
					         "key%u", i);
					part[c][i].version = c + 1;
				}
			part[where % 4][where].version =
				part[(where + 1) % 4][where].version;
			for (unsigned c = 0; c < 4; c++)
				its[c] = array_iter_new(part[c], 8);
			assert_int_equal(merge_new(&m, its, 4, NULL), 0);
			rc = backward ? iter_last(m, &err)
			              : iter_first(m, &err);
			while (!rc && m->valid)
				rc = backward ? iter_prev(m, &err)
				              : iter_next(m, &err);
			assert_int_equal(rc, LSMKV_ECORRUPT);
			assert_false(m->valid);
			assert_non_null(strstr(err.message, "version"));
			iter_close(m);
		}
}

/* A child's error is the merge's, which is not valid then; a seek heals it. */
static void
test_child_error(void **state)
{
	struct fixture *f = malloc(sizeof(*f));
	struct iter *its[3];
	unsigned failures = 0;

	(void)state;
	assert_non_null(f);
	for (int after = 0; after < 200; after++) {
		struct err err = ERR_INIT;
		int rc;

		fixture_make(f, 3);
		iter_close(f->merge);
		for (unsigned c = 0; c < 3; c++)
			its[c] = array_iter_new(f->part[c], f->count[c]);
		((struct array_iter *)its[1])->fail_after = after;
		assert_int_equal(merge_new(&f->merge, its, 3, NULL), 0);
		rc = iter_first(f->merge, &err);
		for (unsigned i = 0; !rc && f->merge->valid; i++)
			rc = i % 7 == 3 ? iter_prev(f->merge, &err)
			                : iter_next(f->merge, &err);
		if (rc) {
			failures++;
			assert_int_equal(rc, LSMKV_EIO);
			assert_false(f->merge->valid);
		}
		assert_int_equal(iter_first(f->merge, NULL), 0);
		assert_at(f, 0);
		iter_close(f->merge);
	}
	assert_true(failures > 100);
	free(f);
}

/* A merge of nothing is empty, and every child is closed with the merge. */
static void
test_edges(void **state)
{
	struct iter *its[3], *m = NULL;
	int closed = 0;

	(void)state;
	assert_int_equal(merge_new(&m, NULL, 0, NULL), 0);
	assert_int_equal(iter_first(m, NULL), 0);
	assert_false(m->valid);
	assert_int_equal(iter_seek(m, slice_str("a"), 1, NULL), 0);
	assert_false(m->valid);
	iter_close(m);
	for (unsigned i = 0; i < 3; i++) {
		its[i] = array_iter_new(NULL, 0);
		((struct array_iter *)its[i])->closed = &closed;
	}
	assert_int_equal(merge_new(&m, its, 3, NULL), 0);
	assert_int_equal(iter_last(m, NULL), 0);
	assert_false(m->valid);
	iter_close(m);
	assert_int_equal(closed, 3);
}

/* ---- the rule ---- */

/* What a reader at `snapshot` sees of key: an index, or -1. */
static int
seen(const struct array_entry *e, const bool *there, size_t count,
     const char *key, uint64_t snapshot, uint64_t now)
{
	for (size_t i = 0; i < count; i++) {
		if (!there[i] || strcmp(e[i].key, key) != 0 ||
		    e[i].version > snapshot)
			continue;
		if (e[i].kind == ENTRY_TOMBSTONE ||
		    (e[i].expires && e[i].expires <= now))
			return -1;
		return (int)i;
	}
	return -1;
}

/*
 * Whatever the rule drops, no open snapshot and nobody later sees a change,
 * also with older entries below; and it keeps nothing that could go.
 */
static void
test_rule_model(void **state)
{
	enum { MOST = 40, KEYS = 8, NOW = 1000 };

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct array_entry e[MOST * 2];
		bool before[MOST * 2], after[MOST * 2];
		uint64_t snapshots[4];
		struct key_range deeper[KEYS];
		struct merge_rule rule = { 0 };
		size_t upper = 1 + any(MOST), count, ranges = 0;
		size_t snapshot_count = any(5);
		bool deep[KEYS] = { false };

		memset(e, 0, sizeof(e));
		for (size_t i = 0; i < upper; i++) {
			snprintf(e[i].key, sizeof(e[i].key), "%u", any(KEYS));
			e[i].version = 100 + i;
			e[i].kind = any(3) ? ENTRY_TEXT : ENTRY_TOMBSTONE;
			if (e[i].kind == ENTRY_TEXT && !any(3))
				e[i].expires = any(2) ? NOW : NOW + 1;
		}
		qsort(e, upper, sizeof(e[0]), array_entry_order);
		/* Below: for some keys one older entry, behind the others. */
		count = upper;
		for (unsigned k = 0; k < KEYS; k++) {
			if (!any(3))
				continue;
			deep[k] = true;
			snprintf(e[count].key, sizeof(e[count].key), "%u", k);
			e[count].version = 1 + k;
			count++;
			deeper[ranges] =
				(struct key_range){ BUF_INIT, BUF_INIT };
			buf_set(&deeper[ranges].smallest,
			        slice_str(e[count - 1].key), NULL);
			buf_set(&deeper[ranges].largest,
			        slice_str(e[count - 1].key), NULL);
			ranges++;
		}
		for (size_t i = 0; i < snapshot_count; i++)
			snapshots[i] =
				(i ? snapshots[i - 1] : 95) + any(MOST / 2);
		rule.snapshots = snapshots;
		rule.snapshot_count = snapshot_count;
		rule.now = NOW;
		rule.deeper = deeper;
		rule.deeper_count = ranges;
		for (size_t i = 0; i < count; i++)
			before[i] = after[i] = true;
		for (size_t i = 0; i < upper; i++) {
			struct entry view = array_entry_view(&e[i]);
			enum merge_verdict v = MERGE_KEEP;
			bool first = !i || strcmp(e[i].key, e[i - 1].key) != 0;
			bool gone = e[i].kind == ENTRY_TOMBSTONE ||
			            e[i].expires == NOW;
			unsigned k = (unsigned)(e[i].key[0] - '0');

			assert_int_equal(merge_judge(&rule, &view, &v, NULL),
			                 0);
			assert_true(rule.first == first);
			after[i] = v == MERGE_KEEP;
			assert_true((v == MERGE_TOMBSTONE) <=
			            (e[i].kind == ENTRY_TOMBSTONE));
			assert_true((v == MERGE_EXPIRED) <=
			            (e[i].expires == NOW));
			/* The newest of a key all can see hides nothing. */
			if (first && gone && !deep[k] &&
			    (!snapshot_count || snapshots[0] >= e[i].version))
				assert_true(v != MERGE_KEEP);
			/* Without snapshots only one version stays. */
			if (!snapshot_count && !first)
				assert_int_equal(v, MERGE_SHADOWED);
		}
		for (unsigned k = 0; k < KEYS; k++) {
			char key[2] = { (char)('0' + k), 0 };

			for (size_t s = 0; s <= snapshot_count; s++) {
				uint64_t at = s < snapshot_count ? snapshots[s]
				                                 : VERSION_MAX;

				assert_int_equal(
					seen(e, before, count, key, at, NOW),
					seen(e, after, count, key, at, NOW));
			}
		}
		for (size_t i = 0; i < ranges; i++) {
			buf_release(&deeper[i].smallest);
			buf_release(&deeper[i].largest);
		}
		merge_rule_release(&rule);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_random_walk),
		cmocka_unit_test(test_duplicate),
		cmocka_unit_test(test_child_error),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_rule_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
