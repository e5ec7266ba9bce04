/* SPDX-License-Identifier: ISC */
/*
 * SYNC_INTERVAL: the thread that syncs the WAL behind the writers' backs, and
 * the WAL's last sync in both relaxed modes.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/store_impl.h"

/* Syncs sealed segments in their order, then the active one. */
static void
sync_all(struct store *s)
{
	struct commit *c = &s->commit;
	struct err err = ERR_INIT;
	struct sealed_wal *sealed, *next;
	struct wal *active;
	int rc = 0;

	pthread_mutex_lock(&c->wal_mutex);
	sealed = c->sealed_wals;
	c->sealed_wals = NULL;
	c->sealed_wals_end = &c->sealed_wals;
	active = c->wal; /* this thread alone closes it once it is sealed */
	pthread_mutex_unlock(&c->wal_mutex);

	for (; sealed; sealed = next) {
		next = sealed->next;
		if (!rc)
			rc = wal_sync(sealed->wal, &err);
		wal_close(sealed->wal);
		free(sealed);
	}
	if (!rc) {
		wal_set_prior_synced(active);
		rc = wal_sync(active, &err);
	}
	atomic_fetch_add(&s->wal_syncs, 1);
	if (rc)
		store_fail(s, "%s", err.message);
}

static void *
sync_main(void *arg)
{
	struct store *s = arg;
	struct commit *c = &s->commit;
	uint64_t seen = 0;

	pthread_mutex_lock(&c->wal_mutex);
	while (!c->sync_stop) {
		uint64_t at = clock_mono_ns() +
		              (uint64_t)s->options.interval_ms * 1000000;
		struct timespec until = {
			.tv_sec = (time_t)(at / 1000000000),
			.tv_nsec = (long)(at % 1000000000),
		};

		pthread_cond_timedwait(&c->sync_wake, &c->wal_mutex, &until);
		pthread_mutex_unlock(&c->wal_mutex);
		if (atomic_load(&s->published) != seen &&
		    !atomic_load(&s->failed)) {
			seen = atomic_load(&s->published);
			sync_all(s);
		}
		pthread_mutex_lock(&c->wal_mutex);
	}
	pthread_mutex_unlock(&c->wal_mutex);
	return NULL;
}

int
commit_init(struct store *s, struct err *err)
{
	struct commit *c = &s->commit;
	int rc;

	atomic_store(&c->active_since_ns, clock_mono_ns());
	c->sealed_wals_end = &c->sealed_wals;
	if (s->options.sync != SYNC_INTERVAL)
		return 0;
	rc = pthread_create(&c->sync_thread, NULL, sync_main, s);
	if (rc)
		return err_set_errno(err, rc, "cannot start the sync thread");
	c->sync_running = true;
	return 0;
}

int
commit_stop(struct store *s, struct err *err)
{
	struct commit *c = &s->commit;
	struct sealed_wal *sealed;
	int rc = 0;

	if (c->sync_running) {
		pthread_mutex_lock(&c->wal_mutex);
		c->sync_stop = true;
		pthread_cond_signal(&c->sync_wake);
		pthread_mutex_unlock(&c->wal_mutex);
		pthread_join(c->sync_thread, NULL);
		c->sync_running = false;
	}
	if (c->wal && !atomic_load(&s->failed)) {
		struct err sync_err = ERR_INIT;

		/*
		 * In SYNC_NONE nobody knows whether the segments before it
		 * are on disk, and so this one does not say that they are.
		 */
		if (s->options.sync == SYNC_INTERVAL)
			sync_all(s);
		else if (s->options.sync == SYNC_NONE &&
		         wal_sync(c->wal, &sync_err))
			store_fail(s, "%s", sync_err.message);
	}
	while ((sealed = c->sealed_wals)) {
		c->sealed_wals = sealed->next;
		wal_close(sealed->wal);
		free(sealed);
	}
	wal_close(c->wal);
	c->wal = NULL;
	room_discard_spare(s);
	if (atomic_load(&s->failed))
		rc = store_failed(s, err);
	return rc;
}
