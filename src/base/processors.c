/* SPDX-License-Identifier: ISC */
#include "base/processors.h"

#include <sched.h>

unsigned
processors_allowed(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned)CPU_COUNT(&set);
}
