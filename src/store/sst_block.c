/* SPDX-License-Identifier: ISC */
/*
 * From stored bytes to blocks that can be searched, and the searching.
 *
 * Stored bytes are damaged until proven otherwise: first the CRC, then the
 * bounded length, then inflating, then every entry, its order and its place
 * between its neighbours. Nothing is allocated on the word of a byte that no
 * checksum has confirmed. What is built here never changes again, so threads
 * search it without a lock.
 */
#include "base/planted.h"
#include "store/sst_read.h"

#include <endian.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "store/bloom.h"

#define LINE 64u /* bytes of a cache line */

/* A block as its trailer describes it; the CRC was right. */
struct sealed {
	struct slice payload; /* as stored */
	uint32_t raw;         /* bytes once inflated */
	bool deflated;
};

/* ---- one inflater a thread ---- */

static pthread_key_t inflater_key;
static pthread_once_t inflater_once = PTHREAD_ONCE_INIT;
static int inflater_key_error;

static void
free_inflater(void *inflater)
{
	inflater_free((struct inflater *)inflater);
}

static void
make_inflater_key(void)
{
	inflater_key_error = pthread_key_create(&inflater_key, free_inflater);
}

/* This thread's inflater, which ends with it; NULL when out of memory. */
static struct inflater *
own_inflater(void)
{
	struct inflater *inflater;

	pthread_once(&inflater_once, make_inflater_key);
	if (inflater_key_error)
		return NULL;
	inflater = (struct inflater *)pthread_getspecific(inflater_key);
	if (inflater)
		return inflater;
	inflater = inflater_new();
	if (inflater && pthread_setspecific(inflater_key, inflater)) {
		inflater_free(inflater);
		inflater = NULL;
	}
	return inflater;
}

/* ---- trailer and payload ---- */

static int
check_seal(const char *name, uint64_t number, uint64_t offset, const char *what,
           struct slice stored, struct sealed *s, struct err *err)
{
	const unsigned char *trailer;
	uint32_t crc, sum;

	if (stored.len <= SST_TRAILER_BYTES)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 " is only %zu bytes", name,
		               what, offset, stored.len);
	trailer = stored.data + stored.len - SST_TRAILER_BYTES;
	crc = get_u32(trailer + 5);
	sum = sst_block_crc(number, offset, stored.data, stored.len - 4);
	if (crc != sum && !PLANTED("sst_block.crc_ignored"))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 ": CRC is %08" PRIx32
		               ", should be %08" PRIx32,
		               name, what, offset, sum, crc);

	s->payload = slice_make(stored.data, stored.len - SST_TRAILER_BYTES);
	s->raw = get_u32(trailer + 1);
	s->deflated = trailer[0] == SST_DEFLATED;
	if (trailer[0] > SST_DEFLATED ||
	    (s->deflated ? s->raw <= s->payload.len ||
	                           s->raw / SST_INFLATE_MAX > s->payload.len
	                 : s->raw != s->payload.len))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64
		               ": type %u, %zu bytes for %" PRIu32 " cannot be",
		               name, what, offset, trailer[0], s->payload.len,
		               s->raw);
	return 0;
}

/* Writes the raw bytes to `to`, which has room for them. */
static int
open_payload(const char *name, uint64_t offset, const char *what,
             const struct sealed *s, unsigned char *to, struct err *err)
{
	struct inflater *inflater;
	int code;

	if (!s->deflated) {
		memcpy(to, s->payload.data, s->payload.len);
		return 0;
	}
	inflater = own_inflater();
	if (!inflater)
		return err_set(err, LSMKV_ENOMEM, "out of memory");
	code = inflater_run(inflater, s->payload, to, s->raw, err);
	if (code)
		(void)err_prepend(err, "%s: %s at %" PRIu64, name, what,
		                  offset);
	return code;
}

int
sst_unseal(const char *name, uint64_t number, uint64_t offset, const char *what,
           struct slice stored, struct buf *out, struct err *err)
{
	struct sealed s;
	int code = check_seal(name, number, offset, what, stored, &s, err);

	if (code)
		return code;
	buf_clear(out);
	if (buf_reserve(out, s.raw, err))
		return LSMKV_ENOMEM;
	code = open_payload(name, offset, what, &s, out->data, err);
	if (!code)
		out->len = s.raw;
	return code;
}

static void
free_block(struct cache_block *b)
{
	free(b);
}

/* size bytes on a cache line, its head filled in, with one private pin. */
static struct cache_block *
allocate(struct sst *t, uint64_t offset, size_t size, uint8_t keep,
         struct err *err)
{
	size_t rounded = (size + LINE - 1) / LINE * LINE;
	struct cache_block *b =
		(struct cache_block *)aligned_alloc(LINE, rounded);

	if (!b) {
		err_nomem(err, rounded);
		return NULL;
	}
	b->file = t->info.number;
	b->offset = offset;
	b->charge = rounded;
	b->free = free_block;
	b->keep = keep;
	cache_block_init_private(b);
	return b;
}

/* ---- data blocks ---- */

static const char *
name_of(const struct sst *t)
{
	return t->file.name;
}

