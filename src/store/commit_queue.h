/* SPDX-License-Identifier: ISC */
/*
 * The queue of the writers, and who of them leads.
 *
 * Writers queue up. One at a time leads: it takes a group from the head of
 * the queue, writes it, and leaves with it; while it writes, the next group
 * gathers by itself. The lead is not a mutex: nobody spins or sleeps on a
 * lock while another one waits for the disk.
 *
 *     if (commit_queue_join(q, w))
 *             do {
 *                     commit_queue_group(q, &group);
 *                     ... write first..last, or a part that begins with first
 *                     commit_queue_leave(q, &group, w, sync_ns);
 *             } while (!w->left);
 *
 * It knows nothing of what the writers write.
 */
#ifndef LSMKV_STORE_COMMIT_QUEUE_H
#define LSMKV_STORE_COMMIT_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Somebody in the queue; zeros at first, but for these: */
struct commit_waiter {
	size_t bytes; /* what it adds to a group */
	bool alone;   /* is to be a group of its own, and soon */
	/* The queue's: */
	bool left;                   /* with its group; mutex, or the leader */
	unsigned seen;               /* queued, when it last looked for more */
	uint32_t group_bit, own_bit; /* calls that are for it */
	_Atomic uint32_t state;      /* enum waiter_state; DONE comes last, and
	                                the waiter may be gone after it */
	struct commit_waiter *next;  /* towards the tail */
};

struct commit_queue {
	bool gathers;               /* the next group may wait for company */
	pthread_mutex_t mutex;      /* over what follows, down to `calls` */
	struct commit_waiter *head; /* the longest in the queue */
	struct commit_waiter *tail;
	unsigned queued;        /* how many are in it */
	unsigned quorum;        /* so many are worth a group */
	bool led;               /* somebody leads */
	bool watched;           /* somebody sees to it that somebody will */
	unsigned trust;         /* that a quorum will come */
	unsigned pause;         /* groups to come that are begun without */
	unsigned pause_next;    /* how many they will be the next time */
	unsigned groups;        /* begun; wraps around */
	unsigned arrivals;      /* in the queue; wraps around */
	uint64_t sync_ns;       /* what a sync takes these days */
	_Atomic uint32_t calls; /* of those who wait; a futex */
};

/* What the leader writes at once. */
struct commit_group {
	struct commit_waiter *first, *last;
	bool cut; /* some that waited already were not taken */
};

/* The one behind w in its group; NULL: none. */
static inline struct commit_waiter *
commit_group_next(const struct commit_group *group,
                  const struct commit_waiter *w)
{
	return w == group->last ? NULL : w->next;
}

/* gathers: where a sync takes long, it is worth to wait for a larger group. */
void commit_queue_init(struct commit_queue *q, bool gathers);
void commit_queue_release(struct commit_queue *q); /* nobody is in it */

/*
 * Queues w up, and waits until its group was written by another one: false;
 * or until it has the lead: true.
 */
bool commit_queue_join(struct commit_queue *q, struct commit_waiter *w);
/*
 * The leader's: the group that begins at the head of the queue. It may be
 * walked without a lock, since others only queue up behind it.
 */
void commit_queue_group(struct commit_queue *q, struct commit_group *group);
/*
 * Ends it: takes first..last from the queue, which may be fewer than they
 * were, hands the lead on if self is among them, then wakes all of them; those
 * may be gone on return. sync_ns: what the last sync took.
 */
void commit_queue_leave(struct commit_queue *q,
                        const struct commit_group *group,
                        const struct commit_waiter *self, uint64_t sync_ns);

#endif
