/* SPDX-License-Identifier: ISC */
/*
 * A disk that loses power: from the trace of what a program did to a
 * directory, what may be left of it.
 *
 * It keeps apart what was synced, which is certain, and what was not, which
 * may be there or not, sector by sector, in any order:
 *
 *     a write         each of its 512-byte sectors, for itself; a sector that
 *                     is not there holds what it held before, or garbage
 *     a new size      with or without the bytes
 *     create, rename, unlink   each for itself, until the directory is synced;
 *                     so a renamed file may come back under either name, empty
 *     a failed sync   nothing is certain, and what it did not write is lost
 *                     for good, since the kernel takes those pages for clean
 */
#ifndef LSMKV_TESTS_CRASH_DISK_H
#define LSMKV_TESTS_CRASH_DISK_H

#include "lib/fault.h"

/* What the machine finds when it is back. */
struct image_file {
	char name[48];
	unsigned char *data; /* owned: the first `used` bytes, then zeros */
	size_t used;
	uint64_t size;
};

struct image {
	struct image_file *files; /* owned */
	size_t count;
};

void image_release(struct image *image);
/* Makes dir, which is there, hold these files and no others. */
void image_write(const struct image *image, const char *dir);

/* What becomes of writes and sizes that were not synced. */
enum disk_data {
	DATA_NONE,    /* all lost */
	DATA_ALL,     /* all there */
	DATA_RANDOM,  /* any sectors */
	DATA_TORN,    /* all, but for the end of a file's last write */
	DATA_GARBAGE, /* any sectors, and garbage in others */
	DATA_KINDS
};

/* What becomes of names that were not synced. */
enum disk_names { NAMES_NONE, NAMES_ALL, NAMES_RANDOM, NAMES_KINDS };

struct disk;

/* A disk that holds start, all of it certain; NULL: nothing. */
struct disk *disk_new(const struct image *start);
void disk_free(struct disk *disk);
/*
 * One event further. The event belongs to a trace that outlives the disk.
 * *random is the state of a random generator, never 0.
 */
void disk_apply(struct disk *disk, const struct fault_event *event,
                uint64_t *random);
/* Does the event change what a crash may leave? */
bool disk_event_counts(const struct fault_event *event);
/* The power goes; *out (released by the caller) is what is left. */
void disk_crash(const struct disk *disk, enum disk_data data,
                enum disk_names names, uint64_t *random, struct image *out);

/* A number below `below`, which is not 0. */
uint64_t draw(uint64_t *random, uint64_t below);

#endif
