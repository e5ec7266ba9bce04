/* SPDX-License-Identifier: ISC */
/*
 * See fsmap.h. SIGBUS comes to the thread whose store failed, while it
 * stores. The handler puts memory that is nobody's in the place of the map and
 * leaves a note: the store is done again by the processor, into that memory,
 * and fs_map_write finds the note when it is through. (libwayland deals with
 * the memory of its clients in this way.) Nothing is jumped over or unwound.
 * Any other SIGBUS is what it would be without this file.
 */
#include "base/fsmap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* What this thread stores to right now. */
static _Thread_local struct {
	unsigned char *volatile start; /* NULL: nothing */
	volatile size_t len;
	volatile sig_atomic_t failed; /* the note */
} storing;

static struct sigaction action_before; /* what the handler has replaced */

static void
on_sigbus(int number, siginfo_t *info, void *context)
{
	unsigned char *at = (unsigned char *)info->si_addr;
	unsigned char *start = storing.start;
	int saved = errno;

	(void)context;
	if (info->si_code > 0 && start && at >= start &&
	    at < start + storing.len &&
	    mmap(start, storing.len, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	         0) != MAP_FAILED) {
		storing.failed = 1;
		errno = saved;
		return;
	}
	/* The same will come again, and meet what was there before us. */
	sigaction(number, &action_before, NULL);
	if (info->si_code <= 0)
		raise(number); /* somebody sent it: once only */
	errno = saved;
}

/* Makes sure that the handler is there, should others have replaced it. */
static bool
handle_sigbus(void)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	struct sigaction action = { 0 }, now;
	bool handled;

	action.sa_sigaction = on_sigbus;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&mutex);
	handled = !sigaction(SIGBUS, NULL, &now);
	if (handled && now.sa_sigaction != on_sigbus) {
		action_before = now;
		handled = !sigaction(SIGBUS, &action, NULL);
	}
	pthread_mutex_unlock(&mutex);
	return handled;
}

bool
fs_map(struct fs_map *map, const struct fs_file *file, uint64_t offset,
       size_t len)
{
	struct fs_map nothing = FS_MAP_INIT;
	void *start;

	*map = nothing;
	if (!handle_sigbus())
		return false;
	start = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd,
	             (off_t)offset);
	if (start == MAP_FAILED)
		return false;
	map->start = (unsigned char *)start;
	map->offset = offset;
	map->len = len;
	map->fd = file->fd;
	return true;
}

void
fs_unmap(struct fs_map *map)
{
	struct fs_map nothing = FS_MAP_INIT;

	if (map->start)
		munmap(map->start, map->len);
	*map = nothing;
}

bool
fs_map_write(const struct fs_map *map, const void *data, size_t len,
             uint64_t offset)
{
	storing.failed = 0;
	storing.len = map->len;
	storing.start = map->start;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(map->start + (offset - map->offset), data, len);
	atomic_signal_fence(memory_order_seq_cst);
	storing.start = NULL;
	return !storing.failed;
}
