/* SPDX-License-Identifier: ISC */
/*
 * Reading and rewriting MANIFEST. doc/format.md, "MANIFEST", has every byte.
 *
 * Small enough to be read and written whole, so one CRC at the very end
 * covers every byte, and it is looked at before anything else is believed.
 * That CRC keeps its place in every format version: an older program can tell
 * a newer MANIFEST (LSMKV_EVERSION) from a damaged one.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/planted.h"
#include "store/manifest.h"
#include "store/names.h"

#define MAGIC "LSMKVMAN"
#define MAGIC_BYTES 8u
#define HEAD_BYTES 48u /* up to the first file */
#define CRC_BYTES 4u
#define SIZE_MAX_BYTES (256u << 20) /* far more than a million files need */

void
manifest_release(struct manifest *m)
{
	for (size_t i = 0; i < m->file_count; i++)
		sst_info_release(&m->files[i].info);
	free(m->files);
	*m = (struct manifest)MANIFEST_INIT;
}

/* ---- reading ---- */

static int
corrupt(struct err *err, uint64_t offset, const char *what)
{
	return err_set(err, LSMKV_ECORRUPT,
	               NAME_MANIFEST " at offset %" PRIu64
	                             ": %s; see lsmkv verify",
	               offset, what);
}

static int
add_file(struct manifest *m, size_t *room, const struct manifest_file *file,
         struct err *err)
{
	if (m->file_count == *room) {
		size_t more = *room ? *room * 2 : 16;
		struct manifest_file *files =
			reallocarray(m->files, more, sizeof(*files));

		if (!files)
			return err_nomem(err, more * sizeof(*files));
		m->files = files;
		*room = more;
	}
	m->files[m->file_count++] = *file;
	return 0;
}

static int
decode_files(struct manifest *m, struct reader *r, const unsigned char *begin,
             uint32_t count, struct err *err)
{
	size_t room = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct manifest_file file = { 0 };
		uint64_t offset = (uint64_t)(r->at - begin);
		struct err detail = ERR_INIT;
		int rc;

		file.level = reader_u8(r);
		if (!sst_info_decode(r, &file.info, &detail)) {
			if (detail.code == LSMKV_ENOMEM)
				return err_nomem(err, sizeof(file));
			return corrupt(err, offset, "not the entry of a file");
		}
		rc = add_file(m, &room, &file, err);
		if (rc) {
			sst_info_release(&file.info);
			return rc;
		}
		if (file.level >= LEVELS_MAX)
			return corrupt(err, offset, "no such level");
		if (!file.info.number || file.info.number >= m->next_file)
			return corrupt(err, offset,
			               "a file number that was never given "
			               "out");
		if (file.info.max_version > m->last_version)
			return corrupt(err, offset,
			               "a version that was never given out");
	}
	if (reader_left(r))
		return corrupt(err, (uint64_t)(r->at - begin),
		               "bytes behind the last file");
	return 0;
}

static int
decode(struct manifest *m, struct slice all, struct err *err)
{
	struct reader r;
	struct slice magic;
	uint32_t version, count;

	if (all.len < HEAD_BYTES + CRC_BYTES)
		return corrupt(err, all.len, "the file ends too early");
	if (memcmp(all.data, MAGIC, MAGIC_BYTES) != 0)
		return corrupt(err, 0, "not a MANIFEST");
	all.len -= CRC_BYTES;
	if (crc32_add(0, all.data, all.len) != get_u32(all.data + all.len))
		return corrupt(err, all.len,
		               "the checksum of the file does not match");
	r = reader_make(all);
	magic = reader_take(&r, MAGIC_BYTES);
	(void)magic;
	version = reader_u32(&r);
	if (version != MANIFEST_FORMAT_VERSION)
		return err_set(err, LSMKV_EVERSION,
		               NAME_MANIFEST ": format version %" PRIu32
		                             ", this program reads %u",
		               version, MANIFEST_FORMAT_VERSION);
	count = reader_u32(&r);
	m->generation = reader_u64(&r);
	m->next_file = reader_u64(&r);
	m->last_version = reader_u64(&r);
	m->wal_oldest = reader_u64(&r);
	return decode_files(m, &r, all.data, count, err);
}

