/* SPDX-License-Identifier: ISC */
/*
 * One key out of a packed block, for a read that is not going to keep it.
 *
 * To make a block takes inflating all of it, a hash of each key and an
 * allocation; a read that misses the cache and wants one value needs none of
 * these. The front says whether the key is there, and where its value is among
 * the values; they are inflated up to its end. The checksum is that of the
 * stored bytes and is looked at first, as always. What does not fit together
 * all the same is left to sst_block_make, which says what is wrong with it.
 *
 * Keys are searched as they are stored: of each it is known how much it shares
 * with the one before, and so, without putting it together, how it compares
 * with the one that is looked for.
 */
#include "store/sst_columns.h"
#include "store/sst_pack.h"
#include "store/sst_read.h"
#include "store/sst_seal.h"

#define PEEK_MAX (SST_SCRATCH_MAX / 4) /* bytes of a block, in every form */

/* What was found, and where its value is. */
struct found {
	uint32_t i;
	size_t at, len;
};

static size_t
common(const unsigned char *a, const unsigned char *b, size_t most)
{
	size_t n = 0;

	while (n < most && a[n] == b[n])
		n++;
	return n;
}

/* 0, LSMKV_NOTFOUND, or LSMKV_END where the front is no writer's. */
static int
search(const struct sst_columns *c, struct slice keys, struct slice key,
       uint64_t version, struct found *f)
{
	const unsigned char *at = keys.data, *end = at + keys.len;
	size_t matched = 0; /* bytes of key that the last one begins with */

	f->at = 0;
	for (f->i = 0; f->i < c->count; f->i++) {
		uint64_t shared = sst_column_number(&c->shared, f->i);
		uint64_t len = sst_column_number(&c->key_len, f->i) - shared;
		uint64_t val_len = sst_column_number(&c->val_len, f->i);

		if ((!f->i && shared) || len > (size_t)(end - at) ||
		    val_len > PEEK_MAX - f->at)
			return LSMKV_END;
		f->len = (size_t)val_len;
		/* It parted from key where the last one still matched. */
		if (shared < matched)
			return LSMKV_NOTFOUND;
		/* Where it shares more than that, it is below key as well. */
		if (shared == matched) {
			size_t left = key.len - matched;
			size_t n = common(at, key.data + matched,
			                  len < left ? (size_t)len : left);

			if (n == left && n == len) {
				if (sst_column_number(&c->version, f->i) <=
				    version)
					return 0;
			} else if (n == left ||
			           (n < len && at[n] > key.data[matched + n])) {
				return LSMKV_NOTFOUND;
			}
			matched += n;
		}
		at += len;
		f->at += f->len;
	}
	return LSMKV_NOTFOUND;
}

/* The value out of the payload; false if it is not to be had. */
static bool
take_value(struct sst_tools *tools, const struct sst_sealed *s, size_t room_at,
           const struct found *f, struct slice *value)
{
	unsigned char *to = tools->columns.data + room_at;

	if (f->at + f->len > s->raw)
		return false;
	*value = slice_make(s->payload.data + f->at, f->len);
	if (!sst_is_deflated(s) || !f->len)
		return true;
	*value = slice_make(to + f->at, f->len);
	return inflate_prefix(&tools->prefix, s->payload, to, f->at + f->len);
}

int
sst_block_peek(struct sst *t, const struct sst_index *x, uint32_t i,
               struct slice stored, struct slice key, uint64_t version,
               struct entry *e, struct err *err)
{
	struct sst_tools *tools = sst_tools(err);
	struct sst_index_record record;
	struct sst_columns c;
	struct sst_packed keys;
	struct sst_sealed s;
	struct found f;
	size_t bytes, room_at;
	uint64_t kind;
	int code;

	if (!tools)
		return LSMKV_ENOMEM;
	code = sst_seal_open(t->file.name, t->footer.number, x->offset[i],
	                     "block", stored, &s, err);
	if (code)
		return code;
	if (!sst_is_packed(&s) || t->footer.version < 3 ||
	    stored.len > PEEK_MAX || s.raw > PEEK_MAX)
		return LSMKV_END;
	sst_index_record(x, i, &record);
	bytes = sst_front_open(&c, &keys, s.payload, record.count,
	                       t->block_bytes);
	if (!bytes || keys.count > PEEK_MAX)
		return LSMKV_END;
	s.payload.data += bytes;
	s.payload.len -= bytes;

	room_at = keys.count + SST_PACK_SLACK;
	buf_clear(&tools->columns);
	if (buf_reserve(&tools->columns, room_at + s.raw + INFLATE_PREFIX_SLACK,
	                err))
		return LSMKV_ENOMEM;
	if (!sst_unpack(&keys, tools->columns.data))
		return LSMKV_END;
	code = search(&c, slice_make(tools->columns.data, keys.count), key,
	              version, &f);
	if (code)
		return code;
	kind = sst_column_number(&c.kind, f.i);
	e->key = key;
	e->version = sst_column_number(&c.version, f.i);
	e->expires = sst_column_number(&c.expires, f.i);
	e->kind = (enum entry_kind)kind;
	if (kind > ENTRY_TOMBSTONE || !e->version ||
	    !take_value(tools, &s, room_at, &f, &e->value))
		return LSMKV_END;
	return 0;
}
