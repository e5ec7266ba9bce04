/* SPDX-License-Identifier: ISC */
/*
 * SSTs that are nothing but what is known of them: for tests of pure code
 * over trees, in place of sst_read.c, which is then not linked at all. Include
 * it in one file of a test only. Included as "lib/fake_sst.h".
 */
#ifndef LSMKV_TESTS_LIB_FAKE_SST_H
#define LSMKV_TESTS_LIB_FAKE_SST_H

#include <stdlib.h>

#include "store/levels.h"

struct sst {
	int refs;
	struct sst_info info;
	void *content; /* the test's; freed by free_content */
	void (*free_content)(void *content);
};

static int fake_sst_alive; /* how many there are */

static struct sst *
fake_sst_new(uint64_t number, const char *smallest, const char *largest,
             uint64_t min_version, uint64_t max_version)
{
	struct sst *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->refs = 1;
	t->info.number = number;
	t->info.size = t->info.raw_bytes = 1000;
	t->info.entries = 10;
	t->info.min_version = min_version;
	t->info.max_version = max_version;
	if (buf_set(&t->info.smallest, slice_str(smallest), NULL) ||
	    buf_set(&t->info.largest, slice_str(largest), NULL))
		abort();
	fake_sst_alive++;
	return t;
}

const struct sst_info *
sst_info_of(const struct sst *t)
{
	return &t->info;
}

struct sst *
sst_ref(struct sst *t)
{
	t->refs++;
	return t;
}

void
sst_unref(struct sst *t)
{
	if (--t->refs)
		return;
	buf_release(&t->info.smallest);
	buf_release(&t->info.largest);
	if (t->free_content)
		t->free_content(t->content);
	free(t);
	fake_sst_alive--;
}

#endif
