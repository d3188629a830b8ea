/* SPDX-License-Identifier: MIT */
/*
 * What somebody asks of the pools of a program that is not theirs to change, by
 * MEMPOOL_DEBUG; and telling them what was found.
 */
#ifndef MEMPOOL_DEBUG_H
#define MEMPOOL_DEBUG_H

#include "pool.h"

struct debug {
  uint32_t flags; /* MEMPOOL_GUARD and the like, for every pool */
  uint32_t mode;  /* what each process chooses for itself: of MODE_REPORT, MODE_CHECK, MODE_MEMORY and MODE_THREADS */
};

/*
 * Reads the environment, and looks who watches; nothing is asked in a program
 * with more rights than who started it.
 */
struct debug mempool__debug_asked(void);

/* With MODE_REPORT: one line on standard error. */
void mempool__debug_say(const mempool *pool, uintptr_t index, const char *what);
void mempool__debug_say_at(const mempool *pool, uintptr_t index, const char *what, size_t at);
void mempool__debug_say_refused(const mempool *pool, const void *block, mempool_status status);

/* With MODE_CHECK, at the end of a pool: what is wrong with it, and what is still out. */
void mempool__debug_last_look(const mempool *pool);

#endif /* MEMPOOL_DEBUG_H */
