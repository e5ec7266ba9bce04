/* SPDX-License-Identifier: ISC */
/*
 * The k-way merge, and the one rule for what a newer entry does to an older.
 *
 * merge_new gives all entries of its children in store order. Reading and
 * compaction both stand on it: a scan shows of each key the newest entry that
 * its snapshot sees, unless that is a tombstone or expired (scan.h); a
 * compaction keeps of each key the newest entry for every snapshot that is
 * open, and drops the rest (struct merge_rule).
 */
#ifndef LSMKV_STORE_MERGE_H
#define LSMKV_STORE_MERGE_H

#include "store/iter.h"

/*
 * Takes the children over (closed with the merge, and on an error, too). Any
 * of them may move forward and backward. Two children with the same (key,
 * version) are LSMKV_ECORRUPT.
 */
int merge_new(struct iter **out, struct iter **children, size_t count,
              struct err *err);

enum merge_verdict {
	MERGE_KEEP,
	MERGE_SHADOWED,
	MERGE_EXPIRED,
	MERGE_TOMBSTONE
};

struct key_range {
	struct buf smallest, largest; /* both inclusive; owned */
};

/* Judges entries that come in store order, one after the other. */
struct merge_rule {
	const uint64_t *snapshots; /* versions open snapshots see, ascending */
	size_t snapshot_count;
	uint64_t now;                   /* epoch second for expiry */
	const struct key_range *deeper; /* by key: older entries may hide in
					   these; a tombstone or an expired
					   entry whose key is in one stays */
	size_t deeper_count;
	/* The rule's own memory; zero at first, release with merge_rule_release. */
	struct buf key;   /* of the entry judged last */
	size_t covered;   /* index of the oldest snapshot that the
				      key's entries so far cover;
				      snapshot_count: all that come later */
	size_t deeper_at; /* first range that may still matter */
	bool started;
	bool first; /* was the entry judged last the first of
				      its key? */
};

int merge_judge(struct merge_rule *rule, const struct entry *e,
                enum merge_verdict *verdict, struct err *err);
void merge_rule_release(struct merge_rule *rule);

#endif
