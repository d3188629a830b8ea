/* SPDX-License-Identifier: MIT */
/*
 * A pool in memory that processes share: what lies there, and what each of
 * them keeps for itself.
 *
 * In the memory there are no pointers and no locks.  The truth is one word for
 * each block.  Everything else is a hint that the words may contradict, or a
 * count.  The handle of a process, struct room, holds a copy of all that the
 * memory says of its own shape, made and checked by mempool_attach(); whatever
 * is read from the memory later is bounds-checked before it is used.
 *
 * S1  The word of a block says whether it is free, live or held, in whose name,
 *     and how often it has been taken.  It changes only by compare-and-swap
 *     from what it was seen to be: so of two who take or free a block one
 *     succeeds, and the operation that takes a block is the one that says who
 *     has it.
 * S2  A free word names no owner; a word of 0 is that of a block that was
 *     never taken.  All blocks from `fresh` on are such.
 * S3  A lane is written by one thread only, that of lane->owner which claimed
 *     it; or, when that owner is dead, by who recovers it.  Others read it.
 * S4  Blocks that are out: at most (allocs of all lanes and of `others`, and
 *     `settled`) less (frees of all lanes and of `others`), read in this
 *     order with a fence in between, are out at the instant of that fence; and
 *     exactly so many when no call is under way and nobody died inside one.
 *     For allocs is increased after a block was taken, and frees before it
 *     comes free.  Neither is ever decreased while its owner lives: a free that
 *     turns out to be none is an alloc as well.
 * S5  A lane whose owner isn't inside a call has busy == 0.  If it died inside
 *     of one, the lane tells what it was doing: BUSY_ALLOC, taking the
 *     candidate on top; BUSY_FREE with a place and the low bits of frees, giving
 *     back the block that is noted in that place, behind the top, with its
 *     word.  A block is in the name of who gives it back: it was taken in it,
 *     or is held in it first.
 * S6  A slot of an owner is 0, or was claimed by one compare-and-swap that
 *     wrote who it is; only who changed it to RECOVERING walks the words, and
 *     it is 0 again only when no block and no lane is in that owner's name.
 * S7  Who sleeps has set `sleepers` since it last read `sequence`, and has
 *     looked for a block after that.
 */
#ifndef MEMPOOL_SHARED_H
#define MEMPOOL_SHARED_H

#include "pool.h"

#include "hints.h"
#include "threads.h"

/* ---- The word of a block ---- */

enum {
  WORD_FREE = 0,
  WORD_LIVE = 1,
  WORD_HELD = 3, /* taken, or being freed, with something still to be done to it; a free of it is refused */
  WORD_CONDITION = 3,
  WORD_STEP = 4, /* of the generation: 14 bits */
  WORD_GENERATION = 0xfffc,
  WORD_OWNER_SHIFT = 16
};

static inline uint32_t word_condition(uint32_t word)
{
  return word & WORD_CONDITION;
}

static inline uint32_t word_owner(uint32_t word)
{
  return word >> WORD_OWNER_SHIFT;
}

/* What a free word becomes when it is taken; tag is the owner, shifted, with the condition.  No generation is 0. */
static inline uint32_t word_taken(uint32_t word, uint32_t tag)
{
  uint32_t next = word + WORD_STEP;
  return ((next & WORD_GENERATION) + (next >> WORD_OWNER_SHIFT) * WORD_STEP) | tag;
}

static inline uint32_t word_freed(uint32_t word)
{
  return word & WORD_GENERATION;
}

/* A block that is probably free, with its word then: what lies in lanes. */
static inline uint64_t candidate(uint32_t index, uint32_t word)
{
  return index | (uint64_t)word << 32;
}

static inline uint32_t candidate_index(uint64_t candidate)
{
  return (uint32_t)candidate;
}

/* Whatever somebody may have written there, it is taken for a free word. */
static inline uint32_t candidate_word(uint64_t candidate)
{
  return (uint32_t)(candidate >> 32) & WORD_GENERATION;
}

/* ---- Lanes ---- */

