/* SPDX-License-Identifier: ISC */
/*
 * The engines that the benchmark compares, as a table: each file
 * bench_<engine>.c fills in one. An engine that was not found by configure
 * is left out, with a line that says so.
 */
#ifndef LSMKV_BENCH_ENGINE_TABLE_H
#define LSMKV_BENCH_ENGINE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What every engine is given alike. */
struct bench_config {
	const char *dir;       /* the engine's own; empty, or its store */
	size_t memory_bytes;   /* write buffers and cache together */
	size_t memtable_bytes; /* one of three write buffers */
	size_t cache_bytes;    /* of blocks */
	size_t data_bytes;     /* about what will be written (LMDB's map) */
	bool sync;             /* each write is on disk when it returns */
};

struct bench_scan {
	uint64_t entries, bytes;
};

/* Every call ends the process with a message when the engine reports an error:
   a benchmark that goes on after one measures nothing. */
struct bench_engine {
	const char *name;
	const char *compression;
	/* It has no cache but the page cache, which a memory cgroup bounds. */
	bool page_cache;
	/* A file that holds no data but space for a full disk; may be NULL. */
	const char *set_aside;
	void (*version)(char *out, size_t len);
	/* What it makes of a config, in words. */
	void (*describe)(const struct bench_config *config, char *out,
	                 size_t len);
	void *(*open)(const struct bench_config *config);
	void (*put)(void *db, const char *key, size_t key_len,
	            const char *value, size_t value_len);
	/* True if the key is there; its value's length is *len. */
	bool (*get)(void *db, const char *key, size_t key_len, size_t *len);
	/* Over everything, at most `limit` entries. */
	void (*scan)(void *db, bool backward, uint64_t limit,
	             struct bench_scan *sum);
	/* One sorted run, and nothing left to do in the background. NULL:
	   it has nothing to compact. */
	void (*compact)(void *db);
	/* Bytes that it says it wrote: log, flushes, compactions. 0: it does
	   not say. (footprint.h has the count that is compared.) */
	uint64_t (*written)(void *db);
	void (*close)(void *db);
};

#define ENGINES_MOST 4

/* lsmkv first. */
extern const struct bench_engine *const bench_engines[];
extern const unsigned bench_engine_count;

extern const struct bench_engine bench_lsmkv;
extern const struct bench_engine bench_leveldb;
extern const struct bench_engine bench_rocksdb;
extern const struct bench_engine bench_lmdb;

#endif
