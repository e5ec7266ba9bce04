/* SPDX-License-Identifier: ISC */
/* Unit tests of http/record and http/spool: requests that come in pieces. */
#include "http/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/spool.h"

/* A request: begin, variables in two records, a padded body, both ends. */
static const unsigned char request[] = "\1\1\0\1\0\10\0\0"
				       "\0\1\0\0\0\0\0\0"
				       "\1\4\0\1\0\5\3\0"
				       "abcdepad"
				       "\1\4\0\1\0\1\0\0"
				       "f"
				       "\1\4\0\1\0\0\0\0"
				       "\1\5\0\1\0\3\5\0"
				       "{}.paddd"
				       "\1\5\0\1\0\0\2\0"
				       "pd";

#define REQUEST_LEN (sizeof(request) - 1)
#define HEAD_LEN (16 + 16 + 9 + 8u)

/* However it is cut up, the end is seen with the last byte and not before. */
static void
test_every_cut(void **state)
{
	(void)state;
	for (size_t step = 1; step <= REQUEST_LEN; step++) {
		struct record_scan s = RECORD_SCAN_INIT;

		for (size_t at = 0; at < REQUEST_LEN; at += step) {
			size_t n = REQUEST_LEN - at < step ? REQUEST_LEN - at
			                                   : step;
			bool whole =
				record_scan(&s, slice_make(request + at, n));

			assert_int_equal(whole, at + n == REQUEST_LEN);
			assert_int_equal(s.head_whole, at + n >= HEAD_LEN);
		}
		assert_true(s.whole);
	}
}

/* An abort, and what is no FastCGI, need not be waited for. */
static void
test_ends(void **state)
{
	struct record_scan s = RECORD_SCAN_INIT;

	(void)state;
	assert_false(record_scan(&s, slice_make(request, 16)));
	assert_true(record_scan(&s, slice_make("\1\2\0\1\0\0\0\0", 8)));
	s = (struct record_scan)RECORD_SCAN_INIT;
	assert_true(record_scan(&s, slice_str("GET / HTTP/1.1\r\n")));
	s = (struct record_scan)RECORD_SCAN_INIT;
	assert_false(record_scan(&s, slice_str("GET / H")));
}

/* What is spooled is sent as it was written, as the peer makes room. */
static void
test_spool(void **state)
{
	struct spool s = SPOOL_INIT;
	unsigned char piece[4096], got[4096];
	size_t pieces = 1000, received = 0, total = pieces * sizeof(piece);
	enum spool_state now;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_true(spool_open(&s));
	for (size_t i = 0; i < pieces; i++) {
		memset(piece, (int)(i % 251), sizeof(piece));
		assert_true(spool_write(&s, slice_make(piece, sizeof(piece))));
	}
	assert_true(s.len == total);
	spool_rewind(&s);
	now = spool_send(&s, fds[0]);
	assert_int_equal(now, SPOOL_WAITS);
	assert_in_range(s.sent, 1, total - 1);
	while (received < total) {
		ssize_t n = read(fds[1], got, 1000);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], (received + (size_t)i) /
			                                 sizeof(piece) % 251);
		received += (size_t)n;
		if (now == SPOOL_WAITS)
			now = spool_send(&s, fds[0]);
	}
	assert_int_equal(now, SPOOL_DONE);
	assert_true(s.sent == total);
	spool_rewind(&s);
	close(fds[1]);
	assert_int_equal(spool_send(&s, fds[0]), SPOOL_GONE);
	spool_close(&s);
	spool_close(&s);
	close(fds[0]);
}

/* What is told of an answer ends where a scan of records says that it does. */
static void
test_answers(void **state)
{
	static const size_t lens[] = { 1, 7, 8, 300, RECORD_CONTENT_MAX };
	unsigned char record[RECORD_HEAD], end[RECORD_END];

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		unsigned padding = record_answer(record, 0x1234, lens[i]);

		assert_true(padding < 8);
		assert_int_equal((lens[i] + padding) % 8, 0);
		assert_memory_equal(record, "\1\6\x12\x34", 4);
		assert_int_equal(record[4] << 8 | record[5], lens[i]);
		assert_int_equal(record[6], padding);
	}
	record_answer_end(end, 0x1234);
	assert_memory_equal(end,
	                    "\1\6\x12\x34\0\0\0\0"
	                    "\1\3\x12\x34\0\10\0\0"
	                    "\0\0\0\0\0\0\0\0",
	                    sizeof(end));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_spool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
