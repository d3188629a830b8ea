/* SPDX-License-Identifier: MIT */
/*
 * The free blocks, last in first out, and the one judge of which blocks are
 * free.
 *
 * A stack of addresses, slots, and for each block the place it had there when
 * it was given back last, places: a sparse set (Briggs and Torczon, "An
 * Efficient Representation for Sparse Sets", 1993).  Taking a block clears its
 * slot, so a block is free if and only if the slot at its place holds it: one
 * comparison.  Nothing is written to say that a block is live, neither table
 * needs clearing at creation, and no block can be lost: what isn't on the
 * stack is out.
 *
 * Blocks that were never handed out aren't on the stack.  They are taken in
 * order, and only when the stack is empty.
 *
 * D1  count <= fresh <= capacity; slots[0 .. count) are blocks with indices
 *     below fresh.
 * D2  places[index of slots[i]] == i for each i below count.
 * D3  The place of a block with an index below fresh that isn't on the stack
 *     is DEPOT_HELD or DEPOT_LIVE, or below capacity and of a slot that holds
 *     another block or none.  The first two are not met in a plain pool.
 * D4  fresh is the most blocks that were ever out at once: it grows by one
 *     only when the stack is empty, that is when fresh blocks are out, or in
 *     threads' caches.  So the peak costs nothing to keep.
 */
#ifndef MEMPOOL_DEPOT_H
#define MEMPOOL_DEPOT_H

#include "atomics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What stands for a place while a block is elsewhere: its free has been
 * accepted, but it isn't given back here yet; or it is live, said outright for
 * those who can't look at the stack (in pools that have caches).
 */
#define DEPOT_HELD UINT32_MAX
#define DEPOT_LIVE (UINT32_MAX - 1)

struct depot {
  size_t count;
  void **slots;
  atomic_u32 *places;
  size_t fresh;
};

/* Takes the block that was given back last; count isn't 0. */
static inline void *depot_take(struct depot *depot)
{
  void **slot = &depot->slots[--depot->count];
  void *block = *slot;
  *slot = NULL;
  return block;
}

/* Takes the block that is next in order, whose index is fresh; the stack is empty. */
static inline void depot_take_fresh(struct depot *depot)
{
  depot->slots[0] = NULL;
  store_relaxed_u32(&depot->places[depot->fresh++], 0);
}

/* Whether a block is on the stack, its index being below fresh, and its place below capacity. */
static inline bool depot_lists(const struct depot *depot, const void *block, uintptr_t index)
{
  return depot->slots[load_relaxed_u32(&depot->places[index])] == block;
}

/* The same, whatever its place. */
static inline bool depot_is_free(const struct depot *depot, const void *block, uintptr_t index)
{
  return load_relaxed_u32(&depot->places[index]) < depot->count && depot_lists(depot, block, index);
}

/* Whether every block that was ever handed out is on the stack: then none can be given back. */
static inline bool depot_is_full(const struct depot *depot)
{
  return depot->count >= depot->fresh;
}

/* Whether a block, whose index is below fresh, is held. */
static inline bool depot_is_held(const struct depot *depot, uintptr_t index)
{
  return load_relaxed_u32(&depot->places[index]) == DEPOT_HELD;
}

/* Marks a live block as held, until it is given back. */
static inline void depot_hold(struct depot *depot, uintptr_t index)
{
  store_relaxed_u32(&depot->places[index], DEPOT_HELD);
}

/* Gives a live or held block back. */
static inline void depot_give(struct depot *depot, void *block, uintptr_t index)
{
  size_t top = depot->count;
  depot->slots[top] = block;
  store_relaxed_u32(&depot->places[index], (uint32_t)top);
  depot->count = top + 1;
}

#endif /* MEMPOOL_DEPOT_H */
