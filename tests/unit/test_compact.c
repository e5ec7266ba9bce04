/* SPDX-License-Identifier: ISC */
/* Unit tests of store/compact: real files in, real files out, in-process. */
#include "store/compact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/sst_make.h"
#include "lib/tmpdir.h"
#include "store/block_cache.h"

#define MOST 4000u
#define NOW 1000u
#define FIRST_OUTPUT 100u

static uint64_t seed = 31337;

static unsigned
any(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

struct fixture {
	char *path;
	struct fs_dir *dir;
	struct job job;
	struct job_result result;
	struct array_entry *in; /* everything that the inputs hold, sorted */
	size_t in_count;
	struct array_entry *out;
	size_t out_count;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&f->dir, f->path, false, NULL), 0);
	f->in = calloc(MOST, sizeof(*f->in));
	f->out = calloc(MOST, sizeof(*f->out));
	f->job.inputs = calloc(64, sizeof(*f->job.inputs));
	f->job.snapshots = calloc(8, sizeof(*f->job.snapshots));
	assert_true(f->in && f->out && f->job.inputs && f->job.snapshots);
	f->job.output_level = 1;
	f->job.first_output = FIRST_OUTPUT;
	f->job.output_count = 50;
	f->job.file_bytes = 2000;
	f->job.sst = sst_make_options;
	f->job.now = NOW;
	f->job.grandparent_limit = 10000;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	job_result_release(&f->result);
	job_release(&f->job);
	fs_dir_close(f->dir);
	tmpdir_free(f->path);
	free(f->in);
	free(f->out);
	free(f);
	return 0;
}

static void
add_input(struct fixture *f, unsigned level, struct array_entry *e,
          size_t count)
{
	struct job_input *input = &f->job.inputs[f->job.input_count];

	qsort(e, count, sizeof(*e), array_entry_order);
	input->level = level;
	sst_make(f->dir, ++f->job.input_count, e, count, &input->info);
	memcpy(f->in + f->in_count, e, count * sizeof(*e));
	f->in_count += count;
	assert_true(f->in_count <= MOST);
}

static void
make_entry(struct array_entry *e, unsigned key, uint64_t version)
{
	memset(e, 0, sizeof(*e));
	snprintf(e->key, sizeof(e->key), "key%04u", key);
	snprintf(e->value, sizeof(e->value), "value of version %u",
	         (unsigned)version);
	e->version = version;
	e->kind = (enum entry_kind)any(3);
	if (!any(4)) {
		e->kind = ENTRY_TOMBSTONE;
		e->value[0] = '\0';
	} else if (!any(4)) {
		e->expires = NOW + any(3) - 1;
	}
}

/* Versions from first on; level 0: random keys; below: a slice of the keys. */
static void
random_input(struct fixture *f, unsigned level, uint64_t first, unsigned key,
             unsigned keys, unsigned count)
{
	struct array_entry *e = calloc(count, sizeof(*e));

	assert_non_null(e);
	for (unsigned i = 0; i < count; i++)
		make_entry(&e[i], key + any(keys), first + i);
	add_input(f, level, e, count);
	free(e);
}

static int
run(struct fixture *f, struct err *err)
{
	qsort(f->in, f->in_count, sizeof(*f->in), array_entry_order);
	return compact_run(f->dir, &f->job, NULL, NULL, &f->result, err);
}

