/* SPDX-License-Identifier: MIT */
/*
 * Takes the place of lib/atomics.h, whose include guard it sets: every access
 * that the library makes to memory shared without a lock goes to the model.
 *
 * The words are plain ones: raw memory always holds the newest store, so that
 * what happens before the modelled threads start needs no model.  The weaker
 * operations that the library doesn't have are for planted faults.
 */
#ifndef MEMPOOL_ATOMICS_H
#define MEMPOOL_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#define ATOMICS_LOCK_FREE 1
#define ATOMICS_SEEN_BY_TSAN 1 /* the accesses that are instrumented are for the model */

typedef uint32_t atomic_u32;
typedef uintptr_t atomic_word;
typedef uint64_t atomic_u64 __attribute__((aligned(8)));
typedef void *atomic_pointer;

/* Bits: a sequentially consistent access is an acquire or a release as well. */
enum { ORDER_RELAXED = 0, ORDER_ACQUIRE = 1, ORDER_RELEASE = 2, ORDER_ACQ_REL = 3, ORDER_SEQ_CST = 7 };

/* What a read-modify-write makes of a word. */
enum { MODIFY_EXCHANGE, MODIFY_OR, MODIFY_AND, MODIFY_ADD, MODIFY_IF_EXPECTED };

uint64_t model_load(const void *word, unsigned bytes, int order);
void model_store(void *word, unsigned bytes, uint64_t value, int order);
/* Returns what the word held before. */
uint64_t model_modify(void *word, unsigned bytes, int how, uint64_t value, uint64_t expected, int order);
void model_fence(void);

/* Marks spinning (S3 in search.h). */
void model_pause(void);
#define __builtin_ia32_pause model_pause

static inline uint32_t load_relaxed_u32(const atomic_u32 *word)
{
  return (uint32_t)model_load(word, 4, ORDER_RELAXED);
}

static inline uint32_t load_acquire_u32(const atomic_u32 *word)
{
  return (uint32_t)model_load(word, 4, ORDER_ACQUIRE);
}

static inline uint32_t load_seq_cst_u32(const atomic_u32 *word)
{
  return (uint32_t)model_load(word, 4, ORDER_SEQ_CST);
}

static inline void store_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  model_store(word, 4, value, ORDER_RELAXED);
}

static inline void store_release_u32(atomic_u32 *word, uint32_t value)
{
  model_store(word, 4, value, ORDER_RELEASE);
}

static inline void store_seq_cst_u32(atomic_u32 *word, uint32_t value)
{
  model_store(word, 4, value, ORDER_SEQ_CST);
}

static inline bool compare_exchange_relaxed_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_modify(word, 4, MODIFY_IF_EXPECTED, desired, expected, ORDER_RELAXED) == expected;
}

static inline bool compare_exchange_acquire_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_modify(word, 4, MODIFY_IF_EXPECTED, desired, expected, ORDER_ACQUIRE) == expected;
}

static inline bool compare_exchange_release_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_modify(word, 4, MODIFY_IF_EXPECTED, desired, expected, ORDER_RELEASE) == expected;
}

static inline bool compare_exchange_acq_rel_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_modify(word, 4, MODIFY_IF_EXPECTED, desired, expected, ORDER_ACQ_REL) == expected;
}

static inline bool compare_exchange_seq_cst_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_modify(word, 4, MODIFY_IF_EXPECTED, desired, expected, ORDER_SEQ_CST) == expected;
}

static inline uint64_t load_relaxed_u64(const atomic_u64 *word)
{
  return (uint64_t)model_load(word, 8, ORDER_RELAXED);
}

static inline uint64_t load_acquire_u64(const atomic_u64 *word)
{
  return (uint64_t)model_load(word, 8, ORDER_ACQUIRE);
}

static inline uint64_t load_seq_cst_u64(const atomic_u64 *word)
{
  return (uint64_t)model_load(word, 8, ORDER_SEQ_CST);
}

static inline void store_relaxed_u64(atomic_u64 *word, uint64_t value)
{
  model_store(word, 8, value, ORDER_RELAXED);
}

static inline void store_release_u64(atomic_u64 *word, uint64_t value)
{
  model_store(word, 8, value, ORDER_RELEASE);
}

