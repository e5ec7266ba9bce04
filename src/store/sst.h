/* SPDX-License-Identifier: ISC */
/*
 * SST: an immutable sorted file of entries (doc/format.md, "SST").
 *
 *     header | data block ... | bloom filter | block index | properties | footer
 *
 * The writer makes NNNNNN.sst.tmp, fsyncs it and renames it: a crash never
 * leaves half an SST under a live name. The reader verifies the CRC of every
 * block that comes from the disk before it inflates it. Blocks, index and
 * filter live in the block cache; a reader holds nothing else but its file
 * descriptor and its sst_info, so that one figure caps the memory of all.
 * (Index and filter stay there while the SST is open, up to half of it.)
 */
#ifndef LSMKV_STORE_SST_H
#define LSMKV_STORE_SST_H

#include "base/fsio.h"
#include "store/entry.h"
#include "store/iter.h"

#define SST_FORMAT_VERSION 4u /* written; those below are read, too */

/* What MANIFEST and job messages say of an SST. Owns its keys. */
struct sst_info {
	uint64_t number;  /* of the file */
	uint64_t size;    /* bytes of the file */
	uint32_t crc;     /* CRC-32 of the whole file */
	uint64_t entries; /* tombstones included; at least 1 */
	uint64_t tombstones;
	uint64_t raw_bytes; /* keys and values before compression */
	uint64_t min_version;
	uint64_t max_version;
	uint64_t min_expires; /* earliest expiry time; 0: none expires */
	uint64_t created;     /* epoch second of writing */
	struct buf smallest;  /* first key */
	struct buf largest;   /* last key */
};

#define SST_INFO_INIT                                                          \
	{                                                                      \
		0                                                              \
	}

void sst_info_release(struct sst_info *info);
int sst_info_copy(struct sst_info *to, const struct sst_info *from,
                  struct err *err);
/* The one encoding of it, for MANIFEST and job messages. */
int sst_info_encode(const struct sst_info *info, struct buf *out,
                    struct err *err);
/* False with r->failed on nonsense; `info` is then released. */
bool sst_info_decode(struct reader *r, struct sst_info *info, struct err *err);

/* ---- writing (sst_write.c) ---- */

struct sst_options {
	size_t block_bytes;    /* a data block closes at this many raw bytes */
	unsigned bits_per_key; /* of the bloom filter; 0: no filter */
	int deflate_level;     /* DEFLATE_FAST..9; 0: raw blocks */
};

struct sst_writer;

/* Creates the temporary file. dir outlives the writer. */
int sst_writer_open(struct sst_writer **out, struct fs_dir *dir,
                    uint64_t number, const struct sst_options *options,
                    struct err *err);
/* Adds an entry; entries come in store order (LSMKV_EINVAL otherwise). */
int sst_writer_add(struct sst_writer *w, const struct entry *e,
                   struct err *err);
/* Bytes of the file so far, the open block estimated. */
uint64_t sst_writer_bytes(const struct sst_writer *w);
/*
 * Writes the rest, fsyncs the file and renames it to its final name; the
 * caller fsyncs the directory. Fills info (released by the caller). Frees the
 * writer, whatever the outcome; on an error nothing stays on disk.
 */
int sst_writer_finish(struct sst_writer *w, struct sst_info *info,
                      struct err *err);
/* Removes the temporary file and frees the writer. NULL allowed. */
void sst_writer_abort(struct sst_writer *w);

/* ---- reading (sst_read.c) ---- */

struct block_cache;
struct cache_block;
struct readahead_pool;
struct sst; /* an open SST, reference-counted, shared by threads */

/*
 * Opens the file that info describes (its numbers, keys and counts are
 * copied and held against the footer: LSMKV_ECORRUPT, with file and offset,
 * where they differ). cache outlives the SST. One reference.
 */
int sst_open(struct sst **out, struct fs_dir *dir, const struct sst_info *info,
             struct block_cache *cache, struct err *err);
