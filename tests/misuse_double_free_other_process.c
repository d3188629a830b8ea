/* SPDX-License-Identifier: MIT */
/* A block is freed by the process that took it, and then by another one. */
#include <mempool.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  void *block;
  pid_t child;
  int status = 1;
  options.flags = MEMPOOL_SHARED;
  if (mempool_create(&pool, 64, 4, &options) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  if (mempool_free(pool, block) != MEMPOOL_OK)
    return 1;
  child = fork();
  if (child == 0)
    _exit(mempool_free(pool, block) == MEMPOOL_E_DOUBLE_FREE ? 0 : 1);
  if (waitpid(child, &status, 0) != child || status != 0 || mempool_check(pool) != MEMPOOL_OK)
    return 1;
  mempool_destroy(pool);
  return 0;
}
