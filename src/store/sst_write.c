/* SPDX-License-Identifier: ISC */
/*
 * Writing an SST: entries in store order go into an open block; a full block
 * is encoded, deflated, sealed with its trailer and appended to an output
 * buffer, which goes to the file in big writes. The index grows by one record
 * a block, the filter by one hash a key, both in memory until the end.
 *
 * Only the temporary name is ever written; sst_writer_finish gives the file
 * its name once every byte of it is on the disk. Runs in the flush thread
 * and in the compaction helper; one thread at a time.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/planted.h"
#include "store/bloom.h"
#include "store/names.h"
#include "store/sst_columns.h"
#include "store/sst_format.h"
#include "store/sst_parts.h"
#include "store/sst_row.h"

#define WRITE_BYTES (512u << 10) /* of one write(2) */
#define TRIAL_EVERY 64u          /* blocks: in which form do they fit best? */
#define PARTS_SHARE 16u /* of a block: so much larger may it be in parts */
#define WRITEBACK_BYTES (1u << 20) /* between two hints to the kernel */

static const struct slice none;

/* How several entries are written. */
enum form {
	FORM_PLAIN,  /* columns */
	FORM_PACKED, /* their values as one stream */
	FORM_PARTS,  /* the same, in parts */
};

struct sst_writer {
	struct fs_dir *dir;  /* borrowed */
	struct fs_file file; /* the temporary file */
	uint64_t number;
	struct sst_options options;
	struct deflater *deflater;            /* NULL: raw blocks */
	struct deflate_parts *parts_deflater; /* the same */
	struct sst_rows *rows;                /* the same */
	struct err failure;                   /* code != 0: the file is lost */

	struct buf out;   /* sealed bytes, not written yet */
	uint64_t written; /* bytes of the file written */
	uint64_t hinted;  /* of these, write-back was asked for */
	uint32_t crc;     /* of what was written */

	struct buf open;       /* keys and values of the open block */
	struct entry *pending; /* its entries, which borrow from it */
	size_t pending_count, pending_cap;
	size_t open_bytes;   /* what it will take at most as rows */
	struct buf raw;      /* a block on its way, encoded */
	struct buf versions; /* of its entries, packed */
	struct buf front;    /* packed: its numbers and keys */
	struct buf trial;    /* a block that is only to be measured */
	enum form form;      /* what the last trial said */
	struct deflate_part parts[SST_PARTS_MAX]; /* of a block on its way */

	struct buf last_key; /* of the entry added last */
	uint64_t last_version;
	struct buf index;       /* records of the blocks so far */
	struct buf waiting_key; /* last key of the block whose record waits for
				   the next key, to be cut short */
	uint64_t waiting_version; /* its version */
	uint64_t waiting_stored;  /* its bytes in the file; 0: none waits */
	uint64_t waiting_count;   /* its entries */
	uint64_t *hashes;         /* of every key */
	size_t hash_count, hash_cap;

	struct sst_props props; /* what is known so far */
};

static uint64_t
end_of_file(const struct sst_writer *w)
{
	return w->written + w->out.len;
}

static int
write_out(struct sst_writer *w, struct err *err)
{
	int code = fs_write(&w->file, w->out.data, w->out.len, w->written, NULL,
	                    err);

	if (code)
		return code;
	w->crc = crc32_add(w->crc, w->out.data, w->out.len);
	w->written += w->out.len;
	buf_clear(&w->out);
	/* So that the fsync at the end finds little left to do. */
	if (w->written - w->hinted >= WRITEBACK_BYTES) {
		fs_start_writeback(&w->file, w->hinted, w->written - w->hinted);
		w->hinted = w->written;
	}
	return 0;
}

