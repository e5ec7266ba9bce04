/* SPDX-License-Identifier: ISC */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "bench/workload.h"

/* ---- entries ---- */

/* A bijection of 64-bit numbers that looks random (splitmix64's finish). */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void
make_key(uint64_t entry, char *key)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t x = mix(entry);

	for (unsigned d = 0; d < KEY_LEN; d++, x >>= 4)
		key[d] = digits[x & 15];
}

static void
make_value(const struct data *data, uint64_t entry, char *value)
{
	size_t fresh =
		data->incompressible ? data->value_len : data->value_len / 2;
	uint64_t state = mix(~entry), x = 0;

	for (size_t at = 0; at < fresh; at++) {
		if (at % 8 == 0)
			x = state = mix(state);
		value[at] = data->incompressible
		                    ? (char)x
		                    : (char)(' ' + (x & 0xff) % 95);
		x >>= 8;
	}
	for (size_t at = fresh; at < data->value_len; at++)
		value[at] = value[at - fresh];
}

/*
 * Zipf-like choice with exponent 0.99 by the method of Gray and others
 * (Quickly Generating Billion-Record Synthetic Databases, 1994).
 */
#define ZIPF_THETA 0.99
static double zeta_n;

static void
zipf_prepare(uint64_t n)
{
	zeta_n = 0;
	for (uint64_t i = 1; i <= n; i++)
		zeta_n += 1 / pow((double)i, ZIPF_THETA);
}

static uint64_t
zipf(uint64_t n, double u)
{
	double uz = u * zeta_n, second = 1 + pow(0.5, ZIPF_THETA);
	double eta = (1 - pow(2.0 / (double)n, 1 - ZIPF_THETA)) /
	             (1 - second / zeta_n);
	uint64_t i;

	if (uz < 1)
		return 0;
	if (uz < second)
		return 1;
	i = (uint64_t)((double)n *
	               pow(eta * u - eta + 1, 1 / (1 - ZIPF_THETA)));
	return i < n ? i : n - 1;
}

static uint64_t
pick(const struct load *l, uint64_t i)
{
	uint64_t entries = l->session->data.entries;
	uint64_t r = mix(l->seed + i);

	switch (l->kind) {
	case FILL:
		return l->from + i;
	case READ:
		return r % entries;
	case READ_ZIPF: /* the entries that are read often lie anywhere */
		return mix(zipf(entries,
		                (double)(r >> 11) / 9007199254740992.0)) %
		       entries;
	case READ_MISSING:
		return entries * 4 + r % entries;
	}
	return 0;
}

/* ---- one thread ---- */

static void *
run(void *arg)
{
	struct load *l = arg;
	const struct session *s = l->session;
	char key[KEY_LEN], *value = malloc(s->data.value_len);
	uint64_t then = now_ns(), now;
	size_t len;

	for (uint64_t i = 0; i < l->count; i++) {
		uint64_t entry = pick(l, i);

		if (l->until && then >= l->until)
			break;
		if (l->stop &&
		    atomic_load_explicit(l->stop, memory_order_relaxed))
			break;
		make_key(entry, key);
		if (l->kind == FILL) {
			make_value(&s->data, entry, value);
			s->engine->put(s->db, key, KEY_LEN, value,
			               s->data.value_len);
		} else if (s->engine->get(s->db, key, KEY_LEN, &len)) {
			l->found++;
			if (len != s->data.value_len)
				bench_die(s->engine->name, "get",
				          "a value of the wrong length");
		}
		now = now_ns();
		histogram_add(&l->latency, now - then);
		if (l->timeline)
			timeline_add(l->timeline, now, now - then);
		then = now;
		l->done++;
	}
	free(value);
	if (l->kind != FILL &&
	    l->found != (l->kind == READ_MISSING ? 0 : l->done))
		bench_die(s->engine->name, "get",
		          "an entry is missing, or was never written");
	return NULL;
}

