/* SPDX-License-Identifier: ISC */
/* Unit tests of store/job: messages there and back, and damage to them. */
#include "store/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
set(struct buf *b, const char *text)
{
	assert_int_equal(buf_set(b, slice_str(text), NULL), 0);
}

static void
fill_info(struct sst_info *info, uint64_t number, const char *smallest,
          const char *largest, uint64_t oldest, uint64_t newest)
{
	memset(info, 0, sizeof(*info));
	info->number = number;
	info->size = 4096;
	info->crc = 0xdeadbeef;
	info->entries = 10;
	info->tombstones = 3;
	info->raw_bytes = 8000;
	info->min_version = oldest;
	info->max_version = newest;
	info->min_expires = 77;
	info->created = 1700000000;
	set(&info->smallest, smallest);
	set(&info->largest, largest);
}

static void
fill_job(struct job *job)
{
	memset(job, 0, sizeof(*job));
	set(&job->dir, "/var/lib/lsmkv");
	job->input_count = 4;
	job->inputs = calloc(4, sizeof(*job->inputs));
	assert_non_null(job->inputs);
	job->inputs[0].level = job->inputs[1].level = 0;
	job->inputs[2].level = job->inputs[3].level = 1;
	fill_info(&job->inputs[0].info, 12, "a", "z", 50, 60);
	fill_info(&job->inputs[1].info, 11, "b", "y", 40, 49);
	fill_info(&job->inputs[2].info, 7, "a", "g", 1, 39);
	fill_info(&job->inputs[3].info, 8, "h", "z", 2, 30);
	job->output_level = 1;
	job->first_output = 20;
	job->output_count = 9;
	job->file_bytes = 1 << 20;
	job->sst = (struct sst_options){ 8192, 10, 6 };
	job->snapshot_count = 3;
	job->snapshots = calloc(3, sizeof(*job->snapshots));
	assert_non_null(job->snapshots);
	job->snapshots[0] = 5;
	job->snapshots[1] = 45;
	job->snapshots[2] = 60;
	job->now = 1700000001;
	job->deeper_count = 2;
	job->deeper = calloc(2, sizeof(*job->deeper));
	assert_non_null(job->deeper);
	set(&job->deeper[0].smallest, "c");
	set(&job->deeper[0].largest, "d");
	set(&job->deeper[1].smallest, "e");
	set(&job->deeper[1].largest, "q");
	job->grandparent_limit = 10 << 20;
	job->grandparent_count = 2;
	job->grandparents = calloc(2, sizeof(*job->grandparents));
	assert_non_null(job->grandparents);
	set(&job->grandparents[0].largest, "d");
	job->grandparents[0].bytes = 111;
	set(&job->grandparents[1].largest, "q");
	job->grandparents[1].bytes = 222;
}

/* The payload of the one frame in b, which must be of that kind. */
static struct slice
payload_of(const struct buf *b, enum job_kind kind)
{
	enum job_kind found = JOB_START;
	struct slice payload;
	size_t at = 0;

	assert_int_equal(job_frame(buf_slice(b), &at, &found, &payload, NULL),
	                 0);
	assert_int_equal(found, kind);
	assert_int_equal(at, b->len);
	return payload;
}

/* Whether what was decoded says the same, tried by encoding it once more. */
static void
assert_same_job(const struct job *job, const struct buf *frame)
{
	struct buf again = BUF_INIT;

	assert_int_equal(job_encode(job, &again, NULL), 0);
	assert_int_equal(again.len, frame->len);
	assert_memory_equal(again.data, frame->data, frame->len);
	buf_release(&again);
}

/* A job comes out of its frame as it went in. */
static void
test_job(void **state)
{
	struct buf frame = BUF_INIT;
	struct job job, got;

	(void)state;
	fill_job(&job);
	assert_int_equal(job_encode(&job, &frame, NULL), 0);
	assert_int_equal(job_decode(payload_of(&frame, JOB_START), &got, NULL),
	                 0);
	assert_same_job(&got, &frame);
	assert_true(
		slice_equal(buf_slice(&got.dir), slice_str("/var/lib/lsmkv")));
	assert_int_equal(got.input_count, 4);
	assert_int_equal(got.inputs[3].level, 1);
	assert_true(got.inputs[0].info.crc == 0xdeadbeef);
	assert_true(got.inputs[1].info.max_version == 49);
	assert_int_equal(got.output_level, 1);
	assert_true(got.first_output == 20);
	assert_int_equal(got.output_count, 9);
	assert_int_equal(got.sst.block_bytes, 8192);
	assert_int_equal(got.sst.bits_per_key, 10);
	assert_int_equal(got.sst.deflate_level, 6);
	assert_true(got.snapshots[1] == 45);
	assert_true(got.now == 1700000001);
	assert_true(
		slice_equal(buf_slice(&got.deeper[1].largest), slice_str("q")));
	assert_true(got.grandparents[1].bytes == 222);
	assert_true(got.file_bytes == 1 << 20);
	assert_true(got.grandparent_limit == 10 << 20);
	job_release(&got);
	job_release(&job);
	buf_release(&frame);
}

