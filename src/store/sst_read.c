/* SPDX-License-Identifier: ISC */
/*
 * An open SST and the look-up of one key in it.
 *
 * The way of sst_get: filter (most keys that are not here end there), block
 * index, data block, each out of the block cache. Only what is missing there
 * is read, checked (sst_block.c) and handed to the cache. Where that is full,
 * a block is only looked into (sst_peek.c), and what is asked for again is
 * kept as it stands on the disk, which takes a third of the room. With
 * everything cached nothing is allocated, copied, locked or counted: the hit
 * borrows from the block, and the thread is inside (grace.h) for as long.
 * Filter and index are asked for by every read of the file, so they are held
 * as long as the cache has room for that (block_cache_hold). The struct itself
 * never changes after opening, but for its atomics.
 */
#include <inttypes.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/log.h"
#include "store/bloom.h"
#include "store/grace.h"
#include "store/names.h"
#include "store/sst_read.h"
#include "store/sst_seal.h"

#define WINDOW_MIN (16u << 10) /* readahead after the first block in a row */
#define WINDOW_MAX (256u << 10)
#define OVERHEAD_SHARE 8u /* of a block's bytes: its arrays */

uint64_t
sst_key_hash(struct slice key)
{
	return XXH3_64bits(key.data, key.len);
}

/* ---- opening ---- */

static int
read_props(struct sst *t, struct err *err)
{
	const struct sst_footer *f = &t->footer;
	struct buf stored = BUF_INIT, payload = BUF_INIT;
	struct sst_props props = SST_PROPS_INIT;
	uint32_t sum;
	int code;

	code = sst_read_stored(t, f->props_offset, f->props_bytes, &stored,
	                       err);
	if (code)
		goto done;
	sum = sst_crc(stored.data, stored.len);
	if (sum != f->props_crc) {
		code = err_set(err, LSMKV_ECORRUPT,
		               "%s: properties at %" PRIu64
		               ": CRC is %08" PRIx32 ", should be %08" PRIx32,
		               t->file.name, f->props_offset, sum,
		               f->props_crc);
		goto done;
	}
	code = sst_unseal(t->file.name, f->number, f->props_offset,
	                  "properties", buf_slice(&stored), &payload, err);
	if (!code)
		code = sst_props_decode(buf_slice(&payload), f, t->file.name,
		                        &props, err);
	if (code)
		goto done;
	props.info.number = t->info.number;
	props.info.size = t->info.size;
	t->info = props.info;
	t->blocks = (uint32_t)props.blocks;
	t->block_bytes = (size_t)props.block_bytes;
	t->keys = props.keys;
done:
	buf_release(&stored);
	buf_release(&payload);
	return code;
}

int
sst_open_file(struct sst **out, struct fs_dir *dir, uint64_t number,
              struct err *err)
{
	unsigned char header[SST_HEADER_BYTES], footer[SST_FOOTER_BYTES];
	char name[NAME_MAX_LEN];
	struct sst *t;
	int code;

	*out = NULL;
	t = (struct sst *)calloc(1, sizeof(*t));
	if (!t)
		return err_nomem(err, sizeof(*t));
	atomic_init(&t->refs, 1);
	t->file = (struct fs_file)FS_FILE_INIT;
	t->info.number = number;
	code = fs_open(dir, name_sst(number, name), &t->file, err);
	if (code == LSMKV_NOTFOUND)
		code = err_set(err, LSMKV_ECORRUPT, "%s: the file is missing",
		               name);
	if (!code)
		code = fs_size(&t->file, &t->info.size, err);
	if (code)
		goto failed;
	if (t->info.size < SST_HEADER_BYTES + SST_FOOTER_BYTES) {
		code = err_set(err, LSMKV_ECORRUPT,
		               "%s: ends at offset %" PRIu64
		               ", which is too early for an SST",
		               name, t->info.size);
		goto failed;
	}
	code = fs_read(&t->file, header, sizeof(header), 0, err);
	if (!code)
		code = fs_read(&t->file, footer, sizeof(footer),
		               t->info.size - sizeof(footer), err);
	if (!code)
		code = sst_footer_decode(header, footer, t->info.size, name,
		                         &t->footer, err);
	if (!code && t->footer.number != number)
		code = err_set(err, LSMKV_ECORRUPT,
		               "%s: footer at %" PRIu64
		               " says that this is file %" PRIu64,
		               name, t->info.size - sizeof(footer),
		               t->footer.number);
	if (!code)
		code = read_props(t, err);
	if (code)
		goto failed;
	/* Blocks are asked for one by one; who wants more reads ahead. */
	fs_advise_random(&t->file);
	*out = t;
	return 0;

failed:
	sst_unref(t);
	return code;
}

