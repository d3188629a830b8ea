/* SPDX-License-Identifier: MIT */
/*
 * Every call to the system for pages fails, one after the other.  Linked
 * with --wrap, so that the library's calls of mmap() and the others come
 * here: -Wl,--wrap=mmap -Wl,--wrap=mprotect -Wl,--wrap=madvise -Wl,--wrap=munmap
 */
#include "geometry.h"
#include "os.h"
#include "runner.h"

#include <errno.h>
#include <mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

enum { CAPACITY = 5, BLOCK_SIZE = 100, CALLER = 1 << 24 };

void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_mprotect(void *address, size_t bytes, int protection);
int __real_madvise(void *address, size_t bytes, int advice);
int __real_munmap(void *address, size_t bytes);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __wrap_mprotect(void *address, size_t bytes, int protection);
int __wrap_madvise(void *address, size_t bytes, int advice);
int __wrap_munmap(void *address, size_t bytes);

/* What is to go wrong: the first-th call, and all that follow it if onward; with which error. */
static struct {
  bool armed;
  unsigned first;
  bool onward;
  int error;
} plan;

/* What happened since plan was armed. */
static struct {
  unsigned calls;
  unsigned faults;
  bool fatal;           /* one of the faults is such that no pool can be made */
  unsigned char *begin; /* what is mapped; one mapping at a time is all that the library needs */
  size_t bytes;
  unsigned strays;      /* calls that concern something else */
} seen;

static unsigned long injected;

/* Whether the call that is being made is to fail. */
static bool fails(bool fatal)
{
  if (!plan.armed)
    return false;
  seen.calls++;
  if (plan.first == 0 || seen.calls < plan.first || (seen.calls > plan.first && !plan.onward))
    return false;
  seen.faults++;
  injected++;
  seen.fatal = seen.fatal || fatal;
  errno = plan.error;
  return true;
}

static bool is_mapped(const void *address, size_t bytes)
{
  uintptr_t offset = (uintptr_t)address - (uintptr_t)seen.begin;
  return seen.begin != NULL && offset <= seen.bytes && bytes <= seen.bytes - offset;
}

/*
 * Maps memory that begins so many bytes behind a multiple of the huge page
 * size.  Huge pages are rare where tests run: ordinary ones that are aligned
 * like them stand in.  And ordinary ones come as badly aligned as they may.
 */
static void *map_aside(size_t bytes, size_t aside)
{
  size_t whole = bytes + 2 * OS_HUGE_PAGE_BYTES;
  unsigned char *memory = __real_mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  size_t before;
  if (memory == MAP_FAILED)
    return MAP_FAILED;
  before = round_up((uintptr_t)memory, OS_HUGE_PAGE_BYTES) - (uintptr_t)memory + aside;
  if (before != 0)
    (void)__real_munmap(memory, before);
  (void)__real_munmap(memory + before + bytes, whole - before - bytes);
  return memory + before;
}

static bool huge_only;

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
  bool huge = (flags & MAP_HUGETLB) != 0;
  void *memory;
  if (!plan.armed)
    return __real_mmap(address, bytes, protection, flags, file, offset);
  if (fails(!huge || huge_only))
    return MAP_FAILED;
  memory = map_aside(bytes, huge ? 0 : OS_HUGE_PAGE_BYTES - mempool__os_page_bytes());
  if (memory != MAP_FAILED) {
    seen.strays += seen.begin != NULL;
    seen.begin = memory;
    seen.bytes = bytes;
  }
  return memory;
}

int __wrap_mprotect(void *address, size_t bytes, int protection)
{
  if (plan.armed)
    seen.strays += !is_mapped(address, bytes);
  return fails(true) ? -1 : __real_mprotect(address, bytes, protection);
}

static unsigned char callers_memory[CALLER];

