/* SPDX-License-Identifier: ISC */
/* Writes that wait to be written together; see writes.h. */
#include <assert.h>

#include "base/clock.h"
#include "http/writes.h"

void
writes_init(struct writes *ws)
{
	*ws = (struct writes){ .count = 0 };
	STAILQ_INIT(&ws->held);
	pthread_mutex_init(&ws->lock, NULL);
}

void
writes_release(struct writes *ws)
{
	assert(!ws->count);
	pthread_mutex_destroy(&ws->lock);
}

/* Is a batch full that holds so much? */
static bool
is_full(unsigned count, uint64_t bytes)
{
	return count >= API_CALLS_MAX || bytes > WRITES_BYTES_MAX;
}

bool
writes_hold(struct writes *ws, struct held_write *w)
{
	bool full;

	pthread_mutex_lock(&ws->lock);
	STAILQ_INSERT_TAIL(&ws->held, w, in_held);
	ws->bytes += w->bytes;
	if (!ws->count++)
		atomic_store(&ws->since_ns, clock_mono_ns());
	full = is_full(ws->count, ws->bytes);
	pthread_mutex_unlock(&ws->lock);
	return full;
}

bool
writes_wait(const struct writes *ws)
{
	return writes_overdue(ws, 0);
}

bool
writes_overdue(const struct writes *ws, uint64_t ns)
{
	uint64_t since_ns = atomic_load(&ws->since_ns);

	/* In this order: a turn that ends after it was seen looks itself. */
	return since_ns && !atomic_load(&ws->writing) &&
	       (!ns || clock_mono_ns() - since_ns > ns);
}

unsigned
writes_begin(struct writes *ws, struct api_call *calls[API_CALLS_MAX])
{
	unsigned count = 0;
	uint64_t bytes = 0;

	pthread_mutex_lock(&ws->lock);
	if (!atomic_load(&ws->writing) || is_full(ws->count, ws->bytes))
		while (!STAILQ_EMPTY(&ws->held) && !is_full(count, bytes)) {
			struct held_write *w = STAILQ_FIRST(&ws->held);

			STAILQ_REMOVE_HEAD(&ws->held, in_held);
			bytes += w->bytes;
			calls[count++] = &w->call;
		}
	if (count) {
		ws->count -= count;
		ws->bytes -= bytes;
		atomic_fetch_add(&ws->writing, 1);
		/* What is left is about as old as what goes. */
		if (!ws->count)
			atomic_store(&ws->since_ns, 0);
	}
	pthread_mutex_unlock(&ws->lock);
	return count;
}

void
writes_end(struct writes *ws)
{
	pthread_mutex_lock(&ws->lock);
	atomic_fetch_sub(&ws->writing, 1);
	pthread_mutex_unlock(&ws->lock);
}
