/* SPDX-License-Identifier: MIT */
#include "os.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MEMPOOL_NO_MEMBARRIER)
#include <sys/syscall.h>
/* Of linux/membarrier.h, which not every C library comes with. */
enum { FENCE_ALL = 1 << 3, FENCE_PREPARE = 1 << 4 };
#endif

#define NS_PER_SECOND 1000000000

size_t mempool__os_page_bytes(void)
{
  long bytes = sysconf(_SC_PAGESIZE);
  return bytes > 0 ? (size_t)bytes : 4096;
}

static void *map(size_t bytes, int extra_flags)
{
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | extra_flags, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void *mempool__os_map(size_t bytes)
{
  return map(bytes, 0);
}

void *mempool__os_map_huge(size_t bytes)
{
#if defined(MAP_HUGETLB) && defined(MAP_HUGE_SHIFT)
  return map(bytes, MAP_HUGETLB | (21 << MAP_HUGE_SHIFT));
#else
  (void)bytes;
  return NULL;
#endif
}

void mempool__os_unmap(void *memory, size_t bytes)
{
  (void)munmap(memory, bytes);
}

void mempool__os_prefer_huge(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

bool mempool__os_forbid(void *memory, size_t bytes)
{
  return mprotect(memory, bytes, PROT_NONE) == 0;
}

/* Writes each page's first byte back: that faults the page in, and changes nothing. */
static void touch(unsigned char *memory, size_t bytes, size_t page_bytes)
{
  volatile unsigned char *byte = memory;
  volatile unsigned char *end = memory + bytes;
  while (byte < end) {
    *byte = *byte;
    byte += page_bytes - (uintptr_t)byte % page_bytes;
  }
}

bool mempool__os_prefault(void *memory, size_t bytes)
{
  size_t page_bytes = mempool__os_page_bytes();
#ifdef MADV_POPULATE_WRITE
  /* The range widened to whole pages: to populate what lies beside it does no harm. */
  uintptr_t begin = (uintptr_t)memory & ~(uintptr_t)(page_bytes - 1);
  uintptr_t end = ((uintptr_t)memory + bytes + page_bytes - 1) & ~(uintptr_t)(page_bytes - 1);
  if (madvise((void *)begin, end - begin, MADV_POPULATE_WRITE) == 0)
    return true;
  if (errno == ENOMEM)
    return false;
#endif
  touch(memory, bytes, page_bytes);
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

bool mempool__os_fence_prepare(void)
{
#if defined(__linux__) && !defined(MEMPOOL_NO_MEMBARRIER)
  return syscall(SYS_membarrier, FENCE_PREPARE, 0, 0) == 0;
#else
  return false;
#endif
}

void mempool__os_fence_all(void)
{
#if defined(__linux__) && !defined(MEMPOOL_NO_MEMBARRIER)
  /* Refused after all, by a sandbox that was entered since: no store stays in a processor's buffer for that long. */
  if (syscall(SYS_membarrier, FENCE_ALL, 0, 0) != 0)
    mempool__os_sleep_until(mempool__os_now_ns() + NS_PER_SECOND / 1000);
#endif
  fence_full();
}

void mempool__os_yield(void)
{
  (void)sched_yield();
}
