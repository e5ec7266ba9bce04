/* SPDX-License-Identifier: ISC */
/*
 * Arenas: chunks that double in size up to a huge page. Large pieces stand in
 * runs of huge pages, beside the chunk in use: alone in pages of the usual
 * size, each page of a value would be a fault, which costs more than to copy
 * it, and in single huge pages much would be left over. What is left over of a
 * run is less than a huge page that was written to, and arena_touched counts it.
 *
 * Runs go back to the system at once: kept like single huge pages, they were
 * resident, until the kernel took them, beside the memtables that came next.
 */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/huge.h"

#define CHUNK_FIRST (16u << 10) /* bytes of an arena's first chunk */
#define CHUNK_MOST HUGE_BYTES   /* and of later ones, doubling up to this */
#define LARGE (CHUNK_MOST / 4)  /* from here on, in a run */
#define RUN_BYTES (8 * HUGE_BYTES)
#define RUN_SHARE 2u /* of a run; larger ones have a mapping of their own */

/* From here on, a chunk is not malloc's, which would keep it when it is freed. */
#define CHUNK_MAPPED ((size_t)128 << 10)

/* Begins at a multiple of ARENA_ALIGN, and so does what it holds. */
struct arena_chunk {
	struct arena_chunk *next; /* allocated before this one */
	size_t size;              /* bytes, this head included */
	unsigned char unused[ARENA_ALIGN - 2 * sizeof(size_t)];
	unsigned char data[];
};

static struct arena_chunk *
chunk_new(size_t size)
{
	struct arena_chunk *c;

	if (size == CHUNK_MOST)
		c = huge_new();
	else if (size >= CHUNK_MAPPED)
		c = huge_map(size,
		             size >= CHUNK_MOST ? HUGE_BYTES : ARENA_ALIGN);
	else
		c = aligned_alloc(ARENA_ALIGN, size);
	if (c)
		c->size = size;
	return c;
}

static void
chunk_free(struct arena_chunk *c)
{
	if (c->size == CHUNK_MOST)
		huge_free(c);
	else if (c->size >= CHUNK_MAPPED)
		huge_unmap(c, c->size);
	else
		free(c);
}

/* Small pieces are taken from one place, large ones from another. */
static void
change_place(struct arena *a)
{
	unsigned char *at = a->at, *end = a->end;

	a->at = a->other_at;
	a->end = a->other_end;
	a->other_at = at;
	a->other_end = end;
	a->large = !a->large;
}

/* The size of the chunk that the next `bytes` need. */
static size_t
chunk_size(struct arena *a, size_t bytes)
{
	size_t head = sizeof(struct arena_chunk), size = a->next_size;

	if (!a->large) {
		size = size ? size : CHUNK_FIRST;
		if (size < CHUNK_MOST)
			a->next_size = 2 * size;
		if (size >= head + bytes)
			return size;
	} else if (bytes <= RUN_BYTES / RUN_SHARE) {
		return RUN_BYTES;
	}
	return (head + bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

bool
arena_reserve(struct arena *a, size_t bytes)
{
	size_t size;
	struct arena_chunk *c;

	if ((bytes >= LARGE) != a->large)
		change_place(a);
	if ((size_t)(a->end - a->at) >= bytes)
		return true;
	if (bytes > SIZE_MAX / 2)
		return false;
	size = chunk_size(a, bytes);
	c = chunk_new(size);
	if (!c)
		return false;
	c->next = a->chunks;
	a->chunks = c;
	a->at = c->data;
	a->end = (unsigned char *)c + size;
	if (a->large)
		a->touched = (unsigned char *)c;
	return true;
}

size_t
arena_touched_large(struct arena *a)
{
	size_t rest = -(uintptr_t)a->at % HUGE_BYTES, more;

	/* The end of a mapping of its own need not be that of a huge page. */
	if (rest > (size_t)(a->end - a->at))
		rest = (size_t)(a->end - a->at);
	more = (size_t)(a->at + rest - a->touched);
	a->touched += more;
	return more;
}

void
arena_release(struct arena *a)
{
	struct arena_chunk *c;

	while ((c = a->chunks)) {
		a->chunks = c->next;
		chunk_free(c);
	}
}
