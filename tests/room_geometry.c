/* SPDX-License-Identifier: MIT */
/* Where blocks lie, against division as it is written in schoolbooks. */
#include "geometry.h"
#include "runner.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What the layout leaves free in any address space for alignment and the pages around the blocks. */
#define SLACK (8 * GEOMETRY_MAX_ALIGNMENT)
#define ROOM ((size_t)PTRDIFF_MAX - SLACK)

enum { CAPACITY = 5, HEADER = 64 };

static bool slow(void)
{
  return getenv("TEST_SLOW_TOOL") != NULL;
}

/* The largest power of two that divides the stride and that blocks may be aligned to. */
static size_t natural_alignment(size_t stride)
{
  size_t alignment = 1;
  while (alignment < GEOMETRY_MAX_ALIGNMENT && stride % (2 * alignment) == 0)
    alignment *= 2;
  return alignment;
}

/* Lays blocks that are a stride apart, if the layout allows such; no object need be at base. */
static uintptr_t base_of(const struct geometry *geometry)
{
  return (uintptr_t)geometry_address(geometry, 0);
}

static bool lay(struct geometry *geometry, size_t stride, uint32_t capacity, uintptr_t base)
{
  struct layout plan;
  memset(&plan, 0, sizeof(plan));
  if (mempool__layout_plan(&plan, HEADER, stride, capacity, natural_alignment(stride), false) != MEMPOOL_OK)
    return false;
  CU_ASSERT_EQUAL(plan.stride, stride);
  mempool__geometry_init(geometry, &plan, capacity, (void *)base);
  CU_ASSERT_EQUAL(base_of(geometry), base);
  return true;
}

/* Whether the index of an address is what division says.  Prints the first few that differ. */
static bool agrees(const struct geometry *geometry, uintptr_t address)
{
  static unsigned printed;
  uintptr_t found = geometry_index(geometry, (void *)address);
  uintptr_t offset = address - base_of(geometry);
  bool inside = address >= base_of(geometry) && offset / geometry->stride < geometry->capacity;
  bool right;
  if (inside && offset % geometry->stride == 0)
    right = found == offset / geometry->stride;
  else
    right = found >= geometry->capacity;
  if (!right && printed++ < 10)
    printf("# stride %zu, base 0x%" PRIxPTR ", address 0x%" PRIxPTR ": index 0x%" PRIxPTR "\n", geometry->stride,
           base_of(geometry), address, found);
  return right;
}

/* Addresses that lie nowhere near anything, or where differences change their sign. */
static size_t disagreements_at_extremes(const struct geometry *geometry)
{
  static const uintptr_t marks[] = { 0, UINTPTR_MAX, (uintptr_t)PTRDIFF_MAX, UINTPTR_MAX / 3, UINTPTR_MAX / 5 };
  size_t bad = 0, i;
  for (i = 0; i < COUNT_OF(marks); i++) {
    uintptr_t near;
    for (near = 0; near < 5; near++) {
      bad += !agrees(geometry, marks[i] - 2 + near);
      bad += !agrees(geometry, base_of(geometry) + marks[i] - 2 + near);
      /* A multiple of the stride that lies before the area by as much. */
      bad += !agrees(geometry, base_of(geometry) - (near + 1) * geometry->stride);
      bad += !agrees(geometry, base_of(geometry) - (marks[i] / geometry->stride - near) * geometry->stride);
    }
  }
  return bad;
}

static size_t disagreements_at_random(const struct geometry *geometry, uint64_t *random, size_t count)
{
  size_t bad = 0;
  while (count-- != 0)
    bad += !agrees(geometry, (uintptr_t)test_random(random));
  return bad;
}

/* Bases, the areas of which reach from the lowest addresses up to the very last. */
static size_t bases_for(size_t stride, uint32_t capacity, uintptr_t bases[3])
{
  bases[0] = stride;
  bases[1] = (uintptr_t)PTRDIFF_MAX - stride;
  bases[2] = UINTPTR_MAX - stride * capacity + 1;
  return 3;
}

static void test_geometry_index_each_offset_around_small_area_as_by_division(void)
{
  size_t stride, bad = 0, tried = 0, step = slow() ? 7 : 1;
  for (stride = 1; stride <= 300; stride += step) {
    uintptr_t bases[3];
    size_t count = bases_for(stride, CAPACITY, bases), b;
    for (b = 0; b < count; b++) {
      struct geometry geometry;
      uintptr_t i;
      CU_ASSERT_FATAL(lay(&geometry, stride, CAPACITY, bases[b]));
      for (i = 0; i <= (CAPACITY + 4) * stride; i++, tried++)
        bad += !agrees(&geometry, bases[b] - 2 * stride + i);
    }
  }
  printf("# %zu addresses\n", tried);
  CU_ASSERT_EQUAL(bad, 0);
}

