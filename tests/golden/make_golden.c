/* SPDX-License-Identifier: ISC */
/*
 * Makes a golden store: make_golden DIR writes a store into DIR/store and what
 * it must give back, for ever, into DIR/expected.txt.
 *
 *     make tests/golden/make_golden
 *     tests/golden/make_golden /tmp/golden
 *
 * Run once for each version of the format, when it is settled; its outcome is
 * checked in as tests/golden/vN and tests/golden/vN.txt, and never made again:
 * tests/unit/test_golden opens what an older program wrote, not what today's
 * program would write. So this program is here to say how they came about, and
 * to be extended for the next version.
 *
 * The text is made from what was written, and never from what the store says.
 * One line an entry, in the order of keys, five fields with tabs between them,
 * strings escaped as strvis(3) does with VIS_CSTYLE | VIS_OCTAL | VIS_WHITE:
 *
 *     key kind expires version value
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBBSD_NETBSD_VIS
#include <bsd/vis.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"

#define MIXED 300u /* keys of many kinds */
#define ALIKE 520u /* keys and values whose blocks stand in parts */
#define KEYS (MIXED + ALIKE)
#define FAR_FUTURE 4102444800u /* 2100-01-01 */
#define LONG_AGO 1000000000u   /* 2001-09-09 */

/* What was written last under each key. */
struct kept {
	char key[64]; /* bytes; some are not printable */
	size_t key_len;
	char *value; /* owned; NULL: nothing is there */
	size_t value_len;
	enum entry_kind kind;
	uint64_t expires, version;
};

static struct kept kept[KEYS];
static struct store *store;
static uint64_t seed = 1; /* the same store each time, as far as that goes */

static uint32_t
random_number(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static void
check(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "make_golden: %s\n", err->message);
	exit(1);
}

/* Keys of all lengths, with shared beginnings, some of bytes that are no text. */
static void
make_keys(void)
{
	for (unsigned i = 0; i < MIXED; i++) {
		struct kept *k = &kept[i];
		int len;

		switch (i % 5) {
		case 0:
			len = snprintf(k->key, sizeof(k->key), "%u", i);
			break;
		case 1:
			len = snprintf(k->key, sizeof(k->key),
			               "a/long/common/prefix/%05u", i);
			break;
		case 2:
			len = snprintf(k->key, sizeof(k->key),
			               "caf\xc3\xa9 \xe2\x82\xac %u", i);
			break;
		case 3:
			len = snprintf(k->key, sizeof(k->key), "b\x01%ub", i);
			k->key[len - 1] = '\0';
			break;
		default:
			len = snprintf(k->key, sizeof(k->key), "\xff\xfe%u", i);
			break;
		}
		k->key_len = (size_t)len;
	}
}

/* Keys that no other ones stand between, and before all of them. */
static void
make_alike_keys(void)
{
	for (unsigned i = MIXED; i < KEYS; i++) {
		struct kept *k = &kept[i];
		int len = snprintf(k->key, sizeof(k->key), "!%08x%08x",
		                   random_number(), random_number());

		k->key_len = (size_t)len;
	}
}

static char *
make_value(enum entry_kind kind, size_t *len)
{
	size_t n = random_number() % 400;
	char *value;

	if (random_number() % 40 == 0)
		n = 20000; /* larger than a block */
	value = calloc(1, n + 64);
	assert(value);
	switch (kind) {
	case ENTRY_JSON:
		*len = (size_t)snprintf(value, n + 64,
		                        "{\"n\":%u,\"list\":[true,null,%zu]}",
		                        random_number(), n);
		break;
	case ENTRY_TEXT:
		for (size_t i = 0; i < n; i++)
			value[i] = "the quick brown fox\n\xc3\xa9"[i % 22];
		n -= n % 22; /* no half of a character */
		*len = n;
		break;
	case ENTRY_BYTES:
	case ENTRY_TOMBSTONE:
		for (size_t i = 0; i < n; i++)
			value[i] = (char)random_number();
		*len = n;
		break;
	}
	return value;
}

/*
 * About a hundred letters. Many begin alike, so that parts copy from the first
 * one; there are enough of them for a code in common.
 */
static void
write_alike(unsigned i)
{
	static const char head[] = "{\"name\":\"user\",\"text\":\"";
	size_t len = 60 + random_number() % 80;
	char *value = calloc(1, len + 1);
	struct err err = ERR_INIT;
	struct op op = { .kind = ENTRY_TEXT };

	assert(value);
	for (size_t n = 0; n < len; n++)
		value[n] = (char)('A' + random_number() % 26);
	if (random_number() % 3 == 0)
		memcpy(value, head, sizeof(head) - 1);
	if (random_number() % 8 == 0)
		op.expires = FAR_FUTURE;
	op.key = slice_make(kept[i].key, kept[i].key_len);
	op.value = slice_make(value, len);
	check(store_write(store, &op, 1, NULL, &err), &err);
	free(kept[i].value);
	kept[i].value = value;
	kept[i].value_len = len;
	kept[i].kind = op.kind;
	kept[i].expires = op.expires;
	kept[i].version = op.version;
}

