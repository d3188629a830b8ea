/* SPDX-License-Identifier: MIT */
/* Making and ending pools. */
#include "pool.h"

#include "annotate.h"
#include "caches.h"
#include "debug.h"
#include "os.h"
#include "shared.h"
#include "threads.h"

#include <stddef.h>
#include <string.h>

/* What is to be made: the arguments, checked and completed. */
struct request {
  mempool_options options;
  struct layout plan;
  size_t block_size;
  uint32_t capacity;
  uint32_t mode;         /* what isn't said in the options: bits of MODE_* */
  bool watched;          /* a tool is to know what memory may be touched */
  uint32_t cache_count;
  uint32_t cache_blocks; /* that each may hold */
  struct shared_shape shape; /* with MEMPOOL_SHARED: that, instead of the plan */
};

/*
 * Takes over the options that the caller's version has whole.  A size beyond
 * reason, most likely one that was never set, is refused unread.
 */
static mempool_status read_options(mempool_options *options, const mempool_options *given)
{
#define TAKE(member)                                                                \
  if (offsetof(mempool_options, member) + sizeof options->member <= given->size) \
  options->member = given->member
  const unsigned char *bytes = (const unsigned char *)given;
  size_t i;
  memset(options, 0, sizeof *options);
  if (given == NULL)
    return MEMPOOL_OK;
  if (given->size == 0 || given->size > POOL_LARGEST_STRUCT)
    return MEMPOOL_E_INVALID_ARGUMENT;
  for (i = sizeof *options; i < given->size; i++) {
    if (bytes[i] != 0)
      return MEMPOOL_E_INVALID_ARGUMENT;
  }
  TAKE(flags);
  TAKE(cache_blocks);
  TAKE(alignment);
  TAKE(name);
  TAKE(max_owners);
#undef TAKE
  if ((options->flags & ~POOL_KNOWN_FLAGS) != 0)
    return MEMPOOL_E_INVALID_ARGUMENT;
  return MEMPOOL_OK;
}

/* Caches are for pools that threads share, and that ask for nothing to be done besides. */
static bool wants_caches(const struct request *request)
{
  return request->mode == 0 &&
         (request->options.flags & (MEMPOOL_SINGLE_THREADED | MEMPOOL_NO_CACHE | MEMPOOL_STRICT | MEMPOOL_ZERO |
                                    MEMPOOL_GUARD | MEMPOOL_COUNTERS | MEMPOOL_POISON | MEMPOOL_CHECK)) == 0;
}

/*
 * How many blocks one thread's cache may hold, and how many caches there are:
 * so many that all of them together could hold half of the pool, and at least
 * eight.  In a small pool there is nothing to be cached.
 */
static void plan_caches(struct request *request, size_t capacity)
{
  enum { LEAST_BLOCKS = 4, MOST_BLOCKS = 128, LEAST_CACHES = 8 };
  size_t blocks = request->options.cache_blocks;
  size_t count;
  if (!wants_caches(request) || capacity == 0 || capacity > GEOMETRY_MAX_CAPACITY)
    return;
  if (blocks == 0) {
    blocks = capacity / 16;
    if (blocks < LEAST_BLOCKS)
      return;
    if (blocks > MOST_BLOCKS)
      blocks = MOST_BLOCKS;
  }
  if (blocks > capacity)
    blocks = capacity;
  count = capacity / blocks / 2;
  if (count < LEAST_CACHES)
    count = LEAST_CACHES;
  if (count > THREAD_SLOTS)
    count = THREAD_SLOTS;
  request->cache_count = (uint32_t)count;
  request->cache_blocks = (uint32_t)blocks;
}

/* A constant where there are no such pools. */
static bool is_shared(const struct request *request)
{
  return ATOMICS_LOCK_FREE && (request->options.flags & MEMPOOL_SHARED) != 0;
}

/*
 * What isn't the caller's wish: the environment's, and that tools watch.  Of
 * blocks that processes share no tool is told who may touch them: that may have
 * been agreed on elsewhere; and what is said is for each process to choose.
 */
