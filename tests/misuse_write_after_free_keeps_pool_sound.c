/* SPDX-License-Identifier: MIT */
/* Every byte of blocks that are free is overwritten at random: the pool stays exact, and loses and doubles none. */
#include <mempool.h>
#include <stdlib.h>

#define CAPACITY 16
#define BLOCK_SIZE 64

static void scribble(unsigned char *block, unsigned *noise)
{
  int i;
  for (i = 0; i < BLOCK_SIZE; i++) {
    *noise = *noise * 1664525u + 1013904223u;
    block[i] = (unsigned char)(*noise >> 24);
  }
}

int main(void)
{
  mempool *pool;
  void *blocks[CAPACITY];
  int round, i, sound = 1, rounds = getenv("TEST_SLOW_TOOL") != NULL ? 100 : 5000;
  unsigned noise = 1;
  if (mempool_create(&pool, BLOCK_SIZE, CAPACITY, NULL) != MEMPOOL_OK)
    return 1;
  for (round = 0; round < rounds && sound; round++) {
    for (i = 0; i < CAPACITY && sound; i++)
      sound = (blocks[i] = mempool_alloc(pool)) != NULL;
    sound = sound && mempool_alloc(pool) == NULL;
    for (i = 0; i < CAPACITY && sound; i++) {
      sound = mempool_free(pool, blocks[i]) == MEMPOOL_OK;
      scribble(blocks[(unsigned)i * noise % (unsigned)(i + 1)], &noise);
      scribble(blocks[i], &noise);
    }
    sound = sound && mempool_free(pool, blocks[round % CAPACITY]) == MEMPOOL_E_DOUBLE_FREE;
    sound = sound && mempool_check(pool) == MEMPOOL_OK;
  }
  mempool_destroy(pool);
  return sound ? 0 : 1;
}
