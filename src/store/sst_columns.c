/* SPDX-License-Identifier: ISC */
/*
 * Entries to columns in the writer, columns to rows in the reader.
 *
 * A column of numbers has one width for the whole block, the smallest that
 * fits, so the place of each number is known and reading one is a load and a
 * mask. A reader accepts exactly what a writer writes: widths that are too
 * wide, keys that share more or less than they say, bytes left over are
 * damage, like in every other part of the format.
 */
#include "store/sst_columns.h"

#include "store/sst.h"

#include <assert.h>
#include <endian.h>

#define PACKED_MAX 56u /* bits that one load of 8 bytes always holds */

static inline uint64_t
load(const unsigned char *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof(v));
	return le64toh(v);
}

static inline uint64_t
low_bits(unsigned n)
{
	return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX;
}

/* Number i of a column. */
static inline uint64_t
number(const unsigned char *column, uint32_t i, unsigned width)
{
	if (!width)
		return 0;
	return load(column + (size_t)i * width) & low_bits(8 * width);
}

static inline uint64_t
version_delta(const struct sst_columns *c, uint32_t i)
{
	size_t bit = (size_t)i * c->version_width;

	if (!c->version_width)
		return 0;
	return load(c->versions + bit / 8) >> bit % 8 &
	       low_bits(c->version_width);
}

static unsigned
bits_of(uint64_t v)
{
	return v ? 64u - (unsigned)__builtin_clzll(v) : 0;
}

/* Bytes for every number up to `most`. */
static unsigned
width_of(uint64_t most)
{
	return (bits_of(most) + 7) / 8;
}

/* Bits for every version up to base + `most`. */
static unsigned
version_width_of(uint64_t most)
{
	unsigned bits = bits_of(most);

	return bits <= PACKED_MAX ? bits : 64;
}

static size_t
packed_bytes(uint64_t count, unsigned width)
{
	return (size_t)((count * width + 7) / 8);
}

/* ---- writing ---- */

static uint32_t
shared_with(struct slice a, struct slice b)
{
	size_t n = 0;

	while (n < a.len && n < b.len && a.data[n] == b.data[n])
		n++;
	return (uint32_t)n;
}

static unsigned char *
put_number(unsigned char *to, uint64_t v, unsigned width)
{
	for (unsigned i = 0; i < width; i++, v >>= 8)
		*to++ = (unsigned char)v;
	return to;
}

static unsigned char *
put_bytes(unsigned char *to, const unsigned char *from, size_t len)
{
	if (len)
		memcpy(to, from, len);
	return to + len;
}

/* ORs v into the bits from `bit` on, which are zero. */
static void
put_bits(unsigned char *to, size_t bit, uint64_t v, unsigned width)
{
	for (unsigned done = 0; done < width;) {
		unsigned at = (unsigned)((bit + done) % 8);

		to[(bit + done) / 8] |= (unsigned char)(v >> done << at);
		done += 8 - at;
	}
}

static int
put_versions(const struct entry *entries, size_t count, uint64_t base,
             unsigned width, struct buf *out, struct err *err)
{
	size_t bytes = packed_bytes(count, width);
	unsigned char *to;

	if (buf_reserve(out, bytes + 1, err))
		return LSMKV_ENOMEM;
	to = out->data + out->len;
	memset(to, 0, bytes);
	for (size_t i = 0; i < count; i++)
		put_bits(to, i * width, entries[i].version - base, width);
	to[bytes] = (unsigned char)width;
	out->len += bytes + 1;
	return 0;
}

int
sst_columns_encode(const struct entry *entries, size_t count,
                   struct buf *columns, struct buf *versions, struct err *err)
{
	uint64_t base = VERSION_MAX, last = 0, expires = 0;
	uint64_t shared = 0, key_len = 0, val_len = 0;
	unsigned shared_w, key_w, val_w, expires_w;
	size_t bytes = SST_COLUMNS_HEAD_MAX;
	unsigned char *to;

