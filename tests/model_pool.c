/* SPDX-License-Identifier: MIT */
/*
 * Random calls on a pool and on a model of it, made of plain arrays, which
 * says what each call has to come to.  TEST_ROUNDS multiplies the rounds.
 */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_ZERO 0u
#define TAG_FILL UINT32_MAX
#define MANY 12

enum state { FRESH, LIVE, FREE };

typedef struct model {
  fixture f;
  mempool *pool;
  pool_kind kind;
  size_t block_size, capacity;
  unsigned char *states; /* enum state of each block */
  uint32_t *tags;        /* of what each block holds */
  uint32_t *freed;       /* indices in the order of their frees */
  size_t freed_count;
  uint32_t next_tag;
  mempool_stats stats; /* what mempool_get_stats() has to say */
  bool closed;
  unsigned taking; /* of 8 choices how many prefer to take */
  uint64_t random;
  int failed_line;
} model;

static uint64_t seed;

/* Notes the first expectation that doesn't hold; what follows is of no interest. */
#define EXPECT(m, condition)                       \
  do {                                             \
    if (!(condition) && (m)->failed_line == 0)     \
      (m)->failed_line = __LINE__;                 \
  } while (0)

static bool is_shared(const model *m)
{
  return (m->kind.flags & MEMPOOL_SHARED) != 0;
}

static size_t below(model *m, size_t limit)
{
  return (size_t)(test_random(&m->random) % limit);
}

/* Every byte of a small block, both ends of a large one. */
static size_t next_byte(const model *m, size_t i)
{
  return i == 31 && m->block_size > 64 ? m->block_size - 32 : i + 1;
}

static unsigned char byte_of(uint32_t tag, size_t i)
{
  if (tag == TAG_ZERO)
    return 0;
  return tag == TAG_FILL ? FILL : (unsigned char)((tag * 2654435761u >> 13) + i * 37u);
}

static void fill(const model *m, void *block, uint32_t tag)
{
  unsigned char *bytes = block;
  size_t i;
  for (i = 0; i < m->block_size; i = next_byte(m, i))
    bytes[i] = byte_of(tag, i);
}

static bool filled(const model *m, const void *block, uint32_t tag)
{
  const unsigned char *bytes = block;
  size_t i;
  for (i = 0; i < m->block_size; i = next_byte(m, i)) {
    if (bytes[i] != byte_of(tag, i))
      return false;
  }
  return true;
}

static uint32_t index_of(model *m, const void *block)
{
  uint32_t index = 0;
  EXPECT(m, mempool_block_index(m->pool, block, &index) == MEMPOOL_OK);
  EXPECT(m, mempool_block_at(m->pool, index) == block);
  return index;
}

static void now_used(model *m, size_t used)
{
  m->stats.used = used;
  m->stats.available = m->capacity - used;
  if (used > m->stats.peak_used)
    m->stats.peak_used = used;
}

static void count(const model *m, uint64_t *counter, size_t blocks)
{
  if ((m->kind.flags & MEMPOOL_COUNTERS) != 0)
    *counter += blocks;
}

/* A block was taken: it is another one, it holds what it has to, and now something of its own. */
static void taken(model *m, void *block)
{
  uint32_t index = index_of(m, block);
  EXPECT(m, m->states[index] != LIVE);
  EXPECT(m, filled(m, block, m->tags[index]));
  m->states[index] = LIVE;
  m->tags[index] = ++m->next_tag;
  fill(m, block, m->tags[index]);
}

/*
 * What was freed last is taken first; within one call the order in the array is the pool's affair, and so is it in
 * shared pools, beyond what a cache holds.
 */
static void taken_many(model *m, void *const *blocks, size_t many)
{
  size_t i, j, from_freed = many < m->freed_count ? many : m->freed_count;
  for (i = 0; i < from_freed && !is_shared(m); i++) {
    void *expected = mempool_block_at(m->pool, m->freed[m->freed_count - 1 - i]);
    for (j = 0; j < many && blocks[j] != expected; j++)
      ;
    EXPECT(m, j < many);
  }
  for (i = 0; i < many; i++)
    taken(m, blocks[i]);
  m->freed_count -= from_freed;
  now_used(m, m->stats.used + many);
  count(m, &m->stats.alloc_count, many);
}

static void wiped_if_asked_for(model *m, uint32_t index)
{
  if ((m->kind.flags & MEMPOOL_ZERO) != 0)
    m->tags[index] = TAG_ZERO;
}

