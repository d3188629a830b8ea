/* SPDX-License-Identifier: MIT */
/*
 * mempool_check() finds what is broken: one field of a sound pool at a time
 * is overwritten, and put right again.  And what must hold of every pool, P2.
 */
#include "os.h"
#include "pool.h"
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY = 4, BLOCK_SIZE = 24, CANARY = 8 };

/* How a pool came to be, and whether it is closed again. */
struct kind {
  uint32_t flags;
  bool initialised;
  bool closed;
};

static struct kind kinds[128];

/* Every combination that changes how a pool works. */
static size_t list_kinds(void)
{
  static const uint32_t varied[] = { MEMPOOL_SINGLE_THREADED, MEMPOOL_COUNTERS, MEMPOOL_GUARD, MEMPOOL_ZERO,
                                     MEMPOOL_STRICT };
  size_t count = 0, i;
  unsigned combination;
  for (combination = 0; combination < 128; combination++) {
    struct kind *kind = &kinds[count++];
    memset(kind, 0, sizeof(*kind));
    for (i = 0; i < sizeof(varied) / sizeof(varied[0]); i++) {
      if ((combination >> i & 1) != 0)
        kind->flags |= varied[i];
    }
    kind->closed = (combination & 32) != 0;
    kind->initialised = (combination & 64) != 0;
  }
  return count;
}

struct fixture {
  mempool *pool;
  struct depot *depot;
  void *memory;
  void *block[CAPACITY]; /* by index */
  unsigned missed;
};

