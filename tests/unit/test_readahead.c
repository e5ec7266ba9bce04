/* SPDX-License-Identifier: ISC */
/*
 * Reading ahead: a scan with helpers is the scan without them, entry by entry
 * and error by error; and helpers leave nothing behind.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/store_fixture.h"
#include "store/names.h"
#include "store/readahead.h"
#include "store/sst_read.h"

#define NUMBER 7u
#define ENTRIES 6000u
#define BLOCK_BYTES 512u
#define MEMORY (64u << 20)

static unsigned short seed[3] = { 4, 7, 11 };

static size_t
below(size_t n)
{
	return (size_t)nrand48(seed) % n;
}

/* ---- an SST whose entries are known by their number ---- */

static size_t big; /* bytes of the values, if not 0 */

static struct slice
key_of(size_t i, char key[16])
{
	return slice_make(key, (size_t)snprintf(key, 16, "key%07zu", i));
}

/* Half of it deflates. */
static void
value_of(size_t i, struct buf *value)
{
	size_t len = big ? big : 20 + i % 40;

	buf_clear(value);
	assert_int_equal(buf_reserve(value, len, NULL), 0);
	for (size_t n = 0; n < len; n++)
		value->data[n] =
			n % 2 ? 'v' : (unsigned char)((i * 31 + n * i) >> 3);
	value->len = len;
}

struct setting {
	char *path;
	struct fs_dir *dir;
	struct block_cache *cache;
	struct sst_info info;
	struct sst *t;
	struct readahead_pool *pool;
	struct readahead_options options;
	struct iter *it;
};

static void
start_pool(struct setting *s, unsigned after, unsigned threads, uint64_t memory)
{
	s->options.after = after;
	s->options.threads = threads;
	assert_int_equal(
		readahead_pool_new(&s->pool, &s->options, memory, NULL), 0);
}

static void
open_iter(struct setting *s, bool fill_cache)
{
	assert_int_equal(sst_iter_new(&s->it, s->t, fill_cache, NULL), 0);
	sst_iter_read_ahead(s->it, s->pool);
}

static void
set_up(struct setting *s, size_t entries, size_t cache_bytes)
{
	static const struct sst_options options = { BLOCK_BYTES, 10, 1 };
	struct buf value = BUF_INIT;
	struct sst_writer *w;
	char key[16];

	memset(s, 0, sizeof(*s));
	s->options.processors = 64; /* as many as are wanted */
	s->path = tmpdir_new();
	assert_int_equal(fs_dir_open(&s->dir, s->path, false, NULL), 0);
	s->cache = block_cache_new(cache_bytes);
	assert_non_null(s->cache);
	assert_int_equal(sst_writer_open(&w, s->dir, NUMBER, &options, NULL),
	                 0);
	for (size_t i = 0; i < entries; i++) {
		struct entry e = { .key = key_of(i, key),
			           .version = i + 1,
			           .kind = ENTRY_BYTES };

		value_of(i, &value);
		e.value = buf_slice(&value);
		assert_int_equal(sst_writer_add(w, &e, NULL), 0);
	}
	assert_int_equal(sst_writer_finish(w, &s->info, NULL), 0);
	assert_int_equal(sst_open(&s->t, s->dir, &s->info, s->cache, NULL), 0);
	buf_release(&value);
}

/* What is left is nothing, once the helpers have ended. */
static void
tear_down(struct setting *s)
{
	struct block_cache_stat before, stat;

	iter_close(s->it);
	sst_unref(s->t);
	readahead_pool_free(s->pool);
	block_cache_get_stat(s->cache, &before);
	block_cache_set_capacity(s->cache, 0);
	block_cache_get_stat(s->cache, &stat);
	assert_int_equal(stat.used, 0);
	assert_int_equal(stat.evictions, before.evictions);
	block_cache_free(s->cache);
	sst_info_release(&s->info);
	fs_dir_close(s->dir);
	tmpdir_free(s->path);
}

