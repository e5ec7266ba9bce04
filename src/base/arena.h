/* SPDX-License-Identifier: ISC */
/*
 * An arena: memory that is taken piece by piece and freed as a whole. One
 * thread at a time; what was taken may be read by any. Empty when all its
 * members are zero.
 */
#ifndef LSMKV_BASE_ARENA_H
#define LSMKV_BASE_ARENA_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#define ARENA_ALIGN 64u /* bytes of a cache line; where a chunk begins */

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* all, newest first */
	size_t next_size;           /* of the next chunk */
	unsigned char *at, *end;    /* what is free of the chunk in use */
	unsigned char *other_at;    /* the same, of the chunk for large */
	unsigned char *other_end;   /* pieces, or for small ones */
	bool large;                 /* `at` is for large pieces */
	unsigned char *touched;     /* of the chunk for these: up to here it
				       was told by arena_touched */
};

/*
 * Makes room for `bytes` in one piece, which may be taken in several; false
 * when out of memory. Room that was not taken is not lost to the next one.
 */
bool arena_reserve(struct arena *a, size_t bytes);
void arena_release(struct arena *a);

/*
 * The next `bytes` of what was reserved. Aligned as the sum of what was taken
 * is; pieces of a multiple of ARENA_ALIGN begin at one.
 */
static inline void *
arena_take(struct arena *a, size_t bytes)
{
	unsigned char *at = a->at;

	assert((size_t)(a->end - at) >= bytes);
	a->at += bytes;
	return at;
}

size_t arena_touched_large(struct arena *a);

/*
 * How much more memory is in use, now that `bytes` were taken since the last
 * call and the last arena_reserve: as many, or, of large pieces, all of each
 * huge page that they are the first in.
 */
static inline size_t
arena_touched(struct arena *a, size_t bytes)
{
	return a->large ? arena_touched_large(a) : bytes;
}

#endif
