/* SPDX-License-Identifier: MIT */
#include "model.h"

#include "search.h"
#include "threads.h"

#include <string.h>

/* Which stores are known, and how much of each thread's past. */
struct view {
  uint8_t seen[LOCATIONS];
  uint8_t clock[THREADS];
};

enum { VIEW_BYTES = sizeof(struct view), VIEW_WORDS = VIEW_BYTES / 8 };

struct store {
  uint64_t value;
  struct view view;
};

static struct location {
  unsigned bytes;
  unsigned count; /* 0: not met in this execution */
  struct store stores[STORES];
} locations[LOCATIONS];

/* Numbers of words; an open hash table. */
enum { ADDRESSES = 256, GUARDED = LOCATIONS, IGNORED };
static struct {
  const void *address;
  unsigned number;
} index_of_address[ADDRESSES];

static struct memory {
  struct view current;
  struct view acquired; /* and what a fence would add */
  struct view released; /* what relaxed stores carry (M3) */
  unsigned last;        /* the location loaded last, if times > 0 */
  unsigned times;       /* loads in a row that found the same store */
  unsigned stamp;
  bool paused;
  bool awaiting;
  bool ended;
} threads[THREADS];

static struct view fenced; /* M4 */

/* Where each thread has a part of its own. */
static struct {
  uintptr_t begin;
  size_t bytes;
} private;

static unsigned location_count;
static unsigned thread_count;
static bool weak;

/* Who used 4 plain bytes last, and when by their own clocks; 0 is never. */
struct granule {
  uintptr_t address;
  uint8_t writer;
  uint8_t written;
  uint8_t read[THREADS];
};

enum { GRANULES = 4096 };
static struct granule granules[GRANULES];
static uint16_t used_granules[GRANULES];
static unsigned used_count;

static void join_bytes(uint8_t *to, const uint8_t *from, size_t bytes)
{
  size_t i;
  for (i = 0; i < bytes; i++)
    to[i] = to[i] > from[i] ? to[i] : from[i];
}

static void join(struct view *to, const struct view *from)
{
  join_bytes((uint8_t *)to, (const uint8_t *)from, VIEW_BYTES);
}

void model_forget(void)
{
  unsigned i;
  memset(index_of_address, 0, sizeof index_of_address);
  memset(&private, 0, sizeof private);
  for (i = 0; i < location_count; i++)
    locations[i].count = 0;
  location_count = 0;
}

void model_start(unsigned count, bool is_weak)
{
  unsigned i;
  for (i = 0; i < location_count; i++)
    locations[i].count = 0;
  memset(threads, 0, sizeof threads);
  memset(&fenced, 0, sizeof fenced);
  for (i = 0; i < count; i++)
    threads[i].current.clock[i] = 1;
  for (i = 0; i < used_count; i++)
    granules[used_granules[i]].address = 0;
  used_count = 0;
  thread_count = count;
  weak = is_weak;
}

static uint64_t raw(const void *word, unsigned bytes)
{
  uint32_t half;
  uint64_t whole;
  if (bytes == 4) {
    memcpy(&half, word, sizeof half);
    return half;
  }
  memcpy(&whole, word, sizeof whole);
  return whole;
}

static void set_raw(void *word, unsigned bytes, uint64_t value)
{
  uint32_t half = (uint32_t)value;
  if (bytes == 4)
    memcpy(word, &half, sizeof half);
  else
    memcpy(word, &value, sizeof value);
}

/* Where a word is, or is to be, in index_of_address. */
static unsigned place_of(const void *word)
{
  unsigned at = (unsigned)((uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15) >> 56);
  while (index_of_address[at].address != word && index_of_address[at].address != NULL)
    at = (at + 1) % ADDRESSES;
  return at;
}

void model_guard(const void *word)
{
  unsigned at = place_of(word);
  index_of_address[at].address = word;
  index_of_address[at].number = GUARDED;
}

void model_ignore(const void *word)
{
  unsigned at = place_of(word);
  index_of_address[at].address = word;
  index_of_address[at].number = IGNORED;
}

static bool is_declared(const void *word, unsigned as)
{
  unsigned at = place_of(word);
  return index_of_address[at].address == word && index_of_address[at].number == as;
}

static bool is_guarded(const void *word)
{
  return is_declared(word, GUARDED);
}

void model_private(const void *memory, size_t bytes)
{
  private.begin = (uintptr_t)memory;
  private.bytes = bytes;
}

static bool is_private(const void *address)
{
  return (uintptr_t)address - private.begin < private.bytes;
}

