/* SPDX-License-Identifier: ISC */
/*
 * The write path: group commit.
 *
 * Writers queue up. One of them leads: it takes as many from the head of the
 * queue as make a good group, checks their conditions, appends all their
 * batches as one WAL record, syncs it once, adds the entries to the memtable,
 * publishes the new version, hands the lead on and wakes its group. While it
 * syncs, the next group gathers by itself.
 *
 * Order of an acknowledgement: append, sync, memtable, publish, answer. A
 * reader never sees what a crash could take back.
 *
 * Conditions and old values need a read. The writer does it before it queues
 * up, beside the others; the leader then only has to look whether a memtable
 * has something newer.
 */
#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/planted.h"
#include "store/store_impl.h"

#define GROUP_BYTES (1u << 20) /* a group takes no further writer past it */
#define GROUP_KEYS 4096u       /* bits of the filter of a group's keys */

#define PATIENCE_MOST_NS 2000000u /* without anybody coming */
#define TRUST_MOST 32u            /* in writers that come back */
#define TRUST_LOST 4u             /* when they do not come */
#define PAUSE_MOST 256u           /* groups that wait for nobody, then */

enum writer_state {
	WRITER_WAITS,
	WRITER_WATCHES, /* leads if too few come in time to make a quorum */
	WRITER_LEADS,
	WRITER_DONE,
};

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
	bool left;              /* the queue, with its group; commit.mutex */
	unsigned seen;          /* queued, when it last looked for more */
	uint32_t group_bit, own_bit; /* calls that are for it */
	_Atomic uint32_t state;      /* enum writer_state; DONE comes last, and
	                                the writer may be gone after it */
	struct writer *next;         /* in the queue, towards the tail */
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
 * The last writer of the group that begins at the head of the queue, by size;
 * *first is its first one. The queue's mutex is not needed to walk from one to
 * the other: others only append behind the tail. *cut: not all that wait.
 */
static struct writer *
group_end(struct commit *c, struct writer **first, bool *cut)
{
	struct writer *w;
	size_t bytes;

	pthread_mutex_lock(&c->mutex);
	w = *first = c->head;
	bytes = w->log_bytes;
	while ((*first)->count && w->next && w->next->count &&
	       bytes + w->next->log_bytes <= GROUP_BYTES) {
		w = w->next;
		bytes += w->log_bytes;
	}
	*cut = w->next;
	c->groups++;
	pthread_mutex_unlock(&c->mutex);
	return w;
}

/*
 * Decides who of first..*last is written: an op that reads a key which the
 * same group writes ends the group before it, so that it sees the outcome.
 */
