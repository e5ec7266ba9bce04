/* SPDX-License-Identifier: ISC */
/*
 * Flush: sealed memtables become level 0 SSTs, and every change of the tree,
 * the compactor's too, becomes the truth here.
 *
 * The steps of a flush, and what a crash leaves after each (recovery removes
 * files that the MANIFEST does not name, and replays the WAL):
 *
 *  1. SST written under a temporary name   a file that nobody names
 *  2. SST fsynced, renamed, directory fsynced   the same
 *  3. MANIFEST.tmp written and fsynced     the old MANIFEST counts
 *  4. MANIFEST renamed, directory fsynced  either counts; both are whole, and
 *                                          the WAL segment is still there
 *  5. view published                       nothing on disk
 *  6. WAL segment unlinked                 a segment that is not needed
 */
#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/planted.h"
#include "store/merge.h"
#include "store/names.h"
#include "store/store_impl.h"

#define NICE 10 /* below readers and writers */
#define RETRY_FIRST_MS 100u
#define RETRY_MOST_MS 5000u
#define LOOK_MS 500u       /* how often idleness is looked at */
#define MEMTABLE_GROWTH 4u /* expected from look to look, for the reserve */
#define AGED                                                                   \
	6u /* a memtable with tombstones is old after this many
			idle times, however busy it is */

/* ---- from a memtable to an SST ---- */

static int
write_entries(struct store *s, struct memtable *m, struct sst_writer *w,
              uint64_t *raw_bytes, struct err *err)
{
	struct merge_rule rule = { 0 };
	struct iter *it = NULL;
	uint64_t *snapshots = NULL;
	size_t count = 0;
	int rc;

	rc = store_snapshot_list(s, &snapshots, &count, err);
	if (!rc)
		rc = memtable_iter_new(&it, m, err);
	if (rc)
		goto done;
	rule.snapshots = snapshots;
	rule.snapshot_count = count;
	for (rc = iter_first(it, err); !rc && it->valid;
	     rc = iter_next(it, err)) {
		enum merge_verdict verdict;

		if (atomic_load_explicit(&s->flush.stopping,
		                         memory_order_relaxed)) {
			rc = err_set(err, LSMKV_ESHUTDOWN,
			             "the store is closing");
			break;
		}
		rc = merge_judge(&rule, &it->entry, &verdict, err);
		if (rc)
			break;
		/*
		 * Tombstones and expired entries hide older ones in the
		 * levels below: only what is shadowed goes.
		 */
		if (verdict == MERGE_SHADOWED ||
		    (PLANTED("flush.drops_tombstones") &&
		     it->entry.kind == ENTRY_TOMBSTONE))
			continue;
		*raw_bytes += it->entry.key.len + it->entry.value.len;
		rc = sst_writer_add(w, &it->entry, err);
		if (rc)
			break;
	}
done:
	iter_close(it);
	merge_rule_release(&rule);
	free(snapshots);
	return rc;
}

int
flush_write_sst(struct store *s, struct memtable *m, struct sst **out,
                struct err *err)
{
	struct sst_options options = s->options.compactor.sst;
	struct sst_info info = SST_INFO_INIT;
	struct sst_writer *w = NULL;
	uint64_t start = clock_mono_ns(), raw = 0;
	int rc;

	*out = NULL;
	if (!memtable_entries(m))
		return 0;
	options.deflate_level = s->options.flush_deflate_level;
	rc = sst_writer_open(&w, s->dir, store_next_file(s), &options, err);
	if (rc)
		goto done;
	rc = write_entries(s, m, w, &raw, err);
	if (rc) {
		sst_writer_abort(w);
		goto done;
	}
	rc = sst_writer_finish(w, &info, err);
	if (!rc && !PLANTED("flush.no_dir_sync")) {
		rc = fs_dir_sync(s->dir, err);
		/* What the next one says could not be believed. */
		if (rc == LSMKV_EIO)
			store_fail(s, "%s", err->message);
	}
	if (!rc)
		rc = sst_open(out, s->dir, &info, s->cache, err);
	if (!rc)
		sst_warm(*out);
	if (rc) {
		char name[NAME_MAX_LEN];

		if (info.number)
			fs_unlink(s->dir, name_sst(info.number, name), NULL);
		goto done;
	}
	atomic_fetch_add(&s->flushes, 1);
	atomic_fetch_add(&s->flush_bytes, info.size);
	log_info("flush: wal %llu -> sst %llu, %llu entries, %.1f MB -> "
	         "%.1f MB, %llu ms",
	         (unsigned long long)memtable_segment(m),
	         (unsigned long long)info.number,
	         (unsigned long long)info.entries, (double)raw / 1e6,
	         (double)info.size / 1e6,
	         (unsigned long long)((clock_mono_ns() - start) / 1000000));
done:
	sst_info_release(&info);
	if (rc)
		err_prepend(err, "flush");
	return rc;
}

