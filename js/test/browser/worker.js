// SPDX-License-Identifier: MIT
import { MemoryPool } from '/module/memory_pool_allocator.js';

const pool = new MemoryPool(65536, 4);
const blocks = [1, 2, 3, 4].map(() => pool.allocateBlock());
const last = pool.allocateBlock();
blocks.forEach((block) => pool.freeBlock(block));
postMessage({ blocks: blocks.length, last, available: pool.getStats().available });
