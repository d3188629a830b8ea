// SPDX-License-Identifier: MIT
// Shared pools, between Workers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MemoryPool, directory, here, isRefusal, modulePath, refuses } from './support.mjs';

const timeout = 120000;

// A Worker that has attached; its answers come in order.
class Peer {
  constructor(pool) {
    this.worker = new Worker(join(here, 'shared_worker.mjs'), { workerData: { handle: pool.share() } });
    this.messages = [];
    this.readers = [];
    this.worker.on('message', (message) =>
      this.readers.length > 0 ? this.readers.shift().resolve(message) : this.messages.push(message));
    this.worker.on('error', (error) => this.readers.forEach((reader) => reader.reject(error)));
  }

  static async attached(pool) {
    const peer = new Peer(pool);
    peer.owner = (await peer.next()).owner;
    return peer;
  }

  next() {
    return this.messages.length > 0
      ? Promise.resolve(this.messages.shift())
      : new Promise((resolve, reject) => this.readers.push({ resolve, reject }));
  }

  begin(task, what) {
    this.worker.postMessage({ task, ...what });
  }

  async result() {
    const message = await this.next();
    assert.equal(message.failed, undefined, message.message);
    return message.result;
  }

  run(task, what) {
    this.begin(task, what);
    return this.result();
  }

  end() {
    return this.worker.terminate();
  }
}

async function withPeers(pool, count, body) {
  const peers = await Promise.all(Array.from({ length: count }, () => Peer.attached(pool)));
  try {
    await body(...peers);
  } finally {
    await Promise.all(peers.map((peer) => peer.end()));
  }
}

function takeAll(pool) {
  const blocks = [];
  for (let block; (block = pool.allocateBlock()) !== null;)
    blocks.push(block);
  return blocks;
}

// Every block can be taken, once.
function isWhole(pool) {
  const blocks = takeAll(pool);
  assert.equal(blocks.length, pool.capacity);
  assert.equal(new Set(blocks.map((block) => block.byteOffset)).size, pool.capacity);
  assert.equal(pool.getStats().available, 0);
  blocks.forEach((block) => pool.freeBlock(block));
  assert.equal(pool.getStats().used, 0);
}

test('wasm: neither module has data that a second instance would clear, or anything to run at its start', () => {
  for (const name of ['memory_pool_allocator.wasm', 'memory_pool_allocator_shared.wasm']) {
    const bytes = readFileSync(join(directory, name));
    const sections = [];
    for (let at = 8; at < bytes.length;) {
      sections.push(bytes[at++]);
      let length = 0;
      let shift = 0;
      do {
        length |= (bytes[at] & 127) << shift;
        shift += 7;
      } while (bytes[at++] > 127);
      at += length;
    }
    assert.ok(sections.includes(10));
    for (const [section, what] of [[8, 'start'], [11, 'data'], [12, 'data count']])
      assert.ok(!sections.includes(section), `${name}: ${what}`);
  }
});

test('createShared: arguments are judged as the constructor does', () => {
  for (const size of [0, -1, 1.5, NaN, '16', null, undefined, 2 ** 33])
    refuses(() => MemoryPool.createShared(size, 4), 'ERR_INVALID_BLOCK_SIZE');
  for (const capacity of [0, -1, 1.5, NaN, '16', null, undefined, 2 ** 32 - 1])
    refuses(() => MemoryPool.createShared(16, capacity), 'ERR_INVALID_CAPACITY');
  refuses(() => MemoryPool.createShared(2 ** 31, 2), 'ERR_INVALID_BLOCK_SIZE');
  refuses(() => MemoryPool.createShared(16, 4, { alignment: 3 }), 'ERR_INVALID_BLOCK_SIZE');
});

