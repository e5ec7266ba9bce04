/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as what comes through the pipes of lsmkv-compact.
 *
 *     byte 0: bit 0: CRCs off; bits 1-3: 0: a stream of messages; else the
 *             payload of one message of that kind
 *     then:   those
 *
 * What is accepted is encoded to the same bytes again; a message that is not
 * all there yet is waited for, and never becomes another one by waiting.
 */
#include "fuzz/fuzz.h"
#include "store/job.h"

#define INPUT_MAX (64u << 10)

const char fuzz_name[] = "job";

/* frame is one whole message: its payload must be this one. */
static void
check_same(const struct buf *frame, enum job_kind kind, struct slice payload)
{
	enum job_kind kind_again;
	struct slice again;
	size_t at = 0;

	REQUIRE(!job_frame(buf_slice(frame), &at, &kind_again, &again, NULL));
	REQUIRE(at == frame->len && kind_again == kind);
	REQUIRE(slice_equal(again, payload));
}

static void
check_job(struct slice payload)
{
	struct buf frame = BUF_INIT;
	struct err err = ERR_INIT;
	struct job job;

	if (job_decode(payload, &job, &err)) {
		REQUIRE(err.code == LSMKV_ECORRUPT && err.message[0]);
		return;
	}
	REQUIRE(job.input_count && job.dir.len && job.dir.data[0] == '/');
	REQUIRE(job.output_level && job.output_level < LEVELS_MAX);
	REQUIRE(job.output_count && job.output_count <= JOB_OUTPUTS_MAX);
	for (size_t i = 0; i < job.input_count; i++)
		REQUIRE(job.inputs[i].level <= job.output_level);
	for (size_t i = 1; i < job.snapshot_count; i++)
		REQUIRE(job.snapshots[i - 1] <= job.snapshots[i]);
	REQUIRE(!job_encode(&job, &frame, &err));
	check_same(&frame, JOB_START, payload);
	buf_release(&frame);
	job_release(&job);
}

static void
check_result(struct slice payload)
{
	struct buf frame = BUF_INIT;
	struct err err = ERR_INIT;
	struct job_result result;

	if (job_result_decode(payload, &result, &err)) {
		REQUIRE(err.code == LSMKV_ECORRUPT && err.message[0]);
		return;
	}
	REQUIRE(!job_result_encode(&result, &frame, &err));
	check_same(&frame, JOB_RESULT, payload);
	buf_release(&frame);
	job_result_release(&result);
}

static void
check_progress(struct slice payload)
{
	struct buf frame = BUF_INIT;
	struct err err = ERR_INIT;
	uint64_t done;

	if (job_progress_decode(payload, &done, &err)) {
		REQUIRE(err.code == LSMKV_ECORRUPT && err.message[0]);
		return;
	}
	REQUIRE(!job_progress_encode(done, &frame, &err));
	check_same(&frame, JOB_PROGRESS, payload);
	buf_release(&frame);
}

static void
check_failure(struct slice payload)
{
	struct err failure = ERR_INIT, again = ERR_INIT;
	struct buf frame = BUF_INIT;
	enum job_kind kind;
	size_t at = 0;
	int rc = job_failure_decode(payload, &failure);

	REQUIRE(rc < 0 && failure.code == rc);
	/* It ends up in a log: one line, nothing but printable text. */
	for (const char *c = failure.message; *c; c++)
		REQUIRE(*c >= 0x20 && *c < 0x7f);
	REQUIRE(!job_failure_encode(&failure, &frame, NULL));
	REQUIRE(!job_frame(buf_slice(&frame), &at, &kind, &payload, NULL));
	REQUIRE(kind == JOB_FAILURE);
	REQUIRE(job_failure_decode(payload, &again) == rc);
	buf_release(&frame);
}

static void
check_payload(enum job_kind kind, struct slice payload)
{
	switch (kind) {
	case JOB_START:
		check_job(payload);
		break;
	case JOB_PROGRESS:
		check_progress(payload);
		break;
	case JOB_RESULT:
		check_result(payload);
		break;
	case JOB_FAILURE:
		check_failure(payload);
		break;
	default: /* for the caller of job_frame to refuse */
		break;
	}
}

/* Cut anywhere, the message that begins at `from` is waited for, or refused. */
static void
check_cuts(struct slice in, size_t from, size_t end, int rc)
{
	size_t step = (end - from) / 16 + 1;

	for (size_t cut = from; cut < end; cut += step) {
		size_t at = from;
		enum job_kind kind;
		struct slice payload;
		int cut_rc = job_frame(slice_make(in.data, cut), &at, &kind,
		                       &payload, NULL);

		REQUIRE(cut_rc == LSMKV_END || (cut_rc < 0 && cut_rc == rc));
		REQUIRE(at == from);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	enum job_kind kind;
	struct slice in, payload;
	size_t at = 0;
	int rc = 0;

	if (!size || size > INPUT_MAX)
		return 0;
	fuzz_crc_off = data[0] & 1;
	in = slice_make(data + 1, size - 1);
	if (data[0] >> 1 & 7) {
		check_payload((enum job_kind)(data[0] >> 1 & 7), in);
		return 0;
	}
	while (!rc) {
		size_t from = at;

		rc = job_frame(in, &at, &kind, &payload, &err);
		REQUIRE(rc ? at == from : at > from && at <= in.len);
		check_cuts(in, from, rc ? in.len : at, rc);
		if (!rc)
			check_payload(kind, payload);
	}
	REQUIRE(rc == LSMKV_END || rc == LSMKV_ECORRUPT ||
	        rc == LSMKV_EVERSION);
	return 0;
}
