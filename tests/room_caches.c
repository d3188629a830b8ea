/* SPDX-License-Identifier: MIT */
/*
 * The caches.  One thread plays several, by taking their places among a
 * pool's caches in turn, so that every step can be looked at; real threads
 * come in where slots are given out, and where somebody waits.
 */
#include "caches.h"
#include "os.h"
#include "runner.h"
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_SIZE 24
#define MOST_CAPACITY 512
#define PLAYERS 4 /* and one without a cache */

static uint64_t seed;

static size_t rounds(size_t count, size_t divisor)
{
  size_t fewer = count / divisor;
  if (getenv("TEST_SLOW_TOOL") == NULL)
    return count;
  return fewer != 0 ? fewer : 1;
}

static mempool *make(size_t capacity, uint32_t cache_blocks, bool fenced)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  options.cache_blocks = cache_blocks;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, capacity, &options), MEMPOOL_OK);
  CU_ASSERT_FATAL(pool->caches_bytes >= (PLAYERS + 1) * sizeof(struct cache));
  if (fenced)
    pool->open_gate = GATE_FENCED;
  return pool;
}

/* The thread that calls goes on as another; number PLAYERS has no cache. */
static void play(size_t player)
{
  mempool__thread_offset = player < PLAYERS ? player * sizeof(struct cache) : THREAD_WITHOUT;
}

static bool is_open(const mempool *pool, size_t player)
{
  return load_relaxed_u32(&cache_at(pool, player * sizeof(struct cache))->gate) != GATE_SHUT;
}

static size_t cached(const mempool *pool, size_t player)
{
  return cache_count(cache_at(pool, player * sizeof(struct cache)));
}

static uint32_t place_of(const mempool *pool, const void *block)
{
  return load_relaxed_u32(&pool->places[geometry_index(&pool->geometry, block)]);
}

/* C2 and C5: held blocks, each with its place, and in no other list. */
static bool slots_are_sound(const mempool *pool, const struct cache_slot *slots, uint32_t count, bool *seen)
{
  uint32_t i;
  for (i = 0; i < count; i++) {
    uintptr_t index = geometry_index(&pool->geometry, slots[i].block);
    if (index >= pool->depot->fresh || seen[index] || !depot_is_held(pool->depot, index) ||
        slots[i].place != &pool->places[index])
      return false;
    seen[index] = true;
  }
  return true;
}

static bool bundles_are_sound(const mempool *pool, bool *seen)
{
  const struct bundles *bundles = &pool->bundles;
  uint32_t age;
  for (age = 0; age < bundles->count; age++) {
    if (!slots_are_sound(pool, bundle_before_newest(bundles, age), bundles->blocks_in_each, seen))
      return false;
  }
  return bundles->count <= MOST_BUNDLES;
}

/* C3: the bounds are those of an open cache if and only if the owner may enter without a fence of its own. */
static bool bounds_are_sound(const struct cache *cache, uint32_t gate)
{
  const struct cache_slot *first = cache->slots, *last = cache->slots + cache->limit;
  if (gate != GATE_OPEN)
    return cache_below(cache, first) && cache_below(cache, last) && cache_above(cache, first) && cache_above(cache, last);
  return load_relaxed_pointer(&cache->floor) == (const void *)first &&
         load_relaxed_pointer(&cache->ceiling) == (const void *)last;
}

/* C2 to C4 of one cache at rest; marks the blocks that are in it. */
static bool cache_is_sound(const mempool *pool, const struct cache *cache, bool *seen)
{
  uint32_t count = cache_count(cache), gate = load_relaxed_u32(&cache->gate);
  if (load_relaxed_u32(&cache->busy) != 0 || count > cache->limit || !bounds_are_sound(cache, gate))
    return false;
  if (gate != GATE_SHUT && gate != pool->open_gate)
    return false;
  if (gate == GATE_SHUT && count != 0)
    return false;
  return slots_are_sound(pool, cache->slots, count, seen);
}