/* Reads what came out, and holds it against all the rules of an output. */
static void
read_outputs(struct fixture *f)
{
	struct job_result *r = &f->result;
	uint64_t retained = 0, extra = 0;

	f->out_count = 0;
	for (size_t i = 0; i < r->output_count; i++) {
		struct block_cache *cache = block_cache_new(1 << 20);
		struct err err = ERR_INIT;
		struct sst *t = NULL;
		size_t before = f->out_count;

		assert_non_null(cache);
		if (sst_open(&t, f->dir, &r->outputs[i].info, cache, &err) ||
		    sst_check(t, NULL, NULL, &err))
			fail_msg("%s", err.message);
		assert_true(r->outputs[i].info.number == FIRST_OUTPUT + i);
		f->out_count = sst_read_all(t, f->out, f->out_count, MOST);
		/* no key stands in two files */
		if (before)
			assert_true(strcmp(f->out[before - 1].key,
			                   f->out[before].key) < 0);
		retained += r->outputs[i].retained;
		sst_unref(t);
		block_cache_free(cache);
	}
	for (size_t i = 1; i < f->out_count; i++) {
		assert_true(array_entry_order(&f->out[i - 1], &f->out[i]) < 0);
		extra += !strcmp(f->out[i - 1].key, f->out[i].key);
	}
	assert_true(retained == extra);
	assert_true(r->entries_in == f->in_count);
	assert_true(r->entries_out == f->out_count);
	assert_true(r->entries_in ==
	            r->entries_out + r->shadowed + r->expired + r->tombstones);
	assert_int_equal(tmpdir_count(f->path),
	                 f->job.input_count + r->output_count);
}

/* What a reader at `snapshot` sees of key in e, or NULL. */
static const struct array_entry *
seen(const struct array_entry *e, size_t count, const char *key,
     uint64_t snapshot)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(e[i].key, key) != 0 || e[i].version > snapshot)
			continue;
		if (e[i].kind == ENTRY_TOMBSTONE ||
		    (e[i].expires && e[i].expires <= NOW))
			return NULL;
		return &e[i];
	}
	return NULL;
}

/* No reader, of then or of now, sees a difference in any key. */
static void
assert_same(const struct fixture *f, unsigned keys)
{
	for (unsigned k = 0; k < keys; k++)
		for (size_t s = 0; s <= f->job.snapshot_count; s++) {
			uint64_t at = s < f->job.snapshot_count
			                      ? f->job.snapshots[s]
			                      : VERSION_MAX;
			const struct array_entry *was, *is;
			char key[16];

			snprintf(key, sizeof(key), "key%04u", k);
			was = seen(f->in, f->in_count, key, at);
			is = seen(f->out, f->out_count, key, at);
			assert_int_equal(was == NULL, is == NULL);
			if (!was)
				continue;
			assert_true(was->version == is->version);
			assert_true(was->expires == is->expires);
			assert_int_equal(was->kind, is->kind);
			assert_string_equal(was->value, is->value);
		}
}

/*
 * Random files of three levels, merged under random snapshots: every reader
 * sees the same before and after, and nothing that could go stays.
 */
static void
test_model(void **state)
{
	enum { KEYS = 150 };
	size_t files = 0;

	for (unsigned round = 0; round < 25; round++) {
		struct fixture *f = *state;

		f->job.output_level = 2;
		f->job.file_bytes = 600;
		random_input(f, 0, 3000, 0, KEYS, 1 + any(300));
		random_input(f, 0, 2500, 0, KEYS, 1 + any(300));
		random_input(f, 0, 2000, any(KEYS / 2), KEYS / 2, 200);
		for (unsigned i = 0; i < 3; i++)
			random_input(f, 1, 1000 + 300 * i, i * KEYS / 3,
			             KEYS / 3, 1 + any(300));
		for (unsigned i = 0; i < 5; i++)
			random_input(f, 2, 1 + 200 * i, i * KEYS / 5, KEYS / 5,
			             1 + any(200));
		f->job.snapshot_count = any(4);
		for (size_t i = 0; i < f->job.snapshot_count; i++)
			f->job.snapshots[i] =
				(i ? f->job.snapshots[i - 1] : 0) + any(1200);
		assert_int_equal(run(f, NULL), 0);
		read_outputs(f);
		assert_same(f, KEYS);
		files += f->result.output_count;
		if (!f->job.snapshot_count)
			for (size_t i = 0; i < f->out_count; i++) {
				assert_true(f->out[i].kind != ENTRY_TOMBSTONE);
				assert_true(!f->out[i].expires ||
				            f->out[i].expires > NOW);
			}
		teardown(state);
		setup(state);
	}
	assert_true(files > 75);
}