static void
assert_is(const struct iter *it, size_t i)
{
	struct buf value = BUF_INIT;
	char key[16];

	assert_true(it->valid);
	value_of(i, &value);
	if (!slice_equal(it->entry.key, key_of(i, key)) ||
	    !slice_equal(it->entry.value, buf_slice(&value)) ||
	    it->entry.version != i + 1)
		fail_msg("it should stand on entry %zu", i);
	buf_release(&value);
}

static struct readahead_stat
stat_of(struct setting *s)
{
	struct readahead_stat stat;

	readahead_get_stat(s->pool, &stat);
	return stat;
}

/* To the end, or the start. */
static void
walk(struct setting *s, bool backward, size_t entries)
{
	struct iter *it = s->it;

	assert_int_equal(backward ? iter_last(it, NULL) : iter_first(it, NULL),
	                 0);
	for (size_t i = 0; i < entries; i++) {
		assert_is(it, backward ? entries - 1 - i : i);
		assert_int_equal(backward ? iter_prev(it, NULL)
		                          : iter_next(it, NULL),
		                 0);
	}
	assert_false(it->valid);
}

/* Walks until a helper has got a processor and made something. */
static void
walk_until_helped(struct setting *s, bool backward, size_t entries)
{
	do
		walk(s, backward, entries);
	while (!stat_of(s).helped);
}

/* ---- tests ---- */

/* Helped or not, a walk shows every entry, in both directions. */
static void
test_walks(void **state)
{
	(void)state;
	for (unsigned after = 1; after < 40; after += 12)
		for (unsigned fill = 0; fill < 2; fill++) {
			struct setting s;

			/* A cache too small for what would be cached. */
			set_up(&s, ENTRIES, fill ? 40000 : MEMORY);
			start_pool(&s, after, 1 + after % 3, MEMORY);
			open_iter(&s, fill);
			walk_until_helped(&s, false, ENTRIES);
			walk_until_helped(&s, true, ENTRIES);
			tear_down(&s);
		}
}

/* Nobody helps where no thread may, before a walk is long, or where no
   processor is left. */
static void
test_not_helped(void **state)
{
	struct setting s;

	(void)state;
	set_up(&s, ENTRIES, MEMORY);
	start_pool(&s, 1, 0, MEMORY);
	open_iter(&s, false);
	walk(&s, false, ENTRIES);
	assert_int_equal(stat_of(&s).threads, 0);
	iter_close(s.it);
	readahead_pool_free(s.pool);

	start_pool(&s, 1000000, 1, MEMORY);
	open_iter(&s, false);
	walk(&s, true, ENTRIES);
	assert_int_equal(stat_of(&s).threads, 0);
	iter_close(s.it);
	readahead_pool_free(s.pool);

	/* The walk has the only processor. */
	s.options.processors = 1;
	start_pool(&s, 1, 1, MEMORY);
	open_iter(&s, false);
	walk(&s, false, ENTRIES);
	assert_int_equal(stat_of(&s).threads, 0);
	iter_close(s.it);
	readahead_pool_free(s.pool);
	s.pool = NULL;
	open_iter(&s, false);
	walk(&s, true, ENTRIES);
	tear_down(&s);
}

/* What is in the cache is not worth waking anybody. */
static void
test_cached(void **state)
{
	struct sst_hit hit;
	struct setting s;
	char key[16];

	(void)state;
	set_up(&s, ENTRIES, MEMORY);
	for (size_t i = 0; i < ENTRIES; i++) {
		struct slice k = key_of(i, key);

		assert_int_equal(sst_get(s.t, k, sst_key_hash(k), VERSION_MAX,
		                         &hit, NULL),
		                 0);
		sst_hit_release(&hit);
	}
	start_pool(&s, 1, 2, MEMORY);
	open_iter(&s, true);
	walk(&s, false, ENTRIES);
	walk(&s, true, ENTRIES);
	assert_int_equal(stat_of(&s).threads, 0);
	tear_down(&s);
}

