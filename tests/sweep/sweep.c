/* SPDX-License-Identifier: ISC */
/*
 * The sweep: every call that an operation of the store makes fails, one after
 * the other, and each time the store must keep its word.
 *
 * A dry run counts the calls of an operation by kind. Then, for each of them,
 * the operation runs again in a directory of its own with that call failing,
 * once or from then on, or being cut short. After it, and when the fault is
 * gone, and when the store has been closed and opened again:
 *
 *     what was acknowledged is there, with exactly its value
 *     what was refused is not; a batch of unknown outcome is there after the
 *     next opening as a whole or not at all, and stays as it was then
 *     no read gave a wrong value or ended early; no error is without message
 *     no failure of a call was taken for damage
 *     no file was written, synced or renamed after a sync of it had failed
 *     unless writes were turned off, they work again at once
 *     no descriptor and no temporary file is left
 *
 * Background threads may make a call more or less than in the dry run: what
 * was not reached is counted apart.
 *
 *     --full         every fitting errno for every site, and more operations
 *     --only NAME    one operation
 *     --case K:N:M   one case of it, as a failure is printed
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/fault.h"
#include "lib/tmpdir.h"
#include "store/names.h"
#include "store/store.h"

#define KEYS 24u
#define VALUE_MOST 2100u
#define BATCH_MOST 6u
#define CASE_S 60u    /* no case takes longer, or it hangs */
#define SETTLE_MS 30u /* for what threads do after an operation */
#define PATIENT 8u    /* one full disk in so many is waited for */
#define ROOM_MS 3000u /* until sets are accepted again */
#define FAILURES_MOST 20u

/* ---- what is tried ---- */

struct fitting {
	int error;
	enum fault_how how;
	bool once_only; /* a call that is tried again would be so for ever */
	bool in_short;  /* also without --full */
};

#define FITTING_MOST 10u

static const struct kind {
	const char *name;
	enum fault_kind kind;
	struct fitting fitting[FITTING_MOST]; /* up to one without error */
} kinds[FAULT_KINDS] = {
	{ "open",
	  FAULT_OPEN,
	  { { EMFILE, FAULT_FAILS, false, true },
	    { EINTR, FAULT_FAILS, true, true },
	    { EIO, FAULT_FAILS, false, false },
	    { ENOMEM, FAULT_FAILS, false, false },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "read",
	  FAULT_READ,
	  { { EIO, FAULT_FAILS, false, true },
	    { EINTR, FAULT_FAILS, true, true },
	    { EIO, FAULT_SHORT, false, true },
	    { EIO, FAULT_SHORT_FAILS, false, false } } },
	{ "write",
	  FAULT_WRITE,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_SHORT_FAILS, false, true },
	    { EINTR, FAULT_FAILS, true, true },
	    { EIO, FAULT_SHORT, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false },
	    { EDQUOT, FAULT_FAILS, false, false },
	    { EIO, FAULT_SHORT_FAILS, false, false } } },
	{ "allocate",
	  FAULT_ALLOCATE,
	  { { ENOSPC, FAULT_FAILS, false, true },
	    { EINTR, FAULT_FAILS, true, true },
	    { EOPNOTSUPP, FAULT_FAILS, false, true },
	    { EIO, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "truncate",
	  FAULT_TRUNCATE,
	  { { EIO, FAULT_FAILS, false, true },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "fsync",
	  FAULT_SYNC,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "fsync of a directory",
	  FAULT_DIR_SYNC,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "fdatasync",
	  FAULT_DATASYNC,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EINTR, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "rename",
	  FAULT_RENAME,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "unlink",
	  FAULT_UNLINK,
	  { { EIO, FAULT_FAILS, false, true },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "mkdir",
	  FAULT_MKDIR,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false },
	    { EROFS, FAULT_FAILS, false, false } } },
	{ "list",
	  FAULT_LIST,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOMEM, FAULT_FAILS, false, false } } },
	{ "stat", FAULT_STAT, { { EIO, FAULT_FAILS, false, true } } },
	{ "hint",
	  FAULT_HINT,
	  { { EIO, FAULT_FAILS, false, true },
	    { ENOSPC, FAULT_FAILS, false, false } } },
	{ "close",
	  FAULT_CLOSE,
	  { { EIO, FAULT_FAILS, false, true },
	    { EINTR, FAULT_FAILS, false, false } } },
	{ "memory", FAULT_MALLOC, { { ENOMEM, FAULT_FAILS, false, true } } },
	{ "thread", FAULT_THREAD, { { EAGAIN, FAULT_FAILS, false, true } } },
	{ "process",
	  FAULT_SPAWN,
	  { { EAGAIN, FAULT_FAILS, false, true },
	    { EMFILE, FAULT_FAILS, false, false },
	    { ENOMEM, FAULT_FAILS, false, false } } },
	{ "map",
	  FAULT_MAP,
	  { { ENOMEM, FAULT_FAILS, false, true },
	    { ENODEV, FAULT_FAILS, false, false } } },
};

