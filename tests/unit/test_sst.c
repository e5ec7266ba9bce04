/* SPDX-License-Identifier: ISC */
/*
 * SSTs, written and read back, against a sorted array that knows better; and
 * damaged in every byte: then an error that names the file, never a wrong
 * value.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "lib/sst_file.h"
#include "store/bloom.h"
#include "store/names.h"
#include "store/sst_columns.h"
#include "store/sst_format.h"

/* ---- the array that knows better ---- */

static unsigned short seed[3];

static size_t
below(size_t n)
{
	return (size_t)nrand48(seed) % n;
}

/* Half of it deflates well, as real values do. */
static struct slice
random_value(size_t len)
{
	unsigned char *to = (unsigned char *)malloc(len + !len);

	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)(i % 32 < 16 ? below(256) : 'v');
	return slice_make(to, len);
}

/* Keys of many shapes: numbers, paths with long beginnings, raw bytes. */
static struct slice
random_key(void)
{
	unsigned char key[400];
	size_t len;

	switch (below(5)) {
	case 0:
		len = (size_t)snprintf((char *)key, sizeof(key), "user:%08zu",
		                       below(1000000));
		break;
	case 1:
		len = (size_t)snprintf((char *)key, sizeof(key),
		                       "user:00000000:%zu", below(100000));
		break;
	case 2:
		len = 1 + below(4);
		for (size_t i = 0; i < len; i++)
			key[i] = (unsigned char)(below(2) ? below(3) : 0xff);
		break;
	case 3:
		len = 1 + below(300);
		memset(key, 'p', sizeof(key));
		key[len - 1] = (unsigned char)below(256);
		break;
	default:
		len = 8 + below(12);
		for (size_t i = 0; i < len; i++)
			key[i] = (unsigned char)below(256);
	}
	return copy(key, len);
}

static void
model_add(struct model *m, struct slice key, uint64_t version)
{
	struct entry *e = &m->entry[m->count++];

	*e = (struct entry){ key, { NULL, 0 }, version, 0, ENTRY_TEXT };
	e->kind = (enum entry_kind)below(4);
	if (below(10) == 0)
		e->expires = 1700000000 + below(100000);
	if (e->kind == ENTRY_TOMBSTONE)
		e->value = copy("", 0);
	else if (below(2000) == 0)
		e->value = random_value(below(100000));
	else
		e->value = random_value(below(100));
}

/* n entries, some keys with several versions, two of them with very many. */
static struct model
model_make(size_t n)
{
	struct model m = { (struct entry *)calloc(n, sizeof(struct entry)), 0 };
	uint64_t version = 1000;

	assert_non_null(m.entry);
	while (m.count < n) {
		size_t many = below(10) == 0 ? 1 + below(5) : 1;
		struct slice key = random_key();

		if (m.count == n / 3 || m.count == n / 2)
			many = n / 20 + 1;
		for (; many && m.count < n; many--) {
			version += 1 + below(3);
			model_add(&m, copy(key.data, key.len), version);
		}
		free((void *)(uintptr_t)key.data);
	}
	model_sort(&m);
	return m;
}

/* The first entry at or behind (key, version). */
static size_t
model_seek(const struct model *m, struct slice key, uint64_t version)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct entry *e = &m->entry[middle];

		if (entry_order(e->key, e->version, key, version) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry
text(const char *key, uint64_t version)
{
	struct entry e = { slice_str(key), slice_str("v"), version, 0,
		           ENTRY_TEXT };

	return e;
}

static const struct sst_options usual = { 4096, 10, 1 };

static int
get(struct sst *t, struct slice key, uint64_t version, struct sst_hit *hit,
    struct err *err)
{
	return sst_get(t, key, sst_key_hash(key), version, hit, err);
}

/* Asks for (key, version) and compares with what the array says. */
static void
assert_get(struct sst *t, const struct model *m, struct slice key,
           uint64_t version)
{
	size_t i = model_seek(m, key, version);
	struct sst_hit hit;
	struct err err = ERR_INIT;
	int code = get(t, key, version, &hit, &err);

	if (code < 0)
		fail_msg("get: %s", err.message);
	if (i == m->count || !slice_equal(m->entry[i].key, key)) {
		assert_int_equal(code, LSMKV_NOTFOUND);
		return;
	}
	assert_int_equal(code, 0);
	assert_true(same(&hit.entry, &m->entry[i]));
	sst_hit_release(&hit);
}

/* Every version at every snapshot, and keys beside those that are there. */
static void
check_gets(struct sst *t, const struct model *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct entry *e = &m->entry[i];
		struct slice near = copy(e->key.data, e->key.len + 0);
		unsigned char *last =
			(unsigned char *)(uintptr_t)near.data + near.len - 1;

		assert_get(t, m, e->key, e->version);
		assert_get(t, m, e->key, e->version - 1);
		assert_get(t, m, e->key, e->version + 1);
		assert_get(t, m, e->key, VERSION_MAX);
		(*last)++;
		assert_get(t, m, near, VERSION_MAX);
		*last = 0;
		assert_get(t, m, near, VERSION_MAX);
		near.len--;
		if (near.len)
			assert_get(t, m, near, VERSION_MAX);
		free((void *)(uintptr_t)near.data);
	}
}

/* Is it where the array says, `at`, where count and more are off the end? */
static void
assert_at(const struct iter *it, const struct model *m, size_t at)
{
	assert_int_equal(it->valid, at < m->count);
	if (it->valid)
		assert_true(same(&it->entry, &m->entry[at]));
}

