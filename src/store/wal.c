/* SPDX-License-Identifier: ISC */
/* Writing a segment of the write-ahead log; see wal.h. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fsmap.h"
#include "base/planted.h"
#include "store/names.h"
#include "store/wal_format.h"

#define ALLOCATE_FIRST (256u << 10) /* an idle store stays small on disk */
#define ALLOCATE_MOST (16u << 20)   /* bytes of disk space at once */
#define ALLOCATE_UNIT 4096u
#define ZEROS_AHEAD (64u << 10) /* bytes of zeros written at once */
#define MAP_BYTES (1u << 20)    /* of the file in memory at once */
#define MAP_RECORD_MOST 1024u   /* bytes; for longer ones pwrite is cheaper */
#define RECORD_KEEP (4u << 20)  /* bytes of memory kept from record to record */

struct wal {
	struct fs_file file;
	uint64_t segment;
	uint64_t salt;     /* in every record's CRC: tells ours from leftovers
				    and from anything that a client sent */
	uint32_t salt_crc; /* the CRC of the salt */
	uint64_t end;      /* where the next record begins */
	uint64_t next_version; /* what it begins with */
	uint64_t allocated;    /* bytes of disk space; end never passes it */
	uint64_t zeroed;       /* up to here they were written, if only with
				    zeros */
	bool zeroes;           /* syncs are many: it pays to write zeros */
	struct fs_map map; /* where the next records go, when syncs are few */
	bool maps;         /* they are, and nothing is wrong with maps */
	_Atomic uint64_t appended; /* = end, for wal_sync in other threads */
	_Atomic uint64_t synced;   /* up to here it is on disk */
	_Atomic bool prior_synced; /* and so are all segments before */
	struct buf record;         /* being built: room for the longest head,
				      and the payload */
	uint64_t first_version;    /* of that record */
	uint32_t count;            /* its entries so far */
};

/* ---- life ---- */

static int
write_header(struct wal *w, const struct wal_header *h, struct err *err)
{
	unsigned char b[WAL_HEADER_BYTES] = { 0 };

	static_assert(sizeof(b) == WAL_SECTOR, "no record in its sector");
	memcpy(b + WAL_H_MAGIC, WAL_MAGIC, 8);
	put_u32(b + WAL_H_VERSION, WAL_FORMAT_VERSION);
	put_u32(b + WAL_H_FLAGS, h->relaxed ? WAL_FLAG_RELAXED : 0);
	put_u64(b + WAL_H_SEGMENT, h->segment);
	put_u64(b + WAL_H_SALT, w->salt);
	put_u64(b + WAL_H_PREV_SEGMENT, h->prev_segment);
	put_u64(b + WAL_H_PREV_END, h->prev_end);
	put_u64(b + WAL_H_FIRST_VERSION, h->first_version);
	put_u32(b + WAL_H_CRC, crc32_add(0, b, WAL_H_CRC));
	return fs_write(&w->file, b, sizeof(b), 0, NULL, err);
}

/* Random, and its first two bytes, the tag of every record, not zeros. */
static uint64_t
new_salt(void)
{
	uint64_t salt = UINT64_C(0x6c61732073692073);

	if (PLANTED("wal.one_salt"))
		return salt;
	do
		arc4random_buf(&salt, sizeof(salt));
	while (!(salt & 0xff) || !(salt & 0xff00));
	return salt;
}

/* An empty file of the segment's name, with space allocated. */
static int
create_file(struct wal **out, struct fs_dir *dir, uint64_t segment,
            struct err *err)
{
	struct wal *w = calloc(1, sizeof(*w));
	char name[NAME_MAX_LEN];
	int rc;

	*out = NULL;
	if (!w)
		return err_nomem(err, sizeof(*w));
	w->file = (struct fs_file)FS_FILE_INIT;
	w->segment = segment;
	w->salt = new_salt();
	w->salt_crc = wal_salt_crc(w->salt);
	w->end = WAL_HEADER_BYTES;
	w->allocated = ALLOCATE_FIRST;
	w->map = (struct fs_map)FS_MAP_INIT;
	atomic_init(&w->appended, w->end);
	atomic_init(&w->synced, w->end);

	name_wal(segment, name);
	rc = fs_create(dir, name, &w->file, err);
	if (!rc) {
		rc = fs_allocate(&w->file, 0, w->allocated, err);
		if (rc)
			fs_unlink(dir, name, NULL);
	}
	if (rc)
		wal_close(w);
	else
		*out = w;
	return rc;
}

/* What is known once the segment has its header. */
static void
begin_as(struct wal *w, const struct wal_header *h)
{
	assert(h->segment == w->segment);
	w->next_version = h->first_version;
	w->zeroes = !h->relaxed;
	w->maps = h->relaxed;
	atomic_init(&w->prior_synced, !h->relaxed || !h->prev_segment);
}

/* A failed fsync says something of the directory that lasts. */
static int
lasting(int rc, struct err *err)
{
	if (rc != LSMKV_EIO)
		return rc;
	if (err)
		err->code = LSMKV_EFAILED;
	return LSMKV_EFAILED;
}