/* That, of all caches; and each block is in one place, and nowhere else. */
static bool is_sound(const mempool *pool, size_t used)
{
  bool seen[MOST_CAPACITY] = { false };
  uintptr_t offset;
  size_t open = 0, live = 0, listed = 0, index;
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache)) {
    const struct cache *cache = cache_at(pool, offset);
    if (!cache_is_sound(pool, cache, seen))
      return false;
    open += load_relaxed_u32(&cache->gate) != GATE_SHUT;
  }
  if (!bundles_are_sound(pool, seen))
    return false;
  for (index = 0; index < pool->depot->fresh; index++) {
    uint32_t place = load_relaxed_u32(&pool->places[index]);
    live += place == DEPOT_LIVE;
    listed += depot_is_free(pool->depot, geometry_address(&pool->geometry, (uint32_t)index), index);
    if ((place == DEPOT_HELD) != seen[index])
      return false;
  }
  return open == pool->open_caches && live == used && listed == pool->depot->count &&
         load_relaxed_word(&pool->handed_out) == pool->depot->fresh &&
         used + listed + mempool__caches_count(pool) == pool->depot->fresh;
}

typedef struct walk {
  mempool *pool;
  size_t capacity, used, peak, failed, refused;
  uint64_t random;
  void *held[MOST_CAPACITY];
  bool live[MOST_CAPACITY];
  size_t filled, robbed; /* how often caches held something, and how often that was taken from them */
} walk;

static size_t below(walk *w, size_t limit)
{
  return (size_t)(test_random(&w->random) % limit);
}

static bool take_over(walk *w, void *block)
{
  uintptr_t index = geometry_index(&w->pool->geometry, block);
  if (index >= w->capacity || w->live[index])
    return false;
  w->live[index] = true;
  w->held[w->used++] = block;
  if (w->used > w->peak)
    w->peak = w->used;
  return true;
}

static void *give_up(walk *w)
{
  size_t which = below(w, w->used);
  void *block = w->held[which];
  w->live[geometry_index(&w->pool->geometry, block)] = false;
  w->held[which] = w->held[--w->used];
  return block;
}

static bool step_take(walk *w, size_t many)
{
  void *blocks[MOST_CAPACITY] = { NULL };
  size_t left = w->capacity - w->used, got = 0, expected = left < many ? left : many, i;
  switch (below(w, 5)) {
  case 0:
    expected = left < many ? 0 : many;
    if (mempool_alloc_bulk(w->pool, blocks, many) == MEMPOOL_OK)
      got = many;
    break;
  case 1:
    got = mempool_alloc_burst(w->pool, blocks, many);
    break;
  case 2:
    expected = left != 0;
    got = mempool_alloc_wait(w->pool, &blocks[0], 0) == MEMPOOL_OK;
    break;
  default:
    expected = left != 0;
    blocks[0] = mempool_alloc(w->pool);
    got = blocks[0] != NULL;
  }
  w->failed += expected == 0;
  if (got != expected)
    return false;
  for (i = 0; i < got; i++) {
    if (!take_over(w, blocks[i]))
      return false;
  }
  return true;
}

static bool step_give(walk *w, size_t many)
{
  void *blocks[MOST_CAPACITY];
  size_t i;
  for (i = 0; i < many; i++)
    blocks[i] = give_up(w);
  if (below(w, 3) == 0)
    return mempool_free_bulk(w->pool, blocks, many) == MEMPOOL_OK;
  for (i = 0; i < many; i++) {
    if (mempool_free(w->pool, blocks[i]) != MEMPOOL_OK)
      return false;
  }
  return true;
}

/* A free that is refused: of a block that is free, wherever it lies, or of what is none. */
static bool step_misuse(walk *w)
{
  uint32_t index = (uint32_t)below(w, w->capacity);
  void *block = mempool_block_at(w->pool, index);
  if (below(w, 4) == 0) {
    w->refused++;
    return mempool_free(w->pool, w) == MEMPOOL_E_FOREIGN_BLOCK;
  }
  if (w->live[index])
    return mempool_free(w->pool, NULL) == MEMPOOL_OK;
  w->refused++;
  return mempool_free(w->pool, block) == MEMPOOL_E_DOUBLE_FREE;
}

