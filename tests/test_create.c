/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KNOWN_FLAGS 0x0fffu
#define MAX_CAPACITY 4294967294u

/* What *pool holds before a call that has to store NULL there. */
#define GARBAGE ((mempool *)(uintptr_t)0x5a5a)

static const size_t odd_sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097, 1048576 };

static mempool_options with_flags(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = flags;
  return options;
}

static mempool_options with_alignment(size_t alignment)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.alignment = alignment;
  return options;
}

/* All three ways to name such a pool refuse it, and hold nothing. */
static void expect_refused(size_t block_size, size_t capacity, const mempool_options *options, mempool_status expected)
{
  static unsigned char memory[65536];
  mempool *pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_create(&pool, block_size, capacity, options), expected);
  CU_ASSERT_PTR_NULL(pool);
  pool = GARBAGE;
  memset(memory, FILL, sizeof(memory));
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, sizeof(memory), block_size, capacity, options), expected);
  CU_ASSERT_PTR_NULL(pool);
  CU_ASSERT(all_bytes(memory, sizeof(memory), FILL));
  CU_ASSERT_EQUAL(mempool_required_size(block_size, capacity, options), 0);
}

/* Makes a small pool with the options both ways, and uses it. */
static void expect_accepted(const mempool_options *options)
{
  static unsigned char memory[65536];
  mempool *pool = NULL;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 24, 5, options), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT(mempool_required_size(24, 5, options) != 0);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, sizeof(memory), 24, 5, options), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  mempool_destroy(pool);
}

static void test_create_null_pool_invalid_argument(void)
{
  CU_ASSERT_EQUAL(mempool_create(NULL, 64, 4, NULL), MEMPOOL_E_INVALID_ARGUMENT);
}

