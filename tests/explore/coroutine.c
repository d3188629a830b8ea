/* SPDX-License-Identifier: MIT */
#include "coroutine.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

/* Zeroed at each start: what a frame leaves uninitialised is then the same in every execution. */
enum { ZEROED_BYTES = 3072 };

static alignas(64) unsigned char stacks[COROUTINES][STACK_BYTES];

unsigned char *coroutine_top(unsigned number)
{
  return stacks[number] + STACK_BYTES;
}

#if defined(__x86_64__)

static void *bottoms[COROUTINES];
static void *scheduler;

void explore_switch(void **save, void *next);
/* Pushes what the callee must keep, so that it lies on the stack that is left. */
__asm__(".text\n"
        ".globl explore_switch\n"
        ".type explore_switch, @function\n"
        "explore_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size explore_switch, . - explore_switch\n");

void coroutine_start(unsigned number, void (*entry)(void))
{
  enum { REGISTERS = 6 };
  uintptr_t address = (uintptr_t)entry;
  unsigned char *frame = coroutine_top(number) - 16;
  memset(coroutine_top(number) - ZEROED_BYTES, 0, ZEROED_BYTES);
  memcpy(frame, &address, sizeof address);
  bottoms[number] = frame - REGISTERS * sizeof(void *);
}

void coroutine_enter(unsigned number)
{
  explore_switch(&scheduler, bottoms[number]);
}

void coroutine_leave(unsigned number)
{
  explore_switch(&bottoms[number], scheduler);
}

#else

#include <ucontext.h>

static void *bottoms[COROUTINES];
static ucontext_t contexts[COROUTINES];
static ucontext_t scheduler;

void coroutine_start(unsigned number, void (*entry)(void))
{
  memset(coroutine_top(number) - ZEROED_BYTES, 0, ZEROED_BYTES);
  (void)getcontext(&contexts[number]);
  contexts[number].uc_stack.ss_sp = stacks[number];
  contexts[number].uc_stack.ss_size = STACK_BYTES;
  contexts[number].uc_link = NULL;
  makecontext(&contexts[number], entry, 0);
  bottoms[number] = coroutine_top(number);
}

void coroutine_enter(unsigned number)
{
  (void)swapcontext(&scheduler, &contexts[number]);
}

__attribute__((noinline)) void coroutine_leave(unsigned number)
{
  volatile unsigned char here = 0;
  __builtin_unwind_init(); /* spills the registers that the callee must keep into this frame */
  bottoms[number] = (void *)((uintptr_t)&here & ~(uintptr_t)63);
  (void)swapcontext(&contexts[number], &scheduler);
}

#endif

unsigned char *coroutine_bottom(unsigned number)
{
  return bottoms[number];
}
