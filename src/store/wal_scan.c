/* SPDX-License-Identifier: ISC */
/*
 * Reading a segment of the write-ahead log, of any format version: record by
 * record, up to the first one that is none. Then the rest of the segment is
 * searched for what was written when this place was already on disk (wal.h
 * has the rule).
 */
#include "store/wal_scan.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/planted.h"
#include "store/wal_format.h"
#include "store/wal_search.h"

int
wal_scan_header(struct fs_dir *dir, uint64_t segment, struct segment_header *h,
                struct err *err)
{
	struct wal_window w;
	int rc = wal_window_open(&w, dir, segment, err);

	if (!rc)
		rc = wal_read_header(&w, segment, h, err);
	wal_window_close(&w);
	return rc;
}

/*
 * Do the entries of a record decode, and have they the versions from `next`
 * on (from format version 2 on, where they follow from what was before)?
 */
static bool
record_is_sound(const struct segment_header *h, uint64_t next,
                struct wal_record *r)
{
	struct reader reader = wal_record_reader(r);
	struct entry e;
	uint32_t n = 0;

	if (h->format > 1) {
		r->first_version = next;
		r->version_base = wal_version_base(next);
	}
	while (reader_left(&reader)) {
		if (!wal_record_entry(r, &reader, &e) ||
		    e.version != r->first_version + n)
			return false;
		n++;
	}
	if (h->format > 1)
		r->count = n;
	return n && n == r->count;
}

int
wal_scan_upto(struct fs_dir *dir, uint64_t segment, uint64_t limit,
              int (*each)(void *arg, const struct wal_record *r,
                          struct err *err),
              void *arg, struct wal_scan *scan, struct err *err)
{
	struct wal_window w;
	struct segment_header h;
	struct wal_found f = { .reason = "" };
	struct wal_record *r = &f.record;
	uint64_t next;
	int rc;

	memset(scan, 0, sizeof(*scan));
	rc = wal_window_open(&w, dir, segment, err);
	if (!rc)
		rc = wal_read_header(&w, segment, &h, err);
	if (rc)
		goto done;
	scan->size = w.size;
	scan->header = h.public;
	scan->header.segment = segment;
	scan->header_valid = h.valid;
	scan->format = h.format;
	if (!h.valid) {
		scan->tail = h.blank ? WAL_TAIL_CLEAN : WAL_TAIL_INVALID;
		snprintf(scan->reason, sizeof(scan->reason),
		         "the segment's header is %s",
		         h.blank ? "not written" : "damaged");
		goto done;
	}
	scan->end = h.format > 1 ? WAL_HEADER_BYTES : WAL_V1_HEADER_BYTES;
	next = h.public.first_version;
	while (scan->end < limit) {
		rc = wal_read_record(&w, &h, scan->end, 0, &f, err);
		if (rc)
			break;
		if (!record_is_sound(&h, next, r)) {
			/* Under a valid CRC: written so, not damaged since. */
			rc = err_set(err, LSMKV_ECORRUPT,
			             "%s/%s: record at %" PRIu64
			             ": its entries do not decode",
			             dir->path, w.file.name, r->offset);
			goto done;
		}
		if (r->synced)
			scan->prior_synced = true;
		scan->records++;
		scan->entries += r->count;
		next = r->first_version + r->count;
		scan->last_version = next - 1;
		if (each) {
			rc = each(arg, r, err);
			if (rc)
				goto done;
		}
		scan->end = h.format > 1 ? r->end : wal_v1_align(r->end);
	}
	if (rc < 0 && !PLANTED("wal_replay.read_error_ends_log"))
		goto done;
	rc = 0;
	if (scan->end >= limit)
		goto done;
	if (*f.reason)
		scan->tail = WAL_TAIL_INVALID;
	snprintf(scan->reason, sizeof(scan->reason), "%s",
	         *f.reason ? f.reason : "nothing is written there");
	rc = wal_search_behind(&w, &h, scan, err);
done:
	wal_window_close(&w);
	return rc;
}

int
wal_scan_segment(struct fs_dir *dir, uint64_t segment,
                 int (*each)(void *arg, const struct wal_record *r,
                             struct err *err),
                 void *arg, struct wal_scan *scan, struct err *err)
{
	return wal_scan_upto(dir, segment, UINT64_MAX, each, arg, scan, err);
}

const char *
wal_scan_proof(const struct wal_scan *scan, char text[WAL_PROOF_MAX])
{
	int n = snprintf(text, WAL_PROOF_MAX, "the record at %" PRIu64,
	                 scan->later_offset);

	if (scan->later_written != scan->later_offset)
		snprintf(text + n, WAL_PROOF_MAX - (size_t)n,
		         " (once at %" PRIu64 ")", scan->later_written);
	return text;
}
