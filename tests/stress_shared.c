/* SPDX-License-Identifier: MIT */
/*
 * Processes, threads and signal handlers that take and free the blocks of one
 * shared pool at random.  Beside each block stands who has it, so that a block
 * with two owners is seen at once.  TEST_ROUNDS asks for longer runs.
 */
#include "peers.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_WORKERS 4
#define MOST_HELD 6
#define MOST_CAPACITY (MOST_WORKERS * MOST_HELD)
#define BLOCK_SIZE 80
#define SLOTS 8

static uint64_t seed;

typedef struct arena {
  int fd;
  size_t bytes, steps, workers;
  void *memory;
  mempool *own; /* the parent's */
  atomic_uint holder[MOST_CAPACITY];
  atomic_uint sum[MOST_CAPACITY]; /* of what its holder wrote into it */
  atomic_uint slots[SLOTS];       /* index + 1 of blocks on their way to another process */
  atomic_long budget;             /* blocks that they may yet take together */
  atomic_uint next, arrived, finished;
} arena;

typedef struct worker {
  arena *a;
  mempool *pool;
  unsigned id;
  uint64_t random;
  void *held[MOST_HELD];
  size_t count;
} worker;

static arena *open_arena(size_t capacity, size_t steps, uint32_t flags)
{
  mempool_options options = shared_options(flags);
  arena *a = map_shared(sizeof(*a));
  a->bytes = mempool_required_size(BLOCK_SIZE, capacity, &options);
  a->fd = open_memory(a->bytes);
  a->memory = map_file(a->fd, a->bytes);
  a->own = make_shared(a->memory, a->bytes, BLOCK_SIZE, capacity, flags);
  a->steps = steps;
  a->workers = MOST_WORKERS;
  atomic_store(&a->budget, (long)capacity);
  return a;
}

static void close_arena(arena *a)
{
  CU_ASSERT_EQUAL(mempool_check(a->own), MEMPOOL_OK);
  mempool_destroy(a->own);
  unmap_shared(a->memory, a->bytes);
  (void)close(a->fd);
  unmap_shared(a, sizeof(*a));
}

/* Each has a view of its own: the same block is at another address for each. */
static int join_arena(worker *w, arena *a)
{
  memset(w, 0, sizeof(*w));
  w->a = a;
  w->id = atomic_fetch_add(&a->next, 1) + 1;
  w->random = seed + w->id;
  REQUIRE(mempool_attach(&w->pool, map_file(a->fd, a->bytes), a->bytes) == MEMPOOL_OK);
  atomic_fetch_add(&a->arrived, 1);
  REQUIRE(reached(&a->arrived, (unsigned)a->workers));
  return 0;
}

static int claim(worker *w, void *block)
{
  uint32_t index = MOST_CAPACITY;
  unsigned nobody = 0, value = (unsigned)test_random(&w->random) & 0xff;
  REQUIRE(block != NULL);
  REQUIRE(mempool_block_index(w->pool, block, &index) == MEMPOOL_OK && index < MOST_CAPACITY);
  REQUIRE(atomic_compare_exchange_strong(&w->a->holder[index], &nobody, w->id));
  memset(block, (int)value, BLOCK_SIZE);
  atomic_store_explicit(&w->a->sum[index], value, memory_order_relaxed);
  w->held[w->count++] = block;
  return 0;
}

static int release(worker *w, void *block, unsigned from)
{
  uint32_t index = MOST_CAPACITY;
  REQUIRE(mempool_block_index(w->pool, block, &index) == MEMPOOL_OK && index < MOST_CAPACITY);
  REQUIRE(all_bytes(block, BLOCK_SIZE, (unsigned char)atomic_load_explicit(&w->a->sum[index], memory_order_relaxed)));
  REQUIRE(atomic_compare_exchange_strong(&w->a->holder[index], &from, 0));
  REQUIRE(mempool_free(w->pool, block) == MEMPOOL_OK);
  return 0;
}

static int release_last(worker *w)
{
  return release(w, w->held[--w->count], w->id);
}

static int leave_arena(worker *w)
{
  while (w->count != 0)
    REQUIRE(release_last(w) == 0);
  mempool_destroy(w->pool);
  return 0;
}