static void test_init_null_pool_invalid_argument(void)
{
  static unsigned char memory[4096];
  CU_ASSERT_EQUAL(mempool_init(NULL, memory, sizeof(memory), 64, 4, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT(all_bytes(memory, sizeof(memory), 0));
}

static void test_create_zero_block_size_invalid_block_size(void)
{
  expect_refused(0, 1, NULL, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(0, 1000, NULL, MEMPOOL_E_INVALID_BLOCK_SIZE);
}

static void test_create_overflow_invalid_block_size(void)
{
  const mempool_options packed = with_alignment(1), wide = with_alignment((size_t)1 << 21);
  const mempool_options guarded = with_flags(MEMPOOL_GUARD);
  expect_refused(SIZE_MAX, 1, NULL, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX, 1, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX, 2, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX, MAX_CAPACITY, NULL, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX - 7, 1, &guarded, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX - 8, 1, &guarded, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX - 62, 1, NULL, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX / 2 + 1, 2, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX / 2, 2, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX / 3 + 1, 3, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX / MAX_CAPACITY + 1, MAX_CAPACITY, &packed, MEMPOOL_E_INVALID_BLOCK_SIZE);
  /* It fits before it is aligned. */
  expect_refused(SIZE_MAX - ((size_t)1 << 20), 1, &wide, MEMPOOL_E_INVALID_BLOCK_SIZE);
  expect_refused(SIZE_MAX / MAX_CAPACITY, MAX_CAPACITY, &wide, MEMPOOL_E_INVALID_BLOCK_SIZE);
}

static void test_create_bad_capacity_invalid_argument(void)
{
#if SIZE_MAX > UINT32_MAX
  const mempool_options packed = with_alignment(1);
#endif
  expect_refused(64, 0, NULL, MEMPOOL_E_INVALID_ARGUMENT);
#if SIZE_MAX > UINT32_MAX
  /* Where a size_t has 32 bits the product, too, is more than fits. */
  expect_refused(1, (size_t)MAX_CAPACITY + 1, &packed, MEMPOOL_E_INVALID_ARGUMENT);
  expect_refused(1, (size_t)MAX_CAPACITY + 2, &packed, MEMPOOL_E_INVALID_ARGUMENT);
  /* Cut to 32 bits this is 1. */
  expect_refused(1, (size_t)MAX_CAPACITY + 3, &packed, MEMPOOL_E_INVALID_ARGUMENT);
  expect_refused(1, (size_t)1 << 40, &packed, MEMPOOL_E_INVALID_ARGUMENT);
#endif
}

static void test_required_size_greatest_capacity_accepted(void)
{
#if SIZE_MAX > UINT32_MAX
  const mempool_options packed = with_alignment(1);
  CU_ASSERT(mempool_required_size(1, MAX_CAPACITY, &packed) > MAX_CAPACITY);
  CU_ASSERT(mempool_required_size(4096, MAX_CAPACITY, NULL) > (size_t)MAX_CAPACITY * 4096);
#else
  skip_test("the greatest capacity needs an address space of more than 32 bits");
#endif
}

/* More than the address space that a process gets: at once, and where a size_t doesn't say that much, bit by bit. */
static void test_create_huge_no_memory(void)
{
#if SIZE_MAX > UINT32_MAX
  const size_t size = (size_t)3 << 58;
  mempool *pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_create(&pool, size, 1, NULL), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_PTR_NULL(pool);
  pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_create(&pool, size / 1024, 1024, NULL), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_PTR_NULL(pool);
#else
  mempool *pools[8];
  size_t count = 0;
  mempool_status status;
  do {
    pools[count] = GARBAGE;
    status = mempool_create(&pools[count], (size_t)1 << 29, 1, NULL);
  } while (status == MEMPOOL_OK && ++count < COUNT_OF(pools));
  CU_ASSERT_EQUAL(status, MEMPOOL_E_NO_MEMORY);
  CU_ASSERT(count < COUNT_OF(pools) && pools[count] == NULL);
  while (count-- > 0)
    mempool_destroy(pools[count]);
#endif
}

static void test_create_bad_alignment_invalid_argument(void)
{
  static const size_t bad[] = { 3,  5,  6,   7,   12,   24,   48,      65,
                                96, 100, 1000, 4095, 4097, 12288, 3145728, ((size_t)1 << 21) + 1, (size_t)1 << 22, SIZE_MAX,
                                SIZE_MAX / 2 + 1 };
  size_t i;
  for (i = 0; i < COUNT_OF(bad); i++) {
    const mempool_options options = with_alignment(bad[i]);
    expect_refused(64, 4, &options, MEMPOOL_E_INVALID_ARGUMENT);
  }
}

static void test_create_every_alignment_blocks_aligned(void)
{
  size_t alignment, s;
  for (alignment = 1; alignment <= (size_t)1 << 21; alignment *= 2) {
    for (s = 0; s < COUNT_OF(odd_sizes); s += 4) {
      unsigned variant;
      for (variant = 0; variant < 4; variant++) {
        const pool_kind kind = { variant < 2 ? 0 : MEMPOOL_GUARD, variant % 2 == 0 };
        void *blocks[3];
        size_t i;
        fixture f;
        /* The memory around far alignments is filled and compared: once is enough. */
        if (!kind.created && alignment > 65536 && s != 4)
          continue;
        (void)set_up_aligned(&f, &kind, odd_sizes[s], 3, alignment);
        take(f.pool, blocks, 3);
        for (i = 0; i < 3; i++) {
          CU_ASSERT_EQUAL((uintptr_t)blocks[i] % alignment, 0);
          memset(blocks[i], 1, odd_sizes[s]);
        }
        CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
        tear_down(&f);
      }
    }
  }
}

TEST_OVER(over_kinds, test_create_default_alignment_as_documented)
{
  size_t s;
  for (s = 0; s + 1 < COUNT_OF(odd_sizes); s++) {
    size_t expected = odd_sizes[s] >= 64 ? 64 : _Alignof(max_align_t);
    void *blocks[3];
    size_t i;
    fixture f;
    (void)set_up(&f, kind, odd_sizes[s], 3);
    take(f.pool, blocks, 3);
    for (i = 0; i < 3; i++)
      CU_ASSERT_EQUAL((uintptr_t)blocks[i] % expected, 0);
    tear_down(&f);
  }
}

/* Alignment 1 is one that was asked for, not the default: blocks lie side by side. */
static void test_create_alignment_one_packed(void)
{
  const pool_kind kind = { 0, true };
  size_t s;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    fixture f;
    mempool *pool = set_up_aligned(&f, &kind, odd_sizes[s], 3, 1);
    CU_ASSERT_PTR_EQUAL(mempool_block_at(pool, 1), offset_by(mempool_block_at(pool, 0), (ptrdiff_t)odd_sizes[s]));
    tear_down(&f);
  }
}

static void test_create_unknown_flags_invalid_argument(void)
{
  unsigned bit;
  for (bit = 0; bit < 32; bit++) {
    const mempool_options options = with_flags((uint32_t)1 << bit);
    const mempool_options among_others = with_flags(MEMPOOL_ZERO | (uint32_t)1 << bit);
    if (((uint32_t)1 << bit & KNOWN_FLAGS) != 0)
      continue;
    expect_refused(64, 4, &options, MEMPOOL_E_INVALID_ARGUMENT);
    expect_refused(64, 4, &among_others, MEMPOOL_E_INVALID_ARGUMENT);
  }
}

/* Where a build has no shared pools it says so, whatever else is asked for. */
static void test_create_shared_single_threaded_refused(void)
{
  const mempool_options shared = with_flags(MEMPOOL_SHARED);
  const mempool_options both = with_flags(MEMPOOL_SHARED | MEMPOOL_SINGLE_THREADED);
  expect_refused(64, 4, &both,
                 mempool_required_size(64, 4, &shared) != 0 ? MEMPOOL_E_INVALID_ARGUMENT : MEMPOOL_E_UNSUPPORTED);
}

static void test_create_shared_too_many_owners_refused(void)
{
  mempool_options options = with_flags(MEMPOOL_SHARED);
  if (mempool_required_size(64, 4, &options) == 0) {
    skip_test("this build has no shared pools");
    return;
  }
  options.max_owners = 65535;
  expect_refused(64, 4, &options, MEMPOOL_E_INVALID_ARGUMENT);
}

static void test_create_any_cache_blocks_ok(void)
{
  static const uint32_t counts[] = { 1, 2, 64, 1000000, UINT32_MAX };
  size_t i;
  for (i = 0; i < COUNT_OF(counts); i++) {
    mempool_options options = MEMPOOL_OPTIONS_INIT;
    options.cache_blocks = counts[i];
    expect_accepted(&options);
  }
}

static void test_create_options_size_zero_invalid_argument(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.size = 0;
  expect_refused(64, 4, &options, MEMPOOL_E_INVALID_ARGUMENT);
}

/* What lies behind the size is not the library's to read: here it would be refused. */
static void test_create_options_size_smaller_rest_ignored(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = UINT32_MAX;
  options.alignment = 3;
  options.name = (const char *)(uintptr_t)1;
  options.size = offsetof(mempool_options, flags);
  expect_accepted(&options);
  options.flags = MEMPOOL_COUNTERS;
  options.size = offsetof(mempool_options, cache_blocks);
  expect_accepted(&options);
  options.size = offsetof(mempool_options, alignment);
  expect_accepted(&options);
  options.alignment = 128;
  options.size = offsetof(mempool_options, name);
  expect_accepted(&options);
}

static void test_create_options_size_smaller_flags_heeded(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  options.flags = MEMPOOL_COUNTERS;
  options.alignment = 3;
  options.size = offsetof(mempool_options, cache_blocks);
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 64, 4, &options), MEMPOOL_OK);
  (void)mempool_alloc(pool);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, 1);
  mempool_destroy(pool);
}

