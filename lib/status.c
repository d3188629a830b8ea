/* SPDX-License-Identifier: MIT */
/* Words. */
#include <mempool.h>

#define STRING(value) #value
#define EXPANDED_STRING(value) STRING(value)

const char *mempool_strerror(mempool_status status)
{
  switch (status) {
  case MEMPOOL_OK:
    return "Success";
  case MEMPOOL_E_INVALID_ARGUMENT:
    return "Invalid argument: see the function's manual page for what it allows";
  case MEMPOOL_E_INVALID_BLOCK_SIZE:
    return "Invalid block size: it must be at least 1, and all blocks together must fit the address space";
  case MEMPOOL_E_NO_MEMORY:
    return "Not enough memory: ask for fewer or smaller blocks, or provide more";
  case MEMPOOL_E_EXHAUSTED:
    return "Pool exhausted: every block is out; free one, wait for one, or make the pool larger";
  case MEMPOOL_E_FOREIGN_BLOCK:
    return "Foreign block: not the start of a block of this pool; free exactly what the pool handed out";
  case MEMPOOL_E_DOUBLE_FREE:
    return "Block already freed: free each block once";
  case MEMPOOL_E_TIMED_OUT:
    return "Timed out: no block came free in time";
  case MEMPOOL_E_CLOSED:
    return "Pool closed: it hands out no more blocks";
  case MEMPOOL_E_CORRUPTED:
    return "Corrupted: something wrote where it must not, most likely past the end of a block";
  case MEMPOOL_E_UNSUPPORTED:
    return "Not supported: this build or platform can't do what the options ask";
  }
  return "Unknown status";
}

const char *mempool_version(void)
{
  return EXPANDED_STRING(MEMPOOL_VERSION_MAJOR) "." EXPANDED_STRING(MEMPOOL_VERSION_MINOR) "." EXPANDED_STRING(
    MEMPOOL_VERSION_PATCH);
}
