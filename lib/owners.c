/* SPDX-License-Identifier: MIT */
/* Those who share a pool: attaching, leaving, and recovering what somebody held who is gone. */
#include "pool.h"

mempool_status mempool_attach(mempool **pool, void *memory, size_t size)
{
  if (pool == NULL)
    return MEMPOOL_E_INVALID_ARGUMENT;
  *pool = NULL;
  if (memory == NULL || size > UINTPTR_MAX - (uintptr_t)memory)
    return MEMPOOL_E_INVALID_ARGUMENT;
  return MEMPOOL_E_UNSUPPORTED;
}

uint32_t mempool_owner(const mempool *pool)
{
  (void)pool;
  return 0;
}

mempool_status mempool_recover(mempool *pool, uint32_t owner, size_t *recovered)
{
  (void)pool;
  (void)owner;
  if (recovered != NULL)
    *recovered = 0;
  return MEMPOOL_E_INVALID_ARGUMENT;
}

mempool_status mempool_recover_dead(mempool *pool, size_t *recovered)
{
  (void)pool;
  if (recovered != NULL)
    *recovered = 0;
  return MEMPOOL_E_INVALID_ARGUMENT;
}
