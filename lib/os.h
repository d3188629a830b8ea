/* SPDX-License-Identifier: MIT */
/*
 * What the library wants of the operating system: pages, the monotonic clock,
 * a way to sleep until a word changes, a fence on all threads, and which
 * processes exist.  No policy.
 *
 * os_posix.c       pages, the clock, and the fence
 * os_wait_linux.c  sleeping, by futex
 * os_wait_posix.c  sleeping, by condition variables, where there is no futex
 *                  or MEMPOOL_NO_FUTEX is defined
 * os_emscripten.c  all of it, in WebAssembly
 */
#ifndef MEMPOOL_OS_H
#define MEMPOOL_OS_H

#include "atomics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__linux__) && !defined(MEMPOOL_NO_FUTEX)
#define OS_HAS_FUTEX 1
#else
#define OS_HAS_FUTEX 0
#endif

/* Whether there may be a second thread. */
#if defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__)
#define OS_HAS_THREADS 0
#else
#define OS_HAS_THREADS 1
#endif

/* A deadline that never comes. */
#define OS_NEVER INT64_MAX

/* The size of an ordinary page in bytes. */
size_t mempool__os_page_bytes(void);

/*
 * Maps bytes of zeroed private memory, a multiple of the page size.
 * NULL if the system refuses.
 */
void *mempool__os_map(size_t bytes);

/*
 * The same on huge pages of OS_HUGE_PAGE_BYTES, bytes being a multiple of
 * that.  NULL if the system has not enough of them, or none at all.
 */
#define OS_HUGE_PAGE_BYTES ((size_t)1 << 21)
void *mempool__os_map_huge(size_t bytes);

/* The two again, for memory that is shared with the processes that are forked from this one. */
void *mempool__os_map_shared(size_t bytes);
void *mempool__os_map_shared_huge(size_t bytes);

/* Unmaps what one of these mapped. */
void mempool__os_unmap(void *memory, size_t bytes);

/* Asks that a range of ordinary pages be backed by huge ones in time.  A hint. */
void mempool__os_prefer_huge(void *memory, size_t bytes);

/* Makes a range of whole pages inaccessible.  False if the system refuses. */
bool mempool__os_forbid(void *memory, size_t bytes);

/*
 * Makes sure that touching the range later faults no page in, and leaves its
 * content alone.  The range needn't consist of whole pages; nobody else may
 * use it meanwhile.  False if there is not enough memory.
 */
bool mempool__os_prefault(void *memory, size_t bytes);

/* Nanoseconds of the monotonic clock. */
int64_t mempool__os_now_ns(void);

/* Sleeps until the monotonic clock has reached deadline_ns. */
void mempool__os_sleep_until(int64_t deadline_ns);

/*
 * Sleeps while *word equals expected, until somebody calls os_wake on it, or
 * the monotonic clock reaches deadline_ns, which is not negative.  May also
 * return for no reason.  False if the deadline was reached.  Not a
 * cancellation point.
 */
bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns);

/* Wakes all threads that sleep on the word, or at least one of them.  The word is not read. */
void mempool__os_wake(atomic_u32 *word);
void mempool__os_wake_one(atomic_u32 *word);

/*
 * The same on a word in memory that processes share, whatever address each has
 * it at; the wake-up is for all who sleep there.  Without a futex, sleeping
 * means to look again before long.
 */
bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns);
void mempool__os_wake_all_shared(atomic_u32 *word);

/*
 * What the environment asks for in MEMPOOL_DEBUG; NULL if nothing, or if this
 * program has more rights than who started it.  And a line for standard error,
 * which may be said anywhere, and is lost if it can't be.
 */
const char *mempool__os_debug_words(void);
void mempool__os_say(const char *line, size_t length);

/*
 * Which process this is, 0 if the system has none; among whose numbers that is
 * one (of 1 to 255; two containers' seldom have the same), 0 if that can't be
 * told; and when a process of these started, in a measure of the system's own
 * that no later process of that number has again.  0 if there is no such
 * process, or it has ended and only waits for its parent to notice; 1 if there
 * is, but nothing more can be told.
 */
uint32_t mempool__os_process(void);
uint32_t mempool__os_process_space(void);
uint64_t mempool__os_process_start(uint32_t process);

/*
 * The heavy half of an asymmetric fence.  os_fence_prepare() says whether this
 * process can have it, and is called before the first use, and again in the
 * child of a fork.  os_fence_all() is a full fence on the calling thread and,
 * at some moment during the call, on every other thread of the process that
 * runs, so that fence_light() suffices there.
 */
bool mempool__os_fence_prepare(void);
void mempool__os_fence_all(void);

/* Lets other threads run. */
void mempool__os_yield(void);

#endif /* MEMPOOL_OS_H */
