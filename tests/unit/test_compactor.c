/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of store/compactor with a small host in place of the store, the
 * real helper, and helpers that fail in every way that one can. The bad
 * helpers are this program itself, started again through a script.
 */
#include "store/compactor.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "lib/sst_make.h"
#include "lib/tmpdir.h"
#include "store/block_cache.h"
#include "store/compact.h"
#include "store/manifest.h"

#define WAIT_MS 60000u /* for what must happen; far more than it takes */
#define KEYS 200u
#define MOST 20000u

static char self[512]; /* path of this program */

/* What the disk is said to have free. */
#define FREE_AS_IT_IS UINT64_MAX
static _Atomic uint64_t free_bytes;

int __real_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes,
                             struct err *err);
int __wrap_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes,
                             struct err *err);

int
__wrap_fs_dir_free_bytes(struct fs_dir *dir, uint64_t *bytes, struct err *err)
{
	*bytes = atomic_load(&free_bytes);
	return *bytes == FREE_AS_IT_IS
	               ? __real_fs_dir_free_bytes(dir, bytes, err)
	               : 0;
}

/* ---- the host ---- */

struct fixture {
	char *path;    /* the store's directory */
	char *scripts; /* where fake helpers are */
	struct fs_dir *dir;
	struct block_cache *cache;
	pthread_mutex_t mutex; /* of what follows */
	struct levels *levels;
	uint64_t next_file, generation, version;
	uint64_t snapshots[4];
	size_t snapshot_count;
	int fail_install;       /* installs that fail from now on, */
	int fail_code;          /* how, */
	bool fail_after_rename; /* and when */
	struct compactor_options options;
	struct compactor *compactor;
	struct array_entry *model; /* every write there was */
	size_t model_count;
};

static struct levels *
host_levels(void *arg)
{
	struct fixture *f = arg;
	struct levels *l;

	pthread_mutex_lock(&f->mutex);
	l = levels_ref(f->levels);
	pthread_mutex_unlock(&f->mutex);
	return l;
}

static uint64_t
host_numbers(void *arg, unsigned count)
{
	struct fixture *f = arg;
	uint64_t first;

	pthread_mutex_lock(&f->mutex);
	first = f->next_file;
	f->next_file += count;
	pthread_mutex_unlock(&f->mutex);
	return first;
}

static int
host_snapshots(void *arg, uint64_t **versions, size_t *count, struct err *err)
{
	struct fixture *f = arg;

	(void)err;
	pthread_mutex_lock(&f->mutex);
	*count = f->snapshot_count + 1;
	*versions = calloc(*count, sizeof(**versions));
	memcpy(*versions, f->snapshots, f->snapshot_count * sizeof(uint64_t));
	(*versions)[f->snapshot_count] = f->version;
	pthread_mutex_unlock(&f->mutex);
	return 0;
}

static bool
is_added(const struct levels_edit *edit, uint64_t number)
{
	for (size_t i = 0; i < edit->added_count; i++)
		if (sst_info_of(edit->added[i].file)->number == number)
			return true;
	return false;
}

static int
install_locked(struct fixture *f, const struct levels_edit *edit,
               struct err *err)
{
	struct manifest head = { .generation = ++f->generation,
		                 .next_file = f->next_file,
		                 .last_version = f->version };
	bool renamed = false, fails = f->fail_install > 0;
	struct levels *next = NULL;
	int rc;

	if (fails)
		f->fail_install--;
	if (fails && !f->fail_after_rename)
		return err_set(err, f->fail_code, "planted");
	rc = levels_apply(f->levels, edit, &next, err);
	if (rc)
		return rc;
	rc = manifest_save(f->dir, &head, next, &renamed, err);
	if (rc || fails) {
		levels_unref(next);
		return rc ? rc : err_set(err, f->fail_code, "planted");
	}
	for (size_t i = 0; i < edit->removed_count; i++) {
		const struct level *l =
			&f->levels->level[edit->removed[i].level];

		for (size_t j = 0; j < l->count; j++)
			if (sst_info_of(l->files[j])->number ==
			            edit->removed[i].number &&
			    !is_added(edit, edit->removed[i].number))
				sst_set_obsolete(l->files[j]);
	}
	levels_unref(f->levels);
	f->levels = next;
	return 0;
}

static int
host_install(void *arg, const struct levels_edit *edit, struct err *err)
{
	struct fixture *f = arg;
	int rc;

	pthread_mutex_lock(&f->mutex);
	rc = install_locked(f, edit, err);
	pthread_mutex_unlock(&f->mutex);
	return rc;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->path = tmpdir_new();
	f->scripts = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	f->cache = block_cache_new(1 << 20);
	assert_non_null(f->cache);
	pthread_mutex_init(&f->mutex, NULL);
	f->levels = levels_new();
	f->next_file = 1;
	f->model = calloc(MOST, sizeof(*f->model));
	assert_non_null(f->model);
	f->options = (struct compactor_options){
		.helper = getenv("LSMKV_HELPER"),
		.level1_bytes = 20000,
		.file_bytes = 700,
		.level0_files = 4,
		.silence_ms = WAIT_MS,
		.retry_ms = 1000,
		.reclaim_ms = 3600000,
		.sst = sst_make_options,
	};
	assert_non_null(f->options.helper);
	atomic_store(&free_bytes, FREE_AS_IT_IS);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	compactor_stop(f->compactor);
	levels_unref(f->levels);
	block_cache_free(f->cache);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	tmpdir_free(f->scripts);
	pthread_mutex_destroy(&f->mutex);
	free(f->model);
	free(f);
	return 0;
}

