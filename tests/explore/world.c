/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "caches.h"
#include "search.h"
#include "shared.h"
#include "statics.h"
#include "threads.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_BYTES = 8192, NO_OWNER = 0, SET_UP = 200, BLOCK_BYTES = 8, INSTANTS = 24, OWNED_CACHES = 3, DEAD_BYTES = 512 };

static alignas(64) unsigned char arena[ARENA_BYTES];

/*
 * U3 as it is watched.  An instant excuses a call that came back empty if the
 * blocks that were neither held nor being freed then (idle) turn out to have
 * been taken by allocations that were under way then (takers).
 */
struct instant {
  uint8_t idle;
  uint8_t takers;
};

enum watch { WATCH_NONE, WATCH_CALLING, WATCH_RETURNED };

static struct everything {
  struct world world;
  uint8_t owner[BLOCKS];
  uint64_t payload[BLOCKS];
  uint8_t freeing[THREADS]; /* index + 1 */
  uint32_t word[THREADS];   /* and, in pools that processes share, the block's word when that began */
  uint8_t stamps[THREADS];
  uint8_t watch[THREADS];
  bool excused[THREADS];
  uint8_t count[THREADS];
  struct instant instants[THREADS][INSTANTS];
  uint8_t capacity;
  uint8_t takers; /* threads inside an allocation */
  uint8_t returning; /* blocks that a recovery is about to free */
} everything;

struct world *const world = &everything.world;

/* The pool as the running thread has it. */
static mempool *here(void)
{
  return world->pools[0] != NULL ? world->pools[search_running] : world->pool;
}

void expect(bool condition, const char *text)
{
  if (!condition)
    search_fail(text);
}

static void remember(unsigned thread, struct instant instant)
{
  uint8_t i;
  instant.takers &= (uint8_t)~(1u << thread);
  if (instant.idle == 0)
    everything.excused[thread] = true;
  if (everything.excused[thread] || __builtin_popcount(instant.idle) > __builtin_popcount(instant.takers))
    return;
  for (i = 0; i < everything.count[thread]; i++) {
    const struct instant *old = &everything.instants[thread][i];
    if (old->idle == instant.idle && old->takers == instant.takers)
      return;
  }
  if (everything.count[thread] == INSTANTS)
    search_fail("the explorer is too small: INSTANTS");
  everything.instants[thread][everything.count[thread]++] = instant;
}

/* In pools that processes share. */
static uint32_t word_at(unsigned index)
{
  return world->pool->room->words[index];
}

static void begin_give(uint32_t index)
{
  everything.owner[index] = NO_OWNER;
  everything.freeing[search_running] = (uint8_t)(index + 1);
  if (world->pools[0] != NULL)
    everything.word[search_running] = word_at(index);
}

/* Something has just changed. */
static void instant(void)
{
  struct instant now = { 0, everything.takers };
  unsigned i;
  for (i = 0; i < everything.capacity; i++) {
    if (everything.owner[i] == NO_OWNER)
      now.idle |= (uint8_t)(1u << i);
  }
  now.idle &= (uint8_t)~everything.returning;
  for (i = 0; i < THREADS; i++) {
    if (everything.freeing[i] > 0)
      now.idle &= (uint8_t)~(1u << (everything.freeing[i] - 1));
  }
  for (i = 0; i < THREADS; i++) {
    if (everything.watch[i] == WATCH_CALLING)
      remember(i, now);
  }
}

/* A thread's allocation is over, and gave a block or none (-1): no other thread's excuse counts on more. */
static void settle_excuses(unsigned taker, int block)
{
  unsigned thread;
  for (thread = 0; thread < THREADS; thread++) {
    struct instant old[INSTANTS];
    uint8_t count = everything.count[thread];
    uint8_t i;
    if (everything.watch[thread] == WATCH_NONE)
      continue;
    memcpy(old, everything.instants[thread], sizeof old);
    memset(everything.instants[thread], 0, sizeof old);
    everything.count[thread] = 0;
    for (i = 0; i < count; i++) {
      if ((old[i].takers & 1u << taker) != 0) {
        old[i].takers &= (uint8_t)~(1u << taker);
        if (block >= 0)
          old[i].idle &= (uint8_t)~(1u << block);
      }
      remember(thread, old[i]);
    }
    if (everything.watch[thread] == WATCH_RETURNED && (everything.excused[thread] || everything.count[thread] == 0)) {
      expect(everything.excused[thread], "nothing was handed out though not every block was out");
      everything.watch[thread] = WATCH_NONE;
    }
  }
}

