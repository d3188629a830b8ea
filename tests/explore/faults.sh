#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests the tester: plants one fault at a time in a copy of the library, and
# checks that the explorer finds it, or, where the change makes no difference
# and the argument stands beside it, that it finds nothing.
#   faults.sh [LIB [WORD]]: only those with the word in their names
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lib=${1:-$here/../../lib}
only=${2-}
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

# plant NAME FILE SED-SCRIPT: builds the copy; a change must change something
plant() {
  rm -rf "$work/lib"
  cp -r "$lib" "$work/lib"
  sed -i "$3" "$work/lib/$2"
  if cmp -s "$lib/$2" "$work/lib/$2"; then
    say "not ok" "$1: nothing changed in $2 by: $3"
    return 1
  fi
  if ! CC="${CC:-gcc} -Wno-unused-function" "$here/build.sh" "$work/explore" "$work/lib" "$work/objects"; then
    say "not ok" "$1: does not build"
    return 1
  fi
}

# fault NAME FILE SED-SCRIPT [SCENARIO]: found by the quick ones, or by that one
fault() {
  case $1 in *"$only"*) ;; *) return ;; esac
  choose "$1"
  plant "$1" "$2" "$3" || return 0
  if { [ $# -gt 3 ] && timeout 120 "$work/explore" --only "$4" >"$work/log"; } ||
    { [ $# -eq 3 ] && timeout 120 "$work/explore" --first >"$work/log"; }; then
    say "not ok" "$1: not found"
  else
    say ok "$1: $(sed -n '/^# choices/{x;p;};h' "$work/log" | tail -n 1 | cut -c3-)"
  fi
}

# equal NAME FILE SED-SCRIPT
equal() {
  case $1 in *"$only"*) ;; *) return ;; esac
  choose "$1"
  plant "$1" "$2" "$3" || return 0
  if timeout 120 "$work/explore" --first >"$work/log"; then
    say ok "$1: no difference, as argued"
  else
    say "not ok" "$1: makes a difference after all"
  fi
}

# Which scenarios to run for a fault.
choose() {
  case $1 in
  shared:*) EXPLORE_ONLY=shared: export EXPLORE_ONLY ;;
  *) unset EXPLORE_ONLY ;;
  esac
}

choose "$only"
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
fault 'waiter served is not woken' blocks.c 's/^    mempool__os_wake(bell);/    (void)bell;/'
fault 'waiter closed is not woken' waiters.c 's/^    mempool__os_wake(dismiss_first(waiters, WAITER_CLOSED));/    (void)dismiss_first(waiters, WAITER_CLOSED);/'
fault 'free passes waiters by' blocks.c 's/while (pool->waiters.first != NULL && /while (0 \&\& /'
fault 'close sets the mode after the lock' pool.c \
  '/^void mempool_close/,/^}/{/or_relaxed_u32/d;s/^  pool_leave(pool);/&\n  or_relaxed_u32(\&pool->mode, MODE_CLOSED);/;}'
fault 'close leaves caches open' pool.c '/^void mempool_close/,/^}/{/caches_gather/d;}'
fault 'close forgets waiters' pool.c '/^void mempool_close/,/^}/{/waiters_close/d;}'
fault 'a closed pool opens caches' caches.c 's/ || (pool_mode(pool) & MODE_CLOSED) != 0 / /'

# ---- Pools that processes share ----

fault 'shared: a block is taken relaxed' shared.c \
  '/^static ALWAYS_INLINE bool take_candidate/,/^}/s/compare_exchange_acq_rel_u32/compare_exchange_relaxed_u32/'
fault 'shared: a block is freed relaxed' shared.c \
  '/^static ALWAYS_INLINE bool free_inside/,/^}/s/compare_exchange_seq_cst_u32/compare_exchange_relaxed_u32/'
fault 'shared: a block is freed with release only' shared.c \
  '/^static ALWAYS_INLINE bool free_inside/,/^}/s/compare_exchange_seq_cst_u32/compare_exchange_release_u32/'
fault 'shared: a block is freed by a look and a store' shared.c \
  '/^static ALWAYS_INLINE bool free_inside/,/^}/s/freed = .*;/freed = load_relaxed_u32(\&room->words[index]) == word; if (freed) store_seq_cst_u32(\&room->words[index], word_freed(word));/'
fault 'shared: a block is taken by a look and a store' shared.c \
  '/^static ALWAYS_INLINE bool take_candidate/,/^}/s/likely(compare_exchange_acq_rel_u32(&room->words\[\*index\], word, word_taken(word, room->tag)))/(load_acquire_u32(\&room->words[*index]) == word ? store_release_u32(\&room->words[*index], word_taken(word, room->tag)), true : false)/'
