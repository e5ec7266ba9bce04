/* SPDX-License-Identifier: ISC */
/*
 * See memtable.h. The list is the truth, the tree is a hint.
 *
 * Every entry is a node of a linked list in store order; nodes are added and
 * never removed. A B+-tree over the nodes finds where to begin in the list.
 * Its pages change in place, under the eyes of readers who take no lock, so
 * what a reader gets from them may be out of date or torn. It therefore asks
 * the tree for one thing only, a node before the place it looks for; it
 * compares that node itself, goes down again if it is not before, and else
 * walks the list from there, over nodes that the tree did not know. (That a
 * walk to the right mends a stale descent is the idea of Lehman and Yao,
 * Efficient Locking for Concurrent Operations on B-Trees, 1981.)
 *
 * For the same reason a page that cannot be allocated is no error: its node
 * is in the list, and merely takes some steps more to reach.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include <endian.h>

#include "base/arena.h"
#include "store/memtable.h"

#define LINE ARENA_ALIGN /* bytes of a cache line */
/* Entries of a page: with its head, their prefixes fill eight lines. */
#define FANOUT 62u
#define DEPTH_MOST 12u /* far more than memory can hold */

struct node {
	_Atomic(struct node *) next; /* in store order, or NULL */
	uint64_t version;
	uint64_t expires;     /* epoch second; 0: never */
	uint32_t key_len;     /* bytes */
	uint32_t value_len;   /* bytes */
	uint8_t kind;         /* enum entry_kind */
	unsigned char data[]; /* the key's bytes, then the value's */
};

/* Entries [0, count) are in store order of their nodes. */
struct page {
	_Atomic unsigned count;
	unsigned depth;                      /* 0: a leaf */
	uint64_t unused;                     /* to a multiple of 16 bytes */
	_Atomic uint64_t prefix[FANOUT];     /* key prefix of node[i] */
	_Atomic(struct node *) node[FANOUT]; /* a leaf's entry; in an inner
						page the first of child[i] */
	_Atomic(struct page *) child[];      /* [FANOUT] in an inner page */
};

