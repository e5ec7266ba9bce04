/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: bytes as a write-ahead log of one or two segments.
 *
 *     byte 0:    bit 0: CRCs off; bit 1: do not write it again, which is slow
 *     bytes 1-2: how long segment 5 is, little-endian
 *     then:      segment 5, and what is left is segment 6, if anything
 *
 * Reading it twice gives the same; replay gives whole records with versions
 * in a row, each of which reading its segment gives, too; refusals name file
 * and offset; what was replayed can be written again, and replays the same.
 */
#include "fuzz/fuzz.h"
#include "store/wal.h"

#define FIRST 5u
#define SECOND 6u
#define COPY 9u
#define INPUT_MAX (32u << 10)

const char fuzz_name[] = "wal";

struct seen {
	struct buf entries; /* a list */
	struct buf counts;  /* of each record, four bytes */
	uint64_t first;     /* version */
	uint64_t next;      /* version that should follow; 0: any */
	uint64_t segment;   /* of the last record */
	uint64_t offset;    /* the same */
	bool in_a_row;      /* versions must be */
};

static int
see(void *arg, const struct wal_record *r, struct err *err)
{
	struct seen *s = arg;
	struct reader reader = wal_record_reader(r);
	struct entry e;
	uint32_t n = 0;

	REQUIRE(r->count && r->end > r->offset);
	if (s->segment == r->segment)
		REQUIRE(r->offset > s->offset);
	else
		REQUIRE(r->segment > s->segment);
	s->segment = r->segment;
	s->offset = r->offset;
	if (s->in_a_row && s->next)
		REQUIRE(r->first_version == s->next);
	if (!s->first)
		s->first = r->first_version;
	while (reader_left(&reader)) {
		REQUIRE(wal_record_entry(r, &reader, &e));
		REQUIRE(e.version == r->first_version + n++);
		fuzz_keep(&s->entries, &e);
	}
	REQUIRE(n == r->count);
	s->next = r->first_version + n;
	REQUIRE(!buf_put_u32(&s->counts, n, err));
	return 0;
}

static void
forget(struct seen *s)
{
	buf_release(&s->entries);
	buf_release(&s->counts);
}

/* Reads one segment, and says what it was. */
static void
scan(uint64_t number, uint64_t size, struct seen *s)
{
	struct wal_scan scan, again;
	struct err err = ERR_INIT;
	int rc;

	s->segment = s->next = s->offset = 0;
	rc = wal_scan_segment(fuzz_dir(), number, see, s, &scan, &err);
	if (rc) {
		/* Where it ends and what is damaged is told, and no error. */
		REQUIRE(rc == LSMKV_EVERSION ||
		        (rc == LSMKV_ECORRUPT &&
		         strstr(err.message, "do not decode")));
		REQUIRE(strstr(err.message, ".wal"));
		return;
	}
	REQUIRE(scan.size == size && scan.header.segment == number);
	REQUIRE(scan.header_valid || !scan.records);
	/* Version 1 has up to seven bytes of padding behind a record. */
	REQUIRE(!scan.records || scan.end <= size + 7);
	REQUIRE(!scan.records || scan.last_version + 1 == s->next);
	REQUIRE(!scan.later_synced || scan.later_offset > scan.end);
	REQUIRE(scan.tail == WAL_TAIL_CLEAN || scan.reason[0]);
	REQUIRE(!wal_scan_segment(fuzz_dir(), number, NULL, NULL, &again,
	                          &err));
	REQUIRE(!memcmp(&scan, &again, sizeof(scan)));
}

/* What was replayed, as a log of its own. */
static void
write_again(const struct seen *s)
{
	struct wal_header header = { .segment = COPY,
		                     .first_version = s->first };
	struct seen copy = { .in_a_row = true };
	struct wal_replay_result result;
	struct reader list = reader_make(buf_slice(&s->entries));
	struct reader counts = reader_make(buf_slice(&s->counts));
	struct err err = ERR_INIT;
	struct wal *w = NULL;
	uint64_t version = s->first;
	struct entry e;
	bool partial;

	REQUIRE(!wal_create(&w, fuzz_dir(), &header, &err));
	while (reader_left(&counts)) {
		uint32_t n = reader_u32(&counts);

		REQUIRE(!wal_begin(w, version, &err));
		version += n;
		while (n--) {
			REQUIRE(fuzz_next(&list, &e));
			REQUIRE(!wal_add(w, &e, &err));
		}
		REQUIRE(!wal_append(w, &partial, &err) && !partial);
		REQUIRE(!wal_sync(w, &err));
	}
	wal_close(w);
	REQUIRE(!wal_replay(fuzz_dir(), COPY, see, &copy, &result, &err));
	REQUIRE(!result.dropped_segment);
	REQUIRE(slice_equal(buf_slice(&s->entries), buf_slice(&copy.entries)));
	REQUIRE(slice_equal(buf_slice(&s->counts), buf_slice(&copy.counts)));
	forget(&copy);
	fuzz_remove("000009.wal");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen replayed = { .in_a_row = true };
	struct seen again = { .in_a_row = true };
	struct seen scanned = { .in_a_row = false };
	struct wal_replay_result result, second;
	struct err err = ERR_INIT;
	bool again_too;
	size_t first;
	int rc;

	if (size < 3 || size > INPUT_MAX)
		return 0;
	fuzz_crc_off = data[0] & 1;
	again_too = !(data[0] & 2);
	first = (size_t)data[1] | (size_t)data[2] << 8;
	data += 3;
	size -= 3;
	if (first > size)
		first = size;
	fuzz_write("000005.wal", slice_make(data, first));
	scan(FIRST, first, &scanned);
	if (size > first) {
		fuzz_write("000006.wal",
		           slice_make(data + first, size - first));
		scan(SECOND, size - first, &scanned);
	}
	rc = wal_replay(fuzz_dir(), FIRST, see, &replayed, &result, &err);
	REQUIRE(rc ==
	        wal_replay(fuzz_dir(), FIRST, see, &again, &second, NULL));
	REQUIRE(slice_equal(buf_slice(&replayed.entries),
	                    buf_slice(&again.entries)));
	if (rc) {
		REQUIRE(rc == LSMKV_ECORRUPT || rc == LSMKV_EVERSION);
		REQUIRE(err.code == rc && strstr(err.message, ".wal"));
	} else {
		/* Nothing but what the segments hold, from the start on. */
		REQUIRE(replayed.entries.len <= scanned.entries.len);
		REQUIRE(result.segments);
		if (size == first)
			REQUIRE(slice_equal(buf_slice(&replayed.entries),
			                    buf_slice(&scanned.entries)));
		REQUIRE(!result.dropped_segment || result.dropped_reason[0]);
		if (result.records && again_too)
			write_again(&replayed);
	}
	forget(&replayed);
	forget(&again);
	forget(&scanned);
	if (size > first)
		fuzz_remove("000006.wal");
	return 0;
}
