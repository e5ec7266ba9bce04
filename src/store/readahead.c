/* SPDX-License-Identifier: ISC */
/*
 * Reading ahead (readahead.h). Runs are numbered as they are claimed and stand
 * in a ring: first is the one that the iterator reads, and what lies between
 * first and next is claimed. A run belongs to who claimed it until it is
 * ready, and then to the iterator. The pool's mutex guards all that says who
 * owns what; a run's content is its owner's.
 */
#include "base/processors.h"
#include "store/readahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "store/sst_read.h"
#include "store/sst_seal.h"

#define RUN_BLOCKS 16u
#define RUN_STORED (16u << 10) /* bytes of the file, unless it is one block */
#define RUN_SHARE 8u           /* of what was read before, one part at most */
#define READERS 16u            /* runs, for telling how many scan at a time */
#define RUN_BYTES (READAHEAD_BYTES / READAHEAD_RUNS) /* inflated */

struct run {
	bool ready;     /* has been made, as far as it goes */
	bool missed;    /* some block was not in the cache */
	uint32_t block; /* the first in the direction of the scan */
	uint32_t count; /* blocks */
	uint32_t made;  /* of these, from the first on, are in: */
	struct sst_block *made_block[RUN_BLOCKS]; /* pinned; NULL once given */
};

struct readahead {
	struct readahead_pool *pool; /* borrowed */
	struct sst *t;               /* one reference */
	struct sst_index *x;         /* pinned */
	bool backward;
	atomic_bool stopped; /* the iterator is gone */
	/* The pool's mutex guards these: */
	TAILQ_ENTRY(readahead) in_waiting; /* if it is queued */
	bool queued;                       /* waits for a helper */
	bool helped;                       /* has one */
	bool waits;                        /* the iterator, for `ready` */
	pthread_cond_t ready;              /* the helper has made a run */
	unsigned window;                   /* runs that may be claimed */
	uint64_t first, next;              /* numbers of runs */
	uint32_t block;                    /* the first of run `next` */
	uint32_t left;                     /* blocks that no run has yet */
	uint32_t read;                     /* blocks before `block`, in a row */
	/* The iterator's: */
	struct run *current;           /* run `first`; NULL: none yet */
	uint32_t at;                   /* its block that comes next */
	struct sst_window file_window; /* for blocks of its own */
	/* Its owner's: */
	struct run run[READAHEAD_RUNS];
};

struct readahead_pool {
	struct readahead_options options;
	unsigned most;         /* iterators that may be helped at a time */
	pthread_mutex_t mutex; /* guards what follows, and see above */
	pthread_cond_t wake;   /* somebody waits, or stop */
	TAILQ_HEAD(, readahead) waiting;
	unsigned open;    /* readaheads that exist */
	unsigned idle;    /* threads that wait for `wake` */
	unsigned threads; /* that have started */
	bool stop;
	uint64_t helped, own;      /* blocks made */
	pthread_t reader[READERS]; /* who began a run last; a ring */
	unsigned readers;          /* written to it, in all */
	pthread_t thread[READAHEAD_THREADS_MAX];
};

void
readahead_options_init(struct readahead_options *options)
{
	unsigned processors = processors_allowed();

	options->after = 32;
	options->processors = processors;
	options->threads = processors - 1 < READAHEAD_THREADS_MAX
	                           ? processors - 1
	                           : READAHEAD_THREADS_MAX;
}

/* ---- runs ---- */

static struct run *
run_of(struct readahead *r, uint64_t number)
{
	return &r->run[number % READAHEAD_RUNS];
}

/* Block i of the run. */
static uint32_t
block_of(const struct readahead *r, const struct run *run, uint32_t i)
{
	return r->backward ? run->block - i : run->block + i;
}

/* Where its blocks from `from` up to `to` stand in the file. */
static uint64_t
stretch(const struct readahead *r, const struct run *run, uint32_t from,
        uint32_t to, uint64_t *len)
{
	uint32_t a = block_of(r, run, from), b = block_of(r, run, to - 1);
	uint32_t low = a < b ? a : b, high = a < b ? b : a;

	*len = r->x->offset[high + 1] - r->x->offset[low];
	return r->x->offset[low];
}

static bool
may_claim(const struct readahead *r)
{
	return r->left && r->next - r->first < r->window;
}

/* With the mutex held: the next run, which is the caller's then, or NULL. */
static struct run *
claim(struct readahead *r)
{
	struct run *run = run_of(r, r->next);
	uint64_t len;
	uint32_t most;

	if (!may_claim(r))
		return NULL;
	run->ready = run->missed = false;
	run->made = 0;
	run->block = r->block;
	most = r->read / RUN_SHARE < RUN_BLOCKS ? r->read / RUN_SHARE
	                                        : RUN_BLOCKS;
	for (run->count = 1; run->count < most && run->count < r->left;
	     run->count++) {
		stretch(r, run, 0, run->count + 1, &len);
		if (len > RUN_STORED)
			break;
	}
	r->left -= run->count;
	r->read += run->count;
	if (r->left)
		r->block = block_of(r, run, run->count);
	r->next++;
	return run;
}

