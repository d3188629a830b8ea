/* SPDX-License-Identifier: MIT */
#include "helpers.h"
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 7
#define BLOCK_SIZE 20

static ptrdiff_t stride_of(const mempool *pool)
{
  return (ptrdiff_t)((uintptr_t)mempool_block_at(pool, 1) - (uintptr_t)mempool_block_at(pool, 0));
}

TEST_OVER(over_kinds, test_block_size_and_capacity_as_asked_for)
{
  static const size_t sizes[] = { 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1000, 4095, 4096, 4097 };
  size_t i;
  for (i = 0; i < COUNT_OF(sizes); i++) {
    fixture f;
    mempool *pool = set_up(&f, kind, sizes[i], i + 1);
    CU_ASSERT_EQUAL(mempool_block_size(pool), sizes[i]);
    CU_ASSERT_EQUAL(mempool_capacity(pool), i + 1);
    CU_ASSERT_EQUAL(stats_of(pool).block_size, sizes[i]);
    CU_ASSERT_EQUAL(stats_of(pool).capacity, i + 1);
    tear_down(&f);
  }
}

static void test_block_size_and_capacity_null_pool_zero(void)
{
  CU_ASSERT_EQUAL(mempool_block_size(NULL), 0);
  CU_ASSERT_EQUAL(mempool_capacity(NULL), 0);
}

