/* SPDX-License-Identifier: ISC */
/*
 * lsmkv stat, dump and verify on a small store whose every byte is known.
 *
 * The store is made of its parts (SST writer, MANIFEST, WAL) and not by the
 * engine, so that the tests decide which file holds what: two levels, all
 * kinds of entries, and a log of two records, the second of which was written
 * when the first was on disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "lib/tmpdir.h"
#include "store/block_cache.h"
#include "store/manifest.h"
#include "store/names.h"
#include "store/store.h"
#include "store/wal.h"

#define OLD_SST "000002.sst" /* level 1 */
#define NEW_SST "000003.sst" /* level 0 */
#define LOG_1 "000004.wal"
#define FILE_ENTRY 48u /* offset of the first file in a MANIFEST */

static const char long_value[] =
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	"the end that is cut";

#define VALUE(s)                                                               \
	{                                                                      \
		(const unsigned char *)(s), sizeof(s) - 1                      \
	}

static const struct entry old_entries[] = {
	{ VALUE("apple"), VALUE("red"), 1, 0, ENTRY_TEXT },
	{ VALUE("bin"), VALUE("\0\1\xff\"\\\n"), 2, 0, ENTRY_BYTES },
	{ VALUE("json"), VALUE("{\"a\":1}"), 3, 4102444800u, ENTRY_JSON },
	{ VALUE("long"), VALUE(long_value), 4, 0, ENTRY_TEXT },
};
static const struct entry new_entries[] = {
	{ VALUE("apple"), { NULL, 0 }, 5, 0, ENTRY_TOMBSTONE },
	{ VALUE("word"), VALUE("caf\xc3\xa9"), 6, 0, ENTRY_TEXT },
};
static const struct entry log_entries[] = {
	{ VALUE("first"), VALUE("logged"), 7, 0, ENTRY_TEXT },
	{ VALUE("second"), VALUE("in the same batch"), 8, 0, ENTRY_TEXT },
	{ VALUE("third"), VALUE("in the next one"), 9, 0, ENTRY_TEXT },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the store ---- */

static struct sst *
write_sst(struct fs_dir *dir, struct block_cache *cache, uint64_t number,
          const struct entry *entries, size_t count)
{
	const struct sst_options options = { 64, 10, 6 };
	struct sst_info info = SST_INFO_INIT;
	struct sst_writer *w = NULL;
	struct sst *t = NULL;

	assert_int_equal(sst_writer_open(&w, dir, number, &options, NULL), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sst_writer_add(w, &entries[i], NULL), 0);
	assert_int_equal(sst_writer_finish(w, &info, NULL), 0);
	assert_int_equal(sst_open(&t, dir, &info, cache, NULL), 0);
	sst_info_release(&info);
	return t;
}

static void
write_manifest(struct fs_dir *dir, struct sst *level0, struct sst *level1)
{
	const struct manifest head = { .generation = 3,
		                       .next_file = 5,
		                       .last_version = 6,
		                       .wal_oldest = 4 };
	struct levels *empty = levels_new(), *tree = NULL;
	struct levels_edit edit = { 0 };
	bool renamed;

	edit.added = calloc(2, sizeof(*edit.added));
	assert_non_null(edit.added);
	edit.added[0].level = 1;
	edit.added[0].file = level1;
	edit.added[1].level = 0;
	edit.added[1].file = level0;
	edit.added_count = 2;
	assert_int_equal(levels_apply(empty, &edit, &tree, NULL), 0);
	assert_int_equal(manifest_save(dir, &head, tree, &renamed, NULL), 0);
	levels_unref(tree);
	levels_unref(empty);
	free(edit.added);
}

static void
write_log(struct fs_dir *dir)
{
	const struct wal_header header = { .segment = 4, .first_version = 7 };
	struct wal *w = NULL;
	bool partial;

	assert_int_equal(wal_create(&w, dir, &header, NULL), 0);
	assert_int_equal(wal_begin(w, 7, NULL), 0);
	assert_int_equal(wal_add(w, &log_entries[0], NULL), 0);
	assert_int_equal(wal_add(w, &log_entries[1], NULL), 0);
	assert_int_equal(wal_append(w, &partial, NULL), 0);
	assert_int_equal(wal_sync(w, NULL), 0);
	assert_int_equal(wal_begin(w, 9, NULL), 0);
	assert_int_equal(wal_add(w, &log_entries[2], NULL), 0);
	assert_int_equal(wal_append(w, &partial, NULL), 0);
	assert_int_equal(wal_sync(w, NULL), 0);
	wal_close(w);
}

/* upside_down: what is older stands in level 0. */
static char *
make_store_as(bool upside_down)
{
	char *path = tmpdir_new();
	struct fs_dir *dir = NULL;
	struct block_cache *cache = block_cache_new(1 << 20);
	struct sst *old, *new;

	assert_int_equal(fs_dir_open(&dir, path, false, NULL), 0);
	old = write_sst(dir, cache, 2, old_entries, COUNT(old_entries));
	new = write_sst(dir, cache, 3, new_entries, COUNT(new_entries));
	write_manifest(dir, upside_down ? old : new, upside_down ? new : old);
	write_log(dir);
	sst_unref(old);
	sst_unref(new);
	block_cache_free(cache);
	fs_dir_close(dir);
	return path;
}

static char *
make_store(void)
{
	return make_store_as(false);
}

/* ---- running the commands ---- */

/* Runs verify; returns the number of damages, and its report in *text. */
static uint64_t
verify(const char *path, char **text)
{
	const struct cli_options options = { 0 };
	struct err err = ERR_INIT;
	uint64_t damages = 99;
	size_t len;
	FILE *out = open_memstream(text, &len);
	int rc = cli_verify(path, &options, out, &damages, &err);

	fclose(out);
	if (rc)
		fail_msg("verify: %s", err.message);
	return damages;
}

static uint64_t
dump(const char *path, bool full, char **text)
{
	const struct cli_options options = { .full = full };
	struct err err = ERR_INIT;
	uint64_t damages = 99;
	size_t len;
	FILE *out = open_memstream(text, &len);
	int rc = cli_dump(path, &options, out, &damages, &err);

	fclose(out);
	if (rc)
		fail_msg("dump: %s", err.message);
	return damages;
}

static char *
dump_file(const char *path, const char *name, uint64_t *damages)
{
	char file[4096], *text = NULL;

	snprintf(file, sizeof(file), "%s/%s", path, name);
	*damages = dump(file, false, &text);
	return text;
}

static void
assert_has(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("\"%s\" is missing in:\n%s", words, text);
}

static void
assert_has_not(const char *text, const char *words)
{
	if (strstr(text, words))
		fail_msg("\"%s\" should not be in:\n%s", words, text);
}

/* Does some line that begins with "damage:" name the file and an offset? */
static bool
names_damage(const char *text, const char *name)
{
	const char *line = text;

	while ((line = strstr(line, "damage: "))) {
		size_t len = strcspn(line, "\n");
		char *copy = strndup(line, len);
		const char *at = strstr(copy, name);
		bool named =
			at && (strstr(at, "offset ") || strstr(at, " at "));

		free(copy);
		if (named)
			return true;
		line += len;
	}
	return false;
}

/* ---- verify ---- */

/* A store with nothing wrong is clean, and all of it was looked at. */
static void
test_verify_is_content_with_a_sound_store(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	assert_int_equal(verify(path, &text), 0);
	assert_has(text, "2 SSTs (");
	assert_has(text, "6 entries)");
	assert_has(text, "1 WAL segments (2 records)");
	assert_has(text, "no damage");
	assert_has_not(text, "damage:");
	assert_has_not(text, "note:");
	free(text);
	tmpdir_free(path);
}

static void
flip_each_byte(const char *name, uint64_t from, uint64_t to)
{
	char *path = make_store();

	for (uint64_t at = from; at < to; at++) {
		char *text = NULL;

		tmpdir_flip(path, name, at, 0x40);
		if (!verify(path, &text) || !names_damage(text, name))
			fail_msg("%s: byte %" PRIu64 " was changed: %s", name,
			         at, text);
		tmpdir_flip(path, name, at, 0x40);
		free(text);
	}
	tmpdir_free(path);
}

/* Whichever byte of an SST changes, verify names file and offset. */
static void
test_verify_sees_each_byte_of_an_sst(void **state)
{
	char *path = make_store();
	uint64_t size = tmpdir_size(path, OLD_SST);

	(void)state;
	tmpdir_free(path);
	flip_each_byte(OLD_SST, 0, size);
}

/* The same of the MANIFEST, without which the rest is still looked at. */
static void
test_verify_sees_each_byte_of_the_manifest(void **state)
{
	char *path = make_store();
	uint64_t size = tmpdir_size(path, NAME_MANIFEST);

	(void)state;
	tmpdir_free(path);
	flip_each_byte(NAME_MANIFEST, 0, size);
}

/* The same of a log, up to the end of what is known to have been on disk. */
static void
test_verify_sees_each_byte_of_the_log(void **state)
{
	(void)state;
	flip_each_byte(LOG_1, 0, WAL_HEADER_BYTES + 30);
}

/* The last record may be torn: it is not damage, and nothing says it is. */
static void
test_verify_takes_a_torn_tail_for_what_it_is(void **state)
{
	char *path = make_store(), *text = NULL;
	size_t len;
	unsigned char *log = tmpdir_read(path, LOG_1, &len);
	const char *third = memmem(log, len, "third", 5);

	(void)state;
	assert_non_null(third);
	tmpdir_flip(path, LOG_1, (uint64_t)(third - (const char *)log), 0x40);
	assert_int_equal(verify(path, &text), 0);
	assert_has(text, "1 WAL segments (1 records)");
	free(log);
	free(text);
	tmpdir_free(path);
}

/* One damage does not hide another. */
static void
test_verify_goes_on_to_find_all(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	tmpdir_flip(path, OLD_SST, 20, 1);
	tmpdir_flip(path, NEW_SST, 20, 1);
	tmpdir_flip(path, LOG_1, WAL_HEADER_BYTES, 1);
	assert_int_equal(verify(path, &text), 3);
	assert_true(names_damage(text, OLD_SST));
	assert_true(names_damage(text, NEW_SST));
	assert_true(names_damage(text, LOG_1));
	free(text);
	tmpdir_free(path);
}

/* Not even in the same file: each damaged block is named. */
static void
test_verify_names_each_damaged_block(void **state)
{
	char *path = make_store(), *text = NULL, *second, words[64];
	uint64_t damages, offset;

	(void)state;
	/* The blocks of this one: the second begins where dump says. */
	text = dump_file(path, OLD_SST, &damages);
	second = strstr(strstr(text, "  block at ") + 1, "  block at ");
	assert_non_null(second);
	offset = strtoull(second + strlen("  block at "), NULL, 10);
	free(text);

	tmpdir_flip(path, OLD_SST, 20, 1);
	tmpdir_flip(path, OLD_SST, offset + 4, 1);
	assert_int_equal(verify(path, &text), 2);
	assert_has(text, "damage: " OLD_SST ": block at 16");
	snprintf(words, sizeof(words), "damage: " OLD_SST ": block at %" PRIu64,
	         offset);
	assert_has(text, words);
	free(text);
	tmpdir_free(path);
}

/* A file that the MANIFEST names and that is not there is damage. */
static void
test_verify_misses_a_file(void **state)
{
	static const char *const names[] = { OLD_SST, LOG_1, NAME_MANIFEST };

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		char *path = make_store(), *text = NULL;

		tmpdir_remove(path, names[i]);
		assert_int_equal(verify(path, &text), 1);
		assert_has(text, names[i]);
		assert_has(text, "missing");
		free(text);
		tmpdir_free(path);
	}
}