/* ---- the state that the store must be in ---- */

/* Tags stand for values, no two for the same one; 0: the key is not there. */
struct change {
	unsigned key;
	uint32_t tag;
};

struct model {
	uint32_t tag[KEYS];
	struct change unknown[BATCH_MOST]; /* the batch of unknown outcome */
	size_t unknown_count;              /* 0: there is none */
	uint32_t next_tag;
};

struct scenario;

static struct {
	const struct scenario *scenario;
	struct store_options options;
	struct store *store; /* NULL: closed */
	char *image;         /* a closed store to begin with */
	char *path;          /* of the store of this case */
	struct model image_model, model;
	char what[256]; /* the case, for messages */
	bool faulty;    /* there is a fault: errors are no failures */
	bool lenient;   /* a pipe was cut short, which Linux never does */
	unsigned failures;
	int out, log; /* where we tell; where the store's log goes */
} now;

static struct {
	uint64_t sites[FAULT_KINDS], cases[FAULT_KINDS], missed[FAULT_KINDS];
	uint64_t turned_off[FAULT_KINDS]; /* writes, until the reopening */
	uint64_t unknown, errors;
} tally;

/* ---- telling ---- */

static void
say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vdprintf(now.out, format, ap);
	va_end(ap);
}

static void
show_log(void)
{
	char text[4096];
	off_t end = lseek(now.log, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(text) ? end - (off_t)sizeof(text) : 0;
	ssize_t n = pread(now.log, text, sizeof(text), from);

	if (n > 0)
		say("%.*s", (int)n, text);
}

static void __attribute__((format(printf, 1, 2))) bad(const char *format, ...)
{
	va_list ap;

	fault_exempt_begin();
	say("FAILED: %s\n    ", now.what);
	va_start(ap, format);
	vdprintf(now.out, format, ap);
	va_end(ap);
	say("\n");
	show_log();
	if (++now.failures == FAILURES_MOST) {
		say("too many failures\n");
		exit(1);
	}
	fault_exempt_end();
}

static void
on_signal(int signal_number)
{
	say("FAILED: %s\n    %s\n", now.what,
	    signal_number == SIGALRM ? "it hangs" : "it crashed");
	show_log();
	_exit(1);
}

/* ---- calls of the store, each held against the model ---- */

/* The test's own calls are exempt; those of the store are between these. */
#define STORE(call)                                                            \
	do {                                                                   \
		fault_exempt_end();                                            \
		rc = (call);                                                   \
		fault_exempt_begin();                                          \
	} while (0)

static struct slice
key_of(unsigned key, char *room)
{
	int n = snprintf(room, 64, "key-%02u%.*s", key, (int)(key % 5) * 4,
	                 "abcdefghijklmnopqrst");

	return slice_make(room, (size_t)n);
}

static struct slice
value_of(uint32_t tag, unsigned char *room)
{
	size_t len = tag % 7 ? 4 + tag * 37 % 300 : VALUE_MOST;
	uint32_t random = tag;

	for (size_t i = 0; i < len; i++) {
		random = random * 1664525 + 1013904223;
		room[i] = (unsigned char)(random >> 24);
	}
	memcpy(room, &tag, 4);
	return slice_make(room, len);
}

/* An error must say something, be asked for, and never blame the files. */
static void
check_error(const char *call, int rc, const struct err *err)
{
	if (rc >= 0)
		return;
	tally.errors++;
	if (!now.faulty)
		bad("%s without a fault: %s (%s)", call, err_word(rc),
		    err->message);
	else if (!err->message[0])
		bad("%s: %s, and no message", call, err_word(rc));
	if (err->code != rc)
		bad("%s: %s, but the error says %s", call, err_word(rc),
		    err_word(err->code));
	switch (rc) {
	case LSMKV_ECORRUPT:
		if (now.lenient)
			break;
		/* fall through */
	case LSMKV_EVERSION:
	case LSMKV_EINVAL:
	case LSMKV_ETOOBIG:
	case LSMKV_ELOCKED:
		bad("%s takes a failed call for something else: %s (%s)", call,
		    err_word(rc), err->message);
	}
}

static bool
open_store(void)
{
	struct err err = ERR_INIT;
	int rc;

	STORE(store_open(&now.store, now.path, &now.options, &err));
	check_error("open", rc, &err);
	if (!rc != (now.store != NULL))
		bad("open says %s, and there is %s store", err_word(rc),
		    now.store ? "a" : "no");
	if (rc > 0)
		bad("open: %s", err_word(rc));
	return now.store;
}

static void
close_store(void)
{
	struct err err = ERR_INIT;
	struct store_stat stat;
	bool failed;
	int rc;

	if (!now.store)
		return;
	store_get_stat(now.store, &stat);
	failed = stat.failed;
	STORE(store_close(now.store, &err));
	now.store = NULL;
	if (rc != LSMKV_EFAILED || !failed)
		check_error("close", rc, &err);
}

static bool
is_failed(void)
{
	struct store_stat stat;

	store_get_stat(now.store, &stat);
	if (stat.failed && !stat.failure[0])
		bad("writes are off, and nobody says why");
	return stat.failed;
}

struct write {
	struct op ops[BATCH_MOST];
	struct change changes[BATCH_MOST];
	char keys[BATCH_MOST][64];
	unsigned char values[BATCH_MOST][VALUE_MOST];
	size_t count;
};

static struct op *
add_op(struct write *w, unsigned key, bool deletes)
{
	struct op *op = &w->ops[w->count];

	*op = (struct op){ .kind = deletes ? ENTRY_TOMBSTONE : ENTRY_BYTES };
	w->changes[w->count].key = key;
	w->changes[w->count].tag = deletes ? 0 : ++now.model.next_tag;
	op->key = key_of(key, w->keys[w->count]);
	if (!deletes)
		op->value =
			value_of(w->changes[w->count].tag, w->values[w->count]);
	w->count++;
	return op;
}

static bool
is_value(struct slice got, uint32_t tag)
{
	unsigned char room[VALUE_MOST];
	struct slice want = value_of(tag, room);

	return got.len == want.len && !memcmp(got.data, want.data, want.len);
}

/* Old values are those of before the batch. */
static void
check_olds(const struct write *w)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct op *op = &w->ops[i];
		uint32_t tag = now.model.tag[w->changes[i].key];

		if (!op->want_old)
			continue;
		if (op->old_found != (tag != 0))
			bad("key %u: an old value is %s", w->changes[i].key,
			    tag ? "not found" : "made up");
		else if (tag && !is_value(buf_slice(&op->old), tag))
			bad("key %u: a wrong old value", w->changes[i].key);
	}
}

