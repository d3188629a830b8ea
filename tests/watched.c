/* SPDX-License-Identifier: MIT */
/*
 * A program for tests/check_tools.sh, which runs it under tools that watch: does
 * one thing wrong, or, as "orderly", nothing.
 *
 *     watched CASE
 */
#include <mempool.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_SIZE 64 /* as large as its alignment, so that blocks would lie wall to wall */
#define CAPACITY 8

static mempool *make(size_t capacity)
{
  mempool *pool = NULL;
  if (mempool_create(&pool, BLOCK_SIZE, capacity, NULL) != MEMPOOL_OK)
    exit(3);
  return pool;
}

static unsigned char *take(mempool *pool)
{
  unsigned char *block = mempool_alloc(pool);
  if (block == NULL)
    exit(3);
  return block;
}

static void expect(int condition)
{
  if (!condition)
    exit(3);
}

static volatile unsigned char seen;

/* ---- Nothing wrong ---- */

static int sum_of(void *block, uint32_t index, void *sum)
{
  *(unsigned *)sum += *(unsigned char *)block + index;
  return 0;
}

/* Every way to get a block and to give it back. */
static void use(mempool *pool)
{
  void *blocks[CAPACITY];
  unsigned sum = 0;
  uint32_t i;
  expect(mempool_alloc_bulk(pool, blocks, 3) == MEMPOOL_OK);
  expect(mempool_alloc_burst(pool, blocks + 3, 3) == 3);
  expect(mempool_alloc_wait(pool, &blocks[6], -1) == MEMPOOL_OK);
  blocks[7] = take(pool);
  for (i = 0; i < CAPACITY; i++)
    memset(blocks[i], (int)i, BLOCK_SIZE);
  expect(mempool_foreach(pool, sum_of, &sum) == MEMPOOL_OK && sum != 0);
  expect(mempool_check(pool) == MEMPOOL_OK);
  for (i = 0; i < CAPACITY; i++)
    expect(mempool_block_at(pool, i) != NULL && *(unsigned char *)blocks[i] == i);
  expect(mempool_alloc(pool) == NULL);
  expect(mempool_free_bulk(pool, blocks, 5) == MEMPOOL_OK);
  expect(mempool_free(pool, blocks[5]) == MEMPOOL_OK && mempool_free(pool, blocks[5]) == MEMPOOL_E_DOUBLE_FREE);
  expect(mempool_free_bulk(pool, blocks + 6, 2) == MEMPOOL_OK);
  expect(mempool_check(pool) == MEMPOOL_OK);
}

static void be_orderly(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  unsigned char *memory;
  size_t size, i;
  options.flags = flags;
  expect(mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options) == MEMPOOL_OK);
  use(pool);
  use(pool);
  mempool_destroy(pool);
  size = mempool_required_size(BLOCK_SIZE - 3, CAPACITY, &options);
  memory = malloc(size);
  expect(memory != NULL);
  memset(memory, 1, size);
  for (i = 0; i < 2; i++) { /* in the same place again, without the end of the first */
    expect(mempool_init(&pool, memory, size, BLOCK_SIZE - 3, CAPACITY, &options) == MEMPOOL_OK);
    /* Of a block that was never out, what was there is there still. */
    expect(*take(pool) == ((flags & MEMPOOL_ZERO) != 0 ? 0 : 1));
  }
  mempool_destroy(pool);
  memset(memory, 2, size);
  free(memory);
}

/* What an earlier pool said of the memory is nothing to a later one that lies elsewhere in it. */
static void use_again(size_t at, uint32_t flags, uint32_t later_flags)
{
  static unsigned char memory[1 << 16];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  unsigned char *block;
  size_t size;
  options.flags = flags;
  options.max_owners = 8;
  expect(mempool_init(&pool, memory, sizeof(memory), 1000, 20, &options) == MEMPOOL_OK);
  seen = *take(pool);
  options.flags = later_flags;
  size = mempool_required_size(BLOCK_SIZE, 100, &options);
  if (size == 0)
    return; /* no shared pools here */
  expect(mempool_init(&pool, memory + at, size, BLOCK_SIZE, 100, &options) == MEMPOOL_OK);
  block = take(pool);
  memset(block, 1, BLOCK_SIZE);
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  mempool_destroy(pool);
  memset(memory + at, 1, size);
}

static void used_again(void)
{
  static const size_t at[] = { 0, 4096 };
  size_t i;
  for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
    use_again(at[i], 0, 0);
    use_again(at[i], MEMPOOL_SINGLE_THREADED, MEMPOOL_PREFAULT);
    use_again(at[i], 0, MEMPOOL_SHARED);
  }
}

