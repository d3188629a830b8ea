/* SPDX-License-Identifier: MIT */
#include "litmus.h"

#include "os.h"
#include "world.h"

#include <string.h>

#define X (&world->words[0])
#define Y (&world->words[1])
#define R world->results

/* Whether the outcome in question was met, in any execution. */
static bool reached;

static void set_up(void)
{
  world_init_none();
  reached = false;
}

static bool is_reached(void)
{
  return reached;
}

static bool is_not_reached(void)
{
  return !reached;
}

/* Store buffering: may both read 0? */
static void both_zero(void)
{
  reached |= R[0] == 0 && R[1] == 0;
}

static void sb_release_acquire(unsigned self)
{
  store_release_u32(self == 0 ? X : Y, 1);
  R[self] = load_acquire_u32(self == 0 ? Y : X);
}

static void sb_light(unsigned self)
{
  store_relaxed_u32(self == 0 ? X : Y, 1);
  fence_light();
  R[self] = load_relaxed_u32(self == 0 ? Y : X);
}

static void sb_fences(unsigned self)
{
  store_relaxed_u32(self == 0 ? X : Y, 1);
  fence_full();
  R[self] = load_relaxed_u32(self == 0 ? Y : X);
}

static void sb_asymmetric(unsigned self)
{
  store_relaxed_u32(self == 0 ? X : Y, 1);
  if (self == 0)
    fence_light();
  else
    mempool__os_fence_all();
  R[self] = load_relaxed_u32(self == 0 ? Y : X);
}

static void sb_one_fence(unsigned self)
{
  store_relaxed_u32(self == 0 ? X : Y, 1);
  if (self == 0)
    fence_full();
  R[self] = load_relaxed_u32(self == 0 ? Y : X);
}

/* Message passing: may the flag be seen without the message? */
static void flag_without_message(void)
{
  reached |= R[0] == 1 && R[1] == 0;
}

static void mp_release_acquire(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
    store_release_u32(Y, 1);
  } else {
    R[0] = load_acquire_u32(Y);
    R[1] = load_relaxed_u32(X);
  }
}

static void mp_relaxed_store(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
    store_relaxed_u32(Y, 1);
  } else {
    R[0] = load_acquire_u32(Y);
    R[1] = load_relaxed_u32(X);
  }
}

static void mp_relaxed_load(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
    store_release_u32(Y, 1);
  } else {
    R[0] = load_relaxed_u32(Y);
    R[1] = load_relaxed_u32(X);
  }
}

static void mp_fences(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
    fence_full();
    store_relaxed_u32(Y, 1);
  } else {
    R[0] = load_relaxed_u32(Y);
    fence_full();
    R[1] = load_relaxed_u32(X);
  }
}

/* Through a read-modify-write of a third thread, relaxed as it is: the release sequence. */
static void mp_release_sequence(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
    store_release_u32(Y, 1);
  } else if (self == 1) {
    or_relaxed_u32(Y, 2);
  } else {
    R[0] = load_acquire_u32(Y) == 3;
    R[1] = load_relaxed_u32(X);
  }
}

/* The message is plain: a race unless release meets acquire. */
static void mp_plain(unsigned self)
{
  if (self == 0) {
    model_plain(X, 4, true);
    store_release_u32(Y, 1);
  } else if (load_acquire_u32(Y) == 1) {
    model_plain(X, 4, false);
  }
}

static void mp_plain_relaxed(unsigned self)
{
  if (self == 0) {
    model_plain(X, 4, true);
    store_relaxed_u32(Y, 1);
  } else if (load_acquire_u32(Y) == 1) {
    model_plain(X, 4, false);
  }
}

/* A plain read, then a relaxed flag, then a plain write elsewhere: the race that only reads' clocks show. */
static void read_then_write(unsigned self)
{
  if (self == 0) {
    model_plain(X, 4, false);
    store_relaxed_u32(Y, 1);
  } else if (load_acquire_u32(Y) == 1) {
    model_plain(X, 4, true);
  }
}

/* Coherence: may two loads of one word go back? */
static void corr(unsigned self)
{
  if (self == 0) {
    store_relaxed_u32(X, 1);
  } else {
    R[0] = load_relaxed_u32(X);
    R[1] = load_relaxed_u32(X);
  }
}