/* A file of the wrong size is damaged where it ends. */
static void
test_verify_measures_files(void **state)
{
	char *path = make_store(), *text = NULL;
	uint64_t size = tmpdir_size(path, OLD_SST);
	char offset[64];

	(void)state;
	tmpdir_truncate(path, OLD_SST, size - 1);
	assert_int_equal(verify(path, &text), 1);
	snprintf(offset, sizeof(offset), OLD_SST ": offset %" PRIu64, size - 1);
	assert_has(text, offset);
	free(text);
	tmpdir_free(path);
}

/* What nobody names is told, but does no harm. */
static void
test_verify_tells_of_files_that_nobody_names(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	tmpdir_write(path, "000001.wal", "old", 3);
	tmpdir_write(path, "000009.sst.tmp", "half", 4);
	tmpdir_write(path, "000009.sst", "half", 4);
	tmpdir_write(path, "notes.txt", "mine", 4);
	assert_int_equal(verify(path, &text), 0);
	assert_has(text, "note: 000001.wal");
	assert_has(text, "note: 000009.sst.tmp");
	assert_has(text, "note: 000009.sst:");
	assert_has(text, "note: notes.txt: not a file of the store");
	free(text);
	tmpdir_free(path);
}

/* Files of one level below 0 must not overlap, whatever their checksums. */
static void
test_verify_checks_the_shape_of_the_tree(void **state)
{
	char *path = make_store(), *text = NULL;
	size_t len;
	unsigned char *manifest = tmpdir_read(path, NAME_MANIFEST, &len);

	(void)state;
	assert_int_equal(manifest[FILE_ENTRY], 0);
	manifest[FILE_ENTRY] = 1; /* NEW_SST, in the level of OLD_SST */
	put_u32(manifest + len - 4, crc32_add(0, manifest, len - 4));
	tmpdir_write(path, NAME_MANIFEST, manifest, len);
	assert_int_equal(verify(path, &text), 1);
	assert_has(text, "level 1: " NEW_SST " and " OLD_SST " overlap");
	free(manifest);
	free(text);
	tmpdir_free(path);
}

