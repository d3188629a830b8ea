/* SPDX-License-Identifier: MIT */
#include "os.h"

#if OS_HAS_FUTEX

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000

/* 32-bit systems have the call with a 64-bit time beside the old one since Linux 5.1. */
#ifdef SYS_futex_time64
#define FUTEX_CALL SYS_futex_time64
typedef struct {
  int64_t seconds;
  int64_t nanoseconds;
} futex_time;
#else
#define FUTEX_CALL SYS_futex
typedef struct {
  time_t seconds;
  long nanoseconds;
} futex_time;
#endif

bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  futex_time time;
  futex_time *deadline = NULL;
  if (deadline_ns != OS_NEVER) {
    time.seconds = deadline_ns / NS_PER_SECOND;
    time.nanoseconds = deadline_ns % NS_PER_SECOND;
    deadline = &time;
  }
  /* FUTEX_WAIT_BITSET and not FUTEX_WAIT: its time is a deadline of the monotonic clock. */
  return syscall(FUTEX_CALL, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, deadline, NULL,
                 FUTEX_BITSET_MATCH_ANY) == 0 ||
         errno != ETIMEDOUT;
}

void mempool__os_wake(atomic_u32 *word)
{
  (void)syscall(FUTEX_CALL, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

#endif
