/* SPDX-License-Identifier: ISC */
/*
 * The tree of SSTs: building the next one out of the present one and an edit,
 * and finding files in it by key.
 *
 * Everything that becomes the truth of a store passes levels_apply, whoever
 * made it: it is the last place that can refuse a tree whose order or overlap
 * would show old data to readers. Runs in the responder only; pure.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/levels.h"

struct levels *
levels_new(void)
{
	struct levels *l = calloc(1, sizeof(*l));

	if (l)
		atomic_init(&l->refs, 1);
	return l;
}

struct levels *
levels_ref(struct levels *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void
levels_unref(struct levels *l)
{
	if (!l ||
	    atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned n = 0; n < LEVELS_MAX; n++) {
		for (size_t i = 0; i < l->level[n].count; i++)
			sst_unref(l->level[n].files[i]);
		free(l->level[n].files);
	}
	free(l);
}

static inline struct slice
smallest_of(const struct sst *t)
{
	return buf_slice(&sst_info_of(t)->smallest);
}

static inline struct slice
largest_of(const struct sst *t)
{
	return buf_slice(&sst_info_of(t)->largest);
}

/* ---- the next tree ---- */

/* Level 0: newest first. */
static int
by_age(const void *a, const void *b)
{
	uint64_t x = sst_info_of(*(struct sst *const *)a)->max_version;
	uint64_t y = sst_info_of(*(struct sst *const *)b)->max_version;

	if (PLANTED("levels.oldest_first"))
		return (x > y) - (x < y);
	return (x < y) - (x > y);
}

static int
by_key(const void *a, const void *b)
{
	return slice_cmp(smallest_of(*(struct sst *const *)a),
	                 smallest_of(*(struct sst *const *)b));
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool
is_removed(const struct levels_edit *edit, unsigned n, uint64_t number)
{
	for (size_t i = 0; i < edit->removed_count; i++)
		if (edit->removed[i].level == n &&
		    edit->removed[i].number == number)
			return true;
	return false;
}

/* Fills level n of l; counts in *gone what the edit took away. */
static int
apply_level(struct level *to, const struct level *base,
            const struct levels_edit *edit, unsigned n, size_t *gone,
            struct err *err)
{
	size_t room = base->count;

	for (size_t i = 0; i < edit->added_count; i++)
		room += edit->added[i].level == n;
	if (!room)
		return 0;
	to->files = calloc(room, sizeof(*to->files));
	if (!to->files)
		return err_nomem(err, room * sizeof(*to->files));
	for (size_t i = 0; i < base->count; i++) {
		struct sst *t = base->files[i];

		if (is_removed(edit, n, sst_info_of(t)->number))
			++*gone;
		else
			to->files[to->count++] = sst_ref(t);
	}
	for (size_t i = 0; i < edit->added_count; i++)
		if (edit->added[i].level == n)
			to->files[to->count++] = sst_ref(edit->added[i].file);
	qsort(to->files, to->count, sizeof(*to->files), n ? by_key : by_age);
	for (size_t i = 0; i < to->count; i++)
		to->bytes += sst_info_of(to->files[i])->size;
	return 0;
}

static int
check_file(const struct sst *t, unsigned n, struct err *err)
{
	const struct sst_info *info = sst_info_of(t);

	if (!info->number || !info->entries || !info->smallest.len ||
	    info->min_version > info->max_version ||
	    info->tombstones > info->entries ||
	    slice_cmp(buf_slice(&info->smallest), buf_slice(&info->largest)) >
	            0)
		return err_set(err, LSMKV_ECORRUPT,
		               "sst %" PRIu64 " in level %u: what is known of "
		               "it makes no sense",
		               info->number, n);
	return 0;
}

/* The invariants at the head of levels.h, of one level. */
static int
check_level(const struct level *level, unsigned n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < level->count && !rc; i++) {
		const struct sst_info *info = sst_info_of(level->files[i]);
		const struct sst_info *next =
			i + 1 < level->count ? sst_info_of(level->files[i + 1])
					     : NULL;

		rc = check_file(level->files[i], n, err);
		if (rc || !next)
			break;
		if (!n && info->min_version <= next->max_version)
			return err_set(err, LSMKV_ECORRUPT,
			               "level 0: versions of sst %" PRIu64
			               " and sst %" PRIu64 " overlap",
			               info->number, next->number);
		if (n && slice_cmp(buf_slice(&info->largest),
		                   buf_slice(&next->smallest)) >= 0)
			return err_set(err, LSMKV_ECORRUPT,
			               "level %u: keys of sst %" PRIu64
			               " and sst %" PRIu64 " overlap",
			               n, info->number, next->number);
	}
	return rc;
}

