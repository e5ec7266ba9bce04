/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <leveldb/c.h>

#include "bench/bench.h"
#include "bench/engine_table.h"

#define FILE_BYTES (16u << 20) /* 2 MB, its default, fills more slowly */

struct db {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_writeoptions_t *write;
	leveldb_readoptions_t *read;
	leveldb_readoptions_t *scan; /* does not fill the cache */
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *filter;
};

static void
level_version(char *out, size_t len)
{
	snprintf(out, len, "%d.%d", leveldb_major_version(),
	         leveldb_minor_version());
}

/* One write buffer takes writes, another one is flushed. */
static size_t
write_buffer(const struct bench_config *config)
{
	return (config->memory_bytes - config->cache_bytes) / 2;
}

static void
level_describe(const struct bench_config *config, char *out, size_t len)
{
	snprintf(out, len,
	         "2 write buffers of %.0f MB, block cache %.0f MB; "
	         "10 bloom bits, files of %u MB",
	         (double)write_buffer(config) / MB,
	         (double)config->cache_bytes / MB, FILE_BYTES >> 20);
}

static void *
level_open(const struct bench_config *config)
{
	struct db *d = calloc(1, sizeof(*d));
	char *error = NULL;

	d->options = leveldb_options_create();
	d->cache = leveldb_cache_create_lru(config->cache_bytes);
	d->filter = leveldb_filterpolicy_create_bloom(10);
	leveldb_options_set_create_if_missing(d->options, 1);
	leveldb_options_set_write_buffer_size(d->options, write_buffer(config));
	leveldb_options_set_max_file_size(d->options, FILE_BYTES);
	leveldb_options_set_max_open_files(d->options, 20000);
	leveldb_options_set_cache(d->options, d->cache);
	leveldb_options_set_filter_policy(d->options, d->filter);
	leveldb_options_set_compression(d->options, leveldb_snappy_compression);
	d->write = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(d->write, config->sync);
	d->read = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(d->read, 1);
	d->scan = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(d->scan, 1);
	d->db = leveldb_open(d->options, config->dir, &error);
	if (error)
		bench_die("leveldb", "open", error);
	return d;
}

static void
level_put(void *db, const char *key, size_t key_len, const char *value,
          size_t value_len)
{
	struct db *d = db;
	char *error = NULL;

	leveldb_put(d->db, d->write, key, key_len, value, value_len, &error);
	if (error)
		bench_die("leveldb", "put", error);
}

static bool
level_get(void *db, const char *key, size_t key_len, size_t *len)
{
	struct db *d = db;
	char *error = NULL;
	char *value = leveldb_get(d->db, d->read, key, key_len, len, &error);

	if (error)
		bench_die("leveldb", "get", error);
	leveldb_free(value);
	return value != NULL;
}

static void
level_scan(void *db, bool backward, uint64_t limit, struct bench_scan *sum)
{
	struct db *d = db;
	leveldb_iterator_t *it = leveldb_create_iterator(d->db, d->scan);
	char *error = NULL;

	if (backward)
		leveldb_iter_seek_to_last(it);
	else
		leveldb_iter_seek_to_first(it);
	while (leveldb_iter_valid(it) && sum->entries < limit) {
		size_t key_len, value_len;

		leveldb_iter_key(it, &key_len);
		leveldb_iter_value(it, &value_len);
		sum->entries++;
		sum->bytes += key_len + value_len;
		if (backward)
			leveldb_iter_prev(it);
		else
			leveldb_iter_next(it);
	}
	leveldb_iter_get_error(it, &error);
	if (error)
		bench_die("leveldb", "scan", error);
	leveldb_iter_destroy(it);
}

static void
level_compact(void *db)
{
	struct db *d = db;

	leveldb_compact_range(d->db, NULL, 0, NULL, 0);
}

/* Its property leveldb.stats knows compactions, but not the log. */
static uint64_t
level_written(void *db)
{
	(void)db;
	return 0;
}

static void
level_close(void *db)
{
	struct db *d = db;

	leveldb_close(d->db);
	leveldb_options_destroy(d->options);
	leveldb_writeoptions_destroy(d->write);
	leveldb_readoptions_destroy(d->read);
	leveldb_readoptions_destroy(d->scan);
	leveldb_cache_destroy(d->cache);
	leveldb_filterpolicy_destroy(d->filter);
	free(d);
}

const struct bench_engine bench_leveldb = {
	.name = "leveldb",
	.compression = "snappy",
	.version = level_version,
	.describe = level_describe,
	.open = level_open,
	.put = level_put,
	.get = level_get,
	.scan = level_scan,
	.compact = level_compact,
	.written = level_written,
	.close = level_close,
};
