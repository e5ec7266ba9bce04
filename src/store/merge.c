/* SPDX-License-Identifier: ISC */
/*
 * The k-way merge: a loser tree over the children (Knuth, TAOCP 3, 5.4.1).
 *
 * Node 0 would be the winner, which has a member of its own; nodes 1 to n-1
 * hold the child that lost there; leaf n + i is child i. A step replays only
 * the winner's path: log2(n) comparisons, and each looks first at the leading
 * eight bytes of the keys, kept beside each other as numbers. Whoever equals
 * the winner must have lost to it or to another equal, so that a duplicate
 * always shows up as a comparison that yields 0.
 */
#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/merge.h"

struct child {
	struct iter *it; /* owned */
	uint64_t prefix; /* first 8 bytes of its key, big-endian, 0-padded */
};

struct merge {
	struct iter it; /* what the caller sees */
	bool backward;  /* direction in which the tree stands */
	bool duplicate; /* a comparison found (key, version) twice */
	size_t count;   /* children, at least 2 */
	size_t winner;  /* the child that `it` stands on */
	struct buf key; /* of a seek: the caller's may be a child's */
	size_t *losers; /* nodes 1 to count - 1 */
	struct child child[];
};

static inline void
load(struct child *c)
{
	struct slice key = c->it->entry.key;
	uint64_t prefix = 0;

	if (!c->it->valid)
		return;
	memcpy(&prefix, key.data, key.len < 8 ? key.len : 8);
	c->prefix = be64toh(prefix);
}

/* Does child a win over child b in the direction of the tree? */
static inline bool
wins(struct merge *m, size_t a, size_t b)
{
	const struct child *x = &m->child[a], *y = &m->child[b];
	int c;

	if (!x->it->valid || !y->it->valid)
		return x->it->valid;
	if (x->prefix != y->prefix)
		return (x->prefix < y->prefix) != m->backward;
	c = entry_order(x->it->entry.key, x->it->entry.version,
	                y->it->entry.key, y->it->entry.version);
	if (!c)
		m->duplicate = true;
	return m->backward ? c > 0 : c < 0;
}

/* Plays the whole tournament below a node; returns who wins it. */
static size_t
play(struct merge *m, size_t node)
{
	size_t a, b;

	if (node >= m->count)
		return node - m->count;
	a = play(m, 2 * node);
	b = play(m, 2 * node + 1);
	if (wins(m, b, a)) {
		m->losers[node] = a;
		return b;
	}
	m->losers[node] = b;
	return a;
}

/* Shows the winner to the caller. */
static int
show(struct merge *m, struct err *err)
{
	const struct iter *top = m->child[m->winner].it;
	char key[64];

	m->it.valid = top->valid && !m->duplicate;
	if (m->it.valid) {
		m->it.entry = top->entry;
		return 0;
	}
	if (!m->duplicate)
		return 0;
	m->duplicate = false;
	return err_set(
		err, LSMKV_ECORRUPT,
		"two sources hold the same version of a key, near \"%s\" "
		"version %" PRIu64,
		slice_printable(top->entry.key, key, sizeof(key)),
		top->entry.version);
}

static int
replay_all(struct merge *m, struct err *err)
{
	for (size_t i = 0; i < m->count; i++)
		load(&m->child[i]);
	m->duplicate = false;
	m->winner = play(m, 1);
	return show(m, err);
}

static int
replay_winner(struct merge *m, struct err *err)
{
	size_t w = m->winner;

	load(&m->child[w]);
	for (size_t node = (w + m->count) / 2; node; node /= 2)
		if (wins(m, m->losers[node], w)) {
			size_t loser = w;

			w = m->losers[node];
			m->losers[node] = loser;
		}
	m->winner = w;
	return show(m, err);
}

static int
merge_seek(struct iter *it, struct slice key, uint64_t version, struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc;

	it->valid = false;
	rc = buf_set(&m->key, key, err);
	for (size_t i = 0; i < m->count && !rc; i++)
		rc = iter_seek(m->child[i].it, buf_slice(&m->key), version,
		               err);
	m->backward = false;
	return rc ? rc : replay_all(m, err);
}

static int
merge_seek_before(struct iter *it, struct slice key, uint64_t version,
                  struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc;

	it->valid = false;
	rc = buf_set(&m->key, key, err);
	for (size_t i = 0; i < m->count && !rc; i++)
		rc = iter_seek_before(m->child[i].it, buf_slice(&m->key),
		                      version, err);
	m->backward = true;
	return rc ? rc : replay_all(m, err);
}

static int
merge_first(struct iter *it, struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc = 0;

	it->valid = false;
	for (size_t i = 0; i < m->count && !rc; i++)
		rc = iter_first(m->child[i].it, err);
	m->backward = false;
	return rc ? rc : replay_all(m, err);
}

static int
merge_last(struct iter *it, struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc = 0;

	it->valid = false;
	for (size_t i = 0; i < m->count && !rc; i++)
		rc = iter_last(m->child[i].it, err);
	m->backward = true;
	return rc ? rc : replay_all(m, err);
}

/*
 * Turns round: every other child goes to the far side of the winner's entry,
 * which borrows from the winner and is good until that one moves, last.
 */