static void begin_take(void)
{
  search_yield();
  everything.watch[search_running] = WATCH_CALLING;
  everything.excused[search_running] = false;
  memset(everything.instants[search_running], 0, sizeof everything.instants[0]);
  everything.count[search_running] = 0;
  everything.takers |= (uint8_t)(1u << search_running);
  instant();
  search_skip_yield();
}

static uint64_t next_stamp(void)
{
  everything.stamps[search_running]++;
  return (uint64_t)(search_running + 1) << 8 | everything.stamps[search_running];
}

/* Becomes the owner: U1, U2. */
static void own(void *block)
{
  uint32_t index = 0;
  uint64_t found;
  expect(mempool_block_index(here(), block, &index) == MEMPOOL_OK, "what was handed out is no block");
  expect(everything.owner[index] == NO_OWNER, "a block has two owners");
  everything.owner[index] = (uint8_t)(search_running + 1);
  everything.returning &= (uint8_t)~(1u << index);
  model_plain(block, BLOCK_BYTES, false);
  memcpy(&found, block, sizeof found);
  expect(found == everything.payload[index], "a block does not hold what its last owner wrote");
  model_plain(block, BLOCK_BYTES, true);
  everything.payload[index] = next_stamp();
  memcpy(block, &everything.payload[index], sizeof found);
}

static void end_take(void *block, bool must_be_exact)
{
  uint32_t index = 0;
  unsigned me = search_running;
  everything.takers &= (uint8_t)~(1u << me);
  if (block != NULL) {
    own(block);
    (void)mempool_block_index(here(), block, &index);
    everything.watch[me] = WATCH_NONE;
  } else {
    everything.watch[me] = must_be_exact ? WATCH_RETURNED : WATCH_NONE;
  }
  settle_excuses(me, block != NULL ? (int)index : -1);
  if (everything.watch[me] == WATCH_NONE) {
    memset(everything.instants[me], 0, sizeof everything.instants[me]);
    everything.count[me] = 0;
    everything.excused[me] = false;
  }
  instant();
  search_settle();
}

/*
 * Whether the pool was closed before, as the running thread can know: the
 * locks tell it, but in a pool that processes share only what it has heard from
 * who closed it.
 */
static bool is_closed(void)
{
  return world->closed &&
         (world->pools[0] == NULL || model_knows_newest(&here()->room->header->closed, sizeof(uint32_t)));
}

void *take(void)
{
  bool closed = is_closed();
  void *block;
  begin_take();
  block = mempool_alloc(here());
  expect(!closed || block == NULL, "a closed pool handed a block out");
  end_take(block, !world->closing && !world->inexact);
  return block;
}

void *take_waiting(bool timed, mempool_status *status)
{
  bool closed = is_closed();
  void *block;
  begin_take();
  *status = mempool_alloc_wait(here(), &block, timed ? 1000 : -1);
  /* The call's frames are gone: whoever touches the waiter from now on, or did so unordered, is found. */
  model_plain((unsigned char *)__builtin_frame_address(0) - DEAD_BYTES, DEAD_BYTES - 128, true);
  expect((*status == MEMPOOL_OK) == (block != NULL), "status and block disagree");
  expect(!closed || *status == MEMPOOL_E_CLOSED, "a closed pool did not say so");
  expect(*status == MEMPOOL_OK || (*status == MEMPOOL_E_TIMED_OUT && timed) ||
           (*status == MEMPOOL_E_CLOSED && world->closing),
         "a wait ended with the wrong status");
  end_take(block, *status == MEMPOOL_E_TIMED_OUT);
  return block;
}

unsigned take_bulk(void **blocks, unsigned count)
{
  unsigned i;
  search_yield();
  search_skip_yield();
  if (mempool_alloc_bulk(here(), blocks, count) != MEMPOOL_OK)
    count = 0;
  for (i = 0; i < count; i++)
    own(blocks[i]);
  search_settle();
  return count;
}

void give(void *block)
{
  uint32_t index = 0;
  mempool_status status;
  search_yield();
  (void)mempool_block_index(here(), block, &index);
  expect(everything.owner[index] == search_running + 1, "the scenario frees what it does not own");
  model_plain(block, BLOCK_BYTES, true);
  everything.payload[index] = next_stamp();
  memcpy(block, &everything.payload[index], sizeof everything.payload[index]);
  begin_give(index);
  instant();
  search_skip_yield();
  status = mempool_free(here(), block);
  expect(status == MEMPOOL_OK, "a block was refused");
  everything.freeing[search_running] = 0;
  instant();
  search_settle();
}

