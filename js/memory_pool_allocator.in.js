// SPDX-License-Identifier: MIT
//
// A pool of equal blocks in a WebAssembly.Memory.  README.md tells how to use it, memory_pool_allocator.d.ts what each
// call does.  The WebAssembly is libmempool's own code, put in here by make; nothing of it or of the platform is used
// before the first pool is made.

const PLAIN_WASM = '@PLAIN_WASM@';

const PAGE_BYTES = 65536;
const MOST_BYTES = 2 ** 32;
const MOST_CAPACITY = 2 ** 32 - 2;
const MOST_ALIGNMENT = 2 ** 21;
const CACHE_LINE = 64;
const SMALL_ALIGNMENT = 16;

// Of binding.c: its data lies below DATA_BYTES, and its tables, of so many words a block, behind.
const DATA_BYTES = 2048;
const TABLE_WORDS = 3;

// Of mempool.h.
const OK = 0;
const FOREIGN_BLOCK = -5;

// For a view that bears no generation: binding.c judges it by its address alone.
const ANY_GENERATION = -1;

class MemoryPoolError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'MemoryPoolError';
    this.code = code;
  }
}

const exhausted = () => new MemoryPoolError('ERR_POOL_EXHAUSTED', 'Pool exhausted: every block is out; free one, ' +
  'wait with allocateBlockAsync(), or make the pool larger');

const disposed = () => {
  throw new MemoryPoolError('ERR_POOL_DISPOSED', 'Pool disposed: it can no longer be used');
};

const foreign = (what) => new MemoryPoolError('ERR_FOREIGN_BLOCK', `Foreign block: ${what}`);

const unavailable = (what) => new MemoryPoolError('ERR_SHARED_MEMORY_UNAVAILABLE', `Shared memory unavailable: ${what}`);

const COPIED = "this is not on the pool's memory; new Uint8Array(block), slice() and postMessage() copy: free the block " +
  'itself, or make another view of it with block.subarray() or ' +
  'new Uint8Array(block.buffer, block.byteOffset, block.byteLength)';

// Returns the object that it is given, so that a class derived from it adds its fields to that.
class Itself {
  constructor(object) {
    return object;
  }
}

// A view that knows of which generation its block was when it was handed out.  To everybody else it is a Uint8Array.
// That it knows its own buffer and offset as well halves the cost of a free: the engines' getters are slow.
class Block extends Itself {
  #buffer;
  #offset;
  #generation;

  constructor(buffer, offset, size, generation) {
    super(new Uint8Array(buffer, offset, size));
    this.#buffer = buffer;
    this.#offset = offset;
    this.#generation = generation;
  }

  static isOf(view, buffer) {
    return #buffer in view && view.#buffer === buffer;
  }

  static release(view, release) {
    return release(view.#offset, view.#generation);
  }
}

// atob() is missing in AudioWorklets.
function decodeBase64(text) {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const bytes = new Uint8Array(text.indexOf('=') < 0 ? text.length * 3 / 4 : text.indexOf('=') * 3 >> 2);
  let bits = 0;
  for (let i = 0, count = 0; count < bytes.length; i++) {
    bits = bits << 6 | digits.indexOf(text[i]);
    if (i % 4 !== 0)
      bytes[count++] = bits >> (6 - i % 4 * 2);
  }
  return bytes;
}

let plainModule;

const isWhole = (value, most) => Number.isInteger(value) && value >= 1 && value <= most;

const roundUp = (value, unit) => Math.ceil(value / unit) * unit;

const invalidSize = (what, options) =>
  new MemoryPoolError('ERR_INVALID_BLOCK_SIZE', `Invalid block size: ${what}`, options);

// What a MemoryPool works with: the memory, the functions of its WebAssembly, and where that leaves generations.
class Engine {
  constructor(memory, module, blockSize, capacity, shared) {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.memory = memory;
    this.exports = exports;
    this.generation = new Uint32Array(memory.buffer, exports.generation(), 1);
    this.blockSize = blockSize;
    this.capacity = capacity;
    this.shared = shared;
    this.owner = 0;
  }
}

function checkArguments(blockSize, capacity) {
  if (!isWhole(blockSize, MOST_BYTES))
    throw invalidSize('it must be a whole number of bytes, from 1 to 4294967296');
  if (!isWhole(capacity, MOST_CAPACITY))
    throw new MemoryPoolError('ERR_INVALID_CAPACITY', 'Invalid capacity: it must be a whole number of blocks, from 1 on');
}

function alignmentOf(blockSize, options) {
  const alignment = options?.alignment ?? (blockSize < CACHE_LINE ? SMALL_ALIGNMENT : CACHE_LINE);
  if (!isWhole(alignment, MOST_ALIGNMENT) || (alignment & (alignment - 1)) !== 0)
    throw invalidSize('the alignment must be a power of two up to 2097152');
  return alignment;
}

function plainEngine(blockSize, capacity, options) {
  checkArguments(blockSize, capacity);
  const alignment = alignmentOf(blockSize, options);
  const stride = roundUp(blockSize, alignment);
  plainModule ??= new WebAssembly.Module(decodeBase64(PLAIN_WASM));
  const base = roundUp(DATA_BYTES + capacity * TABLE_WORDS * 4, alignment);
  const pages = Math.ceil((base + capacity * stride) / PAGE_BYTES);
  let memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (cause) {
    throw invalidSize('all blocks together must fit into the memory that there is, at most 4 GiB', { cause });
  }
  const engine = new Engine(memory, plainModule, blockSize, capacity, false);
  engine.exports.initialize(base, stride, capacity);
  return engine;
}

class MemoryPool {
  #engine;
  #buffer;
  #blockSize;
  #capacity;
  #generation;
  #allocate;
  #release;
  #look;
  #waiting = new Set(); // those who wait, in the order in which they came