static void add_aids(struct request *request, bool roomy)
{
  struct debug debug = mempool__debug_asked();
  request->options.flags |= roomy ? debug.flags : debug.flags & ~(uint32_t)MEMPOOL_GUARD;
  request->watched = (debug.mode & MODE_MEMORY) != 0;
  request->mode = is_shared(request) ? debug.mode & ~(uint32_t)MODE_MEMORY : debug.mode;
}

/* If roomy, with room behind each block for what the caller didn't ask for. */
static mempool_status read_request(struct request *request, size_t block_size, size_t capacity,
                                   const mempool_options *options, bool roomy)
{
  mempool_status status;
  memset(request, 0, sizeof *request);
  status = read_options(&request->options, options);
  if (status != MEMPOOL_OK)
    return status;
  if (!OS_HAS_THREADS && (request->options.flags & MEMPOOL_SHARED) == 0)
    request->options.flags |= MEMPOOL_SINGLE_THREADED;
  add_aids(request, roomy);
  plan_caches(request, capacity);
  status = mempool__layout_plan(&request->plan, sizeof(mempool) + request->cache_count * sizeof(struct cache),
                                block_size, capacity, request->options.alignment,
                                (request->options.flags & MEMPOOL_GUARD) != 0 ||
                                  (roomy && (request->mode & MODE_MEMORY) != 0));
  if (status != MEMPOOL_OK)
    return status;
  if (is_shared(request))
    return mempool__shared_shape(&request->shape, block_size, (uint32_t)capacity, &request->options, &request->plan);
  if ((request->options.flags & MEMPOOL_SHARED) != 0)
    return MEMPOOL_E_UNSUPPORTED;
  request->block_size = block_size;
  request->capacity = (uint32_t)capacity;
  if (!mempool__layout_add_table(&request->plan, mempool__caches_slots(request->cache_count, request->cache_blocks),
                                 sizeof(struct cache_slot)))
    return MEMPOOL_E_INVALID_BLOCK_SIZE;
  return MEMPOOL_OK;
}

/* Nothing is refused for that room alone. */
static mempool_status read_roomy_request(struct request *request, size_t block_size, size_t capacity,
                                         const mempool_options *options)
{
  mempool_status status = read_request(request, block_size, capacity, options, true);
  return status != MEMPOOL_E_INVALID_BLOCK_SIZE ? status : read_request(request, block_size, capacity, options, false);
}

/* Lays a pool: header and tables at front, which is aligned to a cache line; blocks at base. */
static mempool *lay(const struct request *request, unsigned char *front, void *base, bool callers_memory)
{
  mempool *pool = (mempool *)(void *)front;
  const struct layout *plan = &request->plan;
  memset(pool, 0, sizeof *pool);
  mempool__geometry_init(&pool->geometry, plan, request->capacity, base);
  lock_init(&pool->lock);
  pool->block_size = request->block_size;
  pool->alignment = plan->alignment;
  pool->flags = request->options.flags;
  if (request->options.name != NULL)
    strncpy(pool->name, request->options.name, NAME_BYTES - 1);
  store_relaxed_u32(&pool->mode, request->mode | pool_mode_of(pool->flags, callers_memory) |
                                   ((pool->flags & MEMPOOL_SINGLE_THREADED) == 0 ? MODE_LOCKED : 0));
  pool->depot = pool_mode(pool) == 0 ? &pool->shortcut : &pool->behind;
  pool->depot->slots = (void **)(void *)(front + plan->slots);
  pool->depot->places = (atomic_u32 *)(void *)(front + plan->places);
  if (request->cache_count > 0)
    mempool__caches_init(pool, (struct cache_slot *)(void *)(front + plan->further), request->cache_count,
                         request->cache_blocks);
  if ((pool_mode(pool) & MODE_MEMORY) != 0)
    mempool__annotate_begin(pool, base, plan->area_bytes);
  if ((pool_mode(pool) & MODE_LOCKED) != 0)
    mempool__threads_add(pool);
  return pool;
}

/*
 * Where the parts of a created pool lie in its mapping: header and tables,
 * the blocks, and with MEMPOOL_GUARD an inaccessible page before and one
 * behind the blocks, which then end as near to the latter as their alignment
 * allows, so that an overrun faults at once.
 */
struct placement {
  size_t base;       /* offsets in the mapping */
  size_t low_guard;
  size_t high_guard;
  size_t bytes;
};

