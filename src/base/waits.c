/* SPDX-License-Identifier: ISC */
/* Who wants to know of waiting; see waits.h. */
#include <stddef.h>

#include "base/waits.h"

static _Thread_local struct {
	void (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
} watcher;

void
waits_watch(void (*begin)(void *arg), void (*end)(void *arg), void *arg)
{
	watcher.begin = begin;
	watcher.end = end;
	watcher.arg = arg;
}

bool
waits_watched(void)
{
	return watcher.begin;
}

void
waits_begin(void)
{
	if (watcher.begin)
		watcher.begin(watcher.arg);
}

void
waits_end(void)
{
	if (watcher.end)
		watcher.end(watcher.arg);
}
