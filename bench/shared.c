/* SPDX-License-Identifier: MIT */
/*
 * What a pool costs that processes share, all in one run:
 *
 *   - one process alone, against an unsafe intrusive list in a plain function;
 *   - two processes at once, each with blocks of its own, against one alone;
 *   - messages of 1 KiB from one process to another through a ring of indices
 *     in shared memory, against a pipe;
 *   - recovering a process that ended with all of a million blocks.
 *
 * Medians of interleaved runs.  All but the third are in the processor time of
 * the process that works, so that others on the machine count less; the third is
 * in time that passes.
 *
 *     shared [runs]
 */
#include "unsafe_list.h"

#include <mempool.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RUNS = 1001, BLOCK_BYTES = 1024, MESSAGES = 20000, RING = 64, SPINS = 2000 };
enum { MILLION = 1000000, SMALL_BYTES = 64 };

#define PEER list
#define PEER_TYPE struct unsafe_list
#define PEER_ALLOC unsafe_list_alloc
#define PEER_FREE unsafe_list_free
#define PEER_USE USE_NOTHING
#include "workloads.h"

#define PEER pool
#define PEER_TYPE mempool
#define PEER_ALLOC mempool_alloc
#define PEER_FREE (void)mempool_free
#define PEER_USE USE_NOTHING
#include "workloads.h"