/* What stands above must be newer: else a read finds old values. */
static void
test_verify_checks_the_order_across_levels(void **state)
{
	char *path = make_store_as(true), *text = NULL;

	(void)state;
	assert_int_equal(verify(path, &text), 1);
	assert_has(text, "damage: " OLD_SST ": key apple: version 1 in level "
	                 "0 hides the newer or same version 5 in " NEW_SST
	                 " of level 1");
	free(text);
	tmpdir_free(path);
}

/* Where no store is, there is nothing to be verified: that is an error. */
static void
test_no_store_is_an_error(void **state)
{
	const struct cli_options options = { 0 };
	char *path = tmpdir_new();
	struct err err = ERR_INIT;
	uint64_t damages = 0;

	(void)state;
	assert_int_equal(cli_verify(path, &options, stdout, &damages, &err),
	                 LSMKV_EINVAL);
	assert_has(err.message, "no store");
	assert_int_equal(cli_stat(path, &options, stdout, &err), LSMKV_EINVAL);
	assert_has(err.message, "no store");
	tmpdir_free(path);
	assert_int_equal(cli_verify("/nonexistent/store", &options, stdout,
	                            &damages, &err),
	                 LSMKV_EIO);
}

/* ---- dump ---- */

/* An SST shows its properties, its blocks and all its entries. */
static void
test_dump_shows_an_sst(void **state)
{
	char *path = make_store(), *text;
	uint64_t damages;

	(void)state;
	text = dump_file(path, OLD_SST, &damages);
	assert_int_equal(damages, 0);
	assert_has(text, "  format version 4\n");
	assert_has(text, "  4 entries, 0 of them tombstones, ");
	assert_has(text, "  versions 1..4\n");
	assert_has(text, "  earliest expiry 4102444800 "
	                 "(2100-01-01T00:00:00Z)\n");
	assert_has(text, "  keys \"apple\" .. \"long\"\n");
	assert_has(text, "  block at 16: ");
	assert_has(text, "    1 text \"apple\" = \"red\"\n");
	assert_has(text, "    2 bytes \"bin\" = "
	                 "\"\\0\\001\\377\\\"\\\\\\n\"\n");
	assert_has(text, "    3 json \"json\" = \"{\\\"a\\\":1}\" expires "
	                 "4102444800 (2100-01-01T00:00:00Z)\n");
	assert_has(text, "    4 text \"long\" = \"0123456789abcdef");
	assert_has(text, "abcdef\"... (83 bytes)\n");
	assert_has_not(text, "the end that is cut");
	free(text);

	text = dump_file(path, NEW_SST, &damages);
	assert_int_equal(damages, 0);
	assert_has(text, "2 entries, 1 of them tombstones");
	assert_has(text, "    5 tombstone \"apple\"\n");
	assert_has(text, "    6 text \"word\" = \"caf\\303\\251\"\n");
	free(text);
	tmpdir_free(path);
}

