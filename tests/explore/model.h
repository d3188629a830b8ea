/* SPDX-License-Identifier: MIT */
/*
 * The memory model: that of C11 by views, without out-of-thin-air values and
 * their harmless cousin, load buffering; and with the order of stores to one
 * word being that of execution, so 2+2W is not seen either.
 *
 * M1  Each word has a history of stores.  A thread's view says for each word
 *     which is the oldest store that it may still read: the one it read or
 *     wrote last, or one that it was told of (coherence).
 * M2  A release store carries its thread's view; an acquire load that reads it
 *     joins that view.  A read-modify-write reads the newest store, and
 *     carries on the view of that (release sequence).
 * M3  A relaxed store carries the view of its thread's last fence; a fence
 *     joins the views of what was read relaxed before.
 * M4  Full fences are in one order, and each joins what those before it saw.
 *     That tells of words, and orders no plain access: only M2 and M3 do.
 *     A sequentially consistent store or read-modify-write comes before the
 *     fences behind it, with all that its thread has seen; and such a load
 *     reads nothing older than what came before it.  (Of a read-modify-write
 *     that is more than C11 says, of accesses that are weaker: but all
 *     processors have it, as they take a store that precedes a releasing one
 *     to be performed before that.)
 * M5  A failing compare-and-exchange reads the newest store.
 * M6  A word that is declared as guarded is one that no two threads access at
 *     the same time, by some other word's doing.  Its accesses are no steps,
 *     and read the newest; that they may be taken so is checked, as M7.
 * M7  Plain accesses, which compilation with -fsanitize=thread makes known,
 *     are checked for data races by clocks that travel with the views.
 */
#ifndef EXPLORE_MODEL_H
#define EXPLORE_MODEL_H

#include "atomics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { THREADS = 4, LOCATIONS = 60, STORES = 160 };

/* Forgets everything; addresses met so far keep their numbers until model_forget(). */
void model_start(unsigned threads, bool weak);
void model_forget(void);

/* Declares a word as guarded (M6), until model_forget(). */
void model_guard(const void *word);

/* Declares a word that nothing depends on: it is no state, and its accesses are no steps. */
void model_ignore(const void *word);

/* Declares memory in which each thread has a part of its own; and forgets it. */
void model_private(const void *memory, size_t bytes);

/* The calling thread learns that another has died: the kernel says so, after all that it did. */
void model_observe_death(unsigned thread);

/* Whether the calling thread can't read anything but the newest store. */
bool model_knows_newest(const void *word, unsigned bytes);

/* A full fence on every thread, each in a step of its own. */
void model_fence_all(void);

/* The newest value, as the kernel sees it. */
uint32_t model_peek(const uint32_t *word);

/* Lets the calling thread's last load wait for a newer store; and whether there is one by now. */
void model_await(void);
bool model_may_go_on(unsigned thread);

/* A thread that never runs again, and one that alone sees memory as it is from now on. */
void model_end(unsigned thread);
void model_see_all(unsigned thread);

/* Announces a plain access of the running thread. */
void model_plain(const void *address, size_t bytes, bool write);

/* A hash of histories, views and clocks, as far as they still matter to anybody. */
uint64_t model_hash(void);

/* One step of hashing; for hashes of other things, to be mixed in. */
static inline uint64_t mix(uint64_t hash, uint64_t word)
{
  hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

#endif
