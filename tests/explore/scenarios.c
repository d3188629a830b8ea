/* SPDX-License-Identifier: MIT */
/* explore: what the threads of the scenarios do, and the program. */
#include "caches.h"
#include "litmus.h"
#include "search.h"
#include "shared_scenarios.h"
#include "statics.h"
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- The lock alone ---- */

static struct lock the_lock;

static void up_lock(void)
{
  world_init_none();
  lock_init(&the_lock);
  search_region(&the_lock, sizeof the_lock, true);
}

/* The plain accesses are checked for races: so mutual exclusion is more than one at a time. */
static void lock_once(void)
{
  uint32_t before;
  lock_acquire(&the_lock);
  model_plain(&world->results[0], 4, true);
  before = world->results[0];
  search_yield();
  world->results[0] = before + 1;
  lock_release(&the_lock);
}

static void lock_one_time(unsigned self)
{
  (void)self;
  lock_once();
}

static void lock_twice(unsigned self)
{
  (void)self;
  lock_once();
  search_settle();
  lock_once();
}

static void locked_by_two_twice(void)
{
  expect(world->results[0] == 4 && the_lock.word == LOCK_UNLOCKED, "the lock let two in, or stays taken");
}

static void locked_by_three(void)
{
  expect(world->results[0] == 3 && the_lock.word == LOCK_UNLOCKED, "the lock let two in, or stays taken");
}

/* ---- Pools: name, capacity, cache_blocks, threads with slots, caches open, blocks left ---- */

#define POOL(name, capacity, cache_blocks, slots, open, left)  \
  static void name##_closing(void)                             \
  {                                                            \
    explore_fence = true;                                      \
    world_init(capacity, cache_blocks, slots, open, left);     \
  }                                                            \
  static void name(void)                                       \
  {                                                            \
    name##_closing();                                          \
    world_never_closed();                                      \
  }

POOL(up_locked_2, 2, 0, 0, false, 2)
POOL(up_locked_1, 1, 0, 0, false, 1)
POOL(up_shut_2, 2, 2, 2, false, 2)
POOL(up_open_2x1, 6, 2, 2, true, 2)
POOL(up_open_2x1_and_1, 6, 2, 2, true, 3)
POOL(up_open_3x1, 7, 2, 3, true, 3)
POOL(up_open_2x1_full, 6, 2, 2, true, 6)
POOL(up_open_1, 6, 2, 1, true, 1)
POOL(up_new, 6, 2, 0, false, 6)
POOL(up_few_slots, 8, 1, 2, true, 6)

/* As where the system has no asymmetric fence. */
static void up_fenced(void)
{
  explore_fence = false;
  world_init(6, 2, 2, true, 2);
  world_never_closed();
}

/* ---- What threads do ---- */

static void pairs(unsigned count)
{
  for (; count > 0; count--) {
    void *block = take();
    if (block != NULL)
      give(block);
  }
}

static void three_pairs(unsigned self)
{
  (void)self;
  pairs(3);
}

static void two_pairs(unsigned self)
{
  (void)self;
  pairs(2);
}

static void one_pair(unsigned self)
{
  (void)self;
  pairs(1);
}

/* Takes all there is; a thread that does so alone gets every block that is free. */
static unsigned exhaust(unsigned most)
{
  unsigned count = 0;
  while (count < most && (world->held[search_running][count] = take()) != NULL)
    count++;
  return count;
}

static void give_all(unsigned count)
{
  while (count > 0) {
    give(world->held[search_running][--count]);
    world->held[search_running][count] = NULL;
  }
}

static void exhaust_against_pair(unsigned self)
{
  if (self == 0)
    give_all(exhaust(3));
  else
    pairs(1);
}

static void exhaust_against_two_pairs(unsigned self)
{
  if (self == 0)
    (void)exhaust(3);
  else
    pairs(2);
}

static void both_exhaust(unsigned self)
{
  (void)self;
  (void)exhaust(2);
}

static void both_exhaust_and_give(unsigned self)
{
  (void)self;
  give_all(exhaust(2));
}

static void exhaust_against_exit(unsigned self)
{
  if (self == 0) {
    (void)exhaust(3);
  } else {
    pairs(1);
    thread_exit();
    pairs(1);
  }
}

/* The slot of the one that ends goes to the one that begins. */
static void exit_against_join(unsigned self)
{
  pairs(1);
  if (self == 0)
    thread_exit();
  else
    pairs(1);
}

static void both_join(unsigned self)
{
  (void)self;
  pairs(1);
  pairs(1);
}

/* Without patience the caches are soon open again. */
static void reopen(unsigned self)
{
  give_all(exhaust(2));
  world->pool->patience = 0;
  if (self == 0)
    pairs(1);
}

