/* SPDX-License-Identifier: MIT */
/* Those who share a pool: their slots, and recovering what somebody held who is gone. */
#include "shared.h"

#if ATOMICS_LOCK_FREE

#include "care.h"
#include "os.h"

#include <string.h>

/* ---- Slots ---- */

static uint64_t field(uint64_t slot, unsigned shift, unsigned bits)
{
  return slot >> shift & ((UINT64_C(1) << bits) - 1);
}

static unsigned state_of(uint64_t slot)
{
  return (unsigned)(slot & OWNER_STATE);
}

/* What a slot says of this process, without the lower bits. */
static uint64_t this_process(unsigned process_shift)
{
  uint32_t process = mempool__os_process();
  uint64_t space = mempool__os_process_space();
  return (process | space << PROCESS_BITS | mempool__os_process_start(process) << (PROCESS_BITS + SPACE_BITS))
         << process_shift;
}

/* Of numbers in another space nothing is known. */
static bool is_ours_to_tell(uint32_t space)
{
  uint32_t ours = mempool__os_process_space();
  return space == ours || space == 0 || ours == 0;
}

/*
 * Whether the process that a slot names is no more; the slot is attached, left,
 * or being recovered.
 */
static bool process_is_gone(uint64_t slot)
{
  unsigned shift = state_of(slot) == OWNER_RECOVERING ? BY_PROCESS_SHIFT : PROCESS_SHIFT;
  unsigned start_shift = shift + PROCESS_BITS + SPACE_BITS;
  uint64_t start = mempool__os_process_start((uint32_t)field(slot, shift, PROCESS_BITS));
  uint64_t noted = slot >> start_shift;
  bool gone = start <= 1 || noted == 1 ? start == 0 : (start << start_shift) >> start_shift != noted;
  return gone && is_ours_to_tell((uint32_t)field(slot, shift + PROCESS_BITS, SPACE_BITS));
}

/* Whether a slot is in the name of somebody who is no more. */
static bool is_left_behind(uint64_t slot)
{
  return state_of(slot) == OWNER_ABANDONED || (state_of(slot) != OWNER_FREE && process_is_gone(slot));
}

static bool may_have_children(uint64_t slot)
{
  return (state_of(slot) == OWNER_ATTACHED || state_of(slot) == OWNER_LEFT) && (slot & OWNER_FORKED) != 0;
}

static void raise_owners_used(struct room *room, uint32_t used)
{
  enum { TRIES = 1000 };
  int i;
  for (i = 0; i < TRIES; i++) {
    uint32_t old = load_relaxed_u32(&room->header->owners_used);
    if (old >= used || compare_exchange_acq_rel_u32(&room->header->owners_used, old, used))
      return;
  }
}

/*
 * Numbers go round, so that one that has just come free isn't somebody else's
 * at once.  One compare-and-swap writes all of a slot: who is killed here has
 * attached or hasn't.
 */
static bool claim_slot(struct room *room, uint64_t word)
{
  uint32_t first = load_relaxed_u32(&room->header->next_owner) % room->max_owners;
  uint32_t i;
  for (i = 0; i < room->max_owners; i++) {
    uint32_t owner = (first + i) % room->max_owners + 1;
    raise_owners_used(room, owner);
    if (load_relaxed_u64(room_slot(room, owner)) == OWNER_FREE &&
        compare_exchange_acq_rel_u64(room_slot(room, owner), OWNER_FREE, word)) {
      store_relaxed_u32(&room->header->next_owner, owner % room->max_owners);
      store_relaxed_u32(room_outside(room, owner), 0); /* somebody may have gone on who was recovered */
      room->owner = owner;
      return true;
    }
  }
  return false;
}

/* A bit for each owner in whose name a block or a lane is. */
struct names {
  uint32_t bits[OWNERS_MOST / 32 + 1];
};

static void read_names(const struct room *room, struct names *names)
{
  uint32_t i;
  memset(names, 0, sizeof *names);
  for (i = 0; i < room->lane_count; i++) {
    uint32_t owner = load_relaxed_u32(&room_lane(room, i)->owner);
    if (owner <= OWNERS_MOST)
      names->bits[owner / 32] |= UINT32_C(1) << owner % 32;
  }
  for (i = 0; i < room->capacity; i++) {
    uint32_t owner = word_owner(load_relaxed_u32(&room->words[i]));
    if (owner <= OWNERS_MOST)
      names->bits[owner / 32] |= UINT32_C(1) << owner % 32;
  }
}

/*
 * Frees the numbers of those who left with blocks in their names, all of which
 * are free by now; but of nobody who forked: a child may still work in its name.
 */
