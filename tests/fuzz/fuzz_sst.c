/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as an SST.
 *
 *     byte 0: bit 0: CRCs off; bit 1: iterate through the cache; bit 2: a
 *             cache that keeps nothing
 *     then:   the file
 *
 * Whatever is accepted is in store order, both ways round; errors name the
 * file; what sst_check passes is found by get, counted right, and gives the
 * same entries after it was written again.
 */
#include "fuzz/fuzz.h"
#include "store/sst.h"

#include "store/block_cache.h"

#define NUMBER 7u
#define NAME "000007.sst"
#define COPY 8u
#define COPY_NAME "000008.sst"
#define INPUT_MAX (64u << 10)
#define GETS_MAX 256u

const char fuzz_name[] = "sst";

static struct block_cache *cache;

/* An error is one that users can do something with. */
static void
check_error(int rc, const struct err *err)
{
	REQUIRE(rc == LSMKV_ECORRUPT || rc == LSMKV_EVERSION ||
	        rc == LSMKV_ENOMEM);
	REQUIRE(err->code == rc);
	if (rc != LSMKV_ENOMEM)
		REQUIRE(strstr(err->message, NAME));
}

/* All entries, in order, into list: 0 or the error that ended it. */
static int
walk_forward(struct sst *t, bool fill, struct buf *list, uint64_t *count,
             struct err *err)
{
	struct buf last = BUF_INIT;
	struct iter *it = NULL;
	uint64_t version = 0;
	int rc = sst_iter_new(&it, t, fill, err);

	*count = 0;
	if (!rc)
		rc = iter_first(it, err);
	while (!rc && it->valid) {
		if (*count)
			REQUIRE(entry_order(buf_slice(&last), version,
			                    it->entry.key,
			                    it->entry.version) < 0);
		REQUIRE(!buf_set(&last, it->entry.key, NULL));
		version = it->entry.version;
		fuzz_keep(list, &it->entry);
		++*count;
		rc = iter_next(it, err);
	}
	if (rc)
		REQUIRE(!it || !it->valid);
	iter_close(it);
	buf_release(&last);
	return rc;
}

/* The same from the end, against what the other way gave. */
static void
walk_backward(struct sst *t, bool fill, const struct buf *list, uint64_t count)
{
	struct entry *entries = calloc(count + 1, sizeof(*entries));
	struct reader r = reader_make(buf_slice(list));
	struct err err = ERR_INIT;
	struct iter *it = NULL;
	uint64_t n = 0;
	int rc;

	REQUIRE(entries);
	while (fuzz_next(&r, &entries[n]))
		n++;
	REQUIRE(n == count);
	rc = sst_iter_new(&it, t, fill, &err);
	REQUIRE(!rc);
	for (rc = iter_last(it, &err); !rc && it->valid;
	     rc = iter_prev(it, &err)) {
		REQUIRE(n);
		REQUIRE(fuzz_entry_equal(&it->entry, &entries[--n]));
	}
	REQUIRE(!rc && !n);
	/* And by seeking, to each and to just before it. */
	for (n = 0; n < count && n < GETS_MAX; n++) {
		REQUIRE(!iter_seek(it, entries[n].key, entries[n].version,
		                   &err));
		REQUIRE(it->valid && fuzz_entry_equal(&it->entry, &entries[n]));
		REQUIRE(!iter_seek_before(it, entries[n].key,
		                          entries[n].version, &err));
		REQUIRE(it->valid == (n > 0));
		if (n)
			REQUIRE(fuzz_entry_equal(&it->entry, &entries[n - 1]));
	}
	iter_close(it);
	free(entries);
}

/* Each entry is found, or, in a file that is not whole, an error is told. */
static void
get_all(struct sst *t, const struct buf *list, bool whole)
{
	struct reader r = reader_make(buf_slice(list));
	struct entry e;

	for (unsigned i = 0; i < GETS_MAX && fuzz_next(&r, &e); i++) {
		struct err err = ERR_INIT;
		struct sst_hit hit = { .inside = false };
		int rc = sst_get(t, e.key, sst_key_hash(e.key), e.version, &hit,
		                 &err);

		if (!rc) {
			REQUIRE(fuzz_entry_equal(&hit.entry, &e));
			sst_hit_release(&hit);
		} else {
			REQUIRE(!whole);
			if (rc != LSMKV_NOTFOUND)
				check_error(rc, &err);
		}
	}
}

