/* SPDX-License-Identifier: ISC */
/* A disk that loses power; see disk.h. */
#include "crash/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u

struct content {
	unsigned char *data; /* owned: the first `used` bytes, then zeros */
	size_t used, cap;
	uint64_t size;
};

struct events {
	const struct fault_event **list; /* owned; the events are not */
	size_t count, cap;
};

struct disk_file {
	uint64_t number;     /* in the trace */
	char start_name[48]; /* of one that was there from the start */
	struct content synced;
	struct events open; /* writes and sizes since */
};

struct name {
	char name[48];
	size_t file; /* index in disk.files */
};

struct names {
	struct name *list; /* owned */
	size_t count, cap;
};

struct disk {
	struct disk_file *files;
	size_t count, cap;
	struct names synced;   /* the directory */
	struct events open;    /* changes of it since */
	struct events written; /* all writes: where garbage is taken from */
};

uint64_t
draw(uint64_t *random, uint64_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random >> 11) % below;
}

/* Tests have no use for an out-of-memory error of their own. */
static void *
grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	*cap = need > 2 * *cap ? need : 2 * *cap;
	p = realloc(p, *cap * size);
	if (!p) {
		perror("disk.c");
		abort();
	}
	return p;
}

static void
add_event(struct events *events, const struct fault_event *e)
{
	events->list = grow(events->list, &events->cap, events->count + 1,
	                    sizeof(*events->list));
	events->list[events->count++] = e;
}

/* ---- contents ---- */

static void
put(struct content *c, uint64_t offset, const void *data, size_t len)
{
	size_t end = (size_t)offset + len;

	c->data = grow(c->data, &c->cap, end, 1);
	if (c->used < end) {
		memset(c->data + c->used, 0, end - c->used);
		c->used = end;
	}
	memcpy(c->data + offset, data, len);
	if (c->size < end)
		c->size = end;
}

static void
set_size(struct content *c, uint64_t size)
{
	c->size = size;
	if (c->used > size)
		c->used = (size_t)size;
}

static void
change(struct content *c, const struct fault_event *e)
{
	if (e->kind == EVENT_WRITE)
		put(c, e->offset, e->data, (size_t)e->len);
	else if (e->kind == EVENT_TRUNCATE)
		set_size(c, e->len);
	else if (e->offset + e->len > c->size)
		c->size = e->offset + e->len;
}

/* The part of a write that lies in [from, to). */
static bool
part_of(const struct fault_event *e, uint64_t from, uint64_t to,
        uint64_t *begin, uint64_t *end)
{
	if (e->kind != EVENT_WRITE)
		return false;
	*begin = e->offset > from ? e->offset : from;
	*end = e->offset + e->len < to ? e->offset + e->len : to;
	return *begin < *end;
}

/* Any bytes, or what another file held in that place. */
static void
garbage(const struct disk *d, uint64_t number, uint64_t from, uint64_t to,
        uint64_t *random, unsigned char *out)
{
	const struct fault_event *e;
	uint64_t begin, end, other;

	for (uint64_t i = 0; i < to - from; i++)
		out[i] = (unsigned char)draw(random, 256);
	if (!draw(random, 3))
		return;
	e = d->written.list[draw(random, d->written.count)];
	other = e->file;
	if (other == number || e->offset >= to)
		return;
	memset(out, 0, to - from);
	for (size_t i = 0; i < d->written.count; i++) {
		e = d->written.list[i];
		if (e->file == other && part_of(e, from, to, &begin, &end))
			memcpy(out + (begin - from),
			       e->data + (begin - e->offset), end - begin);
	}
}

struct loss {
	enum disk_data data;
	unsigned keep;    /* of 100 sectors; by file */
	unsigned garbage; /* of 100 that are not kept */
	uint64_t torn;    /* DATA_TORN: the last write reaches to here */
};

/* How many of the n writes that touch a sector have reached it? */
static size_t
reached(const struct loss *loss, uint64_t from, bool last_torn, size_t n,
        uint64_t *random)
{
	switch (loss->data) {
	case DATA_NONE:
		return 0;
	case DATA_ALL:
		return n;
	case DATA_TORN:
		return last_torn && from >= loss->torn ? n - 1 : n;
	default:
		if (draw(random, 100) < loss->keep)
			return n;
		return draw(random, n);
	}
}

/* One sector: the first writes to it, and garbage over where others went. */
static void
lose_sector(const struct disk *d, const struct disk_file *f,
            const struct loss *loss, uint64_t from, uint64_t *random,
            struct content *out)
{
	const struct events *open = &f->open;
	uint64_t to = from + SECTOR, begin, end;
	unsigned char junk[SECTOR];
	size_t n = 0, kept, seen = 0;
	bool last = false, dirty;

