/* SPDX-License-Identifier: MIT */
/* A block is freed twice at once. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status first, second;
  int left = 0;
  void *block;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  first = mempool_free(pool, block);
  second = mempool_free(pool, block);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return first == MEMPOOL_OK && second == MEMPOOL_E_DOUBLE_FREE && left == 4 ? 0 : 1;
}
