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

enum { MOST_BLOCKS = 4, NONE = -1 };

/* The blocks, a byte each, and one that is none. */
static char area[MOST_BLOCKS + 1];

/* What the tables hold at first; nothing of it may count. */
enum garbage { ZEROS, ONES, PLAUSIBLE, GARBAGE_KINDS };

typedef enum fate { NEW, LIVE, HELD, FREE } fate;

/* What ought to be. */
struct reference {
  fate fates[MOST_BLOCKS];
  int stack[MOST_BLOCKS];
  int depth;
  int fresh;    /* blocks that were ever out */
  int peak;     /* the most that were out at once */
  int last;     /* the block taken last with nothing given back since, or NONE */
  bool just_so; /* and with nothing done at all since */
};

struct state {
  struct depot depot;
  void *slots[MOST_BLOCKS];
  atomic_u32 places[MOST_BLOCKS];
  struct reference reference;
};

static int blocks;
static unsigned long sequences, steps, given_out;
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
  state->reference.last = NONE;
}

static int out_now(const struct reference *reference)
{
  int i, out = 0;
  for (i = 0; i < blocks; i++)
    out += reference->fates[i] == LIVE || reference->fates[i] == HELD;
  return out;
}

static void check_d1_d2_d3(const struct state *state)
{
  const struct depot *depot = &state->depot;
  const struct reference *reference = &state->reference;
  uint32_t top = depot_top(depot), i;
  expect(top <= depot->fresh && depot->fresh <= (uint32_t)blocks, "D1: top or fresh");
  expect(top == (uint32_t)reference->depth, "the number of free blocks");
  if (top != (uint32_t)reference->depth)
    return;
  for (i = 0; i < top; i++) {
    expect(state->slots[i] == address_of(reference->stack[i]), "the order of the stack");
    expect(state->places[reference->stack[i]] == i, "D2");
  }
  if (depot->hot != NULL)
    expect(depot->count < (uint32_t)blocks && depot->hot == state->slots[depot->count], "D3");
}

static void check_d4(const struct state *state)
{
  const struct depot *depot = &state->depot;
  const struct reference *reference = &state->reference;
  if (depot->out == NULL)
    return;
  expect(reference->last != NONE && depot->out == address_of(reference->last), "D4: not the block taken last");
  if (reference->last == NONE)
    return;
  expect(reference->fates[reference->last] == LIVE, "D4: not live");
  expect(depot->hot == NULL, "D4: hot");
  expect(depot->count < (uint32_t)blocks && state->slots[depot->count] == depot->out, "D4: the slot");
  expect(state->places[reference->last] == depot->count, "D4: the place");
}

static void check(const struct state *state)
{
  const struct reference *reference = &state->reference;
  int i;
  steps++;
  check_d1_d2_d3(state);
  check_d4(state);
  expect(state->depot.fresh == (uint32_t)reference->fresh, "fresh");
  expect(reference->fresh == reference->peak, "D5");
  for (i = 0; i < reference->fresh; i++) {
    uintptr_t index = (uintptr_t)i;
    expect(depot_is_free(&state->depot, address_of(i), index) == (reference->fates[i] == FREE), "depot_is_free");
    expect(depot_is_held(&state->depot, index) == (reference->fates[i] == HELD), "depot_is_held");
  }
}

static void take(struct state *state)
{
  struct reference *reference = &state->reference;
  void *block = depot_take(&state->depot);
  int expected;
  if (reference->depth != 0) {
    expected = reference->stack[--reference->depth];
  } else {
    expect(block == NULL, "a block came out of nothing");
    expected = reference->fresh++;
    block = address_of(expected);
    depot_take_fresh(&state->depot, block);
  }
  expect(block == address_of(expected), "another block came out than was given back last");
  reference->fates[expected] = LIVE;
  reference->last = expected;
  reference->just_so = true;
  if (out_now(reference) > reference->peak)
    reference->peak = out_now(reference);
}

static void was_given(struct reference *reference, int block)
{
  reference->stack[reference->depth++] = block;
  reference->fates[block] = FREE;
  reference->last = NONE;
  reference->just_so = false;
}

static void give(struct state *state, int block)
{
  depot_give(&state->depot, address_of(block), (uintptr_t)block);
  was_given(&state->reference, block);
}

static void hold(struct state *state, int block)
{
  depot_hold(&state->depot, (uintptr_t)block);
  state->reference.fates[block] = HELD;
  state->reference.just_so = false;
}

/* A "no" is always allowed by D4, but right after the block was taken it would make the short way pointless. */
static bool give_out(struct state *state, int block)
{
  struct reference *reference = &state->reference;
  struct depot before = state->depot;
  bool yes = depot_give_out(&state->depot, address_of(block));
  bool allowed = reference->last == block && reference->fates[block] == LIVE;
  if (!yes) {
    expect(memcmp(&before, &state->depot, sizeof(before)) == 0, "give_out said no, and changed something");
    expect(!allowed || !reference->just_so, "give_out said no to the block taken just now");
    return false;
  }
  expect(allowed, "give_out said yes to another block than the one taken last");
  if (allowed) {
    given_out++;
    was_given(reference, block);
  }
  return allowed;
}

static void check_what_comes_to_nothing(struct state *state)
{
  struct depot before = state->depot;
  expect(!depot_give_out(&state->depot, NULL), "give_out said yes to NULL");
  expect(!depot_give_out(&state->depot, area + MOST_BLOCKS), "give_out said yes to a stranger");
  expect(state->reference.depth != 0 || depot_take(&state->depot) == NULL, "a block came out of nothing");
  expect(memcmp(&before, &state->depot, sizeof(before)) == 0, "a call that came to nothing changed something");
}

/* Does what a letter stands for; false if it can't be done now, or comes to nothing. */
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
  case 'h':
    if (now == LIVE)
      hold(state, block);
    return now == LIVE;
  default:
    return give_out(state, block);
  }
}

static void explore(const struct state *from, int depth)
{
  static const char letters[] = "tgho";
  size_t length = strlen(path);
  const char *letter;
  struct state state;
  int block;
  /* After a fault the reference says nothing any more. */
  if (depth == 0 || bad != 0) {
    sequences++;
    return;
  }
  copy(&state, from);
  check_what_comes_to_nothing(&state);
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
  sequences = steps = given_out = bad = 0;
  if (getenv("TEST_SLOW_TOOL") != NULL)
    depth -= 3;
  for (garbage = 0; garbage < GARBAGE_KINDS; garbage++) {
    struct state state;
    start(&state, (enum garbage)garbage);
    path[0] = '\0';
    check(&state);
    explore(&state, depth);
  }
  printf("# %d blocks, to a depth of %d: %lu sequences, %lu states, %lu times the block taken last given back\n",
         count, depth, sequences, steps, given_out);
  CU_ASSERT_EQUAL(bad, 0);
  CU_ASSERT(given_out != 0);
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