static int
check_numbers(const struct levels *l, struct err *err)
{
	size_t count = 0, at = 0;
	uint64_t *numbers = NULL;
	int rc = 0;

	for (unsigned n = 0; n < LEVELS_MAX; n++)
		count += l->level[n].count;
	if (!count)
		return 0;
	numbers = calloc(count, sizeof(*numbers));
	if (!numbers)
		return err_nomem(err, count * sizeof(*numbers));
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < l->level[n].count; i++)
			numbers[at++] =
				sst_info_of(l->level[n].files[i])->number;
	qsort(numbers, count, sizeof(*numbers), by_number);
	for (size_t i = 1; i < count && !rc; i++)
		if (numbers[i] == numbers[i - 1])
			rc = err_set(err, LSMKV_ECORRUPT,
			             "sst %" PRIu64 " stands in the tree twice",
			             numbers[i]);
	free(numbers);
	return rc;
}

int
levels_apply(const struct levels *base, const struct levels_edit *edit,
             struct levels **out, struct err *err)
{
	struct levels *l = NULL;
	size_t gone = 0;
	int rc;

	*out = NULL;
	for (size_t i = 0; i < edit->added_count; i++)
		if (edit->added[i].level >= LEVELS_MAX)
			return err_set(err, LSMKV_ECORRUPT,
			               "there is no level %u",
			               edit->added[i].level);
	l = levels_new();
	if (!l)
		return err_nomem(err, sizeof(*l));
	for (unsigned n = 0; n < LEVELS_MAX; n++) {
		rc = apply_level(&l->level[n], &base->level[n], edit, n, &gone,
		                 err);
		if (!rc)
			rc = check_level(&l->level[n], n, err);
		if (rc)
			goto fail;
	}
	if (gone != edit->removed_count) {
		rc = err_set(err, LSMKV_ECORRUPT,
		             "%zu files are to be removed, but %zu of them "
		             "are in the tree",
		             edit->removed_count, gone);
		goto fail;
	}
	rc = check_numbers(l, err);
	if (rc)
		goto fail;
	*out = l;
	return 0;
fail:
	levels_unref(l);
	return rc;
}

/* ---- looking things up ---- */

/* The first file of a sorted level whose largest key is >= key. */
static size_t
first_reaching(const struct level *level, struct slice key)
{
	size_t low = 0, high = level->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_cmp(largest_of(level->files[mid]), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct sst *
levels_find(const struct levels *l, unsigned n, struct slice key)
{
	const struct level *level = &l->level[n];
	size_t i;

	assert(n >= 1 && n < LEVELS_MAX);
	i = first_reaching(level, key);
	if (i == level->count ||
	    slice_cmp(smallest_of(level->files[i]), key) > 0)
		return NULL;
	return level->files[i];
}

void
levels_overlap(const struct levels *l, unsigned n, struct slice smallest,
               struct slice largest, size_t *first, size_t *count)
{
	const struct level *level = &l->level[n];
	size_t low, high;

	assert(n >= 1 && n < LEVELS_MAX);
	*first = low = first_reaching(level, smallest);
	high = level->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_cmp(smallest_of(level->files[mid]), largest) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	*count = low - *first;
}

uint64_t
levels_bytes(const struct levels *l)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < LEVELS_MAX; n++)
		sum += l->level[n].bytes;
	return sum;
}

uint64_t
levels_entries(const struct levels *l)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < l->level[n].count; i++)
			sum += sst_info_of(l->level[n].files[i])->entries;
	return sum;
}
