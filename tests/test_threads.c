/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one pool with caches: nobody is told that there is no block
 * while there is one, wherever it lies; and whatever threads do, or a fork,
 * nothing is lost.
 */
#include "helpers.h"
#include "runner.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_THREADS 8
#define MOST_CAPACITY 4096
#define BLOCK_SIZE 48

static uint64_t seed;

static mempool *make(size_t block_size, size_t capacity, uint32_t cache_blocks)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  options.cache_blocks = cache_blocks;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, block_size, capacity, &options), MEMPOOL_OK);
  return pool;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
  CU_ASSERT_EQUAL_FATAL(pthread_create(thread, NULL, run, arg), 0);
}

/* Takes every block, one by one or all at once, and gives all of them back.  False if one is missing or there twice. */
static bool all_can_be_taken(mempool *pool, bool in_bulk)
{
  size_t capacity = mempool_capacity(pool), i;
  void **blocks = calloc(capacity, sizeof(void *));
  bool *seen = calloc(capacity, sizeof(bool));
  bool right = blocks != NULL && seen != NULL;
  if (in_bulk && right)
    right = mempool_alloc_bulk(pool, blocks, capacity) == MEMPOOL_OK;
  for (i = 0; i < capacity && right; i++) {
    uint32_t index = 0;
    if (!in_bulk)
      blocks[i] = mempool_alloc(pool);
    right = mempool_block_index(pool, blocks[i], &index) == MEMPOOL_OK && !seen[index];
    if (right)
      seen[index] = true;
  }
  right = right && mempool_alloc(pool) == NULL && stats_of(pool).used == capacity &&
          mempool_free_bulk(pool, blocks, capacity) == MEMPOOL_OK && stats_of(pool).used == 0 &&
          mempool_check(pool) == MEMPOOL_OK;
  free(blocks);
  free(seen);
  return right;
}

/* Puts as many blocks as it can into the calling thread's cache: at most `many`, which are free. */
static bool fill_cache(mempool *pool, size_t many)
{
  void *blocks[MOST_CAPACITY];
  size_t i, got = 0;
  while (got < many && (blocks[got] = mempool_alloc(pool)) != NULL)
    got++;
  for (i = 0; i < got; i++) {
    if (mempool_free(pool, blocks[i]) != MEMPOOL_OK)
      return false;
  }
  return got == many;
}

typedef struct shape {
  size_t capacity;
  uint32_t cache_blocks;
} shape;

static const shape shapes[] = { { 8, 1 }, { 8, 4 }, { 9, 32 }, { 16, 4 }, { 64, 0 }, { 65, 32 }, { 256, 32 }, { 2048, 0 } };

/* ---- Exactness ---- */

typedef struct crew {
  mempool *pool;
  atomic_long budget; /* blocks that the threads may yet take together */
  atomic_uint wrong, running;
  size_t steps, most; /* of each thread, and how many blocks it keeps */
} crew;

typedef struct hand {
  pthread_t thread;
  crew *c;
  uint64_t random;
  size_t allocs;
} hand;

static void expect(crew *c, bool condition)
{
  if (!condition)
    atomic_fetch_add_explicit(&c->wrong, 1, memory_order_relaxed);
}

/* Takes and frees within the budget, so that there is always a block; keeps some of them. */
static void *work_within_budget(void *arg)
{
  hand *h = arg;
  crew *c = h->c;
  void *held[64];
  size_t count = 0, i;
  for (i = 0; i < c->steps; i++) {
    if (count < c->most && test_random(&h->random) % 2 == 0) {
      if (atomic_fetch_sub(&c->budget, 1) > 0) {
        void *block = mempool_alloc(c->pool);
        expect(c, block != NULL);
        if (block != NULL) {
          memset(block, (int)i, 8);
          held[count++] = block;
          h->allocs++;
          continue;
        }
      }
      atomic_fetch_add(&c->budget, 1);
      (void)sched_yield();
    } else if (count != 0) {
      expect(c, mempool_free(c->pool, held[--count]) == MEMPOOL_OK);
      atomic_fetch_add(&c->budget, 1);
    }
  }
  while (count != 0)
    expect(c, mempool_free(c->pool, held[--count]) == MEMPOOL_OK);
  atomic_fetch_sub(&c->running, 1);
  return NULL;
}

static void run_crew(mempool *pool, size_t threads, size_t steps)
{
  static crew c;
  static hand hands[MOST_THREADS];
  size_t capacity = mempool_capacity(pool), allocs = 0, i;
  mempool_stats stats;
  memset(&c, 0, sizeof(c));
  memset(hands, 0, sizeof(hands));
  c.pool = pool;
  c.steps = steps / threads;
  c.most = 1 + 2 * capacity / threads < 64 ? 1 + 2 * capacity / threads : 64;
  atomic_store(&c.budget, (long)capacity);
  atomic_store(&c.running, (unsigned)threads);
  for (i = 0; i < threads; i++) {
    hands[i].c = &c;
    hands[i].random = seed + i + capacity * 131 + threads;
    start(&hands[i].thread, work_within_budget, &hands[i]);
  }
  while (atomic_load(&c.running) != 0) {
    stats = stats_of(pool);
    expect(&c, stats.used + stats.available == capacity && stats.used <= stats.peak_used);
    expect(&c, stats.peak_used <= capacity);
    (void)sched_yield();
  }
  for (i = 0; i < threads; i++) {
    (void)pthread_join(hands[i].thread, NULL);
    allocs += hands[i].allocs;
  }
  CU_ASSERT(allocs > c.steps / 4);
  stats = stats_of(pool);
  CU_ASSERT_EQUAL(atomic_load(&c.wrong), 0);
  CU_ASSERT_EQUAL(stats.used, 0);
  CU_ASSERT_EQUAL(stats.failed_allocs, 0);
  CU_ASSERT_EQUAL(stats.refused_frees, 0);
  CU_ASSERT(all_can_be_taken(pool, false));
  CU_ASSERT(all_can_be_taken(pool, true));
}

static void test_alloc_threads_within_capacity_never_null(void)
{
  static const size_t threads[] = { 2, 3, 8 };
  size_t steps = scaled(60000, 60), s, t;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    for (t = 0; t < COUNT_OF(threads); t++) {
      mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
      run_crew(pool, threads[t], steps);
      mempool_destroy(pool);
    }
  }
  printf("# %zu steps on each of %zu pools\n", steps, COUNT_OF(shapes) * COUNT_OF(threads));
}

