/* SPDX-License-Identifier: ISC */
/*
 * Room for the next group of writers: back pressure, and sealing the memtable
 * when it is full. Called by the leader of the commit, one at a time.
 *
 * Writers are slowed early and by little, so that they need never be stopped
 * for long: the fuller the memtables and level 0 are, the longer each byte
 * takes, until what comes in is what flush and compaction can take away. Only
 * past the hard limits is a writer refused, after a short wait.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/names.h"
#include "store/store_impl.h"

#define STALL_MS 40u            /* a writer waits this long for room, */
#define STALL_STEP_MS 5u        /* and looks again this often */
#define DELAY_STEP_NS 500000    /* owed delay is slept off in such pieces */
#define DELAY_MOST_NS 20000000  /* and a group never sleeps longer */
#define DELAY_NS_PER_BYTE 1000u /* at full pressure: 1 MB/s */

static struct load
load_now(struct store *s)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	struct load load = { 0 };

	load.active = memtable_bytes(v->active);
	load.held = view_memtable_bytes(v);
	load.sealed = v->sealed_count;
	load.level0 = v->levels->level[0].count;
	view_leave(slot);
	return load;
}

/*
 * From 0 (none) to 1000: how close memtables and level 0 are to their limits.
 * Memory counts from half of what it may be, level 0 from level0_slow.
 */
static uint64_t
pressure(const struct load *load, const struct store_options *o)
{
	uint64_t most = (STORE_SEALED_MAX + 1) * o->memtable_bytes;
	uint64_t memory = 0, level0 = 0;

	if (load->held > most / 2)
		memory = (load->held - most / 2) * 1000 / (most / 2);
	if (load->level0 > o->level0_slow)
		level0 = (load->level0 - o->level0_slow) * 1000 /
		         (o->level0_stop - o->level0_slow);
	if (memory < level0)
		memory = level0;
	return memory < 1000 ? memory : 1000;
}

/*
 * Slows the group of `bytes` down, the more the closer the limits are. Where
 * all processors are busy, a short sleep often lasts until the next tick of
 * the scheduler: what was slept too long is not owed later, so that the pace
 * is the same there.
 */
void
room_slow_down(struct store *s, const struct load *load, size_t bytes)
{
	struct commit *c = &s->commit;
	uint64_t p = pressure(load, &s->options);
	int64_t ns, slept;

	if (!p) {
		c->owed_ns = 0;
		return;
	}
	c->owed_ns += (int64_t)(p * p * DELAY_NS_PER_BYTE / 1000000 * bytes);
	if (c->owed_ns < DELAY_STEP_NS)
		return;
	ns = c->owed_ns < DELAY_MOST_NS ? c->owed_ns : DELAY_MOST_NS;
	slept = -(int64_t)clock_mono_ns();
	clock_sleep_us((uint64_t)ns / 1000);
	slept += (int64_t)clock_mono_ns();
	c->owed_ns = ns - slept;
	if (c->owed_ns < -DELAY_MOST_NS)
		c->owed_ns = -DELAY_MOST_NS;
	atomic_fetch_add(&s->stalls, 1);
	atomic_fetch_add(&s->stall_us, (uint64_t)slept / 1000);
}

/*
 * w becomes the segment that is written. The old one is closed, or handed to
 * the sync thread: in one step, so that this thread never takes w for synced
 * up to its beginning while it does not know of the old one.
 */
static void
switch_wal(struct store *s, struct wal *w, struct sealed_wal *entry)
{
	struct commit *c = &s->commit;
	struct wal *old = c->wal;

	pthread_mutex_lock(&c->wal_mutex);
	c->wal = w;
	if (entry) {
		entry->wal = old;
		entry->next = NULL;
		*c->sealed_wals_end = entry;
		c->sealed_wals_end = &entry->next;
		old = NULL;
	}
	pthread_mutex_unlock(&c->wal_mutex);
	wal_close(old);
}

/* A view like the current one, but for m as the active memtable. */
static int
publish_sealed(struct store *s, struct memtable *m, struct err *err)
{
	struct memtable *sealed[VIEW_SEALED_MAX];
	struct view *now, *v;

	pthread_mutex_lock(&s->view_mutex);
	now = atomic_load(&s->views.current);
	sealed[0] = now->active;
	for (size_t i = 0; i < now->sealed_count; i++)
		sealed[i + 1] = now->sealed[i];
	v = view_new(m, sealed, now->sealed_count + 1, now->levels);
	if (v)
		view_publish(&s->views, v);
	pthread_mutex_unlock(&s->view_mutex);
	return v ? 0 : err_nomem(err, sizeof(*v));
}

void
room_prepare(struct store *s)
{
	struct commit *c = &s->commit;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&c->spare_mutex);
	/* Of other errors the leader will see for itself. */
	if (!c->spare && wal_prepare(&c->spare, s->dir, store_next_file(s),
	                             &err) == LSMKV_EFAILED)
		store_fail(s, "%s", err.message);
	pthread_mutex_unlock(&c->spare_mutex);
}

static void
discard(struct store *s, struct wal *w)
{
	char name[NAME_MAX_LEN];

	fs_unlink(s->dir, name_wal(wal_segment(w), name), NULL);
	wal_close(w);
}

