/* SPDX-License-Identifier: ISC */
/*
 * A storage engine in memory, for tests of what stands above engine.h: a
 * list of entries under a lock, versions, conditions, old values, and any
 * failure that a test asks for. Included as "lib/fake_engine.h".
 */
#ifndef LSMKV_TESTS_LIB_FAKE_ENGINE_H
#define LSMKV_TESTS_LIB_FAKE_ENGINE_H

#include "engine.h"

struct engine *fake_engine_new(void);

/* From now on reads, or writes, fail with code (0: they work again). */
void fake_engine_fail_reads(struct engine *e, int code);
void fake_engine_fail_writes(struct engine *e, int code);
/* The same for writes of this key (borrowed), and batches that hold one. */
void fake_engine_fail_key(struct engine *e, const char *key, int code);
/* Each read, or write, takes so long. */
void fake_engine_slow_reads(struct engine *e, unsigned ms);
void fake_engine_slow_writes(struct engine *e, unsigned ms);
/* Writes that have come in, and those that come, wait until this is undone. */
void fake_engine_stick_writes(struct engine *e, bool stick);
/* Reads that come wait for this to be undone, as for a disk (waits.h). */
void fake_engine_stick_reads(struct engine *e, bool stick);
/* Waits until so many of all these do. */
void fake_engine_await_stuck(struct engine *e, unsigned count);

/* How many reads and writes have come in, failed ones too. */
unsigned fake_engine_calls(struct engine *e);
/* Which of these the last write was. */
unsigned fake_engine_last_write(struct engine *e);
/* How many entries it holds. */
unsigned fake_engine_count(struct engine *e);

/* Puts an entry in, as a write of kind. */
void fake_engine_put(struct engine *e, const char *key, const char *value,
                     enum entry_kind kind);

#endif
