/* SPDX-License-Identifier: MIT */
/*
 * libmempool: a pool of fixed-size memory blocks.
 *
 * Everything a pool needs is obtained once, at creation.  After that taking
 * and freeing a block are O(1), never call the system's allocator, never
 * abort and never move a block.  The library keeps nothing inside a block, so
 * a stray write into a free or a neighbouring block can't corrupt the pool,
 * and every block that comes back is checked: a pointer that is not a block
 * of this pool, and a block that is already free, are refused with an error
 * and change nothing.
 *
 *     mempool *pool;
 *     if (mempool_create(&pool, 4096, 1000, NULL) != MEMPOOL_OK)
 *       return 1;
 *     void *block = mempool_alloc(pool);
 *     if (block != NULL)
 *       mempool_free(pool, block);
 *     mempool_destroy(pool);
 *
 * Threads: unless a function says otherwise, any thread may call it at any
 * time on a pool made without MEMPOOL_SINGLE_THREADED, without registration.
 * A pool made with MEMPOOL_SINGLE_THREADED may be used by one thread at a
 * time, whatever the function.  fork(): the child may use its copy of every
 * pool.  Signal handlers must not call the library, but may call
 * mempool_alloc() and mempool_free() on a pool made with MEMPOOL_SHARED.  The
 * pages mempool_threads and mempool_shared in section 7 of the manual say all
 * of it.
 *
 * Arguments: no value of any argument crashes the library, except a pool or a
 * pointer to results that is neither NULL nor valid.  Errors are negative.
 * errno says nothing after a call, and may have changed.
 *
 * Cost: "O(1)" means a bounded number of instructions that does not depend on
 * the capacity or on the block size.  On top of it come, except in a pool
 * made with MEMPOOL_SINGLE_THREADED, waiting for the pool's lock, which is
 * taken rarely where threads have caches, and for an allocation that finds
 * blocks nowhere else, collecting what lies in other threads' caches.  A pool
 * made with MEMPOOL_SHARED has no lock: its calls never wait for anybody.  An
 * allocation there that finds nothing looks at all blocks if somebody was
 * killed, or is held up, inside a call.
 */
#ifndef MEMPOOL_H
#define MEMPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The version of this header; mempool_version() tells the library's. */
#define MEMPOOL_VERSION_MAJOR 0
#define MEMPOOL_VERSION_MINOR 1
#define MEMPOOL_VERSION_PATCH 0

#if defined(__GNUC__)
#define MEMPOOL_API __attribute__((visibility("default")))
#else
#define MEMPOOL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A pool.  Its content is private. */
typedef struct mempool mempool;

/* What a call came to.  mempool_strerror() gives the words. */
typedef enum mempool_status {
  MEMPOOL_OK = 0,
  MEMPOOL_E_INVALID_ARGUMENT = -1,   /* an argument is outside what is allowed */
  MEMPOOL_E_INVALID_BLOCK_SIZE = -2, /* 0, or block_size * capacity does not fit the address space */
  MEMPOOL_E_NO_MEMORY = -3,          /* the system, or the caller's buffer, is too small */
  MEMPOOL_E_EXHAUSTED = -4,          /* every block is out */
  MEMPOOL_E_FOREIGN_BLOCK = -5,      /* not a block of this pool */
  MEMPOOL_E_DOUBLE_FREE = -6,        /* a block of this pool that is already free */
  MEMPOOL_E_TIMED_OUT = -7,          /* no block came free in time */
  MEMPOOL_E_CLOSED = -8,             /* the pool was closed */
  MEMPOOL_E_CORRUPTED = -9,          /* an invariant does not hold */
  MEMPOOL_E_UNSUPPORTED = -10        /* this build or platform can't do what the options ask */
} mempool_status;

