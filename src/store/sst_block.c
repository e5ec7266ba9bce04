/* SPDX-License-Identifier: ISC */
/*
 * From stored bytes to blocks that can be searched, and the searching.
 *
 * Stored bytes are damaged until proven otherwise: first the CRC, then the
 * bounded length (sst_seal.c), then inflating, then every entry, its order and
 * its place between its neighbours. Nothing is allocated on the word of a byte
 * that no checksum has confirmed. What is built here never changes again, so
 * threads search it without a lock.
 */
#include "store/sst_read.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/bloom.h"
#include "store/sst_columns.h"
#include "store/sst_pack.h"
#include "store/sst_parts.h"
#include "store/sst_seal.h"

#define LINE 64u                 /* bytes of a cache line */
#define SMALL_INFLATE (4u << 10) /* bytes inflated */

/* With one private pin. */
static struct cache_block *
allocate(struct sst *t, uint64_t offset, size_t size, uint8_t keep,
         struct err *err)
{
	struct cache_block *b =
		cache_block_new(t->info.number, offset, size, keep);

	if (!b)
		err_nomem(err, size);
	return b;
}

/* ---- data blocks ---- */

static const char *
name_of(const struct sst *t)
{
	return t->file.name;
}

/* Where they are filled in. */
static unsigned char *
rows_of(struct sst_block *b)
{
	return (unsigned char *)b + b->rows_at;
}

static uint32_t *
at_of(struct sst_block *b)
{
	return (uint32_t *)(void *)rows_of(b) - b->count;
}

/* Checks rows as they stood on the disk and fills in where each is; NULL, or
   what is wrong. */
static const char *
walk_rows(struct sst_block *b)
{
	const unsigned char *rows = sst_block_rows(b);
	struct reader r = { rows, (const unsigned char *)b + b->head.size,
		            false };
	uint32_t *at = at_of(b);
	struct entry last = { .version = 0 };

	b->base_version = reader_varint(&r);
	if (reader_varint(&r) != b->count)
		return "has another entry count than the index says";
	for (uint32_t i = 0; i < b->count; i++) {
		struct entry e;

		at[i] = (uint32_t)(r.at - rows);
		if (!entry_decode(&r, b->base_version, &e))
			return "has an entry that is damaged";
		if (i &&
		    entry_order(last.key, last.version, e.key, e.version) >= 0)
			return "has entries out of order";
		last = e;
	}
	if (r.failed || r.at != r.end)
		return "has bytes behind its last entry";
	return NULL;
}

static void
fill_tags(struct sst_block *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		struct entry e;

		sst_block_entry(b, i, &e);
		b->tags[i] = (unsigned char)sst_key_hash(e.key);
	}
}

/* Does the block stand where the index says? NULL, or what is wrong. */
static const char *
check_place(const struct sst_block *b, const struct sst_index *x, uint32_t i)
{
	struct sst_index_record here, before;
	struct entry e;

	sst_index_record(x, i, &here);
	sst_block_entry(b, b->count - 1, &e);
	if (entry_order(e.key, e.version, here.key, here.version) > 0)
		return "reaches behind its key in the index";
	if (!i)
		return NULL;
	sst_index_record(x, i - 1, &before);
	sst_block_entry(b, 0, &e);
	if (entry_order(e.key, e.version, before.key, before.version) <= 0)
		return "begins before its place in the index";
	return NULL;
}

/* A block of count entries whose rows take `rows` bytes; its arrays laid out,
   nothing filled in. */
static struct sst_block *
allocate_block(struct sst *t, uint64_t offset, uint64_t count, size_t rows,
               bool tags, struct err *err)
{
	size_t at_at =
		(sizeof(struct sst_block) + (tags ? count : 0) + 3) / 4 * 4;
	size_t rows_at = at_at + count * sizeof(uint32_t);
	struct sst_block *b = (struct sst_block *)allocate(
		t, offset, rows_at + rows, CACHE_KEEP_DATA, err);

	if (!b)
		return NULL;
	b->count = (uint32_t)count;
	b->rows_at = (uint32_t)rows_at;
	return b;
}

