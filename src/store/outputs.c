/* SPDX-License-Identifier: ISC */
/*
 * Outputs of a compaction: verified before they are installed, removed when
 * they are not. Runs in the responder, and believes nothing that the helper
 * says: a wrong file that became part of the tree would be wrong for good,
 * and its inputs gone.
 */
#include "base/planted.h"
#include "store/manifest.h"
#include "store/names.h"
#include "store/outputs.h"

static int
wrong(struct err *err, const char *what)
{
	return err_set(err, LSMKV_ECHILD, "the result is wrong: %s", what);
}

static int
verify_counts(const struct job *job, const struct job_result *r,
              struct err *err)
{
	uint64_t in = 0, tombstones = 0, out = 0, sum = 0;

	for (size_t i = 0; i < job->input_count; i++) {
		in += job->inputs[i].info.entries;
		tombstones += job->inputs[i].info.tombstones;
	}
	for (size_t i = 0; i < r->output_count; i++)
		out += r->outputs[i].info.entries;
	if (r->entries_in != in)
		return wrong(err, "not all entries were read");
	if (r->entries_out != out)
		return wrong(err, "its files do not hold what it kept");
	if (__builtin_add_overflow(r->entries_out, r->shadowed, &sum) ||
	    __builtin_add_overflow(sum, r->expired, &sum) ||
	    __builtin_add_overflow(sum, r->tombstones, &sum) || sum != in)
		return wrong(err, "entries are missing");
	if (r->tombstones > tombstones)
		return wrong(err, "more tombstones dropped than there were");
	return 0;
}

/* What all inputs together span. */
struct span {
	struct slice smallest, largest; /* borrowed from the job */
	uint64_t oldest, newest;        /* versions */
};

static struct span
span_of(const struct job *job)
{
	struct span s = { .oldest = UINT64_MAX };

	for (size_t i = 0; i < job->input_count; i++) {
		const struct sst_info *t = &job->inputs[i].info;
		struct slice smallest = buf_slice(&t->smallest);
		struct slice largest = buf_slice(&t->largest);

		if (!i || slice_cmp(smallest, s.smallest) < 0)
			s.smallest = smallest;
		if (!i || slice_cmp(largest, s.largest) > 0)
			s.largest = largest;
		if (t->min_version < s.oldest)
			s.oldest = t->min_version;
		if (t->max_version > s.newest)
			s.newest = t->max_version;
	}
	return s;
}

static int
verify_ranges(const struct job *job, const struct job_result *r,
              struct err *err)
{
	struct span span = span_of(job);
	uint64_t last = 0;

	for (size_t i = 0; i < r->output_count; i++) {
		const struct sst_info *t = &r->outputs[i].info;

		if (t->number < job->first_output || t->number <= last ||
		    t->number - job->first_output >= job->output_count)
			return wrong(err, "a file number that was not its own");
		last = t->number;
		if (slice_cmp(buf_slice(&t->smallest), span.smallest) < 0 ||
		    slice_cmp(buf_slice(&t->largest), span.largest) > 0)
			return wrong(err, "keys that no input holds");
		if (t->min_version < span.oldest ||
		    t->max_version > span.newest)
			return wrong(err, "versions that no input holds");
		if (i && slice_cmp(buf_slice(&r->outputs[i - 1].info.largest),
		                   buf_slice(&t->smallest)) >= 0)
			return wrong(err, "files that overlap");
		if (r->outputs[i].retained > t->entries)
			return wrong(err, "more retained than there is");
	}
	return 0;
}

int
outputs_verify(const struct job *job, const struct job_result *result,
               struct err *err)
{
	int rc = verify_counts(job, result, err);

	if (PLANTED("outputs.unverified"))
		return 0;
	return rc ? rc : verify_ranges(job, result, err);
}

/* ---- files ---- */

struct watch {
	bool (*stop)(void *arg);
	void *arg;
};

static int
check_progress(void *arg, uint64_t bytes)
{
	const struct watch *w = arg;

	(void)bytes;
	return w->stop(w->arg);
}

int
outputs_open(struct fs_dir *dir, const struct job_result *result,
             struct block_cache *cache, bool (*stop)(void *arg), void *arg,
             struct sst **files, struct err *err)
{
	struct watch watch = { stop, arg };
	int rc = 0;

	for (size_t i = 0; i < result->output_count && !rc; i++) {
		rc = sst_open(&files[i], dir, &result->outputs[i].info, cache,
		              err);
		if (rc > 0)
			rc = wrong(err, "a file of it is not there");
		if (!rc)
			rc = sst_check(files[i], check_progress, &watch, err);
		if (!rc)
			sst_warm(files[i]);
	}
	/* The helper has done that, or says so. */
	return rc || !result->output_count ? rc : fs_dir_sync(dir, err);
}

bool
outputs_may_be_named(struct fs_dir *dir, const struct job *job)
{
	struct manifest m = MANIFEST_INIT;
	bool named = false;
	int rc = manifest_load(dir, &m, NULL);

	for (size_t i = 0; i < m.file_count; i++)
		named |= m.files[i].info.number >= job->first_output &&
		         m.files[i].info.number - job->first_output <
		                 job->output_count;
	manifest_release(&m);
	return named || rc < 0;
}

int
outputs_remove(struct fs_dir *dir, const struct job *job, struct err *err)
{
	char name[NAME_MAX_LEN];
	int rc = 0, one;

	for (unsigned i = 0; i < job->output_count; i++) {
		uint64_t number = job->first_output + i;

		one = fs_unlink(dir, name_sst(number, name), err);
		rc = rc ? rc : one;
		one = fs_unlink(dir, name_sst_tmp(number, name), err);
		rc = rc ? rc : one;
	}
	return rc;
}