/*
 * SHARED_BARE builds the engine without lanes, which gain nothing where every
 * atomic access is a full fence, and for plain pools only: see js/shared.c.
 */
#ifndef SHARED_BARE
#define SHARED_BARE 0
#endif

enum { LANE_MOST_SLOTS = 64, LANES_MOST = SHARED_BARE ? 0 : THREAD_SLOTS, SEATS = SHARED_BARE ? 1 : THREAD_SLOTS };

/*
 * Values of busy; of BUSY_FREE these are the lower bits, and the others are in
 * which place the block is noted, and those of frees.
 */
enum { BUSY_NOT = 0, BUSY_ALLOC = 1, BUSY_BEGINS = 2, BUSY_FREE = 3, BUSY_KIND = 3, BUSY_PLACE_SHIFT = 2,
       BUSY_FREES_SHIFT = BUSY_PLACE_SHIFT + 8 };

/* One thread's candidates and counts. */
struct lane {
  atomic_u32 owner; /* 0: nobody's */
  atomic_u32 busy;
  atomic_u64 state; /* allocs, and below them how many candidates there are */
  atomic_u64 frees;
  atomic_u32 waiting; /* 1: inside mempool_alloc_wait() */
  atomic_u32 cursor;  /* the leaf of the hints that the last candidates came from */
  uint64_t padding[4];
  atomic_u64 slots[];
};

#define LANE_COUNT_MASK ((uint64_t)0xff)
#define LANE_ALLOC ((uint64_t)0x100)

/* For a free that is the one after so many, when a lane has so many candidates. */
static inline uint32_t busy_freeing(uint64_t frees, uint64_t count)
{
  return (uint32_t)frees << BUSY_FREES_SHIFT | (uint32_t)count << BUSY_PLACE_SHIFT | BUSY_FREE;
}

/* ---- Owners ---- */

enum { OWNERS_MOST = 65534 };

/*
 * A slot.  0 is free.  Attached, or left with something still in its name: three
 * bits about who works in it, then the process and its start time.  Being recovered:
 * who does it, then its process and start time.
 */
enum {
  OWNER_FREE = 0,
  OWNER_ATTACHED = 1,
  OWNER_LEFT = 2,
  OWNER_RECOVERING = 3,
  OWNER_ABANDONED = 4, /* who recovered it was recovered itself */
  OWNER_STATE = 7,
  OWNER_HAS_LANE = 8,
  OWNER_MIXED = 16, /* more than one lane has taken blocks in its name, or somebody without a lane */
  OWNER_FORKED = 32 /* a child was forked, and may work in it still when the parent has left */
};

/*
 * Process numbers have at most 22 bits, and 8 tell among whose numbers it is
 * one.  Start times are in hundredths of a second since the machine was started:
 * 28 bits are a month, and the 15 that fit beside a recoverer's number are five
 * minutes, in which process numbers don't come round to one that started at the
 * same hundredth.
 */
enum { PROCESS_BITS = 22, SPACE_BITS = 8, PROCESS_SHIFT = 6, START_SHIFT = PROCESS_SHIFT + PROCESS_BITS + SPACE_BITS,
       BY_SHIFT = 3, BY_BITS = 16, BY_PROCESS_SHIFT = BY_SHIFT + BY_BITS,
       BY_START_SHIFT = BY_PROCESS_SHIFT + PROCESS_BITS + SPACE_BITS };

/*
 * What an owner's threads without lanes are doing: in how many calls they are,
 * which leave no other trace if it dies, and above that how many of them wait.
 */
enum { OUTSIDE_CALL = 1, OUTSIDE_WAITER = 1 << 16, OUTSIDE_CALLS = OUTSIDE_WAITER - 1, OUTSIDE_WAITERS_SHIFT = 16 };

/* ---- The header ---- */

#define SHARED_MAGIC UINT64_C(0x6c6f6f706d656d00)
enum { SHARED_VERSION = 1, SHARED_BYTE_ORDER = 0x01020304 };

