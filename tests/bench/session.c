/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/footprint.h"
#include "bench/memory_group.h"
#include "bench/session.h"
#include "bench/workload.h"

uint64_t
data_bytes(const struct data *data)
{
	return data->entries * (data->value_len + KEY_LEN);
}

void
session_config(struct bench_config *config, const char *dir,
               const struct data *data, enum cached cached, bool sync)
{
	uint64_t bytes = data_bytes(data), cache = settings.cache_bytes;

	if (cached == CACHE_ALL)
		cache = 2 * bytes + (64u << 20);
	else if (!cache)
		cache = bytes / 4;
	*config = (struct bench_config){
		.dir = dir,
		.memory_bytes = 3 * settings.memtable_bytes + cache,
		.memtable_bytes = settings.memtable_bytes,
		.cache_bytes = cache,
		.data_bytes = bytes,
		.sync = sync,
	};
}

void
session_init(struct session *s, const struct bench_engine *engine,
             const char *dir, const struct data *data, enum cached cached,
             bool sync)
{
	*s = (struct session){ .engine = engine, .data = *data };
	session_config(&s->config, dir, data, cached, sync);
	if (cached == CACHE_AS_SET && settings.within_bytes)
		memory_group_enter(settings.within_bytes);
	else if (cached == CACHE_AS_SET && engine->page_cache)
		memory_group_enter(s->config.memory_bytes);
}

void
session_open(struct session *s)
{
	s->db = s->engine->open(&s->config);
}

void
session_close(struct session *s)
{
	s->engine->close(s->db);
	s->db = NULL;
}

double
session_compact(struct session *s)
{
	uint64_t start = now_ns();

	if (!s->engine->compact)
		return -1;
	s->engine->compact(s->db);
	return (double)(now_ns() - start) / 1e9;
}

void
session_settle(void)
{
	uint64_t before, now = footprint_written();

	do {
		before = now;
		usleep(1500000);
		now = footprint_written();
	} while (now != before);
}