static void set_up(struct fixture *f, const struct kind *kind)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  uint32_t i;
  memset(f, 0, sizeof(*f));
  options.flags = kind->flags;
  if (kind->initialised) {
    size_t size = mempool_required_size(BLOCK_SIZE, CAPACITY, &options);
    f->memory = malloc(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->memory);
    memset(f->memory, 0xA5, size);
    CU_ASSERT_EQUAL_FATAL(mempool_init(&f->pool, f->memory, size, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  } else {
    CU_ASSERT_EQUAL_FATAL(mempool_create(&f->pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  }
  for (i = 0; i < CAPACITY; i++)
    f->block[i] = mempool_block_at(f->pool, i);
  f->depot = f->pool->depot;
}

static void take(struct fixture *f, size_t index)
{
  CU_ASSERT_PTR_EQUAL_FATAL(mempool_alloc(f->pool), f->block[index]);
}

static void give(struct fixture *f, size_t index)
{
  CU_ASSERT_EQUAL_FATAL(mempool_free(f->pool, f->block[index]), MEMPOOL_OK);
}

/* The last thing that is done to a pool before it is broken. */
static void finish(struct fixture *f, const struct kind *kind)
{
  if (kind->closed)
    mempool_close(f->pool);
  f->depot = f->pool->depot;
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
}

/* Blocks 1 and 2 are free, 2 on top; 0 is out; 3 never was. */
static void set_up_two_free(struct fixture *f, const struct kind *kind)
{
  set_up(f, kind);
  take(f, 0);
  take(f, 1);
  take(f, 2);
  give(f, 1);
  give(f, 2);
  finish(f, kind);
  CU_ASSERT_EQUAL_FATAL(f->depot->count, 2);
}

/* Block 1 is free; 2 was taken last. */
static void set_up_one_free(struct fixture *f, const struct kind *kind)
{
  set_up(f, kind);
  take(f, 0);
  take(f, 1);
  take(f, 2);
  give(f, 1);
  give(f, 2);
  take(f, 2);
  finish(f, kind);
  CU_ASSERT_EQUAL_FATAL(f->depot->count, 1);
}

static void tear_down(struct fixture *f)
{
  CU_ASSERT_EQUAL(f->missed, 0);
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
  mempool_destroy(f->pool);
  free(f->memory);
}

/* Overwrites a field, expects that it is found, and puts it right again. */
static void poke(struct fixture *f, const char *what, void *field, const void *value, size_t size)
{
  unsigned char before[sizeof(void *)];
  mempool_status status;
  memcpy(before, field, size);
  CU_ASSERT(memcmp(before, value, size) != 0);
  memcpy(field, value, size);
  status = mempool_check(f->pool);
  memcpy(field, before, size);
  if (status != MEMPOOL_E_CORRUPTED && f->missed++ == 0)
    printf("# not found: %s, in a pool with flags 0x%04x%s\n", what, (unsigned)f->pool->flags,
           (pool_mode(f->pool) & MODE_CLOSED) != 0 ? ", closed" : "");
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
}

static void poke_number(struct fixture *f, const char *what, size_t *field, size_t value)
{
  poke(f, what, field, &value, sizeof(value));
}

static void poke_place(struct fixture *f, const char *what, atomic_u32 *field, uint32_t value)
{
  poke(f, what, field, &value, sizeof(value));
}

static void poke_pointer(struct fixture *f, const char *what, void **field, void *value)
{
  poke(f, what, field, &value, sizeof(value));
}

/* Runs body on each kind of pool. */
static void over_kinds(void (*body)(const struct kind *kind))
{
  size_t count = list_kinds(), i, step = getenv("TEST_SLOW_TOOL") != NULL ? 5 : 1;
  for (i = 0; i < count; i += step)
    body(&kinds[i]);
  printf("# %zu kinds of pools\n", (count + step - 1) / step);
}

#define TEST_OVER_KINDS(name)                       \
  static void name##_with(const struct kind *kind); \
  static void name(void)                            \
  {                                                 \
    over_kinds(name##_with);                        \
  }                                                 \
  static void name##_with(const struct kind *kind)

/* No blocks: in a block, between two, before, behind, and far away. */
static size_t strangers(const struct fixture *f, void *stranger[7])
{
  uintptr_t first = (uintptr_t)f->block[0], last = (uintptr_t)f->block[CAPACITY - 1];
  size_t stride = f->pool->geometry.stride;
  stranger[0] = (void *)(first + 1);
  stranger[1] = (void *)(first + stride + stride / 2);
  stranger[2] = (void *)(first - stride);
  stranger[3] = (void *)(last + stride);
  stranger[4] = (void *)8;
  stranger[5] = (void *)UINTPTR_MAX;
  stranger[6] = (void *)stranger;
  return 7;
}

TEST_OVER_KINDS(test_check_d1_count_and_fresh_corrupted)
{
  struct fixture f;
  set_up_two_free(&f, kind);
  poke_number(&f, "fresh above the capacity", &f.depot->fresh, CAPACITY + 1);
  poke_number(&f, "fresh huge", &f.depot->fresh, SIZE_MAX);
  poke_number(&f, "fresh below a free block's index", &f.depot->fresh, 2);
  poke_number(&f, "fresh below count", &f.depot->fresh, 1);
  poke_number(&f, "fresh 0", &f.depot->fresh, 0);
  poke_number(&f, "count below a free block's slot", &f.depot->count, 1);
  poke_number(&f, "count 0", &f.depot->count, 0);
  poke_number(&f, "count above what is on the stack", &f.depot->count, 3);
  poke_number(&f, "count above fresh", &f.depot->count, CAPACITY);
  poke_number(&f, "count above the capacity", &f.depot->count, CAPACITY + 1);
  poke_number(&f, "count huge", &f.depot->count, SIZE_MAX);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_d1_slots_no_blocks_corrupted)
{
  void *stranger[7];
  struct fixture f;
  size_t count, i;
  set_up_two_free(&f, kind);
  count = strangers(&f, stranger);
  for (i = 0; i < count; i++) {
    poke_pointer(&f, "a stranger on the stack", &f.depot->slots[0], stranger[i]);
    poke_pointer(&f, "a stranger on top of the stack", &f.depot->slots[1], stranger[i]);
  }
  poke_pointer(&f, "NULL on the stack", &f.depot->slots[0], NULL);
  poke_pointer(&f, "a block that was never out on the stack", &f.depot->slots[0], f.block[3]);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_d2_listed_twice_or_misplaced_corrupted)
{
  static const uint32_t wrong[] = { 2, 3, CAPACITY, DEPOT_HELD, DEPOT_HELD - 1 };
  struct fixture f;
  size_t i;
  set_up_two_free(&f, kind);
  poke_pointer(&f, "a block listed twice", &f.depot->slots[0], f.block[2]);
  poke_pointer(&f, "a block listed twice", &f.depot->slots[1], f.block[1]);
  poke_pointer(&f, "a live block listed", &f.depot->slots[1], f.block[0]);
  poke_place(&f, "the place below", &f.depot->places[2], 0);
  poke_place(&f, "the place above", &f.depot->places[1], 1);
  for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    poke_place(&f, "a wrong place", &f.depot->places[1], wrong[i]);
    poke_place(&f, "a wrong place", &f.depot->places[2], wrong[i]);
  }
  tear_down(&f);
}

/* What the one comparison of a free relies on. */
TEST_OVER_KINDS(test_check_d3_live_block_in_its_slot_or_misplaced_corrupted)
{
  struct fixture f;
  bool plain;
  set_up_one_free(&f, kind);
  plain = f.depot == &f.pool->shortcut;
  poke_pointer(&f, "a live block in the slot at its place", &f.depot->slots[1], f.block[2]);
  poke_place(&f, "the place of a live block, over the capacity", &f.depot->places[2], CAPACITY);
  poke_place(&f, "the place of a live block, near HELD", &f.depot->places[2], DEPOT_LIVE - 1);
  if (plain) {
    poke_place(&f, "a held block in a plain pool", &f.depot->places[2], DEPOT_HELD);
    poke_place(&f, "a block said to be live in a plain pool", &f.depot->places[2], DEPOT_LIVE);
  }
  tear_down(&f);
}

/* An exhausted pool, and three that wait; no thread sleeps there. */
static void set_up_waiting(struct fixture *f, const struct kind *kind, struct waiter waiter[3])
{
  size_t i;
  set_up(f, kind);
  for (i = 0; i < CAPACITY; i++)
    take(f, i);
  for (i = 0; i < 3; i++)
    mempool__waiters_join(&f->pool->waiters, &waiter[i]);
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
}

static void poke_link(struct fixture *f, const char *what, struct waiter **link, struct waiter *value)
{
  poke(f, what, link, &value, sizeof(value));
}

TEST_OVER_KINDS(test_check_queue_links_corrupted)
{
  static const size_t wrong[] = { 0, 1, 2, 4, SIZE_MAX - 1 };
  struct waiter waiter[3];
  struct fixture f;
  struct waiters *waiters;
  size_t i;
  if (kind->closed)
    return;
  set_up_waiting(&f, kind, waiter);
  waiters = &f.pool->waiters;
  for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
    poke(&f, "a wrong count", &waiters->count, &wrong[i], sizeof(wrong[i]));
  poke_link(&f, "no first", &waiters->first, NULL);
  poke_link(&f, "the second is first", &waiters->first, &waiter[1]);
  poke_link(&f, "the last is first", &waiters->first, &waiter[2]);
  poke_link(&f, "no last", &waiters->last, NULL);
  poke_link(&f, "the first is last", &waiters->last, &waiter[0]);
  poke_link(&f, "the second is last", &waiters->last, &waiter[1]);
  poke_link(&f, "cut short", &waiter[0].next, NULL);
  poke_link(&f, "one left out", &waiter[0].next, &waiter[2]);
  poke_link(&f, "a circle of one", &waiter[1].next, &waiter[1]);
  poke_link(&f, "a circle of two", &waiter[1].next, &waiter[0]);
  poke_link(&f, "a circle of all", &waiter[2].next, &waiter[0]);
  poke_link(&f, "something before the first", &waiter[0].previous, &waiter[2]);
  poke_link(&f, "nothing before the second", &waiter[1].previous, NULL);
  poke_link(&f, "the second before itself", &waiter[1].previous, &waiter[1]);
  poke_link(&f, "the first before the last", &waiter[2].previous, &waiter[0]);
  mempool__waiters_close(waiters);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_queue_empty_but_not_by_all_accounts_corrupted)
{
  static const size_t one = 1;
  struct waiter waiter;
  struct fixture f;
  size_t i;
  set_up(&f, kind);
  for (i = 0; i < CAPACITY; i++)
    take(&f, i);
  finish(&f, kind);
  memset(&waiter, 0, sizeof(waiter));
  poke(&f, "one counted and none there", &f.pool->waiters.count, &one, sizeof(one));
  poke_link(&f, "one there and none counted", &f.pool->waiters.first, &waiter);
  poke_link(&f, "a last of none", &f.pool->waiters.last, &waiter);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_w1_waiting_beside_a_free_block_corrupted)
{
  struct waiter waiter[3];
  struct fixture f;
  if (kind->closed)
    return;
  set_up_waiting(&f, kind, waiter);
  depot_give(f.depot, f.block[1], 1);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_PTR_EQUAL(depot_take(f.depot), f.block[1]);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  mempool__waiters_close(&f.pool->waiters);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_w1_waiting_beside_a_new_block_corrupted)
{
  struct waiter waiter;
  struct fixture f;
  size_t i;
  set_up(&f, kind);
  for (i = 0; i + 1 < CAPACITY; i++)
    take(&f, i);
  finish(&f, kind);
  mempool__waiters_join(&f.pool->waiters, &waiter);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_E_CORRUPTED);
  mempool__waiters_close(&f.pool->waiters);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_w1_waiting_though_closed_corrupted)
{
  struct waiter waiter[3];
  struct fixture f;
  if (kind->closed)
    return;
  set_up_waiting(&f, kind, waiter);
  or_relaxed_u32(&f.pool->mode, MODE_CLOSED);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_E_CORRUPTED);
  mempool__waiters_close(&f.pool->waiters);
  tear_down(&f);
}

TEST_OVER_KINDS(test_check_canaries_of_live_and_free_corrupted)
{
  struct fixture f;
  size_t i, k;
  if ((kind->flags & MEMPOOL_GUARD) == 0)
    return;
  set_up_two_free(&f, kind);
  for (i = 0; i < 3; i++) {
    unsigned char *canary = (unsigned char *)f.block[i] + BLOCK_SIZE;
    unsigned char neighbour[CANARY];
    for (k = 0; k < CANARY; k++) {
      unsigned char value = canary[k] ^ (unsigned char)(1u << k);
      poke(&f, "a bit of a canary", &canary[k], &value, 1);
    }
    memcpy(neighbour, (unsigned char *)f.block[(i + 1) % 3] + BLOCK_SIZE, CANARY);
    for (k = 0; k < CANARY && neighbour[k] == canary[k]; k++)
      continue;
    CU_ASSERT(k < CANARY);
    poke(&f, "a copy of the neighbour's canary", &canary[k], &neighbour[k], 1);
  }
  tear_down(&f);
}

/* A block that was never out has no canary yet; that of one which is being freed is somebody's business already. */
TEST_OVER_KINDS(test_check_canaries_of_new_and_held_ok)
{
  unsigned char *canary;
  struct fixture f;
  if ((kind->flags & MEMPOOL_GUARD) == 0)
    return;
  set_up_two_free(&f, kind);
  memset((unsigned char *)f.block[3] + BLOCK_SIZE, 0x77, CANARY);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  canary = (unsigned char *)f.block[0] + BLOCK_SIZE;
  depot_hold(f.depot, 0);
  canary[3] ^= 1;
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  canary[3] ^= 1;
  depot_give(f.depot, f.block[0], 0);
  tear_down(&f);
}

static bool is_empty(const struct depot *depot)
{
  return depot->slots == NULL && depot->places == NULL &&
         depot->count == 0 && depot->fresh == 0;
}

static bool p2_holds(const mempool *pool, bool plain)
{
  if (plain)
    return pool->depot == &pool->shortcut && pool->depot->slots != NULL;
  return pool->depot == &pool->behind && pool->depot->slots != NULL && is_empty(&pool->shortcut);
}

TEST_OVER_KINDS(test_pool_p2_shortcut_empty_unless_plain)
{
  const uint32_t demanding = MEMPOOL_COUNTERS | MEMPOOL_GUARD | MEMPOOL_ZERO;
  bool plain = (!OS_HAS_THREADS || (kind->flags & MEMPOOL_SINGLE_THREADED) != 0) && (kind->flags & demanding) == 0;
  void *blocks[CAPACITY];
  struct fixture f;
  int closed;
  set_up(&f, kind);
  for (closed = 0; closed < 2; closed++) {
    size_t taken;
    CU_ASSERT(p2_holds(f.pool, plain));
    taken = mempool_alloc_burst(f.pool, blocks, 3);
    CU_ASSERT(p2_holds(f.pool, plain));
    blocks[taken] = mempool_alloc(f.pool);
    CU_ASSERT(p2_holds(f.pool, plain));
    CU_ASSERT_EQUAL(mempool_free(f.pool, blocks[taken]), MEMPOOL_OK);
    CU_ASSERT(p2_holds(f.pool, plain));
    CU_ASSERT_EQUAL(mempool_free_bulk(f.pool, blocks, taken), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_free(f.pool, &f), MEMPOOL_E_FOREIGN_BLOCK);
    CU_ASSERT_EQUAL(mempool_free(f.pool, f.block[0]), MEMPOOL_E_DOUBLE_FREE);
    CU_ASSERT(p2_holds(f.pool, plain));
    mempool_close(f.pool);
    plain = false;
  }
  CU_ASSERT(p2_holds(f.pool, plain));
  tear_down(&f);
}

TEST_OVER_KINDS(test_pool_p2_closed_with_blocks_out_shortcut_empty)
{
  struct fixture f;
  set_up_one_free(&f, kind);
  mempool_close(f.pool);
  CU_ASSERT(p2_holds(f.pool, false));
  give(&f, 2);
  CU_ASSERT(p2_holds(f.pool, false));
  CU_ASSERT_PTR_NULL(mempool_alloc(f.pool));
  give(&f, 0);
  CU_ASSERT_EQUAL(mempool_free(f.pool, f.block[2]), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT(p2_holds(f.pool, false));
  tear_down(&f);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_check_d1_count_and_fresh_corrupted),
    TEST(test_check_d1_slots_no_blocks_corrupted),
    TEST(test_check_d2_listed_twice_or_misplaced_corrupted),
    TEST(test_check_d3_live_block_in_its_slot_or_misplaced_corrupted),
    TEST(test_check_queue_links_corrupted),
    TEST(test_check_queue_empty_but_not_by_all_accounts_corrupted),
    TEST(test_check_w1_waiting_beside_a_free_block_corrupted),
    TEST(test_check_w1_waiting_beside_a_new_block_corrupted),
    TEST(test_check_w1_waiting_though_closed_corrupted),
    TEST(test_check_canaries_of_live_and_free_corrupted),
    TEST(test_check_canaries_of_new_and_held_ok),
    TEST(test_pool_p2_shortcut_empty_unless_plain),
    TEST(test_pool_p2_closed_with_blocks_out_shortcut_empty),
  };
  return RUN_TESTS(tests);
}
