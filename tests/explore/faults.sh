#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests the tester: plants one fault at a time in a copy of the library, and
# checks that the explorer finds it, or, where the change makes no difference
# and the argument stands beside it, that it finds nothing.
#   faults.sh [LIB]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lib=${1:-$here/../../lib}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/objects"
number=0
bad=0

say() {
  number=$((number + 1))
  echo "$1 $number - $2"
  [ "$1" = ok ] || bad=1
}

# plant FILE SED-SCRIPT: builds the copy; the change must change something
plant() {
  rm -rf "$work/lib"
  cp -r "$lib" "$work/lib"
  sed -i "$2" "$work/lib/$1"
  if cmp -s "$lib/$1" "$work/lib/$1"; then
    echo "Bail out! nothing changed in $1 by: $2"
    exit 99
  fi
  "$here/build.sh" "$work/explore" "$work/lib" "$work/objects"
}

# fault NAME FILE SED-SCRIPT
fault() {
  plant "$2" "$3"
  if timeout 120 "$work/explore" --first >"$work/log"; then
    say "not ok" "$1: not found"
  else
    say ok "$1: $(sed -n '/^# choices/{x;p;};h' "$work/log" | tail -n 1 | cut -c3-)"
  fi
}

# equal NAME FILE SED-SCRIPT
equal() {
  plant "$2" "$3"
  if timeout 120 "$work/explore" --first >"$work/log"; then
    say ok "$1: no difference, as argued"
  else
    say "not ok" "$1: makes a difference after all"
  fi
}

"$here/build.sh" "$work/explore" "$lib" "$work/objects"
if ! "$work/explore" --first >"$work/log"; then
  grep -B 3 '^not ok' "$work/log"
  echo "Bail out! the library fails as it is"
  exit 99
fi

fault 'alloc does not look at the gate' cache.h 's/return top <= .*;/return top <= cache->slots;/'
fault 'free does not look at the gate' cache.h 's/return top >= .*;/return top >= cache->slots + cache->limit;/'
fault 'the floor stays where it was when a gate is shut' caches.c \
  '/^static void set_gate/,/^}/s/open ? cache->slots : (void \*)UINTPTR_MAX/cache->slots/'
fault 'the ceiling stays where it was when a gate is shut' caches.c \
  '/^static void set_gate/,/^}/s/open ? cache->slots + cache->limit : NULL/cache->slots + cache->limit/'
fault 'cache_leave() relaxed' cache.h 's/store_release_u32(&cache->busy, 0)/store_relaxed_u32(\&cache->busy, 0)/'
fault 'gather without the fence' caches.c '/^void mempool__caches_gather/,/^}/{/os_fence_all/d;}'
fault 'gather with the fence before the gates are shut' caches.c \
  '/^void mempool__caches_gather/,/^}/{/os_fence_all/d;s/  mempool__caches_shut(pool);/  mempool__os_fence_all(); mempool__caches_shut(pool);/;}'
fault 'gather does not wait for busy' caches.c 's/while (load_acquire_u32(&cache->busy) != 0)/while (0 \&\& load_acquire_u32(\&cache->busy) != 0)/'
fault 'gather waits for busy relaxed' caches.c 's/load_acquire_u32(&cache->busy)/load_relaxed_u32(\&cache->busy)/'
fault 'gather does not shut' caches.c '/^void mempool__caches_gather/,/^}/{/caches_shut/d;}'
fault "owner's own fence missing" caches.c '/^bool mempool__cache_enter_fenced/,/^}/{/fence_full/d;}'
fault "owner does not look again after its own fence" caches.c \
  '/^bool mempool__cache_enter_fenced/,/^}/s/^    if (load_relaxed_u32(&cache->gate) == GATE_FENCED)/    if (1)/'
fault 'no robbing at exhaustion' blocks.c 's/if (pool_available(pool) < count)/if (0)/'
fault 'gather leaves the bundles' caches.c '/^void mempool__caches_empty/,/^}/{/caches_unbundle/d;}'
fault 'a bundle is taken and left' caches.c 's/^  bundles->next--;$//;s/^  bundles->count--;$//'
fault 'a block of a bundle stays held' caches.c '/^void \*mempool__cache_take_bundled/,/^}/{/store_relaxed_u32(top->place, DEPOT_LIVE)/d;}'
fault "a thread's end leaves its cache full" caches.c '/^void mempool__cache_close/,/^}/{/mempool__cache_empty/d;}'
fault "a thread's end does not shut its cache" caches.c '/^void mempool__cache_close/,/^}/{/set_gate/d;}'
fault "a thread's end without the pool's lock" threads.c '/^static void leave/,/^}/{/(&pool->lock)/d;}'
fault "a thread's end without the registry's lock" threads.c '/^static void leave/,/^}/{/(&registry)/d;}'
fault "a thread's beginning without the registry's lock" threads.c '/^void mempool__thread_join/,/^}/{/(&registry)/d;}'
fault 'fork without the fence' threads.c '/^static void before_fork/,/^}/{/os_fence_all/d;}'
fault 'fork without emptying' threads.c '/^static void before_fork/,/^}/s/    mempool__caches_empty(pool);/    ;/'
fault 'fork without the lock' threads.c \
  '/^static void before_fork/,/^}/{/lock_acquire(&pool->lock)/d;};/^static void after_fork_in_parent/,/^}/s/lock_release(&pool->lock);/;/'