/* So do progress, result and failure. */
static void
test_answers(void **state)
{
	struct job_result r = { .entries_in = 100,
		                .entries_out = 20,
		                .shadowed = 30,
		                .expired = 40,
		                .tombstones = 10 };
	struct job_result got;
	struct buf frame = BUF_INIT;
	struct err failure = ERR_INIT, err = ERR_INIT;
	uint64_t done = 0;

	(void)state;
	assert_int_equal(job_progress_encode(1u << 30, &frame, NULL), 0);
	assert_int_equal(job_progress_decode(payload_of(&frame, JOB_PROGRESS),
	                                     &done, NULL),
	                 0);
	assert_true(done == 1u << 30);

	buf_clear(&frame);
	r.output_count = 2;
	r.outputs = calloc(2, sizeof(*r.outputs));
	assert_non_null(r.outputs);
	fill_info(&r.outputs[0].info, 20, "a", "b", 1, 2);
	fill_info(&r.outputs[1].info, 21, "c", "d", 1, 2);
	r.outputs[1].retained = 7;
	assert_int_equal(job_result_encode(&r, &frame, NULL), 0);
	assert_int_equal(
		job_result_decode(payload_of(&frame, JOB_RESULT), &got, NULL),
		0);
	assert_true(got.entries_in == 100 && got.entries_out == 20 &&
	            got.shadowed == 30 && got.expired == 40 &&
	            got.tombstones == 10);
	assert_int_equal(got.output_count, 2);
	assert_true(got.outputs[0].info.number == 20);
	assert_true(got.outputs[0].retained == 0);
	assert_true(got.outputs[1].retained == 7);
	job_result_release(&got);
	job_result_release(&r);

	buf_clear(&frame);
	err_set(&failure, LSMKV_ENOSPC, "000020.sst: no room\n");
	assert_int_equal(job_failure_encode(&failure, &frame, NULL), 0);
	assert_int_equal(
		job_failure_decode(payload_of(&frame, JOB_FAILURE), &err),
		LSMKV_ENOSPC);
	assert_non_null(strstr(err.message, "000020.sst: no room"));
	assert_null(strchr(err.message, '\n'));
	buf_release(&frame);
}

/* Any prefix of a frame is waited for, any flipped bit in it is refused. */
static void
test_damage(void **state)
{
	struct buf frame = BUF_INIT;
	enum job_kind kind;
	struct slice payload;
	struct job job;
	size_t at;

	(void)state;
	fill_job(&job);
	assert_int_equal(job_encode(&job, &frame, NULL), 0);
	for (size_t n = 0; n < frame.len; n++) {
		at = 0;
		assert_int_equal(job_frame(slice_make(frame.data, n), &at,
		                           &kind, &payload, NULL),
		                 LSMKV_END);
		assert_int_equal(at, 0);
	}
	for (size_t i = 0; i < frame.len * 8; i++) {
		int rc;

		frame.data[i / 8] ^= (unsigned char)(1u << i % 8);
		at = 0;
		rc = job_frame(buf_slice(&frame), &at, &kind, &payload, NULL);
		/* a larger length is waited for: the limit on silence ends it */
		if (i / 8 >= 12 && i / 8 < 16)
			assert_true(rc == LSMKV_END || rc == LSMKV_ECORRUPT);
		else if (i / 8 >= 4 && i / 8 < 8)
			assert_int_equal(rc, LSMKV_EVERSION);
		else
			assert_int_equal(rc, LSMKV_ECORRUPT);
		frame.data[i / 8] ^= (unsigned char)(1u << i % 8);
	}
	job_release(&job);
	buf_release(&frame);
}

