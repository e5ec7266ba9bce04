/* SPDX-License-Identifier: ISC */
/*
 * The writers' queue: calls by futex, quorum, lead. See the header.
 */
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/commit_queue.h"

#define GROUP_BYTES (1u << 20) /* a group takes no further writer past it */

#define PATIENCE_MOST_NS 2000000u /* without anybody coming */
#define TRUST_MOST 32u            /* in writers that come back */
#define TRUST_LOST 4u             /* when they do not come */
#define PAUSE_MOST 256u           /* groups that wait for nobody, then */

enum waiter_state {
	WAITER_WAITS,
	WAITER_WATCHES, /* leads if too few come in time to make a quorum */
	WAITER_LEADS,
	WAITER_DONE,
};

void
commit_queue_init(struct commit_queue *q, bool gathers)
{
	*q = (struct commit_queue){ .gathers = gathers, .pause_next = 1 };
	pthread_mutex_init(&q->mutex, NULL);
}

void
commit_queue_release(struct commit_queue *q)
{
	pthread_mutex_destroy(&q->mutex);
}

/* ---- calls: one futex for all who wait ---- */

/*
 * Waiters sleep on one word, which changes with every call, and each of them
 * listens to two of its 32 bits: one that it shares with those who queued up
 * beside it, and one that is almost its own. So a whole group is woken with
 * one system call. A call that was for somebody else does no harm.
 */
static void
set_bits(struct commit_queue *q, struct commit_waiter *w)
{
	w->group_bit = UINT32_C(1) << q->groups % 16;
	w->own_bit = UINT32_C(1) << (16 + q->arrivals++ % 16);
}

static void
call(struct commit_queue *q, uint32_t bits)
{
	atomic_fetch_add_explicit(&q->calls, 1, memory_order_release);
	syscall(SYS_futex, &q->calls, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL,
	        NULL, bits);
}

/* Until a call, if there was none since `seen`, or until_ns if not 0. */
static void
wait_for_call(struct commit_queue *q, const struct commit_waiter *w,
              uint32_t seen, uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000),
		.tv_nsec = (long)(until_ns % 1000000000),
	};

	syscall(SYS_futex, &q->calls, FUTEX_WAIT_BITSET_PRIVATE, seen,
	        until_ns ? &until : NULL, NULL, w->group_bit | w->own_bit);
}

/* ---- quorum ---- */

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
quorum_came(struct commit_queue *q)
{
	if (q->trust < TRUST_MOST)
		q->trust++;
	else
		q->pause_next = 1;
}

static void
quorum_missed(struct commit_queue *q)
{
	if (q->trust >= TRUST_LOST) {
		q->trust -= TRUST_LOST;
		return;
	}
	q->trust = 0;
	q->pause = q->pause_next;
	if (q->pause_next < PAUSE_MOST)
		q->pause_next *= 2;
}

/* A group of `count` has left the queue. */
static void
set_quorum(struct commit_queue *q, unsigned count, bool cut)
{
	q->quorum = 1;
	/* Those who were left behind have waited enough. */
	if (!q->gathers || cut || count + q->queued == 1)
		return;
	if (q->pause)
		q->pause--;
	else
		q->quorum = count + q->queued;
}

/* ---- the queue ---- */

/* Under the mutex. True: it leads. */
static bool
enqueue(struct commit_queue *q, struct commit_waiter *w)
{
	if (!q->head)
		q->head = w;
	else
		q->tail->next = w;
	q->tail = w;
	q->queued++;
	set_bits(q, w);
	if (q->led)
		return false;
	if (q->queued < q->quorum && !w->alone) {
		if (!q->watched) {
			q->watched = true;
			w->seen = q->queued;
			w->state = WAITER_WATCHES;
		}
		return false;
	}
	if (q->watched && !w->alone)
		quorum_came(q);
	q->watched = false;
	q->led = true;
	return true;
}

/*
 * Takes the group from the queue. Unless self is still in it, the lead goes
 * to the next one, or is free. Returns bits to call.
 */
