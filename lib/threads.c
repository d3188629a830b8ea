/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include "caches.h"
#include "care.h"
#include "os.h"
#include "shared.h"

#include <pthread.h>

_Thread_local uintptr_t mempool__thread_offset INITIAL_EXEC = THREAD_NEW;

static struct lock registry;
/* Under the registry's lock. */
static mempool *first_pool;
static bool slot_taken[THREAD_SLOTS];

/*
 * The first pool from a link on.  The caller's memory may have been put to
 * another use without mempool_destroy(): such a pool is none any more, and
 * what came behind it is lost to the list; nothing is written there.
 */
static mempool *first_from(mempool **link)
{
  if (*link != NULL && (*link)->self != *link)
    *link = NULL;
  return *link;
}

/* Set once, before the first pool is on the list. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_key;
static pthread_key_t key; /* its value, of a thread that has a slot, is not NULL: so leave() is called when it ends */
static uint32_t open_gate;

/* At the end of a thread: its caches are emptied, and its slot is free again. */
static void leave(void *unused)
{
  uintptr_t offset = mempool__thread_offset;
  mempool *pool;
  (void)unused;
  /* What the thread's other destructors and its signal handlers still do, they do without a slot. */
  mempool__thread_offset = THREAD_WITHOUT;
  lock_acquire(&registry);
  for (pool = first_from(&first_pool); pool != NULL; pool = first_from(&pool->next)) {
    if (pool_is_shared(pool)) {
      mempool__shared_leave(pool, offset / sizeof(struct cache));
      continue;
    }
    lock_acquire(&pool->lock);
    mempool__cache_close(pool, offset);
    lock_release(&pool->lock);
  }
  slot_taken[offset / sizeof(struct cache)] = false;
  lock_release(&registry);
}

/* With the registry's lock. */
static void find_slot(void)
{
  uint32_t slot = 0;
  while (slot < THREAD_SLOTS && slot_taken[slot])
    slot++;
  if (slot < THREAD_SLOTS && has_key && pthread_setspecific(key, slot_taken) == 0) {
    slot_taken[slot] = true;
    mempool__thread_offset = slot * sizeof(struct cache);
  }
}

/* With the registry's lock, which a handler that interrupts us doesn't get; one that came before may have joined. */
static void take_slot(void)
{
  if (mempool__thread_offset != THREAD_NEW)
    return;
  mempool__thread_offset = THREAD_WITHOUT;
  find_slot();
}

void mempool__thread_join(void)
{
  if (mempool__thread_offset != THREAD_NEW)
    return;
  lock_acquire(&registry);
  take_slot();
  lock_release(&registry);
}

/* Whether pthread_setspecific() only stores a pointer, rather than call malloc(). */
static bool key_is_simple(void)
{
#ifdef __GLIBC__
  enum { SIMPLE_KEYS = 32 };
  return key < SIMPLE_KEYS;
#else
  return true;
#endif
}

void mempool__thread_join_at_once(void)
{
  if (mempool__thread_offset != THREAD_NEW || !has_key || !key_is_simple() || !lock_try(&registry))
    return;
  take_slot();
  lock_release(&registry);
}

/*
 * The offset of the thread that forks, which has none meanwhile: a handler that
 * interrupts it in the child must not work in what is still the parent's.
 */
static uintptr_t forking;

/* Before a fork: nobody is inside any pool, and every cache is empty. */
static void before_fork(void)
{
  mempool *pool;
  lock_acquire(&registry);
  forking = mempool__thread_offset;
  mempool__thread_offset = THREAD_WITHOUT;
  for (pool = first_from(&first_pool); pool != NULL; pool = first_from(&pool->next)) {
    if (pool_is_shared(pool))
      mempool__shared_before_fork(pool);
    lock_acquire(&pool->lock);
    mempool__caches_shut(pool);
  }
  mempool__os_fence_all();
  for (pool = first_from(&first_pool); pool != NULL; pool = first_from(&pool->next))
    mempool__caches_empty(pool);
}

static void after_fork_in_parent(void)
{
  mempool *pool;
  for (pool = first_from(&first_pool); pool != NULL; pool = first_from(&pool->next))
    lock_release(&pool->lock);
  mempool__thread_offset = forking;
  lock_release(&registry);
}

/* In the child nobody goes on with the frees that others had begun (in pools that wipe or look blocks over). */
static void finish_frees(mempool *pool)
{
  uint32_t index;
  if ((pool_mode(pool) & MODE_AT_FREE) == 0)
    return;
  for (index = 0; index < pool->depot->fresh; index++) {
    void *block = geometry_address(&pool->geometry, index);
    if (!depot_is_held(pool->depot, index))
      continue;
    mempool__care_renew(pool, index);
    depot_give(pool->depot, block, index);
  }
}

/* In the child there is one thread, and so nobody waits. */
static void after_fork_in_child(void)
{
  mempool *pool;
  uint32_t slot;
  open_gate = mempool__os_fence_prepare() ? GATE_OPEN : GATE_FENCED;
  for (slot = 0; slot < THREAD_SLOTS; slot++)
    slot_taken[slot] = slot * sizeof(struct cache) == forking;
  for (pool = first_from(&first_pool); pool != NULL; pool = first_from(&pool->next)) {
    if (pool_is_shared(pool))
      mempool__shared_forget(pool);
    pool->waiters.first = NULL;
    pool->waiters.last = NULL;
    pool->waiters.count = 0;
    pool->open_gate = open_gate;
    finish_frees(pool);
    mempool__caches_forget_owners(pool);
    lock_init(&pool->lock);
  }
  mempool__thread_offset = forking;
  lock_init(&registry);
}

static void prepare(void)
{
  open_gate = mempool__os_fence_prepare() ? GATE_OPEN : GATE_FENCED;
  has_key = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0 &&
            pthread_key_create(&key, leave) == 0;
}

void mempool__threads_add(mempool *pool)
{
  (void)pthread_once(&once, prepare);
  lock_acquire(&registry);
  pool->open_gate = open_gate;
  pool->previous = NULL;
  pool->next = first_from(&first_pool);
  if (pool->next != NULL)
    pool->next->previous = pool;
  pool->self = pool;
  first_pool = pool;
  lock_release(&registry);
}

/*
 * With the registry's lock.  What stands before the pool may be none any more;
 * then the pool is lost to the list, and so is what stands behind it, which must
 * not look for it later.
 */
static void take_off(mempool *pool)
{
  mempool *previous = pool->previous;
  mempool *next = first_from(&pool->next);
  mempool **link = &first_pool;
  pool->self = NULL;
  if (next != NULL && next->previous == pool)
    next->previous = previous;
  if (previous != NULL) {
    if (previous->self != previous)
      return;
    link = &previous->next;
  }
  if (*link == pool)
    *link = next;
}

void mempool__threads_remove(mempool *pool)
{
  lock_acquire(&registry);
  take_off(pool);
  lock_release(&registry);
}

static bool lies_in(const mempool *pool, const void *memory, size_t bytes)
{
  return (uintptr_t)pool - (uintptr_t)memory < bytes ||
         (pool_is_shared(pool) && (uintptr_t)pool->room->header - (uintptr_t)memory < bytes);
}

void mempool__threads_remove_in(const void *memory, size_t bytes)
{
  mempool **link = &first_pool;
  lock_acquire(&registry);
  while (first_from(link) != NULL) {
    mempool *pool = *link;
    if (lies_in(pool, memory, bytes))
      take_off(pool);
    else
      link = &pool->next;
  }
  lock_release(&registry);
}