/* Figures that are all different, so that none can stand for another. */
static void make_figures(mempool *pool)
{
  void *blocks[CAPACITY];
  size_t i;
  take(pool, blocks, CAPACITY);
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  for (i = 0; i < 5; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  for (i = 0; i < 3; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_E_DOUBLE_FREE);
  take(pool, blocks, 1);
}

TEST_OVER(over_kinds, test_get_stats_every_member_exact)
{
  bool counted = (kind->flags & MEMPOOL_COUNTERS) != 0;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  make_figures(pool);
  CU_ASSERT_EQUAL(mempool_get_stats(pool, &stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats.size, sizeof(stats));
  CU_ASSERT_EQUAL(stats.block_size, BLOCK_SIZE);
  CU_ASSERT_EQUAL(stats.capacity, CAPACITY);
  CU_ASSERT_EQUAL(stats.used, 3);
  CU_ASSERT_EQUAL(stats.available, 4);
  CU_ASSERT_EQUAL(stats.peak_used, CAPACITY);
  CU_ASSERT_EQUAL(stats.waiting, 0);
  CU_ASSERT_EQUAL(stats.refused_frees, 3);
  CU_ASSERT_EQUAL(stats.failed_allocs, 1);
  CU_ASSERT_EQUAL(stats.alloc_count, counted ? 8 : 0);
  CU_ASSERT_EQUAL(stats.free_count, counted ? 5 : 0);
  tear_down(&f);
}

typedef union sized_stats {
  mempool_stats stats;
  unsigned char bytes[sizeof(mempool_stats) + 64];
} sized_stats;

/* Of every size that ends with a member those members are filled, and no byte behind is written. */
static void test_get_stats_smaller_size_filled_as_far(void)
{
  static const size_t ends[] = { offsetof(mempool_stats, block_size),    offsetof(mempool_stats, capacity),
                                 offsetof(mempool_stats, used),          offsetof(mempool_stats, available),
                                 offsetof(mempool_stats, peak_used),     offsetof(mempool_stats, waiting),
                                 offsetof(mempool_stats, refused_frees), offsetof(mempool_stats, failed_allocs),
                                 offsetof(mempool_stats, alloc_count),   offsetof(mempool_stats, free_count) };
  const pool_kind kind = { MEMPOOL_COUNTERS, true };
  mempool_stats whole;
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  make_figures(pool);
  whole = stats_of(pool);
  for (i = 0; i < COUNT_OF(ends); i++) {
    sized_stats part;
    memset(&part, 0xCC, sizeof(part));
    part.stats.size = ends[i];
    CU_ASSERT_EQUAL(mempool_get_stats(pool, &part.stats), MEMPOOL_OK);
    CU_ASSERT_EQUAL(part.stats.size, ends[i]);
    CU_ASSERT_EQUAL(memcmp(part.bytes + sizeof(size_t), (unsigned char *)&whole + sizeof(size_t), ends[i] - sizeof(size_t)),
                    0);
    CU_ASSERT(all_bytes(part.bytes + ends[i], sizeof(part) - ends[i], 0xCC));
  }
  tear_down(&f);
}

/* A size that ends within a member: no crash, and nothing behind it written. */
static void test_get_stats_any_size_nothing_behind_written(void)
{
  const pool_kind kind = { 0, true };
  size_t size;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  make_figures(pool);
  for (size = 1; size < sizeof(mempool_stats) + 64; size++) {
    sized_stats part;
    size_t kept = size > sizeof(size_t) ? size : sizeof(size_t);
    memset(&part, 0xCC, sizeof(part));
    part.stats.size = size;
    CU_ASSERT_EQUAL(mempool_get_stats(pool, &part.stats), MEMPOOL_OK);
    CU_ASSERT_EQUAL(part.stats.size, size);
    CU_ASSERT(all_bytes(part.bytes + kept, sizeof(part) - kept, 0xCC));
  }
  tear_down(&f);
}

static void test_get_stats_larger_size_rest_zero(void)
{
  const pool_kind kind = { MEMPOOL_COUNTERS, true };
  mempool_stats whole;
  sized_stats more;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  make_figures(pool);
  whole = stats_of(pool);
  memset(&more, 0xCC, sizeof(more));
  more.stats.size = sizeof(mempool_stats) + 40;
  CU_ASSERT_EQUAL(mempool_get_stats(pool, &more.stats), MEMPOOL_OK);
  CU_ASSERT_EQUAL(more.stats.size, sizeof(mempool_stats) + 40);
  CU_ASSERT_EQUAL(memcmp(more.bytes + sizeof(size_t), (unsigned char *)&whole + sizeof(size_t),
                         sizeof(mempool_stats) - sizeof(size_t)),
                  0);
  CU_ASSERT(all_bytes(more.bytes + sizeof(mempool_stats), 40, 0));
  CU_ASSERT(all_bytes(more.bytes + sizeof(mempool_stats) + 40, sizeof(more) - sizeof(mempool_stats) - 40, 0xCC));
  tear_down(&f);
}

/* As on a stack where it was never set: nothing is read or written that isn't there. */
static void test_get_stats_absurd_size_invalid_argument(void)
{
  static const size_t sizes[] = { 4097, 1 << 20, SIZE_MAX / 2, SIZE_MAX };
  const pool_kind kind = { 0, true };
  size_t i;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, 4);
  for (i = 0; i < COUNT_OF(sizes); i++) {
    mempool_stats stats = { .size = sizes[i], .capacity = 77 };
    CU_ASSERT_EQUAL(mempool_get_stats(pool, &stats), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(stats.capacity, 77);
  }
  tear_down(&f);
}

static void test_get_stats_bad_arguments_nothing_stored(void)
{
  const pool_kind kind = { 0, true };
  sized_stats stats;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_EQUAL(mempool_get_stats(pool, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_get_stats(NULL, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  memset(&stats, 0xCC, sizeof(stats));
  stats.stats.size = 0;
  CU_ASSERT_EQUAL(mempool_get_stats(pool, &stats.stats), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(stats.stats.size, 0);
  CU_ASSERT(all_bytes(stats.bytes + sizeof(size_t), sizeof(stats) - sizeof(size_t), 0xCC));
  stats.stats.size = sizeof(mempool_stats);
  CU_ASSERT_EQUAL(mempool_get_stats(NULL, &stats.stats), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT(all_bytes(stats.bytes + sizeof(size_t), sizeof(stats) - sizeof(size_t), 0xCC));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_contains_area_true_outside_false)
{
  uintptr_t first, behind, address;
  unsigned char local;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  first = (uintptr_t)mempool_block_at(pool, 0);
  behind = first + (uintptr_t)(stride_of(pool) * CAPACITY);
  for (address = first; address < behind - (uintptr_t)stride_of(pool) + BLOCK_SIZE; address++)
    CU_ASSERT(mempool_contains(pool, (void *)address));
  CU_ASSERT_FALSE(mempool_contains(pool, (void *)(first - 1)));
  CU_ASSERT_FALSE(mempool_contains(pool, (void *)behind));
  CU_ASSERT_FALSE(mempool_contains(pool, (void *)(behind + 1)));
  CU_ASSERT_FALSE(mempool_contains(pool, &local));
  CU_ASSERT_FALSE(mempool_contains(pool, NULL));
  CU_ASSERT_FALSE(mempool_contains(pool, (void *)UINTPTR_MAX));
  CU_ASSERT_FALSE(mempool_contains(pool, pool));
  tear_down(&f);
}

static void test_contains_null_pool_false(void)
{
  int local = 0;
  CU_ASSERT_FALSE(mempool_contains(NULL, &local));
  CU_ASSERT_FALSE(mempool_contains(NULL, NULL));
}

TEST_OVER(over_kinds, test_block_index_of_block_at_round_trip)
{
  void *taken[2];
  uint32_t i;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, taken, 2);
  for (i = 0; i < CAPACITY; i++) {
    void *block = mempool_block_at(pool, i);
    uint32_t index = UINT32_MAX;
    CU_ASSERT_PTR_NOT_NULL(block);
    CU_ASSERT_EQUAL(mempool_block_index(pool, block, &index), MEMPOOL_OK);
    CU_ASSERT_EQUAL(index, i);
    CU_ASSERT_PTR_EQUAL(block, offset_by(mempool_block_at(pool, 0), stride_of(pool) * (ptrdiff_t)i));
  }
  tear_down(&f);
}

TEST_OVER(over_kinds, test_block_at_past_end_null)
{
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_PTR_NOT_NULL(mempool_block_at(pool, CAPACITY - 1));
  CU_ASSERT_PTR_NULL(mempool_block_at(pool, CAPACITY));
  CU_ASSERT_PTR_NULL(mempool_block_at(pool, UINT32_MAX));
  CU_ASSERT_PTR_NULL(mempool_block_at(pool, UINT32_MAX / 2 + 1));
  CU_ASSERT_PTR_NULL(mempool_block_at(NULL, 0));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_block_index_not_a_start_foreign_block)
{
  uint32_t index = 4711, i;
  ptrdiff_t inside;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  before = snapshot_of(pool);
  for (i = 0; i < CAPACITY; i++) {
    for (inside = 1; inside < stride_of(pool); inside++)
      CU_ASSERT_EQUAL(mempool_block_index(pool, offset_by(mempool_block_at(pool, i), inside), &index),
                      MEMPOOL_E_FOREIGN_BLOCK);
  }
  CU_ASSERT_EQUAL(mempool_block_index(pool, offset_by(mempool_block_at(pool, 0), -stride_of(pool)), &index),
                  MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_block_index(pool, offset_by(mempool_block_at(pool, 0), stride_of(pool) * CAPACITY), &index),
                  MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_block_index(pool, &index, &index), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_block_index(pool, NULL, &index), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(index, 4711);
  /* To ask isn't to free. */
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

static void test_block_index_null_invalid_argument(void)
{
  const pool_kind kind = { 0, true };
  uint32_t index = 4711;
  fixture f;
  mempool *pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_EQUAL(mempool_block_index(pool, mempool_block_at(pool, 0), NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_block_index(NULL, mempool_block_at(pool, 0), &index), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_block_index(NULL, NULL, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(index, 4711);
  tear_down(&f);
}

/* What a visitor saw, and what it is to do. */
typedef struct visit {
  mempool *pool;
  size_t calls;
  uint32_t indices[CAPACITY];
  bool wrong;
  bool frees;
  size_t stop_after;
} visit;

static int note(void *block, uint32_t index, void *arg)
{
  visit *v = arg;
  if (v->calls == CAPACITY || block != mempool_block_at(v->pool, index))
    v->wrong = true;
  else
    v->indices[v->calls] = index;
  v->calls++;
  if (v->frees && mempool_free(v->pool, block) != MEMPOOL_OK)
    v->wrong = true;
  return v->calls == v->stop_after ? -7 : 0;
}

/* Takes all blocks and frees those whose index isn't in the mask. */
static void keep_out(mempool *pool, unsigned mask)
{
  void *blocks[CAPACITY];
  uint32_t i;
  take(pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    if ((mask >> i & 1u) == 0)
      CU_ASSERT_EQUAL(mempool_free(pool, mempool_block_at(pool, i)), MEMPOOL_OK);
  }
}

TEST_OVER(over_kinds, test_foreach_every_set_of_live_blocks_ascending)
{
  unsigned mask;
  for (mask = 0; mask < 1u << CAPACITY; mask += 9) {
    size_t expected = 0;
    uint32_t i;
    fixture f;
    visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
    keep_out(v.pool, mask);
    CU_ASSERT_EQUAL(mempool_foreach(v.pool, note, &v), MEMPOOL_OK);
    CU_ASSERT_FALSE(v.wrong);
    for (i = 0; i < CAPACITY; i++) {
      if ((mask >> i & 1u) != 0) {
        CU_ASSERT_EQUAL(v.indices[expected], i);
        expected++;
      }
    }
    CU_ASSERT_EQUAL(v.calls, expected);
    tear_down(&f);
  }
}

TEST_OVER(over_kinds, test_foreach_fresh_pool_no_call)
{
  fixture f;
  visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, note, &v), MEMPOOL_OK);
  CU_ASSERT_EQUAL(v.calls, 0);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_foreach_visitor_stops_ok)
{
  fixture f;
  visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
  keep_out(v.pool, 0x7f);
  v.stop_after = 3;
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, note, &v), MEMPOOL_OK);
  CU_ASSERT_EQUAL(v.calls, 3);
  CU_ASSERT_EQUAL(v.indices[2], 2);
  tear_down(&f);
}

TEST_OVER(over_kinds, test_foreach_visitor_frees_all_freed)
{
  fixture f;
  visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
  keep_out(v.pool, 0x5b);
  v.frees = true;
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, note, &v), MEMPOOL_OK);
  CU_ASSERT_FALSE(v.wrong);
  CU_ASSERT_EQUAL(v.calls, 5);
  CU_ASSERT_EQUAL(stats_of(v.pool).used, 0);
  CU_ASSERT_EQUAL(mempool_check(v.pool), MEMPOOL_OK);
  tear_down(&f);
}

static int call_everything(void *block, uint32_t index, void *arg)
{
  visit *v = arg, nested = { .pool = v->pool };
  void *blocks[2], *one = NULL;
  uint32_t same = 0;
  v->calls++;
  v->wrong = v->wrong || mempool_foreach(v->pool, note, &nested) != MEMPOOL_OK || nested.wrong || nested.calls != 4;
  v->wrong = v->wrong || mempool_check(v->pool) != MEMPOOL_OK || stats_of(v->pool).used != 4;
  v->wrong = v->wrong || mempool_block_index(v->pool, block, &same) != MEMPOOL_OK || same != index;
  v->wrong = v->wrong || !mempool_contains(v->pool, block);
  blocks[0] = mempool_alloc(v->pool);
  v->wrong = v->wrong || mempool_alloc_wait(v->pool, &blocks[1], 0) != MEMPOOL_OK;
  v->wrong = v->wrong || mempool_free_bulk(v->pool, blocks, 2) != MEMPOOL_OK;
  v->wrong = v->wrong || mempool_alloc_bulk(v->pool, blocks, 2) != MEMPOOL_OK;
  v->wrong = v->wrong || mempool_alloc_burst(v->pool, &one, 1) != 1;
  v->wrong = v->wrong || mempool_free_bulk(v->pool, blocks, 2) != MEMPOOL_OK || mempool_free(v->pool, one) != MEMPOOL_OK;
  mempool_dump(v->pool, NULL);
  return 0;
}

/* No lock is held while the visitor runs, so that nothing here waits for ever. */
TEST_OVER(over_kinds, test_foreach_visitor_calls_anything_ok)
{
  fixture f;
  visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
  keep_out(v.pool, 0x0f);
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, call_everything, &v), MEMPOOL_OK);
  CU_ASSERT_FALSE(v.wrong);
  CU_ASSERT_EQUAL(v.calls, 4);
  CU_ASSERT_EQUAL(stats_of(v.pool).used, 4);
  tear_down(&f);
}

static int close_pool(void *block, uint32_t index, void *arg)
{
  visit *v = arg;
  (void)block;
  (void)index;
  v->calls++;
  mempool_close(v->pool);
  return 0;
}

TEST_OVER(over_kinds, test_foreach_visitor_closes_goes_on)
{
  fixture f;
  visit v = { .pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY) };
  keep_out(v.pool, 0x0f);
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, close_pool, &v), MEMPOOL_OK);
  CU_ASSERT_EQUAL(v.calls, 4);
  CU_ASSERT_PTR_NULL(mempool_alloc(v.pool));
  tear_down(&f);
}

