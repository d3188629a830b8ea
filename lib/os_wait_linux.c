/* SPDX-License-Identifier: MIT */
#include "os.h"

#if OS_HAS_FUTEX

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000

/* Of linux/futex.h, which not every C library comes with. */
enum { WAKE = 1, WAIT_BITSET = 9, PRIVATE = 128 };
#define MATCH_ANY UINT32_MAX

/* FUTEX_WAIT_BITSET and not FUTEX_WAIT: its time is a deadline of the monotonic clock. */
static long wait_until(long call, atomic_u32 *word, int private, uint32_t expected, const void *deadline)
{
  return syscall(call, word, WAIT_BITSET | private, expected, deadline, NULL, MATCH_ANY);
}

static void wait_long(atomic_u32 *word, int private, uint32_t expected, int64_t deadline_ns)
{
  int64_t seconds = deadline_ns / NS_PER_SECOND;
  struct {
    long seconds;
    long nanoseconds;
  } deadline = { (long)(seconds < LONG_MAX ? seconds : LONG_MAX), (long)(deadline_ns % NS_PER_SECOND) };
#ifdef SYS_futex_time64
  /* 32-bit systems have a call with a 64-bit time beside the old one, since Linux 5.1; a sandbox may not know it. */
  struct {
    int64_t seconds;
    int64_t nanoseconds;
  } deadline64 = { seconds, deadline_ns % NS_PER_SECOND };
  if (wait_until(SYS_futex_time64, word, private, expected, &deadline64) == 0 || (errno != ENOSYS && errno != EPERM))
    return;
#endif
  (void)wait_until(SYS_futex, word, private, expected, &deadline);
}

static bool wait_on(atomic_u32 *word, int private, uint32_t expected, int64_t deadline_ns)
{
  if (deadline_ns == OS_NEVER) {
    (void)wait_until(SYS_futex, word, private, expected, NULL);
    return true;
  }
  wait_long(word, private, expected, deadline_ns);
  /* By the clock, whatever the call said: it may not have been able to wait, or not for so long. */
  return mempool__os_now_ns() < deadline_ns;
}

bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  return wait_on(word, PRIVATE, expected, deadline_ns);
}

bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  return wait_on(word, 0, expected, deadline_ns);
}

void mempool__os_wake(atomic_u32 *word)
{
  (void)syscall(SYS_futex, word, WAKE | PRIVATE, INT_MAX, NULL, NULL, 0);
}

void mempool__os_wake_one(atomic_u32 *word)
{
  (void)syscall(SYS_futex, word, WAKE | PRIVATE, 1, NULL, NULL, 0);
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  (void)syscall(SYS_futex, word, WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
