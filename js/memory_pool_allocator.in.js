// SPDX-License-Identifier: MIT
//
// A pool of equal blocks in a WebAssembly.Memory.  README.md tells how to use it, memory_pool_allocator.d.ts what each
// call does.  The WebAssembly is libmempool's own code, put in here by make; nothing of it or of the platform is used
// before the first pool is made.

const PAGE_BYTES = 65536;
const MOST_BYTES = 2 ** 32;
const MOST_CAPACITY = 2 ** 32 - 2;
const MOST_ALIGNMENT = 2 ** 21;
const CACHE_LINE = 64;
const SMALL_ALIGNMENT = 16;

// Of binding.c: its data lies below DATA_BYTES, and its tables, of so many words a block, behind.
const DATA_BYTES = 2048;
const TABLE_WORDS = 3;

// Of shared.c: where its header begins, which is preceded by the handles; in that the words by which Workers wait;
// where the tables begin; and the size of a handle, the number of which is the owner's, with its stack at the end.
const HEADER = 256 * 2048;
const SIGNALS = HEADER + 132;
const TABLES = HEADER + 320 + 255 * 8;
const HANDLE_BYTES = 2048;
// The signals: somebody sleeps; and what changes when a block comes free.
const SLEEPERS = 0;
const SEQUENCE = 1;

// Sleepers look again so often by themselves: who frees a block may be terminated before it wakes anybody.  Without
// Atomics.waitAsync that is all there is.
const LOOK_AGAIN_MS = 250;
const POLL_MS = 4;

// The header begins with that, the block size and the capacity; nothing in the WebAssembly looks there.
const MAGIC = 0x6c6f6f70;

// Of mempool.h.
const OK = 0;
const FOREIGN_BLOCK = -5;

// For a view that bears no generation: it is judged by its address alone.
const ANY_GENERATION = -1;

class MemoryPoolError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'MemoryPoolError';
    this.code = code;
  }
}

const invalidSize = (what, options) =>
  new MemoryPoolError('ERR_INVALID_BLOCK_SIZE', `Invalid block size: ${what}`, options);

const foreign = (what) => new MemoryPoolError('ERR_FOREIGN_BLOCK', `Foreign block: ${what}`);

const unavailable = (what) =>
  new MemoryPoolError('ERR_SHARED_MEMORY_UNAVAILABLE', `Shared memory unavailable: ${what}`);

const disposed = () => new MemoryPoolError('ERR_POOL_DISPOSED', 'Pool disposed: it can no longer be used');

const throwDisposed = () => {
  throw disposed();
};

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

  static release(view, release, handle) {
    return release(view.#offset, view.#generation, handle);
  }
}

// What compiles a WebAssembly when it is first needed.  Hexadecimal, because that leaves to gzip what is alike, and
// because atob() is missing in AudioWorklets.
function compiler(digits) {
  let module;
  const byteAt = (_, i) => parseInt(digits.substr(2 * i, 2), 16);
  return () => module ??= new WebAssembly.Module(Uint8Array.from({ length: digits.length / 2 }, byteAt));
}

const plainModule = compiler('@PLAIN_WASM@');
const sharedModule = compiler('@SHARED_WASM@');

const isWhole = (value, most) => Number.isInteger(value) && value >= 1 && value <= most;

const roundUp = (value, unit) => Math.ceil(value / unit) * unit;

// What a MemoryPool works with: the memory, the functions of its WebAssembly, what those want to be given last, and
// where they leave generations.
class Engine {
  shared = false;
  owner = 0;
  handle = 0;

  constructor(memory, module, blockSize, capacity) {
    this.memory = memory;
    this.exports = new WebAssembly.Instance(module, { env: { memory } }).exports;
    this.blockSize = blockSize;
    this.capacity = capacity;
  }

  // Makes this Worker an owner.
  attach() {
    const { exports } = this;
    this.handle = exports.attach();
    if (this.handle === 0)
      throw unavailable('255 Workers are attached, or were terminated and not recovered');
    // Each owner has a stack of its own.
    exports.__stack_pointer.value = this.handle + HANDLE_BYTES;
    this.shared = true;
    this.owner = this.handle / HANDLE_BYTES;
    return this;
  }
}

// The bytes before the blocks.  In a shared pool there is for each block a word, and bits, of which up to seven levels
// summarise each other.
const frontBytes = (capacity, shared) =>
  shared ? TABLES + capacity * 4 + Math.ceil(capacity / 7) + 64 : DATA_BYTES + capacity * TABLE_WORDS * 4;

