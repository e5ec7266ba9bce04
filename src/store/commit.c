/* SPDX-License-Identifier: ISC */
/*
 * The write path: group commit.
 *
 * Writers queue up. The one at the head leads: it takes as many of those
 * behind it as make a good group, checks their conditions, appends all their
 * batches as one WAL record, syncs it once, adds the entries to the memtable,
 * publishes the new version, hands the lead to the next in the queue and
 * wakes its group. While it syncs, the next group gathers by itself.
 *
 * Order of an acknowledgement: append, sync, memtable, publish, answer. A
 * reader never sees what a crash could take back.
 *
 * Conditions and old values need a read. The writer does it before it queues
 * up, beside the others; the leader then only has to look whether a memtable
 * has something newer.
 */
#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/planted.h"
#include "store/store_impl.h"

#define GROUP_BYTES (1u << 20) /* a group takes no further writer past it */
#define GROUP_KEYS 4096u       /* bits of the filter of a group's keys */

enum writer_state { WRITER_WAITS, WRITER_LEADS, WRITER_DONE };

struct writer {
	struct op *ops;
	size_t count;           /* 0: asks for a seal */
	size_t log_bytes;       /* of its entries in the WAL, about */
	size_t memtable_bytes;  /* of its entries in the memtable, at most */
	bool conditional;       /* some op has a condition or wants the old */
	uint64_t known_segment; /* active memtable when it read what it knows */
	size_t failed;          /* op whose condition did not hold */
	bool included;          /* the group writes it */
	int rc;                 /* outcome */
	struct err *err;        /* the caller's; may be NULL */
	enum writer_state state; /* set before `wake` is posted */
	sem_t wake;
	struct writer *next; /* in the queue, towards the tail */
};

/* ---- what an op must know of the state before it ---- */

static bool
op_reads(const struct op *op)
{
	return op->condition != OP_ALWAYS || op->want_old;
}

static int
op_learn(struct op *op, const struct entry *e, struct err *err)
{
	op->old_found = e && e->kind != ENTRY_TOMBSTONE &&
	                !entry_expired(e, e->expires ? clock_wall_s() : 0);
	op->old_info = (struct entry_info){ 0 };
	buf_clear(&op->old);
	if (!op->old_found)
		return 0;
	op->old_info.version = e->version;
	op->old_info.expires = e->expires;
	op->old_info.kind = e->kind;
	if (!op->want_old)
		return 0;
	return buf_set(&op->old, e->value, err);
}

static int
learn_from_view(const struct view *v, struct op *op, uint64_t version,
                struct err *err)
{
	struct view_hit hit;
	int rc = view_get(v, op->key, version, &hit, err);

	if (rc == LSMKV_NOTFOUND)
		return op_learn(op, NULL, err);
	if (rc)
		return rc;
	rc = op_learn(op, &hit.entry, err);
	view_hit_release(&hit);
	return rc;
}

/* In the writer's own thread, before it queues up. */
static int
read_ahead(struct store *s, struct writer *w, struct err *err)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	uint64_t version = atomic_load(&s->published);
	int rc = 0;

	w->known_segment = memtable_segment(v->active);
	for (size_t i = 0; i < w->count && !rc; i++)
		if (op_reads(&w->ops[i]))
			rc = learn_from_view(v, &w->ops[i], version, err);
	view_leave(slot);
	return rc;
}

static bool
view_has_segment(const struct view *v, uint64_t segment)
{
	if (memtable_segment(v->active) == segment)
		return true;
	for (size_t i = 0; i < v->sealed_count; i++)
		if (memtable_segment(v->sealed[i]) == segment)
			return true;
	return false;
}

/*
 * In the leader: brings what a writer read up to date. Everything written
 * since stands in the memtables from known_segment on, if that one is not
 * flushed already; then the key is read anew.
 */
static int
bring_up_to_date(struct store *s, struct writer *w)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	bool recent = view_has_segment(v, w->known_segment);
	int rc = 0;

	for (size_t i = 0; i < w->count && !rc; i++) {
		struct op *op = &w->ops[i];
		struct entry e;

		if (!op_reads(op))
			continue;
		if (!recent)
			rc = learn_from_view(v, op, VERSION_MAX, w->err);
		else if (!view_get_recent(v, op->key, w->known_segment, &e) &&
		         (!op->old_found || e.version != op->old_info.version))
			rc = op_learn(op, &e, w->err);
		else if (op->old_found && op->old_info.expires &&
		         op->old_info.expires <= clock_wall_s())
			rc = op_learn(op, NULL, w->err);
	}
	view_leave(slot);
	return rc;
}

