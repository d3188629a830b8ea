/* SPDX-License-Identifier: MIT */
/*
 * The room of pools that processes share, from the inside: each state in which
 * a call can be left behind by somebody who is killed is written by hand, and
 * recovered; hints and words are taken to their limits.
 */
#include "os.h"
#include "runner.h"
#include "shared.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK_SIZE = 40, CAPACITY = 100, MEMORY_BYTES = 1 << 20 };

struct fixture {
  unsigned char *memory;
  mempool *pool; /* of the maker */
  mempool *peer; /* another owner, in the same process */
};

static void set_up_with(struct fixture *f, uint32_t flags, uint32_t capacity, size_t max_owners)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = MEMPOOL_SHARED | flags;
  options.max_owners = max_owners;
  f->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_FATAL(f->memory != MAP_FAILED);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&f->pool, f->memory, MEMORY_BYTES, BLOCK_SIZE, capacity, &options), MEMPOOL_OK);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&f->peer, f->memory, MEMORY_BYTES), MEMPOOL_OK);
}

static void set_up(struct fixture *f)
{
  set_up_with(f, 0, CAPACITY, 16);
}

static void tear_down(struct fixture *f)
{
  mempool_destroy(f->peer);
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
  mempool_destroy(f->pool);
  (void)munmap(f->memory, MEMORY_BYTES);
}

static size_t used_of(const mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  CU_ASSERT_EQUAL(mempool_get_stats(pool, &stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats.used + stats.available, stats.capacity);
  return stats.used;
}

static atomic_u32 *word_of(const mempool *pool, const void *block)
{
  uint32_t index = 0;
  CU_ASSERT_EQUAL_FATAL(mempool_block_index(pool, block, &index), MEMPOOL_OK);
  return &pool->room->words[index];
}

/* The lane of the calling thread, which has used the pool. */
static struct lane *lane_of(const mempool *pool)
{
  struct lane *lane = pool->room->seats[thread_slot()].lane;
  CU_ASSERT_PTR_NOT_NULL_FATAL(lane);
  return lane;
}

static size_t recover(struct fixture *f)
{
  size_t recovered = 99;
  CU_ASSERT_EQUAL(mempool_recover(f->pool, mempool_owner(f->peer), &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(load_relaxed_u64(room_slot(f->pool->room, mempool_owner(f->peer))), OWNER_FREE);
  return recovered;
}

/* Whether exactly so many blocks can be taken, all different. */
static void expect_available(mempool *pool, size_t count)
{
  void **blocks = malloc((count + 1) * sizeof(*blocks));
  size_t taken = 0;
  CU_ASSERT_PTR_NOT_NULL_FATAL(blocks);
  while (taken <= count && (blocks[taken] = mempool_alloc(pool)) != NULL)
    taken++;
  CU_ASSERT_EQUAL(taken, count);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, taken), MEMPOOL_OK);
  free(blocks);
}

/* ---- Words ---- */

static void test_word_taken_every_generation_never_zero(void)
{
  uint32_t word = 0, steps;
  for (steps = 0; steps < 16383; steps++) {
    uint32_t taken = word_taken(word, UINT32_C(65534) << WORD_OWNER_SHIFT | WORD_LIVE);
    if (word_owner(taken) != 65534 || word_condition(taken) != WORD_LIVE || word_freed(taken) == 0 ||
        word_freed(taken) == word)
      CU_FAIL("a step went wrong");
    word = word_freed(taken);
  }
  CU_ASSERT_EQUAL(word, WORD_GENERATION);
  CU_ASSERT_EQUAL(word_taken(word, WORD_LIVE), (uint32_t)(WORD_STEP | WORD_LIVE));
}

static void test_alloc_generation_wraps_ok(void)
{
  struct fixture f;
  void *block;
  set_up_with(&f, 0, 1, 0);
  store_relaxed_u32(&f.pool->room->words[0], WORD_GENERATION);
  block = mempool_alloc(f.pool);
  CU_ASSERT_PTR_NOT_NULL(block);
  CU_ASSERT_EQUAL(word_freed(load_relaxed_u32(word_of(f.pool, block))), WORD_STEP);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_E_DOUBLE_FREE);
  tear_down(&f);
}

/* ---- Hints ---- */

static atomic_u32 hint_words[5000];

static void make_hints(struct hints *hints, uint32_t bits)
{
  uint32_t level, used = 0;
  memset(hints, 0, sizeof(*hints));
  memset(hint_words, 0, sizeof(hint_words));
  hints->depth = mempool__hints_plan(hints->counts, bits);
  for (level = 0; level < hints->depth; level++) {
    hints->levels[level] = &hint_words[used];
    used += hints->counts[level];
  }
  CU_ASSERT_FATAL(used <= sizeof(hint_words) / sizeof(hint_words[0]));
}

static void test_hints_plan_counts(void)
{
  uint32_t counts[HINTS_LEVELS];
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, 1), 1);
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, 32), 1);
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, 33), 2);
  CU_ASSERT_EQUAL(counts[0], 2);
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, 1024), 2);
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, 1025), 3);
  CU_ASSERT_EQUAL(mempool__hints_plan(counts, UINT32_MAX - 1), HINTS_LEVELS);
  CU_ASSERT_EQUAL(counts[HINTS_LEVELS - 1], 1);
}

static void test_hints_take_from_there_on_around_the_end(void)
{
  struct hints hints;
  uint32_t leaf = 0;
  make_hints(&hints, 100000);
  mempool__hints_set(&hints, 7, 3, false);
  mempool__hints_set(&hints, 9, 4, false);
  mempool__hints_set(&hints, 2000, 1u << 31, false);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 8, false, &leaf), 4);
  CU_ASSERT_EQUAL(leaf, 9);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 1999, false, &leaf), 1u << 31);
  CU_ASSERT_EQUAL(leaf, 2000);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 3000, true, &leaf), 1);
  CU_ASSERT_EQUAL(leaf, 7);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 7, false, &leaf), 2);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 7, false, &leaf), 0);
}

