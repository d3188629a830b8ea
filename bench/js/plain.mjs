// SPDX-License-Identifier: MIT
//
// Plain pools of the JavaScript module beside what they take the place of, in one run: the best of several rounds each,
// taken in turns.  Nanoseconds a pair of taking and freeing, and the ratios, with the goals.
//
//   node bench/js/plain.mjs FOLDER    the folder of the built module, in which tools/ has @thi.ng/malloc
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = resolve(process.argv[2] ?? 'js');
const load = (file) => import(pathToFileURL(file).href);
const { MemoryPool } = await load(join(folder, 'memory_pool_allocator.js'));
const { MemPool } = await load(createRequire(join(folder, 'tools', 'x.js')).resolve('@thi.ng/malloc'));

const LIVE = 1000;
const BLOCK_BYTES = 1024;
const MEBIBYTE = 1 << 20;
const ROUNDS = 9;

const pool = new MemoryPool(BLOCK_BYTES, LIVE + 1);
const peer = new MemPool({ size: 2 * LIVE * BLOCK_BYTES });
const large = new MemoryPool(MEBIBYTE, 10);
const blocks = Array.from({ length: LIVE }, () => pool.allocateBlock());
const peers = Array.from({ length: LIVE }, () => peer.mallocAs('u8', BLOCK_BYTES));
let sink;

// The oldest is freed first, and one taken: a stream's order.
function stream(live, free, allocate, count) {
  for (let i = 0, k = 0; i < count; i++) {
    free(live[k]);
    live[k] = allocate();
    k = k + 1 === LIVE ? 0 : k + 1;
  }
}

// What was taken is freed at once.
function newest(free, allocate, count) {
  for (let i = 0; i < count; i++)
    free(allocate());
}

const cases = {
  'streaming order, 1,000 live: pool': [200000, (n) => stream(blocks, (b) => pool.freeBlock(b), () => pool.allocateBlock(), n)],
  'streaming order, 1,000 live: @thi.ng/malloc': [5000, (n) => stream(peers, (b) => peer.free(b), () => peer.mallocAs('u8', BLOCK_BYTES), n)],
  'newest first: pool': [200000, (n) => newest((b) => pool.freeBlock(b), () => pool.allocateBlock(), n)],
  'newest first: @thi.ng/malloc': [200000, (n) => newest((b) => peer.free(b), () => peer.mallocAs('u8', BLOCK_BYTES), n)],
  '1 MiB: pool': [200000, (n) => newest((b) => large.freeBlock(b), () => large.allocateBlock(), n)],
  '1 MiB: new Uint8Array(1 << 20)': [300, (n) => newest((b) => { sink = b; }, () => new Uint8Array(MEBIBYTE), n)],
};

const best = {};
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, [count, run]] of Object.entries(cases)) {
    const start = performance.now();
    run(count);
    const ns = (performance.now() - start) * 1e6 / count;
    best[name] = Math.min(best[name] ?? Infinity, ns);
  }
}
for (const [name, ns] of Object.entries(best))
  console.log(`${name.padEnd(48)} ${ns.toFixed(1).padStart(10)} ns`);

const [pooled, peered, pooledNewest, peeredNewest, pooledLarge, fresh] = Object.values(best);
console.log(`\nstreaming order: ${(peered / pooled).toFixed(1)} times @thi.ng/malloc (goal: at least 30)`);
console.log(`newest first: ${(pooledNewest / peeredNewest).toFixed(2)} of its time (goal: at most 1.3)`);
console.log(`1 MiB: ${(fresh / pooledLarge).toFixed(0)} times new Uint8Array(1 << 20) (goal: at least 100)`);
