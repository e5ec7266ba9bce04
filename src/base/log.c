/* SPDX-License-Identifier: ISC */
/*
 * The log: one write(2) per line on stderr.
 *
 * A line is made whole in a buffer of its own, without locks, so that any
 * thread may log at any time. Nobody is told when a line cannot be written:
 * there is no better place to say so.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 2048u    /* bytes of a message before escaping */
#define LINE_MAX_BYTES 4096u /* of a whole line: what a pipe takes in one */

static const struct {
	const char *word;    /* as users write it */
	const char *journal; /* syslog's number, as systemd reads it */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "<3>" },
	[LOG_LEVEL_WARN] = { "warn", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

#define LEVELS (sizeof(levels) / sizeof(levels[0]))

static _Atomic int shown = LOG_LEVEL_INFO; /* an enum log_level */
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool journal; /* is stderr the journal? Set once. */

void
log_set_level(enum log_level level)
{
	shown = (int)level;
}

bool
log_parse_level(const char *word, enum log_level *level)
{
	size_t i;

	for (i = 0; i < LEVELS; i++) {
		if (!strcmp(word, levels[i].word)) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/*
 * JOURNAL_STREAM is "device:inode" of the journal's socket. The environment
 * is inherited where stderr is not (a web server's error log), so the numbers
 * have to be those of our stderr.
 */
static void
find_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;

	journal = text && sscanf(text, "%ju:%ju", &device, &inode) == 2 &&
	          !fstat(STDERR_FILENO, &st) && st.st_dev == device &&
	          st.st_ino == inode;
}

/* What stands before the message. Returns its length. */
static size_t
put_head(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm utc;
	char seconds[32];

	if (journal)
		return (size_t)snprintf(line, size, "%s",
		                        levels[level].journal);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	return (size_t)snprintf(line, size, "%s.%03ldZ %s ", seconds,
	                        now.tv_nsec / 1000000, levels[level].word);
}

/*
 * Appends text with its control characters as \xHH, as far as it fits.
 * Returns the new length.
 */
static size_t
put_escaped(char *line, size_t at, size_t size, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		size_t n = c < 0x20 || c == 0x7f ? 4 : 1;

		if (at + n >= size)
			break;
		if (n == 1)
			line[at] = *text;
		else
			snprintf(line + at, size - at, "\\x%02x", c);
		at += n;
	}
	return at;
}

void
log_line(enum log_level level, const char *format, ...)
{
	char message[MESSAGE_MAX], line[LINE_MAX_BYTES];
	int saved = errno;
	size_t len, done = 0;
	va_list args;

	if ((int)level > shown)
		return;
	pthread_once(&journal_once, find_journal);
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	len = put_head(line, sizeof(line), level);
	/* Leave room for the newline, whatever the message does. */
	len = put_escaped(line, len, sizeof(line) - 1, message);
	line[len++] = '\n';
	while (done < len) {
		ssize_t n = write(STDERR_FILENO, line + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	errno = saved;
}