static void
start(struct fixture *f)
{
	struct compactor_host host = {
		.arg = f,
		.dir = f->dir,
		.lock_fd = -1,
		.cache = f->cache,
		.levels = host_levels,
		.numbers = host_numbers,
		.snapshots = host_snapshots,
		.install = host_install,
	};
	struct err err = ERR_INIT;

	if (compactor_start(&f->compactor, &f->options, &host, &err))
		fail_msg("%s", err.message);
}

/* Writes keys [first, first + count) as one file of a level. */
static void
put_file(struct fixture *f, unsigned level, unsigned first, unsigned count,
         bool deleted)
{
	struct array_entry *e = calloc(count, sizeof(*e));
	struct levels_added added = { level, NULL };
	struct levels_edit edit = { &added, 1, NULL, 0 };
	struct sst_info info;
	int rc;

	assert_non_null(e);
	assert_true(f->model_count + count <= MOST);
	pthread_mutex_lock(&f->mutex);
	for (unsigned i = 0; i < count; i++) {
		snprintf(e[i].key, sizeof(e[i].key), "key%04u", first + i);
		e[i].version = ++f->version;
		e[i].kind = deleted ? ENTRY_TOMBSTONE : ENTRY_TEXT;
		if (!deleted)
			snprintf(e[i].value, sizeof(e[i].value), "value %u",
			         (unsigned)e[i].version);
		f->model[f->model_count++] = e[i];
	}
	sst_make(f->dir, f->next_file++, e, count, &info);
	assert_int_equal(sst_open(&added.file, f->dir, &info, f->cache, NULL),
	                 0);
	rc = install_locked(f, &edit, NULL);
	pthread_mutex_unlock(&f->mutex);
	assert_int_equal(rc, 0);
	sst_unref(added.file);
	sst_info_release(&info);
	free(e);
	if (f->compactor)
		compactor_wake(f->compactor);
}

/* The same as one flush. */
static void
flush(struct fixture *f, unsigned first, unsigned count, bool deleted)
{
	put_file(f, 0, first, count, deleted);
}

/* Four flushes that overlap: worth one job. */
static void
fill(struct fixture *f)
{
	for (unsigned i = 0; i < 4; i++)
		flush(f, i * 10, KEYS - 40, false);
}

/* What the tree shows of a key at a snapshot is what was written. */
static void
check(struct fixture *f)
{
	struct levels *l = host_levels(f);

	for (size_t s = 0; s <= f->snapshot_count; s++)
		for (unsigned k = 0; k < KEYS; k++) {
			uint64_t at = s < f->snapshot_count ? f->snapshots[s]
			                                    : VERSION_MAX;
			const struct array_entry *want = NULL;
			struct sst_hit hit = { 0 };
			char key[16];
			struct slice ks;
			int rc = LSMKV_NOTFOUND;

			snprintf(key, sizeof(key), "key%04u", k);
			ks = slice_str(key);
			for (size_t i = 0; i < f->model_count; i++)
				if (f->model[i].version <= at &&
				    !strcmp(f->model[i].key, key))
					want = &f->model[i];
			for (size_t i = 0;
			     i < l->level[0].count && rc == LSMKV_NOTFOUND; i++)
				rc = sst_get(l->level[0].files[i], ks,
				             sst_key_hash(ks), at, &hit, NULL);
			for (unsigned n = 1;
			     n < LEVELS_MAX && rc == LSMKV_NOTFOUND; n++) {
				struct sst *t = levels_find(l, n, ks);

				if (t)
					rc = sst_get(t, ks, sst_key_hash(ks),
					             at, &hit, NULL);
			}
			assert_true(rc >= 0);
			if (rc || hit.entry.kind == ENTRY_TOMBSTONE) {
				assert_true(!want ||
				            want->kind == ENTRY_TOMBSTONE);
			} else {
				assert_non_null(want);
				assert_true(hit.entry.version == want->version);
				assert_true(
					slice_equal(hit.entry.value,
				                    slice_str(want->value)));
			}
			if (!rc)
				sst_hit_release(&hit);
		}
	levels_unref(l);
}

static size_t
tree_files(struct fixture *f)
{
	struct levels *l = host_levels(f);
	size_t n = 0;

	for (unsigned i = 0; i < LEVELS_MAX; i++)
		n += l->level[i].count;
	levels_unref(l);
	return n;
}

