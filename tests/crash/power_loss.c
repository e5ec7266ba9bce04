/* SPDX-License-Identifier: ISC */
/*
 * Simulated power loss: a store is put to work, everything that it does to
 * its directory is written down, and then, for every moment of it, the power
 * goes, over and over: disk.c makes up what may be left. Each such directory
 * must open by itself and hold
 *
 *     every write that was acknowledged by then, with its exact value
 *     of later ones, all up to some moment, and whole batches only
 *     nothing else
 *
 * and take new writes. In the relaxed sync modes, "acknowledged" is what a
 * flush or a close has made durable. From recovery itself the power goes, too,
 * and from recovery after that.
 *
 *     --states N      how many directories are opened, those of crashes in
 *                     recovery not counted (LSMKV_CRASH_STATES, or 4,000)
 *     --seed N        of the work and of what is left; printed. Threads make
 *                     no two runs the same: a failure is kept for a look
 *     --processes N   1 or 2 (2)
 *     --keep DIR      where failures are kept (the system's /tmp)
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "crash/disk.h"
#include "lib/fault.h"
#include "lib/tmpdir.h"
#include "store/store.h"

#define KEYS 40u
#define TRACER KEYS /* a key of its own: which batch was written last */
#define OPS_MOST 7u
#define VALUE_MOST 4096u
#define PHASES 3u
#define PHASE_BATCHES 90u /* of all writers together */
#define BATCHES (PHASES * PHASE_BATCHES)
#define PER_WORK 10000u /* states from one trace; more work is more variety */
#define WORKS_LEAST 10u
#define OPENS_MOST 20u /* of a store whose syncs fail now and then */
#define DEPTH_MOST 3u
#define FAILURES_MOST 5u

/* The first half of a mark. */
enum { MARK_BEGUN = 1, MARK_ACKNOWLEDGED, MARK_DURABLE };

/* ---- what is written ---- */

static const struct variant {
	const char *name;
	enum sync_mode sync;
	unsigned writers;
	bool faults; /* syncs fail now and then, and the store is restarted */
} variants[] = {
	{ "always", SYNC_ALWAYS, 1, false },
	{ "always, 3 writers", SYNC_ALWAYS, 3, false },
	{ "always, failing syncs", SYNC_ALWAYS, 1, true },
	{ "none", SYNC_NONE, 1, false },
	{ "interval, 2 writers", SYNC_INTERVAL, 2, false },
};
#define VARIANTS (sizeof(variants) / sizeof(variants[0]))

struct one_op {
	unsigned key;
	bool deletes;
	uint64_t tag; /* of its value: no two values are the same */
	size_t len;
};

struct batch {
	struct one_op ops[OPS_MOST];
	size_t count;
	uint64_t version; /* of its first op; 0: it was not written */
};

struct work {
	const struct variant *variant;
	struct store_options options;
	struct store *store;
	uint64_t seed;
	char *path;   /* where the store works */
	char *states; /* where states are opened */
	struct batch batches[BATCHES];
	_Atomic size_t next; /* batch to be written */
	size_t phase_end;
	uint64_t fault_random; /* of the next fault */
	bool failed;           /* the store must be restarted */
	struct fault_trace trace;
	/* All batches by version, and the state behind the first n of them. */
	const struct batch *order[BATCHES];
	size_t order_count;
	uint64_t hashes[BATCHES + 1];
	size_t place[BATCHES]; /* of a batch in the order, from 1; 0: none */
};

struct tally {
	uint64_t states, by_depth[DEPTH_MOST], events, works;
	uint64_t unopened, lost, wrong;
};

static struct tally tally;
static const char *keep = "/tmp";

static struct slice
key_of(unsigned key, char *room)
{
	int n = snprintf(room, 64, "key-%02u%.*s", key, (int)(key % 7) * 3,
	                 "abcdefghijklmnopqrstuvwxyz");

	return slice_make(room, (size_t)n);
}