typedef struct later_options {
  mempool_options known;
  unsigned char tail[64];
} later_options;

/* A member that a size cuts in two isn't the caller's: half of a pointer leads nowhere. */
static void test_create_options_size_cuts_member_member_ignored(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = 0x0fff0000u; /* unknown, where it counts */
  options.name = "cut";
  for (options.size = 1; options.size < sizeof(options); options.size++) {
    mempool *pool;
    bool flags_count = options.size >= offsetof(mempool_options, flags) + sizeof(options.flags);
    mempool_status status = mempool_create(&pool, 16, 4, &options);
    CU_ASSERT_EQUAL(status, flags_count ? MEMPOOL_E_INVALID_ARGUMENT : MEMPOOL_OK);
    mempool_destroy(pool);
  }
  options.flags = 0;
  for (options.size = 1; options.size < sizeof(options); options.size++) {
    mempool *pool;
    CU_ASSERT_EQUAL(mempool_create(&pool, 16, 4, &options), MEMPOOL_OK);
    mempool_destroy(pool);
  }
}

static void test_create_options_size_absurd_invalid_argument(void)
{
  static const size_t sizes[] = { 4097, 1 << 20, SIZE_MAX / 2, SIZE_MAX };
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  size_t i;
  for (i = 0; i < COUNT_OF(sizes); i++) {
    mempool *pool = GARBAGE;
    options.size = sizes[i];
    CU_ASSERT_EQUAL(mempool_create(&pool, 16, 4, &options), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_PTR_NULL(pool);
  }
}

static void test_create_options_size_larger_zero_tail_ok(void)
{
  static const later_options none;
  size_t extra;
  for (extra = 1; extra <= sizeof(none.tail); extra++) {
    later_options options = none;
    memset(options.tail, 0xff, sizeof(options.tail));
    memset(options.tail, 0, extra);
    options.known.size = sizeof(mempool_options) + extra;
    expect_accepted(&options.known);
  }
}

static void test_create_options_size_larger_nonzero_tail_invalid_argument(void)
{
  static const later_options none;
  size_t extra;
  for (extra = 1; extra <= sizeof(none.tail); extra++) {
    later_options options = none;
    options.known.size = sizeof(options);
    options.tail[extra - 1] = 1;
    expect_refused(64, 4, &options.known, MEMPOOL_E_INVALID_ARGUMENT);
    options.known.size = sizeof(mempool_options) + extra;
    expect_refused(64, 4, &options.known, MEMPOOL_E_INVALID_ARGUMENT);
  }
}

static void test_create_null_options_defaults(void)
{
  const mempool_options defaults = MEMPOOL_OPTIONS_INIT;
  CU_ASSERT_EQUAL(mempool_required_size(100, 7, NULL), mempool_required_size(100, 7, &defaults));
  CU_ASSERT_EQUAL(defaults.size, sizeof(mempool_options));
  expect_accepted(NULL);
  expect_accepted(&defaults);
}

TEST_OVER(over_kinds, test_create_new_pool_figures_zero)
{
  mempool_stats stats;
  fixture f;
  mempool *pool = set_up(&f, kind, 100, 7);
  stats = stats_of(pool);
  CU_ASSERT_EQUAL(stats.block_size, 100);
  CU_ASSERT_EQUAL(stats.capacity, 7);
  CU_ASSERT_EQUAL(stats.used, 0);
  CU_ASSERT_EQUAL(stats.available, 7);
  CU_ASSERT_EQUAL(stats.peak_used, 0);
  CU_ASSERT_EQUAL(stats.waiting, 0);
  CU_ASSERT_EQUAL(stats.refused_frees, 0);
  CU_ASSERT_EQUAL(stats.failed_allocs, 0);
  CU_ASSERT_EQUAL(stats.alloc_count, 0);
  CU_ASSERT_EQUAL(stats.free_count, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* In the caller's memory only MEMPOOL_ZERO promises zeros. */
TEST_OVER(over_kinds, test_create_first_blocks_content_as_documented)
{
  bool zeroed = kind->created || (kind->flags & MEMPOOL_ZERO) != 0;
  size_t s;
  for (s = 0; s < COUNT_OF(odd_sizes); s += 2) {
    void *blocks[3];
    size_t i;
    fixture f;
    if (odd_sizes[s] > 4097)
      continue;
    (void)set_up(&f, kind, odd_sizes[s], 3);
    take(f.pool, blocks, 3);
    for (i = 0; i < 3; i++)
      CU_ASSERT(all_bytes(blocks[i], odd_sizes[s], zeroed ? 0 : FILL));
    tear_down(&f);
  }
}

/* The caller's memory is looked at after the pool's end, when it is the caller's again. */
TEST_OVER(over_kinds, test_init_no_block_written)
{
  void *blocks[5];
  unsigned char *memory;
  uint32_t i;
  size_t required;
  const mempool_options options = with_flags(kind->flags);
  mempool *pool;
  if (kind->created || (kind->flags & MEMPOOL_ZERO) != 0)
    return;
  required = mempool_required_size(100, 5, &options);
  memory = malloc(required);
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  memset(memory, FILL, required);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, required, 100, 5, &options), MEMPOOL_OK);
  for (i = 0; i < 5; i++)
    blocks[i] = mempool_block_at(pool, i);
  for (i = 0; i < 100; i++) {
    void *taken[5];
    take(pool, taken, i % 5);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, taken, i % 5), MEMPOOL_OK);
    (void)mempool_free(pool, blocks[i % 5]);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  take(pool, blocks, 2);
  mempool_close(pool);
  for (i = 0; i < 5; i++)
    blocks[i] = mempool_block_at(pool, i);
  mempool_destroy(pool);
  for (i = 0; i < 5; i++)
    CU_ASSERT(all_bytes(blocks[i], 100, FILL));
  free(memory);
}