static void
check_group(struct store *s, struct writer *first, struct writer **last,
            size_t *log_bytes, size_t *mem_bytes)
{
	struct group_keys keys = { { 0 } };
	struct writer *before = NULL;

	*log_bytes = *mem_bytes = 0;
	for (struct writer *w = first;; before = w, w = w->next) {
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
			if (first != *last)
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
log_group(struct store *s, struct writer *first, struct writer *last,
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
	for (struct writer *w = first; !rc; w = w->next) {
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
publish_group(struct store *s, struct writer *first, struct writer *last,
              uint64_t first_version)
{
	struct commit *c = &s->commit;
	uint64_t version = first_version, deletes = 0;
	struct entry e;

	for (struct writer *w = first;; w = w->next) {
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

/*
 * Writes one group, *first to the answer, or tells it why not. *cut: some that
 * waited already were not taken.
 */
static struct writer *
write_group(struct store *s, struct writer **first_out, bool *cut)
{
	struct commit *c = &s->commit;
	struct writer *last = group_end(c, first_out, cut);
	struct writer *first = *first_out, *all = last;
	uint64_t first_version;
	size_t log_bytes = 0, mem_bytes = 0;
	struct err err = ERR_INIT;
	struct load load;
	int rc;

	rc = store_failed(s, &err);
	if (!rc)
		rc = room_make(s, !first->count, &load, &err);
	if (rc) {
		for (struct writer *w = first;; w = w->next) {
			w->rc = err_set(w->err, rc, "%s", err.message);
			if (w == last)
				return last;
		}
	}
	if (!first->count)
		return last;

	check_group(s, first, &last, &log_bytes, &mem_bytes);
	*cut |= last != all;
	if (!mem_bytes)
		return last;
	room_slow_down(s, &load, log_bytes);
	first_version = atomic_load(&s->published) + 1;
	rc = log_group(s, first, last, mem_bytes, first_version, &err);
	if (PLANTED("commit.publishes_unsynced") && rc == LSMKV_EUNKNOWN)
		publish_group(s, first, last, first_version);
	if (!rc) {
		publish_group(s, first, last, first_version);
		return last;
	}
	for (struct writer *w = first;; w = w->next) {
		if (w->included)
			w->rc = err_set(w->err, rc, "%s", err.message);
		if (w == last)
			return last;
	}
}

/* ---- calls: one futex for all who wait ---- */

/*
 * Waiters sleep on one word, which changes with every call, and each of them
 * listens to two of its 32 bits: one that it shares with those who queued up
 * beside it, and one that is almost its own. So a whole group is woken with
 * one system call. A call that was for somebody else does no harm.
 */
static void
set_bits(struct commit *c, struct writer *w)
{
	w->group_bit = UINT32_C(1) << c->groups % 16;
	w->own_bit = UINT32_C(1) << (16 + c->arrivals++ % 16);
}

static void
call(struct commit *c, uint32_t bits)
{
	atomic_fetch_add_explicit(&c->calls, 1, memory_order_release);
	syscall(SYS_futex, &c->calls, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL,
	        NULL, bits);
}

/* Until a call, if there was none since `seen`, or until_ns if not 0. */
static void
wait_for_call(struct commit *c, const struct writer *w, uint32_t seen,
              uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000),
		.tv_nsec = (long)(until_ns % 1000000000),
	};

	syscall(SYS_futex, &c->calls, FUTEX_WAIT_BITSET_PRIVATE, seen,
	        until_ns ? &until : NULL, NULL, w->group_bit | w->own_bit);
}

/* ---- the queue ---- */

/*
 * When does the next group begin? At once, if its writers are not likely to
 * get company. But threads that write again and again would form two groups
 * in turn that way, each half as large as it could be: those who come back
 * just miss the group that began when they were woken. So the lead stays free
 * until as many wait as were there before, a quorum. Whoever completes it
 * leads; no switch of threads is needed.
 *
 * The first who waits watches: while others keep coming, half of those who
 * are missing in the time of a sync, it goes on to wait; else it leads with
 * those who are there. Where that happens often, writers do other things in
 * between, and waiting for them is a loss: then there is no quorum for a
 * number of groups, twice as many each time. A writer that is alone is a
 * quorum.
 */
static void
quorum_came(struct commit *c)
{
	if (c->trust < TRUST_MOST)
		c->trust++;
	else
		c->pause_next = 1;
}

static void
quorum_missed(struct commit *c)
{
	if (c->trust >= TRUST_LOST) {
		c->trust -= TRUST_LOST;
		return;
	}
	c->trust = 0;
	c->pause = c->pause_next;
	if (c->pause_next < PAUSE_MOST)
		c->pause_next *= 2;
}

/* A group of `count` has left the queue. */
static void
set_quorum(struct store *s, unsigned count, bool cut)
{
	struct commit *c = &s->commit;

	c->quorum = 1;
	/* Those who were left behind have waited enough. */
	if (s->options.sync != SYNC_ALWAYS || cut || count + c->queued == 1)
		return;
	if (c->pause)
		c->pause--;
	else
		c->quorum = count + c->queued;
}

/* Under the mutex. True: it leads. */
static bool
enqueue(struct commit *c, struct writer *w)
{
	if (!c->head)
		c->head = w;
	else
		c->tail->next = w;
	c->tail = w;
	c->queued++;
	set_bits(c, w);
	if (c->led)
		return false;
	if (c->queued < c->quorum && w->count) {
		if (!c->watched) {
			c->watched = true;
			w->seen = c->queued;
			w->state = WRITER_WATCHES;
		}
		return false;
	}
	if (c->watched && w->count)
		quorum_came(c);
	c->watched = false;
	c->led = true;
	return true;
}

/*
 * Takes first..last from the queue. Unless self is still in it, the lead goes
 * to the next one, or is free. Returns bits to call.
 */
static uint32_t
dequeue(struct store *s, struct writer *first, struct writer *last,
        struct writer *self, bool cut)
{
	struct commit *c = &s->commit;
	struct writer *next = last->next;
	unsigned count = 1;

	for (struct writer *w = first;; w = w->next, count++) {
		w->left = true;
		if (w == last)
			break;
	}
	last->next = NULL;
	c->head = next;
	if (!next)
		c->tail = NULL;
	c->queued -= count;
	c->sync_ns = (c->sync_ns * 7 + c->last_sync_ns) / 8;
	set_quorum(s, count, cut);
	if (!self->left)
		return 0;
	c->led = next && (c->queued >= c->quorum || !next->count);
	c->watched = next && !c->led;
	if (!next)
		return 0;
	next->seen = c->queued;
	next->state = c->led ? WRITER_LEADS : WRITER_WATCHES;
	return next->own_bit;
}

/* Leads until self is written; returns its outcome. */
static int
lead(struct store *s, struct writer *self)
{
	struct commit *c = &s->commit;

	while (!self->left) {
		struct writer *first, *last, *next;
		uint32_t bits;
		bool cut;

		last = write_group(s, &first, &cut);

		/* The next one leads before anybody of this group is woken. */
		pthread_mutex_lock(&c->mutex);
		bits = dequeue(s, first, last, self, cut);
		pthread_mutex_unlock(&c->mutex);
		if (bits)
			call(c, bits);
		bits = 0;
		for (struct writer *w = first; w; w = next) {
			next = w->next;
			if (w == self)
				continue;
			bits |= w->group_bit;
			atomic_store_explicit(&w->state, WRITER_DONE,
			                      memory_order_release);
		}
		if (bits)
			call(c, bits);
	}
	return self->rc;
}

/* The time of the one that watches is over. True: it leads. */
static bool
watch(struct commit *c, struct writer *w)
{
	uint32_t state = WRITER_WATCHES;
	bool leads = false;

	pthread_mutex_lock(&c->mutex);
	if (w->left || c->led) {
		atomic_compare_exchange_strong(&w->state, &state, WRITER_WAITS);
	} else if (c->queued - w->seen >= c->quorum - c->queued) {
		w->seen = c->queued;
	} else {
		quorum_missed(c);
		c->watched = false;
		leads = c->led = true;
	}
	pthread_mutex_unlock(&c->mutex);
	return leads;
}

static uint64_t
patience_ns(struct commit *c)
{
	uint64_t ns;

	pthread_mutex_lock(&c->mutex);
	ns = c->sync_ns;
	pthread_mutex_unlock(&c->mutex);
	return ns < PATIENCE_MOST_NS ? ns : PATIENCE_MOST_NS;
}

static int
queue_and_wait(struct store *s, struct writer *w)
{
	struct commit *c = &s->commit;
	uint64_t until_ns = 0;
	bool leads;

	pthread_mutex_lock(&c->mutex);
	leads = enqueue(c, w);
	pthread_mutex_unlock(&c->mutex);
	while (!leads) {
		uint32_t seen =
			atomic_load_explicit(&c->calls, memory_order_acquire);

		switch (atomic_load_explicit(&w->state, memory_order_acquire)) {
		case WRITER_WAITS:
			wait_for_call(c, w, seen, 0);
			until_ns = 0;
			break;
		case WRITER_WATCHES:
			if (!until_ns)
				until_ns = clock_mono_ns() + patience_ns(c);
			wait_for_call(c, w, seen, until_ns);
			if (clock_mono_ns() >= until_ns) {
				until_ns = 0;
				leads = watch(c, w);
			}
			break;
		case WRITER_LEADS:
			leads = true;
			break;
		case WRITER_DONE:
			return w->rc;
		}
	}
	return lead(s, w);
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
	rc = queue_and_wait(s, &w);
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

	return queue_and_wait(s, &w);
}