static uint32_t
dequeue(struct commit_queue *q, const struct commit_group *group,
        const struct commit_waiter *self, uint64_t sync_ns)
{
	struct commit_waiter *next = group->last->next;
	unsigned count = 0;

	for (struct commit_waiter *w = group->first; w;
	     w = commit_group_next(group, w)) {
		w->left = true;
		count++;
	}
	group->last->next = NULL;
	q->head = next;
	if (!next)
		q->tail = NULL;
	q->queued -= count;
	q->sync_ns = (q->sync_ns * 7 + sync_ns) / 8;
	set_quorum(q, count, group->cut);
	if (!self->left)
		return 0;
	q->led = next && (q->queued >= q->quorum || next->alone);
	q->watched = next && !q->led;
	if (!next)
		return 0;
	next->seen = q->queued;
	next->state = q->led ? WAITER_LEADS : WAITER_WATCHES;
	return next->own_bit;
}

void
commit_queue_group(struct commit_queue *q, struct commit_group *group)
{
	struct commit_waiter *w;
	size_t bytes;

	pthread_mutex_lock(&q->mutex);
	w = group->first = q->head;
	bytes = w->bytes;
	while (!group->first->alone && w->next && !w->next->alone &&
	       bytes + w->next->bytes <= GROUP_BYTES) {
		w = w->next;
		bytes += w->bytes;
	}
	group->last = w;
	group->cut = w->next;
	q->groups++;
	pthread_mutex_unlock(&q->mutex);
}

void
commit_queue_leave(struct commit_queue *q, const struct commit_group *group,
                   const struct commit_waiter *self, uint64_t sync_ns)
{
	struct commit_waiter *next;
	uint32_t bits;

	/* The next one leads before anybody of this group is woken. */
	pthread_mutex_lock(&q->mutex);
	bits = dequeue(q, group, self, sync_ns);
	pthread_mutex_unlock(&q->mutex);
	if (bits)
		call(q, bits);
	bits = 0;
	for (struct commit_waiter *w = group->first; w; w = next) {
		next = w->next;
		if (w == self)
			continue;
		bits |= w->group_bit;
		atomic_store_explicit(&w->state, WAITER_DONE,
		                      memory_order_release);
	}
	if (bits)
		call(q, bits);
}

/* The time of the one that watches is over. True: it leads. */
static bool
watch(struct commit_queue *q, struct commit_waiter *w)
{
	uint32_t state = WAITER_WATCHES;
	bool leads = false;

	pthread_mutex_lock(&q->mutex);
	if (w->left || q->led) {
		atomic_compare_exchange_strong(&w->state, &state, WAITER_WAITS);
	} else if (q->queued - w->seen >= q->quorum - q->queued) {
		w->seen = q->queued;
	} else {
		quorum_missed(q);
		q->watched = false;
		leads = q->led = true;
	}
	pthread_mutex_unlock(&q->mutex);
	return leads;
}

static uint64_t
patience_ns(struct commit_queue *q)
{
	uint64_t ns;

	pthread_mutex_lock(&q->mutex);
	ns = q->sync_ns;
	pthread_mutex_unlock(&q->mutex);
	return ns < PATIENCE_MOST_NS ? ns : PATIENCE_MOST_NS;
}

bool
commit_queue_join(struct commit_queue *q, struct commit_waiter *w)
{
	uint64_t until_ns = 0;
	bool leads;

	pthread_mutex_lock(&q->mutex);
	leads = enqueue(q, w);
	pthread_mutex_unlock(&q->mutex);
	while (!leads) {
		uint32_t seen =
			atomic_load_explicit(&q->calls, memory_order_acquire);

		switch (atomic_load_explicit(&w->state, memory_order_acquire)) {
		case WAITER_WAITS:
			wait_for_call(q, w, seen, 0);
			until_ns = 0;
			break;
		case WAITER_WATCHES:
			if (!until_ns)
				until_ns = clock_mono_ns() + patience_ns(q);
			wait_for_call(q, w, seen, until_ns);
			if (clock_mono_ns() >= until_ns) {
				until_ns = 0;
				leads = watch(q, w);
			}
			break;
		case WAITER_LEADS:
			return true;
		case WAITER_DONE:
			return false;
		}
	}
	return true;
}
