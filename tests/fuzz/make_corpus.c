/* SPDX-License-Identifier: ISC */
/*
 * Makes the first inputs of the fuzz targets with the real writers:
 *
 *     make tests/fuzz/make_corpus
 *     tests/fuzz/make_corpus tests/fuzz/corpus
 *
 * Its outcome is checked in, beside inputs that once failed, which are named
 * by their symptom. It is run again when a format changes.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/deflate_parts.h"
#include "fuzz/fuzz.h"
#include "store/job.h"
#include "store/manifest.h"
#include "store/sst.h"
#include "store/wal.h"

const char fuzz_name[] = "make_corpus";
static const char *top; /* of the corpus */

static void
must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "make_corpus: %s\n", err->message);
	exit(1);
}

/* Writes head, which are a target's own bytes, and content as an input. */
static void
save(const char *target, const char *name, struct slice head,
     struct slice content)
{
	char path[4096];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", top, target);
	if (mkdir(path, 0755) && errno != EEXIST) {
		perror(path);
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/%s/%s%s", top, target, name,
	         fuzz_crc_off ? "-crc-off" : "");
	out = fopen(path, "wb");
	if (!out) {
		perror(path);
		exit(1);
	}
	if (head.len)
		fwrite(head.data, 1, head.len, out);
	if (content.len)
		fwrite(content.data, 1, content.len, out);
	if (fclose(out)) {
		perror(path);
		exit(1);
	}
}

/* A file of the directory, without the zeros that it ends with but eight. */
static void
load(const char *name, bool trim, struct buf *out)
{
	struct fs_file file = FS_FILE_INIT;
	struct err err = ERR_INIT;

	must(fs_open(fuzz_dir(), name, &file, &err), &err);
	must(fs_read_all(&file, 1u << 30, out, &err), &err);
	fs_close(&file);
	if (!trim)
		return;
	while (out->len && !out->data[out->len - 1])
		out->len--;
	out->len = (out->len + 15) & ~(size_t)7;
}

static struct entry
make_entry(unsigned i, uint64_t version)
{
	static char key[32], value[256];
	static const enum entry_kind kinds[] = { ENTRY_TEXT, ENTRY_JSON,
		                                 ENTRY_BYTES, ENTRY_TOMBSTONE };
	struct entry e = { .version = version, .kind = kinds[i % 4] };

	e.key = slice_make(
		key, (size_t)snprintf(key, sizeof(key), "key%03u", i / 2));
	memset(value, 'a' + (int)(i % 26), sizeof(value));
	snprintf(value, sizeof(value), "%u", i * 7919);
	if (e.kind != ENTRY_TOMBSTONE)
		e.value = slice_make(value, i * 37 % sizeof(value));
	if (i % 5 == 4)
		e.expires = 2000000000u + i;
	return e;
}

/* ---- SST ---- */

/* digits: keys without likeness, which blocks hold packed. */
static void
make_sst(const char *name, const struct sst_options *options, unsigned count,
         bool digits)
{
	char key[32];
	struct sst_info info = SST_INFO_INIT;
	struct sst_writer *w = NULL;
	struct err err = ERR_INIT;
	struct buf file = BUF_INIT;

	must(sst_writer_open(&w, fuzz_dir(), 7, options, &err), &err);
	for (unsigned i = 0; i < count; i++) {
		/* Two versions of each key, the newer one first. */
		struct entry e = make_entry(i, 1000 + i - 2 * (i % 2));

		if (digits)
			e.key = slice_make(
				key, (size_t)snprintf(
					     key, sizeof(key), "%02x%010x",
					     i / 2, (i / 2 + 1) * 2654435761u));
		must(sst_writer_add(w, &e, &err), &err);
	}
	must(sst_writer_finish(w, &info, &err), &err);
	load("000007.sst", false, &file);
	save("sst", name, slice_make(fuzz_crc_off ? "\3" : "\2", 1),
	     buf_slice(&file));
	sst_info_release(&info);
	buf_release(&file);
}

/* Blocks in parts: values that parts have little of in common, but for how
   some begin. */
