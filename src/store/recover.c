/* SPDX-License-Identifier: ISC */
/*
 * Recovery: from the files of a directory to a store that can serve.
 *
 *  1. MANIFEST read; every SST that it names opened and held against it
 *  2. WAL replayed into memtables, each written to level 0 when it is full.
 *     What was recovered goes into new files and is synced: after a failed
 *     fsync the page cache may hold bytes that the disk does not.
 *  3. a new WAL segment made
 *  4. MANIFEST written: the new SSTs, the new segment as the oldest needed
 *  5. files that it does not name removed
 *
 * A crash before 4 leaves files that nobody names beside a MANIFEST and a WAL
 * as they were; the next recovery does the same again. No step overwrites or
 * removes anything before the new MANIFEST is durable, and nothing at all is
 * changed where damage is found.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/planted.h"
#include "store/names.h"
#include "store/store_impl.h"

/* Versions that may have been seen and then lost with an unsynced WAL. */
#define RELAXED_GAP (UINT64_C(1) << 32)

struct recovery {
	struct store *store;
	struct manifest manifest;   /* as it was found; empty for a new store */
	uint64_t highest;           /* file number in the directory; 0: none */
	bool has_files;             /* SSTs, or WAL segments */
	struct memtable *memtable;  /* being filled; NULL: none yet */
	struct levels_added *added; /* SSTs with their levels (references) */
	size_t added_count, added_cap;
	bool nomem;            /* while the directory was listed */
	uint64_t oldest;       /* for remove_file */
	struct levels *levels; /* the tree that results */
};

static int
note_file(void *arg, const char *name)
{
	struct recovery *r = arg;
	uint64_t number = 0;
	enum name_kind kind = name_parse(name, &number);

	if (kind == NAME_IS_SST || kind == NAME_IS_WAL)
		r->has_files = true;
	if (number > r->highest)
		r->highest = number;
	return 0;
}

static int
add_sst(struct recovery *r, unsigned level, struct sst *t, struct err *err)
{
	if (r->added_count == r->added_cap) {
		size_t cap = r->added_cap ? r->added_cap * 2 : 64;
		void *grown = reallocarray(r->added, cap, sizeof(*r->added));

		if (!grown)
			return err_nomem(err, cap * sizeof(*r->added));
		r->added = grown;
		r->added_cap = cap;
	}
	r->added[r->added_count].level = level;
	r->added[r->added_count++].file = t;
	return 0;
}

/* ---- 1: the MANIFEST and its SSTs ---- */

static int
is_sst_or_written_wal(void *arg, const char *name)
{
	struct recovery *r = arg;
	struct wal_scan scan;
	uint64_t number;

	switch (name_parse(name, &number)) {
	case NAME_IS_SST:
		return 1;
	case NAME_IS_WAL:
		return wal_scan_segment(r->store->dir, number, NULL, NULL,
		                        &scan, NULL) != 0 ||
		       scan.records || scan.tail != WAL_TAIL_CLEAN;
	default:
		return 0;
	}
}

/*
 * Without a MANIFEST a directory is a new store, if it holds no data. (A
 * crash while a store is created leaves a WAL segment without records.)
 */
static int
check_new(struct recovery *r, struct err *err)
{
	struct store *s = r->store;
	int rc = fs_dir_list(s->dir, is_sst_or_written_wal, r, err);

	if (rc > 0)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: data files, but no MANIFEST: restore it, "
		               "or give another directory; nothing was changed",
		               s->dir->path);
	return rc;
}

static int
open_ssts(struct recovery *r, struct err *err)
{
	struct store *s = r->store;

	for (size_t i = 0; i < r->manifest.file_count; i++) {
		const struct manifest_file *f = &r->manifest.files[i];
		struct sst *t = NULL;
		int rc = sst_open(&t, s->dir, &f->info, s->cache, err);

		if (rc == LSMKV_NOTFOUND) {
			char name[NAME_MAX_LEN];

			rc = err_set(err, LSMKV_ECORRUPT,
			             "%s/%s is missing: the MANIFEST names it",
			             s->dir->path,
			             name_sst(f->info.number, name));
		}
		if (!rc)
			rc = add_sst(r, f->level, t, err);
		if (rc) {
			sst_unref(t);
			return rc;
		}
	}
	return 0;
}