/* Makes what out has from start on a block, whose payload had raw bytes. */
static int
seal(struct sst_writer *w, size_t start, uint8_t type, size_t raw,
     uint32_t *stored, struct err *err)
{
	uint64_t offset = w->written + start;

	if (w->out.len - start > UINT32_MAX - SST_TRAILER_BYTES)
		return err_set(err, LSMKV_ETOOBIG, "a block of %zu bytes",
		               w->out.len - start);
	if (buf_put_u8(&w->out, type, err) ||
	    buf_put_u32(&w->out, (uint32_t)raw, err) ||
	    buf_put_u32(&w->out,
	                sst_block_crc(w->number, offset, w->out.data + start,
	                              w->out.len - start),
	                err))
		return LSMKV_ENOMEM;
	*stored = (uint32_t)(w->out.len - start);
	if (w->out.len >= WRITE_BYTES)
		return write_out(w, err);
	return 0;
}

/*
 * Appends raw as a block, deflated where allowed and smaller, as type or the
 * deflated type that follows it; head stands before it and tail behind it as
 * they are.
 */
static int
put_block(struct sst_writer *w, struct slice head, struct slice raw,
          struct slice tail, uint8_t type, bool deflate, uint32_t *stored,
          struct err *err)
{
	size_t start = w->out.len;
	int code = LSMKV_END;

	if (buf_append_slice(&w->out, head, err))
		return LSMKV_ENOMEM;
	if (deflate && w->deflater) {
		code = deflater_run(w->deflater, raw, &w->out, err);
		if (code < 0)
			return code;
	}
	if (!code)
		type++;
	else if (buf_append_slice(&w->out, raw, err))
		return LSMKV_ENOMEM;
	if (buf_append_slice(&w->out, tail, err))
		return LSMKV_ENOMEM;
	return seal(w, start, type, raw.len, stored, err);
}

/*
 * How many bytes of `last` are enough for a key that is >= last and < next,
 * counting up its last byte by one if *bump; all of it if there is no such.
 */
static size_t
separator_len(struct slice last, struct slice next, bool *bump)
{
	size_t n = 0;

	*bump = false;
	while (n < last.len && n < next.len && last.data[n] == next.data[n])
		n++;
	if (n == last.len || n == next.len)
		return last.len;
	if (last.data[n] + 1 >= next.data[n]) {
		/* Equal to next there, or one below: cut further back. */
		for (n++; n < last.len && last.data[n] == 0xff; n++)
			;
	}
	if (n + 1 >= last.len)
		return last.len;
	*bump = true;
	return n + 1;
}

/*
 * Writes the waiting index record; next is the first key behind its block,
 * or empty at the end of the file.
 */
static int
put_index_record(struct sst_writer *w, struct slice next, struct err *err)
{
	struct slice last = buf_slice(&w->waiting_key);
	uint64_t version = 0; /* behind every version of the key */
	bool bump = false;

	if (!w->waiting_stored)
		return 0;
	if (slice_equal(last, next)) {
		version = w->waiting_version;
	} else if (next.len) {
		last.len = separator_len(last, next, &bump);
		if (bump)
			w->waiting_key.data[last.len - 1]++;
	}
	if (buf_put_bytes(&w->index, last, err) ||
	    buf_put_varint(&w->index, version, err) ||
	    buf_put_varint(&w->index, w->waiting_stored, err) ||
	    buf_put_varint(&w->index, w->waiting_count, err))
		return LSMKV_ENOMEM;
	w->waiting_stored = 0;
	return 0;
}

/* The only entry of a block: deflate has nothing to gain from columns. */
static int
put_row(struct sst_writer *w, const struct entry *e, uint32_t *stored,
        struct err *err)
{
	size_t start = w->out.len;
	unsigned char *at;
	int code;

	buf_clear(&w->raw);
	if (buf_reserve(&w->raw, w->open_bytes + SST_BLOCK_HEAD_MAX, err))
		return LSMKV_ENOMEM;
	at = put_varint(w->raw.data, e->version);
	at = put_varint(at, 1);
	at = entry_encode(e, e->version, at);
	w->raw.len = (size_t)(at - w->raw.data);
	code = w->rows ? sst_rows_deflate(w->rows, buf_slice(&w->raw), &w->out,
	                                  err)
	               : LSMKV_END;
	if (!code)
		return seal(w, start, SST_DEFLATED, w->raw.len, stored, err);
	if (code == LSMKV_END)
		code = buf_append_slice(&w->out, buf_slice(&w->raw), err);
	return code ? code : seal(w, start, SST_RAW, w->raw.len, stored, err);
}