static void run_workers(arena *a, int (*work)(void *))
{
  pid_t children[MOST_WORKERS];
  size_t i;
  for (i = 0; i < a->workers; i++)
    children[i] = start_child(work, a);
  for (i = 0; i < a->workers; i++)
    CU_ASSERT(child_was_right(children[i]));
  CU_ASSERT_EQUAL(stats_of(a->own).used, 0);
  CU_ASSERT_EQUAL(stats_of(a->own).failed_allocs, 0);
  CU_ASSERT(rest_is_whole(a->own));
}

/* ---- Exactness ---- */

/* Nobody takes more than its share, so there is always a block. */
static int work_within_quota(void *arg)
{
  worker w;
  size_t i, quota = mempool_capacity(((arena *)arg)->own) / MOST_WORKERS;
  REQUIRE(join_arena(&w, arg) == 0);
  for (i = 0; i < w.a->steps; i++) {
    if (w.count < quota && (w.count == 0 || test_random(&w.random) % 2 == 0))
      REQUIRE(claim(&w, mempool_alloc(w.pool)) == 0);
    else
      REQUIRE(release_last(&w) == 0);
  }
  return leave_arena(&w);
}

static void test_alloc_processes_within_quota_never_null(void)
{
  size_t quota;
  for (quota = 1; quota <= MOST_HELD; quota += quota) {
    arena *a = open_arena(MOST_WORKERS * quota, rounds(20000, 50), 0);
    run_workers(a, work_within_quota);
    close_arena(a);
  }
}

/* The same in bulk: all or nothing is never nothing. */
static int work_in_bulk(void *arg)
{
  worker w;
  size_t i;
  REQUIRE(join_arena(&w, arg) == 0);
  for (i = 0; i < w.a->steps; i++) {
    void *blocks[MOST_HELD];
    size_t k, count = 1 + test_random(&w.random) % MOST_HELD;
    REQUIRE(mempool_alloc_bulk(w.pool, blocks, count) == MEMPOOL_OK);
    for (k = 0; k < count; k++)
      REQUIRE(claim(&w, blocks[k]) == 0);
    while (w.count != 0)
      REQUIRE(release_last(&w) == 0);
  }
  return leave_arena(&w);
}

static void test_alloc_bulk_processes_within_quota_never_exhausted(void)
{
  arena *a = open_arena(MOST_CAPACITY, rounds(5000, 50), 0);
  run_workers(a, work_in_bulk);
  close_arena(a);
}

/* Within a budget for all of them: blocks that one frees, another finds. */
static int work_within_budget(void *arg)
{
  worker w;
  size_t i;
  REQUIRE(join_arena(&w, arg) == 0);
  for (i = 0; i < w.a->steps; i++) {
    if (w.count < MOST_HELD && test_random(&w.random) % 2 == 0) {
      if (atomic_fetch_sub(&w.a->budget, 1) > 0) {
        REQUIRE(claim(&w, mempool_alloc(w.pool)) == 0);
        continue;
      }
      atomic_fetch_add(&w.a->budget, 1);
      (void)sched_yield();
    } else if (w.count != 0) {
      REQUIRE(release_last(&w) == 0);
      atomic_fetch_add(&w.a->budget, 1);
    }
  }
  return leave_arena(&w);
}

static void test_alloc_processes_within_budget_never_null(void)
{
  static const size_t capacities[] = { 1, 2, 3, 5, 8, 13, 21 };
  size_t i;
  for (i = 0; i < COUNT_OF(capacities); i++) {
    arena *a = open_arena(capacities[i], rounds(10000, 50), 0);
    run_workers(a, work_within_budget);
    close_arena(a);
  }
}

/* ---- From process to process ---- */

/* What one takes, another frees; what is written by the one is read by the other. */
static int hand_over(void *arg)
{
  worker w;
  size_t i;
  REQUIRE(join_arena(&w, arg) == 0);
  for (i = 0; i < w.a->steps; i++) {
    atomic_uint *slot = &w.a->slots[test_random(&w.random) % SLOTS];
    if (w.id % 2 == 0) {
      uint32_t index = 0;
      unsigned empty = 0;
      if (w.count == 0) {
        void *block = mempool_alloc(w.pool);
        if (block == NULL) {
          (void)sched_yield();
          continue;
        }
        REQUIRE(claim(&w, block) == 0);
      }
      REQUIRE(mempool_block_index(w.pool, w.held[0], &index) == MEMPOOL_OK);
      atomic_store(&w.a->holder[index], 1000);
      if (atomic_compare_exchange_strong(slot, &empty, index + 1))
        w.count = 0;
      else
        atomic_store(&w.a->holder[index], w.id);
    } else {
      unsigned index = atomic_exchange(slot, 0);
      if (index != 0)
        REQUIRE(release(&w, mempool_block_at(w.pool, index - 1), 1000) == 0);
    }
  }
  atomic_fetch_add(&w.a->finished, 1);
  return leave_arena(&w);
}

