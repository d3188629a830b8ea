/* SPDX-License-Identifier: MIT */
/*
 * Every sequence of operations on a small depot, against a stack that can't
 * be wrong.  The state is copied at each step, so that the sequences that
 * begin alike share their beginning.
 */
#include "depot.h"
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 4 };

/* The blocks, a byte each. */
static char area[MOST_BLOCKS];

/* What the tables hold at first; nothing of it may count. */
enum garbage { ZEROS, ONES, PLAUSIBLE, GARBAGE_KINDS };

typedef enum fate { NEW, LIVE, HELD, FREE } fate;

/* What ought to be. */
struct reference {
  fate fates[MOST_BLOCKS];
  int stack[MOST_BLOCKS];
  int depth;
  int fresh; /* blocks that were ever out */
  int peak;  /* the most that were out at once */
};

struct state {
  struct depot depot;
  void *slots[MOST_BLOCKS];
  atomic_u32 places[MOST_BLOCKS];
  struct reference reference;
};

static int blocks;
static unsigned long sequences, steps;
static unsigned long bad;
static char path[64];

static void complain(const char *what)
{
  if (bad++ < 10)
    printf("# after \"%s\": %s\n", path, what);
}

static void expect(bool condition, const char *what)
{
  if (!condition)
    complain(what);
}

static void *address_of(int block)
{
  return area + block;
}

/* A depot's pointers lead to the tables of the state that it lies in. */
static void copy(struct state *to, const struct state *from)
{
  *to = *from;
  to->depot.slots = to->slots;
  to->depot.places = to->places;
}

static void start(struct state *state, enum garbage garbage)
{
  int i;
  memset(state, 0, sizeof(*state));
  memset(state->slots, garbage == ONES ? 0xff : 0, sizeof(state->slots));
  memset(state->places, garbage == ONES ? 0xff : 0, sizeof(state->places));
  for (i = 0; garbage == PLAUSIBLE && i < blocks; i++) {
    state->slots[i] = address_of(i);
    state->places[i] = (uint32_t)i;
  }
  state->depot.slots = state->slots;
  state->depot.places = state->places;
}

static int out_now(const struct reference *reference)
{
  int i, out = 0;
  for (i = 0; i < blocks; i++)
    out += reference->fates[i] == LIVE || reference->fates[i] == HELD;
  return out;
}

static void check_d1_d2(const struct state *state)
{
  const struct depot *depot = &state->depot;
  const struct reference *reference = &state->reference;
  size_t i;
  expect(depot->count <= depot->fresh && depot->fresh <= (size_t)blocks, "D1: count or fresh");
  expect(depot->count == (size_t)reference->depth, "the number of free blocks");
  if (depot->count != (size_t)reference->depth)
    return;
  for (i = 0; i < depot->count; i++) {
    expect(state->slots[i] == address_of(reference->stack[i]), "the order of the stack");
    expect(state->places[reference->stack[i]] == i, "D2");
  }
}

/* D3, which is what one comparison tells of a block that may be freed. */
static void check_d3(const struct state *state)
{
  const struct reference *reference = &state->reference;
  int i;
  for (i = 0; i < reference->fresh; i++) {
    uint32_t place = state->places[i];
    bool is_free = reference->fates[i] == FREE;
    if (reference->fates[i] == HELD)
      expect(place == DEPOT_HELD, "D3: held");
    else
      expect(place < (uint32_t)blocks && depot_lists(&state->depot, address_of(i), (uintptr_t)i) == is_free,
             "D3: depot_lists");
  }
}

static void check(const struct state *state)
{
  const struct reference *reference = &state->reference;
  int i;
  steps++;
  check_d1_d2(state);
  check_d3(state);
  expect(state->depot.fresh == (size_t)reference->fresh, "fresh");
  expect(reference->fresh == reference->peak, "D4");
  for (i = 0; i < reference->fresh; i++) {
    uintptr_t index = (uintptr_t)i;
    expect(depot_is_free(&state->depot, address_of(i), index) == (reference->fates[i] == FREE), "depot_is_free");
    expect(depot_is_held(&state->depot, index) == (reference->fates[i] == HELD), "depot_is_held");
  }
}