static struct slice
value_of(uint64_t tag, size_t len, unsigned char *room)
{
	uint64_t random = tag * 2 + 1;

	for (size_t i = 0; i < len; i++) {
		/* Half of it can be compressed. */
		if (i % 16 == 0)
			draw(&random, 2);
		room[i] = (unsigned char)(random >> i % 8 * 8);
	}
	memcpy(room, &tag, len < 8 ? len : 8);
	return slice_make(room, len);
}

static uint64_t
mix(uint64_t h)
{
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

/* A state of the store is the exclusive or of these. */
static uint64_t
entry_hash(struct slice key, struct slice value, uint64_t version)
{
	return mix(sst_key_hash(key) + mix(sst_key_hash(value) + mix(version)));
}

/* ---- the work ---- */

static void
must(int rc, const char *what, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "power_loss: %s: %s\n", what, err->message);
	abort();
}

static void
make_batches(struct work *w)
{
	uint64_t random = w->seed * 2 + 1, tag = 8;

	for (size_t i = 0; i < BATCHES; i++) {
		struct batch *b = &w->batches[i];

		b->count =
			draw(&random, 2) ? 1 : 1 + draw(&random, OPS_MOST - 1);
		for (size_t j = 0; j < b->count; j++) {
			struct one_op *op = &b->ops[j];

			op->key = (unsigned)draw(&random, KEYS);
			op->deletes = !draw(&random, 5);
			op->len = draw(&random, 20) ? 8 + draw(&random, 120)
			                            : draw(&random, VALUE_MOST);
			op->len = op->len < 8 ? 8 : op->len;
			op->tag = tag++;
		}
		if (w->variant->faults)
			b->ops[b->count++] =
				(struct one_op){ TRACER, false, tag++, 8 };
	}
}

/* The next sync to fail. */
static void
plan_fault(struct work *w)
{
	struct fault_plan plan = {
		.kinds = FAULT_SYNC | FAULT_DATASYNC | FAULT_DIR_SYNC,
		.nth = 1 + draw(&w->fault_random, 60),
		.error = EIO,
	};

	fault_set(&plan);
}

/*
 * While level 0 is at its limit (a crash may leave it so), the store asks to be
 * tried again; a minute is more than any compaction here takes.
 */
static int
write_patiently(struct store *s, struct op *ops, size_t count, struct err *err)
{
	uint64_t until = clock_mono_ns() + 60 * UINT64_C(1000000000);
	int rc;

	do
		rc = store_write(s, ops, count, NULL, err);
	while (rc == LSMKV_ESTALLED && clock_mono_ns() < until);
	return rc;
}

static void
write_batch(struct work *w, size_t i)
{
	struct batch *b = &w->batches[i];
	unsigned char values[OPS_MOST][VALUE_MOST];
	char keys[OPS_MOST][64];
	struct op ops[OPS_MOST];
	struct err err = ERR_INIT;
	int rc;

	memset(ops, 0, sizeof(ops));
	for (size_t j = 0; j < b->count; j++) {
		const struct one_op *op = &b->ops[j];

		ops[j].key = key_of(op->key, keys[j]);
		ops[j].kind = op->deletes ? ENTRY_TOMBSTONE : ENTRY_BYTES;
		if (!op->deletes)
			ops[j].value = value_of(op->tag, op->len, values[j]);
	}
	fault_trace_mark(MARK_BEGUN, i);
	rc = write_patiently(w->store, ops, b->count, &err);
	if (rc && w->variant->faults) {
		w->failed = true;
		return;
	}
	must(rc, "write", &err);
	b->version = ops[0].version;
	fault_trace_mark(MARK_ACKNOWLEDGED, i);
}

static void *
write_some(void *arg)
{
	struct work *w = arg;
	size_t i;

	while (!w->failed &&
	       (i = atomic_fetch_add(&w->next, 1)) < w->phase_end) {
		if (w->variant->faults && fault_fired())
			plan_fault(w);
		write_batch(w, i);
	}
	return NULL;
}

static void
open_store(struct work *w)
{
	struct err err = ERR_INIT;
	unsigned tries = w->variant->faults ? OPENS_MOST : 1;

	while (store_open(&w->store, w->path, &w->options, &err) && --tries)
		;
	must(!w->store, "open", &err);
}