static void test_foreach_null_invalid_argument(void)
{
  const pool_kind kind = { 0, true };
  fixture f;
  visit v = { .pool = set_up(&f, &kind, BLOCK_SIZE, CAPACITY) };
  CU_ASSERT_EQUAL(mempool_foreach(v.pool, NULL, NULL), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_foreach(NULL, note, &v), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(v.calls, 0);
  tear_down(&f);
}

/* Where a whole table of blocks is scanned word by word, no live block at a word's border is missed. */
static void test_foreach_thousands_none_missed(void)
{
  const pool_kind kind = { 0, true };
  size_t capacity = 1000, gap;
  for (gap = 1; gap < 70; gap += 4) {
    uint32_t i;
    snapshot all;
    fixture f;
    mempool *pool = set_up(&f, &kind, 8, capacity);
    for (i = 0; i < capacity; i++)
      CU_ASSERT_PTR_NOT_NULL_FATAL(mempool_alloc(pool));
    for (i = 0; i < capacity; i++) {
      memset(mempool_block_at(pool, i), (int)i, 8);
      if (i % gap != 0)
        CU_ASSERT_EQUAL(mempool_free(pool, mempool_block_at(pool, i)), MEMPOOL_OK);
    }
    all = snapshot_of(pool);
    CU_ASSERT_EQUAL(all.stats.used, (capacity + gap - 1) / gap);
    for (i = 0; i < capacity; i += (uint32_t)gap) {
      snapshot less;
      CU_ASSERT_EQUAL(mempool_free(pool, mempool_block_at(pool, i)), MEMPOOL_OK);
      if (i % (gap * 16) != 0)
        continue;
      less = snapshot_of(pool);
      CU_ASSERT_NOT_EQUAL(less.live, all.live);
      all = less;
    }
    tear_down(&f);
  }
}

static void test_check_null_invalid_argument(void)
{
  CU_ASSERT_EQUAL(mempool_check(NULL), MEMPOOL_E_INVALID_ARGUMENT);
}

TEST_OVER(over_kinds, test_check_any_use_ok)
{
  void *blocks[CAPACITY];
  size_t i;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  for (i = 0; i < CAPACITY; i++) {
    take(pool, &blocks[i], 1);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  before = snapshot_of(pool);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  for (i = 0; i < CAPACITY; i++) {
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  mempool_close(pool);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  tear_down(&f);
}

/* What mempool_dump() writes, to be freed. */
static char *dumped(const mempool *pool)
{
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
  mempool_dump(pool, stream);
  CU_ASSERT_EQUAL(ferror(stream), 0);
  (void)fclose(stream);
  return text;
}

static void test_dump_null_pool_none(void)
{
  char *text = dumped(NULL);
  CU_ASSERT_EQUAL(strncmp(text, "mempool: none", strlen("mempool: none")), 0);
  CU_ASSERT(strlen(text) <= strlen("mempool: none\n"));
  free(text);
}

static void test_dump_null_stream_nothing(void)
{
  const pool_kind kind = { 0, true };
  fixture f;
  mempool_dump(set_up(&f, &kind, BLOCK_SIZE, CAPACITY), NULL);
  mempool_dump(NULL, NULL);
  tear_down(&f);
}

/* Its form may change, but the figures are in it. */
static bool dump_has(const mempool *pool, const char *words)
{
  char *text = dumped(pool);
  bool has = strstr(text, words) != NULL;
  free(text);
  return has;
}

/* Built for one thread every pool is single-threaded, and its dump begins with that. */
static void test_dump_no_flag_said_so(void)
{
  mempool *pool;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 100, 3, NULL), MEMPOOL_OK);
  CU_ASSERT(dump_has(pool, " flags: none\n") || dump_has(pool, " flags: single-threaded\n"));
  mempool_destroy(pool);
}

static void test_dump_each_flag_named(void)
{
  static const struct {
    uint32_t flags;
    const char *words;
  } cases[] = {
    { MEMPOOL_SINGLE_THREADED, " flags: single-threaded\n" },
    { MEMPOOL_SHARED, " flags: shared\n" },
    { MEMPOOL_NO_CACHE, " no-cache\n" },
    { MEMPOOL_STRICT, " strict\n" },
    { MEMPOOL_ZERO, " zero\n" },
    { MEMPOOL_GUARD, " guard\n" },
    { MEMPOOL_PREFAULT, " prefault\n" },
    { MEMPOOL_HUGE_PAGES, " huge-pages\n" },
    { MEMPOOL_COUNTERS, " counters\n" },
    { MEMPOOL_ZERO | MEMPOOL_COUNTERS, " zero counters\n" },
  };
  size_t i;
  for (i = 0; i < COUNT_OF(cases); i++) {
    mempool_options options = MEMPOOL_OPTIONS_INIT;
    mempool *pool;
    options.flags = cases[i].flags;
    if (mempool_required_size(100, 3, &options) == 0)
      continue; /* no shared pools on this platform */
    CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 100, 3, &options), MEMPOOL_OK);
    CU_ASSERT(dump_has(pool, cases[i].words));
    mempool_destroy(pool);
  }
}