/* Flags of mempool_options. */
#define MEMPOOL_SINGLE_THREADED 0x0001u /* the caller promises one thread at a time: no lock is taken */
#define MEMPOOL_SHARED 0x0002u          /* shared by processes, whatever happens to one of them: see below */
#define MEMPOOL_NO_CACHE 0x0004u        /* no per-thread caches: every call takes the pool's lock */
#define MEMPOOL_STRICT 0x0008u          /* of two racing frees of one block exactly one succeeds */
#define MEMPOOL_ZERO 0x0010u            /* freed blocks are wiped: every block is handed out zeroed */
#define MEMPOOL_GUARD 0x0020u           /* overruns are caught: a canary behind each block, see below */
#define MEMPOOL_PREFAULT 0x0040u        /* touch all memory at creation: no page fault later */
#define MEMPOOL_HUGE_PAGES 0x0080u      /* use huge pages where the system has them, else ordinary ones */
#define MEMPOOL_HUGE_PAGES_ONLY 0x0100u /* use huge pages, or refuse with MEMPOOL_E_NO_MEMORY */
#define MEMPOOL_COUNTERS 0x0200u        /* count blocks allocated and freed, for mempool_get_stats() */
#define MEMPOOL_POISON 0x0400u          /* writes to freed blocks are caught: they are filled, and looked over */
#define MEMPOOL_CHECK 0x0800u           /* what is found wrong is said on standard error, at destruction as well */

/*
 * What a pool should be.  Initialise it with MEMPOOL_OPTIONS_INIT, which
 * stands for the defaults, and set the members that should differ.
 *
 * size          sizeof (mempool_options), as the caller was compiled.  Later
 *               versions may add members; those that a caller doesn't have
 *               are taken as 0.  Unknown bytes that are not 0 are refused,
 *               and so is a size of 0 or of more than 4096.
 * flags         MEMPOOL_SINGLE_THREADED and the others, or-ed together.  Built
 *               where there are no threads (Emscripten without -pthread),
 *               every pool without MEMPOOL_SHARED is single-threaded.
 * cache_blocks  the most blocks that the cache of one thread may hold;
 *               0 for the default: a sixteenth of the capacity, at most 128,
 *               and no caches if the capacity is below 64.  Pools made with
 *               MEMPOOL_STRICT, MEMPOOL_ZERO, MEMPOOL_GUARD,
 *               MEMPOOL_COUNTERS, MEMPOOL_POISON or MEMPOOL_CHECK have no
 *               caches.  With MEMPOOL_SHARED the
 *               default is the capacity, and at most 64, which is also the
 *               most; such caches hide nothing.
 * alignment     of every block, in bytes: a power of two up to 2 MiB, or 0
 *               for the default, which is that of max_align_t, and 64 (a
 *               cache line) for blocks of 64 bytes or more.
 * name          shown by mempool_dump(); copied, the first 31 bytes of it;
 *               NULL for none.
 * max_owners    with MEMPOOL_SHARED, how many may be attached at once, 1 to
 *               65534; 0 for the default, which is 65534.  Each takes twelve
 *               bytes of the pool's memory.  Without that flag of no effect.
 *
 * With MEMPOOL_GUARD eight bytes right behind each block's block_size bytes
 * hold a canary.  mempool_free() and mempool_check() tell when it was
 * overwritten.  In a pool made by mempool_create() inaccessible pages lie
 * before and behind the blocks: right behind the last one, as near as the
 * alignment allows, and within a page before the first one; not with
 * MEMPOOL_SHARED.
 *
 * With MEMPOOL_POISON a block is filled when it is freed, with zeros if
 * MEMPOOL_ZERO is given as well, and looked over when it is taken again:
 * mempool_check() tells of a write to a free block, and so does the figure
 * damaged_blocks, once the block was taken.
 *
 * With MEMPOOL_CHECK what is found wrong is said on standard error, a line
 * each: frees that are refused, and why; blocks that were overrun, or written
 * to after they were freed, with MEMPOOL_GUARD and MEMPOOL_POISON; and by
 * mempool_destroy(), if mempool_check() finds anything, and how many blocks
 * are still out.
 *
 * The environment variable MEMPOOL_DEBUG asks for the same of all pools that
 * are made, in words with commas between them: guard, zero, poison, strict and
 * check stand for the flags; any of them has what is found wrong said.  It is
 * ignored in programs with more rights than who starts them.  And if
 * AddressSanitizer, Valgrind's memcheck or ThreadSanitizer watches the program,
 * they are told what a block is; the word hide ends that.  Pools made under a
 * tool, or under any word but hide, have no caches, except with MEMPOOL_SHARED.
 * See mempool_debugging(7).
 *
 * With MEMPOOL_SHARED everything that the pool is lies in its memory, with no
 * pointer in it and no lock: processes that map the memory share the pool,
 * each through a handle of its own, which mempool_init() and mempool_create()
 * give to the one who makes it and mempool_attach() to every other.  A process
 * that is stopped or killed at any instruction blocks nobody, and what it held
 * is given back by mempool_recover().  Such a pool always does what
 * MEMPOOL_STRICT asks for, and has caches, which hide nothing, whatever else it
 * is asked for; with MEMPOOL_NO_CACHE, for one block each.
 * MEMPOOL_SINGLE_THREADED can't be had with it.
 */
