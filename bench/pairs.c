/* SPDX-License-Identifier: MIT */
/*
 * What a pair of alloc and free costs on one thread, against an unsafe
 * intrusive list in a plain function, all in one process: medians of
 * interleaved runs, the ratio to the list, and how many times as fast as the
 * malloc() that the program is linked with.  "Touched": the program writes the
 * first byte of each block that it takes.
 *
 *     pairs [runs [bytes of a block]]
 */
#include "unsafe_list.h"

#include <mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_RUNS = 1001 };

static inline void *heap_alloc(const size_t *size)
{
  return malloc(*size);
}

static inline void heap_free(const size_t *size, void *block)
{
  (void)size;
  free(block);
}

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

#define PEER heap
#define PEER_TYPE size_t
#define PEER_ALLOC heap_alloc
#define PEER_FREE heap_free
#define PEER_USE USE_NOTHING
#include "workloads.h"

#define PEER list_touched
#define PEER_TYPE struct unsafe_list
#define PEER_ALLOC unsafe_list_alloc
#define PEER_FREE unsafe_list_free
#define PEER_USE USE_FIRST_BYTE
#include "workloads.h"

#define PEER pool_touched
#define PEER_TYPE mempool
#define PEER_ALLOC mempool_alloc
#define PEER_FREE (void)mempool_free
#define PEER_USE USE_FIRST_BYTE
#include "workloads.h"

#define PEER heap_touched
#define PEER_TYPE size_t
#define PEER_ALLOC heap_alloc
#define PEER_FREE heap_free
#define PEER_USE USE_FIRST_BYTE
#include "workloads.h"

enum { PEER_LIST, PEER_SINGLE, PEER_DEFAULT, PEER_HEAP, PEERS };

#define RUNS_OF(name) { list_##name, pool_##name, pool_##name, heap_##name }
#define TOUCHED_RUNS_OF(name) { list_touched_##name, pool_touched_##name, pool_touched_##name, heap_touched_##name }

static const struct {
  const char *name;
  workload *run[PEERS];
} workloads[] = {
  { "hot pair", RUNS_OF(hot_pair) },
  { "batch of 64", RUNS_OF(batch) },
  { "random 1024", RUNS_OF(random) },
  { "hot pair, touched", TOUCHED_RUNS_OF(hot_pair) },
  { "batch of 64, touched", TOUCHED_RUNS_OF(batch) },
  { "random 1024, touched", TOUCHED_RUNS_OF(random) },
};

static double now_ns(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
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

static void fail(const char *what)
{
  (void)fprintf(stderr, "pairs: %s\n", what);
  exit(1);
}

static mempool *make_pool(size_t block_size, uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  mempool_status status;
  options.flags = flags;
  status = mempool_create(&pool, block_size, CAPACITY, &options);
  if (status != MEMPOOL_OK)
    fail(mempool_strerror(status));
  return pool;
}

/* Times each peer in turn, run after run, so that a change of the machine's speed meets all of them. */
static void measure(size_t block_size, size_t which, void *const *peers, struct workspace *space, size_t runs)
{
  enum { WARM_UP = 5 }; /* in WebAssembly, until all code is compiled for good */
  static double ns[PEERS][MAX_RUNS];
  double medians[PEERS];
  size_t run;
  size_t turn;
  size_t peer;
  for (run = 0; run < WARM_UP + runs; run++) {
    for (turn = 0; turn < PEERS; turn++) {
      double begin;
      double end;
      size_t pairs;
      peer = (run + turn) % PEERS; /* nobody always follows the same other */
      begin = now_ns();
      pairs = workloads[which].run[peer](peers[peer], space);
      end = now_ns();
      if (run >= WARM_UP)
        ns[peer][run - WARM_UP] = (end - begin) / (double)pairs;
    }
  }
  for (peer = 0; peer < PEERS; peer++)
    medians[peer] = median(ns[peer], runs);
  printf("%8zu  %-20s %8.2f %8.2f %8.2f %8.2f   %8.2f %8.2f   %8.1f %8.1f\n", block_size, workloads[which].name, medians[PEER_LIST],
         medians[PEER_SINGLE], medians[PEER_DEFAULT], medians[PEER_HEAP], medians[PEER_SINGLE] / medians[PEER_LIST],
         medians[PEER_DEFAULT] / medians[PEER_LIST], medians[PEER_HEAP] / medians[PEER_SINGLE],
         medians[PEER_HEAP] / medians[PEER_DEFAULT]);
  (void)fflush(stdout);
}

static void measure_block_size(size_t block_size, struct workspace *space, size_t runs)
{
  struct unsafe_list list;
  void *peers[PEERS];
  size_t which;
  if (unsafe_list_create(&list, block_size, CAPACITY) != 0)
    fail("not enough memory");
  peers[PEER_LIST] = &list;
  peers[PEER_SINGLE] = make_pool(block_size, MEMPOOL_SINGLE_THREADED);
  peers[PEER_DEFAULT] = make_pool(block_size, 0);
  peers[PEER_HEAP] = &block_size;
  for (which = 0; which < sizeof workloads / sizeof workloads[0]; which++)
    measure(block_size, which, peers, space, runs);
  mempool_destroy(peers[PEER_SINGLE]);
  mempool_destroy(peers[PEER_DEFAULT]);
  unsafe_list_destroy(&list);
}

int main(int argc, char **argv)
{
  static struct workspace space;
  static const size_t block_sizes[] = { 1024, 65536, 1048576 };
  size_t runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 51;
  size_t i;
  if (runs == 0 || runs > MAX_RUNS)
    fail("the number of runs is 1 to 1001");
  choose_victims(&space);
  printf("ns per alloc + free, medians of %zu interleaved runs; libmempool %s\n", runs, mempool_version());
  printf("   bytes  workload                 list   single  default   malloc   single/list default/list  malloc/single /default\n");
  if (argc > 2)
    measure_block_size(strtoul(argv[2], NULL, 10), &space, runs);
  for (i = 0; argc <= 2 && i < sizeof block_sizes / sizeof block_sizes[0]; i++)
    measure_block_size(block_sizes[i], &space, runs);
  return 0;
}
