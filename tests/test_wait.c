/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define CAPACITY 4
#define BLOCK_SIZE 32
#define WAITERS 8
#define MILLISECOND INT64_C(1000000)

typedef struct waiter {
  pthread_t thread;
  mempool *pool;
  int64_t timeout_ns;
  mempool_status status;
  void *block;
} waiter;

static int64_t now_ns(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *wait_for_block(void *arg)
{
  waiter *w = arg;
  w->block = w; /* NULL has to be stored on failure */
  w->status = mempool_alloc_wait(w->pool, &w->block, w->timeout_ns);
  return NULL;
}

static void until_waiting(const mempool *pool, size_t count)
{
  while (stats_of(pool).waiting != count)
    (void)sched_yield();
}

static void launch_waiter(waiter *w, mempool *pool, int64_t timeout_ns)
{
  memset(w, 0, sizeof(*w));
  w->pool = pool;
  w->timeout_ns = timeout_ns;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&w->thread, NULL, wait_for_block, w), 0);
}

/* Returns when the thread waits, as the last of count. */
static void start_waiter(waiter *w, mempool *pool, int64_t timeout_ns, size_t count)
{
  launch_waiter(w, pool, timeout_ns);
  until_waiting(pool, count);
}

static void expect_given(waiter *w, void *block)
{
  (void)pthread_join(w->thread, NULL);
  CU_ASSERT_EQUAL(w->status, MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(w->block, block);
}

TEST_OVER(over_kinds, test_alloc_wait_block_available_ok)
{
  static const int64_t timeouts[] = { 0, -1, 1, INT64_MAX, INT64_MIN };
  void *blocks[COUNT_OF(timeouts)];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, COUNT_OF(timeouts));
  for (i = 0; i < COUNT_OF(timeouts); i++) {
    CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &blocks[i], timeouts[i]), MEMPOOL_OK);
    CU_ASSERT(mempool_contains(pool, blocks[i]));
    CU_ASSERT_EQUAL(stats_of(pool).used, i + 1);
  }
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 0);
  CU_ASSERT_EQUAL(stats_of(pool).peak_used, COUNT_OF(timeouts));
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, (kind->flags & MEMPOOL_COUNTERS) != 0 ? COUNT_OF(timeouts) : 0);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, COUNT_OF(timeouts)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &blocks[0], -1), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(blocks[0], blocks[COUNT_OF(timeouts) - 1]);
  tear_down(&f);
}

/* The second time in one array the block is free already, though somebody waits for one. */
static void test_free_bulk_twice_in_array_one_waiter_served(void)
{
  const pool_kind kind = { 0, true };
  void *block, *twice[2];
  waiter waiters[2];
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 1);
  take(pool, &block, 1);
  start_waiter(&waiters[0], pool, -1, 1);
  start_waiter(&waiters[1], pool, -1, 2);
  twice[0] = block;
  twice[1] = block;
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, twice, 2), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 1);
  expect_given(&waiters[0], block);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 1);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  expect_given(&waiters[1], block);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_wait_zero_timeout_exhausted)
{
  void *taken[CAPACITY], *block;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  before = snapshot_of(pool);
  block = pool;
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, 0), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_PTR_NULL(block);
  CU_ASSERT(unchanged_but(pool, &before, 0, 1));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_wait_null_invalid_argument)
{
  static const int64_t timeouts[] = { 0, -1, MILLISECOND };
  void *block;
  snapshot before;
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, &block, 1);
  before = snapshot_of(pool);
  for (i = 0; i < COUNT_OF(timeouts); i++) {
    CU_ASSERT_EQUAL(mempool_alloc_wait(pool, NULL, timeouts[i]), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(mempool_alloc_wait(NULL, NULL, timeouts[i]), MEMPOOL_E_INVALID_ARGUMENT);
    block = pool;
    CU_ASSERT_EQUAL(mempool_alloc_wait(NULL, &block, timeouts[i]), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_PTR_NULL(block);
  }
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_alloc_wait_timeout_timed_out)
{
  void *taken[CAPACITY], *block;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  before = snapshot_of(pool);
  block = pool;
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, 1), MEMPOOL_E_TIMED_OUT);
  CU_ASSERT_PTR_NULL(block);
  block = pool;
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, 50000), MEMPOOL_E_TIMED_OUT);
  CU_ASSERT_PTR_NULL(block);
  CU_ASSERT(unchanged_but(pool, &before, 0, 2));
  /* The waiter that gave up isn't given the next block. */
  CU_ASSERT_EQUAL(mempool_free(pool, taken[1]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).available, 1);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), taken[1]);
  tear_down(&f);
}

