/* SPDX-License-Identifier: MIT */
/* Taking blocks and giving them back. */
#include "pool.h"

#include "caches.h"
#include "os.h"
#include "threads.h"

#include <string.h>

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* In a pool with caches a block's place says outright that it is live, for those who don't hold the lock. */
static void mark_live(mempool *pool, void *const *blocks, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++)
    store_relaxed_u32(&pool->places[geometry_index(&pool->geometry, blocks[i])], DEPOT_LIVE);
  pool->depot->out = NULL;
  store_relaxed_u32(&pool->handed_out, pool->depot->fresh);
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
  void *block;
  while (taken < count && (block = depot_take(depot)) != NULL)
    blocks[taken++] = block;
  *first_new = taken;
  while (taken < count && depot->fresh < pool->geometry.capacity) {
    block = geometry_address(&pool->geometry, depot->fresh);
    if (guard)
      mempool__canary_set(pool, depot->fresh);
    depot_take_fresh(depot, block);
    blocks[taken++] = block;
  }
  if (pool->caches_bytes > 0)
    mark_live(pool, blocks, taken);
  pool->alloc_count += taken;
  return taken;
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
  *status = MEMPOOL_OK;
  if (pool->caches_bytes > 0)
    mempool__thread_join();
  pool_enter(pool);
  cache = mempool__cache_opened(pool);
  if (cache != NULL)
    mempool__cache_empty(pool, cache);
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
  if ((pool_mode(pool) & MODE_ZERO_FIRST) != 0) {
    for (; first_new < taken; first_new++)
      memset(blocks[first_new], 0, pool->block_size);
  }
  return taken;
}

static __attribute__((noinline)) void *alloc_long(mempool *pool)
{
  void *block = NULL;
  mempool_status status;
  (void)take_between(pool, &block, 1, 1, NULL, &status);
  return block;
}

/*
 * The short ways are leaves: all that they call, they call last, so that they
 * need no stack frame.
 */

/* Takes a block from the calling thread's cache, in which it is; the long way if there is none. */
static ALWAYS_INLINE void *alloc_inside(mempool *pool, struct cache *cache)
{
  void *block = load_relaxed_pointer(&cache->hot);
  atomic_u32 *place;
  if (likely(block != NULL)) {
    place = cache->last_place;
    store_relaxed_pointer(&cache->hot, NULL);
  } else {
    uint32_t count = load_relaxed_u32(&cache->count);
    if (count == 0) {
      cache_leave(cache);
      return alloc_long(pool);
    }
    store_relaxed_u32(&cache->count, --count);
    block = cache->slots[count];
    place = &pool->places[geometry_index(&pool->geometry, block)];
    cache->last_place = place;
  }
  cache->out = block;
  if (unlikely(load_relaxed_u32(place) != DEPOT_HELD)) {
    /* Two frees of it raced, and it was listed twice: it is in use, or the depot has it. */
    cache_leave(cache);
    return alloc_long(pool);
  }
  store_relaxed_u32(place, DEPOT_LIVE);
  cache_leave(cache);
  return block;
}

static __attribute__((noinline)) void *alloc_at_gate(mempool *pool, struct cache *cache)
{
  return mempool__cache_enter_fenced(cache) ? alloc_inside(pool, cache) : alloc_long(pool);
}

void *mempool_alloc(mempool *pool)
{
  uintptr_t offset;
  void *block;
  if (pool == NULL)
    return NULL;
  block = depot_take(&pool->shortcut);
  if (likely(block != NULL))
    return block;
  offset = mempool__thread_offset;
  if (likely(offset < pool->caches_bytes)) {
    struct cache *cache = cache_at(pool, offset);
    return likely(cache_enter(cache)) ? alloc_inside(pool, cache) : alloc_at_gate(pool, cache);
  }
  return alloc_long(pool);
}

mempool_status mempool_alloc_bulk(mempool *pool, void **blocks, size_t count)
{
  mempool_status status;
  if (pool == NULL || (blocks == NULL && count != 0))
    return MEMPOOL_E_INVALID_ARGUMENT;
  (void)take_between(pool, blocks, count, count, NULL, &status);
  return status;
}

size_t mempool_alloc_burst(mempool *pool, void **blocks, size_t count)
{
  mempool_status status;
  if (pool == NULL || blocks == NULL || count == 0)
    return 0;
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
  else if (index >= pool->depot->fresh || depot_is_free(pool->depot, block, index) ||
           depot_is_held(pool->depot, index))
    status = MEMPOOL_E_DOUBLE_FREE;
  if (status != MEMPOOL_OK)
    pool->refused_frees++;
  return status;
}

