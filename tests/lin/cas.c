/* SPDX-License-Identifier: ISC */
/*
 * cas DIR KILLS SEED: a history of concurrent operations on the engine.
 *
 * Threads of a child process get, set, delete and compare-and-set a few keys;
 * the parent kills the child at random and starts the next one on the same
 * directory. Each operation is noted before and after in memory that both
 * share, so that a kill leaves it open. Prints one line of JSON for each, as
 * checker.py reads them. LSMKV_HELPER is the helper.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"

#define THREADS 8
#define KEYS 3
#define EVENTS 20000 /* of a thread, at most */
#define ID 24        /* bytes of a value that tell it from all others */
#define VALUE 2000
#define RUN_US 150000
#define PATIENCE_NS 20000000000u
#define UNKNOWN UINT64_MAX

enum kind { NOTHING, GET, SET, DEL, CAS };

struct event {
	uint64_t call, ret; /* ns; ret 0: no answer */
	enum kind kind;     /* NOTHING: did not happen */
	unsigned key;
	char value[ID];    /* of SET and CAS; "": CAS deletes */
	char result[ID];   /* of GET and DEL; "": nothing there */
	uint64_t version;  /* UNKNOWN if not told */
	uint64_t expect;   /* of CAS */
	uint64_t conflict; /* UNKNOWN: it was done */
};

struct history {
	struct event events[THREADS][EVENTS];
	_Atomic size_t count[THREADS];
	_Atomic bool done; /* the child is to end by itself */
};

struct worker {
	pthread_t thread;
	struct history *history;
	struct store *store;
	unsigned number;
	unsigned seed;
	uint64_t seen[KEYS]; /* version last heard of; 0: not there */
};

static _Noreturn void
die(const char *what, const char *why)
{
	fprintf(stderr, "cas: %s: %s\n", what, why);
	exit(1);
}

static unsigned
below(struct worker *w, unsigned n)
{
	return (unsigned)rand_r(&w->seed) % n;
}

/* The part of a value that tells which it is. */
static void
id_of(char id[ID], const struct buf *b)
{
	size_t n = 0;

	while (n < b->len && n < ID - 1 && b->data[n] != ' ') {
		id[n] = (char)b->data[n];
		n++;
	}
	id[n] = '\0';
}

static int
read_key(struct worker *w, struct event *e, struct slice key, struct err *err)
{
	struct entry_info info;
	struct buf value = BUF_INIT;
	int rc = store_get(w->store, key, 0, &value, &info, err);

	if (rc < 0)
		die("get", err->message);
	w->seen[e->key] = 0;
	if (!rc) {
		id_of(e->result, &value);
		w->seen[e->key] = e->version = info.version;
	}
	buf_release(&value);
	return 0;
}

static int
write_key(struct worker *w, struct event *e, struct op *op, struct err *err)
{
	int rc = store_write(w->store, op, 1, NULL, err);

	if (rc == LSMKV_CONFLICT) {
		w->seen[e->key] = op->version;
		if (e->kind == CAS)
			e->conflict = op->version;
	} else if (!rc) {
		bool there = op->kind != ENTRY_TOMBSTONE;

		w->seen[e->key] = there ? op->version : 0;
		if (e->kind != DEL) {
			e->version = op->version;
		} else {
			id_of(e->result, &op->old);
			e->version = op->old_info.version;
		}
	}
	buf_release(&op->old);
	return rc < 0 ? rc : 0;
}