  constructor(blockSize, capacity, options) {
    // An engine comes from createShared() and attach() alone: nobody else can make one.
    const engine = blockSize instanceof Engine ? blockSize : plainEngine(blockSize, capacity, options);
    this.#engine = engine;
    this.#buffer = engine.memory.buffer;
    this.#blockSize = engine.blockSize;
    this.#capacity = engine.capacity;
    this.#generation = engine.generation;
    this.#allocate = engine.exports.allocate;
    this.#release = engine.exports.release;
    this.#look = engine.exports.look;
  }

  static get sharedSupported() {
    return false;
  }

  static createShared(blockSize, capacity) {
    checkArguments(blockSize, capacity);
    throw unavailable('this build has no shared pools');
  }

  static attach() {
    throw unavailable('this build has no shared pools');
  }

  share() {
    this.#opened();
    throw unavailable('only a pool from MemoryPool.createShared() can be shared');
  }

  recover() {
    this.#opened();
    throw unavailable('only pools from MemoryPool.createShared() have owners');
  }

  get blockSize() {
    return this.#blockSize;
  }

  get capacity() {
    return this.#capacity;
  }

  get shared() {
    return this.#engine.shared;
  }

  get owner() {
    return this.#engine.owner;
  }

  get memory() {
    return this.#opened().memory;
  }

  allocateBlock() {
    const offset = this.#allocate();
    return offset === 0 ? null : new Block(this.#buffer, offset >>> 0, this.#blockSize, this.#generation[0]);
  }

  allocateBlockOrThrow() {
    const block = this.allocateBlock();
    if (block === null)
      throw exhausted();
    return block;
  }

  allocateBlockAsync(options) {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const block = this.allocateBlock();
      if (block === null)
        this.#wait({ resolve, reject, signal, abort: undefined });
      else
        resolve(block);
    });
  }

  freeBlock(block) {
    const status = ArrayBuffer.isView(block) && Block.isOf(block, this.#buffer)
      ? Block.release(block, this.#release)
      : this.#releaseOther(block);
    if (status !== OK)
      throw this.#refusal(status);
    if (this.#waiting.size !== 0)
      this.#serve();
  }

  blockAt(byteOffset) {
    const { memory } = this.#opened();
    if (!Number.isInteger(byteOffset) || byteOffset < 0 || byteOffset >= memory.buffer.byteLength)
      throw this.#refusal(FOREIGN_BLOCK);
    const status = this.#look(byteOffset);
    if (status !== OK)
      throw this.#refusal(status);
    return new Block(this.#buffer, byteOffset, this.#blockSize, this.#generation[0]);
  }

  getStats() {
    const { exports, capacity, blockSize } = this.#opened();
    const used = exports.used() >>> 0;
    return { capacity, blockSize, used, available: capacity - used };
  }

  dispose() {
    if (this.#buffer === null)
      return;
    const { shared, owner } = this.#engine;
    this.#engine = { shared, owner };
    this.#buffer = null;
    this.#generation = null;
    this.#allocate = this.#release = this.#look = disposed;
    for (const waiter of this.#waiting)
      this.#leave(waiter).reject(new MemoryPoolError('ERR_POOL_DISPOSED', 'Pool disposed while a block was waited for'));
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.dispose();
  }

  // The engine, as long as the pool isn't disposed.
  #opened() {
    return this.#buffer === null ? disposed() : this.#engine;
  }

  // Frees by a view that somebody else made.
  #releaseOther(block) {
    this.#opened();
    if (!ArrayBuffer.isView(block))
      throw foreign('this is no view at all; give back what allocateBlock() returned');
    if (block.buffer !== this.#buffer)
      throw foreign(COPIED);
    return this.#release(block.byteOffset, ANY_GENERATION);
  }

  #refusal(status) {
    return status === FOREIGN_BLOCK
      ? foreign("no block of this pool starts there; a view is freed by where it starts, and must start where a block does")
      : new MemoryPoolError('ERR_BLOCK_ALREADY_FREED', 'Block already freed: free each block once, and let go of every ' +
        'view of it then');
  }

  #wait(waiter) {
    waiter.abort = () => this.#leave(waiter).reject(waiter.signal.reason);
    waiter.signal?.addEventListener('abort', waiter.abort);
    this.#waiting.add(waiter);
  }

  #leave(waiter) {
    this.#waiting.delete(waiter);
    waiter.signal?.removeEventListener('abort', waiter.abort);
    return waiter;
  }

  // A block has come free: the first who waits gets it, before anybody else can.
  #serve() {
    const [first] = this.#waiting;
    this.#leave(first).resolve(this.allocateBlock());
  }
}

export { MemoryPool, MemoryPoolError };
