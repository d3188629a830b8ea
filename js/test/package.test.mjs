// SPDX-License-Identifier: MIT
// The package: what is in it, how large it is, and what the tools that judge packages and types say.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { directory, findProgram, here, lacks, modulePath, run, scratch, tools } from './support.mjs';

const FILES = ['LICENSE', 'README.md', 'memory_pool_allocator.d.ts', 'memory_pool_allocator.js', 'memory_pool_allocator.wasm',
  'memory_pool_allocator_shared.wasm',
  'package.json'];

const npm = findProgram('npm');
const skipWithoutNpm = npm === undefined && 'npm is not installed';

// The package as npm packs it, in a folder of its own.
async function pack() {
  const path = scratch();
  const [{ filename, files }] = JSON.parse(await run(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', path], { cwd: directory }));
  return { path, tarball: join(path, filename), files: files.map((file) => file.path).sort() };
}

test('sizes: raw wasm at most 4 KiB each, the module gzipped at most 6 KiB', () => {
  const sizes = ['memory_pool_allocator.wasm', 'memory_pool_allocator_shared.wasm'].map((name) => readFileSync(join(directory, name)).length);
  const module = readFileSync(modulePath);
  const zipped = gzipSync(module, { level: 9 }).length;
  console.log(`# wasm: ${sizes[0]} bytes plain, ${sizes[1]} shared; memory_pool_allocator.js: ${module.length} bytes, ${zipped} gzipped`);
  for (const size of sizes)
    assert.ok(size <= 4096);
  assert.ok(zipped <= 6144);
});

test('package.json: a module without side effects, of the version of the library', () => {
  const told = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const header = readFileSync(join(here, '..', '..', 'include', 'mempool.h'), 'utf8');
  const version = ['MAJOR', 'MINOR', 'PATCH'].map((part) => header.match(new RegExp(`MEMPOOL_VERSION_${part} (\\d+)`))[1]).join('.');
  assert.equal(told.version, version);
  assert.equal(told.type, 'module');
  assert.equal(told.sideEffects, false);
  assert.equal(told.dependencies, undefined);
  assert.equal(told.scripts, undefined);
});

test('npm pack: what a user needs, and nothing else', { skip: skipWithoutNpm }, async () => {
  assert.deepEqual((await pack()).files, FILES);
});

test('npm install of the packed package: it runs', { skip: skipWithoutNpm }, async () => {
  const { path, tarball } = await pack();
  writeFileSync(join(path, 'package.json'), '{ "private": true, "type": "module" }');
  await run(npm, ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', tarball], { cwd: path });
  assert.deepEqual(readdirSync(join(path, 'node_modules', 'memory_pool_allocator')).sort(), FILES);
  writeFileSync(join(path, 'main.js'), `import { MemoryPool } from 'memory_pool_allocator';
    import { createRequire } from 'node:module';
    createRequire(import.meta.url).resolve('memory_pool_allocator/memory_pool_allocator.wasm');
    console.log(new MemoryPool(8, 3).getStats().available);`);
  assert.equal(await run(process.execPath, [join(path, 'main.js')]), '3\n');
});

test('publint is clean', { skip: skipWithoutNpm || lacks('publint') }, async () => {
  const { tarball } = await pack();
  await run(process.execPath, [join(tools, 'publint', 'src', 'cli.js'), 'run', '--strict', tarball]);
});

test('arethetypeswrong is clean', { skip: skipWithoutNpm || lacks('@arethetypeswrong/cli', 20) }, async () => {
  const { tarball } = await pack();
  await run(process.execPath, [join(tools, '@arethetypeswrong', 'cli', 'dist', 'index.js'), '--profile', 'esm-only', '--no-definitely-typed', '--exclude-entrypoints',
    './memory_pool_allocator.wasm',
    './memory_pool_allocator_shared.wasm', '--', tarball]);
});

for (const [what, name] of [['5.2', 'typescript-5.2'], ['newest', 'typescript']]) {
  test(`the types: TypeScript ${what}`, { skip: lacks(name) }, async () => {
    const path = scratch();
    const there = join(path, 'node_modules', 'memory_pool_allocator');
    mkdirSync(there, { recursive: true });
    for (const file of ['package.json', 'memory_pool_allocator.js', 'memory_pool_allocator.d.ts'])
      copyFileSync(join(directory, file), join(there, file));
    copyFileSync(join(here, 'types.ts'), join(path, 'types.ts'));
    writeFileSync(join(path, 'package.json'), '{ "type": "module" }');
    const tsc = join(tools, name, 'bin', 'tsc');
    for (const module of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
      await run(process.execPath, [tsc, '--noEmit', '--strict', '--skipLibCheck', 'false', '--exactOptionalPropertyTypes', '--target', 'es2022', '--lib',
        'es2022,dom,esnext.disposable', '--module', module[0], '--moduleResolution', module[1], 'types.ts'], { cwd: path });
    }
    // Without the libraries of disposable things, and of the DOM: the declarations bring what they need.
    writeFileSync(join(path, 'plain.ts'), "import { MemoryPool } from 'memory_pool_allocator';\nnew MemoryPool(1, 1).dispose();\n");
    for (const libraries of ['es2020,dom', 'es2020']) {
      await run(process.execPath, [tsc, '--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2020', '--lib',
        libraries, '--module', 'nodenext', '--moduleResolution', 'nodenext', 'plain.ts'], { cwd: path });
    }
  });
}

test('the types: every member of the classes, and no other', async () => {
  const { MemoryPool, MemoryPoolError } = await import('./support.mjs');
  const declared = readFileSync(join(directory, 'memory_pool_allocator.d.ts'), 'utf8');
  const [, body] = declared.match(/export class MemoryPool \{([^]*?)\n\}/);
  const members = [...body.matchAll(/^  (?:static )?(?:readonly )?(\w+)[(:]/gm)].map((match) => match[1]).sort();
  const own = (object) => Object.getOwnPropertyNames(object).filter((name) => !['length', 'name', 'prototype'].includes(name));
  assert.deepEqual([...own(MemoryPool), ...own(MemoryPool.prototype)].sort(), members);
  assert.deepEqual(own(MemoryPoolError.prototype), ['constructor']);
});
