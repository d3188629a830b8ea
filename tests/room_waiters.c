/* SPDX-License-Identifier: MIT */
/*
 * The queue.  Most tests need one thread: a waiter whose deadline is past, or
 * whose word has changed, doesn't sleep.
 */
#include "os.h"
#include "runner.h"
#include "waiters.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4, PAST = 1 };

static unsigned rounds(unsigned count)
{
  return getenv("TEST_SLOW_TOOL") != NULL ? count / 20 + 1 : count;
}

static uint32_t word_of(const struct waiter *waiter)
{
  return load_relaxed_u32(&waiter->word);
}

/* The blocks that are handed over; only their addresses count. */
static char blocks[COUNT];

struct queue {
  struct waiters waiters;
  struct lock lock;
  struct waiter each[COUNT];
};

/* A queue of the first so many waiters, which lie in memory that held something else. */
static void set_up(struct queue *queue, int count)
{
  int i;
  memset(queue, 0, sizeof(*queue));
  lock_init(&queue->lock);
  for (i = 0; i < COUNT; i++) {
    queue->each[i].next = queue->each[i].previous = &queue->each[0];
    queue->each[i].block = &blocks[0];
    store_relaxed_u32(&queue->each[i].word, WAITER_CLOSED);
  }
  for (i = 0; i < count; i++)
    mempool__waiters_join(&queue->waiters, &queue->each[i]);
}

/* Expects that exactly the waiters of a list wait, in its order, by the links in both directions. */
static void expect_queue(const struct queue *queue, const char *digits)
{
  size_t count = strlen(digits), i;
  const struct waiter *waiter = queue->waiters.first;
  CU_ASSERT_EQUAL(queue->waiters.count, count);
  for (i = 0; i < count; i++) {
    const struct waiter *expected = &queue->each[digits[i] - '0'];
    CU_ASSERT_PTR_EQUAL_FATAL(waiter, expected);
    CU_ASSERT_PTR_EQUAL(waiter->previous, i == 0 ? NULL : &queue->each[digits[i - 1] - '0']);
    CU_ASSERT_EQUAL(word_of(waiter), WAITER_WAITING);
    waiter = waiter->next;
  }
  CU_ASSERT_PTR_NULL(waiter);
  CU_ASSERT_PTR_EQUAL(queue->waiters.last, count == 0 ? NULL : &queue->each[digits[count - 1] - '0']);
  CU_ASSERT_EQUAL(load_relaxed_u32(&queue->lock.word), LOCK_UNLOCKED);
}

static uint32_t sleep_of(struct queue *queue, int waiter, int64_t deadline_ns)
{
  return mempool__waiter_sleep(&queue->waiters, &queue->each[waiter], &queue->lock, deadline_ns);
}

static void test_waiters_join_each_last_in_queue(void)
{
  static const char *const queues[] = { "", "0", "01", "012", "0123" };
  struct queue queue;
  int i;
  set_up(&queue, 0);
  expect_queue(&queue, queues[0]);
  for (i = 0; i < COUNT; i++) {
    mempool__waiters_join(&queue.waiters, &queue.each[i]);
    CU_ASSERT_PTR_NULL(queue.each[i].block);
    expect_queue(&queue, queues[i + 1]);
  }
}

static void test_waiters_serve_first_come_first_served(void)
{
  static const char *const queues[] = { "123", "23", "3", "" };
  struct queue queue;
  int i;
  set_up(&queue, COUNT);
  for (i = 0; i < COUNT; i++) {
    CU_ASSERT_PTR_EQUAL(mempool__waiters_serve(&queue.waiters, &blocks[COUNT - 1 - i]), queue.each[i].bell);
    CU_ASSERT_EQUAL(word_of(&queue.each[i]), WAITER_SERVED);
    CU_ASSERT_PTR_EQUAL(queue.each[i].block, &blocks[COUNT - 1 - i]);
    expect_queue(&queue, queues[i]);
  }
}

static void test_waiters_join_after_serve_behind_the_rest(void)
{
  struct queue queue;
  set_up(&queue, 2);
  (void)mempool__waiters_serve(&queue.waiters, &blocks[0]);
  mempool__waiters_join(&queue.waiters, &queue.each[0]);
  expect_queue(&queue, "10");
  (void)mempool__waiters_serve(&queue.waiters, &blocks[0]);
  (void)mempool__waiters_serve(&queue.waiters, &blocks[1]);
  expect_queue(&queue, "");
  mempool__waiters_join(&queue.waiters, &queue.each[3]);
  expect_queue(&queue, "3");
}

