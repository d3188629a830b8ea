/* SPDX-License-Identifier: MIT */
/* The operating system as the model has it. */
#include "os.h"

#include "model.h"
#include "search.h"

size_t mempool__os_page_bytes(void)
{
  return 4096;
}

void *mempool__os_map(size_t bytes)
{
  (void)bytes;
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
  (void)memory;
  (void)bytes;
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
int64_t mempool__os_now_ns(void)
{
  return 0;
}

void mempool__os_sleep_until(int64_t deadline_ns)
{
  (void)deadline_ns;
  mempool__os_yield();
}

/* The kernel compares and goes to sleep in one step. */
bool mempool__os_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  search_yield();
  if (search_tracing)
    search_trace("futex wait", word, expected, "");
  if (model_peek(word) != expected)
    return true;
  return search_sleep(word, deadline_ns != OS_NEVER);
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

bool mempool__os_wait_shared(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
  return mempool__os_wait(word, expected, deadline_ns);
}

void mempool__os_wake_all_shared(atomic_u32 *word)
{
  mempool__os_wake(word);
}

uint32_t mempool__os_process(void)
{
  return 1;
}

uint64_t mempool__os_process_start(uint32_t process)
{
  return process;
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