/* Seeks around every 7th entry, and a few steps to and fro from there. */
static void
check_seeks(struct sst *t, const struct model *m, bool fill_cache)
{
	struct iter *it;

	assert_int_equal(sst_iter_new(&it, t, fill_cache, NULL), 0);
	for (size_t i = 0; i < m->count; i += 7) {
		const struct entry *e = &m->entry[i];
		uint64_t version = e->version + below(3) - 1;
		struct slice key = e->key;
		size_t at;

		key.len -= below(20) == 0 && key.len > 1;
		at = model_seek(m, key, version);
		assert_int_equal(iter_seek(it, key, version, NULL), 0);
		assert_at(it, m, at);
		for (size_t n = below(4); n && it->valid; n--) {
			assert_int_equal(iter_next(it, NULL), 0);
			assert_at(it, m, ++at);
		}
		at = model_seek(m, key, version) - 1;
		assert_int_equal(iter_seek_before(it, key, version, NULL), 0);
		assert_at(it, m, at);
		for (size_t n = below(4); n && it->valid; n--) {
			assert_int_equal(iter_prev(it, NULL), 0);
			assert_at(it, m, --at);
		}
		if (it->valid && below(4) == 0) {
			/* The key may be the iterator's own. */
			assert_int_equal(iter_seek(it, it->entry.key,
			                           it->entry.version, NULL),
			                 0);
			assert_at(it, m, at);
			assert_int_equal(iter_next(it, NULL), 0);
			assert_at(it, m, at + 1);
		}
	}
	assert_int_equal(
		iter_seek(it, slice_make("\xff\xff\xff\xff\xff", 5), 1, NULL),
		0);
	assert_at(it, m, m->count);
	assert_int_equal(iter_seek_before(it,
	                                  slice_make("\xff\xff\xff\xff\xff", 5),
	                                  1, NULL),
	                 0);
	assert_at(it, m, m->count - 1);
	assert_int_equal(iter_seek_before(it, m->entry[0].key,
	                                  m->entry[0].version, NULL),
	                 0);
	assert_at(it, m, m->count);
	iter_close(it);
}

static int
check_block(void *arg, const struct sst_block_info *b)
{
	struct sst_block_info *sum = (struct sst_block_info *)arg;

	assert_int_equal(b->offset, sum->offset);
	assert_true(b->entries == 1 ||
	            b->raw <= sum->raw + b->entries * SST_COLUMNS_NUMBERS_MAX);
	assert_true(b->first.len > 0);
	sum->offset += b->stored;
	sum->entries += b->entries;
	sum->deflated |= b->deflated;
	return 0;
}

/* ---- tests ---- */

static void
round_trip_with(size_t n, struct sst_options options, size_t cache_bytes)
{
	struct model m = model_make(n);
	struct fixture f;
	struct sst *t;
	struct err err = ERR_INIT;
	struct sst_block_info sum = { .offset = SST_HEADER_BYTES };
	struct block_cache_stat s;

	make_dir(&f, cache_bytes);
	write_sst(&f, &m, &options);
	assert_int_equal(tmpdir_count(f.path), 1);
	t = open_sst(&f);
	check_gets(t, &m);
	check_walks(t, &m, true);
	check_walks(t, &m, false);
	check_seeks(t, &m, true);
	check_seeks(t, &m, false);
	sum.raw = (uint32_t)options.block_bytes + SST_COLUMNS_HEAD_MAX;
	assert_int_equal(sst_blocks(t, check_block, &sum, &err), 0);
	assert_int_equal(sum.entries, m.count);
	if (n > 100)
		assert_int_equal(sum.deflated, options.deflate_level > 0);
	if (sst_check(t, NULL, NULL, &err))
		fail_msg("%s", err.message);
	block_cache_get_stat(f.cache, &s);
	assert_true(s.used <= cache_bytes);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

/* 100,000 entries of all kinds come back, at every snapshot and every way. */
static void
round_trip(void **state)
{
	(void)state;
	round_trip_with(100000, usual, 8 << 20);
}

/*
 * The same without filter, without deflate, in tiny and in big blocks; also
 * where the cache has no room for the index. Every get makes that anew then, as
 * long as it is, so that these files are small.
 */
static void
round_trip_options(void **state)
{
	(void)state;
	round_trip_with(3000, (struct sst_options){ 4096, 0, 0 }, 1 << 20);
	round_trip_with(3000, (struct sst_options){ 1, 10, 6 }, 1 << 20);
	round_trip_with(3000, (struct sst_options){ 100, 1, 9 }, 1 << 20);
	round_trip_with(600, (struct sst_options){ 1, 10, 6 }, 20000);
	round_trip_with(600, (struct sst_options){ 100, 1, 9 }, 0);
	round_trip_with(3000, (struct sst_options){ 65536, 20, 1 }, 1 << 20);
	round_trip_with(1, usual, 1 << 20);
	round_trip_with(2, usual, 1 << 20);
}

/* An entry bigger than a block, a window and a write has a block of its own. */
static void
big_values(void **state)
{
	struct model m = model_make(40);
	struct fixture f;
	struct sst *t;

	(void)state;
	for (size_t i = 3; i < m.count; i += 9) {
		free((void *)(uintptr_t)m.entry[i].value.data);
		m.entry[i].kind = ENTRY_BYTES;
		m.entry[i].value = random_value(5000000 + i);
	}
	make_dir(&f, 16 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	check_gets(t, &m);
	check_walks(t, &m, true);
	check_walks(t, &m, false);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), 0);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

/* The size of a file of one entry with this value, which must come back. */
static uint64_t
size_with(struct slice value, int level)
{
	struct sst_options options = { 4096, 10, level };
	struct model m = model_make(1);
	struct fixture f;
	struct sst *t;
	uint64_t size;

	free((void *)(uintptr_t)m.entry[0].value.data);
	m.entry[0].kind = ENTRY_BYTES;
	m.entry[0].value = value;
	make_dir(&f, 16 << 20);
	write_sst(&f, &m, &options);
	t = open_sst(&f);
	check_gets(t, &m);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), 0);
	size = f.info.size;
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
	return size;
}

/*
 * A large value is stored where deflate would save less than a sixteenth, and
 * deflated else, in level 0 as below.
 */
static void
large_values_stored(void **state)
{
	const size_t len = 1000000;

	(void)state;
	for (int level = 1; level <= 6; level += 5)
		for (unsigned share = 0; share < 2; share++) {
			unsigned char *noise = (unsigned char *)malloc(len);
			/* zeros, a fiftieth or a fifth of it */
			size_t zeros = len / (share ? 5 : 50);
			uint64_t size;

			assert_non_null(noise);
			for (size_t i = 0; i < len; i++)
				noise[i] = (unsigned char)below(256);
			memset(noise + 300000, 0, zeros);
			size = size_with(slice_make(noise, len), level);
			if (share)
				assert_in_range(size, len - zeros,
				                len - zeros / 2);
			else
				assert_in_range(size, len, len + 1000);
		}
}