/* Returns the code; the model follows it. */
static int
write_batch(struct write *w)
{
	struct err err = ERR_INIT;
	bool was_failed = is_failed();
	int rc;

	STORE(store_write(now.store, w->ops, w->count, NULL, &err));
	if (rc != LSMKV_EFAILED || !was_failed)
		check_error("write", rc, &err);
	if (rc > 0)
		bad("a write that has no condition: %s", err_word(rc));
	if (!rc && was_failed)
		bad("a write was acknowledged after writes were off");
	if (!rc) {
		check_olds(w);
		for (size_t i = 0; i < w->count; i++)
			now.model.tag[w->changes[i].key] = w->changes[i].tag;
	}
	if (rc == LSMKV_EUNKNOWN) {
		if (!is_failed())
			bad("writes go on after an unknown outcome");
		if (now.model.unknown_count)
			bad("two unknown outcomes");
		tally.unknown++;
		memcpy(now.model.unknown, w->changes, sizeof(w->changes));
		now.model.unknown_count = w->count;
	}
	for (size_t i = 0; i < w->count; i++)
		buf_release(&w->ops[i].old);
	return rc;
}

static int
set(unsigned key)
{
	struct write w = { .count = 0 };

	add_op(&w, key, false);
	return write_batch(&w);
}

static int
del(unsigned key)
{
	struct write w = { .count = 0 };

	add_op(&w, key, true)->want_old = true;
	return write_batch(&w);
}

