/* SPDX-License-Identifier: ISC */
/*
 * What is known of an SST as a whole: its sst_info, as MANIFEST and job
 * messages carry it, and the header, properties and footer of the file
 * itself. Pure encoding and strict decoding; the limits checked here are what
 * the reader relies on before it allocates or subtracts anything.
 */
#include <inttypes.h>

#include "store/sst_format.h"

#define FOOTER_VERSION_AT 56
#define FOOTER_CRC_AT 60
#define FOOTER_MAGIC_AT 64

void
sst_info_release(struct sst_info *info)
{
	buf_release(&info->smallest);
	buf_release(&info->largest);
}

int
sst_info_copy(struct sst_info *to, const struct sst_info *from, struct err *err)
{
	struct sst_info copy = *from;

	copy.smallest = (struct buf)BUF_INIT;
	copy.largest = (struct buf)BUF_INIT;
	if (buf_set(&copy.smallest, buf_slice(&from->smallest), err) ||
	    buf_set(&copy.largest, buf_slice(&from->largest), err)) {
		sst_info_release(&copy);
		return LSMKV_ENOMEM;
	}
	*to = copy;
	return 0;
}

/* The part that the file itself can tell. */
static int
put_content(struct buf *out, const struct sst_info *info, struct err *err)
{
	const uint64_t numbers[] = { info->entries,     info->tombstones,
		                     info->raw_bytes,   info->min_version,
		                     info->max_version, info->min_expires,
		                     info->created };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (buf_put_varint(out, numbers[i], err))
			return LSMKV_ENOMEM;
	if (buf_put_bytes(out, buf_slice(&info->smallest), err) ||
	    buf_put_bytes(out, buf_slice(&info->largest), err))
		return LSMKV_ENOMEM;
	return 0;
}

/* False with r->failed on nonsense; nothing is allocated then. */
static bool
take_content(struct reader *r, struct sst_info *info, struct err *err)
{
	struct slice smallest, largest;

	info->entries = reader_varint(r);
	info->tombstones = reader_varint(r);
	info->raw_bytes = reader_varint(r);
	info->min_version = reader_varint(r);
	info->max_version = reader_varint(r);
	info->min_expires = reader_varint(r);
	info->created = reader_varint(r);
	smallest = reader_bytes(r);
	largest = reader_bytes(r);
	if (r->failed || !info->entries || info->tombstones > info->entries ||
	    !info->min_version || info->min_version > info->max_version ||
	    info->raw_bytes < info->entries || !smallest.len ||
	    smallest.len > ENTRY_KEY_MAX || !largest.len ||
	    largest.len > ENTRY_KEY_MAX || slice_cmp(smallest, largest) > 0) {
		err_set(err, LSMKV_ECORRUPT,
		        "description of an SST is damaged");
		goto failed;
	}
	if (buf_set(&info->smallest, smallest, err) ||
	    buf_set(&info->largest, largest, err))
		goto failed;
	return true;

failed:
	sst_info_release(info);
	r->failed = true;
	return false;
}

int
sst_info_encode(const struct sst_info *info, struct buf *out, struct err *err)
{
	size_t before = out->len;

	if (buf_put_varint(out, info->number, err) ||
	    buf_put_varint(out, info->size, err) ||
	    buf_put_u32(out, info->crc, err) || put_content(out, info, err)) {
		out->len = before;
		return LSMKV_ENOMEM;
	}
	return 0;
}

bool
sst_info_decode(struct reader *r, struct sst_info *info, struct err *err)
{
	*info = (struct sst_info)SST_INFO_INIT;
	info->number = reader_varint(r);
	info->size = reader_varint(r);
	info->crc = reader_u32(r);
	if (!info->number || info->size <= SST_HEADER_BYTES + SST_FOOTER_BYTES)
		r->failed = true;
	return take_content(r, info, err);
}

int
sst_props_encode(const struct sst_props *p, struct buf *out, struct err *err)
{
	const uint64_t numbers[] = { p->blocks, p->keys, p->block_bytes,
		                     p->bits_per_key, p->deflate_level };

	if (put_content(out, &p->info, err))
		return LSMKV_ENOMEM;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (buf_put_varint(out, numbers[i], err))
			return LSMKV_ENOMEM;
	return 0;
}

int
sst_props_decode(struct slice payload, const struct sst_footer *f,
                 const char *name, struct sst_props *p, struct err *err)
{
	struct reader r = reader_make(payload);
	uint64_t data_bytes = f->filter_offset - SST_HEADER_BYTES;
	struct err cause = ERR_INIT;

	*p = (struct sst_props)SST_PROPS_INIT;
	if (!take_content(&r, &p->info, &cause)) {
		if (cause.code == LSMKV_ENOMEM)
			return err_set(err, LSMKV_ENOMEM, "%s", cause.message);
		goto damaged;
	}
	p->blocks = reader_varint(&r);
	p->keys = reader_varint(&r);
	p->block_bytes = reader_varint(&r);
	p->bits_per_key = reader_varint(&r);
	p->deflate_level = reader_varint(&r);
	if (r.failed || r.at != r.end || p->info.entries != f->entries ||
	    !p->blocks || p->blocks > data_bytes / SST_TRAILER_BYTES ||
	    p->blocks > p->info.entries || p->blocks > UINT32_MAX || !p->keys ||
	    p->keys > p->info.entries || !p->block_bytes ||
	    p->block_bytes > SST_BLOCK_BYTES_MAX ||
	    p->bits_per_key > SST_BITS_MAX ||
	    !p->bits_per_key != !f->filter_bytes || p->deflate_level > 9)
		goto damaged;
	return 0;

damaged:
	sst_info_release(&p->info);
	return err_set(err, LSMKV_ECORRUPT,
	               "%s: properties at %" PRIu64 " are damaged", name,
	               f->props_offset);
}

