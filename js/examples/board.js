// SPDX-License-Identifier: MIT
// Where page and Worker write down, for the picture, what they do with each block: a byte a block, in shared memory.
// Who has a block writes its byte; nobody else does.

export const STATES = ['free', 'filling', 'waiting', 'hashing'];
export const [FREE, FILLING, WAITING, HASHING] = STATES.keys();

export class Board {
  #cells;
  #first;
  #blockSize;

  // The blocks lie one behind the other, the first at `first`.
  constructor({ cells, first, blockSize }) {
    this.#cells = cells;
    this.#first = first;
    this.#blockSize = blockSize;
  }

  // The board of a pool all of whose blocks are free.  Where they lie is seen by having them all once.
  static of(pool) {
    const blocks = Array.from({ length: pool.capacity }, () => pool.allocateBlockOrThrow());
    const first = Math.min(...blocks.map((block) => block.byteOffset));
    blocks.forEach((block) => pool.freeBlock(block));
    return new Board({ cells: new Uint8Array(new SharedArrayBuffer(pool.capacity)), first, blockSize: pool.blockSize });
  }

  // What to post, for another Worker's new Board().
  share() {
    return { cells: this.#cells, first: this.#first, blockSize: this.#blockSize };
  }

  set(block, state) {
    Atomics.store(this.#cells, (block.byteOffset - this.#first) / this.#blockSize, state);
  }

  // The states, in the order in which the blocks lie in memory.
  get cells() {
    return this.#cells;
  }
}
