// SPDX-License-Identifier: MIT
// What the declarations promise, for the compiler to judge; never run.
import { MemoryPool, MemoryPoolError } from 'memory_pool_allocator';
import type { MemoryPoolErrorCode, PoolOptions, PoolStats, SharedPoolHandle } from 'memory_pool_allocator';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
const same = <T extends true>(value?: T) => value;

export async function use(options: PoolOptions, signal: AbortSignal): Promise<void> {
  using pool = new MemoryPool(1024, 10);
  new MemoryPool(1024, 10, options);
  new MemoryPool(1024, 10, { alignment: 4096 }).dispose();

  const block = pool.allocateBlock();
  same<Same<typeof block, Uint8Array | null>>();
  // @ts-expect-error: it may be null
  block.length;
  const certain = pool.allocateBlockOrThrow();
  same<Same<typeof certain, Uint8Array>>();
  same<Same<ReturnType<MemoryPool['allocateBlockAsync']>, Promise<Uint8Array>>>();
  (await pool.allocateBlockAsync()).fill(0);
  (await pool.allocateBlockAsync({})).fill(0);
  await pool.allocateBlockAsync({ signal });

  pool.freeBlock(certain);
  pool.freeBlock(new DataView(certain.buffer, certain.byteOffset));
  pool.freeBlock(new Float64Array(certain.buffer, certain.byteOffset, 1));
  // @ts-expect-error: it may be null
  pool.freeBlock(block);
  // @ts-expect-error: no view
  pool.freeBlock(certain.buffer);

  pool.blockAt(certain.byteOffset).fill(0);
  const stats: PoolStats = pool.getStats();
  same<Same<typeof stats, { capacity: number; blockSize: number; used: number; available: number }>>();
  same<Same<typeof pool.memory, WebAssembly.Memory>>();
  same<Same<typeof pool.shared, boolean>>();
  // @ts-expect-error: it is read-only
  pool.capacity = 1;
  // @ts-expect-error: it is read-only
  MemoryPool.sharedSupported = true;

  if (MemoryPool.sharedSupported) {
    const shared = MemoryPool.createShared(64, 4);
    const handle: SharedPoolHandle = shared.share();
    const recovered: number = MemoryPool.attach(handle).recover(shared.owner);
    shared.capacity === recovered;
  }

  try {
    // @ts-expect-error: a number is wanted
    new MemoryPool('1024', 10);
  } catch (error) {
    if (error instanceof MemoryPoolError) {
      const code: MemoryPoolErrorCode = error.code;
      code === 'ERR_POOL_EXHAUSTED';
      // @ts-expect-error: no such code
      code === 'ERR_NONE';
    }
  }
}
