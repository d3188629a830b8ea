/* SPDX-License-Identifier: MIT */
#include "peers.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60u

void *map_shared(size_t bytes)
{
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
  return memory;
}

void unmap_shared(void *memory, size_t bytes)
{
  (void)munmap(memory, bytes);
}

int open_memory(size_t bytes)
{
  int fd = memfd_create("pool", MFD_CLOEXEC);
  CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
  return fd;
}

void *map_file(int fd, size_t bytes)
{
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
  return memory;
}

mempool_options shared_options(uint32_t flags)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = MEMPOOL_SHARED | flags;
  options.max_owners = PEERS_MOST_OWNERS;
  return options;
}

mempool *make_shared(void *memory, size_t bytes, size_t block_size, size_t capacity, uint32_t flags)
{
  mempool_options options = shared_options(flags);
  mempool *pool = NULL;
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, bytes, block_size, capacity, &options), MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
  return pool;
}

mempool *lay_out(ground *g, size_t block_size, size_t capacity, uint32_t flags)
{
  mempool_options options = shared_options(flags);
  g->bytes = mempool_required_size(block_size, capacity, &options);
  CU_ASSERT_NOT_EQUAL_FATAL(g->bytes, 0);
  g->memory = map_shared(g->bytes);
  g->pool = make_shared(g->memory, g->bytes, block_size, capacity, flags);
  return g->pool;
}

void clear_away(ground *g)
{
  mempool_destroy(g->pool);
  unmap_shared(g->memory, g->bytes);
}

mempool *attach(void *memory, size_t bytes)
{
  mempool *pool = NULL;
  CU_ASSERT_EQUAL_FATAL(mempool_attach(&pool, memory, bytes), MEMPOOL_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
  return pool;
}

bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return true;
#else
  return false;
#endif
#else
  return false;
#endif
}

void give_up_in_time(void)
{
  if (getenv("TEST_ROUNDS") == NULL && getenv("TEST_DEATHS") == NULL)
    (void)alarm(15 * PATIENCE_S);
}

pid_t start_child(int (*body)(void *arg), void *arg)
{
  pid_t parent = getpid(), child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm(2 * PATIENCE_S);
    _exit(getppid() == parent ? body(arg) : 1);
  }
  return child;
}

bool child_was_right(pid_t child)
{
  int status = -1;
  bool ended = waitpid(child, &status, 0) == child;
  if (ended && WIFSIGNALED(status))
    printf("# a child was ended by signal %d\n", WTERMSIG(status));
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool run_child(int (*body)(void *arg), void *arg)
{
  return child_was_right(start_child(body, arg));
}

void kill_child(pid_t child)
{
  (void)kill(child, SIGKILL);
  (void)waitpid(child, NULL, 0);
}

static int64_t seconds(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec;
}

/* Spins, and gives way; true until a minute is over. */
static bool patient(unsigned *spins, int64_t *start)
{
  if (++*spins % 64 != 0)
    return true;
  (void)sched_yield();
  if (*start == 0)
    *start = seconds();
  return seconds() - *start < (int64_t)PATIENCE_S;
}

bool reached(atomic_uint *word, unsigned value)
{
  unsigned spins = 0;
  int64_t start = 0;
  while (atomic_load(word) < value) {
    if (!patient(&spins, &start))
      return false;
  }
  return true;
}

bool meet(barrier *b, unsigned parties)
{
  unsigned passed = atomic_load(&b->passed);
  if (atomic_fetch_add(&b->arrived, 1) + 1 == parties) {
    atomic_store(&b->arrived, 0);
    atomic_store(&b->passed, passed + 1);
    return true;
  }
  return reached(&b->passed, passed + 1);
}

bool until_waiting(const mempool *pool, size_t count)
{
  unsigned spins = 0;
  int64_t start = 0;
  while (stats_of(pool).waiting != count) {
    if (!patient(&spins, &start))
      return false;
  }
  return true;
}

bool sleeps(pid_t pid)
{
  char path[64], line[256];
  const char *state = NULL;
  FILE *stream;
  (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
  stream = fopen(path, "re");
  if (stream == NULL)
    return false;
  if (fgets(line, sizeof(line), stream) != NULL)
    state = strrchr(line, ')');
  (void)fclose(stream);
  return state != NULL && strncmp(state, ") S", 3) == 0;
}

bool rest_is_whole(mempool *pool)
{
  size_t capacity = mempool_capacity(pool), rest = capacity - stats_of(pool).used, i;
  void **blocks = calloc(capacity + 1, sizeof(void *));
  bool *seen = calloc(capacity, sizeof(bool));
  bool right = blocks != NULL && seen != NULL;
  for (i = 0; i < rest && right; i++) {
    uint32_t index = 0;
    blocks[i] = mempool_alloc(pool);
    right = mempool_block_index(pool, blocks[i], &index) == MEMPOOL_OK && !seen[index];
    if (right)
      seen[index] = true;
  }
  right = right && mempool_alloc(pool) == NULL && stats_of(pool).used == capacity &&
          mempool_free_bulk(pool, blocks, rest) == MEMPOOL_OK && stats_of(pool).used == capacity - rest &&
          stats_of(pool).available == rest && mempool_check(pool) == MEMPOOL_OK;
  free(blocks);
  free(seen);
  return right;
}

size_t rounds(size_t count, size_t slow_divisor)
{
  const char *given = getenv("TEST_ROUNDS");
  size_t wanted = given != NULL ? (size_t)strtoull(given, NULL, 0) : 0;
  return wanted != 0 ? wanted : scaled(count, slow_divisor);
}