/* With --full nothing is cut. */
static void
test_dump_full_cuts_nothing(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	assert_int_equal(dump(path, true, &text), 0);
	assert_has(text, long_value);
	assert_has_not(text, "bytes)\n");
	free(text);
	tmpdir_free(path);
}

/* A segment of the log shows its header, records and where it ends. */
static void
test_dump_shows_a_log(void **state)
{
	char *path = make_store(), *text;
	uint64_t damages;

	(void)state;
	text = dump_file(path, LOG_1, &damages);
	assert_int_equal(damages, 0);
	assert_has(text, "segment 4, first version 7, always sync\n");
	assert_has(text, "  record at 512: 2 entries, ");
	assert_has(text, "    7 text \"first\" = \"logged\"\n");
	assert_has(text, "    8 text \"second\" = \"in the same batch\"\n");
	assert_has(text, "    9 text \"third\" = \"in the next one\"\n");
	assert_has(text, "2 records, 3 entries\n");
	free(text);
	tmpdir_free(path);
}

/* All files of a store in one go, and a file that is none is told. */
static void
test_dump_shows_all_of_a_store(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	tmpdir_write(path, "notes.txt", "mine", 4);
	assert_int_equal(dump(path, false, &text), 0);
	assert_has(text, "MANIFEST\n  format version 1\n  generation 3\n"
	                 "  next file 5\n  last version 6\n"
	                 "  oldest WAL segment 000004.wal\n  2 files\n");
	assert_has(text, "  level 0 000003.sst\n");
	assert_has(text, "  level 1 000002.sst\n");
	assert_has(text, "\"third\" = ");
	assert_has(text, "\"word\" = ");
	assert_has(text, "\"apple\" = ");
	assert_has(text, "notes.txt\n  not a file of the store\n");
	free(text);
	tmpdir_free(path);
}

