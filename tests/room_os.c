/* SPDX-License-Identifier: MIT */
/*
 * What the library wants of the operating system.  No upper bound is set on
 * time: a wake-up that is lost shows as a test that doesn't end.
 */
#include "os.h"
#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 8 };

#define MILLISECOND INT64_C(1000000)

static size_t page(void)
{
  return mempool__os_page_bytes();
}

static unsigned rounds(unsigned count)
{
  return getenv("TEST_SLOW_TOOL") != NULL ? count / 10 : count;
}

static unsigned char *map(size_t pages)
{
  unsigned char *memory = mempool__os_map(pages * page());
  CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
  return memory;
}

static bool all_zero(const unsigned char *memory, size_t bytes)
{
  return memory[0] == 0 && memcmp(memory, memory + 1, bytes - 1) == 0;
}

static void test_os_page_bytes_power_of_two(void)
{
  size_t bytes = mempool__os_page_bytes();
#ifdef __EMSCRIPTEN__
  CU_ASSERT(bytes >= 64);
#else
  CU_ASSERT_EQUAL(bytes, (size_t)sysconf(_SC_PAGESIZE));
  CU_ASSERT(bytes >= 4096);
#endif
  CU_ASSERT((bytes & (bytes - 1)) == 0);
}

static void test_os_map_each_size_zeroed_and_aligned(void)
{
  static const size_t sizes[] = { 1, 2, 7, 64, 600 };
  size_t i;
  for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    size_t bytes = sizes[i] * page();
    int again;
    /* The second time as well, when the pages may be those that were just written to. */
    for (again = 0; again < 2; again++) {
      unsigned char *memory = map(sizes[i]);
      CU_ASSERT_EQUAL((uintptr_t)memory % page(), 0);
      CU_ASSERT(all_zero(memory, bytes));
      memset(memory, 0xA5, bytes);
      CU_ASSERT_EQUAL(memory[bytes - 1], 0xA5);
      mempool__os_unmap(memory, bytes);
    }
  }
}

static void test_os_map_two_apart(void)
{
  unsigned char *one = map(PAGES), *other = map(PAGES);
  memset(one, 1, PAGES * page());
  CU_ASSERT(all_zero(other, PAGES * page()));
  mempool__os_unmap(one, PAGES * page());
  CU_ASSERT(all_zero(other, PAGES * page()));
  mempool__os_unmap(other, PAGES * page());
}

static void test_os_map_absurd_size_null(void)
{
  CU_ASSERT_PTR_NULL(mempool__os_map(SIZE_MAX / 2 & ~(page() - 1)));
  CU_ASSERT_PTR_NULL(mempool__os_map(SIZE_MAX & ~(page() - 1)));
  CU_ASSERT_PTR_NULL(mempool__os_map_huge(SIZE_MAX / 2 & ~(OS_HUGE_PAGE_BYTES - 1)));
}

/* A system needn't have huge pages; if it gives one, it is one. */
static void test_os_map_huge_null_or_zeroed_and_aligned(void)
{
  unsigned char *memory = mempool__os_map_huge(OS_HUGE_PAGE_BYTES);
  if (memory == NULL) {
    skip_test("the system has no huge page to spare");
    return;
  }
  CU_ASSERT_EQUAL((uintptr_t)memory % OS_HUGE_PAGE_BYTES, 0);
  CU_ASSERT(all_zero(memory, OS_HUGE_PAGE_BYTES));
  mempool__os_unmap(memory, OS_HUGE_PAGE_BYTES);
}

/* Whether a page belongs to a mapping. */
static bool is_mapped(unsigned char *memory)
{
  unsigned char resident;
  return mincore(memory, page(), &resident) == 0;
}

static void test_os_unmap_whole_mapping_gone(void)
{
  unsigned char *memory = map(PAGES);
  size_t i;
  CU_ASSERT(is_mapped(memory));
  mempool__os_unmap(memory, PAGES * page());
  for (i = 0; i < PAGES; i++)
    CU_ASSERT(!is_mapped(memory + i * page()));
}

static void test_os_prefer_huge_content_kept(void)
{
  unsigned char *memory = map(PAGES);
  memset(memory, 7, PAGES * page());
  mempool__os_prefer_huge(memory, PAGES * page());
  CU_ASSERT(memory[0] == 7 && memcmp(memory, memory + 1, PAGES * page() - 1) == 0);
  mempool__os_unmap(memory, PAGES * page());
}

