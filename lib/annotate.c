/* SPDX-License-Identifier: MIT */
#include "annotate.h"

#include "atomics.h"

/*
 * The sanitizers' calls are there if the program was built with one, however
 * this library was.  Built with ThreadSanitizer itself it shows all that it does.
 */
#if defined(__ELF__)
#define WEAK __attribute__((weak, visibility("default")))
WEAK void __asan_poison_memory_region(void const volatile *address, size_t bytes);
WEAK void __asan_unpoison_memory_region(void const volatile *address, size_t bytes);
#if !ATOMICS_SEEN_BY_TSAN
WEAK void __tsan_acquire(void *address);
WEAK void __tsan_release(void *address);
WEAK void __tsan_write_range(void *address, unsigned long bytes);
#define HAS_TSAN (__tsan_acquire != NULL && __tsan_release != NULL && __tsan_write_range != NULL)
#endif
WEAK void __lsan_register_root_region(const void *address, size_t bytes);
WEAK void __lsan_unregister_root_region(const void *address, size_t bytes);
#define HAS_LSAN (__lsan_register_root_region != NULL && __lsan_unregister_root_region != NULL)
#define HAS_ASAN (__asan_poison_memory_region != NULL && __asan_unpoison_memory_region != NULL)
#else
#define HAS_LSAN false
#define __lsan_register_root_region(address, bytes) ((void)(address), (void)(bytes))
#define __lsan_unregister_root_region(address, bytes) ((void)(address), (void)(bytes))
#define HAS_ASAN false
#define __asan_poison_memory_region(address, bytes) ((void)(address), (void)(bytes))
#define __asan_unpoison_memory_region(address, bytes) ((void)(address), (void)(bytes))
#endif
#ifndef HAS_TSAN
#define HAS_TSAN false
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#define __tsan_write_range(address, bytes) ((void)(address), (void)(bytes))
#endif

#if defined(HAVE_VALGRIND_MEMCHECK_H)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_CREATE_MEMPOOL(pool, redzone, zeroed) ((void)(pool))
#define VALGRIND_DESTROY_MEMPOOL(pool) ((void)(pool))
#define VALGRIND_MEMPOOL_EXISTS(pool) 0
#define VALGRIND_MEMPOOL_ALLOC(pool, block, bytes) ((void)(pool), (void)(block), (void)(bytes))
#define VALGRIND_MEMPOOL_FREE(pool, block) ((void)(pool), (void)(block))
#define VALGRIND_MAKE_MEM_NOACCESS(address, bytes) ((void)(address), (void)(bytes))
#define VALGRIND_MAKE_MEM_DEFINED(address, bytes) ((void)(address), (void)(bytes), 0)
#define VALGRIND_DISABLE_ERROR_REPORTING
#define VALGRIND_ENABLE_ERROR_REPORTING
#endif

/* Valgrind's other tools, which count and measure, want to see what a program does by itself. */
static bool in_memcheck(void)
{
  char byte = 0;
  return VALGRIND_MAKE_MEM_DEFINED(&byte, 1) != 0;
}

bool mempool__annotate_sees_memory(void)
{
  return HAS_ASAN || HAS_LSAN || in_memcheck();
}

bool mempool__annotate_sees_threads(void)
{
  return HAS_TSAN;
}

void mempool__annotate_reuse(const void *pool, void *memory, size_t bytes)
{
  if (HAS_ASAN)
    __asan_unpoison_memory_region(memory, bytes);
  if (VALGRIND_MEMPOOL_EXISTS(pool))
    VALGRIND_DESTROY_MEMPOOL(pool);
  (void)VALGRIND_MAKE_MEM_DEFINED(memory, bytes);
}

void mempool__annotate_begin(const void *pool, void *area, size_t bytes)
{
  if (HAS_ASAN)
    __asan_poison_memory_region(area, bytes);
  VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
  (void)VALGRIND_MAKE_MEM_NOACCESS(area, bytes);
}

void mempool__annotate_end(const void *pool, void *area, size_t bytes)
{
  VALGRIND_DESTROY_MEMPOOL(pool);
  (void)VALGRIND_MAKE_MEM_DEFINED(area, bytes);
  if (HAS_ASAN)
    __asan_unpoison_memory_region(area, bytes);
}

void mempool__annotate_mapped(const void *area, size_t bytes)
{
  if (HAS_LSAN)
    __lsan_register_root_region(area, bytes);
}

void mempool__annotate_unmapped(const void *area, size_t bytes)
{
  if (HAS_LSAN)
    __lsan_unregister_root_region(area, bytes);
}

void mempool__annotate_alloc(const void *pool, void *block, size_t bytes, bool defined)
{
  if (HAS_ASAN)
    __asan_unpoison_memory_region(block, bytes);
  VALGRIND_MEMPOOL_ALLOC(pool, block, bytes);
  if (defined)
    (void)VALGRIND_MAKE_MEM_DEFINED(block, bytes);
}

void mempool__annotate_free(const void *pool, void *block, size_t bytes)
{
  VALGRIND_MEMPOOL_FREE(pool, block);
  if (HAS_ASAN)
    __asan_poison_memory_region(block, bytes);
}

void mempool__annotate_taken(void *block)
{
  if (HAS_TSAN)
    __tsan_acquire(block);
}

/* To who used it all the while, a free is a write that comes after. */
void mempool__annotate_given(void *block, size_t bytes)
{
  if (HAS_TSAN) {
    __tsan_write_range(block, bytes);
    __tsan_release(block);
  }
}

void mempool__annotate_look_away(void)
{
  VALGRIND_DISABLE_ERROR_REPORTING;
}

void mempool__annotate_look_again(void)
{
  VALGRIND_ENABLE_ERROR_REPORTING;
}
