/* SPDX-License-Identifier: MIT */
/* Taking and freeing blocks of a pool that processes share. */
#include "shared.h"

#if ATOMICS_LOCK_FREE

#include "care.h"
#include "debug.h"
#include "os.h"

#include <string.h>

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* How many candidates are gathered at once: what a leaf of the hints holds, and a batch of fresh blocks at most. */
enum { GATHER_MOST = HINTS_BITS };

/* ---- Lanes ---- */

/* The calling thread's lane, NULL if it has none. */
static ALWAYS_INLINE struct lane *lane_of_caller(const struct room *room)
{
  uintptr_t slot = LANES_MOST != 0 ? thread_slot() : THREAD_SLOTS;
  return likely(slot < THREAD_SLOTS) ? room->seats[slot].lane : NULL;
}

/*
 * The thread itself may be inside its lane, when this is a signal handler that
 * interrupted it.
 */
static ALWAYS_INLINE bool lane_is_idle(const struct lane *lane)
{
  return load_relaxed_u32(&lane->busy) == BUSY_NOT;
}

/* The order in which a lane is written counts if the thread is killed, or interrupted: no other thread is concerned. */
static ALWAYS_INLINE void lane_enter(struct lane *lane, uint32_t busy)
{
  store_relaxed_u32(&lane->busy, busy);
  fence_light();
}

static ALWAYS_INLINE void lane_leave(struct lane *lane)
{
  /* Release, pairs with the acquire in settle(): who sees nobody inside sees all that was done inside. */
  store_release_u32(&lane->busy, BUSY_NOT);
}

/* How many candidates there are, whatever somebody may have written. */
static uint32_t lane_count(const struct room *room, const struct lane *lane)
{
  uint32_t count = (uint32_t)(load_relaxed_u64(&lane->state) & LANE_COUNT_MASK);
  return count <= room->lane_slots ? count : 0;
}

static void lane_set_count(struct lane *lane, uint32_t count)
{
  uint64_t state = load_relaxed_u64(&lane->state);
  store_release_u64(&lane->state, (state & ~LANE_COUNT_MASK) | count);
}

/* Moves the oldest candidates of a lane to the hints; runs of neighbours go in one step. */
static void lane_flush(struct room *room, struct lane *lane, uint32_t flushed)
{
  uint32_t count = lane_count(room, lane);
  uint32_t i;
  uint32_t leaf = 0;
  uint32_t bits = 0;
  for (i = 0; i < flushed && i < count; i++) {
    uint32_t index = candidate_index(load_relaxed_u64(&lane->slots[i]));
    if (index >= room->capacity)
      continue;
    if (bits != 0 && index / HINTS_BITS != leaf) {
      mempool__hints_set(&room->hints, leaf, bits, false);
      bits = 0;
    }
    leaf = index / HINTS_BITS;
    bits |= UINT32_C(1) << index % HINTS_BITS;
  }
  if (bits != 0)
    mempool__hints_set(&room->hints, leaf, bits, false);
  for (i = flushed; i < count; i++)
    store_relaxed_u64(&lane->slots[i - flushed], load_relaxed_u64(&lane->slots[i]));
  lane_set_count(lane, count > flushed ? count - flushed : 0);
}

void mempool__lane_release(struct room *room, struct lane *lane)
{
  lane_flush(room, lane, room->lane_slots);
  /* Release, pairs with the acquire in claim_lane(): the next owner goes on with these counts. */
  store_release_u32(&lane->owner, 0);
}

/* Notes in the owner's slot who works in its name. */
static void note(struct room *room, uint64_t bit_if_first, uint64_t bit_else)
{
  enum { TRIES = 16 };
  atomic_u64 *slot = room_slot(room, room->owner);
  int i;
  for (i = 0; i < TRIES; i++) {
    uint64_t old = load_relaxed_u64(slot);
    uint64_t bit = (old & bit_if_first) == 0 ? bit_if_first : bit_else;
    unsigned state = (unsigned)(old & OWNER_STATE);
    if ((state != OWNER_ATTACHED && state != OWNER_LEFT) || compare_exchange_acq_rel_u64(slot, old, old | bit))
      return;
  }
}

