/* SPDX-License-Identifier: MIT */
/* Taking blocks and giving them back. */
#include "pool.h"

#include "caches.h"
#include "care.h"
#include "debug.h"
#include "os.h"
#include "shared.h"
#include "threads.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
/* As often as not: both branches are laid out as hot, each with a return of its own. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_expect_with_probability)
#define evenly(condition) __builtin_expect_with_probability(!!(condition), 1, 0.5)
#endif
#endif
#ifndef evenly
#define evenly(condition) (condition)
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* Where the short ways begin, so that their cost doesn't depend on what lies before them. */
#define SHORT_WAY __attribute__((aligned(GEOMETRY_CACHE_LINE)))

/* In a pool with caches a block's place says outright that it is live, for those who don't hold the lock. */
static void mark_live(mempool *pool, void *const *blocks, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++)
    store_relaxed_u32(&pool->places[geometry_index(&pool->geometry, blocks[i])], DEPOT_LIVE);
  store_relaxed_word(&pool->handed_out, pool->depot->fresh);
}

/*
 * Takes up to count blocks, from the depot first and then such as were never
 * handed out: blocks[*first_new] and all behind it are of the latter kind.
 * With the lock held.  Returns how many.
 */
static size_t take(mempool *pool, void **blocks, size_t count, size_t *first_new)
{
  struct depot *depot = pool->depot;
  bool guard = (pool_mode(pool) & MODE_GUARD) != 0;
  size_t taken = 0;
  while (taken < count && depot->count > 0)
    blocks[taken++] = depot_take(depot);
  *first_new = taken;
  while (taken < count && depot->fresh < pool->geometry.capacity) {
    blocks[taken++] = geometry_address(&pool->geometry, (uint32_t)depot->fresh);
    if (guard)
      mempool__care_begin(pool, depot->fresh);
    depot_take_fresh(depot);
  }
  if (pool->caches_bytes > 0)
    mark_live(pool, blocks, taken);
  pool->alloc_count += taken;
  return taken;
}

/* Sees to blocks that were taken, which isn't done with the lock held; those from first_new on were never out. */
static void care_for_taken(mempool *pool, void *const *blocks, size_t count, size_t first_new)
{
  uint64_t damaged = 0;
  size_t i;
  if ((pool_mode(pool) & MODE_AT_ALLOC) == 0)
    return;
  for (i = 0; i < count; i++)
    damaged += !mempool__care_taken(pool, geometry_index(&pool->geometry, blocks[i]), i >= first_new);
  if (damaged == 0)
    return;
  pool_enter(pool);
  pool->damaged_blocks += damaged;
  pool_leave(pool);
}

/*
 * The long way of every allocation: takes at least `least` and at most
 * `count` blocks, or none.  If there are too few, *waiter joins the queue in
 * the same breath, unless waiter is NULL.  Returns how many were taken, and in
 * *status why there were none.
 */
static size_t take_between(mempool *pool, void **blocks, size_t least, size_t count, struct waiter *waiter,
                           mempool_status *status)
{
  size_t taken = 0;
  size_t first_new = 0;
  struct cache *cache;
  void *bundled;
  *status = MEMPOOL_OK;
  if (pool->caches_bytes > 0)
    mempool__thread_join();
  pool_enter(pool);
  cache = mempool__cache_opened(pool);
  if (cache != NULL)
    mempool__cache_empty(pool, cache);
  if (cache != NULL && count == 1 && (bundled = mempool__cache_take_bundled(pool, cache)) != NULL) {
    pool_leave(pool);
    *blocks = bundled;
    return 1;
  }
  mempool__caches_unbundle(pool, count); /* no block is new to the pool, and nobody robbed, while there are these */
  if (pool_available(pool) < count) {
    mempool__caches_gather(pool);
    cache = NULL;
  }
  if ((pool_mode(pool) & MODE_CLOSED) != 0) {
    *status = MEMPOOL_E_CLOSED;
  } else if (pool_available(pool) >= least) {
    taken = take(pool, blocks, count, &first_new);
    if (cache != NULL && count == 1)
      mempool__cache_refill(pool, cache);
  } else {
    *status = MEMPOOL_E_EXHAUSTED;
    if (waiter != NULL)
      mempool__waiters_join(&pool->waiters, waiter);
    else
      pool->failed_allocs++;
  }
  pool_leave(pool);
  care_for_taken(pool, blocks, taken, first_new);
  return taken;
}

static __attribute__((noinline)) void *alloc_long(mempool *pool)
{
  void *block = NULL;
  mempool_status status;
  if (pool_is_shared(pool))
    return mempool__shared_alloc(pool);
  (void)take_between(pool, &block, 1, 1, NULL, &status);
  return block;
}

