/* SPDX-License-Identifier: MIT */
/*
 * The whole of os.h for WebAssembly as Emscripten makes it, with threads and
 * without.  There is one linear memory and its allocator: pages can't be
 * protected, aren't faulted in, and are of one size.
 */
#include "os.h"

#ifdef __EMSCRIPTEN__

#include <emscripten/heap.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __EMSCRIPTEN_PTHREADS__
#include <emscripten/threading.h>
#endif

#define NS_PER_SECOND 1000000000
#define NS_PER_MS 1000000.0

/* Nothing is done by the page, so the unit in which memory is asked for may be small. */
enum { PAGE_BYTES = 64 };

size_t mempool__os_page_bytes(void)
{
  return PAGE_BYTES;
}

void *mempool__os_map(size_t bytes)
{
  void *memory;
  /* Where the memory doesn't grow, an allocator that finds no room ends the program by default: it needn't be asked. */
  if (bytes > emscripten_get_heap_max())
    return NULL;
  memory = aligned_alloc(PAGE_BYTES, bytes);
  if (memory != NULL)
    memset(memory, 0, bytes);
  return memory;
}

void *mempool__os_map_huge(size_t bytes)
{
  (void)bytes;
  return NULL;
}

/* All of it is shared with whoever there is. */
void *mempool__os_map_shared(size_t bytes)
{
  return mempool__os_map(bytes);
}

void *mempool__os_map_shared_huge(size_t bytes)
{
  (void)bytes;
  return NULL;
}

void mempool__os_unmap(void *memory, size_t bytes)
{
  (void)bytes;
  free(memory);
}

void mempool__os_prefer_huge(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
}

/* Can't be had.  Not a refusal, though: MEMPOOL_GUARD has its canaries besides. */
bool mempool__os_forbid(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
  return true;
}

bool mempool__os_prefault(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
  return true;
}

int64_t mempool__os_now_ns(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

void mempool__os_sleep_until(int64_t deadline_ns)
{
  atomic_u32 word = 0;
  while (mempool__os_wait(&word, 0, deadline_ns))
    continue;
}

#ifdef __EMSCRIPTEN_PTHREADS__

/* On a browser's main thread, which must not sleep, Emscripten turns this into a loop that looks at the word. */
bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  int64_t now_ns;
  if (deadline_ns == OS_NEVER) {
    (void)emscripten_futex_wait(word, expected, (double)INFINITY);
    return true;
  }
  now_ns = mempool__os_now_ns();
  if (now_ns < deadline_ns)
    (void)emscripten_futex_wait(word, expected, (double)(deadline_ns - now_ns) / NS_PER_MS);
  return mempool__os_now_ns() < deadline_ns;
}

void mempool__os_wake(atomic_u32 *word)
{
  (void)emscripten_futex_wake(word, INT_MAX);
}

void mempool__os_wake_one(atomic_u32 *word)
{
  (void)emscripten_futex_wake(word, 1);
}

#else

/* Nobody is there to change the word, and nothing to sleep with: it returns for no reason until the time is out. */
bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  (void)word;
  (void)expected;
  return deadline_ns == OS_NEVER || mempool__os_now_ns() < deadline_ns;
}

void mempool__os_wake(atomic_u32 *word)
{
  (void)word;
}

void mempool__os_wake_one(atomic_u32 *word)
{
  (void)word;
}

#endif

bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  return mempool__os_wait(word, expected, deadline_ns);
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  mempool__os_wake(word);
}

const char *mempool__os_debug_words(void)
{
  return getenv("MEMPOOL_DEBUG");
}

void mempool__os_say(const char *line, size_t length)
{
  int saved = errno;
  (void)!write(STDERR_FILENO, line, length);
  errno = saved;
}

/* No processes, and so none of which could be told that it is gone. */
uint32_t mempool__os_process(void)
{
  return 0;
}

uint32_t mempool__os_process_space(void)
{
  return 0;
}

uint64_t mempool__os_process_start(uint32_t process)
{
  (void)process;
  return 1;
}

bool mempool__os_fence_prepare(void)
{
  return false;
}

void mempool__os_fence_all(void)
{
  fence_full();
}

void mempool__os_yield(void)
{
  (void)sched_yield();
}

#endif
