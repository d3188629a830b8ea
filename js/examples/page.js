// SPDX-License-Identifier: MIT
// The page around a Stream: what is streamed, and what is told of it.
import { MemoryPool } from './memory_pool_allocator.js';
import { STATES } from './board.js';
import { Picture } from './picture.js';
import { Stream } from './stream.js';

const MIB = 2 ** 20;
const MOST_TO_CHECK = 1024 * MIB; // of a chosen file: crypto.subtle.digest() wants it in memory at once

const element = (id) => document.getElementById(id);
const tell = (id, text) => { element(id).textContent = text; };
const mebibytes = (bytes) => `${(bytes / MIB).toFixed(bytes < 100 * MIB ? 1 : 0)} MiB`;

const picture = new Picture(element('cells'), element('history'));
let stream;
let served; // the server's file: its name and size

// A stream of the sizes that are chosen.
function renew() {
  stream?.dispose();
  stream = new Stream(Number(element('size').value) * 1024, Number(element('capacity').value));
  picture.forget();
  show(false);
}

function show(remember) {
  picture.draw(stream.cells, remember);
  STATES.forEach((state, i) => tell(state, picture.counts[i]));
}

function showProgress(total, since) {
  const seconds = (performance.now() - since) / 1000;
  tell('fetched', `${mebibytes(stream.bytes)} of ${mebibytes(total)}`);
  element('progress').value = total === 0 ? 1 : stream.bytes / total;
  tell('time', `${seconds.toFixed(1)} s`);
  tell('rate', `${(stream.bytes / MIB / seconds).toFixed(0)} MiB/s`);
  tell('most', `${stream.mostUsed} of ${stream.cells.length}`);
  tell('waits', `${stream.waits}×, ${(stream.waitedMs / 1000).toFixed(1)} s`);
}

function enable(running) {
  for (const id of ['start', 'chosen', 'capacity', 'size'])
    element(id).disabled = running;
  element('stop').disabled = !running;
  if (served === undefined)
    element('start').disabled = true;
}

function judge(digest, expected) {
  tell('expected', expected ?? 'the file is too large to check here; sha256sum knows');
  if (expected === undefined)
    return;
  element('verdict').className = digest === expected ? 'same' : 'different';
  tell('verdict', digest === expected ? '✓ They are the same.' : '✗ They differ.');
}

// `source` is where the bytes come from, and who else can tell their digest.
async function run({ size, whose, open, expect }) {
  for (const id of ['message', 'verdict'])
    tell(id, '');
  for (const id of ['digest', 'expected'])
    tell(id, '–');
  tell('whose', `SHA-256, by the ${whose}`);
  if (stream.failure !== null)
    renew();
  picture.forget();
  enable(true);
  const since = performance.now();
  let running = true;
  const frame = () => {
    if (!running)
      return;
    show(true);
    showProgress(size, since);
    requestAnimationFrame(frame);
  };
  frame();
  try {
    const digest = await stream.run(open);
    showProgress(size, since);
    tell('digest', digest);
    running = false;
    judge(digest, await expect());
  } catch (error) {
    tell('message', error.message);
  }
  running = false;
  show(true);
  enable(false);
}

async function get(address, signal) {
  const response = await fetch(address, { signal, cache: 'no-store' });
  if (!response.ok)
    throw new Error(`${address}: ${response.status} ${response.statusText}`);
  return response;
}

const runServed = () => run({
  size: served.size,
  whose: 'server',
  open: async (signal) => (await get('file', signal)).body,
  expect: async () => (await get('digest')).text(),
});

const hexadecimal = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');

const runChosen = (file) => run({
  size: file.size,
  whose: 'browser, of all bytes at once',
  open: () => file.stream(),
  expect: async () => file.size > MOST_TO_CHECK
    ? undefined
    : hexadecimal(await crypto.subtle.digest('SHA-256', await file.arrayBuffer())),
});

async function begin() {
  tell('message', '');
  if (!MemoryPool.sharedSupported)
    throw new Error('There is no shared memory here: the page must come from a server that sends the two headers, ' +
      'Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy, as serve.mjs does, and from https or this machine.');
  renew();
  element('controls').onsubmit = (event) => {
    event.preventDefault();
    runServed();
  };
  element('chosen').onchange = ({ target }) => {
    if (target.files.length !== 0)
      runChosen(target.files[0]);
    target.value = '';
  };
  element('stop').onclick = () => stream.stop();
  element('capacity').onchange = element('size').onchange = renew;
  new ResizeObserver(() => show(false)).observe(element('cells'));
  matchMedia('(prefers-color-scheme: dark)').onchange = () => show(false);
  try {
    served = await (await get('file.json')).json();
    tell('start', `Stream ${served.name} (${mebibytes(served.size)})`);
  } finally {
    enable(false);
  }
}

begin().catch((error) => tell('message', error.message));
