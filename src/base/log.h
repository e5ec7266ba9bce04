/* SPDX-License-Identifier: ISC */
/*
 * The log: one line per event worth one, on stderr.
 *
 *     2026-01-31T12:34:56.789Z info flush: wal 12 -> sst 13, 41.2 MB, 310 ms
 *
 * One write(2) a line, so that lines of threads and of the helper never mix.
 * Under systemd (JOURNAL_STREAM is set) lines begin with <level> instead of
 * the time. Control characters in a message are written as \xHH.
 */
#ifndef LSMKV_BASE_LOG_H
#define LSMKV_BASE_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Shows lines up to this level; LOG_LEVEL_INFO until told otherwise. */
void log_set_level(enum log_level level);
/* "error", "warn", "info", "debug"; false if word is none of them. */
bool log_parse_level(const char *word, enum log_level *level);

void log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
