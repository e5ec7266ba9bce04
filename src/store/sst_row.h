/* SPDX-License-Identifier: ISC */
/*
 * How rows are deflated: the entries that stand in a block alone, because they
 * are long or because nothing else fits in beside them.
 *
 * Two encoders can do it, the library at the level of the file and the one for
 * long texts (base/deflate_long.h); which of them, a row in many tells.
 */
#ifndef LSMKV_STORE_SST_ROW_H
#define LSMKV_STORE_SST_ROW_H

#include "base/deflate.h"

/* What is known of the rows of a file so far; one thread at a time. */
struct sst_rows;

/* deflater is of that level, borrowed until sst_rows_free. NULL when out of
   memory. */
struct sst_rows *sst_rows_new(struct deflater *deflater, int level);
void sst_rows_free(struct sst_rows *rows); /* NULL allowed */

/*
 * Appends raw, a row, to out, deflated. Returns 0, or LSMKV_END with out
 * unchanged where that is not worth it, or LSMKV_ENOMEM. Rows of 1 KiB and more
 * must get smaller by a sixteenth: for less, reads need not inflate them.
 */
int sst_rows_deflate(struct sst_rows *rows, struct slice raw, struct buf *out,
                     struct err *err);

#endif
