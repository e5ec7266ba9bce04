/* SPDX-License-Identifier: ISC */
/*
 * JSON bodies; see api_json.h.
 *
 * A NUL stands behind the text and is legal nowhere inside it, so that no
 * step here asks for the length: whatever is looked for, a NUL is not it.
 */
#include <stdarg.h>
#include <stdio.h>

#include "http/api_json.h"
#include "http/text.h"

#define NAME_SHOWN_MAX 64 /* bytes of a member's name in a message */

static bool fail(struct api_json *j, enum api_problem problem,
                 const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool
fail(struct api_json *j, enum api_problem problem, const char *format, ...)
{
	va_list args;

	j->problem = problem;
	va_start(args, format);
	vsnprintf(j->detail, sizeof(j->detail), format, args);
	va_end(args);
	return false;
}

/* The text at pos is not what it must be. */
static bool
fail_at(struct api_json *j, const unsigned char *at, const char *wanted)
{
	size_t offset = (size_t)(at - j->text);

	return fail(j, PROBLEM_JSON_INVALID,
	            "the body is not JSON: %s at offset %zu%s", wanted, offset,
	            offset == j->len ? ", where it ends" : "");
}

static unsigned char
peek(const struct api_json *j)
{
	return j->text[j->pos];
}

/* The next byte that is no white space. */
static unsigned char
next(struct api_json *j)
{
	const unsigned char *p = j->text + j->pos;

	while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
		p++;
	j->pos = (size_t)(p - j->text);
	return *p;
}

static bool
expect(struct api_json *j, unsigned char c, const char *wanted)
{
	if (next(j) != c)
		return fail_at(j, j->text + j->pos, wanted);
	j->pos++;
	return true;
}

/* Reads the four digits of \uXXXX at p; -1 if they are none. */
static int32_t
hex4(const unsigned char *p)
{
	int32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		int digit = text_hex(p[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/*
 * Reads the escape at *at (a backslash), moves *at behind it and gives the
 * code point it stands for.
 */
static bool
escape(struct api_json *j, const unsigned char **at, uint32_t *point)
{
	static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const unsigned char *p = *at + 1;
	const char *found;
	int32_t unit, low;

	if (*p != 'u') {
		found = *p ? strchr(plain, *p) : NULL;
		if (!found)
			return fail_at(j, *at, "there is no such escape");
		*point = (unsigned char)means[found - plain];
		*at = p + 1;
		return true;
	}
	unit = hex4(p + 1);
	if (unit < 0)
		return fail_at(j, *at, "\\u wants four hex digits");
	p += 5;
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return fail_at(j, *at, "a lone surrogate");
	if (unit >= 0xd800 && unit <= 0xdbff) {
		low = p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return fail_at(j, *at, "a lone surrogate");
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
		p += 6;
	}
	*point = (uint32_t)unit;
	*at = p;
	return true;
}

/*
 * Reads the string at the current position (its quotation mark). Decodes it
 * in place into *out, or only checks it when out is NULL.
 */
static bool
string(struct api_json *j, struct slice *out)
{
	unsigned char *start = j->text + j->pos + 1, *to = start;
	const unsigned char *p = start;
	uint32_t point = 0;

	for (;;) {
		const unsigned char *run = p;

		while (*p >= 0x20 && *p != '"' && *p != '\\')
			p++;
		if (out) {
			if (to != run)
				memmove(to, run, (size_t)(p - run));
			to += p - run;
		}
		if (*p == '"')
			break;
		if (*p != '\\') {
			if (p == j->text + j->len)
				return fail_at(j, p, "a string is not closed");
			return fail_at(j, p,
			               "a control character in a string (write "
			               "it as \\u00XX)");
		}
		if (!escape(j, &p, &point))
			return false;
		if (out)
			to = text_put_utf8(to, point);
	}
	j->pos = (size_t)(p + 1 - j->text);
	if (out)
		*out = slice_make(start, (size_t)(to - start));
	return true;
}

static const unsigned char *
skip_digits(const unsigned char *p)
{
	while (*p >= '0' && *p <= '9')
		p++;
	return p;
}

static bool
number(struct api_json *j)
{
	const unsigned char *p = j->text + j->pos, *digits;

	if (*p == '-')
		p++;
	digits = p;
	p = *p == '0' ? p + 1 : skip_digits(p);
	if (p == digits)
		return fail_at(j, p, "a digit is missing");
	if (*p == '.') {
		digits = p + 1;
		p = skip_digits(digits);
		if (p == digits)
			return fail_at(j, p, "a digit is missing");
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		digits = p;
		p = skip_digits(digits);
		if (p == digits)
			return fail_at(j, p, "a digit is missing");
	}
	j->pos = (size_t)(p - j->text);
	return true;
}

/* A string, number, true, false or null. */
static bool
scalar(struct api_json *j)
{
	static const char *const words[] = { "true", "false", "null" };
	unsigned char c = peek(j);

	if (c == '"')
		return string(j, NULL);
	if (c == '-' || (c >= '0' && c <= '9'))
		return number(j);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i]);

		/* The NUL behind the text ends every comparison. */
		if (strncmp((const char *)j->text + j->pos, words[i], len))
			continue;
		j->pos += len;
		return true;
	}
	return fail_at(j, j->text + j->pos, "a value is missing");
}

/* A member's name and its colon; name may be NULL. */
static bool
member_name(struct api_json *j, struct slice *name)
{
	if (next(j) != '"')
		return fail_at(j, j->text + j->pos,
		               "a member's name is missing");
	return string(j, name) && expect(j, ':', "a colon is missing");
}

/*
 * Passes over any value at the current position, inside `outer` open
 * containers. Bit 0 of `objects` says what the innermost container is, bit 1
 * the one around it, and so on.
 */
static bool
skip_value(struct api_json *j, unsigned outer)
{
	uint64_t objects = 0;
	unsigned open = 0;

	for (;;) {
		unsigned char c = next(j);

		if (c == '{' || c == '[') {
			bool object = c == '{';

			if (outer + open == API_JSON_DEPTH_MAX)
				return fail(j, PROBLEM_JSON_DEPTH,
				            "the body is nested deeper than "
				            "%u levels at offset %zu",
				            API_JSON_DEPTH_MAX, j->pos);
			open++;
			objects = objects << 1 | object;
			j->pos++;
			if (next(j) != (object ? '}' : ']')) {
				if (object && !member_name(j, NULL))
					return false;
				continue;
			}
		} else if (!scalar(j)) {
			return false;
		}
		/* A value has ended: what may follow inside its container? */
		while (open) {
			bool object = objects & 1;

			c = next(j);
			if (c == ',') {
				j->pos++;
				if (object && !member_name(j, NULL))
					return false;
				break;
			}
			if (c != (object ? '}' : ']'))
				return fail_at(j, j->text + j->pos,
				               object ? "\",\" or \"}\" is "
				                        "missing"
				                      : "\",\" or \"]\" is "
				                        "missing");
			j->pos++;
			objects >>= 1;
			open--;
		}
		if (!open)
			return true;
	}
}

bool
api_json_begin(struct api_json *j, struct buf *body)
{
	size_t valid;

	*j = (struct api_json){ .problem = PROBLEM_NONE };
	if (buf_reserve(body, 1, NULL))
		return fail(j, PROBLEM_NO_MEMORY,
		            "there was no memory for this body");
	body->data[body->len] = '\0';
	j->text = body->data;
	j->len = body->len;
	valid = text_utf8_error(buf_slice(body));
	if (valid < body->len)
		return fail(j, PROBLEM_UTF8_INVALID,
		            "the body is not UTF-8 at offset %zu", valid);
	return true;
}

static bool
unknown_member(struct api_json *j, struct slice name)
{
	size_t len = name.len;

	/* Cut before a character, not inside one. */
	if (len > NAME_SHOWN_MAX) {
		len = NAME_SHOWN_MAX;
		while (len && (name.data[len] & 0xc0) == 0x80)
			len--;
	}
	/* A NUL in a name must not end the message. */
	if (text_has_control(slice_make(name.data, len)))
		return fail(j, PROBLEM_MEMBER_UNKNOWN,
		            "the body has a member whose name holds a control "
		            "character; members are \"key\" and \"value\"");
	return fail(j, PROBLEM_MEMBER_UNKNOWN,
	            "the member \"%.*s%s\" is not known; members are \"key\" "
	            "and \"value\"",
	            (int)len, (const char *)name.data,
	            len < name.len ? "..." : "");
}

static bool
member_key(struct api_json *j, struct api_pair *pair)
{
	if (pair->key.data)
		return fail(j, PROBLEM_KEY_TWICE,
		            "the body has two members \"key\"");
	if (next(j) != '"') {
		/* No JSON is a worse error than JSON of the wrong type. */
		size_t at = j->pos;

		if (!skip_value(j, 1))
			return false;
		return fail(j, PROBLEM_KEY_INVALID,
		            "\"key\" must be a string, at offset %zu", at);
	}
	return string(j, &pair->key);
}

static bool
member_value(struct api_json *j, struct api_pair *pair)
{
	size_t start;

	if (pair->value.data)
		return fail(j, PROBLEM_VALUE_TWICE,
		            "the body has two members \"value\"");
	if (next(j) == '"') {
		pair->is_text = true;
		return string(j, &pair->value);
	}
	start = j->pos;
	if (!skip_value(j, 1))
		return false;
	pair->value = slice_make(j->text + start, j->pos - start);
	return true;
}

bool
api_json_pair(struct api_json *j, struct api_pair *pair)
{
	struct slice name = { NULL, 0 };

	*pair = (struct api_pair){ .is_text = false };
	if (next(j) != '{') {
		size_t at = j->pos;

		if (!skip_value(j, 0))
			return false;
		return fail(j, PROBLEM_JSON_INVALID,
		            "the body must be {\"key\":KEY,\"value\":VALUE}; "
		            "there is something else at offset %zu",
		            at);
	}
	j->pos++;
	if (next(j) == '}') {
		j->pos++;
	} else {
		unsigned char c;

		do {
			bool ok;

			if (!member_name(j, &name))
				return false;
			if (slice_equal(name, slice_str("key")))
				ok = member_key(j, pair);
			else if (slice_equal(name, slice_str("value")))
				ok = member_value(j, pair);
			else
				ok = unknown_member(j, name);
			if (!ok)
				return false;
			c = next(j);
			if (c != ',' && c != '}')
				return fail_at(j, j->text + j->pos,
				               "\",\" or \"}\" is missing");
			j->pos++;
		} while (c == ',');
	}
	if (!pair->key.data)
		return fail(j, PROBLEM_KEY_MISSING,
		            "the body has no member \"key\"");
	if (!pair->value.data)
		return fail(j, PROBLEM_VALUE_MISSING,
		            "the body has no member \"value\"; to remove a "
		            "key use DELETE /del?key=KEY");
	return true;
}

bool
api_json_end(struct api_json *j)
{
	next(j);
	if (j->pos == j->len)
		return true;
	return fail_at(j, j->text + j->pos, "something follows the JSON");
}
