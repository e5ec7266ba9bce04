/* SPDX-License-Identifier: ISC */
/*
 * Writes that wait to be written together.
 *
 * A write costs a sync of the disk, and many of them together cost hardly
 * more than one. So a worker that has read one does not wait for the disk: it
 * puts it here and goes on with the next request. A worker that finds no more
 * requests, when nobody is writing, takes all that has come together, in one
 * batch; what comes while it writes is the next batch. Nobody ever waits for
 * the turn to write, and there is nobody to be woken for it.
 *
 * What is here must not be forgotten: whoever has put a write here, or has
 * ended its turn, sees to it that nothing is left before it waits for
 * anything else (writes_wait) - either somebody is writing, and will look
 * again, or it takes the turn itself.
 *
 * When the disk is slow, more than fits into a batch comes together: then the
 * turn is not waited for, and several write at the same time, so that writers
 * are held up, each by its own batch, and memory stays bounded.
 */
#ifndef LSMKV_HTTP_WRITES_H
#define LSMKV_HTTP_WRITES_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "http/api.h"

#define WRITES_BYTES_MAX (256u << 10) /* of a batch, but for its last one */

/* Embedded in what its owner needs to answer it. */
struct held_write {
	struct api_call call;
	uint64_t bytes; /* that it holds in memory, about */
	STAILQ_ENTRY(held_write) in_held;
};

struct writes {
	pthread_mutex_t lock; /* of all down to bytes */
	STAILQ_HEAD(, held_write) held;
	unsigned count;            /* of held */
	uint64_t bytes;            /* of held */
	_Atomic unsigned writing;  /* batches that are being written */
	_Atomic uint64_t since_ns; /* when the first of held came; 0: none.
				      Both change under the lock alone */
};

void writes_init(struct writes *ws);
void writes_release(struct writes *ws); /* nothing is held */

/* Puts w behind the others. True: there is enough for a batch already. */
bool writes_hold(struct writes *ws, struct held_write *w);
/* Is anything here that nobody will look after unless the caller does? */
bool writes_wait(const struct writes *ws);
/* The same, and has it been here for so long? */
bool writes_overdue(const struct writes *ws, uint64_t ns);
/*
 * Takes the turn: the calls of a batch, in the order in which they came, go to
 * calls. 0: there are none, or it is another one's turn and they can wait.
 */
unsigned writes_begin(struct writes *ws, struct api_call *calls[API_CALLS_MAX]);
/* The batch is written. */
void writes_end(struct writes *ws);

#endif
