/* SPDX-License-Identifier: MIT */
/*
 * A server and its workers: each worker gets the pool as a file descriptor over
 * a UNIX socket, and answers with blocks.  One of them crashes with blocks in
 * its hands; the server takes them back and goes on.
 */
#define _GNU_SOURCE 1 /* for memfd_create() */
#include <fcntl.h>
#include <mempool.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_BYTES = 4096, ANSWERS = 16, EACH = 10, WORKERS = 3, CRASHES = 1 };

/* A descriptor travels beside at least one byte. */
typedef union passenger {
  struct cmsghdr header;
  char room[CMSG_SPACE(sizeof(int))];
} passenger;

static int send_fd(int to, int fd)
{
  char byte = 0;
  passenger extra = { .room = { 0 } };
  struct iovec text = { &byte, 1 };
  struct msghdr message = { .msg_iov = &text, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof(extra.room) };
  extra.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
  memcpy(CMSG_DATA(&extra.header), &fd, sizeof(fd));
  return sendmsg(to, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int from)
{
  char byte;
  int fd = -1;
  passenger extra;
  struct iovec text = { &byte, 1 };
  struct msghdr message = { .msg_iov = &text, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof(extra.room) };
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL)
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  return fd;
}

static int work(int server, int which)
{
  struct stat file;
  mempool *pool;
  int fd = receive_fd(server);
  if (fd < 0 || fstat(fd, &file) != 0)
    return 1;
  size_t bytes = (size_t)file.st_size;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || mempool_attach(&pool, memory, bytes) != MEMPOOL_OK)
    return 1;

  for (int i = 0; i < EACH; i++) {
    void *answer;
    uint32_t number;
    if (mempool_alloc_wait(pool, &answer, -1) != MEMPOOL_OK ||
        mempool_block_index(pool, answer, &number) != MEMPOOL_OK)
      return 1;
    snprintf(answer, ANSWER_BYTES, "answer %d of worker %d", i, which);
    if (which == CRASHES && i == EACH / 2)
      raise(SIGKILL); /* what a crash is like for the others: from here on it does nothing */
    if (send(server, &number, sizeof(number), 0) != (ssize_t)sizeof(number))
      return 1;
  }
  mempool_destroy(pool);
  munmap(memory, bytes);
  close(fd);
  return 0;
}

/* Reads what a worker sends until it ends, one way or another.  Returns how many answers there were. */
static int serve(mempool *pool, int worker)
{
  uint32_t number;
  int answers = 0;
  size_t recovered;
  while (recv(worker, &number, sizeof(number), 0) == (ssize_t)sizeof(number)) {
    char *answer = mempool_block_at(pool, number);
    if (answer == NULL || strncmp(answer, "answer ", 7) != 0 || mempool_free(pool, answer) != MEMPOOL_OK)
      return -1;
    answers++;
  }
  wait(NULL);
  if (mempool_recover_dead(pool, &recovered) != MEMPOOL_OK) /* what it had in its hands, if it crashed */
    return -1;
  printf("answers: %d, blocks taken back: %zu\n", answers, recovered);
  return answers;
}

int main(void)
{
  mempool *pool;
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  options.flags = MEMPOOL_SHARED;
  options.max_owners = WORKERS + 1;
  size_t bytes = mempool_required_size(ANSWER_BYTES, ANSWERS, &options);
  /* Sealed, so that no worker can cut it off below the others' feet. */
  int fd = memfd_create("answers", MFD_CLOEXEC | MFD_ALLOW_SEALING), answers = 0;
  if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return 1;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || mempool_init(&pool, memory, bytes, ANSWER_BYTES, ANSWERS, &options) != MEMPOOL_OK)
    return 1;

  for (int i = 0; i < WORKERS; i++) {
    int ends[2]; /* in a real server, what accept() returns, and the worker's connect()ed socket */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0)
      return 1;
    pid_t worker = fork();
    if (worker == 0) {
      close(ends[0]);
      _exit(work(ends[1], i));
    }
    close(ends[1]);
    if (worker < 0 || send_fd(ends[0], fd) != 0)
      return 1;
    answers += serve(pool, ends[0]);
    close(ends[0]);
  }

  mempool_stats stats = MEMPOOL_STATS_INIT;
  int right = mempool_get_stats(pool, &stats) == MEMPOOL_OK && stats.used == 0 && mempool_check(pool) == MEMPOOL_OK;
  mempool_destroy(pool);
  munmap(memory, bytes);
  close(fd);
  return right && answers == WORKERS * EACH - EACH / 2 ? 0 : 1;
}
