/* SPDX-License-Identifier: ISC */
/* Unit tests of http/guard: which Hosts and which web pages get in. */
#include "http/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const no_names[] = { NULL };
static const char *const some_hosts[] = { "kv.example", "other", NULL };
static const char *const any_host[] = { "other", "*", NULL };
static const char *const some_origins[] = { "https://app.example",
	                                    "http://dev.example:3000", NULL };

static enum api_problem
check(const char *const *hosts, const char *host, const char *origin,
      const char *fetch_site)
{
	struct request r = { .host = host,
		             .origin = origin,
		             .fetch_site = fetch_site };
	const char *allowed = NULL;
	struct guard g;

	guard_init(&g, hosts, some_origins);
	strcpy(g.machine, "Box7.lan.example");
	return guard_check(&g, &r, &allowed);
}

/* IP addresses, localhost, the machine's name and --host names are known. */
static void
test_known_hosts(void **state)
{
	static const char *const known[] = {
		"localhost",
		"LOCALHOST:8081",
		"localhost.",
		"localhost:",
		"127.0.0.1",
		"127.0.0.1:8081",
		"10.1.2.3:65535",
		"[::1]",
		"[::1]:8081",
		"[fe80::1:2]:80",
		"[::ffff:1.2.3.4]",
		"box7",
		"BOX7:8081",
		"box7.lan.example",
		"box7.lan.example.:80",
		"kv.example",
		"KV.example:443",
		"other",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (check(some_hosts, known[i], NULL, NULL))
			fail_msg("%s is not known", known[i]);
}

/* Any other name is refused, and so is what only looks like a known one. */
static void
test_unknown_hosts(void **state)
{
	static const char *const unknown[] = {
		"evil.example",
		"evil.example:8081",
		"",
		":8081",
		".",
		"localhost.evil.example",
		"evil.localhost.example",
		"127.0.0.1.evil.example",
		"127.0.0.1.evil.example:80",
		"127.1",
		"0x7f.0.0.1",
		"2130706433",
		"256.1.1.1",
		"[::1",
		"[::1]x",
		"[]",
		"[localhost]",
		"[::1].evil",
		"::1",
		"localhost:80:80",
		"localhost:65536",
		"localhost:-1",
		"localhost:8o",
		"localhost@evil.example",
		"localhost/..",
		"local host",
		"localhost ",
		"box",
		"box7.lan",
		"box7.lan.example.evil",
		"kv.example.evil",
		"xkv.example",
		"localhost..",
		"localhost,evil.example",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		if (check(some_hosts, unknown[i], NULL, NULL) !=
		    PROBLEM_HOST_UNKNOWN)
			fail_msg("%s is known", unknown[i]);
	assert_int_equal(check(no_names, "kv.example", NULL, NULL),
	                 PROBLEM_HOST_UNKNOWN);
	assert_int_equal(check(NULL, "kv.example", NULL, NULL),
	                 PROBLEM_HOST_UNKNOWN);
}

/* "*" takes any Host, and no Host is no browser. */
static void
test_any_host(void **state)
{
	(void)state;
	assert_int_equal(check(any_host, "evil.example", NULL, NULL), 0);
	assert_int_equal(check(any_host, "", NULL, NULL), 0);
	assert_int_equal(check(some_hosts, NULL, NULL, NULL), 0);
	/* It says nothing about origins. */
	assert_int_equal(check(any_host, "a.example", "http://b.example", NULL),
	                 PROBLEM_CROSS_SITE);
}

/* The machine's own name comes from the system. */
static void
test_machine_name(void **state)
{
	struct request r = { 0 };
	const char *allowed = NULL;
	char name[256] = "";
	struct guard g;

	(void)state;
	assert_int_equal(gethostname(name, sizeof(name) - 1), 0);
	guard_init(&g, NULL, NULL);
	r.host = name;
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_NONE);
	/* A machine without a name does not let an empty one in. */
	g.machine[0] = '\0';
	r.host = "";
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_HOST_UNKNOWN);
}

/* A page of this store's own origin gets in, one of any other does not. */
static void
test_origins(void **state)
{
	static const struct {
		const char *host, *origin;
		bool same;
	} table[] = {
		{ "localhost:8081", "http://localhost:8081", true },
		{ "LOCALHOST:8081", "http://localhost:8081", true },
		{ "localhost", "http://localhost", true },
		{ "localhost:80", "http://localhost", true },
		{ "localhost", "http://localhost:80", true },
		{ "localhost", "https://localhost:443", true },
		{ "localhost", "https://localhost", true },
		{ "[::1]:8081", "http://[::1]:8081", true },
		{ "localhost:8081", "http://localhost", false },
		{ "localhost:8081", "http://localhost:3000", false },
		{ "localhost:80", "https://localhost", false },
		{ "localhost:8081", "http://127.0.0.1:8081", false },
		{ "localhost:8081", "http://evil.example:8081", false },
		{ "localhost:8081", "http://evil.example", false },
		{ "localhost:8081", "null", false },
		{ "localhost:8081", "", false },
		{ "localhost:8081", "file://", false },
		{ "localhost:8081", "localhost:8081", false },
		{ "localhost:8081", "ftp://localhost:8081", false },
		{ "localhost:8081", "http://localhost:8081/", false },
		{ "localhost:8081", "http://localhost:8081.evil", false },
		{ NULL, "http://localhost", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum api_problem want =
			table[i].same ? PROBLEM_NONE : PROBLEM_CROSS_SITE;

		if (check(NULL, table[i].host, table[i].origin, NULL) != want)
			fail_msg("%s to %s", table[i].origin, table[i].host);
	}
}

/* Sec-Fetch-Site: cross-site is refused, also without an Origin. */
static void
test_fetch_site(void **state)
{
	(void)state;
	assert_int_equal(check(NULL, "localhost", NULL, "cross-site"),
	                 PROBLEM_CROSS_SITE);
	assert_int_equal(
		check(NULL, "localhost", "http://localhost", "cross-site"),
		PROBLEM_CROSS_SITE);
	assert_int_equal(check(NULL, "localhost", NULL, "same-origin"), 0);
	assert_int_equal(check(NULL, "localhost", NULL, "none"), 0);
	assert_int_equal(
		check(NULL, "localhost", "http://evil.example", "none"),
		PROBLEM_CROSS_SITE);
}

/* --allow-origin lets exactly that origin in, and tells which it was. */
static void
test_allowed_origins(void **state)
{
	struct request r = { .host = "localhost",
		             .origin = "http://DEV.example:3000",
		             .fetch_site = "cross-site" };
	const char *allowed = NULL;
	struct guard g;

	(void)state;
	guard_init(&g, NULL, some_origins);
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_NONE);
	assert_string_equal(allowed, "http://dev.example:3000");
	r.origin = "https://app.example.evil";
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_CROSS_SITE);
	assert_null(allowed);
	r.origin = "http://app.example";
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_CROSS_SITE);
	/* A Host that is not ours stays refused. */
	r.origin = "https://app.example";
	r.host = "evil.example";
	assert_int_equal(guard_check(&g, &r, &allowed), PROBLEM_HOST_UNKNOWN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_hosts),
		cmocka_unit_test(test_unknown_hosts),
		cmocka_unit_test(test_any_host),
		cmocka_unit_test(test_machine_name),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_fetch_site),
		cmocka_unit_test(test_allowed_origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
