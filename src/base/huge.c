/* SPDX-License-Identifier: ISC */
#include "base/huge.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

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

void *
huge_map(size_t len, size_t align)
{
	unsigned char *at = map(len);
	size_t skip;

	/* Newer kernels put it on a boundary by themselves. */
	if (at && (uintptr_t)at % align) {
		size_t page = (size_t)sysconf(_SC_PAGESIZE);
		size_t pages = (len + page - 1) / page * page;

		munmap(at, len);
		at = map(pages + align);
		if (!at)
			return NULL;
		skip = (align - (uintptr_t)at % align) % align;
		if (skip)
			munmap(at, skip);
		if (align - skip)
			munmap(at + skip + pages, align - skip);
		at += skip;
	}
	if (at && align == HUGE_BYTES)
		madvise(at, len, MADV_HUGEPAGE);
	return at;
}

void
huge_unmap(void *at, size_t len)
{
	if (at)
		munmap(at, len);
}

void *
huge_new(void)
{
	void *huge = NULL;

	pthread_mutex_lock(&pool.mutex);
	if (pool.count)
		huge = pool.kept[--pool.count];
	pthread_mutex_unlock(&pool.mutex);
	return huge ? huge : huge_map(HUGE_BYTES, HUGE_BYTES);
}

void
huge_trim(void)
{
	void *huge;

	do {
		huge = NULL;
		pthread_mutex_lock(&pool.mutex);
		if (pool.count)
			huge = pool.kept[--pool.count];
		pthread_mutex_unlock(&pool.mutex);
		huge_unmap(huge, HUGE_BYTES);
	} while (huge);
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
