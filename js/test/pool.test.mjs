// SPDX-License-Identifier: MIT
// Each promise about plain pools: the arguments, the blocks, the refusals, the end.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MemoryPool, MemoryPoolError, MESSAGES, directory, modulePath, randomNumbers, refuses } from './support.mjs';

const throwing = { [Symbol.toPrimitive]() { throw new Error('asked'); } };
const NOT_NUMBERS = ['16', '', null, undefined, true, {}, [16], 16n, Symbol('16'), () => 16, new Number(16), throwing];
const NOT_SIZES = [NaN, Infinity, -Infinity, 0, -0, -1, -16, 0.5, 1.5, 16.000001, 2 ** 32 + 1, 2 ** 33, 2 ** 53, 1e300];

test('constructor: a block size that is none is refused', () => {
  for (const value of [...NOT_NUMBERS, ...NOT_SIZES])
    refuses(() => new MemoryPool(value, 4), 'ERR_INVALID_BLOCK_SIZE');
  refuses(() => new MemoryPool(), 'ERR_INVALID_BLOCK_SIZE');
});

test('constructor: a capacity that is none is refused', () => {
  for (const value of [...NOT_NUMBERS, ...NOT_SIZES, 2 ** 32 - 1])
    refuses(() => new MemoryPool(16, value), 'ERR_INVALID_CAPACITY');
  refuses(() => new MemoryPool(16), 'ERR_INVALID_CAPACITY');
});

test('constructor: more than 4 GiB in all is refused, without being tried', () => {
  for (const [size, capacity] of [[2 ** 32, 1], [2 ** 31, 2], [2 ** 16, 2 ** 16], [1, 2 ** 32 - 2], [2 ** 32, 2 ** 32 - 2],
    [1024, 2 ** 22], [3, 2 ** 31]])
    refuses(() => new MemoryPool(size, capacity), 'ERR_INVALID_BLOCK_SIZE');
});

test('constructor: memory that the platform refuses is a refusal of the size, with its cause', () => {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class { constructor() { throw new RangeError('no'); } };
  try {
    assert.throws(() => new MemoryPool(16, 4), (error) => error.code === 'ERR_INVALID_BLOCK_SIZE' &&
      error.cause instanceof RangeError);
  } finally {
    WebAssembly.Memory = Memory;
  }
});

test('constructor: options may be missing, and a bad alignment is refused', () => {
  for (const options of [undefined, null, {}, { alignment: undefined }, { unknown: 1 }])
    new MemoryPool(16, 1, options).dispose();
  for (const alignment of [0, -1, 3, 48, 1.5, '64', NaN, 2 ** 22, 2 ** 32, 64n])
    refuses(() => new MemoryPool(16, 1, { alignment }), 'ERR_INVALID_BLOCK_SIZE');
});

test('constructor: blocks start at multiples of the alignment, and do not overlap', () => {
  for (const size of [1, 3, 16, 63, 64, 65, 1000, 4096]) {
    for (const alignment of [undefined, 1, 2, 8, 64, 4096, 65536, 2 ** 21]) {
      const pool = new MemoryPool(size, 3, { alignment });
      const offsets = [0, 1, 2].map(() => pool.allocateBlock().byteOffset).sort((a, b) => a - b);
      for (const offset of offsets)
        assert.equal(offset % (alignment ?? (size < 64 ? 16 : 64)), 0);
      assert.ok(offsets[1] - offsets[0] >= size && offsets[2] - offsets[1] >= size);
      assert.ok(offsets[2] + size <= pool.memory.buffer.byteLength);
    }
  }
});

test('constructor: synchronous, and needs new', () => {
  assert.equal(new MemoryPool(1, 1).allocateBlock().length, 1);
  assert.throws(() => MemoryPool(1, 1), TypeError);
});

test('properties tell what was asked for', () => {
  const pool = new MemoryPool(1000, 7);
  assert.equal(pool.blockSize, 1000);
  assert.equal(pool.capacity, 7);
  assert.equal(pool.shared, false);
  assert.equal(pool.owner, 0);
  assert.ok(pool.memory instanceof WebAssembly.Memory);
  for (const name of ['blockSize', 'capacity', 'shared', 'owner', 'memory'])
    assert.throws(() => { pool[name] = 1; }, TypeError);
  assert.equal(typeof MemoryPool.sharedSupported, 'boolean');
});

