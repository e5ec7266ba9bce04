/* SPDX-License-Identifier: ISC */
/*
 * JSON bodies: a reader that finds keys and values in the text itself.
 *
 * Values that are no strings are stored exactly as they were sent, so what is
 * wanted of a body is not a tree of numbers and objects but where in the text
 * each member's value begins and ends. One pass over the text checks it all
 * (RFC 8259 to the letter, UTF-8, no lone surrogates, at most 64 levels) in
 * constant memory, whatever the body holds; a tree, as json-c builds one,
 * takes some hundred bytes for the two of an empty object. Strings are
 * decoded in place: they never grow. Nothing is ever taken from a body that
 * was refused.
 */
#ifndef LSMKV_HTTP_API_JSON_H
#define LSMKV_HTTP_API_JSON_H

#include "http/api_problem.h"

#define API_JSON_DEPTH_MAX 64u /* open arrays and objects */

/* One {"key":K,"value":V}. */
struct api_pair {
	struct slice key;   /* decoded; valid as long as the body */
	struct slice value; /* a string's text, or JSON as it was sent */
	bool is_text;       /* the value was a JSON string */
};

struct api_json {
	unsigned char *text; /* borrowed; a NUL stands behind it */
	size_t len;          /* bytes of text */
	size_t pos;          /* of what is read next */
	/* Outcome of a failed call. */
	enum api_problem problem;
	char detail[256]; /* UTF-8 */
};

/*
 * Begins to read body, which is changed (escapes are decoded in place) and
 * must stay until the last pair has been used. False if it is not UTF-8, or
 * there is no memory.
 */
bool api_json_begin(struct api_json *j, struct buf *body);
/* Reads the object at the current position as a pair. */
bool api_json_pair(struct api_json *j, struct api_pair *pair);
/* True if nothing but white space follows. */
bool api_json_end(struct api_json *j);

#endif
