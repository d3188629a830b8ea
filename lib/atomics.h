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

/* Whether the target can do without a lock what pools need that processes share. */
#if ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2
#define ATOMICS_LOCK_FREE 1
#else
#define ATOMICS_LOCK_FREE 0
#endif

/* Whether this is built with ThreadSanitizer, which compilers say in one way or the other. */
#if defined(__SANITIZE_THREAD__)
#define ATOMICS_SEEN_BY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ATOMICS_SEEN_BY_TSAN 1
#endif
#endif
#ifndef ATOMICS_SEEN_BY_TSAN
#define ATOMICS_SEEN_BY_TSAN 0
#endif

typedef _Atomic uint32_t atomic_u32;
typedef _Atomic uint64_t atomic_u64;
typedef _Atomic uintptr_t atomic_word;
typedef _Atomic(void *) atomic_pointer;

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

static inline uint32_t load_seq_cst_u32(const atomic_u32 *word)
{
  return atomic_load_explicit(word, memory_order_seq_cst);
}

static inline void store_seq_cst_u32(atomic_u32 *word, uint32_t value)
{
  atomic_store_explicit(word, value, memory_order_seq_cst);
}

static inline uint32_t exchange_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return atomic_exchange_explicit(word, value, memory_order_acq_rel);
}

static inline uint32_t exchange_seq_cst_u32(atomic_u32 *word, uint32_t value)
{
  return atomic_exchange_explicit(word, value, memory_order_seq_cst);
}

/* These three return what the word held before. */
static inline uint32_t or_acq_rel_u32(atomic_u32 *word, uint32_t bits)
{
  return atomic_fetch_or_explicit(word, bits, memory_order_acq_rel);
}

static inline uint32_t and_acq_rel_u32(atomic_u32 *word, uint32_t bits)
{
  return atomic_fetch_and_explicit(word, bits, memory_order_acq_rel);
}

static inline uint32_t add_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return atomic_fetch_add_explicit(word, value, memory_order_acq_rel);
}

static inline bool compare_exchange_relaxed_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_relaxed,
                                                 memory_order_relaxed);
}

static inline bool compare_exchange_acq_rel_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static inline bool compare_exchange_seq_cst_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_seq_cst,
                                                 memory_order_relaxed);
}

static inline uint64_t load_relaxed_u64(const atomic_u64 *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline uint64_t load_acquire_u64(const atomic_u64 *word)
{
  return atomic_load_explicit(word, memory_order_acquire);
}

static inline void store_relaxed_u64(atomic_u64 *word, uint64_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline void store_release_u64(atomic_u64 *word, uint64_t value)
{
  atomic_store_explicit(word, value, memory_order_release);
}

static inline void add_relaxed_u64(atomic_u64 *word, uint64_t value)
{
  (void)atomic_fetch_add_explicit(word, value, memory_order_relaxed);
}

static inline void add_acq_rel_u64(atomic_u64 *word, uint64_t value)
{
  (void)atomic_fetch_add_explicit(word, value, memory_order_acq_rel);
}

static inline void or_acq_rel_u64(atomic_u64 *word, uint64_t bits)
{
  (void)atomic_fetch_or_explicit(word, bits, memory_order_acq_rel);
}

static inline bool compare_exchange_acq_rel_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static inline uintptr_t load_relaxed_word(const atomic_word *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void store_relaxed_word(atomic_word *word, uintptr_t value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline void *load_relaxed_pointer(const atomic_pointer *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void store_relaxed_pointer(atomic_pointer *word, void *value)
{
  atomic_store_explicit(word, value, memory_order_relaxed);
}

/* The light half of an asymmetric fence: keeps the compiler from moving memory accesses over it, and nothing else. */
static inline void fence_light(void)
{
  atomic_signal_fence(memory_order_seq_cst);
}

/* A full fence. */
static inline void fence_full(void)
{
#if ATOMICS_SEEN_BY_TSAN
  /* ThreadSanitizer knows no fences. */
  static atomic_u32 dummy;
  (void)atomic_fetch_add_explicit(&dummy, 1, memory_order_seq_cst);
#else
  atomic_thread_fence(memory_order_seq_cst);
#endif
}

#endif /* MEMPOOL_ATOMICS_H */