bool give_racing(void *block)
{
  uint32_t index = 0;
  mempool_status status;
  search_yield();
  (void)mempool_block_index(here(), block, &index);
  begin_give(index);
  instant();
  search_skip_yield();
  status = mempool_free(here(), block);
  expect(status == MEMPOOL_OK || status == MEMPOOL_E_DOUBLE_FREE, "a block was refused for another reason");
  everything.freeing[search_running] = 0;
  instant();
  search_settle();
  return status == MEMPOOL_OK;
}

/* In between it belongs to somebody all the same. */
void disown(void *block)
{
  uint32_t index = 0;
  (void)mempool_block_index(here(), block, &index);
  everything.owner[index] = SET_UP;
}

void adopt(void *block)
{
  uint32_t index = 0;
  (void)mempool_block_index(here(), block, &index);
  everything.owner[index] = (uint8_t)(search_running + 1);
}

void close_pool(void)
{
  search_yield();
  world->closing = true;
  search_skip_yield();
  mempool_close(here());
  world->closed = true;
  search_settle();
}

void world_init_none(void)
{
  search_forget_regions();
  memset(&everything, 0, sizeof everything);
  search_region(&everything, sizeof everything, true);
}

void world_init(unsigned capacity, unsigned cache_blocks, unsigned threads, bool open, unsigned left)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  uintptr_t offset;
  unsigned i;
  world_init_none();
  statics_reset();
  statics_regions();
  options.cache_blocks = cache_blocks;
  options.alignment = 8;
  if (cache_blocks == 0)
    options.flags = MEMPOOL_NO_CACHE;
  memset(arena, 0, sizeof arena);
  if (mempool_init(&pool, arena, sizeof arena, BLOCK_BYTES, capacity, &options) != MEMPOOL_OK)
    expect(false, "no pool");
  world->pool = pool;
  everything.capacity = (uint8_t)capacity;
  for (i = 0; i < threads; i++) {
    void *block;
    mempool__thread_offset = THREAD_NEW;
    mempool__thread_join();
    offset = mempool__thread_offset;
    if (open) {
      pool->patience = 0;
      block = mempool_alloc(pool);
      expect(mempool_free(pool, block) == MEMPOOL_OK, "no cache");
    }
    search_set_offset(i, offset);
  }
  pool->patience = 0;
  mempool__thread_offset = THREAD_WITHOUT;
  if (open)
    left = left > threads ? left - threads : 0;
  /* C1; a block's place belongs to whoever has the block; a cache without an owner to who holds the lock. */
  for (offset = 0; offset < pool->caches_bytes; offset += sizeof(struct cache)) {
    struct cache *cache = cache_at(pool, offset);
    if (offset >= OWNED_CACHES * sizeof(struct cache)) {
      model_guard(&cache->busy);
      model_guard(&cache->top);
      model_guard(&cache->gate);
      model_guard(&cache->floor);
      model_guard(&cache->ceiling);
    }
  }
  for (i = 0; i < capacity; i++)
    model_guard(&pool->depot->places[i]);
  while (pool_available(pool) > left) {
    void *block = mempool_alloc(pool);
    uint32_t index = 0;
    (void)mempool_block_index(pool, block, &index);
    everything.owner[index] = SET_UP;
  }
  /* The figures that nothing depends on are put back, but do not tell states apart. */
  {
    unsigned char *figures = (unsigned char *)&pool->alloc_count;
    unsigned char *behind = (unsigned char *)&pool->open_caches;
    search_region(arena, (size_t)(figures - arena), true);
    search_region(figures, (size_t)(behind - figures), false);
    search_region(behind, (size_t)((unsigned char *)geometry_address(&pool->geometry, capacity) - behind), true);
  }
}

