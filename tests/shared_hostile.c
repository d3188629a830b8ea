/* SPDX-License-Identifier: MIT */
/*
 * Whatever lies in the memory of a shared pool: attaching to it, and using it,
 * comes to an end, and touches nothing outside.
 *
 * Every bit of the header and of the tables is turned, the memory is cut at
 * every length, and filled with mutants at random (TEST_ROUNDS asks for more),
 * before attaching and behind the back of one who is attached.  The memory ends
 * where inaccessible pages begin, and begins right behind others.  All of that
 * is done in children, thousands of mutants in each; which one was its end, it
 * has noted.
 */
#include "peers.h"
#include "runner.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 6
#define BLOCK_SIZE 64
#define MOST_OWNERS 5
#define MOST_BLOCKS 64
#define MOST_FAILURES 5
#define BATCH_S 100u

static uint64_t seed;

/* A pool as it is before it is mutated, and the room where the mutants are laid out. */
typedef struct specimen {
  const char *name;
  unsigned char *image;
  size_t bytes, tables; /* of the whole, and of what lies before the blocks */
  unsigned char *memory, *room;
  size_t room_bytes, page;
  uint32_t flags;
  bool used;   /* some blocks are out, and one of those that had them is dead */
  bool at_end; /* the memory ends at the inaccessible pages, else it begins there */
} specimen;

/* What a child notes for its parent. */
typedef struct watch {
  size_t mutant, attached;
  const char *doing;
} watch;

static watch *w;
static size_t mutants, accepted; /* of the running test: how many there were, and could be attached to */

typedef struct battery {
  specimen *s;
  size_t from, to, stride;
  void (*mutate)(const specimen *s, size_t which);
  bool behind; /* the mutation comes after attaching */
} battery;

/* ---- Using what may be anything ---- */

#define CONFIRM(condition)      \
  do {                          \
    w->doing = #condition;      \
    if (!(condition))           \
      return 1;                 \
  } while (0)

static bool inside(const specimen *s, const mempool *pool, const void *block)
{
  size_t size = mempool_block_size(pool), offset = (size_t)((uintptr_t)block - (uintptr_t)s->memory);
  return offset <= s->bytes && size <= s->bytes - offset;
}

static int count_visit(void *block, uint32_t index, void *arg)
{
  (void)block;
  (void)index;
  return ++*(size_t *)arg > 100000 ? 1 : 0;
}

static int take_and_give(const specimen *s, mempool *pool)
{
  void *blocks[MOST_BLOCKS], *block = NULL;
  size_t count = 0;
  while (count < MOST_BLOCKS && (block = mempool_alloc(pool)) != NULL) {
    CONFIRM(inside(s, pool, block));
    memset(block, 0xEE, mempool_block_size(pool));
    blocks[count++] = block;
  }
  w->doing = "alloc_wait";
  if (mempool_alloc_wait(pool, &block, 1) == MEMPOOL_OK)
    CONFIRM(inside(s, pool, block));
  w->doing = "free";
  while (count != 0)
    (void)mempool_free(pool, blocks[--count]);
  (void)mempool_free(pool, block);
  (void)mempool_free(pool, block);
  (void)mempool_free(pool, s->memory);
  w->doing = "alloc_bulk";
  if (mempool_alloc_bulk(pool, blocks, 3) == MEMPOOL_OK) {
    CONFIRM(inside(s, pool, blocks[0]) && inside(s, pool, blocks[1]) && inside(s, pool, blocks[2]));
    (void)mempool_free_bulk(pool, blocks, 3);
  }
  w->doing = "alloc_burst";
  count = mempool_alloc_burst(pool, blocks, MOST_BLOCKS);
  CONFIRM(count <= MOST_BLOCKS);
  while (count != 0)
    CONFIRM(inside(s, pool, blocks[--count]));
  return 0;
}

