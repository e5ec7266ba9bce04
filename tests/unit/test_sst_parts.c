/* SPDX-License-Identifier: ISC */
/*
 * Blocks whose values are deflated in parts: how they are described, that every
 * read of them gives what was written, and that a description which lies is
 * found out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <zlib.h>
#include <cmocka.h>

#include "lib/sst_file.h"
#include "store/sst_parts.h"
#include "store/sst_read.h"
#include "store/sst_seal.h"

#define HEADS_MAX 64u /* different ones that are counted */

static uint64_t seed = 5;

static uint32_t
dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

/* ---- how values are cut ---- */

/* Bytes that a part has at least, as a description says. */
static size_t
part_bytes(void)
{
	const struct deflate_part one = { 1, 1, false };
	const struct deflate_head head = { 100, false };
	struct buf out = BUF_INIT;
	size_t bytes;

	assert_int_equal(sst_parts_put(&head, &one, 1, &out, NULL), 0);
	bytes = (size_t)16 * out.data[0];
	buf_release(&out);
	assert_true(bytes > 0);
	return bytes;
}

/* Cuts values of these lengths; the list ends with SIZE_MAX. */
static size_t
cut(const size_t *lens, struct deflate_part *parts)
{
	struct entry entries[300] = { { .version = 1 } };
	size_t n = 0;

	for (; lens[n] != SIZE_MAX; n++)
		entries[n].value.len = lens[n];
	return sst_parts_cut(entries, n, parts);
}

#define CUT(parts, ...) cut((const size_t[]){ __VA_ARGS__, SIZE_MAX }, parts)

/* A part ends with the value with which it has enough bytes; empty values
   behind the last one are in none. */
static void
test_cut(void **state)
{
	struct deflate_part parts[SST_PARTS_MAX];
	size_t p = part_bytes();

	(void)state;
	assert_int_equal(CUT(parts, 1), 1);
	assert_int_equal(parts[0].len, 1);
	assert_int_equal(CUT(parts, p - 1, 1, 1), 2);
	assert_int_equal(parts[0].len, p);
	assert_int_equal(parts[1].len, 1);
	assert_int_equal(CUT(parts, p - 1, 0, 5000, 0, 0), 1);
	assert_int_equal(parts[0].len, p + 4999);
	assert_int_equal(CUT(parts, 0, 0, p, 0, p, 0, 7, 0), 3);
	assert_int_equal(parts[0].len, p);
	assert_int_equal(parts[1].len, p);
	assert_int_equal(parts[2].len, 7);
	assert_int_equal(CUT(parts, 0, 0, 0), 0);
}

/* Values that are too long together, or make too many parts, are not cut. */
static void
test_not_cut(void **state)
{
	struct deflate_part parts[SST_PARTS_MAX];
	size_t lens[200], p = part_bytes();

	(void)state;
	assert_int_equal(CUT(parts, DEFLATE_PARTS_TEXT - 1, 1), 2);
	assert_int_equal(CUT(parts, DEFLATE_PARTS_TEXT - 1, 2), 0);
	assert_int_equal(CUT(parts, DEFLATE_PARTS_TEXT + 1), 0);
	if (p * (SST_PARTS_MAX + 1) > DEFLATE_PARTS_TEXT)
		return;
	for (size_t i = 0; i <= SST_PARTS_MAX; i++)
		lens[i] = p;
	lens[SST_PARTS_MAX] = SIZE_MAX;
	assert_int_equal(cut(lens, parts), SST_PARTS_MAX);
	lens[SST_PARTS_MAX] = 1;
	lens[SST_PARTS_MAX + 1] = SIZE_MAX;
	assert_int_equal(cut(lens, parts), 0);
}

/* ---- descriptions ---- */

static void
random_parts(struct deflate_part *parts, size_t count)
{
	unsigned range = 1 + dice(18);

	for (size_t i = 0; i < count; i++)
		parts[i] = (struct deflate_part){ 1, 1 + dice(1u << range),
			                          i && dice(2) };
}