/* Whether a range lies in the pages that the caller's memory has a part in. */
static bool is_callers(const void *address, size_t bytes)
{
  uintptr_t page = mempool__os_page_bytes();
  uintptr_t begin = (uintptr_t)callers_memory & ~(page - 1);
  uintptr_t end = round_up((uintptr_t)callers_memory + CALLER, page);
  return (uintptr_t)address >= begin && (uintptr_t)address <= end && bytes <= end - (uintptr_t)address;
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
  bool fatal = false;
#ifdef MADV_POPULATE_WRITE
  /* Another error says that the system doesn't know this; then the pages are touched. */
  fatal = advice == MADV_POPULATE_WRITE && plan.error == ENOMEM;
#endif
  if (plan.armed)
    seen.strays += !is_mapped(address, bytes) && !is_callers(address, bytes);
  return fails(fatal) ? -1 : __real_madvise(address, bytes, advice);
}

/* Unmapping is asked for, and that is all that the library can do: what fails here counts as unmapped. */
int __wrap_munmap(void *address, size_t bytes)
{
  bool failing;
  if (!plan.armed)
    return __real_munmap(address, bytes);
  failing = fails(false);
  seen.strays += address != seen.begin || bytes != seen.bytes;
  if (address == seen.begin && bytes == seen.bytes) {
    seen.begin = NULL;
    seen.bytes = 0;
    (void)__real_munmap(address, bytes);
  }
  return failing ? -1 : 0;
}

/* A pool that is asked for. */
struct wish {
  mempool_options options;
  bool initialised;
};

static mempool_status make(mempool **pool, const struct wish *wish)
{
  if (!wish->initialised)
    return mempool_create(pool, BLOCK_SIZE, CAPACITY, &wish->options);
  return mempool_init(pool, callers_memory, CALLER, BLOCK_SIZE, CAPACITY, &wish->options);
}

/* Whether a pool does what it is for, in no other memory than what is mapped for it, or the caller's. */
static bool works(mempool *pool)
{
  void *blocks[CAPACITY + 1];
  mempool_stats stats = MEMPOOL_STATS_INIT;
  size_t i;
  bool all_right = mempool_alloc_burst(pool, blocks, CAPACITY + 1) == CAPACITY;
  for (i = 0; all_right && i < CAPACITY; i++)
    all_right = is_mapped(blocks[i], BLOCK_SIZE) || is_callers(blocks[i], BLOCK_SIZE);
  for (i = 0; all_right && i < CAPACITY; i++)
    memset(blocks[i], (int)i, BLOCK_SIZE);
  for (i = 0; all_right && i < CAPACITY; i++) {
    const unsigned char *bytes = blocks[i];
    all_right = bytes[0] == i && memcmp(bytes, bytes + 1, BLOCK_SIZE - 1) == 0;
  }
  all_right = all_right && mempool_alloc(pool) == NULL && mempool_check(pool) == MEMPOOL_OK;
  all_right = all_right && mempool_free_bulk(pool, blocks, CAPACITY) == MEMPOOL_OK;
  all_right = all_right && mempool_get_stats(pool, &stats) == MEMPOOL_OK && stats.available == CAPACITY;
  return all_right && mempool_check(pool) == MEMPOOL_OK;
}

/* The whole life of a pool, with faults.  Returns whether any call was hit. */
static bool live(const struct wish *wish, unsigned first, bool onward, int error)
{
  static char anything;
  mempool *pool = (mempool *)(void *)&anything;
  mempool_status status;
  bool as_expected;
  memset(&seen, 0, sizeof(seen));
  huge_only = (wish->options.flags & MEMPOOL_HUGE_PAGES_ONLY) != 0;
  plan.first = first;
  plan.onward = onward;
  plan.error = error;
  plan.armed = true;
  status = make(&pool, wish);
  plan.armed = false;
  if (wish->initialised && huge_only)
    as_expected = status == MEMPOOL_E_UNSUPPORTED;
  else
    as_expected = status == (seen.fatal ? MEMPOOL_E_NO_MEMORY : MEMPOOL_OK);
  as_expected = as_expected && (pool != NULL) == (status == MEMPOOL_OK);
  if (as_expected && status == MEMPOOL_OK) {
    as_expected = works(pool) && (seen.begin == NULL) == wish->initialised;
    plan.armed = true;
    mempool_destroy(pool);
    plan.armed = false;
  }
  if (!as_expected || seen.begin != NULL || seen.strays != 0) {
    printf("# flags 0x%04x, alignment %zu, %s, call %u%s, errno %d: status %d, %zu bytes left, %u strays\n",
           (unsigned)wish->options.flags, wish->options.alignment, wish->initialised ? "initialised" : "created",
           first, onward ? " onward" : "", error, (int)status, seen.bytes, seen.strays);
    CU_FAIL("a fault was not borne");
  }
  return seen.faults != 0;
}