/*
 * The values in raw, in parts, to trial, and what a reader must know of them
 * to front. LSMKV_END where they cannot be, or it makes nothing smaller.
 */
static int
deflate_values(struct sst_writer *w, struct err *err)
{
	size_t count = sst_parts_cut(w->pending, w->pending_count, w->parts);
	struct deflate_head head;
	int code;

	buf_clear(&w->trial);
	if (!count || !w->parts_deflater)
		return LSMKV_END;
	code = deflate_parts_run(w->parts_deflater, buf_slice(&w->raw),
	                         w->parts, count, &head, &w->trial, err);
	if (!code)
		code = sst_parts_put(&head, w->parts, count, &w->front, err);
	return code;
}

/* The open block into raw, versions and front, and in parts, into trial, which
   may turn out to be impossible: LSMKV_END. */
static int
encode(struct sst_writer *w, enum form form, struct err *err)
{
	int code;

	buf_clear(&w->raw);
	buf_clear(&w->versions);
	buf_clear(&w->front);
	code = sst_columns_encode(w->pending, w->pending_count, &w->raw,
	                          form == FORM_PLAIN ? NULL : &w->front,
	                          &w->versions, err);
	if (!code && form == FORM_PARTS)
		code = deflate_values(w, err);
	return code;
}

/* What would the open block take? */
static int
measure(struct sst_writer *w, enum form form, size_t *bytes, struct err *err)
{
	int code = encode(w, form, err);

	*bytes = SIZE_MAX;
	if (code == LSMKV_END)
		return 0;
	if (code)
		return code;
	if (w->deflater && form != FORM_PARTS) {
		buf_clear(&w->trial);
		code = deflater_run(w->deflater, buf_slice(&w->raw), &w->trial,
		                    err);
		if (code < 0)
			return code;
	}
	*bytes = w->front.len + w->versions.len +
	         (code || !w->deflater ? w->raw.len : w->trial.len);
	return 0;
}

/*
 * Deflate finds what keys and numbers have in common, packing does not, and
 * takes less room and time where there is nothing to be found; and what values
 * have in common is not all found in parts. Neighbours are alike: one block in
 * many is done in all forms. *done: it is encoded in the one that was chosen.
 */
static int
choose_form(struct sst_writer *w, bool *done, struct err *err)
{
	size_t plain, packed, parts;
	int code;

	*done = false;
	if (w->props.blocks % TRIAL_EVERY)
		return 0;
	code = measure(w, FORM_PLAIN, &plain, err);
	if (!code)
		code = measure(w, FORM_PACKED, &packed, err);
	/* The last, and not once more: the deflater learns of each text. */
	if (!code)
		code = measure(w, FORM_PARTS, &parts, err);
	if (code)
		return code;
	if (packed > plain)
		w->form = FORM_PLAIN;
	else if (parts <= packed + packed / PARTS_SHARE && parts <= plain)
		w->form = FORM_PARTS;
	else
		w->form = FORM_PACKED;
	*done = w->form == FORM_PARTS;
	return 0;
}

static int
put_columns(struct sst_writer *w, uint32_t *stored, struct err *err)
{
	size_t start;
	bool done;
	int code = choose_form(w, &done, err);

	if (code)
		return code;
	if (!done)
		code = encode(w, w->form, err);
	if (code < 0)
		return code;
	if (w->form == FORM_PARTS && !code) {
		start = w->out.len;
		if (buf_append_slice(&w->out, buf_slice(&w->front), err) ||
		    buf_append_slice(&w->out, buf_slice(&w->trial), err))
			return LSMKV_ENOMEM;
		return seal(w, start, SST_PACKED_PARTS, w->raw.len, stored,
		            err);
	}
	return put_block(w, buf_slice(&w->front), buf_slice(&w->raw),
	                 buf_slice(&w->versions),
	                 w->form == FORM_PLAIN ? SST_COLUMNS : SST_PACKED, true,
	                 stored, err);
}