/* A record that is acknowledged needs a file that is there. */
static int
sync_file(struct wal *w, struct fs_dir *dir, struct err *err)
{
	int rc = fs_sync(&w->file, err);

	if (!rc && !PLANTED("wal.no_dir_sync"))
		rc = fs_dir_sync(dir, err);
	return lasting(rc, err);
}

/* Nothing stays behind. */
static int
give_up(struct wal *w, struct fs_dir *dir, int rc, struct err *err)
{
	char name[NAME_MAX_LEN];

	if (w)
		fs_unlink(dir, name_wal(w->segment, name), NULL);
	wal_close(w);
	err_prepend(err, "new WAL segment");
	return rc;
}

int
wal_create(struct wal **out, struct fs_dir *dir,
           const struct wal_header *header, struct err *err)
{
	struct wal *w = NULL;
	int rc;

	*out = NULL;
	rc = create_file(&w, dir, header->segment, err);
	if (!rc) {
		begin_as(w, header);
		rc = write_header(w, header, err);
	}
	if (!rc)
		rc = sync_file(w, dir, err);
	if (rc)
		return give_up(w, dir, rc, err);
	*out = w;
	return 0;
}

int
wal_prepare(struct wal **out, struct fs_dir *dir, uint64_t segment,
            struct err *err)
{
	static const unsigned char zeros[WAL_SECTOR];
	struct wal *w = NULL;
	int rc;

	*out = NULL;
	rc = create_file(&w, dir, segment, err);
	/*
	 * Written once, so that to sync the header changes no metadata; no
	 * more than its sector, which is all that may be torn.
	 */
	if (!rc)
		rc = fs_write(&w->file, zeros, sizeof(zeros), 0, NULL, err);
	if (!rc)
		rc = sync_file(w, dir, err);
	if (rc)
		return give_up(w, dir, rc, err);
	*out = w;
	return 0;
}

int
wal_start(struct wal *w, const struct wal_header *header, struct err *err)
{
	int rc;

	begin_as(w, header);
	rc = write_header(w, header, err);
	if (!rc)
		rc = lasting(fs_datasync(&w->file, err), err);
	if (rc)
		err_prepend(err, "new WAL segment");
	return rc;
}

void
wal_close(struct wal *w)
{
	if (!w)
		return;
	fs_unmap(&w->map);
	fs_close(&w->file);
	buf_release(&w->record);
	free(w);
}

/* ---- appending ---- */

int
wal_begin(struct wal *w, uint64_t first_version, struct err *err)
{
	int rc;

	assert(first_version == w->next_version);
	if (w->record.cap > RECORD_KEEP)
		buf_release(&w->record);
	buf_clear(&w->record);
	w->first_version = first_version;
	w->count = 0;
	rc = buf_reserve(&w->record, WAL_HEAD_MAX, err);
	if (!rc)
		w->record.len = WAL_HEAD_MAX;
	return rc;
}

int
wal_add(struct wal *w, const struct entry *e, struct err *err)
{
	uint64_t base = wal_version_base(w->first_version);
	size_t size = entry_encoded_size(e, base);
	int rc;

	assert(e->version == w->first_version + w->count);
	if (w->record.len + size > WAL_PAYLOAD_MAX)
		return err_set(err, LSMKV_ETOOBIG,
		               "a batch of over 4 GiB; split it");
	rc = buf_reserve(&w->record, size, err);
	if (rc)
		return rc;
	entry_encode(e, base, w->record.data + w->record.len);
	w->record.len += size;
	w->count++;
	return 0;
}

/* Disk space for `len` more bytes, or LSMKV_ENOSPC with nothing changed. */
static int
allocate(struct wal *w, uint64_t len, struct err *err)
{
	uint64_t need, chunk;
	int rc;

	if (w->end + len <= w->allocated)
		return 0;
	need = w->end + len - w->allocated;
	need = (need + ALLOCATE_UNIT - 1) & ~(uint64_t)(ALLOCATE_UNIT - 1);
	chunk = w->allocated < ALLOCATE_MOST ? w->allocated : ALLOCATE_MOST;
	if (chunk < need)
		chunk = need;
	rc = fs_allocate(&w->file, w->allocated, chunk, err);
	if (rc == LSMKV_ENOSPC && chunk > need) {
		chunk = need;
		rc = fs_allocate(&w->file, w->allocated, chunk, err);
	}
	if (!rc)
		w->allocated += chunk;
	return rc;
}

/*
 * Before `len` bytes are appended: the space behind them is written with
 * zeros, where it was not yet. Allocated space that was never written to is
 * marked so in the file system's metadata, and the first sync of each block
 * has to change that on disk, too, through the journal. This way one sync pays
 * for many. Failures mean nothing: the append itself tells.
 */
static void
write_zeros(struct wal *w, uint64_t len)
{
	static const unsigned char zeros[ZEROS_AHEAD];
	uint64_t from = w->end + len, n = ZEROS_AHEAD;

	if (!w->zeroes || from <= w->zeroed)
		return;
	from = (from + ALLOCATE_UNIT - 1) & ~(uint64_t)(ALLOCATE_UNIT - 1);
	if (n > w->allocated - from)
		n = w->allocated - from;
	w->zeroed = from + n;
	if (n)
		fs_write(&w->file, zeros, (size_t)n, from, NULL, NULL);
}

