/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#define CAPACITY 6
#define BLOCK_SIZE 48

static const size_t odd_sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097, 1048576 };

static unsigned char global_memory[64];

static void fill(void *block, size_t size, uint32_t tag)
{
  unsigned char *bytes = block;
  size_t i;
  for (i = 0; i < size; i++)
    bytes[i] = (unsigned char)(tag * 31u + i * 7u);
}

static bool filled(const void *block, size_t size, uint32_t tag)
{
  const unsigned char *bytes = block;
  size_t i;
  for (i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char)(tag * 31u + i * 7u))
      return false;
  }
  return true;
}

/* Frees what has to be refused, with blocks out, and expects that nothing else happens. */
static void expect_refused(mempool *pool, void *block, mempool_status expected)
{
  snapshot before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, block), expected);
  CU_ASSERT(unchanged_but(pool, &before, 1, 0));
}

TEST_OVER(over_kinds, test_alloc_new_pool_block)
{
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  void *block = mempool_alloc(pool);
  CU_ASSERT_PTR_NOT_NULL_FATAL(block);
  CU_ASSERT(mempool_contains(pool, block));
  fill(block, BLOCK_SIZE, 1);
  CU_ASSERT(filled(block, BLOCK_SIZE, 1));
  CU_ASSERT_EQUAL(stats_of(pool).used, 1);
  CU_ASSERT_EQUAL(stats_of(pool).available, CAPACITY - 1);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_all_blocks_disjoint)
{
  void *blocks[CAPACITY];
  uint32_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    fill(blocks[i], BLOCK_SIZE, i);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  for (i = 0; i < CAPACITY; i++) {
    CU_ASSERT(filled(blocks[i], BLOCK_SIZE, i));
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  }
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_exhausted_null)
{
  void *blocks[CAPACITY];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  before = snapshot_of(pool);
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT(unchanged_but(pool, &before, 0, 2));
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[2]), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[2]);
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 3);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_capacity_one_exhausted)
{
  fixture f;
  mempool *pool = set_up(&f, kind, 1, 1);
  int round;
  for (round = 0; round < 3; round++) {
    void *block = mempool_alloc(pool);
    CU_ASSERT_PTR_NOT_NULL(block);
    CU_ASSERT_PTR_EQUAL(block, mempool_block_at(pool, 0));
    CU_ASSERT_PTR_NULL(mempool_alloc(pool));
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  }
  tear_down(&f);
}

static void test_alloc_null_pool_null(void)
{
  CU_ASSERT_PTR_NULL(mempool_alloc(NULL));
}

TEST_OVER(over_kinds, test_alloc_after_frees_lifo)
{
  static const int order[CAPACITY] = { 3, 0, 5, 1, 4, 2 };
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[order[i]]), MEMPOOL_OK);
  for (i = CAPACITY; i-- > CAPACITY - order_kept(kind, CAPACITY);)
    CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[order[i]]);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, CAPACITY), CAPACITY - order_kept(kind, CAPACITY));
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_freed_before_fresh)
{
  void *blocks[3];
  void *again;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 3);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[0]);
  again = mempool_alloc(pool);
  CU_ASSERT_PTR_NOT_NULL(again);
  CU_ASSERT(again != blocks[0] && again != blocks[1] && again != blocks[2]);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_peak_used_kept)
{
  void *blocks[4];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 4);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[1]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, 4);
  take(pool, blocks, 2);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, 4);
  take(pool, blocks, 1);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, 5);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_counters_exact)
{
  bool counted = (kind->flags & MEMPOOL_COUNTERS) != 0;
  void *blocks[CAPACITY];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[1]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, counted ? CAPACITY : 0);
  CU_ASSERT_EQUAL(stats_of(pool).free_count, counted ? 2 : 0);
  tear_down(&f);
}