	assert(count);
	for (size_t i = 0; i < count; i++) {
		const struct entry *e = &entries[i];
		uint32_t n = i ? shared_with(e[-1].key, e->key) : 0;

		base = e->version < base ? e->version : base;
		last = e->version > last ? e->version : last;
		shared = n > shared ? n : shared;
		key_len = e->key.len > key_len ? e->key.len : key_len;
		val_len = e->value.len > val_len ? e->value.len : val_len;
		expires = e->expires > expires ? e->expires : expires;
		bytes += e->key.len - n + e->value.len;
	}
	shared_w = width_of(shared);
	key_w = width_of(key_len);
	val_w = width_of(val_len);
	expires_w = width_of(expires);
	bytes += count * (1 + shared_w + key_w + val_w + expires_w);
	if (buf_reserve(columns, bytes, err) ||
	    put_versions(entries, count, base, version_width_of(last - base),
	                 versions, err))
		return LSMKV_ENOMEM;

	to = put_varint(columns->data + columns->len, count);
	to = put_varint(to, base);
	*to++ = (unsigned char)shared_w;
	*to++ = (unsigned char)key_w;
	*to++ = (unsigned char)val_w;
	*to++ = (unsigned char)expires_w;
	for (size_t i = 0; i < count; i++)
		*to++ = (unsigned char)entries[i].kind;
	for (size_t i = 0; i < count; i++)
		to = put_number(
			to,
			i ? shared_with(entries[i - 1].key, entries[i].key) : 0,
			shared_w);
	for (size_t i = 0; i < count; i++)
		to = put_number(to, entries[i].key.len, key_w);
	for (size_t i = 0; i < count; i++)
		to = put_number(to, entries[i].value.len, val_w);
	for (size_t i = 0; i < count; i++)
		to = put_number(to, entries[i].expires, expires_w);
	for (size_t i = 0; i < count; i++) {
		struct slice key = entries[i].key;
		size_t n = i ? shared_with(entries[i - 1].key, key) : 0;

		to = put_bytes(to, key.data + n, key.len - n);
	}
	for (size_t i = 0; i < count; i++)
		to = put_bytes(to, entries[i].value.data, entries[i].value.len);
	columns->len = (size_t)(to - columns->data);
	return 0;
}

/* ---- reading ---- */

size_t
sst_columns_versions_bytes(struct slice tail, uint64_t count)
{
	unsigned width;

	if (!tail.len)
		return 0;
	width = tail.data[tail.len - 1];
	if ((width > PACKED_MAX && width != 64) || count > UINT32_MAX ||
	    packed_bytes(count, width) >= tail.len)
		return 0;
	return packed_bytes(count, width) + 1;
}

const char *
sst_columns_open(struct sst_columns *c, struct slice columns,
                 struct slice versions, uint32_t count, size_t rows_max)
{
	struct reader r = reader_make(columns);
	uint64_t most_shared = 0, most_key = 0, most_val = 0, most_expires = 0;
	uint64_t most_delta = 0, least_delta = UINT64_MAX, keys = 0, values = 0,
		 rows = 0;
	uint64_t numbers;

	c->count = count;
	if (reader_varint(&r) != count)
		return "has another entry count than the index says";
	c->base = reader_varint(&r);
	c->shared_width = reader_u8(&r);
	c->key_width = reader_u8(&r);
	c->val_width = reader_u8(&r);
	c->expires_width = reader_u8(&r);
	if (r.failed || c->shared_width > 4 || c->key_width > 4 ||
	    c->val_width > 4 || c->expires_width > 8)
		return "has a damaged head";
	numbers = (uint64_t)1 + c->shared_width + c->key_width + c->val_width +
	          c->expires_width;
	if (count > reader_left(&r) / numbers)
		return "is too short for its entries";
	c->kind = r.at;
	c->shared = c->kind + count;
	c->key_len = c->shared + (size_t)count * c->shared_width;
	c->val_len = c->key_len + (size_t)count * c->key_width;
	c->expires = c->val_len + (size_t)count * c->val_width;
	c->keys = c->expires + (size_t)count * c->expires_width;

