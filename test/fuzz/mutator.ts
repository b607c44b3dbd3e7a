/**
 * Changes bytes the way faults and attackers do: flipped bits, numbers at the edges of their ranges, pieces cut out,
 * doubled, moved, or taken from another input.
 *
 * Pure: the same random numbers make the same bytes, so that a seed and a count replay a run.
 * @module
 */
import type { Random } from "../../src/world/ports.ts";

/** Longer inputs only repeat what shorter ones find, slower. */
export const INPUT_BYTES_MAX = 16 * 1024;

/** Lengths, counts and offsets are believed at these values or nowhere. */
const EDGES: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1f_ffff_ffff_ffffn,
  0x20_0000_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_ffffn,
];

export function below(random: Random, limit: number): number {
  return limit <= 1 ? 0 : random.uint32() % limit;
}

function pick<T>(random: Random, values: readonly T[], fallback: T): T {
  return values[below(random, values.length)] ?? fallback;
}

function spliced(bytes: Uint8Array, from: number, to: number, insert: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length - (to - from) + insert.length);
  out.set(bytes.subarray(0, from));
  out.set(insert, from);
  out.set(bytes.subarray(to), from + insert.length);
  return out;
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.uint32() & 0xff);
}

type Mutation = (random: Random, bytes: Uint8Array, other: Uint8Array) => Uint8Array;

function span(random: Random, length: number): { from: number; to: number } {
  const from = below(random, length);
  return { from, to: Math.min(length, from + 1 + below(random, pick(random, [4, 16, 256], 4))) };
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(random, bytes) {
    const out = bytes.slice();
    const at = below(random, out.length);
    out[at] = (out[at] ?? 0) ^ (1 << below(random, 8));
    return out;
  },
  function setByte(random, bytes) {
    const out = bytes.slice();
    out[below(random, out.length)] = random.uint32() & 0xff;
    return out;
  },
  function setEdge(random, bytes) {
    const out = bytes.slice();
    const value = pick(random, EDGES, 0n);
    const width = pick(random, [1, 2, 4, 8], 1);
    const at = below(random, Math.max(1, out.length - width + 1));
    for (let i = 0; i < width && at + i < out.length; i++)
      out[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    return out;
  },
  function insertRandom(random, bytes) {
    const at = below(random, bytes.length + 1);
    return spliced(bytes, at, at, randomBytes(random, 1 + below(random, 16)));
  },
  function insertRun(random, bytes) {
    const at = below(random, bytes.length + 1);
    const run = new Uint8Array(1 + below(random, 300)).fill(pick(random, [0, 0x80, 0xff, 0x2f], 0));
    return spliced(bytes, at, at, run);
  },
  function remove(random, bytes) {
    const { from, to } = span(random, bytes.length);
    return spliced(bytes, from, to, new Uint8Array(0));
  },
  function repeat(random, bytes) {
    const { from, to } = span(random, bytes.length);
    return spliced(bytes, to, to, bytes.slice(from, to));
  },
  function cutOff(random, bytes) {
    return bytes.slice(0, below(random, bytes.length + 1));
  },
  function takeFromOther(random, bytes, other) {
    const { from, to } = span(random, other.length);
    const at = below(random, bytes.length + 1);
    return spliced(bytes, at, Math.min(bytes.length, at + (to - from)), other.slice(from, to));
  },
  function crossOver(random, bytes, other) {
    const head = bytes.slice(0, below(random, bytes.length + 1));
    return spliced(head, head.length, head.length, other.slice(below(random, other.length)));
  },
];

/** One to four changes of `bytes`; `other` is a second input to take pieces from. */
export function mutate(random: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let out = bytes;
  for (let left = 1 + below(random, 4); left > 0; left--) {
    const mutation = pick(random, MUTATIONS, MUTATIONS[0] as Mutation);
    out =
      out.length === 0 ? randomBytes(random, 1 + below(random, 16)) : mutation(random, out, other);
  }
  return out.length > INPUT_BYTES_MAX ? out.slice(0, INPUT_BYTES_MAX) : out;
}

/**
 * Tries to make a failing input shorter: pieces are left out as long as it still fails.
 * @param fails whether an input still shows the same failure
 */
export function shrink(bytes: Uint8Array, fails: (bytes: Uint8Array) => boolean): Uint8Array {
  let smallest = bytes;
  for (let piece = Math.ceil(smallest.length / 2); piece >= 1; piece = Math.floor(piece / 2))
    for (let at = 0; at < smallest.length; ) {
      const shorter = spliced(
        smallest,
        at,
        Math.min(smallest.length, at + piece),
        new Uint8Array(0),
      );
      if (fails(shorter)) smallest = shorter;
      else at += piece;
    }
  return smallest;
}