/* The signal that ends a child which reads or writes a byte; 0 if none does. */
static int fatal_signal(volatile unsigned char *byte, bool writing)
{
  int status = 0;
  pid_t child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    const struct rlimit no_core = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &no_core);
    /* A sanitizer's handler would turn the fault into an exit status. */
    (void)signal(SIGSEGV, SIG_DFL);
    if (writing)
      *byte = 1;
    else
      (void)*byte;
    _exit(0);
  }
  CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_os_forbid_touching_faults(void)
{
  unsigned char *memory = map(4);
  int writing;
  memset(memory, 3, 4 * page());
  CU_ASSERT(mempool__os_forbid(memory + page(), 2 * page()));
  for (writing = 0; writing < 2; writing++) {
    CU_ASSERT_EQUAL(fatal_signal(memory + page(), writing != 0), SIGSEGV);
    CU_ASSERT_EQUAL(fatal_signal(memory + 3 * page() - 1, writing != 0), SIGSEGV);
    CU_ASSERT_EQUAL(fatal_signal(memory + page() - 1, writing != 0), 0);
    CU_ASSERT_EQUAL(fatal_signal(memory + 3 * page(), writing != 0), 0);
  }
  CU_ASSERT(memory[page() - 1] == 3 && memory[3 * page()] == 3);
  mempool__os_unmap(memory, 4 * page());
}

static void test_os_forbid_unmapped_false(void)
{
#ifdef __EMSCRIPTEN__
  skip_test("WebAssembly's memory can't be made inaccessible");
#else
  unsigned char *memory = map(PAGES);
  mempool__os_unmap(memory, PAGES * page());
  CU_ASSERT_FALSE(mempool__os_forbid(memory, page()));
#endif
}

static bool is_resident(unsigned char *memory)
{
  unsigned char resident = 0;
  CU_ASSERT_EQUAL(mincore(memory, page(), &resident), 0);
  return (resident & 1) != 0;
}

struct range {
  size_t first, last; /* pages */
  size_t begin, bytes;
};

/* Ranges of eight pages, by where they begin and end; an odd byte more or less of a page is a page. */
static void ranges(struct range range[6])
{
  const size_t size = page();
  const struct range all[6] = {
    { 0, 7, 0, 8 * size },
    { 2, 2, 2 * size, 1 },
    { 2, 2, 3 * size - 1, 1 },
    { 3, 4, 4 * size - 1, 2 },
    { 1, 5, size + 17, 4 * size - 16 },
    { 1, 6, 2 * size - 3, 4 * size + 4 },
  };
  memcpy(range, all, sizeof(all));
}

static void test_os_prefault_odd_ranges_resident(void)
{
  struct range range[6];
  unsigned char *memory = map(PAGES);
  bool lazy = !is_resident(memory);
  size_t i, k;
  mempool__os_unmap(memory, PAGES * page());
  if (!lazy) {
    skip_test("every page is resident as soon as it is mapped");
    return;
  }
  ranges(range);
  for (i = 0; i < 6; i++) {
    memory = map(PAGES);
    /* Else neighbours may come along with a page, and prove nothing. */
    (void)madvise(memory, PAGES * page(), MADV_NOHUGEPAGE);
    CU_ASSERT(mempool__os_prefault(memory + range[i].begin, range[i].bytes));
    for (k = range[i].first; k <= range[i].last; k++)
      CU_ASSERT(is_resident(memory + k * page()));
    CU_ASSERT(all_zero(memory, PAGES * page()));
    mempool__os_unmap(memory, PAGES * page());
  }
}

static void test_os_prefault_odd_ranges_content_kept(void)
{
  struct range range[6];
  size_t bytes = PAGES * page(), i, k;
  unsigned char *memory = map(PAGES);
  ranges(range);
  for (k = 0; k < bytes; k++)
    memory[k] = (unsigned char)(k * 31 >> 3 | 1);
  for (i = 0; i < 6; i++) {
    size_t changed = 0;
    CU_ASSERT(mempool__os_prefault(memory + range[i].begin, range[i].bytes));
    for (k = 0; k < bytes; k++)
      changed += memory[k] != (unsigned char)(k * 31 >> 3 | 1);
    CU_ASSERT_EQUAL(changed, 0);
  }
  mempool__os_unmap(memory, bytes);
}

