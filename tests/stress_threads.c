/* SPDX-License-Identifier: MIT */
/*
 * Threads that take and free blocks at random.  Every block that a thread
 * holds carries its stamp in a table beside the pool, so that a block with
 * two owners is seen at once; and it is written from end to end by plain
 * stores, so that ThreadSanitizer sees a hand-over that isn't ordered.
 */
#include "helpers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_THREADS 8
#define MOST_HELD 16
#define MOST_CAPACITY (MOST_THREADS * MOST_HELD)
#define BLOCK_SIZE 40
#define SLOTS 16

typedef struct arena {
  mempool *pool;
  size_t capacity;
  atomic_uint owners[MOST_CAPACITY]; /* of each block: 0 for nobody */
  atomic_uint wrong;                 /* what must not happen, and did */
  atomic_long budget;                /* blocks that threads may yet take together */
  _Atomic(void *) slots[SLOTS];      /* blocks on their way from one thread to another */
  atomic_uint running;
  atomic_size_t served; /* blocks that waiting threads got */
} arena;

/* A kind of pool, and what its caches may hold; caches are only in pools whose flags allow them. */
typedef struct stressed_kind {
  pool_kind kind;
  uint32_t cache_blocks;
} stressed_kind;

typedef struct worker {
  pthread_t thread;
  arena *a;
  unsigned id; /* from 1 */
  uint64_t random;
  size_t steps, quota, held_count;
  void *held[MOST_HELD];
  uint64_t allocs, frees, failures, refusals; /* what the pool's figures have to add up to */
} worker;

static uint64_t seed;

static size_t below(worker *w, size_t limit)
{
  return (size_t)(test_random(&w->random) % limit);
}

static void expect(arena *a, bool condition)
{
  if (!condition)
    atomic_fetch_add_explicit(&a->wrong, 1, memory_order_relaxed);
}

/* Relaxed, so that the stamps order nothing that the pool has to order. */
static void stamp(arena *a, const void *block, unsigned from, unsigned to)
{
  uint32_t index = 0;
  bool is_block = mempool_block_index(a->pool, block, &index) == MEMPOOL_OK && index < a->capacity;
  expect(a, is_block);
  if (is_block)
    expect(a, atomic_exchange_explicit(&a->owners[index], to, memory_order_relaxed) == from);
}

static void hold(worker *w, void *block)
{
  stamp(w->a, block, 0, w->id);
  memset(block, (int)w->id, BLOCK_SIZE);
  w->held[w->held_count++] = block;
}

/* Takes one of the held blocks out of the hand, whole and unstamped. */
static void *let_go(worker *w)
{
  size_t which = below(w, w->held_count);
  void *block = w->held[which];
  expect(w->a, all_bytes(block, BLOCK_SIZE, (unsigned char)w->id));
  stamp(w->a, block, w->id, 0);
  w->held[which] = w->held[--w->held_count];
  return block;
}

/* Takes up to `many` blocks in one of the ways there are.  Returns how many it got. */
static size_t take_some(worker *w, size_t many, int64_t timeout_ns)
{
  void *blocks[MOST_HELD] = { NULL };
  size_t got = 0, i;
  switch (below(w, 4)) {
  case 0:
    blocks[0] = mempool_alloc(w->a->pool);
    got = blocks[0] != NULL;
    break;
  case 1:
    got = mempool_alloc_bulk(w->a->pool, blocks, many) == MEMPOOL_OK ? many : 0;
    break;
  case 2:
    got = mempool_alloc_burst(w->a->pool, blocks, many);
    break;
  default:
    got = mempool_alloc_wait(w->a->pool, &blocks[0], timeout_ns) == MEMPOOL_OK;
  }
  expect(w->a, got <= many);
  for (i = 0; i < got; i++)
    hold(w, blocks[i]);
  w->allocs += got;
  w->failures += got == 0;
  return got;
}

static void give_some(worker *w, size_t many)
{
  void *blocks[MOST_HELD];
  size_t i;
  for (i = 0; i < many; i++)
    blocks[i] = let_go(w);
  if (many == 1)
    expect(w->a, mempool_free(w->a->pool, blocks[0]) == MEMPOOL_OK);
  else
    expect(w->a, mempool_free_bulk(w->a->pool, blocks, many) == MEMPOOL_OK);
  w->frees += many;
}

