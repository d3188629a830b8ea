/* SPDX-License-Identifier: MIT */
/* A closed pool is asked for blocks in every way. */
#include <mempool.h>

int main(void)
{
  mempool *pool;
  mempool_status bulk, waited;
  void *block, *blocks[2];
  size_t burst;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  mempool_close(pool);
  block = mempool_alloc(pool);
  bulk = mempool_alloc_bulk(pool, blocks, 2);
  burst = mempool_alloc_burst(pool, blocks, 2);
  waited = mempool_alloc_wait(pool, &blocks[0], -1);
  mempool_destroy(pool);
  if (bulk != MEMPOOL_E_CLOSED || waited != MEMPOOL_E_CLOSED)
    return 1;
  return block == NULL && burst == 0 && blocks[0] == NULL ? 0 : 1;
}