static int
close_block(struct sst_writer *w, struct err *err)
{
	uint32_t stored;
	int code;

	if (!w->pending_count)
		return 0;
	code = w->pending_count == 1 ? put_row(w, &w->pending[0], &stored, err)
	                             : put_columns(w, &stored, err);
	if (code)
		return code;

	if (buf_set(&w->waiting_key, buf_slice(&w->last_key), err))
		return LSMKV_ENOMEM;
	w->waiting_version = w->last_version;
	w->waiting_stored = stored;
	w->waiting_count = w->pending_count;
	w->props.blocks++;
	w->pending_count = 0;
	w->open_bytes = 0;
	buf_clear(&w->open);
	return 0;
}

/* Makes room for one more element of `size` bytes in a growing array. */
static int
grow(void **array, size_t count, size_t *cap, size_t size, struct err *err)
{
	size_t wanted = *cap ? *cap * 2 : 256;
	void *bigger;

	if (count < *cap)
		return 0;
	bigger = realloc(*array, wanted * size);
	if (!bigger)
		return err_nomem(err, wanted * size);
	*array = bigger;
	*cap = wanted;
	return 0;
}

static int
check_entry(const struct sst_writer *w, const struct entry *e, struct err *err)
{
	char key[64];

	if (!e->key.len || e->key.len > ENTRY_KEY_MAX ||
	    e->value.len > ENTRY_VALUE_MAX || !e->version ||
	    (unsigned)e->kind > ENTRY_TOMBSTONE ||
	    (e->kind == ENTRY_TOMBSTONE && e->value.len))
		return err_set(err, LSMKV_EINVAL,
		               "%s: an entry that the format does not allow",
		               w->file.name);
	if (w->props.info.entries &&
	    entry_order(buf_slice(&w->last_key), w->last_version, e->key,
	                e->version) >= 0)
		return err_set(
			err, LSMKV_EINVAL,
			"%s: key %s, version %" PRIu64 " is out of order",
			w->file.name, slice_printable(e->key, key, sizeof(key)),
			e->version);
	return 0;
}

/* Everything that counts an entry in; nothing here fails. */
static void
count_entry(struct sst_info *info, const struct entry *e)
{
	if (!info->entries || e->version < info->min_version)
		info->min_version = e->version;
	if (e->version > info->max_version)
		info->max_version = e->version;
	if (e->expires &&
	    (!info->min_expires || e->expires < info->min_expires))
		info->min_expires = e->expires;
	info->entries++;
	info->tombstones += e->kind == ENTRY_TOMBSTONE;
	info->raw_bytes += e->key.len + e->value.len;
}

/* A copy of s at the end of open, which has room. */
static struct slice
keep(struct buf *open, struct slice s)
{
	struct slice kept = { open->data + open->len, s.len };

	if (s.len)
		memcpy(open->data + open->len, s.data, s.len);
	open->len += s.len;
	return kept;
}

/*
 * Makes the open block ready for an entry of `size` bytes as a row, which may
 * mean a new one. Its entries borrow from `open`, which therefore gets at once
 * what it may need.
 */
static int
open_block(struct sst_writer *w, const struct entry *e, size_t size,
           struct err *err)
{
	size_t most = w->options.block_bytes;
	int code;

	if (w->pending_count && w->open_bytes + size > most) {
		code = close_block(w, err);
		if (code)
			return code;
	}
	if (w->pending_count)
		return 0;
	code = put_index_record(w, e->key, err);
	if (code)
		return code;
	return buf_reserve(&w->open, size > most ? size : most, err);
}