/* Against a plain array of flags, with as many levels as bits ask for. */
static void walk_hints(uint32_t bits, uint64_t *random)
{
  static unsigned char flags[100000];
  struct hints hints;
  uint32_t round, i, leaf = 0, set = 0;
  make_hints(&hints, bits);
  memset(flags, 0, sizeof(flags));
  for (round = 0; round < 20000; round++) {
    uint32_t index = (uint32_t)(test_random(random) % bits);
    if (test_random(random) % 2 == 0) {
      mempool__hints_set(&hints, index / 32, UINT32_C(1) << index % 32, test_random(random) % 8 == 0);
      set += flags[index] == 0;
      flags[index] = 1;
    } else {
      bool one = test_random(random) % 4 != 0;
      uint32_t found = mempool__hints_take(&hints, index / 32, one, &leaf);
      if ((found == 0) != (set == 0) || (one && (found & (found - 1)) != 0))
        CU_FAIL("what is set is found");
      for (i = 0; i < 32; i++) {
        if ((found >> i & 1) != 0) {
          if (flags[leaf * 32 + i] == 0)
            CU_FAIL("what is found was set");
          flags[leaf * 32 + i] = 0;
          set--;
        }
      }
    }
  }
}

static void test_hints_random_as_flags(void)
{
  uint64_t random = test_seed();
  walk_hints(1, &random);
  walk_hints(40, &random);
  walk_hints(1024, &random);
  walk_hints(33000, &random);
  walk_hints(100000, &random);
}

static void test_hints_lost_summary_found_after_thorough_set(void)
{
  struct hints hints;
  uint32_t leaf = 0;
  make_hints(&hints, 33000);
  store_relaxed_u32(&hints.levels[0][1000], 4); /* killed before it set the summaries */
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 0, false, &leaf), 0);
  mempool__hints_set(&hints, 1000, 8, false); /* H2 */
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 0, false, &leaf), 0);
  mempool__hints_set(&hints, 1000, 8, true);
  CU_ASSERT_EQUAL(mempool__hints_take(&hints, 0, false, &leaf), 12);
}

static void test_hints_garbage_stays_inside(void)
{
  uint64_t random = test_seed();
  struct hints hints;
  uint32_t round, i, leaf;
  make_hints(&hints, 40 * 32);
  for (round = 0; round < 2000; round++) {
    for (i = 0; i < 43; i++)
      store_relaxed_u32(&hint_words[i], (uint32_t)test_random(&random) & (uint32_t)test_random(&random));
    leaf = 0;
    (void)mempool__hints_take(&hints, (uint32_t)test_random(&random), round % 2 == 0, &leaf);
    if (leaf >= 40)
      CU_FAIL("a leaf that isn't there");
  }
  CU_ASSERT_EQUAL(load_relaxed_u32(&hint_words[43]), 0);
}

/* The same source once more, which counts how often it looks at a word. */
static unsigned looks;
#define load_relaxed_u32(word) (looks++, load_relaxed_u32(word))
#define mempool__hints_plan counted_hints_plan
#define mempool__hints_set counted_hints_set
#define mempool__hints_take counted_hints_take
uint32_t counted_hints_plan(uint32_t counts[HINTS_LEVELS], uint32_t bits);
void counted_hints_set(const struct hints *hints, uint32_t leaf, uint32_t bits, bool thoroughly);
uint32_t counted_hints_take(const struct hints *hints, uint32_t from, bool one, uint32_t *leaf);
#include "hints.c"
#undef load_relaxed_u32
#undef mempool__hints_plan
#undef mempool__hints_set
#undef mempool__hints_take

/* Calls that find no block look for one: where there is none, one look must do. */
static void test_hints_take_none_looks_once(void)
{
  static const uint32_t bits[] = { 1, 31, 32, 33, 1024, 33000 };
  struct hints hints;
  uint32_t leaf = 0;
  size_t i;
  for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
    make_hints(&hints, bits[i]);
    looks = 0;
    CU_ASSERT_EQUAL(counted_hints_take(&hints, 0, false, &leaf), 0);
    CU_ASSERT_EQUAL(counted_hints_take(&hints, 0, true, &leaf), 0);
    CU_ASSERT_EQUAL(looks, 2);
    /* And after the last was taken. */
    counted_hints_set(&hints, 0, 1, false);
    CU_ASSERT_EQUAL(counted_hints_take(&hints, 0, true, &leaf), 1);
    looks = 0;
    CU_ASSERT_EQUAL(counted_hints_take(&hints, 0, true, &leaf), 0);
    CU_ASSERT_EQUAL(looks, 1);
  }
}

/* ---- What a killed owner leaves behind ---- */

/* An alloc of the peer's, up to a stage; then recovered.  How many blocks come back. */
static void die_in_alloc(int stage, size_t expected_back)
{
  struct fixture f;
  struct lane *lane;
  uint64_t state, top;
  uint32_t index, word;
  void *held;
  set_up(&f);
  held = mempool_alloc(f.peer);
  lane = lane_of(f.peer);
  state = load_relaxed_u64(&lane->state);
  top = load_relaxed_u64(&lane->slots[(state & LANE_COUNT_MASK) - 1]);
  index = candidate_index(top);
  word = candidate_word(top);
  CU_ASSERT_PTR_NOT_NULL(held);
  store_relaxed_u32(&lane->busy, BUSY_ALLOC);
  if (stage >= 1)
    CU_ASSERT(compare_exchange_acq_rel_u32(&f.peer->room->words[index], word, word_taken(word, f.peer->room->tag)));
  if (stage >= 2)
    store_relaxed_u64(&lane->state, state + LANE_ALLOC - 1);
  if (stage >= 3)
    store_relaxed_u32(&lane->busy, BUSY_NOT);
  CU_ASSERT_EQUAL(recover(&f), expected_back);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), 0);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  CU_ASSERT_EQUAL(load_relaxed_u32(&lane->owner), 0);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY);
  CU_ASSERT_EQUAL(recover(&f), 0);
  tear_down(&f);
}

