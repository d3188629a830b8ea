/* SPDX-License-Identifier: MIT */
/*
 * The CRC of a piece comes from ISA-L.  Combining follows the method that
 * Mark Adler published and uses in zlib's crc32_combine(): a CRC is a
 * polynomial over GF(2), and n bytes behind it multiply it by x^(8n), modulo
 * the CRC's polynomial.  That power is found by repeated squaring.
 */
#include "crc32c.h"

#include <isa-l/crc.h>

/* The polynomial without its x^32, and the polynomials 1 and x^8.  Reflected: the top bit is that of x^0. */
#define POLYNOMIAL 0x82f63b78u
#define ONE 0x80000000u
#define ONE_BYTE 0x00800000u

/* ISA-L takes the length as an int. */
#define LONGEST_PIECE ((size_t)1 << 30)

uint32_t crc32c(const void *data, size_t length)
{
  /* ISA-L only reads the data, though its prototype lacks the const. */
  unsigned char *at = (unsigned char *)(uintptr_t)data;
  uint32_t crc = ~0u;

  while (length > 0) {
    size_t piece = length < LONGEST_PIECE ? length : LONGEST_PIECE;
    crc = crc32_iscsi(at, (int)piece, crc);
    at += piece;
    length -= piece;
  }
  return ~crc;
}

/* The product of two polynomials, modulo the CRC's. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
  uint32_t product = 0;

  for (uint32_t term = ONE; term != 0; term >>= 1) {
    if (a & term)
      product ^= b;
    b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
  }
  return product;
}

uint32_t crc32c_shift(uint64_t length)
{
  uint32_t shift = ONE;

  for (uint32_t square = ONE_BYTE; length > 0; length >>= 1) {
    if (length & 1)
      shift = multiply(shift, square);
    square = multiply(square, square);
  }
  return shift;
}

uint32_t crc32c_combine(uint32_t first, uint32_t second, uint32_t shift)
{
  return multiply(first, shift) ^ second;
}