/* The directory holds the tree's files and the MANIFEST, and nothing else. */
static void
assert_no_garbage(struct fixture *f)
{
	assert_int_equal(tmpdir_count(f->path), tree_files(f) + 1);
}

/* Waits until the condition holds of `stat`; fails when it never does. */
#define WAIT_FOR(f, condition)                                                 \
	do {                                                                   \
		uint64_t until_ =                                              \
			clock_mono_ns() + (uint64_t)WAIT_MS * 1000000;         \
		struct compactor_stat stat;                                    \
		for (;;) {                                                     \
			compactor_get_stat((f)->compactor, &stat);             \
			if (condition)                                         \
				break;                                         \
			if (clock_mono_ns() > until_)                          \
				fail_msg("never: %s (%s)", #condition,         \
				         stat.last_error);                     \
			clock_sleep_us(2000);                                  \
		}                                                              \
	} while (0)

static void
stop(struct fixture *f)
{
	compactor_stop(f->compactor);
	f->compactor = NULL;
}

/* ---- what works ---- */

static void
one_job(struct fixture *f)
{
	fill(f);
	check(f);
	start(f);
	WAIT_FOR(f, stat.jobs == 1 && !stat.running);
	check(f);
	{
		struct compactor_stat stat;

		compactor_get_stat(f->compactor, &stat);
		assert_int_equal(stat.failures, 0);
		assert_string_equal(stat.last_error, "");
		assert_int_equal(stat.helper, 0);
		assert_true(stat.bytes_read > 0 && stat.bytes_written > 0);
		assert_true(stat.dropped_shadowed == 3 * (KEYS - 50));
	}
	stop(f);
	assert_int_equal(f->levels->level[0].count, 0);
	assert_true(f->levels->level[1].count > 0);
	assert_no_garbage(f);
}

/* A full level 0 becomes level 1 through the helper; inputs are removed. */
static void
test_helper(void **state)
{
	one_job(*state);
}

/* The same in this process, where no helper is named. */
static void
test_in_process(void **state)
{
	struct fixture *f = *state;

	f->options.helper = NULL;
	one_job(f);
}

/* What open snapshots see outlives a job. */
static void
test_snapshots(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		flush(f, i * 10, KEYS - 40, i == 2);
		if (i < 3)
			f->snapshots[f->snapshot_count++] = f->version - i * 30;
	}
	start(f);
	WAIT_FOR(f, stat.jobs == 1);
	check(f);
}

/* A file that meets nothing moves down, and lives on. */
static void
test_move(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++)
		flush(f, i * 40, 40, false);
	start(f);
	WAIT_FOR(f, stat.moves >= 1);
	stop(f);
	check(f);
	assert_true(f->levels->level[1].count >= 1);
	assert_no_garbage(f);
}

/* Once all is deleted, no file is left, without a word from outside. */
static void
test_space_comes_back(void **state)
{
	struct fixture *f = *state;

	f->options.reclaim_ms = 200;
	start(f);
	for (unsigned round = 0; round < 3; round++)
		fill(f);
	for (unsigned k = 0; k < KEYS; k += 50)
		flush(f, k, 50, true);
	WAIT_FOR(f, tree_files(f) == 0);
	check(f);
	stop(f);
	assert_no_garbage(f);
}

/* ---- compact_all ---- */

static void *
write_more(void *arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; i < 10; i++) {
		flush(f, i * 10, 30, false);
		clock_sleep_us(5000);
	}
	return NULL;
}

/* Everything becomes one sorted run, also while others write. */
static void
test_compact_all(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	unsigned used = 0;
	pthread_t writer;

	f->options.level0_files = 100;
	start(f);
	fill(f);
	flush(f, 0, 20, true);
	assert_int_equal(pthread_create(&writer, NULL, write_more, f), 0);
	if (compactor_compact_all(f->compactor, &err))
		fail_msg("%s", err.message);
	pthread_join(writer, NULL);
	check(f);
	if (compactor_compact_all(f->compactor, &err))
		fail_msg("%s", err.message);
	stop(f);
	check(f);
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		used += f->levels->level[n].count > 0;
	assert_int_equal(used, 1);
	assert_int_equal(f->levels->level[0].count, 0);
	assert_true(levels_entries(f->levels) == KEYS - 10);
	assert_no_garbage(f);
}

static void *
compact_all(void *arg)
{
	struct fixture *f = arg;
	struct err err = ERR_INIT;

	return (void *)(intptr_t)compactor_compact_all(f->compactor, &err);
}

/* ---- helpers that fail ---- */

/* Makes a script and has it used as the helper. */
static void
use_script(struct fixture *f, const char *format, ...)
{
	static char path[600];
	char text[2048];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	assert_true(n > 0 && (size_t)n < sizeof(text));
	tmpdir_write(f->scripts, "helper", text, (size_t)n);
	snprintf(path, sizeof(path), "%s/helper", f->scripts);
	assert_int_equal(chmod(path, 0700), 0);
	f->options.helper = path;
}

