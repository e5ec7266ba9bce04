/* SPDX-License-Identifier: ISC */
/*
 * See memtable.h. The skip list's links are fat: beside the pointer to the
 * next node stands that node's key prefix. A search that has to go down a
 * level, which is most of its steps, then never touches the node it rejects.
 *
 * Why a reader may see a link half changed. The adder stores the pointer
 * first and the prefix after it; a reader loads the prefix first and the
 * pointer after it. Nodes are only ever inserted before their successor, so
 * the pointer that a reader gets is never behind the node whose prefix it
 * saw: if the key it looks for is behind that prefix, it is behind that node,
 * too. A reader that still sees the old prefix may pass over a new node; that
 * node's version is not published yet, so the reader need not see it.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <endian.h>

#include "store/memtable.h"

#define HEIGHT_MAX 12u
#define CHUNK_FIRST (64u << 10) /* bytes of the first arena chunk */
#define CHUNK_MOST (1u << 20)   /* and of later ones, doubling up to this */

struct node;

struct link {
	_Atomic uint64_t prefix;       /* key prefix of `node` */
	_Atomic(struct node *) node;   /* the next one at this height, or NULL */
};

struct node {
	uint64_t version;
	uint64_t expires;     /* epoch second; 0: never */
	uint32_t key_len;     /* bytes */
	uint32_t value_len;   /* bytes */
	uint8_t kind;         /* enum entry_kind */
	uint8_t height;       /* links that follow, 1 and up */
	struct link links[];  /* then the key's bytes, then the value's */
};

struct chunk {
	struct chunk *next; /* allocated before this one */
	size_t size;        /* bytes that follow */
	unsigned char data[];
};

struct memtable {
	_Atomic unsigned refs;      /* views and whoever flushes it */
	uint64_t segment;           /* of the WAL that holds the same */
	struct chunk *chunks;       /* the arena, newest chunk first */
	size_t chunk_used;          /* bytes of the newest one */
	_Atomic size_t bytes;       /* of all chunks */
	_Atomic size_t used;        /* bytes of nodes, for the size limit */
	_Atomic uint64_t entries;
	_Atomic uint64_t tombstones;
	_Atomic uint64_t max_version;
	_Atomic unsigned height;    /* of the tallest node */
	uint64_t random;            /* state of the generator of heights */
	struct link head[HEIGHT_MAX];
};

/* ---- nodes ---- */

/*
 * The first eight bytes of a key as a number: if prefixes differ, keys are in
 * the order of their prefixes.
 */
static inline uint64_t
key_prefix(struct slice key)
{
	uint64_t p = 0;

	if (key.len >= 8) {
		memcpy(&p, key.data, 8);
		return be64toh(p);
	}
	for (size_t i = 0; i < key.len; i++)
		p |= (uint64_t)key.data[i] << (56 - 8 * i);
	return p;
}

static inline const unsigned char *
node_key_data(const struct node *n)
{
	return (const unsigned char *)(n->links + n->height);
}

static inline struct slice
node_key(const struct node *n)
{
	return slice_make(node_key_data(n), n->key_len);
}

static void
node_entry(const struct node *n, struct entry *e)
{
	e->key = node_key(n);
	e->value = slice_make(node_key_data(n) + n->key_len, n->value_len);
	e->version = n->version;
	e->expires = n->expires;
	e->kind = (enum entry_kind)n->kind;
}

static size_t
node_size(const struct entry *e, unsigned height)
{
	size_t size = sizeof(struct node) + height * sizeof(struct link) +
		      e->key.len + e->value.len;

	return (size + 7) & ~(size_t)7;
}

/* ---- life ---- */

struct memtable *
memtable_new(uint64_t segment)
{
	struct memtable *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	atomic_init(&m->refs, 1);
	atomic_init(&m->height, 1);
	m->segment = segment;
	m->random = 0x9e3779b97f4a7c15u ^ segment;
	for (unsigned i = 0; i < HEIGHT_MAX; i++)
		atomic_init(&m->head[i].prefix, UINT64_MAX);
	return m;
}

