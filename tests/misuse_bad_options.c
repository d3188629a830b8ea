/* SPDX-License-Identifier: MIT */
/* Options that are not to be had are refused, one after the other, and the next pool is made all the same. */
#include <mempool.h>

static int refused(size_t size, uint32_t flags, size_t alignment, mempool_status expected)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool = NULL;
  options.size = size;
  options.flags = flags;
  options.alignment = alignment;
  return mempool_create(&pool, 64, 4, &options) == expected && pool == NULL &&
         mempool_required_size(64, 4, &options) == 0;
}

int main(void)
{
  const size_t size = sizeof(mempool_options);
  mempool *pool;
  if (!refused(0, 0, 0, MEMPOOL_E_INVALID_ARGUMENT) || !refused(size, 0x1000, 0, MEMPOOL_E_INVALID_ARGUMENT) ||
      !refused(size, 0x80000000u, 0, MEMPOOL_E_INVALID_ARGUMENT) || !refused(size, 0, 3, MEMPOOL_E_INVALID_ARGUMENT) ||
      !refused(size, 0, (size_t)1 << 22, MEMPOOL_E_INVALID_ARGUMENT))
    return 1;
  if (mempool_create(&pool, 64, 4, NULL) != MEMPOOL_OK)
    return 1;
  mempool_destroy(pool);
  return 0;
}
