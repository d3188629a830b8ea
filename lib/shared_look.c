/* SPDX-License-Identifier: MIT */
/* Looking at a pool that processes share, while any number of them go on. */
#include "shared.h"

#if ATOMICS_LOCK_FREE

#include "care.h"
#include "os.h"

#include <inttypes.h>
#include <string.h>

/* Calls that are under way, or were when somebody died; and who waits. */
struct presence {
  uint64_t inside;
  uint64_t waiting;
};

static struct presence read_presence(const struct room *room)
{
  struct presence presence = { 0, 0 };
  uint32_t owners = room_owners(room);
  uint32_t lanes = room_lanes(room);
  uint32_t i;
  for (i = 1; i <= owners; i++) {
    uint32_t outside = load_acquire_u32(room_outside(room, i));
    presence.inside += outside & OUTSIDE_CALLS;
    presence.waiting += outside >> OUTSIDE_WAITERS_SHIFT;
  }
  for (i = 0; i < lanes; i++) {
    const struct lane *lane = room_lane(room, i);
    presence.inside += load_acquire_u32(&lane->busy) != BUSY_NOT;
    presence.waiting += load_relaxed_u32(&lane->waiting) != 0;
  }
  return presence;
}

/* What was counted, one lane after the other. */
struct account {
  uint64_t allocs;
  uint64_t frees;
};

static struct account read_account(const struct room *room)
{
  const struct shared_header *header = room->header;
  struct account account;
  uint32_t lanes = room_lanes(room);
  uint32_t i;
  account.allocs = load_acquire_u64(&header->others.allocs);
  account.frees = load_acquire_u64(&header->others.frees);
  for (i = 0; i < lanes; i++) {
    account.allocs += load_acquire_u64(&room_lane(room, i)->state) / LANE_ALLOC;
    account.frees += load_acquire_u64(&room_lane(room, i)->frees);
  }
  return account;
}

static size_t count_out(const struct room *room)
{
  size_t out = 0;
  uint32_t i;
  for (i = 0; i < room->capacity; i++)
    out += word_condition(load_acquire_u32(&room->words[i])) != WORD_FREE;
  return out;
}

/*
 * Counts the blocks that are out, and *counted is what S4 would say of it;
 * *still, if the two are of the same takings and frees.  All loads acquire.
 * Step by step:
 *
 * 1. Whose count is in the first account had entered before.  If nobody is
 *    inside afterwards, it has left, and its block is seen as it left it.
 * 2. Whose block is seen taken or freed had entered before.  If nobody is
 *    inside afterwards, it has left, and its count is in the second account.
 * 3. So if the accounts are the same, they are what the words say.
 */
static size_t audit(const struct room *room, uint64_t settled, uint64_t callers_inside, bool *still, int64_t *counted)
{
  struct account before = read_account(room);
  bool nobody = read_presence(room).inside == callers_inside;
  size_t out = count_out(room);
  struct account after;
  fence_full();
  nobody = read_presence(room).inside == callers_inside && nobody;
  after = read_account(room);
  *still = nobody && before.allocs == after.allocs && before.frees == after.frees;
  *counted = (int64_t)(settled / SETTLED_ONE + before.allocs - before.frees);
  return out;
}

size_t mempool__shared_settle(struct room *room, uint64_t callers_inside)
{
  atomic_u64 *word = &room->header->settled;
  uint64_t settled = load_acquire_u64(word);
  bool still;
  int64_t counted;
  size_t out = audit(room, settled, callers_inside, &still, &counted);
  if (still && (int64_t)out >= counted)
    (void)compare_exchange_acq_rel_u64(
      word, settled, (settled & ~(uint64_t)SETTLED_DOUBT) + (out - (uint64_t)counted) * SETTLED_ONE);
  return out;
}

void mempool__shared_figures(const mempool *pool, mempool_stats *stats)
{
  struct room *room = pool->room;
  const struct shared_header *header = room->header;
  uint32_t fresh = load_relaxed_u32(&header->fresh);
  bool doubt;
  int64_t out = mempool__shared_out(room, &doubt);
  if (doubt)
    out = (int64_t)mempool__shared_settle(room, 0);
  out = out < 0 ? 0 : out;
  stats->block_size = pool->block_size;
  stats->capacity = room->capacity;
  stats->used = out < (int64_t)room->capacity ? (size_t)out : room->capacity;
  stats->available = stats->capacity - stats->used;
  stats->peak_used = fresh < room->capacity ? fresh : room->capacity;
  if (stats->peak_used < stats->used) /* only while somebody writes nonsense */
    stats->peak_used = stats->used;
  stats->waiting = (size_t)read_presence(room).waiting;
  stats->refused_frees = load_relaxed_u64(&header->refused_frees);
  stats->failed_allocs = load_relaxed_u64(&header->failed_allocs);
  stats->damaged_blocks = load_relaxed_u64(&header->damaged_blocks);
  if ((pool_mode(pool) & MODE_COUNTERS) != 0) {
    stats->alloc_count = read_account(room).allocs + load_relaxed_u64(&header->settled) / SETTLED_ONE -
                         load_relaxed_u64(&header->undone);
    stats->free_count = stats->alloc_count - stats->used;
  }
}

