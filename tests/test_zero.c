/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 4

static const size_t odd_sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097, 1048576 };

TEST_OVER(over_zeroed_kinds, test_zero_first_alloc_zeroed)
{
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, 100, CAPACITY);
  take(pool, blocks, 2);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks + 2, 1), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, blocks + 3, 0), MEMPOOL_OK);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT(all_bytes(blocks[i], 100, 0));
  tear_down(&f);
}

TEST_OVER(over_zeroed_kinds, test_zero_every_size_alloc_after_free_zeroed)
{
  size_t s, a;
  for (s = 0; s < COUNT_OF(odd_sizes); s++) {
    /* A megabyte for each of the kinds would take long and tell nothing more. */
    if (odd_sizes[s] > 4097 && (kind->flags & ~(uint32_t)MEMPOOL_GUARD) != MEMPOOL_ZERO)
      continue;
    for (a = 0; a < 2; a++) {
      void *blocks[3];
      size_t i;
      fixture f;
      mempool *pool = set_up_aligned(&f, kind, odd_sizes[s], 3, a);
      take(pool, blocks, 3);
      for (i = 0; i < 3; i++)
        memset(blocks[i], 0xff, odd_sizes[s]);
      CU_ASSERT_EQUAL(mempool_free(pool, blocks[1]), MEMPOOL_OK);
      /* The neighbours are not wiped along. */
      CU_ASSERT(all_bytes(blocks[0], odd_sizes[s], 0xff));
      CU_ASSERT(all_bytes(blocks[2], odd_sizes[s], 0xff));
      CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), blocks[1]);
      CU_ASSERT(all_bytes(blocks[1], odd_sizes[s], 0));
      CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
      tear_down(&f);
    }
  }
}

TEST_OVER(over_zeroed_kinds, test_zero_free_bulk_zeroed)
{
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, 65, CAPACITY);
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    memset(blocks[i], 0xff, 65);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, CAPACITY), CAPACITY);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT(all_bytes(blocks[i], 65, 0));
  tear_down(&f);
}

/* A refused free wipes nothing: the block may be somebody's. */
TEST_OVER(over_zeroed_kinds, test_zero_refused_free_nothing_wiped)
{
  unsigned char local[64];
  void *blocks[CAPACITY], *mixed[3];
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, 65, CAPACITY);
  take(pool, blocks, CAPACITY);
  memset(local, 0xff, sizeof(local));
  memset(blocks[0], 0xff, 65);
  mixed[0] = local;
  mixed[1] = offset_by(blocks[0], 8);
  mixed[2] = pool;
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, mixed[0]), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free(pool, mixed[1]), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, mixed, 3), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT(unchanged_but(pool, &before, 5, 0));
  CU_ASSERT(all_bytes(local, sizeof(local), 0xff));
  CU_ASSERT(all_bytes(blocks[0], 65, 0xff));
  tear_down(&f);
}

/* What was in a block doesn't stay readable until the next alloc.  The caller's memory shows it after the pool's end. */
TEST_OVER(over_zeroed_kinds, test_zero_freed_block_wiped_at_free)
{
  void *block;
  unsigned char *memory;
  size_t required;
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  if (kind->created)
    return;
  options.flags = kind->flags;
  required = mempool_required_size(100, CAPACITY, &options);
  memory = malloc(required);
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  memset(memory, FILL, required);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, required, 100, CAPACITY, &options), MEMPOOL_OK);
  take(pool, &block, 1);
  memset(block, 0x77, 100);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT(all_bytes(block, 100, 0));
  free(memory);
}

typedef struct waiter {
  mempool *pool;
  void *block;
  bool zeroed;
} waiter;

static void *wait_for_block(void *arg)
{
  waiter *w = arg;
  if (mempool_alloc_wait(w->pool, &w->block, -1) == MEMPOOL_OK)
    w->zeroed = all_bytes(w->block, 100, 0);
  return NULL;
}

TEST_OVER(over_zeroed_kinds, test_zero_handed_over_block_zeroed)
{
  void *taken;
  waiter w = { NULL, NULL, false };
  pthread_t thread;
  fixture f;
  mempool *pool;
  if ((kind->flags & MEMPOOL_SINGLE_THREADED) != 0)
    return;
  pool = set_up(&f, kind, 100, 1);
  w.pool = pool;
  take(pool, &taken, 1);
  memset(taken, 0xff, 100);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_block, &w), 0);
  while (stats_of(pool).waiting != 1)
    (void)sched_yield();
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
  (void)pthread_join(thread, NULL);
  CU_ASSERT_PTR_EQUAL(w.block, taken);
  CU_ASSERT(w.zeroed);
  tear_down(&f);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_zero_first_alloc_zeroed),
    TEST(test_zero_every_size_alloc_after_free_zeroed),
    TEST(test_zero_free_bulk_zeroed),
    TEST(test_zero_refused_free_nothing_wiped),
    TEST(test_zero_freed_block_wiped_at_free),
    TEST(test_zero_handed_over_block_zeroed),
  };
  return RUN_TESTS(tests);
}