/* What is put is what is opened, and nothing behind it is taken. */
static void
test_descriptions(void **state)
{
	struct deflate_part parts[SST_PARTS_MAX];
	struct buf out = BUF_INIT;
	struct sst_parts p;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		size_t count = 1 + dice(SST_PARTS_MAX), len;
		struct deflate_head head = { dice(4097), dice(2) };

		random_parts(parts, count);
		buf_clear(&out);
		assert_int_equal(sst_parts_put(&head, parts, count, &out, NULL),
		                 0);
		len = out.len;
		assert_int_equal(buf_append(&out, "behind it", 9, NULL), 0);
		assert_int_equal(sst_parts_open(&p, buf_slice(&out)), len);
		assert_int_equal(p.bytes, part_bytes());
		assert_int_equal(p.count, count);
		assert_int_equal(p.head_bits, head.bits);
		assert_int_equal(p.common, head.common);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(sst_column_number(&p.column, i),
			                 2 * (uint64_t)parts[i].bits +
			                         parts[i].refers);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(
				sst_parts_open(&p, slice_make(out.data, cut)),
				0);
	}
	buf_release(&out);
}

static size_t
opens(const char *bytes, size_t len)
{
	struct sst_parts p;

	return sst_parts_open(&p, slice_make(bytes, len));
}

#define OPENS(bytes) opens(bytes, sizeof(bytes) - 1)

/* No parts, too many, parts of no length and a head that is too long are
   refused, and so are columns that cannot be. */
static void
test_refused_descriptions(void **state)
{
	(void)state;
	assert_int_equal(OPENS("\x19\x01\x80\x01\x08\x00"), 6);
	assert_int_equal(OPENS("\x00\x01\x80\x01\x08\x00"), 0);
	assert_int_equal(OPENS("\x19\x00\x80\x01\x08\x00"), 0);
	assert_int_equal(OPENS("\x19\x80\x80\x01\x08\x00"), 6);
	assert_int_equal(OPENS("\x19\x81\x80\x01\x08\x00"), 0);
	assert_int_equal(OPENS("\x19\x01\x81\x40\x08\x00"), 6); /* 4096, 1 */
	assert_int_equal(OPENS("\x19\x01\x82\x40\x08\x00"), 0); /* 4097 */
	assert_int_equal(OPENS("\x19\x01\x80\x00\x08\x00"), 0); /* varint */
	assert_int_equal(OPENS("\x19\x01\x80\x01\x08\x39"
	                       "12345678"),
	                 0); /* a width of 57 */
	assert_int_equal(OPENS("\x19\x01\x80\x01\x08\x40"
	                       "12345678"),
	                 14);
	assert_int_equal(OPENS(""), 0);
}

/* ---- a file ---- */

static const struct sst_options usual = { 2816, 10, 6 };

/* Values of these kinds want codes that have little in common. */
enum value_kind { TEXT, LETTERS, NUMBERS, BYTES, VALUE_KINDS };

static struct slice
make_value(enum value_kind kind, size_t len)
{
	/* What texts have in common is found in the first part. */
	static const char head[] = "{\"name\":\"user\",\"text\":\"";
	unsigned char *to = (unsigned char *)malloc(len + !len);
	static const unsigned char least[] = { ' ', 'A', '0', 128 };
	static const unsigned char sides[] = { 95, 26, 8, 90 };

	assert_non_null(to);
	for (size_t i = 0; i < len; i++) {
		if (kind == TEXT && i < sizeof(head) - 1)
			to[i] = (unsigned char)head[i];
		else if (kind == TEXT && i > len / 2 + 20)
			to[i] = to[i - len / 2 + 15];
		else
			to[i] = (unsigned char)(least[kind] +
			                        dice(sides[kind]));
	}
	return slice_make(to, len);
}

/*
 * Keys without likeness, up to four versions of each, now and then a tombstone,
 * an empty value, or one that is longer than a part. kinds: one after the
 * other, along the keys.
 */
static void
make_entries(struct model *m, size_t count, unsigned kinds)
{
	uint64_t version = 1000;

	m->entry = (struct entry *)calloc(count, sizeof(*m->entry));
	assert_non_null(m->entry);
	while (m->count < count) {
		uint64_t number = ((uint64_t)m->count << 40) / count;
		size_t many = dice(6) ? 1 : 1 + dice(4);
		char key[40];
		int n = snprintf(key, sizeof(key), "%010jx%08x",
		                 (uintmax_t)number, dice(UINT32_MAX));

		for (; many && m->count < count; many--) {
			struct entry *e = &m->entry[m->count];
			size_t len = dice(8)   ? 60 + dice(80)
			             : dice(2) ? dice(20)
			                       : dice(1200);

			*e = (struct entry){ .version = version++ };
			e->key = copy(key, (size_t)n);
			e->kind = (enum entry_kind)dice(3);
			if (dice(10) == 0)
				e->kind = ENTRY_TOMBSTONE;
			if (dice(5) == 0)
				e->expires = 1700000000 + dice(1000);
			if (e->kind == ENTRY_TOMBSTONE || dice(20) == 0)
				len = 0;
			e->value = make_value(
				(enum value_kind)(m->count * kinds / count),
				len);
			m->count++;
		}
	}
	model_sort(m);
}

