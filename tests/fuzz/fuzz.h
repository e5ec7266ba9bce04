/* SPDX-License-Identifier: ISC */
/*
 * What the fuzz targets share. A target is a function over bytes that says
 * what must be true of them: not only that nothing crashes, but that what is
 * accepted is what it was taken for. It is linked in two ways:
 *
 *     with libFuzzer    make fuzz T=NAME     looks for new inputs
 *     with replay.c     make check           runs those of corpus/NAME again
 *
 * Files live in a directory of their own, in memory where there is one.
 * Included as "fuzz/fuzz.h".
 */
#ifndef LSMKV_TESTS_FUZZ_FUZZ_H
#define LSMKV_TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fsio.h"
#include "store/entry.h"

/* The target's name; its corpus is corpus/NAME. */
extern const char fuzz_name[];
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must be true of every input. */
#define REQUIRE(condition)                                                     \
	do {                                                                   \
		if (!(condition))                                              \
			fuzz_fail(__FILE__, __LINE__, #condition);             \
	} while (0)

_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/*
 * True: every CRC is the same number (crc.c), so that what stands behind a
 * checksum is reached, too. Targets take it from a bit of their first byte.
 */
extern bool fuzz_crc_off;

/* The directory, opened once, and its path. */
struct fs_dir *fuzz_dir(void);
const char *fuzz_path(void);
/* Makes or replaces a file in it. */
void fuzz_write(const char *name, struct slice content);
/* Removes a file; a missing one is fine. */
void fuzz_remove(const char *name);

/* A list of entries: their encodings one behind the other. */
void fuzz_keep(struct buf *list, const struct entry *e);
/* The next one of a list; false at its end. */
bool fuzz_next(struct reader *list, struct entry *e);

bool fuzz_entry_equal(const struct entry *a, const struct entry *b);

#endif
