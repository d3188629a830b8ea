/* SPDX-License-Identifier: MIT */
#include "hints.h"

/* How often a search begins again: only summaries that turn out to be wrong make it. */
enum { SEARCHES = 64, SHIFT = 5 };

uint32_t mempool__hints_plan(uint32_t counts[HINTS_LEVELS], uint32_t bits)
{
  uint32_t depth = 0;
  uint32_t count = bits;
  do {
    count = count / HINTS_BITS + (count % HINTS_BITS != 0);
    counts[depth++] = count;
  } while (count > 1);
  return depth;
}

/* Sets bits of a word at some level, and its summaries. */
static void raise_bits(const struct hints *hints, uint32_t level, uint32_t index, uint32_t bits, bool thoroughly)
{
  for (; level < hints->depth; level++) {
    /* Release, pairs with the acquire in clear_above(): who clears the summary after us sees these bits. */
    if (or_acq_rel_u32(&hints->levels[level][index], bits) != 0 && !thoroughly)
      return;
    bits = UINT32_C(1) << index % HINTS_BITS;
    index /= HINTS_BITS;
  }
}

void mempool__hints_set(const struct hints *hints, uint32_t leaf, uint32_t bits, bool thoroughly)
{
  raise_bits(hints, 0, leaf, bits, thoroughly);
}

/*
 * A word was seen to be empty, so its summary is cleared.  Who sets a bit
 * there meanwhile either sets the summary after us, or did before: then we see
 * the bit, and set the summary again.
 */
static void clear_above(const struct hints *hints, uint32_t level, uint32_t index)
{
  for (; level + 1 < hints->depth; level++) {
    uint32_t bit = UINT32_C(1) << index % HINTS_BITS;
    uint32_t above = index / HINTS_BITS;
    uint32_t left = and_acq_rel_u32(&hints->levels[level + 1][above], ~bit) & ~bit;
    if (load_acquire_u32(&hints->levels[level][index]) != 0) {
      raise_bits(hints, level + 1, above, bit, false);
      return;
    }
    if (left != 0)
      return;
    index = above;
  }
}

/* The first bit that is set from a place on, around the end; the word isn't 0. */
static uint32_t pick(uint32_t word, uint32_t from)
{
  uint32_t behind = word & UINT32_MAX << from;
  return (uint32_t)__builtin_ctz(behind != 0 ? behind : word);
}

/*
 * Descends from the top to a leaf that should hold something, and at each
 * level turns to the first branch from that of `from` on.  Stops at a word
 * that is empty after all, or when the memory holds nonsense; *level and
 * *index say where.
 */
static bool descend(const struct hints *hints, uint32_t from, uint32_t *level, uint32_t *index)
{
  bool along = true; /* the way to `from` */
  *level = hints->depth - 1;
  *index = 0;
  while (*level > 0) {
    uint32_t word = load_relaxed_u32(&hints->levels[*level][*index]);
    uint32_t wanted = along ? from >> SHIFT * (*level - 1) & (HINTS_BITS - 1) : 0;
    uint32_t branch;
    if (word == 0)
      return false;
    branch = pick(word, wanted);
    along = along && branch == wanted;
    if (*index * HINTS_BITS + branch >= hints->counts[*level - 1]) {
      (void)and_acq_rel_u32(&hints->levels[*level][*index], ~(UINT32_C(1) << branch));
      return false;
    }
    *index = *index * HINTS_BITS + branch;
    --*level;
  }
  return true;
}

uint32_t mempool__hints_take(const struct hints *hints, uint32_t from, bool one, uint32_t *leaf)
{
  uint32_t search;
  uint32_t level;
  for (search = 0; search < SEARCHES; search++) {
    uint32_t bits = 0;
    uint32_t left = 0;
    if (descend(hints, from, &level, leaf)) {
      atomic_u32 *word = &hints->levels[0][*leaf];
      bits = load_relaxed_u32(word);
      if (one && bits != 0) {
        uint32_t bit = bits & (~bits + 1);
        left = and_acq_rel_u32(word, ~bit);
        bits = left & bit;
        left &= ~bit;
      } else if (bits != 0) {
        bits = exchange_acq_rel_u32(word, 0);
      }
    }
    if (bits == 0 && level == hints->depth - 1)
      return 0;
    if (left == 0)
      clear_above(hints, level, *leaf);
    if (bits != 0)
      return bits;
  }
  return 0;
}
