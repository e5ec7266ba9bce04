/* SPDX-License-Identifier: ISC */
/*
 * A helper process that we talk to: its only fork, exec, wait and kill.
 *
 * posix_spawn(3) starts it: that shares the parent's memory until the exec
 * (nothing is copied, however large the block cache is), blocks signals
 * meanwhile, and tells an exec that failed from a child that did. Priorities
 * are set from outside, by its number; a helper waits for its job before it
 * does anything that they matter for.
 *
 * Our pipe ends never block, so that every wait is a poll(2) with a deadline.
 * A helper that has gone away is an EPIPE to us, never a SIGPIPE.
 */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsio.h"

#define NICE 10
#define OOM_SCORE_ADJ "1000"
#define RECEIVE_BYTES 65536u /* read at once: all that a pipe holds */
#define LOOK_AGAIN_MS 5      /* without a pidfd, it is looked for this often */

/* ---- time and pipes ---- */

static uint64_t
deadline_after(int timeout_ms)
{
	return clock_mono_ns() / 1000000 +
	       (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
}

static int
left_ms(uint64_t deadline)
{
	uint64_t now = clock_mono_ns() / 1000000;

	return now < deadline ? (int)(deadline - now) : 0;
}

/* True if fd has the event (or an error or hang-up) before the deadline. */
static bool
wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, left_ms(deadline));
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/*
 * A pipe whose end number `ours` does not block. Both ends stand above the
 * descriptors that a child is given, so that dup2 in the child cannot run
 * over one that is still needed (a parent may have been started without 0, 1
 * or 2).
 */
static int
make_pipe(int ends[2], int ours)
{
	int i;

	if (pipe2(ends, O_CLOEXEC)) {
		ends[0] = ends[1] = -1;
		return -1;
	}
	for (i = 0; i < 2; i++) {
		int high = fcntl(ends[i], F_DUPFD_CLOEXEC, CHILD_KEEP_FD + 1);

		if (high < 0)
			return -1;
		close(ends[i]);
		ends[i] = high;
	}
	return fcntl(ends[ours], F_SETFL, O_NONBLOCK);
}

/* ---- starting ---- */

struct environment {
	char *texts[3]; /* owned: "NAME=value" */
	char *list[4];  /* those that are set, and NULL */
};

static int
environment_init(struct environment *env)
{
	static const char *const names[] = { "LANG", "PATH", "TZ" };
	size_t i, n = 0;

	memset(env, 0, sizeof(*env));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (!value)
			continue;
		if (asprintf(&env->texts[n], "%s=%s", names[i], value) < 0) {
			env->texts[n] = NULL;
			return -1;
		}
		env->list[n] = env->texts[n];
		n++;
	}
	return 0;
}

static void
environment_release(struct environment *env)
{
	size_t i;

	for (i = 0; i < sizeof(env->texts) / sizeof(env->texts[0]); i++)
		free(env->texts[i]);
}

/* Whoever started us may ignore SIGCHLD: then nobody could be waited for. */
static void
make_waitable(void)
{
	struct sigaction action;

	if (sigaction(SIGCHLD, NULL, &action))
		return;
	if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT))
		return;
	if (action.sa_handler == SIG_IGN)
		action.sa_handler = SIG_DFL;
	action.sa_flags &= ~SA_NOCLDWAIT;
	sigaction(SIGCHLD, &action, NULL);
}

/* What becomes of the descriptors, in the order in which it happens. */
static int
set_actions(posix_spawn_file_actions_t *a, int in, int out, int keep)
{
	int e;

	e = posix_spawn_file_actions_adddup2(a, in, STDIN_FILENO);
	if (!e)
		e = posix_spawn_file_actions_adddup2(a, out, STDOUT_FILENO);
	/* A closed fd 2 would be the first file that the helper opens. */
	if (!e && fcntl(STDERR_FILENO, F_GETFD) < 0)
		e = posix_spawn_file_actions_addopen(a, STDERR_FILENO,
		                                     "/dev/null", O_WRONLY, 0);
	else if (!e)
		e = posix_spawn_file_actions_adddup2(a, STDERR_FILENO,
		                                     STDERR_FILENO);
	if (!e && keep >= 0)
		e = posix_spawn_file_actions_adddup2(a, keep, CHILD_KEEP_FD);
	if (!e)
		e = posix_spawn_file_actions_addclosefrom_np(
			a, keep >= 0 ? CHILD_KEEP_FD + 1 : CHILD_KEEP_FD);
	if (!e)
		e = posix_spawn_file_actions_addchdir_np(a, "/");
	return e;
}

/*
 * No signal blocked or ignored, whatever the calling thread does, and a
 * process group of its own: a Ctrl-C at the terminal is for the parent, which
 * decides what becomes of its helper.
 */