test('createShared: blocks of each size and number, aligned, zeroed, apart, and all of them', () => {
  for (const [size, capacity, alignment] of [[1, 1], [3, 33], [64, 32], [65, 31], [1000, 7], [16, 40000], [100, 5, 4096], [8, 1025, 8]]) {
    const pool = MemoryPool.createShared(size, capacity, { alignment });
    assert.equal(pool.shared, true);
    assert.equal(pool.owner, 1);
    assert.ok(pool.memory.buffer instanceof SharedArrayBuffer);
    const blocks = takeAll(pool).sort((a, b) => a.byteOffset - b.byteOffset);
    assert.equal(blocks.length, capacity);
    blocks.forEach((block, i) => {
      assert.equal(block.length, size);
      assert.equal(block.byteOffset % (alignment ?? (size < 64 ? 16 : 64)), 0);
      assert.ok(i === 0 || block.byteOffset - blocks[i - 1].byteOffset >= size);
      assert.ok(block.every((byte) => byte === 0));
      block.fill(255);
    });
    for (const block of blocks)
      pool.freeBlock(block);
    isWhole(pool);
    pool.dispose();
  }
});

test('createShared: refusals are those of a plain pool', () => {
  const pool = MemoryPool.createShared(64, 2);
  const block = pool.allocateBlock();
  refuses(() => pool.freeBlock(new Uint8Array(block)), 'ERR_FOREIGN_BLOCK', /new Uint8Array\(block\)/);
  refuses(() => pool.freeBlock(block.subarray(1)), 'ERR_FOREIGN_BLOCK');
  refuses(() => pool.blockAt(block.byteOffset + 1), 'ERR_FOREIGN_BLOCK');
  refuses(() => pool.blockAt(block.byteOffset + 64), 'ERR_BLOCK_ALREADY_FREED');
  assert.equal(pool.getStats().used, 1);
  pool.freeBlock(block.subarray(0, 3));
  refuses(() => pool.freeBlock(block), 'ERR_BLOCK_ALREADY_FREED');
  pool.allocateBlock();
  pool.allocateBlock();
  refuses(() => pool.freeBlock(block), 'ERR_BLOCK_ALREADY_FREED');
  refuses(() => pool.allocateBlockOrThrow(), 'ERR_POOL_EXHAUSTED');
  assert.equal(pool.getStats().used, 2);
});

test('attach: what share() did not return is refused', () => {
  const pool = MemoryPool.createShared(64, 2);
  const { memory } = pool.share();
  const other = new WebAssembly.Memory({ initial: 20, maximum: 20, shared: true });
  for (const handle of [undefined, null, 1, {}, { memory }, { memory, blockSize: 64 }, { memory, blockSize: 64, capacity: 3 },
    { memory, blockSize: 65, capacity: 2 }, { memory: other, blockSize: 64, capacity: 2 }, { memory: memory.buffer, blockSize: 64, capacity: 2 },
    { memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), blockSize: 64, capacity: 2 },
    { memory: new MemoryPool(64, 2).memory, blockSize: 64, capacity: 2 }])
    refuses(() => MemoryPool.attach(handle), 'ERR_SHARED_MEMORY_UNAVAILABLE');
  isWhole(pool);
});

test('attach: 255 at once, and another when one has left; one that left with a block keeps its number until that is freed', () => {
  const pool = MemoryPool.createShared(64, 4);
  const all = [pool];
  while (all.length < 255)
    all.push(MemoryPool.attach(pool.share()));
  assert.equal(new Set(all.map((one) => one.owner)).size, 255);
  const full = isRefusal('ERR_SHARED_MEMORY_UNAVAILABLE');
  assert.throws(() => MemoryPool.attach(pool.share()), full);
  const { byteOffset } = all[100].allocateBlock();
  all[100].dispose();
  assert.throws(() => MemoryPool.attach(pool.share()), full);
  pool.freeBlock(pool.blockAt(byteOffset));
  assert.equal(MemoryPool.attach(pool.share()).owner, all[100].owner);
  all[7].dispose();
  assert.equal(MemoryPool.attach(pool.share()).owner, all[7].owner);
  isWhole(pool);
});

test('dispose: of one attachment leaves the others their pool, whoever made it', () => {
  const pool = MemoryPool.createShared(64, 3);
  const second = MemoryPool.attach(pool.share());
  const third = MemoryPool.attach(second.share());
  const block = pool.allocateBlock();
  pool.dispose();
  refuses(() => pool.allocateBlock(), 'ERR_POOL_DISPOSED');
  refuses(() => pool.share(), 'ERR_POOL_DISPOSED');
  assert.equal(second.getStats().used, 1);
  second.freeBlock(second.blockAt(block.byteOffset));
  second.dispose();
  isWhole(third);
});

