/* SPDX-License-Identifier: ISC */
/*
 * Memory in huge pages, for what is big and looked up at random: there the
 * walk through the processor's page tables is a good part of what a look-up
 * costs. Where the kernel has no huge page to give, it is memory like any
 * other.
 *
 * Some of what is freed is kept for the next to come, since new memory must be
 * cleared first; the kernel may take it when it is short. Any thread.
 */
#ifndef LSMKV_BASE_HUGE_H
#define LSMKV_BASE_HUGE_H

#include <stddef.h>

#define HUGE_BYTES ((size_t)2 << 20) /* of one */

/* HUGE_BYTES of anything, on a boundary of as many; NULL: out of memory. */
void *huge_new(void);
void huge_free(void *huge); /* NULL allowed */

#endif