static void test_free_in_other_process_than_took_nothing_lost(void)
{
  static const size_t capacities[] = { 1, 3, 12 };
  size_t c, i;
  for (c = 0; c < COUNT_OF(capacities); c++) {
    arena *a = open_arena(capacities[c], rounds(20000, 50), MEMPOOL_COUNTERS);
    pid_t children[MOST_WORKERS];
    mempool_stats stats;
    for (i = 0; i < MOST_WORKERS; i++)
      children[i] = start_child(hand_over, a);
    for (i = 0; i < MOST_WORKERS; i++)
      CU_ASSERT(child_was_right(children[i]));
    for (i = 0; i < SLOTS; i++) {
      unsigned index = atomic_load(&a->slots[i]);
      if (index != 0)
        CU_ASSERT_EQUAL(mempool_free(a->own, mempool_block_at(a->own, index - 1)), MEMPOOL_OK);
    }
    stats = stats_of(a->own);
    CU_ASSERT_EQUAL(stats.used, 0);
    CU_ASSERT_EQUAL(stats.alloc_count, stats.free_count);
    CU_ASSERT(rest_is_whole(a->own));
    close_arena(a);
  }
}

/* ---- Two free one block ---- */

typedef struct race {
  ground g;
  mempool *own;
  atomic_uint index;         /* of the block in this round */
  atomic_uint round, done;   /* which may be run, and how many racers have */
  size_t count;
  bool in_bulk;
  atomic_uint winners, losers;
} race;

static void free_once(race *r, mempool *pool)
{
  void *block = mempool_block_at(pool, atomic_load(&r->index));
  mempool_status status = r->in_bulk ? mempool_free_bulk(pool, &block, 1) : mempool_free(pool, block);
  atomic_fetch_add(status == MEMPOOL_OK ? &r->winners : &r->losers, status == MEMPOOL_OK || status == MEMPOOL_E_DOUBLE_FREE);
  atomic_fetch_add(&r->done, 1);
}

static int race_as_child(void *arg)
{
  race *r = arg;
  mempool *pool = NULL;
  unsigned i;
  REQUIRE(mempool_attach(&pool, r->g.memory, r->g.bytes) == MEMPOOL_OK);
  atomic_fetch_add(&r->done, 1);
  for (i = 1; i <= r->count; i++) {
    REQUIRE(reached(&r->round, i));
    free_once(r, pool);
  }
  mempool_destroy(pool);
  return 0;
}

/* Returns how many races had another outcome than one winner and one double free. */
static size_t run_races(race *r)
{
  size_t unfair = 0;
  unsigned i;
  CU_ASSERT_FATAL(reached(&r->done, 1));
  for (i = 1; i <= r->count; i++) {
    uint32_t index = 0;
    if (mempool_block_index(r->own, mempool_alloc(r->own), &index) != MEMPOOL_OK)
      unfair++;
    atomic_store(&r->index, index);
    atomic_store(&r->winners, 0);
    atomic_store(&r->losers, 0);
    atomic_store(&r->done, 0);
    atomic_store(&r->round, i);
    free_once(r, r->own);
    if (!reached(&r->done, 2))
      return SIZE_MAX;
    unfair += atomic_load(&r->winners) != 1 || atomic_load(&r->losers) != 1;
  }
  return unfair;
}

static void test_free_two_processes_race_one_winner(void)
{
  size_t capacity, total = 0;
  for (capacity = 1; capacity <= 4; capacity++) {
    race *r = map_shared(sizeof(*r));
    pid_t child;
    r->own = lay_out(&r->g, BLOCK_SIZE, capacity, 0);
    r->count = rounds(25000, 100);
    r->in_bulk = capacity == 3;
    child = start_child(race_as_child, r);
    CU_ASSERT_EQUAL(run_races(r), 0);
    CU_ASSERT(child_was_right(child));
    CU_ASSERT_EQUAL(stats_of(r->own).used, 0);
    CU_ASSERT_EQUAL(stats_of(r->own).refused_frees, r->count);
    CU_ASSERT(rest_is_whole(r->own));
    total += r->count;
    clear_away(&r->g);
    unmap_shared(r, sizeof(*r));
  }
  printf("# %zu races\n", total);
}

