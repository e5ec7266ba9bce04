/* SPDX-License-Identifier: ISC */
/*
 * Reading the write-ahead log: for recovery, verify and dump. Writes nothing.
 *
 * A segment is read in windows, so that its size does not matter, and trusted
 * record by record: length in bounds, CRC over all of it, the segment's own
 * salt. Where that ends, the rest of the segment is searched for records that
 * were written when this place was already on disk (wal.h has the rule).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/names.h"
#include "store/wal_format.h"

#define WINDOW (1u << 20) /* bytes read at once */

/* A file seen through a window that moves. */
struct window {
	struct fs_file file;
	uint64_t size;    /* of the file */
	struct buf bytes; /* what is in memory */
	uint64_t at;      /* where that stands in the file */
};

/* len bytes at offset, valid until the next call; they are in the file. */
static int
window_get(struct window *w, uint64_t offset, size_t len,
           const unsigned char **bytes, struct err *err)
{
	int rc;

	if (offset < w->at || offset + len > w->at + w->bytes.len) {
		size_t want = len > WINDOW ? len : WINDOW;

		if (want > w->size - offset)
			want = (size_t)(w->size - offset);
		buf_clear(&w->bytes);
		rc = buf_reserve(&w->bytes, want, err);
		if (!rc)
			rc = fs_read(&w->file, w->bytes.data, want, offset,
			             err);
		if (rc)
			return rc;
		w->bytes.len = want;
		w->at = offset;
	}
	*bytes = w->bytes.data + (offset - w->at);
	return 0;
}

static bool
all_zero(const unsigned char *b, size_t len)
{
	return !len || (!b[0] && !memcmp(b, b + 1, len - 1));
}

/* ---- the header of a segment ---- */

struct segment_header {
	struct wal_header public;
	uint64_t salt;
	bool valid;
	bool blank;  /* not valid, and nothing was ever written behind it: the
			machine stopped while it was being created */
	bool unused; /* valid, but the log did not go on there */
};

static int
file_is_blank(struct window *w, uint64_t from, bool *blank, struct err *err)
{
	const unsigned char *b;
	uint64_t at = from;
	int rc;

	*blank = true;
	while (at < w->size && *blank) {
		size_t len =
			w->size - at > WINDOW ? WINDOW : (size_t)(w->size - at);

		rc = window_get(w, at, len, &b, err);
		if (rc)
			return rc;
		*blank = all_zero(b, len);
		at += len;
	}
	return 0;
}

static int
window_open(struct window *w, struct fs_dir *dir, uint64_t segment,
            struct err *err)
{
	char name[NAME_MAX_LEN];
	int rc;

	memset(w, 0, sizeof(*w));
	w->file = (struct fs_file)FS_FILE_INIT;
	rc = fs_open(dir, name_wal(segment, name), &w->file, err);
	if (rc == LSMKV_NOTFOUND)
		return err_set(err, LSMKV_ECORRUPT, "%s/%s is missing",
		               dir->path, name);
	if (!rc)
		rc = fs_size(&w->file, &w->size, err);
	if (!rc)
		fs_advise_sequential(&w->file);
	return rc;
}

static void
window_close(struct window *w)
{
	fs_close(&w->file);
	buf_release(&w->bytes);
}

/* ---- records ---- */

/*
 * Reads the record at offset: 0 and *r, LSMKV_END if none is there (*reason
 * says why, "" for zeros or the end of the file), or an error.
 */
static int
read_record(struct window *w, const struct segment_header *h, uint64_t offset,
            struct wal_record *r, const char **reason, struct err *err)
{
	const unsigned char *b;
	/* The file may end in the padding behind the last record. */
	uint64_t left = offset < w->size ? w->size - offset : 0;
	uint32_t length;
	int rc;

	*reason = "";
	if (left < WAL_RECORD_HEADER_BYTES) {
		if (left) {
			rc = window_get(w, offset, (size_t)left, &b, err);
			if (rc)
				return rc;
			if (!all_zero(b, (size_t)left))
				*reason = "cut off";
		}
		return LSMKV_END;
	}
	rc = window_get(w, offset, WAL_RECORD_HEADER_BYTES, &b, err);
	if (rc)
		return rc;
	if (all_zero(b, WAL_RECORD_HEADER_BYTES))
		return LSMKV_END;
	length = get_u32(b + WAL_R_LENGTH);
	if (get_u64(b + WAL_R_SALT) != h->salt &&
	    !PLANTED("wal_replay.salt_ignored")) {
		*reason = "not a record of this segment";
		return LSMKV_END;
	}
	if (!length || length > left - WAL_RECORD_HEADER_BYTES) {
		*reason = "length out of bounds";
		return LSMKV_END;
	}
	rc = window_get(w, offset, WAL_RECORD_HEADER_BYTES + (size_t)length, &b,
	                err);
	if (rc)
		return rc;
	if (get_u32(b) !=
	            crc32_add(0, b + 4, WAL_RECORD_HEADER_BYTES - 4 + length) &&
	    !PLANTED("wal_replay.crc_ignored")) {
		*reason = "CRC does not match";
		return LSMKV_END;
	}
	r->segment = h->public.segment;
	r->offset = offset;
	r->first_version = get_u64(b + WAL_R_FIRST_VERSION);
	r->synced = get_u64(b + WAL_R_SYNCED);
	r->count = get_u32(b + WAL_R_COUNT);
	r->payload = slice_make(b + WAL_RECORD_HEADER_BYTES, length);
	return 0;
}

