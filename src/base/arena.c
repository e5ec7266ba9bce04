/* SPDX-License-Identifier: ISC */
/*
 * Arenas: chunks that double in size up to a huge page. What is large gets a
 * chunk of its own, beside the one in use, so that little is left over.
 */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/huge.h"

#define CHUNK_FIRST (16u << 10)    /* bytes of an arena's first chunk */
#define CHUNK_MOST HUGE_BYTES      /* and of later ones, doubling up to this */
#define CHUNK_OWN (CHUNK_MOST / 4) /* from here on, a chunk of its own */

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
		c = huge_map(size, ARENA_ALIGN);
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

bool
arena_reserve(struct arena *a, size_t bytes)
{
	size_t size = a->next_size ? a->next_size : CHUNK_FIRST;
	struct arena_chunk *c;

	if ((size_t)(a->end - a->at) >= bytes)
		return true;
	if (a->kept_end) {
		c = a->chunks;
		if (a->at == c->data) { /* was never used */
			a->chunks = c->next;
			chunk_free(c);
		}
		a->at = a->kept_at;
		a->end = a->kept_end;
		a->kept_end = NULL;
		if ((size_t)(a->end - a->at) >= bytes)
			return true;
	}
	if (bytes > SIZE_MAX / 2)
		return false;
	if (bytes >= CHUNK_OWN || size < sizeof(*c) + bytes)
		size = (sizeof(*c) + bytes + ARENA_ALIGN - 1) / ARENA_ALIGN *
		       ARENA_ALIGN;
	c = chunk_new(size);
	if (!c)
		return false;
	c->next = a->chunks;
	a->chunks = c;
	if (bytes >= CHUNK_OWN && a->at) {
		a->kept_at = a->at;
		a->kept_end = a->end;
	} else if (size < CHUNK_MOST) {
		a->next_size = 2 * size < CHUNK_MOST ? 2 * size : CHUNK_MOST;
	}
	a->at = c->data;
	a->end = (unsigned char *)c + size;
	return true;
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
