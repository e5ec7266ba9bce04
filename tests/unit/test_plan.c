/* SPDX-License-Identifier: ISC */
/*
 * Unit tests of store/plan: single choices on trees made by hand, and a whole
 * life of a tree as a simulation, in which "SSTs" are arrays in memory, merged
 * by the real rule and read the way the store reads.
 */
#include "store/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/array_iter.h"
#include "lib/fake_sst.h"
#include "store/job.h"

static uint64_t seed = 99;

static unsigned
any(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

/* ---- trees made by hand ---- */

#define NOW_MS 100000000u

static struct plan_input
input(const struct levels *l)
{
	struct plan_input in = {
		.levels = l,
		.level1_bytes = 10000,
		.file_bytes = 1000,
		.level0_files = 4,
		.reclaim_ms = 8000,
		.now_ms = NOW_MS,
		.oldest_snapshot = VERSION_MAX,
		.room_bytes = UINT64_MAX,
	};

	return in;
}

static struct sst *
put(struct levels **l, unsigned level, uint64_t number, const char *smallest,
    const char *largest, uint64_t max_version)
{
	struct sst *t = fake_sst_new(number, smallest, largest, max_version,
	                             max_version);
	struct levels_added added = { level, t };
	struct levels_edit edit = { &added, 1, NULL, 0 };
	struct levels *next = NULL;

	t->info.created = NOW_MS / 1000;
	assert_int_equal(levels_apply(*l, &edit, &next, NULL), 0);
	levels_unref(*l);
	sst_unref(t);
	*l = next;
	return t;
}

/* Gives a file, that is in the tree, another size. */
static void
resize(struct levels **l, unsigned level, struct sst *t, uint64_t size)
{
	(*l)->level[level].bytes += size - t->info.size;
	t->info.size = size;
}

static void
assert_inputs(const struct plan *p, const char *expected)
{
	char text[256] = "", one[32];

	for (size_t i = 0; i < p->input_count; i++) {
		snprintf(one, sizeof(one), "%s%u:%u", i ? " " : "",
		         p->inputs[i].level,
		         (unsigned)sst_info_of(p->inputs[i].file)->number);
		strcat(text, one);
	}
	assert_string_equal(text, expected);
}

/* Nothing to do in an empty tree, and in one below its targets. */
static void
test_nothing(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_NONE);
	put(&l, 0, 1, "a", "b", 9);
	put(&l, 0, 2, "a", "b", 10);
	put(&l, 1, 3, "a", "b", 1);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_NONE);
	plan_release(&p);
	levels_unref(l);
}

/*
 * A full level 0 goes down with all that overlaps, chains included, newest
 * first, and with what it meets in level 1; the rest stays.
 */
static void
test_level0(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 0, 1, "d", "f", 11); /* the oldest */
	put(&l, 0, 2, "x", "z", 12); /* overlaps none of the others */
	put(&l, 0, 3, "a", "b", 13); /* through 4 */
	put(&l, 0, 4, "b", "e", 14);
	put(&l, 1, 5, "a", "a", 1);
	put(&l, 1, 6, "f", "k", 2);
	put(&l, 1, 7, "l", "w", 3);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_int_equal(p.why, PLAN_SIZE);
	assert_int_equal(p.output_level, 1);
	assert_inputs(&p, "0:4 0:3 0:1 1:5 1:6");
	assert_true(slice_equal(p.smallest, slice_str("a")));
	assert_true(slice_equal(p.largest, slice_str("k")));
	plan_release(&p);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/*
 * Where there is little room, level 0 goes down in pieces, the oldest files
 * first: one at least, and then as many as find room with what they meet.
 */
