/* SPDX-License-Identifier: ISC */
/*
 * A fuzz target without a fuzzer: runs it over files, those of its corpus or
 * those named as arguments, and says how many there were. An input that fails
 * aborts, after its name was printed.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "fuzz/fuzz.h"

static unsigned inputs;

static void
run_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t len = 0, room = 0, n;

	if (!in) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	do {
		room = room ? room * 2 : 4096;
		data = realloc(data, room);
		REQUIRE(data);
		n = fread(data + len, 1, room - len, in);
		len += n;
	} while (len == room);
	fclose(in);
	/* Exactly as large as it is, so that reading past it is seen. */
	data = realloc(data, len ? len : 1);
	REQUIRE(data);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	inputs++;
}

static void
run_corpus(void)
{
	const char *src = getenv("LSMKV_SRCDIR");
	char dir[4096], path[8192];
	struct dirent **names;
	int count;

	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", src ? src : ".",
	         fuzz_name);
	count = scandir(dir, &names, NULL, alphasort);
	if (count < 0) {
		fprintf(stderr, "%s: %s\n", dir, strerror(errno));
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", dir,
			         names[i]->d_name);
			run_file(path);
		}
		free(names[i]);
	}
	free(names);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc < 2)
		run_corpus();
	printf("fuzz_%s: %u inputs, none fails\n", fuzz_name, inputs);
	return inputs ? 0 : 1;
}
