/* SPDX-License-Identifier: ISC */
/*
 * Scans: from all entries of a source to those that one snapshot sees.
 *
 * Forward, the first version of a key that the snapshot may see decides, and
 * the rest of that key is skipped. Backward, a key's oldest version comes
 * first: it is copied, and each newer one that may be seen replaces it, until
 * the source has left the key. After a few steps inside one key a seek is
 * cheaper than walking, so that a key with many versions costs no more than
 * one with few. Memory: one key, and backward one entry.
 */
#include <stdlib.h>

#include "store/scan.h"

#define STEPS_MAX 8u /* moves inside one key before a seek */

struct scan {
	struct iter *source;        /* owned */
	struct buf start, end;      /* of the range */
	bool reverse;               /* from end to start */
	bool started;               /* the source stands somewhere */
	bool ended;                 /* nothing more, or failed */
	int failed;                 /* what scan_next failed with */
	uint64_t snapshot;          /* newest version to be seen */
	uint64_t now;               /* epoch second for expiry */
	struct buf key;             /* of the key at hand */
	struct buf value;           /* backward: of the entry at hand */
	void (*release)(void *arg); /* NULL allowed */
	void *arg;                  /* for release */
};

int
scan_new(struct scan **out, struct iter *source, const struct scan_range *range,
         uint64_t snapshot, uint64_t now, void (*release)(void *arg), void *arg,
         struct err *err)
{
	struct scan *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s) {
		iter_close(source);
		if (release)
			release(arg);
		return err_nomem(err, sizeof(*s));
	}
	s->source = source;
	s->reverse = range->reverse;
	s->snapshot = snapshot;
	s->now = now;
	s->release = release;
	s->arg = arg;
	rc = buf_set(&s->start, range->start, err);
	if (!rc)
		rc = buf_set(&s->end, range->end, err);
	if (rc) {
		scan_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
scan_close(struct scan *s)
{
	if (!s)
		return;
	iter_close(s->source);
	if (s->release)
		s->release(s->arg);
	buf_release(&s->start);
	buf_release(&s->end);
	buf_release(&s->key);
	buf_release(&s->value);
	free(s);
}

static bool
on_key(const struct scan *s)
{
	return s->source->valid &&
	       slice_equal(s->source->entry.key, buf_slice(&s->key));
}

static bool
is_gone(const struct scan *s, const struct entry *e)
{
	return e->kind == ENTRY_TOMBSTONE || entry_expired(e, s->now);
}

/* ---- forward ---- */

/* To the newest version of s->key that the snapshot sees, or beyond it. */
static int
skip_newer(struct scan *s, struct err *err)
{
	unsigned steps = 0;
	int rc = 0;

	while (!rc && on_key(s) && s->source->entry.version > s->snapshot)
		rc = ++steps < STEPS_MAX
		             ? iter_next(s->source, err)
		             : iter_seek(s->source, buf_slice(&s->key),
		                         s->snapshot, err);
	return rc;
}

/* To the first entry behind s->key. */
static int
skip_key(struct scan *s, struct err *err)
{
	unsigned steps = 0;
	int rc = 0;

	/* Versions begin at 1: (key, 0) stands behind all of them. */
	while (!rc && on_key(s))
		rc = ++steps < STEPS_MAX
		             ? iter_next(s->source, err)
		             : iter_seek(s->source, buf_slice(&s->key), 0, err);
	return rc;
}

static int
forward(struct scan *s, struct entry *e, struct err *err)
{
	struct iter *source = s->source;
	int rc;

	if (s->started)
		rc = skip_key(s, err);
	else if (s->start.len)
		rc = iter_seek(source, buf_slice(&s->start), VERSION_MAX, err);
	else
		rc = iter_first(source, err);
	s->started = true;
	for (; !rc && source->valid; rc = skip_key(s, err)) {
		if (s->end.len &&
		    slice_cmp(source->entry.key, buf_slice(&s->end)) >= 0)
			return LSMKV_END;
		rc = buf_set(&s->key, source->entry.key, err);
		if (!rc)
			rc = skip_newer(s, err);
		if (rc)
			return rc;
		if (on_key(s) && !is_gone(s, &source->entry)) {
			*e = source->entry;
			return 0;
		}
	}
	return rc ? rc : LSMKV_END;
}

/* ---- backward ---- */

/* Copies the source's entry out: it must outlive the source's next moves. */
static int
take(struct scan *s, struct entry *e, struct err *err)
{
	int rc = buf_set(&s->value, s->source->entry.value, err);

	*e = s->source->entry;
	e->key = buf_slice(&s->key);
	e->value = buf_slice(&s->value);
	return rc;
}

/*
 * The source stands on the oldest version of s->key. Leaves it on the key
 * before; *found says whether *e is what the snapshot sees of s->key.
 */
static int
newest_seen(struct scan *s, struct entry *e, bool *found, struct err *err)
{
	struct slice key = buf_slice(&s->key);
	struct iter *source = s->source;
	unsigned steps = 0;
	int rc = 0;

	*found = false;
	while (!rc && on_key(s)) {
		bool seen = source->entry.version <= s->snapshot;

		if (++steps < STEPS_MAX && seen) {
			*found = true;
			rc = take(s, e, err);
		} else if (steps >= STEPS_MAX) {
			rc = seen ? iter_seek(source, key, s->snapshot, err)
			          : 0;
			if (!rc && seen) {
				*found = true;
				rc = take(s, e, err);
			}
			return rc ? rc
			          : iter_seek_before(source, key, VERSION_MAX,
			                             err);
		}
		if (!rc)
			rc = iter_prev(source, err);
	}
	return rc;
}

static int
backward(struct scan *s, struct entry *e, struct err *err)
{
	struct iter *source = s->source;
	bool found = false;
	int rc = 0;

	if (!s->started && s->end.len)
		rc = iter_seek_before(source, buf_slice(&s->end), VERSION_MAX,
		                      err);
	else if (!s->started)
		rc = iter_last(source, err);
	s->started = true;
	while (!rc && source->valid) {
		if (s->start.len &&
		    slice_cmp(source->entry.key, buf_slice(&s->start)) < 0)
			return LSMKV_END;
		rc = buf_set(&s->key, source->entry.key, err);
		if (!rc)
			rc = newest_seen(s, e, &found, err);
		if (!rc && found && !is_gone(s, e))
			return 0;
	}
	return rc ? rc : LSMKV_END;
}

int
scan_next(struct scan *s, struct entry *e, struct err *err)
{
	int rc;

	if (s->failed)
		return err_set(err, s->failed, "the scan has failed before");
	if (s->ended)
		return LSMKV_END;
	rc = s->reverse ? backward(s, e, err) : forward(s, e, err);
	s->ended = rc != 0;
	s->failed = rc < 0 ? rc : 0;
	return rc;
}
