/* SPDX-License-Identifier: ISC */
/*
 * Reading a segment of the write-ahead log, of any format version. Writes
 * nothing.
 *
 * A segment is read in windows, so that its size does not matter, and trusted
 * record by record: length in bounds, the segment's own salt, CRC over all of
 * it. Where that ends, the rest of the segment is searched for records that
 * were written when this place was already on disk (wal.h has the rule).
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/names.h"
#include "store/wal_format.h"
#include "store/wal_scan.h"

#define WINDOW (1u << 20) /* bytes read at once */
#define END_ZEROS 40u     /* as many say that the log ends there */

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

/* ---- the file ---- */

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

/* CRC, tag, lengths; what is known before the payload is. */
struct head {
	uint32_t crc;
	uint64_t length; /* of the payload */
	size_t bytes;    /* of the head */
};

/*
 * From the n bytes at the record's offset, which may be fewer than a head
 * has: true, or *reason says why there is none.
 */
static bool
decode_head(const unsigned char *b, size_t n, const struct segment_header *h,
            struct wal_record *r, struct head *head, const char **reason)
{
	struct reader reader = reader_make(slice_make(b, n));
	uint64_t length, missing = 0;
	unsigned char tag[2] = { (unsigned char)h->salt,
		                 (unsigned char)(h->salt >> 8) };

	head->crc = reader_u32(&reader);
	if (n >= WAL_R_LENGTH && memcmp(b + WAL_R_TAG, tag, sizeof(tag))) {
		*reason = "not a record of this segment";
		return false;
	}
	reader_take(&reader, sizeof(tag));
	length = reader_varint(&reader);
	head->length = length >> WAL_DISK_BITS;
	r->synced = 0;
	switch ((enum wal_disk)(length & ((1u << WAL_DISK_BITS) - 1))) {
	case WAL_DISK_UNKNOWN:
		break;
	case WAL_DISK_PRIOR:
		r->synced = WAL_HEADER_BYTES;
		break;
	case WAL_DISK_SOME:
		missing = reader_varint(&reader);
		/* For all of it, and for none, there are other codes. */
		if (!missing || missing >= r->offset - WAL_HEADER_BYTES)
			reader.failed = true;
		r->synced = r->offset - missing;
		break;
	case WAL_DISK_ALL:
		r->synced = r->offset;
		break;
	}
	head->bytes = (size_t)(reader.at - b);
	if (reader.failed)
		*reason =
			n < WAL_HEAD_MAX ? "cut off" : "lengths out of bounds";
	return !reader.failed;
}

/* The same of format version 1. */
static bool
decode_head_v1(const unsigned char *b, size_t n, const struct segment_header *h,
               struct wal_record *r, struct head *head, const char **reason)
{
	if (n < WAL_V1_RECORD_BYTES) {
		*reason = "cut off";
		return false;
	}
	if (get_u64(b + WAL_V1_SALT) != h->salt) {
		*reason = "not a record of this segment";
		return false;
	}
	head->crc = get_u32(b + WAL_V1_CRC);
	head->length = get_u32(b + WAL_V1_LENGTH);
	head->bytes = WAL_V1_RECORD_BYTES;
	r->first_version = r->version_base = get_u64(b + WAL_V1_FIRST_VERSION);
	r->synced = get_u64(b + WAL_V1_SYNCED);
	r->count = get_u32(b + WAL_V1_COUNT);
	return true;
}

/* What the CRC of a whole record should be. */
static uint32_t
crc_of(const struct segment_header *h, const unsigned char *b, size_t len,
       uint64_t offset)
{
	uint32_t crc = 0;

	if (PLANTED("wal.offset_not_in_crc"))
		offset = 0;
	if (h->format > 1)
		crc = wal_crc_begin(h->salt_crc, offset);
	return crc32_add(crc, b + 4, len - 4);
}

/*
 * Reads the record at offset: 0 and *r, LSMKV_END if none is there (*reason
 * says why, "" for zeros or the end of the file), or an error. From format
 * version 2 on, *r does not know the versions, nor how many entries there are.
 */