/* Bytes that a block says it has once inflated; nobody has checked it yet. */
static uint64_t
raw_bytes(struct slice stored)
{
	if (stored.len < SST_TRAILER_BYTES)
		return UINT64_MAX;
	return get_u32(stored.data + stored.len - SST_TRAILER_BYTES + 1);
}

/*
 * The run's owner: makes its blocks, as far as they are small and in order.
 * What cannot be made is left to the iterator, and so is the reason why.
 */
static void
make(struct readahead *r, struct run *run)
{
	struct sst *t = r->t;
	struct buf *scratch = NULL;
	uint64_t len, start = stretch(r, run, 0, run->count, &len), bytes = 0;

	while (run->made < run->count &&
	       !atomic_load_explicit(&r->stopped, memory_order_relaxed)) {
		uint32_t i = block_of(r, run, run->made);
		uint64_t offset = r->x->offset[i];
		struct sst_block *b = NULL;
		struct slice stored;

		if (sst_cached_block(t, r->x, i, &b, NULL))
			break;
		if (!b) {
			run->missed = true;
			if (len > RUN_BYTES)
				break;
			if (!scratch) {
				scratch = sst_scratch(NULL);
				if (!scratch || sst_read_stored(t, start, len,
				                                scratch, NULL))
					break;
			}
			stored = slice_make(
				scratch->data + (offset - start),
				(size_t)(r->x->offset[i + 1] - offset));
			if (raw_bytes(stored) > RUN_BYTES - bytes ||
			    sst_block_make(t, r->x, i, stored, false, &b, NULL))
				break;
			bytes += b->head.size;
		}
		if (t->cache)
			block_cache_charge(t->cache, &b->head);
		run->made_block[run->made++] = b;
		if (bytes >= RUN_BYTES)
			break;
	}
	if (scratch)
		sst_scratch_trim(scratch);
}

/* ---- is a processor free? ---- */

static void
note_reader(struct readahead_pool *p)
{
	p->reader[p->readers++ % READERS] = pthread_self();
}

/* Threads among those that began a run lately: an iterator that stands still
   does not count, and the many of a merge count once. */
static unsigned
count_readers(const struct readahead_pool *p)
{
	unsigned n = p->readers < READERS ? p->readers : READERS, different = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned j = 0;

		while (j < i && !pthread_equal(p->reader[j], p->reader[i]))
			j++;
		different += j == i;
	}
	return different;
}

/* May so many helpers work? More would take processors from scans. */
static bool
has_processors(const struct readahead_pool *p, unsigned helpers)
{
	return count_readers(p) + helpers <= p->options.processors;
}

/* ---- the helpers ---- */

/* Nobody else knows of it any more. */
static void
release(struct readahead *r)
{
	for (uint64_t n = r->first; n < r->next; n++) {
		struct run *run = run_of(r, n);

		for (uint32_t i = 0; i < run->made; i++)
			if (run->made_block[i])
				cache_block_unpin(&run->made_block[i]->head);
	}
	cache_block_unpin(&r->x->head);
	sst_unref(r->t);
	buf_release(&r->file_window.bytes);
	pthread_cond_destroy(&r->ready);
	free(r);
}

static void
queue(struct readahead_pool *p, struct readahead *r)
{
	r->queued = true;
	TAILQ_INSERT_TAIL(&p->waiting, r, in_waiting);
}

/* With the mutex held: makes runs of r until others wait as well, or there is
   nothing to claim. */
static void
help(struct readahead_pool *p, struct readahead *r)
{
	struct run *run;

	r->helped = true;
	while (!p->stop && !atomic_load(&r->stopped) && (run = claim(r))) {
		pthread_mutex_unlock(&p->mutex);
		make(r, run);
		pthread_mutex_lock(&p->mutex);
		run->ready = true;
		p->helped += run->made;
		if (r->waits)
			pthread_cond_signal(&r->ready);
		if (!has_processors(p, p->threads - p->idle))
			break;
		if (!TAILQ_EMPTY(&p->waiting)) {
			if (may_claim(r) && !atomic_load(&r->stopped))
				queue(p, r);
			break;
		}
	}
	r->helped = false;
	if (!atomic_load(&r->stopped))
		return;
	p->open--;
	pthread_mutex_unlock(&p->mutex);
	release(r);
	pthread_mutex_lock(&p->mutex);
}

static void *
helper_main(void *arg)
{
	struct readahead_pool *p = (struct readahead_pool *)arg;

	pthread_mutex_lock(&p->mutex);
	while (!p->stop) {
		struct readahead *r = TAILQ_FIRST(&p->waiting);

		if (!r) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->mutex);
			p->idle--;
			continue;
		}
		TAILQ_REMOVE(&p->waiting, r, in_waiting);
		r->queued = false;
		help(p, r);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

/* With the mutex held. Where no thread can be started, nobody helps. */
static void
ask_for_help(struct readahead *r)
{
	struct readahead_pool *p = r->pool;
	uint64_t room = r->window - (r->next - r->first);

	/* Half a window at least, so that it is worth the waking. */
	if (r->queued || r->helped || !may_claim(r) || room * 2 < r->window ||
	    !has_processors(p, p->threads - p->idle + 1))
		return;
	queue(p, r);
	if (p->idle)
		pthread_cond_signal(&p->wake);
	else if (p->threads < p->options.threads &&
	         !pthread_create(&p->thread[p->threads], NULL, helper_main, p))
		p->threads++;
}

