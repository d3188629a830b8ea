// SPDX-License-Identifier: MIT
// Serves the page beside this file, with the headers that shared memory takes, to browsers of this machine.
import { createHash, randomFillSync } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `Usage: node serve.mjs [OPTION]...
Serves a page that streams a file through a pool shared with a Worker.

  -p, --port=NUMBER    listen on this port of this machine; default 8080, 0 for any
  -f, --file=FILE      what the page fetches; by default a file of random bytes is made
  -s, --size=NUMBER    so many MiB of them; default 256
  -m, --module=FOLDER  where memory_pool_allocator.js is; by default it is looked for in
                       js/ of this folder and of what is built beside this program
      --help           show this and exit
`;

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULE = 'memory_pool_allocator.js';
const MIB = 2 ** 20;
const PART_BYTES = MIB / 4;

// The names that are served, beside the module: those in this folder, and in no other.
const SERVED = /^[a-z0-9_]+\.(html|js|css|svg)$/;
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml',
  '.json': 'application/json' };

// The first two are what makes a page cross-origin isolated.
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'",
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
};

function fail(message, status = 1) {
  process.stderr.write(`serve.mjs: ${message}\n`);
  process.exit(status);
}

// ---- What is asked for ----

const isNumber = (text, most) => /^\d{1,9}$/.test(text) && Number(text) <= most;

function readOptions() {
  try {
    const { values } = parseArgs({ options: {
      port: { type: 'string', short: 'p', default: '8080' },
      file: { type: 'string', short: 'f' },
      size: { type: 'string', short: 's', default: '256' },
      module: { type: 'string', short: 'm' },
      help: { type: 'boolean' },
    } });
    if (!isNumber(values.port, 65535))
      throw new Error(`'${values.port}' is no port`);
    if (!isNumber(values.size, 1048576))
      throw new Error(`'${values.size}' is no number of MiB`);
    return values;
  } catch (error) {
    return fail(`${error.message}\nTry 'node serve.mjs --help'.`, 2);
  }
}

// Built in the sources, or in a folder of its own, from where this is called or below build/.
function findModule(asked) {
  const builds = join(HERE, '..', '..', 'build');
  const folders = asked !== undefined ? [asked]
    : ['js', join(HERE, '..'), ...(existsSync(builds) ? readdirSync(builds) : []).map((name) => join(builds, name, 'js'))];
  const found = folders.find((folder) => existsSync(join(folder, MODULE)));
  return found !== undefined ? resolve(found) : fail(asked !== undefined
    ? `there is no ${MODULE} in ${asked}`
    : `${MODULE} isn't built: './quickstart demo' does that, or './configure --enable-js && make'; ` +
      'or say where it is with --module=FOLDER');
}

// ---- The file ----

// It has no name any more when it is filled, so nothing is left behind.
async function makeFile(mebibytes) {
  const folder = await mkdtemp(join(tmpdir(), 'mempool-page-'));
  try {
    const file = await open(join(folder, 'random'), 'wx+');
    await rm(folder, { recursive: true });
    const bytes = new Uint8Array(MIB);
    for (let i = 0; i < mebibytes; i++)
      await file.writeFile(randomFillSync(bytes));
    return file;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function openFile(name, mebibytes) {
  try {
    const file = name !== undefined ? await open(name) : await makeFile(mebibytes);
    const status = await file.stat();
    if (!status.isFile())
      throw new Error(`${name} is no file`);
    return { file, name: name !== undefined ? basename(name) : 'a random file', size: status.size };
  } catch (error) {
    return fail(error.message);
  }
}

// As many bytes as were told, whatever happens to the file.  Not by a stream of Node's: to stop one closes the file.
async function* read({ file, size }) {
  for (let at = 0; at < size;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PART_BYTES), 0, Math.min(PART_BYTES, size - at), at);
    if (bytesRead === 0)
      throw new Error('the file became shorter');
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

async function digestOf(source) {
  const hash = createHash('sha256');
  await pipeline(read(source), hash);
  return hash.digest('hex');
}

// ---- The server ----

const options = readOptions();
if (options.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const modules = findModule(options.module);
const source = await openFile(options.file, Number(options.size));

async function answer(request, response) {
  const send = (status, type, body) => response.writeHead(status, { ...HEADERS, 'Content-Type': type,
    'Content-Length': Buffer.byteLength(body) }).end(request.method === 'HEAD' ? undefined : body);
  const path = request.url.replace(/[?#].*/s, '');
  const name = path === '/' ? 'index.html' : path.slice(1);
  const file = join(name === MODULE ? modules : HERE, name);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    send(405, 'text/plain', 'Only GET and HEAD\n');
  else if (name === 'file.json')
    send(200, TYPES['.json'], JSON.stringify({ name: source.name, size: source.size }));
  else if (name === 'digest')
    send(200, 'text/plain', await digestOf(source));
  else if (name === 'file') {
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'application/octet-stream', 'Content-Length': source.size });
    if (request.method === 'HEAD')
      response.end();
    else
      await pipeline(read(source), response);
  } else if (SERVED.test(name) && existsSync(file))
    send(200, TYPES[extname(name)], readFileSync(file));
  else
    send(404, 'text/plain', 'Not found\n');
}

const server = createServer((request, response) => {
  // Who stops in the middle of the file is no failure of ours.
  answer(request, response).catch(() => response.destroy());
});

server.on('error', ({ code, message }) => fail(code === 'EADDRINUSE'
  ? `port ${options.port} is taken: choose another with --port=NUMBER, or 0 for any that is free`
  : message));

server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/ streams ${source.name} through a pool; Ctrl-C ends it`);
});