/* ---- making a change of the tree the truth ---- */

/* v is taken over. Nothing can fail here: the disk says the same already. */
static void
publish(struct store *s, struct view *v, struct levels *levels,
        struct memtable *flushed)
{
	struct view *now;

	pthread_mutex_lock(&s->view_mutex);
	now = atomic_load(&s->views.current);
	view_fill(v, now->active, now->sealed,
	          now->sealed_count - (flushed ? 1 : 0), levels);
	view_publish(&s->views, v);
	pthread_mutex_unlock(&s->view_mutex);
}

/* The segment that recovery needs first once `flushed` is in the tree. */
static uint64_t
wal_oldest_after(struct store *s, struct memtable *flushed)
{
	struct view *now;
	uint64_t oldest;

	if (!flushed)
		return s->head.wal_oldest;
	pthread_mutex_lock(&s->view_mutex);
	now = atomic_load(&s->views.current);
	oldest = memtable_segment(now->sealed_count > 1
	                                  ? now->sealed[now->sealed_count - 2]
	                                  : now->active);
	pthread_mutex_unlock(&s->view_mutex);
	return oldest;
}

static struct levels *
current_levels(struct store *s)
{
	struct view_slot *slot;
	struct levels *l = levels_ref(view_enter(&s->views, &slot)->levels);

	view_leave(slot);
	return l;
}

static bool
has_file(const struct levels *levels, const struct sst *t)
{
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < levels->level[n].count; i++)
			if (levels->level[n].files[i] == t)
				return true;
	return false;
}

/* Files that left the tree; one that only moved to another level stays. */
static void
retire_files(const struct levels_edit *edit, const struct levels *before,
             const struct levels *after)
{
	for (size_t i = 0; i < edit->removed_count; i++) {
		const struct level *l = &before->level[edit->removed[i].level];

		for (size_t j = 0; j < l->count; j++)
			if (sst_info_of(l->files[j])->number ==
			            edit->removed[i].number &&
			    !has_file(after, l->files[j]))
				sst_set_obsolete(l->files[j]);
	}
}

int
flush_install(struct store *s, const struct levels_edit *edit,
              struct memtable *flushed, struct err *err)
{
	struct levels *before = NULL, *after = NULL;
	struct view *v = NULL;
	struct manifest head;
	bool renamed = false;
	int rc;

	pthread_mutex_lock(&s->manifest_mutex);
	rc = store_failed(s, err);
	if (rc)
		goto done;
	before = current_levels(s);
	rc = levels_apply(before, edit, &after, err);
	if (rc)
		goto done;
	v = view_blank();
	if (!v) {
		rc = err_nomem(err, sizeof(*v));
		goto done;
	}
	head = s->head;
	head.generation++;
	head.wal_oldest = wal_oldest_after(s, flushed);
	if (flushed && head.last_version < memtable_max_version(flushed))
		head.last_version = memtable_max_version(flushed);
	head.next_file = atomic_load(&s->next_file);
	rc = manifest_save(s->dir, &head, after, &renamed, err);
	if (rc && renamed)
		store_fail(s, "%s", err->message);
	if (rc)
		goto done;
	s->head = head;
	publish(s, v, after, flushed);
	v = NULL;
	retire_files(edit, before, after);
done:
	pthread_mutex_unlock(&s->manifest_mutex);
	view_unref(v);
	levels_unref(before);
	levels_unref(after);
	view_box_reclaim(&s->views);
	pthread_mutex_lock(&s->flush.mutex);
	pthread_cond_broadcast(&s->flush.done);
	pthread_mutex_unlock(&s->flush.mutex);
	return rc;
}

