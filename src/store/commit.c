/* SPDX-License-Identifier: ISC */
/*
 * The write path: group commit.
 *
 * Writers queue up (commit_queue.h). The one that leads takes as many from
 * the head of the queue as make a good group, validates their batches
 * (batch.h), appends all of them as one WAL record, syncs it once, adds the
 * entries to the memtable, publishes the new version, hands the lead on and
 * wakes its group.
 *
 * Order of an acknowledgement: append, sync, memtable, publish, answer. A
 * reader never sees what a crash could take back.
 */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/planted.h"
#include "store/batch.h"
#include "store/store_impl.h"

/* A caller of store_write. */
struct writer {
	struct commit_waiter waiter; /* its place in the queue; first */
	struct batch batch;          /* without ops: asks for a seal */
	size_t failed;               /* op whose condition did not hold */
	bool included;               /* the group writes it */
	int rc;                      /* outcome */
	struct err *err;             /* the caller's; may be NULL */
};

static struct writer *
first_of(const struct commit_group *group)
{
	return (struct writer *)group->first;
}

/* The one behind w in the group; NULL: none. */
static struct writer *
next_of(const struct commit_group *group, const struct writer *w)
{
	return (struct writer *)commit_group_next(group, &w->waiter);
}

/* ---- the leader ---- */

/*
 * Decides who of the group is written: an op that reads a key which the same
 * group writes ends the group before it, so that it sees the outcome.
 */
static void
check_group(struct store *s, struct commit_group *group, size_t *log_bytes,
            size_t *memtable_bytes)
{
	bool shared = group->first != group->last;
	struct batch_keys keys = { { 0 } };
	struct writer *before = NULL;

	*log_bytes = *memtable_bytes = 0;
	for (struct writer *w = first_of(group); w;
	     before = w, w = next_of(group, w)) {
		struct batch *b = &w->batch;

		if (b->reads) {
			if (before && batch_reads_some(b, &keys)) {
				group->last = &before->waiter;
				group->cut = true;
				return;
			}
			w->rc = batch_validate(b, s, &w->failed, w->err);
		}
		w->included = !w->rc;
		if (w->included) {
			*log_bytes += b->log_bytes;
			*memtable_bytes += b->memtable_bytes;
			if (shared)
				batch_add_keys(b, &keys);
		}
	}
}

/*
 * One record for the group, on disk on return of 0. Numbered steps:
 *  1. memory for the memtable: whatever fails up to here changes nothing
 *  2. append: a failure may leave half a record, which is no record; on a
 *     full disk the segment is rotated before the next group, on any other
 *     error writes are off
 *  3. sync: a failure leaves it open whether the record is on disk; writes
 *     are off, and the group is told that the outcome is unknown
 */
static int
log_group(struct store *s, const struct commit_group *group,
          size_t memtable_bytes, uint64_t first_version, struct err *err)
{
	struct commit *c = &s->commit;
	uint64_t version = first_version, end = wal_end(c->wal);
	bool partial = false;
	int rc;

	rc = memtable_reserve(c->active, memtable_bytes, err); /* 1 */
	if (!rc)
		rc = wal_begin(c->wal, first_version, err);
	for (struct writer *w = first_of(group); w && !rc;
	     w = next_of(group, w)) {
		const struct batch *b = &w->batch;

		for (size_t i = 0; w->included && i < b->count && !rc; i++) {
			struct entry e = batch_entry(b, i, version++);

			rc = wal_add(c->wal, &e, err);
		}
	}
	if (rc)
		return rc;

	rc = wal_append(c->wal, &partial, err); /* 2 */
	if (rc == LSMKV_ENOSPC && reserve_give_up(&s->reserve) && !partial)
		rc = wal_append(c->wal, &partial, err);
	if (rc) {
		if (partial && rc == LSMKV_ENOSPC)
			c->wal_broken = true;
		else if (partial)
			store_fail(s, "%s", err->message);
		if (partial && rc != LSMKV_ENOSPC)
			rc = err->code = LSMKV_EUNKNOWN;
		return rc;
	}
	atomic_fetch_add(&s->wal_records, 1);
	atomic_fetch_add(&s->wal_bytes, wal_end(c->wal) - end);

	if (s->options.sync == SYNC_ALWAYS && /* 3 */
	    !PLANTED("commit.no_sync")) {
		uint64_t start = clock_mono_ns();

		rc = wal_sync(c->wal, err);
		c->last_sync_ns = clock_mono_ns() - start;
		if (rc) {
			if (!PLANTED("commit.goes_on_after_failed_sync"))
				store_fail(s, "%s", err->message);
			err_prepend(err, "the disk failed; the outcome of "
			                 "this write is unknown until a "
			                 "restart");
			return err->code = LSMKV_EUNKNOWN;
		}
		atomic_fetch_add(&s->wal_syncs, 1);
	}
	return 0;
}

