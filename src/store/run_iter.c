/* SPDX-License-Identifier: ISC */
/* See run_iter.h. */
#include <stdlib.h>

#include "store/run_iter.h"

struct run_iter {
	struct iter base;
	size_t count;                   /* of files */
	bool fill_cache;                /* for the files' iterators */
	struct readahead_pool *helpers; /* for them, too; NULL: none */
	size_t at;                      /* the file that `file` iterates */
	struct iter *file;              /* NULL: none is open */
	struct sst *files[];            /* references */
};

static void
close_file(struct run_iter *it)
{
	iter_close(it->file);
	it->file = NULL;
}

static int
open_file(struct run_iter *it, size_t at, struct err *err)
{
	int rc;

	if (it->file && it->at == at)
		return 0;
	close_file(it);
	it->at = at;
	rc = sst_iter_new(&it->file, it->files[at], it->fill_cache, err);
	if (!rc)
		sst_iter_read_ahead(it->file, it->helpers);
	return rc;
}

static int
invalid(struct run_iter *it, int rc)
{
	it->base.valid = false;
	if (rc)
		close_file(it);
	return rc;
}

/* After a move forward in file `at`: where it ran off, to the next ones. */
static int
settle_forward(struct run_iter *it, int rc, struct err *err)
{
	while (!rc && !it->file->valid) {
		if (it->at + 1 == it->count)
			return invalid(it, 0);
		rc = open_file(it, it->at + 1, err);
		if (!rc)
			rc = iter_first(it->file, err);
	}
	if (rc)
		return invalid(it, rc);
	it->base.valid = true;
	it->base.entry = it->file->entry;
	return 0;
}

static int
settle_backward(struct run_iter *it, int rc, struct err *err)
{
	while (!rc && !it->file->valid) {
		if (!it->at)
			return invalid(it, 0);
		rc = open_file(it, it->at - 1, err);
		if (!rc)
			rc = iter_last(it->file, err);
	}
	if (rc)
		return invalid(it, rc);
	it->base.valid = true;
	it->base.entry = it->file->entry;
	return 0;
}

/* The first file whose largest key is not before key; count if none. */
static size_t
find_file(const struct run_iter *it, struct slice key)
{
	size_t low = 0, high = it->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct sst_info *info = sst_info_of(it->files[mid]);

		if (slice_cmp(buf_slice(&info->largest), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int
run_seek(struct iter *base, struct slice key, uint64_t version, struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;
	size_t at = find_file(it, key);
	int rc;

	if (at == it->count)
		return invalid(it, 0);
	rc = open_file(it, at, err);
	if (!rc)
		rc = iter_seek(it->file, key, version, err);
	return settle_forward(it, rc, err);
}

static int
run_seek_before(struct iter *base, struct slice key, uint64_t version,
                struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;
	size_t at = find_file(it, key);
	int rc;

	if (!it->count)
		return invalid(it, 0);
	if (at == it->count)
		at--;
	rc = open_file(it, at, err);
	if (!rc)
		rc = iter_seek_before(it->file, key, version, err);
	return settle_backward(it, rc, err);
}

static int
run_first(struct iter *base, struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;
	int rc;

	if (!it->count)
		return invalid(it, 0);
	rc = open_file(it, 0, err);
	if (!rc)
		rc = iter_first(it->file, err);
	return settle_forward(it, rc, err);
}

static int
run_last(struct iter *base, struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;
	int rc;

	if (!it->count)
		return invalid(it, 0);
	rc = open_file(it, it->count - 1, err);
	if (!rc)
		rc = iter_last(it->file, err);
	return settle_backward(it, rc, err);
}

static int
run_next(struct iter *base, struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;

	return settle_forward(it, iter_next(it->file, err), err);
}

static int
run_prev(struct iter *base, struct err *err)
{
	struct run_iter *it = (struct run_iter *)base;

	return settle_backward(it, iter_prev(it->file, err), err);
}

static void
run_close(struct iter *base)
{
	struct run_iter *it = (struct run_iter *)base;

	close_file(it);
	for (size_t i = 0; i < it->count; i++)
		sst_unref(it->files[i]);
	free(it);
}

static const struct iter_ops run_iter_ops = {
	.seek = run_seek,
	.seek_before = run_seek_before,
	.first = run_first,
	.last = run_last,
	.next = run_next,
	.prev = run_prev,
	.close = run_close,
};

int
run_iter_new(struct iter **out, struct sst *const *files, size_t count,
             bool fill_cache, struct err *err)
{
	size_t size = sizeof(struct run_iter) + count * sizeof(struct sst *);
	struct run_iter *it = calloc(1, size);

	*out = NULL;
	if (!it)
		return err_nomem(err, size);
	it->base.ops = &run_iter_ops;
	it->count = count;
	it->fill_cache = fill_cache;
	for (size_t i = 0; i < count; i++)
		it->files[i] = sst_ref(files[i]);
	*out = &it->base;
	return 0;
}

void
run_iter_read_ahead(struct iter *base, struct readahead_pool *p)
{
	struct run_iter *it = (struct run_iter *)base;

	it->helpers = p;
	if (it->file)
		sst_iter_read_ahead(it->file, p);
}
