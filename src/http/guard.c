/* SPDX-License-Identifier: ISC */
/* The guard against web pages; see guard.h. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/guard.h"

#define HOST_MAX 253 /* bytes of a DNS name */

/* A host and port as Host and Origin spell them. */
struct authority {
	char host[HOST_MAX + 1]; /* without brackets and final dot */
	bool bracketed;          /* it was [...]: an IPv6 address */
	long port;               /* -1: none given */
};

/* False if text is no authority. */
static bool
parse_authority(const char *text, struct authority *a)
{
	const char *host = text, *end, *port;
	size_t len;

	*a = (struct authority){ .port = -1 };
	if (*text == '[') {
		a->bracketed = true;
		host++;
		end = strchr(host, ']');
		if (!end)
			return false;
		port = end + 1;
	} else {
		end = port = host + strcspn(host, ":");
	}
	len = (size_t)(end - host);
	if (!a->bracketed && len && host[len - 1] == '.')
		len--; /* the root's dot: the same name */
	if (!len || len > HOST_MAX)
		return false;
	memcpy(a->host, host, len);
	a->host[len] = '\0';

	if (!*port)
		return true;
	if (*port++ != ':')
		return false;
	len = strlen(port);
	if (len > 5 || port[strspn(port, "0123456789")])
		return false;
	if (len) /* "name:" is allowed and means no port */
		a->port = strtol(port, NULL, 10);
	return a->port <= 65535;
}

static bool
is_address(const struct authority *a)
{
	unsigned char address[16];

	return inet_pton(a->bracketed ? AF_INET6 : AF_INET, a->host, address) ==
	       1;
}

static bool
host_is_known(const struct guard *g, const char *text)
{
	struct authority a;
	size_t label;

	for (const char *const *h = g->hosts; h && *h; h++)
		if (!strcmp(*h, "*"))
			return true;
	if (!parse_authority(text, &a))
		return false;
	if (is_address(&a))
		return true;
	if (a.bracketed)
		return false;
	if (!strcasecmp(a.host, "localhost"))
		return true;
	/* The machine's own name, whole or up to its first dot. */
	label = strcspn(g->machine, ".");
	if (label && (!strcasecmp(a.host, g->machine) ||
	              (strlen(a.host) == label &&
	               !strncasecmp(a.host, g->machine, label))))
		return true;
	for (const char *const *h = g->hosts; h && *h; h++)
		if (!strcasecmp(a.host, *h))
			return true;
	return false;
}

/* Is origin the site that the request was sent to? */
static bool
same_site(const char *origin, const char *host)
{
	struct authority from, to;
	long usual;

	if (!strncasecmp(origin, "http://", 7)) {
		usual = 80;
		origin += 7;
	} else if (!strncasecmp(origin, "https://", 8)) {
		usual = 443;
		origin += 8;
	} else {
		return false; /* "null", extensions, files */
	}
	if (!host || !parse_authority(origin, &from) ||
	    !parse_authority(host, &to) || from.bracketed != to.bracketed ||
	    strcasecmp(from.host, to.host))
		return false;
	return (from.port < 0 ? usual : from.port) ==
	       (to.port < 0 ? usual : to.port);
}

void
guard_init(struct guard *g, const char *const *hosts,
           const char *const *origins)
{
	*g = (struct guard){ .hosts = hosts, .origins = origins };
	if (gethostname(g->machine, sizeof(g->machine) - 1))
		g->machine[0] = '\0';
}

enum api_problem
guard_check(const struct guard *g, const struct request *r,
            const char **allowed)
{
	*allowed = NULL;
	/* HTTP/1.0 has no Host; a browser never leaves it out. */
	if (r->host && !host_is_known(g, r->host))
		return PROBLEM_HOST_UNKNOWN;
	if (!r->origin && !r->fetch_site)
		return PROBLEM_NONE;

	if (r->origin)
		for (const char *const *o = g->origins; o && *o; o++)
			if (!strcasecmp(*o, r->origin)) {
				*allowed = *o;
				return PROBLEM_NONE;
			}
	if (r->fetch_site && !strcasecmp(r->fetch_site, "cross-site"))
		return PROBLEM_CROSS_SITE;
	if (r->origin && !same_site(r->origin, r->host))
		return PROBLEM_CROSS_SITE;
	return PROBLEM_NONE;
}
