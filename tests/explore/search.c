/* SPDX-License-Identifier: MIT */
#include "search.h"

#include "coroutine.h"
#include "model.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH = 4096, REGIONS = 24, REGION_BYTES = 16384, SETTLED_BYTES = 2048 };
enum { MOST_STATES_SHIFT = 26 };

/* READY_LATE: out of time, to return so. */
enum state { READY, SLEEPING, AWAITING, ENDED };

static struct thread {
  enum state state;
  enum sleep timed;
  bool late;
  bool died;
  const void *word;
  uintptr_t offset;
} threads[THREADS];

static struct region {
  unsigned char *memory;
  size_t bytes;
  bool hashed;
  unsigned char saved[REGION_BYTES];
} regions[REGIONS];
static unsigned region_count;

static const struct scenario *scenario;
static struct { unsigned short chosen, count; } choices[DEPTH];
static unsigned depth;  /* choices made in this execution */
static unsigned prefix; /* those that are given */
static uint64_t random_state;
static bool pruning;
static unsigned spurious_left;
static int switches_left;
static unsigned deaths_left;
static bool signalled;
static unsigned last_run;
static bool skip;
static bool settling;
static const char *failure;
static unsigned dead_count;

unsigned search_running = NOBODY;
bool search_tracing;

/* ---- States met ---- */

static uint64_t *met;
static unsigned met_shift;
static uint64_t met_count;

static bool insert(uint64_t *table, unsigned shift, uint64_t hash)
{
  uint64_t mask = (UINT64_C(1) << shift) - 1;
  uint64_t at = hash & mask;
  while (table[at] != 0) {
    if (table[at] == hash)
      return false;
    at = (at + 1) & mask;
  }
  table[at] = hash;
  return true;
}

/* False if the state was met before. */
static bool meet(uint64_t hash)
{
  hash |= hash == 0;
  if (met_count * 2 >= UINT64_C(1) << met_shift && met_shift < MOST_STATES_SHIFT) {
    uint64_t *larger = calloc((size_t)1 << (met_shift + 1), sizeof *larger);
    uint64_t i;
    if (larger == NULL) {
      (void)fputs("out of memory\n", stderr);
      exit(99);
    }
    for (i = 0; i < UINT64_C(1) << met_shift; i++) {
      if (met[i] != 0)
        (void)insert(larger, met_shift + 1, met[i]);
    }
    free(met);
    met = larger;
    met_shift++;
  }
  if (!insert(met, met_shift, hash))
    return false;
  met_count++;
  return true;
}

static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, size_t count)
{
  uint64_t lanes[4] = { hash, hash + 1, hash + 2, hash + 3 };
  uint64_t words[4];
  size_t i;
  for (; count >= sizeof words; bytes += sizeof words, count -= sizeof words) {
    memcpy(words, bytes, sizeof words);
    for (i = 0; i < 4; i++)
      lanes[i] = mix(lanes[i], words[i]);
  }
  memset(words, 0, sizeof words);
  memcpy(words, bytes, count);
  for (i = 0; i < 4; i++)
    hash = mix(hash, mix(lanes[i], words[i]));
  return hash;
}

static uint64_t hash_state(void)
{
  uint64_t hash = model_hash();
  unsigned i;
  for (i = 0; i < region_count; i++) {
    if (regions[i].hashed)
      hash = hash_bytes(hash, regions[i].memory, regions[i].bytes);
  }
  for (i = 0; i < scenario->threads; i++) {
    const struct thread *thread = &threads[i];
    hash = mix(hash, (uint64_t)thread->state << 4 | (uint64_t)thread->died << 3 | (uint64_t)thread->timed << 1 | (uint64_t)thread->late);
    hash = mix(hash, thread->offset);
    if (thread->state == SLEEPING)
      hash = mix(hash, (uintptr_t)thread->word);
    if (thread->state != ENDED)
      hash = hash_bytes(hash, coroutine_bottom(i), (size_t)(coroutine_top(i) - coroutine_bottom(i)));
  }
  hash = mix(hash, (uint64_t)spurious_left << 8 | deaths_left << 1 | signalled);
  if (deaths_left > 0)
    hash = mix(hash, last_run);
  if (switches_left >= 0)
    hash = mix(hash, (uint64_t)switches_left << 8 | last_run);
  return hash;
}

/* ---- What modelled threads call ---- */

static void leave(void)
{
  unsigned me = search_running;
  coroutine_leave(me);
}

/* A handler's own steps are no places for another. */
static void interrupt(void)
{
  if (scenario->handler == NULL || signalled || search_choose(2) == 0)
    return;
  signalled = true;
  scenario->handler();
}

void search_yield(void)
{
  if (skip) {
    skip = false;
    return;
  }
  leave();
  interrupt();
}

void search_skip_yield(void)
{
  skip = true;
}

void search_settle(void)
{
  settling = true;
  leave();
}

void search_fail(const char *text)
{
  if (failure == NULL)
    failure = text;
  if (search_running != NOBODY)
    leave();
}

