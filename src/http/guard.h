/* SPDX-License-Identifier: ISC */
/*
 * The guard against web pages: other sites must not reach the store through
 * a user's browser.
 *
 * A page that sends a request across sites is told by Sec-Fetch-Site and
 * Origin, which every browser sends and curl and programs do not. A page
 * whose own name was rebound to this machine's address (DNS rebinding) is
 * told by Host: it names the attacker's site, so Host must be a name that
 * this store is known by.
 */
#ifndef LSMKV_HTTP_GUARD_H
#define LSMKV_HTTP_GUARD_H

#include "http/api_problem.h"

struct guard {
	const char *const *hosts;   /* --host; borrowed, NULL-terminated */
	const char *const *origins; /* --allow-origin; the same */
	char machine[256];          /* gethostname(2); "" if it has none */
};

/*
 * hosts holds names, or "*" for any; origins are origins as browsers send
 * them ("https://app.example:8443"). Either may be NULL for none; both must
 * outlive the guard.
 */
void guard_init(struct guard *g, const char *const *hosts,
                const char *const *origins);

/*
 * PROBLEM_NONE, PROBLEM_HOST_UNKNOWN or PROBLEM_CROSS_SITE. *allowed is the
 * --allow-origin that let a request in, or NULL.
 */
enum api_problem guard_check(const struct guard *g, const struct request *r,
                             const char **allowed);

#endif
