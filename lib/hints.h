/* SPDX-License-Identifier: MIT */
/*
 * Which blocks of a shared pool are probably free: one bit for each, and over
 * it a tree of summaries, of 32 branches each, so that a set bit is found in
 * few steps.  All of it are hints: whoever takes one looks at the block's
 * state, which alone decides.
 *
 * H1  A bit that is set may be wrong at any time.
 * H2  A bit whose summary isn't set is found by nobody, until a recovery sets
 *     it again: so it happens only when somebody is killed between the two.
 */
#ifndef MEMPOOL_HINTS_H
#define MEMPOOL_HINTS_H

#include "atomics.h"

#include <stdbool.h>
#include <stdint.h>

enum { HINTS_BITS = 32, HINTS_LEVELS = 7 };

/* Where they lie: in the shared memory, but this itself is the process's own. */
struct hints {
  atomic_u32 *levels[HINTS_LEVELS]; /* the leaves first */
  uint32_t counts[HINTS_LEVELS];    /* of words; the last is 1 */
  uint32_t depth;
};

/* How many words each level takes for so many bits; returns how many levels there are. */
uint32_t mempool__hints_plan(uint32_t counts[HINTS_LEVELS], uint32_t bits);

/* Sets bits of a leaf; with `thoroughly`, all its summaries, whatever they seem to be. */
void mempool__hints_set(const struct hints *hints, uint32_t leaf, uint32_t bits, bool thoroughly);

/*
 * Takes what a leaf holds, or with `one` a single bit of it: a leaf that is
 * near `from`, by the first branch from that of `from` on, around the end, at
 * each branching.  Returns the bits, and which leaf it was; 0 if there seem to
 * be none.
 */
uint32_t mempool__hints_take(const struct hints *hints, uint32_t from, bool one, uint32_t *leaf);

#endif /* MEMPOOL_HINTS_H */
