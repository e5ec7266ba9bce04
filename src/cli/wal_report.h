/* SPDX-License-Identifier: ISC */
/*
 * What is wrong with the WAL of a store, by one reading of it. Where the store
 * is running, another reading may say something else.
 */
#ifndef LSMKV_CLI_WAL_REPORT_H
#define LSMKV_CLI_WAL_REPORT_H

#include <stdio.h>

#include "store/manifest.h"

struct found_segment; /* as it was found (wal_report.c) */

struct wal_report {
	struct found_segment *segments; /* owned; ascending */
	size_t count;
	FILE *out;  /* lines of damage, into text */
	char *text; /* owned by out, then by us */
	size_t text_len;
	uint64_t damages, records;
};

#define WAL_REPORT_INIT                                                        \
	{                                                                      \
		NULL, 0, NULL, NULL, 0, 0, 0                                   \
	}

/*
 * Reads the segments that the MANIFEST needs; NULL: there is none that can be
 * read, and all of them count. Damage is in the report, not an error.
 */
int wal_report_read(struct wal_report *l, struct fs_dir *dir,
                    const struct manifest *manifest, struct err *err);
void wal_report_release(struct wal_report *l);

#endif
