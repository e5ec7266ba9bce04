/* SPDX-License-Identifier: ISC */
/*
 * Bit rot: every byte of every file of a small store flipped, and every file
 * cut off at every length; each time the store is opened, read through and
 * written to, and verify is asked.
 *
 * The rule: a right value, or an error that names file and offset; of the
 * WAL's end also what a crash leaves there: without its last batch. What a
 * cut takes off the end of the last WAL segment is gone in whole batches, the
 * last ones first, as if the machine had stopped earlier: nothing on the disk
 * tells one from the other (doc/format.md, "WAL").
 *
 * One bit of each byte is flipped, another one from byte to byte; with
 * LSMKV_ROT=all every bit, and all at once. Prints what came of how many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "cli/cli.h"
#include "lib/tmpdir.h"
#include "store/names.h"
#include "store/store.h"
#include "store/wal.h"

#define FILES_MAX 8u
#define KEYS 16u
#define BATCHES_MAX 40u
#define WAL_MARGIN 64u /* zeros kept behind the log's end */

/* ---- the store, and what it must say ---- */

struct file {
	char name[NAME_MAX_LEN];
	unsigned char *data; /* owned */
	size_t len;
	uint64_t number;
	enum name_kind kind;
};

struct record {
	uint64_t from, to; /* offsets of its first byte, and behind its last */
};

/* A WAL segment, and which batch is its first. */
struct segment {
	struct file *file;
	struct record records[BATCHES_MAX];
	size_t count;
	size_t first_batch;
};

static struct file files[FILES_MAX];
static size_t file_count;
static struct segment segments[2]; /* the log's, in order */

/* values[b][k] of key k behind batch b; NULL: it is not there. */
static const char *values[BATCHES_MAX][KEYS];
static size_t batches; /* that were written */
static struct store_options options;

static struct {
	unsigned flips, cuts;      /* cases */
	unsigned right;            /* opened; all values right */
	unsigned told;             /* opened; some reads told of damage */
	unsigned refused;          /* not opened, with file and offset */
	unsigned dropped;          /* opened without last batches */
	unsigned found, not_found; /* by verify */
} sums;

static char *
key_name(size_t k, char *out)
{
	sprintf(out, "key%02zu", k);
	return out;
}

/* ---- making it ---- */

/* Key k of the next batch gets value; NULL: it is deleted. */
static void
change(struct op *ops, size_t *count, size_t k, const char *value)
{
	static char names[KEYS][8];
	struct op op = { .key = slice_str(key_name(k, names[k])) };

	op.kind = value ? ENTRY_TEXT : ENTRY_TOMBSTONE;
	if (value)
		op.value = slice_str(value);
	values[batches][k] = value;
	ops[(*count)++] = op;
}

/* Begins a batch: the next state is that of the last one. */
static void
begin_batch(void)
{
	if (batches)
		memcpy(values[batches], values[batches - 1], sizeof(values[0]));
	assert_true(batches < BATCHES_MAX);
}

static void
write_batch(struct store *s, struct op *ops, size_t count)
{
	struct err err = ERR_INIT;

	if (store_write(s, ops, count, NULL, &err))
		fail_msg("%s", err.message);
	batches++;
}

static void
write_one(struct store *s, size_t k, const char *value)
{
	struct op op;
	size_t count = 0;

	begin_batch();
	change(&op, &count, k, value);
	write_batch(s, &op, count);
}

static void
write_three(struct store *s, size_t k, const char *a, const char *b)
{
	struct op ops[3];
	size_t count = 0;

	begin_batch();
	change(ops, &count, k, a);
	change(ops, &count, k + 1, NULL);
	change(ops, &count, k + 2, b);
	write_batch(s, ops, count);
}

static int
note_record(void *arg, const struct wal_record *r, struct err *err)
{
	struct segment *g = arg;

	(void)err;
	g->records[g->count].from = r->offset;
	g->records[g->count++].to = r->end;
	return 0;
}

/*
 * The WAL goes on in another segment, as when a memtable is sealed and not
 * flushed yet.
 */