static void test_recover_died_in_alloc_exact(void)
{
  die_in_alloc(0, 1);
  die_in_alloc(1, 2);
  die_in_alloc(2, 2);
  die_in_alloc(3, 2);
}

/*
 * A free by the peer of a block of the peer's own, or of the maker's, which it
 * brings into its name first; at stage 5 the maker is quicker to free the peer's.
 */
static void die_in_free(int stage, bool of_maker, size_t expected_back, size_t expected_used)
{
  struct fixture f;
  struct lane *lane;
  uint64_t state, frees;
  uint32_t index = 0, word;
  void *held, *block;
  set_up(&f);
  held = mempool_alloc(f.peer);
  block = mempool_alloc(of_maker ? f.pool : f.peer);
  CU_ASSERT_PTR_NOT_NULL(held);
  lane = lane_of(f.peer);
  state = load_relaxed_u64(&lane->state);
  frees = load_relaxed_u64(&lane->frees);
  CU_ASSERT_EQUAL(mempool_block_index(f.peer, block, &index), MEMPOOL_OK);
  word = load_relaxed_u32(&f.peer->room->words[index]);
  if (of_maker && stage >= 0) {
    word = word_freed(word) | mempool_owner(f.peer) << WORD_OWNER_SHIFT | WORD_HELD;
    store_relaxed_u32(&f.peer->room->words[index], word);
    CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_E_DOUBLE_FREE);
  }
  store_relaxed_u32(&lane->busy, BUSY_BEGINS);
  if (stage >= 1) {
    store_relaxed_u64(&lane->slots[state & LANE_COUNT_MASK], candidate(index, word));
    store_relaxed_u32(&lane->busy, busy_freeing(frees, state & LANE_COUNT_MASK));
  }
  if (stage >= 2)
    store_relaxed_u64(&lane->frees, frees + 1);
  if (stage == 3 || stage == 4)
    CU_ASSERT(compare_exchange_seq_cst_u32(&f.peer->room->words[index], word, word_freed(word)));
  if (stage == 4) {
    store_relaxed_u64(&lane->state, state + 1);
    /* What was flushed once from behind the top is still written there, and may be as it was. */
    store_relaxed_u64(&lane->slots[(state + 1) & LANE_COUNT_MASK],
                      candidate(CAPACITY - 1, load_relaxed_u32(&f.peer->room->words[CAPACITY - 1])));
  }
  if (stage == 5)
    CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recover(&f), expected_back);
  /* That the free was done may have been somebody else's doing: it is counted, or is counted twice. */
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), stage >= 3 ? SETTLED_DOUBT : 0);
  CU_ASSERT_EQUAL(used_of(f.pool), expected_used);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY - expected_used);
  tear_down(&f);
}

static void test_recover_died_in_free_finished(void)
{
  die_in_free(0, false, 2, 0);
  die_in_free(1, false, 2, 0);
  die_in_free(2, false, 2, 0);
  die_in_free(3, false, 1, 0);
  die_in_free(4, false, 1, 0);
  die_in_free(5, false, 1, 0);
  /* Before it brought the block into its name: that stays in the name of who took it. */
  die_in_free(-1, true, 1, 1);
  die_in_free(0, true, 2, 0);
  die_in_free(1, true, 2, 0);
  die_in_free(2, true, 2, 0);
  die_in_free(3, true, 1, 0);
  die_in_free(4, true, 1, 0);
}

/* The block has been taken so often since that its generation is what it was. */
static void test_recover_died_in_free_generation_came_round_holder_keeps_it(void)
{
  enum { GENERATIONS = WORD_GENERATION / WORD_STEP };
  struct fixture f;
  struct lane *lane;
  uint64_t frees;
  uint32_t noted;
  void *block;
  int i;
  set_up_with(&f, 0, 1, 16);
  block = mempool_alloc(f.peer);
  CU_ASSERT_PTR_NOT_NULL_FATAL(block);
  lane = lane_of(f.peer);
  frees = load_relaxed_u64(&lane->frees);
  noted = load_relaxed_u32(word_of(f.peer, block));
  CU_ASSERT_EQUAL(mempool_free(f.peer, block), MEMPOOL_OK);
  store_relaxed_u64(&lane->state, load_relaxed_u64(&lane->state) - 1); /* killed before it noted a candidate */
  store_relaxed_u32(&lane->busy, busy_freeing(frees, load_relaxed_u64(&lane->state) & LANE_COUNT_MASK));
  for (i = 0; i < GENERATIONS - 1; i++)
    CU_ASSERT_EQUAL_FATAL(mempool_free(f.pool, mempool_alloc(f.pool)), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(f.pool), block);
  CU_ASSERT_EQUAL(word_freed(load_relaxed_u32(word_of(f.pool, block))), word_freed(noted));
  CU_ASSERT_EQUAL(recover(&f), 0);
  CU_ASSERT_PTR_NULL(mempool_alloc(f.pool));
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  tear_down(&f);
}

/* Another lane of the same owner may have brought it round, and it comes back; only the figures doubt. */
static void test_recover_died_in_free_mixed_settles(void)
{
  struct fixture f;
  struct lane *lane;
  void *block;
  set_up(&f);
  block = mempool_alloc(f.peer);
  CU_ASSERT_PTR_NOT_NULL_FATAL(block);
  lane = lane_of(f.peer);
  or_acq_rel_u64(room_slot(f.peer->room, mempool_owner(f.peer)), OWNER_MIXED);
  store_relaxed_u64(&lane->slots[load_relaxed_u64(&lane->state) & LANE_COUNT_MASK],
                    candidate(0, load_relaxed_u32(word_of(f.peer, block))));
  store_relaxed_u32(&lane->busy, busy_freeing(load_relaxed_u64(&lane->frees),
                                              load_relaxed_u64(&lane->state) & LANE_COUNT_MASK));
  store_relaxed_u64(&lane->frees, load_relaxed_u64(&lane->frees) + 1);
  CU_ASSERT_EQUAL(recover(&f), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_DOUBT);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_ONE);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