static void
make_sst_in_parts(const char *name, unsigned count)
{
	static const struct sst_options options = { 1400, 10, 6 };
	struct sst_info info = SST_INFO_INIT;
	struct sst_writer *w = NULL;
	struct err err = ERR_INIT;
	struct buf file = BUF_INIT;
	uint32_t random = 1;

	must(sst_writer_open(&w, fuzz_dir(), 7, &options, &err), &err);
	for (unsigned i = 0; i < count; i++) {
		struct entry e = { .version = 100 + i * 7919 % 4096,
			           .expires = i % 5 ? 0 : 2000000000,
			           .kind = i % 9 == 8 ? ENTRY_TOMBSTONE
			                              : ENTRY_TEXT };
		char key[32], value[140] = "{\"name\":\"user\",\"text\":";
		size_t len = e.kind == ENTRY_TOMBSTONE ? 0 : 90 + i % 50;

		for (size_t n = i % 3 ? 0 : strlen(value); n < len; n++) {
			random = random * 1664525 + 1013904223;
			value[n] = (char)('a' + random / 65536 % 26);
		}
		e.key = slice_make(
			key, (size_t)snprintf(key, sizeof(key), "%02x%010x", i,
		                              (i + 1) * 2654435761u));
		e.value = slice_make(value, len);
		must(sst_writer_add(w, &e, &err), &err);
	}
	must(sst_writer_finish(w, &info, &err), &err);
	load("000007.sst", false, &file);
	save("sst", name, slice_make(fuzz_crc_off ? "\7" : "\2", 1),
	     buf_slice(&file));
	sst_info_release(&info);
	buf_release(&file);
}

static void
make_ssts(void)
{
	static const struct sst_options raw = { 256, 0, 0 };
	static const struct sst_options filter = { 256, 10, 0 };
	static const struct sst_options deflated = { 1024, 10, 6 };
	static const struct sst_options large = { 1024, 0, 0 };

	make_sst("one-entry", &raw, 1, false);
	make_sst("raw-blocks", &raw, 12, false);
	make_sst("raw-blocks-filter", &filter, 9, false);
	make_sst("deflated-blocks", &deflated, 60, false);
	make_sst("packed-raw-blocks", &large, 24, true);
	make_sst("packed-deflated-blocks", &deflated, 60, true);
	make_sst_in_parts("parts", 12);
	make_sst_in_parts("parts-many", 36);
}

/* ---- WAL ---- */

static uint64_t
make_segment(struct wal_header *header, unsigned records, uint64_t *version)
{
	struct err err = ERR_INIT;
	struct wal *w = NULL;
	uint64_t end;
	bool partial;

	header->first_version = *version;
	must(wal_create(&w, fuzz_dir(), header, &err), &err);
	for (unsigned i = 0; i < records; i++) {
		must(wal_begin(w, *version, &err), &err);
		for (unsigned n = 0; n <= i % 3; n++) {
			struct entry e = make_entry(i + n, (*version)++);

			must(wal_add(w, &e, &err), &err);
		}
		must(wal_append(w, &partial, &err), &err);
		must(wal_sync(w, &err), &err);
	}
	end = wal_end(w);
	wal_close(w);
	return end;
}

/* Segment 5 with `first` records and, if any, 6 with `second`. */
static void
make_wal(const char *name, unsigned first, unsigned second, bool relaxed,
         int torn)
{
	struct wal_header header = { .segment = 5, .relaxed = relaxed };
	struct buf five = BUF_INIT, six = BUF_INIT;
	unsigned char head[3] = { fuzz_crc_off };
	struct err err = ERR_INIT;
	uint64_t version = 1;

	header.prev_end = make_segment(&header, first, &version);
	load("000005.wal", true, &five);
	if (second) {
		header.segment = 6;
		header.prev_segment = 5;
		make_segment(&header, second, &version);
		load("000006.wal", true, &six);
		fuzz_remove("000006.wal");
	}
	if (torn)
		five.data[(int)five.len - torn] ^= 0x55;
	head[1] = (unsigned char)five.len;
	head[2] = (unsigned char)(five.len >> 8);
	must(buf_append_slice(&five, buf_slice(&six), &err), &err);
	save("wal", name, slice_make(head, 3), buf_slice(&five));
	fuzz_remove("000005.wal");
	buf_release(&five);
	buf_release(&six);
}