/* Entries become visible: memtable first, then the version. */
static void
publish_group(struct store *s, const struct commit_group *group,
              uint64_t first_version)
{
	struct commit *c = &s->commit;
	uint64_t version = first_version, deletes = 0;

	for (struct writer *w = first_of(group); w; w = next_of(group, w)) {
		const struct batch *b = &w->batch;

		for (size_t i = 0; w->included && i < b->count; i++) {
			struct entry e = batch_entry(b, i, version++);

			b->ops[i].version = e.version;
			memtable_add(c->active, &e);
			deletes += e.kind == ENTRY_TOMBSTONE;
		}
	}
	atomic_store(&s->published, version - 1);
	atomic_fetch_add_explicit(&s->writes, version - first_version,
	                          memory_order_relaxed);
	atomic_fetch_add_explicit(&s->deletes, deletes, memory_order_relaxed);
	atomic_store_explicit(&c->last_write_ns, clock_mono_tick_ns(),
	                      memory_order_relaxed);
}

/* Those that it writes, or all of the group, get this outcome. */
static void
fail_group(const struct commit_group *group, bool all, int rc,
           const struct err *err)
{
	for (struct writer *w = first_of(group); w; w = next_of(group, w))
		if (all || w->included)
			w->rc = err_set(w->err, rc, "%s", err->message);
}

/* Writes the group, or a part that begins with its first, or tells why not. */
static void
write_group(struct store *s, struct commit_group *group)
{
	bool seal = !first_of(group)->batch.count;
	size_t log_bytes = 0, memtable_bytes = 0;
	struct err err = ERR_INIT;
	uint64_t first_version;
	struct load load;
	int rc;

	rc = store_failed(s, &err);
	if (!rc)
		rc = room_make(s, seal, &load, &err);
	if (rc)
		fail_group(group, true, rc, &err);
	if (rc || seal)
		return;

	check_group(s, group, &log_bytes, &memtable_bytes);
	if (!memtable_bytes)
		return;
	room_slow_down(s, &load, log_bytes);
	first_version = atomic_load(&s->published) + 1;
	rc = log_group(s, group, memtable_bytes, first_version, &err);
	if (!rc ||
	    (PLANTED("commit.publishes_unsynced") && rc == LSMKV_EUNKNOWN))
		publish_group(s, group, first_version);
	if (rc)
		fail_group(group, false, rc, &err);
}

static int
queue_and_write(struct store *s, struct writer *w)
{
	struct commit *c = &s->commit;
	struct commit_group group;

	if (commit_queue_join(&c->queue, &w->waiter)) {
		do {
			commit_queue_group(&c->queue, &group);
			write_group(s, &group);
			commit_queue_leave(&c->queue, &group, &w->waiter,
			                   c->last_sync_ns);
		} while (!w->waiter.left);
	}
	return w->rc;
}

/* ---- the front door ---- */

/* While the disk is full. */
static int
check_full_disk(struct store *s, bool sets, struct err *err)
{
	struct view_slot *slot;
	struct view *v;
	uint64_t tree, memtables;

	if (sets)
		return err_set(err, LSMKV_ENOSPC,
		               "the disk is full: only deletions are taken; "
		               "make room, or delete something and wait for "
		               "compaction");
	v = view_enter(&s->views, &slot);
	tree = levels_bytes(v->levels);
	memtables = view_memtable_bytes(v);
	view_leave(slot);
	if (reserve_has_room(&s->reserve, tree, memtables))
		return 0;
	return err_set(err, LSMKV_ENOSPC,
	               "the disk is full: what is left is for flush and "
	               "compaction; try again when they have made room");
}

int
store_write(struct store *s, struct op *ops, size_t count, size_t *failed,
            struct err *err)
{
	struct writer w = { .err = err };
	int rc;

	if (atomic_load(&s->closing))
		return err_set(err, LSMKV_ESHUTDOWN, "the store is closing");
	rc = store_failed(s, err);
	if (!count)
		return rc;
	if (!rc)
		rc = batch_init(&w.batch, ops, count, err);
	if (!rc && atomic_load(&s->reserve.low))
		rc = check_full_disk(s, w.batch.sets, err);
	if (!rc && w.batch.reads)
		rc = batch_read_ahead(&w.batch, s, err);
	if (rc)
		return rc;
	w.waiter.bytes = w.batch.log_bytes;
	rc = queue_and_write(s, &w);
	if (rc == LSMKV_CONFLICT) {
		atomic_fetch_add(&s->conflicts, 1);
		if (failed)
			*failed = w.failed;
	}
	return rc;
}

int
commit_seal(struct store *s, struct err *err)
{
	struct writer w = { .waiter.alone = true, .err = err };

	return queue_and_write(s, &w);
}