/* Frames follow each other in one stream, however it is cut. */
static void
test_stream(void **state)
{
	struct buf all = BUF_INIT;
	size_t at = 0, n = 0, got = 0;

	(void)state;
	for (uint64_t i = 0; i < 50; i++)
		assert_int_equal(job_progress_encode(i * i * i, &all, NULL), 0);
	for (n = 0; n <= all.len; n++) {
		enum job_kind kind;
		struct slice payload;
		uint64_t done;

		if (job_frame(slice_make(all.data, n), &at, &kind, &payload,
		              NULL))
			continue;
		assert_int_equal(job_progress_decode(payload, &done, NULL), 0);
		assert_true(done == got * got * got);
		got++;
	}
	assert_int_equal(got, 50);
	buf_release(&all);
}

static int
recode(const struct job *job)
{
	struct buf frame = BUF_INIT;
	struct job got;
	int rc;

	assert_int_equal(job_encode(job, &frame, NULL), 0);
	rc = job_decode(payload_of(&frame, JOB_START), &got, NULL);
	if (!rc)
		job_release(&got);
	else
		assert_null(got.inputs);
	buf_release(&frame);
	return rc;
}

/* A job that breaks what job.h promises is refused. */
static void
test_nonsense(void **state)
{
	struct job job;

	(void)state;
#define REFUSED(change)                                                        \
	do {                                                                   \
		fill_job(&job);                                                \
		assert_int_equal(recode(&job), 0);                             \
		change;                                                        \
		assert_int_equal(recode(&job), LSMKV_ECORRUPT);                \
		job_release(&job);                                             \
	} while (0)
	REFUSED(set(&job.dir, "relative/path"));
	REFUSED(buf_set(&job.dir, slice_make("/a\0b", 4), NULL));
	REFUSED(job.output_level = 0);
	REFUSED(job.output_level = LEVELS_MAX);
	REFUSED(job.output_count = 0);
	REFUSED(job.output_count = JOB_OUTPUTS_MAX + 1);
	REFUSED(job.first_output = 0);
	REFUSED(job.first_output = UINT64_MAX - 3);
	REFUSED(job.file_bytes = 0);
	REFUSED(job.sst.block_bytes = 0);
	REFUSED(job.sst.deflate_level = 10);
	REFUSED(job.snapshots[0] = 46);
	REFUSED(job.inputs[3].level = 2);
	REFUSED(job.inputs[0].level = 1);
	REFUSED(job.inputs[1].info.max_version = 50);
	REFUSED(set(&job.inputs[2].info.largest, "h"));
	REFUSED(set(&job.deeper[0].largest, "e"));
	REFUSED(set(&job.deeper[0].largest, "b"));
	REFUSED(set(&job.deeper[0].largest, ""));
	REFUSED(set(&job.grandparents[0].largest, "q"));
#undef REFUSED
	memset(&job, 0, sizeof(job));
}

/*
 * Whatever stands in a payload with a right checksum, decoding stays within
 * it, and gives a job that encodes to the same bytes, or none.
 */
static void
test_fuzzed_payload(void **state)
{
	struct buf frame = BUF_INIT;
	struct slice payload;
	struct job job, got;
	unsigned accepted = 0;

	(void)state;
	fill_job(&job);
	assert_int_equal(job_encode(&job, &frame, NULL), 0);
	payload = payload_of(&frame, JOB_START);
	for (size_t n = 0; n < payload.len; n++) {
		/* a heap copy, so that reading behind it is seen */
		unsigned char *cut = malloc(n + 1);

		assert_non_null(cut);
		memcpy(cut, payload.data, n);
		cut = realloc(cut, n ? n : 1);
		assert_non_null(cut);
		assert_int_equal(job_decode(slice_make(cut, n), &got, NULL),
		                 LSMKV_ECORRUPT);
		free(cut);
	}
	for (size_t i = 0; i < payload.len; i++)
		for (unsigned v = 0; v < 256; v += 5) {
			unsigned char *copy = malloc(payload.len);

			assert_non_null(copy);
			memcpy(copy, payload.data, payload.len);
			copy[i] = (unsigned char)v;
			if (!job_decode(slice_make(copy, payload.len), &got,
			                NULL)) {
				struct buf again = BUF_INIT;

				accepted++;
				assert_int_equal(job_encode(&got, &again, NULL),
				                 0);
				assert_int_equal(again.len, frame.len);
				assert_memory_equal(again.data + JOB_FRAME_HEAD,
				                    copy, payload.len);
				buf_release(&again);
				job_release(&got);
			}
			free(copy);
		}
	assert_true(accepted > 0);
	job_release(&job);
	buf_release(&frame);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_fuzzed_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