static void
test_little_room(void **state)
{
	static const struct {
		uint64_t room;
		const char *inputs;
	} cases[] = {
		{ 5500, "0:4 0:3 0:2 0:1 1:5 1:6 1:7" },
		{ 4500, "0:3 0:2 0:1 1:5 1:6" },
		{ 4499, "0:2 0:1 1:5 1:6" },
		{ 4000, "0:2 0:1 1:5 1:6" },
		{ 3999, "0:1 1:5" },
		{ 1, "0:1 1:5" },
	};
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	resize(&l, 0, put(&l, 0, 1, "a", "c", 11), 900);
	resize(&l, 0, put(&l, 0, 2, "c", "e", 12), 600);
	resize(&l, 0, put(&l, 0, 3, "b", "d", 13), 500);
	resize(&l, 0, put(&l, 0, 4, "b", "k", 14), 500);
	resize(&l, 1, put(&l, 1, 5, "a", "c", 1), 1000);
	resize(&l, 1, put(&l, 1, 6, "d", "f", 2), 1500);
	resize(&l, 1, put(&l, 1, 7, "g", "w", 3), 500);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		in = input(l);
		in.room_bytes = cases[i].room;
		assert_int_equal(plan_pick(&p, &in, NULL), 0);
		assert_int_equal(p.kind, PLAN_MERGE);
		assert_int_equal(p.why, PLAN_SIZE);
		assert_int_equal(p.output_level, 1);
		assert_inputs(&p, cases[i].inputs);
		plan_release(&p);
	}
	/* or what else is over its target, if that asks for less */
	put(&l, 2, 8, "a", "f", 1);
	resize(&l, 2, put(&l, 2, 9, "g", "w", 1), 300);
	in = input(l);
	in.level1_bytes = 3000;
	in.room_bytes = 1000;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_inputs(&p, "1:7 2:9");
	plan_release(&p);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/* What moves as it is asks for no room, and takes in no neighbours then. */
static void
test_little_room_moves(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	/* one that moves beside ones that would be merged */
	resize(&l, 0, put(&l, 0, 1, "p", "q", 11), 900);
	put(&l, 0, 2, "a", "p", 12);
	put(&l, 0, 3, "a", "c", 13);
	put(&l, 0, 4, "a", "c", 14);
	resize(&l, 1, put(&l, 1, 5, "a", "c", 1), 400);
	resize(&l, 2, put(&l, 2, 6, "a", "c", 1), 300);
	in = input(l);
	in.level1_bytes = 400;
	in.room_bytes = 100;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_inputs(&p, "0:1");
	plan_release(&p);
	levels_unref(l);

	/* a small one with small neighbours */
	l = levels_new();
	resize(&l, 0, put(&l, 0, 1, "d", "e", 11), 100);
	resize(&l, 1, put(&l, 1, 5, "a", "c", 1), 200);
	in = input(l);
	in.level0_files = 1;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_inputs(&p, "0:1 1:5");
	plan_release(&p);
	in.room_bytes = 299;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_inputs(&p, "0:1");
	plan_release(&p);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/* Of a file with garbage that asks for too much it is that file that goes. */
static void
test_little_room_for_this(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 1, 1, "a", "c", 11); /* the cheapest */
	put(&l, 1, 2, "d", "f", 12)->info.tombstones = 10;
	put(&l, 2, 5, "d", "f", 1);
	put(&l, 2, 6, "x", "z", 2);
	in = input(l);
	in.now_ms += 8000;
	in.room_bytes = 1;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_true(p.dense);
	assert_inputs(&p, "1:2 2:5");
	plan_release(&p);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/* Deletions that lie far above what they hide take the way there in steps. */
static void
test_little_room_for_garbage(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 0, 1, "a", "k", 11)->info.tombstones = 10;
	put(&l, 2, 5, "a", "c", 1);
	put(&l, 2, 6, "d", "f", 2);
	put(&l, 2, 7, "g", "w", 3);
	in = input(l);
	in.now_ms += 8000;
	in.room_bytes = 4000;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_inputs(&p, "0:1 2:5 2:6 2:7");
	plan_release(&p);
	in.room_bytes = 3999;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_int_equal(p.output_level, 1);
	assert_inputs(&p, "0:1");
	plan_release(&p);
	levels_unref(l);
	assert_int_equal(fake_sst_alive, 0);
}

/*
 * Whichever file of level 0 a job begins with, all that is older and overlaps
 * goes along, through any chain: older entries must not stay above newer ones.
 */
static void
test_level0_age(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 0, 1, "b", "e", 11);
	put(&l, 0, 2, "a", "b", 12); /* meets 3 through 1 only */
	put(&l, 0, 3, "d", "f", 13)->info.tombstones = 10;
	in = input(l);
	in.now_ms += 8000;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_inputs(&p, "0:3 0:2 0:1");
	plan_release(&p);
	levels_unref(l);
}

