/* SPDX-License-Identifier: MIT */
/*
 * The first pool: blocks for packets, taken and given back, and what happens
 * when one is given back twice or when there is none left.
 */
#include <mempool.h>
#include <string.h>

enum { PACKET_BYTES = 1500, PACKETS = 3 };

int main(void)
{
  mempool *pool;
  mempool_status status = mempool_create(&pool, PACKET_BYTES, PACKETS, NULL);
  if (status != MEMPOOL_OK) {
    fprintf(stderr, "no pool: %s\n", mempool_strerror(status));
    return 1;
  }

  char *packets[PACKETS];
  for (int i = 0; i < PACKETS; i++) {
    packets[i] = mempool_alloc(pool);
    if (packets[i] == NULL)
      return 1;
    memset(packets[i], i, PACKET_BYTES);
  }
  if (mempool_alloc(pool) != NULL) /* a pool does not grow: NULL says that every block is out */
    return 1;

  for (int i = 0; i < PACKETS; i++) {
    status = mempool_free(pool, packets[i]);
    if (status != MEMPOOL_OK) {
      fprintf(stderr, "packet %d: %s\n", i, mempool_strerror(status));
      return 1;
    }
  }
  status = mempool_free(pool, packets[0]); /* a mistake, and a harmless one */
  printf("freed twice: %s\n", mempool_strerror(status));
  if (status != MEMPOOL_E_DOUBLE_FREE || mempool_check(pool) != MEMPOOL_OK)
    return 1;

  mempool_destroy(pool);
  return 0;
}