static bool
condition_holds(const struct op *op)
{
	switch (op->condition) {
	case OP_ALWAYS:
		return true;
	case OP_IF_VERSION:
		return op->if_version ==
		       (op->old_found ? op->old_info.version : 0);
	case OP_IF_PRESENT:
		return op->old_found;
	}
	return false;
}

static int
check_conditions(struct writer *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct op *op = &w->ops[i];

		if (condition_holds(op))
			continue;
		op->version = op->old_found ? op->old_info.version : 0;
		w->failed = i;
		return err_set(w->err, LSMKV_CONFLICT,
		               "the condition of operation %zu did not hold",
		               i);
	}
	return 0;
}

/* ---- the leader ---- */

/* Keys that a group writes: false positives only end a group early. */
struct group_keys {
	uint64_t bits[GROUP_KEYS / 64];
};

static bool
keys_meet(const struct group_keys *keys, const struct writer *w)
{
	for (size_t i = 0; i < w->count; i++) {
		uint64_t h = sst_key_hash(w->ops[i].key) % GROUP_KEYS;

		if (op_reads(&w->ops[i]) && keys->bits[h / 64] >> h % 64 & 1)
			return true;
	}
	return false;
}

static void
keys_add(struct group_keys *keys, const struct writer *w)
{
	for (size_t i = 0; i < w->count; i++) {
		uint64_t h = sst_key_hash(w->ops[i].key) % GROUP_KEYS;

		keys->bits[h / 64] |= UINT64_C(1) << h % 64;
	}
}

static void
entry_of_op(struct entry *e, const struct op *op, uint64_t version)
{
	e->key = op->key;
	e->value = op->value;
	e->version = version;
	e->expires = op->expires;
	e->kind = op->kind;
}

/*
 * The last writer of the leader's group, by size. The queue's mutex is not
 * needed to walk from the head to it: others only append behind the tail.
 */
static struct writer *
group_end(struct commit *c, struct writer *leader)
{
	struct writer *w = leader;
	size_t bytes = leader->log_bytes;

	pthread_mutex_lock(&c->mutex);
	while (leader->count && w->next && w->next->count &&
	       bytes + w->next->log_bytes <= GROUP_BYTES) {
		w = w->next;
		bytes += w->log_bytes;
	}
	pthread_mutex_unlock(&c->mutex);
	return w;
}

/*
 * Decides who of leader..*last is written: an op that reads a key which the
 * same group writes ends the group before it, so that it sees the outcome.
 */
