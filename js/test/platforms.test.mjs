// SPDX-License-Identifier: MIT
// The documented snippet as it stands, wherever JavaScript runs: engines, module systems, bundlers, poor contexts.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'node:test';
import { directory, findProgram, here, lacks, modulePath, run, scratch, tools } from './support.mjs';

const [, snippet] = readFileSync(join(here, '..', 'README.md'), 'utf8').match(/```js\n([^]*?)```/);
const EXPECTED = 'Used blocks: 0/10\n';

// A folder with the snippet beside the module, as in the documentation.
function folder() {
  const path = scratch();
  copyFileSync(modulePath, join(path, 'memory_pool_allocator.js'));
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(path, 'snippet.js'), snippet);
  return path;
}

// A folder where the package is installed, and a program that uses it by its name.
function installation() {
  const path = scratch();
  const there = join(path, 'node_modules', 'memory_pool_allocator');
  mkdirSync(there, { recursive: true });
  for (const name of ['memory_pool_allocator.js', 'memory_pool_allocator.wasm', 'package.json'])
    copyFileSync(join(directory, name), join(there, name));
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(path, 'main.js'), snippet.replace('./memory_pool_allocator.js', 'memory_pool_allocator'));
  return path;
}

const fromTools = (name) => createRequire(join(tools, 'x.js'))(name);

test('the snippet is the documented one', () => {
  assert.match(snippet, /^import \{ MemoryPool \} from '\.\/memory_pool_allocator\.js';\nconst pool = new MemoryPool\(1024 \* 1024, 10\);/);
});

test('the snippet: Node', async () => {
  assert.equal(await run(process.execPath, [join(folder(), 'snippet.js')]), EXPECTED);
});

test('the snippet: another Node that is installed', async (t) => {
  const other = process.env.OTHER_NODE ?? findProgram('nodejs');
  if (other === undefined)
    return t.skip('there is none');
  assert.equal(await run(other, [join(folder(), 'snippet.js')]), EXPECTED);
});

test('the snippet: by the name of the installed package', async () => {
  assert.equal(await run(process.execPath, [join(installation(), 'main.js')]), EXPECTED);
});

