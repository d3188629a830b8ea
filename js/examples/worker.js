// SPDX-License-Identifier: MIT
// Hashes blocks of the page's pool where they are, and gives them back.
import { MemoryPool } from './memory_pool_allocator.js';
import { Board, FREE, HASHING } from './board.js';
import { Sha256 } from './sha256.js';

let pool;
let board;
let hash = new Sha256();

const orders = {
  attach({ handle, shared }) {
    pool = MemoryPool.attach(handle);
    board = new Board(shared);
  },

  // What was posted is where the block begins; the bytes are the page's own.
  hash({ offset, length }) {
    const block = pool.blockAt(offset);
    board.set(block, HASHING);
    hash.update(block.subarray(0, length));
    board.set(block, FREE);
    pool.freeBlock(block); // wakes the page, if it waits for one
  },

  finish() {
    postMessage(hash.digest());
    hash = new Sha256();
  },
};

onmessage = ({ data }) => orders[data.order](data);
