/* SPDX-License-Identifier: ISC */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench/bench.h"
#include "bench/engine_table.h"
#include "store/names.h"
#include "store/store.h"

#define VALUE_ROOM (16u << 10) /* bytes that a reader has from the start */

static _Thread_local struct buf value_of_thread;

static void
lsmkv_version(char *out, size_t len)
{
	snprintf(out, len, "%s", PACKAGE_VERSION);
}

static void
lsmkv_describe(const struct bench_config *config, char *out, size_t len)
{
	snprintf(out, len,
	         "memory limit %.0f MB: memtables of %.0f MB, block cache "
	         "of at most %.0f MB",
	         (double)config->memory_bytes / MB,
	         (double)config->memtable_bytes / MB,
	         (double)config->cache_bytes / MB);
}

static void *
lsmkv_open(const struct bench_config *config)
{
	struct store_options o;
	struct store *s;
	struct err err = ERR_INIT;
	int rc;

	mallopt(M_ARENA_MAX, 4); /* as lsmkv.fcgi does */
	log_set_level(LOG_LEVEL_WARN);
	store_options_init(&o);
	o.memtable_bytes = config->memtable_bytes;
	o.memory_bytes = config->memory_bytes;
	o.cache_bytes = config->cache_bytes;
	o.sync = config->sync ? SYNC_ALWAYS : SYNC_NONE;
	o.compactor.helper = getenv("LSMKV_HELPER");
	/* The helper of an owner that was killed may not have noticed yet. */
	while ((rc = store_open(&s, config->dir, &o, &err)) == LSMKV_ELOCKED)
		clock_sleep_us(1000);
	if (rc)
		bench_die("lsmkv", "open", err.message);
	return s;
}

static void
lsmkv_put(void *db, const char *key, size_t key_len, const char *value,
          size_t value_len)
{
	struct op op = { .key = slice_make(key, key_len),
		         .value = slice_make(value, value_len),
		         .kind = ENTRY_BYTES };
	struct err err = ERR_INIT;
	int rc;

	/* A refusal is part of the time that the write takes. */
	while ((rc = store_write(db, &op, 1, NULL, &err)) == LSMKV_ESTALLED)
		clock_sleep_us(1000);
	if (rc)
		bench_die("lsmkv", "write", err.message);
}

static bool
lsmkv_get(void *db, const char *key, size_t key_len, size_t *len)
{
	struct entry_info info;
	struct err err = ERR_INIT;
	int rc;

	/* Values of two threads in one cache line would go to and fro. */
	if (!value_of_thread.cap &&
	    buf_reserve(&value_of_thread, VALUE_ROOM, &err))
		bench_die("lsmkv", "get", err.message);
	rc = store_get(db, slice_make(key, key_len), 0, &value_of_thread, &info,
	               &err);
	if (rc < 0)
		bench_die("lsmkv", "get", err.message);
	*len = value_of_thread.len;
	return !rc;
}

static void
lsmkv_scan(void *db, bool backward, uint64_t limit, struct bench_scan *sum)
{
	struct scan_range range = { { NULL, 0 }, { NULL, 0 }, backward };
	struct err err = ERR_INIT;
	struct scan *scan;
	struct entry e;
	int rc = store_scan(db, &range, 0, &scan, &err);

	while (!rc && sum->entries < limit) {
		rc = scan_next(scan, &e, &err);
		if (rc)
			break;
		sum->entries++;
		sum->bytes += e.key.len + e.value.len;
	}
	if (rc < 0)
		bench_die("lsmkv", "scan", err.message);
	scan_close(scan);
}

static void
lsmkv_compact(void *db)
{
	struct err err = ERR_INIT;

	if (store_compact(db, &err))
		bench_die("lsmkv", "compact", err.message);
}

static uint64_t
lsmkv_written(void *db)
{
	struct store_stat stat;

	store_get_stat(db, &stat);
	return stat.wal_bytes + stat.flush_bytes + stat.compactor.bytes_written;
}

static void
lsmkv_close(void *db)
{
	store_close(db, NULL);
}

const struct bench_engine bench_lsmkv = {
	.name = "lsmkv",
	.compression = "zlib",
	.set_aside = NAME_RESERVE,
	.version = lsmkv_version,
	.describe = lsmkv_describe,
	.open = lsmkv_open,
	.put = lsmkv_put,
	.get = lsmkv_get,
	.scan = lsmkv_scan,
	.compact = lsmkv_compact,
	.written = lsmkv_written,
	.close = lsmkv_close,
};