static void
get_as_of(unsigned key, uint64_t snapshot, uint32_t tag)
{
	struct buf value = BUF_INIT;
	struct entry_info info;
	struct err err = ERR_INIT;
	char room[64];
	int rc;

	STORE(store_get(now.store, key_of(key, room), snapshot, &value, &info,
	                &err));
	check_error("get", rc, &err);
	if (rc == LSMKV_NOTFOUND && tag)
		bad("key %u is gone", key);
	else if (!rc && !tag)
		bad("key %u was never acknowledged, and is there", key);
	else if (!rc && !is_value(buf_slice(&value), tag))
		bad("key %u has a wrong value", key);
	else if (rc > 0 && rc != LSMKV_NOTFOUND)
		bad("get: %s", err_word(rc));
	buf_release(&value);
}

static void
get_all(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		get_as_of(i, 0, now.model.tag[i]);
}

/* The next key that is there, in the direction of the scan; or KEYS. */
static unsigned
next_there(const uint32_t *tags, unsigned key, bool reverse)
{
	while (key < KEYS && !tags[key])
		key = reverse ? key - 1 : key + 1; /* -1 is over KEYS, too */
	return key < KEYS ? key : KEYS;
}

static void
scan_as_of(bool reverse, uint64_t snapshot, const uint32_t *tags)
{
	struct scan_range range = { .reverse = reverse };
	unsigned key = next_there(tags, reverse ? KEYS - 1 : 0, reverse);
	struct scan *scan = NULL;
	struct err err = ERR_INIT;
	struct entry e;
	char room[64];
	int rc;

	STORE(store_scan(now.store, &range, snapshot, &scan, &err));
	check_error("scan", rc, &err);
	while (!rc) {
		struct slice want;

		STORE(scan_next(scan, &e, &err));
		check_error("scan", rc, &err);
		if (rc == LSMKV_END && key < KEYS)
			bad("a scan ends before key %u", key);
		if (rc)
			break;
		if (key == KEYS) {
			bad("a scan does not end");
			break;
		}
		want = key_of(key, room);
		if (e.key.len != want.len ||
		    memcmp(e.key.data, want.data, want.len)) {
			bad("a scan passes over key %u", key);
			break;
		}
		if (!is_value(e.value, tags[key]))
			bad("a scan has a wrong value for key %u", key);
		key = next_there(tags, reverse ? key - 1 : key + 1, reverse);
	}
	fault_exempt_end();
	scan_close(scan);
	fault_exempt_begin();
}

static void
scan_both(void)
{
	scan_as_of(false, 0, now.model.tag);
	scan_as_of(true, 0, now.model.tag);
}

static int
flush(void)
{
	struct err err = ERR_INIT;
	bool was_failed = is_failed();
	int rc;

	STORE(store_flush(now.store, &err));
	if (rc != LSMKV_EFAILED || !was_failed)
		check_error("flush", rc, &err);
	return rc;
}

static int
compact(void)
{
	struct err err = ERR_INIT;
	bool was_failed = is_failed();
	int rc;

	STORE(store_compact(now.store, &err));
	if (rc != LSMKV_EFAILED || !was_failed)
		check_error("compact", rc, &err);
	return rc;
}

/* ---- operations ---- */

static void
sets(unsigned from, unsigned step)
{
	for (unsigned i = from; i < KEYS; i += step)
		set(i);
}

static void
do_open(void)
{
	open_store();
}

static void
do_set(void)
{
	set(3);
	set(20);
}

static void
do_get(void)
{
	get_all();
}

static void
do_del(void)
{
	del(2); /* an old SST has it */
	del(5); /* the memtable has it */
	del(9); /* nobody has it */
}

static void
do_batch(void)
{
	struct write w = { .count = 0 };

	add_op(&w, 0, false);
	add_op(&w, 7, true)->want_old = true;
	add_op(&w, 11, false)->want_old = true;
	add_op(&w, 12, false)->condition = OP_ALWAYS;
	add_op(&w, 23, false);
	write_batch(&w);
}

/* Compare and set, with the version of a read. */
static void
do_compare_and_set(void)
{
	struct write w = { .count = 0 };
	struct buf value = BUF_INIT;
	struct entry_info info = { 0 };
	struct err err = ERR_INIT;
	char room[64];
	int rc;

	STORE(store_get(now.store, key_of(4, room), 0, &value, &info, &err));
	check_error("get", rc, &err);
	buf_release(&value);
	if (rc)
		return;
	add_op(&w, 4, false);
	w.ops[0].condition = OP_IF_VERSION;
	w.ops[0].if_version = info.version;
	add_op(&w, 6, false)->condition = OP_IF_PRESENT;
	write_batch(&w);
}

