/* SPDX-License-Identifier: ISC */
/*
 * The order of versions across levels: see order.h.
 *
 * Each file of level 0 and each deeper level as a whole is a source; sources
 * stand from newest to oldest. All entries are walked in store order: while
 * the versions of a key fall, the number of their source must not.
 */
#include "cli/order.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "cli/files.h"
#include "store/names.h"
#include "store/run_iter.h"

#define DAMAGES_MAX 20u    /* told one by one */
#define SPARE_FILES 64u    /* descriptors for anything else */
#define STEP_ENTRIES 1024u /* between two looks at the progress */

struct source {
	struct iter *it; /* owned */
	unsigned level;
	uint64_t number; /* of the file, in level 0 */
};

struct order {
	const struct manifest *m; /* borrowed */
	struct sst **files;       /* owned references, as in m */
	struct source *sources;   /* owned; newest first */
	size_t source_count;
	struct buf key;   /* of the entry seen last */
	uint64_t version; /* its version; 0: none was seen */
	size_t source;    /* and where it stands */
	uint64_t damages;
	void (*damaged)(void *arg, const char *message);
	void *arg; /* for damaged */
};

/* ---- opening ---- */

/* As many descriptors as we may have; are there enough? */
static int
raise_limit(size_t files, struct err *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < files + SPARE_FILES)
		return err_set(err, LSMKV_EINVAL,
		               "%zu files at once are needed, and %llu are "
		               "allowed (ulimit -n)",
		               files, (unsigned long long)limit.rlim_cur);
	return 0;
}

static int
open_files(struct order *o, struct fs_dir *dir, struct block_cache *cache,
           struct err *err)
{
	int rc = raise_limit(o->m->file_count, err);

	o->files = calloc(o->m->file_count + 1, sizeof(struct sst *));
	if (!o->files)
		return err_nomem(err, o->m->file_count * sizeof(struct sst *));
	for (size_t i = 0; i < o->m->file_count && !rc; i++) {
		const struct sst_info *info = &o->m->files[i].info;
		char name[NAME_MAX_LEN];
		uint64_t size;

		rc = sst_open(&o->files[i], dir, info, cache, err);
		if (rc && file_size(dir, name_sst(info->number, name), &size,
		                    NULL) == LSMKV_NOTFOUND)
			return LSMKV_NOTFOUND;
	}
	return rc;
}

static int
open_sources(struct order *o, struct err *err)
{
	const struct manifest_file *f = o->m->files;
	size_t count = o->m->file_count;
	int rc = 0;

	o->sources = calloc(count + 1, sizeof(*o->sources));
	if (!o->sources)
		return err_nomem(err, count * sizeof(*o->sources));
	for (size_t i = 0, next; i < count && !rc; i = next) {
		struct source *s = &o->sources[o->source_count];

		s->level = f[i].level;
		s->number = f[i].info.number;
		next = i + 1;
		while (s->level && next < count && f[next].level == s->level)
			next++;
		rc = run_iter_new(&s->it, o->files + i, next - i, false, err);
		if (rc)
			break;
		o->source_count++;
		rc = iter_first(s->it, err);
	}
	return rc;
}

static void
order_release(struct order *o)
{
	for (size_t i = 0; i < o->source_count; i++)
		iter_close(o->sources[i].it);
	for (size_t i = 0; o->files && i < o->m->file_count; i++)
		sst_unref(o->files[i]);
	free(o->sources);
	free(o->files);
	buf_release(&o->key);
}

/* ---- walking ---- */

/* The source with the next entry in store order; NULL at the end. */
static struct source *
next_source(const struct order *o)
{
	struct source *first = NULL;

	for (size_t i = 0; i < o->source_count; i++) {
		struct source *s = &o->sources[i];

		if (s->it->valid &&
		    (!first ||
		     entry_order(s->it->entry.key, s->it->entry.version,
		                 first->it->entry.key,
		                 first->it->entry.version) < 0))
			first = s;
	}
	return first;
}

/* The file of a source that holds key. */
static uint64_t
file_of(const struct order *o, const struct source *s, struct slice key)
{
	for (size_t i = 0; s->level && i < o->m->file_count; i++) {
		const struct manifest_file *f = &o->m->files[i];

		if (f->level == s->level &&
		    slice_cmp(buf_slice(&f->info.largest), key) >= 0)
			return f->info.number;
	}
	return s->number;
}

static void
tell(struct order *o, const struct source *older, const struct source *newer,
     uint64_t older_version)
{
	struct slice key = newer->it->entry.key;
	char message[ERR_MESSAGE_MAX], printable[64];

	if (++o->damages > DAMAGES_MAX)
		return;
	snprintf(message, sizeof(message),
	         "%06" PRIu64 ".sst: key %s: version %" PRIu64
	         " in level %u hides the newer or same version %" PRIu64
	         " in %06" PRIu64 ".sst of level %u",
	         file_of(o, newer, key),
	         slice_printable(key, printable, sizeof(printable)),
	         newer->it->entry.version, newer->level, older_version,
	         file_of(o, older, key), older->level);
	o->damaged(o->arg, message);
}

static int
check_entry(struct order *o, const struct source *s, struct err *err)
{
	const struct entry *e = &s->it->entry;
	size_t at = (size_t)(s - o->sources);
	bool same_key = o->version && slice_equal(buf_slice(&o->key), e->key);

	/* Of two that are the same the second one is the hidden one. */
	if (same_key && (at < o->source || e->version == o->version))
		tell(o, &o->sources[o->source], s, o->version);
	o->source = at;
	o->version = e->version;
	return same_key ? 0 : buf_set(&o->key, e->key, err);
}

static int
walk(struct order *o, struct progress *progress, struct err *err)
{
	struct source *s;
	uint64_t bytes = 0, entries = 0;
	int rc = 0;

	while (!rc && (s = next_source(o))) {
		bytes += s->it->entry.key.len + s->it->entry.value.len;
		rc = check_entry(o, s, err);
		if (!rc)
			rc = iter_next(s->it, err);
		if (++entries % STEP_ENTRIES == 0) {
			progress_add(progress, "order across levels", bytes);
			bytes = 0;
		}
	}
	return rc;
}

int
order_check(struct fs_dir *dir, const struct manifest *m,
            struct block_cache *cache, struct progress *progress,
            void (*damaged)(void *arg, const char *message), void *arg,
            struct err *err)
{
	struct order o = { .m = m, .damaged = damaged, .arg = arg };
	char message[ERR_MESSAGE_MAX];
	int rc;

	rc = open_files(&o, dir, cache, err);
	if (!rc)
		rc = open_sources(&o, err);
	if (!rc)
		rc = walk(&o, progress, err);
	if (!rc && o.damages > DAMAGES_MAX) {
		snprintf(message, sizeof(message),
		         "and %" PRIu64 " more keys in the wrong order across "
		         "levels",
		         o.damages - DAMAGES_MAX);
		damaged(arg, message);
	}
	order_release(&o);
	return rc;
}
