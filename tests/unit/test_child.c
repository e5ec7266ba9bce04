/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of base/child. The helper is this program itself, called with
 * the name of a part to play.
 */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 30000 /* what only a bug waits for */

/* ---- the parts ---- */

extern char **environ;

/* Reads stdin to its end. */
static void
wait_for_end(void)
{
	char bytes[4096];

	while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
		;
}

static void
play_fds(void)
{
	int fd;

	for (fd = 0; fd < 65536; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d ", fd);
	}
}

static void
play_signals(void)
{
	struct sigaction action;
	sigset_t blocked;
	int s;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	for (s = 1; s < 32; s++) {
		if (sigismember(&blocked, s))
			printf("%d is blocked ", s);
		if (!sigaction(s, NULL, &action) &&
		    action.sa_handler == SIG_IGN)
			printf("%d is ignored ", s);
	}
}

static void
play_place(void)
{
	char cwd[256], score[64] = "";
	FILE *in;
	char **e;

	wait_for_end();
	in = fopen("/proc/self/oom_score_adj", "r");
	if (!in || !fgets(score, sizeof(score), in))
		exit(1);
	fclose(in);
	printf("nice %d io %ld oom %s", getpriority(PRIO_PROCESS, 0),
	       syscall(SYS_ioprio_get, 1, 0) >> 13, score);
	printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
	printf("group %d\n", getpgrp() == getpid());
	for (e = environ; *e; e++)
		printf("%s\n", *e);
}

static void
play_echo(void)
{
	char bytes[65536];
	ssize_t n, done, w;

	while ((n = read(STDIN_FILENO, bytes, sizeof(bytes))) > 0) {
		for (done = 0; done < n; done += w) {
			w = write(STDOUT_FILENO, bytes + done,
			          (size_t)(n - done));
			if (w < 0)
				exit(1);
		}
	}
}

static int
play(const char *part)
{
	if (!strcmp(part, "fds")) {
		play_fds();
	} else if (!strcmp(part, "signals")) {
		play_signals();
	} else if (!strcmp(part, "place")) {
		play_place();
	} else if (!strcmp(part, "echo")) {
		play_echo();
	} else if (!strcmp(part, "keep")) {
		struct stat st;

		if (fstat(CHILD_KEEP_FD, &st))
			return 1;
		printf("%ju", (uintmax_t)st.st_ino);
	} else if (!strcmp(part, "stderr")) {
		if (write(STDERR_FILENO, "said", 4) != 4)
			return 1;
	} else if (!strcmp(part, "status")) {
		wait_for_end();
		return 7;
	} else if (!strcmp(part, "crash")) {
		raise(SIGKILL);
	} else if (!strcmp(part, "deaf")) {
		close(STDIN_FILENO);
		printf("deaf");
		fflush(stdout);
		for (;;)
			pause();
	} else if (!strcmp(part, "mute")) {
		for (;;)
			pause();
	} else {
		return 99;
	}
	fflush(stdout);
	return 0;
}

/* ---- the parent ---- */

static char self[4096]; /* the path of this program */

static struct child
start(const char *part, int keep)
{
	char text[32];
	char *argv[] = { self, text, NULL };
	struct err err = ERR_INIT;
	struct child c;

	snprintf(text, sizeof(text), "%s", part);
	if (child_start(&c, argv, keep, &err))
		fail_msg("%s", err.message);
	return c;
}

/* All that it says until it has said all, as a string owned by the caller. */
static char *
hear(struct child *c)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	int rc;

	while (!(rc = child_receive(c, &out, LONG_MS, &err)))
		;
	if (rc != LSMKV_END)
		fail_msg("%d: %s", rc, err.message);
	assert_int_equal(buf_append(&out, "", 1, NULL), 0);
	return (char *)out.data;
}

/* What it is sent comes back, more than any pipe holds, and it ends well. */
static void
test_talk(void **state)
{
	struct child c = start("echo", -1);
	struct buf sent = BUF_INIT, got = BUF_INIT;
	struct err err = ERR_INIT;
	uint32_t i;
	int rc = 0;

	(void)state;
	for (i = 0; i < 8192; i++)
		assert_int_equal(buf_append(&sent, &i, sizeof(i), NULL), 0);
	for (i = 0; i < 40; i++) {
		assert_int_equal(child_send(&c, buf_slice(&sent), i == 39,
		                            LONG_MS, &err),
		                 0);
		while (rc == 0 && got.len < (i + 1) * sent.len)
			rc = child_receive(&c, &got, LONG_MS, &err);
		assert_int_equal(rc, 0);
	}
	assert_int_equal(got.len, 40 * sent.len);
	for (i = 0; i < 40; i++)
		assert_memory_equal(got.data + i * sent.len, sent.data,
		                    sent.len);
	assert_int_equal(child_receive(&c, &got, LONG_MS, &err), LSMKV_END);
	assert_int_equal(child_finish(&c, LONG_MS, &err), 0);
	buf_release(&sent);
	buf_release(&got);
}

