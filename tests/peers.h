/* SPDX-License-Identifier: MIT */
/*
 * What the tests of shared pools share: memory that several processes see,
 * children that tell by their exit status whether they were right, and ways
 * to meet in the middle without sleeping.
 */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include "helpers.h"

#include <stdatomic.h>
#include <sys/types.h>

/* Zeroed memory that forked children see too, and its end; ends the test where there is none. */
void *map_shared(size_t bytes);
void unmap_shared(void *memory, size_t bytes);

/* A file without a name, and a view of it; each view is at an address of its own. */
int open_memory(size_t bytes);
void *map_file(int fd, size_t bytes);

/* How many may attach to the pools below: few, so that their memory is small. */
#define PEERS_MOST_OWNERS 48

/* Options of a shared pool; further flags are or-ed in. */
mempool_options shared_options(uint32_t flags);

/* Makes a shared pool in memory that is there already, or ends the test. */
mempool *make_shared(void *memory, size_t bytes, size_t block_size, size_t capacity, uint32_t flags);

/* A shared pool in memory of just the size it needs, that forked children see too. */
typedef struct ground {
  mempool *pool;
  void *memory;
  size_t bytes;
} ground;

mempool *lay_out(ground *g, size_t block_size, size_t capacity, uint32_t flags);
void clear_away(ground *g);

/* One more attachment, or the end of the test. */
mempool *attach(void *memory, size_t bytes);

/* Whether this is built with a sanitizer whose own work slows it down many times. */
bool sanitized(void);

/* Ends the program, and with it its children, if it hangs; unless TEST_ROUNDS or TEST_DEATHS asks for more than usual. */
void give_up_in_time(void);

/* Within a child: what does not hold is reported, and ends it. */
#define REQUIRE(condition)                                                   \
  do {                                                                       \
    if (!(condition)) {                                                      \
      printf("# in a child: %s:%d: %s\n", __FILE__, __LINE__, #condition);   \
      return 1;                                                              \
    }                                                                        \
  } while (0)

/* Runs body in a child, which ends with what body returns.  It ends by itself if its parent does, or if it hangs. */
pid_t start_child(int (*body)(void *arg), void *arg);

/* Waits for it.  True if it returned 0. */
bool child_was_right(pid_t child);
bool run_child(int (*body)(void *arg), void *arg);

/* Kills it, and waits until it is gone. */
void kill_child(pid_t child);

/* Returns when the word, in memory of both, has at least that value.  False if it hasn't for a minute. */
bool reached(atomic_uint *word, unsigned value);

/* A barrier in shared memory, where parties meet as often as they like.  Starts as zeros. */
typedef struct barrier {
  atomic_uint arrived, passed;
} barrier;
bool meet(barrier *b, unsigned parties);

/* Returns when so many are in mempool_alloc_wait(), and false if that takes more than a minute. */
bool until_waiting(const mempool *pool, size_t count);

/* Whether a process sleeps in the kernel.  Linux only. */
bool sleeps(pid_t pid);

/* Takes every block but those that are out, and gives them back.  False if one is missing or there twice. */
bool rest_is_whole(mempool *pool);

/* The count that the environment's TEST_ROUNDS asks for, else count, or fewer under a slow tool. */
size_t rounds(size_t count, size_t slow_divisor);

#endif /* TESTS_PEERS_H */
