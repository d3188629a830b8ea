// SPDX-License-Identifier: MIT
//
// Pools of the JavaScript module beside what they take the place of, and shared pools beside plain ones, all in one
// run: medians of rounds that are taken in turns.  Nanoseconds a pair of taking and freeing, and the ratios, with the
// goals.
//
//   node bench/js/speed.mjs FOLDER [ROUNDS]    the folder of the built module, in which tools/ has @thi.ng/malloc
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = resolve(process.argv[2] ?? 'js');
const rounds = Number(process.argv[3] ?? 31);
const load = (file, copy = '') => import(pathToFileURL(file).href + copy);
const { MemPool } = await load(createRequire(join(folder, 'tools', 'x.js')).resolve('@thi.ng/malloc'));

const LIVE = 1000;
const BLOCK_BYTES = 1024;
const MEBIBYTE = 1 << 20;
const BATCH = 64;
const VICTIMS = 8192;

const numbers = (count, of) => Array.from({ length: count }, (_, i) => of(i));

// The same in every run.
let seed = 1;
const victims = numbers(VICTIMS, () => {
  seed = Math.imul(seed, 1664525) + 1013904223 >>> 0;
  return seed % LIVE;
});

// The workloads of a peer that takes and frees, each of which runs so many pairs.  Its text is compiled anew for each
// peer, as the module is for each pool: what the engine learns of one says nothing about another.
const WORKLOADS = `
export default function workloads(take, free, live, victims) {
  const blocks = [];
  return {
    stream(pairs) { // the oldest is freed, and one taken
      for (let i = 0, k = 0; i < pairs; i++) {
        free(live[k]);
        live[k] = take();
        k = k + 1 === live.length ? 0 : k + 1;
      }
    },
    random(pairs) {
      for (let i = 0; i < pairs; i++) {
        const k = victims[i % victims.length];
        free(live[k]);
        live[k] = take();
      }
    },
    newest(pairs) {
      for (let i = 0; i < pairs; i++)
        free(take());
    },
    batch(pairs) {
      for (let i = 0; i < pairs; i += ${BATCH}) {
        for (let k = 0; k < ${BATCH}; k++)
          blocks[k] = take();
        for (let k = 0; k < ${BATCH}; k++)
          free(blocks[k]);
      }
    },
  };
}`;
let copies = 0;
const copy = () => `#${copies++}`;

async function peer(take, free, live = 0) {
  const { default: workloads } = await import(`data:text/javascript,${encodeURIComponent(WORKLOADS)}${copy()}`);
  return workloads(take, free, numbers(live, take), victims);
}

async function poolPeer(make, live) {
  const { MemoryPool } = await load(join(folder, 'memory_pool_allocator.js'), copy());
  const pool = make(MemoryPool);
  return peer(() => pool.allocateBlock(), (block) => pool.freeBlock(block), live);
}

let sink;
const heap = new MemPool({ size: 2 * LIVE * BLOCK_BYTES });
const plain = await poolPeer((MemoryPool) => new MemoryPool(BLOCK_BYTES, LIVE + BATCH), LIVE);
const shared = await poolPeer((MemoryPool) => MemoryPool.createShared(BLOCK_BYTES, LIVE + BATCH), LIVE);
const thing = await peer(() => heap.mallocAs('u8', BLOCK_BYTES), (block) => heap.free(block), LIVE);
const large = await poolPeer((MemoryPool) => new MemoryPool(MEBIBYTE, 10), 0);
const platform = await peer(() => new Uint8Array(MEBIBYTE), (block) => { sink = block; });

const PAIRS = 64000;
const PAIRS_OF_SLOW = 2000;
const PAIRS_OF_PLATFORM = 200;
const FEWER = { stream: PAIRS_OF_SLOW, random: PAIRS_OF_SLOW };
const cases = [];
for (const name of ['stream', 'random', 'newest', 'batch']) {
  cases.push({ name: `${name}, plain pool`, run: plain[name], pairs: PAIRS });
  cases.push({ name: `${name}, shared pool`, run: shared[name], pairs: PAIRS });
  cases.push({ name: `${name}, @thi.ng/malloc`, run: thing[name], pairs: FEWER[name] ?? PAIRS });
}
cases.push({ name: '1 MiB, plain pool', run: large.newest, pairs: PAIRS });
cases.push({ name: '1 MiB, new Uint8Array', run: platform.newest, pairs: PAIRS_OF_PLATFORM });

const times = new Map(cases.map(({ name }) => [name, []]));
for (let round = 0; round <= rounds; round++) {
  for (const { name, run, pairs } of cases) {
    const start = performance.now();
    run(pairs);
    if (round > 0) // the first one warms up
      times.get(name).push((performance.now() - start) * 1e6 / pairs);
  }
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const ns = Object.fromEntries([...times].map(([name, values]) => [name, median(values)]));
console.log(`ns per allocateBlock + freeBlock of ${BLOCK_BYTES} bytes, ${LIVE} live in stream and random; medians of ` +
  `${rounds} interleaved rounds; Node ${process.versions.node}`);
for (const [name, value] of Object.entries(ns))
  console.log(`${name.padEnd(24)} ${value.toFixed(1).padStart(10)}`);

function ratio(what, goal, one, other, digits) {
  console.log(`${what}: ${(ns[one] / ns[other]).toFixed(digits)} (goal: ${goal})`);
}

console.log();
ratio('stream, times as fast as @thi.ng/malloc', 'at least 30', 'stream, @thi.ng/malloc', 'stream, plain pool', 1);
ratio('newest, time beside @thi.ng/malloc', 'at most 1.3', 'newest, plain pool', 'newest, @thi.ng/malloc', 2);
ratio('1 MiB, times as fast as new Uint8Array', 'at least 100', '1 MiB, new Uint8Array', '1 MiB, plain pool', 0);
for (const name of ['stream', 'random', 'newest', 'batch'])
  ratio(`${name}, time beside a plain pool`, 'at most 2', `${name}, shared pool`, `${name}, plain pool`, 2);
