/* SPDX-License-Identifier: ISC */
/*
 * What stands behind the first invalid byte of a segment: does it prove that
 * this byte was on disk (wal.h has the rule)?
 *
 * Records are looked for at every byte where the segment's mark stands as it
 * does in a record. One that is valid where it stands counts. So does one that
 * was written elsewhere in this segment, since bytes between were lost or put
 * in (a copy that passed over bad sectors moves all that is behind them): that
 * place is got back from the record's CRC. But the CRC has not much left to
 * say then, and a client may have sent bytes that look like it. So it must be
 * moved by whole sectors and not far, and nothing but records that are moved
 * as far may follow it, to the end of what was written. Whoever wants to forge
 * that has one try in a torn record, and is right once in 2^30 times.
 *
 * Each byte is read a few times at most, however many records there are that
 * prove nothing.
 */
#ifndef LSMKV_STORE_WAL_SEARCH_H
#define LSMKV_STORE_WAL_SEARCH_H

#include "store/wal_read.h"

/* Sets what *scan tells of later records and of prior segments. */
int wal_search_behind(struct wal_window *w, const struct segment_header *h,
                      struct wal_scan *scan, struct err *err);

#endif