static void test_init_prefault_content_kept(void)
{
  const pool_kind kind = { MEMPOOL_PREFAULT, false };
  void *blocks[3];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, &kind, 5000, 3);
  take(pool, blocks, 3);
  for (i = 0; i < 3; i++)
    CU_ASSERT(all_bytes(blocks[i], 5000, FILL));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_init_exact_size_any_misalignment_ok)
{
  const mempool_options options = with_flags(kind->flags);
  size_t size = mempool_required_size(40, 3, &options), misalignment;
  unsigned char *memory;
  if (kind->created)
    return;
  memory = malloc(64 + 64 + size + 64);
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  for (misalignment = 0; misalignment <= 64; misalignment++) {
    unsigned char *start = memory + 64 - (uintptr_t)memory % 64 + misalignment;
    void *blocks[3], *none;
    size_t i;
    mempool *pool;
    memset(memory, 0x11, 64 + 64 + size + 64);
    CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, start, size, 40, 3, &options), MEMPOOL_OK);
    take(pool, blocks, 3);
    none = mempool_alloc(pool);
    CU_ASSERT_PTR_NULL(none);
    for (i = 0; i < 3; i++) {
      CU_ASSERT((uintptr_t)blocks[i] >= (uintptr_t)start && (uintptr_t)blocks[i] + 40 <= (uintptr_t)start + size);
      memset(blocks[i], 0x22, 40);
    }
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 3), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    mempool_destroy(pool);
    CU_ASSERT(all_bytes(memory, (size_t)(start - memory), 0x11));
    CU_ASSERT(all_bytes(start + size, (size_t)(memory + 64 + 64 + size + 64 - (start + size)), 0x11));
  }
  free(memory);
}

/* The same for every odd block size and some alignments, at an odd address. */
static void test_init_exact_size_many_geometries_ok(void)
{
  static const size_t alignments[] = { 0, 1, 2, 16, 64, 4096 };
  static const size_t capacities[] = { 1, 2, 9, 100 };
  size_t s, a, c, v;
  for (s = 0; s + 1 < COUNT_OF(odd_sizes); s++) {
    for (a = 0; a < COUNT_OF(alignments); a++) {
      for (c = 0; c < COUNT_OF(capacities); c++) {
        /* 100 blocks of a page each tell no more than 9. */
        if (capacities[c] == 100 && (odd_sizes[s] > 100 || alignments[a] > 64))
          continue;
        for (v = 0; v < 2; v++) {
          const pool_kind kind = { v == 0 ? 0 : MEMPOOL_GUARD | MEMPOOL_ZERO | MEMPOOL_SINGLE_THREADED, false };
          size_t i;
          fixture f;
          mempool *pool = set_up_aligned(&f, &kind, odd_sizes[s], capacities[c], alignments[a]);
          for (i = 0; i < capacities[c]; i++) {
            void *block = mempool_alloc(pool);
            CU_ASSERT_PTR_NOT_NULL_FATAL(block);
            memset(block, (int)i, odd_sizes[s]);
          }
          CU_ASSERT_PTR_NULL(mempool_alloc(pool));
          CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
          for (i = 0; i < capacities[c]; i++) {
            void *block = mempool_block_at(pool, (uint32_t)i);
            CU_ASSERT(all_bytes(block, odd_sizes[s], *(unsigned char *)block));
            CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
          }
          tear_down(&f);
        }
      }
    }
  }
}