static void orderly(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_SINGLE_THREADED, MEMPOOL_ZERO, MEMPOOL_GUARD, MEMPOOL_POISON,
                                    MEMPOOL_GUARD | MEMPOOL_POISON | MEMPOOL_ZERO, MEMPOOL_STRICT, MEMPOOL_SHARED,
                                    MEMPOOL_SHARED | MEMPOOL_GUARD | MEMPOOL_POISON };
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  size_t i;
  for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
    options.flags = flags[i];
    if (mempool_required_size(BLOCK_SIZE, 1, &options) != 0) /* there may be no shared pools here */
      be_orderly(flags[i]);
  }
}

/* Nobody watches: blocks lie wall to wall. */
static void unwatched(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool), *next = take(pool);
  expect((next > block ? next - block : block - next) == BLOCK_SIZE);
  mempool_destroy(pool);
}

/* A block goes from one thread to another by nothing but the pool. */
static void *take_and_write(void *arg)
{
  mempool *pool = arg;
  int i;
  for (i = 0; i < 100; i++) {
    unsigned char *block;
    while ((block = mempool_alloc(pool)) == NULL)
      sched_yield();
    block[i % BLOCK_SIZE] = (unsigned char)(block[i % BLOCK_SIZE] + 1);
    expect(mempool_free(pool, block) == MEMPOOL_OK);
  }
  return NULL;
}

static void hand_over(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  pthread_t other;
  options.flags = flags | MEMPOOL_ZERO; /* nothing in it is read before it was written */
  if (mempool_required_size(BLOCK_SIZE, 1, &options) == 0)
    return; /* no shared pools here */
  expect(mempool_create(&pool, BLOCK_SIZE, 1, &options) == MEMPOOL_OK);
  expect(pthread_create(&other, NULL, take_and_write, pool) == 0);
  take_and_write(pool);
  pthread_join(other, NULL);
  mempool_destroy(pool);
}

static void handed_over(void)
{
  hand_over(0);
  hand_over(MEMPOOL_SHARED);
}

/* One that was recovered is nobody's before the next thread has it, whatever the pool did to it. */
static atomic_bool recovered;

static void *take_what_was_recovered(void *arg)
{
  mempool *pool = arg;
  unsigned char *block;
  while (!atomic_load_explicit(&recovered, memory_order_relaxed))
    sched_yield();
  block = take(pool);
  memset(block, 1, BLOCK_SIZE);
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  return NULL;
}

static void recover(uint32_t flags)
{
  static unsigned char memory[1 << 14];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL, *other = NULL;
  pthread_t thread;
  size_t count = 0;
  options.flags = MEMPOOL_SHARED | flags;
  options.max_owners = 8;
  if (mempool_required_size(BLOCK_SIZE, 1, &options) == 0)
    return; /* no shared pools here */
  expect(mempool_init(&pool, memory, sizeof(memory), BLOCK_SIZE, 1, &options) == MEMPOOL_OK);
  expect(mempool_attach(&other, memory, sizeof(memory)) == MEMPOOL_OK);
  atomic_store(&recovered, false);
  expect(pthread_create(&thread, NULL, take_what_was_recovered, pool) == 0);
  memset(take(other), 1, BLOCK_SIZE);
  expect(mempool_recover(pool, mempool_owner(other), &count) == MEMPOOL_OK && count == 1);
  atomic_store_explicit(&recovered, true, memory_order_relaxed);
  pthread_join(thread, NULL);
  mempool_destroy(pool);
}

static void recovered_by_another(void)
{
  recover(0);
  recover(MEMPOOL_POISON);
  recover(MEMPOOL_ZERO | MEMPOOL_GUARD);
}

/* What is to be found by way of a block alone. */
static mempool *volatile linked_pool;
static void **volatile linked;

static void pointed_to(void)
{
  mempool_destroy(make(CAPACITY));
  linked_pool = make(CAPACITY);
  linked = mempool_alloc(linked_pool);
  expect(linked != NULL && (*linked = malloc(1)) != NULL);
}

/* ---- Wrong ---- */

static void use_after_free(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool);
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  block[5] = 1;
}

/* Which the library sees by itself. */
static void free_twice(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool);
  expect(mempool_free(pool, block) == MEMPOOL_OK && mempool_free(pool, block) == MEMPOOL_E_DOUBLE_FREE);
}

static void read_after_free(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool);
  memset(block, 1, BLOCK_SIZE);
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  seen = block[BLOCK_SIZE - 1];
}

/* Into the next block, or what lies before it, with both of them in use. */
static void overrun(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool), *next = take(pool);
  (next > block ? block : next)[BLOCK_SIZE] = 1;
}

