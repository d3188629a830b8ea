/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 5
#define CANARY 8

static const size_t odd_sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097 };

/* Overruns a block by one byte, which lies so far behind its end. */
static void damage(void *block, size_t block_size, size_t behind)
{
  ((unsigned char *)block)[block_size + behind] ^= 0x40;
}

/* Frees a damaged block, and expects that it is free all the same. */
static void expect_freed_as_corrupted(mempool *pool, void *block)
{
  mempool_stats before = stats_of(pool), after;
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_CORRUPTED);
  after = stats_of(pool);
  CU_ASSERT_EQUAL(after.used, before.used - 1);
  CU_ASSERT_EQUAL(after.available, before.available + 1);
  CU_ASSERT_EQUAL(after.refused_frees, before.refused_frees);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
}

TEST_OVER(over_guarded_kinds, test_guard_undamaged_ok)
{
  size_t s, a, i;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    for (a = 0; a < 2; a++) {
      void *blocks[CAPACITY];
      fixture f;
      mempool *pool = set_up_aligned(&f, kind, odd_sizes[s], CAPACITY, a);
      take(pool, blocks, CAPACITY);
      for (i = 0; i < CAPACITY; i++)
        memset(blocks[i], 0xff, odd_sizes[s]);
      CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      for (i = 0; i < CAPACITY; i++)
        CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
      CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      tear_down(&f);
    }
  }
}

TEST_OVER(over_guarded_kinds, test_guard_each_canary_byte_corrupted)
{
  size_t s, a, behind;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    for (a = 0; a < 2; a++) {
      void *blocks[CAPACITY];
      fixture f;
      mempool *pool = set_up_aligned(&f, kind, odd_sizes[s], CAPACITY, a);
      take(pool, blocks, CAPACITY);
      for (behind = 0; behind < CANARY; behind++) {
        void *block = blocks[behind % CAPACITY];
        damage(block, odd_sizes[s], behind);
        CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
        damage(block, odd_sizes[s], behind);
        CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
        damage(block, odd_sizes[s], behind);
        expect_freed_as_corrupted(pool, block);
        CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
        /* The canary is whole again: the next owner isn't blamed. */
        CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
        CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      }
      CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
      tear_down(&f);
    }
  }
}

TEST_OVER(over_guarded_kinds, test_guard_corrupted_free_counted_as_free)
{
  void *block;
  fixture f;
  mempool *pool = set_up(&f, kind, 20, CAPACITY);
  take(pool, &block, 1);
  damage(block, 20, 3);
  expect_freed_as_corrupted(pool, block);
  CU_ASSERT_EQUAL(stats_of(pool).free_count, (kind->flags & MEMPOOL_COUNTERS) != 0 ? 1 : 0);
  tear_down(&f);
}

/* An overrun of a block's full length and more hits the neighbour, but neither the pool nor the neighbour's place. */
TEST_OVER(over_guarded_kinds, test_guard_overrun_into_neighbour_pool_sound)
{
  void *blocks[CAPACITY];
  size_t stride, corrupted = 0, i;
  fixture f;
  mempool *pool = set_up(&f, kind, 24, CAPACITY);
  take(pool, blocks, CAPACITY);
  stride = (size_t)((uintptr_t)mempool_block_at(pool, 1) - (uintptr_t)mempool_block_at(pool, 0));
  memset(mempool_block_at(pool, 1), 0xEE, stride + 24);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  for (i = 0; i < CAPACITY; i++)
    corrupted += mempool_free(pool, blocks[i]) == MEMPOOL_E_CORRUPTED;
  CU_ASSERT_EQUAL(corrupted, 1);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  take(pool, blocks, CAPACITY);
  tear_down(&f);
}

TEST_OVER(over_guarded_kinds, test_guard_free_bulk_corrupted_all_freed)
{
  void *blocks[CAPACITY];
  fixture f;
  mempool *pool = set_up(&f, kind, 20, CAPACITY);
  take(pool, blocks, CAPACITY);
  damage(blocks[1], 20, 0);
  damage(blocks[3], 20, 7);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_guarded_kinds, test_guard_free_bulk_first_error_told)
{
  void *blocks[CAPACITY], *mixed[3];
  fixture f;
  mempool *pool = set_up(&f, kind, 20, CAPACITY);
  take(pool, blocks, CAPACITY);
  damage(blocks[1], 20, 0);
  mixed[0] = blocks[0];
  mixed[1] = blocks[1];
  mixed[2] = &mixed;
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, mixed, 3), MEMPOOL_E_CORRUPTED);
  damage(blocks[2], 20, 0);
  mixed[1] = &mixed;
  mixed[2] = blocks[2];
  mixed[0] = blocks[3];
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, mixed, 3), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(stats_of(pool).used, CAPACITY - 4);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 2);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_guarded_kinds, test_guard_canary_address_foreign_block)
{
  void *blocks[CAPACITY];
  snapshot before;
  size_t behind;
  fixture f;
  mempool *pool = set_up(&f, kind, 24, CAPACITY);
  take(pool, blocks, CAPACITY);
  before = snapshot_of(pool);
  for (behind = 0; behind < CANARY; behind++)
    CU_ASSERT_EQUAL(mempool_free(pool, offset_by(blocks[0], (ptrdiff_t)(24 + behind))), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT(unchanged_but(pool, &before, CANARY, 0));
  tear_down(&f);
}

/* The canary of a block that is free belongs to the pool all the same. */
TEST_OVER(over_guarded_kinds, test_guard_free_block_damaged_check_corrupted)
{
  void *blocks[2];
  fixture f;
  mempool *pool = set_up(&f, kind, 20, CAPACITY);
  take(pool, blocks, 2);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  damage(blocks[0], 20, 5);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  damage(blocks[0], 20, 5);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* A refused free neither looks at the canary nor mends it. */
TEST_OVER(over_guarded_kinds, test_guard_refused_free_nothing_mended)
{
  void *blocks[2];
  fixture f;
  mempool *pool = set_up(&f, kind, 20, CAPACITY);
  take(pool, blocks, 2);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  damage(blocks[0], 20, 5);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 1);
  tear_down(&f);
}

typedef struct waiter {
  mempool *pool;
  void *block;
} waiter;

static void *wait_for_block(void *arg)
{
  waiter *w = arg;
  (void)mempool_alloc_wait(w->pool, &w->block, -1);
  return NULL;
}

TEST_OVER(over_guarded_kinds, test_guard_corrupted_block_handed_over_whole)
{
  void *taken;
  waiter w = { NULL, NULL };
  pthread_t thread;
  fixture f;
  mempool *pool;
  if ((kind->flags & MEMPOOL_SINGLE_THREADED) != 0)
    return;
  pool = set_up(&f, kind, 100, 1);
  w.pool = pool;
  take(pool, &taken, 1);
  damage(taken, 100, 4);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_block, &w), 0);
  while (stats_of(pool).waiting != 1)
    (void)sched_yield();
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_E_CORRUPTED);
  (void)pthread_join(thread, NULL);
  CU_ASSERT_PTR_EQUAL(w.block, taken);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
  tear_down(&f);
}