/* ---- 2: the WAL ---- */

static int
flush_recovered(struct recovery *r, struct err *err)
{
	struct sst *t = NULL;
	int rc;

	if (!r->memtable)
		return 0;
	rc = flush_write_sst(r->store, r->memtable, &t, err);
	memtable_unref(r->memtable);
	r->memtable = NULL;
	if (!rc && t) {
		rc = add_sst(r, 0, t, err);
		if (rc)
			sst_unref(t);
	}
	return rc;
}

static int
recover_record(void *arg, const struct wal_record *record, struct err *err)
{
	struct recovery *r = arg;
	struct reader reader = wal_record_reader(record);
	struct entry e;
	int rc = 0;

	/* In the tree already: its flush was done, its segment stayed. */
	if (record->first_version <= r->manifest.last_version)
		return 0;
	if (!r->memtable) {
		r->memtable = memtable_new(record->segment);
		if (!r->memtable)
			return err_nomem(err, sizeof(r->memtable));
	}
	while (!rc && reader_left(&reader)) {
		if (!wal_record_entry(record, &reader, &e))
			return err_set(err, LSMKV_ECORRUPT,
			               "WAL %" PRIu64 ": record at %" PRIu64
			               " does not decode",
			               record->segment, record->offset);
		rc = memtable_reserve(r->memtable, memtable_entry_bytes(&e),
		                      err);
		if (!rc)
			memtable_add(r->memtable, &e);
	}
	atomic_store(&r->store->published,
	             record->first_version + record->count - 1);
	if (!rc &&
	    memtable_bytes(r->memtable) >= r->store->options.memtable_bytes)
		rc = flush_recovered(r, err);
	return rc;
}

static int
replay(struct recovery *r, struct err *err)
{
	struct store *s = r->store;
	struct wal_replay_result result;
	uint64_t start = clock_mono_ns(), last = r->manifest.last_version;
	int rc;

	rc = wal_replay(s->dir, r->manifest.wal_oldest, recover_record, r,
	                &result, err);
	if (rc)
		return rc;
	rc = flush_recovered(r, err);
	if (rc)
		return rc;
	if (result.last_version > last)
		last = result.last_version;
	if (result.relaxed)
		last += PLANTED("recover.no_version_gap") ? 0 : RELAXED_GAP;
	atomic_store(&s->published, last);
	if (result.dropped_segment) {
		char name[NAME_MAX_LEN];

		log_warn("recovery: %s ends at %" PRIu64 " with an unfinished "
		         "write (%s); it was never acknowledged as durable "
		         "and is dropped",
		         name_wal(result.dropped_segment, name),
		         result.dropped_offset, result.dropped_reason);
	}
	if (result.records)
		log_info("recovery: %" PRIu64 " WAL records, %" PRIu64
		         " entries, up to version %" PRIu64 ", %" PRIu64 " ms",
		         result.records, result.entries, result.last_version,
		         (clock_mono_ns() - start) / 1000000);
	return 0;
}

/* ---- 3 to 5 ---- */

static int
begin_log(struct recovery *r, struct err *err)
{
	struct store *s = r->store;
	struct wal_header header = { 0 };
	int rc;

	header.segment = store_next_file(s);
	header.first_version = atomic_load(&s->published) + 1;
	header.relaxed = s->options.sync != SYNC_ALWAYS;
	rc = wal_create(&s->commit.wal, s->dir, &header, err);
	if (rc)
		return rc;
	s->commit.active = memtable_new(header.segment);
	if (!s->commit.active)
		return err_nomem(err, sizeof(s->commit.active));
	return 0;
}

static int
write_manifest(struct recovery *r, struct err *err)
{
	struct store *s = r->store;
	struct levels_edit edit = { 0 };
	struct levels *empty = levels_new();
	bool renamed;
	int rc;

	if (!empty)
		return err_nomem(err, sizeof(*empty));
	edit.added = r->added;
	edit.added_count = r->added_count;
	rc = levels_apply(empty, &edit, &r->levels, err);
	levels_unref(empty);
	if (rc)
		return rc;
	s->head.generation = r->manifest.generation + 1;
	s->head.last_version = atomic_load(&s->published);
	s->head.wal_oldest = wal_segment(s->commit.wal);
	s->head.next_file = atomic_load(&s->next_file);
	return manifest_save(s->dir, &s->head, r->levels, &renamed, err);
}

