/* SPDX-License-Identifier: MIT */
/*
 * A buffer between two ends of a pipe, in the manner of mbuffer: it evens out
 * the pace of who writes and who reads, and tells the CRC-32C of what passed.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "mempool-stream"
#define EXIT_USAGE 2
#define MOST_WORKERS 256
#define PROGRESS_INTERVAL_NS 200000000

typedef struct options {
  size_t block_size;
  size_t blocks;
  unsigned workers;
  bool quiet;
  bool verbose;
} options;

static const options defaults = { 128 * 1024, 128, 1, false, false };

/* ---- What is said ---- */

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
  va_list arguments;

  va_start(arguments, format);
  fputs(PROGRAM ": ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

static void print_help(void)
{
  printf("Usage: " PROGRAM " [OPTION]...\n"
         "Buffers what comes from standard input and writes it to standard output.\n"
         "\n"
         "  -b, --block-size=SIZE  read and write SIZE bytes at a time; default %zuK\n"
         "  -n, --blocks=NUMBER    buffer up to NUMBER blocks; default %zu\n"
         "  -j, --jobs=NUMBER      check the blocks in NUMBER threads, 1 to %d; default %u\n"
         "  -q, --quiet            no progress and no summary, but errors\n"
         "  -v, --verbose          after the summary, the pool's statistics\n"
         "      --help             show this and exit\n"
         "      --version          show the version and exit\n"
         "\n"
         "SIZE and NUMBER may end in K, M or G: times 1024, 1024^2, 1024^3.\n"
         "\n"
         "A block is written when it is full, or when the input ends.  When every block\n"
         "is full, reading waits for writing.\n"
         "\n"
         "If standard error is a terminal, a line there shows the progress, at most five\n"
         "times a second.  At the end standard error gets a summary: bytes, seconds,\n"
         "rate, CRC-32C of all the bytes; the most blocks that were in use at once, and\n"
         "how often reading had to wait for a block.\n"
         "\n"
         "Exit status: 0 if all was read and written, 1 if not, %d for a wrong option.\n",
         defaults.block_size / 1024, defaults.blocks, MOST_WORKERS, defaults.workers, EXIT_USAGE);
}

/* Output to a full disk or a closed descriptor fails no sooner than here. */
static int close_stdout(void)
{
  if (fclose(stdout) == 0)
    return EXIT_SUCCESS;
  complain("can't write to standard output: %s", strerror(errno));
  return EXIT_FAILURE;
}

/* ---- Options ---- */

static int suffix_shift(char suffix)
{
  switch (suffix) {
  case 'k':
  case 'K':
    return 10;
  case 'm':
  case 'M':
    return 20;
  case 'g':
  case 'G':
    return 30;
  default:
    return -1;
  }
}

/* Parses digits and perhaps a suffix.  False if there is anything else, or if it comes to more than most. */
static bool parse_number(const char *text, size_t most, size_t *number)
{
  char *end;
  uintmax_t value;
  int shift = 0;

  if (text[0] < '0' || text[0] > '9')
    return false; /* strtoumax() would take a sign and spaces */
  errno = 0;
  value = strtoumax(text, &end, 10);
  if (errno != 0)
    return false;
  if (*end != '\0')
    shift = suffix_shift(*end++);
  if (shift < 0 || *end != '\0' || value > most >> shift)
    return false;
  *number = (size_t)value << shift;
  return true;
}

/* As parse_number(), but from 1, and with words for who got it wrong. */
static bool take_number(const char *option, const char *text, size_t most, size_t *number)
{
  if (parse_number(text, most, number) && *number > 0)
    return true;
  complain("%s: '%s' is not a number from 1 to %zu (K, M or G may follow it)", option, text, most);
  return false;
}

static bool take_option(int letter, const char *text, options *wanted)
{
  size_t number;

  switch (letter) {
  case 'b':
    return take_number("--block-size", text, SIZE_MAX / 2, &wanted->block_size);
  case 'n':
    return take_number("--blocks", text, UINT32_MAX - 1, &wanted->blocks);
  case 'j':
    if (!take_number("--jobs", text, MOST_WORKERS, &number))
      return false;
    wanted->workers = (unsigned)number;
    return true;
  case 'q':
    wanted->quiet = true;
    return true;
  case 'v':
    wanted->verbose = true;
    return true;
  default:
    return false; /* getopt_long() has said what is wrong */
  }
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, options *wanted)
{
  enum { HELP = 256, VERSION };
  static const struct option known[] = {
    { "block-size", required_argument, NULL, 'b' },
    { "blocks", required_argument, NULL, 'n' },
    { "jobs", required_argument, NULL, 'j' },
    { "quiet", no_argument, NULL, 'q' },
    { "verbose", no_argument, NULL, 'v' },
    { "help", no_argument, NULL, HELP },
    { "version", no_argument, NULL, VERSION },
    { NULL, 0, NULL, 0 },
  };
  bool good = true;
  int letter;

  while (good && (letter = getopt_long(argc, argv, "b:n:j:qv", known, NULL)) != -1) {
    if (letter == HELP) {
      print_help();
      return close_stdout();
    }
    if (letter == VERSION) {
      printf(PROGRAM " (libmempool) %s\n", mempool_version());
      return close_stdout();
    }
    good = take_option(letter, optarg, wanted);
  }
  if (good && optind < argc) {
    complain("unexpected argument '%s': files are given by redirection, < and >", argv[optind]);
    good = false;
  }
  if (!good)
    complain("try '" PROGRAM " --help'");
  return good ? -1 : EXIT_USAGE;
}

/* ---- Progress and summary ---- */

static double seconds_since(const struct timespec *start)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
}

