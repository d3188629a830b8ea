/* SPDX-License-Identifier: MIT */
/*
 * The threads that wait for a block, in the order of their arrival.  Each has
 * a record on its own stack, and sleeps on a bell, which is the pool's: who
 * rings it may do so when the waiter has returned already, so it must not be
 * the waiter's.  Up to WAITER_BELLS waiters in a row have a bell each, so that
 * a hand-over mostly wakes the right one and nobody else.
 *
 * W1  Whenever the lock is free, somebody is in the queue only if the depot is
 *     empty and the pool open: a block that comes free goes to the first in
 *     the queue, before anybody else could see it.
 * W2  A waiter is in the queue if and only if its word is WAITER_WAITING.
 *     The word and the queue change under the pool's lock.
 * W3  The word is the last of a waiter that another thread touches: once it
 *     has left WAITER_WAITING the waiter may be gone.
 * W4  After a waiter's word its bell's number changes, and then the bell is
 *     rung.  Nobody sleeps who saw the new number.
 */
#ifndef MEMPOOL_WAITERS_H
#define MEMPOOL_WAITERS_H

#include "atomics.h"
#include "lock.h"

#include <stddef.h>

enum { WAITER_BELLS = 16 };

enum { WAITER_WAITING = 0, WAITER_SERVED = 1, WAITER_CLOSED = 2 };

struct waiter {
  struct waiter *next;
  struct waiter *previous;
  void *block; /* once the word is WAITER_SERVED */
  atomic_u32 *bell;
  atomic_u32 word;
};

struct waiters {
  struct waiter *first;
  struct waiter *last;
  size_t count;
  size_t arrivals; /* up to now */
  atomic_u32 bells[WAITER_BELLS];
};

/* All but waiter_sleep() are called with the pool's lock held. */

/* Appends a waiter. */
void mempool__waiters_join(struct waiters *waiters, struct waiter *waiter);

/* Gives a block to the first waiter; there is one.  Returns the bell to ring, by os_wake(), once the lock is released. */
atomic_u32 *mempool__waiters_serve(struct waiters *waiters, void *block);

/* Sends every waiter away with nothing, and wakes it. */
void mempool__waiters_close(struct waiters *waiters);

/*
 * Sleeps, without the lock, until the waiter is served, or sent away, or the
 * deadline is reached: then it leaves the queue.  Returns its word;
 * WAITER_WAITING says that it timed out.
 */
uint32_t mempool__waiter_sleep(struct waiters *waiters, struct waiter *waiter, struct lock *lock, int64_t deadline_ns);

#endif /* MEMPOOL_WAITERS_H */
