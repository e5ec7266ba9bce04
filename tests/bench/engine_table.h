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
	const char *dir;       /* empty, the engine's own */
	size_t memtable_bytes; /* write buffer */
	size_t cache_bytes;    /* of blocks; LMDB has the page cache instead */
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
	const char *version;
	const char *compression;
	void *(*open)(const struct bench_config *config);
	void (*put)(void *db, const char *key, size_t key_len,
	            const char *value, size_t value_len);
	/* True if the key is there; its value's length is *len. */
	bool (*get)(void *db, const char *key, size_t key_len, size_t *len);
	/* Over everything, at most `limit` entries. */
	void (*scan)(void *db, bool backward, uint64_t limit,
	             struct bench_scan *sum);
	/* One sorted run, and nothing left to do in the background. */
	void (*compact)(void *db);
	/* Bytes that the engine itself wrote to files, 0 if it does not say. */
	uint64_t (*written)(void *db);
	void (*close)(void *db);
};

extern const struct bench_engine bench_lsmkv;
extern const struct bench_engine bench_leveldb;
extern const struct bench_engine bench_rocksdb;
extern const struct bench_engine bench_lmdb;

void bench_die(const char *engine, const char *what, const char *message)
	__attribute__((noreturn));

#endif
