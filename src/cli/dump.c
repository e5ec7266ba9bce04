/* SPDX-License-Identifier: ISC */
/*
 * lsmkv dump: a WAL segment, an SST, a MANIFEST, or all files of a store as
 * text (doc/format.md explains what is shown).
 *
 * Keys and values are escaped as in C. A damaged file is shown as far as it
 * can be read; what is wrong with it stands in a line that begins with
 * "damage:", and the next file follows.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "store/block_cache.h"
#include "store/manifest.h"
#include "store/wal.h"

#define CACHE_BYTES (8u << 20) /* for the indexes and filters of open SSTs */

struct dump {
	struct fs_dir *dir;
	FILE *out;
	struct block_cache *cache;
	struct progress progress;
	size_t limit;     /* bytes shown of a key or value; 0: all */
	uint64_t damages; /* reported so far */
};

static void
report_damage(struct dump *d, const struct err *e)
{
	progress_clear(&d->progress);
	fprintf(d->out, "damage: %s\n", e->message);
	d->damages++;
}

static void
print_info(struct dump *d, const struct sst_info *info)
{
	char time[TEXT_MAX];

	fprintf(d->out,
	        "  size %" PRIu64 ", crc %08" PRIx32 ", created %s\n"
	        "  %" PRIu64 " entries, %" PRIu64
	        " of them tombstones, %" PRIu64 " bytes of keys and values\n"
	        "  versions %" PRIu64 "..%" PRIu64 "\n",
	        info->size, info->crc, text_time(time, info->created),
	        info->entries, info->tombstones, info->raw_bytes,
	        info->min_version, info->max_version);
	if (info->min_expires)
		fprintf(d->out, "  earliest expiry %" PRIu64 " (%s)\n",
		        info->min_expires, text_time(time, info->min_expires));
	fputs("  keys ", d->out);
	text_string(d->out, buf_slice(&info->smallest), d->limit);
	fputs(" .. ", d->out);
	text_string(d->out, buf_slice(&info->largest), d->limit);
	fputc('\n', d->out);
}

/* ---- MANIFEST ---- */

static int
dump_manifest(struct dump *d, struct err *err)
{
	struct manifest m = MANIFEST_INIT;
	char name[NAME_MAX_LEN];
	int rc = manifest_load(d->dir, &m, err);

	if (rc)
		return rc;
	fprintf(d->out,
	        "MANIFEST\n"
	        "  format version %u\n"
	        "  generation %" PRIu64 "\n"
	        "  next file %" PRIu64 "\n"
	        "  last version %" PRIu64 "\n"
	        "  oldest WAL segment %s\n"
	        "  %zu files\n",
	        MANIFEST_FORMAT_VERSION, m.generation, m.next_file,
	        m.last_version, name_wal(m.wal_oldest, name), m.file_count);
	for (size_t i = 0; i < m.file_count; i++) {
		fprintf(d->out, "\n  level %u %s\n", m.files[i].level,
		        name_sst(m.files[i].info.number, name));
		print_info(d, &m.files[i].info);
	}
	manifest_release(&m);
	return 0;
}

/* ---- WAL ---- */

struct wal_dump {
	struct dump *dump;
	const struct wal_scan
		*scan; /* its header is known before a record is */
	bool begun;    /* the header has been printed */
};

static void
print_wal_header(struct wal_dump *w)
{
	const struct wal_header *h = &w->scan->header;
	FILE *out = w->dump->out;
	char name[NAME_MAX_LEN];

	if (w->begun || !w->scan->header_valid)
		return;
	w->begun = true;
	fprintf(out,
	        "  format version %" PRIu32 ", segment %" PRIu64
	        ", first version %" PRIu64 ", %s sync\n",
	        w->scan->format, h->segment, h->first_version,
	        h->relaxed ? "relaxed" : "always");
	if (h->prev_segment)
		fprintf(out, "  follows %s, which ends at %" PRIu64 "\n",
		        name_wal(h->prev_segment, name), h->prev_end);
}

