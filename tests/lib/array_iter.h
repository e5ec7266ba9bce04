/* SPDX-License-Identifier: ISC */
/*
 * A sorted array as an iterator: the plainest source of entries there is, for
 * tests of what stands on iterators. Its moves can be made to fail. To show
 * that nothing is read after a move, each entry is handed out as a copy that
 * the next move overwrites. Included as "lib/array_iter.h".
 */
#ifndef LSMKV_TESTS_LIB_ARRAY_ITER_H
#define LSMKV_TESTS_LIB_ARRAY_ITER_H

#include <stdlib.h>

#include "store/iter.h"

#define ARRAY_TEXT_MAX 64 /* bytes of a key or a value */

/* An entry that owns what it says. */
struct array_entry {
	char key[ARRAY_TEXT_MAX];
	char value[ARRAY_TEXT_MAX];
	uint64_t version;
	uint64_t expires;
	enum entry_kind kind;
};

struct array_iter {
	struct iter it;
	const struct array_entry *entries; /* borrowed, in store order */
	size_t count;
	size_t at;                /* count: not valid */
	struct array_entry shown; /* what `it` borrows from */
	int fail_after;           /* moves until one fails; -1: never */
	int *closed;              /* counts closes; NULL allowed */
};

static inline struct entry
array_entry_view(const struct array_entry *a)
{
	struct entry e = { slice_str(a->key), slice_str(a->value), a->version,
		           a->expires, a->kind };

	return e;
}

/* Store order, for qsort. */
static inline int
array_entry_order(const void *a, const void *b)
{
	const struct array_entry *x = a, *y = b;

	return entry_order(slice_str(x->key), x->version, slice_str(y->key),
	                   y->version);
}

static inline int
array_iter_show(struct array_iter *a, size_t at, struct err *err)
{
	a->at = at;
	a->it.valid = false;
	memset(&a->shown, 0x5a, sizeof(a->shown));
	if (a->fail_after >= 0 && a->fail_after-- == 0)
		return err_set(err, LSMKV_EIO, "planted");
	if (at >= a->count)
		return 0;
	a->shown = a->entries[at];
	a->it.entry = array_entry_view(&a->shown);
	a->it.valid = true;
	return 0;
}

/* Entries before (key, version). */
static inline size_t
array_iter_rank(const struct array_iter *a, struct slice key, uint64_t version)
{
	size_t n = 0;

	while (n < a->count &&
	       entry_order(slice_str(a->entries[n].key), a->entries[n].version,
	                   key, version) < 0)
		n++;
	return n;
}

static inline int
array_iter_seek(struct iter *it, struct slice key, uint64_t version,
                struct err *err)
{
	struct array_iter *a = (struct array_iter *)it;

	return array_iter_show(a, array_iter_rank(a, key, version), err);
}

static inline int
array_iter_seek_before(struct iter *it, struct slice key, uint64_t version,
                       struct err *err)
{
	struct array_iter *a = (struct array_iter *)it;
	size_t n = array_iter_rank(a, key, version);

	return array_iter_show(a, n ? n - 1 : a->count, err);
}

static inline int
array_iter_first(struct iter *it, struct err *err)
{
	return array_iter_show((struct array_iter *)it, 0, err);
}

static inline int
array_iter_last(struct iter *it, struct err *err)
{
	struct array_iter *a = (struct array_iter *)it;

	return array_iter_show(a, a->count ? a->count - 1 : 0, err);
}

static inline int
array_iter_next(struct iter *it, struct err *err)
{
	struct array_iter *a = (struct array_iter *)it;

	return array_iter_show(a, a->at + 1, err);
}

static inline int
array_iter_prev(struct iter *it, struct err *err)
{
	struct array_iter *a = (struct array_iter *)it;

	return array_iter_show(a, a->at ? a->at - 1 : a->count, err);
}

static inline void
array_iter_close(struct iter *it)
{
	struct array_iter *a = (struct array_iter *)it;

	if (a->closed)
		++*a->closed;
	free(a);
}

static inline struct iter *
array_iter_new(const struct array_entry *entries, size_t count)
{
	static const struct iter_ops ops = {
		array_iter_seek,  array_iter_seek_before, array_iter_first,
		array_iter_last,  array_iter_next,        array_iter_prev,
		array_iter_close,
	};
	struct array_iter *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	a->it.ops = &ops;
	a->entries = entries;
	a->count = a->at = count;
	a->fail_after = -1;
	return &a->it;
}

#endif
