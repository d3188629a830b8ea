/* SPDX-License-Identifier: MIT */
/*
 * lib/threads.c with its static variables within reach, so that each execution
 * can begin with what they held at first, and with the C library's hooks at
 * the ends of threads and at forks replaced by ones that scenarios call.
 */
#include "statics.h"

#include "search.h"

#include <pthread.h>
#include <string.h>

#define pthread_once explore_once
#define pthread_key_create explore_key_create
#define pthread_setspecific explore_setspecific
#define pthread_atfork explore_atfork

static void (*destructor)(void *);
static void (*handlers[3])(void);

static bool once_done;

static int explore_once(pthread_once_t *control, void (*prepare_once)(void))
{
  (void)control;
  if (!once_done)
    prepare_once();
  once_done = true;
  return 0;
}

static int explore_key_create(pthread_key_t *key, void (*at_exit)(void *))
{
  *key = 0;
  destructor = at_exit;
  return 0;
}

static int explore_setspecific(pthread_key_t key, const void *value)
{
  (void)key;
  (void)value;
  return 0;
}

static int explore_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
  handlers[0] = before;
  handlers[1] = in_parent;
  handlers[2] = in_child;
  return 0;
}

#include "threads.c"

void statics_reset(void)
{
  lock_init(&registry);
  first_pool = NULL;
  memset(slot_taken, 0, sizeof slot_taken);
  once_done = false;
}

void statics_regions(void)
{
  search_region(&registry, sizeof registry, true);
  search_region(&first_pool, sizeof first_pool, true);
  search_region(slot_taken, sizeof slot_taken, true);
  search_region(&open_gate, sizeof open_gate, true);
  search_region(&forking, sizeof forking, true);
}

const void *statics_registry(void)
{
  return &registry;
}

void thread_exit(void)
{
  if (mempool__thread_offset < THREAD_WITHOUT)
    destructor(NULL);
}

bool fork_here(void)
{
  handlers[0]();
  search_yield();
  if (search_choose(2) == 0) {
    handlers[1]();
    return false;
  }
  search_kill_others();
  handlers[2]();
  return true;
}