/* With more than one lane at work, nobody can tell which of them took it: figures are counted then, and settle. */
static void settle_mixed(bool by_alloc)
{
  struct fixture f;
  struct lane *lane;
  uint64_t top;
  uint32_t index, word;
  set_up(&f);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.pool));
  lane = lane_of(f.peer);
  or_acq_rel_u64(room_slot(f.peer->room, mempool_owner(f.peer)), OWNER_MIXED);
  top = load_relaxed_u64(&lane->slots[(load_relaxed_u64(&lane->state) & LANE_COUNT_MASK) - 1]);
  index = candidate_index(top);
  word = candidate_word(top);
  store_relaxed_u32(&lane->busy, BUSY_ALLOC);
  CU_ASSERT(compare_exchange_acq_rel_u32(&f.peer->room->words[index], word, word_taken(word, f.peer->room->tag)));
  CU_ASSERT_EQUAL(recover(&f), 2);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_DOUBT);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  if (by_alloc)
    expect_available(f.pool, CAPACITY - 1); /* the last of these looks at all words */
  else
    CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_ONE);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  tear_down(&f);
}

static void test_recover_died_in_alloc_mixed_settles(void)
{
  settle_mixed(false);
  settle_mixed(true);
}

/* Calls without a lane leave no trace, but that there were some; after the recovery not even that. */
static void test_recover_died_outside_settles(void)
{
  struct fixture f;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  struct lane *lane;
  set_up(&f);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  lane = lane_of(f.peer);
  store_relaxed_u32(&lane->busy, BUSY_ALLOC);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  store_relaxed_u32(&lane->busy, BUSY_NOT);
  add_acq_rel_u64(&f.pool->room->header->others.allocs, UINT64_MAX); /* killed before it was counted */
  room_enter(f.peer->room, OUTSIDE_CALL);
  room_enter(f.peer->room, OUTSIDE_WAITER);
  CU_ASSERT_EQUAL(mempool_get_stats(f.pool, &stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats.waiting, 1);
  CU_ASSERT_EQUAL(recover(&f), 2);
  CU_ASSERT_EQUAL(mempool_get_stats(f.pool, &stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats.waiting, 0);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_ONE);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

/* Killed while it recovered a third, who is recovered with it: nobody is inside any more. */
static void test_recover_died_in_recover_settles(void)
{
  struct fixture f;
  mempool *third;
  set_up(&f);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(third));
  store_relaxed_u64(room_slot(f.pool->room, mempool_owner(third)),
                    (uint64_t)OWNER_RECOVERING | (uint64_t)mempool_owner(f.peer) << BY_SHIFT |
                      (uint64_t)1 << BY_START_SHIFT);
  room_enter(f.peer->room, OUTSIDE_CALL);
  add_acq_rel_u64(&f.pool->room->header->others.frees, 1); /* of a block that it didn't come to */
  CU_ASSERT_EQUAL(recover(&f), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_DOUBT);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_ONE);
  mempool_destroy(third);
  tear_down(&f);
}

static void test_settle_not_while_somebody_is_inside(void)
{
  struct fixture f;
  struct lane *lane;
  set_up(&f);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.pool));
  lane = lane_of(f.pool);
  store_relaxed_u64(&f.pool->room->header->settled, SETTLED_DOUBT);
  store_relaxed_u32(&lane->busy, BUSY_ALLOC);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_DOUBT);
  store_relaxed_u32(&lane->busy, BUSY_NOT);
  room_enter(f.peer->room, OUTSIDE_CALL);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), SETTLED_DOUBT);
  room_leave(f.peer->room, OUTSIDE_CALL);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->settled), 0);
  tear_down(&f);
}

