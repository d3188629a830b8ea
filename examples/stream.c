/* SPDX-License-Identifier: MIT */
#include "stream.h"
#include "crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
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

/* ---- Checking ---- */

/* Called with the lock held: whether the block that is next to be written is checked. */
static bool can_write(const stream *s)
{
  return s->written < s->claimed && s->slots[s->written % s->capacity].checked;
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

/* ---- The reader ---- */

/* Checks a block if there is one to be checked, else counts a wait.  Returns which. */
static bool help_out(stream *s)
{
  bool wake = false;
  bool helped;

  pthread_mutex_lock(&s->lock);
  helped = s->claimed < s->filled;
  if (helped) {
    check_next(s);
    /* A worker that is awake looks for what can be written before it sleeps. */
    wake = s->workers_idle > 0 && s->workers_idle == s->workers_active && can_write(s);
  } else {
    s->waits++;
  }
  pthread_mutex_unlock(&s->lock);
  if (wake)
    pthread_cond_signal(&s->work);
  return helped;
}

/*
 * Takes a block for the reader.  While there is none the reader helps the
 * workers, which are behind, and waits when there is nothing left to help
 * with.  NULL if the pool was closed.
 */
static unsigned char *take_block(stream *s)
{
  void *block;

  while ((block = mempool_alloc(s->pool)) == NULL) {
    if (!help_out(s))
      return mempool_alloc_wait(s->pool, &block, -1) == MEMPOOL_OK ? block : NULL;
  }
  return block;
}

/*
 * Hands a filled block over.  A worker that is awake looks for work before it
 * sleeps, so a sleeping one is woken only when there is more to do than the
 * others will take next, and when a batch has come together: but at once if
 * the next read may take as long as it likes.
 */
static void hand_over(stream *s, unsigned char *block, size_t length)
{
  uint64_t unclaimed;
  bool wake;

  pthread_mutex_lock(&s->lock);
  s->slots[s->filled % s->capacity] = (stream_slot){ block, length, 0, false };
  s->filled++;
  unclaimed = s->filled - s->claimed;
  wake = s->workers_idle > 0 && unclaimed > s->workers_active - s->workers_idle &&
         (unclaimed >= s->batch || s->input_may_pause);
  pthread_mutex_unlock(&s->lock);
  if (wake)
    pthread_cond_signal(&s->work); /* without the lock, which the woken one wants at once */
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

/* Called with the lock held. */
static void count_written(stream *s, const stream_slot *slot)
{
  uint32_t shift = slot->length == s->block_size ? s->full_block_shift : crc32c_shift(slot->length);

  s->crc = crc32c_combine(s->crc, slot->crc, shift);
  s->written++;
}

/*
 * Called with the lock held, which is let go meanwhile, and by the worker that
 * is writing.  Blocks go back only after they are counted: the reader may reuse
 * their slots from then on.
 */
static void free_spent(stream *s)
{
  size_t count = s->spent_count;
  mempool_status status;

  s->spent_count = 0;
  pthread_mutex_unlock(&s->lock);
  status = mempool_free_bulk(s->pool, s->spent, count);
  pthread_mutex_lock(&s->lock);
  if (status != MEMPOOL_OK)
    s->pool_error = status;
}

/*
 * Called with the lock held, which is let go meanwhile.  Writes what can be
 * written.  A reader that waits for a block is woken by each one that comes
 * free, and would wait again for the next, so blocks go back some at a time,
 * but no later than when there is nothing more to write.
 */
static void write_run(stream *s)
{
  s->writing = true;
  while (!has_failed(s) && can_write(s)) {
    stream_slot slot = s->slots[s->written % s->capacity];
    size_t done;
    int error;

    pthread_mutex_unlock(&s->lock);
    error = write_block(&s->output, slot.block, slot.length, &done);
    pthread_mutex_lock(&s->lock);
    s->bytes += done;
    s->write_error = error;
    if (error != 0)
      break;
    count_written(s, &slot);
    s->spent[s->spent_count++] = slot.block;
    if (s->spent_count >= s->batch || !can_write(s))
      free_spent(s);
  }
  s->writing = false;
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
    if (!s->writing && can_write(s)) {
      write_run(s);
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
  struct stat status;
  int error = ENOMEM;

  *s = (stream){ .pool = settings->pool };
  s->input = (struct pollfd){ settings->input, POLLIN, 0 };
  s->output = (struct pollfd){ settings->output, POLLOUT, 0 };
  s->block_size = mempool_block_size(s->pool);
  s->capacity = mempool_capacity(s->pool);
  s->batch = s->capacity / 16 < 1 ? 1 : s->capacity / 16 < MOST_IN_BATCH ? s->capacity / 16 : MOST_IN_BATCH;
  s->input_may_pause = fstat(settings->input, &status) != 0 || !S_ISREG(status.st_mode);
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