/* Lanes from here on are unused: S4's readers must know before this one is used. */
static void raise_lanes_used(struct room *room, uint32_t used)
{
  enum { TRIES = 2 * LANES_MOST };
  int i;
  for (i = 0; i < TRIES; i++) {
    uint32_t old = load_relaxed_u32(&room->header->lanes_used);
    if (old >= used || compare_exchange_seq_cst_u32(&room->header->lanes_used, old, used))
      return;
  }
}

/*
 * Gives the calling thread a lane, if there is one left.  Who got none asks
 * again now and then.  A signal handler that interrupts this finds tries
 * changed, and goes without.
 */
static struct lane *claim_lane(struct room *room)
{
  enum { PATIENCE = 256 };
  struct seat *seat;
  uint32_t i;
  if (LANES_MOST == 0)
    return NULL;
  mempool__thread_join_at_once();
  if (thread_slot() >= THREAD_SLOTS)
    return NULL;
  seat = &room->seats[thread_slot()];
  if (seat->tries++ % PATIENCE != 0 || seat->lane != NULL)
    return NULL;
  fence_light();
  for (i = 0; i < room->lane_count; i++) {
    struct lane *lane = room_lane(room, i);
    if (load_relaxed_u32(&lane->owner) == 0 && compare_exchange_acquire_u32(&lane->owner, 0, room->owner)) {
      raise_lanes_used(room, i + 1);
      note(room, OWNER_HAS_LANE, OWNER_MIXED);
      store_relaxed_u32(&lane->busy, BUSY_NOT);
      seat->lane = lane;
      return lane;
    }
  }
  return NULL;
}

/* ---- Looking for candidates ---- */

static uint32_t from_hints(const struct room *room, uint32_t *cursor, uint64_t *found, uint32_t most)
{
  enum { LEAVES = 64 };
  int i;
  for (i = 0; i < LEAVES; i++) {
    uint32_t count = 0;
    uint32_t bits = mempool__hints_take(&room->hints, *cursor, most < HINTS_BITS, cursor);
    if (bits == 0)
      return 0;
    while (bits != 0) {
      uint32_t bit = 31 - (uint32_t)__builtin_clz(bits);
      uint32_t index = *cursor * HINTS_BITS + bit;
      bits &= ~(UINT32_C(1) << bit);
      if (index < room->capacity) {
        uint32_t word = load_relaxed_u32(&room->words[index]);
        if (word_condition(word) == WORD_FREE)
          found[count++] = candidate(index, word);
      }
    }
    if (count > 0)
      return count;
  }
  return 0;
}

/* Batches end at multiples of their size, so that words of blocks of two lanes share no cache line at first. */
static uint32_t from_fresh(const struct room *room, uint64_t *found, uint32_t most)
{
  enum { TRIES = 64 };
  uint32_t batch = most < room->batch ? 1 : room->batch;
  int i;
  for (i = 0; i < TRIES; i++) {
    uint32_t first = load_relaxed_u32(&room->header->fresh);
    uint32_t end;
    uint32_t count = 0;
    if (first >= room->capacity)
      return 0;
    end = room->capacity - first > batch ? first + batch - first % batch : room->capacity;
    if (!compare_exchange_relaxed_u32(&room->header->fresh, first, end))
      continue;
    while (end-- > first)
      found[count++] = candidate(end, load_relaxed_u32(&room->words[end]));
    return count;
  }
  return 0;
}

/* One that lies in somebody's lane; it stays there, to be found stale. */
static uint32_t from_lanes(const struct room *room, uint64_t *found)
{
  uint32_t lanes = room_lanes(room);
  uint32_t i;
  for (i = 0; i < lanes; i++) {
    const struct lane *lane = room_lane(room, i);
    uint32_t count = lane_count(room, lane);
    while (count-- > 0) {
      uint64_t seen = load_relaxed_u64(&lane->slots[count]);
      uint32_t index = candidate_index(seen);
      if (index < room->capacity && load_relaxed_u32(&room->words[index]) == candidate_word(seen)) {
        *found = candidate(index, candidate_word(seen));
        return 1;
      }
    }
  }
  return 0;
}

