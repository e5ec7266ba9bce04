/* SPDX-License-Identifier: ISC */
/*
 * Entries to columns and back. What comes back is compared with what went in;
 * what was changed on the way must be refused or be other entries in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/sst.h"
#include "store/sst_columns.h"
#include "store/sst_pack.h"

#define MOST 64u

/* Entries with their own bytes. */
struct set {
	struct entry entry[MOST];
	char key[MOST][32];
	char value[MOST][64];
	uint32_t count;
};

struct coded {
	struct buf columns, front, versions;
	bool pack; /* there is a front, else versions */
};

#define CODED(pack)                                                            \
	{                                                                      \
		BUF_INIT, BUF_INIT, BUF_INIT, (pack)                           \
	}

static uint64_t seed = 42;

static uint32_t
dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

static void
add(struct set *s, const char *key, uint64_t version, enum entry_kind kind,
    size_t value_len, uint64_t expires)
{
	uint32_t i = s->count++;

	assert_true(i < MOST);
	snprintf(s->key[i], sizeof(s->key[i]), "%s", key);
	for (size_t n = 0; n < value_len; n++)
		s->value[i][n] = (char)dice(256);
	s->entry[i] = (struct entry){
		.key = slice_make(s->key[i], strlen(key)),
		.value = slice_make(s->value[i], value_len),
		.version = version,
		.expires = expires,
		.kind = kind,
	};
}

/* Keys that share much or nothing, versions of one key, all kinds. */
static void
make_set(struct set *s, uint32_t count, uint64_t base, uint64_t spread)
{
	char key[32];

	s->count = 0;
	for (uint32_t i = 0; s->count < count; i++) {
		unsigned versions = 1 + (dice(4) == 0);

		snprintf(key, sizeof(key), "%c/%s%03u", 'a' + (char)(i / 20),
		         dice(2) ? "" : "long/", i);
		if (s->count && slice_cmp(slice_make(key, strlen(key)),
		                          s->entry[s->count - 1].key) <= 0)
			continue;
		for (unsigned v = versions; v && s->count < count; v--) {
			enum entry_kind kind = (enum entry_kind)dice(4);
			uint64_t delta = spread ? dice(UINT32_MAX) % spread : 0;

			if (versions == 2)
				delta = v == 2 ? spread : 0;
			if (versions == 2 && !spread)
				break;
			add(s, key, base + delta, kind,
			    kind == ENTRY_TOMBSTONE ? 0 : dice(60),
			    dice(3) ? 0 : 1 + dice(2000000000));
		}
	}
}

static void
encode(const struct set *s, struct coded *c)
{
	struct err err = ERR_INIT;

	buf_clear(&c->columns);
	buf_clear(&c->front);
	buf_clear(&c->versions);
	assert_int_equal(sst_columns_encode(s->entry, s->count, &c->columns,
	                                    c->pack ? &c->front : NULL,
	                                    &c->versions, &err),
	                 0);
	assert_int_equal(
		sst_columns_versions_bytes(buf_slice(&c->versions), s->count),
		c->versions.len);
	/* What loads of eight bytes may touch. */
	assert_int_equal(buf_reserve(&c->columns, SST_COLUMNS_SLACK, &err), 0);
	assert_int_equal(buf_reserve(&c->front, SST_PACK_SLACK, &err), 0);
	assert_int_equal(buf_reserve(&c->versions, SST_COLUMNS_SLACK, &err), 0);
}

static void
release(struct coded *c)
{
	buf_release(&c->columns);
	buf_release(&c->front);
	buf_release(&c->versions);
}

static const char *
open_columns(struct sst_columns *columns, const struct coded *c, uint32_t count,
             size_t rows_max)
{
	static unsigned char unpacked[4096];
	struct sst_packed p;
	size_t taken;

	if (!c->pack)
		return sst_columns_open(columns, buf_slice(&c->columns),
		                        buf_slice(&c->versions), count,
		                        rows_max);
	taken = sst_front_open(columns, &p, buf_slice(&c->front), count,
	                       rows_max);
	if (!taken || taken != c->front.len || p.count > 2048)
		return "a front that cannot be";
	if (!sst_unpack(&p, unpacked))
		return "packed keys that are damaged";
	return sst_front_check(columns, slice_make(unpacked, p.count),
	                       buf_slice(&c->columns), rows_max);
}

/* Every test runs with keys among the columns and with packed ones. */
static bool
packs(void **state)
{
	return *state != NULL;
}

/* NULL, and the entries in rows, or what is wrong. */
static const char *
decode(const struct coded *c, uint32_t count, struct entry *entries,
       struct buf *rows, unsigned char *tags)
{
	struct sst_columns columns;
	struct err err = ERR_INIT;
	uint32_t at[MOST];
	const char *wrong = open_columns(&columns, c, count, 1u << 20);

