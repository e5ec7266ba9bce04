/* SPDX-License-Identifier: ISC */
/*
 * The store's front door: opening and closing, reading, snapshots, figures.
 * Writing is in commit.c. Lock order: see store_impl.h.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/deflate.h"
#include "base/log.h"
#include "store/names.h"
#include "store/store_impl.h"

#define MEMORY_LEAST (1u << 20)
#define MEMTABLE_LEAST 4096u
#define MEMTABLE_MOST (64u << 20) /* when it is not given */
#define FILE_LEAST (256u << 10)   /* of an output SST, when it is not given */
#define FILE_MOST (16u << 20)

/* ---- options ---- */

void
store_options_init(struct store_options *options)
{
	memset(options, 0, sizeof(*options));
	options->memory_bytes = 256u << 20;
	options->sync = SYNC_ALWAYS;
	options->interval_ms = 100;
	options->idle_flush_ms = 5000;
	options->level0_slow = 12;
	options->level0_stop = 24;
	options->flush_deflate_level = DEFLATE_FAST;
	options->scrub_s = 7 * 24 * 3600;
	readahead_options_init(&options->readahead);
	options->compactor.level0_files = 8;
	options->compactor.silence_ms = 30000;
	options->compactor.retry_ms = 1000;
	options->compactor.reclaim_ms = 5000;
	options->compactor.sst.block_bytes = 2816;
	options->compactor.sst.bits_per_key = 10;
	options->compactor.sst.deflate_level = DEFLATE_DENSE;
}

static uint64_t
clamp(uint64_t v, uint64_t least, uint64_t most)
{
	return v < least ? least : v > most ? most : v;
}

static int
settle_options(struct store_options *o, struct err *err)
{
	struct compactor_options *c = &o->compactor;

	if (o->memory_bytes < MEMORY_LEAST)
		return err_set(err, LSMKV_EINVAL,
		               "memory: %llu bytes are too little; at least "
		               "1M is needed",
		               (unsigned long long)o->memory_bytes);
	if (!o->memtable_bytes)
		o->memtable_bytes = clamp(o->memory_bytes / 8, MEMTABLE_LEAST,
		                          MEMTABLE_MOST);
	if (o->memtable_bytes < MEMTABLE_LEAST ||
	    o->memtable_bytes > o->memory_bytes / (STORE_SEALED_MAX + 1))
		return err_set(err, LSMKV_EINVAL,
		               "memtable: %llu bytes; allowed is from %u bytes "
		               "to a third of the memory (%llu bytes)",
		               (unsigned long long)o->memtable_bytes,
		               MEMTABLE_LEAST,
		               (unsigned long long)o->memory_bytes);
	if (!o->readahead.after)
		return err_set(err, LSMKV_EINVAL, "readahead after no block");
	if (o->level0_stop <= o->level0_slow || !c->level0_files)
		return err_set(err, LSMKV_EINVAL,
		               "level 0: stop must be above slow");
	if (o->level0_stop <= c->level0_files)
		return err_set(err, LSMKV_EINVAL,
		               "level 0: stop must be above the files that "
		               "make a job, or nothing would ever go on");
	if (o->sync == SYNC_INTERVAL && !o->interval_ms)
		return err_set(err, LSMKV_EINVAL, "sync interval of 0");
	if (!c->level1_bytes)
		c->level1_bytes = 4 * o->memtable_bytes;
	if (!c->file_bytes)
		c->file_bytes = clamp(o->memtable_bytes, FILE_LEAST, FILE_MOST);
	return 0;
}

/* ---- files and failures ---- */

uint64_t
store_next_file(struct store *s)
{
	return atomic_fetch_add(&s->next_file, 1);
}

void
store_fail(struct store *s, const char *format, ...)
{
	va_list ap;
	bool first;

	pthread_mutex_lock(&s->failure_mutex);
	first = !atomic_load(&s->failed);
	if (first) {
		va_start(ap, format);
		vsnprintf(s->failure, sizeof(s->failure), format, ap);
		va_end(ap);
		atomic_store(&s->failed, true);
	}
	pthread_mutex_unlock(&s->failure_mutex);
	if (first)
		log_error("%s: writes are off until a restart, reads go on",
		          s->failure);
}

int
store_failed(struct store *s, struct err *err)
{
	if (!atomic_load_explicit(&s->failed, memory_order_acquire))
		return 0;
	return err_set(err, LSMKV_EFAILED, "writes are off until a restart: %s",
	               s->failure);
}

