/* SPDX-License-Identifier: ISC */
/*
 * The messages of a job, to bytes and back. doc/format.md, "Job".
 *
 * The parent trusts no helper and the helper no parent: a decoder accepts
 * only what its encoder can have written and what obeys the order that the
 * comments in job.h promise, because the merge relies on that order.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "store/job.h"

static const unsigned char magic[4] = { 'L', 'K', 'V', 'J' };

/* ---- release ---- */

static void
range_release(struct key_range *range)
{
	buf_release(&range->smallest);
	buf_release(&range->largest);
}

void
job_release(struct job *job)
{
	buf_release(&job->dir);
	for (size_t i = 0; i < job->input_count; i++)
		sst_info_release(&job->inputs[i].info);
	free(job->inputs);
	free(job->snapshots);
	for (size_t i = 0; i < job->deeper_count; i++)
		range_release(&job->deeper[i]);
	free(job->deeper);
	for (size_t i = 0; i < job->grandparent_count; i++)
		buf_release(&job->grandparents[i].largest);
	free(job->grandparents);
	*job = (struct job)JOB_INIT;
}

void
job_result_release(struct job_result *r)
{
	for (size_t i = 0; i < r->output_count; i++)
		sst_info_release(&r->outputs[i].info);
	free(r->outputs);
	*r = (struct job_result)JOB_RESULT_INIT;
}

/* ---- frames ---- */

static int
frame_append(struct buf *out, enum job_kind kind, struct slice payload,
             struct err *err)
{
	unsigned char head[JOB_FRAME_HEAD];
	uint32_t crc;
	int rc;

	if (payload.len > JOB_PAYLOAD_MAX)
		return err_set(err, LSMKV_ETOOBIG, "a job message of %zu bytes",
		               payload.len);
	memcpy(head, magic, sizeof(magic));
	put_u32(head + 4, JOB_FORMAT_VERSION);
	put_u32(head + 8, (uint32_t)kind);
	put_u32(head + 12, (uint32_t)payload.len);
	crc = crc32_add(0, head, sizeof(head));
	crc = crc32_add(crc, payload.data, payload.len);
	rc = buf_reserve(out, sizeof(head) + payload.len + 4, err);
	if (!rc)
		rc = buf_append(out, head, sizeof(head), err);
	if (!rc)
		rc = buf_append_slice(out, payload, err);
	return rc ? rc : buf_put_u32(out, crc, err);
}

int
job_frame(struct slice in, size_t *at, enum job_kind *kind,
          struct slice *payload, struct err *err)
{
	const unsigned char *from = in.data + *at;
	size_t left = in.len - *at, whole;
	uint32_t version, length;

	if (left && memcmp(from, magic,
	                   left < sizeof(magic) ? left : sizeof(magic)) != 0)
		return err_set(err, LSMKV_ECORRUPT,
		               "job message: not one of ours");
	if (left < JOB_FRAME_HEAD)
		return LSMKV_END;
	version = get_u32(from + 4);
	length = get_u32(from + 12);
	if (version != JOB_FORMAT_VERSION)
		return err_set(err, LSMKV_EVERSION,
		               "job message of version %" PRIu32
		               ", this program speaks %u: lsmkv.fcgi and "
		               "lsmkv-compact must be of one release",
		               version, JOB_FORMAT_VERSION);
	if (length > JOB_PAYLOAD_MAX)
		return err_set(err, LSMKV_ECORRUPT,
		               "job message of %" PRIu32 " bytes", length);
	whole = JOB_FRAME_HEAD + (size_t)length;
	if (left < whole + 4)
		return LSMKV_END;
	if (crc32_add(0, from, whole) != get_u32(from + whole))
		return err_set(err, LSMKV_ECORRUPT,
		               "job message: its checksum does not match");
	*kind = (enum job_kind)get_u32(from + 8);
	*payload = slice_make(from + JOB_FRAME_HEAD, length);
	*at += whole + 4;
	return 0;
}

/* ---- the job, encoding it ---- */

