/* SPDX-License-Identifier: ISC */
/* A storage engine in memory; see fake_engine.h. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/waits.h"
#include "lib/fake_engine.h"

struct fake_entry {
	struct buf key, value;
	struct entry_info info;
	struct fake_entry *next;
};

struct fake_engine {
	struct engine engine; /* first: what callers hold */
	pthread_mutex_t lock; /* of all below */
	struct fake_entry *first;
	uint64_t version; /* of the last write */
	int fail_reads, fail_writes;
	const char *bad_key; /* of which writes fail with bad_code; or NULL */
	int bad_code;
	_Atomic unsigned slow_reads_ms, slow_writes_ms; /* set while used */
	unsigned calls, last_write;
	bool stick_reads, stick_writes;
	unsigned stuck;         /* calls that wait for their end */
	pthread_cond_t changed; /* one of these has */
};

static struct fake_engine *
fake(struct engine *e)
{
	return (struct fake_engine *)e;
}

/* The link that points at key's entry, or at NULL where it would stand. */
static struct fake_entry **
find(struct fake_engine *f, struct slice key)
{
	struct fake_entry **link = &f->first;

	while (*link && !slice_equal(buf_slice(&(*link)->key), key))
		link = &(*link)->next;
	return link;
}

static void
remove_entry(struct fake_entry **link)
{
	struct fake_entry *gone = *link;

	*link = gone->next;
	buf_release(&gone->key);
	buf_release(&gone->value);
	free(gone);
}

static int
fake_get(struct engine *e, struct slice key, uint64_t snapshot,
         struct buf *value, struct entry_info *info, struct err *err)
{
	struct fake_engine *f = fake(e);
	struct fake_entry *entry;
	unsigned slow_ms = f->slow_reads_ms;
	int rc;