static void never_taken(void)
{
  mempool *pool = make(CAPACITY);
  seen = *(unsigned char *)mempool_block_at(pool, 3);
}

static void uninitialised(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block = take(pool);
  memset(block, 1, BLOCK_SIZE);
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  if (take(pool)[3] == 1) /* of another life */
    puts("seen");
}

static mempool *volatile kept;
static void *volatile also_kept;

/* Memcheck 3.19 looks for no leak in a program that has nothing of malloc()'s. */
static void leak(void)
{
  also_kept = malloc(1);
  kept = make(CAPACITY);
  seen = *take(kept);
}

static _Atomic(unsigned char *) told;

static void *free_and_tell(void *arg)
{
  mempool *pool = arg;
  unsigned char *block = take(pool);
  block[0] = 1;
  expect(mempool_free(pool, block) == MEMPOOL_OK);
  atomic_store_explicit(&told, block, memory_order_relaxed);
  return NULL;
}

/*
 * A fork while another thread is in the middle of a free: in the page that it
 * can't write to, which it waits to be let into until this is done.
 */
enum { PAGE = 4096 };
static unsigned char *forbidden;
static atomic_bool in_the_middle, is_forked;
static pid_t parent;

static void on_fault(int signal_number)
{
  (void)signal_number;
  if (getpid() == parent) {
    atomic_store(&in_the_middle, true);
    while (!atomic_load(&is_forked))
      sched_yield();
  }
  if (mprotect(forbidden, PAGE, PROT_READ | PROT_WRITE) != 0)
    _exit(3);
}

static void *free_forbidden(void *pool)
{
  expect(mempool_free(pool, forbidden - PAGE) == MEMPOOL_OK);
  return NULL;
}

/* Returns the pool in the child, where the block is free. */
static mempool *fork_in_the_middle(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  struct sigaction action;
  mempool *pool = NULL;
  pthread_t other;
  pid_t child;
  int status;
  options.flags = MEMPOOL_POISON;
  options.alignment = PAGE;
  expect(mempool_create(&pool, 2 * PAGE, 1, &options) == MEMPOOL_OK);
  forbidden = take(pool) + PAGE;
  memset(&action, 0, sizeof(action));
  action.sa_handler = on_fault;
  expect(sigaction(SIGSEGV, &action, NULL) == 0);
  parent = getpid();
  expect(mprotect(forbidden, PAGE, PROT_NONE) == 0);
  expect(pthread_create(&other, NULL, free_forbidden, pool) == 0);
  while (!atomic_load(&in_the_middle))
    sched_yield();
  child = fork();
  if (child == 0)
    return pool;
  atomic_store(&is_forked, true);
  pthread_join(other, NULL);
  expect(waitpid(child, &status, 0) == child);
  exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
}

static void forked_orderly(void)
{
  mempool *pool = fork_in_the_middle();
  unsigned char *block = take(pool);
  memset(block, 1, 2 * PAGE);
  expect(mempool_free(pool, block) == MEMPOOL_OK && mempool_check(pool) == MEMPOOL_OK);
  mempool_destroy(pool);
  _exit(0); /* or AddressSanitizer would look for the threads that the parent has */
}

static void forked_read_after_free(void)
{
  (void)fork_in_the_middle();
  seen = forbidden[-1];
}

/* By a thread that has no business with it. */
static void use_after_free_by_another(void)
{
  mempool *pool = make(CAPACITY);
  unsigned char *block;
  pthread_t other;
  expect(pthread_create(&other, NULL, free_and_tell, pool) == 0);
  while ((block = atomic_load_explicit(&told, memory_order_relaxed)) == NULL)
    sched_yield();
  seen = block[BLOCK_SIZE / 2];
  pthread_join(other, NULL);
  mempool_destroy(pool);
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*run)(void);
  } cases[] = {
    { "orderly", orderly },
    { "used_again", used_again },
    { "unwatched", unwatched },
    { "pointed_to", pointed_to },
    { "handed_over", handed_over },
    { "recovered_by_another", recovered_by_another },
    { "forked_orderly", forked_orderly },
    { "use_after_free", use_after_free },
    { "read_after_free", read_after_free },
    { "forked_read_after_free", forked_read_after_free },
    { "free_twice", free_twice },
    { "overrun", overrun },
    { "never_taken", never_taken },
    { "uninitialised", uninitialised },
    { "leak", leak },
    { "use_after_free_by_another", use_after_free_by_another },
  };
  size_t i;
  for (i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
    if (strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      return 0;
    }
  }
  return 2;
}
