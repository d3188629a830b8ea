/* SPDX-License-Identifier: MIT */
/*
 * MEMPOOL_POISON, MEMPOOL_CHECK, and what MEMPOOL_DEBUG does to pools whose
 * makers know nothing of it.
 */
#include "helpers.h"
#include "runner.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_SIZE 40
#define CAPACITY 6

/* ---- Poison ---- */

static void over_poisoned_kinds(void (*body)(const pool_kind *kind))
{
  static const uint32_t modes[] = { 0, MEMPOOL_SINGLE_THREADED, MEMPOOL_NO_CACHE, MEMPOOL_SHARED };
  static const uint32_t aids[] = { 0, MEMPOOL_ZERO, MEMPOOL_GUARD, MEMPOOL_STRICT, MEMPOOL_ZERO | MEMPOOL_GUARD };
  size_t m, a, c;
  for (m = 0; m < COUNT_OF(modes); m++) {
    for (a = 0; a < COUNT_OF(aids); a++) {
      for (c = 0; c < 2; c++) {
        const pool_kind kind = { MEMPOOL_POISON | modes[m] | aids[a], c != 0 };
        unsigned failures = CU_get_number_of_failures();
        mempool_options options = MEMPOOL_OPTIONS_INIT;
        options.flags = kind.flags;
        if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0)
          continue; /* no shared pools here */
        body(&kind);
        if (CU_get_number_of_failures() != failures)
          printf("# with flags 0x%04x, %s\n", (unsigned)kind.flags, kind.created ? "created" : "initialised");
      }
    }
  }
}

TEST_OVER(over_poisoned_kinds, test_poison_blocks_left_alone_ok)
{
  fixture f;
  void *blocks[CAPACITY];
  size_t round, i;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  for (round = 0; round < 3; round++) {
    take(pool, blocks, CAPACITY);
    for (i = 0; i < CAPACITY; i++) {
      if ((kind->flags & MEMPOOL_ZERO) != 0 || (kind->created && round == 0))
        CU_ASSERT(all_bytes(blocks[i], BLOCK_SIZE, 0));
      memset(blocks[i], (int)(i + round), BLOCK_SIZE);
    }
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, 0);
  tear_down(&f);
}

TEST_OVER(over_poisoned_kinds, test_poison_each_byte_written_after_free_found)
{
  fixture f;
  size_t at;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  unsigned char *block = mempool_alloc(pool);
  for (at = 0; at < BLOCK_SIZE; at++) {
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
    block[at] ^= 0x10;
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
    CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, at);
    CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
    CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, at + 1);
    if ((kind->flags & MEMPOOL_ZERO) != 0)
      CU_ASSERT(all_bytes(block, BLOCK_SIZE, 0));
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  }
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  tear_down(&f);
}

/* Blocks that come by other ways than mempool_alloc() are looked over as well. */
TEST_OVER(over_poisoned_kinds, test_poison_bulk_burst_and_wait_found)
{
  fixture f;
  void *blocks[CAPACITY];
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  take(pool, blocks, CAPACITY);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
  memset(blocks[0], 1, 1);
  memset(blocks[2], 1, BLOCK_SIZE);
  memset(offset_by(blocks[4], BLOCK_SIZE - 1), 1, 1);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks + 3, 2), 2);
  CU_ASSERT_EQUAL(mempool_alloc_wait(pool, &blocks[5], 0), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, 3);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
  tear_down(&f);
}

/* A bulk that finds too few gives back what it took: nobody is blamed for that. */
TEST_OVER(over_poisoned_kinds, test_poison_bulk_in_vain_nothing_found)
{
  fixture f;
  void *blocks[CAPACITY + 1], *block;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  block = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, CAPACITY), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  take(pool, blocks, CAPACITY);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, 0);
  tear_down(&f);
}

static void *take_fill_free(void *arg)
{
  mempool *pool = arg;
  void *blocks[2];
  int round;
  for (round = 0; round < 300; round++) {
    size_t count = mempool_alloc_burst(pool, blocks, 2), i;
    for (i = 0; i < count; i++)
      memset(blocks[i], round, BLOCK_SIZE);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, count), MEMPOOL_OK);
  }
  return NULL;
}

