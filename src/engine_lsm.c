/* SPDX-License-Identifier: ISC */
/* The LSM engine of src/store behind engine.h. */
#include <stdlib.h>

#include "engine.h"

struct engine_lsm {
	struct engine base;
	struct store *store;
};

static struct store *
store_of(struct engine *e)
{
	return ((struct engine_lsm *)e)->store;
}

static int
lsm_get(struct engine *e, struct slice key, uint64_t snapshot,
        struct buf *value, struct entry_info *info, struct err *err)
{
	return store_get(store_of(e), key, snapshot, value, info, err);
}

static int
lsm_write(struct engine *e, struct op *ops, size_t count, size_t *failed,
          struct err *err)
{
	return store_write(store_of(e), ops, count, failed, err);
}

static int
lsm_snapshot_open(struct engine *e, uint64_t *snapshot, struct err *err)
{
	return store_snapshot_open(store_of(e), snapshot, err);
}

static void
lsm_snapshot_close(struct engine *e, uint64_t snapshot)
{
	store_snapshot_close(store_of(e), snapshot);
}

static int
lsm_scan(struct engine *e, const struct scan_range *range, uint64_t snapshot,
         struct scan **out, struct err *err)
{
	return store_scan(store_of(e), range, snapshot, out, err);
}

static void
lsm_stat(struct engine *e, struct store_stat *stat)
{
	store_get_stat(store_of(e), stat);
}

static int
lsm_close(struct engine *e, struct err *err)
{
	int rc = store_close(store_of(e), err);

	free(e);
	return rc;
}

static const struct engine_ops lsm_ops = {
	.get = lsm_get,
	.write = lsm_write,
	.snapshot_open = lsm_snapshot_open,
	.snapshot_close = lsm_snapshot_close,
	.scan = lsm_scan,
	.stat = lsm_stat,
	.close = lsm_close,
};

int
engine_open_lsm(struct engine **out, const char *path,
                const struct store_options *options, struct err *err)
{
	struct engine_lsm *e = calloc(1, sizeof(*e));
	int rc;

	*out = NULL;
	if (!e)
		return err_nomem(err, sizeof(*e));
	e->base.ops = &lsm_ops;
	rc = store_open(&e->store, path, options, err);
	if (rc) {
		free(e);
		return rc;
	}
	*out = &e->base;
	return 0;
}
