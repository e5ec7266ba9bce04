/* SPDX-License-Identifier: ISC */
/*
 * One key out of a packed block, for a read that is not going to keep it.
 *
 * To make a block takes inflating all of it, a hash of each key and an
 * allocation; a read that misses the cache and wants one value needs none of
 * these. The front says whether the key is there, and where its value is among
 * the values; they are inflated up to its end, from the beginning of its part. The checksum is that of the
 * stored bytes and is looked at first, as always. What does not fit together
 * all the same is left to sst_block_make, which says what is wrong with it.
 *
 * Keys are searched as they are stored, packed: of each it is known how much it shares
 * with the one before, and so, without putting it together, how it compares
 * with the one that is looked for.
 */
#include "base/planted.h"
#include "store/sst_columns.h"
#include "store/sst_pack.h"
#include "store/sst_parts.h"
#include "store/sst_read.h"
#include "store/sst_seal.h"

#define PEEK_MAX (SST_SCRATCH_MAX / 4) /* bytes of a block, in every form */

/* What was found, and where its value is. */
struct found {
	uint32_t i;
	size_t at, len;
	struct sst_part_walk part;
};

#define OUTSIDE 2 /* no order: keys are no writer's */

/*
 * The order of the len bytes of keys from `at` on and of key behind *matched
 * bytes, which grows by what is alike.
 */
static inline int
compare(const struct sst_packed *keys, size_t at, size_t len, struct slice key,
        size_t *matched)
{
	size_t begin = *matched, n = 0;

	for (; n < len && begin + n < key.len; n++) {
		unsigned byte = sst_packed_byte(keys, at + n);

		if (byte == key.data[begin + n])
			continue;
		*matched = begin + n;
		if (byte == SST_PACK_OUTSIDE)
			return OUTSIDE;
		return byte < key.data[begin + n] ? -1 : 1;
	}
	*matched = begin + n;
	return n < len ? 1 : begin + n < key.len ? -1 : 0;
}

/* 0, LSMKV_NOTFOUND, or LSMKV_END where the front is no writer's. */
static int
search(const struct sst_columns *c, const struct sst_parts *parts,
       const struct sst_packed *keys, struct slice key, uint64_t version,
       struct found *f)
{
	size_t at = 0;      /* of what a key does not share */
	size_t matched = 0; /* bytes of key that the last one begins with */

	*f = (struct found){ .at = 0 };
	for (f->i = 0; f->i < c->count; f->i++) {
		uint64_t shared = sst_column_number(&c->shared, f->i);
		uint64_t len = sst_column_number(&c->key_len, f->i) - shared;
		uint64_t val_len = sst_column_number(&c->val_len, f->i);

		if ((!f->i && shared) || len > keys->count - at ||
		    val_len > PEEK_MAX - f->at)
			return LSMKV_END;
		f->len = (size_t)val_len;
		sst_part_walk(parts, &f->part, f->at);
		/* It parted from key where the last one still matched. */
		if (shared < matched)
			return LSMKV_NOTFOUND;
		/* Where it shares more than that, it is below key as well. */
		if (shared == matched) {
			int order =
				compare(keys, at, (size_t)len, key, &matched);

			if (order == OUTSIDE)
				return LSMKV_END;
			if (order > 0)
				return LSMKV_NOTFOUND;
			if (!order &&
			    (sst_column_number(&c->version, f->i) <= version ||
			     PLANTED("sst_peek.newest_version")))
				return 0;
		}
		at += len;
		f->at += f->len;
	}
	return LSMKV_NOTFOUND;
}

/* The value out of the payload; false if it is not to be had. */
static bool
take_value(struct sst_tools *tools, struct sst_codes *common,
           const struct sst_sealed *s, const struct sst_parts *parts,
           const struct found *f, struct slice *value)
{
	unsigned char *to;

	buf_clear(&tools->columns);
	if (f->at + f->len > s->raw ||
	    buf_reserve(&tools->columns, s->raw + INFLATE_PREFIX_SLACK, NULL))
		return false;
	*value = slice_make(s->payload.data + f->at, f->len);
	if (!sst_is_deflated(s) || !f->len)
		return true;
	to = tools->columns.data;
	*value = slice_make(to + f->at, f->len);
	if (s->type == SST_PACKED_PARTS)
		return sst_parts_inflate_one(
			parts, &f->part,
			&(struct sst_inflate){ &tools->codes, common },
			s->payload, to, f->at + f->len);
	return inflate_prefix(&tools->codes, s->payload, to, f->at + f->len);
}

int
sst_block_peek(struct sst *t, const struct sst_index *x, uint32_t i,
               struct slice stored, bool checked, struct slice key,
               uint64_t version, struct entry *e, struct err *err)
{
	struct sst_tools *tools = sst_tools(err);
	struct sst_columns c;
	struct sst_packed keys;
	struct sst_parts parts = { .bytes = UINT64_MAX }; /* one, else */
	struct sst_sealed s;
	struct found f;
	size_t bytes;
	uint64_t kind;
	int code = 0;

	if (!tools)
		return LSMKV_ENOMEM;
	if (checked)
		s = sst_seal_take(stored);
	else
		code = sst_seal_open(t->file.name, t->footer.number,
		                     x->offset[i], "block", stored, &s, err);
	if (code)
		return code;
	if (!sst_is_packed(&s) || t->footer.version < 3 ||
	    s.type > sst_last_type(t) || stored.len > PEEK_MAX ||
	    s.raw > PEEK_MAX)
		return LSMKV_END;
	bytes = sst_front_open(&c, &keys, s.payload, 0, t->block_bytes);
	if (!bytes || keys.count > PEEK_MAX)
		return LSMKV_END;
	s.payload.data += bytes;
	s.payload.len -= bytes;
	if (s.type == SST_PACKED_PARTS) {
		bytes = sst_parts_open(&parts, s.payload);
		if (!bytes)
			return LSMKV_END;
		s.payload.data += bytes;
		s.payload.len -= bytes;
	}

	code = search(&c, &parts, &keys, key, version, &f);
	if (code)
		return code;
	kind = sst_column_number(&c.kind, f.i);
	e->key = key;
	e->version = sst_column_number(&c.version, f.i);
	e->expires = sst_column_number(&c.expires, f.i);
	e->kind = (enum entry_kind)kind;
	if (kind > ENTRY_TOMBSTONE || !e->version ||
	    !take_value(tools, x->codes, &s, &parts, &f, &e->value))
		return LSMKV_END;
	return 0;
}
