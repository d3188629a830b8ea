/* SPDX-License-Identifier: MIT */
/*
 * The free blocks, last in first out, and the one judge of which blocks are
 * free.
 *
 * A stack of addresses, slots, and for each block the place it had there when
 * it was given back last, places: a sparse set (Briggs and Torczon, "An
 * Efficient Representation for Sparse Sets", 1993).  A block is free if and
 * only if its place is below the top and holds that block.  So taking a block
 * writes nothing to say that it is live now, neither table needs clearing at
 * creation, and no block can be lost: what isn't on the stack is out.
 *
 * Blocks that were never handed out aren't on the stack.  They are taken in
 * order, and only when the stack is empty.
 *
 * The block on top may be kept in hot, which spares the short ways of alloc
 * and free the stack.  Its slot is written all the same, so the top is
 * count + (hot != NULL).
 *
 * D1  top <= fresh <= capacity; slots[0 .. top) are blocks with indices below
 *     fresh.
 * D2  places[index of slots[i]] == i for each i below the top.
 * D3  hot is NULL or slots[count].
 * D4  out is NULL, or the block that was taken last, with nothing given back
 *     since: then it is live, hot is NULL, and slots[count] and its place
 *     still are as they were when it was free.
 * D5  fresh is the most blocks that were ever out at once: it grows by one
 *     only when the stack is empty, that is when fresh blocks are out.  So
 *     the peak costs nothing to keep.
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
  void *hot;
  void *out;
  void **slots;
  atomic_u32 *places;
  uint32_t count;
  uint32_t fresh;
};

static inline uint32_t depot_top(const struct depot *depot)
{
  return depot->count + (depot->hot != NULL);
}

/* Takes the block that was given back last; NULL if there is none. */
static inline void *depot_take(struct depot *depot)
{
  void *block = depot->hot;
  if (block != NULL) {
    depot->hot = NULL;
  } else {
    if (depot->count == 0)
      return NULL;
    block = depot->slots[--depot->count];
  }
  depot->out = block;
  return block;
}

/* Takes the block that is next in order, whose index is fresh; the stack is empty. */
static inline void depot_take_fresh(struct depot *depot, void *block)
{
  depot->slots[0] = block;
  store_relaxed_u32(&depot->places[depot->fresh++], 0);
  depot->out = block;
}

/* Whether a block, whose index is below fresh, is on the stack. */
static inline bool depot_is_free(const struct depot *depot, const void *block, uintptr_t index)
{
  uint32_t place = load_relaxed_u32(&depot->places[index]);
  return place < depot_top(depot) && depot->slots[place] == block;
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
  depot->out = NULL;
}

/* Gives a live or held block back. */
static inline void depot_give(struct depot *depot, void *block, uintptr_t index)
{
  uint32_t top = depot_top(depot);
  depot->slots[top] = block;
  store_relaxed_u32(&depot->places[index], top);
  depot->count = top;
  depot->hot = block;
  depot->out = NULL;
}

/*
 * Gives a block back if it is the one that was taken last (D4), whatever else
 * it may be: then there is nothing to check and no table to write.
 */
static inline bool depot_give_out(struct depot *depot, void *block)
{
  if (depot->out != block || block == NULL)
    return false;
  depot->out = NULL;
  depot->hot = block;
  return true;
}

#endif /* MEMPOOL_DEPOT_H */
