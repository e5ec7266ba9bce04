/* SPDX-License-Identifier: ISC */
/*
 * Grace periods: when is nobody left who may still look at what was taken
 * away?
 *
 * Who reads what others may take away (views, blocks of the cache) does so
 * inside: between grace_enter and grace_leave, which cost one store each to
 * memory that is as good as the thread's own (its slot). Who takes something
 * away first makes it unreachable, then asks for a stamp; once grace_over says
 * so, all who were inside before the stamp have left, and it may be freed.
 * Readers never wait for that, nor for each other.
 *
 * Epoch-based reclamation (Fraser, Practical lock-freedom, 2004), with an
 * epoch a stamp instead of three in all: it is rare that something is taken
 * away, and then nobody has to have left but those who came before it. The
 * idea of a grace period is RCU's (McKenney and Slingwine, 1998).
 *
 * One for the process: a thread is inside or it is not, whatever it reads.
 */
#ifndef LSMKV_STORE_GRACE_H
#define LSMKV_STORE_GRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So many threads may be inside at a time; one more waits for a slot. */
#define GRACE_SLOTS 128u

/*
 * The thread is inside until it has left as often as it has entered. Returns
 * the number of its slot, which no other thread inside has: below GRACE_SLOTS.
 * What must be reachable is to be loaded with memory_order_seq_cst, the first
 * pointer at least.
 */
unsigned grace_enter(void);
void grace_leave(void);
unsigned grace_slot(void); /* the same number; the thread is inside */
bool grace_inside(void);

/* One more in a counter that belongs to the slot of the thread, which is
   inside: nobody else writes to it, so this takes no locked instruction. */
static inline void
grace_count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + 1,
		memory_order_relaxed);
}

/*
 * For what nobody who enters from now on can reach: the stores that saw to
 * that were memory_order_seq_cst, or under a lock that who looks for it takes.
 */
uint64_t grace_stamp(void);
/* Have all left who entered before the stamp? Only looks. */
bool grace_over(uint64_t stamp);
/* Waits until they have. The caller is not inside. */
void grace_wait(uint64_t stamp);

#endif