typedef struct mempool_options {
  size_t size;
  uint32_t flags;
  uint32_t cache_blocks;
  size_t alignment;
  const char *name;
  size_t max_owners;
} mempool_options;

#define MEMPOOL_OPTIONS_INIT { sizeof(mempool_options), 0, 0, 0, NULL, 0 }

/*
 * The figures of a pool.  Set size to sizeof (mempool_stats), or initialise
 * with MEMPOOL_STATS_INIT, before calling mempool_get_stats().
 *
 * size           sizeof (mempool_stats), as the caller was compiled.
 * block_size     bytes in a block, as asked for at creation.
 * capacity       blocks in the pool.
 * used           blocks that are out now.
 * available      blocks that are free now; used + available == capacity.
 * peak_used      the most blocks that were ever out at once; in a pool with
 *                caches, at most what these can hold more than that.
 * waiting        threads that are inside mempool_alloc_wait() for want of a
 *                block.
 * refused_frees  blocks that mempool_free() and mempool_free_bulk() refused.
 * failed_allocs  calls that gave nothing for want of a block: an alloc, a
 *                bulk, a burst, a try, a time-out.
 * alloc_count    blocks allocated, with MEMPOOL_COUNTERS; else 0.
 * free_count     blocks freed, with MEMPOOL_COUNTERS; else 0.
 * damaged_blocks how often a block was found overrun when it was freed, with
 *                MEMPOOL_GUARD, or written to while it was free when it was
 *                taken again, with MEMPOOL_POISON.
 */
typedef struct mempool_stats {
  size_t size;
  size_t block_size;
  size_t capacity;
  size_t used;
  size_t available;
  size_t peak_used;
  size_t waiting;
  uint64_t refused_frees;
  uint64_t failed_allocs;
  uint64_t alloc_count;
  uint64_t free_count;
  uint64_t damaged_blocks;
} mempool_stats;

#define MEMPOOL_STATS_INIT { sizeof(mempool_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * What mempool_foreach() calls for a block.  block is its address, index its
 * number from 0, arg what the caller gave.  Returning 0 goes on, anything
 * else stops.
 */
typedef int (*mempool_visitor)(void *block, uint32_t index, void *arg);

/* ---- Creation ---- */

