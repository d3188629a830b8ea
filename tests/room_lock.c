/* SPDX-License-Identifier: MIT */
/*
 * The lock.  A wake-up that is lost shows as a test that doesn't end: no test
 * here measures time.
 */
#include "lock.h"
#include "os.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 32 };

static unsigned rounds(unsigned count)
{
  return getenv("TEST_SLOW_TOOL") != NULL ? count / 20 : count;
}

static uint32_t word_of(const struct lock *lock)
{
  return load_relaxed_u32(&lock->word);
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
  CU_ASSERT_EQUAL_FATAL(pthread_create(thread, NULL, run, arg), 0);
}

static void join(pthread_t thread)
{
  CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
}

static void test_lock_alone_locked_and_unlocked(void)
{
  struct lock lock;
  int i;
  /* Any word may have been there before. */
  store_relaxed_u32(&lock.word, 77);
  lock_init(&lock);
  CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
  for (i = 0; i < 3; i++) {
    lock_acquire(&lock);
    CU_ASSERT_EQUAL(word_of(&lock), LOCK_LOCKED);
    lock_release(&lock);
    CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
  }
}

static void test_lock_contended_but_come_free_acquired(void)
{
  struct lock lock;
  lock_init(&lock);
  mempool__lock_contended(&lock);
  CU_ASSERT(word_of(&lock) != LOCK_UNLOCKED);
  lock_release(&lock);
  CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
}

/* Nobody sleeps there: the wake-up is for nothing, and does no harm. */
static void test_lock_release_contended_without_sleeper_unlocked(void)
{
  struct lock lock;
  store_relaxed_u32(&lock.word, LOCK_CONTENDED);
  lock_release(&lock);
  CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
  lock_acquire(&lock);
  CU_ASSERT_EQUAL(word_of(&lock), LOCK_LOCKED);
  lock_release(&lock);
}

struct contender {
  struct lock *lock;
  unsigned *counter; /* plain: only the lock protects it */
  unsigned seen;
  uint32_t word;     /* while the contender held the lock */
};

static void *contend(void *arg)
{
  struct contender *contender = arg;
  lock_acquire(contender->lock);
  contender->word = word_of(contender->lock);
  contender->seen = (*contender->counter)++;
  lock_release(contender->lock);
  return NULL;
}

/*
 * The word tells when the other thread has given up spinning, and is about to
 * sleep or sleeps already.
 */
static void test_lock_release_sleeper_woken_and_word_contended(void)
{
  unsigned i, count = rounds(2000);
  for (i = 0; i < count; i++) {
    struct lock lock;
    unsigned counter = 5;
    struct contender contender = { &lock, &counter, 0, LOCK_UNLOCKED };
    pthread_t thread;
    lock_init(&lock);
    lock_acquire(&lock);
    start(&thread, contend, &contender);
    while (word_of(&lock) != LOCK_CONTENDED)
      (void)sched_yield();
    CU_ASSERT_EQUAL(counter, 5);
    counter = 6;
    lock_release(&lock);
    join(thread);
    CU_ASSERT_EQUAL(contender.seen, 6);
    CU_ASSERT_EQUAL(counter, 7);
    /* L1: it can't know that it was the only one, so it doesn't leave LOCKED behind. */
    CU_ASSERT_EQUAL(contender.word, LOCK_CONTENDED);
    CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
  }
  printf("# %u hand-overs\n", count);
}

/* One release wakes one of them; the others are woken by those who were woken. */
static void test_lock_release_many_sleepers_each_woken(void)
{
  unsigned i, k, count = rounds(400);
  for (i = 0; i < count; i++) {
    struct lock lock;
    unsigned counter = 0, seen = 0;
    struct contender contenders[8];
    pthread_t threads[8];
    lock_init(&lock);
    lock_acquire(&lock);
    for (k = 0; k < 8; k++) {
      contenders[k] = (struct contender){ &lock, &counter, 0, LOCK_UNLOCKED };
      start(&threads[k], contend, &contenders[k]);
    }
    while (word_of(&lock) != LOCK_CONTENDED)
      (void)sched_yield();
    /* Most of the others come to sleep as well. */
    for (k = 0; k < 16; k++)
      (void)sched_yield();
    lock_release(&lock);
    for (k = 0; k < 8; k++) {
      join(threads[k]);
      seen |= 1u << contenders[k].seen;
    }
    CU_ASSERT_EQUAL(seen, 0xff);
    CU_ASSERT_EQUAL(word_of(&lock), LOCK_UNLOCKED);
  }
  printf("# %u times eight sleepers\n", count);
}

struct crowd {
  struct lock lock;
  unsigned counter;
  unsigned inside;
  unsigned rounds;
  unsigned yield_every; /* holds the lock for a time slice now and then, which drives the others to sleep */
  atomic_u32 together;  /* how often two were inside */
  atomic_u32 odd_words; /* how often the word was none that L1 allows */
};

static void *count_up(void *arg)
{
  struct crowd *crowd = arg;
  unsigned i;
  for (i = 0; i < crowd->rounds; i++) {
    uint32_t word;
    lock_acquire(&crowd->lock);
    if (crowd->inside++ != 0)
      store_relaxed_u32(&crowd->together, 1);
    crowd->counter++;
    word = word_of(&crowd->lock);
    if (word != LOCK_LOCKED && word != LOCK_CONTENDED)
      store_relaxed_u32(&crowd->odd_words, 1);
    if (crowd->yield_every != 0 && i % crowd->yield_every == 0)
      (void)sched_yield();
    crowd->inside--;
    lock_release(&crowd->lock);
  }
  return NULL;
}

static void run_crowd(unsigned threads, unsigned rounds_each, unsigned yield_every)
{
  struct crowd crowd = { .rounds = rounds_each, .yield_every = yield_every };
  pthread_t running[MOST_THREADS];
  unsigned i;
  lock_init(&crowd.lock);
  for (i = 0; i < threads; i++)
    start(&running[i], count_up, &crowd);
  for (i = 0; i < threads; i++)
    join(running[i]);
  CU_ASSERT_EQUAL(crowd.counter, threads * rounds_each);
  CU_ASSERT_EQUAL(crowd.inside, 0);
  CU_ASSERT_EQUAL(load_relaxed_u32(&crowd.together), 0);
  CU_ASSERT_EQUAL(load_relaxed_u32(&crowd.odd_words), 0);
  CU_ASSERT_EQUAL(word_of(&crowd.lock), LOCK_UNLOCKED);
  printf("# %u threads, %u rounds each\n", threads, rounds_each);
}

static void test_lock_two_threads_one_inside(void)
{
  run_crowd(2, rounds(200000), 0);
}

static void test_lock_more_threads_than_cores_one_inside(void)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  unsigned threads = cores > 0 && cores < MOST_THREADS / 4 ? 4 * (unsigned)cores : MOST_THREADS;
  run_crowd(threads, rounds(160000) / threads, 0);
  run_crowd(threads, rounds(32000) / threads, 8);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_lock_alone_locked_and_unlocked),
    TEST(test_lock_contended_but_come_free_acquired),
    TEST(test_lock_release_contended_without_sleeper_unlocked),
    TEST(test_lock_release_sleeper_woken_and_word_contended),
    TEST(test_lock_release_many_sleepers_each_woken),
    TEST(test_lock_two_threads_one_inside),
    TEST(test_lock_more_threads_than_cores_one_inside),
  };
  return RUN_TESTS(tests);
}