static int
put_job_head(const struct job *job, struct buf *b, struct err *err)
{
	const uint64_t head[] = {
		job->output_level,
		job->first_output,
		job->output_count,
		job->file_bytes,
		job->sst.block_bytes,
		job->sst.bits_per_key,
		(uint64_t)job->sst.deflate_level,
		job->now,
		job->grandparent_limit,
	};
	int rc = buf_put_bytes(b, buf_slice(&job->dir), err);

	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]) && !rc; i++)
		rc = buf_put_varint(b, head[i], err);
	return rc;
}

static int
put_job_lists(const struct job *job, struct buf *b, struct err *err)
{
	int rc = buf_put_varint(b, job->snapshot_count, err);

	for (size_t i = 0; i < job->snapshot_count && !rc; i++)
		rc = buf_put_varint(b, job->snapshots[i], err);
	if (!rc)
		rc = buf_put_varint(b, job->input_count, err);
	for (size_t i = 0; i < job->input_count && !rc; i++) {
		rc = buf_put_u8(b, (uint8_t)job->inputs[i].level, err);
		if (!rc)
			rc = sst_info_encode(&job->inputs[i].info, b, err);
	}
	if (!rc)
		rc = buf_put_varint(b, job->deeper_count, err);
	for (size_t i = 0; i < job->deeper_count && !rc; i++) {
		rc = buf_put_bytes(b, buf_slice(&job->deeper[i].smallest), err);
		if (!rc)
			rc = buf_put_bytes(
				b, buf_slice(&job->deeper[i].largest), err);
	}
	if (!rc)
		rc = buf_put_varint(b, job->grandparent_count, err);
	for (size_t i = 0; i < job->grandparent_count && !rc; i++) {
		rc = buf_put_bytes(b, buf_slice(&job->grandparents[i].largest),
		                   err);
		if (!rc)
			rc = buf_put_varint(b, job->grandparents[i].bytes, err);
	}
	return rc;
}

int
job_encode(const struct job *job, struct buf *out, struct err *err)
{
	struct buf payload = BUF_INIT;
	int rc = put_job_head(job, &payload, err);

	if (!rc)
		rc = put_job_lists(job, &payload, err);
	if (!rc)
		rc = frame_append(out, JOB_START, buf_slice(&payload), err);
	buf_release(&payload);
	return rc;
}

/* ---- decoding it ---- */

static int
nonsense(struct err *err, const char *what)
{
	return err_set(err, LSMKV_ECORRUPT, "job message: %s makes no sense",
	               what);
}

/*
 * A count of things that take at least min_bytes each, and room for them, all
 * zero. *array stays NULL when there are none.
 */
static int
take_count(struct reader *r, size_t min_bytes, size_t size, size_t *count,
           void **array, struct err *err)
{
	uint64_t n = reader_varint(r);

	*count = 0;
	if (r->failed || n > reader_left(r) / min_bytes)
		return nonsense(err, "a count");
	if (!n)
		return 0;
	*array = calloc((size_t)n, size);
	if (!*array)
		return err_nomem(err, (size_t)n * size);
	*count = (size_t)n;
	return 0;
}

static int
take_info(struct reader *r, struct sst_info *info, struct err *err)
{
	struct err detail = ERR_INIT;

	if (sst_info_decode(r, info, &detail))
		return 0;
	if (detail.code == LSMKV_ENOMEM)
		return err_nomem(err, sizeof(*info));
	return nonsense(err, "what it says of an SST");
}

static int
take_key(struct reader *r, struct buf *key, struct err *err)
{
	struct slice s = reader_bytes(r);

	if (r->failed || !s.len || s.len > ENTRY_KEY_MAX)
		return nonsense(err, "a key");
	return buf_set(key, s, err);
}

