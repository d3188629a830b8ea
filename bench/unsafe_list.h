/* SPDX-License-Identifier: MIT */
/*
 * The floor: a free list threaded through the blocks themselves, with no
 * check of anything, behind two plain functions.  What a program writes when
 * it writes a pool of its own in ten lines.
 */
#ifndef BENCH_UNSAFE_LIST_H
#define BENCH_UNSAFE_LIST_H

#include <stddef.h>

struct unsafe_list {
  void *head;
  void *memory;
};

int unsafe_list_create(struct unsafe_list *list, size_t block_size, size_t capacity);
void unsafe_list_destroy(struct unsafe_list *list);
void *unsafe_list_alloc(struct unsafe_list *list);
void unsafe_list_free(struct unsafe_list *list, void *block);

#endif /* BENCH_UNSAFE_LIST_H */
