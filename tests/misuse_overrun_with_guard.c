/* SPDX-License-Identifier: MIT */
/* A block is overrun by one byte, and then freed: that is told, and the block is free. */
#include <mempool.h>

int main(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  mempool_status seen, status, mended;
  unsigned char *block;
  int left = 0;
  options.flags = MEMPOOL_GUARD;
  if (mempool_create(&pool, 64, 4, &options) != MEMPOOL_OK || (block = mempool_alloc(pool)) == NULL)
    return 1;
  block[64] ^= 1;
  seen = mempool_check(pool);
  status = mempool_free(pool, block);
  mended = mempool_check(pool);
  while (mempool_alloc(pool) != NULL)
    left++;
  mempool_destroy(pool);
  return seen == MEMPOOL_E_CORRUPTED && status == MEMPOOL_E_CORRUPTED && mended == MEMPOOL_OK && left == 4 ? 0 : 1;
}