/*
 * Fills info from the file's own properties, for verify and dump, which may
 * have no MANIFEST to ask. info->crc is computed by reading the whole file.
 */
int sst_info_read(struct fs_dir *dir, uint64_t number, struct sst_info *info,
                  struct err *err);
const struct sst_info *sst_info_of(const struct sst *t);
uint32_t sst_format_version(const struct sst *t); /* of the file */
struct sst *sst_ref(struct sst *t);
/* The last one closes the file, and unlinks it if it is obsolete. */
void sst_unref(struct sst *t);
/* The MANIFEST no longer names it: remove the file once nobody reads it. */
void sst_set_obsolete(struct sst *t);
bool sst_is_obsolete(const struct sst *t);

/*
 * Loads filter and index, so that the first reader need not. Nothing is
 * promised: what cannot be had now is told to whoever needs it.
 */
void sst_warm(struct sst *t);

/* What sst_get found. */
struct sst_hit {
	struct entry entry; /* good until the hit is released, or this
				    thread calls a function of this header */
	bool inside; /* there is something to release: the thread is inside
			(grace.h), and what the entry points into is in the
			cache, or */
	struct cache_block *pin; /* this block, or if that is NULL, memory of
				    this thread, and key is the key that was
				    asked for */
};

/* The hash of a key as the bloom filter wants it (XXH3, 64 bits, seed 0). */
uint64_t sst_key_hash(struct slice key);
/*
 * The newest version of key that is <= version: 0 and *hit (release it with
 * sst_hit_release, soon, in the same thread), or LSMKV_NOTFOUND. Tombstones and
 * expired entries are found like all others. hash is sst_key_hash(key).
 */
int sst_get(struct sst *t, struct slice key, uint64_t hash, uint64_t version,
            struct sst_hit *hit, struct err *err);
void sst_hit_release(struct sst_hit *hit); /* nothing, if not inside */

/*
 * An iterator over all entries. It holds a reference. With `fill_cache` off,
 * blocks that are not cached are read past the cache, sequentially, with
 * readahead (compaction, long scans, verify).
 */
int sst_iter_new(struct iter **out, struct sst *t, bool fill_cache,
                 struct err *err);
/*
 * Has long walks of the iterator helped by threads of p (readahead.h), which
 * outlives it. NULL: by nobody.
 */
void sst_iter_read_ahead(struct iter *it, struct readahead_pool *p);

/*
 * Reads everything and checks everything: CRC of the file against info, each
 * block's CRC and decoding, store order, index against blocks, every key
 * against the filter, counts, versions and key range against the properties.
 * progress(arg, bytes so far) is called now and then (NULL allowed); a
 * non-zero answer stops with LSMKV_ESHUTDOWN. LSMKV_ECORRUPT names file and offset.
 */
int sst_check(struct sst *t, int (*progress)(void *arg, uint64_t bytes),
              void *arg, struct err *err);

/*
 * Where sst_check stops at the first damage, this goes on: reads every data
 * block and calls damaged(arg, message) for each that its own checksum and
 * content prove wrong; the message names file and offset. An error is only
 * what keeps it from reading the blocks at all.
 */
int sst_damaged_blocks(struct sst *t,
                       void (*damaged)(void *arg, const char *message),
                       void *arg, struct err *err);

/* One block as dump prints it. */
struct sst_block_info {
	uint64_t offset; /* in the file */
	uint32_t stored; /* bytes on disk, trailer included */
	uint32_t raw;    /* bytes once inflated and unpacked */
	bool packed;     /* its numbers and keys */
	bool deflated;
	uint32_t parts; /* in which its values are deflated; 0: as one */
	uint32_t entries;
	struct slice first; /* its first key, valid during the call */
};
/* Calls each for every data block in file order; stops when it is not 0. */
int sst_blocks(struct sst *t,
               int (*each)(void *arg, const struct sst_block_info *b),
               void *arg, struct err *err);

#endif
