/* SPDX-License-Identifier: MIT */
#include "geometry.h"

#include <stdalign.h>
#include <string.h>

/* Nothing in C can be larger; address arithmetic relies on it. */
#define LARGEST ((size_t)PTRDIFF_MAX)

/* Adds without running over LARGEST; a *sum over it already stays so. */
static bool add(size_t *sum, size_t bytes)
{
  if (bytes > LARGEST || *sum > LARGEST - bytes)
    return false;
  *sum += bytes;
  return true;
}

static size_t default_alignment(size_t block_size)
{
  return block_size >= GEOMETRY_CACHE_LINE ? GEOMETRY_CACHE_LINE : alignof(max_align_t);
}

/* Appends a table. */
static bool add_table(size_t *offset, size_t entries, size_t entry_bytes)
{
  return entries <= LARGEST / entry_bytes && add(offset, entries * entry_bytes);
}

static bool plan_tables(struct layout *plan, size_t header_bytes, size_t capacity)
{
  plan->slots = header_bytes;
  plan->places = header_bytes;
  if (!add_table(&plan->places, capacity, sizeof(void *)))
    return false;
  plan->front_bytes = plan->places;
  return add_table(&plan->front_bytes, capacity, sizeof(uint32_t));
}

/* Whether there is room for any placement: the blocks' alignment, and inaccessible or huge pages around them. */
static bool fits(const struct layout *plan)
{
  size_t whole = plan->front_bytes;
  return add(&whole, plan->area_bytes) && add(&whole, 8 * GEOMETRY_MAX_ALIGNMENT);
}

bool mempool__layout_add_table(struct layout *plan, size_t entries, size_t entry_bytes)
{
  if (!add(&plan->front_bytes, GEOMETRY_CACHE_LINE - 1))
    return false;
  plan->front_bytes &= ~(size_t)(GEOMETRY_CACHE_LINE - 1);
  plan->further = plan->front_bytes;
  return add_table(&plan->front_bytes, entries, entry_bytes) && fits(plan);
}

mempool_status mempool__layout_plan(struct layout *plan, size_t header_bytes, size_t block_size, size_t capacity,
                                    size_t wanted_alignment, bool canary)
{
  size_t alignment;
  if (block_size == 0)
    return MEMPOOL_E_INVALID_BLOCK_SIZE;
  if (capacity == 0 || capacity > GEOMETRY_MAX_CAPACITY)
    return MEMPOOL_E_INVALID_ARGUMENT;
  alignment = wanted_alignment != 0 ? wanted_alignment : default_alignment(block_size);
  if ((alignment & (alignment - 1)) != 0 || alignment > GEOMETRY_MAX_ALIGNMENT)
    return MEMPOOL_E_INVALID_ARGUMENT;

  memset(plan, 0, sizeof *plan);
  plan->alignment = alignment;
  plan->stride = block_size;
  if (!add(&plan->stride, canary ? GEOMETRY_CANARY_BYTES : 0) || !add(&plan->stride, alignment - 1))
    return MEMPOOL_E_INVALID_BLOCK_SIZE;
  plan->stride &= ~(alignment - 1);
  if (plan->stride > LARGEST / capacity)
    return MEMPOOL_E_INVALID_BLOCK_SIZE;
  plan->area_bytes = plan->stride * capacity;

  if (!plan_tables(plan, header_bytes, capacity) || !fits(plan))
    return MEMPOOL_E_INVALID_BLOCK_SIZE;
  return MEMPOOL_OK;
}

/* Newton's iteration doubles the bits that are right; an odd number is its own inverse modulo 8. */
static uintptr_t inverse_of_odd(uintptr_t odd)
{
  uintptr_t inverse = odd;
  unsigned right_bits;
  for (right_bits = 3; right_bits < sizeof(uintptr_t) * 8; right_bits *= 2)
    inverse *= 2 - odd * inverse;
  return inverse;
}

void mempool__geometry_init(struct geometry *geometry, const struct layout *plan, uint32_t capacity, void *base)
{
  uintptr_t odd = plan->stride;
  uint32_t shift = 0;
  while ((odd & 1) == 0) {
    odd >>= 1;
    shift++;
  }
  geometry->minus_base = -(uintptr_t)base;
  geometry->stride = plan->stride;
  geometry->capacity = capacity;
  geometry->shift = shift;
  geometry->inverse = inverse_of_odd(odd);
}