TEST_OVER(over_kinds, test_dump_alignment_counts_and_closing_written)
{
  bool counting = (kind->flags & MEMPOOL_COUNTERS) != 0;
  fixture f;
  mempool *pool = set_up_aligned(&f, kind, 700, 5, 256);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(pool));
  CU_ASSERT(dump_has(pool, "stride 768, alignment 256"));
  CU_ASSERT_EQUAL(dump_has(pool, "blocks allocated 2, freed 1"), counting);
  CU_ASSERT_FALSE(dump_has(pool, "closed"));
  mempool_close(pool);
  CU_ASSERT(dump_has(pool, "; closed\n"));
  tear_down(&f);
}

TEST_OVER(over_kinds, test_dump_pool_figures_written)
{
  static const char *const figures[] = { "1237", "211", "173", "38" };
  char *text;
  size_t i;
  snapshot before;
  fixture f;
  mempool *pool = set_up(&f, kind, 1237, 211);
  for (i = 0; i < 173; i++)
    CU_ASSERT_PTR_NOT_NULL_FATAL(mempool_alloc(pool));
  before = snapshot_of(pool);
  text = dumped(pool);
  for (i = 0; i < COUNT_OF(figures); i++)
    CU_ASSERT_PTR_NOT_NULL(strstr(text, figures[i]));
  free(text);
  CU_ASSERT(unchanged_but(pool, &before, 0, 0));
  tear_down(&f);
}

