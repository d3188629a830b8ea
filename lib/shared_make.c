/* SPDX-License-Identifier: MIT */
/* Laying out a pool that processes share, and attaching to one: trusting nothing that the memory says. */
#include "shared.h"

#if ATOMICS_LOCK_FREE

#include "debug.h"
#include "os.h"

#include <string.h>

/* The same in every process, of 32 bits or of 64. */
_Static_assert(sizeof(struct shared_shape) == 112, "no padding");
_Static_assert(offsetof(struct shared_header, closed) == 128, "no padding");
_Static_assert(offsetof(struct shared_header, fresh) == 192, "no padding");
_Static_assert(offsetof(struct shared_header, others) == 256, "no padding");
_Static_assert(sizeof(struct shared_header) == 320, "no padding");
_Static_assert(sizeof(struct lane) == GEOMETRY_CACHE_LINE, "no padding");

/* Where the tables are, in bytes from the header; the blocks come behind them. */
struct tables {
  uint64_t owners;
  uint64_t outside;
  uint64_t lanes;
  uint64_t lane_bytes;
  uint64_t levels[HINTS_LEVELS];
  uint64_t words;
  uint64_t end;
  uint32_t counts[HINTS_LEVELS];
  uint32_t depth;
};

static uint64_t round_to_line(uint64_t bytes)
{
  return (bytes + GEOMETRY_CACHE_LINE - 1) & ~(uint64_t)(GEOMETRY_CACHE_LINE - 1);
}

/* The numbers are within their limits, so nothing overflows. */
static struct tables tables_of(const struct shared_shape *shape)
{
  struct tables tables;
  uint64_t at = sizeof(struct shared_header);
  uint32_t level;
  memset(&tables, 0, sizeof tables);
  tables.lane_bytes = round_to_line(sizeof(struct lane) + shape->lane_slots * sizeof(uint64_t));
  tables.lanes = at;
  at += tables.lane_bytes * shape->lane_count;
  tables.owners = at;
  at = round_to_line(at + sizeof(uint64_t) * shape->max_owners);
  tables.outside = at;
  at = round_to_line(at + sizeof(uint32_t) * shape->max_owners);
  tables.depth = mempool__hints_plan(tables.counts, shape->capacity);
  for (level = 0; level < tables.depth; level++) {
    tables.levels[level] = at;
    at = round_to_line(at + sizeof(uint32_t) * (uint64_t)tables.counts[level]);
  }
  tables.words = at;
  tables.end = round_to_line(at + sizeof(uint32_t) * (uint64_t)shape->capacity);
  return tables;
}