/* Finds up to `most` candidates; the one to be taken first comes last.  In a small pool the peak is kept close. */
static uint32_t gather(const struct room *room, uint32_t *cursor, uint64_t found[GATHER_MOST], uint32_t most)
{
  uint32_t count = from_hints(room, cursor, found, most);
  if (count == 0 && room->batch == 1)
    count = from_lanes(room, found);
  if (count == 0)
    count = from_fresh(room, found, most);
  if (count == 0 && room->batch > 1)
    count = from_lanes(room, found);
  return count;
}

/* ---- Whether every block is out ---- */

/*
 * S4.  Step by step, for the instant of the fence:
 *
 * 1. An alloc that is in the first sum took its block before: allocs is
 *    stored with release after that, and read here with acquire.
 * 2. A free that took effect before has increased frees before that, and its
 *    compare-and-swap is sequentially consistent, as the fence is: so the
 *    second sum has it.
 * 3. So at that instant at least allocs - frees blocks were not free.
 *
 * Which lanes are in use is read again for the second sum, by the same
 * argument.
 */
int64_t mempool__shared_out(struct room *room, bool *doubt)
{
  struct shared_header *header = room->header;
  uint64_t settled = load_acquire_u64(&header->settled);
  uint64_t out = settled / SETTLED_ONE + load_acquire_u64(&header->others.allocs);
  uint32_t lanes = room_lanes(room);
  uint32_t i;
  for (i = 0; i < lanes; i++)
    out += load_acquire_u64(&room_lane(room, i)->state) / LANE_ALLOC;
  fence_full();
  lanes = room_lanes(room);
  out -= load_acquire_u64(&header->others.frees);
  for (i = 0; i < lanes; i++)
    out -= load_acquire_u64(&room_lane(room, i)->frees);
  *doubt = (settled & SETTLED_DOUBT) != 0;
  return (int64_t)out;
}

static uint64_t all_frees(const struct room *room)
{
  uint64_t frees = load_acquire_u64(&room->header->others.frees);
  uint32_t lanes = room_lanes(room);
  uint32_t i;
  for (i = 0; i < lanes; i++)
    frees += load_acquire_u64(&room_lane(room, i)->frees);
  return frees;
}

/* Reads every word.  False, and a candidate, if one is free; else what they were, in 64 bits. */
static bool read_words(const struct room *room, uint64_t *found, uint64_t *hash)
{
  uint32_t index;
  *hash = 0;
  for (index = 0; index < room->capacity; index++) {
    uint32_t word = load_relaxed_u32(&room->words[index]);
    if (word_condition(word) == WORD_FREE) {
      *found = candidate(index, word);
      return false;
    }
    *hash = (*hash ^ word) * UINT64_C(0x9e3779b97f4a7c15) + (*hash >> 32);
  }
  return true;
}

enum scan { SCAN_FOUND, SCAN_ALL_OUT, SCAN_CHANGED };

/*
 * Where the counts can't tell, because somebody died or lingers inside a call:
 * reads all words twice.  If all are out and the same both times, each was so
 * from its first reading to its second, unless it came round to the same
 * generation meanwhile, which frees would tell; so at the fence all were out.
 */
static enum scan scan(const struct room *room, uint64_t *found)
{
  uint64_t frees = all_frees(room);
  uint64_t first;
  uint64_t second;
  if (!read_words(room, found, &first))
    return SCAN_FOUND;
  fence_full(); /* pairs with the compare-and-swap of a free, as in mempool__shared_out() */
  if (!read_words(room, found, &second))
    return SCAN_FOUND;
  return first == second && all_frees(room) == frees ? SCAN_ALL_OUT : SCAN_CHANGED;
}

/* ---- Taking ---- */

