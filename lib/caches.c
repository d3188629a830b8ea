/* SPDX-License-Identifier: MIT */
#include "caches.h"

#include "os.h"
#include "threads.h"

#include <string.h>

/* How often the long way is gone after a robbery before caches are opened again: so that robbing stays rare. */
enum { PATIENCE = 256 };

/*
 * C3.  Relaxed: os_fence_all() orders shutting before the loads of busy in
 * caches_empty(); and only its owner opens a gate, who had the pool's lock
 * after whoever shut it.
 */
static void set_gate(struct cache *cache, uint32_t gate)
{
  bool open = gate == GATE_OPEN;
  store_relaxed_u32(&cache->gate, gate);
  store_relaxed_pointer(&cache->floor, open ? cache->slots : (void *)UINTPTR_MAX);
  store_relaxed_pointer(&cache->ceiling, open ? cache->slots + cache->limit : NULL);
}

static uint32_t half(uint32_t blocks)
{
  return (blocks + 1) / 2;
}

size_t mempool__caches_slots(uint32_t count, uint32_t blocks_in_each)
{
  return count == 0 ? 0 : (size_t)count * blocks_in_each + (size_t)MOST_BUNDLES * half(blocks_in_each);
}

void mempool__caches_init(mempool *pool, struct cache_slot *slots, uint32_t count, uint32_t blocks_in_each)
{
  uintptr_t offset;
  pool->caches_bytes = count * sizeof(struct cache);
  pool->places = pool->depot->places;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache)) {
    struct cache *cache = cache_at(pool, offset);
    memset(cache, 0, sizeof *cache);
    cache->limit = blocks_in_each;
    cache->slots = slots;
    cache_set_top(cache, slots);
    set_gate(cache, GATE_SHUT);
    slots += blocks_in_each;
  }
  pool->bundles.slots = slots;
  pool->bundles.blocks_in_each = half(blocks_in_each);
}

bool mempool__cache_enter_fenced(struct cache *cache)
{
  if (load_relaxed_u32(&cache->gate) == GATE_FENCED) {
    fence_full(); /* pairs with the one in os_fence_all() */
    if (load_relaxed_u32(&cache->gate) == GATE_FENCED)
      return true;
  }
  cache_leave(cache);
  return false;
}

struct cache *mempool__cache_opened(mempool *pool)
{
  struct cache *cache;
  if (mempool__thread_offset >= pool->caches_bytes)
    return NULL;
  cache = cache_at(pool, mempool__thread_offset);
  if (load_relaxed_u32(&cache->gate) != GATE_SHUT)
    return cache;
  if (pool->patience > 0) {
    pool->patience--;
    return NULL;
  }
  if (pool->waiters.first != NULL || (pool_mode(pool) & MODE_CLOSED) != 0 || pool_available(pool) < 4)
    return NULL;
  pool->open_caches++;
  set_gate(cache, pool->open_gate);
  return cache;
}

void *mempool__cache_take_bundled(mempool *pool, struct cache *cache)
{
  struct bundles *bundles = &pool->bundles;
  struct cache_slot *top;
  if (bundles->count == 0)
    return NULL;
  memcpy(cache->slots, bundle_before_newest(bundles, 0), bundles->blocks_in_each * sizeof *top);
  bundles->next--;
  bundles->count--;
  for (top = cache->slots + bundles->blocks_in_each; top-- > cache->slots;) {
    if (load_relaxed_u32(top->place) != DEPOT_HELD)
      continue; /* two frees that raced had listed it twice */
    store_relaxed_u32(top->place, DEPOT_LIVE);
    cache_set_top(cache, top);
    return top->block;
  }
  return NULL;
}

void mempool__cache_refill(mempool *pool, struct cache *cache)
{
  size_t wanted = pool_available(pool) / 4;
  size_t i;
  if (wanted > half(cache->limit))
    wanted = half(cache->limit);
  if (wanted > pool->depot->count)
    wanted = pool->depot->count;
  /* From the top down: what was given back last is taken first, from the cache as from the depot. */
  for (i = wanted; i-- > 0;) {
    void *block = depot_take(pool->depot);
    uintptr_t index = geometry_index(&pool->geometry, block);
    depot_hold(pool->depot, index);
    cache->slots[i].block = block;
    cache->slots[i].place = &pool->places[index];
  }
  cache_set_top(cache, cache->slots + wanted);
}