unsigned search_choose(unsigned count)
{
  if (count <= 1)
    return 0;
  if (depth == DEPTH) {
    (void)fputs("an execution without end\n", stderr);
    exit(99);
  }
  if (depth >= prefix) {
    unsigned chosen = 0;
    if (scenario->random > 0 && !search_tracing) {
      random_state ^= random_state << 13;
      random_state ^= random_state >> 7;
      random_state ^= random_state << 17;
      chosen = (unsigned)(random_state >> 33) % count;
    }
    choices[depth].chosen = (unsigned short)chosen;
  }
  choices[depth].count = (unsigned short)count;
  if (choices[depth].chosen >= count)
    choices[depth].chosen = (unsigned short)(count - 1);
  return choices[depth++].chosen;
}

bool search_sleep(const void *word, enum sleep how)
{
  struct thread *thread = &threads[search_running];
  thread->state = SLEEPING;
  thread->word = word;
  thread->timed = how;
  thread->late = false;
  leave();
  return !thread->late;
}

void search_wake(const void *word, bool all)
{
  unsigned sleepers[THREADS];
  unsigned count = 0;
  unsigned i;
  for (i = 0; i < scenario->threads; i++) {
    if (threads[i].state == SLEEPING && threads[i].word == word)
      sleepers[count++] = i;
  }
  if (count > 0 && !all)
    sleepers[0] = sleepers[search_choose(count)];
  for (i = 0; i < count && (all || i == 0); i++)
    threads[sleepers[i]].state = READY;
}

bool search_has_died(unsigned thread)
{
  return threads[thread].died;
}

void search_yield_until_newer(void)
{
  threads[search_running].state = AWAITING;
  leave();
}

void search_kill_others(void)
{
  unsigned i;
  for (i = 0; i < scenario->threads; i++) {
    if (i != search_running && threads[i].state != ENDED) {
      threads[i].state = ENDED;
      model_end(i);
      dead_count++;
    }
  }
  model_see_all(search_running);
}

void search_trace(const char *what, const void *address, uint64_t value, const char *note)
{
  (void)printf("#   thread %u: %s %s %llx %s\n", search_running, what, address != NULL ? describe(address) : "",
               (unsigned long long)value, note);
}

/* ---- One execution ---- */

static void entry(void)
{
  scenario->body(search_running);
  threads[search_running].state = ENDED;
  model_end(search_running);
  leave();
}

static void resume(unsigned number)
{
  search_running = number;
  mempool__thread_offset = threads[number].offset;
  do {
    settling = false;
    coroutine_enter(number);
    if (settling)
      memset(coroutine_bottom(number) - SETTLED_BYTES, 0, SETTLED_BYTES);
  } while (settling && failure == NULL);
  threads[number].offset = mempool__thread_offset;
  search_running = NOBODY;
}

enum reason { RUN, OUT_OF_TIME, FOR_NO_REASON, DIES };

struct option {
  unsigned thread;
  enum reason reason;
};

static unsigned list_options(struct option *options)
{
  unsigned count = 0;
  unsigned i;
  for (i = 0; i < scenario->threads; i++) {
    unsigned number = (last_run + i) % scenario->threads;
    const struct thread *thread = &threads[number];
    if (thread->state == READY || (thread->state == AWAITING && model_may_go_on(number)))
      options[count++] = (struct option){ number, RUN };
    if (i == 0 && count == 1 && switches_left == 0)
      return count;
  }
  for (i = 0; i < scenario->threads; i++) {
    if (threads[i].state == SLEEPING &&
        (threads[i].timed == SLEEP_TIMED || (threads[i].timed == SLEEP_NAP && deaths_left < scenario->deaths)))
      options[count++] = (struct option){ i, OUT_OF_TIME };
  }
  /* Nobody may be waited for by a wake-up that only comes for no reason. */
  for (i = 0; i < scenario->threads && count > 0 && spurious_left > 0; i++) {
    if (threads[i].state == SLEEPING)
      options[count++] = (struct option){ i, FOR_NO_REASON };
  }
  if (deaths_left > 0 && (scenario->mortal >> last_run & 1) != 0 && threads[last_run].state != ENDED)
    options[count++] = (struct option){ last_run, DIES };
  return count;
}

static void begin(void)
{
  unsigned i;
  for (i = 0; i < region_count; i++)
    memcpy(regions[i].memory, regions[i].saved, regions[i].bytes);
  model_start(scenario->threads, scenario->weak);
  for (i = 0; i < scenario->threads; i++) {
    uintptr_t offset = threads[i].offset;
    memset(&threads[i], 0, sizeof threads[i]);
    threads[i].offset = offset;
    coroutine_start(i, entry);
  }
  depth = 0;
  dead_count = 0;
  spurious_left = scenario->spurious;
  switches_left = scenario->switches;
  deaths_left = scenario->deaths;
  signalled = false;
  last_run = 0;
  skip = false;
  failure = NULL;
}

static bool all_ended(void)
{
  unsigned i;
  for (i = 0; i < scenario->threads; i++) {
    if (threads[i].state != ENDED)
      return false;
  }
  return true;
}

