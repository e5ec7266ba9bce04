/* SPDX-License-Identifier: ISC */
/*
 * Between the store and its CRCs (-Wl,--wrap=crc32_add). No fuzzer guesses a
 * CRC, so that without this, nothing would ever be found behind one. With
 * fuzz_crc_off all sums are one number: writers write it and readers expect
 * it, and a corpus made that way stays whole when its other bytes change.
 */
#include "base/codec.h"
#include "fuzz/fuzz.h"

bool fuzz_crc_off;

uint32_t __real_crc32_add(uint32_t crc, const void *data, size_t len);
uint32_t __wrap_crc32_add(uint32_t crc, const void *data, size_t len);

uint32_t
__wrap_crc32_add(uint32_t crc, const void *data, size_t len)
{
	return fuzz_crc_off ? 0x4b4d534c : __real_crc32_add(crc, data, len);
}
