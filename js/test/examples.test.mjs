// SPDX-License-Identifier: MIT
// The example's server and its hash; browser.test.mjs drives its page.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { directory, here, randomNumbers, scratch, serveExample } from './support.mjs';

const examples = join(here, '..', 'examples');
const program = join(examples, 'serve.mjs');
const timeout = 60000; // of something that hangs

const run = (...args) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', timeout });

// As it is asked for: fetch() would tidy the path.
const get = (base, path, method = 'GET') => new Promise((resolve, reject) => {
  request(new URL(base), { path, method }, (response) => {
    const parts = [];
    response.on('data', (part) => parts.push(part)).on('error', reject)
      .on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
  }).on('error', reject).end();
});

test('example: SHA-256 in parts, of every length and however cut', async () => {
  // Nothing tells Node that a page's .js is a module.
  const copy = join(scratch(), 'sha256.mjs');
  copyFileSync(join(examples, 'sha256.js'), copy);
  const { Sha256 } = await import(pathToFileURL(copy).href);
  const below = randomNumbers();
  for (let length = 0; length < 300; length++) {
    const bytes = Uint8Array.from({ length }, () => below(256));
    const hash = new Sha256();
    for (let from = 0; from < length;) {
      const to = from + below(150);
      hash.update(bytes.subarray(from, to));
      from = to;
    }
    assert.equal(hash.digest(), createHash('sha256').update(bytes).digest('hex'), `of ${length} bytes`);
  }
});

test('example: the server sends the page, the module and the file, with the headers that shared memory takes', { timeout }, async () => {
  const file = join(scratch(), 'some file');
  const bytes = new Uint8Array(100000).fill(7);
  writeFileSync(file, bytes);
  const base = await serveExample('--file', file);
  const types = { '/': 'text/html; charset=utf-8', '/memory_pool_allocator.js': 'text/javascript', '/icon.svg': 'image/svg+xml',
    '/style.css': 'text/css', '/file': 'application/octet-stream', '/file.json': 'application/json' };
  for (const [path, type] of Object.entries(types)) {
    const { status, headers } = await get(base, path);
    assert.deepEqual([path, status, headers['content-type'], headers['cross-origin-opener-policy'], headers['cross-origin-embedder-policy']],
      [path, 200, type, 'same-origin', 'require-corp']);
  }
  assert.deepEqual((await get(base, '/memory_pool_allocator.js')).body, readFileSync(join(directory, 'memory_pool_allocator.js')));
  assert.deepEqual((await get(base, '/stream.js?1')).body, readFileSync(join(examples, 'stream.js')));
  assert.deepEqual((await get(base, '/file')).body, Buffer.from(bytes));
  assert.deepEqual(JSON.parse((await get(base, '/file.json')).body), { name: 'some file', size: 100000 });
  assert.equal(String((await get(base, '/digest')).body), createHash('sha256').update(bytes).digest('hex'));
  assert.equal((await get(base, '/file', 'HEAD')).headers['content-length'], '100000');
  assert.equal((await get(base, '/', 'POST')).status, 405);
});

test('example: an empty file', { timeout }, async () => {
  const file = join(scratch(), 'empty');
  writeFileSync(file, '');
  const base = await serveExample('--file', file);
  assert.equal((await get(base, '/file')).body.length, 0);
  assert.equal(String((await get(base, '/digest')).body), createHash('sha256').digest('hex'));
});

test('example: without a file the server makes one, and leaves nothing behind', { timeout }, async () => {
  const folder = scratch();
  const base = await serveExample('--size', '3', { TMPDIR: folder, TMP: folder });
  const { body } = await get(base, '/file');
  assert.equal(body.length, 3 * 2 ** 20);
  assert.equal(String((await get(base, '/digest')).body), createHash('sha256').update(body).digest('hex'));
  assert.deepEqual(readdirSync(folder), []);
});

test('example: who goes away in the middle of the file leaves it to others', { timeout }, async () => {
  const base = await serveExample('--size', '40');
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => {
      const asked = request(new URL('/file', base), (response) => response.once('data', () => asked.destroy()));
      asked.on('close', resolve).on('error', () => {}).end();
    });
  }
  const { body } = await get(base, '/file');
  assert.equal(String((await get(base, '/digest')).body), createHash('sha256').update(body).digest('hex'));
});

test('example: the server gives nothing out of its folder', { timeout }, async () => {
  const base = await serveExample('--size', '0');
  for (const path of ['/../README.md', '/%2e%2e/README.md', '/..%2fREADME.md', '/../examples/page.js', '//etc/passwd', '/./page.js', '/serve.mjs', '/package.json',
    '/memory_pool_allocator.wasm/../package.json', '/tools/package.json', '/page.js/', '/constructor', '/%', '/.', '/..', '*'])
    assert.equal((await get(base, path)).status, 404, path);
});

test('example: a port that is taken is told', { timeout }, async () => {
  const other = createServer();
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address();
  const { status, stderr } = run('--module', directory, '--size', '0', '--port', String(port));
  other.close();
  assert.equal(status, 1);
  assert.match(stderr, new RegExp(`^serve.mjs: port ${port} is taken: choose another with --port=NUMBER`));
});

test('example: --help, and what is wrong with its arguments', () => {
  const help = run('--help');
  assert.equal(help.status, 0);
  assert.match(help.stdout, /^Usage: node serve\.mjs/);
  for (const option of ['--port', '--file', '--size', '--module', '--help'])
    assert.ok(help.stdout.includes(option), option);
  for (const args of [['--port=x'], ['--port=65536'], ['--port=-1'], ['--size=1.5'], ['--nothing'], ['argument'], ['--port']])
    assert.equal(run(...args).status, 2, args[0]);
  for (const [args, words] of [[['--module', examples], /no memory_pool_allocator\.js in/],
    [['--module', directory, '--file', '/nowhere/at/all'], /ENOENT/], [['--module', directory, '--file', examples], /is no file/]]) {
    const { status, stderr } = run('--port=0', ...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, words);
  }
});