static void test_alloc_ten_large_blocks_eight_threads_never_null(void)
{
  static const uint32_t sizes[] = { 0, 1, 4, 10 };
  size_t i;
  for (i = 0; i < COUNT_OF(sizes); i++) {
    mempool *pool = make((size_t)1 << 20, 10, sizes[i]);
    run_crew(pool, 8, scaled(40000, 40));
    mempool_destroy(pool);
  }
}

/* ---- Blocks in the caches of threads that do nothing more ---- */

typedef struct idler {
  pthread_t thread;
  mempool *pool;
  size_t share;
  int pipe_ends[2];
  atomic_uint *ready, *stop;
  bool spins, right;
} idler;

static void *cache_and_idle(void *arg)
{
  idler *me = arg;
  char byte;
  me->right = fill_cache(me->pool, me->share);
  atomic_fetch_add(me->ready, 1);
  if (!me->spins)
    return read(me->pipe_ends[0], &byte, 1) == 1 ? me : NULL;
  while (atomic_load(me->stop) == 0)
    (void)sched_yield();
  return me;
}

static void with_idlers(const shape *s, bool spins, bool in_bulk)
{
  idler idlers[4];
  atomic_uint ready = 0, stop = 0;
  mempool *pool = make(BLOCK_SIZE, s->capacity, s->cache_blocks);
  size_t i, round;
  void *result;
  for (i = 0; i < COUNT_OF(idlers); i++) {
    idlers[i] = (idler){ .pool = pool, .share = s->capacity / 4, .ready = &ready, .stop = &stop, .spins = spins };
    CU_ASSERT_EQUAL_FATAL(pipe(idlers[i].pipe_ends), 0);
    start(&idlers[i].thread, cache_and_idle, &idlers[i]);
  }
  while (atomic_load(&ready) != COUNT_OF(idlers))
    (void)sched_yield();
  for (round = 0; round < 3; round++)
    CU_ASSERT(all_can_be_taken(pool, in_bulk));
  atomic_store(&stop, 1);
  for (i = 0; i < COUNT_OF(idlers); i++) {
    CU_ASSERT_EQUAL(write(idlers[i].pipe_ends[1], "x", 1), 1);
    (void)pthread_join(idlers[i].thread, &result);
    CU_ASSERT(result == &idlers[i] && idlers[i].right);
    (void)close(idlers[i].pipe_ends[0]);
    (void)close(idlers[i].pipe_ends[1]);
  }
  CU_ASSERT(all_can_be_taken(pool, !in_bulk));
  mempool_destroy(pool);
}

static void test_alloc_all_others_blocked_in_read_all_taken(void)
{
  size_t s;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    with_idlers(&shapes[s], false, false);
    with_idlers(&shapes[s], false, true);
  }
}

static void test_alloc_all_others_spin_all_taken(void)
{
  size_t s;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    with_idlers(&shapes[s], true, false);
    with_idlers(&shapes[s], true, true);
  }
}

/* A thread that lives for one block. */
static void *live_briefly(void *arg)
{
  mempool *pool = arg;
  void *block = mempool_alloc(pool);
  return block != NULL && mempool_free(pool, block) == MEMPOOL_OK ? arg : NULL;
}

typedef struct breeder {
  mempool *pool;
  atomic_uint stop;
  atomic_size_t born;
  size_t lives;
  bool right;
} breeder;

static void *breed(void *arg)
{
  breeder *b = arg;
  for (; atomic_load(&b->born) < b->lives && atomic_load(&b->stop) == 0; atomic_fetch_add(&b->born, 1)) {
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, live_briefly, b->pool) != 0)
      b->right = false;
    else
      (void)pthread_join(thread, &result);
    b->right = b->right && result != NULL;
  }
  return NULL;
}

/* One block is for the threads that come and go, one after the other; all others can be had at any time. */
static void test_alloc_threads_come_and_go_rest_taken(void)
{
  size_t s, i, round, count = scaled(200, 20), born = 0;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    breeder b = { .lives = 1000, .right = true };
    void *blocks[MOST_CAPACITY];
    size_t rest = shapes[s].capacity - 1;
    pthread_t thread;
    b.pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    start(&thread, breed, &b);
    for (round = 0; round < count || atomic_load(&b.born) < 10; round++) {
      if (round % 2 == 0)
        CU_ASSERT_EQUAL_FATAL(mempool_alloc_bulk(b.pool, blocks, rest), MEMPOOL_OK);
      for (i = 0; i < rest && round % 2 != 0; i++) {
        blocks[i] = mempool_alloc(b.pool);
        CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
      }
      for (i = 0; i < rest; i++)
        CU_ASSERT_EQUAL(mempool_free(b.pool, blocks[i]), MEMPOOL_OK);
    }
    atomic_store(&b.stop, 1);
    (void)pthread_join(thread, NULL);
    CU_ASSERT(b.right);
    born += atomic_load(&b.born);
    CU_ASSERT_EQUAL(stats_of(b.pool).failed_allocs, 0);
    CU_ASSERT(all_can_be_taken(b.pool, false));
    mempool_destroy(b.pool);
  }
  printf("# at least %zu rounds, %zu lives\n", count * COUNT_OF(shapes), born);
}

/* ---- Order ---- */