static int
add_entries(void *arg, const struct sst_block_info *b)
{
	uint64_t *entries = arg;

	REQUIRE(b->entries && b->first.len);
	*entries += b->entries;
	return 0;
}

static void
no_damage(void *arg, const char *message)
{
	(void)arg;
	REQUIRE(!message);
}

static void
any_damage(void *arg, const char *message)
{
	unsigned *damages = arg;

	REQUIRE(strstr(message, NAME));
	++*damages;
}

/* What was read can be written again, and reads the same. */
static void
write_again(const struct buf *list, uint64_t count)
{
	static const struct sst_options options = { 512, 10, 1 };
	struct sst_info info = SST_INFO_INIT;
	struct reader r = reader_make(buf_slice(list));
	struct sst_writer *w = NULL;
	struct buf again = BUF_INIT;
	struct err err = ERR_INIT;
	struct sst *t = NULL;
	struct entry e;
	uint64_t n = 0;

	REQUIRE(!sst_writer_open(&w, fuzz_dir(), COPY, &options, &err));
	while (fuzz_next(&r, &e))
		REQUIRE(!sst_writer_add(w, &e, &err));
	REQUIRE(!sst_writer_finish(w, &info, &err));
	REQUIRE(info.entries == count);
	REQUIRE(!sst_open(&t, fuzz_dir(), &info, cache, &err));
	REQUIRE(!sst_check(t, NULL, NULL, &err));
	REQUIRE(!walk_forward(t, false, &again, &n, &err));
	REQUIRE(n == count && slice_equal(buf_slice(list), buf_slice(&again)));
	sst_unref(t);
	buf_release(&again);
	sst_info_release(&info);
	fuzz_remove(COPY_NAME);
}

static void
use(struct sst *t, bool fill)
{
	struct buf list = BUF_INIT;
	struct err err = ERR_INIT, check_err = ERR_INIT;
	uint64_t count = 0, in_blocks = 0;
	unsigned damages = 0;
	int walked = walk_forward(t, fill, &list, &count, &err);
	int checked = sst_check(t, NULL, NULL, &check_err);

	if (walked)
		check_error(walked, &err);
	if (checked)
		check_error(checked, &check_err);
	get_all(t, &list, !checked);
	if (!walked)
		walk_backward(t, fill, &list, count);
	if (!checked) {
		const struct sst_info *info = sst_info_of(t);

		REQUIRE(!walked && count == info->entries);
		REQUIRE(!sst_blocks(t, add_entries, &in_blocks, &err));
		REQUIRE(in_blocks == count);
		REQUIRE(!sst_damaged_blocks(t, no_damage, NULL, &err));
		write_again(&list, count);
	} else if (!sst_damaged_blocks(t, any_damage, &damages, &err)) {
		/* The blocks are what iterating reads, too. */
		REQUIRE(!damages == !walked || walked == LSMKV_ENOMEM);
	}
	buf_release(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sst_info info = SST_INFO_INIT;
	struct err err = ERR_INIT;
	struct sst *t = NULL;
	int rc;

	if (!size || size > INPUT_MAX)
		return 0;
	if (!cache)
		cache = block_cache_new(1u << 20);
	REQUIRE(cache);
	block_cache_set_capacity(cache, data[0] & 4 ? 0 : 1u << 20);
	fuzz_crc_off = data[0] & 1;
	fuzz_write(NAME, slice_make(data + 1, size - 1));
	rc = sst_info_read(fuzz_dir(), NUMBER, &info, &err);
	if (rc) {
		check_error(rc, &err);
		return 0;
	}
	REQUIRE(info.number == NUMBER && info.size == size - 1);
	REQUIRE(!sst_open(&t, fuzz_dir(), &info, cache, &err));
	use(t, data[0] & 2);
	sst_unref(t);
	sst_info_release(&info);
	return 0;
}
