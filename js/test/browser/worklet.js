// SPDX-License-Identifier: MIT
import { MemoryPool } from '/module/memory_pool_allocator.js';

registerProcessor('pooled', class extends AudioWorkletProcessor {
  #pool = new MemoryPool(128 * 4, 8);
  #queue = [];
  #quanta = 0;

  constructor() {
    super();
    this.port.onmessage = () => {
      const { used } = this.#pool.getStats();
      this.port.postMessage({ quanta: this.#quanta, used, queued: this.#queue.length });
    };
  }

  // Each quantum's samples go through a block, and are played four quanta later.
  process(_, [[output]]) {
    const block = this.#pool.allocateBlockOrThrow();
    new Float32Array(block.buffer, block.byteOffset, 128).fill(++this.#quanta);
    this.#queue.push(block);
    if (this.#queue.length > 4) {
      const oldest = this.#queue.shift();
      output.set(new Float32Array(oldest.buffer, oldest.byteOffset, 128));
      this.#pool.freeBlock(oldest);
    }
    return true;
  }
});
