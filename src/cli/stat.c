/* SPDX-License-Identifier: ISC */
/*
 * lsmkv stat: what a store holds, by level, and what its log holds.
 *
 * Reads the MANIFEST, which knows the sums of every SST, and scans the WAL
 * segments that it needs; opens no SST, so that a large store answers at once.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/files.h"
#include "cli/text.h"
#include "store/manifest.h"
#include "store/wal.h"

#define PICTURE_COLUMNS 64 /* of the tree's picture, at most */
#define RETRIES 10         /* of reading a store that moves on meanwhile */

struct level_sum {
	uint64_t files, bytes, entries, tombstones, raw_bytes;
	uint64_t min_version, max_version; /* 0: no file */
};

/* What one WAL segment holds. */
struct segment {
	uint64_t number;
	struct wal_scan scan;
};

struct tree {
	struct manifest manifest;
	struct segment *segments; /* owned; needed ones, ascending */
	size_t segment_count;
	uint64_t reserve; /* bytes of RESERVE; 0: there is none */
};

static void
tree_release(struct tree *t)
{
	manifest_release(&t->manifest);
	free(t->segments);
	*t = (struct tree){ .manifest = MANIFEST_INIT };
}

static void
sum_file(struct level_sum *sum, const struct sst_info *info)
{
	sum->files++;
	sum->bytes += info->size;
	sum->entries += info->entries;
	sum->tombstones += info->tombstones;
	sum->raw_bytes += info->raw_bytes;
	if (!sum->min_version || info->min_version < sum->min_version)
		sum->min_version = info->min_version;
	if (info->max_version > sum->max_version)
		sum->max_version = info->max_version;
}

static void
sum_level(struct level_sum *to, const struct level_sum *from)
{
	to->files += from->files;
	to->bytes += from->bytes;
	to->entries += from->entries;
	to->tombstones += from->tombstones;
	to->raw_bytes += from->raw_bytes;
}

/*
 * Reads MANIFEST and segments into t. LSMKV_END if a segment vanished under
 * way: the store has moved on, and all must be read again.
 */
static int
read_tree(struct fs_dir *dir, struct tree *t, struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	int rc;

	rc = manifest_load(dir, &t->manifest, err);
	if (rc == LSMKV_NOTFOUND)
		rc = err_set(err, LSMKV_EINVAL,
		             "%s: no store here (it has no "
		             "MANIFEST)",
		             dir->path);
	if (rc)
		goto done;
	rc = file_list_read(dir, &list, err);
	if (rc)
		goto done;
	t->segments = calloc(list.count, sizeof(*t->segments));
	if (!t->segments) {
		rc = err_nomem(err, list.count * sizeof(*t->segments));
		goto done;
	}
	/* Given up while we look is as good as not there. */
	if (file_size(dir, NAME_RESERVE, &t->reserve, NULL))
		t->reserve = 0;
	for (size_t i = 0; i < list.count && !rc; i++) {
		struct segment *g = &t->segments[t->segment_count];
		uint64_t size;

		if (list.files[i].kind != NAME_IS_WAL ||
		    list.files[i].number < t->manifest.wal_oldest)
			continue;
		g->number = list.files[i].number;
		rc = wal_scan_segment(dir, g->number, NULL, NULL, &g->scan,
		                      err);
		if (rc && file_size(dir, list.files[i].name, &size, NULL) ==
		                  LSMKV_NOTFOUND)
			rc = LSMKV_END;
		if (!rc)
			t->segment_count++;
	}
done:
	file_list_release(&list);
	return rc;
}

static void
print_row(FILE *out, const char *name, const struct level_sum *s, bool exact)
{
	char bytes[TEXT_MAX], raw[TEXT_MAX], ratio[TEXT_MAX] = "-";

	if (s->raw_bytes)
		snprintf(ratio, sizeof(ratio), "%.1f%%",
		         100.0 * (double)s->bytes / (double)s->raw_bytes);
	fprintf(out,
	        "%-6s %7" PRIu64 " %12s %12" PRIu64 " %11" PRIu64 " %12s %7s\n",
	        name, s->files, text_size(bytes, s->bytes, exact), s->entries,
	        s->tombstones, text_size(raw, s->raw_bytes, exact), ratio);
}

/*
 * Two columns more for each doubling from 1 KiB on: levels that are ten times
 * as large as the one above make a pyramid that fits a terminal.
 */
static int
bar_columns(uint64_t bytes)
{
	int columns = 2;

	for (uint64_t n = bytes >> 10; n; n >>= 1)
		columns += 2;
	return columns < PICTURE_COLUMNS ? columns : PICTURE_COLUMNS;
}