/* ---- what the compactor asks for ---- */

static struct levels *
host_levels(void *arg)
{
	struct store *s = arg;
	struct view_slot *slot;
	struct levels *l = levels_ref(view_enter(&s->views, &slot)->levels);

	view_leave(slot);
	return l;
}

static uint64_t
host_numbers(void *arg, unsigned count)
{
	struct store *s = arg;

	return atomic_fetch_add(&s->next_file, count);
}

static int
host_snapshots(void *arg, uint64_t **versions, size_t *count, struct err *err)
{
	return store_snapshot_list(arg, versions, count, err);
}

static int
host_install(void *arg, const struct levels_edit *edit, struct err *err)
{
	return flush_install(arg, edit, NULL, err);
}

static int
start_compactor(struct store *s, struct err *err)
{
	struct compactor_host host = {
		.arg = s,
		.dir = s->dir,
		.lock_fd = s->lock.fd,
		.cache = s->cache,
		.levels = host_levels,
		.numbers = host_numbers,
		.snapshots = host_snapshots,
		.install = host_install,
	};

	return compactor_start(&s->compactor, &s->options.compactor, &host,
	                       err);
}

/* ---- open and close ---- */

static void
init_sync(struct store *s)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->view_mutex, NULL);
	pthread_mutex_init(&s->manifest_mutex, NULL);
	pthread_mutex_init(&s->snapshot_mutex, NULL);
	pthread_mutex_init(&s->failure_mutex, NULL);
	commit_queue_init(&s->commit.queue, s->options.sync == SYNC_ALWAYS);
	pthread_mutex_init(&s->commit.wal_mutex, NULL);
	pthread_mutex_init(&s->commit.spare_mutex, NULL);
	pthread_cond_init(&s->commit.sync_wake, &monotonic);
	pthread_mutex_init(&s->flush.mutex, NULL);
	pthread_cond_init(&s->flush.wake, &monotonic);
	pthread_cond_init(&s->flush.done, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

static void
destroy_sync(struct store *s)
{
	pthread_mutex_destroy(&s->view_mutex);
	pthread_mutex_destroy(&s->manifest_mutex);
	pthread_mutex_destroy(&s->snapshot_mutex);
	pthread_mutex_destroy(&s->failure_mutex);
	commit_queue_release(&s->commit.queue);
	pthread_mutex_destroy(&s->commit.wal_mutex);
	pthread_mutex_destroy(&s->commit.spare_mutex);
	pthread_cond_destroy(&s->commit.sync_wake);
	pthread_mutex_destroy(&s->flush.mutex);
	pthread_cond_destroy(&s->flush.wake);
	pthread_cond_destroy(&s->flush.done);
}

int
store_open(struct store **out, const char *path,
           const struct store_options *options, struct err *err)
{
	struct store *s = NULL;
	int rc;

	*out = NULL;
	s = aligned_alloc(_Alignof(struct store), sizeof(*s));
	if (!s)
		return err_nomem(err, sizeof(*s));
	memset(s, 0, sizeof(*s));
	s->lock = (struct fs_file)FS_FILE_INIT;
	s->options = *options;
	init_sync(s);
	rc = settle_options(&s->options, err);
	if (!rc)
		rc = fs_dir_open(&s->dir, path, true, err);
	if (!rc)
		rc = fs_lock(s->dir, NAME_LOCK, &s->lock, err);
	if (rc)
		goto done;
	budget_init(&s->budget, s->options.memory_bytes,
	            s->options.memtable_bytes, STORE_SEALED_MAX,
	            s->options.cache_bytes);
	s->cache = block_cache_new_between(budget_cache_least(&s->budget),
	                                   budget_cache_most(&s->budget));
	if (!s->cache) {
		rc = err_nomem(err, sizeof(s->cache));
		goto done;
	}
	rc = readahead_pool_new(&s->helpers, &s->options.readahead,
	                        s->options.memory_bytes / 16, err);
	if (rc)
		goto done;
	reserve_init(&s->reserve, s->dir);
	rc = store_recover(s, err);
	if (!rc)
		rc = commit_init(s, err);
	if (!rc)
		rc = start_compactor(s, err);
	if (!rc)
		rc = flush_start(s, err);
	if (!rc && s->options.scrub_s)
		rc = scrub_start(&s->scrub, &s->views, s->options.scrub_s, err);
done:
	if (rc) {
		store_close(s, NULL);
		err_prepend(err, "open %s", path);
		return rc;
	}
	*out = s;
	return 0;
}

int
store_close(struct store *s, struct err *err)
{
	int rc;

	if (!s)
		return 0;
	atomic_store(&s->closing, true);
	scrub_stop(s->scrub);
	flush_stop(s);
	compactor_stop(s->compactor);
	readahead_pool_free(s->helpers);
	rc = commit_stop(s, err);
	if (atomic_load(&s->views.current))
		view_box_release(&s->views);
	else
		memtable_unref(s->commit.active);
	block_cache_free(s->cache);
	free(s->snapshots);
	if (s->reserve.dir)
		reserve_release(&s->reserve);
	fs_close(&s->lock);
	fs_dir_close(s->dir);
	destroy_sync(s);
	free(s);
	return rc;
}

/* ---- reading ---- */

int
store_get(struct store *s, struct slice key, uint64_t snapshot,
          struct buf *value, struct entry_info *info, struct err *err)
{
	struct view_slot *slot;
	struct view_hit hit;
	struct view *v = view_enter(&s->views, &slot);
	uint64_t moment = 0;
	int rc;

	/*
	 * The version is read after the view: whatever was acknowledged
	 * before this call is in this view and not above this version; and
	 * what comes later goes into this memtable or a newer one.
	 */
	if (!snapshot) {
		snapshot = atomic_load(&s->published);
		moment = memtable_segment(v->active);
	}
	rc = view_get(v, key, snapshot, &hit, err);
	if (rc)
		goto done;
	if (hit.entry.kind == ENTRY_TOMBSTONE ||
	    (hit.entry.expires && entry_expired(&hit.entry, clock_wall_s()))) {
		rc = LSMKV_NOTFOUND;
	} else {
		info->version = hit.entry.version;
		info->expires = hit.entry.expires;
		info->kind = hit.entry.kind;
		info->moment = moment;
		rc = buf_set(value, hit.entry.value, err);
	}
	view_hit_release(&hit);
done:
	view_count_get(slot, !rc);
	view_leave(slot);
	return rc;
}

static void
release_view(void *arg)
{
	view_unref(arg);
}

int
store_scan(struct store *s, const struct scan_range *range, uint64_t snapshot,
           struct scan **out, struct err *err)
{
	struct view *v = view_hold(&s->views);
	struct iter *source = NULL;
	int rc;

	*out = NULL;
	if (!snapshot)
		snapshot = atomic_load(&s->published);
	rc = view_iter_new(&source, v, true, s->helpers, err);
	if (rc) {
		view_unref(v);
		return rc;
	}
	atomic_fetch_add_explicit(&s->scans, 1, memory_order_relaxed);
	/* Takes both over, whatever happens. */
	return scan_new(out, source, range, snapshot, clock_wall_s(),
	                release_view, v, err);
}

/* ---- snapshots ---- */

int
store_snapshot_open(struct store *s, uint64_t *snapshot, struct err *err)
{
	uint64_t *grown;
	int rc = 0;

	pthread_mutex_lock(&s->snapshot_mutex);
	if (s->snapshot_count == s->snapshot_cap) {
		size_t cap = s->snapshot_cap ? s->snapshot_cap * 2 : 16;

		grown = reallocarray(s->snapshots, cap, sizeof(*grown));
		if (!grown) {
			rc = err_nomem(err, cap * sizeof(*grown));
			goto done;
		}
		s->snapshots = grown;
		s->snapshot_cap = cap;
	}
	/* Under the mutex versions come in ascending order by themselves. */
	*snapshot = atomic_load(&s->published);
	s->snapshots[s->snapshot_count++] = *snapshot;
done:
	pthread_mutex_unlock(&s->snapshot_mutex);
	return rc;
}

void
store_snapshot_close(struct store *s, uint64_t snapshot)
{
	size_t i = 0;

	pthread_mutex_lock(&s->snapshot_mutex);
	while (i < s->snapshot_count && s->snapshots[i] != snapshot)
		i++;
	assert(i < s->snapshot_count);
	s->snapshot_count--;
	memmove(s->snapshots + i, s->snapshots + i + 1,
	        (s->snapshot_count - i) * sizeof(*s->snapshots));
	pthread_mutex_unlock(&s->snapshot_mutex);
	compactor_wake(s->compactor);
}

int
store_snapshot_list(struct store *s, uint64_t **versions, size_t *count,
                    struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&s->snapshot_mutex);
	*count = s->snapshot_count + 1;
	*versions = calloc(*count, sizeof(**versions));
	if (!*versions) {
		rc = err_nomem(err, *count * sizeof(**versions));
		goto done;
	}
	if (s->snapshot_count)
		memcpy(*versions, s->snapshots,
		       s->snapshot_count * sizeof(**versions));
	(*versions)[s->snapshot_count] = atomic_load(&s->published);
done:
	pthread_mutex_unlock(&s->snapshot_mutex);
	return rc;
}

