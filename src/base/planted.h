/* SPDX-License-Identifier: ISC */
/*
 * Bugs that are planted to try the tests: PLANTED("name") is false for good,
 * and costs nothing, unless built with -DLSMKV_PLANTED_BUGS, which `make
 * check-planted` does and nothing else may. Then LSMKV_PLANTED in the
 * environment is the name of the bug to have. tests/crash/planted says which
 * test must catch which.
 */
#ifndef LSMKV_BASE_PLANTED_H
#define LSMKV_BASE_PLANTED_H

#ifdef LSMKV_PLANTED_BUGS
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool
planted(const char *name)
{
	const char *wanted = getenv("LSMKV_PLANTED");

	return wanted && !strcmp(wanted, name);
}

#define PLANTED(name) planted(name)
#else
#define PLANTED(name) 0
#endif

#endif