/* The number of a word, which gets its first store when it is met: what it held before the threads began. */
static unsigned find(const void *word, unsigned bytes)
{
  unsigned at = place_of(word);
  struct location *location;
  if (index_of_address[at].address == NULL) {
    if (location_count == LOCATIONS)
      search_fail("the model is too small: LOCATIONS");
    index_of_address[at].address = word;
    index_of_address[at].number = location_count++;
  }
  location = &locations[index_of_address[at].number];
  if (location->count == 0) {
    location->count = 1;
    location->bytes = bytes;
    location->stores[0].value = raw(word, bytes);
    memset(&location->stores[0].view, 0, VIEW_BYTES);
  }
  return index_of_address[at].number;
}

static struct memory *self(void)
{
  return &threads[search_running];
}

static void tick(struct memory *memory, unsigned thread)
{
  if (++memory->current.clock[thread] == UINT8_MAX)
    search_fail("the model is too small: clocks");
}

static void read(struct memory *memory, unsigned number, unsigned stamp, int order)
{
  const struct store *store = &locations[number].stores[stamp];
  if (memory->current.seen[number] < stamp)
    memory->current.seen[number] = (uint8_t)stamp;
  join(&memory->acquired, &store->view);
  if ((order & ORDER_ACQUIRE) != 0)
    join(&memory->current, &store->view);
}

/* Appends a store; previous is what a read-modify-write has read (M2). */
static void append(struct memory *memory, void *word, unsigned number, uint64_t value, int order,
                   const struct store *previous)
{
  struct location *location = &locations[number];
  struct store *store = &location->stores[location->count];
  if (location->count == STORES)
    search_fail("the model is too small: STORES");
  memory->current.seen[number] = (uint8_t)location->count;
  store->value = value;
  store->view = (order & ORDER_RELEASE) != 0 ? memory->current : memory->released;
  store->view.seen[number] = (uint8_t)location->count;
  if (previous != NULL)
    join(&store->view, &previous->view);
  location->count++;
  set_raw(word, location->bytes, value);
  memory->times = 0;
  if (order == ORDER_SEQ_CST)
    join_bytes(fenced.seen, memory->current.seen, LOCATIONS);
  if ((order & ORDER_RELEASE) != 0)
    tick(memory, search_running);
}

uint64_t model_load(const void *word, unsigned bytes, int order)
{
  struct memory *memory;
  struct location *location;
  unsigned number;
  unsigned newest;
  unsigned stamp;
  if (search_running == NOBODY || is_declared(word, IGNORED))
    return raw(word, bytes);
  if (is_guarded(word)) {
    model_plain(word, bytes, false);
    return raw(word, bytes);
  }
  memory = self();
  if (memory->times >= 2 || memory->paused) {
    memory->paused = false;
    number = find(word, bytes);
    if (memory->times > 0 && number == memory->last && locations[number].count > memory->stamp) /* S3 */
      return locations[number].stores[memory->stamp].value;
  }
  search_yield();
  number = find(word, bytes);
  location = &locations[number];
  newest = location->count - 1;
  stamp = newest;
  if (order == ORDER_SEQ_CST && memory->current.seen[number] < fenced.seen[number])
    memory->current.seen[number] = fenced.seen[number];
  if (weak && memory->current.seen[number] < newest)
    stamp -= search_choose(newest - memory->current.seen[number] + 1);
  if (search_tracing)
    search_trace(order == ORDER_SEQ_CST ? "load seq_cst" : order == ORDER_ACQUIRE ? "load acquire" : "load relaxed", word, location->stores[stamp].value,
                 stamp < newest ? "(not the newest)" : "");
  memory->times = memory->times > 0 && memory->last == number && memory->stamp == stamp ? memory->times + 1 : 1;
  memory->last = number;
  memory->stamp = stamp;
  read(memory, number, stamp, order);
  return location->stores[stamp].value;
}

void model_store(void *word, unsigned bytes, uint64_t value, int order)
{
  if (search_running == NOBODY || is_declared(word, IGNORED)) {
    set_raw(word, bytes, value);
    return;
  }
  if (is_guarded(word)) {
    model_plain(word, bytes, true);
    set_raw(word, bytes, value);
    return;
  }
  search_yield();
  if (search_tracing)
    search_trace(order == ORDER_SEQ_CST ? "store seq_cst" : order == ORDER_RELEASE ? "store release" : "store relaxed", word, value, "");
  append(self(), word, find(word, bytes), value, order, NULL);
}

static uint64_t modified(uint64_t old, int how, uint64_t value)
{
  switch (how) {
  case MODIFY_OR:
    return old | value;
  case MODIFY_AND:
    return old & value;
  case MODIFY_ADD:
    return old + value;
  default:
    return value;
  }
}

