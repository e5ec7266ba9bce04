/* SPDX-License-Identifier: ISC */
/*
 * What a plan takes in. Whatever is chosen, this holds of its inputs:
 *
 *     for each of them, all that is older and overlaps it in level 0, and all
 *     that overlaps it in the output level, is an input, too; levels in
 *     between overlap no input above them.
 *
 * So the output may take its place in the tree, and only what lies deeper than
 * the output level can hide older versions of its keys.
 *
 * Every plan_add_* and plan_push_* adds to p, which keeps references: 0 or
 * LSMKV_ENOMEM, and plan_release is due either way.
 */
#ifndef LSMKV_STORE_PLAN_INPUTS_H
#define LSMKV_STORE_PLAN_INPUTS_H

#include "store/plan.h"

/* Bytes of the files of level n that overlap the range; 0 below the last. */
uint64_t plan_overlap_bytes(const struct levels *l, unsigned n,
                            struct slice smallest, struct slice largest);

/* `count` files of level n, from the one at `first` on. */
int plan_add_run(struct plan *p, const struct levels *l, unsigned n,
                 size_t first, size_t count, struct err *err);
/*
 * Of level 0 the file at `seed`, everything that overlaps it, newer or older,
 * and what that overlaps, newest first. Whatever stays behind overlaps none.
 */
int plan_add_level0(struct plan *p, const struct levels *l, size_t seed,
                    struct err *err);
/*
 * What overlaps in the output level `target`; names what is to be done. A
 * single input that meets nothing there may move as it is, if may_move.
 */
int plan_add_target(struct plan *p, const struct plan_input *in,
                    unsigned target, bool may_move, struct err *err);
/* The first level below n that overlaps the plan's range, or `otherwise`. */
unsigned plan_first_below(const struct plan *p, const struct levels *l,
                          unsigned n, unsigned otherwise);

/* The file at `index` of level n one level down, and what goes for free. */
int plan_push(struct plan *p, const struct plan_input *in, unsigned n,
              size_t index, struct err *err);
/*
 * The same with as few inputs as there can be: of level 0 the oldest files,
 * one at least and as many as find room, whatever `index` is.
 */
int plan_push_little(struct plan *p, const struct plan_input *in, unsigned n,
                     size_t index, struct err *err);

#endif