struct memtable *
memtable_ref(struct memtable *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void
memtable_unref(struct memtable *m)
{
	struct chunk *c;

	if (!m || atomic_fetch_sub_explicit(&m->refs, 1,
					    memory_order_acq_rel) != 1)
		return;
	while ((c = m->chunks)) {
		m->chunks = c->next;
		free(c);
	}
	free(m);
}

/* ---- adding ---- */

size_t
memtable_entry_bytes(const struct entry *e)
{
	return node_size(e, HEIGHT_MAX);
}

int
memtable_reserve(struct memtable *m, size_t bytes, struct err *err)
{
	struct chunk *c;
	size_t size = m->chunks ? m->chunks->size * 2 : CHUNK_FIRST;

	if (m->chunks && m->chunks->size - m->chunk_used >= bytes)
		return 0;
	if (size > CHUNK_MOST)
		size = CHUNK_MOST;
	if (size < bytes)
		size = bytes;
	c = malloc(sizeof(*c) + size);
	if (!c)
		return err_nomem(err, size);
	c->size = size;
	c->next = m->chunks;
	m->chunks = c;
	m->chunk_used = 0;
	atomic_fetch_add_explicit(&m->bytes, size, memory_order_relaxed);
	return 0;
}

/* One node in four is a link taller than the rest (xorshift64*). */
static unsigned
random_height(struct memtable *m)
{
	uint64_t x = m->random;
	unsigned height = 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	m->random = x;
	x *= 0x2545f4914f6cdd1du;
	x >>= 32;
	while (height < HEIGHT_MAX && !(x & 3)) {
		x >>= 2;
		height++;
	}
	return height;
}

/* Is the node that the link leads to before (key, version) in store order? */
static inline bool
link_before(const struct link *l, uint64_t prefix, struct slice key,
	    uint64_t version, struct node **to)
{
	uint64_t p = atomic_load_explicit(&l->prefix, memory_order_acquire);
	struct node *n;

	if (p > prefix)
		return false;
	n = atomic_load_explicit(&l->node, memory_order_acquire);
	*to = n;
	if (p < prefix)
		return true;
	return n && entry_order(node_key(n), n->version, key, version) < 0;
}

/*
 * The links of the last node before (key, version) at the lowest height, and
 * in path (when not NULL) the ones that an insertion there has to change.
 */
static struct link *
find(struct memtable *m, struct slice key, uint64_t version,
     struct link **path, struct node **last)
{
	uint64_t prefix = key_prefix(key);
	unsigned h = atomic_load_explicit(&m->height, memory_order_relaxed);
	struct link *links = m->head;
	struct node *before = NULL, *n;

	while (h--) {
		while (link_before(&links[h], prefix, key, version, &n)) {
			before = n;
			links = n->links;
		}
		if (path)
			path[h] = &links[h];
	}
	if (last)
		*last = before;
	return links;
}

void
memtable_add(struct memtable *m, const struct entry *e)
{
	struct link *path[HEIGHT_MAX];
	unsigned height = random_height(m);
	unsigned old = atomic_load_explicit(&m->height, memory_order_relaxed);
	size_t size = node_size(e, height);
	uint64_t prefix = key_prefix(e->key);
	unsigned char *bytes;
	struct node *n;

	assert(m->chunks && m->chunks->size - m->chunk_used >= size);
	n = (struct node *)(void *)(m->chunks->data + m->chunk_used);
	m->chunk_used += size;

	n->version = e->version;
	n->expires = e->expires;
	n->key_len = (uint32_t)e->key.len;
	n->value_len = (uint32_t)e->value.len;
	n->kind = (uint8_t)e->kind;
	n->height = (uint8_t)height;
	bytes = (unsigned char *)(n->links + height);
	memcpy(bytes, e->key.data, e->key.len);
	if (e->value.len)
		memcpy(bytes + e->key.len, e->value.data, e->value.len);

	find(m, e->key, e->version, path, NULL);
	for (unsigned h = old; h < height; h++)
		path[h] = &m->head[h];
	for (unsigned h = 0; h < height; h++) {
		struct node *next = atomic_load_explicit(&path[h]->node,
							 memory_order_relaxed);
		uint64_t p = atomic_load_explicit(&path[h]->prefix,
						  memory_order_relaxed);

		atomic_init(&n->links[h].node, next);
		atomic_init(&n->links[h].prefix, p);
	}
	for (unsigned h = 0; h < height; h++) {
		atomic_store_explicit(&path[h]->node, n, memory_order_release);
		atomic_store_explicit(&path[h]->prefix, prefix,
				      memory_order_release);
	}
	if (height > old)
		atomic_store_explicit(&m->height, height, memory_order_release);

	atomic_fetch_add_explicit(&m->used, size, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->entries, 1, memory_order_relaxed);
	if (e->kind == ENTRY_TOMBSTONE)
		atomic_fetch_add_explicit(&m->tombstones, 1,
					  memory_order_relaxed);
	if (e->version > atomic_load_explicit(&m->max_version,
					      memory_order_relaxed))
		atomic_store_explicit(&m->max_version, e->version,
				      memory_order_relaxed);
}

/* ---- reading ---- */

/*
 * The first node at or behind (key, version). find may have stopped at a link
 * that has changed since: step over what was inserted there meanwhile.
 */
static struct node *
find_at(struct memtable *m, struct slice key, uint64_t version)
{
	struct link *links = find(m, key, version, NULL, NULL);
	struct node *n;

	for (;;) {
		n = atomic_load_explicit(&links[0].node, memory_order_acquire);
		if (!n ||
		    entry_order(node_key(n), n->version, key, version) >= 0)
			return n;
		links = n->links;
	}
}

int
memtable_get(struct memtable *m, struct slice key, uint64_t version,
	     struct entry *e)
{
	struct node *n = find_at(m, key, version);

	if (!n || !slice_equal(node_key(n), key))
		return LSMKV_NOTFOUND;
	node_entry(n, e);
	return 0;
}

struct memtable_iter {
	struct iter base;
	struct memtable *memtable; /* a reference */
	struct node *node;         /* where it stands */
};

static int
stand_on(struct memtable_iter *it, struct node *n)
{
	it->node = n;
	it->base.valid = n != NULL;
	if (n)
		node_entry(n, &it->base.entry);
	return 0;
}

static int
mem_seek(struct iter *base, struct slice key, uint64_t version,
	 struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	(void)err;
	return stand_on(it, find_at(it->memtable, key, version));
}

static int
mem_seek_before(struct iter *base, struct slice key, uint64_t version,
		struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;
	struct node *before;

	(void)err;
	find(it->memtable, key, version, NULL, &before);
	return stand_on(it, before);
}

static int
mem_first(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	(void)err;
	return stand_on(it, atomic_load_explicit(&it->memtable->head[0].node,
						 memory_order_acquire));
}

static int
mem_last(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;
	struct link *links = it->memtable->head;
	unsigned h = atomic_load_explicit(&it->memtable->height,
					  memory_order_relaxed);
	struct node *last = NULL, *n;

	(void)err;
	while (h--) {
		while ((n = atomic_load_explicit(&links[h].node,
						 memory_order_acquire))) {
			last = n;
			links = n->links;
		}
	}
	return stand_on(it, last);
}

static int
mem_next(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	(void)err;
	return stand_on(it, atomic_load_explicit(&it->node->links[0].node,
						 memory_order_acquire));
}

static int
mem_prev(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	return mem_seek_before(base, node_key(it->node), it->node->version,
			       err);
}

static void
mem_close(struct iter *base)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	memtable_unref(it->memtable);
	free(it);
}