/* Reads the newest and, if it is as expected or nothing is expected, stores. */
uint64_t model_modify(void *word, unsigned bytes, int how, uint64_t value, uint64_t expected, int order)
{
  struct memory *memory;
  const struct store *newest;
  unsigned number;
  bool stores;
  uint64_t old;
  if (search_running == NOBODY || is_declared(word, IGNORED)) {
    old = raw(word, bytes);
    if (how != MODIFY_IF_EXPECTED || old == expected)
      set_raw(word, bytes, modified(old, how, value));
    return old;
  }
  memory = self();
  if (is_guarded(word))
    search_fail("a guarded word is modified in one step");
  search_yield();
  number = find(word, bytes);
  newest = &locations[number].stores[locations[number].count - 1];
  old = newest->value;
  stores = how != MODIFY_IF_EXPECTED || old == expected;
  if (search_tracing)
    search_trace(stores ? "exchange" : "failing exchange", word, modified(old, how, value), "");
  read(memory, number, locations[number].count - 1, stores ? order : ORDER_RELAXED);
  memory->times = 0;
  if (stores)
    append(memory, word, number, modified(old, how, value), order, newest);
  return old;
}

static void fence(unsigned thread)
{
  struct memory *memory = &threads[thread];
  join(&memory->current, &memory->acquired);
  join_bytes(memory->current.seen, fenced.seen, LOCATIONS);
  memcpy(fenced.seen, memory->current.seen, LOCATIONS);
  memory->acquired = memory->current;
  memory->released = memory->current;
  memory->times = 0;
  tick(memory, thread);
}

void model_pause(void)
{
  if (search_running != NOBODY)
    self()->paused = true;
}

void model_fence(void)
{
  if (search_running == NOBODY)
    return;
  search_yield();
  if (search_tracing)
    search_trace("full fence", NULL, 0, "");
  fence(search_running);
}

void model_fence_all(void)
{
  unsigned thread;
  if (search_running == NOBODY)
    return;
  model_fence();
  for (thread = 0; thread < thread_count; thread++) {
    if (thread == search_running)
      continue;
    if (!threads[thread].ended)
      search_yield();
    if (search_tracing)
      search_trace("full fence on another thread", NULL, thread, "");
    fence(thread);
  }
  fence(search_running);
}

uint32_t model_peek(const uint32_t *word)
{
  self()->times = 0;
  return *word;
}

void model_await(void)
{
  struct memory *memory = self();
  memory->awaiting = memory->times > 0;
  search_yield_until_newer();
  if (memory->awaiting && memory->current.seen[memory->last] <= memory->stamp)
    memory->current.seen[memory->last] = (uint8_t)(memory->stamp + 1);
  memory->awaiting = false;
  memory->times = 0;
}

bool model_may_go_on(unsigned thread)
{
  const struct memory *memory = &threads[thread];
  return !memory->awaiting || locations[memory->last].count > memory->stamp + 1;
}

void model_end(unsigned thread)
{
  threads[thread].ended = true;
}

bool model_knows_newest(const void *word, unsigned bytes)
{
  unsigned number = find(word, bytes);
  return self()->current.seen[number] + 1u == locations[number].count;
}

void model_observe_death(unsigned thread)
{
  join(&self()->current, &threads[thread].current);
}

void model_see_all(unsigned thread)
{
  unsigned i;
  for (i = 0; i < location_count; i++) {
    if (locations[i].count > 0)
      threads[thread].current.seen[i] = (uint8_t)(locations[i].count - 1);
  }
}

static struct granule *find_granule(uintptr_t address)
{
  unsigned at = (unsigned)(address * UINT64_C(0x9e3779b97f4a7c15) >> 52);
  while (granules[at].address != address) {
    if (granules[at].address == 0) {
      memset(&granules[at], 0, sizeof granules[at]);
      granules[at].address = address;
      used_granules[used_count++] = (uint16_t)at;
      if (used_count == GRANULES)
        search_fail("the model is too small: GRANULES");
      break;
    }
    at = (at + 1) % GRANULES;
  }
  return &granules[at];
}

static void race(uintptr_t address)
{
  if (search_tracing)
    search_trace("data race", (const void *)address, 0, "");
  search_fail("data race on plain memory");
}

void model_plain(const void *address, size_t bytes, bool write)
{
  const struct view *current;
  uintptr_t at = (uintptr_t)address & ~(uintptr_t)3;
  unsigned other;
  /* What each thread has of its own. */
  if (search_running == NOBODY || address == (const void *)&mempool__thread_offset || is_private(address))
    return;
  current = &self()->current;
  for (; at < (uintptr_t)address + bytes; at += 4) {
    struct granule *granule = find_granule(at);
    if (granule->written > current->clock[granule->writer])
      race((uintptr_t)address);
    if (!write) {
      granule->read[search_running] = current->clock[search_running];
      continue;
    }
    for (other = 0; other < thread_count; other++) {
      if (granule->read[other] > current->clock[other])
        race((uintptr_t)address);
    }
    memset(granule->read, 0, sizeof granule->read);
    granule->writer = (uint8_t)search_running;
    granule->written = current->clock[search_running];
  }
}