/* sst_info says what was written, of the file and of its entries. */
static void
info(void **state)
{
	struct model m = model_make(5000);
	struct fixture f;
	struct sst_info want = SST_INFO_INIT, own;
	unsigned char *bytes;
	size_t len;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	want.min_version = VERSION_MAX;
	want.min_expires = VERSION_MAX;
	for (size_t i = 0; i < m.count; i++) {
		const struct entry *e = &m.entry[i];

		want.tombstones += e->kind == ENTRY_TOMBSTONE;
		want.raw_bytes += e->key.len + e->value.len;
		if (e->version < want.min_version)
			want.min_version = e->version;
		if (e->version > want.max_version)
			want.max_version = e->version;
		if (e->expires && e->expires < want.min_expires)
			want.min_expires = e->expires;
	}
	bytes = tmpdir_read(f.path, FILE_NAME, &len);
	assert_int_equal(f.info.number, FILE_NUMBER);
	assert_int_equal(f.info.size, len);
	assert_int_equal(f.info.crc, crc32_add(0, bytes, len));
	assert_int_equal(f.info.entries, m.count);
	assert_int_equal(f.info.tombstones, want.tombstones);
	assert_int_equal(f.info.raw_bytes, want.raw_bytes);
	assert_int_equal(f.info.min_version, want.min_version);
	assert_int_equal(f.info.max_version, want.max_version);
	assert_int_equal(f.info.min_expires, want.min_expires);
	assert_true(f.info.created > 1500000000);
	assert_true(slice_equal(buf_slice(&f.info.smallest), m.entry[0].key));
	assert_true(slice_equal(buf_slice(&f.info.largest),
	                        m.entry[m.count - 1].key));

	/* The file alone tells the same. */
	assert_int_equal(sst_info_read(f.dir, FILE_NUMBER, &own, NULL), 0);
	assert_int_equal(own.number, f.info.number);
	assert_int_equal(own.size, f.info.size);
	assert_int_equal(own.crc, f.info.crc);
	assert_int_equal(own.entries, f.info.entries);
	assert_int_equal(own.created, f.info.created);
	assert_int_equal(own.min_expires, f.info.min_expires);
	assert_true(slice_equal(buf_slice(&own.largest),
	                        buf_slice(&f.info.largest)));
	sst_info_release(&own);
	free(bytes);
	free_dir(&f);
	model_free(&m);
}

/* sst_info survives its encoding, and a part of it is refused. */
static void
info_encoding(void **state)
{
	struct model m = model_make(50);
	struct fixture f;
	struct buf out = BUF_INIT;
	struct sst_info back;
	struct reader r;
	struct err err = ERR_INIT;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	assert_int_equal(sst_info_encode(&f.info, &out, NULL), 0);
	r = reader_make(buf_slice(&out));
	assert_true(sst_info_decode(&r, &back, &err));
	assert_ptr_equal(r.at, r.end);
	assert_int_equal(back.number, f.info.number);
	assert_int_equal(back.size, f.info.size);
	assert_int_equal(back.crc, f.info.crc);
	assert_int_equal(back.entries, f.info.entries);
	assert_int_equal(back.tombstones, f.info.tombstones);
	assert_int_equal(back.raw_bytes, f.info.raw_bytes);
	assert_int_equal(back.min_version, f.info.min_version);
	assert_int_equal(back.max_version, f.info.max_version);
	assert_int_equal(back.min_expires, f.info.min_expires);
	assert_int_equal(back.created, f.info.created);
	assert_true(slice_equal(buf_slice(&back.smallest),
	                        buf_slice(&f.info.smallest)));
	assert_true(slice_equal(buf_slice(&back.largest),
	                        buf_slice(&f.info.largest)));
	sst_info_release(&back);
	for (size_t cut = 0; cut < out.len; cut++) {
		r = reader_make(slice_make(out.data, cut));
		assert_false(sst_info_decode(&r, &back, &err));
		assert_true(r.failed);
		assert_null(back.smallest.data);
	}
	buf_release(&out);
	free_dir(&f);
	model_free(&m);
}

/* What is out of order or out of bounds is refused, and harms nothing. */
static void
refusals(void **state)
{
	static unsigned char big[ENTRY_KEY_MAX + 1];
	struct fixture f;
	struct sst_writer *w;
	struct err err = ERR_INIT;
	struct entry good[] = { text("b", 9), text("b", 8), text("c", 9) };
	struct model m = { good, 3 };
	struct entry bad[] = {
		text("b", 9), text("b", 10), text("a", 1), text("b", 0),
		text("", 1),  text("z", 1),  text("z", 1), text("z", 1),
	};
	struct sst *t;

	(void)state;
	bad[5].kind = ENTRY_TOMBSTONE; /* with a value */
	bad[6].key = slice_make(big, sizeof(big));
	memset(big, 'z', sizeof(big));
	bad[7].value.len = (size_t)ENTRY_VALUE_MAX + 1;
	make_dir(&f, 1 << 20);
	assert_int_equal(sst_writer_open(&w, f.dir, FILE_NUMBER, &usual, &err),
	                 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(sst_writer_add(w, &good[i], &err), 0);
		for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++)
			assert_int_equal(sst_writer_add(w, &bad[n], &err),
			                 LSMKV_EINVAL);
	}
	assert_int_equal(sst_writer_finish(w, &f.info, &err), 0);
	assert_int_equal(f.info.entries, 3);
	t = open_sst(&f);
	check_walks(t, &m, true);
	sst_unref(t);
	free_dir(&f);
}