static void test_geometry_index_random_and_extreme_addresses_as_by_division(void)
{
  uint64_t random = test_seed();
  size_t stride, bad = 0, addresses = slow() ? 100 : 3000;
  for (stride = 1; stride <= 300; stride++) {
    struct geometry geometry;
    CU_ASSERT_FATAL(lay(&geometry, stride, CAPACITY, (uintptr_t)test_random(&random) >> 1));
    bad += disagreements_at_extremes(&geometry);
    bad += disagreements_at_random(&geometry, &random, addresses);
  }
  CU_ASSERT_EQUAL(bad, 0);
}

/* Around each block of a large stride: where an offset has some of the stride's factors, and nearly all of them. */
static size_t disagreements_around_blocks(const struct geometry *geometry, uint64_t *random)
{
  size_t stride = geometry->stride, alignment = natural_alignment(stride), odd = stride / alignment;
  uintptr_t block = base_of(geometry) - 2 * stride;
  size_t bad = 0, i, k;
  for (i = 0; i < (size_t)geometry->capacity + 4; i++, block += stride) {
    const size_t aside[] = { 0, 1, 2, 7, odd, alignment, alignment / 2, stride / 2, stride / 3, stride - 1 };
    for (k = 0; k < COUNT_OF(aside); k++) {
      bad += !agrees(geometry, block + aside[k]);
      bad += !agrees(geometry, block - aside[k]);
    }
    for (k = 0; k < 20; k++) {
      uintptr_t some = (uintptr_t)test_random(random) % stride;
      bad += !agrees(geometry, block + some);
      bad += !agrees(geometry, block + some / alignment * alignment);
      bad += !agrees(geometry, block + some / odd * odd);
    }
  }
  return bad;
}

static void test_geometry_index_large_stride_as_by_division(void)
{
  static const size_t odds[] = { 1, 3, 5, 7, 9, 255, 257, 4095, 12345, 65535, 1000003, 0x7fffffff };
  uint64_t random = test_seed();
  size_t i, bad = 0, strides = 0;
  for (i = 0; i < COUNT_OF(odds); i++) {
    unsigned shift;
    for (shift = 0; shift <= 40 && odds[i] <= (ROOM - 4096) / CAPACITY >> shift; shift++) {
      uintptr_t bases[3];
      size_t stride = odds[i] << shift, count = bases_for(stride, CAPACITY, bases), b;
      strides++;
      for (b = 0; b < count; b++) {
        struct geometry geometry;
        CU_ASSERT_FATAL(lay(&geometry, stride, CAPACITY, bases[b]));
        CU_ASSERT_EQUAL(geometry.shift, shift);
        bad += disagreements_around_blocks(&geometry, &random);
        bad += disagreements_at_extremes(&geometry);
        bad += disagreements_at_random(&geometry, &random, 100);
      }
    }
  }
  printf("# %zu strides\n", strides);
  CU_ASSERT(strides >= COUNT_OF(odds));
  CU_ASSERT_EQUAL(bad, 0);
}

/* The largest stride there is, and the most blocks. */
static void test_geometry_index_largest_areas_as_by_division(void)
{
  static const uint32_t capacities[] = { 1, 2, 3, 1000, 65537, 0x7fffffff, GEOMETRY_MAX_CAPACITY };
  uint64_t random = test_seed();
  size_t i, bad = 0, laid = 0;
  for (i = 0; i < COUNT_OF(capacities); i++) {
    uint32_t capacity = capacities[i];
    size_t largest = ROOM / capacity, tried;
    for (tried = 0; tried < 6; tried++) {
      const size_t strides[] = { largest, largest / 2, largest / 3, 1, 24, 4096 };
      struct geometry geometry;
      uintptr_t k;
      /* The tables take room too, and on small machines the most blocks fit with no stride. */
      if (strides[tried] == 0 || !lay(&geometry, strides[tried] - strides[tried] / 16, capacity, 4096))
        continue;
      laid++;
      for (k = 0; k < 4; k++) {
        uintptr_t last = base_of(&geometry) + (capacity - (k < capacity ? k : 0)) * geometry.stride;
        bad += !agrees(&geometry, last);
        bad += !agrees(&geometry, last - 1);
        bad += !agrees(&geometry, last + 1);
        bad += !agrees(&geometry, base_of(&geometry) + geometry.stride * (test_random(&random) % capacity));
      }
      bad += disagreements_at_extremes(&geometry);
      bad += disagreements_at_random(&geometry, &random, 100);
    }
  }
  printf("# %zu areas\n", laid);
  CU_ASSERT(laid >= 6);
  CU_ASSERT_EQUAL(bad, 0);
}

