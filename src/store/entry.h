/* SPDX-License-Identifier: ISC */
/*
 * An entry: one version of one key, as it stands in a WAL record, a memtable
 * and an SST block. Pure data: no I/O, no allocation but the caller's buf.
 *
 * Store order is by key (bytes, ascending), then by version (newest first).
 * Everything sorted in the store is sorted that way, and (key, version) is
 * never there twice.
 */
#ifndef LSMKV_STORE_ENTRY_H
#define LSMKV_STORE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/codec.h"

#define ENTRY_KEY_MAX 65535u       /* bytes; at least 1 */
#define ENTRY_VALUE_MAX (1u << 30) /* bytes */
#define VERSION_MAX UINT64_MAX     /* "the newest there is" in look-ups */

/* On disk: never renumber. */
enum entry_kind {
	ENTRY_TEXT = 0,      /* UTF-8 text */
	ENTRY_JSON = 1,      /* JSON text */
	ENTRY_BYTES = 2,     /* anything */
	ENTRY_TOMBSTONE = 3, /* the key was deleted; no value */
};

struct entry {
	struct slice key;   /* borrowed */
	struct slice value; /* borrowed; empty for a tombstone */
	uint64_t version;   /* 1 and up; grows with every write */
	uint64_t expires;   /* epoch second at which it is gone; 0: never */
	enum entry_kind kind;
};

/* Store order of (a_key, a_version) and (b_key, b_version). */
static inline int
entry_order(struct slice a_key, uint64_t a_version, struct slice b_key,
            uint64_t b_version)
{
	int c = slice_cmp(a_key, b_key);

	if (c)
		return c;
	return (a_version < b_version) - (a_version > b_version);
}

/* Is it gone at epoch second now (0: never gone)? */
static inline bool
entry_expired(const struct entry *e, uint64_t now)
{
	return e->expires && e->expires <= now;
}

/*
 * Encoding, the same in WAL records and SST blocks (doc/format.md, "Entry"):
 *
 *     tag       1 byte: kind in bits 0-1, bit 2 set if `expires` follows
 *     version   varint: version - base_version
 *     key_len   varint
 *     value_len varint, absent for a tombstone
 *     expires   varint, absent unless bit 2 is set
 *     key, value
 *
 * base_version is known to both sides (that of the record or of the block).
 */
size_t entry_encoded_size(const struct entry *e, uint64_t base_version);
/* Writes exactly entry_encoded_size bytes; returns the byte behind them. */
unsigned char *entry_encode(const struct entry *e, uint64_t base_version,
                            unsigned char *to);
/* The part of that before the key; delta is version - base_version. */
unsigned char *entry_put_head(unsigned char *to, enum entry_kind kind,
                              uint64_t delta, size_t key_len, size_t value_len,
                              uint64_t expires);
/*
 * Reads the next entry, borrowing from what r reads. False, with r->failed
 * set, on anything that entry_encode cannot have written (limits included).
 */
bool entry_decode(struct reader *r, uint64_t base_version, struct entry *e);

#endif