/* Options that make no sense are refused before anything is created. */
static void
options(void **state)
{
	const struct sst_options bad[] = {
		{ 0, 10, 1 },
		{ SST_BLOCK_BYTES_MAX + 1, 10, 1 },
		{ 4096, SST_BITS_MAX + 1, 1 },
		{ 4096, 10, -1 },
		{ 4096, 10, 10 },
	};
	struct sst_writer *w;
	struct fixture f;

	(void)state;
	make_dir(&f, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(sst_writer_open(&w, f.dir, 1, &bad[i], NULL),
		                 LSMKV_EINVAL);
		assert_null(w);
	}
	assert_int_equal(tmpdir_count(f.path), 0);
	free_dir(&f);
}

/* An abort, or finishing without an entry, leaves nothing behind. */
static void
leaves_nothing(void **state)
{
	struct fixture f;
	struct sst_writer *w;
	struct sst_info none;
	struct entry e = text("a", 1);

	(void)state;
	make_dir(&f, 0);
	assert_int_equal(sst_writer_open(&w, f.dir, 1, &usual, NULL), 0);
	assert_true(tmpdir_has(f.path, "000001.sst.tmp"));
	assert_int_equal(sst_writer_add(w, &e, NULL), 0);
	sst_writer_abort(w);
	assert_int_equal(tmpdir_count(f.path), 0);

	assert_int_equal(sst_writer_open(&w, f.dir, 1, &usual, NULL), 0);
	assert_int_equal(sst_writer_finish(w, &none, NULL), LSMKV_EINVAL);
	assert_int_equal(tmpdir_count(f.path), 0);
	sst_writer_abort(NULL);

	/* Another's file of the same name is left alone. */
	tmpdir_write(f.path, "000001.sst.tmp", "x", 1);
	assert_true(sst_writer_open(&w, f.dir, 1, &usual, NULL) < 0);
	assert_int_equal(tmpdir_size(f.path, "000001.sst.tmp"), 1);
	free_dir(&f);
}

/* An obsolete SST can be read to the end, and is then gone from the disk. */
static void
obsolete(void **state)
{
	struct model m = model_make(500);
	struct fixture f;
	struct sst *t;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	assert_ptr_equal(sst_ref(t), t);
	sst_set_obsolete(t);
	sst_unref(t);
	assert_true(tmpdir_has(f.path, FILE_NAME));
	check_gets(t, &m);
	sst_unref(t);
	assert_int_equal(tmpdir_count(f.path), 0);
	free_dir(&f);
	model_free(&m);
}

/* An iterator keeps its SST alive. */
static void
iter_holds(void **state)
{
	struct model m = model_make(500);
	struct fixture f;
	struct sst *t;
	struct iter *it;
	size_t n = 0;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	assert_int_equal(sst_iter_new(&it, t, true, NULL), 0);
	sst_set_obsolete(t);
	sst_unref(t);
	for (assert_int_equal(iter_first(it, NULL), 0); it->valid; n++)
		assert_int_equal(iter_next(it, NULL), 0);
	assert_int_equal(n, m.count);
	assert_true(tmpdir_has(f.path, FILE_NAME));
	iter_close(it);
	assert_int_equal(tmpdir_count(f.path), 0);
	free_dir(&f);
	model_free(&m);
}

/* A hit is good for as long as it is held, whatever the cache evicts. */
static void
hit_is_pinned(void **state)
{
	struct model m = model_make(3000);
	struct fixture f;
	struct sst *t;
	struct sst_hit hit;

	(void)state;
	make_dir(&f, 30000);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	assert_int_equal(get(t, m.entry[7].key, m.entry[7].version, &hit, NULL),
	                 0);
	check_gets(t, &m);
	block_cache_drop_file(f.cache, FILE_NUMBER);
	assert_true(same(&hit.entry, &m.entry[7]));
	sst_hit_release(&hit);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

static int
note_packed(void *arg, const struct sst_block_info *b)
{
	*(unsigned *)arg += b->packed;
	return 0;
}

/*
 * Out of packed blocks that are not kept, deflated and not, every version of
 * every key comes as it was written, and others are not found.
 */
static void
past_cache(void **state)
{
	static const struct sst_options all[] = {
		{ 4096, 10, 6 }, { 2816, 0, 1 }, { 512, 0, 0 }, { 60000, 0, 9 }
	};
	struct model m = { (struct entry *)calloc(4000, sizeof(*m.entry)), 0 };
	uint64_t version = 1000;

	(void)state;
	assert_non_null(m.entry);
	while (m.count < 4000) {
		char key[40];
		size_t many = below(10) ? 1 : 1 + below(5);
		int len = snprintf(key, sizeof(key), "%05zx%05zx%05zx%zx",
		                   below(1 << 20), below(1 << 20),
		                   below(1 << 20), below(300));

		for (; many && m.count < 4000; many--)
			model_add(&m, copy(key, (size_t)len), version++);
	}
	for (size_t i = 0; i < m.count; i++)
		m.entry[i].expires = 1700000000 + below(1000);
	model_sort(&m);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct fixture f;
		struct block_cache_stat stat;
		unsigned packed = 0;
		struct sst *t;

		make_dir(&f, 0);
		write_sst(&f, &m, &all[i]);
		t = open_sst(&f);
		assert_int_equal(sst_blocks(t, note_packed, &packed, NULL), 0);
		assert_true(packed > 4000 * 40 / all[i].block_bytes / 2);
		check_gets(t, &m);
		block_cache_get_stat(f.cache, &stat);
		assert_int_equal(stat.hits, 0);
		sst_unref(t);
		free_dir(&f);
	}
	model_free(&m);
}

/* How many blocks a look-up of key in a newly opened SST reads. */
static uint64_t
reads_of(struct fixture *f, struct slice key, int expect)
{
	struct sst *t = open_sst(f);
	struct sst_hit hit;
	struct block_cache_stat before, after;

	block_cache_get_stat(f->cache, &before);
	assert_int_equal(get(t, key, VERSION_MAX, &hit, NULL), expect);
	block_cache_get_stat(f->cache, &after);
	sst_hit_release(&hit);
	sst_unref(t);
	return after.misses - before.misses;
}

