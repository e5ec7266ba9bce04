/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/memory_group.h"

#define PROCESS_BYTES (16u << 20) /* heap, stacks, page tables */

static char group[3072];       /* its directory; "": not available */
static const char *limit_file; /* in it */

static bool
write_file(const char *dir, const char *name, const char *text)
{
	char path[4096];
	FILE *f;
	bool fine;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f)
		return false;
	fine = fputs(text, f) >= 0;
	return !fclose(f) && fine;
}

/* Where the hierarchy is mounted: of v1's memory controller, or of v2. */
static bool
find_mount(bool v2, char *out, size_t len)
{
	char line[4096], where[1024], type[64], flags[1024];
	FILE *f = fopen("/proc/self/mounts", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %1023s %63s %1023s", where, type,
		           flags) != 3)
			continue;
		if (v2 ? !strcmp(type, "cgroup2")
		       : !strcmp(type, "cgroup") && strstr(flags, "memory")) {
			snprintf(out, len, "%s", where);
			found = true;
		}
	}
	if (f)
		fclose(f);
	return found;
}

/* The group that this process is in, below the mount. */
static bool
find_own(bool v2, char *out, size_t len)
{
	char line[2048];
	FILE *f = fopen("/proc/self/cgroup", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *want = v2 ? "0::" : ":memory:";
		char *at = strstr(line, want);

		if (!at || (v2 && at != line))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, len, "%s", at + strlen(want));
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

/* Tries to have a group below the own one, or else below the root. */
static bool
choose(bool v2)
{
	char mount[1024], own[1024];
	const char *parents[] = { own, "" };

	if (!find_mount(v2, mount, sizeof(mount)) ||
	    !find_own(v2, own, sizeof(own)))
		return false;
	limit_file = v2 ? "memory.max" : "memory.limit_in_bytes";
	for (unsigned i = 0; i < 2; i++) {
		char parent[2560], file[4096];

		snprintf(parent, sizeof(parent), "%s%s", mount, parents[i]);
		if (v2)
			write_file(parent, "cgroup.subtree_control", "+memory");
		snprintf(group, sizeof(group), "%s/lsmkv-bench-%d", parent,
		         (int)getpid());
		if (mkdir(group, 0755) && errno != EEXIST)
			continue;
		snprintf(file, sizeof(file), "%s/%s", group, limit_file);
		if (!access(file, W_OK))
			return true;
		rmdir(group);
	}
	group[0] = '\0';
	return false;
}

bool
memory_group_available(char *why, unsigned len)
{
	if (choose(false) || choose(true))
		return true;
	snprintf(why, len,
	         "no memory cgroup can be made (%s): LMDB has all of the page "
	         "cache",
	         getuid() ? "try as root" : "no such controller here");
	return false;
}

void
memory_group_enter(uint64_t bytes)
{
	char number[32];

	if (!group[0])
		return;
	if (mkdir(group, 0755) && errno != EEXIST)
		bench_die("bench", group, strerror(errno));
	snprintf(number, sizeof(number), "%" PRIu64, bytes + PROCESS_BYTES);
	if (!write_file(group, limit_file, number) ||
	    !write_file(group, "cgroup.procs", "0"))
		bench_die("bench", group, strerror(errno));
}

void
memory_group_remove(void)
{
	if (group[0])
		rmdir(group);
}
