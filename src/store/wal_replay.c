/* SPDX-License-Identifier: ISC */
/*
 * Reading the write-ahead log, segment after segment: for recovery and verify.
 * Writes nothing. What a segment says by itself is wal_scan.c's; here they are
 * held against each other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/names.h"
#include "store/wal_scan.h"

struct segments {
	uint64_t *numbers; /* owned, ascending */
	size_t count;
	uint64_t oldest; /* those below are not needed */
	bool nomem;
};

static int
collect(void *arg, const char *name)
{
	struct segments *s = arg;
	uint64_t number, *grown;

	if (name_parse(name, &number) != NAME_IS_WAL || number < s->oldest)
		return 0;
	grown = reallocarray(s->numbers, s->count + 1, sizeof(*grown));
	if (!grown) {
		s->nomem = true;
		return 1;
	}
	s->numbers = grown;
	s->numbers[s->count++] = number;
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct replay {
	int (*each)(void *arg, const struct wal_record *r, struct err *err);
	void *arg;
	struct wal_replay_result *result;
	const char *dir; /* for messages */
};

static int
replay_record(void *arg, const struct wal_record *r, struct err *err)
{
	struct replay *p = arg;
	struct wal_replay_result *result = p->result;
	char name[NAME_MAX_LEN];

	if (result->last_version &&
	    r->first_version != result->last_version + 1)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s/%s: record at %" PRIu64
		               ": begins with version %" PRIu64 ", but %" PRIu64
		               " should follow",
		               p->dir, name_wal(r->segment, name), r->offset,
		               r->first_version, result->last_version + 1);
	result->last_version = r->first_version + r->count - 1;
	result->records++;
	result->entries += r->count;
	return p->each ? p->each(p->arg, r, err) : 0;
}

/*
 * Segment i of the log ends early, at scan->end. Is that its torn tail, or
 * does anything prove that what is missing was on disk?
 */
static int
judge_tail(struct fs_dir *dir, const struct segments *s,
           const struct segment_header *headers, size_t i,
           const struct wal_scan *scan, struct wal_replay_result *result,
           struct err *err)
{
	char name[NAME_MAX_LEN], proof[NAME_MAX_LEN], record[WAL_PROOF_MAX];
	uint64_t number = s->numbers[i];
	struct wal_scan later;
	int rc;

	name_wal(number, name);
	if (scan->later_synced)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s/%s: damaged at %" PRIu64
		               " (%s): %s was written after it was on disk; "
		               "run lsmkv verify",
		               dir->path, name, scan->end, scan->reason,
		               wal_scan_proof(scan, record));
	for (size_t j = i + 1; j < s->count; j++) {
		const struct wal_header *h = &headers[j].public;

		if (!headers[j].valid || !h->prev_segment)
			continue;
		/* Of what is behind the end that it tells it knows nothing. */
		if (headers[j].unused && scan->end >= h->prev_end)
			continue;
		rc = wal_scan_upto(dir, s->numbers[j], UINT64_MAX, NULL, NULL,
		                   &later, err);
		if (rc)
			return rc;
		if (!h->relaxed || later.prior_synced)
			return err_set(err, LSMKV_ECORRUPT,
			               "%s/%s: damaged at %" PRIu64
			               " (%s): %s was written after it was on "
			               "disk; run lsmkv verify",
			               dir->path, name, scan->end, scan->reason,
			               name_wal(s->numbers[j], proof));
	}
	result->dropped_segment = number;
	result->dropped_offset = scan->end;
	snprintf(result->dropped_reason, sizeof(result->dropped_reason), "%s",
	         scan->reason);
	return 0;
}

static int
read_headers(struct fs_dir *dir, const struct segments *s,
             struct segment_header *headers, struct err *err)
{
	char name[NAME_MAX_LEN];
	int rc = 0;

	for (size_t i = 0; i < s->count && !rc; i++) {
		rc = wal_scan_header(dir, s->numbers[i], &headers[i], err);
		if (!rc && !headers[i].valid && !headers[i].blank)
			rc = err_set(err, LSMKV_ECORRUPT,
			             "%s/%s: damaged at 0: the segment's "
			             "header is not valid; run lsmkv verify",
			             dir->path, name_wal(s->numbers[i], name));
	}
	return rc;
}

static bool
is_followed(const struct segments *s, const struct segment_header *headers,
            size_t i)
{
	for (size_t j = i + 1; j < s->count; j++)
		if (headers[j].valid &&
		    headers[j].public.prev_segment == s->numbers[i])
			return true;
	return false;
}

/*
 * Marks segments that the log did not go on to: nothing was ever written to
 * them. The making of such a one ended in an error or a crash, and the segment
 * before it may have been written on, behind the end that this one tells.
 *
 * One that begins a log behind another is what a recovery left that did not
 * come to its end. It never holds a record: the MANIFEST names it as the
 * oldest before anything is written to it.
 */