static void
add_segment(struct fs_dir *dir, uint64_t number)
{
	struct wal_scan scan;
	struct wal_header header = { .segment = number + 1,
		                     .prev_segment = number };
	struct err err = ERR_INIT;
	struct wal *w = NULL;
	bool partial;

	assert_int_equal(wal_scan_segment(dir, number, NULL, NULL, &scan, &err),
	                 0);
	header.prev_end = scan.end;
	header.first_version = scan.last_version + 1;
	assert_int_equal(wal_create(&w, dir, &header, &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t version = header.first_version + i;
		struct entry e = { .version = version, .kind = ENTRY_TEXT };
		char name[8];

		begin_batch();
		e.key = slice_str(key_name(12 + i % 2, name));
		values[batches][12 + i % 2] = i ? "in the second" : "early";
		e.value = slice_str(values[batches][12 + i % 2]);
		batches++;
		assert_int_equal(wal_begin(w, version, &err), 0);
		assert_int_equal(wal_add(w, &e, &err), 0);
		assert_int_equal(wal_append(w, &partial, &err), 0);
		assert_int_equal(wal_sync(w, &err), 0);
	}
	wal_close(w);
}

static int
note_name(void *arg, const char *name)
{
	struct file *f = &files[file_count];

	f->kind = name_parse(name, &f->number);
	if (f->kind != NAME_IS_WAL && f->kind != NAME_IS_SST &&
	    f->kind != NAME_IS_MANIFEST)
		return 0;
	file_count++;
	assert_true(file_count < FILES_MAX);
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->data = tmpdir_read(arg, name, &f->len);
	return 0;
}

static int
make_store(void **state)
{
	char *path = tmpdir_new();
	struct fs_dir *dir = NULL;
	struct store *s = NULL;
	struct err err = ERR_INIT;
	uint64_t wal = 0;
	size_t in_wal;

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	store_options_init(&options);
	options.memory_bytes = 8u << 20;
	options.scrub_s = 0;
	options.compactor.helper = NULL;
	options.compactor.sst.block_bytes = 160;
	assert_int_equal(store_open(&s, path, &options, &err), 0);
	/* Old values below, new ones above them, the newest in the WAL. */
	for (size_t k = 0; k < 12; k++)
		write_one(s, k, "old, of the first file");
	assert_int_equal(store_compact(s, &err), 0);
	for (size_t k = 0; k < 12; k += 2)
		write_one(s, k, "newer, of the second file");
	write_one(s, 3, NULL);
	assert_int_equal(store_flush(s, &err), 0);
	in_wal = batches;
	write_one(s, 1, "a");
	write_three(s, 4, "replaced", "by a batch");
	write_one(s, 13, "only here");
	write_three(s, 8, "replaced again", "by another batch");
	assert_int_equal(store_close(s, &err), 0);

	assert_int_equal(fs_dir_open(&dir, path, false, &err), 0);
	assert_int_equal(fs_dir_list(dir, note_name, path, &err), 0);
	for (size_t i = 0; i < file_count; i++) {
		if (files[i].kind == NAME_IS_WAL && files[i].number > wal)
			wal = files[i].number;
		free(files[i].data);
	}
	file_count = 0;
	add_segment(dir, wal);
	assert_int_equal(fs_dir_list(dir, note_name, path, &err), 0);
	for (size_t i = 0; i < file_count; i++) {
		struct file *f = &files[i];
		struct wal_scan scan;
		struct segment *g;

		if (f->kind != NAME_IS_WAL)
			continue;
		assert_in_range(f->number, wal, wal + 1);
		g = &segments[f->number - wal];
		g->file = f;
		assert_int_equal(wal_scan_segment(dir, f->number, note_record,
		                                  g, &scan, &err),
		                 0);
		/* What is allocated behind the end tells nothing more. */
		f->len = (size_t)scan.end + WAL_MARGIN;
	}
	assert_true(segments[0].count == 4 && segments[1].count == 3);
	segments[0].first_batch = in_wal;
	segments[1].first_batch = in_wal + 4;
	fs_dir_close(dir);
	tmpdir_free(path);
	return 0;
}

static int
free_store(void **state)
{
	(void)state;
	for (size_t i = 0; i < file_count; i++)
		free(files[i].data);
	return 0;
}

/* ---- one case ---- */

/* The store with len bytes of f, and mask flipped in the one at offset. */
static char *
lay_out(const struct file *f, size_t len, size_t offset, unsigned char mask)
{
	char *path = tmpdir_new();

	for (size_t i = 0; i < file_count; i++)
		tmpdir_write(path, files[i].name, files[i].data,
		             &files[i] == f ? len : files[i].len);
	if (mask)
		tmpdir_flip(path, f->name, offset, mask);
	return path;
}

/* Does an error tell people where to look? */
static void
check_message(const struct file *f, const char *message)
{
	const char *at = strstr(message, " at ");

	if (!at)
		at = strstr(message, "offset ");
	if (!strstr(message, f->name) || !at ||
	    (!strpbrk(at, "0123456789") && !strstr(message, "missing")))
		fail_msg("%s is damaged, but: %s", f->name, message);
}

/* What a read gave, or that it told of damage. */
struct reading {
	const char *value[KEYS]; /* owned; NULL: not there */
	bool told[KEYS];
};

static void
read_keys(struct store *s, const struct file *f, struct reading *r)
{
	for (size_t k = 0; k < KEYS; k++) {
		struct buf value = BUF_INIT;
		struct entry_info info;
		struct err err = ERR_INIT;
		char name[8];
		int rc = store_get(s, slice_str(key_name(k, name)), 0, &value,
		                   &info, &err);

		if (!rc) {
			r->value[k] = strndup((char *)value.data, value.len);
			assert_int_equal(info.kind, ENTRY_TEXT);
		} else if (rc != LSMKV_NOTFOUND) {
			assert_int_equal(rc, LSMKV_ECORRUPT);
			check_message(f, err.message);
			r->told[k] = true;
		}
		buf_release(&value);
	}
}

static bool
same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* A scan gives the same state, up to where it tells of damage. */
static void
scan_keys(struct store *s, const struct file *f, const char *const *want,
          bool reverse)
{
	struct scan_range range = { .reverse = reverse };
	struct err err = ERR_INIT;
	struct scan *scan = NULL;
	struct entry e;
	size_t next = 0;
	char name[8];
	int rc = store_scan(s, &range, 0, &scan, &err);

	while (!rc && !(rc = scan_next(scan, &e, &err))) {
		size_t k;

		do {
			assert_true(next < KEYS);
			k = reverse ? KEYS - 1 - next : next;
			next++;
		} while (!want[k]);
		assert_true(slice_equal(e.key, slice_str(key_name(k, name))));
		assert_true(slice_equal(e.value, slice_str(want[k])));
	}
	if (rc == LSMKV_END) {
		for (; next < KEYS; next++)
			assert_null(want[reverse ? KEYS - 1 - next : next]);
	} else {
		assert_int_equal(rc, LSMKV_ECORRUPT);
		check_message(f, err.message);
	}
	scan_close(scan);
}

/* New writes are taken, and read back, whatever is wrong elsewhere. */
static void
check_writing(struct store *s)
{
	struct op op = { .key = slice_str("new"),
		         .value = slice_str("value"),
		         .kind = ENTRY_TEXT };
	struct buf value = BUF_INIT;
	struct entry_info info;
	struct err err = ERR_INIT;

	if (store_write(s, &op, 1, NULL, &err) ||
	    store_get(s, op.key, 0, &value, &info, &err))
		fail_msg("%s", err.message);
	assert_true(slice_equal(buf_slice(&value), op.value));
	buf_release(&value);
}

enum outcome { REFUSED, OPENED };

/*
 * Opens the store in path and holds all that it says against the states
 * behind batches first..last; *behind is the one that it is in.
 */
static enum outcome
try_store(const char *path, const struct file *f, size_t first, size_t last,
          size_t *behind)
{
	struct reading r = { .told = { false } };
	struct err err = ERR_INIT;
	struct store *s = NULL;
	size_t state = last + 1;
	bool told = false;
	int rc = store_open(&s, path, &options, &err);

	if (rc) {
		assert_true(rc == LSMKV_ECORRUPT || rc == LSMKV_EVERSION);
		check_message(f, err.message);
		sums.refused++;
		return REFUSED;
	}
	read_keys(s, f, &r);
	while (state > first) {
		size_t k = 0;

		state--;
		while (k < KEYS &&
		       (r.told[k] || same(r.value[k], values[state][k])))
			k++;
		if (k == KEYS)
			break;
		if (state == first)
			fail_msg("%s: key%02zu is wrong: %s", f->name, k,
			         r.value[k] ? r.value[k] : "not there");
	}
	scan_keys(s, f, values[state], false);
	scan_keys(s, f, values[state], true);
	check_writing(s);
	assert_int_equal(store_close(s, &err), 0);
	for (size_t k = 0; k < KEYS; k++) {
		told = told || r.told[k];
		free((char *)r.value[k]);
	}
	if (told)
		sums.told++;
	else if (state == batches - 1)
		sums.right++;
	else
		sums.dropped++;
	*behind = state;
	return OPENED;
}

/* Does verify find damage, naming the file? */
static bool
verify_finds(const char *path, const struct file *f)
{
	struct cli_options cli = { .full = false };
	struct err err = ERR_INIT;
	uint64_t damages = 0;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	if (cli_verify(path, &cli, out, &damages, &err))
		fail_msg("%s", err.message);
	fclose(out);
	if (damages)
		check_message(f, text);
	free(text);
	if (damages)
		sums.found++;
	else
		sums.not_found++;
	return damages > 0;
}

/* ---- all cases of a file ---- */

static const unsigned char *
masks(size_t offset, size_t *count)
{
	static const unsigned char all[] = { 1, 2, 4, 8, 16, 32, 64, 128, 255 };
	const char *rot = getenv("LSMKV_ROT");

	*count = rot && !strcmp(rot, "all") ? sizeof(all) : 1;
	return *count > 1 ? all : &all[offset % 8];
}

static void
print_sums(const char *what)
{
	print_message("%s: %u flips, %u cuts: %u refused, %u told on reading, "
	              "%u right, %u without last batches; verify finds %u, "
	              "not %u\n",
	              what, sums.flips, sums.cuts, sums.refused, sums.told,
	              sums.right, sums.dropped, sums.found, sums.not_found);
	memset(&sums, 0, sizeof(sums));
}

/*
 * No flip and no cut of a file that is covered by checksums goes unnoticed
 * by verify, and none changes a value. With `refuses`, none is opened.
 */
static void
rot_covered_file(const struct file *f, bool refuses)
{
	const size_t all = batches - 1;
	size_t count, behind;

	for (size_t offset = 0; offset < f->len; offset++) {
		const unsigned char *mask = masks(offset, &count);

		for (size_t i = 0; i < count; i++) {
			char *path = lay_out(f, f->len, offset, mask[i]);

			sums.flips++;
			if (!verify_finds(path, f))
				fail_msg("%s: verify does not see offset %zu",
				         f->name, offset);
			if (try_store(path, f, all, all, &behind) == OPENED)
				assert_false(refuses);
			tmpdir_free(path);
		}
	}
	for (size_t len = 0; len < f->len; len++) {
		char *path = lay_out(f, len, 0, 0);

		sums.cuts++;
		assert_true(verify_finds(path, f));
		assert_int_equal(try_store(path, f, all, all, &behind),
		                 REFUSED);
		tmpdir_free(path);
	}
}

/* As it is, the store is whole: what follows is not all the same damage. */
static void
test_whole(void **state)
{
	char *path = lay_out(NULL, 0, 0, 0);
	size_t behind;

	(void)state;
	assert_false(verify_finds(path, &files[0]));
	assert_int_equal(try_store(path, &files[0], 0, batches - 1, &behind),
	                 OPENED);
	assert_int_equal(behind, batches - 1);
	tmpdir_free(path);
	memset(&sums, 0, sizeof(sums));
}

/* A damaged MANIFEST is never taken for the truth. */
static void
test_manifest(void **state)
{
	(void)state;
	for (size_t i = 0; i < file_count; i++)
		if (files[i].kind == NAME_IS_MANIFEST)
			rot_covered_file(&files[i], true);
	assert_true(sums.flips > 100 && sums.refused == sums.found);
	print_sums("MANIFEST");
}

/* Damage in an SST is told of, and never answered from older files. */
static void
test_sst(void **state)
{
	unsigned count = 0;

	(void)state;
	for (size_t i = 0; i < file_count; i++)
		if (files[i].kind == NAME_IS_SST) {
			rot_covered_file(&files[i], false);
			count++;
		}
	assert_int_equal(count, 2);
	assert_true(sums.told > 100 && sums.right > 0);
	print_sums("SST");
}

/*
 * A compaction that meets damage says so and keeps its inputs: what could be
 * read before can be read after.
 */
static void
test_compaction(void **state)
{
	unsigned met = 0;

	(void)state;
	for (size_t i = 0; i < file_count; i++) {
		const struct file *f = &files[i];
		struct err err = ERR_INIT;
		struct store *s = NULL;
		size_t behind;
		char *path;
		int rc;

		if (f->kind != NAME_IS_SST)
			continue;
		path = lay_out(f, f->len, 40, 4); /* in the first block */
		assert_int_equal(store_open(&s, path, &options, &err), 0);
		rc = store_compact(s, &err);
		assert_int_equal(rc, LSMKV_ECORRUPT);
		check_message(f, err.message);
		assert_int_equal(store_close(s, &err), 0);
		assert_true(tmpdir_has(path, f->name));
		assert_true(verify_finds(path, f));
		assert_int_equal(
			try_store(path, f, batches - 1, batches - 1, &behind),
			OPENED);
		met++;
		memset(&sums, 0, sizeof(sums));
		tmpdir_free(path);
	}
	assert_int_equal(met, 2);
}

/* Nothing is destroyed where a store is refused: mended, it is whole. */
static void
test_refusal_destroys_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < file_count; i++) {
		struct file *f = &files[i];
		char *path = lay_out(f, f->len, 9, 1);
		size_t behind, len;
		unsigned char *data;

		if (try_store(path, f, batches - 1, batches - 1, &behind) ==
		    REFUSED) {
			for (size_t j = 0; j < file_count; j++) {
				data = tmpdir_read(path, files[j].name, &len);
				if (f == &files[j])
					data[9] ^= 1;
				assert_int_equal(len, files[j].len);
				assert_memory_equal(data, files[j].data, len);
				free(data);
			}
			tmpdir_flip(path, f->name, 9, 1);
			assert_int_equal(try_store(path, f, batches - 1,
			                           batches - 1, &behind),
			                 OPENED);
		}
		tmpdir_free(path);
	}
	memset(&sums, 0, sizeof(sums));
}

