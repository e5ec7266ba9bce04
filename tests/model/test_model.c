/* SPDX-License-Identifier: ISC */
/*
 * The store against a model: random operations on both, compared at every
 * step. The model is a sorted array that keeps the history of each key, so
 * that it can answer for any snapshot.
 *
 * Memtable and files are tiny, so that flushes and compactions run all the
 * time and levels 0 to 3 are used. The seed is printed; give it back with
 * LSMKV_MODEL_SEED. LSMKV_MODEL_STEPS sets the length (40,000 unless told).
 * With LSMKV_HELPER (the path of lsmkv-compact) every other run merges in the
 * helper process instead of a thread.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/tmpdir.h"
#include "store/store.h"

#define KEYS 800u
#define KEY_MOST 24u
#define VALUE_MOST 1500u
#define SNAPSHOTS 4u

/* ---- the model ---- */

struct state {
	uint64_t version; /* 0 is "never written" */
	uint64_t expires;
	enum entry_kind kind;
	struct buf value;
};

struct history {
	struct buf key;
	struct state *states; /* oldest first; versions ascend */
	size_t count, cap;
};

struct model {
	struct history keys[KEYS]; /* sorted by key */
	uint64_t random;
	struct store *store;
	struct store_options options;
	char *path;
	uint64_t last_version;
	uint64_t snapshots[SNAPSHOTS]; /* open ones; 0: none */
	uint64_t steps[16];            /* how often each operation was done */
};

static uint64_t
draw(struct model *m, uint64_t below)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random % below;
}

static int
by_key(const void *a, const void *b)
{
	return slice_cmp(buf_slice(&((const struct history *)a)->key),
	                 buf_slice(&((const struct history *)b)->key));
}

/* Keys of any bytes, many with common beginnings, all different. */
static void
make_keys(struct model *m)
{
	for (size_t i = 0; i < KEYS; i++) {
		unsigned char key[KEY_MOST + 16];
		size_t len = draw(m, KEY_MOST) + 1;

		for (size_t j = 0; j < len; j++)
			key[j] = draw(m, 3) ? (unsigned char)('a' + draw(m, 2))
			                    : (unsigned char)draw(m, 256);
		len += (size_t)snprintf((char *)key + len, 16, "%03x",
		                        (unsigned)i);
		buf_set(&m->keys[i].key, slice_make(key, len), NULL);
	}
	qsort(m->keys, KEYS, sizeof(m->keys[0]), by_key);
}

/* What snapshot sees of the key, or NULL. */
static const struct state *
model_get(const struct history *h, uint64_t snapshot, uint64_t now)
{
	for (size_t i = h->count; i-- > 0;) {
		const struct state *s = &h->states[i];

		if (s->version > snapshot)
			continue;
		if (s->kind == ENTRY_TOMBSTONE ||
		    (s->expires && s->expires <= now))
			return NULL;
		return s;
	}
	return NULL;
}

static void
model_put(struct model *m, struct history *h, const struct op *op)
{
	struct state *s;

	assert_true(op->version > m->last_version);
	m->last_version = op->version;
	if (h->count == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 4;
		h->states = realloc(h->states, h->cap * sizeof(*h->states));
		assert_non_null(h->states);
	}
	s = &h->states[h->count++];
	memset(s, 0, sizeof(*s));
	s->version = op->version;
	s->expires = op->expires;
	s->kind = op->kind;
	buf_set(&s->value, op->value, NULL);
}

/* ---- comparing ---- */

static void
check_state(const struct history *h, const struct state *want, int rc,
            const struct buf *value, const struct entry_info *info,
            const char *what)
{
	char key[128];

	slice_printable(buf_slice(&h->key), key, sizeof(key));
	if (!want) {
		if (rc != LSMKV_NOTFOUND)
			fail_msg("%s %s: %d, but the key is not there", what,
			         key, rc);
		return;
	}
	if (rc)
		fail_msg("%s %s: %d, but the key is there", what, key, rc);
	if (info->version != want->version || info->kind != want->kind ||
	    info->expires != want->expires ||
	    !slice_equal(buf_slice(value), buf_slice(&want->value)))
		fail_msg("%s %s: version %" PRIu64 ", not %" PRIu64
		         " (or its value)",
		         what, key, info->version, want->version);
}

