/* SPDX-License-Identifier: MIT */
/*
 * A process is killed at every instruction of every call on a shared pool.
 *
 * The victim is executed step by step, by ptrace(2).  Its death at an
 * instruction leaves the pool's memory as it is there: so the memory is kept,
 * as it is before each step in which it changed, and each of these states is
 * judged when the victim is dead.  A sample of the steps is run for itself,
 * with a real death there; TEST_DEATHS asks for so many of these in each state
 * of the pool, and TEST_ROUNDS for so many deaths at random under churn.
 *
 * In each state another attachment must be able to work at once, and after
 * recovering nothing may be lost, or be handed out twice.  And in each again,
 * after all blocks that were free have been taken so often that their words
 * are what they were.
 */
#include "peers.h"
#include "runner.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <linux/futex.h>
#include <sys/user.h>
#endif

#define CAPACITY 8
#define BLOCK_SIZE 64
#define MOST_HELD 3

#define MOST_OWNERS 5
#define GENERATIONS 16383

static uint64_t seed;

/* What the victim and its parent say to each other; kept with each state of the memory. */
typedef struct notes {
  atomic_uint begun, ended;
  atomic_uint got[MOST_HELD];  /* index + 1 of each block that the victim surely has */
  atomic_uint given;           /* index + 1 of that of the parent's which the victim frees */
  bool parents[CAPACITY];      /* the blocks that the parent has */
  size_t lent;                 /* blocks that somebody who is dead had before */
  size_t in_flight;            /* the most that the victim's call takes or gives at once */
} notes;

/* The memory as it was before one or more steps. */
typedef struct state {
  struct state *next;
  size_t step;
  notes said;
  unsigned char memory[];
} state;

typedef struct trial {
  ground g;
  mempool *own; /* the parent's */
  notes *n;
  const struct act *act;
  size_t left; /* free blocks when the call begins */
  bool warm;   /* both have used the pool before */
  mempool *victims;
  void *held[MOST_HELD];
  uint32_t dead_owner;
  size_t steps;
} trial;

/* What the victim does.  prepare() is run before, and steps are taken in run(). */
typedef struct act {
  const char *name;
  void (*run)(trial *t);
  size_t holds;       /* blocks that the victim has when it begins */
  size_t in_flight;
  bool attached;      /* when it begins */
  bool rescues;       /* there is a dead owner with blocks */
  bool crowded;       /* and others without, so that no number is left */
  bool served;        /* the parent frees a block when the victim is about to sleep */
  bool makes;         /* there is no pool before */
} act;

/* So few that it is seen when the place of one is lost. */
static mempool_options few_owners(void)
{
  mempool_options options = shared_options(0);
  options.max_owners = MOST_OWNERS;
  return options;
}

/* ---- The victim ---- */

static void note_block(trial *t, size_t i, void *block)
{
  uint32_t index;
  t->held[i] = block;
  if (block != NULL && mempool_block_index(t->victims, block, &index) == MEMPOOL_OK)
    atomic_store(&t->n->got[i], index + 1);
}

static void run_alloc(trial *t)
{
  size_t i;
  for (i = 0; i < MOST_HELD; i++)
    note_block(t, i, mempool_alloc(t->victims));
}

static void run_free(trial *t)
{
  size_t i;
  for (i = 0; i < MOST_HELD; i++) {
    atomic_store(&t->n->got[i], 0);
    (void)mempool_free(t->victims, t->held[i]);
  }
}

/* Frees what the parent took. */
static void run_free_others(trial *t)
{
  uint32_t i;
  for (i = 0; i < CAPACITY; i++) {
    if (t->n->parents[i]) {
      atomic_store(&t->n->given, i + 1);
      t->n->parents[i] = false;
      (void)mempool_free(t->victims, mempool_block_at(t->victims, i));
      atomic_store(&t->n->given, 0);
    }
  }
}

static void run_pairs(trial *t)
{
  int i;
  for (i = 0; i < 3; i++) {
    note_block(t, 0, mempool_alloc(t->victims));
    atomic_store(&t->n->got[0], 0);
    (void)mempool_free(t->victims, t->held[0]);
  }
}

static void run_alloc_bulk(trial *t)
{
  void *blocks[MOST_HELD];
  size_t i;
  if (mempool_alloc_bulk(t->victims, blocks, MOST_HELD) == MEMPOOL_OK) {
    for (i = 0; i < MOST_HELD; i++)
      note_block(t, i, blocks[i]);
  }
}

static void run_alloc_burst(trial *t)
{
  void *blocks[MOST_HELD];
  size_t i, count = mempool_alloc_burst(t->victims, blocks, MOST_HELD);
  for (i = 0; i < count; i++)
    note_block(t, i, blocks[i]);
}

