/* SPDX-License-Identifier: MIT */
/*
 * A pool as its users see it, and what they hold it to:
 *
 * U1  No block has two owners.
 * U2  Whoever is handed a block finds in it what its last owner wrote last,
 *     and no data race on it.
 * U3  An allocation comes back empty-handed only if there was an instant
 *     during the call at which every block was out: held, or on its way
 *     through a call that was under way.
 * U4  At the end every block is held by somebody or free, mempool_check() is
 *     content, and all that is free can be had.
 */
#ifndef EXPLORE_WORLD_H
#define EXPLORE_WORLD_H

#include "model.h"
#include "pool.h"

enum { BLOCKS = 8 };

/* The pool of the scenario, and what its threads want to remember. */
extern struct world *const world;
struct world {
  mempool *pool;            /* one for all, or in memory that is shared: */
  mempool *pools[THREADS];  /* each thread's own handle */
  void *held[THREADS][BLOCKS];
  uint32_t results[16];
  uint32_t words[4];
  bool closing;
  bool closed;
  bool inexact; /* U3 is not watched: it does not know of bulks */
  bool child; /* of a fork: what the threads that are no more held is lost on purpose */
};

/*
 * Before the threads begin: a pool of capacity blocks, and threads that have
 * slots.  With open caches each thread's cache holds one block per thread, and
 * then all but `left` of the free blocks are taken for good.
 */
void world_init(unsigned capacity, unsigned cache_blocks, unsigned threads, bool open, unsigned left);
void world_init_none(void);

/*
 * The same for a pool that processes share, each thread being one: every
 * thread has attached, and has a lane, with a block that it freed last if there
 * are enough.
 */
void world_init_shared(unsigned capacity, unsigned threads);
/* The same with no lanes yet. */
void world_init_shared_cold(unsigned capacity, unsigned threads);
/* A block that a thread has from the beginning. */
void world_hold(unsigned thread);
void *world_memory(void);
size_t world_bytes(void);

/* Then: the pool is never closed, so its mode is constant. */
void world_never_closed(void);

/* Calls on the pool, checked.  Not NULL: a block. */
void *take(void);
void *take_waiting(bool timed, mempool_status *status);
void give(void *block);
void close_pool(void);
unsigned take_bulk(void **blocks, unsigned count);

/* A block goes from one thread to another, outside the pool. */
void disown(void *block);
void adopt(void *block);

/* U4. */
void world_finish(void);
void world_finish_shared(void);

/* In pools that processes share: what a dead thread held is recovered, if it is dead.  Returns how much. */
unsigned recover_if_dead(unsigned thread);
/* For the search. */
void world_died(unsigned thread);

/* A free that may be refused, as the block was freed by somebody else at the same time.  True if it wasn't. */
bool give_racing(void *block);

void expect(bool condition, const char *text);

#endif
