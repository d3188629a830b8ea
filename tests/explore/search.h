/* SPDX-License-Identifier: MIT */
/*
 * The search: runs a scenario again and again, each time by another list of
 * choices, depth first, until there are none left.
 *
 * S1  A state that was met before is not gone into again.  It is the memory
 *     that the scenario and the library use, the stacks of the threads, what
 *     they wait for, and model_hash(): everything that the future depends on.
 *     States are told apart by 64 bits of hash.
 * S2  A thread that sleeps may wake for no reason, but only so often in one
 *     execution: else nothing would ever be a deadlock.
 * S3  Of a load that is repeated after a pause for want of another value only
 *     the first is a step, the others read the same: spinning on longer leads
 *     nowhere that waiting before the first load doesn't lead to.  The same
 *     goes for a third load in a row.
 * S4  A thread that may die does so right after a step: when others notice
 *     makes no difference to what it leaves behind.
 */
#ifndef EXPLORE_SEARCH_H
#define EXPLORE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOBODY 99u

struct scenario {
  const char *name;
  unsigned threads;
  void (*set_up)(void);
  void (*body)(unsigned self);
  void (*finish)(void); /* after each complete execution */
  bool weak;            /* else sequentially consistent */
  unsigned spurious;    /* S2 */
  int switches;         /* most preemptions, -1 for no bound */
  uint64_t random;      /* executions by random choices, 0 for all */
  bool (*judge)(void);  /* at the very end; NULL: not to have failed is enough */
  bool quick;
  unsigned deaths;                /* S4: most in one execution */
  unsigned mortal;                /* a bit for each thread that may die */
  void (*died)(unsigned thread);
  void (*handler)(void);          /* of a signal: runs on a thread, once in an execution, before any of its steps */
};

struct result {
  uint64_t executions;
  uint64_t pruned;
  uint64_t states;
  double seconds;
  bool complete;
  bool failed;
};

/* The modelled thread that runs, or NOBODY: then atomics act on raw memory. */
extern unsigned search_running;
extern bool search_tracing;

struct result search_run(const struct scenario *scenario, double seconds_at_most, uint64_t seed);
bool search_replay(const struct scenario *scenario, const char *choices);

/* Memory that belongs to the state: put back before each execution, and hashed.  Before search_run(). */
void search_region(void *memory, size_t bytes, bool hashed);
void search_forget_regions(void);

/* What the modelled threads do: let others run before a step; choose below count; fail. */
void search_yield(void);
unsigned search_choose(unsigned count);
void search_fail(const char *text);
void search_trace(const char *what, const void *address, uint64_t value, const char *note);

/* Makes the next search_yield() none: it would be in the same place. */
void search_skip_yield(void);

/* Sleeps until somebody wakes the word; false if time ran out: of a nap, only if somebody has died. */
enum sleep { SLEEP_FOR_EVER, SLEEP_TIMED, SLEEP_NAP };
bool search_sleep(const void *word, enum sleep how);
/* Wakes all who sleep on the word, or one of them, whichever. */
void search_wake(const void *word, bool all);
void search_yield_until_newer(void);

/* Wipes what dead frames left below the calling thread's stack, which would tell states apart. */
void search_settle(void);

/* Whether a thread has died. */
bool search_has_died(unsigned thread);

/* The calling thread goes on alone. */
void search_kill_others(void);

/* The thread's slot, set before the search; and whether there is an asymmetric fence (os.c). */
void search_set_offset(unsigned thread, uintptr_t offset);
extern bool explore_fence;

/* The process that sets a scenario up, and one that is no more. */
extern uint32_t explore_process;
extern uint32_t explore_gone;

/* A time-out, and who has run out of it in a pool that processes share. */
#define EXPLORE_TIMEOUT_NS 1000
extern bool explore_late[];

/* What mempool__os_map() gives out. */
enum { EXPLORE_PAGES = 5 };
extern unsigned char explore_pages[EXPLORE_PAGES][4096];
extern bool explore_page_used[EXPLORE_PAGES];

/* A name for an address, by the scenarios. */
const char *describe(const void *address);

#endif