/* A key that the filter denies costs the filter and nothing else. */
static void
filter_first(void **state)
{
	struct model m = model_make(2000);
	struct fixture f;
	unsigned denied = 0;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	for (unsigned i = 0; i < 1000; i++) {
		char key[32];

		snprintf(key, sizeof(key), "user:x%u", i);
		denied += reads_of(&f, slice_str(key), LSMKV_NOTFOUND) == 1;
	}
	assert_in_range(denied, 970, 1000);
	assert_int_equal(reads_of(&f, m.entry[5].key, 0), 3);
	free_dir(&f);
	model_free(&m);
}

/* What was read once is not read again: neither block, filter nor index. */
static void
reads_once(void **state)
{
	struct model m = model_make(2000);
	struct fixture f;
	struct sst *t;
	struct block_cache_stat s;

	(void)state;
	make_dir(&f, 4 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	check_gets(t, &m);
	block_cache_get_stat(f.cache, &s);
	tmpdir_truncate(f.path, FILE_NAME, 0);
	check_gets(t, &m);
	{
		struct block_cache_stat after;

		block_cache_get_stat(f.cache, &after);
		assert_int_equal(after.misses, s.misses);
		assert_true(after.hits > s.hits);
		assert_int_equal(after.used, s.used);
	}
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

/* A write that fails ends the file: nothing stays, nothing more is taken. */
static void
failed_write(void **state)
{
	struct rlimit old, low = { 1 << 20, 0 };
	struct fixture f;
	struct sst_writer *w;
	struct err err = ERR_INIT;
	struct slice value = random_value(100000);

	(void)state;
	make_dir(&f, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	for (unsigned last = 5; last < 60; last += 27) {
		int code = 0;

		assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
		assert_int_equal(
			sst_writer_open(&w, f.dir, 1,
		                        &(struct sst_options){ 4096, 10, 0 },
		                        &err),
			0);
		for (unsigned i = 10; i < 10 + last; i++) {
			char key[16];
			struct entry e;
			int now;

			snprintf(key, sizeof(key), "key%u", i);
			e = text(key, 1);
			e.value = value;
			now = sst_writer_add(w, &e, &err);
			/* Once it has failed it goes on failing. */
			assert_true(!code || now == code);
			code = now;
		}
		if (last < 10) {
			/* Too small to fail before the end. */
			assert_int_equal(code, 0);
			low.rlim_cur = 1000;
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
			low.rlim_cur = 1 << 20;
		} else {
			assert_true(code < 0);
		}
		assert_true(sst_writer_finish(w, &f.info, &err) < 0);
		assert_non_null(strstr(err.message, "000001.sst.tmp"));
		assert_null(f.info.smallest.data);
		assert_int_equal(tmpdir_count(f.path), 0);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	free((void *)(uintptr_t)value.data);
	free_dir(&f);
}

/* A walk past the cache leaves the cache as it was. */
static void
walk_past_cache(void **state)
{
	struct model m = model_make(3000);
	struct fixture f;
	struct sst *t;
	struct block_cache_stat s;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	check_walks(t, &m, false);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), 0);
	block_cache_get_stat(f.cache, &s);
	assert_int_equal(s.used, 0);
	check_walks(t, &m, true);
	block_cache_get_stat(f.cache, &s);
	assert_true(s.used > 0);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

static int
stop_at(void *arg, uint64_t bytes)
{
	uint64_t *last = (uint64_t *)arg;

	assert_true(bytes > last[0]);
	last[0] = bytes;
	return bytes >= last[1];
}

/* sst_check tells how far it is, up to the size, and stops when told to. */
static void
check_progress(void **state)
{
	struct model m = model_make(3000);
	struct fixture f;
	struct sst *t;
	uint64_t at[2] = { 0, UINT64_MAX };

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	assert_int_equal(sst_check(t, stop_at, at, NULL), 0);
	assert_int_equal(at[0], f.info.size);
	at[0] = 0;
	at[1] = f.info.size / 2;
	assert_int_equal(sst_check(t, stop_at, at, NULL), LSMKV_ESHUTDOWN);
	assert_true(at[0] < f.info.size);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

/* What the MANIFEST says of a file is held against the file. */
static void
info_must_fit(void **state)
{
	struct model m = model_make(100);
	struct fixture f;
	struct sst *t;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	for (unsigned i = 0; i < 11; i++) {
		struct sst_info wrong;
		struct err err = ERR_INIT;

		assert_int_equal(sst_info_copy(&wrong, &f.info, NULL), 0);
		wrong.size += i == 0;
		wrong.entries += i == 1;
		wrong.tombstones += i == 2;
		wrong.raw_bytes += i == 3;
		wrong.min_version += i == 4;
		wrong.max_version += i == 5;
		wrong.min_expires += i == 6;
		wrong.created += i == 7;
		wrong.smallest.data[0] ^= i == 8;
		wrong.largest.len -= i == 9;
		wrong.number += i == 10; /* there is no such file */
		assert_int_equal(sst_open(&t, f.dir, &wrong, f.cache, &err),
		                 LSMKV_ECORRUPT);
		assert_null(t);
		assert_non_null(strstr(err.message, ".sst"));
		sst_info_release(&wrong);
	}
	/* The file's own sum is what sst_check looks at. */
	f.info.crc ^= 1;
	t = open_sst(&f);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), LSMKV_ECORRUPT);
	sst_unref(t);
	free_dir(&f);
	model_free(&m);
}

/* A file under another's name is not taken for that one. */
static void
misnamed(void **state)
{
	struct model m = model_make(100);
	struct fixture f;
	struct sst *t;
	unsigned char *bytes;
	size_t len;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	bytes = tmpdir_read(f.path, FILE_NAME, &len);
	tmpdir_write(f.path, "000002.sst", bytes, len);
	f.info.number = 2;
	assert_int_equal(sst_open(&t, f.dir, &f.info, f.cache, NULL),
	                 LSMKV_ECORRUPT);
	free(bytes);
	free_dir(&f);
	model_free(&m);
}

/* A file of a format to come is refused by its version, not as damaged. */
static void
future_version(void **state)
{
	struct model m = model_make(10);
	struct fixture f;
	struct sst *t;
	struct err err = ERR_INIT;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &usual);
	tmpdir_overwrite(f.path, FILE_NAME, 8, "\5", 1);
	assert_int_equal(sst_open(&t, f.dir, &f.info, f.cache, &err),
	                 LSMKV_ECORRUPT);
	tmpdir_overwrite(f.path, FILE_NAME, f.info.size - 16, "\5", 1);
	assert_int_equal(sst_open(&t, f.dir, &f.info, f.cache, &err),
	                 LSMKV_EVERSION);
	assert_non_null(strstr(err.message, FILE_NAME));
	free_dir(&f);
	model_free(&m);
}

/* ---- the format ---- */

/* clang-format off */
/* The example of doc/format.md: deflated and raw blocks, a filter. */
static const unsigned char golden_file[] = {
	0x4c, 0x53, 0x4d, 0x4b, 0x56, 0x53, 0x53, 0x54, 0x01, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x03, 0x02, 0x00, 0x04, 0x05, 0x03, 0x61, 0x70,
	0x70, 0x6c, 0x65, 0x72, 0x65, 0x64, 0x05, 0x00, 0x05, 0x05, 0x80, 0xa8,
	0xd6, 0xb9, 0x07, 0x61, 0x70, 0x70, 0x6c, 0x65, 0x5b, 0x31, 0x2c, 0x32,
	0x5d, 0x00, 0x21, 0x00, 0x00, 0x00, 0x05, 0xa7, 0xe5, 0x15, 0x78, 0x9c,
	0xe3, 0x64, 0x64, 0x62, 0x60, 0x4b, 0x49, 0x4a, 0xcc, 0x4b, 0xcc, 0x4b,
	0xa4, 0x07, 0x00, 0x00, 0xa2, 0x1e, 0x28, 0xbc, 0x01, 0x70, 0x00, 0x00,
	0x00, 0x75, 0xc0, 0x37, 0xa0, 0x05, 0x01, 0x03, 0x00, 0x04, 0x70, 0x65,
	0x61, 0x72, 0x00, 0x09, 0x00, 0x00, 0x00, 0xe8, 0xad, 0xc9, 0x73, 0x00,
	0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00,
	0x85, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x01, 0x00, 0x04,
	0x20, 0x00, 0x00, 0x02, 0x80, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x40, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x06, 0x00, 0x41, 0x00, 0x00, 0x00, 0xe9, 0x06, 0x7a,
	0xe7, 0x02, 0x61, 0x71, 0x00, 0x2a, 0x02, 0x01, 0x63, 0x00, 0x1f, 0x01,
	0x04, 0x70, 0x65, 0x61, 0x72, 0x00, 0x12, 0x01, 0x00, 0x13, 0x00, 0x00,
	0x00, 0xa6, 0x69, 0x5f, 0xd4, 0x04, 0x01, 0x80, 0x01, 0x03, 0x09, 0x80,
	0xa8, 0xd6, 0xb9, 0x07, 0xa0, 0xad, 0x91, 0xd8, 0x06, 0x05, 0x61, 0x70,
	0x70, 0x6c, 0x65, 0x04, 0x70, 0x65, 0x61, 0x72, 0x03, 0x03, 0x40, 0x0a,
	0x06, 0x00, 0x20, 0x00, 0x00, 0x00, 0x5f, 0x9b, 0x6d, 0xab, 0x0d, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6b, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0xb5, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd1, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x4a, 0x00, 0x00, 0x00, 0x1c, 0x00,
	0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x8d, 0xa3, 0x2c, 0x90, 0x04, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x56, 0xb5,
	0x55, 0x86, 0x4c, 0x53, 0x4d, 0x4b, 0x56, 0x53, 0x53, 0x54,
};
/* clang-format on */

/* A file of format version 1, written once, opens and reads forever. */
static void
golden(void **state)
{
	static unsigned char many[100];
	struct entry e[] = {
		{ slice_str("apple"), slice_str("red"), 7, 0, ENTRY_TEXT },
		{ slice_str("apple"), slice_str("[1,2]"), 3, 2000000000,
		  ENTRY_JSON },
		{ slice_str("banana"), slice_make(many, sizeof(many)), 9, 0,
		  ENTRY_BYTES },
		{ slice_str("pear"), { NULL, 0 }, 5, 0, ENTRY_TOMBSTONE },
	};
	struct model m = { e, 4 };
	struct fixture f;
	struct sst *t;
	struct err err = ERR_INIT;

	(void)state;
	memset(many, 'a', sizeof(many));
	make_dir(&f, 1 << 20);
	tmpdir_write(f.path, "000013.sst", golden_file, sizeof(golden_file));
	if (sst_info_read(f.dir, 13, &f.info, &err))
		fail_msg("%s", err.message);
	assert_int_equal(f.info.crc, 0x132f51b3);
	assert_int_equal(f.info.created, 1795446432);
	assert_int_equal(f.info.raw_bytes, 128);
	t = open_sst(&f);
	check_gets(t, &m);
	check_walks(t, &m, true);
	check_walks(t, &m, false);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), 0);
	sst_unref(t);
	free_dir(&f);
}