/* Is the file the one that info, from the MANIFEST, speaks of? */
static int
compare_info(const struct sst *t, const struct sst_info *info, struct err *err)
{
	const struct {
		const char *what;
		uint64_t is, should;
	} numbers[] = {
		{ "size", t->info.size, info->size },
		{ "entry count", t->info.entries, info->entries },
		{ "tombstone count", t->info.tombstones, info->tombstones },
		{ "raw size", t->info.raw_bytes, info->raw_bytes },
		{ "smallest version", t->info.min_version, info->min_version },
		{ "largest version", t->info.max_version, info->max_version },
		{ "earliest expiry", t->info.min_expires, info->min_expires },
		{ "creation time", t->info.created, info->created },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].is != numbers[i].should)
			return err_set(err, LSMKV_ECORRUPT,
			               "%s: properties at %" PRIu64
			               ": %s is %" PRIu64
			               ", should be %" PRIu64,
			               t->file.name, t->footer.props_offset,
			               numbers[i].what, numbers[i].is,
			               numbers[i].should);
	if (!slice_equal(buf_slice(&t->info.smallest),
	                 buf_slice(&info->smallest)) ||
	    !slice_equal(buf_slice(&t->info.largest),
	                 buf_slice(&info->largest)))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: properties at %" PRIu64
		               ": smallest or largest key is not what it "
		               "should be",
		               t->file.name, t->footer.props_offset);
	return 0;
}

int
sst_open(struct sst **out, struct fs_dir *dir, const struct sst_info *info,
         struct block_cache *cache, struct err *err)
{
	struct sst *t;
	int code = sst_open_file(&t, dir, info->number, err);

	*out = NULL;
	if (code)
		return code;
	code = compare_info(t, info, err);
	if (code) {
		sst_unref(t);
		return code;
	}
	t->info.crc = info->crc;
	t->cache = cache;
	*out = t;
	return 0;
}

const struct sst_info *
sst_info_of(const struct sst *t)
{
	return &t->info;
}

uint32_t
sst_format_version(const struct sst *t)
{
	return t->footer.version;
}