test('recover: what an owner held comes back once; nobody else is touched', () => {
  const pool = MemoryPool.createShared(64, 8);
  const gone = MemoryPool.attach(pool.share());
  const other = MemoryPool.attach(pool.share());
  const stale = [1, 2, 3].map(() => gone.allocateBlock());
  other.allocateBlock();
  const mine = pool.allocateBlock();
  assert.equal(pool.recover(gone.owner), 3);
  assert.equal(pool.recover(gone.owner), 0);
  assert.equal(pool.getStats().used, 2);
  for (const owner of [0, -1, 1.5, NaN, '2', 256, 2 ** 31, pool.owner])
    assert.equal(pool.recover(owner), 0);
  for (const block of stale)
    refuses(() => pool.freeBlock(new Uint8Array(block.buffer, block.byteOffset)), 'ERR_BLOCK_ALREADY_FREED');
  pool.freeBlock(mine);
  assert.equal(pool.recover(other.owner), 1);
  isWhole(pool);
});

test('allocateBlock: what a Worker leaves that is terminated before it notes or counts a block', () => {
  const HEADER = 256 * 2048;
  const pool = MemoryPool.createShared(64, 8);
  const { buffer } = pool.memory;
  const hints = new Uint32Array(buffer, HEADER + 320 + 255 * 8, 1);
  const allocs = new BigUint64Array(buffer, HEADER + 256, 1);
  const blocks = takeAll(pool);
  assert.deepEqual([hints[0], allocs[0]], [0, 8n]);
  pool.freeBlock(blocks[3]);
  assert.equal(hints[0], 1 << 3);
  hints[0] = 0;
  assert.equal(pool.allocateBlock().byteOffset, blocks[3].byteOffset);
  assert.equal(pool.allocateBlock(), null);
  allocs[0] = 8n; // one less than were taken
  assert.equal(pool.allocateBlock(), null);
  pool.freeBlock(blocks[5]);
  assert.equal(pool.allocateBlock().byteOffset, blocks[5].byteOffset);
  assert.equal(pool.allocateBlock(), null);
});

test('each attachment has a stack of its own, and none the one that the module comes with', () => {
  const pool = MemoryPool.createShared(64, 8);
  const second = MemoryPool.attach(pool.share());
  const gone = MemoryPool.attach(pool.share());
  const memory = new Uint8Array(pool.memory.buffer);
  const stackOf = (owner) => memory.subarray(owner * 2048 + 1024, owner * 2048 + 2048);
  for (const owner of [pool.owner, second.owner])
    stackOf(owner).fill(0);
  const common = memory.subarray(0, 1024).fill(0);
  takeAll(second).forEach((block) => second.freeBlock(block));
  takeAll(gone);
  assert.equal(second.recover(gone.owner), 8); // what it does takes some stack
  assert.ok(common.every((byte) => byte === 0));
  assert.ok(stackOf(pool.owner).every((byte) => byte === 0));
  assert.ok(stackOf(second.owner).some((byte) => byte !== 0));
});

test('Workers: blocks are the same bytes, and anybody frees them', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 4);
  await withPeers(pool, 2, async (one, two) => {
    assert.equal(new Set([pool.owner, one.owner, two.owner]).size, 3);
    const [offset] = await one.run('take', { count: 1 });
    await two.run('fill', { offset, byte: 42 });
    assert.ok(pool.blockAt(offset).every((byte) => byte === 42));
    assert.equal(pool.getStats().used, 1);
    await two.run('free', { offsets: [offset] });
    isWhole(pool);
  });
});