static inline void store_seq_cst_u64(atomic_u64 *word, uint64_t value)
{
  model_store(word, 8, value, ORDER_SEQ_CST);
}

static inline bool compare_exchange_relaxed_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return model_modify(word, 8, MODIFY_IF_EXPECTED, desired, expected, ORDER_RELAXED) == expected;
}

static inline bool compare_exchange_acquire_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return model_modify(word, 8, MODIFY_IF_EXPECTED, desired, expected, ORDER_ACQUIRE) == expected;
}

static inline bool compare_exchange_release_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return model_modify(word, 8, MODIFY_IF_EXPECTED, desired, expected, ORDER_RELEASE) == expected;
}

static inline bool compare_exchange_acq_rel_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return model_modify(word, 8, MODIFY_IF_EXPECTED, desired, expected, ORDER_ACQ_REL) == expected;
}

static inline bool compare_exchange_seq_cst_u64(atomic_u64 *word, uint64_t expected, uint64_t desired)
{
  return model_modify(word, 8, MODIFY_IF_EXPECTED, desired, expected, ORDER_SEQ_CST) == expected;
}

static inline uint32_t exchange_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_EXCHANGE, value, 0, ORDER_RELAXED);
}

static inline uint32_t exchange_acquire_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_EXCHANGE, value, 0, ORDER_ACQUIRE);
}

static inline uint32_t exchange_release_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_EXCHANGE, value, 0, ORDER_RELEASE);
}

static inline uint32_t exchange_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_EXCHANGE, value, 0, ORDER_ACQ_REL);
}

static inline uint32_t exchange_seq_cst_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_EXCHANGE, value, 0, ORDER_SEQ_CST);
}

static inline void or_relaxed_u32(atomic_u32 *word, uint32_t bits)
{
  (void)model_modify(word, 4, MODIFY_OR, bits, 0, ORDER_RELAXED);
}

static inline uint32_t or_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_OR, value, 0, ORDER_ACQ_REL);
}

static inline uint32_t and_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_AND, value, 0, ORDER_RELAXED);
}

static inline uint32_t and_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_AND, value, 0, ORDER_ACQ_REL);
}

static inline uint32_t add_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_ADD, value, 0, ORDER_RELAXED);
}

static inline uint32_t add_acq_rel_u32(atomic_u32 *word, uint32_t value)
{
  return (uint32_t)model_modify(word, 4, MODIFY_ADD, value, 0, ORDER_ACQ_REL);
}

static inline void or_relaxed_u64(atomic_u64 *word, uint64_t value)
{
  (void)model_modify(word, 8, MODIFY_OR, value, 0, ORDER_RELAXED);
}

static inline void or_acq_rel_u64(atomic_u64 *word, uint64_t value)
{
  (void)model_modify(word, 8, MODIFY_OR, value, 0, ORDER_ACQ_REL);
}

static inline void add_relaxed_u64(atomic_u64 *word, uint64_t value)
{
  (void)model_modify(word, 8, MODIFY_ADD, value, 0, ORDER_RELAXED);
}

static inline void add_acq_rel_u64(atomic_u64 *word, uint64_t value)
{
  (void)model_modify(word, 8, MODIFY_ADD, value, 0, ORDER_ACQ_REL);
}

static inline uintptr_t load_relaxed_word(const atomic_word *word)
{
  return (uintptr_t)model_load(word, sizeof *word, ORDER_RELAXED);
}

static inline void store_relaxed_word(atomic_word *word, uintptr_t value)
{
  model_store(word, sizeof *word, value, ORDER_RELAXED);
}

static inline void *load_relaxed_pointer(const atomic_pointer *word)
{
  return (void *)(uintptr_t)model_load(word, sizeof *word, ORDER_RELAXED);
}

static inline void store_relaxed_pointer(atomic_pointer *word, void *value)
{
  model_store(word, sizeof *word, (uintptr_t)value, ORDER_RELAXED);
}

/* Only the compiler is kept from reordering, and steps of the model are in program order anyway. */
static inline void fence_light(void)
{
}

static inline void fence_full(void)
{
  model_fence();
}

#endif /* MEMPOOL_ATOMICS_H */