static const struct {
  const char *name;
  workload *list;
  workload *pool;
} workloads[] = {
  { "hot pair", list_hot_pair, pool_hot_pair },
  { "batch of 64", list_batch, pool_batch },
  { "random 1024", list_random, pool_random },
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

/* A count that one process changes, and another waits for. */
struct counter {
  _Atomic unsigned count;
  _Atomic unsigned sleeping;
  sem_t changed;
  unsigned char padding[64];
};

/* What the processes share beside the pool. */
static struct common {
  _Atomic unsigned arrived;
  _Atomic unsigned round;
  double ns[2][MAX_RUNS];
  struct counter head;
  struct counter tail;
  uint32_t indices[RING];
} *common;

static void fail(const char *what)
{
  (void)fprintf(stderr, "shared: %s\n", what);
  exit(1);
}

static double clock_ns(clockid_t id)
{
  struct timespec now;
  (void)clock_gettime(id, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
  qsort(values, count, sizeof *values, ascending);
  return values[count / 2];
}

static void *map(size_t bytes)
{
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    fail("not enough memory");
  return memory;
}

static double ns_per_pair(workload *run, void *peer, struct workspace *space)
{
  double begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  size_t pairs = run(peer, space);
  return (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin) / (double)pairs;
}

static void measure_one(mempool *pool, struct workspace *space, size_t runs)
{
  static double ns[2][MAX_RUNS];
  struct unsafe_list list;
  size_t which;
  size_t run;
  if (unsafe_list_create(&list, BLOCK_BYTES, CAPACITY) != 0)
    fail("not enough memory");
  printf("one process alone, ns of processor time per alloc + free\n");
  for (which = 0; which < WORKLOADS; which++) {
    double list_ns;
    double pool_ns;
    for (run = 0; run <= runs; run++) {
      double a = ns_per_pair(workloads[which].list, &list, space);
      double b = ns_per_pair(workloads[which].pool, pool, space);
      if (run > 0) {
        ns[0][run - 1] = a;
        ns[1][run - 1] = b;
      }
    }
    list_ns = median(ns[0], runs);
    pool_ns = median(ns[1], runs);
    printf("  %-16s list %6.2f  shared %6.2f  shared/list %5.2f\n", workloads[which].name, list_ns, pool_ns,
           pool_ns / list_ns);
  }
  unsafe_list_destroy(&list);
}

/* All begin a run together. */
static void meet(unsigned parties)
{
  unsigned round = atomic_load(&common->round);
  if (atomic_fetch_add(&common->arrived, 1) + 1 == parties) {
    atomic_store(&common->arrived, 0);
    atomic_store(&common->round, round + 1);
  }
  while (atomic_load(&common->round) == round)
    (void)sched_yield();
}

static void work(mempool *pool, struct workspace *space, size_t which, size_t runs, unsigned self, unsigned parties)
{
  size_t run;
  for (run = 0; run <= runs; run++) {
    double ns;
    meet(parties);
    ns = ns_per_pair(workloads[which].pool, pool, space);
    if (run > 0)
      common->ns[self][run - 1] = ns;
  }
}

static void finish(pid_t child)
{
  int status;
  if (waitpid(child, &status, 0) != child || status != 0)
    fail("a process failed");
}

static void measure_two(mempool *pool, void *memory, size_t size, struct workspace *space, size_t runs)
{
  size_t which;
  printf("two processes at once, each with blocks of its own\n");
  for (which = 0; which < WORKLOADS; which++) {
    double alone;
    double both;
    pid_t child;
    (void)fflush(stdout);
    work(pool, space, which, runs, 0, 1);
    alone = median(common->ns[0], runs);
    child = fork();
    if (child == 0) {
      mempool *own;
      if (mempool_attach(&own, memory, size) != MEMPOOL_OK)
        _exit(1);
      work(own, space, which, runs, 1, 2);
      mempool_destroy(own);
      _exit(0);
    }
    work(pool, space, which, runs, 0, 2);
    finish(child);
    both = (median(common->ns[0], runs) + median(common->ns[1], runs)) / 2;
    printf("  %-16s alone %6.2f  each of two %6.2f  two/alone %5.2f\n", workloads[which].name, alone, both,
           both / alone);
  }
}

static uint32_t sum_of(const void *message)
{
  const uint32_t *words = message;
  uint32_t sum = 0;
  size_t i;
  for (i = 0; i < BLOCK_BYTES / sizeof *words; i++)
    sum += words[i];
  return sum;
}

static void reset(struct counter *counter)
{
  atomic_store(&counter->count, 0);
  atomic_store(&counter->sleeping, 0);
  (void)sem_init(&counter->changed, 1, 0);
}

static void advance(struct counter *counter, unsigned count)
{
  atomic_store(&counter->count, count);
  if (atomic_load(&counter->sleeping) != 0 && atomic_exchange(&counter->sleeping, 0) != 0)
    (void)sem_post(&counter->changed);
}

static void await_other_than(struct counter *counter, unsigned count)
{
  int spin;
  for (spin = 0; spin < SPINS; spin++) {
    if (atomic_load(&counter->count) != count)
      return;
  }
  while (atomic_load(&counter->count) == count) {
    atomic_store(&counter->sleeping, 1);
    if (atomic_load(&counter->count) == count)
      (void)sem_wait(&counter->changed);
  }
}

static void send_in_place(mempool *pool)
{
  unsigned sent;
  for (sent = 0; sent < MESSAGES; sent++) {
    void *message;
    if (mempool_alloc_wait(pool, &message, -1) != MEMPOOL_OK)
      fail("no block");
    memset(message, (int)sent, BLOCK_BYTES);
    await_other_than(&common->tail, sent - RING);
    if (mempool_block_index(pool, message, &common->indices[sent % RING]) != MEMPOOL_OK)
      fail("no block");
    advance(&common->head, sent + 1);
  }
}

static uint32_t receive_in_place(mempool *pool)
{
  unsigned received;
  uint32_t sum = 0;
  for (received = 0; received < MESSAGES; received++) {
    void *message;
    await_other_than(&common->head, received);
    message = mempool_block_at(pool, common->indices[received % RING]);
    sum += sum_of(message);
    if (mempool_free(pool, message) != MEMPOOL_OK)
      fail("a block was refused");
    advance(&common->tail, received + 1);
  }
  return sum;
}

static void send_by_pipe(int out)
{
  unsigned char message[BLOCK_BYTES];
  unsigned sent;
  for (sent = 0; sent < MESSAGES; sent++) {
    memset(message, (int)sent, sizeof message);
    if (write(out, message, sizeof message) != (ssize_t)sizeof message)
      fail("write");
  }
}

static uint32_t receive_by_pipe(int in)
{
  uint32_t message[BLOCK_BYTES / sizeof(uint32_t)];
  unsigned received;
  uint32_t sum = 0;
  for (received = 0; received < MESSAGES; received++) {
    size_t length = 0;
    while (length < sizeof message) {
      ssize_t count = read(in, (unsigned char *)message + length, sizeof message - length);
      if (count <= 0)
        fail("read");
      length += (size_t)count;
    }
    sum += sum_of(message);
  }
  return sum;
}

static double hand_over(mempool *pool, void *memory, size_t size, uint32_t *sum)
{
  double begin;
  double end;
  pid_t child;
  reset(&common->head);
  reset(&common->tail);
  child = fork();
  if (child == 0) {
    mempool *own;
    if (mempool_attach(&own, memory, size) != MEMPOOL_OK)
      _exit(1);
    meet(2);
    send_in_place(own);
    meet(2); /* its blocks are free again */
    mempool_destroy(own);
    _exit(0);
  }
  meet(2);
  begin = clock_ns(CLOCK_MONOTONIC);
  *sum = receive_in_place(pool);
  end = clock_ns(CLOCK_MONOTONIC);
  meet(2);
  finish(child);
  return (end - begin) / MESSAGES;
}

static double pipe_over(uint32_t *sum)
{
  double begin;
  double end;
  int ends[2];
  pid_t child;
  if (pipe(ends) != 0)
    fail("pipe");
  child = fork();
  if (child == 0) {
    meet(2);
    send_by_pipe(ends[1]);
    _exit(0);
  }
  meet(2);
  begin = clock_ns(CLOCK_MONOTONIC);
  *sum = receive_by_pipe(ends[0]);
  end = clock_ns(CLOCK_MONOTONIC);
  finish(child);
  (void)close(ends[0]);
  (void)close(ends[1]);
  return (end - begin) / MESSAGES;
}

static void measure_hand_over(mempool *pool, void *memory, size_t size, size_t runs)
{
  static double ns[2][MAX_RUNS];
  uint32_t sums[2];
  double in_place;
  double by_pipe;
  size_t run;
  (void)fflush(stdout);
  for (run = 0; run < runs; run++) {
    ns[0][run] = hand_over(pool, memory, size, &sums[0]);
    ns[1][run] = pipe_over(&sums[1]);
    if (sums[0] != sums[1])
      fail("the messages differ");
  }
  in_place = median(ns[0], runs);
  by_pipe = median(ns[1], runs);
  printf("messages of %d bytes from one process to another, ns each\n", BLOCK_BYTES);
  printf("  in place %.0f  by a pipe %.0f  pipe/in place %.2f\n", in_place, by_pipe, by_pipe / in_place);
}

static void end_with_all(void *memory, size_t size)
{
  mempool *own;
  size_t taken = 0;
  if (mempool_attach(&own, memory, size) != MEMPOOL_OK)
    _exit(1);
  while (mempool_alloc(own) != NULL)
    taken++;
  _exit(taken == MILLION ? 0 : 1);
}

static void measure_recovery(size_t runs)
{
  static double ms[MAX_RUNS];
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  size_t size;
  size_t run;
  void *memory;
  options.flags = MEMPOOL_SHARED;
  size = mempool_required_size(SMALL_BYTES, MILLION, &options);
  memory = map(size);
  if (mempool_init(&pool, memory, size, SMALL_BYTES, MILLION, &options) != MEMPOOL_OK)
    fail("no shared pool");
  for (run = 0; run < runs; run++) {
    size_t recovered;
    double begin;
    pid_t child = fork();
    if (child == 0)
      end_with_all(memory, size);
    finish(child);
    begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (mempool_recover_dead(pool, &recovered) != MEMPOOL_OK || recovered != MILLION)
      fail("not all blocks came back");
    ms[run] = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin) / 1e6;
  }
  mempool_destroy(pool);
  (void)munmap(memory, size);
  printf("recovering a million blocks: %.1f ms\n", median(ms, runs));
}

int main(int argc, char **argv)
{
  static struct workspace space;
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  void *memory;
  size_t size;
  size_t runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 51;
  if (runs == 0 || runs > MAX_RUNS)
    fail("the number of runs is 1 to 1001");
  options.flags = MEMPOOL_SHARED;
  size = mempool_required_size(BLOCK_BYTES, 2 * CAPACITY, &options);
  memory = map(size);
  common = map(sizeof *common);
  if (mempool_init(&pool, memory, size, BLOCK_BYTES, 2 * CAPACITY, &options) != MEMPOOL_OK)
    fail("no shared pool");
  choose_victims(&space);
  printf("blocks of %d bytes, medians of %zu runs; libmempool %s\n", BLOCK_BYTES, runs, mempool_version());
  measure_one(pool, &space, runs);
  measure_two(pool, memory, size, &space, runs);
  measure_hand_over(pool, memory, size, runs < 11 ? runs : 11);
  mempool_destroy(pool);
  measure_recovery(runs < 11 ? runs : 11);
  return 0;
}