/* Texts of about the same length, so that all of their blocks are in parts. */
static void
make_plain(struct model *m, size_t count)
{
	m->entry = (struct entry *)calloc(count, sizeof(*m->entry));
	assert_non_null(m->entry);
	for (; m->count < count; m->count++) {
		char key[40];
		int n = snprintf(key, sizeof(key), "%06zx%012x", m->count,
		                 dice(UINT32_MAX));
		struct entry *e = &m->entry[m->count];

		*e = (struct entry){ .version = m->count + 1 };
		e->key = copy(key, (size_t)n);
		e->value = make_value(TEXT, 80 + dice(60));
	}
}

static void
make_file(struct fixture *f, size_t count, unsigned kinds,
          const struct sst_options *options)
{
	make_dir(f, 0);
	make_entries(&f->m, count, kinds);
	write_sst(f, &f->m, options);
}

/* The newest version <= version of entry i's key; count: there is none. */
static size_t
model_get(const struct fixture *f, size_t i, uint64_t version)
{
	struct slice key = f->m.entry[i].key;

	while (i && slice_equal(f->m.entry[i - 1].key, key))
		i--;
	while (i < f->m.count && slice_equal(f->m.entry[i].key, key) &&
	       f->m.entry[i].version > version)
		i++;
	return i < f->m.count && slice_equal(f->m.entry[i].key, key)
	               ? i
	               : f->m.count;
}

/* Is what t gives for the key of entry i at a snapshot what was written? */
static bool
right(const struct fixture *f, struct sst *t, size_t i, uint64_t version)
{
	size_t want = model_get(f, i, version);
	struct slice key = f->m.entry[i].key;
	struct sst_hit hit;
	bool fine;
	int code = sst_get(t, key, sst_key_hash(key), version, &hit, NULL);

	if (code)
		return code == LSMKV_NOTFOUND && want == f->m.count;
	fine = want < f->m.count && same(&hit.entry, &f->m.entry[want]);
	sst_hit_release(&hit);
	return fine;
}

static void
check_gets(const struct fixture *f, struct sst *t)
{
	for (size_t i = 0; i < f->m.count; i++) {
		const struct entry *e = &f->m.entry[i];
		struct slice key = { e->key.data, e->key.len - 1 };
		struct sst_hit hit;

		assert_true(right(f, t, i, e->version));
		assert_true(right(f, t, i, e->version - 1));
		assert_true(right(f, t, i, VERSION_MAX));
		assert_int_equal(sst_get(t, key, sst_key_hash(key), VERSION_MAX,
		                         &hit, NULL),
		                 LSMKV_NOTFOUND);
	}
}

/* ---- blocks in parts ---- */

/* One of them, as it stands in the file. */
struct block {
	uint64_t offset;
	uint32_t stored, entries, i; /* i: which one of the file */
	struct slice bytes;          /* of the file, trailer included */
	struct sst_parts parts;
	size_t parts_at; /* where its description begins in it */
	struct slice description, stream;
};

struct blocks {
	struct block *block; /* those in parts; owned */
	size_t count, all;
	unsigned char *file; /* owned */
	size_t block_bytes;
};