/* A damaged file is told as such, and those behind it are still shown. */
static void
test_dump_goes_on_behind_damage(void **state)
{
	char *path = make_store(), *text = NULL;

	(void)state;
	tmpdir_flip(path, NAME_MANIFEST, 12, 1);
	tmpdir_flip(path, OLD_SST, 20, 1);
	assert_int_equal(dump(path, false, &text), 2);
	assert_true(names_damage(text, NAME_MANIFEST));
	assert_true(names_damage(text, OLD_SST));
	assert_has(text, "    6 text \"word\"");
	assert_has(text, "    9 text \"third\"");
	free(text);
	tmpdir_free(path);
}

/* Only its name tells what a file is. */
static void
test_dump_wants_a_name_that_it_knows(void **state)
{
	const struct cli_options options = { 0 };
	char *path = make_store(), file[4096];
	struct err err = ERR_INIT;
	uint64_t damages;

	(void)state;
	tmpdir_write(path, "notes.txt", "mine", 4);
	snprintf(file, sizeof(file), "%s/notes.txt", path);
	assert_int_equal(cli_dump(file, &options, stdout, &damages, &err),
	                 LSMKV_EINVAL);
	snprintf(file, sizeof(file), "%s/000077.sst", path);
	assert_int_equal(cli_dump(file, &options, stdout, &damages, &err),
	                 LSMKV_EINVAL);
	assert_has(err.message, "no such file");
	tmpdir_free(path);
}

/* ---- stat ---- */

/* The sums of each level are those of its files; the log is counted. */
static void
test_stat_tells_the_tree(void **state)
{
	const struct cli_options options = { .exact = true };
	char *path = make_store(), *text = NULL, row[160];
	struct err err = ERR_INIT;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	uint64_t raw = 0;

	(void)state;
	assert_int_equal(cli_stat(path, &options, out, &err), 0);
	fclose(out);
	for (size_t i = 0; i < COUNT(old_entries); i++)
		raw += old_entries[i].key.len + old_entries[i].value.len;
	snprintf(row, sizeof(row),
	         "1      %7d %12" PRIu64 " %12d %11d %12" PRIu64, 1,
	         tmpdir_size(path, OLD_SST), 4, 0, raw);
	assert_has(text, row);
	snprintf(row, sizeof(row), "0      %7d %12" PRIu64 " %12d %11d", 1,
	         tmpdir_size(path, NEW_SST), 2, 1);
	assert_has(text, row);
	snprintf(row, sizeof(row), "all    %7d %12" PRIu64 " %12d %11d", 2,
	         tmpdir_size(path, OLD_SST) + tmpdir_size(path, NEW_SST), 6, 1);
	assert_has(text, row);
	assert_has(text, "last version 6,");
	assert_has(text, "0      5..6\n");
	assert_has(text, "1      1..4\n");
	assert_has(text, "2 records, 3 entries, versions 7..9");
	assert_has(text, "newest version 9");
	free(text);
	tmpdir_free(path);
}