/* ---- the thread ---- */

static struct memtable *
oldest_sealed(struct store *s)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	struct memtable *m = NULL;

	if (v->sealed_count)
		m = memtable_ref(v->sealed[v->sealed_count - 1]);
	view_leave(slot);
	return m;
}

static int
flush_one(struct store *s, struct memtable *m, struct err *err)
{
	struct levels_edit edit = { 0 };
	char name[NAME_MAX_LEN];
	struct sst *t = NULL;
	int rc;

	rc = store_failed(s, err);
	if (!rc)
		rc = flush_write_sst(s, m, &t, err);
	if (rc)
		return rc;
	struct levels_added added = { 0, t };
	edit.added = &added;
	edit.added_count = t ? 1 : 0;
	if (PLANTED("flush.unlinks_first"))
		fs_unlink(s->dir, name_wal(memtable_segment(m), name), NULL);
	rc = flush_install(s, &edit, m, err);
	if (rc && t && !atomic_load(&s->failed))
		sst_set_obsolete(t); /* no MANIFEST can name it */
	sst_unref(t);
	if (rc)
		return rc;
	/* A crash before this leaves a segment that is not needed. */
	if (fs_unlink(s->dir, name_wal(memtable_segment(m), name), err))
		log_warn("%s", err->message);
	if (s->compactor)
		compactor_wake(s->compactor);
	return 0;
}

static uint64_t
ns_since(_Atomic uint64_t *then)
{
	uint64_t t = atomic_load(then), now = clock_mono_ns();

	return now > t ? now - t : 0;
}

/*
 * Tombstones in a memtable that rests would hold their space for ever; so
 * would those in one that is written to now and then.
 */
static bool
wants_idle_seal(struct store *s)
{
	struct view_slot *slot;
	uint64_t idle = (uint64_t)s->options.idle_flush_ms * 1000000;
	bool tombstones =
		memtable_tombstones(view_enter(&s->views, &slot)->active) > 0;

	view_leave(slot);
	return tombstones &&
	       (ns_since(&s->commit.last_write_ns) >= idle ||
	        ns_since(&s->commit.active_since_ns) >= AGED * idle);
}

static void
sleep_until_woken(struct flush *f, unsigned ms)
{
	uint64_t at = clock_mono_ns() + (uint64_t)ms * 1000000;
	struct timespec until = { .tv_sec = (time_t)(at / 1000000000),
		                  .tv_nsec = (long)(at % 1000000000) };

	pthread_mutex_lock(&f->mutex);
	if (!f->stop && !f->woken)
		pthread_cond_timedwait(&f->wake, &f->mutex, &until);
	f->woken = false;
	pthread_mutex_unlock(&f->mutex);
}

/*
 * Gives the reserve up where background work has met a full disk, and holds
 * it (again) where there is room.
 */
static void
tend_reserve(struct store *s)
{
	struct compactor_stat c;
	struct view_slot *slot;
	struct view *v;
	uint64_t tree, memtables;

	compactor_get_stat(s->compactor, &c);
	if (c.last_code == LSMKV_ENOSPC ||
	    atomic_load(&s->flush.last_error) == LSMKV_ENOSPC) {
		reserve_give_up(&s->reserve);
		return;
	}
	v = view_enter(&s->views, &slot);
	tree = levels_bytes(v->levels);
	memtables = view_memtable_bytes(v);
	view_leave(slot);
	/* They may grow much before this is looked at again. */
	memtables *= MEMTABLE_GROWTH;
	if (memtables > (STORE_SEALED_MAX + 1) * s->options.memtable_bytes)
		memtables = (STORE_SEALED_MAX + 1) * s->options.memtable_bytes;
	reserve_hold(&s->reserve, reserve_target(tree, memtables));
}

/* Memtables and cache share the memory as they need it now. */
static void
divide_memory(struct store *s)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	size_t need = budget_need(&s->budget, memtable_bytes(v->active),
	                          v->sealed_count);

	view_leave(slot);
	budget_settle(&s->budget, s->cache, need, clock_mono_ns());
	pthread_mutex_lock(&s->flush.mutex);
	pthread_cond_broadcast(&s->flush.done);
	pthread_mutex_unlock(&s->flush.mutex);
}