static void flush_and_refill(unsigned self)
{
  world->pool->patience = 0;
  give_all(exhaust(self == 0 ? 3 : 2));
}

static void fork_against_pairs(unsigned self)
{
  if (self == 0) {
    if (fork_here()) {
      world->child = true;
      world->pool->patience = 0;
    }
    give_all(exhaust(world->child ? 6 : 2));
  } else {
    pairs(1);
  }
}

static void fork_against_exhaust(unsigned self)
{
  if (self == 0) {
    world->child = fork_here();
    pairs(1);
  } else {
    (void)exhaust(2);
  }
}

static void fork_against_exit(unsigned self)
{
  if (self == 0) {
    world->child = fork_here();
    pairs(1);
  } else {
    pairs(1);
    thread_exit();
  }
}

/* A block that one thread takes and another frees, by way of a word. */
static void hand_over(unsigned self)
{
  void *block;
  if (self == 0) {
    block = take();
    world->held[0][0] = block;
    if (block != NULL)
      disown(block);
    store_release_u32(&world->words[0], 1);
    pairs(1);
  } else {
    search_yield();
    if (load_acquire_u32(&world->words[0]) == 1 && world->held[0][0] != NULL) {
      adopt(world->held[0][0]);
      give(world->held[0][0]);
    }
    pairs(1);
  }
}

/* ---- Waiting ---- */

static void wait_and_give(bool timed)
{
  mempool_status status;
  void *block = take_waiting(timed, &status);
  if (block != NULL)
    give(block);
}

static void all_wait(unsigned self)
{
  (void)self;
  wait_and_give(false);
}

static void all_wait_timed(unsigned self)
{
  (void)self;
  wait_and_give(true);
}

static void wait_against_wait_timed(unsigned self)
{
  wait_and_give(self > 0);
}

static void wait_against_pairs(unsigned self)
{
  if (self == 0)
    wait_and_give(false);
  else
    pairs(2);
}

static void wait_timed_against_pairs(unsigned self)
{
  if (self == 0)
    wait_and_give(true);
  else
    pairs(2);
}

static void wait_timed_against_pair(unsigned self)
{
  if (self == 0)
    wait_and_give(true);
  else
    pairs(1);
}

static void wait_against_exhaust(unsigned self)
{
  if (self == 0)
    wait_and_give(false);
  else
    give_all(exhaust(2));
}

static void wait_against_close(unsigned self)
{
  if (self == 0) {
    (void)exhaust(2);
    close_pool();
  } else {
    wait_and_give(false);
  }
}

static void wait_timed_against_close(unsigned self)
{
  if (self == 0) {
    (void)exhaust(2);
    close_pool();
  } else {
    wait_and_give(true);
  }
}

static void pairs_against_close(unsigned self)
{
  if (self == 0)
    close_pool();
  else
    pairs(2);
}

/* One gives, one waits, one closes. */
static void give_wait_close(unsigned self)
{
  if (self == 0)
    pairs(1);
  else if (self == 1)
    wait_and_give(false);
  else
    close_pool();
}

static void give_wait_timed_close(unsigned self)
{
  if (self == 0)
    pairs(1);
  else if (self == 1)
    wait_and_give(true);
  else
    close_pool();
}

/* What comes back after the end stays there. */
static void give_after_close(unsigned self)
{
  if (self == 0) {
    void *block = take();
    close_pool();
    world->pool->patience = 0;
    if (block != NULL)
      give(block);
    (void)take();
  } else {
    pairs(1);
  }
}

static void bulk_against_pairs(unsigned self)
{
  world->inexact = true;
  if (self == 0)
    give_all(take_bulk(world->held[0], 2));
  else
    pairs(2);
}

#define WEAK true
#define ALL (-1)

