/* SPDX-License-Identifier: ISC */
/*
 * lsmkv verify: reads every byte of a store and checks all that can be
 * checked: the MANIFEST and the shape of the tree it describes, each SST
 * against it and against itself, the WAL, and the directory.
 *
 * Works on a running store. Its files vanish when the MANIFEST moves on, so
 * that a missing file is damage only if a MANIFEST read after that still
 * names it; and where files vanished, the newer MANIFEST's files are checked
 * in their stead. What a running store is just writing (files not yet named,
 * the tail of the active WAL segment) is not damage either.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/files.h"
#include "cli/order.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/wal_report.h"
#include "store/block_cache.h"
#include "store/manifest.h"

#define CACHE_BYTES (8u << 20) /* for the indexes and filters of open SSTs */
#define WAL_TRIES 10           /* of reading a log that is being written */

struct verify {
	struct fs_dir *dir;
	FILE *out;
	struct block_cache *cache;
	struct progress progress;
	struct manifest manifest; /* as read last */
	bool manifest_valid;
	uint64_t *known; /* owned: numbers of the SSTs that have been
				     checked, ascending */
	size_t known_count;
	uint64_t damages;
	uint64_t files, bytes, entries; /* of SSTs checked */
	uint64_t segments, records;     /* of the WAL */
};