static void init_shared(unsigned capacity, unsigned threads, bool warm)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  void *blocks[THREADS] = { NULL };
  struct room *room = NULL;
  unsigned i;
  world_init_none();
  statics_reset();
  statics_regions();
  options.flags = MEMPOOL_SHARED;
  options.max_owners = THREADS;
  options.alignment = 8;
  memset(arena, 0, sizeof arena);
  memset(explore_page_used, 0, EXPLORE_PAGES);
  memset(explore_late, 0, sizeof explore_late[0] * THREADS);
  everything.capacity = (uint8_t)capacity;
  explore_gone = 0;
  for (i = 0; i < threads; i++) {
    mempool__thread_offset = THREAD_NEW;
    explore_process = i + 1;
    expect((i == 0 ? mempool_init(&world->pools[0], arena, sizeof arena, BLOCK_BYTES, capacity, &options)
                   : mempool_attach(&world->pools[i], arena, sizeof arena)) == MEMPOOL_OK,
           "no pool");
    if (warm)
      blocks[i] = mempool_alloc(world->pools[i]); /* claims a lane in any case */
    search_set_offset(i, mempool__thread_offset);
  }
  explore_process = THREADS + 1;
  world->pool = world->pools[0];
  for (i = 0; i < threads; i++) {
    room = world->pools[i]->room;
    mempool__thread_offset = i * sizeof(struct cache);
    expect(mempool_free(world->pools[i], blocks[i]) == MEMPOOL_OK, "no pool");
    search_region(&room->seats[i], sizeof room->seats[i], true);
    search_region(&room->mixed_noted, sizeof room->mixed_noted, true);
  }
  for (i = 0; i < threads; i++)
    model_guard(&world->pools[i]->mode);
  mempool__thread_offset = THREAD_WITHOUT;
  search_region(arena, (size_t)((unsigned char *)room->header - arena) + (size_t)room->shape.bytes, true);
  search_region(explore_late, sizeof explore_late[0] * THREADS, true);
  model_private(explore_pages, sizeof explore_pages);
  model_ignore(&room->header->failed_allocs);
  model_ignore(&room->header->refused_frees);
  for (i = 0; i < threads; i++) /* where to look first, and figures */
    model_ignore(&room_lane(room, i)->cursor);
}

void world_init_shared(unsigned capacity, unsigned threads)
{
  init_shared(capacity, threads, true);
}

void world_init_shared_cold(unsigned capacity, unsigned threads)
{
  init_shared(capacity, threads, false);
}

void world_hold(unsigned thread)
{
  uint32_t index = 0;
  void *block;
  mempool__thread_offset = thread * sizeof(struct cache);
  block = mempool_alloc(world->pools[thread]);
  expect(mempool_block_index(world->pools[thread], block, &index) == MEMPOOL_OK, "no block");
  everything.owner[index] = (uint8_t)(thread + 1);
  world->held[thread][0] = block;
  mempool__thread_offset = THREAD_WITHOUT;
}

void *world_memory(void)
{
  return arena;
}

size_t world_bytes(void)
{
  return sizeof arena;
}

/* What it held, and what it had taken inside of the call, is a dead owner's; what it had freed is idle. */
void world_died(unsigned thread)
{
  int taken = -1;
  unsigned i;
  uint8_t freeing = everything.freeing[thread];
  for (i = 0; i < everything.capacity; i++) {
    if (word_condition(word_at(i)) != WORD_FREE && word_owner(word_at(i)) == mempool_owner(world->pools[thread]) &&
        everything.owner[i] == NO_OWNER && i + 1 != freeing) {
      everything.owner[i] = (uint8_t)(thread + 1);
      if ((everything.takers >> thread & 1) != 0 && (everything.returning >> i & 1) == 0)
        taken = (int)i;
    }
  }
  if (freeing > 0 && word_at(freeing - 1u) == everything.word[thread])
    everything.owner[freeing - 1] = (uint8_t)(thread + 1);
  everything.freeing[thread] = 0;
  everything.watch[thread] = WATCH_NONE;
  everything.takers &= (uint8_t)~(1u << thread);
  settle_excuses(thread, taken);
  instant();
}

unsigned recover_if_dead(unsigned thread)
{
  size_t recovered = 0;
  uint8_t mine = 0;
  unsigned i;
  search_yield();
  if (!search_has_died(thread))
    return 0;
  model_observe_death(thread);
  for (i = 0; i < everything.capacity; i++) {
    if (everything.owner[i] == thread + 1) {
      everything.owner[i] = NO_OWNER;
      mine |= (uint8_t)(1u << i);
    }
  }
  everything.returning |= mine;
  search_skip_yield();
  expect(mempool_recover(here(), mempool_owner(world->pools[thread]), &recovered) == MEMPOOL_OK, "not recovered");
  /* Somebody else may still be at it. */
  for (i = 0; i < everything.capacity; i++) {
    if (word_condition(word_at(i)) == WORD_FREE)
      everything.returning &= (uint8_t)~(1u << i);
  }
  instant();
  search_settle();
  return (unsigned)recovered;
}