	assert(!snapshot);
	if (slow_ms)
		clock_sleep_us(slow_ms * 1000ull);
	pthread_mutex_lock(&f->lock);
	if (f->stick_reads && !slow_ms) {
		waits_begin();
		f->stuck++;
		pthread_cond_broadcast(&f->changed);
		while (f->stick_reads)
			pthread_cond_wait(&f->changed, &f->lock);
		f->stuck--;
		waits_end();
	}
	f->calls++;
	rc = f->fail_reads;
	entry = *find(f, key);
	if (rc) {
		err_set(err, rc, "as the test told");
	} else if (!entry) {
		rc = LSMKV_NOTFOUND;
	} else {
		*info = entry->info;
		rc = buf_set(value, buf_slice(&entry->value), err);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void
apply(struct fake_engine *f, struct op *op)
{
	struct fake_entry **link = find(f, op->key), *entry = *link;

	op->version = ++f->version;
	op->old_found = entry != NULL;
	if (entry && op->want_old) {
		op->old_info = entry->info;
		buf_set(&op->old, buf_slice(&entry->value), NULL);
	}
	if (op->kind == ENTRY_TOMBSTONE) {
		if (entry)
			remove_entry(link);
		return;
	}
	if (!entry) {
		*link = entry = calloc(1, sizeof(*entry));
		assert(entry);
		buf_set(&entry->key, op->key, NULL);
	}
	buf_set(&entry->value, op->value, NULL);
	entry->info = (struct entry_info){
		.version = op->version,
		.expires = op->expires,
		.kind = op->kind,
	};
}

static int
fake_write(struct engine *e, struct op *ops, size_t count, size_t *failed,
           struct err *err)
{
	struct fake_engine *f = fake(e);
	int rc;

	if (f->slow_writes_ms)
		clock_sleep_us(f->slow_writes_ms * 1000ull);
	pthread_mutex_lock(&f->lock);
	f->stuck++;
	pthread_cond_broadcast(&f->changed);
	while (f->stick_writes)
		pthread_cond_wait(&f->changed, &f->lock);
	f->stuck--;
	f->last_write = ++f->calls;
	rc = f->fail_writes;
	if (rc)
		err_set(err, rc, "as the test told");
	for (size_t i = 0; i < count && !rc; i++)
		if (f->bad_key &&
		    slice_equal(ops[i].key, slice_str(f->bad_key)))
			rc = err_set(err, f->bad_code, "as the test told");
	for (size_t i = 0; i < count && !rc; i++) {
		if (ops[i].condition != OP_IF_PRESENT || *find(f, ops[i].key))
			continue;
		rc = LSMKV_CONFLICT;
		if (failed)
			*failed = i;
	}
	for (size_t i = 0; i < count && !rc; i++)
		apply(f, &ops[i]);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void
fake_stat(struct engine *e, struct store_stat *stat)
{
	memset(stat, 0, sizeof(*stat));
	stat->version = fake(e)->version;
}

static int
fake_close(struct engine *e, struct err *err)
{
	struct fake_engine *f = fake(e);

	(void)err;
	while (f->first)
		remove_entry(&f->first);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

struct engine *
fake_engine_new(void)
{
	static const struct engine_ops ops = {
		.get = fake_get,
		.write = fake_write,
		.stat = fake_stat,
		.close = fake_close,
	};
	struct fake_engine *f = calloc(1, sizeof(*f));

	assert(f);
	f->engine.ops = &ops;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	return &f->engine;
}

void
fake_engine_fail_reads(struct engine *e, int code)
{
	fake(e)->fail_reads = code;
}

void
fake_engine_fail_writes(struct engine *e, int code)
{
	fake(e)->fail_writes = code;
}

void
fake_engine_fail_key(struct engine *e, const char *key, int code)
{
	fake(e)->bad_key = key;
	fake(e)->bad_code = code;
}

void
fake_engine_slow_reads(struct engine *e, unsigned ms)
{
	fake(e)->slow_reads_ms = ms;
}

void
fake_engine_slow_writes(struct engine *e, unsigned ms)
{
	fake(e)->slow_writes_ms = ms;
}

void
fake_engine_stick_writes(struct engine *e, bool stick)
{
	pthread_mutex_lock(&fake(e)->lock);
	fake(e)->stick_writes = stick;
	pthread_cond_broadcast(&fake(e)->changed);
	pthread_mutex_unlock(&fake(e)->lock);
}

void
fake_engine_stick_reads(struct engine *e, bool stick)
{
	pthread_mutex_lock(&fake(e)->lock);
	fake(e)->stick_reads = stick;
	pthread_cond_broadcast(&fake(e)->changed);
	pthread_mutex_unlock(&fake(e)->lock);
}

void
fake_engine_await_stuck(struct engine *e, unsigned count)
{
	pthread_mutex_lock(&fake(e)->lock);
	while (fake(e)->stuck < count)
		pthread_cond_wait(&fake(e)->changed, &fake(e)->lock);
	pthread_mutex_unlock(&fake(e)->lock);
}

unsigned
fake_engine_calls(struct engine *e)
{
	unsigned calls;

	pthread_mutex_lock(&fake(e)->lock);
	calls = fake(e)->calls;
	pthread_mutex_unlock(&fake(e)->lock);
	return calls;
}

unsigned
fake_engine_last_write(struct engine *e)
{
	unsigned call;

	pthread_mutex_lock(&fake(e)->lock);
	call = fake(e)->last_write;
	pthread_mutex_unlock(&fake(e)->lock);
	return call;
}

unsigned
fake_engine_count(struct engine *e)
{
	unsigned count = 0;

	pthread_mutex_lock(&fake(e)->lock);
	for (struct fake_entry *entry = fake(e)->first; entry;
	     entry = entry->next)
		count++;
	pthread_mutex_unlock(&fake(e)->lock);
	return count;
}

void
fake_engine_put(struct engine *e, const char *key, const char *value,
                enum entry_kind kind)
{
	struct op op = {
		.key = slice_str(key),
		.value = slice_str(value),
		.kind = kind,
	};

	pthread_mutex_lock(&fake(e)->lock);
	apply(fake(e), &op);
	pthread_mutex_unlock(&fake(e)->lock);
}
