/* SPDX-License-Identifier: ISC */
/*
 * The scrub: reads every block of every SST once a period and checks it
 * (sst_check), so that bit rot is found while there may still be a copy of
 * the data elsewhere. One thread at low priority, spread over the period. On
 * one machine damage can be found, not repaired: it is logged once per file
 * and counted.
 */
#ifndef LSMKV_STORE_SCRUB_H
#define LSMKV_STORE_SCRUB_H

#include "store/view.h"

struct scrub;

struct scrub_stat {
	uint64_t rounds;  /* times that every file has been read */
	uint64_t files;   /* checked since open */
	uint64_t bytes;   /* read since open */
	uint64_t damaged; /* files of the tree found damaged so far */
};

/* period_s: seconds for one round over everything. */
int scrub_start(struct scrub **out, struct view_box *views, uint64_t period_s,
                struct err *err);
void scrub_get_stat(struct scrub *s, struct scrub_stat *stat);
void scrub_stop(struct scrub *s); /* at once; NULL allowed */

#endif
