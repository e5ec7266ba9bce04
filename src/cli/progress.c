/* SPDX-License-Identifier: ISC */
/*
 * Progress lines: see progress.h.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/text.h"

#define TERMINAL_NS 100000000u /* between two lines that rewrite each other */
#define LOG_NS 1000000000u     /* between two lines that stay */

void
progress_begin(struct progress *p, const char *verb, bool shown)
{
	*p = (struct progress){ .shown = shown,
		                .terminal = isatty(STDERR_FILENO) == 1,
		                .verb = verb };
	p->next_ns = clock_mono_ns() + (p->terminal ? TERMINAL_NS : LOG_NS);
}

void
progress_expect(struct progress *p, uint64_t bytes)
{
	p->total += bytes;
}

void
progress_add(struct progress *p, const char *name, uint64_t bytes)
{
	char done[TEXT_MAX], total[TEXT_MAX];
	unsigned percent;
	uint64_t now;

	p->done += bytes;
	if (!p->shown)
		return;
	now = clock_mono_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + (p->terminal ? TERMINAL_NS : LOG_NS);
	if (p->total < p->done)
		p->total = p->done;
	percent = p->total
	                  ? (unsigned)((double)p->done * 100 / (double)p->total)
	                  : 0;
	fprintf(stderr, "%s%s: %3u%% %s of %s %s%s", p->terminal ? "\r" : "",
	        p->verb, percent, text_size(done, p->done, false),
	        text_size(total, p->total, false), name,
	        p->terminal ? "\033[K" : "\n");
	fflush(stderr);
	p->dirty = p->terminal;
}

void
progress_clear(struct progress *p)
{
	if (p->dirty)
		fputs("\r\033[K", stderr);
	p->dirty = false;
}
