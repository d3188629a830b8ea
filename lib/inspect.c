/* SPDX-License-Identifier: MIT */
/* Looking at a pool. */
#include "pool.h"

#include "caches.h"
#include "care.h"
#include "shared.h"

#include <inttypes.h>
#include <string.h>

size_t mempool_block_size(const mempool *pool)
{
  return pool != NULL ? pool->block_size : 0;
}

size_t mempool_capacity(const mempool *pool)
{
  return pool != NULL ? pool->geometry.capacity : 0;
}

bool mempool_contains(const mempool *pool, const void *address)
{
  return pool != NULL &&
         (uintptr_t)address + pool->geometry.minus_base < pool->geometry.stride * pool->geometry.capacity;
}

mempool_status mempool_block_index(const mempool *pool, const void *block, uint32_t *index)
{
  uintptr_t found;
  if (pool == NULL || index == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  found = geometry_index(&pool->geometry, block);
  if (found >= pool->geometry.capacity)
    return MEMPOOL_E_FOREIGN_BLOCK;
  *index = (uint32_t)found;
  return MEMPOOL_OK;
}

void *mempool_block_at(const mempool *pool, uint32_t index)
{
  if (pool == NULL || index >= pool->geometry.capacity)
    return NULL;
  return geometry_address(&pool->geometry, index);
}

static mempool_stats figures(const mempool *constant_pool)
{
  mempool *pool = pool_writable(constant_pool);
  mempool_stats stats = MEMPOOL_STATS_INIT;
  if (pool_is_shared(pool)) {
    mempool__shared_figures(pool, &stats);
    return stats;
  }
  pool_enter(pool);
  stats.block_size = pool->block_size;
  stats.capacity = pool->geometry.capacity;
  stats.available = pool_available(pool) + mempool__caches_count(pool);
  if (stats.available > stats.capacity) /* a block was seen in two places while it moved */
    stats.available = stats.capacity;
  stats.used = stats.capacity - stats.available;
  stats.peak_used = pool->depot->fresh;
  stats.waiting = pool->waiters.count;
  stats.refused_frees = pool->refused_frees;
  stats.failed_allocs = pool->failed_allocs;
  stats.damaged_blocks = pool->damaged_blocks;
  if ((pool_mode(pool) & MODE_COUNTERS) != 0) {
    stats.alloc_count = pool->alloc_count;
    stats.free_count = pool->alloc_count - stats.used;
  }
  pool_leave(pool);
  return stats;
}

mempool_status mempool_get_stats(const mempool *pool, mempool_stats *stats)
{
  mempool_stats now;
  size_t size;
  if (pool == NULL || stats == NULL || stats->size == 0 || stats->size > POOL_LARGEST_STRUCT)
    return MEMPOOL_E_INVALID_ARGUMENT;
  now = figures(pool);
  size = stats->size;
  now.size = size;
  if (size > sizeof now)
    memset((unsigned char *)stats + sizeof now, 0, size - sizeof now);
  memcpy(stats, &now, size < sizeof now ? size : sizeof now);
  return MEMPOOL_OK;
}

/* The index of the first live block from `index` on; the capacity or more if there is none. */
static uint32_t next_live(mempool *pool, uint32_t index)
{
  uint32_t found = UINT32_MAX;
  if (pool_is_shared(pool)) {
    while (index < pool->geometry.capacity && !mempool__shared_is_live(pool, index))
      index++;
    return index;
  }
  pool_enter(pool);
  for (; index < pool->depot->fresh && found == UINT32_MAX; index++) {
    if (!depot_is_free(pool->depot, geometry_address(&pool->geometry, index), index) &&
        !depot_is_held(pool->depot, index))
      found = index;
  }
  pool_leave(pool);
  return found;
}

mempool_status mempool_foreach(mempool *pool, mempool_visitor visit, void *arg)
{
  uint32_t index;
  if (pool == NULL || visit == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  for (index = next_live(pool, 0); index < pool->geometry.capacity; index = next_live(pool, index + 1)) {
    if (visit(geometry_address(&pool->geometry, index), index, arg) != 0)
      break;
  }
  return MEMPOOL_OK;
}

/* D1 and D2. */
static bool stack_is_sound(const mempool *pool)
{
  const struct depot *depot = pool->depot;
  size_t i;
  if (depot->fresh > pool->geometry.capacity || depot->count > depot->fresh)
    return false;
  for (i = 0; i < depot->count; i++) {
    uintptr_t index = geometry_index(&pool->geometry, depot->slots[i]);
    if (index >= depot->fresh || load_relaxed_u32(&depot->places[index]) != i)
      return false;
  }
  return true;
}

/* D3. */
static bool places_are_sound(const mempool *pool)
{
  const struct depot *depot = pool->depot;
  bool plain = depot == &pool->shortcut;
  uint32_t index;
  for (index = 0; index < depot->fresh; index++) {
    const void *block = geometry_address(&pool->geometry, index);
    uint32_t place = load_relaxed_u32(&depot->places[index]);
    if (place < pool->geometry.capacity ? place >= depot->count && depot_lists(depot, block, index)
                                        : plain || (place != DEPOT_HELD && place != DEPOT_LIVE))
      return false;
  }
  return true;
}

/* Whether each block that was handed out is live or on the stack, when no cache holds any. */
static bool none_is_lost(const mempool *pool)
{
  uint32_t index;
  for (index = 0; pool->caches_bytes > 0 && index < pool->depot->fresh; index++) {
    if (depot_is_held(pool->depot, index))
      return false;
  }
  return true;
}

/* C1 and C2, but for blocks that are being freed. */
static bool blocks_are_whole(const mempool *pool)
{
  const struct depot *depot = pool->depot;
  uint32_t index;
  if ((pool_mode(pool) & (MODE_GUARD | MODE_POISON)) == 0)
    return true;
  for (index = 0; index < depot->fresh; index++) {
    bool free = depot_is_free(depot, geometry_address(&pool->geometry, index), index);
    if (!depot_is_held(depot, index) && !mempool__care_is_whole(pool, index, free))
      return false;
  }
  return true;
}

/* W1, and that the queue is as long as it says. */
static bool waiters_are_sound(const mempool *pool)
{
  const struct waiters *waiters = &pool->waiters;
  const struct waiter *previous = NULL;
  const struct waiter *waiter;
  size_t count = 0;
  if (waiters->count != 0 && (pool_available(pool) != 0 || (pool_mode(pool) & MODE_CLOSED) != 0))
    return false;
  for (waiter = waiters->first; waiter != NULL && count <= waiters->count; waiter = waiter->next) {
    if (waiter->previous != previous)
      return false;
    previous = waiter;
    count++;
  }
  return count == waiters->count && waiters->last == previous;
}

mempool_status mempool_check(const mempool *constant_pool)
{
  mempool *pool = pool_writable(constant_pool);
  bool sound;
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (pool_is_shared(pool))
    return mempool__shared_check(pool) ? MEMPOOL_OK : MEMPOOL_E_CORRUPTED;
  pool_enter(pool);
  mempool__caches_gather(pool);
  sound = stack_is_sound(pool) && places_are_sound(pool) && none_is_lost(pool) && blocks_are_whole(pool) &&
          waiters_are_sound(pool);
  pool_leave(pool);
  return sound ? MEMPOOL_OK : MEMPOOL_E_CORRUPTED;
}

static void dump_flags(uint32_t flags, FILE *stream)
{
  static const struct {
    uint32_t flag;
    const char *word;
  } words[] = {
    { MEMPOOL_SINGLE_THREADED, "single-threaded" },
    { MEMPOOL_SHARED, "shared" },
    { MEMPOOL_NO_CACHE, "no-cache" },
    { MEMPOOL_STRICT, "strict" },
    { MEMPOOL_ZERO, "zero" },
    { MEMPOOL_GUARD, "guard" },
    { MEMPOOL_PREFAULT, "prefault" },
    { MEMPOOL_HUGE_PAGES, "huge-pages" },
    { MEMPOOL_HUGE_PAGES_ONLY, "huge-pages-only" },
    { MEMPOOL_COUNTERS, "counters" },
    { MEMPOOL_POISON, "poison" },
    { MEMPOOL_CHECK, "check" },
  };
  size_t i;
  for (i = 0; i < sizeof words / sizeof words[0]; i++) {
    if ((flags & words[i].flag) != 0)
      (void)fprintf(stream, " %s", words[i].word);
  }
}

static bool is_closed(const mempool *pool)
{
  return pool_is_shared(pool) ? mempool__shared_is_closed(pool) : (pool_mode(pool) & MODE_CLOSED) != 0;
}

void mempool_dump(const mempool *pool, FILE *stream)
{
  mempool_stats stats;
  if (stream == NULL)
    return;
  if (pool == NULL) {
    (void)fprintf(stream, "mempool: none\n");
    return;
  }
  stats = figures(pool);
  (void)fprintf(stream, "mempool \"%s\": %zu blocks of %zu bytes\n", pool->name, stats.capacity, stats.block_size);
  (void)fprintf(stream, "  used %zu, available %zu, peak %zu, waiting %zu\n", stats.used, stats.available,
                stats.peak_used, stats.waiting);
  (void)fprintf(stream, "  failed allocs %" PRIu64 ", refused frees %" PRIu64 ", damaged blocks %" PRIu64 "\n",
                stats.failed_allocs, stats.refused_frees, stats.damaged_blocks);
  if ((pool_mode(pool) & MODE_COUNTERS) != 0)
    (void)fprintf(stream, "  blocks allocated %" PRIu64 ", freed %" PRIu64 "\n", stats.alloc_count,
                  stats.free_count);
  if (pool_is_shared(pool))
    mempool__shared_dump(pool, stream);
  (void)fprintf(stream, "  at %p, stride %zu, alignment %zu, flags:", geometry_address(&pool->geometry, 0),
                pool->geometry.stride, pool->alignment);
  dump_flags(pool->flags, stream);
  (void)fprintf(stream, "%s%s\n", pool->flags == 0 ? " none" : "",
                is_closed(pool) ? "; closed" : "");
}