static bool rob(walk *w)
{
  bool right = true;
  w->robbed += mempool__caches_count(w->pool) != 0;
  if (below(w, 2) == 0) {
    right = mempool_check(w->pool) == MEMPOOL_OK;
  } else {
    lock_acquire(&w->pool->lock);
    mempool__caches_gather(w->pool);
    lock_release(&w->pool->lock);
  }
  return right && mempool__caches_count(w->pool) == 0 && w->pool->open_caches == 0;
}

static bool step_rob(walk *w)
{
  if (below(w, 3) != 0)
    return rob(w);
  lock_acquire(&w->pool->lock);
  mempool__cache_close(w->pool, mempool__thread_offset);
  lock_release(&w->pool->lock);
  return true;
}

static bool step(walk *w)
{
  size_t what = below(w, 512);
  play(below(w, 64) < 60 ? below(w, PLAYERS) : PLAYERS);
  if (what == 0)
    return step_rob(w);
  if (what < 24)
    return step_misuse(w);
  if (w->used == 0 || (w->used < w->capacity && below(w, 2) == 0))
    return step_take(w, what % 8 == 0 ? 1 + below(w, w->capacity) : 1 + below(w, 3));
  return step_give(w, what % 64 == 0 ? 1 + below(w, w->used) : 1 + below(w, w->used < 3 ? w->used : 3));
}

static bool figures_are_right(const walk *w)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  size_t in_caches = w->pool->caches_bytes / sizeof(struct cache) * cache_at(w->pool, 0)->limit;
  return mempool_get_stats(w->pool, &stats) == MEMPOOL_OK && stats.used == w->used &&
         stats.available == w->capacity - w->used && stats.failed_allocs == w->failed &&
         stats.refused_frees == w->refused && stats.peak_used >= w->peak && stats.peak_used <= w->peak + in_caches;
}

