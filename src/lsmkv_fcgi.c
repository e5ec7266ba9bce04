/* SPDX-License-Identifier: ISC */
/*
 * lsmkv.fcgi, the responder: options, start, signals, stop; see
 * lsmkv.fcgi(8). What it does in between stands in src/http and src/store.
 *
 * The order of starting is: signals blocked (every thread is to inherit
 * that), store opened (with it, the directory is ours), socket, workers. The
 * main thread then waits for signals; stopping goes the other way round.
 *
 * Exit status: 0 told to stop, 1 it could not start, or its last sync
 * failed, 2 wrong usage.
 */
#include <bsd/libutil.h>
#include <bsd/stdlib.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/cgi.h"
#include "http/fcgi.h"
#include "http/listen.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

#define NAMES_MAX 64          /* of --host, and of --allow-origin */
#define PEER_TIMEOUT_MS 30000 /* for a peer that stopped in mid-request */
#define CGI_LOCK_WAIT_NS 1000000000ull /* for another CGI request to end */
#define CGI_LOCK_PAUSE_US 10000
#define CGI_COMPACTION_NS 10000000000ull /* at most, for a compaction */
#define CGI_COMPACTION_PAUSE_US 1000

/* A list of names, as the API wants it. */
struct names {
	const char *name[NAMES_MAX + 1]; /* NULL-terminated; borrowed */
	size_t count;
};

struct settings {
	const char *data_dir;
	const char *socket; /* NULL: the one on fd 0, or CGI */
	const char *helper; /* NULL: look for it */
	const char *sync;   /* as it was given */
	struct store_options store;
	uint64_t max_value_bytes;
	unsigned threads;
	struct names hosts, origins;
	enum log_level log_level;
	bool log_level_given;
};

/* ---- values ---- */

/*
 * A parser takes the text of an option into the settings, which may borrow
 * it. It returns NULL, or says what the option takes.
 */
typedef const char *parser(struct settings *s, char *text);

static bool
parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *bytes)
{
	/* expand_number takes signs and blanks; a size has none. */
	return *text >= '0' && *text <= '9' && !expand_number(text, bytes) &&
	       *bytes >= min && *bytes <= max;
}

static const char *
parse_data_dir(struct settings *s, char *text)
{
	s->data_dir = text;
	return *text ? NULL : "the path of a directory";
}

static const char *
parse_socket(struct settings *s, char *text)
{
	s->socket = text;
	return *text ? NULL : "a path, or :PORT for 127.0.0.1";
}

static const char *
parse_memory(struct settings *s, char *text)
{
	return parse_size(text, 1u << 20, 1ull << 46, &s->store.memory_bytes)
	               ? NULL
	               : "a size of 1M or more, as in 256M or 2G";
}

static const char *
parse_memtable(struct settings *s, char *text)
{
	return parse_size(text, 64u << 10, 1u << 30, &s->store.memtable_bytes)
	               ? NULL
	               : "a size from 64K to 1G, as in 64M";
}

static const char *
parse_max_value(struct settings *s, char *text)
{
	return parse_size(text, 1, ENTRY_VALUE_MAX, &s->max_value_bytes)
	               ? NULL
	               : "a size from 1 to 1G, as in 16M";
}

/* A duration such as 100ms, 2s, 1m, 6h, 7d. */
static bool
parse_duration(const char *text, uint64_t max_ms, uint64_t *ms)
{
	static const struct {
		const char *name;
		unsigned ms;
	} units[] = { { "ms", 1 },
		      { "s", 1000 },
		      { "m", 60000 },
		      { "h", 3600000 },
		      { "d", 86400000 } };
	size_t digits = strspn(text, "0123456789");
	const char *bad = NULL;
	char number[16];

	if (!digits || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].name))
			continue;
		*ms = units[i].ms *
		      (uint64_t)strtonum(number, 1,
		                         (long long)(max_ms / units[i].ms),
		                         &bad);
		return !bad;
	}
	return false;
}