static ALWAYS_INLINE bool take_candidate(const struct room *room, uint64_t chosen, uint32_t *index)
{
  uint32_t word = candidate_word(chosen);
  *index = candidate_index(chosen);
  /*
   * Acquire, pairs with the release in the free: what the last holder wrote
   * into the block is seen.  Release, so that who sees the block taken sees
   * the lane busy (settle()).
   */
  return likely(*index < room->capacity) &&
         likely(compare_exchange_acq_rel_u32(&room->words[*index], word, word_taken(word, room->tag)));
}

/* Takes the first candidate of a lane, inside it, that is good; drops those that aren't. */
static bool take_from_lane(const struct room *room, struct lane *lane, uint32_t *index)
{
  uint32_t count;
  while ((count = lane_count(room, lane)) > 0) {
    uint64_t state = load_relaxed_u64(&lane->state);
    bool taken = take_candidate(room, load_relaxed_u64(&lane->slots[count - 1]), index);
    store_release_u64(&lane->state, taken ? state + LANE_ALLOC - 1 : state - 1);
    if (taken)
      return true;
  }
  return false;
}

/* How often to look before giving up on a pool that never holds still: only a hostile one doesn't. */
enum { LOOKS_MOST = 1000, LOOKS_WITHOUT_SCAN = 3 };

/* Finds candidates, or that there are none: then *all_out. */
static uint32_t look(struct room *room, uint32_t *cursor, uint64_t found[GATHER_MOST], uint32_t most, int looks,
                     bool *all_out)
{
  uint32_t count = gather(room, cursor, found, most);
  bool doubt;
  if (count > 0)
    return count;
  if (mempool__shared_out(room, &doubt) >= (int64_t)room->capacity) {
    *all_out = true;
  } else if (looks >= LOOKS_WITHOUT_SCAN) {
    switch (scan(room, found)) {
    case SCAN_FOUND:
      return 1;
    case SCAN_ALL_OUT:
      *all_out = true;
      if (doubt)
        (void)mempool__shared_settle(room, 1);
      break;
    case SCAN_CHANGED:
      break;
    }
  }
  return 0;
}

/* Takes a block for a thread that is inside its lane. */
static bool find_inside(struct room *room, struct lane *lane, uint32_t *index)
{
  uint64_t found[GATHER_MOST];
  uint32_t cursor = load_relaxed_u32(&lane->cursor);
  uint32_t most = room->lane_slots < GATHER_MOST ? 1 : GATHER_MOST;
  bool all_out = false;
  int looks;
  for (looks = 0; looks < LOOKS_MOST && !all_out; looks++) {
    uint32_t count;
    uint32_t i;
    if (take_from_lane(room, lane, index)) {
      store_relaxed_u32(&lane->cursor, cursor);
      return true;
    }
    count = look(room, &cursor, found, most > room->batch ? most : room->batch, looks, &all_out);
    for (i = 0; i < count; i++)
      store_relaxed_u64(&lane->slots[i], found[i]);
    lane_set_count(lane, count);
  }
  return false;
}

/* Takes a block for a thread that has no lane, or that is a signal handler's inside of it. */
static bool find_outside(struct room *room, uint32_t *index)
{
  uint64_t found[GATHER_MOST];
  uint32_t cursor = 0;
  bool all_out = false;
  bool taken = false;
  int looks;
  if (load_relaxed_u32(&room->mixed_noted) == 0) {
    note(room, OWNER_MIXED, OWNER_MIXED);
    store_relaxed_u32(&room->mixed_noted, 1);
  }
  room_enter(room, OUTSIDE_CALL);
  for (looks = 0; looks < LOOKS_MOST && !all_out && !taken; looks++)
    taken = look(room, &cursor, found, 1, looks, &all_out) > 0 && take_candidate(room, found[0], index);
  if (taken)
    add_acq_rel_u64(&room->header->others.allocs, 1);
  room_leave(room, OUTSIDE_CALL);
  return taken;
}