void
room_discard_spare(struct store *s)
{
	struct commit *c = &s->commit;

	if (c->spare)
		discard(s, c->spare);
	c->spare = NULL;
}

/*
 * The segment that follows the active one: the spare one, or made now. A file
 * system that writes nothing in place may have no room for the header of the
 * spare one: that is given back then, and the reserve behind it if need be.
 */
static int
next_segment(struct store *s, struct wal_header *header, struct wal **out,
             struct err *err)
{
	struct commit *c = &s->commit;
	struct wal *w;
	int rc;

	pthread_mutex_lock(&c->spare_mutex);
	w = c->spare;
	c->spare = NULL;
	if (w) {
		header->segment = wal_segment(w);
		rc = wal_start(w, header, err);
		if (!rc)
			*out = w;
		else
			discard(s, w);
		if (rc != LSMKV_ENOSPC)
			goto done;
	}
	header->segment = store_next_file(s);
	rc = wal_create(out, s->dir, header, err);
	if (rc == LSMKV_ENOSPC && reserve_give_up(&s->reserve)) {
		header->segment = store_next_file(s);
		rc = wal_create(out, s->dir, header, err);
	}
done:
	pthread_mutex_unlock(&c->spare_mutex);
	return rc;
}

/*
 * The active memtable becomes a sealed one, a new WAL segment begins. A crash
 * after next_segment leaves a segment without records, which replay passes
 * over. On an error nothing has changed.
 */
static int
seal(struct store *s, struct err *err)
{
	struct commit *c = &s->commit;
	struct wal_header header = { 0 };
	struct sealed_wal *entry = NULL;
	struct memtable *m = NULL;
	struct wal *w = NULL;
	int rc;

	header.prev_segment = wal_segment(c->wal);
	header.prev_end = wal_end(c->wal);
	header.first_version = atomic_load(&s->published) + 1;
	header.relaxed = s->options.sync != SYNC_ALWAYS;
	if (s->options.sync == SYNC_INTERVAL) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return err_nomem(err, sizeof(*entry));
	}
	rc = next_segment(s, &header, &w, err);
	if (rc == LSMKV_EFAILED)
		store_fail(s, "%s", err->message);
	if (rc)
		goto done;
	m = memtable_new(header.segment);
	rc = m ? publish_sealed(s, m, err) : err_nomem(err, sizeof(m));
	if (rc) {
		discard(s, w);
		goto done;
	}
	switch_wal(s, w, entry);
	entry = NULL;
	c->active = m;
	c->wal_broken = false;
	atomic_store(&c->active_since_ns, clock_mono_ns());
	flush_wake(s);
done:
	memtable_unref(m); /* the view holds it now */
	free(entry);
	return rc;
}

static int
refuse(struct store *s, const char *why, struct err *err)
{
	atomic_fetch_add(&s->refused, 1);
	if (atomic_load(&s->flush.last_error) == LSMKV_ENOSPC)
		return err_set(err, LSMKV_ENOSPC,
		               "the disk is full: memory is, too, until it "
		               "can be flushed; make room on the disk");
	return err_set(err, LSMKV_ESTALLED, "%s; try again in a second", why);
}

/*
 * Level 0 is at its limit. Waiting helps while compaction works; where its
 * last job failed (a damaged file, a helper that cannot be started) it may
 * not help for ever, and then it is better to go on at the pace of full
 * pressure, with more files in level 0 than there should be.
 */
static bool
compaction_is_behind(struct store *s, const struct load *load)
{
	struct compactor_stat stat;

	if (load->level0 < s->options.level0_stop)
		return false;
	compactor_get_stat(s->compactor, &stat);
	return !stat.last_code;
}

/*
 * Has the cache shrink ahead of what memtables will need. Where the flush
 * thread does not come to it in time, this group waits for it a little.
 */
static void
ask_for_memory(struct store *s, const struct load *load)
{
	struct budget *b = &s->budget;

	if (budget_ask(b, budget_need(b, load->active, load->sealed)))
		flush_wake(s);
	for (unsigned ms = 0; ms < STALL_MS; ms += STALL_STEP_MS) {
		size_t reserved = atomic_load(&b->reserved);

		if (load->held <= reserved || reserved == budget_most(b))
			break;
		flush_wait(s, STALL_STEP_MS);
	}
}

int
room_make(struct store *s, bool want_seal, struct load *load, struct err *err)
{
	struct commit *c = &s->commit;
	uint64_t now, until = 0; /* 0: did not have to wait yet */
	bool must_seal;

	*load = load_now(s);
	ask_for_memory(s, load);
	must_seal = c->wal_broken || (want_seal && load->active) ||
	            load->active >= s->options.memtable_bytes;
	for (;;) {
		const char *behind = NULL;

		if (!want_seal && compaction_is_behind(s, load))
			behind = "compaction is behind";
		else if (must_seal && load->sealed >= STORE_SEALED_MAX)
			behind = "the flush is behind";
		if (!behind)
			break;
		now = clock_mono_ns();
		if (!until)
			until = now + (uint64_t)STALL_MS * 1000000;
		if (now >= until)
			return refuse(s, behind, err);
		flush_wait(s, STALL_STEP_MS);
		*load = load_now(s);
	}
	return must_seal ? seal(s, err) : 0;
}
