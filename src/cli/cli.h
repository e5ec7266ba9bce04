/* SPDX-License-Identifier: ISC */
/*
 * The operator's tool: what each subcommand of lsmkv(1) does, without its
 * option parsing (lsmkv_cli.c). All of them only read, take no lock, and work
 * beside the process that owns the store: a file that vanishes because the
 * MANIFEST moved on is never damage.
 *
 * Reports go to `out`. They return 0, or a negative code and a message when
 * the store could not be looked at at all; damage is not such an error: it is
 * reported, counted in *damages, and everything else is still looked at.
 */
#ifndef LSMKV_CLI_CLI_H
#define LSMKV_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct cli_options {
	bool full;     /* dump: long keys and values whole */
	bool exact;    /* stat: sizes in bytes, not rounded */
	bool progress; /* show on stderr how far long work is */
};

/*
 * Is an error about what a file holds, so that it is to be reported, and the
 * next file looked at? Everything else keeps us from looking at all.
 */
static inline bool
cli_is_damage(int rc)
{
	return rc == LSMKV_ECORRUPT || rc == LSMKV_EVERSION || rc == LSMKV_EIO;
}

/* The tree by level, its picture, the versions, the WAL. (stat.c) */
int cli_stat(const char *path, const struct cli_options *options, FILE *out,
             struct err *err);
/* A file, or all files of a store, as text. (dump.c) */
int cli_dump(const char *path, const struct cli_options *options, FILE *out,
             uint64_t *damages, struct err *err);
/* Checks everything that can be checked. (verify.c) */
int cli_verify(const char *path, const struct cli_options *options, FILE *out,
               uint64_t *damages, struct err *err);

#endif