/* ---- flush and compact on demand ---- */

int
store_flush(struct store *s, struct err *err)
{
	uint64_t failures = atomic_load(&s->flush_failures);
	int rc;

	/* A writer is told to come back; who wants a flush waits for it. */
	while ((rc = commit_seal(s, err)) == LSMKV_ESTALLED &&
	       atomic_load(&s->flush_failures) == failures)
		flush_wait(s, 20);
	while (!rc) {
		struct view_slot *slot;
		struct view *v = view_enter(&s->views, &slot);
		bool waits = v->sealed_count > 0;

		view_leave(slot);
		if (!waits)
			break;
		rc = store_failed(s, err);
		if (!rc && atomic_load(&s->closing))
			rc = err_set(err, LSMKV_ESHUTDOWN,
			             "the store is closing");
		if (!rc && atomic_load(&s->flush_failures) != failures)
			rc = flush_failure(s, err);
		if (!rc)
			flush_wait(s, 20);
	}
	return rc;
}

int
store_compact(struct store *s, struct err *err)
{
	int rc = store_flush(s, err);

	return rc ? rc : compactor_compact_all(s->compactor, err);
}

/* ---- figures ---- */

void
store_get_stat(struct store *s, struct store_stat *stat)
{
	struct view *v = view_hold(&s->views);

	memset(stat, 0, sizeof(*stat));
	stat->version = atomic_load(&s->published);
	stat->memtable_bytes = memtable_bytes(v->active);
	stat->memtable_entries = memtable_entries(v->active);
	stat->sealed = (unsigned)v->sealed_count;
	stat->wal_bytes = atomic_load(&s->wal_bytes);
	stat->wal_syncs = atomic_load(&s->wal_syncs);
	stat->wal_records = atomic_load(&s->wal_records);
	view_box_gets(&s->views, &stat->gets, &stat->gets_found);
	stat->writes = atomic_load(&s->writes);
	stat->deletes = atomic_load(&s->deletes);
	stat->conflicts = atomic_load(&s->conflicts);
	stat->scans = atomic_load(&s->scans);
	stat->flushes = atomic_load(&s->flushes);
	stat->flush_failures = atomic_load(&s->flush_failures);
	stat->flush_bytes = atomic_load(&s->flush_bytes);
	stat->stalls = atomic_load(&s->stalls);
	stat->stall_us = atomic_load(&s->stall_us);
	stat->refused = atomic_load(&s->refused);
	stat->disk_full = atomic_load(&s->reserve.low);
	stat->disk_full_times = atomic_load(&s->reserve.given_up);
	pthread_mutex_lock(&s->failure_mutex);
	stat->failed = atomic_load(&s->failed);
	memcpy(stat->failure, s->failure, sizeof(stat->failure));
	pthread_mutex_unlock(&s->failure_mutex);
	for (unsigned n = 0; n < LEVELS_MAX; n++) {
		const struct level *l = &v->levels->level[n];

		stat->level[n].files = l->count;
		stat->level[n].bytes = l->bytes;
		for (size_t i = 0; i < l->count; i++) {
			const struct sst_info *info = sst_info_of(l->files[i]);

			stat->level[n].entries += info->entries;
			stat->level[n].tombstones += info->tombstones;
			stat->level[n].raw_bytes += info->raw_bytes;
		}
	}
	block_cache_get_stat(s->cache, &stat->cache);
	readahead_get_stat(s->helpers, &stat->readahead);
	compactor_get_stat(s->compactor, &stat->compactor);
	if (s->scrub)
		scrub_get_stat(s->scrub, &stat->scrub);
	view_unref(v);
}