/* A program that cannot be run is told by child_start, by its name. */
static void
test_exec_failure(void **state)
{
	static const struct {
		const char *path;
		const char *reason;
	} bad[] = {
		{ "/nonexistent/helper", "No such file or directory" },
		{ "/etc/passwd", "Permission denied" },
		{ "/", "Permission denied" },
	};
	struct err err;
	struct child c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char path[64];
		char *argv[] = { path, NULL };

		snprintf(path, sizeof(path), "%s", bad[i].path);
		assert_int_equal(child_start(&c, argv, -1, &err), LSMKV_ECHILD);
		assert_non_null(strstr(err.message, bad[i].path));
		assert_non_null(strstr(err.message, bad[i].reason));
		assert_int_equal(c.pid, 0);
		assert_int_equal(c.to, -1);
		assert_int_equal(c.from, -1);
		assert_int_equal(child_finish(&c, 0, NULL), 0);
	}
	/* Nothing is left to be waited for. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* A child has its pipes and stderr, whatever its parent left open. */
static void
test_inherits_only_its_fds(void **state)
{
	int leak = open("/dev/null", O_RDONLY);
	int high = fcntl(leak, F_DUPFD, 200);
	struct child c;
	char *said;

	(void)state;
	assert_true(leak >= 0 && high >= 200);
	c = start("fds", -1);
	said = hear(&c);
	assert_string_equal(said, "0 1 2 ");
	free(said);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
	c = start("fds", leak);
	said = hear(&c);
	assert_string_equal(said, "0 1 2 3 ");
	free(said);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
	close(leak);
	close(high);
}

static int watched = -1; /* was it open where the child was born? */
static bool watched_was_open;

int __real_posix_spawn(pid_t *pid, const char *path,
                       const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const argv[],
                       char *const env[]);
int __wrap_posix_spawn(pid_t *pid, const char *path,
                       const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const argv[],
                       char *const env[]);

int
__wrap_posix_spawn(pid_t *pid, const char *path,
                   const posix_spawn_file_actions_t *actions,
                   const posix_spawnattr_t *attr, char *const argv[],
                   char *const env[])
{
	watched_was_open = fcntl(watched, F_GETFD) >= 0;
	return __real_posix_spawn(pid, path, actions, attr, argv, env);
}

/*
 * Not even before its exec has a child what its parent left open: if the
 * parent were killed at that moment, its listening socket would live on.
 */
static void
test_born_without_the_rest(void **state)
{
	int numbers[] = { STDIN_FILENO, -1, 300 };
	size_t i;

	(void)state;
	numbers[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(numbers[1] > STDERR_FILENO);
	assert_int_equal(dup2(numbers[1], numbers[2]), numbers[2]);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct child c;
		char *said;

		watched = numbers[i];
		watched_was_open = true;
		c = start("fds", i ? numbers[3 - i] : -1);
		said = hear(&c);
		assert_string_equal(said, i ? "0 1 2 3 " : "0 1 2 ");
		free(said);
		assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
		assert_false(watched_was_open);
		/* The parent still has it. */
		assert_true(fcntl(watched, F_GETFD) >= 0);
	}
	close(numbers[1]);
	close(numbers[2]);
}

/* What is kept arrives as fd 3, even if it is close-on-exec, or stood there. */
static void
test_keep(void **state)
{
	char path[] = "/tmp/lsmkv-keep-XXXXXX", expected[32];
	int fd = mkostemp(path, O_CLOEXEC), saved, i;
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(expected, sizeof(expected), "%ju", (uintmax_t)st.st_ino);
	saved = fcntl(CHILD_KEEP_FD, F_DUPFD_CLOEXEC, 100);
	for (i = 0; i < 2; i++) {
		int keep = i ? dup3(fd, CHILD_KEEP_FD, O_CLOEXEC) : fd;
		struct child c;
		char *said;

		if (i && fd == CHILD_KEEP_FD)
			keep = fd;
		c = start("keep", keep);
		said = hear(&c);
		assert_string_equal(said, expected);
		free(said);
		assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
		/* And ours is as it was. */
		assert_true(fcntl(keep, F_GETFD) & FD_CLOEXEC);
	}
	if (saved >= 0) {
		dup2(saved, CHILD_KEEP_FD);
		close(saved);
	}
	close(fd);
	unlink(path);
}