/* This program again, playing a helper. */
static void
use_self(struct fixture *f, const char *part)
{
	use_script(f, "#!/bin/sh\nexec '%s' --play %s '%s/note'\n", self, part,
	           f->scripts);
}

/* That part once, and the real helper from then on. */
static void
use_helper_later(struct fixture *f, const char *part)
{
	use_script(f,
	           "#!/bin/sh\nif [ -e '%s/later' ]; then exec '%s'; fi\n"
	           ": >'%s/later'\nexec '%s' --play %s '%s/note'\n",
	           f->scripts, getenv("LSMKV_HELPER"), f->scripts, self, part,
	           f->scripts);
}

/* The job fails, is counted and told, and the store is as it was before. */
static void
expect_failure(struct fixture *f, const char *because)
{
	struct compactor_stat now;

	fill(f);
	start(f);
	WAIT_FOR(f, stat.failures == 1);
	compactor_get_stat(f->compactor, &now);
	assert_int_equal(now.jobs, 0);
	assert_false(now.running);
	assert_int_equal(now.helper, 0);
	if (!strstr(now.last_error, because))
		fail_msg("\"%s\" is not in \"%s\"", because, now.last_error);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_int_equal(tree_files(f), 4);
	assert_no_garbage(f);
	check(f);
}

/* A helper that is not there. */
static void
test_no_helper(void **state)
{
	struct fixture *f = *state;

	f->options.helper = "/nonexistent/lsmkv-compact";
	expect_failure(f, "/nonexistent/lsmkv-compact");
}

/* One that ends at once, says nothing, or not the truth about how it went. */
static void
test_ends_at_once(void **state)
{
	use_script(*state, "#!/bin/sh\nexit 0\n");
	expect_failure(*state, "without a result");
}

static void
test_exits_with_error(void **state)
{
	use_self(*state, "right-but-status");
	expect_failure(*state, "3");
}

/* One that is killed: at once, and with its outputs written. */
static void
test_killed(void **state)
{
	use_script(*state, "#!/bin/sh\nkill -9 $$\n");
	expect_failure(*state, "");
}

static void
test_killed_with_outputs(void **state)
{
	struct fixture *f = *state;

	use_self(f, "killed");
	expect_failure(f, "");
	/* it had made some */
	assert_true(tmpdir_has(f->scripts, "note"));
}

/* One that answers what is none of our language. */
static void
test_rubbish(void **state)
{
	use_script(*state, "#!/bin/sh\nexec head -c 100000 /dev/zero\n");
	expect_failure(*state, "job message");
}

static void
test_rubbish_behind_result(void **state)
{
	use_self(*state, "right-and-more");
	expect_failure(*state, "without a result");
	teardown(state);
	setup(state);
	use_self(*state, "right-twice");
	expect_failure(*state, "behind the result");
}

/* One that reports a failure of its own: its words are ours. */
static void
test_reports_failure(void **state)
{
	use_self(*state, "reports");
	expect_failure(*state, "the moon is new");
}

/* One that says nothing for too long, and one that says the same for ever. */
static void
test_silent(void **state)
{
	struct fixture *f = *state;

	f->options.silence_ms = 200;
	use_script(f, "#!/bin/sh\nexec sleep 1000\n");
	expect_failure(f, "no progress");
}

static void
test_stands_still(void **state)
{
	struct fixture *f = *state;

	f->options.silence_ms = 200;
	use_self(f, "stands-still");
	expect_failure(f, "no progress");
}

/* One whose result lies: about counts, numbers, keys, versions, or files. */
static void
test_lies(void **state)
{
	static const char *const lies[][2] = {
		{ "lie-in", "not all entries" },
		{ "lie-shadowed", "entries are missing" },
		{ "lie-overflow", "entries are missing" },
		{ "lie-out", "do not hold" },
		{ "lie-tombstones", "tombstones" },
		{ "lie-number", "not its own" },
		{ "lie-order", "not its own" },
		{ "lie-key", "keys" },
		{ "lie-version", "versions" },
		{ "lie-missing", "missing" },
		{ "lie-forgets", "do not hold" },
		{ "lie-info", "" },
		{ "lie-bytes", ".sst" },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		use_self(*state, lies[i][0]);
		expect_failure(*state, lies[i][1]);
		teardown(state);
		setup(state);
	}
}

/* After failures the job is tried again, and what was wrong is forgotten. */
static void
test_tried_again(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;

	use_helper_later(f, "fails");
	fill(f);
	start(f);
	WAIT_FOR(f, stat.failures == 1);
	compactor_get_stat(f->compactor, &now);
	assert_true(now.last_error[0] != '\0');
	WAIT_FOR(f, stat.jobs == 1);
	compactor_get_stat(f->compactor, &now);
	assert_int_equal(now.failures, 1);
	assert_string_equal(now.last_error, "");
	check(f);
	stop(f);
	assert_no_garbage(f);
}

