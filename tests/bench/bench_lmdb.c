/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>

#include <lmdb.h>

#include "bench/bench.h"
#include "bench/engine_table.h"

struct db {
	MDB_env *env;
	MDB_dbi dbi;
	bool sync;
};

/* A reader's transaction is renewed, not made anew: the fast way to read. */
static _Thread_local MDB_txn *reader;

static void
check(int rc, const char *what)
{
	if (rc)
		bench_die("lmdb", what, mdb_strerror(rc));
}

static void
lmdb_version(char *out, size_t len)
{
	int major, minor, patch;

	mdb_version(&major, &minor, &patch);
	snprintf(out, len, "%d.%d.%d", major, minor, patch);
}

static void
lmdb_describe(const struct bench_config *config, char *out, size_t len)
{
	snprintf(out, len,
	         "page cache %.0f MB; MDB_NOSYNC, MDB_WRITEMAP (not for "
	         "synced fills), MDB_NORDAHEAD",
	         (double)config->memory_bytes / MB);
}

/*
 * MDB_NORDAHEAD: where the page cache is smaller than the data, readahead
 * makes it many times slower, and elsewhere it changes nothing. MDB_WRITEMAP
 * fills more than twice as fast as without.
 */
static void *
lmdb_open(const struct bench_config *config)
{
	struct db *d = calloc(1, sizeof(*d));
	MDB_txn *txn;
	size_t map = config->data_bytes * 4 + (64u << 20);

	d->sync = config->sync;
	check(mdb_env_create(&d->env), "create");
	check(mdb_env_set_mapsize(d->env, map), "set_mapsize");
	check(mdb_env_set_maxreaders(d->env, 512), "set_maxreaders");
	check(mdb_env_open(
		      d->env, config->dir,
		      MDB_NORDAHEAD |
			      (config->sync ? 0 : MDB_NOSYNC | MDB_WRITEMAP),
		      0644),
	      "open");
	check(mdb_txn_begin(d->env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, 0, &d->dbi), "dbi_open");
	check(mdb_txn_commit(txn), "commit");
	return d;
}

static void
lmdb_put(void *db, const char *key, size_t key_len, const char *value,
         size_t value_len)
{
	struct db *d = db;
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	MDB_val v = { value_len, (void *)(uintptr_t)value };
	MDB_txn *txn;

	check(mdb_txn_begin(d->env, NULL, 0, &txn), "begin");
	check(mdb_put(txn, d->dbi, &k, &v, 0), "put");
	check(mdb_txn_commit(txn), "commit");
}

static bool
lmdb_get(void *db, const char *key, size_t key_len, size_t *len)
{
	struct db *d = db;
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { 0, NULL };
	int rc;

	if (!reader)
		check(mdb_txn_begin(d->env, NULL, MDB_RDONLY, &reader),
		      "begin");
	else
		check(mdb_txn_renew(reader), "renew");
	rc = mdb_get(reader, d->dbi, &k, &v);
	mdb_txn_reset(reader);
	if (rc && rc != MDB_NOTFOUND)
		check(rc, "get");
	*len = v.mv_size;
	return !rc;
}

static void
lmdb_scan(void *db, bool backward, uint64_t limit, struct bench_scan *sum)
{
	struct db *d = db;
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val k, v;
	int rc;

	check(mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn), "begin");
	check(mdb_cursor_open(txn, d->dbi, &cursor), "cursor");
	while (sum->entries < limit) {
		rc = mdb_cursor_get(cursor, &k, &v,
		                    backward ? MDB_PREV : MDB_NEXT);
		if (rc == MDB_NOTFOUND)
			break;
		check(rc, "scan");
		sum->entries++;
		sum->bytes += k.mv_size + v.mv_size;
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
}

static uint64_t
lmdb_written(void *db)
{
	(void)db;
	return 0;
}

static void
lmdb_close(void *db)
{
	struct db *d = db;

	if (reader)
		mdb_txn_abort(reader);
	reader = NULL;
	mdb_env_close(d->env);
	free(d);
}

const struct bench_engine bench_lmdb = {
	.name = "lmdb",
	.compression = "none",
	.page_cache = true,
	.version = lmdb_version,
	.describe = lmdb_describe,
	.open = lmdb_open,
	.put = lmdb_put,
	.get = lmdb_get,
	.scan = lmdb_scan,
	.written = lmdb_written,
	.close = lmdb_close,
};
