/* SPDX-License-Identifier: ISC */
/* File names and their parsing back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "store/names.h"

/* Every name that is written is parsed back to its kind and number. */
static void
round_trip(void **state)
{
	const uint64_t numbers[] = { 1,       12,         999999,
		                     1000000, 4294967296, UINT64_MAX };
	uint64_t number;
	char name[NAME_MAX_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		assert_int_equal(
			name_parse(name_wal(numbers[i], name), &number),
			NAME_IS_WAL);
		assert_true(number == numbers[i]);
		assert_int_equal(
			name_parse(name_sst(numbers[i], name), &number),
			NAME_IS_SST);
		assert_true(number == numbers[i]);
		assert_int_equal(
			name_parse(name_sst_tmp(numbers[i], name), &number),
			NAME_IS_SST_TMP);
		assert_true(number == numbers[i]);
	}
	assert_string_equal(name_wal(12, name), "000012.wal");
	assert_string_equal(name_sst(13, name), "000013.sst");
	assert_string_equal(name_sst_tmp(1234567, name), "1234567.sst.tmp");
}

/* The files without a number are known by name, and have number 0. */
static void
fixed(void **state)
{
	uint64_t number = 7;

	(void)state;
	assert_int_equal(name_parse("LOCK", &number), NAME_IS_LOCK);
	assert_int_equal(number, 0);
	assert_int_equal(name_parse("MANIFEST", &number), NAME_IS_MANIFEST);
	assert_int_equal(name_parse("MANIFEST.tmp", &number),
	                 NAME_IS_MANIFEST_TMP);
}

/* Whatever only looks like one of ours is somebody else's file. */
static void
others(void **state)
{
	static const char *const names[] = {
		"",
		".",
		"lost+found",
		"lock",
		"LOCK ",
		"MANIFEST.tmp2",
		"000000.sst",
		"13.sst",
		"00013.sst",
		"0000013.sst",
		"+00013.sst",
		"-00013.sst",
		" 00013.sst",
		"000013.SST",
		"000013.sst~",
		"000013.sst.tmp.tmp",
		"000013.wal.tmp",
		"000013.",
		"000013",
		"00001x.sst",
		"0x0013.sst",
		"18446744073709551616.sst",
		"99999999999999999999999999.wal",
		"000013.sst\n",
	};
	uint64_t number;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		number = 7;
		if (name_parse(names[i], &number) != NAME_OTHER || number)
			fail_msg("recognized: '%s'", names[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(fixed),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