test('the snippet: Deno', { skip: lacks('@deno/linux-x64-glibc') }, async () => {
  const deno = join(tools, '@deno', 'linux-x64-glibc', 'deno');
  assert.equal(await run(deno, ['run', '--no-config', '--no-remote', join(folder(), 'snippet.js')],
    { env: { ...process.env, NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1' } }), EXPECTED);
});

test('the snippet: Bun', { skip: lacks('@oven/bun-linux-x64') }, async () => {
  assert.equal(await run(join(tools, '@oven', 'bun-linux-x64', 'bin', 'bun'), [join(folder(), 'snippet.js')]), EXPECTED);
});

test('the snippet: a Worker of Node', async () => {
  const path = folder();
  writeFileSync(join(path, 'main.js'), `import { Worker } from 'node:worker_threads';
    new Worker(new URL('./snippet.js', import.meta.url));`);
  assert.equal(await run(process.execPath, [join(path, 'main.js')]), EXPECTED);
});

test('require() of the module, where Node has that', async (t) => {
  const path = folder();
  writeFileSync(join(path, 'main.cjs'), snippet.replace(/import (.*) from (.*);/, 'const $1 = require($2);'));
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19) || major === 21 || (major === 22 && minor < 12))
    return t.skip(`Node ${process.versions.node} has no require() of modules`);
  assert.equal(await run(process.execPath, ['--no-warnings', join(path, 'main.cjs')]), EXPECTED);
});

test('a context that has nothing but the language and WebAssembly', async () => {
  const path = folder();
  writeFileSync(join(path, 'main.mjs'), `import vm from 'node:vm';
    import { readFileSync } from 'node:fs';
    const context = vm.createContext({ print: console.log });
    const module = new vm.SourceTextModule(readFileSync(new URL('./memory_pool_allocator.js', import.meta.url), 'utf8'), { context });
    const program = new vm.SourceTextModule(${JSON.stringify(snippet.replace('console.log', 'print'))}, { context });
    await program.link(() => module);
    await program.evaluate();`);
  assert.equal(await run(process.execPath, ['--no-warnings', '--experimental-vm-modules', join(path, 'main.mjs')]), EXPECTED);
});

test('a bundle: esbuild', { skip: lacks('esbuild') }, async () => {
  const path = installation();
  for (const format of ['esm', 'cjs', 'iife']) {
    const outfile = join(path, `out.${format === 'esm' ? 'mjs' : 'cjs'}`);
    await fromTools('esbuild').build({ entryPoints: [join(path, 'main.js')], bundle: true, minify: true, format, outfile, logLevel: 'error' });
    assert.equal(await run(process.execPath, [outfile]), EXPECTED);
  }
});

test('a bundle: rollup', { skip: lacks('rollup') }, async () => {
  const path = folder();
  const { rollup } = fromTools('rollup');
  const warnings = [];
  const bundle = await rollup({ input: join(path, 'snippet.js'), onwarn: (warning) => warnings.push(warning) });
  for (const format of ['es', 'cjs', 'iife', 'umd']) {
    const file = join(path, `out.${format === 'es' ? 'mjs' : 'cjs'}`);
    await bundle.write({ file, format, name: 'snippet' });
    assert.equal(await run(process.execPath, [file]), EXPECTED);
  }
  assert.deepEqual(warnings, []);
});

test('a bundle: webpack', { skip: lacks('webpack') }, async () => {
  const path = installation();
  const webpack = fromTools('webpack');
  const stats = await new Promise((resolve, reject) => webpack({ mode: 'production', context: path, entry: './main.js',
    output: { path: join(path, 'dist'), filename: 'out.cjs' } }, (error, result) => error ? reject(error) : resolve(result)));
  assert.deepEqual(stats.toJson().errors, []);
  assert.deepEqual(stats.toJson().warnings, []);
  assert.equal(await run(process.execPath, [join(path, 'dist', 'out.cjs')]), EXPECTED);
});

test('a bundle: Vite', { skip: lacks('vite', 20) }, async () => {
  const path = installation();
  const { build } = await import(pathToFileURL(join(tools, 'vite', 'dist', 'node', 'index.js')).href);
  await build({ root: path, configFile: false, logLevel: 'error', build: { outDir: 'dist', minify: true,
    lib: { entry: join(path, 'main.js'), formats: ['es'], fileName: () => 'out.mjs' } } });
  assert.equal(await run(process.execPath, [join(path, 'dist', 'out.mjs')]), EXPECTED);
});

test("Vite's development server hands the module out as it is", { skip: lacks('vite', 20) }, async () => {
  const path = folder();
  const { createServer } = await import(pathToFileURL(join(tools, 'vite', 'dist', 'node', 'index.js')).href);
  const server = await createServer({ root: path, configFile: false, logLevel: 'error', server: { port: 0, host: '127.0.0.1', hmr: false, ws: false },
    optimizeDeps: { noDiscovery: true } });
  try {
    await server.listen();
    const { port } = server.httpServer.address();
    const response = await fetch(`http://127.0.0.1:${port}/memory_pool_allocator.js`);
    writeFileSync(join(path, 'memory_pool_allocator.js'), await response.text());
    assert.equal(await run(process.execPath, [join(path, 'snippet.js')]), EXPECTED);
  } finally {
    await server.close();
  }
});

test('tree-shaking: a program that imports the module and uses nothing of it holds nothing of it', { skip: lacks('esbuild') }, async () => {
  const path = installation();
  writeFileSync(join(path, 'main.js'), "import { MemoryPool } from 'memory_pool_allocator'; console.log('none');");
  const { outputFiles: [{ text }] } = await fromTools('esbuild').build({ entryPoints: [join(path, 'main.js')], bundle: true, format: 'esm', write: false, logLevel: 'error' });
  assert.ok(text.length < 200, `${text.length} characters`);
});
