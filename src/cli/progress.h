/* SPDX-License-Identifier: ISC */
/*
 * How far long work is, on stderr: one line that rewrites itself on a
 * terminal, else a line every second, at most.
 */
#ifndef LSMKV_CLI_PROGRESS_H
#define LSMKV_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown;       /* off: all calls do nothing */
	bool terminal;    /* stderr rewrites its line */
	bool dirty;       /* a line stands there that must be wiped out */
	const char *verb; /* "verify"; borrowed */
	uint64_t total;   /* bytes of work in all, as far as is known */
	uint64_t done;    /* bytes of it that are through */
	uint64_t next_ns; /* monotonic time of the next line */
};

void progress_begin(struct progress *p, const char *verb, bool shown);
/* More work is known, or it is through. `name` is what it goes on with. */
void progress_expect(struct progress *p, uint64_t bytes);
void progress_add(struct progress *p, const char *name, uint64_t bytes);
/* Wipes the line out; call before anything else is written to a terminal. */
void progress_clear(struct progress *p);

#endif
