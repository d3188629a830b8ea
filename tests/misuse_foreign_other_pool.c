/* SPDX-License-Identifier: MIT */
/* A block is freed into another pool of the same shape. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool *other;
  mempool_status wrong, right;
  int left = 0;
  void *block;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  if (mempool_create(&other, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(other);
  wrong = mempool_free(pool, block);
  right = mempool_free(other, block);
  mempool_destroy(other);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return wrong == MEMPOOL_E_FOREIGN_BLOCK && right == MEMPOOL_OK && left == 4 ? 0 : 1;
}
