/* SPDX-License-Identifier: ISC */
/*
 * What the machine itself gives, before any engine: how much two threads make
 * of one when they have nothing in common, and what the kernel takes for a
 * call. What an engine cannot be better than.
 */
#ifndef LSMKV_BENCH_MACHINE_H
#define LSMKV_BENCH_MACHINE_H

struct machine {
	double sums_2;   /* sums of two threads, of those of one */
	double reads_2;  /* the same, reads of memory at random */
	double call_us;  /* the cheapest system call */
	double pread_us; /* 1500 bytes at random that the page cache has */
};

extern struct machine machine; /* as measured; zeros before */

/* Takes some two seconds, and a file in dir. */
void machine_measure(const char *dir);
void machine_print(void);

#endif