static const struct iter_ops memtable_iter_ops = {
	.seek = mem_seek,
	.seek_before = mem_seek_before,
	.first = mem_first,
	.last = mem_last,
	.next = mem_next,
	.prev = mem_prev,
	.close = mem_close,
};

int
memtable_iter_new(struct iter **out, struct memtable *m, struct err *err)
{
	struct memtable_iter *it = calloc(1, sizeof(*it));

	*out = NULL;
	if (!it)
		return err_nomem(err, sizeof(*it));
	it->base.ops = &memtable_iter_ops;
	it->memtable = memtable_ref(m);
	*out = &it->base;
	return 0;
}

/* ---- figures ---- */

uint64_t
memtable_segment(const struct memtable *m)
{
	return m->segment;
}

size_t
memtable_bytes(const struct memtable *m)
{
	return atomic_load_explicit(&m->used, memory_order_relaxed);
}

uint64_t
memtable_entries(const struct memtable *m)
{
	return atomic_load_explicit(&m->entries, memory_order_relaxed);
}

uint64_t
memtable_tombstones(const struct memtable *m)
{
	return atomic_load_explicit(&m->tombstones, memory_order_relaxed);
}

uint64_t
memtable_max_version(const struct memtable *m)
{
	return atomic_load_explicit(&m->max_version, memory_order_relaxed);
}
