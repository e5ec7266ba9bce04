/* SPDX-License-Identifier: ISC */
/* Unit tests of store/levels: edits of the tree, its rules, finding files. */
#include "store/levels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/fake_sst.h"

/* Applies an edit that adds one file. Takes t and base over. */
static int
add(struct levels **l, unsigned level, struct sst *t, struct err *err)
{
	struct levels_added added = { level, t };
	struct levels_edit edit = { &added, 1, NULL, 0 };
	struct levels *next = NULL;
	int rc = levels_apply(*l, &edit, &next, err);

	sst_unref(t);
	if (rc) {
		assert_null(next);
		return rc;
	}
	levels_unref(*l);
	*l = next;
	return 0;
}

/* Files go where they belong: level 0 newest first, others by key. */
static void
test_order(void **state)
{
	struct levels *l = levels_new();

	(void)state;
	assert_int_equal(add(&l, 0, fake_sst_new(1, "a", "z", 1, 10), NULL), 0);
	assert_int_equal(add(&l, 0, fake_sst_new(3, "b", "c", 21, 30), NULL),
	                 0);
	assert_int_equal(add(&l, 0, fake_sst_new(2, "a", "b", 11, 20), NULL),
	                 0);
	assert_int_equal(add(&l, 1, fake_sst_new(5, "m", "p", 1, 2), NULL), 0);
	assert_int_equal(add(&l, 1, fake_sst_new(4, "q", "r", 1, 2), NULL), 0);
	assert_int_equal(add(&l, 1, fake_sst_new(6, "c", "d", 1, 2), NULL), 0);
	assert_int_equal(l->level[0].count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(sst_info_of(l->level[0].files[i])->number == 3 - i);
	assert_true(sst_info_of(l->level[1].files[0])->number == 6);
	assert_true(sst_info_of(l->level[1].files[1])->number == 5);
	assert_true(sst_info_of(l->level[1].files[2])->number == 4);
	assert_true(l->level[1].bytes == 3000);
	assert_true(levels_bytes(l) == 6000);
	assert_true(levels_entries(l) == 60);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/* An edit that would break a rule of the tree is refused, whole. */
static void
test_refused(void **state)
{
	struct levels *l = levels_new();
	struct err err = ERR_INIT;
	struct levels *out = NULL;
	struct levels_removed nothing[2] = { { 1, 99 }, { 1, 99 } };
	struct levels_edit edit = { NULL, 0, nothing, 1 };

	(void)state;
	assert_int_equal(add(&l, 0, fake_sst_new(1, "a", "z", 5, 10), NULL), 0);
	assert_int_equal(add(&l, 2, fake_sst_new(2, "c", "f", 1, 2), NULL), 0);
	/* versions of level 0 overlap */
	assert_int_equal(add(&l, 0, fake_sst_new(3, "a", "b", 10, 12), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 0, fake_sst_new(3, "a", "b", 1, 5), &err),
	                 LSMKV_ECORRUPT);
	/* keys below overlap, by one key, inside, around, the same */
	assert_int_equal(add(&l, 2, fake_sst_new(3, "f", "g", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 2, fake_sst_new(3, "a", "c", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 2, fake_sst_new(3, "d", "e", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 2, fake_sst_new(3, "a", "z", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 2, fake_sst_new(3, "c", "f", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "sst 3"));
	/* a number twice, in one level or two */
	assert_int_equal(add(&l, 1, fake_sst_new(2, "x", "y", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 2, fake_sst_new(2, "x", "y", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	/* files that cannot be, and levels that are not there */
	assert_int_equal(add(&l, 1, fake_sst_new(9, "y", "x", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 1, fake_sst_new(9, "x", "y", 2, 1), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(add(&l, 1, fake_sst_new(0, "x", "y", 1, 2), &err),
	                 LSMKV_ECORRUPT);
	assert_int_equal(
		add(&l, LEVELS_MAX, fake_sst_new(9, "x", "y", 1, 2), &err),
		LSMKV_ECORRUPT);
	/* what is not there, or twice, cannot be removed */
	assert_int_equal(levels_apply(l, &edit, &out, &err), LSMKV_ECORRUPT);
	nothing[0] = nothing[1] = (struct levels_removed){ 2, 2 };
	edit.removed_count = 2;
	assert_int_equal(levels_apply(l, &edit, &out, &err), LSMKV_ECORRUPT);
	nothing[0].level = 1;
	edit.removed_count = 1;
	assert_int_equal(levels_apply(l, &edit, &out, &err), LSMKV_ECORRUPT);
	assert_null(out);
	assert_int_equal(l->level[0].count, 1);
	assert_int_equal(l->level[2].count, 1);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/* Inputs out and outputs in is one step, and the old tree stays as it was. */
static void
test_replace(void **state)
{
	struct levels *l = levels_new(), *next = NULL;
	struct levels_removed removed[2] = { { 0, 1 }, { 1, 2 } };
	struct levels_added added[2] = {
		{ 1, fake_sst_new(3, "a", "m", 1, 9) },
		{ 1, fake_sst_new(4, "n", "z", 1, 9) },
	};
	struct levels_edit edit = { added, 2, removed, 2 };

	(void)state;
	assert_int_equal(add(&l, 0, fake_sst_new(1, "a", "z", 5, 10), NULL), 0);
	assert_int_equal(add(&l, 1, fake_sst_new(2, "c", "x", 1, 2), NULL), 0);
	assert_int_equal(levels_apply(l, &edit, &next, NULL), 0);
	assert_int_equal(l->level[0].count, 1);
	assert_int_equal(l->level[1].count, 1);
	assert_int_equal(next->level[0].count, 0);
	assert_int_equal(next->level[1].count, 2);
	levels_unref(l);
	sst_unref(added[0].file);
	sst_unref(added[1].file);
	assert_int_equal(fake_sst_alive, 2);
	levels_unref(next);
	assert_int_equal(fake_sst_alive, 0);
}

/* A file that is removed and added moves from one level to another. */
static void
test_move(void **state)
{
	struct levels *l = levels_new(), *next = NULL;
	struct levels_removed removed = { 1, 7 };
	struct levels_added added = { 2, NULL };
	struct levels_edit edit = { &added, 1, &removed, 1 };

	(void)state;
	assert_int_equal(add(&l, 1, fake_sst_new(7, "c", "x", 1, 2), NULL), 0);
	added.file = l->level[1].files[0];
	assert_int_equal(levels_apply(l, &edit, &next, NULL), 0);
	levels_unref(l);
	assert_int_equal(next->level[1].count, 0);
	assert_int_equal(next->level[1].bytes, 0);
	assert_true(sst_info_of(next->level[2].files[0])->number == 7);
	levels_unref(next);
	assert_int_equal(fake_sst_alive, 0);
}

/* Finding and overlap agree with looking at every file. */
static void
test_find(void **state)
{
	struct levels *l = levels_new();
	char a[8], b[8];
	size_t first, count;

	(void)state;
	/* files of keys 10-14, 20-24, ... 90-94 */
	for (unsigned i = 1; i < 10; i++) {
		snprintf(a, sizeof(a), "%u0", i);
		snprintf(b, sizeof(b), "%u4", i);
		assert_int_equal(add(&l, 3, fake_sst_new(i, a, b, 1, 2), NULL),
		                 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct sst *t;

		snprintf(a, sizeof(a), "%02u", i);
		t = levels_find(l, 3, slice_str(a));
		if (i >= 10 && i % 10 <= 4) {
			assert_non_null(t);
			assert_true(sst_info_of(t)->number == i / 10);
		} else {
			assert_null(t);
		}
		for (unsigned j = i; j < 100; j++) {
			size_t n = 0, from = 0;

			snprintf(b, sizeof(b), "%02u", j);
			for (unsigned f = 1; f < 10; f++)
				if (f * 10 <= j && f * 10 + 4 >= i) {
					if (!n++)
						from = f - 1;
				}
			levels_overlap(l, 3, slice_str(a), slice_str(b), &first,
			               &count);
			assert_int_equal(count, n);
			if (n)
				assert_int_equal(first, from);
		}
	}
	assert_null(levels_find(l, 1, slice_str("50")));
	levels_overlap(l, 1, slice_str("0"), slice_str("9"), &first, &count);
	assert_int_equal(count, 0);
	levels_unref(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_replace), cmocka_unit_test(test_move),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
