/* SPDX-License-Identifier: MIT */
/* The operating system as the model has it. */
#include "os.h"

#include "model.h"
#include "search.h"

#include <stdio.h>
#include <string.h>

size_t mempool__os_page_bytes(void)
{
  return 4096;
}

/* Handles of pools that processes share: made when a scenario is set up, and by threads that attach. */
unsigned char explore_pages[EXPLORE_PAGES][4096] __attribute__((aligned(4096)));
bool explore_page_used[EXPLORE_PAGES];

void *mempool__os_map(size_t bytes)
{
  unsigned i;
  if (bytes != sizeof explore_pages[0])
    return NULL;
  for (i = 0; i < EXPLORE_PAGES; i++) {
    if (!explore_page_used[i]) {
      explore_page_used[i] = true;
      return memset(explore_pages[i], 0, sizeof explore_pages[i]);
    }
  }
  return NULL;
}

void *mempool__os_map_huge(size_t bytes)
{
  (void)bytes;
  return NULL;
}

void *mempool__os_map_shared(size_t bytes)
{
  (void)bytes;
  return NULL;
}

void *mempool__os_map_shared_huge(size_t bytes)
{
  (void)bytes;
  return NULL;
}

void mempool__os_unmap(void *memory, size_t bytes)
{
  unsigned i;
  (void)bytes;
  for (i = 0; i < EXPLORE_PAGES; i++) {
    if (memory == explore_pages[i])
      explore_page_used[i] = false;
  }
}

void mempool__os_prefer_huge(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
}

bool mempool__os_forbid(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
  return false;
}

bool mempool__os_prefault(void *memory, size_t bytes)
{
  (void)memory;
  (void)bytes;
  return true;
}

/* Time stands still: a deadline is reached when the search chooses so. */
bool explore_late[THREADS];

int64_t mempool__os_now_ns(void)
{
  return search_running != NOBODY && explore_late[search_running] ? EXPLORE_TIMEOUT_NS : 0;
}

void mempool__os_sleep_until(int64_t deadline_ns)
{
  (void)deadline_ns;
  mempool__os_yield();
}

/* The kernel compares and goes to sleep in one step. */
static bool wait_on(atomic_u32 *word, uint32_t expected, enum sleep how)
{
  search_yield();
  if (search_tracing)
    search_trace("futex wait", word, expected, "");
  if (model_peek(word) != expected)
    return true;
  return search_sleep(word, how);
}

bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  return wait_on(word, expected, deadline_ns == OS_NEVER ? SLEEP_FOR_EVER : SLEEP_TIMED);
}

static void wake(const atomic_u32 *word, bool all)
{
  if (search_running == NOBODY)
    return;
  search_yield();
  if (search_tracing)
    search_trace(all ? "futex wake all" : "futex wake", word, 0, "");
  search_wake(word, all);
}

void mempool__os_wake(atomic_u32 *word)
{
  wake(word, true);
}

void mempool__os_wake_one(atomic_u32 *word)
{
  wake(word, false);
}

/* That sleepers look again by themselves now and then must not hide that nobody wakes them. */
bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  if (deadline_ns > EXPLORE_TIMEOUT_NS) {
    (void)wait_on(word, expected, SLEEP_NAP);
    return true;
  }
  if (!wait_on(word, expected, SLEEP_TIMED))
    explore_late[search_running] = true;
  return !explore_late[search_running];
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  if (search_running == NOBODY)
    return;
  search_yield();
  if (search_tracing)
    search_trace("futex wake all", word, 0, "");
  search_wake(word, true);
}

uint32_t explore_process = THREADS + 1;
uint32_t explore_gone;

/* Each thread is a process of its own. */
uint32_t mempool__os_process(void)
{
  return search_running == NOBODY ? explore_process : search_running + 1;
}

const char *mempool__os_debug_words(void)
{
  return "hide";
}

void mempool__os_say(const char *line, size_t length)
{
  (void)fwrite(line, 1, length, stderr);
}

uint32_t mempool__os_process_space(void)
{
  return 0;
}

/* Who sees that a process is gone sees all that it did. */
uint64_t mempool__os_process_start(uint32_t process)
{
  if (process == explore_gone)
    return 0;
  if (process > THREADS || !search_has_died(process - 1))
    return process + 1;
  if (search_running != NOBODY)
    model_observe_death(process - 1);
  return 0;
}

bool explore_fence = true;

bool mempool__os_fence_prepare(void)
{
  return explore_fence;
}

/* Without it, what is left of the call is the caller's own full fence. */
void mempool__os_fence_all(void)
{
  if (explore_fence)
    model_fence_all();
  else
    model_fence();
}

void mempool__os_yield(void)
{
  if (search_running == NOBODY)
    search_fail("somebody is still inside a cache");
  else
    model_await();
}
