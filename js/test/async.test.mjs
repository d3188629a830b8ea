// SPDX-License-Identifier: MIT
// Waiting for a block of a plain pool: order, hand-over, signals, the end.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { MemoryPool, isRefusal, randomNumbers } from './support.mjs';

const NOTHING = Symbol('nothing');

// What a promise has come to by now, NOTHING if to nothing.
const now = (promise) => Promise.race([promise, Promise.resolve(NOTHING)]);
const isPending = async (promise) => await now(promise) === NOTHING;
const listeners = (signal) => getEventListeners(signal, 'abort').length;

// A pool with every block out.
function empty(size, capacity) {
  const pool = new MemoryPool(size, capacity);
  return { pool, blocks: Array.from({ length: capacity }, () => pool.allocateBlock()) };
}

test('allocateBlockAsync: a block at once while there are any', async () => {
  const pool = new MemoryPool(64, 2);
  for (const options of [undefined, {}]) {
    const block = await now(pool.allocateBlockAsync(options));
    assert.equal(block.length, 64);
    assert.equal(block.buffer, pool.memory.buffer);
  }
  assert.equal(pool.getStats().used, 2);
});

test('allocateBlockAsync: waits for a free, and gets that block', async () => {
  const { pool, blocks } = empty(64, 3);
  const waiting = pool.allocateBlockAsync();
  assert.ok(await isPending(waiting));
  pool.freeBlock(blocks[1]);
  const block = await waiting;
  assert.equal(block.byteOffset, blocks[1].byteOffset);
  assert.equal(pool.getStats().used, 3);
  assert.throws(() => pool.freeBlock(blocks[1]), isRefusal('ERR_BLOCK_ALREADY_FREED'));
  pool.freeBlock(block);
  assert.equal(pool.getStats().used, 2);
});