static void
do_flush(void)
{
	flush();
}

static void
do_compact(void)
{
	compact();
}

static void
do_scan(void)
{
	scan_both();
}

static void
do_snapshot(void)
{
	struct model then = now.model;
	struct err err = ERR_INIT;
	uint64_t snapshot = 0;
	int rc;

	STORE(store_snapshot_open(now.store, &snapshot, &err));
	check_error("snapshot", rc, &err);
	if (rc)
		return;
	set(1);
	del(2);
	flush();
	compact();
	for (unsigned i = 0; i < KEYS; i += 3)
		get_as_of(i, snapshot, then.tag[i]);
	scan_as_of(false, snapshot, then.tag);
	fault_exempt_end();
	store_snapshot_close(now.store, snapshot);
	fault_exempt_begin();
}

static void
do_close(void)
{
	close_store();
}

/* All of it, from nothing to a second opening. */
static void
do_life(void)
{
	if (!open_store())
		return;
	sets(0, 2);
	flush();
	sets(1, 3);
	do_batch();
	del(3);
	flush();
	get_all();
	compact();
	sets(2, 5);
	scan_both();
	close_store();
	if (now.model.unknown_count || !open_store())
		return;
	get_all();
	set(8);
}

/* What stands in memory before a flush or a compaction. */
static void
write_some(void)
{
	sets(1, 4);
	del(6);
}

static void
flush_some(void)
{
	write_some();
	flush();
	sets(2, 6);
}

static const struct scenario {
	const char *name;
	void (*before)(void); /* NULL: nothing; without a fault */
	void (*operation)(void);
	bool new_store; /* begins without an image */
	bool opens;     /* the operation opens the store itself */
	bool helper;    /* with lsmkv-compact, not in a thread */
	enum sync_mode sync;
	unsigned stride; /* without --full one site in so many */
} scenarios[] = {
	{ "create", NULL, do_open, true, true, false, SYNC_ALWAYS, 1 },
	{ "open", NULL, do_open, false, true, false, SYNC_ALWAYS, 1 },
	{ "set", NULL, do_set, false, false, false, SYNC_ALWAYS, 1 },
	{ "get", NULL, do_get, false, false, false, SYNC_ALWAYS, 1 },
	{ "del", NULL, do_del, false, false, false, SYNC_ALWAYS, 1 },
	{ "batch", NULL, do_batch, false, false, false, SYNC_ALWAYS, 1 },
	{ "compare and set", NULL, do_compare_and_set, false, false, false,
	  SYNC_ALWAYS, 1 },
	{ "flush", write_some, do_flush, false, false, false, SYNC_ALWAYS, 1 },
	{ "compaction", flush_some, do_compact, false, false, false,
	  SYNC_ALWAYS, 2 },
	{ "compaction, helper", flush_some, do_compact, false, false, true,
	  SYNC_ALWAYS, 3 },
	{ "scan", NULL, do_scan, false, false, false, SYNC_ALWAYS, 1 },
	{ "snapshot", NULL, do_snapshot, false, false, false, SYNC_ALWAYS, 5 },
	{ "close", write_some, do_close, false, false, false, SYNC_ALWAYS, 1 },
	{ "life", NULL, do_life, true, true, false, SYNC_ALWAYS, 5 },
	{ "life, no sync", NULL, do_life, true, true, false, SYNC_NONE, 23 },
	{ "life, sync interval", NULL, do_life, true, true, false,
	  SYNC_INTERVAL, 23 },
};
#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* ---- one case ---- */

static size_t
open_descriptors(void)
{
	return tmpdir_count("/proc/self/fd");
}

static void
set_options(const struct scenario *sc)
{
	struct store_options *o = &now.options;

	store_options_init(o);
	o->memory_bytes = 1u << 20;
	o->memtable_bytes = 256u << 10; /* seals only when it is told to */
	o->idle_flush_ms = 3600000;
	o->scrub_s = 0;
	o->sync = sc->sync;
	o->interval_ms = 5;
	o->level0_slow = 50;
	o->level0_stop = 100;
	o->compactor.level0_files = 40;
	o->compactor.level1_bytes = 64u << 20;
	o->compactor.file_bytes = 4096;
	o->compactor.reclaim_ms = 3600000;
	o->compactor.silence_ms = 2000;
	o->compactor.sst.block_bytes = 1024;
	o->compactor.helper = sc->helper ? getenv("LSMKV_HELPER") : NULL;
}

