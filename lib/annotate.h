/* SPDX-License-Identifier: MIT */
/*
 * What is told to the tools that watch a program: AddressSanitizer and Valgrind's
 * memcheck, which blocks may be touched; ThreadSanitizer, which thread has one
 * after which.  Knows no pool.  Nothing happens, and nothing is linked in, where
 * no tool watches.
 */
#ifndef MEMPOOL_ANNOTATE_H
#define MEMPOOL_ANNOTATE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether somebody watches. */
bool mempool__annotate_sees_memory(void);
bool mempool__annotate_sees_threads(void);

/* A pool is to come to be in memory, where others may have been left without their end: they have had their time. */
void mempool__annotate_reuse(const void *pool, void *memory, size_t bytes);

/* A pool of blocks comes to be in an area, none of which may be touched; and is no more. */
void mempool__annotate_begin(const void *pool, void *area, size_t bytes);
void mempool__annotate_end(const void *pool, void *area, size_t bytes);

/* Where the area is the library's own: what blocks point to is not lost.  And before it is unmapped. */
void mempool__annotate_mapped(const void *area, size_t bytes);
void mempool__annotate_unmapped(const void *area, size_t bytes);

/* A block is handed out; whether reading it before it was written is in order. */
void mempool__annotate_alloc(const void *pool, void *block, size_t bytes, bool defined);

/* It is given back, and is nobody's from now on. */
void mempool__annotate_free(const void *pool, void *block, size_t bytes);

/* The two of them for threads. */
void mempool__annotate_taken(void *block);
void mempool__annotate_given(void *block, size_t bytes);

/* What the calling thread does in between is the library's own affair. */
void mempool__annotate_look_away(void);
void mempool__annotate_look_again(void);

/*
 * For functions that read what nobody may touch, or what others may be writing
 * to; loops in them go by volatile bytes, lest they become a call.
 */
#if defined(__has_attribute)
#if __has_attribute(no_sanitize_address) && __has_attribute(no_sanitize_thread)
#define ANNOTATE_UNSEEN __attribute__((no_sanitize_address, no_sanitize_thread, noinline))
#endif
#endif
#ifndef ANNOTATE_UNSEEN
#define ANNOTATE_UNSEEN
#endif

#endif /* MEMPOOL_ANNOTATE_H */