test('memory: one of its own for each pool, which cannot grow', () => {
  const one = new MemoryPool(64, 2);
  const two = new MemoryPool(64, 2);
  assert.notEqual(one.memory, two.memory);
  const block = one.allocateBlock();
  block.fill(7);
  assert.throws(() => one.memory.grow(1), RangeError);
  assert.equal(block[63], 7);
  assert.ok(two.allocateBlock().every((byte) => byte === 0));
});

test('allocateBlock: a view of blockSize bytes on the memory, zeroed at first, nothing copied', () => {
  const pool = new MemoryPool(300, 4);
  const block = pool.allocateBlock();
  assert.equal(Object.getPrototypeOf(block), Uint8Array.prototype);
  assert.equal(block.constructor, Uint8Array);
  assert.equal(block.buffer, pool.memory.buffer);
  assert.equal(block.length, 300);
  assert.ok(block.every((byte) => byte === 0));
  block.set([1, 2, 3]);
  assert.deepEqual([...new Uint8Array(pool.memory.buffer, block.byteOffset, 3)], [1, 2, 3]);
  assert.deepEqual(Object.keys(block).length, 300);
});

test('allocateBlock: null when every block is out, and a block again once one is freed', () => {
  const pool = new MemoryPool(8, 3);
  const blocks = [pool.allocateBlock(), pool.allocateBlock(), pool.allocateBlock()];
  assert.equal(new Set(blocks.map((block) => block.byteOffset)).size, 3);
  assert.equal(pool.allocateBlock(), null);
  assert.equal(pool.allocateBlock(), null);
  pool.freeBlock(blocks[1]);
  assert.equal(pool.allocateBlock().byteOffset, blocks[1].byteOffset);
  assert.equal(pool.allocateBlock(), null);
});

test('allocateBlock: the block freed last comes first', () => {
  const pool = new MemoryPool(8, 5);
  const blocks = [1, 2, 3, 4].map(() => pool.allocateBlock());
  for (const i of [2, 0, 3])
    pool.freeBlock(blocks[i]);
  for (const i of [3, 0, 2])
    assert.equal(pool.allocateBlock().byteOffset, blocks[i].byteOffset);
});

test('allocateBlockOrThrow: a block, or ERR_POOL_EXHAUSTED', () => {
  const pool = new MemoryPool(8, 1);
  const block = pool.allocateBlockOrThrow();
  assert.equal(block.length, 8);
  refuses(() => pool.allocateBlockOrThrow(), 'ERR_POOL_EXHAUSTED');
  pool.freeBlock(block);
  assert.equal(pool.allocateBlockOrThrow().byteOffset, block.byteOffset);
});

test('freeBlock: any view that starts where the block starts', () => {
  const pool = new MemoryPool(64, 1);
  const views = [
    (block) => block,
    (block) => block.subarray(),
    (block) => block.subarray(0, 5),
    (block) => block.subarray(0, 0),
    (block) => new DataView(block.buffer, block.byteOffset),
    (block) => new Float64Array(block.buffer, block.byteOffset, 2),
    (block) => new BigUint64Array(block.buffer, block.byteOffset, 1),
    (block) => new Int16Array(block.buffer, block.byteOffset, 3),
    (block) => new Uint8ClampedArray(block.buffer, block.byteOffset, 64),
    (block) => Buffer.from(block.buffer, block.byteOffset, block.length),
  ];
  for (const view of views) {
    const block = pool.allocateBlockOrThrow();
    assert.equal(pool.freeBlock(view(block)), undefined);
    assert.equal(pool.getStats().used, 0);
    refuses(() => pool.freeBlock(block), 'ERR_BLOCK_ALREADY_FREED');
  }
});