static void walk_over(size_t capacity, uint32_t cache_blocks, bool fenced)
{
  static walk w;
  size_t count = rounds(30000, 30), i;
  uintptr_t own = mempool__thread_offset;
  memset(&w, 0, sizeof(w));
  w.pool = make(capacity, cache_blocks, fenced);
  w.capacity = capacity;
  w.random = seed + capacity * 31 + cache_blocks;
  for (i = 0; i < count; i++) {
    if (!step(&w) || !is_sound(w.pool, w.used) || !figures_are_right(&w))
      break;
    /* Not by chance alone: in a small pool it may find no cache filled in the whole walk. */
    if (mempool__caches_count(w.pool) != 0 && ++w.filled % 256 == 0 && !rob(&w))
      break;
  }
  if (i != count)
    printf("# step %zu, capacity %zu, caches of %u%s\n", i, capacity, (unsigned)cache_blocks, fenced ? ", fenced" : "");
  CU_ASSERT_EQUAL(i, count);
  /* A walk that met no cache would prove nothing. */
  CU_ASSERT(w.filled > count / 100 || count < 10000);
  CU_ASSERT(w.robbed != 0 || count < 10000);
  play(0);
  while (w.used != 0)
    CU_ASSERT_EQUAL_FATAL(mempool_free(w.pool, give_up(&w)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(w.pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(w.pool->depot->count, w.pool->depot->fresh);
  mempool_destroy(w.pool);
  mempool__thread_offset = own;
}

static const struct {
  size_t capacity;
  uint32_t cache_blocks;
} shapes[] = { { 8, 1 }, { 16, 2 }, { 32, 3 }, { 40, 4 }, { 64, 0 }, { 200, 32 }, { 512, 0 }, { 64, 1000 } };

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void test_caches_random_walk_always_sound(void)
{
  size_t i;
  for (i = 0; i < SHAPES; i++)
    walk_over(shapes[i].capacity, shapes[i].cache_blocks, false);
  printf("# %zu steps on each of %zu pools\n", rounds(30000, 30), SHAPES);
}

static void test_caches_random_walk_fenced_always_sound(void)
{
  size_t i;
  for (i = 0; i < SHAPES; i++)
    walk_over(shapes[i].capacity, shapes[i].cache_blocks, true);
}

/* Runs the body as player 0, and comes back as the thread that the runner is. */
static void as_player(void (*body)(mempool *pool), size_t capacity, uint32_t cache_blocks)
{
  uintptr_t own = mempool__thread_offset;
  int fenced;
  for (fenced = 0; fenced < 2; fenced++) {
    mempool *pool = make(capacity, cache_blocks, fenced != 0);
    play(0);
    body(pool);
    mempool_destroy(pool);
  }
  mempool__thread_offset = own;
}

static void take_all(mempool *pool, void **blocks)
{
  CU_ASSERT_EQUAL_FATAL(mempool_alloc_bulk(pool, blocks, mempool_capacity(pool)), MEMPOOL_OK);
}

static void stay_in_limit(mempool *pool)
{
  void *blocks[MOST_CAPACITY];
  size_t limit = cache_at(pool, 0)->limit, capacity = mempool_capacity(pool), most = 0, i, round;
  for (round = 0; round < 3; round++) {
    for (i = 0; i < capacity; i++) {
      blocks[i] = mempool_alloc(pool);
      CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
      CU_ASSERT_FATAL(cached(pool, 0) <= limit);
    }
    pool->patience = 0;
    for (i = 0; i < capacity; i++) {
      CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
      CU_ASSERT_FATAL(cached(pool, 0) <= limit);
      most = cached(pool, 0) > most ? cached(pool, 0) : most;
    }
    CU_ASSERT(is_sound(pool, 0));
  }
  CU_ASSERT_EQUAL(most, limit);
}

static void test_cache_give_never_over_limit(void)
{
  static const uint32_t limits[] = { 1, 2, 3, 4, 7, 32, 128 };
  size_t i;
  for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
    as_player(stay_in_limit, 256, limits[i]);
}

static void robbed_of_all(mempool *pool)
{
  void *blocks[MOST_CAPACITY];
  size_t player, i;
  take_all(pool, blocks);
  pool->patience = 0;
  for (i = 0; i < mempool_capacity(pool); i++) {
    play(i % PLAYERS);
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  }
  for (player = 0; player < PLAYERS; player++)
    CU_ASSERT(is_open(pool, player) && cached(pool, player) != 0);
  play(PLAYERS);
  for (i = 0; i < mempool_capacity(pool); i++)
    CU_ASSERT_PTR_NOT_NULL(mempool_alloc(pool));
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  for (player = 0; player < PLAYERS; player++)
    CU_ASSERT(!is_open(pool, player) && cached(pool, player) == 0);
  CU_ASSERT(is_sound(pool, mempool_capacity(pool)));
}

static void test_alloc_depot_empty_robs_every_cache(void)
{
  as_player(robbed_of_all, 64, 4);
  as_player(robbed_of_all, 64, 1);
}

static void wait_a_while(mempool *pool)
{
  unsigned tries = 0;
  mempool_free(pool, mempool_alloc(pool));
  CU_ASSERT(is_open(pool, 0));
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT(!is_open(pool, 0));
  for (; !is_open(pool, 0) && tries < 10000; tries++) {
    void *block = mempool_alloc(pool);
    CU_ASSERT_PTR_NOT_NULL(block);
    if (!is_open(pool, 0))
      CU_ASSERT_EQUAL(cached(pool, 0), 0);
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  }
  /* Long enough for robbing to be rare, and not for ever. */
  CU_ASSERT(tries >= 32 && tries < 10000);
}

/* What is bundled comes before what was never out, so the peak is what it was. */
static void test_alloc_burst_bundles_before_fresh(void)
{
  void *blocks[MOST_CAPACITY];
  mempool *pool = make(MOST_CAPACITY, 16, false);
  uintptr_t own = mempool__thread_offset;
  size_t count = MOST_CAPACITY / 2, wanted, i;
  play(0);
  for (i = 0; i < count; i++)
    CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i] = mempool_alloc(pool));
  for (i = 0; i < count; i++)
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
  CU_ASSERT(pool->bundles.count > 0);
  wanted = pool->depot->count + 1;
  CU_ASSERT_FATAL(wanted <= count);
  play(1);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, wanted), wanted);
  CU_ASSERT_EQUAL(pool->depot->fresh, count);
  mempool__thread_offset = own;
  mempool_destroy(pool);
}