/* Nothing that lies outside of the pages of a range is touched: here it would be fatal. */
static void test_os_prefault_between_forbidden_pages_true(void)
{
  unsigned char *memory = map(3);
  CU_ASSERT(mempool__os_forbid(memory, page()));
  CU_ASSERT(mempool__os_forbid(memory + 2 * page(), page()));
  CU_ASSERT(mempool__os_prefault(memory + page(), page()));
  CU_ASSERT(mempool__os_prefault(memory + page() + 5, page() - 5));
  CU_ASSERT(mempool__os_prefault(memory + page(), 0));
  CU_ASSERT(all_zero(memory + page(), page()));
  mempool__os_unmap(memory, 3 * page());
}

static void test_os_now_ns_never_backwards(void)
{
  int64_t before = mempool__os_now_ns(), start = before;
  int i;
  CU_ASSERT(before > 0);
  for (i = 0; i < 1000; i++) {
    int64_t now = mempool__os_now_ns();
    CU_ASSERT(now >= before);
    before = now;
  }
  /* It runs. */
  while (mempool__os_now_ns() == start)
    continue;
}

static void test_os_wait_word_differs_at_once(void)
{
  atomic_u32 word = 5;
  CU_ASSERT(mempool__os_wait(&word, 4, OS_NEVER));
  CU_ASSERT(mempool__os_wait(&word, 0, OS_NEVER));
  CU_ASSERT_EQUAL(load_relaxed_u32(&word), 5);
}

static void expect_false_not_before(int64_t deadline_ns)
{
  atomic_u32 word = 5;
  while (mempool__os_wait(&word, 5, deadline_ns))
    continue;
  CU_ASSERT(mempool__os_now_ns() >= deadline_ns);
  CU_ASSERT_EQUAL(load_relaxed_u32(&word), 5);
}

static void test_os_wait_deadline_false_not_before(void)
{
  static const int64_t ahead[] = { 0, 1, 999, 100000, MILLISECOND, 3 * MILLISECOND, 11 * MILLISECOND };
  size_t i;
  for (i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++)
    expect_false_not_before(mempool__os_now_ns() + ahead[i]);
  /* Where the seconds change, so that a carry that is lost would show. */
  expect_false_not_before((mempool__os_now_ns() / 1000000000 + 1) * 1000000000);
}

static void test_os_wait_deadline_past_false(void)
{
  expect_false_not_before(0);
  expect_false_not_before(1);
  expect_false_not_before(mempool__os_now_ns() - 1);
}

struct sleeper {
  atomic_u32 word;
  atomic_u32 awake;
  int64_t deadline_ns;
};

static void *sleep_once(void *arg)
{
  struct sleeper *sleeper = arg;
  (void)mempool__os_wait(&sleeper->word, 0, sleeper->deadline_ns);
  store_release_u32(&sleeper->awake, 1);
  return NULL;
}

/*
 * The word stays as it is, so that nothing but a wake-up ends the wait.  One
 * that comes before the sleep is lost, as it may be, so it is sent again.
 */
static void test_os_wake_sleeper_woken(void)
{
  const int64_t deadlines[] = { OS_NEVER, OS_NEVER - 1, INT64_MAX / 2 };
  unsigned i, count = rounds(300);
  for (i = 0; i < count; i++) {
    struct sleeper sleeper = { 0, 0, deadlines[i % 3] };
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, sleep_once, &sleeper), 0);
    while (load_acquire_u32(&sleeper.awake) == 0) {
      mempool__os_wake(&sleeper.word);
      (void)sched_yield();
    }
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(load_relaxed_u32(&sleeper.word), 0);
  }
  printf("# %u sleepers\n", count);
}

enum { SLEEPERS = 3 };

struct shared_sleep {
  atomic_u32 word;
  atomic_u32 arrived;
};

static void *sleep_for_change(void *arg)
{
  struct shared_sleep *shared = arg;
  (void)atomic_fetch_add(&shared->arrived, 1);
  while (load_acquire_u32(&shared->word) == 0)
    (void)mempool__os_wait(&shared->word, 0, OS_NEVER);
  return NULL;
}

