/* SPDX-License-Identifier: MIT */
/*
 * All the caches of a pool: opened and filled by their owners, emptied into
 * the depot by whoever needs what is in them.  All of it with the pool's lock
 * held.
 */
#ifndef MEMPOOL_CACHES_H
#define MEMPOOL_CACHES_H

#include "pool.h"

/* Sets a new pool's caches up, shut, with slots for all of them. */
void mempool__caches_init(mempool *pool, struct cache_slot *slots, uint32_t count, uint32_t blocks_in_each);

/* How many slots that takes. */
size_t mempool__caches_slots(uint32_t count, uint32_t blocks_in_each);

/*
 * The calling thread's cache if it is open, or may be opened now; else NULL.
 * A cache isn't opened while few blocks are free, or while threads wait, or
 * soon after the caches had to be robbed: a pool that runs at its limit does
 * better without.
 */
struct cache *mempool__cache_opened(mempool *pool);

/* Fills an open, empty cache of the caller's with a bundle and takes a block of that.  NULL if there is no bundle. */
void *mempool__cache_take_bundled(mempool *pool, struct cache *cache);

/* Moves some blocks from the depot to an open, empty cache of the caller's. */
void mempool__cache_refill(mempool *pool, struct cache *cache);

/* Makes a bundle of that half of a full cache of the caller's that was given longest ago. */
void mempool__cache_flush(mempool *pool, struct cache *cache);

/* Moves all blocks of an open cache of the caller's to the depot, where they come out in the same order. */
void mempool__cache_empty(mempool *pool, struct cache *cache);

/* Moves bundles to the depot, as long as there are any and it holds fewer blocks than count. */
void mempool__caches_unbundle(mempool *pool, size_t count);

/* Shuts and empties the calling thread's cache. */
void mempool__cache_close(mempool *pool, uintptr_t offset);

/* Robs: shuts every cache, and brings all that is in them and in bundles into the depot. */
void mempool__caches_gather(mempool *pool);

/* The two halves of that, with os_fence_all() in between. */
void mempool__caches_shut(mempool *pool);
void mempool__caches_empty(mempool *pool);

/*
 * In the child of a fork: nobody is inside a cache.  Its copy of the memory may
 * say otherwise of a thread that was about to find the gate shut.
 */
void mempool__caches_forget_owners(mempool *pool);

/* How many blocks the caches and bundles hold; exact while no call is under way. */
size_t mempool__caches_count(const mempool *pool);

#endif /* MEMPOOL_CACHES_H */