static void
make_wals(void)
{
	make_wal("empty", 0, 0, false, 0);
	make_wal("one-record", 1, 0, false, 0);
	make_wal("records", 5, 0, false, 0);
	make_wal("relaxed", 4, 2, true, 0);
	make_wal("two-segments", 3, 2, false, 0);
	make_wal("torn-tail", 3, 0, false, 40);
	make_wal("damaged-before-the-last", 3, 0, false, 200);
	make_wal("damaged-before-a-segment", 3, 1, false, 40);
}

/* ---- what is known of SSTs, in MANIFEST and messages ---- */

static struct sst_info
make_info(uint64_t number, const char *smallest, const char *largest,
          uint64_t min_version)
{
	struct sst_info info = { .number = number,
		                 .size = 12345,
		                 .crc = 0x01020304,
		                 .entries = 10,
		                 .tombstones = 2,
		                 .raw_bytes = 2000,
		                 .min_version = min_version,
		                 .max_version = min_version + 9,
		                 .min_expires = number % 2,
		                 .created = 1700000000 };

	must(buf_set(&info.smallest, slice_str(smallest), NULL), NULL);
	must(buf_set(&info.largest, slice_str(largest), NULL), NULL);
	return info;
}

static void
make_manifest(const char *name, unsigned files)
{
	static const struct {
		unsigned char level;
		const char *smallest, *largest;
	} file[] = { { 0, "a", "z" },
		     { 0, "b", "c" },
		     { 1, "a", "f" },
		     { 1, "g", "t" },
		     { 2, "f", "g" } };
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	must(buf_append(&b, "LSMKVMAN", 8, &err), &err);
	must(buf_put_u32(&b, MANIFEST_FORMAT_VERSION, &err), &err);
	must(buf_put_u32(&b, files, &err), &err);
	must(buf_put_u64(&b, 3, &err), &err);
	must(buf_put_u64(&b, 100, &err), &err);
	must(buf_put_u64(&b, 1000, &err), &err);
	must(buf_put_u64(&b, 42, &err), &err);
	for (unsigned i = 0; i < files; i++) {
		struct sst_info info = make_info(10 + i, file[i].smallest,
		                                 file[i].largest, 900 - i * 20);

		must(buf_put_u8(&b, file[i].level, &err), &err);
		must(sst_info_encode(&info, &b, &err), &err);
		sst_info_release(&info);
	}
	must(buf_put_u32(&b, crc32_add(0, b.data, b.len), &err), &err);
	save("manifest", name, slice_make(fuzz_crc_off ? "\1" : "\0", 1),
	     buf_slice(&b));
	buf_release(&b);
}

/* ---- messages of a job ---- */

/* A message, alone, as a payload alone, and at the end of a stream. */
static void
save_message(const char *name, const struct buf *frame, struct buf *stream)
{
	unsigned char crc = fuzz_crc_off, kind;
	char payload_name[64];

	must(buf_append_slice(stream, buf_slice(frame), NULL), NULL);
	save("job", name, slice_make(&crc, 1), buf_slice(frame));
	kind = (unsigned char)(frame->data[8] << 1 | crc);
	snprintf(payload_name, sizeof(payload_name), "%s-payload", name);
	save("job", payload_name, slice_make(&kind, 1),
	     slice_make(frame->data + JOB_FRAME_HEAD,
	                frame->len - JOB_FRAME_HEAD - 4));
}

