/* SPDX-License-Identifier: ISC */
/*
 * A store in a directory of its own, for tests of the store as its callers
 * see it. A test's setup says what the store is like. Included as
 * "lib/store_fixture.h", behind cmocka.h.
 */
#ifndef LSMKV_TESTS_LIB_STORE_FIXTURE_H
#define LSMKV_TESTS_LIB_STORE_FIXTURE_H

#include <stdlib.h>

#include "lib/tmpdir.h"
#include "store/store.h"

struct fixture {
	char *path;
	struct store_options options; /* of the next opening */
	struct store *store;
};

/* A directory and the options' defaults; the store is not open yet. */
static inline struct fixture *
fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->path = tmpdir_new();
	store_options_init(&f->options);
	return f;
}

static inline void
open_store(struct fixture *f)
{
	struct err err = ERR_INIT;

	if (store_open(&f->store, f->path, &f->options, &err))
		fail_msg("%s", err.message);
}

static inline void
fixture_free(struct fixture *f)
{
	store_close(f->store, NULL);
	tmpdir_free(f->path);
	free(f);
}

/* value NULL: there is no such key. */
static inline void
expect_at(struct fixture *f, const char *key, uint64_t snapshot,
          const char *value)
{
	struct buf got = BUF_INIT;
	struct entry_info info;
	struct err err = ERR_INIT;
	int rc = store_get(f->store, slice_str(key), snapshot, &got, &info,
	                   &err);

	if (!value) {
		assert_int_equal(rc, LSMKV_NOTFOUND);
	} else {
		if (rc)
			fail_msg("%s: %d %s", key, rc, err.message);
		assert_int_equal(got.len, strlen(value));
		assert_memory_equal(got.data, value, got.len);
	}
	buf_release(&got);
}

static inline void
expect(struct fixture *f, const char *key, const char *value)
{
	expect_at(f, key, 0, value);
}

#endif