fault 'shared: a taken block names nobody' shared.h '/^static inline uint32_t word_taken/,/^}/s/| tag;/| (tag \& WORD_CONDITION);/'
fault 'shared: frees are counted when they are done' shared.c \
  '/^static ALWAYS_INLINE bool free_inside/,/^}/{/store_release_u64(&lane->frees, frees + 1);/d;s/^  store_release_u64(&lane->state, likely.*/  store_release_u64(\&lane->frees, frees + 1);\n&/;}'
fault 'shared: allocs are counted before they are done' shared.c \
  '/^void \*mempool__shared_alloc(/,/^}/{s/^    lane_enter(lane, BUSY_ALLOC);/&\n    store_release_u64(\&lane->state, load_relaxed_u64(\&lane->state) + LANE_ALLOC);/;s/state + LANE_ALLOC - 1/state - 1/;}'
fault 'shared: the sums without the fence' shared.c '/^int64_t mempool__shared_out/,/^}/{/fence_full/d;}'
fault 'shared: frees are summed first' shared.c \
  '/^int64_t mempool__shared_out/,/^}/{s/^  uint64_t settled/  uint64_t early = all_frees(room);\n&/;s/out -= load_acquire_u64(&room_lane(room, i)->frees)/(void)room_lane(room, i)/;s/out -= load_acquire_u64(&header->others.frees)/out -= early/;}
   s/^int64_t mempool__shared_out/static uint64_t all_frees(const struct room *room);\n&/'
fault "shared: no look into others' lanes, nor at words" shared.c \
  's/count = from_lanes(room, found);/count = (from_lanes(room, found), 0);/;/^static enum scan scan/,/^}/s/^  uint64_t frees/  return SCAN_ALL_OUT;\n&/'
fault 'shared: a handler uses the lane that it interrupts' shared.c \
  '/^static ALWAYS_INLINE bool lane_is_idle/,/^}/s/return .*/return lane != NULL;/'
fault 'shared: busy is set too late' shared.c \
  '/^void \*mempool__shared_alloc(/,/^}/{/^    lane_enter/d;s/^    top = .*/&\n    lane_enter(lane, BUSY_ALLOC);/;}'
fault 'shared: a lane is used before it is known' shared.c '/^static struct lane \*claim_lane/,/^}/{/raise_lanes_used/d;}'
fault 'shared: nobody sets sleepers' shared.c '/^static mempool_status sleep_once/,/^}/{/store_seq_cst_u32/d;}'
fault 'shared: sleepers is looked at relaxed' shared.c \
  '/^static ALWAYS_INLINE void wake_if_any/,/^}/s/load_seq_cst_u32/load_relaxed_u32/'
fault 'shared: the sequence is read after the look' shared.c \
  '/^static mempool_status sleep_once/,/^}/{s/uint32_t sequence = .*/uint32_t sequence;/;s/^  now_ns = mempool__os_now_ns();/  sequence = load_acquire_u32(\&room->header->sequence);\n&/;}'
fault 'shared: who wakes does not change the sequence' shared.c \
  '/^void mempool__shared_wake_all/,/^}/s/(void)add_acq_rel_u32(&room->header->sequence, 1);//'
fault 'shared: who wakes clears sleepers whatever was set meanwhile' shared.c \
  '/^static __attribute__((noinline)) void wake_sleepers/,/^}/s/(void)compare_exchange_seq_cst_u32(&room->header->sleepers, SLEEPERS_WAKING, SLEEPERS_NONE)/store_seq_cst_u32(\&room->header->sleepers, SLEEPERS_NONE)/' \
  'shared: one waits, one gives, one takes, at most 2 preemptions'
fault 'shared: a close wakes nobody' shared.c '/^void mempool__shared_close/,/^}/{/wake_all/d;}'
fault 'shared: a close wakes before it closes' shared.c \
  '/^void mempool__shared_close/,/^}/{/store_seq_cst_u32/d;s/^  mempool__shared_wake_all(room);/&\n  store_seq_cst_u32(\&room->header->closed, 1);/;}'
fault 'shared: an alloc that was begun is not mended' owners.c '/^static void mend_lanes/,/^}/s/mend_alloc(room, lane, owner, mixed);/(void)mixed;/'
fault 'shared: an alloc that was begun is counted in any case' owners.c \
  '/^static void mend_alloc/,/^}/s/if (word_condition(word) == WORD_FREE ||/if (word == 1 \&\& owner == 0 \&\&/'
fault 'shared: an alloc that was begun is counted though another lane may have made it' owners.c \
  '/^static void mend_alloc/,/^}/s/if (mixed)/if (mixed \&\& word == 1)/'
