/* SPDX-License-Identifier: ISC */
/* Requests that are whole; see whole.h. */
#include "http/record.h"
#include "http/whole.h"

#define ROLE_RESPONDER 1u
#define FLAG_KEEP 1u

/* One record: the one at *at, which is moved behind it. */
struct part {
	unsigned type, id;
	size_t at, len; /* of its content */
};

static bool
next_part(struct slice bytes, size_t *at, struct part *part)
{
	const unsigned char *head = bytes.data + *at;
	size_t rest = bytes.len - *at;

	if (rest < RECORD_HEAD || head[0] != RECORD_VERSION)
		return false;
	part->type = head[1];
	part->id = (unsigned)head[2] << 8 | head[3];
	part->at = *at + RECORD_HEAD;
	part->len = (size_t)head[4] << 8 | head[5];
	if (part->len + head[6] > rest - RECORD_HEAD)
		return false;
	*at = part->at + part->len + head[6];
	return true;
}

/* The content of a stream that has one record, or none, and its end. */
static bool
read_stream(struct slice bytes, size_t *at, unsigned type, unsigned id,
            size_t *begin, size_t *len)
{
	struct part part;

	*begin = *at;
	*len = 0;
	for (;;) {
		if (!next_part(bytes, at, &part) || part.type != type ||
		    part.id != id)
			return false;
		if (!part.len)
			return true;
		if (*len)
			return false;
		*begin = part.at;
		*len = part.len;
	}
}

bool
whole_find(struct slice bytes, struct whole *w)
{
	struct part part;
	const unsigned char *content;

	w->len = 0;
	if (!next_part(bytes, &w->len, &part) || part.type != RECORD_BEGIN ||
	    !part.id || part.len != RECORD_HEAD)
		return false;
	content = bytes.data + part.at;
	if (((unsigned)content[0] << 8 | content[1]) != ROLE_RESPONDER)
		return false;
	w->id = part.id;
	w->keep = content[2] & FLAG_KEEP;
	return read_stream(bytes, &w->len, RECORD_PARAMS, w->id, &w->variables,
	                   &w->variables_len) &&
	       read_stream(bytes, &w->len, RECORD_STDIN, w->id, &w->body,
	                   &w->body_len);
}

/* A length of one byte, or of four: then the first bit is set. */
static bool
read_length(const unsigned char **p, const unsigned char *end, size_t *len)
{
	if (*p == end)
		return false;
	if (!(**p & 0x80)) {
		*len = *(*p)++;
		return true;
	}
	if (end - *p < 4)
		return false;
	*len = (size_t)((*p)[0] & 0x7f) << 24 | (size_t)(*p)[1] << 16 |
	       (size_t)(*p)[2] << 8 | (*p)[3];
	*p += 4;
	return true;
}

bool
whole_read(unsigned char *bytes, const struct whole *w, struct request *r)
{
	unsigned char *base = bytes + w->variables, *ends = NULL;
	const unsigned char *p = base, *end = base + w->variables_len;
	struct slice name = slice_make(NULL, 0);
	const char *value = NULL;
	size_t name_len, value_len;

	request_read_begin(r);
	for (;;) {
		bool more = p < end;

		if (more && (!read_length(&p, end, &name_len) ||
		             !read_length(&p, end, &value_len) ||
		             name_len > (size_t)(end - p) ||
		             value_len > (size_t)(end - p) - name_len))
			return false;
		/* Where a value ends the lengths of the next begin, which have
		   been read by now. */
		if (ends) {
			*ends = '\0';
			request_read_variable(r, name, value);
		}
		if (!more)
			break;
		name = slice_make(p, name_len);
		value = (const char *)p + name_len;
		p += name_len + value_len;
		ends = base + (p - base);
	}
	request_read_end(r);
	return true;
}
