/* SPDX-License-Identifier: ISC */
/*
 * An SST in memory, as the reading sst_*.c files see it; private to them.
 *
 * On the disk blocks are plain sequences, because those deflate best. Loading
 * one (sst_block.c) checks all of it and builds what makes it fast to search,
 * in the same allocation. After that its bytes are trusted.
 */
#ifndef LSMKV_STORE_SST_READ_H
#define LSMKV_STORE_SST_READ_H

#include <assert.h>
#include <stdatomic.h>

#include "store/block_cache.h"
#include "store/sst_format.h"

/*
 * A data block. It may be copied to another place (block_cache.h), and so has
 * no pointers into itself: behind it stand a byte of each key's hash, so that
 * memchr finds a key, if it was made with these tags; then where each entry is
 * in the rows, ascending; then, up to its end, the rows.
 *
 * In the cache, while that is full, a block may also be as it stands on the
 * disk: a third as large, and for one look-up not much slower. Who gets it from
 * there looks at count.
 */
struct sst_block {
	struct cache_block head;
	uint64_t base_version;
	uint32_t count;   /* entries; 0: it has, instead of rows, the block as
			     it is stored, whose checksum was right */
	uint32_t rows_at; /* bytes from the beginning of the block */
	uint32_t raw;     /* bytes of its payload, inflated, and of its keys,
			     unpacked */
	uint32_t parts;   /* that its values are deflated in on the disk */
	bool packed, deflated; /* how it stands there */
	unsigned char tags[];
};

struct sst_codes; /* sst_parts.h */

/* The block index. */
struct sst_index {
	struct cache_block head;
	uint32_t count;             /* data blocks */
	uint32_t common;            /* bytes that all its keys begin with */
	const unsigned char *first; /* the first key, for these */
	const unsigned char *data;  /* raw payload, in this allocation */
	const unsigned char *end;   /* behind it */
	uint64_t *prefix;           /* of each record's key: the 8 bytes behind
					the common ones as a big-endian number,
					padded with zeros */
	uint64_t *offset;           /* of each block in the file, and of the
					end of the last */
	uint32_t *at;               /* of each record in data */
	struct sst_codes *codes;    /* of data blocks, in this allocation: made
				       by whoever reads the first of them */
};

/* The bloom filter. */
struct sst_filter {
	struct cache_block head;
	struct slice bits; /* in this allocation, on a 64-byte boundary */
};

struct sst {
	atomic_uint refs;          /* of levels, views, iterators */
	atomic_bool obsolete;      /* unlink the file at the end */
	atomic_bool cached;        /* some block of it may be in the cache */
	struct fs_file file;       /* open for reading */
	struct block_cache *cache; /* borrowed; NULL: blocks are not kept */
	/* Held in the cache (block_cache_hold) once set; NULL: not held. */
	_Atomic(struct cache_block *) filter;
	_Atomic(struct cache_block *) index;
	struct sst_info info; /* owned */
	struct sst_footer footer;
	uint32_t blocks;    /* data blocks; at least 1 */
	size_t block_bytes; /* raw bytes of one with several entries */
	uint64_t keys;      /* different ones */
};

/* What the index says of one block. */
struct sst_index_record {
	struct slice key; /* (key, version) is at or behind its last entry, and
			      before the first of the next block */
	uint64_t version;
	uint64_t stored; /* bytes in the file, trailer included */
	uint64_t count;  /* entries */
};

/* ---- loading: checks everything (sst_block.c) ---- */

/*
 * Makes data block i of what was read at its place, with tags or, where it is
 * only walked, without. One private pin; the caller may hand it to the cache
 * instead (with tags).
 */
int sst_block_make(struct sst *t, const struct sst_index *x, uint32_t i,
                   struct slice stored, bool tags, struct sst_block **out,
                   struct err *err);
/*
 * Keeps data block i as it stands on the disk, which has been looked into: its
 * checksum is right. One private pin.
 */
int sst_block_keep_stored(struct sst *t, const struct sst_index *x, uint32_t i,
                          struct slice stored, struct sst_block **out,
                          struct err *err);
