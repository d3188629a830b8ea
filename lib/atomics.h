/* SPDX-License-Identifier: MIT */
/*
 * The only way in which the library touches memory that threads share without
 * a lock.  The memory order stands in the name.
 */
#ifndef MEMPOOL_ATOMICS_H
#define MEMPOOL_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t atomic_u32;

static inline uint32_t load_relaxed_u32(const atomic_u32 *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline uint32_t load_acquire_u32(const atomic_u32 *word)
{
  return atomic_load_explicit(word, memory_order_acquire);
}

static inline void store_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline void store_release_u32(atomic_u32 *word, uint32_t value)
{
  atomic_store_explicit(word, value, memory_order_release);
}

static inline uint32_t exchange_acquire_u32(atomic_u32 *word, uint32_t value)
{
  return atomic_exchange_explicit(word, value, memory_order_acquire);
}

static inline uint32_t exchange_release_u32(atomic_u32 *word, uint32_t value)
{
  return atomic_exchange_explicit(word, value, memory_order_release);
}

static inline void or_relaxed_u32(atomic_u32 *word, uint32_t bits)
{
  (void)atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}

static inline bool compare_exchange_acquire_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_acquire,
                                                 memory_order_relaxed);
}

#endif /* MEMPOOL_ATOMICS_H */