/* A file that meets nothing is moved, not rewritten. */
static void
test_move(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 0, 1, "d", "f", 11);
	put(&l, 0, 2, "g", "h", 12);
	put(&l, 0, 3, "i", "j", 13);
	put(&l, 0, 4, "k", "l", 14);
	put(&l, 1, 6, "a", "b", 2);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_inputs(&p, "0:1");
	plan_release(&p);
	/* not where it would overlap too much of the level below */
	resize(&l, 1, l->level[1].files[0], 1000);
	resize(&l, 2, put(&l, 2, 9, "d", "e", 1), 10001);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_inputs(&p, "0:1");
	plan_release(&p);
	levels_unref(l);
}

/*
 * A small file that could move takes in its small neighbours, near ones first,
 * as long as they are not much larger than what it has by then.
 */
static void
test_small_neighbours(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;
	struct sst *t;

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		put(&l, 0, 1 + i, "m", "n", 11 + i);
	for (size_t i = 0; i < 4; i++)
		resize(&l, 0, l->level[0].files[i], 10);
	t = put(&l, 0, 9, "k", "k", 9);
	resize(&l, 0, t, 10);
	resize(&l, 1, put(&l, 1, 21, "a", "b", 1), 10); /* behind a large one */
	resize(&l, 1, put(&l, 1, 22, "c", "d", 1), 800);
	resize(&l, 1, put(&l, 1, 23, "e", "f", 1), 100);
	resize(&l, 1, put(&l, 1, 24, "g", "h", 1), 40);
	resize(&l, 1, put(&l, 1, 25, "o", "p", 1), 160);
	resize(&l, 1, put(&l, 1, 26, "q", "r", 1), 501); /* half is not small */
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_int_equal(p.output_level, 1);
	assert_inputs(&p, "0:9 1:23 1:24 1:25");
	plan_release(&p);
	/* a neighbour that is too large for it leaves it to move */
	resize(&l, 1, l->level[1].files[3], 41);
	resize(&l, 1, l->level[1].files[4], 41);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_inputs(&p, "0:9");
	plan_release(&p);
	/* and so is it when it is not small itself */
	resize(&l, 0, t, 501);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	plan_release(&p);
	levels_unref(l);
}

/* What goes down for nothing goes before level 0 makes its level larger. */
static void
test_free_move(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	for (uint64_t i = 0; i < 12; i++)
		put(&l, 0, 1 + i, "a", "z", 11 + i);
	resize(&l, 1, put(&l, 1, 21, "a", "f", 1), 9000);
	resize(&l, 1, put(&l, 1, 22, "g", "h", 1), 2000);
	resize(&l, 2, put(&l, 2, 23, "b", "c", 1), 9000);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MOVE);
	assert_inputs(&p, "1:22");
	plan_release(&p);
	/* not from a level that is in its bounds */
	resize(&l, 1, l->level[1].files[0], 7000);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.from_level, 0);
	plan_release(&p);
	levels_unref(l);
}

/* Settling waits the longer, the more it would have to write. */
static void
test_settle_rest(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	resize(&l, 0, put(&l, 0, 1, "a", "z", 11), 40000000);
	resize(&l, 1, put(&l, 1, 2, "a", "z", 1), 120000000);
	in = input(l);
	in.level1_bytes = 1000000000;
	in.now_ms = NOW_MS + 8000 + 39999;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_NONE);
	in.now_ms++;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_SETTLE);
	assert_inputs(&p, "0:1 1:2");
	plan_release(&p);
	levels_unref(l);
}

/* Of a level over its target, the file that drags the least along goes. */
static void
test_least_overlap(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	resize(&l, 1, put(&l, 1, 1, "a", "c", 11), 6000);
	resize(&l, 1, put(&l, 1, 2, "d", "f", 12), 6000);
	put(&l, 2, 3, "a", "b", 1);
	put(&l, 2, 4, "c", "d", 2);
	put(&l, 2, 5, "x", "z", 3);
	in = input(l);
	assert_true(plan_score(&in, 1) > 1.19 && plan_score(&in, 1) < 1.21);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.output_level, 2);
	assert_inputs(&p, "1:2 2:4");
	plan_release(&p);
	levels_unref(l);
}