	if (wrong)
		return wrong;
	buf_clear(rows);
	assert_int_equal(buf_reserve(rows, columns.rows, &err), 0);
	wrong = sst_columns_to_rows(&columns, rows->data, at, tags);
	if (wrong)
		return wrong;
	rows->len = columns.rows;
	for (uint32_t i = 0; i < count; i++) {
		struct reader r = { rows->data + at[i], rows->data + rows->len,
			            false };

		if (!entry_decode(&r, columns.version.least, &entries[i]))
			fail_msg("row %u does not decode", i);
		assert_ptr_equal(r.at, i + 1 < count ? rows->data + at[i + 1]
		                                     : rows->data + rows->len);
	}
	return NULL;
}

static void
assert_same(const struct entry *a, const struct entry *b)
{
	assert_true(slice_equal(a->key, b->key));
	assert_true(slice_equal(a->value, b->value));
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->expires, b->expires);
	assert_int_equal(a->kind, b->kind);
}

static void
check_set(const struct set *s, bool pack)
{
	struct coded c = CODED(pack);
	struct buf rows = BUF_INIT;
	struct entry back[MOST];
	unsigned char tags[MOST];
	const char *wrong;

	encode(s, &c);
	wrong = decode(&c, s->count, back, &rows, tags);
	if (wrong)
		fail_msg("%s", wrong);
	for (uint32_t i = 0; i < s->count; i++) {
		assert_same(&s->entry[i], &back[i]);
		assert_int_equal(tags[i],
		                 (unsigned char)sst_key_hash(s->entry[i].key));
	}
	release(&c);
	buf_release(&rows);
}

/* Entries of every kind, in blocks of every size, come back as they were. */
static void
test_round_trip(void **state)
{
	struct set s;

	for (uint32_t count = 1; count <= MOST; count++) {
		make_set(&s, count, 1, 100);
		check_set(&s, packs(state));
		make_set(&s, count, 1u << 30, 1u << 21);
		check_set(&s, packs(state));
	}
}

/* Versions of every distance come back, up to the last that there is. */
static void
test_versions_of_every_width(void **state)
{
	struct set s;

	for (unsigned bits = 0; bits < 64; bits++) {
		uint64_t delta = (uint64_t)1 << bits;

		s.count = 0;
		add(&s, "a", 1 + delta, ENTRY_TEXT, 3, 0);
		add(&s, "b", 1, ENTRY_TEXT, 3, 0);
		add(&s, "c", 1 + delta - 1, ENTRY_TEXT, 3, 0);
		add(&s, "c", delta > 1 ? delta - 1 : 0, ENTRY_TEXT, 3, 0);
		s.count -= delta <= 2;
		check_set(&s, packs(state));
	}
	s.count = 0;
	add(&s, "a", UINT64_MAX, ENTRY_TEXT, 3, UINT64_MAX);
	add(&s, "b", 1, ENTRY_BYTES, 0, 0);
	check_set(&s, packs(state));
	s.entry[1].version = UINT64_MAX;
	check_set(&s, packs(state));
}

/* A block whose entries are alike takes no bytes for what is alike. */
static void
test_what_is_zero_takes_no_room(void **state)
{
	struct coded c = CODED(packs(state));
	struct set s = { .count = 0 };

	add(&s, "a", 7, ENTRY_TEXT, 0, 0);
	add(&s, "b", 7, ENTRY_TEXT, 0, 0);
	add(&s, "c", 7, ENTRY_TEXT, 0, 0);
	encode(&s, &c);
	/* count, base, four widths; kind, key length and key of each */
	assert_int_equal(c.columns.len, c.pack ? 0 : 1 + 1 + 4 + 3 * 3);
	/* count, least and width of six columns; keys, each one of three that
	   are a run: two bits */
	assert_int_equal(c.front.len, c.pack ? 1 + 6 * 2 + 1 + 2 + 1 + 1 : 0);
	assert_int_equal(c.versions.len, c.pack ? 0 : 1);
	release(&c);
}

static unsigned char *
byte_of(struct coded *c, size_t i)
{
	struct buf *part[] = { &c->columns, &c->front, &c->versions };
	unsigned n = 0;

	for (; i >= part[n]->len; n++)
		i -= part[n]->len;
	return &part[n]->data[i];
}

/*
 * Each single changed byte is refused, or gives entries that are in order and
 * would be written as just these bytes: nothing has two encodings.
 */