/* Held blocks, in pools that have something to do to them. */
static void test_recover_held_blocks_zeroed_and_guarded(void)
{
  struct fixture f;
  unsigned char *block;
  uint32_t word;
  int i;
  set_up_with(&f, MEMPOOL_ZERO | MEMPOOL_GUARD, CAPACITY, 16);
  block = mempool_alloc(f.peer);
  memset(block, 0x5a, BLOCK_SIZE + 8); /* the canary too */
  word = load_relaxed_u32(word_of(f.peer, block));
  store_relaxed_u32(word_of(f.peer, block), word | WORD_HELD);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(recover(&f), 1);
  for (i = 0; i < BLOCK_SIZE; i++)
    CU_ASSERT_EQUAL(block[i], 0);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

/* ---- Owners ---- */

/* The number of a process that has ended. */
static uint32_t ended_process(void)
{
  pid_t child = fork();
  if (child == 0)
    _exit(0);
  CU_ASSERT_EQUAL_FATAL(waitpid(child, NULL, 0), child);
  return (uint32_t)child;
}

static void test_recover_recoverer_died_taken_over(void)
{
  struct fixture f;
  uint64_t process = ended_process();
  size_t recovered = 99;
  set_up(&f);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  store_relaxed_u64(room_slot(f.pool->room, 2),
                    (uint64_t)OWNER_RECOVERING | 7u << BY_SHIFT | process << BY_PROCESS_SHIFT |
                      (uint64_t)77 << BY_START_SHIFT);
  CU_ASSERT_EQUAL(mempool_recover(f.pool, 2, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 1);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  tear_down(&f);
}

static void test_recover_recoverer_lives_left_to_it(void)
{
  struct fixture f;
  uint64_t process = mempool__os_process();
  size_t recovered = 99;
  set_up(&f);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  store_relaxed_u64(room_slot(f.pool->room, 2),
                    (uint64_t)OWNER_RECOVERING | 7u << BY_SHIFT | process << BY_PROCESS_SHIFT |
                      mempool__os_process_start(mempool__os_process()) << BY_START_SHIFT);
  CU_ASSERT_EQUAL(mempool_recover(f.pool, 2, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(mempool_recover_dead(f.pool, &recovered),
                  mempool__os_process() != 0 ? MEMPOOL_OK : MEMPOOL_E_UNSUPPORTED);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  /* But if that one is recovered, what it was at is abandoned, and done as well. */
  CU_ASSERT_EQUAL(mempool_recover(f.pool, 7, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 1);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  tear_down(&f);
}

static void test_attach_no_slot_left_until_recovered(void)
{
  struct fixture f;
  mempool *third;
  set_up_with(&f, 0, CAPACITY, 2);
  CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_PTR_NULL(third);
  CU_ASSERT_EQUAL(recover(&f), 0);
  CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_owner(third), 2);
  mempool_destroy(third);
  tear_down(&f);
}

/* Numbers of processes that are gone are taken over, with what is in their names. */
static void test_attach_all_owners_gone_takes_one_over(void)
{
  struct fixture f;
  uint64_t gone, mine;
  mempool *third;
  if (skipped_without_fork())
    return;
  gone = OWNER_ATTACHED | (uint64_t)ended_process() << PROCESS_SHIFT | (uint64_t)77 << START_SHIFT;
  set_up_with(&f, MEMPOOL_ZERO | MEMPOOL_GUARD, CAPACITY, 2);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.pool));
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.peer));
  mine = load_relaxed_u64(room_slot(f.pool->room, 2)) & ~(uint64_t)OWNER_HAS_LANE;
  /* Not while a child may work in that name, nor while somebody lives who recovers it. */
  store_relaxed_u64(room_slot(f.pool->room, 2), gone | OWNER_FORKED);
  CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_E_NO_MEMORY);
  store_relaxed_u64(room_slot(f.pool->room, 2),
                    OWNER_RECOVERING | 1 << BY_SHIFT | (uint64_t)mempool__os_process() << BY_PROCESS_SHIFT |
                      mempool__os_process_start(mempool__os_process()) << BY_START_SHIFT);
  CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_EQUAL(used_of(f.pool), 3);
  store_relaxed_u64(room_slot(f.pool->room, 2), gone);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_owner(third), 2);
  CU_ASSERT_EQUAL(load_relaxed_u64(room_slot(f.pool->room, 2)), mine);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  expect_available(third, CAPACITY - 1);
  mempool_destroy(third);
  tear_down(&f);
}

/* Who leaves with blocks keeps its number until they are free. */
static void test_destroy_with_blocks_number_kept(void)
{
  struct fixture f;
  mempool *again;
  void *block;
  set_up_with(&f, 0, CAPACITY, 2);
  block = mempool_alloc(f.peer);
  mempool_destroy(f.peer);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_attach(&again, f.memory, MEMORY_BYTES), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_attach(&f.peer, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_owner(f.peer), 2);
  tear_down(&f);
}

static void test_attach_numbers_go_round(void)
{
  struct fixture f;
  uint32_t expected;
  set_up_with(&f, 0, CAPACITY, 4);
  for (expected = 3; expected <= 4; expected++) {
    mempool_destroy(f.peer);
    CU_ASSERT_EQUAL_FATAL(mempool_attach(&f.peer, f.memory, MEMORY_BYTES), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_owner(f.peer), expected);
  }
  mempool_destroy(f.peer);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&f.peer, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_owner(f.peer), 2);
  tear_down(&f);
}

/* ---- Lanes ---- */

/* However small the pool, its blocks come in the order in which they were freed, the last first. */
static void last_freed_first(uint32_t flags, uint32_t capacity)
{
  struct fixture f;
  void *blocks[LANE_MOST_SLOTS];
  uint64_t random = capacity;
  uint32_t i;
  set_up_with(&f, flags, capacity, 16);
  for (i = 0; i < capacity; i++)
    blocks[i] = mempool_alloc(f.pool);
  for (i = capacity - 1; i > 0; i--) {
    uint32_t other = (uint32_t)(test_random(&random) % (i + 1));
    void *block = blocks[i];
    blocks[i] = blocks[other];
    blocks[other] = block;
  }
  CU_ASSERT_EQUAL(mempool_free_bulk(f.pool, blocks, capacity), MEMPOOL_OK);
  for (i = capacity; i > 0; i--)
    CU_ASSERT_PTR_EQUAL(mempool_alloc(f.pool), blocks[i - 1]);
  CU_ASSERT_EQUAL(mempool_free_bulk(f.pool, blocks, capacity), MEMPOOL_OK);
  tear_down(&f);
}

static void test_alloc_last_freed_first(void)
{
  static const uint32_t capacities[] = { 1, 2, 6, 8, 33, 64 };
  size_t i;
  for (i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
    last_freed_first(0, capacities[i]);
    last_freed_first(MEMPOOL_ZERO | MEMPOOL_GUARD, capacities[i]);
  }
}

/* In a small pool the peak is exact for one thread, as no fresh block is taken before it is needed. */
static void test_stats_small_pool_peak_exact(void)
{
  struct fixture f;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  void *blocks[5];
  set_up_with(&f, 0, 60, 16);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(f.pool, blocks, 5), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(f.pool, blocks, 5), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(f.peer, blocks, 5), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_get_stats(f.pool, &stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats.peak_used, 5);
  CU_ASSERT_EQUAL(mempool_free_bulk(f.pool, blocks, 5), MEMPOOL_OK);
  tear_down(&f);
}