fault 'the child of a fork takes a cache for busy' threads.c '/caches_forget_owners/d'
fault 'lock_acquire() relaxed' lock.h 's/compare_exchange_acquire_u32/compare_exchange_relaxed_u32/'
fault 'lock_release() relaxed' lock.h 's/exchange_release_u32/exchange_relaxed_u32/'
fault 'contended: exchange relaxed' lock.c 's/exchange_acquire_u32(&lock->word, LOCK_CONTENDED)/exchange_relaxed_u32(\&lock->word, LOCK_CONTENDED)/'
fault 'contended: spin relaxed' lock.c 's/compare_exchange_acquire_u32/compare_exchange_relaxed_u32/'
fault 'contended: leaves LOCKED behind' lock.c 's/exchange_acquire_u32(&lock->word, LOCK_CONTENDED)/exchange_acquire_u32(\&lock->word, LOCK_LOCKED)/'
fault 'contended: does not look again after sleeping' lock.c 's/while (exchange_acquire/if (exchange_acquire/'
fault 'lock_release() wakes nobody' lock.h 's/== LOCK_CONTENDED/== 9/'
fault 'waiter served relaxed' waiters.c 's/store_release_u32(&first->word, why)/store_relaxed_u32(\&first->word, why)/'
fault 'bell changes relaxed' waiters.c 's/store_release_u32(bell/store_relaxed_u32(bell/'
fault 'bell does not change' waiters.c '/store_release_u32(bell/d'
fault 'bell is looked at relaxed' waiters.c 's/load_acquire_u32(waiter->bell)/load_relaxed_u32(waiter->bell)/'
fault 'bell changes before the word' waiters.c \
  '/^  store_release_u32(bell/d;s/^  leave(waiters, first);/&\n  store_release_u32(bell, load_relaxed_u32(bell) + 1);/'
fault 'bell is looked at after the word' waiters.c \
  '/uint32_t number = /d;s/os_wait(waiter->bell, number,/os_wait(waiter->bell, load_acquire_u32(waiter->bell),/'
fault 'waiter looks relaxed' waiters.c 's/load_acquire_u32(&waiter->word)/load_relaxed_u32(\&waiter->word)/'
fault 'waiter served before it has its block' waiters.c \
  '/^  waiters->first->block = block;/d;s/^  return dismiss_first(waiters, WAITER_SERVED);/  struct waiter *first = waiters->first;\n  atomic_u32 *bell = dismiss_first(waiters, WAITER_SERVED);\n  first->block = block;\n  return bell;/'
fault 'waiter joins without the lock' blocks.c \
  's/^      mempool__waiters_join(.*/{ pool_leave(pool); mempool__waiters_join(\&pool->waiters, waiter); pool_enter(pool); }/'
fault 'waiter out of time leaves without the lock' waiters.c \
  '/^uint32_t mempool__waiter_sleep/,/^}/{s/lock_acquire(lock)/(void)lock/;/lock_release(lock)/d;}'
fault 'waiter out of time does not look again' waiters.c 's/^    if (word == WAITER_WAITING)/    if (1)/'
fault 'waiter served is not woken' blocks.c 's/^    mempool__os_wake(word);/    (void)word;/'
fault 'waiter closed is not woken' waiters.c 's/^    mempool__os_wake(dismiss_first(waiters, WAITER_CLOSED));/    (void)dismiss_first(waiters, WAITER_CLOSED);/'
fault 'free passes waiters by' blocks.c 's/while (pool->waiters.first != NULL && /while (0 \&\& /'
fault 'close sets the mode after the lock' pool.c \
  '/^void mempool_close/,/^}/{/or_relaxed_u32/d;s/^  pool_leave(pool);/&\n  or_relaxed_u32(\&pool->mode, MODE_CLOSED);/;}'
fault 'close leaves caches open' pool.c '/^void mempool_close/,/^}/{/caches_gather/d;}'
fault 'close forgets waiters' pool.c '/^void mempool_close/,/^}/{/waiters_close/d;}'
fault 'a closed pool opens caches' caches.c 's/ || (pool_mode(pool) & MODE_CLOSED) != 0 / /'

# Who holds the lock after the close sees the mode, which was set before the
# lock was released; who joined the queue before it is sent away by the close.
equal 'close sets the mode before the lock' pool.c \
  '/^void mempool_close/,/^}/{/or_relaxed_u32/d;s/^  pool_enter(pool);/  or_relaxed_u32(\&pool->mode, MODE_CLOSED);\n&/;}'
# By W1 nothing is available while somebody waits, and 4 blocks must be.
equal 'caches are opened while somebody waits' caches.c 's/if (pool->waiters.first != NULL || /if (/'
# A block is listed twice only if two frees of it raced, which is the caller's
# error; what is promised then is tested, not explored.
equal 'the depot takes what is not held' caches.c 's/ && depot_is_held(pool->depot, index))/)/'
equal 'alloc takes what is not held' blocks.c 's/if (unlikely(load_relaxed_u32(place) != DEPOT_HELD))/if (0)/'

echo "1..$number"
exit $bad