static int
note_block(void *arg, const struct sst_block_info *info)
{
	struct blocks *blocks = (struct blocks *)arg;
	struct block *b;
	struct sst_columns front;
	struct sst_packed keys;
	struct sst_sealed s;
	struct slice rest;
	size_t bytes;

	blocks->all++;
	if (!info->parts)
		return 0;
	assert_true(info->packed && info->deflated);
	blocks->block = reallocarray(blocks->block, blocks->count + 1,
	                             sizeof(*blocks->block));
	assert_non_null(blocks->block);
	b = &blocks->block[blocks->count++];
	b->offset = info->offset;
	b->stored = info->stored;
	b->entries = info->entries;
	b->i = (uint32_t)(blocks->all - 1);
	b->bytes = slice_make(blocks->file + b->offset, b->stored);
	assert_int_equal(sst_seal_open(FILE_NAME, FILE_NUMBER, b->offset,
	                               "block", b->bytes, &s, NULL),
	                 0);
	assert_int_equal(s.type, SST_PACKED_PARTS);
	b->parts_at = sst_front_open(&front, &keys, s.payload, info->entries,
	                             blocks->block_bytes);
	assert_true(b->parts_at > 0);
	rest = slice_make(s.payload.data + b->parts_at,
	                  s.payload.len - b->parts_at);
	bytes = sst_parts_open(&b->parts, rest);
	assert_true(bytes > 0);
	assert_int_equal(b->parts.count, info->parts);
	b->description = slice_make(rest.data, bytes);
	b->stream = slice_make(rest.data + bytes, rest.len - bytes);
	return 0;
}

static struct blocks
find_blocks(const struct fixture *f, struct sst *t)
{
	struct blocks blocks = { .block_bytes = t->block_bytes };
	size_t len;

	blocks.file = tmpdir_read(f->path, FILE_NAME, &len);
	assert_int_equal(sst_blocks(t, note_block, &blocks, NULL), 0);
	return blocks;
}

static void
free_blocks(struct blocks *b)
{
	free(b->block);
	free(b->file);
}

/*
 * Every version at every snapshot comes out of blocks in parts as it was
 * written, whether a block is made or only peeked at, and so does a walk.
 */
static void
test_reads(void **state)
{
	static const struct sst_options all[] = {
		{ 2816, 10, 6 }, { 2816, 0, 1 },  { 700, 10, 9 },
		{ 4096, 0, 6 },  { 16384, 0, 6 },
	};
	size_t in_parts = 0, several = 0, refer = 0;

	(void)state;
	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		struct fixture f;
		struct blocks blocks;
		struct err err = ERR_INIT;
		struct sst *t;

		make_file(&f, 2000, 1, &all[k]);
		t = open_sst(&f);
		blocks = find_blocks(&f, t);
		in_parts += blocks.count;
		for (size_t i = 0; i < blocks.count; i++) {
			const struct sst_parts *p = &blocks.block[i].parts;

			several += p->count > 1;
			for (uint32_t n = 0; n < p->count; n++)
				refer += sst_column_number(&p->column, n) & 1;
		}
		check_gets(&f, t);
		block_cache_set_capacity(f.cache, 8 << 20);
		check_gets(&f, t);
		check_walks(t, &f.m, true);
		check_walks(t, &f.m, false);
		if (sst_check(t, NULL, NULL, &err))
			fail_msg("%s", err.message);
		sst_unref(t);
		free_blocks(&blocks);
		free_dir(&f);
	}
	assert_true(in_parts > 100 && several > 50 && refer > 50);
}

/* clang-format off */
/* The example of doc/format.md: a block as it stands at offset 16 of file 1. */
static const unsigned char example[] = {
	0x03, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x90, 0x03, 0x00, 0x00, 0x00,
	0x03, 0x03, 0x84, 0x01, 0x03, 0x30, 0x31, 0x33, 0x39, 0x61, 0x66, 0x18,
	0xe2, 0x70, 0x1a, 0x5b, 0xb4, 0x1d, 0x86, 0xa0, 0x09, 0xa3, 0xc5, 0x2e,
	0x19, 0x03, 0xda, 0x03, 0xf9, 0x02, 0x07, 0xc1, 0x0d, 0x00, 0x78, 0x9c,
	0xed, 0xd1, 0xb9, 0x15, 0xc3, 0x20, 0x14, 0x05, 0xd1, 0x56, 0x5e, 0x6b,
	0x88, 0x1d, 0x04, 0x1f, 0xb1, 0x43, 0xf5, 0x3e, 0x8e, 0x5c, 0x81, 0x15,
	0x11, 0xcf, 0xcd, 0xa6, 0x1a, 0x89, 0xa7, 0x59, 0xee, 0x71, 0x65, 0x1a,
	0x11, 0x8a, 0x26, 0x5c, 0x0b, 0xa9, 0x80, 0xba, 0xcc, 0xf8, 0xe6, 0x9b,
	0xed, 0x05, 0x41, 0x1a, 0xc7, 0xfe, 0xdf, 0x3a, 0xc6, 0xbd, 0x60, 0xa3,
	0xe0, 0xa6, 0x2e, 0x11, 0x16, 0x2e, 0xab, 0x51, 0x92, 0xb1, 0x71, 0x82,
	0x14, 0x9e, 0xc6, 0x72, 0xdd, 0x38, 0xea, 0x2d, 0x95, 0x18, 0xf7, 0x08,
	0x0b, 0x17, 0x4d, 0x0c, 0x5b, 0x0d, 0x94, 0xed, 0x12, 0x82, 0xb6, 0x8c,
	0xbf, 0x71, 0xae, 0xe9, 0x82, 0x23, 0xdf, 0x90, 0x1f, 0x56, 0xc9, 0xb6,
	0x73, 0x06, 0xb0, 0x04, 0x00, 0x00, 0xa2, 0x70, 0x19, 0x83,
};
/* clang-format on */

