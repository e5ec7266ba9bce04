/* SPDX-License-Identifier: ISC */
/*
 * A memory cgroup for one measurement: bounds the page cache of an engine that
 * has no other. cgroup v1 and v2, as far as this process may make groups.
 */
#ifndef LSMKV_BENCH_MEMORY_GROUP_H
#define LSMKV_BENCH_MEMORY_GROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Can groups be made here? If not, why, in `why`. */
bool memory_group_available(char *why, unsigned len);
/*
 * Moves this process into a group of its own, with so much memory, page cache
 * included, and a little for the process itself. Nothing where that is not
 * available.
 */
void memory_group_enter(uint64_t bytes);
/* Removes the group once the process has ended; called by its parent. */
void memory_group_remove(void);

#endif
