/* SPDX-License-Identifier: ISC */
/* See plan_inputs.h. */
#include <stdlib.h>

#include "store/plan_inputs.h"

#define EXPAND 25u /* a job grows to this many files' bytes for free */

/* Of neighbours, those that are at most so many times what came so far. */
#define JOIN_TIMES 4u
#define JOIN_FILES 256u /* and no more of them than these */

static int
add(struct plan *p, unsigned level, struct sst *file, struct err *err)
{
	const struct sst_info *info = sst_info_of(file);
	struct slice smallest = buf_slice(&info->smallest);
	struct slice largest = buf_slice(&info->largest);
	struct plan_file *inputs;

	inputs = reallocarray(p->inputs, p->input_count + 1, sizeof(*inputs));
	if (!inputs)
		return err_nomem(err, (p->input_count + 1) * sizeof(*inputs));
	p->inputs = inputs;
	if (!p->input_count) {
		p->from_level = level;
		p->smallest = smallest;
		p->largest = largest;
	}
	inputs[p->input_count].level = level;
	inputs[p->input_count].file = sst_ref(file);
	p->input_count++;
	p->bytes += info->size;
	p->raw_bytes += info->raw_bytes;
	p->entries += info->entries;
	if (slice_cmp(smallest, p->smallest) < 0)
		p->smallest = smallest;
	if (slice_cmp(largest, p->largest) > 0)
		p->largest = largest;
	return 0;
}

int
plan_add_run(struct plan *p, const struct levels *l, unsigned n, size_t first,
             size_t count, struct err *err)
{
	int rc = 0;

	for (size_t i = first; i < first + count && !rc; i++)
		rc = add(p, n, l->level[n].files[i], err);
	return rc;
}

static uint64_t
run_bytes(const struct levels *l, unsigned n, size_t first, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = first; i < first + count; i++)
		sum += sst_info_of(l->level[n].files[i])->size;
	return sum;
}

uint64_t
plan_overlap_bytes(const struct levels *l, unsigned n, struct slice smallest,
                   struct slice largest)
{
	size_t first, count;

	if (n >= LEVELS_MAX)
		return 0;
	levels_overlap(l, n, smallest, largest, &first, &count);
	return run_bytes(l, n, first, count);
}

int
plan_add_level0(struct plan *p, const struct levels *l, size_t seed,
                struct err *err)
{
	const struct level *zero = &l->level[0];
	struct slice smallest =
		buf_slice(&sst_info_of(zero->files[seed])->smallest);
	struct slice largest =
		buf_slice(&sst_info_of(zero->files[seed])->largest);
	bool *taken = calloc(zero->count, sizeof(*taken));
	bool more = true;
	int rc = 0;

	if (!taken)
		return err_nomem(err, zero->count);
	taken[seed] = true;
	while (more) {
		more = false;
		for (size_t i = 0; i < zero->count; i++) {
			const struct sst_info *t = sst_info_of(zero->files[i]);

			if (taken[i] ||
			    slice_cmp(buf_slice(&t->smallest), largest) > 0 ||
			    slice_cmp(buf_slice(&t->largest), smallest) < 0)
				continue;
			taken[i] = more = true;
			if (slice_cmp(buf_slice(&t->smallest), smallest) < 0)
				smallest = buf_slice(&t->smallest);
			if (slice_cmp(buf_slice(&t->largest), largest) > 0)
				largest = buf_slice(&t->largest);
		}
	}
	for (size_t i = 0; i < zero->count && !rc; i++)
		if (taken[i])
			rc = add(p, 0, zero->files[i], err);
	free(taken);
	return rc;
}

unsigned
plan_first_below(const struct plan *p, const struct levels *l, unsigned n,
                 unsigned otherwise)
{
	size_t first, count;

	for (unsigned m = n + 1; m < LEVELS_MAX; m++) {
		levels_overlap(l, m, p->smallest, p->largest, &first, &count);
		if (count)
			return m;
	}
	return otherwise;
}

static uint64_t
size_at(const struct levels *l, unsigned n, size_t index)
{
	return sst_info_of(l->level[n].files[index])->size;
}

/*
 * The files around place `at` of level n that a small file of `bytes` takes
 * in: [*first, *first + *count). Each is at most JOIN_TIMES what came before
 * it, so that no byte is written again more often than a logarithm says.
 */
static void
small_neighbours(const struct plan_input *in, unsigned n, size_t at,
                 uint64_t bytes, size_t *first, size_t *count)
{
	const struct levels *l = in->levels;
	size_t end = at;

	*first = at;
	while (bytes <= in->file_bytes / 2 && end - *first < JOIN_FILES) {
		uint64_t limit = JOIN_TIMES * bytes;

		if (limit > in->file_bytes / 2)
			limit = in->file_bytes / 2;
		if (*first && size_at(l, n, *first - 1) <= limit)
			bytes += size_at(l, n, --*first);
		else if (end < l->level[n].count && size_at(l, n, end) <= limit)
			bytes += size_at(l, n, end++);
		else
			break;
	}
	*count = end - *first;
}

