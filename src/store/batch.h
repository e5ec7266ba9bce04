/* SPDX-License-Identifier: ISC */
/*
 * A batch on its way into the store: the ops of one caller of store_write,
 * and what they must know of the state before them.
 *
 * Conditions and old values need a read. The writer does it before it queues
 * up, beside the others (batch_read_ahead), unless its caller has done so
 * already (known_at); the leader of its group then only has to look whether a
 * memtable has something newer (batch_validate).
 */
#ifndef LSMKV_STORE_BATCH_H
#define LSMKV_STORE_BATCH_H

#include "store/entry.h"
#include "store/store.h"

struct batch {
	struct op *ops; /* borrowed, like all they point to */
	size_t count;
	size_t log_bytes;       /* of its entries in the WAL, about */
	size_t memtable_bytes;  /* of its entries in the memtable, at most */
	bool reads;             /* some op has a condition or wants the old */
	bool sets;              /* some op is not a deletion */
	uint64_t known_segment; /* active memtable when it read what it knows */
};

static inline struct entry
batch_entry(const struct batch *b, size_t i, uint64_t version)
{
	const struct op *op = &b->ops[i];

	return (struct entry){ .key = op->key,
		               .value = op->value,
		               .version = version,
		               .expires = op->expires,
		               .kind = op->kind };
}

/* LSMKV_EINVAL, LSMKV_ETOOBIG: some op is not allowed. */
int batch_init(struct batch *b, struct op *ops, size_t count, struct err *err);
/* In the writer's own thread, if the batch reads at all. */
int batch_read_ahead(struct batch *b, struct store *s, struct err *err);
/*
 * In the leader, with everything published that stands before the batch:
 * brings what was read up to date, and checks the conditions. LSMKV_CONFLICT:
 * *failed is the first op whose condition does not hold.
 */
int batch_validate(struct batch *b, struct store *s, size_t *failed,
                   struct err *err);

#define BATCH_KEYS 4096u /* bits of a filter */

/* Keys that a group writes: false positives only end it early. */
struct batch_keys {
	uint64_t bits[BATCH_KEYS / 64];
};

void batch_add_keys(const struct batch *b, struct batch_keys *keys);
/* Does some op read one of these keys? */
bool batch_reads_some(const struct batch *b, const struct batch_keys *keys);

#endif