/*
 * Without a valid header: was this segment ever in use? When the machine
 * stops before a new segment is on the disk, its first sector may hold
 * anything, the header of an older file too; all behind it reads as zeros. A
 * sound record behind a header that is not one means damage.
 */
static int
look_unwritten(struct window *w, struct segment_header *h, bool stale,
               struct err *err)
{
	struct wal_record r;
	const unsigned char *b;
	const char *reason;
	int rc;

	rc = file_is_blank(w, WAL_SECTOR, &h->blank, err);
	if (rc || !h->blank || stale ||
	    w->size < WAL_HEADER_BYTES + WAL_RECORD_HEADER_BYTES)
		return rc;
	rc = window_get(w, WAL_HEADER_BYTES, WAL_RECORD_HEADER_BYTES, &b, err);
	if (rc)
		return rc;
	h->salt = get_u64(b + WAL_R_SALT);
	rc = read_record(w, h, WAL_HEADER_BYTES, &r, &reason, err);
	h->blank = rc == LSMKV_END;
	return rc < 0 ? rc : 0;
}

static int
read_header(struct window *w, uint64_t segment, struct segment_header *h,
            struct err *err)
{
	const unsigned char *b;
	bool sound, stale = false;
	int rc;

	memset(h, 0, sizeof(*h));
	if (w->size >= WAL_HEADER_BYTES) {
		rc = window_get(w, 0, WAL_HEADER_BYTES, &b, err);
		if (rc)
			return rc;
		sound = !memcmp(b + WAL_H_MAGIC, WAL_MAGIC, 8) &&
		        get_u32(b + WAL_H_CRC) == crc32_add(0, b, WAL_H_CRC);
		h->valid = sound && get_u64(b + WAL_H_SEGMENT) == segment;
		stale = sound && !h->valid;
	}
	if (!h->valid)
		return look_unwritten(w, h, stale, err);
	if (get_u32(b + WAL_H_VERSION) != WAL_FORMAT_VERSION)
		return err_set(err, LSMKV_EVERSION,
		               "%s: WAL format version %" PRIu32
		               "; this program reads version %u",
		               w->file.name, get_u32(b + WAL_H_VERSION),
		               WAL_FORMAT_VERSION);
	h->salt = get_u64(b + WAL_H_SALT);
	h->public.segment = segment;
	h->public.prev_segment = get_u64(b + WAL_H_PREV_SEGMENT);
	h->public.prev_end = get_u64(b + WAL_H_PREV_END);
	h->public.first_version = get_u64(b + WAL_H_FIRST_VERSION);
	h->public.relaxed = get_u32(b + WAL_H_FLAGS) & WAL_FLAG_RELAXED;
	return 0;
}

/*
 * Looks behind the first invalid byte for valid records, which begin with the
 * segment's salt at a multiple of WAL_ALIGN.
 */
static int
search_behind(struct window *w, const struct segment_header *h,
              struct wal_scan *scan, struct err *err)
{
	uint64_t at = scan->end + WAL_ALIGN;
	unsigned char salt[8];

	put_u64(salt, h->salt);
	while (at + WAL_RECORD_HEADER_BYTES <= w->size) {
		const unsigned char *b, *hit;
		struct wal_record r;
		const char *reason;
		size_t len =
			w->size - at > WINDOW ? WINDOW : (size_t)(w->size - at);
		uint64_t next;
		int rc = window_get(w, at, len, &b, err);

		if (rc)
			return rc;
		hit = memmem(b, len, salt, sizeof(salt));
		if (!hit) {
			if (len < WINDOW)
				return 0;
			/* The salt may stand across two windows. */
			at += len - WAL_RECORD_HEADER_BYTES;
			continue;
		}
		next = at + (uint64_t)(hit - b) - WAL_R_SALT;
		if (next < at || next % WAL_ALIGN) {
			at += (uint64_t)(hit - b) + 1;
			at = wal_align(at);
			continue;
		}
		rc = read_record(w, h, next, &r, &reason, err);
		if (rc < 0)
			return rc;
		if (!rc && r.synced)
			scan->prior_synced = true;
		if (!rc && r.synced > scan->end) {
			scan->later_synced = true;
			scan->later_offset = next;
			return 0;
		}
		at = next + WAL_ALIGN;
	}
	return 0;
}