/* As a signal handler finds its thread's lane. */
static void test_lane_busy_goes_round_it(void)
{
  struct fixture f;
  struct lane *lane;
  void *first, *second;
  uint64_t state;
  set_up(&f);
  first = mempool_alloc(f.pool);
  lane = lane_of(f.pool);
  state = load_relaxed_u64(&lane->state);
  store_relaxed_u32(&lane->busy, BUSY_ALLOC);
  second = mempool_alloc(f.pool);
  CU_ASSERT(second != NULL && second != first);
  CU_ASSERT_EQUAL(used_of(f.pool), 2);
  CU_ASSERT_EQUAL(mempool_free(f.pool, first), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(f.pool, first), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(f.pool, second), MEMPOOL_OK);
  CU_ASSERT_EQUAL(load_relaxed_u64(&lane->state), state);
  CU_ASSERT_EQUAL(load_relaxed_u32(&lane->busy), BUSY_ALLOC);
  expect_available(f.pool, CAPACITY);
  store_relaxed_u32(&lane->busy, BUSY_NOT);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

static void test_lane_of_garbage_is_harmless(void)
{
  uint64_t random = test_seed();
  struct fixture f;
  struct lane *lane;
  int round, i;
  set_up(&f);
  CU_ASSERT_EQUAL(mempool_free(f.pool, mempool_alloc(f.pool)), MEMPOOL_OK);
  lane = lane_of(f.pool);
  for (round = 0; round < 2000; round++) {
    void *block;
    uint64_t state = load_relaxed_u64(&lane->state);
    store_relaxed_u64(&lane->state, (state & ~LANE_COUNT_MASK) | (test_random(&random) & LANE_COUNT_MASK));
    for (i = 0; i < (int)f.pool->room->lane_slots; i++)
      store_relaxed_u64(&lane->slots[i], candidate((uint32_t)(test_random(&random) % (CAPACITY * 2)),
                                                   (uint32_t)test_random(&random) & 0x1f));
    block = mempool_alloc(f.pool);
    CU_ASSERT_PTR_NOT_NULL(block);
    CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  }
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

static void *use_and_end(void *arg)
{
  struct fixture *f = arg;
  CU_ASSERT_EQUAL(mempool_free(f->pool, mempool_alloc(f->pool)), MEMPOOL_OK);
  CU_ASSERT_NOT_EQUAL(load_relaxed_u32(&lane_of(f->pool)->owner), 0);
  return NULL;
}

static uint32_t lanes_in_use(const mempool *pool)
{
  uint32_t count = 0, i;
  for (i = 0; i < pool->room->lane_count; i++)
    count += load_relaxed_u32(&room_lane(pool->room, i)->owner) != 0;
  return count;
}

static void test_thread_end_lane_given_up(void)
{
  struct fixture f;
  int i;
  set_up(&f);
  for (i = 0; i < 3 * LANES_MOST; i++) {
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, use_and_end, &f), 0);
    (void)pthread_join(thread, NULL);
  }
  CU_ASSERT_EQUAL(lanes_in_use(f.pool), 0);
  expect_available(f.pool, CAPACITY);
  tear_down(&f);
}

/* Without a lane left, threads go the common way. */
static void test_alloc_no_lane_left_ok(void)
{
  struct fixture f;
  void *block;
  uint32_t i;
  set_up(&f);
  for (i = 0; i < f.pool->room->lane_count; i++)
    store_relaxed_u32(&room_lane(f.pool->room, i)->owner, 2);
  block = mempool_alloc(f.pool);
  CU_ASSERT_PTR_NOT_NULL(block);
  CU_ASSERT_PTR_NULL(f.pool->room->seats[thread_slot()].lane);
  CU_ASSERT_EQUAL(used_of(f.pool), 1);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  expect_available(f.pool, CAPACITY);
  for (i = 0; i < f.pool->room->lane_count; i++)
    store_relaxed_u32(&room_lane(f.pool->room, i)->owner, 0);
  tear_down(&f);
}

static void test_fork_child_leaves_parents_lane_alone(void)
{
  struct fixture f;
  struct lane *lane;
  uint64_t state;
  int status = 1;
  pid_t child;
  set_up(&f);
  CU_ASSERT_EQUAL(mempool_free(f.pool, mempool_alloc(f.pool)), MEMPOOL_OK);
  lane = lane_of(f.pool);
  state = load_relaxed_u64(&lane->state);
  child = fork();
  if (child == 0) {
    void *block = mempool_alloc(f.pool);
    _exit(block != NULL && f.pool->room->seats[thread_slot()].lane != lane && mempool_owner(f.pool) == 1 &&
              mempool_free(f.pool, block) == MEMPOOL_OK
            ? 0
            : 1);
  }
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  CU_ASSERT_EQUAL(status, 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&lane->state), state);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  tear_down(&f);
}

/* What a handler works with, in whatever it interrupts. */
static mempool *volatile handlers_pool;
static atomic_u32 handled;

static void work_in_handler(int number)
{
  void *block = mempool_alloc(handlers_pool);
  (void)number;
  if (block != NULL && mempool_free(handlers_pool, block) == MEMPOOL_OK)
    atomic_fetch_add(&handled, 1);
}

static void handle_signal(mempool *pool, struct sigaction *before)
{
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = work_in_handler;
  handlers_pool = pool;
  store_relaxed_u32(&handled, 0);
  CU_ASSERT_EQUAL(sigaction(SIGUSR1, &action, before), 0);
}

/* Registered before the library's own: runs in the child before that. */
static volatile sig_atomic_t raise_in_child;

static void early_in_child(void)
{
  if (raise_in_child != 0)
    (void)raise(SIGUSR1);
}

static void test_fork_signal_before_childs_handlers_parents_lane_alone(void)
{
  struct fixture f;
  struct sigaction before;
  struct lane *lane;
  uint64_t state, frees, others;
  int status = 1;
  pid_t child;
  if (skipped_without_fork())
    return;
  set_up(&f);
  CU_ASSERT_EQUAL(mempool_free(f.pool, mempool_alloc(f.pool)), MEMPOOL_OK);
  lane = lane_of(f.pool);
  state = load_relaxed_u64(&lane->state);
  frees = load_relaxed_u64(&lane->frees);
  others = load_relaxed_u64(&f.pool->room->header->others.allocs);
  handle_signal(f.pool, &before);
  raise_in_child = 1;
  child = fork();
  raise_in_child = 0;
  if (child == 0)
    _exit(load_relaxed_u32(&handled) == 1 ? 0 : 1);
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  CU_ASSERT_EQUAL(status, 0);
  CU_ASSERT_EQUAL(sigaction(SIGUSR1, &before, NULL), 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&lane->state), state);
  CU_ASSERT_EQUAL(load_relaxed_u64(&lane->frees), frees);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->others.allocs), others + 1);
  CU_ASSERT_EQUAL(used_of(f.pool), 0);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(f.pool)); /* and the parent works in it as before */
  CU_ASSERT_EQUAL(load_relaxed_u64(&lane->state), state + LANE_ALLOC - 1);
  tear_down(&f);
}