static int
read_record(struct window *w, const struct segment_header *h, uint64_t offset,
            struct wal_record *r, const char **reason, struct err *err)
{
	uint64_t left = offset < w->size ? w->size - offset : 0;
	size_t n = left < END_ZEROS ? (size_t)left : END_ZEROS, len;
	const unsigned char *b;
	struct head head;
	bool found;
	int rc;

	static_assert(END_ZEROS >= WAL_HEAD_MAX, "it has the whole head");
	*reason = "";
	memset(r, 0, sizeof(*r));
	r->segment = h->public.segment;
	r->offset = offset;
	if (!n)
		return LSMKV_END;
	rc = window_get(w, offset, n, &b, err);
	if (rc)
		return rc;
	if (all_zero(b, n))
		return LSMKV_END;
	found = h->format > 1 ? decode_head(b, n, h, r, &head, reason)
	                      : decode_head_v1(b, n, h, r, &head, reason);
	if (!found)
		return LSMKV_END;
	if (!head.length || head.length > left - head.bytes) {
		*reason = "length out of bounds";
		return LSMKV_END;
	}
	len = head.bytes + (size_t)head.length;
	rc = window_get(w, offset, len, &b, err);
	if (rc)
		return rc;
	if (head.crc != crc_of(h, b, len, offset) &&
	    !PLANTED("wal_replay.crc_ignored")) {
		*reason = "CRC does not match";
		return LSMKV_END;
	}
	r->end = offset + len;
	r->payload = slice_make(b + head.bytes, (size_t)head.length);
	return 0;
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

/* ---- the header of a segment ---- */

/*
 * In format version 1 the first record begins in the header's sector, and
 * tells its salt: behind a header that is not one it means damage.
 */
static int
look_for_v1_record(struct window *w, struct segment_header *h, struct err *err)
{
	struct wal_record r;
	const unsigned char *b;
	const char *reason;
	int rc;

	if (w->size < WAL_V1_HEADER_BYTES + WAL_V1_RECORD_BYTES)
		return 0;
	rc = window_get(w, WAL_V1_HEADER_BYTES, WAL_V1_RECORD_BYTES, &b, err);
	if (rc)
		return rc;
	h->format = 1;
	h->salt = get_u64(b + WAL_V1_SALT);
	rc = read_record(w, h, WAL_V1_HEADER_BYTES, &r, &reason, err);
	h->blank = rc == LSMKV_END;
	h->format = 0;
	return rc < 0 ? rc : 0;
}

/*
 * Without a valid header: was this segment ever in use? When the machine
 * stops before a new segment is on the disk, its first sector may hold
 * anything, the header of an older file too; all behind it reads as zeros.
 */
static int
look_unwritten(struct window *w, struct segment_header *h, bool stale,
               struct err *err)
{
	int rc = file_is_blank(w, WAL_SECTOR, &h->blank, err);

	if (rc || !h->blank || stale)
		return rc;
	return look_for_v1_record(w, h, err);
}

static int
read_header(struct window *w, uint64_t segment, struct segment_header *h,
            struct err *err)
{
	unsigned char b[WAL_HEADER_BYTES];
	size_t n = w->size < sizeof(b) ? (size_t)w->size : sizeof(b);
	bool sound, stale = false;
	uint32_t format = 0;
	int rc;

