/* SPDX-License-Identifier: MIT */
/*
 * Waiting in pools that processes share: whoever waits gets what another
 * process frees, whoever else was killed meanwhile.
 */
#include "peers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_SIZE 64
#define MOST_WAITERS 6
#define MILLISECOND INT64_C(1000000)

typedef struct queue {
  ground g;
  mempool *pool; /* the parent's handle */
  int64_t timeout_ns;
  mempool_status expected;
  atomic_uint served; /* waiters that came back as expected */
  atomic_uint stage;
  atomic_uint owner;
  size_t steps;
} queue;

static queue *open_queue(size_t capacity, uint32_t flags)
{
  queue *q = map_shared(sizeof(*q));
  q->pool = lay_out(&q->g, BLOCK_SIZE, capacity, flags);
  q->timeout_ns = -1;
  return q;
}

static void close_queue(queue *q)
{
  CU_ASSERT_EQUAL(stats_of(q->pool).waiting, 0);
  CU_ASSERT_EQUAL(mempool_check(q->pool), MEMPOOL_OK);
  clear_away(&q->g);
  unmap_shared(q, sizeof(*q));
}

/* Waits once, with an attachment of its own, and keeps what it gets until stage 1. */
static int wait_once(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  void *block = arg;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  atomic_store(&q->owner, mempool_owner(mine));
  REQUIRE(mempool_alloc_wait(mine, &block, q->timeout_ns) == q->expected);
  REQUIRE((block != NULL) == (q->expected == MEMPOOL_OK));
  atomic_fetch_add(&q->served, 1);
  REQUIRE(reached(&q->stage, 1));
  REQUIRE(mempool_free(mine, block) == MEMPOOL_OK);
  mempool_destroy(mine);
  return 0;
}

/* Starts so many, one after the other, and returns when all of them wait. */
static void start_waiters(queue *q, pid_t *children, size_t count)
{
  size_t i, before = stats_of(q->pool).waiting;
  for (i = 0; i < count; i++) {
    children[i] = start_child(wait_once, q);
    CU_ASSERT_FATAL(until_waiting(q->pool, before + i + 1));
  }
}

static void end_waiters(queue *q, const pid_t *children, size_t count)
{
  size_t i;
  atomic_store(&q->stage, 1);
  for (i = 0; i < count; i++)
    CU_ASSERT(child_was_right(children[i]));
}

static void test_alloc_wait_freed_by_other_process_served(void)
{
  queue *q = open_queue(1, 0);
  void *block = mempool_alloc(q->pool);
  pid_t child;
  start_waiters(q, &child, 1);
  CU_ASSERT_EQUAL(atomic_load(&q->served), 0);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  CU_ASSERT(reached(&q->served, 1));
  CU_ASSERT_EQUAL(stats_of(q->pool).used, 1);
  CU_ASSERT_EQUAL(stats_of(q->pool).waiting, 0);
  end_waiters(q, &child, 1);
  CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
  close_queue(q);
}

