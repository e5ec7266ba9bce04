/* SPDX-License-Identifier: ISC */
/*
 * Latencies in buckets of 1/16 of a power of two: at most 6 % off.
 */
#ifndef LSMKV_BENCH_HISTOGRAM_H
#define LSMKV_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64u * 16u)

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS];
	uint64_t total; /* samples */
	uint64_t max;   /* nanoseconds, exact */
};

static inline void
histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned power = ns < 16 ? 4 : 63u - (unsigned)__builtin_clzll(ns);
	unsigned part = ns < 16 ? (unsigned)ns : (ns >> (power - 4)) & 15;
	unsigned at = ns < 16 ? part : (power - 3) * 16 + part;

	h->count[at]++;
	h->total++;
	if (ns > h->max)
		h->max = ns;
}

static inline void
histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->count[i] += from->count[i];
	to->total += from->total;
	if (from->max > to->max)
		to->max = from->max;
}

/* The latency that a share of the samples does not exceed. */
static inline uint64_t
histogram_quantile(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)(share * (double)h->total), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > want || seen == h->total) {
			uint64_t top = i < 16 ? i
			                      : ((uint64_t)(16 + i % 16 + 1)
			                         << (i / 16 - 1)) -
			                                1;

			return top < h->max ? top : h->max;
		}
	}
	return h->max;
}

#endif