/*
 * Makes a pool of capacity blocks of block_size bytes each, in memory of its
 * own, and stores it in *pool.
 *
 * pool        where the pool is stored; NULL is stored on failure.
 * block_size  bytes in a block, at least 1.
 * capacity    blocks, 1 to 2^32 - 2.
 * options     what else to ask for; NULL for the defaults.
 *
 * The blocks read as zeros at first.  Untouched ones cost no memory, unless
 * MEMPOOL_PREFAULT is given.  With MEMPOOL_SHARED the memory is shared with
 * the processes that are forked from this one.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_INVALID_BLOCK_SIZE if block_size is 0 or the
 * whole does not fit the address space; MEMPOOL_E_INVALID_ARGUMENT for a bad
 * capacity, alignment, flag or options size, or if pool is NULL;
 * MEMPOOL_E_NO_MEMORY if the system refuses the memory, or the huge pages
 * that MEMPOOL_HUGE_PAGES_ONLY asks for; MEMPOOL_E_UNSUPPORTED if this build
 * can't do what the options ask.  After a failure nothing is held.
 *
 * Threads: any thread, at any time.
 * Cost: O(1) beyond the mapping of the memory; no block is touched, unless
 * MEMPOOL_PREFAULT is given.
 */
MEMPOOL_API mempool_status mempool_create(mempool **pool, size_t block_size, size_t capacity,
                                          const mempool_options *options);

/*
 * Computes how many bytes mempool_init() needs for such a pool, wherever the
 * memory begins.
 *
 * block_size, capacity, options  as for mempool_create().
 *
 * Returns the number of bytes; 0 if mempool_create() would refuse the
 * arguments, whatever memory there is.
 *
 * Threads: any thread, at any time.
 * Cost: O(1).
 */
MEMPOOL_API size_t mempool_required_size(size_t block_size, size_t capacity, const mempool_options *options);

/*
 * Makes a pool in memory that the caller provides: static storage, a stack
 * array, a mapping.  No memory is allocated.  The memory belongs to the pool
 * until mempool_destroy(), which leaves it to the caller: before that it must
 * not be unmapped, and if it is written to, forks and ends of threads may not
 * see to the pools that were made earlier.
 *
 * pool        where the pool is stored; NULL is stored on failure.
 * memory      the memory, of any alignment.
 * size        bytes in it, at least what mempool_required_size() says.
 * block_size, capacity, options  as for mempool_create().
 *
 * The blocks hold at first what the memory held, unless MEMPOOL_ZERO is
 * given.  Bytes of the memory behind what is required are left alone.
 * MEMPOOL_HUGE_PAGES has no effect on the caller's memory.
 *
 * Returns what mempool_create() returns; MEMPOOL_E_NO_MEMORY if size is too
 * small; MEMPOOL_E_INVALID_ARGUMENT if memory is NULL or would run past the
 * end of the address space; MEMPOOL_E_UNSUPPORTED for MEMPOOL_HUGE_PAGES_ONLY.
 *
 * Threads: any thread, on memory that nobody else uses.
 * Cost: O(1); no block is touched, unless MEMPOOL_PREFAULT is given.
 */
MEMPOOL_API mempool_status mempool_init(mempool **pool, void *memory, size_t size, size_t block_size, size_t capacity,
                                        const mempool_options *options);

/*
 * Closes a pool: every thread that waits in mempool_alloc_wait(), and every
 * later call that asks for a block, comes back without one.  Blocks that are
 * out stay valid, and freeing them stays legal.  Closing again does nothing.
 *
 * pool  the pool; NULL does nothing.
 *
 * Cost: O(1), and a wake-up for each thread that waits.
 */
MEMPOOL_API void mempool_close(mempool *pool);

/*
 * Ends a pool.  All of its blocks become invalid, those that are out too.
 * The memory of a pool from mempool_create() goes back to the system; that of
 * a pool from mempool_init() is the caller's again.
 *
 * Of a pool made with MEMPOOL_SHARED only the handle ends: it is detached, and
 * the pool lives on in its memory for those who are attached, whoever made it.
 * Blocks that it still holds stay out, in the name of its owner, until
 * somebody frees or recovers them; only then is that owner's number given to
 * another.
 * In a forked child, the handle that came from the parent ends there alone.
 *
 * pool  the pool; NULL does nothing.
 *
 * Threads: no other call on the pool, or with MEMPOOL_SHARED through this
 * handle, may be under way, or follow.
 * Cost: that of unmapping the memory; with MEMPOOL_SHARED, O(capacity).
 */
