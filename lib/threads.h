/* SPDX-License-Identifier: MIT */
/*
 * What the library knows of threads: each that has caches has a slot, the
 * same in every pool, which it gets at its first use of a pool, and which goes
 * to another thread after its end; and every pool that threads share is on a
 * list, so that a thread that ends can empty its caches, and a fork find all
 * pools at rest.
 *
 * Locks are taken in the order: the registry's, then pools'.
 */
#ifndef MEMPOOL_THREADS_H
#define MEMPOOL_THREADS_H

#include "pool.h"

/* The most threads that have caches at once; the others take the pools' locks. */
enum { THREAD_SLOTS = 128 };

/* Offsets that no pool has a cache at: of a thread that has no slot yet, and of one that gets none. */
#define THREAD_NEW UINTPTR_MAX
#define THREAD_WITHOUT (UINTPTR_MAX - 1)

/* Thread-local memory at a fixed offset, also in a shared library: found with one load. */
#if defined(__GNUC__) && defined(__ELF__)
#define INITIAL_EXEC __attribute__((visibility("hidden"), tls_model("initial-exec")))
#else
#define INITIAL_EXEC
#endif

/* Where this thread's cache lies among a pool's caches, in bytes. */
extern _Thread_local uintptr_t mempool__thread_offset INITIAL_EXEC;

/* Gives the calling thread a slot, if it never asked before and one is left.  Holds no lock at the call. */
void mempool__thread_join(void);

/*
 * The same for a signal handler, or a thread that one may interrupt anywhere:
 * waits for no lock, and may leave the thread as it is, to ask again.
 */
void mempool__thread_join_at_once(void);

/* The calling thread's slot; THREAD_SLOTS or more if it has none. */
static inline uintptr_t thread_slot(void)
{
  return mempool__thread_offset / sizeof(struct cache);
}

/* Puts a pool on the list; takes it off. */
void mempool__threads_add(mempool *pool);
void mempool__threads_remove(mempool *pool);

/* Takes off the list whatever pool, or what it shares, lies in a range of memory.  O(pools). */
void mempool__threads_remove_in(const void *memory, size_t bytes);

#endif /* MEMPOOL_THREADS_H */
