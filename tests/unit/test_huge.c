/* SPDX-License-Identifier: ISC */
#include "base/huge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 40u /* more than are kept */

/* Each has its boundary and its bytes to itself, also when it comes again. */
static void
test_each_is_its_own(void **state)
{
	unsigned char *huge[COUNT];

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			huge[i] = huge_new();
			assert_non_null(huge[i]);
			assert_int_equal((uintptr_t)huge[i] % HUGE_BYTES, 0);
			huge[i][0] = huge[i][HUGE_BYTES - 1] = (unsigned char)i;
		}
		for (unsigned i = 0; i < COUNT; i++) {
			assert_int_equal(huge[i][0], i);
			assert_int_equal(huge[i][HUGE_BYTES - 1], i);
			huge_free(huge[i]);
		}
	}
	huge_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
