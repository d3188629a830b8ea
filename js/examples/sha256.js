// SPDX-License-Identifier: MIT
// SHA-256, a part at a time (FIPS 180-4): the platform's crypto.subtle.digest() wants all the bytes at once, in memory
// that isn't shared.  It reads the bytes where they are.

// The constants are the first 32 bits behind the point of the roots of the first primes.
const primes = [];
for (let n = 2; primes.length < 64; n++) {
  if (primes.every((prime) => n % prime !== 0))
    primes.push(n);
}
const fraction = (root) => (root - Math.floor(root)) * 2 ** 32 | 0;
const START = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const ROUNDS = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));

const CHUNK_BYTES = 64;

// The sums are cut to 32 bits one by one: that keeps engines to whole numbers.
function compress(state, w, bytes, at) {
  for (let i = 0; i < 16; i++, at += 4)
    w[i] = bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15];
    const y = w[i - 2];
    const early = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
    const late = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
    w[i] = ((w[i - 16] + w[i - 7] | 0) + early | 0) + late | 0;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (let i = 0; i < 64; i++) {
    const fromE = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const fromA = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
    const first = (((h + fromE | 0) + (g ^ e & (f ^ g)) | 0) + ROUNDS[i] | 0) + w[i] | 0;
    const second = fromA + (a & b | c & (a | b)) | 0;
    h = g;
    g = f;
    f = e;
    e = d + first | 0;
    d = c;
    c = b;
    b = a;
    a = first + second | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

export class Sha256 {
  #state = START.slice();
  #words = new Int32Array(64);
  #rest = new Uint8Array(CHUNK_BYTES); // what came behind the last whole chunk
  #restBytes = 0;
  #allBytes = 0;

  update(bytes) {
    let from = 0;
    this.#allBytes += bytes.length;
    if (this.#restBytes !== 0) {
      from = Math.min(CHUNK_BYTES - this.#restBytes, bytes.length);
      this.#rest.set(bytes.subarray(0, from), this.#restBytes);
      this.#restBytes += from;
      if (this.#restBytes < CHUNK_BYTES)
        return this;
      this.#compress(this.#rest, 0, CHUNK_BYTES);
    }
    const end = bytes.length - (bytes.length - from) % CHUNK_BYTES;
    this.#compress(bytes, from, end);
    this.#rest.set(bytes.subarray(end));
    this.#restBytes = bytes.length - end;
    return this;
  }

  // The digest in hexadecimal; nothing can be added after it.
  digest() {
    const bits = BigInt(this.#allBytes) * 8n;
    const padding = new Uint8Array((this.#restBytes < 56 ? 64 : 128) - this.#restBytes);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, bits);
    this.update(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #compress(bytes, from, end) {
    for (let at = from; at < end; at += CHUNK_BYTES)
      compress(this.#state, this.#words, bytes, at);
  }
}
