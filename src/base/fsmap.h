/* SPDX-License-Identifier: ISC */
/*
 * A piece of a file in memory, to write to a file without a system call.
 *
 * What is stored there is the file's at once, as with write(2): every reader
 * sees it, it outlives the process however that ends, and fdatasync takes it
 * to the disk. For a few bytes that costs a fraction of a pwrite; from about a
 * thousand bytes on pwrite is cheaper, since each page must be faulted in.
 *
 * Where write(2) answers with an error - the disk failed, a file system that
 * copies on write is full, somebody took pages off the file - a store ends in
 * SIGBUS. That of a store by fs_map_write is caught, and the answer is false.
 * Whoever gets it writes the same bytes with fs_write, which says what is
 * wrong, or finds that nothing is.
 */
#ifndef LSMKV_BASE_FSMAP_H
#define LSMKV_BASE_FSMAP_H

#include "base/fsio.h"

#define FS_MAP_UNIT 4096u /* offsets of maps are multiples of it */

struct fs_map {
	unsigned char *start; /* NULL: nothing is mapped */
	uint64_t offset;      /* of `start` in the file */
	size_t len;           /* bytes */
	int fd;               /* of the file: which one it is */
};

#define FS_MAP_INIT                                                            \
	{                                                                      \
		NULL, 0, 0, -1                                                 \
	}

/*
 * Maps [offset, offset + len) of the file, which reaches as far, and has its
 * space allocated. False where that cannot be; then there is still fs_write.
 */
bool fs_map(struct fs_map *map, const struct fs_file *file, uint64_t offset,
            size_t len);
void fs_unmap(struct fs_map *map); /* nothing mapped is fine */

static inline bool
fs_map_holds(const struct fs_map *map, uint64_t offset, size_t len)
{
	return map->start && offset >= map->offset &&
	       offset - map->offset <= map->len &&
	       len <= map->len - (size_t)(offset - map->offset);
}

/*
 * Stores data at offset of the file; the map holds [offset, offset + len). On
 * false some of it may be in the file, and the map is good for nothing but
 * fs_unmap.
 */
bool fs_map_write(const struct fs_map *map, const void *data, size_t len,
                  uint64_t offset);

#endif