static void test_caches_after_robbery_shut_for_a_while(void)
{
  as_player(wait_a_while, 64, 4);
}

static void *wait_for_one(void *arg)
{
  mempool *pool = arg;
  void *block = NULL;
  return mempool_alloc_wait(pool, &block, -1) == MEMPOOL_OK ? block : NULL;
}

static size_t waiting(const mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  (void)mempool_get_stats(pool, &stats);
  return stats.waiting;
}

static void shut_while_waiting(mempool *pool)
{
  void *blocks[MOST_CAPACITY], *served;
  pthread_t thread;
  size_t i;
  take_all(pool, blocks);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_one, pool), 0);
  while (waiting(pool) == 0)
    (void)sched_yield();
  for (i = 0; i < 600; i++) {
    pool->patience = 0;
    CU_ASSERT_PTR_NULL(mempool_alloc(pool));
    CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
    CU_ASSERT(!is_open(pool, 0) && pool->open_caches == 0);
  }
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[3]), MEMPOOL_OK);
  (void)pthread_join(thread, &served);
  CU_ASSERT_PTR_EQUAL(served, blocks[3]);
  CU_ASSERT(is_sound(pool, mempool_capacity(pool)));
}

static void test_caches_thread_waits_stay_shut(void)
{
  as_player(shut_while_waiting, 64, 4);
}

static void shut_after_close(mempool *pool)
{
  void *blocks[MOST_CAPACITY];
  size_t i;
  mempool_free(pool, mempool_alloc(pool));
  for (i = 0; i < 32; i++)
    blocks[i] = mempool_alloc(pool);
  CU_ASSERT(is_open(pool, 0));
  mempool_close(pool);
  CU_ASSERT(!is_open(pool, 0));
  for (i = 0; i < 32; i++) {
    pool->patience = 0;
    CU_ASSERT_PTR_NULL(mempool_alloc(pool));
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_E_DOUBLE_FREE);
    CU_ASSERT(!is_open(pool, 0));
    CU_ASSERT(is_sound(pool, 31 - i));
  }
}

static void test_caches_closed_stay_shut(void)
{
  as_player(shut_after_close, 64, 4);
}

/* What two frees of a block that race may leave behind: it is listed in two caches. */
static void *list_twice(mempool *pool)
{
  void *block = mempool_alloc(pool);
  pool->patience = 0;
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  store_relaxed_u32(&pool->places[geometry_index(&pool->geometry, block)], DEPOT_LIVE);
  play(1);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  play(0);
  CU_ASSERT(cached(pool, 0) != 0 && cached(pool, 1) != 0);
  return block;
}

/* Its next owner has it alone, whatever the other thread does, and can free it. */
static void owned_alone(mempool *pool)
{
  void *block = list_twice(pool), *others[MOST_CAPACITY];
  size_t i;
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
  play(1);
  CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
  CU_ASSERT_EQUAL(place_of(pool, block), DEPOT_LIVE);
  for (i = 0; i + 1 < mempool_capacity(pool); i++) {
    others[i] = mempool_alloc(pool);
    CU_ASSERT(others[i] != NULL && others[i] != block);
  }
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
}

static void listed_once_after_robbery(mempool *pool)
{
  void *blocks[MOST_CAPACITY];
  (void)list_twice(pool);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT(is_sound(pool, 0));
  take_all(pool, blocks);
  CU_ASSERT(is_sound(pool, mempool_capacity(pool)));
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
}