static int
take_job_head(struct reader *r, struct job *job, struct err *err)
{
	struct slice dir = reader_bytes(r);
	uint64_t level, outputs, block, bits, deflate;

	level = reader_varint(r);
	job->first_output = reader_varint(r);
	outputs = reader_varint(r);
	job->file_bytes = reader_varint(r);
	block = reader_varint(r);
	bits = reader_varint(r);
	deflate = reader_varint(r);
	job->now = reader_varint(r);
	job->grandparent_limit = reader_varint(r);
	if (r->failed)
		return nonsense(err, "its length");
	if (!dir.len || dir.data[0] != '/' || memchr(dir.data, 0, dir.len))
		return nonsense(err, "the directory");
	if (!level || level >= LEVELS_MAX)
		return nonsense(err, "the output level");
	if (!outputs || outputs > JOB_OUTPUTS_MAX || !job->first_output ||
	    job->first_output > UINT64_MAX - outputs)
		return nonsense(err, "the outputs' numbers");
	if (!job->file_bytes || !block || block > ENTRY_VALUE_MAX ||
	    bits > 1024 || deflate > 9)
		return nonsense(err, "how outputs are to be written");
	job->output_level = (unsigned)level;
	job->output_count = (unsigned)outputs;
	job->sst.block_bytes = (size_t)block;
	job->sst.bits_per_key = (unsigned)bits;
	job->sst.deflate_level = (int)deflate;
	return buf_set(&job->dir, dir, err);
}

static int
take_snapshots(struct reader *r, struct job *job, struct err *err)
{
	void *array = NULL;
	int rc = take_count(r, 1, sizeof(*job->snapshots), &job->snapshot_count,
	                    &array, err);

	job->snapshots = array;
	for (size_t i = 0; i < job->snapshot_count && !rc; i++) {
		job->snapshots[i] = reader_varint(r);
		if (r->failed ||
		    (i && job->snapshots[i] < job->snapshots[i - 1]))
			rc = nonsense(err, "the list of snapshots");
	}
	return rc;
}

/* Inputs in the order that the merge needs, or not at all. */
static bool
in_order(const struct job_input *a, const struct job_input *b)
{
	if (a->level != b->level)
		return a->level < b->level;
	if (!a->level)
		return a->info.min_version > b->info.max_version;
	return slice_cmp(buf_slice(&a->info.largest),
	                 buf_slice(&b->info.smallest)) < 0;
}

static int
take_inputs(struct reader *r, struct job *job, struct err *err)
{
	void *array = NULL;
	int rc = take_count(r, 2, sizeof(*job->inputs), &job->input_count,
	                    &array, err);

	job->inputs = array;
	if (!rc && !job->input_count)
		rc = nonsense(err, "a job without inputs");
	for (size_t i = 0; i < job->input_count && !rc; i++) {
		struct job_input *input = &job->inputs[i];

		input->level = reader_u8(r);
		rc = take_info(r, &input->info, err);
		if (!rc && (input->level > job->output_level ||
		            (i && !in_order(input - 1, input))))
			rc = nonsense(err, "the order of inputs");
	}
	return rc;
}

static int
take_deeper(struct reader *r, struct job *job, struct err *err)
{
	void *array = NULL;
	int rc = take_count(r, 4, sizeof(*job->deeper), &job->deeper_count,
	                    &array, err);

	job->deeper = array;
	for (size_t i = 0; i < job->deeper_count && !rc; i++) {
		struct key_range *range = &job->deeper[i];

		rc = take_key(r, &range->smallest, err);
		if (!rc)
			rc = take_key(r, &range->largest, err);
		if (rc)
			break;
		if (slice_cmp(buf_slice(&range->smallest),
		              buf_slice(&range->largest)) > 0 ||
		    (i && slice_cmp(buf_slice(&range[-1].largest),
		                    buf_slice(&range->smallest)) >= 0))
			rc = nonsense(err, "the order of deeper ranges");
	}
	return rc;
}

static int
take_grandparents(struct reader *r, struct job *job, struct err *err)
{
	void *array = NULL;
	int rc = take_count(r, 3, sizeof(*job->grandparents),
	                    &job->grandparent_count, &array, err);

	job->grandparents = array;
	for (size_t i = 0; i < job->grandparent_count && !rc; i++) {
		struct job_grandparent *g = &job->grandparents[i];

		rc = take_key(r, &g->largest, err);
		g->bytes = reader_varint(r);
		if (!rc && (r->failed ||
		            (i && slice_cmp(buf_slice(&g[-1].largest),
		                            buf_slice(&g->largest)) >= 0)))
			rc = nonsense(err, "the order of grandparents");
	}
	return rc;
}