static void test_alloc_wait_timeout_not_early(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_SINGLE_THREADED };
  static const int64_t timeouts[] = { 1, 1000, MILLISECOND, 20 * MILLISECOND, 200 * MILLISECOND };
  size_t i, j;
  for (i = 0; i < COUNT_OF(flags); i++) {
    const pool_kind kind = { flags[i], true };
    void *taken, *block;
    fixture f;
    mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 1);
    take(pool, &taken, 1);
    for (j = 0; j < COUNT_OF(timeouts); j++) {
      int64_t start = now_ns();
      CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, timeouts[j]), MEMPOOL_E_TIMED_OUT);
      CU_ASSERT(now_ns() - start >= timeouts[j]);
    }
    tear_down(&f);
  }
}

/* Whether there is nobody else who could free a block. */
static bool is_alone(const pool_kind *kind)
{
#if defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__)
  return (kind->flags & MEMPOOL_SHARED) == 0;
#else
  return (kind->flags & MEMPOOL_SINGLE_THREADED) != 0;
#endif
}

TEST_OVER(over_kinds, test_alloc_wait_single_threaded_for_ever_exhausted)
{
  void *taken[CAPACITY], *block = NULL;
  snapshot before;
  fixture f;
  mempool *pool;
  if (!is_alone(kind))
    return;
  pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  before = snapshot_of(pool);
  block = pool;
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, -1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_PTR_NULL(block);
  block = pool;
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, INT64_MIN), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_PTR_NULL(block);
  CU_ASSERT(unchanged_but(pool, &before, 0, 2));
  tear_down(&f);
}

/* Each waits with another time-out, one after the other; the one that began to wait first gets what is freed first. */
TEST_OVER(over_queueing_kinds, test_alloc_wait_many_waiters_fifo)
{
  static const int64_t timeouts[] = { -1, INT64_MAX, INT64_MIN, INT64_C(3600000000000), INT64_MAX - 1 };
  void *taken[WAITERS];
  waiter waiters[WAITERS];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, WAITERS);
  take(pool, taken, WAITERS);
  for (i = 0; i < WAITERS; i++)
    start_waiter(&waiters[i], pool, timeouts[i % COUNT_OF(timeouts)], i + 1);
  for (i = 0; i < WAITERS; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, taken[(i * 3) % WAITERS]), MEMPOOL_OK);
  for (i = 0; i < WAITERS; i++)
    expect_given(&waiters[i], taken[(i * 3) % WAITERS]);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 0);
  CU_ASSERT_EQUAL(stats_of(pool).used, WAITERS);
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 0);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, (kind->flags & MEMPOOL_COUNTERS) != 0 ? 2 * WAITERS : 0);
  CU_ASSERT_EQUAL(stats_of(pool).free_count, (kind->flags & MEMPOOL_COUNTERS) != 0 ? WAITERS : 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, taken, WAITERS), MEMPOOL_OK);
  tear_down(&f);
}

/* The waiter may not have run yet: the block is its own all the same. */
TEST_OVER(over_queueing_kinds, test_free_waiter_first_handed_over)
{
  void *taken[CAPACITY], *none;
  waiter first, second;
  size_t used, waiting;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  start_waiter(&first, pool, -1, 1);
  start_waiter(&second, pool, -1, 2);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[2]), MEMPOOL_OK);
  none = mempool_alloc(pool);
  used = stats_of(pool).used;
  waiting = stats_of(pool).waiting;
  CU_ASSERT_PTR_NULL(none);
  CU_ASSERT_EQUAL(used, CAPACITY);
  CU_ASSERT_EQUAL(waiting, 1);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, &none, 1), 0);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, &none, 1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &none, 0), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 4);
  expect_given(&first, taken[2]);
  /* Who waits now stands behind the second. */
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &none, 1000), MEMPOOL_E_TIMED_OUT);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[0]), MEMPOOL_OK);
  expect_given(&second, taken[0]);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

