/* SPDX-License-Identifier: MIT */
#include "waiters.h"

#include "os.h"

void mempool__waiters_join(struct waiters *waiters, struct waiter *waiter)
{
  waiter->next = NULL;
  waiter->previous = waiters->last;
  waiter->block = NULL;
  waiter->bell = &waiters->bells[waiters->arrivals++ % WAITER_BELLS];
  store_relaxed_u32(&waiter->word, WAITER_WAITING);
  if (waiters->last != NULL)
    waiters->last->next = waiter;
  else
    waiters->first = waiter;
  waiters->last = waiter;
  waiters->count++;
}

static void leave(struct waiters *waiters, struct waiter *waiter)
{
  if (waiter->previous != NULL)
    waiter->previous->next = waiter->next;
  else
    waiters->first = waiter->next;
  if (waiter->next != NULL)
    waiter->next->previous = waiter->previous;
  else
    waiters->last = waiter->previous;
  waiters->count--;
}

/* Takes the first waiter out of the queue and tells it why.  Returns its bell. */
static atomic_u32 *dismiss_first(struct waiters *waiters, uint32_t why)
{
  struct waiter *first = waiters->first;
  atomic_u32 *bell = first->bell;
  leave(waiters, first);
  /* Release, pairs with the acquire in waiter_sleep(): the waiter sees its block, and what was written into it. */
  store_release_u32(&first->word, why);
  /* Release too: who sees the number sees the word (W4).  All who change it hold the lock. */
  store_release_u32(bell, load_relaxed_u32(bell) + 1);
  return bell;
}

atomic_u32 *mempool__waiters_serve(struct waiters *waiters, void *block)
{
  waiters->first->block = block;
  return dismiss_first(waiters, WAITER_SERVED);
}

void mempool__waiters_close(struct waiters *waiters)
{
  while (waiters->first != NULL)
    mempool__os_wake(dismiss_first(waiters, WAITER_CLOSED));
}

uint32_t mempool__waiter_sleep(struct waiters *waiters, struct waiter *waiter, struct lock *lock, int64_t deadline_ns)
{
  uint32_t word;
  for (;;) {
    /* Acquire, both, pairs with the releases in dismiss_first(); in this order (W4). */
    uint32_t number = load_acquire_u32(waiter->bell);
    word = load_acquire_u32(&waiter->word);
    if (word != WAITER_WAITING)
      break;
    if (mempool__os_wait(waiter->bell, number, deadline_ns))
      continue;
    /* Out of time; but it may be served until it has the lock (W2). */
    lock_acquire(lock);
    word = load_relaxed_u32(&waiter->word);
    if (word == WAITER_WAITING)
      leave(waiters, waiter);
    lock_release(lock);
    break;
  }
  return word;
}