// Makes a memory, and calls initialize() of an engine on it.
function makeEngine(blockSize, capacity, options, shared) {
  if (!isWhole(blockSize, MOST_BYTES))
    throw invalidSize('it must be a whole number of bytes, from 1 to 4294967296');
  if (!isWhole(capacity, MOST_CAPACITY))
    throw new MemoryPoolError('ERR_INVALID_CAPACITY', 'Invalid capacity: it must be a whole number of blocks, from 1');
  const alignment = options?.alignment ?? (blockSize < CACHE_LINE ? SMALL_ALIGNMENT : CACHE_LINE);
  if (!isWhole(alignment, MOST_ALIGNMENT) || (alignment & (alignment - 1)) !== 0)
    throw invalidSize('the alignment must be a power of two up to 2097152');
  if (shared)
    checkShared();
  const stride = roundUp(blockSize, alignment);
  const base = roundUp(frontBytes(capacity, shared), alignment);
  const pages = Math.ceil((base + capacity * stride) / PAGE_BYTES);
  let memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  } catch (cause) {
    throw invalidSize('all blocks together must fit into the memory that there is, at most 4 GiB', { cause });
  }
  const engine = new Engine(memory, shared ? sharedModule() : plainModule(), blockSize, capacity);
  engine.exports.initialize(base, stride, capacity);
  return engine;
}

const headerOf = (memory) => new Uint32Array(memory.buffer, HEADER, 3);

function checkShared() {
  if (!MemoryPool.sharedSupported)
    throw unavailable('a browser wants the page to be cross-origin isolated, by the headers COOP and COEP');
}

const refusal = (status) =>
  status === FOREIGN_BLOCK
    ? foreign('no block of this pool starts there; a view is freed by where it starts, and must start where a block ' +
      'does')
    : new MemoryPoolError('ERR_BLOCK_ALREADY_FREED', 'Block already freed: free each block once, and let go of every ' +
      'view of it then');

// Resolves when the sequence isn't as it was seen any more, or for no reason.  Never blocks.  An AudioWorklet has no
// timers: without Atomics.waitAsync, only what is freed there serves who waits there.
function change(signals, seen) {
  if (Atomics.waitAsync !== undefined) {
    globalThis.setTimeout?.(() => {}, LOOK_AGAIN_MS); // for Node, which ends when there is nothing else to wait for
    return Atomics.waitAsync(signals, SEQUENCE, seen, LOOK_AGAIN_MS).value;
  }
  return new Promise((resolve) => globalThis.setTimeout?.(resolve, POLL_MS));
}

class MemoryPool {
  #engine;
  #buffer;
  #blockSize;
  #generation;
  #allocate;
  #release;
  #handle;
  #waiting = new Set(); // those who wait, in the order in which they came
  #watching = false; // for blocks that other Workers free

  constructor(blockSize, capacity, options) {
    // An engine comes from createShared() and attach() alone: nobody else can make one.
    const engine = blockSize instanceof Engine ? blockSize : makeEngine(blockSize, capacity, options, false);
    const { exports, memory, handle } = engine;
    this.#engine = engine;
    this.#buffer = memory.buffer;
    this.#blockSize = engine.blockSize;
    this.#generation = new Int32Array(memory.buffer, handle || exports.generation(), 1);
    this.#allocate = exports.allocate;
    this.#release = exports.release;
    this.#handle = handle;
  }

  static get sharedSupported() {
    return typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated !== false;
  }

  static createShared(blockSize, capacity, options) {
    const engine = makeEngine(blockSize, capacity, options, true);
    headerOf(engine.memory).set([MAGIC, blockSize, capacity]);
    return new MemoryPool(engine.attach());
  }

  static attach(handle) {
    checkShared();
    const { memory, blockSize, capacity } = handle ?? {};
    const isMemory = memory instanceof WebAssembly.Memory && memory.buffer instanceof SharedArrayBuffer &&
      memory.buffer.byteLength > TABLES;
    const [magic, size, count] = isMemory ? headerOf(memory) : [];
    if (magic !== MAGIC || size !== blockSize || count !== capacity)
      throw unavailable('this is not what share() returned');
    return new MemoryPool(new Engine(memory, sharedModule(), blockSize, capacity).attach());
  }

  share() {
    const { memory, blockSize, capacity } = this.#sharedOnly();
    return { memory, blockSize, capacity };
  }

  recover(owner) {
    const { exports, handle } = this.#sharedOnly();
    return isWhole(owner, MOST_CAPACITY) ? exports.recover(owner, handle) : 0;
  }