struct memtable {
	_Atomic unsigned refs; /* views and whoever flushes it */
	uint64_t segment;      /* of the WAL that holds the same */
	struct arena nodes;
	struct arena pages;
	_Atomic(struct page *) root;
	_Atomic uint64_t bytes; /* of nodes and pages */
	_Atomic uint64_t entries;
	_Atomic uint64_t tombstones;
	_Atomic uint64_t max_version;
	struct node head; /* before every entry; no entry itself */
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

static inline struct slice
node_key(const struct node *n)
{
	return slice_make(n->data, n->key_len);
}

static void
node_entry(const struct node *n, struct entry *e)
{
	e->key = node_key(n);
	e->value = slice_make(n->data + n->key_len, n->value_len);
	e->version = n->version;
	e->expires = n->expires;
	e->kind = (enum entry_kind)n->kind;
}

static size_t
node_size(const struct entry *e)
{
	size_t size = sizeof(struct node) + e->key.len + e->value.len;

	return (size + 7) & ~(size_t)7;
}

static inline struct node *
node_next(const struct node *n)
{
	return atomic_load_explicit(&n->next, memory_order_acquire);
}

/* A place in store order, to be found. */
struct target {
	struct slice key;
	uint64_t version;
	uint64_t prefix; /* of key */
};

static inline struct target
target_make(struct slice key, uint64_t version)
{
	struct target t = { key, version, key_prefix(key) };

	return t;
}

static inline bool
node_before(const struct node *n, const struct target *t)
{
	return entry_order(node_key(n), n->version, t->key, t->version) < 0;
}

/* ---- pages ---- */

static inline struct node *
page_node(const struct page *p, unsigned i)
{
	return atomic_load_explicit(&p->node[i], memory_order_acquire);
}

static inline uint64_t
page_prefix(const struct page *p, unsigned i)
{
	return atomic_load_explicit(&p->prefix[i], memory_order_relaxed);
}

/*
 * How many of the page's entries are before the target; the first `low` are.
 * Every step of the first loop takes one of two numbers and no branch: which
 * way it goes cannot be foretold.
 */
static inline unsigned
page_search(const struct page *p, unsigned low, const struct target *t)
{
	unsigned high = atomic_load_explicit(&p->count, memory_order_acquire);
	unsigned at = 0;

	for (unsigned left = high, half; left; left -= half) {
		half = (left + 1) / 2;
		at += half &
		      -(unsigned)(page_prefix(p, at + half - 1) < t->prefix);
	}
	if (at > low)
		low = at;
	/* Those with the same prefix. */
	while (low < high) {
		unsigned mid = (low + high) / 2;
		uint64_t prefix = page_prefix(p, mid);

		if (prefix < t->prefix ||
		    (prefix == t->prefix && node_before(page_node(p, mid), t)))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static inline void
page_prefetch(const struct page *p)
{
	for (size_t at = 0; at < offsetof(struct page, node); at += LINE)
		__builtin_prefetch((const unsigned char *)p + at);
}

/* Where an insertion came through: page and entry taken, by depth. */
struct path {
	struct page *page[DEPTH_MOST];
	unsigned at[DEPTH_MOST];
};

/*
 * The leaf where the target belongs, and how many of its entries are before
 * it; NULL from an empty tree. path may be NULL.
 */
static struct page *
find_leaf(struct memtable *m, const struct target *t, unsigned *at,
          struct path *path)
{
	struct page *p = atomic_load_explicit(&m->root, memory_order_acquire);

	if (!p)
		return NULL;
	while (p->depth) {
		/*
		 * The first child takes all that is before the second,
		 * whatever it began with when it was entered.
		 */
		*at = page_search(p, 1, t) - 1;
		if (path) {
			path->page[p->depth] = p;
			path->at[p->depth] = *at;
		}
		p = atomic_load_explicit(&p->child[*at], memory_order_acquire);
		page_prefetch(p);
	}
	*at = page_search(p, 0, t);
	if (path) {
		path->page[0] = p;
		path->at[0] = *at;
	}
	return p;
}

/*
 * A node before the target, near it: the head of the list if the tree knows
 * none.
 */
static struct node *
find_before(struct memtable *m, const struct target *t)
{
	for (;;) {
		unsigned at;
		struct page *p = find_leaf(m, t, &at, NULL);
		struct node *n;

		if (!p || !at)
			return &m->head;
		n = page_node(p, at - 1);
		if (at < FANOUT) /* is behind, as a rule */
			__builtin_prefetch(page_node(p, at));
		if (node_before(n, t))
			return n;
		/* A page changed while we looked. */
	}
}

/* The last node before the target, from `before` on, and the one behind it. */
static struct node *
walk(struct node *before, const struct target *t, struct node **behind)
{
	struct node *n;

	while ((n = node_next(before)) && node_before(n, t))
		before = n;
	*behind = n;
	return before;
}

static struct node *
find(struct memtable *m, const struct target *t, struct node **behind)
{
	return walk(find_before(m, t), t, behind);
}

/* ---- life ---- */

struct memtable *
memtable_new(uint64_t segment)
{
	struct memtable *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	atomic_init(&m->refs, 1);
	m->segment = segment;
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
	if (!m ||
	    atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_release(&m->nodes);
	arena_release(&m->pages);
	free(m);
}

/* ---- adding ---- */

size_t
memtable_entry_bytes(const struct entry *e)
{
	return node_size(e);
}

int
memtable_reserve(struct memtable *m, size_t bytes, struct err *err)
{
	return arena_reserve(&m->nodes, bytes) ? 0 : err_nomem(err, bytes);
}

/* Figures have one writer: no need for the bus to be locked. */
static inline void
count(_Atomic uint64_t *figure, uint64_t more)
{
	atomic_store_explicit(
		figure,
		atomic_load_explicit(figure, memory_order_relaxed) + more,
		memory_order_relaxed);
}

/* NULL when out of memory: then the tree knows less, and that is all. */
static struct page *
page_new(struct memtable *m, unsigned depth)
{
	size_t size = sizeof(struct page) +
	              (depth ? FANOUT * sizeof(struct page *) : 0);
	struct page *p;

	size = (size + LINE - 1) / LINE * LINE;
	if (!arena_reserve(&m->pages, size))
		return NULL;
	p = arena_take(&m->pages, size);
	memset(p, 0, size);
	p->depth = depth;
	count(&m->bytes, size);
	return p;
}

static void
page_set(struct page *p, unsigned i, uint64_t prefix, struct node *n,
         struct page *child)
{
	atomic_store_explicit(&p->prefix[i], prefix, memory_order_relaxed);
	atomic_store_explicit(&p->node[i], n, memory_order_release);
	if (p->depth)
		atomic_store_explicit(&p->child[i], child,
		                      memory_order_release);
}

static void
page_copy(struct page *to, unsigned i, const struct page *from, unsigned j)
{
	page_set(to, i,
	         atomic_load_explicit(&from->prefix[j], memory_order_relaxed),
	         atomic_load_explicit(&from->node[j], memory_order_relaxed),
	         from->depth ? atomic_load_explicit(&from->child[j],
	                                            memory_order_relaxed)
	                     : NULL);
}

/* There is room. Every entry that a reader may look at is a whole one. */
static void
page_insert(struct page *p, unsigned at, uint64_t prefix, struct node *n,
            struct page *child)
{
	unsigned count = atomic_load_explicit(&p->count, memory_order_relaxed);

	for (unsigned i = count; i > at; i--)
		page_copy(p, i, p, i - 1);
	page_set(p, at, prefix, n, child);
	atomic_store_explicit(&p->count, count + 1, memory_order_release);
}

/*
 * Enters n, or a child that begins with n, into the page at `depth` of the
 * path. A full page is halved; where keys come in order, it is left full.
 */
static void
tree_insert(struct memtable *m, struct path *path, unsigned depth, unsigned at,
            uint64_t prefix, struct node *n, struct page *child)
{
	struct page *p = path->page[depth], *right, *root;
	unsigned keep = at == FANOUT ? FANOUT : FANOUT / 2;

	if (atomic_load_explicit(&p->count, memory_order_relaxed) < FANOUT) {
		page_insert(p, at, prefix, n, child);
		return;
	}
	root = atomic_load_explicit(&m->root, memory_order_relaxed);
	if (p == root) {
		if (depth + 1 == DEPTH_MOST)
			return;
		root = page_new(m, depth + 1);
		if (!root)
			return;
		page_insert(root, 0,
		            atomic_load_explicit(&p->prefix[0],
		                                 memory_order_relaxed),
		            page_node(p, 0), p);
		path->page[depth + 1] = root;
		path->at[depth + 1] = 0;
		atomic_store_explicit(&m->root, root, memory_order_release);
	}
	right = page_new(m, depth);
	if (!right)
		return;
	for (unsigned i = keep; i < FANOUT; i++)
		page_copy(right, i - keep, p, i);
	atomic_store_explicit(&right->count, FANOUT - keep,
	                      memory_order_relaxed);
	if (at >= keep)
		page_insert(right, at - keep, prefix, n, child);
	tree_insert(
		m, path, depth + 1, path->at[depth + 1] + 1,
		atomic_load_explicit(&right->prefix[0], memory_order_relaxed),
		page_node(right, 0), right);
	atomic_store_explicit(&p->count, keep, memory_order_release);
	if (at < keep)
		page_insert(p, at, prefix, n, child);
}

void
memtable_add(struct memtable *m, const struct entry *e)
{
	struct target t = target_make(e->key, e->version);
	struct node *n, *before = &m->head, *known = NULL, *behind;
	size_t size = node_size(e);
	struct path path;
	unsigned at;
	struct page *p = find_leaf(m, &t, &at, &path);

	/* To the one who changes them, pages are never torn. */
	if (p && at)
		before = page_node(p, at - 1);
	if (p && at < atomic_load_explicit(&p->count, memory_order_relaxed))
		known = page_node(p, at);
	__builtin_prefetch(before);

	n = arena_take(&m->nodes, size);
	n->version = e->version;
	n->expires = e->expires;
	n->key_len = (uint32_t)e->key.len;
	n->value_len = (uint32_t)e->value.len;
	n->kind = (uint8_t)e->kind;
	memcpy(n->data, e->key.data, e->key.len);
	if (e->value.len)
		memcpy(n->data + e->key.len, e->value.data, e->value.len);

	/* There may be some between those two that the tree does not know. */
	behind = node_next(before);
	if (!known || behind != known)
		before = walk(before, &t, &behind);
	atomic_init(&n->next, behind);
	atomic_store_explicit(&before->next, n, memory_order_release);

	if (!p) {
		p = page_new(m, 0);
		if (p) {
			page_insert(p, 0, t.prefix, n, NULL);
			atomic_store_explicit(&m->root, p,
			                      memory_order_release);
		}
	} else {
		tree_insert(m, &path, 0, at, t.prefix, n, NULL);
	}

	count(&m->bytes, arena_touched(&m->nodes, size));
	count(&m->entries, 1);
	if (e->kind == ENTRY_TOMBSTONE)
		count(&m->tombstones, 1);
	if (e->version >
	    atomic_load_explicit(&m->max_version, memory_order_relaxed))
		atomic_store_explicit(&m->max_version, e->version,
		                      memory_order_relaxed);
}

/* ---- reading ---- */

int
memtable_get(struct memtable *m, struct slice key, uint64_t version,
             struct entry *e)
{
	struct target t = target_make(key, version);
	struct node *n;

	find(m, &t, &n);
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
mem_seek(struct iter *base, struct slice key, uint64_t version, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;
	struct target t = target_make(key, version);
	struct node *n;

	(void)err;
	find(it->memtable, &t, &n);
	return stand_on(it, n);
}

static int
mem_seek_before(struct iter *base, struct slice key, uint64_t version,
                struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;
	struct target t = target_make(key, version);
	struct node *behind, *n = find(it->memtable, &t, &behind);

	(void)err;
	return stand_on(it, n == &it->memtable->head ? NULL : n);
}

static int
mem_first(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	(void)err;
	return stand_on(it, node_next(&it->memtable->head));
}

static int
mem_last(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;
	struct node *last = &it->memtable->head, *n;
	struct page *p =
		atomic_load_explicit(&it->memtable->root, memory_order_acquire);

	(void)err;
	while (p) {
		unsigned count =
			atomic_load_explicit(&p->count, memory_order_acquire);

		last = page_node(p, count - 1);
		p = p->depth ? atomic_load_explicit(&p->child[count - 1],
		                                    memory_order_acquire)
		             : NULL;
	}
	while ((n = node_next(last)))
		last = n;
	return stand_on(it, last == &it->memtable->head ? NULL : last);
}

static int
mem_next(struct iter *base, struct err *err)
{
	struct memtable_iter *it = (struct memtable_iter *)base;

	(void)err;
	return stand_on(it, node_next(it->node));
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
	return atomic_load_explicit(&m->bytes, memory_order_relaxed);
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