int
sst_block_keep_stored(struct sst *t, const struct sst_index *x, uint32_t i,
                      struct slice stored, struct sst_block **out,
                      struct err *err)
{
	struct sst_block *b = *out =
		allocate_block(t, x->offset[i], 0, stored.len, false, err);

	if (!b)
		return LSMKV_ENOMEM;
	memcpy(rows_of(b), stored.data, stored.len);
	return 0;
}

/* *wrong is set where the block is damaged. */
static int
make_from_rows(struct sst *t, uint64_t offset, uint64_t count, bool tags,
               const struct sst_sealed *s, struct sst_block **out,
               const char **wrong, struct err *err)
{
	struct sst_block *b;
	int code;

	*wrong = "is bigger than blocks of this file are";
	if (count > 1 && s->raw > t->block_bytes + SST_BLOCK_HEAD_MAX)
		return 0;
	if (s->raw > SST_BLOCK_HEAD_MAX + SST_ENTRY_OVERHEAD + ENTRY_KEY_MAX +
	                     ENTRY_VALUE_MAX &&
	    s->raw > SST_BLOCK_BYTES_MAX + SST_BLOCK_HEAD_MAX)
		return 0;
	*wrong = "has more entries than bytes";
	if (count > s->raw)
		return 0;
	*wrong = NULL;
	b = *out = allocate_block(t, offset, count, s->raw, tags, err);
	if (!b)
		return LSMKV_ENOMEM;
	code = sst_seal_inflate(name_of(t), offset, "block", s, rows_of(b),
	                        err);
	if (!code)
		*wrong = walk_rows(b);
	if (!code && !*wrong && tags)
		fill_tags(b);
	return code;
}

/* What stands around the payload of a block of columns. */
struct around {
	struct sst_columns front; /* packed: before it; only laid out */
	struct sst_packed keys;   /* of the front */
	struct sst_parts parts;   /* behind it; count 0: there are none */
	struct slice versions;    /* columns: behind it */
};

/* Takes it off the payload; NULL, or what is wrong. */
static const char *
strip(const struct sst *t, struct sst_sealed *s, uint64_t count,
      struct around *a)
{
	size_t bytes;

	a->keys.count = 0;
	a->parts.count = 0;
	if (sst_is_packed(s)) {
		bytes = sst_front_open(&a->front, &a->keys, s->payload, count,
		                       t->block_bytes);
		if (!bytes)
			return "has packed columns that cannot be";
		s->payload.data += bytes;
		s->payload.len -= bytes;
		if (s->type != SST_PACKED_PARTS)
			return NULL;
		bytes = sst_parts_open(&a->parts, s->payload);
		if (!bytes)
			return "has parts that cannot be";
		s->payload.data += bytes;
		s->payload.len -= bytes;
		return NULL;
	}
	bytes = sst_columns_versions_bytes(s->payload, count);
	if (!bytes)
		return "has versions that cannot be";
	s->payload.len -= bytes;
	a->versions = slice_make(s->payload.data + s->payload.len, bytes);
	return NULL;
}

/* What is inflated, and unpacked behind it, becomes c; NULL, or what is
   wrong. */
static const char *
open_columns(const struct sst *t, const struct sst_sealed *s, struct around *a,
             unsigned char *inflated, uint64_t count, struct sst_columns *c)
{
	struct slice payload = slice_make(inflated, s->raw);
	unsigned char *keys = inflated + s->raw + SST_COLUMNS_SLACK;

	if (!sst_is_packed(s))
		return sst_columns_open(c, payload, a->versions,
		                        (uint32_t)count, t->block_bytes);
	if (!sst_unpack(&a->keys, keys))
		return "has packed keys that are damaged";
	*c = a->front;
	return sst_front_check(c, slice_make(keys, a->keys.count), payload,
	                       t->block_bytes);
}

/*
 * Inflates into `to`, which has INFLATE_PREFIX_SLACK more room. Of a small
 * block libdeflate makes larger tables than it has use for; a stream that is
 * not right is left to it, to say so. *wrong is set where it has no fault to
 * find, but the parts are not those of the stream.
 */
