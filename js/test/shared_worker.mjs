// SPDX-License-Identifier: MIT
// A Worker of shared.test.mjs: attaches to the pool that it is given, and does what it is told to.
import { parentPort, workerData } from 'node:worker_threads';
import { MemoryPool } from './support.mjs';

const pool = MemoryPool.attach(workerData.handle);

const tasks = {
  take({ count }) {
    const offsets = [];
    for (let i = 0; i < count; i++)
      offsets.push(pool.allocateBlockOrThrow().byteOffset);
    return offsets;
  },

  free({ offsets }) {
    for (const offset of offsets)
      pool.freeBlock(pool.blockAt(offset));
  },

  fill({ offset, byte }) {
    pool.blockAt(offset).fill(byte);
  },

  dispose() {
    pool.dispose();
  },

  async wait({ count }) {
    const offsets = [];
    for (let i = 0; i < count; i++)
      offsets.push((await pool.allocateBlockAsync()).byteOffset);
    return offsets;
  },

  // Takes and frees at random.  Beside each block, in memory of the tests' own, stands who has it.
  churn({ steps, most, stamps, base, stride }) {
    const holders = new Int32Array(stamps);
    const held = [];
    let state = pool.owner * 7919;
    let empty = 0;
    for (let step = 0; step < steps; step++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      if ((state >>> 16) % 2 === 0 && held.length < most) {
        const block = pool.allocateBlock();
        if (block === null) {
          empty++;
          continue;
        }
        const index = (block.byteOffset - base) / stride;
        if (Atomics.compareExchange(holders, index, 0, pool.owner) !== 0)
          throw new Error(`block ${index} has two owners`);
        block.fill(pool.owner);
        held.push(block);
      } else if (held.length > 0) {
        const [block] = held.splice((state >>> 8) % held.length, 1);
        if (block.some((byte) => byte !== pool.owner))
          throw new Error('somebody else has written into a block');
        Atomics.store(holders, (block.byteOffset - base) / stride, 0);
        pool.freeBlock(block);
      }
    }
    for (const block of held) {
      Atomics.store(holders, (block.byteOffset - base) / stride, 0);
      pool.freeBlock(block);
    }
    return empty;
  },

  // Until it is terminated.
  churnForEver({ most }) {
    const held = [];
    parentPort.postMessage({ begun: true });
    for (let step = 0; ; step++) {
      const block = held.length < most && step % 3 !== 0 ? pool.allocateBlock() : null;
      if (block !== null)
        held.push(block);
      else if (held.length > 0)
        pool.freeBlock(held.shift());
    }
  },

  // Sends a number through each block that it can get, until there are no more to be sent.
  async produce({ count }) {
    for (let i = 0; i < count; i++) {
      const block = await pool.allocateBlockAsync();
      new DataView(block.buffer, block.byteOffset).setUint32(0, i);
      parentPort.postMessage({ sent: block.byteOffset });
    }
  },
};

parentPort.on('message', async ({ task, ...what }) => {
  try {
    parentPort.postMessage({ done: task, result: await tasks[task](what) });
  } catch (error) {
    parentPort.postMessage({ failed: task, code: error.code, message: String(error) });
  }
});
parentPort.postMessage({ owner: pool.owner });
