/* SPDX-License-Identifier: ISC */
/*
 * Choosing the next compaction; plan.h tells the policy, plan_inputs.h what
 * comes along with a choice. Runs in the compactor's thread and in tests.
 */
#include <stdlib.h>

#include "base/planted.h"
#include "store/plan_inputs.h"

#define DEPTH 10u      /* a level is this many times the one above */
#define SWEEP_FILES 4u /* files' bytes of the upper level a sweep's job takes */
#define DENSE 0.5      /* this share of garbage is plenty */

#define SETTLE_BYTES_PER_MS 4000u /* a settling job waits for its size */

void
plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->input_count; i++)
		sst_unref(p->inputs[i].file);
	free(p->inputs);
	*p = (struct plan)PLAN_INIT;
}

const char *
plan_why_word(enum plan_why why)
{
	static const char *const words[] = { "size", "reclaim", "settle",
		                             "all" };

	return words[why];
}

static uint64_t
age_ms(const struct plan_input *in, const struct sst_info *t)
{
	uint64_t made_ms = t->created * 1000;

	/* A clock that was set back must not keep a file for ever. */
	return made_ms > in->now_ms ? UINT64_MAX : in->now_ms - made_ms;
}

/*
 * The file of level n >= 1 that drags the least along, or the oldest of those;
 * only files of at least min_age_ms. False if there is none.
 */
static bool
cheapest(const struct plan_input *in, unsigned n, uint64_t min_age_ms,
         size_t *index)
{
	const struct level *level = &in->levels->level[n];
	double best = 0;
	bool found = false;

	for (size_t i = 0; i < level->count; i++) {
		const struct sst_info *t = sst_info_of(level->files[i]);
		double ratio;

		if (age_ms(in, t) < min_age_ms)
			continue;
		ratio = (double)plan_overlap_bytes(in->levels, n + 1,
		                                   buf_slice(&t->smallest),
		                                   buf_slice(&t->largest)) /
		        (double)(t->size ? t->size : 1);
		if (found &&
		    (ratio > best ||
		     (ratio >= best &&
		      t->number > sst_info_of(level->files[*index])->number)))
			continue;
		found = true;
		best = ratio;
		*index = i;
	}
	return found;
}

/* ---- over the target ---- */

static unsigned
deepest(const struct levels *l)
{
	unsigned n = LEVELS_MAX - 1;

	while (n && !l->level[n].count)
		n--;
	return n;
}

static uint64_t
times_depth(uint64_t bytes, unsigned steps)
{
	while (steps-- && bytes < UINT64_MAX / DEPTH)
		bytes *= DEPTH;
	return bytes;
}

static uint64_t
share_of_deepest(const struct levels *l, unsigned last, unsigned n)
{
	uint64_t bytes = l->level[last].bytes;

	for (; n < last; n++)
		bytes /= DEPTH;
	return bytes;
}

/*
 * Level 1 has its fixed target and every other one ten times the target of the
 * one above, but none above the deepest more than its tenth of what really is
 * below: otherwise a store that has just outgrown a level would hold two
 * levels of about the same size, and with them everything twice.
 */
static uint64_t
target_bytes(const struct plan_input *in, unsigned n)
{
	unsigned last = deepest(in->levels);
	uint64_t fixed = times_depth(in->level1_bytes, n - 1), share;

	if (n >= last)
		return fixed;
	share = share_of_deepest(in->levels, last, n);
	if (share < in->level1_bytes)
		share = in->level1_bytes;
	return share < fixed ? share : fixed;
}

double
plan_score(const struct plan_input *in, unsigned n)
{
	uint64_t target;

	if (!n)
		return (double)in->levels->level[0].count /
		       (double)(in->level0_files ? in->level0_files : 1);
	if (n == LEVELS_MAX - 1)
		return 0;
	target = target_bytes(in, n);
	return (double)in->levels->level[n].bytes /
	       (double)(target ? target : 1);
}

/*
 * A file of a level over its target that has nothing below it: to move it
 * costs nothing, and makes what comes into its level from above cheaper.
 */
static bool
find_free_move(const struct plan_input *in, unsigned *level, size_t *index)
{
	for (unsigned n = 1; n < LEVELS_MAX - 1; n++) {
		const struct sst_info *t;

		if (plan_score(in, n) < 1 || !cheapest(in, n, 0, index))
			continue;
		t = sst_info_of(in->levels->level[n].files[*index]);
		if (plan_overlap_bytes(in->levels, n + 1,
		                       buf_slice(&t->smallest),
		                       buf_slice(&t->largest)))
			continue;
		*level = n;
		return true;
	}
	return false;
}

