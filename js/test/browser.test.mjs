// SPDX-License-Identifier: MIT
// A real browser, headless: the page, Workers and an AudioWorklet, with and without the headers that shared memory takes.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { after, before, test } from 'node:test';
import { directory, findProgram, here, lacks, scratch, serveExample, tools } from './support.mjs';

const chromium = findProgram('chromium', 'chromium-browser', 'google-chrome');
const skip = lacks('playwright-core', 20) || (chromium === undefined && 'Chromium is not installed');

const timeout = 60000; // of something that hangs

const MODULE = 'memory_pool_allocator.js';
const TYPES = { '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript' };
// It keeps to itself: no updates, no reports, no sync.
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

let browser;
const servers = [];

// Serves the module and the pages, with some headers more; the address.
async function serve(headers) {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://localhost').pathname);
    const file = path.startsWith('/module/')
      ? join(directory, path.slice('/module'.length))
      : path.startsWith('/example/')
        ? join(path.endsWith(MODULE) ? directory : join(here, '..', 'examples'), path.slice('/example'.length))
        : join(here, 'browser', path === '/' ? 'index.html' : path);
    if (existsSync(file))
      response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', ...headers }).end(readFileSync(file));
    else
      response.writeHead(404).end();
  });
  servers.push(server);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${server.address().port}/`;
}

async function open(headers = {}) {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(await serve(headers));
  await page.waitForFunction(() => window.ready).catch((error) => assert.fail(`${error} ${errors}`));
  return page;
}

before(async () => {
  if (!skip)
    browser = await createRequire(join(tools, 'x.js'))('playwright-core').chromium.launch({ executablePath: chromium, headless: true, args: FLAGS });
}, { timeout });

after(async () => {
  await browser?.close();
  servers.forEach((server) => server.close());
});

test('a page: blocks from its main thread, filled in place by what the platform has', { skip, timeout }, async () => {
  const page = await open();
  assert.deepEqual(await page.evaluate(() => window.plain()), { used: 0, capacity: 10, random: 65536, decoded: 'in place',
    code: 'ERR_FOREIGN_BLOCK', isolated: false, shared: false });
});

test('a page without the two headers: what takes shared memory is refused', { skip, timeout }, async () => {
  const page = await open();
  assert.deepEqual(await page.evaluate(() => window.withoutShared()), Array(3).fill('ERR_SHARED_MEMORY_UNAVAILABLE'));
});

test('a page: waiting for a block does not block it', { skip, timeout }, async () => {
  const page = await open();
  assert.equal(await page.evaluate(() => window.waiting()), true);
});

test('a page: a Worker has pools of its own', { skip, timeout }, async () => {
  const page = await open();
  assert.deepEqual(await page.evaluate(() => window.inWorker()), { blocks: 4, last: null, available: 4 });
});

test('a page: an AudioWorklet takes and frees a block in each quantum', { skip, timeout }, async () => {
  const page = await open();
  assert.deepEqual(await page.evaluate(() => window.inWorklet(2000)), { quanta: 2000, used: 4, queued: 4, first: 0, last: 1996 });
});

test('a page with the two headers is isolated, and plain pools work there as well', { skip, timeout }, async () => {
  const page = await open(ISOLATION);
  const { isolated, used, capacity } = await page.evaluate(() => window.plain());
  assert.deepEqual({ isolated, used, capacity }, { isolated: true, used: 0, capacity: 10 });
});

test('a page with the two headers: two Workers share one pool with it', { skip, timeout }, async () => {
  const page = await open(ISOLATION);
  assert.deepEqual(await page.evaluate(() => window.inTwoWorkers(500)), { received: 1000, right: true, used: 0 });
});

test('a page with the two headers: an AudioWorklet takes and frees a block of its pool in each quantum', { skip, timeout }, async () => {
  const page = await open(ISOLATION);
  assert.deepEqual(await page.evaluate(() => window.inSharedWorklet(2000)),
    { taken: 2000, freed: 2000, read: 2000, wrong: 0, other: true, used: 0 });
});

test('a page whose policy forbids eval, and allows WebAssembly', { skip, timeout }, async () => {
  const page = await open({ 'Content-Security-Policy': "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'" });
  assert.equal((await page.evaluate(() => window.plain())).used, 0);
});

// ---- The example ----

const BLOCKS = 32;
const BLOCK_BYTES = 16 * 1024;
const FILE_BYTES = 100 * BLOCK_BYTES + 4321;

// The page makes a Worker for each pool.
async function startsWorker(page, action) {
  const started = page.waitForEvent('worker');
  await action();
  return started;
}

// The page of js/examples, on its own server, of a file; the Worker, what the file's digest is, and what went wrong.
async function openExample() {
  const bytes = randomBytes(FILE_BYTES);
  const file = join(scratch(), 'file');
  writeFileSync(file, bytes);
  const page = await browser.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => wrong.push(`${message.type()}: ${message.text()}`));
  const address = await serveExample('--file', file);
  await startsWorker(page, () => page.goto(address));
  await page.waitForFunction(() => !document.getElementById('start').disabled);
  await startsWorker(page, () => page.selectOption('#capacity', String(BLOCKS)));
  const worker = await startsWorker(page, () => page.selectOption('#size', String(BLOCK_BYTES / 1024)));
  return { page, worker, file, digest: createHash('sha256').update(bytes).digest('hex'), wrong };
}

// The Worker takes up nothing that it is told until it is released.
const holdBack = (worker) => worker.evaluate(async () => {
  while (self.onmessage === null)
    await new Promise((resolve) => setTimeout(resolve));
  const work = self.onmessage;
  const held = [];
  self.onmessage = (event) => held.push(event);
  self.release = () => {
    self.onmessage = work;
    held.forEach((event) => work(event));
  };
});

const untilCount = (page, state, count) =>
  page.waitForFunction(([id, text]) => document.getElementById(id).textContent === text, [state, String(count)]);

// The share of the picture's pixels that have the colour of a state.
const drawn = (page, state) => page.evaluate((name) => {
  const canvas = document.getElementById('cells');
  const context = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const colour = getComputedStyle(canvas).getPropertyValue(`--${name}`).trim();
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    count += colour === `#${[...data.subarray(i, i + 3)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  return count / (data.length / 4);
}, state);