/* Turning round and seeking, in the middle of what was read ahead. */
static void
test_turns(void **state)
{
	struct setting s;
	size_t at;
	char key[16];

	(void)state;
	set_up(&s, ENTRIES, 200000);
	start_pool(&s, 2, 1, MEMORY);
	open_iter(&s, true);
	for (size_t n = 0; n < 400; n++) {
		at = below(ENTRIES);
		assert_int_equal(
			iter_seek(s.it, key_of(at, key), VERSION_MAX, NULL), 0);
		assert_is(s.it, at);
		for (size_t legs = below(4); legs; legs--) {
			bool backward = below(2);

			for (size_t steps = below(600); steps; steps--) {
				if (at == (backward ? 0 : ENTRIES - 1))
					break;
				at += backward ? (size_t)-1 : 1;
				assert_int_equal(
					backward ? iter_prev(s.it, NULL)
						 : iter_next(s.it, NULL),
					0);
				assert_is(s.it, at);
			}
		}
	}
	tear_down(&s);
}

/* Where a block is damaged, a walk fails at its first entry, not before; what
   lies behind it is still there; and one that ends before never knows. */
static void
test_damage(void **state)
{
	struct setting s;
	struct sst_index *x;

	(void)state;
	set_up(&s, ENTRIES, 200000);
	assert_int_equal(sst_get_index(s.t, false, &x, NULL), 0);
	for (size_t n = 0; n < 60; n++) {
		uint32_t block = (uint32_t)below(x->count);
		uint64_t offset =
			x->offset[block] +
			below(x->offset[block + 1] - x->offset[block]);
		bool backward = below(2);
		struct err plain = ERR_INIT, helped = ERR_INIT;
		size_t seen[2] = { 0, 0 }, early;
		char name[NAME_MAX_LEN];
		int rc[2];

		tmpdir_flip(s.path, name_sst(NUMBER, name), offset, 0x10);
		start_pool(&s, 1 + (unsigned)below(3), 2, MEMORY);
		for (unsigned with = 0; with < 2; with++) {
			struct err *err = with ? &helped : &plain;

			assert_int_equal(sst_iter_new(&s.it, s.t, false, NULL),
			                 0);
			if (with)
				sst_iter_read_ahead(s.it, s.pool);
			rc[with] = backward ? iter_last(s.it, err)
			                    : iter_first(s.it, err);
			while (!rc[with] && s.it->valid) {
				assert_is(s.it,
				          backward ? ENTRIES - 1 - seen[with]
				                   : seen[with]);
				seen[with]++;
				rc[with] = backward ? iter_prev(s.it, err)
				                    : iter_next(s.it, err);
			}
			assert_false(s.it->valid);
			/* Behind it. */
			if (with && block + 3 < x->count) {
				struct sst_index_record record;

				sst_index_record(x, block + 1, &record);
				assert_int_equal(iter_seek(s.it, record.key,
				                           record.version,
				                           NULL),
				                 0);
				assert_true(s.it->valid);
			}
			iter_close(s.it);
		}
		assert_int_equal(rc[0], LSMKV_ECORRUPT);
		assert_int_equal(rc[1], LSMKV_ECORRUPT);
		assert_int_equal(seen[0], seen[1]);
		assert_string_equal(plain.message, helped.message);

		early = seen[0];
		open_iter(&s, false);
		for (size_t i = 0; i < early; i++)
			assert_int_equal(i ? backward ? iter_prev(s.it, NULL)
			                              : iter_next(s.it, NULL)
			                 : backward ? iter_last(s.it, NULL)
			                            : iter_first(s.it, NULL),
			                 0);
		iter_close(s.it);
		s.it = NULL;
		readahead_pool_free(s.pool);
		s.pool = NULL;
		tmpdir_flip(s.path, name, offset, 0x10);
	}
	cache_block_unpin(&x->head);
	tear_down(&s);
}

/* A walk that ends anywhere leaves nothing: no memory, and no file that was
   deleted below it. */