static void given_back(model *m, uint32_t index)
{
  wiped_if_asked_for(m, index);
  m->states[index] = FREE;
  m->freed[m->freed_count++] = index;
  now_used(m, m->stats.used - 1);
  count(m, &m->stats.free_count, 1);
}

/* A random live block's index; UINT32_MAX if there is none. */
static uint32_t some_live(model *m)
{
  uint32_t start = (uint32_t)below(m, m->capacity), i;
  for (i = 0; i < m->capacity; i++) {
    uint32_t index = (uint32_t)((start + i) % m->capacity);
    if (m->states[index] == LIVE)
      return index;
  }
  return UINT32_MAX;
}

/* Something to free, good or bad, and what has to come of it.  Foreign ones include blocks of everybody's. */
static void *some_address(model *m, mempool_status *expected)
{
  uint32_t index = (uint32_t)below(m, m->capacity);
  char *block = mempool_block_at(m->pool, index);
  static uint64_t outside[8];
  *expected = MEMPOOL_E_FOREIGN_BLOCK;
  switch (below(m, 8)) {
  case 0:
    return outside + below(m, 8);
  case 1:
    /* Inside of a block, or between two. */
    if (m->block_size > 1)
      return block + 1 + below(m, m->block_size - 1);
    return outside;
  case 2:
    return offset_by(mempool_block_at(m->pool, 0), -1 - (ptrdiff_t)below(m, 5000));
  case 3:
    return offset_by(mempool_block_at(m->pool, (uint32_t)m->capacity - 1),
                     (ptrdiff_t)(m->block_size + below(m, 5000)));
  case 4:
    *expected = MEMPOOL_OK;
    return NULL;
  default:
    *expected = m->states[index] == LIVE ? MEMPOOL_OK : MEMPOOL_E_DOUBLE_FREE;
    return block;
  }
}

static void account_for_free(model *m, const void *block, mempool_status status)
{
  if (status == MEMPOOL_OK && block != NULL)
    given_back(m, index_of(m, block));
  else if (status != MEMPOOL_OK)
    m->stats.refused_frees++;
}

static void step_alloc(model *m)
{
  void *block = mempool_alloc(m->pool);
  bool available = m->stats.available != 0 && !m->closed;
  EXPECT(m, (block != NULL) == available);
  if (block != NULL)
    taken_many(m, &block, 1);
  else if (!m->closed)
    m->stats.failed_allocs++;
}

static void step_alloc_wait(model *m)
{
  static const int64_t timeouts[] = { 0, 1, -1, INT64_MIN, INT64_MAX, 1000000000 };
  bool available = m->stats.available != 0;
  bool alone = (m->kind.flags & MEMPOOL_SINGLE_THREADED) != 0;
  size_t choice = below(m, available || m->closed ? COUNT_OF(timeouts) : alone ? 4 : 2);
  void *block = m;
  mempool_status status = mempool_alloc_wait(m->pool, &block, timeouts[choice]);
  if (m->closed) {
    EXPECT(m, status == MEMPOOL_E_CLOSED);
  } else if (available) {
    EXPECT(m, status == MEMPOOL_OK);
  } else {
    EXPECT(m, status == (timeouts[choice] > 0 ? MEMPOOL_E_TIMED_OUT : MEMPOOL_E_EXHAUSTED));
    m->stats.failed_allocs++;
  }
  if (status == MEMPOOL_OK)
    taken_many(m, &block, 1);
  else
    EXPECT(m, block == NULL);
}

static void step_alloc_bulk(model *m)
{
  void *blocks[MANY];
  size_t many = 1 + below(m, MANY);
  mempool_status expected = m->closed                   ? MEMPOOL_E_CLOSED
                            : many > m->stats.available ? MEMPOOL_E_EXHAUSTED
                                                        : MEMPOOL_OK;
  EXPECT(m, mempool_alloc_bulk(m->pool, blocks, many) == expected);
  if (expected == MEMPOOL_OK)
    taken_many(m, blocks, many);
  else if (expected == MEMPOOL_E_EXHAUSTED)
    m->stats.failed_allocs++;
}

static void step_alloc_burst(model *m)
{
  void *blocks[MANY];
  size_t many = 1 + below(m, MANY);
  size_t expected = m->closed ? 0 : many < m->stats.available ? many : m->stats.available;
  EXPECT(m, mempool_alloc_burst(m->pool, blocks, many) == expected);
  if (m->failed_line == 0)
    taken_many(m, blocks, expected);
  if (expected == 0 && !m->closed)
    m->stats.failed_allocs++;
}