/* Neighbours that need no more of the level below come along. */
static void
test_expand(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	resize(&l, 1, put(&l, 1, 1, "b", "c", 11), 4000);
	resize(&l, 1, put(&l, 1, 2, "d", "e", 12), 4000);
	resize(&l, 1, put(&l, 1, 3, "f", "g", 13), 4000);
	resize(&l, 1, put(&l, 1, 4, "y", "z", 14), 4000);
	put(&l, 2, 5, "a", "h", 1);
	put(&l, 2, 6, "p", "z", 2);
	in = input(l);
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_inputs(&p, "1:1 1:2 1:3 2:5");
	plan_release(&p);
	levels_unref(l);
}

/* A level above the deepest may hold a tenth of what is really below it. */
static void
test_dynamic_target(void **state)
{
	struct levels *l = levels_new();
	struct plan_input in;

	(void)state;
	resize(&l, 2, put(&l, 2, 1, "a", "b", 1), 60000);
	in = input(l);
	/* as the deepest, level 2 may have ten times level 1's */
	assert_true(plan_score(&in, 2) < 0.61);
	resize(&l, 3, put(&l, 3, 2, "c", "d", 1), 300000);
	in = input(l);
	assert_true(plan_score(&in, 2) > 1.99 && plan_score(&in, 2) < 2.01);
	assert_true(plan_score(&in, 3) < 1);
	levels_unref(l);
}

/*
 * Tombstones go to meet what they hide, skipping levels that do not matter;
 * where they hide nothing, they are rewritten in place; not before their time.
 */
static void
test_reclaim(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;
	struct sst *t;

	(void)state;
	t = put(&l, 1, 1, "d", "f", 11);
	t->info.tombstones = 1;
	put(&l, 2, 2, "x", "z", 2);
	put(&l, 3, 3, "e", "m", 1);
	in = input(l);
	in.now_ms = NOW_MS + 7999;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_NONE);
	in.now_ms = NOW_MS + 8000;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_false(p.dense);
	assert_int_equal(p.output_level, 3);
	assert_inputs(&p, "1:1 3:3");
	plan_release(&p);
	/* not while an open snapshot may need them */
	in.oldest_snapshot = 10;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_true(p.why != PLAN_RECLAIM || p.kind == PLAN_NONE);
	plan_release(&p);
	in.oldest_snapshot = 11;
	/* not while little garbage is made to wait, unless it is plenty */
	in.resting = true;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_NONE);
	t->info.tombstones = 5;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_true(p.dense);
	plan_release(&p);
	t->info.tombstones = 0;
	/* entries that closed snapshots left behind are garbage as well */
	{
		struct plan_retained kept = { 3, 9 };

		in.retained = &kept;
		in.retained_count = 1;
		assert_int_equal(plan_pick(&p, &in, NULL), 0);
		assert_int_equal(p.output_level, 3);
		assert_inputs(&p, "3:3");
		plan_release(&p);
		in.retained_count = 0;
	}
	/* and those that have expired */
	in.resting = false;
	l->level[3].files[0]->info.min_expires = in.now_ms / 1000;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.why, PLAN_RECLAIM);
	assert_inputs(&p, "3:3");
	plan_release(&p);
	l->level[3].files[0]->info.min_expires++;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_true(p.why != PLAN_RECLAIM || p.kind == PLAN_NONE);
	plan_release(&p);
	levels_unref(l);
}

/* A clock that was set back does not keep garbage for ever. */
static void
test_clock_back(void **state)
{
	struct levels *l = levels_new();
	struct plan p = PLAN_INIT;
	struct plan_input in;

	(void)state;
	put(&l, 1, 1, "d", "f", 11)->info.tombstones = 10;
	in = input(l);
	in.now_ms = NOW_MS / 2;
	assert_int_equal(plan_pick(&p, &in, NULL), 0);
	assert_int_equal(p.kind, PLAN_MERGE);
	assert_inputs(&p, "1:1");
	plan_release(&p);
	levels_unref(l);
}

/* ---- a life in simulation ---- */