/* len bytes of a text, again and again; owned. */
static struct slice
repeated(const char *text, size_t len)
{
	unsigned char *to = (unsigned char *)malloc(len);

	assert_non_null(to);
	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)text[i % strlen(text)];
	return slice_make(to, len);
}

static struct entry
example_entry(const char *key, const char *text, uint64_t version)
{
	return (struct entry){ copy(key, strlen(key)), repeated(text, 400),
		               version, 0, ENTRY_TEXT };
}

/* The example is what its entries become, to the byte. */
static void
test_example(void **state)
{
	static const struct sst_options options = { 4096, 0, 6 };
	struct fixture f;
	struct blocks blocks;
	struct sst *t;

	(void)state;
	make_dir(&f, 0);
	f.m.entry = (struct entry *)calloc(3, sizeof(*f.m.entry));
	assert_non_null(f.m.entry);
	f.m.entry[f.m.count++] = example_entry(
		"3f08b1c6", "the quick brown fox jumps over the lazy dog ", 7);
	f.m.entry[f.m.count++] = example_entry(
		"5ce1790b", "jackdaws love my big sphinx of quartz ", 3);
	f.m.entry[f.m.count++] = example_entry(
		"a04b6df3", "pack my box with five dozen lazy dog jugs ", 9);
	write_sst(&f, &f.m, &options);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	assert_int_equal(blocks.count, 1);
	assert_true(slice_equal(blocks.block[0].bytes,
	                        slice_make(example, sizeof(example))));
	check_gets(&f, t);
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

/* Different heads of streams with a common code. */
static size_t
count_heads(const struct blocks *blocks)
{
	const struct block *seen[HEADS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < blocks->count; i++) {
		const struct block *b = &blocks->block[i];
		size_t bytes = b->parts.head_bits / 8, k = 0;

		if (!b->parts.common)
			continue;
		while (k < n &&
		       (seen[k]->parts.head_bits != b->parts.head_bits ||
		        memcmp(seen[k]->stream.data, b->stream.data, bytes) !=
		                0))
			k++;
		if (k < n)
			continue;
		assert_true(n < HEADS_MAX);
		seen[n++] = b;
	}
	return n;
}

/* Room for an index, which holds the codes, and not for the blocks. */
#define TIGHT (64u << 10)

/* How many codes are made of t, whose index is held. */
static unsigned
codes_made(struct sst *t)
{
	struct sst_index *x;
	unsigned n = 0;

	assert_int_equal(sst_get_index(t, true, &x, NULL), 0);
	for (unsigned i = 0; i < SST_CODES_MAX; i++)
		n += x->codes->code[i].head_bits != 0;
	cache_block_unpin(&x->head);
	return n;
}

/* What zlib makes of a stream whose text has so many bytes; owned. */
static unsigned char *
text_of(struct slice stream, size_t bytes)
{
	unsigned char *text = (unsigned char *)malloc(bytes);
	uLongf len = bytes;

	assert_non_null(text);
	assert_int_equal(uncompress(text, &len, stream.data, stream.len), Z_OK);
	assert_int_equal(len, bytes);
	return text;
}

/*
 * Trials leave no trace: the streams of a file are those that a deflater makes
 * of its texts, each given once.
 */
static void
test_trials_leave_no_trace(void **state)
{
	struct deflate_parts *d = deflate_parts_new(true);
	struct deflate_part parts[SST_PARTS_MAX];
	struct buf stream = BUF_INIT;
	struct fixture f;
	struct blocks blocks;
	struct sst *t;
	size_t first = 0, common = 0, own = 0;

	(void)state;
	assert_non_null(d);
	make_dir(&f, 0);
	make_plain(&f.m, 2000);
	write_sst(&f, &f.m, &usual);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	assert_int_equal(blocks.count, blocks.all);
	for (size_t i = 0; i < blocks.count; i++) {
		const struct block *b = &blocks.block[i];
		size_t n = sst_parts_cut(&f.m.entry[first], b->entries, parts);
		struct deflate_head head;
		size_t bytes = 0;
		unsigned char *text;

		assert_int_equal(n, b->parts.count);
		for (size_t k = 0; k < n; k++)
			bytes += parts[k].len;
		text = text_of(b->stream, bytes);
		buf_clear(&stream);
		assert_int_equal(deflate_parts_run(d, slice_make(text, bytes),
		                                   parts, n, &head, &stream,
		                                   NULL),
		                 0);
		assert_true(slice_equal(buf_slice(&stream), b->stream));
		common += head.common;
		own += !head.common;
		first += b->entries;
		free(text);
	}
	/* Both kinds, and more than one trial. */
	assert_true(common > 64 && own > 1);
	deflate_parts_free(d);
	buf_release(&stream);
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

/* A file may have more common codes than its readers keep. */
static void
test_many_codes(void **state)
{
	struct fixture f;
	struct blocks blocks;
	struct sst *t;

	(void)state;
	make_file(&f, 8000, VALUE_KINDS, &usual);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	assert_true(count_heads(&blocks) > SST_CODES_MAX);
	block_cache_set_capacity(f.cache, TIGHT);
	check_gets(&f, t);
	assert_int_equal(codes_made(t), SST_CODES_MAX);
	check_walks(t, &f.m, false);
	sst_unref(t);
	/* And with whichever come first. */
	t = open_sst(&f);
	for (unsigned i = 0; i < 5000; i++)
		assert_true(
			right(&f, t, dice((uint32_t)f.m.count), VERSION_MAX));
	assert_int_equal(codes_made(t), SST_CODES_MAX);
	assert_int_equal(sst_check(t, NULL, NULL, NULL), 0);
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

/* A code that another thread is about to make takes no second place, and
   nobody waits for it. */
static void
test_code_under_way(void **state)
{
	struct fixture f;
	struct sst_index *x;
	struct sst *t;

	(void)state;
	make_file(&f, 3000, 1, &usual);
	t = open_sst(&f);
	block_cache_set_capacity(f.cache, TIGHT);
	assert_int_equal(sst_get_index(t, true, &x, NULL), 0);
	atomic_store(&x->codes->code[0].state, 1); /* being made */
	for (size_t i = 0; i < f.m.count; i += 3)
		assert_true(right(&f, t, i, VERSION_MAX));
	assert_int_equal(codes_made(t), 0);
	atomic_store(&x->codes->code[0].state, 0);
	for (size_t i = 0; i < f.m.count; i += 3)
		assert_true(right(&f, t, i, VERSION_MAX));
	assert_true(codes_made(t) > 0);
	cache_block_unpin(&x->head);
	sst_unref(t);
	free_dir(&f);
}

/* ---- threads ---- */

#define THREADS 4u

struct crowd {
	const struct fixture *f;
	struct sst *t;
	pthread_barrier_t *start;
	uint32_t first, step; /* of the entries asked for */
	size_t wrong;
};

static void *
ask(void *arg)
{
	struct crowd *c = (struct crowd *)arg;
	size_t i = c->first;

	pthread_barrier_wait(c->start);
	for (unsigned n = 0; n < 100; n++) {
		i = (i + c->step) % c->f->m.count;
		c->wrong += !right(c->f, c->t, i, VERSION_MAX);
	}
	return NULL;
}

/* Threads that are the first to read a file make its codes for each other. */
static void
test_first_readers(void **state)
{
	struct fixture f;

	(void)state;
	make_file(&f, 6000, VALUE_KINDS - 1, &usual);
	block_cache_set_capacity(f.cache, TIGHT);
	for (unsigned round = 0; round < 20; round++) {
		struct sst *t = open_sst(&f);
		struct crowd crowd[THREADS];
		pthread_barrier_t start;
		pthread_t id[THREADS];

		/* The index is there, and nothing in its codes. */
		sst_warm(t);
		assert_int_equal(pthread_barrier_init(&start, NULL, THREADS),
		                 0);
		for (unsigned i = 0; i < THREADS; i++) {
			crowd[i] = (struct crowd){ &f,
				                   t,
				                   &start,
				                   dice((uint32_t)f.m.count),
				                   1 + dice(5000),
				                   0 };
			assert_int_equal(
				pthread_create(&id[i], NULL, ask, &crowd[i]),
				0);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(id[i], NULL);
			assert_int_equal(crowd[i].wrong, 0);
		}
		pthread_barrier_destroy(&start);
		assert_true(codes_made(t) > 0);
		sst_unref(t);
	}
	free_dir(&f);
}

/* ---- descriptions that lie, under checksums that are right ---- */

/* A block whose bytes are changed and sealed again. */
struct forged {
	struct fixture *f;
	struct sst *t;
	struct sst_index *x;
	const struct block *b;
	unsigned char *bytes; /* owned; a copy of the block */
	size_t at;            /* in it, of what is changed */
	size_t first;         /* entry of the block in the fixture */
	size_t refused, harmless;
};

/* Looks up one key in `step` of the block, which no cache holds. */
static void
look(struct forged *g, uint32_t step)
{
	tmpdir_overwrite(g->f->path, FILE_NAME, g->b->offset, g->bytes,
	                 g->b->stored);
	for (uint32_t i = dice(step); i < g->b->entries; i += step) {
		const struct entry *want = &g->f->m.entry[g->first + i];
		struct sst_hit hit;
		struct err err = ERR_INIT;
		int code = sst_get(g->t, want->key, sst_key_hash(want->key),
		                   want->version, &hit, &err);

		if (!code)
			sst_hit_release(&hit);
		else
			assert_int_equal(code, LSMKV_ECORRUPT);
	}
}

/* Makes the block: it is refused, or everything in it is right. */
static void
judge(struct forged *g)
{
	struct slice stored = slice_make(g->bytes, g->b->stored);
	struct sst_block *made = NULL;
	struct err err = ERR_INIT;
	struct entry e;
	int code;

	put_u32(g->bytes + g->b->stored - 4,
	        sst_block_crc(FILE_NUMBER, g->b->offset, g->bytes,
	                      g->b->stored - 4));
	code = sst_block_make(g->t, g->x, g->b->i, stored, true, &made, &err);
	if (code) {
		assert_int_equal(code, LSMKV_ECORRUPT);
		assert_non_null(strstr(err.message, FILE_NAME));
		g->refused++;
	} else {
		assert_int_equal(made->count, g->b->entries);
		for (uint32_t i = 0; i < made->count; i++) {
			sst_block_entry(made, i, &e);
			assert_true(same(&e, &g->f->m.entry[g->first + i]));
		}
		cache_block_unpin(&made->head);
		g->harmless++;
	}
	/* A look that does not take it all may see anything, but safely. */
	look(g, 5);
}

static void
flip(struct forged *g, size_t bit)
{
	g->bytes[g->at + bit / 8] ^= (unsigned char)(1u << bit % 8);
}

static void
forge(struct forged *g, struct fixture *f, struct sst *t,
      const struct blocks *blocks, size_t n)
{
	struct entry e;
	size_t i = 0;

	*g = (struct forged){ .f = f, .t = t, .b = &blocks->block[n] };
	g->bytes = (unsigned char *)malloc(g->b->stored);
	assert_non_null(g->bytes);
	memcpy(g->bytes, g->b->bytes.data, g->b->stored);
	g->at = g->b->parts_at;
	assert_int_equal(sst_get_index(t, true, &g->x, NULL), 0);
	{
		struct sst_block *made;

		assert_int_equal(sst_block_make(t, g->x, g->b->i, g->b->bytes,
		                                false, &made, NULL),
		                 0);
		sst_block_entry(made, 0, &e);
		while (!same(&e, &f->m.entry[i]))
			i++;
		cache_block_unpin(&made->head);
	}
	g->first = i;
}

static void
forged_release(struct forged *g)
{
	cache_block_unpin(&g->x->head);
	free(g->bytes);
}

/*
 * A description of which any bit, or some two, are others is found out when the
 * block is made, or it makes no difference: no value is another.
 */
static void
test_lies(void **state)
{
	struct fixture f;
	struct blocks blocks;
	struct sst *t;
	size_t tried = 0;

	(void)state;
	make_file(&f, 3000, 1, &usual);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	for (size_t n = 0; n < blocks.count && tried < 2; n += 9) {
		struct forged g;
		size_t bits = 8 * blocks.block[n].description.len;

		if (blocks.block[n].parts.count < 3)
			continue;
		tried++;
		forge(&g, &f, t, &blocks, n);
		judge(&g);
		assert_int_equal(g.harmless, 1);
		for (size_t a = 0; a < bits; a++) {
			flip(&g, a);
			judge(&g);
			for (size_t b = a + 1; b < bits; b += 1 + dice(8)) {
				flip(&g, b);
				judge(&g);
				flip(&g, b);
			}
			flip(&g, a);
		}
		/* Few make no difference: common or not, refers needlessly. */
		assert_true(g.refused > 8 * g.harmless);
		forged_release(&g);
	}
	assert_int_equal(tried, 2);
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

/* Any bit of a stream may be another: something is read, or it is refused. */
static void
test_forged_streams(void **state)
{
	struct fixture f;
	struct blocks blocks;
	struct sst *t;

	(void)state;
	make_file(&f, 1500, 1, &usual);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	for (size_t n = 0; n < blocks.count; n += 23) {
		const struct block *block = &blocks.block[n];
		struct forged g;
		struct err err = ERR_INIT;
		struct sst_block *made;

		forge(&g, &f, t, &blocks, n);
		g.at = (size_t)(block->stream.data - block->bytes.data);
		for (size_t bit = 0; bit < 8 * block->stream.len; bit++) {
			struct slice stored =
				slice_make(g.bytes, block->stored);
			int code;

			flip(&g, bit);
			put_u32(g.bytes + block->stored - 4,
			        sst_block_crc(FILE_NUMBER, block->offset,
			                      g.bytes, block->stored - 4));
			code = sst_block_make(t, g.x, block->i, stored, false,
			                      &made, &err);
			if (!code)
				cache_block_unpin(&made->head);
			else
				assert_int_equal(code, LSMKV_ECORRUPT);
			look(&g, block->entries);
			flip(&g, bit);
		}
		forged_release(&g);
	}
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

/* sst_check finds a block whose parts lie, whatever its checksums say. */
static void
test_check_finds_lies(void **state)
{
	struct fixture f;
	struct blocks blocks;
	struct forged g;
	struct sst_info own;
	struct err err = ERR_INIT;
	struct sst *t, *lying;
	size_t n = 0, at;

	(void)state;
	make_file(&f, 1500, 1, &usual);
	t = open_sst(&f);
	blocks = find_blocks(&f, t);
	while (blocks.block[n].parts.count < 3)
		n++;
	forge(&g, &f, t, &blocks, n);
	/* Every part is said to take one bit more, or less. */
	for (at = 2; g.bytes[g.at + at] & 0x80; at++)
		;
	flip(&g, 8 * (at + 1) + 1);
	judge(&g);
	assert_int_equal(g.refused, 1);
	tmpdir_overwrite(f.path, FILE_NAME, g.b->offset, g.bytes, g.b->stored);
	/* The file's own sum fits as well. */
	assert_int_equal(sst_info_read(f.dir, FILE_NUMBER, &own, NULL), 0);
	assert_true(own.crc != f.info.crc);
	if (sst_open(&lying, f.dir, &own, NULL, &err))
		fail_msg("%s", err.message);
	assert_int_equal(sst_check(lying, NULL, NULL, &err), LSMKV_ECORRUPT);
	assert_non_null(strstr(err.message, "has parts that are damaged"));
	sst_unref(lying);
	sst_info_release(&own);
	forged_release(&g);
	sst_unref(t);
	free_blocks(&blocks);
	free_dir(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_not_cut),
		cmocka_unit_test(test_descriptions),
		cmocka_unit_test(test_refused_descriptions),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_trials_leave_no_trace),
		cmocka_unit_test(test_many_codes),
		cmocka_unit_test(test_code_under_way),
		cmocka_unit_test(test_first_readers),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_forged_streams),
		cmocka_unit_test(test_check_finds_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
