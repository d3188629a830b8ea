/* SPDX-License-Identifier: MIT */
/*
 * Pools that processes share: making, attaching, owners, recovering, and
 * everything that a pool does, across processes and across two views of one
 * memory.
 */
#include "peers.h"
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES 96
#define CAPACITY 8

/* Without processes there is no telling who is dead. */
#ifdef __EMSCRIPTEN__
#define RECOVERS_DEAD MEMPOOL_E_UNSUPPORTED
#else
#define RECOVERS_DEAD MEMPOOL_OK
#endif

/* What a child gets to work with: where the pool is, and words that both look at. */
typedef struct scene {
  ground g;
  mempool *pool; /* the parent's handle */
  void *block;
  atomic_uint stage, owner, count;
  atomic_size_t recovered;
} scene;

static scene *open_scene(size_t capacity, uint32_t flags)
{
  scene *s = map_shared(sizeof(*s));
  s->pool = lay_out(&s->g, BLOCK_BYTES, capacity, flags);
  return s;
}

static void close_scene(scene *s)
{
  CU_ASSERT_EQUAL(mempool_check(s->pool), MEMPOOL_OK);
  clear_away(&s->g);
  unmap_shared(s, sizeof(*s));
}

/* A child attaches, takes some blocks, and ends without a word. */
static int take_and_die(void *arg)
{
  scene *s = arg;
  mempool *mine = NULL;
  unsigned i, count = atomic_load(&s->count);
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  for (i = 0; i < count; i++) {
    s->block = mempool_alloc(mine);
    REQUIRE(s->block != NULL);
  }
  atomic_store(&s->owner, mempool_owner(mine));
  return 0;
}

static uint32_t leave_dead_owner(scene *s, unsigned blocks)
{
  atomic_store(&s->count, blocks);
  CU_ASSERT_FATAL(run_child(take_and_die, s));
  return atomic_load(&s->owner);
}

/* ---- Making ---- */

static int use_parents_handle(void *arg)
{
  scene *s = arg;
  REQUIRE(stats_of(s->pool).used == 1);
  REQUIRE(all_bytes(s->block, BLOCK_BYTES, 0x11));
  REQUIRE(mempool_free(s->pool, s->block) == MEMPOOL_OK);
  s->block = mempool_alloc(s->pool);
  REQUIRE(s->block != NULL);
  memset(s->block, 0x22, BLOCK_BYTES);
  return 0;
}

