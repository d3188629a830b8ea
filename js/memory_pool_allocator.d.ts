// SPDX-License-Identifier: MIT
/// <reference lib="esnext.disposable" />

// For programs that are checked without the declarations of the DOM; to those it adds nothing.
declare global {
  interface AbortSignal {}
  namespace WebAssembly {
    interface Memory {}
  }
}

/** What a pool may be told besides its sizes. */
export interface PoolOptions {
  /** Every block starts at a multiple of this many bytes: a power of two up to 2097152; 64 (16 for smaller blocks) by default. */
  alignment?: number;
}

/** What {@link MemoryPool.share} returns: to be posted to a Worker, for {@link MemoryPool.attach} there. Its content is private. */
export interface SharedPoolHandle {
  readonly memory: WebAssembly.Memory;
  readonly blockSize: number;
  readonly capacity: number;
}

/** The figures of a pool: `used + available === capacity`, always. */
export interface PoolStats {
  capacity: number;
  blockSize: number;
  used: number;
  available: number;
}

export type MemoryPoolErrorCode =
  | 'ERR_INVALID_BLOCK_SIZE'
  | 'ERR_INVALID_CAPACITY'
  | 'ERR_POOL_EXHAUSTED'
  | 'ERR_FOREIGN_BLOCK'
  | 'ERR_BLOCK_ALREADY_FREED'
  | 'ERR_POOL_DISPOSED'
  | 'ERR_SHARED_MEMORY_UNAVAILABLE';

/** What every refusal throws. */
export class MemoryPoolError extends Error {
  constructor(code: MemoryPoolErrorCode, message?: string, options?: { cause?: unknown });
  code: MemoryPoolErrorCode;
}

/**
 * A pool of `capacity` blocks of `blockSize` bytes, in a WebAssembly.Memory of its own that never grows: no view of a
 * block is ever detached. Taking and freeing a block take the same short time, however large it is and however many
 * there are, copy nothing, and create no object but the view.
 */
export class MemoryPool {
  /**
   * @throws {MemoryPoolError} ERR_INVALID_BLOCK_SIZE or ERR_INVALID_CAPACITY, also if there is not enough memory.
   */
  constructor(blockSize: number, capacity: number, options?: PoolOptions);

  /** Whether {@link MemoryPool.createShared} can work here: in a browser, that the page is cross-origin isolated. */
  static readonly sharedSupported: boolean;
  /** Makes a pool that several Workers, up to 255 at once, can use at the same time; its maker is attached to it. */
  static createShared(blockSize: number, capacity: number, options?: PoolOptions): MemoryPool;
  /** Attaches this Worker to a shared pool, as one more owner. */
  static attach(handle: SharedPoolHandle): MemoryPool;

  readonly blockSize: number;
  readonly capacity: number;
  readonly shared: boolean;
  /** Holds the blocks, and beside them the pool's own tables, which are not to be written. */
  readonly memory: WebAssembly.Memory;
  /** Who the blocks that are allocated here belong to, in a shared pool: from 1 on; 0 in a plain one. */
  readonly owner: number;

  /** Takes a block: a view of its `blockSize` bytes, which hold what they held; null if every block is out. */
  allocateBlock(): Uint8Array | null;
  /** The same; throws ERR_POOL_EXHAUSTED if every block is out. */
  allocateBlockOrThrow(): Uint8Array;
  /** The same; waits for a block that is freed, here or in another Worker, after those that wait already here. */
  allocateBlockAsync(options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /**
   * Gives a block back: the view that was handed out, or any view that starts where it starts.
   * @throws {MemoryPoolError} ERR_FOREIGN_BLOCK, ERR_BLOCK_ALREADY_FREED; the pool is as it was.
   */
  freeBlock(block: ArrayBufferView): void;
  /** A view of the block that starts at a `byteOffset`, which somebody else has posted; the block must be out. */
  blockAt(byteOffset: number): Uint8Array;
  getStats(): PoolStats;

  /** What to post to a Worker, for {@link MemoryPool.attach}. */
  share(): SharedPoolHandle;
  /** Gives back every block that an owner had allocated which was terminated; how many they were. Not to be called for one that lives. */
  recover(owner: number): number;

  /** Ends the use of the pool here, and leaves a shared one to the others: whoever waits is rejected, and every method but this one throws ERR_POOL_DISPOSED. */
  dispose(): void;
  [Symbol.dispose](): void;
}