static const char *
parse_sync(struct settings *s, char *text)
{
	static const char interval[] = "interval=";
	uint64_t ms;

	s->sync = text;
	if (!strcmp(text, "always"))
		s->store.sync = SYNC_ALWAYS;
	else if (!strcmp(text, "none"))
		s->store.sync = SYNC_NONE;
	else if (!strncmp(text, interval, sizeof(interval) - 1) &&
	         parse_duration(text + sizeof(interval) - 1, 60000, &ms)) {
		s->store.sync = SYNC_INTERVAL;
		s->store.interval_ms = (unsigned)ms;
	} else {
		return "always, none or interval=TIME with a time from 1ms "
		       "to 1m";
	}
	return NULL;
}

static const char *
parse_scrub(struct settings *s, char *text)
{
	uint64_t ms;

	if (!strcmp(text, "never")) {
		s->store.scrub_s = 0;
		return NULL;
	}
	if (!parse_duration(text, 366 * 86400000ull, &ms) || ms < 1000)
		return "never, or a time from 1s to 366d, as in 7d";
	s->store.scrub_s = ms / 1000;
	return NULL;
}

static const char *
parse_threads(struct settings *s, char *text)
{
	const char *bad = NULL;

	s->threads = (unsigned)strtonum(text, 1, 1024, &bad);
	return bad ? "a number from 1 to 1024" : NULL;
}

/* Adds the names between the commas of text, which is cut up for it. */
static const char *
parse_names(struct names *names, char *text, bool (*valid)(const char *name),
            const char *allowed)
{
	char *name;

	while ((name = strsep(&text, ",")) != NULL) {
		if (!*name)
			continue;
		if (names->count == NAMES_MAX || !valid(name))
			return allowed;
		names->name[names->count++] = name;
	}
	return NULL;
}

static bool
is_host(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_";

	return !strcmp(name, "*") || !name[strspn(name, letters)];
}

static bool
is_origin(const char *name)
{
	const char *host = strstr(name, "://");

	if (strncmp(name, "http://", 7) && strncmp(name, "https://", 8))
		return false;
	for (host += 3; *host; host++)
		if (*host <= ' ' || *host >= 0x7f || strchr("/?#@", *host))
			return false;
	return host[-1] != '/';
}

static const char *
parse_host(struct settings *s, char *text)
{
	return parse_names(&s->hosts, text, is_host,
	                   "at most 64 host names without port, or *");
}

static const char *
parse_origin(struct settings *s, char *text)
{
	return parse_names(&s->origins, text, is_origin,
	                   "at most 64 origins, as in "
	                   "https://app.example:8443");
}

static const char *
parse_helper(struct settings *s, char *text)
{
	s->helper = text;
	return *text == '/' ? NULL : "an absolute path";
}

static const char *
parse_log_level(struct settings *s, char *text)
{
	s->log_level_given = true;
	return log_parse_level(text, &s->log_level)
	               ? NULL
	               : "error, warn, info or debug";
}

/* ---- options ---- */