static void test_alloc_wait_several_processes_each_free_serves_one(void)
{
  queue *q = open_queue(MOST_WAITERS, 0);
  pid_t children[MOST_WAITERS];
  void *blocks[MOST_WAITERS];
  unsigned i;
  take(q->pool, blocks, MOST_WAITERS);
  start_waiters(q, children, MOST_WAITERS);
  for (i = 0; i < MOST_WAITERS; i++) {
    CU_ASSERT_EQUAL(mempool_free(q->pool, blocks[i]), MEMPOOL_OK);
    CU_ASSERT(reached(&q->served, i + 1));
    CU_ASSERT(until_waiting(q->pool, MOST_WAITERS - 1 - i));
    CU_ASSERT_EQUAL(atomic_load(&q->served), i + 1);
  }
  end_waiters(q, children, MOST_WAITERS);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

static void test_free_bulk_several_processes_wait_all_served(void)
{
  queue *q = open_queue(MOST_WAITERS, 0);
  pid_t children[MOST_WAITERS];
  void *blocks[MOST_WAITERS];
  CU_ASSERT_EQUAL(mempool_alloc_bulk(q->pool, blocks, MOST_WAITERS), MEMPOOL_OK);
  start_waiters(q, children, MOST_WAITERS);
  CU_ASSERT_EQUAL(mempool_free_bulk(q->pool, blocks, MOST_WAITERS), MEMPOOL_OK);
  CU_ASSERT(reached(&q->served, MOST_WAITERS));
  end_waiters(q, children, MOST_WAITERS);
  close_queue(q);
}

/* Each of them in turn is killed in its sleep: one block must serve whoever is left, and before anybody recovers. */
static void test_alloc_wait_one_killed_in_its_sleep_others_served(void)
{
  size_t victim, count = 3, i;
  for (victim = 0; victim < count; victim++) {
    queue *q = open_queue(2, 0);
    pid_t children[3];
    size_t recovered = 99;
    void *blocks[2];
    take(q->pool, blocks, 2);
    start_waiters(q, children, count);
    while (!sleeps(children[victim]))
      (void)sched_yield();
    kill_child(children[victim]);
    for (i = 0; i < 2; i++) {
      CU_ASSERT_EQUAL(mempool_free(q->pool, blocks[i]), MEMPOOL_OK);
      CU_ASSERT(reached(&q->served, (unsigned)i + 1));
    }
    for (i = victim; i + 1 < count; i++)
      children[i] = children[i + 1];
    end_waiters(q, children, count - 1);
    CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
    CU_ASSERT_EQUAL(recovered, 0);
    CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
    CU_ASSERT(rest_is_whole(q->pool));
    close_queue(q);
  }
}

static void test_alloc_wait_only_waiter_killed_block_stays_free(void)
{
  queue *q = open_queue(1, 0);
  size_t recovered = 99;
  void *block = mempool_alloc(q->pool);
  pid_t child;
  start_waiters(q, &child, 1);
  while (!sleeps(child))
    (void)sched_yield();
  kill_child(child);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  block = mempool_alloc(q->pool);
  CU_ASSERT_PTR_NOT_NULL(block);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_wait(q->pool, &block, -1), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(stats_of(q->pool).waiting, 0);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  close_queue(q);
}

/* It is stopped in its sleep, so it can't take what is freed; then it is killed. Whether it was handed the block or not, it isn't lost. */
static void test_recover_dead_waiter_killed_after_free_nothing_lost(void)
{
  queue *q = open_queue(1, 0);
  size_t recovered = 99;
  void *block = mempool_alloc(q->pool);
  pid_t child;
  int status;
  start_waiters(q, &child, 1);
  while (!sleeps(child))
    (void)sched_yield();
  CU_ASSERT_EQUAL(kill(child, SIGSTOP), 0);
  CU_ASSERT_EQUAL(waitpid(child, &status, WUNTRACED), child);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  kill_child(child);
  CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT(recovered <= 1);
  CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

/* The same, but another one waits, and is alive. */
static void test_recover_dead_waiter_killed_after_free_other_served(void)
{
  queue *q = open_queue(1, 0);
  size_t recovered = 99, stopped;
  for (stopped = 0; stopped < 2; stopped++) {
    void *block = mempool_alloc(q->pool);
    pid_t children[2];
    int status;
    atomic_store(&q->served, 0);
    atomic_store(&q->stage, 0);
    start_waiters(q, children, 2);
    while (!sleeps(children[stopped]))
      (void)sched_yield();
    CU_ASSERT_EQUAL(kill(children[stopped], SIGSTOP), 0);
    CU_ASSERT_EQUAL(waitpid(children[stopped], &status, WUNTRACED), children[stopped]);
    CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
    kill_child(children[stopped]);
    CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
    CU_ASSERT(reached(&q->served, 1));
    end_waiters(q, &children[1 - stopped], 1);
    CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
  }
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

static int hold_and_die(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc(mine) != NULL);
  return 0;
}

static void test_recover_dead_blocks_serve_who_waits(void)
{
  queue *q = open_queue(2, 0);
  size_t recovered = 0;
  pid_t children[2];
  CU_ASSERT(run_child(hold_and_die, q));
  CU_ASSERT(run_child(hold_and_die, q));
  start_waiters(q, children, 2);
  CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 2);
  CU_ASSERT(reached(&q->served, 2));
  end_waiters(q, children, 2);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

static int time_out(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  void *block = arg;
  struct timespec before, after;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  (void)clock_gettime(CLOCK_MONOTONIC, &before);
  REQUIRE(mempool_alloc_wait(mine, &block, 20 * MILLISECOND) == MEMPOOL_E_TIMED_OUT);
  (void)clock_gettime(CLOCK_MONOTONIC, &after);
  REQUIRE(block == NULL);
  REQUIRE((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 20 * MILLISECOND);
  block = arg;
  REQUIRE(mempool_alloc_wait(mine, &block, 1) == MEMPOOL_E_TIMED_OUT);
  REQUIRE(block == NULL);
  block = arg;
  REQUIRE(mempool_alloc_wait(mine, &block, 0) == MEMPOOL_E_EXHAUSTED);
  REQUIRE(block == NULL);
  REQUIRE(mempool_alloc_wait(mine, NULL, 0) == MEMPOOL_E_INVALID_ARGUMENT);
  REQUIRE(mempool_alloc_wait(NULL, &block, 0) == MEMPOOL_E_INVALID_ARGUMENT);
  mempool_destroy(mine);
  return 0;
}

static void test_alloc_wait_timed_out_leaves_no_trace(void)
{
  queue *q = open_queue(1, 0);
  void *block = mempool_alloc(q->pool);
  CU_ASSERT(run_child(time_out, q));
  CU_ASSERT_EQUAL(stats_of(q->pool).waiting, 0);
  CU_ASSERT_EQUAL(stats_of(q->pool).failed_allocs, 3);
  CU_ASSERT_EQUAL(stats_of(q->pool).used, 1);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

static int wait_until_closed(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  void *block = arg;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc_wait(mine, &block, q->timeout_ns) == MEMPOOL_E_CLOSED);
  REQUIRE(block == NULL);
  mempool_destroy(mine);
  return 0;
}

static void test_close_by_other_process_all_waiters_come_back(void)
{
  queue *q = open_queue(1, 0);
  void *block = mempool_alloc(q->pool);
  pid_t children[MOST_WAITERS];
  size_t i;
  for (i = 0; i < MOST_WAITERS; i++) {
    q->timeout_ns = i % 2 == 0 ? -1 : INT64_MAX;
    children[i] = start_child(wait_until_closed, q);
    CU_ASSERT_FATAL(until_waiting(q->pool, i + 1));
  }
  mempool_close(q->pool);
  for (i = 0; i < MOST_WAITERS; i++)
    CU_ASSERT(child_was_right(children[i]));
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(q->pool).failed_allocs, 0);
  close_queue(q);
}

static int close_it(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  REQUIRE(until_waiting(mine, 1));
  mempool_close(mine);
  mempool_destroy(mine);
  return 0;
}

static void test_close_in_child_parent_comes_back(void)
{
  queue *q = open_queue(1, 0);
  void *block = mempool_alloc(q->pool), *none = q;
  pid_t child = start_child(close_it, q);
  CU_ASSERT_EQUAL(mempool_alloc_wait(q->pool, &none, -1), MEMPOOL_E_CLOSED);
  CU_ASSERT_PTR_NULL(none);
  CU_ASSERT(child_was_right(child));
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  close_queue(q);
}

static void note_signal(int number)
{
  (void)number;
}

static int wait_through_signals(void *arg)
{
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = note_signal;
  REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
  return wait_once(arg);
}

static void test_alloc_wait_signal_does_not_end_it(void)
{
  queue *q = open_queue(1, 0);
  void *block = mempool_alloc(q->pool);
  pid_t child = start_child(wait_through_signals, q);
  int i;
  CU_ASSERT(until_waiting(q->pool, 1));
  for (i = 0; i < 5; i++) {
    while (!sleeps(child))
      (void)sched_yield();
    CU_ASSERT_EQUAL(kill(child, SIGUSR1), 0);
  }
  CU_ASSERT_EQUAL(stats_of(q->pool).waiting, 1);
  CU_ASSERT_EQUAL(mempool_free(q->pool, block), MEMPOOL_OK);
  CU_ASSERT(reached(&q->served, 1));
  end_waiters(q, &child, 1);
  close_queue(q);
}

/* ---- No wake-up is lost ---- */

static int wait_and_free_many_times(void *arg)
{
  queue *q = arg;
  mempool *mine = NULL;
  size_t i;
  REQUIRE(mempool_attach(&mine, q->g.memory, q->g.bytes) == MEMPOOL_OK);
  for (i = 0; i < q->steps; i++) {
    void *block = NULL;
    REQUIRE(mempool_alloc_wait(mine, &block, -1) == MEMPOOL_OK);
    *(size_t *)block = i;
    if (i % 16 == 0)
      (void)sched_yield();
    REQUIRE(*(size_t *)block == i);
    REQUIRE(mempool_free(mine, block) == MEMPOOL_OK);
  }
  mempool_destroy(mine);
  return 0;
}

static void test_alloc_wait_processes_in_want_all_served(void)
{
  static const size_t capacities[] = { 1, 2 };
  size_t c, i;
  for (c = 0; c < COUNT_OF(capacities); c++) {
    queue *q = open_queue(capacities[c], 0);
    pid_t children[4];
    q->steps = scaled(4000, 40);
    for (i = 0; i < COUNT_OF(children); i++)
      children[i] = start_child(wait_and_free_many_times, q);
    for (i = 0; i < COUNT_OF(children); i++)
      CU_ASSERT(child_was_right(children[i]));
    CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
    CU_ASSERT_EQUAL(stats_of(q->pool).failed_allocs, 0);
    CU_ASSERT(rest_is_whole(q->pool));
    close_queue(q);
  }
}

/* Who waits is killed at any moment, time and again; who is left is served. */
static void test_alloc_wait_peers_killed_at_random_all_others_served(void)
{
  queue *q = open_queue(2, 0);
  uint64_t random = test_seed();
  size_t i, count = scaled(60, 15), recovered = 0;
  pid_t worker;
  q->steps = SIZE_MAX;
  worker = start_child(wait_and_free_many_times, q);
  for (i = 0; i < count; i++) {
    size_t pauses = test_random(&random) % 64;
    pid_t victim = start_child(wait_and_free_many_times, q);
    while (pauses-- != 0)
      (void)sched_yield();
    kill_child(victim);
    CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
    CU_ASSERT(recovered <= 1);
  }
  kill_child(worker);
  CU_ASSERT_EQUAL(mempool_recover_dead(q->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(q->pool).used, 0);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

/* ---- Threads of one process, one handle ---- */

typedef struct thread_waiter {
  pthread_t thread;
  mempool *pool;
  mempool_status status;
  void *block;
} thread_waiter;

static void *wait_on_thread(void *arg)
{
  thread_waiter *w = arg;
  w->status = mempool_alloc_wait(w->pool, &w->block, -1);
  return NULL;
}

static void test_alloc_wait_threads_on_one_handle_all_served(void)
{
  queue *q = open_queue(MOST_WAITERS, 0);
  mempool *second = attach(q->g.memory, q->g.bytes);
  thread_waiter waiters[MOST_WAITERS];
  void *blocks[MOST_WAITERS];
  size_t i;
  take(q->pool, blocks, MOST_WAITERS);
  for (i = 0; i < MOST_WAITERS; i++) {
    waiters[i].pool = i % 2 == 0 ? q->pool : second;
    waiters[i].block = NULL;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&waiters[i].thread, NULL, wait_on_thread, &waiters[i]), 0);
  }
  CU_ASSERT(until_waiting(second, MOST_WAITERS));
  CU_ASSERT_EQUAL(mempool_free_bulk(second, blocks, MOST_WAITERS), MEMPOOL_OK);
  for (i = 0; i < MOST_WAITERS; i++) {
    (void)pthread_join(waiters[i].thread, NULL);
    CU_ASSERT_EQUAL(waiters[i].status, MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_free(q->pool, waiters[i].block), MEMPOOL_OK);
  }
  mempool_destroy(second);
  CU_ASSERT(rest_is_whole(q->pool));
  close_queue(q);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_wait_freed_by_other_process_served),
    TEST(test_alloc_wait_several_processes_each_free_serves_one),
    TEST(test_free_bulk_several_processes_wait_all_served),
    TEST(test_alloc_wait_one_killed_in_its_sleep_others_served),
    TEST(test_alloc_wait_only_waiter_killed_block_stays_free),
    TEST(test_recover_dead_waiter_killed_after_free_nothing_lost),
    TEST(test_recover_dead_waiter_killed_after_free_other_served),
    TEST(test_recover_dead_blocks_serve_who_waits),
    TEST(test_alloc_wait_timed_out_leaves_no_trace),
    TEST(test_close_by_other_process_all_waiters_come_back),
    TEST(test_close_in_child_parent_comes_back),
    TEST(test_alloc_wait_signal_does_not_end_it),
    TEST(test_alloc_wait_processes_in_want_all_served),
    TEST(test_alloc_wait_peers_killed_at_random_all_others_served),
    TEST(test_alloc_wait_threads_on_one_handle_all_served),
  };
  give_up_in_time();
  return RUN_TESTS(tests);
}
