/* SPDX-License-Identifier: MIT */
#include "unsafe_list.h"

#include <stdlib.h>

enum { CACHE_LINE = 64 };

int unsafe_list_create(struct unsafe_list *list, size_t block_size, size_t capacity)
{
  size_t stride = (block_size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
  char *memory;
  list->head = NULL;
  list->memory = NULL;
  if (posix_memalign(&list->memory, CACHE_LINE, stride * capacity) != 0)
    return -1;
  memory = list->memory;
  while (capacity-- > 0)
    unsafe_list_free(list, memory + capacity * stride);
  return 0;
}

void unsafe_list_destroy(struct unsafe_list *list)
{
  free(list->memory);
}

void *unsafe_list_alloc(struct unsafe_list *list)
{
  void *block = list->head;
  if (block != NULL)
    list->head = *(void **)block;
  return block;
}

void unsafe_list_free(struct unsafe_list *list, void *block)
{
  *(void **)block = list->head;
  list->head = block;
}
