/* SPDX-License-Identifier: MIT */
/*
 * Every call for pages that a shared pool makes fails, one after the other:
 * the pool is refused, and nothing stays mapped.  Linked with --wrap, so that
 * the library's calls come here.
 */
#include "runner.h"

#include <errno.h>
#include <mempool.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

enum { BLOCK_SIZE = 100, CAPACITY = 50 };

void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_madvise(void *address, size_t bytes, int advice);
int __real_munmap(void *address, size_t bytes);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __wrap_madvise(void *address, size_t bytes, int advice);
int __wrap_munmap(void *address, size_t bytes);

static unsigned failing_call; /* 0: none */
static unsigned calls;
static bool counting;
static size_t mapped_bytes;
static bool huge_pages_exist;

static bool fails(void)
{
  return counting && ++calls == failing_call;
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
  void *memory = MAP_FAILED;
  if (fails() || (counting && (flags & MAP_HUGETLB) != 0 && !huge_pages_exist)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  if (counting && (flags & MAP_HUGETLB) != 0) /* ordinary ones stand in */
    flags = MAP_ANONYMOUS | (flags & (MAP_SHARED | MAP_PRIVATE));
  memory = __real_mmap(address, bytes, protection, flags, file, offset);
  if (counting && memory != MAP_FAILED)
    mapped_bytes += bytes;
  return memory;
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
  if (fails()) {
    errno = ENOMEM;
    return -1;
  }
  return __real_madvise(address, bytes, advice);
}

int __wrap_munmap(void *address, size_t bytes)
{
  if (counting)
    mapped_bytes -= bytes;
  return __real_munmap(address, bytes);
}

/* Makes a pool by mempool_create(), or in memory; counts how many calls that takes. */
static mempool_status make(uint32_t flags, void *memory, size_t size)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  mempool_status status;
  options.flags = MEMPOOL_SHARED | flags;
  options.max_owners = 4;
  calls = 0;
  counting = true;
  if (memory == NULL)
    status = mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options);
  else
    status = mempool_init(&pool, memory, size, BLOCK_SIZE, CAPACITY, &options);
  CU_ASSERT((status == MEMPOOL_OK) == (pool != NULL));
  if (pool != NULL) {
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    mempool_destroy(pool);
  }
  counting = false;
  CU_ASSERT_EQUAL(mapped_bytes, 0);
  return status;
}

/* Each of the calls fails in turn; which of them a pool can do without, is in a mask. */
static void fail_each(uint32_t flags, void *memory, size_t size, unsigned spared)
{
  unsigned count, i;
  failing_call = 0;
  CU_ASSERT_EQUAL(make(flags, memory, size), MEMPOOL_OK);
  count = calls;
  CU_ASSERT(count > 0);
  for (i = 1; i <= count; i++) {
    failing_call = i;
    if (memory != NULL)
      memset(memory, 0, size);
    CU_ASSERT_EQUAL(make(flags, memory, size), (spared >> i & 1) != 0 ? MEMPOOL_OK : MEMPOOL_E_NO_MEMORY);
    if (memory != NULL) { /* what is left there is no pool */
      mempool *pool;
      CU_ASSERT_EQUAL(mempool_attach(&pool, memory, size), MEMPOOL_E_CORRUPTED);
    }
  }
  failing_call = 0;
}

static void test_create_shared_each_call_fails_nothing_held(void)
{
  fail_each(0, NULL, 0, 0);
  fail_each(MEMPOOL_PREFAULT, NULL, 0, 0);
  huge_pages_exist = true;
  fail_each(MEMPOOL_HUGE_PAGES, NULL, 0, 1u << 1);
  fail_each(MEMPOOL_HUGE_PAGES_ONLY, NULL, 0, 0);
  huge_pages_exist = false;
  CU_ASSERT_EQUAL(make(MEMPOOL_HUGE_PAGES, NULL, 0), MEMPOOL_OK);
  CU_ASSERT_EQUAL(make(MEMPOOL_HUGE_PAGES_ONLY, NULL, 0), MEMPOOL_E_NO_MEMORY);
}

static void test_init_shared_each_call_fails_no_pool_left(void)
{
  enum { SIZE = 1 << 16 };
  void *memory = aligned_alloc(4096, SIZE);
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  fail_each(0, memory, SIZE, 0);
  fail_each(MEMPOOL_PREFAULT, memory, SIZE, 0);
  free(memory);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_create_shared_each_call_fails_nothing_held),
    TEST(test_init_shared_each_call_fails_no_pool_left),
  };
  return RUN_TESTS(tests);
}
