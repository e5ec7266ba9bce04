/* SPDX-License-Identifier: ISC */
/*
 * Walking an SST. An iterator holds a reference to its SST and pins the index
 * as long as it lives, and the data block it stands in. Without fill_cache it
 * reads through a window of its own, so that a compaction or a long scan
 * leaves the cache to those who come back for the same keys. One that has
 * helpers reads ahead then (readahead.h).
 */
#include <stdlib.h>

#include "store/readahead.h"
#include "store/sst_read.h"

/*
 * A short scan is likely to be asked for again, or what it read to be; a long
 * one would push everything else out of the cache.
 */
#define CACHED_STREAK 16u /* blocks */

struct sst_iter {
	struct iter iter;
	struct sst *t;            /* one reference */
	struct sst_index *x;      /* pinned */
	struct sst_block *b;      /* pinned; NULL: none */
	struct sst_block *before; /* pinned: the one before that, since a seek
				     may be given a key that borrows from it */
	uint32_t block;           /* which one b is */
	uint32_t at;              /* the entry it stands on */
	bool backward;            /* how b was come to */
	unsigned streak;          /* blocks loaded one after the other */
	unsigned to_cache;        /* as many of them go into the cache */
	struct sst_window window; /* of the file, for the others */
	struct readahead_pool *helpers; /* NULL: there are none */
	struct readahead *ahead;        /* NULL: not yet */
};

static struct sst_iter *
self(struct iter *it)
{
	return (struct sst_iter *)(void *)it;
}

static void
unpin(struct sst_block *b)
{
	cache_block_unpin(b ? &b->head : NULL);
}

static int
off_the_end(struct sst_iter *s)
{
	s->iter.valid = false;
	return 0;
}

/* What comes now does not stand beside what was before. */
static void
jump(struct sst_iter *s)
{
	s->window.ahead = 0;
	s->streak = 0;
	readahead_stop(s->ahead);
	s->ahead = NULL;
}

/* A walk that has come this far is likely to go on. */
static void
look_ahead(struct sst_iter *s, uint32_t block)
{
	unsigned after = readahead_after(s->helpers);

	if (!s->ahead && after && s->streak >= after)
		s->ahead = readahead_start(s->helpers, s->t, s->x, block,
		                           s->backward);
}

static int
load(struct sst_iter *s, uint32_t block, bool backward, struct err *err)
{
	struct sst_block *b;
	int code;

	if (s->b && s->block == block)
		return 0;
	if (s->b && (backward != s->backward ||
	             block != (backward ? s->block - 1 : s->block + 1)))
		jump(s);
	s->backward = backward;
	look_ahead(s, block);
	if (s->ahead)
		code = readahead_next(s->ahead, &b, err);
	else
		code = sst_get_block(s->t, s->x, block,
		                     s->streak < s->to_cache ? NULL
		                                             : &s->window,
		                     backward, &b, err);
	if (code) {
		s->iter.valid = false;
		return code;
	}
	unpin(s->before);
	s->before = s->b;
	s->b = b;
	s->block = block;
	s->streak++;
	return 0;
}

static int
stand_on(struct sst_iter *s, uint32_t at)
{
	s->at = at;
	sst_block_entry(s->b, at, &s->iter.entry);
	s->iter.valid = true;
	return 0;
}

static int
to_first_of(struct sst_iter *s, uint32_t block, struct err *err)
{
	int code = load(s, block, false, err);

	return code ? code : stand_on(s, 0);
}

static int
to_last_of(struct sst_iter *s, uint32_t block, struct err *err)
{
	int code = load(s, block, true, err);

	return code ? code : stand_on(s, s->b->count - 1);
}

static int
iter_op_first(struct iter *it, struct err *err)
{
	struct sst_iter *s = self(it);

	jump(s);
	return to_first_of(s, 0, err);
}

static int
iter_op_last(struct iter *it, struct err *err)
{
	struct sst_iter *s = self(it);

	jump(s);
	return to_last_of(s, s->x->count - 1, err);
}

static int
iter_op_seek(struct iter *it, struct slice key, uint64_t version,
             struct err *err)
{
	struct sst_iter *s = self(it);
	uint32_t block = sst_index_seek(s->x, key, version), at;
	int code;

	if (block == s->x->count)
		return off_the_end(s);
	jump(s);
	code = load(s, block, false, err);
	if (code)
		return code;
	at = sst_block_seek(s->b, key, version);
	if (at < s->b->count)
		return stand_on(s, at);
	if (block + 1 == s->x->count)
		return off_the_end(s);
	return to_first_of(s, block + 1, err);
}

static int
iter_op_seek_before(struct iter *it, struct slice key, uint64_t version,
                    struct err *err)
{
	struct sst_iter *s = self(it);
	uint32_t block = sst_index_seek(s->x, key, version), at;
	int code;

	if (block == s->x->count)
		return iter_op_last(it, err);
	jump(s);
	code = load(s, block, true, err);
	if (code)
		return code;
	at = sst_block_seek(s->b, key, version);
	if (at)
		return stand_on(s, at - 1);
	if (!block)
		return off_the_end(s);
	return to_last_of(s, block - 1, err);
}

static int
iter_op_next(struct iter *it, struct err *err)
{
	struct sst_iter *s = self(it);

	if (s->at + 1 < s->b->count)
		return stand_on(s, s->at + 1);
	if (s->block + 1 == s->x->count)
		return off_the_end(s);
	return to_first_of(s, s->block + 1, err);
}

static int
iter_op_prev(struct iter *it, struct err *err)
{
	struct sst_iter *s = self(it);

	if (s->at)
		return stand_on(s, s->at - 1);
	if (!s->block)
		return off_the_end(s);
	return to_last_of(s, s->block - 1, err);
}

static void
iter_op_close(struct iter *it)
{
	struct sst_iter *s = self(it);

	readahead_stop(s->ahead);
	unpin(s->before);
	unpin(s->b);
	cache_block_unpin(s->x ? &s->x->head : NULL);
	buf_release(&s->window.bytes);
	sst_unref(s->t);
	free(s);
}

static const struct iter_ops sst_iter_ops = {
	.seek = iter_op_seek,
	.seek_before = iter_op_seek_before,
	.first = iter_op_first,
	.last = iter_op_last,
	.next = iter_op_next,
	.prev = iter_op_prev,
	.close = iter_op_close,
};

int
sst_iter_new(struct iter **out, struct sst *t, bool fill_cache, struct err *err)
{
	struct sst_iter *s = (struct sst_iter *)calloc(1, sizeof(*s));
	int code;

	*out = NULL;
	if (!s)
		return err_nomem(err, sizeof(*s));
	s->iter.ops = &sst_iter_ops;
	s->t = sst_ref(t);
	s->to_cache = fill_cache ? CACHED_STREAK : 0;
	code = sst_get_index(t, fill_cache, &s->x, err);
	if (code) {
		iter_op_close(&s->iter);
		return code;
	}
	*out = &s->iter;
	return 0;
}

void
sst_iter_read_ahead(struct iter *it, struct readahead_pool *p)
{
	struct sst_iter *s = self(it);

	jump(s);
	s->helpers = p;
}
