/* SPDX-License-Identifier: MIT */
/* Scenarios of pools that processes share; each thread is a process, and may be killed. */
#include "shared_scenarios.h"

#include "model.h"
#include "shared.h"
#include "world.h"

#define POOL(name, capacity, threads)                                         \
  static void name##_closing(void)                                            \
  {                                                                           \
    world_init_shared(capacity, threads);                                     \
  }                                                                           \
  static void name(void)                                                      \
  {                                                                           \
    name##_closing();                                                         \
    world_never_closed();                                                     \
  }

POOL(up_3_on_3, 3, 3)
POOL(up_3_on_2, 2, 3)
POOL(up_3_on_1, 1, 3)
POOL(up_2_on_2, 2, 2)
POOL(up_2_on_1, 1, 2)

static void up_1_on_2_inexact(void)
{
  world_init_shared(2, 1);
  world_never_closed();
  world->inexact = true;
}

static void up_2_on_1_cold(void)
{
  world_init_shared_cold(1, 2);
  world_never_closed();
}

static void pair(unsigned self)
{
  void *block = take();
  (void)self;
  if (block != NULL)
    give(block);
}

/* One who may die, one who goes on, and one who recovers it and wants all there is. */
static void pair_or_recover(unsigned self)
{
  void *block;
  if (self < 2) {
    pair(self);
    return;
  }
  (void)recover_if_dead(0);
  block = take();
  if (block != NULL)
    give(block);
}

static void exhaust_against_pair(unsigned self)
{
  if (self > 0) {
    pair(self);
    return;
  }
  while ((world->held[0][world->results[0]] = take()) != NULL)
    world->results[0]++;
}

/* Two recover the one that died, who held a block. */
static void two_recover(unsigned self)
{
  if (self == 0) {
    (void)take();
    return;
  }
  world->results[self] = recover_if_dead(0);
  expect(world->results[1] + world->results[2] <= 1, "a block was counted twice");
  pair(self);
}

/* Who recovers may die as well, and is recovered with what it was at. */
static void recover_the_recoverer(unsigned self)
{
  if (self == 0) {
    (void)take();
  } else if (self == 1) {
    (void)recover_if_dead(0);
  } else {
    (void)recover_if_dead(1);
    (void)recover_if_dead(0);
  }
}

/* A block that one takes is freed by both.  (If it were taken again in between, the second free would be of that.) */
static void racing_frees(unsigned self)
{
  if (self == 0) {
    world->held[0][0] = take();
    store_release_u32(&world->words[0], 1);
  } else {
    search_yield();
    if (load_acquire_u32(&world->words[0]) == 0)
      return;
  }
  if (world->held[0][0] != NULL)
    world->results[self] = give_racing(world->held[0][0]);
}

static void one_free_won(void)
{
  expect(world->results[0] + world->results[1] == 1, "not one of two frees succeeded");
  world_finish_shared();
}

static void wait_or_pair(unsigned self)
{
  mempool_status status;
  void *block;
  if (self > 0) {
    pair(self);
    return;
  }
  block = take_waiting(false, &status);
  if (block != NULL)
    give(block);
}

static void wait_timed_or_pair(unsigned self)
{
  mempool_status status;
  void *block;
  if (self > 0) {
    pair(self);
    return;
  }
  block = take_waiting(true, &status);
  if (block != NULL)
    give(block);
}

static void wait_or_close(unsigned self)
{
  if (self == 0)
    wait_or_pair(self);
  else if (self == 1)
    (void)take();
  else
    close_pool();
}

/* One waits for what the other holds, who may die; it looks again by itself. */
static void wait_for_the_dying(unsigned self)
{
  if (self == 0) {
    pair(self);
  } else {
    wait_or_pair(0);
  }
}

/* Who is woken first may be killed before it takes the block: the other must be woken as well. */
static void two_wait_one_dies(unsigned self)
{
  wait_or_pair(self == 2 ? 1 : 0);
}

static void dies_or_recovers(unsigned self)
{
  if (self > 0)
    (void)recover_if_dead(0);
  pair(self);
}

/* Others hold all numbers; the last is dead, and has left a block. */
static void up_attach(void)
{
  world_init_shared(2, 4);
  world_never_closed();
  search_region(explore_pages[4], sizeof explore_pages[4], true);
  search_region(explore_page_used, EXPLORE_PAGES, true);
  world_hold(3);
  explore_gone = 4;
}

/* The first one or two recover the dead, and the last attaches as soon as it can. */
static void recover_the_last(void)
{
  search_yield();
  search_skip_yield();
  expect(mempool_recover_dead(world->pools[search_running], NULL) == MEMPOOL_OK, "not recovered");
  search_settle();
}