static void step_free(model *m)
{
  uint32_t index = some_live(m);
  if (index == UINT32_MAX)
    return;
  EXPECT(m, mempool_free(m->pool, mempool_block_at(m->pool, index)) == MEMPOOL_OK);
  given_back(m, index);
}

static void step_free_any(model *m)
{
  mempool_status expected;
  void *block = some_address(m, &expected);
  EXPECT(m, mempool_free(m->pool, block) == expected);
  account_for_free(m, block, expected);
}

/* Each is judged after those before it were freed, so that the same block twice is a double free. */
static void step_free_bulk(model *m)
{
  void *blocks[MANY];
  mempool_status expected[MANY], first = MEMPOOL_OK;
  size_t many = below(m, MANY + 1), i, j;
  for (i = 0; i < many; i++) {
    blocks[i] = some_address(m, &expected[i]);
    for (j = 0; j < i; j++) {
      if (blocks[j] == blocks[i] && blocks[i] != NULL && expected[i] == MEMPOOL_OK)
        expected[i] = MEMPOOL_E_DOUBLE_FREE;
    }
    if (first == MEMPOOL_OK)
      first = expected[i];
  }
  EXPECT(m, mempool_free_bulk(m->pool, blocks, many) == first);
  for (i = 0; i < many; i++)
    account_for_free(m, blocks[i], expected[i]);
}

static void step_overrun(model *m)
{
  uint32_t index = some_live(m);
  unsigned char *block;
  size_t behind;
  if ((m->kind.flags & MEMPOOL_GUARD) == 0 || index == UINT32_MAX)
    return;
  block = mempool_block_at(m->pool, index);
  behind = m->block_size + below(m, 8);
  block[behind] = (unsigned char)(block[behind] ^ (1 + below(m, 255)));
  EXPECT(m, mempool_check(m->pool) == MEMPOOL_E_CORRUPTED);
  EXPECT(m, mempool_free(m->pool, block) == MEMPOOL_E_CORRUPTED);
  given_back(m, index);
}

static int free_some(void *block, uint32_t index, void *arg)
{
  model *m = arg;
  EXPECT(m, m->states[index] == LIVE);
  if (below(m, 3) == 0) {
    EXPECT(m, mempool_free(m->pool, block) == MEMPOOL_OK);
    given_back(m, index);
  }
  return below(m, 20) == 0;
}

static void step_foreach(model *m)
{
  EXPECT(m, mempool_foreach(m->pool, free_some, m) == MEMPOOL_OK);
}

static void step_look(model *m)
{
  mempool_status expected;
  uint32_t index = UINT32_MAX;
  void *block = some_address(m, &expected);
  bool foreign = block == NULL || expected == MEMPOOL_E_FOREIGN_BLOCK;
  FILE *null;
  EXPECT(m, (mempool_block_index(m->pool, block, &index) == MEMPOOL_E_FOREIGN_BLOCK) == foreign);
  EXPECT(m, (index == UINT32_MAX) == foreign);
  EXPECT(m, foreign || mempool_contains(m->pool, block));
  EXPECT(m, mempool_block_at(m->pool, (uint32_t)(m->capacity + below(m, 1000))) == NULL);
  EXPECT(m, mempool_block_size(m->pool) == m->block_size && mempool_capacity(m->pool) == m->capacity);
  EXPECT(m, mempool_alloc_bulk(m->pool, NULL, 1) == MEMPOOL_E_INVALID_ARGUMENT);
  EXPECT(m, mempool_alloc_burst(m->pool, NULL, 1) == 0);
  EXPECT(m, mempool_free_bulk(m->pool, NULL, 1) == MEMPOOL_E_INVALID_ARGUMENT);
  EXPECT(m, mempool_alloc_wait(m->pool, NULL, -1) == MEMPOOL_E_INVALID_ARGUMENT);
  if (below(m, 16) == 0 && (null = fopen("/dev/null", "w")) != NULL) {
    mempool_dump(m->pool, null);
    (void)fclose(null);
  }
}

static void *wait_for_block(void *arg)
{
  model *m = arg;
  void *block = NULL;
  return mempool_alloc_wait(m->pool, &block, -1) == MEMPOOL_OK ? block : NULL;
}