enum { SIM_KEYS = 400, SIM_ENTRY = 100, SIM_FILE = 3000, SIM_SNAPSHOTS = 4 };

struct content {
	struct array_entry *e;
	size_t count;
};

struct sim {
	struct levels *levels;
	uint64_t version, number, now_ms;
	uint64_t snapshots[SIM_SNAPSHOTS + 1];
	size_t snapshot_count;
	struct plan_retained retained[4096];
	size_t retained_count;
	/* every write there ever was, in order of versions */
	struct {
		unsigned key;
		bool deleted;
	} * log;
	unsigned jobs, moves;
	uint64_t written;
	bool resting;
	bool little_room; /* of any size, another one for each job */
};

static void
free_content(void *arg)
{
	struct content *c = arg;

	free(c->e);
	free(c);
}

static struct sst *
sim_file(struct sim *s, const struct array_entry *e, size_t count)
{
	struct sst *t = fake_sst_new(++s->number, e[0].key, e[count - 1].key,
	                             UINT64_MAX, 0);
	struct content *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->e = calloc(count, sizeof(*e));
	assert_non_null(c->e);
	memcpy(c->e, e, count * sizeof(*e));
	c->count = count;
	t->content = c;
	t->free_content = free_content;
	t->info.entries = count;
	t->info.size = t->info.raw_bytes = count * SIM_ENTRY;
	t->info.created = s->now_ms / 1000;
	for (size_t i = 0; i < count; i++) {
		t->info.tombstones += e[i].kind == ENTRY_TOMBSTONE;
		if (e[i].version < t->info.min_version)
			t->info.min_version = e[i].version;
		if (e[i].version > t->info.max_version)
			t->info.max_version = e[i].version;
	}
	return t;
}

static void
sim_apply(struct sim *s, const struct levels_edit *edit)
{
	struct levels *next = NULL;
	struct err err = ERR_INIT;

	if (levels_apply(s->levels, edit, &next, &err))
		fail_msg("%s", err.message);
	levels_unref(s->levels);
	s->levels = next;
}

/* Writes keys and flushes them to level 0. key < 0: a random one. */
static void
sim_flush(struct sim *s, unsigned count, int key, bool deleted)
{
	struct array_entry *e = calloc(count, sizeof(*e));
	struct levels_added added = { 0, NULL };
	struct levels_edit edit = { &added, 1, NULL, 0 };

	assert_non_null(e);
	for (unsigned i = 0; i < count; i++) {
		unsigned k = key < 0 ? any(SIM_KEYS) : (unsigned)key + i;

		snprintf(e[i].key, sizeof(e[i].key), "%04u", k);
		e[i].version = ++s->version;
		e[i].kind = deleted || (key < 0 && !any(4)) ? ENTRY_TOMBSTONE
		                                            : ENTRY_TEXT;
		s->log[s->version].key = k;
		s->log[s->version].deleted = e[i].kind == ENTRY_TOMBSTONE;
	}
	qsort(e, count, sizeof(*e), array_entry_order);
	added.file = sim_file(s, e, count);
	sim_apply(s, &edit);
	sst_unref(added.file);
	free(e);
}

/* The version of key that the tree shows at a snapshot; 0: none. */
static uint64_t
sim_get(const struct sim *s, unsigned key, uint64_t snapshot)
{
	char text[8];

	snprintf(text, sizeof(text), "%04u", key);
	for (unsigned n = 0; n < LEVELS_MAX; n++)
		for (size_t i = 0; i < s->levels->level[n].count; i++) {
			struct sst *t = s->levels->level[n].files[i];
			const struct content *c = t->content;

			if (n) {
				t = levels_find(s->levels, n, slice_str(text));
				if (!t)
					break;
				c = t->content;
			}
			for (size_t j = 0; j < c->count; j++)
				if (!strcmp(c->e[j].key, text) &&
				    c->e[j].version <= snapshot)
					return c->e[j].kind == ENTRY_TOMBSTONE
					               ? 0
					               : c->e[j].version;
			if (n)
				break;
		}
	return 0;
}

