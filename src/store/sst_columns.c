/* SPDX-License-Identifier: ISC */
/*
 * Entries to columns in the writer, columns to rows in the reader.
 *
 * A column of numbers has one width for the whole block, the smallest that
 * fits, so the place of each number is known and reading one is a load, a
 * shift and a mask. A reader accepts exactly what a writer writes: widths that
 * are too wide, keys that share more or less than they say, bytes left over
 * are damage, like in every other part of the format.
 */
#include "store/sst_columns.h"

#include <assert.h>

#include "store/sst.h"

#define PACKED_MAX 56u /* bits that one load of 8 bytes always holds */

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

/* Bits for every number up to `most` where they are packed. */
static unsigned
bit_width_of(uint64_t most)
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

static unsigned char *
put_keys(unsigned char *to, const struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct slice key = entries[i].key;
		size_t n = i ? shared_with(entries[i - 1].key, key) : 0;

		to = put_bytes(to, key.data + n, key.len - n);
	}
	return to;
}

static unsigned char *
put_values(unsigned char *to, const struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to = put_bytes(to, entries[i].value.data, entries[i].value.len);
	return to;
}

static int
encode_columns(const struct entry *entries, size_t count, struct buf *columns,
               struct buf *versions, struct err *err)
{
	uint64_t base = VERSION_MAX, last = 0, expires = 0;
	uint64_t shared = 0, key_len = 0, val_len = 0;
	unsigned shared_w, key_w, val_w, expires_w;
	size_t bytes = SST_COLUMNS_HEAD_MAX;
	unsigned char *to;

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
	    put_versions(entries, count, base, bit_width_of(last - base),
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
	to = put_keys(to, entries, count);
	to = put_values(to, entries, count);
	columns->len = (size_t)(to - columns->data);
	return 0;
}

/* ---- writing the front ---- */

/* The columns of a front, in their order. */
enum { KIND, SHARED, KEY_LEN, VAL_LEN, EXPIRES, VERSION, NUMBERS };

static uint64_t
number_of(const struct entry *entries, size_t i, int column)
{
	const struct entry *e = &entries[i];

	switch (column) {
	case KIND:
		return (uint64_t)e->kind;
	case SHARED:
		return i ? shared_with(e[-1].key, e->key) : 0;
	case KEY_LEN:
		return e->key.len;
	case VAL_LEN:
		return e->value.len;
	case EXPIRES:
		return e->expires;
	default:
		return e->version;
	}
}

int
sst_column_put(const uint64_t *numbers, size_t count, struct buf *out,
               struct err *err)
{
	uint64_t least = UINT64_MAX, most = 0;
	unsigned char *to;
	unsigned width;

	for (size_t i = 0; i < count; i++) {
		least = numbers[i] < least ? numbers[i] : least;
		most = numbers[i] > most ? numbers[i] : most;
	}
	width = bit_width_of(most - least);
	if (buf_reserve(out, VARINT_MAX + 1 + packed_bytes(count, width), err))
		return LSMKV_ENOMEM;
	to = put_varint(out->data + out->len, least);
	*to++ = (unsigned char)width;
	memset(to, 0, packed_bytes(count, width));
	if (width)
		for (size_t i = 0; i < count; i++)
			put_bits(to, i * width, numbers[i] - least, width);
	out->len = (size_t)(to - out->data) + packed_bytes(count, width);
	return 0;
}

static int
encode_packed(const struct entry *entries, size_t count, struct buf *values,
              struct buf *front, struct err *err)
{
	size_t before = front->len, bytes = count * sizeof(uint64_t);
	uint64_t *numbers;
	unsigned char *to;
	int code;