/* What doesn't change.  The same on machines of 32 and 64 bits; all offsets are from the header, in bytes. */
struct shared_shape {
  uint32_t version;
  uint32_t byte_order;
  uint64_t block_size;
  uint64_t stride;
  uint64_t alignment;
  uint64_t blocks; /* the offset of the first */
  uint64_t bytes;  /* from the header to the end of the blocks */
  uint32_t capacity;
  uint32_t flags;
  uint32_t max_owners;
  uint32_t lane_count;
  uint32_t lane_slots;
  uint32_t first_time; /* the memory held something, so blocks are wiped before they are taken first */
  char name[NAME_BYTES];
  uint64_t checksum; /* of all before it */
};

struct shared_header {
  atomic_u64 magic; /* written last */
  struct shared_shape shape;
  unsigned char padding1[2 * GEOMETRY_CACHE_LINE - sizeof(uint64_t) - sizeof(struct shared_shape)];
  /* Looked at by every call, written rarely. */
  atomic_u32 closed;
  atomic_u32 sleepers;
  atomic_u32 sequence;
  atomic_u32 lanes_used; /* lanes from here on were never anybody's */
  unsigned char padding2[GEOMETRY_CACHE_LINE - 4 * sizeof(uint32_t)];
  atomic_u32 fresh;      /* blocks from here on were never anybody's candidates */
  atomic_u32 next_owner;  /* where to look for a free slot first */
  atomic_u32 owners_used; /* slots from here on were never anybody's */
  unsigned char padding3[GEOMETRY_CACHE_LINE - 3 * sizeof(uint32_t)];
  /* What is counted for those who have no lane. */
  struct {
    atomic_u64 allocs;
    atomic_u64 frees;
  } others;
  atomic_u64 undone; /* taken by a bulk, and given back because there weren't enough; or taken back */
  atomic_u64 failed_allocs;
  atomic_u64 refused_frees;
  atomic_u64 settled; /* allocs that were not counted in time; the lowest bit: there may be more (SETTLED_DOUBT) */
  atomic_u64 damaged_blocks;
  uint64_t padding4;
};

enum { SETTLED_DOUBT = 1, SETTLED_ONE = 2 };
enum { SLEEPERS_NONE = 0, SLEEPERS_SOME = 1, SLEEPERS_WAKING = 2 };

/* ---- What a process keeps ---- */

/* One for each slot of threads.h. */
struct seat {
  struct lane *lane;
  uint32_t tries;
};

struct room {
  struct shared_header *header;
  atomic_u32 *words;
  uint32_t capacity;
  uint32_t tag; /* for word_taken(): owner and WORD_LIVE */
  uint32_t lane_slots;
  uint32_t plain; /* nothing to be done to blocks, so the short ways may be gone */
  unsigned char *lanes;
  size_t lane_bytes;
  uint32_t lane_count;
  uint32_t batch; /* how many fresh blocks are taken at once */
  uint32_t owner;
  uint32_t max_owners;
  atomic_u64 *owners;   /* of owner 1 on */
  atomic_u32 *outside;  /* of owner 1 on */
  atomic_u32 mixed_noted; /* OWNER_MIXED is set */
  uint32_t process;  /* that attached; not of one that was forked since */
  struct hints hints;
  struct shared_shape shape;
  struct seat seats[SEATS];
};

static inline struct lane *room_lane(const struct room *room, uint32_t number)
{
  return (struct lane *)(void *)(room->lanes + number * room->lane_bytes);
}

/* How many lanes may have been used; never more than there are. */
static inline uint32_t room_lanes(const struct room *room)
{
  uint32_t used = LANES_MOST != 0 ? load_acquire_u32(&room->header->lanes_used) : 0;
  return used < room->lane_count ? used : room->lane_count;
}

static inline bool room_is_plain(const struct room *room)
{
  return SHARED_BARE || room->plain != 0;
}

static inline atomic_u64 *room_slot(const struct room *room, uint32_t owner)
{
  return &room->owners[owner - 1];
}

