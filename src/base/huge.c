/* SPDX-License-Identifier: ISC */
#include "base/huge.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP_MOST 32u /* huge pages: 64 MiB */

/* Freed memory of one size, for the next to come. */
struct kept {
	void *at[KEEP_MOST];
	unsigned count;
};

static struct {
	pthread_mutex_t mutex;
	struct kept single, runs;
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

/* One of those that are kept, or NULL. */
static void *
take_kept(struct kept *kept)
{
	void *at = NULL;

	pthread_mutex_lock(&pool.mutex);
	if (kept->count)
		at = kept->at[--kept->count];
	pthread_mutex_unlock(&pool.mutex);
	return at;
}

/*
 * Keeps it, unless so much is kept that one more, of either size, would be
 * more than KEEP_MOST huge pages.
 */
static void
keep(struct kept *kept, void *at, size_t bytes)
{
	unsigned pages = (unsigned)(bytes / HUGE_BYTES), most;

	if (!at)
		return;
	/* Before it is kept: from then on it may be in use again. */
	madvise(at, bytes, MADV_FREE);
	pthread_mutex_lock(&pool.mutex);
	most = pool.single.count +
	       pool.runs.count * (unsigned)(HUGE_RUN_BYTES / HUGE_BYTES);
	if (most + pages <= KEEP_MOST) {
		kept->at[kept->count++] = at;
		at = NULL;
	}
	pthread_mutex_unlock(&pool.mutex);
	if (at)
		munmap(at, bytes);
}

static void
trim(struct kept *kept, size_t bytes)
{
	void *at;

	while ((at = take_kept(kept)))
		munmap(at, bytes);
}

void *
huge_new(void)
{
	void *huge = take_kept(&pool.single);

	return huge ? huge : huge_map(HUGE_BYTES, HUGE_BYTES);
}

void
huge_free(void *huge)
{
	keep(&pool.single, huge, HUGE_BYTES);
}

void *
huge_run_new(void)
{
	void *run = take_kept(&pool.runs);

	return run ? run : huge_map(HUGE_RUN_BYTES, HUGE_BYTES);
}

void
huge_run_free(void *run)
{
	keep(&pool.runs, run, HUGE_RUN_BYTES);
}

void
huge_trim(void)
{
	trim(&pool.single, HUGE_BYTES);
	trim(&pool.runs, HUGE_RUN_BYTES);
}
