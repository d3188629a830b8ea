/* SPDX-License-Identifier: MIT */
/*
 * What is done to blocks besides handing them out, in pools that ask for it and
 * under tools that watch: canaries, wiping, poison.  Pools that ask for nothing
 * never come here.
 *
 * C1  With MODE_GUARD the canary of a block that was ever taken is whole, unless
 *     somebody overran the block.
 * C2  With MODE_ZERO or MODE_POISON a free block that was ever taken holds one
 *     byte all over, unless somebody wrote to it after it was freed: 0 with
 *     MODE_ZERO, so that the next holder finds it wiped.
 * C3  With MODE_MEMORY nothing of the blocks may be touched, by what the tool
 *     knows, but the block_size bytes of those that are out.
 */
#ifndef MEMPOOL_CARE_H
#define MEMPOOL_CARE_H

#include "pool.h"

/* A block is about to be taken for the first time: gives it its canary.  Before others can see it taken. */
void mempool__care_begin(const mempool *pool, uintptr_t index);

/*
 * A block was taken, for the first time or again, and is about to be handed out.
 * False if it was written to while it was free; it holds what it should by now.
 */
bool mempool__care_taken(const mempool *pool, uintptr_t index, bool first);

/*
 * A block is being freed: nobody else has it, or can take it yet.
 * MEMPOOL_E_CORRUPTED if it was overrun; it is as any free block by now.
 */
mempool_status mempool__care_freed(const mempool *pool, uintptr_t index);

/* Makes a block that nobody has what every free block is, whatever was done to it. */
void mempool__care_renew(const mempool *pool, uintptr_t index);

/* Whether a block that was ever taken, and is free or not, holds what it should. */
bool mempool__care_is_whole(const mempool *pool, uintptr_t index, bool free);

#endif /* MEMPOOL_CARE_H */