/* Every open snapshot, and now, shows exactly what was written. */
static void
sim_check(const struct sim *s)
{
	for (size_t i = 0; i <= s->snapshot_count; i++) {
		uint64_t at =
			i < s->snapshot_count ? s->snapshots[i] : s->version;
		uint64_t newest[SIM_KEYS] = { 0 };

		for (uint64_t v = 1; v <= at; v++)
			newest[s->log[v].key] = s->log[v].deleted ? 0 : v;
		for (unsigned k = 0; k < SIM_KEYS; k++)
			assert_true(sim_get(s, k, at) == newest[k]);
	}
}

static bool
is_input(const struct plan *p, uint64_t number)
{
	for (size_t i = 0; i < p->input_count; i++)
		if (sst_info_of(p->inputs[i].file)->number == number)
			return true;
	return false;
}

/* Cuts the kept entries into files, never inside a key. */
static size_t
sim_cut(struct sim *s, const struct array_entry *e, size_t count,
        const size_t *extra, struct levels_added *added, unsigned level)
{
	size_t files = 0, from = 0, retained = 0;

	for (size_t i = 0; i < count; i++) {
		retained += extra[i];
		if (i + 1 < count && ((i + 1 - from) * SIM_ENTRY < SIM_FILE ||
		                      !strcmp(e[i].key, e[i + 1].key)))
			continue;
		added[files].level = level;
		added[files].file = sim_file(s, e + from, i + 1 - from);
		if (retained) {
			assert_true(s->retained_count < 4096);
			s->retained[s->retained_count].number = s->number;
			s->retained[s->retained_count++].entries = retained;
		}
		s->written += (i + 1 - from) * SIM_ENTRY;
		files++;
		from = i + 1;
		retained = 0;
	}
	return files;
}

static void
sim_merge(struct sim *s, const struct plan *p, struct levels_edit *edit)
{
	struct job job = JOB_INIT;
	struct merge_rule rule = { 0 };
	struct iter **its = calloc(p->input_count, sizeof(*its)), *m = NULL;
	struct array_entry *out = calloc(p->entries, sizeof(*out));
	size_t *extra = calloc(p->entries, sizeof(*extra)), count = 0;
	uint64_t snapshots[SIM_SNAPSHOTS + 1];

	assert_true(its && out && extra);
	memcpy(snapshots, s->snapshots, sizeof(snapshots));
	snapshots[s->snapshot_count] = s->version;
	job.file_bytes = SIM_FILE;
	assert_int_equal(job_from_plan(&job, p, s->levels, NULL), 0);
	rule.snapshots = snapshots;
	rule.snapshot_count = s->snapshot_count + 1;
	rule.now = 1;
	rule.deeper = job.deeper;
	rule.deeper_count = job.deeper_count;
	for (size_t i = 0; i < p->input_count; i++) {
		const struct content *c = p->inputs[i].file->content;

		its[i] = array_iter_new(c->e, c->count);
	}
	assert_int_equal(merge_new(&m, its, p->input_count, NULL), 0);
	assert_int_equal(iter_first(m, NULL), 0);
	while (m->valid) {
		enum merge_verdict v = MERGE_KEEP;

		assert_int_equal(merge_judge(&rule, &m->entry, &v, NULL), 0);
		if (v == MERGE_KEEP) {
			struct array_entry *e = &out[count];

			memcpy(e->key, m->entry.key.data, m->entry.key.len);
			e->version = m->entry.version;
			e->kind = m->entry.kind;
			extra[count++] = !rule.first;
		}
		assert_int_equal(iter_next(m, NULL), 0);
	}
	edit->added = calloc(count + 1, sizeof(*edit->added));
	assert_non_null(edit->added);
	edit->added_count =
		sim_cut(s, out, count, extra, edit->added, p->output_level);
	assert_true(edit->added_count <= job.output_count);
	iter_close(m);
	merge_rule_release(&rule);
	job_release(&job);
	free(its);
	free(out);
	free(extra);
}