static bool reclaim_slots(struct room *room)
{
  struct names names;
  bool any = false;
  uint32_t owner;
  read_names(room, &names);
  for (owner = 1; owner <= room_owners(room); owner++) {
    uint64_t slot = load_relaxed_u64(room_slot(room, owner));
    if (state_of(slot) == OWNER_LEFT && !may_have_children(slot) &&
        (names.bits[owner / 32] >> owner % 32 & 1) == 0)
      any |= compare_exchange_acq_rel_u64(room_slot(room, owner), slot, OWNER_FREE);
  }
  return any;
}

/* A child that was forked since it attached leaves the slot to its parent. */
void mempool__owner_detach(mempool *pool)
{
  struct room *room = pool->room;
  atomic_u64 *slot = room_slot(room, room->owner);
  struct names names;
  uint64_t old, left;
  uintptr_t i;
  bool named;
  for (i = 0; i < THREAD_SLOTS; i++)
    mempool__shared_leave(pool, i);
  if (room->process != mempool__os_process())
    return;
  read_names(room, &names);
  named = (names.bits[room->owner / 32] >> room->owner % 32 & 1) != 0;
  do {
    old = load_relaxed_u64(slot); /* a child may note something in it */
    if (state_of(old) != OWNER_ATTACHED)
      return; /* recovered, though it lived */
    left = named || (old & OWNER_FORKED) != 0 ? (old & ~(uint64_t)OWNER_STATE) | OWNER_LEFT : OWNER_FREE;
  } while (!compare_exchange_acq_rel_u64(slot, old, left));
}

/* ---- Recovering ---- */

/* There may be blocks out that S4 doesn't count. */
static void doubt(struct room *room)
{
  or_acq_rel_u64(&room->header->settled, SETTLED_DOUBT);
}

/*
 * S5, for a lane of an owner that was killed while it took a block: it is
 * counted if it has it already.  With other lanes of the same owner about,
 * one of them may be who took it.  The count of candidates goes in the same
 * store, so that a second recovery, if this one is killed, finds nothing.
 */
static void mend_alloc(struct room *room, struct lane *lane, uint32_t owner, bool mixed)
{
  uint64_t state = load_relaxed_u64(&lane->state);
  uint64_t count = state & LANE_COUNT_MASK;
  uint64_t top;
  uint32_t index;
  uint32_t word;
  if (count == 0 || count > room->lane_slots)
    return;
  top = load_relaxed_u64(&lane->slots[count - 1]);
  index = candidate_index(top);
  if (index >= room->capacity)
    return;
  word = load_acquire_u32(&room->words[index]);
  if (word_condition(word) == WORD_FREE ||
      (word | WORD_CONDITION) != word_taken(candidate_word(top), owner << WORD_OWNER_SHIFT | WORD_CONDITION))
    return;
  if (mixed)
    doubt(room);
  else
    store_release_u64(&lane->state, (state & ~LANE_COUNT_MASK) + LANE_ALLOC);
}

/*
 * For one that was killed while it gave a block back, which is in its name: if
 * that wasn't done it is as if it hadn't begun, and the block comes back with
 * the others.  If the word isn't what it was, it was done, and only the
 * candidate is missing; or somebody else did it, and it is counted twice.  If it
 * is, a lane that took the block again may have brought its word round to that.
 */
static void mend_free(struct room *room, struct lane *lane, bool mixed)
{
  uint32_t busy = load_relaxed_u32(&lane->busy);
  uint64_t place = busy >> BUSY_PLACE_SHIFT & LANE_COUNT_MASK;
  uint64_t frees = load_relaxed_u64(&lane->frees);
  uint64_t noted = place < room->lane_slots ? load_relaxed_u64(&lane->slots[place]) : UINT64_MAX;
  uint32_t index = candidate_index(noted);
  if (busy_freeing(frees, place) == busy)
    return; /* not counted yet */
  if (!mixed && index < room->capacity && load_acquire_u32(&room->words[index]) == (uint32_t)(noted >> 32))
    store_release_u64(&lane->frees, frees - 1);
  else
    doubt(room);
}

static void mend_lanes(struct room *room, uint32_t owner, bool mixed)
{
  uint32_t i;
  for (i = 0; LANES_MOST != 0 && i < room->lane_count; i++) {
    struct lane *lane = room_lane(room, i);
    uint32_t busy;
    if (load_acquire_u32(&lane->owner) != owner)
      continue;
    busy = load_relaxed_u32(&lane->busy);
    if (busy == BUSY_ALLOC)
      mend_alloc(room, lane, owner, mixed);
    else if ((busy & BUSY_KIND) == BUSY_FREE)
      mend_free(room, lane, mixed);
    store_release_u32(&lane->busy, BUSY_NOT);
    store_release_u64(&lane->state, load_relaxed_u64(&lane->state) & ~LANE_COUNT_MASK);
    store_relaxed_u32(&lane->waiting, 0);
    store_release_u32(&lane->owner, 0);
  }
}