static void
one(struct worker *w, struct event *e, size_t n)
{
	static const char *const keys[KEYS] = { "0", "1", "2" };
	char text[VALUE + ID];
	struct op op = { 0 };
	struct err err = ERR_INIT;
	unsigned dice = below(w, 100);
	bool known = false;
	int rc;

	*e = (struct event){ .key = below(w, KEYS),
		             .version = UNKNOWN,
		             .conflict = UNKNOWN };
	e->kind = dice < 30 ? GET : dice < 45 ? SET : dice < 55 ? DEL : CAS;
	op.key = slice_make(keys[e->key], 1);
	if (e->kind == DEL) {
		op.kind = ENTRY_TOMBSTONE;
		op.condition = OP_IF_PRESENT;
		op.want_old = true;
		known = below(w, 2);
	} else if (e->kind == CAS) {
		op.condition = OP_IF_VERSION;
		op.if_version = e->expect = w->seen[e->key];
		op.kind = e->expect && dice > 90 ? ENTRY_TOMBSTONE : ENTRY_TEXT;
	} else {
		op.kind = ENTRY_TEXT;
	}
	if (e->kind != GET && op.kind != ENTRY_TOMBSTONE) {
		size_t len =
			(size_t)snprintf(e->value, ID, "%u.%zu", w->number, n);
		size_t more = below(w, VALUE);

		memcpy(text, e->value, len);
		memset(text + len, ' ', more);
		op.value = slice_make(text, len + more);
	}
	e->call = clock_mono_ns();
	atomic_store(&w->history->count[w->number], n + 1);
	/* As the API does: what is gone or changed by then is noticed. */
	if (known)
		op.old_found = !store_get(w->store, op.key, 0, &op.old,
		                          &op.old_info, NULL);
	op.known_at = op.old_info.moment;
	rc = e->kind == GET ? read_key(w, e, op.key, &err)
	                    : write_key(w, e, &op, &err);
	if (rc && rc != LSMKV_ESTALLED)
		die("write", err.message);
	if (rc)
		e->kind = NOTHING;
	atomic_thread_fence(memory_order_seq_cst);
	e->ret = clock_mono_ns();
	if (rc)
		clock_sleep_us(1000);
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct history *h = w->history;
	size_t n = atomic_load(&h->count[w->number]);

	while (n < EVENTS && !atomic_load(&h->done)) {
		one(w, &h->events[w->number][n], n);
		n++;
	}
	return NULL;
}

/* The child: works until it is killed, or told to end. */
static void
run(struct history *h, const char *dir, unsigned seed)
{
	struct worker workers[THREADS] = { 0 };
	struct store_options o;
	struct store *s;
	struct err err = ERR_INIT;
	uint64_t end = clock_mono_ns() + PATIENCE_NS;
	int rc;

	log_set_level(LOG_LEVEL_ERROR);
	store_options_init(&o);
	o.memory_bytes = 8u << 20;
	o.memtable_bytes = 64u << 10;
	o.compactor.helper = getenv("LSMKV_HELPER");
	/* The last child's helper may hold the lock for a moment. */
	while ((rc = store_open(&s, dir, &o, &err)) == LSMKV_ELOCKED &&
	       clock_mono_ns() < end)
		clock_sleep_us(1000);
	if (rc)
		die("open", err.message);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		w->history = h;
		w->store = s;
		w->number = i;
		w->seed = seed + i;
		if (pthread_create(&w->thread, NULL, work, w))
			die("thread", "cannot be started");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	while (!atomic_load(&h->done))
		clock_sleep_us(1000); /* all room for events is used */
	if (store_close(s, &err))
		die("close", err.message);
}

static void
print_version(const char *name, uint64_t version)
{
	if (version != UNKNOWN)
		printf(",\"%s\":%llu", name, (unsigned long long)version);
}

static void
print_event(const struct event *e, unsigned client)
{
	static const char *const kinds[] = { "", "get", "set", "del", "cas" };

	printf("{\"client\":%u,\"kind\":\"%s\",\"key\":\"%u\",\"call\":%.9f",
	       client, kinds[e->kind], e->key, (double)e->call / 1e9);
	if (e->ret)
		printf(",\"ret\":%.9f", (double)e->ret / 1e9);
	else
		printf(",\"ret\":null");
	if (e->value[0])
		printf(",\"value\":\"%s\"", e->value);
	if (e->kind == CAS)
		print_version("expect", e->expect);
	if (e->ret) {
		if (e->result[0])
			printf(",\"result\":\"%s\"", e->result);
		print_version("version", e->version);
		print_version("conflict", e->conflict);
	}
	printf("}\n");
}

int
main(int argc, char **argv)
{
	struct history *h;
	unsigned kills, seed;
	int status = 0;

	if (argc != 4)
		die("usage", "cas DIR KILLS SEED");
	kills = (unsigned)strtoul(argv[2], NULL, 10);
	seed = (unsigned)strtoul(argv[3], NULL, 10);
	h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE,
	         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		die("memory", "there is none");
	for (unsigned i = 0; i <= kills; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork", "failed");
		if (!pid) {
			run(h, argv[1], seed + i * THREADS);
			_exit(0);
		}
		clock_sleep_us((unsigned)rand_r(&seed) % RUN_US);
		if (i < kills)
			kill(pid, SIGKILL);
		else
			atomic_store(&h->done, true);
		if (waitpid(pid, &status, 0) != pid)
			die("wait", "failed");
		if (i == kills || !WIFSIGNALED(status))
			if (!WIFEXITED(status) || WEXITSTATUS(status))
				return 1;
	}
	for (unsigned t = 0; t < THREADS; t++)
		for (size_t n = 0; n < atomic_load(&h->count[t]); n++)
			if (h->events[t][n].kind != NOTHING)
				print_event(&h->events[t][n], t);
	return 0;
}
