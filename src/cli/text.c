/* SPDX-License-Identifier: ISC */
/*
 * Formatting for people: see text.h. What a store holds may be hostile to a
 * terminal, so that nothing but printable ASCII ever leaves text_string.
 */
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <bsd/libutil.h>
#define LIBBSD_NETBSD_VIS /* of the two orders of arguments of strnvis: we
			     call neither, but the header wants a choice */
#include <bsd/vis.h>

#define PIECE 256u /* bytes escaped at a time */

void
text_string(FILE *out, struct slice s, size_t limit)
{
	size_t shown = limit && s.len > limit ? limit : s.len;
	char text[4 * PIECE + 1];

	fputc('"', out);
	for (size_t at = 0, n; at < shown; at += n) {
		n = shown - at < PIECE ? shown - at : PIECE;

		/* "\0" and the next piece's "1" would read as "\01". */
		if (n > 1 && at + n < shown && !s.data[at + n - 1] &&
		    s.data[at + n] >= '0' && s.data[at + n] <= '7')
			n--;
		strvisx(text, (const char *)s.data + at, n,
		        VIS_CSTYLE | VIS_OCTAL | VIS_TAB | VIS_NL | VIS_DQ |
		                VIS_NOLOCALE);
		fputs(text, out);
	}
	fputc('"', out);
	if (shown < s.len)
		fprintf(out, "... (%zu bytes)", s.len);
}

const char *
text_size(char to[TEXT_MAX], uint64_t bytes, bool exact)
{
	if (exact || bytes > INT64_MAX ||
	    humanize_number(to, 7, (int64_t)bytes, "B", HN_AUTOSCALE,
	                    HN_DECIMAL | HN_NOSPACE | HN_IEC_PREFIXES) < 0)
		snprintf(to, TEXT_MAX, "%" PRIu64, bytes);
	return to;
}

const char *
text_time(char to[TEXT_MAX], uint64_t second)
{
	time_t t = (time_t)second;
	struct tm tm;

	/* A time past year 9999 is a number to people, too. */
	if (second > 253402300799u || !gmtime_r(&t, &tm) ||
	    !strftime(to, TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(to, TEXT_MAX, "%" PRIu64, second);
	return to;
}

const char *
text_kind(enum entry_kind kind)
{
	switch (kind) {
	case ENTRY_TEXT:
		return "text";
	case ENTRY_JSON:
		return "json";
	case ENTRY_BYTES:
		return "bytes";
	case ENTRY_TOMBSTONE:
		return "tombstone";
	}
	return "?";
}

void
text_entry(FILE *out, const struct entry *e, size_t limit)
{
	char time[TEXT_MAX];

	fprintf(out, "    %" PRIu64 " %s ", e->version, text_kind(e->kind));
	text_string(out, e->key, limit);
	if (e->kind != ENTRY_TOMBSTONE) {
		fputs(" = ", out);
		text_string(out, e->value, limit);
	}
	if (e->expires)
		fprintf(out, " expires %" PRIu64 " (%s)", e->expires,
		        text_time(time, e->expires));
	fputc('\n', out);
}