/*
 * Hands free blocks to those who wait, as long as there are both.  With the
 * lock held: nobody sees a block free in between (W1).  Returns the word of
 * the one served last, to be woken once the lock is released; or NULL.
 */
static atomic_u32 *serve_waiters(mempool *pool)
{
  atomic_u32 *word = NULL;
  void *block;
  while (pool->waiters.first != NULL && (block = depot_take(pool->depot)) != NULL) {
    if (word != NULL)
      mempool__os_wake(word);
    if (pool->caches_bytes > 0)
      mark_live(pool, &block, 1);
    pool->alloc_count++;
    word = mempool__waiters_serve(&pool->waiters, block);
  }
  return word;
}

static void leave_and_wake(mempool *pool, atomic_u32 *word)
{
  pool_leave(pool);
  if (word != NULL)
    mempool__os_wake(word);
}

/* Frees one block that is to be looked over or wiped, which isn't done with the lock held. */
static mempool_status free_with_care(mempool *pool, void *block)
{
  uintptr_t index = geometry_index(&pool->geometry, block);
  uint32_t mode = pool_mode(pool);
  mempool_status status;
  pool_enter(pool);
  status = judge(pool, block, index);
  if (status == MEMPOOL_OK)
    depot_hold(pool->depot, index);
  pool_leave(pool);
  if (status != MEMPOOL_OK)
    return status;
  if ((mode & MODE_GUARD) != 0 && !mempool__canary_whole(pool, index)) {
    status = MEMPOOL_E_CORRUPTED;
    mempool__canary_set(pool, index);
  }
  if ((mode & MODE_ZERO) != 0)
    memset(block, 0, pool->block_size);
  pool_enter(pool);
  depot_give(pool->depot, block, index);
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
  if (cache_top(cache) == cache->limit)
    mempool__cache_flush(pool, cache);
  store_relaxed_u32(&pool->places[index], DEPOT_HELD);
  cache_give(cache, block, &pool->places[index]);
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
  for (i = 0; i < count; i++) {
    mempool_status one = blocks[i] != NULL ? free_with_care(pool, blocks[i]) : MEMPOOL_OK;
    if (status == MEMPOOL_OK)
      status = one;
  }
  return status;
}

static __attribute__((noinline)) mempool_status free_long(mempool *pool, void *block)
{
  return free_each(pool, &block, 1);
}

mempool_status mempool_free_bulk(mempool *pool, void *const *blocks, size_t count)
{
  if (pool == NULL || (blocks == NULL && count != 0))
    return MEMPOOL_E_INVALID_ARGUMENT;
  return free_each(pool, blocks, count);
}

/* Gives a block back to the calling thread's cache, in which it is; the long way if that can't be done. */
static ALWAYS_INLINE mempool_status free_inside(mempool *pool, struct cache *cache, void *block)
{
  atomic_u32 *place = cache->last_place;
  uintptr_t index;
  if (likely(cache->out == block && load_relaxed_u32(place) == DEPOT_LIVE && block != NULL)) {
    store_relaxed_u32(place, DEPOT_HELD);
    cache->out = NULL;
    store_relaxed_pointer(&cache->hot, block);
    cache_leave(cache);
    return MEMPOOL_OK;
  }
  index = geometry_index(&pool->geometry, block);
  if (likely(index < load_relaxed_u32(&pool->handed_out))) {
    place = &pool->places[index];
    if (likely(load_relaxed_u32(place) == DEPOT_LIVE && cache_top(cache) < cache->limit)) {
      store_relaxed_u32(place, DEPOT_HELD);
      cache_give(cache, block, place);
      cache_leave(cache);
      return MEMPOOL_OK;
    }
  }
  cache_leave(cache);
  return free_long(pool, block);
}

static __attribute__((noinline)) mempool_status free_at_gate(mempool *pool, struct cache *cache, void *block)
{
  return mempool__cache_enter_fenced(cache) ? free_inside(pool, cache, block) : free_long(pool, block);
}

mempool_status mempool_free(mempool *pool, void *block)
{
  uintptr_t offset;
  uintptr_t index;
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (depot_give_out(&pool->shortcut, block))
    return MEMPOOL_OK;
  if (likely(pool->shortcut.fresh != 0)) {
    index = geometry_index(&pool->geometry, block);
    if (unlikely(index >= pool->shortcut.fresh || depot_is_free(&pool->shortcut, block, index)))
      return free_long(pool, block);
    depot_give(&pool->shortcut, block, index);
    return MEMPOOL_OK;
  }
  offset = mempool__thread_offset;
  if (likely(offset < pool->caches_bytes)) {
    struct cache *cache = cache_at(pool, offset);
    return likely(cache_enter(cache)) ? free_inside(pool, cache, block) : free_at_gate(pool, cache, block);
  }
  return free_long(pool, block);
}