static void test_alloc_one_thread_freed_last_first(void)
{
  size_t s, i, wrong = 0;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    void *blocks[MOST_CAPACITY];
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    take(pool, blocks, shapes[s].capacity);
    for (i = 0; i < shapes[s].capacity; i++)
      CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
    for (i = shapes[s].capacity; i-- > 0;)
      wrong += mempool_alloc(pool) != blocks[i];
    mempool_destroy(pool);
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- Figures ---- */

typedef struct keeper {
  pthread_t thread;
  mempool *pool;
  size_t holds, caches;
  pthread_barrier_t *barrier;
  bool right;
} keeper;

static void *keep_some(void *arg)
{
  keeper *k = arg;
  void *held[64];
  size_t i;
  k->right = fill_cache(k->pool, k->caches);
  for (i = 0; i < k->holds; i++)
    k->right = (held[i] = mempool_alloc(k->pool)) != NULL && k->right;
  (void)pthread_barrier_wait(k->barrier); /* everybody holds */
  (void)pthread_barrier_wait(k->barrier); /* it has been looked at */
  for (i = 0; i < k->holds; i++)
    k->right = mempool_free(k->pool, held[i]) == MEMPOOL_OK && k->right;
  (void)pthread_barrier_wait(k->barrier); /* nobody holds */
  (void)pthread_barrier_wait(k->barrier);
  return NULL;
}

static int count_visit(void *block, uint32_t index, void *arg)
{
  (void)block;
  (void)index;
  (*(size_t *)arg)++;
  return 0;
}

static void expect_figures(mempool *pool, size_t used)
{
  size_t visits = 0;
  mempool_stats stats = stats_of(pool);
  CU_ASSERT_EQUAL(stats.used, used);
  CU_ASSERT_EQUAL(stats.available, mempool_capacity(pool) - used);
  CU_ASSERT_EQUAL(stats.failed_allocs, 0);
  CU_ASSERT_EQUAL(mempool_foreach(pool, count_visit, &visits), MEMPOOL_OK);
  CU_ASSERT_EQUAL(visits, used);
}

static void test_get_stats_caches_filled_exact(void)
{
  enum { CAPACITY = 512, BLOCKS = 8, THREADS = 6 };
  mempool *pool = make(BLOCK_SIZE, CAPACITY, BLOCKS);
  keeper keepers[THREADS];
  pthread_barrier_t barrier;
  size_t i, held = 0, most = 0;
  CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
  for (i = 0; i < THREADS; i++) {
    keepers[i] = (keeper){ .pool = pool, .holds = i * 7, .caches = 20 + i, .barrier = &barrier };
    held += keepers[i].holds;
    most += keepers[i].holds > keepers[i].caches ? keepers[i].holds : keepers[i].caches;
    start(&keepers[i].thread, keep_some, &keepers[i]);
  }
  (void)pthread_barrier_wait(&barrier);
  expect_figures(pool, held);
  CU_ASSERT(stats_of(pool).peak_used >= held);
  CU_ASSERT(stats_of(pool).peak_used <= most + THREADS * BLOCKS);
  (void)pthread_barrier_wait(&barrier);
  (void)pthread_barrier_wait(&barrier);
  expect_figures(pool, 0);
  (void)pthread_barrier_wait(&barrier);
  for (i = 0; i < THREADS; i++) {
    (void)pthread_join(keepers[i].thread, NULL);
    CU_ASSERT(keepers[i].right);
  }
  expect_figures(pool, 0);
  (void)pthread_barrier_destroy(&barrier);
  CU_ASSERT(all_can_be_taken(pool, true));
  mempool_destroy(pool);
}

static void test_get_stats_one_thread_exact_at_each_step(void)
{
  size_t s, i;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    void *blocks[MOST_CAPACITY];
    size_t capacity = shapes[s].capacity;
    mempool *pool = make(BLOCK_SIZE, capacity, shapes[s].cache_blocks);
    size_t bound = shapes[s].cache_blocks != 0 ? shapes[s].cache_blocks : 128;
    for (i = 0; i < capacity; i++) {
      mempool_stats stats = stats_of(pool);
      CU_ASSERT_EQUAL(stats.used, i);
      CU_ASSERT(stats.peak_used >= i && stats.peak_used <= i + bound);
      blocks[i] = mempool_alloc(pool);
      CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
    }
    for (i = 0; i < capacity; i++) {
      CU_ASSERT_EQUAL(stats_of(pool).available, i);
      CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
    }
    CU_ASSERT_EQUAL(stats_of(pool).peak_used, capacity);
    mempool_destroy(pool);
  }
}

/* ---- The ends of threads ---- */

static void test_thread_end_cached_blocks_come_back(void)
{
  size_t s, i, lives = scaled(400, 40);
  for (s = 0; s < COUNT_OF(shapes); s++) {
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    for (i = 0; i < lives; i++) {
      pthread_t thread;
      void *result = NULL;
      start(&thread, live_briefly, pool);
      (void)pthread_join(thread, &result);
      CU_ASSERT_PTR_NOT_NULL(result);
      if (i % 64 == 0)
        CU_ASSERT(all_can_be_taken(pool, i % 128 == 0));
    }
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    CU_ASSERT(all_can_be_taken(pool, false));
    mempool_destroy(pool);
  }
  printf("# %zu lives on each of %zu pools\n", lives, COUNT_OF(shapes));
}

typedef struct guest {
  mempool *pool;
  pthread_barrier_t *barrier;
} guest;

static void *meet_with_block(void *arg)
{
  guest *g = arg;
  bool right = fill_cache(g->pool, 3);
  void *block = mempool_alloc(g->pool);
  (void)pthread_barrier_wait(g->barrier);
  right = right && block != NULL && mempool_free(g->pool, block) == MEMPOOL_OK && fill_cache(g->pool, 3);
  (void)pthread_barrier_wait(g->barrier);
  return right ? arg : NULL;
}

static void test_alloc_more_threads_than_caches_all_work(void)
{
  enum { CROWD = 150 };
  pthread_t threads[CROWD];
  pthread_barrier_t barrier;
  guest g = { make(BLOCK_SIZE, MOST_CAPACITY, 8), &barrier };
  size_t round, i;
  for (round = 0; round < 3; round++) {
    CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&barrier, NULL, CROWD + 1), 0);
    for (i = 0; i < CROWD; i++)
      start(&threads[i], meet_with_block, &g);
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    CU_ASSERT_EQUAL(stats_of(g.pool).used, 0);
    CU_ASSERT(all_can_be_taken(g.pool, round % 2 == 0));
    for (i = 0; i < CROWD; i++) {
      void *result = NULL;
      (void)pthread_join(threads[i], &result);
      CU_ASSERT_PTR_EQUAL(result, &g);
    }
    (void)pthread_barrier_destroy(&barrier);
  }
  /* One at the end of each round, when everything had been taken. */
  CU_ASSERT_EQUAL(stats_of(g.pool).failed_allocs, 3);
  CU_ASSERT(all_can_be_taken(g.pool, true));
  mempool_destroy(g.pool);
}

/* What a user's destructor works on, in as many rounds of destructors as there are. */
typedef struct will {
  pthread_key_t key;
  mempool *pool;
  void *block;
  int rounds;
  bool right;
} will;

static void execute(void *arg)
{
  will *w = arg;
  w->right = w->right && mempool_free(w->pool, w->block) == MEMPOOL_OK;
  w->block = mempool_alloc(w->pool);
  w->right = w->right && w->block != NULL && fill_cache(w->pool, 3);
  if (++w->rounds < 3)
    (void)pthread_setspecific(w->key, w);
  else
    w->right = w->right && mempool_free(w->pool, w->block) == MEMPOOL_OK;
}

