/* SPDX-License-Identifier: ISC */
/*
 * What an engine takes: memory, bytes written, bytes on disk; counted for
 * each of them in the same way, by the kernel, not by the engines.
 */
#ifndef LSMKV_BENCH_FOOTPRINT_H
#define LSMKV_BENCH_FOOTPRINT_H

#include <stdint.h>

/* Begins to watch the memory of child processes (lsmkv's helper). */
void footprint_watch(void);

double footprint_memory_mb(void);        /* resident now */
double footprint_peak_mb(void);          /* resident at most */
double footprint_children_peak_mb(void); /* of a child, while watched */

/*
 * Bytes that this process and its children, those that have ended included,
 * gave the kernel to bring to the disk: write_bytes in /proc/PID/io, which
 * counts pages as they become dirty, by write(2) or through a map. A page
 * that is changed again before it was written back counts once.
 */
uint64_t footprint_written(void);

/*
 * Bytes that the disk had to be read for, counted alike: read_bytes there, by
 * pread(2), through a map, readahead included. What the page cache holds is
 * not in it.
 */
uint64_t footprint_read(void);

/* Bytes allocated to the files in a directory; to one of them. */
uint64_t footprint_dir_bytes(const char *path);
uint64_t footprint_file_bytes(const char *path, const char *name);

#endif