static void take(struct state *state)
{
  struct reference *reference = &state->reference;
  void *block;
  int expected;
  if (reference->depth != 0) {
    expected = reference->stack[--reference->depth];
    block = depot_take(&state->depot);
    expect(block == address_of(expected), "another block came out than was given back last");
  } else {
    expected = reference->fresh++;
    depot_take_fresh(&state->depot);
  }
  reference->fates[expected] = LIVE;
  if (out_now(reference) > reference->peak)
    reference->peak = out_now(reference);
}

static void give(struct state *state, int block)
{
  struct reference *reference = &state->reference;
  depot_give(&state->depot, address_of(block), (uintptr_t)block);
  reference->stack[reference->depth++] = block;
  reference->fates[block] = FREE;
}

static void hold(struct state *state, int block)
{
  depot_hold(&state->depot, (uintptr_t)block);
  state->reference.fates[block] = HELD;
}

/* Does what a letter stands for; false if it can't be done now. */
static bool apply(struct state *state, char letter, int block)
{
  const struct reference *reference = &state->reference;
  fate now = reference->fates[block];
  switch (letter) {
  case 't':
    if (block != 0 || (reference->depth == 0 && reference->fresh == blocks))
      return false;
    take(state);
    return true;
  case 'g':
    if (now == LIVE || now == HELD)
      give(state, block);
    return now == LIVE || now == HELD;
  default:
    if (now == LIVE)
      hold(state, block);
    return now == LIVE;
  }
}

static void explore(const struct state *from, int depth)
{
  static const char letters[] = "tgh";
  size_t length = strlen(path);
  const char *letter;
  struct state state;
  int block;
  /* After a fault the reference says nothing any more. */
  if (depth == 0 || bad != 0) {
    sequences++;
    return;
  }
  for (letter = letters; *letter != '\0'; letter++) {
    for (block = 0; block < blocks; block++) {
      path[length] = *letter;
      path[length + 1] = *letter == 't' ? ' ' : (char)('a' + block);
      path[length + 2] = '\0';
      copy(&state, from);
      if (!apply(&state, *letter, block))
        continue;
      check(&state);
      explore(&state, depth - 1);
    }
  }
  path[length] = '\0';
}

static void explore_all(int count, int depth)
{
  int garbage;
  blocks = count;
  sequences = steps = bad = 0;
  if (getenv("TEST_SLOW_TOOL") != NULL)
    depth -= 3;
  for (garbage = 0; garbage < GARBAGE_KINDS; garbage++) {
    struct state state;
    start(&state, (enum garbage)garbage);
    path[0] = '\0';
    check(&state);
    explore(&state, depth);
  }
  printf("# %d blocks, to a depth of %d: %lu sequences, %lu states\n", count, depth, sequences, steps);
  CU_ASSERT_EQUAL(bad, 0);
  CU_ASSERT(sequences != 0);
}

static void test_depot_one_block_every_sequence_as_reference(void)
{
  explore_all(1, 20);
}

static void test_depot_two_blocks_every_sequence_as_reference(void)
{
  explore_all(2, 12);
}

static void test_depot_three_blocks_every_sequence_as_reference(void)
{
  explore_all(3, 10);
}

static void test_depot_four_blocks_every_sequence_as_reference(void)
{
  explore_all(4, 9);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_depot_one_block_every_sequence_as_reference),
    TEST(test_depot_two_blocks_every_sequence_as_reference),
    TEST(test_depot_three_blocks_every_sequence_as_reference),
    TEST(test_depot_four_blocks_every_sequence_as_reference),
  };
  return RUN_TESTS(tests);
}