static void *
flush_main(void *arg)
{
	struct store *s = arg;
	struct flush *f = &s->flush;
	const struct sched_param batch = { .sched_priority = 0 };
	unsigned retry_ms = RETRY_FIRST_MS;

	/*
	 * Who answers somebody is not pushed aside. Where all processors are
	 * busy, this falls behind until the writers are slowed (room.c), and
	 * what they leave is its own: they wait in short sleeps, where a read
	 * would have to wait for the scheduler's next tick. Linux: the nice
	 * value is the thread's.
	 */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	(void)sched_setscheduler(0, SCHED_BATCH, &batch);

	while (!atomic_load(&f->stopping)) {
		struct err err = ERR_INIT;
		struct memtable *m = oldest_sealed(s);
		bool full;
		int rc;

		divide_memory(s);
		if (!atomic_load(&s->failed))
			tend_reserve(s);
		if (!m) {
			view_box_reclaim(&s->views);
			if (!atomic_load(&s->failed) && wants_idle_seal(s) &&
			    !commit_seal(s, &err))
				continue;
			sleep_until_woken(f, LOOK_MS);
			continue;
		}
		/* It was full, and so will the next one be. */
		full = memtable_bytes(m) >= s->options.memtable_bytes / 2;
		if (full && !atomic_load(&s->failed))
			room_prepare(s);
		rc = flush_one(s, m, &err);
		memtable_unref(m);
		atomic_store(&f->last_error, rc);
		pthread_mutex_lock(&f->mutex);
		if (rc) {
			f->failure = err;
			atomic_fetch_add(&s->flush_failures, 1);
		}
		pthread_cond_broadcast(&f->done);
		pthread_mutex_unlock(&f->mutex);
		if (!rc) {
			/* Nobody counts what malloc keeps of its buffers. */
			if (full)
				malloc_trim(0);
			retry_ms = RETRY_FIRST_MS;
			continue;
		}
		if (rc == LSMKV_ESHUTDOWN)
			break;
		if (!atomic_load(&s->failed))
			log_error("%s; trying again in %u ms", err.message,
			          retry_ms);
		sleep_until_woken(f, retry_ms);
		retry_ms = retry_ms * 2 < RETRY_MOST_MS ? retry_ms * 2
		                                        : RETRY_MOST_MS;
	}
	return NULL;
}

int
flush_start(struct store *s, struct err *err)
{
	int rc = pthread_create(&s->flush.thread, NULL, flush_main, s);

	if (rc)
		return err_set_errno(err, rc, "cannot start the flush thread");
	s->flush.running = true;
	return 0;
}

void
flush_stop(struct store *s)
{
	struct flush *f = &s->flush;

	if (!f->running)
		return;
	pthread_mutex_lock(&f->mutex);
	f->stop = true;
	atomic_store(&f->stopping, true);
	pthread_cond_broadcast(&f->wake);
	pthread_cond_broadcast(&f->done);
	pthread_mutex_unlock(&f->mutex);
	pthread_join(f->thread, NULL);
	f->running = false;
}

void
flush_wake(struct store *s)
{
	pthread_mutex_lock(&s->flush.mutex);
	s->flush.woken = true;
	pthread_cond_signal(&s->flush.wake);
	pthread_mutex_unlock(&s->flush.mutex);
}

void
flush_wait(struct store *s, unsigned timeout_ms)
{
	uint64_t at = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
	struct timespec until = { .tv_sec = (time_t)(at / 1000000000),
		                  .tv_nsec = (long)(at % 1000000000) };
	struct flush *f = &s->flush;

	pthread_mutex_lock(&f->mutex);
	if (!f->stop)
		pthread_cond_timedwait(&f->done, &f->mutex, &until);
	pthread_mutex_unlock(&f->mutex);
}

int
flush_failure(struct store *s, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->flush.mutex);
	rc = err_set(err, s->flush.failure.code, "%s",
	             s->flush.failure.message);
	pthread_mutex_unlock(&s->flush.mutex);
	return rc;
}
