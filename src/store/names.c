/* SPDX-License-Identifier: ISC */
/*
 * File names, written and parsed back. Parsing reads the number and then
 * asks whether writing it again gives the very same name: so it cannot accept
 * anything that the writers below do not write.
 */
#include "store/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
numbered(uint64_t number, const char *suffix, char *out)
{
	snprintf(out, NAME_MAX_LEN, "%06" PRIu64 "%s", number, suffix);
	return out;
}

char *
name_wal(uint64_t number, char *out)
{
	return numbered(number, ".wal", out);
}

char *
name_sst(uint64_t number, char *out)
{
	return numbered(number, ".sst", out);
}

char *
name_sst_tmp(uint64_t number, char *out)
{
	return numbered(number, ".sst.tmp", out);
}

enum name_kind
name_parse(const char *name, uint64_t *number)
{
	static const struct {
		const char *name;
		enum name_kind kind;
	} fixed[] = {
		{ NAME_LOCK, NAME_IS_LOCK },
		{ NAME_RESERVE, NAME_IS_RESERVE },
		{ NAME_MANIFEST, NAME_IS_MANIFEST },
		{ NAME_MANIFEST_TMP, NAME_IS_MANIFEST_TMP },
	};
	static const struct {
		char *(*write)(uint64_t number, char *out);
		enum name_kind kind;
	} kinds[] = {
		{ name_wal, NAME_IS_WAL },
		{ name_sst, NAME_IS_SST },
		{ name_sst_tmp, NAME_IS_SST_TMP },
	};
	char again[NAME_MAX_LEN];
	uint64_t value;

	*number = 0;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!strcmp(name, fixed[i].name))
			return fixed[i].kind;

	value = strtoull(name, NULL, 10);
	if (!value)
		return NAME_OTHER;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(name, kinds[i].write(value, again))) {
			*number = value;
			return kinds[i].kind;
		}
	}
	return NAME_OTHER;
}