/* ---- damage ---- */

static struct model
small_model(void)
{
	static const char *const keys[] = { "apple", "apricot", "banana",
		                            "cherry" };
	struct model m = { (struct entry *)calloc(16, sizeof(struct entry)),
		           0 };

	for (size_t i = 0; i < 16; i++) {
		const char *key = keys[i / 4];
		struct entry *e = &m.entry[m.count++];

		e->key = copy(key, strlen(key));
		e->version = 100 - i;
		e->kind = (enum entry_kind)(i % 4);
		e->expires = i % 5 ? 0 : 1700000000;
		e->value = e->kind == ENTRY_TOMBSTONE
		                   ? copy("", 0)
		                   : copy("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		                          20 + i % 7);
	}
	return m;
}

static void
assert_told(int code, const struct err *err)
{
	if (code != LSMKV_ECORRUPT && code != LSMKV_EVERSION)
		fail_msg("code %d: %s", code, err->message);
	if (!strstr(err->message, FILE_NAME))
		fail_msg("the file is not named: %s", err->message);
}

/* Reads all that t can give: every answer is right or an error. */
static void
read_damaged(struct sst *t, const struct model *m)
{
	struct err err = ERR_INIT;
	struct iter *it;
	int code;

	for (size_t i = 0; i < m->count; i++) {
		struct sst_hit hit;

		code = get(t, m->entry[i].key, m->entry[i].version, &hit, &err);
		if (code) {
			assert_told(code, &err);
			continue;
		}
		assert_true(same(&hit.entry, &m->entry[i]));
		sst_hit_release(&hit);
	}
	for (unsigned back = 0; back < 2; back++) {
		size_t n = 0;

		code = sst_iter_new(&it, t, back, &err);
		if (code) {
			assert_told(code, &err);
			continue;
		}
		code = back ? iter_last(it, &err) : iter_first(it, &err);
		while (!code && it->valid) {
			const struct entry *e =
				&m->entry[back ? m->count - 1 - n : n];

			assert_true(n < m->count && same(&it->entry, e));
			n++;
			code = back ? iter_prev(it, &err) : iter_next(it, &err);
		}
		assert_false(it->valid);
		if (code)
			assert_told(code, &err);
		else
			assert_int_equal(n, m->count);
		iter_close(it);
	}
}

static void
flip_all(struct sst_options how)
{
	static const unsigned char masks[] = { 0x01, 0x80, 0xff };
	struct model m = small_model();
	struct fixture f;

	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &how);
	for (uint64_t at = 0; at < f.info.size; at++)
		for (size_t i = 0; i < sizeof(masks); i++) {
			struct sst *before = open_sst(&f), *t;
			struct err err = ERR_INIT;
			struct sst_info own;
			int code;

			tmpdir_flip(f.path, FILE_NAME, at, masks[i]);
			/* Damage that comes while the file is open... */
			read_damaged(before, &m);
			assert_told(sst_check(before, NULL, NULL, &err), &err);
			sst_unref(before);
			/* ...and before. */
			code = sst_open(&t, f.dir, &f.info, f.cache, &err);
			if (code) {
				assert_told(code, &err);
			} else {
				read_damaged(t, &m);
				assert_told(sst_check(t, NULL, NULL, &err),
				            &err);
				sst_unref(t);
			}
			code = sst_info_read(f.dir, FILE_NUMBER, &own, &err);
			if (code)
				assert_told(code, &err);
			else
				assert_true(own.crc != f.info.crc);
			sst_info_release(&own);
			tmpdir_flip(f.path, FILE_NAME, at, masks[i]);
		}
	free_dir(&f);
	model_free(&m);
}