MEMPOOL_API void mempool_destroy(mempool *pool);

/* ---- Blocks ---- */

/*
 * Takes a block.  Never waits for one.  The block freed last on this thread is
 * handed out first, unless it had to go to somebody else.
 *
 * pool  the pool.
 *
 * Returns the block, block_size bytes that are the caller's alone until it is
 * freed; NULL if every block is out, if the pool is closed, or if pool is
 * NULL.  A failure changes nothing but the count of failed_allocs, which
 * doesn't count refusals of a closed pool.
 *
 * Threads: as said on top; a signal handler may call it on a pool made with
 * MEMPOOL_SHARED.
 * Cost: O(1); with MEMPOOL_ZERO in memory from the caller, O(block size) when
 * a block is handed out for the first time, here and in the functions below.
 */
MEMPOOL_API void *mempool_alloc(mempool *pool);

/*
 * Takes a block, and waits for one if every block is out.  Threads are served
 * in the order in which they began to wait: a block that is freed while
 * somebody waits goes straight to the first of them.
 *
 * pool        the pool.
 * block       where the block is stored; NULL is stored on failure.
 * timeout_ns  how long to wait at most, in nanoseconds of the monotonic
 *             clock; 0 not to wait; negative to wait for ever.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_EXHAUSTED if timeout_ns is 0 and every block
 * is out; MEMPOOL_E_TIMED_OUT if none came free in time; MEMPOOL_E_CLOSED if
 * the pool is closed, before or meanwhile; MEMPOOL_E_INVALID_ARGUMENT if pool
 * or block is NULL.  A failure leaves no trace but the count of
 * failed_allocs.
 *
 * In a pool made with MEMPOOL_SHARED threads of all processes are woken when a
 * block comes free, and one of them gets it, in no order.  A process that is
 * killed while it waits is in nobody's way.
 *
 * In a pool made with MEMPOOL_SINGLE_THREADED nobody can free a block
 * meanwhile: a negative timeout_ns returns MEMPOOL_E_EXHAUSTED at once rather
 * than wait for ever, a positive one sleeps its time out.
 *
 * Threads: as said on top; it is no cancellation point, and a signal handler
 * that returns does not end the wait.
 * Cost: O(1), and the wait.
 */
MEMPOOL_API mempool_status mempool_alloc_wait(mempool *pool, void **block, int64_t timeout_ns);

/*
 * Takes count blocks, or none.
 *
 * pool    the pool.
 * blocks  where the blocks are stored; untouched on failure, except in a pool
 *         made with MEMPOOL_SHARED, when others take blocks at the same time.
 * count   how many; 0 takes none.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_EXHAUSTED if fewer than count blocks are
 * free; MEMPOOL_E_CLOSED if the pool is closed; MEMPOOL_E_INVALID_ARGUMENT if
 * pool is NULL, or blocks is NULL and count is not 0.  A failure changes
 * nothing but the count of failed_allocs.
 *
 * Cost: O(count); the lock is taken once.
 */
MEMPOOL_API mempool_status mempool_alloc_bulk(mempool *pool, void **blocks, size_t count);

/*
 * Takes as many blocks as there are, up to count.
 *
 * pool    the pool.
 * blocks  where the blocks are stored; what lies behind those that were taken
 *         is untouched.
 * count   how many at most.
 *
 * Returns how many were taken; 0 also if the pool is closed, if pool is NULL,
 * or if blocks is NULL.
 *
 * Cost: O(blocks taken); the lock is taken once.
 */
