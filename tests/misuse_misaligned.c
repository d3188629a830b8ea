/* SPDX-License-Identifier: MIT */
/* Addresses that are off by one are freed, of a live block and of a free one. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status live, free_one, before;
  int left = 0;
  char *block, *freed;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  freed = mempool_alloc(pool);
  (void)mempool_free(pool, freed);
  live = mempool_free(pool, block + 1);
  free_one = mempool_free(pool, freed + 1);
  before = mempool_free(pool, freed - 1);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  if (live != MEMPOOL_E_FOREIGN_BLOCK || free_one != MEMPOOL_E_FOREIGN_BLOCK || before != MEMPOOL_E_FOREIGN_BLOCK)
    return 1;
  return left == 3 ? 0 : 1;
}