static int look_at(const specimen *s, mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  size_t visits = 0;
  uint32_t index;
  void *last;
  CONFIRM(mempool_get_stats(pool, &stats) == MEMPOOL_OK);
  w->doing = "check";
  (void)mempool_check(pool);
  CONFIRM(mempool_foreach(pool, count_visit, &visits) == MEMPOOL_OK);
  CONFIRM(visits <= 100000);
  w->doing = "block_at";
  last = mempool_block_at(pool, (uint32_t)(mempool_capacity(pool) - 1));
  CONFIRM(last == NULL || inside(s, pool, last));
  w->doing = "looking";
  (void)mempool_block_index(pool, s->memory + s->tables, &index);
  (void)mempool_contains(pool, s->memory);
  (void)mempool_owner(pool);
  return 0;
}

static int use(const specimen *s, mempool *pool)
{
  static FILE *nowhere;
  uint32_t owner;
  size_t recovered;
  CONFIRM(look_at(s, pool) == 0);
  CONFIRM(take_and_give(s, pool) == 0);
  CONFIRM(look_at(s, pool) == 0);
  for (owner = 0; owner <= MOST_OWNERS + 1; owner++) {
    w->doing = "recover";
    (void)mempool_recover(pool, owner, &recovered);
  }
  w->doing = "recover_dead";
  if (w->mutant % 7 == 0) /* it asks the system about each of them, which takes its time */
    (void)mempool_recover_dead(pool, &recovered);
  CONFIRM(take_and_give(s, pool) == 0);
  w->doing = "dump";
  if (nowhere == NULL)
    nowhere = fopen("/dev/null", "we");
  mempool_dump(pool, nowhere);
  w->doing = "close";
  mempool_close(pool);
  (void)mempool_alloc(pool);
  (void)mempool_check(pool);
  return 0;
}

static int try_mutant(const battery *b, size_t which)
{
  const specimen *s = b->s;
  mempool *pool = NULL;
  mempool_status status;
  memcpy(s->memory, s->image, s->bytes);
  w->doing = "attach";
  if (!b->behind)
    b->mutate(s, which);
  status = mempool_attach(&pool, s->memory, s->bytes);
  CONFIRM(status == MEMPOOL_OK || status == MEMPOOL_E_CORRUPTED || status == MEMPOOL_E_INVALID_ARGUMENT ||
          status == MEMPOOL_E_NO_MEMORY);
  CONFIRM((status == MEMPOOL_OK) == (pool != NULL));
  CONFIRM(status == MEMPOOL_OK || !b->behind);
  if (status != MEMPOOL_OK)
    return 0;
  w->attached++;
  if (b->behind)
    b->mutate(s, which);
  if (use(s, pool) != 0)
    return 1;
  w->doing = "destroy";
  mempool_destroy(pool);
  return 0;
}

/* ---- Batches ---- */

static int run_batch(void *arg)
{
  const battery *b = arg;
  (void)alarm(BATCH_S);
  for (w->mutant = b->from; w->mutant < b->to; w->mutant += b->stride) {
    if (try_mutant(b, w->mutant) != 0)
      return 1;
  }
  return 0;
}

/* ThreadSanitizer has nothing to say of a single thread, and takes ten times as long: a sample will do. */
static size_t stride_of_mutants(void)
{
#if defined(__SANITIZE_THREAD__)
  return 16;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return 16;
#else
  return 1;
#endif
#else
  return 1;
#endif
}

/* Runs all of them, going on behind each that came to a bad end. */
static void run_battery(battery *b, const char *name, size_t count)
{
  size_t failures = 0;
  w->attached = 0;
  b->stride = stride_of_mutants();
  b->from = seed % b->stride;
  b->to = count;
  while (b->from < count && failures < MOST_FAILURES) {
    if (run_child(run_batch, b))
      break;
    failures++;
    printf("# %s, %s%s: mutant %zu came to a bad end in: %s\n", b->s->name, name, b->behind ? ", behind the back" : "",
           w->mutant, w->doing);
    b->from = w->mutant + b->stride;
  }
  CU_ASSERT_EQUAL(failures, 0);
  mutants += count / b->stride;
  accepted += w->attached;
}

