/* SPDX-License-Identifier: ISC */
/*
 * lsmkv-compact, the helper of lsmkv.fcgi: one compaction, then exit.
 *
 * Reads one job from standard input, merges (store/compact.c), writes progress
 * and then one result or failure to standard output. Its input stays open as
 * long as the parent lives: at its end, or when nobody reads the answers any
 * more, it stops, so that it never outlives its parent by more than a moment.
 * It removes what it made when it fails; when it is killed, the parent does.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/compact.h"

enum { READ_BYTES = 65536 };

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"usage: lsmkv-compact\n"
	"\n"
	"The compaction helper of lsmkv.fcgi, which starts it: reads one job on\n"
	"its standard input, answers on its standard output, exits. It is of no\n"
	"use by hand; see lsmkv-compact(8).\n"
	"\n"
	"  --help     this text\n"
	"  --version  version of the program\n";

static int
answer(const struct buf *frame, struct err *err)
{
	size_t at = 0;

	while (at < frame->len) {
		ssize_t n =
			write(STDOUT_FILENO, frame->data + at, frame->len - at);

		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno != EINTR)
			return err_set_errno(err, errno, "answering");
	}
	return 0;
}

/* Has the parent closed our input? It sends nothing behind the job. */
static bool
parent_is_gone(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static int
tell_progress(void *arg, uint64_t done)
{
	struct buf frame = BUF_INIT;
	int rc;

	(void)arg;
	rc = job_progress_encode(done, &frame, NULL);
	if (!rc)
		rc = answer(&frame, NULL);
	buf_release(&frame);
	return rc || parent_is_gone();
}

static int
read_job(struct buf *in, struct job *job, struct err *err)
{
	enum job_kind kind = JOB_START;
	struct slice payload;
	size_t at = 0;
	int rc;

	while ((rc = job_frame(buf_slice(in), &at, &kind, &payload, err)) ==
	       LSMKV_END) {
		ssize_t n;

		rc = buf_reserve(in, READ_BYTES, err);
		if (rc)
			return rc;
		n = read(STDIN_FILENO, in->data + in->len, READ_BYTES);
		if (n > 0)
			in->len += (size_t)n;
		else if (!n)
			return err_set(err, LSMKV_ECORRUPT,
			               "the job ends too early");
		else if (errno != EINTR)
			return err_set_errno(err, errno, "reading the job");
	}
	if (rc)
		return rc;
	if (kind != JOB_START || at != in->len)
		return err_set(err, LSMKV_ECORRUPT,
		               "job message: not one job and nothing else");
	return job_decode(payload, job, err);
}

static int
run(struct job_result *result, struct err *err)
{
	struct buf in = BUF_INIT, path = BUF_INIT;
	struct job job = JOB_INIT;
	struct fs_dir *dir = NULL;
	int rc;

	rc = read_job(&in, &job, err);
	if (!rc)
		rc = buf_append_slice(&path, buf_slice(&job.dir), err);
	if (!rc)
		rc = buf_append(&path, "", 1, err);
	if (!rc)
		rc = fs_dir_open(&dir, (const char *)path.data, false, err);
	if (!rc)
		rc = compact_run(dir, &job, tell_progress, NULL, result, err);
	fs_dir_close(dir);
	job_release(&job);
	buf_release(&path);
	buf_release(&in);
	return rc;
}

static int
serve(void)
{
	struct job_result result = JOB_RESULT_INIT;
	struct buf frame = BUF_INIT;
	struct err err = ERR_INIT;
	int rc;

	/* A parent that is gone is a failed write, and outputs are removed. */
	signal(SIGPIPE, SIG_IGN);
	rc = run(&result, &err);
	if (!rc)
		rc = job_result_encode(&result, &frame, &err);
	if (rc) {
		buf_clear(&frame);
		if (job_failure_encode(&err, &frame, NULL))
			buf_clear(&frame);
	}
	if (answer(&frame, &err) || rc)
		rc = EXIT_FAILURE;
	buf_release(&frame);
	job_result_release(&result);
	return rc;
}

int
main(int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "hV", long_options, NULL)) !=
	       -1)
		switch (option) {
		case 'h':
			fputs(help_text, stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts("lsmkv-compact " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		default: /* getopt has said what is wrong */
			fputs("Try 'lsmkv-compact --help'.\n", stderr);
			return EXIT_FAILURE;
		}
	if (optind != argc) {
		fputs("lsmkv-compact takes no arguments; "
		      "try 'lsmkv-compact --help'.\n",
		      stderr);
		return EXIT_FAILURE;
	}
	if (isatty(STDIN_FILENO)) {
		fputs("lsmkv-compact is started by lsmkv.fcgi, not by hand; "
		      "see lsmkv-compact(8).\n",
		      stderr);
		return EXIT_FAILURE;
	}
	return serve();
}