static void *bequeath(void *arg)
{
  will *w = arg;
  w->block = mempool_alloc(w->pool);
  w->right = w->block != NULL && fill_cache(w->pool, 3) && pthread_setspecific(w->key, w) == 0;
  return NULL;
}

static void test_thread_end_users_destructors_can_use_pool(void)
{
  mempool *pool = make(BLOCK_SIZE, 16, 4);
  size_t i, count = scaled(200, 20);
  for (i = 0; i < count; i++) {
    will w = { .pool = pool };
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_key_create(&w.key, execute), 0);
    start(&thread, bequeath, &w);
    (void)pthread_join(thread, NULL);
    CU_ASSERT(w.right);
    CU_ASSERT_EQUAL(w.rounds, 3);
    (void)pthread_key_delete(w.key);
    CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  }
  CU_ASSERT(all_can_be_taken(pool, false));
  mempool_destroy(pool);
}

/* ---- Pools that end, and many at once ---- */

typedef struct tenant {
  pthread_t thread;
  _Atomic(mempool *) *pool;
  pthread_barrier_t *barrier;
  size_t rounds;
  bool right;
} tenant;

static void *live_in_each(void *arg)
{
  tenant *t = arg;
  size_t i;
  for (i = 0; i < t->rounds; i++) {
    (void)pthread_barrier_wait(t->barrier); /* the pool is there */
    t->right = fill_cache(atomic_load(t->pool), 4) && t->right;
    (void)pthread_barrier_wait(t->barrier); /* the caches are filled */
  }
  return NULL;
}

static void test_destroy_init_same_memory_others_cached_sound(void)
{
  enum { THREADS = 4, MOST_BYTES = 1 << 17 };
  static unsigned char memory[MOST_BYTES];
  static const shape in_turn[] = { { 64, 4 }, { 64, 0 }, { 100, 1 }, { 32, 32 }, { 64, 4 } };
  _Atomic(mempool *) pool = NULL;
  pthread_barrier_t barrier;
  tenant tenants[THREADS];
  size_t count = scaled(500, 25), i;
  CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
  for (i = 0; i < THREADS; i++) {
    tenants[i] = (tenant){ .pool = &pool, .barrier = &barrier, .rounds = count, .right = true };
    start(&tenants[i].thread, live_in_each, &tenants[i]);
  }
  for (i = 0; i < count; i++) {
    mempool_options options = MEMPOOL_OPTIONS_INIT;
    mempool *made = NULL;
    const shape *s = &in_turn[i % COUNT_OF(in_turn)];
    options.cache_blocks = s->cache_blocks;
    CU_ASSERT_EQUAL_FATAL(mempool_init(&made, memory, sizeof(memory), BLOCK_SIZE, s->capacity, &options), MEMPOOL_OK);
    atomic_store(&pool, made);
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    CU_ASSERT_EQUAL(stats_of(made).used, 0);
    if (i % 2 == 0)
      CU_ASSERT(all_can_be_taken(made, false));
    mempool_destroy(made);
  }
  for (i = 0; i < THREADS; i++) {
    (void)pthread_join(tenants[i].thread, NULL);
    CU_ASSERT(tenants[i].right);
  }
  (void)pthread_barrier_destroy(&barrier);
}

typedef struct landlord {
  pthread_t thread;
  mempool **pools;
  size_t count;
  uint64_t random;
  bool right;
} landlord;

static void *use_all(void *arg)
{
  landlord *l = arg;
  size_t i;
  for (i = 0; i < 4 * l->count; i++)
    l->right = fill_cache(l->pools[test_random(&l->random) % l->count], 3) && l->right;
  return NULL;
}

static void test_create_thousand_pools_four_threads_sound(void)
{
  enum { POOLS = 1000, THREADS = 4 };
  static mempool *pools[POOLS];
  landlord lords[THREADS];
  size_t count = scaled(POOLS, 10), i;
  for (i = 0; i < count; i++)
    pools[i] = make(BLOCK_SIZE, 12 + i % 8, 1 + (uint32_t)i % 4);
  for (i = 0; i < THREADS; i++) {
    lords[i] = (landlord){ .pools = pools, .count = count, .random = seed + i, .right = true };
    start(&lords[i].thread, use_all, &lords[i]);
  }
  for (i = 0; i < THREADS; i++) {
    (void)pthread_join(lords[i].thread, NULL);
    CU_ASSERT(lords[i].right);
  }
  for (i = 0; i < count; i++) {
    CU_ASSERT_EQUAL(stats_of(pools[i]).used, 0);
    CU_ASSERT(all_can_be_taken(pools[i], i % 2 == 0));
    mempool_destroy(pools[i]);
  }
  printf("# %zu pools\n", count);
}

/* ---- Waiting ---- */

typedef struct waiting_thread {
  pthread_t thread;
  mempool *pool;
  int64_t timeout_ns;
  mempool_status status;
  void *block;
  atomic_bool done;
} waiting_thread;

static void *wait_for_block(void *arg)
{
  waiting_thread *w = arg;
  w->status = mempool_alloc_wait(w->pool, &w->block, w->timeout_ns);
  atomic_store(&w->done, true);
  return NULL;
}

static void start_waiting(waiting_thread *w, mempool *pool, int64_t timeout_ns, size_t place)
{
  w->pool = pool;
  w->timeout_ns = timeout_ns;
  w->block = NULL;
  atomic_store(&w->done, false);
  start(&w->thread, wait_for_block, w);
  /* On a busy machine its time may be up before we have seen it wait. */
  while (stats_of(pool).waiting != place && !atomic_load(&w->done))
    (void)sched_yield();
}

typedef struct freer {
  mempool *pool;
  void *block;
} freer;

/* A thread that has a cache with room, unless waiters forbid. */
static void *free_one(void *arg)
{
  freer *f = arg;
  return mempool_free(f->pool, f->block) == MEMPOOL_OK ? arg : NULL;
}

