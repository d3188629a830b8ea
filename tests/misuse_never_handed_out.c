/* SPDX-License-Identifier: MIT */
/* A block that nobody was ever given is freed. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status status;
  int left = 0;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  (void)mempool_alloc(pool);
  status = mempool_free(pool, mempool_block_at(pool, 3));
  if (status == MEMPOOL_E_DOUBLE_FREE)
    status = mempool_free(pool, mempool_block_at(pool, 1));
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return status == MEMPOOL_E_DOUBLE_FREE && left == 3 ? 0 : 1;
}
