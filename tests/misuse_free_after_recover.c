/* SPDX-License-Identifier: MIT */
/* A process dies, what it held is recovered, and then somebody frees a block that it had handed over. */
#include <mempool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int take_and_die(void *memory, size_t bytes, int to)
{
  mempool *pool;
  uint32_t number;
  if (mempool_attach(&pool, memory, bytes) != MEMPOOL_OK ||
      mempool_block_index(pool, mempool_alloc(pool), &number) != MEMPOOL_OK)
    return 1;
  return write(to, &number, sizeof(number)) == (ssize_t)sizeof(number) ? 0 : 1;
}

int main(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  size_t bytes, recovered = 0;
  uint32_t number = 0;
  void *memory;
  pid_t child;
  int status = 1, numbers[2];
  options.flags = MEMPOOL_SHARED;
  options.max_owners = 4;
  bytes = mempool_required_size(64, 4, &options);
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mempool_init(&pool, memory, bytes, 64, 4, &options) != MEMPOOL_OK || pipe(numbers) != 0)
    return 1;
  child = fork();
  if (child == 0)
    _exit(take_and_die(memory, bytes, numbers[1]));
  if (waitpid(child, &status, 0) != child || status != 0 ||
      read(numbers[0], &number, sizeof(number)) != (ssize_t)sizeof(number))
    return 1;
  if (mempool_recover_dead(pool, &recovered) != MEMPOOL_OK || recovered != 1)
    return 1;
  if (mempool_free(pool, mempool_block_at(pool, number)) != MEMPOOL_E_DOUBLE_FREE || mempool_check(pool) != MEMPOOL_OK)
    return 1;
  mempool_destroy(pool);
  (void)munmap(memory, bytes);
  return 0;
}
