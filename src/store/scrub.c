/* SPDX-License-Identifier: ISC */
/* See scrub.h. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/names.h"
#include "store/scrub.h"

#define NICE 15
#define REST_MS 1000u /* at least, from round to round */
#define LOOK_MS 500u  /* how often it is asked whether the file still counts */

struct scrub {
	struct view_box *views;
	uint64_t period_s;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake; /* told to stop */
	bool stop;
	struct sst *file;     /* the one being checked; a reference */
	uint64_t file_done;   /* bytes of it */
	uint64_t round_bytes; /* of the tree when the round began */
	uint64_t round_start_ns;
	uint64_t round_done; /* bytes read in it */
	uint64_t *damaged;   /* numbers of files that were reported (owned) */
	size_t damaged_count;
	_Atomic uint64_t rounds, files, bytes, damaged_files;
};

/* Sleeps until the monotonic clock shows `at`; true when told to stop. */
static bool
sleep_until(struct scrub *s, uint64_t at)
{
	struct timespec until = { .tv_sec = (time_t)(at / 1000000000),
		                  .tv_nsec = (long)(at % 1000000000) };
	bool stop;

	pthread_mutex_lock(&s->mutex);
	while (!s->stop && clock_mono_ns() < at)
		pthread_cond_timedwait(&s->wake, &s->mutex, &until);
	stop = s->stop;
	pthread_mutex_unlock(&s->mutex);
	return stop;
}

/* When, in an even round, byte `done` of it is due. */
static uint64_t
due(const struct scrub *s, uint64_t done)
{
	double share =
		s->round_bytes ? (double)done / (double)s->round_bytes : 1;

	return s->round_start_ns +
	       (uint64_t)(share * (double)s->period_s * 1e9);
}

static int
pace(void *arg, uint64_t position)
{
	struct scrub *s = arg;
	uint64_t bytes = position - s->file_done;

	s->file_done = position;
	s->round_done += bytes;
	atomic_fetch_add(&s->bytes, bytes);
	/*
	 * A small store is read so slowly that one file may take hours. One
	 * that has left the tree is let go at once: its space comes back only
	 * with the last reference.
	 */
	for (;;) {
		uint64_t at = due(s, s->round_done), now = clock_mono_ns();
		uint64_t look = now + UINT64_C(1000000) * LOOK_MS;

		if (sst_is_obsolete(s->file))
			return true;
		if (sleep_until(s, at < look ? at : look))
			return true;
		if (at <= look)
			return false;
	}
}

static bool
is_reported(const struct scrub *s, uint64_t number)
{
	for (size_t i = 0; i < s->damaged_count; i++)
		if (s->damaged[i] == number)
			return true;
	return false;
}

static void
report(struct scrub *s, const struct sst *t, const char *message)
{
	uint64_t number = sst_info_of(t)->number;
	uint64_t *grown;

	if (is_reported(s, number))
		return;
	log_error("scrub: %s; the keys in it that are hit answer an error: "
	          "restore them from a copy (lsmkv verify lists all damage)",
	          message);
	atomic_fetch_add(&s->damaged_files, 1);
	grown = reallocarray(s->damaged, s->damaged_count + 1, sizeof(*grown));
	if (!grown)
		return; /* it will be logged again */
	s->damaged = grown;
	grown[s->damaged_count++] = number;
}

/* The file with the next higher number than `after`, with a reference. */
static struct sst *
next_file(struct scrub *s, uint64_t after)
{
	struct view_slot *slot;
	struct view *v = view_enter(s->views, &slot);
	struct sst *best = NULL;

	for (unsigned n = 0; n < LEVELS_MAX; n++) {
		const struct level *l = &v->levels->level[n];

		for (size_t i = 0; i < l->count; i++) {
			uint64_t number = sst_info_of(l->files[i])->number;

			if (number > after &&
			    (!best || number < sst_info_of(best)->number))
				best = l->files[i];
		}
	}
	if (best)
		sst_ref(best);
	view_leave(slot);
	return best;
}

static void
begin_round(struct scrub *s)
{
	struct view_slot *slot;

	s->round_bytes = levels_bytes(view_enter(s->views, &slot)->levels);
	view_leave(slot);
	s->round_start_ns = clock_mono_ns();
	s->round_done = 0;
}

static void *
scrub_main(void *arg)
{
	struct scrub *s = arg;
	uint64_t after = 0, at;

	/* Of this thread only, on Linux. */
	(void)setpriority(PRIO_PROCESS, 0, NICE);
	begin_round(s);
	for (;;) {
		struct sst *t = next_file(s, after);
		struct err err = ERR_INIT;
		int rc;

		if (!t) {
			if (after)
				atomic_fetch_add(&s->rounds, 1);
			at = due(s, s->round_bytes);
			if (at < clock_mono_ns() + UINT64_C(1000000) * REST_MS)
				at = clock_mono_ns() +
				     UINT64_C(1000000) * REST_MS;
			if (sleep_until(s, at))
				return NULL;
			after = 0;
			begin_round(s);
			continue;
		}
		after = sst_info_of(t)->number;
		s->file = t;
		s->file_done = 0;
		rc = sst_check(t, pace, s, &err);
		atomic_fetch_add(&s->files, 1);
		if (rc < 0 && rc != LSMKV_ESHUTDOWN)
			report(s, t, err.message);
		s->file = NULL;
		sst_unref(t);
		/* Stopped, or only told that this file is gone? */
		if (rc == LSMKV_ESHUTDOWN && sleep_until(s, 0))
			return NULL;
	}
}

int
scrub_start(struct scrub **out, struct view_box *views, uint64_t period_s,
            struct err *err)
{
	struct scrub *s = calloc(1, sizeof(*s));
	pthread_condattr_t monotonic;
	int rc;

	*out = NULL;
	if (!s)
		return err_nomem(err, sizeof(*s));
	s->views = views;
	s->period_s = period_s;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	rc = pthread_create(&s->thread, NULL, scrub_main, s);
	if (rc) {
		pthread_mutex_destroy(&s->mutex);
		pthread_cond_destroy(&s->wake);
		free(s);
		return err_set_errno(err, rc, "cannot start the scrub thread");
	}
	*out = s;
	return 0;
}

void
scrub_get_stat(struct scrub *s, struct scrub_stat *stat)
{
	stat->rounds = atomic_load(&s->rounds);
	stat->files = atomic_load(&s->files);
	stat->bytes = atomic_load(&s->bytes);
	stat->damaged = atomic_load(&s->damaged_files);
}

void
scrub_stop(struct scrub *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->mutex);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->wake);
	free(s->damaged);
	free(s);
}