static void
test_early_close(void **state)
{
	char name[NAME_MAX_LEN];
	struct setting s;

	(void)state;
	for (size_t n = 0; n < 150; n++) {
		size_t steps = below(ENTRIES);
		bool backward = below(2);

		set_up(&s, ENTRIES, 100000);
		start_pool(&s, 1, 1 + (unsigned)below(2), MEMORY);
		open_iter(&s, true);
		assert_int_equal(backward ? iter_last(s.it, NULL)
		                          : iter_first(s.it, NULL),
		                 0);
		while (steps-- && s.it->valid)
			assert_int_equal(backward ? iter_prev(s.it, NULL)
			                          : iter_next(s.it, NULL),
			                 0);
		sst_set_obsolete(s.t);
		sst_unref(s.t);
		s.t = NULL;
		iter_close(s.it);
		s.it = NULL;
		readahead_pool_free(s.pool);
		s.pool = NULL;
		assert_false(tmpdir_has(s.path, name_sst(NUMBER, name)));
		tear_down(&s);
	}
}

/* What stands ready is charged to the cache, and is bounded. */
static void
test_memory(void **state)
{
	struct block_cache_stat stat;
	struct setting s;
	size_t before;

	(void)state;
	for (big = 0; big < 300000; big = big * 8 + 1000) {
		size_t entries = big > 8000 ? 100 : ENTRIES;
		size_t most_of_one = big + BLOCK_BYTES + 4096;

		set_up(&s, entries, MEMORY);
		start_pool(&s, 1, 1, MEMORY);
		open_iter(&s, false);
		block_cache_get_stat(s.cache, &stat);
		before = stat.used;
		assert_int_equal(iter_first(s.it, NULL), 0);
		for (size_t i = 0; i < entries; i++) {
			assert_is(s.it, i);
			block_cache_get_stat(s.cache, &stat);
			/* Two are the iterator's. */
			assert_true(stat.used - before <=
			            READAHEAD_BYTES +
			                    (READAHEAD_RUNS + 2) * most_of_one);
			assert_int_equal(iter_next(s.it, NULL), 0);
		}
		/* A block that fills a run is left to the walk. */
		if (big <= READAHEAD_BYTES / READAHEAD_RUNS)
			walk_until_helped(&s, false, entries);
		else
			assert_int_equal(stat_of(&s).helped, 0);
		tear_down(&s);
		if (big == 73000)
			break;
	}
	big = 0;
}

/* A pool helps as many iterators at a time as its memory allows. */
static void
test_limit(void **state)
{
	struct readahead *first, *second;
	struct sst_index *x;
	struct setting s;

	(void)state;
	set_up(&s, ENTRIES, MEMORY);
	start_pool(&s, 1, 1, 0);
	assert_int_equal(sst_get_index(s.t, false, &x, NULL), 0);
	first = readahead_start(s.pool, s.t, x, 0, false);
	assert_non_null(first);
	assert_null(readahead_start(s.pool, s.t, x, 0, false));
	readahead_stop(first);
	second = readahead_start(s.pool, s.t, x, 5, true);
	assert_non_null(second);
	readahead_stop(second);
	/* The second is on its own. */
	open_iter(&s, false);
	assert_int_equal(iter_first(s.it, NULL), 0);
	for (size_t i = 1; i < 1000; i++)
		assert_int_equal(iter_next(s.it, NULL), 0);
	{
		struct iter *other = s.it;

		open_iter(&s, false);
		walk(&s, false, ENTRIES);
		iter_close(other);
	}
	cache_block_unpin(&x->head);
	tear_down(&s);
}

static void *
walk_often(void *arg)
{
	struct setting s = *(struct setting *)arg;

	for (unsigned n = 0; n < 6; n++) {
		open_iter(&s, n % 2);
		walk(&s, n % 3, ENTRIES);
		iter_close(s.it);
	}
	return NULL;
}