/* A flip of any byte is an error that names the file, or harms nothing. */
static void
flips(void **state)
{
	(void)state;
	flip_all((struct sst_options){ 150, 10, 6 });
	flip_all((struct sst_options){ 150, 10, 0 });
	flip_all((struct sst_options){ 4096, 0, 1 });
}

/* Cut at any length, it does not open; cut while open, it says so. */
static void
truncations(void **state)
{
	struct model m = small_model();
	struct fixture f;
	unsigned char *bytes;
	size_t len;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &(struct sst_options){ 150, 10, 6 });
	bytes = tmpdir_read(f.path, FILE_NAME, &len);
	for (size_t cut = 0; cut < len; cut++) {
		struct sst *before = open_sst(&f), *t;
		struct err err = ERR_INIT;
		struct sst_info own;

		tmpdir_truncate(f.path, FILE_NAME, cut);
		read_damaged(before, &m);
		assert_told(sst_check(before, NULL, NULL, &err), &err);
		sst_unref(before);
		assert_told(sst_open(&t, f.dir, &f.info, f.cache, &err), &err);
		assert_told(sst_info_read(f.dir, FILE_NUMBER, &own, &err),
		            &err);
		tmpdir_write(f.path, FILE_NAME, bytes, len);
	}
	tmpdir_grow(f.path, FILE_NAME, 1);
	{
		struct sst *t;
		struct err err = ERR_INIT;

		assert_told(sst_open(&t, f.dir, &f.info, f.cache, &err), &err);
	}
	free(bytes);
	free_dir(&f);
	model_free(&m);
}

/* A whole block, with its right sum, in another's place is found out. */
static void
swapped_blocks(void **state)
{
	struct entry e[64];
	char keys[64][16], values[64][64];
	struct model m = { e, 64 };
	struct fixture f;
	struct sst *t;
	struct err err = ERR_INIT;
	struct sst_hit hit;
	unsigned char *bytes;
	size_t len, stored;

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key%04zu", i);
		snprintf(values[i], sizeof(values[i]), "value %04zu", i);
		e[i] = text(keys[i], 5);
		e[i].value = slice_str(values[i]);
	}
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &(struct sst_options){ 22, 10, 0 });
	/* One entry a block, all of one size. */
	stored = 2 + 4 + 7 + 10 + SST_TRAILER_BYTES;
	bytes = tmpdir_read(f.path, FILE_NAME, &len);
	tmpdir_overwrite(f.path, FILE_NAME, SST_HEADER_BYTES + 3 * stored,
	                 bytes + SST_HEADER_BYTES + 9 * stored, stored);
	t = open_sst(&f);
	assert_told(get(t, e[3].key, 5, &hit, &err), &err);
	assert_non_null(strstr(err.message, "block at 112: CRC is "));
	assert_int_equal(get(t, e[9].key, 5, &hit, &err), 0);
	sst_hit_release(&hit);
	sst_unref(t);
	free(bytes);
	free_dir(&f);
}

/* Puts right again every checksum that covers byte `at`. */
static void
reseal(unsigned char *file, size_t len, const uint64_t *part, size_t parts,
       uint64_t at)
{
	unsigned char *footer = file + len - SST_FOOTER_BYTES;
	size_t props = parts - 2;

	for (size_t i = 0; i + 1 < parts; i++)
		if (at >= part[i] && at < part[i + 1])
			put_u32(file + part[i + 1] - 4,
			        sst_block_crc(FILE_NUMBER, part[i],
			                      file + part[i],
			                      part[i + 1] - part[i] - 4));
	put_u32(footer + 44,
	        sst_crc(file + part[props], part[props + 1] - part[props]));
	put_u32(footer + 60, sst_crc(footer, 60));
}

