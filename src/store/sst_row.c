/* SPDX-License-Identifier: ISC */
/* Deflating rows: which encoder, and is it worth it? See the header. */
#include "store/sst_row.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/deflate_long.h"

#define LONG_BYTES 1024u /* of a row, for the encoder of long texts */
#define LONG_LEAST 16u   /* of such a row: less is not worth inflating it */
#define TRIAL_EVERY 64u  /* such rows: which encoder is better? */
#define TRIAL_BYTES (64u << 10)
#define TRIAL_MATCHES 32u /* bytes a match: with more matches it is slower */
#define TRIAL_SHARE 256u  /* of a row: so much larger may it make it below 0 */

struct sst_rows {
	struct deflater *deflater; /* borrowed */
	bool dense; /* what packs well goes before what is fast */
	struct deflate_long *encoder; /* of long rows; made when needed */
	uint64_t count;               /* long rows so far */
	bool use_encoder;             /* what the last trial said */
	struct buf trial;             /* a row that is only to be measured */
};

struct sst_rows *
sst_rows_new(struct deflater *deflater, int level)
{
	struct sst_rows *rows = (struct sst_rows *)calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->deflater = deflater;
	rows->dense = level > DEFLATE_FAST;
	return rows;
}

void
sst_rows_free(struct sst_rows *rows)
{
	if (!rows)
		return;
	deflate_long_free(rows->encoder);
	buf_release(&rows->trial);
	free(rows);
}

/* Appends raw to out with one of the encoders. */
static int
run(struct sst_rows *rows, bool use_encoder, struct slice raw, struct buf *out,
    struct err *err)
{
	return use_encoder ? deflate_long_run(rows->encoder, raw, out, err)
	                   : deflater_run(rows->deflater, raw, out, err);
}

/* *bytes: what raw takes then. */
static int
measure(struct sst_rows *rows, bool use_encoder, struct slice raw,
        size_t *bytes, struct err *err)
{
	int code;

	buf_clear(&rows->trial);
	code = run(rows, use_encoder, raw, &rows->trial, err);
	*bytes = code ? raw.len : rows->trial.len;
	return code < 0 ? code : 0;
}

/*
 * Which encoder is for long rows? In level 0 the faster one; below, the one
 * for long texts where it packs as well, as it does where there are hardly any
 * matches to be found. Neighbours are alike: one row in many tells, and of a
 * large one a piece of its middle.
 */
static int
choose(struct sst_rows *rows, struct slice raw, struct err *err)
{
	size_t fast, dense;
	int code;

	if (rows->count++ % TRIAL_EVERY)
		return 0;
	if (!rows->encoder)
		rows->encoder = deflate_long_new();
	if (!rows->encoder)
		return err_set(err, LSMKV_ENOMEM, "out of memory");
	if (raw.len > TRIAL_BYTES)
		raw = slice_make(raw.data + (raw.len - TRIAL_BYTES) / 2,
		                 TRIAL_BYTES);
	code = measure(rows, true, raw, &fast, err);
	if (code)
		return code;
	rows->use_encoder =
		deflate_long_matches(rows->encoder) <= raw.len / TRIAL_MATCHES;
	if (!rows->dense || !rows->use_encoder)
		return 0;
	code = measure(rows, false, raw, &dense, err);
	rows->use_encoder = fast <= dense + dense / TRIAL_SHARE;
	return code;
}

int
sst_rows_deflate(struct sst_rows *rows, struct slice raw, struct buf *out,
                 struct err *err)
{
	size_t before = out->len;
	int code;

	if (raw.len < LONG_BYTES)
		return deflater_run(rows->deflater, raw, out, err);
	code = choose(rows, raw, err);
	if (code)
		return code;
	code = run(rows, rows->use_encoder, raw, out, err);
	if (!code && out->len - before > raw.len - raw.len / LONG_LEAST) {
		out->len = before;
		code = LSMKV_END;
	}
	return code;
}