/* More scans at a time than there are helpers, or room for. */
static void
test_many(void **state)
{
	struct setting s;
	pthread_t thread[8];

	(void)state;
	set_up(&s, ENTRIES, 300000);
	start_pool(&s, 1, 2, 5 * READAHEAD_BYTES);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, walk_often, &s), 0);
	for (size_t i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	tear_down(&s);
}

/* ---- of a whole store ---- */

#define KEYS 3000u

struct scans {
	struct fixture *f;
	atomic_bool stop;
	uint64_t snapshot; /* which has the keys as they were first */
};

static void *
scan_often(void *arg)
{
	struct scans *c = (struct scans *)arg;
	unsigned round = 0;

	while (!atomic_load(&c->stop)) {
		struct scan_range range = { .reverse = round++ % 2 };
		struct scan *scan;
		struct entry e;
		size_t n = 0, most = round % 3 ? KEYS + 1 : round * 97 % KEYS;
		char key[16];
		int rc = 0;

		assert_int_equal(store_scan(c->f->store, &range, c->snapshot,
		                            &scan, NULL),
		                 0);
		while (n < most && !(rc = scan_next(scan, &e, NULL))) {
			size_t i = range.reverse ? KEYS - 1 - n : n;

			assert_true(slice_equal(e.key, key_of(i, key)));
			assert_true(e.value.len == 100 && e.value.data[0] == 0);
			n++;
		}
		assert_true(n == most || (rc == LSMKV_END && n == KEYS));
		scan_close(scan);
	}
	return NULL;
}

/* Snapshots are scanned as ever while their files are merged and deleted. */
static void
test_store(void **state)
{
	struct fixture *f = fixture_new();
	struct scans c = { .f = f };
	unsigned char value[100] = { 0 };
	struct store_stat stat;
	pthread_t thread[3];
	char key[16];

	(void)state;
	f->options.sync = SYNC_NONE;
	f->options.memory_bytes = 8u << 20;
	f->options.memtable_bytes = 64u << 10;
	f->options.readahead.after = 1;
	f->options.readahead.threads = 2;
	f->options.readahead.processors = 64;
	f->options.compactor.sst.block_bytes = BLOCK_BYTES;
	open_store(f);
	for (unsigned round = 0; round < 6; round++) {
		for (size_t i = 0; i < KEYS; i++) {
			struct op op = { .key = key_of(i, key),
				         .kind = ENTRY_BYTES,
				         .value = slice_make(value,
				                             sizeof(value)) };
			int rc;

			value[0] = (unsigned char)round;
			while ((rc = store_write(f->store, &op, 1, NULL,
			                         NULL)) == LSMKV_ESTALLED)
				clock_sleep_us(1000);
			assert_int_equal(rc, 0);
		}
		if (!round) {
			assert_int_equal(store_compact(f->store, NULL), 0);
			assert_int_equal(store_snapshot_open(f->store,
			                                     &c.snapshot, NULL),
			                 0);
			for (size_t i = 0; i < 3; i++)
				assert_int_equal(pthread_create(&thread[i],
				                                NULL,
				                                scan_often, &c),
				                 0);
		}
		assert_int_equal(store_compact(f->store, NULL), 0);
	}
	do {
		store_get_stat(f->store, &stat);
		clock_sleep_us(1000);
	} while (!stat.readahead.helped);
	atomic_store(&c.stop, true);
	for (size_t i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	store_snapshot_close(f->store, c.snapshot);
	fixture_free(f);
}

/* A store is told at once that a threshold of no block makes no sense. */
static void
test_options(void **state)
{
	struct fixture *f = fixture_new();
	struct err err = ERR_INIT;

	(void)state;
	f->options.readahead.after = 0;
	assert_int_equal(store_open(&f->store, f->path, &f->options, &err),
	                 LSMKV_EINVAL);
	assert_true(err.message[0]);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walks),
		cmocka_unit_test(test_not_helped),
		cmocka_unit_test(test_cached),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_early_close),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