static void test_alloc_wait_caches_on_served_in_order(void)
{
  size_t s, i, round;
  for (s = 0; s + 1 < COUNT_OF(shapes); s++) {
    static void *blocks[MOST_CAPACITY];
    waiting_thread waiters[4];
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    for (round = 0; round < 3; round++) {
      /* The cache of this thread, which frees, has been in use. */
      CU_ASSERT(fill_cache(pool, shapes[s].capacity / 2));
      take(pool, blocks, shapes[s].capacity);
      for (i = 0; i < COUNT_OF(waiters); i++)
        start_waiting(&waiters[i], pool, i == 1 ? INT64_MAX : -1, i + 1);
      CU_ASSERT_PTR_NULL(mempool_alloc(pool));
      for (i = 0; i < COUNT_OF(waiters); i++) {
        if (i % 2 == 0) {
          CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
        } else {
          freer f = { pool, blocks[i] };
          pthread_t thread;
          void *result = NULL;
          start(&thread, free_one, &f);
          (void)pthread_join(thread, &result);
          CU_ASSERT_PTR_EQUAL(result, &f);
        }
        /* It belongs to the waiter already: nobody overtakes. */
        CU_ASSERT_PTR_NULL(mempool_alloc(pool));
        CU_ASSERT_EQUAL(stats_of(pool).waiting, COUNT_OF(waiters) - 1 - i);
        (void)pthread_join(waiters[i].thread, NULL);
        CU_ASSERT_EQUAL(waiters[i].status, MEMPOOL_OK);
        CU_ASSERT_PTR_EQUAL(waiters[i].block, blocks[i]);
      }
      CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, shapes[s].capacity), MEMPOOL_OK);
      CU_ASSERT_EQUAL(stats_of(pool).used, 0);
    }
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    mempool_destroy(pool);
  }
}

static void test_alloc_wait_block_in_others_cache_found(void)
{
  size_t s;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    void *blocks[MOST_CAPACITY];
    waiting_thread w = { 0 };
    take(pool, blocks, shapes[s].capacity - 1);
    CU_ASSERT(fill_cache(pool, 1));
    /* The one block lies in this thread's cache, if it lies in one: no wait is needed. */
    w.pool = pool;
    w.timeout_ns = -1;
    start(&w.thread, wait_for_block, &w);
    (void)pthread_join(w.thread, NULL);
    CU_ASSERT_EQUAL(w.status, MEMPOOL_OK);
    CU_ASSERT_EQUAL(stats_of(pool).used, shapes[s].capacity);
    mempool_destroy(pool);
  }
}

static void test_alloc_wait_timed_out_leaves_no_trace(void)
{
  void *blocks[64], *block = blocks;
  mempool *pool = make(BLOCK_SIZE, 64, 4);
  waiting_thread w;
  CU_ASSERT(fill_cache(pool, 64));
  take(pool, blocks, 64);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, 1000), MEMPOOL_E_TIMED_OUT);
  CU_ASSERT_PTR_NULL(block);
  start_waiting(&w, pool, 1000000, 1);
  (void)pthread_join(w.thread, NULL);
  CU_ASSERT_EQUAL(w.status, MEMPOOL_E_TIMED_OUT);
  CU_ASSERT_EQUAL(stats_of(pool).waiting, 0);
  CU_ASSERT_EQUAL(stats_of(pool).failed_allocs, 2);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 64), MEMPOOL_OK);
  CU_ASSERT(all_can_be_taken(pool, false));
  mempool_destroy(pool);
}

static void test_close_caches_filled_nothing_handed_out(void)
{
  enum { THREADS = 4 };
  idler idlers[THREADS];
  atomic_uint ready = 0, stop = 0;
  mempool *pool = make(BLOCK_SIZE, 64, 4);
  void *mine[8], *block = NULL;
  size_t i;
  for (i = 0; i < THREADS; i++) {
    idlers[i] = (idler){ .pool = pool, .share = 8, .ready = &ready, .stop = &stop, .spins = true };
    start(&idlers[i].thread, cache_and_idle, &idlers[i]);
  }
  while (atomic_load(&ready) != THREADS)
    (void)sched_yield();
  take(pool, mine, 8);
  mempool_close(pool);
  CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &block, -1), MEMPOOL_E_CLOSED);
  for (i = 0; i < 8; i++) {
    CU_ASSERT_EQUAL(mempool_free(pool, mine[i]), MEMPOOL_OK);
    CU_ASSERT_PTR_NULL(mempool_alloc(pool));
  }
  atomic_store(&stop, 1);
  for (i = 0; i < THREADS; i++)
    (void)pthread_join(idlers[i].thread, NULL);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  mempool_destroy(pool);
}

static void test_close_thread_waits_comes_back(void)
{
  void *blocks[64];
  mempool *pool = make(BLOCK_SIZE, 64, 4);
  waiting_thread w[3];
  size_t i;
  CU_ASSERT(fill_cache(pool, 64));
  take(pool, blocks, 64);
  for (i = 0; i < 3; i++)
    start_waiting(&w[i], pool, -1, i + 1);
  mempool_close(pool);
  for (i = 0; i < 3; i++) {
    (void)pthread_join(w[i].thread, NULL);
    CU_ASSERT_EQUAL(w[i].status, MEMPOOL_E_CLOSED);
  }
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 64), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).used, 0);
  mempool_destroy(pool);
}

/* ---- Forks ---- */

/*
 * Memcheck makes a child of a thread that isn't the first end with its own
 * status, because of what the C library has left of the other threads.
 */
static bool any_status;

static int run_child(mempool *pool, size_t held, bool again);

/*
 * What a child does; its exit status is 0 or the number of what went wrong.
 * `held` blocks at most are live in it: those of threads that it doesn't have.
 */
static int be_child(mempool *pool, size_t held, bool again)
{
  size_t capacity = mempool_capacity(pool), count = 0, i;
  static void *blocks[MOST_CAPACITY];
  mempool_stats stats = stats_of(pool);
  (void)alarm(60);
  if (mempool_check(pool) != MEMPOOL_OK)
    return 1;
  if (stats.used + stats.available != capacity || stats.used > held)
    return 2;
  if (stats.waiting != 0)
    return 3;
  while (count < capacity && (blocks[count] = mempool_alloc(pool)) != NULL)
    count++;
  if (count != stats.available || stats_of(pool).used != capacity)
    return 4;
  for (i = 0; i < count; i++) {
    if (mempool_free(pool, blocks[i]) != MEMPOOL_OK)
      return 5;
  }
  if (stats_of(pool).used != stats.used || mempool_free(pool, blocks[0]) != MEMPOOL_E_DOUBLE_FREE)
    return 6;
  if (mempool_alloc_bulk(pool, blocks, stats.available) != MEMPOOL_OK)
    return 7;
  if (mempool_free_bulk(pool, blocks, stats.available) != MEMPOOL_OK || mempool_check(pool) != MEMPOOL_OK)
    return 8;
  if (again) {
    int result = fill_cache(pool, stats.available) ? run_child(pool, stats.used, false) : 9;
    if (result != 0)
      return result;
    if (mempool_check(pool) != MEMPOOL_OK || stats_of(pool).used != stats.used)
      return 11;
  }
  return 0;
}