int
job_decode(struct slice payload, struct job *job, struct err *err)
{
	struct reader r = reader_make(payload);
	int rc;

	*job = (struct job)JOB_INIT;
	rc = take_job_head(&r, job, err);
	if (!rc)
		rc = take_snapshots(&r, job, err);
	if (!rc)
		rc = take_inputs(&r, job, err);
	if (!rc)
		rc = take_deeper(&r, job, err);
	if (!rc)
		rc = take_grandparents(&r, job, err);
	if (!rc && (r.failed || reader_left(&r)))
		rc = nonsense(err, "its length");
	if (rc)
		job_release(job);
	return rc;
}

/* ---- the answers ---- */

int
job_progress_encode(uint64_t done, struct buf *out, struct err *err)
{
	unsigned char payload[VARINT_MAX];
	unsigned char *end = put_varint(payload, done);

	return frame_append(out, JOB_PROGRESS,
	                    slice_make(payload, (size_t)(end - payload)), err);
}

int
job_progress_decode(struct slice payload, uint64_t *done, struct err *err)
{
	struct reader r = reader_make(payload);

	*done = reader_varint(&r);
	return r.failed || reader_left(&r) ? nonsense(err, "a progress") : 0;
}

int
job_result_encode(const struct job_result *result, struct buf *out,
                  struct err *err)
{
	const uint64_t head[] = { result->entries_in, result->entries_out,
		                  result->shadowed,   result->expired,
		                  result->tombstones, result->output_count };
	struct buf payload = BUF_INIT;
	int rc = 0;

	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]) && !rc; i++)
		rc = buf_put_varint(&payload, head[i], err);
	for (size_t i = 0; i < result->output_count && !rc; i++) {
		rc = sst_info_encode(&result->outputs[i].info, &payload, err);
		if (!rc)
			rc = buf_put_varint(&payload,
			                    result->outputs[i].retained, err);
	}
	if (!rc)
		rc = frame_append(out, JOB_RESULT, buf_slice(&payload), err);
	buf_release(&payload);
	return rc;
}

int
job_result_decode(struct slice payload, struct job_result *result,
                  struct err *err)
{
	struct reader r = reader_make(payload);
	void *array = NULL;
	int rc;

	*result = (struct job_result)JOB_RESULT_INIT;
	result->entries_in = reader_varint(&r);
	result->entries_out = reader_varint(&r);
	result->shadowed = reader_varint(&r);
	result->expired = reader_varint(&r);
	result->tombstones = reader_varint(&r);
	rc = take_count(&r, 2, sizeof(*result->outputs), &result->output_count,
	                &array, err);
	result->outputs = array;
	for (size_t i = 0; i < result->output_count && !rc; i++) {
		rc = take_info(&r, &result->outputs[i].info, err);
		result->outputs[i].retained = reader_varint(&r);
	}
	if (!rc && (r.failed || reader_left(&r)))
		rc = nonsense(err, "the length of a result");
	if (rc)
		job_result_release(result);
	return rc;
}

int
job_failure_encode(const struct err *failure, struct buf *out, struct err *err)
{
	struct buf payload = BUF_INIT;
	uint64_t code = failure->code < 0 ? (uint64_t)-failure->code
	                                  : (uint64_t)-LSMKV_ECHILD;
	int rc = buf_put_varint(&payload, code, err);

	if (!rc)
		rc = buf_put_bytes(&payload, slice_str(failure->message), err);
	if (!rc)
		rc = frame_append(out, JOB_FAILURE, buf_slice(&payload), err);
	buf_release(&payload);
	return rc;
}

int
job_failure_decode(struct slice payload, struct err *err)
{
	struct reader r = reader_make(payload);
	uint64_t code = reader_varint(&r);
	struct slice message = reader_bytes(&r);
	char text[ERR_MESSAGE_MAX];

	if (r.failed || reader_left(&r) || !code ||
	    code > (uint64_t)-LSMKV_ECHILD)
		return nonsense(err, "a failure");
	return err_set(err, -(int)code, "%s",
	               slice_printable(message, text, sizeof(text)));
}