void
sst_header_encode(unsigned char *to)
{
	memcpy(to, SST_MAGIC, SST_MAGIC_BYTES);
	put_u32(to + 8, SST_FORMAT_VERSION);
	put_u32(to + 12, 0);
}

void
sst_footer_encode(const struct sst_footer *f, unsigned char *to)
{
	put_u64(to, f->number);
	put_u64(to + 8, f->filter_offset);
	put_u64(to + 16, f->index_offset);
	put_u64(to + 24, f->props_offset);
	put_u32(to + 32, f->filter_bytes);
	put_u32(to + 36, f->index_bytes);
	put_u32(to + 40, f->props_bytes);
	put_u32(to + 44, f->props_crc);
	put_u64(to + 48, f->entries);
	put_u32(to + FOOTER_VERSION_AT, SST_FORMAT_VERSION);
	put_u32(to + FOOTER_CRC_AT, sst_crc(to, FOOTER_CRC_AT));
	memcpy(to + FOOTER_MAGIC_AT, SST_MAGIC, SST_MAGIC_BYTES);
}

/* Do the parts follow one another without a gap up to the footer? */
static bool
parts_fit(const struct sst_footer *f, uint64_t footer_at)
{
	return f->filter_offset > SST_HEADER_BYTES + SST_TRAILER_BYTES &&
	       f->filter_offset <= footer_at && f->index_offset <= footer_at &&
	       f->props_offset <= footer_at &&
	       (!f->filter_bytes || f->filter_bytes > SST_TRAILER_BYTES) &&
	       f->index_bytes > SST_TRAILER_BYTES &&
	       f->props_bytes > SST_TRAILER_BYTES &&
	       f->index_offset == f->filter_offset + f->filter_bytes &&
	       f->props_offset == f->index_offset + f->index_bytes &&
	       footer_at == f->props_offset + f->props_bytes;
}

int
sst_footer_decode(const unsigned char *header, const unsigned char *footer,
                  uint64_t file_size, const char *name, struct sst_footer *f,
                  struct err *err)
{
	uint64_t at = file_size - SST_FOOTER_BYTES;
	uint32_t head_version = get_u32(header + 8);
	uint32_t version = get_u32(footer + FOOTER_VERSION_AT);
	uint32_t crc = get_u32(footer + FOOTER_CRC_AT);
	uint32_t sum = sst_crc(footer, FOOTER_CRC_AT);

	if (memcmp(header, SST_MAGIC, SST_MAGIC_BYTES))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: header at 0 does not begin with %s: "
		               "not an SST",
		               name, SST_MAGIC);
	if (memcmp(footer + FOOTER_MAGIC_AT, SST_MAGIC, SST_MAGIC_BYTES))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: footer at %" PRIu64
		               " does not end with %s: cut off?",
		               name, at, SST_MAGIC);
	/* Damage would have to hit both to look like a version to come. */
	if (head_version == version &&
	    (!version || version > SST_FORMAT_VERSION))
		return err_set(err, LSMKV_EVERSION,
		               "%s: header at 0: format version %" PRIu32
		               ", this program reads 1 to %u",
		               name, version, SST_FORMAT_VERSION);
	if (!head_version || head_version > SST_FORMAT_VERSION ||
	    get_u32(header + 12))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: header at 0 is damaged", name);
	if (crc != sum)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: footer at %" PRIu64 ": CRC is %08" PRIx32
		               ", should be %08" PRIx32,
		               name, at, sum, crc);

	f->number = get_u64(footer);
	f->filter_offset = get_u64(footer + 8);
	f->index_offset = get_u64(footer + 16);
	f->props_offset = get_u64(footer + 24);
	f->filter_bytes = get_u32(footer + 32);
	f->index_bytes = get_u32(footer + 36);
	f->props_bytes = get_u32(footer + 40);
	f->props_crc = get_u32(footer + 44);
	f->entries = get_u64(footer + 48);
	f->version = version;
	if (version != head_version || !f->entries || !f->number ||
	    !parts_fit(f, at))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: footer at %" PRIu64 " is damaged", name,
		               at);
	return 0;
}

/* Rotated and added to: neither goes through a CRC unchanged. */
static uint32_t
scramble(uint32_t crc)
{
	return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

uint32_t
sst_crc(const void *data, size_t len)
{
	return scramble(crc32_add(0, data, len));
}

uint32_t
sst_block_crc(uint64_t number, uint64_t offset, const void *stored, size_t len)
{
	unsigned char place[16];

	put_u64(place, number);
	put_u64(place + 8, offset);
	return scramble(
		crc32_add(crc32_add(0, place, sizeof(place)), stored, len));
}