static void expect_all_woken(void (*wake)(atomic_u32 *word), unsigned wakes_at_once)
{
  unsigned i, count = rounds(100);
  for (i = 0; i < count; i++) {
    struct shared_sleep shared = { 0, 0 };
    pthread_t threads[SLEEPERS];
    unsigned k;
    for (k = 0; k < SLEEPERS; k++)
      CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[k], NULL, sleep_for_change, &shared), 0);
    while (load_acquire_u32(&shared.arrived) != SLEEPERS)
      (void)sched_yield();
    store_release_u32(&shared.word, 1);
    for (k = 0; k < wakes_at_once; k++)
      wake(&shared.word);
    for (k = 0; k < SLEEPERS; k++)
      CU_ASSERT_EQUAL(pthread_join(threads[k], NULL), 0);
  }
  printf("# %u rounds of %d sleepers\n", count, SLEEPERS);
}

/* One call for all of them: with one left asleep this never ends. */
static void test_os_wake_many_sleepers_all_woken(void)
{
  expect_all_woken(mempool__os_wake, 1);
}

static void test_os_wake_one_as_often_as_sleepers_all_woken(void)
{
  expect_all_woken(mempool__os_wake_one, SLEEPERS);
}

struct table {
  atomic_u32 ball;
  unsigned rounds;
  unsigned hits; /* plain: only who has the ball touches it */
};

static void play(struct table *table, uint32_t me)
{
  unsigned i;
  for (i = 0; i < table->rounds; i++) {
    while (load_acquire_u32(&table->ball) != me)
      (void)mempool__os_wait(&table->ball, 1 - me, OS_NEVER);
    table->hits++;
    store_release_u32(&table->ball, 1 - me);
    mempool__os_wake(&table->ball);
  }
}

static void *play_second(void *arg)
{
  play(arg, 1);
  return NULL;
}

/* Change the word, then wake: no wake-up may fall between another's look at the word and its sleep. */
static void test_os_wait_to_and_fro_no_wake_up_lost(void)
{
  struct table table = { 0, rounds(5000), 0 };
  pthread_t thread;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, play_second, &table), 0);
  play(&table, 0);
  CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
  CU_ASSERT_EQUAL(table.hits, 2 * table.rounds);
  printf("# %u rounds\n", table.rounds);
}

static void test_os_wake_nobody_waits_nothing(void)
{
  atomic_u32 word = 9;
  mempool__os_wake(&word);
  CU_ASSERT_EQUAL(load_relaxed_u32(&word), 9);
}

static void test_os_sleep_until_not_early(void)
{
  static const int64_t ahead[] = { -MILLISECOND, 0, 1, 50000, MILLISECOND, 7 * MILLISECOND };
  size_t i;
  for (i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
    int64_t deadline_ns = mempool__os_now_ns() + ahead[i];
    mempool__os_sleep_until(deadline_ns);
    CU_ASSERT(mempool__os_now_ns() >= deadline_ns);
  }
}

static atomic_u32 signals;

static void count_signal(int number)
{
  (void)number;
  atomic_fetch_add(&signals, 1);
}

struct nap {
  int64_t deadline_ns;
  atomic_u32 over;
  bool early;
};

static void *take_nap(void *arg)
{
  struct nap *nap = arg;
  mempool__os_sleep_until(nap->deadline_ns);
  nap->early = mempool__os_now_ns() < nap->deadline_ns;
  store_release_u32(&nap->over, 1);
  return NULL;
}

static void test_os_sleep_until_signals_not_early(void)
{
  struct nap nap = { mempool__os_now_ns() + 20 * MILLISECOND, 0, false };
  struct sigaction action, before;
  pthread_t thread;
  if (skipped_without_signals())
    return;
  memset(&action, 0, sizeof(action));
  action.sa_handler = count_signal;
  CU_ASSERT_EQUAL(sigaction(SIGUSR1, &action, &before), 0);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, take_nap, &nap), 0);
  while (load_acquire_u32(&nap.over) == 0) {
    (void)pthread_kill(thread, SIGUSR1);
    (void)sched_yield();
  }
  CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
  CU_ASSERT_EQUAL(sigaction(SIGUSR1, &before, NULL), 0);
  CU_ASSERT_FALSE(nap.early);
  CU_ASSERT(load_relaxed_u32(&signals) != 0);
}