/* Also of blocks that are being taken and given back no check says that they are damaged; nor ThreadSanitizer. */
TEST_OVER(over_poisoned_kinds, test_poison_checked_while_others_use_ok)
{
  enum { THREADS = 2 };
  fixture f;
  pthread_t threads[THREADS];
  int started = 0, i;
  mempool *pool = set_up(&f, kind, BLOCK_SIZE, CAPACITY);
  if ((kind->flags & MEMPOOL_SINGLE_THREADED) == 0) {
    while (started < THREADS && pthread_create(&threads[started], NULL, take_fill_free, pool) == 0)
      started++; /* there may be no threads here */
  }
  for (i = 0; i < 200; i++)
    CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  while (started > 0)
    CU_ASSERT_EQUAL(pthread_join(threads[--started], NULL), 0);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, 0);
  tear_down(&f);
}

/* ---- Waiters ---- */

static void *wait_for_block(void *arg)
{
  void *block = NULL;
  CU_ASSERT_EQUAL(mempool_alloc_wait(arg, &block, -1), MEMPOOL_OK);
  return block;
}

/* The first goes to the waiter; the second would take it from him. */
static void test_guard_bulk_block_twice_with_waiter_refused(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  void *blocks[2], *served = NULL;
  pthread_t thread;
  mempool *pool;
  options.flags = MEMPOOL_GUARD;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, 1, &options), MEMPOOL_OK);
  blocks[0] = blocks[1] = mempool_alloc(pool);
  if (pthread_create(&thread, NULL, wait_for_block, pool) != 0) {
    skip_test("there are no threads here");
    return;
  }
  while (stats_of(pool).waiting == 0)
    sched_yield();
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 2), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(pthread_join(thread, &served), 0);
  CU_ASSERT_PTR_EQUAL(served, blocks[0]);
  CU_ASSERT_EQUAL(stats_of(pool).used, 1);
  mempool_destroy(pool);
}

/* ---- What is said ---- */

/* What goes to standard error meanwhile; at most one at a time. */
static struct {
  int real, file;
  char name[32];
  char text[1 << 14];
} heard;

static bool listen_to_errors(void)
{
  strcpy(heard.name, "/tmp/mempool-test-XXXXXX");
  heard.file = mkstemp(heard.name);
  (void)fflush(stderr);
  heard.real = dup(STDERR_FILENO);
  if (heard.file < 0 || heard.real < 0 || dup2(heard.file, STDERR_FILENO) < 0) {
    skip_test("standard error can't be redirected here");
    return false;
  }
  return true;
}

static const char *what_was_said(void)
{
  ssize_t length;
  (void)fflush(stderr);
  (void)dup2(heard.real, STDERR_FILENO);
  (void)close(heard.real);
  (void)lseek(heard.file, 0, SEEK_SET);
  length = read(heard.file, heard.text, sizeof(heard.text) - 1);
  heard.text[length > 0 ? length : 0] = '\0';
  (void)close(heard.file);
  (void)unlink(heard.name);
  return heard.text;
}

static unsigned count_in(const char *text, const char *part)
{
  unsigned count = 0;
  for (; (text = strstr(text, part)) != NULL; text += strlen(part))
    count++;
  return count;
}

static void *misused; /* the block that was, by misuse() */

static unsigned count_of_address(const char *said, const char *before, const void *address)
{
  char words[64];
  (void)snprintf(words, sizeof(words), "%s0x%" PRIxPTR " ", before, (uintptr_t)address);
  return count_in(said, words);
}

/* A pool of which everything that can be is done wrong. */
static void misuse(mempool *pool)
{
  unsigned char *block = mempool_alloc(pool), *leaked = mempool_alloc(pool);
  CU_ASSERT_PTR_NOT_NULL_FATAL(block);
  CU_ASSERT_PTR_NOT_NULL_FATAL(leaked);
  misused = block;
  CU_ASSERT_EQUAL(mempool_free(pool, block + 1), MEMPOOL_E_FOREIGN_BLOCK);
  block[BLOCK_SIZE] ^= 1;
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
  block[7] ^= 1;
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(pool).damaged_blocks, 2);
  mempool_destroy(pool);
}

