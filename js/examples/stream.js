// SPDX-License-Identifier: MIT
// Bytes that arrive here are hashed in a Worker: through a pool that both share.
import { MemoryPool } from './memory_pool_allocator.js';
import { Board, FILLING, FREE, WAITING } from './board.js';

export class Stream {
  #pool;
  #board;
  #worker = new Worker('./worker.js', { type: 'module' });
  #controller; // of the run that is under way
  #refuse; // what waits for the Worker's answer
  #block = null; // that is being filled
  #filled = 0;
  bytes = 0;
  waits = 0;
  waitedMs = 0;
  mostUsed = 0;
  failure = null; // the Worker's

  constructor(blockSize, capacity) {
    this.#pool = MemoryPool.createShared(blockSize, capacity);
    this.#board = Board.of(this.#pool);
    this.#worker.onerror = ({ message }) => {
      this.failure = new Error(`The Worker failed: ${message ?? 'it could not be started'}`);
      this.#controller?.abort(this.failure);
      this.#refuse?.(this.failure);
    };
    this.#worker.postMessage({ order: 'attach', handle: this.#pool.share(), shared: this.#board.share() });
  }

  get cells() {
    return this.#board.cells;
  }

  get used() {
    return this.#pool.getStats().used;
  }

  // Streams what open(signal) gives, a ReadableStream of bytes; the digest.  All blocks are back when it ends, also when
  // it is stopped, or the sender fails.
  async run(open) {
    const { signal } = this.#controller = new AbortController();
    this.bytes = this.waits = this.waitedMs = this.mostUsed = 0;
    try {
      await this.#read(await open(signal), signal);
    } catch (error) {
      this.#giveUp();
      await this.#finish();
      throw error;
    }
    return this.#finish();
  }

  stop() {
    this.#controller.abort(new Error('Stopped'));
  }

  dispose() {
    this.#worker.terminate();
    this.#pool.dispose();
  }

  async #read(body, signal) {
    const reader = body.getReader();
    const cancel = () => reader.cancel().catch(() => {});
    signal.addEventListener('abort', cancel);
    try {
      for (;;) {
        // A chunk, in memory that the browser made for it.
        const { done, value } = await reader.read();
        signal.throwIfAborted();
        if (done)
          break;
        await this.#fill(value, signal);
      }
      if (this.#block !== null)
        this.#handOver();
    } finally {
      signal.removeEventListener('abort', cancel);
      cancel();
    }
  }

  // Into as many blocks as it takes.  Nothing is read while this waits for one, so that the sender has to wait as well.
  async #fill(chunk, signal) {
    for (let from = 0; from < chunk.length;) {
      this.#block ??= await this.#take(signal);
      const part = chunk.subarray(from, from + this.#block.length - this.#filled);
      this.#block.set(part, this.#filled); // the only copy there is
      this.#filled += part.length;
      this.bytes += part.length;
      from += part.length;
      if (this.#filled === this.#block.length)
        this.#handOver();
    }
  }

  async #take(signal) {
    let block = this.#pool.allocateBlock();
    if (block === null) {
      const since = performance.now();
      this.waits++;
      block = await this.#pool.allocateBlockAsync({ signal });
      this.waitedMs += performance.now() - since;
    }
    this.#board.set(block, FILLING);
    this.mostUsed = Math.max(this.mostUsed, this.used);
    return block;
  }

  #handOver() {
    this.#board.set(this.#block, WAITING);
    this.#worker.postMessage({ order: 'hash', offset: this.#block.byteOffset, length: this.#filled });
    this.#block = null;
    this.#filled = 0;
  }

  // A block that was not filled to the end belongs to nobody else.
  #giveUp() {
    if (this.#block === null)
      return;
    this.#board.set(this.#block, FREE);
    this.#pool.freeBlock(this.#block);
    this.#block = null;
    this.#filled = 0;
  }

  // The Worker answers when it has hashed, and freed, all that it was given.
  #finish() {
    if (this.failure !== null)
      throw this.failure;
    return new Promise((resolve, reject) => {
      this.#refuse = reject;
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.postMessage({ order: 'finish' });
    });
  }
}