static int
note_block(void *arg, const struct sst_block_info *b)
{
	uint64_t **part = (uint64_t **)arg;

	*(*part)++ = b->offset;
	return 0;
}

/*
 * Bytes that are wrong under checksums that are right (a program's fault, or
 * malice) are refused or read as something, but never past their end.
 */
static void
resealed(void **state)
{
	struct model m = small_model();
	struct fixture f;
	struct sst *t;
	struct sst_footer footer;
	struct err err = ERR_INIT;
	uint64_t part[40], *end = part;
	unsigned char *bytes, *bad;
	size_t len, refused = 0;

	(void)state;
	make_dir(&f, 1 << 20);
	write_sst(&f, &m, &(struct sst_options){ 150, 10, 0 });
	bytes = tmpdir_read(f.path, FILE_NAME, &len);
	bad = (unsigned char *)malloc(len);
	t = open_sst(&f);
	assert_int_equal(sst_blocks(t, note_block, &end, &err), 0);
	sst_unref(t);
	assert_int_equal(sst_footer_decode(bytes,
	                                   bytes + len - SST_FOOTER_BYTES, len,
	                                   FILE_NAME, &footer, &err),
	                 0);
	*end++ = footer.filter_offset;
	*end++ = footer.index_offset;
	*end++ = footer.props_offset;
	*end++ = footer.props_offset + footer.props_bytes;

	for (size_t at = 0; at < len; at++)
		for (unsigned mask = 1; mask < 256; mask = mask * 3 + 2) {
			struct sst_hit hit;
			struct iter *it;
			int code;

			memcpy(bad, bytes, len);
			bad[at] = (unsigned char)(bad[at] ^ mask);
			reseal(bad, len, part, (size_t)(end - part), at);
			tmpdir_write(f.path, FILE_NAME, bad, len);
			code = sst_open(&t, f.dir, &f.info, f.cache, &err);
			if (code) {
				refused++;
				assert_told(code, &err);
				continue;
			}
			for (size_t i = 0; i < m.count; i++) {
				code = get(t, m.entry[i].key,
				           m.entry[i].version, &hit, &err);
				if (code < 0)
					assert_told(code, &err);
				if (!code)
					sst_hit_release(&hit);
			}
			code = sst_iter_new(&it, t, false, &err);
			for (code = code ? code : iter_first(it, &err);
			     !code && it->valid;)
				code = iter_next(it, &err);
			iter_close(it);
			if (code) {
				refused++;
				assert_told(code, &err);
			}
			/* Other bytes have another sum, whatever they say. */
			if (memcmp(bad, bytes, len))
				assert_told(sst_check(t, NULL, NULL, &err),
				            &err);
			sst_unref(t);
		}
	assert_true(refused > len);
	free(bad);
	free(bytes);
	free_dir(&f);
	model_free(&m);
}

/* ---- threads ---- */

#define THREADS 4

struct crowd {
	struct sst *t;
	const struct model *m;
	unsigned short seed;
	size_t wrong;
};

static void *
ask(void *arg)
{
	struct crowd *c = (struct crowd *)arg;
	unsigned short own[3] = { c->seed, 2, 3 };
	struct iter *it = NULL;

	for (unsigned n = 0; n < 5000; n++) {
		size_t i = (size_t)nrand48(own) % c->m->count;
		const struct entry *e = &c->m->entry[i];
		struct sst_hit hit;

		if (get(c->t, e->key, e->version, &hit, NULL)) {
			c->wrong++;
			continue;
		}
		c->wrong += !same(&hit.entry, e);
		sst_hit_release(&hit);
		if (n % 50)
			continue;
		if (sst_iter_new(&it, c->t, n % 100 == 0, NULL) ||
		    iter_seek(it, e->key, e->version, NULL))
			c->wrong++;
		for (size_t k = 0; k < 50 && it->valid; k++, i++) {
			c->wrong += !same(&it->entry, &c->m->entry[i]);
			c->wrong += iter_next(it, NULL) != 0;
		}
		iter_close(it);
	}
	sst_unref(c->t);
	return NULL;
}

/* Many threads read one SST through a cache that is far too small. */
static void
threads(void **state)
{
	struct model m = model_make(20000);
	struct fixture f;
	struct sst *t;
	pthread_t id[THREADS];
	struct crowd crowd[THREADS];

	(void)state;
	make_dir(&f, 300000);
	write_sst(&f, &m, &usual);
	t = open_sst(&f);
	sst_set_obsolete(t);
	for (unsigned i = 0; i < THREADS; i++) {
		crowd[i] =
			(struct crowd){ sst_ref(t), &m, (unsigned short)i, 0 };
		assert_int_equal(pthread_create(&id[i], NULL, ask, &crowd[i]),
		                 0);
	}
	sst_unref(t);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(id[i], NULL);
		assert_int_equal(crowd[i].wrong, 0);
	}
	assert_int_equal(tmpdir_count(f.path), 0);
	free_dir(&f);
	model_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(round_trip_options),
		cmocka_unit_test(big_values),
		cmocka_unit_test(large_values_stored),
		cmocka_unit_test(info),
		cmocka_unit_test(info_encoding),
		cmocka_unit_test(refusals),
		cmocka_unit_test(options),
		cmocka_unit_test(leaves_nothing),
		cmocka_unit_test(obsolete),
		cmocka_unit_test(iter_holds),
		cmocka_unit_test(hit_is_pinned),
		cmocka_unit_test(past_cache),
		cmocka_unit_test(filter_first),
		cmocka_unit_test(reads_once),
		cmocka_unit_test(failed_write),
		cmocka_unit_test(walk_past_cache),
		cmocka_unit_test(check_progress),
		cmocka_unit_test(info_must_fit),
		cmocka_unit_test(misnamed),
		cmocka_unit_test(future_version),
		cmocka_unit_test(golden),
		cmocka_unit_test(flips),
		cmocka_unit_test(truncations),
		cmocka_unit_test(swapped_blocks),
		cmocka_unit_test(resealed),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