static int
set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	e = posix_spawnattr_setsigmask(attr, &none);
	if (!e)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (!e)
		e = posix_spawnattr_setpgroup(attr, 0);
	if (!e)
		e = posix_spawnattr_setflags(
			attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				      POSIX_SPAWN_SETPGROUP);
	return e;
}

#define NEEDED 4

struct start {
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attr;
	char *const *argv;
	char *const *env;
	const int *needed; /* NEEDED descriptors, ascending; -1: none */
	pid_t pid;         /* outcome */
	int e;             /* its errno, 0 if it was started */
};

static void
close_all_but(const int *needed)
{
	int low = 0;

	for (size_t i = 0; i < NEEDED; i++) {
		if (needed[i] < low)
			continue;
		if (needed[i] > low)
			close_range((unsigned)low, (unsigned)needed[i] - 1, 0);
		low = needed[i] + 1;
	}
	close_range((unsigned)low, ~0u, 0);
}

/*
 * Between its birth and its exec a child has all descriptors of the thread
 * that bore it, the listening socket among them. If the parent is killed right
 * then, the socket seems to be alive: a web server that looks whether to start
 * a new responder connects to it, is content, and never starts one. So this
 * thread has a table of its own, without what is not for the child. (If there
 * can be none, the moment remains.)
 */
static void *
start(void *arg)
{
	struct start *s = arg;

	if (!unshare(CLONE_FILES))
		close_all_but(s->needed);
	s->e = posix_spawn(&s->pid, s->argv[0], s->actions, s->attr, s->argv,
	                   s->env);
	return NULL;
}

static int
compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Returns 0 and *pid, or an errno. */
static int
spawn(pid_t *pid, char *const argv[], int in, int out, int keep)
{
	int needed[NEEDED] = { in, out, keep, STDERR_FILENO };
	struct start s = { .argv = argv, .needed = needed };
	pthread_t thread;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	struct environment env;
	int e = ENOMEM;

	if (environment_init(&env))
		goto no_actions;
	e = posix_spawn_file_actions_init(&actions);
	if (e)
		goto no_actions;
	e = posix_spawnattr_init(&attr);
	if (e)
		goto no_attr;
	e = set_actions(&actions, in, out, keep);
	if (!e)
		e = set_attributes(&attr);
	qsort(needed, NEEDED, sizeof(needed[0]), compare_fds);
	s.actions = &actions;
	s.attr = &attr;
	s.env = env.list;
	if (!e)
		e = pthread_create(&thread, NULL, start, &s);
	if (!e) {
		pthread_join(thread, NULL);
		*pid = s.pid;
		e = s.e;
	}
	posix_spawnattr_destroy(&attr);
no_attr:
	posix_spawn_file_actions_destroy(&actions);
no_actions:
	environment_release(&env);
	return e;
}

/* Last in line for CPU and disk, first for the OOM killer. May all fail. */
static void
stand_back(pid_t pid)
{
	char path[64];
	const struct sched_param batch = { .sched_priority = 0 };
	int nice = getpriority(PRIO_PROCESS, 0);

	setpriority(PRIO_PROCESS, (id_t)pid, nice > NICE ? nice : NICE);
	sched_setscheduler(pid, SCHED_BATCH, &batch);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
	        IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	snprintf(path, sizeof(path), "/proc/%jd/oom_score_adj", (intmax_t)pid);
	fs_write_setting(path, OOM_SCORE_ADJ, NULL);
}

int
child_start(struct child *c, char *const argv[], int keep, struct err *err)
{
	struct child none = CHILD_INIT;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, high_keep = -1;
	int rc = 0, e;

	*c = none;
	make_waitable();
	if (make_pipe(in, 1) || make_pipe(out, 0)) {
		rc = err_set(err, LSMKV_ECHILD,
		             "%s: cannot make a pipe to it: %s", argv[0],
		             strerrordesc_np(errno));
		goto done;
	}
	if (keep >= 0) {
		high_keep = fcntl(keep, F_DUPFD_CLOEXEC, CHILD_KEEP_FD + 1);
		if (high_keep < 0) {
			rc = err_set(err, LSMKV_ECHILD,
			             "%s: cannot hand descriptor %d down: %s",
			             argv[0], keep, strerrordesc_np(errno));
			goto done;
		}
	}
	e = spawn(&c->pid, argv, in[0], out[1], high_keep);
	if (e) {
		c->pid = 0;
		rc = err_set(err, LSMKV_ECHILD, "%s: cannot start it: %s",
		             argv[0], strerrordesc_np(e));
		goto done;
	}
	/* Not waited for yet: the number is still that of our child. */
	c->pidfd = pidfd_open(c->pid, 0);
	stand_back(c->pid);
	c->to = in[1];
	c->from = out[0];
	in[1] = out[0] = -1;
done:
	close_fd(&in[0]);
	close_fd(&in[1]);
	close_fd(&out[0]);
	close_fd(&out[1]);
	close_fd(&high_keep);
	return rc;
}