/* Another thread waits, and is given the very block that is freed. */
static void step_hand_over(model *m)
{
  pthread_t thread;
  uint32_t index = some_live(m);
  void *block = mempool_block_at(m->pool, index), *given = NULL;
  mempool_stats stats = m->stats;
  if (m->stats.available != 0 || m->closed || (m->kind.flags & MEMPOOL_SINGLE_THREADED) != 0 || below(m, 10) != 0)
    return;
  if (pthread_create(&thread, NULL, wait_for_block, m) != 0) {
    EXPECT(m, false);
    return;
  }
  do {
    (void)sched_yield();
    (void)mempool_get_stats(m->pool, &stats);
  } while (stats.waiting != 1);
  EXPECT(m, mempool_free(m->pool, block) == MEMPOOL_OK);
  (void)pthread_join(thread, &given);
  EXPECT(m, given == block);
  wiped_if_asked_for(m, index);
  count(m, &m->stats.free_count, 1);
  count(m, &m->stats.alloc_count, 1);
}

static void step(model *m)
{
  static void (*const takes[])(model *) = { step_alloc, step_alloc, step_alloc, step_alloc, step_alloc_wait,
                                            step_alloc_bulk, step_alloc_burst, step_hand_over };
  static void (*const gives[])(model *) = { step_free, step_free, step_free, step_free, step_free_any,
                                            step_free_bulk, step_overrun, step_look };
  if (below(m, 50) == 0)
    m->taking = (unsigned)below(m, 9);
  if (below(m, 200) == 0)
    step_foreach(m);
  else if (below(m, 8) < m->taking)
    takes[below(m, COUNT_OF(takes))](m);
  else
    gives[below(m, COUNT_OF(gives))](m);
}

typedef struct listing {
  model *m;
  uint32_t next; /* no live block lies between the last one that was visited and this index */
} listing;

static int compare_live(void *block, uint32_t index, void *arg)
{
  listing *list = arg;
  model *m = list->m;
  for (; list->next < index && list->next < m->capacity; list->next++)
    EXPECT(m, m->states[list->next] != LIVE);
  EXPECT(m, list->next == index);
  EXPECT(m, m->states[index] == LIVE);
  EXPECT(m, block == mempool_block_at(m->pool, index));
  EXPECT(m, filled(m, block, m->tags[index]));
  list->next = index + 1;
  return 0;
}

/* In this figure a shared pool counts blocks in its caches as used, of which there is one here. */
static bool peak_is_right(const model *m, size_t peak)
{
  enum { MOST_CACHED = 64 };
  size_t above = is_shared(m) ? MOST_CACHED : 0;
  return peak >= m->stats.peak_used && peak <= m->stats.peak_used + above && peak <= m->capacity;
}

static void compare(model *m)
{
  mempool_stats stats = stats_of(m->pool);
  listing list = { m, 0 };
  EXPECT(m, stats.size == m->stats.size && stats.block_size == m->stats.block_size);
  EXPECT(m, stats.capacity == m->stats.capacity);
  EXPECT(m, stats.used == m->stats.used);
  EXPECT(m, stats.available == m->stats.available);
  EXPECT(m, peak_is_right(m, stats.peak_used));
  EXPECT(m, stats.waiting == 0);
  EXPECT(m, stats.refused_frees == m->stats.refused_frees);
  EXPECT(m, stats.failed_allocs == m->stats.failed_allocs);
  EXPECT(m, stats.alloc_count == m->stats.alloc_count);
  EXPECT(m, stats.free_count == m->stats.free_count);
  EXPECT(m, mempool_foreach(m->pool, compare_live, &list) == MEMPOOL_OK);
  for (; list.next < m->capacity; list.next++)
    EXPECT(m, m->states[list.next] != LIVE);
  EXPECT(m, mempool_check(m->pool) == MEMPOOL_OK);
}