/* Makes a block that comes back what every free block is; it is in our name meanwhile. */
static bool prepare(mempool *pool, uint32_t index, uint32_t *word)
{
  struct room *room = pool->room;
  uint32_t held = word_freed(*word) | room->owner << WORD_OWNER_SHIFT | WORD_HELD;
  if (!compare_exchange_acq_rel_u32(&room->words[index], *word, held))
    return false;
  *word = held;
  mempool__care_renew(pool, index);
  return true;
}

/* Takes back what an owner holds of the blocks of one leaf; adds those that are free to *bits. */
static uint32_t walk_leaf(mempool *pool, uint32_t owner, uint32_t leaf, uint32_t *bits)
{
  struct room *room = pool->room;
  uint32_t found[HINTS_BITS];
  uint32_t first = leaf * HINTS_BITS;
  uint32_t end = room->capacity - first > HINTS_BITS ? HINTS_BITS : room->capacity - first;
  uint32_t held = 0;
  uint32_t back = 0;
  uint32_t i;
  *bits = 0;
  for (i = 0; i < end; i++) {
    found[i] = load_relaxed_u32(&room->words[first + i]);
    held += word_owner(found[i]) == owner;
    *bits |= (uint32_t)(word_condition(found[i]) == WORD_FREE) << i;
  }
  if (held == 0)
    return 0;
  add_acq_rel_u64(&room->header->others.frees, held);
  for (i = 0; i < end; i++) {
    uint32_t word = found[i];
    if (word_owner(word) != owner || (!room_is_plain(room) && !prepare(pool, first + i, &word)))
      continue;
    if (compare_exchange_seq_cst_u32(&room->words[first + i], word, word_freed(word))) {
      *bits |= UINT32_C(1) << i;
      back++;
    }
  }
  if (back < held)
    room_take_back(room, held - back);
  return back;
}

/* Takes back all that an owner holds, and sets the hints for all that is free. */
static size_t walk(mempool *pool, uint32_t owner)
{
  struct room *room = pool->room;
  size_t back = 0;
  uint32_t leaf;
  for (leaf = 0; leaf < room->hints.counts[0]; leaf++) {
    uint32_t fresh = load_relaxed_u32(&room->header->fresh);
    uint32_t first = leaf * HINTS_BITS;
    uint32_t bits;
    back += walk_leaf(pool, owner, leaf, &bits);
    if (first < fresh && fresh - first < HINTS_BITS)
      bits &= (UINT32_C(1) << (fresh - first)) - 1;
    if (bits != 0 && first < fresh)
      mempool__hints_set(&room->hints, leaf, bits, true);
  }
  return back;
}

/* Whoever was recovering others in this owner's name doesn't go on. */
static void abandon(struct room *room, uint32_t owner)
{
  uint32_t used = room_owners(room);
  uint32_t i;
  for (i = 1; i <= used; i++) {
    uint64_t slot = load_relaxed_u64(room_slot(room, i));
    if (i != owner && state_of(slot) == OWNER_RECOVERING && field(slot, BY_SHIFT, BY_BITS) == owner)
      (void)compare_exchange_acq_rel_u64(room_slot(room, i), slot, OWNER_ABANDONED);
  }
}

/* There is nothing left of the calls without a lane in which an owner was, but a doubt. */
static void forget_outside(struct room *room, uint32_t owner)
{
  if (SHARED_BARE)
    return;
  if ((load_acquire_u32(room_outside(room, owner)) & OUTSIDE_CALLS) != 0)
    doubt(room);
  store_release_u32(room_outside(room, owner), 0);
}

/*
 * Recovers one owner, whose slot was seen, unless somebody is at it who lives;
 * then the slot becomes `next`.  Whoever changes the slot to its own word is the
 * only one that walks, and its number isn't given to another before the walk
 * ends (S6).  False if it was somebody else.
 */
