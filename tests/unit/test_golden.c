/* SPDX-License-Identifier: ISC */
/*
 * The golden stores: one for each version of the format, written by the
 * program that first wrote that version (tests/golden/make_golden.c tells
 * how), which every later program must open and read to the last byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBBSD_NETBSD_VIS
#include <bsd/vis.h>

#include "base/log.h"
#include "cli/cli.h"
#include "lib/tmpdir.h"
#include "store/manifest.h"
#include "store/names.h"
#include "store/sst_parts.h"
#include "store/sst_seal.h"
#include "store/store.h"
#include "store/wal.h"

#define FIELDS 5

/* Which golden store has which versions of the formats. */
static struct golden {
	const char *name;
	uint32_t sst, wal;
} goldens[] = {
	{ "v1", 1, 1 }, { "v2", 2, 1 }, { "v3", 2, 2 },
	{ "v4", 3, 2 }, { "v5", 4, 2 },
};

/* One line of the expected content, decoded. */
struct expected {
	char *key, *value; /* owned */
	size_t key_len, value_len;
	struct entry_info info;
};

struct content {
	struct expected *entries; /* owned, in the order of keys */
	size_t count;
};

static char *
source_path(const char *name)
{
	const char *top = getenv("LSMKV_SRCDIR");
	char *path = NULL;

	assert_true(asprintf(&path, "%s/tests/golden/%s", top ? top : ".",
	                     name) > 0);
	return path;
}

static char *
unescape(const char *text, size_t *len)
{
	char *out = malloc(strlen(text) + 1);
	int n;

	assert_non_null(out);
	n = strunvis(out, text);
	assert_true(n >= 0);
	*len = (size_t)n;
	return out;
}

static enum entry_kind
kind_of(const char *word)
{
	if (!strcmp(word, "text"))
		return ENTRY_TEXT;
	if (!strcmp(word, "json"))
		return ENTRY_JSON;
	assert_string_equal(word, "bytes");
	return ENTRY_BYTES;
}

static struct content
read_content(const char *version)
{
	struct content c = { NULL, 0 };
	char name[16], *path, *line = NULL;
	size_t cap = 0;
	FILE *in;

	snprintf(name, sizeof(name), "%s.txt", version);
	path = source_path(name);
	in = fopen(path, "r");

	if (!in)
		fail_msg("%s cannot be read", path);
	while (getline(&line, &cap, in) > 0) {
		char *rest = line, *field[FIELDS];
		struct expected *e;

		line[strcspn(line, "\n")] = '\0';
		for (unsigned i = 0; i < FIELDS; i++) {
			field[i] = strsep(&rest, "\t");
			assert_non_null(field[i]);
		}
		c.entries = reallocarray(c.entries, c.count + 1,
		                         sizeof(*c.entries));
		assert_non_null(c.entries);
		e = &c.entries[c.count++];
		e->key = unescape(field[0], &e->key_len);
		e->info.kind = kind_of(field[1]);
		e->info.expires = strtoull(field[2], NULL, 10);
		e->info.version = strtoull(field[3], NULL, 10);
		e->value = unescape(field[4], &e->value_len);
	}
	free(line);
	fclose(in);
	free(path);
	return c;
}

static void
content_release(struct content *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->entries[i].key);
		free(c->entries[i].value);
	}
	free(c->entries);
}

static void
assert_same(const struct expected *want, struct slice value,
            const struct entry_info *info)
{
	assert_int_equal(info->kind, want->info.kind);
	assert_int_equal(info->expires, want->info.expires);
	assert_int_equal(info->version, want->info.version);
	assert_int_equal(value.len, want->value_len);
	assert_memory_equal(value.data, want->value, value.len);
}

/* All that is expected, by key and by scan, and nothing else. */
static void
assert_content(struct store *s, const struct content *c)
{
	const struct scan_range everything = { 0 };
	struct buf value = BUF_INIT;
	struct scan *scan = NULL;
	struct entry e;

	assert_int_equal(store_scan(s, &everything, 0, &scan, NULL), 0);
	for (size_t i = 0; i < c->count; i++) {
		const struct expected *want = &c->entries[i];
		struct slice key = slice_make(want->key, want->key_len);
		struct entry_info info;

		assert_int_equal(store_get(s, key, 0, &value, &info, NULL), 0);
		assert_same(want, buf_slice(&value), &info);

		assert_int_equal(scan_next(scan, &e, NULL), 0);
		assert_true(slice_equal(e.key, key));
		info = (struct entry_info){ .version = e.version,
			                    .expires = e.expires,
			                    .kind = e.kind };
		assert_same(want, e.value, &info);
	}
	assert_int_equal(scan_next(scan, &e, NULL), LSMKV_END);
	scan_close(scan);
	buf_release(&value);
}

static void
assert_verifies(const char *path)
{
	const struct cli_options options = { 0 };
	struct err err = ERR_INIT;
	uint64_t damages = 99;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(cli_verify(path, &options, out, &damages, &err), 0);
	fclose(out);
	if (damages)
		fail_msg("%s", text);
	free(text);
}

/* What there is in the SSTs of a store. */
struct ways {
	bool way[4];          /* deflated (1) and packed (2) */
	unsigned char *file;  /* under way; owned */
	struct sst_info info; /* of it */
	bool several;         /* parts in a block */
	bool refers, stands;  /* parts that do to the first, and do not */
	unsigned common, own; /* streams with a common code, and others */
};