static int
dump_record(void *arg, const struct wal_record *r, struct err *err)
{
	struct wal_dump *w = arg;
	struct dump *d = w->dump;
	struct reader payload = wal_record_reader(r);
	struct entry e;

	print_wal_header(w);
	fprintf(d->out,
	        "  record at %" PRIu64 ": %" PRIu32 " entries, %zu bytes, "
	        "versions from %" PRIu64 ", synced up to %" PRIu64 "\n",
	        r->offset, r->count, r->payload.len, r->first_version,
	        r->synced);
	for (uint32_t i = 0; i < r->count; i++) {
		if (!wal_record_entry(r, &payload, &e))
			return err_set(err, LSMKV_ECORRUPT,
			               "%06" PRIu64 ".wal: record at offset "
			               "%" PRIu64 ": entry %" PRIu32
			               " cannot be decoded",
			               r->segment, r->offset, i);
		text_entry(d->out, &e, d->limit);
	}
	return 0;
}

static int
dump_wal(struct dump *d, uint64_t number, struct err *err)
{
	struct wal_scan scan = { .end = 0 };
	struct wal_dump w = { .dump = d, .scan = &scan };
	char name[NAME_MAX_LEN], proof[WAL_PROOF_MAX];
	int rc;

	fprintf(d->out, "%s\n", name_wal(number, name));
	rc = wal_scan_segment(d->dir, number, dump_record, &w, &scan, err);
	if (rc)
		return rc;
	print_wal_header(&w);
	if (!scan.header_valid)
		fprintf(d->out, "  no valid header: %s\n", scan.reason);
	fprintf(d->out,
	        "  ends at %" PRIu64 " of %" PRIu64 ", %" PRIu64
	        " records, %" PRIu64 " entries",
	        scan.end, scan.size, scan.records, scan.entries);
	if (scan.tail == WAL_TAIL_INVALID && scan.header_valid)
		fprintf(d->out, "; behind it: %s", scan.reason);
	fputc('\n', d->out);
	if (scan.later_synced)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: offset %" PRIu64 ": %s, though %s proves "
		               "that it was on disk",
		               name, scan.end, scan.reason,
		               wal_scan_proof(&scan, proof));
	return 0;
}

/* ---- SST ---- */

/* The blocks of an SST, to be printed between its entries. */
struct block_list {
	struct sst_block_info *blocks; /* owned; `first` is not kept */
	size_t count, cap;
};

static int
add_block(void *arg, const struct sst_block_info *b)
{
	struct block_list *list = arg;

	if (list->count == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct sst_block_info *more =
			reallocarray(list->blocks, cap, sizeof(*more));

		if (!more)
			return LSMKV_ENOMEM;
		list->blocks = more;
		list->cap = cap;
	}
	list->blocks[list->count] = *b;
	list->blocks[list->count++].first = slice_make(NULL, 0);
	return 0;
}

static void
print_block(struct dump *d, const struct sst_block_info *b)
{
	fprintf(d->out,
	        "  block at %" PRIu64 ": %" PRIu32 " entries, %" PRIu32
	        " bytes, %s",
	        b->offset, b->entries, b->raw, b->packed ? "packed, " : "");
	if (b->parts)
		fprintf(d->out, "deflated in %" PRIu32 " parts to", b->parts);
	else
		fputs(b->deflated ? "deflated to" : "raw in", d->out);
	fprintf(d->out, " %" PRIu32 "\n", b->stored);
}

static int
dump_entries(struct dump *d, struct sst *t, const struct block_list *list,
             struct err *err)
{
	struct iter *it = NULL;
	size_t block = 0;
	uint32_t left = 0; /* entries of the block that are to come */
	char name[NAME_MAX_LEN];
	int rc;

	name_sst(sst_info_of(t)->number, name);
	rc = sst_iter_new(&it, t, false, err);
	if (rc)
		return rc;
	for (rc = iter_first(it, err); !rc && it->valid;
	     rc = iter_next(it, err)) {
		if (!left && block < list->count) {
			print_block(d, &list->blocks[block]);
			left = list->blocks[block++].entries;
		}
		left -= left > 0;
		text_entry(d->out, &it->entry, d->limit);
		progress_add(&d->progress, name,
		             it->entry.key.len + it->entry.value.len);
	}
	iter_close(it);
	return rc;
}

static int
dump_sst(struct dump *d, uint64_t number, struct err *err)
{
	struct sst_info info = SST_INFO_INIT;
	struct block_list list = { NULL, 0, 0 };
	struct sst *t = NULL;
	char name[NAME_MAX_LEN];
	int rc;

	fprintf(d->out, "%s\n", name_sst(number, name));
	rc = sst_info_read(d->dir, number, &info, err);
	if (rc)
		goto done;
	rc = sst_open(&t, d->dir, &info, d->cache, err);
	if (rc)
		goto done;
	fprintf(d->out, "  format version %" PRIu32 "\n",
	        sst_format_version(t));
	print_info(d, &info);
	progress_expect(&d->progress, info.raw_bytes);
	rc = sst_blocks(t, add_block, &list, err);
	if (rc == LSMKV_ENOMEM) {
		err_nomem(err, list.cap * sizeof(*list.blocks));
		goto done;
	}
	/* A damaged block stops the entries at the same place once more. */
	rc = dump_entries(d, t, &list, err);
done:
	sst_unref(t);
	free(list.blocks);
	sst_info_release(&info);
	return rc;
}