/* Blocks of every odd size, packed without padding and with the default's: all of each is the caller's. */
TEST_OVER(over_kinds, test_alloc_odd_sizes_whole_block_usable)
{
  size_t s, a;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    size_t size = odd_sizes[s];
    /* Writing a few MiB for each of the kinds would take long and tell nothing more. */
    if (size > 4097 && (kind->flags & (MEMPOOL_STRICT | MEMPOOL_COUNTERS | MEMPOOL_NO_CACHE)) != 0)
      continue;
    for (a = 0; a < 2; a++) {
      void *blocks[3];
      uint32_t i;
      fixture f;
      mempool *pool = set_up_aligned(&f, kind, size, 3, a);
      take(pool, blocks, 3);
      for (i = 0; i < 3; i++)
        memset(blocks[i], (int)(i + 1), size);
      for (i = 0; i < 3; i++)
        CU_ASSERT(all_bytes(blocks[i], size, (unsigned char)(i + 1)));
      CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      for (i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
      CU_ASSERT_EQUAL(stats_of(pool).used, 0);
      tear_down(&f);
    }
  }
}

static void test_free_null_pool_invalid_argument(void)
{
  CU_ASSERT_EQUAL(mempool_free(NULL, global_memory), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_free(NULL, NULL), MEMPOOL_E_INVALID_ARGUMENT);
}

TEST_OVER(over_kinds, test_free_null_block_ok)
{
  void *blocks[2];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 2);
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_interior_pointer_foreign_block)
{
  static const ptrdiff_t offsets[] = { 1, 2, 4, 8, 16, 32, BLOCK_SIZE - 1 };
  void *blocks[CAPACITY];
  size_t i, j;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    for (j = 0; j < COUNT_OF(offsets); j++)
      expect_refused(pool, offset_by(blocks[i], offsets[j]), MEMPOOL_E_FOREIGN_BLOCK);
  }
  tear_down(&f);
}

/* An address inside of a free block is foreign too, not a double free. */
TEST_OVER(over_kinds, test_free_interior_of_free_block_foreign_block)
{
  void *blocks[2];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 2);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  expect_refused(pool, offset_by(blocks[0], 8), MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, offset_by(mempool_block_at(pool, CAPACITY - 1), 16), MEMPOOL_E_FOREIGN_BLOCK);
  tear_down(&f);
}

