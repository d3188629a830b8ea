/* SPDX-License-Identifier: MIT */
#include "stream.h"
#include "crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- Input and output ---- */

/* Whether a failed read or write may be tried again; waits until it may if the descriptor does not block. */
static bool may_retry(struct pollfd *end)
{
  if (errno == EINTR)
    return true;
  if (errno != EAGAIN && errno != EWOULDBLOCK)
    return false;
  /* Whatever poll() reports, an error too, the next read or write tells it better. */
  return poll(end, 1, -1) >= 0 || errno == EINTR;
}

/* Reads until the block is full or the input ends.  Returns the bytes read; *error is set to an errno if it fails. */
static size_t read_block(struct pollfd *input, unsigned char *block, size_t size, int *error)
{
  size_t length = 0;

  while (length < size) {
    ssize_t got = read(input->fd, block + length, size - length);
    if (got > 0) {
      length += (size_t)got;
    } else if (got == 0) {
      break;
    } else if (!may_retry(input)) {
      *error = errno;
      break;
    }
  }
  return length;
}

/* Writes all of it.  Returns 0 or an errno; *done is what was written in either case. */
static int write_block(struct pollfd *output, const unsigned char *block, size_t length, size_t *done)
{
  *done = 0;
  while (*done < length) {
    ssize_t put = write(output->fd, block + *done, length - *done);
    if (put > 0)
      *done += (size_t)put;
    else if (put == 0)
      return EIO; /* not to try for ever what gets nowhere */
    else if (!may_retry(output))
      return errno;
  }
  return 0;
}

/* ---- The reader ---- */

/* Takes a block for the reader, and waits for one if it must.  NULL if the pool was closed. */
static unsigned char *take_block(stream *s)
{
  void *block = mempool_alloc(s->pool);

  if (block == NULL) {
    pthread_mutex_lock(&s->lock);
    s->waits++;
    pthread_mutex_unlock(&s->lock);
    if (mempool_alloc_wait(s->pool, &block, -1) != MEMPOOL_OK)
      return NULL;
  }
  return block;
}

/*
 * Hands a filled block over.  A worker that is awake looks for work before it
 * sleeps, so a sleeping one is woken only when there is more to do than the
 * others will take next: that saves most of the switches between threads.
 */
static void hand_over(stream *s, unsigned char *block, size_t length)
{
  bool wake;

  pthread_mutex_lock(&s->lock);
  s->slots[s->filled % s->capacity] = (stream_slot){ block, length, 0, false };
  s->filled++;
  wake = s->workers_idle > 0 && s->filled - s->claimed > s->workers_active - s->workers_idle;
  if (wake)
    pthread_cond_signal(&s->work);
  pthread_mutex_unlock(&s->lock);
}

static void end_input(stream *s)
{
  pthread_mutex_lock(&s->lock);
  s->input_ended = true;
  pthread_cond_broadcast(&s->work);
  pthread_mutex_unlock(&s->lock);
}

/*
 * The reader can be stopped while it waits for input, and only there, where
 * it holds no lock: see stream_join().
 */
static size_t read_block_cancellable(stream *s, unsigned char *block)
{
  size_t length;

  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  length = read_block(&s->input, block, s->block_size, &s->read_error);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  return length;
}

static void *run_reader(void *argument)
{
  stream *s = argument;
  size_t length;

  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  do {
    unsigned char *block = take_block(s);
    if (block == NULL)
      break;
    length = read_block_cancellable(s, block);
    if (length > 0)
      hand_over(s, block, length);
    else
      mempool_free(s->pool, block);
  } while (length == s->block_size);
  end_input(s);
  return NULL;
}

/* ---- The workers ---- */

/* Called with the lock held. */
static bool has_failed(const stream *s)
{
  return s->write_error != 0 || s->pool_error != MEMPOOL_OK;
}

/* Called with the lock held: whether a block is next to be written, and nobody does it. */
static bool can_write(const stream *s)
{
  return !s->writing && s->written < s->claimed && s->slots[s->written % s->capacity].checked;
}

/* Called with the lock held, which is let go meanwhile. */
static void check_next(stream *s)
{
  stream_slot *slot = &s->slots[s->claimed++ % s->capacity];
  uint32_t crc;

  pthread_mutex_unlock(&s->lock);
  crc = crc32c(slot->block, slot->length);
  pthread_mutex_lock(&s->lock);
  slot->crc = crc;
  slot->checked = true;
}

/* Called with the lock held. */
static void count_written(stream *s, const stream_slot *slot)
{
  uint32_t shift = slot->length == s->block_size ? s->full_block_shift : crc32c_shift(slot->length);

  s->crc = crc32c_combine(s->crc, slot->crc, shift);
  s->written++;
}

/*
 * Called with the lock held, which is let go meanwhile.  The block goes back
 * only after it is counted: the reader may reuse its slot from then on.
 */
