/* SPDX-License-Identifier: ISC */
#include "bench/machine.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/huge.h"
#include "bench/bench.h"

struct machine machine;

#define ROUNDS 3u
#define RUN_NS 100000000u
#define CHUNK 4096u /* steps between looks at the clock */
#define CELLS ((size_t)1 << 25)
#define MEMORY_BYTES (CELLS * sizeof(uint32_t)) /* no cache holds it */
#define FILE_BYTES ((size_t)64 << 20)
#define READ_BYTES 1500u /* about a block as it is stored */
#define CALLS 50000u

struct runner {
	pthread_t thread;
	const uint32_t *cells; /* NULL: sums */
	uint64_t seed;
	double rate; /* steps a second */
};

static uint64_t
next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void *
run(void *arg)
{
	static _Atomic uint64_t sink;
	struct runner *r = arg;
	uint64_t start = now_ns(), x = r->seed, steps = 0, end;

	do {
		/* Each step waits for the one before it. */
		for (unsigned i = 0; i < CHUNK; i++)
			if (r->cells)
				x = x * 0x9e3779b97f4a7c15u +
				    r->cells[(x >> 32) % CELLS];
			else
				next(&x);
		steps += CHUNK;
		end = now_ns();
	} while (end - start < RUN_NS);
	atomic_fetch_add(&sink, x);
	r->rate = (double)steps * 1e9 / (double)(end - start);
	return NULL;
}

static double
rate(const uint32_t *cells, unsigned threads)
{
	struct runner r[2];
	double sum = 0;

	for (unsigned i = 0; i < threads; i++) {
		r[i] = (struct runner){ .cells = cells, .seed = 88172645 + i };
		if (pthread_create(&r[i].thread, NULL, run, &r[i]))
			bench_die("bench", "machine", "no thread");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(r[i].thread, NULL);
		sum += r[i].rate;
	}
	return sum;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static double
scaling(const uint32_t *cells)
{
	double ratio[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		double one = rate(cells, 1);

		ratio[i] = rate(cells, 2) / one;
	}
	return median(ratio);
}

/* us a call: of pread from fd, or, without one, of the cheapest there is. */
static double
call_us(int fd)
{
	static char bytes[READ_BYTES];
	double us[ROUNDS];
	uint64_t x = 88172645;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns();

		for (unsigned n = 0; n < CALLS; n++)
			if (fd < 0)
				syscall(SYS_getppid);
			else if (pread(fd, bytes, READ_BYTES,
			               (off_t)(next(&x) %
			                       (FILE_BYTES - READ_BYTES))) < 0)
				bench_die("bench", "machine", "pread");
		us[i] = (double)(now_ns() - start) / 1e3 / CALLS;
	}
	return median(us);
}

void
machine_measure(const char *dir)
{
	uint32_t *cells = huge_map(MEMORY_BYTES, HUGE_BYTES);
	char path[4096];
	int fd;

	if (!cells)
		bench_die("bench", "machine", "no memory");
	for (size_t i = 0; i < CELLS; i++)
		cells[i] = (uint32_t)(i * 2654435761u);
	snprintf(path, sizeof(path), "%s/machine", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, cells, FILE_BYTES) != (ssize_t)FILE_BYTES)
		bench_die("bench", path, "cannot be written");
	machine.sums_2 = scaling(NULL);
	machine.reads_2 = scaling(cells);
	machine.call_us = call_us(-1);
	machine.pread_us = call_us(fd);
	close(fd);
	unlink(path);
	huge_unmap(cells, MEMORY_BYTES);
}

void
machine_print(void)
{
	printf("this machine: two threads with nothing in common make %.2f "
	       "times the sums of one,\n"
	       "  %.2f times the reads of memory at random; a system call "
	       "takes %.2f us, a pread of\n"
	       "  %u bytes that the page cache has %.2f us\n",
	       machine.sums_2, machine.reads_2, machine.call_us, READ_BYTES,
	       machine.pread_us);
	fflush(stdout);
}
