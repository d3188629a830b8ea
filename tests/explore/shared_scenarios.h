/* SPDX-License-Identifier: MIT */
#ifndef EXPLORE_SHARED_SCENARIOS_H
#define EXPLORE_SHARED_SCENARIOS_H

#include "search.h"

extern const struct scenario shared_scenarios[];
extern const unsigned shared_count;

#endif