static void write_next(stream *s)
{
  stream_slot slot = s->slots[s->written % s->capacity];
  size_t done;
  int error;

  s->writing = true;
  pthread_mutex_unlock(&s->lock);
  error = write_block(&s->output, slot.block, slot.length, &done);
  pthread_mutex_lock(&s->lock);
  s->writing = false;
  s->bytes += done;
  s->write_error = error;
  if (error == 0) {
    count_written(s, &slot);
    s->pool_error = mempool_free(s->pool, slot.block);
  }
}

/* Called with the lock held, as a worker leaves. */
static void leave(stream *s)
{
  if (has_failed(s)) {
    /* The reader may be waiting for a block that nobody will free. */
    mempool_close(s->pool);
    pthread_cond_broadcast(&s->work);
  }
  s->workers_active--;
  if (s->workers_active == 0)
    pthread_cond_signal(&s->over);
}

/*
 * Any worker writes: the one that finds the next block checked writes it, and
 * those behind it.  With a thread of its own for writing each block would
 * cost one more switch between threads.
 */
static void *run_worker(void *argument)
{
  stream *s = argument;

  pthread_mutex_lock(&s->lock);
  while (!has_failed(s)) {
    if (can_write(s)) {
      write_next(s);
    } else if (s->claimed < s->filled) {
      check_next(s);
    } else if (s->input_ended) {
      break; /* whoever has a block in hand writes it, and what is left */
    } else {
      s->workers_idle++;
      pthread_cond_wait(&s->work, &s->lock);
      s->workers_idle--;
    }
  }
  leave(s);
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* ---- The stream as a whole ---- */

/* Makes a condition whose time-outs are not moved by setting the clock. */
static void init_condition(pthread_cond_t *condition)
{
  pthread_condattr_t attributes;

  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

static int start_threads(stream *s)
{
  unsigned started = 0;
  int error = 0;

  while (error == 0 && started < s->worker_count) {
    error = pthread_create(&s->workers[started], NULL, run_worker, s);
    if (error == 0)
      started++;
  }
  if (error == 0)
    error = pthread_create(&s->reader, NULL, run_reader, s);
  if (error != 0) {
    end_input(s);
    while (started > 0)
      pthread_join(s->workers[--started], NULL);
  }
  return error;
}

int stream_start(stream *s, const stream_settings *settings)
{
  int error = ENOMEM;

  *s = (stream){ .pool = settings->pool };
  s->input = (struct pollfd){ settings->input, POLLIN, 0 };
  s->output = (struct pollfd){ settings->output, POLLOUT, 0 };
  s->block_size = mempool_block_size(s->pool);
  s->capacity = mempool_capacity(s->pool);
  s->full_block_shift = crc32c_shift(s->block_size);
  s->worker_count = s->workers_active = settings->workers;
  s->slots = calloc(s->capacity, sizeof *s->slots);
  s->workers = calloc(s->worker_count, sizeof *s->workers);
  pthread_mutex_init(&s->lock, NULL);
  init_condition(&s->work);
  init_condition(&s->over);
  if (s->slots != NULL && s->workers != NULL)
    error = start_threads(s);
  if (error != 0)
    stream_destroy(s);
  return error;
}

bool stream_wait(stream *s, int64_t timeout_ns)
{
  struct timespec until;
  int status = 0;
  bool over;

  clock_gettime(CLOCK_MONOTONIC, &until);
  if (timeout_ns >= 0) {
    int64_t ns = until.tv_nsec + timeout_ns % 1000000000;
    until.tv_sec += (time_t)(timeout_ns / 1000000000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
  }
  pthread_mutex_lock(&s->lock);
  while (s->workers_active > 0 && status == 0)
    status = timeout_ns < 0 ? pthread_cond_wait(&s->over, &s->lock)
                            : pthread_cond_timedwait(&s->over, &s->lock, &until);
  over = s->workers_active == 0;
  pthread_mutex_unlock(&s->lock);
  return over;
}

void stream_join(stream *s)
{
  /* The reader may be waiting for input that nobody wants any more.  No worker is left to look at its block. */
  if (has_failed(s))
    pthread_cancel(s->reader);
  pthread_join(s->reader, NULL);
  for (unsigned i = 0; i < s->worker_count; i++)
    pthread_join(s->workers[i], NULL);
}

uint64_t stream_bytes(stream *s)
{
  uint64_t bytes;

  pthread_mutex_lock(&s->lock);
  bytes = s->bytes;
  pthread_mutex_unlock(&s->lock);
  return bytes;
}

void stream_destroy(stream *s)
{
  pthread_cond_destroy(&s->over);
  pthread_cond_destroy(&s->work);
  pthread_mutex_destroy(&s->lock);
  free(s->workers);
  free(s->slots);
}