/* Times one waiter out of a full queue, and serves the others. */
static void time_out(int leaving, const char *left)
{
  struct queue queue;
  const char *digit;
  set_up(&queue, COUNT);
  CU_ASSERT_EQUAL(sleep_of(&queue, leaving, PAST), WAITER_WAITING);
  CU_ASSERT_PTR_NULL(queue.each[leaving].block);
  expect_queue(&queue, left);
  for (digit = left; *digit != '\0'; digit++) {
    CU_ASSERT_PTR_EQUAL(mempool__waiters_serve(&queue.waiters, &blocks[1]), queue.each[*digit - '0'].bell);
    expect_queue(&queue, digit + 1);
  }
  CU_ASSERT_EQUAL(word_of(&queue.each[leaving]), WAITER_WAITING);
}

static void test_waiter_sleep_first_timed_out_leaves(void)
{
  time_out(0, "123");
}

static void test_waiter_sleep_middle_timed_out_leaves(void)
{
  time_out(1, "023");
  time_out(2, "013");
}

static void test_waiter_sleep_last_timed_out_leaves(void)
{
  time_out(3, "012");
}

static void test_waiter_sleep_all_timed_out_in_any_order_empty(void)
{
  static const char *const orders[] = { "0123", "0132", "0213", "0231", "0312", "0321", "1023", "1032",
                                        "1203", "1230", "1302", "1320", "2013", "2031", "2103", "2130",
                                        "2301", "2310", "3012", "3021", "3102", "3120", "3201", "3210" };
  size_t i;
  for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
    char left[] = "0123";
    const char *digit;
    struct queue queue;
    set_up(&queue, COUNT);
    for (digit = orders[i]; *digit != '\0'; digit++) {
      char *place = strchr(left, *digit);
      CU_ASSERT_EQUAL(sleep_of(&queue, *digit - '0', PAST), WAITER_WAITING);
      memmove(place, place + 1, strlen(place));
      expect_queue(&queue, left);
    }
  }
}

static void test_waiter_sleep_only_one_timed_out_empty(void)
{
  struct queue queue;
  set_up(&queue, 1);
  CU_ASSERT_EQUAL(sleep_of(&queue, 0, PAST), WAITER_WAITING);
  expect_queue(&queue, "");
  mempool__waiters_join(&queue.waiters, &queue.each[0]);
  expect_queue(&queue, "0");
}

static void test_waiter_sleep_deadline_to_come_not_before_it(void)
{
  struct queue queue;
  int64_t deadline = mempool__os_now_ns() + 2000000;
  set_up(&queue, 2);
  CU_ASSERT_EQUAL(sleep_of(&queue, 0, deadline), WAITER_WAITING);
  CU_ASSERT(mempool__os_now_ns() >= deadline);
  expect_queue(&queue, "1");
}

/* The hand-over came before the look at the clock: it counts, and nobody leaves twice. */
static void test_waiter_sleep_served_already_and_deadline_past_served(void)
{
  struct queue queue;
  set_up(&queue, 3);
  (void)mempool__waiters_serve(&queue.waiters, &blocks[2]);
  CU_ASSERT_EQUAL(sleep_of(&queue, 0, PAST), WAITER_SERVED);
  CU_ASSERT_PTR_EQUAL(queue.each[0].block, &blocks[2]);
  expect_queue(&queue, "12");
  (void)mempool__waiters_serve(&queue.waiters, &blocks[1]);
  CU_ASSERT_EQUAL(sleep_of(&queue, 1, OS_NEVER), WAITER_SERVED);
  expect_queue(&queue, "2");
}

static void test_waiters_close_all_sent_away(void)
{
  int count, i;
  for (count = 0; count <= COUNT; count++) {
    struct queue queue;
    set_up(&queue, count);
    mempool__waiters_close(&queue.waiters);
    expect_queue(&queue, "");
    for (i = 0; i < count; i++) {
      CU_ASSERT_EQUAL(word_of(&queue.each[i]), WAITER_CLOSED);
      CU_ASSERT_PTR_NULL(queue.each[i].block);
      CU_ASSERT_EQUAL(sleep_of(&queue, i, (i & 1) != 0 ? PAST : OS_NEVER), WAITER_CLOSED);
    }
    expect_queue(&queue, "");
  }
}

struct sleeper {
  struct queue *queue;
  int number;
  int64_t deadline_ns;
  uint32_t word;
  pthread_t thread;
};

static void *sleep_in_queue(void *arg)
{
  struct sleeper *sleeper = arg;
  sleeper->word = sleep_of(sleeper->queue, sleeper->number, sleeper->deadline_ns);
  return NULL;
}