fault 'shared: a free that was begun is not mended' owners.c \
  '/^static void mend_lanes/,/^}/{/== BUSY_FREE)/d;/mend_free(room, lane, mixed);/d;}'
fault 'shared: a free that was begun is taken back though it was done' owners.c \
  '/^static void mend_free/,/^}/s/ == (uint32_t)(noted >> 32))/ != 1)/'
fault 'shared: a recovery frees no lane' owners.c '/^static bool recover_one/,/^}/{/mend_lanes/d;}'
fault 'shared: a recovery does not walk' owners.c '/^static bool recover_one/,/^}/s/\*back += walk(pool, owner);/(void)back;/'
fault 'shared: two recover one owner' owners.c \
  '/^static bool recover_one/,/^}/{s/  if ((state == OWNER_RECOVERING.*/  (void)compare_exchange_acq_rel_u64(slot, old, mine);/;/^    return false;/d;}' \
  'shared: attach against 2 recoveries, at most 2 preemptions'
fault "shared: a number is free before its owner's blocks are" owners.c \
  '/^static bool recover_one/,/^}/{/(void)compare_exchange_acq_rel_u64(slot, mine, next);/d;s/^  \*back += walk/  (void)compare_exchange_acq_rel_u64(slot, mine, next);\n&/;}'
fault 'shared: an audit looks who is inside before it sums first' shared_look.c \
  '/^static size_t audit/,/^}/{/^  bool nobody/d;s/^  struct account before.*/  bool nobody = read_presence(room).inside == callers_inside;\n&/;}'
fault 'shared: an audit looks who is inside after it sums last' shared_look.c \
  '/^static size_t audit/,/^}/{/^  after = /d;s/^  fence_full();/&\n  after = read_account(room);/;}'
fault 'shared: a check reads what is fresh before the word' shared_look.c \
  '/^static bool word_is_sound/,/^}/{/uint32_t fresh = /d;s/^  uint32_t word = .*/  uint32_t fresh = load_relaxed_u32(\&room->header->fresh);\n&/;}'
fault 'shared: a free that fails is taken out of the frees' shared.c \
  '/^static ALWAYS_INLINE bool free_inside/,/^}/s/  store_release_u64(&lane->state, likely(freed).*/  if (freed) store_release_u64(\&lane->state, state + 1); else store_release_u64(\&lane->frees, frees);/' \
  'shared: check against racing frees, at most 5 preemptions'
fault "shared: who leaves does not look again at a slot in which a child noted something" owners.c \
  '/^void mempool__owner_detach/,/^}/s/  } while (!compare_exchange_acq_rel_u64(slot, old, left));/  } while (!compare_exchange_acq_rel_u64(slot, old, left) \&\& old == 0);/'

# ---- What makes no difference ----

# Who holds the lock after the close sees the mode, which was set before the
# lock was released; who joined the queue before it is sent away by the close.
equal 'close sets the mode before the lock' pool.c \
  '/^void mempool_close/,/^}/{/or_relaxed_u32/d;s/^  pool_enter(pool);/  or_relaxed_u32(\&pool->mode, MODE_CLOSED);\n&/;}'
# By W1 nothing is available while somebody waits, and 4 blocks must be.
equal 'caches are opened while somebody waits' caches.c 's/if (pool->waiters.first != NULL || /if (/'
# A block is listed twice only if two frees of it raced, which is the caller's
# error; what is promised then is tested, not explored.
equal 'the depot takes what is not held' caches.c 's/ && depot_is_held(pool->depot, index) && / \&\& /'
equal 'alloc takes what is not held' blocks.c 's/if (unlikely(load_relaxed_u32(place) != DEPOT_HELD))/if (0)/'

# Who reads 0 there meets the state with a summary that is set later on, or
# looks at all words in the end: hints may be lost.
equal 'shared: hints are set and taken relaxed' hints.c \
  's/and_acq_rel_u32/and_relaxed_u32/;s/load_acquire_u32/load_relaxed_u32/;s/exchange_acq_rel_u32/exchange_relaxed_u32/'
# The fence that comes next makes acquires of the loads before it.
equal 'shared: allocs are summed relaxed' shared.c \
  '/^int64_t mempool__shared_out/,/^}/s/load_acquire_u64(&room_lane(room, i)->state)/load_relaxed_u64(\&room_lane(room, i)->state)/'
# Behind it comes the fence of the sums, before anybody sleeps.
equal 'shared: sleepers is set with release' shared.c \
  '/^static mempool_status sleep_once/,/^}/s/store_seq_cst_u32/store_release_u32/'
# A recovery's hints spare others the look at all words, and do no more.
equal 'shared: a recovery sets no hints' owners.c '/^static size_t walk/,/^}/s/if (bits != 0 && first < fresh)/if (0)/'

echo "1..$number"
exit $bad