/*
 * A store as others leave it: SSTs in levels 0 and below, batches in the WAL,
 * deletions on both. The store never writes to files that it finds, but for
 * the lock: so a case gets links to them.
 */
static void
make_image(void)
{
	memset(&now.model, 0, sizeof(now.model));
	set_options(&scenarios[0]);
	snprintf(now.what, sizeof(now.what), "making the image");
	now.image = tmpdir_new();
	now.path = now.image;
	if (!open_store()) {
		say("no store can be made: nothing is proved\n");
		exit(1);
	}
	sets(0, 1);
	del(9);
	flush();
	compact();
	sets(0, 3);
	del(10);
	flush();
	sets(1, 6);
	flush();
	/* The reserve is made by a thread, in its own time. */
	for (unsigned i = 0; i < 2000 && !tmpdir_has(now.path, NAME_RESERVE);
	     i++)
		clock_sleep_us(1000);
	sets(5, 8);
	del(14);
	close_store();
	now.image_model = now.model;
}

static void
link_image(void)
{
	DIR *list = opendir(now.image);
	struct dirent *e;
	int to = open(now.path, O_RDONLY | O_DIRECTORY);

	while (list && to >= 0 && (e = readdir(list)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, NAME_LOCK) &&
		    linkat(dirfd(list), e->d_name, to, e->d_name, 0)) {
			perror("link");
			exit(1);
		}
	closedir(list);
	close(to);
}

/* Waits for what threads still do, until nothing is counted any more. */
static void
settle(void)
{
	uint64_t before = fault_count(FAULT_ALL), after;

	for (unsigned i = 0; i < SETTLE_MS; i += 3) {
		clock_sleep_us(3000);
		after = fault_count(FAULT_ALL);
		if (after == before)
			return;
		before = after;
	}
}

/* A file whose sync has failed may only go. */
static void
check_syncs(const struct fault_trace *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct fault_event *e = &t->events[i];

		if (e->kind != EVENT_SYNC || !e->failed)
			continue;
		for (size_t j = i + 1; j < t->count; j++) {
			const struct fault_event *f = &t->events[j];

			if (f->file == e->file &&
			    (f->kind == EVENT_SYNC || f->kind == EVENT_WRITE ||
			     f->kind == EVENT_RENAME)) {
				bad("a file was %s after its sync had failed",
				    f->kind == EVENT_SYNC    ? "synced"
				    : f->kind == EVENT_WRITE ? "written"
				                             : "renamed");
				return;
			}
		}
	}
}

/* Sets are refused for a moment after a full disk, and then accepted. */
static int
set_when_there_is_room(unsigned key, bool was_full)
{
	int rc = LSMKV_ENOSPC;

	for (unsigned waited = 0; waited < ROOM_MS; waited += 20) {
		now.faulty = was_full;
		rc = set(key);
		now.faulty = false;
		if (rc != LSMKV_ENOSPC && rc != LSMKV_ESTALLED)
			break;
		clock_sleep_us(20000);
	}
	if (rc == LSMKV_ENOSPC || rc == LSMKV_ESTALLED)
		bad("sets are still refused: %s", err_word(rc));
	return rc;
}

/* The fault is gone, the store is still open. */
static void
check_live(bool full, bool patient, unsigned kind)
{
	get_all();
	scan_both();
	if (is_failed()) {
		tally.turned_off[kind]++;
		if (set(17) != LSMKV_EFAILED)
			bad("a write although writes are off");
		return;
	}
	if (full && !patient)
		return;
	if (set_when_there_is_room(17, full) || flush())
		return;
	get_as_of(17, 0, now.model.tag[17]);
}

/* Which of the two is it? */
static void
settle_unknown(void)
{
	struct model *m = &now.model;
	const struct change *c = &m->unknown[0];
	struct buf value = BUF_INIT;
	struct entry_info info;
	char room[64];
	bool there;
	int rc;

	if (!m->unknown_count)
		return;
	rc = store_get(now.store, key_of(c->key, room), 0, &value, &info, NULL);
	there = c->tag ? !rc && is_value(buf_slice(&value), c->tag)
	               : rc == LSMKV_NOTFOUND;
	buf_release(&value);
	for (size_t i = 0; there && i < m->unknown_count; i++)
		m->tag[m->unknown[i].key] = m->unknown[i].tag;
	m->unknown_count = 0;
}

