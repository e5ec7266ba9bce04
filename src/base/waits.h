/* SPDX-License-Identifier: ISC */
/*
 * Waiting for the disk, told to whoever shares out the processors.
 *
 * A thread may name two functions: they are called, in this thread, before a
 * call that may wait for the disk, and after it. They must not fail, must not
 * wait themselves, and leave errno alone. Threads that name none are not asked.
 * To tell costs a switch of threads or two, so whoever can find out first that
 * there will be no wait does so, where somebody would be told (waits_watched).
 */
#ifndef LSMKV_BASE_WAITS_H
#define LSMKV_BASE_WAITS_H

#include <stdbool.h>

/* Both NULL: no longer. arg is borrowed. */
void waits_watch(void (*begin)(void *arg), void (*end)(void *arg), void *arg);
bool waits_watched(void); /* has this thread named any? */

void waits_begin(void);
void waits_end(void);

#endif