struct ending {
  mempool *pool;
  struct lane *_Atomic lane;
};

static void *claim_and_end(void *arg)
{
  struct ending *ending = arg;
  CU_ASSERT_EQUAL(mempool_free(ending->pool, mempool_alloc(ending->pool)), MEMPOOL_OK);
  atomic_store(&ending->lane, lane_of(ending->pool));
  return NULL;
}

/*
 * A thread that ends gives up its lane first, as the shared pool is the newest;
 * then it wants the lock of the other.  Until it gets that it is on its way out,
 * with a slot that may be another's any moment.
 */
static void test_thread_end_signal_on_the_way_out_no_lane(void)
{
  struct fixture f;
  struct ending ending = { NULL, NULL };
  struct sigaction before;
  struct lane *lane;
  mempool *plain;
  pthread_t thread;
  uint64_t others;
  if (skipped_without_signals())
    return;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&plain, BLOCK_SIZE, CAPACITY, NULL), MEMPOOL_OK);
  set_up(&f);
  handle_signal(f.pool, &before);
  others = load_relaxed_u64(&f.pool->room->header->others.allocs);
  ending.pool = f.pool;
  lock_acquire(&plain->lock);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, claim_and_end, &ending), 0);
  while ((lane = atomic_load(&ending.lane)) == NULL || load_acquire_u32(&lane->owner) != 0)
    (void)sched_yield();
  CU_ASSERT_EQUAL(pthread_kill(thread, SIGUSR1), 0);
  while (load_acquire_u32(&handled) == 0)
    (void)sched_yield();
  lock_release(&plain->lock);
  CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
  CU_ASSERT_EQUAL(sigaction(SIGUSR1, &before, NULL), 0);
  CU_ASSERT_EQUAL(load_relaxed_u64(&f.pool->room->header->others.allocs), others + 1);
  CU_ASSERT_EQUAL(lanes_in_use(f.pool), 0);
  tear_down(&f);
  mempool_destroy(plain);
}

static void test_fork_child_destroy_leaves_parent_attached(void)
{
  struct fixture f;
  pid_t child;
  set_up(&f);
  child = fork();
  if (child == 0) {
    mempool_destroy(f.pool);
    _exit(0);
  }
  CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
  CU_ASSERT_EQUAL(load_relaxed_u64(room_slot(f.pool->room, 1)) & OWNER_STATE, OWNER_ATTACHED);
  tear_down(&f);
}

/* The child goes on in its parent's name. */
static void test_destroy_after_fork_number_kept(void)
{
  struct fixture f;
  pid_t child;
  set_up(&f);
  child = fork();
  if (child == 0)
    _exit(0);
  CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
  mempool_destroy(f.peer);
  CU_ASSERT_EQUAL(load_relaxed_u64(room_slot(f.pool->room, 2)) & OWNER_STATE, OWNER_LEFT);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&f.peer, f.memory, MEMORY_BYTES), MEMPOOL_OK);
  tear_down(&f);
}

/* ---- The header, and checking ---- */

static void test_attach_any_bit_of_shape_refused(void)
{
  struct fixture f;
  unsigned char *bytes;
  size_t bit;
  set_up(&f);
  bytes = (unsigned char *)f.pool->room->header;
  for (bit = 0; bit < offsetof(struct shared_header, padding1) * 8; bit++) {
    mempool *third;
    bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, MEMORY_BYTES), MEMPOOL_E_CORRUPTED);
    CU_ASSERT_PTR_NULL(third);
    CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_E_CORRUPTED);
    bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
  }
  tear_down(&f);
}

static void test_attach_one_byte_short_refused(void)
{
  struct fixture f;
  mempool *third;
  size_t bytes, size;
  set_up(&f);
  bytes = mempool__shared_bytes(&f.pool->room->shape);
  for (size = 0; size < bytes; size += size < 400 || size > bytes - 100 ? 1 : 64)
    CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, size), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_attach(&third, f.memory, bytes), MEMPOOL_OK);
  mempool_destroy(third);
  tear_down(&f);
}

/* At an address that isn't congruent the blocks would not be aligned as promised. */
static void test_attach_misaligned_refused(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool, *other;
  unsigned char *memory, *copy;
  size_t size;
  options.flags = MEMPOOL_SHARED;
  options.alignment = 1 << 16;
  options.max_owners = 4;
  size = mempool_required_size(BLOCK_SIZE, 4, &options);
  memory = mmap(NULL, size + (1 << 16), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  copy = mmap(NULL, size + (2 << 16), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_FATAL(memory != MAP_FAILED && copy != MAP_FAILED);
  memory = (unsigned char *)round_up((uintptr_t)memory, 1 << 16);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, size, BLOCK_SIZE, 4, &options), MEMPOOL_OK);
  copy = (unsigned char *)round_up((uintptr_t)copy, 1 << 16) + 4096;
  memcpy(copy, memory, size);
  CU_ASSERT_EQUAL(mempool_attach(&other, copy, size), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(other);
  mempool_destroy(pool);
}

static void expect_corrupted(struct fixture *f, atomic_u32 *word, uint32_t value)
{
  uint32_t old = load_relaxed_u32(word);
  store_relaxed_u32(word, value);
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_E_CORRUPTED);
  store_relaxed_u32(word, old);
  CU_ASSERT_EQUAL(mempool_check(f->pool), MEMPOOL_OK);
}