/*
 * After a write that failed: as with a process that is restarted, what the
 * kernel has is there, and the disk may know nothing of it. Whether batch i
 * was written is seen by its tracer.
 */
static void
restart(struct work *w, size_t i)
{
	struct batch *b = &w->batches[i];
	unsigned char room[VALUE_MOST];
	struct buf value = BUF_INIT;
	struct entry_info info;
	char key[64];

	store_close(w->store, NULL);
	open_store(w);
	if (!store_get(w->store, key_of(TRACER, key), 0, &value, &info, NULL) &&
	    slice_equal(buf_slice(&value),
	                value_of(b->ops[b->count - 1].tag, 8, room))) {
		b->version = info.version - (b->count - 1);
		fault_trace_mark(MARK_ACKNOWLEDGED, i);
	}
	buf_release(&value);
	w->failed = false;
	plan_fault(w);
}

static void
write_phase(struct work *w, unsigned phase)
{
	pthread_t threads[8];

	atomic_store(&w->next, phase * PHASE_BATCHES);
	w->phase_end = (phase + 1) * PHASE_BATCHES;
	do {
		if (w->failed)
			restart(w, atomic_load(&w->next) - 1);
		for (unsigned t = 0; t < w->variant->writers; t++)
			pthread_create(&threads[t], NULL, write_some, w);
		for (unsigned t = 0; t < w->variant->writers; t++)
			pthread_join(threads[t], NULL);
	} while (w->failed);
}

static void
work_phase(struct work *w, unsigned phase)
{
	struct err err = ERR_INIT;
	int rc = 0;

	write_phase(w, phase);
	switch (phase) {
	case 0:
		rc = store_flush(w->store, &err);
		break;
	case 1:
		rc = store_compact(w->store, &err);
		break;
	default:
		break;
	}
	if (!w->variant->faults)
		must(rc, "flush or compact", &err);
	if (!rc && phase < 2)
		fault_trace_mark(MARK_DURABLE, w->phase_end - 1);
}

static void
options_of(struct work *w)
{
	struct store_options *o = &w->options;

	store_options_init(o);
	o->memory_bytes = 1 << 20;
	o->memtable_bytes = 4096;
	o->sync = w->variant->sync;
	o->interval_ms = 3;
	o->compactor.helper = NULL;
	o->compactor.level0_files = 2;
	o->compactor.level1_bytes = 16384;
	o->compactor.file_bytes = 4096;
	o->compactor.sst.block_bytes = 1024;
	o->compactor.reclaim_ms = 10;
}

/* The log of a store whose syncs fail on purpose says so; nobody wants it. */
static int
hush(void)
{
	int saved = dup(STDERR_FILENO);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null, STDERR_FILENO);
	close(null);
	return saved;
}