static void test_geometry_address_each_index_inverse_of_index(void)
{
  static const uint32_t capacities[] = { 1, 2, 1000, GEOMETRY_MAX_CAPACITY };
  uint64_t random = test_seed();
  size_t stride, c, bad = 0;
  for (stride = 1; stride <= 300; stride++) {
    for (c = 0; c < COUNT_OF(capacities); c++) {
      struct geometry geometry;
      uint32_t i;
      if (!lay(&geometry, stride, capacities[c], 4096))
        continue;
      for (i = 0; i < 100; i++) {
        uint32_t from_end = capacities[c] - 1 - i % capacities[c];
        uint32_t any = (uint32_t)(test_random(&random) % capacities[c]);
        bad += geometry_index(&geometry, geometry_address(&geometry, i % capacities[c])) != i % capacities[c];
        bad += geometry_index(&geometry, geometry_address(&geometry, from_end)) != from_end;
        bad += geometry_index(&geometry, geometry_address(&geometry, any)) != any;
        bad += (uintptr_t)geometry_address(&geometry, any) != base_of(&geometry) + (uintptr_t)any * stride;
      }
    }
  }
  CU_ASSERT_EQUAL(bad, 0);
}

static void test_geometry_init_each_odd_stride_inverse(void)
{
  uintptr_t odd;
  size_t bad = 0;
  for (odd = 1; odd < 65536; odd += 2) {
    uint32_t shift;
    for (shift = 0; shift <= 12; shift += 3) {
      struct geometry geometry;
      struct layout plan;
      memset(&plan, 0, sizeof(plan));
      plan.stride = odd << shift;
      mempool__geometry_init(&geometry, &plan, 1, NULL);
      bad += geometry.inverse * odd != 1 || geometry.shift != shift || geometry.stride != odd << shift;
    }
  }
  CU_ASSERT_EQUAL(bad, 0);
}

static mempool_status plan_status(size_t block_size, size_t capacity, size_t alignment, bool canary)
{
  struct layout plan;
  return mempool__layout_plan(&plan, HEADER, block_size, capacity, alignment, canary);
}