const told = (page, ...ids) => page.evaluate((names) => names.map((id) => document.getElementById(id).textContent), ids);

async function assertAllBack(page) {
  await untilCount(page, 'free', BLOCKS);
  assert.ok(await drawn(page, 'free') > 0.5);
  assert.deepEqual(await Promise.all(['filling', 'waiting', 'hashing'].map((state) => drawn(page, state))), [0, 0, 0]);
}

test('the example: a fetched file goes through the pool, which holds the fetch back', { skip, timeout }, async () => {
  const { page, worker, digest, wrong } = await openExample();
  await assertAllBack(page);
  await holdBack(worker);
  await page.click('#start');
  await untilCount(page, 'waiting', BLOCKS);
  await page.waitForFunction(() => document.getElementById('waits').textContent.startsWith('1×'));
  assert.ok(await drawn(page, 'waiting') > 0.5);
  assert.equal(await drawn(page, 'free'), 0);
  await worker.evaluate(() => self.release());
  await page.waitForFunction(() => document.getElementById('verdict').textContent !== '');
  assert.deepEqual(await told(page, 'digest', 'expected', 'verdict', 'most', 'message'),
    [digest, digest, '✓ They are the same.', `${BLOCKS} of ${BLOCKS}`, '']);
  await assertAllBack(page);
  assert.deepEqual(wrong, []);
});

test('the example: a file that was chosen, again and again', { skip, timeout }, async () => {
  const { page, file, digest, wrong } = await openExample();
  for (let i = 0; i < 3; i++) {
    await page.setInputFiles('#chosen', file);
    await page.waitForFunction(() => document.getElementById('verdict').textContent !== '');
    assert.deepEqual(await told(page, 'digest', 'expected'), [digest, digest]);
    await page.evaluate(() => { document.getElementById('verdict').textContent = ''; });
  }
  await assertAllBack(page);
  assert.deepEqual(wrong, []);
});

test('the example: stopped while it waits for a block, it has all back, and starts anew', { skip, timeout }, async () => {
  const { page, worker, digest, wrong } = await openExample();
  await holdBack(worker);
  await page.click('#start');
  await untilCount(page, 'waiting', BLOCKS);
  await page.click('#stop');
  await worker.evaluate(() => self.release());
  await page.waitForFunction(() => document.getElementById('message').textContent === 'Stopped');
  await assertAllBack(page);
  await page.click('#start');
  await page.waitForFunction(() => document.getElementById('verdict').textContent !== '');
  assert.deepEqual(await told(page, 'digest', 'message'), [digest, '']);
  assert.deepEqual(wrong, []);
});

test('the example tells that its Worker could not be started', { skip, timeout }, async () => {
  const { page } = await openExample();
  let broken = true;
  await page.route('**/worker.js', (route) => broken ? route.abort() : route.continue());
  await page.selectOption('#capacity', '8');
  await page.click('#start');
  await page.waitForFunction(() => document.getElementById('message').textContent.startsWith('The Worker failed'));
  broken = false;
  await page.click('#start');
  await page.waitForFunction(() => document.getElementById('verdict').textContent.includes('the same'));
});

test('the example without the two headers says what it lacks', { skip, timeout }, async () => {
  const page = await browser.newPage();
  await page.goto(`${await serve({})}example/index.html`);
  await page.waitForFunction(() => document.getElementById('message').textContent.startsWith('There is no shared memory here'));
  assert.equal(await page.evaluate(() => document.getElementById('start').disabled), true);
});