static void
check_group(struct store *s, struct writer *leader, struct writer **last,
            size_t *log_bytes, size_t *mem_bytes)
{
	struct group_keys keys = { { 0 } };
	struct writer *before = NULL;

	*log_bytes = *mem_bytes = 0;
	for (struct writer *w = leader;; before = w, w = w->next) {
		if (w->conditional) {
			if (before && keys_meet(&keys, w)) {
				*last = before;
				return;
			}
			w->rc = bring_up_to_date(s, w);
			if (!w->rc)
				w->rc = check_conditions(w);
		}
		w->included = !w->rc;
		if (w->included) {
			*log_bytes += w->log_bytes;
			*mem_bytes += w->memtable_bytes;
			if (leader != *last)
				keys_add(&keys, w);
		}
		if (w == *last)
			return;
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
log_group(struct store *s, struct writer *leader, struct writer *last,
          size_t mem_bytes, uint64_t first_version, struct err *err)
{
	struct commit *c = &s->commit;
	uint64_t version = first_version, end = wal_end(c->wal);
	bool partial = false;
	struct entry e;
	int rc;

	rc = memtable_reserve(c->active, mem_bytes, err); /* 1 */
	if (!rc)
		rc = wal_begin(c->wal, first_version, err);
	for (struct writer *w = leader; !rc; w = w->next) {
		for (size_t i = 0; w->included && i < w->count && !rc; i++) {
			entry_of_op(&e, &w->ops[i], version++);
			rc = wal_add(c->wal, &e, err);
		}
		if (w == last)
			break;
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
		rc = wal_sync(c->wal, err);
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
publish_group(struct store *s, struct writer *leader, struct writer *last,
              uint64_t first_version)
{
	struct commit *c = &s->commit;
	uint64_t version = first_version, deletes = 0;
	struct entry e;

	for (struct writer *w = leader;; w = w->next) {
		for (size_t i = 0; w->included && i < w->count; i++) {
			entry_of_op(&e, &w->ops[i], version++);
			w->ops[i].version = e.version;
			memtable_add(c->active, &e);
			deletes += e.kind == ENTRY_TOMBSTONE;
		}
		if (w == last)
			break;
	}
	atomic_store(&s->published, version - 1);
	atomic_fetch_add_explicit(&s->writes, version - first_version,
	                          memory_order_relaxed);
	atomic_fetch_add_explicit(&s->deletes, deletes, memory_order_relaxed);
	atomic_store_explicit(&c->last_write_ns, clock_mono_tick_ns(),
	                      memory_order_relaxed);
}

static struct writer *
lead(struct store *s, struct writer *leader)
{
	struct commit *c = &s->commit;
	struct writer *last = group_end(c, leader);
	uint64_t first_version;
	size_t log_bytes = 0, mem_bytes = 0;
	struct err err = ERR_INIT;
	struct load load;
	int rc;

	rc = store_failed(s, &err);
	if (!rc)
		rc = room_make(s, !leader->count, &load, &err);
	if (rc) {
		for (struct writer *w = leader;; w = w->next) {
			w->rc = err_set(w->err, rc, "%s", err.message);
			if (w == last)
				return last;
		}
	}
	if (!leader->count)
		return last;

	check_group(s, leader, &last, &log_bytes, &mem_bytes);
	if (!mem_bytes)
		return last;
	room_slow_down(s, &load, log_bytes);
	first_version = atomic_load(&s->published) + 1;
	rc = log_group(s, leader, last, mem_bytes, first_version, &err);
	if (PLANTED("commit.publishes_unsynced") && rc == LSMKV_EUNKNOWN)
		publish_group(s, leader, last, first_version);
	if (!rc) {
		publish_group(s, leader, last, first_version);
		return last;
	}
	for (struct writer *w = leader;; w = w->next) {
		if (w->included)
			w->rc = err_set(w->err, rc, "%s", err.message);
		if (w == last)
			return last;
	}
}

/* ---- the queue ---- */

static int
queue_and_wait(struct store *s, struct writer *w)
{
	struct commit *c = &s->commit;
	struct writer *last, *next, *done;
	bool first;

	pthread_mutex_lock(&c->mutex);
	first = !c->head;
	if (first)
		c->head = w;
	else
		c->tail->next = w;
	c->tail = w;
	pthread_mutex_unlock(&c->mutex);

	if (!first) {
		while (sem_wait(&w->wake) && errno == EINTR)
			;
		if (w->state == WRITER_DONE)
			return w->rc;
	}
	last = lead(s, w);

	/* The next one leads before anybody of this group is woken. */
	pthread_mutex_lock(&c->mutex);
	next = last->next;
	c->head = next;
	if (!next)
		c->tail = NULL;
	pthread_mutex_unlock(&c->mutex);
	last->next = NULL;
	if (next) {
		next->state = WRITER_LEADS;
		sem_post(&next->wake);
	}
	for (done = w->next; done; done = next) {
		next = done->next; /* it may be gone after the post */
		done->state = WRITER_DONE;
		sem_post(&done->wake);
	}
	return w->rc;
}

static int
check_op(const struct op *op, struct err *err)
{
	if (!op->key.len)
		return err_set(err, LSMKV_EINVAL, "the key is empty");
	if (op->key.len > ENTRY_KEY_MAX)
		return err_set(err, LSMKV_ETOOBIG,
		               "a key of %zu bytes; at most %u are allowed",
		               op->key.len, ENTRY_KEY_MAX);
	if (op->value.len > ENTRY_VALUE_MAX)
		return err_set(err, LSMKV_ETOOBIG,
		               "a value of %zu bytes; at most %u are allowed",
		               op->value.len, ENTRY_VALUE_MAX);
	if (op->kind == ENTRY_TOMBSTONE && (op->value.len || op->expires))
		return err_set(err, LSMKV_EINVAL,
		               "a deletion has neither value nor expiry");
	return 0;
}

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
	struct writer w = { .ops = ops, .count = count, .err = err };
	struct entry e;
	bool sets = false;
	int rc = 0;

	if (atomic_load(&s->closing))
		return err_set(err, LSMKV_ESHUTDOWN, "the store is closing");
	rc = store_failed(s, err);
	if (!count)
		return rc;
	for (size_t i = 0; i < count && !rc; i++) {
		rc = check_op(&ops[i], err);
		entry_of_op(&e, &ops[i], i);
		w.log_bytes += entry_encoded_size(&e, 0);
		w.memtable_bytes += memtable_entry_bytes(&e);
		w.conditional |= op_reads(&ops[i]);
		sets |= ops[i].kind != ENTRY_TOMBSTONE;
	}
	if (!rc && atomic_load(&s->reserve.low))
		rc = check_full_disk(s, sets, err);
	if (!rc && w.conditional)
		rc = read_ahead(s, &w, err);
	if (rc)
		return rc;
	sem_init(&w.wake, 0, 0);
	rc = queue_and_wait(s, &w);
	sem_destroy(&w.wake);
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
	struct writer w = { .err = err };
	int rc;

	sem_init(&w.wake, 0, 0);
	rc = queue_and_wait(s, &w);
	sem_destroy(&w.wake);
	return rc;
}