/*
 * Looks for the newest version <= version of key in data block i without
 * making it (sst_peek.c); checked: its checksum is known to be right. 0 and *e, whose key is key itself and whose value is
 * good until this thread looks at a block again, or LSMKV_NOTFOUND; LSMKV_END:
 * it does not know, make the block.
 */
int sst_block_peek(struct sst *t, const struct sst_index *x, uint32_t i,
                   struct slice stored, bool checked, struct slice key,
                   uint64_t version, struct entry *e, struct err *err);
int sst_index_make(struct sst *t, struct slice stored, struct sst_index **out,
                   struct err *err);
int sst_filter_make(struct sst *t, struct slice stored, struct sst_filter **out,
                    struct err *err);
/* The last type of block that t may have. */
enum sst_block_type sst_last_type(const struct sst *t);

/* ---- searching ---- */

static inline const unsigned char *
sst_block_rows(const struct sst_block *b)
{
	return (const unsigned char *)b + b->rows_at;
}

/* What one that was not made has instead of them. */
static inline struct slice
sst_block_stored(const struct sst_block *b)
{
	return slice_make(sst_block_rows(b), b->head.size - b->rows_at);
}

/* Of each entry in the rows. */
static inline const uint32_t *
sst_block_at(const struct sst_block *b)
{
	return (const uint32_t *)(const void *)sst_block_rows(b) - b->count;
}

/* Entry i < count. */
static inline void
sst_block_entry(const struct sst_block *b, uint32_t i, struct entry *e)
{
	struct reader r = { sst_block_rows(b) + sst_block_at(b)[i],
		            (const unsigned char *)b + b->head.size, false };
	bool fine = entry_decode(&r, b->base_version, e);

	/* Loading has decoded it once. */
	assert(fine);
}

/* The first entry at or behind (key, version); count if there is none. */
uint32_t sst_block_seek(const struct sst_block *b, struct slice key,
                        uint64_t version);
/* Record i < count. */
void sst_index_record(const struct sst_index *x, uint32_t i,
                      struct sst_index_record *record);
/*
 * The only block that may hold the first entry at or behind (key, version),
 * unless that is the first of the block behind it; count if there is none.
 */
uint32_t sst_index_seek(const struct sst_index *x, struct slice key,
                        uint64_t version);

/* ---- reading (sst_read.c) ---- */

/*
 * A stretch of the file in memory, for those who read one block after the
 * other past the cache: it grows with every block in a row.
 */
struct sst_window {
	struct buf bytes; /* owned */
	uint64_t offset;  /* in the file, of the first of them */
	uint64_t ahead;   /* bytes to read next time; 0 after a jump: no more
			      than what is asked for */
};

#define SST_WINDOW_INIT                                                        \
	{                                                                      \
		BUF_INIT, 0, 0                                                 \
	}

/*
 * [offset, offset + len) of the data blocks; *out is good until the next
 * call. backward: the caller walks towards the start.
 */
int sst_window_read(struct sst *t, struct sst_window *w, uint64_t offset,
                    uint64_t len, bool backward, struct slice *out,
                    struct err *err);

/*
 * Opens the file and reads its header, properties and footer: all of info but
 * the crc. No cache. One reference.
 */
int sst_open_file(struct sst **out, struct fs_dir *dir, uint64_t number,
                  struct err *err);
/* Reads [offset, offset + len) of the file into out, replacing its content. */
int sst_read_stored(struct sst *t, uint64_t offset, uint64_t len,
                    struct buf *out, struct err *err);

/* Pinned, out of the cache or else from the disk; kept there if `fill`. */
int sst_get_index(struct sst *t, bool fill, struct sst_index **out,
                  struct err *err);
/*
 * Data block i, pinned, out of the cache or else from the disk: kept there, or
 * read through the window past_cache, if it is not NULL.
 */
/*
 * Data block i, pinned, if it is cached; else NULL. (One that is there as it is
 * stored is made, without tags, for the caller alone, and charged.)
 */
int sst_cached_block(struct sst *t, const struct sst_index *x, uint32_t i,
                     struct sst_block **out, struct err *err);
int sst_get_block(struct sst *t, const struct sst_index *x, uint32_t i,
                  struct sst_window *past_cache, bool backward,
                  struct sst_block **out, struct err *err);

#endif
