/* SPDX-License-Identifier: ISC */
/*
 * Waiting for the disk, told to whoever shares out the processors.
 *
 * A thread may name two functions: they are called, in this thread, before a
 * call that may wait for the disk, and after it. They must not fail, must not
 * wait themselves, and leave errno alone. Threads that name none are not asked.
 */
#ifndef LSMKV_BASE_WAITS_H
#define LSMKV_BASE_WAITS_H

/* Both NULL: no longer. arg is borrowed. */
void waits_watch(void (*begin)(void *arg), void (*end)(void *arg), void *arg);

void waits_begin(void);
void waits_end(void);

#endif