static void expect_all_said(const char *said)
{
  CU_ASSERT_EQUAL(count_in(said, "libmempool: pool \"kitchen\": "), 5);
  CU_ASSERT_EQUAL(count_in(said, " refused: Foreign block"), 1);
  CU_ASSERT_EQUAL(count_of_address(said, "block 0 at ", misused), 2);
  CU_ASSERT_EQUAL(count_of_address(said, "free of ", misused), 1);
  CU_ASSERT_EQUAL(count_of_address(said, "free of ", offset_by(misused, 1)), 1);
  CU_ASSERT_EQUAL(count_in(said, " was overrun: its canary is damaged\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, " refused: Block already freed"), 1);
  CU_ASSERT_EQUAL(count_in(said, " was written to after it was freed, at byte 7\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, "destroyed while blocks were out: 1\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, "\n"), 5);
}

static void say_everything(uint32_t mode)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  options.flags = MEMPOOL_GUARD | MEMPOOL_POISON | MEMPOOL_CHECK | mode;
  options.name = "kitchen";
  if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0)
    return;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  if (!listen_to_errors())
    return;
  misuse(pool);
  expect_all_said(what_was_said());
}

static void test_check_everything_wrong_said(void)
{
  say_everything(0);
  say_everything(MEMPOOL_SINGLE_THREADED);
  say_everything(MEMPOOL_SHARED);
}

static void test_check_nothing_wrong_nothing_said(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  options.flags = MEMPOOL_GUARD | MEMPOOL_POISON | MEMPOOL_CHECK;
  if (!listen_to_errors())
    return;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, mempool_alloc(pool)), MEMPOOL_OK); /* the same once more */
  CU_ASSERT_EQUAL(mempool_free(pool, NULL), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT_STRING_EQUAL(what_was_said(), "");
}

static void test_check_damaged_at_destruction_said(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  unsigned char *block;
  options.flags = MEMPOOL_POISON | MEMPOOL_CHECK;
  options.name = "kitchen";
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  block = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  if (!listen_to_errors())
    return;
  block[1] ^= 1;
  mempool_destroy(pool);
  CU_ASSERT_STRING_EQUAL(what_was_said(), "libmempool: pool \"kitchen\": destroyed, and found damaged\n");
}

/* What others hold who are attached as well is out rightly. */
static void test_check_shared_own_blocks_said(void)
{
  static unsigned char memory[1 << 14];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool, *other;
  void *block;
  options.flags = MEMPOOL_SHARED | MEMPOOL_CHECK;
  options.max_owners = 8;
  if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0) {
    skip_test("this build has no shared pools");
    return;
  }
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, sizeof(memory), BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&other, memory, sizeof(memory)), MEMPOOL_OK);
  block = mempool_alloc(pool);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(other));
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(other));
  if (!listen_to_errors())
    return;
  mempool_destroy(other);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT_STRING_EQUAL(what_was_said(), "libmempool: pool \"\": destroyed while blocks were out: 2\n");
}

/* What is out in the name of the parent is not the child's, who only lets go of the handle. */
static void test_check_shared_handle_of_parent_nothing_said(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  void *block;
  pid_t child;
  int status = 1;
  options.flags = MEMPOOL_SHARED | MEMPOOL_CHECK;
  if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0) {
    skip_test("this build has no shared pools");
    return;
  }
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  block = mempool_alloc(pool);
  if (!listen_to_errors())
    return;
  child = fork();
  if (child == 0) {
    mempool_destroy(pool);
    _exit(0);
  }
  if (child > 0)
    CU_ASSERT(waitpid(child, &status, 0) == child && status == 0);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT_STRING_EQUAL(what_was_said(), "");
  if (child < 0)
    skip_test("there is no fork() here");
}

/* Without MEMPOOL_CHECK, and without MEMPOOL_DEBUG, the library never says anything. */
static void test_refused_frees_unasked_nothing_said(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  if (!listen_to_errors())
    return;
  options.flags = MEMPOOL_GUARD | MEMPOOL_POISON;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  misuse(pool);
  CU_ASSERT_STRING_EQUAL(what_was_said(), "");
}

/* ---- MEMPOOL_DEBUG ---- */