static int
find_unused(struct fs_dir *dir, const struct segments *s,
            struct segment_header *headers, struct err *err)
{
	char name[NAME_MAX_LEN];
	struct wal_scan scan;
	int rc = 0;

	for (size_t i = 1; i < s->count && !rc; i++) {
		if (!headers[i].valid || is_followed(s, headers, i))
			continue;
		/* No further than to the first record. */
		rc = wal_scan_upto(dir, s->numbers[i], WAL_HEADER_BYTES + 1,
		                   NULL, NULL, &scan, err);
		if (rc)
			break;
		headers[i].unused = !scan.records && !scan.later_synced &&
		                    scan.tail == WAL_TAIL_CLEAN;
		if (!headers[i].public.prev_segment && scan.records)
			rc = err_set(err, LSMKV_ECORRUPT,
			             "%s/%s: begins a log of its own and has "
			             "records, but the MANIFEST does not know "
			             "it; run lsmkv verify",
			             dir->path, name_wal(s->numbers[i], name));
	}
	return rc;
}

/*
 * The segment behind segment i of the log, the count of all if there is none;
 * *least is how far the log reaches in i for certain. Blank and unused ones
 * are passed over. LSMKV_ECORRUPT where one between is missing.
 */
static int
next_segment(struct fs_dir *dir, const struct segments *s,
             const struct segment_header *headers, size_t i, size_t *next,
             uint64_t *least, struct err *err)
{
	char name[NAME_MAX_LEN];

	*next = s->count;
	*least = 0;
	for (size_t n = i + 1; n < s->count; n++) {
		const struct wal_header *h = &headers[n].public;

		if (!headers[n].valid || !h->prev_segment)
			continue;
		if (h->prev_segment != s->numbers[i])
			return err_set(err, LSMKV_ECORRUPT,
			               "%s/%s is missing: a later segment "
			               "follows it",
			               dir->path,
			               name_wal(h->prev_segment, name));
		*least = h->prev_end;
		if (!headers[n].unused) {
			*next = n;
			break;
		}
	}
	return 0;
}

int
wal_replay(struct fs_dir *dir, uint64_t oldest,
           int (*each)(void *arg, const struct wal_record *r, struct err *err),
           void *arg, struct wal_replay_result *result, struct err *err)
{
	struct segments s = { NULL, 0, oldest, false };
	struct replay replay = { each, arg, result, dir->path };
	struct segment_header *headers = NULL;
	char name[NAME_MAX_LEN];
	size_t next;
	int rc;

	memset(result, 0, sizeof(*result));
	rc = fs_dir_list(dir, collect, &s, err);
	if (s.nomem)
		rc = err_nomem(err, sizeof(uint64_t));
	if (rc)
		goto done;
	if (s.count)
		qsort(s.numbers, s.count, sizeof(*s.numbers), by_number);
	if (!s.count || s.numbers[0] != oldest) {
		rc = err_set(err, LSMKV_ECORRUPT,
		             "%s/%s is missing: the MANIFEST needs it",
		             dir->path, name_wal(oldest, name));
		goto done;
	}
	result->last_segment = s.numbers[s.count - 1];
	headers = calloc(s.count, sizeof(*headers));
	if (!headers) {
		rc = err_nomem(err, s.count * sizeof(*headers));
		goto done;
	}
	rc = read_headers(dir, &s, headers, err);
	if (!rc)
		rc = find_unused(dir, &s, headers, err);
	if (rc)
		goto done;
	if (!headers[0].valid) {
		rc = err_set(err, LSMKV_ECORRUPT,
		             "%s/%s: damaged at 0: the segment's header is "
		             "missing; run lsmkv verify",
		             dir->path, name_wal(oldest, name));
		goto done;
	}

	for (size_t i = 0; i < s.count; i = next) {
		uint64_t least, limit;
		struct wal_scan scan;

		rc = next_segment(dir, &s, headers, i, &next, &least, err);
		if (rc)
			goto done;
		limit = next < s.count ? least : UINT64_MAX;
		result->segments++;
		result->relaxed |= headers[i].public.relaxed;
		rc = wal_scan_upto(dir, s.numbers[i], limit, replay_record,
		                   &replay, &scan, err);
		if (rc)
			goto done;
		if (scan.end >= least &&
		    (scan.end >= limit ||
		     (scan.tail == WAL_TAIL_CLEAN && !scan.later_synced)))
			continue;
		rc = judge_tail(dir, &s, headers, i, &scan, result, err);
		goto done; /* what follows a torn tail is dropped with it */
	}
	rc = 0;
done:
	free(headers);
	free(s.numbers);
	return rc;
}