	memset(h, 0, sizeof(*h));
	if (n >= WAL_H_END) {
		const unsigned char *at;

		rc = window_get(w, 0, n, &at, err);
		if (rc)
			return rc;
		memcpy(b, at, n);
		format = get_u32(b + WAL_H_VERSION);
		sound = !memcmp(b + WAL_H_MAGIC, WAL_MAGIC, 8) &&
		        get_u32(b + WAL_H_CRC) == crc32_add(0, b, WAL_H_CRC);
		if (format == 2 && !all_zero(b + WAL_H_END, n - WAL_H_END))
			sound = false;
		h->valid = sound && get_u64(b + WAL_H_SEGMENT) == segment;
		stale = sound && !h->valid;
	}
	if (!h->valid)
		return look_unwritten(w, h, stale, err);
	if (format < 1 || format > WAL_FORMAT_VERSION)
		return err_set(err, LSMKV_EVERSION,
		               "%s: WAL format version %" PRIu32
		               "; this program reads versions 1 to %u",
		               w->file.name, format, WAL_FORMAT_VERSION);
	h->format = format;
	h->salt = get_u64(b + WAL_H_SALT);
	h->salt_crc = wal_salt_crc(h->salt);
	h->public.segment = segment;
	h->public.prev_segment = get_u64(b + WAL_H_PREV_SEGMENT);
	h->public.prev_end = get_u64(b + WAL_H_PREV_END);
	h->public.first_version = get_u64(b + WAL_H_FIRST_VERSION);
	h->public.relaxed = get_u32(b + WAL_H_FLAGS) & WAL_FLAG_RELAXED;
	return 0;
}

int
wal_read_header(struct fs_dir *dir, uint64_t segment, struct segment_header *h,
                struct err *err)
{
	struct window w;
	int rc = window_open(&w, dir, segment, err);

	if (!rc)
		rc = read_header(&w, segment, h, err);
	window_close(&w);
	return rc;
}

/* ---- all of a segment ---- */

/* Where records may begin, and how to see that one may be there. */
struct record_marks {
	unsigned char mark[8];
	size_t len; /* of the mark */
	size_t at;  /* of the mark in a record */
	unsigned align;
};

static struct record_marks
marks_of(const struct segment_header *h)
{
	struct record_marks m = { .len = WAL_TAG_BYTES,
		                  .at = WAL_R_TAG,
		                  .align = 1 };

	put_u64(m.mark, h->salt);
	if (h->format == 1) {
		m.len = 8;
		m.at = WAL_V1_SALT;
		m.align = WAL_V1_ALIGN;
	}
	return m;
}

static uint64_t
align_up(uint64_t offset, unsigned align)
{
	return (offset + align - 1) / align * align;
}

/*
 * Looks behind the first invalid byte for valid records, at any place where
 * the segment's mark stands as it does in a record.
 */
static int
search_behind(struct window *w, const struct segment_header *h,
              struct wal_scan *scan, struct err *err)
{
	const struct record_marks m = marks_of(h);
	uint64_t at = scan->end + m.align; /* no record begins before */

	while (at + m.at + m.len <= w->size) {
		const unsigned char *b, *hit;
		struct wal_record r;
		const char *reason;
		size_t len =
			w->size - at > WINDOW ? WINDOW : (size_t)(w->size - at);
		uint64_t next;
		int rc = window_get(w, at, len, &b, err);

		if (rc)
			return rc;
		hit = memmem(b + m.at, len - m.at, m.mark, m.len);
		if (!hit) {
			if (len < WINDOW)
				return 0;
			/* The mark may stand across two windows. */
			at = align_up(at + len - m.at - m.len + 1, m.align);
			continue;
		}
		next = at + (uint64_t)(hit - b) - m.at;
		if (next % m.align) {
			at = align_up(next, m.align);
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
		at = next + m.align;
	}
	return 0;
}

int
wal_scan_upto(struct fs_dir *dir, uint64_t segment, uint64_t limit,
              int (*each)(void *arg, const struct wal_record *r,
                          struct err *err),
              void *arg, struct wal_scan *scan, struct err *err)
{
	struct window w;
	struct segment_header h;
	struct wal_record r;
	const char *reason = "";
	uint64_t next;
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
		rc = read_record(&w, &h, scan->end, &r, &reason, err);
		if (rc)
			break;
		if (!record_is_sound(&h, next, &r)) {
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
		next = r.first_version + r.count;
		scan->last_version = next - 1;
		if (each) {
			rc = each(arg, &r, err);
			if (rc)
				goto done;
		}
		scan->end =
			h.format > 1 ? r.end : align_up(r.end, WAL_V1_ALIGN);
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
	return wal_scan_upto(dir, segment, UINT64_MAX, each, arg, scan, err);
}
