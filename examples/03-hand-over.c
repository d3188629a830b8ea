/* SPDX-License-Identifier: MIT */
/*
 * Two threads, and four blocks between them: one fills lines, the other counts
 * their words.  Who fills can't run ahead further than the pool has blocks.
 */
#include <mempool.h>
#include <pthread.h>
#include <string.h>
enum { LINES = 1000, BLOCKS = 4, LINE_BYTES = 80 };
static mempool *pool;
static char *ring[BLOCKS]; /* can't overflow: there are no more blocks than places */
static unsigned filled, counted;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;

static void *fill_lines(void *unused)
{
  for (unsigned i = 0; i < LINES; i++) {
    void *line;
    if (mempool_alloc_wait(pool, &line, -1) != MEMPOOL_OK) /* waits while all four are out */
      break;
    snprintf(line, LINE_BYTES, "line number %u", i);
    pthread_mutex_lock(&lock);
    ring[filled++ % BLOCKS] = line;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
  }
  return unused;
}

static unsigned count_words(char *line)
{
  unsigned words = 0;
  for (char *rest, *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
    words++;
  return words;
}

int main(void)
{
  pthread_t filler;
  unsigned words = 0;
  if (mempool_create(&pool, LINE_BYTES, BLOCKS, NULL) != MEMPOOL_OK ||
      pthread_create(&filler, NULL, fill_lines, NULL) != 0)
    return 1;
  while (counted < LINES) {
    pthread_mutex_lock(&lock);
    while (counted == filled)
      pthread_cond_wait(&more, &lock);
    char *line = ring[counted++ % BLOCKS];
    pthread_mutex_unlock(&lock);
    words += count_words(line);
    if (mempool_free(pool, line) != MEMPOOL_OK) /* from another thread than took it: any may */
      return 1;
  }
  pthread_join(filler, NULL);
  printf("%u words in %u lines through %d blocks\n", words, counted, BLOCKS);
  mempool_destroy(pool);
  return words == 3 * LINES ? 0 : 1;
}