/* An output is closed soon after its target size, not in the middle of a key. */
static void
test_file_size(void **state)
{
	struct fixture *f = *state;

	f->job.snapshot_count = 0;
	random_input(f, 0, 1000, 0, 900, 1500);
	random_input(f, 1, 1, 0, 900, 900);
	assert_int_equal(run(f, NULL), 0);
	read_outputs(f);
	assert_true(f->result.output_count > 3);
	for (size_t i = 0; i + 1 < f->result.output_count; i++)
		assert_true(f->result.outputs[i].info.size > 1500 &&
		            f->result.outputs[i].info.size < 4500);
}

/* With its last number a job goes on in one file, however large. */
static void
test_numbers_run_out(void **state)
{
	struct fixture *f = *state;

	f->job.output_count = 2;
	random_input(f, 0, 1000, 0, 900, 1500);
	assert_int_equal(run(f, NULL), 0);
	read_outputs(f);
	assert_int_equal(f->result.output_count, 2);
}

/* Where an output would overlap too much of the next level, it is cut. */
static void
test_grandparents(void **state)
{
	struct fixture *f = *state;
	struct array_entry e[100];

	for (unsigned i = 0; i < 100; i++) {
		make_entry(&e[i], i, i + 1);
		e[i].kind = ENTRY_TEXT;
		e[i].expires = 0;
	}
	add_input(f, 0, e, 100);
	f->job.file_bytes = 1 << 20;
	f->job.grandparents = calloc(10, sizeof(*f->job.grandparents));
	assert_non_null(f->job.grandparents);
	for (unsigned i = 0; i < 10; i++) {
		char key[16];

		/* up to key0009, key0019, ...; 4000 bytes each, 10000 allowed:
		   an output may pass two and is cut behind the third */
		snprintf(key, sizeof(key), "key%04u", i * 10 + 9);
		buf_set(&f->job.grandparents[i].largest, slice_str(key), NULL);
		f->job.grandparents[i].bytes = 4000;
		f->job.grandparent_count++;
	}
	assert_int_equal(run(f, NULL), 0);
	read_outputs(f);
	assert_int_equal(f->result.output_count, 4);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(f->result.outputs[i].info.entries, 30);
}

/*
 * A tombstone, or an expired value, stays while something older may hide below
 * it, the value as a tombstone; elsewhere it goes with what it hides.
 */
static void
test_deeper(void **state)
{
	struct fixture *f = *state;
	struct array_entry e[4];

	memset(e, 0, sizeof(e));
	for (unsigned i = 0; i < 4; i++) {
		snprintf(e[i].key, sizeof(e[i].key), "%c", 'a' + (int)i);
		e[i].version = 10 + i;
		e[i].kind = ENTRY_TOMBSTONE;
	}
	e[2].kind = e[3].kind = ENTRY_TEXT;
	e[2].expires = e[3].expires = NOW;
	strcpy(e[2].value, "old");
	strcpy(e[3].value, "old");
	add_input(f, 0, e, 4);
	f->job.deeper = calloc(2, sizeof(*f->job.deeper));
	assert_non_null(f->job.deeper);
	buf_set(&f->job.deeper[0].smallest, slice_str("aa"), NULL);
	buf_set(&f->job.deeper[0].largest, slice_str("b"), NULL);
	buf_set(&f->job.deeper[1].smallest, slice_str("d"), NULL);
	buf_set(&f->job.deeper[1].largest, slice_str("dd"), NULL);
	f->job.deeper_count = 2;
	assert_int_equal(run(f, NULL), 0);
	read_outputs(f);
	assert_int_equal(f->out_count, 2);
	assert_string_equal(f->out[0].key, "b");
	assert_string_equal(f->out[1].key, "d");
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(f->out[i].kind, ENTRY_TOMBSTONE);
		assert_string_equal(f->out[i].value, "");
		assert_true(f->out[i].expires == 0);
	}
	assert_true(f->out[1].version == 13);
	assert_true(f->result.tombstones == 1);
	assert_true(f->result.expired == 1);
	assert_true(f->result.outputs[0].info.tombstones == 2);
}

