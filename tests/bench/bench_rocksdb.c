/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rocksdb/c.h>

#include "bench/bench.h"
#include "bench/engine_table.h"

struct db {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_writeoptions_t *write;
	rocksdb_readoptions_t *read;
	rocksdb_cache_t *cache;
};

static void
rocks_version(char *out, size_t len)
{
	snprintf(out, len, "%s", ROCKSDB_VERSION); /* from pkg-config */
}

static void
rocks_describe(const struct bench_config *config, char *out, size_t len)
{
	snprintf(out, len,
	         "3 write buffers of %.0f MB, block cache %.0f MB; "
	         "10 bloom bits, 2 background jobs",
	         (double)config->memtable_bytes / MB,
	         (double)config->cache_bytes / MB);
}

static void *
rocks_open(const struct bench_config *config)
{
	struct db *d = calloc(1, sizeof(*d));
	char *error = NULL;

	d->options = rocksdb_options_create();
	d->table = rocksdb_block_based_options_create();
	d->cache = rocksdb_cache_create_lru(config->cache_bytes);
	rocksdb_block_based_options_set_block_cache(d->table, d->cache);
	/* The options take the filter over. */
	rocksdb_block_based_options_set_filter_policy(
		d->table, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(d->options, d->table);
	rocksdb_options_set_create_if_missing(d->options, 1);
	rocksdb_options_set_write_buffer_size(d->options,
	                                      config->memtable_bytes);
	rocksdb_options_set_max_write_buffer_number(d->options, 3);
	rocksdb_options_set_compression(d->options, rocksdb_zlib_compression);
	rocksdb_options_increase_parallelism(d->options, 2);
	d->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(d->write, config->sync);
	d->read = rocksdb_readoptions_create();
	d->db = rocksdb_open(d->options, config->dir, &error);
	if (error)
		bench_die("rocksdb", "open", error);
	return d;
}

static void
rocks_put(void *db, const char *key, size_t key_len, const char *value,
          size_t value_len)
{
	struct db *d = db;
	char *error = NULL;

	rocksdb_put(d->db, d->write, key, key_len, value, value_len, &error);
	if (error)
		bench_die("rocksdb", "put", error);
}

static bool
rocks_get(void *db, const char *key, size_t key_len, size_t *len)
{
	struct db *d = db;
	char *error = NULL;
	rocksdb_pinnableslice_t *value =
		rocksdb_get_pinned(d->db, d->read, key, key_len, &error);

	if (error)
		bench_die("rocksdb", "get", error);
	if (!value)
		return false;
	rocksdb_pinnableslice_value(value, len);
	rocksdb_pinnableslice_destroy(value);
	return true;
}

static void
rocks_scan(void *db, bool backward, uint64_t limit, struct bench_scan *sum)
{
	struct db *d = db;
	rocksdb_iterator_t *it = rocksdb_create_iterator(d->db, d->read);
	char *error = NULL;

	if (backward)
		rocksdb_iter_seek_to_last(it);
	else
		rocksdb_iter_seek_to_first(it);
	while (rocksdb_iter_valid(it) && sum->entries < limit) {
		size_t key_len, value_len;

		rocksdb_iter_key(it, &key_len);
		rocksdb_iter_value(it, &value_len);
		sum->entries++;
		sum->bytes += key_len + value_len;
		if (backward)
			rocksdb_iter_prev(it);
		else
			rocksdb_iter_next(it);
	}
	rocksdb_iter_get_error(it, &error);
	if (error)
		bench_die("rocksdb", "scan", error);
	rocksdb_iter_destroy(it);
}

static void
rocks_compact(void *db)
{
	struct db *d = db;

	rocksdb_compact_range(d->db, NULL, 0, NULL, 0);
}

/* The gigabytes in "name ... word: n GB" or "name n GB". */
static double
gigabytes(const char *text, const char *name, const char *word)
{
	const char *at = strstr(text, name);

	at = at ? strstr(at, word) : NULL;
	return at ? strtod(at + strlen(word), NULL) : 0;
}

/*
 * From the property rocksdb.stats, to 10 MB; flushes are among its
 * compactions. (The statistics proper would be exact, and cost time.)
 */
static uint64_t
rocks_written(void *db)
{
	struct db *d = db;
	char *text = rocksdb_property_value(d->db, "rocksdb.stats");
	double sum = 0;

	if (text)
		sum = gigabytes(text, "Cumulative WAL:", "written: ") +
		      gigabytes(text, "Cumulative compaction:", "compaction: ");
	rocksdb_free(text);
	return (uint64_t)(sum * 1024 * MB);
}

static void
rocks_close(void *db)
{
	struct db *d = db;

	rocksdb_close(d->db);
	rocksdb_options_destroy(d->options);
	rocksdb_block_based_options_destroy(d->table);
	rocksdb_writeoptions_destroy(d->write);
	rocksdb_readoptions_destroy(d->read);
	rocksdb_cache_destroy(d->cache);
	free(d);
}

const struct bench_engine bench_rocksdb = {
	.name = "rocksdb",
	.compression = "zlib",
	.version = rocks_version,
	.describe = rocks_describe,
	.open = rocks_open,
	.put = rocks_put,
	.get = rocks_get,
	.scan = rocks_scan,
	.compact = rocks_compact,
	.written = rocks_written,
	.close = rocks_close,
};