/* For those who go the long way in a way of their own. */
static void *alloc_nothing(mempool *pool)
{
  (void)pool;
  return NULL;
}

/*
 * The short ways are leaves: all that they call, they call last, so that they
 * need no stack frame.
 */

/* Takes the block below the top of the calling thread's cache, in which it is, and leaves. */
static ALWAYS_INLINE void *take_inside(mempool *pool, struct cache *cache, struct cache_slot *top,
                                       void *(*otherwise)(mempool *))
{
  void *block = top[-1].block;
  atomic_u32 *place = top[-1].place;
  cache_set_top(cache, top - 1);
  if (unlikely(load_relaxed_u32(place) != DEPOT_HELD)) {
    /* Two frees of it raced, and it was listed twice: it is in use, or the depot has it. */
    cache_leave(cache);
    return otherwise(pool);
  }
  store_relaxed_u32(place, DEPOT_LIVE);
  cache_leave(cache);
  return block;
}

/* What is to be done when the cache is empty, or shut, or the fence must be the owner's own. */
static ALWAYS_INLINE void *take_at_gate(mempool *pool, struct cache *cache, void *(*otherwise)(mempool *))
{
  struct cache_slot *top;
  if (!mempool__cache_enter_fenced(cache))
    return otherwise(pool);
  top = cache_top(cache);
  if (top > cache->slots)
    return take_inside(pool, cache, top, otherwise);
  cache_leave(cache);
  return otherwise(pool);
}

static __attribute__((noinline)) void *alloc_at_gate(mempool *pool, struct cache *cache)
{
  return take_at_gate(pool, cache, alloc_long);
}

/* Takes a block the short way; what `otherwise` gives if there is none. */
static ALWAYS_INLINE void *alloc_short(mempool *pool, void *(*at_gate)(mempool *, struct cache *),
                                       void *(*otherwise)(mempool *))
{
  uintptr_t offset;
  if (evenly(pool->shortcut.count > 0))
    return depot_take(&pool->shortcut);
  offset = mempool__thread_offset;
  if (likely(offset < pool->caches_bytes)) {
    struct cache *cache = cache_at(pool, offset);
    struct cache_slot *top;
    cache_enter(cache);
    top = cache_top(cache);
    return likely(!cache_below(cache, top)) ? take_inside(pool, cache, top, otherwise) : at_gate(pool, cache);
  }
  return otherwise(pool);
}

SHORT_WAY void *mempool_alloc(mempool *pool)
{
  if (unlikely(pool == NULL))
    return NULL;
  return alloc_short(pool, alloc_at_gate, alloc_long);
}

mempool_status mempool_alloc_bulk(mempool *pool, void **blocks, size_t count)
{
  mempool_status status;
  if (pool == NULL || (blocks == NULL && count != 0))
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (pool_is_shared(pool))
    return mempool__shared_alloc_bulk(pool, blocks, count);
  (void)take_between(pool, blocks, count, count, NULL, &status);
  return status;
}

size_t mempool_alloc_burst(mempool *pool, void **blocks, size_t count)
{
  mempool_status status;
  if (pool == NULL || blocks == NULL || count == 0)
    return 0;
  if (pool_is_shared(pool))
    return mempool__shared_alloc_burst(pool, blocks, count);
  return take_between(pool, blocks, 1, count, NULL, &status);
}

/* The deadline of a wait that begins now; never, if there is none to be. */
static int64_t deadline_after(int64_t timeout_ns)
{
  int64_t now_ns;
  if (timeout_ns <= 0)
    return OS_NEVER;
  now_ns = mempool__os_now_ns();
  return timeout_ns < OS_NEVER - now_ns ? now_ns + timeout_ns : OS_NEVER;
}

/* The rest of a wait, once the waiter has joined the queue. */
static mempool_status wait_for_block(mempool *pool, void **block, struct waiter *waiter, int64_t deadline_ns)
{
  switch (mempool__waiter_sleep(&pool->waiters, waiter, &pool->lock, deadline_ns)) {
  case WAITER_SERVED:
    *block = waiter->block;
    care_for_taken(pool, block, 1, 1);
    return MEMPOOL_OK;
  case WAITER_CLOSED:
    return MEMPOOL_E_CLOSED;
  default:
    pool_enter(pool);
    pool->failed_allocs++;
    pool_leave(pool);
    return MEMPOOL_E_TIMED_OUT;
  }
}

static __attribute__((noinline)) void *alloc_nothing_at_gate(mempool *pool, struct cache *cache)
{
  return take_at_gate(pool, cache, alloc_nothing);
}