MEMPOOL_API size_t mempool_alloc_burst(mempool *pool, void **blocks, size_t count);

/*
 * Gives a block back.  Any thread may free a block, whichever took it.
 *
 * pool   the pool that the block came from.
 * block  the block, as it was handed out; NULL is MEMPOOL_OK and does nothing.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_FOREIGN_BLOCK if block is not the start of a
 * block of this pool; MEMPOOL_E_DOUBLE_FREE if the block is free already;
 * MEMPOOL_E_INVALID_ARGUMENT if pool is NULL.  These refusals change nothing
 * but the count of refused_frees.  MEMPOOL_E_CORRUPTED, with MEMPOOL_GUARD
 * only: something wrote behind the end of the block; the block is free now
 * all the same, its canary is whole again, and refused_frees doesn't count it.
 *
 * Threads: when two threads free one block at the same time, MEMPOOL_STRICT
 * and MEMPOOL_SHARED promise that exactly one of them succeeds.  Without them
 * both may, and the block may be handed out twice later on.  A signal handler
 * may call it on a pool made with MEMPOOL_SHARED.
 * Cost: O(1); with MEMPOOL_ZERO or MEMPOOL_POISON, O(block size).
 */
MEMPOOL_API mempool_status mempool_free(mempool *pool, void *block);

/*
 * Gives count blocks back.  Each is judged for itself, as by mempool_free():
 * the valid ones are freed, the bad ones refused.
 *
 * pool    the pool that the blocks came from.
 * blocks  the blocks; NULLs among them are skipped.
 * count   how many; 0 does nothing.
 *
 * Returns MEMPOOL_OK if none was refused or damaged, else the first error
 * met, as mempool_free() gives them; MEMPOOL_E_INVALID_ARGUMENT, and nothing
 * is freed, if pool is NULL, or blocks is NULL and count is not 0.
 *
 * Cost: O(count); the lock is taken once, or with MEMPOOL_ZERO or
 * MEMPOOL_GUARD twice for each block.
 */
MEMPOOL_API mempool_status mempool_free_bulk(mempool *pool, void *const *blocks, size_t count);

/* ---- Pools shared by processes ---- */

/*
 * Attaches the caller to a pool that somebody made with MEMPOOL_SHARED, in
 * memory that both have: by mempool_init() in a mapping that both made, at
 * whatever address each has it.  The caller becomes one more owner of blocks.
 *
 * pool    where the handle is stored, for this process alone; NULL is stored
 *         on failure.
 * memory  the same memory that was given to mempool_init().
 * size    bytes in it, at least what mempool_required_size() says.
 *
 * Everything in the memory is checked before it is used, so that nothing
 * outside of memory and size is ever touched, whatever lies in there.  Nobody
 * is waited for: a pool that somebody is still making is none yet.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_CORRUPTED if the memory is no sound pool, or
 * not yet, or no longer, or larger than size, or of a version or machine
 * whose pools this library can't read; MEMPOOL_E_INVALID_ARGUMENT if pool or memory is NULL, if the
 * memory would run past the end of the address space, or if it lies at an
 * address at which the blocks don't have the alignment that the pool was made
 * with; MEMPOOL_E_NO_MEMORY if the system refuses memory for the handle, or
 * as many as the pool allows are attached; MEMPOOL_E_UNSUPPORTED if this
 * build has no shared pools.  After a failure nothing is held.
 *
 * The number of an owner who detached is given to another; if blocks were left
 * in its name, once they are freed or recovered; if its process had forked
 * since it attached, so that a child may still work in its name, only once it
 * is recovered.  If every number is taken, that of an owner whose process no
 * longer exists, and has not forked since it attached, is taken over, and what
 * was held in its name given back, as by mempool_recover_dead().
 *
 * Threads: any thread of any process, at any time.
 * Cost: O(most owners); O(capacity) besides if every number is in use.
 */
