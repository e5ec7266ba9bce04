/* SPDX-License-Identifier: ISC */
#include "base/huge.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#define KEEP_MOST 32u /* 64 MiB */

static struct {
	pthread_mutex_t mutex;
	void *kept[KEEP_MOST]; /* freed */
	unsigned count;
} pool = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static unsigned char *
map(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void *
map_aligned(void)
{
	unsigned char *at = map(HUGE_BYTES);
	size_t skip;

	/* Newer kernels put it on a boundary by themselves. */
	if (at && (uintptr_t)at % HUGE_BYTES) {
		munmap(at, HUGE_BYTES);
		at = map(2 * HUGE_BYTES);
		if (!at)
			return NULL;
		skip = (HUGE_BYTES - (uintptr_t)at % HUGE_BYTES) % HUGE_BYTES;
		if (skip)
			munmap(at, skip);
		munmap(at + skip + HUGE_BYTES, HUGE_BYTES - skip);
		at += skip;
	}
	if (at)
		madvise(at, HUGE_BYTES, MADV_HUGEPAGE);
	return at;
}

void *
huge_new(void)
{
	void *huge = NULL;

	pthread_mutex_lock(&pool.mutex);
	if (pool.count)
		huge = pool.kept[--pool.count];
	pthread_mutex_unlock(&pool.mutex);
	return huge ? huge : map_aligned();
}

void
huge_free(void *huge)
{
	if (!huge)
		return;
	/* Before it is kept: from then on it may be in use again. */
	madvise(huge, HUGE_BYTES, MADV_FREE);
	pthread_mutex_lock(&pool.mutex);
	if (pool.count < KEEP_MOST) {
		pool.kept[pool.count++] = huge;
		huge = NULL;
	}
	pthread_mutex_unlock(&pool.mutex);
	if (huge)
		munmap(huge, HUGE_BYTES);
}
