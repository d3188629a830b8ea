/* SPDX-License-Identifier: MIT */
/* Two threads free one block at the same time: with MEMPOOL_STRICT exactly one of them succeeds. */
#include <mempool.h>
#include <pthread.h>
#include <stdlib.h>

static mempool *pool;
static void *block;
static pthread_barrier_t start;
static mempool_status results[2];

static void *free_it(void *arg)
{
  (void)pthread_barrier_wait(&start);
  *(mempool_status *)arg = mempool_free(pool, block);
  return NULL;
}

int main(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  pthread_t other;
  int round, fair = 0, rounds = getenv("TEST_SLOW_TOOL") != NULL ? 20 : 500;
  options.flags = MEMPOOL_STRICT;
  if (mempool_create(&pool, 64, 2, &options) != MEMPOOL_OK || pthread_barrier_init(&start, NULL, 2) != 0)
    return 1;
  for (round = 0; round < rounds; round++) {
    block = mempool_alloc(pool);
    if (pthread_create(&other, NULL, free_it, &results[1]) != 0)
      return 1;
    (void)free_it(&results[0]);
    (void)pthread_join(other, NULL);
    fair += (results[0] == MEMPOOL_OK && results[1] == MEMPOOL_E_DOUBLE_FREE) ||
            (results[1] == MEMPOOL_OK && results[0] == MEMPOOL_E_DOUBLE_FREE);
  }
  (void)pthread_barrier_destroy(&start);
  mempool_destroy(pool);
  return fair == rounds ? 0 : 1;
}
