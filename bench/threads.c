/* SPDX-License-Identifier: MIT */
/*
 * What a pair of alloc and free costs between threads, on a default pool and
 * on malloc, in one process: medians of interleaved runs.
 *
 *   alone     batches of 64 on one thread, with no other about
 *   two       batches of 64 on two threads at once, time per thread
 *   handed    one thread allocates, another frees, through a small ring
 *
 *     threads [runs]
 */
#include <mempool.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAIRS = 200000, BATCH = 64, RING = 256, HANDFUL = 8, CAPACITY = 4096, MAX_RUNS = 1001, CACHE_LINE = 64 };

/* What is measured: a pool, or malloc for blocks of a size. */
struct peer {
  mempool *pool;
  size_t block_size;
};

static inline void *take(const struct peer *peer)
{
  return peer->pool != NULL ? mempool_alloc(peer->pool) : malloc(peer->block_size);
}

static inline void give(const struct peer *peer, void *block)
{
  if (peer->pool != NULL)
    (void)mempool_free(peer->pool, block);
  else
    free(block);
}

static double now_ns(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* One thread's batches.  Returns ns per pair. */
static double run_batches(const struct peer *peer)
{
  void *blocks[BATCH];
  double begin = now_ns();
  int round;
  int i;
  for (round = 0; round < PAIRS / BATCH; round++) {
    for (i = 0; i < BATCH; i++) {
      blocks[i] = take(peer);
      *(volatile char *)blocks[i] = 1;
    }
    for (i = 0; i < BATCH; i++)
      give(peer, blocks[i]);
  }
  return (now_ns() - begin) / (PAIRS / BATCH * BATCH);
}

static atomic_int at_start;

struct batches {
  pthread_t thread;
  const struct peer *peer;
  double ns;
};

static void *batches_of_thread(void *argument)
{
  struct batches *batches = argument;
  atomic_fetch_add(&at_start, 1);
  while (atomic_load(&at_start) < 2)
    (void)sched_yield();
  batches->ns = run_batches(batches->peer);
  return NULL;
}

static double run_alone(const struct peer *peer)
{
  return run_batches(peer);
}

static double run_two(const struct peer *peer)
{
  struct batches both[2];
  int i;
  atomic_store(&at_start, 0);
  for (i = 0; i < 2; i++) {
    both[i].peer = peer;
    if (pthread_create(&both[i].thread, NULL, batches_of_thread, &both[i]) != 0)
      exit(1);
  }
  for (i = 0; i < 2; i++)
    (void)pthread_join(both[i].thread, NULL);
  return (both[0].ns + both[1].ns) / 2;
}

/*
 * A ring for one that puts and one that takes.  Each side tells its count once
 * for a handful, and looks at the other's only when by what it saw last it
 * can't go on, so that the ring costs little beside what is measured.
 */
static struct {
  _Alignas(CACHE_LINE) atomic_size_t put;
  _Alignas(CACHE_LINE) atomic_size_t taken;
  _Alignas(CACHE_LINE) void *blocks[RING];
} ring;

static void tell(atomic_size_t *count, size_t value)
{
  if (value % HANDFUL == 0)
    atomic_store_explicit(count, value, memory_order_release);
}

static size_t wait_until_not(atomic_size_t *count, size_t value)
{
  size_t now;
  while ((now = atomic_load_explicit(count, memory_order_acquire)) == value)
    (void)sched_yield();
  return now;
}

static void *free_from_ring(void *argument)
{
  const struct peer *peer = argument;
  size_t put = 0;
  size_t taken;
  for (taken = 0; taken < PAIRS; taken++) {
    if (taken == put)
      put = wait_until_not(&ring.put, taken);
    give(peer, ring.blocks[taken % RING]);
    tell(&ring.taken, taken + 1);
  }
  return NULL;
}

static double run_handed(const struct peer *peer)
{
  struct peer copy = *peer;
  pthread_t thread;
  double begin;
  size_t taken = 0;
  size_t put;
  atomic_store(&ring.put, 0);
  atomic_store(&ring.taken, 0);
  if (pthread_create(&thread, NULL, free_from_ring, &copy) != 0)
    exit(1);
  begin = now_ns();
  for (put = 0; put < PAIRS; put++) {
    void *block = take(peer);
    *(volatile char *)block = 1;
    if (put - taken == RING)
      taken = wait_until_not(&ring.taken, taken);
    ring.blocks[put % RING] = block;
    tell(&ring.put, put + 1);
  }
  (void)pthread_join(thread, NULL);
  return (now_ns() - begin) / PAIRS;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

static const struct {
  const char *name;
  double (*run)(const struct peer *peer);
} workloads[] = { { "alone", run_alone }, { "two", run_two }, { "handed", run_handed } };

static void measure(size_t block_size, size_t runs)
{
  static double ns[2][MAX_RUNS];
  struct peer peers[2] = { { NULL, block_size }, { NULL, block_size } };
  size_t workload;
  size_t run;
  int peer;
  if (mempool_create(&peers[0].pool, block_size, CAPACITY, NULL) != MEMPOOL_OK)
    exit(1);
  for (workload = 0; workload < sizeof workloads / sizeof workloads[0]; workload++) {
    for (run = 0; run < runs; run++) {
      for (peer = 0; peer < 2; peer++)
        ns[peer][run] = workloads[workload].run(&peers[peer]);
    }
    for (peer = 0; peer < 2; peer++)
      qsort(ns[peer], runs, sizeof(double), ascending);
    printf("%8zu  %-8s %8.2f %8.2f %8.2f\n", block_size, workloads[workload].name, ns[0][runs / 2], ns[1][runs / 2],
           ns[1][runs / 2] / ns[0][runs / 2]);
    (void)fflush(stdout);
  }
  mempool_destroy(peers[0].pool);
}

int main(int argc, char **argv)
{
  size_t runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 15;
  if (runs == 0 || runs > MAX_RUNS) {
    (void)fprintf(stderr, "threads: the number of runs is 1 to %d\n", MAX_RUNS);
    return 2;
  }
  printf("ns per alloc + free, medians of %zu interleaved runs\n", runs);
  printf("   bytes  workload     pool   malloc malloc/pool\n");
  measure(1024, runs);
  measure(65536, runs);
  measure(1048576, runs);
  return 0;
}