static const struct {
	const char *name;     /* --name */
	const char *env;      /* the variable that stands in for it */
	const char *argument; /* for the help text */
	const char *help;     /* for the help text; lines after the first
				 begin with \n */
	parser *parse;
} options[] = {
	{ "data-dir", "LSMKV_DATA_DIR", "DIR",
	  "the store's directory (/var/lib/lsmkv)", parse_data_dir },
	{ "socket", "LSMKV_SOCKET", "PATH|:PORT",
	  "listen there (the socket on fd 0)", parse_socket },
	{ "memory", "LSMKV_MEMORY", "SIZE",
	  "memtables, caches, indexes and filters together\n(256M)",
	  parse_memory },
	{ "memtable", "LSMKV_MEMTABLE", "SIZE",
	  "of one memtable (an eighth of the memory, at\nmost 64M)",
	  parse_memtable },
	{ "sync", "LSMKV_SYNC", "MODE",
	  "always: an answered write is on disk (always);\n"
	  "interval=TIME: a crash of the machine may take\n"
	  "the writes of that time with it; none: more",
	  parse_sync },
	{ "scrub", "LSMKV_SCRUB", "TIME",
	  "read and check everything on disk once in this\n"
	  "time; never turns that off (7d)",
	  parse_scrub },
	{ "max-value", "LSMKV_MAX_VALUE", "SIZE", "of one value (16M)",
	  parse_max_value },
	{ "threads", "LSMKV_THREADS", "N",
	  "requests served at the same time (32)", parse_threads },
	{ "host", "LSMKV_HOST", "NAME",
	  "a name that clients may call this store by,\n"
	  "beside localhost, the machine's own and IP\n"
	  "addresses; * for any (repeatable)",
	  parse_host },
	{ "allow-origin", "LSMKV_ALLOW_ORIGIN", "ORIGIN",
	  "a web site whose pages may use this store\n(repeatable)",
	  parse_origin },
	{ "helper", "LSMKV_HELPER", "PATH",
	  "of lsmkv-compact (beside lsmkv.fcgi, or\n" LSMKV_HELPER_PATH ")",
	  parse_helper },
	{ "log-level", "LSMKV_LOG_LEVEL", "LEVEL",
	  "error, warn, info or debug (info)", parse_log_level },
};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static void
print_help(void)
{
	printf("usage: lsmkv.fcgi [OPTION...]\n"
	       "\n"
	       "The FastCGI responder of lsmkv: a web server passes it "
	       "requests through a\n"
	       "socket. Without a socket it is a CGI program.\n"
	       "\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *help = options[i].help;
		char name[32];

		snprintf(name, sizeof(name), "--%s %s", options[i].name,
		         options[i].argument);
		printf("  %-24s ", name);
		for (; *help; help++)
			if (*help == '\n')
				printf("\n%27s", "");
			else
				putchar(*help);
		putchar('\n');
	}
	printf("  %-24s this text\n"
	       "  %-24s version of the program\n"
	       "\n"
	       "Each option has an environment variable: LSMKV_DATA_DIR for "
	       "--data-dir, and so\n"
	       "on; the option wins. Several names in a variable are "
	       "separated by commas. Sizes\n"
	       "take K, M, G (powers of 1024), times ms, s, m, h, d.\n",
	       "--help", "--version");
}

/* Reads the variable or option i; false after telling what is wrong. */
static bool
read_option(struct settings *s, size_t i, bool is_env, char *text)
{
	const char *allowed = options[i].parse(s, text);

	if (allowed)
		fprintf(stderr, "lsmkv.fcgi: %s%s \"%s\": it takes %s\n",
		        is_env ? "" : "--",
		        is_env ? options[i].env : options[i].name, text,
		        allowed);
	return !allowed;
}

static bool
read_environment(struct settings *s)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char *text = getenv(options[i].env);

		if (text && *text && !read_option(s, i, true, text))
			return false;
	}
	return true;
}

/* -1: go on; else exit with that status. */
static int
read_command_line(struct settings *s, int argc, char *argv[])
{
	struct option longs[OPTION_COUNT + 3] = { { NULL, 0, NULL, 0 } };
	size_t i;
	int c;

	for (i = 0; i < OPTION_COUNT; i++)
		longs[i] = (struct option){
			options[i].name,
			required_argument,
			NULL,
			256 + (int)i,
		};
	longs[i++] = (struct option){ "help", no_argument, NULL, 'h' };
	longs[i] = (struct option){ "version", no_argument, NULL, 'V' };

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'h':
			print_help();
			return STATUS_OK;
		case 'V':
			printf("lsmkv.fcgi %s\n", PACKAGE_VERSION);
			return STATUS_OK;
		case '?':
			fprintf(stderr, "Try 'lsmkv.fcgi --help'.\n");
			return STATUS_USAGE;
		default:
			if (!read_option(s, (size_t)(c - 256), false, optarg))
				return STATUS_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
		        "lsmkv.fcgi: \"%s\" is not an option\n"
		        "Try 'lsmkv.fcgi --help'.\n",
		        argv[optind]);
		return STATUS_USAGE;
	}
	return -1;
}

/*
 * The helper lies beside this program in a build directory, and in libexec
 * once installed. found has room for PATH_MAX bytes.
 */