static void test_create_shared_forked_child_sees_same_pool(void)
{
  mempool_options options = shared_options(0);
  scene *s = map_shared(sizeof(*s));
  CU_ASSERT_EQUAL_FATAL(mempool_create(&s->pool, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  s->block = mempool_alloc(s->pool);
  CU_ASSERT_PTR_NOT_NULL_FATAL(s->block);
  CU_ASSERT(all_bytes(s->block, BLOCK_BYTES, 0));
  memset(s->block, 0x11, BLOCK_BYTES);
  CU_ASSERT(run_child(use_parents_handle, s));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT(all_bytes(s->block, BLOCK_BYTES, 0x22));
  CU_ASSERT_EQUAL(mempool_free(s->pool, s->block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_check(s->pool), MEMPOOL_OK);
  mempool_destroy(s->pool);
  unmap_shared(s, sizeof(*s));
}

static int go_on_after_parent(void *arg)
{
  scene *s = arg;
  REQUIRE(reached(&s->stage, 1));
  REQUIRE(mempool_alloc(s->pool) != NULL);
  REQUIRE(stats_of(s->pool).used == 1);
  REQUIRE(mempool_check(s->pool) == MEMPOOL_OK);
  return 0;
}

/* The memory of a created pool is the system's; the child has its view of it still. */
static void test_destroy_created_by_parent_child_goes_on(void)
{
  mempool_options options = shared_options(0);
  scene *s = map_shared(sizeof(*s));
  pid_t child;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&s->pool, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  child = start_child(go_on_after_parent, s);
  mempool_destroy(s->pool);
  atomic_store(&s->stage, 1);
  CU_ASSERT(child_was_right(child));
  unmap_shared(s, sizeof(*s));
}

static void test_init_shared_one_byte_short_no_memory(void)
{
  mempool_options options = shared_options(0);
  size_t bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  void *memory = map_shared(bytes);
  mempool *pool = memory;
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, bytes - 1, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_E_NO_MEMORY);
  CU_ASSERT_PTR_NULL(pool);
  CU_ASSERT_EQUAL(mempool_init(&pool, memory, bytes, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  mempool_destroy(pool);
  unmap_shared(memory, bytes);
}

static void test_init_shared_any_address_attach_same_address(void)
{
  static const size_t offsets[] = { 0, 1, 4, 8, 24, 63, 64, 100 };
  mempool_options options = shared_options(0);
  size_t bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options), i;
  unsigned char *memory = map_shared(bytes + 128);
  for (i = 0; i < COUNT_OF(offsets); i++) {
    mempool *pool, *second;
    void *block;
    memset(memory, 0x5C, bytes + 128);
    pool = make_shared(memory + offsets[i], bytes, BLOCK_BYTES, CAPACITY, 0);
    second = attach(memory + offsets[i], bytes);
    block = mempool_alloc(second);
    CU_ASSERT(mempool_contains(pool, block));
    CU_ASSERT_EQUAL((uintptr_t)block % 64, 0);
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
    CU_ASSERT(rest_is_whole(second));
    mempool_destroy(second);
    mempool_destroy(pool);
    CU_ASSERT(all_bytes(memory, offsets[i], 0x5C));
    CU_ASSERT(all_bytes(memory + offsets[i] + bytes, 128 - offsets[i], 0x5C));
  }
  unmap_shared(memory, bytes + 128);
}

static void test_init_shared_with_each_flag_works(void)
{
  static const uint32_t flags[] = { 0, MEMPOOL_NO_CACHE, MEMPOOL_STRICT, MEMPOOL_ZERO, MEMPOOL_GUARD, MEMPOOL_COUNTERS,
                                    MEMPOOL_PREFAULT, MEMPOOL_HUGE_PAGES, MEMPOOL_ZERO | MEMPOOL_GUARD | MEMPOOL_COUNTERS };
  size_t i;
  for (i = 0; i < COUNT_OF(flags); i++) {
    ground g;
    mempool *second, *pool = lay_out(&g, BLOCK_BYTES, CAPACITY, flags[i]);
    void *block;
    second = attach(g.memory, g.bytes);
    block = mempool_alloc(pool);
    CU_ASSERT_PTR_NOT_NULL(block);
    CU_ASSERT_EQUAL(mempool_free(second, block), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_E_DOUBLE_FREE);
    CU_ASSERT_EQUAL(stats_of(second).alloc_count, (flags[i] & MEMPOOL_COUNTERS) != 0 ? 1 : 0);
    CU_ASSERT(rest_is_whole(second));
    mempool_destroy(second);
    clear_away(&g);
  }
}

static void test_init_shared_alignments_kept_in_each_view(void)
{
  size_t alignment, block_size;
  for (alignment = 1; alignment <= 4096; alignment *= 4) {
    for (block_size = 1; block_size <= 4096; block_size = block_size * 5 + 3) {
      mempool_options options = shared_options(0);
      size_t bytes;
      int fd;
      void *memory;
      mempool *pool = NULL, *second;
      options.alignment = alignment;
      bytes = mempool_required_size(block_size, CAPACITY, &options);
      fd = open_memory(bytes);
      memory = map_file(fd, bytes);
      CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, bytes, block_size, CAPACITY, &options), MEMPOOL_OK);
      mempool_destroy(pool);
      unmap_shared(memory, bytes);
      memory = map_file(fd, bytes);
      second = attach(memory, bytes);
      CU_ASSERT_EQUAL((uintptr_t)mempool_block_at(second, CAPACITY - 1) % alignment, 0);
      CU_ASSERT_EQUAL(mempool_block_size(second), block_size);
      CU_ASSERT(rest_is_whole(second));
      mempool_destroy(second);
      unmap_shared(memory, bytes);
      (void)close(fd);
    }
  }
}

/* ---- Attaching ---- */

static void test_attach_second_view_of_file_same_blocks(void)
{
  mempool_options options = shared_options(0);
  size_t bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  int fd = open_memory(bytes);
  void *views[2] = { map_file(fd, bytes), map_file(fd, bytes) };
  mempool *first = make_shared(views[0], bytes, BLOCK_BYTES, CAPACITY, 0), *second = attach(views[1], bytes);
  void *block = mempool_alloc(first), *same;
  uint32_t index = CAPACITY;
  CU_ASSERT_PTR_NOT_EQUAL(views[0], views[1]);
  CU_ASSERT_EQUAL(mempool_block_size(second), BLOCK_BYTES);
  CU_ASSERT_EQUAL(mempool_capacity(second), CAPACITY);
  CU_ASSERT_EQUAL(mempool_block_index(first, block, &index), MEMPOOL_OK);
  same = mempool_block_at(second, index);
  CU_ASSERT_PTR_EQUAL_FATAL(same, offset_by(block, (char *)views[1] - (char *)views[0]));
  memset(block, 0x33, BLOCK_BYTES);
  CU_ASSERT(all_bytes(same, BLOCK_BYTES, 0x33));
  CU_ASSERT_FALSE(mempool_contains(second, block));
  CU_ASSERT_EQUAL(mempool_free(second, block), MEMPOOL_E_FOREIGN_BLOCK);
  CU_ASSERT_EQUAL(mempool_free(second, same), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(first, block), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT(rest_is_whole(first));
  CU_ASSERT(rest_is_whole(second));
  mempool_destroy(first);
  mempool_destroy(second);
  unmap_shared(views[0], bytes);
  unmap_shared(views[1], bytes);
  (void)close(fd);
}

typedef struct passage {
  int fd;
  size_t bytes;
  void *parents_view;
  atomic_uint index;
} passage;

static int attach_elsewhere(void *arg)
{
  passage *p = arg;
  void *view = map_file(p->fd, p->bytes), *block;
  uint32_t index = 0;
  mempool *mine = NULL;
  REQUIRE(view != p->parents_view);
  REQUIRE(munmap(p->parents_view, p->bytes) == 0);
  REQUIRE(mempool_attach(&mine, view, p->bytes) == MEMPOOL_OK);
  REQUIRE(all_bytes(mempool_block_at(mine, atomic_load(&p->index)), BLOCK_BYTES, 0x44));
  REQUIRE(mempool_free(mine, mempool_block_at(mine, atomic_load(&p->index))) == MEMPOOL_OK);
  block = mempool_alloc(mine);
  REQUIRE(block != NULL && mempool_block_index(mine, block, &index) == MEMPOOL_OK);
  memset(block, 0x55, BLOCK_BYTES);
  atomic_store(&p->index, index);
  mempool_destroy(NULL);
  return 0;
}

static void test_attach_other_process_other_address_same_blocks(void)
{
  mempool_options options = shared_options(0);
  passage *p = map_shared(sizeof(*p));
  mempool *pool;
  void *block;
  uint32_t index = 0;
  p->bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  p->fd = open_memory(p->bytes);
  p->parents_view = map_file(p->fd, p->bytes);
  pool = make_shared(p->parents_view, p->bytes, BLOCK_BYTES, CAPACITY, 0);
  block = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_block_index(pool, block, &index), MEMPOOL_OK);
  atomic_store(&p->index, index);
  memset(block, 0x44, BLOCK_BYTES);
  CU_ASSERT(run_child(attach_elsewhere, p));
  block = mempool_block_at(pool, atomic_load(&p->index));
  CU_ASSERT(all_bytes(block, BLOCK_BYTES, 0x55));
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(pool));
  mempool_destroy(pool);
  unmap_shared(p->parents_view, p->bytes);
  (void)close(p->fd);
  unmap_shared(p, sizeof(*p));
}

/* The pool is nothing but the memory: a copy of it is a pool, with the same blocks out. */
static void test_attach_copy_of_memory_same_state(void)
{
  scene *s = open_scene(CAPACITY, 0);
  void *copy = map_shared(s->g.bytes), *block = mempool_alloc(s->pool);
  uint32_t index = 0;
  mempool *other;
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(s->pool));
  CU_ASSERT_EQUAL(mempool_block_index(s->pool, block, &index), MEMPOOL_OK);
  memcpy(copy, s->g.memory, s->g.bytes);
  other = attach(copy, s->g.bytes);
  CU_ASSERT_EQUAL(stats_of(other).used, 2);
  CU_ASSERT_EQUAL(mempool_free(other, mempool_block_at(other, index)), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(other));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 2);
  mempool_destroy(other);
  unmap_shared(copy, s->g.bytes);
  close_scene(s);
}