static int
turn(struct merge *m, bool backward, struct err *err)
{
	struct iter *top = m->child[m->winner].it;
	int rc = 0;

	m->it.valid = false;
	for (size_t i = 0; i < m->count && !rc; i++) {
		if (i == m->winner)
			continue;
		rc = backward ? iter_seek_before(m->child[i].it, top->entry.key,
		                                 top->entry.version, err)
		              : iter_seek(m->child[i].it, top->entry.key,
		                          top->entry.version, err);
	}
	if (!rc)
		rc = backward ? iter_prev(top, err) : iter_next(top, err);
	m->backward = backward;
	return rc ? rc : replay_all(m, err);
}

static int
merge_next(struct iter *it, struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc;

	assert(it->valid);
	if (m->backward)
		return turn(m, false, err);
	rc = iter_next(m->child[m->winner].it, err);
	if (rc) {
		it->valid = false;
		return rc;
	}
	return replay_winner(m, err);
}

static int
merge_prev(struct iter *it, struct err *err)
{
	struct merge *m = (struct merge *)it;
	int rc;

	assert(it->valid);
	if (!m->backward)
		return turn(m, true, err);
	rc = iter_prev(m->child[m->winner].it, err);
	if (rc) {
		it->valid = false;
		return rc;
	}
	return replay_winner(m, err);
}

static void
merge_close(struct iter *it)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		iter_close(m->child[i].it);
	buf_release(&m->key);
	free(m->losers);
	free(m);
}

static const struct iter_ops merge_ops = {
	merge_seek, merge_seek_before, merge_first, merge_last,
	merge_next, merge_prev,        merge_close,
};

/* ---- a source of nothing ---- */

static int
empty_seek(struct iter *it, struct slice key, uint64_t version, struct err *err)
{
	(void)key;
	(void)version;
	(void)err;
	it->valid = false;
	return 0;
}

static int
empty_move(struct iter *it, struct err *err)
{
	(void)err;
	it->valid = false;
	return 0;
}

static void
empty_close(struct iter *it)
{
	free(it);
}

static const struct iter_ops empty_ops = {
	empty_seek, empty_seek, empty_move,  empty_move,
	empty_move, empty_move, empty_close,
};

int
merge_new(struct iter **out, struct iter **children, size_t count,
          struct err *err)
{
	struct merge *m = NULL;
	struct iter *empty;

	*out = NULL;
	if (count == 1) {
		*out = children[0];
		return 0;
	}
	if (!count) {
		empty = calloc(1, sizeof(*empty));
		if (!empty)
			return err_nomem(err, sizeof(*empty));
		empty->ops = &empty_ops;
		*out = empty;
		return 0;
	}
	m = calloc(1, sizeof(*m) + count * sizeof(m->child[0]));
	if (m)
		m->losers = calloc(count, sizeof(*m->losers));
	if (!m || !m->losers) {
		for (size_t i = 0; i < count; i++)
			iter_close(children[i]);
		free(m);
		return err_nomem(err, sizeof(*m));
	}
	m->it.ops = &merge_ops;
	m->count = count;
	for (size_t i = 0; i < count; i++)
		m->child[i].it = children[i];
	*out = &m->it;
	return 0;
}

/* ---- the rule ---- */

/* Can a range deeper down hold the key? Keys come in order. */
static bool
hides_deeper(struct merge_rule *rule, struct slice key)
{
	while (rule->deeper_at < rule->deeper_count &&
	       slice_cmp(buf_slice(&rule->deeper[rule->deeper_at].largest),
	                 key) < 0)
		rule->deeper_at++;
	return rule->deeper_at < rule->deeper_count &&
	       slice_cmp(buf_slice(&rule->deeper[rule->deeper_at].smallest),
	                 key) <= 0;
}

/*
 * Readers of a key are its open snapshots and, as the last one, everybody who
 * comes later and sees the newest. The key's entries come newest first, each
 * covers the readers from some index on, and one that covers no reader more
 * than those before it is shadowed. What covers reader 0 leaves nothing older
 * to be seen by anyone here, so that a tombstone has nothing left to hide
 * but what lies deeper.
 */
int
merge_judge(struct merge_rule *rule, const struct entry *e,
            enum merge_verdict *verdict, struct err *err)
{
	size_t covered;
	int rc;

	rule->first =
		!rule->started || !slice_equal(buf_slice(&rule->key), e->key);
	if (rule->first) {
		rc = buf_set(&rule->key, e->key, err);
		if (rc)
			return rc;
		rule->started = true;
		rule->covered = rule->snapshot_count + 1;
	}
	/* Everybody later sees all versions: index snapshot_count. */
	covered = rule->snapshot_count;
	while (covered && rule->snapshots[covered - 1] >= e->version)
		covered--;
	if (covered >= rule->covered) {
		*verdict = MERGE_SHADOWED;
		return 0;
	}
	rule->covered = covered;
	*verdict = MERGE_KEEP;
	if (covered ||
	    (e->kind != ENTRY_TOMBSTONE && !entry_expired(e, rule->now)))
		return 0;
	if (!hides_deeper(rule, e->key) || PLANTED("merge.drops_too_early"))
		*verdict = e->kind == ENTRY_TOMBSTONE ? MERGE_TOMBSTONE
		                                      : MERGE_EXPIRED;
	return 0;
}

void
merge_rule_release(struct merge_rule *rule)
{
	buf_release(&rule->key);
	rule->started = false;
	rule->deeper_at = 0;
}
