/* SPDX-License-Identifier: MIT */
/*
 * One thread's cache in one pool: free blocks that the thread takes and gives
 * back with plain loads and stores, and that any thread can rob when the depot
 * is empty.  Each lies there with its place in the ledger, so that taking it
 * needs no arithmetic.
 *
 * The owner enters the cache before it looks at it, and leaves it after; who
 * holds the pool's lock may shut the gate, and once the owner is out, has the
 * cache for itself until it opens the gate again.  This is Dekker's algorithm
 * with an asymmetric fence:
 *
 *   owner: busy = 1; fence_light(); if the gate is shut: busy = 0, go another way
 *   other: shut the gate; fence on all threads; wait until busy == 0
 *
 * Either the owner's store to busy is seen by the other, or the other's
 * shutting by the owner, because the heavy fence falls before or after the
 * owner's light one.  What the owner looks at are the two bounds that it must
 * know anyway, floor to take and ceiling to give: a shut gate shows as an
 * empty and a full cache at once, and costs the owner no test of its own.
 *
 * C1  Only the owner writes a cache, between enter and leave; or who holds the
 *     pool's lock, while the gate is shut and busy has been seen as 0 since;
 *     or the owner itself, not inside, with the pool's lock.
 * C2  The blocks of a cache are slots[0 .. top), each with its place, which
 *     says DEPOT_HELD; top is between slots and slots + limit.
 * C3  floor == slots and ceiling == slots + limit if the gate is GATE_OPEN,
 *     else floor is above and ceiling below any top.
 * C4  A cache whose gate is shut is empty, unless a call that holds the pool's
 *     lock is under way.
 *
 * What flows over in one cache and is wanted in another goes there in bundles
 * of half a cache, each copied as a whole: so a block that one thread takes
 * and another gives back costs the pool's lock and depot next to nothing.
 *
 * C5  The count bundles before next, in a ring, hold blocks as a cache does.
 *     While there is any, nobody waits, and the pool is open.
 */
#ifndef MEMPOOL_CACHE_H
#define MEMPOOL_CACHE_H

#include "atomics.h"
#include "depot.h"
#include "geometry.h"

/* Whether the owner may enter. */
enum {
  GATE_OPEN = 0,
  GATE_FENCED = 1, /* after a full fence of its own, there being no asymmetric one */
  GATE_SHUT = 2
};

struct cache_slot {
  void *block;
  atomic_u32 *place;
};

struct cache {
  atomic_u32 busy;
  atomic_u32 gate;
  atomic_pointer top; /* all three to struct cache_slot */
  atomic_pointer floor;
  atomic_pointer ceiling;
  struct cache_slot *slots;
  uint32_t limit;
  unsigned char padding[GEOMETRY_CACHE_LINE - 3 * sizeof(uint32_t) - 4 * sizeof(void *)];
};

/* So many that a thread which gives and another which takes seldom wait for each other; a power of two. */
enum { MOST_BUNDLES = 8 };

/* Free blocks between caches; under the pool's lock. */
struct bundles {
  struct cache_slot *slots;
  uint32_t blocks_in_each;
  uint32_t count;
  uint32_t next; /* where the next one goes; the newest lies before that, modulo their number */
};

/* The bundle made so many before the newest one. */
static inline struct cache_slot *bundle_before_newest(const struct bundles *bundles, uint32_t age)
{
  return bundles->slots + (size_t)((bundles->next - 1 - age) % MOST_BUNDLES) * bundles->blocks_in_each;
}

static inline struct cache_slot *cache_top(const struct cache *cache)
{
  return load_relaxed_pointer(&cache->top);
}

/* How many blocks there are in it. */
static inline uint32_t cache_count(const struct cache *cache)
{
  return (uint32_t)(cache_top(cache) - cache->slots);
}

/*
 * Says that the owner is inside.  It must look at floor or ceiling next, and
 * leave at once if that forbids what it came for.
 */
static inline void cache_enter(struct cache *cache)
{
  store_relaxed_u32(&cache->busy, 1);
  fence_light(); /* pairs with the os_fence_all() of those who shut the gate */
}

static inline void cache_leave(struct cache *cache)
{
  /* Release, pairs with the acquire in wait_until_left(): who shuts the gate sees all that the owner did. */
  store_release_u32(&cache->busy, 0);
}

/* Whether a cache below whose top a block is looked for is empty, or shut. */
static inline bool cache_below(const struct cache *cache, const struct cache_slot *top)
{
  return top <= (struct cache_slot *)load_relaxed_pointer(&cache->floor);
}

/* Whether a cache at whose top a block is to be put is full, or shut. */
static inline bool cache_above(const struct cache *cache, const struct cache_slot *top)
{
  return top >= (struct cache_slot *)load_relaxed_pointer(&cache->ceiling);
}

/*
 * Where the gate is GATE_FENCED: true if the owner is in, after a full fence
 * of its own.  False, and the owner has left, if it isn't or is shut.
 */
bool mempool__cache_enter_fenced(struct cache *cache);

static inline void cache_set_top(struct cache *cache, struct cache_slot *top)
{
  store_relaxed_pointer(&cache->top, top);
}

/* Puts a block, whose place is HELD, at the top.  There is room. */
static inline void cache_put(struct cache *cache, struct cache_slot *top, void *block, atomic_u32 *place)
{
  top->block = block;
  top->place = place;
  cache_set_top(cache, top + 1);
}

#endif /* MEMPOOL_CACHE_H */