test('allocateBlockAsync: first come, first served, and no synchronous call overtakes', async () => {
  const { pool, blocks } = empty(64, 4);
  const order = [];
  const waiting = Array.from({ length: 10 }, (_, i) => pool.allocateBlockAsync().then((block) => {
    order.push(i);
    return block;
  }));
  for (let i = 0; i < 10; i++) {
    pool.freeBlock(i < 4 ? blocks[i] : await waiting[i - 4]);
    assert.equal(pool.allocateBlock(), null);
    assert.equal(pool.getStats().available, 0);
  }
  await Promise.all(waiting);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('allocateBlockAsync: a refused free serves nobody', async () => {
  const { pool, blocks } = empty(64, 1);
  const waiting = pool.allocateBlockAsync();
  assert.throws(() => pool.freeBlock(blocks[0].slice()), isRefusal('ERR_FOREIGN_BLOCK'));
  assert.throws(() => pool.freeBlock(blocks[0].subarray(1)), isRefusal('ERR_FOREIGN_BLOCK'));
  assert.ok(await isPending(waiting));
  pool.freeBlock(blocks[0]);
  assert.equal((await waiting).byteOffset, blocks[0].byteOffset);
});

test('allocateBlockAsync: a signal that is aborted rejects with its reason, also when blocks are there', async () => {
  const pool = new MemoryPool(64, 2);
  const reason = { why: 'no longer wanted' };
  await assert.rejects(pool.allocateBlockAsync({ signal: AbortSignal.abort(reason) }), (error) => error === reason);
  assert.equal(pool.getStats().used, 0);
  await assert.rejects(pool.allocateBlockAsync({ signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('allocateBlockAsync: an abort meanwhile rejects with its reason, and leaves no trace', async () => {
  const { pool, blocks } = empty(64, 1);
  const controllers = Array.from({ length: 5 }, () => new AbortController());
  const waiting = controllers.map(({ signal }) => pool.allocateBlockAsync({ signal }));
  assert.ok(controllers.every(({ signal }) => listeners(signal) === 1));
  for (const i of [2, 0, 4]) {
    const reason = new Error(`number ${i}`);
    controllers[i].abort(reason);
    await assert.rejects(waiting[i], (error) => error === reason);
    assert.equal(listeners(controllers[i].signal), 0);
  }
  pool.freeBlock(blocks[0]);
  const first = await waiting[1];
  assert.ok(await isPending(waiting[3]));
  pool.freeBlock(first);
  pool.freeBlock(await waiting[3]);
  assert.equal(pool.getStats().used, 0);
  assert.ok(controllers.every(({ signal }) => listeners(signal) === 0));
});

test('allocateBlockAsync: an abort after the block was given changes nothing', async () => {
  const { pool, blocks } = empty(64, 1);
  const controller = new AbortController();
  const waiting = pool.allocateBlockAsync({ signal: controller.signal });
  pool.freeBlock(blocks[0]);
  controller.abort();
  pool.freeBlock(await waiting);
  assert.equal(pool.getStats().used, 0);
});

test('allocateBlockAsync: one signal for many who wait', async () => {
  const { pool, blocks } = empty(64, 1);
  const controller = new AbortController();
  const waiting = Array.from({ length: 100 }, () => pool.allocateBlockAsync({ signal: controller.signal }));
  const unbothered = pool.allocateBlockAsync();
  controller.abort();
  for (const result of await Promise.allSettled(waiting))
    assert.equal(result.status, 'rejected');
  assert.ok(await isPending(unbothered));
  pool.freeBlock(blocks[0]);
  await unbothered;
});

test('allocateBlockAsync: a signal that outlives many waits gathers no listeners', async () => {
  const { pool, blocks } = empty(64, 1);
  const { signal } = new AbortController();
  let block = blocks[0];
  for (let i = 0; i < 100; i++) {
    const waiting = pool.allocateBlockAsync({ signal });
    pool.freeBlock(block);
    block = await waiting;
    assert.equal(listeners(signal), 0);
  }
});

test('allocateBlockAsync: a listener that frees in its turn serves the next', async () => {
  const { pool, blocks } = empty(64, 1);
  const controller = new AbortController();
  const aborted = pool.allocateBlockAsync({ signal: controller.signal });
  const next = pool.allocateBlockAsync();
  controller.signal.addEventListener('abort', () => pool.freeBlock(blocks[0]));
  controller.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  assert.equal((await next).byteOffset, blocks[0].byteOffset);
});

test('dispose: everybody who waits is rejected, and no listener is left', async () => {
  const { pool } = empty(64, 2);
  const controller = new AbortController();
  const waiting = [pool.allocateBlockAsync(), pool.allocateBlockAsync({ signal: controller.signal })];
  pool.dispose();
  for (const one of waiting)
    await assert.rejects(one, isRefusal('ERR_POOL_DISPOSED'));
  assert.equal(listeners(controller.signal), 0);
  controller.abort();
});

test('dispose: who asks later is rejected', async () => {
  const pool = new MemoryPool(64, 2);
  pool.dispose();
  await assert.rejects(pool.allocateBlockAsync(), isRefusal('ERR_POOL_DISPOSED'));
});

test('a random walk of frees, waits and aborts: each block has one owner, in order of arrival, and none is lost', async () => {
  const random = randomNumbers();
  const { pool, blocks } = empty(32, 5);
  const live = new Set(blocks);
  const queue = []; // those who wait, as they should be served
  let served = 0;
  for (let step = 0; step < 3000; step++) {
    const what = random(4);
    if (what === 0 && queue.length < 20) {
      const controller = new AbortController();
      const waiter = { controller, promise: undefined, block: undefined };
      waiter.promise = pool.allocateBlockAsync({ signal: controller.signal }).then((block) => { waiter.block = block; }, () => {});
      await Promise.resolve();
      queue.push(waiter);
    } else if (what === 1 && queue.length > 0) {
      const [waiter] = queue.splice(random(queue.length), 1);
      waiter.controller.abort();
      await waiter.promise;
      if (waiter.block !== undefined)
        live.add(waiter.block);
    } else if (live.size > 0) {
      const block = [...live][random(live.size)];
      live.delete(block);
      pool.freeBlock(block);
    }
    while (queue.length > 0 && live.size < 5) {
      const waiter = queue.shift();
      await waiter.promise;
      assert.ok(waiter.block !== undefined);
      live.add(waiter.block);
      served++;
    }
    assert.equal(new Set([...live].map((block) => block.byteOffset)).size, live.size);
    assert.equal(pool.getStats().used, live.size);
  }
  assert.ok(served > 100);
});
