/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a MANIFEST.
 *
 *     byte 0: bit 0: CRCs off
 *     then:   the file
 *
 * Refusals name the file and an offset. What is accepted keeps the numbers'
 * promises; if its files make a tree, that can be saved, and is then as long
 * as what was read, and saved again it is the same to the byte.
 */
#include "fuzz/fuzz.h"
#include "store/manifest.h"

#include "lib/fake_sst.h"

#define NAME "MANIFEST"
#define INPUT_MAX (32u << 10)

const char fuzz_name[] = "manifest";

/* The files of m as a tree, or NULL if they make none. */
static struct levels *
tree_of(const struct manifest *m)
{
	struct levels_added *added = calloc(m->file_count + 1, sizeof(*added));
	struct levels_edit edit = { .added = added,
		                    .added_count = m->file_count };
	struct levels *empty = levels_new(), *tree = NULL;
	struct err err = ERR_INIT;

	REQUIRE(added && empty);
	for (size_t i = 0; i < m->file_count; i++) {
		struct sst *t = fake_sst_new(1, "a", "b", 1, 1);

		sst_info_release(&t->info);
		REQUIRE(!sst_info_copy(&t->info, &m->files[i].info, &err));
		added[i].level = m->files[i].level;
		added[i].file = t;
	}
	if (levels_apply(empty, &edit, &tree, &err))
		REQUIRE(!tree && err.code == LSMKV_ECORRUPT);
	for (size_t i = 0; i < m->file_count; i++)
		sst_unref(added[i].file);
	levels_unref(empty);
	free(added);
	return tree;
}

/* Saves m and its tree; what the file is then is in out. */
static void
save(const struct manifest *m, const struct levels *tree, struct buf *out)
{
	struct fs_file file = FS_FILE_INIT;
	struct err err = ERR_INIT;
	bool renamed = false;

	REQUIRE(!manifest_save(fuzz_dir(), m, tree, &renamed, &err));
	REQUIRE(renamed);
	REQUIRE(!fs_open(fuzz_dir(), NAME, &file, &err));
	REQUIRE(!fs_read_all(&file, 1u << 30, out, &err));
	fs_close(&file);
}

static void
check_saving(const struct manifest *m, size_t size)
{
	struct buf once = BUF_INIT, twice = BUF_INIT;
	struct manifest again = MANIFEST_INIT;
	struct levels *tree = tree_of(m);
	struct err err = ERR_INIT;

	if (!tree)
		return;
	save(m, tree, &once);
	REQUIRE(once.len == size);
	REQUIRE(!manifest_load(fuzz_dir(), &again, &err));
	REQUIRE(again.generation == m->generation);
	REQUIRE(again.next_file == m->next_file);
	REQUIRE(again.last_version == m->last_version);
	REQUIRE(again.wal_oldest == m->wal_oldest);
	REQUIRE(again.file_count == m->file_count);
	levels_unref(tree);
	tree = tree_of(&again);
	REQUIRE(tree);
	save(&again, tree, &twice);
	REQUIRE(slice_equal(buf_slice(&once), buf_slice(&twice)));
	levels_unref(tree);
	manifest_release(&again);
	buf_release(&once);
	buf_release(&twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m = MANIFEST_INIT;
	struct err err = ERR_INIT;
	int rc;

	if (!size || size > INPUT_MAX)
		return 0;
	fuzz_crc_off = data[0] & 1;
	fuzz_write(NAME, slice_make(data + 1, size - 1));
	rc = manifest_load(fuzz_dir(), &m, &err);
	if (rc) {
		REQUIRE(rc == LSMKV_ECORRUPT || rc == LSMKV_EVERSION);
		REQUIRE(err.code == rc && strstr(err.message, NAME));
		REQUIRE(!m.files && !m.file_count);
		return 0;
	}
	for (size_t i = 0; i < m.file_count; i++) {
		REQUIRE(m.files[i].level < LEVELS_MAX);
		REQUIRE(m.files[i].info.number < m.next_file);
		REQUIRE(m.files[i].info.max_version <= m.last_version);
	}
	check_saving(&m, size - 1);
	manifest_release(&m);
	REQUIRE(!fake_sst_alive);
	return 0;
}
