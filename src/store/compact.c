/* SPDX-License-Identifier: ISC */
/*
 * The merge of a compaction: from input files to output files.
 *
 *     SSTs -> run_iter per level, one iterator per level-0 file -> merge
 *          -> merge_judge (keep or drop) -> sst_writer, cut by key
 *
 * Inputs are read past the cache, sequentially. No entry is copied but into
 * the writer's block, nothing is allocated per entry. A key's versions never
 * stand in two outputs: files are cut only between keys. What has expired but
 * must stay, because something older may hide below or a snapshot is open,
 * stays as a tombstone: gone for every reader, without its value.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/planted.h"
#include "store/block_cache.h"
#include "store/compact.h"
#include "store/names.h"
#include "store/run_iter.h"

#define CACHE_BYTES (8u << 20) /* indexes of the files being read */
#define TICK_ENTRIES 1024u     /* the clock is looked at this often, */
#define TICK_BYTES (1u << 20)  /* or after this many raw bytes */
#define PROGRESS_NS 100000000u /* between two calls of progress */

struct compaction {
	struct fs_dir *dir;        /* borrowed */
	const struct job *job;     /* borrowed */
	struct job_result *result; /* borrowed */
	struct block_cache *cache; /* owned */
	struct sst **inputs;       /* owned references, as the job's inputs */
	struct iter *source;       /* owned: the merge */
	struct merge_rule rule;
	struct sst_writer *writer;   /* owned; NULL between outputs */
	uint64_t retained;           /* by the open output */
	bool key_written;            /* the key at hand is in the output */
	size_t grandparent_at;       /* first one not passed */
	uint64_t grandparent_passed; /* bytes since the output began */
	/* Progress. */
	int (*progress)(void *arg, uint64_t done); /* NULL allowed */
	void *arg;                                 /* for progress */
	double bytes_per_raw;  /* input bytes that a raw byte stands for */
	uint64_t input_bytes;  /* in all */
	uint64_t raw_done;     /* raw bytes through */
	uint64_t tick_raw;     /* raw_done at the last look at the clock */
	unsigned tick_entries; /* entries since then */
	uint64_t told_ns;      /* when progress was told last */
};

/* ---- inputs ---- */

static int
open_inputs(struct compaction *c, struct err *err)
{
	uint64_t raw = 0;
	int rc = 0;

	c->cache = block_cache_new(CACHE_BYTES);
	c->inputs = calloc(c->job->input_count, sizeof(*c->inputs));
	if (!c->cache || !c->inputs)
		return err_nomem(err, CACHE_BYTES);
	for (size_t i = 0; i < c->job->input_count && !rc; i++) {
		const struct sst_info *info = &c->job->inputs[i].info;

		rc = sst_open(&c->inputs[i], c->dir, info, c->cache, err);
		c->input_bytes += info->size;
		raw += info->raw_bytes;
	}
	if (raw)
		c->bytes_per_raw = (double)c->input_bytes / (double)raw;
	return rc;
}

/* One iterator for each level-0 file, and one for each run below. */
static int
open_source(struct compaction *c, struct err *err)
{
	size_t total = c->job->input_count, count = 0;
	struct iter **children = calloc(total, sizeof(*children));
	int rc = 0;

	if (!children)
		return err_nomem(err, total * sizeof(*children));
	for (size_t i = 0, next; i < total && !rc; i = next) {
		unsigned level = c->job->inputs[i].level;

		next = i + 1;
		while (level && next < total &&
		       c->job->inputs[next].level == level)
			next++;
		rc = next - i == 1
		             ? sst_iter_new(&children[count], c->inputs[i],
		                            false, err)
		             : run_iter_new(&children[count], c->inputs + i,
		                            next - i, false, err);
		if (!rc)
			count++;
	}
	if (!rc) {
		rc = merge_new(&c->source, children, count, err);
		count = 0; /* taken over, whatever came of it */
	}
	while (count)
		iter_close(children[--count]);
	free(children);
	return rc;
}

/* ---- outputs ---- */

static int
finish_output(struct compaction *c, struct err *err)
{
	struct job_result *r = c->result;
	struct job_output *out = &r->outputs[r->output_count];
	struct sst_writer *writer = c->writer;
	int rc;

	if (!writer)
		return 0;
	c->writer = NULL;
	rc = sst_writer_finish(writer, &out->info, err);
	if (rc)
		return rc;
	out->retained = c->retained;
	r->output_count++;
	c->retained = 0;
	return 0;
}

static int
begin_output(struct compaction *c, struct err *err)
{
	struct job_result *r = c->result;
	struct job_output *outputs;

	outputs =
		reallocarray(r->outputs, r->output_count + 1, sizeof(*outputs));
	if (!outputs)
		return err_nomem(err, (r->output_count + 1) * sizeof(*outputs));
	r->outputs = outputs;
	outputs[r->output_count] = (struct job_output){ 0 };
	c->grandparent_passed = 0;
	return sst_writer_open(&c->writer, c->dir,
	                       c->job->first_output + r->output_count,
	                       &c->job->sst, err);
}

