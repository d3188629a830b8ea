/* SPDX-License-Identifier: MIT */
/*
 * Runs one workload on one peer, for a tool that counts:
 *
 *     one list|single|default hot-pair|batch|random
 *
 * Prints how many pairs of alloc and free that were.
 */
#include "unsafe_list.h"

#include <mempool.h>
#include <stdio.h>
#include <string.h>

#define PEER unsafe_list
#define PEER_TYPE struct unsafe_list
#define PEER_ALLOC unsafe_list_alloc
#define PEER_FREE unsafe_list_free
#define PEER_USE USE_NOTHING
#include "workloads.h"

#define PEER pool
#define PEER_TYPE mempool
#define PEER_ALLOC mempool_alloc
#define PEER_FREE (void)mempool_free
#define PEER_USE USE_NOTHING
#include "workloads.h"

enum { BLOCK_SIZE = 1024 };

static const struct {
  const char *peer;
  const char *name;
  workload *run;
} workloads[] = {
  { "list", "hot-pair", unsafe_list_hot_pair }, { "list", "batch", unsafe_list_batch },
  { "list", "random", unsafe_list_random },     { "single", "hot-pair", pool_hot_pair },
  { "single", "batch", pool_batch },            { "single", "random", pool_random },
  { "default", "hot-pair", pool_hot_pair },     { "default", "batch", pool_batch },
  { "default", "random", pool_random },
};

static void *make_peer(const char *name, struct unsafe_list *list)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool *pool;
  if (strcmp(name, "list") == 0)
    return unsafe_list_create(list, BLOCK_SIZE, CAPACITY) == 0 ? list : NULL;
  options.flags = strcmp(name, "single") == 0 ? MEMPOOL_SINGLE_THREADED : 0;
  return mempool_create(&pool, BLOCK_SIZE, CAPACITY, &options) == MEMPOOL_OK ? pool : NULL;
}

int main(int argc, char **argv)
{
  static struct workspace space;
  struct unsafe_list list;
  size_t i;
  choose_victims(&space);
  for (i = 0; argc == 3 && i < sizeof workloads / sizeof workloads[0]; i++) {
    if (strcmp(argv[1], workloads[i].peer) == 0 && strcmp(argv[2], workloads[i].name) == 0) {
      void *peer = make_peer(argv[1], &list);
      if (peer == NULL)
        return 1;
      printf("%zu\n", workloads[i].run(peer, &space));
      return 0;
    }
  }
  (void)fprintf(stderr, "usage: one list|single|default hot-pair|batch|random\n");
  return 2;
}