/* Numbers from here on were never anybody's; never more than there are. */
static inline uint32_t room_owners(const struct room *room)
{
  uint32_t used = load_acquire_u32(&room->header->owners_used);
  return used < room->max_owners ? used : room->max_owners;
}

static inline atomic_u32 *room_outside(const struct room *room, uint32_t owner)
{
  return &room->outside[owner - 1];
}

/* Counts a call without a lane, or a wait in one, as OUTSIDE_CALL or OUTSIDE_WAITER. */
static inline void room_enter(const struct room *room, uint32_t what)
{
  if (!SHARED_BARE)
    (void)add_acq_rel_u32(room_outside(room, room->owner), what);
}

static inline void room_leave(const struct room *room, uint32_t what)
{
  if (!SHARED_BARE)
    (void)add_acq_rel_u32(room_outside(room, room->owner), 0 - what);
}

/* For frees that were counted, and not made: both counts only grow, by which audit() knows that nothing moved. */
static inline void room_take_back(const struct room *room, uint64_t count)
{
  add_acq_rel_u64(&room->header->others.allocs, count);
  add_relaxed_u64(&room->header->undone, count);
}

/* ---- The engine: what blocks.c, pool.c, inspect.c and threads.c call ---- */

void *mempool__shared_alloc(mempool *pool);
mempool_status mempool__shared_alloc_wait(mempool *pool, void **block, int64_t timeout_ns);
mempool_status mempool__shared_alloc_bulk(mempool *pool, void **blocks, size_t count);
size_t mempool__shared_alloc_burst(mempool *pool, void **blocks, size_t count);
mempool_status mempool__shared_free(mempool *pool, void *block);
mempool_status mempool__shared_free_bulk(mempool *pool, void *const *blocks, size_t count);
void mempool__shared_close(mempool *pool);

/*
 * Making one.  Arguments as they were given, checked, with the stride and the
 * alignment that are planned for them.  shared_shape() says what
 * mempool_create() would say of the rest.
 */
mempool_status mempool__shared_shape(struct shared_shape *shape, size_t block_size, uint32_t capacity,
                                     const mempool_options *options, const struct layout *plan);
/* What is needed in memory of any alignment. */
size_t mempool__shared_bytes(const struct shared_shape *shape);
mempool_status mempool__shared_create(mempool **pool, struct shared_shape *shape);
mempool_status mempool__shared_init(mempool **pool, void *memory, size_t size, struct shared_shape *shape);
void mempool__shared_destroy(mempool *pool);

void mempool__shared_figures(const mempool *pool, mempool_stats *stats);
bool mempool__shared_check(const mempool *pool);
bool mempool__shared_is_live(const mempool *pool, uint32_t index);
bool mempool__shared_is_closed(const mempool *pool);
size_t mempool__shared_held(const mempool *pool); /* by this owner, if it isn't that of the process that forked this */
void mempool__shared_dump(const mempool *pool, FILE *stream);

/* Of threads.c: the thread with a slot ends; a child will be forked; this is that child, and has no lanes yet. */
void mempool__shared_leave(mempool *pool, uintptr_t slot);
void mempool__shared_before_fork(mempool *pool);
void mempool__shared_forget(mempool *pool);

/* ---- Between the engine, shared_make.c and owners.c ---- */

/* Makes this process an owner: writes its slot.  False if there is none left. */
bool mempool__owner_attach(mempool *pool);

/* Ends that; what is still in its name stays so. */
void mempool__owner_detach(mempool *pool);

/* Gives a lane up: its candidates become hints. */
void mempool__lane_release(struct room *room, struct lane *lane);

/* Wakes whoever waits. */
void mempool__shared_wake_all(struct room *room);

/* By S4; *doubt says whether more may be out. */
int64_t mempool__shared_out(struct room *room, bool *doubt);

/*
 * The figure where S4 is in doubt; and if nothing moves, an end to the doubt.
 * The caller itself may be inside a call, in which it has taken nothing yet.
 */
size_t mempool__shared_settle(struct room *room, uint64_t callers_inside);

#endif /* MEMPOOL_SHARED_H */
