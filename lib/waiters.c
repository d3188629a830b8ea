/* SPDX-License-Identifier: MIT */
#include "waiters.h"

#include "os.h"

void mempool__waiters_join(struct waiters *waiters, struct waiter *waiter)
{
  waiter->next = NULL;
  waiter->previous = waiters->last;
  waiter->block = NULL;
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

atomic_u32 *mempool__waiters_serve(struct waiters *waiters, void *block)
{
  struct waiter *first = waiters->first;
  leave(waiters, first);
  first->block = block;
  /* Release, pairs with the acquire in waiter_sleep(): the waiter sees block, and what was written into it. */
  store_release_u32(&first->word, WAITER_SERVED);
  return &first->word;
}

void mempool__waiters_close(struct waiters *waiters)
{
  while (waiters->first != NULL) {
    struct waiter *first = waiters->first;
    leave(waiters, first);
    store_release_u32(&first->word, WAITER_CLOSED);
    mempool__os_wake(&first->word);
  }
}

uint32_t mempool__waiter_sleep(struct waiters *waiters, struct waiter *waiter, struct lock *lock, int64_t deadline_ns)
{
  uint32_t word;
  /* Acquire, pairs with the releases in serve() and close(). */
  while ((word = load_acquire_u32(&waiter->word)) == WAITER_WAITING) {
    if (mempool__os_wait(&waiter->word, WAITER_WAITING, deadline_ns))
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