static void run_free_bulk(trial *t)
{
  size_t i;
  for (i = 0; i < MOST_HELD; i++)
    atomic_store(&t->n->got[i], 0);
  (void)mempool_free_bulk(t->victims, t->held, MOST_HELD);
}

static void run_double_free(trial *t)
{
  atomic_store(&t->n->got[0], 0);
  (void)mempool_free(t->victims, t->held[0]);
  (void)mempool_free(t->victims, t->held[0]);
}

static void run_wait_timed(trial *t)
{
  void *block;
  if (mempool_alloc_wait(t->victims, &block, 50000000) == MEMPOOL_OK)
    note_block(t, 0, block);
}

static void run_wait_served(trial *t)
{
  void *block;
  if (mempool_alloc_wait(t->victims, &block, -1) == MEMPOOL_OK)
    note_block(t, 0, block);
}

static void run_attach(trial *t)
{
  if (mempool_attach(&t->victims, t->g.memory, t->g.bytes) != MEMPOOL_OK)
    t->victims = NULL;
}

static void run_destroy(trial *t)
{
  mempool_destroy(t->victims);
}

static void run_recover(trial *t)
{
  size_t recovered;
  (void)mempool_recover(t->victims, t->dead_owner, &recovered);
}

static void run_recover_dead(trial *t)
{
  size_t recovered;
  (void)mempool_recover_dead(t->victims, &recovered);
}

static void run_close(trial *t)
{
  mempool_close(t->victims);
}

static void run_init(trial *t)
{
  mempool_options options = few_owners();
  if (mempool_init(&t->victims, t->g.memory, t->g.bytes, BLOCK_SIZE, CAPACITY, &options) != MEMPOOL_OK)
    t->victims = NULL;
}

/* Takes all there is and gives it back, so that every hint has something in it. */
static void warm_up(mempool *pool)
{
  void *blocks[CAPACITY];
  size_t round, count, i;
  for (round = 0; round < 3; round++) {
    for (count = 0; count < CAPACITY && (blocks[count] = mempool_alloc(pool)) != NULL;)
      count++;
    for (i = 0; i < count; i++)
      (void)mempool_free(pool, blocks[round == 1 ? count - 1 - i : i]);
  }
}

static int be_victim(void *arg)
{
  trial *t = arg;
  size_t i;
  if (t->act->attached) {
    REQUIRE(mempool_attach(&t->victims, t->g.memory, t->g.bytes) == MEMPOOL_OK);
    if (t->warm)
      warm_up(t->victims);
    for (i = 0; i < t->act->holds; i++)
      note_block(t, i, mempool_alloc(t->victims));
  }
  REQUIRE(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
  REQUIRE(raise(SIGUSR1) == 0); /* which only its parent gets to see */
  atomic_store(&t->n->begun, 1);
  t->act->run(t);
  atomic_store(&t->n->ended, 1);
  for (;;)
    (void)sched_yield();
}

/* ---- The parent ---- */

/* The victim of a rescue: it dies with two blocks. */
static int die_with_blocks(void *arg)
{
  trial *t = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, t->g.memory, t->g.bytes) == MEMPOOL_OK);
  REQUIRE(mempool_alloc(mine) != NULL && mempool_alloc(mine) != NULL);
  atomic_store(&t->n->got[0], mempool_owner(mine));
  return 0;
}

static int die_attached(void *arg)
{
  trial *t = arg;
  mempool *mine = NULL;
  REQUIRE(mempool_attach(&mine, t->g.memory, t->g.bytes) == MEMPOOL_OK);
  return 0;
}

static void make_pool(trial *t)
{
  mempool_options options = few_owners();
  t->g.bytes = mempool_required_size(BLOCK_SIZE, CAPACITY, &options);
  t->g.memory = map_shared(t->g.bytes);
  t->own = NULL;
  if (t->act->makes && !t->warm)
    return;
  CU_ASSERT_EQUAL_FATAL(mempool_init(&t->own, t->g.memory, t->g.bytes, BLOCK_SIZE, CAPACITY, &options), MEMPOOL_OK);
  if (t->warm)
    warm_up(t->own);
  if (t->act->makes) {
    mempool_destroy(t->own);
    t->own = NULL;
  }
  if (t->act->rescues) {
    CU_ASSERT(run_child(die_with_blocks, t));
    t->dead_owner = atomic_exchange(&t->n->got[0], 0);
    t->n->lent = 2;
  }
  if (t->act->crowded) {
    size_t i;
    for (i = 2; i < MOST_OWNERS; i++)
      CU_ASSERT(run_child(die_attached, t));
  }
}

static void take_all_but(trial *t, size_t left)
{
  uint32_t index;
  while (stats_of(t->own).available > left) {
    CU_ASSERT_EQUAL_FATAL(mempool_block_index(t->own, mempool_alloc(t->own), &index), MEMPOOL_OK);
    t->n->parents[index] = true;
  }
}