int
manifest_load(struct fs_dir *dir, struct manifest *m, struct err *err)
{
	struct fs_file file = FS_FILE_INIT;
	struct buf all = BUF_INIT;
	int rc;

	*m = (struct manifest)MANIFEST_INIT;
	rc = fs_open(dir, NAME_MANIFEST, &file, err);
	if (rc)
		return rc;
	rc = fs_read_all(&file, SIZE_MAX_BYTES, &all, err);
	if (rc)
		goto out;
	rc = decode(m, buf_slice(&all), err);
	if (rc)
		manifest_release(m);
out:
	buf_release(&all);
	fs_close(&file);
	return rc;
}

/* ---- writing ---- */

static int
encode(const struct manifest *head, const struct levels *levels,
       struct buf *out, struct err *err)
{
	size_t count = 0;
	int rc;

	for (unsigned n = 0; n < LEVELS_MAX; n++)
		count += levels->level[n].count;
	if ((rc = buf_append(out, MAGIC, MAGIC_BYTES, err)) ||
	    (rc = buf_put_u32(out, MANIFEST_FORMAT_VERSION, err)) ||
	    (rc = buf_put_u32(out, (uint32_t)count, err)) ||
	    (rc = buf_put_u64(out, head->generation, err)) ||
	    (rc = buf_put_u64(out, head->next_file, err)) ||
	    (rc = buf_put_u64(out, head->last_version, err)) ||
	    (rc = buf_put_u64(out, head->wal_oldest, err)))
		return rc;
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < levels->level[n].count; i++) {
			rc = buf_put_u8(out, (uint8_t)n, err);
			if (!rc)
				rc = sst_info_encode(
					sst_info_of(levels->level[n].files[i]),
					out, err);
			if (rc)
				return rc;
		}
	return buf_put_u32(out, crc32_add(0, out->data, out->len), err);
}

/*
 * What a crash behind each step leaves: 1, 2: MANIFEST.tmp, whole or not,
 * which start removes; the old MANIFEST is the truth. 3: either one, both
 * whole. 4: the new one.
 */
int
manifest_save(struct fs_dir *dir, const struct manifest *head,
              const struct levels *levels, bool *renamed, struct err *err)
{
	struct fs_file file = FS_FILE_INIT;
	struct buf all = BUF_INIT;
	int rc;

	*renamed = false;
	rc = encode(head, levels, &all, err);
	if (rc)
		goto out;
	/* A crash or a full disk may have left one behind. */
	rc = fs_unlink(dir, NAME_MANIFEST_TMP, err);
	if (rc)
		goto out;
	/* 1. The new one, under a name that nobody reads. */
	rc = fs_create(dir, NAME_MANIFEST_TMP, &file, err);
	if (!rc)
		rc = fs_write(&file, all.data, all.len, 0, NULL, err);
	/* 2. On the disk before it gets the name, or it could come back empty. */
	if (!rc && !PLANTED("manifest.no_sync"))
		rc = fs_sync(&file, err);
	fs_close(&file);
	/* 3. What reports an error may have happened: then .tmp is gone. */
	if (!rc) {
		rc = fs_rename(dir, NAME_MANIFEST_TMP, NAME_MANIFEST, err);
		*renamed = !rc || fs_open(dir, NAME_MANIFEST_TMP, &file, NULL);
		fs_close(&file);
	}
	if (rc) {
		(void)fs_unlink(dir, NAME_MANIFEST_TMP, NULL);
		goto out;
	}
	/* 4. */
	if (!PLANTED("manifest.no_dir_sync"))
		rc = fs_dir_sync(dir, err);
out:
	buf_release(&all);
	if (rc)
		err_prepend(err, "writing " NAME_MANIFEST);
	return rc;
}