static void test_strerror_every_status_own_words(void)
{
  const char *words[11];
  int i, j;
  for (i = 0; i <= 10; i++) {
    words[i] = mempool_strerror((mempool_status)-i);
    CU_ASSERT_PTR_NOT_NULL_FATAL(words[i]);
    CU_ASSERT(strlen(words[i]) > 0);
    CU_ASSERT_PTR_NULL(strchr(words[i], '\n'));
    CU_ASSERT_PTR_EQUAL(mempool_strerror((mempool_status)-i), words[i]);
    for (j = 0; j < i; j++)
      CU_ASSERT(strcmp(words[i], words[j]) != 0);
  }
}

static void test_strerror_unknown_status_words(void)
{
  static const int unknown[] = { 1, 2, 100, -11, -12, -1000, INT32_MAX, INT32_MIN };
  size_t i;
  int known;
  for (i = 0; i < COUNT_OF(unknown); i++) {
    /* By way of an object: an enumeration need not hold every int, but a caller may have read one from anywhere. */
    mempool_status status;
    const char *words;
    memcpy(&status, &unknown[i], sizeof(status));
    words = mempool_strerror(status);
    CU_ASSERT_PTR_NOT_NULL_FATAL(words);
    CU_ASSERT(strlen(words) > 0);
    for (known = 0; known <= 10; known++)
      CU_ASSERT(strcmp(words, mempool_strerror((mempool_status)-known)) != 0);
  }
}