/* A pool that was made with these words in the environment, hidden from any tool that this runs under. */
static mempool *make_under(const char *words, uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  char all[64];
  options.flags = flags;
  options.name = "kitchen";
  (void)snprintf(all, sizeof(all), "hide,%s", words);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", all, 1), 0);
  CU_ASSERT_EQUAL(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
  return pool;
}

static void test_debug_zero_blocks_wiped(void)
{
  mempool *pool = make_under("zero", 0);
  void *block = mempool_alloc(pool);
  memset(block, 1, BLOCK_SIZE);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_PTR_EQUAL(mempool_alloc(pool), block);
  CU_ASSERT(all_bytes(block, BLOCK_SIZE, 0));
  mempool_destroy(pool);
}

static void test_debug_guard_overrun_found(void)
{
  mempool *pool = make_under(",guard,", MEMPOOL_SINGLE_THREADED);
  unsigned char *block = mempool_alloc(pool);
  block[BLOCK_SIZE] ^= 1;
  if (!listen_to_errors())
    return;
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_CORRUPTED);
  mempool_destroy(pool);
  CU_ASSERT_PTR_NOT_NULL(strstr(what_was_said(), "overrun"));
}

static void test_debug_all_words_everything_wrong_said(void)
{
  mempool *pool = make_under("guard,poison,strict,check", 0);
  if (!listen_to_errors())
    return;
  misuse(pool);
  expect_all_said(what_was_said());
}

static void test_debug_shared_everything_wrong_said(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  options.flags = MEMPOOL_SHARED;
  if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0) {
    skip_test("this build has no shared pools");
    return;
  }
  pool = make_under("check,poison,guard", MEMPOOL_SHARED);
  if (!listen_to_errors())
    return;
  misuse(pool);
  expect_all_said(what_was_said());
}

/* Refused frees are said as soon as anything is asked for; what is still out, only with `check`. */
static void test_debug_strict_alone_refused_said(void)
{
  mempool *pool = make_under("strict", 0);
  void *block = mempool_alloc(pool);
  const char *said;
  if (!listen_to_errors())
    return;
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(pool));
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
  mempool_destroy(pool);
  said = what_was_said();
  CU_ASSERT_EQUAL(count_in(said, "\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, "Block already freed"), 1);
}

static atomic_int about_to_make;

static void *make_with_others(void *arg)
{
  mempool *pool = NULL;
  (void)arg;
  atomic_fetch_add(&about_to_make, 1);
  while (atomic_load(&about_to_make) < 2)
    continue;
  (void)mempool_create(&pool, BLOCK_SIZE, CAPACITY, NULL);
  mempool_destroy(pool);
  return NULL;
}

/* In children: the process of these tests says such words once only, in the next test. */
static void test_debug_unknown_word_of_two_threads_said_once(void)
{
  enum { CHILDREN = 100 };
  pthread_t other;
  pid_t child = 0;
  const char *said;
  int i, status;
  if (!listen_to_errors())
    return;
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide,gaurd", 1), 0);
  for (i = 0; i < CHILDREN && child >= 0; i++) {
    child = fork();
    if (child == 0) {
      if (pthread_create(&other, NULL, make_with_others, NULL) == 0) {
        (void)make_with_others(NULL);
        (void)pthread_join(other, NULL);
      }
      _exit(0);
    }
    CU_ASSERT(child < 0 || (waitpid(child, &status, 0) == child && status == 0));
  }
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
  said = what_was_said();
  if (child < 0)
    skip_test("there is no fork() here");
  else
    CU_ASSERT_EQUAL(count_in(said, "\n"), CHILDREN);
}

/* The only test with words that aren't known to this process. */
static void test_debug_unknown_words_said_once(void)
{
  mempool *first, *second;
  const char *said;
  unsigned char *block;
  if (!listen_to_errors())
    return;
  first = make_under("gaurd,zero,,Check", 0);
  second = make_under("gaurd,another", 0);
  said = what_was_said();
  CU_ASSERT_EQUAL(count_in(said, "\n"), 2);
  CU_ASSERT_EQUAL(count_in(said, "\"gaurd\" is none of guard, zero, poison, strict, check, hide, and is ignored\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, "\"Check\" is none of"), 1);
  block = mempool_alloc(first);
  memset(block, 1, BLOCK_SIZE);
  CU_ASSERT_EQUAL(mempool_free(first, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc(first), block);
  CU_ASSERT(all_bytes(block, BLOCK_SIZE, 0)); /* the words that are known hold */
  mempool_destroy(first);
  mempool_destroy(second);
}

/* Memory that was measured without a canary in mind still makes a pool, which has none, but what else is asked for. */
static void test_debug_guard_memory_too_small_goes_without(void)
{
  static unsigned char memory[1 << 16];
  mempool *pool = NULL;
  size_t size, guarded;
  void *block;
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
  size = mempool_required_size(64, CAPACITY, NULL);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "guard,hide", 1), 0);
  guarded = mempool_required_size(64, CAPACITY, NULL);
  CU_ASSERT(guarded > size && guarded <= sizeof(memory));
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "guard,poison,hide", 1), 0);
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, size, 64, CAPACITY, NULL), MEMPOOL_OK);
  block = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  memset(block, 1, 1);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED); /* the other words hold */
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, size, 64, CAPACITY, NULL), MEMPOOL_OK);
  mempool_destroy(pool);
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, size - 1, 64, CAPACITY, NULL), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, guarded, 64, CAPACITY, NULL), MEMPOOL_OK);
  memset(offset_by(mempool_alloc(pool), 64), 1, 1);
  CU_ASSERT_EQUAL(mempool_check(pool), MEMPOOL_E_CORRUPTED);
  mempool_destroy(pool);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
}