	for (size_t i = 0; i < count; i++)
		bytes += entries[i].key.len + entries[i].value.len;
	if (buf_reserve(values, bytes, err))
		return LSMKV_ENOMEM;
	/* A column at a time; then the keys; then the values stand there. */
	to = values->data + values->len;
	numbers = (uint64_t *)(void *)to;
	code = buf_put_varint(front, count, err);
	for (int column = 0; !code && column < NUMBERS; column++) {
		for (size_t i = 0; i < count; i++)
			numbers[i] = number_of(entries, i, column);
		code = sst_column_put(numbers, count, front, err);
	}
	bytes = (size_t)(put_keys(to, entries, count) - to);
	if (!code)
		code = sst_pack(slice_make(to, bytes), front, err);
	if (code) {
		front->len = before;
		return code;
	}
	to = put_values(to, entries, count);
	values->len = (size_t)(to - values->data);
	return 0;
}

int
sst_columns_encode(const struct entry *entries, size_t count,
                   struct buf *columns, struct buf *front, struct buf *versions,
                   struct err *err)
{
	assert(count);
	return front ? encode_packed(entries, count, columns, front, err)
	             : encode_columns(entries, count, columns, versions, err);
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

/* The least and the greatest number of a column. */
struct extent {
	uint64_t least, most;
};

static const struct extent extent_of_none = { UINT64_MAX, 0 };

static inline void
widen(struct extent *x, uint64_t v)
{
	x->least = v < x->least ? v : x->least;
	x->most = v > x->most ? v : x->most;
}

/* What the numbers of a block come to. */
struct sums {
	struct extent kind, shared, key_len, val_len, expires, version;
	uint64_t key_bytes, val_bytes, rows;
};

/* Checks each entry by itself; NULL, or what is wrong. */
static const char *
add_up(const struct sst_columns *c, struct sums *s)
{
	s->kind = s->shared = s->key_len = extent_of_none;
	s->val_len = s->expires = s->version = extent_of_none;
	s->key_bytes = s->val_bytes = s->rows = 0;
	for (uint32_t i = 0; i < c->count; i++) {
		uint64_t kind = sst_column_number(&c->kind, i);
		uint64_t shared = sst_column_number(&c->shared, i);
		uint64_t key_len = sst_column_number(&c->key_len, i);
		uint64_t val_len = sst_column_number(&c->val_len, i);
		uint64_t expires = sst_column_number(&c->expires, i);
		uint64_t delta = sst_column_above(&c->version, i);

		if (kind > ENTRY_TOMBSTONE || !key_len ||
		    key_len > ENTRY_KEY_MAX || val_len > ENTRY_VALUE_MAX ||
		    shared > key_len || delta > UINT64_MAX - c->version.least ||
		    (kind == ENTRY_TOMBSTONE && val_len))
			return "has an entry that is damaged";
		widen(&s->kind, kind);
		widen(&s->shared, shared);
		widen(&s->key_len, key_len);
		widen(&s->val_len, val_len);
		widen(&s->expires, expires);
		widen(&s->version, c->version.least + delta);
		s->key_bytes += key_len - shared;
		s->val_bytes += val_len;
		s->rows += 1 + varint_size(delta) + varint_size(key_len) +
		           key_len + val_len;
		if (kind != ENTRY_TOMBSTONE)
			s->rows += varint_size(val_len);
		if (expires)
			s->rows += varint_size(expires);
	}
	return NULL;
}

/* Is it as narrow as a writer makes a packed one? */
static bool
fits(const struct sst_column *c, const struct extent *x)
{
	return c->least == x->least &&
	       c->width == bit_width_of(x->most - x->least);
}

/* Keys and values are there: do they have the lengths that they should? */
static const char *
check_lengths(struct sst_columns *c, const struct sums *s, size_t key_bytes,
              size_t val_bytes, size_t rows_max)
{
	if (s->key_bytes != key_bytes || s->val_bytes != val_bytes)
		return "has another length than its entries";
	if (s->rows > rows_max)
		return "is bigger than blocks of this file are";
	c->rows = (size_t)s->rows;
	return NULL;
}

static const char too_wide[] = "has columns of another width than they need";

/* A column of whole bytes, at r. */
static void
lay_bytes(struct sst_column *c, struct reader *r, uint32_t count,
          unsigned width)
{
	c->bits = r->at;
	c->least = 0;
	c->width = 8 * width;
	r->at += (size_t)count * width;
}

const char *
sst_columns_open(struct sst_columns *c, struct slice columns,
                 struct slice versions, uint32_t count, size_t rows_max)
{
	struct reader r = reader_make(columns);
	unsigned shared_w, key_w, val_w, expires_w;
	const char *wrong;
	struct sums s;

