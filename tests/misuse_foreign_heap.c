/* SPDX-License-Identifier: MIT */
/* A block of the C library's is freed; it stays one of the C library's. */
#include <mempool.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
  mempool *pool;
  mempool_status status;
  char *heap = malloc(64);
  int left = 0;
  if (heap == NULL || mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  status = mempool_free(pool, heap);
  memset(heap, 1, 64);
  free(heap);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return status == MEMPOOL_E_FOREIGN_BLOCK && left == 4 ? 0 : 1;
}