static void
check_get(struct model *m, struct history *h, uint64_t snapshot)
{
	uint64_t now = clock_wall_s();
	const struct state *want;
	struct buf value = BUF_INIT;
	struct entry_info info = { 0 };
	int rc = store_get(m->store, buf_slice(&h->key), snapshot, &value,
	                   &info, NULL);

	want = model_get(h, snapshot ? snapshot : VERSION_MAX, now);
	check_state(h, want, rc, &value, &info, "get");
	buf_release(&value);
}

static void
check_scan(struct model *m, size_t from, size_t to, bool reverse,
           uint64_t snapshot, size_t limit)
{
	struct scan_range range = { { NULL, 0 }, { NULL, 0 }, reverse };
	uint64_t sees = snapshot ? snapshot : VERSION_MAX;
	uint64_t now = clock_wall_s();
	struct scan *scan;
	struct entry e;
	int rc;

	if (from)
		range.start = buf_slice(&m->keys[from].key);
	if (to < KEYS)
		range.end = buf_slice(&m->keys[to].key);
	assert_int_equal(store_scan(m->store, &range, snapshot, &scan, NULL),
	                 0);
	for (size_t i = from; i < to && limit; i++) {
		struct history *h = &m->keys[reverse ? to - 1 - (i - from) : i];
		const struct state *want = model_get(h, sees, now);
		struct entry_info info;
		struct buf value;

		if (!want)
			continue;
		rc = scan_next(scan, &e, NULL);
		if (rc)
			fail_msg("scan: %d before its end", rc);
		assert_true(slice_equal(e.key, buf_slice(&h->key)));
		info = (struct entry_info){ .version = e.version,
			                    .expires = e.expires,
			                    .kind = e.kind };
		value = (struct buf){ (unsigned char *)(uintptr_t)e.value.data,
			              e.value.len, 0 };
		check_state(h, want, 0, &value, &info, "scan");
		limit--;
	}
	if (limit)
		assert_int_equal(scan_next(scan, &e, NULL), LSMKV_END);
	scan_close(scan);
}

static void
check_all(struct model *m)
{
	for (size_t i = 0; i < KEYS; i++)
		check_get(m, &m->keys[i], 0);
	check_scan(m, 0, KEYS, false, 0, SIZE_MAX);
	check_scan(m, 0, KEYS, true, 0, SIZE_MAX);
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		if (!m->snapshots[i])
			continue;
		check_scan(m, 0, KEYS, false, m->snapshots[i], SIZE_MAX);
		for (size_t k = 0; k < KEYS; k += 7)
			check_get(m, &m->keys[k], m->snapshots[i]);
	}
}

/* ---- steps ---- */

static struct history *
some_key(struct model *m)
{
	/* some keys are much more popular than others */
	return &m->keys[draw(m, 1 + draw(m, KEYS))];
}

static void
make_op(struct model *m, struct history *h, struct op *op, unsigned char *value)
{
	memset(op, 0, sizeof(*op));
	op->key = buf_slice(&h->key);
	if (!draw(m, 4)) {
		op->kind = ENTRY_TOMBSTONE;
		return;
	}
	op->kind = (enum entry_kind)draw(m, 3);
	op->value = slice_make(value, draw(m, 1 + draw(m, VALUE_MOST)));
	for (size_t i = 0; i < op->value.len; i++)
		value[i] = (unsigned char)(i % 3 ? draw(m, 256) : 'x');
	/* Far from now on either side: the clock moves during the test. */
	if (!draw(m, 10))
		op->expires = draw(m, 2) ? 1000 : UINT64_C(40000000000);
}

/* Tries again while the store asks for it. */
static int
write_ops(struct model *m, struct op *ops, size_t count, size_t *failed)
{
	struct err err = ERR_INIT;
	int rc;

	while ((rc = store_write(m->store, ops, count, failed, &err)) ==
	       LSMKV_ESTALLED)
		;
	if (rc < 0)
		fail_msg("write: %s", err.message);
	return rc;
}

static void
step_write(struct model *m)
{
	unsigned char value[VALUE_MOST];
	struct history *h = some_key(m);
	struct op op;

	make_op(m, h, &op, value);
	assert_int_equal(write_ops(m, &op, 1, NULL), 0);
	model_put(m, h, &op);
}

