// SPDX-License-Identifier: MIT
import { MemoryPool } from '/module/memory_pool_allocator.js';

onmessage = async ({ data: { handle, count } }) => {
  const pool = MemoryPool.attach(handle);
  for (let i = 0; i < count; i++) {
    const block = (await pool.allocateBlockAsync()).fill(pool.owner);
    postMessage({ owner: pool.owner, offset: block.byteOffset });
  }
};