MEMPOOL_API mempool_status mempool_attach(mempool **pool, void *memory, size_t size);

/*
 * Tells the number of the owner that a handle is: what mempool_recover() is
 * told when this process is gone.
 *
 * pool  the handle.
 *
 * Returns 1 to 65534; 0 if pool is NULL, or not made with MEMPOOL_SHARED.  In
 * a forked child the handle that came from the parent tells the parent's.
 *
 * Cost: O(1).
 */
MEMPOOL_API uint32_t mempool_owner(const mempool *pool);

/*
 * Gives back every block that an owner holds who is gone for good, finishes
 * what it was doing, and frees its number.  Others go on meanwhile.
 *
 * pool       the pool.
 * owner      who is gone, by number.  It must not be at work any more: to
 *            recover one that lives takes its blocks away from it.
 * recovered  where the number of blocks that came back is stored; 0 on
 *            failure.  May be NULL.
 *
 * A block is held by the owner through whose handle it was taken, whoever has
 * got it since.  Recovering an owner again, or one that never was, gives back
 * nothing and is no error.  Of two who recover an owner at the same time one
 * does it, and the other returns at once with 0; each block is counted once.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_INVALID_ARGUMENT if pool is NULL or not made
 * with MEMPOOL_SHARED, or owner is 0, the caller's own, or more than there may
 * be.
 *
 * Threads: any thread, but not in a signal handler.
 * Cost: O(capacity), at most 10 ms for a million blocks on common machines.
 */
MEMPOOL_API mempool_status mempool_recover(mempool *pool, uint32_t owner, size_t *recovered);

/*
 * Finds the owners whose process no longer exists, by process number and
 * start time, and recovers each as by mempool_recover().  Of a process in
 * another process namespace (a container) nothing can be told, and it is left
 * alone: who knows that it is gone may call mempool_recover().
 *
 * pool       the pool.
 * recovered  where the number of blocks that came back is stored; 0 on
 *            failure.  May be NULL.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_INVALID_ARGUMENT if pool is NULL or not made
 * with MEMPOOL_SHARED; MEMPOOL_E_UNSUPPORTED if this platform can't tell
 * which processes exist.
 *
 * Threads: any thread, but not in a signal handler.
 * Cost: O(most owners), some system calls for each that is attached, and
 * O(capacity) for each that is recovered.
 */
MEMPOOL_API mempool_status mempool_recover_dead(mempool *pool, size_t *recovered);

/* ---- Looking ---- */

/*
 * Tells the size of a block, as asked for at creation.
 *
 * pool  the pool.
 *
 * Returns bytes; 0 if pool is NULL.
 *
 * Cost: O(1), no lock.
 */
MEMPOOL_API size_t mempool_block_size(const mempool *pool);

/*
 * Tells how many blocks a pool has, free or not.
 *
 * pool  the pool.
 *
 * Returns blocks; 0 if pool is NULL.
 *
 * Cost: O(1), no lock.
 */
MEMPOOL_API size_t mempool_capacity(const mempool *pool);

/*
 * Tells the figures of a pool.  They are exact when no call is under way, what
 * lies in threads' caches included.
 *
 * pool   the pool.
 * stats  where they are stored; its member size is set by the caller.  A
 *        smaller size than today's is filled as far as it reaches; of a
 *        larger one the rest is set to 0.  size itself is left as it is.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_INVALID_ARGUMENT, and nothing is stored, if
 * pool or stats is NULL, or stats->size is 0 or more than 4096, as where it was
 * never set.
 *
 * Cost: O(1); with MEMPOOL_SHARED O(owners that there ever were), and O(capacity)
 * at times, after somebody was killed inside a call.
 */
MEMPOOL_API mempool_status mempool_get_stats(const mempool *pool, mempool_stats *stats);