static void
unhush(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

static int
by_version(const void *a, const void *b)
{
	const struct batch *x = *(const struct batch *const *)a;
	const struct batch *y = *(const struct batch *const *)b;

	return (x->version > y->version) - (x->version < y->version);
}

/* What the store holds behind each batch. */
static void
work_out_states(struct work *w)
{
	uint64_t present[TRACER + 1] = { 0 }, hash = 0;
	unsigned char value[VALUE_MOST];
	char key[64];

	w->order_count = 0;
	for (size_t i = 0; i < BATCHES; i++)
		if (w->batches[i].version)
			w->order[w->order_count++] = &w->batches[i];
	qsort(w->order, w->order_count, sizeof(w->order[0]), by_version);
	w->hashes[0] = 0;
	for (size_t i = 0; i < w->order_count; i++) {
		const struct batch *b = w->order[i];

		w->place[b - w->batches] = i + 1;
		for (size_t j = 0; j < b->count; j++) {
			const struct one_op *op = &b->ops[j];

			hash ^= present[op->key];
			present[op->key] = 0;
			if (!op->deletes)
				present[op->key] = entry_hash(
					key_of(op->key, key),
					value_of(op->tag, op->len, value),
					b->version + j);
			hash ^= present[op->key];
		}
		w->hashes[i + 1] = hash;
	}
}

static void
do_work(struct work *w)
{
	struct err err = ERR_INIT;
	int rc, saved = -1;

	options_of(w);
	make_batches(w);
	fault_trace_start(w->path);
	if (w->variant->faults) {
		saved = hush();
		plan_fault(w);
	}
	open_store(w);
	for (unsigned phase = 0; phase < PHASES; phase++) {
		work_phase(w, phase);
		rc = store_close(w->store, &err);
		if (!w->variant->faults)
			must(rc, "close", &err);
		if (!rc)
			fault_trace_mark(MARK_DURABLE, w->phase_end - 1);
		if (phase + 1 < PHASES)
			open_store(w);
	}
	fault_reset();
	if (saved >= 0)
		unhush(saved);
	fault_trace_stop(&w->trace);
	work_out_states(w);
}

/* ---- what is found ---- */

/* The states that a crash may end in. */
struct allowed {
	const uint64_t *hashes;
	size_t count;
	uint64_t version; /* new writes get higher ones */
};

struct found {
	uint64_t hash;
	size_t which; /* of the allowed ones */
};

static void
report(struct work *w, const struct image *image, const char *where,
       const char *what)
{
	char dir[256];

	tally.wrong++;
	snprintf(dir, sizeof(dir), "%s/lsmkv-crash-%d-%" PRIu64, keep,
	         (int)getpid(), tally.wrong);
	printf("FAILED: sync %s, work %" PRIu64 ", %s: %s\n", w->variant->name,
	       w->seed, where, what);
	if (!mkdir(dir, 0750)) {
		image_write(image, dir);
		printf("        kept in %s\n", dir);
	}
	fflush(stdout);
}

/* Reads all of it by a scan, and every key by a get: they must agree. */
static int
read_state(struct work *w, struct store *s, uint64_t *hash, struct err *err)
{
	struct scan_range all = { 0 };
	struct entry_info info;
	struct buf value = BUF_INIT;
	struct scan *scan = NULL;
	uint64_t by_get = 0, extra = 0;
	struct entry e;
	char key[64];
	int rc;

	(void)w;
	*hash = 0;
	rc = store_scan(s, &all, 0, &scan, err);
	while (!rc && !(rc = scan_next(scan, &e, err))) {
		uint64_t h = entry_hash(e.key, e.value, e.version);

		*hash ^= h;
		if (!slice_has_prefix(e.key, slice_str("key-")))
			extra ^= h;
	}
	if (rc == LSMKV_END)
		rc = 0;
	scan_close(scan);
	for (unsigned k = 0; k <= TRACER && !rc; k++) {
		rc = store_get(s, key_of(k, key), 0, &value, &info, err);
		if (!rc)
			by_get ^= entry_hash(key_of(k, key), buf_slice(&value),
			                     info.version);
		if (rc == LSMKV_NOTFOUND)
			rc = 0;
	}
	buf_release(&value);
	if (!rc && (by_get ^ extra) != *hash)
		rc = err_set(err, LSMKV_ECORRUPT, "scan and get differ");
	return rc;
}

/* Opens what the image left and looks; then writes, and looks again. */
static int
open_state(struct work *w, const struct image *image, const char *where,
           unsigned depth, const struct allowed *allowed, struct found *found,
           uint64_t *post_hash, bool flush)
{
	struct store *s = NULL;
	struct err err = ERR_INIT;
	struct op op = { .kind = ENTRY_BYTES };
	char key[32], text[ERR_MESSAGE_MAX + 64];
	uint64_t hash = 0;
	int rc;

	*post_hash = 0;
	rc = store_open(&s, w->states, &w->options, &err);
	if (rc) {
		tally.unopened++;
		snprintf(text, sizeof(text), "does not open: %s", err.message);
		report(w, image, where, text);
		return -1;
	}
	rc = read_state(w, s, &hash, &err);
	if (rc) {
		snprintf(text, sizeof(text), "cannot be read: %s", err.message);
		goto failed;
	}
	found->hash = hash;
	for (found->which = 0; found->which < allowed->count; found->which++)
		if (allowed->hashes[found->which] == hash)
			break;
	if (found->which == allowed->count) {
		tally.lost++;
		snprintf(text, sizeof(text),
		         "an acknowledged write is lost, "
		         "or something is there that was never written");
		for (size_t i = 0; i <= w->order_count && depth == 0; i++)
			if (w->hashes[i] == hash)
				snprintf(text, sizeof(text),
				         "holds the first %zu batches; %zu "
				         "were acknowledged, %zu begun",
				         i,
				         (size_t)(allowed->hashes - w->hashes),
				         (size_t)(allowed->hashes - w->hashes) +
				                 allowed->count - 1);
		goto failed;
	}
	snprintf(key, sizeof(key), "post-%u", depth);
	op.key = op.value = slice_str(key);
	fault_trace_mark(MARK_BEGUN, 0);
	rc = write_patiently(s, &op, 1, &err);
	if (rc) {
		snprintf(text, sizeof(text), "takes no writes: %s",
		         err.message);
		goto failed;
	}
	fault_trace_mark(MARK_ACKNOWLEDGED, 0);
	*post_hash = entry_hash(op.key, op.value, op.version);
	if (op.version <= allowed->version) {
		snprintf(text, sizeof(text),
		         "version %" PRIu64 " is given twice", op.version);
		goto failed;
	}
	if (flush)
		rc = store_flush(s, &err);
	if (!rc)
		rc = read_state(w, s, &hash, &err);
	if (rc || hash != (found->hash ^ *post_hash)) {
		snprintf(text, sizeof(text), "a write after recovery: %s",
		         rc ? err.message : "wrong state");
		goto failed;
	}
	rc = store_close(s, &err);
	if (rc) {
		snprintf(text, sizeof(text), "closing: %s", err.message);
		report(w, image, where, text);
		return -1;
	}
	fault_trace_mark(MARK_DURABLE, 0);
	return 0;

failed:
	store_close(s, NULL);
	report(w, image, where, text);
	return -1;
}

static void crash_in_recovery(struct work *w, const struct image *image,
                              const struct fault_trace *trace,
                              const char *where, unsigned depth, uint64_t hash,
                              uint64_t post, uint64_t version,
                              uint64_t *random);

/* One directory that a crash left: checked, and perhaps crashed again. */
static void
try_image(struct work *w, const struct image *image, const char *where,
          unsigned depth, const struct allowed *allowed, uint64_t *random)
{
	static const unsigned chance[DEPTH_MOST] = { 25, 6, 1 };
	bool again = depth + 1 < DEPTH_MOST && !draw(random, chance[depth]);
	bool flush = !draw(random, 4);
	struct fault_trace trace = { NULL, 0, 0 };
	struct found found;
	uint64_t post;
	int rc;

	tally.states++;
	tally.by_depth[depth]++;
	image_write(image, w->states);
	if (again)
		fault_trace_start(w->states);
	rc = open_state(w, image, where, depth, allowed, &found, &post, flush);
	if (again)
		fault_trace_stop(&trace);
	if (!rc && again)
		crash_in_recovery(w, image, &trace, where, depth + 1,
		                  found.hash, post, allowed->version, random);
	fault_trace_release(&trace);
}

/* ---- crashes ---- */

struct crash {
	enum disk_data data;
	enum disk_names names;
};

static const char *const data_names[DATA_KINDS] = { "none", "all", "random",
	                                            "torn", "garbage" };
static const char *const names_names[NAMES_KINDS] = { "none", "all", "random" };

/*
 * The nth of `each` crashes at one place: the plain ones first, where there
 * are enough.
 */
static struct crash
choose_crash(size_t n, uint64_t each, uint64_t *random)
{
	static const struct crash plain[] = {
		{ DATA_NONE, NAMES_NONE },
		{ DATA_NONE, NAMES_ALL },
		{ DATA_ALL, NAMES_ALL },
	};

	if (n < sizeof(plain) / sizeof(plain[0]) && each > 4)
		return plain[n];
	return (struct crash){ (enum disk_data)draw(random, DATA_KINDS),
		               (enum disk_names)draw(random, NAMES_KINDS) };
}

static void
crash_here(struct work *w, const struct disk *disk, struct crash c,
           const char *where, size_t event, unsigned depth,
           const struct allowed *allowed, uint64_t *random)
{
	struct image image;
	char place[512];

	snprintf(place, sizeof(place),
	         "%s%sevent %zu, unsynced data %s, names %s", where,
	         *where ? " > " : "", event, data_names[c.data],
	         names_names[c.names]);
	disk_crash(disk, c.data, c.names, random, &image);
	try_image(w, &image, place, depth, allowed, random);
	image_release(&image);
}

/* A few crashes while a store recovers from the last one. */
static void
crash_in_recovery(struct work *w, const struct image *image,
                  const struct fault_trace *trace, const char *where,
                  unsigned depth, uint64_t hash, uint64_t post,
                  uint64_t version, uint64_t *random)
{
	uint64_t hashes[2] = { hash, hash ^ post };
	bool always = w->variant->sync == SYNC_ALWAYS;
	size_t first = 0, end = 1;
	struct disk *disk = disk_new(image);
	size_t places = 0, each;

	for (size_t i = 0; i < trace->count; i++)
		places += disk_event_counts(&trace->events[i]);
	each = places / 8 + 1; /* about 8 crashes */
	for (size_t i = 0; i < trace->count && tally.wrong < FAILURES_MOST;
	     i++) {
		const struct fault_event *e = &trace->events[i];

		if (disk_event_counts(e) && !draw(random, each)) {
			struct allowed allowed = { hashes + first, end - first,
				                   version };

			crash_here(w, disk, choose_crash(0, 0, random), where,
			           i, depth, &allowed, random);
		}
		if (e->kind == EVENT_MARK) {
			if (e->mark[0] == MARK_BEGUN)
				end = 2;
			else if (e->mark[0] == MARK_DURABLE || always)
				first = 1;
		}
		disk_apply(disk, e, random);
	}
	disk_free(disk);
}

/*
 * Crashes all along a trace, `budget` in all, evenly. Marks move the bounds of
 * what may be found: from the last write that is certain to the last one that
 * has begun.
 */
static void
crash_all_along(struct work *w, uint64_t budget, uint64_t *random)
{
	bool always = w->variant->sync == SYNC_ALWAYS;
	struct disk *disk = disk_new(NULL);
	size_t certain = 0, begun = 0, places = 0, place = 0;
	uint64_t version = 0, start = tally.by_depth[0];

	for (size_t i = 0; i < w->trace.count; i++)
		places += disk_event_counts(&w->trace.events[i]);
	for (size_t i = 0; i < w->trace.count; i++) {
		const struct fault_event *e = &w->trace.events[i];
		size_t at = e->kind == EVENT_MARK ? w->place[e->mark[1]] : 0;

		if (disk_event_counts(e)) {
			uint64_t due = budget * ++place / places;

			for (size_t n = 0; tally.by_depth[0] - start < due &&
			                   tally.wrong < FAILURES_MOST;
			     n++) {

				struct allowed allowed = { w->hashes + certain,
					                   begun - certain + 1,
					                   version };

				crash_here(w, disk,
				           choose_crash(n, budget / places,
				                        random),
				           "", i, 0, &allowed, random);
			}
		}
		if (at) {
			const struct batch *b = &w->batches[e->mark[1]];

			if (at > begun)
				begun = at;
			if (e->mark[0] != MARK_BEGUN &&
			    version < b->version + b->count - 1)
				version = b->version + b->count - 1;
			if (e->mark[0] == MARK_DURABLE ||
			    (always && e->mark[0] == MARK_ACKNOWLEDGED)) {
				/* All before are certain with this one. */
				if (at > certain)
					certain = at;
			}
		}
		disk_apply(disk, e, random);
	}
	disk_free(disk);
}

/* MARK_DURABLE names the phase's last batch, not the last by version. */
static void
settle_marks(struct work *w)
{
	for (size_t i = 0; i < w->trace.count; i++) {
		struct fault_event *e = &w->trace.events[i];

		if (e->kind != EVENT_MARK || e->mark[0] != MARK_DURABLE)
			continue;
		for (size_t b = 0; b < e->mark[1]; b++)
			if (w->place[b] > w->place[e->mark[1]])
				e->mark[1] = b;
	}
}

static char *
fast_tmpdir(void)
{
	/* Nothing here needs a disk: ours are made up. */
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	return tmpdir_new();
}

/* Every `step`th work, from `first` on. */
static void
run_works(uint64_t first, uint64_t step, uint64_t states, uint64_t seed)
{
	uint64_t works = (states + PER_WORK - 1) / PER_WORK;

	if (works < WORKS_LEAST)
		works = WORKS_LEAST;
	for (uint64_t i = first; i < works; i += step) {
		struct work *w = calloc(1, sizeof(*w));
		uint64_t random;

		if (!w || tally.wrong >= FAILURES_MOST) {
			free(w);
			return;
		}
		w->variant = &variants[i / step % VARIANTS];
		w->seed = seed + i;
		w->fault_random = mix(seed + i) | 1;
		random = mix(w->seed) | 1;
		w->path = fast_tmpdir();
		w->states = fast_tmpdir();
		do_work(w);
		settle_marks(w);
		tally.works++;
		tally.events += w->trace.count;
		/* Of a hundred states, about sixteen come from recoveries. */
		crash_all_along(w,
		                states * (i + 1) / works - states * i / works,
		                &random);
		fault_trace_release(&w->trace);
		tmpdir_free(w->path);
		tmpdir_free(w->states);
		free(w);
	}
}

/* ---- main ---- */

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end || end == text) {
		fprintf(stderr, "power_loss: %s is not a number\n", text);
		exit(2);
	}
	return n;
}

