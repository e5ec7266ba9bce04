/* SPDX-License-Identifier: ISC */
/* How many processors this process may use: not all that there are. */
#ifndef LSMKV_BASE_PROCESSORS_H
#define LSMKV_BASE_PROCESSORS_H

/* At least 1, also where the system does not tell. */
unsigned processors_allowed(void);

#endif