/* Sees to a block that was just taken, as held if there may be something to do. */
static void make_ready(mempool *pool, uint32_t index)
{
  struct room *room = pool->room;
  uint32_t word = load_relaxed_u32(&room->words[index]);
  bool first = (word & WORD_GENERATION) == WORD_STEP; /* or so long ago that it doesn't matter */
  if (first)
    mempool__care_begin(pool, index);
  if (!mempool__care_taken(pool, index, first))
    add_relaxed_u64(&room->header->damaged_blocks, 1);
  /* Release, pairs with whoever looks at the canary of a live block.  Fails if somebody recovered us. */
  (void)compare_exchange_acq_rel_u32(&room->words[index], word, (word & ~(uint32_t)WORD_CONDITION) | WORD_LIVE);
}

static bool is_closed(const struct room *room)
{
  return load_relaxed_u32(&room->header->closed) != 0;
}

bool mempool__shared_is_closed(const mempool *pool)
{
  return is_closed(pool->room);
}

/* Takes one block, or tells why there is none. */
static mempool_status take(mempool *pool, void **block)
{
  struct room *room = pool->room;
  struct lane *lane = lane_of_caller(room);
  uint32_t index = 0;
  bool taken;
  if (is_closed(room))
    return MEMPOOL_E_CLOSED;
  if (lane == NULL)
    lane = claim_lane(room);
  if (lane != NULL && lane_is_idle(lane)) {
    lane_enter(lane, BUSY_ALLOC);
    taken = find_inside(room, lane, &index);
    lane_leave(lane);
  } else {
    taken = find_outside(room, &index);
  }
  if (!taken)
    return MEMPOOL_E_EXHAUSTED;
  if (!room_is_plain(room))
    make_ready(pool, index);
  *block = geometry_address(&pool->geometry, index);
  return MEMPOOL_OK;
}

static void count_failure(struct room *room)
{
  add_relaxed_u64(&room->header->failed_allocs, 1);
}

static __attribute__((noinline)) void *alloc_long(mempool *pool)
{
  void *block = NULL;
  if (take(pool, &block) == MEMPOOL_E_EXHAUSTED)
    count_failure(pool->room);
  return block;
}

void *mempool__shared_alloc(mempool *pool)
{
  struct room *room = pool->room;
  struct lane *lane = lane_of_caller(room);
  if (likely(lane != NULL) && likely(lane_is_idle(lane)) && likely(room_is_plain(room)) && likely(!is_closed(room))) {
    uint64_t state;
    uint32_t top;
    uint32_t index;
    lane_enter(lane, BUSY_ALLOC);
    state = load_relaxed_u64(&lane->state);
    top = (uint32_t)(state & LANE_COUNT_MASK) - 1;
    if (likely(top < room->lane_slots) && take_candidate(room, load_relaxed_u64(&lane->slots[top]), &index)) {
      store_release_u64(&lane->state, state + LANE_ALLOC - 1);
      lane_leave(lane);
      return geometry_address(&pool->geometry, index);
    }
    lane_leave(lane);
  }
  return alloc_long(pool);
}

/* ---- Giving back ---- */

void mempool__shared_wake_all(struct room *room)
{
  (void)add_acq_rel_u32(&room->header->sequence, 1);
  mempool__os_wake_all_shared(&room->header->sequence);
}

/*
 * Wakes everybody: one alone may be killed before it takes the block.  Who
 * begins to sleep meanwhile sets `sleepers` again, or has read the sequence
 * before it changes (S7).  If we are killed here the next free wakes them.
 */
static __attribute__((noinline)) void wake_sleepers(struct room *room)
{
  (void)exchange_seq_cst_u32(&room->header->sleepers, SLEEPERS_WAKING);
  mempool__shared_wake_all(room);
  (void)compare_exchange_seq_cst_u32(&room->header->sleepers, SLEEPERS_WAKING, SLEEPERS_NONE);
}

/* After a block came free.  Sequentially consistent, pairs with the store in sleep_once(). */
static ALWAYS_INLINE void wake_if_any(struct room *room)
{
  if (unlikely(load_seq_cst_u32(&room->header->sleepers) != SLEEPERS_NONE))
    wake_sleepers(room);
}