	c->versions = versions.data;
	c->version_width = versions.data[versions.len - 1];
	for (uint32_t i = 0; i < count; i++) {
		uint64_t shared = number(c->shared, i, c->shared_width);
		uint64_t key_len = number(c->key_len, i, c->key_width);
		uint64_t val_len = number(c->val_len, i, c->val_width);
		uint64_t expires = number(c->expires, i, c->expires_width);
		uint64_t delta = version_delta(c, i);

		if (c->kind[i] > ENTRY_TOMBSTONE || !key_len ||
		    key_len > ENTRY_KEY_MAX || val_len > ENTRY_VALUE_MAX ||
		    shared > key_len || delta > UINT64_MAX - c->base ||
		    (c->kind[i] == ENTRY_TOMBSTONE && val_len))
			return "has an entry that is damaged";
		most_shared = shared > most_shared ? shared : most_shared;
		most_key = key_len > most_key ? key_len : most_key;
		most_val = val_len > most_val ? val_len : most_val;
		most_expires = expires > most_expires ? expires : most_expires;
		most_delta = delta > most_delta ? delta : most_delta;
		least_delta = delta < least_delta ? delta : least_delta;
		keys += key_len - shared;
		values += val_len;
		rows += 1 + varint_size(delta) + varint_size(key_len) +
		        key_len + val_len;
		if (c->kind[i] != ENTRY_TOMBSTONE)
			rows += varint_size(val_len);
		if (expires)
			rows += varint_size(expires);
	}
	if (!c->base || least_delta ||
	    width_of(most_shared) != c->shared_width ||
	    width_of(most_key) != c->key_width ||
	    width_of(most_val) != c->val_width ||
	    width_of(most_expires) != c->expires_width ||
	    version_width_of(most_delta) != c->version_width)
		return "has columns of another width than they need";
	if (keys + values != (uint64_t)(r.end - c->keys))
		return "has another length than its entries";
	if (rows > rows_max)
		return "is bigger than blocks of this file are";
	c->values = c->keys + keys;
	c->rows = (size_t)rows;
	return NULL;
}

const char *
sst_columns_to_rows(const struct sst_columns *c, unsigned char *to,
                    uint32_t *at, unsigned char *tags)
{
	const unsigned char *from = c->keys, *value = c->values, *start = to;
	struct slice last = { NULL, 0 };
	uint64_t last_version = 0;

	for (uint32_t i = 0; i < c->count; i++) {
		size_t shared = number(c->shared, i, c->shared_width);
		size_t key_len = number(c->key_len, i, c->key_width);
		size_t val_len = number(c->val_len, i, c->val_width);
		uint64_t expires = number(c->expires, i, c->expires_width);
		uint64_t delta = version_delta(c, i);

		/* Behind the last key: longer, or greater where they part,
		   or the same with an older version. */
		if (shared > last.len || (!i && shared))
			return "has a key that shares more than there is";
		if (shared < last.len
		            ? shared == key_len || *from <= last.data[shared]
		            : shared == key_len && delta >= last_version)
			return "has entries out of order";

		at[i] = (uint32_t)(to - start);
		to = entry_put_head(to, (enum entry_kind)c->kind[i], delta,
		                    key_len, val_len, expires);
		/* last.data stands before `to`, in this same block. */
		to = put_bytes(to, last.data, shared);
		to = put_bytes(to, from, key_len - shared);
		last = slice_make(to - key_len, key_len);
		last_version = delta;
		if (tags)
			tags[i] = (unsigned char)sst_key_hash(last);
		to = put_bytes(to, value, val_len);
		from += key_len - shared;
		value += val_len;
	}
	return NULL;
}
