/* SPDX-License-Identifier: MIT */
/*
 * A pool in static storage, for a program that must not use the heap: sensor
 * readings wait in a list until they are sent.
 */
#include <mempool.h>

typedef struct reading {
  struct reading *next;
  unsigned sensor;
  int millidegrees;
} reading;

enum { READINGS = 32 };

/*
 * mempool_required_size() tells the bytes at run time only.  Their number is
 * the blocks' own and some for the pool's tables; mempool_init() refuses an
 * array that is too small, so a wrong guess is found at the first start.
 */
static unsigned char memory[READINGS * sizeof(reading) + 4096];

static reading *take_reading(mempool *pool, unsigned sensor)
{
  reading *taken = mempool_alloc(pool);
  if (taken != NULL)
    *taken = (reading){ NULL, sensor, 21000 + 10 * (int)sensor };
  return taken;
}

int main(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = MEMPOOL_SINGLE_THREADED;
  options.name = "readings";

  mempool *pool;
  mempool_status status = mempool_init(&pool, memory, sizeof memory, sizeof(reading), READINGS, &options);
  if (status != MEMPOOL_OK) {
    fprintf(stderr, "no pool: %s (%zu bytes are needed)\n", mempool_strerror(status),
            mempool_required_size(sizeof(reading), READINGS, &options));
    return 1;
  }

  reading *waiting = NULL;
  unsigned taken = 0;
  for (reading *r; (r = take_reading(pool, taken)) != NULL; taken++) {
    r->next = waiting;
    waiting = r;
  }

  long sum = 0;
  while (waiting != NULL) {
    reading *sent = waiting;
    waiting = sent->next;
    sum += sent->millidegrees;
    if (mempool_free(pool, sent) != MEMPOOL_OK)
      return 1;
  }
  printf("%u readings fit into %zu bytes, %ld millidegrees on average\n", taken, sizeof memory, sum / (long)taken);
  mempool_destroy(pool);
  return taken == READINGS ? 0 : 1;
}
