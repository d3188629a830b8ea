/* SPDX-License-Identifier: MIT */
/*
 * Frames from one program to another, and not a byte of them copied: they lie
 * in memory that both map, by its name; only their numbers go through a pipe.
 * Here the two programs are two processes of one, to be run at one stroke.
 */
#include <fcntl.h>
#include <mempool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FRAME_BYTES = 100 * 1000, FRAMES = 8, SENT = 200 };

/* The consumer knows the name of the memory, and nothing else about it. */
static int consume(const char *name, int numbers)
{
  struct stat file;
  mempool *pool;
  int fd = shm_open(name, O_RDWR, 0);
  if (fd < 0 || fstat(fd, &file) != 0)
    return 1;
  size_t bytes = (size_t)file.st_size;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || mempool_attach(&pool, memory, bytes) != MEMPOOL_OK)
    return 1;

  uint32_t number, seen = 0;
  while (read(numbers, &number, sizeof(number)) == (ssize_t)sizeof(number)) {
    unsigned char *frame = mempool_block_at(pool, number); /* NULL for a number that is none */
    if (frame == NULL || frame[0] != seen % 256 || frame[FRAME_BYTES - 1] != seen % 256)
      return 1;
    if (mempool_free(pool, frame) != MEMPOOL_OK) /* whoever took it: any may free it */
      return 1;
    seen++;
  }
  printf("%u frames of %d bytes came through %zu blocks\n", seen, FRAME_BYTES, mempool_capacity(pool));
  mempool_destroy(pool); /* leaves the pool to the others */
  munmap(memory, bytes);
  close(fd);
  return seen == SENT ? 0 : 1;
}

static int produce(mempool *pool, int numbers)
{
  for (int i = 0; i < SENT; i++) {
    void *frame;
    uint32_t number;
    if (mempool_alloc_wait(pool, &frame, INT64_C(60000000000)) != MEMPOOL_OK) /* until the consumer gives one back */
      return 1;
    memset(frame, i % 256, FRAME_BYTES);
    if (mempool_block_index(pool, frame, &number) != MEMPOOL_OK ||
        write(numbers, &number, sizeof(number)) != (ssize_t)sizeof(number))
      return 1;
  }
  return 0;
}

int main(void)
{
  char name[64];
  mempool *pool;
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = MEMPOOL_SHARED;
  options.max_owners = 16; /* the default, 65534, takes half a megabyte */
  size_t bytes = mempool_required_size(FRAME_BYTES, FRAMES, &options);

  snprintf(name, sizeof(name), "/mempool-frames-%ld", (long)getpid());
  int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600), numbers[2];
  if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 || pipe(numbers) != 0)
    return 1;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || mempool_init(&pool, memory, bytes, FRAME_BYTES, FRAMES, &options) != MEMPOOL_OK)
    return 1;

  pid_t consumer = fork();
  if (consumer == 0) {
    close(numbers[1]);
    return consume(name, numbers[0]);
  }
  close(numbers[0]);
  int wrong = consumer < 0 || produce(pool, numbers[1]) != 0, status = 1;
  close(numbers[1]); /* no more frames */
  waitpid(consumer, &status, 0);
  shm_unlink(name);

  wrong |= status != 0 || mempool_check(pool) != MEMPOOL_OK;
  mempool_destroy(pool);
  munmap(memory, bytes);
  close(fd);
  return wrong;
}
