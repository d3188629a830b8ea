/* SPDX-License-Identifier: MIT */
/* Freeing what is out after the pool was closed is legal; freeing it twice is not. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status first, second, check;
  void *block;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  mempool_close(pool);
  first = mempool_free(pool, block);
  second = mempool_free(pool, block);
  check = mempool_check(pool);
  mempool_destroy(pool);
  return first == MEMPOOL_OK && second == MEMPOOL_E_DOUBLE_FREE && check == MEMPOOL_OK ? 0 : 1;
}
