/* SPDX-License-Identifier: ISC */
/*
 * Reading a whole SST for its own sake: verify, dump, and the parent's check
 * of what the compaction helper made. Everything comes from the disk, nothing
 * from the block cache, and nothing is left there. sst_check stands on the
 * strict loading of sst_block.c, and adds what no single block can know.
 */
#include <inttypes.h>

#include "store/bloom.h"
#include "store/sst_read.h"

#define READ_BYTES (256u << 10) /* of one read of the whole file */

int
sst_info_read(struct fs_dir *dir, uint64_t number, struct sst_info *info,
              struct err *err)
{
	struct sst *t;
	struct buf piece = BUF_INIT;
	uint32_t crc = 0;
	int code = sst_open_file(&t, dir, number, err);

	*info = (struct sst_info)SST_INFO_INIT;
	if (code)
		return code;
	for (uint64_t at = 0; at < t->info.size && !code;) {
		uint64_t len = t->info.size - at;

		if (len > READ_BYTES)
			len = READ_BYTES;
		code = sst_read_stored(t, at, len, &piece, err);
		crc = crc32_add(crc, piece.data, piece.len);
		at += len;
	}
	if (!code)
		code = sst_info_copy(info, &t->info, err);
	if (!code)
		info->crc = crc;
	buf_release(&piece);
	sst_unref(t);
	return code;
}

/* What sst_check has seen so far. */
struct check {
	struct sst_info seen;  /* counts and versions; keys stay empty */
	uint64_t keys;         /* different ones */
	struct buf last_key;   /* of the entry before; owned */
	uint64_t last_version; /* its version */
	uint32_t crc;          /* of the file up to here */
};

static int
check_entry(const struct sst *t, struct check *c, const struct sst_filter *f,
            uint64_t offset, const struct entry *e, struct err *err)
{
	struct sst_info *seen = &c->seen;
	bool new_key =
		!seen->entries || !slice_equal(buf_slice(&c->last_key), e->key);
	char key[64];

	if (seen->entries &&
	    entry_order(buf_slice(&c->last_key), c->last_version, e->key,
	                e->version) >= 0)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: block at %" PRIu64
		               ": key %s is out of order",
		               t->file.name, offset,
		               slice_printable(e->key, key, sizeof(key)));
	if (new_key) {
		c->keys++;
		if (f && !bloom_may_contain(f->bits, sst_key_hash(e->key)))
			return err_set(
				err, LSMKV_ECORRUPT,
				"%s: filter at %" PRIu64
				" does not know key %s",
				t->file.name, t->footer.filter_offset,
				slice_printable(e->key, key, sizeof(key)));
		if (buf_set(&c->last_key, e->key, err))
			return LSMKV_ENOMEM;
	}
	if (!seen->entries &&
	    !slice_equal(e->key, buf_slice(&t->info.smallest)))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: block at %" PRIu64
		               " does not begin with the smallest key",
		               t->file.name, offset);
	c->last_version = e->version;
	seen->entries++;
	seen->tombstones += e->kind == ENTRY_TOMBSTONE;
	seen->raw_bytes += e->key.len + e->value.len;
	if (!seen->min_version || e->version < seen->min_version)
		seen->min_version = e->version;
	if (e->version > seen->max_version)
		seen->max_version = e->version;
	if (e->expires &&
	    (!seen->min_expires || e->expires < seen->min_expires))
		seen->min_expires = e->expires;
	return 0;
}

/* The sums over all entries against the properties. */
static int
check_sums(const struct sst *t, const struct check *c, struct err *err)
{
	const struct sst_info *seen = &c->seen, *info = &t->info;

	if (seen->entries == info->entries &&
	    seen->tombstones == info->tombstones &&
	    seen->raw_bytes == info->raw_bytes &&
	    seen->min_version == info->min_version &&
	    seen->max_version == info->max_version &&
	    seen->min_expires == info->min_expires && c->keys == t->keys &&
	    slice_equal(buf_slice(&c->last_key), buf_slice(&info->largest)))
		return 0;
	return err_set(err, LSMKV_ECORRUPT,
	               "%s: properties at %" PRIu64
	               " do not fit the entries: %" PRIu64 " of %" PRIu64
	               " keys, versions %" PRIu64 " to %" PRIu64,
	               t->file.name, t->footer.props_offset, seen->entries,
	               c->keys, seen->min_version, seen->max_version);
}

/* Block i as it is on the disk now; *stored is good until the next one. */
static int
read_block(struct sst *t, const struct sst_index *x, uint32_t i,
           struct sst_window *window, struct slice *stored,
           struct sst_block **b, struct err *err)
{
	int code = sst_window_read(t, window, x->offset[i],
	                           x->offset[i + 1] - x->offset[i], false,
	                           stored, err);

	return code ? code : sst_block_make(t, x, i, *stored, false, b, err);
}

static int
check_blocks(struct sst *t, const struct sst_index *x,
             const struct sst_filter *f, struct check *c,
             int (*progress)(void *arg, uint64_t bytes), void *arg,
             struct err *err)
{
	struct sst_window window = SST_WINDOW_INIT;
	int code = 0;