/* Forks, and returns what the child found: 0 is good. */
static int run_child(mempool *pool, size_t held, bool again)
{
  unsigned char result = 12;
  int ends[2], status = -1;
  pid_t child;
  if (pipe(ends) != 0)
    return 13;
  child = fork();
  if (child == 0) {
    result = (unsigned char)be_child(pool, held, again);
    _exit(write(ends[1], &result, 1) == 1 ? result : 14);
  }
  (void)close(ends[1]);
  if (child < 0 || read(ends[0], &result, 1) != 1)
    result = 15;
  (void)close(ends[0]);
  if (child > 0 && (waitpid(child, &status, 0) != child || (status != 0 && !any_status)) && result == 0)
    result = 16;
  return result;
}

static void fork_once(mempool *pool, size_t held, bool again)
{
  int result = run_child(pool, held, again);
  if (result != 0)
    printf("# a child ended with %d\n", result);
  CU_ASSERT_EQUAL(result, 0);
}

typedef struct churner {
  pthread_t thread;
  mempool *pool;
  size_t most;
  uint64_t random;
  atomic_uint *stop, *wrong, *running;
} churner;

static void *churn(void *arg)
{
  churner *c = arg;
  void *held[16];
  size_t count = 0;
  atomic_fetch_add(c->running, 1);
  while (atomic_load_explicit(c->stop, memory_order_relaxed) == 0) {
    if (count < c->most && (count == 0 || test_random(&c->random) % 2 == 0)) {
      held[count] = mempool_alloc(c->pool);
      if (held[count] != NULL)
        count++;
      else
        atomic_fetch_add(c->wrong, 1);
    } else if (mempool_free(c->pool, held[--count]) != MEMPOOL_OK) {
      atomic_fetch_add(c->wrong, 1);
    }
    if (test_random(&c->random) % 64 == 0)
      (void)sched_yield();
  }
  while (count != 0) {
    if (mempool_free(c->pool, held[--count]) != MEMPOOL_OK)
      atomic_fetch_add(c->wrong, 1);
  }
  return NULL;
}

#define CHURNERS 3

typedef struct family {
  mempool *pool;
  size_t held, forks;
} family;

static void *fork_often(void *arg)
{
  family *f = arg;
  size_t i;
  for (i = 0; i < f->forks; i++) {
    /* The forking thread's own cache holds something as well. */
    (void)mempool_free(f->pool, mempool_alloc(f->pool));
    fork_once(f->pool, f->held, i % 5 == 0);
  }
  return NULL;
}

static void fork_while_churning(const shape *s, size_t forks, bool elsewhere)
{
  churner churners[CHURNERS];
  atomic_uint stop = 0, wrong = 0, running = 0;
  family f = { make(BLOCK_SIZE, s->capacity, s->cache_blocks), 0, forks };
  pthread_t thread;
  size_t i, most = (s->capacity - 1) / CHURNERS;
  if (most > 16)
    most = 16;
  f.held = most * CHURNERS;
  for (i = 0; i < CHURNERS; i++) {
    churners[i] = (churner){ .pool = f.pool, .most = most, .stop = &stop, .wrong = &wrong, .running = &running };
    churners[i].random = seed + i;
    start(&churners[i].thread, churn, &churners[i]);
  }
  while (atomic_load(&running) != CHURNERS)
    (void)sched_yield();
  if (elsewhere) {
    start(&thread, fork_often, &f);
    (void)pthread_join(thread, NULL);
  } else {
    (void)fork_often(&f);
  }
  atomic_store(&stop, 1);
  for (i = 0; i < CHURNERS; i++)
    (void)pthread_join(churners[i].thread, NULL);
  CU_ASSERT_EQUAL(atomic_load(&wrong), 0);
  CU_ASSERT_EQUAL(stats_of(f.pool).used, 0);
  CU_ASSERT(all_can_be_taken(f.pool, false));
  mempool_destroy(f.pool);
}

static const shape forked[] = { { 8, 4 }, { 64, 0 }, { 256, 32 }, { 2048, 0 } };

static void test_fork_threads_churn_child_finds_all(void)
{
  size_t i, forks = scaled(24, 8);
  if (skipped_without_fork())
    return;
  for (i = 0; i < COUNT_OF(forked); i++)
    fork_while_churning(&forked[i], forks, false);
  printf("# %zu forks\n", forks * COUNT_OF(forked));
}

static void test_fork_not_from_main_child_finds_all(void)
{
  size_t i, forks = scaled(20, 10);
  if (skipped_without_fork())
    return;
  any_status = getenv("TEST_SLOW_TOOL") != NULL;
  for (i = 0; i < COUNT_OF(forked); i++)
    fork_while_churning(&forked[i], forks, true);
  any_status = false;
  printf("# %zu forks\n", forks * COUNT_OF(forked));
}

/* With threads at rest the child knows to the block what it has. */
static void test_fork_caches_filled_child_takes_each_free_block(void)
{
  size_t s, i;
  if (skipped_without_fork())
    return;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    idler idlers[3];
    atomic_uint ready = 0, stop = 0;
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    void *held[2];
    for (i = 0; i < COUNT_OF(idlers); i++) {
      idlers[i] = (idler){ .pool = pool, .share = 2, .ready = &ready, .stop = &stop, .spins = true };
      start(&idlers[i].thread, cache_and_idle, &idlers[i]);
    }
    while (atomic_load(&ready) != COUNT_OF(idlers))
      (void)sched_yield();
    take(pool, held, 2);
    fork_once(pool, 2, true);
    CU_ASSERT_EQUAL(stats_of(pool).used, 2);
    atomic_store(&stop, 1);
    for (i = 0; i < COUNT_OF(idlers); i++)
      (void)pthread_join(idlers[i].thread, NULL);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, held, 2), MEMPOOL_OK);
    CU_ASSERT(all_can_be_taken(pool, true));
    mempool_destroy(pool);
  }
}