static void attach_and_pair(void)
{
  mempool *own;
  void *block;
  search_yield();
  search_skip_yield();
  if (mempool_attach(&own, world_memory(), world_bytes()) == MEMPOOL_OK) {
    uint64_t mine = (uint64_t)(search_running + 1) << PROCESS_SHIFT | (uint64_t)(search_running + 2) << START_SHIFT;
    expect(load_relaxed_u64(room_slot(own->room, mempool_owner(own))) == (OWNER_ATTACHED | mine),
           "two have one number");
    block = mempool_alloc(own);
    expect(block != NULL, "of two blocks one is free");
    expect(mempool_free(own, block) == MEMPOOL_OK, "a block was refused");
    mempool_destroy(own);
  }
  search_settle();
}

static void attach_or_recover(unsigned self)
{
  if (self == 0)
    recover_the_last();
  else
    attach_and_pair();
}

/* What the dead held, and their places, is there for who goes on. */
static void all_comes_back(void)
{
  mempool *pool = world->pools[search_has_died(0) ? 1 : 0];
  mempool_stats stats = MEMPOOL_STATS_INIT;
  unsigned count = 0;
  expect(mempool_recover_dead(pool, NULL) == MEMPOOL_OK, "not recovered");
  expect(mempool_check(pool) == MEMPOOL_OK, "mempool_check() is not content");
  expect(mempool_get_stats(pool, &stats) == MEMPOOL_OK && stats.used == 0, "the figures are not right");
  while (mempool_alloc(pool) != NULL)
    count++;
  expect(count == 2, "a block is lost, or was handed out twice");
  expect(load_relaxed_u64(room_slot(pool->room, 4)) == OWNER_FREE, "a place is lost");
}

static void recover_or_two_attach(unsigned self)
{
  if (self == 0)
    recover_the_last();
  else
    attach_and_pair();
}

static void attach_or_two_recover(unsigned self)
{
  if (self < 2)
    recover_the_last();
  else
    attach_and_pair();
}

static void up_2_on_1_held_closing(void)
{
  up_2_on_1_closing();
  world_hold(1);
}

static void up_3_on_1_held(void)
{
  up_3_on_1();
  world_hold(2);
}

static void wait_against_close(unsigned self)
{
  if (self == 0)
    wait_or_pair(0);
  else
    close_pool();
}

/* Two wait for what the third gives back. */
static void two_wait_one_gives(unsigned self)
{
  if (self < 2)
    wait_or_pair(0);
  else
    give(world->held[2][0]);
}

/* One waits for what the second gives back and the third may take first. */
static void one_waits_one_gives_one_takes(unsigned self)
{
  if (self == 0)
    wait_or_pair(0);
  else if (self == 1)
    give(world->held[1][0]);
  else
    pair(self);
}

static void up_3_on_1_held_by_2nd(void)
{
  up_3_on_1();
  world_hold(1);
}

/* Both want the one block, and wait for it. */
static void all_wait(unsigned self)
{
  (void)self;
  wait_or_pair(0);
}

/* Which instants excuse whom isn't followed into handlers. */
static void up_2_on_2_inexact(void)
{
  up_2_on_2();
  world->inexact = true;
}

static void in_handler(void)
{
  pair(0);
}

/* The other is only there to outlive it. */
static void handler_and_death(unsigned self)
{
  if (self == 0)
    pair(self);
}

/* There may be something that nobody counted; there isn't. */
static void up_2_on_2_in_doubt(void)
{
  up_2_on_2();
  or_acq_rel_u64(&world->pool->room->header->settled, SETTLED_DOUBT);
}

/* The lanes that nobody uses are looked at as well, but nothing changes there. */
static void ignore_lanes_from(uint32_t first)
{
  struct room *room = world->pool->room;
  uint32_t i;
  for (i = first; i < room->lane_count; i++) {
    model_ignore(&room_lane(room, i)->owner);
    model_ignore(&room_lane(room, i)->state);
    model_ignore(&room_lane(room, i)->waiting);
  }
}

static void up_2_on_2_checked(void)
{
  up_2_on_2();
  ignore_lanes_from(2);
}

static void up_2_on_2_cold_checked(void)
{
  world_init_shared_cold(2, 2);
  world_never_closed();
  ignore_lanes_from(1);
}

