/* SPDX-License-Identifier: MIT */
#include "care.h"

#include "annotate.h"
#include "debug.h"

#include <string.h>

/* Neither text nor an address, and as a pointer or a number conspicuous. */
enum { POISON = 0xdb };

/* ---- Canaries ---- */

static volatile unsigned char *canary(const mempool *pool, uintptr_t index)
{
  return (unsigned char *)geometry_address(&pool->geometry, (uint32_t)index) + pool->block_size;
}

/* Differs from block to block, so that a copy of the neighbour's doesn't pass. */
static uint64_t canary_value(uintptr_t index)
{
  return (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static ANNOTATE_UNSEEN void set_canary(const mempool *pool, uintptr_t index)
{
  volatile unsigned char *bytes = canary(pool, index);
  uint64_t value = canary_value(index);
  int i;
  for (i = 0; i < GEOMETRY_CANARY_BYTES; i++)
    bytes[i] = (unsigned char)(value >> 8 * i);
}

static ANNOTATE_UNSEEN bool canary_is_whole(const mempool *pool, uintptr_t index)
{
  const volatile unsigned char *bytes = canary(pool, index);
  uint64_t value = canary_value(index);
  bool whole = true;
  int i;
  for (i = 0; i < GEOMETRY_CANARY_BYTES; i++)
    whole = whole && bytes[i] == (unsigned char)(value >> 8 * i);
  return whole;
}

/* ---- What a free block holds ---- */

static unsigned char filling(uint32_t mode)
{
  return (mode & MODE_ZERO) != 0 ? 0 : POISON;
}

/* The place of the first byte that isn't the filling; block_size if there is none. */
static ANNOTATE_UNSEEN size_t first_written(const mempool *pool, uintptr_t index)
{
  const volatile unsigned char *bytes = geometry_address(&pool->geometry, (uint32_t)index);
  unsigned char expected = filling(pool_mode(pool));
  size_t i = 0;
  while (i < pool->block_size && bytes[i] == expected)
    i++;
  return i;
}

static void fill(const mempool *pool, uintptr_t index)
{
  uint32_t mode = pool_mode(pool);
  if ((mode & (MODE_ZERO | MODE_POISON)) != 0)
    memset(geometry_address(&pool->geometry, (uint32_t)index), filling(mode), pool->block_size);
}

/* ---- The life of a block ---- */

void mempool__care_begin(const mempool *pool, uintptr_t index)
{
  if ((pool_mode(pool) & MODE_GUARD) == 0)
    return;
  mempool__annotate_look_away();
  set_canary(pool, index);
  mempool__annotate_look_again();
}

/* With poison: whether nobody wrote to a block while it was free. */
static bool was_left_alone(const mempool *pool, uintptr_t index)
{
  size_t at;
  mempool__annotate_look_away();
  at = first_written(pool, index);
  mempool__annotate_look_again();
  if (at < pool->block_size)
    mempool__debug_say_at(pool, index, "was written to after it was freed, at byte ", at);
  return at == pool->block_size;
}

bool mempool__care_taken(const mempool *pool, uintptr_t index, bool first)
{
  uint32_t mode = pool_mode(pool);
  void *block = geometry_address(&pool->geometry, (uint32_t)index);
  bool whole = first || (mode & MODE_POISON) == 0 || was_left_alone(pool, index);
  if ((mode & MODE_MEMORY) != 0)
    mempool__annotate_alloc(pool, block, pool->block_size, first || (mode & MODE_ZERO) != 0);
  if ((mode & MODE_THREADS) != 0)
    mempool__annotate_taken(block);
  if (first && (mode & MODE_ZERO_FIRST) != 0)
    memset(block, 0, pool->block_size);
  else if (!whole)
    fill(pool, index);
  return whole;
}

mempool_status mempool__care_freed(const mempool *pool, uintptr_t index)
{
  uint32_t mode = pool_mode(pool);
  void *block = geometry_address(&pool->geometry, (uint32_t)index);
  mempool_status status = MEMPOOL_OK;
  if ((mode & MODE_GUARD) != 0 && !mempool__care_is_whole(pool, index, false)) {
    status = MEMPOOL_E_CORRUPTED;
    mempool__debug_say(pool, index, "was overrun: its canary is damaged");
    mempool__care_begin(pool, index);
  }
  fill(pool, index);
  if ((mode & MODE_THREADS) != 0)
    mempool__annotate_given(block, pool->block_size);
  if ((mode & MODE_MEMORY) != 0)
    mempool__annotate_free(pool, block, pool->block_size);
  return status;
}

/* By bytes, for it may be one that nobody may touch already. */
static ANNOTATE_UNSEEN void fill_unseen(const mempool *pool, uintptr_t index)
{
  volatile unsigned char *bytes = geometry_address(&pool->geometry, (uint32_t)index);
  unsigned char byte = filling(pool_mode(pool));
  size_t i;
  for (i = 0; i < pool->block_size; i++)
    bytes[i] = byte;
}

void mempool__care_renew(const mempool *pool, uintptr_t index)
{
  void *block = geometry_address(&pool->geometry, (uint32_t)index);
  if ((pool_mode(pool) & MODE_THREADS) != 0)
    mempool__annotate_taken(block);
  mempool__care_begin(pool, index);
  if ((pool_mode(pool) & MODE_MEMORY) == 0) {
    fill(pool, index);
  } else {
    mempool__annotate_look_away();
    if ((pool_mode(pool) & (MODE_ZERO | MODE_POISON)) != 0)
      fill_unseen(pool, index);
    mempool__annotate_free(pool, block, pool->block_size); /* which may have been said already */
    mempool__annotate_look_again();
  }
  if ((pool_mode(pool) & MODE_THREADS) != 0)
    mempool__annotate_given(block, pool->block_size);
}

bool mempool__care_is_whole(const mempool *pool, uintptr_t index, bool free)
{
  uint32_t mode = pool_mode(pool);
  bool whole;
  mempool__annotate_look_away();
  whole = ((mode & MODE_GUARD) == 0 || canary_is_whole(pool, index)) &&
          (!free || (mode & MODE_POISON) == 0 || first_written(pool, index) == pool->block_size);
  mempool__annotate_look_again();
  return whole;
}