TEST_OVER(over_queueing_kinds, test_free_bulk_waiters_served_rest_available)
{
  void *taken[CAPACITY];
  waiter waiters[2];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  start_waiter(&waiters[0], pool, -1, 1);
  start_waiter(&waiters[1], pool, -1, 2);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, taken, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).available, CAPACITY - 2);
  for (i = 0; i < 2; i++) {
    (void)pthread_join(waiters[i].thread, NULL);
    CU_ASSERT_EQUAL(waiters[i].status, MEMPOOL_OK);
  }
  CU_ASSERT_PTR_NOT_EQUAL(waiters[0].block, waiters[1].block);
  CU_ASSERT_EQUAL(stats_of(pool).used, 2);
  for (i = 0; i < CAPACITY; i++) {
    bool served = taken[i] == waiters[0].block || taken[i] == waiters[1].block;
    CU_ASSERT_EQUAL(mempool_free(pool, taken[i]), served ? MEMPOOL_OK : MEMPOOL_E_DOUBLE_FREE);
  }
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* A block that went from hand to hand is out all the time, so that freeing it once more is legal. */
TEST_OVER(over_threaded_kinds, test_free_handed_over_block_ok)
{
  void *taken;
  waiter w;
  int round;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, 1);
  take(pool, &taken, 1);
  for (round = 0; round < 5; round++) {
    start_waiter(&w, pool, -1, 1);
    CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
    expect_given(&w, taken);
    CU_ASSERT_EQUAL(stats_of(pool).peak_used, 1);
  }
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  tear_down(&f);
}

/* A refused free is no free: nobody is woken. */
TEST_OVER(over_threaded_kinds, test_free_refused_waiter_keeps_waiting)
{
  void *taken[2];
  waiter w;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, 2);
  take(pool, taken, 2);
  start_waiter(&w, pool, -1, 1);
  CU_ASSERT_EQUAL(mempool_free(pool, offset_by(taken[0], 1)), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free(pool, &w), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 1);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[1]), MEMPOOL_OK);
  expect_given(&w, taken[1]);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* The first, two in the middle and the last give up; the others keep their order. */
static void test_alloc_wait_timed_out_waiters_leave_no_trace(void)
{
  const pool_kind kind = { MEMPOOL_COUNTERS, true };
  void *taken[CAPACITY];
  waiter stays[2], leaves[4];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, CAPACITY);
  launch_waiter(&leaves[0], pool, 20 * MILLISECOND);
  launch_waiter(&stays[0], pool, -1);
  (void)pthread_join(leaves[0].thread, NULL);
  until_waiting(pool, 1);
  launch_waiter(&leaves[1], pool, 20 * MILLISECOND);
  launch_waiter(&leaves[2], pool, 30 * MILLISECOND);
  launch_waiter(&stays[1], pool, -1);
  launch_waiter(&leaves[3], pool, 25 * MILLISECOND);
  for (i = 1; i < 4; i++)
    (void)pthread_join(leaves[i].thread, NULL);
  until_waiting(pool, 2);
  for (i = 0; i < 4; i++) {
    CU_ASSERT_EQUAL(leaves[i].status, MEMPOOL_E_TIMED_OUT);
    CU_ASSERT_PTR_NULL(leaves[i].block);
  }
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 4);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[0]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[1]), MEMPOOL_OK);
  expect_given(&stays[0], taken[0]);
  expect_given(&stays[1], taken[1]);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[2]), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).available, 1);
  CU_ASSERT_EQUAL(stats_of(pool).alloc_count, CAPACITY + 2);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

static atomic_uint signals_handled;

static void count_signal(int number)
{
  (void)number;
  atomic_fetch_add(&signals_handled, 1);
}

