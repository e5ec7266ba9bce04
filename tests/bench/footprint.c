/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/footprint.h"

/* The number behind `name` in a file of /proc, 0 if it is gone. */
static uint64_t
proc_number(const char *pid, const char *file, const char *name)
{
	char path[64], line[256];
	uint64_t number = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			number = strtoull(line + strlen(name), NULL, 10);
	if (f)
		fclose(f);
	return number;
}

/* Calls `each` with the pid of every child of every thread. */
static void
for_children(void (*each)(const char *pid, uint64_t *sum), uint64_t *sum)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;

	while (tasks && (task = readdir(tasks))) {
		char path[320], pid[32];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/children",
		         task->d_name);
		f = task->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (f && fscanf(f, "%31s", pid) == 1)
			each(pid, sum);
		if (f)
			fclose(f);
	}
	if (tasks)
		closedir(tasks);
}

/* ---- memory ---- */

static _Atomic uint64_t children_peak_kb;

static void
most_memory(const char *pid, uint64_t *most)
{
	uint64_t kb = proc_number(pid, "status", "VmHWM:");

	if (kb > *most)
		*most = kb;
}

static void *
watch(void *arg)
{
	uint64_t most = 0;

	(void)arg;
	for (;;) {
		for_children(most_memory, &most);
		atomic_store(&children_peak_kb, most);
		usleep(50000);
	}
	return NULL;
}

void
footprint_watch(void)
{
	pthread_t id;

	if (!pthread_create(&id, NULL, watch, NULL))
		pthread_detach(id);
}

double
footprint_memory_mb(void)
{
	return (double)proc_number("self", "status", "VmRSS:") / 1024;
}

double
footprint_peak_mb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_maxrss / 1024;
}

double
footprint_children_peak_mb(void)
{
	return (double)atomic_load(&children_peak_kb) / 1024;
}

/* ---- bytes written and read, bytes on disk ---- */

static void
add_written(const char *pid, uint64_t *sum)
{
	*sum += proc_number(pid, "io", "write_bytes:");
}

static void
add_read(const char *pid, uint64_t *sum)
{
	*sum += proc_number(pid, "io", "read_bytes:");
}

static uint64_t
with_children(void (*add)(const char *pid, uint64_t *sum))
{
	uint64_t sum = 0;

	add("self", &sum); /* and children that were waited for */
	for_children(add, &sum);
	return sum;
}

uint64_t
footprint_written(void)
{
	return with_children(add_written);
}

uint64_t
footprint_read(void)
{
	return with_children(add_read);
}

uint64_t
footprint_file_bytes(const char *path, const char *name)
{
	char file[4096];
	struct stat st;

	snprintf(file, sizeof(file), "%s/%s", path, name);
	return stat(file, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

uint64_t
footprint_dir_bytes(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t sum = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sum += footprint_file_bytes(path, entry->d_name);
	if (dir)
		closedir(dir);
	return sum;
}