static int
pick_size(struct plan *p, const struct plan_input *in, struct err *err)
{
	double best = plan_score(in, 0);
	unsigned level = 0;
	size_t index;

	if (find_free_move(in, &level, &index)) {
		p->why = PLAN_SIZE;
		p->score = plan_score(in, level);
		return plan_push(p, in, level, index, err);
	}
	/* Level 0 far over its target holds up writers: it cannot wait. */
	for (unsigned n = 1; n < LEVELS_MAX && best < 2; n++) {
		double score = plan_score(in, n);

		if (score > best) {
			best = score;
			level = n;
		}
	}
	if (best < 1 || !in->levels->level[level].count)
		return 0;
	p->why = PLAN_SIZE;
	p->score = best;
	index = in->levels->level[0].count - 1; /* the oldest */
	if (level && !cheapest(in, level, 0, &index))
		return 0;
	return plan_push(p, in, level, index, err);
}

/* ---- garbage ---- */

static uint64_t
retained_in(const struct plan_input *in, uint64_t number)
{
	for (size_t i = 0; i < in->retained_count; i++)
		if (in->retained[i].number == number)
			return in->retained[i].entries;
	return 0;
}

/*
 * The share of a file's entries known to be garbage that can go now; 0 if
 * there is none. How many have expired is not known, only that one has.
 */
static double
garbage(const struct plan_input *in, const struct sst_info *t)
{
	uint64_t entries = t->tombstones + retained_in(in, t->number);

	if (t->max_version > in->oldest_snapshot)
		return 0;
	if (!entries && t->min_expires && t->min_expires <= in->now_ms / 1000)
		entries = 1;
	return (double)entries / (double)(t->entries ? t->entries : 1);
}

/* Plenty of it below level 0 has waited before: once more, but shorter. */
static bool
is_due(const struct plan_input *in, const struct sst_info *t, unsigned n,
       double share)
{
	uint64_t wait =
		n && share >= DENSE ? in->reclaim_ms / 4 : in->reclaim_ms;

	return age_ms(in, t) >= wait;
}

static int
pick_reclaim(struct plan *p, const struct plan_input *in, struct err *err)
{
	const struct levels *l = in->levels;
	double best = 0;
	unsigned level = 0, target;
	size_t index = 0;
	int rc;

	/* The upper level wins a tie: it makes the lower one's work easier. */
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < l->level[n].count; i++) {
			const struct sst_info *t =
				sst_info_of(l->level[n].files[i]);
			double share = garbage(in, t);

			if (share <= best || (in->resting && share < DENSE) ||
			    !is_due(in, t, n, share))
				continue;
			best = share;
			level = n;
			index = i;
		}
	if (best <= 0)
		return 0;
	p->why = PLAN_RECLAIM;
	p->score = best;
	p->dense = best >= DENSE;
	rc = level ? plan_add_run(p, l, level, index, 1, err)
	           : plan_add_level0(p, l, index, err);
	if (rc)
		return rc;
	target = plan_first_below(p, l, level, level ? level : 1);
	return plan_add_target(p, in, target, false, err);
}

/*
 * How long files must have rested to be merged with so many bytes on mere
 * suspicion: where writes come in bursts, the next one would do it again.
 */
static uint64_t
settle_ms(const struct plan_input *in, uint64_t bytes)
{
	return in->reclaim_ms + bytes / SETTLE_BYTES_PER_MS;
}

/*
 * What rests in upper levels may shadow as much of the deepest, and nobody
 * knows before it is merged; worth it while that may be over a tenth.
 */
static int
pick_settle(struct plan *p, const struct plan_input *in, struct err *err)
{
	const struct levels *l = in->levels;
	unsigned last = deepest(l);
	size_t index = 0;

	if (in->resting)
		return 0;
	p->why = PLAN_SETTLE;
	/* Newest first: when that has rested, all of level 0 has. */
	if (l->level[0].count + (last > 0) >= 2 && l->level[0].count &&
	    l->level[0].bytes > share_of_deepest(l, last, 0) * (last > 0) &&
	    age_ms(in, sst_info_of(l->level[0].files[0])) >=
	            settle_ms(in, l->level[0].bytes + l->level[1].bytes))
		return plan_push(p, in, 0, l->level[0].count - 1, err);
	for (unsigned n = 1; n < last; n++)
		if (l->level[n].bytes > share_of_deepest(l, last, n) &&
		    cheapest(in, n, settle_ms(in, DEPTH * in->file_bytes),
		             &index))
			return plan_push(p, in, n, index, err);
	return 0;
}

/* ---- little room ---- */

/* What the outputs of p may need on the disk. */
static uint64_t
asks_for(const struct plan *p)
{
	return p->kind == PLAN_MERGE ? p->bytes : 0;
}

/* *best becomes *p where that asks for less; the other one is released. */
static void
prefer_less(struct plan *best, struct plan *p)
{
	if (p->kind != PLAN_NONE && asks_for(p) < asks_for(best)) {
		plan_release(best);
		*best = *p;
		*p = (struct plan)PLAN_INIT;
	}
	plan_release(p);
}

/* The place of the plan's first input in its level, which is not 0. */
static size_t
first_input(const struct plan *p, const struct levels *l)
{
	const struct level *level = &l->level[p->from_level];
	size_t i = 0;

	while (level->files[i] != p->inputs[0].file)
		i++;
	return i;
}

/*
 * What was chosen may find no room for its outputs. Less of it may, one level
 * down only, or less of what else is over its target; where nothing does, the
 * least is worth a try, since nobody knows how much of it is garbage. The
 * targets of the upper levels bound what that is.
 */