/* ---- Specimens ---- */

static int hold_one_and_die(void *arg)
{
  const specimen *s = arg;
  mempool *pool = NULL;
  REQUIRE(mempool_attach(&pool, s->memory, s->bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc(pool) != NULL);
  return 0;
}

static void prepare(specimen *s)
{
  mempool_options options = shared_options(s->flags);
  mempool *pool = NULL;
  void *blocks[CAPACITY];
  size_t whole;
  options.max_owners = MOST_OWNERS;
  s->page = (size_t)sysconf(_SC_PAGESIZE);
  s->bytes = mempool_required_size(BLOCK_SIZE, CAPACITY, &options);
  whole = (s->bytes + s->page - 1) / s->page * s->page;
  s->room_bytes = whole + 2 * s->page;
  s->room = map_shared(s->room_bytes);
  CU_ASSERT_EQUAL_FATAL(mprotect(s->room, s->page, PROT_NONE), 0);
  CU_ASSERT_EQUAL_FATAL(mprotect(s->room + s->page + whole, s->page, PROT_NONE), 0);
  s->memory = s->room + s->page + (s->at_end ? whole - s->bytes : 0);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, s->memory, s->bytes, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  if (s->used) {
    take(pool, blocks, CAPACITY);
    CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, 4), MEMPOOL_OK);
    CU_ASSERT(run_child(hold_one_and_die, s));
  }
  s->tables = (size_t)((unsigned char *)mempool_block_at(pool, 0) - s->memory);
  CU_ASSERT_FATAL(s->tables <= s->bytes);
  s->image = malloc(s->bytes);
  CU_ASSERT_PTR_NOT_NULL_FATAL(s->image);
  memcpy(s->image, s->memory, s->bytes);
  mempool_destroy(pool);
}

static void discard(specimen *s)
{
  unmap_shared(s->room, s->room_bytes);
  free(s->image);
}

/* The one that is enough where each costs too much. */
static bool is_typical(const specimen *s)
{
  return s->used && s->flags == 0;
}

/* Runs body with each of the specimens. */
static void over_specimens(void (*body)(specimen *s))
{
  static const specimen kinds[] = { { .name = "fresh", .at_end = true },
                                    { .name = "used", .used = true },
                                    { .name = "used, with flags", .used = true, .at_end = true,
                                      .flags = MEMPOOL_GUARD | MEMPOOL_ZERO | MEMPOOL_COUNTERS } };
  size_t i;
  mutants = 0;
  accepted = 0;
  w = map_shared(sizeof(*w));
  for (i = 0; i < COUNT_OF(kinds); i++) {
    specimen s = kinds[i];
    prepare(&s);
    body(&s);
    discard(&s);
  }
  unmap_shared(w, sizeof(*w));
  printf("# %zu mutants, %zu of them taken for a pool\n", mutants, accepted);
}

/* ---- Mutations ---- */

static void turn_bit(const specimen *s, size_t which)
{
  s->memory[which / 8] ^= (unsigned char)(1u << which % 8);
}

static void turn_bits_of(specimen *s)
{
  battery b = { .s = s, .mutate = turn_bit };
  size_t bits = 8 * s->tables;
  /* Under a slow tool one of the specimens will do. */
  if ((getenv("TEST_SLOW_TOOL") != NULL || sanitized()) && !is_typical(s))
    return;
  run_battery(&b, "each bit turned", bits);
  b.behind = true;
  if (is_typical(s))
    run_battery(&b, "each bit turned", bits);
}

static void test_attach_each_bit_turned_ends_within_memory(void)
{
  over_specimens(turn_bits_of);
}

/* Each aligned word takes each of some values. */
static const uint64_t telling[] = { 0, 1, 64, 4096, 65535, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                    0xffffffffffffffff };

