/* SPDX-License-Identifier: ISC */
/*
 * How the operator's tool writes things down: sizes, times, keys, values.
 */
#ifndef LSMKV_CLI_TEXT_H
#define LSMKV_CLI_TEXT_H

#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "store/entry.h"

#define TEXT_MAX 32  /* bytes, NUL included, of a formatted number */
#define TEXT_CUT 64u /* bytes of a key or value that are shown when cut */

/*
 * Writes s in double quotes, escaped as in C (strunvis(3) reads it back). Of a
 * string longer than limit the first limit bytes, and its length. limit 0:
 * all of it.
 */
void text_string(FILE *out, struct slice s, size_t limit);
/* "4.1MiB"; the bare number when exact. Returns to. */
const char *text_size(char to[TEXT_MAX], uint64_t bytes, bool exact);
/* "2026-01-31T12:34:56Z" of an epoch second. Returns to. */
const char *text_time(char to[TEXT_MAX], uint64_t second);
/* "text", "json", "bytes", "tombstone" */
const char *text_kind(enum entry_kind kind);
/* One line: version, kind, key, value, expiry. limit as in text_string. */
void text_entry(FILE *out, const struct entry *e, size_t limit);

#endif