/*
 * Frees a block in this owner's name whose word was seen, by a thread that is
 * inside its lane, in a state with room for one more candidate.  False if
 * somebody else was faster; then what was counted is taken back, as
 * room_take_back() does.
 */
static ALWAYS_INLINE bool free_inside(struct room *room, struct lane *lane, uint64_t state, uint32_t index,
                                      uint32_t word)
{
  uint64_t frees = load_relaxed_u64(&lane->frees);
  uint64_t place = state & LANE_COUNT_MASK;
  bool freed;
  store_relaxed_u64(&lane->slots[place], candidate(index, word));
  fence_light();
  store_relaxed_u32(&lane->busy, busy_freeing(frees, place));
  fence_light();
  store_release_u64(&lane->frees, frees + 1);
  /*
   * Release, pairs with the acquire in take_candidate().  Sequentially
   * consistent, for the looks of those who find no block, and before that of
   * ours at who sleeps.
   */
  freed = compare_exchange_seq_cst_u32(&room->words[index], word, word_freed(word));
  store_release_u64(&lane->state, likely(freed) ? state + 1 : state + LANE_ALLOC);
  lane_leave(lane);
  if (unlikely(!freed))
    add_relaxed_u64(&room->header->undone, 1);
  return freed;
}

static bool free_outside(struct room *room, uint32_t index, uint32_t word)
{
  bool freed;
  room_enter(room, OUTSIDE_CALL);
  add_acq_rel_u64(&room->header->others.frees, 1);
  freed = compare_exchange_seq_cst_u32(&room->words[index], word, word_freed(word));
  if (freed)
    mempool__hints_set(&room->hints, index / HINTS_BITS, UINT32_C(1) << index % HINTS_BITS, false);
  else
    room_take_back(room, 1);
  room_leave(room, OUTSIDE_CALL);
  return freed;
}

/* In a plain pool, where there is nothing to be said. */
static ALWAYS_INLINE mempool_status refuse_plainly(struct room *room, mempool_status status)
{
  add_relaxed_u64(&room->header->refused_frees, 1);
  return status;
}

static mempool_status refuse(mempool *pool, const void *block, mempool_status status)
{
  if (!room_is_plain(pool->room))
    mempool__debug_say_refused(pool, block, status);
  return refuse_plainly(pool->room, status);
}

/* Frees a block in this owner's name, whose word was seen to be live or, by us, held. */
static bool let_go(struct room *room, uint32_t index, uint32_t word)
{
  struct lane *lane = lane_of_caller(room);
  uint64_t state;
  if (lane == NULL)
    lane = claim_lane(room);
  if (lane == NULL || !lane_is_idle(lane))
    return free_outside(room, index, word);
  lane_enter(lane, BUSY_BEGINS);
  state = load_relaxed_u64(&lane->state);
  if ((state & LANE_COUNT_MASK) >= room->lane_slots) {
    lane_flush(room, lane, room->lane_slots / 2 + 1);
    state = (state & ~LANE_COUNT_MASK) | lane_count(room, lane);
    if ((state & LANE_COUNT_MASK) >= room->lane_slots) /* somebody wrote nonsense */
      state &= ~LANE_COUNT_MASK;
  }
  return free_inside(room, lane, state, index, word);
}

static __attribute__((noinline)) mempool_status free_long(mempool *pool, void *block)
{
  struct room *room = pool->room;
  uintptr_t index = geometry_index(&pool->geometry, block);
  mempool_status status = MEMPOOL_OK;
  uint32_t word;
  if (block == NULL)
    return MEMPOOL_OK;
  if (index >= room->capacity)
    return refuse(pool, block, MEMPOOL_E_FOREIGN_BLOCK);
  word = load_relaxed_u32(&room->words[index]);
  if (word_condition(word) != WORD_LIVE)
    return refuse(pool, block, MEMPOOL_E_DOUBLE_FREE);
  if (!room_is_plain(room) || word_owner(word) != room->owner) {
    uint32_t held = word_freed(word) | room->owner << WORD_OWNER_SHIFT | WORD_HELD;
    if (!compare_exchange_acq_rel_u32(&room->words[index], word, held))
      return refuse(pool, block, MEMPOOL_E_DOUBLE_FREE);
    word = held;
    if (!room_is_plain(room))
      status = mempool__care_freed(pool, index);
    if (status != MEMPOOL_OK)
      add_relaxed_u64(&room->header->damaged_blocks, 1);
  }
  if (!let_go(room, (uint32_t)index, word))
    return refuse(pool, block, MEMPOOL_E_DOUBLE_FREE);
  wake_if_any(room);
  return status;
}