mempool_status mempool_alloc_wait(mempool *pool, void **block, int64_t timeout_ns)
{
  struct waiter waiter;
  mempool_status status;
  int64_t deadline_ns;
  bool alone;
  if (block != NULL)
    *block = NULL;
  if (pool == NULL || block == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (pool_is_shared(pool))
    return mempool__shared_alloc_wait(pool, block, timeout_ns);
  *block = alloc_short(pool, alloc_nothing_at_gate, alloc_nothing);
  if (*block != NULL)
    return MEMPOOL_OK;
  alone = (pool_mode(pool) & MODE_LOCKED) == 0;
  deadline_ns = deadline_after(timeout_ns);
  (void)take_between(pool, block, 1, 1, timeout_ns == 0 || alone ? NULL : &waiter, &status);
  if (status != MEMPOOL_E_EXHAUSTED || timeout_ns == 0)
    return status;
  if (!alone)
    return wait_for_block(pool, block, &waiter, deadline_ns);
  if (timeout_ns < 0)
    return status;
  mempool__os_sleep_until(deadline_ns);
  return MEMPOOL_E_TIMED_OUT;
}

/* Whether a block may be freed.  With the lock held. */
static mempool_status judge(mempool *pool, const void *block, uintptr_t index)
{
  mempool_status status = MEMPOOL_OK;
  if (index >= pool->geometry.capacity)
    status = MEMPOOL_E_FOREIGN_BLOCK;
  else if (index >= pool->depot->fresh || depot_is_full(pool->depot) || depot_is_free(pool->depot, block, index) ||
           depot_is_held(pool->depot, index))
    status = MEMPOOL_E_DOUBLE_FREE;
  if (status != MEMPOOL_OK)
    pool->refused_frees++;
  return status;
}

/*
 * Hands free blocks to those who wait, as long as there are both.  With the
 * lock held: nobody sees a block free in between (W1).  Returns the bell of
 * the one served last, to be rung once the lock is released; or NULL.
 */
static atomic_u32 *serve_waiters(mempool *pool)
{
  atomic_u32 *bell = NULL;
  void *block;
  while (pool->waiters.first != NULL && pool->depot->count > 0) {
    block = depot_take(pool->depot);
    if (bell != NULL)
      mempool__os_wake(bell);
    if (pool->caches_bytes > 0)
      mark_live(pool, &block, 1);
    pool->alloc_count++;
    bell = mempool__waiters_serve(&pool->waiters, block);
  }
  return bell;
}

static void leave_and_wake(mempool *pool, atomic_u32 *bell)
{
  pool_leave(pool);
  if (bell != NULL)
    mempool__os_wake(bell);
}

enum { BATCH = 64 };

/* Judges blocks, and holds those that may be freed, so that each is held once.  Returns why others are refused. */
static void hold_batch(mempool *pool, void *const *blocks, size_t count, mempool_status *judgements)
{
  size_t i;
  pool_enter(pool);
  for (i = 0; i < count; i++) {
    uintptr_t index = geometry_index(&pool->geometry, blocks[i]);
    judgements[i] = blocks[i] != NULL ? judge(pool, blocks[i], index) : MEMPOOL_OK;
    if (judgements[i] == MEMPOOL_OK && blocks[i] != NULL)
      depot_hold(pool->depot, index);
  }
  pool_leave(pool);
}

/*
 * Frees up to BATCH blocks that are to be looked over or wiped, which isn't
 * done with the lock held.  As in free_plainly(), one that stands there twice is
 * refused the second time.
 */
static mempool_status free_with_care(mempool *pool, void *const *blocks, size_t count)
{
  mempool_status judgements[BATCH];
  mempool_status damages[BATCH];
  mempool_status status = MEMPOOL_OK;
  size_t i;
  hold_batch(pool, blocks, count, judgements);
  for (i = 0; i < count; i++) {
    damages[i] = MEMPOOL_OK;
    if (judgements[i] != MEMPOOL_OK)
      mempool__debug_say_refused(pool, blocks[i], judgements[i]);
    else if (blocks[i] != NULL)
      damages[i] = mempool__care_freed(pool, geometry_index(&pool->geometry, blocks[i]));
  }
  pool_enter(pool);
  for (i = 0; i < count; i++) {
    pool->damaged_blocks += damages[i] != MEMPOOL_OK;
    if (judgements[i] == MEMPOOL_OK && blocks[i] != NULL)
      depot_give(pool->depot, blocks[i], geometry_index(&pool->geometry, blocks[i]));
    if (status == MEMPOOL_OK)
      status = judgements[i] != MEMPOOL_OK ? judgements[i] : damages[i];
  }
  leave_and_wake(pool, serve_waiters(pool));
  return status;
}

/* Gives a block back to the calling thread's cache, if that is open or may be, else to the depot. */
static void give_back(mempool *pool, void *block, uintptr_t index)
{
  struct cache *cache = mempool__cache_opened(pool);
  if (cache == NULL) {
    depot_give(pool->depot, block, index);
    return;
  }
  if (cache_count(cache) == cache->limit)
    mempool__cache_flush(pool, cache);
  depot_hold(pool->depot, index);
  cache_put(cache, cache_top(cache), block, &pool->places[index]);
}

/*
 * Frees blocks that need no looking over.  All of them are free before the
 * first is handed to a waiter, so that a block that stands in the array twice
 * is refused the second time.
 */
static mempool_status free_plainly(mempool *pool, void *const *blocks, size_t count)
{
  mempool_status status = MEMPOOL_OK;
  size_t i;
  pool_enter(pool);
  for (i = 0; i < count; i++) {
    uintptr_t index = geometry_index(&pool->geometry, blocks[i]);
    mempool_status judgement;
    if (blocks[i] == NULL)
      continue;
    judgement = judge(pool, blocks[i], index);
    if (judgement == MEMPOOL_OK)
      give_back(pool, blocks[i], index);
    else if (status == MEMPOOL_OK)
      status = judgement;
  }
  leave_and_wake(pool, serve_waiters(pool));
  return status;
}

/* The long way of every free. */
static mempool_status free_each(mempool *pool, void *const *blocks, size_t count)
{
  mempool_status status = MEMPOOL_OK;
  size_t i;
  if (pool->caches_bytes > 0)
    mempool__thread_join();
  if ((pool_mode(pool) & MODE_AT_FREE) == 0)
    return free_plainly(pool, blocks, count);
  for (i = 0; i < count; i += BATCH) {
    mempool_status one = free_with_care(pool, blocks + i, count - i < BATCH ? count - i : BATCH);
    if (status == MEMPOOL_OK)
      status = one;
  }
  return status;
}

static __attribute__((noinline)) mempool_status free_long(mempool *pool, void *block)
{
  if (pool_is_shared(pool))
    return mempool__shared_free(pool, block);
  return free_each(pool, &block, 1);
}

mempool_status mempool_free_bulk(mempool *pool, void *const *blocks, size_t count)
{
  if (pool == NULL || (blocks == NULL && count != 0))
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (pool_is_shared(pool))
    return mempool__shared_free_bulk(pool, blocks, count);
  return free_each(pool, blocks, count);
}

/* Puts a block at the top of the calling thread's cache, in which it is, and leaves; the long way if it is none. */
static ALWAYS_INLINE mempool_status give_inside(mempool *pool, struct cache *cache, struct cache_slot *top,
                                                void *block, uintptr_t index)
{
  if (likely(index < load_relaxed_word(&pool->handed_out))) {
    atomic_u32 *place = &pool->places[index];
    if (likely(load_relaxed_u32(place) == DEPOT_LIVE)) {
      store_relaxed_u32(place, DEPOT_HELD);
      cache_put(cache, top, block, place);
      cache_leave(cache);
      return MEMPOOL_OK;
    }
  }
  cache_leave(cache);
  return free_long(pool, block);
}

static __attribute__((noinline)) mempool_status free_at_gate(mempool *pool, void *block, struct cache *cache)
{
  struct cache_slot *top;
  if (!mempool__cache_enter_fenced(cache))
    return free_long(pool, block);
  top = cache_top(cache);
  if (top < cache->slots + cache->limit)
    return give_inside(pool, cache, top, block, geometry_index(&pool->geometry, block));
  cache_leave(cache);
  return free_long(pool, block);
}

SHORT_WAY mempool_status mempool_free(mempool *pool, void *block)
{
  uintptr_t offset;
  uintptr_t index;
  if (unlikely(pool == NULL))
    return MEMPOOL_E_INVALID_ARGUMENT;
  index = geometry_index(&pool->geometry, block);
  if (evenly(index < pool->shortcut.fresh)) {
    if (unlikely(depot_lists(&pool->shortcut, block, index)))
      return free_long(pool, block);
    depot_give(&pool->shortcut, block, index);
    return MEMPOOL_OK;
  }
  offset = mempool__thread_offset;
  if (likely(offset < pool->caches_bytes)) {
    struct cache *cache = cache_at(pool, offset);
    struct cache_slot *top;
    cache_enter(cache);
    top = cache_top(cache);
    return likely(!cache_above(cache, top)) ? give_inside(pool, cache, top, block, index)
                                            : free_at_gate(pool, block, cache);
  }
  return free_long(pool, block);
}