/* ---- talking ---- */

static int
talk_error(const struct child *c, const char *what, struct err *err)
{
	return err_set(err, LSMKV_ECHILD, "helper process %jd %s",
	               (intmax_t)c->pid, what);
}

/*
 * write(2) without its SIGPIPE. The signal goes to the thread that writes: it
 * is blocked there, taken back if the write raised it, and every other thread
 * and the process's own setting stay as they are.
 */
static ssize_t
write_no_signal(int fd, const void *data, size_t len)
{
	static const struct timespec at_once = { 0, 0 };
	sigset_t broken, before, pending;
	bool was_pending;
	ssize_t n;
	int e;

	sigemptyset(&broken);
	sigaddset(&broken, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &broken, &before);
	n = write(fd, data, len);
	e = errno;
	if (n < 0 && e == EPIPE && !was_pending)
		while (sigtimedwait(&broken, NULL, &at_once) < 0 &&
		       errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = e;
	return n;
}

int
child_send(struct child *c, struct slice data, bool close, int timeout_ms,
           struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms);
	int rc = 0;

	if (c->to < 0 && data.len)
		return talk_error(c, "was told before that all is said", err);
	while (data.len) {
		ssize_t n = write_no_signal(c->to, data.data, data.len);

		if (n > 0) {
			data.data += n;
			data.len -= (size_t)n;
		} else if (n < 0 && errno == EPIPE) {
			rc = talk_error(c, "has closed its input", err);
			break;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			rc = talk_error(c, strerrordesc_np(errno), err);
			break;
		} else if (!wait_for(c->to, POLLOUT, deadline)) {
			rc = talk_error(c, "does not take its input", err);
			break;
		}
	}
	if (close)
		close_fd(&c->to);
	return rc;
}

int
child_receive(struct child *c, struct buf *out, int timeout_ms, struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms);
	int rc = buf_reserve(out, RECEIVE_BYTES, err);

	if (rc)
		return rc;
	for (;;) {
		ssize_t n = read(c->from, out->data + out->len, RECEIVE_BYTES);

		if (n > 0) {
			out->len += (size_t)n;
			return 0;
		}
		if (!n)
			return LSMKV_END;
		if (errno != EAGAIN && errno != EINTR)
			return talk_error(c, strerrordesc_np(errno), err);
		if (!wait_for(c->from, POLLIN, deadline))
			return LSMKV_NOTFOUND;
	}
}

/* ---- ending ---- */

/* Waits at most until the deadline; true once it can be waited for. */
static bool
has_ended(const struct child *c, uint64_t deadline)
{
	siginfo_t info;

	if (c->pidfd >= 0)
		return wait_for(c->pidfd, POLLIN, deadline);
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)c->pid, &info,
		           WEXITED | WNOHANG | WNOWAIT) ||
		    info.si_pid)
			return true;
		if (!left_ms(deadline))
			return false;
		clock_sleep_us(LOOK_AGAIN_MS * 1000);
	}
}

int
child_finish(struct child *c, int timeout_ms, struct err *err)
{
	struct child none = CHILD_INIT;
	bool killed = false;
	int rc = 0, status = 0;
	pid_t pid;

	if (!c->pid)
		return 0;
	close_fd(&c->to);
	/* Its output stays open meanwhile: it may have a last word. */
	if (!has_ended(c, deadline_after(timeout_ms))) {
		killed = true;
		kill(c->pid, SIGKILL);
	}
	do
		pid = waitpid(c->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	if (pid < 0)
		rc = talk_error(c, "was waited for by somebody else", err);
	else if (WIFEXITED(status) && WEXITSTATUS(status))
		rc = err_set(err, LSMKV_ECHILD,
		             "helper process %jd exited with status %d",
		             (intmax_t)c->pid, WEXITSTATUS(status));
	else if (WIFSIGNALED(status) && killed)
		rc = err_set(err, LSMKV_ECHILD,
		             "helper process %jd did not end within %d ms and "
		             "was killed",
		             (intmax_t)c->pid, timeout_ms);
	else if (WIFSIGNALED(status))
		rc = err_set(err, LSMKV_ECHILD,
		             "helper process %jd died of signal %d (%s)",
		             (intmax_t)c->pid, WTERMSIG(status),
		             sigdescr_np(WTERMSIG(status)));
	close_fd(&c->from);
	close_fd(&c->pidfd);
	*c = none;
	return rc;
}