static void test_fork_thread_waits_child_has_no_waiter(void)
{
  size_t s, i;
  if (skipped_without_fork())
    return;
  for (s = 0; s + 1 < COUNT_OF(shapes); s++) {
    mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
    void *blocks[MOST_CAPACITY];
    waiting_thread w[2];
    int status = -1;
    pid_t child;
    take(pool, blocks, shapes[s].capacity);
    for (i = 0; i < COUNT_OF(w); i++)
      start_waiting(&w[i], pool, -1, i + 1);
    child = fork();
    if (child == 0) {
      /* A freed block is free, and not given to somebody who isn't there. */
      if (mempool_free(pool, blocks[0]) != MEMPOOL_OK || mempool_alloc(pool) != blocks[0])
        _exit(20);
      if (mempool_free_bulk(pool, blocks, shapes[s].capacity) != MEMPOOL_OK)
        _exit(21);
      _exit(be_child(pool, 0, true));
    }
    CU_ASSERT_FATAL(child > 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(stats_of(pool).waiting, COUNT_OF(w));
    for (i = 0; i < COUNT_OF(w); i++) {
      CU_ASSERT_EQUAL(mempool_free(pool, blocks[i]), MEMPOOL_OK);
      (void)pthread_join(w[i].thread, NULL);
      CU_ASSERT_EQUAL(w[i].status, MEMPOOL_OK);
      CU_ASSERT_PTR_EQUAL(w[i].block, blocks[i]);
    }
    mempool_destroy(pool);
  }
}

/* ---- Misuse ---- */

static void test_free_twice_caches_on_refused(void)
{
  static const size_t others[] = { 0, 1, 2, 3, 5, 8, 31, 32, 33, 100, 299, 300 };
  size_t s, o, i;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    for (o = 0; o < COUNT_OF(others); o++) {
      mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
      uint64_t random = seed + o;
      void *held[4], *block, *kept[4];
      size_t count = 0, kept_count = 0;
      CU_ASSERT(fill_cache(pool, shapes[s].capacity));
      block = mempool_alloc(pool);
      CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
      /* Operations that leave the block free in the end: if it was handed out, it is put aside and freed. */
      for (i = 0; i < others[o]; i++) {
        if (count < COUNT_OF(held) && (count == 0 || test_random(&random) % 2 == 0)) {
          held[count++] = mempool_alloc(pool);
        } else {
          CU_ASSERT_EQUAL(mempool_free(pool, held[--count]), MEMPOOL_OK);
        }
      }
      for (i = 0; i < count; i++) {
        if (held[i] == block) {
          CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
        } else {
          kept[kept_count++] = held[i];
        }
      }
      {
        snapshot before = snapshot_of(pool);
        CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
        CU_ASSERT_EQUAL(mempool_free(pool, &before), MEMPOOL_E_FOREIGN_BLOCK);
        CU_ASSERT_EQUAL(mempool_free(pool, offset_by(block, 1)), MEMPOOL_E_FOREIGN_BLOCK);
        CU_ASSERT_EQUAL(mempool_free(pool, offset_by(block, -16)), MEMPOOL_E_FOREIGN_BLOCK);
        CU_ASSERT_EQUAL(mempool_free(pool, offset_by(mempool_block_at(pool, 0), -BLOCK_SIZE)), MEMPOOL_E_FOREIGN_BLOCK);
        CU_ASSERT_EQUAL(mempool_free(pool, offset_by(mempool_block_at(pool, (uint32_t)shapes[s].capacity - 1), BLOCK_SIZE)),
                        MEMPOOL_E_FOREIGN_BLOCK);
        CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
        CU_ASSERT(unchanged_but(pool, &before, 6, 0));
      }
      CU_ASSERT_EQUAL(mempool_free_bulk(pool, kept, kept_count), MEMPOOL_OK);
      CU_ASSERT(all_can_be_taken(pool, false));
      mempool_destroy(pool);
    }
  }
}

static void test_free_never_handed_out_caches_on_refused(void)
{
  size_t s;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    mempool_options options = MEMPOOL_OPTIONS_INIT;
    uint32_t last = (uint32_t)shapes[s].capacity - 1;
    unsigned char *memory;
    mempool *pool = NULL;
    size_t size, fill;
    options.cache_blocks = shapes[s].cache_blocks;
    size = mempool_required_size(BLOCK_SIZE, shapes[s].capacity, &options);
    memory = malloc(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    /* Whatever the tables held before; one of the fillings looks like a live block's entry. */
    for (fill = 0; fill < 3; fill++) {
      snapshot before;
      memset(memory, fill == 0 ? 0xFF : 0, size);
      for (size_t i = 0; fill == 2 && i + 4 <= size; i += 4)
        memcpy(memory + i, &(uint32_t){ UINT32_MAX - 1 }, 4);
      CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, size, BLOCK_SIZE, shapes[s].capacity, &options), MEMPOOL_OK);
      CU_ASSERT(fill_cache(pool, 1));
      before = snapshot_of(pool);
      CU_ASSERT_EQUAL(mempool_free(pool, mempool_block_at(pool, last)), MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT_EQUAL(mempool_free(pool, mempool_block_at(pool, last - 1)), MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT(unchanged_but(pool, &before, 2, 0));
      CU_ASSERT(all_can_be_taken(pool, false));
      mempool_destroy(pool);
    }
    free(memory);
  }
}

typedef struct offender {
  mempool *pool;
  void *block;
  atomic_uint turn;
  mempool_status first, second;
} offender;

/* Frees the block into its own cache, where it stays while the other thread tries. */
static void *free_first(void *arg)
{
  offender *o = arg;
  bool filled = fill_cache(o->pool, 2);
  o->first = filled ? mempool_free(o->pool, o->block) : MEMPOOL_E_EXHAUSTED;
  atomic_store(&o->turn, 1);
  while (atomic_load(&o->turn) != 2)
    (void)sched_yield();
  o->second = mempool_free(o->pool, o->block);
  return NULL;
}