static void free_foreign(worker *w)
{
  char local[8];
  expect(w->a, mempool_free(w->a->pool, local) == MEMPOOL_E_FOREIGN_BLOCK);
  w->refusals++;
}

/* Within its own quota a thread is never told that there is no block, and no other thread has to be heard for that. */
static void *work_within_quota(void *arg)
{
  worker *w = arg;
  size_t i;
  for (i = 0; i < w->steps; i++) {
    if (w->held_count < w->quota && (w->held_count == 0 || below(w, 2) == 0)) {
      expect(w->a, take_some(w, 1 + below(w, w->quota - w->held_count), -1) != 0);
    } else {
      give_some(w, 1 + below(w, w->held_count));
      if (below(w, 16) == 0)
        free_foreign(w);
    }
  }
  if (w->held_count != 0)
    give_some(w, w->held_count);
  atomic_fetch_sub(&w->a->running, 1);
  return NULL;
}

/* Lays a block in a slot, or frees one that another thread laid there. */
static void pass_on(worker *w)
{
  arena *a = w->a;
  _Atomic(void *) *slot = &a->slots[below(w, SLOTS)];
  void *block = atomic_exchange_explicit(slot, NULL, memory_order_acquire);
  if (block != NULL) {
    expect(a, mempool_free(a->pool, block) == MEMPOOL_OK);
    w->frees++;
    atomic_fetch_add(&a->budget, 1);
  } else if (w->held_count != 0) {
    block = let_go(w);
    block = atomic_exchange_explicit(slot, block, memory_order_acq_rel);
    if (block != NULL) {
      expect(a, mempool_free(a->pool, block) == MEMPOOL_OK);
      w->frees++;
      atomic_fetch_add(&a->budget, 1);
    }
  }
}

/* Together the threads never hold more than there is, slots included: nobody is ever told that there is no block. */
static void *work_within_budget(void *arg)
{
  worker *w = arg;
  arena *a = w->a;
  size_t i;
  for (i = 0; i < w->steps; i++) {
    if (w->held_count < MOST_HELD && below(w, 2) == 0) {
      if (atomic_fetch_sub(&a->budget, 1) > 0)
        expect(a, take_some(w, 1, -1) == 1);
      else
        atomic_fetch_add(&a->budget, 1);
    } else if (w->held_count != 0 && below(w, 2) == 0) {
      give_some(w, 1);
      atomic_fetch_add(&a->budget, 1);
    } else {
      pass_on(w);
    }
  }
  while (w->held_count != 0)
    give_some(w, 1);
  atomic_fetch_sub(&a->running, 1);
  return NULL;
}

/* The threads want more than there is, so that many of them go away with nothing, or wait a little. */
static void *work_in_want(void *arg)
{
  worker *w = arg;
  size_t i;
  for (i = 0; i < w->steps; i++) {
    if (w->held_count < MOST_HELD && (w->held_count == 0 || below(w, 3) != 0))
      (void)take_some(w, 1 + below(w, MOST_HELD - w->held_count), (int64_t)below(w, 20000));
    else
      give_some(w, 1 + below(w, w->held_count));
    if (below(w, 64) == 0)
      free_foreign(w);
  }
  if (w->held_count != 0)
    give_some(w, w->held_count);
  atomic_fetch_sub(&w->a->running, 1);
  return NULL;
}

/* A thread that holds nothing waits for ever, and is served: else it never ends. */
static void *work_waiting(void *arg)
{
  worker *w = arg;
  size_t i;
  for (i = 0; i < w->steps; i++) {
    void *block = NULL;
    mempool_status status = mempool_alloc_wait(w->a->pool, &block, -1);
    expect(w->a, status == MEMPOOL_OK);
    if (status == MEMPOOL_OK) {
      w->allocs++;
      hold(w, block);
      give_some(w, 1);
    }
  }
  atomic_fetch_sub(&w->a->running, 1);
  return NULL;
}

/* As before, until the pool is closed. */
static void *work_until_closed(void *arg)
{
  worker *w = arg;
  void *block = NULL;
  mempool_status status;
  while ((status = mempool_alloc_wait(w->a->pool, &block, below(w, 2) == 0 ? -1 : INT64_MAX)) == MEMPOOL_OK) {
    w->allocs++;
    atomic_fetch_add(&w->a->served, 1);
    hold(w, block);
    give_some(w, 1);
  }
  expect(w->a, status == MEMPOOL_E_CLOSED && block == NULL);
  expect(w->a, mempool_alloc(w->a->pool) == NULL);
  atomic_fetch_sub(&w->a->running, 1);
  return NULL;
}

