/* SPDX-License-Identifier: ISC */
/*
 * What the HTTP side needs from a storage engine, and all that it knows of
 * one: the seam at which a second, distributed engine fits.
 *
 * The calls mean what the functions of the same names in store/store.h say.
 */
#ifndef LSMKV_ENGINE_H
#define LSMKV_ENGINE_H

#include "store/store.h"

struct engine;

struct engine_ops {
	int (*get)(struct engine *e, struct slice key, uint64_t snapshot,
	           struct buf *value, struct entry_info *info, struct err *err);
	int (*write)(struct engine *e, struct op *ops, size_t count,
	             size_t *failed, struct err *err);
	int (*snapshot_open)(struct engine *e, uint64_t *snapshot,
	                     struct err *err);
	void (*snapshot_close)(struct engine *e, uint64_t snapshot);
	int (*scan)(struct engine *e, const struct scan_range *range,
	            uint64_t snapshot, struct scan **out, struct err *err);
	void (*stat)(struct engine *e, struct store_stat *stat);
	int (*close)(struct engine *e, struct err *err);
};

struct engine {
	const struct engine_ops *ops;
};

/* The LSM engine of src/store in the directory path (engine_lsm.c). */
int engine_open_lsm(struct engine **out, const char *path,
                    const struct store_options *options, struct err *err);

static inline int
engine_get(struct engine *e, struct slice key, uint64_t snapshot,
           struct buf *value, struct entry_info *info, struct err *err)
{
	return e->ops->get(e, key, snapshot, value, info, err);
}

static inline int
engine_write(struct engine *e, struct op *ops, size_t count, size_t *failed,
             struct err *err)
{
	return e->ops->write(e, ops, count, failed, err);
}

static inline int
engine_close(struct engine *e, struct err *err)
{
	return e->ops->close(e, err);
}

#endif
