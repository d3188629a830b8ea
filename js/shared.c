/* SPDX-License-Identifier: MIT */
/*
 * The pool of MemoryPool.createShared(), that Workers share: the library's own
 * words, hints, counts (S1 to S4 of shared.h) and recovery.  Taking and freeing
 * are written here, for they are short without lanes, and where nothing is to be
 * done to blocks.  Each Worker has an instance of this module over one memory,
 * and its own handle in that, and its stack; nothing here is a variable, for the
 * next instance would clear it.
 *
 * What waits is JavaScript: it sets `sleepers`, looks for a block, and sleeps
 * on `sequence`, as sleep_once() in shared.c does.
 *
 * The memory comes zeroed and holds in this order: the handles, of which that
 * with number 0 is a pattern for the others, the header with the tables, the
 * blocks.
 */
#define SHARED_BARE 1

#include "../lib/geometry.c"
#include "../lib/hints.c"
#include "../lib/owners.c"
#include "../lib/shared.c"

#define EXPORT(name) __attribute__((export_name(#name)))

/* What JavaScript says of a view that bears no word. */
#define ANY_WORD UINT32_MAX

/* Of the handles, of which JavaScript knows the size; the stack grows down from the end of each. */
enum { HANDLE_BYTES = 2048, HANDLE_STACK_BYTES = 1024, HANDLES_MOST = 255,
       HEADER_BEGIN = HANDLE_BYTES * (HANDLES_MOST + 1) };

struct worker {
  uint32_t word; /* of the block that allocate() or look() told of last, for JavaScript to read */
  mempool pool;
  struct room room;
};

_Static_assert(sizeof(struct worker) <= HANDLE_BYTES - HANDLE_STACK_BYTES, "the stack has its place");

/* Where JavaScript looks. */
_Static_assert(offsetof(struct worker, word) == 0 && offsetof(struct shared_header, sleepers) == 132 &&
                 offsetof(struct shared_header, sequence) == 136,
               "JavaScript knows these");

/* The pattern lies behind the stack that initialize() has. */
static struct worker *const pattern = (struct worker *)HANDLE_STACK_BYTES;

EXPORT(initialize) void initialize(void *base, uint32_t stride, uint32_t capacity);
EXPORT(attach) struct worker *attach(void);
EXPORT(detach) void detach(struct worker *worker);
EXPORT(allocate) void *allocate(struct worker *worker);
EXPORT(release) mempool_status release(void *block, uint32_t word, struct worker *worker);
EXPORT(look) mempool_status look_at(const void *block, struct worker *worker);
EXPORT(used) uint32_t used(void);
EXPORT(recover) size_t recover(uint32_t owner, struct worker *worker);

/*
 * ---- What the engine wants of the system ----
 *
 * What it calls besides is not linked in.  So nobody settles the counts after a
 * Worker was terminated inside a call, mempool__shared_settle(); they needn't be
 * right: they never show more than is out (S4), so they can't make a call fail
 * while a block is free.  Where they show less the words are asked, by
 * look_again(), which costs a failing call a look at each; used() always asks
 * the words.
 */

/* No processes, and so none of which could be told that it is gone. */
uint32_t mempool__os_process(void)
{
  return 0;
}

uint32_t mempool__os_process_space(void)
{
  return 0;
}

uint64_t mempool__os_process_start(uint32_t process)
{
  (void)process;
  return 1;
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  (void)__builtin_wasm_memory_atomic_notify((int *)word, UINT32_MAX);
}

/* What compilers may ask for: one instruction, where there is bulk memory. */
void *memset(void *memory, int byte, size_t bytes)
{
  unsigned char *at = memory;
  while (bytes-- > 0)
    *at++ = (unsigned char)byte;
  return memory;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
  unsigned char *at = to;
  const unsigned char *next = from;
  while (bytes-- > 0)
    *at++ = *next++;
  return to;
}

/* ---- Coming and going ---- */

/* JavaScript has left room for all that before the blocks. */
void initialize(void *base, uint32_t stride, uint32_t capacity)
{
  struct room *room = &pattern->room;
  struct layout plan = { .stride = stride };
  uint32_t *table = (uint32_t *)(HEADER_BEGIN + sizeof(struct shared_header) + HANDLES_MOST * sizeof(uint64_t));
  uint32_t level;
  room->header = (struct shared_header *)HEADER_BEGIN;
  store_relaxed_u32(&room->header->owners_used, HANDLES_MOST);
  room->owners = (atomic_u64 *)(room->header + 1);
  room->max_owners = HANDLES_MOST;
  room->capacity = capacity;
  room->batch = 1;
  room->hints.depth = mempool__hints_plan(room->hints.counts, capacity);
  for (level = 0; level < room->hints.depth; level++) {
    room->hints.levels[level] = (atomic_u32 *)table;
    table += room->hints.counts[level];
  }
  room->words = (atomic_u32 *)table;
  store_relaxed_u32(&pattern->pool.mode, MODE_SHARED);
  mempool__geometry_init(&pattern->pool.geometry, &plan, capacity, base);
}

static bool holds(uint32_t owner)
{
  uint32_t i;
  for (i = 0; i < pattern->room.capacity; i++) {
    if (word_owner(load_relaxed_u32(&pattern->room.words[i])) == owner)
      return true;
  }
  return false;
}

/*
 * Numbers go round, as in claim_slot() of owners.c.  Nobody has a stack yet
 * when this is called, so it gets by without.
 */
