/* SPDX-License-Identifier: ISC */
/*
 * A view: the memtables and the tree as they belong together at one moment.
 *
 * Immutable; sealing a memtable, a flush and a compaction each publish a new
 * one. A reader enters (grace.h), uses the current view, and leaves: readers
 * neither wait for each other nor write to memory that they share. A view that
 * was replaced is retired, and freed by view_box_reclaim once all have left
 * who may have seen it.
 *
 * A reader that stays long (a scan) takes a reference instead.
 */
#ifndef LSMKV_STORE_VIEW_H
#define LSMKV_STORE_VIEW_H

#include "store/grace.h"
#include "store/levels.h"
#include "store/memtable.h"

#define VIEW_SEALED_MAX 8u

struct view {
	_Atomic unsigned refs;   /* the box (current or retired), scans */
	struct memtable *active; /* a reference */
	struct memtable *sealed[VIEW_SEALED_MAX]; /* references, newest first */
	size_t sealed_count;
	struct levels *levels;     /* a reference */
	struct view *retired_next; /* in the box's list of retired views */
};

/*
 * Counted by the thread inside, one line of memory a thread: a counter that
 * all readers shared would be what they wait for.
 */
struct view_slot {
	_Atomic uint64_t gets, gets_found;
} __attribute__((aligned(128)));

struct view_box {
	_Atomic(struct view *) current;
	_Atomic(struct view *) retired;      /* replaced, maybe still in use */
	struct view_slot slots[GRACE_SLOTS]; /* as the threads inside have */
};

/* A view of these parts (each gains a reference); NULL when out of memory. */
struct view *view_new(struct memtable *active, struct memtable *const *sealed,
                      size_t sealed_count, struct levels *levels);
/* The same in two steps, the second of which cannot fail. */
struct view *view_blank(void);
void view_fill(struct view *v, struct memtable *active,
               struct memtable *const *sealed, size_t sealed_count,
               struct levels *levels);
void view_unref(struct view *v); /* NULL allowed */

/* first becomes current; its reference is taken over. */
void view_box_init(struct view_box *box, struct view *first);
/* No reader is inside any more. Frees all views that scans do not hold. */
void view_box_release(struct view_box *box);

/* Makes v current (its reference is taken over) and retires the old one. */
void view_publish(struct view_box *box, struct view *v);
/* Frees what was retired before the call, after waiting for its readers. Not
   to be called inside. */
void view_box_reclaim(struct view_box *box);

/* Inside: *slot belongs to this thread until view_leave. */
struct view *view_enter(struct view_box *box, struct view_slot **slot);
void view_leave(struct view_slot *slot);
/* Counts a look-up; the caller is inside. */
void view_count_get(struct view_slot *slot, bool found);
/* The sums over all slots. */
void view_box_gets(struct view_box *box, uint64_t *gets, uint64_t *found);
/* The current view with a reference, for a long stay. */
struct view *view_hold(struct view_box *box);

/* Bytes of its memtables. */
uint64_t view_memtable_bytes(const struct view *v);

/* What view_get found; release it with view_hit_release. */
struct view_hit {
	struct entry entry; /* good until the release, inside the view */
	struct sst_hit sst; /* not inside for a memtable's */
};

/*
 * The newest version of key that is <= version, tombstones and expired ones
 * included: 0, LSMKV_NOTFOUND or an error.
 */
int view_get(const struct view *v, struct slice key, uint64_t version,
             struct view_hit *hit, struct err *err);
void view_hit_release(struct view_hit *hit);
/* The same, in those memtables only whose WAL segment is >= segment. */
int view_get_recent(const struct view *v, struct slice key, uint64_t segment,
                    struct entry *e);

/*
 * All entries of the view in store order; holds references to its parts.
 * helpers: for long walks (readahead.h); NULL: none.
 */
int view_iter_new(struct iter **out, const struct view *v, bool fill_cache,
                  struct readahead_pool *helpers, struct err *err);

#endif