/* One job has found no room, and nothing is tried for a while. */
static void
expect_rest(struct fixture *f)
{
	struct compactor_stat now;

	WAIT_FOR(f, stat.failures == 1);
	for (unsigned i = 0; i < 50; i++) {
		compactor_wake(f->compactor);
		clock_sleep_us(2000);
	}
	compactor_get_stat(f->compactor, &now);
	assert_int_equal(now.last_code, LSMKV_ENOSPC);
	assert_int_equal(now.failures, 1);
	assert_int_equal(now.jobs + now.moves, 0);
}

/* Starts on one job that finds no room, with nothing that asks for less. */
static void
start_without_room(struct fixture *f, uint64_t room)
{
	atomic_store(&free_bytes, room);
	f->options.retry_ms = 3600000; /* never, that is */
	f->options.reclaim_ms = 200;   /* looks often */
	f->options.level0_files = 1;
	put_file(f, 1, 0, KEYS, false);
	flush(f, 0, KEYS, false);
	start(f);
	expect_rest(f);
}

/*
 * A job without room is not tried again before its delay is over, but as soon
 * as there is more room.
 */
static void
test_more_room(void **state)
{
	struct fixture *f = *state;

	use_helper_later(f, "full");
	start_without_room(f, 1u << 20);
	atomic_store(&free_bytes, 2u << 20);
	WAIT_FOR(f, stat.jobs == 1 && !stat.last_code);
	stop(f);
	assert_no_garbage(f);
	check(f);
}

/* The same on a disk without a free byte. */
static void
test_no_room_at_all(void **state)
{
	struct fixture *f = *state;

	use_self(f, "full");
	start_without_room(f, 0);
	stop(f);
	assert_no_garbage(f);
	check(f);
}

/* A job that asks for less goes on meanwhile: as much as is less. */
static void
test_less_goes_on(void **state)
{
	struct fixture *f = *state;

	f->options.retry_ms = 3600000;
	use_helper_later(f, "full");
	put_file(f, 1, 0, KEYS, false);
	fill(f);
	start(f);
	WAIT_FOR(f, stat.jobs == 1);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 1);
	assert_no_garbage(f);
	check(f);
}

/* As long as something waits, success with less does not hide that. */
static void
test_failure_is_told(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;

	f->options.retry_ms = 3600000;
	f->options.level0_files = 1;
	use_script(f,
	           "#!/bin/sh\n"
	           "if [ -e '%s/two' ]; then exec '%s' --play slow -; fi\n"
	           "if [ -e '%s/one' ]; then : >'%s/two'; exec '%s'; fi\n"
	           ": >'%s/one'\nexec '%s' --play full -\n",
	           f->scripts, self, f->scripts, f->scripts,
	           getenv("LSMKV_HELPER"), f->scripts, self);
	put_file(f, 1, 0, KEYS, false);
	flush(f, 0, KEYS, false);
	flush(f, 0, KEYS, false);
	start(f);
	WAIT_FOR(f, stat.jobs == 1 && stat.running && stat.job_done > 2);
	compactor_get_stat(f->compactor, &now);
	assert_int_equal(now.failures, 1);
	assert_int_equal(now.last_code, LSMKV_ENOSPC);
	stop(f);
	assert_no_garbage(f);
	check(f);
}

/* A move asks for no room that could become more: it waits for its delay. */
static void
test_move_waits(void **state)
{
	struct fixture *f = *state;

	f->options.retry_ms = 3600000;
	for (unsigned i = 0; i < 4; i++)
		flush(f, i * 40, 40, false);
	f->fail_install = 1000;
	f->fail_code = LSMKV_ENOSPC;
	start(f);
	expect_rest(f);
	stop(f);
	check(f);
}

/* Killed from outside in the middle of a job: the same. */
static void
test_killed_from_outside(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;

	use_self(f, "slow");
	fill(f);
	start(f);
	WAIT_FOR(f, stat.job_done > 2);
	compactor_get_stat(f->compactor, &now);
	assert_true(now.running);
	assert_true(now.helper > 0);
	assert_true(now.job_bytes > 0);
	assert_int_equal(now.from_level, 0);
	assert_int_equal(now.to_level, 1);
	assert_int_equal(kill(now.helper, SIGKILL), 0);
	WAIT_FOR(f, stat.failures == 1);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_no_garbage(f);
	check(f);
}

/* A helper that is stopped (SIGSTOP) is killed once it was silent too long. */
static void
test_stopped_from_outside(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;

	f->options.silence_ms = 300;
	use_self(f, "slow");
	fill(f);
	start(f);
	WAIT_FOR(f, stat.job_done > 2);
	compactor_get_stat(f->compactor, &now);
	assert_int_equal(kill(now.helper, SIGSTOP), 0);
	WAIT_FOR(f, stat.failures == 1);
	assert_int_equal(kill(now.helper, 0), -1);
	assert_int_equal(errno, ESRCH);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_no_garbage(f);
	check(f);
}