int
readahead_pool_new(struct readahead_pool **out,
                   const struct readahead_options *options,
                   uint64_t memory_bytes, struct err *err)
{
	struct readahead_pool *p =
		(struct readahead_pool *)calloc(1, sizeof(*p));

	*out = NULL;
	if (!p)
		return err_nomem(err, sizeof(*p));
	p->options = *options;
	if (p->options.threads > READAHEAD_THREADS_MAX)
		p->options.threads = READAHEAD_THREADS_MAX;
	p->most = memory_bytes / READAHEAD_BYTES < 1024
	                  ? (unsigned)(memory_bytes / READAHEAD_BYTES)
	                  : 1024;
	if (!p->most)
		p->most = 1;
	TAILQ_INIT(&p->waiting);
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->wake, NULL);
	*out = p;
	return 0;
}

void
readahead_pool_free(struct readahead_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->mutex);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->mutex);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	assert(!p->open);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

void
readahead_get_stat(struct readahead_pool *p, struct readahead_stat *stat)
{
	pthread_mutex_lock(&p->mutex);
	stat->threads = p->threads;
	stat->helped = p->helped;
	stat->own = p->own;
	pthread_mutex_unlock(&p->mutex);
}

/* ---- the iterator's side ---- */

unsigned
readahead_after(const struct readahead_pool *p)
{
	return p && p->options.threads ? p->options.after : 0;
}

struct readahead *
readahead_start(struct readahead_pool *p, struct sst *t, struct sst_index *x,
                uint32_t block, bool backward)
{
	struct readahead *r = NULL;
	bool room;

	pthread_mutex_lock(&p->mutex);
	room = p->open < p->most;
	p->open += room;
	pthread_mutex_unlock(&p->mutex);
	if (!room)
		return NULL;
	r = (struct readahead *)calloc(1, sizeof(*r));
	if (!r) {
		pthread_mutex_lock(&p->mutex);
		p->open--;
		pthread_mutex_unlock(&p->mutex);
		return NULL;
	}
	r->pool = p;
	r->t = sst_ref(t);
	r->x = x;
	cache_block_pin(&x->head);
	r->backward = backward;
	r->window = 1;
	r->read = p->options.after;
	r->block = block;
	r->left = backward ? block + 1 : x->count - block;
	pthread_cond_init(&r->ready, NULL);
	return r;
}

/* The iterator has nothing to read: gets it the run that comes next. */
static void
advance(struct readahead *r)
{
	struct readahead_pool *p = r->pool;
	struct run *run, *other;

	pthread_mutex_lock(&p->mutex);
	note_reader(p);
	run = r->current;
	if (run) {
		p->own += run->count - run->made;
		r->window = !run->missed                     ? 1
		            : r->window < READAHEAD_RUNS / 2 ? r->window * 2
		                                             : READAHEAD_RUNS;
		r->first++;
	}
	run = run_of(r, r->first);
	if (r->first == r->next) {
		claim(r);
		run->ready = true;
	}
	ask_for_help(r);
	while (!run->ready) {
		other = claim(r);
		if (other) {
			pthread_mutex_unlock(&p->mutex);
			make(r, other);
			pthread_mutex_lock(&p->mutex);
			p->own += other->made;
			other->ready = true;
		} else {
			r->waits = true;
			pthread_cond_wait(&r->ready, &p->mutex);
			r->waits = false;
		}
	}
	pthread_mutex_unlock(&p->mutex);
	r->current = run;
	r->at = 0;
}

int
readahead_next(struct readahead *r, struct sst_block **out, struct err *err)
{
	struct run *run;
	struct sst_window *w = &r->file_window;
	uint64_t offset;
	uint32_t i;
	int code;

	if (!r->current || r->at == r->current->count)
		advance(r);
	run = r->current;
	if (r->at < run->made) {
		*out = run->made_block[r->at];
		run->made_block[r->at++] = NULL;
		return 0;
	}
	/* Nobody has made it: the rest of the run is read at once. */
	i = block_of(r, run, r->at);
	stretch(r, run, r->at, run->count, &w->ahead);
	code = sst_get_block(r->t, r->x, i, w, r->backward, out, err);
	if (code)
		return code;
	offset = r->x->offset[i];
	run->missed |= offset >= w->offset && offset < w->offset + w->bytes.len;
	r->at++;
	return 0;
}

void
readahead_stop(struct readahead *r)
{
	struct readahead_pool *p;
	bool last;

	if (!r)
		return;
	p = r->pool;
	pthread_mutex_lock(&p->mutex);
	if (r->queued)
		TAILQ_REMOVE(&p->waiting, r, in_waiting);
	last = !r->helped;
	p->open -= last;
	atomic_store(&r->stopped, true);
	pthread_mutex_unlock(&p->mutex);
	if (last)
		release(r);
}
