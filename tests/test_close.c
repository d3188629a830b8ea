/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define CAPACITY 4
#define BLOCK_SIZE 32

/* What every call that asks for a block does, whether there is one or not. */
static void expect_closed(mempool *pool)
{
  static const int64_t timeouts[] = { 0, 1, 1000000, INT64_MAX, -1, INT64_MIN };
  void *blocks[2] = { pool, pool };
  size_t i;
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, 2), MEMPOOL_E_CLOSED);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, 2), 0);
  CU_ASSERT(blocks[0] == pool && blocks[1] == pool);
  for (i = 0; i < COUNT_OF(timeouts); i++) {
    blocks[0] = pool;
    CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &blocks[0], timeouts[i]), MEMPOOL_E_CLOSED);
    CU_ASSERT_PTR_NULL(blocks[0]);
  }
}

static void test_close_null_nothing(void)
{
  mempool_close(NULL);
}

TEST_OVER(over_kinds, test_close_blocks_available_none_given)
{
  void *taken;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &taken, 1);
  before = snapshot_of(pool);
  mempool_close(pool);
  expect_closed(pool);
  /* It wasn't for want of a block. */
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_close_exhausted_closed)
{
  void *taken[CAPACITY];
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  mempool_close(pool);
  expect_closed(pool);
  CU_ASSERT_EQUAL(stats_of(pool).used, CAPACITY);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_close_again_nothing)
{
  void *taken;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &taken, 1);
  mempool_close(pool);
  before = snapshot_of(pool);
  mempool_close(pool);
  mempool_close(pool);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  expect_closed(pool);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_close_live_blocks_stay_valid)
{
  void *blocks[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  memset(blocks[0], 7, BLOCK_SIZE);
  mempool_close(pool);
  CU_ASSERT(all_bytes(blocks[0], BLOCK_SIZE, 7));
  memset(blocks[1], 8, BLOCK_SIZE);
  for (i = 0; i < CAPACITY; i++)
    CU_ASSERT(mempool_contains(pool, blocks[i]));
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, &blocks), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks + 1, 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 2);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  expect_closed(pool);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_close_bad_arguments_still_refused)
{
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  mempool_close(pool);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, NULL, 0), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, NULL, 1), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, NULL, 1), MEMPOOL_E_INVALID_ARGUMENT);
  tear_down(&f);
}

#define WAITERS 5

typedef struct waiter {
  pthread_t thread;
  mempool *pool;
  int64_t timeout_ns;
  mempool_status status;
  void *block;
} waiter;

static void *wait_for_block(void *arg)
{
  waiter *w = arg;
  w->block = w; /* NULL has to be stored */
  w->status = mempool_alloc_wait(w->pool, &w->block, w->timeout_ns);
  return NULL;
}

TEST_OVER(over_threaded_kinds, test_close_waiters_all_woken)
{
  void *taken[CAPACITY];
  waiter waiters[WAITERS];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  for (i = 0; i < WAITERS; i++) {
    waiters[i].pool = pool;
    waiters[i].timeout_ns = i % 2 == 0 ? -1 : INT64_MAX;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&waiters[i].thread, NULL, wait_for_block, &waiters[i]), 0);
  }
  while (stats_of(pool).waiting != WAITERS)
    (void)sched_yield();
  mempool_close(pool);
  for (i = 0; i < WAITERS; i++) {
    (void)pthread_join(waiters[i].thread, NULL);
    CU_ASSERT_EQUAL(waiters[i].status, MEMPOOL_E_CLOSED);
    CU_ASSERT_PTR_NULL(waiters[i].block);
  }
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 0);
  CU_ASSERT_EQUAL(stats_of(pool).used, CAPACITY);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, taken, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).available, CAPACITY);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

static void *close_pool(void *arg)
{
  mempool_close(arg);
  return NULL;
}

TEST_OVER(over_threaded_kinds, test_close_by_many_threads_once)
{
  pthread_t closers[3];
  waiter w = { .timeout_ns = -1 };
  void *taken[CAPACITY];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  w.pool = pool;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&w.thread, NULL, wait_for_block, &w), 0);
  while (stats_of(pool).waiting != 1)
    (void)sched_yield();
  for (i = 0; i < 3; i++)
    CU_ASSERT_EQUAL_FATAL(pthread_create(&closers[i], NULL, close_pool, pool), 0);
  for (i = 0; i < 3; i++)
    (void)pthread_join(closers[i], NULL);
  (void)pthread_join(w.thread, NULL);
  CU_ASSERT_EQUAL(w.status, MEMPOOL_E_CLOSED);
  expect_closed(pool);
  tear_down(&f);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_close_null_nothing),
    TEST(test_close_blocks_available_none_given),
    TEST(test_close_exhausted_closed),
    TEST(test_close_again_nothing),
    TEST(test_close_live_blocks_stay_valid),
    TEST(test_close_bad_arguments_still_refused),
    TEST(test_close_waiters_all_woken),
    TEST(test_close_by_many_threads_once),
  };
  return RUN_TESTS(tests);
}
