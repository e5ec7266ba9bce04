/* SPDX-License-Identifier: ISC */
/* Huffman codes out of frequencies; see the header. */
#include "base/huffman.h"

#include <string.h>

#define SORT_COUNTED 64u /* frequencies below */

/*
 * Turns n ascending weights, in place, into the lengths of a minimum-redundancy
 * code, descending (Moffat and Katajainen).
 */
static void
weights_to_lengths(uint32_t *a, unsigned n)
{
	unsigned root = 0, leaf = 2, next, used = 0, available, depth = 0;

	if (n == 1) {
		a[0] = 1;
		return;
	}
	/* Parents: from left to right. */
	a[0] += a[1];
	for (next = 1; next < n - 1; next++) {
		if (leaf >= n || a[root] < a[leaf]) {
			a[next] = a[root];
			a[root++] = next;
		} else {
			a[next] = a[leaf++];
		}
		if (leaf >= n || (root < next && a[root] < a[leaf])) {
			a[next] += a[root];
			a[root++] = next;
		} else {
			a[next] += a[leaf++];
		}
	}
	/* Depths of inner nodes: from right to left. */
	a[n - 2] = 0;
	for (next = n - 2; next--;)
		a[next] = a[a[next]] + 1;
	/* Depths of leaves. */
	available = 1;
	for (unsigned inner = n - 1, to = n; available; depth++) {
		while (inner && a[inner - 1] == depth) {
			used++;
			inner--;
		}
		while (available > used) {
			a[--to] = depth;
			available--;
		}
		available = 2 * used;
		used = 0;
	}
}

/*
 * Codewords longer than `most` are cut, and the room that this takes is won
 * back by lengthening the rarest of the others. a: n lengths, descending.
 */
static void
limit_lengths(uint32_t *a, unsigned n, unsigned most)
{
	uint32_t total = 0, room = UINT32_C(1) << most;

	for (unsigned i = 0; i < n; i++) {
		if (a[i] > most)
			a[i] = most;
		total += room >> a[i];
	}
	for (unsigned i = 0; total > room; i++)
		while (total > room && a[i] < most) {
			total -= room >> (a[i] + 1);
			a[i]++;
		}
	/* What is left over goes to the most frequent ones; as long as there
	   is any, the longest can be shortened. */
	while (n > 1 && total < room)
		for (unsigned i = n; i--;)
			while (a[i] > 1 && total + (room >> a[i]) <= room) {
				total += room >> a[i];
				a[i]--;
			}
}

static uint16_t
reversed(unsigned word, unsigned bits)
{
	unsigned v = 0;

	for (; bits; bits--, word >>= 1)
		v = v << 1 | (word & 1);
	return (uint16_t)v;
}

/* Codewords in the order of lengths, then of symbols (RFC 1951, 3.2.2). */
static void
assign_words(struct huffman *c, unsigned symbols)
{
	unsigned count[16] = { 0 }, next[17] = { 0 };

	for (unsigned s = 0; s < symbols; s++)
		count[c->bits[s]]++;
	count[0] = 0;
	for (unsigned bits = 1; bits < 16; bits++)
		next[bits + 1] = (next[bits] + count[bits]) << 1;
	for (unsigned s = 0; s < symbols; s++)
		if (c->bits[s])
			c->word[s] = reversed(next[c->bits[s]]++, c->bits[s]);
}

/*
 * The symbols that occur, below their frequencies, ascending; returns how many
 * there are. Most are rare: those are sorted by counting.
 */
static unsigned
sort(const struct huffman *c, unsigned symbols, uint32_t *key)
{
	uint16_t place[SORT_COUNTED + 2] = { 0 };
	unsigned n, rest;

	for (unsigned s = 0; s < symbols; s++)
		place[1 + (c->freq[s] < SORT_COUNTED ? c->freq[s]
		                                     : SORT_COUNTED)]++;
	n = symbols - place[1];
	place[1] = 0;
	for (unsigned f = 2; f <= SORT_COUNTED; f++)
		place[f] = (uint16_t)(place[f] + place[f - 1]);
	/* place[f] is now where frequency f begins. */
	rest = place[SORT_COUNTED];
	for (unsigned s = 0; s < symbols; s++) {
		uint32_t f = c->freq[s], v = f << 9 | s;
		unsigned i;

		if (!f)
			continue;
		if (f < SORT_COUNTED) {
			key[place[f]++] = v;
			continue;
		}
		i = place[SORT_COUNTED]++;
		for (; i > rest && key[i - 1] > v; i--)
			key[i] = key[i - 1];
		key[i] = v;
	}
	return n;
}

void
huffman_make(struct huffman *c, unsigned symbols, unsigned most)
{
	uint32_t key[HUFFMAN_SYMBOLS], length[HUFFMAN_SYMBOLS];
	unsigned n = sort(c, symbols, key);

	memset(c->bits, 0, symbols);
	if (!n)
		return;
	for (unsigned i = 0; i < n; i++)
		length[i] = key[i] >> 9;
	weights_to_lengths(length, n);
	limit_lengths(length, n, most);
	for (unsigned i = 0; i < n; i++)
		c->bits[key[i] & 511] = (uint8_t)length[i];
	assign_words(c, symbols);
}

unsigned
huffman_used(const struct huffman *c, unsigned most, unsigned least)
{
	while (most > least && !c->bits[most - 1])
		most--;
	return most;
}
