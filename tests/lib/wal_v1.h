/* SPDX-License-Identifier: ISC */
/*
 * Bytes of WAL segments of format version 1, which nobody writes any more and
 * everybody must read (doc/format.md, "WAL of format version 1").
 */
#ifndef LSMKV_TESTS_WAL_V1_H
#define LSMKV_TESTS_WAL_V1_H

#include <stdlib.h>
#include <string.h>

#include "store/wal.h"

#define V1_SALT UINT64_C(0x1122334455667788)
#define V1_HEADER 64u
#define V1_RECORD 40u

/* A segment that grows; bytes behind its end are zeros. */
struct wal_v1 {
	unsigned char bytes[1 << 16];
	size_t end;
};

static inline void
wal_v1_begin(struct wal_v1 *w, const struct wal_header *h)
{
	unsigned char *b = w->bytes;

	memset(w, 0, sizeof(*w));
	memcpy(b, "LSMKVWAL", 8);
	put_u32(b + 8, 1);
	put_u32(b + 12, h->relaxed);
	put_u64(b + 16, h->segment);
	put_u64(b + 24, V1_SALT + h->segment);
	put_u64(b + 32, h->prev_segment);
	put_u64(b + 40, h->prev_end);
	put_u64(b + 48, h->first_version);
	put_u32(b + 60, crc32_add(0, b, 60));
	w->end = V1_HEADER;
}

/* A record; its entries' versions go on from the first one's. */
static inline void
wal_v1_add(struct wal_v1 *w, const struct entry *entries, uint32_t count,
           uint64_t synced)
{
	unsigned char *b = w->bytes + w->end, *to = b + V1_RECORD;
	uint64_t segment = get_u64(w->bytes + 16);

	for (uint32_t i = 0; i < count; i++)
		to = entry_encode(&entries[i], entries[0].version, to);
	put_u32(b + 4, (uint32_t)(to - b) - V1_RECORD);
	put_u64(b + 8, V1_SALT + segment);
	put_u64(b + 16, entries[0].version);
	put_u64(b + 24, synced);
	put_u32(b + 32, count);
	put_u32(b, crc32_add(0, b + 4, (size_t)(to - b) - 4));
	w->end += ((size_t)(to - b) + 7) / 8 * 8;
}

#endif