/* Do the entries of a record decode, and are they as many as it says? */
static bool
record_is_sound(const struct wal_record *r)
{
	struct reader reader = wal_record_reader(r);
	struct entry e;
	uint64_t n = 0;

	while (reader_left(&reader)) {
		if (!entry_decode(&reader, r->first_version, &e) ||
		    e.version != r->first_version + n)
			return false;
		n++;
	}
	return n && n == r->count;
}

/* As wal_scan_segment, but nothing at or behind `limit` counts. */
static int
scan_segment(struct fs_dir *dir, uint64_t segment, uint64_t limit,
             int (*each)(void *arg, const struct wal_record *r,
                         struct err *err),
             void *arg, struct wal_scan *scan, struct err *err)
{
	struct window w;
	struct segment_header h;
	struct wal_record r;
	const char *reason = "";
	int rc;

	memset(scan, 0, sizeof(*scan));
	rc = window_open(&w, dir, segment, err);
	if (!rc)
		rc = read_header(&w, segment, &h, err);
	if (rc)
		goto done;
	scan->size = w.size;
	scan->header = h.public;
	scan->header.segment = segment;
	scan->header_valid = h.valid;
	if (!h.valid) {
		scan->tail = h.blank ? WAL_TAIL_CLEAN : WAL_TAIL_INVALID;
		snprintf(scan->reason, sizeof(scan->reason),
		         "the segment's header is %s",
		         h.blank ? "not written" : "damaged");
		goto done;
	}
	scan->end = WAL_HEADER_BYTES;
	while (scan->end < limit) {
		rc = read_record(&w, &h, scan->end, &r, &reason, err);
		if (rc)
			break;
		if (!record_is_sound(&r)) {
			/* Under a valid CRC: written so, not damaged since. */
			rc = err_set(err, LSMKV_ECORRUPT,
			             "%s/%s: record at %" PRIu64
			             ": its entries do not decode",
			             dir->path, w.file.name, r.offset);
			goto done;
		}
		if (r.synced)
			scan->prior_synced = true;
		scan->records++;
		scan->entries += r.count;
		scan->last_version = r.first_version + r.count - 1;
		if (each) {
			rc = each(arg, &r, err);
			if (rc)
				goto done;
		}
		scan->end = wal_align(scan->end + WAL_RECORD_HEADER_BYTES +
		                      r.payload.len);
	}
	if (rc < 0 && !PLANTED("wal_replay.read_error_ends_log"))
		goto done;
	rc = 0;
	if (scan->end >= limit)
		goto done;
	if (*reason)
		scan->tail = WAL_TAIL_INVALID;
	snprintf(scan->reason, sizeof(scan->reason), "%s",
	         *reason ? reason : "nothing is written there");
	rc = search_behind(&w, &h, scan, err);
done:
	window_close(&w);
	return rc;
}

int
wal_scan_segment(struct fs_dir *dir, uint64_t segment,
                 int (*each)(void *arg, const struct wal_record *r,
                             struct err *err),
                 void *arg, struct wal_scan *scan, struct err *err)
{
	return scan_segment(dir, segment, UINT64_MAX, each, arg, scan, err);
}

/* ---- the whole log ---- */

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
	char name[NAME_MAX_LEN], proof[NAME_MAX_LEN];
	uint64_t number = s->numbers[i];
	struct wal_scan later;
	int rc;

	name_wal(number, name);
	if (scan->later_synced)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s/%s: damaged at %" PRIu64
		               " (%s): the record at %" PRIu64
		               " was written after it was on disk; run "
		               "lsmkv verify",
		               dir->path, name, scan->end, scan->reason,
		               scan->later_offset);
	for (size_t j = i + 1; j < s->count; j++) {
		const struct wal_header *h = &headers[j].public;

		if (!headers[j].valid || !h->prev_segment)
			continue;
		/* Of what is behind the end that it tells it knows nothing. */
		if (headers[j].unused && scan->end >= h->prev_end)
			continue;
		rc = scan_segment(dir, s->numbers[j], UINT64_MAX, NULL, NULL,
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
	struct window w;
	int rc = 0;

	for (size_t i = 0; i < s->count && !rc; i++) {
		rc = window_open(&w, dir, s->numbers[i], err);
		if (!rc)
			rc = read_header(&w, s->numbers[i], &headers[i], err);
		window_close(&w);
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
		rc = scan_segment(dir, s->numbers[i], WAL_HEADER_BYTES + 1,
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
		rc = scan_segment(dir, s.numbers[i], limit, replay_record,
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
