/* SPDX-License-Identifier: MIT */
/*
 * What the black-box tests share: every kind of pool there is, made and
 * ended in one way, and comparisons of a pool with what it was before.
 */
#ifndef TESTS_HELPERS_H
#define TESTS_HELPERS_H

#include <mempool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* One way to make a pool. */
typedef struct pool_kind {
  uint32_t flags;
  bool created; /* by mempool_create(), else by mempool_init() */
} pool_kind;

/* Runs body with each combination of the flags that change how a pool works, created and initialised. */
void over_kinds(void (*body)(const pool_kind *kind));

/*
 * The same without MEMPOOL_SINGLE_THREADED; where besides threads wait in a queue, which those of shared pools don't;
 * or with MEMPOOL_GUARD, or with MEMPOOL_ZERO.
 */
void over_threaded_kinds(void (*body)(const pool_kind *kind));
void over_queueing_kinds(void (*body)(const pool_kind *kind));
void over_guarded_kinds(void (*body)(const pool_kind *kind));
void over_zeroed_kinds(void (*body)(const pool_kind *kind));

/* Defines a test whose body is run by one of the functions above. */
#define TEST_OVER(runner, name)                   \
  static void name##_with(const pool_kind *kind); \
  static void name(void)                          \
  {                                               \
    runner(name##_with);                          \
  }                                               \
  static void name##_with(const pool_kind *kind)

/*
 * How many of the last `count` blocks that one thread freed it gets back in the reverse order: all, except in a shared
 * pool whose caches hold one block each.
 */
size_t order_kept(const pool_kind *kind, size_t count);

/* A pool under test; the memory, and what surrounds it, if the caller provides it. */
typedef struct fixture {
  mempool *pool;
  unsigned char *allocation;
  size_t before, size, after;
} fixture;

/* What the memory of an initialised pool holds at first. */
#define FILL 0xA5

/* Makes a pool, or ends the test.  Memory of the caller's begins at an odd address. */
mempool *set_up(fixture *f, const pool_kind *kind, size_t block_size, size_t capacity);
mempool *set_up_aligned(fixture *f, const pool_kind *kind, size_t block_size, size_t capacity, size_t alignment);

/* Ends it, and expects that nothing outside the memory was written. */
void tear_down(fixture *f);

mempool_stats stats_of(const mempool *pool);

/* The blocks that are out, what they hold, and the figures. */
typedef struct snapshot {
  mempool_stats stats;
  uint64_t live;
} snapshot;

snapshot snapshot_of(mempool *pool);

/* Whether nothing changed but the counts of refusals and failures, by so many, and the pool is sound. */
bool unchanged_but(mempool *pool, const snapshot *before, uint64_t refused, uint64_t failed);

/* An address some bytes away; no object need be there. */
void *offset_by(const void *address, ptrdiff_t bytes);

bool all_bytes(const void *memory, size_t size, unsigned char value);

/* Takes blocks one by one, or ends the test. */
void take(mempool *pool, void **blocks, size_t count);

/* The count to run instead of count: fewer if the environment has TEST_SLOW_TOOL, at least one. */
size_t scaled(size_t count, size_t slow_divisor);

#endif /* TESTS_HELPERS_H */
