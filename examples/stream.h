/* SPDX-License-Identifier: MIT */
/*
 * A stream from one file descriptor to another through the blocks of a pool:
 * one thread reads, others check what was read and write it on, in order.
 */
#ifndef EXAMPLES_STREAM_H
#define EXAMPLES_STREAM_H

#include <mempool.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Blocks are handed on in batches, where nobody needs one sooner: waking a thread costs as much as copying some KiB. */
enum { MOST_IN_BATCH = 8 };

/* A block on its way from the reader to the output. */
typedef struct stream_slot {
  unsigned char *block;
  size_t length;
  uint32_t crc;
  bool checked;
} stream_slot;

/*
 * Blocks are numbered in the order in which they are read; block number n is
 * described by slots[n % capacity].  What counts them keeps
 *
 *     written <= claimed <= filled <= written + capacity
 *
 * because the reader needs a block of the pool, which has capacity of them,
 * for each one that it fills, and a block goes back only when it is written.
 * So the slots can't overflow, and a lack of blocks is what holds the reader
 * back: nothing else does.
 */
typedef struct stream {
  struct pollfd input; /* as poll() wants them, for descriptors that do not block */
  struct pollfd output;
  mempool *pool;
  size_t block_size;
  size_t capacity;
  stream_slot *slots;
  uint32_t full_block_shift; /* crc32c_shift(block_size): nearly all blocks are full */
  pthread_t reader;
  pthread_t *workers;
  unsigned worker_count;
  size_t batch;         /* how many blocks are handed on at once: at most a sixteenth of them */
  bool input_may_pause; /* it is no file: what comes next may take as long as it likes */
  int read_error; /* errno, or 0; the reader's own until it is joined */

  pthread_mutex_t lock; /* guards all that follows */
  pthread_cond_t work;  /* for idle workers: there is work, or none will follow */
  pthread_cond_t over;  /* for stream_wait(): the last worker has left */
  uint64_t filled;
  uint64_t claimed;
  uint64_t written;
  bool writing;            /* a worker is writing blocks, from number written on */
  bool input_ended;        /* filled is final */
  unsigned workers_active; /* have not left yet */
  unsigned workers_idle;   /* of these, wait for work */

  void *spent[MOST_IN_BATCH]; /* who is writing keeps here what is written and not freed yet */
  size_t spent_count;

  uint64_t bytes; /* written */
  uint32_t crc;   /* of these bytes */
  uint64_t waits; /* how often the reader found every block out and none to check */
  int write_error; /* errno, or 0 */
  mempool_status pool_error;
} stream;

/* What to copy, and how.  The pool must be nobody else's. */
typedef struct stream_settings {
  int input;
  int output;
  mempool *pool;
  unsigned workers;
} stream_settings;

/* Starts the threads.  Returns 0; or an errno, and nothing is held. */
int stream_start(stream *s, const stream_settings *settings);

/* Waits until all is written or has failed, or for timeout_ns if that isn't negative.  Returns whether it is over. */
bool stream_wait(stream *s, int64_t timeout_ns);

/* Joins the threads, after stream_wait() returned true; stops the reader if writing failed. */
void stream_join(stream *s);

/* The bytes written up to now. */
uint64_t stream_bytes(stream *s);

/* Frees everything but the pool, after stream_join(). */
void stream_destroy(stream *s);

#endif /* EXAMPLES_STREAM_H */
