/* SPDX-License-Identifier: ISC */
/*
 * What the files of a store are called. The only place that knows.
 *
 *     LOCK  RESERVE  MANIFEST  MANIFEST.tmp
 *     000012.wal  000013.sst  000013.sst.tmp
 *
 * Numbers come from one sequence for all files and are never used twice.
 */
#ifndef LSMKV_STORE_NAMES_H
#define LSMKV_STORE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#define NAME_LOCK "LOCK"
#define NAME_RESERVE "RESERVE"
#define NAME_MANIFEST "MANIFEST"
#define NAME_MANIFEST_TMP "MANIFEST.tmp"
#define NAME_MAX_LEN 32 /* bytes, NUL included, of the longest name */

enum name_kind {
	NAME_OTHER,
	NAME_IS_LOCK,
	NAME_IS_RESERVE,
	NAME_IS_MANIFEST,
	NAME_IS_MANIFEST_TMP,
	NAME_IS_WAL,
	NAME_IS_SST,
	NAME_IS_SST_TMP
};

/* Writes the name into out, at least NAME_MAX_LEN bytes; returns out. */
char *name_wal(uint64_t number, char *out);
char *name_sst(uint64_t number, char *out);
char *name_sst_tmp(uint64_t number, char *out);

/*
 * Which kind of file is called name, and its number where it has one (else
 * 0). Only what the functions above write is recognized: no stray zeros, no
 * number 0, nothing over 64 bits.
 */
enum name_kind name_parse(const char *name, uint64_t *number);

#endif