static int
find_helper(struct settings *s, char *found, struct err *err)
{
	static const char name[] = "lsmkv-compact";
	ssize_t n = readlink("/proc/self/exe", found, PATH_MAX - 1);
	char *slash;

	if (!s->helper && n > 0) {
		found[n] = '\0';
		slash = strrchr(found, '/');
		if ((size_t)(slash + 1 - found) + sizeof(name) <= PATH_MAX) {
			memcpy(slash + 1, name, sizeof(name));
			if (!access(found, X_OK))
				s->helper = found;
		}
	}
	if (!s->helper)
		s->helper = LSMKV_HELPER_PATH;
	if (access(s->helper, X_OK))
		return err_set_errno(err, errno,
		                     "%s, which compacts the store (--helper)",
		                     s->helper);
	s->store.compactor.helper = s->helper;
	return 0;
}

/* ---- running ---- */

/*
 * What is allocated by one thread is often freed by another: indexes, and what
 * scans read ahead. With an arena for every few threads, each is left with
 * holes, and --memory does not hold; with one, two workers that are awake wait
 * for each other.
 */
static void
keep_few_arenas(void)
{
	mallopt(M_ARENA_MAX, 4);
}

/* As many connections as we are allowed, not as few as is usual. */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void
log_start(const struct settings *s, const char *where)
{
	char memory[5], value[5];

	humanize_number(memory, sizeof(memory), (int64_t)s->store.memory_bytes,
	                "", HN_AUTOSCALE, HN_NOSPACE);
	humanize_number(value, sizeof(value), (int64_t)s->max_value_bytes, "",
	                HN_AUTOSCALE, HN_NOSPACE);
	log_info("start: lsmkv.fcgi %s, data in %s, memory %s, sync %s, "
	         "values up to %s",
	         PACKAGE_VERSION, s->data_dir, memory, s->sync, value);
	log_info("start: listening on %s, %u threads", where, s->threads);
	if (s->store.sync != SYNC_ALWAYS)
		log_warn("start: with sync %s a crash of the machine loses "
		         "writes that were answered",
		         s->sync);
}

/* One line about the state, for whoever asks by SIGHUP. */
static void
log_state(struct engine *engine)
{
	struct store_stat stat = { 0 };
	uint64_t files = 0, bytes = 0;
	char size[5];

	engine->ops->stat(engine, &stat);
	for (size_t i = 0; i < LEVELS_MAX; i++) {
		files += stat.level[i].files;
		bytes += stat.level[i].bytes;
	}
	humanize_number(size, sizeof(size), (int64_t)bytes, "", HN_AUTOSCALE,
	                HN_NOSPACE);
	log_info("state: version %llu, %llu gets, %llu writes, %llu deletes, "
	         "%llu files of %s, writes are %s",
	         (unsigned long long)stat.version,
	         (unsigned long long)stat.gets, (unsigned long long)stat.writes,
	         (unsigned long long)stat.deletes, (unsigned long long)files,
	         size, stat.failed ? stat.failure : "on");
}

/* Serves until a signal says to stop. */
static int
run_fcgi(const struct settings *s, struct api *api, struct engine *engine,
         const sigset_t *signals, struct err *err)
{
	struct fcgi_options fcgi_options = {
		.listen_fd = STDIN_FILENO,
		.threads = s->threads,
		.timeout_ms = PEER_TIMEOUT_MS,
	};
	struct fcgi *fcgi = NULL;
	int number = 0, rc = 0;

	if (s->socket)
		rc = listen_open(s->socket, &fcgi_options.listen_fd, err);
	if (rc)
		return rc;
	rc = fcgi_start(&fcgi, api, &fcgi_options, err);
	if (!rc) {
		log_start(s, s->socket ? s->socket : "the socket on fd 0");
		do {
			if (sigwait(signals, &number))
				continue;
			if (number == SIGHUP)
				log_state(engine);
		} while (number == SIGHUP || !number);
		log_info("stop: %s", strsignal(number));
		fcgi_stop(fcgi);
	}
	if (s->socket)
		listen_close(s->socket, fcgi_options.listen_fd);
	return rc;
}

/* Opens the store; a CGI program waits a little for the one before it. */
static int
open_engine(struct engine **engine, const struct settings *s, bool is_cgi,
            struct err *err)
{
	uint64_t end = clock_mono_ns() + CGI_LOCK_WAIT_NS;
	int rc;