static void test_alloc_wait_signal_handled_goes_on(void)
{
  static const int64_t timeouts[] = { -1, INT64_MAX };
  const pool_kind kind = { 0, true };
  struct sigaction action, old;
  size_t i;
  if (skipped_without_signals())
    return;
  memset(&action, 0, sizeof(action));
  action.sa_handler = count_signal; /* without SA_RESTART, so that system calls are interrupted */
  CU_ASSERT_EQUAL_FATAL(sigaction(SIGUSR1, &action, &old), 0);
  for (i = 0; i < COUNT_OF(timeouts); i++) {
    void *taken;
    waiter w;
    unsigned round;
    fixture f;
    mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 1);
    take(pool, &taken, 1);
    start_waiter(&w, pool, timeouts[i], 1);
    for (round = 0; round < 5; round++) {
      unsigned handled = atomic_load(&signals_handled);
      /* Again and again: ThreadSanitizer may keep back a signal that comes right before the thread sleeps. */
      do {
        CU_ASSERT_EQUAL(pthread_kill(w.thread, SIGUSR1), 0);
        (void)sched_yield();
      } while (atomic_load(&signals_handled) == handled);
    }
    CU_ASSERT_EQUAL(stats_of(pool).waiting, 1);
    CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
    expect_given(&w, taken);
    tear_down(&f);
  }
  (void)sigaction(SIGUSR1, &old, NULL);
}

/* The lower bound holds for a wait that is interrupted, too. */
static void test_alloc_wait_signal_handled_not_early(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_SINGLE_THREADED };
  struct sigaction action, old;
  size_t i;
  memset(&action, 0, sizeof(action));
  action.sa_handler = count_signal;
  CU_ASSERT_EQUAL_FATAL(sigaction(SIGALRM, &action, &old), 0);
  for (i = 0; i < COUNT_OF(flags); i++) {
    const pool_kind kind = { flags[i], true };
    struct itimerspec every = { { 0, 2 * MILLISECOND }, { 0, 2 * MILLISECOND } };
    struct sigevent event;
    timer_t timer;
    void *taken, *block;
    int64_t start;
    fixture f;
    mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 1);
    take(pool, &taken, 1);
    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGALRM;
    CU_ASSERT_EQUAL_FATAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CU_ASSERT_EQUAL(timer_settime(timer, 0, &every, NULL), 0);
    start = now_ns();
    CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, 30 * MILLISECOND), MEMPOOL_E_TIMED_OUT);
    CU_ASSERT(now_ns() - start >= 30 * MILLISECOND);
    (void)timer_delete(timer);
    tear_down(&f);
  }
  (void)sigaction(SIGALRM, &old, NULL);
}

static void test_alloc_wait_cancelled_thread_no_cancellation_point(void)
{
  const pool_kind kind = { 0, true };
  void *taken;
  waiter w;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 1);
  take(pool, &taken, 1);
  start_waiter(&w, pool, -1, 1);
  CU_ASSERT_EQUAL(pthread_cancel(w.thread), 0);
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
  expect_given(&w, taken);
  CU_ASSERT_EQUAL(mempool_free(pool, taken), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* A single wait is counted while it lasts and not afterwards. */
TEST_OVER(over_queueing_kinds, test_get_stats_waiting_counted)
{
  void *taken[2];
  waiter waiters[3];
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, 2);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 0);
  take(pool, taken, 2);
  for (i = 0; i < 3; i++)
    start_waiter(&waiters[i], pool, -1, i + 1);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[0]), MEMPOOL_OK);
  expect_given(&waiters[0], taken[0]);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 2);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[0]), MEMPOOL_OK);
  expect_given(&waiters[1], taken[0]);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 1);
  CU_ASSERT_EQUAL(mempool_free(pool, taken[1]), MEMPOOL_OK);
  expect_given(&waiters[2], taken[1]);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 0);
  tear_down(&f);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_wait_block_available_ok),
    TEST(test_free_bulk_twice_in_array_one_waiter_served),
    TEST(test_alloc_wait_zero_timeout_exhausted),
    TEST(test_alloc_wait_null_invalid_argument),
    TEST(test_alloc_wait_timeout_timed_out),
    TEST(test_alloc_wait_timeout_not_early),
    TEST(test_alloc_wait_single_threaded_for_ever_exhausted),
    TEST(test_alloc_wait_many_waiters_fifo),
    TEST(test_free_waiter_first_handed_over),
    TEST(test_free_bulk_waiters_served_rest_available),
    TEST(test_free_handed_over_block_ok),
    TEST(test_free_refused_waiter_keeps_waiting),
    TEST(test_alloc_wait_timed_out_waiters_leave_no_trace),
    TEST(test_alloc_wait_signal_handled_goes_on),
    TEST(test_alloc_wait_signal_handled_not_early),
    TEST(test_alloc_wait_cancelled_thread_no_cancellation_point),
    TEST(test_get_stats_waiting_counted),
  };
  return RUN_TESTS(tests);
}
