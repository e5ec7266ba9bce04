/* SPDX-License-Identifier: ISC */
/*
 * A segment is read in windows, so that its size does not matter, and trusted
 * record by record: length in bounds, the segment's own salt, CRC over all of
 * it.
 */
#include "store/wal_read.h"

#include <assert.h>
#include <inttypes.h>

#include "base/planted.h"
#include "store/names.h"
#include "store/wal_format.h"

#define WINDOW (1u << 20) /* bytes read at once */
#define END_ZEROS 40u     /* as many say that the log ends there */
#define CRC_AT_ONCE 256u  /* bytes of a record that are copied for its CRC */

static bool
all_zero(const unsigned char *b, size_t len)
{
	return !len || (!b[0] && !memcmp(b, b + 1, len - 1));
}

/* ---- the window ---- */

int
wal_window_get(struct wal_window *w, uint64_t offset, size_t len,
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

int
wal_window_open(struct wal_window *w, struct fs_dir *dir, uint64_t segment,
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

void
wal_window_close(struct wal_window *w)
{
	fs_close(&w->file);
	buf_release(&w->bytes);
}

int
wal_window_blank(struct wal_window *w, uint64_t from, bool *blank,
                 struct err *err)
{
	const unsigned char *b;
	uint64_t at = from;
	int rc;

	*blank = true;
	while (at < w->size && *blank) {
		size_t len =
			w->size - at > WINDOW ? WINDOW : (size_t)(w->size - at);

		rc = wal_window_get(w, at, len, &b, err);
		if (rc)
			return rc;
		*blank = all_zero(b, len);
		at += len;
	}
	return 0;
}

/* ---- records ---- */

bool
wal_decode_head(const unsigned char *b, size_t n, uint64_t left, uint64_t salt,
                struct wal_head *head, const char **reason)
{
	struct reader reader = reader_make(slice_make(b, n));
	uint64_t length;

	if (n < WAL_R_LENGTH) {
		*reason = "cut off";
		return false;
	}
	if (b[WAL_R_TAG] != (unsigned char)salt ||
	    b[WAL_R_TAG + 1] != (unsigned char)(salt >> 8)) {
		*reason = "not a record of this segment";
		return false;
	}
	head->crc = get_u32(b + WAL_R_CRC);
	reader.at += WAL_R_LENGTH;
	length = reader_varint(&reader);
	head->length = length >> WAL_DISK_BITS;
	head->disk = length & ((1u << WAL_DISK_BITS) - 1);
	head->missing =
		head->disk == WAL_DISK_SOME ? reader_varint(&reader) : 0;
	head->bytes = (size_t)(reader.at - b);
	if (reader.failed)
		*reason =
			n < WAL_HEAD_MAX ? "cut off" : "lengths out of bounds";
	else if (!head->length || head->length > WAL_PAYLOAD_MAX ||
	         head->length > left - head->bytes)
		*reason = "length out of bounds";
	else
		return true;
	return false;
}

/* Up to where was the log on disk when this one was written at `place`? */
static bool
synced_at(const struct wal_head *head, uint64_t place, uint64_t *synced)
{
	*synced = 0;
	switch ((enum wal_disk)head->disk) {
	case WAL_DISK_UNKNOWN:
		break;
	case WAL_DISK_PRIOR:
		*synced = WAL_HEADER_BYTES;
		break;
	case WAL_DISK_SOME:
		/* For all of it, and for none, there are other codes. */
		if (!head->missing || place < WAL_HEADER_BYTES ||
		    head->missing >= place - WAL_HEADER_BYTES)
			return false;
		*synced = place - head->missing;
		break;
	case WAL_DISK_ALL:
		*synced = place;
		break;
	}
	return true;
}

/* The same of format version 1, with all else that it tells. */
static bool
decode_head_v1(const unsigned char *b, size_t n, uint64_t left, uint64_t salt,
               struct wal_record *r, struct wal_head *head, const char **reason)
{
	if (n < WAL_V1_RECORD_BYTES) {
		*reason = "cut off";
		return false;
	}
	if (get_u64(b + WAL_V1_SALT) != salt) {
		*reason = "not a record of this segment";
		return false;
	}
	head->crc = get_u32(b + WAL_V1_CRC);
	head->length = get_u32(b + WAL_V1_LENGTH);
	head->bytes = WAL_V1_RECORD_BYTES;
	if (!head->length || head->length > WAL_PAYLOAD_MAX ||
	    head->length > left - head->bytes) {
		*reason = "length out of bounds";
		return false;
	}
	r->first_version = r->version_base = get_u64(b + WAL_V1_FIRST_VERSION);
	r->synced = get_u64(b + WAL_V1_SYNCED);
	r->count = get_u32(b + WAL_V1_COUNT);
	return true;
}

/* What the CRC of a whole record should be, if it was written at `place`. */
static uint32_t
crc_of(const struct segment_header *h, const unsigned char *b, size_t len,
       uint64_t place)
{
	unsigned char all[8 + CRC_AT_ONCE];

	if (h->format == 1)
		return crc32_add(0, b + 4, len - 4);
	if (PLANTED("wal.offset_not_in_crc"))
		place = 0;
	if (len > CRC_AT_ONCE)
		return crc32_add(wal_crc_begin(h->salt_crc, place),
		                 b + WAL_R_TAG, len - WAL_R_TAG);
	/* One sum of few bytes costs half of two. */
	put_u64(all, place);
	memcpy(all + 8, b + WAL_R_TAG, len - WAL_R_TAG);
	return crc32_add(h->salt_crc, all, 8 + len - WAL_R_TAG);
}

int
wal_read_record(struct wal_window *w, const struct segment_header *h,
                uint64_t offset, int64_t moved, struct wal_found *f,
                struct err *err)
{
	uint64_t left = offset < w->size ? w->size - offset : 0;
	uint64_t place = offset + (uint64_t)moved;
	size_t n = left < END_ZEROS ? (size_t)left : END_ZEROS, len;
	struct wal_record *r = &f->record;
	const unsigned char *b;
	struct wal_head head;
	bool found;
	int rc;

	static_assert(END_ZEROS >= WAL_HEAD_MAX, "it has the whole head");
	static_assert(END_ZEROS >= WAL_V1_RECORD_BYTES, "the same");
	f->reason = "";
	f->crc_off = 0;
	*r = (struct wal_record){ .segment = h->public.segment,
		                  .offset = offset };
	if (!n)
		return LSMKV_END;
	rc = wal_window_get(w, offset, n, &b, err);
	if (rc)
		return rc;
	if (all_zero(b, n))
		return LSMKV_END;
	found = h->format > 1 ? wal_decode_head(b, n, left, h->salt, &head,
	                                        &f->reason)
	                      : decode_head_v1(b, n, left, h->salt, r, &head,
	                                       &f->reason);
	if (!found)
		return LSMKV_END;
	len = head.bytes + (size_t)head.length;
	rc = wal_window_get(w, offset, len, &b, err);
	if (rc)
		return rc;
	r->end = offset + len;
	r->payload = slice_make(b + head.bytes, (size_t)head.length);
	f->crc_off = head.crc ^ crc_of(h, b, len, place);
	if (f->crc_off && !PLANTED("wal_replay.crc_ignored")) {
		f->reason = "CRC does not match";
		return LSMKV_END;
	}
	if (h->format > 1 && !synced_at(&head, place, &r->synced)) {
		f->reason = "lengths out of bounds";
		return LSMKV_END;
	}
	return 0;
}

/* ---- the header of a segment ---- */

/*
 * In format version 1 the first record begins in the header's sector, and
 * tells its salt: behind a header that is not one it means damage.
 */
static int
look_for_v1_record(struct wal_window *w, struct segment_header *h,
                   struct err *err)
{
	struct wal_found f;
	const unsigned char *b;
	int rc;

	if (w->size < WAL_V1_HEADER_BYTES + WAL_V1_RECORD_BYTES)
		return 0;
	rc = wal_window_get(w, WAL_V1_HEADER_BYTES, WAL_V1_RECORD_BYTES, &b,
	                    err);
	if (rc)
		return rc;
	h->format = 1;
	h->salt = get_u64(b + WAL_V1_SALT);
	rc = wal_read_record(w, h, WAL_V1_HEADER_BYTES, 0, &f, err);
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
look_unwritten(struct wal_window *w, struct segment_header *h, bool stale,
               struct err *err)
{
	int rc = wal_window_blank(w, WAL_SECTOR, &h->blank, err);

	if (rc || !h->blank || stale)
		return rc;
	return look_for_v1_record(w, h, err);
}

int
wal_read_header(struct wal_window *w, uint64_t segment,
                struct segment_header *h, struct err *err)
{
	unsigned char b[WAL_HEADER_BYTES];
	size_t n = w->size < sizeof(b) ? (size_t)w->size : sizeof(b);
	bool sound, stale = false;
	uint32_t format = 0;
	int rc;

	memset(h, 0, sizeof(*h));
	if (n >= WAL_H_END) {
		const unsigned char *at;

		rc = wal_window_get(w, 0, n, &at, err);
		if (rc)
			return rc;
		memcpy(b, at, n);
		format = get_u32(b + WAL_H_VERSION);
		sound = !memcmp(b + WAL_H_MAGIC, WAL_MAGIC, 8) &&
		        get_u32(b + WAL_H_CRC) == crc32_add(0, b, WAL_H_CRC);
		/* Zeros for a tag would stand wherever nothing does. */
		if (format == 2 && (!all_zero(b + WAL_H_END, n - WAL_H_END) ||
		                    !b[WAL_H_SALT] || !b[WAL_H_SALT + 1]))
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
