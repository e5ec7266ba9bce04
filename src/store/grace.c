/* SPDX-License-Identifier: ISC */
/*
 * Grace periods (grace.h). A slot holds the epoch in which its thread entered.
 *
 * Why that is enough: all accesses to `now` and to the slots are sequentially
 * consistent, and so are those that reach for and take away what is guarded.
 * If a reader reached it, it did so before it was taken away, and its epoch is
 * older still: not above the stamp. Either grace_over sees its slot, or the
 * slot was taken after it looked, and then what was taken away before was out
 * of reach already.
 */
#include "store/grace.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/planted.h"

#define SPINS 100u       /* looks before a wait sleeps, */
#define SLEEP_US 50u     /* and as long as this at first, */
#define SLEEP_MOST 2000u /* doubling up to this */

struct slot {
	_Atomic uint64_t epoch; /* 0: free */
} __attribute__((aligned(128)));

static struct slot slots[GRACE_SLOTS];
static _Atomic uint64_t now = 1; /* the epoch */
static _Atomic unsigned threads; /* that have ever entered */

static _Thread_local struct {
	unsigned own;   /* its slot's number and one; 0: none yet */
	unsigned taken; /* number of the slot that it is in */
	unsigned depth; /* how often it has entered */
} self;

unsigned
grace_enter(void)
{
	unsigned i;

	if (self.depth++)
		return self.taken;
	/* Threads get slots in turn; more threads than slots share them. */
	if (!self.own)
		self.own = 1 + atomic_fetch_add(&threads, 1) % GRACE_SLOTS;
	for (i = self.own - 1;; i = (i + 1) % GRACE_SLOTS) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&slots[i].epoch, &none,
		                                   atomic_load(&now)))
			break;
		if ((i + 1) % GRACE_SLOTS == self.own - 1)
			sched_yield();
	}
	self.taken = i;
	return i;
}

void
grace_leave(void)
{
	assert(self.depth);
	if (!--self.depth || PLANTED("grace.leaves_too_soon"))
		atomic_store_explicit(&slots[self.taken].epoch, 0,
		                      memory_order_release);
}

unsigned
grace_slot(void)
{
	assert(self.depth);
	return self.taken;
}

bool
grace_inside(void)
{
	return self.depth > 0;
}

uint64_t
grace_stamp(void)
{
	return atomic_fetch_add(&now, 1);
}

bool
grace_over(uint64_t stamp)
{
	unsigned used = atomic_load(&threads);

	/* Slots are shared, and then taken out of turn, only when all are. */
	if (used > GRACE_SLOTS)
		used = GRACE_SLOTS;
	for (unsigned i = 0; i < used; i++) {
		uint64_t epoch = atomic_load(&slots[i].epoch);

		if (epoch && epoch <= stamp - PLANTED("grace.one_epoch_early"))
			return false;
	}
	return true;
}

void
grace_wait(uint64_t stamp)
{
	uint64_t us = SLEEP_US;

	assert(!grace_inside());
	for (unsigned n = 0; !grace_over(stamp); n++) {
		if (n < SPINS) {
			sched_yield();
			continue;
		}
		clock_sleep_us(us);
		us = us * 2 < SLEEP_MOST ? us * 2 : SLEEP_MOST;
	}
}