static void
print_picture(FILE *out, const struct level_sum *level, unsigned deepest)
{
	static const char bar[PICTURE_COLUMNS + 1] =
		"################################"
		"################################";

	fputs("\nshape (two columns more: twice the bytes)\n", out);
	for (unsigned n = 0; n <= deepest; n++) {
		int columns = bar_columns(level[n].bytes);

		if (level[n].files)
			fprintf(out, "%-6u %*s%.*s\n", n,
			        (PICTURE_COLUMNS - columns) / 2, "", columns,
			        bar);
		else
			fprintf(out, "%u\n", n);
	}
}

static void
print_versions(FILE *out, const struct level_sum *level, unsigned deepest)
{
	fputs("\nversions\n", out);
	for (unsigned n = 0; n <= deepest; n++)
		if (level[n].files)
			fprintf(out, "%-6u %" PRIu64 "..%" PRIu64 "\n", n,
			        level[n].min_version, level[n].max_version);
}

static void
print_segment(FILE *out, const struct segment *g, bool exact)
{
	const struct wal_scan *s = &g->scan;
	char name[NAME_MAX_LEN], size[TEXT_MAX], end[TEXT_MAX];

	fprintf(out, "  %s  %s on disk", name_wal(g->number, name),
	        text_size(size, s->size, exact));
	if (!s->header_valid) {
		fprintf(out, ", no valid header: %s\n", s->reason);
		return;
	}
	fprintf(out, ", %s used, %" PRIu64 " records, %" PRIu64 " entries",
	        text_size(end, s->end, exact), s->records, s->entries);
	if (s->records)
		fprintf(out, ", versions %" PRIu64 "..%" PRIu64,
		        s->header.first_version, s->last_version);
	if (s->header.relaxed)
		fputs(", relaxed sync", out);
	if (s->tail == WAL_TAIL_INVALID)
		fprintf(out, ", unfinished from offset %" PRIu64 " on", s->end);
	fputc('\n', out);
}

static void
print_tree(FILE *out, const struct fs_dir *dir, const struct tree *t,
           bool exact)
{
	const struct manifest *m = &t->manifest;
	struct level_sum level[LEVELS_MAX] = { { 0 } }, all = { 0 };
	uint64_t wal_entries = 0, wal_version = 0;
	unsigned deepest = 0;
	char name[NAME_MAX_LEN], reserve[TEXT_MAX];

	for (size_t i = 0; i < m->file_count; i++) {
		sum_file(&level[m->files[i].level], &m->files[i].info);
		if (m->files[i].level > deepest)
			deepest = m->files[i].level;
	}
	fprintf(out, "store %s\n", dir->path);
	fprintf(out,
	        "MANIFEST generation %" PRIu64 ", next file %" PRIu64
	        ", last version %" PRIu64 ", oldest WAL segment %s\n\n",
	        m->generation, m->next_file, m->last_version,
	        name_wal(m->wal_oldest, name));

	fputs("level    files        bytes      entries  tombstones"
	      "          raw   ratio\n",
	      out);
	for (unsigned n = 0; n <= deepest; n++) {
		char number[TEXT_MAX];

		snprintf(number, sizeof(number), "%u", n);
		print_row(out, number, &level[n], exact);
		sum_level(&all, &level[n]);
	}
	print_row(out, "all", &all, exact);
	if (all.files) {
		print_picture(out, level, deepest);
		print_versions(out, level, deepest);
	}

	fputs("\nWAL\n", out);
	for (size_t i = 0; i < t->segment_count; i++) {
		print_segment(out, &t->segments[i], exact);
		wal_entries += t->segments[i].scan.entries;
		if (t->segments[i].scan.last_version > wal_version)
			wal_version = t->segments[i].scan.last_version;
	}
	fprintf(out, "  %zu segments, %" PRIu64 " entries", t->segment_count,
	        wal_entries);
	if (wal_version)
		fprintf(out, ", newest version %" PRIu64, wal_version);
	fputc('\n', out);
	if (t->reserve)
		fprintf(out, "\n%s kept back for a full disk\n",
		        text_size(reserve, t->reserve, exact));
}

int
cli_stat(const char *path, const struct cli_options *options, FILE *out,
         struct err *err)
{
	struct fs_dir *dir = NULL;
	struct tree t = { .manifest = MANIFEST_INIT };
	int rc;

	rc = fs_dir_open(&dir, path, false, err);
	if (rc)
		goto done;
	rc = read_tree(dir, &t, err);
	for (int i = 0; rc == LSMKV_END && i < RETRIES; i++) {
		tree_release(&t);
		rc = read_tree(dir, &t, err);
	}
	if (rc == LSMKV_END)
		rc = err_set(err, LSMKV_EIO,
		             "%s: the store changes faster "
		             "than it can be read; try again",
		             path);
	if (rc)
		goto done;
	print_tree(out, dir, &t, options->exact);
done:
	tree_release(&t);
	fs_dir_close(dir);
	return rc;
}
