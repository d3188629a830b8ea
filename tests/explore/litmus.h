/* SPDX-License-Identifier: MIT */
#ifndef EXPLORE_LITMUS_H
#define EXPLORE_LITMUS_H

#include "search.h"

/* The model on trial: small programs of which it is known what they may come to. */
extern const struct scenario litmus_tests[];
extern const unsigned litmus_count;

#endif