	for (size_t i = 0; i < open->count; i++)
		if (part_of(open->list[i], from, to, &begin, &end)) {
			n++;
			last = i == open->count - 1;
		}
	if (!n)
		return;
	kept = reached(loss, from, last, n, random);
	dirty = kept < n && draw(random, 100) < loss->garbage;
	if (dirty)
		garbage(d, f->number, from, to, random, junk);
	/* A sector that was never written is garbage as a whole. */
	if (dirty && f->synced.size <= from) {
		put(out, from, junk, SECTOR);
		return;
	}
	for (size_t i = 0; i < open->count; i++) {
		const struct fault_event *e = open->list[i];

		if (!part_of(e, from, to, &begin, &end))
			continue;
		if (seen++ < kept)
			put(out, begin, e->data + (begin - e->offset),
			    end - begin);
		else if (dirty)
			put(out, begin, junk + (begin - from), end - begin);
	}
}

/* What is left of a file. */
static void
lose(const struct disk *d, const struct disk_file *f, enum disk_data data,
     uint64_t *random, struct content *out)
{
	static const unsigned keeps[] = { 0, 10, 50, 90, 100 };
	const struct events *open = &f->open;
	const struct fault_event *e;
	struct loss loss = { .data = data };
	uint64_t end = 0, whole = f->synced.size;

	memset(out, 0, sizeof(*out));
	if (f->synced.used)
		put(out, 0, f->synced.data, f->synced.used);
	out->size = f->synced.size;
	if (!open->count || data == DATA_NONE)
		return;
	loss.keep = keeps[draw(random, 5)];
	loss.garbage = data == DATA_GARBAGE ? 60 : 0;
	e = open->list[open->count - 1];
	if (e->kind == EVENT_WRITE)
		loss.torn = e->offset + draw(random, e->len + 1);
	for (size_t i = 0; i < open->count; i++) {
		e = open->list[i];
		if (e->offset + e->len > end && e->kind == EVENT_WRITE)
			end = e->offset + e->len;
		if (e->offset + e->len > whole)
			whole = e->offset + e->len;
		if (e->kind != EVENT_WRITE &&
		    (data == DATA_ALL || data == DATA_TORN || draw(random, 2)))
			change(out, e);
	}
	for (uint64_t at = 0; at < end; at += SECTOR)
		lose_sector(d, f, &loss, at, random, out);
	if (data == DATA_ALL || draw(random, 2))
		out->size = out->size > whole ? out->size : whole;
	else if (out->size > whole)
		set_size(out, whole); /* garbage up to the end of a sector */
}

/* ---- the directory ---- */

static void
set_name(struct names *names, const char *name, size_t file)
{
	size_t i = 0;

	while (i < names->count && strcmp(names->list[i].name, name))
		i++;
	if (i == names->count) {
		names->list = grow(names->list, &names->cap, i + 1,
		                   sizeof(*names->list));
		snprintf(names->list[i].name, sizeof(names->list[i].name), "%s",
		         name);
		names->count++;
	}
	names->list[i].file = file;
}

static void
remove_name(struct names *names, const char *name, size_t file)
{
	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(names->list[i].name, name) &&
		    names->list[i].file == file) {
			names->list[i] = names->list[--names->count];
			return;
		}
}

static size_t
find_file(const struct disk *d, uint64_t number)
{
	for (size_t i = d->count; i--;)
		if (d->files[i].number == number)
			return i;
	fputs("disk.c: an event about a file that is not there\n", stderr);
	abort();
}

static void
change_names(const struct disk *d, struct names *names,
             const struct fault_event *e)
{
	size_t file = find_file(d, e->file);

	if (e->kind == EVENT_CREATE) {
		set_name(names, e->name, file);
	} else if (e->kind == EVENT_UNLINK) {
		remove_name(names, e->name, file);
	} else {
		remove_name(names, e->name, file);
		set_name(names, e->to, file);
	}
}

/* ---- the disk ---- */

static struct disk_file *
add_file(struct disk *d)
{
	struct disk_file *f;

	d->files = grow(d->files, &d->cap, d->count + 1, sizeof(*d->files));
	f = &d->files[d->count++];
	memset(f, 0, sizeof(*f));
	return f;
}