/* Decodes every entry, fills at[] and tags[]; NULL, or what is wrong. */
static const char *
walk_block(struct sst_block *b)
{
	struct reader r = { b->data, b->end, false };
	struct entry last = { .version = 0 };

	b->base_version = reader_varint(&r);
	if (reader_varint(&r) != b->count)
		return "has another entry count than the index says";
	for (uint32_t i = 0; i < b->count; i++) {
		struct entry e;

		b->at[i] = (uint32_t)(r.at - b->data);
		if (!entry_decode(&r, b->base_version, &e))
			return "has an entry that is damaged";
		if (i &&
		    entry_order(last.key, last.version, e.key, e.version) >= 0)
			return "has entries out of order";
		/* Versions of one key have one hash. */
		b->tags[i] = i && slice_equal(last.key, e.key)
		                     ? b->tags[i - 1]
		                     : (unsigned char)sst_key_hash(e.key);
		last = e;
	}
	if (r.failed || r.at != r.end)
		return "has bytes behind its last entry";
	return NULL;
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

int
sst_block_make(struct sst *t, const struct sst_index *x, uint32_t i,
               struct slice stored, struct sst_block **out, struct err *err)
{
	static const char what[] = "block";
	uint64_t offset = x->offset[i];
	struct sst_index_record record;
	struct sst_block *b = NULL;
	struct sealed s;
	const char *wrong;
	size_t at_at, data_at;
	int code;

	*out = NULL;
	code = check_seal(name_of(t), t->footer.number, offset, what, stored,
	                  &s, err);
	if (code)
		return code;
	sst_index_record(x, i, &record);
	wrong = "is bigger than blocks of this file are";
	if (record.count > 1 && s.raw > t->block_bytes + SST_BLOCK_HEAD_MAX)
		goto damaged;
	if (s.raw > SST_BLOCK_HEAD_MAX + SST_ENTRY_OVERHEAD + ENTRY_KEY_MAX +
	                    ENTRY_VALUE_MAX &&
	    s.raw > SST_BLOCK_BYTES_MAX + SST_BLOCK_HEAD_MAX)
		goto damaged;
	wrong = "has more entries than bytes";
	if (record.count > s.raw)
		goto damaged;

	at_at = (sizeof(*b) + record.count + 3) / 4 * 4;
	data_at = at_at + record.count * sizeof(*b->at);
	b = (struct sst_block *)allocate(t, offset, data_at + s.raw, 1, err);
	if (!b)
		return LSMKV_ENOMEM;
	b->count = (uint32_t)record.count;
	b->deflated = s.deflated;
	b->at = (uint32_t *)(void *)((unsigned char *)b + at_at);
	b->data = (unsigned char *)b + data_at;
	b->end = b->data + s.raw;
	code = open_payload(name_of(t), offset, what, &s,
	                    (unsigned char *)b + data_at, err);
	if (code)
		goto failed;
	wrong = walk_block(b);
	if (!wrong)
		wrong = check_place(b, x, i);
	if (wrong)
		goto damaged;
	*out = b;
	return 0;

damaged:
	code = err_set(err, LSMKV_ECORRUPT, "%s: block at %" PRIu64 " %s",
	               name_of(t), offset, wrong);
failed:
	cache_block_unpin(b ? &b->head : NULL);
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
	struct sealed s;
	size_t prefix_at = (sizeof(*x) + 7) / 8 * 8;
	size_t offset_at = prefix_at + t->blocks * sizeof(*x->prefix);
	size_t at_at = offset_at + (t->blocks + (size_t)1) * sizeof(*x->offset);
	size_t data_at = at_at + t->blocks * sizeof(*x->at);
	unsigned char *base;
	const char *wrong;
	int code;

	*out = NULL;
	code = check_seal(name_of(t), t->footer.number, offset, what, stored,
	                  &s, err);
	if (code)
		return code;
	x = (struct sst_index *)allocate(t, offset, data_at + s.raw, 3, err);
	if (!x)
		return LSMKV_ENOMEM;
	base = (unsigned char *)x;
	x->count = t->blocks;
	x->common = 0;
	x->prefix = (uint64_t *)(void *)(base + prefix_at);
	x->offset = (uint64_t *)(void *)(base + offset_at);
	x->at = (uint32_t *)(void *)(base + at_at);
	x->data = base + data_at;
	x->end = x->data + s.raw;
	code = open_payload(name_of(t), offset, what, &s, base + data_at, err);
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
	struct sealed s;
	int code;

	*out = NULL;
	code = check_seal(name_of(t), t->footer.number, offset, what, stored,
	                  &s, err);
	if (code)
		return code;
	if (s.deflated || !bloom_valid(s.payload))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 " is damaged", name_of(t),
		               what, offset);
	f = (struct sst_filter *)allocate(t, offset, bits_at + s.raw, 3, err);
	if (!f)
		return LSMKV_ENOMEM;
	memcpy((unsigned char *)f + bits_at, s.payload.data, s.payload.len);
	f->bits = slice_make((unsigned char *)f + bits_at, s.payload.len);
	*out = f;
	return 0;
}
