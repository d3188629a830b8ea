/* SPDX-License-Identifier: MIT */
/* A local variable is freed. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status status;
  char local[64] = { 0 };
  int left = 0;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  status = mempool_free(pool, local);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return status == MEMPOOL_E_FOREIGN_BLOCK && left == 4 ? 0 : 1;
}