TEST_OVER(over_kinds, test_init_one_byte_short_no_memory)
{
  const mempool_options options = with_flags(kind->flags);
  size_t size = mempool_required_size(40, 3, &options), misalignment;
  unsigned char *memory;
  if (kind->created)
    return;
  memory = malloc(size + 64);
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  memset(memory, FILL, size + 64);
  for (misalignment = 0; misalignment <= 64; misalignment++) {
    mempool *pool = GARBAGE;
    CU_ASSERT_EQUAL(mempool_init(&pool, memory + misalignment, size - 1, 40, 3, &options), MEMPOOL_E_NO_MEMORY);
    CU_ASSERT_PTR_NULL(pool);
    pool = GARBAGE;
    CU_ASSERT_EQUAL(mempool_init(&pool, memory + misalignment, 0, 40, 3, &options), MEMPOOL_E_NO_MEMORY);
    CU_ASSERT_PTR_NULL(pool);
  }
  CU_ASSERT(all_bytes(memory, size + 64, FILL));
  free(memory);
}

static void test_init_every_smaller_size_no_memory(void)
{
  static unsigned char memory[8192];
  size_t required = mempool_required_size(8, 4, NULL), size;
  CU_ASSERT_FATAL(required != 0 && required <= sizeof(memory));
  memset(memory, FILL, sizeof(memory));
  for (size = 0; size < required; size++) {
    mempool *pool = GARBAGE;
    CU_ASSERT_EQUAL(mempool_init(&pool, memory, size, 8, 4, NULL), MEMPOOL_E_NO_MEMORY);
    CU_ASSERT_PTR_NULL(pool);
  }
  CU_ASSERT(all_bytes(memory, sizeof(memory), FILL));
}

static void test_init_larger_size_rest_left_alone(void)
{
  static unsigned char memory[16384];
  size_t required = mempool_required_size(40, 3, NULL);
  void *blocks[3];
  mempool *pool;
  memset(memory, FILL, sizeof(memory));
  CU_ASSERT_FATAL(required < sizeof(memory) / 2);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, sizeof(memory), 40, 3, NULL), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_capacity(pool), 3);
  take(pool, blocks, 3);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 3), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT(all_bytes(memory + required, sizeof(memory) - required, FILL));
}

static void test_init_null_memory_invalid_argument(void)
{
  mempool *pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_init(&pool, NULL, 65536, 64, 4, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(pool);
}

static void test_init_past_address_space_invalid_argument(void)
{
  size_t required = mempool_required_size(64, 4, NULL);
  mempool *pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_init(&pool, (void *)(UINTPTR_MAX - 100), required, 64, 4, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(pool);
  pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_init(&pool, (void *)UINTPTR_MAX, SIZE_MAX, 64, 4, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(pool);
  pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_init(&pool, (void *)(uintptr_t)4096, SIZE_MAX - 4000, 64, 4, NULL),
                  MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(pool);
}

static void test_init_static_and_stack_memory_ok(void)
{
  static unsigned char static_memory[8192];
  unsigned char stack_memory[8192];
  unsigned char *const memories[] = { static_memory, stack_memory };
  size_t i, j;
  CU_ASSERT_FATAL(mempool_required_size(100, 20, NULL) <= sizeof(stack_memory));
  for (i = 0; i < 2; i++) {
    void *blocks[20];
    mempool *pool;
    CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memories[i], sizeof(stack_memory), 100, 20, NULL), MEMPOOL_OK);
    take(pool, blocks, 20);
    for (j = 0; j < 20; j++) {
      memset(blocks[j], (int)j, 100);
      CU_ASSERT(mempool_contains(pool, blocks[j]));
    }
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 20), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    mempool_destroy(pool);
  }
}

/* The memory can be used for one pool after the other, whatever the last one left in it. */
TEST_OVER(over_kinds, test_init_memory_reused_fresh_pool)
{
  static unsigned char memory[16 * 1024];
  mempool_options options = with_flags(kind->flags);
  size_t round;
  if (kind->created)
    return;
  options.max_owners = 1;
  CU_ASSERT_FATAL(mempool_required_size(10, 5, &options) <= sizeof(memory));
  for (round = 0; round < 3; round++) {
    void *blocks[5];
    mempool *pool;
    CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, sizeof(memory), 10, 5, &options), MEMPOOL_OK);
    CU_ASSERT_EQUAL(stats_of(pool).used, 0);
    CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 0);
    take(pool, blocks, 5);
    CU_ASSERT_EQUAL(mempool_free(pool, memory), MEMPOOL_E_FOREIGN_BLOCK);
    mempool_close(pool);
    mempool_destroy(pool);
  }
}