static void test_check_finds_what_is_broken(void)
{
  struct fixture f;
  struct room *room;
  struct lane *lane;
  void *block;
  uint64_t frees;
  set_up(&f);
  room = f.pool->room;
  block = mempool_alloc(f.pool);
  lane = lane_of(f.pool);
  expect_corrupted(&f, word_of(f.pool, block), 2);                           /* no condition */
  expect_corrupted(&f, word_of(f.pool, block), WORD_STEP | 1u << 16);        /* free, in somebody's name */
  expect_corrupted(&f, word_of(f.pool, block), WORD_STEP | WORD_LIVE);       /* live, in nobody's */
  expect_corrupted(&f, word_of(f.pool, block), WORD_STEP | WORD_LIVE | 9u << 16); /* who isn't attached */
  expect_corrupted(&f, word_of(f.pool, block), WORD_STEP | WORD_LIVE | 60000u << 16);
  expect_corrupted(&f, word_of(f.pool, block), WORD_STEP);                   /* and not counted */
  expect_corrupted(&f, &room->words[CAPACITY - 1], WORD_STEP);               /* beyond fresh */
  expect_corrupted(&f, &room->header->fresh, CAPACITY + 1);
  expect_corrupted(&f, &room->header->lanes_used, 1000);
  expect_corrupted(&f, &room->header->owners_used, 1000);
  expect_corrupted(&f, &room->header->closed, 2);
  expect_corrupted(&f, &room->header->sleepers, 3);
  expect_corrupted(&f, &lane->owner, 1000);
  expect_corrupted(&f, &lane->owner, 9); /* who isn't attached */
  expect_corrupted(&f, &lane->waiting, 2);
  frees = load_relaxed_u64(&lane->frees);
  store_relaxed_u64(&lane->frees, frees + 1);
  CU_ASSERT_EQUAL(mempool_check(f.pool), MEMPOOL_E_CORRUPTED);
  store_relaxed_u64(&lane->frees, frees);
  CU_ASSERT_EQUAL(mempool_free(f.pool, block), MEMPOOL_OK);
  tear_down(&f);
}

/* A pool whose words never hold still may give up, but ends. */
static void test_alloc_all_words_garbage_ends(void)
{
  uint64_t random = test_seed();
  struct fixture f;
  int round;
  size_t i;
  set_up(&f);
  CU_ASSERT_EQUAL(mempool_free(f.pool, mempool_alloc(f.pool)), MEMPOOL_OK);
  for (round = 0; round < 200; round++) {
    unsigned char *from = (unsigned char *)f.pool->room->header + offsetof(struct shared_header, closed);
    unsigned char *to = (unsigned char *)mempool_block_at(f.pool, 0) - GEOMETRY_CACHE_LINE;
    mempool_stats stats = MEMPOOL_STATS_INIT;
    size_t recovered;
    void *block;
    for (; from < to; from++)
      *from = (unsigned char)test_random(&random);
    store_relaxed_u32(&f.pool->room->header->closed, 0);
    for (i = 0; i < 20; i++) {
      block = mempool_alloc(f.pool);
      CU_ASSERT(block == NULL || mempool_contains(f.pool, block));
      (void)mempool_free(f.pool, block);
    }
    CU_ASSERT_EQUAL(mempool_get_stats(f.pool, &stats), MEMPOOL_OK);
    CU_ASSERT_EQUAL(stats.used + stats.available, CAPACITY);
    (void)mempool_check(f.pool);
    (void)mempool_recover(f.pool, 5, &recovered);
    (void)mempool_recover_dead(f.pool, &recovered);
  }
  mempool_destroy(f.peer);
  mempool_destroy(f.pool);
  (void)munmap(f.memory, MEMORY_BYTES);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_word_taken_every_generation_never_zero),
    TEST(test_alloc_generation_wraps_ok),
    TEST(test_hints_plan_counts),
    TEST(test_hints_take_from_there_on_around_the_end),
    TEST(test_hints_random_as_flags),
    TEST(test_hints_lost_summary_found_after_thorough_set),
    TEST(test_hints_garbage_stays_inside),
    TEST(test_hints_take_none_looks_once),
    TEST(test_recover_died_in_alloc_exact),
    TEST(test_recover_died_in_free_finished),
    TEST(test_recover_died_in_free_generation_came_round_holder_keeps_it),
    TEST(test_recover_died_in_free_mixed_settles),
    TEST(test_recover_died_in_alloc_mixed_settles),
    TEST(test_recover_died_outside_settles),
    TEST(test_recover_died_in_recover_settles),
    TEST(test_settle_not_while_somebody_is_inside),
    TEST(test_recover_held_blocks_zeroed_and_guarded),
    TEST(test_recover_recoverer_died_taken_over),
    TEST(test_recover_recoverer_lives_left_to_it),
    TEST(test_attach_no_slot_left_until_recovered),
    TEST(test_attach_all_owners_gone_takes_one_over),
    TEST(test_destroy_with_blocks_number_kept),
    TEST(test_attach_numbers_go_round),
    TEST(test_alloc_last_freed_first),
    TEST(test_stats_small_pool_peak_exact),
    TEST(test_lane_busy_goes_round_it),
    TEST(test_lane_of_garbage_is_harmless),
    TEST(test_thread_end_lane_given_up),
    TEST(test_alloc_no_lane_left_ok),
    TEST(test_fork_child_leaves_parents_lane_alone),
    TEST(test_fork_signal_before_childs_handlers_parents_lane_alone),
    TEST(test_thread_end_signal_on_the_way_out_no_lane),
    TEST(test_fork_child_destroy_leaves_parent_attached),
    TEST(test_destroy_after_fork_number_kept),
    TEST(test_attach_any_bit_of_shape_refused),
    TEST(test_attach_one_byte_short_refused),
    TEST(test_attach_misaligned_refused),
    TEST(test_check_finds_what_is_broken),
    TEST(test_alloc_all_words_garbage_ends),
  };
  if (pthread_atfork(NULL, NULL, early_in_child) != 0)
    return 99;
  return RUN_TESTS(tests);
}
