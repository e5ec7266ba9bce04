/* SPDX-License-Identifier: ISC */
/*
 * lsmkv, the operator's tool: options and subcommands; what they do stands in
 * src/cli. It only reads, and may be used beside a running responder.
 *
 * Exit status: 0 all is well, 1 something in the store is damaged, 2 wrong
 * usage, or the store could not be looked at.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { STATUS_OK = 0, STATUS_DAMAGED = 1, STATUS_FAILED = 2 };

enum { OPTION_FULL = 256, OPTION_BYTES, OPTION_PROGRESS };

static const struct option long_options[] = {
	{ "full", no_argument, NULL, OPTION_FULL },
	{ "bytes", no_argument, NULL, OPTION_BYTES },
	{ "progress", no_argument, NULL, OPTION_PROGRESS },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"usage: lsmkv stat [--bytes] [DIR]\n"
	"       lsmkv dump [--full] [--progress] [FILE|DIR]\n"
	"       lsmkv verify [--progress] [DIR]\n"
	"\n"
	"Looks at the store in DIR, also while it is running.\n"
	"\n"
	"  stat    the tree by level, its shape, its versions and its log\n"
	"  dump    a MANIFEST, a .wal or an .sst file, or all of a store's, as\n"
	"          text\n"
	"  verify  reads everything and names file and offset of all damage\n"
	"\n"
	"  --bytes     sizes in bytes, not rounded\n"
	"  --full      keys and values whole, however long they are\n"
	"  --progress  say on stderr how far it is, even if that is no terminal\n"
	"  --help      this text\n"
	"  --version   version of the program\n"
	"\n"
	"DIR is $LSMKV_DATA_DIR if it is not given. Exit status: 0 all is well,\n"
	"1 something is damaged, 2 wrong usage or the store cannot be read.\n";

enum command { COMMAND_STAT, COMMAND_DUMP, COMMAND_VERIFY, COMMAND_NONE };

static enum command
find_command(const char *word)
{
	static const char *const words[] = { "stat", "dump", "verify" };
	enum command c = COMMAND_STAT;

	while (c < COMMAND_NONE && strcmp(word, words[c]))
		c++;
	return c;
}

static int
usage_error(const char *what, const char *word)
{
	fprintf(stderr, "lsmkv: %s%s%s\nTry 'lsmkv --help'.\n", what,
	        *word ? ": " : "", word);
	return STATUS_FAILED;
}

static int
run(enum command command, const char *path, const struct cli_options *options)
{
	struct err err = ERR_INIT;
	uint64_t damages = 0;
	int rc = 0;

	switch (command) {
	case COMMAND_STAT:
		rc = cli_stat(path, options, stdout, &err);
		break;
	case COMMAND_DUMP:
		rc = cli_dump(path, options, stdout, &damages, &err);
		break;
	case COMMAND_VERIFY:
		rc = cli_verify(path, options, stdout, &damages, &err);
		break;
	case COMMAND_NONE:
		break;
	}
	if (!rc && (fflush(stdout) || ferror(stdout)))
		rc = err_set_errno(&err, errno, "standard output");
	if (rc)
		fprintf(stderr, "lsmkv: %s\n", err.message);
	if (rc == LSMKV_ECORRUPT || damages)
		return STATUS_DAMAGED;
	return rc ? STATUS_FAILED : STATUS_OK;
}

int
main(int argc, char **argv)
{
	struct cli_options options = { .progress = isatty(STDERR_FILENO) == 1 };
	const char *path = getenv("LSMKV_DATA_DIR");
	enum command command;
	int option;

	while ((option = getopt_long(argc, argv, "hV", long_options, NULL)) !=
	       -1)
		switch (option) {
		case OPTION_FULL:
			options.full = true;
			break;
		case OPTION_BYTES:
			options.exact = true;
			break;
		case OPTION_PROGRESS:
			options.progress = true;
			break;
		case 'h':
			fputs(help_text, stdout);
			return STATUS_OK;
		case 'V':
			puts("lsmkv " PACKAGE_VERSION);
			return STATUS_OK;
		default: /* getopt has said what is wrong */
			fputs("Try 'lsmkv --help'.\n", stderr);
			return STATUS_FAILED;
		}
	if (optind == argc)
		return usage_error("no command", "");
	command = find_command(argv[optind]);
	if (command == COMMAND_NONE)
		return usage_error("no such command", argv[optind]);
	if (argc - optind > 2)
		return usage_error("one directory is enough", argv[optind + 2]);
	if (argc - optind == 2)
		path = argv[optind + 1];
	if (!path || !*path)
		return usage_error("which directory? Name it, or set "
		                   "LSMKV_DATA_DIR",
		                   "");
	return run(command, path, &options);
}