/* What libmempool(7) says that caches of so many blocks take; 0 blocks are the default. */
static size_t bytes_of_caches(size_t capacity, size_t blocks)
{
  size_t count;
  if (blocks == 0)
    blocks = capacity < 64 ? 0 : capacity / 16 < 128 ? capacity / 16 : 128;
  if (blocks == 0)
    return 0;
  count = capacity / (2 * blocks);
  count = count < 8 ? 8 : count < 128 ? count : 128;
  return count * (64 + 16 * blocks) + 4 * 16 * blocks;
}

static void test_required_size_metadata_no_more_than_documented(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_NO_CACHE, MEMPOOL_SINGLE_THREADED, MEMPOOL_COUNTERS, MEMPOOL_ZERO };
  static const uint32_t cache_blocks[] = { 0, 1, 4, 64 };
  const size_t block_size = 64, header = 1024;
  size_t capacity, f, c;
  for (capacity = 64; capacity <= 1000000; capacity = capacity * 5 / 4) {
    for (f = 0; f < COUNT_OF(flags); f++) {
      for (c = 0; c < COUNT_OF(cache_blocks); c++) {
        mempool_options options = with_flags(flags[f]);
        size_t caches = flags[f] == 0 ? bytes_of_caches(capacity, cache_blocks[c]) : 0;
        options.cache_blocks = cache_blocks[c];
        CU_ASSERT(mempool_required_size(block_size, capacity, &options) - block_size * capacity <=
                  header + 12 * capacity + caches);
      }
    }
  }
}

static void test_required_size_covers_blocks(void)
{
  size_t s, capacity;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    size_t previous = 0;
    for (capacity = 1; capacity < 100000 && capacity < SIZE_MAX / 4 / odd_sizes[s]; capacity = capacity * 3 + 1) {
      const mempool_options guarded = with_flags(MEMPOOL_GUARD);
      const mempool_options without_caches = with_flags(MEMPOOL_NO_CACHE);
      size_t size = mempool_required_size(odd_sizes[s], capacity, NULL);
      CU_ASSERT(size > odd_sizes[s] * capacity);
      CU_ASSERT(size > previous);
      CU_ASSERT(mempool_required_size(odd_sizes[s], capacity, &guarded) >=
                mempool_required_size(odd_sizes[s], capacity, &without_caches));
      previous = size;
    }
  }
}

static void test_create_huge_pages_falls_back(void)
{
  const mempool_options options = with_flags(MEMPOOL_HUGE_PAGES);
  mempool *pool;
  void *block;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 65536, 33, &options), MEMPOOL_OK);
  block = mempool_alloc(pool);
  CU_ASSERT_PTR_NOT_NULL_FATAL(block);
  CU_ASSERT(all_bytes(block, 65536, 0));
  memset(block, 1, 65536);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  mempool_destroy(pool);
}

static void test_create_huge_pages_only_ok_or_no_memory(void)
{
  const mempool_options options = with_flags(MEMPOOL_HUGE_PAGES_ONLY);
  mempool *pool = GARBAGE;
  mempool_status status = mempool_create(&pool, 65536, 33, &options);
  if (status == MEMPOOL_OK) {
    void *block = mempool_alloc(pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(block);
    memset(block, 1, 65536);
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
    mempool_destroy(pool);
  } else {
    CU_ASSERT_EQUAL(status, MEMPOOL_E_NO_MEMORY);
    CU_ASSERT_PTR_NULL(pool);
  }
}

static void test_init_huge_pages_only_unsupported(void)
{
  static unsigned char memory[65536];
  const mempool_options options = with_flags(MEMPOOL_HUGE_PAGES_ONLY);
  mempool *pool = GARBAGE;
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, sizeof(memory), 64, 4, &options), MEMPOOL_E_UNSUPPORTED);
  CU_ASSERT_PTR_NULL(pool);
}

static void test_init_huge_pages_no_effect(void)
{
  const mempool_options options = with_flags(MEMPOOL_HUGE_PAGES);
  CU_ASSERT_EQUAL(mempool_required_size(64, 4, &options), mempool_required_size(64, 4, NULL));
  expect_accepted(&options);
}

/* How many pages of the range are in memory; -1 if the system doesn't tell. */
static long resident_pages(void *first, size_t size)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE), pages, i;
  uintptr_t start = (uintptr_t)first / page * page;
  unsigned char *vector;
  long resident = 0;
  pages = ((uintptr_t)first + size - start + page - 1) / page;
  vector = malloc(pages);
  if (vector == NULL || mincore((void *)start, pages * page, vector) != 0) {
    free(vector);
    return -1;
  }
  for (i = 0; i < pages; i++)
    resident += vector[i] & 1;
  free(vector);
  return resident;
}