/* What a byte of the log is. */
enum byte_kind {
	BYTE_PROVEN, /* of the header, or of a record that others follow */
	BYTE_LAST,   /* of the last record: a crash may have torn it */
	BYTE_FREE,   /* behind the records */
};

static enum byte_kind
kind_of_byte(const struct segment *g, size_t offset)
{
	if (offset < WAL_HEADER_BYTES)
		return BYTE_PROVEN;
	for (size_t i = 0; i < g->count; i++)
		if (offset >= g->records[i].from && offset < g->records[i].to)
			return g == &segments[1] && i + 1 == g->count
			               ? BYTE_LAST
			               : BYTE_PROVEN;
	return BYTE_FREE;
}

static void
flip_wal(const struct segment *g, size_t offset, unsigned char mask)
{
	const struct file *f = g->file;
	const size_t all = batches - 1;
	char *path = lay_out(f, f->len, offset, mask);
	bool found = verify_finds(path, f);
	size_t behind = SIZE_MAX;
	enum outcome outcome = try_store(path, f, all - 1, all, &behind);

	sums.flips++;
	switch (kind_of_byte(g, offset)) {
	case BYTE_PROVEN:
		if (outcome != REFUSED || !found)
			fail_msg("%s: offset %zu: a flip goes unnoticed",
			         f->name, offset);
		break;
	case BYTE_LAST:
		assert_true(outcome == OPENED && behind == all - 1 && !found);
		break;
	case BYTE_FREE:
		assert_true(outcome == OPENED && behind == all && !found);
		break;
	}
	tmpdir_free(path);
}

