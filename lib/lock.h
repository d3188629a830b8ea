/* SPDX-License-Identifier: MIT */
/*
 * A lock in one word, that needs no clean-up: the third mutex of Ulrich
 * Drepper, "Futexes Are Tricky" (2011), with a short spin before sleeping.
 *
 * L1  The word is UNLOCKED, LOCKED, or CONTENDED: locked, and somebody may
 *     sleep on it.  Nobody sleeps on it while it is LOCKED or UNLOCKED,
 *     unless a wake-up is under way.
 */
#ifndef MEMPOOL_LOCK_H
#define MEMPOOL_LOCK_H

#include "atomics.h"

struct lock {
  atomic_u32 word;
};

enum { LOCK_UNLOCKED = 0, LOCK_LOCKED = 1, LOCK_CONTENDED = 2 };

void mempool__lock_contended(struct lock *lock);
void mempool__lock_wake(struct lock *lock);

static inline void lock_init(struct lock *lock)
{
  store_relaxed_u32(&lock->word, LOCK_UNLOCKED);
}

static inline void lock_acquire(struct lock *lock)
{
  /* Acquire, pairs with the release in lock_release(): what the last holder wrote is seen. */
  if (!compare_exchange_acquire_u32(&lock->word, LOCK_UNLOCKED, LOCK_LOCKED))
    mempool__lock_contended(lock);
}

/* Takes the lock if that needs no waiting. */
static inline bool lock_try(struct lock *lock)
{
  return compare_exchange_acquire_u32(&lock->word, LOCK_UNLOCKED, LOCK_LOCKED);
}

static inline void lock_release(struct lock *lock)
{
  if (exchange_release_u32(&lock->word, LOCK_UNLOCKED) == LOCK_CONTENDED)
    mempool__lock_wake(lock);
}

#endif /* MEMPOOL_LOCK_H */
