/* SPDX-License-Identifier: MIT */
/*
 * Waiting without a futex: one mutex and one condition variable for every
 * word.  A wake-up wakes all who wait, on whatever word; each looks at its
 * own word again, as os.h allows.  Slow where many wait, and always right.
 */
#include "os.h"

#if !OS_HAS_FUTEX && !defined(__EMSCRIPTEN__)

#include <pthread.h>
#include <time.h>

#define NS_PER_SECOND 1000000000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t changed;

static void make_condition(void)
{
  pthread_condattr_t attributes;
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&changed, &attributes);
  (void)pthread_condattr_destroy(&attributes);
}

/* A deadline that time_t can hold: who is woken too early waits again. */
static struct timespec timespec_of(int64_t deadline_ns)
{
  struct timespec deadline;
  int64_t seconds = deadline_ns / NS_PER_SECOND;
  if (sizeof(time_t) < sizeof(int64_t) && seconds > INT32_MAX)
    seconds = INT32_MAX;
  deadline.tv_sec = (time_t)seconds;
  deadline.tv_nsec = (long)(deadline_ns % NS_PER_SECOND);
  return deadline;
}

bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  struct timespec deadline = timespec_of(deadline_ns);
  int cancel_state;
  (void)pthread_once(&once, make_condition);
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
  (void)pthread_mutex_lock(&mutex);
  /*
   * The word is changed before os_wake() takes the mutex: either we see the
   * change here, or we sleep before the wake-up is sent.
   */
  if (load_relaxed_u32(word) == expected) {
    if (deadline_ns == OS_NEVER)
      (void)pthread_cond_wait(&changed, &mutex);
    else
      (void)pthread_cond_timedwait(&changed, &mutex, &deadline);
  }
  (void)pthread_mutex_unlock(&mutex);
  (void)pthread_setcancelstate(cancel_state, NULL);
  return deadline_ns == OS_NEVER || mempool__os_now_ns() < deadline_ns;
}

/* A condition variable that another process shares may die with it: so this looks again after a while. */
bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  enum { NAP_NS = 1000000 };
  int64_t now_ns = mempool__os_now_ns();
  if (load_relaxed_u32(word) == expected && now_ns < deadline_ns) {
    struct timespec nap = { 0, NAP_NS };
    int cancelling;
    if (deadline_ns - now_ns < NAP_NS)
      nap.tv_nsec = (long)(deadline_ns - now_ns);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    (void)nanosleep(&nap, NULL);
    (void)pthread_setcancelstate(cancelling, &cancelling);
  }
  return deadline_ns == OS_NEVER || mempool__os_now_ns() < deadline_ns;
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  (void)word;
}

void mempool__os_wake(atomic_u32 *word)
{
  (void)word;
  (void)pthread_once(&once, make_condition);
  (void)pthread_mutex_lock(&mutex);
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&mutex);
}

void mempool__os_wake_one(atomic_u32 *word)
{
  mempool__os_wake(word);
}

#endif
