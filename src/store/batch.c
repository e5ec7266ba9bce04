/* SPDX-License-Identifier: ISC */
/*
 * Batches: what is allowed in them, what they read, whether their conditions
 * hold.
 */
#include <stdatomic.h>

#include "base/clock.h"
#include "store/batch.h"
#include "store/store_impl.h"

/* ---- what is allowed ---- */

static int
check_op(const struct op *op, struct err *err)
{
	if (!op->key.len)
		return err_set(err, LSMKV_EINVAL, "the key is empty");
	if (op->key.len > ENTRY_KEY_MAX)
		return err_set(err, LSMKV_ETOOBIG,
		               "a key of %zu bytes; at most %u are allowed",
		               op->key.len, ENTRY_KEY_MAX);
	if (op->value.len > ENTRY_VALUE_MAX)
		return err_set(err, LSMKV_ETOOBIG,
		               "a value of %zu bytes; at most %u are allowed",
		               op->value.len, ENTRY_VALUE_MAX);
	if (op->kind == ENTRY_TOMBSTONE && (op->value.len || op->expires))
		return err_set(err, LSMKV_EINVAL,
		               "a deletion has neither value nor expiry");
	return 0;
}

static bool
op_reads(const struct op *op)
{
	return op->condition != OP_ALWAYS || op->want_old;
}

int
batch_init(struct batch *b, struct op *ops, size_t count, struct err *err)
{
	*b = (struct batch){ .ops = ops, .count = count };
	for (size_t i = 0; i < count; i++) {
		struct entry e = batch_entry(b, i, i);
		int rc = check_op(&ops[i], err);

		if (rc)
			return rc;
		b->log_bytes += entry_encoded_size(&e, 0);
		b->memtable_bytes += memtable_entry_bytes(&e);
		b->reads |= op_reads(&ops[i]);
		b->sets |= ops[i].kind != ENTRY_TOMBSTONE;
	}
	return 0;
}

/* ---- what an op must know of the state before it ---- */

static int
op_learn(struct op *op, const struct entry *e, struct err *err)
{
	int rc;

	op->old_found = e && e->kind != ENTRY_TOMBSTONE &&
	                !entry_expired(e, e->expires ? clock_wall_s() : 0);
	op->old_info = (struct entry_info){ 0 };
	buf_clear(&op->old);
	if (!op->old_found)
		return 0;
	op->old_info.version = e->version;
	op->old_info.expires = e->expires;
	op->old_info.kind = e->kind;
	if (!op->want_old)
		return 0;
	rc = buf_set(&op->old, e->value, err);
	if (rc)
		op->old_found = false; /* it is not known: see known_at */
	return rc;
}

static int
learn_from_view(const struct view *v, struct op *op, uint64_t version,
                struct err *err)
{
	struct view_hit hit;
	int rc = view_get(v, op->key, version, &hit, err);

	if (rc == LSMKV_NOTFOUND)
		return op_learn(op, NULL, err);
	if (rc)
		return rc;
	rc = op_learn(op, &hit.entry, err);
	view_hit_release(&hit);
	return rc;
}

int
batch_read_ahead(struct batch *b, struct store *s, struct err *err)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	uint64_t version = atomic_load(&s->published);
	int rc = 0;

	b->known_segment = memtable_segment(v->active);
	for (size_t i = 0; i < b->count && !rc; i++)
		if (op_reads(&b->ops[i]) && !b->ops[i].known_at)
			rc = learn_from_view(v, &b->ops[i], version, err);
	view_leave(slot);
	return rc;
}

static bool
view_has_segment(const struct view *v, uint64_t segment)
{
	if (memtable_segment(v->active) == segment)
		return true;
	for (size_t i = 0; i < v->sealed_count; i++)
		if (memtable_segment(v->sealed[i]) == segment)
			return true;
	return false;
}

/*
 * Everything written since a key was read stands in the memtables from the
 * one on that was active then, if that one is not flushed already; then the
 * key is read anew.
 */
static int
bring_up_to_date(struct batch *b, struct store *s, struct err *err)
{
	struct view_slot *slot;
	struct view *v = view_enter(&s->views, &slot);
	int rc = 0;

	for (size_t i = 0; i < b->count && !rc; i++) {
		struct op *op = &b->ops[i];
		uint64_t since = op->known_at ? op->known_at : b->known_segment;
		struct entry e;

		if (!op_reads(op))
			continue;
		if (!view_has_segment(v, since))
			rc = learn_from_view(v, op, VERSION_MAX, err);
		else if (!view_get_recent(v, op->key, since, &e) &&
		         (!op->old_found || e.version != op->old_info.version))
			rc = op_learn(op, &e, err);
		else if (op->old_found && op->old_info.expires &&
		         op->old_info.expires <= clock_wall_s())
			rc = op_learn(op, NULL, err);
	}
	view_leave(slot);
	return rc;
}

/* ---- conditions ---- */

static bool
condition_holds(const struct op *op)
{
	switch (op->condition) {
	case OP_ALWAYS:
		return true;
	case OP_IF_VERSION:
		return op->if_version ==
		       (op->old_found ? op->old_info.version : 0);
	case OP_IF_PRESENT:
		return op->old_found;
	}
	return false;
}

int
batch_validate(struct batch *b, struct store *s, size_t *failed,
               struct err *err)
{
	int rc = bring_up_to_date(b, s, err);

	for (size_t i = 0; i < b->count && !rc; i++) {
		struct op *op = &b->ops[i];

		if (condition_holds(op))
			continue;
		op->version = op->old_found ? op->old_info.version : 0;
		*failed = i;
		rc = err_set(err, LSMKV_CONFLICT,
		             "the condition of operation %zu did not hold", i);
	}
	return rc;
}

/* ---- keys of a group ---- */

static uint64_t
key_bit(struct slice key)
{
	return sst_key_hash(key) % BATCH_KEYS;
}

void
batch_add_keys(const struct batch *b, struct batch_keys *keys)
{
	for (size_t i = 0; i < b->count; i++) {
		uint64_t bit = key_bit(b->ops[i].key);

		keys->bits[bit / 64] |= UINT64_C(1) << bit % 64;
	}
}

bool
batch_reads_some(const struct batch *b, const struct batch_keys *keys)
{
	for (size_t i = 0; i < b->count; i++) {
		uint64_t bit = key_bit(b->ops[i].key);

		if (op_reads(&b->ops[i]) &&
		    keys->bits[bit / 64] >> bit % 64 & 1)
			return true;
	}
	return false;
}
