/* SPDX-License-Identifier: MIT */
/*
 * Where things lie: the blocks, and the tables outside of them.  Knows no
 * state.
 *
 * G1  Block i starts at base + i * stride, for i below capacity.
 * G2  stride is a multiple of alignment, and so is base.
 * G3  stride >= block_size, and with a canary, stride >= block_size + 8.
 * G4  stride == odd << shift with odd odd, and inverse * odd == 1 modulo
 *     2^N, N being the width of a pointer.
 */
#ifndef MEMPOOL_GEOMETRY_H
#define MEMPOOL_GEOMETRY_H

#include <mempool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GEOMETRY_CACHE_LINE = 64, GEOMETRY_CANARY_BYTES = 8 };

#define GEOMETRY_MAX_ALIGNMENT ((size_t)1 << 21)
#define GEOMETRY_MAX_CAPACITY UINT32_C(0xfffffffe)

struct geometry {
  uintptr_t minus_base; /* or a leak checker would find a pointer to the first block here */
  uintptr_t inverse;
  size_t stride;
  uint32_t capacity;
  uint32_t shift;
};

/* Sizes of a pool that is not laid anywhere yet; all in bytes, and none overflows when laid. */
struct layout {
  size_t stride;
  size_t alignment;   /* of blocks */
  size_t slots;       /* offsets of the depot's tables, and of the further one, from the header */
  size_t places;
  size_t further;
  size_t front_bytes; /* header and tables */
  size_t area_bytes;  /* blocks */
};

/*
 * Works the layout of a pool out: header_bytes for the header, then the
 * tables, then the blocks with room for alignment; a wanted alignment of 0 is
 * the default.  MEMPOOL_OK, or what mempool_create() returns for such
 * arguments.
 */
mempool_status mempool__layout_plan(struct layout *plan, size_t header_bytes, size_t block_size, size_t capacity,
                                    size_t wanted_alignment, bool canary);

/* Adds a further table to a layout, that begins at a cache line.  False if it gets too large. */
bool mempool__layout_add_table(struct layout *plan, size_t entries, size_t entry_bytes);

/* Lays the blocks at base. */
void mempool__geometry_init(struct geometry *geometry, const struct layout *plan, uint32_t capacity, void *base);

/* Rounds up to a multiple of a power of two; the caller knows that it doesn't overflow. */
static inline uintptr_t round_up(uintptr_t value, uintptr_t power_of_two)
{
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

/*
 * The index of the block that starts at an address; not below capacity if
 * none does.
 *
 * Exact division and the test of divisibility at once, with one
 * multiplication and one rotation: Granlund and Montgomery, "Division by
 * Invariant Integers using Multiplication" (1994), section 9; Warren,
 * "Hacker's Delight", 10-17.  Modulo 2^N the map offset -> rotate(offset *
 * inverse, shift) is one to one, and takes each multiple i * stride below 2^N
 * to i.  The indices 0 to capacity - 1 are all taken by the block starts, so
 * whatever else comes in, an address inside a block or far away, gives
 * capacity or more.
 */
static inline uintptr_t geometry_index(const struct geometry *geometry, const void *address)
{
  enum { BITS = sizeof(uintptr_t) * 8 };
  uintptr_t product = ((uintptr_t)address + geometry->minus_base) * geometry->inverse;
  return product >> geometry->shift | product << (-geometry->shift & (BITS - 1));
}

static inline void *geometry_address(const struct geometry *geometry, uint32_t index)
{
  return (void *)(index * geometry->stride - geometry->minus_base);
}

#endif /* MEMPOOL_GEOMETRY_H */
