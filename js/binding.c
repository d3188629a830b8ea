/* SPDX-License-Identifier: MIT */
/*
 * The pool of a plain MemoryPool of memory_pool_allocator.js: the library's
 * depot and geometry, in a WebAssembly.Memory that holds nothing else, and for
 * each block its generation, by which a view of a block that was freed and
 * taken again is known to be stale.
 *
 * The memory comes zeroed from JavaScript, which has checked every argument of
 * initialize(), and holds in this order: the pool's own data, the tables, the
 * blocks.  There is no stack: the functions are leaves with no variable in
 * memory.
 *
 * B1  generations[i] is how often block i was freed, modulo 2^30: such numbers
 *     cost JavaScript no memory of their own.
 */
#include "../lib/depot.h"
#include "../lib/geometry.h"

#define EXPORT(name) __attribute__((export_name(#name)))

enum { GENERATION_MASK = 0x3fffffff };

/* What JavaScript says of a view that bears no generation. */
#define ANY_GENERATION UINT32_MAX

struct plain {
  struct geometry geometry;
  struct depot depot;
  uint32_t *generations;
  uint32_t generation; /* of the block that allocate() or look() told of last, for JavaScript to read */
};

/*
 * Where it lies, and where the tables begin; JavaScript knows DATA_BYTES.  Not a variable: the linker would have the
 * module clear it, once more for each instance.
 */
enum { DATA_BEGIN = 1024, DATA_BYTES = 2048 };
_Static_assert(DATA_BEGIN + sizeof(struct plain) <= DATA_BYTES, "the tables begin behind the data");
static struct plain *const pool = (struct plain *)DATA_BEGIN;

EXPORT(generation) uint32_t *generation(void);
EXPORT(initialize) void initialize(void *base, uint32_t stride, uint32_t capacity);
EXPORT(allocate) void *allocate(void);
EXPORT(release) mempool_status release(void *block, uint32_t its_generation);
EXPORT(look) mempool_status look(const void *block);
EXPORT(used) uint32_t used(void);

/* Where JavaScript reads it. */
uint32_t *generation(void)
{
  return &pool->generation;
}

void initialize(void *base, uint32_t stride, uint32_t capacity)
{
  uint32_t *table = (uint32_t *)DATA_BYTES;
  struct layout plan = { .stride = stride };
  mempool__geometry_init(&pool->geometry, &plan, capacity, base);
  pool->depot.slots = (void **)table;
  pool->depot.places = (atomic_u32 *)(table + capacity);
  pool->generations = table + 2 * (size_t)capacity;
}

void *allocate(void)
{
  void *block;
  if (pool->depot.count > 0) {
    block = depot_take(&pool->depot);
  } else {
    if (pool->depot.fresh == pool->geometry.capacity)
      return NULL;
    block = geometry_address(&pool->geometry, pool->depot.fresh);
    depot_take_fresh(&pool->depot);
  }
  pool->generation = pool->generations[geometry_index(&pool->geometry, block)];
  return block;
}

/* What a block with an index is, to who has a view of that generation. */
static mempool_status judge(const void *block, uintptr_t index, uint32_t its_generation)
{
  if (index >= pool->geometry.capacity)
    return MEMPOOL_E_FOREIGN_BLOCK;
  if (index >= pool->depot.fresh || depot_is_free(&pool->depot, block, index) ||
      (its_generation != ANY_GENERATION && its_generation != pool->generations[index]))
    return MEMPOOL_E_DOUBLE_FREE;
  return MEMPOOL_OK;
}

mempool_status release(void *block, uint32_t its_generation)
{
  uintptr_t index = geometry_index(&pool->geometry, block);
  mempool_status status = judge(block, index, its_generation);
  if (status == MEMPOOL_OK) {
    pool->generations[index] = (pool->generations[index] + 1) & GENERATION_MASK;
    depot_give(&pool->depot, block, index);
  }
  return status;
}

/* Whether a block starts there, and is out. */
mempool_status look(const void *block)
{
  uintptr_t index = geometry_index(&pool->geometry, block);
  mempool_status status = judge(block, index, ANY_GENERATION);
  if (status == MEMPOOL_OK)
    pool->generation = pool->generations[index];
  return status;
}

uint32_t used(void)
{
  return pool->depot.fresh - pool->depot.count;
}
