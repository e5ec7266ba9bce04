/* SPDX-License-Identifier: ISC */
/* Publishing the memtables and the tree, and looking keys up; see view.h. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/merge.h"
#include "store/run_iter.h"
#include "store/view.h"

/* ---- views ---- */

struct view *
view_blank(void)
{
	struct view *v = calloc(1, sizeof(*v));

	if (v)
		atomic_init(&v->refs, 1);
	return v;
}

void
view_fill(struct view *v, struct memtable *active,
          struct memtable *const *sealed, size_t sealed_count,
          struct levels *levels)
{
	assert(sealed_count <= VIEW_SEALED_MAX);
	v->active = memtable_ref(active);
	for (size_t i = 0; i < sealed_count; i++)
		v->sealed[i] = memtable_ref(sealed[i]);
	v->sealed_count = sealed_count;
	v->levels = levels_ref(levels);
}

struct view *
view_new(struct memtable *active, struct memtable *const *sealed,
         size_t sealed_count, struct levels *levels)
{
	struct view *v = view_blank();

	if (v)
		view_fill(v, active, sealed, sealed_count, levels);
	return v;
}

void
view_unref(struct view *v)
{
	if (!v ||
	    atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	memtable_unref(v->active);
	for (size_t i = 0; i < v->sealed_count; i++)
		memtable_unref(v->sealed[i]);
	levels_unref(v->levels);
	free(v);
}

/* ---- the box ---- */

void
view_box_init(struct view_box *box, struct view *first)
{
	atomic_init(&box->current, first);
	atomic_init(&box->retired, NULL);
	for (size_t i = 0; i < GRACE_SLOTS; i++) {
		atomic_init(&box->slots[i].gets, 0);
		atomic_init(&box->slots[i].gets_found, 0);
	}
}

void
view_box_release(struct view_box *box)
{
	view_box_reclaim(box);
	view_unref(atomic_load(&box->current));
	atomic_store(&box->current, NULL);
}

void
view_publish(struct view_box *box, struct view *v)
{
	struct view *old = atomic_exchange(&box->current, v);
	struct view *head = atomic_load(&box->retired);

	do {
		old->retired_next = head;
	} while (!atomic_compare_exchange_weak(&box->retired, &head, old));
}

void
view_box_reclaim(struct view_box *box)
{
	struct view *v = atomic_exchange(&box->retired, NULL), *next;

	if (!v)
		return;
	grace_wait(grace_stamp());
	for (; v; v = next) {
		next = v->retired_next;
		view_unref(v);
	}
}

struct view *
view_enter(struct view_box *box, struct view_slot **slot)
{
	*slot = &box->slots[grace_enter()];
	return atomic_load(&box->current);
}

void
view_leave(struct view_slot *slot)
{
	(void)slot;
	grace_leave();
}

void
view_count_get(struct view_slot *slot, bool found)
{
	grace_count(&slot->gets);
	if (found)
		grace_count(&slot->gets_found);
}

void
view_box_gets(struct view_box *box, uint64_t *gets, uint64_t *found)
{
	*gets = *found = 0;
	for (size_t i = 0; i < GRACE_SLOTS; i++) {
		*gets += atomic_load(&box->slots[i].gets);
		*found += atomic_load(&box->slots[i].gets_found);
	}
}

struct view *
view_hold(struct view_box *box)
{
	struct view_slot *slot;
	struct view *v = view_enter(box, &slot);

	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	view_leave(slot);
	return v;
}

uint64_t
view_memtable_bytes(const struct view *v)
{
	uint64_t bytes = memtable_bytes(v->active);

	for (size_t i = 0; i < v->sealed_count; i++)
		bytes += memtable_bytes(v->sealed[i]);
	return bytes;
}

/* ---- looking a key up ---- */

int
view_get_recent(const struct view *v, struct slice key, uint64_t segment,
                struct entry *e)
{
	int rc = memtable_get(v->active, key, VERSION_MAX, e);

	for (size_t i = 0; rc == LSMKV_NOTFOUND && i < v->sealed_count &&
	                   memtable_segment(v->sealed[i]) >= segment;
	     i++)
		rc = memtable_get(v->sealed[i], key, VERSION_MAX, e);
	return rc;
}

int
view_get(const struct view *v, struct slice key, uint64_t version,
         struct view_hit *hit, struct err *err)
{
	const struct level *level0 = &v->levels->level[0];
	uint64_t hash;
	int rc;

	hit->sst.inside = false;
	rc = memtable_get(v->active, key, version, &hit->entry);
	for (size_t i = 0; rc == LSMKV_NOTFOUND && i < v->sealed_count; i++)
		rc = memtable_get(v->sealed[i], key, version, &hit->entry);
	if (rc != LSMKV_NOTFOUND)
		return rc;

	/* Newest first: the first hit is the newest entry. */
	hash = sst_key_hash(key);
	for (size_t i = 0; rc == LSMKV_NOTFOUND && i < level0->count; i++) {
		rc = sst_get(level0->files[i], key, hash, version, &hit->sst,
		             err);
		if (rc == LSMKV_ECORRUPT && PLANTED("view.falls_through"))
			rc = LSMKV_NOTFOUND;
	}
	for (unsigned n = 1; rc == LSMKV_NOTFOUND && n < LEVELS_MAX; n++) {
		struct sst *t = levels_find(v->levels, n, key);

		if (t)
			rc = sst_get(t, key, hash, version, &hit->sst, err);
	}
	if (!rc)
		hit->entry = hit->sst.entry;
	return rc;
}

void
view_hit_release(struct view_hit *hit)
{
	sst_hit_release(&hit->sst);
}

/* ---- iterating ---- */

int
view_iter_new(struct iter **out, const struct view *v, bool fill_cache,
              struct readahead_pool *helpers, struct err *err)
{
	size_t most =
		1 + v->sealed_count + v->levels->level[0].count + LEVELS_MAX;
	size_t n = 0;
	struct iter **children;
	int rc;

	*out = NULL;
	children = calloc(most, sizeof(*children));
	if (!children)
		return err_nomem(err, most * sizeof(*children));

	rc = memtable_iter_new(&children[n], v->active, err);
	if (!rc)
		n++;
	for (size_t i = 0; !rc && i < v->sealed_count; i++) {
		rc = memtable_iter_new(&children[n], v->sealed[i], err);
		if (!rc)
			n++;
	}
	for (size_t i = 0; !rc && i < v->levels->level[0].count; i++) {
		rc = sst_iter_new(&children[n], v->levels->level[0].files[i],
		                  fill_cache, err);
		if (!rc)
			sst_iter_read_ahead(children[n++], helpers);
	}
	for (unsigned l = 1; !rc && l < LEVELS_MAX; l++) {
		const struct level *level = &v->levels->level[l];

		if (!level->count)
			continue;
		rc = run_iter_new(&children[n], level->files, level->count,
		                  fill_cache, err);
		if (!rc)
			run_iter_read_ahead(children[n++], helpers);
	}
	if (!rc)
		rc = merge_new(out, children, n, err);
	else
		while (n)
			iter_close(children[--n]);
	free(children);
	return rc;
}
