/* SPDX-License-Identifier: ISC */
/*
 * `make bench`: lsmkv's engine beside LevelDB, RocksDB and LMDB. The same
 * work, with the same memory, in one run, in turn.
 *
 *     bench.c         options, and turn by turn: which engine does what
 *     machine.h       what the machine gives without any of them
 *     measure.c       each measurement in a process of its own
 *     suites.h        what is measured:
 *       suite_main.c    fills, reads, scans with a cache of a quarter of the
 *                       data; all of it cached; synced fills; long values
 *       suite_long.c    a long fill with a reader beside it, over time
 *       suite_open.c    opening after kill -9
 *       suite_growth.c  1 M, 10 M, 50 M entries
 *     session.h       an engine's store, and the memory that it is given
 *     workload.h      keys, values, and the threads that write and read
 *     footprint.h     memory, bytes written, bytes on disk
 *     results.h       what came out: table.c, goals.c, json.c, picture.c
 *     engine_table.h  the engines: bench_<engine>.c
 */
#ifndef LSMKV_BENCH_BENCH_H
#define LSMKV_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* What the command line says; constant while it is measured. */
struct settings {
	uint64_t entries;        /* in most suites */
	uint64_t value_len;      /* in most suites */
	double seconds;          /* of each read workload */
	uint64_t sync_writes;    /* of each synced fill */
	uint64_t memtable_bytes; /* a write buffer; see session.h */
	uint64_t cache_bytes;    /* 0: a quarter of the data */
	uint64_t within_bytes;   /* of a memory cgroup for every engine, page
	                            cache included; 0: for LMDB alone */
	uint64_t long_entries;   /* of the long fill, */
	double long_seconds;     /* which ends then at the latest */
	double open_gb;          /* in the store that is killed and opened */
	const char *lengths;     /* of the suite values', comma-separated */
	const char *growth;      /* millions of entries, comma-separated */
	double growth_seconds;   /* an engine that fills longer gives up */
	unsigned turns;
	const char *suites;  /* comma-separated; NULL: those of a default run */
	const char *engines; /* comma-separated; NULL: all */
	const char *dir;     /* where the stores are */
	const char *json;    /* files to write; NULL: none */
	const char *picture;
};

extern struct settings settings;

#define MB 1048576.0 /* as memory is told */

uint64_t now_ns(void);

/* Says what does not work, and ends the process. */
void bench_die(const char *engine, const char *what, const char *message)
	__attribute__((noreturn));

#endif
