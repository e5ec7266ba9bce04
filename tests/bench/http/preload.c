/* SPDX-License-Identifier: ISC */
/*
 * Fills a store for bench-http, as no client could in the time: keys k0000000
 * and so on, which are read and written, and d0000000 and so on to delete.
 *
 *     preload DIR KEYS DELS
 *
 * Values are those of requests.lua in kind: 100 bytes, half of them random.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/store.h"

#define BATCH 1000u
#define VALUE_LEN 100u

struct pair {
	char key[32];
	unsigned char value[VALUE_LEN];
};

static uint32_t
next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

static int
fill(struct store *s, char first, unsigned long count, struct err *err)
{
	static struct pair pairs[BATCH];
	static struct op ops[BATCH];
	uint64_t state = (unsigned char)first;
	int rc = 0;

	for (unsigned long i = 0; i < count && !rc;) {
		size_t n = 0;

		for (; n < BATCH && i < count; n++, i++) {
			struct pair *p = &pairs[n];

			snprintf(p->key, sizeof(p->key), "%c%07lu", first, i);
			memset(p->value, 'v', VALUE_LEN);
			for (size_t j = 0; j < VALUE_LEN / 2; j++)
				p->value[j] =
					(unsigned char)('A' +
				                        next_random(&state) %
				                                58);
			ops[n] = (struct op){
				.key = slice_str(p->key),
				.value = slice_make(p->value, VALUE_LEN),
				.kind = ENTRY_TEXT,
			};
		}
		rc = store_write(s, ops, n, NULL, err);
	}
	return rc;
}

int
main(int argc, char *argv[])
{
	struct store_options options;
	struct store *s = NULL;
	struct err err = ERR_INIT, closing = ERR_INIT;
	int rc;

	if (argc != 4) {
		fprintf(stderr, "usage: preload DIR KEYS DELS\n");
		return 2;
	}
	store_options_init(&options);
	options.sync = SYNC_NONE;
	options.compactor.helper = getenv("LSMKV_HELPER");
	rc = store_open(&s, argv[1], &options, &err);
	if (!rc)
		rc = fill(s, 'd', strtoul(argv[3], NULL, 10), &err);
	if (!rc)
		rc = fill(s, 'k', strtoul(argv[2], NULL, 10), &err);
	if (!rc)
		rc = store_compact(s, &err);
	if (store_close(s, &closing) && !rc) {
		rc = closing.code;
		err = closing;
	}
	if (rc)
		fprintf(stderr, "preload: %s\n", err.message);
	return rc ? 1 : 0;
}