/* A parent without fd 0 and 1 of its own starts children all the same. */
static void
test_parent_without_stdio(void **state)
{
	int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
	struct child c;
	char *said;

	(void)state;
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	c = start("echo", -1);
	assert_int_equal(
		child_send(&c, slice_str("through"), true, LONG_MS, NULL), 0);
	said = hear(&c);
	if (in >= 0)
		dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	close(in);
	close(out);
	assert_string_equal(said, "through");
	free(said);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
}

/* Its stderr is ours. */
static void
test_stderr(void **state)
{
	int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100), ends[2];
	struct child c;
	char said[8] = "";

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	c = start("stderr", -1);
	dup2(saved, STDERR_FILENO);
	close(ends[1]);
	assert_int_equal(read(ends[0], said, sizeof(said) - 1), 4);
	assert_string_equal(said, "said");
	close(ends[0]);
	close(saved);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
}

/* A child hears every signal, whatever the thread that started it blocks. */
static void
test_signals_are_reset(void **state)
{
	void (*usr1)(int) = signal(SIGUSR1, SIG_IGN);
	void (*broken)(int) = signal(SIGPIPE, SIG_IGN);
	sigset_t all, before, after;
	struct child c;
	char *said;

	(void)state;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	c = start("signals", -1);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	signal(SIGUSR1, usr1);
	signal(SIGPIPE, broken);
	assert_true(sigismember(&after, SIGTERM));
	said = hear(&c);
	assert_string_equal(said, "");
	free(said);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
}

/*
 * It is nice, idle at the disk, first for the OOM killer, in /, in a process
 * group of its own, and knows nothing of our environment but the three names.
 */
static void
test_place(void **state)
{
	struct child c;
	char *said, path[4200];

	(void)state;
	setenv("LSMKV_SECRET", "x", 1);
	setenv("LD_BIND_NOW", "1", 1);
	setenv("LANG", "C.UTF-8", 1);
	setenv("TZ", "UTC", 1);
	c = start("place", -1);
	assert_int_equal(child_send(&c, slice_make(NULL, 0), true, 0, NULL), 0);
	said = hear(&c);
	unsetenv("LSMKV_SECRET");
	unsetenv("LD_BIND_NOW");
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
	snprintf(path, sizeof(path),
	         "nice 10 io 3 oom 1000\ncwd /\ngroup 1\n"
	         "LANG=C.UTF-8\nPATH=%s\nTZ=UTC\n",
	         getenv("PATH"));
	assert_string_equal(said, path);
	free(said);
}

/* Silence is an outcome, not an error, and the child lives on. */
static void
test_silence(void **state)
{
	struct child c = start("echo", -1);
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(child_receive(&c, &out, 0, NULL), LSMKV_NOTFOUND);
	assert_int_equal(child_receive(&c, &out, 30, NULL), LSMKV_NOTFOUND);
	assert_int_equal(out.len, 0);
	assert_int_equal(child_send(&c, slice_str("hi"), true, LONG_MS, NULL),
	                 0);
	assert_int_equal(child_receive(&c, &out, LONG_MS, NULL), 0);
	assert_true(slice_equal(buf_slice(&out), slice_str("hi")));
	buf_release(&out);
	assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
}

/* One that does not end in time is killed, and gone when the call returns. */
static void
check_kill(bool with_pidfd)
{
	struct child c = start("mute", -1);
	struct err err = ERR_INIT;
	pid_t pid = c.pid;

	if (!with_pidfd) {
		close(c.pidfd);
		c.pidfd = -1;
	}
	assert_int_equal(child_finish(&c, 20, &err), LSMKV_ECHILD);
	assert_non_null(strstr(err.message, "killed"));
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(c.pid, 0);
	assert_int_equal(c.to & c.from & c.pidfd, -1);
}

/* Killing, with pidfds and on a kernel without. */
static void
test_kill_after_timeout(void **state)
{
	(void)state;
	check_kill(true);
	check_kill(false);
}

