/* SPDX-License-Identifier: MIT */
/*
 * Modelled threads: functions with stacks of their own, switched by hand.
 * While a coroutine is switched out, all that it knows lies on its stack from
 * coroutine_bottom() up, registers included: so that range, hashed, is its
 * local state.
 */
#ifndef EXPLORE_COROUTINE_H
#define EXPLORE_COROUTINE_H

enum { COROUTINES = 4, STACK_BYTES = 16384 };

/* Sets a coroutine back to the start of entry, which must not return. */
void coroutine_start(unsigned number, void (*entry)(void));

/* From the scheduler into a coroutine; comes back when that calls coroutine_leave(). */
void coroutine_enter(unsigned number);
void coroutine_leave(unsigned number);

unsigned char *coroutine_bottom(unsigned number);
unsigned char *coroutine_top(unsigned number);

#endif