/* Executes one instruction.  Returns the signal that stops it then: SIGTRAP, if all is well. */
static int execute_one(pid_t victim)
{
  int status = 0;
  do {
    if (ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL) != 0 || waitpid(victim, &status, 0) != victim)
      return 0;
  } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCONT); /* some shell's business */
  return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

/* Starts the victim, and returns when it is about to begin. */
static pid_t start_victim(trial *t)
{
  int status = 0;
  pid_t victim;
  memset(t->n, 0, sizeof(*t->n));
  make_pool(t);
  t->n->in_flight = t->act->in_flight;
  victim = start_child(be_victim, t);
  if (waitpid(victim, &status, 0) != victim || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGUSR1)
    return -1;
  while (atomic_load(&t->n->begun) == 0) {
    if (execute_one(victim) != SIGTRAP)
      return -1;
  }
  if (t->own != NULL && !t->act->makes)
    take_all_but(t, t->left);
  return victim;
}

static void forget(trial *t)
{
  if (t->own != NULL)
    mempool_destroy(t->own);
  unmap_shared(t->g.memory, t->g.bytes);
}

/* Whether the next instruction lets it sleep: on a futex, or where there is none, for a while. */
static bool about_to_sleep(pid_t victim)
{
#if defined(__x86_64__)
  struct user_regs_struct registers;
  bool sleeps;
  if (ptrace(PTRACE_GETREGS, victim, NULL, &registers) != 0)
    return false;
  sleeps = registers.rax == SYS_nanosleep || registers.rax == SYS_clock_nanosleep ||
           (registers.rax == SYS_futex &&
            ((registers.rsi & 0x7f) == FUTEX_WAIT || (registers.rsi & 0x7f) == FUTEX_WAIT_BITSET));
  return sleeps && (ptrace(PTRACE_PEEKTEXT, victim, (void *)registers.rip, NULL) & 0xffff) == 0x050f;
#else
  (void)victim;
  return false;
#endif
}

static void free_one(trial *t)
{
  uint32_t i = 0;
  while (!t->n->parents[i])
    i++;
  t->n->parents[i] = false;
  CU_ASSERT_EQUAL(mempool_free(t->own, mempool_block_at(t->own, i)), MEMPOOL_OK);
}

/* One step.  False if the victim has come to the end, or to grief. */
static bool step(trial *t, pid_t victim, bool *served)
{
  int signal_number;
  if (t->act->served && !*served && about_to_sleep(victim)) {
    *served = true;
    free_one(t);
  }
  signal_number = execute_one(victim);
  if (signal_number != SIGTRAP) {
    printf("# %s: the victim came to grief by signal %d\n", t->act->name, signal_number);
    CU_FAIL("the victim came to grief");
    return false;
  }
  return atomic_load(&t->n->ended) == 0;
}

/* ---- Judging ---- */

static const char *wrong; /* the first thing that was, or NULL */

#define JUDGE(condition)     \
  do {                       \
    if (!(condition)) {      \
      if (wrong == NULL)     \
        wrong = #condition;  \
      return false;          \
    }                        \
  } while (0)

static size_t count_of(const bool *blocks)
{
  size_t i, count = 0;
  for (i = 0; i < CAPACITY; i++)
    count += blocks[i];
  return count;
}

/* Takes all there is.  False if there is a block that somebody has, or one twice. */
static bool take_all(mempool *pool, const bool *others, bool *taken)
{
  void *block;
  memset(taken, 0, CAPACITY * sizeof(bool));
  while ((block = mempool_alloc(pool)) != NULL) {
    uint32_t index = CAPACITY;
    JUDGE(mempool_block_index(pool, block, &index) == MEMPOOL_OK && index < CAPACITY);
    JUDGE(!others[index]);
    JUDGE(!taken[index]);
    taken[index] = true;
  }
  return true;
}

static bool give_all(mempool *pool, const bool *blocks)
{
  uint32_t i;
  for (i = 0; i < CAPACITY; i++)
    JUDGE(!blocks[i] || mempool_free(pool, mempool_block_at(pool, i)) == MEMPOOL_OK);
  return true;
}

/* Nobody has recovered yet, and still the pool works for others. */
static bool works_before_recovering(mempool *pool, const notes *n, size_t kept)
{
  bool others[CAPACITY], taken[CAPACITY];
  mempool_stats stats = stats_of(pool);
  size_t i;
  memcpy(others, n->parents, sizeof(others));
  for (i = 0; i < MOST_HELD; i++) {
    if (n->got[i] != 0)
      others[n->got[i] - 1] = true;
  }
  JUDGE(stats.used + stats.available == CAPACITY);
  JUDGE(mempool_check(pool) == MEMPOOL_OK);
  JUDGE(take_all(pool, others, taken));
  JUDGE(count_of(taken) + kept + n->in_flight + n->lent + count_of(n->parents) >= CAPACITY);
  JUDGE(give_all(pool, taken));
  return true;
}