/* The mapping begins at a multiple of page_bytes; a larger alignment of the blocks takes up to that much slack. */
static struct placement place(const struct layout *plan, uintptr_t mapping, size_t page_bytes, bool guard)
{
  struct placement at;
  uintptr_t alignment = plan->alignment;
  uintptr_t area = plan->area_bytes;
  uintptr_t base = mapping + plan->front_bytes;
  memset(&at, 0, sizeof at);
  if (guard) {
    uintptr_t block_pages = alignment > page_bytes ? alignment : page_bytes;
    base = round_up(round_up(base, page_bytes) + page_bytes, block_pages);
    at.low_guard = base - page_bytes - mapping;
    at.high_guard = round_up(base + area, page_bytes) - mapping;
    if (alignment < page_bytes)
      base += round_up(area, page_bytes) - area;
    at.bytes = at.high_guard + page_bytes;
  } else {
    base = round_up(base, alignment);
    at.bytes = round_up(base + area, page_bytes) - mapping;
  }
  at.base = base - mapping;
  return at;
}

/* The bytes to map so that any mapping that begins at a multiple of page_bytes will do. */
static size_t bytes_to_map(const struct layout *plan, size_t page_bytes, bool guard)
{
  size_t slack = plan->alignment > page_bytes ? plan->alignment - page_bytes : 0;
  return place(plan, 0, page_bytes, guard).bytes + slack;
}

struct mapping {
  unsigned char *memory;
  size_t bytes;
  size_t page_bytes;
};

static bool map_pages(struct mapping *mapping, const struct layout *plan, uint32_t flags)
{
  bool guard = (flags & MEMPOOL_GUARD) != 0;
  if ((flags & (MEMPOOL_HUGE_PAGES | MEMPOOL_HUGE_PAGES_ONLY)) != 0) {
    mapping->page_bytes = OS_HUGE_PAGE_BYTES;
    mapping->bytes = bytes_to_map(plan, OS_HUGE_PAGE_BYTES, guard);
    mapping->memory = mempool__os_map_huge(mapping->bytes);
    if (mapping->memory != NULL || (flags & MEMPOOL_HUGE_PAGES_ONLY) != 0)
      return mapping->memory != NULL;
  }
  mapping->page_bytes = mempool__os_page_bytes();
  mapping->bytes = bytes_to_map(plan, mapping->page_bytes, guard);
  mapping->memory = mempool__os_map(mapping->bytes);
  if (mapping->memory != NULL && (flags & MEMPOOL_HUGE_PAGES) != 0)
    mempool__os_prefer_huge(mapping->memory, mapping->bytes);
  return mapping->memory != NULL;
}

static bool prepare_pages(const struct mapping *mapping, const struct placement *at, uint32_t flags, size_t area_bytes)
{
  if ((flags & MEMPOOL_PREFAULT) != 0 &&
      (!mempool__os_prefault(mapping->memory, (flags & MEMPOOL_GUARD) != 0 ? at->low_guard : at->base) ||
       !mempool__os_prefault(mapping->memory + at->base, area_bytes)))
    return false;
  if ((flags & MEMPOOL_GUARD) != 0 &&
      (!mempool__os_forbid(mapping->memory + at->low_guard, mapping->page_bytes) ||
       !mempool__os_forbid(mapping->memory + at->high_guard, mapping->page_bytes)))
    return false;
  return true;
}

mempool_status mempool_create(mempool **pool, size_t block_size, size_t capacity, const mempool_options *options)
{
  struct request request;
  struct mapping mapping;
  struct placement at;
  mempool_status status;
  uint32_t flags;
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  *pool = NULL;
  status = read_roomy_request(&request, block_size, capacity, options);
  if (status != MEMPOOL_OK)
    return status;
  if (is_shared(&request))
    return mempool__shared_create(pool, &request.shape);
  flags = request.options.flags;
  if (!map_pages(&mapping, &request.plan, flags))
    return MEMPOOL_E_NO_MEMORY;
  at = place(&request.plan, (uintptr_t)mapping.memory, mapping.page_bytes, (flags & MEMPOOL_GUARD) != 0);
  if (!prepare_pages(&mapping, &at, flags, request.plan.area_bytes)) {
    mempool__os_unmap(mapping.memory, mapping.bytes);
    return MEMPOOL_E_NO_MEMORY;
  }
  *pool = lay(&request, mapping.memory, mapping.memory + at.base, false);
  (*pool)->mapping = mapping.memory;
  (*pool)->mapping_bytes = mapping.bytes;
  if (request.watched)
    mempool__annotate_mapped(mapping.memory + at.base, request.plan.area_bytes);
  return MEMPOOL_OK;
}