/* ---- all ---- */

/* Dumps one file; what is not damage but a failure to look is returned. */
static int
dump_file(struct dump *d, const struct file *f, struct err *err)
{
	uint64_t size;
	int rc = 0;

	switch (f->kind) {
	case NAME_IS_MANIFEST:
		rc = dump_manifest(d, err);
		break;
	case NAME_IS_WAL:
		rc = dump_wal(d, f->number, err);
		break;
	case NAME_IS_SST:
		rc = dump_sst(d, f->number, err);
		break;
	case NAME_IS_LOCK:
	case NAME_IS_RESERVE:
		return 0;
	case NAME_IS_MANIFEST_TMP:
	case NAME_IS_SST_TMP:
		fprintf(d->out,
		        "%s\n  unfinished: the store removes it when "
		        "it starts\n",
		        f->name);
		break;
	case NAME_OTHER:
		fprintf(d->out, "%s\n  not a file of the store\n", f->name);
		break;
	}
	if (rc && file_size(d->dir, f->name, &size, NULL) == LSMKV_NOTFOUND) {
		fprintf(d->out, "%s is gone: the store has moved on\n",
		        f->name);
		rc = 0;
	}
	if (cli_is_damage(rc)) {
		report_damage(d, err);
		rc = 0;
	}
	fputc('\n', d->out);
	return rc;
}

static int
dump_all(struct dump *d, struct err *err)
{
	struct file_list list = FILE_LIST_INIT;
	int rc = file_list_read(d->dir, &list, err);

	for (size_t i = 0; i < list.count && !rc; i++)
		rc = dump_file(d, &list.files[i], err);
	file_list_release(&list);
	return rc;
}

/* Dumps the one file `path`, whose name must say what it is. */
static int
dump_one(struct dump *d, const char *path, struct err *err)
{
	char *dir_copy = strdup(path), *base_copy = strdup(path);
	struct file f = { NULL, NAME_OTHER, 0 };
	uint64_t size;
	int rc;

	if (!dir_copy || !base_copy) {
		rc = err_nomem(err, strlen(path) + 1);
		goto done;
	}
	f.name = basename(base_copy);
	f.kind = name_parse(f.name, &f.number);
	if (f.kind != NAME_IS_MANIFEST && f.kind != NAME_IS_WAL &&
	    f.kind != NAME_IS_SST) {
		rc = err_set(
			err, LSMKV_EINVAL,
			"%s: not the name of a MANIFEST, NNNNNN.wal or "
			"NNNNNN.sst, and the name is what tells them apart",
			path);
		goto done;
	}
	rc = fs_dir_open(&d->dir, dirname(dir_copy), false, err);
	if (!rc)
		rc = file_size(d->dir, f.name, &size, err);
	if (rc == LSMKV_NOTFOUND)
		rc = err_set(err, LSMKV_EINVAL, "%s: there is no such file",
		             path);
	if (!rc)
		rc = dump_file(d, &f, err);
done:
	free(dir_copy);
	free(base_copy);
	return rc;
}

static bool
is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
cli_dump(const char *path, const struct cli_options *options, FILE *out,
         uint64_t *damages, struct err *err)
{
	struct dump d = { .out = out, .limit = options->full ? 0 : TEXT_CUT };
	int rc;

	/* Between lines of text on the same terminal it would only disturb. */
	progress_begin(&d.progress, "dump",
	               options->progress && !isatty(fileno(out)));
	d.cache = block_cache_new(CACHE_BYTES);
	if (!d.cache) {
		rc = err_nomem(err, CACHE_BYTES);
		goto done;
	}
	if (is_directory(path)) {
		rc = fs_dir_open(&d.dir, path, false, err);
		if (!rc)
			rc = dump_all(&d, err);
	} else {
		rc = dump_one(&d, path, err);
	}
done:
	progress_clear(&d.progress);
	block_cache_free(d.cache);
	fs_dir_close(d.dir);
	*damages = d.damages;
	return rc;
}