static bool works_after_recovering(mempool *pool, const notes *n)
{
  bool taken[CAPACITY], none[CAPACITY] = { false };
  size_t held = count_of(n->parents);
  void *block;
  JUDGE(stats_of(pool).used == held);
  JUDGE(stats_of(pool).available == CAPACITY - held);
  JUDGE(stats_of(pool).waiting == 0);
  JUDGE(mempool_check(pool) == MEMPOOL_OK);
  JUDGE(take_all(pool, n->parents, taken));
  JUDGE(count_of(taken) == CAPACITY - held);
  JUDGE(mempool_alloc_wait(pool, &block, 1) == MEMPOOL_E_TIMED_OUT);
  JUDGE(give_all(pool, n->parents));
  if (held != 0) {
    JUDGE(mempool_alloc_wait(pool, &block, -1) == MEMPOOL_OK);
    JUDGE(mempool_free(pool, block) == MEMPOOL_OK);
  }
  JUDGE(give_all(pool, taken));
  JUDGE(take_all(pool, none, taken));
  JUDGE(count_of(taken) == CAPACITY);
  JUDGE(give_all(pool, taken));
  JUDGE(stats_of(pool).used == 0);
  JUDGE(mempool_check(pool) == MEMPOOL_OK);
  return true;
}

/* A pool that the victim closed, or was about to. */
static bool is_closed_and_whole(mempool *pool, const notes *n)
{
  size_t recovered;
  mempool_close(pool);
  JUDGE(mempool_alloc(pool) == NULL);
  JUDGE(mempool_recover_dead(pool, &recovered) == MEMPOOL_OK);
  JUDGE(give_all(pool, n->parents));
  JUDGE(stats_of(pool).used == 0);
  JUDGE(mempool_check(pool) == MEMPOOL_OK);
  return true;
}

/* A block of another's that the victim was about to free is still that one's if it hadn't begun. */
static void free_given(mempool *pool, const notes *n, const bool *taken)
{
  if (n->given != 0 && (taken == NULL || !taken[n->given - 1]))
    (void)mempool_free(pool, mempool_block_at(pool, n->given - 1));
}

static bool recovers(mempool *pool, const notes *n)
{
  size_t recovered = 99, kept = 0, i;
  for (i = 0; i < MOST_HELD; i++)
    kept += n->got[i] != 0;
  JUDGE(works_before_recovering(pool, n, kept));
  JUDGE(mempool_recover_dead(pool, &recovered) == MEMPOOL_OK);
  JUDGE(recovered >= kept);
  JUDGE(recovered <= kept + n->lent + n->in_flight);
  free_given(pool, n, NULL);
  JUDGE(works_after_recovering(pool, n));
  JUDGE(mempool_recover_dead(pool, &recovered) == MEMPOOL_OK);
  JUDGE(recovered == 0);
  return true;
}

/* The maker may have died before it was a pool; if it wasn't, what it left is one. */
static bool is_refused_or_whole(trial *t, const notes *n)
{
  mempool *pool = NULL;
  size_t recovered;
  mempool_status status = mempool_attach(&pool, t->g.memory, t->g.bytes);
  JUDGE(status == MEMPOOL_OK || status == MEMPOOL_E_CORRUPTED);
  JUDGE(status == MEMPOOL_OK || n->ended == 0);
  if (status != MEMPOOL_OK)
    return true;
  JUDGE(mempool_recover_dead(pool, &recovered) == MEMPOOL_OK);
  JUDGE(recovered == 0);
  JUDGE(works_after_recovering(pool, n));
  mempool_destroy(pool);
  return true;
}

/* Nobody's place is lost: as many can attach as ever. */
static bool all_places_are_there(trial *t)
{
  mempool *others[MOST_OWNERS];
  size_t count = 0;
  while (count < MOST_OWNERS && mempool_attach(&others[count], t->g.memory, t->g.bytes) == MEMPOOL_OK)
    count++;
  JUDGE(count == MOST_OWNERS - 2);
  while (count != 0)
    mempool_destroy(others[--count]);
  return true;
}

/* The victim is dead, and the memory is as it left it. */
static bool judge(trial *t, const notes *n)
{
  mempool *pool = NULL;
  wrong = NULL;
  if (t->act->makes)
    return is_refused_or_whole(t, n);
  JUDGE(mempool_attach(&pool, t->g.memory, t->g.bytes) == MEMPOOL_OK);
  if (t->act->run == run_close)
    JUDGE(is_closed_and_whole(pool, n));
  else
    JUDGE(recovers(pool, n));
  JUDGE(all_places_are_there(t));
  mempool_destroy(pool);
  return true;
}

