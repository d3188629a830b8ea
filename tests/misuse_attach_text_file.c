/* SPDX-License-Identifier: MIT */
/* A text file is mapped, and taken for a pool. */
#include <mempool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
  enum { LINES = 3000 };
  static const char line[] = "It was the best of times, it was the worst of times.\n";
  size_t bytes = LINES * (sizeof(line) - 1);
  FILE *file = tmpfile();
  mempool *pool;
  void *memory;
  char first[sizeof(line)];
  int i;
  if (file == NULL)
    return 1;
  for (i = 0; i < LINES; i++)
    (void)fputs(line, file);
  if (fflush(file) != 0)
    return 1;
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
  pool = memory;
  if (memory == MAP_FAILED || mempool_attach(&pool, memory, bytes) != MEMPOOL_E_CORRUPTED || pool != NULL)
    return 1;
  rewind(file);
  if (fgets(first, sizeof(first), file) == NULL || strcmp(first, line) != 0)
    return 1;
  (void)munmap(memory, bytes);
  (void)fclose(file);
  return 0;
}