static int count_visit(void *block, uint32_t index, void *arg)
{
  (void)block;
  (void)index;
  (*(size_t *)arg)++;
  return 0;
}

/* What a looker-on may see at any instant.  A check empties the caches, so it isn't made at every look. */
static void look_on(arena *a, size_t look)
{
  mempool_stats stats = stats_of(a->pool);
  size_t visits = 0;
  expect(a, stats.used + stats.available == a->capacity && stats.used <= stats.peak_used);
  expect(a, stats.peak_used <= a->capacity && stats.waiting <= MOST_THREADS);
  expect(a, stats.free_count <= stats.alloc_count);
  if (look % 64 == 0)
    expect(a, mempool_check(a->pool) == MEMPOOL_OK);
  expect(a, mempool_foreach(a->pool, count_visit, &visits) == MEMPOOL_OK && visits <= a->capacity);
  (void)sched_yield();
}

typedef struct plan {
  void *(*work)(void *);
  size_t threads, capacity, quota, steps, close_after;
} plan;

static mempool *open_pool(fixture *f, const stressed_kind *s, size_t capacity)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  if (s->cache_blocks == 0)
    return set_up(f, &s->kind, BLOCK_SIZE, capacity);
  memset(f, 0, sizeof(*f));
  options.flags = s->kind.flags;
  options.cache_blocks = s->cache_blocks;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&f->pool, BLOCK_SIZE, capacity, &options), MEMPOOL_OK);
  return f->pool;
}