/*
 * Each block that is free has been taken by another a whole round of
 * generations later, who keeps it: by the parent, if it was one of its own that
 * was being freed, for then owner and generation are what they were.
 */
static bool judge_after_a_round(trial *t, const notes *n)
{
  mempool *pool = NULL, *taker;
  bool taken[CAPACITY], more[CAPACITY], none[CAPACITY] = { false };
  uint32_t i;
  int generation;
  wrong = NULL;
  JUDGE(mempool_attach(&pool, t->g.memory, t->g.bytes) == MEMPOOL_OK);
  taker = n->given != 0 ? t->own : pool;
  JUDGE(take_all(taker, n->parents, taken));
  for (i = 0; i < CAPACITY; i++) {
    for (generation = 1; taken[i] && generation < GENERATIONS; generation++) {
      JUDGE(mempool_free(taker, mempool_block_at(taker, i)) == MEMPOOL_OK);
      JUDGE(mempool_alloc(taker) == mempool_block_at(taker, i));
    }
  }
  JUDGE(mempool_recover_dead(pool, NULL) == MEMPOOL_OK);
  free_given(pool, n, taken);
  JUDGE(mempool_check(pool) == MEMPOOL_OK);
  JUDGE(stats_of(pool).used == count_of(taken) + count_of(n->parents));
  JUDGE(take_all(pool, taken, more));
  JUDGE(count_of(taken) + count_of(more) + count_of(n->parents) == CAPACITY);
  JUDGE(give_all(pool, taken) && give_all(pool, more) && give_all(pool, n->parents));
  JUDGE(take_all(pool, none, taken) && count_of(taken) == CAPACITY);
  JUDGE(give_all(pool, taken));
  mempool_destroy(pool);
  return true;
}

static void report(const trial *t, size_t at, const char *how)
{
  printf("# %s, %zu left%s: killed before step %zu (%s): not so: %s\n", t->act->name, t->left, t->warm ? ", warm" : "", at,
         how, wrong);
  CU_FAIL("a death was not survived");
}

/* ---- Every state that a death can leave ---- */

static state *keep(trial *t, size_t at)
{
  state *kept = malloc(sizeof(*kept) + t->g.bytes);
  CU_ASSERT_PTR_NOT_NULL_FATAL(kept);
  kept->next = NULL;
  kept->step = at;
  memcpy(&kept->said, t->n, sizeof(kept->said));
  memcpy(kept->memory, t->g.memory, t->g.bytes);
  return kept;
}

static bool differs(const trial *t, const state *last)
{
  return memcmp(&last->said, t->n, sizeof(last->said)) != 0 || memcmp(last->memory, t->g.memory, t->g.bytes) != 0;
}

/* Steps through the act to its end.  Returns the states, or NULL if nothing can be traced. */
static state *collect(trial *t)
{
  pid_t victim = start_victim(t);
  state *first = NULL, *last = NULL;
  bool served = false, more = victim > 0;
  for (t->steps = 0; more; t->steps++) {
    if (last == NULL || differs(t, last)) {
      state *now = keep(t, t->steps);
      *(last == NULL ? &first : &last->next) = now;
      last = now;
    }
    more = step(t, victim, &served);
  }
  if (last != NULL)
    last->next = keep(t, t->steps);
  if (victim > 0)
    kill_child(victim);
  CU_ASSERT(!t->act->served || served);
  return first;
}

static size_t judge_states(trial *t, state *first)
{
  size_t count = 0;
  unsigned failures = CU_get_number_of_failures();
  while (first != NULL) {
    state *next = first->next;
    if (first->said.given != 0)
      first->said.parents[first->said.given - 1] = false;
    memcpy(t->g.memory, first->memory, t->g.bytes);
    if (CU_get_number_of_failures() - failures < 3 && !judge(t, &first->said))
      report(t, first->step, "kept");
    memcpy(t->g.memory, first->memory, t->g.bytes);
    if (CU_get_number_of_failures() - failures < 3 && t->act->in_flight != 0 && !judge_after_a_round(t, &first->said))
      report(t, first->step, "kept, a round later");
    free(first);
    first = next;
    count++;
  }
  return count;
}

/* One death for real.  False if the act has fewer steps. */
static void die_at(trial *t, size_t at)
{
  pid_t victim = start_victim(t);
  bool served = false;
  size_t i;
  CU_ASSERT_FATAL(victim > 0);
  for (i = 0; i < at && step(t, victim, &served); i++)
    ;
  kill_child(victim);
  if (t->n->given != 0)
    t->n->parents[t->n->given - 1] = false;
  if (!judge(t, t->n))
    report(t, at, "for real");
  forget(t);
}