mempool_status mempool__shared_free(mempool *pool, void *block)
{
  struct room *room = pool->room;
  struct lane *lane = lane_of_caller(room);
  uintptr_t index = geometry_index(&pool->geometry, block);
  if (likely(lane != NULL) && likely(lane_is_idle(lane)) && likely(room_is_plain(room)) &&
      likely(index < room->capacity)) {
    uint32_t word = load_relaxed_u32(&room->words[index]);
    if (likely((word & ~(uint32_t)WORD_GENERATION) == room->tag)) { /* live, and in this owner's name */
      uint64_t state;
      lane_enter(lane, BUSY_BEGINS);
      state = load_relaxed_u64(&lane->state);
      if (likely((state & LANE_COUNT_MASK) < room->lane_slots)) {
        if (unlikely(!free_inside(room, lane, state, (uint32_t)index, word)))
          return refuse_plainly(room, MEMPOOL_E_DOUBLE_FREE);
        wake_if_any(room);
        return MEMPOOL_OK;
      }
      lane_leave(lane);
    }
  }
  return free_long(pool, block);
}

mempool_status mempool__shared_free_bulk(mempool *pool, void *const *blocks, size_t count)
{
  mempool_status status = MEMPOOL_OK;
  size_t i;
  for (i = 0; i < count; i++) {
    mempool_status one = mempool__shared_free(pool, blocks[i]);
    if (status == MEMPOOL_OK)
      status = one;
  }
  return status;
}

/* ---- Many ---- */

size_t mempool__shared_alloc_burst(mempool *pool, void **blocks, size_t count)
{
  mempool_status status = MEMPOOL_OK;
  size_t taken = 0;
  mempool__thread_join();
  while (taken < count && (status = take(pool, &blocks[taken])) == MEMPOOL_OK)
    taken++;
  if (taken == 0 && status == MEMPOOL_E_EXHAUSTED)
    count_failure(pool->room);
  return taken;
}

/* Gives back what a bulk took in vain, which is not counted. */
static void undo(mempool *pool, void *const *blocks, size_t count)
{
  struct room *room = pool->room;
  size_t i;
  for (i = 0; i < count; i++) {
    uint32_t index = (uint32_t)geometry_index(&pool->geometry, blocks[i]);
    if (!room_is_plain(room))
      mempool__care_renew(pool, index);
    (void)let_go(room, index, load_relaxed_u32(&room->words[index]));
  }
  add_relaxed_u64(&room->header->undone, count);
  wake_if_any(room);
}

/* If there are not enough at an instant, by S4, nothing is touched; else it may turn out on the way. */
mempool_status mempool__shared_alloc_bulk(mempool *pool, void **blocks, size_t count)
{
  struct room *room = pool->room;
  mempool_status status = is_closed(room) ? MEMPOOL_E_CLOSED : MEMPOOL_OK;
  size_t taken = 0;
  bool doubt;
  mempool__thread_join();
  if (status == MEMPOOL_OK && (count > room->capacity ||
                               mempool__shared_out(room, &doubt) > (int64_t)room->capacity - (int64_t)count))
    status = MEMPOOL_E_EXHAUSTED;
  while (status == MEMPOOL_OK && taken < count) {
    status = take(pool, &blocks[taken]);
    taken += status == MEMPOOL_OK;
  }
  if (status != MEMPOOL_OK)
    undo(pool, blocks, taken);
  if (status == MEMPOOL_E_EXHAUSTED)
    count_failure(room);
  return status;
}