static void test_cache_block_listed_twice_one_owner(void)
{
  as_player(owned_alone, 64, 4);
  as_player(listed_once_after_robbery, 64, 4);
}

/* ---- Slots ---- */

typedef struct life {
  pthread_t thread;
  mempool *pool;
  pthread_barrier_t *all_here;
  uintptr_t offset;
  bool right;
} life;

static void *live(void *arg)
{
  life *l = arg;
  void *block = mempool_alloc(l->pool);
  l->offset = mempool__thread_offset;
  if (l->all_here != NULL)
    (void)pthread_barrier_wait(l->all_here);
  l->right = block != NULL && mempool_free(l->pool, block) == MEMPOOL_OK;
  if (l->all_here != NULL)
    (void)pthread_barrier_wait(l->all_here);
  return NULL;
}

#define CROWD 160

/* So many at once; with a barrier, all of them are there at the same time.  Returns how many got a cache. */
static size_t live_together(mempool *pool, size_t count, bool meet)
{
  static life lives[CROWD];
  bool taken[THREAD_SLOTS] = { false };
  pthread_barrier_t all_here;
  size_t with_cache = 0, i, started = 0;
  CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&all_here, NULL, (unsigned)count), 0);
  for (i = 0; i < count; i++) {
    lives[i].pool = pool;
    lives[i].all_here = meet ? &all_here : NULL;
    started += pthread_create(&lives[i].thread, NULL, live, &lives[i]) == 0;
  }
  CU_ASSERT_EQUAL_FATAL(started, count);
  for (i = 0; i < count; i++) {
    (void)pthread_join(lives[i].thread, NULL);
    CU_ASSERT(lives[i].right);
    if (lives[i].offset < THREAD_SLOTS * sizeof(struct cache)) {
      size_t slot = lives[i].offset / sizeof(struct cache);
      CU_ASSERT(!meet || !taken[slot]);
      taken[slot] = true;
      with_cache++;
    } else {
      CU_ASSERT_EQUAL(lives[i].offset, THREAD_WITHOUT);
    }
  }
  (void)pthread_barrier_destroy(&all_here);
  return with_cache;
}

static void test_thread_join_many_lives_slots_come_back(void)
{
  mempool *pool = make(MOST_CAPACITY, 4, false);
  size_t sequence = rounds(10000, 50), groups = rounds(10000 / 8, 50), i;
  for (i = 0; i < sequence; i++)
    CU_ASSERT_EQUAL_FATAL(live_together(pool, 1, false), 1);
  for (i = 0; i < groups; i++)
    CU_ASSERT_EQUAL_FATAL(live_together(pool, 8, i % 2 == 0), 8);
  printf("# %zu lives\n", sequence + 8 * groups);
  CU_ASSERT(is_sound(pool, 0));
  mempool_destroy(pool);
}

static void test_thread_join_more_than_slots_rest_without(void)
{
  mempool *pool = make(MOST_CAPACITY, 1, false);
  /* The thread of the tests has a slot itself, since the first pool that it used. */
  size_t own = mempool__thread_offset < THREAD_SLOTS * sizeof(struct cache) ? 1 : 0, round;
  for (round = 0; round < 2; round++) {
    CU_ASSERT_EQUAL(live_together(pool, CROWD, true), THREAD_SLOTS - own);
    CU_ASSERT_EQUAL(live_together(pool, 1, false), 1);
    CU_ASSERT(is_sound(pool, 0));
  }
  mempool_destroy(pool);
}

static void *fill_cache(void *arg)
{
  mempool *pool = arg;
  void *blocks[8];
  size_t i, count = 0;
  for (i = 0; i < 8; i++)
    blocks[i] = mempool_alloc(pool);
  for (i = 0; i < 8; i++)
    (void)mempool_free(pool, blocks[i]);
  for (i = 0; i < pool->caches_bytes; i += sizeof(struct cache))
    count += cache_count(cache_at(pool, i));
  return count != 0 ? arg : NULL;
}