/* ---- Signal handlers ---- */

typedef struct interrupted {
  ground g;
  mempool *pool;
  atomic_uint holder[MOST_CAPACITY];
  atomic_uint handled, wrong;
  atomic_bool over;
  pthread_t thread;
  void *kept;       /* by the handler, from one signal to the next */
  size_t allocs;
} interrupted;

static interrupted *in; /* what the handler finds */

static void stamp(void *block, unsigned from, unsigned to)
{
  uint32_t index = MOST_CAPACITY;
  if (mempool_block_index(in->pool, block, &index) != MEMPOOL_OK || index >= MOST_CAPACITY ||
      !atomic_compare_exchange_strong(&in->holder[index], &from, to))
    atomic_fetch_add(&in->wrong, 1);
}

static void give(void *block, unsigned who)
{
  stamp(block, who, 0);
  if (mempool_free(in->pool, block) != MEMPOOL_OK)
    atomic_fetch_add(&in->wrong, 1);
}

/* Takes one and gives one; now and then keeps it until the next signal. */
static void on_signal(int number)
{
  unsigned handled = atomic_fetch_add(&in->handled, 1);
  void *block = mempool_alloc(in->pool);
  (void)number;
  if (block != NULL)
    stamp(block, 0, 2);
  if (in->kept != NULL)
    give(in->kept, 2);
  in->kept = block;
  if (handled % 3 == 0 && block != NULL) {
    give(block, 2);
    in->kept = NULL;
  }
}

static void *work_interrupted(void *arg)
{
  void *held[4];
  size_t count = 0;
  uint64_t random = seed;
  (void)arg;
  while (!atomic_load_explicit(&in->over, memory_order_relaxed)) {
    if (count < COUNT_OF(held) && test_random(&random) % 2 == 0) {
      void *block = mempool_alloc(in->pool);
      if (block == NULL)
        continue;
      stamp(block, 0, 1);
      held[count++] = block;
      in->allocs++;
    } else if (count != 0) {
      give(held[--count], 1);
    }
  }
  while (count != 0)
    give(held[--count], 1);
  return NULL;
}

/* One signal at a time, each at whatever instruction the thread happens to be. */
static void interrupt_many_times(size_t count)
{
  size_t i;
  for (i = 0; i < count && atomic_load(&in->wrong) == 0; i++) {
    CU_ASSERT_EQUAL_FATAL(pthread_kill(in->thread, SIGUSR1), 0);
    if (!reached(&in->handled, (unsigned)i + 1))
      break;
  }
}

static void run_interrupted(size_t capacity, size_t count)
{
  struct sigaction action, before;
  memset(&action, 0, sizeof(action));
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  in = map_shared(sizeof(*in));
  in->pool = lay_out(&in->g, BLOCK_SIZE, capacity, 0);
  CU_ASSERT_EQUAL_FATAL(sigaction(SIGUSR1, &action, &before), 0);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&in->thread, NULL, work_interrupted, NULL), 0);
  interrupt_many_times(count);
  atomic_store(&in->over, true);
  (void)pthread_join(in->thread, NULL);
  (void)sigaction(SIGUSR1, &before, NULL);
  CU_ASSERT_EQUAL(atomic_load(&in->wrong), 0);
  CU_ASSERT_EQUAL(atomic_load(&in->handled), count);
  if (in->kept != NULL)
    give(in->kept, 2);
  CU_ASSERT_EQUAL(stats_of(in->pool).used, 0);
  CU_ASSERT(rest_is_whole(in->pool));
  printf("# capacity %zu: %zu signals in %zu allocations\n", capacity, count, in->allocs);
  clear_away(&in->g);
  unmap_shared(in, sizeof(*in));
}

static void test_alloc_free_in_signal_handler_nothing_lost(void)
{
  run_interrupted(8, rounds(6000, 30));
  run_interrupted(2, rounds(3000, 30));
  run_interrupted(1, rounds(3000, 30));
}