static void die(unsigned number)
{
  deaths_left--;
  threads[number].state = ENDED;
  threads[number].died = true;
  model_end(number);
  if (search_tracing)
    (void)printf("#   thread %u dies\n", number);
  if (scenario->died != NULL)
    scenario->died(number);
}

/* Runs the scenario once, along the given choices and then on.  False if it led to a state met before. */
static bool run_once(void)
{
  struct option options[3 * THREADS + 1];
  struct option option;
  begin();
  while (failure == NULL) {
    unsigned count = list_options(options);
    if (count == 0) {
      if (all_ended())
        break;
      failure = "deadlock: nobody can run";
      return true;
    }
    if (pruning && depth >= prefix && !meet(hash_state()))
      return false;
    option = options[search_choose(count)];
    if (option.thread != last_run && options[0].thread == last_run && switches_left > 0)
      switches_left--;
    last_run = option.thread;
    if (option.reason == DIES) {
      die(option.thread);
      continue;
    }
    threads[option.thread].state = READY;
    if (option.reason == OUT_OF_TIME)
      threads[option.thread].late = true;
    if (option.reason == FOR_NO_REASON)
      spurious_left--;
    if (search_tracing && option.reason != RUN)
      (void)printf("#   thread %u wakes %s\n", option.thread,
                   option.reason == OUT_OF_TIME ? "out of time" : "for no reason");
    resume(option.thread);
  }
  if (failure == NULL && scenario->finish != NULL)
    scenario->finish();
  return true;
}

/* ---- All executions ---- */

void search_region(void *memory, size_t bytes, bool hashed)
{
  struct region *region = &regions[region_count++];
  if (region_count > REGIONS || bytes > REGION_BYTES) {
    (void)fputs("too much memory to save\n", stderr);
    exit(99);
  }
  region->memory = memory;
  region->bytes = bytes;
  region->hashed = hashed;
}

void search_forget_regions(void)
{
  region_count = 0;
}

static void set_up(const struct scenario *the_scenario)
{
  unsigned i;
  scenario = the_scenario;
  model_forget();
  search_running = NOBODY;
  memset(threads, 0, sizeof threads); /* nobody has died yet */
  for (i = 0; i < THREADS; i++)
    threads[i].offset = THREAD_NEW;
  scenario->set_up();
  for (i = 0; i < region_count; i++)
    memcpy(regions[i].saved, regions[i].memory, regions[i].bytes);
}

void search_set_offset(unsigned thread, uintptr_t offset)
{
  threads[thread].offset = offset;
}

static uintptr_t saved_offsets[THREADS];

static void save_offsets(bool restore)
{
  unsigned i;
  for (i = 0; i < THREADS; i++) {
    if (restore)
      threads[i].offset = saved_offsets[i];
    else
      saved_offsets[i] = threads[i].offset;
  }
}

static double now(void)
{
  struct timespec time;
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void print_failure(void)
{
  unsigned i;
  (void)printf("# %s: %s\n# choices: ", scenario->name, failure);
  for (i = 0; i < depth; i++)
    (void)printf("%s%u", i > 0 ? "." : "", choices[i].chosen);
  (void)printf("%s\n", depth == 0 ? "-" : "");
}

/* Goes to the next list of choices.  False if that was the last. */
static bool advance(void)
{
  if (scenario->random > 0) {
    prefix = 0;
    return true;
  }
  while (depth > 0 && choices[depth - 1].chosen + 1 == choices[depth - 1].count)
    depth--;
  if (depth == 0)
    return false;
  choices[depth - 1].chosen++;
  prefix = depth;
  return true;
}

struct result search_run(const struct scenario *the_scenario, double seconds_at_most, uint64_t seed)
{
  struct result result = { 0, 0, 0, 0, false, false };
  double start = now();
  set_up(the_scenario);
  save_offsets(false);
  met_shift = 16;
  met_count = 0;
  met = calloc((size_t)1 << met_shift, sizeof *met);
  if (met == NULL)
    exit(99);
  pruning = scenario->random == 0;
  random_state = seed;
  prefix = 0;
  for (;;) {
    bool whole;
    save_offsets(true);
    whole = run_once();
    result.executions++;
    result.pruned += !whole;
    if (failure != NULL) {
      print_failure();
      result.failed = true;
      break;
    }
    if (scenario->random > 0 && result.executions == scenario->random)
      break;
    if (!advance()) {
      result.complete = true;
      break;
    }
    if ((result.executions & 1023) == 0 &&
        (now() - start > seconds_at_most || met_count > (UINT64_C(3) << (MOST_STATES_SHIFT - 2))))
      break;
  }
  result.states = met_count;
  result.seconds = now() - start;
  free(met);
  return result;
}

bool search_replay(const struct scenario *the_scenario, const char *text)
{
  char *end;
  set_up(the_scenario);
  pruning = false;
  for (prefix = 0; *text >= '0' && *text <= '9' && prefix < DEPTH; prefix++) {
    choices[prefix].chosen = (unsigned short)strtoul(text, &end, 10);
    text = *end == '.' ? end + 1 : end;
  }
  search_tracing = true;
  (void)run_once();
  search_tracing = false;
  if (failure != NULL)
    print_failure();
  return failure == NULL;
}