struct worker *attach(void)
{
  struct shared_header *header = pattern->room.header;
  uint32_t first = load_relaxed_u32(&header->next_owner);
  uint32_t i;
  for (i = 0; i < HANDLES_MOST; i++) {
    uint32_t owner = (first + i) % HANDLES_MOST + 1;
    atomic_u64 *slot = room_slot(&pattern->room, owner);
    uint64_t old = load_relaxed_u64(slot);
    if ((old == OWNER_FREE || (state_of(old) == OWNER_LEFT && !holds(owner))) &&
        compare_exchange_acq_rel_u64(slot, old, OWNER_ATTACHED | this_process(PROCESS_SHIFT))) {
      struct worker *worker = (struct worker *)(owner * HANDLE_BYTES);
      store_relaxed_u32(&header->next_owner, owner);
      *worker = *pattern;
      worker->pool.room = &worker->room;
      worker->room.owner = owner;
      worker->room.tag = owner << WORD_OWNER_SHIFT | WORD_LIVE;
      return worker;
    }
  }
  return NULL;
}

/* The number is kept as long as blocks are out in its name; then the next who attaches may have it. */
void detach(struct worker *worker)
{
  atomic_u64 *slot = room_slot(&worker->room, worker->room.owner);
  uint64_t old = load_relaxed_u64(slot);
  if (state_of(old) == OWNER_ATTACHED)
    (void)compare_exchange_acq_rel_u64(slot, old, holds(worker->room.owner) ? OWNER_LEFT : OWNER_FREE);
}

/* ---- Blocks ---- */

/* A block that the hints name, or one that was never taken; either may be somebody else's by now. */
static bool next_candidate(struct room *room, uint32_t *index)
{
  uint32_t leaf = 0;
  uint32_t bit = mempool__hints_take(&room->hints, 0, true, &leaf);
  if (bit != 0) {
    *index = leaf * HINTS_BITS + (uint32_t)__builtin_ctz(bit);
    return true;
  }
  while ((*index = load_relaxed_u32(&room->header->fresh)) < room->capacity) {
    if (compare_exchange_relaxed_u32(&room->header->fresh, *index, *index + 1))
      return true;
  }
  return false;
}

/*
 * When there is no candidate: whether every block is out, by the counts, or by
 * the words where the counts show less for longer than a call takes.  As look()
 * of the library's shared.c.
 */
static enum scan look_again(struct room *room, int looks, uint32_t *index)
{
  uint64_t found = 0;
  enum scan result = SCAN_CHANGED;
  bool doubt;
  if (mempool__shared_out(room, &doubt) >= (int64_t)room->capacity)
    return SCAN_ALL_OUT;
  if (looks >= LOOKS_WITHOUT_SCAN)
    result = scan(room, &found);
  *index = candidate_index(found);
  return result;
}

/* The words are in the memory: what it says of indices is not trusted. */
static bool take_block(struct worker *worker, uint32_t index)
{
  uint32_t word;
  if (index >= worker->room.capacity)
    return false;
  word = load_relaxed_u32(&worker->room.words[index]);
  worker->word = word_taken(word, worker->room.tag);
  return word_condition(word) == WORD_FREE && take_candidate(&worker->room, candidate(index, word), &index);
}

void *allocate(struct worker *worker)
{
  struct room *room = &worker->room;
  int looks = 0;
  while (looks < LOOKS_MOST) {
    uint32_t index;
    if (!next_candidate(room, &index)) {
      enum scan result = look_again(room, looks++, &index);
      if (result == SCAN_ALL_OUT)
        return NULL;
      if (result == SCAN_CHANGED)
        continue;
    }
    if (take_block(worker, index)) {
      add_acq_rel_u64(&room->header->others.allocs, 1);
      return geometry_address(&worker->pool.geometry, index);
    }
  }
  return NULL;
}

/* What a block is, to who has a view with that word of it; and what its word is. */
static mempool_status judge(struct worker *worker, uintptr_t index, uint32_t word)
{
  if (index >= worker->room.capacity)
    return MEMPOOL_E_FOREIGN_BLOCK;
  worker->word = load_acquire_u32(&worker->room.words[index]);
  if (word_condition(worker->word) != WORD_LIVE || (word != ANY_WORD && word != worker->word))
    return MEMPOOL_E_DOUBLE_FREE;
  return MEMPOOL_OK;
}

mempool_status release(void *block, uint32_t word, struct worker *worker)
{
  struct room *room = &worker->room;
  uintptr_t index = geometry_index(&worker->pool.geometry, block);
  mempool_status status = judge(worker, index, word);
  if (status != MEMPOOL_OK)
    return status;
  /* In this order, by S4. */
  add_acq_rel_u64(&room->header->others.frees, 1);
  if (!compare_exchange_seq_cst_u32(&room->words[index], worker->word, word_freed(worker->word))) {
    room_take_back(room, 1);
    return MEMPOOL_E_DOUBLE_FREE;
  }
  mempool__hints_set(&room->hints, index / HINTS_BITS, UINT32_C(1) << index % HINTS_BITS, false);
  wake_if_any(room);
  return MEMPOOL_OK;
}

/* Whether a block starts there, and is out. */
mempool_status look_at(const void *block, struct worker *worker)
{
  return judge(worker, geometry_index(&worker->pool.geometry, block), ANY_WORD);
}

/* By the words: they are right whoever died where. */
uint32_t used(void)
{
  const struct room *room = &pattern->room;
  uint32_t out = 0;
  uint32_t i;
  for (i = 0; i < room->capacity; i++)
    out += word_condition(load_acquire_u32(&room->words[i])) != WORD_FREE;
  return out;
}

size_t recover(uint32_t owner, struct worker *worker)
{
  size_t back = 0;
  if (owner > HANDLES_MOST || owner == worker->room.owner)
    return 0;
  (void)recover_one(&worker->pool, owner, load_acquire_u64(room_slot(&worker->room, owner)), OWNER_FREE, &back);
  return back + recover_abandoned(&worker->pool);
}