static int
add(struct sst_writer *w, const struct entry *e, struct err *err)
{
	bool new_key = !w->props.info.entries ||
	               !slice_equal(buf_slice(&w->last_key), e->key);
	size_t size = entry_encoded_size(e, 0);
	struct entry *kept;
	int code = open_block(w, e, size, err);

	if (code)
		return code;
	if (!w->props.info.entries &&
	    buf_set(&w->props.info.smallest, e->key, err))
		return LSMKV_ENOMEM;
	if (grow((void **)&w->pending, w->pending_count, &w->pending_cap,
	         sizeof(*w->pending), err) ||
	    grow((void **)&w->hashes, w->hash_count, &w->hash_cap,
	         sizeof(*w->hashes), err) ||
	    (new_key && buf_set(&w->last_key, e->key, err)))
		return LSMKV_ENOMEM;

	kept = &w->pending[w->pending_count++];
	*kept = *e;
	kept->key = keep(&w->open, e->key);
	kept->value = keep(&w->open, e->value);
	w->open_bytes += size;
	w->last_version = e->version;
	if (new_key) {
		w->props.keys++;
		if (w->options.bits_per_key)
			w->hashes[w->hash_count++] = sst_key_hash(e->key);
	}
	count_entry(&w->props.info, e);
	return 0;
}

int
sst_writer_open(struct sst_writer **out, struct fs_dir *dir, uint64_t number,
                const struct sst_options *options, struct err *err)
{
	struct sst_writer *w = NULL;
	char name[NAME_MAX_LEN];
	int code = 0;

	*out = NULL;
	if (!number || !options->block_bytes ||
	    options->block_bytes > SST_BLOCK_BYTES_MAX ||
	    options->bits_per_key > SST_BITS_MAX ||
	    options->deflate_level < 0 || options->deflate_level > 9)
		return err_set(err, LSMKV_EINVAL, "options of an SST");

	w = (struct sst_writer *)calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err, sizeof(*w));
	w->dir = dir;
	w->file = (struct fs_file)FS_FILE_INIT;
	w->number = number;
	w->options = *options;
	w->props.block_bytes = options->block_bytes;
	w->props.bits_per_key = options->bits_per_key;
	w->props.deflate_level = (uint64_t)options->deflate_level;
	if (options->deflate_level) {
		w->deflater = deflater_new(options->deflate_level);
		w->parts_deflater = deflate_parts_new(options->deflate_level >
		                                      DEFLATE_FAST);
		w->rows = sst_rows_new(w->deflater, options->deflate_level);
		if (!w->deflater || !w->parts_deflater || !w->rows) {
			code = err_set(err, LSMKV_ENOMEM, "out of memory");
			goto failed;
		}
	}
	code = buf_reserve(&w->out, SST_HEADER_BYTES, err);
	if (code)
		goto failed;
	sst_header_encode(w->out.data);
	w->out.len = SST_HEADER_BYTES;
	code = fs_create(dir, name_sst_tmp(number, name), &w->file, err);
	if (code)
		goto failed;
	*out = w;
	return 0;

failed:
	sst_writer_abort(w);
	return code;
}

int
sst_writer_add(struct sst_writer *w, const struct entry *e, struct err *err)
{
	int code;

	if (w->failure.code)
		return err_set(err, w->failure.code, "%s", w->failure.message);
	/* A refused entry harms nobody: the writer goes on. */
	code = check_entry(w, e, err);
	if (code)
		return code;
	code = add(w, e, &w->failure);
	if (code)
		return err_set(err, code, "%s", w->failure.message);
	return 0;
}

uint64_t
sst_writer_bytes(const struct sst_writer *w)
{
	/* The open block as it is: it will shrink if it is deflated. */
	return end_of_file(w) + w->open_bytes;
}

