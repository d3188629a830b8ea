/* SPDX-License-Identifier: MIT */
/* Every function is called without a pool. */
#include <mempool.h>

static int ignore(void *block, uint32_t index, void *arg)
{
  (void)block;
  (void)index;
  (void)arg;
  return 0;
}

int main(void)
{
  const mempool_status bad = MEMPOOL_E_INVALID_ARGUMENT;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  char memory[4096], *block = memory;
  void *blocks[1] = { block };
  uint32_t index = 0;
  int right = mempool_create(NULL, 64, 4, NULL) == bad && mempool_init(NULL, memory, 4096, 64, 4, NULL) == bad;
  right = right && mempool_alloc(NULL) == NULL && mempool_alloc_wait(NULL, blocks, -1) == bad;
  right = right && mempool_alloc_bulk(NULL, blocks, 1) == bad && mempool_alloc_burst(NULL, blocks, 1) == 0;
  right = right && mempool_free(NULL, block) == bad && mempool_free_bulk(NULL, blocks, 1) == bad;
  right = right && mempool_block_size(NULL) == 0 && mempool_capacity(NULL) == 0;
  right = right && mempool_get_stats(NULL, &stats) == bad && !mempool_contains(NULL, block);
  right = right && mempool_block_index(NULL, block, &index) == bad && mempool_block_at(NULL, 0) == NULL;
  right = right && mempool_foreach(NULL, ignore, NULL) == bad && mempool_check(NULL) == bad;
  mempool_dump(NULL, NULL);
  mempool_close(NULL);
  mempool_destroy(NULL);
  return right ? 0 : 1;
}
