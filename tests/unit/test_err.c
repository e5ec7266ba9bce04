/* SPDX-License-Identifier: ISC */
/* Unit tests of base/err: codes, messages, and how context is prepended. */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Outcomes are positive, errors negative, and no two codes share a word. */
static void
test_codes_are_distinct(void **state)
{
	static const int codes[] = {
#define X(code, value, word, text) code,
		LSMKV_CODES(X)
#undef X
	};
	size_t n = sizeof(codes) / sizeof(codes[0]), i, j;

	(void)state;
	for (i = 0; i < n; i++) {
		assert_true(strlen(err_word(codes[i])) > 0);
		assert_true(strlen(err_text(codes[i])) > 0);
		for (j = 0; j < i; j++) {
			assert_int_not_equal(codes[i], codes[j]);
			assert_string_not_equal(err_word(codes[i]),
			                        err_word(codes[j]));
		}
	}
	assert_int_equal(LSMKV_OK, 0);
	assert_true(LSMKV_NOTFOUND > 0);
	assert_true(LSMKV_EIO < 0);
}

/* A code that is in no table has a word and a text all the same. */
static void
test_unknown_code(void **state)
{
	(void)state;
	assert_string_equal(err_word(12345), "unknown");
	assert_string_equal(err_text(12345), "an unknown outcome");
}

/* err_set keeps code and message and returns the code. */
static void
test_set(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&err, LSMKV_ECORRUPT, "%s at %d", "x", 7),
	                 LSMKV_ECORRUPT);
	assert_int_equal(err.code, LSMKV_ECORRUPT);
	assert_string_equal(err.message, "x at 7");
}

/* Where nobody reads the message, the code still comes back. */
static void
test_set_without_err(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, LSMKV_EINVAL, "x"), LSMKV_EINVAL);
	assert_int_equal(err_set_errno(NULL, ENOSPC, "x"), LSMKV_ENOSPC);
	assert_int_equal(err_nomem(NULL, 1), LSMKV_ENOMEM);
}

/* A message may be made from the one that it replaces. */
static void
test_set_from_itself(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, LSMKV_EIO, "inner");
	err_set(&err, LSMKV_EFAILED, "outer (%s)", err.message);
	assert_string_equal(err.message, "outer (inner)");
}

/* A full disk and a read-only one are told apart from all other failures. */
static void
test_errno_mapping(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(err_set_errno(&err, ENOSPC, "a"), LSMKV_ENOSPC);
	assert_int_equal(err_set_errno(&err, EDQUOT, "a"), LSMKV_ENOSPC);
	assert_int_equal(err_set_errno(&err, EROFS, "a"), LSMKV_EROFS);
	assert_int_equal(err_set_errno(&err, ENOMEM, "a"), LSMKV_ENOMEM);
	assert_int_equal(err_set_errno(&err, EACCES, "f/%d", 1), LSMKV_EIO);
	assert_int_equal(err.code, LSMKV_EIO);
	assert_string_equal(err.message, "f/1: Permission denied");
}

/* Context reads from the outside in, and the code stays that of the cause. */
static void
test_prepend(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, LSMKV_ENOSPC, "inner");
	err_prepend(&err, "job %d", 3);
	err_prepend(&err, "compaction");
	err_prepend(NULL, "nobody reads it");
	assert_int_equal(err.code, LSMKV_ENOSPC);
	assert_string_equal(err.message, "compaction: job 3: inner");
}

/* However long a text, the message ends within its buffer. */
static void
test_long_messages_are_cut(void **state)
{
	char text[4 * ERR_MESSAGE_MAX];
	struct {
		struct err err;
		char guard[16]; /* must stay as it is */
	} box;
	int i;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(&box, 'G', sizeof(box));
	err_set(&box.err, LSMKV_EIO, "%s", text);
	assert_int_equal(strlen(box.err.message), ERR_MESSAGE_MAX - 1);
	for (i = 0; i < 3; i++)
		err_prepend(&box.err, "%s", text);
	assert_int_equal(strlen(box.err.message), ERR_MESSAGE_MAX - 1);
	assert_memory_equal(box.guard, "GGGGGGGGGGGGGGGG", 16);
}

/* A long path never pushes the reason of a system call out of the message. */
static void
test_reason_survives_long_path(void **state)
{
	char path[2 * ERR_MESSAGE_MAX];
	struct err err = ERR_INIT;

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	err_set_errno(&err, EIO, "%s", path);
	assert_non_null(strstr(err.message, ": Input/output error"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes_are_distinct),
		cmocka_unit_test(test_unknown_code),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_without_err),
		cmocka_unit_test(test_set_from_itself),
		cmocka_unit_test(test_errno_mapping),
		cmocka_unit_test(test_prepend),
		cmocka_unit_test(test_long_messages_are_cut),
		cmocka_unit_test(test_reason_survives_long_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