static void test_free_in_others_cache_refused(void)
{
  size_t s, round;
  for (s = 0; s < COUNT_OF(shapes); s++) {
    for (round = 0; round < 4; round++) {
      mempool *pool = make(BLOCK_SIZE, shapes[s].capacity, shapes[s].cache_blocks);
      offender o = { .pool = pool };
      pthread_t thread;
      snapshot before;
      CU_ASSERT(fill_cache(pool, 4));
      /* In some rounds it is the block that this thread took last. */
      o.block = mempool_alloc(pool);
      if (round % 2 != 0)
        CU_ASSERT(fill_cache(pool, 2));
      start(&thread, free_first, &o);
      while (atomic_load(&o.turn) != 1)
        (void)sched_yield();
      CU_ASSERT_EQUAL(o.first, MEMPOOL_OK);
      before.stats = stats_of(pool);
      CU_ASSERT_EQUAL(mempool_free(pool, o.block), MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT_EQUAL(mempool_free_bulk(pool, &o.block, 1), MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT_EQUAL(stats_of(pool).used, before.stats.used);
      CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 2);
      atomic_store(&o.turn, 2);
      (void)pthread_join(thread, NULL);
      CU_ASSERT_EQUAL(o.second, MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT_EQUAL(mempool_free(pool, o.block), MEMPOOL_E_DOUBLE_FREE);
      CU_ASSERT_EQUAL(stats_of(pool).refused_frees, 4);
      CU_ASSERT_EQUAL(stats_of(pool).used, 0);
      CU_ASSERT(all_can_be_taken(pool, false));
      mempool_destroy(pool);
    }
  }
}

static void *take_and_give_once(void *pool)
{
  (void)mempool_free(pool, mempool_alloc(pool));
  return NULL;
}

/* After each, an ended thread's blocks come back to those that are left. */
static void test_destroy_in_any_order_others_whole(void)
{
  enum { POOLS = 4, ORDERS = 24 };
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  unsigned order;
  options.cache_blocks = 4;
  for (order = 0; order < ORDERS; order++) {
    mempool *pools[POOLS];
    unsigned left, rest = order;
    for (left = 0; left < POOLS; left++)
      CU_ASSERT_EQUAL_FATAL(mempool_create(&pools[left], 64, 100, &options), MEMPOOL_OK);
    for (left = POOLS; left > 0; left--) {
      unsigned i, chosen = rest % left;
      rest /= left;
      mempool_destroy(pools[chosen]);
      pools[chosen] = pools[left - 1];
      for (i = 0; i + 1 < left; i++) {
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, take_and_give_once, pools[i]), 0);
        (void)pthread_join(thread, NULL);
        CU_ASSERT_EQUAL(stats_of(pools[i]).available, 100);
        CU_ASSERT_EQUAL(mempool_check(pools[i]), MEMPOOL_OK);
      }
    }
  }
}

/* Memory that was put to another use without mempool_destroy() is none of the library's business any more. */
static void test_init_over_abandoned_pools_ends_of_threads_and_forks_go_on(void)
{
  static unsigned char memory[3][65536];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  int round, i;
  options.cache_blocks = 4;
  for (round = 0; round < 4; round++) {
    mempool *pools[3];
    pthread_t thread;
    pid_t child;
    int status;
    for (i = 0; i < 3; i++)
      CU_ASSERT_EQUAL_FATAL(mempool_init(&pools[i], memory[i], sizeof(memory[i]), 64, 100, &options), MEMPOOL_OK);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, take_and_give_once, pools[1]), 0);
    (void)pthread_join(thread, NULL);
    child = fork();
    if (child == 0)
      _exit(mempool_alloc(pools[2]) != NULL ? 0 : 1);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    if (round == 2)
      memset(memory[round % 3], 0xA5, sizeof(memory[0]));
    if (round == 3)
      mempool_destroy(pools[1]);
  }
  memset(memory, 0x5A, sizeof(memory));
  for (i = 0; i < 2; i++) {
    mempool *pool;
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, 64, 100, &options), MEMPOOL_OK);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, take_and_give_once, pool), 0);
    (void)pthread_join(thread, NULL);
    mempool_destroy(pool);
  }
  CU_ASSERT(all_bytes(memory, sizeof(memory), 0x5A));
}

/* Others that were lost with it end in any order as well, though nothing finds them but each other. */
static void test_destroy_behind_abandoned_pool_any_order_ok(void)
{
  enum { OTHERS = 3 };
  static unsigned char memory[1 << 15];
  int round;
  for (round = 0; round < 6; round++) {
    mempool *others[OTHERS], *abandoned, *last;
    pthread_t thread;
    int i, first = round % OTHERS, second = (first + 1 + round / OTHERS) % OTHERS;
    for (i = 0; i < OTHERS; i++)
      CU_ASSERT_EQUAL_FATAL(mempool_create(&others[i], 64, 100, NULL), MEMPOOL_OK);
    CU_ASSERT_EQUAL_FATAL(mempool_init(&abandoned, memory, sizeof(memory), 64, 100, NULL), MEMPOOL_OK);
    CU_ASSERT_EQUAL_FATAL(mempool_create(&last, 64, 100, NULL), MEMPOOL_OK);
    memset(memory, 0x55, sizeof(memory));
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, take_and_give_once, last), 0);
    (void)pthread_join(thread, NULL);
    mempool_destroy(others[first]);
    mempool_destroy(others[second]);
    mempool_destroy(others[OTHERS - first - second]);
    CU_ASSERT_EQUAL(mempool_check(last), MEMPOOL_OK);
    mempool_destroy(last);
  }
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_init_over_abandoned_pools_ends_of_threads_and_forks_go_on),
    TEST(test_destroy_behind_abandoned_pool_any_order_ok),
    TEST(test_destroy_in_any_order_others_whole),
    TEST(test_alloc_threads_within_capacity_never_null),
    TEST(test_alloc_ten_large_blocks_eight_threads_never_null),
    TEST(test_alloc_all_others_blocked_in_read_all_taken),
    TEST(test_alloc_all_others_spin_all_taken),
    TEST(test_alloc_threads_come_and_go_rest_taken),
    TEST(test_alloc_one_thread_freed_last_first),
    TEST(test_get_stats_caches_filled_exact),
    TEST(test_get_stats_one_thread_exact_at_each_step),
    TEST(test_thread_end_cached_blocks_come_back),
    TEST(test_alloc_more_threads_than_caches_all_work),
    TEST(test_thread_end_users_destructors_can_use_pool),
    TEST(test_destroy_init_same_memory_others_cached_sound),
    TEST(test_create_thousand_pools_four_threads_sound),
    TEST(test_alloc_wait_caches_on_served_in_order),
    TEST(test_alloc_wait_block_in_others_cache_found),
    TEST(test_alloc_wait_timed_out_leaves_no_trace),
    TEST(test_close_caches_filled_nothing_handed_out),
    TEST(test_close_thread_waits_comes_back),
    TEST(test_fork_threads_churn_child_finds_all),
    TEST(test_fork_not_from_main_child_finds_all),
    TEST(test_fork_caches_filled_child_takes_each_free_block),
    TEST(test_fork_thread_waits_child_has_no_waiter),
    TEST(test_free_twice_caches_on_refused),
    TEST(test_free_never_handed_out_caches_on_refused),
    TEST(test_free_in_others_cache_refused),
  };
  seed = test_seed();
  return RUN_TESTS(tests);
}