/* One pool from its beginning to its end, in the last tenth closed as often as not. */
static void play(const pool_kind *kind, size_t block_size, size_t capacity, size_t alignment, size_t steps,
                 size_t compare_every, uint64_t random)
{
  static const mempool_stats none = MEMPOOL_STATS_INIT;
  model m;
  size_t i;
  memset(&m, 0, sizeof(m));
  m.kind = *kind;
  m.block_size = block_size;
  m.capacity = capacity;
  m.random = random;
  m.taking = 4;
  m.stats = none;
  m.stats.block_size = block_size;
  m.stats.capacity = capacity;
  m.stats.available = capacity;
  m.pool = set_up_aligned(&m.f, kind, block_size, capacity, alignment);
  m.states = calloc(capacity, sizeof(*m.states));
  m.tags = calloc(capacity, sizeof(*m.tags));
  m.freed = calloc(capacity, sizeof(*m.freed));
  CU_ASSERT_FATAL(m.states != NULL && m.tags != NULL && m.freed != NULL);
  for (i = 0; i < capacity && !kind->created && (kind->flags & MEMPOOL_ZERO) == 0; i++)
    m.tags[i] = TAG_FILL;
  compare(&m);
  for (i = 0; i < steps && m.failed_line == 0; i++) {
    if (i >= steps - steps / 10 && !m.closed && below(&m, steps / 5 + 1) == 0) {
      mempool_close(m.pool);
      m.closed = true;
    }
    step(&m);
    if (i % compare_every == 0 && m.failed_line == 0)
      compare(&m);
  }
  if (m.failed_line == 0)
    compare(&m);
  if (m.failed_line != 0) {
    printf("# %s:%d in step %zu: block size %zu, capacity %zu, alignment %zu\n", __FILE__, m.failed_line, i,
           block_size, capacity, alignment);
    CU_FAIL("pool and model differ");
  }
  free(m.states);
  free(m.tags);
  free(m.freed);
  tear_down(&m.f);
}

static size_t rounds(size_t usual)
{
  const char *given = getenv("TEST_ROUNDS");
  return usual * (given != NULL && strtoul(given, NULL, 10) != 0 ? strtoul(given, NULL, 10) : 1);
}

static uint64_t round_seed(const pool_kind *kind, uint64_t which, size_t round)
{
  uint64_t state = seed ^ (uint64_t)kind->flags << 32 ^ (uint64_t)kind->created << 31 ^ which << 24 ^ round;
  return test_random(&state);
}

TEST_OVER(over_kinds, test_model_random_geometry_equal)
{
  static const size_t sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097 };
  size_t round;
  for (round = 0; round < rounds(3); round++) {
    uint64_t random = round_seed(kind, 1, round);
    size_t block_size = sizes[test_random(&random) % COUNT_OF(sizes)];
    size_t capacity = 1 + (size_t)(test_random(&random) % (1u << (1 + test_random(&random) % 7)));
    size_t alignment = (size_t)1 << test_random(&random) % 9;
    play(kind, block_size, capacity, alignment, scaled(1200, 40), 1, random);
  }
}

/* Where the first block is the last one, too. */
TEST_OVER(over_kinds, test_model_smallest_pools_equal)
{
  size_t capacity, round;
  for (round = 0; round < rounds(1); round++) {
    for (capacity = 1; capacity <= 3; capacity++)
      play(kind, capacity, capacity, 1, scaled(300, 20), 1, round_seed(kind, 1 + capacity, round));
  }
}

static void test_model_large_blocks_equal(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_SINGLE_THREADED, MEMPOOL_GUARD, MEMPOOL_SINGLE_THREADED | MEMPOOL_GUARD };
  size_t i, round;
  for (round = 0; round < rounds(1); round++) {
    for (i = 0; i < COUNT_OF(flags); i++) {
      const pool_kind kind = { flags[i] | MEMPOOL_COUNTERS, true };
      play(&kind, (size_t)1 << 20, 10, 0, scaled(2000, 20), 1, round_seed(&kind, 5, round));
      play(&kind, ((size_t)1 << 20) + 1, 10, 1, scaled(2000, 20), 1, round_seed(&kind, 6, round));
    }
  }
}

static void test_model_many_blocks_equal(void)
{
  size_t i, round;
  for (round = 0; round < rounds(1); round++) {
    for (i = 0; i < 4; i++) {
      const pool_kind kind = { (i & 1u) != 0 ? MEMPOOL_SINGLE_THREADED | MEMPOOL_COUNTERS : MEMPOOL_COUNTERS,
                               (i & 2u) != 0 };
      play(&kind, 24, 20000, 0, scaled(30000, 100), scaled(3000, 100), round_seed(&kind, 7, round));
    }
  }
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_model_random_geometry_equal),
    TEST(test_model_smallest_pools_equal),
    TEST(test_model_large_blocks_equal),
    TEST(test_model_many_blocks_equal),
  };
  seed = test_seed();
  return RUN_TESTS(tests);
}
