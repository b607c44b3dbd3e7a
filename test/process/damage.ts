/**
 * Hurts the files of a master that is down, as bad disks and power cuts do.
 * @module
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Batches begin behind the head of a segment, which is as long. */
const HEAD_BYTES = 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;

type Range = { readonly first: number; readonly last: number };

/** First and last byte of a file, from an offset on, that are not zero. */
function usedRange(descriptor: number, fromByte: number): Range {
  const { size } = fstatSync(descriptor);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let first = -1;
  let last = -1;
  for (let at = fromByte; at < size; at += CHUNK_BYTES) {
    const length = readSync(descriptor, chunk, 0, CHUNK_BYTES, at);
    const used = chunk.subarray(0, length);
    const begin = used.findIndex((byte) => byte !== 0);
    if (begin < 0) {
      if (first >= 0) break; // segments are filled with zeros behind what was written
      continue;
    }
    if (first < 0) first = at + begin;
    last = at + used.findLastIndex((byte) => byte !== 0);
  }
  return { first, last };
}

/** Opens the segment that a journal writes to: the newest that holds anything. */
function withNewest(journal: string, act: (descriptor: number, range: Range) => void): void {
  const names = readdirSync(journal)
    .filter((one) => /^wal-\d{16}$/.test(one))
    .sort()
    .reverse();
  for (const name of names) {
    const descriptor = openSync(join(journal, name), "r+");
    try {
      const range = usedRange(descriptor, HEAD_BYTES);
      if (range.first < 0) continue;
      act(descriptor, range);
      return;
    } finally {
      closeSync(descriptor);
    }
  }
  throw new Error(`${journal} holds nothing`);
}

/**
 * Flips bytes within what a journal holds.
 * @param share 0: at its begin, 1: at its end
 */
export function flipInLog(journal: string, share: number, lengthBytes = 64): void {
  withNewest(journal, (descriptor, { first, last }) => {
    const at = Math.floor(first + (last - first - lengthBytes) * share);
    const bytes = Buffer.alloc(lengthBytes);
    readSync(descriptor, bytes, 0, lengthBytes, at);
    writeSync(descriptor, Buffer.from(bytes.map((byte) => byte ^ 0x5a)), 0, lengthBytes, at);
  });
}

/** Leaves what a power cut leaves of a batch that was never acknowledged: some bytes behind the last whole one. */
export function tearTail(journal: string): void {
  withNewest(journal, (descriptor, { last }) => {
    const at = (Math.floor(last / 4096) + 1) * 4096;
    writeSync(descriptor, Buffer.alloc(1000, 0xa7), 0, 1000, at);
  });
}

/** Overwrites the first pages of a file. */
export function spoilHead(path: string): void {
  const descriptor = openSync(path, "r+");
  try {
    writeSync(descriptor, Buffer.alloc(64 * 1024, 0x3c), 0, 64 * 1024, 0);
  } finally {
    closeSync(descriptor);
  }
}