static void test_thread_end_cache_emptied_and_shut(void)
{
  mempool *pools[3];
  pthread_t thread;
  void *filled;
  size_t i, round;
  for (i = 0; i < 3; i++)
    pools[i] = make(64, 4, i == 1);
  for (round = 0; round < 20; round++) {
    for (i = 0; i < 3; i++) {
      CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, fill_cache, pools[i]), 0);
      (void)pthread_join(thread, &filled);
      CU_ASSERT_PTR_NOT_NULL(filled);
      CU_ASSERT_EQUAL(pools[i]->open_caches, 0);
      CU_ASSERT(is_sound(pools[i], 0));
    }
  }
  for (i = 0; i < 3; i++)
    mempool_destroy(pools[i]);
}

/* A user's destructor, which in its second round comes after the library's. */
typedef struct late_user {
  pthread_key_t key;
  mempool *pool;
  int rounds;
  bool right;
} late_user;

static void use_late(void *arg)
{
  late_user *late = arg;
  if (++late->rounds == 1) {
    (void)pthread_setspecific(late->key, late);
    return;
  }
  late->right = mempool__thread_offset == THREAD_WITHOUT && fill_cache(late->pool) == NULL;
}

static void *leave_late(void *arg)
{
  late_user *late = arg;
  return fill_cache(late->pool) != NULL && pthread_setspecific(late->key, late) == 0 ? late : NULL;
}

static void test_thread_end_destructors_after_use_no_cache(void)
{
  late_user late = { .pool = make(64, 4, false) };
  pthread_t thread;
  void *result = NULL;
  CU_ASSERT_EQUAL_FATAL(pthread_key_create(&late.key, use_late), 0);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, leave_late, &late), 0);
  (void)pthread_join(thread, &result);
  CU_ASSERT_PTR_EQUAL(result, &late);
  CU_ASSERT(late.right);
  CU_ASSERT_EQUAL(late.pool->open_caches, 0);
  CU_ASSERT(is_sound(late.pool, 0));
  (void)pthread_key_delete(late.key);
  mempool_destroy(late.pool);
}

static bool all_at_rest(const mempool *pool)
{
  return pool->open_caches == 0 && mempool__caches_count(pool) == 0 && is_sound(pool, 0);
}

static void emptied_by_fork(mempool *pool)
{
  int status = -1;
  pid_t child;
  CU_ASSERT_PTR_NOT_NULL(fill_cache(pool));
  play(1);
  CU_ASSERT_PTR_NOT_NULL(fill_cache(pool));
  CU_ASSERT(cached(pool, 0) != 0 && cached(pool, 1) != 0);
  child = fork();
  if (child == 0)
    _exit(all_at_rest(pool) ? 0 : 1);
  CU_ASSERT_FATAL(child > 0);
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  CU_ASSERT_EQUAL(status, 0);
  CU_ASSERT(all_at_rest(pool));
}

static void test_fork_caches_emptied_on_both_sides(void)
{
  as_player(emptied_by_fork, 64, 4);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_caches_random_walk_always_sound),
    TEST(test_caches_random_walk_fenced_always_sound),
    TEST(test_cache_give_never_over_limit),
    TEST(test_alloc_depot_empty_robs_every_cache),
    TEST(test_alloc_burst_bundles_before_fresh),
    TEST(test_caches_after_robbery_shut_for_a_while),
    TEST(test_caches_thread_waits_stay_shut),
    TEST(test_caches_closed_stay_shut),
    TEST(test_cache_block_listed_twice_one_owner),
    TEST(test_thread_join_many_lives_slots_come_back),
    TEST(test_thread_join_more_than_slots_rest_without),
    TEST(test_thread_end_cache_emptied_and_shut),
    TEST(test_thread_end_destructors_after_use_no_cache),
    TEST(test_fork_caches_emptied_on_both_sides),
  };
  if (!OS_HAS_THREADS) {
    puts("1..0 # SKIP this build is for one thread: no pool has caches");
    return 0;
  }
  seed = test_seed();
  return RUN_TESTS(tests);
}
