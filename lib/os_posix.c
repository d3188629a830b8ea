/* SPDX-License-Identifier: MIT */
#include "os.h"

#ifndef __EMSCRIPTEN__

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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

static void *map(size_t bytes, int flags)
{
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void *map_huge(size_t bytes, int flags)
{
#if defined(MAP_HUGETLB) && defined(MAP_HUGE_SHIFT)
  return map(bytes, flags | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT));
#else
  (void)bytes;
  (void)flags;
  return NULL;
#endif
}

void *mempool__os_map(size_t bytes)
{
  return map(bytes, MAP_PRIVATE);
}

void *mempool__os_map_huge(size_t bytes)
{
  return map_huge(bytes, MAP_PRIVATE);
}

void *mempool__os_map_shared(size_t bytes)
{
  return map(bytes, MAP_SHARED);
}

void *mempool__os_map_shared_huge(size_t bytes)
{
  return map_huge(bytes, MAP_SHARED);
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

const char *mempool__os_debug_words(void)
{
#if defined(HAVE_SECURE_GETENV)
  return secure_getenv("MEMPOOL_DEBUG");
#else
  return getuid() == geteuid() && getgid() == getegid() ? getenv("MEMPOOL_DEBUG") : NULL;
#endif
}

void mempool__os_say(const char *line, size_t length)
{
  int saved = errno;
  ssize_t written;
  do
    written = write(STDERR_FILENO, line, length);
  while (written < 0 && errno == EINTR);
  errno = saved;
}

uint32_t mempool__os_process(void)
{
  return (uint32_t)getpid();
}

/* Linux numbers its process namespaces one after the other; the link is "pid:[NUMBER]". */
uint32_t mempool__os_process_space(void)
{
  char told[32];
  ssize_t length = readlink("/proc/self/ns/pid", told, sizeof told - 1);
  const char *number;
  told[length > 0 ? length : 0] = '\0';
  number = strchr(told, '[');
  return number != NULL ? (uint32_t)(strtoul(number + 1, NULL, 10) % 255 + 1) : 0;
}

#ifdef __linux__
/* The text of a number in decimal, without the C library's formatting. */
static char *append_number(char *end, uint32_t number)
{
  char digits[10];
  int count = 0;
  do
    digits[count++] = (char)('0' + number % 10);
  while ((number /= 10) != 0);
  while (count > 0)
    *end++ = digits[--count];
  return end;
}

/* Whether /proc is that of our process namespace: a container may have its host's, of which our numbers are not. */
static bool proc_is_ours(uint32_t our_number)
{
  char ours[10];
  char told[sizeof ours + 1];
  size_t length = (size_t)(append_number(ours, our_number) - ours);
  return readlink("/proc/self", told, sizeof told) == (ssize_t)length && memcmp(told, ours, length) == 0;
}

/* Reads what /proc tells of a process, with a 0 at its end.  False if that can't be done. */
static bool read_stat(uint32_t process, char *text, size_t size)
{
  char path[32] = "/proc/self/stat";
  uint32_t ours = mempool__os_process();
  ssize_t length;
  int file;
  if (process != ours) {
    if (!proc_is_ours(ours))
      return false;
    strcpy(append_number(path + strlen("/proc/"), process), "/stat");
  }
  file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return false;
  do
    length = read(file, text, size - 1);
  while (length < 0 && errno == EINTR);
  (void)close(file);
  text[length > 0 ? length : 0] = '\0';
  return length > 0;
}

/*
 * Of proc(5): field 3 is the state, 20 the number of threads, 22 the start
 * time.  A process whose first thread has ended looks dead, but goes on as
 * long as it has others.
 */
static uint64_t start_of(uint32_t process)
{
  enum { STATE = 3, THREADS = 20, START = 22 };
  char text[1024];
  const char *at;
  bool dead = false;
  int field;
  if (!read_stat(process, text, sizeof text))
    return 1;
  at = strrchr(text, ')'); /* the name before it may hold anything */
  for (field = STATE; at != NULL && field <= START; field++) {
    at = strchr(at, ' ');
    if (at == NULL)
      break;
    at++;
    if (field == STATE)
      dead = *at == 'Z' || *at == 'X';
    if (field == THREADS && dead && strtoul(at, NULL, 10) <= 1)
      return 0;
    if (field == START)
      return strtoull(at, NULL, 10) + 2;
  }
  return 1;
}
#else
static uint64_t start_of(uint32_t process)
{
  (void)process;
  return 1;
}
#endif

static bool exists(uint32_t process)
{
  return process != 0 && (kill((pid_t)process, 0) == 0 || errno != ESRCH);
}

uint64_t mempool__os_process_start(uint32_t process)
{
  uint64_t start = exists(process) ? start_of(process) : 0;
  /* It may have ended in between. */
  return start != 1 || exists(process) ? start : 0;
}

#endif