/* How it ended is told: by a status, or by a signal. */
static void
test_how_it_ended(void **state)
{
	struct err err = ERR_INIT;
	struct child c;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		/* Closing its stdin, child_finish lets it end by itself. */
		c = start("status", -1);
		if (i) {
			close(c.pidfd);
			c.pidfd = -1;
		}
		assert_int_equal(child_finish(&c, LONG_MS, &err), LSMKV_ECHILD);
		assert_non_null(strstr(err.message, "exited with status 7"));
	}
	c = start("crash", -1);
	assert_int_equal(child_finish(&c, LONG_MS, &err), LSMKV_ECHILD);
	assert_non_null(strstr(err.message, "died of signal 9"));
}

/* Its end is seen even by a process that was started to ignore SIGCHLD. */
static void
test_sigchld_ignored(void **state)
{
	struct err err = ERR_INIT;
	struct child c;

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	c = start("status", -1);
	assert_int_equal(child_finish(&c, LONG_MS, &err), LSMKV_ECHILD);
	assert_non_null(strstr(err.message, "exited with status 7"));
	signal(SIGCHLD, SIG_DFL);
}

/* Writing to one that does not listen is an error, and never a SIGPIPE. */
static void
test_broken_pipe(void **state)
{
	struct child c = start("deaf", -1);
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	sigset_t pending, mask;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	while (out.len < 4)
		assert_int_equal(child_receive(&c, &out, LONG_MS, NULL), 0);
	assert_int_equal(
		child_send(&c, slice_str("hello?"), false, LONG_MS, &err),
		LSMKV_ECHILD);
	assert_non_null(strstr(err.message, "closed its input"));
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGPIPE));
	buf_release(&out);
	assert_int_equal(child_finish(&c, 0, NULL), LSMKV_ECHILD);
}

/* One that never reads does not hold its parent: the time runs out. */
static void
test_send_timeout(void **state)
{
	struct child c = start("mute", -1);
	struct err err = ERR_INIT;
	struct buf much = BUF_INIT;

	(void)state;
	assert_int_equal(buf_reserve(&much, 1 << 20, NULL), 0);
	memset(much.data, 'x', 1 << 20);
	much.len = 1 << 20;
	assert_int_equal(child_send(&c, buf_slice(&much), true, 20, &err),
	                 LSMKV_ECHILD);
	assert_non_null(strstr(err.message, "does not take its input"));
	assert_int_equal(c.to, -1);
	assert_int_equal(child_send(&c, slice_str("x"), true, 0, &err),
	                 LSMKV_ECHILD);
	buf_release(&much);
	assert_int_equal(child_finish(&c, 0, NULL), LSMKV_ECHILD);
}

/* Two children know nothing of each other's pipes: each sees its own end. */
static void
test_two_children(void **state)
{
	struct child a = start("echo", -1), b = start("echo", -1);
	char *said;

	(void)state;
	assert_int_equal(child_send(&a, slice_str("a"), true, LONG_MS, NULL),
	                 0);
	said = hear(&a);
	assert_string_equal(said, "a");
	free(said);
	assert_int_equal(child_finish(&a, LONG_MS, NULL), 0);
	assert_int_equal(child_send(&b, slice_str("b"), true, LONG_MS, NULL),
	                 0);
	said = hear(&b);
	assert_string_equal(said, "b");
	free(said);
	assert_int_equal(child_finish(&b, LONG_MS, NULL), 0);
}

static size_t
count_fds(void)
{
	size_t n = 0;
	int fd;

	for (fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Children that come, fail and go leave no descriptor behind. */
static void
test_no_fd_leaks(void **state)
{
	char path[] = "/nonexistent";
	char *argv[] = { path, NULL };
	int keep = open("/dev/null", O_RDONLY), i;
	size_t before = count_fds();
	struct child c;

	(void)state;
	for (i = 0; i < 5; i++) {
		c = start("echo", keep);
		assert_int_equal(child_finish(&c, LONG_MS, NULL), 0);
		assert_true(child_start(&c, argv, keep, NULL) < 0);
	}
	assert_int_equal(count_fds(), before);
	close(keep);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_talk),
		cmocka_unit_test(test_exec_failure),
		cmocka_unit_test(test_inherits_only_its_fds),
		cmocka_unit_test(test_born_without_the_rest),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_parent_without_stdio),
		cmocka_unit_test(test_stderr),
		cmocka_unit_test(test_signals_are_reset),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_kill_after_timeout),
		cmocka_unit_test(test_how_it_ended),
		cmocka_unit_test(test_sigchld_ignored),
		cmocka_unit_test(test_broken_pipe),
		cmocka_unit_test(test_send_timeout),
		cmocka_unit_test(test_two_children),
		cmocka_unit_test(test_no_fd_leaks),
	};
	ssize_t n;

	if (argc == 2)
		return play(argv[1]);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