/* Writes a batch of one to three keys: sets of all kinds, and deletes. */
static void
write_batch(void)
{
	struct op ops[3] = { 0 };
	struct kept *k[3];
	size_t count = 1 + random_number() % 3;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < count; i++) {
		struct op *op = &ops[i];
		uint32_t dice = random_number() % 10;
		char *value = NULL;
		size_t len = 0;

		/* Different keys: each a third of all. */
		k[i] = &kept[random_number() % (MIXED / 3) * 3 + i];
		op->kind = dice < 4   ? ENTRY_TEXT
		           : dice < 6 ? ENTRY_JSON
		           : dice < 8 ? ENTRY_BYTES
		                      : ENTRY_TOMBSTONE;
		op->key = slice_make(k[i]->key, k[i]->key_len);
		if (op->kind != ENTRY_TOMBSTONE) {
			value = make_value(op->kind, &len);
			op->value = slice_make(value, len);
			if (random_number() % 8 == 0)
				op->expires = FAR_FUTURE;
			else if (random_number() % 8 == 0)
				op->expires = LONG_AGO;
		}
		free(k[i]->value);
		k[i]->value = value;
		k[i]->value_len = len;
		k[i]->kind = op->kind;
		k[i]->expires = op->expires;
	}
	check(store_write(store, ops, count, NULL, &err), &err);
	for (size_t i = 0; i < count; i++)
		k[i]->version = ops[i].version;
}

/* Waits until the tree has stood still for half a second. */
static void
wait_for_compaction(void)
{
	struct store_stat before, now;

	store_get_stat(store, &before);
	for (unsigned still = 0; still < 10; still++) {
		clock_sleep_us(50000);
		store_get_stat(store, &now);
		if (now.compactor.running ||
		    now.compactor.jobs != before.compactor.jobs ||
		    now.compactor.moves != before.compactor.moves)
			still = 0;
		before = now;
	}
}

static bool
has_levels(unsigned deepest)
{
	struct store_stat stat;

	store_get_stat(store, &stat);
	for (unsigned n = 0; n <= deepest; n++)
		if (!stat.level[n].files)
			return false;
	return true;
}

static int
by_key(const void *pa, const void *pb)
{
	const struct kept *a = pa, *b = pb;

	return slice_cmp(slice_make(a->key, a->key_len),
	                 slice_make(b->key, b->key_len));
}

static void
put_string(FILE *out, const char *data, size_t len)
{
	char *text = malloc(4 * len + 1);

	assert(text);
	strvisx(text, data, len, VIS_CSTYLE | VIS_OCTAL | VIS_WHITE);
	fputs(text, out);
	free(text);
}

static void
write_expected(const char *path)
{
	static const char *const kinds[] = { "text", "json", "bytes" };
	FILE *out = fopen(path, "w");

	if (!out) {
		perror(path);
		exit(1);
	}
	qsort(kept, KEYS, sizeof(kept[0]), by_key);
	for (unsigned i = 0; i < KEYS; i++) {
		if (!kept[i].value || kept[i].expires == LONG_AGO)
			continue;
		put_string(out, kept[i].key, kept[i].key_len);
		fprintf(out, "\t%s\t%" PRIu64 "\t%" PRIu64 "\t",
		        kinds[kept[i].kind], kept[i].expires, kept[i].version);
		put_string(out, kept[i].value, kept[i].value_len);
		fputc('\n', out);
	}
	if (fclose(out)) {
		perror(path);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	struct store_options options;
	struct store_stat stat;
	struct err err = ERR_INIT;
	char path[4096];

	if (argc != 2) {
		fputs("usage: make_golden DIR\n", stderr);
		return 2;
	}
	if (mkdir(argv[1], 0777)) {
		perror(argv[1]);
		return 1;
	}
	log_set_level(LOG_LEVEL_WARN);
	store_options_init(&options);
	options.sync = SYNC_ALWAYS;
	options.memtable_bytes = 128 << 10;
	options.compactor.helper = NULL;
	options.compactor.level1_bytes = 16 << 10;
	options.compactor.file_bytes = 64 << 10;
	options.compactor.level0_files = 3;
	options.compactor.sst.block_bytes = 1700;
	options.idle_flush_ms = 3600 * 1000;
	options.compactor.reclaim_ms = 3600 * 1000;

	snprintf(path, sizeof(path), "%s/store", argv[1]);
	check(store_open(&store, path, &options, &err), &err);
	make_keys();
	make_alike_keys();
	for (unsigned i = MIXED; i < KEYS; i++)
		write_alike(i);
	check(store_flush(store, &err), &err);
	/* Levels 1 and 2, then one or two files on top of them. */
	for (unsigned i = 0; i < 400; i++)
		write_batch();
	check(store_flush(store, &err), &err);
	wait_for_compaction();
	while (!has_levels(2)) {
		for (unsigned i = 0; i < 12; i++)
			write_batch();
		check(store_flush(store, &err), &err);
		wait_for_compaction();
	}
	/* And these stay in the log: ten batches at least, of one to three. */
	do {
		write_batch();
		store_get_stat(store, &stat);
	} while (stat.memtable_entries < 30);
	check(store_close(store, &err), &err);

	snprintf(path, sizeof(path), "%s/expected.txt", argv[1]);
	write_expected(path);
	return 0;
}
