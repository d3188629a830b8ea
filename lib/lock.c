/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include "os.h"

/* The lock is held for some tens of instructions, so it mostly comes free before a sleep would have begun. */
enum { SPINS = 64 };

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
  __asm__ __volatile__("yield");
#endif
}

void mempool__lock_contended(struct lock *lock)
{
  int spin;
  for (spin = 0; spin < SPINS; spin++) {
    relax();
    if (load_relaxed_u32(&lock->word) == LOCK_UNLOCKED &&
        compare_exchange_acquire_u32(&lock->word, LOCK_UNLOCKED, LOCK_LOCKED))
      return;
  }
  /* Who comes from here can't know whether others sleep, so leaves CONTENDED behind (L1). */
  while (exchange_acquire_u32(&lock->word, LOCK_CONTENDED) != LOCK_UNLOCKED)
    (void)mempool__os_wait(&lock->word, LOCK_CONTENDED, OS_NEVER);
}

void mempool__lock_wake(struct lock *lock)
{
  mempool__os_wake_one(&lock->word);
}
