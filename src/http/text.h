/* SPDX-License-Identifier: ISC */
/*
 * Rules about text that the query string and JSON bodies share: what a hex
 * digit is, what is UTF-8, what may stand in a key. Pure functions.
 */
#ifndef LSMKV_HTTP_TEXT_H
#define LSMKV_HTTP_TEXT_H

#include <stdint.h>

#include "base/bytes.h"

#define TEXT_KEY_MAX 1024u /* bytes of a key over HTTP; at least 1 */

/* 0..15, or -1 if c is no hex digit. */
int text_hex(unsigned char c);

/*
 * The offset of the first byte that is not part of well-formed UTF-8 (no
 * overlong forms, no surrogates), or s.len if all of it is.
 */
size_t text_utf8_error(struct slice s);

/* Is there a control character: C0, DEL, or C1 (U+0080..U+009F)? s is UTF-8. */
bool text_has_control(struct slice s);

/*
 * Writes code point (no surrogate) as UTF-8 to `to`, which has room for 4
 * bytes; returns the byte behind it.
 */
unsigned char *text_put_utf8(unsigned char *to, uint32_t point);

#endif