static void test_version_is_headers(void)
{
  char expected[64];
  (void)snprintf(expected, sizeof(expected), "%d.%d.%d", MEMPOOL_VERSION_MAJOR, MEMPOOL_VERSION_MINOR,
                 MEMPOOL_VERSION_PATCH);
  CU_ASSERT_STRING_EQUAL(mempool_version(), expected);
  CU_ASSERT_PTR_EQUAL(mempool_version(), mempool_version());
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_block_size_and_capacity_as_asked_for),
    TEST(test_block_size_and_capacity_null_pool_zero),
    TEST(test_get_stats_every_member_exact),
    TEST(test_get_stats_smaller_size_filled_as_far),
    TEST(test_get_stats_any_size_nothing_behind_written),
    TEST(test_get_stats_larger_size_rest_zero),
    TEST(test_get_stats_absurd_size_invalid_argument),
    TEST(test_get_stats_bad_arguments_nothing_stored),
    TEST(test_contains_area_true_outside_false),
    TEST(test_contains_null_pool_false),
    TEST(test_block_index_of_block_at_round_trip),
    TEST(test_block_at_past_end_null),
    TEST(test_block_index_not_a_start_foreign_block),
    TEST(test_block_index_null_invalid_argument),
    TEST(test_foreach_every_set_of_live_blocks_ascending),
    TEST(test_foreach_fresh_pool_no_call),
    TEST(test_foreach_visitor_stops_ok),
    TEST(test_foreach_visitor_frees_all_freed),
    TEST(test_foreach_visitor_calls_anything_ok),
    TEST(test_foreach_visitor_closes_goes_on),
    TEST(test_foreach_null_invalid_argument),
    TEST(test_foreach_thousands_none_missed),
    TEST(test_check_null_invalid_argument),
    TEST(test_check_any_use_ok),
    TEST(test_dump_null_pool_none),
    TEST(test_dump_null_stream_nothing),
    TEST(test_dump_no_flag_said_so),
    TEST(test_dump_each_flag_named),
    TEST(test_dump_alignment_counts_and_closing_written),
    TEST(test_dump_pool_figures_written),
    TEST(test_strerror_every_status_own_words),
    TEST(test_strerror_unknown_status_words),
    TEST(test_version_is_headers),
  };
  return RUN_TESTS(tests);
}