/*
 * Is this key, which nothing of is written, a place to cut? An output must not
 * overlap so much of the next level that its own way down becomes dear. With
 * the last number in use there is no more cutting.
 */
static bool
wants_cut(struct compaction *c, struct slice key)
{
	const struct job *job = c->job;

	while (c->grandparent_at < job->grandparent_count) {
		const struct job_grandparent *g =
			&job->grandparents[c->grandparent_at];

		if (slice_cmp(key, buf_slice(&g->largest)) <= 0)
			break;
		c->grandparent_passed += g->bytes;
		c->grandparent_at++;
	}
	if (!c->writer || c->result->output_count + 1 >= job->output_count)
		return false;
	return sst_writer_bytes(c->writer) >= job->file_bytes ||
	       c->grandparent_passed > job->grandparent_limit;
}

static int
keep(struct compaction *c, const struct entry *e, struct err *err)
{
	struct entry gone;
	int rc = 0;

	if (!c->key_written && wants_cut(c, e->key))
		rc = finish_output(c, err);
	if (!rc && !c->writer)
		rc = begin_output(c, err);
	if (rc)
		return rc;
	if (e->kind != ENTRY_TOMBSTONE && entry_expired(e, c->job->now)) {
		gone = *e;
		gone.kind = ENTRY_TOMBSTONE;
		gone.value = slice_make(NULL, 0);
		gone.expires = 0;
		e = &gone;
	}
	c->key_written = true;
	c->result->entries_out++;
	return sst_writer_add(c->writer, e, err);
}

/* ---- the merge ---- */

static int
tell(struct compaction *c, struct err *err)
{
	uint64_t now, done;

	if (++c->tick_entries < TICK_ENTRIES &&
	    c->raw_done - c->tick_raw < TICK_BYTES)
		return 0;
	c->tick_entries = 0;
	c->tick_raw = c->raw_done;
	now = clock_mono_ns();
	if (!c->progress || now - c->told_ns < PROGRESS_NS)
		return 0;
	c->told_ns = now;
	done = (uint64_t)((double)c->raw_done * c->bytes_per_raw);
	if (done > c->input_bytes)
		done = c->input_bytes;
	if (c->progress(c->arg, done))
		return err_set(err, LSMKV_ESHUTDOWN,
		               "compaction was told to stop");
	return 0;
}

static int
take(struct compaction *c, const struct entry *e, struct err *err)
{
	enum merge_verdict verdict = MERGE_KEEP;
	int rc = merge_judge(&c->rule, e, &verdict, err);

	if (rc)
		return rc;
	if (c->rule.first)
		c->key_written = false;
	c->result->entries_in++;
	c->raw_done += e->key.len + e->value.len;
	switch (verdict) {
	case MERGE_KEEP:
		rc = keep(c, e, err);
		c->retained += !c->rule.first;
		break;
	case MERGE_SHADOWED:
		c->result->shadowed++;
		break;
	case MERGE_EXPIRED:
		c->result->expired++;
		break;
	case MERGE_TOMBSTONE:
		c->result->tombstones++;
		break;
	}
	return rc ? rc : tell(c, err);
}

static void
remove_finished(struct compaction *c)
{
	char name[NAME_MAX_LEN];

	for (size_t i = 0; i < c->result->output_count; i++)
		(void)fs_unlink(c->dir,
		                name_sst(c->job->first_output + i, name), NULL);
	job_result_release(c->result);
}

int
compact_run(struct fs_dir *dir, const struct job *job,
            int (*progress)(void *arg, uint64_t done), void *arg,
            struct job_result *result, struct err *err)
{
	struct compaction c = { .dir = dir, .job = job, .result = result };
	int rc;

	*result = (struct job_result)JOB_RESULT_INIT;
	c.progress = progress;
	c.arg = arg;
	c.rule.snapshots = job->snapshots;
	c.rule.snapshot_count =
		PLANTED("compact.ignores_snapshots") ? 0 : job->snapshot_count;
	c.rule.now = job->now;
	c.rule.deeper = job->deeper;
	c.rule.deeper_count = job->deeper_count;
	rc = open_inputs(&c, err);
	if (!rc)
		rc = open_source(&c, err);
	if (!rc)
		rc = iter_first(c.source, err);
	while (!rc && c.source->valid) {
		rc = take(&c, &c.source->entry, err);
		if (!rc)
			rc = iter_next(c.source, err);
	}
	if (!rc)
		rc = finish_output(&c, err);
	/* Whole files, but their names are not on the disk yet. */
	if (!rc && result->output_count)
		rc = fs_dir_sync(dir, err);
	sst_writer_abort(c.writer);
	if (rc)
		remove_finished(&c);
	merge_rule_release(&c.rule);
	iter_close(c.source);
	for (size_t i = 0; c.inputs && i < job->input_count; i++)
		if (c.inputs[i])
			sst_unref(c.inputs[i]);
	free(c.inputs);
	block_cache_free(c.cache);
	return rc;
}