static bool
is_named(const struct recovery *r, uint64_t number)
{
	for (size_t i = 0; i < r->added_count; i++)
		if (sst_info_of(r->added[i].file)->number == number)
			return true;
	return false;
}

static int
remove_file(void *arg, const char *name)
{
	struct recovery *r = arg;
	struct err err = ERR_INIT;
	uint64_t number = 0;
	bool remove = false;

	switch (name_parse(name, &number)) {
	case NAME_IS_WAL:
		remove = number < r->oldest;
		break;
	case NAME_IS_SST:
		remove = !is_named(r, number);
		break;
	case NAME_IS_SST_TMP:
	case NAME_IS_MANIFEST_TMP:
		remove = true;
		break;
	case NAME_IS_LOCK:
	case NAME_IS_RESERVE:
	case NAME_IS_MANIFEST:
	case NAME_OTHER:
		break;
	}
	if (remove && fs_unlink(r->store->dir, name, &err))
		log_warn("recovery: %s", err.message);
	return 0;
}

static int
remove_unnamed(struct recovery *r, struct err *err)
{
	struct store *s = r->store;

	r->oldest = wal_segment(s->commit.wal);
	return fs_dir_list(s->dir, remove_file, r, err);
}

static int
first_view(struct recovery *r, struct err *err)
{
	struct store *s = r->store;
	struct view *v = view_new(s->commit.active, NULL, 0, r->levels);

	if (!v)
		return err_nomem(err, sizeof(*v));
	view_box_init(&s->views, v);
	memtable_unref(s->commit.active); /* the view holds it */
	return 0;
}

static int
recover(struct store *s, struct err *err)
{
	struct recovery r = { .store = s };
	int rc;

	rc = fs_dir_list(s->dir, note_file, &r, err);
	if (!rc)
		rc = manifest_load(s->dir, &r.manifest, err); /* 1 */
	if (rc == LSMKV_NOTFOUND) {
		rc = check_new(&r, err);
		if (!rc)
			log_info("new store in %s", s->dir->path);
	}
	if (rc)
		goto done;
	if (PLANTED("recover.reuses_numbers"))
		r.highest = 0;
	atomic_store(&s->next_file, r.highest + 1 > r.manifest.next_file
	                                    ? r.highest + 1
	                                    : r.manifest.next_file);
	rc = open_ssts(&r, err);
	if (!rc && r.manifest.generation)
		rc = replay(&r, err); /* 2 */
	/* To readers 0 means "as of now": no snapshot may be of version 0. */
	if (!rc && !atomic_load(&s->published))
		atomic_store(&s->published, 1);
	if (!rc)
		rc = begin_log(&r, err); /* 3 */
	if (!rc && PLANTED("recover.removes_first"))
		rc = remove_unnamed(&r, err);
	if (!rc)
		rc = write_manifest(&r, err); /* 4 */
	if (!rc)
		rc = first_view(&r, err);
	if (rc)
		goto done;
	r.oldest = s->head.wal_oldest;
	rc = remove_unnamed(&r, err); /* 5 */
done:
	for (size_t i = 0; i < r.added_count; i++)
		sst_unref(r.added[i].file);
	free(r.added);
	memtable_unref(r.memtable);
	levels_unref(r.levels);
	manifest_release(&r.manifest);
	return rc;
}

int
store_recover(struct store *s, struct err *err)
{
	int rc = recover(s, err);

	/* On a full disk the reserve is what there is to start with. */
	if (rc == LSMKV_ENOSPC && !atomic_load(&s->views.current) &&
	    reserve_give_up(&s->reserve)) {
		wal_close(s->commit.wal);
		s->commit.wal = NULL;
		memtable_unref(s->commit.active);
		s->commit.active = NULL;
		rc = recover(s, err);
	}
	return rc;
}
