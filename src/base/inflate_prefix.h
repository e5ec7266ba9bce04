/* SPDX-License-Identifier: ISC */
/*
 * The beginning of a zlib stream (RFC 1950, 1951), inflated up to where it is
 * wanted and no further.
 *
 * The libraries cannot be asked for that: what libdeflate leaves in a buffer
 * that is too small is not documented, and zlib's inflate() costs more than
 * libdeflate takes for the whole. An Adler-32 is of the whole stream and is
 * not looked at, so this is for streams that another checksum has confirmed;
 * deflate.h is for all others. What is not a stream does no harm all the same,
 * though not all of it is refused that zlib refuses (inflate_code.h).
 */
#ifndef LSMKV_BASE_INFLATE_PREFIX_H
#define LSMKV_BASE_INFLATE_PREFIX_H

#include "base/inflate_code.h"

/* Bytes behind the wanted ones that may be written: a match of 258 bytes that
   began before their end, eight bytes at a time. */
#define INFLATE_PREFIX_SLACK 272u

/*
 * Inflates the first `wanted` bytes of the stream into out, which has room for
 * INFLATE_PREFIX_SLACK more. False if they are not to be had from it; what is
 * in out then means nothing.
 */
bool inflate_prefix(struct inflate_codes *p, struct slice stream,
                    unsigned char *out, size_t wanted);

#endif
