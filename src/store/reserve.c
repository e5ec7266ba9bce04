/* SPDX-License-Identifier: ISC */
/* See reserve.h. */
#include <stdatomic.h>

#include "base/log.h"
#include "store/names.h"
#include "store/reserve.h"

#define TREE_LEAST (512u << 10)
#define TREE_MOST (256u << 20)
#define TREE_SHARE 4u          /* of the tree's bytes, one in so many */
#define SPARE_BYTES (1u << 20) /* free beside the reserve to leave `low` */

/* Room in plenty: so many times the target and so many bytes more. */
#define PLENTY_TIMES 16u
#define PLENTY_BYTES (UINT64_C(1) << 30)
#define PLENTY_HELD (1u << 20) /* what is held then, at most */

void
reserve_init(struct reserve *r, struct fs_dir *dir)
{
	struct fs_file file = FS_FILE_INIT;

	r->dir = dir;
	pthread_mutex_init(&r->mutex, NULL);
	r->held = 0;
	if (!fs_open(dir, NAME_RESERVE, &file, NULL) &&
	    fs_size(&file, &r->held, NULL))
		r->held = 0;
	fs_close(&file);
}

void
reserve_release(struct reserve *r)
{
	pthread_mutex_destroy(&r->mutex);
}

/* For compaction. */
static uint64_t
tree_share(uint64_t tree_bytes)
{
	uint64_t share = tree_bytes / TREE_SHARE;

	if (share < TREE_LEAST)
		return TREE_LEAST;
	return share < TREE_MOST ? share : TREE_MOST;
}

uint64_t
reserve_target(uint64_t tree_bytes, uint64_t memtable_bytes)
{
	return tree_share(tree_bytes) + memtable_bytes;
}

bool
reserve_has_room(struct reserve *r, uint64_t tree_bytes,
                 uint64_t memtable_bytes)
{
	uint64_t room;

	return !fs_dir_free_bytes(r->dir, &room, NULL) &&
	       room >= tree_share(tree_bytes) / 2 + memtable_bytes;
}

/* Removes the file; it holds nothing but blocks. */
static void
drop(struct reserve *r)
{
	fs_unlink(r->dir, NAME_RESERVE, NULL);
	r->held = 0;
}

static int
grab(struct reserve *r, uint64_t bytes)
{
	struct fs_file file = FS_FILE_INIT;
	int rc;

	drop(r);
	rc = fs_create(r->dir, NAME_RESERVE, &file, NULL);
	if (!rc)
		rc = fs_allocate(&file, 0, bytes, NULL);
	fs_close(&file);
	if (rc)
		drop(r);
	else
		r->held = bytes;
	return rc;
}

/* With the mutex. */
static bool
give_up(struct reserve *r)
{
	bool had = r->held > 0;

	if (had)
		drop(r);
	if (!atomic_exchange(&r->low, true)) {
		atomic_fetch_add(&r->given_up, 1);
		log_warn("the disk is full: sets are refused until there is "
		         "room; reads and deletions go on");
	}
	return had;
}

/*
 * What to hold of `target` with `room` bytes free beside what is held. To give
 * much of it back takes twice the room that was little enough to take it.
 */
static uint64_t
share_to_hold(const struct reserve *r, uint64_t target, uint64_t room)
{
	uint64_t all = room + r->held;

	if (r->held > 2 * PLENTY_HELD)
		all /= 2;
	if (target <= PLENTY_HELD || all < PLENTY_BYTES ||
	    (all - PLENTY_BYTES) / PLENTY_TIMES < target)
		return target;
	return PLENTY_HELD;
}

void
reserve_hold(struct reserve *r, uint64_t target)
{
	bool low;
	uint64_t room = 0;
	int rc = 0;

	pthread_mutex_lock(&r->mutex);
	low = atomic_load(&r->low);
	/* What says nothing of the disk's room changes nothing. */
	if (fs_dir_free_bytes(r->dir, &room, NULL))
		goto done;
	target = share_to_hold(r, target, room);
	/* Near enough: it is not made anew for every flush. */
	if (!low && r->held >= target - target / 8 && r->held <= target * 2)
		goto done;
	if (low && room < target + SPARE_BYTES)
		goto done;
	if (room + r->held < target)
		rc = LSMKV_ENOSPC;
	else
		rc = grab(r, target);
	if (rc == LSMKV_ENOSPC)
		give_up(r);
	if (rc)
		goto done;
	if (low)
		log_info("the disk has room again: sets are accepted");
	atomic_store(&r->low, false);
done:
	pthread_mutex_unlock(&r->mutex);
}

bool
reserve_give_up(struct reserve *r)
{
	bool had;

	pthread_mutex_lock(&r->mutex);
	had = give_up(r);
	pthread_mutex_unlock(&r->mutex);
	return had;
}