static void
make_start(struct buf *frame)
{
	struct job job = JOB_INIT;
	struct err err = ERR_INIT;

	must(buf_set(&job.dir, slice_str("/srv/lsmkv"), &err), &err);
	job.output_level = 1;
	job.first_output = 200;
	job.output_count = 9;
	job.file_bytes = 2u << 20;
	job.sst = (struct sst_options){ 4096, 10, 6 };
	job.now = 1700000000;
	job.grandparent_limit = 20u << 20;
	job.inputs = calloc(3, sizeof(*job.inputs));
	job.snapshots = calloc(2, sizeof(*job.snapshots));
	job.deeper = calloc(2, sizeof(*job.deeper));
	job.grandparents = calloc(2, sizeof(*job.grandparents));
	REQUIRE(job.inputs && job.snapshots && job.deeper && job.grandparents);
	job.input_count = 3;
	job.inputs[0].info = make_info(12, "a", "z", 100);
	job.inputs[1].info = make_info(11, "b", "c", 50);
	job.inputs[2].level = 1;
	job.inputs[2].info = make_info(10, "c", "x", 1);
	job.snapshot_count = 2;
	job.snapshots[0] = 55;
	job.snapshots[1] = 109;
	job.deeper_count = job.grandparent_count = 2;
	must(buf_set(&job.deeper[0].smallest, slice_str("b"), &err), &err);
	must(buf_set(&job.deeper[0].largest, slice_str("d"), &err), &err);
	must(buf_set(&job.deeper[1].smallest, slice_str("m"), &err), &err);
	must(buf_set(&job.deeper[1].largest, slice_str("n"), &err), &err);
	must(buf_set(&job.grandparents[0].largest, slice_str("d"), &err), &err);
	must(buf_set(&job.grandparents[1].largest, slice_str("n"), &err), &err);
	job.grandparents[0].bytes = 1000000;
	job.grandparents[1].bytes = 2000000;
	must(job_encode(&job, frame, &err), &err);
	job_release(&job);
}

static void
make_result(struct buf *frame)
{
	struct job_result result = { .entries_in = 30,
		                     .entries_out = 20,
		                     .shadowed = 6,
		                     .expired = 1,
		                     .tombstones = 3 };
	struct err err = ERR_INIT;

	result.outputs = calloc(2, sizeof(*result.outputs));
	REQUIRE(result.outputs);
	result.output_count = 2;
	result.outputs[0].info = make_info(200, "a", "m", 1);
	result.outputs[0].retained = 2;
	result.outputs[1].info = make_info(201, "n", "z", 2);
	must(job_result_encode(&result, frame, &err), &err);
	job_result_release(&result);
}

static void
make_jobs(void)
{
	struct buf frame = BUF_INIT, stream = BUF_INIT;
	struct err err = ERR_INIT, failure = ERR_INIT;
	unsigned char crc = fuzz_crc_off;

	make_start(&frame);
	save_message("start", &frame, &stream);
	buf_clear(&frame);
	must(job_progress_encode(1234567, &frame, &err), &err);
	save_message("progress", &frame, &stream);
	buf_clear(&frame);
	make_result(&frame);
	save_message("result", &frame, &stream);
	buf_clear(&frame);
	err_set(&failure, LSMKV_ENOSPC, "000200.sst: the disk is full");
	must(job_failure_encode(&failure, &frame, &err), &err);
	save_message("failure", &frame, &stream);
	save("job", "stream", slice_make(&crc, 1), buf_slice(&stream));
	buf_release(&frame);
	buf_release(&stream);
}

/* ---- streams ---- */

static void
make_streams(void)
{
	static const char line[] = "the quick brown fox, ";
	static const unsigned char wanted[] = { 1, 0, 200 };
	unsigned char text[60 * (sizeof(line) - 1)], packed[sizeof(text)];
	static const int level[] = { 0, 1, 9 };

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (unsigned char)line[i % (sizeof(line) - 1)];
	for (size_t i = 0; i < sizeof(level) / sizeof(*level); i++) {
		uLongf n = sizeof(packed);
		char name[16];

		snprintf(name, sizeof(name), "level-%d", level[i]);
		if (compress2(packed, &n, text, 400, level[i]) != Z_OK)
			exit(1);
		save("inflate", name, slice_make(wanted, sizeof(wanted)),
		     slice_make(packed, n));
	}
}

/* ---- texts ---- */