/*
 * Which bytes of the log may be flipped without an error is known to the
 * byte: those behind the records, which nobody reads, and those of the last
 * record, which is then dropped whole.
 */
static void
test_wal_flips(void **state)
{
	unsigned kinds[3] = { 0 };
	size_t count;

	(void)state;
	for (size_t s = 0; s < 2; s++)
		for (size_t offset = 0; offset < segments[s].file->len;
		     offset++) {
			const unsigned char *mask = masks(offset, &count);

			kinds[kind_of_byte(&segments[s], offset)]++;
			for (size_t i = 0; i < count; i++)
				flip_wal(&segments[s], offset, mask[i]);
		}
	assert_true(kinds[BYTE_PROVEN] > 400 && kinds[BYTE_LAST] > 20);
	print_message("WAL: of %u bytes %u are proven, %u of the last record, "
	              "%u unused\n",
	              kinds[0] + kinds[1] + kinds[2], kinds[BYTE_PROVEN],
	              kinds[BYTE_LAST], kinds[BYTE_FREE]);
	print_sums("WAL");
}

/*
 * A log that is cut off before its last segment is refused; in its last one,
 * exactly the batches that are not whole any more are gone.
 */
static void
test_wal_cuts(void **state)
{
	const size_t all = batches - 1;

	(void)state;
	for (size_t s = 0; s < 2; s++) {
		const struct segment *g = &segments[s];

		for (size_t len = 0; len < g->file->len; len++) {
			char *path = lay_out(g->file, len, 0, 0);
			size_t behind, whole = 0;
			enum outcome outcome;

			sums.cuts++;
			while (whole < g->count && g->records[whole].to <= len)
				whole++;
			if (!s && whole < g->count) {
				if (!verify_finds(path, g->file))
					fail_msg("%s: verify does not see "
					         "that it ends at %zu",
					         g->file->name, len);
				outcome = try_store(path, g->file, all, all,
				                    &behind);
				assert_int_equal(outcome, REFUSED);
			} else {
				size_t want = g->first_batch + whole - 1;

				if (!s)
					want = all;
				if (verify_finds(path, g->file))
					fail_msg("%s: verify calls the "
					         "end at %zu damage",
					         g->file->name, len);
				outcome = try_store(path, g->file, want, want,
				                    &behind);
				assert_int_equal(outcome, OPENED);
			}
			tmpdir_free(path);
		}
	}
	print_sums("WAL");
}

/* A log behind which a file went missing is not taken for a shorter one. */
static void
test_missing_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < file_count; i++) {
		const struct file *f = &files[i];
		char *path = lay_out(NULL, 0, 0, 0);
		struct err err = ERR_INIT;
		struct store *s = NULL;

		tmpdir_remove(path, f->name);
		if (f != segments[1].file) {
			assert_int_equal(store_open(&s, path, &options, &err),
			                 LSMKV_ECORRUPT);
			assert_non_null(strstr(err.message, f->name));
			assert_null(s);
		}
		tmpdir_free(path);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_sst),
		cmocka_unit_test(test_compaction),
		cmocka_unit_test(test_refusal_destroys_nothing),
		cmocka_unit_test(test_wal_flips),
		cmocka_unit_test(test_wal_cuts),
		cmocka_unit_test(test_missing_files),
	};

	/* Thousands of stores: in memory, where there is some. */
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 0);
	return cmocka_run_group_tests(tests, make_store, free_store);
}
