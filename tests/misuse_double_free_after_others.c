/* SPDX-License-Identifier: MIT */
/* A thousand blocks are freed, and then each of them is freed again. */
#include <mempool.h>

int main(void)
{
  static void *blocks[1000];
  mempool *pool;
  int left = 0, i;
  if (mempool_create(&pool, 64, 1000, NULL) != MEMPOOL_OK || mempool_alloc_bulk(pool, blocks, 1000) != MEMPOOL_OK)
    return 1;
  for (i = 0; i < 1000; i++) {
    if (mempool_free(pool, blocks[i]) != MEMPOOL_OK)
      return 1;
  }
  for (i = 0; i < 1000; i++) {
    if (mempool_free(pool, blocks[i]) != MEMPOOL_E_DOUBLE_FREE)
      return 1;
  }
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return left == 1000 ? 0 : 1;
}