static void
test_every_changed_byte(void **state)
{
	struct coded c = CODED(packs(state)), again = CODED(c.pack);
	struct buf rows = BUF_INIT;
	struct entry back[MOST];
	struct set s, copy;
	size_t refused = 0, total;

	make_set(&s, 40, 5, 1u << 20);
	encode(&s, &c);
	total = c.columns.len + c.front.len + c.versions.len;
	for (size_t i = 0; i < total; i++) {
		unsigned char *byte = byte_of(&c, i);

		for (unsigned bit = 0; bit < 8; bit++) {
			*byte ^= (unsigned char)(1u << bit);
			if (sst_columns_versions_bytes(buf_slice(&c.versions),
			                               s.count) !=
			            c.versions.len ||
			    decode(&c, s.count, back, &rows, NULL)) {
				refused++;
				*byte ^= (unsigned char)(1u << bit);
				continue;
			}
			for (uint32_t n = 1; n < s.count; n++)
				assert_true(entry_order(back[n - 1].key,
				                        back[n - 1].version,
				                        back[n].key,
				                        back[n].version) < 0);
			memcpy(copy.entry, back, sizeof(back));
			copy.count = s.count;
			encode(&copy, &again);
			assert_true(slice_equal(buf_slice(&again.columns),
			                        buf_slice(&c.columns)));
			/* All but the padding of what is packed, and an
			   alphabet with what no key has. */
			assert_int_equal(again.versions.len, c.versions.len);
			assert_true(again.front.len <= c.front.len);
			*byte ^= (unsigned char)(1u << bit);
		}
	}
	/* Lengths and widths cannot change unseen; keys and values can. */
	assert_true(refused > (size_t)8 * (c.pack ? 1 : 3) * s.count);
	release(&c);
	release(&again);
	buf_release(&rows);
}

/* Each single missing or additional byte is refused. */
static void
test_every_cut(void **state)
{
	struct coded c = CODED(packs(state));
	struct buf rows = BUF_INIT;
	struct entry back[MOST];
	struct set s;
	size_t len;

	make_set(&s, 20, 5, 1000);
	encode(&s, &c);
	len = c.columns.len;
	for (size_t cut = 0; cut < len; cut++) {
		c.columns.len = cut;
		assert_non_null(decode(&c, s.count, back, &rows, NULL));
	}
	c.columns.len = len + 1;
	assert_non_null(decode(&c, s.count, back, &rows, NULL));
	c.columns.len = len;
	len = c.front.len;
	for (size_t cut = 0; cut < len; cut++) {
		c.front.len = cut;
		assert_non_null(decode(&c, s.count, back, &rows, NULL));
	}
	c.front.len = len;
	assert_non_null(decode(&c, s.count + 1, back, &rows, NULL));
	assert_non_null(decode(&c, s.count - 1, back, &rows, NULL));
	assert_null(decode(&c, s.count, back, &rows, NULL));
	release(&c);
	buf_release(&rows);
}

/* Keys out of order, or that share more than they could, are refused. */
static void
test_order(void **state)
{
	static const char *const keys[][2] = {
		{ "b", "a" },
		{ "ab", "a" },
		{ "ab", "aa" },
		{ "a", "a" },
	};
	struct coded c = CODED(packs(state));
	struct buf rows = BUF_INIT;
	struct entry back[MOST];
	struct set s;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		s.count = 0;
		add(&s, keys[i][0], 3, ENTRY_TEXT, 1, 0);
		add(&s, keys[i][1], 3, ENTRY_TEXT, 1, 0);
		encode(&s, &c);
		assert_non_null(decode(&c, 2, back, &rows, NULL));
	}
	release(&c);
	buf_release(&rows);
}

/* Many short entries may stand for long keys: only as many as the file says
   that its blocks hold are ever unpacked. */
static void
test_rows_are_bounded(void **state)
{
	struct coded c = CODED(packs(state));
	struct sst_columns columns;
	struct set s;

	make_set(&s, 30, 5, 1000);
	encode(&s, &c);
	assert_null(open_columns(&columns, &c, s.count, 1 << 20));
	assert_null(open_columns(&columns, &c, s.count, columns.rows));
	assert_non_null(open_columns(&columns, &c, s.count, columns.rows - 1));
	release(&c);
}

int
main(void)
{
	static char packed[] = "packed";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_versions_of_every_width),
		cmocka_unit_test(test_what_is_zero_takes_no_room),
		cmocka_unit_test(test_every_changed_byte),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_rows_are_bounded),
		cmocka_unit_test_prestate(test_round_trip, packed),
		cmocka_unit_test_prestate(test_versions_of_every_width, packed),
		cmocka_unit_test_prestate(test_what_is_zero_takes_no_room,
		                          packed),
		cmocka_unit_test_prestate(test_every_changed_byte, packed),
		cmocka_unit_test_prestate(test_every_cut, packed),
		cmocka_unit_test_prestate(test_order, packed),
		cmocka_unit_test_prestate(test_rows_are_bounded, packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