static double mib(uint64_t bytes)
{
  return (double)bytes / (1024.0 * 1024.0);
}

static double rate(uint64_t bytes, double seconds)
{
  return seconds > 0 ? mib(bytes) / seconds : 0;
}

static mempool_stats figures(const mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;

  mempool_get_stats(pool, &stats);
  return stats;
}

static void print_progress(const stream *s, uint64_t bytes, double mib_per_second)
{
  fprintf(stderr, "\r" PROGRAM ": %.1f MiB, %.1f MiB/s, %zu of %zu blocks in use\033[K", mib(bytes), mib_per_second,
          figures(s->pool).used, s->capacity);
}

/* Shows the progress until all is over, and takes the line away again. */
static void show_progress(stream *s)
{
  uint64_t bytes_before = 0;
  struct timespec before;

  clock_gettime(CLOCK_MONOTONIC, &before);
  print_progress(s, 0, 0);
  while (!stream_wait(s, PROGRESS_INTERVAL_NS)) {
    uint64_t bytes = stream_bytes(s);
    print_progress(s, bytes, rate(bytes - bytes_before, seconds_since(&before)));
    clock_gettime(CLOCK_MONOTONIC, &before);
    bytes_before = bytes;
  }
  fputs("\r\033[K", stderr);
}

static void print_summary(const stream *s, double seconds)
{
  complain("%" PRIu64 " bytes in %.3f s, %.1f MiB/s, CRC-32C %08" PRIx32, s->bytes, seconds, rate(s->bytes, seconds),
           s->crc);
  complain("at most %zu of %zu blocks in use, reading waited %" PRIu64 " times", figures(s->pool).peak_used,
           s->capacity, s->waits);
}

/* ---- The work ---- */

static const char *hint(int error)
{
  switch (error) {
  case EPIPE:
    return ": who should read it has gone";
  case ENOSPC:
    return ": make room and start again";
  default:
    return "";
  }
}

/* Tells what went wrong with the stream, if anything did. */
static bool report(const stream *s)
{
  if (s->read_error != 0)
    complain("can't read standard input: %s", strerror(s->read_error));
  if (s->write_error != 0)
    complain("can't write standard output, after %" PRIu64 " bytes: %s%s", s->bytes, strerror(s->write_error),
             hint(s->write_error));
  if (s->pool_error != MEMPOOL_OK)
    complain("can't free a block: %s", mempool_strerror(s->pool_error));
  return s->read_error == 0 && s->write_error == 0 && s->pool_error == MEMPOOL_OK;
}

/* Some file systems tell only at the closing that they could not keep what was written. */
static bool close_output(int output)
{
  if (close(output) == 0 || errno == EINTR)
    return true;
  complain("can't finish standard output: %s%s", strerror(errno), hint(errno));
  return false;
}

/* Every block must have come back. */
static bool pool_is_clean(const mempool *pool)
{
  mempool_status status = mempool_check(pool);
  size_t used = figures(pool).used;

  if (status != MEMPOOL_OK)
    complain("the pool is damaged: %s", mempool_strerror(status));
  if (used != 0)
    complain("%zu blocks were never freed", used);
  return status == MEMPOOL_OK && used == 0;
}

static bool run_stream(const options *wanted, mempool *pool)
{
  stream_settings settings = { STDIN_FILENO, STDOUT_FILENO, pool, wanted->workers };
  struct timespec start;
  stream s;
  bool good;
  int error;

  clock_gettime(CLOCK_MONOTONIC, &start);
  error = stream_start(&s, &settings);
  if (error != 0) {
    complain("can't start %u threads for %zu blocks: %s; fewer may do", wanted->workers + 1, wanted->blocks,
             strerror(error));
    return false;
  }
  if (!wanted->quiet && isatty(STDERR_FILENO))
    show_progress(&s);
  stream_wait(&s, -1);
  stream_join(&s);
  good = report(&s);
  if (s.write_error == 0) {
    good = close_output(STDOUT_FILENO) && good;
    good = pool_is_clean(pool) && good;
    if (!wanted->quiet)
      print_summary(&s, seconds_since(&start));
    if (wanted->verbose)
      mempool_dump(pool, stderr);
  }
  stream_destroy(&s);
  return good;
}

/* A descriptor that is closed now would be some other file's before long. */
static bool is_open(int fd, const char *name, const char *example)
{
  if (fcntl(fd, F_GETFD) >= 0)
    return true;
  complain("%s is closed: redirect it, as in '" PROGRAM " %s'", name, example);
  return false;
}

int main(int argc, char **argv)
{
  options wanted = defaults;
  mempool_options pool_options = MEMPOOL_OPTIONS_INIT;
  mempool_status status;
  mempool *pool;
  int exit_status = parse_options(argc, argv, &wanted);
  bool good;

  if (exit_status >= 0)
    return exit_status;
  if (!is_open(STDIN_FILENO, "standard input", "< FILE") || !is_open(STDOUT_FILENO, "standard output", "> FILE"))
    return EXIT_FAILURE;
  signal(SIGPIPE, SIG_IGN); /* write() reports these two as well, and then we can say so */
  signal(SIGXFSZ, SIG_IGN);

  pool_options.name = PROGRAM;
  pool_options.flags = MEMPOOL_HUGE_PAGES; /* fewer faults and less searching for pages; where there are none, others do */
  status = mempool_create(&pool, wanted.block_size, wanted.blocks, &pool_options);
  if (status != MEMPOOL_OK) {
    complain("can't make a pool of %zu blocks of %zu bytes: %s; choose a smaller -b or -n", wanted.blocks,
             wanted.block_size, mempool_strerror(status));
    return EXIT_FAILURE;
  }
  good = run_stream(&wanted, pool);
  mempool_destroy(pool);
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
