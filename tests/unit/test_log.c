/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of base/log. Each test logs in a forked process whose stderr is
 * a pipe in packet mode: a read gives what one write(2) wrote.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LINES_MAX 8
#define TIME_PATTERN                                                           \
	"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"      \
	"\\.[0-9]{3}Z"

struct lines {
	size_t count;
	char text[LINES_MAX][8192]; /* one write(2) each */
};

/* Runs talk with stderr captured. journal: let JOURNAL_STREAM name it. */
static struct lines *
capture(void (*talk)(void), bool journal)
{
	struct lines *lines = calloc(1, sizeof(*lines));
	int ends[2], status;
	struct stat st;
	char stream[64];
	ssize_t n;
	pid_t pid;

	assert_non_null(lines);
	assert_int_equal(pipe2(ends, O_DIRECT), 0);
	assert_int_equal(fstat(ends[1], &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	         (uintmax_t)st.st_ino + (journal ? 0 : 1));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setenv("JOURNAL_STREAM", stream, 1);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		talk();
		_exit(0);
	}
	close(ends[1]);
	while (lines->count < LINES_MAX &&
	       (n = read(ends[0], lines->text[lines->count],
	                 sizeof(lines->text[0]) - 1)) > 0)
		lines->count++;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return lines;
}

static void
assert_matches(const char *text, const char *pattern)
{
	regex_t re;
	int rc;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	rc = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	if (rc)
		fail_msg("\"%s\" does not match %s", text, pattern);
}

static void
talk_levels(void)
{
	log_error("disk %d", 1);
	log_warn("slow");
	log_info("flush: %s", "done");
	log_debug("unseen");
}

/* A line has time, level and message, and is one write(2). */
static void
test_line_format(void **state)
{
	static const char *const patterns[] = {
		TIME_PATTERN " error disk 1\n$",
		TIME_PATTERN " warn slow\n$",
		TIME_PATTERN " info flush: done\n$",
	};
	struct lines *lines = capture(talk_levels, false);
	size_t i;

	(void)state;
	assert_int_equal(lines->count, 3);
	for (i = 0; i < 3; i++)
		assert_matches(lines->text[i], patterns[i]);
	free(lines);
}

/* Under systemd a line has syslog's number in place of the time. */
static void
test_journal(void **state)
{
	struct lines *lines = capture(talk_levels, true);

	(void)state;
	assert_int_equal(lines->count, 3);
	assert_string_equal(lines->text[0], "<3>disk 1\n");
	assert_string_equal(lines->text[1], "<4>slow\n");
	assert_string_equal(lines->text[2], "<6>flush: done\n");
	free(lines);
}

static void
talk_filtered(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("no");
	log_error("yes");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("yes");
	log_info("yes");
}

/* What is above the level is not shown, what is at or below it is. */
static void
test_levels_filter(void **state)
{
	struct lines *lines = capture(talk_filtered, true);

	(void)state;
	assert_int_equal(lines->count, 3);
	assert_string_equal(lines->text[0], "<3>yes\n");
	assert_string_equal(lines->text[1], "<7>yes\n");
	assert_string_equal(lines->text[2], "<6>yes\n");
	free(lines);
}

static void
talk_forged(void)
{
	log_info("%s", "a\n<3>forged\r\x1b[31m\x7f\tend \xc3\xa9");
}

/* Nothing that is logged can end its line or drive a terminal. */
static void
test_control_characters(void **state)
{
	struct lines *lines = capture(talk_forged, true);

	(void)state;
	assert_int_equal(lines->count, 1);
	assert_string_equal(lines->text[0],
	                    "<6>a\\x0a<3>forged\\x0d\\x1b[31m\\x7f\\x09end "
	                    "\xc3\xa9\n");
	free(lines);
}

static void
talk_long(void)
{
	char text[20000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	memset(text, '\n', sizeof(text) - 1);
	log_info("%s", text);
	log_info("after");
}

/* A message of any length is one line, in one write that a pipe takes whole. */
static void
test_long_lines(void **state)
{
	struct lines *lines = capture(talk_long, true);
	size_t i, len;

	(void)state;
	assert_int_equal(lines->count, 3);
	for (i = 0; i < 2; i++) {
		len = strlen(lines->text[i]);
		assert_true(len <= 4096 && len > 2000);
		assert_ptr_equal(strchr(lines->text[i], '\n'),
		                 lines->text[i] + len - 1);
	}
	assert_string_equal(lines->text[2], "<6>after\n");
	free(lines);
}

static void
talk_errno(void)
{
	errno = ENOTTY;
	log_info("a line");
	if (errno != ENOTTY)
		_exit(1);
}

/* Logging leaves errno alone. */
static void
test_errno_is_kept(void **state)
{
	(void)state;
	free(capture(talk_errno, false));
}

/* The words of --log-level, and no others. */
static void
test_parse_level(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)state;
	assert_true(log_parse_level("error", &level));
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_true(log_parse_level("warn", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_true(log_parse_level("debug", &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_true(log_parse_level("info", &level));
	assert_int_equal(level, LOG_LEVEL_INFO);
	assert_false(log_parse_level("", &level));
	assert_false(log_parse_level("INFO", &level));
	assert_false(log_parse_level("informal", &level));
	assert_int_equal(level, LOG_LEVEL_INFO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_format),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_levels_filter),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_parse_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