static int
pick_little(struct plan *best, const struct plan_input *in, struct err *err)
{
	const unsigned from = best->from_level, last = deepest(in->levels);
	const enum plan_why why = best->why;
	const bool dense = best->dense;
	size_t chosen = from ? first_input(best, in->levels) : 0;
	int rc = 0;

	for (unsigned n = 0; n < LEVELS_MAX - 1 && !rc; n++) {
		double score = plan_score(in, n);
		struct plan p = PLAN_INIT;
		size_t index = chosen;

		if (asks_for(best) <= in->room_bytes)
			break;
		if (!in->levels->level[n].count ||
		    (score < 1 && (n != from || (n && n >= last))) ||
		    (n && score >= 1 && !cheapest(in, n, 0, &index)))
			continue;
		p.why = score < 1 ? why : PLAN_SIZE;
		p.dense = score < 1 && dense;
		p.score = score;
		rc = plan_push_little(&p, in, n, index, err);
		if (rc)
			plan_release(&p);
		else
			prefer_less(best, &p);
	}
	return rc;
}

int
plan_pick(struct plan *out, const struct plan_input *in, struct err *err)
{
	int rc = pick_size(out, in, err);

	if (!rc && out->kind == PLAN_NONE)
		rc = pick_reclaim(out, in, err);
	if (!rc && out->kind == PLAN_NONE)
		rc = pick_settle(out, in, err);
	if (!rc && asks_for(out) > in->room_bytes &&
	    !PLANTED("plan.ignores_room"))
		rc = pick_little(out, in, err);
	return rc;
}

/* ---- everything ---- */

void
plan_sweep_release(struct plan_sweep *sweep)
{
	buf_release(&sweep->key);
}

static bool
is_clean(const struct plan_input *in)
{
	const struct levels *l = in->levels;
	unsigned last = deepest(l);

	for (unsigned n = 0; n < last; n++)
		if (l->level[n].count)
			return false;
	if (!last)
		return !l->level[0].count;
	for (size_t i = 0; i < l->level[last].count; i++)
		if (garbage(in, sst_info_of(l->level[last].files[i])) > 0)
			return false;
	return true;
}

/* The piece of level n >= 1 behind the sweep's key; false at its end. */
static bool
next_piece(const struct plan_input *in, const struct plan_sweep *sweep,
           bool garbage_only, size_t *first, size_t *count)
{
	const struct level *level = &in->levels->level[sweep->level];
	uint64_t bytes = 0;

	*count = 0;
	for (size_t i = 0; i < level->count; i++) {
		const struct sst_info *t = sst_info_of(level->files[i]);

		if (sweep->started && slice_cmp(buf_slice(&t->smallest),
		                                buf_slice(&sweep->key)) <= 0)
			continue;
		if (garbage_only && garbage(in, t) <= 0) {
			if (*count)
				break;
			continue;
		}
		if (!*count)
			*first = i;
		++*count;
		bytes += t->size;
		if (bytes >= SWEEP_FILES * in->file_bytes)
			break;
	}
	return *count > 0;
}

static int
sweep_level(struct plan *out, const struct plan_input *in,
            struct plan_sweep *sweep, unsigned last, struct err *err)
{
	const struct levels *l = in->levels;
	unsigned n = sweep->level;
	size_t first = 0, count = 0;
	int rc;

	if (!n) {
		sweep->level = 1;
		if (!l->level[0].count)
			return 0;
		rc = plan_add_run(out, l, 0, 0, l->level[0].count, err);
		return rc ? rc : plan_add_target(out, in, 1, false, err);
	}
	if (!next_piece(in, sweep, n == last, &first, &count)) {
		sweep->level++;
		sweep->started = false;
		return 0;
	}
	rc = plan_add_run(out, l, n, first, count, err);
	if (rc)
		return rc;
	rc = buf_set(&sweep->key, out->largest, err);
	if (rc)
		return rc;
	sweep->started = true;
	return plan_add_target(out, in, n == last ? n : n + 1, true, err);
}

int
plan_pick_all(struct plan *out, const struct plan_input *in, uint64_t bytes_max,
              struct plan_sweep *sweep, struct err *err)
{
	const struct levels *l = in->levels;
	unsigned last = deepest(l);
	int rc = 0;

	out->why = PLAN_ALL;
	if (sweep->done || is_clean(in)) {
		sweep->done = true;
		return 0;
	}
	if (!sweep->level && levels_bytes(l) <= bytes_max) {
		for (unsigned n = 0; n < LEVELS_MAX && !rc; n++)
			rc = plan_add_run(out, l, n, 0, l->level[n].count, err);
		out->kind = PLAN_MERGE;
		out->output_level = last ? last : 1;
		sweep->done = true;
		return rc;
	}
	while (!rc && out->kind == PLAN_NONE) {
		if (sweep->level > (last ? last : 1)) {
			sweep->done = true;
			break;
		}
		rc = sweep_level(out, in, sweep, last, err);
	}
	return rc;
}
