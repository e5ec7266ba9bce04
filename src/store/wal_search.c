/* SPDX-License-Identifier: ISC */
#include "store/wal_search.h"

#include "store/wal_format.h"

#define MOVED_MOST (64 << 20) /* bytes; a segment is seldom longer */

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

/* As memmem; most of what is searched is zeros, and the mark is none. */
static const unsigned char *
find_mark(const struct record_marks *m, const unsigned char *b, size_t len)
{
	const unsigned char *end = b + len;

	while ((size_t)(end - b) >= m->len) {
		b = memchr(b, m->mark[0], (size_t)(end - b) - m->len + 1);
		if (!b || !memcmp(b, m->mark, m->len))
			return b;
		b++;
	}
	return NULL;
}

/*
 * Where a record may begin, from *at on: 0, LSMKV_END if there is no such
 * place, or an error.
 */
static int
next_place(struct wal_window *w, const struct record_marks *m, uint64_t *at,
           struct err *err)
{
	const size_t least = m->at + m->len;

	while (*at + least <= w->size) {
		const unsigned char *b, *hit;
		size_t held;
		int rc = wal_window_get(w, *at, least, &b, err);

		if (rc)
			return rc;
		held = wal_window_held(w, *at);
		hit = find_mark(m, b + m->at, held - m->at);
		/* Without one: the mark may stand across two windows. */
		*at += hit ? (size_t)(hit - b) - m->at : held - least + 1;
		if (hit && *at % m->align == 0)
			return 0;
		*at = (*at + m->align - 1) / m->align * m->align;
	}
	return LSMKV_END;
}

/* ---- records that are not where they were written ---- */

/*
 * Polynomials over GF(2) modulo that of CRC-32; the highest bit is x^0. (The
 * arithmetic by which zlib combines CRCs, after Mark Adler.)
 */
static uint32_t
multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? UINT32_C(0xedb88320) : 0);
	}
	return product;
}

static uint32_t
x_to(uint32_t n)
{
	uint32_t power = 1u << 31, square = 1u << 30;

	for (; n; n >>= 1) {
		if (n & 1)
			power = multiply(power, square);
		square = multiply(square, square);
	}
	return power;
}

/*
 * How much further on may the `len` bytes at offset have been written, if they
 * are a record whose CRC is wrong in these bits? 0 if nowhere.
 *
 * A CRC is linear: two records that differ in their places alone have CRCs
 * that differ by what is different in the places, as a polynomial times x^32
 * for that itself and x^8 for every byte behind it. That is divided out here;
 * x^(2^32-1) is 1. It gives the lower half of the place; the upper one is 0
 * in any segment that is not absurd, and is taken for the same.
 */
static int64_t
moved_by(uint64_t offset, uint64_t len, uint32_t crc_off)
{
	uint64_t bits = 8 * (8 + len - WAL_R_TAG) % UINT32_MAX;
	uint32_t differs = multiply(crc_off, x_to(UINT32_MAX - (uint32_t)bits));
	int64_t moved = (int64_t)(offset ^ differs) - (int64_t)offset;

	if (moved % (int64_t)WAL_SECTOR || moved > MOVED_MOST ||
	    moved < -MOVED_MOST)
		return 0;
	return moved;
}

/*
 * Records from *at on, all of them moved as far; *at is then behind them. If
 * only zeros are there, they count.
 */
static int
see_moved(struct wal_window *w, const struct segment_header *h, uint64_t *at,
          int64_t moved, struct wal_scan *scan, struct err *err)
{
	uint64_t proof = 0;
	bool prior = false, blank;
	struct wal_found f;
	int rc;

	for (;;) {
		rc = wal_read_record(w, h, *at, moved, &f, err);
		if (rc)
			break;
		if (f.record.synced)
			prior = true;
		if (f.record.synced > scan->end && !proof)
			proof = *at;
		*at = f.record.end;
	}
	if (rc < 0 || *f.reason || !prior)
		return rc < 0 ? rc : 0;
	rc = wal_window_blank(w, *at, &blank, err);
	if (rc || !blank)
		return rc;
	scan->prior_synced = true;
	if (proof) {
		scan->later_synced = true;
		scan->later_offset = proof;
		scan->later_written = proof + (uint64_t)moved;
	}
	return 0;
}

/* ---- all of it ---- */

int
wal_search_behind(struct wal_window *w, const struct segment_header *h,
                  struct wal_scan *scan, struct err *err)
{
	const struct record_marks m = marks_of(h);
	uint64_t at = scan->end + m.align; /* no record begins before */
	struct wal_found f;
	int64_t moved;
	int rc;

	while (!scan->later_synced) {
		rc = next_place(w, &m, &at, err);
		if (rc)
			return rc < 0 ? rc : 0;
		rc = wal_read_record(w, h, at, 0, &f, err);
		if (rc < 0)
			return rc;
		if (!rc) {
			if (f.record.synced)
				scan->prior_synced = true;
			if (f.record.synced > scan->end) {
				scan->later_synced = true;
				scan->later_offset = at;
				scan->later_written = at;
			}
			at = f.record.end; /* what is in it is its own */
			if (h->format == 1)
				at = wal_v1_align(at);
			continue;
		}
		moved = f.crc_off && h->format > 1
		                ? moved_by(at, f.record.end - at, f.crc_off)
		                : 0;
		if (moved) {
			uint64_t from = at;

			rc = see_moved(w, h, &at, moved, scan, err);
			if (rc)
				return rc;
			if (at > from)
				continue;
		}
		at += m.align;
	}
	return 0;
}