static void
add(struct tally *sum, const struct tally *t)
{
	sum->states += t->states;
	for (unsigned d = 0; d < DEPTH_MOST; d++)
		sum->by_depth[d] += t->by_depth[d];
	sum->events += t->events;
	sum->works += t->works;
	sum->unopened += t->unopened;
	sum->lost += t->lost;
	sum->wrong += t->wrong;
}

/* Each process works for itself, and tells its tally through a pipe. */
static bool
run_processes(uint64_t count, uint64_t states, uint64_t seed, struct tally *sum)
{
	bool fine = true;
	int pipes[2];

	if (pipe(pipes)) {
		perror("pipe");
		return false;
	}
	for (uint64_t i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return false;
		}
		if (pid)
			continue;
		run_works(i, count, states, seed);
		_exit(write(pipes[1], &tally, sizeof(tally)) ==
		                      (ssize_t)sizeof(tally)
		              ? 0
		              : 1);
	}
	close(pipes[1]);
	for (uint64_t i = 0; i < count; i++) {
		struct tally t;
		int status;

		if (read(pipes[0], &t, sizeof(t)) == (ssize_t)sizeof(t))
			add(sum, &t);
		else
			fine = false;
		if (wait(&status) < 0 || status)
			fine = false;
	}
	close(pipes[0]);
	if (!fine)
		printf("FAILED: a process came to a bad end\n");
	return fine;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "states", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "processes", required_argument, NULL, 'p' },
		{ "keep", required_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t states = 4000, seed = (uint64_t)time(NULL), processes = 2;
	struct tally sum = { 0 };
	bool fine;
	int c;

	if (getenv("LSMKV_CRASH_STATES"))
		states = number(getenv("LSMKV_CRASH_STATES"));
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			states = number(optarg);
		else if (c == 's')
			seed = number(optarg);
		else if (c == 'p')
			processes = number(optarg);
		else if (c == 'k')
			keep = optarg;
		else
			return 2;
	}
	printf("power loss: seed %" PRIu64 "\n", seed);
	fflush(stdout);
	log_set_level(LOG_LEVEL_ERROR);
	fine = run_processes(processes, states, seed, &sum);
	printf("power loss: %" PRIu64 " runs, %" PRIu64 " events; %" PRIu64
	       " states opened, of them %" PRIu64
	       " from a crash in recovery and %" PRIu64
	       " from a crash in the recovery from that; %" PRIu64
	       " did not open, %" PRIu64 " lost or made up a write, %" PRIu64
	       " wrong in any way\n",
	       sum.works, sum.events, sum.states, sum.by_depth[1],
	       sum.by_depth[2], sum.unopened, sum.lost, sum.wrong);
	return fine && !sum.wrong ? 0 : 1;
}