/* Nothing that a program may have without it is refused. */
static void test_debug_guard_no_address_space_goes_without(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  size_t capacity = 100, size;
  options.alignment = (size_t)1 << 21;
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
  size = ((size_t)PTRDIFF_MAX / capacity) & ~(options.alignment - 1);
  while (mempool_required_size(size, capacity, &options) == 0) /* the greatest; eight bytes more are one alignment more */
    size -= options.alignment;
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "guard,hide", 1), 0);
  CU_ASSERT_NOT_EQUAL(mempool_required_size(size, capacity, &options), 0);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
}

/* What is said is for each process to choose. */
static void test_debug_check_of_maker_not_of_who_attaches(void)
{
  static unsigned char memory[1 << 20];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL, *attached = NULL;
  const char *said;
  void *block;
  options.flags = MEMPOOL_SHARED;
  options.max_owners = 4;
  if (mempool_required_size(BLOCK_SIZE, CAPACITY, &options) == 0) {
    skip_test("this build has no shared pools");
    return;
  }
  if (!listen_to_errors())
    return;
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide,check", 1), 0);
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, sizeof(memory), BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  CU_ASSERT_EQUAL(setenv("MEMPOOL_DEBUG", "hide", 1), 0);
  CU_ASSERT_EQUAL(mempool_attach(&attached, memory, sizeof(memory)), MEMPOOL_OK);
  block = mempool_alloc(attached);
  CU_ASSERT_EQUAL(mempool_free(attached, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(attached, block), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
  mempool_destroy(attached);
  mempool_destroy(pool);
  said = what_was_said();
  CU_ASSERT_EQUAL(count_in(said, "\n"), 1);
  CU_ASSERT_EQUAL(count_in(said, "already freed"), 1);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_poison_blocks_left_alone_ok),
    TEST(test_poison_each_byte_written_after_free_found),
    TEST(test_poison_bulk_burst_and_wait_found),
    TEST(test_poison_bulk_in_vain_nothing_found),
    TEST(test_poison_checked_while_others_use_ok),
    TEST(test_guard_bulk_block_twice_with_waiter_refused),
    TEST(test_check_everything_wrong_said),
    TEST(test_check_nothing_wrong_nothing_said),
    TEST(test_check_damaged_at_destruction_said),
    TEST(test_check_shared_own_blocks_said),
    TEST(test_check_shared_handle_of_parent_nothing_said),
    TEST(test_refused_frees_unasked_nothing_said),
    TEST(test_debug_zero_blocks_wiped),
    TEST(test_debug_guard_overrun_found),
    TEST(test_debug_all_words_everything_wrong_said),
    TEST(test_debug_shared_everything_wrong_said),
    TEST(test_debug_strict_alone_refused_said),
    TEST(test_debug_unknown_word_of_two_threads_said_once),
    TEST(test_debug_unknown_words_said_once),
    TEST(test_debug_guard_memory_too_small_goes_without),
    TEST(test_debug_guard_no_address_space_goes_without),
    TEST(test_debug_check_of_maker_not_of_who_attaches),
  };
  return RUN_TESTS(tests);
}
