// SPDX-License-Identifier: MIT
// What the tests of the binding share: where the build is, what tools there are, and an assertion on refusals.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { after } from 'node:test';

export const here = dirname(fileURLToPath(import.meta.url));
export const directory = process.env.MEMPOOL_JS ?? dirname(here);
export const modulePath = join(directory, 'memory_pool_allocator.js');
export const tools = join(directory, 'tools', 'node_modules');

export const { MemoryPool, MemoryPoolError } = await import(pathToFileURL(modulePath).href);

export const MESSAGES = {
  ERR_INVALID_BLOCK_SIZE: /^Invalid block size/,
  ERR_INVALID_CAPACITY: /^Invalid capacity/,
  ERR_POOL_EXHAUSTED: /^Pool exhausted/,
  ERR_FOREIGN_BLOCK: /^Foreign block/,
  ERR_BLOCK_ALREADY_FREED: /^Block already freed/,
  ERR_POOL_DISPOSED: /^Pool disposed/,
  ERR_SHARED_MEMORY_UNAVAILABLE: /^Shared memory unavailable/,
};

export function isRefusal(code, words = MESSAGES[code]) {
  return (error) => {
    assert.ok(error instanceof MemoryPoolError, String(error));
    assert.ok(error instanceof Error);
    assert.equal(error.name, 'MemoryPoolError');
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  };
}

export const refuses = (call, code, words) => assert.throws(call, isRefusal(code, words));

// Runs a program; its output if it ends with 0.
export function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 1 << 26, timeout: 120000, ...options }, (error, stdout, stderr) =>
      error ? reject(new Error(`${program} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`)) : resolve(stdout));
    child.stdin?.end();
  });
}

// A reason to skip, or false: whether a package among the tools is there, and Node new enough for it.
export function lacks(name, leastNode = 18) {
  if (!existsSync(join(tools, name)))
    return `${name} is not installed (js/test/tools.sh)`;
  if (Number(process.versions.node.split('.')[0]) < leastNode)
    return `${name} needs Node ${leastNode}, this is ${process.versions.node}`;
  return false;
}

export function findProgram(...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      if (existsSync(join(folder, name)))
        return join(folder, name);
    }
  }
  return undefined;
}

export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'mempool-js-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// Starts the example's server; its address.  The last argument may be what to add to its environment.
export async function serveExample(...args) {
  const environment = typeof args.at(-1) === 'object' ? args.pop() : {};
  const program = join(here, '..', 'examples', 'serve.mjs');
  const child = spawn(process.execPath, [program, '--port', '0', '--module', directory, ...args],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...environment } });
  after(() => child.kill());
  child.stdout.setEncoding('utf8');
  let told = '';
  for await (const part of child.stdout) {
    told += part;
    const address = told.match(/^http:\S+/);
    if (address !== null && told.includes('\n'))
      return address[0];
  }
  throw new Error(`the example's server ended: ${told}`);
}

// Numbers from a seed (mulberry32), printed so that a failure can be run again.
export function randomNumbers() {
  let state = Number(process.env.TEST_SEED ?? Date.now() % 2 ** 32) >>> 0;
  console.log(`# TEST_SEED=${state}`);
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