/*
 * Writes the record through the map, a piece of the file that moves along.
 * After a sync the kernel takes the first store to each page for a fault, so
 * this pays only where syncs are few. False where it was not done, or not in
 * full (*some): then write(2) has to do it, and to say what is wrong.
 */
static bool
write_mapped(struct wal *w, struct slice record, bool *some)
{
	uint64_t from = w->end & ~(uint64_t)(FS_MAP_UNIT - 1);
	uint64_t len = w->allocated - from;

	if (!w->maps || record.len > MAP_RECORD_MOST)
		return false;
	if (!fs_map_holds(&w->map, w->end, record.len)) {
		fs_unmap(&w->map);
		w->maps = fs_map(&w->map, &w->file, from,
		                 len < MAP_BYTES ? (size_t)len : MAP_BYTES);
		if (!w->maps)
			return false;
	}
	if (fs_map_write(&w->map, record.data, record.len, w->end))
		return true;
	*some = true;
	w->maps = false;
	fs_unmap(&w->map);
	return false;
}

/* How much of the log is on disk now; *missing: bytes behind that. */
static enum wal_disk
on_disk(const struct wal *w, uint64_t *missing)
{
	uint64_t synced =
		atomic_load_explicit(&w->synced, memory_order_acquire);

	*missing = w->end - synced;
	if (!atomic_load_explicit(&w->prior_synced, memory_order_acquire))
		return WAL_DISK_UNKNOWN;
	if (!*missing)
		return WAL_DISK_ALL;
	return synced == WAL_HEADER_BYTES ? WAL_DISK_PRIOR : WAL_DISK_SOME;
}

/* Puts the head before the payload; the record as it goes to the file. */
static struct slice
finish_record(struct wal *w)
{
	unsigned char head[WAL_HEAD_MAX], *at = head + WAL_R_LENGTH, *b;
	uint64_t payload = w->record.len - WAL_HEAD_MAX, missing;
	enum wal_disk disk = on_disk(w, &missing);
	uint64_t offset = PLANTED("wal.offset_not_in_crc") ? 0 : w->end;
	size_t len;

	head[WAL_R_TAG] = (unsigned char)w->salt;
	head[WAL_R_TAG + 1] = (unsigned char)(w->salt >> 8);
	at = put_varint(at, payload << WAL_DISK_BITS | disk);
	if (disk == WAL_DISK_SOME)
		at = put_varint(at, missing);
	len = (size_t)(at - head);
	b = w->record.data + WAL_HEAD_MAX - len;
	memcpy(b, head, len);
	len += (size_t)payload;
	put_u32(b + WAL_R_CRC, crc32_add(wal_crc_begin(w->salt_crc, offset),
	                                 b + WAL_R_TAG, len - WAL_R_TAG));
	return slice_make(b, len);
}

int
wal_append(struct wal *w, bool *partial, struct err *err)
{
	struct slice record;
	size_t written = 0;
	bool some = false; /* of the record may be in the file */
	int rc;

	assert(w->count);
	*partial = false;
	record = finish_record(w);
	rc = allocate(w, record.len, err);
	if (rc)
		return rc;
	write_zeros(w, record.len);
	if (!write_mapped(w, record, &some))
		rc = fs_write(&w->file, record.data, record.len, w->end,
		              &written, err);
	if (rc && PLANTED("wal.appends_after_partial"))
		w->end += written;
	if (rc) {
		static const unsigned char nothing[WAL_R_LENGTH + 1];

		*partial = !PLANTED("wal.appends_after_partial");
		/*
		 * If only zeros are missing, the record is whole, though
		 * nobody is told that it was written: undo its beginning.
		 */
		if (written || some)
			fs_write(&w->file, nothing, sizeof(nothing), w->end,
			         NULL, NULL);
		return rc;
	}
	w->end += record.len;
	w->next_version = w->first_version + w->count;
	atomic_store_explicit(&w->appended, w->end, memory_order_release);
	return 0;
}

int
wal_sync(struct wal *w, struct err *err)
{
	uint64_t upto =
		atomic_load_explicit(&w->appended, memory_order_acquire);
	int rc = fs_datasync(&w->file, err);

	if (rc && PLANTED("wal.retries_sync"))
		rc = fs_datasync(&w->file, err);
	if (rc)
		return rc;
	if (atomic_load_explicit(&w->synced, memory_order_relaxed) < upto)
		atomic_store_explicit(&w->synced, upto, memory_order_release);
	return 0;
}

void
wal_set_prior_synced(struct wal *w)
{
	atomic_store_explicit(&w->prior_synced, true, memory_order_release);
}

uint64_t
wal_segment(const struct wal *w)
{
	return w->segment;
}

uint64_t
wal_end(const struct wal *w)
{
	return w->end;
}

uint64_t
wal_allocated(const struct wal *w)
{
	return w->allocated;
}