static void
check_no_temporary(void)
{
	DIR *list = opendir(now.path);
	struct dirent *e;
	uint64_t number;

	while (list && (e = readdir(list)))
		switch (name_parse(e->d_name, &number)) {
		case NAME_IS_SST_TMP:
		case NAME_IS_MANIFEST_TMP:
		case NAME_OTHER:
			if (e->d_name[0] != '.')
				bad("%s is left", e->d_name);
			break;
		default:
			break;
		}
	if (list)
		closedir(list);
}

static void
check_reopened(void)
{
	bool was_unknown = now.model.unknown_count > 0;

	if (!open_store())
		return;
	settle_unknown();
	get_all();
	scan_both();
	set(13);
	flush();
	get_as_of(13, 0, now.model.tag[13]);
	close_store();
	check_no_temporary();
	if (was_unknown && open_store()) {
		get_all();
		close_store();
	}
}

static void
begin_case(const struct scenario *sc)
{
	now.scenario = sc;
	now.faulty = false;
	now.store = NULL;
	set_options(sc);
	now.path = tmpdir_new();
	memset(&now.model, 0, sizeof(now.model));
	if (!sc->new_store) {
		link_image();
		now.model = now.image_model;
	}
	if (!sc->opens && open_store() && sc->before)
		sc->before();
	if (!sc->opens)
		settle();
}

static void
end_case(void)
{
	close_store();
	tmpdir_free(now.path);
	now.path = NULL;
}

static void
run_case(const struct scenario *sc, unsigned kind, const struct fitting *f,
         uint64_t nth, bool for_good, unsigned variant)
{
	struct fault_plan plan = { kinds[kind].kind, nth,    for_good,
		                   f->error,         f->how, NULL };
	bool syncs = plan.kinds & (FAULT_SYNC | FAULT_DATASYNC);
	struct fault_trace trace = { NULL, 0, 0 };
	size_t descriptors;
	bool full;

	snprintf(now.what, sizeof(now.what),
	         "%s: %s %llu %s %s%s (--only '%s' --case %u:%llu:%u)",
	         sc->name, kinds[kind].name, (unsigned long long)nth,
	         for_good ? "and all after it" : "once", strerror(f->error),
	         f->how == FAULT_SHORT         ? ", cut short"
	         : f->how == FAULT_SHORT_FAILS ? ", cut short and failed"
	                                       : "",
	         sc->name, kind, (unsigned long long)nth, variant);
	alarm(CASE_S);
	if (ftruncate(now.log, 0))
		perror("log");
	descriptors = open_descriptors();
	begin_case(sc);
	if (syncs)
		fault_trace_start(now.path);
	now.faulty = true;
	now.lenient = sc->helper && f->how == FAULT_SHORT_FAILS;
	fault_reset();
	fault_set(&plan);
	sc->operation();
	if (!fault_fired())
		settle();
	full = f->error == ENOSPC || f->error == EDQUOT;
	tally.cases[kind]++;
	tally.missed[kind] += !fault_fired();
	if (for_good && now.store) {
		get_all();
		scan_both();
		if (nth % 2)
			close_store();
	}
	fault_clear();
	now.faulty = false;
	if (now.store)
		check_live(full, nth % PATIENT == 1, kind);
	close_store();
	if (syncs) {
		fault_trace_stop(&trace);
		check_syncs(&trace);
		fault_trace_release(&trace);
	}
	if (open_descriptors() != descriptors)
		bad("%zu descriptors, %zu before", open_descriptors(),
		    descriptors);
	check_reopened();
	end_case();
	alarm(0);
}

/* ---- all cases ---- */

/* How many calls of each kind the operation makes. */
static void
count_sites(const struct scenario *sc, uint64_t *sites)
{
	snprintf(now.what, sizeof(now.what), "%s, without a fault", sc->name);
	alarm(CASE_S);
	begin_case(sc);
	fault_reset();
	sc->operation();
	settle();
	for (unsigned k = 0; k < FAULT_KINDS; k++)
		sites[k] = fault_count(kinds[k].kind);
	close_store();
	check_reopened();
	end_case();
	alarm(0);
}

static bool full_run;
static const char *only;
static unsigned only_kind = FAULT_KINDS, only_variant;
static uint64_t only_nth;

static void
sweep_site(const struct scenario *sc, unsigned kind, uint64_t nth)
{
	unsigned variant = 0;

	for (unsigned i = 0; i < FITTING_MOST; i++) {
		const struct fitting *f = &kinds[kind].fitting[i];

		for (unsigned good = 0; good < 2; good++, variant++) {
			if (!f->error || (good && f->once_only) ||
			    (!full_run && !f->in_short))
				continue;
			if (only_kind < FAULT_KINDS && variant != only_variant)
				continue;
			run_case(sc, kind, f, nth, good, variant);
		}
	}
}