struct disk *
disk_new(const struct image *start)
{
	size_t none = 0;
	struct disk *d = grow(NULL, &none, 1, sizeof(*d));

	memset(d, 0, sizeof(*d));
	for (size_t i = 0; start && i < start->count; i++) {
		const struct image_file *from = &start->files[i];
		struct disk_file *f = add_file(d);

		memcpy(f->start_name, from->name, sizeof(f->start_name));
		if (from->used)
			put(&f->synced, 0, from->data, from->used);
		f->synced.size = from->size;
		set_name(&d->synced, from->name, i);
	}
	return d;
}

void
disk_free(struct disk *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->files[i].synced.data);
		free(d->files[i].open.list);
	}
	free(d->files);
	free(d->synced.list);
	free(d->open.list);
	free(d->written.list);
	free(d);
}

static void
sync_file(struct disk *d, struct disk_file *f, bool failed, uint64_t *random)
{
	if (failed) {
		struct content left;

		lose(d, f, DATA_RANDOM, random, &left);
		free(f->synced.data);
		f->synced = left;
	} else {
		for (size_t i = 0; i < f->open.count; i++)
			change(&f->synced, f->open.list[i]);
	}
	f->open.count = 0;
}

void
disk_apply(struct disk *d, const struct fault_event *e, uint64_t *random)
{
	struct disk_file *f;

	switch (e->kind) {
	case EVENT_EXISTS:
		for (size_t i = 0; i < d->count; i++)
			if (!strcmp(d->files[i].start_name, e->name))
				d->files[i].number = e->file;
		break;
	case EVENT_CREATE:
		f = add_file(d);
		f->number = e->file;
		add_event(&d->open, e);
		break;
	case EVENT_RENAME:
	case EVENT_UNLINK:
		add_event(&d->open, e);
		break;
	case EVENT_WRITE:
		add_event(&d->written, e);
		/* FALLTHROUGH */
	case EVENT_ALLOCATE:
	case EVENT_TRUNCATE:
		add_event(&d->files[find_file(d, e->file)].open, e);
		break;
	case EVENT_SYNC:
		sync_file(d, &d->files[find_file(d, e->file)], e->failed,
		          random);
		break;
	case EVENT_DIR_SYNC:
		if (e->failed)
			break;
		for (size_t i = 0; i < d->open.count; i++)
			change_names(d, &d->synced, d->open.list[i]);
		d->open.count = 0;
		break;
	case EVENT_MARK:
		break;
	}
}

bool
disk_event_counts(const struct fault_event *e)
{
	return e->kind != EVENT_EXISTS && e->kind != EVENT_MARK;
}

void
disk_crash(const struct disk *d, enum disk_data data, enum disk_names how,
           uint64_t *random, struct image *out)
{
	struct names names = { NULL, 0, 0 };

	for (size_t i = 0; i < d->synced.count; i++)
		set_name(&names, d->synced.list[i].name,
		         d->synced.list[i].file);
	for (size_t i = 0; i < d->open.count && how != NAMES_NONE; i++)
		if (how == NAMES_ALL || draw(random, 2))
			change_names(d, &names, d->open.list[i]);
	out->count = names.count;
	out->files = calloc(names.count + 1, sizeof(*out->files));
	for (size_t i = 0; i < names.count; i++) {
		struct image_file *to = &out->files[i];
		struct content c;

		lose(d, &d->files[names.list[i].file], data, random, &c);
		memcpy(to->name, names.list[i].name, sizeof(to->name));
		to->data = c.data;
		to->used = c.used;
		to->size = c.size;
	}
	free(names.list);
}

/* ---- images ---- */

void
image_release(struct image *image)
{
	for (size_t i = 0; i < image->count; i++)
		free(image->files[i].data);
	free(image->files);
	*image = (struct image){ NULL, 0 };
}

static void
must(bool fine, const char *what)
{
	if (fine)
		return;
	perror(what);
	abort();
}

void
image_write(const struct image *image, const char *dir)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *list = opendir(dir);

	must(dir_fd >= 0 && list, dir);
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			must(!unlinkat(dir_fd, entry->d_name, 0), "unlinkat");
	closedir(list);
	for (size_t i = 0; i < image->count; i++) {
		const struct image_file *f = &image->files[i];
		size_t used = f->used;
		int fd = openat(dir_fd, f->name,
		                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

		must(fd >= 0, f->name);
		while (used && !f->data[used - 1])
			used--; /* zeros at the end are a hole */
		must(!used || pwrite(fd, f->data, used, 0) == (ssize_t)used,
		     "pwrite");
		must(!ftruncate(fd, (off_t)f->size), "ftruncate");
		must(!close(fd), "close");
	}
	must(!close(dir_fd), "close");
}