bool mempool__shared_is_live(const mempool *pool, uint32_t index)
{
  return word_condition(load_acquire_u32(&pool->room->words[index])) == WORD_LIVE;
}

size_t mempool__shared_held(const mempool *pool)
{
  const struct room *room = pool->room;
  size_t held = 0;
  uint32_t i;
  if (room->process != mempool__os_process())
    return 0; /* the parent's, in whose name we were working */
  for (i = 0; i < room->capacity; i++)
    held += word_owner(load_relaxed_u32(&room->words[i])) == room->owner;
  return held;
}

/* ---- Checking ---- */

static bool header_is_sound(const struct room *room)
{
  const struct shared_header *header = room->header;
  return load_relaxed_u64(&header->magic) == SHARED_MAGIC &&
         memcmp(&header->shape, &room->shape, sizeof room->shape) == 0 && load_relaxed_u32(&header->closed) <= 1 &&
         load_relaxed_u32(&header->sleepers) <= SLEEPERS_WAKING &&
         load_relaxed_u32(&header->lanes_used) <= room->lane_count &&
         load_relaxed_u32(&header->owners_used) <= room->max_owners &&
         load_relaxed_u32(&header->fresh) <= room->capacity;
}

/* S3, S5 and S6, as far as they can be seen. */
static bool lanes_are_sound(const struct room *room)
{
  uint32_t i;
  for (i = 0; i < room->lane_count; i++) {
    const struct lane *lane = room_lane(room, i);
    uint32_t owner = load_acquire_u32(&lane->owner);
    if (owner > room->max_owners || (load_relaxed_u64(&lane->state) & LANE_COUNT_MASK) > room->lane_slots ||
        load_relaxed_u32(&lane->waiting) > 1)
      return false;
    if (owner != 0 && load_acquire_u64(room_slot(room, owner)) == OWNER_FREE &&
        load_acquire_u32(&lane->owner) == owner)
      return false;
  }
  return true;
}

/* S1, S2, S6: a word, and the canary of a block that is live or free. */
static bool word_is_sound(const mempool *pool, uint32_t index)
{
  const struct room *room = pool->room;
  /* Acquire: who sees a block taken sees that it isn't fresh. */
  uint32_t word = load_acquire_u32(&room->words[index]);
  uint32_t fresh = load_relaxed_u32(&room->header->fresh);
  uint32_t owner = word_owner(word);
  bool sound;
  switch (word_condition(word)) {
  case WORD_FREE:
    sound = owner == 0;
    break;
  case WORD_LIVE:
  case WORD_HELD:
    sound = owner != 0 && owner <= room->max_owners && word_freed(word) != 0 &&
            load_acquire_u64(room_slot(room, owner)) != OWNER_FREE;
    break;
  default:
    sound = false;
  }
  if (word == 0)
    return true;
  if (sound && word_condition(word) != WORD_HELD)
    sound = mempool__care_is_whole(pool, index, word_condition(word) == WORD_FREE);
  if (sound)
    sound = index < fresh;
  if (sound)
    return true;
  /* Somebody may have been at it; then it is not for us to judge.  What was seen of the block was read before that. */
  fence_full();
  return load_acquire_u32(&room->words[index]) != word;
}

bool mempool__shared_check(const mempool *pool)
{
  const struct room *room = pool->room;
  uint64_t settled = load_acquire_u64(&room->header->settled);
  bool still;
  int64_t counted;
  size_t out;
  uint32_t i;
  if (!header_is_sound(room) || !lanes_are_sound(room))
    return false;
  for (i = 0; i < room->capacity; i++) {
    if (!word_is_sound(pool, i))
      return false;
  }
  out = audit(room, settled, 0, &still, &counted);
  /* S4: never more, and in doubt it may be less. */
  return !still || counted == (int64_t)out || (counted < (int64_t)out && (settled & SETTLED_DOUBT) != 0) ||
         load_acquire_u64(&room->header->settled) != settled;
}

void mempool__shared_dump(const mempool *pool, FILE *stream)
{
  const struct room *room = pool->room;
  uint32_t attached = 0;
  uint32_t lanes = 0;
  uint32_t i;
  for (i = 1; i <= room_owners(room); i++)
    attached += load_relaxed_u64(room_slot(room, i)) != OWNER_FREE;
  for (i = 0; i < room_lanes(room); i++)
    lanes += load_relaxed_u32(&room_lane(room, i)->owner) != 0;
  (void)fprintf(stream, "  shared: this is owner %" PRIu32 " of %" PRIu32 " attached, %" PRIu32 " lanes of %" PRIu32
                        " in use\n", room->owner, attached, lanes, room->lane_count);
}

#endif /* ATOMICS_LOCK_FREE */