	for (;;) {
		rc = engine_open_lsm(engine, s->data_dir, &s->store, err);
		if (rc != LSMKV_ELOCKED || !is_cgi || clock_mono_ns() >= end)
			return rc;
		clock_sleep_us(CGI_LOCK_PAUSE_US);
	}
}

/*
 * The life of a CGI program is too short for a compaction, yet each that writes
 * adds a file to level 0. One that finds so many that writers are slowed lets
 * them be merged first: afterwards is too late, since web servers kill a
 * program that has answered.
 */
static void
wait_for_compaction(struct engine *engine, const struct settings *s)
{
	uint64_t end = clock_mono_ns() + CGI_COMPACTION_NS;
	struct store_stat stat = { 0 };

	for (;;) {
		engine->ops->stat(engine, &stat);
		if (stat.level[0].files < s->store.level0_slow ||
		    clock_mono_ns() >= end)
			return;
		clock_sleep_us(CGI_COMPACTION_PAUSE_US);
	}
}

static int
run(struct settings *s, bool is_cgi, const sigset_t *signals)
{
	struct api_options api_options = {
		.max_value_bytes = s->max_value_bytes,
		.hosts = s->hosts.name,
		.origins = s->origins.name,
	};
	struct engine *engine = NULL;
	struct api *api = NULL;
	struct err err = ERR_INIT;
	char helper[PATH_MAX];
	int rc, close_rc;

	rc = find_helper(s, helper, &err);
	if (!rc)
		rc = open_engine(&engine, s, is_cgi, &err);
	if (rc && !is_cgi)
		goto out;
	rc = api_new(&api, engine, &api_options, &err);
	if (rc)
		goto out;
	if (is_cgi && engine)
		wait_for_compaction(engine, s);
	rc = is_cgi ? cgi_answer(api, environ, STDIN_FILENO, STDOUT_FILENO,
	                         engine ? NULL : &err, &err)
	            : run_fcgi(s, api, engine, signals, &err);
out:
	if (rc)
		log_error("%s", err.message);
	api_free(api);
	if (engine) {
		close_rc = engine_close(engine, &err);
		if (close_rc)
			log_error("close: %s", err.message);
		else if (!is_cgi && !rc)
			log_info("stop: done");
		rc = rc ? rc : close_rc;
	}
	if (rc == LSMKV_EINVAL)
		return STATUS_USAGE;
	return rc ? STATUS_FAILED : STATUS_OK;
}

int
main(int argc, char *argv[])
{
	struct settings s = {
		.data_dir = "/var/lib/lsmkv",
		.sync = "always",
		.max_value_bytes = 16u << 20,
		.threads = 32,
		.log_level = LOG_LEVEL_INFO,
	};
	bool has_socket = listen_is_socket(STDIN_FILENO);
	bool is_cgi = !has_socket && getenv("REQUEST_METHOD");
	sigset_t signals;
	int status;

	store_options_init(&s.store);
	if (!read_environment(&s))
		return STATUS_USAGE;
	/*
	 * A web server may hand words of the query string to a CGI program as
	 * arguments (RFC 3875, 4.4): those are the client's, not options.
	 */
	if (!is_cgi || !getenv("GATEWAY_INTERFACE")) {
		status = read_command_line(&s, argc, argv);
		if (status >= 0)
			return status;
	}
	if (s.socket)
		is_cgi = false;
	else if (!has_socket && !is_cgi) {
		fprintf(stderr,
		        "lsmkv.fcgi: there is no socket on fd 0 to serve; give "
		        "--socket PATH, or let a\nweb server, spawn-fcgi or "
		        "systemd start this program. Try 'lsmkv.fcgi "
		        "--help'.\n");
		return STATUS_USAGE;
	}
	/* Each CGI request opens the store: only what is wrong is news. */
	log_set_level(is_cgi && !s.log_level_given ? LOG_LEVEL_WARN
	                                           : s.log_level);
	umask(027);
	raise_descriptor_limit();
	keep_few_arenas();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	if (!is_cgi)
		pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return run(&s, is_cgi, &signals);
}