/* What a pool needs in memory of any alignment. */
static size_t bytes_anywhere(const struct layout *plan)
{
  return plan->front_bytes + plan->area_bytes + (GEOMETRY_CACHE_LINE - 1) + (plan->alignment - 1);
}

static size_t bytes_of(const struct request *request)
{
  return is_shared(request) ? mempool__shared_bytes(&request->shape) : bytes_anywhere(&request->plan);
}

size_t mempool_required_size(size_t block_size, size_t capacity, const mempool_options *options)
{
  struct request request;
  if (read_roomy_request(&request, block_size, capacity, options) != MEMPOOL_OK)
    return 0;
  return bytes_of(&request);
}

mempool_status mempool_init(mempool **pool, void *memory, size_t size, size_t block_size, size_t capacity,
                            const mempool_options *options)
{
  struct request request;
  mempool_status status;
  uintptr_t front;
  uintptr_t base;
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  *pool = NULL;
  status = read_roomy_request(&request, block_size, capacity, options);
  if (status == MEMPOOL_OK && size < bytes_of(&request)) /* a program whose memory was measured without */
    status = read_request(&request, block_size, capacity, options, false);
  if (status != MEMPOOL_OK)
    return status;
  if (memory == NULL || size > UINTPTR_MAX - (uintptr_t)memory)
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (!is_shared(&request) && (request.options.flags & MEMPOOL_HUGE_PAGES_ONLY) != 0)
    return MEMPOOL_E_UNSUPPORTED;
  if (size < bytes_of(&request))
    return MEMPOOL_E_NO_MEMORY;
  front = round_up((uintptr_t)memory, GEOMETRY_CACHE_LINE);
  if (request.watched)
    mempool__annotate_reuse((void *)front, memory, bytes_of(&request));
  if (is_shared(&request))
    return mempool__shared_init(pool, memory, size, &request.shape);
  base = round_up(front + request.plan.front_bytes, request.plan.alignment);
  if ((request.options.flags & MEMPOOL_PREFAULT) != 0 &&
      !mempool__os_prefault((void *)front, base + request.plan.area_bytes - front))
    return MEMPOOL_E_NO_MEMORY;
  mempool__threads_remove_in(memory, size); /* a pool that was left here without mempool_destroy() */
  *pool = lay(&request, (unsigned char *)front, (void *)base, true);
  return MEMPOOL_OK;
}

void mempool_close(mempool *pool)
{
  if (pool == NULL)
    return;
  if (pool_is_shared(pool)) {
    mempool__shared_close(pool);
    return;
  }
  pool_enter(pool);
  or_relaxed_u32(&pool->mode, MODE_CLOSED);
  if (pool->depot == &pool->shortcut) {
    pool->behind = pool->shortcut;
    memset(&pool->shortcut, 0, sizeof pool->shortcut);
    pool->depot = &pool->behind;
  }
  mempool__caches_gather(pool);
  mempool__waiters_close(&pool->waiters);
  pool_leave(pool);
}

void mempool_destroy(mempool *pool)
{
  if (pool == NULL)
    return;
  mempool__debug_last_look(pool);
  if (pool_is_shared(pool)) {
    mempool__shared_destroy(pool);
    return;
  }
  if ((pool_mode(pool) & MODE_LOCKED) != 0)
    mempool__threads_remove(pool);
  if ((pool_mode(pool) & MODE_MEMORY) != 0) {
    void *area = geometry_address(&pool->geometry, 0);
    size_t bytes = pool->geometry.stride * pool->geometry.capacity;
    if (pool->mapping != NULL)
      mempool__annotate_unmapped(area, bytes);
    mempool__annotate_end(pool, area, bytes);
  }
  if (pool->mapping != NULL)
    mempool__os_unmap(pool->mapping, pool->mapping_bytes);
}
