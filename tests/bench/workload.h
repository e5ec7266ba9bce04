/* SPDX-License-Identifier: ISC */
/*
 * What threads do with a store: entries, and the loads that write and read
 * them. Keys are 16 hexadecimal digits in random order, the same for every
 * engine; half of a value is random text, the other half repeats it.
 */
#ifndef LSMKV_BENCH_WORKLOAD_H
#define LSMKV_BENCH_WORKLOAD_H

#include <pthread.h>

#include "bench/histogram.h"
#include "bench/session.h"
#include "bench/timeline.h"

#define KEY_LEN 16u
#define THREADS_MOST 64

enum load_kind {
	FILL,         /* writes entry after entry */
	READ,         /* of any entry, each as likely */
	READ_ZIPF,    /* of few entries often, of most rarely */
	READ_MISSING, /* of keys that were never written */
};

/*
 * What one thread does. The outcome is its own until it has ended; two of them
 * share no cache line, nor one that the processor fetches along with it.
 */
struct load {
	_Alignas(128) struct session *session;
	enum load_kind kind;
	uint64_t from;             /* FILL: the first entry */
	uint64_t count;            /* operations; ends after them, */
	uint64_t until;            /* or at this time (now_ns; 0: never), */
	const _Atomic int *stop;   /* or when this is set; may be NULL */
	struct timeline *timeline; /* where it writes its latencies, too */
	uint64_t seed;
	/* Outcome. */
	struct histogram latency;
	uint64_t done, found;
	pthread_t thread;
};

struct load *load_new(unsigned count); /* zeroed; to be freed */
void load_start(struct load *l);
void load_join(struct load *l);

/*
 * Threads that write `count` entries (but for no longer than `seconds`, when
 * that is not 0), or read for as long as --seconds says; tells the rate and the latencies
 * as rows "name k/s", "name, p50 us" and so on. Reads that do not find what
 * was written, or find what was not, end the process.
 */
void workload_fill(struct session *s, const char *name, unsigned threads,
                   uint64_t from, uint64_t count, double seconds);
void workload_read(struct session *s, const char *name, enum load_kind kind,
                   unsigned threads);
/*
 * Reads so many that every block has been seen (but for no longer than
 * `seconds`, when that is not 0); tells nothing.
 */
void workload_warm_up(struct session *s, double seconds);
/* Over everything, or `limit` entries; tells the rate. */
void workload_scan(struct session *s, const char *name, bool backward,
                   uint64_t limit);

/* Tells the rows "name, p50 us" ... "name, max us". */
void workload_tell_latency(const char *name, const struct histogram *h);

#endif