struct sst *
sst_ref(struct sst *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

static void
let_go(struct sst *t, _Atomic(struct cache_block *) *place)
{
	struct cache_block *b = atomic_load(place);

	if (b)
		block_cache_unhold(t->cache, b);
}

void
sst_unref(struct sst *t)
{
	struct err err = ERR_INIT;
	char name[NAME_MAX_LEN];

	if (!t ||
	    atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
		return;
	let_go(t, &t->filter);
	let_go(t, &t->index);
	if (atomic_load(&t->cached))
		block_cache_drop_file(t->cache, t->info.number);
	fs_close(&t->file);
	/* If this fails, the next start finds that no MANIFEST names it. */
	if (atomic_load(&t->obsolete) &&
	    fs_unlink(t->file.dir, name_sst(t->info.number, name), &err))
		log_warn("sst: %s", err.message);
	sst_info_release(&t->info);
	free(t);
}

void
sst_set_obsolete(struct sst *t)
{
	atomic_store(&t->obsolete, true);
}

bool
sst_is_obsolete(const struct sst *t)
{
	return atomic_load(&t->obsolete);
}

/* ---- from the disk ---- */

int
sst_read_stored(struct sst *t, uint64_t offset, uint64_t len, struct buf *out,
                struct err *err)
{
	int code;

	buf_clear(out);
	if (buf_reserve(out, (size_t)len, err))
		return LSMKV_ENOMEM;
	code = fs_read(&t->file, out->data, (size_t)len, offset, err);
	if (!code)
		out->len = (size_t)len;
	return code;
}

int
sst_window_read(struct sst *t, struct sst_window *w, uint64_t offset,
                uint64_t len, bool backward, struct slice *out, struct err *err)
{
	if (offset < w->offset || offset + len > w->offset + w->bytes.len) {
		uint64_t size = w->ahead > len ? w->ahead : len;
		uint64_t from = offset, end = offset + len;
		int code;

		if (backward)
			from = end > SST_HEADER_BYTES + size ? end - size
			                                     : SST_HEADER_BYTES;
		if (size > t->footer.filter_offset - from)
			size = t->footer.filter_offset - from;
		code = sst_read_stored(t, from, size, &w->bytes, err);
		if (code)
			return code;
		w->offset = from;
		w->ahead = w->ahead < WINDOW_MIN       ? WINDOW_MIN
		           : w->ahead < WINDOW_MAX / 2 ? w->ahead * 2
		                                       : WINDOW_MAX;
	}
	*out = slice_make(w->bytes.data + (offset - w->offset), (size_t)len);
	return 0;
}

/* ---- through the cache ---- */

static struct cache_block *
cached(struct sst *t, uint64_t offset)
{
	if (!t->cache)
		return NULL;
	return block_cache_get(t->cache, t->info.number, offset);
}

/* Gives the cache what was just made; returns what to use instead. */
static struct cache_block *
keep(struct sst *t, struct cache_block *b)
{
	if (!t->cache)
		return b;
	if (!atomic_load_explicit(&t->cached, memory_order_relaxed))
		atomic_store(&t->cached, true);
	return block_cache_put(t->cache, b);
}

static int
get_filter(struct sst *t, struct sst_filter **out, struct err *err)
{
	const struct sst_footer *f = &t->footer;
	struct buf stored = BUF_INIT;
	int code;

	*out = (struct sst_filter *)(void *)cached(t, f->filter_offset);
	if (*out)
		return 0;
	code = sst_read_stored(t, f->filter_offset, f->filter_bytes, &stored,
	                       err);
	if (!code)
		code = sst_filter_make(t, buf_slice(&stored), out, err);
	if (!code)
		*out = (struct sst_filter *)(void *)keep(t, &(*out)->head);
	buf_release(&stored);
	return code;
}

int
sst_get_index(struct sst *t, bool fill, struct sst_index **out, struct err *err)
{
	const struct sst_footer *f = &t->footer;
	struct buf stored = BUF_INIT;
	int code;

	*out = (struct sst_index *)(void *)cached(t, f->index_offset);
	if (*out)
		return 0;
	code = sst_read_stored(t, f->index_offset, f->index_bytes, &stored,
	                       err);
	if (!code)
		code = sst_index_make(t, buf_slice(&stored), out, err);
	if (!code && fill)
		*out = (struct sst_index *)(void *)keep(t, &(*out)->head);
	buf_release(&stored);
	return code;
}

int
sst_cached_block(struct sst *t, const struct sst_index *x, uint32_t i,
                 struct sst_block **out, struct err *err)
{
	struct sst_block *b =
		(struct sst_block *)(void *)cached(t, x->offset[i]);
	int code = 0;

	*out = b;
	if (b && !b->count) {
		code = sst_block_make(t, x, i, sst_block_stored(b), false, out,
		                      err);
		if (!code)
			block_cache_charge(t->cache, &(*out)->head);
		cache_block_unpin(&b->head);
	}
	return code;
}

int
sst_get_block(struct sst *t, const struct sst_index *x, uint32_t i,
              struct sst_window *past_cache, bool backward,
              struct sst_block **out, struct err *err)
{
	uint64_t offset = x->offset[i];
	uint64_t len = x->offset[i + 1] - offset;
	struct slice stored;
	struct buf *scratch;
	int code;

	code = sst_cached_block(t, x, i, out, err);
	if (code || *out)
		return code;
	if (past_cache) {
		code = sst_window_read(t, past_cache, offset, len, backward,
		                       &stored, err);
		return code ? code
		            : sst_block_make(t, x, i, stored, false, out, err);
	}
	scratch = sst_scratch(err);
	if (!scratch)
		return LSMKV_ENOMEM;
	code = sst_read_stored(t, offset, len, scratch, err);
	if (!code)
		code = sst_block_make(t, x, i, buf_slice(scratch), true, out,
		                      err);
	if (!code)
		*out = (struct sst_block *)(void *)keep(t, &(*out)->head);
	sst_scratch_trim(scratch);
	return code;
}

/* ---- one key ---- */

/* What is looked for: the newest version of key that is <= version. */
struct sought {
	struct slice key;
	uint64_t hash; /* sst_key_hash */
	uint64_t version;
};

static bool
find(const struct sst_block *b, const struct sought *k, struct entry *e)
{
	const unsigned char *end = b->tags + b->count;
	const unsigned char *tag = b->tags;

	for (;; tag++) {
		tag = (const unsigned char *)memchr(tag, (unsigned char)k->hash,
		                                    (size_t)(end - tag));
		if (!tag)
			return false;
		sst_block_entry(b, (uint32_t)(tag - b->tags), e);
		/*
		 * Else it is another key with the same tag, or a version that
		 * is too new: older ones follow it, in this block, because
		 * that is how the index chose it.
		 */
		if (e->version <= k->version && slice_equal(e->key, k->key))
			return true;
	}
}

static int
take_from(const struct sst_block *b, const struct sought *k,
          struct sst_hit *hit)
{
	return find(b, k, &hit->entry) ? 0 : LSMKV_NOTFOUND;
}

/* Hands the pin of b over to the hit, or gives it back. */
static int
take_from_pinned(struct sst_block *b, const struct sought *k,
                 struct sst_hit *hit)
{
	int code = take_from(b, k, hit);

	if (code)
		cache_block_unpin(&b->head);
	else
		hit->pin = &b->head;
	return code;
}

/*
 * Keeps b, pinned by the caller, at hand for those who come after: then they
 * need no lock and write to no memory that threads share.
 */
static void
hold(struct sst *t, _Atomic(struct cache_block *) *place, struct cache_block *b)
{
	struct cache_block *none = NULL;

	if (t->cache && block_cache_hold(t->cache, b) &&
	    !atomic_compare_exchange_strong(place, &none, b))
		block_cache_unhold(t->cache, b);
}

/* LSMKV_NOTFOUND if the filter denies the key, 0 if it may be there. */
static int
ask_filter(struct sst *t, uint64_t hash, struct err *err)
{
	struct sst_filter *f;
	struct cache_block *pin = NULL;
	bool maybe;

	if (!t->footer.filter_bytes)
		return 0;
	f = (struct sst_filter *)(void *)atomic_load_explicit(
		&t->filter, memory_order_acquire);
	if (!f) {
		int code = get_filter(t, &f, err);

		if (code)
			return code;
		pin = &f->head;
		hold(t, &t->filter, pin);
	}
	maybe = bloom_may_contain(f->bits, hash);
	cache_block_unpin(pin);
	return maybe ? 0 : LSMKV_NOTFOUND;
}

/* The index, in *pin if it had to be pinned; then with a place of its own. */
static int
get_held_index(struct sst *t, struct sst_index **x, struct cache_block **pin,
               struct err *err)
{
	int code = 0;

	*pin = NULL;
	*x = (struct sst_index *)(void *)atomic_load_explicit(
		&t->index, memory_order_acquire);
	if (*x)
		return 0;
	code = sst_get_index(t, true, x, err);
	if (code)
		return code;
	*pin = &(*x)->head;
	hold(t, &t->index, *pin);
	return 0;
}

void
sst_warm(struct sst *t)
{
	struct cache_block *pin;
	struct sst_index *x;

	(void)ask_filter(t, 0, NULL);
	if (!get_held_index(t, &x, &pin, NULL))
		cache_block_unpin(pin);
}

/* About as big as a data block of t is once it is made. */
static size_t
usual_size(const struct sst *t)
{
	return sizeof(struct sst_block) + t->block_bytes +
	       t->block_bytes / OVERHEAD_SHARE;
}

/*
 * Looks into data block i, which is not cached, as far as that can be done, or
 * makes it. The cache gets what it wishes for.
 */
static int
look_past_cache(struct sst *t, const struct sst_index *x, uint32_t i,
                const struct sought *k, enum cache_wish wish,
                struct sst_hit *hit, struct err *err)
{
	struct buf *scratch = sst_scratch(err);
	struct sst_block *b = NULL;
	struct slice stored;
	int code;

	if (!scratch)
		return LSMKV_ENOMEM;
	code = sst_read_stored(t, x->offset[i], x->offset[i + 1] - x->offset[i],
	                       scratch, err);
	if (code)
		goto done;
	stored = buf_slice(scratch);
	if (wish != CACHE_ROOM) {
		code = sst_block_peek(t, x, i, stored, false, k->key,
		                      k->version, &hit->entry, err);
		if (code < 0)
			goto done;
		if (code != LSMKV_END) {
			/* Without memory it is not kept. */
			if (wish == CACHE_TIGHT &&
			    !sst_block_keep_stored(t, x, i, stored, &b, NULL))
				cache_block_unpin(keep(t, &b->head));
			goto done;
		}
	}
	code = sst_block_make(t, x, i, stored, true, &b, err);
	if (code)
		goto done;
	if (wish != CACHE_FULL)
		b = (struct sst_block *)(void *)keep(t, &b->head);
	code = take_from_pinned(b, k, hit);
done:
	sst_scratch_trim(scratch);
	return code;
}

/* Looks into b, which is cached as it is stored. */
static int
look_into_stored(struct sst *t, const struct sst_index *x, uint32_t i,
                 const struct sought *k, struct sst_block *b,
                 struct sst_hit *hit, struct err *err)
{
	bool room = block_cache_has_room(t->cache, usual_size(t));
	struct sst_block *made;
	int code = LSMKV_END;

	if (!room)
		code = sst_block_peek(t, x, i, sst_block_stored(b), true,
		                      k->key, k->version, &hit->entry, err);
	if (code != LSMKV_END)
		return code;
	code = sst_block_make(t, x, i, sst_block_stored(b), true, &made, err);
	if (code)
		return code;
	if (room) {
		block_cache_remove(t->cache, &b->head);
		made = (struct sst_block *)(void *)keep(t, &made->head);
	}
	return take_from_pinned(made, k, hit);
}

/* The caller is inside. */
static int
get(struct sst *t, const struct sought *k, struct sst_hit *hit, struct err *err)
{
	struct cache_block *pin = NULL;
	struct sst_block *b = NULL;
	struct sst_index *x;
	enum cache_wish wish = CACHE_FULL;
	uint32_t i;
	int code = ask_filter(t, k->hash, err);

	if (!code)
		code = get_held_index(t, &x, &pin, err);
	if (code)
		return code;
	i = sst_index_seek(x, k->key, k->version);
	code = LSMKV_NOTFOUND;
	if (i == x->count)
		goto done;
	if (t->cache)
		b = (struct sst_block *)(void *)block_cache_ask(
			t->cache, t->info.number, x->offset[i], usual_size(t),
			&wish);
	if (!b)
		code = look_past_cache(t, x, i, k, wish, hit, err);
	else if (b->count)
		code = take_from(b, k, hit);
	else
		code = look_into_stored(t, x, i, k, b, hit, err);
done:
	cache_block_unpin(pin);
	return code;
}

int
sst_get(struct sst *t, struct slice key, uint64_t hash, uint64_t version,
        struct sst_hit *hit, struct err *err)
{
	const struct sought k = { key, hash, version };
	int code;

	grace_enter();
	hit->pin = NULL;
	code = get(t, &k, hit, err);
	hit->inside = !code;
	if (code)
		grace_leave();
	return code;
}

void
sst_hit_release(struct sst_hit *hit)
{
	if (!hit->inside)
		return;
	cache_block_unpin(hit->pin);
	hit->inside = false;
	grace_leave();
}