test('Workers: a view is stale when its block was freed and taken again elsewhere', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 1);
  await withPeers(pool, 1, async (peer) => {
    for (let round = 0; round < 20; round++) {
      const block = pool.allocateBlock();
      const numbered = pool.blockAt(block.byteOffset);
      await peer.run('free', { offsets: [block.byteOffset] });
      refuses(() => pool.freeBlock(block), 'ERR_BLOCK_ALREADY_FREED');
      const offsets = await peer.run('take', { count: 1 });
      refuses(() => pool.freeBlock(block), 'ERR_BLOCK_ALREADY_FREED');
      refuses(() => pool.freeBlock(numbered), 'ERR_BLOCK_ALREADY_FREED');
      assert.equal(pool.getStats().used, 1);
      await peer.run('free', { offsets });
    }
  });
});

for (const [capacity, most] of [[3, 2], [40, 12], [2000, 300]]) {
  test(`Workers: churn on ${capacity} blocks, no block with two owners`, { timeout }, async () => {
    const pool = MemoryPool.createShared(64, capacity);
    const blocks = takeAll(pool);
    const base = Math.min(...blocks.map((block) => block.byteOffset));
    blocks.forEach((block) => pool.freeBlock(block));
    const stamps = new SharedArrayBuffer(capacity * 4);
    await withPeers(pool, 4, async (...peers) => {
      const empty = await Promise.all(peers.map((peer) => peer.run('churn', { steps: 100000, most, stamps, base, stride: 64 })));
      // Exact: as long as all of them together can't hold every block nobody is told that there is none.
      assert.ok(4 * most > capacity || empty.every((count) => count === 0));
      isWhole(pool);
    });
  });
}

test('Workers: terminated at random under churn, recovered, nothing is lost', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 24);
  await withPeers(pool, 1, async (steady) => {
    for (let round = 0; round < 12; round++) {
      const victim = await Peer.attached(pool);
      victim.begin('churnForEver', { most: 9 });
      assert.ok((await victim.next()).begun);
      await steady.run('churn', { steps: 5000, most: 5, stamps: new SharedArrayBuffer(1 << 20), base: 0, stride: 64 });
      await victim.end();
      const held = pool.getStats().used;
      assert.equal(pool.recover(victim.owner), held);
      isWhole(pool);
    }
  });
});

test('waiting: a block that another Worker frees', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 2);
  await withPeers(pool, 1, async (peer) => {
    for (let round = 0; round < 10; round++) {
      const offsets = await peer.run('take', { count: 2 });
      const waiting = [pool.allocateBlockAsync(), pool.allocateBlockAsync()];
      await peer.run('free', { offsets });
      (await Promise.all(waiting)).forEach((block) => pool.freeBlock(block));
    }
    isWhole(pool);
  });
});

test('waiting: here a Worker waits, in its order, and its pool is not blocked meanwhile', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 3);
  const served = [];
  const blocks = takeAll(pool);
  const waiting = [0, 1, 2].map((i) => pool.allocateBlockAsync().then((block) => {
    served.push(i);
    return block;
  }));
  await withPeers(pool, 1, async (peer) => {
    await peer.run('free', { offsets: blocks.map((block) => block.byteOffset) });
    (await Promise.all(waiting)).forEach((block) => pool.freeBlock(block));
    assert.deepEqual(served, [0, 1, 2]);
    isWhole(pool);
  });
});

test('waiting: several Workers in want of the same blocks are all served', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 2);
  await withPeers(pool, 3, async (...peers) => {
    const blocks = takeAll(pool);
    const results = peers.map((peer) => peer.run('wait', { count: 4 }));
    blocks.forEach((block) => pool.freeBlock(block));
    let left = 12;
    // What they got is freed here until each has had its share.
    const keepFreeing = (async () => {
      while (left > 0) {
        for (let index = 0; index < 2; index++) {
          const { byteOffset } = blocks[index];
          try {
            pool.freeBlock(pool.blockAt(byteOffset));
            left--;
          } catch (error) {
            assert.equal(error.code, 'ERR_BLOCK_ALREADY_FREED');
          }
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    assert.ok((await Promise.all(results)).every((offsets) => offsets.length === 4));
    await keepFreeing;
    isWhole(pool);
  });
});

test('waiting: what a terminated Worker held serves who waits', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 2);
  await withPeers(pool, 1, async (peer) => {
    const { owner } = peer;
    await peer.run('take', { count: 2 });
    const waiting = pool.allocateBlockAsync();
    await peer.end();
    assert.equal(pool.recover(owner), 2);
    pool.freeBlock(await waiting);
    isWhole(pool);
  });
});