/* Every byte of the block area, and a good way around it: only the starts are blocks. */
TEST_OVER(over_kinds, test_free_every_address_but_starts_foreign_block)
{
  void *blocks[CAPACITY];
  uintptr_t first, last, address;
  snapshot before;
  uint64_t refused = 0;
  fixture f;
  mempool *pool = set_up(&f, kind, 17, CAPACITY);
  take(pool, blocks, CAPACITY);
  first = (uintptr_t)mempool_block_at(pool, 0);
  last = (uintptr_t)mempool_block_at(pool, CAPACITY - 1);
  before = snapshot_of(pool);
  for (address = first - 100; address <= last + 100; address++) {
    uint32_t i;
    bool start = false;
    for (i = 0; i < CAPACITY; i++)
      start = start || address == (uintptr_t)mempool_block_at(pool, i);
    if (!start) {
      CU_ASSERT_EQUAL(mempool_free(pool, (void *)address), MEMPOOL_E_FOREIGN_BLOCK);
      refused++;
    }
  }
  CU_ASSERT(unchanged_but(pool, &before, refused, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_outside_area_foreign_block)
{
  void *blocks[CAPACITY];
  void *first, *last;
  ptrdiff_t stride, far_away;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  first = mempool_block_at(pool, 0);
  last = mempool_block_at(pool, CAPACITY - 1);
  stride = (ptrdiff_t)((uintptr_t)mempool_block_at(pool, 1) - (uintptr_t)first);
  expect_refused(pool, offset_by(first, -1), MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, offset_by(last, stride - 1), MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, offset_by(last, stride + 1), MEMPOOL_E_FOREIGN_BLOCK);
  /* Multiples of the stride divide evenly, so that only the bounds can refuse them. */
  for (far_away = 1; far_away < 1000000; far_away *= 7) {
    expect_refused(pool, offset_by(first, -far_away * stride), MEMPOOL_E_FOREIGN_BLOCK);
    expect_refused(pool, offset_by(last, far_away * stride), MEMPOOL_E_FOREIGN_BLOCK);
  }
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_ends_of_address_space_foreign_block)
{
  void *blocks[2];
  uintptr_t distance;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 2);
  for (distance = 1; distance <= 4096; distance *= 2) {
    expect_refused(pool, (void *)distance, MEMPOOL_E_FOREIGN_BLOCK);
    expect_refused(pool, (void *)(UINTPTR_MAX - distance + 1), MEMPOOL_E_FOREIGN_BLOCK);
    expect_refused(pool, (void *)(UINTPTR_MAX / 2 + distance), MEMPOOL_E_FOREIGN_BLOCK);
  }
  tear_down(&f);
}

/* Far addresses which differ from a block by powers of two, where a truncated offset would wrap round to a block. */
TEST_OVER(over_kinds, test_free_block_plus_power_of_two_foreign_block)
{
  void *block;
  unsigned bit;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &block, 1);
  for (bit = 10; bit < sizeof(uintptr_t) * 8; bit++) {
    uintptr_t above = (uintptr_t)block + ((uintptr_t)1 << bit), below = (uintptr_t)block - ((uintptr_t)1 << bit);
    expect_refused(pool, (void *)above, MEMPOOL_E_FOREIGN_BLOCK);
    expect_refused(pool, (void *)below, MEMPOOL_E_FOREIGN_BLOCK);
  }
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_other_pools_block_foreign_block)
{
  void *block, *others;
  snapshot before;
  fixture f, g;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  mempool *other = set_up(&g, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &block, 1);
  take(other, &others, 1);
  before = snapshot_of(other);
  expect_refused(pool, others, MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT(unchanged_but(other, &before, 0, 0));
  expect_refused(other, block, MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(other, others), MEMPOOL_OK);
  tear_down(&f);
  tear_down(&g);
}

TEST_OVER(over_kinds, test_free_stack_global_heap_foreign_block)
{
  void *block, *heap = malloc(BLOCK_SIZE);
  unsigned char stack_memory[BLOCK_SIZE];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &block, 1);
  memset(stack_memory, 0x55, sizeof(stack_memory));
  memset(global_memory, 0x66, sizeof(global_memory));
  expect_refused(pool, stack_memory, MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, global_memory, MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, heap, MEMPOOL_E_FOREIGN_BLOCK);
  expect_refused(pool, pool, MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT(all_bytes(stack_memory, sizeof(stack_memory), 0x55));
  CU_ASSERT(all_bytes(global_memory, sizeof(global_memory), 0x66));
  free(heap);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_twice_at_once_double_free)
{
  void *blocks[3];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, 3);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[1]), MEMPOOL_OK);
  expect_refused(pool, blocks[1], MEMPOOL_E_DOUBLE_FREE);
  expect_refused(pool, blocks[1], MEMPOOL_E_DOUBLE_FREE);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_twice_after_others_double_free)
{
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  for (i = 0; i < CAPACITY; i++)
    expect_refused(pool, blocks[i], MEMPOOL_E_DOUBLE_FREE);
  for (i = CAPACITY; i-- > CAPACITY - order_kept(kind, CAPACITY);)
    CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[i]);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_free_never_handed_out_double_free)
{
  void *block;
  uint32_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    expect_refused(pool, mempool_block_at(pool, i), MEMPOOL_E_DOUBLE_FREE);
  take(pool, &block, 1);
  for (i = 0; i < CAPACITY; i++) {
    if (mempool_block_at(pool, i) != block)
      expect_refused(pool, mempool_block_at(pool, i), MEMPOOL_E_DOUBLE_FREE);
  }
  tear_down(&f);
}

/* A free by the owner before is indistinguishable from one by the owner now. */
TEST_OVER(over_kinds, test_free_reallocated_block_ok)
{
  void *block;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &block, 1);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  expect_refused(pool, block, MEMPOOL_E_DOUBLE_FREE);
  tear_down(&f);
}