/* Independent reads of independent writes: may two readers disagree on the order? */
static void disagree(void)
{
  reached |= R[0] == 1 && R[1] == 0 && R[2] == 1 && R[3] == 0;
}

static void iriw(unsigned self, bool fences)
{
  if (self < 2) {
    store_release_u32(self == 0 ? X : Y, 1);
  } else {
    R[2 * self - 4] = load_acquire_u32(self == 2 ? X : Y);
    if (fences)
      fence_full();
    R[2 * self - 3] = load_acquire_u32(self == 2 ? Y : X);
  }
}

static void iriw_acquire(unsigned self)
{
  iriw(self, false);
}

static void iriw_fences(unsigned self)
{
  iriw(self, true);
}

/* Load buffering: allowed by C11 to relaxed accesses; the model has every load before what it leads to. */
static void both_one(void)
{
  reached |= R[0] == 1 && R[1] == 1;
}

static void lb(unsigned self)
{
  R[self] = load_relaxed_u32(self == 0 ? X : Y);
  store_relaxed_u32(self == 0 ? Y : X, 1);
}

/* 2+2W: allowed by C11; the model has the order of stores be that of execution. */
static void both_first(void)
{
  reached |= *X == 1 && *Y == 1;
}

static void two_and_two(unsigned self)
{
  store_relaxed_u32(self == 0 ? X : Y, 1);
  store_relaxed_u32(self == 0 ? Y : X, 2);
}

/* Two read-modify-writes never read the same store. */
static void both_took(void)
{
  reached |= R[0] == 1 && R[1] == 1;
}

static void rmw(unsigned self)
{
  R[self] = compare_exchange_acquire_u32(X, 0, 1);
}

static void always(void)
{
  reached = true;
}

#define LITMUS(text, threads, body, outcome, verdict) \
  { "litmus " text, threads, set_up, body, outcome, true, 0, -1, 0, verdict, true }

const struct scenario litmus_tests[] = {
  LITMUS("SB, release and acquire: allowed", 2, sb_release_acquire, both_zero, is_reached),
  LITMUS("SB, light fences on both sides: allowed", 2, sb_light, both_zero, is_reached),
  LITMUS("SB, a full fence on one side: allowed", 2, sb_one_fence, both_zero, is_reached),
  LITMUS("SB, full fences: forbidden", 2, sb_fences, both_zero, is_not_reached),
  LITMUS("SB, light fence against fence on all: forbidden", 2, sb_asymmetric, both_zero, is_not_reached),
  LITMUS("MP, release and acquire: forbidden", 2, mp_release_acquire, flag_without_message, is_not_reached),
  LITMUS("MP, relaxed store: allowed", 2, mp_relaxed_store, flag_without_message, is_reached),
  LITMUS("MP, relaxed load: allowed", 2, mp_relaxed_load, flag_without_message, is_reached),
  LITMUS("MP, fences: forbidden", 2, mp_fences, flag_without_message, is_not_reached),
  LITMUS("MP, release sequence: forbidden", 3, mp_release_sequence, flag_without_message, is_not_reached),
  LITMUS("MP, plain message, release and acquire: no race", 2, mp_plain, always, is_reached),
  LITMUS("MP, plain message, relaxed store: race", 2, mp_plain_relaxed, always, NULL),
  LITMUS("plain read before a relaxed flag before a plain write: race", 2, read_then_write, always, NULL),
  LITMUS("CoRR: forbidden", 2, corr, flag_without_message, is_not_reached),
  LITMUS("IRIW, acquire: allowed", 4, iriw_acquire, disagree, is_reached),
  LITMUS("IRIW, full fences: forbidden", 4, iriw_fences, disagree, is_not_reached),
  LITMUS("LB: allowed by C11, not seen by this model", 2, lb, both_one, is_not_reached),
  LITMUS("2+2W: allowed by C11, not seen by this model", 2, two_and_two, both_first, is_not_reached),
  LITMUS("two compare-and-exchanges: one succeeds", 2, rmw, both_took, is_not_reached),
};

const unsigned litmus_count = sizeof litmus_tests / sizeof litmus_tests[0];
