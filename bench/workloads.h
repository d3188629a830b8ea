/* SPDX-License-Identifier: MIT */
/*
 * The workloads of one thread, written once and compiled for each peer, so
 * that every call in a loop is a direct one.  The including file defines
 *
 *     PEER        a name, to make the functions' names with
 *     PEER_TYPE   the type of a pool
 *     PEER_ALLOC  (pool) -> block
 *     PEER_FREE   (pool, block)
 *     PEER_USE    (block): USE_NOTHING, or USE_FIRST_BYTE, which writes it
 *
 * Each function runs some pairs of alloc and free, and returns how many.
 */
#ifndef BENCH_WORKLOADS_H
#define BENCH_WORKLOADS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { PAIRS_A_RUN = 100000, BATCH = 64, WORKING_SET = 1024, VICTIMS = 8192, CAPACITY = 1100 };

/* What the workloads need besides the pool: set up before the clock starts. */
struct workspace {
  void *blocks[WORKING_SET];
  uint16_t victims[VICTIMS];
};

typedef size_t workload(void *peer, struct workspace *space);

static inline void choose_victims(struct workspace *space)
{
  size_t i;
  srand(1);
  for (i = 0; i < VICTIMS; i++)
    space->victims[i] = (uint16_t)(rand() % WORKING_SET);
}

/* Keeps the compiler from dropping a block that nobody reads. */
#define USE_NOTHING(block) __asm__ __volatile__("" : : "r"(block) : "memory")
/* As programs do: it brings the block's first line into the cache, where a list keeps its link. */
#define USE_FIRST_BYTE(block) (void)(*(volatile char *)(block) = 1)

#endif /* BENCH_WORKLOADS_H */

#define WORKLOAD_NAME2(peer, name) peer##_##name
#define WORKLOAD_NAME1(peer, name) WORKLOAD_NAME2(peer, name)
#define WORKLOAD(name) WORKLOAD_NAME1(PEER, name)

/* One block, over and over. */
static size_t WORKLOAD(hot_pair)(void *peer, struct workspace *space)
{
  PEER_TYPE *pool = peer;
  size_t i;
  (void)space;
  for (i = 0; i < PAIRS_A_RUN; i++) {
    void *block = PEER_ALLOC(pool);
    PEER_USE(block);
    PEER_FREE(pool, block);
  }
  return PAIRS_A_RUN;
}

/* As many blocks as a batch has, freed in the order of their allocation. */
static size_t WORKLOAD(batch)(void *peer, struct workspace *space)
{
  PEER_TYPE *pool = peer;
  size_t round;
  size_t i;
  for (round = 0; round < PAIRS_A_RUN / BATCH; round++) {
    for (i = 0; i < BATCH; i++) {
      space->blocks[i] = PEER_ALLOC(pool);
      PEER_USE(space->blocks[i]);
    }
    for (i = 0; i < BATCH; i++)
      PEER_FREE(pool, space->blocks[i]);
  }
  return PAIRS_A_RUN / BATCH * BATCH;
}

/* A working set, of which a block chosen at random is replaced. */
static size_t WORKLOAD(random)(void *peer, struct workspace *space)
{
  PEER_TYPE *pool = peer;
  size_t i;
  for (i = 0; i < WORKING_SET; i++)
    space->blocks[i] = PEER_ALLOC(pool);
  for (i = 0; i < PAIRS_A_RUN; i++) {
    size_t victim = space->victims[i % VICTIMS];
    PEER_FREE(pool, space->blocks[victim]);
    space->blocks[victim] = PEER_ALLOC(pool);
    PEER_USE(space->blocks[victim]);
  }
  for (i = 0; i < WORKING_SET; i++)
    PEER_FREE(pool, space->blocks[i]);
  return PAIRS_A_RUN + WORKING_SET;
}

#undef WORKLOAD
#undef WORKLOAD_NAME1
#undef WORKLOAD_NAME2
#undef PEER
#undef PEER_TYPE
#undef PEER_ALLOC
#undef PEER_FREE
#undef PEER_USE