static void check_against_pair(unsigned self)
{
  if (self > 0) {
    pair(self);
    return;
  }
  search_yield();
  search_skip_yield();
  expect(mempool_check(world->pools[0]) == MEMPOOL_OK, "mempool_check() finds fault with others' work");
  search_settle();
}

/* The second has both blocks, and gives one back that the third gives back as well. */
static void up_3_on_2_checked(void)
{
  up_3_on_2();
  ignore_lanes_from(3);
  world_hold(1);
  world->held[2][0] = world->held[1][0];
  world_hold(1);
}

static void check_against_racing_frees(unsigned self)
{
  if (self == 0) {
    check_against_pair(0);
  } else if (self == 1) {
    (void)give_racing(world->held[2][0]);
    give(world->held[1][0]);
  } else {
    (void)give_racing(world->held[2][0]);
  }
}

static void settle_against_pair(unsigned self)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  if (self > 0) {
    pair(self);
    return;
  }
  search_yield();
  search_skip_yield();
  expect(mempool_get_stats(world->pools[0], &stats) == MEMPOOL_OK, "no figures");
  search_settle();
}

/* Two processes work in the name of the first: it leaves, and its child notes something there. */
static void up_2_on_1_checked(void)
{
  up_2_on_1();
  ignore_lanes_from(2);
}

static void detach_against_note(unsigned self)
{
  search_yield();
  search_skip_yield();
  if (self == 0)
    mempool_destroy(world->pools[0]);
  else
    mempool__shared_before_fork(world->pools[0]);
  search_settle();
}

static void first_has_left(void)
{
  expect((load_relaxed_u64(room_slot(world->pools[1]->room, 1)) & OWNER_STATE) != OWNER_ATTACHED,
         "who left is attached still");
}

#define PLAIN .threads = 3, .body = pair, .finish = world_finish_shared, .weak = true, .switches = -1