/* Without the flag nothing lies behind a block, and nobody looks there. */
static void test_guard_not_asked_for_no_canary(void)
{
  const pool_kind kind = { 0, true };
  void *blocks[CAPACITY];
  fixture f;
  mempool *pool = set_up_aligned(&f, &kind, 20, CAPACITY, 64);
  take(pool, blocks, CAPACITY);
  memset(blocks[0], 0xEE, 64);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  tear_down(&f);
}

/* In memory that the child shares, because tools put an exit status of their own in the place of a child's. */
static volatile sig_atomic_t *faulted;

static void note_fault(int number)
{
  (void)number;
  *faulted = 1;
  _exit(0);
}

/* Whether a child faults that reads or writes each byte from first on, size of them, up or down. */
static bool faults(unsigned char *first, size_t size, int direction, bool writing)
{
  pid_t child;
  *faulted = 0;
  child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    volatile unsigned char *byte = first;
    unsigned seen = 0; /* a read whose result nobody wants is not done under every tool */
    size_t i;
    (void)signal(SIGSEGV, note_fault);
    (void)signal(SIGBUS, note_fault);
    for (i = 0; i < size; i++) {
      if (writing)
        *byte = 1;
      else
        seen ^= *byte;
      byte = direction < 0 ? byte - 1 : byte + 1;
    }
    _exit((int)seen);
  }
  CU_ASSERT_EQUAL_FATAL(waitpid(child, NULL, 0), child);
  return *faulted != 0;
}

/* Blocks and pages need not end together: up to a page may lie between, and no more. */
TEST_OVER(over_guarded_kinds, test_guard_outside_area_faults)
{
  static const size_t sizes[] = { 1, 100, 4096 };
  size_t page = (size_t)sysconf(_SC_PAGESIZE), s;
  unsigned writing;
  /* Shared pools have no such pages.  A process for each of the other kinds would take long under the tools. */
  const uint32_t others = MEMPOOL_SHARED | MEMPOOL_STRICT | MEMPOOL_COUNTERS | MEMPOOL_NO_CACHE | MEMPOOL_ZERO;
  if (!kind->created || (kind->flags & others) != 0)
    return;
  faulted = mmap(NULL, sizeof(*faulted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_FATAL((void *)(uintptr_t)faulted != MAP_FAILED);
  for (s = 0; s < COUNT_OF(sizes); s++) {
    fixture f;
    mempool *pool = set_up(&f, kind, sizes[s], CAPACITY);
    unsigned char *first = mempool_block_at(pool, 0), *last = mempool_block_at(pool, CAPACITY - 1);
    for (writing = 0; writing < 2; writing++) {
      CU_ASSERT(faults(first - 1, page, -1, writing != 0));
      CU_ASSERT(faults(last + sizes[s], CANARY + page, 1, writing != 0));
      CU_ASSERT_FALSE(faults(first, (size_t)(last - first) + sizes[s], 1, writing != 0));
    }
    tear_down(&f);
  }
  (void)munmap((void *)(uintptr_t)faulted, sizeof(*faulted));
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_guard_outside_area_faults),
    TEST(test_guard_undamaged_ok),
    TEST(test_guard_each_canary_byte_corrupted),
    TEST(test_guard_corrupted_free_counted_as_free),
    TEST(test_guard_overrun_into_neighbour_pool_sound),
    TEST(test_guard_free_bulk_corrupted_all_freed),
    TEST(test_guard_free_bulk_first_error_told),
    TEST(test_guard_canary_address_foreign_block),
    TEST(test_guard_free_block_damaged_check_corrupted),
    TEST(test_guard_refused_free_nothing_mended),
    TEST(test_guard_corrupted_block_handed_over_whole),
    TEST(test_guard_not_asked_for_no_canary),
  };
  return RUN_TESTS(tests);
}