static void set_word(const specimen *s, size_t which)
{
  uint64_t value = telling[which / 2 % COUNT_OF(telling)];
  size_t word = which / 2 / COUNT_OF(telling), size = which % 2 == 0 ? 4 : 8;
  if (word * 4 + size <= s->tables)
    memcpy(s->memory + word * 4, &value, size);
}

static void set_words_of(specimen *s)
{
  battery b = { .s = s, .mutate = set_word };
  size_t count = s->tables / 4 * COUNT_OF(telling) * 2;
  if ((getenv("TEST_SLOW_TOOL") != NULL || sanitized()) && !is_typical(s))
    return;
  run_battery(&b, "each word set", count);
  b.behind = true;
  if (is_typical(s))
    run_battery(&b, "each word set", count);
}

static void test_attach_each_word_set_ends_within_memory(void)
{
  over_specimens(set_words_of);
}

/* Some bytes and words, anywhere in the tables, at random. */
static void mutate_at_random(const specimen *s, size_t which)
{
  uint64_t random = seed + which, count = 1 + test_random(&random) % 8;
  while (count-- != 0) {
    uint64_t kind = test_random(&random), value = test_random(&random);
    size_t size = kind / 8 % 3 == 0 ? 1 : kind / 8 % 3 == 1 ? 4 : 8, at = test_random(&random) % s->tables / size * size;
    if (kind % 8 < 3)
      value = telling[value % COUNT_OF(telling)];
    else if (kind % 8 < 5)
      value %= 2 * s->bytes;
    if (at + size > s->bytes)
      continue;
    if (kind % 8 == 7)
      s->memory[at] ^= (unsigned char)(1u << value % 8);
    else
      memcpy(s->memory + at, &value, size);
  }
}

static void mutate_specimen(specimen *s)
{
  battery b = { .s = s, .mutate = mutate_at_random };
  size_t count = rounds(5000, 20);
  run_battery(&b, "mutants at random", count);
  b.behind = true;
  run_battery(&b, "mutants at random", count);
}

static void test_attach_mutants_at_random_end_within_memory(void)
{
  over_specimens(mutate_specimen);
}

/* ---- Truncations ---- */

/* The last so many bytes of room are the first of the image; behind them there is nothing. */
static int attach_cut(void *arg)
{
  specimen *s = arg;
  (void)alarm(BATCH_S);
  for (w->mutant = 0; w->mutant < s->bytes; w->mutant++) {
    unsigned char *memory = s->room + s->room_bytes - s->page - w->mutant;
    mempool *pool = NULL;
    mempool_status status;
    memcpy(memory, s->image, w->mutant);
    w->doing = "attach";
    status = mempool_attach(&pool, memory, w->mutant);
    CONFIRM(status == MEMPOOL_E_CORRUPTED || status == MEMPOOL_E_INVALID_ARGUMENT);
    CONFIRM(pool == NULL);
    /* Where it lay before, too: what is cut off must be left alone. */
    memcpy(s->memory, s->image, s->bytes);
    CONFIRM(mempool_attach(&pool, s->memory, w->mutant) == MEMPOOL_E_CORRUPTED);
    CONFIRM(memcmp(s->memory + w->mutant, s->image + w->mutant, s->bytes - w->mutant) == 0);
  }
  return 0;
}

static void cut_specimen(specimen *s)
{
  bool right = run_child(attach_cut, s);
  CU_ASSERT(right);
  if (!right)
    printf("# %s: cut at %zu: %s\n", s->name, w->mutant, w->doing);
  mutants += s->bytes;
}

static void test_attach_each_truncation_refused(void)
{
  over_specimens(cut_specimen);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_attach_each_bit_turned_ends_within_memory),
    TEST(test_attach_each_word_set_ends_within_memory),
    TEST(test_attach_mutants_at_random_end_within_memory),
    TEST(test_attach_each_truncation_refused),
  };
  give_up_in_time();
  seed = test_seed();
  return RUN_TESTS(tests);
}
