/* SPDX-License-Identifier: ISC */
/*
 * The job that carries out a plan: what the helper has to know of the tree,
 * which it does not see. It gets its inputs, and of the levels below them
 * where older entries of a key may be (so that a tombstone may go or not) and
 * where an output should end.
 */
#include <stdlib.h>

#include "store/job.h"
#include "store/plan.h"

static int
by_smallest(const void *a, const void *b)
{
	return slice_cmp(
		buf_slice(&sst_info_of(*(struct sst *const *)a)->smallest),
		buf_slice(&sst_info_of(*(struct sst *const *)b)->smallest));
}

/* The union of the ranges of count files, as ranges without overlap. */
static int
unite(struct job *job, struct sst **files, size_t count, struct err *err)
{
	int rc = 0;

	if (!count)
		return 0;
	job->deeper = calloc(count, sizeof(*job->deeper));
	if (!job->deeper)
		return err_nomem(err, count * sizeof(*job->deeper));
	qsort(files, count, sizeof(*files), by_smallest);
	for (size_t i = 0; i < count && !rc; i++) {
		const struct sst_info *t = sst_info_of(files[i]);
		struct key_range *last =
			job->deeper_count ? &job->deeper[job->deeper_count - 1]
					  : NULL;

		if (last && slice_cmp(buf_slice(&t->smallest),
		                      buf_slice(&last->largest)) <= 0) {
			if (slice_cmp(buf_slice(&t->largest),
			              buf_slice(&last->largest)) > 0)
				rc = buf_set(&last->largest,
				             buf_slice(&t->largest), err);
			continue;
		}
		last = &job->deeper[job->deeper_count++];
		rc = buf_set(&last->smallest, buf_slice(&t->smallest), err);
		if (!rc)
			rc = buf_set(&last->largest, buf_slice(&t->largest),
			             err);
	}
	return rc;
}

static int
fill_deeper(struct job *job, const struct plan *plan,
            const struct levels *levels, struct err *err)
{
	struct sst **files = NULL;
	size_t room = 0, at = 0, first, count;
	int rc;

	for (unsigned n = plan->output_level + 1; n < LEVELS_MAX; n++)
		room += levels->level[n].count;
	if (!room)
		return 0;
	files = calloc(room, sizeof(*files));
	if (!files)
		return err_nomem(err, room * sizeof(*files));
	for (unsigned n = plan->output_level + 1; n < LEVELS_MAX; n++) {
		levels_overlap(levels, n, plan->smallest, plan->largest, &first,
		               &count);
		for (size_t i = 0; i < count; i++)
			files[at++] = levels->level[n].files[first + i];
	}
	rc = unite(job, files, at, err);
	free(files);
	return rc;
}

static int
fill_grandparents(struct job *job, const struct plan *plan,
                  const struct levels *levels, uint64_t *bytes, struct err *err)
{
	unsigned n = plan->output_level + 1;
	size_t first, count;
	int rc = 0;

	*bytes = 0;
	job->grandparent_limit = PLAN_GRANDPARENTS * job->file_bytes;
	if (n >= LEVELS_MAX)
		return 0;
	levels_overlap(levels, n, plan->smallest, plan->largest, &first,
	               &count);
	if (!count)
		return 0;
	job->grandparents = calloc(count, sizeof(*job->grandparents));
	if (!job->grandparents)
		return err_nomem(err, count * sizeof(*job->grandparents));
	for (size_t i = 0; i < count && !rc; i++) {
		const struct sst_info *t =
			sst_info_of(levels->level[n].files[first + i]);

		rc = buf_set(&job->grandparents[i].largest,
		             buf_slice(&t->largest), err);
		job->grandparents[i].bytes = t->size;
		job->grandparent_count++;
		*bytes += t->size;
	}
	return rc;
}

int
job_from_plan(struct job *job, const struct plan *plan,
              const struct levels *levels, struct err *err)
{
	uint64_t grandparent_bytes = 0, most;
	int rc = 0;

	job->output_level = plan->output_level;
	job->inputs = calloc(plan->input_count, sizeof(*job->inputs));
	if (!job->inputs)
		return err_nomem(err, plan->input_count * sizeof(*job->inputs));
	for (size_t i = 0; i < plan->input_count; i++) {
		struct job_input *input = &job->inputs[i];

		rc = sst_info_copy(&input->info,
		                   sst_info_of(plan->inputs[i].file), err);
		if (rc)
			return rc;
		input->level = plan->inputs[i].level;
		job->input_count++;
	}
	rc = fill_deeper(job, plan, levels, err);
	if (!rc)
		rc = fill_grandparents(job, plan, levels, &grandparent_bytes,
		                       err);
	if (rc)
		return rc;
	/*
	 * A generous guess, as numbers cost nothing: nothing compresses at
	 * all, and half of the cuts come early. A helper that runs out of
	 * numbers makes its last file larger.
	 */
	most = 4 +
	       2 * ((plan->raw_bytes + plan->entries * 32) / job->file_bytes) +
	       2 * (grandparent_bytes / job->grandparent_limit);
	job->output_count =
		most < JOB_OUTPUTS_MAX ? (unsigned)most : JOB_OUTPUTS_MAX;
	return 0;
}