/* Plans and does one job; false when there is none. */
static bool
sim_step(struct sim *s, struct plan_sweep *sweep, uint64_t bytes_max)
{
	struct plan_input in = {
		.levels = s->levels,
		.level1_bytes = 3 * SIM_FILE,
		.file_bytes = SIM_FILE,
		.level0_files = 4,
		.reclaim_ms = 10000,
		.now_ms = s->now_ms,
		.oldest_snapshot =
			s->snapshot_count ? s->snapshots[0] : s->version,
		.resting = s->resting,
		.room_bytes = s->little_room ? any(12 * SIM_FILE) : UINT64_MAX,
		.retained = s->retained,
		.retained_count = s->retained_count,
	};
	struct levels_edit edit = { 0 };
	struct plan p = PLAN_INIT;
	size_t kept = 0;

	if (sweep)
		assert_int_equal(plan_pick_all(&p, &in, bytes_max, sweep, NULL),
		                 0);
	else
		assert_int_equal(plan_pick(&p, &in, NULL), 0);
	if (p.kind == PLAN_NONE) {
		plan_release(&p);
		return false;
	}
	assert_true(p.input_count > 0);
	if (p.kind == PLAN_MERGE) {
		sim_merge(s, &p, &edit);
		s->jobs++;
		for (size_t i = 0; i < s->retained_count; i++)
			if (!is_input(&p, s->retained[i].number))
				s->retained[kept++] = s->retained[i];
		s->retained_count = kept;
	} else {
		assert_int_equal(p.input_count, 1);
		edit.added = calloc(1, sizeof(*edit.added));
		assert_non_null(edit.added);
		edit.added[0].level = p.output_level;
		edit.added[0].file = sst_ref(p.inputs[0].file);
		edit.added_count = 1;
		s->moves++;
	}
	edit.removed = calloc(p.input_count, sizeof(*edit.removed));
	assert_non_null(edit.removed);
	edit.removed_count = p.input_count;
	for (size_t i = 0; i < p.input_count; i++) {
		edit.removed[i].level = p.inputs[i].level;
		edit.removed[i].number = sst_info_of(p.inputs[i].file)->number;
	}
	sim_apply(s, &edit);
	for (size_t i = 0; i < edit.added_count; i++)
		sst_unref(edit.added[i].file);
	free(edit.added);
	free(edit.removed);
	plan_release(&p);
	return true;
}

/* Lets time pass until nothing is to be done any more; it must come to rest. */
static void
sim_settle(struct sim *s)
{
	unsigned calm = 0;

	for (unsigned steps = 0; calm < 3; steps++) {
		assert_true(steps < 5000);
		if (sim_step(s, NULL, 0)) {
			if (steps % 4 == 0)
				sim_check(s);
			calm = 0;
			continue;
		}
		calm++;
		s->now_ms += 10000;
	}
}

static size_t
sim_files(const struct sim *s)
{
	size_t n = 0;

	for (unsigned i = 0; i < LEVELS_MAX; i++)
		n += s->levels->level[i].count;
	return n;
}

static struct sim *
sim_new(void)
{
	struct sim *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->log = calloc(100000, sizeof(*s->log));
	assert_non_null(s->log);
	s->levels = levels_new();
	s->now_ms = NOW_MS;
	return s;
}

static void
sim_free(struct sim *s)
{
	levels_unref(s->levels);
	free(s->log);
	free(s);
	assert_int_equal(fake_sst_alive, 0);
}

static void
sim_delete_all(struct sim *s)
{
	for (int k = 0; k < SIM_KEYS; k += 40)
		sim_flush(s, 40, k, true);
}

/*
 * Through a life of random writes, flushes, snapshots and jobs, every reader
 * sees what was written; jobs end when nobody writes; and once all is deleted
 * and nobody looks back, no file is left.
 */
static void
test_life(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		struct sim *s = sim_new();

		s->resting = round & 1;
		s->little_room = round & 2;
		for (unsigned step = 0; step < 120; step++) {
			if (any(3))
				sim_flush(s, 1 + any(60), -1, false);
			while (any(4) && sim_step(s, NULL, 0))
				;
			s->now_ms += any(6000);
			if (!any(6) && s->snapshot_count < SIM_SNAPSHOTS)
				s->snapshots[s->snapshot_count++] = s->version;
			if (!any(9) && s->snapshot_count) {
				size_t i = any((unsigned)s->snapshot_count);

				s->snapshot_count--;
				memmove(s->snapshots + i, s->snapshots + i + 1,
				        (s->snapshot_count - i) *
				                sizeof(*s->snapshots));
			}
			if (step % 10 == 0)
				sim_check(s);
		}
		sim_check(s);
		sim_settle(s);
		sim_check(s);
		s->resting = false;
		s->snapshot_count = 0;
		sim_delete_all(s);
		sim_settle(s);
		sim_check(s);
		assert_int_equal(sim_files(s), 0);
		sim_free(s);
	}
}