/* ---- Waiting ---- */

/*
 * Sleepers look again so often by themselves: who frees a block may be killed
 * before it wakes anybody.
 */
#define LOOK_AGAIN_NS INT64_C(250000000)

/*
 * One look for a block, and if there is none, a sleep until one comes free.
 * Step by step: we set `sleepers`, then look; who frees a block frees it, then
 * reads `sleepers`.  All four are sequentially consistent (our looks have a
 * fence in them): so we see the block, or are seen.
 */
static mempool_status sleep_once(mempool *pool, void **block, int64_t deadline_ns)
{
  struct room *room = pool->room;
  /* Acquire: read before `sleepers` is set (S7). */
  uint32_t sequence = load_acquire_u32(&room->header->sequence);
  mempool_status status;
  int64_t now_ns;
  store_seq_cst_u32(&room->header->sleepers, SLEEPERS_SOME);
  status = take(pool, block);
  if (status != MEMPOOL_E_EXHAUSTED)
    return status;
  now_ns = mempool__os_now_ns();
  if (now_ns >= deadline_ns)
    return MEMPOOL_E_TIMED_OUT;
  if (deadline_ns - now_ns > LOOK_AGAIN_NS)
    deadline_ns = now_ns + LOOK_AGAIN_NS;
  (void)mempool__os_wait_shared(&room->header->sequence, sequence, deadline_ns);
  return MEMPOOL_E_EXHAUSTED;
}

/* Shows in the figures that somebody waits; it is put right when the owner is recovered. */
static void set_waiting(struct room *room, struct lane *lane, bool waiting)
{
  if (lane != NULL)
    store_relaxed_u32(&lane->waiting, waiting);
  else if (waiting)
    room_enter(room, OUTSIDE_WAITER);
  else
    room_leave(room, OUTSIDE_WAITER);
}

mempool_status mempool__shared_alloc_wait(mempool *pool, void **block, int64_t timeout_ns)
{
  struct room *room = pool->room;
  struct lane *lane;
  int64_t deadline_ns = OS_NEVER;
  mempool_status status;
  if (timeout_ns > 0) {
    deadline_ns = mempool__os_now_ns();
    deadline_ns = timeout_ns < OS_NEVER - deadline_ns ? deadline_ns + timeout_ns : OS_NEVER;
  }
  mempool__thread_join();
  status = take(pool, block);
  if (status == MEMPOOL_E_EXHAUSTED && timeout_ns != 0) {
    lane = lane_of_caller(room);
    set_waiting(room, lane, true);
    do
      status = sleep_once(pool, block, deadline_ns);
    while (status == MEMPOOL_E_EXHAUSTED);
    set_waiting(room, lane, false);
  }
  if (status == MEMPOOL_E_EXHAUSTED || status == MEMPOOL_E_TIMED_OUT)
    count_failure(room);
  return status;
}

void mempool__shared_close(mempool *pool)
{
  struct room *room = pool->room;
  store_seq_cst_u32(&room->header->closed, 1);
  mempool__shared_wake_all(room);
}

/* ---- Threads ---- */

/* A signal handler that interrupts this finds no lane, and doesn't ask for one. */
void mempool__shared_leave(mempool *pool, uintptr_t slot)
{
  struct room *room = pool->room;
  struct seat *seat = &room->seats[slot];
  struct lane *lane = seat->lane;
  seat->tries = 1;
  seat->lane = NULL;
  fence_light();
  if (lane != NULL)
    mempool__lane_release(room, lane);
  fence_light();
  seat->tries = 0;
}

/* The child will work in its parent's name, whose number must outlast that. */
void mempool__shared_before_fork(mempool *pool)
{
  note(pool->room, OWNER_FORKED, OWNER_FORKED);
}

void mempool__shared_forget(mempool *pool)
{
  memset(pool->room->seats, 0, sizeof pool->room->seats);
}

#endif /* ATOMICS_LOCK_FREE */