static bool recover_one(mempool *pool, uint32_t owner, uint64_t old, uint64_t next, size_t *back)
{
  struct room *room = pool->room;
  atomic_u64 *slot = room_slot(room, owner);
  uint64_t mine = OWNER_RECOVERING | (uint64_t)room->owner << BY_SHIFT | this_process(BY_PROCESS_SHIFT);
  unsigned state = state_of(old);
  bool walked = state == OWNER_RECOVERING || state == OWNER_ABANDONED;
  if ((state == OWNER_RECOVERING && !process_is_gone(old)) || !compare_exchange_acq_rel_u64(slot, old, mine))
    return false;
  if (walked)
    doubt(room); /* who walked before may have counted blocks that it didn't free */
  forget_outside(room, owner);
  room_enter(room, OUTSIDE_CALL);
  abandon(room, owner);
  mend_lanes(room, owner, walked || (old & OWNER_MIXED) != 0);
  *back += walk(pool, owner);
  room_leave(room, OUTSIDE_CALL);
  (void)compare_exchange_acq_rel_u64(slot, mine, next);
  /* In any case: it may have been killed before it woke somebody. */
  mempool__shared_wake_all(room);
  return true;
}

static size_t recover_abandoned(mempool *pool)
{
  struct room *room = pool->room;
  size_t back = 0;
  uint32_t i;
  for (i = 1; i <= room_owners(room); i++) {
    uint64_t slot = load_relaxed_u64(room_slot(room, i));
    if (state_of(slot) == OWNER_ABANDONED)
      (void)recover_one(pool, i, slot, OWNER_FREE, &back);
  }
  return back;
}

/*
 * When every number is taken: takes over that of a process that is gone, in
 * whose name no child can work, and with it what was held in that name.
 */
static bool inherit(mempool *pool, uint64_t word)
{
  struct room *room = pool->room;
  uint32_t owner;
  for (owner = 1; owner <= room_owners(room); owner++) {
    uint64_t slot = load_relaxed_u64(room_slot(room, owner));
    size_t back = 0;
    room->owner = owner;
    if (is_left_behind(slot) && !may_have_children(slot) &&
        recover_one(pool, owner, slot, word, &back))
      return load_relaxed_u64(room_slot(room, owner)) == word;
  }
  return false;
}

bool mempool__owner_attach(mempool *pool)
{
  struct room *room = pool->room;
  uint64_t word = OWNER_ATTACHED | this_process(PROCESS_SHIFT);
  if (!claim_slot(room, word) && !(reclaim_slots(room) && claim_slot(room, word)) && !inherit(pool, word))
    return false;
  room->process = mempool__os_process();
  room->tag = room->owner << WORD_OWNER_SHIFT | (room_is_plain(room) ? WORD_LIVE : WORD_HELD);
  return true;
}

mempool_status mempool_recover(mempool *pool, uint32_t owner, size_t *recovered)
{
  size_t back = 0;
  if (recovered != NULL)
    *recovered = 0;
  if (pool == NULL || !pool_is_shared(pool) || owner == 0 || owner > pool->room->max_owners ||
      owner == pool->room->owner)
    return MEMPOOL_E_INVALID_ARGUMENT;
  raise_owners_used(pool->room, owner);
  (void)recover_one(pool, owner, load_acquire_u64(room_slot(pool->room, owner)), OWNER_FREE, &back);
  back += recover_abandoned(pool);
  if (recovered != NULL)
    *recovered = back;
  return MEMPOOL_OK;
}

mempool_status mempool_recover_dead(mempool *pool, size_t *recovered)
{
  size_t back = 0;
  uint32_t owner;
  if (recovered != NULL)
    *recovered = 0;
  if (pool == NULL || !pool_is_shared(pool))
    return MEMPOOL_E_INVALID_ARGUMENT;
  if (mempool__os_process() == 0)
    return MEMPOOL_E_UNSUPPORTED;
  for (owner = 1; owner <= room_owners(pool->room); owner++) {
    uint64_t slot = load_relaxed_u64(room_slot(pool->room, owner));
    if (owner != pool->room->owner && is_left_behind(slot))
      (void)recover_one(pool, owner, slot, OWNER_FREE, &back);
  }
  back += recover_abandoned(pool);
  if (recovered != NULL)
    *recovered = back;
  return MEMPOOL_OK;
}

#else

mempool_status mempool_recover(mempool *pool, uint32_t owner, size_t *recovered)
{
  (void)pool;
  (void)owner;
  if (recovered != NULL)
    *recovered = 0;
  return MEMPOOL_E_INVALID_ARGUMENT;
}

mempool_status mempool_recover_dead(mempool *pool, size_t *recovered)
{
  (void)pool;
  if (recovered != NULL)
    *recovered = 0;
  return MEMPOOL_E_INVALID_ARGUMENT;
}

#endif /* ATOMICS_LOCK_FREE */

uint32_t mempool_owner(const mempool *pool)
{
  return pool != NULL && pool_is_shared(pool) ? pool->room->owner : 0;
}