static bool can_trace(void)
{
#if defined(__x86_64__) || defined(__i386__)
  static trial t;
  static const act nothing = { "nothing", run_close, .attached = true };
  pid_t victim;
  bool can;
  if (getenv("TEST_SLOW_TOOL") != NULL) {
    skip_test("the tool that this runs under would be what is traced");
    return false;
  }
  if (sanitized()) {
    skip_test("the sanitizer's own instructions are the most of those that would be stepped through");
    return false;
  }
  t.n = map_shared(sizeof(*t.n));
  t.act = &nothing;
  victim = start_victim(&t);
  can = victim > 0;
  if (victim > 0)
    kill_child(victim);
  forget(&t);
  unmap_shared(t.n, sizeof(*t.n));
  if (!can)
    skip_test("ptrace is refused");
  return can;
#else
  skip_test("stepping is only known to get past a compare-and-swap on x86");
  return false;
#endif
}

/* Each call of the library once, so that the linker's own work is not what is stepped through. */
static void bind_all(void)
{
  ground g;
  size_t recovered;
  void *blocks[MOST_HELD];
  mempool *second, *pool = lay_out(&g, BLOCK_SIZE, CAPACITY, 0);
  second = attach(g.memory, g.bytes);
  CU_ASSERT_EQUAL(mempool_alloc_wait(second, &blocks[0], 0), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  (void)mempool_recover(pool, 0, &recovered);
  (void)mempool_recover_dead(pool, &recovered);
  CU_ASSERT_EQUAL(mempool_alloc_bulk(pool, blocks, MOST_HELD), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_free_bulk(pool, blocks, MOST_HELD), MEMPOOL_OK);
  CU_ASSERT_EQUAL(mempool_alloc_burst(pool, blocks, 1), 1);
  CU_ASSERT_EQUAL(mempool_free(pool, blocks[0]), MEMPOOL_OK);
  mempool_close(pool);
  mempool_destroy(second);
  clear_away(&g);
}

/* How many steps of a trial are run for themselves: what the environment asks for, else so many. */
static size_t real_deaths(size_t count)
{
  const char *given = getenv("TEST_DEATHS");
  return given != NULL ? (size_t)strtoull(given, NULL, 0) : count;
}

/* In each state of the pool: how much is left, cold and warm. */
static void kill_everywhere(const act *a)
{
  static trial t;
  size_t total = 0, states = 0, real = 0, k, i, lefts[4] = { CAPACITY - a->holds - (a->rescues ? 2 : 0), 4, 1, 0 };
  uint64_t random = seed;
  if (!can_trace())
    return;
  bind_all();
  t.n = map_shared(sizeof(*t.n));
  t.act = a;
  for (k = 0; k < 8; k++) {
    /* A death costs a process, and all the steps up to it. */
    size_t samples = real_deaths((k + seed) % 4 == 0);
    state *first;
    t.left = lefts[k / 2];
    t.warm = k % 2 != 0;
    if ((a->run == run_wait_timed || a->run == run_wait_served) && t.left != 0)
      continue;
    if (a->makes && k >= 2)
      continue;
    first = collect(&t);
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    total += t.steps;
    states += judge_states(&t, first);
    forget(&t);
    for (i = 0; i < samples && i < t.steps; i++, real++)
      die_at(&t, samples >= t.steps ? i : (size_t)(test_random(&random) % t.steps));
  }
  unmap_shared(t.n, sizeof(*t.n));
  printf("# %s: %zu instructions, %zu states of the memory; %zu deaths for real\n", a->name, total, states, real);
}

#define KILL_TEST(test, ...)                    \
  static void test(void)                        \
  {                                             \
    static const act a = { __VA_ARGS__ };       \
    kill_everywhere(&a);                        \
  }

KILL_TEST(test_alloc_killed_at_each_instruction_nothing_lost,
          "alloc", run_alloc, .holds = 0, .in_flight = 1, .attached = true)
KILL_TEST(test_free_killed_at_each_instruction_nothing_lost,
          "free", run_free, .holds = MOST_HELD, .in_flight = 1, .attached = true)
KILL_TEST(test_free_of_others_killed_at_each_instruction_nothing_lost,
          "free of another's", run_free_others, .holds = 0, .in_flight = 1, .attached = true)
KILL_TEST(test_alloc_free_pairs_killed_at_each_instruction_nothing_lost,
          "pairs", run_pairs, .holds = 0, .in_flight = 1, .attached = true)
KILL_TEST(test_alloc_bulk_killed_at_each_instruction_nothing_lost,
          "alloc_bulk", run_alloc_bulk, .holds = 0, .in_flight = MOST_HELD, .attached = true)
KILL_TEST(test_alloc_burst_killed_at_each_instruction_nothing_lost,
          "alloc_burst", run_alloc_burst, .holds = 0, .in_flight = MOST_HELD, .attached = true)
KILL_TEST(test_free_bulk_killed_at_each_instruction_nothing_lost,
          "free_bulk", run_free_bulk, .holds = MOST_HELD, .in_flight = MOST_HELD, .attached = true)
KILL_TEST(test_free_twice_killed_at_each_instruction_nothing_lost,
          "free twice", run_double_free, .holds = 1, .in_flight = 1, .attached = true)
KILL_TEST(test_alloc_wait_timed_killed_at_each_instruction_nothing_lost,
          "alloc_wait, timed out", run_wait_timed, .holds = 0, .in_flight = 1, .attached = true)
KILL_TEST(test_attach_killed_at_each_instruction_nothing_lost,
          "attach", run_attach, .holds = 0, .in_flight = 0, .attached = false)
KILL_TEST(test_attach_in_place_of_the_dead_killed_at_each_instruction_nothing_lost,
          "attach in place of the dead", run_attach, .rescues = true, .crowded = true)
KILL_TEST(test_destroy_killed_at_each_instruction_nothing_lost,
          "destroy", run_destroy, .holds = 0, .in_flight = 0, .attached = true)
KILL_TEST(test_close_killed_at_each_instruction_nothing_lost,
          "close", run_close, .holds = 0, .in_flight = 0, .attached = true)
KILL_TEST(test_recover_killed_at_each_instruction_nothing_lost,
          "recover", run_recover, .holds = 0, .in_flight = 0, .attached = true, .rescues = true)
KILL_TEST(test_recover_dead_killed_at_each_instruction_nothing_lost,
          "recover_dead", run_recover_dead, .holds = 0, .in_flight = 0, .attached = true, .rescues = true)
KILL_TEST(test_init_killed_at_each_instruction_refused_or_whole,
          "init", run_init, .makes = true)

static void test_alloc_wait_served_killed_at_each_instruction_nothing_lost(void)
{
#if defined(__x86_64__)
  static const act a = { "alloc_wait, served", run_wait_served, .in_flight = 1, .attached = true, .served = true };
  kill_everywhere(&a);
#else
  skip_test("where it begins to sleep is only known on x86-64");
#endif
}

/* ---- Deaths at random ---- */

#define WORKERS 4
#define WORKER_HOLDS 4
#define CROWD (WORKERS * WORKER_HOLDS)

/* Every life has a number of its own, from 1, which it writes beside each block that it holds. */
typedef struct crowd {
  ground g;
  mempool *own;
  atomic_uint holder[CROWD];
  atomic_uint wrong;
  atomic_size_t operations;
  size_t lives;
  atomic_bool doomed[]; /* each life */
} crowd;

typedef struct life {
  crowd *c;
  mempool *pool;
  unsigned number;
  uint64_t random;
  void *held[WORKER_HOLDS];
  size_t count;
} life;

/* A block is nobody's, or was that of a life that is over. */
static int note_taken(life *l, void *block)
{
  uint32_t index = CROWD;
  unsigned before;
  REQUIRE(block != NULL);
  REQUIRE(mempool_block_index(l->pool, block, &index) == MEMPOOL_OK && index < CROWD);
  before = atomic_exchange(&l->c->holder[index], l->number);
  REQUIRE(before == 0 || atomic_load(&l->c->doomed[before]));
  *(unsigned *)block = l->number;
  l->held[l->count++] = block;
  return 0;
}

static int note_given(life *l, void *block)
{
  uint32_t index = CROWD;
  unsigned expected = l->number;
  REQUIRE(*(unsigned *)block == l->number);
  REQUIRE(mempool_block_index(l->pool, block, &index) == MEMPOOL_OK);
  REQUIRE(atomic_compare_exchange_strong(&l->c->holder[index], &expected, 0));
  return 0;
}

/* Nobody may take more than its share, so there is always a block.  True if something was wrong. */
static int live_a_moment(life *l)
{
  uint64_t choice = test_random(&l->random);
  size_t i = choice / 64 % WORKER_HOLDS;
  void *blocks[2];
  if (choice % 1024 == 0) {
    size_t recovered;
    REQUIRE(mempool_recover_dead(l->pool, &recovered) == MEMPOOL_OK);
  } else if (choice % 16 == 1 && l->count + 2 <= WORKER_HOLDS) {
    REQUIRE(mempool_alloc_bulk(l->pool, blocks, 2) == MEMPOOL_OK);
    return note_taken(l, blocks[0]) || note_taken(l, blocks[1]);
  } else if (choice % 16 == 2 && l->count != WORKER_HOLDS) {
    REQUIRE(mempool_alloc_wait(l->pool, blocks, -1) == MEMPOOL_OK);
    return note_taken(l, blocks[0]);
  } else if (choice % 2 == 0 && l->count != WORKER_HOLDS) {
    return note_taken(l, mempool_alloc(l->pool));
  } else if (i < l->count) {
    if (note_given(l, l->held[i]))
      return 1;
    REQUIRE(mempool_free(l->pool, l->held[i]) == MEMPOOL_OK);
    l->held[i] = l->held[--l->count];
  }
  return 0;
}

static unsigned number_of_next; /* as the child finds it */

static int live(void *arg)
{
  crowd *c = arg;
  life l = { .c = c };
  l.number = number_of_next;
  (void)setpriority(PRIO_PROCESS, 0, 19); /* or it is the killer who waits for a turn, most of the time */
  l.random = seed + l.number;
  if (mempool_attach(&l.pool, c->g.memory, c->g.bytes) != MEMPOOL_OK)
    atomic_fetch_add(&c->wrong, 1);
  while (l.pool != NULL && live_a_moment(&l) == 0)
    atomic_fetch_add_explicit(&c->operations, 1, memory_order_relaxed);
  atomic_fetch_add(&c->wrong, 1);
  (void)pause();
  return 1;
}

static pid_t begin_life(crowd *c, unsigned *number)
{
  *number = ++number_of_next;
  return start_child(live, c);
}

static void end_life(crowd *c, pid_t worker, unsigned number)
{
  atomic_store(&c->doomed[number], true);
  kill_child(worker);
}

static void test_recover_dead_killed_at_random_nothing_lost(void)
{
  size_t count = rounds(300, 10), bytes = sizeof(crowd) + (count + WORKERS + 1) * sizeof(atomic_bool), i, recovered;
  crowd *c = map_shared(bytes);
  pid_t workers[WORKERS];
  unsigned numbers[WORKERS];
  uint64_t random = seed;
  c->own = lay_out(&c->g, BLOCK_SIZE, CROWD, 0);
  for (i = 0; i < WORKERS; i++)
    workers[i] = begin_life(c, &numbers[i]);
  for (i = 0; i < count && atomic_load(&c->wrong) == 0; i++) {
    size_t victim = test_random(&random) % WORKERS, spins = 0,
           until = atomic_load(&c->operations) + test_random(&random) % 4096;
    /* To give way costs the time that the others take: only where they can't go on otherwise. */
    while (atomic_load(&c->operations) < until && atomic_load(&c->wrong) == 0) {
      if (++spins % 4096 == 0)
        (void)sched_yield();
    }
    end_life(c, workers[victim], numbers[victim]);
    CU_ASSERT_EQUAL(mempool_recover_dead(c->own, &recovered), MEMPOOL_OK);
    CU_ASSERT(recovered <= WORKER_HOLDS + 2);
    workers[victim] = begin_life(c, &numbers[victim]);
  }
  CU_ASSERT_EQUAL(atomic_load(&c->wrong), 0);
  for (i = 0; i < WORKERS; i++)
    end_life(c, workers[i], numbers[i]);
  CU_ASSERT_EQUAL(mempool_recover_dead(c->own, &recovered), MEMPOOL_OK);
  CU_ASSERT_EQUAL(stats_of(c->own).used, 0);
  CU_ASSERT(rest_is_whole(c->own));
  printf("# %zu deaths in %zu operations\n", count, (size_t)atomic_load(&c->operations));
  clear_away(&c->g);
  unmap_shared(c, bytes);
}

int main(void)
{
  static const test_case tests[] = {
    TEST(test_alloc_killed_at_each_instruction_nothing_lost),
    TEST(test_free_killed_at_each_instruction_nothing_lost),
    TEST(test_free_of_others_killed_at_each_instruction_nothing_lost),
    TEST(test_alloc_free_pairs_killed_at_each_instruction_nothing_lost),
    TEST(test_alloc_bulk_killed_at_each_instruction_nothing_lost),
    TEST(test_alloc_burst_killed_at_each_instruction_nothing_lost),
    TEST(test_free_bulk_killed_at_each_instruction_nothing_lost),
    TEST(test_free_twice_killed_at_each_instruction_nothing_lost),
    TEST(test_alloc_wait_timed_killed_at_each_instruction_nothing_lost),
    TEST(test_alloc_wait_served_killed_at_each_instruction_nothing_lost),
    TEST(test_attach_killed_at_each_instruction_nothing_lost),
    TEST(test_attach_in_place_of_the_dead_killed_at_each_instruction_nothing_lost),
    TEST(test_destroy_killed_at_each_instruction_nothing_lost),
    TEST(test_close_killed_at_each_instruction_nothing_lost),
    TEST(test_recover_killed_at_each_instruction_nothing_lost),
    TEST(test_recover_dead_killed_at_each_instruction_nothing_lost),
    TEST(test_init_killed_at_each_instruction_refused_or_whole),
    TEST(test_recover_dead_killed_at_random_nothing_lost),
  };
  give_up_in_time();
  seed = test_seed();
  return RUN_TESTS(tests);
}
