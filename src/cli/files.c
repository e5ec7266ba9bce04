/* SPDX-License-Identifier: ISC */
/*
 * Listing a store's directory: see files.h.
 */
#include "cli/files.h"

#include <stdlib.h>
#include <string.h>

static int
add_file(void *arg, const char *name)
{
	struct file_list *list = arg;
	struct file *f;

	if (list->count == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;

		f = reallocarray(list->files, cap, sizeof(*f));
		if (!f)
			return LSMKV_ENOMEM;
		list->files = f;
		list->cap = cap;
	}
	f = &list->files[list->count];
	f->name = strdup(name);
	if (!f->name)
		return LSMKV_ENOMEM;
	f->kind = name_parse(name, &f->number);
	list->count++;
	return 0;
}

static int
compare_files(const void *pa, const void *pb)
{
	const struct file *a = pa, *b = pb;

	if (a->kind != b->kind)
		return (a->kind > b->kind) - (a->kind < b->kind);
	if (a->number != b->number)
		return (a->number > b->number) - (a->number < b->number);
	return strcmp(a->name, b->name);
}

int
file_list_read(struct fs_dir *dir, struct file_list *list, struct err *err)
{
	int rc = fs_dir_list(dir, add_file, list, err);

	if (rc == LSMKV_ENOMEM)
		err_set(err, rc, "%s: out of memory for its list of files",
		        dir->path);
	if (rc) {
		file_list_release(list);
		return rc;
	}
	if (list->count)
		qsort(list->files, list->count, sizeof(list->files[0]),
		      compare_files);
	return 0;
}

void
file_list_release(struct file_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->files[i].name);
	free(list->files);
	*list = (struct file_list)FILE_LIST_INIT;
}

int
file_size(struct fs_dir *dir, const char *name, uint64_t *size, struct err *err)
{
	struct fs_file f = FS_FILE_INIT;
	int rc = fs_open(dir, name, &f, err);

	if (!rc)
		rc = fs_size(&f, size, err);
	fs_close(&f);
	return rc;
}
