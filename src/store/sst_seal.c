/* SPDX-License-Identifier: ISC */
/*
 * Blocks as they stand in the file: the checksum, the lengths, inflating.
 */
#include "store/sst_seal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/planted.h"

/* ---- what a thread needs to open blocks ---- */

static pthread_key_t tools_key;
static pthread_once_t tools_once = PTHREAD_ONCE_INIT;
static int tools_key_error;

static void
free_tools(void *arg)
{
	struct sst_tools *tools = (struct sst_tools *)arg;

	inflater_free(tools->inflater);
	buf_release(&tools->stored);
	buf_release(&tools->columns);
	free(tools);
}

static void
make_tools_key(void)
{
	tools_key_error = pthread_key_create(&tools_key, free_tools);
}

struct sst_tools *
sst_tools(struct err *err)
{
	struct sst_tools *tools = NULL;

	pthread_once(&tools_once, make_tools_key);
	if (!tools_key_error)
		tools = (struct sst_tools *)pthread_getspecific(tools_key);
	if (tools)
		return tools;
	tools = (struct sst_tools *)calloc(1, sizeof(*tools));
	if (tools)
		tools->inflater = inflater_new();
	if (tools && tools->inflater && !tools_key_error &&
	    !pthread_setspecific(tools_key, tools))
		return tools;
	if (tools)
		free_tools(tools);
	err_nomem(err, sizeof(*tools));
	return NULL;
}

struct buf *
sst_scratch(struct err *err)
{
	struct sst_tools *tools = sst_tools(err);

	return tools ? &tools->stored : NULL;
}

void
sst_scratch_trim(struct buf *scratch)
{
	if (scratch->cap > SST_SCRATCH_MAX)
		buf_release(scratch);
}

/* ---- trailer and payload ---- */

struct sst_sealed
sst_seal_take(struct slice stored)
{
	const unsigned char *trailer =
		stored.data + stored.len - SST_TRAILER_BYTES;

	return (struct sst_sealed){
		.payload =
			slice_make(stored.data, stored.len - SST_TRAILER_BYTES),
		.raw = get_u32(trailer + 1),
		.type = (enum sst_block_type)trailer[0],
	};
}

int
sst_seal_open(const char *name, uint64_t number, uint64_t offset,
              const char *what, struct slice stored, struct sst_sealed *s,
              struct err *err)
{
	const unsigned char *trailer;
	uint32_t crc, sum;

	if (stored.len <= SST_TRAILER_BYTES)
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 " is only %zu bytes", name,
		               what, offset, stored.len);
	trailer = stored.data + stored.len - SST_TRAILER_BYTES;
	crc = get_u32(trailer + 5);
	sum = sst_block_crc(number, offset, stored.data, stored.len - 4);
	if (crc != sum && !PLANTED("sst_block.crc_ignored"))
		return err_set(err, LSMKV_ECORRUPT,
		               "%s: %s at %" PRIu64 ": CRC is %08" PRIx32
		               ", should be %08" PRIx32,
		               name, what, offset, sum, crc);

	*s = sst_seal_take(stored);
	return 0;
}

int
sst_seal_check(const char *name, uint64_t offset, const char *what,
               const struct sst_sealed *s, enum sst_block_type most,
               struct err *err)
{
	size_t stored = s->payload.len;

	/* Packed values may all be empty. */
	if (s->type <= most && (stored || s->type == SST_PACKED) &&
	    (sst_is_deflated(s)
	             ? s->raw > stored && s->raw / SST_INFLATE_MAX <= stored
	             : s->raw == stored))
		return 0;
	return err_set(err, LSMKV_ECORRUPT,
	               "%s: %s at %" PRIu64 ": type %u, %zu bytes for %" PRIu32
	               " cannot be",
	               name, what, offset, (unsigned)s->type, stored, s->raw);
}

int
sst_seal_inflate(const char *name, uint64_t offset, const char *what,
                 const struct sst_sealed *s, unsigned char *to, struct err *err)
{
	struct sst_tools *tools;
	int code;

	if (!sst_is_deflated(s)) {
		memcpy(to, s->payload.data, s->payload.len);
		return 0;
	}
	tools = sst_tools(err);
	if (!tools)
		return LSMKV_ENOMEM;
	code = inflater_run(tools->inflater, s->payload, to, s->raw, err);
	if (code)
		err_prepend(err, "%s: %s at %" PRIu64, name, what, offset);
	return code;
}

int
sst_unseal(const char *name, uint64_t number, uint64_t offset, const char *what,
           struct slice stored, struct buf *out, struct err *err)
{
	struct sst_sealed s;
	int code = sst_seal_open(name, number, offset, what, stored, &s, err);

	if (!code)
		code = sst_seal_check(name, offset, what, &s, SST_DEFLATED,
		                      err);
	if (code)
		return code;
	buf_clear(out);
	if (buf_reserve(out, s.raw, err))
		return LSMKV_ENOMEM;
	code = sst_seal_inflate(name, offset, what, &s, out->data, err);
	if (!code)
		out->len = s.raw;
	return code;
}