int
plan_add_target(struct plan *p, const struct plan_input *in, unsigned target,
                bool may_move, struct err *err)
{
	const struct levels *l = in->levels;
	size_t first = 0, count = 0;

	p->output_level = target;
	p->kind = PLAN_MERGE;
	if (target == p->from_level)
		return 0;
	levels_overlap(l, target, p->smallest, p->largest, &first, &count);
	if (may_move && !count && p->input_count == 1 &&
	    plan_overlap_bytes(l, target + 1, p->smallest, p->largest) <=
	            PLAN_GRANDPARENTS * in->file_bytes) {
		small_neighbours(in, target, first, p->bytes, &first, &count);
		/* To move it costs nothing, and asks for no room. */
		if (p->bytes + run_bytes(l, target, first, count) >
		    in->room_bytes)
			count = 0;
		if (!count)
			p->kind = PLAN_MOVE;
	}
	return plan_add_run(p, l, target, first, count, err);
}

/* ---- one level down ---- */

/*
 * Widens [*first, *first + *count) of level n by neighbours that take part
 * without more of the level below: their way down is free.
 */
static void
expand(const struct plan_input *in, unsigned n, size_t *first, size_t *count)
{
	const struct level *level = &in->levels->level[n];
	uint64_t limit = EXPAND * in->file_bytes, bytes;
	size_t begin, below, begin_now, below_now;
	struct slice smallest, largest;

	smallest = buf_slice(&sst_info_of(level->files[*first])->smallest);
	largest = buf_slice(
		&sst_info_of(level->files[*first + *count - 1])->largest);
	levels_overlap(in->levels, n + 1, smallest, largest, &begin, &below);
	if (!below)
		return;
	bytes = run_bytes(in->levels, n, *first, *count) +
	        run_bytes(in->levels, n + 1, begin, below);
	while (*first + *count < level->count) {
		const struct sst_info *t =
			sst_info_of(level->files[*first + *count]);

		levels_overlap(in->levels, n + 1, smallest,
		               buf_slice(&t->largest), &begin_now, &below_now);
		bytes += t->size;
		if (below_now != below || bytes > limit)
			break;
		largest = buf_slice(&t->largest);
		++*count;
	}
	while (*first) {
		const struct sst_info *t =
			sst_info_of(level->files[*first - 1]);

		levels_overlap(in->levels, n + 1, buf_slice(&t->smallest),
		               largest, &begin_now, &below_now);
		bytes += t->size;
		if (below_now != below || bytes > limit)
			break;
		smallest = buf_slice(&t->smallest);
		--*first;
		++*count;
	}
}

int
plan_push(struct plan *p, const struct plan_input *in, unsigned n, size_t index,
          struct err *err)
{
	size_t first = index, count = 1;
	int rc;

	if (!n) {
		rc = plan_add_level0(p, in->levels, index, err);
	} else {
		expand(in, n, &first, &count);
		rc = plan_add_run(p, in->levels, n, first, count, err);
	}
	return rc ? rc : plan_add_target(p, in, n + 1, true, err);
}

/* How many of the oldest files of level 0 find room, one at least. */
static size_t
oldest_with_room(const struct plan_input *in)
{
	const struct level *zero = &in->levels->level[0];
	struct slice smallest = { 0 }, largest = { 0 };
	uint64_t bytes = 0;

	for (size_t count = 0; count < zero->count; count++) {
		const struct sst_info *t =
			sst_info_of(zero->files[zero->count - 1 - count]);
		struct slice from = buf_slice(&t->smallest);
		struct slice to = buf_slice(&t->largest);

		if (!count || slice_cmp(from, smallest) < 0)
			smallest = from;
		if (!count || slice_cmp(to, largest) > 0)
			largest = to;
		bytes += t->size;
		if (count && bytes + plan_overlap_bytes(in->levels, 1, smallest,
		                                        largest) >
		                     in->room_bytes)
			return count;
	}
	return zero->count;
}

int
plan_push_little(struct plan *p, const struct plan_input *in, unsigned n,
                 size_t index, struct err *err)
{
	size_t count = n ? 1 : oldest_with_room(in);
	int rc;

	if (!n)
		index = in->levels->level[0].count - count;
	rc = plan_add_run(p, in->levels, n, index, count, err);
	return rc ? rc : plan_add_target(p, in, n + 1, true, err);
}
