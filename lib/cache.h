/* SPDX-License-Identifier: MIT */
/*
 * One thread's cache in one pool: free blocks that the thread takes and gives
 * back with plain loads and stores, and that any thread can rob when the depot
 * is empty.
 *
 * The owner enters the cache before it looks at it, and leaves it after; who
 * holds the pool's lock may shut the gate, and once the owner is out, has the
 * cache for itself until it opens the gate again.  This is Dekker's algorithm
 * with an asymmetric fence:
 *
 *   owner: busy = 1; fence_light(); if gate is shut: busy = 0, go another way
 *   other: gate = shut; fence on all threads; wait until busy == 0
 *
 * Either the owner's store to busy is seen by the other, or the other's store
 * to gate by the owner, because the heavy fence falls before or after the
 * owner's light one.
 *
 * C1  Only the owner writes a cache, between enter and leave; or who holds the
 *     pool's lock, while the gate is shut and busy has been seen as 0 since;
 *     or the owner itself, not inside, with the pool's lock.
 * C2  The blocks of a cache are slots[0 .. top), where top is count +
 *     (hot != NULL), and hot == slots[count] if it isn't NULL.  Their place
 *     in the ledger is DEPOT_HELD; top <= limit.
 * C3  out is NULL or the block that was taken last with nothing given back
 *     since; then hot is NULL and slots[count] is out.  Somebody else may have
 *     freed it since, so its place is looked at.
 * C4  last_place is the place of hot or out, or &none, which is never LIVE.
 * C5  A cache whose gate is shut is empty, unless a call that holds the pool's
 *     lock is under way.
 */
#ifndef MEMPOOL_CACHE_H
#define MEMPOOL_CACHE_H

#include "atomics.h"
#include "depot.h"
#include "geometry.h"

/* Bits of a gate; 0 is open. */
enum {
  GATE_SHUT = 1,
  GATE_FENCED = 2 /* no asymmetric fence here: the owner's own must be a full one */
};

struct cache {
  atomic_u32 busy;
  atomic_u32 gate;
  atomic_pointer hot;
  void *out;
  atomic_u32 *last_place;
  void **slots;
  atomic_u32 count;
  uint32_t limit;
  unsigned char padding[GEOMETRY_CACHE_LINE - 3 * sizeof(uint32_t) - sizeof(uint32_t) - 4 * sizeof(void *)];
};

static inline void cache_leave(struct cache *cache)
{
  /* Release, pairs with the acquire in caches_gather(): who shuts the gate sees all that the owner did. */
  store_release_u32(&cache->busy, 0);
}

/*
 * Lets the owner in, if the gate is open.  If not, or if it wants a full
 * fence, the owner must ask mempool__cache_enter_fenced() next, busy as it is.
 */
static inline bool cache_enter(struct cache *cache)
{
  store_relaxed_u32(&cache->busy, 1);
  fence_light(); /* pairs with os_fence_all() in caches_gather() */
  /* Acquire, pairs with the release in cache_opened(): the owner sees what was done while the gate was shut. */
  return load_acquire_u32(&cache->gate) == 0;
}

/* The rest of it: true if the owner is in, false if it isn't, and isn't busy any more. */
bool mempool__cache_enter_fenced(struct cache *cache);

static inline uint32_t cache_top(const struct cache *cache)
{
  return load_relaxed_u32(&cache->count) + (load_relaxed_pointer(&cache->hot) != NULL);
}

/* Gives a block whose place is last_place, and is HELD.  There is room. */
static inline void cache_give(struct cache *cache, void *block, atomic_u32 *place)
{
  uint32_t top = cache_top(cache);
  cache->slots[top] = block;
  cache->last_place = place;
  cache->out = NULL;
  store_relaxed_u32(&cache->count, top);
  store_relaxed_pointer(&cache->hot, block);
}

#endif /* MEMPOOL_CACHE_H */