/* Strides that aren't powers of two, near and far indices: the way from address to index is exact for all. */
static void test_free_many_geometries_exact(void)
{
  static const size_t capacities[] = { 1, 2, 3, 5, 64, 1000, 4097 };
  const pool_kind kind = { MEMPOOL_SINGLE_THREADED, true };
  size_t s, c;
  for (s = 0; s + 1 < COUNT_OF(odd_sizes); s++) {
    for (c = 0; c < COUNT_OF(capacities); c++) {
      size_t capacity = capacities[c], i;
      size_t step = capacity > 64 ? 7 : 1;
      fixture f;
      mempool *pool = set_up_aligned(&f, &kind, odd_sizes[s], capacity, 1);
      for (i = 0; i < capacity; i++)
        (void)mempool_alloc(pool);
      CU_ASSERT_EQUAL(stats_of(pool).used, capacity);
      for (i = 0; i < capacity; i += step) {
        void *block = mempool_block_at(pool, (uint32_t)i);
        if (odd_sizes[s] > 1) {
          CU_ASSERT_EQUAL(mempool_free(pool, offset_by(block, 1)), MEMPOOL_E_FOREIGN_BLOCK);
          CU_ASSERT_EQUAL(mempool_free(pool, offset_by(block, -1)), MEMPOOL_E_FOREIGN_BLOCK);
        }
        CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
        CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
        CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
      }
      CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      tear_down(&f);
    }
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__linux__) && !defined(SANITIZED)

/* Takes and frees blocks at varying depth, in bulk too.  Never all that there are: who must search may ask the system. */
static bool use_quietly(mempool *pool, size_t rounds)
{
  void *blocks[24];
  size_t i, k;
  for (i = 0; i < rounds; i++) {
    size_t count = 1 + i % COUNT_OF(blocks);
    for (k = 0; k < count; k++) {
      if ((blocks[k] = mempool_alloc(pool)) == NULL)
        return false;
    }
    for (k = 0; k < count; k++) {
      if (mempool_free(pool, blocks[k]) != MEMPOOL_OK)
        return false;
    }
    if (mempool_free(pool, blocks[0]) != MEMPOOL_E_DOUBLE_FREE ||
        mempool_free(pool, &pool) != MEMPOOL_E_FOREIGN_BLOCK ||
        mempool_alloc_bulk(pool, blocks, count) != MEMPOOL_OK || mempool_free_bulk(pool, blocks, count) != MEMPOOL_OK)
      return false;
  }
  return true;
}

/* The kernel kills the child at its first system call but read, write and exit. */
TEST_OVER(over_kinds, test_alloc_and_free_without_want_no_system_call)
{
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, 256);
  int status = 0;
  pid_t child;
  if (getenv("TEST_SLOW_TOOL") != NULL) {
    skip_test("Valgrind makes system calls of its own");
    tear_down(&f);
    return;
  }
  child = fork();
  if (child == 0) {
    bool good = use_quietly(pool, 100);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
      _exit(77);
    good = use_quietly(pool, 1000) && good;
    (void)syscall(SYS_exit, good ? 0 : 1);
  }
  CU_ASSERT_FATAL(child > 0);
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    skip_test("the system doesn't let a process give system calls up");
  else
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  tear_down(&f);
}

#else

static void test_alloc_and_free_without_want_no_system_call(void)
{
  skip_test("sanitizers make system calls of their own, and elsewhere than on Linux nothing tells of them");
}

#endif

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_new_pool_block),
    TEST(test_alloc_all_blocks_disjoint),
    TEST(test_alloc_exhausted_null),
    TEST(test_alloc_capacity_one_exhausted),
    TEST(test_alloc_null_pool_null),
    TEST(test_alloc_after_frees_lifo),
    TEST(test_alloc_freed_before_fresh),
    TEST(test_alloc_peak_used_kept),
    TEST(test_alloc_counters_exact),
    TEST(test_alloc_odd_sizes_whole_block_usable),
    TEST(test_free_null_pool_invalid_argument),
    TEST(test_free_null_block_ok),
    TEST(test_free_interior_pointer_foreign_block),
    TEST(test_free_interior_of_free_block_foreign_block),
    TEST(test_free_every_address_but_starts_foreign_block),
    TEST(test_free_outside_area_foreign_block),
    TEST(test_free_ends_of_address_space_foreign_block),
    TEST(test_free_block_plus_power_of_two_foreign_block),
    TEST(test_free_other_pools_block_foreign_block),
    TEST(test_free_stack_global_heap_foreign_block),
    TEST(test_free_twice_at_once_double_free),
    TEST(test_free_twice_after_others_double_free),
    TEST(test_free_never_handed_out_double_free),
    TEST(test_free_reallocated_block_ok),
    TEST(test_free_many_geometries_exact),
    TEST(test_alloc_and_free_without_want_no_system_call),
  };
  return RUN_TESTS(tests);
}
