/* SPDX-License-Identifier: MIT */
/*
 * Makes a shared pool in a file, or attaches to the one there; for
 * tests/check_word_sizes.sh, which compiles it for two word sizes.
 *
 *   make FILE  makes a pool with one block out, which holds a greeting
 *   use FILE   says "works" if it is one to work with, "refused" if it is none
 */
#include <fcntl.h>
#include <mempool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 10, BLOCK_BYTES = 200, FILE_BYTES = 64 * 1024 };

static int make(void *memory)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  void *block;
  options.flags = MEMPOOL_SHARED;
  options.max_owners = 8;
  if (mempool_init(&pool, memory, FILE_BYTES, BLOCK_BYTES, BLOCKS, &options) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  if (block == NULL)
    return 1;
  memcpy(block, "greetings", 10);
  mempool_destroy(pool);
  return 0;
}

static int read_greeting(void *block, uint32_t index, void *arg)
{
  (void)index;
  *(void **)arg = memcmp(block, "greetings", 10) == 0 ? block : NULL;
  return 0;
}

static int use(void *memory)
{
  mempool *pool;
  void *greeting = NULL;
  int taken = 0;
  mempool_status status = mempool_attach(&pool, memory, FILE_BYTES);
  if (status == MEMPOOL_E_CORRUPTED) {
    (void)puts("refused");
    return 0;
  }
  if (status != MEMPOOL_OK || mempool_block_size(pool) != BLOCK_BYTES || mempool_capacity(pool) != BLOCKS ||
      mempool_foreach(pool, read_greeting, &greeting) != MEMPOOL_OK || greeting == NULL)
    return 1;
  while (mempool_alloc(pool) != NULL)
    taken++;
  if (taken != BLOCKS - 1 || mempool_free(pool, greeting) != MEMPOOL_OK || mempool_check(pool) != MEMPOOL_OK)
    return 1;
  (void)puts("works");
  return 0;
}

int main(int argc, char **argv)
{
  void *memory;
  int fd = argc == 3 ? open(argv[2], O_RDWR | O_CREAT, 0600) : -1;
  if (fd < 0 || ftruncate(fd, FILE_BYTES) != 0)
    return 2;
  memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return 2;
  return strcmp(argv[1], "make") == 0 ? make(memory) : use(memory);
}