static const struct scenario scenarios[] = {
  { "lock, 2 threads x 2", 2, up_lock, lock_twice, locked_by_two_twice, WEAK, 1, ALL, 0, NULL, true },
  { "lock, 3 threads x 1", 3, up_lock, lock_one_time, locked_by_three, WEAK, 1, ALL, 0, NULL, true },
  { "no caches, 2 x 2 pairs on 1 block", 2, up_locked_1, two_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "no caches, 3 x 1 pair on 2 blocks", 3, up_locked_2, one_pair, world_finish, WEAK, 0, ALL, 0, NULL, false },
  { "caches shut, 2 x 3 pairs on 2 blocks", 2, up_shut_2, three_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "2 x 3 pairs on 2 cached blocks", 2, up_open_2x1, three_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "3 x 1 pair on 3 cached blocks", 3, up_open_3x1, one_pair, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "2 x 1 pair on 1 cached block", 2, up_open_1, one_pair, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "3 x 1 pair on 2 cached blocks, at most 2 preemptions", 3, up_open_2x1, one_pair, world_finish, WEAK, 0, 2, 0,
    NULL, true },
  { "exhaust against a pair", 2, up_open_2x1, exhaust_against_pair, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "exhaust against 2 pairs", 2, up_open_2x1, exhaust_against_two_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "exhaust against a pair, fences of the owner's own", 2, up_fenced, exhaust_against_pair, world_finish, WEAK, 0,
    ALL, 0, NULL, true },
  { "both exhaust", 2, up_open_2x1, both_exhaust, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "both exhaust, and give back", 2, up_open_2x1_and_1, both_exhaust_and_give, world_finish, WEAK, 0, ALL, 0, NULL,
    true },
  { "exhaust against a thread's end", 2, up_open_2x1, exhaust_against_exit, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "a thread's end against a beginning", 2, up_open_1, exit_against_join, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "two threads join", 2, up_new, both_join, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "caches are opened again", 2, up_open_2x1_full, reopen, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "refill and flush", 2, up_few_slots, flush_and_refill, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "fork against a pair", 2, up_open_2x1_full, fork_against_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "fork against exhaust", 2, up_open_2x1, fork_against_exhaust, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "fork against a thread's end", 2, up_open_2x1, fork_against_exit, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "taken here, freed there", 2, up_open_2x1, hand_over, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "bulk against 2 pairs", 2, up_open_2x1, bulk_against_pairs, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "2 wait for 1 block", 2, up_locked_1, all_wait, world_finish, WEAK, 1, ALL, 0, NULL, true },
  { "2 wait for 1 block, time-outs", 2, up_locked_1, all_wait_timed, world_finish, WEAK, 1, ALL, 0, NULL, true },
  { "wait against wait with time-out", 2, up_locked_1, wait_against_wait_timed, world_finish, WEAK, 1, ALL, 0, NULL,
    true },
  { "wait against 2 pairs", 2, up_locked_1, wait_against_pairs, world_finish, WEAK, 1, ALL, 0, NULL, true },
  { "wait with time-out against 2 pairs", 2, up_locked_1, wait_timed_against_pairs, world_finish, WEAK, 1, ALL, 0,
    NULL, true },
  { "wait with time-out against a cached pair", 2, up_open_1, wait_timed_against_pair, world_finish, WEAK, 1, ALL, 0,
    NULL, true },
  { "wait against exhaust, cached", 2, up_open_2x1, wait_against_exhaust, world_finish, WEAK, 1, ALL, 0, NULL, true },
  { "wait against close", 2, up_open_2x1_closing, wait_against_close, world_finish, WEAK, 1, ALL, 0, NULL, true },
  { "wait with time-out against close", 2, up_locked_2_closing, wait_timed_against_close, world_finish, WEAK, 1, ALL, 0, NULL,
    true },
  { "2 pairs against close, cached", 2, up_open_2x1_closing, pairs_against_close, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "give after close", 2, up_open_2x1_full_closing, give_after_close, world_finish, WEAK, 0, ALL, 0, NULL, true },
  { "3 wait for 1 block, at most 1 preemption", 3, up_locked_1, all_wait, world_finish, WEAK, 1, 1, 0, NULL, true },
  { "give, wait and close", 3, up_locked_1_closing, give_wait_close, world_finish, WEAK, 0, ALL, 0, NULL, false },
  { "give, wait with time-out and close", 3, up_locked_1_closing, give_wait_timed_close, world_finish, WEAK, 0, ALL, 0, NULL,
    false },
  { "3 wait for 1 block", 3, up_locked_1, all_wait, world_finish, WEAK, 0, ALL, 0, NULL, false },
  { "3 wait for 1 block, time-outs", 3, up_locked_1, all_wait_timed, world_finish, WEAK, 0, ALL, 0, NULL, false },
  { "3 x 1 pair on 2 cached blocks", 3, up_open_2x1, one_pair, world_finish, WEAK, 0, ALL, 0, NULL, false },
  { "3 exhaust 3 cached blocks, and give back", 3, up_open_3x1, both_exhaust_and_give, world_finish, WEAK, 0, ALL,
    500000, NULL, false },
};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* Whether this is the short run, of those that are marked as quick. */
static bool quick;

/* All of them, litmus tests first. */
static const struct scenario *nth(unsigned i)
{
  if (i < litmus_count)
    return &litmus_tests[i];
  i -= litmus_count;
  return i < SCENARIOS ? &scenarios[i] : &shared_scenarios[i - SCENARIOS];
}

static unsigned all_count(void)
{
  return litmus_count + SCENARIOS + shared_count;
}

static bool is_litmus(const struct scenario *scenario)
{
  return scenario >= litmus_tests && scenario < litmus_tests + litmus_count;
}

