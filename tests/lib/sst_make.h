/* SPDX-License-Identifier: ISC */
/*
 * Real SSTs from arrays of entries, for tests of what works on files.
 * Included as "lib/sst_make.h", behind cmocka.h.
 */
#ifndef LSMKV_TESTS_LIB_SST_MAKE_H
#define LSMKV_TESTS_LIB_SST_MAKE_H

#include "lib/array_iter.h"
#include "store/sst.h"

static const struct sst_options sst_make_options = { 256, 10, 1 };

/* Writes entries, which are in store order; info is the caller's to release. */
static inline void
sst_make(struct fs_dir *dir, uint64_t number, const struct array_entry *e,
         size_t count, struct sst_info *info)
{
	struct sst_writer *w = NULL;
	struct err err = ERR_INIT;

	memset(info, 0, sizeof(*info));
	if (sst_writer_open(&w, dir, number, &sst_make_options, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < count; i++) {
		struct entry view = array_entry_view(&e[i]);

		if (view.kind == ENTRY_TOMBSTONE)
			view.value = slice_make(NULL, 0);
		if (sst_writer_add(w, &view, &err))
			fail_msg("%s", err.message);
	}
	if (sst_writer_finish(w, info, &err))
		fail_msg("%s", err.message);
}

/* Appends all entries of an SST to out; returns how many there are then. */
static inline size_t
sst_read_all(struct sst *t, struct array_entry *out, size_t at, size_t room)
{
	struct iter *it = NULL;
	struct err err = ERR_INIT;
	int rc = sst_iter_new(&it, t, false, &err);

	if (!rc)
		rc = iter_first(it, &err);
	while (!rc && it->valid) {
		struct array_entry *e = &out[at++];

		assert_true(at <= room);
		memset(e, 0, sizeof(*e));
		assert_true(it->entry.key.len < ARRAY_TEXT_MAX);
		assert_true(it->entry.value.len < ARRAY_TEXT_MAX);
		memcpy(e->key, it->entry.key.data, it->entry.key.len);
		if (it->entry.value.len)
			memcpy(e->value, it->entry.value.data,
			       it->entry.value.len);
		e->version = it->entry.version;
		e->expires = it->entry.expires;
		e->kind = it->entry.kind;
		rc = iter_next(it, &err);
	}
	if (rc)
		fail_msg("%s", err.message);
	iter_close(it);
	return at;
}

#endif