static int
inflate_columns(const struct sst *t, struct sst_codes *common, uint64_t offset,
                const struct sst_sealed *s, const struct around *a,
                struct sst_tools *tools, unsigned char *to, const char **wrong,
                struct err *err)
{
	int code;

	if (a->parts.count ? sst_parts_inflate(&a->parts, &a->front,
	                                       &(struct sst_inflate){
						       &tools->codes, common },
	                                       s->payload, to, s->raw)
	                   : sst_is_deflated(s) && s->raw <= SMALL_INFLATE &&
	                             inflate_prefix(&tools->codes, s->payload,
	                                            to, s->raw))
		return 0;
	code = sst_seal_inflate(name_of(t), offset, "block", s, to, err);
	if (!code && a->parts.count)
		*wrong = "has parts that are damaged";
	return code;
}

static int
make_from_columns(struct sst *t, struct sst_codes *common, uint64_t offset,
                  uint64_t count, bool tags, const struct sst_sealed *s,
                  struct around *a, struct sst_block **out, const char **wrong,
                  struct err *err)
{
	struct sst_tools *tools = sst_tools(err);
	struct sst_columns c;
	struct sst_block *b;
	int code;

	if (!tools)
		return LSMKV_ENOMEM;
	/* Each number may be as wide as the widest of its column. */
	*wrong = "is bigger than blocks of this file are";
	if (s->raw > t->block_bytes + SST_COLUMNS_HEAD_MAX +
	                     count * SST_COLUMNS_NUMBERS_MAX)
		return 0;
	*wrong = NULL;
	buf_clear(&tools->columns);
	if (buf_reserve(&tools->columns,
	                s->raw + SST_COLUMNS_SLACK + a->keys.count +
	                        SST_PACK_SLACK + INFLATE_PREFIX_SLACK,
	                err))
		return LSMKV_ENOMEM;
	code = inflate_columns(t, common, offset, s, a, tools,
	                       tools->columns.data, wrong, err);
	if (code || *wrong)
		goto done;
	*wrong = open_columns(t, s, a, tools->columns.data, count, &c);
	if (*wrong)
		goto done;
	b = *out = allocate_block(t, offset, count, c.rows, tags, err);
	if (!b) {
		code = LSMKV_ENOMEM;
		goto done;
	}
	b->base_version = c.version.least;
	*wrong = sst_columns_to_rows(&c, rows_of(b), at_of(b),
	                             tags ? b->tags : NULL);
done:
	sst_scratch_trim(&tools->columns);
	return code;
}

enum sst_block_type
sst_last_type(const struct sst *t)
{
	static const enum sst_block_type last[] = {
		SST_DEFLATED,
		SST_COLUMNS_DEFLATED,
		SST_PACKED_DEFLATED,
		SST_PACKED_PARTS,
	};

	return last[t->footer.version - 1];
}

int
sst_block_make(struct sst *t, const struct sst_index *x, uint32_t i,
               struct slice stored, bool tags, struct sst_block **out,
               struct err *err)
{
	static const char what[] = "block";
	uint64_t offset = x->offset[i];
	struct sst_index_record record;
	struct around around;
	struct sst_block *b = NULL;
	struct sst_sealed s;
	const char *wrong = NULL;
	int code;

	*out = NULL;
	code = sst_seal_open(name_of(t), t->footer.number, offset, what, stored,
	                     &s, err);
	if (code)
		return code;
	sst_index_record(x, i, &record);
	if (s.type >= SST_COLUMNS) {
		wrong = strip(t, &s, record.count, &around);
		if (wrong)
			goto done;
	}
	code = sst_seal_check(name_of(t), offset, what, &s, sst_last_type(t),
	                      err);
	if (code)
		return code;
	if (s.type >= SST_COLUMNS)
		code = make_from_columns(t, x->codes, offset, record.count,
		                         tags, &s, &around, &b, &wrong, err);
	else
		code = make_from_rows(t, offset, record.count, tags, &s, &b,
		                      &wrong, err);
	if (code || wrong)
		goto done;
	b->packed = sst_is_packed(&s);
	b->raw = s.raw + (b->packed ? (uint32_t)around.keys.count : 0);
	b->deflated = sst_is_deflated(&s);
	b->parts = s.type >= SST_COLUMNS ? around.parts.count : 0;
	wrong = check_place(b, x, i);

done:
	if (wrong)
		code = err_set(err, LSMKV_ECORRUPT,
		               "%s: block at %" PRIu64 " %s", name_of(t),
		               offset, wrong);
	if (code)
		cache_block_unpin(b ? &b->head : NULL);
	else
		*out = b;
	return code;
}

