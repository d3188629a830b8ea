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

typedef uint32_t atomic_u32;
typedef uintptr_t atomic_word;
typedef void *atomic_pointer;

enum { ORDER_RELAXED = 0, ORDER_ACQUIRE = 1, ORDER_RELEASE = 2 };

uint64_t model_load(const void *word, unsigned bytes, int order);
void model_store(void *word, unsigned bytes, uint64_t value, int order);
uint32_t model_exchange(uint32_t *word, uint32_t value, int order);
void model_or(uint32_t *word, uint32_t bits);
bool model_compare_exchange(uint32_t *word, uint32_t expected, uint32_t desired, int order);
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

static inline void store_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  model_store(word, 4, value, ORDER_RELAXED);
}

static inline void store_release_u32(atomic_u32 *word, uint32_t value)
{
  model_store(word, 4, value, ORDER_RELEASE);
}

static inline uint32_t exchange_relaxed_u32(atomic_u32 *word, uint32_t value)
{
  return model_exchange(word, value, ORDER_RELAXED);
}

static inline uint32_t exchange_acquire_u32(atomic_u32 *word, uint32_t value)
{
  return model_exchange(word, value, ORDER_ACQUIRE);
}

static inline uint32_t exchange_release_u32(atomic_u32 *word, uint32_t value)
{
  return model_exchange(word, value, ORDER_RELEASE);
}

static inline void or_relaxed_u32(atomic_u32 *word, uint32_t bits)
{
  model_or(word, bits);
}

static inline bool compare_exchange_relaxed_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_compare_exchange(word, expected, desired, ORDER_RELAXED);
}

static inline bool compare_exchange_acquire_u32(atomic_u32 *word, uint32_t expected, uint32_t desired)
{
  return model_compare_exchange(word, expected, desired, ORDER_ACQUIRE);
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
