/* SPDX-License-Identifier: MIT */
#include "helpers.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTINEL 0x3C

static const uint32_t varied[] = { MEMPOOL_ZERO,   MEMPOOL_GUARD,    MEMPOOL_COUNTERS,
                                   MEMPOOL_STRICT, MEMPOOL_NO_CACHE, MEMPOOL_SHARED };

/* Whether there are such pools at all: not with both flags, and shared ones not on every platform. */
static bool can_be(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = flags;
  return mempool_required_size(1, 1, &options) != 0;
}

static void over(void (*body)(const pool_kind *kind), uint32_t demanded, uint32_t excluded)
{
  unsigned combination;
  size_t i;
  for (combination = 0; combination < 4u << COUNT_OF(varied); combination++) {
    unsigned failures = CU_get_number_of_failures();
    pool_kind kind = { 0, (combination & 1u) != 0 };
    if ((combination & 2u) != 0)
      kind.flags |= MEMPOOL_SINGLE_THREADED;
    for (i = 0; i < COUNT_OF(varied); i++) {
      if ((combination >> (i + 2) & 1u) != 0)
        kind.flags |= varied[i];
    }
    if ((kind.flags & demanded) != demanded || (kind.flags & excluded) != 0 || !can_be(kind.flags))
      continue;
    body(&kind);
    if (CU_get_number_of_failures() != failures)
      printf("# with flags 0x%04x, %s\n", (unsigned)kind.flags, kind.created ? "created" : "initialised");
  }
}

void over_kinds(void (*body)(const pool_kind *kind))
{
  over(body, 0, 0);
}

void over_threaded_kinds(void (*body)(const pool_kind *kind))
{
  over(body, 0, MEMPOOL_SINGLE_THREADED);
}

void over_queueing_kinds(void (*body)(const pool_kind *kind))
{
  over(body, 0, MEMPOOL_SINGLE_THREADED | MEMPOOL_SHARED);
}

void over_guarded_kinds(void (*body)(const pool_kind *kind))
{
  over(body, MEMPOOL_GUARD, 0);
}

void over_zeroed_kinds(void (*body)(const pool_kind *kind))
{
  over(body, MEMPOOL_ZERO, 0);
}

size_t order_kept(const pool_kind *kind, size_t count)
{
  const uint32_t one_each = MEMPOOL_SHARED | MEMPOOL_NO_CACHE;
  return (kind->flags & one_each) == one_each && count > 1 ? 1 : count;
}

mempool *set_up(fixture *f, const pool_kind *kind, size_t block_size, size_t capacity)
{
  return set_up_aligned(f, kind, block_size, capacity, 0);
}

mempool *set_up_aligned(fixture *f, const pool_kind *kind, size_t block_size, size_t capacity, size_t alignment)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool_status status;
  options.flags = kind->flags;
  options.alignment = alignment;
  options.max_owners = 8; /* what it takes in a shared pool is touched by each attachment */
  memset(f, 0, sizeof(*f));
  if (kind->created) {
    status = mempool_create(&f->pool, block_size, capacity, &options);
  } else {
    f->before = 17;
    f->after = 64;
    f->size = mempool_required_size(block_size, capacity, &options);
    f->allocation = malloc(f->before + f->size + f->after);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->allocation);
    memset(f->allocation, SENTINEL, f->before + f->size + f->after);
    memset(f->allocation + f->before, FILL, f->size);
    status = mempool_init(&f->pool, f->allocation + f->before, f->size, block_size, capacity, &options);
  }
  if (status != MEMPOOL_OK)
    printf("# status %d for flags 0x%04x, %s\n", (int)status, (unsigned)kind->flags, kind->created ? "created" : "initialised");
  CU_ASSERT_EQUAL_FATAL(status, MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f->pool);
  return f->pool;
}

void tear_down(fixture *f)
{
  mempool_destroy(f->pool);
  if (f->allocation != NULL) {
    CU_ASSERT(all_bytes(f->allocation, f->before, SENTINEL));
    CU_ASSERT(all_bytes(f->allocation + f->before + f->size, f->after, SENTINEL));
    free(f->allocation);
  }
  memset(f, 0, sizeof(*f));
}

mempool_stats stats_of(const mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  /* An impossible figure, so that a call that fails can't pass for a pool at rest. */
  if (mempool_get_stats(pool, &stats) != MEMPOOL_OK)
    stats.capacity = stats.used = stats.available = SIZE_MAX;
  return stats;
}

static uint64_t mix(uint64_t hash, const void *memory, size_t size)
{
  const unsigned char *bytes = memory;
  size_t i;
  for (i = 0; i < size; i++)
    hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
  return hash;
}

typedef struct listing {
  uint64_t hash;
  size_t block_size;
} listing;

static int mix_block(void *block, uint32_t index, void *arg)
{
  listing *list = arg;
  list->hash = mix(list->hash, &block, sizeof(block));
  list->hash = mix(list->hash, &index, sizeof(index));
  list->hash = mix(list->hash, block, list->block_size);
  return 0;
}

snapshot snapshot_of(mempool *pool)
{
  listing list = { UINT64_C(14695981039346656037), mempool_block_size(pool) };
  snapshot taken;
  taken.stats = stats_of(pool);
  CU_ASSERT_EQUAL(mempool_foreach(pool, mix_block, &list), MEMPOOL_OK);
  taken.live = list.hash;
  return taken;
}

bool unchanged_but(mempool *pool, const snapshot *before, uint64_t refused, uint64_t failed)
{
  snapshot now = snapshot_of(pool);
  return now.live == before->live && now.stats.size == before->stats.size &&
         now.stats.block_size == before->stats.block_size && now.stats.capacity == before->stats.capacity &&
         now.stats.used == before->stats.used && now.stats.available == before->stats.available &&
         now.stats.peak_used == before->stats.peak_used && now.stats.waiting == before->stats.waiting &&
         now.stats.alloc_count == before->stats.alloc_count && now.stats.free_count == before->stats.free_count &&
         now.stats.refused_frees == before->stats.refused_frees + refused &&
         now.stats.failed_allocs == before->stats.failed_allocs + failed && mempool_check(pool) == MEMPOOL_OK;
}

void *offset_by(const void *address, ptrdiff_t bytes)
{
  return (void *)((uintptr_t)address + (uintptr_t)bytes);
}

bool all_bytes(const void *memory, size_t size, unsigned char value)
{
  const unsigned char *bytes = memory;
  return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void take(mempool *pool, void **blocks, size_t count)
{
  size_t i;
  for (i = 0; i < count; i++) {
    blocks[i] = mempool_alloc(pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
  }
}

size_t scaled(size_t count, size_t slow_divisor)
{
  if (getenv("TEST_SLOW_TOOL") == NULL)
    return count;
  return count / slow_divisor != 0 ? count / slow_divisor : 1;
}
