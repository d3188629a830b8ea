/* SPDX-License-Identifier: MIT */
#ifndef EXPLORE_STATICS_H
#define EXPLORE_STATICS_H

#include <stdbool.h>

/* Before a scenario is set up: as if no pool had ever been; and then, what to save. */
void statics_reset(void);
void statics_regions(void);
const void *statics_registry(void);

/* What happens when the calling modelled thread ends. */
void thread_exit(void);

/*
 * A fork by the calling modelled thread.  The search follows the parent and
 * the child, as choices; true in the child, where there are no other threads.
 */
bool fork_here(void);

#endif