static void test_create_large_pool_blocks_untouched(void)
{
  size_t capacity = sizeof(size_t) > 4 ? 1000000 : 100000;
  mempool *pool;
  mempool_status status = mempool_create(&pool, 4096, capacity, NULL);
  long resident;
  if (status == MEMPOOL_E_NO_MEMORY) {
    skip_test("the system doesn't grant so much memory, touched or not");
    return;
  }
  CU_ASSERT_EQUAL_FATAL(status, MEMPOOL_OK);
  resident = resident_pages(mempool_block_at(pool, 0), 4096 * capacity);
  if (resident < 0)
    skip_test("the system doesn't tell which pages are resident");
  else
    /* A huge page of the tables may reach into the blocks. */
    CU_ASSERT(resident <= 1024);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  mempool_destroy(pool);
}

static void test_create_prefault_blocks_resident(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_GUARD, MEMPOOL_ZERO, MEMPOOL_HUGE_PAGES, MEMPOOL_SINGLE_THREADED };
  size_t page = (size_t)sysconf(_SC_PAGESIZE), i;
  for (i = 0; i < COUNT_OF(flags); i++) {
    const mempool_options options = with_flags(MEMPOOL_PREFAULT | flags[i]);
    mempool *pool;
    long resident;
    CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, page, 200, &options), MEMPOOL_OK);
    resident = resident_pages(mempool_block_at(pool, 0), page * 200);
    if (resident < 0)
      skip_test("the system doesn't tell which pages are resident");
    else
      CU_ASSERT(resident >= 200);
    CU_ASSERT(all_bytes(mempool_block_at(pool, 0), page, 0));
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    mempool_destroy(pool);
  }
}

/* The handle and the tables lie before the blocks. */
static void test_create_prefault_tables_resident(void)
{
  const mempool_options options = with_flags(MEMPOOL_PREFAULT);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes;
  mempool *pool;
  long resident;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 16, 100000, &options), MEMPOOL_OK);
  bytes = (size_t)((unsigned char *)mempool_block_at(pool, 0) - (unsigned char *)pool);
  CU_ASSERT(bytes >= 100000 * (sizeof(void *) + sizeof(uint32_t)));
  resident = resident_pages(pool, bytes);
  if (resident < 0)
    skip_test("the system doesn't tell which pages are resident");
  else
    CU_ASSERT((size_t)resident >= bytes / page);
  mempool_destroy(pool);
}

/* What the system was told of the pages around an address: "" if it doesn't say. */
static const char *advice_about(const void *address)
{
  static char line[4096];
  uintptr_t from, to;
  bool here = false;
  FILE *maps = fopen("/proc/self/smaps", "r");
  while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
      here = (uintptr_t)address >= from && (uintptr_t)address < to;
    if (here && strncmp(line, "VmFlags:", 8) == 0)
      break;
    line[0] = '\0';
  }
  if (maps != NULL)
    (void)fclose(maps);
  else
    line[0] = '\0';
  return line;
}

static void test_create_huge_pages_asked_for(void)
{
  const mempool_options huge = with_flags(MEMPOOL_HUGE_PAGES), ordinary = with_flags(0);
  mempool *pool;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 4096, 2000, &huge), MEMPOOL_OK);
  /* hg: madvise(MADV_HUGEPAGE); ht: mapped so */
  if (strlen(advice_about(mempool_block_at(pool, 0))) == 0) {
    skip_test("the system doesn't tell what it was advised");
    mempool_destroy(pool);
    return;
  }
  CU_ASSERT(strstr(advice_about(mempool_block_at(pool, 0)), " hg") != NULL ||
            strstr(advice_about(mempool_block_at(pool, 0)), " ht") != NULL);
  mempool_destroy(pool);
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 4096, 2000, &ordinary), MEMPOOL_OK);
  CU_ASSERT_PTR_NULL(strstr(advice_about(mempool_block_at(pool, 0)), " hg"));
  mempool_destroy(pool);
}

static void test_create_name_copied(void)
{
  char name[] = "a-name-that-is-forty-characters-long-xyz", *text = NULL;
  size_t size = 0;
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  FILE *stream = open_memstream(&text, &size);
  CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
  options.name = name;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 64, 4, &options), MEMPOOL_OK);
  memset(name, '#', sizeof(name) - 1);
  mempool_dump(pool, stream);
  (void)fclose(stream);
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "a-name-that-is-forty-characters"));
  CU_ASSERT_PTR_NULL(strstr(text, "a-name-that-is-forty-characters-"));
  free(text);
  mempool_destroy(pool);
}

/* A name without an end, of which no more than what is copied may be read. */
static void test_create_name_unterminated_first_31_read(void)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *memory = mmap(NULL, page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  CU_ASSERT_PTR_NOT_EQUAL_FATAL((void *)memory, MAP_FAILED);
  CU_ASSERT_EQUAL_FATAL(mprotect(memory + page, page, PROT_NONE), 0);
  memset(memory, 'n', page);
  options.name = memory + page - 31;
  expect_accepted(&options);
  memory[page - 1] = '\0';
  options.name = memory + page - 1;
  expect_accepted(&options);
  (void)munmap(memory, page * 2);
}

