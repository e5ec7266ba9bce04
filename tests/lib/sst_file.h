/* SPDX-License-Identifier: ISC */
/*
 * One SST in a directory of its own, with a cache, and the sorted array of
 * entries that it is made of and compared with: for tests of the SST itself.
 * Included as "lib/sst_file.h", behind cmocka.h.
 */
#ifndef LSMKV_TESTS_LIB_SST_FILE_H
#define LSMKV_TESTS_LIB_SST_FILE_H

#include <stdlib.h>

#include "lib/tmpdir.h"
#include "store/block_cache.h"
#include "store/sst.h"

#define FILE_NUMBER 1
#define FILE_NAME "000001.sst"

/* ---- the array ---- */

struct model {
	struct entry *entry; /* in store order; keys and values are owned */
	size_t count;
};

static inline struct slice
copy(const void *data, size_t len)
{
	unsigned char *to = (unsigned char *)malloc(len + !len);

	assert_non_null(to);
	if (len)
		memcpy(to, data, len);
	return slice_make(to, len);
}

static inline int
by_order(const void *a, const void *b)
{
	const struct entry *x = (const struct entry *)a;
	const struct entry *y = (const struct entry *)b;

	return entry_order(x->key, x->version, y->key, y->version);
}

static inline void
model_sort(struct model *m)
{
	qsort(m->entry, m->count, sizeof(*m->entry), by_order);
}

static inline void
model_free(struct model *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free((void *)(uintptr_t)m->entry[i].key.data);
		free((void *)(uintptr_t)m->entry[i].value.data);
	}
	free(m->entry);
}

static inline bool
same(const struct entry *a, const struct entry *b)
{
	return slice_equal(a->key, b->key) && slice_equal(a->value, b->value) &&
	       a->version == b->version && a->expires == b->expires &&
	       a->kind == b->kind;
}

/* ---- the file ---- */

struct fixture {
	char *path;
	struct fs_dir *dir;
	struct block_cache *cache;
	struct sst_info info; /* once it is written */
	struct model m;       /* for who wants it here; goes with the rest */
};

static inline void
make_dir(struct fixture *f, size_t cache_bytes)
{
	memset(f, 0, sizeof(*f));
	f->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	f->cache = block_cache_new(cache_bytes);
	assert_non_null(f->cache);
}

static inline void
free_dir(struct fixture *f)
{
	struct block_cache_stat before, s;

	/* Whoever closed the SST left nothing in the cache, pinned or not. */
	block_cache_get_stat(f->cache, &before);
	block_cache_set_capacity(f->cache, 0);
	block_cache_get_stat(f->cache, &s);
	assert_int_equal(s.used, 0);
	assert_int_equal(s.evictions, before.evictions);
	block_cache_free(f->cache);
	sst_info_release(&f->info);
	model_free(&f->m);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
}

static inline void
write_sst(struct fixture *f, const struct model *m,
          const struct sst_options *options)
{
	struct sst_writer *w;
	struct err err = ERR_INIT;

	assert_int_equal(
		sst_writer_open(&w, f->dir, FILE_NUMBER, options, &err), 0);
	for (size_t i = 0; i < m->count; i++)
		if (sst_writer_add(w, &m->entry[i], &err))
			fail_msg("add: %s", err.message);
	sst_info_release(&f->info);
	if (sst_writer_finish(w, &f->info, &err))
		fail_msg("finish: %s", err.message);
}

static inline struct sst *
open_sst(struct fixture *f)
{
	struct sst *t;
	struct err err = ERR_INIT;

	if (sst_open(&t, f->dir, &f->info, f->cache, &err))
		fail_msg("open: %s", err.message);
	return t;
}

/* Forward and back again it gives what is in the array. */
static inline void
check_walks(struct sst *t, const struct model *m, bool fill_cache)
{
	struct iter *it;
	size_t n = 0;

	assert_int_equal(sst_iter_new(&it, t, fill_cache, NULL), 0);
	assert_false(it->valid);
	for (assert_int_equal(iter_first(it, NULL), 0); it->valid; n++) {
		assert_true(n < m->count && same(&it->entry, &m->entry[n]));
		assert_int_equal(iter_next(it, NULL), 0);
	}
	assert_int_equal(n, m->count);
	for (assert_int_equal(iter_last(it, NULL), 0); it->valid; n--) {
		assert_true(n && same(&it->entry, &m->entry[n - 1]));
		assert_int_equal(iter_prev(it, NULL), 0);
	}
	assert_int_equal(n, 0);
	iter_close(it);
}

#endif