static void
step_batch(struct model *m)
{
	enum { MOST = 40 };
	static unsigned char values[MOST][VALUE_MOST];
	struct history *h[MOST];
	struct op ops[MOST];
	size_t n = 1 + draw(m, MOST);

	for (size_t i = 0; i < n; i++) {
		h[i] = some_key(m);
		make_op(m, h[i], &ops[i], values[i]);
	}
	assert_int_equal(write_ops(m, ops, n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		model_put(m, h[i], &ops[i]);
}

/* What a get finds now, so that op needs no more to know of what is since. */
static void
know(struct model *m, struct history *h, struct op *op)
{
	int rc = store_get(m->store, buf_slice(&h->key), 0, &op->old,
	                   &op->old_info, NULL);

	assert_true(!rc || rc == LSMKV_NOTFOUND);
	op->old_found = !rc;
	op->known_at = op->old_info.moment;
}

/* A batch with conditions, of which some do not hold. */
static void
step_conditions(struct model *m)
{
	enum { MOST = 4 };
	static unsigned char values[MOST][VALUE_MOST];
	struct history *h[MOST];
	struct op ops[MOST], known[MOST] = { { .known_at = 0 } };
	size_t n = 1 + draw(m, MOST), failed = SIZE_MAX, expected = SIZE_MAX;
	uint64_t now;
	int rc;

	for (size_t i = 0; i < n; i++) {
		h[i] = some_key(m);
		if (draw(m, 2))
			know(m, h[i], &known[i]);
	}
	if (draw(m, 2))
		step_batch(m);
	if (!draw(m, 8))
		assert_int_equal(store_flush(m->store, NULL), 0);
	now = clock_wall_s();
	for (size_t i = 0; i < n; i++) {
		const struct state *is;
		bool holds = true;

		make_op(m, h[i], &ops[i], values[i]);
		ops[i].known_at = known[i].known_at;
		ops[i].old_found = known[i].old_found;
		ops[i].old = known[i].old;
		ops[i].old_info = known[i].old_info;
		is = model_get(h[i], VERSION_MAX, now);
		ops[i].want_old = draw(m, 2);
		switch (draw(m, 4)) {
		case 0:
			ops[i].condition = OP_IF_PRESENT;
			holds = is != NULL;
			break;
		case 1:
			ops[i].condition = OP_IF_VERSION;
			ops[i].if_version = draw(m, m->last_version + 1);
			holds = ops[i].if_version == (is ? is->version : 0);
			break;
		case 2:
			ops[i].condition = OP_IF_VERSION;
			ops[i].if_version = is ? is->version : 0;
			break;
		default:
			break;
		}
		if (!holds && expected == SIZE_MAX)
			expected = i;
	}
	rc = write_ops(m, ops, n, &failed);
	if (expected != SIZE_MAX) {
		assert_int_equal(rc, LSMKV_CONFLICT);
		assert_int_equal(failed, expected);
	} else {
		assert_int_equal(rc, 0);
	}
	for (size_t i = 0; i < n; i++) {
		const struct state *is = model_get(h[i], VERSION_MAX, now);

		if (ops[i].want_old && !rc) {
			/* what an earlier op of the batch wrote is not old */
			for (size_t j = 0; j < i; j++)
				if (h[j] == h[i])
					is = NULL;
			if (is)
				check_state(h[i], is, 0, &ops[i].old,
				            &ops[i].old_info, "old value");
		}
		buf_release(&ops[i].old);
		if (!rc)
			model_put(m, h[i], &ops[i]);
	}
}

static void
step_scan(struct model *m)
{
	/* There is no key at KEYS to begin with, only an end. */
	size_t a = draw(m, KEYS), b = draw(m, KEYS + 1);
	uint64_t snapshot = draw(m, 3) ? 0 : m->snapshots[draw(m, SNAPSHOTS)];

	check_scan(m, a < b ? a : b, a < b ? b : a, draw(m, 2), snapshot,
	           draw(m, 2) ? SIZE_MAX : draw(m, 20));
}

static void
step_snapshot(struct model *m)
{
	uint64_t *s = &m->snapshots[draw(m, SNAPSHOTS)];

	if (*s)
		store_snapshot_close(m->store, *s);
	*s = 0;
	if (draw(m, 3) && m->last_version)
		assert_int_equal(store_snapshot_open(m->store, s, NULL), 0);
}

static void
open_store(struct model *m)
{
	struct err err = ERR_INIT;

	if (store_open(&m->store, m->path, &m->options, &err))
		fail_msg("%s", err.message);
}

static void
close_store(struct model *m)
{
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		if (m->snapshots[i])
			store_snapshot_close(m->store, m->snapshots[i]);
		m->snapshots[i] = 0;
	}
	assert_int_equal(store_close(m->store, NULL), 0);
}

static void
step(struct model *m)
{
	uint64_t n = draw(m, 1000);

	if (n < 500) {
		step_write(m);
	} else if (n < 600) {
		step_batch(m);
	} else if (n < 680) {
		step_conditions(m);
	} else if (n < 900) {
		check_get(m, some_key(m),
		          draw(m, 3) ? 0 : m->snapshots[draw(m, SNAPSHOTS)]);
	} else if (n < 960) {
		step_scan(m);
	} else if (n < 990) {
		step_snapshot(m);
	} else if (n < 994) {
		assert_int_equal(store_flush(m->store, NULL), 0);
	} else if (n < 995) {
		assert_int_equal(store_compact(m->store, NULL), 0);
		check_all(m);
	} else if (n < 997) {
		close_store(m);
		open_store(m);
		check_all(m);
	}
}

static void
run(uint64_t seed, uint64_t steps, const char *helper)
{
	struct model *m = calloc(1, sizeof(*m));
	struct store_stat stat;
	unsigned deepest = 0;
	uint64_t flushes = 0, jobs = 0;

	assert_non_null(m);
	printf("model: seed %" PRIu64 ", %" PRIu64 " steps, merging in %s\n",
	       seed, steps, helper ? "the helper" : "a thread");
	fflush(stdout);
	m->random = seed;
	make_keys(m);
	m->path = tmpdir_new();
	store_options_init(&m->options);
	m->options.memory_bytes = 1u << 20;
	m->options.memtable_bytes = 32u << 10;
	m->options.idle_flush_ms = 20;
	m->options.compactor.reclaim_ms = 10;
	m->options.compactor.helper = helper;
	m->options.compactor.file_bytes = 16u << 10;
	m->options.compactor.level1_bytes = 32u << 10;
	m->options.compactor.sst.block_bytes = 1024;
	m->options.readahead.after = 1 + (unsigned)draw(m, 4);
	m->options.readahead.threads = (unsigned)draw(m, 3);
	m->options.readahead.processors = 1 + (unsigned)draw(m, 4);
	open_store(m);
	for (uint64_t i = 0; i < steps; i++) {
		step(m);
		if (i % 512 == 0) {
			store_get_stat(m->store, &stat);
			for (unsigned l = 0; l < LEVELS_MAX; l++)
				if (stat.level[l].files && l > deepest)
					deepest = l;
			flushes += stat.flushes;
			jobs += stat.compactor.jobs;
		}
	}
	check_all(m);
	close_store(m);
	open_store(m);
	check_all(m);
	close_store(m);
	/* or it was not the engine that was tested */
	assert_true(deepest >= 2);
	assert_true(flushes > 0);
	assert_true(jobs > 0);
	for (size_t i = 0; i < KEYS; i++) {
		for (size_t j = 0; j < m->keys[i].count; j++)
			buf_release(&m->keys[i].states[j].value);
		free(m->keys[i].states);
		buf_release(&m->keys[i].key);
	}
	tmpdir_free(m->path);
	free(m);
}

static uint64_t
from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Whatever is done to the store, it answers as the model does. */
static void
store_is_the_model(void **state)
{
	uint64_t seed =
		from_env("LSMKV_MODEL_SEED", clock_wall_ms() * 2654435761u | 1);
	uint64_t steps = from_env("LSMKV_MODEL_STEPS", 40000);
	const char *helper = getenv("LSMKV_HELPER");

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	run(seed, steps, NULL);
	if (helper)
		run(seed, steps / 2, helper);
	else
		printf("model: no LSMKV_HELPER: not run with the helper\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_is_the_model),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
