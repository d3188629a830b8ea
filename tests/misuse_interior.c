/* SPDX-License-Identifier: MIT */
/* Every even address inside of a block is freed. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status status = MEMPOOL_E_FOREIGN_BLOCK;
  int left = 0, inside;
  char *block;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  for (inside = 2; inside < 64 && status == MEMPOOL_E_FOREIGN_BLOCK; inside += 2)
    status = mempool_free(pool, block + inside);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return status == MEMPOOL_E_FOREIGN_BLOCK && inside == 64 && left == 3 ? 0 : 1;
}
