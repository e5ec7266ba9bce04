/* SPDX-License-Identifier: ISC */
/*
 * The one encoding of an entry, for WAL records and SST blocks alike
 * (doc/format.md, "Entry"). Decoding accepts exactly what encoding writes:
 * whatever else comes from the disk is damage, found here before anybody
 * looks at it.
 */
#include "store/entry.h"

#include <assert.h>

#define TAG_KIND 0x03u
#define TAG_EXPIRES 0x04u

size_t
entry_encoded_size(const struct entry *e, uint64_t base_version)
{
	size_t size = 1 + varint_size(e->version - base_version) +
	              varint_size(e->key.len) + e->key.len;

	if (e->kind != ENTRY_TOMBSTONE)
		size += varint_size(e->value.len) + e->value.len;
	if (e->expires)
		size += varint_size(e->expires);
	return size;
}

unsigned char *
entry_put_head(unsigned char *to, enum entry_kind kind, uint64_t delta,
               size_t key_len, size_t value_len, uint64_t expires)
{
	*to++ = (unsigned char)((unsigned)kind | (expires ? TAG_EXPIRES : 0));
	to = put_varint(to, delta);
	to = put_varint(to, key_len);
	if (kind != ENTRY_TOMBSTONE)
		to = put_varint(to, value_len);
	return expires ? put_varint(to, expires) : to;
}

unsigned char *
entry_encode(const struct entry *e, uint64_t base_version, unsigned char *to)
{
	assert(e->version >= base_version);
	assert(e->key.len && e->key.len <= ENTRY_KEY_MAX);
	assert(e->kind == ENTRY_TOMBSTONE ? !e->value.len
	                                  : e->value.len <= ENTRY_VALUE_MAX);

	to = entry_put_head(to, e->kind, e->version - base_version, e->key.len,
	                    e->value.len, e->expires);
	memcpy(to, e->key.data, e->key.len);
	to += e->key.len;
	if (e->value.len)
		memcpy(to, e->value.data, e->value.len);
	return to + e->value.len;
}

bool
entry_decode(struct reader *r, uint64_t base_version, struct entry *e)
{
	unsigned tag;
	uint64_t delta, key_len, value_len = 0, expires = 0;

	if (r->failed || r->at == r->end)
		goto damaged;
	tag = *r->at++;
	delta = reader_varint(r);
	key_len = reader_varint(r);
	if ((tag & TAG_KIND) != ENTRY_TOMBSTONE)
		value_len = reader_varint(r);
	if (tag & TAG_EXPIRES) {
		expires = reader_varint(r);
		if (!expires)
			goto damaged;
	}
	if (r->failed || tag & ~(TAG_KIND | TAG_EXPIRES) || !key_len ||
	    key_len > ENTRY_KEY_MAX || value_len > ENTRY_VALUE_MAX ||
	    delta > VERSION_MAX - base_version || !(base_version + delta) ||
	    key_len + value_len > (uint64_t)(r->end - r->at))
		goto damaged;

	e->key = slice_make(r->at, (size_t)key_len);
	e->value = slice_make(r->at + key_len, (size_t)value_len);
	e->version = base_version + delta;
	e->expires = expires;
	e->kind = (enum entry_kind)(tag & TAG_KIND);
	r->at += key_len + value_len;
	return true;

damaged:
	r->failed = true;
	return false;
}