/* Looks at the parts of a block. */
static void
note_parts(struct ways *w, const struct sst_block_info *b)
{
	struct sst_columns front;
	struct sst_packed keys;
	struct sst_parts parts;
	struct sst_sealed s;
	size_t bytes;

	assert_int_equal(
		sst_seal_open("golden", w->info.number, b->offset, "block",
	                      slice_make(w->file + b->offset, b->stored), &s,
	                      NULL),
		0);
	bytes = sst_front_open(&front, &keys, s.payload, b->entries, SIZE_MAX);
	assert_true(bytes > 0);
	assert_true(sst_parts_open(&parts, slice_make(s.payload.data + bytes,
	                                              s.payload.len - bytes)) >
	            0);
	w->several |= parts.count > 3;
	w->common += parts.common;
	w->own += !parts.common;
	for (uint32_t i = 1; i < parts.count; i++)
		if (sst_column_number(&parts.column, i) & 1)
			w->refers = true;
		else
			w->stands = true;
}

static int
note_block(void *arg, const struct sst_block_info *b)
{
	struct ways *w = (struct ways *)arg;

	w->way[(b->packed ? 2 : 0) + (b->deflated ? 1 : 0)] = true;
	if (b->parts)
		note_parts(w, b);
	return 0;
}

/*
 * Each golden store is worth something: SSTs of its version in levels 0 to 2,
 * with blocks stored in every way that it knows, records in a log of its
 * version, and entries of all kinds.
 */
static void
test_golden_has_everything(void **state)
{
	const struct golden *g = *state;
	char *golden = source_path(g->name);
	struct manifest m = MANIFEST_INIT;
	struct wal_replay_result log;
	struct fs_dir *dir = NULL;
	struct content c = read_content(g->name);
	struct wal_scan scan;
	uint64_t tombstones = 0, expiring = 0;
	struct ways ways = { .several = false };
	unsigned levels = 0, kinds = 0;

	assert_int_equal(fs_dir_open(&dir, golden, false, NULL), 0);
	assert_int_equal(manifest_load(dir, &m, NULL), 0);
	for (size_t i = 0; i < m.file_count; i++) {
		char name[NAME_MAX_LEN];
		struct sst *t;
		size_t len;

		ways.info = m.files[i].info;
		ways.file = tmpdir_read(golden,
		                        name_sst(ways.info.number, name), &len);
		assert_int_equal(sst_open(&t, dir, &ways.info, NULL, NULL), 0);
		assert_int_equal(sst_format_version(t), g->sst);
		assert_int_equal(sst_blocks(t, note_block, &ways, NULL), 0);
		sst_unref(t);
		free(ways.file);
		levels |= 1u << m.files[i].level;
		tombstones += m.files[i].info.tombstones;
		expiring += m.files[i].info.min_expires != 0;
	}
	assert_int_equal(levels & 7u, 7u);
	for (unsigned way = 0; way < 4; way++)
		assert_int_equal(ways.way[way], way < 2 || g->sst > 2);
	assert_int_equal(ways.several, g->sst > 3);
	assert_int_equal(ways.refers, g->sst > 3);
	assert_int_equal(ways.stands, g->sst > 3);
	assert_int_equal(ways.common > 1, g->sst > 3);
	assert_int_equal(ways.own > 1, g->sst > 3);
	assert_true(tombstones > 0);
	assert_true(expiring > 0);
	assert_int_equal(wal_replay(dir, m.wal_oldest, NULL, NULL, &log, NULL),
	                 0);
	assert_true(log.records >= 10);
	assert_int_equal(
		wal_scan_segment(dir, m.wal_oldest, NULL, NULL, &scan, NULL),
		0);
	assert_int_equal(scan.format, g->wal);
	assert_true(log.last_version > m.last_version);
	for (size_t i = 0; i < c.count; i++)
		kinds |= 1u << c.entries[i].info.kind;
	assert_int_equal(kinds, 7u);
	content_release(&c);
	manifest_release(&m);
	fs_dir_close(dir);
	free(golden);
}

/* A store of an older format opens and gives back every entry, for ever. */
static void
test_golden_opens(void **state)
{
	const struct golden *g = *state;
	char *golden = source_path(g->name), *path = tmpdir_copy(golden);
	struct content c = read_content(g->name);
	struct store_options options;
	struct store *s = NULL;
	struct err err = ERR_INIT;

	assert_true(c.count > 100);
	assert_verifies(path);
	store_options_init(&options);
	if (store_open(&s, path, &options, &err))
		fail_msg("%s", err.message);
	assert_content(s, &c);
	/* And once more when all of it has been written anew. */
	if (store_compact(s, &err))
		fail_msg("%s", err.message);
	assert_content(s, &c);
	assert_int_equal(store_close(s, &err), 0);
	assert_verifies(path);
	if (store_open(&s, path, &options, &err))
		fail_msg("%s", err.message);
	assert_content(s, &c);
	assert_int_equal(store_close(s, &err), 0);
	content_release(&c);
	tmpdir_free(path);
	free(golden);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_golden_has_everything,
		                          &goldens[0]),
		cmocka_unit_test_prestate(test_golden_opens, &goldens[0]),
		cmocka_unit_test_prestate(test_golden_has_everything,
		                          &goldens[1]),
		cmocka_unit_test_prestate(test_golden_opens, &goldens[1]),
		cmocka_unit_test_prestate(test_golden_has_everything,
		                          &goldens[2]),
		cmocka_unit_test_prestate(test_golden_opens, &goldens[2]),
		cmocka_unit_test_prestate(test_golden_has_everything,
		                          &goldens[3]),
		cmocka_unit_test_prestate(test_golden_opens, &goldens[3]),
		cmocka_unit_test_prestate(test_golden_has_everything,
		                          &goldens[4]),
		cmocka_unit_test_prestate(test_golden_opens, &goldens[4]),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
