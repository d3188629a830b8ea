/* SPDX-License-Identifier: MIT */
/*
 * What a pair of alloc and free costs in WebAssembly, with no JavaScript in the
 * loop, against the malloc() that the program is linked with: medians of
 * interleaved runs, and how many times as fast the pools are.  make bench-wasm
 * links it twice, with dlmalloc and with emmalloc of Emscripten.  The unsafe
 * list shows what two calls cost that do next to nothing.
 *
 *     wasm [runs]
 */
#include "unsafe_list.h"

#include <mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef MALLOC_NAME
#define MALLOC_NAME "malloc"
#endif

enum { MAX_RUNS = 1001, BLOCK_BYTES = 1024 };

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

enum { PEER_LIST, PEER_SINGLE, PEER_DEFAULT, PEER_HEAP, PEERS };

#define RUNS_OF(name) { list_##name, pool_##name, pool_##name, heap_##name }

static const struct {
  const char *name;
  workload *run[PEERS];
} workloads[] = {
  { "hot pair", RUNS_OF(hot_pair) },
  { "batch of 64", RUNS_OF(batch) },
  { "random 1024", RUNS_OF(random) },
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
  (void)fprintf(stderr, "wasm: %s\n", what);
  exit(1);
}

static mempool *make_pool(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  mempool_status status;
  options.flags = flags;
  status = mempool_create(&pool, BLOCK_BYTES, CAPACITY, &options);
  if (status != MEMPOOL_OK)
    fail(mempool_strerror(status));
  return pool;
}

/* Each peer in turn, run after run, so that a change of the machine's speed meets all of them. */
static void measure(size_t which, void *const *peers, struct workspace *space, size_t runs)
{
  enum { WARM_UP = 5 }; /* until all code is compiled for good */
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
  printf("  %-12s %8.2f %8.2f %8.2f %8.2f   %8.1f %8.1f\n", workloads[which].name, medians[PEER_LIST],
         medians[PEER_SINGLE], medians[PEER_DEFAULT], medians[PEER_HEAP], medians[PEER_HEAP] / medians[PEER_SINGLE],
         medians[PEER_HEAP] / medians[PEER_DEFAULT]);
}

int main(int argc, char **argv)
{
  static struct workspace space;
  struct unsafe_list list;
  size_t block_size = BLOCK_BYTES;
  size_t runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 51;
  void *peers[PEERS];
  size_t which;
  if (runs == 0 || runs > MAX_RUNS)
    fail("the number of runs is 1 to 1001");
  if (unsafe_list_create(&list, BLOCK_BYTES, CAPACITY) != 0)
    fail("not enough memory");
  peers[PEER_LIST] = &list;
  peers[PEER_SINGLE] = make_pool(MEMPOOL_SINGLE_THREADED);
  peers[PEER_DEFAULT] = make_pool(0);
  peers[PEER_HEAP] = &block_size;
  choose_victims(&space);
  printf("ns per alloc + free of %d bytes, medians of %zu interleaved runs; libmempool %s\n", BLOCK_BYTES, runs,
         mempool_version());
  printf("  workload         list   single  default %8s   times as fast: single, default (goal: at least 4)\n",
         MALLOC_NAME);
  for (which = 0; which < sizeof workloads / sizeof workloads[0]; which++)
    measure(which, peers, &space, runs);
  mempool_destroy(peers[PEER_SINGLE]);
  mempool_destroy(peers[PEER_DEFAULT]);
  unsafe_list_destroy(&list);
  return 0;
}
