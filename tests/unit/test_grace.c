/* SPDX-License-Identifier: ISC */
/* Grace periods: nothing is over before all have left who may have seen it. */
#include "store/grace.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"

/* A stamp is over once the thread has left as often as it has entered; what
   is stamped before it enters does not wait for it. */
static void
nests(void **state)
{
	uint64_t before = grace_stamp(), stamp;
	bool is_inside, before_over, over, over_within;
	unsigned slot, second;

	(void)state;
	assert_false(grace_inside());
	/* Whatever fails, the thread must not stay inside. */
	slot = grace_enter();
	is_inside = grace_inside();
	before_over = grace_over(before);
	stamp = grace_stamp();
	over = grace_over(stamp);
	second = grace_enter();
	grace_leave();
	over_within = grace_over(stamp);
	grace_leave();
	assert_in_range(slot, 0, GRACE_SLOTS - 1);
	assert_int_equal(second, slot);
	assert_true(is_inside);
	assert_true(before_over);
	assert_false(over);
	assert_false(over_within);
	assert_false(grace_inside());
	assert_true(grace_over(stamp));
	grace_wait(stamp);
}

static atomic_bool leave;
static atomic_uint inside;

static void *
stay(void *arg)
{
	unsigned char *taken = arg;
	unsigned slot = grace_enter();

	taken[slot]++;
	atomic_fetch_add(&inside, 1);
	while (!atomic_load(&leave))
		clock_sleep_us(100);
	grace_leave();
	return NULL;
}

static void *
let_go(void *arg)
{
	(void)arg;
	clock_sleep_us(20000);
	atomic_store(&leave, true);
	return NULL;
}

/* No two threads inside have the same slot, and a wait is for all of them. */
static void
each_its_own(void **state)
{
	static unsigned char taken[GRACE_SLOTS];
	pthread_t id[GRACE_SLOTS], other;
	bool over, waited;
	uint64_t stamp;

	(void)state;
	for (unsigned i = 0; i < GRACE_SLOTS; i++)
		assert_int_equal(pthread_create(&id[i], NULL, stay, taken), 0);
	while (atomic_load(&inside) < GRACE_SLOTS)
		clock_sleep_us(100);
	stamp = grace_stamp();
	over = grace_over(stamp);
	/* There is no slot left: one more gets in when somebody has left. */
	assert_int_equal(pthread_create(&other, NULL, let_go, NULL), 0);
	grace_enter();
	waited = atomic_load(&leave);
	grace_leave();
	grace_wait(stamp);
	pthread_join(other, NULL);
	for (unsigned i = 0; i < GRACE_SLOTS; i++)
		pthread_join(id[i], NULL);
	/* Now that no thread is left that would go on if this fails. */
	for (unsigned i = 0; i < GRACE_SLOTS; i++)
		assert_int_equal(taken[i], 1);
	assert_false(over);
	assert_true(waited);
}

#define READERS 4u
#define ROUNDS 3000u

struct thing {
	uint64_t value; /* GOOD until it is freed */
};

#define GOOD 0x600d600d600d600du

static _Atomic(struct thing *) shared;
static atomic_bool stop;

static struct thing *
thing_new(void)
{
	struct thing *t = malloc(sizeof(*t));

	assert_non_null(t);
	t->value = GOOD;
	return t;
}

static void *
look(void *arg)
{
	uintptr_t wrong = 0;

	(void)arg;
	while (!atomic_load(&stop)) {
		grace_enter();
		wrong += atomic_load(&shared)->value != GOOD;
		grace_leave();
	}
	return (void *)wrong;
}

/* What is freed once its stamp is over was seen by nobody after that. */
static void
frees_in_time(void **state)
{
	pthread_t id[READERS];
	void *wrong;

	(void)state;
	atomic_store(&shared, thing_new());
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&id[i], NULL, look, NULL), 0);
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct thing *old = atomic_exchange(&shared, thing_new());

		grace_wait(grace_stamp());
		old->value = 0;
		free(old);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(id[i], &wrong);
		assert_null(wrong);
	}
	free(atomic_load(&shared));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nests),
		cmocka_unit_test(each_its_own),
		cmocka_unit_test(frees_in_time),
	};

	return cmocka_run_group_tests_name("grace", tests, NULL, NULL);
}