uint32_t
sst_block_seek(const struct sst_block *b, struct slice key, uint64_t version)
{
	uint32_t low = 0, high = b->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct entry e;

		sst_block_entry(b, middle, &e);
		if (entry_order(e.key, e.version, key, version) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- the index ---- */

/* Up to 8 bytes of s from `from` on as a number that sorts as they do. */
static inline uint64_t
prefix_of(struct slice s, size_t from)
{
	uint64_t v = 0;
	size_t left = s.len - from;

	memcpy(&v, s.data + from, left < sizeof(v) ? left : sizeof(v));
	return be64toh(v);
}

static bool
take_record(struct reader *r, struct sst_index_record *record)
{
	record->key = reader_bytes(r);
	record->version = reader_varint(r);
	record->stored = reader_varint(r);
	record->count = reader_varint(r);
	return !r->failed && record->key.len &&
	       record->key.len <= ENTRY_KEY_MAX &&
	       record->stored > SST_TRAILER_BYTES &&
	       record->stored <= UINT32_MAX && record->count &&
	       record->count <= UINT32_MAX;
}

void
sst_index_record(const struct sst_index *x, uint32_t i,
                 struct sst_index_record *record)
{
	struct reader r = { x->data + x->at[i], x->end, false };
	bool fine = take_record(&r, record);

	/* Loading has decoded it once. */
	assert(fine);
}

/* Decodes every record, fills the arrays; NULL, or what is wrong. */
static const char *
walk_index(const struct sst *t, struct sst_index *x)
{
	struct reader r = { x->data, x->end, false };
	struct sst_index_record record = { .count = 0 }, last = record;
	uint64_t offset = SST_HEADER_BYTES, entries = 0;

	for (uint32_t i = 0; i < x->count; i++) {
		x->at[i] = (uint32_t)(r.at - x->data);
		x->offset[i] = offset;
		if (!take_record(&r, &record) ||
		    record.stored > t->footer.filter_offset - offset ||
		    record.count > t->info.entries - entries)
			return "has a record that is damaged";
		if (i && entry_order(last.key, last.version, record.key,
		                     record.version) >= 0)
			return "has records out of order";
		if (!i) {
			x->first = record.key.data;
			x->common = (uint32_t)record.key.len;
		}
		for (size_t n = 0; n < x->common; n++)
			if (n == record.key.len ||
			    record.key.data[n] != x->first[n])
				x->common = (uint32_t)n;
		offset += record.stored;
		entries += record.count;
		last = record;
	}
	x->offset[x->count] = offset;
	if (r.at != r.end || offset != t->footer.filter_offset ||
	    entries != t->info.entries ||
	    !slice_equal(last.key, buf_slice(&t->info.largest)))
		return "does not fit the file";

	for (uint32_t i = 0; i < x->count; i++) {
		sst_index_record(x, i, &record);
		x->prefix[i] = prefix_of(record.key, x->common);
	}
	return NULL;
}

int
sst_index_make(struct sst *t, struct slice stored, struct sst_index **out,
               struct err *err)
{
	static const char what[] = "block index";
	uint64_t offset = t->footer.index_offset;
	struct sst_index *x = NULL;
	struct sst_sealed s;
	size_t prefix_at = (sizeof(*x) + 7) / 8 * 8;
	size_t offset_at = prefix_at + t->blocks * sizeof(*x->prefix);
	size_t at_at = offset_at + (t->blocks + (size_t)1) * sizeof(*x->offset);
	size_t codes_at =
		(at_at + t->blocks * sizeof(*x->at) + LINE - 1) / LINE * LINE;
	size_t data_at = codes_at + sizeof(*x->codes);
	unsigned char *base;
	const char *wrong;
	int code;

	*out = NULL;
	code = sst_seal_open(name_of(t), t->footer.number, offset, what, stored,
	                     &s, err);
	if (!code)
		code = sst_seal_check(name_of(t), offset, what, &s,
		                      SST_DEFLATED, err);
	if (code)
		return code;
	x = (struct sst_index *)allocate(t, offset, data_at + s.raw,
	                                 CACHE_KEEP_LONG, err);
	if (!x)
		return LSMKV_ENOMEM;
	base = (unsigned char *)x;
	x->count = t->blocks;
	x->common = 0;
	x->prefix = (uint64_t *)(void *)(base + prefix_at);
	x->offset = (uint64_t *)(void *)(base + offset_at);
	x->at = (uint32_t *)(void *)(base + at_at);
	x->codes = (struct sst_codes *)(void *)(base + codes_at);
	memset(x->codes, 0, sizeof(*x->codes));
	x->data = base + data_at;
	x->end = x->data + s.raw;
	code = sst_seal_inflate(name_of(t), offset, what, &s, base + data_at,
	                        err);
	if (code)
		goto failed;
	wrong = walk_index(t, x);
	if (!wrong) {
		*out = x;
		return 0;
	}
	code = err_set(err, LSMKV_ECORRUPT, "%s: %s at %" PRIu64 " %s",
	               name_of(t), what, offset, wrong);
failed:
	cache_block_unpin(&x->head);
	return code;
}

uint32_t
sst_index_seek(const struct sst_index *x, struct slice key, uint64_t version)
{
	size_t head = key.len < x->common ? key.len : x->common;
	int c = memcmp(key.data, x->first, head);
	const uint64_t *at = x->prefix;
	uint32_t left = x->count, low, high;
	uint64_t wanted;

	if (c > 0)
		return x->count;
	if (c < 0 || key.len < x->common)
		return 0;

	/* The first record with a prefix not below the key's... */
	wanted = prefix_of(key, x->common);
	while (left > 1) {
		uint32_t half = left / 2;

		/* No branch to guess wrong: this becomes a cmov. */
		at += at[half - 1] < wanted ? half : 0;
		left -= half;
	}
	low = (uint32_t)(at - x->prefix) + (*at < wanted);

	/* ...and among those where it is the same, by the whole key. */
	for (high = low; high < x->count && x->prefix[high] == wanted;) {
		uint32_t step = high - low + 1;

		high = step > x->count - high ? x->count : high + step;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct sst_index_record record;

		sst_index_record(x, middle, &record);
		if (entry_order(record.key, record.version, key, version) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- the filter ---- */

int
sst_filter_make(struct sst *t, struct slice stored, struct sst_filter **out,
                struct err *err)
{
	static const char what[] = "filter";
	uint64_t offset = t->footer.filter_offset;
	size_t bits_at = (sizeof(struct sst_filter) + LINE - 1) / LINE * LINE;
	struct sst_filter *f;
	struct sst_sealed s;
	int code;

	*out = NULL;
	code = sst_seal_open(name_of(t), t->footer.number, offset, what, stored,
	                     &s, err);
	if (!code)
		code = sst_seal_check(name_of(t), offset, what, &s,
		                      SST_DEFLATED, err);
	if (code)
		return code;
	if (sst_is_deflated(&s) || !bloom_valid(s.payload))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 " is damaged", name_of(t),
		               what, offset);
	f = (struct sst_filter *)allocate(t, offset, bits_at + s.raw,
	                                  CACHE_KEEP_LONG, err);
	if (!f)
		return LSMKV_ENOMEM;
	memcpy((unsigned char *)f + bits_at, s.payload.data, s.payload.len);
	f->bits = slice_make((unsigned char *)f + bits_at, s.payload.len);
	*out = f;
	return 0;
}