test('waiting: abort and dispose reject, leave no trace, and take no block', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 1);
  const second = MemoryPool.attach(pool.share());
  const block = pool.allocateBlock();
  const abort = new AbortController();
  const aborted = pool.allocateBlockAsync({ signal: abort.signal });
  const kept = pool.allocateBlockAsync();
  const disposed = second.allocateBlockAsync();
  abort.abort('enough');
  await assert.rejects(aborted, (reason) => reason === 'enough');
  second.dispose();
  await assert.rejects(disposed, isRefusal('ERR_POOL_DISPOSED'));
  pool.freeBlock(block);
  pool.freeBlock(await kept);
  isWhole(pool);
});

test('waiting: without Atomics.waitAsync', { timeout }, async () => {
  const { waitAsync } = Atomics;
  Atomics.waitAsync = undefined;
  try {
    const pool = MemoryPool.createShared(64, 1);
    const second = MemoryPool.attach(pool.share());
    const block = pool.allocateBlock();
    const waiting = second.allocateBlockAsync();
    pool.freeBlock(block);
    second.freeBlock(await waiting);
    isWhole(pool);
  } finally {
    Atomics.waitAsync = waitAsync;
  }
});

test('a stream from Worker to Worker through few blocks', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 4);
  await withPeers(pool, 1, async (peer) => {
    peer.begin('produce', { count: 2000 });
    for (let i = 0; i < 2000; i++) {
      const { sent } = await peer.next();
      const block = pool.blockAt(sent);
      assert.equal(new DataView(block.buffer, block.byteOffset).getUint32(0), i);
      pool.freeBlock(block);
    }
    await peer.result();
    isWhole(pool);
  });
});

test('freeBlock: a view that was posted, on memory that is the same, is judged by its address', () => {
  const pool = MemoryPool.createShared(64, 2);
  const other = MemoryPool.createShared(64, 2);
  const [block, kept] = takeAll(pool);
  const posted = structuredClone(block);
  refuses(() => other.freeBlock(posted), 'ERR_FOREIGN_BLOCK', /^Foreign block/);
  pool.freeBlock(posted);
  refuses(() => pool.freeBlock(posted), 'ERR_BLOCK_ALREADY_FREED', /^Block already freed/);
  refuses(() => pool.freeBlock(structuredClone(kept).subarray(1)), 'ERR_FOREIGN_BLOCK', /^Foreign block/);
  assert.equal(pool.getStats().used, 1);
  assert.equal(other.getStats().used, 0);
});

test('allocateBlockAsync: a Worker that has nothing else to do lives until it is served', { timeout }, async () => {
  const pool = MemoryPool.createShared(64, 1);
  const block = pool.allocateBlock();
  const worker = new Worker(`
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.module).then(async ({ MemoryPool }) => {
      const served = MemoryPool.attach(workerData.handle).allocateBlockAsync();
      parentPort.postMessage('waits');
      await served;
      process.exit(7);
    });`, { eval: true, workerData: { module: pathToFileURL(modulePath).href, handle: pool.share() } });
  const ended = once(worker, 'exit');
  await once(worker, 'message');
  await once(new Worker('', { eval: true }), 'exit'); // a Worker that waits for nothing has ended by now
  pool.freeBlock(block);
  assert.deepEqual(await ended, [7]);
});

test('attach: sizes that only read like those of the pool are refused', () => {
  const handle = MemoryPool.createShared(64, 4).share();
  const oddities = [{ blockSize: '64' }, { blockSize: [64] }, { capacity: [4] }, { capacity: 4n },
    { capacity: Symbol('4') }, { blockSize: { toString() { throw new Error('not to be called'); } } }];
  for (const oddity of oddities)
    refuses(() => MemoryPool.attach({ ...handle, ...oddity }), 'ERR_SHARED_MEMORY_UNAVAILABLE',
      /^Shared memory unavailable/);
});