static void test_attach_null_invalid_argument(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *pool = s->pool;
  CU_ASSERT_EQUAL(mempool_attach(NULL, s->g.memory, s->g.bytes), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_attach(&pool, NULL, s->g.bytes), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(pool);
  CU_ASSERT_EQUAL(mempool_attach(NULL, NULL, 0), MEMPOOL_E_INVALID_ARGUMENT);
  close_scene(s);
}

static void expect_refused(void *memory, size_t bytes)
{
  mempool *pool = memory;
  mempool_status status = mempool_attach(&pool, memory, bytes);
  CU_ASSERT_EQUAL(status, MEMPOOL_E_CORRUPTED);
  CU_ASSERT_PTR_NULL(pool);
  if (status == MEMPOOL_OK)
    mempool_destroy(pool);
}

/* Each is at the end of its pages, so that a step outside of it is fatal. */
static void test_attach_too_small_corrupted(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (s->g.bytes + page - 1) / page * page, size, step = 1;
  unsigned char *room = map_shared(whole + page);
  CU_ASSERT_EQUAL_FATAL(mprotect(room + whole, page, PROT_NONE), 0);
  for (size = 1; size < s->g.bytes; size += step) {
    unsigned char *memory = room + whole - size;
    memcpy(memory, s->g.memory, size);
    expect_refused(memory, size);
    step = size < 512 || size + 512 > s->g.bytes ? 1 : 61;
  }
  expect_refused(s->g.memory, s->g.bytes - 1);
  expect_refused(s->g.memory, 1);
  unmap_shared(room, whole + page);
  close_scene(s);
}

static void test_attach_larger_memory_works(void)
{
  mempool_options options = shared_options(0);
  size_t bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  void *memory = map_shared(bytes + 100000);
  mempool *pool = make_shared(memory, bytes + 100000, BLOCK_BYTES, CAPACITY, 0), *second, *third;
  second = attach(memory, bytes + 100000);
  third = attach(memory, bytes);
  CU_ASSERT_EQUAL(mempool_capacity(third), CAPACITY);
  CU_ASSERT(rest_is_whole(second));
  CU_ASSERT(rest_is_whole(third));
  mempool_destroy(third);
  mempool_destroy(second);
  mempool_destroy(pool);
  unmap_shared(memory, bytes + 100000);
}

static void test_attach_not_a_pool_corrupted(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  size_t bytes = 64 * 1024, i;
  unsigned char *memory = map_shared(bytes);
  uint64_t random = test_seed();
  mempool *plain = NULL;
  expect_refused(memory, bytes);
  memset(memory, 0xFF, bytes);
  expect_refused(memory, bytes);
  for (i = 0; i < bytes; i++)
    memory[i] = (unsigned char)test_random(&random);
  expect_refused(memory, bytes);
  for (i = 0; i < bytes; i++)
    memory[i] = (unsigned char)"The quick brown fox jumps over the lazy dog.\n"[i % 45];
  expect_refused(memory, bytes);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&plain, memory, bytes, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  expect_refused(memory, bytes);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(plain));
  mempool_destroy(plain);
  unmap_shared(memory, bytes);
}

static void test_attach_overwritten_pool_corrupted(void)
{
  scene *s = open_scene(CAPACITY, 0);
  void *copy = map_shared(s->g.bytes);
  memcpy(copy, s->g.memory, s->g.bytes);
  memset(copy, 0, 64);
  expect_refused(copy, s->g.bytes);
  memset(copy, 0xA7, s->g.bytes);
  expect_refused(copy, s->g.bytes);
  unmap_shared(copy, s->g.bytes);
  close_scene(s);
}

static void test_attach_of_refused_memory_nothing_written(void)
{
  size_t bytes = 64 * 1024;
  unsigned char *memory = map_shared(bytes);
  memset(memory, 0x6B, bytes);
  CU_ASSERT_EQUAL_FATAL(mprotect(memory, bytes, PROT_READ), 0);
  expect_refused(memory, bytes);
  CU_ASSERT(all_bytes(memory, bytes, 0x6B));
  unmap_shared(memory, bytes);
}

/* ---- Owners ---- */

static void test_owner_from_one_distinct(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *others[40];
  bool seen[1024] = { false };
  size_t i;
  CU_ASSERT_EQUAL(mempool_owner(NULL), 0);
  CU_ASSERT_EQUAL(mempool_owner(s->pool), 1);
  seen[1] = true;
  for (i = 0; i < COUNT_OF(others); i++) {
    uint32_t owner;
    others[i] = attach(s->g.memory, s->g.bytes);
    owner = mempool_owner(others[i]);
    CU_ASSERT_FATAL(owner >= 1 && owner < COUNT_OF(seen));
    CU_ASSERT_FALSE(seen[owner]);
    seen[owner] = true;
  }
  for (i = 0; i < COUNT_OF(others); i++)
    mempool_destroy(others[i]);
  close_scene(s);
}

static void test_owner_after_destroy_used_again(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t i, count = scaled(1000, 10);
  for (i = 0; i < count; i++) {
    mempool *other = NULL;
    void *block;
    if (mempool_attach(&other, s->g.memory, s->g.bytes) != MEMPOOL_OK)
      break;
    block = mempool_alloc(other);
    if (mempool_owner(other) > PEERS_MOST_OWNERS || mempool_free(other, block) != MEMPOOL_OK)
      break;
    mempool_destroy(other);
  }
  CU_ASSERT_EQUAL(i, count);
  close_scene(s);
}

typedef struct crowd {
  void *memory;
  size_t bytes, most;
  mempool **others;
  bool *seen;
} crowd;

/* As many as the pool takes: the next is refused, until one has gone.  The first is the parent's. */
static int fill_with_owners(void *arg)
{
  crowd *c = arg;
  mempool **others = c->others, *more = NULL;
  size_t count;
  for (count = 0; count < c->most - 1; count++) {
    uint32_t owner;
    REQUIRE(mempool_attach(&others[count], c->memory, c->bytes) == MEMPOOL_OK);
    owner = mempool_owner(others[count]);
    REQUIRE(owner > 1 && owner <= c->most && !c->seen[owner]);
    c->seen[owner] = true;
  }
  more = others[0];
  REQUIRE(mempool_attach(&more, c->memory, c->bytes) == MEMPOOL_E_NO_MEMORY);
  REQUIRE(more == NULL);
  if (count != 0) {
    mempool_destroy(others[count / 2]);
    REQUIRE(mempool_attach(&others[count / 2], c->memory, c->bytes) == MEMPOOL_OK);
    REQUIRE(mempool_attach(&more, c->memory, c->bytes) == MEMPOOL_E_NO_MEMORY);
    REQUIRE(rest_is_whole(others[count / 2]));
    REQUIRE(mempool_alloc(others[count / 2]) != NULL);
  }
  return 0;
}