static uint64_t checksum(const struct shared_shape *shape)
{
  const unsigned char *bytes = (const unsigned char *)shape;
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  size_t i;
  for (i = 0; i < offsetof(struct shared_shape, checksum); i++)
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

/* ---- Making ---- */

/*
 * Lanes: so many that all of them together could hold the pool, and at least
 * sixteen.  They hide nothing, so that small pools have some as well; and they
 * tell what somebody was doing who was killed, so that pools without caches have
 * some, for one block each.
 */
static void plan_lanes(struct shared_shape *shape, uint32_t wanted_slots)
{
  enum { LEAST_LANES = 16 };
  uint32_t slots = (shape->flags & MEMPOOL_NO_CACHE) != 0 ? 1 : wanted_slots;
  uint32_t count;
  if (LANES_MOST == 0)
    return;
  if (slots == 0)
    slots = shape->capacity;
  if (slots > LANE_MOST_SLOTS)
    slots = LANE_MOST_SLOTS;
  count = shape->capacity / slots;
  if (count < LEAST_LANES)
    count = LEAST_LANES;
  shape->lane_slots = slots;
  shape->lane_count = count < LANES_MOST ? count : LANES_MOST;
}

mempool_status mempool__shared_shape(struct shared_shape *shape, size_t block_size, uint32_t capacity,
                                     const mempool_options *options, const struct layout *plan)
{
  uint64_t bytes;
  if ((options->flags & MEMPOOL_SINGLE_THREADED) != 0 || options->max_owners > OWNERS_MOST)
    return MEMPOOL_E_INVALID_ARGUMENT;
  memset(shape, 0, sizeof *shape);
  shape->version = SHARED_VERSION;
  shape->byte_order = SHARED_BYTE_ORDER;
  shape->block_size = block_size;
  shape->stride = plan->stride;
  shape->alignment = plan->alignment;
  shape->capacity = capacity;
  shape->flags = options->flags;
  shape->max_owners = options->max_owners != 0 ? (uint32_t)options->max_owners : OWNERS_MOST;
  plan_lanes(shape, options->cache_blocks);
  if (options->name != NULL)
    strncpy(shape->name, options->name, NAME_BYTES - 1);
  bytes = tables_of(shape).end + 2 * GEOMETRY_MAX_ALIGNMENT;
  return plan->area_bytes <= (size_t)PTRDIFF_MAX - 4 * GEOMETRY_MAX_ALIGNMENT &&
             bytes <= (size_t)PTRDIFF_MAX - 4 * GEOMETRY_MAX_ALIGNMENT - plan->area_bytes
           ? MEMPOOL_OK
           : MEMPOOL_E_INVALID_BLOCK_SIZE;
}

size_t mempool__shared_bytes(const struct shared_shape *shape)
{
  return (size_t)(tables_of(shape).end + shape->stride * shape->capacity + (GEOMETRY_CACHE_LINE - 1) +
                  (shape->alignment - 1));
}

/* Lays a pool in memory that is large enough, and holds zeros if `clean`.  Whoever is killed in here leaves no pool. */
static bool lay(void *memory, struct shared_shape *shape, bool clean)
{
  struct shared_header *header = (struct shared_header *)round_up((uintptr_t)memory, GEOMETRY_CACHE_LINE);
  uint64_t front = tables_of(shape).end;
  shape->blocks = round_up((uintptr_t)header + (size_t)front, (size_t)shape->alignment) - (uintptr_t)header;
  shape->bytes = shape->blocks + shape->stride * shape->capacity;
  shape->first_time = !clean && (shape->flags & MEMPOOL_ZERO) != 0;
  shape->checksum = checksum(shape);
  if ((shape->flags & MEMPOOL_PREFAULT) != 0 && !mempool__os_prefault(header, (size_t)shape->bytes))
    return false;
  if (!clean) {
    store_relaxed_u64(&header->magic, 0);
    fence_full(); /* a pool that was here is none before the first byte of it changes */
    memset((unsigned char *)header + sizeof header->magic, 0, (size_t)front - sizeof header->magic);
  }
  memcpy(&header->shape, shape, sizeof *shape);
  /* Release, pairs with the acquire in mempool_attach(). */
  store_release_u64(&header->magic, SHARED_MAGIC);
  return true;
}

mempool_status mempool__shared_init(mempool **pool, void *memory, size_t size, struct shared_shape *shape)
{
  mempool_status status;
  if ((shape->flags & MEMPOOL_HUGE_PAGES_ONLY) != 0)
    return MEMPOOL_E_UNSUPPORTED;
  if (size < mempool__shared_bytes(shape))
    return MEMPOOL_E_NO_MEMORY;
  mempool__threads_remove_in(memory, size); /* a pool that was left here without mempool_destroy() */
  if (!lay(memory, shape, false))
    return MEMPOOL_E_NO_MEMORY;
  status = mempool_attach(pool, memory, size);
  if (status != MEMPOOL_OK)
    store_relaxed_u64((atomic_u64 *)round_up((uintptr_t)memory, GEOMETRY_CACHE_LINE), 0);
  return status;
}

static void *map_pages(size_t *bytes, uint32_t flags)
{
  size_t page_bytes = mempool__os_page_bytes();
  void *memory;
  if ((flags & (MEMPOOL_HUGE_PAGES | MEMPOOL_HUGE_PAGES_ONLY)) != 0) {
    size_t huge_bytes = round_up(*bytes, OS_HUGE_PAGE_BYTES);
    memory = mempool__os_map_shared_huge(huge_bytes);
    if (memory != NULL || (flags & MEMPOOL_HUGE_PAGES_ONLY) != 0) {
      *bytes = huge_bytes;
      return memory;
    }
  }
  *bytes = round_up(*bytes, page_bytes);
  memory = mempool__os_map_shared(*bytes);
  if (memory != NULL && (flags & MEMPOOL_HUGE_PAGES) != 0)
    mempool__os_prefer_huge(memory, *bytes);
  return memory;
}

mempool_status mempool__shared_create(mempool **pool, struct shared_shape *shape)
{
  size_t bytes = mempool__shared_bytes(shape);
  mempool_status status = MEMPOOL_E_NO_MEMORY;
  void *memory = map_pages(&bytes, shape->flags);
  if (memory == NULL)
    return MEMPOOL_E_NO_MEMORY;
  if (lay(memory, shape, true))
    status = mempool_attach(pool, memory, bytes);
  if (status != MEMPOOL_OK) {
    mempool__os_unmap(memory, bytes);
    return status;
  }
  (*pool)->mapping = memory;
  (*pool)->mapping_bytes = bytes;
  return MEMPOOL_OK;
}

/* ---- Attaching ---- */

/* What a process has of its own: one mapping, so that no malloc() is needed. */
struct handle {
  mempool pool;
  struct room room;
};

static size_t handle_bytes(void)
{
  return round_up(sizeof(struct handle), mempool__os_page_bytes());
}

static bool is_power_of_two(uint64_t value)
{
  return value != 0 && (value & (value - 1)) == 0;
}

/* Whether the numbers of a shape are within their limits. */
static bool has_sound_numbers(const struct shared_shape *shape)
{
  return shape->version == SHARED_VERSION && shape->byte_order == SHARED_BYTE_ORDER &&
         shape->checksum == checksum(shape) && (shape->flags & MEMPOOL_SHARED) != 0 &&
         (shape->flags & ~POOL_KNOWN_FLAGS) == 0 && shape->block_size <= SIZE_MAX && shape->stride <= SIZE_MAX &&
         is_power_of_two(shape->alignment) && shape->alignment <= GEOMETRY_MAX_ALIGNMENT &&
         shape->max_owners >= 1 && shape->max_owners <= OWNERS_MOST && shape->lane_count >= 1 &&
         shape->lane_count <= LANES_MOST && shape->lane_slots >= 1 && shape->lane_slots <= LANE_MOST_SLOTS;
}

/*
 * Whether a shape, which is a copy, is one that this library could have made
 * in so many bytes, of which the first few were skipped.
 */
static bool is_sound(const struct shared_shape *shape, size_t size, size_t skipped)
{
  struct layout plan;
  uint64_t bytes = size - skipped;
  uint64_t front;
  if (!has_sound_numbers(shape) ||
      mempool__layout_plan(&plan, 0, (size_t)shape->block_size, shape->capacity, (size_t)shape->alignment,
                           (shape->flags & MEMPOOL_GUARD) != 0) != MEMPOOL_OK ||
      plan.stride != shape->stride)
    return false;
  front = tables_of(shape).end;
  return size >= mempool__shared_bytes(shape) && shape->blocks >= front &&
         shape->blocks - front < shape->alignment && shape->blocks < bytes &&
         plan.area_bytes <= bytes - shape->blocks && shape->bytes == shape->blocks + plan.area_bytes;
}

/*
 * How many fresh blocks a lane takes at once: a power of two, so many as half
 * of it can hold, and few beside the capacity, which the peak is kept close by.
 */
static uint32_t batch_of(const struct shared_shape *shape)
{
  uint32_t batch = 1;
  while (batch < HINTS_BITS && batch * 2 <= shape->lane_slots / 2 && batch * 2 <= shape->capacity / 32)
    batch *= 2;
  return batch;
}

static void fill_room(struct room *room, struct shared_header *header, const struct shared_shape *shape)
{
  const struct tables tables = tables_of(shape);
  unsigned char *base = (unsigned char *)header;
  uint32_t level;
  room->header = header;
  room->shape = *shape;
  room->capacity = shape->capacity;
  room->words = (atomic_u32 *)(void *)(base + tables.words);
  room->lanes = base + tables.lanes;
  room->lane_bytes = (size_t)tables.lane_bytes;
  room->lane_count = shape->lane_count;
  room->lane_slots = shape->lane_slots;
  room->batch = batch_of(shape);
  room->owners = (atomic_u64 *)(void *)(base + tables.owners);
  room->outside = (atomic_u32 *)(void *)(base + tables.outside);
  room->max_owners = shape->max_owners;
  room->hints.depth = tables.depth;
  for (level = 0; level < tables.depth; level++) {
    room->hints.levels[level] = (atomic_u32 *)(void *)(base + tables.levels[level]);
    room->hints.counts[level] = tables.counts[level];
  }
}

/* The flags are the pool's; who is told of what is found, and which tools watch, is this process's own business. */
static uint32_t mode_of(const struct shared_shape *shape)
{
  return MODE_SHARED | pool_mode_of(shape->flags, shape->first_time != 0) |
         (mempool__debug_asked().mode & ~(uint32_t)MODE_MEMORY);
}

static void fill_pool(mempool *pool, struct room *room)
{
  const struct shared_shape *shape = &room->shape;
  struct layout plan;
  memset(&plan, 0, sizeof plan);
  plan.stride = (size_t)shape->stride;
  mempool__geometry_init(&pool->geometry, &plan, shape->capacity, (unsigned char *)room->header + shape->blocks);
  lock_init(&pool->lock);
  pool->depot = &pool->behind;
  pool->room = room;
  pool->block_size = (size_t)shape->block_size;
  pool->alignment = (size_t)shape->alignment;
  pool->flags = shape->flags;
  memcpy(pool->name, shape->name, NAME_BYTES - 1);
  store_relaxed_u32(&pool->mode, mode_of(shape));
  room->plain = (pool_mode(pool) & (MODE_AT_FREE | MODE_AT_ALLOC)) == 0;
}

mempool_status mempool_attach(mempool **pool, void *memory, size_t size)
{
  struct shared_header *header;
  struct shared_shape shape;
  struct handle *handle;
  size_t skipped = -(uintptr_t)memory & (GEOMETRY_CACHE_LINE - 1);
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  *pool = NULL;
  if (memory == NULL || size > UINTPTR_MAX - (uintptr_t)memory)
    return MEMPOOL_E_INVALID_ARGUMENT;
  header = (struct shared_header *)((uintptr_t)memory + skipped);
  /* Acquire, pairs with the release in lay(). */
  if (size < skipped || size - skipped < sizeof *header || load_acquire_u64(&header->magic) != SHARED_MAGIC)
    return MEMPOOL_E_CORRUPTED;
  memcpy(&shape, &header->shape, sizeof shape);
  if (!is_sound(&shape, size, skipped))
    return MEMPOOL_E_CORRUPTED;
  if ((((uintptr_t)header + (uintptr_t)shape.blocks) & (uintptr_t)(shape.alignment - 1)) != 0)
    return MEMPOOL_E_INVALID_ARGUMENT;
  handle = mempool__os_map(handle_bytes());
  if (handle == NULL)
    return MEMPOOL_E_NO_MEMORY;
  fill_room(&handle->room, header, &shape);
  fill_pool(&handle->pool, &handle->room);
  if (!mempool__owner_attach(&handle->pool)) {
    mempool__os_unmap(handle, handle_bytes());
    return MEMPOOL_E_NO_MEMORY;
  }
  mempool__threads_add(&handle->pool);
  mempool__thread_join();
  *pool = &handle->pool;
  return MEMPOOL_OK;
}

void mempool__shared_destroy(mempool *pool)
{
  void *mapping = pool->mapping;
  size_t mapping_bytes = pool->mapping_bytes;
  mempool__threads_remove(pool);
  mempool__owner_detach(pool);
  if (mapping != NULL)
    mempool__os_unmap(mapping, mapping_bytes);
  mempool__os_unmap(pool, handle_bytes());
}

#else

mempool_status mempool_attach(mempool **pool, void *memory, size_t size)
{
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  *pool = NULL;
  if (memory == NULL || size > UINTPTR_MAX - (uintptr_t)memory)
    return MEMPOOL_E_INVALID_ARGUMENT;
  return MEMPOOL_E_UNSUPPORTED;
}

#endif /* ATOMICS_LOCK_FREE */