void world_finish_shared(void)
{
  mempool *pool = NULL;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  unsigned held = 0;
  unsigned i;
  for (i = 0; i < THREADS; i++) {
    if (world->pools[i] != NULL && !search_has_died(i))
      pool = world->pools[i];
    expect(everything.watch[i] != WATCH_RETURNED, "nothing was handed out though not every block was out, to the end");
  }
  mempool__thread_offset = THREAD_WITHOUT;
  expect(pool != NULL, "the scenario let everybody die");
  if (pool == NULL)
    return;
  for (i = 0; i < THREADS; i++) {
    if (world->pools[i] != NULL && search_has_died(i))
      expect(mempool_recover(pool, mempool_owner(world->pools[i]), NULL) == MEMPOOL_OK, "not recovered");
  }
  expect(mempool_check(pool) == MEMPOOL_OK, "mempool_check() is not content");
  for (i = 0; i < everything.capacity; i++)
    held += everything.owner[i] != NO_OWNER && !search_has_died(everything.owner[i] - 1u);
  expect(mempool_get_stats(pool, &stats) == MEMPOOL_OK && stats.used == held, "the figures are not right");
  expect(stats.waiting == 0, "somebody still waits");
  pool->room->header->closed = 0;
  while (mempool_alloc(pool) != NULL)
    held++;
  expect(held == everything.capacity, "a block is lost, or was handed out twice");
  expect(mempool_check(pool) == MEMPOOL_OK, "mempool_check() is not content at last");
}

void world_never_closed(void)
{
  if (world->pools[0] != NULL)
    model_guard(&world->pool->room->header->closed);
  else
    model_guard(&world->pool->mode);
}

void world_finish(void)
{
  mempool *pool = world->pool;
  uintptr_t offset;
  size_t out = 0;
  unsigned i;
  for (offset = 0; offset < pool->caches_bytes && !world->child; offset += sizeof(struct cache))
    expect(cache_at(pool, offset)->busy == 0, "a cache stays busy");
  expect(pool->lock.word == LOCK_UNLOCKED, "the lock stays taken");
  for (i = 0; i < everything.capacity; i++)
    out += everything.owner[i] != NO_OWNER;
  for (i = 0; i < THREADS && !world->child; i++)
    expect(everything.watch[i] != WATCH_RETURNED, "nothing was handed out though not every block was out, to the end");
  if (pool->lock.word != LOCK_UNLOCKED || world->child)
    return;
  expect(mempool_check(pool) == MEMPOOL_OK, "mempool_check() is not content");
  expect(pool_available(pool) + out == everything.capacity, "a block is lost");
  expect(pool->waiters.first == NULL, "somebody still waits");
}

const char *describe(const void *address)
{
  static char text[64];
  const unsigned char *at = address;
  const mempool *pool = world->pool;
  size_t offset;
  text[0] = '\0';
  if (address == statics_registry())
    return "registry";
  if (pool == NULL || at < (const unsigned char *)pool || at >= arena + sizeof arena) {
    (void)snprintf(text, sizeof text, "%s", at >= (unsigned char *)world && at < (unsigned char *)(world + 1)
                                              ? "world" : "stack or static");
    return text;
  }
  offset = (size_t)(at - (const unsigned char *)pool);
  if (at == (const unsigned char *)&pool->lock)
    return "lock";
  if (at == (const unsigned char *)&pool->mode)
    return "mode";
  if (at == (const unsigned char *)&pool->handed_out)
    return "handed_out";
  if (offset >= sizeof *pool && offset < sizeof *pool + pool->caches_bytes) {
    static const char *const names[] = { "busy", "gate", "top", "top", "floor", "floor", "ceiling", "ceiling",
                                         "slots", "slots", "limit", "", "", "", "", "" };
    offset -= sizeof *pool;
    (void)snprintf(text, sizeof text, "caches[%zu].%s", offset / sizeof(struct cache),
                   names[offset % sizeof(struct cache) / 4 % 16]);
  } else if (pool->places != NULL && at >= (const unsigned char *)pool->places &&
             at < (const unsigned char *)(pool->places + everything.capacity)) {
    (void)snprintf(text, sizeof text, "places[%zu]", (size_t)(at - (const unsigned char *)pool->places) / 4);
  } else {
    (void)snprintf(text, sizeof text, "pool+%zu", offset);
  }
  return text;
}
