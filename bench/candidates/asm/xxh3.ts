/**
 * XXH3, 64 bits, seed 0, of keys of at most 240 bytes: longer ones are hashed in another way, which no key needs. The method is
 * Y. Collet's, with its own constants. Multiplications of 64 bits are what WebAssembly has and JavaScript has not; its SIMD
 * has no use for so few bytes.
 * @module
 */

const SECRET: usize = memory.data<u8>([
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
  0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
  0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
  0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
  0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
  0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
  0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
  0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
]);

const P64_1: u64 = 0x9e3779b185ebca87;
const P64_2: u64 = 0xc2b2ae3d27d4eb4f;
const P64_3: u64 = 0x165667b19e3779f9;
const MIX_1: u64 = 0x165667919e3779f9;
const MIX_2: u64 = 0x9fb21c651e98df25;

function avalanche(hash: u64): u64 {
  const mixed = (hash ^ (hash >>> 37)) * MIX_1;
  return mixed ^ (mixed >>> 32);
}

function oldAvalanche(hash: u64): u64 {
  let mixed = (hash ^ (hash >>> 33)) * P64_2;
  mixed = (mixed ^ (mixed >>> 29)) * P64_3;
  return mixed ^ (mixed >>> 32);
}

/** Both halves of the product of 128 bits, added without carry. */
function folded(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >>> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >>> 32;
  const lowLow = aLow * bLow;
  const highLow = aHigh * bLow;
  const cross = (lowLow >>> 32) + (highLow & 0xffffffff) + aLow * bHigh;
  const high = (highLow >>> 32) + (cross >>> 32) + aHigh * bHigh;
  return high ^ (a * b);
}

function mix(at: usize, secret: usize): u64 {
  return folded(
    load<u64>(at) ^ load<u64>(SECRET + secret),
    load<u64>(at, 8) ^ load<u64>(SECRET + secret, 8),
  );
}

function upTo16(at: usize, length: usize): u64 {
  if (length > 8) {
    const low = load<u64>(at) ^ (load<u64>(SECRET + 24) ^ load<u64>(SECRET + 32));
    const high = load<u64>(at + length - 8) ^ (load<u64>(SECRET + 40) ^ load<u64>(SECRET + 48));
    return avalanche(<u64>length + bswap<u64>(low) + high + folded(low, high));
  }
  if (length >= 4) {
    const both = (<u64>load<u32>(at) << 32) + load<u32>(at + length - 4);
    let hash = both ^ (load<u64>(SECRET + 8) ^ load<u64>(SECRET + 16));
    hash ^= rotl<u64>(hash, 49) ^ rotl<u64>(hash, 24);
    hash *= MIX_2;
    hash = (hash ^ ((hash >>> 35) + length)) * MIX_2;
    return hash ^ (hash >>> 28);
  }
  if (length == 0) return oldAvalanche(load<u64>(SECRET + 56) ^ load<u64>(SECRET + 64));
  const word =
    (<u32>load<u8>(at) << 16) |
    (<u32>load<u8>(at + (length >>> 1)) << 24) |
    <u32>load<u8>(at + length - 1) |
    (<u32>length << 8);
  return oldAvalanche(<u64>(word ^ (load<u32>(SECRET) ^ load<u32>(SECRET + 4))));
}

function upTo128(at: usize, length: usize): u64 {
  const end = at + length;
  let sum = <u64>length * P64_1;
  if (length > 96) sum += mix(at + 48, 96) + mix(end - 64, 112);
  if (length > 64) sum += mix(at + 32, 64) + mix(end - 48, 80);
  if (length > 32) sum += mix(at + 16, 32) + mix(end - 32, 48);
  return avalanche(sum + mix(at, 0) + mix(end - 16, 16));
}

function upTo240(at: usize, length: usize): u64 {
  let sum = <u64>length * P64_1;
  for (let done: usize = 0; done < 128; done += 16) sum += mix(at + done, done);
  sum = avalanche(sum);
  const whole = length & ~15;
  for (let done: usize = 128; done < whole; done += 16) sum += mix(at + done, done - 125);
  return avalanche(sum + mix(at + length - 16, 119));
}

export function xxh3(at: usize, length: usize): u64 {
  if (length <= 16) return upTo16(at, length);
  return length <= 128 ? upTo128(at, length) : upTo240(at, length);
}

/** Its lower half: what a table of less than 2^32 slots needs, and a number to JavaScript. */
export function xxh3Low(at: usize, length: usize): u32 {
  return <u32>xxh3(at, length);
}