/* ---- Threads ---- */

typedef struct hand {
  pthread_t thread;
  worker w;
  arena *a;
  mempool *pool;
  int wrong;
} hand;

static int work_on_thread(worker *w)
{
  size_t i;
  for (i = 0; i < w->a->steps; i++) {
    if (w->count < MOST_HELD && test_random(&w->random) % 2 == 0)
      REQUIRE(claim(w, mempool_alloc(w->pool)) == 0);
    else if (w->count != 0)
      REQUIRE(release_last(w) == 0);
  }
  while (w->count != 0)
    REQUIRE(release_last(w) == 0);
  return 0;
}

static void *run_hand(void *arg)
{
  hand *h = arg;
  memset(&h->w, 0, sizeof(h->w));
  h->w.a = h->a;
  h->w.pool = h->pool;
  h->w.id = atomic_fetch_add(&h->a->next, 1) + 1;
  h->w.random = seed + h->w.id;
  h->wrong = work_on_thread(&h->w);
  return NULL;
}

/* Threads of one process, on one handle or two; ThreadSanitizer sees whether blocks change hands in order. */
static void test_alloc_threads_on_one_handle_never_null(void)
{
  static hand hands[MOST_WORKERS];
  size_t handles, i;
  for (handles = 1; handles <= 2; handles++) {
    arena *a = open_arena(MOST_CAPACITY, rounds(20000, 50), 0);
    mempool *second = attach(a->memory, a->bytes);
    for (i = 0; i < MOST_WORKERS; i++) {
      hands[i].a = a;
      hands[i].pool = i % handles == 0 ? a->own : second;
      CU_ASSERT_EQUAL_FATAL(pthread_create(&hands[i].thread, NULL, run_hand, &hands[i]), 0);
    }
    for (i = 0; i < MOST_WORKERS; i++) {
      (void)pthread_join(hands[i].thread, NULL);
      CU_ASSERT_EQUAL(hands[i].wrong, 0);
    }
    CU_ASSERT_EQUAL(stats_of(a->own).used, 0);
    CU_ASSERT_EQUAL(stats_of(a->own).failed_allocs, 0);
    mempool_destroy(second);
    CU_ASSERT(rest_is_whole(a->own));
    close_arena(a);
  }
}

/* ---- Recovering while others work ---- */

static int take_some_and_die(void *arg)
{
  arena *a = arg;
  mempool *pool = NULL;
  REQUIRE(mempool_attach(&pool, a->memory, a->bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc(pool) != NULL && mempool_alloc(pool) != NULL);
  return 0;
}

static void test_recover_dead_while_others_work_never_null(void)
{
  size_t i, count = scaled(60, 10), recovered;
  arena *a = open_arena(MOST_CAPACITY, rounds(200000, 50), 0);
  pid_t workers[2];
  a->workers = 2;
  atomic_store(&a->budget, 2 * MOST_HELD); /* leaves some for those that die */
  for (i = 0; i < 2; i++)
    workers[i] = start_child(work_within_budget, a);
  for (i = 0; i < count; i++) {
    CU_ASSERT(run_child(take_some_and_die, a));
    CU_ASSERT_EQUAL(mempool_recover_dead(a->own, &recovered), MEMPOOL_OK);
    CU_ASSERT_EQUAL(recovered, 2);
    CU_ASSERT_EQUAL(mempool_check(a->own), MEMPOOL_OK);
  }
  for (i = 0; i < 2; i++)
    CU_ASSERT(child_was_right(workers[i]));
  CU_ASSERT_EQUAL(stats_of(a->own).used, 0);
  CU_ASSERT(rest_is_whole(a->own));
  close_arena(a);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_processes_within_quota_never_null),
    TEST(test_alloc_bulk_processes_within_quota_never_exhausted),
    TEST(test_alloc_processes_within_budget_never_null),
    TEST(test_free_in_other_process_than_took_nothing_lost),
    TEST(test_free_two_processes_race_one_winner),
    TEST(test_alloc_free_in_signal_handler_nothing_lost),
    TEST(test_alloc_threads_on_one_handle_never_null),
    TEST(test_recover_dead_while_others_work_never_null),
  };
  give_up_in_time();
  seed = test_seed();
  return RUN_TESTS(tests);
}