static void
make_texts(void)
{
	static const char *const text[][3] = {
		{ "inflate", "made",
		  "\x02\x01\x01\x30the quick brown fox jumps over the lazy "
		  "dog, and what it jumps over chooses codes and symbols" },
		{ "query", "key", "key=greeting" },
		{ "query", "escapes", "key=%c3%A4+%25&x=%00%7f%zz" },
		{ "query", "empty-pairs", "&&a=1&b&&=c&d=&" },
		{ "query", "cut-escape", "key=%4" },
		{ "json", "string",
		  "{\"key\":\"greeting\",\"value\":\"hello\"}" },
		{ "json", "escapes",
		  "{\"key\":\"\\u00e4\\ud834\\udd1e\",\"value\":\"\\\"\\\\\\/"
		  "\\b\\f\\n\\r\\t\\u0000\"}" },
		{ "json", "utf8",
		  "{\"value\":\"\xc3\xa4\xf0\x9d\x84\x9e\","
		  "\"key\":\"\xe2\x82\xac\"}" },
		{ "json", "object",
		  "{ \"key\" : \"k\" , \"value\" : {\"a\":[1,-0.5e+3,true,"
		  "false,null,{}],\"a\":[]}\n}" },
		{ "json", "number", "{\"key\":\"n\",\"value\":-1.25E-300}" },
		{ "json", "lone-surrogate",
		  "{\"key\":\"k\",\"value\":\"\\ud800\"}" },
		{ "json", "twice",
		  "{\"key\":\"k\",\"key\":\"k\",\"value\":1}" },
		{ "json", "unknown-member", "{\"kay\":\"k\",\"value\":1}" },
		{ "fcgi", "get",
		  "\2\5REQUEST_METHOD=GET\nSCRIPT_NAME=/get\n"
		  "QUERY_STRING=key=greeting\nHTTP_HOST=localhost\n\n" },
		{ "fcgi", "set",
		  "\2\11REQUEST_METHOD=POST\nSCRIPT_NAME=\nPATH_INFO=/set\n"
		  "CONTENT_LENGTH=34\nHTTP_HOST=127.0.0.1:8081\n\n"
		  "{\"key\":\"greeting\",\"value\":\"hello\"}" },
		{ "fcgi", "set-object",
		  "\1\1REQUEST_METHOD=POST\nSCRIPT_NAME=/set\n"
		  "CONTENT_LENGTH=25\nHTTP_HOST=[::1]\n"
		  "HTTP_ORIGIN=http://friend.example\n\n"
		  "{\"key\":\"k\",\"value\":[1,2]}" },
		{ "fcgi", "del",
		  "\2\5REQUEST_METHOD=DELETE\nSCRIPT_NAME=/del\n"
		  "QUERY_STRING=key=a%20b\nHTTP_HOST=localhost\n"
		  "CONTENT_LENGTH=\n\n" },
		{ "fcgi", "head-cross-site",
		  "\2\377REQUEST_METHOD=HEAD\nSCRIPT_NAME=/get\n"
		  "QUERY_STRING=key=x\nHTTP_SEC_FETCH_SITE=cross-site\n"
		  "HTTP_HOST=evil.example\n\n" },
		{ "fcgi", "wrong-length",
		  "\2\2REQUEST_METHOD=POST\nSCRIPT_NAME=/set\n"
		  "CONTENT_LENGTH=99\nHTTP_HOST=localhost\n\n{}" },
	};
	/* A stream as the responder sees it before libfcgi does. */
	static const char stream[] = "\0\2"
				     "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
				     "\1\4\0\1\0\5\3\0\1\2abcpad"
				     "\1\4\0\1\0\0\0\0"
				     "\1\5\0\1\0\3\5\0{}.paddd"
				     "\1\5\0\1\0\0\2\0pd";

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		save(text[i][0], text[i][1], slice_make(NULL, 0),
		     slice_str(text[i][2]));
	save("fcgi", "stream", slice_make(NULL, 0),
	     slice_make(stream, sizeof(stream) - 1));
}

#define PARTS 9u

/* A text, to be deflated in parts: how, number and lengths of them. */
static void
make_text_in_parts(const char *name, unsigned char how, struct slice text)
{
	/* Then two changes, which stand behind the lengths. */
	unsigned char head[] = { how, PARTS - 1, 30, 30, 30, 0, 30, 9,
		                 30,  30,        2,  0,  99, 2, 3 };
	size_t len = 2 + PARTS - 1 + (how & 2 ? 5 : 0);

	save("parts", name, slice_make(head, len), text);
}

