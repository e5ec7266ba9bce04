/* SPDX-License-Identifier: ISC */
/*
 * Opening after kill -9: a store of --open-gb, whose owner is killed while it
 * writes. What is beyond the replay of one memtable's log should not grow with
 * the store; that replay is measured with a store that has nothing else.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/workload.h"

#define VALUE_LEN 1000u
#define BEYOND_US 300000u /* from the last entry that counts to the kill */

/*
 * Another process fills the store, with `entries` and then on and on, and is
 * killed `beyond_us` after it has written those.
 */
static void
fill_and_kill(struct session *s, uint64_t entries, unsigned beyond_us)
{
	int pipes[2], status;
	char c;
	pid_t pid;

	if (pipe(pipes))
		bench_die("bench", "pipe", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct load *l = load_new(1);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pipes[0]);
		session_open(s);
		*l = (struct load){ .session = s,
			            .kind = FILL,
			            .count = entries };
		load_start(l);
		load_join(l);
		if (write(pipes[1], "", 1) != 1)
			_exit(1);
		l->from = entries;
		l->count = UINT64_MAX;
		if (!beyond_us)
			pause();
		load_start(l);
		load_join(l);
		_exit(1);
	}
	close(pipes[1]);
	if (pid < 0 || read(pipes[0], &c, 1) != 1)
		bench_die(s->engine->name, "fill", "it failed");
	close(pipes[0]);
	usleep(beyond_us);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status))
		bench_die(s->engine->name, "fill", "it ended by itself");
}

static double
open_s(struct session *s)
{
	uint64_t start = now_ns();

	session_open(s);
	return (double)(now_ns() - start) / 1e9;
}

/* Nothing may be open in this process yet: threads do not survive a fork. */
void
suite_open(const struct bench_engine *e, const char *dir)
{
	struct data data = { .value_len = VALUE_LEN, .incompressible = true };
	struct session small, large;
	double replay, killed;
	uint64_t start;
	char small_dir[4096], large_dir[4096];

	snprintf(small_dir, sizeof(small_dir), "%s/small", dir);
	snprintf(large_dir, sizeof(large_dir), "%s/large", dir);
	mkdir(small_dir, 0755);
	mkdir(large_dir, 0755);

	/* The log of one memtable that is about to be full, nothing else. */
	data.entries = settings.memtable_bytes / (VALUE_LEN + KEY_LEN) * 9 / 10;
	session_init(&small, e, small_dir, &data, CACHE_AS_SET, false);
	fill_and_kill(&small, data.entries, 0);

	data.entries =
		(uint64_t)(settings.open_gb * 1e9 / (VALUE_LEN + KEY_LEN));
	session_init(&large, e, large_dir, &data, CACHE_AS_SET, false);
	start = now_ns();
	fill_and_kill(&large, data.entries, BEYOND_US);
	measure_tell((double)data.entries * 1e6 /
	                     ((double)(now_ns() - start) - BEYOND_US * 1e3),
	             "open: fill k/s");
	measure_tell((double)footprint_dir_bytes(large_dir) / 1e9,
	             "open: on disk GB");

	replay = open_s(&small);
	session_close(&small);
	measure_tell(replay, "open: one memtable alone s");
	killed = open_s(&large);
	measure_tell(killed, "open: after kill -9 s");
	measure_tell(killed > replay ? killed - replay : 0,
	             "open: beyond one memtable s");
	workload_read(&large, "open: read", READ, 1);
	session_close(&large);
	measure_tell(open_s(&large), "open: after a close s");
	session_close(&large);
}
