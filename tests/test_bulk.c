/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY 8
#define BLOCK_SIZE 40

/* What an array of results holds where nothing may be stored. */
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static void spoil(void **blocks, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++)
    blocks[i] = UNTOUCHED;
}

static bool untouched(void *const *blocks, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++) {
    if (blocks[i] != UNTOUCHED)
      return false;
  }
  return true;
}

/* Whether the blocks are different ones of the pool, each at its start. */
static bool distinct_blocks(const mempool *pool, void *const *blocks, size_t count)
{
  bool seen[CAPACITY] = { false };
  size_t i;
  for (i = 0; i < count; i++) {
    uint32_t index = 0;
    if (mempool_block_index(pool, blocks[i], &index) != MEMPOOL_OK || seen[index])
      return false;
    seen[index] = true;
  }
  return true;
}

TEST_OVER(over_kinds, test_alloc_bulk_enough_all_taken)
{
  void *blocks[CAPACITY + 1];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  spoil(blocks, CAPACITY + 1);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, 5), MEMPOOL_OK);
  CU_ASSERT(distinct_blocks(pool, blocks, 5));
  CU_ASSERT(untouched(blocks + 5, CAPACITY + 1 - 5));
  CU_ASSERT_EQUAL(stats_of(pool).used, 5);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks + 5, 3), MEMPOOL_OK);
  CU_ASSERT(distinct_blocks(pool, blocks, CAPACITY));
  CU_ASSERT(untouched(blocks + CAPACITY, 1));
  CU_ASSERT_EQUAL(stats_of(pool).available, 0);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, CAPACITY);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_bulk_too_few_none_taken)
{
  void *blocks[CAPACITY + 1];
  void *taken[3];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  spoil(blocks, CAPACITY + 1);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, CAPACITY + 1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT(unchanged_but(pool, &before, 0, 1));
  take(pool, taken, 3);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, CAPACITY - 2), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT(unchanged_but(pool, &before, 0, 1));
  CU_ASSERT(untouched(blocks, CAPACITY + 1));
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, CAPACITY - 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, 1), MEMPOOL_E_EXHAUSTED);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_bulk_huge_count_exhausted)
{
  static const size_t counts[] = { SIZE_MAX, SIZE_MAX / sizeof(void *) + 1, SIZE_MAX / 2, (size_t)UINT32_MAX,
                                   SIZE_MAX - CAPACITY, SIZE_MAX - CAPACITY + 1 };
  void *block = UNTOUCHED;
  snapshot before;
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  before = snapshot_of(pool);
  for (i = 0; i < COUNT_OF(counts); i++)
    CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, counts[i]), MEMPOOL_E_EXHAUSTED);
#if SIZE_MAX > UINT32_MAX
  /* Cut to 32 bits these are 0 and 1. */
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, (size_t)UINT32_MAX + 1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, (size_t)UINT32_MAX + 2), MEMPOOL_E_EXHAUSTED);
  i += 2;
#endif
  CU_ASSERT(unchanged_but(pool, &before, 0, i));
  CU_ASSERT_PTR_EQUAL(block, UNTOUCHED);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_bulk_zero_count_nothing)
{
  void *block = UNTOUCHED;
  void *taken[CAPACITY];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, 0), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, NULL, 0), MEMPOOL_OK);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  take(pool, taken, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, 0), MEMPOOL_OK);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  CU_ASSERT_PTR_EQUAL(block, UNTOUCHED);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_bulk_null_invalid_argument)
{
  void *block = UNTOUCHED;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, NULL, 1), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, NULL, CAPACITY + 1), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(NULL, &block, 1), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(NULL, NULL, 0), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  CU_ASSERT_PTR_EQUAL(block, UNTOUCHED);
  tear_down(&f);
}

/* The blocks freed last are the ones that are taken, whatever their order in the array. */
TEST_OVER(over_kinds, test_alloc_bulk_after_frees_freed_last)
{
  void *blocks[CAPACITY], *again[3];
  size_t i, found = 0;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, again, 3), MEMPOOL_OK);
  CU_ASSERT(distinct_blocks(pool, again, 3));
  for (i = 0; i < 3; i++)
    found += again[i] == blocks[5] || again[i] == blocks[6] || again[i] == blocks[7];
  CU_ASSERT(found >= order_kept(kind, 3));
  if (order_kept(kind, 4) == 4)
    CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[4]);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_burst_too_few_rest_taken)
{
  void *blocks[CAPACITY + 3];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  spoil(blocks, CAPACITY + 3);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, 3), 3);
  CU_ASSERT(untouched(blocks + 3, CAPACITY));
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks + 3, CAPACITY), CAPACITY - 3);
  CU_ASSERT(distinct_blocks(pool, blocks, CAPACITY));
  CU_ASSERT(untouched(blocks + CAPACITY, 3));
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 0);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks + CAPACITY, 3), 0);
  CU_ASSERT(untouched(blocks + CAPACITY, 3));
  CU_ASSERT(unchanged_but(pool, &before, 0, 1));
  tear_down(&f);
}