static void start(struct sleeper *sleeper, struct queue *queue, int number, int64_t deadline_ns)
{
  *sleeper = (struct sleeper){ .queue = queue, .number = number, .deadline_ns = deadline_ns, .word = 99 };
  CU_ASSERT_EQUAL_FATAL(pthread_create(&sleeper->thread, NULL, sleep_in_queue, sleeper), 0);
}

static uint32_t word_after(struct sleeper *sleeper)
{
  CU_ASSERT_EQUAL(pthread_join(sleeper->thread, NULL), 0);
  return sleeper->word;
}

/*
 * Lets a waiter run out of time while the lock is held.  It waits for the
 * lock by then, which the lock's word tells: whatever happens to the waiter
 * now, happens between its time-out and its leaving.
 */
static void time_out_at_lock(struct sleeper *sleeper, struct queue *queue, int number)
{
  lock_acquire(&queue->lock);
  start(sleeper, queue, number, PAST);
  while (load_relaxed_u32(&queue->lock.word) != LOCK_CONTENDED)
    (void)sched_yield();
}

static void test_waiter_sleep_served_while_timing_out_served(void)
{
  unsigned i, count = rounds(200);
  for (i = 0; i < count; i++) {
    struct queue queue;
    struct sleeper sleeper;
    set_up(&queue, 3);
    time_out_at_lock(&sleeper, &queue, 0);
    CU_ASSERT_PTR_EQUAL(mempool__waiters_serve(&queue.waiters, &blocks[1]), queue.each[0].bell);
    lock_release(&queue.lock);
    CU_ASSERT_EQUAL(word_after(&sleeper), WAITER_SERVED);
    CU_ASSERT_PTR_EQUAL(queue.each[0].block, &blocks[1]);
    expect_queue(&queue, "12");
  }
  printf("# %u rounds\n", count);
}

static void test_waiter_sleep_closed_while_timing_out_closed(void)
{
  struct queue queue;
  struct sleeper sleeper;
  set_up(&queue, 3);
  time_out_at_lock(&sleeper, &queue, 1);
  mempool__waiters_close(&queue.waiters);
  lock_release(&queue.lock);
  CU_ASSERT_EQUAL(word_after(&sleeper), WAITER_CLOSED);
  expect_queue(&queue, "");
}

static void test_waiter_sleep_another_served_while_timing_out_leaves(void)
{
  struct queue queue;
  struct sleeper sleeper;
  set_up(&queue, 3);
  time_out_at_lock(&sleeper, &queue, 1);
  CU_ASSERT_PTR_EQUAL(mempool__waiters_serve(&queue.waiters, &blocks[1]), queue.each[0].bell);
  lock_release(&queue.lock);
  CU_ASSERT_EQUAL(word_after(&sleeper), WAITER_WAITING);
  CU_ASSERT_PTR_NULL(queue.each[1].block);
  expect_queue(&queue, "2");
}

/* A wake-up alone is no hand-over. */
static void test_waiter_sleep_woken_unserved_sleeps_on(void)
{
  struct queue queue;
  struct sleeper sleeper;
  int i;
  set_up(&queue, 1);
  start(&sleeper, &queue, 0, OS_NEVER);
  for (i = 0; i < 100; i++) {
    mempool__os_wake(queue.each[0].bell);
    (void)sched_yield();
  }
  lock_acquire(&queue.lock);
  CU_ASSERT_EQUAL(queue.waiters.count, 1);
  CU_ASSERT_PTR_EQUAL(mempool__waiters_serve(&queue.waiters, &blocks[3]), queue.each[0].bell);
  lock_release(&queue.lock);
  mempool__os_wake(queue.each[0].bell);
  CU_ASSERT_EQUAL(word_after(&sleeper), WAITER_SERVED);
  CU_ASSERT_PTR_EQUAL(queue.each[0].block, &blocks[3]);
}

/* The hand-over shows the waiter what was written before it: a plain variable, that only the word publishes. */
static void test_waiters_serve_sleeping_threads_each_woken_with_its_block(void)
{
  unsigned i, count = rounds(200);
  for (i = 0; i < count; i++) {
    struct queue queue;
    struct sleeper sleepers[COUNT];
    int k;
    set_up(&queue, COUNT);
    for (k = COUNT; k-- != 0;)
      start(&sleepers[k], &queue, k, OS_NEVER);
    for (k = 0; k < COUNT; k++) {
      atomic_u32 *bell;
      lock_acquire(&queue.lock);
      bell = mempool__waiters_serve(&queue.waiters, &blocks[k]);
      lock_release(&queue.lock);
      mempool__os_wake(bell);
      CU_ASSERT_EQUAL(word_after(&sleepers[k]), WAITER_SERVED);
      CU_ASSERT_PTR_EQUAL(queue.each[k].block, &blocks[k]);
    }
    expect_queue(&queue, "");
  }
  printf("# %u rounds\n", count);
}