/* ---- beside a running store ---- */

struct churn {
	struct store *store;
	_Atomic bool stop;
	pthread_t thread;
};

/* Writes and deletes as fast as it can, with flushes and compactions. */
static void *
churn_main(void *arg)
{
	struct churn *c = arg;
	char key[32], value[300];

	memset(value, 'v', sizeof(value));
	for (unsigned i = 0; !atomic_load(&c->stop); i++) {
		struct op op = { .kind = i % 3 ? ENTRY_BYTES
			                       : ENTRY_TOMBSTONE };
		int len = snprintf(key, sizeof(key), "key %u", i * 7919 % 997);
		int rc;

		op.key = slice_make(key, (size_t)len);
		if (op.kind != ENTRY_TOMBSTONE)
			op.value = slice_make(value, i % sizeof(value));
		rc = store_write(c->store, &op, 1, NULL, NULL);
		assert_true(rc == 0 || rc == LSMKV_ESTALLED);
	}
	return NULL;
}

/*
 * All three look at a store that is being written to, whose files come and go
 * meanwhile, and none of them takes that for damage.
 */
static void
test_a_running_store_is_not_damaged(void **state)
{
	const struct cli_options options = { 0 };
	char *path = tmpdir_new(), *text = NULL;
	struct store_options store_options;
	struct store_stat stat;
	struct churn churn = { 0 };
	struct err err = ERR_INIT;
	size_t len;

	(void)state;
	store_options_init(&store_options);
	store_options.sync = SYNC_NONE;
	store_options.memtable_bytes = 16 << 10;
	store_options.compactor.level1_bytes = 32 << 10;
	store_options.compactor.file_bytes = 8 << 10;
	store_options.compactor.level0_files = 2;
	if (store_open(&churn.store, path, &store_options, &err))
		fail_msg("%s", err.message);
	assert_int_equal(
		pthread_create(&churn.thread, NULL, churn_main, &churn), 0);
	/* As long as it takes for files to come and go. */
	for (unsigned i = 0; i < 20 || stat.compactor.jobs < 3; i++) {
		uint64_t damages = verify(path, &text);
		FILE *out;

		if (damages)
			fail_msg("%s", text);
		free(text);
		if (dump(path, false, &text))
			fail_msg("%s", text);
		free(text);
		out = open_memstream(&text, &len);
		if (cli_stat(path, &options, out, &err))
			fail_msg("%s", err.message);
		fclose(out);
		free(text);
		store_get_stat(churn.store, &stat);
	}
	atomic_store(&churn.stop, true);
	pthread_join(churn.thread, NULL);
	assert_int_equal(store_close(churn.store, &err), 0);
	if (verify(path, &text))
		fail_msg("%s", text);
	free(text);
	tmpdir_free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verify_is_content_with_a_sound_store),
		cmocka_unit_test(test_verify_sees_each_byte_of_an_sst),
		cmocka_unit_test(test_verify_sees_each_byte_of_the_manifest),
		cmocka_unit_test(test_verify_sees_each_byte_of_the_log),
		cmocka_unit_test(test_verify_takes_a_torn_tail_for_what_it_is),
		cmocka_unit_test(test_verify_goes_on_to_find_all),
		cmocka_unit_test(test_verify_names_each_damaged_block),
		cmocka_unit_test(test_verify_misses_a_file),
		cmocka_unit_test(test_verify_measures_files),
		cmocka_unit_test(test_verify_tells_of_files_that_nobody_names),
		cmocka_unit_test(test_verify_checks_the_shape_of_the_tree),
		cmocka_unit_test(test_verify_checks_the_order_across_levels),
		cmocka_unit_test(test_no_store_is_an_error),
		cmocka_unit_test(test_dump_shows_an_sst),
		cmocka_unit_test(test_dump_full_cuts_nothing),
		cmocka_unit_test(test_dump_shows_a_log),
		cmocka_unit_test(test_dump_shows_all_of_a_store),
		cmocka_unit_test(test_dump_goes_on_behind_damage),
		cmocka_unit_test(test_dump_wants_a_name_that_it_knows),
		cmocka_unit_test(test_stat_tells_the_tree),
		cmocka_unit_test(test_a_running_store_is_not_damaged),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
