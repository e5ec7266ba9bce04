/* SPDX-License-Identifier: ISC */
/*
 * lsmkv verify, the WAL: every segment by itself, then what later ones prove
 * of it, by the rule at the head of store/wal.h.
 */
#include "cli/wal_report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/files.h"
#include "store/wal.h"

/* One segment of the log as it was found. */
struct found_segment {
	uint64_t number;
	struct wal_scan scan;
	bool readable; /* scan says what it holds */
};

static void log_damage(struct wal_report *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void
log_damage(struct wal_report *l, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("damage: ", l->out);
	vfprintf(l->out, format, args);
	va_end(args);
	fputc('\n', l->out);
	l->damages++;
}

/* Scans the segments from `oldest` on. */
static int
scan_segments(struct wal_report *l, struct fs_dir *dir, uint64_t oldest,
              struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	int rc = file_list_read(dir, &list, err);

	if (!rc) {
		l->segments = calloc(list.count + 1, sizeof(*l->segments));
		if (!l->segments)
			rc = err_nomem(err, list.count * sizeof(*l->segments));
	}
	for (size_t i = 0; i < list.count && !rc; i++) {
		struct found_segment *g;

		if (list.files[i].kind != NAME_IS_WAL ||
		    list.files[i].number < oldest)
			continue;
		g = &l->segments[l->count++];
		g->number = list.files[i].number;
		rc = wal_scan_segment(dir, g->number, NULL, NULL, &g->scan,
		                      err);
		g->readable = !rc;
		l->records += g->scan.records;
		if (cli_is_damage(rc)) {
			log_damage(l, "%s", err->message);
			rc = 0;
		}
	}
	file_list_release(&list);
	return rc;
}

/* Does a segment behind i prove that all of segment i was on disk? */
static bool
later_segment_proves(const struct wal_report *l, size_t i)
{
	for (size_t j = i + 1; j < l->count; j++) {
		const struct wal_scan *s = &l->segments[j].scan;

		if (l->segments[j].readable && s->header_valid &&
		    s->header.prev_segment &&
		    (!s->header.relaxed || s->prior_synced))
			return true;
	}
	return false;
}

/* The rule at the head of store/wal.h, applied to every segment. */
static void
judge_segment(struct wal_report *l, size_t i)
{
	const struct found_segment *g = &l->segments[i], *next = NULL;
	const struct wal_scan *s = &g->scan;
	bool oldest = !i;
	char proof[WAL_PROOF_MAX];

	if (!g->readable)
		return;
	if (!s->header_valid) {
		/* A segment that was never used may be blank. */
		if (s->tail == WAL_TAIL_INVALID || oldest)
			log_damage(l, "%06" PRIu64 ".wal: offset 0: %s",
			           g->number, s->reason);
		return;
	}
	if (!oldest && s->header.prev_segment) {
		size_t j = 0;

		while (j < i && l->segments[j].number != s->header.prev_segment)
			j++;
		if (j == i)
			log_damage(l,
			           "%06" PRIu64 ".wal: offset 0: missing, "
			           "though %06" PRIu64 ".wal follows it",
			           s->header.prev_segment, g->number);
	}
	if (s->later_synced) {
		log_damage(l,
		           "%06" PRIu64 ".wal: offset %" PRIu64
		           ": %s, but %s was written when this was on disk",
		           g->number, s->end, s->reason,
		           wal_scan_proof(s, proof));
		return;
	}
	for (size_t j = i + 1; j < l->count && !next; j++)
		if (l->segments[j].readable &&
		    l->segments[j].scan.header_valid &&
		    l->segments[j].scan.header.prev_segment == g->number)
			next = &l->segments[j];
	if (next && s->end < next->scan.header.prev_end &&
	    later_segment_proves(l, i))
		log_damage(l,
		           "%06" PRIu64 ".wal: offset %" PRIu64
		           ": %s, but later segments were written when this "
		           "was on disk",
		           g->number, s->end, s->reason);
}

int
wal_report_read(struct wal_report *l, struct fs_dir *dir,
                const struct manifest *manifest, struct err *err)
{
	uint64_t oldest = manifest ? manifest->wal_oldest : 0;
	struct wal_replay_result result;
	int rc;

	l->out = open_memstream(&l->text, &l->text_len);
	if (!l->out)
		return err_nomem(err, BUFSIZ);
	rc = scan_segments(l, dir, oldest, err);
	for (size_t i = 0; i < l->count && !rc; i++)
		judge_segment(l, i);
	/* The last word is recovery's, which sees the log as one. */
	if (!rc && manifest && !l->damages) {
		rc = wal_replay(dir, oldest, NULL, NULL, &result, err);
		if (cli_is_damage(rc)) {
			log_damage(l, "%s", err->message);
			rc = 0;
		}
	}
	fclose(l->out);
	l->out = NULL;
	return rc;
}

void
wal_report_release(struct wal_report *l)
{
	if (l->out)
		fclose(l->out);
	free(l->text);
	free(l->segments);
	*l = (struct wal_report)WAL_REPORT_INIT;
}