/* The count is what the caller would take at most, not the length of an array that must be there. */
TEST_OVER(over_kinds, test_alloc_burst_huge_count_all_taken)
{
  void *blocks[CAPACITY];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, SIZE_MAX), CAPACITY);
  CU_ASSERT(distinct_blocks(pool, blocks, CAPACITY));
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
#if SIZE_MAX > UINT32_MAX
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, (size_t)UINT32_MAX + 1), CAPACITY);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, (size_t)UINT32_MAX + 2), 0);
#endif
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_burst_zero_or_null_nothing)
{
  void *block = UNTOUCHED;
  void *taken[CAPACITY];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, &block, 0), 0);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, NULL, 0), 0);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, NULL, 3), 0);
  CU_ASSERT_EQUAL(mempool_alloc_burst(NULL, &block, 1), 0);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  take(pool, taken, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, &block, 0), 0);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  CU_ASSERT_PTR_EQUAL(block, UNTOUCHED);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_many_counters_count_blocks)
{
  uint64_t expected = (kind->flags & MEMPOOL_COUNTERS) != 0;
  void *blocks[CAPACITY];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks + 3, CAPACITY), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks + 3, CAPACITY), CAPACITY - 3);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, CAPACITY * expected);
  blocks[2] = blocks[1];
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 5), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(stats_of(pool).free_count, 4 * expected);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, CAPACITY * expected);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_bulk_valid_all_freed)
{
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, CAPACITY);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  for (i = CAPACITY; i-- > CAPACITY - order_kept(kind, CAPACITY);)
    CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[i]);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_bulk_bad_among_valid_each_judged)
{
  unsigned char local[BLOCK_SIZE];
  void *blocks[CAPACITY], *mixed[9];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  mixed[0] = NULL;
  mixed[1] = blocks[1];
  mixed[2] = local;
  mixed[3] = offset_by(blocks[3], 8);
  mixed[4] = blocks[2];
  mixed[5] = blocks[1];
  mixed[6] = blocks[0];
  mixed[7] = NULL;
  mixed[8] = blocks[4];
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, mixed, 9), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(stats_of(pool).used, CAPACITY - 4);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 4);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[1]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[2]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[4]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[3]), MEMPOOL_OK);
  /* The first error met is told, whichever of the two comes first. */
  mixed[1] = blocks[0];
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, mixed, 3), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT(unchanged_but(pool, &before, 2, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_bulk_same_block_twice_double_free)
{
  void *blocks[3];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 3);
  blocks[1] = blocks[2] = blocks[0];
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 3), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(stats_of(pool).used, 2);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 2);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_bulk_nothing_ok)
{
  void *const nulls[3] = { NULL, NULL, NULL };
  void *taken[2];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, 2);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, nulls, 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, taken, 0), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, NULL, 0), MEMPOOL_OK);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_bulk_null_invalid_argument)
{
  void *taken[2];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, 2);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, NULL, 1), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, NULL, SIZE_MAX), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_free_bulk(NULL, taken, 2), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_free_bulk(NULL, NULL, 0), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

/* More than any batch that the library may cut the work into. */
TEST_OVER(over_kinds, test_bulk_thousands_all_come_back)
{
  size_t count = 3001, i, round;
  void **blocks = malloc(count * sizeof(*blocks));
  fixture f;
  mempool *pool = set_up(&f, kind, 16, count);
  CU_ASSERT_PTR_NOT_NULL_FATAL(blocks);
  for (round = 0; round < 2; round++) {
    CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, count), MEMPOOL_OK);
    for (i = 0; i < count; i++)
      memset(blocks[i], 1, 16);
    CU_ASSERT_EQUAL(stats_of(pool).available, 0);
    blocks[1500] = NULL;
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, count), MEMPOOL_OK);
    CU_ASSERT_EQUAL(stats_of(pool).used, 1);
    CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, count), count - 1);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, count - 1), MEMPOOL_OK);
    for (i = 0; i < count; i++)
      (void)mempool_free(pool, mempool_block_at(pool, (uint32_t)i));
    CU_ASSERT_EQUAL(stats_of(pool).used, 0);
    CU_ASSERT_EQUAL(stats_of(pool).refused_frees, (count - 1) * (round + 1));
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  free(blocks);
  tear_down(&f);
}

/* With a cache of the caller's open, which is looked into first. */
static void test_alloc_bulk_one_exhausted_array_untouched(void)
{
  static void *held[64];
  int stranger;
  void *block = &stranger;
  mempool *pool;
  size_t i;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 64, 64, NULL), MEMPOOL_OK);
  for (i = 0; i < 64; i++)
    held[i] = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, held[63]), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), held[63]);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &block, 1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_PTR_EQUAL(block, &stranger);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, &block, 1), 0);
  CU_ASSERT_PTR_EQUAL(block, &stranger);
  mempool_destroy(pool);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_bulk_one_exhausted_array_untouched),
    TEST(test_alloc_bulk_enough_all_taken),
    TEST(test_alloc_bulk_too_few_none_taken),
    TEST(test_alloc_bulk_huge_count_exhausted),
    TEST(test_alloc_bulk_zero_count_nothing),
    TEST(test_alloc_bulk_null_invalid_argument),
    TEST(test_alloc_bulk_after_frees_freed_last),
    TEST(test_alloc_burst_too_few_rest_taken),
    TEST(test_alloc_burst_huge_count_all_taken),
    TEST(test_alloc_burst_zero_or_null_nothing),
    TEST(test_alloc_many_counters_count_blocks),
    TEST(test_free_bulk_valid_all_freed),
    TEST(test_free_bulk_bad_among_valid_each_judged),
    TEST(test_free_bulk_same_block_twice_double_free),
    TEST(test_free_bulk_nothing_ok),
    TEST(test_free_bulk_null_invalid_argument),
    TEST(test_bulk_thousands_all_come_back),
  };
  return RUN_TESTS(tests);
}
