/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C (Castagnoli) of data that is checked in pieces, in any order, and
 * put together afterwards.
 */
#ifndef EXAMPLES_CRC32C_H
#define EXAMPLES_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of length bytes.  That of no bytes is 0. */
uint32_t crc32c(const void *data, size_t length);

/* What crc32c_combine() needs to know of a second piece of length bytes.  Cost: O(log length). */
uint32_t crc32c_shift(uint64_t length);

/*
 * The CRC of two pieces, one behind the other, from the CRC of each and
 * crc32c_shift() of the length of the second.
 */
uint32_t crc32c_combine(uint32_t first, uint32_t second, uint32_t shift);

#endif /* EXAMPLES_CRC32C_H */