/* More waiters than bells: who is woken by another's bell sleeps on, and nobody sleeps through its own. */
static void test_waiters_serve_sleepers_on_one_bell_each_woken_with_its_block(void)
{
  unsigned i, count = rounds(200);
  for (i = 0; i < count; i++) {
    struct queue queue;
    struct sleeper sleepers[COUNT];
    int k;
    set_up(&queue, 0);
    for (k = 0; k < COUNT; k++) {
      queue.waiters.arrivals = (size_t)k * WAITER_BELLS;
      mempool__waiters_join(&queue.waiters, &queue.each[k]);
      CU_ASSERT_PTR_EQUAL(queue.each[k].bell, queue.each[0].bell);
    }
    for (k = COUNT; k-- != 0;)
      start(&sleepers[k], &queue, k, OS_NEVER);
    for (k = 0; k < COUNT; k++) {
      atomic_u32 *bell;
      lock_acquire(&queue.lock);
      CU_ASSERT_EQUAL(queue.waiters.count, (size_t)(COUNT - k));
      bell = mempool__waiters_serve(&queue.waiters, &blocks[k]);
      lock_release(&queue.lock);
      mempool__os_wake(bell);
      CU_ASSERT_EQUAL(word_after(&sleepers[k]), WAITER_SERVED);
      CU_ASSERT_PTR_EQUAL(queue.each[k].block, &blocks[k]);
    }
    expect_queue(&queue, "");
  }
  printf("# %u rounds\n", count);
}

/* A server may ring when the waiter has gone: so the bell must not be in its record. */
static void test_waiters_join_bell_in_the_queue_not_in_the_record(void)
{
  struct queue queue;
  size_t i;
  set_up(&queue, 0);
  for (i = 0; i < 3 * WAITER_BELLS; i++) {
    struct waiter waiter;
    atomic_u32 *bell;
    uint32_t before;
    mempool__waiters_join(&queue.waiters, &waiter);
    CU_ASSERT_PTR_EQUAL(waiter.bell, &queue.waiters.bells[i % WAITER_BELLS]);
    before = load_relaxed_u32(waiter.bell);
    bell = mempool__waiters_serve(&queue.waiters, &blocks[0]);
    CU_ASSERT_PTR_EQUAL(bell, &queue.waiters.bells[i % WAITER_BELLS]);
    CU_ASSERT_NOT_EQUAL(load_relaxed_u32(bell), before);
  }
}

static void test_waiters_close_sleeping_threads_each_woken(void)
{
  unsigned i, count = rounds(200);
  for (i = 0; i < count; i++) {
    struct queue queue;
    struct sleeper sleepers[COUNT];
    int k;
    set_up(&queue, COUNT);
    for (k = 0; k < COUNT; k++)
      start(&sleepers[k], &queue, k, OS_NEVER);
    for (k = 0; k < 8; k++)
      (void)sched_yield();
    lock_acquire(&queue.lock);
    mempool__waiters_close(&queue.waiters);
    lock_release(&queue.lock);
    for (k = 0; k < COUNT; k++)
      CU_ASSERT_EQUAL(word_after(&sleepers[k]), WAITER_CLOSED);
    expect_queue(&queue, "");
  }
  printf("# %u rounds\n", count);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_waiters_join_each_last_in_queue),
    TEST(test_waiters_serve_first_come_first_served),
    TEST(test_waiters_join_after_serve_behind_the_rest),
    TEST(test_waiter_sleep_first_timed_out_leaves),
    TEST(test_waiter_sleep_middle_timed_out_leaves),
    TEST(test_waiter_sleep_last_timed_out_leaves),
    TEST(test_waiter_sleep_all_timed_out_in_any_order_empty),
    TEST(test_waiter_sleep_only_one_timed_out_empty),
    TEST(test_waiter_sleep_deadline_to_come_not_before_it),
    TEST(test_waiter_sleep_served_already_and_deadline_past_served),
    TEST(test_waiters_close_all_sent_away),
    TEST(test_waiter_sleep_served_while_timing_out_served),
    TEST(test_waiter_sleep_closed_while_timing_out_closed),
    TEST(test_waiter_sleep_another_served_while_timing_out_leaves),
    TEST(test_waiter_sleep_woken_unserved_sleeps_on),
    TEST(test_waiters_serve_sleeping_threads_each_woken_with_its_block),
    TEST(test_waiters_serve_sleepers_on_one_bell_each_woken_with_its_block),
    TEST(test_waiters_join_bell_in_the_queue_not_in_the_record),
    TEST(test_waiters_close_sleeping_threads_each_woken),
  };
  return RUN_TESTS(tests);
}