static void move_to_depot(mempool *pool, const struct cache_slot *slots, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++) {
    void *block = slots[i].block;
    uintptr_t index = geometry_index(&pool->geometry, block);
    /*
     * Two frees that raced may have listed a block twice: what isn't HELD any
     * more is in use, or listed elsewhere.  What is no block at all, something
     * wrote here that must not.
     */
    if (index < pool->depot->fresh && depot_is_held(pool->depot, index) && !depot_is_full(pool->depot))
      depot_give(pool->depot, block, index);
  }
}

static void unbundle_oldest(mempool *pool)
{
  struct bundles *bundles = &pool->bundles;
  bundles->count--;
  move_to_depot(pool, bundle_before_newest(bundles, bundles->count), bundles->blocks_in_each);
}

void mempool__caches_unbundle(mempool *pool, size_t count)
{
  while (pool->bundles.count > 0 && pool->depot->count < count)
    unbundle_oldest(pool);
}

void mempool__cache_flush(mempool *pool, struct cache *cache)
{
  struct bundles *bundles = &pool->bundles;
  uint32_t blocks = bundles->blocks_in_each;
  uint32_t rest = cache->limit - blocks;
  if (bundles->count == MOST_BUNDLES)
    unbundle_oldest(pool);
  bundles->next++;
  bundles->count++;
  memcpy(bundle_before_newest(bundles, 0), cache->slots, blocks * sizeof cache->slots[0]);
  memmove(cache->slots, cache->slots + blocks, rest * sizeof cache->slots[0]);
  cache_set_top(cache, cache->slots + rest);
}

void mempool__cache_empty(mempool *pool, struct cache *cache)
{
  move_to_depot(pool, cache->slots, cache_count(cache));
  cache_set_top(cache, cache->slots);
}

void mempool__cache_close(mempool *pool, uintptr_t offset)
{
  struct cache *cache;
  if (offset >= pool->caches_bytes)
    return;
  cache = cache_at(pool, offset);
  if (load_relaxed_u32(&cache->gate) != GATE_SHUT) {
    set_gate(cache, GATE_SHUT);
    pool->open_caches--;
    mempool__cache_empty(pool, cache);
  }
}

void mempool__caches_shut(mempool *pool)
{
  uintptr_t offset;
  if (pool->open_caches == 0)
    return;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache))
    set_gate(cache_at(pool, offset), GATE_SHUT);
}

/* The owner is inside for some tens of instructions; it may have lost the processor there, to us even. */
static void wait_until_left(struct cache *cache)
{
  enum { YIELDS = 100, NAP_NS = 50000 };
  unsigned tries = 0;
  /* Acquire, pairs with the release in cache_leave(). */
  while (load_acquire_u32(&cache->busy) != 0) {
    if (++tries % YIELDS != 0)
      mempool__os_yield();
    else
      mempool__os_sleep_until(mempool__os_now_ns() + NAP_NS); /* for an owner of lower priority */
  }
}

void mempool__caches_empty(mempool *pool)
{
  uintptr_t offset;
  mempool__caches_unbundle(pool, SIZE_MAX);
  if (pool->open_caches == 0)
    return;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache)) {
    struct cache *cache = cache_at(pool, offset);
    wait_until_left(cache);
    mempool__cache_empty(pool, cache);
  }
  pool->open_caches = 0;
  pool->patience = PATIENCE;
}

void mempool__caches_gather(mempool *pool)
{
  if (pool->open_caches > 0) {
    mempool__caches_shut(pool);
    mempool__os_fence_all();
  }
  mempool__caches_empty(pool);
}

void mempool__caches_forget_owners(mempool *pool)
{
  uintptr_t offset;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache))
    store_relaxed_u32(&cache_at(pool, offset)->busy, 0);
}

size_t mempool__caches_count(const mempool *pool)
{
  uintptr_t offset;
  size_t count = (size_t)pool->bundles.count * pool->bundles.blocks_in_each;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache))
    count += cache_count(cache_at(pool, offset));
  return count;
}
