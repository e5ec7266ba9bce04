/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench/engine_table.h"
#include "store/store.h"

static _Thread_local struct buf value_of_thread;

static void *
lsmkv_open(const struct bench_config *config)
{
	struct store_options o;
	struct store *s;
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_WARN);
	store_options_init(&o);
	o.memtable_bytes = config->memtable_bytes;
	o.memory_bytes = 3 * config->memtable_bytes + config->cache_bytes;
	o.sync = config->sync ? SYNC_ALWAYS : SYNC_NONE;
	o.compactor.helper = getenv("LSMKV_HELPER");
	if (store_open(&s, config->dir, &o, &err))
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
	int rc = store_get(db, slice_make(key, key_len), 0, &value_of_thread,
	                   &info, &err);

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
	.version = PACKAGE_VERSION,
	.compression = "zlib",
	.open = lsmkv_open,
	.put = lsmkv_put,
	.get = lsmkv_get,
	.scan = lsmkv_scan,
	.compact = lsmkv_compact,
	.written = lsmkv_written,
	.close = lsmkv_close,
};