#ifdef __linux__
/*
 * As the first process of a container: whether it knows when it started, who
 * isn't there, and that of who is there it can't tell when that started.
 */
static int is_told_apart(void)
{
  int status = 0;
  bool right = mempool__os_process() == 1 && mempool__os_process_start(1) > 1 && mempool__os_process_start(30000) == 0;
  pid_t other = fork();
  if (other == 0)
    _exit(mempool__os_process_start(1) == 1 ? 0 : 1);
  return right && waitpid(other, &status, 0) == other && status == 0 ? 0 : 1;
}
#endif

/* In a container that has its host's /proc, where some other process has our number. */
static void test_os_process_start_foreign_proc_unknown(void)
{
#ifdef __linux__
  enum { CANT_TELL = 77 };
  int status = 0;
  pid_t child, contained;
  if (mempool__os_process_start(mempool__os_process()) == 1) {
    skip_test("the system has no /proc");
    return;
  }
  child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWPID) != 0)
      _exit(CANT_TELL);
    contained = fork();
    if (contained == 0)
      _exit(is_told_apart());
    _exit(waitpid(contained, &status, 0) == contained && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == CANT_TELL)
    skip_test("the system does not let us make a process namespace");
  else
    CU_ASSERT_EQUAL(status, 0);
#else
  skip_test("the system has no process namespaces");
#endif
}

#ifndef __EMSCRIPTEN__
struct cancelled {
  bool (*wait)(atomic_u32 *word, uint32_t expected, int64_t deadline_ns);
  bool returned;
};

/* The request is there before the wait, and is granted at the first cancellation point. */
static void *wait_cancelled(void *arg)
{
  struct cancelled *cancelled = arg;
  atomic_u32 word = 0;
  CU_ASSERT_EQUAL(pthread_cancel(pthread_self()), 0);
  while (cancelled->wait(&word, 0, mempool__os_now_ns() + 3 * MILLISECOND))
    continue;
  cancelled->returned = true;
  pthread_testcancel();
  return NULL;
}
#endif

/* Who waits may be in a queue, or has said that it waits, and must get to take that back. */
static void test_os_wait_cancelled_returns_first(void)
{
#ifdef __EMSCRIPTEN__
  skip_test("threads are not cancelled in WebAssembly");
#else
  struct cancelled cancelled[] = { { mempool__os_wait, false }, { mempool__os_wait_shared, false } };
  size_t i;
  for (i = 0; i < sizeof(cancelled) / sizeof(cancelled[0]); i++) {
    void *result = NULL;
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_cancelled, &cancelled[i]), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, &result), 0);
    CU_ASSERT(cancelled[i].returned);
    CU_ASSERT_PTR_EQUAL(result, PTHREAD_CANCELED);
  }
#endif
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_os_page_bytes_power_of_two),
    TEST(test_os_map_each_size_zeroed_and_aligned),
    TEST(test_os_map_two_apart),
    TEST(test_os_map_absurd_size_null),
    TEST(test_os_map_huge_null_or_zeroed_and_aligned),
    TEST(test_os_unmap_whole_mapping_gone),
    TEST(test_os_prefer_huge_content_kept),
    TEST(test_os_forbid_touching_faults),
    TEST(test_os_forbid_unmapped_false),
    TEST(test_os_prefault_odd_ranges_resident),
    TEST(test_os_prefault_odd_ranges_content_kept),
    TEST(test_os_prefault_between_forbidden_pages_true),
    TEST(test_os_now_ns_never_backwards),
    TEST(test_os_wait_word_differs_at_once),
    TEST(test_os_wait_deadline_false_not_before),
    TEST(test_os_wait_deadline_past_false),
    TEST(test_os_wake_sleeper_woken),
    TEST(test_os_wake_many_sleepers_all_woken),
    TEST(test_os_wake_one_as_often_as_sleepers_all_woken),
    TEST(test_os_wait_to_and_fro_no_wake_up_lost),
    TEST(test_os_wake_nobody_waits_nothing),
    TEST(test_os_process_start_foreign_proc_unknown),
    TEST(test_os_wait_cancelled_returns_first),
    TEST(test_os_sleep_until_not_early),
    TEST(test_os_sleep_until_signals_not_early),
  };
  return RUN_TESTS(tests);
}