/* What everybody who still runs has seen needs no telling apart. */
static struct view known_to_all(void)
{
  struct view base;
  unsigned thread;
  size_t i;
  memset(&base, UINT8_MAX, sizeof base);
  for (thread = 0; thread < thread_count; thread++) {
    const uint8_t *bytes = (const uint8_t *)&threads[thread].current;
    uint8_t *least = (uint8_t *)&base;
    if (threads[thread].ended)
      continue;
    for (i = 0; i < VIEW_BYTES; i++)
      least[i] = least[i] < bytes[i] ? least[i] : bytes[i];
  }
  return base;
}

static uint64_t hash_view(uint64_t hash, const struct view *view, const struct view *base)
{
  uint8_t above[VIEW_BYTES];
  uint64_t words[VIEW_WORDS];
  uint64_t other = hash;
  size_t i;
  for (i = 0; i < VIEW_BYTES; i++) {
    uint8_t byte = ((const uint8_t *)view)[i];
    uint8_t least = ((const uint8_t *)base)[i];
    above[i] = (uint8_t)(byte > least ? byte - least : 0);
  }
  memcpy(words, above, sizeof words);
  for (i = 0; i < VIEW_WORDS; i += 2) {
    hash = mix(hash, words[i]);
    other = mix(other, words[i + 1]);
  }
  return hash + (other << 1 | other >> 63);
}

static uint8_t above(uint8_t value, uint8_t base)
{
  return (uint8_t)(value > base ? value - base : 0);
}

uint64_t model_hash(void)
{
  struct view base = known_to_all();
  uint64_t hash = 1;
  unsigned i;
  unsigned kept = 0;
  for (i = 0; i < thread_count; i++) {
    const struct memory *memory = &threads[i];
    if (memory->ended)
      continue;
    hash = hash_view(hash, &memory->current, &base);
    hash = hash_view(hash, &memory->acquired, &base);
    hash = hash_view(hash, &memory->released, &base);
    if (memory->times > 0)
      hash = mix(hash, (uint64_t)memory->last << 32 | (uint64_t)(memory->times < 2 ? memory->times : 2) << 24 |
                         (uint64_t)memory->awaiting << 16 |
                         (uint64_t)(memory->stamp + 256 - base.seen[memory->last]));
    hash = mix(hash, i);
  }
  hash = hash_view(hash, &fenced, &base);
  for (i = 0; i < location_count; i++) {
    const struct location *location = &locations[i];
    unsigned stamp = base.seen[i];
    for (; stamp < location->count; stamp++) {
      hash = mix(hash_view(hash, &location->stores[stamp].view, &base), location->stores[stamp].value);
      hash = mix(hash, i);
    }
  }
  /* The order in which granules were met must not tell: so a sum. */
  for (i = 0; i < used_count; i++) {
    const struct granule *granule = &granules[used_granules[i]];
    uint64_t word = above(granule->written, base.clock[granule->writer]);
    unsigned thread;
    if (word != 0)
      word |= (uint64_t)(granule->writer + 1) << 8;
    for (thread = 0; thread < thread_count; thread++)
      word |= (uint64_t)above(granule->read[thread], base.clock[thread]) << (16 + 8 * thread);
    if (word != 0)
      hash += mix(mix(word, granule->address), 5) << 1;
    kept += word != 0;
  }
  return mix(hash, kept);
}

/* What the compiler calls before each plain access of the library. */
#define HOOK(bytes)                                        \
  void __tsan_read##bytes(void *address);                  \
  void __tsan_write##bytes(void *address);                 \
  void __tsan_unaligned_read##bytes(void *address);        \
  void __tsan_unaligned_write##bytes(void *address);       \
  void __tsan_read##bytes(void *address)                   \
  {                                                        \
    model_plain(address, bytes, false);                    \
  }                                                        \
  void __tsan_write##bytes(void *address)                  \
  {                                                        \
    model_plain(address, bytes, true);                     \
  }                                                        \
  void __tsan_unaligned_read##bytes(void *address)         \
  {                                                        \
    model_plain(address, bytes, false);                    \
  }                                                        \
  void __tsan_unaligned_write##bytes(void *address)        \
  {                                                        \
    model_plain(address, bytes, true);                     \
  }

HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)

void __tsan_read_range(void *address, size_t bytes);
void __tsan_write_range(void *address, size_t bytes);
void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_read_range(void *address, size_t bytes)
{
  model_plain(address, bytes, false);
}

void __tsan_write_range(void *address, size_t bytes)
{
  model_plain(address, bytes, true);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
  (void)caller;
}

void __tsan_func_exit(void)
{
}