	for (uint32_t i = 0; i < x->count && !code; i++) {
		struct sst_block *b;
		struct slice stored;
		struct entry e;

		code = read_block(t, x, i, &window, &stored, &b, err);
		if (code)
			break;
		c->crc = crc32_add(c->crc, stored.data, stored.len);
		for (uint32_t n = 0; n < b->count && !code; n++) {
			sst_block_entry(b, n, &e);
			code = check_entry(t, c, f, x->offset[i], &e, err);
		}
		cache_block_unpin(&b->head);
		if (!code && progress && progress(arg, x->offset[i + 1]))
			code = err_set(err, LSMKV_ESHUTDOWN,
			               "%s: the check was stopped",
			               t->file.name);
	}
	buf_release(&window.bytes);
	return code;
}

/* The part of stored, which begins at the filter, that is at offset. */
static struct slice
tail_part(const struct sst *t, const struct buf *tail, uint64_t offset,
          uint32_t len)
{
	return slice_make(tail->data + (offset - t->footer.filter_offset), len);
}

int
sst_check(struct sst *t, int (*progress)(void *arg, uint64_t bytes), void *arg,
          struct err *err)
{
	const struct sst_footer *footer = &t->footer;
	struct check c = { .seen = SST_INFO_INIT };
	struct buf header = BUF_INIT, tail = BUF_INIT;
	struct sst_index *x = NULL;
	struct sst_filter *f = NULL;
	int code;

	code = sst_read_stored(t, 0, SST_HEADER_BYTES, &header, err);
	if (!code)
		code = sst_read_stored(t, footer->filter_offset,
		                       t->info.size - footer->filter_offset,
		                       &tail, err);
	if (code)
		goto done;
	c.crc = crc32_add(0, header.data, header.len);

	if (footer->filter_bytes)
		code = sst_filter_make(t,
		                       tail_part(t, &tail,
		                                 footer->filter_offset,
		                                 footer->filter_bytes),
		                       &f, err);
	if (!code)
		code = sst_index_make(t,
		                      tail_part(t, &tail, footer->index_offset,
		                                footer->index_bytes),
		                      &x, err);
	if (!code)
		code = check_blocks(t, x, f, &c, progress, arg, err);
	if (!code)
		code = check_sums(t, &c, err);
	if (code)
		goto done;

	/* What of header, properties and footer has changed since opening? */
	c.crc = crc32_add(c.crc, tail.data, tail.len);
	if (c.crc != t->info.crc)
		code = err_set(err, LSMKV_ECORRUPT,
		               "%s: CRC of the file from offset 0 is %08" PRIx32
		               ", should be %08" PRIx32,
		               t->file.name, c.crc, t->info.crc);
	if (!code && progress && progress(arg, t->info.size))
		code = err_set(err, LSMKV_ESHUTDOWN,
		               "%s: the check was stopped", t->file.name);
done:
	cache_block_unpin(f ? &f->head : NULL);
	cache_block_unpin(x ? &x->head : NULL);
	buf_release(&c.last_key);
	buf_release(&header);
	buf_release(&tail);
	return code;
}

int
sst_damaged_blocks(struct sst *t,
                   void (*damaged)(void *arg, const char *message), void *arg,
                   struct err *err)
{
	struct sst_window window = SST_WINDOW_INIT;
	struct sst_index *x;
	int code = sst_get_index(t, false, &x, err);

	if (code)
		return code;
	for (uint32_t i = 0; i < x->count && !code; i++) {
		struct err damage = ERR_INIT;
		struct sst_block *b = NULL;
		struct slice stored;

		code = read_block(t, x, i, &window, &stored, &b, &damage);
		if (!code) {
			cache_block_unpin(&b->head);
		} else if (code == LSMKV_ECORRUPT || code == LSMKV_EIO) {
			damaged(arg, damage.message);
			code = 0;
		} else if (err) {
			*err = damage;
		}
	}
	buf_release(&window.bytes);
	cache_block_unpin(&x->head);
	return code;
}

int
sst_blocks(struct sst *t,
           int (*each)(void *arg, const struct sst_block_info *b), void *arg,
           struct err *err)
{
	struct sst_window window = SST_WINDOW_INIT;
	struct sst_index *x;
	int code = sst_get_index(t, false, &x, err);

	if (code)
		return code;
	for (uint32_t i = 0; i < x->count && !code; i++) {
		struct sst_block_info info = { .offset = x->offset[i] };
		struct sst_block *b;
		struct slice stored;
		struct entry e;

		code = read_block(t, x, i, &window, &stored, &b, err);
		if (code)
			break;
		sst_block_entry(b, 0, &e);
		info.stored = (uint32_t)stored.len;
		info.raw = b->raw;
		info.packed = b->packed;
		info.parts = b->parts;
		info.deflated = b->deflated;
		info.entries = b->count;
		info.first = e.key;
		code = each(arg, &info);
		cache_block_unpin(&b->head);
	}
	buf_release(&window.bytes);
	cache_block_unpin(&x->head);
	return code;
}
