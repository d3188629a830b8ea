// SPDX-License-Identifier: MIT
import { MemoryPool } from '/module/memory_pool_allocator.js';

// In each quantum it takes a block of the page's pool, fills it, and tells the page where it begins; and when all are
// out, it frees the oldest as soon as the page has read it: to render without a device there is no deadline.
registerProcessor('shared-pooled', class extends AudioWorkletProcessor {
  #pool;
  #queue = [];
  #taken = 0;
  #freed = 0;

  constructor({ processorOptions: { handle } }) {
    super();
    this.#pool = MemoryPool.attach(handle);
    this.port.onmessage = () => {
      while (this.#queue.length !== 0)
        this.#freeOldest();
      this.port.postMessage({ owner: this.#pool.owner, taken: this.#taken, freed: this.#freed });
      this.#pool.dispose();
    };
  }

  process() {
    if (this.#queue.length === this.#pool.capacity)
      this.#freeOldest();
    const block = this.#pool.allocateBlockOrThrow();
    // The samples, and behind them a word that is set when they are read.
    new Float32Array(block.buffer, block.byteOffset, 128).fill(++this.#taken);
    Atomics.store(new Int32Array(block.buffer, block.byteOffset, 129), 128, 0);
    this.#queue.push(block);
    this.port.postMessage({ offset: block.byteOffset });
    return true;
  }

  #freeOldest() {
    const oldest = this.#queue.shift();
    const words = new Int32Array(oldest.buffer, oldest.byteOffset, 129);
    while (Atomics.load(words, 128) === 0);
    this.#pool.freeBlock(oldest);
    this.#freed++;
  }
});