typedef struct mappings {
  size_t count;
  uint64_t bytes;
} mappings;

/* The process's mappings; none if the system doesn't tell. */
static mappings mappings_now(void)
{
  mappings now = { 0, 0 };
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    char *end;
    uint64_t first = strtoull(line, &end, 16);
    if (*end == '-') {
      now.count++;
      now.bytes += strtoull(end + 1, NULL, 16) - first;
    }
  }
  if (maps != NULL)
    (void)fclose(maps);
  return now;
}

/* What the test's own tools may map meanwhile is far less than what so many pools would hold. */
static void test_destroy_many_pools_nothing_held(void)
{
  enum { POOLS = 200, POOL_BYTES = 4 << 20 };
  mappings before = mappings_now(), after;
  size_t i;
  if (before.count == 0) {
    skip_test("the system doesn't tell the process's mappings");
    return;
  }
  for (i = 0; i < POOLS; i++) {
    const mempool_options options = with_flags(i % 2 == 0 ? 0 : MEMPOOL_GUARD | MEMPOOL_HUGE_PAGES);
    mempool *pool;
    CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, POOL_BYTES / 4, 4, &options), MEMPOOL_OK);
    (void)mempool_alloc(pool);
    mempool_destroy(pool);
  }
  after = mappings_now();
  CU_ASSERT(after.count < before.count + POOLS / 4);
  CU_ASSERT(after.bytes < before.bytes + (uint64_t)POOLS / 4 * POOL_BYTES);
}

static void test_destroy_null_nothing(void)
{
  mempool_destroy(NULL);
}

/* Where size_t has 32 bits, twice that is 0. */
static void test_required_size_half_of_all_cached_no_crash(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  size_t half = (size_t)1 << 31;
  options.cache_blocks = UINT32_C(1) << 31;
  CU_ASSERT_EQUAL(mempool_required_size(1, half, &options) == 0, sizeof(size_t) == 4);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_required_size_half_of_all_cached_no_crash),
    TEST(test_create_null_pool_invalid_argument),
    TEST(test_init_null_pool_invalid_argument),
    TEST(test_create_zero_block_size_invalid_block_size),
    TEST(test_create_overflow_invalid_block_size),
    TEST(test_create_bad_capacity_invalid_argument),
    TEST(test_required_size_greatest_capacity_accepted),
    TEST(test_create_huge_no_memory),
    TEST(test_create_bad_alignment_invalid_argument),
    TEST(test_create_every_alignment_blocks_aligned),
    TEST(test_create_default_alignment_as_documented),
    TEST(test_create_alignment_one_packed),
    TEST(test_create_unknown_flags_invalid_argument),
    TEST(test_create_shared_single_threaded_refused),
    TEST(test_create_shared_too_many_owners_refused),
    TEST(test_create_any_cache_blocks_ok),
    TEST(test_create_options_size_zero_invalid_argument),
    TEST(test_create_options_size_smaller_rest_ignored),
    TEST(test_create_options_size_smaller_flags_heeded),
    TEST(test_create_options_size_cuts_member_member_ignored),
    TEST(test_create_options_size_absurd_invalid_argument),
    TEST(test_create_options_size_larger_zero_tail_ok),
    TEST(test_create_options_size_larger_nonzero_tail_invalid_argument),
    TEST(test_create_null_options_defaults),
    TEST(test_create_new_pool_figures_zero),
    TEST(test_create_first_blocks_content_as_documented),
    TEST(test_init_no_block_written),
    TEST(test_init_prefault_content_kept),
    TEST(test_init_exact_size_any_misalignment_ok),
    TEST(test_init_exact_size_many_geometries_ok),
    TEST(test_init_one_byte_short_no_memory),
    TEST(test_init_every_smaller_size_no_memory),
    TEST(test_init_larger_size_rest_left_alone),
    TEST(test_init_null_memory_invalid_argument),
    TEST(test_init_past_address_space_invalid_argument),
    TEST(test_init_static_and_stack_memory_ok),
    TEST(test_init_memory_reused_fresh_pool),
    TEST(test_required_size_metadata_no_more_than_documented),
    TEST(test_required_size_covers_blocks),
    TEST(test_create_huge_pages_falls_back),
    TEST(test_create_huge_pages_only_ok_or_no_memory),
    TEST(test_init_huge_pages_only_unsupported),
    TEST(test_init_huge_pages_no_effect),
    TEST(test_create_large_pool_blocks_untouched),
    TEST(test_create_prefault_blocks_resident),
    TEST(test_create_prefault_tables_resident),
    TEST(test_create_huge_pages_asked_for),
    TEST(test_create_name_copied),
    TEST(test_create_name_unterminated_first_31_read),
    TEST(test_destroy_many_pools_nothing_held),
    TEST(test_destroy_null_nothing),
  };
  return RUN_TESTS(tests);
}