/* With EXPLORE_ONLY in the environment, only those with that in their names. */
static bool is_wanted(const struct scenario *scenario)
{
  const char *part = getenv("EXPLORE_ONLY");
  return (!quick || is_litmus(scenario) || scenario->quick) && (part == NULL || strstr(scenario->name, part) != NULL);
}

static const struct scenario *find_scenario(const char *name)
{
  unsigned i;
  for (i = 0; i < all_count(); i++) {
    if (strcmp(nth(i)->name, name) == 0)
      return nth(i);
  }
  (void)fprintf(stderr, "explore: no scenario \"%s\"\n", name);
  exit(99);
}

/* What is to be run, in this order, and what came of it, for all the processes that do so. */
static const struct scenario *queue[100];
static unsigned queued;
static struct shares {
  unsigned next;
  unsigned failures;
  uint64_t executions;
  uint64_t pruned;
} *shares;

static const char *extent(const struct scenario *scenario, const struct result *result)
{
  if (result->complete)
    return scenario->switches < 0 ? "complete" : "complete up to the bound";
  return scenario->random > 0 ? "random" : result->failed ? "stopped" : "bounded";
}

static bool run(const struct scenario *scenario)
{
  uint64_t seed = UINT64_C(0x2545f4914f6cdd1d);
  const char *patience = getenv("EXPLORE_SECONDS");
  double seconds = patience != NULL ? atof(patience) : quick ? 6 : 30;
  struct result result = search_run(scenario, seconds, seed);
  bool ok = scenario->judge != NULL ? !result.failed && scenario->judge() : !result.failed;
  if (is_litmus(scenario) && scenario->judge == NULL)
    ok = result.failed; /* the race is to be found */
  (void)__atomic_fetch_add(&shares->executions, result.executions, __ATOMIC_RELAXED);
  (void)__atomic_fetch_add(&shares->pruned, result.pruned, __ATOMIC_RELAXED);
  if (scenario->random > 0)
    (void)printf("# seed %" PRIu64 "\n", seed);
  (void)printf("%sok - %s\n# %s, %s: %" PRIu64 " executions, %" PRIu64 " of them pruned, %" PRIu64
               " states, %.1f s\n",
               ok ? "" : "not ", scenario->name, scenario->weak ? "views" : "SC", extent(scenario, &result),
               result.executions, result.pruned, result.states, result.seconds);
  (void)fflush(stdout);
  return ok;
}

/* Runs what nobody has begun yet, until there is nothing left; with `first`, until something fails. */
static void work(bool first)
{
  unsigned i;
  while ((i = __atomic_fetch_add(&shares->next, 1, __ATOMIC_RELAXED)) < queued) {
    if (!run(queue[i]))
      (void)__atomic_fetch_add(&shares->failures, 1, __ATOMIC_RELAXED);
    if (first && shares->failures > 0)
      return;
  }
}

static void share_work(bool first)
{
  long workers = first ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
  int status;
  while (--workers > 0) {
    (void)fflush(stdout);
    if (fork() == 0) {
      work(first);
      _exit(0);
    }
  }
  work(first);
  while (wait(&status) > 0) {
    if (status != 0)
      shares->failures++;
  }
}

static void enqueue_all(void)
{
  unsigned i;
  for (i = 0; i < all_count(); i++) {
    if (!is_wanted(nth(i)))
      continue;
    if (queued == sizeof queue / sizeof queue[0])
      search_fail("the explorer is too small: queue");
    queue[queued++] = nth(i);
  }
}

static double now(void)
{
  struct timespec time;
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int usage(void)
{
  (void)fputs("usage: explore [--quick | --first | --only CASE | --list | --replay CASE CHOICES]\n", stderr);
  return 99;
}

int main(int argc, char **argv)
{
  bool first = argc == 2 && strcmp(argv[1], "--first") == 0;
  double begin = now();
  unsigned i;
  quick = first || (argc == 2 && strcmp(argv[1], "--quick") == 0);
  shares = mmap(NULL, sizeof *shares, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shares == MAP_FAILED)
    return 99;
  if (argc == 4 && strcmp(argv[1], "--replay") == 0)
    return search_replay(find_scenario(argv[2]), argv[3]) ? 0 : 1;
  if (argc == 3 && strcmp(argv[1], "--only") == 0)
    return run(find_scenario(argv[2])) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (i = litmus_count; i < all_count(); i++)
      (void)printf("%s\n", nth(i)->name);
    return 0;
  }
  if (argc != 1 && !quick)
    return usage();
  enqueue_all();
  (void)printf("1..%u\n", queued);
  share_work(first);
  (void)printf("# in all: %" PRIu64 " executions, %" PRIu64 " of them pruned, %.1f s\n", shares->executions,
               shares->pruned, now() - begin);
  return shares->failures == 0 ? 0 : 1;
}