struct load *
load_new(unsigned count)
{
	size_t bytes = count * sizeof(struct load);
	struct load *l = aligned_alloc(_Alignof(struct load), bytes);

	if (!l)
		bench_die("bench", "loads", "no memory");
	return memset(l, 0, bytes);
}

void
load_start(struct load *l)
{
	static uint64_t loads; /* each reads in another order */

	l->seed = mix(++loads);
	if (pthread_create(&l->thread, NULL, run, l))
		bench_die("bench", "thread", "cannot be made");
}

void
load_join(struct load *l)
{
	pthread_join(l->thread, NULL);
}

/* ---- threads together ---- */

/* The outcome goes to `sum`; returns operations per ms. */
static double
run_all(const struct load *like, unsigned threads, struct histogram *sum)
{
	struct load *loads = load_new(threads);
	uint64_t start = now_ns(), done = 0;

	for (unsigned t = 0; t < threads; t++) {
		loads[t] = *like;
		loads[t].count = like->count / threads;
		loads[t].from = like->from + loads[t].count * t;
		load_start(&loads[t]);
	}
	for (unsigned t = 0; t < threads; t++) {
		load_join(&loads[t]);
		histogram_merge(sum, &loads[t].latency);
		done += loads[t].done;
	}
	free(loads);
	return (double)done * 1e6 / (double)(now_ns() - start);
}

static void
run_and_tell(const char *name, const struct load *like, unsigned threads)
{
	struct histogram *sum = calloc(1, sizeof(*sum));
	double rate = run_all(like, threads, sum);

	measure_tell(rate, "%s k/s", name);
	workload_tell_latency(name, sum);
	free(sum);
}

void
workload_tell_latency(const char *name, const struct histogram *h)
{
	measure_tell((double)histogram_quantile(h, 0.5) / 1e3, "%s, p50 us",
	             name);
	measure_tell((double)histogram_quantile(h, 0.99) / 1e3, "%s, p99 us",
	             name);
	measure_tell((double)histogram_quantile(h, 0.999) / 1e3, "%s, p99.9 us",
	             name);
	measure_tell((double)h->max / 1e3, "%s, max us", name);
}

void
workload_fill(struct session *s, const char *name, unsigned threads,
              uint64_t from, uint64_t count, double seconds)
{
	struct load like = {
		.session = s, .kind = FILL, .from = from, .count = count
	};

	if (seconds > 0)
		like.until = now_ns() + (uint64_t)(seconds * 1e9);
	run_and_tell(name, &like, threads);
}

void
workload_read(struct session *s, const char *name, enum load_kind kind,
              unsigned threads)
{
	struct load like = { .session = s, .kind = kind, .count = UINT64_MAX };

	if (kind == READ_ZIPF)
		zipf_prepare(s->data.entries);
	like.until = now_ns() + (uint64_t)(settings.seconds * 1e9);
	run_and_tell(name, &like, threads);
}

void
workload_warm_up(struct session *s, double seconds)
{
	/* A block of some 30 entries is missed by fewer than one of 1000. */
	struct load like = { .session = s,
		             .kind = READ,
		             .count = s->data.entries / 4 };
	struct histogram *sum = calloc(1, sizeof(*sum));

	if (seconds > 0)
		like.until = now_ns() + (uint64_t)(seconds * 1e9);
	run_all(&like, 2, sum);
	free(sum);
}

void
workload_scan(struct session *s, const char *name, bool backward,
              uint64_t limit)
{
	struct bench_scan sum = { 0, 0 };
	uint64_t start = now_ns();
	uint64_t want = limit < s->data.entries ? limit : s->data.entries;

	s->engine->scan(s->db, backward, limit, &sum);
	if (sum.entries != want)
		bench_die(s->engine->name, name, "wrong count of entries");
	measure_tell((double)sum.entries * 1e6 / (double)(now_ns() - start),
	             "%s k/s", name);
}