static bool
write_text(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");
	bool ok = out && fputs(text, out) >= 0;

	return out && !fclose(out) && ok;
}

/* A memory cgroup of 16 MiB, of whichever version there is; false: none. */
static bool
make_cgroup(char *group, size_t size)
{
	static const struct {
		const char *root, *limit;
	} kinds[] = {
		{ "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
		{ "/sys/fs/cgroup", "memory.max" },
	};
	char path[256];

	for (size_t i = 0; i < 2; i++) {
		snprintf(group, size, "%s/lsmkv-test-%d", kinds[i].root,
		         (int)getpid());
		if (mkdir(group, 0755))
			continue;
		snprintf(path, sizeof(path), "%s/%s", group, kinds[i].limit);
		if (write_text(path, "16777216"))
			return true;
		rmdir(group);
	}
	return false;
}

/* A helper that the OOM killer takes is one that failed. */
static void
test_out_of_memory(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;
	char group[200], path[256], pid[16];

	if (!make_cgroup(group, sizeof(group))) {
		print_message("skipped: no memory cgroup can be made here "
		              "(it takes root)\n");
		skip();
	}
	use_self(f, "eats");
	fill(f);
	start(f);
	WAIT_FOR(f, stat.job_done > 2);
	compactor_get_stat(f->compactor, &now);
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	snprintf(pid, sizeof(pid), "%d", (int)now.helper);
	assert_true(write_text(path, pid));
	WAIT_FOR(f, stat.failures == 1);
	compactor_get_stat(f->compactor, &now);
	/* By itself it would go on for ever. */
	if (!strstr(now.last_error, "ended without a result"))
		fail_msg("%s", now.last_error);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_no_garbage(f);
	check(f);
	assert_int_equal(rmdir(group), 0);
}

/* The end does not wait for a helper, nor for those who wait for one. */
static void
test_stop(void **state)
{
	struct fixture *f = *state;
	struct compactor_stat now;
	pthread_t waiter;
	void *rc = NULL;

	use_self(f, "slow");
	fill(f);
	start(f);
	assert_int_equal(pthread_create(&waiter, NULL, compact_all, f), 0);
	WAIT_FOR(f, stat.job_done > 2);
	compactor_get_stat(f->compactor, &now);
	stop(f);
	assert_int_equal(kill(now.helper, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_no_garbage(f);
	pthread_join(waiter, &rc);
	assert_int_equal((intptr_t)rc, LSMKV_ESHUTDOWN);
}

/* compact_all tells its caller what went wrong. */
static void
test_compact_all_fails(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	f->options.level0_files = 100;
	use_self(f, "full");
	fill(f);
	start(f);
	assert_int_equal(compactor_compact_all(f->compactor, &err),
	                 LSMKV_ENOSPC);
	assert_non_null(strstr(err.message, "the moon is full"));
}

/* An install that fails leaves nothing, and the job is done again. */
static void
test_install_fails(void **state)
{
	struct fixture *f = *state;

	fill(f);
	f->fail_install = 1;
	f->fail_code = LSMKV_ENOSPC;
	start(f);
	WAIT_FOR(f, stat.failures == 1);
	pthread_mutex_lock(&f->mutex);
	assert_int_equal(f->levels->level[0].count, 4);
	pthread_mutex_unlock(&f->mutex);
	WAIT_FOR(f, stat.jobs == 1);
	stop(f);
	assert_no_garbage(f);
	check(f);
}

/*
 * When the MANIFEST may name the outputs although the install failed, they
 * stay: it may be the one that comes back after a crash.
 */
static void
test_install_unknown(void **state)
{
	struct fixture *f = *state;
	struct manifest m = MANIFEST_INIT;

	fill(f);
	f->fail_install = 1000;
	f->fail_code = LSMKV_EIO;
	f->fail_after_rename = true;
	start(f);
	WAIT_FOR(f, stat.failures == 1);
	stop(f);
	assert_int_equal(manifest_load(f->dir, &m, NULL), 0);
	assert_true(m.file_count > 0);
	for (size_t i = 0; i < m.file_count; i++) {
		char name[32];

		assert_int_equal(m.files[i].level, 1);
		snprintf(name, sizeof(name), "%06u.sst",
		         (unsigned)m.files[i].info.number);
		assert_true(tmpdir_has(f->path, name));
	}
	manifest_release(&m);
	check(f);
}

/* A store that takes no changes any more is left alone, and callers told. */
static void
test_store_failed(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	fill(f);
	f->fail_install = 1;
	f->fail_code = LSMKV_EFAILED;
	start(f);
	WAIT_FOR(f, stat.failures == 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(compactor_compact_all(f->compactor, &err),
		                 LSMKV_EFAILED);
	stop(f);
	assert_int_equal(f->levels->level[0].count, 4);
	assert_no_garbage(f);
}

/* Options that make no sense are refused. */
static void
test_options(void **state)
{
	struct fixture *f = *state;
	struct compactor_host host = { .dir = f->dir };
	struct compactor *c = NULL;

	f->options.file_bytes = 0;
	assert_int_equal(compactor_start(&c, &f->options, &host, NULL),
	                 LSMKV_EINVAL);
	assert_null(c);
	compactor_stop(NULL);
}

/* ---- the real helper, without a compactor ---- */

/* Runs it with these bytes as its input, then the end; its answers. */
static int
run_helper(struct slice input, struct buf *answers)
{
	char *argv[] = { getenv("LSMKV_HELPER"), NULL };
	struct child child = CHILD_INIT;
	int rc;

	assert_int_equal(child_start(&child, argv, -1, NULL), 0);
	/* one that has heard enough may hang up */
	(void)child_send(&child, input, true, WAIT_MS, NULL);
	do
		rc = child_receive(&child, answers, WAIT_MS, NULL);
	while (!rc);
	assert_int_equal(rc, LSMKV_END);
	return child_finish(&child, WAIT_MS, NULL);
}

/*
 * The end of its input means that its parent is gone: it stops in the middle
 * of a job, and removes what it has made.
 */
static void
test_orphan(void **state)
{
	enum { ENTRIES = 20000 };
	struct fixture *f = *state;
	struct array_entry *e = calloc(ENTRIES, sizeof(*e));
	struct job job = JOB_INIT;
	struct buf frame = BUF_INIT, answers = BUF_INIT;
	enum job_kind kind = JOB_START;
	struct slice payload;
	size_t at = 0;

	assert_non_null(e);
	for (unsigned i = 0; i < ENTRIES; i++) {
		snprintf(e[i].key, sizeof(e[i].key), "key%06u", i);
		e[i].version = i + 1;
	}
	job.inputs = calloc(1, sizeof(*job.inputs));
	assert_non_null(job.inputs);
	job.input_count = 1;
	sst_make(f->dir, 1, e, ENTRIES, &job.inputs[0].info);
	assert_int_equal(buf_set(&job.dir, slice_str(f->path), NULL), 0);
	job.output_level = 1;
	job.first_output = 2;
	job.output_count = 1000;
	job.file_bytes = 100;
	job.sst = sst_make_options;
	assert_int_equal(job_encode(&job, &frame, NULL), 0);
	assert_int_equal(run_helper(buf_slice(&frame), &answers), LSMKV_ECHILD);
	do
		assert_int_equal(job_frame(buf_slice(&answers), &at, &kind,
		                           &payload, NULL),
		                 0);
	while (kind == JOB_PROGRESS);
	assert_int_equal(kind, JOB_FAILURE);
	assert_int_equal(job_failure_decode(payload, NULL), LSMKV_ESHUTDOWN);
	assert_int_equal(tmpdir_count(f->path), 1);
	job_release(&job);
	buf_release(&frame);
	buf_release(&answers);
	free(e);
}

/* What is no job is answered with a failure, not with a crash. */
static void
test_no_job(void **state)
{
	static const char *const inputs[] = { "", "LK", "LKVJ",
		                              "GET / HTTP/1.1", "LKVJ\1" };

	(void)state;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		struct buf answers = BUF_INIT;
		enum job_kind kind = JOB_START;
		struct slice payload;
		size_t at = 0;

		assert_int_equal(run_helper(slice_str(inputs[i]), &answers),
		                 LSMKV_ECHILD);
		assert_int_equal(job_frame(buf_slice(&answers), &at, &kind,
		                           &payload, NULL),
		                 0);
		assert_int_equal(kind, JOB_FAILURE);
		assert_int_equal(job_failure_decode(payload, NULL),
		                 LSMKV_ECORRUPT);
		buf_release(&answers);
	}
}

/* ---- playing a helper ---- */

static void
answer(const struct buf *frame)
{
	if (write(1, frame->data, frame->len) != (ssize_t)frame->len)
		_exit(9);
}

static void
progress(uint64_t done)
{
	struct buf frame = BUF_INIT;

	if (job_progress_encode(done, &frame, NULL))
		_exit(9);
	answer(&frame);
	buf_release(&frame);
}

static void
read_job(struct job *job)
{
	static struct buf in;
	enum job_kind kind;
	struct slice payload;
	size_t at = 0;

	while (job_frame(buf_slice(&in), &at, &kind, &payload, NULL)) {
		ssize_t n;

		if (buf_reserve(&in, 4096, NULL))
			_exit(9);
		n = read(0, in.data + in.len, 4096);
		if (n <= 0)
			_exit(9);
		in.len += (size_t)n;
	}
	if (job_decode(payload, job, NULL))
		_exit(9);
}

static void
tell_lie(const char *part, struct fs_dir *dir, const struct job *job,
         struct job_result *r)
{
	struct sst_info *info = &r->outputs[0].info;
	char name[32];

	snprintf(name, sizeof(name), "%06u.sst", (unsigned)info->number);
	if (!strcmp(part, "lie-in")) {
		r->entries_in++;
		r->shadowed++;
	} else if (!strcmp(part, "lie-shadowed")) {
		r->shadowed--;
	} else if (!strcmp(part, "lie-overflow")) {
		r->shadowed = UINT64_MAX;
		r->expired = r->entries_in - r->entries_out + 1;
	} else if (!strcmp(part, "lie-out")) {
		r->entries_out--;
		r->shadowed++;
	} else if (!strcmp(part, "lie-tombstones")) {
		r->tombstones = r->shadowed;
		r->shadowed = 0;
	} else if (!strcmp(part, "lie-number")) {
		info->number = job->inputs[0].info.number;
	} else if (!strcmp(part, "lie-order")) {
		r->outputs[1].info.number = info->number;
	} else if (!strcmp(part, "lie-key")) {
		info->smallest.data[0]--;
	} else if (!strcmp(part, "lie-version")) {
		info->max_version += 1000000;
	} else if (!strcmp(part, "lie-missing")) {
		fs_unlink(dir, name, NULL);
	} else if (!strcmp(part, "lie-forgets")) {
		sst_info_release(&r->outputs[--r->output_count].info);
	} else if (!strcmp(part, "lie-info")) {
		info->crc ^= 1;
	} else if (!strcmp(part, "lie-bytes")) {
		tmpdir_flip(dir->path, name, 100, 1);
	}
}

/* The parts that a helper can play; note is a file to say something with. */
static int
play(const char *part, const char *note)
{
	struct job_result r = JOB_RESULT_INIT;
	struct err failure = ERR_INIT;
	struct buf frame = BUF_INIT;
	struct fs_dir *dir = NULL;
	struct job job;

	read_job(&job);
	buf_append(&job.dir, "", 1, NULL);
	if (!strcmp(part, "fails"))
		return 1;
	if (!strcmp(part, "reports") || !strcmp(part, "full")) {
		err_set(&failure, *part == 'f' ? LSMKV_ENOSPC : LSMKV_EIO,
		        "the moon is %s", *part == 'f' ? "full" : "new");
		job_failure_encode(&failure, &frame, NULL);
		answer(&frame);
		return 1;
	}
	for (uint64_t i = 1; !strcmp(part, "slow"); i++) {
		progress(i);
		usleep(5000);
	}
	for (uint64_t i = 1; !strcmp(part, "eats"); i++) {
		char *more = malloc(1 << 20);

		/* slowly, until it is in its cgroup; never more than 256 MiB */
		if (more && i < 256)
			memset(more, 1, 1 << 20);
		progress(i);
		usleep(5000);
	}
	while (!strcmp(part, "stands-still")) {
		progress(1);
		usleep(5000);
	}
	if (fs_dir_open(&dir, (const char *)job.dir.data, false, NULL) ||
	    compact_run(dir, &job, NULL, NULL, &r, NULL) || !r.output_count)
		return 9;
	if (!strcmp(part, "killed")) {
		FILE *out = fopen(note, "w");

		if (!out || fclose(out))
			return 9;
		raise(SIGKILL);
	}
	tell_lie(part, dir, &job, &r);
	if (job_result_encode(&r, &frame, NULL))
		return 9;
	if (!strcmp(part, "right-and-more"))
		buf_append(&frame, "LKV", 3, NULL);
	if (!strcmp(part, "right-twice"))
		job_result_encode(&r, &frame, NULL);
	answer(&frame);
	/* nothing to release: the process ends */
	_exit(!strcmp(part, "right-but-status") ? 3 : 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_helper),
		TEST(test_in_process),
		TEST(test_snapshots),
		TEST(test_move),
		TEST(test_space_comes_back),
		TEST(test_compact_all),
		TEST(test_no_helper),
		TEST(test_ends_at_once),
		TEST(test_exits_with_error),
		TEST(test_killed),
		TEST(test_killed_with_outputs),
		TEST(test_rubbish),
		TEST(test_rubbish_behind_result),
		TEST(test_reports_failure),
		TEST(test_silent),
		TEST(test_stands_still),
		TEST(test_lies),
		TEST(test_tried_again),
		TEST(test_more_room),
		TEST(test_no_room_at_all),
		TEST(test_less_goes_on),
		TEST(test_failure_is_told),
		TEST(test_move_waits),
		TEST(test_killed_from_outside),
		TEST(test_stopped_from_outside),
		TEST(test_out_of_memory),
		TEST(test_stop),
		TEST(test_compact_all_fails),
		TEST(test_install_fails),
		TEST(test_install_unknown),
		TEST(test_store_failed),
		TEST(test_options),
		TEST(test_orphan),
		TEST(test_no_job),
	};
	ssize_t n;

	if (argc == 4 && !strcmp(argv[1], "--play"))
		return play(argv[2], argv[3]);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return 1;
	self[n] = '\0';
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