	c->count = count;
	if (reader_varint(&r) != count)
		return "has another entry count than the index says";
	c->version.least = reader_varint(&r);
	shared_w = reader_u8(&r);
	key_w = reader_u8(&r);
	val_w = reader_u8(&r);
	expires_w = reader_u8(&r);
	if (r.failed || shared_w > 4 || key_w > 4 || val_w > 4 || expires_w > 8)
		return "has a damaged head";
	if (count >
	    reader_left(&r) / (1 + shared_w + key_w + val_w + expires_w))
		return "is too short for its entries";
	lay_bytes(&c->kind, &r, count, 1);
	lay_bytes(&c->shared, &r, count, shared_w);
	lay_bytes(&c->key_len, &r, count, key_w);
	lay_bytes(&c->val_len, &r, count, val_w);
	lay_bytes(&c->expires, &r, count, expires_w);
	c->version.bits = versions.data;
	c->version.width = versions.data[versions.len - 1];
	c->keys = r.at;

	wrong = add_up(c, &s);
	if (wrong)
		return wrong;
	if (!c->version.least || !fits(&c->version, &s.version) ||
	    width_of(s.shared.most) != shared_w ||
	    width_of(s.key_len.most) != key_w ||
	    width_of(s.val_len.most) != val_w ||
	    width_of(s.expires.most) != expires_w)
		return too_wide;
	if (s.key_bytes > reader_left(&r))
		return "has another length than its entries";
	c->values = c->keys + s.key_bytes;
	return check_lengths(c, &s, (size_t)s.key_bytes,
	                     (size_t)(r.end - c->values), rows_max);
}

void
sst_column_take(struct sst_column *c, struct reader *r, uint64_t count)
{
	c->least = reader_varint(r);
	c->width = reader_u8(r);
	if (c->width > PACKED_MAX && c->width != 64)
		r->failed = true;
	c->bits = reader_take(r, packed_bytes(count, c->width)).data;
}

size_t
sst_front_open(struct sst_columns *c, struct sst_packed *keys,
               struct slice block, uint64_t count, size_t rows_max)
{
	struct reader r = reader_make(block);
	size_t numbers, taken;

	/* Numbers that are all alike take no room, however many they are. */
	if (!count)
		count = reader_varint(&r);
	else if (reader_varint(&r) != count)
		return 0;
	if (count > rows_max || count > UINT32_MAX)
		return 0;
	c->count = (uint32_t)count;
	sst_column_take(&c->kind, &r, count);
	sst_column_take(&c->shared, &r, count);
	sst_column_take(&c->key_len, &r, count);
	sst_column_take(&c->val_len, &r, count);
	sst_column_take(&c->expires, &r, count);
	sst_column_take(&c->version, &r, count);
	if (r.failed)
		return 0;
	numbers = (size_t)(r.at - block.data);
	taken = sst_packed_open(keys, slice_make(r.at, block.len - numbers),
	                        rows_max);
	return taken ? numbers + taken : 0;
}

const char *
sst_front_check(struct sst_columns *c, struct slice keys, struct slice values,
                size_t rows_max)
{
	struct sums s;
	const char *wrong = add_up(c, &s);

	if (wrong)
		return wrong;
	if (!s.version.least || !fits(&c->kind, &s.kind) ||
	    !fits(&c->shared, &s.shared) || !fits(&c->key_len, &s.key_len) ||
	    !fits(&c->val_len, &s.val_len) || !fits(&c->expires, &s.expires) ||
	    !fits(&c->version, &s.version))
		return too_wide;
	c->keys = keys.data;
	c->values = values.data;
	return check_lengths(c, &s, keys.len, values.len, rows_max);
}

const char *
sst_columns_to_rows(const struct sst_columns *c, unsigned char *to,
                    uint32_t *at, unsigned char *tags)
{
	const unsigned char *from = c->keys, *value = c->values, *start = to;
	struct slice last = { NULL, 0 };
	uint64_t last_version = 0;

	for (uint32_t i = 0; i < c->count; i++) {
		size_t shared = (size_t)sst_column_number(&c->shared, i);
		size_t key_len = (size_t)sst_column_number(&c->key_len, i);
		size_t val_len = (size_t)sst_column_number(&c->val_len, i);
		uint64_t expires = sst_column_number(&c->expires, i);
		uint64_t delta = sst_column_above(&c->version, i);

		/* Behind the last key: longer, or greater where they part,
		   or the same with an older version. */
		if (shared > last.len || (!i && shared))
			return "has a key that shares more than there is";
		if (shared < last.len
		            ? shared == key_len || *from <= last.data[shared]
		            : shared == key_len && delta >= last_version)
			return "has entries out of order";

		at[i] = (uint32_t)(to - start);
		to = entry_put_head(
			to, (enum entry_kind)sst_column_number(&c->kind, i),
			delta, key_len, val_len, expires);
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
