/* SPDX-License-Identifier: ISC */
/*
 * A block as it stands in the file: payload and trailer; private to the
 * reading sst_*.c files. What opens one is right up to its checksum, and not
 * believed in anything else.
 */
#ifndef LSMKV_STORE_SST_SEAL_H
#define LSMKV_STORE_SST_SEAL_H

#include "base/inflate_prefix.h"
#include "store/sst_format.h"

#define SST_SCRATCH_MAX                                                        \
	(256u << 10) /* bytes that a thread keeps for the next */

/* What a thread needs to open blocks. */
struct sst_tools {
	struct inflater *inflater;  /* owned */
	struct inflate_codes codes; /* for what is inflated without it */
	struct buf stored;          /* a block as it stands in the file */
	struct buf columns; /* a payload, inflated, and keys, unpacked */
};

/* This thread's, which end with it; NULL when out of memory. */
struct sst_tools *sst_tools(struct err *err);

/* A block as its trailer describes it; the CRC was right. */
struct sst_sealed {
	struct slice payload; /* as stored, with what stands around it */
	uint32_t raw;         /* bytes once inflated, without that */
	enum sst_block_type type;
};

static inline bool
sst_is_deflated(const struct sst_sealed *s)
{
	return s->type == SST_DEFLATED || s->type == SST_COLUMNS_DEFLATED ||
	       s->type == SST_PACKED_DEFLATED || s->type == SST_PACKED_PARTS;
}

static inline bool
sst_is_packed(const struct sst_sealed *s)
{
	return s->type >= SST_PACKED && s->type <= SST_PACKED_PARTS;
}

/* Of a block whose checksum was right before. */
struct sst_sealed sst_seal_take(struct slice stored);
/* The checksum; name and what are the file's and the block's, for messages. */
int sst_seal_open(const char *name, uint64_t number, uint64_t offset,
                  const char *what, struct slice stored, struct sst_sealed *s,
                  struct err *err);
/*
 * Can its type and lengths be, where types up to `most` can? By now nothing
 * stands around the payload any more.
 */
int sst_seal_check(const char *name, uint64_t offset, const char *what,
                   const struct sst_sealed *s, enum sst_block_type most,
                   struct err *err);
/* Writes the raw bytes to `to`, which has room for them. */
int sst_seal_inflate(const char *name, uint64_t offset, const char *what,
                     const struct sst_sealed *s, unsigned char *to,
                     struct err *err);

/*
 * This thread's buffer for a block as it stands in the file; NULL when out of
 * memory. Nothing in it outlives the next use. Trimmed, it gives back what
 * only a big block needed.
 */
struct buf *sst_scratch(struct err *err);
void sst_scratch_trim(struct buf *scratch);
/*
 * Checks a block's trailer and inflates it into out (replacing its content).
 * what names it in messages.
 */
int sst_unseal(const char *name, uint64_t number, uint64_t offset,
               const char *what, struct slice stored, struct buf *out,
               struct err *err);

#endif