static void report(struct verify *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void
report(struct verify *v, const char *format, ...)
{
	va_list args;

	progress_clear(&v->progress);
	va_start(args, format);
	fputs("damage: ", v->out);
	vfprintf(v->out, format, args);
	va_end(args);
	fputc('\n', v->out);
	fflush(v->out);
	v->damages++;
}

/*
 * What a file's content is to blame for is reported, and 0 returned; a reason
 * not to go on (out of memory) is returned.
 */
static int
absorb(struct verify *v, int rc, const struct err *e)
{
	if (cli_is_damage(rc)) {
		report(v, "%s", e->message);
		return 0;
	}
	return rc;
}

static int
compare_numbers(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

static bool
is_known(const struct verify *v, uint64_t number)
{
	return v->known_count && bsearch(&number, v->known, v->known_count,
	                                 sizeof(number), compare_numbers);
}

/* ---- MANIFEST ---- */

/* Reads the MANIFEST into *m; damage of it is reported and LSMKV_ECORRUPT. */
static int
load_manifest(struct verify *v, struct manifest *m, struct err *err)
{
	int rc = manifest_load(v->dir, m, err);

	if (rc == LSMKV_NOTFOUND)
		rc = err_set(err, LSMKV_ECORRUPT,
		             "%s/%s: missing, though there are files of a "
		             "store",
		             v->dir->path, NAME_MANIFEST);
	if (rc < 0 && !absorb(v, rc, err))
		rc = LSMKV_ECORRUPT;
	return rc;
}

/* Takes the MANIFEST as it is now for the truth from here on. */
static int
reload_manifest(struct verify *v, struct err *err)
{
	struct manifest m = MANIFEST_INIT;
	int rc = load_manifest(v, &m, err);

	v->manifest_valid = !rc;
	if (rc) {
		manifest_release(&m);
		return rc;
	}
	manifest_release(&v->manifest);
	v->manifest = m;
	return 0;
}

static const struct manifest_file *
find_file(const struct manifest *m, uint64_t number)
{
	for (size_t i = 0; i < m->file_count; i++)
		if (m->files[i].info.number == number)
			return &m->files[i];
	return NULL;
}

/* Are files a and b, which follow one another in their level, in order? */
static void
check_neighbours(struct verify *v, const struct manifest_file *a,
                 const struct manifest_file *b)
{
	const struct sst_info *x = &a->info, *y = &b->info;

	if (a->level != b->level)
		return;
	if (!a->level) {
		if (x->max_version <= y->max_version)
			report(v,
			       "%s: level 0: %06" PRIu64 ".sst (versions up "
			       "to %" PRIu64 ") stands before %06" PRIu64
			       ".sst (up to %" PRIu64 "), but is not newer",
			       NAME_MANIFEST, x->number, x->max_version,
			       y->number, y->max_version);
		return;
	}
	if (slice_cmp(buf_slice(&x->largest), buf_slice(&y->smallest)) >= 0)
		report(v,
		       "%s: level %u: %06" PRIu64 ".sst and %06" PRIu64
		       ".sst overlap or are out of order",
		       NAME_MANIFEST, a->level, x->number, y->number);
}

/* The shape of the tree; what manifest_load lets pass may still not be one. */
static int
check_manifest(struct verify *v, struct err *err)
{
	const struct manifest *m = &v->manifest;
	uint64_t *numbers = calloc(m->file_count + 1, sizeof(*numbers));

	if (!numbers)
		return err_nomem(err, m->file_count * sizeof(*numbers));
	for (size_t i = 0; i < m->file_count; i++) {
		const struct sst_info *info = &m->files[i].info;

		numbers[i] = info->number;
		if (i)
			check_neighbours(v, &m->files[i - 1], &m->files[i]);
		if (i && m->files[i - 1].level > m->files[i].level)
			report(v, "%s: level %u after level %u", NAME_MANIFEST,
			       m->files[i].level, m->files[i - 1].level);
	}
	qsort(numbers, m->file_count, sizeof(*numbers), compare_numbers);
	for (size_t i = 1; i < m->file_count; i++)
		if (numbers[i] == numbers[i - 1])
			report(v, "%s: %06" PRIu64 ".sst is named twice",
			       NAME_MANIFEST, numbers[i]);
	free(numbers);
	return 0;
}

/* ---- SSTs ---- */

struct sst_progress {
	struct verify *verify;
	char name[NAME_MAX_LEN];
	uint64_t done; /* bytes of the file that were counted */
};

static int
count_bytes(void *arg, uint64_t bytes)
{
	struct sst_progress *p = arg;

	progress_add(&p->verify->progress, p->name, bytes - p->done);
	p->done = bytes;
	return 0;
}

struct block_damages {
	struct verify *verify;
	uint64_t count;
};

static void
report_block(void *arg, const char *message)
{
	struct block_damages *d = arg;

	report(d->verify, "%s", message);
	d->count++;
}

/* Reads all of an open SST and reports what is wrong with it. */
static int
check_content(struct verify *v, struct sst *t, struct sst_progress *p,
              struct err *err)
{
	struct block_damages blocks = { .verify = v };
	struct err all = ERR_INIT;
	int rc = sst_check(t, count_bytes, p, err);

	if (rc != LSMKV_ECORRUPT && rc != LSMKV_EIO)
		return rc;
	/* It stopped at the first one. Without an index there is no second. */
	if (sst_damaged_blocks(t, report_block, &blocks, &all) ==
	    LSMKV_ENOMEM) {
		*err = all;
		return LSMKV_ENOMEM;
	}
	return blocks.count ? 0 : rc;
}

/*
 * Checks the file that info describes. LSMKV_NOTFOUND if there is none, and
 * what is wrong with its content is reported.
 */
static int
check_sst(struct verify *v, const struct sst_info *info, struct err *err)
{
	struct sst_progress p = { .verify = v };
	struct sst *t = NULL;
	uint64_t size = 0;
	int rc;

	name_sst(info->number, p.name);
	rc = file_size(v->dir, p.name, &size, err);
	if (rc)
		return absorb(v, rc, err);
	if (size != info->size) {
		report(v,
		       "%s: offset %" PRIu64 ": the file has %" PRIu64
		       " bytes, but should have %" PRIu64,
		       p.name, size < info->size ? size : info->size, size,
		       info->size);
		return 0;
	}
	rc = sst_open(&t, v->dir, info, v->cache, err);
	/* It may have gone since its size was asked. */
	if (rc && file_size(v->dir, p.name, &size, NULL) == LSMKV_NOTFOUND)
		return LSMKV_NOTFOUND;
	if (!rc)
		rc = check_content(v, t, &p, err);
	rc = absorb(v, rc, err);
	sst_unref(t);
	v->files++;
	v->bytes += info->size;
	v->entries += info->entries;
	return rc;
}

/* Remembers that all files of the MANIFEST were checked. */
static int
remember_files(struct verify *v, const struct manifest *m, struct err *err)
{
	uint64_t *numbers = calloc(m->file_count + 1, sizeof(*numbers));

	if (!numbers)
		return err_nomem(err, m->file_count * sizeof(*numbers));
	for (size_t i = 0; i < m->file_count; i++)
		numbers[i] = m->files[i].info.number;
	qsort(numbers, m->file_count, sizeof(*numbers), compare_numbers);
	free(v->known);
	v->known = numbers;
	v->known_count = m->file_count;
	return 0;
}

/*
 * Checks those files of the MANIFEST that have not been checked yet. Sets
 * *moved if one of them vanished because there is a newer MANIFEST, which
 * stands in v then.
 */
static int
check_files(struct verify *v, bool *moved, struct err *err)
{
	struct manifest m = v->manifest; /* of this round */
	int rc = 0;

	*moved = false;
	v->manifest = (struct manifest)MANIFEST_INIT;
	for (size_t i = 0; i < m.file_count; i++)
		if (!is_known(v, m.files[i].info.number))
			progress_expect(&v->progress,
			                m.files[i].info.size +
			                        m.files[i].info.raw_bytes);
	for (size_t i = 0; i < m.file_count && !rc; i++) {
		uint64_t number = m.files[i].info.number;

		if (is_known(v, number))
			continue;
		rc = check_sst(v, &m.files[i].info, err);
		if (rc != LSMKV_NOTFOUND)
			continue;
		rc = reload_manifest(v, err);
		if (rc)
			break;
		if (find_file(&v->manifest, number))
			report(v,
			       "%06" PRIu64 ".sst: offset 0: missing, "
			       "though the MANIFEST names it",
			       number);
		else
			*moved = true;
	}
	if (!rc)
		rc = remember_files(v, &m, err);
	if (!rc && !*moved) {
		manifest_release(&v->manifest);
		v->manifest = m;
		return 0;
	}
	manifest_release(&m);
	return rc;
}

/* Without a MANIFEST: every SST that is there, by what it says of itself. */
static int
check_loose_files(struct verify *v, struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	struct sst_info info = SST_INFO_INIT;
	int rc = file_list_read(v->dir, &list, err);

	for (size_t i = 0; i < list.count && !rc; i++) {
		if (list.files[i].kind != NAME_IS_SST)
			continue;
		rc = sst_info_read(v->dir, list.files[i].number, &info, err);
		if (!rc)
			rc = check_sst(v, &info, err);
		else
			rc = absorb(v, rc, err);
		if (rc == LSMKV_NOTFOUND)
			rc = 0;
		sst_info_release(&info);
	}
	file_list_release(&list);
	return rc;
}

/* ---- WAL ---- */

/*
 * Reads the log until it is clean or says the same twice: what is written or
 * unlinked while it is read may look damaged once, but not the same way again.
 */
static int
check_wal(struct verify *v, struct err *err)
{
	struct wal_report log = WAL_REPORT_INIT, before = WAL_REPORT_INIT;
	const struct manifest *m = v->manifest_valid ? &v->manifest : NULL;
	bool settled = false;
	int rc = 0;

	for (int i = 0; i < WAL_TRIES && !settled && !rc; i++) {
		wal_report_release(&before);
		before = log;
		log = (struct wal_report)WAL_REPORT_INIT;
		rc = m ? reload_manifest(v, err) : 0;
		if (!rc)
			rc = wal_report_read(&log, v->dir, m, err);
		settled = !rc && (!log.damages ||
		                  (i && !strcmp(log.text, before.text)));
	}
	if (!rc && settled && log.damages) {
		progress_clear(&v->progress);
		fputs(log.text, v->out);
		v->damages += log.damages;
	}
	if (!rc) {
		v->segments = log.count;
		v->records = log.records;
	}
	wal_report_release(&before);
	wal_report_release(&log);
	return rc;
}

/* ---- the directory ---- */

static bool
is_named(const struct verify *v, const struct file *f)
{
	switch (f->kind) {
	case NAME_IS_LOCK:
	case NAME_IS_RESERVE:
	case NAME_IS_MANIFEST:
		return true;
	case NAME_IS_WAL:
		return f->number >= v->manifest.wal_oldest;
	case NAME_IS_SST:
		return find_file(&v->manifest, f->number) != NULL;
	case NAME_IS_MANIFEST_TMP:
	case NAME_IS_SST_TMP:
	case NAME_OTHER:
		break;
	}
	return false;
}

/* Tells of files that do no harm, but are not part of the tree. */
static int
check_directory(struct verify *v, struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	int rc;

	if (!v->manifest_valid)
		return 0;
	rc = file_list_read(v->dir, &list, err);
	progress_clear(&v->progress);
	for (size_t i = 0; i < list.count && !rc; i++) {
		if (is_named(v, &list.files[i]))
			continue;
		fprintf(v->out, "note: %s: %s\n", list.files[i].name,
		        list.files[i].kind == NAME_OTHER
		                ? "not a file of the store"
		                : "not named by the MANIFEST: just being "
		                  "written or removed, or the next start "
		                  "removes it");
	}
	file_list_release(&list);
	return rc;
}

/* Is anything here that looks like a store? */
static int
check_any_store(struct verify *v, struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	int rc = file_list_read(v->dir, &list, err);
	bool any = false;

	for (size_t i = 0; i < list.count; i++)
		any |= list.files[i].kind == NAME_IS_MANIFEST ||
		       list.files[i].kind == NAME_IS_SST ||
		       list.files[i].kind == NAME_IS_WAL;
	file_list_release(&list);
	if (!rc && !any)
		rc = err_set(err, LSMKV_EINVAL, "%s: no store here",
		             v->dir->path);
	return rc;
}

static void
print_summary(struct verify *v)
{
	char size[TEXT_MAX];

	fprintf(v->out,
	        "%" PRIu64 " SSTs (%s, %" PRIu64 " entries), %" PRIu64
	        " WAL segments (%" PRIu64 " records): ",
	        v->files, text_size(size, v->bytes, false), v->entries,
	        v->segments, v->records);
	if (v->damages)
		fprintf(v->out, "%" PRIu64 " damages\n", v->damages);
	else
		fputs("no damage\n", v->out);
}

static void
report_order(void *arg, const char *message)
{
	report(arg, "%s", message);
}

/* Across the files of a tree that are all sound. */
static int
check_order(struct verify *v, bool *moved, struct err *err)
{
	int rc;

	if (v->damages)
		return 0;
	rc = order_check(v->dir, &v->manifest, v->cache, &v->progress,
	                 report_order, v, err);
	if (rc == LSMKV_NOTFOUND) {
		*moved = true;
		return reload_manifest(v, err);
	}
	if (rc == LSMKV_EINVAL) {
		progress_clear(&v->progress);
		fprintf(v->out,
		        "note: the order of versions across levels was "
		        "not checked: %s\n",
		        err->message);
		return 0;
	}
	return absorb(v, rc, err);
}

/* The tree that the MANIFEST describes, and then those it became meanwhile. */
static int
check_tree(struct verify *v, struct err *err)
{
	bool moved = true;
	int rc = 0;

	while (moved && !rc) {
		rc = check_manifest(v, err);
		if (!rc)
			rc = check_files(v, &moved, err);
		if (!rc && !moved)
			rc = check_order(v, &moved, err);
	}
	return rc;
}

int
cli_verify(const char *path, const struct cli_options *options, FILE *out,
           uint64_t *damages, struct err *err)
{
	struct verify v = { .out = out, .manifest = MANIFEST_INIT };
	int rc;

	progress_begin(&v.progress, "verify", options->progress);
	v.cache = block_cache_new(CACHE_BYTES);
	if (!v.cache) {
		rc = err_nomem(err, CACHE_BYTES);
		goto done;
	}
	rc = fs_dir_open(&v.dir, path, false, err);
	if (!rc)
		rc = check_any_store(&v, err);
	if (rc)
		goto done;
	rc = reload_manifest(&v, err);
	if (!rc)
		rc = check_tree(&v, err);
	else if (rc == LSMKV_ECORRUPT)
		rc = check_loose_files(&v, err);
	if (rc == LSMKV_ECORRUPT) /* the MANIFEST broke meanwhile: reported */
		rc = 0;
	if (!rc)
		rc = check_wal(&v, err);
	if (rc == LSMKV_ECORRUPT)
		rc = 0;
	if (!rc)
		rc = check_directory(&v, err);
	if (!rc) {
		progress_clear(&v.progress);
		print_summary(&v);
	}
done:
	progress_clear(&v.progress);
	manifest_release(&v.manifest);
	free(v.known);
	block_cache_free(v.cache);
	fs_dir_close(v.dir);
	*damages = v.damages;
	return rc;
}