test('freeBlock: what is foreign is refused, and changes nothing', () => {
  const pool = new MemoryPool(64, 4);
  const other = new MemoryPool(64, 4);
  const block = pool.allocateBlock();
  const foreign = other.allocateBlock();
  const { buffer } = pool.memory;
  const bad = [...NOT_NUMBERS, 0, block.byteOffset, buffer, pool.memory, [block], { buffer, byteOffset: block.byteOffset },
    foreign, block.subarray(1), block.subarray(63), new Uint8Array(buffer), new Uint8Array(buffer, 8, 8),
    new Uint8Array(buffer, buffer.byteLength), new Uint8Array(buffer, block.byteOffset + 4 * 64), new Uint8Array(64),
    new DataView(new ArrayBuffer(64)), new Float64Array(buffer, block.byteOffset + 8, 1)];
  for (const value of bad) {
    refuses(() => pool.freeBlock(value), 'ERR_FOREIGN_BLOCK');
    assert.deepEqual(pool.getStats(), { capacity: 4, blockSize: 64, used: 1, available: 3 });
  }
  assert.equal(pool.allocateBlock().byteOffset - block.byteOffset, 64);
  assert.deepEqual(other.getStats(), { capacity: 4, blockSize: 64, used: 1, available: 3 });
});

test('freeBlock: the message about a copy names the trap and what to write instead', () => {
  const pool = new MemoryPool(64, 1);
  const block = pool.allocateBlock();
  class Mine extends Uint8Array {}
  for (const copy of [new Uint8Array(block), block.slice(), Uint8Array.from(block), structuredClone(block.slice()),
    new Mine(block), Buffer.from(block)]) {
    refuses(() => pool.freeBlock(copy), 'ERR_FOREIGN_BLOCK', /new Uint8Array\(block\).*cop.*subarray\(\)/s);
    refuses(() => pool.freeBlock(copy), 'ERR_FOREIGN_BLOCK', /new Uint8Array\(block\.buffer, block\.byteOffset/);
  }
});

test('freeBlock: each block once', () => {
  const pool = new MemoryPool(64, 3);
  const blocks = [1, 2, 3].map(() => pool.allocateBlock());
  for (const block of blocks) {
    pool.freeBlock(block);
    for (const view of [block, block.subarray(), new DataView(block.buffer, block.byteOffset)])
      refuses(() => pool.freeBlock(view), 'ERR_BLOCK_ALREADY_FREED');
  }
  assert.equal(pool.getStats().used, 0);
});

test('freeBlock: a block that was never handed out counts as free', () => {
  const pool = new MemoryPool(64, 3);
  const block = pool.allocateBlock();
  refuses(() => pool.freeBlock(new Uint8Array(block.buffer, block.byteOffset + 64, 1)), 'ERR_BLOCK_ALREADY_FREED');
});

test('freeBlock: the view of an earlier owner is refused, however often the block went round', () => {
  const pool = new MemoryPool(64, 2);
  const stale = [];
  for (let round = 0; round < 1000; round++) {
    const block = pool.allocateBlock();
    for (const old of stale.slice(-3))
      refuses(() => pool.freeBlock(old), 'ERR_BLOCK_ALREADY_FREED');
    assert.equal(pool.getStats().used, 1);
    block[0] = round;
    pool.freeBlock(block);
    stale.push(block);
  }
  const block = pool.allocateBlock();
  for (const old of stale)
    refuses(() => pool.freeBlock(old), 'ERR_BLOCK_ALREADY_FREED');
  pool.freeBlock(block);
});

test('freeBlock: a derived view bears no generation, and is judged by its address alone', () => {
  const pool = new MemoryPool(64, 1);
  const derived = pool.allocateBlock().subarray();
  pool.freeBlock(derived);
  pool.allocateBlock();
  pool.freeBlock(derived);
  assert.equal(pool.getStats().used, 0);
});

test('freeBlock: of one pool says nothing about another of the same shape', () => {
  const one = new MemoryPool(64, 2);
  const two = new MemoryPool(64, 2);
  const block = one.allocateBlock();
  two.allocateBlock();
  refuses(() => two.freeBlock(block), 'ERR_FOREIGN_BLOCK');
  one.freeBlock(block);
});

test('freeBlock: a block that was given properties, or lets no more be added', () => {
  const pool = new MemoryPool(64, 1);
  const block = pool.allocateBlock();
  block.note = 'mine';
  Object.preventExtensions(block);
  pool.freeBlock(block);
  assert.equal(pool.getStats().used, 0);
});

test('blockAt: the view again, from its number', () => {
  const pool = new MemoryPool(64, 4);
  const blocks = [1, 2, 3].map(() => pool.allocateBlock());
  for (const block of blocks) {
    const again = pool.blockAt(block.byteOffset);
    assert.equal(again.buffer, block.buffer);
    assert.equal(again.byteOffset, block.byteOffset);
    assert.equal(again.length, 64);
  }
  pool.freeBlock(pool.blockAt(blocks[0].byteOffset));
  refuses(() => pool.freeBlock(blocks[0]), 'ERR_BLOCK_ALREADY_FREED');
});

test('blockAt: its view carries the present generation', () => {
  const pool = new MemoryPool(64, 1);
  const first = pool.allocateBlock();
  const numbered = pool.blockAt(first.byteOffset);
  pool.freeBlock(first);
  const second = pool.allocateBlock();
  refuses(() => pool.freeBlock(numbered), 'ERR_BLOCK_ALREADY_FREED');
  pool.freeBlock(pool.blockAt(second.byteOffset));
  refuses(() => pool.freeBlock(second), 'ERR_BLOCK_ALREADY_FREED');
});

test('blockAt: what is no number of a block is foreign, that of a free one is free', () => {
  const pool = new MemoryPool(64, 2);
  const block = pool.allocateBlock();
  const start = block.byteOffset;
  for (const value of [...NOT_NUMBERS, NaN, Infinity, -1, 0.5, 0, start + 1, start + 63, start - 64, start + 128, start + 0.5,
    start + 2 ** 32, start - 2 ** 32, -start, 2 ** 53, String(start), BigInt(start), pool.memory.buffer.byteLength])
    refuses(() => pool.blockAt(value), 'ERR_FOREIGN_BLOCK');
  refuses(() => pool.blockAt(start + 64), 'ERR_BLOCK_ALREADY_FREED');
  pool.freeBlock(block);
  refuses(() => pool.blockAt(start), 'ERR_BLOCK_ALREADY_FREED');
});

test('getStats: exact at each step of a random walk, and no block is handed out twice', () => {
  const random = randomNumbers();
  for (const [size, capacity] of [[1, 1], [24, 7], [64, 64], [1000, 33], [4096, 5]]) {
    const pool = new MemoryPool(size, capacity);
    const live = new Map();
    const freed = [];
    for (let step = 0; step < 4000; step++) {
      if (random(2) === 0) {
        const block = pool.allocateBlock();
        assert.equal(block === null, live.size === capacity);
        if (block !== null) {
          assert.ok(!live.has(block.byteOffset));
          live.set(block.byteOffset, block);
          block.fill(step & 255);
          block.step = step & 255;
        }
      } else if (live.size > 0 && random(8) !== 0) {
        const block = [...live.values()][random(live.size)];
        assert.ok(block.every((byte) => byte === block.step));
        live.delete(block.byteOffset);
        pool.freeBlock(block);
        freed.push(block);
      } else if (freed.length > 0) {
        refuses(() => pool.freeBlock(freed[random(freed.length)]), 'ERR_BLOCK_ALREADY_FREED');
      }
      assert.deepEqual(pool.getStats(), { capacity, blockSize: size, used: live.size, available: capacity - live.size });
    }
  }
});

test('writes past the end of a block, into free blocks, or all over them, leave the pool sound', () => {
  const pool = new MemoryPool(64, 8);
  const start = pool.allocateBlock().byteOffset;
  new Uint8Array(pool.memory.buffer, start).fill(255);
  const offsets = new Set([start]);
  for (let i = 0; i < 7; i++)
    offsets.add(pool.allocateBlock().byteOffset);
  assert.equal(offsets.size, 8);
  assert.equal(pool.allocateBlock(), null);
});

test('a pool of more than 2 GiB has blocks above it', (t) => {
  let pool;
  try {
    pool = new MemoryPool(1.5 * 2 ** 30, 2);
  } catch (error) {
    t.skip(`there is no memory of 3 GiB: ${error.cause}`);
    return;
  }
  const blocks = [pool.allocateBlock(), pool.allocateBlock()];
  assert.ok(blocks.every((block) => block.length === 1.5 * 2 ** 30));
  blocks[1][blocks[1].length - 1] = 5;
  assert.equal(pool.blockAt(Math.max(...blocks.map((block) => block.byteOffset))).length, blocks[0].length);
  for (const block of blocks)
    pool.freeBlock(block);
  assert.equal(pool.getStats().used, 0);
});

test('dispose: every other method throws, it itself does not', () => {
  const pool = new MemoryPool(64, 2);
  const block = pool.allocateBlock();
  pool.dispose();
  pool.dispose();
  for (const call of [() => pool.allocateBlock(), () => pool.allocateBlockOrThrow(), () => pool.freeBlock(block),
    () => pool.freeBlock(null), () => pool.blockAt(block.byteOffset), () => pool.blockAt('x'), () => pool.getStats(),
    () => pool.share(), () => pool.recover(1), () => pool.memory])
    refuses(call, 'ERR_POOL_DISPOSED');
  assert.equal(pool.blockSize, 64);
  assert.equal(pool.capacity, 2);
  assert.equal(pool.shared, false);
});

test('dispose: by way of Symbol.dispose', () => {
  const name = Symbol.dispose ?? Symbol.for('Symbol.dispose');
  const pool = new MemoryPool(64, 2);
  pool[name]();
  refuses(() => pool.allocateBlock(), 'ERR_POOL_DISPOSED');
});

test('shared memory: what a plain pool has not got is refused', () => {
  const pool = new MemoryPool(64, 2);
  refuses(() => pool.share(), 'ERR_SHARED_MEMORY_UNAVAILABLE');
  refuses(() => pool.recover(1), 'ERR_SHARED_MEMORY_UNAVAILABLE');
});

test('shared memory: where it is missing createShared and attach say so', () => {
  const saved = globalThis.SharedArrayBuffer;
  const handle = MemoryPool.createShared(64, 2).share();
  const refused = () => {
    assert.equal(MemoryPool.sharedSupported, false);
    refuses(() => MemoryPool.createShared(64, 2), 'ERR_SHARED_MEMORY_UNAVAILABLE');
    refuses(() => MemoryPool.createShared(0, 2), 'ERR_INVALID_BLOCK_SIZE');
    refuses(() => MemoryPool.attach(handle), 'ERR_SHARED_MEMORY_UNAVAILABLE');
  };
  assert.equal(MemoryPool.sharedSupported, true);
  delete globalThis.SharedArrayBuffer;
  refused();
  globalThis.SharedArrayBuffer = saved;
  globalThis.crossOriginIsolated = false;
  refused();
  delete globalThis.crossOriginIsolated;
});

test('MemoryPoolError: an Error with the code', () => {
  for (const code of Object.keys(MESSAGES)) {
    const error = new MemoryPoolError(code, 'words');
    assert.ok(error instanceof Error);
    assert.equal(error.code, code);
    assert.equal(error.message, 'words');
  }
});

test('only views are garbage: a million pairs leave the heap where it was', (t) => {
  if (globalThis.gc === undefined) {
    t.skip('the garbage collector cannot be called (--expose-gc)');
    return;
  }
  const pool = new MemoryPool(64, 4);
  const pairs = (count) => {
    for (let i = 0; i < count; i++)
      pool.freeBlock(pool.allocateBlock());
  };
  pairs(100000);
  gc();
  const before = process.memoryUsage().heapUsed;
  pairs(1000000);
  gc();
  assert.ok(process.memoryUsage().heapUsed - before < 1 << 20);
});

test('the module: no top-level await, no import, nothing of Node, no global that an AudioWorklet lacks', () => {
  const source = readFileSync(modulePath, 'utf8');
  // What a function may have at its top is neither await nor import.
  assert.doesNotThrow(() => new Function(source.replace(/^export *\{.*\};$/m, '')));
  assert.doesNotMatch(source, /\bimport\(|require\(|node:/);
  assert.doesNotMatch(source, /(?<!globalThis\.)\b(atob|fetch|URL|TextDecoder|Buffer|process|window|self|document|setTimeout|performance)\b/);
  assert.doesNotMatch(source, /@[A-Z_]+@/);
});

test('the module: the wasm beside it is the one inside it, and imports a memory and nothing else', () => {
  const source = readFileSync(modulePath, 'utf8');
  for (const name of ['memory_pool_allocator.wasm', 'memory_pool_allocator_shared.wasm']) {
    const raw = readFileSync(`${directory}/${name}`);
    assert.ok(source.includes(`'${raw.toString('hex')}'`));
    assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(raw)), [{ module: 'env', name: 'memory', kind: 'memory' }]);
  }
});