static void test_layout_plan_bad_block_size_refused(void)
{
  CU_ASSERT_EQUAL(plan_status(0, 1, 0, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
  CU_ASSERT_EQUAL(plan_status(0, 1000, 8, true), MEMPOOL_E_INVALID_BLOCK_SIZE);
  CU_ASSERT_EQUAL(plan_status(SIZE_MAX, 1, 1, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
  CU_ASSERT_EQUAL(plan_status((size_t)PTRDIFF_MAX + 1, 1, 1, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
  CU_ASSERT_EQUAL(plan_status(PTRDIFF_MAX, 1, 1, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
}

static void test_layout_plan_bad_capacity_refused(void)
{
  CU_ASSERT_EQUAL(plan_status(1, 0, 0, false), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(plan_status(64, 0, 64, true), MEMPOOL_E_INVALID_ARGUMENT);
#if SIZE_MAX > UINT32_MAX
  CU_ASSERT_EQUAL(plan_status(1, (size_t)GEOMETRY_MAX_CAPACITY, 1, false), MEMPOOL_OK);
  CU_ASSERT_EQUAL(plan_status(1, (size_t)GEOMETRY_MAX_CAPACITY + 1, 1, false), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(plan_status(1, (size_t)1 << 32, 1, false), MEMPOOL_E_INVALID_ARGUMENT);
  /* A count that would be small again if it were cut to 32 bits. */
  CU_ASSERT_EQUAL(plan_status(1, ((size_t)1 << 32) + 5, 1, false), MEMPOOL_E_INVALID_ARGUMENT);
#endif
}

static void test_layout_plan_products_that_overflow_refused(void)
{
  static const size_t capacities[] = { 2, 3, 4, 255, 256, 65535, 65536, 1000000, 0x7fffffff, GEOMETRY_MAX_CAPACITY };
  size_t i;
  unsigned bits;
  for (i = 0; i < COUNT_OF(capacities); i++) {
    /* block_size * capacity is a little over 2^bits: 0, or small, once it is cut to the width of size_t. */
    for (bits = sizeof(size_t) * 8 - 1; bits <= sizeof(size_t) * 8; bits++) {
      size_t whole = bits == sizeof(size_t) * 8 ? SIZE_MAX : (size_t)1 << bits;
      size_t over = whole / capacities[i] + 1;
      CU_ASSERT_EQUAL(plan_status(over, capacities[i], 1, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
      CU_ASSERT_EQUAL(plan_status(over, capacities[i], 64, true), MEMPOOL_E_INVALID_BLOCK_SIZE);
    }
    /* The bytes fit, until alignment or canary is added to each block. */
    CU_ASSERT_EQUAL(plan_status(ROOM / capacities[i] / 2, capacities[i], (size_t)1 << 21, false),
                    round_up(ROOM / capacities[i] / 2, (size_t)1 << 21) + 2 * HEADER < ROOM / capacities[i] ?
                      MEMPOOL_OK : MEMPOOL_E_INVALID_BLOCK_SIZE);
  }
}

/* What a plan takes, with the room that it must leave; false if that overflows. */
static bool fits(const struct layout *plan, size_t capacity)
{
  return plan->stride <= ROOM / capacity && plan->area_bytes == plan->stride * capacity &&
         plan->front_bytes <= ROOM && plan->area_bytes <= ROOM - plan->front_bytes;
}

/* Each limit lies exactly where the room ends: not a stride too early or too late. */
static void test_layout_plan_largest_block_size_fills_the_room(void)
{
  static const size_t capacities[] = { 1, 2, 3, 7, 1000, 65536, 12345678, 0x10000001 };
  size_t i, alignment;
  unsigned canary;
  for (i = 0; i < COUNT_OF(capacities); i++) {
    for (alignment = 1; alignment <= GEOMETRY_MAX_ALIGNMENT; alignment *= 2) {
      for (canary = 0; canary < 2; canary++) {
        size_t low = 0, high = SIZE_MAX, capacity = capacities[i];
        struct layout plan;
        while (high - low > 1) {
          size_t middle = low + (high - low) / 2;
          if (plan_status(middle, capacity, alignment, canary != 0) == MEMPOOL_OK)
            low = middle;
          else
            high = middle;
        }
        CU_ASSERT_EQUAL(plan_status(high, capacity, alignment, canary != 0), MEMPOOL_E_INVALID_BLOCK_SIZE);
        if (low == 0)
          continue;
        CU_ASSERT_EQUAL_FATAL(mempool__layout_plan(&plan, HEADER, low, capacity, alignment, canary != 0), MEMPOOL_OK);
        CU_ASSERT(fits(&plan, capacity));
        CU_ASSERT(ROOM - plan.front_bytes - plan.area_bytes < capacity * alignment);
      }
    }
  }
}

static void test_layout_plan_header_too_large_refused(void)
{
  struct layout plan;
  size_t header = ROOM - sizeof(void *) - sizeof(uint32_t) - 8;
  CU_ASSERT_EQUAL(mempool__layout_plan(&plan, header, 8, 1, 8, false), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool__layout_plan(&plan, header + 1, 8, 1, 8, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
  CU_ASSERT_EQUAL(mempool__layout_plan(&plan, PTRDIFF_MAX, 8, 1, 8, false), MEMPOOL_E_INVALID_BLOCK_SIZE);
}

static void test_layout_plan_alignment_not_a_power_of_two_refused(void)
{
  size_t alignment;
  unsigned shift;
  for (alignment = 1; alignment <= 5000; alignment++)
    CU_ASSERT_EQUAL(plan_status(100, 3, alignment, false),
                    (alignment & (alignment - 1)) == 0 ? MEMPOOL_OK : MEMPOOL_E_INVALID_ARGUMENT);
  for (shift = 2; shift < sizeof(size_t) * 8; shift++) {
    CU_ASSERT_EQUAL(plan_status(100, 3, ((size_t)1 << shift) - 1, false), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(plan_status(100, 3, ((size_t)1 << shift) + 1, false), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(plan_status(100, 3, (size_t)1 << shift, false),
                    shift <= 21 ? MEMPOOL_OK : MEMPOOL_E_INVALID_ARGUMENT);
  }
  CU_ASSERT_EQUAL(plan_status(100, 3, SIZE_MAX, false), MEMPOOL_E_INVALID_ARGUMENT);
}

/* G2 and G3; no stride is larger than these make it. */
static void test_layout_plan_each_size_and_alignment_smallest_stride(void)
{
  size_t size, alignment, bad = 0;
  unsigned canary;
  for (size = 1; size <= 300; size++) {
    for (alignment = 1; alignment <= GEOMETRY_MAX_ALIGNMENT; alignment *= 2) {
      for (canary = 0; canary < 2; canary++) {
        struct layout plan;
        size_t least = size + (canary != 0 ? 8 : 0);
        bad += mempool__layout_plan(&plan, HEADER, size, 3, alignment, canary != 0) != MEMPOOL_OK;
        bad += plan.alignment != alignment || plan.stride % alignment != 0;
        bad += plan.stride < least || plan.stride - least >= alignment || plan.area_bytes != 3 * plan.stride;
      }
    }
  }
  CU_ASSERT_EQUAL(bad, 0);
}

static void test_layout_plan_default_alignment_by_size(void)
{
  size_t size;
  for (size = 1; size <= 200; size++) {
    struct layout plan;
    CU_ASSERT_EQUAL_FATAL(mempool__layout_plan(&plan, HEADER, size, 3, 0, (size & 1) != 0), MEMPOOL_OK);
    CU_ASSERT_EQUAL(plan.alignment, size < 64 ? alignof(max_align_t) : 64);
    CU_ASSERT_EQUAL(plan.stride % plan.alignment, 0);
  }
}

static void test_layout_plan_tables_aligned_apart_and_small(void)
{
  static const size_t capacities[] = { 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 1000, 65537, 12345678 };
  size_t header, i;
  for (header = 8; header <= 512; header += 8) {
    for (i = 0; i < COUNT_OF(capacities); i++) {
      size_t capacity = capacities[i];
      struct layout plan;
      CU_ASSERT_EQUAL_FATAL(mempool__layout_plan(&plan, header, 16, capacity, 16, false), MEMPOOL_OK);
      CU_ASSERT_EQUAL(plan.slots % alignof(void *), 0);
      CU_ASSERT_EQUAL(plan.places % alignof(uint32_t), 0);
      CU_ASSERT(plan.slots >= header);
      CU_ASSERT(plan.places >= plan.slots + capacity * sizeof(void *) ||
                plan.slots >= plan.places + capacity * sizeof(uint32_t));
      CU_ASSERT(plan.front_bytes >= plan.slots + capacity * sizeof(void *));
      CU_ASSERT(plan.front_bytes >= plan.places + capacity * sizeof(uint32_t));
      CU_ASSERT(plan.places >= header);
      CU_ASSERT(plan.front_bytes - header <= 16 * capacity);
    }
  }
}

static void test_round_up_each_value_next_multiple(void)
{
  uintptr_t value, power;
  for (power = 1; power <= 256; power *= 2) {
    for (value = 0; value <= 1000; value++) {
      uintptr_t rounded = round_up(value, power);
      CU_ASSERT(rounded % power == 0 && rounded >= value && rounded - value < power);
    }
  }
  CU_ASSERT_EQUAL(round_up(UINTPTR_MAX - 8, 8), UINTPTR_MAX - 7);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_geometry_index_each_offset_around_small_area_as_by_division),
    TEST(test_geometry_index_random_and_extreme_addresses_as_by_division),
    TEST(test_geometry_index_large_stride_as_by_division),
    TEST(test_geometry_index_largest_areas_as_by_division),
    TEST(test_geometry_address_each_index_inverse_of_index),
    TEST(test_geometry_init_each_odd_stride_inverse),
    TEST(test_layout_plan_bad_block_size_refused),
    TEST(test_layout_plan_bad_capacity_refused),
    TEST(test_layout_plan_products_that_overflow_refused),
    TEST(test_layout_plan_largest_block_size_fills_the_room),
    TEST(test_layout_plan_header_too_large_refused),
    TEST(test_layout_plan_alignment_not_a_power_of_two_refused),
    TEST(test_layout_plan_each_size_and_alignment_smallest_stride),
    TEST(test_layout_plan_default_alignment_by_size),
    TEST(test_layout_plan_tables_aligned_apart_and_small),
    TEST(test_round_up_each_value_next_multiple),
  };
  return RUN_TESTS(tests);
}