/* Each call fails in turn, until none is left to fail. */
static void fail_each_call(const struct wish *wish, bool onward, int error)
{
  unsigned first = 1;
  while (live(wish, first, onward, error))
    first++;
}

static void over_wishes(bool initialised, bool onward, int error)
{
  static const uint32_t placing[] = { MEMPOOL_GUARD, MEMPOOL_PREFAULT, MEMPOOL_HUGE_PAGES, MEMPOOL_HUGE_PAGES_ONLY };
  static const uint32_t working[] = { 0, MEMPOOL_SINGLE_THREADED, MEMPOOL_ZERO | MEMPOOL_COUNTERS | MEMPOOL_STRICT };
  static const size_t alignments[] = { 0, 1, 4096, (size_t)1 << 21 };
  unsigned combination;
  size_t a, i, slow = getenv("TEST_SLOW_TOOL") != NULL, wishes = 0;
  injected = 0;
  for (combination = 0; combination < 16; combination++) {
    for (a = 0; a < 4; a += slow ? 3 : 1) {
      for (i = 0; i < (slow ? 1 : 3); i++) {
        struct wish wish = { MEMPOOL_OPTIONS_INIT, initialised };
        size_t k;
        wish.options.flags = working[i];
        wish.options.alignment = alignments[a];
        for (k = 0; k < 4; k++) {
          if ((combination >> k & 1) != 0)
            wish.options.flags |= placing[k];
        }
        fail_each_call(&wish, onward, error);
        wishes++;
      }
    }
  }
  printf("# %lu faults injected into the lives of %zu kinds of pools\n", injected, wishes);
  CU_ASSERT(injected != 0);
}

static void test_create_each_call_fails_once_no_memory_borne(void)
{
  over_wishes(false, false, ENOMEM);
}

static void test_create_each_call_fails_once_invalid_borne(void)
{
  over_wishes(false, false, EINVAL);
}

static void test_create_each_call_fails_onward_no_memory_borne(void)
{
  over_wishes(false, true, ENOMEM);
}

static void test_create_each_call_fails_onward_invalid_borne(void)
{
  over_wishes(false, true, EINVAL);
}

static void test_init_each_call_fails_no_memory_borne(void)
{
  over_wishes(true, false, ENOMEM);
  over_wishes(true, true, ENOMEM);
}

static void test_init_each_call_fails_invalid_borne(void)
{
  over_wishes(true, false, EINVAL);
  over_wishes(true, true, EINVAL);
}

/* The faults stand for the system's: without them the calls are made that they replace. */
static void test_create_no_fault_expected_calls(void)
{
  struct wish wish = { MEMPOOL_OPTIONS_INIT, false };
  wish.options.flags = MEMPOOL_GUARD;
  CU_ASSERT_FALSE(live(&wish, 0, false, ENOMEM));
  /* The mapping, the page before the blocks, the page behind them, and the end of it all. */
  CU_ASSERT_EQUAL(seen.calls, 4);
  wish.options.flags = 0;
  CU_ASSERT_FALSE(live(&wish, 0, false, ENOMEM));
  CU_ASSERT_EQUAL(seen.calls, 2);
  wish.initialised = true;
  CU_ASSERT_FALSE(live(&wish, 0, false, ENOMEM));
  CU_ASSERT_EQUAL(seen.calls, 0);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_create_no_fault_expected_calls),
    TEST(test_create_each_call_fails_once_no_memory_borne),
    TEST(test_create_each_call_fails_once_invalid_borne),
    TEST(test_create_each_call_fails_onward_no_memory_borne),
    TEST(test_create_each_call_fails_onward_invalid_borne),
    TEST(test_init_each_call_fails_no_memory_borne),
    TEST(test_init_each_call_fails_invalid_borne),
  };
#ifdef __EMSCRIPTEN__
  puts("1..0 # SKIP an allocator stands for the system in WebAssembly, and for none of the calls that fail here");
  return 0;
#endif
  return RUN_TESTS(tests);
}
