/* SPDX-License-Identifier: ISC */
/*
 * Time. The monotonic clock measures and schedules; the wall clock is for
 * expiry times and logs, and orders nothing.
 */
#ifndef LSMKV_BASE_CLOCK_H
#define LSMKV_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void); /* nanoseconds, never goes back */
/* The same clock as of its last tick, some milliseconds ago; much cheaper. */
uint64_t clock_mono_tick_ns(void);
uint64_t clock_wall_s(void);  /* seconds since 1970 */
uint64_t clock_wall_ms(void); /* milliseconds since 1970 */
void clock_sleep_us(uint64_t us);

#endif