static void expect_most_owners(size_t max_owners, size_t most)
{
  mempool_options options = shared_options(0);
  crowd c = { NULL, 0, most, calloc(most, sizeof(mempool *)), calloc(most + 1, sizeof(bool)) };
  mempool *pool = NULL;
  size_t recovered = 99;
  CU_ASSERT_FATAL(c.others != NULL && c.seen != NULL);
  options.max_owners = max_owners;
  c.bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  c.memory = map_shared(c.bytes);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, c.memory, c.bytes, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  CU_ASSERT(run_child(fill_with_owners, &c));
  /* All of them died at once. */
  CU_ASSERT_EQUAL(mempool_recover_dead(pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, most == 1 ? 0 : 1);
  CU_ASSERT(rest_is_whole(pool));
  if (most != 1)
    mempool_destroy(attach(c.memory, c.bytes));
  mempool_destroy(pool);
  unmap_shared(c.memory, c.bytes);
  free(c.others);
  free(c.seen);
}

static void test_attach_one_too_many_no_memory_until_one_leaves(void)
{
  expect_most_owners(1, 1);
  expect_most_owners(2, 2);
  expect_most_owners(3, 3);
  expect_most_owners(100, 100);
}

static void test_attach_default_most_owners_65534(void)
{
  if (getenv("TEST_SLOW_TOOL") != NULL || sanitized())
    skip_test("takes minutes under this tool");
  else
    expect_most_owners(0, 65534);
}

static void test_create_too_many_owners_invalid_argument(void)
{
  static const size_t bad[] = { 65535, 65536, SIZE_MAX };
  mempool_options options = shared_options(0);
  mempool *pool = NULL;
  size_t i;
  for (i = 0; i < COUNT_OF(bad); i++) {
    options.max_owners = bad[i];
    CU_ASSERT_EQUAL(mempool_create(&pool, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(mempool_required_size(BLOCK_BYTES, CAPACITY, &options), 0);
  }
  options.max_owners = 65534;
  CU_ASSERT_EQUAL(mempool_create(&pool, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  mempool_destroy(pool);
  options.flags |= MEMPOOL_SINGLE_THREADED;
  CU_ASSERT_EQUAL(mempool_create(&pool, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_required_size(BLOCK_BYTES, CAPACITY, &options), 0);
}

/* Who leaves with blocks in its name keeps its number until they are freed or recovered. */
static void test_destroy_holding_blocks_number_kept_until_free(void)
{
  scene *s = open_scene(CAPACITY, 0);
  int by_recovery;
  for (by_recovery = 0; by_recovery < 2; by_recovery++) {
    mempool *second = attach(s->g.memory, s->g.bytes), *others[PEERS_MOST_OWNERS];
    uint32_t owner = mempool_owner(second);
    size_t count = 0, recovered = 99;
    void *blocks[2];
    bool again = false;
    take(second, blocks, 2);
    memset(blocks[1], 0x3E, BLOCK_BYTES);
    mempool_destroy(second);
    CU_ASSERT_EQUAL(stats_of(s->pool).used, 2);
    CU_ASSERT(rest_is_whole(s->pool));
    CU_ASSERT(all_bytes(blocks[1], BLOCK_BYTES, 0x3E));
    while (count < PEERS_MOST_OWNERS && mempool_attach(&others[count], s->g.memory, s->g.bytes) == MEMPOOL_OK)
      CU_ASSERT_NOT_EQUAL(mempool_owner(others[count++]), owner);
    CU_ASSERT_EQUAL(count, PEERS_MOST_OWNERS - 2);
    CU_ASSERT_EQUAL(mempool_free(s->pool, blocks[0]), MEMPOOL_OK);
    CU_ASSERT_EQUAL(mempool_attach(&second, s->g.memory, s->g.bytes), MEMPOOL_E_NO_MEMORY);
    if (by_recovery != 0) {
      CU_ASSERT_EQUAL(mempool_recover(s->pool, owner, &recovered), MEMPOOL_OK);
      CU_ASSERT_EQUAL(recovered, 1);
    } else {
      CU_ASSERT_EQUAL(mempool_free(s->pool, blocks[1]), MEMPOOL_OK);
    }
    again = mempool_attach(&second, s->g.memory, s->g.bytes) == MEMPOOL_OK;
    CU_ASSERT(again);
    if (again) {
      CU_ASSERT_EQUAL(mempool_owner(second), owner);
      mempool_destroy(second);
    }
    while (count != 0)
      mempool_destroy(others[--count]);
    CU_ASSERT(rest_is_whole(s->pool));
  }
  close_scene(s);
}

static int do_nothing(void *arg)
{
  (void)arg;
  return 0;
}

/* Who forked may have a child that works in its name, even with no block: only a recovery frees the number. */
static void test_destroy_has_forked_number_kept_until_recovered(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes), *others[PEERS_MOST_OWNERS];
  uint32_t owner = mempool_owner(second);
  size_t count = 0, recovered = 99;
  CU_ASSERT(run_child(do_nothing, s));
  mempool_destroy(second);
  while (count < PEERS_MOST_OWNERS && mempool_attach(&others[count], s->g.memory, s->g.bytes) == MEMPOOL_OK)
    CU_ASSERT_NOT_EQUAL(mempool_owner(others[count++]), owner);
  CU_ASSERT_EQUAL(count, PEERS_MOST_OWNERS - 2);
  CU_ASSERT_EQUAL(mempool_recover(s->pool, owner, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  second = attach(s->g.memory, s->g.bytes);
  CU_ASSERT_EQUAL(mempool_owner(second), owner);
  mempool_destroy(second);
  while (count != 0)
    mempool_destroy(others[--count]);
  close_scene(s);
}

static int end_parents_handle(void *arg)
{
  scene *s = arg;
  mempool_destroy(s->pool);
  return 0;
}

static void test_destroy_in_child_parents_handle_lives_on(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 99;
  s->block = mempool_alloc(s->pool);
  CU_ASSERT(run_child(end_parents_handle, s));
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT_EQUAL(mempool_free(s->pool, s->block), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

static void test_attach_less_aligned_invalid_argument(void)
{
  mempool_options options = shared_options(0);
  size_t bytes;
  unsigned char *memory;
  mempool *pool = NULL, *second;
  options.alignment = 4096;
  bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  memory = map_shared(bytes + 4096);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, bytes, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  mempool_destroy(pool);
  memmove(memory + 2048, memory, bytes);
  second = pool;
  CU_ASSERT_EQUAL(mempool_attach(&second, memory + 2048, bytes), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_PTR_NULL(second);
  memmove(memory + 4096, memory + 2048, bytes);
  second = attach(memory + 4096, bytes);
  CU_ASSERT(rest_is_whole(second));
  mempool_destroy(second);
  unmap_shared(memory, bytes + 4096);
}

static void test_destroy_one_attachment_others_go_on(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes), *third = attach(s->g.memory, s->g.bytes), *fourth;
  void *block = mempool_alloc(second);
  memset(block, 0x66, BLOCK_BYTES);
  mempool_destroy(s->pool);
  CU_ASSERT_EQUAL(stats_of(second).used, 1);
  CU_ASSERT(all_bytes(block, BLOCK_BYTES, 0x66));
  CU_ASSERT(rest_is_whole(third));
  fourth = attach(s->g.memory, s->g.bytes);
  CU_ASSERT_NOT_EQUAL(mempool_owner(fourth), mempool_owner(second));
  CU_ASSERT_NOT_EQUAL(mempool_owner(fourth), mempool_owner(third));
  mempool_destroy(third);
  CU_ASSERT_EQUAL(mempool_free(fourth, block), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(second));
  mempool_destroy(second);
  s->pool = fourth;
  s->g.pool = fourth;
  close_scene(s);
}

/* The last one that goes leaves the memory alone too. */
static void test_destroy_last_attachment_memory_stays_a_pool(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool_destroy(s->pool);
  s->pool = attach(s->g.memory, s->g.bytes);
  s->g.pool = s->pool;
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

static int act_as_parent(void *arg)
{
  scene *s = arg;
  mempool *own = NULL;
  REQUIRE(mempool_owner(s->pool) == 1);
  REQUIRE(mempool_alloc(s->pool) != NULL);
  REQUIRE(mempool_attach(&own, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_owner(own) != 1);
  REQUIRE(mempool_alloc(own) != NULL);
  atomic_store(&s->owner, mempool_owner(own));
  return 0;
}

/* What it took through its parent's handle is its parent's, and so is not recovered when it has died. */
static void test_fork_child_acts_as_parent_until_it_attaches(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 0;
  mempool *rescuer;
  CU_ASSERT(run_child(act_as_parent, s));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 2);
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 1);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  rescuer = attach(s->g.memory, s->g.bytes);
  CU_ASSERT_EQUAL(mempool_recover(rescuer, 1, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 1);
  CU_ASSERT_EQUAL(stats_of(rescuer).used, 0);
  CU_ASSERT(rest_is_whole(rescuer));
  s->pool = rescuer;
  s->g.pool = rescuer;
  close_scene(s);
}

/* ---- Recovering ---- */

static void test_recover_dead_owner_blocks_come_back_once(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 99;
  uint32_t owner, index = 0;
  void *mine = mempool_alloc(s->pool);
  owner = leave_dead_owner(s, 3);
  CU_ASSERT_NOT_EQUAL(owner, mempool_owner(s->pool));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 4);
  CU_ASSERT_EQUAL(mempool_recover(s->pool, owner, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 3);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT_EQUAL(mempool_block_index(s->pool, mine, &index), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT(rest_is_whole(s->pool));
  CU_ASSERT_EQUAL(mempool_free(s->pool, mine), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(s->pool, s->block), MEMPOOL_E_DOUBLE_FREE);
  close_scene(s);
}

static void test_recover_dead_several_owners_all_come_back(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 99;
  (void)leave_dead_owner(s, 1);
  (void)leave_dead_owner(s, 4);
  (void)leave_dead_owner(s, 0);
  (void)leave_dead_owner(s, 3);
  CU_ASSERT_PTR_NULL(mempool_alloc(s->pool));
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 8);
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

static int hold_until_told(void *arg)
{
  scene *s = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  s->block = mempool_alloc(mine);
  REQUIRE(s->block != NULL);
  memset(s->block, 0x77, BLOCK_BYTES);
  atomic_store(&s->stage, 1);
  REQUIRE(reached(&s->stage, 2));
  REQUIRE(all_bytes(s->block, BLOCK_BYTES, 0x77));
  REQUIRE(mempool_free(mine, s->block) == MEMPOOL_OK);
  mempool_destroy(mine);
  return 0;
}

static void test_recover_dead_living_owner_left_alone(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 99;
  pid_t child = start_child(hold_until_told, s);
  CU_ASSERT(reached(&s->stage, 1));
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT(rest_is_whole(s->pool));
  atomic_store(&s->stage, 2);
  CU_ASSERT(child_was_right(child));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
  close_scene(s);
}

static void test_recover_dead_owner_id_used_again(void)
{
  scene *s = open_scene(CAPACITY, 0);
  uint32_t largest = 0;
  int i, count = PEERS_MOST_OWNERS + 12;
  for (i = 0; i < count; i++) {
    size_t recovered = 0;
    uint32_t owner = leave_dead_owner(s, 1);
    if (owner > largest)
      largest = owner;
    CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
    CU_ASSERT_EQUAL(recovered, 1);
  }
  CU_ASSERT(largest <= PEERS_MOST_OWNERS);
  close_scene(s);
}

static bool ask_for_number(pid_t number)
{
  FILE *stream = fopen("/proc/sys/kernel/ns_last_pid", "we");
  bool asked = stream != NULL && fprintf(stream, "%d", (int)number - 1) > 0;
  if (stream != NULL && fclose(stream) != 0)
    asked = false;
  return asked;
}

static int wait_for_stage_one(void *arg)
{
  scene *s = arg;
  return reached(&s->stage, 1) ? 0 : 1;
}

/* Start times are told in ticks of a hundredth of a second: two in one tick are the same. */
static void until_next_tick(void)
{
  struct timespec from, now;
  (void)clock_gettime(CLOCK_MONOTONIC, &from);
  do {
    (void)sched_yield();
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - from.tv_sec) * 1000000000 + now.tv_nsec - from.tv_nsec < 20000000);
}

#define CANT_TELL 77

/* Where the numbers of processes are ours alone. */
static int give_number_again(void *arg)
{
  scene *s = arg;
  size_t recovered = 0;
  pid_t child, again;
  (void)mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL);
  if (mount("proc", "/proc", "proc", 0, NULL) != 0)
    return CANT_TELL;
  s->pool = lay_out(&s->g, BLOCK_BYTES, CAPACITY, 0);
  atomic_store(&s->count, 2);
  child = start_child(take_and_die, s);
  REQUIRE(child_was_right(child));
  until_next_tick();
  if (!ask_for_number(child))
    return CANT_TELL;
  again = start_child(wait_for_stage_one, s);
  if (again != child)
    return CANT_TELL;
  REQUIRE(mempool_recover_dead(s->pool, &recovered) == MEMPOOL_OK);
  REQUIRE(recovered == 2);
  REQUIRE(rest_is_whole(s->pool));
  atomic_store(&s->stage, 1);
  REQUIRE(child_was_right(again));
  return 0;
}

/* Returns what body returns to a process that is the first of those of a container. */
static int run_contained(int (*body)(void *arg), void *arg)
{
  pid_t first;
  int status = 0;
  if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
    return CANT_TELL;
  first = fork();
  if (first == 0) {
    status = body(arg);
    (void)fflush(stdout);
    _exit(status);
  }
  if (first < 0 || waitpid(first, &status, 0) != first || !WIFEXITED(status))
    return 1;
  return WEXITSTATUS(status);
}

static int enter_namespace(void *arg)
{
  return run_contained(give_number_again, arg);
}

/* A process that came later has the number of one that died: its start time tells. */
static void test_recover_dead_number_taken_by_another_recovered(void)
{
  scene *s = map_shared(sizeof(*s));
  pid_t child = start_child(enter_namespace, s);
  int status = 0;
  bool ended = waitpid(child, &status, 0) == child && WIFEXITED(status);
  CU_ASSERT(ended);
  if (ended && WEXITSTATUS(status) == CANT_TELL)
    skip_test("the system does not let us choose the number of a process");
  else
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
  unmap_shared(s, sizeof(*s));
}

/* In a container, where the processes outside have no numbers. */
static int recover_nobody_outside(void *arg)
{
  scene *s = arg;
  mempool *mine = NULL, *another = NULL;
  size_t recovered = 99;
  if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
    return CANT_TELL;
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_recover_dead(mine, &recovered) == MEMPOOL_OK);
  REQUIRE(recovered == 0);
  while (mempool_attach(&another, s->g.memory, s->g.bytes) == MEMPOOL_OK)
    ;
  REQUIRE(stats_of(mine).used == 1);
  REQUIRE(mempool_recover(mine, atomic_load(&s->stage), &recovered) == MEMPOOL_OK); /* who is sure may still do it */
  REQUIRE(recovered == 1);
  return 0;
}

static int enter_container(void *arg)
{
  return run_contained(recover_nobody_outside, arg);
}

static void test_recover_dead_owner_in_another_container_left_alone(void)
{
  scene *s = open_scene(CAPACITY, 0);
  pid_t child;
  int status = 0;
  bool ended;
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(s->pool));
  atomic_store(&s->stage, mempool_owner(s->pool));
  child = start_child(enter_container, s);
  ended = waitpid(child, &status, 0) == child && WIFEXITED(status);
  CU_ASSERT(ended);
  if (ended && WEXITSTATUS(status) == CANT_TELL)
    skip_test("the system does not let us make a process namespace");
  else
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
  close_scene(s);
}

typedef struct rescue {
  scene *s;
  barrier gates;
  uint32_t owner; /* 0 for all that are dead */
  atomic_uint wrong;
} rescue;

static int recover_as_one_of_two(void *arg)
{
  rescue *r = arg;
  mempool *mine = NULL;
  size_t recovered = 0;
  mempool_status status;
  REQUIRE(mempool_attach(&mine, r->s->g.memory, r->s->g.bytes) == MEMPOOL_OK);
  REQUIRE(meet(&r->gates, 2));
  status = r->owner != 0 ? mempool_recover(mine, r->owner, &recovered) : mempool_recover_dead(mine, &recovered);
  atomic_fetch_add(&r->s->recovered, recovered);
  REQUIRE(status == MEMPOOL_OK);
  mempool_destroy(mine);
  return 0;
}

static void test_recover_two_at_a_time_each_block_once(void)
{
  size_t i, count = scaled(60, 15);
  for (i = 0; i < count; i++) {
    scene *s = open_scene(CAPACITY, 0);
    rescue *r = map_shared(sizeof(*r));
    pid_t children[2];
    r->s = s;
    r->owner = leave_dead_owner(s, 5);
    if (i % 2 == 0)
      r->owner = 0;
    children[0] = start_child(recover_as_one_of_two, r);
    children[1] = start_child(recover_as_one_of_two, r);
    CU_ASSERT(child_was_right(children[0]));
    CU_ASSERT(child_was_right(children[1]));
    CU_ASSERT_EQUAL(atomic_load(&s->recovered), 5);
    CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
    CU_ASSERT(rest_is_whole(s->pool));
    unmap_shared(r, sizeof(*r));
    close_scene(s);
  }
}

static void test_recover_bad_owner_invalid_argument(void)
{
  static const uint32_t bad[] = { 0, 1, PEERS_MOST_OWNERS + 1, 65535, 65536, 0x7fffffff, UINT32_MAX };
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered, i;
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(s->pool));
  for (i = 0; i < COUNT_OF(bad); i++) {
    recovered = 77;
    CU_ASSERT_EQUAL(mempool_recover(s->pool, bad[i], &recovered), MEMPOOL_E_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(recovered, 0);
    CU_ASSERT_EQUAL(mempool_recover(s->pool, bad[i], NULL), MEMPOOL_E_INVALID_ARGUMENT);
  }
  recovered = 77;
  CU_ASSERT_EQUAL(mempool_recover(NULL, 1, &recovered), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(recovered, 0);
  recovered = 77;
  CU_ASSERT_EQUAL(mempool_recover_dead(NULL, &recovered), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, NULL), RECOVERS_DEAD);
  CU_ASSERT_EQUAL(mempool_recover(s->pool, PEERS_MOST_OWNERS, NULL), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  close_scene(s);
}

/* An owner that nobody is, or that nobody is any more, has nothing to give back. */
static void test_recover_owner_nobody_has_nothing_changes(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes);
  uint32_t gone = mempool_owner(second);
  size_t recovered = 77;
  mempool_destroy(second);
  CU_ASSERT_PTR_NOT_NULL(mempool_alloc(s->pool));
  CU_ASSERT_EQUAL(mempool_recover(s->pool, gone, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

static void test_recover_plain_pool_invalid_argument(void)
{
  mempool *pool = NULL;
  size_t recovered = 0;
  void *block;
  CU_ASSERT_EQUAL_FATAL(mempool_create(&pool, BLOCK_BYTES, CAPACITY, NULL), MEMPOOL_OK);
  block = mempool_alloc(pool);
  CU_ASSERT_EQUAL(mempool_recover(pool, 1, &recovered), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_recover_dead(pool, &recovered), MEMPOOL_E_INVALID_ARGUMENT);
  CU_ASSERT_EQUAL(mempool_owner(pool), 0);
  CU_ASSERT_EQUAL(mempool_free(pool, block), MEMPOOL_OK);
  mempool_destroy(pool);
}

static void test_free_after_recover_refused(void)
{
  scene *s = open_scene(CAPACITY, 0);
  size_t recovered = 0;
  void *stale, *now;
  (void)leave_dead_owner(s, 1);
  stale = s->block; /* the child has it at the same address */
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(s->pool, stale), MEMPOOL_E_DOUBLE_FREE);
  now = mempool_alloc(s->pool);
  CU_ASSERT_PTR_NOT_NULL(now);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

/* ---- Blocks across attachments ---- */

static void test_alloc_blocks_freed_by_others_all_taken(void)
{
  static const size_t capacities[] = { 1, 2, 8, 63, 64, 65, 500, 4097 };
  size_t c, i;
  for (c = 0; c < COUNT_OF(capacities); c++) {
    size_t capacity = capacities[c];
    scene *s = open_scene(capacity, 0);
    mempool *others[3];
    void **blocks = calloc(capacity, sizeof(void *));
    CU_ASSERT_PTR_NOT_NULL_FATAL(blocks);
    for (i = 0; i < 3; i++)
      others[i] = attach(s->g.memory, s->g.bytes);
    take(s->pool, blocks, capacity);
    CU_ASSERT_PTR_NULL(mempool_alloc(others[0]));
    for (i = 0; i < capacity; i++)
      CU_ASSERT_EQUAL(mempool_free(others[i % 3], blocks[i]), MEMPOOL_OK);
    for (i = 0; i < 3; i++)
      CU_ASSERT(rest_is_whole(others[i]));
    CU_ASSERT(rest_is_whole(s->pool));
    for (i = 0; i < 3; i++)
      mempool_destroy(others[i]);
    free(blocks);
    close_scene(s);
  }
}

static void test_alloc_freed_last_first(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes);
  void *blocks[CAPACITY];
  size_t i;
  take(s->pool, blocks, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    CU_ASSERT_EQUAL(mempool_free(second, blocks[i]), MEMPOOL_OK);
    CU_ASSERT_PTR_EQUAL(mempool_alloc(second), blocks[i]);
  }
  CU_ASSERT_EQUAL(mempool_free_bulk(s->pool, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(second));
  mempool_destroy(second);
  close_scene(s);
}

static void test_alloc_bulk_burst_across_attachments(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes);
  void *held[5], *blocks[CAPACITY + 1] = { NULL };
  CU_ASSERT_EQUAL(mempool_alloc_bulk(s->pool, held, 5), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(second, blocks, 4), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_PTR_NULL(blocks[0]);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 5);
  CU_ASSERT_EQUAL(mempool_alloc_burst(second, blocks, 4), 3);
  CU_ASSERT_PTR_NULL(blocks[3]);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 8);
  CU_ASSERT_EQUAL(mempool_alloc_burst(second, blocks + 3, 1), 0);
  CU_ASSERT_EQUAL(mempool_free_bulk(s->pool, blocks, 3), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(second, held, 5), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(second, held, 5), MEMPOOL_E_DOUBLE_FREE);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(second, blocks, CAPACITY + 1), MEMPOOL_E_EXHAUSTED);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(second, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(s->pool, blocks, CAPACITY), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(s->pool));
  mempool_destroy(second);
  close_scene(s);
}

static int add_to_figures(void *arg)
{
  scene *s = arg;
  mempool *mine = NULL;
  void *blocks[CAPACITY];
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc_bulk(mine, blocks, CAPACITY - 1) == MEMPOOL_OK);
  REQUIRE(mempool_alloc(mine) == NULL);
  REQUIRE(mempool_alloc_wait(mine, &blocks[CAPACITY - 1], 0) == MEMPOOL_E_EXHAUSTED);
  REQUIRE(mempool_free_bulk(mine, blocks, CAPACITY - 1) == MEMPOOL_OK);
  REQUIRE(mempool_free(mine, blocks[0]) == MEMPOOL_E_DOUBLE_FREE);
  REQUIRE(mempool_free(mine, s) == MEMPOOL_E_FOREIGN_BLOCK);
  mempool_destroy(mine);
  return 0;
}

static void test_get_stats_work_of_two_processes_exact(void)
{
  scene *s = open_scene(CAPACITY, MEMPOOL_COUNTERS);
  mempool *second = attach(s->g.memory, s->g.bytes);
  void *block = mempool_alloc(s->pool);
  mempool_stats stats;
  CU_ASSERT(run_child(add_to_figures, s));
  stats = stats_of(second);
  CU_ASSERT_EQUAL(stats.block_size, BLOCK_BYTES);
  CU_ASSERT_EQUAL(stats.capacity, CAPACITY);
  CU_ASSERT_EQUAL(stats.used, 1);
  CU_ASSERT_EQUAL(stats.available, CAPACITY - 1);
  CU_ASSERT(stats.peak_used >= CAPACITY);
  CU_ASSERT_EQUAL(stats.waiting, 0);
  CU_ASSERT_EQUAL(stats.refused_frees, 2);
  CU_ASSERT_EQUAL(stats.failed_allocs, 2);
  CU_ASSERT_EQUAL(stats.alloc_count, CAPACITY);
  CU_ASSERT_EQUAL(stats.free_count, CAPACITY - 1);
  CU_ASSERT_EQUAL(mempool_free(second, block), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(s->pool).free_count, CAPACITY);
  mempool_destroy(second);
  close_scene(s);
}

typedef struct listed {
  size_t count;
  uint32_t last;
  bool right;
  const mempool *pool;
} listed;

static int list_block(void *block, uint32_t index, void *arg)
{
  listed *l = arg;
  l->right = l->right && (l->count == 0 || index > l->last) && mempool_block_at(l->pool, index) == block;
  l->last = index;
  l->count++;
  return 0;
}

static void test_foreach_blocks_of_all_owners_visited(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second = attach(s->g.memory, s->g.bytes);
  listed l = { 0, 0, true, second };
  void *held[3];
  take(s->pool, held, 2);
  take(second, held + 2, 1);
  (void)leave_dead_owner(s, 2);
  CU_ASSERT_EQUAL(mempool_foreach(second, list_block, &l), MEMPOOL_OK);
  CU_ASSERT_EQUAL(l.count, 5);
  CU_ASSERT(l.right);
  mempool_destroy(second);
  close_scene(s);
}

static int dirty_and_free(void *arg)
{
  scene *s = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  memset(s->block, 0xEE, BLOCK_BYTES);
  REQUIRE(mempool_free(mine, s->block) == MEMPOOL_OK);
  mempool_destroy(mine);
  return 0;
}

static void test_alloc_zero_flag_dirtied_elsewhere_reads_zero(void)
{
  scene *s = open_scene(1, MEMPOOL_ZERO);
  size_t recovered = 0;
  s->block = mempool_alloc(s->pool);
  CU_ASSERT(all_bytes(s->block, BLOCK_BYTES, 0));
  CU_ASSERT(run_child(dirty_and_free, s));
  s->block = mempool_alloc(s->pool);
  CU_ASSERT(all_bytes(s->block, BLOCK_BYTES, 0));
  CU_ASSERT_EQUAL(mempool_free(s->pool, s->block), MEMPOOL_OK);
  /* A block that was recovered had been written to as well. */
  (void)leave_dead_owner(s, 1);
  memset(s->block, 0xDD, BLOCK_BYTES);
  CU_ASSERT_EQUAL(mempool_recover_dead(s->pool, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(recovered, 1);
  s->block = mempool_alloc(s->pool);
  CU_ASSERT(all_bytes(s->block, BLOCK_BYTES, 0));
  close_scene(s);
}

static int run_over(void *arg)
{
  scene *s = arg;
  memset(s->block, 0xEE, BLOCK_BYTES + 1);
  return 0;
}

static void test_free_guard_overrun_elsewhere_corrupted(void)
{
  scene *s = open_scene(CAPACITY, MEMPOOL_GUARD);
  s->block = mempool_alloc(s->pool);
  CU_ASSERT_EQUAL(mempool_check(s->pool), MEMPOOL_OK);
  CU_ASSERT(run_child(run_over, s));
  CU_ASSERT_EQUAL(mempool_check(s->pool), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(mempool_free(s->pool, s->block), MEMPOOL_E_CORRUPTED);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
  CU_ASSERT_EQUAL(mempool_check(s->pool), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

static int find_closed(void *arg)
{
  scene *s = arg;
  void *blocks[2] = { NULL, NULL };
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, s->g.memory, s->g.bytes) == MEMPOOL_OK);
  atomic_store(&s->stage, 1);
  REQUIRE(reached(&s->stage, 2));
  REQUIRE(mempool_alloc(mine) == NULL);
  REQUIRE(mempool_alloc_bulk(mine, blocks, 2) == MEMPOOL_E_CLOSED);
  REQUIRE(mempool_alloc_burst(mine, blocks, 2) == 0);
  REQUIRE(mempool_alloc_wait(mine, blocks, -1) == MEMPOOL_E_CLOSED);
  REQUIRE(mempool_alloc_wait(mine, blocks, 0) == MEMPOOL_E_CLOSED);
  REQUIRE(mempool_free(mine, s->block) == MEMPOOL_OK);
  REQUIRE(mempool_free(mine, s->block) == MEMPOOL_E_DOUBLE_FREE);
  mempool_close(mine);
  mempool_destroy(mine);
  return 0;
}

static void test_close_seen_by_other_process(void)
{
  scene *s = open_scene(CAPACITY, 0);
  pid_t child;
  s->block = mempool_alloc(s->pool);
  child = start_child(find_closed, s);
  CU_ASSERT(reached(&s->stage, 1));
  mempool_close(s->pool);
  atomic_store(&s->stage, 2);
  CU_ASSERT(child_was_right(child));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).failed_allocs, 0);
  close_scene(s);
}

static void test_attach_closed_pool_stays_closed(void)
{
  scene *s = open_scene(CAPACITY, 0);
  mempool *second;
  mempool_close(s->pool);
  second = attach(s->g.memory, s->g.bytes);
  CU_ASSERT_PTR_NULL(mempool_alloc(second));
  CU_ASSERT_EQUAL(mempool_check(second), MEMPOOL_OK);
  mempool_destroy(second);
  close_scene(s);
}

static void test_dump_second_attachment_names_pool(void)
{
  mempool_options options = shared_options(0);
  size_t bytes;
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  void *memory;
  mempool *pool = NULL, *second;
  CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
  options.name = "frames of the left camera";
  bytes = mempool_required_size(BLOCK_BYTES, CAPACITY, &options);
  memory = map_shared(bytes);
  CU_ASSERT_EQUAL_FATAL(mempool_init(&pool, memory, bytes, BLOCK_BYTES, CAPACITY, &options), MEMPOOL_OK);
  second = attach(memory, bytes);
  mempool_dump(second, stream);
  mempool_destroy(second);
  mempool_destroy(pool);
  (void)fclose(stream);
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "frames of the left camera"));
  free(text);
  unmap_shared(memory, bytes);
}

/* ---- Generations ---- */

/* The generation of a block goes round at 2^15: what is stale stays refused before, at and after that. */
static void test_free_generation_goes_round_still_refused(void)
{
  scene *s = open_scene(1, 0);
  mempool *second = attach(s->g.memory, s->g.bytes);
  size_t i, wrong = 0, count = scaled(300000, 4);
  for (i = 0; i < count; i++) {
    mempool *taker = i % 3 == 0 ? second : s->pool, *giver = i % 5 == 0 ? second : s->pool;
    void *block = mempool_alloc(taker);
    wrong += block == NULL || mempool_free(giver, block) != MEMPOOL_OK;
    wrong += mempool_free(taker, block) != MEMPOOL_E_DOUBLE_FREE;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 0);
  CU_ASSERT_EQUAL(stats_of(s->pool).refused_frees, count);
  CU_ASSERT(rest_is_whole(second));
  mempool_destroy(second);
  close_scene(s);
}

/* The same in a pool of several, one of which is out all the time. */
static void test_alloc_generation_goes_round_others_keep_theirs(void)
{
  scene *s = open_scene(3, 0);
  void *kept = mempool_alloc(s->pool);
  size_t i, wrong = 0, count = scaled(200000, 2);
  memset(kept, 0x2F, BLOCK_BYTES);
  for (i = 0; i < count; i++) {
    void *blocks[2] = { mempool_alloc(s->pool), mempool_alloc(s->pool) };
    wrong += blocks[0] == NULL || blocks[1] == NULL || blocks[0] == blocks[1] || blocks[0] == kept || blocks[1] == kept;
    wrong += mempool_free(s->pool, blocks[i % 2]) != MEMPOOL_OK;
    wrong += mempool_free(s->pool, blocks[1 - i % 2]) != MEMPOOL_OK;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT(all_bytes(kept, BLOCK_BYTES, 0x2F));
  CU_ASSERT_EQUAL(stats_of(s->pool).used, 1);
  CU_ASSERT_EQUAL(mempool_free(s->pool, kept), MEMPOOL_OK);
  CU_ASSERT(rest_is_whole(s->pool));
  close_scene(s);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_create_shared_forked_child_sees_same_pool),
    TEST(test_destroy_created_by_parent_child_goes_on),
    TEST(test_init_shared_one_byte_short_no_memory),
    TEST(test_init_shared_any_address_attach_same_address),
    TEST(test_init_shared_with_each_flag_works),
    TEST(test_init_shared_alignments_kept_in_each_view),
    TEST(test_attach_second_view_of_file_same_blocks),
    TEST(test_attach_other_process_other_address_same_blocks),
    TEST(test_attach_copy_of_memory_same_state),
    TEST(test_attach_null_invalid_argument),
    TEST(test_attach_too_small_corrupted),
    TEST(test_attach_larger_memory_works),
    TEST(test_attach_not_a_pool_corrupted),
    TEST(test_attach_overwritten_pool_corrupted),
    TEST(test_attach_of_refused_memory_nothing_written),
    TEST(test_owner_from_one_distinct),
    TEST(test_owner_after_destroy_used_again),
    TEST(test_attach_one_too_many_no_memory_until_one_leaves),
    TEST(test_attach_default_most_owners_65534),
    TEST(test_create_too_many_owners_invalid_argument),
    TEST(test_destroy_holding_blocks_number_kept_until_free),
    TEST(test_destroy_has_forked_number_kept_until_recovered),
    TEST(test_destroy_in_child_parents_handle_lives_on),
    TEST(test_attach_less_aligned_invalid_argument),
    TEST(test_destroy_one_attachment_others_go_on),
    TEST(test_destroy_last_attachment_memory_stays_a_pool),
    TEST(test_fork_child_acts_as_parent_until_it_attaches),
    TEST(test_recover_dead_owner_blocks_come_back_once),
    TEST(test_recover_dead_several_owners_all_come_back),
    TEST(test_recover_dead_living_owner_left_alone),
    TEST(test_recover_dead_owner_id_used_again),
    TEST(test_recover_dead_number_taken_by_another_recovered),
    TEST(test_recover_dead_owner_in_another_container_left_alone),
    TEST(test_recover_two_at_a_time_each_block_once),
    TEST(test_recover_bad_owner_invalid_argument),
    TEST(test_recover_owner_nobody_has_nothing_changes),
    TEST(test_recover_plain_pool_invalid_argument),
    TEST(test_free_after_recover_refused),
    TEST(test_alloc_blocks_freed_by_others_all_taken),
    TEST(test_alloc_freed_last_first),
    TEST(test_alloc_bulk_burst_across_attachments),
    TEST(test_get_stats_work_of_two_processes_exact),
    TEST(test_foreach_blocks_of_all_owners_visited),
    TEST(test_alloc_zero_flag_dirtied_elsewhere_reads_zero),
    TEST(test_free_guard_overrun_elsewhere_corrupted),
    TEST(test_close_seen_by_other_process),
    TEST(test_attach_closed_pool_stays_closed),
    TEST(test_dump_second_attachment_names_pool),
    TEST(test_free_generation_goes_round_still_refused),
    TEST(test_alloc_generation_goes_round_others_keep_theirs),
  };
  give_up_in_time();
  return RUN_TESTS(tests);
}
