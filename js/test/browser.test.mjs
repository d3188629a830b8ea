// SPDX-License-Identifier: MIT
// A real browser, headless: the page, Workers and an AudioWorklet, with and without the headers that shared memory takes.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { after, before, test } from 'node:test';
import { directory, findProgram, here, lacks, tools } from './support.mjs';

const chromium = findProgram('chromium', 'chromium-browser', 'google-chrome');
const skip = lacks('playwright-core', 20) || (chromium === undefined && 'Chromium is not installed');

const timeout = 60000; // of something that hangs

const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };
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
