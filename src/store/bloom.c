/* SPDX-License-Identifier: ISC */
/*
 * The filter's bytes: lines of 64 bytes, and behind them one byte with the
 * number of probes. The upper half of a hash chooses the line, the lower half
 * the bits in it: each probe takes the top nine bits and multiplies on by the
 * golden ratio. Part of the SST format: changing any of it takes a new format
 * version.
 */
#include "store/bloom.h"

#define LINE_BITS_SHIFT (32 - 9) /* the top 9 bits of 32: one of 512 */
#define PROBES_MAX 30u
#define GOLDEN 0x9e3779b9u

static size_t
line_of(uint64_t hash, size_t lines)
{
	/* Maps 32 bits evenly onto the lines without a division. */
	return (size_t)(((hash >> 32) * (uint64_t)lines) >> 32);
}

/* Fewer probes than the textbook's ln 2: within one line more soon hurt. */
static unsigned
probes_for(unsigned bits_per_key)
{
	unsigned probes = (bits_per_key * 6 + 5) / 10;

	return probes < 1 ? 1 : probes > PROBES_MAX ? PROBES_MAX : probes;
}

int
bloom_build(const uint64_t *hashes, size_t n, unsigned bits_per_key,
            struct buf *out, struct err *err)
{
	const size_t line_bits = (size_t)BLOOM_LINE * 8;
	unsigned probes = probes_for(bits_per_key);
	unsigned char *lines;
	size_t count, bytes;

	if (n > UINT32_MAX / (bits_per_key + 1))
		return err_set(err, LSMKV_ETOOBIG,
		               "a filter over %zu keys is too big", n);
	count = (n * bits_per_key + line_bits - 1) / line_bits;
	if (!count)
		count = 1;
	bytes = count * BLOOM_LINE + 1;
	if (buf_reserve(out, bytes, err))
		return LSMKV_ENOMEM;

	lines = out->data + out->len;
	memset(lines, 0, bytes);
	for (size_t i = 0; i < n; i++) {
		unsigned char *line =
			lines + line_of(hashes[i], count) * BLOOM_LINE;
		uint32_t h = (uint32_t)hashes[i];

		for (unsigned k = 0; k < probes; k++, h *= GOLDEN) {
			uint32_t bit = h >> LINE_BITS_SHIFT;

			line[bit >> 3] |= (unsigned char)(1u << (bit & 7));
		}
	}
	lines[bytes - 1] = (unsigned char)probes;
	out->len += bytes;
	return 0;
}

bool
bloom_valid(struct slice filter)
{
	return filter.len > BLOOM_LINE && filter.len % BLOOM_LINE == 1 &&
	       filter.data[filter.len - 1] >= 1 &&
	       filter.data[filter.len - 1] <= PROBES_MAX;
}

bool
bloom_may_contain(struct slice filter, uint64_t hash)
{
	const unsigned char *line;
	uint32_t h = (uint32_t)hash;
	unsigned probes;

	if (!filter.len)
		return true;
	probes = filter.data[filter.len - 1];
	line = filter.data +
	       line_of(hash, filter.len / BLOOM_LINE) * BLOOM_LINE;
	for (unsigned k = 0; k < probes; k++, h *= GOLDEN) {
		uint32_t bit = h >> LINE_BITS_SHIFT;

		if (!(line[bit >> 3] & 1u << (bit & 7)))
			return false;
	}
	return true;
}