static void
sweep(const struct scenario *sc)
{
	uint64_t sites[FAULT_KINDS], all = 0, before = 0, after = 0;
	uint64_t start = clock_mono_ns();
	unsigned step = full_run ? 1 : sc->stride;

	for (unsigned k = 0; k < FAULT_KINDS; k++)
		before += tally.cases[k];
	count_sites(sc, sites);
	for (unsigned k = 0; k < FAULT_KINDS; k++) {
		all += sites[k];
		tally.sites[k] += sites[k];
		if (only_kind < FAULT_KINDS && k != only_kind)
			continue;
		for (uint64_t n = 1; n <= sites[k]; n += step)
			if (!only_nth || only_nth == n)
				sweep_site(sc, k, n);
	}
	for (unsigned k = 0; k < FAULT_KINDS; k++)
		after += tally.cases[k];
	say("%-20s %6llu sites %7llu cases %6.1f s\n", sc->name,
	    (unsigned long long)all, (unsigned long long)(after - before),
	    (double)(clock_mono_ns() - start) / 1e9);
}

static int
report(void)
{
	uint64_t sites = 0, cases = 0, missed = 0;

	say("\n%-22s %7s %8s %12s %11s\n", "calls", "sites", "cases",
	    "not reached", "writes off");
	for (unsigned k = 0; k < FAULT_KINDS; k++) {
		say("%-22s %7llu %8llu %12llu %11llu\n", kinds[k].name,
		    (unsigned long long)tally.sites[k],
		    (unsigned long long)tally.cases[k],
		    (unsigned long long)tally.missed[k],
		    (unsigned long long)tally.turned_off[k]);
		sites += tally.sites[k];
		cases += tally.cases[k];
		missed += tally.missed[k];
	}
	say("%llu sites, %llu cases (%llu not reached), %llu errors told, "
	    "%llu unknown outcomes: %u failures\n",
	    (unsigned long long)sites, (unsigned long long)cases,
	    (unsigned long long)missed, (unsigned long long)tally.errors,
	    (unsigned long long)tally.unknown, now.failures);
	if (cases && missed * 2 > cases) {
		say("most faults were never met: this proves nothing\n");
		return 1;
	}
	return now.failures || !cases;
}

/* ---- main ---- */

/* Sanitizers report to where our own stderr was. */
extern void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

static void
divert_log(void)
{
	char *dir = tmpdir_new();
	char name[] = "log";

	tmpdir_write(dir, name, "", 0);
	now.out = dup(1);
	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)now.out);
	if (chdir(dir))
		perror(dir);
	now.log = open(name, O_RDWR | O_APPEND);
	if (now.log < 0 || dup2(now.log, 2) < 0)
		perror("log");
	if (chdir("/"))
		perror("/");
	tmpdir_free(dir);
}

static void
take_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "full", no_argument, NULL, 'f' },
		{ "only", required_argument, NULL, 'o' },
		{ "case", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned long long nth;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
		switch (c) {
		case 'f':
			full_run = true;
			break;
		case 'o':
			only = optarg;
			break;
		case 'c':
			if (sscanf(optarg, "%u:%llu:%u", &only_kind, &nth,
			           &only_variant) != 3) {
				fputs("--case K:N:M\n", stderr);
				exit(2);
			}
			only_nth = nth;
			full_run = true;
			break;
		default:
			exit(2);
		}
}

int
main(int argc, char **argv)
{
	/* Thousands of stores: in memory, where there is such a place. */
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	take_options(argc, argv);
	fault_exempt_begin();
	divert_log();
	signal(SIGABRT, on_signal);
	signal(SIGALRM, on_signal);
	if (!__sanitizer_set_report_fd)
		signal(SIGSEGV, on_signal);
	make_image();
	for (size_t i = 0; i < SCENARIOS; i++) {
		const struct scenario *sc = &scenarios[i];

		if (only && strcmp(only, sc->name))
			continue;
		if (sc->helper && !getenv("LSMKV_HELPER"))
			say("%s: left out, LSMKV_HELPER does not say where "
			    "the helper is\n",
			    sc->name);
		else
			sweep(sc);
	}
	tmpdir_free(now.image);
	return report();
}