const struct scenario shared_scenarios[] = {
  { .name = "shared: 2 x 1 pair on 2 blocks", .threads = 2, .set_up = up_2_on_2, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: 2 x 1 pair on 1 block", .threads = 2, .set_up = up_2_on_1, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: exhaust against a pair", .threads = 2, .set_up = up_2_on_2, .body = exhaust_against_pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: 2 x 1 pair on 2 blocks, one dies", .threads = 2, .set_up = up_2_on_2, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: 2 x 1 pair on 1 block, one dies", .threads = 2, .set_up = up_2_on_1, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: racing double free", .threads = 2, .set_up = up_2_on_2, .body = racing_frees,
    .finish = one_free_won, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: check against a pair", .threads = 2, .set_up = up_2_on_2_checked, .body = check_against_pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: check against a pair of blocks that are new", .threads = 2, .set_up = up_2_on_2_cold_checked,
    .body = check_against_pair, .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: check against racing frees, at most 5 preemptions", .threads = 3, .set_up = up_3_on_2_checked,
    .body = check_against_racing_frees, .switches = 5 },
  { .name = "shared: detach against a child's note", .threads = 2, .set_up = up_2_on_1_checked,
    .body = detach_against_note, .finish = first_has_left, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: settle against a pair", .threads = 2, .set_up = up_2_on_2_in_doubt, .body = settle_against_pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: 3 x 1 pair on 3 blocks", .set_up = up_3_on_3, PLAIN },
  { .name = "shared: 3 x 1 pair on 2 blocks", .set_up = up_3_on_2, PLAIN },
  { .name = "shared: 3 x 1 pair on 1 block", .set_up = up_3_on_1, PLAIN },
  { .name = "shared: 3 x 1 pair on 3 blocks, one dies", .set_up = up_3_on_3, PLAIN, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: 3 x 1 pair on 1 block, one dies", .set_up = up_3_on_1, PLAIN, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: one dies, one goes on, one recovers", .threads = 3, .set_up = up_3_on_2, .body = pair_or_recover,
    .finish = world_finish_shared, .weak = true, .switches = -1, .deaths = 1, .mortal = 1, .died = world_died },
  { .name = "shared: one dies, one goes on, one recovers, on 3 blocks", .threads = 3, .set_up = up_3_on_3,
    .body = pair_or_recover, .finish = world_finish_shared, .weak = true, .switches = -1, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: one dies, two recover it", .threads = 3, .set_up = up_3_on_1, .body = two_recover,
    .finish = world_finish_shared, .weak = true, .switches = -1, .deaths = 1, .mortal = 1, .died = world_died },
  { .name = "shared: who recovers dies as well", .threads = 3, .set_up = up_3_on_1, .body = recover_the_recoverer,
    .finish = world_finish_shared, .weak = true, .switches = -1, .deaths = 2, .mortal = 3, .died = world_died },
  { .name = "shared: one dies, one recovers it", .threads = 2, .set_up = up_2_on_2, .body = dies_or_recovers,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: 3 x 1 pair on 2 blocks, one dies, at most 2 preemptions", .set_up = up_3_on_2, .threads = 3,
    .body = pair, .finish = world_finish_shared, .weak = true, .switches = 2, .deaths = 1, .mortal = 7,
    .died = world_died },
  { .name = "shared: a handler runs in a pair", .threads = 2, .set_up = up_2_on_2_inexact, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .handler = in_handler },
  { .name = "shared: a handler runs in a pair, alone", .threads = 1, .set_up = up_1_on_2_inexact, .body = pair,
    .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true, .handler = in_handler },
  { .name = "shared: a handler runs in a pair, one dies", .threads = 2, .set_up = up_2_on_2_inexact,
    .body = handler_and_death, .finish = world_finish_shared, .weak = true, .switches = -1, .quick = true,
    .handler = in_handler, .deaths = 1, .mortal = 1, .died = world_died },
  { .name = "shared: 2 x 1 pair on 1 block, lanes claimed on the way", .threads = 2, .set_up = up_2_on_1_cold,
    .body = pair, .finish = world_finish_shared, .weak = true, .switches = -1 },
  { .name = "shared: attach against recover", .threads = 2, .set_up = up_attach, .body = attach_or_recover,
    .finish = NULL, .weak = true, .switches = -1, .quick = true },
  { .name = "shared: 2 attach against recover, at most 2 preemptions", .threads = 3, .set_up = up_attach,
    .body = recover_or_two_attach, .finish = all_comes_back, .switches = 2 },
  { .name = "shared: 2 attach against recover, one dies, at most 2 preemptions", .threads = 3, .set_up = up_attach,
    .body = recover_or_two_attach, .finish = all_comes_back, .switches = 2, .deaths = 1, .mortal = 7 },
  { .name = "shared: attach against recover, one dies", .threads = 2, .set_up = up_attach, .body = attach_or_recover,
    .finish = all_comes_back, .weak = true, .switches = -1, .deaths = 1, .mortal = 3 },
  { .name = "shared: wait for one who dies", .threads = 2, .set_up = up_2_on_1, .body = wait_for_the_dying,
    .finish = world_finish_shared, .weak = true, .switches = -1, .deaths = 1, .mortal = 1, .died = world_died },
  { .name = "shared: 2 wait, one dies, at most 2 preemptions", .threads = 3, .set_up = up_3_on_1,
    .body = two_wait_one_dies, .finish = world_finish_shared, .weak = true, .switches = 2, .deaths = 1, .mortal = 1,
    .died = world_died },
  { .name = "shared: wait against close", .threads = 2, .set_up = up_2_on_1_held_closing, .body = wait_against_close,
    .finish = world_finish_shared, .weak = true, .spurious = 1, .switches = -1, .quick = true },
  { .name = "shared: attach against 2 recoveries, at most 2 preemptions", .threads = 3, .set_up = up_attach,
    .body = attach_or_two_recover, .switches = 2 },
  { .name = "shared: 2 wait, one gives, at most 1 preemption", .threads = 3, .set_up = up_3_on_1_held,
    .body = two_wait_one_gives, .finish = world_finish_shared, .weak = true, .switches = 1 },
  { .name = "shared: one waits, one gives, one takes, at most 2 preemptions", .threads = 3,
    .set_up = up_3_on_1_held_by_2nd, .body = one_waits_one_gives_one_takes, .finish = world_finish_shared,
    .switches = 2 },
  { .name = "shared: wait against a pair", .threads = 2, .set_up = up_2_on_1, .body = wait_or_pair,
    .finish = world_finish_shared, .weak = true, .spurious = 1, .switches = -1, .quick = true },
  { .name = "shared: 2 wait for 1 block", .threads = 2, .set_up = up_2_on_1, .body = all_wait,
    .finish = world_finish_shared, .weak = true, .spurious = 1, .switches = -1 },
  { .name = "shared: wait with time-out against a pair", .threads = 2, .set_up = up_2_on_1,
    .body = wait_timed_or_pair, .finish = world_finish_shared, .weak = true, .spurious = 1, .switches = -1 },
  { .name = "shared: wait, take and close", .threads = 3, .set_up = up_3_on_1_closing, .body = wait_or_close,
    .finish = world_finish_shared, .weak = true, .switches = -1 },
};

const unsigned shared_count = sizeof shared_scenarios / sizeof shared_scenarios[0];
