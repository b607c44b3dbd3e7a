/**
 * XXH3 of short keys in TypeScript: the twin of `asm/xxh3.ts`. A number of 64 bits is two of 32, since bigints of 64 bits allocate
 * and take twenty times as long.
 * @module
 */

const SECRET = Uint8Array.from(
  Buffer.from(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c" +
      "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364" +
      "eac5ac8334d3ebc3c581a0fffa1363eb",
    "hex",
  ),
);

export type Xxh3 = {
  /** Lower half of the hash of at most 240 bytes. */
  low(bytes: Uint8Array, at: number, length: number): number;
  /** Upper half of the last hash. */
  high(): number;
};

/** In a closure, so that V8 knows the addresses of what it works on. */
export function openXxh3(): Xxh3 {
  const secret = new DataView(SECRET.buffer);
  /** The number that a step has made. */
  let outLow = 0;
  let outHigh = 0;

  /** Upper half of the product of two numbers of 32 bits. */
  const upper = (a: number, b: number): number => {
    const aLow = a & 0xffff;
    const aHigh = a >>> 16;
    const bLow = b & 0xffff;
    const bHigh = b >>> 16;
    // Both sums stay below 2^32: 65535 × 65535 + 65535.
    const middle = aHigh * bLow + (Math.imul(aLow, bLow) >>> 16);
    const carried = aLow * bHigh + (middle & 0xffff);
    return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carried >>> 16)) >>> 0;
  };

  /** (aLow, aHigh) × (bLow, bHigh), its lower 64 bits. */
  const multiply = (aLow: number, aHigh: number, bLow: number, bHigh: number): void => {
    outHigh = (upper(aLow, bLow) + Math.imul(aLow, bHigh) + Math.imul(aHigh, bLow)) >>> 0;
    outLow = Math.imul(aLow, bLow) >>> 0;
  };

  /** Both halves of the product of 128 bits, added without carry. */
  const fold = (aLow: number, aHigh: number, bLow: number, bHigh: number): void => {
    const cross =
      upper(aLow, bLow) + (Math.imul(aHigh, bLow) >>> 0) + (Math.imul(aLow, bHigh) >>> 0);
    const third =
      (Math.imul(aHigh, bHigh) >>> 0) +
      upper(aHigh, bLow) +
      upper(aLow, bHigh) +
      Math.floor(cross / 4_294_967_296);
    const fourth = upper(aHigh, bHigh) + Math.floor(third / 4_294_967_296);
    outLow = (Math.imul(aLow, bLow) ^ third) >>> 0;
    outHigh = (cross ^ fourth) >>> 0;
  };

  const add = (low: number, high: number): void => {
    const sum = outLow + low;
    outHigh = (outHigh + high + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
    outLow = sum >>> 0;
  };

  /** Adds what 16 bytes give to (outLow, outHigh). */
  const mix = (view: DataView, at: number, from: number): void => {
    const sumLow = outLow;
    const sumHigh = outHigh;
    fold(
      view.getUint32(at, true) ^ secret.getUint32(from, true),
      view.getUint32(at + 4, true) ^ secret.getUint32(from + 4, true),
      view.getUint32(at + 8, true) ^ secret.getUint32(from + 8, true),
      view.getUint32(at + 12, true) ^ secret.getUint32(from + 12, true),
    );
    add(sumLow, sumHigh);
  };

  const avalanche = (): void => {
    multiply(outLow ^ (outHigh >>> 5), outHigh, 0x9e3779f9, 0x16566791);
    outLow = (outLow ^ outHigh) >>> 0;
  };

  const oldAvalanche = (): void => {
    multiply(outLow ^ (outHigh >>> 1), outHigh, 0x27d4eb4f, 0xc2b2ae3d);
    const low = outLow ^ ((outLow >>> 29) | (outHigh << 3));
    multiply(low, outHigh ^ (outHigh >>> 29), 0x9e3779f9, 0x165667b1);
    outLow = (outLow ^ outHigh) >>> 0;
  };

  /** Two words of the secret, combined. */
  const flip = (one: number, other: number): number =>
    secret.getUint32(one, true) ^ secret.getUint32(other, true);
  const swapped = (word: number): number =>
    ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;

  const from9To16 = (view: DataView, at: number, length: number): void => {
    const last = at + length - 8;
    const low0 = (view.getUint32(at, true) ^ flip(24, 32)) >>> 0;
    const low1 = (view.getUint32(at + 4, true) ^ flip(28, 36)) >>> 0;
    const high0 = (view.getUint32(last, true) ^ flip(40, 48)) >>> 0;
    const high1 = (view.getUint32(last + 4, true) ^ flip(44, 52)) >>> 0;
    fold(low0, low1, high0, high1);
    add(length, 0);
    add(swapped(low1), swapped(low0));
    add(high0, high1);
    avalanche();
  };

  const from4To8 = (view: DataView, at: number, length: number): void => {
    let low = view.getUint32(at + length - 4, true) ^ flip(8, 16);
    let high = view.getUint32(at, true) ^ flip(12, 20);
    const low49 = (high << 17) | (low >>> 15);
    const high49 = (low << 17) | (high >>> 15);
    const low24 = (low << 24) | (high >>> 8);
    const high24 = (high << 24) | (low >>> 8);
    low ^= low49 ^ low24;
    high ^= high49 ^ high24;
    multiply(low, high, 0x1e98df25, 0x9fb21c65);
    const added = (outHigh >>> 3) + length;
    multiply(outLow ^ added, outHigh, 0x1e98df25, 0x9fb21c65);
    outLow = (outLow ^ ((outLow >>> 28) | (outHigh << 4))) >>> 0;
    outHigh = (outHigh ^ (outHigh >>> 28)) >>> 0;
  };

  const upTo3 = (view: DataView, at: number, length: number): void => {
    outLow = flip(56, 64) >>> 0;
    outHigh = flip(60, 68) >>> 0;
    if (length > 0) {
      const first = view.getUint8(at) << 16;
      const middle = view.getUint8(at + (length >>> 1)) << 24;
      const word = first | middle | view.getUint8(at + length - 1) | (length << 8);
      outLow = (word ^ flip(0, 4)) >>> 0;
      outHigh = 0;
    }
    oldAvalanche();
  };

  const upTo16 = (view: DataView, at: number, length: number): void => {
    if (length > 8) from9To16(view, at, length);
    else if (length >= 4) from4To8(view, at, length);
    else upTo3(view, at, length);
  };

  const upTo128 = (view: DataView, at: number, length: number): void => {
    const end = at + length;
    multiply(length, 0, 0x85ebca87, 0x9e3779b1);
    if (length > 96) {
      mix(view, at + 48, 96);
      mix(view, end - 64, 112);
    }
    if (length > 64) {
      mix(view, at + 32, 64);
      mix(view, end - 48, 80);
    }
    if (length > 32) {
      mix(view, at + 16, 32);
      mix(view, end - 32, 48);
    }
    mix(view, at, 0);
    mix(view, end - 16, 16);
    avalanche();
  };

  const upTo240 = (view: DataView, at: number, length: number): void => {
    multiply(length, 0, 0x85ebca87, 0x9e3779b1);
    for (let done = 0; done < 128; done += 16) mix(view, at + done, done);
    avalanche();
    const whole = length & ~15;
    for (let done = 128; done < whole; done += 16) mix(view, at + done, done - 125);
    mix(view, at + length - 16, 119);
    avalanche();
  };

  /** Of the buffer that was hashed last: keys are written into one. */
  let viewed: Uint8Array = new Uint8Array(0);
  let view = new DataView(viewed.buffer);
  return {
    low(bytes, at, length) {
      if (bytes !== viewed) {
        viewed = bytes;
        view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      }
      if (length <= 16) upTo16(view, at, length);
      else if (length <= 128) upTo128(view, at, length);
      else upTo240(view, at, length);
      return outLow;
    },
    high: () => outHigh,
  };
}

/** What one would write in TypeScript to spread keys over a table: a hash of 32 bits, four bytes a turn (MurmurHash3's way). */
export function quickHash(bytes: Uint8Array, at: number, length: number): number {
  let hash = length;
  const end = at + length;
  let from = at;
  for (; from + 4 <= end; from += 4) {
    // `as number`: within the key.
    let word =
      (bytes[from] as number) |
      ((bytes[from + 1] as number) << 8) |
      ((bytes[from + 2] as number) << 16) |
      ((bytes[from + 3] as number) << 24);
    word = Math.imul(word, 0xcc9e2d51);
    hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593);
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  for (; from < end; from++) hash = Math.imul(hash ^ (bytes[from] as number), 0x5bd1e995);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