/*
 * A snapshot that stays open keeps what it sees and makes no endless work;
 * when it closes, everything goes.
 */
static void
test_open_snapshot(void **state)
{
	struct sim *s = sim_new();
	unsigned jobs;

	(void)state;
	for (int k = 0; k < SIM_KEYS; k += 40)
		sim_flush(s, 40, k, false);
	sim_settle(s);
	s->snapshots[s->snapshot_count++] = s->version;
	sim_delete_all(s);
	sim_settle(s);
	sim_check(s);
	assert_true(sim_files(s) > 0);
	jobs = s->jobs + s->moves;
	for (unsigned i = 0; i < 50; i++) {
		s->now_ms += 3600000;
		while (sim_step(s, NULL, 0))
			;
	}
	assert_int_equal(s->jobs + s->moves, jobs);
	sim_check(s);
	s->snapshot_count = 0;
	sim_settle(s);
	assert_int_equal(sim_files(s), 0);
	sim_free(s);
}

/* What was replaced while a snapshot was open goes once it has closed. */
static void
test_retained(void **state)
{
	struct sim *s = sim_new();

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		for (int k = 0; k < SIM_KEYS; k += 40)
			sim_flush(s, 40, k, false);
		if (round < SIM_SNAPSHOTS)
			s->snapshots[s->snapshot_count++] = s->version;
		sim_settle(s);
	}
	sim_check(s);
	assert_true(levels_entries(s->levels) >= 4 * SIM_KEYS);
	s->snapshot_count = 0;
	sim_settle(s);
	sim_check(s);
	assert_true(levels_entries(s->levels) < SIM_KEYS * 5 / 4);
	sim_free(s);
}

/*
 * A sweep, in one job or in pieces, leaves one run of one version each and no
 * tombstone, and then finds nothing to do.
 */
static void
test_sweep(void **state)
{
	(void)state;
	for (unsigned pieces = 0; pieces < 2; pieces++) {
		struct plan_sweep sweep = PLAN_SWEEP_INIT;
		struct sim *s = sim_new();
		unsigned used = 0, steps = 0;
		uint64_t live = 0;

		for (unsigned i = 0; i < 60; i++) {
			sim_flush(s, 50, -1, false);
			if (i % 3)
				sim_step(s, NULL, 0);
		}
		while (sim_step(s, &sweep, pieces ? 0 : UINT64_MAX))
			assert_true(++steps < 200);
		assert_true(sweep.done);
		assert_true(pieces ? steps > 3 : steps == 1);
		sim_check(s);
		for (unsigned n = 0; n < LEVELS_MAX; n++)
			used += s->levels->level[n].count > 0;
		assert_int_equal(used, 1);
		assert_int_equal(s->levels->level[0].count, 0);
		for (unsigned k = 0; k < SIM_KEYS; k++)
			live += sim_get(s, k, s->version) != 0;
		assert_true(levels_entries(s->levels) == live);
		plan_sweep_release(&sweep);
		sweep = (struct plan_sweep)PLAN_SWEEP_INIT;
		assert_false(sim_step(s, &sweep, pieces ? 0 : UINT64_MAX));
		plan_sweep_release(&sweep);
		sim_free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_level0),
		cmocka_unit_test(test_little_room),
		cmocka_unit_test(test_little_room_moves),
		cmocka_unit_test(test_little_room_for_this),
		cmocka_unit_test(test_little_room_for_garbage),
		cmocka_unit_test(test_level0_age),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_small_neighbours),
		cmocka_unit_test(test_free_move),
		cmocka_unit_test(test_settle_rest),
		cmocka_unit_test(test_least_overlap),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_dynamic_target),
		cmocka_unit_test(test_reclaim),
		cmocka_unit_test(test_clock_back),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_open_snapshot),
		cmocka_unit_test(test_retained),
		cmocka_unit_test(test_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