/* A stream, and where its parts are. */
static void
make_stream_in_parts(const char *name, struct slice text)
{
	struct deflate_parts *d = deflate_parts_new(true);
	struct deflate_part parts[PARTS];
	struct deflate_head begin;
	struct buf stream = BUF_INIT;
	unsigned char head[2 + 3 * PARTS] = { 1, PARTS - 1 }, *at = head + 2;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < PARTS; i++)
		parts[i].len = (uint32_t)(text.len / PARTS);
	if (!d)
		exit(1);
	must(deflate_parts_run(d, text, parts, PARTS, &begin, &stream, &err),
	     &err);
	for (size_t i = 0; i < PARTS; i++) {
		uint32_t bits = 2 * parts[i].bits + parts[i].refers;

		*at++ = (unsigned char)(parts[i].len - 1);
		*at++ = (unsigned char)(bits >> 8);
		*at++ = (unsigned char)bits;
	}
	save("parts", name, slice_make(head, sizeof(head)), buf_slice(&stream));
	buf_release(&stream);
	deflate_parts_free(d);
}

static void
make_parts(void)
{
	unsigned char text[PARTS * 240];
	uint32_t random = 7;

	for (size_t i = 0; i < sizeof(text); i++) {
		random = random * 1664525 + 1013904223;
		text[i] = i % 60 > 20
		                  ? (unsigned char)('a' + i % 60)
		                  : (unsigned char)('a' + random / 65536 % 26);
	}
	make_text_in_parts("text", 0, slice_make(text, sizeof(text)));
	make_text_in_parts("text-dense", 4, slice_make(text, sizeof(text)));
	make_text_in_parts("text-changed", 6, slice_make(text, sizeof(text)));
	/* 16 times: there is a common code then. */
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (unsigned char)(i % 3 ? text[i] : 'o');
	make_text_in_parts("text-again", 0xf0, slice_make(text, sizeof(text)));
	make_stream_in_parts("stream", slice_make(text, sizeof(text)));
	memset(text, 'o', sizeof(text));
	make_text_in_parts("runs", 4, slice_make(text, sizeof(text)));
	make_stream_in_parts("stream-of-runs", slice_make(text, sizeof(text)));
}

/* Texts for the encoder of long ones: steps, see fuzz_long.c. */
static void
make_long(void)
{
	static const struct {
		const char *name, *steps;
		size_t len;
	} text[] = {
#define STEPS(s) s, sizeof(s) - 1
		{ "words", STEPS("\x7ckey value, block of a key; again"
		                 "\xfe\0\x1d\xfe\0\x03") },
		/* Blocks that are stored between others. */
		{ "noise-in-runs",
		  STEPS("\xe3x\xe3y\xe3z\xfd\xff\xfd\xff\xe3x\xe3x\xfd\xff") },
		{ "noise-of-four", STEPS("\xfd\3\xfd\3\x41\3") },
		{ "noise-of-95",
		  STEPS("\xfd\x5e\xfd\x5e\xfe\x7f\xff\xfe\xff\xff") },
		/* 65535 bytes, and 65536. */
		{ "around-a-block",
		  STEPS("\xf9\x5f\xfa\0\x0f\x38just one block."
		        "\xff"
		        "\xf9\x5f\xfa\0\x0f\x3c"
		        "and a byte more.") },
		/* The second is like the first, and the third is noise. */
		{ "three-texts",
		  STEPS("\x3d\x20\x52\1\2\xff\x3d\x20\xff\xfd\xff") },
		/* All bytes, among many of which there are two. */
		{ "rare-bytes", STEPS("\xf1\1\x05\xff\x3d\1") },
#undef STEPS
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++)
		save("long", text[i].name, slice_make(NULL, 0),
		     slice_make(text[i].steps, text[i].len));
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: make_corpus DIRECTORY\n", stderr);
		return 2;
	}
	top = argv[1];
	make_streams();
	make_parts();
	make_long();
	make_texts();
	for (int off = 0; off < 2; off++) {
		fuzz_crc_off = off;
		make_ssts();
		make_wals();
		make_manifest("empty", 0);
		make_manifest("files", 5);
		make_jobs();
	}
	return 0;
}