/* Filter, index, properties and footer. */
static int
put_tail(struct sst_writer *w, struct err *err)
{
	struct sst_footer footer = { .number = w->number };
	unsigned char bytes[SST_FOOTER_BYTES];
	size_t start;
	int code;

	code = close_block(w, err);
	if (!code)
		code = put_index_record(w, slice_make(NULL, 0), err);
	if (code)
		return code;

	footer.filter_offset = end_of_file(w);
	if (w->options.bits_per_key) {
		buf_clear(&w->raw);
		code = bloom_build(w->hashes, w->hash_count,
		                   w->options.bits_per_key, &w->raw, err);
		if (!code)
			code = put_block(w, none, buf_slice(&w->raw), none,
			                 SST_RAW, false, &footer.filter_bytes,
			                 err);
		if (code)
			return code;
	}
	footer.index_offset = end_of_file(w);
	code = put_block(w, none, buf_slice(&w->index), none, SST_RAW, true,
	                 &footer.index_bytes, err);
	if (code)
		return code;

	/* In one piece, so that its bytes are still here for their CRC. */
	code = write_out(w, err);
	if (code)
		return code;
	footer.props_offset = end_of_file(w);
	start = w->out.len;
	buf_clear(&w->raw);
	if (buf_set(&w->props.info.largest, buf_slice(&w->last_key), err) ||
	    sst_props_encode(&w->props, &w->raw, err))
		return LSMKV_ENOMEM;
	code = put_block(w, none, buf_slice(&w->raw), none, SST_RAW, false,
	                 &footer.props_bytes, err);
	if (code)
		return code;
	assert(w->out.len == start + footer.props_bytes);
	footer.props_crc = sst_crc(w->out.data + start, footer.props_bytes);
	footer.entries = w->props.info.entries;
	sst_footer_encode(&footer, bytes);
	if (buf_append(&w->out, bytes, sizeof(bytes), err))
		return LSMKV_ENOMEM;
	return write_out(w, err);
}

int
sst_writer_finish(struct sst_writer *w, struct sst_info *info, struct err *err)
{
	char tmp[NAME_MAX_LEN], name[NAME_MAX_LEN];
	int code;

	*info = (struct sst_info)SST_INFO_INIT;
	if (w->failure.code) {
		code = err_set(err, w->failure.code, "%s", w->failure.message);
		goto done;
	}
	if (!w->props.info.entries) {
		code = err_set(err, LSMKV_EINVAL, "%s: an SST without entries",
		               w->file.name);
		goto done;
	}
	/*
	 * 1. All bytes under the temporary name. A crash here or in step 2
	 *    leaves NNNNNN.sst.tmp, which the next start removes.
	 */
	w->props.info.created = clock_wall_s();
	code = put_tail(w, err);
	if (code)
		goto done;
	/* 2. On the disk, before any name says that they are. */
	if (!PLANTED("sst_write.no_sync"))
		code = fs_sync(&w->file, err);
	if (code && !PLANTED("sst_write.trusts_page_cache"))
		goto done;
	/*
	 * 3. The final name. Until the caller has synced the directory, a
	 *    crash may bring either name back, in both cases with all bytes;
	 *    without a MANIFEST that names it the next start removes it.
	 */
	code = sst_info_copy(info, &w->props.info, err);
	if (code)
		goto done;
	info->number = w->number;
	info->size = w->written;
	info->crc = w->crc;
	code = fs_rename(w->dir, name_sst_tmp(w->number, tmp),
	                 name_sst(w->number, name), err);
	if (code)
		sst_info_release(info);
	else
		fs_close(&w->file);

done:
	if (code)
		*info = (struct sst_info)SST_INFO_INIT;
	sst_writer_abort(w);
	return code;
}

void
sst_writer_abort(struct sst_writer *w)
{
	char name[NAME_MAX_LEN];

	if (!w)
		return;
	/* A file that is still open is not finished. */
	if (w->file.fd >= 0) {
		fs_close(&w->file);
		/* If this fails, the next start removes it. */
		(void)fs_unlink(w->dir, name_sst_tmp(w->number, name), NULL);
	}
	sst_rows_free(w->rows);
	deflate_parts_free(w->parts_deflater);
	deflater_free(w->deflater);
	sst_info_release(&w->props.info);
	buf_release(&w->out);
	buf_release(&w->open);
	buf_release(&w->raw);
	buf_release(&w->versions);
	buf_release(&w->front);
	buf_release(&w->trial);
	buf_release(&w->last_key);
	buf_release(&w->index);
	buf_release(&w->waiting_key);
	free(w->pending);
	free(w->hashes);
	free(w);
}