  get blockSize() {
    return this.#blockSize;
  }

  get capacity() {
    return this.#engine.capacity;
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
    const offset = this.#allocate(this.#handle);
    return offset === 0 ? null : new Block(this.#buffer, offset >>> 0, this.#blockSize, this.#generation[0]);
  }

  allocateBlockOrThrow() {
    const block = this.allocateBlock();
    if (block === null)
      throw new MemoryPoolError('ERR_POOL_EXHAUSTED', 'Pool exhausted: every block is out; free one, ' +
        'wait with allocateBlockAsync(), or make the pool larger');
    return block;
  }

  allocateBlockAsync(options) {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted)
        throw signal.reason;
      const block = this.#waiting.size === 0 ? this.allocateBlock() : null;
      if (block === null)
        this.#wait({ resolve, reject, signal });
      else
        resolve(block);
    });
  }

  freeBlock(block) {
    const status = ArrayBuffer.isView(block) && Block.isOf(block, this.#buffer)
      ? Block.release(block, this.#release, this.#handle)
      : this.#releaseOther(block);
    if (status !== OK)
      throw refusal(status);
    if (this.#waiting.size !== 0)
      this.#serve();
  }

  blockAt(byteOffset) {
    const { exports, handle } = this.#opened();
    const status = isWhole(byteOffset, this.#buffer.byteLength - 1) ? exports.look(byteOffset, handle) : FOREIGN_BLOCK;
    if (status !== OK)
      throw refusal(status);
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
    const { shared, owner, capacity, exports, handle } = this.#engine;
    if (shared)
      exports.detach(handle);
    this.#engine = { shared, owner, capacity };
    this.#buffer = null;
    this.#generation = null;
    this.#allocate = this.#release = throwDisposed;
    for (const waiter of this.#waiting)
      this.#leave(waiter).reject(disposed());
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.dispose();
  }

  // The engine, as long as the pool isn't disposed.
  #opened() {
    return this.#buffer === null ? throwDisposed() : this.#engine;
  }

  #sharedOnly() {
    const engine = this.#opened();
    if (!engine.shared)
      throw unavailable('this pool is not from MemoryPool.createShared()');
    return engine;
  }

  // Whether that is the pool's memory: also by another object for it, as comes with each message of a shared pool.
  // Then the word that is this attachment's own reads there as it is written here.
  #isMemory(buffer) {
    return buffer === this.#buffer || (this.#handle !== 0 && buffer.byteLength === this.#buffer.byteLength &&
      [1, 2].every((value) => (this.#generation[0] = value) === new Int32Array(buffer, this.#handle)[0]));
  }

  // Frees by a view that somebody else made.
  #releaseOther(block) {
    this.#opened();
    if (!ArrayBuffer.isView(block))
      throw foreign('this is no view; give back what allocateBlock() returned');
    if (!this.#isMemory(block.buffer))
      throw foreign("this is not on the pool's memory; new Uint8Array(block), slice() and postMessage() copy: free " +
        'the block itself, or make another view of it with block.subarray() or ' +
        'new Uint8Array(block.buffer, block.byteOffset, block.byteLength)');
    return this.#release(block.byteOffset, ANY_GENERATION, this.#handle);
  }

  #wait(waiter) {
    waiter.abort = () => this.#leave(waiter).reject(waiter.signal.reason);
    waiter.signal?.addEventListener('abort', waiter.abort);
    this.#waiting.add(waiter);
    if (this.#engine.shared && !this.#watching)
      this.#watch(new Int32Array(this.#buffer, SIGNALS, 2));
  }

  #leave(waiter) {
    this.#waiting.delete(waiter);
    waiter.signal?.removeEventListener('abort', waiter.abort);
    return waiter;
  }

  // While blocks are free those who wait get them, the first first; and in a plain pool before anybody else can.
  #serve() {
    for (const first of this.#waiting) {
      const block = this.allocateBlock();
      if (block === null)
        return;
      first.resolve(block);
      this.#leave(first);
    }
  }

  // As sleep_once() of the library's shared.c: who frees a block sees that somebody sleeps, or is seen to have freed
  // it.
  async #watch(signals) {
    this.#watching = true;
    while (this.#waiting.size !== 0) {
      const seen = Atomics.load(signals, SEQUENCE);
      Atomics.store(signals, SLEEPERS, 1);
      this.#serve();
      if (this.#waiting.size !== 0)
        await change(signals, seen);
    }
    this.#watching = false;
  }
}

export { MemoryPool, MemoryPoolError };