/* Lets the threads work, and then compares the pool's figures with the sum of theirs. */
static void run_plan(const plan *p, const stressed_kind *stressed)
{
  static arena a;
  static worker workers[MOST_THREADS];
  const pool_kind *kind = &stressed->kind;
  bool counted = (kind->flags & MEMPOOL_COUNTERS) != 0;
  uint64_t allocs = 0, frees = 0, failures = 0, refusals = 0;
  mempool_stats stats;
  size_t i, started = 0, looks = 0;
  fixture f;
  memset(&a, 0, sizeof(a));
  memset(workers, 0, sizeof(workers));
  a.pool = open_pool(&f, stressed, p->capacity);
  a.capacity = p->capacity;
  atomic_store(&a.budget, (long)p->capacity);
  atomic_store(&a.running, (unsigned)p->threads);
  for (i = 0; i < p->threads; i++) {
    workers[i].a = &a;
    workers[i].id = (unsigned)i + 1;
    workers[i].random = seed + i * 7919 + p->threads * 104729 + kind->flags + stressed->cache_blocks * 31;
    workers[i].steps = p->steps;
    workers[i].quota = p->quota;
    started += pthread_create(&workers[i].thread, NULL, p->work, &workers[i]) == 0;
  }
  CU_ASSERT_EQUAL_FATAL(started, p->threads);
  while (atomic_load(&a.running) != 0) {
    look_on(&a, looks++);
    if (p->close_after != 0 && atomic_load(&a.served) >= p->close_after)
      mempool_close(a.pool);
  }
  for (i = 0; i < p->threads; i++) {
    (void)pthread_join(workers[i].thread, NULL);
    allocs += workers[i].allocs;
    frees += workers[i].frees;
    failures += workers[i].failures;
    refusals += workers[i].refusals;
  }
  for (i = 0; i < SLOTS; i++) {
    void *block = atomic_exchange(&a.slots[i], NULL);
    if (block != NULL) {
      CU_ASSERT_EQUAL(mempool_free(a.pool, block), MEMPOOL_OK);
      frees++;
    }
  }
  stats = stats_of(a.pool);
  CU_ASSERT_EQUAL(atomic_load(&a.wrong), 0);
  CU_ASSERT_EQUAL(stats.used, 0);
  CU_ASSERT_EQUAL(stats.available, p->capacity);
  CU_ASSERT_EQUAL(stats.waiting, 0);
  CU_ASSERT_EQUAL(allocs, frees);
  CU_ASSERT_EQUAL(stats.failed_allocs, failures);
  CU_ASSERT_EQUAL(stats.refused_frees, refusals);
  CU_ASSERT_EQUAL(stats.alloc_count, counted ? allocs : 0);
  CU_ASSERT_EQUAL(stats.free_count, counted ? frees : 0);
  CU_ASSERT_EQUAL(mempool_check(a.pool), MEMPOOL_OK);
  /* None is lost and none is there twice. */
  for (i = 0; i < p->capacity && p->close_after == 0; i++) {
    void *block = mempool_alloc(a.pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(block);
    stamp(&a, block, 0, 1);
  }
  CU_ASSERT_EQUAL(atomic_load(&a.wrong), 0);
  CU_ASSERT_PTR_NULL(mempool_alloc(a.pool));
  tear_down(&f);
}

static const size_t thread_counts[] = { 2, 3, 5, 8 };

static const stressed_kind kinds[] = {
  { { 0, true }, 0 },
  { { 0, true }, 1 },
  { { 0, true }, 4 },
  { { 0, true }, 32 },
  { { MEMPOOL_COUNTERS, false }, 0 },
  { { MEMPOOL_GUARD | MEMPOOL_ZERO | MEMPOOL_COUNTERS, true }, 0 },
  { { MEMPOOL_STRICT | MEMPOOL_NO_CACHE | MEMPOOL_ZERO, false }, 0 },
};

/* The plan with every number of threads and on every kind of pool, its steps shared among them. */
static void run_everywhere(plan p)
{
  size_t steps = scaled(p.steps, 40), capacity = p.capacity, t, k;
  for (t = 0; t < COUNT_OF(thread_counts); t++) {
    for (k = 0; k < COUNT_OF(kinds); k++) {
      p.threads = thread_counts[t];
      p.steps = steps / p.threads;
      p.capacity = capacity != 0 ? capacity : p.threads * p.quota;
      run_plan(&p, &kinds[k]);
    }
  }
  printf("# %zu steps on each of %zu pools\n", steps, COUNT_OF(thread_counts) * COUNT_OF(kinds));
}

static void test_alloc_threads_within_quota_never_null(void)
{
  const plan p = { .work = work_within_quota, .quota = MOST_HELD, .steps = 20000 };
  run_everywhere(p);
}

/* With one block each, every block is out time and again. */
static void test_alloc_threads_one_block_each_never_null(void)
{
  const plan p = { .work = work_within_quota, .quota = 1, .steps = 20000 };
  run_everywhere(p);
}

static void test_free_on_other_threads_never_null(void)
{
  const plan p = { .work = work_within_budget, .capacity = 24, .steps = 20000 };
  run_everywhere(p);
}

/* The same with so many blocks that there are caches by default, and they fill. */
static void test_free_on_other_threads_large_pool_never_null(void)
{
  const plan p = { .work = work_within_budget, .capacity = MOST_CAPACITY, .steps = 20000 };
  run_everywhere(p);
}

/* Pools of every small size, at their limit nearly all the time, with caches that could hold all of it or next to nothing. */
static void test_alloc_small_pools_near_exhaustion_never_null(void)
{
  static const uint32_t cache_blocks[] = { 1, 2, 4, 32 };
  size_t steps = scaled(2000, 20), capacity, i, count = 0;
  for (capacity = 4; capacity <= 24; capacity++) {
    for (i = 0; i < COUNT_OF(cache_blocks); i++) {
      const stressed_kind kind = { { 0, true }, cache_blocks[i] };
      plan p = { .work = work_within_budget, .threads = 2 + capacity % 4, .capacity = capacity, .steps = steps };
      run_plan(&p, &kind);
      p.work = work_in_want;
      run_plan(&p, &kind);
      count += 2;
    }
  }
  printf("# %zu steps of each thread on each of %zu pools\n", steps, count);
}

static void test_alloc_threads_in_want_figures_exact(void)
{
  const plan p = { .work = work_in_want, .capacity = 11, .steps = 8000 };
  run_everywhere(p);
}

static void test_alloc_wait_threads_in_want_all_served(void)
{
  const plan p = { .work = work_waiting, .capacity = 1, .steps = 4000 };
  const plan q = { .work = work_waiting, .capacity = 2, .steps = 4000 };
  run_everywhere(p);
  run_everywhere(q);
}

static void test_close_threads_waiting_all_come_back(void)
{
  size_t t, round, count = scaled(40, 10);
  for (t = 0; t < COUNT_OF(thread_counts); t++) {
    for (round = 0; round < count; round++) {
      const plan p = { .work = work_until_closed,
                       .threads = thread_counts[t],
                       .capacity = 1 + round % 2,
                       .close_after = 1 + round * 13 % 200 };
      const stressed_kind kind = { { round % 4 == 3 ? MEMPOOL_COUNTERS : 0, round % 3 == 0 }, (uint32_t)(round % 4) };
      run_plan(&p, &kind);
    }
  }
  printf("# %zu closings for each of %zu numbers of threads\n", count, COUNT_OF(thread_counts));
}

#define RACERS 3

typedef struct race {
  mempool *pool;
  void *block;
  atomic_size_t round; /* which may be run now, from 1; SIZE_MAX ends it */
  atomic_size_t arrived;
  bool in_bulk;
  mempool_status results[RACERS];
} race;

typedef struct racer {
  pthread_t thread;
  race *r;
  size_t which;
} racer;

static void *race_to_free(void *arg)
{
  racer *me = arg;
  race *r = me->r;
  size_t done = 0, round;
  for (;;) {
    unsigned spins = 0;
    while ((round = atomic_load(&r->round)) == done) {
      if (++spins % 128 == 0)
        (void)sched_yield();
    }
    if (round == SIZE_MAX)
      return NULL;
    r->results[me->which] =
        r->in_bulk ? mempool_free_bulk(r->pool, &r->block, 1) : mempool_free(r->pool, r->block);
    done = round;
    atomic_fetch_add(&r->arrived, 1);
  }
}

/* Returns how many races had another outcome than one winner, and a double free for everybody else. */
static size_t run_races(race *r, size_t racers, size_t count)
{
  size_t round, unfair = 0, i;
  for (round = 1; round <= count; round++) {
    size_t winners = 0, losers = 0;
    r->block = mempool_alloc(r->pool);
    r->in_bulk = round % 3 == 0;
    atomic_store(&r->arrived, 0);
    atomic_store(&r->round, round);
    while (atomic_load(&r->arrived) != racers)
      (void)sched_yield();
    for (i = 0; i < racers; i++) {
      winners += r->results[i] == MEMPOOL_OK;
      losers += r->results[i] == MEMPOOL_E_DOUBLE_FREE;
    }
    unfair += winners != 1 || losers != racers - 1;
  }
  return unfair;
}

static void test_free_racing_strict_one_winner(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_GUARD, MEMPOOL_ZERO | MEMPOOL_COUNTERS, MEMPOOL_GUARD | MEMPOOL_ZERO };
  size_t count = scaled(1500, 15), total = 0, racers, k, i;
  for (racers = 2; racers <= RACERS; racers++) {
    for (k = 0; k < COUNT_OF(flags); k++) {
      const pool_kind kind = { flags[k] | MEMPOOL_STRICT, k % 2 == 0 };
      static race r;
      racer who[RACERS];
      size_t started = 0;
      fixture f;
      memset(&r, 0, sizeof(r));
      r.pool = set_up(&f, &kind, BLOCK_SIZE, 4);
      CU_ASSERT_PTR_NOT_NULL(mempool_alloc(r.pool));
      for (i = 0; i < racers; i++) {
        who[i].r = &r;
        who[i].which = i;
        started += pthread_create(&who[i].thread, NULL, race_to_free, &who[i]) == 0;
      }
      CU_ASSERT_EQUAL_FATAL(started, racers);
      CU_ASSERT_EQUAL(run_races(&r, racers, count), 0);
      atomic_store(&r.round, SIZE_MAX);
      for (i = 0; i < racers; i++)
        (void)pthread_join(who[i].thread, NULL);
      CU_ASSERT_EQUAL(stats_of(r.pool).used, 1);
      CU_ASSERT_EQUAL(stats_of(r.pool).refused_frees, count * (racers - 1));
      CU_ASSERT_EQUAL(mempool_check(r.pool), MEMPOOL_OK);
      tear_down(&f);
      total += count;
    }
  }
  printf("# %zu races\n", total);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_threads_within_quota_never_null),
    TEST(test_alloc_threads_one_block_each_never_null),
    TEST(test_free_on_other_threads_never_null),
    TEST(test_free_on_other_threads_large_pool_never_null),
    TEST(test_alloc_small_pools_near_exhaustion_never_null),
    TEST(test_alloc_threads_in_want_figures_exact),
    TEST(test_alloc_wait_threads_in_want_all_served),
    TEST(test_close_threads_waiting_all_come_back),
    TEST(test_free_racing_strict_one_winner),
  };
  seed = test_seed();
  return RUN_TESTS(tests);
}
