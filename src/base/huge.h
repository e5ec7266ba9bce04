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
void huge_trim(void);       /* gives back all that is kept */

/*
 * len > 0 zero bytes on a boundary of `align`, a power of two and at most
 * HUGE_BYTES, in huge pages where that is HUGE_BYTES; NULL: out of memory. They
 * go back to the system with huge_unmap, all at once.
 */
void *huge_map(size_t len, size_t align);
void huge_unmap(void *at, size_t len); /* NULL allowed */

#endif
