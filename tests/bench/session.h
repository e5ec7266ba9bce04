/* SPDX-License-Identifier: ISC */
/*
 * A session: one engine with its store open, and the memory it was given.
 *
 * "The same memory" is three write buffers of --memtable and a block cache of
 * --cache, for each engine in the way it uses that best:
 *
 *     lsmkv    the sum as its memory limit; the cache takes no more than
 *              --cache of it, whether memtables use theirs or not
 *     RocksDB  three write buffers, and the block cache
 *     LevelDB  has two write buffers; each is half as large again
 *     LMDB     a page cache of the sum, through a memory cgroup (memory_group.h)
 *
 * Where everything is said to be cached, the block caches are larger than the
 * data, and LMDB may have as much of the page cache as it wants. The page
 * cache of the others is not bounded, and holds their compressed files: unless
 * --within has all of them run inside a memory cgroup.
 */
#ifndef LSMKV_BENCH_SESSION_H
#define LSMKV_BENCH_SESSION_H

#include "bench/bench.h"
#include "bench/engine_table.h"

/* What a store holds. */
struct data {
	uint64_t entries;
	uint64_t value_len;
	bool incompressible; /* values are; else half of each is a copy */
};

struct session {
	const struct bench_engine *engine;
	struct data data;
	struct bench_config config;
	void *db; /* the engine's; NULL while closed */
};

enum cached {
	CACHE_AS_SET, /* --cache; a quarter of the data by default */
	CACHE_ALL,    /* more than the data */
};

/* The memory and the rest that every engine is given alike. */
void session_config(struct bench_config *config, const char *dir,
                    const struct data *data, enum cached cached, bool sync);
/* Nothing is opened; inside a memory cgroup where LMDB is to have one. */
void session_init(struct session *s, const struct bench_engine *engine,
                  const char *dir, const struct data *data, enum cached cached,
                  bool sync);
void session_open(struct session *s);
void session_close(struct session *s);
/* Seconds that it took; negative: the engine has nothing to compact. */
double session_compact(struct session *s);
/* Waits until the engine has stopped writing by itself. */
void session_settle(void);

/* Bytes of the keys and values of `data`. */
uint64_t data_bytes(const struct data *data);

#endif