/* When nothing is left to keep, there is no output at all. */
static void
test_nothing_left(void **state)
{
	struct fixture *f = *state;
	struct array_entry e[50];

	for (unsigned level = 0; level < 2; level++) {
		for (unsigned i = 0; i < 50; i++) {
			make_entry(&e[i], i, (level ? 1 : 100) + i);
			e[i].expires = 0;
			e[i].kind = level ? ENTRY_TEXT : ENTRY_TOMBSTONE;
		}
		add_input(f, level, e, 50);
	}
	assert_int_equal(run(f, NULL), 0);
	read_outputs(f);
	assert_int_equal(f->result.output_count, 0);
	assert_true(f->result.tombstones == 50 && f->result.shadowed == 50);
}

/*
 * Any damaged byte of an input ends the job or changes nothing that is
 * read; never an output that differs, and on an error none at all.
 */
static void
test_damaged_input(void **state)
{
	struct fixture *f = *state;
	unsigned failed = 0, harmless = 0;
	uint64_t size;

	random_input(f, 0, 1000, 0, 100, 60);
	random_input(f, 1, 1, 0, 100, 60);
	size = tmpdir_size(f->path, "000001.sst");
	for (uint64_t at = 0; at < size; at += 3) {
		struct err err = ERR_INIT;
		int rc;

		tmpdir_flip(f->path, "000001.sst", at, 0x10);
		rc = run(f, &err);
		if (rc) {
			failed++;
			assert_true(rc == LSMKV_ECORRUPT ||
			            rc == LSMKV_EVERSION);
			assert_non_null(strstr(err.message, "000001.sst"));
			assert_int_equal(tmpdir_count(f->path), 2);
		} else {
			harmless++; /* the filter: a merge does not ask it */
			read_outputs(f);
			assert_same(f, 100);
		}
		for (size_t i = 0; i < f->result.output_count; i++) {
			char name[32];

			snprintf(name, sizeof(name), "%06u.sst",
			         FIRST_OUTPUT + (unsigned)i);
			tmpdir_remove(f->path, name);
		}
		job_result_release(&f->result);
		tmpdir_flip(f->path, "000001.sst", at, 0x10);
	}
	assert_true(failed > harmless);
}

static int
stop(void *arg, uint64_t done)
{
	(void)done;
	++*(unsigned *)arg;
	return 1;
}

/* Who is told to stop, stops, and leaves nothing behind. */
static void
test_stop(void **state)
{
	struct fixture *f = *state;
	unsigned calls = 0;

	random_input(f, 0, 1000, 0, 900, 3000);
	assert_int_equal(
		compact_run(f->dir, &f->job, stop, &calls, &f->result, NULL),
		LSMKV_ESHUTDOWN);
	assert_int_equal(calls, 1);
	assert_int_equal(f->result.output_count, 0);
	assert_int_equal(tmpdir_count(f->path), 1);
}

/* A missing input is an error, and so is an output that is there already. */
static void
test_files_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	random_input(f, 0, 1000, 0, 900, 500);
	tmpdir_write(f->path, "000101.sst.tmp", "x", 1);
	assert_true(run(f, &err) < 0);
	assert_false(tmpdir_has(f->path, "000100.sst"));
	tmpdir_remove(f->path, "000101.sst.tmp");
	tmpdir_remove(f->path, "000001.sst");
	assert_int_equal(run(f, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "000001.sst"));
	assert_int_equal(tmpdir_count(f->path), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_file_size),    TEST(test_numbers_run_out),
		TEST(test_grandparents), TEST(test_deeper),
		TEST(test_nothing_left), TEST(test_damaged_input),
		TEST(test_stop),         TEST(test_files_in_the_way),
		TEST(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