/*
 * Tells whether an address lies in the pool's blocks: at the start of one,
 * inside of one, or in the padding behind one.
 *
 * pool     the pool.
 * address  any address.
 *
 * Returns true if it does; false if it doesn't, or if pool is NULL.
 *
 * Cost: O(1), no lock.
 */
MEMPOOL_API bool mempool_contains(const mempool *pool, const void *address);

/*
 * Tells the index of a block, free or not.
 *
 * pool   the pool.
 * block  the start of a block.
 * index  where the index is stored, 0 to capacity - 1; untouched on failure.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_FOREIGN_BLOCK if block is not the start of a
 * block of this pool; MEMPOOL_E_INVALID_ARGUMENT if pool or index is NULL.
 *
 * Cost: O(1), no lock.
 */
MEMPOOL_API mempool_status mempool_block_index(const mempool *pool, const void *block, uint32_t *index);

/*
 * Tells the address of the block with an index, free or not.
 *
 * pool   the pool.
 * index  of the block, from 0.
 *
 * Returns the block; NULL if index is not below the capacity, or if pool is
 * NULL.
 *
 * Cost: O(1), no lock.
 */
MEMPOOL_API void *mempool_block_at(const mempool *pool, uint32_t index);

/*
 * Calls visit(block, index, arg) for each block that is out, by ascending
 * index, until visit returns something else than 0.  visit may call any
 * function on the pool but mempool_destroy(); it may free the block.
 *
 * pool   the pool.
 * visit  what to call.
 * arg    handed to visit.
 *
 * Returns MEMPOOL_OK, also if visit stopped it; MEMPOOL_E_INVALID_ARGUMENT if
 * pool or visit is NULL.
 *
 * Threads: a block that another thread takes or frees meanwhile may be
 * visited or not, and may be free by the time that visit sees it.
 * Cost: O(blocks ever handed out), with MEMPOOL_SHARED O(capacity); no lock is
 * held while visit runs.
 */
MEMPOOL_API mempool_status mempool_foreach(mempool *pool, mempool_visitor visit, void *arg);

/*
 * Verifies every invariant of a pool: that each block is either out or free,
 * no free one is lost or listed twice, the figures agree, and, with
 * MEMPOOL_GUARD and MEMPOOL_POISON, that no block was overrun, or written to
 * while it was free.
 *
 * pool  the pool.
 *
 * Returns MEMPOOL_OK; MEMPOOL_E_CORRUPTED if an invariant does not hold;
 * MEMPOOL_E_INVALID_ARGUMENT if pool is NULL.  Nothing is mended.  The
 * threads' caches are emptied for it, and filled again in time.
 *
 * In a pool made with MEMPOOL_SHARED nothing is emptied, and others go on; the
 * figures are judged only if nobody did anything meanwhile.
 *
 * Cost: O(blocks ever handed out), with the lock held; with MEMPOOL_SHARED
 * O(capacity).
 */
MEMPOOL_API mempool_status mempool_check(const mempool *pool);

/*
 * Writes a description of a pool, with its figures, for people to read.  Its
 * form may change between versions.
 *
 * pool    the pool; NULL writes "mempool: none".
 * stream  where to write; NULL writes nothing.
 *
 * Cost: O(1), and the output; the lock is not held while writing.
 */
MEMPOOL_API void mempool_dump(const mempool *pool, FILE *stream);

/*
 * Gives the words for a status: what was wrong, and what to do.
 *
 * status  any value.
 *
 * Returns a constant string, never NULL.
 *
 * Threads: any thread, at any time.
 * Cost: O(1).
 */
MEMPOOL_API const char *mempool_strerror(mempool_status status);

/*
 * Tells the version of the library that runs.
 *
 * Returns a constant string, "MAJOR.MINOR.PATCH".
 *
 * Threads: any thread, at any time.
 * Cost: O(1).
 */
MEMPOOL_API const char *mempool_version(void);

#ifdef __cplusplus
}
#endif

#endif /* MEMPOOL_H */
