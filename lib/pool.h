/* SPDX-License-Identifier: MIT */
/*
 * The pool itself: the rooms put together.
 *
 * P1  Every block is in the depot, in a thread's cache, in a bundle, or out, or
 *     on its way between these inside one call that is under way.
 * P2  depot points to shortcut in a plain pool: one that is single-threaded,
 *     open, and asks for nothing to be done besides; else to behind, and
 *     shortcut is empty.  So the short ways of alloc and free, which look at
 *     shortcut, find nothing to do in a pool that isn't plain, and needn't ask.
 * P3  MODE_CLOSED is the only bit of mode that ever changes, and is only set.
 */
#ifndef MEMPOOL_POOL_H
#define MEMPOOL_POOL_H

#include "atomics.h"
#include "cache.h"
#include "depot.h"
#include "geometry.h"
#include "lock.h"
#include "waiters.h"

#include <mempool.h>
#include <stdalign.h>

enum {
  MODE_LOCKED = 1,      /* other threads may be about: take the lock */
  MODE_CLOSED = 2,      /* hand nothing out any more */
  MODE_COUNTERS = 4,    /* count what is handed out, which the short way doesn't */
  MODE_GUARD = 8,       /* a canary behind each block */
  MODE_ZERO = 16,       /* wipe at free */
  MODE_ZERO_FIRST = 32, /* and at the first handing out: the memory was the caller's */
  MODE_SHARED = 64,     /* all else is in the room */
  MODE_POISON = 128,    /* look free blocks over before they are handed out again */
  MODE_REPORT = 256,    /* say on standard error what is wrong */
  MODE_CHECK = 512,     /* look the pool over when it is destroyed */
  MODE_MEMORY = 1024,   /* a tool watches who touches which block */
  MODE_THREADS = 2048,  /* and one, which thread has it after which */
  /* Something to do with a block that is being freed, or was taken. */
  MODE_AT_FREE = MODE_GUARD | MODE_ZERO | MODE_POISON | MODE_REPORT | MODE_MEMORY | MODE_THREADS,
  MODE_AT_ALLOC = MODE_ZERO_FIRST | MODE_POISON | MODE_MEMORY | MODE_THREADS
};

#define POOL_KNOWN_FLAGS                                                                                         \
  (MEMPOOL_SINGLE_THREADED | MEMPOOL_SHARED | MEMPOOL_NO_CACHE | MEMPOOL_STRICT | MEMPOOL_ZERO | MEMPOOL_GUARD | \
   MEMPOOL_PREFAULT | MEMPOOL_HUGE_PAGES | MEMPOOL_HUGE_PAGES_ONLY | MEMPOOL_COUNTERS | MEMPOOL_POISON |       \
   MEMPOOL_CHECK)

enum { NAME_BYTES = 32 };

/* The most bytes that a caller's options or stats may claim to have: no version will need more. */
enum { POOL_LARGEST_STRUCT = 4096 };

struct room;

/* Behind it, in the order of threads.h's slots, lie the caches. */
struct mempool {
  /* What the short ways of alloc and free use; where there are caches, it hardly ever changes. */
  struct depot shortcut;
  struct geometry geometry;
  uintptr_t caches_bytes; /* 0: no caches */
  atomic_u32 *places;     /* the depot's, if there are caches */
  atomic_word handed_out; /* the depot's fresh, if there are caches */
  struct room *room;      /* of a pool that processes share, see shared.h; else NULL */

  /* What is used with the lock held. */
  alignas(GEOMETRY_CACHE_LINE) atomic_u32 mode;
  struct lock lock;
  struct depot *depot;
  struct depot behind;
  struct waiters waiters;
  uint64_t alloc_count;
  uint64_t refused_frees;
  uint64_t failed_allocs;
  uint64_t damaged_blocks;
  struct bundles bundles;
  uint32_t open_caches; /* how many gates are open */
  uint32_t patience;    /* how often more the long way is gone before any may be */
  uint32_t open_gate;   /* the value of a gate that is open */
  mempool *next;        /* on the list of threads.c, and under its lock; as the next two */
  mempool *previous;
  const mempool *self;  /* the pool itself while it is on the list */

  /* Not changed after creation. */
  size_t block_size;
  size_t alignment;
  uint32_t flags;
  void *mapping; /* NULL in the caller's memory */
  size_t mapping_bytes;
  char name[NAME_BYTES];
};

/* Relaxed: MODE_CLOSED (P3) is looked at with the lock held where it matters. */
static inline uint32_t pool_mode(const mempool *pool)
{
  return load_relaxed_u32(&pool->mode);
}

/* What flags ask for to be done; whether blocks hold something before they are taken first. */
static inline uint32_t pool_mode_of(uint32_t flags, bool filled)
{
  uint32_t mode = 0;
  if ((flags & MEMPOOL_COUNTERS) != 0)
    mode |= MODE_COUNTERS;
  if ((flags & MEMPOOL_GUARD) != 0)
    mode |= MODE_GUARD;
  if ((flags & MEMPOOL_ZERO) != 0)
    mode |= filled ? MODE_ZERO | MODE_ZERO_FIRST : MODE_ZERO;
  if ((flags & MEMPOOL_POISON) != 0)
    mode |= MODE_POISON;
  if ((flags & MEMPOOL_CHECK) != 0)
    mode |= MODE_CHECK | MODE_REPORT;
  return mode;
}

/* Whether processes share it; a constant where there are no such pools. */
static inline bool pool_is_shared(const mempool *pool)
{
  return ATOMICS_LOCK_FREE && (pool_mode(pool) & MODE_SHARED) != 0;
}

static inline void pool_enter(mempool *pool)
{
  if ((pool_mode(pool) & MODE_LOCKED) != 0)
    lock_acquire(&pool->lock);
}

static inline void pool_leave(mempool *pool)
{
  if ((pool_mode(pool) & MODE_LOCKED) != 0)
    lock_release(&pool->lock);
}

/* With the lock held. */
static inline size_t pool_available(const mempool *pool)
{
  return pool->depot->count + (pool->geometry.capacity - pool->depot->fresh);
}

/* The cache at an offset in bytes, below caches_bytes. */
static inline struct cache *cache_at(const mempool *pool, uintptr_t offset)
{
  return (struct cache *)((uintptr_t)(pool + 1) + offset);
}

/* The functions that only look take the lock as well, which is why a pool is never a constant object. */
static inline mempool *pool_writable(const mempool *pool)
{
  return (mempool *)(uintptr_t)pool;
}

#endif /* MEMPOOL_POOL_H */
