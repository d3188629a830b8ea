/* SPDX-License-Identifier: MIT */
/* The block that would come behind the last one is freed, and the one before the first. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status behind, before;
  uintptr_t first, stride;
  int taken = 0;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  while (mempool_alloc(pool) != NULL)
    taken++;
  first = (uintptr_t)mempool_block_at(pool, 0);
  stride = (uintptr_t)mempool_block_at(pool, 1) - first;
  behind = mempool_free(pool, (void *)(first + 4 * stride));
  before = mempool_free(pool, (void *)(first - stride));
  while (mempool_alloc(pool) != NULL)
    taken++;
  mempool_destroy(pool);
  return behind == MEMPOOL_E_FOREIGN_BLOCK && before == MEMPOOL_E_FOREIGN_BLOCK && taken == 4 ? 0 : 1;
}
